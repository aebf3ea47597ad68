"""Commands about messages: what came in, what became of it, and what was set aside."""

from __future__ import annotations

from typing import Any

import click

from umbridge.access.control_client import rows_in
from umbridge.commands import terminal
from umbridge.commands.options import (
    Installation,
    as_json,
    ask,
    moment_of,
    need_purpose,
    print_rows,
    purpose,
    reason,
    with_config,
)
from umbridge.values.row_state import RowState

MESSAGE_COLUMNS = ("seq", "received_at", "feed", "type", "control_id", "visit", "ack", "state", "reason")


UNUSED_COLUMNS = ("feed", "count", "field", "code", "fact", "reason", "last")


@click.group()
def messages() -> None:
    """What came in and what became of it."""


@messages.command("list")
@with_config
@click.option(
    "--mrn", metavar="NUMBER[^AUTHORITY]", help="Of this patient (PID-3); without an authority, the site's."
)
@click.option(
    "--visit", metavar="VISIT", help="Of this visit, as lists show it; account:NUMBER where it has none."
)
@click.option("--control-id", metavar="ID", help="With this MSH-10.")
@click.option("--since", metavar="TIME", help="Received at this time or later; ISO 8601.")
@click.option("--until", metavar="TIME", help="Received before this time.")
@click.option("--feed", metavar="NAME", help="From this feed.")
@click.option("--state", type=click.Choice([state.value for state in RowState]), help="In this state.")
@click.option("--after", type=click.IntRange(0), metavar="SEQ", help="After this row: the next page.")
@click.option("--limit", type=click.IntRange(1), metavar="N", help="At most so many.")
@purpose
@as_json
def messages_list(
    where: Installation,
    since: str | None,
    until: str | None,
    as_json: bool,
    **asked: Any,
) -> None:
    """Framed messages, oldest first. Control ids and visits show only to roles that may see them.

    A search by a patient's or a visit's number is an access: it is on the ledger, with the number sealed.
    """
    asked |= _between(where, since, until)
    print_rows(ask(where, "messages.list", asked), MESSAGE_COLUMNS, as_json)


def _between(where: Installation, since: str | None, until: str | None) -> dict[str, str | None]:
    """Two moments as the store writes times."""
    asked: dict[str, str | None] = {"since": None, "until": None}
    if since or until:  # these need the site's zone, and the store's way to write a time
        from umbridge.settings.site import load_site
        from umbridge.store.batch import iso

        zone = load_site(where.settings.site).zone
        for name, text in (("since", since), ("until", until)):
            moment = moment_of(text, zone, f"--{name}")
            asked[name] = iso(moment) if moment else None
    return asked


@messages.command("unused")
@with_config
@click.option("--since", metavar="TIME", help="Received at this time or later; ISO 8601.")
@click.option("--until", metavar="TIME", help="Received before this time.")
@click.option("--feed", metavar="NAME", help="From this feed.")
@click.option("--after", type=click.IntRange(0), metavar="SEQ", help="After this row.")
@click.option("--limit", type=click.IntRange(1), metavar="N", help="Look through at most so many messages.")
@purpose
@as_json
def messages_unused(
    where: Installation, since: str | None, until: str | None, as_json: bool, **asked: Any
) -> None:
    """What of the messages is not used, by feed, field, code and reason: every one of them is read again.

    `status` counts the same by field and reason as messages are worked; docs/meaning.md has the reasons.
    """
    asked |= _between(where, since, until)
    print_rows(ask(where, "messages.unused", asked), UNUSED_COLUMNS, as_json)


@messages.command("show")
@click.argument("seq", type=int)
@with_config
@purpose
@reason
@as_json
def messages_show(
    where: Installation, seq: int, purpose: str | None, reason: str | None, as_json: bool
) -> None:
    """One message with the standard's names, redacted for your role. The look is logged first."""
    need_purpose(purpose)
    args = {"seq": seq, "purpose": purpose, "reason": reason}
    for row in ask(where, "messages.show", args):
        if as_json:
            terminal.json_line(row)
            continue
        segments = rows_in(row.pop("segments"))
        terminal.fields(row)
        for segment in segments:
            click.echo(f"\n{terminal.clean(segment['segment'])}  {terminal.clean(segment['name'])}")
            for f in rows_in(segment["fields"]):
                click.echo(f"  {f['field']:<8} {terminal.clean(f['name']):<34} {terminal.clean(f['value'])}")


SETTLED_COLUMNS = ("seq", "state", "replay", "entry")


approve = click.option(
    "--approve", type=click.IntRange(0), metavar="ENTRY", help="Allow what another asked for."
)


@messages.command("replay")
@click.argument("seqs", nargs=-1, type=click.IntRange(1), metavar="[SEQ]...")
@with_config
@reason
@approve
@as_json
def messages_replay(where: Installation, seqs: tuple[int, ...], as_json: bool, **asked: Any) -> None:
    """Work messages again: each as a new row that names the old one.

    What was set aside or ignored is taken into its stay now. What was worked already is there: the stay's
    open reviews are asked again. What was decided stays. More than 20 at once need a second person, who gives
    the entry to --approve.
    """
    print_rows(ask(where, "messages.replay", {"seqs": list(seqs), **asked}), SETTLED_COLUMNS, as_json)


@messages.command("dismiss")
@click.argument("seqs", nargs=-1, type=click.IntRange(1), metavar="[SEQ]...")
@with_config
@reason
@approve
@as_json
def messages_dismiss(where: Installation, seqs: tuple[int, ...], as_json: bool, **asked: Any) -> None:
    """Lay quarantined messages to rest: they are kept and never worked. Needs a second person."""
    print_rows(ask(where, "messages.dismiss", {"seqs": list(seqs), **asked}), SETTLED_COLUMNS, as_json)


@messages.group("quarantine")
def messages_quarantine() -> None:
    """Messages that wait for a person."""


@messages_quarantine.command("list")
@with_config
@purpose
@as_json
def quarantine_list(where: Installation, purpose: str | None, as_json: bool) -> None:
    """What was set aside and why. `messages replay` works it again, `messages dismiss` ends the matter."""
    args = {"purpose": purpose, "state": RowState.QUARANTINED.value}
    print_rows(ask(where, "messages.list", args), MESSAGE_COLUMNS, as_json)


GROUPS = (messages,)

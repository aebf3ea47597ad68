"""The command line: parse, call one function, print, exit code. The contract is docs/cli.md."""

from __future__ import annotations

import os
import signal
import sys
import traceback
from datetime import datetime
from pathlib import Path
from typing import Any, Literal, NoReturn

import click

from umbridge import __version__
from umbridge.access.control_client import Args, Row, row_in, rows_in
from umbridge.commands import terminal
from umbridge.commands.feed import GROUPS as FEED_GROUPS
from umbridge.commands.options import Installation, as_json, purpose, reason, with_config
from umbridge.commands.options import ask as _ask
from umbridge.commands.options import need_purpose as _need
from umbridge.commands.options import print_rows as _print
from umbridge.commands.oversight import GROUPS
from umbridge.commands.plugins import GROUPS as PLUGIN_GROUPS
from umbridge.commands.stays import GROUPS as STAY_GROUPS
from umbridge.commands.stays import STAY_COLUMNS
from umbridge.errors import UmbridgeError
from umbridge.settings import file
from umbridge.values.row_state import RowState

MESSAGE_COLUMNS = ("seq", "received_at", "feed", "type", "control_id", "visit", "ack", "state", "reason")
UNUSED_COLUMNS = ("feed", "count", "field", "code", "fact", "reason", "last")


class Group(click.Group):
    """Errors are one line on stderr with their exit code; a traceback would be a bug."""

    def main(self, *args: Any, **kwargs: Any) -> Any:
        kwargs["standalone_mode"] = False
        try:
            code = super().main(*args, **kwargs)
        except click.exceptions.Abort:
            _end(130, "interrupted")
        except click.exceptions.Exit as exc:
            sys.exit(exc.exit_code)
        except click.exceptions.NoArgsIsHelpError as exc:
            click.echo(exc.format_message(), err=True)
            sys.exit(2)
        except click.ClickException as exc:
            _end(2, exc.format_message())
        except UmbridgeError as exc:
            _end(exc.exit_code, str(exc))
        except BrokenPipeError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            sys.exit(141)
        except KeyboardInterrupt:
            _end(130, "interrupted")
        except OSError as exc:
            _end(74, f"{exc.filename or 'the system'}: {exc.strerror}")
        except Exception as exc:  # its text may hold anything: only its name is shown
            _end(70, f"internal error {type(exc).__name__} at {_where(exc)}: a bug; please report this line")
        sys.exit(code if isinstance(code, int) else 0)


def _where(exc: BaseException) -> str:
    frames = traceback.extract_tb(exc.__traceback__)
    return f"{Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else "an unknown place"


def _end(code: int, text: str) -> NoReturn:
    click.echo(f"umbridge: {terminal.clean(' '.join(text.split()))}", err=True)
    sys.exit(code)


@click.group(cls=Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="umbridge")
def main() -> None:
    """Utilization management beside the interface engine: HL7 in, level-of-care screens, an audit ledger.

    It screens, says what is missing and refers to a person; it never denies care.
    """


# --- running --------------------------------------------------------------------------------------------


@main.command()
@click.option("--keep", metavar="DIR", help="Keep the store, keys and bundle in DIR, to look at.")
def demo(keep: str | None) -> int:
    """The main job in miniature on this machine: feed, screens, a redacted look, the ledger verified."""
    from umbridge.commands import demo as play

    return play.run(keep)


@main.command()
@click.argument("directory", metavar="DIR")
@click.option("--org", default=None, help="Your organization's short name; in the ledger's name for ever.")
@click.option("--chain", default="adt-1", show_default=True, help="This ledger's name, for ever.")
@click.option("--site", "site_file", default=None, metavar="FILE", help="Start from this site profile.")
def init(directory: str, org: str | None, chain: str, site_file: str | None) -> None:
    """Make settings, site profile, keys, store and the public ledger policy in DIR."""
    from umbridge.commands import setup

    made = setup.init(Path(directory), org=org, chain=chain, site_file=site_file)
    click.echo(made)


@main.command()
@click.option("--config", "config_file", metavar="FILE", help="Settings file (default ./umbridge.toml).")
def serve(config_file: str | None) -> int:
    """Run the daemon in the foreground. SIGTERM drains; SIGHUP reads users, certificates and senders."""
    from umbridge.run import daemon

    return daemon.serve(file.find(config_file))


@main.command()
@click.argument("paths", nargs=-1, required=True, metavar="PATH...")
@click.option("--host", default="127.0.0.1", show_default=True)
@click.option("--port", type=click.IntRange(1, 65535), default=None, help="Default: the feed's, or 2575.")
@click.option("--feed", default=None, help="Take host and port of this feed from the settings.")
@click.option("--config", "config_file", metavar="FILE", help="Settings file, for --feed.")
@click.option("--tls-ca", metavar="FILE", help="Speak TLS; believe servers whose certificate FILE signed.")
@click.option("--tls-cert", metavar="FILE", help="Our own certificate, PEM.")
@click.option("--tls-key", metavar="FILE", help="Its key, PEM (default: in the certificate's file).")
@click.option("--connections", type=click.IntRange(1, 1024), default=1, show_default=True)
@click.option("--rate", type=click.FloatRange(0, min_open=True), default=None, help="Messages a second.")
@as_json
def send(
    paths: tuple[str, ...],
    host: str,
    port: int | None,
    feed: str | None,
    config_file: str | None,
    tls_ca: str | None,
    tls_cert: str | None,
    tls_key: str | None,
    connections: int,
    rate: float | None,
    as_json: bool,
) -> int:
    """Send messages over MLLP and print each answer. Exit 0 only if all were AA, CA or NONE."""
    import asyncio

    from umbridge.dryrun import screen as shadow
    from umbridge.intake import delivery, tls
    from umbridge.settings import config

    given = [Path(name) if name else None for name in (tls_ca, tls_cert, tls_key)]
    context = tls.client_context(*given) if any(given) else None
    if feed is not None:
        settings = config.load(file.find(config_file))
        if feed not in settings.feeds:
            raise click.UsageError(f"--feed {feed}: not in the settings; known: {', '.join(settings.feeds)}")
        host, port = settings.feeds[feed].host, port or settings.feeds[feed].port
    counts: dict[str, int] = {}
    bad = 0

    def done(sent: delivery.Sent) -> None:
        nonlocal bad
        counts[sent.ack] = counts.get(sent.ack, 0) + 1
        bad += not sent.accepted
        if as_json:
            terminal.json_line(
                {
                    "file": sent.file,
                    "control_id": sent.control_id,
                    "ack": sent.ack,
                    "error": sent.error,
                    "ms": sent.ms,
                }
            )
        elif terminal.is_terminal() and sum(counts.values()) % 50 == 0:
            click.echo(f"\r{sum(counts.values())} sent", nl=False, err=True)
        if not as_json and not sent.accepted:
            who = f"{terminal.clean(sent.file)}  {terminal.clean(sent.control_id)}"
            click.echo(f"{who}  {sent.ack}  {sent.error or ''}")

    stdin = sys.stdin.buffer.read() if "-" in paths else None
    messages = list(shadow.read_files(paths, stdin))
    asyncio.run(
        delivery.send_all(
            host, port or 2575, messages, connections=connections, rate=rate, context=context, done=done
        )
    )
    if not as_json:
        said = ", ".join(f"{count} {code}" for code, count in sorted(counts.items())) or "nothing to send"
        click.echo(f"{len(messages)} messages: {said}")
    return 1 if bad else 0


@main.command()
@click.option("--host", default="127.0.0.1", show_default=True)
@click.option("--port", type=click.IntRange(0, 65535), default=2575, show_default=True, help="0: a free one.")
@click.option(
    "--answer",
    type=click.Choice(["AA", "AE", "AR", "CA", "CE", "CR", "NONE", "CLOSE"]),
    default="AA",
    show_default=True,
    help="What every message is answered; CLOSE hangs up.",
)
@click.option("--delay", type=click.FloatRange(0), default=0.0, help="Seconds before each answer.")
@click.option("--count", type=click.IntRange(1), default=None, help="End after so many messages.")
@click.option("--keep", metavar="DIR", default=None, help="Write each message to a file in DIR.")
@as_json
def listen(
    host: str, port: int, answer: str, delay: float, count: int | None, keep: str | None, as_json: bool
) -> None:
    """A test peer: takes messages over MLLP, prints what came and answers as told. It stores nothing."""
    import asyncio

    from umbridge.intake.peer import Heard, Peer

    def heard(one: Heard) -> None:
        if as_json:
            terminal.json_line(one.to_json())
        else:
            what = f"{terminal.clean(one.type)}  {terminal.clean(one.control_id)}  {one.bytes} bytes"
            click.echo(f"{one.number}  {what}  {one.fault or one.ack}")

    folder = Path(keep) if keep else None
    if folder is not None and not folder.is_dir():
        raise click.UsageError(f"--keep {keep}: not a folder")

    async def serve() -> int:
        peer = Peer(answer, delay=delay, count=count, keep=folder, heard=heard)
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, peer.stop)
        return await peer.serve(host, port, lambda got: click.echo(f"listening on {host}:{got}", err=True))

    click.echo(f"{asyncio.run(serve())} came", err=True)


@main.command()
@click.argument("paths", nargs=-1, required=True, metavar="PATH...")
@click.option(
    "--site", "site_file", default=None, metavar="FILE", help="Site profile (default: the built-in example)."
)
@click.option(
    "--plugin", "plugins", multiple=True, metavar="NAME", help="Ask only this plugin; may be repeated."
)
@click.option(
    "--as-of", "as_of", default=None, metavar="TIME", help="ISO 8601; default: the last message's time."
)
@click.option("--stays", "show_stays", is_flag=True, help="Print the folded stays instead of the screens.")
@click.option("--why", is_flag=True, help="With each result the tree of rules that it rests on.")
@click.option(
    "--processing-id",
    type=click.Choice(("P", "T", "D")),
    default="P",
    help="Read messages with this MSH-11: P production (default), T training, D debugging.",
)
@as_json
def screen(
    paths: tuple[str, ...],
    site_file: str | None,
    plugins: tuple[str, ...],
    as_of: str | None,
    show_stays: bool,
    why: bool,
    processing_id: str,
    as_json: bool,
) -> None:
    """Shadow run: fold messages into stays, screen them, print what is in force. No store, no daemon."""
    from umbridge.commands import pages
    from umbridge.dryrun import screen as shadow
    from umbridge.screening.host import Host
    from umbridge.settings.site import default_site, load_site
    from umbridge.stay.profile import check_site

    site = load_site(Path(site_file)) if site_file else default_site()
    check_site(site)
    moment = _moment(as_of, site.zone)
    run = shadow.Shadow(site, processing_id, shadow.clock(moment))
    stdin = sys.stdin.buffer.read() if "-" in paths else None
    messages = list(shadow.read_files(paths, stdin))
    with click.progressbar(
        messages, label="reading", file=sys.stderr, hidden=not terminal.is_terminal()
    ) as bar:
        for _, message in bar:
            run.take(message)

    if show_stays:
        _print(run.stays(moment), STAY_COLUMNS, as_json)
    else:
        host = Host(why=why)
        host.start(plugins or None)
        try:
            looked = run.reviews(host, moment)
        finally:
            host.stop()
        if as_json:
            for line in (line for each in looked for line in each.lines):
                terminal.json_line(line)
        else:
            pages.show(looked, trees=why)
        for code, count in sorted(run.exceptions(moment).items()):
            click.echo(f"{count} stays have the exception {code}: --stays shows which", err=True)
    for unread, count in sorted(run.unread.items()):
        click.echo(f"{count} not used: {unread}", err=True)


def _moment(text: str | None, zone: Any, option: str = "--as-of") -> datetime | None:
    if text is None:
        return None
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise click.UsageError(
            f"{option} {text}: expected ISO 8601, such as 2026-01-12T15:56:00-05:00"
        ) from None
    return found if found.tzinfo else found.replace(tzinfo=zone)


# --- messages ---------------------------------------------------------------------------------


@main.group()
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
    _print(_ask(where, "messages.list", asked), MESSAGE_COLUMNS, as_json)


def _between(where: Installation, since: str | None, until: str | None) -> dict[str, str | None]:
    """Two moments as the store writes times."""
    asked: dict[str, str | None] = {"since": None, "until": None}
    if since or until:  # these need the site's zone, and the store's way to write a time
        from umbridge.settings.site import load_site
        from umbridge.store.batch import iso

        zone = load_site(where.settings.site).zone
        for name, text in (("since", since), ("until", until)):
            moment = _moment(text, zone, f"--{name}")
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
    _print(_ask(where, "messages.unused", asked), UNUSED_COLUMNS, as_json)


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
    _need(purpose)
    args = {"seq": seq, "purpose": purpose, "reason": reason}
    for row in _ask(where, "messages.show", args):
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
    _print(_ask(where, "messages.replay", {"seqs": list(seqs), **asked}), SETTLED_COLUMNS, as_json)


@messages.command("dismiss")
@click.argument("seqs", nargs=-1, type=click.IntRange(1), metavar="[SEQ]...")
@with_config
@reason
@approve
@as_json
def messages_dismiss(where: Installation, seqs: tuple[int, ...], as_json: bool, **asked: Any) -> None:
    """Lay quarantined messages to rest: they are kept and never worked. Needs a second person."""
    _print(_ask(where, "messages.dismiss", {"seqs": list(seqs), **asked}), SETTLED_COLUMNS, as_json)


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
    _print(_ask(where, "messages.list", args), MESSAGE_COLUMNS, as_json)


# --- the ledger -----------------------------------------------------------------------------------------


@main.group()
def ledger() -> None:
    """The audit ledger: verify, look, export."""


@ledger.command("verify")
@with_config
@click.option(
    "--level", type=click.Choice(["spine", "keyless", "full"]), default="keyless", show_default=True
)
@click.option(
    "--policy", "policy_file", default=None, metavar="FILE", help="Public policy (default: the settings')."
)
@click.option("--jobs", type=click.IntRange(1, 64), default=1, show_default=True)
@click.option(
    "--since", metavar="FILE", help="A checkpoint you kept: prove that it is continued, read what is new."
)
@as_json
def ledger_verify(
    where: Installation,
    level: Literal["spine", "keyless", "full"],
    policy_file: str | None,
    jobs: int,
    since: str | None,
    as_json: bool,
) -> int:
    """Check every entry, read-only. Exit 0 PASS, 1 FAIL, 3 PASS-UNWITNESSED, 4 INCOMPLETE.

    With --since, entries before that checkpoint are not read again, and the verdict is PASS-SINCE (exit 0).
    """
    from umbridge.commands import proof

    policy = Path(policy_file) if policy_file else None
    report = proof.verify_store(where.settings, level, policy, jobs, Path(since) if since else None)
    if as_json:
        terminal.json_line(report.to_json())
    else:
        terminal.fields(report.to_json())
    return report.exit_code


@ledger.command("list")
@with_config
@click.option("--kind", default=None, help="Only this kind, such as determination or access.read.")
@purpose
@as_json
def ledger_list(where: Installation, kind: str | None, purpose: str | None, as_json: bool) -> None:
    """Every entry with what is open about it: number, time, kind, actor. Nothing clinical."""
    args = {"kind": kind, "purpose": purpose}
    _print(_ask(where, "ledger.list", args), ("seq", "ts", "kind", "actor", "state"), as_json)


@ledger.command("show")
@click.argument("seq", type=int)
@click.option("--why", is_flag=True, help="Of a determination, the tree of rules, if it can be given again.")
@with_config
@purpose
@reason
@as_json
def ledger_show(
    where: Installation, seq: int, why: bool, purpose: str | None, reason: str | None, as_json: bool
) -> None:
    """One entry, redacted for your role. The look is on the ledger before anything is printed.

    With --why the stay is folded again from its kept messages and the plugins are asked once more. The tree
    is shown only where the answer comes out as it is written; else it is said why it cannot be.
    """
    _need(purpose)
    from umbridge.commands import pages

    op = "ledger.why" if why else "ledger.show"
    for row in _ask(where, op, {"seq": seq, "purpose": purpose, "reason": reason}):
        if as_json:
            terminal.json_line(row)
            continue
        behind = {name: row.pop(name) for name in pages.BEHIND if name in row}
        slots = row_in(row.pop("slots"))
        masked = [name for name, value in slots.items() if value == "[redacted]"]
        shown = {k: pages.slot(k, v) for k, v in slots.items() if v is not None and k not in masked}
        terminal.fields(row | shown)
        if masked:
            click.echo(f"redacted for your role: {' '.join(masked)}")
        for text in pages.behind_page(slots, behind) if why else ():
            click.echo(text)


@ledger.command("export")
@with_config
@click.option(
    "--profile",
    required=True,
    metavar="NAME",
    help="role:NAME, integrity-only, accounting, limited-data-set or safe-harbor.",
)
@click.option("--dua", default=None, metavar="ID", help="Data use agreement, for limited-data-set.")
@click.option("--out", "out", required=True, metavar="FILE", help="Where the bundle is written.")
@purpose
@reason
def ledger_export(
    where: Installation,
    profile: str,
    dua: str | None,
    out: str,
    purpose: str | None,
    reason: str | None,
) -> None:
    """A bundle a stranger can verify with umbridge-verify; hidden fields stay hidden and still verify.

    A safe-harbor file is no bundle: counts by coded values and year, of which the ledger holds the digest.
    """
    from umbridge.commands import proof

    args = {"profile": profile, "purpose": purpose, "reason": reason, "dua": dua}
    policy = where.settings.policy  # first: a mistake in the settings is told before anything is exported
    lines = (str(row["line"]) for row in _ask(where, "ledger.export", args))
    written = proof.write_bundle(lines, Path(out))
    if profile == "safe-harbor":
        click.echo(f"{out}: {written} lines; the ledger holds its SHA-256 in the export's entry")
        return
    click.echo(f"{out}: {written} lines; verify with: umbridge-verify {out} --policy {policy}")


@ledger.command("proof")
@click.argument("seq", type=int)
@with_config
@click.option(
    "--profile", default="integrity-only", show_default=True, metavar="NAME", help="role:NAME shows fields."
)
@click.option("--out", "out", default=None, metavar="FILE", help="Write it there instead of to stdout.")
@purpose
@reason
def ledger_proof(
    where: Installation,
    seq: int,
    profile: str,
    out: str | None,
    purpose: str | None,
    reason: str | None,
) -> None:
    """One entry's receipt: whoever has the public policy can check it alone, with umbridge-verify."""
    from umbridge.commands import proof

    args: Args = {"seq": seq, "profile": profile, "purpose": purpose, "reason": reason}
    policy = where.settings.policy
    receipts = (str(row["receipt"]) for row in _ask(where, "ledger.proof", args))
    if out is None:
        for text in receipts:
            click.echo(text, nl=False)
        return
    proof.write_bundle(receipts, Path(out))
    click.echo(f"{out}: verify with: umbridge-verify {out} --policy {policy}")


@ledger.command("checkpoint")
@with_config
@as_json
def ledger_checkpoint(where: Installation, as_json: bool) -> None:
    """Sign everything so far now and print the checkpoint: keep it, and history before it is fixed."""
    for row in _ask(where, "ledger.checkpoint", {}):
        if as_json:
            terminal.json_line(row)
        else:
            click.echo(str(row["note"]), nl=False)


# --- operations -----------------------------------------------------------------------------------------


@main.command()
@with_config
@as_json
def status(where: Installation, as_json: bool) -> int:
    """What came in, how much waits, how long the unanchored window is. Exit 69 when not running."""
    rows = where.request("status", {})
    if rows is None:
        row: Row = {"running": False, "store": str(where.store)}
        terminal.json_line(row) if as_json else terminal.fields(row)
        return 69
    for row in rows:
        terminal.json_line(row) if as_json else terminal.fields(row)
    return 0


for group in (*GROUPS, *STAY_GROUPS, *FEED_GROUPS, *PLUGIN_GROUPS):
    main.add_command(group)


if __name__ == "__main__":
    main()

"""Commands of those who keep watch: keys, and who may do what."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import click

from umbridge.access.control_client import Args
from umbridge.commands import terminal
from umbridge.commands.options import (
    Installation,
    as_json,
    ask,
    print_one,
    print_rows,
    purpose,
    reason,
    with_config,
)

KEY_COLUMNS = ("kid", "use", "alg", "wrapped_under", "in_use")


@click.group()
def keys() -> None:
    """The keys: which there are, and new ones in their place. No key is ever shown."""


@keys.command("list")
@with_config
@as_json
def keys_list(where: Installation, as_json: bool) -> None:
    """Every key by its id: what it is for, what it is wrapped under, whether it is in use."""
    print_rows(ask(where, "keys.list", {}), KEY_COLUMNS, as_json)


@keys.command("rotate")
@click.argument("what", metavar="[kek|data|signing]", default="kek")
@click.option("--kind", "kinds", multiple=True, help="With data: only this kind (clin …); may be repeated.")
@click.option(
    "--passphrase", is_flag=True, help="With kek: from a passphrase that is asked for, not from a file."
)
@click.option("--approve", type=click.IntRange(0), metavar="ENTRY", help="Allow what another asked for.")
@with_config
@reason
@as_json
def keys_rotate(
    where: Installation,
    what: str,
    kinds: tuple[str, ...],
    passphrase: bool,
    approve: int | None,
    reason: str | None,
    as_json: bool,
) -> None:
    """New keys in the place of old: kek wraps every key anew, data makes new ones before their month ends.

    signing hands the log over to a new key, signed by the old, and writes it into the public policy: give
    auditors and witnesses the new one. History stays as it is and verifies as before. With two
    administrators, one asks and the other allows. The token key is for the life of the ledger.
    """
    secret = None
    if passphrase:
        secret = click.prompt("new passphrase", hide_input=True, confirmation_prompt=True, err=True)
    args = {
        "what": what,
        "kinds": " ".join(kinds),
        "passphrase": secret,
        "approve": approve,
        "reason": reason,
    }
    for row in ask(where, "keys.rotate", args):
        if as_json:
            terminal.json_line(row)
        elif row["state"] == "waits":
            click.echo(f"asked for as entry {row['entry']}: {row['subject']}")
            click.echo(f"another administrator allows it: umbridge keys rotate --approve {row['entry']}")
        else:
            click.echo(f"done, recorded with entry {row['entry']}: {terminal.clean(row['made'])}")


# --- people -----------------------------------------------------------------------------------------------


@click.group()
def users() -> None:
    """Accounts and their roles. A change is on the ledger before it is in force; nobody changes their own."""


@users.command("list")
@with_config
@as_json
def users_list(where: Installation, as_json: bool) -> None:
    """Every account, who it is and which roles it has."""
    print_rows(ask(where, "users.list", {}), ("account", "user", "roles", "state"), as_json)


@users.command("add")
@click.argument("account")
@click.argument("roles", nargs=-1, required=True, metavar="ROLE...")
@click.option("--user", default=None, help="Whose account it is; default: the account's name.")
@with_config
@reason
@as_json
def users_add(
    where: Installation,
    account: str,
    roles: tuple[str, ...],
    user: str | None,
    reason: str | None,
    as_json: bool,
) -> None:
    """A new operating-system account with these roles."""
    args = {"account": account, "user": user or account, "roles": " ".join(roles), "reason": reason}
    print_one(where, "users.add", args, as_json)


@users.command("role")
@click.argument("account")
@click.argument("roles", nargs=-1, required=True, metavar="ROLE...")
@with_config
@reason
@as_json
def users_role(
    where: Installation, account: str, roles: tuple[str, ...], reason: str | None, as_json: bool
) -> None:
    """These roles for an account, instead of those it has."""
    args = {"account": account, "roles": " ".join(roles), "reason": reason}
    print_one(where, "users.role", args, as_json)


@users.command("disable")
@click.argument("account")
@with_config
@reason
@as_json
def users_disable(where: Installation, account: str, reason: str | None, as_json: bool) -> None:
    """No roles from now on. The names stay taken for ever."""
    print_one(where, "users.disable", {"account": account, "reason": reason}, as_json)


@click.group()
def breakglass() -> None:
    """Emergency looks (--purpose BTG --reason TEXT): which wait for review, and the review."""


@breakglass.command("list")
@with_config
@as_json
def breakglass_list(where: Installation, as_json: bool) -> None:
    """Broken glass that a second person has not reviewed yet."""
    columns = ("entry", "user", "opened", "open", "review_due", "overdue")
    print_rows(ask(where, "breakglass.list", {}), columns, as_json)


@breakglass.command("review")
@click.argument("seq", type=int)
@click.option("--finding", type=click.Choice(["justified", "unjustified"]), required=True)
@with_config
@reason
@as_json
def breakglass_review(where: Installation, seq: int, finding: str, reason: str | None, as_json: bool) -> None:
    """What a second person found about one of them, by its entry."""
    print_one(where, "breakglass.review", {"seq": seq, "finding": finding, "reason": reason}, as_json)


# --- reports ----------------------------------------------------------------------------------------------


def _report(where: Installation, name: str, args: Args, form: str) -> None:
    from umbridge.commands import render

    head, rows = render.split(ask(where, f"report.{name}", args))
    if form == "json":
        for row in (head, *rows):
            terminal.json_line(row)
    elif form == "csv":
        for line in render.csv_lines(head, rows):
            click.echo(line, nl=False)
    elif form == "html":
        click.echo(render.html_page(head, rows), nl=False)
    else:
        terminal.table(rows, render.columns_of(rows))
    if form in ("table", "csv"):
        click.echo(render.window_note(head), err=True)


form = click.option(
    "--format",
    "form",
    type=click.Choice(["table", "csv", "json", "html"]),
    default="table",
    show_default=True,
)
since = click.option("--since", metavar="DATE", help="From this day on, UTC.")
until = click.option("--until", metavar="DATE", help="Up to this day.")


@click.group()
def report() -> None:
    """Who looked, what was disclosed, how far a breach reaches. Each is a look and names its window."""


@report.command("access")
@click.option("--user", default=None, help="Only this user or account.")
@click.option("--patient", default=None, metavar="VISIT", help="Only looks at this patient.")
@since
@until
@form
@with_config
@reason
def report_access(where: Installation, form: str, **args: str | None) -> None:
    """Every look and every refusal: who, as whom, why, what was shown."""
    _report(where, "access", args, form)


@report.command("disclosures")
@click.option("--patient", required=True, metavar="VISIT", help="Whose accounting it is.")
@click.option("--asked-on", default=None, metavar="DATE", help="Day of the request; six years count.")
@click.option("--all", "all_", is_flag=True, help="Also what 164.528(a)(1) leaves out, and why.")
@form
@with_config
@purpose
@reason
def report_disclosures(where: Installation, form: str, all_: bool, **args: str | None) -> None:
    """An accounting of disclosures, 45 CFR 164.528(b): date, recipient, what, and purpose of each."""
    _report(where, "disclosures", {**args, "all": all_}, form)


@report.command("breach-scope")
@click.option("--user", required=True, help="The user or account in question.")
@since
@until
@form
@with_config
@reason
def report_breach(where: Installation, form: str, **args: str | None) -> None:
    """Whose records a user or account was shown, when and how: factors 1 to 3 of 45 CFR 164.402(2)."""
    _report(where, "breach-scope", args, form)


@click.group()
def disclosures() -> None:
    """Disclosures made outside umbridge, kept for the accounting."""


@disclosures.command("record")
@click.option("--patient", required=True, metavar="VISIT", help="Whose it was, by visit number.")
@click.option("--recipient", required=True, help="Who received it.")
@click.option("--address", default=None, help="Where, if known.")
@click.option("--what", required=True, help="A brief description of what was disclosed.")
@click.option("--statement", required=True, help="Its purpose in brief, or the request's reference.")
@click.option("--basis", required=True, help="Such as public-health; a wrong one lists them all.")
@click.option("--on", default=None, metavar="DATE", help="The day; default: today.")
@click.option("--times", type=click.IntRange(1), default=None, help="How often, for repeated ones.")
@click.option("--last-on", default=None, metavar="DATE", help="The last of them.")
@with_config
@reason
@as_json
def disclosures_record(where: Installation, as_json: bool, **args: Any) -> None:
    """One disclosure with the four parts of 45 CFR 164.528(b)(2); whether it counts is worked out."""
    print_one(where, "disclosures.record", args, as_json)


# --- backups ----------------------------------------------------------------------------------------------


@click.group()
def backup() -> None:
    """Sealed copies of the store, made while it runs. The keys are never in one: copy them elsewhere."""


@backup.command("create")
@click.option("--out", "out", required=True, metavar="FILE", help="A new file, apart from store and keys.")
@with_config
@reason
@as_json
def backup_create(where: Installation, out: str, reason: str | None, as_json: bool) -> None:
    """A snapshot, sealed, with its digest on the ledger. Messages are accepted meanwhile."""
    args = {"out": str(Path(out).absolute()), "reason": reason}
    print_one(where, "backup.create", args, as_json)


@backup.command("verify")
@click.argument("file", metavar="FILE")
@click.option("--policy", "policy_file", default=None, metavar="FILE", help="Default: the settings' policy.")
@click.option("--level", type=click.Choice(["keyless", "full"]), default="keyless", show_default=True)
@with_config
@as_json
def backup_verify(
    where: Installation,
    file: str,
    policy_file: str | None,
    level: Literal["keyless", "full"],
    as_json: bool,
) -> int:
    """Open a backup and check its ledger against policy and anchor. Exit codes as ledger verify has them."""
    from umbridge.access import backup as backups
    from umbridge.store.opening import open_keys

    policy = Path(policy_file) if policy_file else where.settings.policy
    found = backups.check(where.settings, Path(file), policy, open_keys(where.settings), level)
    terminal.json_line(found.to_json()) if as_json else terminal.fields(found.to_json())
    return found.exit_code


GROUPS: tuple[click.Group, ...] = (keys, users, breakglass, report, disclosures, backup)

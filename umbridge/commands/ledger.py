"""Commands about the ledger: verify, list, show, export, prove."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import click

from umbridge.access.control_client import Args, row_in
from umbridge.commands import terminal
from umbridge.commands.options import (
    Installation,
    as_json,
    ask,
    need_purpose,
    print_rows,
    purpose,
    reason,
    with_config,
)


@click.group()
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
    print_rows(ask(where, "ledger.list", args), ("seq", "ts", "kind", "actor", "state"), as_json)


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
    need_purpose(purpose)
    from umbridge.commands import pages

    op = "ledger.why" if why else "ledger.show"
    for row in ask(where, op, {"seq": seq, "purpose": purpose, "reason": reason}):
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
    lines = (str(row["line"]) for row in ask(where, "ledger.export", args))
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
    receipts = (str(row["receipt"]) for row in ask(where, "ledger.proof", args))
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
    for row in ask(where, "ledger.checkpoint", {}):
        if as_json:
            terminal.json_line(row)
        else:
            click.echo(str(row["note"]), nl=False)


GROUPS = (ledger,)

"""umbridge-verify: the stand-alone verifier. Parse, call one function, print, exit code."""

from __future__ import annotations

import json
from pathlib import Path

import click

from umbridge_audit.bundle import verify_bundle
from umbridge_audit.checkpoint import MAX_NOTE
from umbridge_audit.entry import FormatError
from umbridge_audit.policy import Policy
from umbridge_audit.proof import FIRST, MAX_RECEIPT, ReceiptReport, verify_receipt
from umbridge_audit.report import Report

_MAX_POLICY = 1 << 20
_POLICY_WORDS = (b"log", b"handover", b"genesis", b"witness", b"group", b"quorum")


@click.command()
@click.argument("bundle", type=click.Path(exists=True, path_type=Path))
@click.option(
    "--policy",
    "policy_file",
    required=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="the policy file you were given: whose key, which first entry",
)
@click.option(
    "--since",
    "kept_file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="a checkpoint that you kept: the bundle must continue it",
)
@click.option("--json", "as_json", is_flag=True, help="one JSON object on stdout")
def main(bundle: Path, policy_file: Path, kept_file: Path | None, as_json: bool) -> None:
    """Verify a BUNDLE (a file, or a folder of *.jsonl), or one entry's receipt, against a policy.

    A newer policy of the same ledger may be given too: is its key handed on by the key you know?
    Needs no key and no network. Exit 0 PASS, 1 FAIL, 3 PASS-UNWITNESSED, 4 INCOMPLETE, 2 for a wrong call.
    """
    try:
        with policy_file.open("rb") as file:
            policy = Policy.read(file.read(_MAX_POLICY).decode())
        report = _verify(bundle, policy, None if kept_file is None else _note(kept_file))
    except FormatError as exc:
        raise click.UsageError(f"{policy_file}: {exc}") from None
    except UnicodeDecodeError:
        raise click.UsageError(f"{policy_file}: not UTF-8") from None
    except OSError as exc:
        raise click.UsageError(f"{exc.filename or bundle}: {exc.strerror}") from None
    if as_json:
        click.echo(json.dumps(report.to_json()))
    else:
        _print(report)
    raise SystemExit(report.exit_code)


def _note(path: Path) -> str:
    with path.open("rb") as file:
        return file.read(MAX_NOTE + 1).decode(errors="replace")  # what is not UTF-8 is no checkpoint either


def _verify(path: Path, policy: Policy, since: str | None) -> Report:
    """A receipt says so in its first line, a policy in its first word; all else is taken for a bundle."""
    if path.is_file():
        with path.open("rb") as file:
            begin = file.read(len(FIRST))
            # What is not UTF-8 is none of ours either: the replacement character fails wherever it stands.
            if begin == FIRST.encode():
                if since is not None:
                    raise click.UsageError("--since: a receipt cannot show that it continues a checkpoint")
                return verify_receipt((begin + file.read(MAX_RECEIPT)).decode(errors="replace"), policy)
            if begin.lstrip()[:1] == b"#" or begin.partition(b" ")[0] in _POLICY_WORDS:
                return _newer((begin + file.read(_MAX_POLICY)).decode(errors="replace"), policy)
    return verify_bundle(path, policy, since)


def _newer(text: str, older: Policy) -> Report:
    """Whether a policy is of the ledger that is known, its key handed on by the key that is known."""
    report = Report("policy")
    try:
        newer = Policy.read(text)
    except FormatError:
        report.add("policy_format")
    else:
        if not newer.continues(older):
            report.add("other_log")
    report.verdict = "FAIL" if report.problems else "PASS"
    return report


def _print(report: Report) -> None:
    place = f"entries {report.entries}"
    if isinstance(report, ReceiptReport):
        place = f"entry {report.entry} of {report.checkpoint or '-'}"
    if report.since is not None:
        place += f"  since {report.since}"
    click.echo(f"{report.verdict}  level {report.level}  {place}  head {report.head or '-'}")
    for problem in report.problems[:10]:
        where = "" if problem.seq is None else f" at entry {problem.seq}"
        click.echo(f"  {problem.code}{where}", err=True)
    for line in report.unjudged_lines()[:10]:
        click.echo(f"  {line}", err=True)
    if isinstance(report, ReceiptReport):
        for name, value in report.shown.items():
            click.echo(f"  {name}  {json.dumps(value)}")  # ASCII: no value can move the cursor

"""umbridge-verify: the stand-alone verifier. Parse, call one function, print, exit code."""

from __future__ import annotations

import json
from pathlib import Path

import click

from umbridge_audit.bundle import verify_bundle
from umbridge_audit.checkpoint import Policy
from umbridge_audit.entry import FormatError

_MAX_POLICY = 1 << 20


@click.command()
@click.argument("bundle", type=click.Path(exists=True, path_type=Path))
@click.option(
    "--policy",
    "policy_file",
    required=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="the policy file you were given: whose key, which first entry",
)
@click.option("--json", "as_json", is_flag=True, help="one JSON object on stdout")
def main(bundle: Path, policy_file: Path, as_json: bool) -> None:
    """Verify a BUNDLE (a file, or a folder of *.jsonl) against a policy. Needs no key and no network.

    Exit 0 PASS, 1 FAIL, 3 PASS-UNWITNESSED, 4 INCOMPLETE, 2 for a wrong call.
    """
    try:
        with policy_file.open("rb") as file:
            policy = Policy.read(file.read(_MAX_POLICY).decode())
        report = verify_bundle(bundle, policy)
    except FormatError as exc:
        raise click.UsageError(f"{policy_file}: {exc}") from None
    except UnicodeDecodeError:
        raise click.UsageError(f"{policy_file}: not UTF-8") from None
    except OSError as exc:
        raise click.UsageError(f"{exc.filename or bundle}: {exc.strerror}") from None
    if as_json:
        click.echo(json.dumps(report.to_json()))
    else:
        click.echo(
            f"{report.verdict}  level {report.level}  entries {report.entries}  head {report.head or '-'}"
        )
        for problem in report.problems[:10]:
            where = "" if problem.seq is None else f" at entry {problem.seq}"
            click.echo(f"  {problem.code}{where}", err=True)
    raise SystemExit(report.exit_code)

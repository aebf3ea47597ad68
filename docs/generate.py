"""Writes docs/cli.md, docs/unsigned.md, and README's transcript and figures, from itself (``make docs``).

A page written by hand says what the program did once; these say what it does.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import click
from umbridge_audit.cli import main as verifier

from bench import run as bench
from umbridge.commands.main import main as umbridge

WIDTH = 100
PAGE = Path(__file__).with_name("cli.md")
UNSIGNED = Path(__file__).with_name("unsigned.md")
README = Path(__file__).parents[1] / "README.md"
FIGURES = bench.FIGURES
LEDGER = FIGURES.with_name("ledger.txt")

FIGURES_HEAD = """\
## Figures

From `make bench`, which writes `bench/figures.json` and prints this table. Everything runs on the machine it
names, the load generator and the peers included; ratios carry over to other machines, figures do not. They
are of the distribution's own Python (`make bench PYTHON=/usr/bin/python3` in a new clone): one that was
compiled without optimisation, as pyenv does by default, makes everything a sixth to a third slower here.
"""

LEDGER_HEAD = """\
From `make ledgerbench`: entries a second of one core's time, by what is done with them. The last column
carries over to other machines: what an entry costs in hashes of a kilobyte.
"""

HEAD = """\
# The command line

Written by `make docs` from the commands themselves; `tests/test_docs.py` fails when this page is older than
they are.

**Settings.** Commands that work on a store take `--config FILE`; without it `./umbridge.toml`, then
`/etc/umbridge/umbridge.toml`. The environment variable `UMBRIDGE_CONFIG` goes before all three.

**Output.** Results are on stdout. `--json` gives JSON Lines and nothing else there; hints, progress and
errors are on stderr. An error is one line that says what is wrong, where, and what to do.

**Who is asking.** The calling operating-system account, mapped to a user and roles by `users.toml`.
Commands that show clinical content need `--purpose`, one of TREAT HPAYMT HOPERAT HCOMPL PATRQT. Each look
is an entry on the ledger before anything is printed.

**With or without the daemon.** While `serve` runs it is the only writer, and the other commands ask it over
`store/control.sock`. Otherwise a command opens the store itself for as long as it needs it. The output is the
same.

| exit | meaning |
|---|---|
| 0 | done; for a verification: PASS |
| 1 | the thing checked is not so; for a verification: FAIL; for `send`: some answer was not AA, CA or NONE |
| 2 | wrong usage |
| 3 | a verification: PASS-UNWITNESSED, the policy asks for witnesses that are not there |
| 4 | a verification: INCOMPLETE, something could not be checked |
| 69 | unavailable: the daemon, a port or the store cannot be had |
| 74 | the store failed, or a file could not be read or written |
| 77 | not permitted; a refused look is on the ledger too |
| 78 | the configuration, the site profile, criteria content or a key is wrong |
| 130 | interrupted from the keyboard |
"""


def commands(command: click.Command, path: str, parent: click.Context | None = None) -> Iterator[str]:
    """One section for each command, groups before what they hold."""
    context = click.Context(
        command,
        info_name=path.rpartition(" ")[2],
        parent=parent,
        terminal_width=WIDTH,
        max_content_width=WIDTH,
        **command.context_settings,
    )
    if not command.hidden:
        yield f"\n## `{path}`\n\n```text\n{command.get_help(context).rstrip()}\n```\n"
        if isinstance(command, click.Group):
            for name in command.list_commands(context):
                found = command.get_command(context, name)
                if found is not None:
                    yield from commands(found, f"{path} {name}", context)


def page() -> str:
    """The whole of docs/cli.md."""
    return HEAD + "".join(commands(umbridge, "umbridge")) + "".join(commands(verifier, "umbridge-verify"))


def figures() -> str:
    """README's section of figures, from the last ``make bench`` and ``make ledgerbench``; empty without."""
    if not FIGURES.is_file():
        return ""
    table = "\n".join(bench.lines(json.loads(FIGURES.read_text(encoding="utf-8"))))
    ledger = LEDGER.read_text(encoding="utf-8").strip() if LEDGER.is_file() else "not run yet"
    return f"\n{FIGURES_HEAD}\n```text\n{table}\n```\n\n{LEDGER_HEAD}\n```text\n{ledger}\n```\n"


def transcript() -> str:
    """What ``make run`` prints, from a run made now (about ten seconds)."""
    environment = {k: v for k, v in os.environ.items() if k != "UMBRIDGE_CONFIG"} | {"COLUMNS": "110"}
    done = subprocess.run(
        [sys.executable, "-m", "umbridge.commands.main", "demo"],
        capture_output=True,
        text=True,
        check=True,
        env=environment,
    )
    return f"\n```text\n$ make run\n{done.stdout.strip()}\n```\n"


def section(text: str, name: str) -> str:
    """What stands between README's two marks of that name."""
    return text.split(f"<!-- {name}:begin -->")[1].split(f"<!-- {name}:end -->", maxsplit=1)[0]


def replaced(text: str, name: str, body: str) -> str:
    """README with another body between the two marks."""
    return text.replace(
        f"<!-- {name}:begin -->{section(text, name)}<!-- {name}:end -->",
        f"<!-- {name}:begin -->{body}<!-- {name}:end -->",
    )


UNSIGNED_HEAD = """\
# What waits for a clinician's signature

Written by `make docs` from the content itself; `tests/test_docs.py` fails when this page is older than it.
Each line is a criterion whose limit or level was *chosen* for this content, or whose published number is
*recalled* and was not looked up again, with the sources it names. A criterion of a part is listed once, under
the part. Limits of the daemon's own are in [README](../README.md#what-a-clinician-must-still-sign).
"""
_MARKS = {"mapping": "chosen", "recalled": "recalled"}


def unsigned() -> str:
    """Every criterion that no source signs, plugin by plugin and file by file."""
    lines = [UNSIGNED_HEAD]
    for folder in sorted((README.parent / "plugins").glob("*/umbridge_*/content")):
        lines.append(f"## {folder.parts[-3]}\n")
        for path in sorted(folder.glob("*.toml")):
            data = tomllib.loads(path.read_text(encoding="utf-8"))
            rows = [
                f"| `{name}` | {each['title']} | {_MARKS[each['mark']]} | {' '.join(each['cite'])} |"
                for name, each in data.get("criterion", {}).items()
                if each.get("mark") in _MARKS
            ]
            if rows:
                table = ["| criterion | what it says | mark | sources |", "|---|---|---|---|", *rows]
                lines.append(f"### {path.name}: {data['title']}\n\n" + "\n".join(table) + "\n")
    return "\n".join(lines)


if __name__ == "__main__":
    UNSIGNED.write_text(unsigned(), encoding="utf-8")
    PAGE.write_text(page(), encoding="utf-8")
    readme = README.read_text(encoding="utf-8")
    readme = replaced(readme, "figures", figures())
    readme = replaced(readme, "transcript", transcript())
    README.write_text(readme, encoding="utf-8")

"""What an answer costs without sockets and screens: CPU and bytes of the log, 8 and 64 messages to a commit.

Machines differ by a factor of three, and one machine from minute to minute, so a figure alone says little.
``--against DIR`` measures another checkout, which has its own .venv, in turn with this one, and prints the
ratios of the medians.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

PATH = Path(__file__).with_name("answerpath.py")
FRAMES = (8, 64)
COUNT = 2048
ROUNDS = 5
MILLIONS = 3_000_000
WHAT = {
    "cpu_us": "CPU µs a message",
    "later_us": "CPU µs after the answers",
    "wal_bytes": "bytes of the log a message",
    "later_wal_bytes": "bytes of the log after them",
}


def cache() -> Path:
    """Where stores of many messages are kept from one run to the next: more than a gigabyte each."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "umbridge-bench"


def python_of(checkout: Path) -> str:
    found = checkout / ".venv/bin/python"
    if not found.exists():
        raise SystemExit(f"bench: {checkout} has no .venv/bin/python; run `make check` there first")
    return str(found)


def code_of(python: str) -> str:
    """Where the code lies that this interpreter runs: asked before anything is measured."""
    asked = "import umbridge as it, pathlib; print(pathlib.Path(it.__file__).parents[1])"
    words = [python, "-P", "-c", asked]  # -P: not the checkout that we stand in, but its own
    done = subprocess.run(words, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"bench: {python} cannot import umbridge; run `make check` there first")
    return done.stdout.strip()


def once(python: str, count: int, frames: Sequence[int], rows: int, stores: Path) -> dict[str, Any]:
    """One measurement in a process of its own, by the code that this interpreter has installed."""
    words = [f"--count={count}", "--frames", *map(str, frames), f"--grown={rows}", f"--cache={stores}"]
    done = subprocess.run(
        [python, str(PATH), *words], stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True, check=False
    )
    if done.returncode or not done.stdout:
        raise SystemExit(f"bench: {python} {PATH.name} ended with {done.returncode}")
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def medians(runs: Sequence[dict[str, Any]], frames: Sequence[int]) -> dict[str, dict[str, float]]:
    """Of each figure the median over the runs, by how many frames went to a commit."""
    return {
        str(each): {
            name: round(statistics.median(run[str(each)][name] for run in runs), 1)
            for name in runs[0][str(each)]
        }
        for each in frames
    }


def compare(
    pythons: Sequence[str], count: int, frames: Sequence[int], rows: int, rounds: int, stores: Path
) -> list[dict[str, dict[str, float]]]:
    """The medians of each interpreter's code, measured in turn, so that other load meets all alike."""
    if len(pythons) > 1 and len(code := {code_of(each) for each in pythons}) == 1:
        raise SystemExit(f"bench: both interpreters run the code in {code.pop()}: nothing to compare")
    runs: list[list[dict[str, Any]]] = [[] for _ in pythons]
    for number in range(rounds):
        order = list(enumerate(pythons))
        for index, python in order if number % 2 == 0 else order[::-1]:
            runs[index].append(once(python, count, frames, rows, stores))
    return [medians(each, frames) for each in runs]


def lines(found: Sequence[dict[str, dict[str, float]]], title: str) -> list[str]:
    """A table: this checkout's figures and, beside them, the other's and the ratio."""
    other = found[1] if len(found) > 1 else None
    head = f"{title:<48}{'here':>10}" + (f"{'against':>10}{'ratio':>9}" if other else "")
    told = [head]
    for frames, figures in found[0].items():
        for name, what in WHAT.items():
            line = f"  {frames + ' a commit':<13}{what:<33}{figures[name]:>10,.0f}"
            if other:
                against = other[frames][name]
                # work left for later takes no time at all in a version that leaves none
                ratio = f"{figures[name] / against:>8.2f} ×" if against >= 1 else f"{'-':>8}"
                line += f"{against:>10,.0f}{ratio}"
            told.append(line)
    return told


def main(words: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="bench/answer.py", description="The path from a frame to its answer."
    )
    parser.add_argument("--frames", type=int, nargs="+", default=list(FRAMES), metavar="N", help="a commit")
    parser.add_argument("--count", type=int, default=COUNT, help="messages in one measurement")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="measurements, of which the median counts")
    parser.add_argument("--against", type=Path, metavar="DIR", help="another checkout with its own .venv")
    parser.add_argument(
        "--grown", type=int, metavar="N", help=f"also on a store of N messages, such as {MILLIONS}"
    )
    parser.add_argument(
        "--cache", type=Path, default=cache(), metavar="DIR", help="where such stores are kept"
    )
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args(words)
    pythons = [sys.executable, *([python_of(asked.against)] if asked.against else [])]
    report = {}
    for rows in (0, *([asked.grown] if asked.grown else [])):
        found = compare(pythons, asked.count, asked.frames, rows, asked.rounds, asked.cache.resolve())
        report[str(rows)] = found
        if not asked.json:
            print(
                "\n".join(lines(found, f"a store of {rows:,} messages" if rows else "an empty store")),
                flush=True,
            )
    if asked.json:
        print(json.dumps(report))
    return 0


if __name__ == "__main__":
    sys.exit(main())

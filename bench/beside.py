"""Another checkout measured in turn with this one, each with its own interpreter: ratios of medians."""

from __future__ import annotations

import statistics
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from bench import answer, ours

ROUNDS = 5
CONNECTIONS = (8, 32)
RATE, SECONDS = 200, 10
COUNT = 2000
# What is printed, in this order; of the last a smaller one is better.
WHAT = {
    "answers_8": "answers a second, 8 connections",
    "answers_32": "answers a second, 32 connections",
    "determined": "determined a second, all plugins, all sent at once",
    "p99_ms": f"p99 of answers at {RATE}/s, ms",
}


def once(python: str, folder: Path, count: int, seconds: int) -> dict[str, float]:
    """One daemon on a store of its own, and the four loads on it."""
    with ours.running(folder, python=python) as daemon:
        daemon.measure(connections=CONNECTIONS[0], count=200, first=0)
        found = {}
        for number, connections in enumerate(CONNECTIONS, 1):
            load = daemon.measure(connections=connections, count=count, first=100_000 * number)
            _whole(load)
            found[f"answers_{connections}"] = load["per_second"]
        # stays of the first of these loads: there is a quarter as many that a later message can be about
        later = daemon.measure(connections=CONNECTIONS[0], count=count // 4, first=100_000, later=True)
        _whole(later)
        paced = daemon.measure(connections=CONNECTIONS[0], count=RATE * seconds, first=900_000, rate=RATE)
        _whole(paced)
    return {**found, "determined": later["determined_per_second"], "p99_ms": paced["p99_ms"]}


def _whole(load: dict[str, Any]) -> None:
    if load["errors"]:
        raise ours.BenchFailedError(f"not every message was accepted: {load['errors']}")


def compare(
    pythons: Sequence[str],
    say: Callable[[str], None],
    count: int = COUNT,
    rounds: int = ROUNDS,
    seconds: int = SECONDS,
) -> list[dict[str, float]]:
    """The medians of each interpreter's code, measured in turn, in the other order each time."""
    if len({answer.code_of(python) for python in pythons}) < len(pythons):
        raise ours.BenchFailedError(f"both interpreters run {answer.code_of(pythons[0])}: nothing to compare")
    runs: list[list[dict[str, float]]] = [[] for _ in pythons]
    for number in range(rounds):
        order = list(enumerate(pythons))
        for index, python in order if number % 2 == 0 else order[::-1]:
            say(f"round {number + 1} of {rounds}: {python}")
            with tempfile.TemporaryDirectory(prefix="umbridge-bench-") as folder:
                runs[index].append(once(python, Path(folder) / "site", count, seconds))
    return [{name: statistics.median(run[name] for run in each) for name in WHAT} for each in runs]


def lines(here: dict[str, float], there: dict[str, float]) -> list[str]:
    """The table, at most 100 columns wide."""
    told = [f"{'':<52}{'here':>10}{'against':>10}{'ratio':>9}"]
    for name, what in WHAT.items():
        ratio = f"{here[name] / there[name]:>8.2f} ×" if there[name] else f"{'-':>8}"
        told.append(f"  {what:<50}{here[name]:>10,.1f}{there[name]:>10,.1f}{ratio}")
    return told


def main(checkout: Path, machine: Sequence[str], say: Callable[[str], None], rounds: int = ROUNDS) -> int:
    """Both ways to measure: whole daemons, and the answer path alone."""
    pythons = [sys.executable, answer.python_of(checkout)]
    print("\n".join([*machine, f"median of {rounds}, this checkout and {checkout} in turn"]), flush=True)
    print("\n".join(lines(*compare(pythons, say, rounds=rounds))), flush=True)
    say("the answer path alone")
    alone = answer.compare(pythons, answer.COUNT, answer.FRAMES, 0, rounds, answer.cache())
    print("\n".join(["", *answer.lines(alone, "in process: intake and writer, no sockets")]))
    return 0

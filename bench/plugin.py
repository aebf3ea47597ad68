"""What asking a plugin costs: one plugin, then all that are installed, through the host and the sandbox.

Prints microseconds at p50 and p99, the start of the workers, and a calibration (SHA-256 of 1 kB) beside
them, since machines differ and drift. Each time for screens whose truths were met before, as in most screens
of a stay, and for patients who are new each time. The last line is for cases that travel together, as they
do while messages wait.
"""

from __future__ import annotations

import hashlib
import random
import statistics
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal

from umbridge.model import Case, Reading, Sample
from umbridge.screening.host import Host
from umbridge.values.kinds import Level, ReviewType, Status

AT = datetime(2026, 3, 2, 12, tzinfo=UTC)
VALUES = {
    "age": 72,
    "bun": 28,
    "resp_rate": 32,
    "sbp": 118,
    "dbp": 70,
    "spo2": 91,
    "sodium": 136,
    "glucose": 140,
}
UNITS = {
    "bun": "mg/dL",
    "resp_rate": "/min",
    "sbp": "mm[Hg]",
    "dbp": "mm[Hg]",
    "spo2": "%",
    "sodium": "mmol/L",
    "glucose": "mg/dL",
    "age": "a",
}
CALLS = 1000
TOGETHER = 16  # as the lane worker asks while messages wait


def question(values: Mapping[str, int]) -> Case:
    facts = {}
    for fact, value in values.items():
        sample = Sample(Decimal(value), AT, "ZZ1 OBX[1]-5", UNITS[fact])
        facts[fact] = Reading(fact, sample, sample, sample, (sample,))
    return Case(
        "zz",
        ReviewType.ADMISSION,
        Status.INPATIENT,
        Level.ACUTE,
        AT,
        1,
        ("J18.9",),
        "COMMERCIAL",
        None,
        False,
        facts,
    )


def patients() -> list[Case]:
    """As many as there are calls; hardly two of them alike to the rules."""
    chance = random.Random(20261122)
    return [
        question(
            {
                fact: round(value * chance.uniform(0.5, 1.5))
                for fact, value in VALUES.items()
                if chance.random() < 0.9
            }
        )
        for _ in range(CALLS)
    ]


def calibration() -> float:
    began = time.perf_counter()
    for _ in range(20_000):
        hashlib.sha256(bytes(1000)).digest()
    return (time.perf_counter() - began) / 20_000 * 1e6


def measure(names: list[str] | None) -> None:
    host = Host()
    began = time.perf_counter()
    host.start(names)
    start = (time.perf_counter() - began) * 1000
    try:
        plugins = [info.name for info in host.plugins]
        known, new = [question(VALUES)] * CALLS, patients()
        one_by_one(host, plugins, known[:100])
        print(
            f"{len(plugins)} plugin(s): known truths {shown(one_by_one(host, plugins, known))}; "
            f"new patients {shown(one_by_one(host, plugins, new))}; "
            f"{TOGETHER} known together {shown(together(host, plugins, known))} each; start {start:.0f} ms; "
            f"isolation {', '.join(sorted({info.isolation for info in host.plugins}))}; "
            f"calibration {calibration():.2f} us"
        )
    finally:
        host.stop()


def one_by_one(host: Host, plugins: list[str], cases: list[Case]) -> list[float]:
    """Microseconds until all plugins have answered one case."""
    took = []
    for case in cases:
        began = time.perf_counter()
        answers = host.screen(dict.fromkeys(plugins, case))
        took.append((time.perf_counter() - began) * 1e6)
        assert all(answer.failed is None for answer in answers.values())
    return took


def together(host: Host, plugins: list[str], cases: list[Case]) -> list[float]:
    """Microseconds a case, asked many at once."""
    took = []
    for first in range(0, len(cases), TOGETHER):
        asked = [dict.fromkeys(plugins, case) for case in cases[first : first + TOGETHER]]
        began = time.perf_counter()
        answers = host.answers(host.ask(asked))
        took.append((time.perf_counter() - began) * 1e6 / len(asked))
        assert all(answer.failed is None for answers_of in answers for answer in answers_of.values())
    return took


def shown(took: list[float]) -> str:
    cut = statistics.quantiles(took, n=100)
    return f"p50 {cut[49]:.0f} us, p99 {cut[98]:.0f} us"


if __name__ == "__main__":
    measure(["interqual_like"])
    measure(None)

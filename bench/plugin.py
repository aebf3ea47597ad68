"""What asking a plugin costs: one plugin, then all that are installed, through the host and the sandbox.

Prints microseconds at p50 and p99, the start of the workers, and a calibration (SHA-256 of 1 kB) beside
them, since machines differ and drift.
"""

from __future__ import annotations

import hashlib
import statistics
import time
from datetime import UTC, datetime
from decimal import Decimal

from umbridge.criteria.host import Host
from umbridge.model import Case, Level, Reading, ReviewType, Sample, Status

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
}
CALLS = 2000


def question() -> Case:
    facts = {}
    for fact, value in VALUES.items():
        sample = Sample(
            Decimal(value), AT, "ZZ1 OBX[1]-5", UNITS.get(fact, "mg/dL" if fact == "glucose" else "a")
        )
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
        asked = {info.name: question() for info in host.plugins}
        for _ in range(100):
            host.screen(asked)
        took = []
        for _ in range(CALLS):
            began = time.perf_counter()
            answers = host.screen(asked)
            took.append((time.perf_counter() - began) * 1e6)
        assert all(answer.failed is None for answer in answers.values())
        levels = {answer.isolation for answer in answers.values()}
    finally:
        host.stop()
    cut = statistics.quantiles(took, n=100)
    print(
        f"{len(asked)} plugin(s): p50 {cut[49]:.0f} us, p99 {cut[98]:.0f} us; start {start:.0f} ms; "
        f"isolation {', '.join(sorted(levels))}; calibration {calibration():.2f} us"
    )


if __name__ == "__main__":
    measure(["interqual_like"])
    measure(None)

"""A stay as a hospital has it, played through a daemon day by day, with what a clock alone brings."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from installation import Installation, Running
from test_rereading import passed

from umbridge import delivery, sample

PROGRAM = Path(__file__).parent / "planted" / "another_day.py"
ARRIVED = datetime(2026, 3, 2, 22, 0, tzinfo=UTC)  # five in the afternoon of the hospital's day
SHOW = ("stays", "show", "ZZVN0000003", "--purpose", "HPAYMT")
MORNING = (
    ("9279-1^Respiratory rate^LN", "16", "/min"),
    ("8867-4^Heart rate^LN", "78", "/min"),
    ("8480-6^Systolic blood pressure^LN", "124", "mm[Hg]"),
    ("8310-5^Body temperature^LN", "36.8", "Cel"),
    ("UMB-SPO2RA^Oxygen saturation on room air^99UMB", "96", "%"),
)


@contextmanager
def day(one: Installation, patch: pytest.MonkeyPatch, hours: float) -> Iterator[Running]:
    """A daemon whose clock begins so long after the arrival; what passed in silence is looked at first."""
    patch.setenv("ZZ_NOW", (ARRIVED + timedelta(hours=hours)).isoformat())
    running = one.start((str(PROGRAM),))
    try:
        passed(one, ARRIVED + timedelta(hours=hours))
        yield running
        running.worked()
        assert running.stop() == 0
    finally:
        running.kill()


def send(running: Running, *frames: bytes) -> None:
    told = [("", frame) for frame in frames]
    asyncio.run(delivery.send_all("127.0.0.1", running.port, told, connections=1, done=lambda sent: None))
    running.worked()


def vitals(hours: float) -> bytes:
    """Those of a patient who is better, sent as a report of their own."""
    better = replace(sample.PNEUMONIA, vitals=MORNING)
    frame = sample.stay(3, ARRIVED + timedelta(hours=hours), better)[1]
    own = frame.replace(b"ZC0000003.02", f"ZC0000003.V{hours}".encode())
    return own.replace(b"ZZR0000003-10", f"ZZR0000003-V{hours}".encode())


def adt(trigger: str, hours: float) -> bytes:
    """As the admission, at another time."""
    frame = sample.stay(3, ARRIVED + timedelta(hours=hours), sample.PNEUMONIA)[-1]
    lines = frame.replace(b"ADT^A01", f"ADT^{trigger}".encode()).replace(b"|A01|", f"|{trigger}|".encode())
    came = (ARRIVED + sample.ZONE).strftime("%Y%m%d%H%M%S").encode()
    wrong = (ARRIVED + sample.ZONE + timedelta(hours=hours)).strftime("%Y%m%d%H%M%S").encode()
    pv1 = [line.replace(wrong, came) if line.startswith(b"PV1") else line for line in lines.split(b"\r")]
    return b"\r".join(pv1).replace(b"ZC0000003.06", f"ZC0000003.{trigger}".encode())


def order_again(hours: float, effective: float) -> bytes:
    """The inpatient order changed (XO) at ``hours``: it is to take effect at another time (ORC-15)."""
    frame = sample.stay(3, ARRIVED, sample.PNEUMONIA)[4]
    msh, *lines = frame.replace(b"ZC0000003.05", b"ZC0000003.XO").split(b"\r")
    sent, then = (
        (ARRIVED + sample.ZONE + timedelta(hours=each)).strftime("%Y%m%d%H%M%S").encode()
        for each in (hours, effective)
    )
    fields = msh.split(b"|")
    fields[6] = sent + b"-0500"
    for n, line in enumerate(lines):
        if line.startswith(b"ORC|"):
            orc = line.split(b"|")
            orc[1], orc[9], orc[15] = b"XO", sent, then
            lines[n] = b"|".join(orc)
    return b"\r".join([b"|".join(fields), *lines])


def changes(one: Installation) -> list[tuple[str, str]]:
    found = []
    for row in one.rows("ledger", "list", "--kind", "review.changed"):
        slots = one.rows("ledger", "show", str(row["seq"]), "--purpose", "HPAYMT")[0]["slots"]
        found.append((str(slots["review"]), str(slots["state"])))
    return found


def shown(one: Installation) -> dict[str, Any]:
    (found,) = one.rows(*SHOW)
    return found


def answers(one: Installation) -> int:
    return len(one.rows("ledger", "list", "--kind", "determination"))


def test_three_days_in_the_house(installation: Installation, monkeypatch: pytest.MonkeyPatch) -> None:
    """Admitted in the evening, better in the morning, home on the third day: each review comes once."""
    one = installation
    one.roles("administrator", "ur_nurse")
    with day(one, monkeypatch, 2) as running:  # the evening
        send(running, *sample.stay(3, ARRIVED, sample.PNEUMONIA))
    assert changes(one) == [("ADMISSION", "closed")]
    before = answers(one)
    with day(one, monkeypatch, 15.2) as running:  # the morning
        assert answers(one) == before + len(running.now()["plugins"])  # at its moment, in silence
        send(running, vitals(15))
    assert changes(one) == [("ADMISSION", "closed")]
    with day(one, monkeypatch, 45.5) as running:  # the third day
        assert shown(one)["open_reviews"] == ["CONTINUED_STAY"]
        send(running, vitals(40), adt("A16", 41))
        assert shown(one)["open_reviews"] == ["CONTINUED_STAY", "DISCHARGE"]
        send(running, adt("A03", 43.5))
    said = shown(one)
    assert (said["lifecycle"], said["open_reviews"], said["exceptions"]) == ("discharged", [], [])
    assert said["closed_reviews"] == ["ADMISSION", "CONTINUED_STAY", "DISCHARGE"]
    assert changes(one) == [
        ("ADMISSION", "closed"),
        ("CONTINUED_STAY", "open"),
        ("DISCHARGE", "open"),
        ("CONTINUED_STAY", "closed"),
        ("DISCHARGE", "closed"),
    ]


def moments(one: Installation) -> list[tuple[str, str]]:
    """The review of each determination, and the moment that it was about."""
    rows = one.rows("ledger", "list", "--kind", "determination")
    shown = [one.rows("ledger", "show", str(row["seq"]), "--purpose", "HPAYMT")[0]["slots"] for row in rows]
    return [(str(slots["review"]), str(slots["judged_at"])) for slots in shown]


def test_an_order_that_is_put_off_is_judged_as_of_its_new_time(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Closed in the evening; in the morning the order is to count from the morning on. Nothing else moves."""
    one = installation
    one.roles("administrator", "ur_nurse")
    with day(one, monkeypatch, 5) as running:
        send(running, *sample.stay(3, ARRIVED, sample.PNEUMONIA))
    before = set(moments(one))
    with day(one, monkeypatch, 17) as running:
        send(running, vitals(15), order_again(16.5, 16))
        began = shown(one)["inpatient_start"]
    here = ZoneInfo("America/New_York")
    first, then = ((ARRIVED + timedelta(hours=each)).astimezone(here).isoformat() for each in (4, 16))
    assert began == then
    with day(one, monkeypatch, 28) as running:
        send(running, vitals(27))
    assert shown(one)["inpatient_start"] == began
    assert set(moments(one)) - before == {("ADMISSION", first), ("ADMISSION", then)}
    assert changes(one) == [("ADMISSION", "closed")]  # it was as ill since the arrival

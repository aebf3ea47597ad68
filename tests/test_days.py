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

from umbridge.commands import sample
from umbridge.intake import delivery

PROGRAM = Path(__file__).parent / "planted" / "another_day.py"
ARRIVED = datetime(2026, 3, 2, 22, 0, tzinfo=UTC)  # five in the afternoon of the hospital's day
MORNING = (
    ("9279-1^Respiratory rate^LN", "16", "/min"),
    ("8867-4^Heart rate^LN", "78", "/min"),
    ("8480-6^Systolic blood pressure^LN", "124", "mm[Hg]"),
    ("8310-5^Body temperature^LN", "36.8", "Cel"),
    ("UMB-SPO2RA^Oxygen saturation on room air^99UMB", "96", "%"),
)
#: In the order of ``MORNING``: not well and with no value for which a physician is called; and crashing.
UNWELL = ("22", "95", "124", "38.2", "92")
CRASHING = ("36", "142", "76", "39.8", "79")
HELD_UNTIL_SEEN, CANCELLED = "CRITICAL_VALUE", "STATUS_ORDER_CANCELLED"
#: Stays beside number 3, with which everything goes well: treated and unwell, treated and crashing, ready,
#: ready with a potassium of 6.9, and one whose order is cancelled.
TREATED, CRASHED, READY, READY_BUT, UNORDERED = range(4, 9)


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


def values(number: int, hours: float, said: tuple[str, ...]) -> bytes:
    """Vital signs of one of the others."""
    told = tuple((code, value, unit) for (code, _, unit), value in zip(MORNING, said, strict=True))
    return report(number, hours, replace(sample.PNEUMONIA, vitals=told), 1)


def report(number: int, hours: float, story: sample.Story, place: int) -> bytes:
    """One message of a story, later, under numbers of its own."""
    frame = sample.stay(number, ARRIVED + timedelta(hours=hours), story)[place]
    own = frame.replace(f"ZZR{number:07d}-".encode(), f"ZZR{number:07d}-{hours}-".encode())
    return own.replace(f"ZC{number:07d}.".encode(), f"ZC{number:07d}.{hours}-".encode())


def ordered(number: int, hours: float, control: str, code: str, placer: str = "T") -> bytes:
    """An order told at an hour. ``placer`` P is the one that admitted the patient."""
    frame = sample.stay(number, ARRIVED, sample.PNEUMONIA)[4]
    sent = (ARRIVED + sample.ZONE + timedelta(hours=hours)).strftime("%Y%m%d%H%M%S")
    number_of = f"ZZ{placer}{number:07d}^ZZEHR"
    lines = [line.split("|") for line in frame.decode().split("\r")]
    for fields in lines:
        if fields[0] == "MSH":
            fields[6], fields[9] = f"{sent}-0500", f"ZC{number:07d}.{control}{code}"
        elif fields[0] == "ORC":
            fields[1:3], fields[9], fields[15] = [control, number_of], sent, sent
        elif fields[0] == "OBR":
            fields[2], fields[4] = number_of, f"{code}^{code}^99UMB"
    return "\r".join("|".join(fields) for fields in lines).encode()


def evening(number: int) -> list[bytes]:
    """As number 3, with an antibiotic by vein."""
    return [*sample.stay(number, ARRIVED, sample.PNEUMONIA), ordered(number, 1.3, "NW", "RXCEFTRIV")]


def ready(number: int, potassium: str) -> list[bytes]:
    """Better, eating, on an antibiotic by mouth, and about to go."""
    eats = replace(sample.PNEUMONIA, findings=(("UMB-ORALINT", "Y"), ("UMB-MENTBL", "Y")))
    blood = replace(sample.PNEUMONIA, labs=(("2823-3^Potassium^LN", potassium, "mmol/L"),))
    return [
        ordered(number, 30, "DC", "RXCEFTRIV"),
        ordered(number, 30.1, "NW", "RXAMOXPO", "M"),
        values(number, 40, tuple(value for _, value, _ in MORNING)),
        report(number, 40.1, eats, 3),
        report(number, 40.2, blood, 2),
        ordered(number, 41, "NW", "ADTDC", "D"),
    ]


def changes(one: Installation) -> list[tuple[str, str]]:
    """Of number 3."""
    found = []
    for row in one.rows("ledger", "list", "--kind", "review.changed"):
        slots = one.rows("ledger", "show", str(row["seq"]), "--purpose", "HPAYMT")[0]["slots"]
        if slots["visit"] == "ZZVN0000003":
            found.append((str(slots["review"]), str(slots["state"])))
    return found


def shown(one: Installation, number: int = 3) -> dict[str, Any]:
    (found,) = one.rows("stays", "show", f"ZZVN{number:07d}", "--purpose", "HPAYMT")
    return found


def waiting(one: Installation) -> dict[tuple[int, str], tuple[str, list[str]]]:
    """The worklist: of each stay and review that is open the reason, and for what it is held."""
    return {
        (int(row["visit"][-7:]), row["review"]): (row["reason"], row["hold"])
        for row in one.rows("reviews", "list", "--purpose", "HPAYMT")
    }


def answers(one: Installation) -> int:
    return len(one.rows("ledger", "list", "--kind", "determination"))


def test_three_days_in_the_house(installation: Installation, monkeypatch: pytest.MonkeyPatch) -> None:
    """Admitted in the evening, better in the morning, home on the third day: each review comes once.

    And of others in the same house what must not leave the worklist by itself.
    """
    one = installation
    one.roles("administrator", "ur_nurse")
    others = range(TREATED, UNORDERED + 1)
    with day(one, monkeypatch, 2) as running:  # the evening
        send(running, *sample.stay(3, ARRIVED, sample.PNEUMONIA))
        send(running, *(frame for number in others for frame in evening(number)))
        assert waiting(one) == {}
        send(running, ordered(UNORDERED, 1.9, "CA", "ADTINPT", "P"))
        assert waiting(one) == {(UNORDERED, "ADMISSION"): (CANCELLED, ["INPATIENT_ORDER_MISSING"])}
        assert shown(one, UNORDERED)["exceptions"] == [CANCELLED]
    assert changes(one) == [("ADMISSION", "closed")]
    before = answers(one)
    with day(one, monkeypatch, 15.2) as running:  # the morning
        # at its moment, in silence
        assert answers(one) == before + (1 + len(others)) * len(running.now()["plugins"])
        send(running, vitals(15))
    assert changes(one) == [("ADMISSION", "closed")]
    with day(one, monkeypatch, 45.5) as running:  # the third day
        assert shown(one)["open_reviews"] == ["CONTINUED_STAY"]
        send(running, values(TREATED, 40, UNWELL), values(CRASHED, 40, CRASHING))
        send(running, *ready(READY, "4.1"), *ready(READY_BUT, "6.9"))
        open_ = {each: said for each, said in waiting(one).items() if each[0] != 3}
        later = {number: its for (number, kind), its in open_.items() if kind == "CONTINUED_STAY"}
        assert TREATED not in later  # the control: it meets, and closes
        assert later[CRASHED][1] == [HELD_UNTIL_SEEN]  # meets by the same treatment, and is seen
        leaving = {number: its for (number, kind), its in open_.items() if kind == "DISCHARGE"}
        assert leaving == {READY_BUT: ("DISCHARGE_EXPECTED", [HELD_UNTIL_SEEN])}  # the other one closed
        assert (UNORDERED, "ADMISSION") in open_
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
    new = {("ADMISSION", first), ("ADMISSION", then)}  # the first may have been looked at that evening
    assert set(moments(one)) - (before - new) == new
    assert changes(one) == [("ADMISSION", "closed")]  # it was as ill since the arrival

"""Troponin over the whole stay: known once repeated, of one assay, and changed only by more than a fifth."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from umbridge.model import Coded, Event, FactValue, Observation, Patient, Visit
from umbridge.settings.site import default_site
from umbridge.stay.fold import StayFold
from umbridge.stay.readings.serial import SERIAL_FACTS
from umbridge.stay.readings.window import readings
from umbridge.values.kinds import ReviewType

START = datetime(2026, 3, 10, 9, 0, tzinfo=UTC)
HSTNT, HSTNI = "67151-1", "89579-7"
ARRIVAL = Event(
    message_type="ADT",
    trigger="A04",
    control_id="ZZ-0",
    processing_id="P",
    sent_at=START,
    effective_at=START,
    patient=Patient((("7790006", "UMBH", "MR"),), "AC6", "19600303", "M"),
    visit=Visit(number="ZZVN6", patient_class="E", admitted_at=START),
)


def troponin(value: str, hours: float, code: str = HSTNT, limit: str = "10", **other: str) -> Observation:
    at = START + timedelta(hours=hours)
    status, report = other.get("status", "F"), f"R{code}{hours}"
    return Observation(
        *("NM", Coded(code, "", "LN"), Coded(), value, "ng/L", f"<{limit}", status, at, report),
        f"ZZ OBX[{code}@{hours}]-5",
    )


def known(*results: Observation, hours: float = 100) -> dict[str, FactValue]:
    fold = StayFold(default_site())
    fold.apply(ARRIVAL, 0)
    for seq, result in enumerate(results, 1):
        message = replace(
            ARRIVAL,
            message_type="ORU",
            trigger="R01",
            control_id=f"ZZ-{seq}",
            observations=(result,),
            visit=Visit(number="ZZVN6"),
        )
        fold.apply(message, seq)
    found = readings(
        fold, START + timedelta(hours=hours), review=ReviewType.ADMISSION, wanted=set(SERIAL_FACTS)
    )
    return {fact: reading.latest.value for fact, reading in found.items()}


@pytest.mark.parametrize(("second", "complete"), [(3.99, False), (4, True), (30, True)])
def test_a_repeat_counts_three_hours_after_the_first(second: float, complete: bool) -> None:
    found = known(troponin("4", 1), troponin("5", second))
    assert ("serial_troponin" in found) is complete
    assert found.get("serial_troponin", Decimal("0.5")) == Decimal("0.5")


def test_one_sample_settles_nothing() -> None:
    assert known(troponin("40", 1)) == {}
    assert known() == {}


def test_a_repeat_once_done_stays_done_for_the_whole_stay() -> None:
    """Unlike the fact itself, which looks back 12 hours (24 on later days)."""
    samples = (troponin("12", 1), troponin("6", 5))
    assert known(*samples, hours=5)["serial_troponin"] == Decimal("1.2")
    assert known(*samples, hours=80)["serial_troponin"] == Decimal("1.2")
    assert "serial_troponin" not in known(*samples, hours=4.9)  # what is still to come is not known


@pytest.mark.parametrize(
    ("first", "second", "changed"),
    [
        ("10", "12", False),
        ("10", "12.1", True),
        ("12.5", "10", False),  # of the value before, which is the higher here
        ("12.6", "10", True),
        ("12", "10", False),
        ("10", "10", False),
    ],
)
def test_a_change_is_more_than_a_fifth_either_way(first: str, second: str, changed: bool) -> None:
    assert known(troponin(first, 1), troponin(second, 2))["troponin_change"] is changed


def test_assays_are_never_mixed() -> None:
    other = troponin("2", 6, HSTNI)
    assert known(troponin("30", 1), other) == {}
    found = known(troponin("30", 1), other, troponin("33", 5))
    assert found == {"serial_troponin": Decimal("3.3"), "troponin_change": False}


def test_what_could_not_be_obtained_or_was_withdrawn_is_no_repeat() -> None:
    assert known(troponin("30", 1), troponin("", 5, status="X")) == {}
    repeat = troponin("33", 5)
    assert known(troponin("30", 1), repeat, repeat._replace(status="W")) == {}


@given(st.lists(st.tuples(st.integers(1, 400), st.integers(0, 90)), min_size=1, max_size=6))
@settings(max_examples=60, deadline=None)
def test_a_second_way_to_say_it(samples: list[tuple[int, int]]) -> None:
    by_hour = {hour: value for value, hour in samples}
    found = known(*(troponin(str(value), hour) for hour, value in by_hour.items()))
    hours, values = sorted(by_hour), [Decimal(value) / 10 for value in by_hour.values()]
    complete = hours[-1] - hours[0] >= 3
    assert found.get("serial_troponin") == (max(values) if complete else None)
    ordered = [Decimal(by_hour[hour]) for hour in hours]
    pairs = [(one, two) for place, one in enumerate(ordered) for two in ordered[place + 1 :]]
    changed = any(abs(two - one) * 5 > one for one, two in pairs) if pairs else None
    assert found.get("troponin_change") is changed

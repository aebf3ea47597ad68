"""Midnights by the local date, how a stay ended, and the other facts that a payment rule reads."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from umbridge.model import Coded, Coverage, Event, Observation, Order, Patient, Reading, Visit
from umbridge.settings.site import default_site
from umbridge.stay.clock import instant
from umbridge.stay.fold import StayFold
from umbridge.stay.readings.cut import Cut
from umbridge.stay.readings.payment import PAYMENT_FACTS, UNFORESEEN
from umbridge.stay.readings.window import readings
from umbridge.values.kinds import ReviewType

SITE = default_site()
ZONE = SITE.zone
ARRIVED = datetime(2026, 3, 2, 22, 0, tzinfo=ZONE)


def event(trigger: str, when: datetime, kind: str = "ADT", **other: Any) -> Event:
    visit = other.pop("visit", Visit(number="ZZVN5"))
    return Event(
        message_type=kind,
        trigger=trigger,
        control_id=f"ZZ-{trigger}",
        processing_id="P",
        sent_at=when,
        effective_at=when,
        patient=Patient((("7790005", "UMBH", "MR"),), "AC5", "19400303", "F"),
        visit=visit,
        **other,
    )


def arrival(**other: Any) -> Event:
    return event("A04", ARRIVED, visit=Visit(number="ZZVN5", patient_class="E", admitted_at=ARRIVED), **other)


def said(fact: str, value: str, when: datetime) -> Event:
    found = Observation(
        "TS", Coded(fact, "", "99UMB"), Coded(), value, "", "", "F", when, "R1", f"ZZ {fact} OBX[1]-5"
    )
    return event("R01", when, "ORU", observations=(found,))


def stamp(when: datetime) -> str:
    return when.strftime("%Y%m%d%H%M%S")


def ordered(when: datetime, code: str = "ADTINPT") -> Event:
    order = Order("NW", "ZZP1", "", "", Coded(code), when, (), "ZZ ORC[1]")
    return event("O01", when, "ORM", orders=(order,))


def left(when: datetime, disposition: str | None = "01") -> Event:
    visit = Visit(number="ZZVN5", patient_class="I", disposition=disposition, discharged_at=when)
    return event("A03", when, visit=visit)


def facts(*events: Event, now: datetime) -> dict[str, Reading]:
    fold = StayFold(SITE)
    for seq, each in enumerate(events):
        fold.apply(each, seq)
    return readings(fold, now, review=ReviewType.ADMISSION, wanted=set(PAYMENT_FACTS))


def value(found: dict[str, Reading], fact: str) -> object:
    return found[fact].latest.value if fact in found else None


def hours(n: float) -> timedelta:
    return timedelta(hours=n)


STARTED, EXPECTED = ARRIVED + hours(0.25), ARRIVED + hours(40)  # 22:15 on the 2nd; 14:00 on the 4th
CARE, UNTIL = (
    said("UMB-CARESTART", stamp(STARTED), ARRIVED + hours(1)),
    said("UMB-EXPDC", stamp(EXPECTED), ARRIVED + hours(1)),
)


def test_midnights_are_counted_from_care_and_from_the_order_and_so_far() -> None:
    found = facts(arrival(), CARE, UNTIL, ordered(ARRIVED + hours(11.5)), now=ARRIVED + hours(12))
    assert [
        value(found, f"midnights_{name}") for name in ("from_care", "from_order", "expected", "so_far")
    ] == [
        2,
        1,
        2,
        1,
    ]


def test_without_an_expected_discharge_only_what_has_passed_is_known() -> None:
    found = facts(arrival(), CARE, now=ARRIVED + hours(30))
    assert value(found, "midnights_so_far") == 2
    assert {"midnights_from_care", "midnights_from_order", "midnights_expected"} & set(found) == set()


def test_after_the_discharge_the_expectation_is_still_known_beside_what_came_of_it() -> None:
    gone = ARRIVED + hours(14)
    found = facts(arrival(), CARE, UNTIL, ordered(ARRIVED + hours(1)), left(gone), now=gone + hours(1))
    assert (value(found, "midnights_from_care"), value(found, "midnights_expected")) == (1, 2)
    assert value(found, "midnights_so_far") == 1


def test_midnights_on_leave_are_not_hospital_care() -> None:
    out, back = ARRIVED + hours(12), ARRIVED + hours(60)  # away over the 4th's and the 5th's midnight
    events = [arrival(), CARE, ordered(ARRIVED + hours(1)), event("A21", out)]
    assert value(facts(*events, now=ARRIVED + hours(50)), "midnights_so_far") == 1
    assert value(facts(*events, event("A22", back), now=ARRIVED + hours(62)), "midnights_so_far") == 1
    assert value(facts(*events, event("A22", back), now=ARRIVED + hours(80)), "midnights_so_far") == 2


@given(st.integers(0, 60 * 24 * 6), st.integers(0, 60 * 24 * 4))
@settings(max_examples=60, deadline=None)
def test_midnights_are_local_dates_even_when_the_clocks_change(start: int, stay: int) -> None:
    """Around 8 March 2026, when New York's clocks go forward: dates, not multiples of 24 hours."""
    arrived = datetime(2026, 3, 6, 5, 0, tzinfo=UTC) + timedelta(minutes=start)
    now = arrived + timedelta(minutes=stay)
    here = event("A04", arrived, visit=Visit(number="ZZVN5", patient_class="E", admitted_at=arrived))
    days = (now.astimezone(ZONE).date() - arrived.astimezone(ZONE).date()).days
    assert value(facts(here, ordered(arrived, "ADTOBS"), now=now), "midnights_so_far") == days


def waiting(code: str, when: datetime) -> Event:
    found = said("UMB-DCBARR", code, when)
    return replace(
        found, observations=(found.observations[0]._replace(value_type="CWE", answers=(Coded(code),)),)
    )


@pytest.mark.parametrize("review", [ReviewType.ADMISSION, ReviewType.RETROSPECTIVE])
def test_a_wait_is_read_now_by_a_first_look_whenever_it_was_told(review: ReviewType) -> None:
    """The moment is six hours after the arrival; on the third day somebody says that the patient waits."""
    fold = StayFold(SITE)
    for seq, each in enumerate((arrival(), CARE, waiting("SNF_BED", ARRIVED + hours(50)))):
        fold.apply(each, seq)
    at = ARRIVED + hours(6)
    cut = Cut(review, instant(ARRIVED + hours(10)), from_arrival=True)

    def barrier(now: datetime) -> object:
        found = readings(fold, at, review=cut, wanted={"discharge_barrier"}, stay=fold.stay(now))
        return value(found, "discharge_barrier")

    assert barrier(ARRIVED + hours(49)) is None
    assert barrier(ARRIVED + hours(51)) == "SNF_BED"
    assert barrier(ARRIVED + hours(90)) == "SNF_BED"  # a midnight that was spent in waiting stays so
    later = readings(
        fold, ARRIVED + hours(90), review=ReviewType.CONTINUED_STAY, wanted={"discharge_barrier"}
    )
    assert later == {}  # of a later day it is asked what is so


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        *(("01", False), ("03", False), ("02", True), ("07", True), ("20", True), ("50", True)),
        *(("51", True), ("99", None), (None, None)),
    ],
)
def test_how_the_stay_ended(code: str | None, expected: bool | None) -> None:
    gone = ARRIVED + hours(14)
    events = (arrival(), ordered(ARRIVED + hours(1)), left(gone, code))
    assert value(facts(*events, now=gone + hours(1)), "unforeseen_departure") is expected
    assert value(facts(*events[:2], now=gone), "unforeseen_departure") is False  # still here


def test_every_unforeseen_end_is_one_that_a_profile_can_name() -> None:
    assert set(UNFORESEEN) <= set(SITE.dispositions.values()) | {"OTHER"}


def test_the_payer_is_known_only_when_the_profile_knows_it() -> None:
    medicare = next(code for code, found in SITE.payer_types.items() if found == "MEDICARE_FFS")
    for plan, expected in ((medicare, "MEDICARE_FFS"), ("ZZNOSUCH", None)):
        covered = arrival(coverage=(Coverage(1, "ZZ", plan),))
        assert value(facts(covered, now=ARRIVED + hours(1)), "payer_class") == expected
    assert value(facts(arrival(), now=ARRIVED + hours(1)), "payer_class") is None


def test_an_admission_begins_with_the_inpatient_order_or_else_with_observation() -> None:
    watched, admitted = ARRIVED + hours(2), ARRIVED + hours(30)
    events = [arrival(), ordered(watched, "ADTOBS")]
    assert value(facts(*events, now=ARRIVED + hours(1)), "admission_start") is None
    assert value(facts(*events, now=ARRIVED + hours(3)), "admission_start") == watched.isoformat()
    later = replace(ordered(admitted), control_id="ZZ-IN")
    assert value(facts(*events, later, now=admitted + hours(1)), "admission_start") == admitted.isoformat()

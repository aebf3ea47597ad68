"""No later review closes by itself over a latest value at which a physician is called."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal

import pytest

from umbridge.clinical import news2
from umbridge.criteria.unreadhold import RESULT_UNREAD
from umbridge.model import Case, FactValue, Reading, Sample, ScreenResult
from umbridge.review.critical import (
    CRITICAL_VALUE,
    EMERGENCY,
    LIMITS,
    LOOKED_AT,
    critical,
    told_of_a_critical_value,
)
from umbridge.review.moment import Judged
from umbridge.review.review import Review
from umbridge.review.waves import is_named
from umbridge.stay.dictionary import DERIVED, dictionary
from umbridge.stay.readings.cut import Cut
from umbridge.values.interval import Interval
from umbridge.values.kinds import Level, Outcome, ReviewState, ReviewType, Status

NOW = datetime(2026, 3, 4, 8, tzinfo=UTC)
MEETS = ScreenResult(Outcome.MEETS, "zz", "2026.1", "sha256:0", supported=Level.ACUTE)
STEP = Decimal("0.01")


def case(**facts: FactValue) -> Case:
    known = {}
    for fact, value in facts.items():
        sample = Sample(value, NOW, "ZZ1 OBX[1]-5")
        known[fact] = Reading(fact, sample, sample, sample, (sample,))
    plain = (ReviewType.CONTINUED_STAY, Status.INPATIENT, Level.ACUTE, NOW, 3, ("J18.9",), "COMMERCIAL")
    return Case("zz", *plain, None, False, known)


def review(kind: ReviewType, *, moment: int | None = None) -> Review:
    judged = Judged(NOW, Cut(kind), moment=moment)
    return Review("ZZ-1", kind, ReviewState.OPEN, NOW, None, 3, Status.INPATIENT, Level.ACUTE, "", judged)


def held(whole: Case, kind: ReviewType = ReviewType.CONTINUED_STAY, said: ScreenResult = MEETS) -> bool:
    return CRITICAL_VALUE in told_of_a_critical_value(said, review(kind), whole).hold


@pytest.mark.parametrize(
    ("fact", "op", "limit"), [(fact, op, limit) for fact, its in LIMITS.items() for op, limit in its]
)
def test_each_limit_a_step_to_either_side(fact: str, op: str, limit: Decimal) -> None:
    outward = STEP if op[0] == ">" else -STEP
    assert held(case(**{fact: limit + outward}))
    assert held(case(**{fact: limit})) is (op in ("<=", ">="))
    assert not held(case(**{fact: limit - outward}))
    unsure = Interval.bound("<" if op[0] == ">" else ">", limit + outward)
    assert held(case(**{fact: unsure}))  # it may be beyond: missing is never normal


def test_a_saturation_goes_by_the_limit_of_this_patient() -> None:
    for limit, at, expected in [
        (90, 91, True),
        (90, 92, False),
        (88, 87, True),
        (88, 88, False),
        (84, 83, True),
    ]:
        assert held(case(spo2=Decimal(at), spo2_limit=Decimal(limit))) is expected
    assert held(case(spo2=Decimal(91)))
    assert not held(case(spo2=Decimal(92)))


def test_who_is_not_alert_and_is_not_usually_so() -> None:
    assert held(case(consciousness="V"))
    assert not held(case(consciousness="A"))
    assert not held(case(consciousness="C", mentation_at_baseline=True))
    assert held(case(consciousness="C", mentation_at_baseline=False))


def test_a_troponin_holds_a_discharge_alone() -> None:
    for ratio, moved, expected in [
        ("1.01", True, True),
        ("1", True, False),
        ("3", False, False),
        ("3", None, True),
    ]:
        facts: dict[str, FactValue] = {"troponin_ratio": Decimal(ratio)}
        if moved is not None:
            facts["troponin_change"] = moved
        assert held(case(**facts), ReviewType.DISCHARGE) is expected
        assert not held(case(**facts))


def test_first_looks_answers_that_do_not_meet_and_the_highest_level_are_left_alone() -> None:
    ill = case(potassium=Decimal("6.9"))
    for kind in ReviewType:
        later = kind in (ReviewType.CONTINUED_STAY, ReviewType.DISCHARGE, ReviewType.OBSERVATION)
        assert held(ill, kind) is later
        first = told_of_a_critical_value(MEETS, review(kind, moment=1), ill)
        assert first is MEETS
    for outcome in (Outcome.REFER, Outcome.PEND, Outcome.NOT_APPLICABLE):
        assert not held(ill, said=replace(MEETS, outcome=outcome))
    highest = replace(MEETS, supported=Level.CRITICAL)
    assert not held(ill, said=highest)
    assert held(ill, ReviewType.DISCHARGE, highest)


def test_the_words_name_the_value_and_the_worklist_the_reason() -> None:
    said = told_of_a_critical_value(MEETS, review(ReviewType.DISCHARGE), case(potassium=Decimal("6.9")))
    assert "potassium 6.9" in said.rationale
    assert is_named(CRITICAL_VALUE)
    assert critical(case()) == ()


def test_every_fact_is_one_of_the_dictionary() -> None:
    assert LIMITS.keys() <= dictionary().keys()
    assert {*dictionary(), *DERIVED} >= LOOKED_AT


def test_many_signs_that_are_each_a_little_off_come_to_an_emergency() -> None:
    """Seven points call a team with skills of critical care (RCP 2017); none of these is three alone."""
    six = {"resp_rate": Decimal(22), "sbp": Decimal(98), "heart_rate": Decimal(115)}
    assert news2.least_sum(case(**six).facts) == EMERGENCY - 1
    assert not held(case(**six))
    assert held(case(**six, temperature=Decimal("38.4")))
    said = told_of_a_critical_value(
        MEETS, review(ReviewType.CONTINUED_STAY), case(**six, temperature=Decimal("38.4"))
    )
    assert "NEWS2 of 7 or more" in said.rationale


def test_a_new_ischaemia_holds_and_a_rise_of_creatinine_holds_a_discharge() -> None:
    assert held(case(ecg_new_ischemia=True)) and not held(case(ecg_new_ischemia=False))
    for rise, expected in [("0.29", False), ("0.3", True)]:
        risen = case(creatinine_rise_48h=Decimal(rise))
        assert held(risen, ReviewType.DISCHARGE) is expected
        assert not held(risen)


@pytest.mark.parametrize("fact", sorted({*LIMITS, "spo2", "consciousness", "troponin_ratio", "creatinine"}))
def test_what_nobody_can_read_may_be_critical(fact: str) -> None:
    unread = replace(case(), unread=(fact,))
    is_of_leaving = fact in ("troponin_ratio", "creatinine")
    for kind in (ReviewType.CONTINUED_STAY, ReviewType.DISCHARGE):
        said = told_of_a_critical_value(MEETS, review(kind), unread)
        assert (RESULT_UNREAD in said.hold) is (kind is ReviewType.DISCHARGE or not is_of_leaving)
        assert (fact in said.rationale) is (RESULT_UNREAD in said.hold)
    assert told_of_a_critical_value(MEETS, review(ReviewType.CONTINUED_STAY, moment=1), unread) is MEETS
    twice = replace(MEETS, hold=(RESULT_UNREAD,))
    assert told_of_a_critical_value(twice, review(ReviewType.DISCHARGE), unread) is twice


def test_who_is_called_ready_is_told_of_it_too_and_no_day_was_avoidable() -> None:
    said = replace(
        MEETS, outcome=Outcome.REFER, discharge_ready=True, avoidable_day="12.02", avoidable_attribution="x"
    )
    found = told_of_a_critical_value(said, review(ReviewType.CONTINUED_STAY), case(potassium=Decimal("6.9")))
    assert CRITICAL_VALUE in found.hold and "potassium 6.9" in found.rationale
    assert found.avoidable_day is None and found.avoidable_attribution is None
    assert found.outcome is Outcome.REFER and found.discharge_ready is True
    well = case(potassium=Decimal(4))
    assert told_of_a_critical_value(said, review(ReviewType.CONTINUED_STAY), well) is said


def test_a_ratio_is_said_to_two_places() -> None:
    said = told_of_a_critical_value(
        MEETS, review(ReviewType.DISCHARGE), case(troponin_ratio=Decimal(900) / Decimal(14))
    )
    assert "troponin_ratio 64.29." in said.rationale

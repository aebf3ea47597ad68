"""A later day closes neither over a wait that was told nor by treatment that may be only left on."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from umbridge.commands.pages import REASONS
from umbridge.model import Case, FactValue, Reading, Sample, ScreenResult
from umbridge.review.moment import Judged
from umbridge.review.review import Review
from umbridge.review.staying import (
    BY_MOUTH,
    DELAYS,
    DISCHARGE_BARRIER,
    LITTLE,
    STABLE,
    STABLE_ON_TREATMENT,
    looked_at,
    told_of_staying,
    treatments,
)
from umbridge.review.waves import is_named
from umbridge.stay.dictionary import DERIVED, dictionary
from umbridge.stay.readings.cut import Cut
from umbridge.values.interval import Interval
from umbridge.values.kinds import Level, Outcome, ReviewState, ReviewType, Status

NOW = datetime(2026, 3, 4, 8, tzinfo=UTC)
MEETS = ScreenResult(Outcome.MEETS, "zz", "2026.1", "sha256:0", supported=Level.ACUTE)
STEP = Decimal("0.01")
WELL: dict[str, FactValue] = {
    "temperature": Decimal("36.8"),
    "heart_rate": Decimal(78),
    "resp_rate": Decimal(16),
    "sbp": Decimal(134),
    "spo2": Decimal(97),
}
CONTINUED, DISCHARGE = ReviewType.CONTINUED_STAY, ReviewType.DISCHARGE


def case(**facts: FactValue) -> Case:
    known = {}
    for fact, value in facts.items():
        sample = Sample(value, NOW, "ZZ1 OBX[1]-5")
        known[fact] = Reading(fact, sample, sample, sample, (sample,))
    plain = (CONTINUED, Status.INPATIENT, Level.ACUTE, NOW, 3, ("J18.9",), "COMMERCIAL")
    return Case("zz", *plain, None, False, known)


def review(kind: ReviewType, *, moment: int | None = None) -> Review:
    judged = Judged(NOW, Cut(kind), moment=moment)
    return Review("ZZ-1", kind, ReviewState.OPEN, NOW, None, 3, Status.INPATIENT, Level.ACUTE, "", judged)


def holds(kind: ReviewType = CONTINUED, said: ScreenResult = MEETS, **facts: FactValue) -> tuple[str, ...]:
    return told_of_staying(said, review(kind), case(**facts)).hold


def is_left_on(**facts: FactValue) -> bool:
    """Whether a patient with these facts, else well, is held as stable on treatment."""
    return STABLE_ON_TREATMENT in holds(**{**WELL, **facts})


@pytest.mark.parametrize("code", dictionary()["discharge_barrier"].codes)
def test_who_waits_is_for_a_person_and_a_delay_is_one_before_a_discharge_alone(code: str) -> None:
    ill: dict[str, FactValue] = {"resp_rate": Decimal(30), "vasopressor": True, "discharge_barrier": code}
    assert (DISCHARGE_BARRIER in holds(**ill)) is (code not in DELAYS)
    assert DISCHARGE_BARRIER in holds(DISCHARGE, **ill)
    said = told_of_staying(MEETS, review(DISCHARGE), case(**ill))
    assert code in said.rationale
    for outcome in (Outcome.REFER, Outcome.PEND, Outcome.NOT_APPLICABLE):
        assert holds(DISCHARGE, replace(MEETS, outcome=outcome), **ill) == ()
    assert told_of_staying(MEETS, review(DISCHARGE, moment=1), case(**ill)) is MEETS
    for kind in set(ReviewType) - {CONTINUED, DISCHARGE}:
        assert holds(kind, **ill) == ()


@pytest.mark.parametrize("fact", sorted(treatments()))
def test_every_treatment_of_a_stable_patient_alone_and_beside_an_antibiotic(fact: str) -> None:
    """An order left on is one of a patient whom it alone keeps; what takes a hospital to give keeps them."""
    assert is_left_on(**{fact: True}) is (fact in BY_MOUTH)
    assert is_left_on(iv_anti_infective=True, **({fact: True} if fact != "iv_anti_infective" else {})) is (
        fact in BY_MOUTH
    )
    assert is_left_on(**{fact: True, "oral_intake": True}) is (fact in BY_MOUTH or fact == "iv_fluids")
    assert not is_left_on(**{fact: False})


@pytest.mark.parametrize("fact", sorted([*STABLE, "spo2"]))
def test_each_sign_of_stability_a_step_to_either_side_and_not_known(fact: str) -> None:
    op, limit = STABLE.get(fact, (">=", Decimal(90)))
    outward = STEP if op == "<=" else -STEP
    assert is_left_on(iv_anti_infective=True, **{fact: limit})
    assert not is_left_on(iv_anti_infective=True, **{fact: limit + outward})
    unsure = Interval.bound("<" if op == ">=" else ">", limit - outward)
    assert not is_left_on(iv_anti_infective=True, **{fact: unsure})  # it may be beyond
    less = {name: value for name, value in WELL.items() if name != fact}
    assert holds(**less, iv_anti_infective=True) == ()  # not known is not stable


def test_what_else_says_that_a_patient_is_not_stable_or_cannot_swallow() -> None:
    against: list[dict[str, FactValue]] = [
        {"oral_intake": False},
        {"mentation_at_baseline": False},
        {"active_bleeding": True},
        {"consciousness": "C"},
        {"pao2_fio2": Decimal(299)},
    ]
    for each in against:
        assert not is_left_on(iv_anti_infective=True, **each)
    assert is_left_on(iv_anti_infective=True, pao2_fio2=Decimal(300))
    assert is_left_on(iv_anti_infective=True, consciousness="C", mentation_at_baseline=True)
    own = {"spo2": Decimal(87), "spo2_limit": Decimal(86)}
    assert is_left_on(iv_anti_infective=True, **own)
    assert not is_left_on(iv_anti_infective=True, **{**own, "spo2": Decimal(85)})


def test_oxygen_is_left_on_where_it_is_little_and_more_than_is_asked_for() -> None:
    for spo2, expected in [("95.99", False), ("96", True), ("99", True)]:
        assert is_left_on(o2_above_usual=True, spo2=Decimal(spo2)) is expected
    for spo2, expected in [("92.99", False), ("93", True)]:
        on_target = {"o2_target_88_92": True, "spo2_limit": Decimal(88)}
        assert is_left_on(o2_above_usual=True, spo2=Decimal(spo2), **on_target) is expected
    for fact, limit in LITTLE.items():
        assert is_left_on(o2_above_usual=True, **{fact: limit})
        assert not is_left_on(o2_above_usual=True, **{fact: limit + STEP})
    assert not is_left_on(o2_above_usual=False)


def test_what_is_more_than_the_ward_is_no_treatment_left_on() -> None:
    for level in Level:
        said = replace(MEETS, supported=level)
        found = holds(CONTINUED, said, **WELL, iv_anti_infective=True)
        assert (STABLE_ON_TREATMENT in found) is (level <= Level.ACUTE)
    assert holds(CONTINUED, replace(MEETS, supported=None), **WELL, iv_anti_infective=True)
    assert holds(DISCHARGE, MEETS, **WELL, iv_anti_infective=True) == ()


def test_the_words_name_treatment_and_values_and_say_what_is_not_known() -> None:
    said = told_of_staying(MEETS, review(CONTINUED), case(**WELL, iv_acid_suppression=True))
    assert "iv_acid_suppression" in said.rationale and "temperature 36.8," in said.rationale
    assert "Whether the patient eats is not known." in said.rationale
    eats = told_of_staying(MEETS, review(CONTINUED), case(**WELL, iv_acid_suppression=True, oral_intake=True))
    assert "not known" not in eats.rationale
    assert all(is_named(each) and each in REASONS for each in (DISCHARGE_BARRIER, STABLE_ON_TREATMENT))


def test_every_fact_that_is_looked_at_is_one() -> None:
    assert looked_at() <= {*dictionary(), *DERIVED}


_VALUES = st.fixed_dictionaries(
    {},
    optional={
        **{
            fact: st.sampled_from([STEP, Decimal(36), Decimal(97), Decimal(180)])
            for fact in (*STABLE, "spo2")
        },
        **{fact: st.booleans() for fact in (*treatments(), "oral_intake", "o2_above_usual")},
        "discharge_barrier": st.sampled_from(dictionary()["discharge_barrier"].codes),
    },
)


@given(_VALUES, st.sampled_from(list(ReviewType)), st.sampled_from(list(Outcome)))
def test_nothing_but_a_hold_and_words_is_added(
    facts: dict[str, FactValue], kind: ReviewType, outcome: Outcome
) -> None:
    """Never another outcome, and no answer closes that did not before."""
    said = replace(MEETS, outcome=outcome, hold=("ZZ_OWN",), rationale="Own words.")
    found = told_of_staying(said, review(kind), case(**facts))
    assert replace(found, hold=said.hold, rationale=said.rationale) == said
    assert found.hold[:1] == said.hold and found.rationale.startswith(said.rationale)

"""Which facts are measurements: the dictionary's groups say so, and silence and assessments are none."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from umbridge.clinical.measured import (
    MEASURED,
    MEASURED_WHEN_PLANNED,
    ORGAN_SUPPORT,
    measured,
    measurements,
    supported,
)
from umbridge.model import FactValue, Reading, Sample
from umbridge.stay.dictionary import DERIVED, dictionary
from umbridge.stay.readings.implied import IMPLIED
from umbridge.values.kinds import ReviewType

AT = datetime(2026, 3, 2, 22, 40, tzinfo=UTC)
#: What is worked out from measurements alone.
WORKED_OUT = {
    *("altered_mentation", "creatinine_rise_48h", "effective_osmolality", "hemoglobin_fall_24h"),
    *("rise_in_creatinine", "serial_troponin", "troponin_change", "corrected_sodium"),
}


def one(fact: str, value: FactValue, source: str = "ZZ1 OBX[1]-5") -> dict[str, Reading]:
    sample = Sample(value, AT, source)
    return {fact: Reading(fact, sample, sample, sample, (sample,))}


def test_the_table_is_what_the_dictionarys_groups_say() -> None:
    """A vital sign that the dictionary learns is a measurement, or this fails."""
    by_group = {
        fact
        for fact, kind in dictionary().items()
        if kind.group in ("vital", "laboratory", "ecg") and not kind.by_exception
    }
    assert by_group | {"ciwa_ar"} | WORKED_OUT == MEASURED
    assert set(DERIVED) >= WORKED_OUT
    assert {dictionary()[fact].group for fact in ORGAN_SUPPORT} == {"treatment"}
    assert dictionary().keys() >= MEASURED_WHEN_PLANNED


def test_silence_is_no_measurement() -> None:
    """Every fact that can be known though nobody sent anything: orders, a flag, finished forms, baselines."""
    for fact, kind in dictionary().items():
        if kind.by_exception or kind.closed_world or kind.closed_by or kind.group == "baseline":
            assert measured(one(fact, False), ReviewType.ADMISSION) == set(), fact


@pytest.mark.parametrize(
    ("fact", "source", "counts"),
    [
        ("st_elevation", "ZZ1 OBX[1]-5", True),
        ("st_elevation", "ZZ1 OBX[1]-5, implied by heart_ecg_score", False),
        ("st_elevation", "ZZ1 OBX[2]-5 over ZZ1 OBX[1]-5, implied by heart_ecg_score", True),
        ("gcs", "ZZ1 OBX[1]-5, implied by consciousness", True),
        ("worsened_congestion", "ZZ1 OBX[1]-5", False),
        ("age", "PID-7", False),
        ("telemetry", "ZZ1 ORC[1]", False),
    ],
)
def test_what_an_assessment_implies_is_none(fact: str, source: str, counts: bool) -> None:
    assert measured(one(fact, True, source), ReviewType.ADMISSION) == ({fact} if counts else set())


def test_every_measurement_that_can_be_implied_is_by_a_source_that_is_looked_at() -> None:
    assert IMPLIED.keys() & MEASURED == {"st_elevation", "gcs"}


def test_of_a_planned_operation_two_more_count_until_it_is_over() -> None:
    facts = one("bmi", True) | one("asa_class", True)
    for review in ReviewType:
        planned = review not in (ReviewType.CONTINUED_STAY, ReviewType.DISCHARGE)
        assert measured(facts, review) == (MEASURED_WHEN_PLANNED if planned else set())
        assert (measurements(review) == MEASURED) is not planned


def test_support_counts_while_it_is_in_force() -> None:
    facts = one("vasopressor", True) | one("niv", False) | one("telemetry", True)
    assert supported(facts) == {"vasopressor"}

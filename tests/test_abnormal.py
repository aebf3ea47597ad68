"""A measurement that is normal is no finding: with normal ones alone nothing above home closes."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal
from types import ModuleType

import pytest
import umbridge_interqual_like
import umbridge_mcg_like
import umbridge_two_midnight
from umbridge_kit.boundary_patients import AT, Value, case, choices, examined

from umbridge.clinical.measured import BROUGHT, MEASURED, MEASURED_WHEN_PLANNED, ORDINARY, ORGAN_SUPPORT
from umbridge.criteria.abnormal import abnormal
from umbridge.criteria.content import Subset
from umbridge.criteria.examination import truths_of
from umbridge.criteria.grounds import NO_MEASURED_FACT
from umbridge.model import Case, Reading, Sample, ScreenResult
from umbridge.review.waves import LEVEL_SUPPORTED, Verdict, holds, level_supported, settled
from umbridge.stay.dictionary import DERIVED, dictionary
from umbridge.values.kinds import Level, Outcome, ReviewType, Status

MET = (Outcome.MEETS, Outcome.MEETS_ADVISE_HIGHER)
FIRST = (ReviewType.ADMISSION, ReviewType.OBSERVATION, ReviewType.RETROSPECTIVE, ReviewType.PROSPECTIVE)
SUBSETS = [
    pytest.param(plugin, subset, id=f"{plugin.NAME} {subset.id}")
    for plugin in (umbridge_interqual_like, umbridge_mcg_like)
    for subset in plugin.LIBRARY.subsets.values()
    if not subset.shown_by  # there the picture is the finding
]
EXAMPLES = 12  # of each subset: one that has everything else, one that has nothing, the rest mixed


def test_every_measurement_and_every_support_has_an_ordinary_range() -> None:
    assert ORDINARY.keys() >= MEASURED | MEASURED_WHEN_PLANNED | ORGAN_SUPPORT
    for fact, (low, high) in ORDINARY.items():
        kind = dictionary().get(fact)
        if isinstance(low, Decimal):
            assert isinstance(high, Decimal)
            assert low <= high, fact
            if kind is not None and kind.possible is not None:
                assert kind.possible[0] <= low <= high <= kind.possible[1], fact
        elif kind is not None:
            assert low == high
            assert type(low) is {"boolean": bool, "code": str}[kind.kind], fact


def test_what_patients_bring_is_what_the_dictionarys_groups_say_and_no_measurement() -> None:
    by_group = {fact for fact, kind in dictionary().items() if kind.group in ("diagnosis", "baseline")}
    assert by_group <= BROUGHT
    assert not BROUGHT & (MEASURED | MEASURED_WHEN_PLANNED | ORGAN_SUPPORT)
    assert {fact for fact in BROUGHT if fact not in dictionary()} <= set(DERIVED) | {"spo2_limit"}


@pytest.mark.parametrize(
    ("fact", "healthy", "ill"),
    [
        ("heart_rate", "72", "125"),
        ("sbp", "118", "90"),
        ("temperature", "36.8", "38.1"),
        ("spo2", "98", "90"),
        ("bun", "14", "20"),
        ("hemoglobin", "14", "12.9"),
        ("troponin_ratio", "0.4", "1.1"),
        ("sodium", "140", "129"),
        ("arterial_ph", "7.4", "7.34"),
    ],
)
def test_a_textbooks_values_are_ordinary_and_its_limits_of_illness_are_not(
    fact: str, healthy: str, ill: str
) -> None:
    low, high = ORDINARY[fact]
    assert isinstance(low, Decimal)
    assert isinstance(high, Decimal)
    assert low < Decimal(healthy) < high
    assert not low <= Decimal(ill) <= high


def patients(subset: Subset) -> Iterator[dict[str, Value]]:
    """Measurements ordinary or absent, and everything else that the content reads as it may be."""
    rng = random.Random(subset.id)
    for number in range(EXAMPLES):
        values: dict[str, Value] = {}
        for fact, spec in subset.rules.facts.items():
            if fact in ORDINARY:
                if not number or rng.random() < 0.8:
                    values[fact] = ORDINARY[fact][number % 2]  # one end for all: none is a rise from another
            elif not spec.is_made and (options := choices(subset, fact)):
                share = (1.0, 0.0)[number] if number < 2 else 0.5
                if options == (False, True):
                    values[fact] = rng.random() < share
                elif number != 1:
                    values[fact] = options[-1] if number == 0 else rng.choice(options)
        yield values


@pytest.mark.parametrize(("plugin", "subset"), SUBSETS)
def test_with_ordinary_measurements_nothing_that_claims_a_level_closes(
    plugin: ModuleType, subset: Subset
) -> None:
    for values in patients(subset):
        for review in FIRST:
            for level in (Level.OBS, Level.ACUTE):
                found = plugin.umbridge_screen(case(plugin.LIBRARY, subset, values, level, review=review))
                assert found.outcome not in MET or holds(found), (values, review, found.rationale)


#: Of Medicare's rule everything but the need of hospital care.
EXPECTED: dict[str, tuple[Value, str]] = {
    "expectation_documented": (True, ""),
    "midnights_from_care": (Decimal(2), "{count}"),
    "midnights_from_order": (Decimal(2), "{count}"),
    "midnights_so_far": (Decimal(0), "{count}"),
}


@pytest.mark.parametrize(("plugin", "subset"), SUBSETS)
def test_at_either_end_of_what_is_ordinary_no_test_comes_out_as_a_finding(
    plugin: ModuleType, subset: Subset
) -> None:
    """A patient at the lower end is as ordinary as one at the upper, whichever of them a test is true of."""
    for end in (0, 1):
        values = {fact: ORDINARY[fact][end] for fact in subset.rules.facts if fact in ORDINARY}
        truths = truths_of(examined(subset, values))
        # a fever that lasts is two values: one alone, as here the ordinary ones are, says nothing of it
        leaves = [leaf for leaf in subset.rules.leaves if leaf.fact in ORDINARY and leaf.reads != "2 times"]
        assert not [leaf for leaf in leaves if abnormal(truths, leaf)]


LEVEL_PLUGINS = (umbridge_interqual_like, umbridge_mcg_like)


def under_medicare(subset_case: Case) -> tuple[dict[str, ScreenResult], ScreenResult]:
    """What the first wave and then Medicare's rule say of one patient whose two midnights are expected."""
    first = {
        each.NAME: each.umbridge_screen(subset_case) for each in (umbridge_interqual_like, umbridge_mcg_like)
    }
    facts = {}
    for fact, (value, unit) in EXPECTED.items():
        sample = Sample(value, AT, "ZZ1 OBX[1]-5", unit)
        facts[fact] = Reading(fact, sample, sample, sample, (sample,))
    level = level_supported(first, AT)
    if level is not None:
        facts[LEVEL_SUPPORTED] = level
    asked = replace(subset_case, payer_class="MEDICARE_FFS", requested_status=Status.INPATIENT, facts=facts)
    return first, umbridge_two_midnight.umbridge_screen(asked)


def closes(first: dict[str, ScreenResult], second: ScreenResult) -> bool:
    def verdict(result: ScreenResult, wave: int) -> Verdict:
        met = None if result.outcome is Outcome.NOT_APPLICABLE else result.outcome in MET
        return Verdict(met, wave, holds(result))

    return settled([*(verdict(each, 1) for each in first.values()), verdict(second, 2)])


@pytest.mark.parametrize(("plugin", "subset"), SUBSETS)
def test_with_ordinary_measurements_medicares_rule_closes_nothing_either(
    plugin: ModuleType, subset: Subset
) -> None:
    for values in patients(subset):
        for level in (Level.ACUTE, Level.CRITICAL):  # a screen that refers supports a lower level for others
            question = case(plugin.LIBRARY, subset, values, level)
            first, second = under_medicare(question)
            assert not closes(first, second), (values, [each.rationale for each in (*first.values(), second)])


def test_that_property_is_about_medicares_rule_being_met() -> None:
    """By a level that a screen refers with: one that rests on what somebody saw. And a finding closes."""
    held = 0
    for param in SUBSETS:
        for plugin, subset in [param.values]:
            for values in patients(subset):
                _, second = under_medicare(case(plugin.LIBRARY, subset, values))
                held += second.outcome is Outcome.MEETS and second.hold == (NO_MEASURED_FACT,)
    assert held >= 10
    subset = umbridge_interqual_like.LIBRARY.subsets["heart_failure"]
    ill = case(umbridge_interqual_like.LIBRARY, subset, {"spo2": Decimal(82), "spo2_limit": Decimal(90)})
    assert closes(*under_medicare(ill))


def test_the_property_is_about_answers_that_meet() -> None:
    """Of such patients many meet, so that the hold is what keeps them for a person."""
    met = {
        subset.id
        for param in SUBSETS
        for plugin, subset in [param.values]
        for values in patients(subset)
        if plugin.umbridge_screen(case(plugin.LIBRARY, subset, values)).outcome in MET
    }
    assert len(met) >= 20

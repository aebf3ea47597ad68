"""What people are asked for: what somebody can measure, and not what is worked out of it."""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from types import ModuleType

import pytest
import umbridge_interqual_like
import umbridge_mcg_like
from test_critical import case as nothing_known
from test_critical import review
from umbridge_kit.boundary_patients import case, choices

from umbridge.clinical.measured import MEASURED
from umbridge.criteria.content import Subset
from umbridge.lanes import asking
from umbridge.model import FactValue, Reading, Sample, ScreenResult
from umbridge.review import to_ask as toask
from umbridge.review.to_ask import AS_IT_IS, PARTS, to_ask, told_what_to_measure, with_parts
from umbridge.screening.host import Screened
from umbridge.stay.dictionary import DERIVED, dictionary
from umbridge.values.kinds import Outcome, ReviewType

AT = datetime(2026, 3, 2, 22, 40, tzinfo=UTC)
SUBSETS = [
    pytest.param(plugin, subset, id=f"{plugin.NAME} {subset.id}")
    for plugin in (umbridge_interqual_like, umbridge_mcg_like)
    for subset in plugin.LIBRARY.subsets.values()
]
SHARES = (0.0, 0.4, 0.7, 0.9)


def known(**values: FactValue) -> dict[str, Reading]:
    found = {}
    for fact, value in values.items():
        sample = Sample(value, AT, f"ZZ1 {fact}")
        found[fact] = Reading(fact, sample, sample, sample, (sample,))
    return found


def test_every_worked_out_fact_has_its_parts_or_is_asked_for_as_it_is() -> None:
    assert PARTS.keys() | AS_IT_IS == set(DERIVED)
    assert not PARTS.keys() & AS_IT_IS
    parts = {part for its in PARTS.values() for part in its}
    assert parts <= dictionary().keys(), "a part that is worked out itself would have to be asked for again"
    assert with_parts(frozenset(PARTS)) >= parts | {"home_oxygen"}
    assert with_parts(frozenset({"sodium"})) == {"sodium"}


@pytest.mark.parametrize(
    ("missing", "facts", "asked"),
    [
        (("corrected_sodium",), {}, ("glucose", "sodium")),
        (("corrected_sodium",), {"sodium": Decimal(121)}, ("glucose",)),
        (("corrected_sodium", "glucose"), {"sodium": Decimal(121)}, ("glucose",)),
        (("creatinine_rise_48h", "lactate"), {}, ("creatinine", "lactate")),
        # a second value is what is missing
        (("creatinine_rise_48h",), {"creatinine": Decimal(1)}, ("creatinine_rise_48h",)),
        (("age", "sex"), {}, ("age", "sex")),
        (("o2_above_usual",), {}, ("high_flow_o2", "niv", "o2_therapy")),
        (
            ("o2_above_usual",),
            {"home_oxygen": True, "o2_therapy": True, "niv": False, "high_flow_o2": False},
            ("home_o2_flow", "o2_flow"),
        ),
        (
            ("o2_above_usual",),
            {
                "home_oxygen": True,
                "o2_therapy": True,
                "niv": False,
                "high_flow_o2": False,
                "o2_flow": Decimal(2),
            },
            ("home_o2_flow",),
        ),
        (("o2_above_usual",), {"home_oxygen": False, "niv": False, "high_flow_o2": False}, ("o2_therapy",)),
        (("o2_therapy",), {}, ("o2_therapy",)),
    ],
)
def test_the_unknown_parts_are_asked_for(
    missing: tuple[str, ...], facts: dict[str, FactValue], asked: tuple[str, ...]
) -> None:
    assert to_ask(missing, known(**facts)) == asked


def asks(subset: Subset, share: float) -> dict[str, FactValue]:
    """Each fact of the content known or not; what is worked out too, as nobody knows here what it is of."""
    rng = random.Random(f"{subset.id} {share}")
    offered = {fact: choices(subset, fact) for fact, spec in subset.rules.facts.items() if not spec.is_made}
    return {fact: rng.choice(row) for fact, row in offered.items() if row and rng.random() < share}


def answered(plugin: ModuleType, subset: Subset) -> Iterator[tuple[ScreenResult, dict[str, Reading]]]:
    for share in SHARES:
        for kind in (ReviewType.ADMISSION, ReviewType.CONTINUED_STAY, ReviewType.DISCHARGE):
            question = case(plugin.LIBRARY, subset, asks(subset, share), review=kind)
            result = told_what_to_measure(plugin.umbridge_screen(question), question)
            yield result, dict(question.facts)


def unmeasurable(result: ScreenResult, facts: dict[str, Reading]) -> set[str]:
    """What an answer asks for that is worked out of something unknown, or is not the words' own."""
    named = {*result.missing, *result.advise_missing}
    return {
        fact
        for fact in named
        if any(part not in facts and toask._is_asked(part, facts) for part in PARTS.get(fact, ()))
    }


@pytest.mark.parametrize(("plugin", "subset"), SUBSETS)
def test_nobody_is_asked_for_what_is_worked_out_of_what_is_unknown(
    plugin: ModuleType, subset: Subset
) -> None:
    for result, facts in answered(plugin, subset):
        assert not unmeasurable(result, facts), result.rationale
        if result.missing:
            assert (
                f"ot known: {', '.join(result.missing)}." in result.rationale or len(result.rationale) >= 2000
            )


def test_the_property_sees_an_answer_as_the_plugin_gave_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """The planted bug: the plugin's names go through."""
    monkeypatch.setattr(toask, "to_ask", lambda missing, facts: tuple(missing))
    red = {
        subset.id
        for param in SUBSETS
        for plugin, subset in [param.values]
        if any(unmeasurable(*each) for each in answered(plugin, subset))
    }
    assert len(red) >= 5, "the planted bug went unseen: the property proves nothing"


def test_before_anything_is_measured_the_laboratory_is_asked_for_what_it_can_measure() -> None:
    subset = umbridge_interqual_like.LIBRARY.subsets["aki_electrolyte"]
    question = case(umbridge_interqual_like.LIBRARY, subset, {})
    said = umbridge_interqual_like.umbridge_screen(question)
    assert {"corrected_sodium", "creatinine_rise_48h"} <= set(said.missing)
    result = told_what_to_measure(said, question)
    assert result.outcome is Outcome.PEND
    assert set(result.missing) <= MEASURED - PARTS.keys()
    assert {"sodium", "glucose", "creatinine"} <= set(result.missing)
    assert "corrected_sodium" not in result.rationale


def test_the_daemon_asks_so() -> None:
    """It looks at every part, whoever declared it, and takes no plugin's answer as it comes."""
    assert asking._with_the_hosts(frozenset({"o2_above_usual"})) >= {"home_o2_flow", "o2_flow", "home_oxygen"}
    open_ = ScreenResult(Outcome.PEND, missing=("o2_above_usual",), rationale="Not known: o2_above_usual.")
    whole = nothing_known()
    found = asking._as_taken(Screened(open_, 1, ""), whole, review(ReviewType.CONTINUED_STAY), whole).result
    assert (found.missing, found.rationale) == (
        ("high_flow_o2", "niv", "o2_therapy"),
        "Not known: high_flow_o2, niv, o2_therapy.",
    )

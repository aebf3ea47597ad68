"""Nobody is said to be ready while a treatment runs that needs the hospital, by any file of any plugin."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from decimal import Decimal
from types import ModuleType

import pytest
import umbridge_interqual_like
import umbridge_mcg_like
from umbridge_kit.boundary_patients import AT, case, examined, reading

from umbridge.criteria.content import UNREAD_ORDER, Subset
from umbridge.criteria.sensitivity import Turning, read_tests
from umbridge.model import Reading, Sample
from umbridge.stay.dictionary import dictionary
from umbridge.values.kinds import Outcome, ReviewType

PLUGINS = (umbridge_interqual_like, umbridge_mcg_like)
#: Every treatment that takes a level of care, oxygen beyond what there is at home among them.
TREATMENTS = [*sorted(fact for fact, kind in dictionary().items() if kind.level), "o2_above_usual"]
WELL = {"spo2": Decimal(98), "spo2_room_air": Decimal(98), "spo2_limit": Decimal(90)}
FILES = [(plugin, subset) for plugin in PLUGINS for subset in plugin.LIBRARY.subsets.values()]


def test_no_rule_calls_a_patient_ready_on_any_treatment() -> None:
    """Exact: whatever else may be true of the patient, the rule is false, with nothing left to ask."""
    open_ = [
        (plugin.NAME, subset.id, fact)
        for plugin, subset in FILES
        for fact in TREATMENTS
        if examined(subset, {fact: True}).decide("discharge.ready").value is not False
    ]
    assert open_ == []
    assert (len(FILES), len(TREATMENTS)) == (37, 30)


def ready(subset: Subset) -> Mapping[str, Reading]:
    """A patient of whom every item of readiness is true, made from the rules."""
    rule = subset.rules.rules["discharge.ready"]
    turning = Turning(subset.rules, rule)
    test = next(each for each in read_tests(rule, subset.rules.scores) if each.fact in TREATMENTS)
    found = turning.by(test)
    assert found is not None
    facts = dict(found.first if found.truth else found.second)
    for spec in subset.rules.facts.values():  # the rules see one fact less another as a fact of its own
        if spec.minus is not None and facts.pop(spec.id, None) is not None:
            facts |= {fact: reading(subset, fact, WELL[fact]) for fact in spec.minus if fact in WELL}
    return facts


@pytest.mark.parametrize("plugin", PLUGINS, ids=lambda plugin: plugin.NAME)
def test_who_is_ready_is_so_no_more_once_a_treatment_or_an_unread_order_runs(plugin: ModuleType) -> None:
    """Every file, both questions, every treatment: it alone decides, for the patient is ready but for it."""
    sample = Sample(True, AT, "ZZ1 ORC[1]")
    for subset in plugin.LIBRARY.subsets.values():
        plain = case(plugin.LIBRARY, subset, {}, review=ReviewType.DISCHARGE)
        plain = replace(plain, facts={**plain.facts, **ready(subset)})
        stays = replace(plain, review=ReviewType.CONTINUED_STAY)
        assert plugin.umbridge_screen(plain).outcome is Outcome.MEETS, subset.id
        assert plugin.umbridge_screen(stays).discharge_ready is True, subset.id
        for fact in (*TREATMENTS, UNREAD_ORDER):
            treated = {**plain.facts, fact: Reading(fact, sample, sample, sample, (sample,))}
            left = plugin.umbridge_screen(replace(plain, facts=treated))
            stay = plugin.umbridge_screen(replace(stays, facts=treated))
            assert left.outcome is not Outcome.MEETS, (subset.id, fact)
            assert left.discharge_ready is not True and stay.discharge_ready is not True, (subset.id, fact)
            if fact == UNREAD_ORDER:
                assert (left.outcome, left.missing) == (Outcome.PEND, (UNREAD_ORDER,)), subset.id

"""Which tests a patient's measurements came out of otherwise than ordinary ones would.

A normal pressure and a normal temperature are measured, and say nothing for a level of care. What closes by
itself needs a measurement that is a finding: a test of it is true, or false, as it would not be of a value
that is nobody's illness (docs/judgement.md).
"""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from functools import lru_cache
from typing import cast

from umbridge.clinical.measured import ORDINARY
from umbridge.criteria.examination import truths_of
from umbridge.criteria.ruleset import RuleSet
from umbridge.criteria.tree import Item, Joint, Leaf
from umbridge.criteria.truths import Truths
from umbridge.model import Reading, Sample

_WHEN = datetime(2000, 1, 1, tzinfo=UTC)  # an ordinary value has no time; rules do not read it
_KEPT = 256  # rule sets, which are the same for every patient


@lru_cache(maxsize=_KEPT)
def ordinary(rules: RuleSet) -> tuple[Truths, Truths]:
    """What a subset's tests come to where nothing is known but measurements at the lower end of what is
    ordinary, and at the upper end."""
    return _all_at(rules, 0), _all_at(rules, 1)


def _all_at(rules: RuleSet, end: int) -> Truths:
    facts = {}
    for fact, spec in rules.facts.items():
        if fact in ORDINARY:
            sample = Sample(ORDINARY[fact][end], _WHEN, "", spec.unit)
            facts[fact] = Reading(fact, sample, sample, sample, (sample,))
    return truths_of(rules.examine(facts))


def abnormal(truths: Truths, test: Leaf | Joint) -> bool:
    """Whether a test that measurements decide came out otherwise than ordinary ones would have it."""
    return truths.of(test) not in [usual.of(test) for usual in ordinary(cast(RuleSet, truths.rules))]


def counted_abnormal(truths: Truths, item: Item) -> bool:
    """The same of a score's item whose points are the measurement itself."""
    low, high = ORDINARY.get(item.counts, (None, None))
    points = truths.counted(item.counts)
    if points is None or not isinstance(low, Decimal) or not isinstance(high, Decimal):
        return False
    return not low <= points <= high


def without(truths: Truths, facts: frozenset[str]) -> Truths:
    """The same patient with these measurements, and what is made of them, unknown."""
    rules = truths.rules
    left = (fact for fact, spec in rules.facts.items() if facts.isdisjoint((fact, *(spec.minus or ()))))
    return truths.kept(Truths.only, tuple(left))

"""Which value of a fact counts: by the dictionary, by the kind of review, by how severe a code is."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import cache

from umbridge.model import Reading, Sample
from umbridge.stay.dictionary import FactType, dictionary
from umbridge.stay.readings.cut import Cut
from umbridge.stay.results.statements import Result
from umbridge.values.kinds import ReviewType


def prevailing(reading: Reading, review: ReviewType) -> tuple[Sample, ...]:
    """The value the dictionary says this review goes by: one sample, or lowest and highest where both count.

    A first review takes the worst of the window; a continued stay the latest vital sign or laboratory value.
    """
    kind = dictionary().get(reading.fact)
    if kind is None or kind.worst == "latest" or (Cut(review).by_latest and kind.is_measured):
        return (reading.latest,)
    return {
        "max": (reading.high,),
        "worst": (reading.high,),
        "min": (reading.low,),
        "both": (reading.low, reading.high),
    }[kind.worst]


def latest_only(reading: Reading) -> Reading:
    """As a later look is told of it, whose rules are those of the first and ask for the worst."""
    kind = dictionary().get(reading.fact)
    if kind is None or not kind.is_measured:
        return reading
    return replace(reading, low=reading.latest, high=reading.latest)


@cache
def _codes(fact: str) -> dict[str, int]:
    return {code: place for place, code in enumerate(dictionary()[fact].codes)}


def severity_of(kind: FactType) -> Callable[[Result], int]:
    places = _codes(kind.id)
    return lambda each: places[str(each.value)]


@cache
def part2_ids() -> frozenset[str]:
    """All facts that carry substance-use content (42 CFR part 2)."""
    return frozenset(fact for fact, kind in dictionary().items() if kind.part2)


def part2_facts(facts: Iterable[str]) -> tuple[str, ...]:
    """Those of these facts."""
    return tuple(sorted(part2_ids().intersection(facts)))

"""Atoms of an unknown fact: the finitely many ranges between which no rule sees a difference."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from itertools import pairwise, product
from typing import cast

from umbridge.criteria.compiled import CompiledRules
from umbridge.criteria.tree import (
    TIMES,
    FactSpec,
    Leaf,
    counted_range,
    leaf_test,
)
from umbridge.model import FactValue, Reading, Sample

_WHEN = datetime(2000, 1, 1, tzinfo=UTC)  # cells have no time; rules do not read it


# Truth of each leaf about the fact, in their order; points if counted; whether an optional fact was left out.
Atom = tuple[tuple[bool, ...], int, bool]


def representatives(spec: FactSpec, leaves: list[Leaf]) -> Sequence[FactValue]:
    """Values of a fact that between them show every combination of its leaves' truths."""
    if spec.kind == "boolean":
        return [False, True]
    if spec.kind == "code":
        return list(spec.codes)
    points = sorted({leaf.value for leaf in leaves if isinstance(leaf.value, Decimal)})
    if spec.whole:
        values = {p + step for p in points for step in (Decimal(-1), Decimal(0), Decimal(1))}
    else:
        between = {(a + b) / 2 for a, b in pairwise(points)}
        values = set(points) | between | {points[0] - 1, points[-1] + 1} if points else set()
    kept = {
        v for v in values if (spec.low is None or v >= spec.low) and (spec.high is None or v <= spec.high)
    }
    return sorted(kept) or [Decimal(0) if spec.low is None else spec.low]


def _readings(spec: FactSpec, leaves: list[Leaf], values: Sequence[FactValue]) -> Iterator[Reading]:
    """Readings enough to meet every cell: one sample, or three where rules read the fact in several ways."""
    ways = {leaf.reads for leaf in leaves}
    counting = ways & set(TIMES)
    length = 4 if counting else 1 if len(ways) <= 1 and ways != {"any"} else 3
    for chosen in product(values, repeat=length):
        samples = [Sample(value, _WHEN, "", spec.unit) for value in chosen]
        if spec.kind in ("number", "datetime"):  # a time is read as hours back from the question
            ordered = sorted(samples, key=lambda sample: cast(Decimal, sample.value))
            low, high = ordered[0], ordered[-1]
        else:
            low, high = samples[-1], samples[0]
        yield Reading(spec.id, samples[-1], low, high, tuple(samples))


def readings_of(rules: CompiledRules, fact: str) -> dict[Atom, Reading]:
    """A reading for each cell of an unknown fact, where it is measured."""
    spec = rules.facts[fact]
    leaves = [rules.leaves[number] for number in rules.leaves_of[fact]]
    tests = [leaf_test(leaf) for leaf in leaves]
    if fact in rules.counted:
        low, high = counted_range(spec)
        samples = [Sample(Decimal(value), _WHEN, "", spec.unit) for value in range(low, high + 1)]
        pairs = [(Reading(fact, s, s, s, (s,)), low + place) for place, s in enumerate(samples)]
    else:
        pairs = [(reading, 0) for reading in _readings(spec, leaves, representatives(spec, leaves))]
    found: dict[Atom, Reading] = {}
    for reading, points in pairs:
        found.setdefault((tuple(test(reading) for test in tests), points, False), reading)
    return found


def atoms(rules: CompiledRules, fact: str) -> list[Atom]:
    """The cells of an unknown fact, in a fixed order."""
    found = set(readings_of(rules, fact))
    if any(node.leaf.fact == fact for node in rules.optional):  # it may also never be measured
        found |= {(truths, points, True) for truths, points, _ in found}
    return sorted(found)

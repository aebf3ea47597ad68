"""Two unknown facts read together: values that meet every region which their tests cut out of the plane."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from decimal import Decimal
from fractions import Fraction
from itertools import combinations, pairwise

from umbridge.criteria.compiled import CompiledRules
from umbridge.criteria.tree import OPERATORS, Joint


def between(points: set[Fraction]) -> list[Fraction]:
    """Each point above zero, one value in every gap between them, one below and one above."""
    edges = sorted(point for point in points if point > 0)
    if not edges:
        return [Fraction(1)]
    gaps = [(a + b) / 2 for a, b in pairwise(edges)]
    return sorted({*edges, *gaps, edges[0] / 2, edges[-1] + 1})


Pair = tuple[list[Fraction], list[Fraction]]


def pair_values(rules: CompiledRules, joints: list[Joint]) -> Pair:
    """Values of two unknown facts that between them show every combination of their tests' truths.

    Thresholds and joint tests cut the plane into finitely many regions by straight lines. Between two
    crossings the order of the lines along the other axis does not change, so it is enough to look along
    one line in each gap, in either direction. Facts read jointly are above zero.
    """
    first, second = joints[0].facts
    lines = [(Fraction(j.factors[0]), Fraction(j.factors[1]), Fraction(j.limit)) for j in joints]
    own_x, own_y = thresholds(rules, first), thresholds(rules, second)
    cross_x = own_x | {(k - b * y) / a for a, b, k in lines for y in own_y}
    cross_y = own_y | {(k - a * x) / b for a, b, k in lines for x in own_x}
    for (a, b, k), (c, d, m) in combinations(lines, 2):
        if a * d != b * c:
            cross_x.add((k * d - b * m) / (a * d - b * c))
            cross_y.add((a * m - k * c) / (a * d - b * c))
    along_x, along_y = between(cross_x), between(cross_y)
    xs = {(k - b * y) / a for a, b, k in lines for y in along_y} | set(along_x) | own_x
    ys = {(k - a * x) / b for a, b, k in lines for x in along_x} | set(along_y) | own_y
    return between(xs), between(ys)


def thresholds(rules: CompiledRules, fact: str) -> set[Fraction]:
    values = (rules.leaves[number].value for number in rules.leaves_of[fact])
    return {Fraction(value) for value in values if isinstance(value, Decimal)}


def solved(joints: list[Joint], side: int, known: Fraction) -> set[Fraction]:
    """Where the joint tests turn for the fact on one side, the other one known."""
    return {
        (Fraction(j.limit) - Fraction(j.factors[1 - side]) * known) / Fraction(j.factors[side])
        for j in joints
    }


def turns_at(joint: Joint, side: int, others: list[Fraction]) -> list[Fraction]:
    """Where ``factor * value`` turns the test, for each value of the other fact, in order."""
    factor, limit = Fraction(joint.factors[1 - side]), Fraction(joint.limit)
    return sorted(limit - factor * other for other in others)


def place(joint: Joint, side: int, value: Fraction, turns: list[Fraction]) -> int:
    """How many turns a value has passed: values at the same place have the same truth beside every other."""
    reached = Fraction(joint.factors[side]) * value
    return (bisect_right if joint.op in (">=", "<") else bisect_left)(turns, reached)


def joined(joint: Joint, side: int, value: Fraction, other: Fraction) -> bool:
    """The joint test at exact values, ``value`` being the fact on ``side``."""
    found = Fraction(joint.factors[side]) * value + Fraction(joint.factors[1 - side]) * other
    return OPERATORS[joint.op](found, Fraction(joint.limit))


def own_truths(rules: CompiledRules, fact: str, value: Fraction) -> tuple[bool, ...]:
    """The truths of the fact's own tests at an exact value; a fact read jointly is read in one way only."""
    leaves = (rules.leaves[number] for number in rules.leaves_of[fact])
    return tuple(OPERATORS[leaf.op](value, Fraction(leaf.value)) for leaf in leaves)  # type: ignore[arg-type]

"""What can still change a decision, where two facts are read together, repeated or counted from now."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from umbridge.criteria.examination import Examination
from umbridge.criteria.ruleset import RuleSet
from umbridge.criteria.sensitivity import AT as AT_MADE
from umbridge.criteria.sensitivity import Turning, always, idle_tests, read_tests, unreachable_bands
from umbridge.criteria.tree import (
    FactSpec,
    Group,
    Item,
    Joint,
    Leaf,
    Node,
    Not,
    Score,
    ScoreTest,
    Truth,
    every,
    one,
)
from umbridge.model import Reading, Sample

AT = datetime(2026, 3, 2, 22, 40, tzinfo=UTC)
FACTS = {
    "now": FactSpec("now", "number", "mg/dL", "high"),
    "before": FactSpec("before", "number", "mg/dL"),
    "other": FactSpec("other", "boolean"),
    "onset": FactSpec("onset", "datetime"),
    "warm": FactSpec("warm", "number", "Cel", "both"),
    "past": FactSpec("past", "number", whole=True, low=Decimal(0), high=Decimal(4)),
}


def leaf(fact: str, op: str, value: str, reads: str = "latest", unit: str = "mg/dL") -> Leaf:
    return Leaf(fact, op, Decimal(value), reads, FACTS[fact].kind, unit)


def ratio(op: str, value: str) -> Joint:
    factors = (Decimal(1), -Decimal(value))
    return Joint("ratio", ("now", "before"), ("highest", "latest"), factors, op, Decimal(0), Decimal(value))


def change(op: str, value: str) -> Joint:
    factors = (Decimal(2), Decimal(-1))
    limit = Decimal(value)
    return Joint("change", ("now", "before"), ("highest", "latest"), factors, op, limit, limit)


OTHER = Leaf("other", "is", True, "latest", "boolean")
LEAVES: list[Node] = [
    leaf("now", ">=", "4", "highest"),
    leaf("before", "<", "2"),
    ratio(">=", "1.5"),
    ratio(">=", "3"),
    ratio("<", "2"),
    change(">=", "3"),
    OTHER,
]
trees: st.SearchStrategy[Node] = st.recursive(
    st.sampled_from(LEAVES),
    lambda children: st.one_of(
        children.map(Not),
        st.lists(children, min_size=2, max_size=3).map(lambda found: one(*found)),
        st.lists(children, min_size=2, max_size=3).map(lambda found: every(*found)),
        st.lists(children, min_size=3, max_size=3).map(lambda found: Group(2, tuple(found))),
    ),
    max_leaves=5,
)
GRID = [Fraction(n, 4) for n in range(1, 41)]


def sample(fact: str, value: Decimal | bool | str) -> Reading:
    made = Sample(value, AT, "ZZ1 OBX[1]-5", FACTS[fact].unit)
    return Reading(fact, made, made, made, (made,))


def look(tree: Node, known: Mapping[str, Decimal | bool | str]) -> Examination:
    rules = RuleSet(FACTS, {}, {}, {"r.x": tree})
    return rules.examine({fact: sample(fact, value) for fact, value in known.items()}, AT)


Point = tuple[Fraction, Fraction, bool]


def leaf_holds(node: Node, point: Point) -> bool:
    now, before, other = point
    match node:
        case Leaf():
            if node.fact == "other":
                return other
            found, limit = (now if node.fact == "now" else before), Fraction(str(node.value))
        case Joint():
            found, limit = (now / before if node.name == "ratio" else 2 * now - before), Fraction(node.value)
        case _:
            raise AssertionError(node)
    return found >= limit if node.op == ">=" else found < limit


def plain(node: Node, points: tuple[Point, ...]) -> list[bool]:
    """The rules once more, two-valued and written the slow way, at many points."""
    match node:
        case Not():
            return [not truth for truth in plain(node.child, points)]
        case Group():
            columns = [plain(child, points) for child in node.children]
            return [sum(row) >= node.n for row in zip(*columns, strict=True)]
    return holding(node, points)


@cache
def holding(node: Node, points: tuple[Point, ...]) -> list[bool]:
    return [leaf_holds(node, point) for point in points]


@cache
def grid(now: str, before: str, other: str) -> tuple[Point, ...]:
    """Every completion on a grid fine enough to have a point in every region of the rules above."""
    first = [Fraction(now)] if now else GRID
    second = [Fraction(before)] if before else GRID
    third = [other == "True"] if other else [False, True]
    return tuple(itertools.product(first, second, third))


def brute(tree: Node, known: Mapping[str, Decimal | bool | str]) -> tuple[Truth, tuple[str, ...]]:
    names = ("now", "before", "other")
    points = grid(*(str(known.get(name, "")) for name in names))
    found = dict(zip(points, plain(tree, points), strict=True))
    if len(set(found.values())) == 1:
        return next(iter(found.values())), ()
    missing = set()
    for axis, name in enumerate(names):
        alone: dict[object, bool] = {}
        for point, truth in found.items():
            if alone.setdefault((*point[:axis], *point[axis + 1 :]), truth) != truth:
                missing.add(name)
                break
    return None, tuple(sorted(missing))


@given(
    trees,
    st.fixed_dictionaries(
        {},
        optional={
            "now": st.sampled_from([Decimal(v) for v in ("1", "3", "4", "5", "6")]),
            "before": st.sampled_from([Decimal(v) for v in ("1", "1.5", "2", "3")]),
            "other": st.booleans(),
        },
    ),
)
@settings(max_examples=50, deadline=None)
def test_facts_read_together_are_decided_as_on_a_fine_grid(
    tree: Node, known: dict[str, Decimal | bool | str]
) -> None:
    decision = look(tree, known).decide("r.x")
    assert (decision.value, decision.missing) == brute(tree, known)


def test_a_ratio_asks_for_what_is_missing_and_for_nothing_that_cannot_matter() -> None:
    risen = every(ratio(">=", "1.5"), leaf("now", ">=", "4", "highest"))
    assert look(risen, {}).decide("r.x").missing == ("before", "now")
    assert look(risen, {"now": Decimal("3.9")}).decide("r.x").value is False
    assert look(risen, {"now": Decimal(6)}).decide("r.x").missing == ("before",)
    assert look(risen, {"now": Decimal(6), "before": Decimal(4)}).decide("r.x").value is True
    # 4 is at least 1.5 times anything up to 2.67: below that baseline the ratio follows from the limit
    assert (
        look(one(ratio(">=", "1.5"), leaf("now", "<", "4", "highest")), {"before": Decimal(2)})
        .decide("r.x")
        .value
    )


@given(trees)
@settings(max_examples=60, deadline=None)
def test_a_test_that_can_turn_a_rule_is_shown_to_and_one_that_cannot_is_idle(tree: Node) -> None:
    """Against the grid: a test is idle exactly where no change of its fact across it changes the rule."""
    rules = RuleSet(FACTS, {}, {}, {"r.x": tree})
    turning = Turning(rules, tree)
    for test in read_tests(tree, {}):
        found = turning.by(test)
        if found is None:
            continue
        first, second = (rules.examine(facts, AT_MADE).truth("r.x") for facts in (found.first, found.second))
        assert {first, second} == {True, False}
        changed = [f for f in found.first if found.first[f].latest.value != found.second[f].latest.value]
        assert len(changed) == 1
        assert changed[0] in ((test.fact,) if isinstance(test, Leaf) else test.facts)
    if isinstance(tree, Leaf | Joint):
        assert turning.by(tree) is not None


def test_an_idle_test_is_found_out() -> None:
    over, far_over = leaf("now", ">=", "4", "highest"), leaf("now", ">=", "6", "highest")
    rules = RuleSet(FACTS, {}, {}, {"r.x": one(over, far_over)})
    assert idle_tests(rules, one(over, far_over)) == [far_over]
    assert idle_tests(rules, every(over, far_over)) == [over]
    assert always(rules, one(OTHER, Not(OTHER))) is True
    item = Item("a", ((over, 1), (far_over, 2)))
    assert unreachable_bands(rules, item) == [2]
    assert unreachable_bands(rules, Item("a", ((far_over, 2), (over, 1)))) == []


def test_the_turn_is_exact() -> None:
    """4.2 / 1.4 is 3 and nothing less, in decimals and without a division."""
    assert look(ratio(">=", "3"), {"now": Decimal("4.2"), "before": Decimal("1.4")}).truth("r.x")
    assert look(ratio(">=", "3"), {"now": Decimal("4.19"), "before": Decimal("1.4")}).truth("r.x") is False


def test_nought_is_no_concentration() -> None:
    exam = look(ratio(">=", "1.5"), {"now": Decimal(2), "before": Decimal(0)})
    assert exam.decide("r.x").missing == ("before",)
    assert [entry.fact for entry in exam.evidence("r.x")] == ["now"]


@pytest.mark.parametrize(("ago", "truth"), [(71.9, True), (72, True), (72.1, False), (-1, None), (0, True)])
def test_a_time_is_read_as_hours_back_from_the_question(ago: float, truth: Truth) -> None:
    rule = leaf("onset", "<=", "72", "since", "h")
    then = (AT - timedelta(hours=ago)).isoformat()
    exam = look(rule, {"onset": then})
    assert exam.truth("r.x") is truth
    assert exam.decide("r.x").missing == (() if truth is not None else ("onset",))
    assert [entry.value for entry in exam.evidence("r.x")] == ([] if truth is None else [then])


@pytest.mark.parametrize("wrong", ["yesterday", "2026-03-02T10:00:00", ""])
def test_what_is_no_time_is_unknown(wrong: str) -> None:
    assert look(leaf("onset", "<=", "72", "since", "h"), {"onset": wrong}).truth("r.x") is None
    rules = RuleSet(FACTS, {}, {}, {"r.x": leaf("onset", "<=", "72", "since", "h")})
    assert (
        rules.examine({"onset": sample("onset", AT.isoformat())}).truth("r.x") is None
    )  # no moment to count from


def test_times_counts_the_newest_samples() -> None:
    twice = leaf("warm", ">=", "38", "2 times", "Cel")
    rules = RuleSet(FACTS, {}, {}, {"r.x": twice, "r.y": leaf("warm", ">=", "39", "highest", "Cel")})
    made = [Sample(Decimal(v), AT, f"ZZ{v}", "Cel") for v in ("38.2", "37", "38.0", "36")]

    def truth(*picked: Sample) -> Truth:
        ordered = sorted(picked, key=lambda s: Decimal(str(s.value)))
        return rules.examine({"warm": Reading("warm", picked[-1], ordered[0], ordered[-1], picked)}).truth(
            "r.x"
        )

    assert truth(*made) is True
    assert truth(*made[:2], made[3]) is False
    assert truth(made[0]) is False
    assert rules.examine({}).decide("r.x").missing == ("warm",)
    both = RuleSet(FACTS, {}, {}, {"r.x": every(twice, Not(leaf("warm", ">=", "38", "highest", "Cel")))})
    assert both.examine({}).decide("r.x").value is False  # no two above without one above


def test_points_can_be_taken_off() -> None:
    """A rise above a baseline score: the baseline's own value counts against it."""
    score = Score("s", "S", ("x",), (Item("a", ((OTHER, 4),)), Item("less", counts="past", sign=-1)))
    rules = RuleSet(FACTS, {"s": score}, {}, {"r.x": ScoreTest("s", ">=", 2)})

    def exam(**known: Decimal | bool) -> Examination:
        return rules.examine({fact: sample(fact, value) for fact, value in known.items()})

    assert exam().bounds("s") == (-4, 4)
    assert exam(other=True, past=Decimal(1)).bounds("s") == (3, 3)
    assert exam(other=True).decide("r.x").missing == ("past",)
    assert exam(other=False).decide("r.x").value is False
    assert exam(past=Decimal(3)).decide("r.x").value is False
    assert exam(past=Decimal(2)).decide("r.x").missing == ("other",)

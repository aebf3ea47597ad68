"""Three-valued rules: exact against brute force, within bounds, whatever the order; then plain examples."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from umbridge.criteria.atoms import atoms
from umbridge.criteria.examination import Examination
from umbridge.criteria.ruleset import RuleSet
from umbridge.criteria.tree import (
    ALWAYS,
    Criterion,
    FactSpec,
    Group,
    IfMeasured,
    Item,
    Leaf,
    Node,
    Not,
    Score,
    ScoreTest,
    Truth,
    at_least,
    compare,
    every,
    one,
)
from umbridge.model import FactValue, Reading, Sample

AT = datetime(2026, 3, 2, 22, 40, tzinfo=UTC)
FACTS = {
    "a": FactSpec("a", "boolean"),
    "b": FactSpec("b", "boolean"),
    "n": FactSpec("n", "number", "mg/dL", "high"),
    "m": FactSpec("m", "number", "Cel", "both"),
    "c": FactSpec("c", "code", codes=("A", "C", "V")),
    "y": FactSpec("y", "number", whole=True, low=Decimal(3), high=Decimal(6)),
}
VALUES: dict[str, list[FactValue]] = {  # every value that any rule below can tell apart
    "a": [False, True],
    "b": [False, True],
    "n": [Decimal(v) for v in ("9", "10", "15", "20", "21")],
    "m": [Decimal(v) for v in ("34", "35", "37", "38", "39")],
    "c": ["A", "C", "V"],
    "y": [Decimal(v) for v in (3, 4, 5, 6)],
}


def reading(fact: str, value: FactValue, unit: str | None = None) -> Reading:
    sample = Sample(value, AT, "ZZ1 OBX[1]-5", FACTS[fact].unit if unit is None else unit)
    return Reading(fact, sample, sample, sample, (sample,))


def leaf(fact: str, op: str, value: FactValue, reads: str = "latest") -> Leaf:
    return Leaf(fact, op, value, reads, FACTS[fact].kind, FACTS[fact].unit)


LEAVES: list[Node] = [
    leaf("a", "is", True),
    leaf("b", "is", False),
    leaf("n", ">", Decimal(10)),
    leaf("n", ">=", Decimal(20)),
    leaf("m", "<", Decimal(35)),
    leaf("m", ">=", Decimal(38)),
    leaf("c", "is not", "A"),
    leaf("c", "is", "V"),
    leaf("y", ">=", Decimal(5)),
]
SCORE = Score(
    "s",
    "Score",
    ("x",),
    (
        Item("first", ((LEAVES[3], 4), (LEAVES[2], 1))),
        Item("years", counts="y"),  # other items come after it, one of them about the same fact
        Item("a", ((LEAVES[0], 3),)),
        Item("less", ((LEAVES[6], -2),)),
        Item("late", ((LEAVES[8], 1),)),
    ),
    (("I", 5), ("II", None)),
)
STEPPED = Score("t", "Stepped", ("x",), SCORE.items, (("I", 5), ("II", None)), LEAVES[1], "0")

leaves = st.sampled_from(
    [
        *LEAVES,
        *(ScoreTest("s", op, v) for op in (">=", "<", ">", "<=", "is") for v in (4, 6, 8)),
        ScoreTest("t", ">=", 5),
        ScoreTest("t", "<=", 6),
        IfMeasured(leaf("n", ">", Decimal(10)), "a"),
    ]
)


KEPT = [  # put to one after the other with the same readings, each gives what it gives to readings of its own
    RuleSet({**FACTS, "n": spec}, {}, {}, {"r.x": Leaf("n", ">", limit, "latest", "number", spec.unit)})
    for limit in (Decimal(10), Decimal(15))
    for spec in (FACTS["n"], FactSpec("n", "number", "mmol/L"))
]


def test_what_a_reading_came_to_in_some_rules_says_nothing_in_others() -> None:
    for value in VALUES["n"]:
        one_, other = reading("n", value), reading("n", value, "mmol/L")
        for rules in (*KEPT, *KEPT):
            for its in (one_, other):
                unit = rules.facts["n"].unit
                wanted = value > rules.leaves[0].value if its.latest.unit == unit else None
                exam = rules.examine({"n": its})
                assert exam.truth("r.x") is wanted
                assert set(exam.readable({"n": its}, ["n"])) == ({"n"} if wanted is not None else set())


def test_a_reading_under_another_name_is_tested_as_that_fact() -> None:
    specs = {"n": FactSpec("n", "number"), "o": FactSpec("o", "number")}
    leaves_ = [
        Leaf("n", ">", Decimal(10), "latest", "number"),
        Leaf("o", ">", Decimal(20), "latest", "number"),
    ]
    rules = RuleSet(specs, {}, {}, {"r.n": leaves_[0], "r.o": leaves_[1]})
    its = reading("n", Decimal(15), "")
    for _ in range(2):
        exam = rules.examine({"n": its, "o": its})
        assert (exam.truth("r.n"), exam.truth("r.o")) == (True, False)
        assert [each.fact for each in exam.evidence("r.n", "r.o")] == ["n", "o"]


def groups(children: st.SearchStrategy[Node]) -> st.SearchStrategy[Node]:
    lists = st.lists(children, min_size=1, max_size=3)
    return st.one_of(
        children.map(Not),
        lists.map(lambda found: one(*found)),
        lists.map(lambda found: every(*found)),
        lists.flatmap(lambda f: st.integers(1, len(f)).map(lambda n: Group(n, tuple(f)))),
    )


trees: st.SearchStrategy[Node] = st.recursive(leaves, groups, max_leaves=5)
knowns = st.fixed_dictionaries(
    {}, optional={fact: st.sampled_from(values) for fact, values in VALUES.items()}
)


def rules_of(tree: Node) -> RuleSet:
    return RuleSet(FACTS, {"s": SCORE, "t": STEPPED}, {}, {"r.x": tree})


def look(rules: RuleSet, known: dict[str, FactValue]) -> Examination:
    return rules.examine({fact: reading(fact, value) for fact, value in known.items()})


def plain(node: Node, known: dict[str, FactValue], left_out: bool) -> bool:
    """The rules once more, two-valued and written the slow way: what a complete set of facts comes to."""
    match node:
        case Leaf():
            value = known[node.fact]
            if node.op in ("is", "is not"):
                return (value == node.value) is (node.op == "is")
            assert isinstance(value, Decimal)
            assert isinstance(node.value, Decimal)
            return {"<": value < node.value, ">": value > node.value, ">=": value >= node.value}[node.op]
        case IfMeasured():
            return False if left_out else plain(node.leaf, known, left_out)
        case Not():
            return not plain(node.child, known, left_out)
        case Criterion():
            return plain(node.rule, known, left_out)
        case Group():
            return sum(plain(child, known, left_out) for child in node.children) >= node.n
        case ScoreTest():
            if node.score == "t" and known["b"] is False:
                return node.op in ("<", "<=", "is not")
            years = int(str(known["y"]))
            total = years
            n = known["n"]
            assert isinstance(n, Decimal)
            total += 4 if n >= 20 else 1 if n > 10 else 0
            total += 3 if known["a"] else 0
            total += -2 if known["c"] != "A" else 0
            total += 1 if years >= 5 else 0
            tests = {">=": total >= node.value, "<": total < node.value, ">": total > node.value}
            return (tests | {"<=": total <= node.value, "is": total == node.value})[node.op]


def brute(tree: Node, known: dict[str, FactValue]) -> tuple[Truth, tuple[str, ...]]:
    """Every completion, one by one. An unknown ``n`` may stay unmeasured where a rule makes it optional."""
    names = sorted(set(FACTS) - set(known))
    options = {name: [(value, False) for value in VALUES[name]] for name in names}
    if "n" not in known:
        options["n"] = [(value, True) for value in VALUES["n"]] + ([] if "a" in known else options["n"])
    outcomes = {}
    for chosen in itertools.product(*(range(len(options[name])) for name in names)):
        picked = {name: options[name][i] for name, i in zip(names, chosen, strict=True)}
        full = known | {name: value for name, (value, _) in picked.items()}
        outcomes[chosen] = plain(tree, full, picked["n"][1] if "n" in picked else False)
    if len(set(outcomes.values())) == 1:
        return next(iter(outcomes.values())), ()
    missing = set()
    for place, name in enumerate(names):
        for chosen, outcome in outcomes.items():
            first = (*chosen[:place], 0, *chosen[place + 1 :])
            if outcomes[first] != outcome:
                missing.add(name)
                break
    return None, tuple(sorted(missing))


@given(trees, knowns)
@settings(max_examples=200, deadline=None)
def test_a_decision_and_its_missing_facts_are_those_of_brute_force(
    tree: Node, known: dict[str, FactValue]
) -> None:
    decision = look(rules_of(tree), known).decide("r.x")
    assert (decision.value, decision.missing) == brute(tree, known)


@given(trees, knowns)
@settings(max_examples=150, deadline=None)
def test_kleene_never_contradicts_the_exact_answer(tree: Node, known: dict[str, FactValue]) -> None:
    exam = look(rules_of(tree), known)
    truth = exam.truth("r.x")
    assert truth is None or exam.decide("r.x").value is truth
    assert exam.trace("r.x").truth is exam.decide("r.x").value


@given(trees, knowns, st.sampled_from(sorted(VALUES)), st.data())
@settings(max_examples=200, deadline=None)
def test_one_more_known_fact_never_undoes_a_decision(
    tree: Node, known: dict[str, FactValue], fact: str, data: st.DataObject
) -> None:
    rules = rules_of(tree)
    before = look(rules, known).decide("r.x")
    if fact in known:
        return
    after = look(rules, known | {fact: data.draw(st.sampled_from(VALUES[fact]))}).decide("r.x")
    if before.value is not None:
        assert after.value is not None
        # An optional item was left out; measured, it counts, so the value may move. Nothing else may move it.
        assert after.value is before.value or fact in {node.leaf.fact for node in rules.optional}
    elif fact not in before.missing and not rules.optional:
        assert after.value is None


@given(knowns, knowns)
@settings(max_examples=200, deadline=None)
def test_an_unknown_fact_resolved_either_way_stays_within_the_announced_bounds(
    known: dict[str, FactValue], more: dict[str, FactValue]
) -> None:
    rules = rules_of(LEAVES[0])
    low, high = look(rules, known).bounds("s")
    inner_low, inner_high = look(rules, more | known).bounds("s")
    assert low <= inner_low <= inner_high <= high


@given(trees, knowns, st.randoms())
@settings(max_examples=80, deadline=None)
def test_the_order_of_the_facts_changes_nothing(tree: Node, known: dict[str, FactValue], rng: object) -> None:
    shuffled = list(known.items())
    rng.shuffle(shuffled)  # type: ignore[attr-defined]
    first, second = look(rules_of(tree), known), look(rules_of(tree), dict(shuffled))
    assert first.decide("r.x") == second.decide("r.x")
    assert first.scores() == second.scores()
    assert first.evidence("r.x") == second.evidence("r.x")


@given(trees, knowns)
@settings(max_examples=80, deadline=None)
def test_evidence_names_known_facts_only(tree: Node, known: dict[str, FactValue]) -> None:
    assert {entry.fact for entry in look(rules_of(tree), known).evidence("r.x")} <= set(known)


@given(st.lists(st.sampled_from([True, False, None]), max_size=6), st.integers(0, 6))
def test_n_of_agrees_with_every_completion(truths: list[Truth], n: int) -> None:
    options = [[True, False] if truth is None else [truth] for truth in truths]
    found = {sum(chosen) >= n for chosen in itertools.product(*options)}
    assert at_least(n, truths) is (found.pop() if len(found) == 1 else None)


@given(
    st.integers(-5, 5),
    st.integers(0, 5),
    st.sampled_from(["<", "<=", ">", ">=", "is", "is not"]),
    st.integers(-6, 11),
)
def test_bounds_agree_with_every_number_within_them(low: int, width: int, op: str, value: int) -> None:
    tests = {
        "<": lambda x: x < value,
        "<=": lambda x: x <= value,
        ">": lambda x: x > value,
        ">=": lambda x: x >= value,
        "is": lambda x: x == value,
        "is not": lambda x: x != value,
    }
    found = {tests[op](number) for number in range(low, low + width + 1)}
    assert compare(low, low + width, op, value) is (found.pop() if len(found) == 1 else None)


def test_no_facts_is_unknown_and_never_false() -> None:
    exam = look(rules_of(one(*LEAVES)), {})
    assert exam.decide("r.x").value is None


@pytest.mark.parametrize(
    "wrong",
    [
        reading("n", Decimal(50), "mmol/L"),
        reading("n", Decimal(50), ""),
        reading("n", "50"),
        reading("n", True),
        reading("n", Decimal("NaN")),
        reading("n", Decimal("Infinity")),
    ],
)
def test_another_unit_or_type_is_unknown(wrong: Reading) -> None:
    rules = rules_of(leaf("n", ">", Decimal(10)))
    assert rules.examine({"n": wrong}).decide("r.x").missing == ("n",)


@pytest.mark.parametrize("wrong", ["2", "7", "4.5"])
def test_a_counted_number_outside_its_bounds_is_unknown_and_not_the_nearest(wrong: str) -> None:
    exam = look(rules_of(LEAVES[0]), {"y": Decimal(wrong)})
    assert "y" not in exam.known
    assert exam.counted("y") is None


def test_a_code_the_content_does_not_list_is_unknown() -> None:
    rules = rules_of(leaf("c", "is not", "A"))
    assert rules.examine({"c": reading("c", "Z")}).decide("r.x").missing == ("c",)


def test_a_fact_is_read_as_the_rule_says() -> None:
    low, mid, high = (Sample(Decimal(v), AT, f"ZZ{v}", "Cel") for v in (34, 37, 39))
    facts = {"m": Reading("m", mid, low, high, (high, low, mid))}
    for reads, expected in (("latest", False), ("lowest", False), ("highest", True), ("any", True)):
        rules = rules_of(leaf("m", ">=", Decimal(38), reads))
        assert rules.examine(facts).truth("r.x") is expected
    shown = rules_of(leaf("m", ">=", Decimal(38), "highest")).examine(facts).evidence("r.x")
    assert [(e.value, e.source) for e in shown] == [("39", "ZZ39")]


def test_the_cells_of_a_fact_read_two_ways_keep_low_below_high() -> None:
    rules = rules_of(every(leaf("m", "<", Decimal(35), "lowest"), leaf("m", "<", Decimal(35), "highest")))
    truths = {truths for truths, _, _ in atoms(rules, "m")}
    assert truths == {(False, False), (True, False), (True, True)}  # never high below and low above


def test_one_tenth_is_one_tenth() -> None:
    """100.4 degF is 38 Cel exactly: a threshold must not hang on binary rounding."""
    rules = rules_of(leaf("m", ">=", Decimal(38)))
    at = rules.examine({"m": reading("m", (Decimal("100.4") - 32) / Decimal("1.8"))})
    below = rules.examine({"m": reading("m", Decimal("37.999999"))})
    assert (at.truth("r.x"), below.truth("r.x")) == (True, False)


def test_a_fact_that_cannot_matter_is_not_asked_for() -> None:
    """With two of three already false, "two of three" is settled; with one true, both others matter."""
    tree = Group(2, (leaf("a", "is", True), leaf("b", "is", True), leaf("n", ">", Decimal(10))))
    rules = rules_of(tree)
    assert look(rules, {"a": False, "b": False}).decide("r.x").value is False
    assert look(rules, {"a": True}).decide("r.x").missing == ("b", "n")
    assert look(rules, {"a": False}).decide("r.x").missing == ("b", "n")
    always = one(leaf("a", "is", True), leaf("a", "is", False))
    assert look(rules_of(always), {}).decide("r.x").value is True


def test_what_may_yet_be_left_out_is_not_counted_on() -> None:
    """Measured, ``n`` makes one of the two true; left out beside a known ``a``, the optional one is false."""
    over, under = leaf("n", ">", Decimal(10)), leaf("n", "<=", Decimal(10))
    assert look(rules_of(one(over, under)), {}).decide("r.x").value is True
    rules = rules_of(one(IfMeasured(over, "a"), under))
    assert look(rules, {}).decide("r.x").missing == ("n",)
    assert look(rules, {"a": True}).decide("r.x").missing == ("n",)
    assert look(rules, {"n": Decimal(11)}).decide("r.x").value is True


def test_what_may_always_be_left_out_counts_only_where_it_was_measured() -> None:
    over, under = leaf("n", ">", Decimal(10)), leaf("n", "<=", Decimal(10))
    rules = rules_of(one(IfMeasured(over, ALWAYS), leaf("a", "is", True)))
    assert look(rules, {}).decide("r.x").missing == ("a",)  # nobody is asked for it
    assert look(rules, {"a": False}).decide("r.x").value is False
    assert look(rules, {"a": False}).left_out() == ("n",)
    assert look(rules, {"a": False, "n": Decimal(11)}).decide("r.x").value is True
    assert look(rules, {"a": False, "n": Decimal(10)}).left_out() == ()
    assert ALWAYS not in rules.needed()
    # a test of the same fact that is not optional goes on asking for it
    assert look(rules_of(one(IfMeasured(over, ALWAYS), under)), {}).decide("r.x").missing == ("n",)


def test_scores_show_what_is_known() -> None:
    rules = rules_of(LEAVES[0])
    full = look(rules, {"n": Decimal(20), "a": True, "c": "A", "y": Decimal(4), "b": True})
    assert full.scores(["s"]) == {"s": 11, "s_class": "II"}
    part = look(rules, {"n": Decimal(20), "a": True, "c": "A"})
    assert part.scores(["s"]) == {"s_min": 10, "s_max": 14, "s_class": "II"}
    none = look(rules, {})
    assert none.scores(["s"]) == {"s_min": 1, "s_max": 14, "s_class_min": "I", "s_class_max": "II"}
    stepped = look(rules, {"n": Decimal(20), "a": True, "c": "A", "y": Decimal(4), "b": False})
    assert stepped.scores(["t"]) == {"t": 11, "t_class": "0"}


def test_what_an_examination_gives_out_is_the_askers_to_change() -> None:
    """The next patient with these truths gets what the rules come to, and values of their own."""
    rules = rules_of(LEAVES[0])
    known = {fact: Decimal(3) for fact in ("y",)}
    first = look(rules, known)
    for given_out in (
        first.scores(),
        first.score_lines(),
        first.reasons("r.x", True),
        first.reasons("r.x", False),
    ):
        wanted = repr(given_out)
        given_out.clear()
        second = look(rules, known)
        again = (
            second.scores(),
            second.score_lines(),
            second.reasons("r.x", True),
            second.reasons("r.x", False),
        )
        assert wanted in map(repr, again)


# --- what approved plugins of earlier interfaces call -----------------------------------------------------

#: By the interface of 2026-11-22: a plugin that was approved then is run as it was.
EARLIER = {
    Examination: (
        "truth",
        "decide",
        "scores",
        "score_lines",
        "left_out",
        "reasons",
        "trace",
        "evidence",
        "once",
    ),
    RuleSet: ("examine", "needed", "scores_read", "left_out_by"),
}


def test_what_an_approved_plugin_called_is_there_and_remembers_nothing() -> None:
    assert [name for owner, names in EARLIER.items() for name in names if not hasattr(owner, name)] == []
    exam = RuleSet({}, {}, {}, {}).examine({})
    given = iter(("the first patient's", "the second patient's"))
    assert [exam.once("zz", lambda: next(given)) for _ in range(2)] == [
        "the first patient's",
        "the second patient's",
    ]

"""The tree behind an answer: of that very evaluation, as the engine has it, nothing missing left out."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal
from types import ModuleType
from typing import Any

import pytest
import umbridge_interqual_like as interqual
import umbridge_mcg_like as mcg
from hypothesis import given, settings
from hypothesis import strategies as st
from umbridge_kit.boundary_patients import REQUESTS, REVIEWS, case, examined
from umbridge_kit.drawing import patients

from umbridge import Case, Outcome, ReviewType, ScreenResult, Status
from umbridge.clinical.titles import title_of
from umbridge.commands.why_tree import WIDTH, source_of, tree_lines
from umbridge.criteria.examination import heeding
from umbridge.criteria.tree import Truth, at_least
from umbridge.criteria.walk import text_of
from umbridge.criteria.why import ABOVE, LEFT_OUT, SETTLED, Trace
from umbridge.criteria.why_rows import unknown
from umbridge.review.record import ScreenLine
from umbridge.screening.frames import WireError, frame, unframe
from umbridge.screening.why_codec import behind, why_in, why_out, why_rows

PLUGINS: tuple[ModuleType, ...] = (interqual, mcg)
NOTHING_MEASURED = "Nothing measured counts yet"


def explained(plugin: ModuleType, question: Case) -> tuple[ScreenResult, tuple[Trace, ...]]:
    with heeding() as cited:
        result: ScreenResult = plugin.umbridge_screen(question)
    return result, behind(cited, result)


def nodes(trees: tuple[Trace, ...]) -> Iterator[Trace]:
    for tree in trees:
        yield tree
        yield from nodes(tree.children)


def made_of(node: Trace) -> Truth | str:
    """What a node must be by its children alone; "leaf" where they do not say."""
    truths = [child.truth for child in node.children]
    word = node.text.rpartition(", ")[2].rpartition(" for ")[2]
    if not truths or SETTLED in node.text:
        return "leaf"
    if word == "NOT":
        return None if truths[0] is None else not truths[0]
    if word == "ONE":
        return at_least(1, truths)
    if word == "ALL":
        return at_least(len(truths), truths)
    if word.partition(" OF ")[1] and word[0].isdigit():
        return at_least(int(word.partition(" ")[0]), truths)
    return "leaf"


@st.composite
def asked(draw: st.DrawFn) -> tuple[ModuleType, Case]:
    plugin = draw(st.sampled_from(PLUGINS))
    subset, values = draw(patients(plugin.LIBRARY))
    rng = draw(st.randoms(use_true_random=False))
    share = rng.choice([0.3, 0.7, 0.95, 1])
    kept = {fact: value for fact, value in values.items() if rng.random() < share}
    hours = rng.choice([None, Decimal(3), Decimal(49)])
    question = case(plugin.LIBRARY, subset, kept, rng.choice(REQUESTS), review=rng.choice(REVIEWS))
    return plugin, replace(
        question,
        requested_status=rng.choice([Status.INPATIENT, Status.OBSERVATION]),
        episode_day=rng.randint(1, 5),
        observation_hours=hours,
        observation_ended=hours is not None and rng.random() < 0.5,
    )


@given(asked())
@settings(max_examples=60, deadline=None)
def test_each_node_is_as_the_engine_has_it_and_the_roots_agree_with_the_answer(
    drawn: tuple[ModuleType, Case],
) -> None:
    plugin, question = drawn
    result, trees = explained(plugin, question)
    assert result == plugin.umbridge_screen(question)
    if result.subset is None or (result.outcome is Outcome.NOT_APPLICABLE):
        assert trees == ()
        return
    subset = plugin.LIBRARY.subsets[result.subset]
    exam = subset.examine(question)
    engine = {text_of(leaf): exam.truths[subset.rules.number_of(leaf)] for leaf in subset.rules.leaves}
    criteria = {node.title: exam.truth(name) for name, node in subset.rules.criteria.items()}
    for node in nodes(trees):
        text = node.text.removesuffix(ABOVE)
        assert made_of(node) in ("leaf", node.truth), node
        if text in engine and LEFT_OUT not in text:
            assert node.truth is engine[text] or (node.truth, engine[text]) == (False, None)
        if text in criteria:
            assert node.truth is criteria[text], node
        for each in node.readings:
            samples = question.facts[each.fact]
            said = {str(s.value) for s in (samples.latest, samples.low, samples.high)}
            assert each.value in said | {"Y", "N"}
        assert not node.missing or node.truth is None, node
    roots = [tree.truth for tree in trees]
    if result.outcome is Outcome.PEND:
        is_held_open = result.rationale.startswith(NOTHING_MEASURED) or "age" in result.missing
        assert is_held_open or None in roots
        return
    assert roots
    if plugin is interqual:
        assert roots[-1] is (result.outcome is not Outcome.REFER)
    elif question.review is ReviewType.DISCHARGE:
        assert roots == [result.outcome is Outcome.MEETS]
    elif result.outcome is not Outcome.REFER and result.basis is None:
        assert roots == [True]  # an illness that persists after observation: the rule of discharge is FALSE


@given(asked())
@settings(max_examples=120, deadline=None)
def test_each_missing_fact_stands_at_an_unknown_node(drawn: tuple[ModuleType, Case]) -> None:
    """But for what no rule reads: the age that decides whether the content applies at all, and an order that
    nobody has read; and what is asked for while nothing at all was measured, where a rule of the tree may
    have been settled without it."""
    plugin, question = drawn
    result, trees = explained(plugin, question)
    if result.rationale.startswith(NOTHING_MEASURED):
        return
    open_ = {fact for node in nodes(trees) if node.truth is None for fact in node.missing}
    assert set(result.missing) - {"age", "unmapped_parenteral_order"} <= open_


@given(asked())
@settings(max_examples=20, deadline=None)
def test_a_tree_goes_through_a_frame_unchanged_and_fits_80_columns(drawn: tuple[ModuleType, Case]) -> None:
    plugin, question = drawn
    result, trees = explained(plugin, question)
    sent: Any = unframe(frame({"why": why_out(trees)})[4:])
    assert why_in(sent["why"], plugin.umbridge_manifest(), question) == trees
    rows = why_rows(trees)
    assert json.loads(json.dumps(rows)) == rows
    line: Any = {"outcome": result.outcome.value, "missing": list(result.missing), "why": rows}
    shown: ScreenLine = line
    lines = list(tree_lines(shown))
    assert lines
    assert max(map(len, lines)) <= WIDTH
    whole = " ".join(each.strip() for each in lines)
    for fact in unknown(rows) | set(result.missing):
        assert title_of(fact) in whole


NODE: list[Any] = [0, "latest bun > 19 mg/dL", True, [["bun", "32", "mg/dL", "t", "OBX[8]-5"]], []]


@pytest.mark.parametrize(
    "sent",
    [
        None,
        [[1, *NODE[1:]]],  # no root above it
        [NODE, [2, *NODE[1:]]],  # a level left out
        [[-1, *NODE[1:]]],
        [[True, *NODE[1:]]],
        [[0, "a\x1b[2J", True, [], []]],
        [[0, "a" * 501, True, [], []]],
        [[0, "a", 1, [], []]],
        [[0, "a", "TRUE", [], []]],
        [[0, "a", None, [], ["ZZTEST"]]],  # a fact that is not in the manifest
        [[0, "a", None, [], [["bun"]]]],
        [[0, "a", True, [["mrn", "ZZ1", "", "t", "s"]], []]],  # nobody can cite what nobody was told
        [[0, "a", True, [["bun", "32"]], []]],
        [[0, "a", True, [["bun", 32, "", "t", "s"]], []]],
        [[0, "a", True, [NODE[3][0]] * 11, []]],
        [NODE] * 5001,
        [[depth, *NODE[1:]] for depth in range(70)],
        [[]],
    ],
)
def test_a_tree_outside_the_contract_is_refused(sent: object) -> None:
    subset = interqual.LIBRARY.subsets["cap"]
    question = case(interqual.LIBRARY, subset, {"bun": Decimal(32)})
    manifest = interqual.umbridge_manifest()
    assert why_in([NODE], manifest, question)[0].truth is True
    with pytest.raises(WireError, match="why"):
        why_in(sent, manifest, question)


def test_an_answer_that_cites_nothing_of_the_engines_has_no_tree() -> None:
    subset = interqual.LIBRARY.subsets["cap"]
    question = case(interqual.LIBRARY, subset, {"bun": Decimal(32)})
    with heeding() as cited:
        interqual.umbridge_screen(question)
    assert cited
    assert behind(cited, ScreenResult(Outcome.PEND)) == ()
    assert behind([], interqual.umbridge_screen(question)) == ()


@pytest.mark.parametrize(
    ("source", "shown"),
    [
        ("order:none", "no such order was sent"),
        ("baseline:none", "nothing usual is stated for this patient"),
        ("closed world: history_complete", "not named, and this was said: history finished"),
        ("ZZ1 OBX[3]-5, implied by gcs", "ZZ1 OBX[3]-5, implied by Glasgow coma score"),
        ("none known: renal_disease, home_oxygen", "none known: renal disease, oxygen at home"),
        (
            "ZZ1 OBX[3]-5, implied by gcs over ZZ2 OBX[1]-5, implied by bmi",
            "ZZ1 OBX[3]-5, implied by Glasgow coma score over ZZ2 OBX[1]-5, implied by body mass index",
        ),
        ("ZZ1 OBX[3]-5", "ZZ1 OBX[3]-5"),
    ],
)
def test_a_source_that_no_message_is_says_what_silence_stands_for(source: str, shown: str) -> None:
    assert source_of(source) == shown


def under(subset: str, criterion: str, values: dict[str, Any], text: str) -> Trace:
    """The node with this text in the tree of a criterion."""
    tree = examined(interqual.LIBRARY.subsets[subset], values).trace(criterion)
    (found,) = [node for node in nodes((tree,)) if node.text.removesuffix(LEFT_OUT).startswith(text)]
    return found


def facts_of(node: Trace) -> list[str]:
    return [each.fact for each in node.readings]


def test_a_test_that_may_be_left_out_says_so_or_lacks_itself_and_what_stands_in() -> None:
    gas = ("cap", "severe_minor")
    left_out = under(*gas, {"gas_not_needed": True}, "lowest pao2_fio2 <=")
    assert left_out.text.endswith(LEFT_OUT)
    assert (left_out.truth, left_out.readings, left_out.missing) == (False, (), ())
    asked_for = under(*gas, {}, "lowest pao2_fio2 <=")
    assert (asked_for.truth, asked_for.missing) == (None, ("pao2_fio2", "gas_not_needed"))
    measured = under(*gas, {"pao2_fio2": Decimal(250)}, "lowest pao2_fio2 <=")
    assert (measured.truth, facts_of(measured), measured.missing) == (True, ["pao2_fio2"], ())


def test_an_item_whose_points_are_the_fact_cites_it_or_lacks_it() -> None:
    known = under("cap", "psi_hospital", {"age": Decimal(72)}, "age in years")
    assert (known.text, known.truth, facts_of(known)) == ("age in years: 72 points", True, ["age"])
    lacking = under("cap", "psi_hospital", {}, "age in years")
    assert (lacking.truth, lacking.readings, lacking.missing) == (None, (), ("age",))


def test_one_fact_against_another_cites_both() -> None:
    both: dict[str, Any] = {"spo2": Decimal(89), "spo2_limit": Decimal(90)}
    node = under("copd", "hypoxaemia", both, "lowest spo2 < spo2_limit")
    assert (node.truth, facts_of(node), node.missing) == (True, ["spo2", "spo2_limit"], ())
    alone = under("copd", "hypoxaemia", {"spo2": Decimal(89)}, "lowest spo2 < spo2_limit")
    assert (alone.truth, facts_of(alone), alone.missing) == (None, ["spo2"], ("spo2_limit",))


def test_a_test_of_two_facts_together_cites_both_or_lacks_the_one_that_is_unknown() -> None:
    both: dict[str, Any] = {"creatinine": Decimal(3), "baseline_creatinine": Decimal(1)}
    node = under("aki_electrolyte", "injured", both, "creatinine_ratio")
    assert (node.truth, facts_of(node), node.missing) == (True, ["creatinine", "baseline_creatinine"], ())
    alone = under("aki_electrolyte", "injured", {"creatinine": Decimal(3)}, "creatinine_ratio")
    assert (alone.truth, facts_of(alone), alone.missing) == (None, ["creatinine"], ("baseline_creatinine",))

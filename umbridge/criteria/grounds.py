"""What an answer rests on: a measurement, an age alone, or what somebody said, coded or ordered.

Until anything is measured nothing is decided. After that an answer whose true criteria go by no measurement
stands as it is, and is held for a person (docs/judgement.md).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from umbridge.criteria.compiled import CompiledRules
from umbridge.criteria.contentfile import Subset
from umbridge.criteria.examination import Examination, truths_of
from umbridge.criteria.tree import (
    Criterion,
    Group,
    IfMeasured,
    Joint,
    Leaf,
    Node,
    Not,
    ScoreTest,
    text_of,
    walk,
)
from umbridge.criteria.truths import Truths
from umbridge.measured import measured, measurements, supported
from umbridge.model import Case, Level, Outcome, ReviewType, ScreenResult

NO_MEASURED_FACT = "NO_MEASURED_FACT"
AGE_ONLY = "AGE_ONLY"
#: Reasons by which an answer says that its level is no finding.
UNMEASURED = frozenset({NO_MEASURED_FACT, AGE_ONLY})
#: First looks have to rest on a measurement; later treatment and what people see may decide alone.
HELD = frozenset(
    {ReviewType.ADMISSION, ReviewType.OBSERVATION, ReviewType.RETROSPECTIVE, ReviewType.PROSPECTIVE}
)
#: What is so around the patient: it can lift a level that a finding has reached, and makes none true alone.
SOCIAL = frozenset({"home_support_adequate", "poor_adherence"})
_OF_ITSELF = ("age", "sex")
_WORDS = {
    AGE_ONLY: "This level is reached by age alone: a person has to see it.",
    NO_MEASURED_FACT: "No measurement is among what made this level true: a person has to see it.",
}


@dataclass(frozen=True, slots=True)
class Ground:
    """What of a case counts as measured."""

    is_measured: bool  # whether anything at all was
    facts: frozenset[str]  # of those that the rules read, with organ support in force


def ground(case: Case, exam: Examination, read: frozenset[str]) -> Ground:
    """``read``: the facts that the examination looked at. One in another unit is unknown to it."""
    facts = measured(case.facts, case.review)
    facts = (facts - read) | (facts & exam.known)
    if not facts:
        return Ground(False, frozenset())
    return Ground(True, (facts | (supported(case.facts) & exam.known)) & read)


def facts_read(rules: CompiledRules, keys: tuple[str, ...]) -> frozenset[str]:
    """Every fact that these rules look at, or that is all of them, with what differences are made of."""
    return frozenset(fact for fact, _, _ in rules.tests_by_fact(keys))


def to_measure(rules: CompiledRules, keys: tuple[str, ...], review: ReviewType) -> tuple[str, ...]:
    """The measurements that people are asked for while there is none."""
    return tuple(sorted(measurements(review) & facts_read(rules, keys)))


def pend_unmeasured(result: ScreenResult, review: ReviewType, missing: tuple[str, ...]) -> ScreenResult:
    """The same answer while nothing was measured: open, whatever age, diagnosis, orders and people say.

    Content that reads no measurement has none to ask for; its answer is held.
    """
    if not missing:
        return _held(result, (NO_MEASURED_FACT,))
    return replace(
        result,
        outcome=Outcome.PEND,
        supported=None if review is ReviewType.DISCHARGE else Level.HOME,
        missing=missing,
        rationale="Nothing measured counts yet, so no level is decided, whatever age, diagnosis, orders and "
        f"assessments say. Not known: {', '.join(missing)}.",
        advise_higher=None,
        advise_missing=(),
        basis=None,
        discharge_ready=None if result.discharge_ready else result.discharge_ready,
        extended_stay_reason=None,
        avoidable_day=None,
        avoidable_attribution=None,
        scores={},
    )


def on_measurement(
    case: Case, subset: Subset, exam: Examination, result: ScreenResult, *keys: str
) -> ScreenResult:
    """The same answer: PEND while nothing was measured, and held where what it goes by is no measurement.

    A referral names the circumstances that are so and make nothing true by themselves.
    ``keys``: the rules that were asked; those of them that are true are what the answer goes by.
    """
    if result.outcome is Outcome.NOT_APPLICABLE:
        return result
    read = facts_read(subset.rules, keys)
    found = ground(case, exam, read)
    if not found.is_measured:
        return pend_unmeasured(result, case.review, to_measure(subset.rules, keys, case.review))
    if case.review in HELD and result.outcome is Outcome.REFER:
        around = truths_of(exam).kept(circumstances, *keys)
        result = replace(result, rationale=f"{result.rationale} {around}".strip())
    if case.review not in HELD or subset.shown_by:
        return result
    return held(truths_of(exam), result, tuple(key for key in keys if exam.truth(key)), found)


def held(truths: Truths, result: ScreenResult, keys: tuple[str, ...], found: Ground) -> ScreenResult:
    """The same answer, held where none of these rules, which are true, rests on a measurement.

    One that does not meet waits for a person anyway. Of the lower level that it supports, only that it is the
    age's alone is said: others build on that level.
    """
    if result.supported in (None, Level.HOME):
        return result
    reasons = [truths.kept(reasons_to_hold, key, found.facts) for key in keys] or [(NO_MEASURED_FACT,)]
    is_met = result.outcome in (Outcome.MEETS, Outcome.MEETS_ADVISE_HIGHER)
    if not all(reasons) or not (is_met or (AGE_ONLY,) in reasons):
        return result
    return _held(result, min(reasons))


def circumstances(truths: Truths, *keys: str) -> str:
    """What rules ask of the patient's circumstances and find so, for people to know of; "" for nothing."""
    asked = [node for key in keys for node in walk(truths.rules.rules[key], truths.rules.scores)]
    found = [
        text_of(each) for each in asked if isinstance(each, Leaf) and each.fact in SOCIAL and truths.of(each)
    ]
    if not found:
        return ""
    return f"True, and no ground for a level by itself: {'; '.join(dict.fromkeys(found))}."


def _held(result: ScreenResult, reasons: tuple[str, ...]) -> ScreenResult:
    words = " ".join(_WORDS[reason] for reason in reasons)
    rationale = f"{result.rationale} {words}".lstrip()
    return replace(result, hold=tuple(dict.fromkeys((*result.hold, *reasons))), rationale=rationale)


def reasons_to_hold(truths: Truths, key: str, facts: frozenset[str]) -> tuple[str, ...]:
    """Why a person has to see a rule that is true; empty where one of its criteria rests on a measurement.

    ``facts``: those that count as measured. A criterion rests on one that is among what makes it true, unless
    it is as true of everybody of this age and sex.
    """
    is_by_age = False
    for node, truth in _making(truths, truths.rules.rules[key], True):
        if _reads(truths, node, truth, facts):
            if not _is_of_age(truths, node, truth):
                return ()
            is_by_age = True
    return (AGE_ONLY,) if is_by_age else (NO_MEASURED_FACT,)


def _making(truths: Truths, node: Node, truth: bool) -> Iterator[tuple[Node, bool]]:
    """The criteria, outermost first, that make a rule what it is, each with what it came to."""
    match node:
        case Group():
            for child in node.children:
                if truths.of(child) is truth:
                    yield from _making(truths, child, truth)
        case Not():
            yield from _making(truths, node.child, not truth)
        case _:
            yield node, truth


def _reads(truths: Truths, node: Node, truth: bool, facts: frozenset[str]) -> bool:
    """Whether a measured fact is among what makes this node what it is."""
    match node:
        case Leaf():
            return _is_among(truths, node, facts)
        case IfMeasured():
            return _is_among(truths, node.leaf, facts)
        case Joint():
            return not facts.isdisjoint(node.facts)
        case Criterion():
            return _reads(truths, node.rule, truth, facts)
        case Not():
            return _reads(truths, node.child, not truth, facts)
        case Group():
            return any(
                truths.of(child) is truth and _reads(truths, child, truth, facts) for child in node.children
            )
        case ScoreTest():
            score = truths.rules.scores[node.score]
            below = walk(node, truths.rules.scores)
            return any(item.counts in facts for item in score.items) or any(
                isinstance(each, Leaf | Joint) and _reads(truths, each, truth, facts) for each in below
            )


def _is_among(truths: Truths, leaf: Leaf, facts: frozenset[str]) -> bool:
    return not facts.isdisjoint(truths.rules.facts[leaf.fact].minus or (leaf.fact,))


def _is_of_age(truths: Truths, node: Node, truth: bool) -> bool:
    """Whether it would be the same with everything unknown but age and sex."""
    alone = truths.kept(Truths.only, _OF_ITSELF)
    found = alone.decide(node.id).value if isinstance(node, Criterion) else alone.of(node)
    return found is truth

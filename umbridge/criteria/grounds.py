"""What an answer rests on: a measurement, an age alone, or what somebody said, coded or ordered.

Until anything is measured nothing is decided. After that an answer whose true criteria go by no measurement
stands as it is, and is held for a person (docs/judgement.md).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from umbridge.clinical.measured import BROUGHT, measured, measurements, supported
from umbridge.clinical.news2 import is_so
from umbridge.clinical.usual import COMFORT, SIGNS, contradicted, is_ill, usual, with_made
from umbridge.criteria.abnormal import abnormal, counted_abnormal, without
from umbridge.criteria.compiled import CompiledRules
from umbridge.criteria.examination import Examination, truths_of
from umbridge.criteria.subset import Subset
from umbridge.criteria.tree import Criterion, Group, IfMeasured, Item, Joint, Leaf, Node, Not, ScoreTest
from umbridge.criteria.truths import Truths
from umbridge.criteria.walk import text_of, walk
from umbridge.model import Case, ScreenResult
from umbridge.values.kinds import Level, Outcome, ReviewType

NO_MEASURED_FACT = "NO_MEASURED_FACT"
AGE_ONLY = "AGE_ONLY"
#: A score by which an answer that does not meet says that the lower level it supports rests on no abnormal
#: measurement: people saw or ordered what makes it true. Those who build on that level have to know.
SUPPORTED_BY, SEEN = "supported_by", "SEEN"
#: How the source of such a level ends in the fact ``level_supported``.
SEEN_ONLY = " by no abnormal measurement"
#: Reasons by which an answer says that its level is no finding.
UNMEASURED = frozenset({NO_MEASURED_FACT, AGE_ONLY})
#: First looks have to rest on a measurement; later treatment and what people see may decide alone.
#: Of an answer that meets: it is reached only with values that a chronic illness makes usual, or whose worst
#: one the next value contradicts; or the patient is in comfort or hospice care.
USUAL_VALUE, CONTRADICTED_VALUE, COMFORT_CARE = "USUAL_VALUE", "CONTRADICTED_VALUE", "COMFORT_CARE"
HELD = frozenset(
    {ReviewType.ADMISSION, ReviewType.OBSERVATION, ReviewType.RETROSPECTIVE, ReviewType.PROSPECTIVE}
)
#: What is so around the patient: it can lift a level that a finding has reached, and makes none true alone.
SOCIAL = frozenset({"home_support_adequate", "poor_adherence"})
_OF_ITSELF = ("age", "sex")
_BROUGHT = tuple(sorted(BROUGHT))
HISTORY = "HISTORY"  # within this room: of the reasons that people are told, it is NO_MEASURED_FACT
_NAMES = {HISTORY: NO_MEASURED_FACT}
_SEEN = "A person has to see it."
_WORDS = {
    AGE_ONLY: "This level is reached by age alone: a person has to see it.",
    HISTORY: "Age, history or a code is enough to make this level true, and no abnormal measurement is among "
    "what did: a person has to see it.",
    NO_MEASURED_FACT: "No abnormal measurement is among what made this level true: a person has to see it.",
}


@dataclass(frozen=True, slots=True)
class Ground:
    """What of a case counts as measured."""

    is_measured: bool  # whether anything at all was
    facts: frozenset[str]  # of those that the rules read, with organ support in force
    shown: frozenset[str] = frozenset()  # criteria that an image or the bedside shows
    is_ill: bool = False  # vital signs or leukocytes say so
    usual: tuple[tuple[str, str], ...] = ()  # measurements that an illness makes usual, each with the illness
    contradicted: tuple[str, ...] = ()
    is_comfort: bool = False


def ground(
    case: Case, exam: Examination, read: frozenset[str], shown: frozenset[str] = frozenset()
) -> Ground:
    """``read``: the facts that the examination looked at. One in another unit is unknown to it."""
    facts = measured(case.facts, case.review)
    facts = (facts - read) | (facts & exam.known)
    if not facts:
        return Ground(False, frozenset())
    found = (facts | (supported(case.facts) & exam.known)) & read
    if case.review not in HELD:
        return Ground(True, found)
    so_before = tuple(each for each in usual(case.facts) if each[0] in found)
    doubted = tuple(fact for fact in contradicted(case.facts) if fact in found)
    doubtful = frozenset(doubted).union(fact for fact, _ in so_before)
    return Ground(
        *(True, found, shown, is_ill(exam.readable(case.facts, SIGNS), doubtful), so_before, doubted),
        is_comfort=is_so(case.facts, COMFORT),
    )


def facts_read(rules: CompiledRules, keys: tuple[str, ...]) -> frozenset[str]:
    """Every fact that these rules look at, or that is all of them, with what differences are made of."""
    return rules.facts_read(keys)


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
    found = ground(case, exam, read, frozenset(subset.shown))
    if not found.is_measured:
        return pend_unmeasured(result, case.review, to_measure(subset.rules, keys, case.review))
    if case.review in HELD and result.outcome is Outcome.REFER:
        around = truths_of(exam).kept(circumstances, *keys)
        result = replace(result, rationale=f"{result.rationale} {around}".strip())
    if case.review not in HELD:
        return result
    true = tuple(key for key in keys if exam.truth(key))
    return held(truths_of(exam), result, true, found, is_shown=is_shown(subset))


def is_shown(subset: Subset) -> bool:
    """Whether an image or the bedside shows the illness of the whole file."""
    return bool(subset.shown_by) and not subset.shown


def held(
    truths: Truths, result: ScreenResult, keys: tuple[str, ...], found: Ground, *, is_shown: bool = False
) -> ScreenResult:
    """The same answer, held where none of these rules, which are true, rests on a measurement.

    One that does not meet waits for a person anyway, but others build on the lower level that it supports. So
    that it is the age's alone, or that of age and history, is a reason there too; and what rests on something
    that people saw says so in its scores.
    """
    if result.supported in (None, Level.HOME):
        return result
    if not is_shown:
        result = _without_finding(truths, result, keys, found)
    return _without_doubtful(truths, result, keys, found)


def _without_finding(
    truths: Truths, result: ScreenResult, keys: tuple[str, ...], found: Ground
) -> ScreenResult:
    reasons = [truths.kept(reasons_to_hold, key, found.facts, found.shown) for key in keys]
    reasons = reasons or [(NO_MEASURED_FACT,)]
    is_met = result.outcome in (Outcome.MEETS, Outcome.MEETS_ADVISE_HIGHER)
    if not all(reasons):
        return result
    if found.is_ill and any(truths.kept(_is_reason, key) for key in keys):
        return result  # an abnormal vital sign beside the reason that was seen, coded or ordered
    if is_met or {(AGE_ONLY,), (HISTORY,)}.intersection(reasons):
        return _held(result, min(reasons))
    return replace(result, scores={**result.scores, SUPPORTED_BY: SEEN})


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
    names = (_NAMES.get(reason, reason) for reason in reasons)
    return replace(result, hold=tuple(dict.fromkeys((*result.hold, *names))), rationale=rationale)


def reasons_to_hold(
    truths: Truths, key: str, facts: frozenset[str], shown: frozenset[str] = frozenset()
) -> tuple[str, ...]:
    """Why a person has to see a rule that is true; empty where one of its criteria rests on a finding.

    ``facts``: those that count as measured. A criterion rests on one where a test of it among what makes the
    criterion true came out as it would not of an ordinary value, and where the criterion is not as true with
    nothing measured: then age, history and what people see or order would have made it true anyway.
    """
    rule = truths.rules.rules[key]
    if _rests(truths, without(truths, facts), rule, True, facts, shown):
        return ()
    for node, truth in _alternatives(truths, rule, True):
        if _reads(truths, node, truth, facts) and _is_same(_only(truths, _OF_ITSELF), node, truth):
            return (AGE_ONLY,)
    if any(_is_same(_only(truths, _BROUGHT), *each) for each in _alternatives(truths, rule, True)):
        return (HISTORY,)
    return (NO_MEASURED_FACT,)


def _rests(
    truths: Truths, bare: Truths, node: Node, truth: bool, facts: frozenset[str], shown: frozenset[str]
) -> bool:
    """Whether a finding makes a node what it is, or some part of it of which one alone does or all do.

    ``bare``: the same patient with nothing measured.
    """
    match node:
        case Group() if node.n in (1, len(node.children)):
            parts = (child for child in node.children if truths.of(child) is truth)
            return any(_rests(truths, bare, child, truth, facts, shown) for child in parts)
        case Not():
            return _rests(truths, bare, node.child, not truth, facts, shown)
        case Criterion():
            is_seen = truth and node.id in shown
            return is_seen or _rests(truths, bare, node.rule, truth, facts, shown)
    if not _reads(truths, node, truth, facts, is_finding=True):
        return False
    return not _is_same(bare, node, truth) or (truth and _is_enough(truths, node, facts))


def _is_enough(truths: Truths, node: Node, facts: frozenset[str]) -> bool:
    """Whether findings alone give a score the points that it takes, whatever else gives some too."""
    if not isinstance(node, ScoreTest) or node.op not in (">", ">="):
        return False
    points = 0
    for item in truths.rules.scores[node.score].items:
        if _adds(truths, item, facts):
            band = next((given for rule, given in item.bands if truths.of(rule)), None)
            points += (truths.counted(item.counts) or 0) * item.sign if item.counts else band or 0
    return points >= node.value + (node.op == ">")


def _is_reason(truths: Truths, key: str) -> bool:
    """Whether something other than a score, and other than age and sex, is enough to make a rule true."""
    alone = _only(truths, _OF_ITSELF)
    return any(
        not isinstance(node, ScoreTest) and not _is_same(alone, node, truth)
        for node, truth in _alternatives(truths, truths.rules.rules[key], True)
    )


def _without_doubtful(
    truths: Truths, result: ScreenResult, keys: tuple[str, ...], found: Ground
) -> ScreenResult:
    """The same answer, held where it is reached only by values that may be the patient's usual ones, or that
    the next one contradicts; and where care is for comfort."""
    so_before = frozenset(fact for fact, _ in found.usual)
    doubted = frozenset(found.contradicted)
    parts = ((USUAL_VALUE, so_before), (CONTRADICTED_VALUE, doubted), (USUAL_VALUE, so_before | doubted))
    reason = next((name for name, facts in parts if facts and not _stands(truths, keys, facts)), "")
    if result.outcome not in (Outcome.MEETS, Outcome.MEETS_ADVISE_HIGHER):
        return replace(result, scores={**result.scores, SUPPORTED_BY: SEEN}) if reason else result
    if reason:
        named = [f"{fact} ({illness})" for fact, illness in found.usual] if reason == USUAL_VALUE else []
        said = "; ".join(
            [*named, *(f"{fact} (the next value contradicts it)" for fact in found.contradicted)]
        )
        result = _with_hold(
            result, reason, f"Reached only with what may be no finding of now: {said}. {_SEEN}"
        )
    if found.is_comfort:
        result = _with_hold(result, COMFORT_CARE, f"Comfort or hospice care is coded or stated. {_SEEN}")
    return result


def _stands(truths: Truths, keys: tuple[str, ...], facts: frozenset[str]) -> bool:
    """Whether one of these rules is true whatever these measurements were."""
    return any(truths.kept(_is_true_without, key, facts) for key in keys)


def _is_true_without(truths: Truths, key: str, facts: frozenset[str]) -> bool:
    rule = truths.rules.rules[key]
    return without(truths, with_made(facts)).exactly(rule).value is True


def _with_hold(result: ScreenResult, reason: str, words: str) -> ScreenResult:
    rationale = f"{result.rationale} {words}".lstrip()
    return replace(result, hold=tuple(dict.fromkeys((*result.hold, reason))), rationale=rationale)


def _alternatives(truths: Truths, node: Node, truth: bool) -> Iterator[tuple[Node, bool]]:
    """The parts of a rule each of which is enough to make it what it is, with what they came to."""
    match node:
        case Group() if node.n == (1 if truth else len(node.children)):
            for child in node.children:
                if truths.of(child) is truth:
                    yield from _alternatives(truths, child, truth)
        case Not():
            yield from _alternatives(truths, node.child, not truth)
        case Criterion():
            yield from _alternatives(truths, node.rule, truth)
        case _:
            yield node, truth


def _reads(
    truths: Truths, node: Node, truth: bool, facts: frozenset[str], *, is_finding: bool = False
) -> bool:
    """Whether a measured fact is among what makes this node what it is; with ``is_finding``, one that is no
    ordinary value."""
    match node:
        case Leaf():
            return _is_among(truths, node, facts, is_finding)
        case IfMeasured():
            return _is_among(truths, node.leaf, facts, is_finding)
        case Joint():
            return not facts.isdisjoint(node.facts) and (not is_finding or abnormal(truths, node))
        case Criterion():
            return _reads(truths, node.rule, truth, facts, is_finding=is_finding)
        case Not():
            return _reads(truths, node.child, not truth, facts, is_finding=is_finding)
        case Group():
            return any(
                truths.of(child) is truth and _reads(truths, child, truth, facts, is_finding=is_finding)
                for child in node.children
            )
        case ScoreTest():
            score = truths.rules.scores[node.score]
            if is_finding:
                return any(_adds(truths, item, facts) for item in score.items)
            below = walk(node, truths.rules.scores)
            return any(item.counts in facts for item in score.items) or any(
                isinstance(each, Leaf | Joint) and _reads(truths, each, truth, facts) for each in below
            )


def _adds(truths: Truths, item: Item, facts: frozenset[str]) -> bool:
    """Whether a finding gives points to a score: by the first band that is true, or counted itself."""
    if item.counts:
        return item.counts in facts and counted_abnormal(truths, item)
    band = next((node for node, _ in item.bands if truths.of(node)), None)
    return band is not None and _reads(truths, band, True, facts, is_finding=True)


def _is_among(truths: Truths, leaf: Leaf, facts: frozenset[str], is_finding: bool) -> bool:
    made_of = truths.rules.facts[leaf.fact].minus or (leaf.fact,)
    return not facts.isdisjoint(made_of) and (not is_finding or abnormal(truths, leaf))


def _only(truths: Truths, facts: tuple[str, ...]) -> Truths:
    return truths.kept(Truths.only, facts)


def _is_same(alone: Truths, node: Node, truth: bool) -> bool:
    """Whether a node would be the same by what these know, whatever the rest turned out to be."""
    return alone.exactly(node).value is truth

"""Content by level of care, answered: what criteria packs and plugins with code have in common.

The rules of such content are named for what they decide: ``admission`` and ``continued`` by level,
``discharge.ready``. The supported level is the highest with a true rule. A request at or below it meets; one
above it is undecided while a missing fact could still change that, and is otherwise referred to a person.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from umbridge.clinical.measured import is_finding
from umbridge.criteria.content import BARRIER, READY, UNREAD_ORDER, Library, Subset, load_content
from umbridge.criteria.examination import truths_of
from umbridge.criteria.grounds import (
    HELD,
    Ground,
    circumstances,
    facts_read,
    ground,
    held,
    is_shown,
    pend_unmeasured,
    to_measure,
)
from umbridge.criteria.tree import Decision, IfMeasured, Node, is_usable, one
from umbridge.criteria.truths import Truths
from umbridge.criteria.walk import shown
from umbridge.model import Case, Evidence, Manifest, Reading, ScreenResult
from umbridge.values.kinds import Level, Outcome, ReviewType
from umbridge.values.signed import NOBODY

LEVELS = (Level.CRITICAL, Level.INTERMEDIATE, Level.ACUTE, Level.OBS)  # highest first
EPISODES = {
    ReviewType.ADMISSION: "admission",
    ReviewType.OBSERVATION: "admission",
    ReviewType.RETROSPECTIVE: "admission",  # by the rules of the admission that it looks back at
    ReviewType.PROSPECTIVE: "prospective",
    ReviewType.CONTINUED_STAY: "continued",
    ReviewType.DISCHARGE: "discharge",
}
MOST_CHARACTERS = 2000  # of a rationale, by the contract with plugins
MOST_UNREAD = 6  # of what an answer names that it did not look at
#: Whoever reads that somebody is ready acts on it, so it says what was looked at and what was not.
REACHED = "Every discharge item of these criteria is reached. Other results were not looked at."
_READY = (
    "Every discharge item of these criteria is reached: stable by what they read, and none of the treatments "
    "needing the hospital that its profile knows is running. Other results were not looked at."
)
#: Of a subset that is for every diagnosis no other is for.
_GENERAL = (
    "These criteria read the general severity of illness and intensity of service only, not this diagnosis: "
    "what it needs beyond them, a person judges."
)
#: What the answer without an unread order says, and what is left of it with one.
_UNSETTLED = (
    (": refer to secondary review.", "."),
    (_READY, "Every other discharge item of these criteria is reached. Other results were not looked at."),
    ("very discharge item of", "very other discharge item of"),
    ("very discharge item is reached", "very other discharge item is reached"),
    ("reach no level above home.", "reach no level above home so far."),
)
_WORD = {True: "YES", False: "NO", None: "UNKNOWN"}


def or_above(episode: str, level: Level) -> str:
    """The name of the rule "some level from this one up is true"."""
    return f"{episode}.{level.name}_or_above"


def _derive(rules: Mapping[str, Node]) -> Mapping[str, Node]:
    found: dict[str, Node] = {}
    for episode in ("admission", "prospective", "continued"):
        if not any(key.startswith(f"{episode}.") for key in rules):
            continue
        for level in LEVELS:
            names = (f"{episode}.{higher.name}" for higher in LEVELS if higher >= level)
            found[or_above(episode, level)] = one(*(rules[name] for name in names if name in rules))
    return found


def pend_for_age(result: ScreenResult) -> ScreenResult:
    """The same answer while the age is unknown: whether the content applies at all hangs on it, so nothing
    else is settled."""
    return replace(
        result,
        outcome=Outcome.PEND,
        missing=tuple(sorted({"age", *result.missing})),
        rationale=f"Age is not known. {result.rationale}",
        advise_higher=None,
        advise_missing=(),
        basis=None,
        discharge_ready=None,
        extended_stay_reason=None,
        avoidable_day=None,
        avoidable_attribution=None,
    )


def pend_for_order(case: Case, result: ScreenResult) -> ScreenResult:
    """The same answer, but nobody is said to be ready while an intravenous order runs that nobody has read.

    Such an order may be the treatment that keeps the patient here; it makes no level true.
    """
    order = case.facts.get(UNREAD_ORDER)
    if not result.discharge_ready or order is None or order.latest.value is not True:
        return result
    sample = order.latest
    shown = Evidence(UNREAD_ORDER, "Y", sample.unit, sample.at.isoformat(), sample.source)
    words = (
        "An intravenous order that the site's profile does not know is active: whether its treatment needs "
    )
    said = result.rationale
    for whole, left in _UNSETTLED:
        said = said.replace(whole, left)
    return replace(
        result,
        outcome=Outcome.PEND,
        evidence=(*result.evidence, shown),
        supported=None if case.review is ReviewType.DISCHARGE else result.supported,
        missing=(UNREAD_ORDER,),
        rationale=f"{words}the hospital is not known. {said}"[:MOST_CHARACTERS],
        discharge_ready=None,
        avoidable_day=None,
        avoidable_attribution=None,
    )


@dataclass(frozen=True, slots=True, eq=False)
class Episode:
    """What one review of one subset goes by, looked up once."""

    subset: Subset
    name: str
    asked: tuple[str, ...]  # the rules that are asked; what only the others read is not looked at
    levels: tuple[Level, ...]  # those with a rule, highest first
    scores: tuple[str, ...]
    optional: tuple[IfMeasured, ...]
    read: frozenset[str]  # the facts that are looked at


@dataclass(frozen=True, slots=True)
class Ask:
    """What an answer hangs on beside the truths of the rules: of the patient's values one code alone."""

    level: Level
    is_age_known: bool
    barrier: str | None
    review: ReviewType
    ground: Ground


class LevelContent:
    """A folder of such content. Raises ContentError: file, line or key, and what was expected."""

    def __init__(self, folder: Path, *, required: Sequence[str] = ()) -> None:
        self.library: Library = load_content(folder, required=required, derive=_derive)
        self._episodes = {
            (subset.id, name): found
            for subset in self.library.subsets.values()
            for name in ("admission", "prospective", "continued", "discharge")
            if (found := _episode(subset, name)) is not None
        }

    def manifest(self, name: str, version: str, disclaimer: str) -> Manifest:
        """What a plugin says that has this content and nothing beside it."""
        library = self.library
        return Manifest(
            name,
            version,
            library.edition,
            library.digest,
            tuple(library.subsets),
            library.facts(),
            disclaimer,
            bounds=True,
            states=library.states(),
        )

    def screen(self, case: Case) -> ScreenResult:
        """The whole answer to one case, its content's tags with it."""
        library = self.library
        subset = library.choose(case)
        if isinstance(subset, str):
            return self._not_applicable(subset)
        name = EPISODES.get(case.review, "")
        episode = self._episodes.get((subset.id, name))
        if episode is None:
            return self._not_applicable(f"{subset.title}: no content for this review.", subset)
        if name != "discharge" and case.requested_level is Level.HOME:
            return self._not_applicable("No level of care above home is requested.", subset)
        exam = subset.examine(case, episode.asked)
        barrier = case.facts.get(BARRIER)
        ask = Ask(
            case.requested_level,
            "age" in case.facts,
            None if barrier is None else str(barrier.latest.value),
            case.review,
            ground(case, exam, episode.read, frozenset(subset.shown)),
        )
        result, deciding = truths_of(exam).kept(_judged, episode, ask)
        result = replace(
            result, edition=library.edition, digest=library.digest, evidence=exam.evidence(*deciding)
        )
        if result.outcome is Outcome.REFER and result.supported is Level.HOME:
            result = _with_unread(case, episode, result)
        return pend_for_order(case, result)

    def _not_applicable(self, why: str, subset: Subset | None = None) -> ScreenResult:
        return ScreenResult(
            Outcome.NOT_APPLICABLE,
            subset=None if subset is None else subset.id,
            edition=self.library.edition,
            digest=self.library.digest,
            rationale=why,
            tags=() if subset is None else subset.tags,
            content_status=NOBODY if subset is None else subset.content_status,
        )


def _episode(subset: Subset, name: str) -> Episode | None:
    """None where the subset has no rule for it."""
    rules = subset.rules
    if name == "discharge":
        if READY not in rules.rules:
            return None
        return Episode(subset, name, (READY,), (), (), (), facts_read(rules, (READY,)))
    key = or_above(name, Level.OBS)
    levels = tuple(level for level in LEVELS if f"{name}.{level.name}" in rules.rules)
    if not levels:
        return None
    asked = (key, READY) if name == "continued" and READY in rules.rules else (key,)
    read = facts_read(rules, asked)
    return Episode(subset, name, asked, levels, rules.scores_read(key), rules.left_out_by(key), read)


def _judged(truths: Truths, episode: Episode, ask: Ask) -> tuple[ScreenResult, tuple[str, ...]]:
    """The answer without its evidence, and the rules whose evidence it is."""
    deciding: tuple[str, ...] = (READY,)
    if episode.name == "discharge":
        result = _discharge(truths)
    else:
        result, deciding = _levels(truths, episode, ask)
    if not ask.ground.is_measured:
        missing = to_measure(episode.subset.rules, episode.asked, ask.review)
        result = pend_unmeasured(result, ask.review, missing)
    elif ask.review in HELD:
        going_by = _going_by(episode, ask, result)
        result = held(truths, result, going_by, ask.ground, is_shown=is_shown(episode.subset))
    if not ask.is_age_known:
        result = pend_for_age(result)
    is_for_a_person = result.outcome in (Outcome.REFER, Outcome.PEND) or result.discharge_ready
    if episode.subset.is_fallback and is_for_a_person:
        result = replace(result, rationale=f"{_GENERAL} {result.rationale}")
    return replace(
        result,
        subset=episode.subset.id,
        content_status=episode.subset.content_status,
        tags=episode.subset.tags,
        rationale=result.rationale[:MOST_CHARACTERS],
    ), deciding


def _with_unread(case: Case, episode: Episode, result: ScreenResult) -> ScreenResult:
    """The same referral, with what is known of this patient and not ordinary, and what these criteria do not
    look at: they reach no level, and are no word about the rest."""
    said = [
        f"{fact} {shown(reading.latest.value)} {reading.latest.unit}".rstrip()
        for fact, reading in sorted(case.facts.items())
        if fact not in episode.read and is_finding(reading) and _is_in_its_unit(episode, reading)
    ]
    if not said:
        return result
    more = f", and {len(said) - MOST_UNREAD} more" if len(said) > MOST_UNREAD else ""
    words = f"Known of this patient and not looked at by them: {', '.join(said[:MOST_UNREAD])}{more}."
    return replace(result, rationale=f"{result.rationale} {words}"[:MOST_CHARACTERS])


def _is_in_its_unit(episode: Episode, reading: Reading) -> bool:
    spec = episode.subset.rules.facts.get(reading.fact)
    return spec is None or is_usable(spec, reading)


def _going_by(episode: Episode, ask: Ask, result: ScreenResult) -> tuple[str, ...]:
    """The rule that an answer goes by: of the level asked for, or of a lower one that is all it supports."""
    level = min(ask.level, result.supported or Level.HOME)
    return () if level is Level.HOME else (or_above(episode.name, level),)


def _levels(truths: Truths, episode: Episode, ask: Ask) -> tuple[ScreenResult, tuple[str, ...]]:
    request, name = ask.level, episode.name
    decisions = {level: truths.decide(or_above(name, level)) for level in LEVELS}
    supported = next((level for level in LEVELS if decisions[level].value), Level.HOME)
    top = episode.levels[0]
    met = decisions[request]
    if request > top:  # no content so high: refer, but not before the facts for what there is are in
        met = decisions[top] if decisions[top].value is None else Decision(False)
    higher = next((decisions[level] for level in reversed(LEVELS) if level > request), Decision(False))
    result = ScreenResult(Outcome.PEND, supported=supported, missing=met.missing)
    if met.value:
        result = replace(
            result,
            outcome=Outcome.MEETS_ADVISE_HIGHER if higher.value else Outcome.MEETS,
            advise_higher=_WORD[higher.value],
            advise_missing=higher.missing,
        )
    elif met.value is False:
        result = replace(result, outcome=Outcome.REFER)
    if READY in episode.asked:
        result = _continued(truths, episode, ask, result)
    deciding = [f"{name}.{supported.name}"] if supported in LEVELS else []
    if not met.value:
        deciding.append(or_above(name, request))
    scores: dict[str, int | str | tuple[str, ...]] = dict(truths.scores(episode.scores))
    still_open = [level for level in LEVELS if level > supported and decisions[level].value is None]
    if result.outcome is Outcome.REFER and still_open:  # for those who build on what is supported
        scores["supported_max"] = still_open[0].name
    result = replace(result, scores=scores)
    result = replace(result, rationale=_rationale(truths, episode, ask, result))
    return result, tuple(key for key in deciding if key in truths.rules.rules)


def _continued(truths: Truths, episode: Episode, ask: Ask, result: ScreenResult) -> ScreenResult:
    ready = truths.decide(READY).value
    result = replace(result, discharge_ready=ready)
    if not ready or ask.barrier is None or ask.barrier not in episode.subset.avoidable:
        return result
    code, attribution = episode.subset.avoidable[ask.barrier]
    return replace(result, avoidable_day=code, avoidable_attribution=attribution)


def _discharge(truths: Truths) -> ScreenResult:
    ready = truths.decide(READY)
    words = {
        True: REACHED,
        False: "Not ready for discharge.",
        None: "Undecided.",
    }
    return ScreenResult(
        {True: Outcome.MEETS, False: Outcome.REFER, None: Outcome.PEND}[ready.value],
        supported=Level.HOME if ready.value else None,
        missing=ready.missing,
        discharge_ready=ready.value,
        rationale=words[ready.value],
    )


def _rationale(truths: Truths, episode: Episode, ask: Ask, result: ScreenResult) -> str:
    request, parts = ask.level, []
    if result.outcome is Outcome.REFER:
        parts.append(f"No criterion at {request.name} or above is true: refer to secondary review.")
    elif result.outcome is Outcome.PEND:
        parts.append(f"{request.name} or above is undecided; not known: {', '.join(result.missing)}.")
    supported = result.supported or Level.HOME
    key = f"{episode.name}.{supported.name}"
    if key in truths.rules.rules:
        titles = [criterion.title for criterion in truths.reasons(key, True)]
        parts.append(f"{supported.name} supported: {'; '.join(titles)}.")
    else:
        is_open = result.outcome is Outcome.PEND or "supported_max" in result.scores
        parts.append("These criteria reach no level above home" + (" so far." if is_open else "."))
    around = circumstances(truths, episode.asked[0]) if result.outcome is Outcome.REFER else ""
    if around:
        parts.append(around)
    if result.advise_higher == "UNKNOWN":
        parts.append(f"A higher level is undecided; not known: {', '.join(result.advise_missing)}.")
    if result.discharge_ready:
        parts.append(_READY)
    parts += truths.score_lines(episode.scores)
    if left_out := truths.left_out(episode.optional):
        parts.append(f"Not measured and, as the rule allows, not counted: {', '.join(left_out)}.")
    return " ".join(parts)

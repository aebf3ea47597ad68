"""Level-of-care screening in the shape subset, episode, level, criteria; all content is open and cited.

The supported level is the highest with a true rule. A request at or below it meets; one above it is
undecided while a missing fact could still change that, and is otherwise referred to a person.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from umbridge import (
    BARRIER,
    Case,
    Decision,
    Examination,
    IfMeasured,
    Level,
    Manifest,
    Node,
    Outcome,
    ReviewType,
    ScreenResult,
    Subset,
    hookimpl,
    load_content,
    one,
)

NAME = "interqual_like"
VERSION = "0.1.0"
DISCLAIMER = (
    "Not affiliated with, endorsed by or derived from any vendor's product. InterQual is a trademark of "
    "its owner. Contains no proprietary text. A screening aid: not medical advice, not a denial, not a "
    "payment decision."
)

LEVELS = (Level.CRITICAL, Level.INTERMEDIATE, Level.ACUTE, Level.OBS)  # highest first
EPISODES = {
    ReviewType.ADMISSION: "admission",
    ReviewType.OBSERVATION: "admission",
    ReviewType.CONTINUED_STAY: "continued",
    ReviewType.DISCHARGE: "discharge",
}


def at_or_above(episode: str, level: Level) -> str:
    """The name of the rule "some level from this one up is true"."""
    return f"{episode}.{level.name}_or_above"


def _derive(rules: Mapping[str, Node]) -> Mapping[str, Node]:
    found: dict[str, Node] = {}
    for episode in ("admission", "continued"):
        if not any(key.startswith(f"{episode}.") for key in rules):
            continue
        for level in LEVELS:
            names = (f"{episode}.{higher.name}" for higher in LEVELS if higher >= level)
            found[at_or_above(episode, level)] = one(*(rules[name] for name in names if name in rules))
    return found


LIBRARY = load_content(Path(__file__).with_name("content"), required=("discharge.ready",), derive=_derive)


#: The rules each episode asks; what only the others read is not looked at.
ASKED = {
    "admission": (at_or_above("admission", Level.OBS),),
    "continued": (at_or_above("continued", Level.OBS), "discharge.ready"),
    "discharge": ("discharge.ready",),
}


@dataclass(frozen=True, slots=True)
class Episode:
    """What one review of one subset goes by, looked up once."""

    levels: tuple[Level, ...]  # those with a rule, highest first
    scores: tuple[str, ...]
    optional: tuple[IfMeasured, ...]


def _episode(subset: Subset, name: str) -> Episode:
    rules, key = subset.rules, at_or_above(name, Level.OBS)
    levels = tuple(level for level in LEVELS if f"{name}.{level.name}" in rules.rules)
    return Episode(levels, rules.scores_read(key), rules.left_out_by(key))


READ = {
    (subset.id, name): _episode(subset, name)
    for subset in LIBRARY.subsets.values()
    for name in ("admission", "continued")
}


@hookimpl
def umbridge_manifest() -> Manifest:
    return Manifest(
        NAME, VERSION, LIBRARY.edition, LIBRARY.digest, tuple(LIBRARY.subsets), LIBRARY.facts(), DISCLAIMER
    )


@hookimpl
def umbridge_screen(case: Case) -> ScreenResult:
    subset = LIBRARY.choose(case)
    if isinstance(subset, str):
        return _not_applicable(subset)
    return replace(_asked(case, subset), subset=subset.id, tags=subset.tags)


def _asked(case: Case, subset: Subset) -> ScreenResult:
    episode = EPISODES.get(case.review, "")
    if not episode:
        return _not_applicable(f"{subset.title}: no content for this review.")
    if episode != "discharge" and case.requested_level is Level.HOME:
        return _not_applicable("No level of care above home is requested.")
    exam = subset.rules.examine(case.facts, case.as_of, ASKED[episode])
    barrier = case.facts.get(BARRIER)
    ask = Ask(case.requested_level, episode, None if barrier is None else str(barrier.latest.value))
    result, deciding = exam.once((ask, "age" in case.facts), lambda: _judged(ask, case, subset, exam))
    return replace(result, evidence=exam.evidence(*deciding))


@dataclass(frozen=True, slots=True)
class Ask:
    """What an answer hangs on beside the truths of the rules and whether the age is known."""

    level: Level
    episode: str
    barrier: str | None


def _judged(ask: Ask, case: Case, subset: Subset, exam: Examination) -> tuple[ScreenResult, tuple[str, ...]]:
    """The answer without its evidence, and the rules whose evidence it is. Reads no value: see ``once``."""
    result, deciding = _discharge(exam) if ask.episode == "discharge" else _levels(ask, subset, exam)
    result = replace(result, edition=LIBRARY.edition, digest=LIBRARY.digest)
    return (result if "age" in case.facts else _pend_for_age(result)), deciding


def _not_applicable(why: str) -> ScreenResult:
    return ScreenResult(Outcome.NOT_APPLICABLE, edition=LIBRARY.edition, digest=LIBRARY.digest, rationale=why)


def _pend_for_age(result: ScreenResult) -> ScreenResult:
    """Whether the subset applies at all hangs on the age, so nothing else is settled without it."""
    return replace(
        result,
        outcome=Outcome.PEND,
        missing=tuple(sorted({"age", *result.missing})),
        rationale=f"Age is not known. {result.rationale}",
        advise_higher=None,
        advise_missing=(),
        discharge_ready=None,
        avoidable_day=None,
        avoidable_attribution=None,
    )


def _levels(ask: Ask, subset: Subset, exam: Examination) -> tuple[ScreenResult, tuple[str, ...]]:
    request, episode = ask.level, ask.episode
    decisions = {level: exam.decide(at_or_above(episode, level)) for level in LEVELS}
    supported = next((level for level in LEVELS if decisions[level].value), Level.HOME)
    read = READ[subset.id, episode]
    top = read.levels[0]
    met = decisions[request]
    if request > top:  # no content so high: refer, but not before the facts for what there is are in
        met = decisions[top] if decisions[top].value is None else Decision(False)
    higher = next((decisions[level] for level in reversed(LEVELS) if level > request), Decision(False))
    result = ScreenResult(Outcome.PEND, supported=supported, missing=met.missing)
    if met.value:
        result = replace(
            result,
            outcome=Outcome.MEETS_ADVISE_HIGHER if higher.value else Outcome.MEETS,
            advise_higher={True: "YES", False: "NO", None: "UNKNOWN"}[higher.value],
            advise_missing=higher.missing,
        )
    elif met.value is False:
        result = replace(result, outcome=Outcome.REFER)
    if episode == "continued":
        result = _continued(ask.barrier, subset, exam, result)
    deciding = [f"{episode}.{supported.name}"] if supported in LEVELS else []
    if not met.value:
        deciding.append(at_or_above(episode, request))
    scores: dict[str, int | str | tuple[str, ...]] = dict(exam.scores(read.scores))
    still_open = [level for level in LEVELS if level > supported and decisions[level].value is None]
    if result.outcome is Outcome.REFER and still_open:  # for those who build on what is supported
        scores["supported_max"] = still_open[0].name
    result = replace(result, scores=scores, rationale=_rationale(request, episode, read, exam, result))
    return result, tuple(key for key in deciding if key in subset.rules.rules)


def _continued(barrier: str | None, subset: Subset, exam: Examination, result: ScreenResult) -> ScreenResult:
    ready = exam.decide("discharge.ready").value
    result = replace(result, discharge_ready=ready)
    if not ready or barrier is None or barrier not in subset.avoidable:
        return result
    code, attribution = subset.avoidable[barrier]
    return replace(result, avoidable_day=code, avoidable_attribution=attribution)


def _discharge(exam: Examination) -> tuple[ScreenResult, tuple[str, ...]]:
    ready = exam.decide("discharge.ready")
    outcome = {True: Outcome.MEETS, False: Outcome.REFER, None: Outcome.PEND}[ready.value]
    words = {
        True: "Every discharge criterion is true.",
        False: "Not ready for discharge.",
        None: "Undecided.",
    }
    result = ScreenResult(
        outcome,
        supported=Level.HOME if ready.value else None,
        missing=ready.missing,
        discharge_ready=ready.value,
        rationale=words[ready.value],
    )
    return result, ("discharge.ready",)


def _rationale(request: Level, episode: str, read: Episode, exam: Examination, result: ScreenResult) -> str:
    parts = []
    if result.outcome is Outcome.REFER:
        parts.append(f"No criterion at {request.name} or above is true: refer to secondary review.")
    elif result.outcome is Outcome.PEND:
        parts.append(f"{request.name} or above is undecided; not known: {', '.join(result.missing)}.")
    supported = result.supported or Level.HOME
    key = f"{episode}.{supported.name}"
    if key in exam.rules.rules:
        titles = [criterion.title for criterion in exam.reasons(key, True)]
        parts.append(f"{supported.name} supported: {'; '.join(titles)}.")
    else:
        parts.append(
            "No level above home supported" + (" so far." if result.outcome is Outcome.PEND else ".")
        )
    if result.advise_higher == "UNKNOWN":
        parts.append(f"A higher level is undecided; not known: {', '.join(result.advise_missing)}.")
    if result.discharge_ready:
        parts.append("Ready for discharge: stable, and no treatment that needs the hospital.")
    parts += exam.score_lines(read.scores)
    if left_out := exam.left_out(read.optional):
        parts.append(f"Not measured and, as the rule allows, not counted: {', '.join(left_out)}.")
    return " ".join(parts)

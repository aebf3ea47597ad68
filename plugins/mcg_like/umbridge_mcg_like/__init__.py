"""Status screening in the shape of a care guideline: severe, observation, course, extended stay, discharge.

Two ways to an inpatient status: severe at presentation, or still failing the observation-discharge list after
observation care. Judges the status, not the level inside the hospital; all content is open and cited.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import TypeAlias

from umbridge import (
    Case,
    Examination,
    Level,
    Manifest,
    Node,
    Not,
    Outcome,
    ReviewType,
    ScreenResult,
    Status,
    Subset,
    every,
    hookimpl,
    load_content,
    on_measurement,
    one,
    pend_for_age,
    pend_for_order,
)
from umbridge_mcg_like import expected_stay

NAME = "mcg_like"
VERSION = "0.1.0"
DISCLAIMER = (
    "Not affiliated with, endorsed by or derived from any vendor's product. MCG is a trademark of its owner. "
    "Contains no proprietary text. A screening aid: not medical advice, not a denial, not a payment "
    "decision."
)
OBSERVATION_TRIED_HOURS = Decimal(24)  # observation that still runs counts as tried from here on [mapping]
OBSERVATION_BOUND_HOURS = Decimal(48)  # only rarely longer: Medicare Benefit Policy Manual ch. 6 s. 20.6
PERSISTING = "PERSISTING_AFTER_OBSERVATION"
ADMISSION = "admission_start"  # the fact whose date chooses the edition


def _days(rules: Mapping[str, Node]) -> int:
    return sum(key.startswith("course.day_") for key in rules)


def _derive(rules: Mapping[str, Node]) -> Mapping[str, Node]:
    severe, persisting = rules["admission.severe"], Not(rules["observation.discharge"])
    reasons = one(*(node for key, node in rules.items() if key.startswith("extended.")))
    found: dict[str, Node] = {
        "status.inpatient": severe,
        "status.persisting": persisting,
        "status.inpatient_after_observation": one(severe, persisting),
        "status.observation": one(severe, rules["observation.indications"]),
    }
    for day in range(1, _days(rules) + 1):
        due = every(*(rules[f"course.day_{n}"] for n in range(1, day + 1)))
        found[f"status.on_course_{day}"] = due
        found[f"status.stay_{day}"] = every(Not(rules["discharge.ready"]), one(due, reasons))
    return found


REQUIRED = (
    "admission.severe",
    "observation.indications",
    "observation.discharge",
    "course.day_1",
    "discharge.ready",
)
LIBRARY = load_content(Path(__file__).with_name("content"), required=REQUIRED, derive=_derive)
TABLE = expected_stay.load(expected_stay.FOLDER, LIBRARY.subsets)


def _digest(table: expected_stay.Table) -> str:
    """Over the content, and over the site's table where there is one: what is shown must be approved too."""
    if not table.digest:
        return LIBRARY.digest
    return "sha256:" + hashlib.sha256(f"{LIBRARY.digest}\n{table.digest}\n".encode()).hexdigest()


DIGEST = _digest(TABLE)


@hookimpl
def umbridge_manifest() -> Manifest:
    facts = tuple(sorted({*LIBRARY.facts(), ADMISSION}))
    return Manifest(
        NAME,
        VERSION,
        LIBRARY.edition,
        DIGEST,
        tuple(LIBRARY.subsets),
        facts,
        DISCLAIMER,
        True,
        LIBRARY.states(),
    )


@hookimpl
def umbridge_screen(case: Case) -> ScreenResult:
    subset = LIBRARY.choose(case, _admitted(case).date())
    if isinstance(subset, str):
        return _not_applicable(subset)
    exam = subset.examine(case)
    hours = case.observation_hours
    ask = Ask(
        case.review,
        case.requested_status,
        hours is not None and (case.observation_ended or hours >= OBSERVATION_TRIED_HOURS),
        hours is not None and hours > OBSERVATION_BOUND_HOURS,
        case.episode_day,
    )
    result, deciding, asked = _judged(ask, subset, exam)
    result = on_measurement(case, subset, exam, result, *asked)
    if "age" not in case.facts and result.outcome is not Outcome.NOT_APPLICABLE:
        result = pend_for_age(result)
    if case.review in (ReviewType.CONTINUED_STAY, ReviewType.DISCHARGE):
        result = _beside_the_expected(case, subset, result)
    result = replace(
        result,
        subset=subset.id,
        edition=LIBRARY.edition,
        digest=DIGEST,
        content_status=subset.content_status,
        tags=subset.tags,
        evidence=exam.evidence(*deciding),
    )
    return pend_for_order(case, result)


#: An answer without its evidence; the rules whose evidence it has; those that were asked.
Judged: TypeAlias = tuple[ScreenResult, tuple[str, ...], tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class Ask:
    """What an answer hangs on beside the patient's facts."""

    review: ReviewType
    status: Status
    tried: bool  # observation ended, or counts as tried
    is_long: bool  # observation has run for longer than is usual
    day: int


def _judged(ask: Ask, subset: Subset, exam: Examination) -> Judged:
    """The answer without its evidence."""
    match ask.review:
        case ReviewType.ADMISSION | ReviewType.OBSERVATION | ReviewType.RETROSPECTIVE if (
            ask.status is Status.INPATIENT
        ):
            return _inpatient(ask, exam)
        case ReviewType.ADMISSION | ReviewType.OBSERVATION if ask.status is Status.OBSERVATION:
            return _observation(ask, exam)
        case ReviewType.CONTINUED_STAY:
            return _continued(ask, subset, exam)
        case ReviewType.DISCHARGE:
            return _discharge(exam)
        case _:
            return _not_applicable(f"{subset.title}: no content for this review and status."), (), ()


def _admitted(case: Case) -> datetime:
    """When the stay under review began; the moment of the question where that is not known."""
    start = case.facts.get(ADMISSION)
    try:
        return case.as_of if start is None else datetime.fromisoformat(str(start.latest.value))
    except ValueError:
        return case.as_of


def _beside_the_expected(case: Case, subset: Subset, result: ScreenResult) -> ScreenResult:
    """The nights so far beside the site's table. For the committee's list: the outcome is settled by now."""
    row = TABLE.expected(subset.id, case.as_of.date())
    if row is None:
        return replace(result, rationale=f"{result.rationale} No expected stay is loaded.")
    nights = case.episode_day - 1
    words = f"{nights} nights so far; expected {row.days} (MS-DRG {row.ms_drg}, {row.source})."
    stay = "LONGER" if nights > row.days else "WITHIN"
    said = {"expected_stay": stay, "expected_days": str(row.days), "expected_drg": row.ms_drg}
    return replace(result, rationale=f"{result.rationale} {words}", scores={**result.scores, **said})


def _not_applicable(why: str) -> ScreenResult:
    return ScreenResult(Outcome.NOT_APPLICABLE, edition=LIBRARY.edition, digest=DIGEST, rationale=why)


def _titles(exam: Examination, key: str, truth: bool) -> str:
    return "; ".join(criterion.title for criterion in exam.reasons(key, truth))


def _notes(exam: Examination) -> list[str]:
    lines = exam.score_lines()
    if left_out := exam.left_out():
        lines.append(f"Not measured and, as the score allows, not counted: {', '.join(left_out)}.")
    return lines


def _inpatient(ask: Ask, exam: Examination) -> Judged:
    key = "status.inpatient_after_observation" if ask.tried else "status.inpatient"
    met = exam.decide(key)
    severe = exam.decide("status.inpatient").value
    scores: dict[str, int | str | tuple[str, ...]] = dict(exam.scores())
    basis = None
    if met.value:
        outcome, supported = Outcome.MEETS, Level.ACUTE
        if severe:
            words = [f"Severe at presentation: {_titles(exam, 'admission.severe', True)}."]
            deciding: tuple[str, ...] = ("admission.severe",)
        else:
            deciding = ("observation.discharge",)
            basis = scores["basis"] = PERSISTING
            # which facts, not what they say: the same for all with these truths
            scores["observation_discharge_false"] = tuple(
                dict.fromkeys(each.fact for each in exam.evidence(*deciding))
            )
            failed = _titles(exam, "observation.discharge", False)
            words = [f"Persisting after observation care; not reached: {failed}."]
    else:
        indicated = exam.decide("observation.indications").value
        supported = Level.OBS if indicated else Level.HOME
        if indicated is None and met.value is False:
            scores["supported_max"] = Level.OBS.name  # referred, yet observation may still be indicated
        deciding = (key, "observation.indications")
        if met.value is None:
            outcome, words = Outcome.PEND, [f"Undecided; not known: {', '.join(met.missing)}."]
        else:
            outcome = Outcome.REFER
            words = ["Nothing severe at presentation: refer to secondary review."]
            words += ["After observation every discharge item is reached."] if ask.tried else []
        if indicated:
            words.append(f"Observation indicated: {_titles(exam, 'observation.indications', True)}.")
    result = ScreenResult(
        outcome,
        supported=supported,
        missing=met.missing,
        basis=basis,
        scores=scores,
        rationale=" ".join(words + _notes(exam)),
    )
    return result, deciding, (key,) if met.value else (key, "observation.indications")


def _observation(ask: Ask, exam: Examination) -> Judged:
    severe, met = exam.decide("status.inpatient"), exam.decide("status.observation")
    outcome, supported, advise = Outcome.PEND, Level.HOME, None
    key = "status.observation"
    if severe.value:
        outcome, supported, advise, key = Outcome.MEETS_ADVISE_HIGHER, Level.ACUTE, "YES", "admission.severe"
        words = [f"Severe: {_titles(exam, key, True)}; an inpatient status is supported."]
    elif met.value:
        outcome, supported, key = Outcome.MEETS, Level.OBS, "observation.indications"
        advise = "NO" if severe.value is False else "UNKNOWN"
        words = [f"Observation indicated: {_titles(exam, key, True)}."]
        if severe.missing:
            words.append(f"Whether it is severe is undecided; not known: {', '.join(severe.missing)}.")
    elif met.value is False:
        outcome, words = Outcome.REFER, ["No observation indication is true: refer to secondary review."]
    else:
        words = [f"Undecided; not known: {', '.join(met.missing)}."]
    if ask.is_long:
        words.append(f"Observation has run for more than {OBSERVATION_BOUND_HOURS} hours.")
    result = ScreenResult(
        outcome,
        supported=supported,
        missing=met.missing,
        advise_higher=advise,
        advise_missing=severe.missing if advise == "UNKNOWN" else (),
        scores=exam.scores(),
        rationale=" ".join(words + _notes(exam)),
    )
    return result, (key,), ("status.observation",)


def _continued(ask: Ask, subset: Subset, exam: Examination) -> Judged:
    day = max(1, min(ask.day, _days(subset.rules.rules)))
    key = f"status.stay_{day}"
    asked = (key, "discharge.ready")
    stay, ready = exam.decide(key), exam.decide("discharge.ready")
    result = ScreenResult(
        Outcome.PEND,
        missing=stay.missing,
        discharge_ready=ready.value,
        rationale=f"Day {ask.day} undecided; not known: {', '.join(stay.missing)}.",
    )
    if stay.value is None:
        return result, (key,), asked
    if ready.value:
        words = f"Day {ask.day}: every discharge item is reached: refer to secondary review."
        return replace(result, outcome=Outcome.REFER, supported=Level.HOME, rationale=words), (key,), asked
    behind = _titles(exam, f"status.on_course_{day}", False)
    if not stay.value:
        words = (
            f"Day {ask.day}: behind the course without a listed reason; not reached: {behind or 'undecided'}."
        )
        return replace(result, outcome=Outcome.REFER, supported=Level.HOME, rationale=words), (key,), asked
    result = replace(result, outcome=Outcome.MEETS, supported=Level.ACUTE)
    if exam.decide(f"status.on_course_{day}").value:
        return replace(result, rationale=f"Day {ask.day}: on course."), (key,), asked
    reasons = [k.partition(".")[2] for k in subset.rules.rules if k.startswith("extended.") and exam.truth(k)]
    result = replace(
        result,
        extended_stay_reason=",".join(reasons) or None,
        rationale=f"Day {ask.day}: not reached: {behind or 'undecided'}; extended-stay reason: "
        f"{', '.join(reasons) or 'undecided'}.",
    )
    return result, (key,), asked


def _discharge(exam: Examination) -> Judged:
    ready = exam.decide("discharge.ready")
    behind = _titles(exam, "discharge.ready", False)
    outcome, words = {
        True: (Outcome.MEETS, "Every discharge item is reached. Other results were not looked at."),
        False: (Outcome.REFER, f"Not ready for discharge; not reached: {behind}."),
        None: (Outcome.PEND, f"Undecided; not known: {', '.join(ready.missing)}."),
    }[ready.value]
    result = ScreenResult(
        outcome,
        supported=Level.HOME if ready.value else None,
        missing=ready.missing,
        discharge_ready=ready.value,
        rationale=words,
    )
    return result, ("discharge.ready",), ("discharge.ready",)

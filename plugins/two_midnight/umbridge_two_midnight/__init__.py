"""Medicare's rule for inpatient status, 42 CFR 412.3: two midnights, inpatient-only, case by case.

Asked after the plugins that judge the level of care, whose answers are its evidence for the need of hospital
care. Judges the status at admission, by the edition in force on the day of admission, for Medicare and
Medicare Advantage; it has nothing to say about other payers, days after the first, or observation.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import date, datetime
from pathlib import Path

from umbridge import (
    NO_MEASURED_FACT,
    SEEN_ONLY,
    Case,
    Examination,
    Level,
    Manifest,
    Node,
    Outcome,
    ReviewType,
    ScreenResult,
    Status,
    Subset,
    hookimpl,
    load_content,
    one,
)

NAME = SUBSET = "two_midnight"
VERSION = "0.1.0"
DISCLAIMER = (
    "Not affiliated with or endorsed by CMS or any vendor. Restates 42 CFR 412.3 in its own words. A "
    "screening aid: not legal or medical advice, not a denial, not a payment decision."
)
PAYERS: Mapping[str, str] = {"MEDICARE_FFS": "ffs_", "MEDICARE_ADVANTAGE": "ma_"}
JUDGED = (ReviewType.ADMISSION, ReviewType.RETROSPECTIVE)
#: Facts read beside the rules: the payer, the day of admission, and what the midnights are counted from.
BESIDE = (
    *("admission_start", "care_start", "discharge_barrier", "expected_discharge", "mechanical_ventilation"),
    *("midnights_from_order", "operative_plan", "payer_class", "procedure_24h"),
)
COUNTED: Mapping[str, tuple[str, ...]] = {
    "midnights_from_care": ("care_start", "expected_discharge"),
    "midnights_expected": ("care_start", "expected_discharge"),
    "midnights_so_far": ("care_start",),
}
#: Why a person has to see an answer that meets: admitted "pursuant to an order" (42 CFR 412.3(a)).
NO_ORDER = "INPATIENT_ORDER_MISSING"
#: And why one that meets by time has to be seen: midnights of a wait are none of care. Delays in the
#: provision of care and days for convenience or custody do not count (CMS-1599-F, 78 FR 50496; recalled).
WAITS = "WAITS_FOR_A_PLACE"
PLACES: Mapping[str, str] = {
    "SNF_BED": "a bed in a nursing facility",
    "HOME_HEALTH": "care at home",
    "FAMILY": "the family",
    "TRANSFER": "a transfer",
    "RESULT": "a result",
    "PAYER_AUTH": "the payer's authorization",
    "PROCEDURE": "a procedure",
}
#: New ventilation is the example that CMS gives of a rare and unusual exception to the benchmark, not where
#: it was to be expected with an operation or another treatment (guidance of 2014 on 42 CFR 412.3; recalled).
VENTILATED = (
    " The patient is ventilated: ventilation that was begun anew, and is not what an operation brings with "
    "it, is the exception to the benchmark that CMS names. Whether it is so, a physician decides."
)
OPERATED = " An operation stands or is planned."
#: An inpatient-only procedure is inpatient however short the stay (42 CFR 412.3(d)(2), 419.22(n)).
ONLY_INPATIENT = " So it is whatever a screen of the level of care says."
#: Where screens support the need of hospital care, and none of them by an abnormal measurement.
SEEN_WORDS = (
    " No screen supports the need of hospital care by an abnormal measurement, but by what was seen or "
    "ordered: a person has to see it."
)
#: What each count is of. ``midnights_from_care`` ends with the discharge, or the expected one until then.
NIGHTS: Mapping[str, str] = {
    "midnights_expected": "expected",
    "midnights_from_care": "to the discharge",
    "midnights_so_far": "received",
}
SHOWN = "first test or order"  # ends the source of a start of care that nobody stated
BASES: Mapping[str, str] = {
    "status.benchmark": "BENCHMARK",
    "status.inpatient_only": "INPATIENT_ONLY",
    "status.case_by_case": "CASE_BY_CASE",
}


def _derive(rules: Mapping[str, Node]) -> Mapping[str, Node]:
    return {"status.inpatient": one(*(rules[key] for key in BASES if key in rules))}


LIBRARY = load_content(Path(__file__).with_name("content"), required=("status.benchmark",), derive=_derive)


@hookimpl
def umbridge_manifest() -> Manifest:
    facts = tuple(sorted({*LIBRARY.facts(), *BESIDE} - {"age"}))  # Medicare knows no age for this rule
    return Manifest(NAME, VERSION, LIBRARY.edition, LIBRARY.digest, (SUBSET,), facts, DISCLAIMER, True)


@hookimpl
def umbridge_screen(case: Case) -> ScreenResult:
    if case.review not in JUDGED or case.requested_status is not Status.INPATIENT:
        return _result(Outcome.NOT_APPLICABLE, "The rule is about inpatient status at admission.")
    if case.payer_class == "UNKNOWN":
        return replace(
            _result(Outcome.PEND, "The payer is not known, so neither is whether Medicare's rule applies."),
            missing=("payer_class",),
        )
    if case.payer_class not in PAYERS:
        return _result(Outcome.NOT_APPLICABLE, "Medicare is not the first payer.")
    day = admitted(case)
    rule = rule_for(case.payer_class, day)
    if rule is None:
        return _result(Outcome.NOT_APPLICABLE, f"No edition of the rule bound this payer on {day}.")
    return replace(
        _judge(case, rule, rule.rules.examine(case.facts)), tags=rule.tags, content_status=rule.content_status
    )


def admitted(case: Case) -> date:
    """The local date of the admission, by which editions go; the review's own date where it is not known."""
    start = case.facts.get("admission_start")
    try:
        return case.as_of.date() if start is None else datetime.fromisoformat(str(start.latest.value)).date()
    except ValueError:
        return case.as_of.date()


def rule_for(payer_class: str, day: date) -> Subset | None:
    """The edition that bound this payer for admissions of this day."""
    found = (each for each in LIBRARY.subsets.values() if each.id.startswith(PAYERS[payer_class]))
    return next((each for each in found if each.in_force(day)), None)


def _result(outcome: Outcome, why: str) -> ScreenResult:
    return ScreenResult(outcome, SUBSET, LIBRARY.edition, LIBRARY.digest, rationale=why)


def _judge(case: Case, rule: Subset, exam: Examination) -> ScreenResult:
    met = exam.decide("status.inpatient")
    ways = [key for key in BASES if key in rule.rules.rules]
    true = [key for key in ways if exam.decide(key).value]
    scores: dict[str, int | str | tuple[str, ...]] = {"rule": rule.id}
    for fact in ("midnights_from_care", "midnights_from_order", "midnights_so_far"):
        if fact in case.facts:
            scores[fact] = int(str(case.facts[fact].latest.value))
    if met.value:
        scores["basis"] = BASES[true[0]]
        titles = [each.title for key in true for each in exam.reasons(key, True)]
        waits = _waits_for(case, true, was_expected=_was_expected(exam))
        return replace(
            _result(Outcome.MEETS, _met(case, true, titles, waits)),
            basis=BASES[true[0]],
            scores=scores,
            evidence=exam.evidence(*true),
            hold=_holds(case, true, waits),
        )
    evidence = exam.evidence(*ways)
    if met.value is None:
        missing = _to_ask_for(case, met.missing)
        words = f"Undecided; not known: {', '.join(missing)}."
        if "level_supported" in missing:
            words += " No level-of-care screen has settled the need for hospital care."
        words += _ventilated(case)
        return replace(_result(Outcome.PEND, words), missing=missing, scores=scores, evidence=evidence)
    lacking = [each.title for key in ways for each in exam.reasons(key, False)]
    lacking_words = _words(case, "For a physician to look at. Conditions not shown: ", lacking)
    # the status that is left, not the level of care
    needed = exam.truth("hospital_need")
    return replace(
        _result(Outcome.REFER, lacking_words + _ventilated(case)),
        supported=Level.OBS if needed else Level.HOME,
        scores=scores,
        evidence=evidence,
    )


def _to_ask_for(case: Case, missing: tuple[str, ...]) -> tuple[str, ...]:
    """Counts are made, not sent: a person is asked for the times they are made from."""
    asked: set[str] = set()
    for fact in missing:
        made_from = [each for each in COUNTED.get(fact, ()) if each not in case.facts]
        asked |= set(made_from) or {fact}
    return tuple(sorted(asked))


def _is_unordered(case: Case) -> bool:
    """Whether midnights are counted to a known end, and none from an inpatient order: none was seen."""
    return "midnights_from_care" in case.facts and "midnights_from_order" not in case.facts


def _holds(case: Case, true: list[str], waits: str) -> tuple[str, ...]:
    found = (
        (NO_MEASURED_FACT, _is_by_what_was_seen(case, true)),
        (NO_ORDER, _is_unordered(case)),
        (WAITS, bool(waits)),
    )
    return tuple(reason for reason, is_so in found if is_so)


def _is_by_what_was_seen(case: Case, true: list[str]) -> bool:
    """Whether the need of hospital care rests on what people saw alone, and nothing but that need and time
    supports the status.

    Signs and symptoms are among what an expectation may go by (42 CFR 412.3(d)(1)(i)), so that the rule is
    met; that a review closes by itself needs a measurement (docs/judgement.md).
    """
    level = case.facts.get("level_supported")
    if level is None or true != ["status.benchmark"]:
        return False
    return all(each.source.endswith(SEEN_ONLY) for each in level.series if str(each.value) != Level.HOME.name)


def _was_expected(exam: Examination) -> bool:
    """Whether two midnights were expected, and not only received."""
    to_come = exam.truth("two_midnights") or (exam.truth("two_expected") and exam.truth("unforeseen"))
    return bool(exam.truth("expectation") and to_come)


def _waits_for(case: Case, true: list[str], *, was_expected: bool) -> str:
    """What the patient waits for where nothing but time supports the status; "" where something else does.

    A screen that supports an inpatient's level now, beside a documented expectation, is more than time. A
    wait that was told after the moment of the review takes nothing from what was expected until then.
    """
    barrier = case.facts.get("discharge_barrier")
    if barrier is None or true != ["status.benchmark"]:
        return ""
    if was_expected and barrier.latest.at > case.as_of:
        return ""
    level, expectation = case.facts.get("level_supported"), case.facts.get("expectation_documented")
    is_ill = level is not None and level.latest.value in (
        Level.ACUTE.name,
        Level.INTERMEDIATE.name,
        Level.CRITICAL.name,
    )
    is_expected = expectation is not None and expectation.latest.value is True
    return "" if is_ill and is_expected else PLACES.get(str(barrier.latest.value), "")


def _is_so(case: Case, fact: str) -> bool:
    return fact in case.facts and case.facts[fact].latest.value is True


def _ventilated(case: Case) -> str:
    if not _is_so(case, "mechanical_ventilation"):
        return ""
    return VENTILATED + (OPERATED if _is_so(case, "procedure_24h") or _is_so(case, "operative_plan") else "")


def _nights(case: Case) -> list[str]:
    """What was expected and what was received, each by its name: an expected midnight is not one of care."""
    found = {fact: case.facts[fact].latest.value for fact in NIGHTS if fact in case.facts}
    others = {found.get("midnights_expected"), found.get("midnights_so_far")}
    return [
        f"{count} {NIGHTS[fact]}"
        for fact, count in found.items()
        # the count of a patient who is here is the expected one
        if fact != "midnights_from_care" or count not in others
    ]


def _met(case: Case, true: list[str], titles: list[str], waits: str) -> str:
    words = _words(case, f"{', '.join(BASES[key] for key in true)}: ", titles)
    if "status.inpatient_only" in true:
        words += ONLY_INPATIENT
    if _is_by_what_was_seen(case, true):
        words += SEEN_WORDS
    if waits:
        words += f" The patient waits for {waits}: midnights of a wait are none of care."
    return words


def _words(case: Case, head: str, titles: list[str]) -> str:
    words = head + "; ".join(titles) + "."
    start = case.facts.get("care_start")
    if nights := _nights(case):
        words += f" Midnights from the start of care: {', '.join(nights)}."
    if _is_unordered(case):
        words += " No inpatient order was seen: 42 CFR 412.3(a) asks for one."
    if start is not None and start.latest.source.endswith(SHOWN):
        words += " Nobody said when care began: it is counted from the first test, treatment or order."
    return words

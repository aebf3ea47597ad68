"""What an answer rests on: the definition case by case, by the answer that content gives."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest

from umbridge import Case, Level, LevelContent, Outcome, Reading, ReviewType, Sample, ScreenResult, Status
from umbridge.criteria.abnormal import counted_abnormal
from umbridge.criteria.examination import truths_of
from umbridge.criteria.grounds import HISTORY as HISTORY_ALONE
from umbridge.criteria.grounds import NO_MEASURED_FACT, SEEN, SUPPORTED_BY, on_measurement, reasons_to_hold
from umbridge.errors import ContentError
from umbridge.model import FactValue

AT = datetime(2026, 3, 2, 22, 40, tzinfo=UTC)
FILE = """
format = 1
id = "zz"
title = "ZZ"
edition = "1"
effective_from = 2022-01-01
icd10 = ["J44"]
age_from = 18
[citation]
ours = "Ours, of 2026"
[fact]
age = { kind = "number", whole = true, from = 18, to = 120 }
sex = { kind = "code", codes = ["F", "M"] }
cancer = { kind = "boolean" }
sbp = { kind = "number", unit = "mm[Hg]", worst = "low" }
spo2 = { kind = "number", unit = "%", worst = "low" }
spo2_limit = { kind = "number", unit = "%" }
pao2 = { kind = "number", unit = "mm[Hg]", worst = "low" }
creatinine = { kind = "number", unit = "mg/dL", worst = "high" }
baseline_creatinine = { kind = "number", unit = "mg/dL" }
asa_class = { kind = "number", unit = "{score}" }
ciwa_ar = { kind = "number", unit = "{score}", whole = true, from = 0, to = 67 }
worsened_congestion = { kind = "boolean" }
telemetry = { kind = "boolean" }
home_support_adequate = { kind = "boolean" }
vasopressor = { kind = "boolean" }
[computed]
times_baseline = { ratio = ["creatinine", "baseline_creatinine"] }
[score.risk]
title = "Risk"
cite = ["ours"]
item = [
  { id = "age", counts = "age" },
  { id = "sex", when = "sex is F", points = -10 },
  { id = "cancer", when = "cancer is Y", points = 30 },
  { id = "congestion", when = "worsened_congestion is Y", points = 5 },
  { id = "pressure", when = "sbp < 90 mm[Hg]", points = 20 },
]
[score.withdrawal]
title = "Withdrawal"
cite = ["ours"]
item = [{ id = "ciwa_ar", counts = "ciwa_ar" }]
[criterion.shaking]
title = "Withdrawal of 20 or more"
cite = ["ours"]
when = "withdrawal >= 20"
[criterion.risk_high]
title = "Risk of 90 or more"
cite = ["ours"]
when = "risk >= 90"
[criterion.very_old]
title = "95 or older"
cite = ["ours"]
when = "age >= 95"
[criterion.congested]
title = "Congested"
cite = ["ours"]
when = "worsened_congestion is Y"
[criterion.low_while_watched]
title = "Low pressure while on telemetry, or a congestion"
cite = ["ours"]
one = [{ all = ["sbp < 90 mm[Hg]", "telemetry is Y"] }, "worsened_congestion is Y"]
[criterion.hypoxic]
title = "Below the limit"
cite = ["ours"]
when = "spo2 < spo2_limit %"
[criterion.steady]
title = "Steady"
cite = ["ours"]
all = ["sbp >= 100 mm[Hg]", "telemetry is N"]
[criterion.injured]
title = "Twice the baseline"
cite = ["ours"]
when = "times_baseline >= 2"
[criterion.frail]
title = "ASA class 4 or more"
cite = ["ours"]
when = "asa_class >= 4 {score}"
[criterion.no_gas]
title = "No low gas"
cite = ["ours"]
optional = { pao2 = "telemetry" }
not = "pao2 < 60 mm[Hg]"
[criterion.alone]
title = "Hypoxic, and no support at home"
cite = ["ours"]
all = ["spo2 < spo2_limit %", "home_support_adequate is N"]
[criterion.shocked]
title = "In shock"
cite = ["ours"]
when = "vasopressor is Y"
[rule.admission]
CRITICAL = { one = ["shocked", "injured"] }
INTERMEDIATE = { one = ["hypoxic", "shaking"] }
ACUTE = { one = ["low_while_watched", "risk_high", "alone", { all = ["very_old", "congested"] }] }
OBS = { one = ["very_old", { all = ["no_gas", { not = "steady" }] }] }
[rule.continued]
ACUTE = { one = ["congested"] }
[rule.discharge]
ready = { all = ["steady"] }
[rule.prospective]
ACUTE = { one = ["frail", "congested"] }
"""
UNITS = {
    **{"sbp": "mm[Hg]", "pao2": "mm[Hg]", "spo2": "%", "spo2_limit": "%", "creatinine": "mg/dL"},
    **{"baseline_creatinine": "mg/dL", "heart_rate": "/min", "asa_class": "{score}"},
    "ciwa_ar": "{score}",
}
Known = dict[str, FactValue]
QUIET: Known = {"sbp": Decimal(120), "spo2": Decimal(97), "spo2_limit": Decimal(90), "pao2": Decimal(90)}
QUIET |= {
    "ciwa_ar": Decimal(0),
    "creatinine": Decimal(1),
    "baseline_creatinine": Decimal(1),
    "age": Decimal(60),
    "sex": "M",
}
QUIET |= {"home_support_adequate": True, "cancer": False}
QUIET |= {"worsened_congestion": False, "telemetry": False, "vasopressor": False, "asa_class": Decimal(1)}
AGED = {"age": Decimal(92)}
CONGESTED: Known = {"worsened_congestion": True}
NONE, BY_AGE = ("NO_MEASURED_FACT",), ("AGE_ONLY",)
HISTORY = ("of what was so before, which people are told as NO_MEASURED_FACT",)


def content(tmp_path: Path, more: str = "") -> LevelContent:
    (tmp_path / "zz.toml").write_text(FILE.replace("age_from = 18", f"age_from = 18\n{more}"))
    return LevelContent(tmp_path)


def asked(values: Known, level: Level = Level.ACUTE, review: ReviewType = ReviewType.ADMISSION) -> Case:
    facts = {}
    for fact, value in values.items():
        sample = Sample(value, AT, f"ZZ1 {fact}", UNITS.get(fact, ""))
        facts[fact] = Reading(fact, sample, sample, sample, (sample,))
    return Case(
        pseudonym="zz",
        review=review,
        requested_status=Status.INPATIENT,
        requested_level=level,
        as_of=AT,
        episode_day=1,
        diagnoses=("J44.1",),
        payer_class="COMMERCIAL",
        observation_hours=None,
        observation_ended=False,
        facts=facts,
    )


def screened(tmp_path: Path, values: Known, *question: Level | ReviewType, more: str = "") -> ScreenResult:
    return content(tmp_path, more).screen(asked(values, *question))  # type: ignore[arg-type]


MET, HIGHER, REFER = Outcome.MEETS, Outcome.MEETS_ADVISE_HIGHER, Outcome.REFER


@pytest.mark.parametrize(
    ("more", "level", "outcome", "hold"),
    [
        (AGED, Level.ACUTE, MET, BY_AGE),  # the score reads a pressure, and its age is enough
        (AGED | {"sbp": Decimal(85)}, Level.ACUTE, MET, BY_AGE),  # as it would be without
        (AGED | {"age": Decimal(89), "sbp": Decimal(85)}, Level.ACUTE, MET, ()),  # here the pressure decides
        (CONGESTED, Level.ACUTE, MET, NONE),
        (CONGESTED | {"sbp": Decimal(91)}, Level.ACUTE, MET, NONE),  # measured, but in a branch that is false
        (
            CONGESTED | {"sbp": Decimal(90)},
            Level.ACUTE,
            MET,
            (),
        ),  # a sign that calls a physician is beside it
        (CONGESTED | {"sbp": Decimal(85), "telemetry": True}, Level.ACUTE, MET, ()),
        (CONGESTED | AGED, Level.ACUTE, MET, BY_AGE),
        ({"ciwa_ar": Decimal(20)}, Level.INTERMEDIATE, MET, ()),  # whose own number is the points
        ({"spo2": Decimal(89)}, Level.INTERMEDIATE, MET, ()),  # one fact against another
        ({"spo2": Decimal(89)}, Level.ACUTE, HIGHER, ()),  # a level above the one asked for
        ({"creatinine": Decimal(2)}, Level.CRITICAL, MET, ()),  # one beside another
        ({"vasopressor": True}, Level.CRITICAL, MET, ()),  # support of an organ, once something is measured
        ({"sbp": Decimal(95)}, Level.OBS, MET, ()),  # what makes "steady" false makes "not steady" true
        (
            {"telemetry": True},
            Level.OBS,
            MET,
            NONE,
        ),  # a gas of 90 and a pressure of 120 are measured, and normal
        (
            {"telemetry": True, "sbp": Decimal(95)},
            Level.OBS,
            MET,
            (),
        ),  # the order is beside it, not before it
        ({"cancer": True}, Level.ACUTE, MET, HISTORY),  # 60 years and 30 points for what was so before
        ({"cancer": True, "sex": "F", "sbp": Decimal(85)}, Level.ACUTE, MET, ()),  # 80: the pressure decides
        ({"cancer": True, "sbp": Decimal(85)}, Level.ACUTE, MET, HISTORY),  # as it would be without
        ({"cancer": True}, Level.INTERMEDIATE, REFER, HISTORY),  # nobody builds on the level below
        (
            {"age": Decimal(85)} | CONGESTED,
            Level.ACUTE,
            MET,
            NONE,
        ),  # the pressure that the score reads is normal
        ({"age": Decimal(95)}, Level.OBS, HIGHER, BY_AGE),
        ({"age": Decimal(95), "sex": "F"}, Level.OBS, MET, HISTORY),  # reads no measurement at all
        ({"age": Decimal(95), "sex": "F"}, Level.ACUTE, REFER, HISTORY),
        ({"age": Decimal(92)}, Level.INTERMEDIATE, REFER, BY_AGE),  # but others build on the level below
        (CONGESTED, Level.INTERMEDIATE, REFER, ()),
        ({"sbp": Decimal(95)}, Level.ACUTE, REFER, ()),
        ({}, Level.ACUTE, REFER, ()),  # nothing above home: nothing to hold
    ],
)
def test_what_an_answer_rests_on(
    tmp_path: Path, more: Known, level: Level, outcome: Outcome, hold: tuple[str, ...]
) -> None:
    found = screened(tmp_path, QUIET | more, level)
    assert (found.outcome, found.hold) == (outcome, NONE if hold is HISTORY else hold)
    assert ("by age alone" in found.rationale) is (hold == BY_AGE)
    assert ("Age, history or a code is enough" in found.rationale) is (hold is HISTORY)
    assert ("No abnormal measurement is among" in found.rationale) is (hold == NONE)
    # others build on a lower level: one that rests on what was seen says so, and no other
    assert (found.scores.get(SUPPORTED_BY) == SEEN) is (more == CONGESTED and outcome is REFER)


@pytest.mark.parametrize(
    ("fact", "value", "is_finding"),
    [
        ("ciwa_ar", Decimal(0), False),
        ("ciwa_ar", Decimal(7), False),
        ("ciwa_ar", Decimal(8), True),
        ("ciwa_ar", None, False),  # what is not known is no finding
        ("age", Decimal(92), False),  # nor is what is no measurement
    ],
)
def test_points_that_are_the_value_itself_are_a_finding_beyond_what_is_ordinary(
    tmp_path: Path, fact: str, value: Decimal | None, is_finding: bool
) -> None:
    subset = content(tmp_path).library.subsets["zz"]
    truths = truths_of(subset.examine(asked(QUIET | ({} if value is None else {fact: value}))))
    if value is None:
        truths = truths.only([each for each in QUIET if each != fact])
    items = (item for score in subset.rules.scores.values() for item in score.items)
    assert counted_abnormal(truths, next(each for each in items if each.counts == fact)) is is_finding


#: Shapes that a criterion can have, each one's beginning of a rule and what it needs a finding for.
SHAPES = """
[criterion.low]
title = "Low pressure"
cite = ["ours"]
when = "sbp < 90 mm[Hg]"
[criterion.two_of]
title = "Two of three"
cite = ["ours"]
at_least = 2
of = ["sbp < 90 mm[Hg]", "telemetry is Y", "cancer is Y"]
[criterion.two_with_usual]
title = "Two of three, of which one is so of everybody"
cite = ["ours"]
at_least = 2
of = ["sbp >= 100 mm[Hg]", "telemetry is Y", "cancer is Y"]
[criterion.two_with_not]
title = "Two of three, of which one is turned"
cite = ["ours"]
at_least = 2
of = [{ not = { one = ["sbp >= 90 mm[Hg]", "worsened_congestion is Y"] } }, "telemetry is Y", "cancer is Y"]
[criterion.two_with_named]
title = "Two of three, of which one is another criterion"
cite = ["ours"]
at_least = 2
of = ["low", "telemetry is Y", "cancer is Y"]
[criterion.if_measured]
title = "Low where it was measured"
cite = ["ours"]
optional = { sbp = "always" }
when = "sbp < 90 mm[Hg]"
[criterion.old_or_usual]
title = "95 or older, or a pressure that is so of everybody"
cite = ["ours"]
one = ["age >= 95", "sbp >= 100 mm[Hg]"]
[criterion.neither_young_nor_low]
title = "Not young and low"
cite = ["ours"]
not = { all = ["age < 95", "sbp < 100 mm[Hg]"] }
"""
LOW: Known = {"sbp": Decimal(85)}
WATCHED: Known = {"telemetry": True}


@pytest.mark.parametrize(
    ("key", "more", "reasons"),
    [
        ("two_of", LOW | WATCHED, ()),
        ("two_of", WATCHED | {"cancer": True}, (NO_MEASURED_FACT,)),
        ("two_of", LOW | WATCHED | {"cancer": True}, (NO_MEASURED_FACT,)),  # as it would be without
        ("two_with_usual", WATCHED, (NO_MEASURED_FACT,)),
        ("two_with_not", LOW | WATCHED, ()),
        ("two_with_named", LOW | WATCHED, ()),
        ("if_measured", LOW, ()),
        ("old_or_usual", {"age": Decimal(95)}, (HISTORY_ALONE,)),
        ("neither_young_nor_low", {"age": Decimal(95)}, (HISTORY_ALONE,)),
    ],
)
def test_a_finding_is_looked_for_in_every_shape_of_a_criterion(
    tmp_path: Path, key: str, more: Known, reasons: tuple[str, ...]
) -> None:
    subset = content(tmp_path, SHAPES).library.subsets["zz"]
    truths = truths_of(subset.rules.examine(asked(QUIET | more).facts))
    assert truths.truth(key) is True
    assert reasons_to_hold(truths, key, frozenset({"sbp", "spo2", "pao2", "creatinine"})) == reasons


@pytest.mark.parametrize(
    ("outcome", "review", "is_named"),
    [
        (REFER, ReviewType.ADMISSION, True),
        (MET, ReviewType.ADMISSION, False),
        (REFER, ReviewType.CONTINUED_STAY, False),
    ],
)
def test_code_of_its_own_names_circumstances_where_it_refers_a_first_look(
    tmp_path: Path, outcome: Outcome, review: ReviewType, is_named: bool
) -> None:
    subset = content(tmp_path).library.subsets["zz"]
    question = asked(QUIET | {"home_support_adequate": False}, Level.ACUTE, review)
    exam = subset.rules.examine(question.facts)
    found = on_measurement(question, subset, exam, ScreenResult(outcome), "admission.ACUTE")
    assert ("no ground for a level by itself" in found.rationale) is is_named
    nothing = asked(QUIET, Level.ACUTE, review)
    assert on_measurement(nothing, subset, subset.examine(nothing), ScreenResult(outcome)).rationale == ""


#: Scores of what is measured beside what is not, and tests of them.
SCORED = """
[score.shakes]
title = "Withdrawal and cancer"
cite = ["ours"]
item = [
  { id = "ciwa_ar", counts = "ciwa_ar" },
  { id = "cancer", when = "cancer is Y", points = 15 },
  { id = "congestion", when = "worsened_congestion is Y", points = 30 },
]
[score.years]
title = "Age and a rise"
cite = ["ours"]
item = [
  { id = "age", counts = "age" },
  { id = "rise", when = "times_baseline >= 2", points = 1 },
]
[score.years_and_shakes]
title = "Age and withdrawal"
cite = ["ours"]
item = [{ id = "age", counts = "age" }, { id = "ciwa_ar", counts = "ciwa_ar" }]
[score.either]
title = "Low pressure or telemetry"
cite = ["ours"]
item = [{ id = "either", when = { one = ["sbp < 90 mm[Hg]", "telemetry is Y"] }, points = 20 }]
[score.nothing]
title = "A low pressure that gives no point"
cite = ["ours"]
item = [
  { id = "pressure", when = "sbp < 90 mm[Hg]", points = 0 },
  { id = "congestion", when = "worsened_congestion is Y", points = 1 },
]
[criterion.shakes_20]
title = "20 or more"
cite = ["ours"]
when = "shakes >= 20"
[criterion.shakes_over_19]
title = "More than 19"
cite = ["ours"]
when = "shakes > 19"
[criterion.years_60]
title = "60 or more"
cite = ["ours"]
when = "years >= 60"
[criterion.years_and_shakes_60]
title = "60 or more"
cite = ["ours"]
when = "years_and_shakes >= 60"
[criterion.either_20]
title = "20 or more"
cite = ["ours"]
when = "either >= 20"
[criterion.nothing_1]
title = "1 or more"
cite = ["ours"]
when = "nothing >= 1"
[criterion.no_rise]
title = "Less than three times the baseline"
cite = ["ours"]
when = "times_baseline < 3"
"""
MEASURED_HERE = frozenset({"sbp", "spo2", "pao2", "creatinine", "ciwa_ar"})
NO = (NO_MEASURED_FACT,)


def shaking(value: int) -> Known:
    return {"ciwa_ar": Decimal(value)}


@pytest.mark.parametrize(
    ("key", "more", "reasons"),
    [
        # what is counted itself is a finding beyond the ordinary, and not because it gives a point
        ("shakes_20", shaking(8) | {"cancer": True}, ()),
        ("shakes_20", shaking(5) | {"cancer": True}, NO),
        # and it is enough by itself, whatever else would have been enough too
        ("shakes_20", shaking(20) | CONGESTED, ()),
        ("shakes_20", shaking(19) | CONGESTED, NO),
        ("shakes_over_19", shaking(20) | CONGESTED, ()),
        ("shakes_over_19", shaking(19) | CONGESTED, NO),
        # a score that reads a measurement and is reached by age is the age's; else it is history's
        ("years_60", {}, (HISTORY_ALONE,)),
        ("years_and_shakes_60", {}, ("AGE_ONLY",)),
        # of a band the part that is true, and the points that it gives
        ("either_20", LOW, ()),
        ("either_20", WATCHED, NO),
        ("nothing_1", LOW | CONGESTED, NO),
        # two facts read together that everybody's values would satisfy
        ("no_rise", {}, NO),
    ],
)
def test_a_finding_is_looked_for_in_every_kind_of_item(
    tmp_path: Path, key: str, more: Known, reasons: tuple[str, ...]
) -> None:
    subset = content(tmp_path, SCORED).library.subsets["zz"]
    truths = truths_of(subset.rules.examine(asked(QUIET | more).facts))
    assert truths.truth(key) is True
    facts = MEASURED_HERE - {"creatinine"} if key == "years_60" else MEASURED_HERE
    assert reasons_to_hold(truths, key, facts) == reasons


def test_circumstances_lift_a_level_make_none_true_and_are_named(tmp_path: Path) -> None:
    alone: Known = {"home_support_adequate": False}
    found = screened(tmp_path, QUIET | alone)
    assert (found.outcome, found.supported) == (Outcome.REFER, Level.HOME)
    assert "no ground for a level by itself: home_support_adequate is N." in found.rationale
    lifted = screened(tmp_path, QUIET | alone | {"spo2": Decimal(89)})
    assert (lifted.supported, lifted.hold) == (Level.INTERMEDIATE, ())
    assert "by itself" not in lifted.rationale + screened(tmp_path, QUIET).rationale


def test_a_test_that_was_left_out_is_no_measurement(tmp_path: Path) -> None:
    """No gas was taken, as the rule allows: what is left to make the level true is an order."""
    known = {fact: value for fact, value in QUIET.items() if fact not in ("pao2", "sbp")}
    found = screened(tmp_path, known | {"telemetry": True}, Level.OBS)
    assert (found.outcome, found.hold) == (Outcome.MEETS, NONE)
    measured = screened(tmp_path, known | {"telemetry": True, "sbp": Decimal(95)}, Level.OBS)
    assert (measured.outcome, measured.hold) == (Outcome.MEETS, ())  # by what made "steady" false


UNMEASURED = {fact: value for fact, value in QUIET.items() if fact not in UNITS or fact.startswith("b")}


@pytest.mark.parametrize("review", [r for r in ReviewType if r is not ReviewType.PROSPECTIVE])
@pytest.mark.parametrize("known", [{}, {"age": Decimal(120)}, CONGESTED, {"vasopressor": True}])
def test_until_something_is_measured_nothing_is_decided(
    tmp_path: Path, known: Known, review: ReviewType
) -> None:
    found = screened(tmp_path, UNMEASURED | known | {"spo2_limit": Decimal(90)}, Level.ACUTE, review)
    later = {"sbp"} if review in (ReviewType.DISCHARGE, ReviewType.CONTINUED_STAY) else None
    assert found.outcome is Outcome.PEND
    assert set(found.missing) == (later or {"sbp", "spo2", "pao2", "creatinine", "ciwa_ar"})
    assert found.supported is (None if review is ReviewType.DISCHARGE else Level.HOME)
    assert (found.scores, found.hold, found.discharge_ready) == ({}, (), None)


def test_one_measurement_is_enough_to_decide(tmp_path: Path) -> None:
    """Also one that this file does not read: what it does read may be unknown, as ever."""
    other: Known = {"heart_rate": Decimal(80)}
    found = screened(tmp_path, UNMEASURED | CONGESTED | other)
    assert (found.outcome, found.hold) == (Outcome.MEETS, NONE)
    supported = screened(tmp_path, UNMEASURED | {"vasopressor": True} | other, Level.CRITICAL)
    assert (supported.outcome, supported.hold) == (Outcome.MEETS, ())


def test_a_measurement_in_another_unit_is_none(tmp_path: Path) -> None:
    question = asked(UNMEASURED | CONGESTED | {"sbp": Decimal(120)})
    wrong = replace(question.facts["sbp"].latest, unit="kPa")
    facts = {**question.facts, "sbp": Reading("sbp", wrong, wrong, wrong, (wrong,))}
    assert content(tmp_path).screen(replace(question, facts=facts)).outcome is Outcome.PEND


def test_later_reviews_may_go_by_treatment_and_what_people_see(tmp_path: Path) -> None:
    found = screened(tmp_path, QUIET | CONGESTED, Level.ACUTE, ReviewType.CONTINUED_STAY)
    assert (found.outcome, found.hold) == (Outcome.MEETS, ())


def test_before_a_planned_admission_the_asa_class_is_a_measurement(tmp_path: Path) -> None:
    question = (Level.ACUTE, ReviewType.PROSPECTIVE)
    frail = {**UNMEASURED, "asa_class": Decimal(4)}
    assert screened(tmp_path, frail, *question).hold == ()
    assert screened(tmp_path, {**frail, "asa_class": Decimal(1)} | CONGESTED, *question).hold == NONE
    found = screened(tmp_path, UNMEASURED | CONGESTED, *question)
    assert (found.outcome, found.missing) == (Outcome.PEND, ("asa_class",))


@pytest.mark.parametrize("shown", ["imaging", "bedside"])
def test_an_illness_that_is_shown_otherwise_needs_one_measurement_and_no_more(
    tmp_path: Path, shown: str
) -> None:
    more = f'shown_by = "{shown}"'
    assert screened(tmp_path, QUIET | CONGESTED, more=more).hold == ()
    assert screened(tmp_path, UNMEASURED | CONGESTED, more=more).outcome is Outcome.PEND


def test_how_it_is_shown_is_one_of_two_words(tmp_path: Path) -> None:
    for wrong in ('"hearsay"', '""', "true"):
        with pytest.raises(ContentError, match="shown_by"):
            content(tmp_path, f"shown_by = {wrong}")


def test_content_that_reads_no_measurement_has_none_to_ask_for_and_closes_nothing(tmp_path: Path) -> None:
    head, _, rest = FILE.partition("[fact]")
    kept = '[fact]\nworsened_congestion = { kind = "boolean" }\n[criterion.congested]'
    body = rest.partition("[criterion.congested]")[2].partition("[criterion.low_while_watched]")[0]
    rules = '[rule.admission]\nACUTE = { one = ["congested"] }\n'
    (tmp_path / "zz.toml").write_text(head + kept + body + rules)
    found = LevelContent(tmp_path).screen(asked(UNMEASURED | CONGESTED))
    assert (found.outcome, found.missing, found.hold) == (Outcome.MEETS, (), NONE)


ORDER: Known = {"unmapped_parenteral_order": True}


def test_of_readiness_only_what_is_known_is_said(tmp_path: Path) -> None:
    asks = (Level.ACUTE, ReviewType.CONTINUED_STAY)
    ready = screened(tmp_path, QUIET, *asks)
    assert (ready.outcome, ready.discharge_ready) == (REFER, True)
    assert "needing the hospital that its profile knows is running." in ready.rationale
    unread = screened(tmp_path, QUIET | ORDER, *asks)
    assert (unread.outcome, unread.discharge_ready) == (Outcome.PEND, None)
    assert "needs the hospital is not known. " in unread.rationale
    assert "Every other discharge item of these criteria is reached." in unread.rationale
    assert "reach no level above home so far." in unread.rationale
    for untrue in ("Every discharge item", "refer to secondary review"):
        assert untrue not in unread.rationale


def test_a_referral_names_what_is_known_and_was_not_looked_at(tmp_path: Path) -> None:
    """That criteria reach no level is no word about what they never read."""
    sick = QUIET | {"immunocompromised": True, "home_support_adequate": True, "lactate": Decimal("4.2")}
    said = screened(tmp_path, sick)
    assert (said.outcome, said.supported) == (REFER, Level.HOME)
    assert "not looked at by them: immunocompromised Y, lactate 4.2" in said.rationale
    assert "home_support_adequate" not in said.rationale.partition("not looked at")[2]
    assert "not looked at by them" not in screened(tmp_path, QUIET).rationale


def test_a_level_that_is_open_is_not_said_to_be_unsupported(tmp_path: Path) -> None:
    settled = screened(tmp_path, QUIET)
    assert (settled.outcome, settled.supported) == (REFER, Level.HOME)
    assert "reach no level above home." in settled.rationale
    is_open = screened(tmp_path, {k: v for k, v in QUIET.items() if k != "telemetry"})
    assert (is_open.outcome, is_open.scores["supported_max"]) == (REFER, "OBS")
    assert "reach no level above home so far." in is_open.rationale


@pytest.mark.parametrize("review", [ReviewType.ADMISSION, ReviewType.CONTINUED_STAY, ReviewType.DISCHARGE])
def test_the_subset_of_every_other_diagnosis_says_that_it_does_not_read_this_one(
    tmp_path: Path, review: ReviewType
) -> None:
    words = "not this diagnosis: what it needs beyond them, a person judges."
    own = screened(tmp_path, QUIET, Level.ACUTE, review)
    assert words not in own.rationale
    (tmp_path / "zz.toml").write_text(FILE.replace('icd10 = ["J44"]', "fallback = true"))
    general = LevelContent(tmp_path)
    found = general.screen(asked(QUIET, Level.ACUTE, review))
    assert (found.outcome, found.supported) == (own.outcome, own.supported)
    assert words in found.rationale
    assert words in general.screen(asked({}, Level.ACUTE, review)).rationale
    met = general.screen(asked(QUIET | {"sbp": Decimal(85), "telemetry": True}))
    assert (met.outcome, words in met.rationale) == (MET, False)

"""One fact against another, the principal diagnosis as a fact, and diagnoses that a secondary one moves."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest

from umbridge import Case, Level, LevelContent, Outcome, Reading, ReviewType, Sample, Status, load_content
from umbridge.criteria.made_facts import asked_for
from umbridge.dryrun.linter import lint
from umbridge.errors import ContentError
from umbridge.model import FactValue
from umbridge.values.interval import Interval

AT = datetime(2026, 3, 2, 12, tzinfo=UTC)
FILE = """
format = 1
id = "lungs"
title = "Lungs"
edition = "1"
effective_from = 2022-01-01
icd10 = ["J44", "K92.2", "S72.0"]
age_from = 18
{more}
[approval]
state = "draft"
note = "x"
[citation]
ours = "Ours, of 2026"
[fact]
spo2 = {{ kind = "number", unit = "%", worst = "low" }}
spo2_limit = {{ kind = "number", unit = "%" }}
paco2 = {{ kind = "number", unit = "mm[Hg]", worst = "high" }}
usual_paco2 = {{ kind = "number", unit = "mm[Hg]" }}
is_flare = {{ kind = "boolean", principal = ["J44.1"] }}
bleeds = {{ kind = "boolean" }}
[criterion.low]
title = "Below the limit"
cite = ["ours"]
mark = "mapping"
when = "{low}"
[criterion.low_now]
title = "Below the limit now"
cite = ["ours"]
mark = "mapping"
when = "latest spo2 < spo2_limit %"
[criterion.high]
title = "Above 60, and by more than 5 above what is usual"
cite = ["ours"]
mark = "mapping"
optional = {{ usual_paco2 = "paco2" }}
all = ["paco2 > 60 mm[Hg]", {{ not = "paco2 <= usual_paco2 + 5 mm[Hg]" }}]
[criterion.flare]
title = "A flare that bleeds"
cite = ["ours"]
mark = "mapping"
all = ["is_flare is Y", "bleeds is Y"]
[rule.admission]
CRITICAL = {{ one = ["high"] }}
ACUTE = {{ one = ["low"] }}
OBS = {{ one = ["flare"] }}
[rule.discharge]
ready = {{ not = "low_now" }}
"""


def folder(tmp_path: Path, low: str = "spo2 < spo2_limit %", more: str = "", name: str = "lungs") -> Path:
    (tmp_path / f"{name}.toml").write_text(FILE.format(low=low, more=more).replace('"lungs"', f'"{name}"'))
    return tmp_path


def reading(fact: str, value: FactValue, unit: str, latest: FactValue | None = None) -> Reading:
    worst, last = (Sample(v, AT, f"ZZ1 {fact}", unit) for v in (value, value if latest is None else latest))
    return Reading(fact, last, worst, worst if latest is None else last, (worst, last))


UNITS = {"spo2": "%", "spo2_limit": "%", "paco2": "mm[Hg]", "usual_paco2": "mm[Hg]", "age": ""}


def case(known: dict[str, FactValue | Reading], review: ReviewType = ReviewType.ADMISSION) -> Case:
    facts = {
        fact: value if isinstance(value, Reading) else reading(fact, value, UNITS.get(fact, ""))
        for fact, value in ({"age": Decimal(60)} | known).items()
    }
    return Case(
        pseudonym="zz",
        review=review,
        requested_status=Status.INPATIENT,
        requested_level=Level.ACUTE,
        as_of=AT,
        episode_day=1,
        diagnoses=("J44.1",),
        payer_class="COMMERCIAL",
        observation_hours=None,
        observation_ended=False,
        facts=facts,
    )


@pytest.mark.parametrize(
    ("spo2", "limit", "truth"),
    [("89.9", "90", True), ("90", "90", False), ("88", "88", False), ("87.9", "88", True)],
)
def test_a_fact_is_compared_with_another_at_its_very_value(
    tmp_path: Path, spo2: str, limit: str, truth: bool
) -> None:
    subset = load_content(folder(tmp_path)).subsets["lungs"]
    exam = subset.examine(case({"spo2": Decimal(spo2), "spo2_limit": Decimal(limit)}))
    assert exam.truth("low") is truth
    told = {each.fact: each.value for each in exam.evidence("low")}
    assert told == {"spo2": spo2, "spo2_limit": limit}


def test_the_same_reading_beside_another_limit_makes_another_difference(tmp_path: Path) -> None:
    subset = load_content(folder(tmp_path)).subsets["lungs"]
    values = [reading("spo2", Decimal(89), "%"), reading("spo2", Decimal(87), "%")]
    limits = [reading("spo2_limit", Decimal(90), "%"), reading("spo2_limit", Decimal(88), "%")]
    for _ in range(2):
        found = [
            subset.examine(case({"spo2": each, "spo2_limit": limit})).truth("low")
            for each in values
            for limit in limits
        ]
        assert found == [True, False, True, True]


def test_each_way_of_reading_is_kept(tmp_path: Path) -> None:
    """Worst of the window below the limit, and above it by now."""
    subset = load_content(folder(tmp_path)).subsets["lungs"]
    both = {"spo2": reading("spo2", Decimal(80), "%", Decimal(95)), "spo2_limit": Decimal(90)}
    exam = subset.examine(case(both))
    assert (exam.truth("low"), exam.truth("low_now")) == (True, False)


def test_what_is_unknown_is_asked_for_by_what_it_is_made_of(tmp_path: Path) -> None:
    subset = load_content(folder(tmp_path)).subsets["lungs"]
    for known, missing in (
        ({}, ("spo2",)),
        ({"spo2": Decimal(95)}, ("spo2_limit",)),
        ({"spo2_limit": Decimal(90)}, ("spo2",)),
        ({"spo2": reading("spo2", Decimal(95), "{furlong}"), "spo2_limit": Decimal(90)}, ("spo2",)),
    ):
        assert subset.examine(case(known)).decide("low").missing == missing
    spec = next(spec for spec in subset.rules.facts.values() if spec.minus == ("spo2", "spo2_limit"))
    assert asked_for(spec, ()) == "spo2"
    assert set(load_content(tmp_path).facts()) >= {"spo2", "spo2_limit", "bleeds"}
    assert not any(" " in fact or fact == "is_flare" for fact in load_content(tmp_path).facts())


def test_a_baseline_that_nobody_stated_is_left_out(tmp_path: Path) -> None:
    subset = load_content(folder(tmp_path)).subsets["lungs"]
    for usual, paco2, truth in ((None, 61, True), (57, 62, False), (57, 63, True), (None, 60, False)):
        known: dict[str, FactValue | Reading] = {"paco2": Decimal(paco2)}
        known |= {} if usual is None else {"usual_paco2": Decimal(usual)}
        exam = subset.examine(case(known))
        assert exam.truth("high") is truth, (usual, paco2)
        assert exam.left_out() == (() if usual else ("usual_paco2",))
    assert subset.examine(case({})).decide("high").missing == ("paco2",)


def test_a_bound_is_compared_too(tmp_path: Path) -> None:
    subset = load_content(folder(tmp_path)).subsets["lungs"]
    for op, value, truth in (("<", 90, True), ("<=", 90, None), (">=", 90, False), (">", 80, None)):
        bound = Interval.bound(op, Decimal(value))
        assert subset.examine(case({"spo2": bound, "spo2_limit": Decimal(90)})).truth("low") is truth


def test_the_principal_diagnosis_is_a_fact_that_nobody_sends(tmp_path: Path) -> None:
    content = LevelContent(folder(tmp_path))
    bleeding = replace(
        case({"bleeds": True, "spo2": Decimal(95), "spo2_limit": Decimal(90), "paco2": Decimal(40)}),
        requested_level=Level.OBS,
    )
    found = content.screen(bleeding)
    assert found.outcome is Outcome.MEETS
    assert {each.fact for each in found.evidence} == {"bleeds"}
    assert content.screen(replace(bleeding, diagnoses=("J44.0", "J44.1"))).outcome is Outcome.REFER
    assert content.screen(replace(bleeding, diagnoses=("j441",))).outcome is Outcome.MEETS


@pytest.mark.parametrize(
    ("low", "said"),
    [
        ("spo2 < nobody %", "a number"),
        ("spo2 < usual_paco2 %", "two numbers of one unit"),
        ("spo2 < spo2_limit", "the unit %"),
        ("spo2 < spo2_limit mm[Hg]", "the unit %"),
        ("spo2 < bleeds %", "two numbers of one unit"),
        ("spo2 < spo2 %", "two facts of this file"),
        ("spo2 is spo2_limit %", "a number"),
        ("any spo2 < spo2_limit %", "a number"),
    ],
)
def test_what_cannot_be_compared_is_refused(tmp_path: Path, low: str, said: str) -> None:
    with pytest.raises(ContentError, match="line") as caught:
        load_content(folder(tmp_path, low))
    assert said in str(caught.value)


def test_the_linter_knows_them(tmp_path: Path) -> None:
    findings = [str(found) for found in lint(folder(tmp_path))]
    assert not [line for line in findings if "is_flare" in line or " - " in line]
    wrong = FILE.replace('principal = ["J44.1"]', 'principal = ["J45"]').format(low="spo2 < 90 %", more="")
    (tmp_path / "lungs.toml").write_text(wrong)
    assert any("J45 is no diagnosis of this file" in str(found) for found in lint(tmp_path))


ELSEWHERE = """
icd10_7th = ["A", "B", "C"]
[[elsewhere]]
icd10 = ["K92.2"]
beside = ["K57.31"]
[[elsewhere]]
icd10 = ["K92.2"]
beside = ["Z79.01"]
fact = "bleeds"
"""


def test_a_secondary_diagnosis_makes_it_anothers(tmp_path: Path) -> None:
    library = load_content(folder(tmp_path, more=ELSEWHERE))
    own = library.subsets["lungs"]
    bleeds = {"bleeds": reading("bleeds", True, "")}
    calm = {"bleeds": reading("bleeds", False, "")}
    assert library.match(("K92.2",)) is own
    assert library.match(("K92.2", "K57.30")) is own
    assert library.match(("K92.2", "K57.31")) is None
    assert library.match(("K57.31", "K92.2")) is None  # no file is for it
    assert library.match(("J44.0", "K57.31")) is own
    assert library.match(("K92.2", "Z79.01")) is own
    assert library.match(("K92.2", "Z79.01"), calm) is own
    assert library.match(("k922", "z7901"), bleeds) is None
    assert "bleeds" in library.facts()


def test_a_later_encounter_for_an_injury_is_not_the_injury(tmp_path: Path) -> None:
    library = load_content(folder(tmp_path, more=ELSEWHERE))
    for code, is_own in (("S72.001A", True), ("S72.001C", True), ("S72.001D", False), ("S72.001", True)):
        assert (library.match((code,)) is not None) is is_own, code


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ('[[elsewhere]]\nicd10 = ["K92.2"]\nbeside = ["K57"]\nto = "nowhere"', "the id of a file"),
        ('[[elsewhere]]\nicd10 = ["K92.2"]', "a list"),
        ('[[elsewhere]]\nicd10 = ["K92.2"]\nbeside = ["K57"]\nfact = "spo2"', "a boolean fact"),
        ('[[elsewhere]]\nicd10 = ["K92.2"]\nbeside = ["K57"]\nother = 1', "one of"),
        ("icd10_7th = []", "a list of texts"),
    ],
)
def test_a_bad_word_about_diagnoses_is_refused(tmp_path: Path, more: str, said: str) -> None:
    with pytest.raises(ContentError) as caught:
        load_content(folder(tmp_path, more=more))
    assert said in str(caught.value)


def test_nobody_is_ready_while_an_order_runs_that_nobody_has_read(tmp_path: Path) -> None:
    content = LevelContent(folder(tmp_path))
    known: dict[str, FactValue | Reading] = {"spo2": Decimal(95), "spo2_limit": Decimal(90)}
    asked = case(known, ReviewType.DISCHARGE)
    ready = content.screen(asked)
    assert (ready.outcome, ready.discharge_ready) == (Outcome.MEETS, True)
    order = {"unmapped_parenteral_order": reading("unmapped_parenteral_order", True, "")}
    held = content.screen(replace(asked, facts={**asked.facts, **order}))
    assert (held.outcome, held.discharge_ready) == (Outcome.PEND, None)
    assert held.missing == ("unmapped_parenteral_order",)
    assert "Every other discharge item of these criteria is reached." in held.rationale
    assert held.evidence[-1].source == "ZZ1 unmapped_parenteral_order"
    low = case({"spo2": Decimal(80), "spo2_limit": Decimal(90)}, ReviewType.DISCHARGE)
    kept = content.screen(replace(low, facts={**low.facts, **order}))
    assert (kept.outcome, kept.missing) == (Outcome.REFER, ())  # it is not what keeps the patient
    assert "unmapped_parenteral_order" in content.library.facts()


def test_a_retrospective_review_is_answered_as_the_admission(tmp_path: Path) -> None:
    content = LevelContent(folder(tmp_path))
    asked = case({"spo2": Decimal(80), "spo2_limit": Decimal(90), "paco2": Decimal(40)})
    found = [
        replace(content.screen(replace(asked, review=review)), evidence=())
        for review in (ReviewType.ADMISSION, ReviewType.RETROSPECTIVE)
    ]
    assert found[0] == found[1]
    assert found[0].outcome is Outcome.MEETS


def test_a_fact_in_whose_place_another_is_known_is_not_looked_at(tmp_path: Path) -> None:
    """Urine is read where the blood was not, and never against it."""
    text = FILE.format(low="spo2 < 90 %", more="").replace(
        'bleeds = { kind = "boolean" }', 'bleeds = { kind = "boolean", unless = "spo2" }'
    )
    text = text.replace("[criterion.flare]", '[criterion.flare]\noptional = { bleeds = "spo2" }')
    (tmp_path / "lungs.toml").write_text(text)
    subset = load_content(tmp_path).subsets["lungs"]
    assert subset.examine(case({"bleeds": True})).truth("flare") is True
    assert subset.examine(case({"bleeds": True, "spo2": Decimal(95)})).truth("flare") is False
    unread = reading("spo2", Decimal(95), "{furlong}")  # a value that cannot be used takes no place
    assert subset.examine(case({"bleeds": True, "spo2": unread})).truth("flare") is True
    assert not [line for line in map(str, lint(tmp_path)) if "bleeds is Y" in line]
    (tmp_path / "lungs.toml").write_text(text.replace('unless = "spo2"', 'unless = "nobody"'))
    with pytest.raises(ContentError, match="another fact of this file"):
        load_content(tmp_path)

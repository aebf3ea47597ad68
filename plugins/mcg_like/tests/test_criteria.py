"""The kit's checks on this plugin's content, its scores written out by hand, and its logic a second time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
import umbridge_mcg_like as plugin
from hypothesis import given, settings
from hypothesis import strategies as st
from umbridge_kit.testing import AT, CriteriaKit, Value, case, choices, examined, patients

from umbridge import Case, Examination, Level, Outcome, Reading, ReviewType, Sample, ScreenResult, Subset

SUBSETS = {subset.id: subset for subset in plugin.LIBRARY.subsets.values()}
GUIDELINES = {"cap", "copd", "asthma", "heart_failure", "chest_pain", "upper_gi_bleed", "dka_hhs", "ssti"}


class TestContent(CriteriaKit):
    plugin = plugin
    library = plugin.LIBRARY


def asked(
    subset: Subset, values: Mapping[str, Value], level: Level = Level.ACUTE, **other: object
) -> ScreenResult:
    question: Case = replace(case(plugin.LIBRARY, subset, values, level), **other)  # type: ignore[arg-type]
    return plugin.umbridge_screen(question)


def drawn(data: st.DataObject, subset: Subset) -> dict[str, Value]:
    """A value on or beside a limit for each fact of this guideline."""
    alone = replace(plugin.LIBRARY, subsets={subset.id: subset})
    return data.draw(patients(alone))[1]


EACH = pytest.mark.parametrize("subset", SUBSETS.values(), ids=lambda each: each.id)


def test_there_are_eight_guidelines_and_each_has_every_part() -> None:
    assert set(SUBSETS) == GUIDELINES
    for subset in SUBSETS.values():
        parts = {key.partition(".")[0] for key in subset.rules.rules if "." in key}
        assert parts >= {"admission", "observation", "course", "extended", "discharge"}, subset.id


# --- scores, against the papers ------------------------------------------------------------------------


def curb65(v: Mapping[str, Value]) -> int:
    """Lim 2003, written out."""
    return (
        (v["new_confusion"] is True)
        + (v["bun"] > 19)  # type: ignore[operator]
        + (v["resp_rate"] >= 30)  # type: ignore[operator]
        + (v["sbp"] < 90 or v["dbp"] <= 60)  # type: ignore[operator]
        + (v["age"] >= 65)  # type: ignore[operator]
    )


def psi(v: Mapping[str, Value]) -> tuple[int, str]:
    """Fine 1997, written out: step one, then the points."""
    n = {key: float(value) for key, value in v.items() if isinstance(value, Decimal)}
    hot = n["temperature"] < 35 or n["temperature"] >= 40
    ill = ("cancer", "liver_disease", "heart_failure", "cerebrovascular_disease", "renal_disease")
    signs = n["heart_rate"] >= 125 or n["resp_rate"] >= 30 or n["sbp"] < 90 or hot
    points = int(n["age"]) - (10 if v["sex"] == "F" else 0)
    points += 10 * bool(v["nursing_home_resident"]) + 30 * bool(v["cancer"]) + 20 * bool(v["liver_disease"])
    points += 10 * (bool(v["heart_failure"]) + bool(v["cerebrovascular_disease"]) + bool(v["renal_disease"]))
    points += 20 * bool(v["new_confusion"]) + 20 * (n["resp_rate"] >= 30) + 20 * (n["sbp"] < 90)
    points += (
        15 * hot + 10 * (n["heart_rate"] >= 125) + 30 * (n["arterial_ph"] < 7.35) + 20 * (n["bun"] >= 30)
    )
    points += 20 * (n["sodium"] < 130) + 10 * (n["glucose"] >= 250) + 10 * (n["hematocrit"] < 30)
    points += 10 * (n["pao2"] < 60 or n["spo2"] < 90) + 10 * bool(v["pleural_effusion"])
    if n["age"] <= 50 and not signs and not v["new_confusion"] and not any(v[key] for key in ill):
        return points, "I"
    return points, "II" if points <= 70 else "III" if points <= 90 else "IV" if points <= 130 else "V"


def blatchford(v: Mapping[str, Value]) -> int:
    """Blatchford 2000 in conventional units, written out."""
    n = {key: float(value) for key, value in v.items() if isinstance(value, Decimal)}
    bun, hgb, sbp = n["bun"], n["hemoglobin"], n["sbp"]
    points = 6 if bun >= 70 else 4 if bun >= 28 else 3 if bun >= 22.4 else 2 if bun >= 18.2 else 0
    if hgb < 10:
        points += 6
    elif v["sex"] == "F":
        points += 1 if hgb < 12 else 0
    else:
        points += 3 if hgb < 12 else 1 if hgb < 13 else 0
    points += 3 if sbp < 90 else 2 if sbp < 100 else 1 if sbp < 110 else 0
    points += (n["heart_rate"] >= 100) + bool(v["melena"]) + 2 * bool(v["syncope"])
    return points + 2 * bool(v["liver_disease"]) + 2 * bool(v["heart_failure"])


def heart(v: Mapping[str, Value]) -> int:
    """Six 2008, written out."""
    n = {key: float(value) for key, value in v.items() if isinstance(value, Decimal)}
    points = int(n["heart_history_score"]) + int(n["heart_ecg_score"])
    points += 2 if n["age"] >= 65 else 1 if n["age"] >= 45 else 0
    many = n["cad_risk_factor_count"] >= 3 or v["known_atherosclerosis"]
    points += 2 if many else 1 if n["cad_risk_factor_count"] >= 1 else 0
    return points + (2 if n["troponin_ratio"] > 3 else 1 if n["troponin_ratio"] > 1 else 0)


def sirs(v: Mapping[str, Value]) -> int:
    """Stevens 2014, written out."""
    n = {key: float(value) for key, value in v.items() if isinstance(value, Decimal)}
    off = (n["temperature"] > 38 or n["temperature"] < 36) + (n["heart_rate"] > 90) + (n["resp_rate"] > 24)
    return int(off + (n["wbc"] > 12 or n["wbc"] < 4))


def test_four_guidelines_have_scores() -> None:
    assert {name for name, subset in SUBSETS.items() if subset.rules.scores} == SCORED


SCORED = {"cap", "chest_pain", "ssti", "upper_gi_bleed"}


@pytest.mark.parametrize("subset", [SUBSETS[name] for name in sorted(SCORED)], ids=lambda each: each.id)
@given(data=st.data())
@settings(max_examples=60, deadline=None)
def test_scores_agree_with_the_papers_written_out_by_hand(subset: Subset, data: st.DataObject) -> None:
    values = drawn(data, subset)
    found = examined(subset, values).scores()
    expected: dict[str, object] = {}
    if subset.id == "cap":
        total, name = psi(values)
        expected = {"curb65": curb65(values), "psi": total, "psi_class": name}
    elif subset.id == "upper_gi_bleed":
        expected = {"glasgow_blatchford": blatchford(values)}
    elif subset.id == "chest_pain":
        without = {**values, "troponin_ratio": Decimal(0)}
        expected = {"heart": heart(values), "heart_clinical": heart(without)}
    elif subset.id == "ssti":
        expected = {"sirs": sirs(values), "sirs_now": sirs(values)}
    assert found == expected


def ketoacidosis(v: Mapping[str, Value]) -> str:
    """The consensus report of 2024, written out: its grade, or the hyperosmolar state, or neither."""
    n = {key: float(value) for key, value in v.items() if isinstance(value, Decimal)}
    ph = min(n["arterial_ph"], n["venous_ph"])
    sugar, ketones, base = n["glucose"], n["beta_hydroxybutyrate"], n["bicarbonate"]
    if (sugar >= 200 or v["diabetes"]) and ketones >= 3 and (ph < 7.3 or base < 18):
        if ph < 7.0 or base < 10 or v["consciousness"] in ("P", "U"):
            return "severe"
        return "moderate" if ph <= 7.25 or base < 15 else "mild"
    if sugar >= 600 and n["effective_osmolality"] > 300 and ketones < 3 and ph >= 7.3 and base >= 15:
        return "hyperosmolar"
    return "neither"


@given(st.data())
@settings(max_examples=200, deadline=None)
def test_ketoacidosis_is_graded_as_the_report_has_it(data: st.DataObject) -> None:
    subset = SUBSETS["dka_hhs"]
    rng = data.draw(st.randoms(use_true_random=False))
    values = {
        fact: rng.choice(choices(subset, fact))
        for fact, spec in subset.rules.facts.items()
        if not spec.is_made
    }
    grade = ketoacidosis(values)
    exam = examined(subset, values)
    assert exam.truth("admission.severe") is (grade in ("severe", "moderate", "hyperosmolar"))
    assert exam.truth("observation.indications") is (grade in ("severe", "moderate", "mild"))


# --- the logic, a second time --------------------------------------------------------------------------


def admission(exam: Examination, tried: bool) -> tuple[Outcome, Level]:
    """The table of the README, for an inpatient request with every fact known."""
    if exam.truth("admission.severe") or (tried and not exam.truth("observation.discharge")):
        return Outcome.MEETS, Level.ACUTE
    return Outcome.REFER, Level.OBS if exam.truth("observation.indications") else Level.HOME


def observation(exam: Examination) -> tuple[Outcome, Level]:
    if exam.truth("admission.severe"):
        return Outcome.MEETS_ADVISE_HIGHER, Level.ACUTE
    if exam.truth("observation.indications"):
        return Outcome.MEETS, Level.OBS
    return Outcome.REFER, Level.HOME


def continued(exam: Examination, day: int) -> tuple[Outcome, Level]:
    rules = exam.rules.rules
    due = [key for key in rules if key.startswith("course.") and int(key[-1]) <= day]
    reasons = [key for key in rules if key.startswith("extended.") and exam.truth(key)]
    if exam.truth("discharge.ready"):
        return Outcome.REFER, Level.HOME
    if all(exam.truth(key) for key in due) or reasons:
        return Outcome.MEETS, Level.ACUTE
    return Outcome.REFER, Level.HOME


@EACH
@given(data=st.data())
@settings(max_examples=30, deadline=None)
def test_each_review_is_answered_by_the_table(subset: Subset, data: st.DataObject) -> None:
    values = drawn(data, subset)
    exam = examined(subset, values)
    hours = data.draw(st.sampled_from([None, Decimal(0), Decimal("23.99"), Decimal(24), Decimal(60)]))
    ended = hours is not None and data.draw(st.booleans())
    span = {"observation_hours": hours, "observation_ended": ended}
    level = data.draw(st.sampled_from([Level.ACUTE, Level.INTERMEDIATE, Level.CRITICAL]))
    tried = hours is not None and (ended or hours >= 24)
    for review in (ReviewType.ADMISSION, ReviewType.RETROSPECTIVE):
        result = asked(subset, values, level, review=review, **span)
        assert (result.outcome, result.supported) == admission(exam, tried)
        assert (result.basis == plugin.PERSISTING) is (
            result.outcome is Outcome.MEETS and not exam.truth("admission.severe")
        )
    watched = asked(subset, values, Level.OBS, review=ReviewType.OBSERVATION, **span)
    assert (watched.outcome, watched.supported) == observation(exam)
    assert ("more than 48 hours" in watched.rationale) is (hours is not None and hours > 48)
    day = data.draw(st.integers(1, 6))
    stay = asked(subset, values, review=ReviewType.CONTINUED_STAY, episode_day=day)
    assert (stay.outcome, stay.supported) == continued(exam, day)
    assert stay.discharge_ready is exam.truth("discharge.ready")
    left = asked(subset, values, review=ReviewType.DISCHARGE)
    assert left.outcome is (Outcome.MEETS if exam.truth("discharge.ready") else Outcome.REFER)


@EACH
@given(data=st.data())
@settings(max_examples=20, deadline=None)
def test_a_stay_behind_its_course_names_its_reasons(subset: Subset, data: st.DataObject) -> None:
    values = drawn(data, subset)
    exam, day = examined(subset, values), data.draw(st.integers(1, 4))
    stay = asked(subset, values, review=ReviewType.CONTINUED_STAY, episode_day=day)
    due = [key for key in subset.rules.rules if key.startswith("course.") and int(key[-1]) <= day]
    true = [
        key.partition(".")[2] for key in subset.rules.rules if key.startswith("extended.") and exam.truth(key)
    ]
    behind = not all(exam.truth(key) for key in due) and not exam.truth("discharge.ready")
    assert stay.extended_stay_reason == (",".join(true) if behind and true else None)


def test_a_lower_level_that_is_still_open_is_said_with_a_referral() -> None:
    """What is built on this answer must not take an open question for a no."""
    chest = SUBSETS["chest_pain"]
    low: dict[str, Value] = dict.fromkeys(chest.rules.facts, False) | {
        **{fact: Decimal(0) for fact in ("heart_history_score", "heart_ecg_score", "cad_risk_factor_count")},
        **{"age": Decimal(40), "troponin_ratio": Decimal("0.4")},
    }
    del low["serial_troponin"], low["troponin_change"]
    result = asked(chest, low)
    assert (result.outcome, result.supported) == (Outcome.REFER, Level.HOME)
    assert result.scores["supported_max"] == "OBS"
    settled_low = asked(chest, low | {"serial_troponin": Decimal("0.4")})
    assert "supported_max" not in settled_low.scores
    watched = asked(chest, low, Level.OBS, review=ReviewType.OBSERVATION)
    assert (watched.outcome, watched.missing) == (Outcome.PEND, ("serial_troponin", "troponin_change"))


# --- patients who are ready ----------------------------------------------------------------------------


N, Y = False, True
#: A patient of each guideline for whom every discharge item is true: exactly what those items read.
SETTLED: Mapping[str, Mapping[str, Value]] = {
    "cap": {
        **{"temperature": Decimal("37.8"), "heart_rate": Decimal(100), "resp_rate": Decimal(24)},
        **{"sbp": Decimal(90), "spo2_room_air": Decimal(90), "oral_intake": Y, "mentation_at_baseline": Y},
        "oral_antibiotic": Y,
    },
    "copd": {**{"resp_rate": Decimal(23), "spo2": Decimal(90), "consciousness": "A", "oral_intake": Y}},
    "asthma": {"pef_percent": Decimal(70), "consciousness": "A"},
    "heart_failure": {
        **{"dyspnea_at_rest": N, "spo2": Decimal(90), "sbp": Decimal(90), "worsening_renal_function": N},
        **{"consciousness": "A"},
    },
    "chest_pain": {"serial_troponin": Decimal(1), "st_elevation": N, "significant_arrhythmia": N},
    "upper_gi_bleed": {
        **{"sbp": Decimal(110), "heart_rate": Decimal(99), "active_bleeding": N, "oral_intake": Y},
        **{"hemoglobin": Decimal(9)},
    },
    "dka_hhs": {
        **{"glucose": Decimal(199), "beta_hydroxybutyrate": Decimal("0.5"), "bicarbonate": Decimal(18)},
        **{"consciousness": "A", "oral_intake": Y},
    },
    "ssti": {
        **{
            "temperature": Decimal(38),
            "heart_rate": Decimal(90),
            "resp_rate": Decimal(24),
            "wbc": Decimal(12),
        },
        **{"sbp": Decimal(90), "consciousness": "A", "oral_antibiotic": Y},
    },
}


def read_by(subset: Subset, key: str) -> set[str]:
    """The facts that a rule or criterion reads."""
    rules = subset.rules
    return {rules.leaves[number].fact for number in rules.read_by(key)[0]}


#: Not needed by the list itself: haemoglobin, beside which its fall is asked for; glucose, once the
#: ketoacidosis is a day old.
SPARED = {("upper_gi_bleed", "hemoglobin"), ("asthma", "spo2_limit"), ("dka_hhs", "glucose")}

#: Ready where it is so, and behind the course without a reason where it is not: a person looks either way.
EITHER_WAY = {("asthma", "consciousness"), ("cap", "oral_antibiotic")}

#: The same with no treatment that needs the hospital, whatever the content lists as such, and no limit of
#: the patient's own.
READY = {
    name: dict.fromkeys(sorted(read_by(SUBSETS[name], "no_hospital_treatment")), N)
    | ({"spo2_limit": Decimal(90)} if "spo2_limit" in SUBSETS[name].rules.facts else {})
    | known
    for name, known in SETTLED.items()
}


@pytest.mark.parametrize("name", sorted(GUIDELINES))
def test_on_the_very_limits_a_patient_is_ready(name: str) -> None:
    subset = SUBSETS[name]
    day = asked(subset, READY[name], review=ReviewType.CONTINUED_STAY, episode_day=3)
    assert (day.outcome, day.discharge_ready, day.supported) == (Outcome.REFER, True, Level.HOME)
    left = asked(subset, READY[name], review=ReviewType.DISCHARGE)
    assert (left.outcome, left.discharge_ready, left.missing) == (Outcome.MEETS, True, ())


@pytest.mark.parametrize(
    ("name", "fact"), [(name, fact) for name in sorted(GUIDELINES) for fact in READY[name]]
)
def test_who_may_be_ready_is_not_kept_and_not_sent_away(name: str, fact: str) -> None:
    """One item unknown: whether the stay meets hangs on it, so it is undecided and asks for that fact."""
    known = {key: value for key, value in READY[name].items() if key != fact}
    if (name, fact) in SPARED:
        return
    left = asked(SUBSETS[name], known, review=ReviewType.DISCHARGE)
    if name == "ssti" and fact in ("temperature", "heart_rate", "resp_rate", "wbc"):
        assert left.outcome is Outcome.MEETS  # one systemic sign is allowed
        return
    assert left.outcome is Outcome.PEND
    assert fact in left.missing
    day = asked(SUBSETS[name], known, review=ReviewType.CONTINUED_STAY, episode_day=1)
    assert day.discharge_ready is None
    if (name, fact) in EITHER_WAY:
        assert day.outcome is Outcome.REFER
        return
    assert day.outcome is Outcome.PEND
    assert fact in day.missing


@pytest.mark.parametrize(
    ("hours", "ended", "outcome"),
    [
        (None, False, Outcome.REFER),
        (Decimal("23.99"), False, Outcome.REFER),
        (Decimal(24), False, Outcome.MEETS),
        (Decimal("0.5"), True, Outcome.MEETS),
    ],
)
def test_observation_counts_as_tried_after_a_day_or_when_it_is_over(
    hours: Decimal | None, ended: bool, outcome: Outcome
) -> None:
    waiting = {"pef_percent": Decimal(55), "consciousness": "A"}
    span = {"observation_hours": hours, "observation_ended": ended}
    assert asked(SUBSETS["asthma"], waiting, **span).outcome is outcome


# --- editions ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("admitted", "applies"), [("2022-01-01", True), ("2021-12-31", False)])
def test_a_stay_is_judged_by_the_edition_of_its_admission(admitted: str, applies: bool) -> None:
    """23:30 local, asked about a year later: neither UTC nor the day of the question counts."""
    subset = SUBSETS["cap"]
    question = case(plugin.LIBRARY, subset, {})
    sample = Sample(f"{admitted}T23:30:00-05:00", AT, "status")
    facts = dict(question.facts) | {"admission_start": Reading("admission_start", sample, sample, sample)}
    later = datetime(2023, 1, 5, tzinfo=UTC) + timedelta(hours=3)
    result = plugin.umbridge_screen(replace(question, facts=facts, as_of=later))
    assert (result.outcome is Outcome.NOT_APPLICABLE) is not applies


def test_other_diagnoses_and_planned_stays_are_none_of_its_business() -> None:
    subset = SUBSETS["cap"]
    for other in ({"diagnoses": ("R55",)}, {"diagnoses": ()}, {"review": ReviewType.PROSPECTIVE}):
        assert asked(subset, {}, **other).outcome is Outcome.NOT_APPLICABLE


# --- whose it is ---------------------------------------------------------------------------------------


def test_the_disclaimer_says_whose_it_is_not() -> None:
    manifest = plugin.umbridge_manifest()
    assert manifest.name == plugin.NAME
    assert "Not affiliated" in manifest.disclaimer
    assert "no proprietary text" in manifest.disclaimer


def test_the_marks_are_named_nowhere_but_in_the_disclaimer() -> None:
    for subset in SUBSETS.values():
        words = [subset.title, *subset.citations.values()]
        words += [criterion.title + criterion.note for criterion in subset.rules.criteria.values()]
        assert not any(mark in text for text in words for mark in ("InterQual", "MCG", "Milliman"))


@pytest.mark.parametrize("subset", list(SUBSETS.values()), ids=lambda subset: subset.id)
def test_no_guideline_judges_a_pregnant_patient(subset: Subset) -> None:
    """Their sources are of adults who are not."""
    for code in subset.icd10:
        for beside in ("O99.89", "Z33.1", "Z34.90", "Z3A.22"):
            asked_of = replace(case(plugin.LIBRARY, subset, {}), diagnoses=(code, beside))
            assert plugin.umbridge_screen(asked_of).outcome is Outcome.NOT_APPLICABLE, code

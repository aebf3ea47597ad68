"""Every score of the content against its paper, written out by hand: a second implementation."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any

import pytest
import umbridge_interqual_like as plugin
from hypothesis import given, settings
from hypothesis import strategies as st
from umbridge_kit.boundary_patients import Value, examined
from umbridge_kit.testing import patients


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


def first(*bands: tuple[bool, int]) -> int:
    return next((points for holds, points in bands if holds), 0)


def numbers(v: Mapping[str, Value]) -> Any:
    """Attribute access to the values, numbers as floats: thresholds have few digits."""
    return type("Patient", (), {k: float(x) if isinstance(x, Decimal) else x for k, x in v.items()})


def news2(v: Mapping[str, Value]) -> int:
    """RCP 2017, the chart's columns from the outside in; scale 2 of saturation where that is the target."""
    p = numbers(v)
    saturation = first((p.spo2 <= 91, 3), (p.spo2 <= 93, 2), (p.spo2 <= 95, 1))
    if p.o2_target_88_92:
        low = first((p.spo2 <= 83, 3), (p.spo2 <= 85, 2), (p.spo2 <= 87, 1))
        high = first((p.spo2 >= 97, 3), (p.spo2 >= 95, 2), (p.spo2 >= 93, 1)) if p.o2_therapy else 0
        saturation = low or high
    return (
        first(
            (p.resp_rate <= 8, 3),
            (p.resp_rate <= 11, 1),
            (p.resp_rate <= 20, 0),
            (p.resp_rate <= 24, 2),
            (True, 3),
        )
        + saturation
        + 2 * p.o2_above_usual
        + first((p.sbp <= 90, 3), (p.sbp <= 100, 2), (p.sbp <= 110, 1), (p.sbp <= 219, 0), (True, 3))
        + first(
            *((p.heart_rate <= 40, 3), (p.heart_rate <= 50, 1), (p.heart_rate <= 90, 0)),
            *((p.heart_rate <= 110, 1), (p.heart_rate <= 130, 2), (True, 3)),
        )
        + 3 * (p.consciousness != "A")
        + first(
            *((p.temperature <= 35.0, 3), (p.temperature <= 36.0, 1), (p.temperature <= 38.0, 0)),
            *((p.temperature <= 39.0, 1), (True, 2)),
        )
    )


def heart(v: Mapping[str, Value]) -> int:
    """Six 2008."""
    p = numbers(v)
    risk = 2 if p.cad_risk_factor_count >= 3 or p.known_atherosclerosis else int(p.cad_risk_factor_count >= 1)
    age = 0 if p.age < 45 else 1 if p.age < 65 else 2
    troponin = 0 if p.troponin_ratio <= 1 else 1 if p.troponin_ratio <= 3 else 2
    return int(p.heart_history_score) + int(p.heart_ecg_score) + age + risk + troponin


def heart_clinical(v: Mapping[str, Value]) -> int:
    """The same without the troponin."""
    return heart({**v, "troponin_ratio": Decimal(0)})


def pesi(v: Mapping[str, Value]) -> int:
    """Aujesky 2005."""
    p = numbers(v)
    points = (
        int(p.age) + 10 * (p.sex == "M") + 30 * p.cancer + 10 * p.heart_failure + 10 * p.chronic_lung_disease
    )
    points += (
        20 * (p.heart_rate >= 110) + 30 * (p.sbp < 100) + 20 * (p.resp_rate >= 30) + 20 * (p.temperature < 36)
    )
    return int(points + 60 * (p.consciousness != "A") + 20 * (p.spo2 < 90))


def spesi(v: Mapping[str, Value]) -> int:
    """Jimenez 2010."""
    p = numbers(v)
    heart_or_lung = p.heart_failure or p.chronic_lung_disease
    return (p.age > 80) + p.cancer + heart_or_lung + (p.heart_rate >= 110) + (p.sbp < 100) + (p.spo2 < 90)  # type: ignore[no-any-return]


def abcd2(v: Mapping[str, Value]) -> int:
    """Johnston 2007."""
    p = numbers(v)
    feature = {"WEAKNESS": 2, "SPEECH": 1, "OTHER": 0}[p.tia_clinical_feature]
    lasted = 0 if p.symptom_duration < 10 else 1 if p.symptom_duration < 60 else 2
    return int((p.age >= 60) + (p.sbp >= 140 or p.dbp >= 90) + feature + lasted + p.diabetes)


def sirs(v: Mapping[str, Value]) -> int:
    """Stevens 2014, systemic signs."""
    p = numbers(v)
    return int(
        (p.temperature > 38 or p.temperature < 36)
        + (p.heart_rate > 90)
        + (p.resp_rate > 24)
        + (p.wbc > 12 or p.wbc < 4)
    )


def sirs4(v: Mapping[str, Value]) -> int:
    """Bone 1992."""
    p = numbers(v)
    hot = p.temperature > 38 or p.temperature < 36
    return int(hot + (p.heart_rate > 90) + (p.resp_rate > 20) + (p.wbc > 12 or p.wbc < 4))


def bisap(v: Mapping[str, Value]) -> int:
    """Wu 2008: one point each."""
    p = numbers(v)
    return int((p.bun > 25) + (p.gcs < 15) + (sirs4(v) >= 2) + (p.age > 60) + p.pleural_effusion)


def ich(v: Mapping[str, Value]) -> int:
    """Hemphill 2001."""
    p = numbers(v)
    coma = 2 if p.gcs <= 4 else 1 if p.gcs <= 12 else 0
    parts = (p.ich_volume >= 30) + p.intraventricular_hemorrhage + p.infratentorial + (p.age >= 80)
    return int(coma + parts)


def oakland(v: Mapping[str, Value]) -> int:
    """Oakland 2017, each table from its top."""
    p = numbers(v)
    age = 0 if p.age < 40 else 1 if p.age < 70 else 2
    pulse = first((p.heart_rate < 70, 0), (p.heart_rate < 90, 1), (p.heart_rate < 110, 2), (True, 3))
    pressure = first((p.sbp < 90, 5), (p.sbp < 120, 4), (p.sbp < 130, 3), (p.sbp < 160, 2))
    h = p.hemoglobin
    blood = first((h < 7, 22), (h < 9, 17), (h < 11, 13), (h < 13, 8), (h < 16, 4))
    signs = (p.sex == "M") + p.previous_lgib_admission + p.digital_rectal_blood
    return int(age + pulse + pressure + blood + signs)


def csrs(v: Mapping[str, Value]) -> int:
    """Thiruganasambandamoorthy 2016."""
    p = numbers(v)
    points = -p.vasovagal_predisposition + p.heart_disease + 2 * (p.sbp < 90 or p.sbp > 180)
    points += 2 * (p.troponin_ratio > 1) + (p.qrs_axis < -30 or p.qrs_axis > 100)
    points += (p.qrs_duration > 130) + 2 * (p.qtc > 480)
    return int(points + {"VASOVAGAL": -2, "CARDIAC": 2, "NEITHER": 0}[p.ed_syncope_diagnosis])


def mascc(v: Mapping[str, Value]) -> int:
    """Klastersky 2000."""
    p = numbers(v)
    points = {"NONE": 5, "MILD": 5, "MODERATE": 3, "SEVERE": 0}[p.mascc_symptom_burden]
    points += 5 * (p.sbp > 90) + 4 * (not p.copd) + 4 * (p.solid_tumor or not p.prior_fungal_infection)
    return int(points + 3 * (not p.dehydration_iv_fluids) + 3 * p.fever_onset_outpatient + 2 * (p.age < 60))


def sofa(v: Mapping[str, Value]) -> int:
    """Vincent 1996, each organ from the worst column to the best."""
    p = numbers(v)
    helped = p.mechanical_ventilation or p.niv
    breath = first(
        *((p.pao2_fio2 < 100 and helped, 4), (p.pao2_fio2 < 200 and helped, 3)),
        *((p.pao2_fio2 < 300, 2), (p.pao2_fio2 < 400, 1)),
    )
    clot = first((p.platelets < 20, 4), (p.platelets < 50, 3), (p.platelets < 100, 2), (p.platelets < 150, 1))
    bilirubin = p.bilirubin_total
    liver = first((bilirubin >= 12, 4), (bilirubin >= 6, 3), (bilirubin >= 2, 2), (bilirubin >= 1.2, 1))
    flow = first((p.vasopressor and p.norepinephrine_dose > 0.1, 4), (p.vasopressor, 3), (p.map < 70, 1))
    nerves = first((p.gcs < 6, 4), (p.gcs <= 9, 3), (p.gcs <= 12, 2), (p.gcs <= 14, 1))
    kidney = first(
        *(
            (p.creatinine >= 5 or p.urine_output_24h < 200, 4),
            (p.creatinine >= 3.5 or p.urine_output_24h < 500, 3),
        ),
        *((p.creatinine >= 2, 2), (p.creatinine >= 1.2, 1)),
    )
    return breath + clot + liver + flow + nerves + kidney


def sofa_rise(v: Mapping[str, Value]) -> int:
    return sofa(v) - int(numbers(v).sofa_baseline)


def kdigo(v: Mapping[str, Value]) -> int:
    """KDIGO 2012, table 2, in decimals: a ratio of exactly 3 must not fall to binary rounding."""
    creatinine, baseline = Decimal(str(v["creatinine"])), Decimal(str(v["baseline_creatinine"]))
    risen = Decimal(str(v["creatinine_rise_48h"])) >= Decimal("0.3")
    injured = creatinine >= Decimal("1.5") * baseline or risen
    begun = bool(v["renal_replacement"]) and not v["chronic_dialysis"]  # it stages an injury
    return first(
        (begun or creatinine >= 3 * baseline or (injured and creatinine >= 4), 3),
        (creatinine >= 2 * baseline, 2),
        (injured or Decimal(str(v["urine_output_rate"])) < Decimal("0.5"), 1),
    )


PAPERS: Mapping[str, Callable[[Mapping[str, Value]], int]] = {
    "curb65": curb65,
    "psi": lambda v: psi(v)[0],
    "glasgow_blatchford": blatchford,
    "news2": news2,
    "heart": heart,
    "heart_clinical": heart_clinical,
    "pesi": pesi,
    "spesi": spesi,
    "abcd2": abcd2,
    "sirs": sirs,
    "csrs": csrs,
    "mascc": mascc,
    "sofa": sofa,
    "sofa_rise": sofa_rise,
    "kdigo": kdigo,
    "sirs4": sirs4,
    "bisap": bisap,
    "ich": ich,
    "oakland": oakland,
}
HELD = [(subset, score) for subset in plugin.LIBRARY.subsets.values() for score in subset.rules.scores]


#: Files enough to have each score once: one that several share is that of their part.
ONE_OF_EACH = {subset.id: subset for subset, _ in {score: (subset, score) for subset, score in HELD}.values()}


@pytest.mark.parametrize("subset", ONE_OF_EACH.values(), ids=lambda s: s.id)
@given(data=st.data())
@settings(max_examples=40, deadline=None)
def test_scores_agree_with_the_papers_written_out_by_hand(subset: Any, data: st.DataObject) -> None:
    values = data.draw(patients(plugin.LIBRARY, subset))
    found = examined(subset, values[1]).scores()
    for score in subset.rules.scores:
        assert found[score] == PAPERS[score](values[1]), score
    if subset.id == "cap":
        assert found["psi_class"] == psi(values[1])[1]


def test_every_score_has_its_paper() -> None:
    assert {score for _, score in HELD} == set(PAPERS)
    assert {score for subset in ONE_OF_EACH.values() for score in subset.rules.scores} == set(PAPERS)
    for subset, score in HELD:  # the same where several files have it
        alike = next(each for each in ONE_OF_EACH.values() if score in each.rules.scores)
        assert alike.rules.scores[score] == subset.rules.scores[score], (subset.id, score)


# --- cases worked by hand ------------------------------------------------------------------------------

#: Of each new score: values beside a patient who has nothing, and the sum on the paper's own table.
BY_HAND = {
    "oakland": [
        ({}, 0),
        ({"age": 39, "sex": "F", "heart_rate": 69, "sbp": 160, "hemoglobin": 16}, 0),
        ({"age": 40, "sex": "M", "heart_rate": 70, "sbp": 159, "hemoglobin": "15.9"}, 1 + 1 + 1 + 2 + 4),
        ({"age": 70, "heart_rate": 90, "sbp": 129, "hemoglobin": "12.9"}, 2 + 2 + 3 + 8),
        ({"heart_rate": 110, "sbp": 119, "hemoglobin": "10.9"}, 3 + 4 + 13),
        ({"sbp": 89, "hemoglobin": "8.9", "previous_lgib_admission": True}, 5 + 17 + 1),
        ({"hemoglobin": "6.9", "digital_rectal_blood": True}, 22 + 1),
        (
            {
                "age": 80,
                "sex": "M",
                "heart_rate": 120,
                "sbp": 80,
                "hemoglobin": 6,
                "digital_rectal_blood": True,
                "previous_lgib_admission": True,
            },
            35,
        ),
    ],
    "bisap": [
        ({"bun": 25, "gcs": 15, "age": 60, "heart_rate": 90, "resp_rate": 20}, 0),
        ({"bun": "25.1", "gcs": 14, "age": 61}, 3),
        ({"heart_rate": 91, "resp_rate": 21}, 1),
        ({"heart_rate": 91}, 0),
        ({"temperature": "35.9", "wbc": "3.9", "pleural_effusion": True}, 2),
        ({"bun": 40, "gcs": 9, "age": 75, "temperature": 39, "wbc": 15, "pleural_effusion": True}, 5),
    ],
    "ich": [
        ({"gcs": 15}, 0),
        ({"gcs": 13, "ich_volume": "29.9", "age": 79}, 0),
        ({"gcs": 12, "ich_volume": 30, "age": 80}, 3),
        ({"gcs": 5, "intraventricular_hemorrhage": True}, 2),
        ({"gcs": 4, "infratentorial": True}, 3),
        (
            {
                "gcs": 3,
                "ich_volume": 60,
                "age": 85,
                "intraventricular_hemorrhage": True,
                "infratentorial": True,
            },
            6,
        ),
    ],
    "sirs4": [
        ({"temperature": 38, "heart_rate": 90, "resp_rate": 20, "wbc": 12}, 0),
        ({"temperature": 36, "wbc": 4}, 0),
        ({"temperature": "38.1", "heart_rate": 91, "resp_rate": 21, "wbc": "12.1"}, 4),
        ({"temperature": "35.9", "wbc": "3.9"}, 2),
    ],
}
WELL = {
    **{"age": 30, "sex": "F", "heart_rate": 60, "sbp": 170, "hemoglobin": 17, "bun": 10, "gcs": 15, "wbc": 8},
    **{"temperature": 37, "resp_rate": 16, "ich_volume": 5},
}


@pytest.mark.parametrize("score", sorted(BY_HAND))
def test_new_scores_give_what_was_worked_out_by_hand(score: str) -> None:
    subset = next(each for each in plugin.LIBRARY.subsets.values() if score in each.rules.scores)
    for change, expected in BY_HAND[score]:
        values: dict[str, Value] = dict.fromkeys(
            (fact for fact, spec in subset.rules.facts.items() if spec.kind == "boolean"), False
        )
        values |= {
            fact: value if isinstance(value, bool) or fact == "sex" else Decimal(str(value))
            for fact, value in (WELL | change).items()
            if fact in subset.rules.facts
        }
        assert examined(subset, values).scores()[score] == expected, change


#: Tokyo Guidelines 2018: grades II and III of one finding beside a patient who is well.
TOKYO = [
    ("K83.09", {"wbc": 13}, (False, False)),
    ("K83.09", {"wbc": 13, "temperature": 39}, (True, False)),
    ("K83.09", {"wbc": "3.9", "age": 75}, (True, False)),
    ("K83.09", {"bilirubin_total": 5, "temperature": "38.9"}, (False, False)),
    ("K80.30", {"bilirubin_total": 5, "age": 75}, (True, False)),
    ("K83.09", {"albumin": "2.45", "age": 75}, (False, False)),  # 0.7 of a lower limit of 3.5
    ("K83.09", {"albumin": "2.44", "age": 75}, (True, False)),
    ("K81.0", {"albumin": "2.44", "age": 75}, (False, False)),
    ("K83.09", {"wbc": 19}, (False, False)),  # 18 is a limit of cholecystitis
    ("K81.0", {"wbc": 18}, (False, False)),
    ("K81.0", {"wbc": "18.1"}, (True, False)),
    ("K81.0", {"symptom_hours": 72}, (False, False)),
    ("K81.0", {"symptom_hours": 73}, (True, False)),
    ("K80.00", {"gallbladder_mass": True}, (True, False)),
    ("K80.00", {"gallbladder_marked": True}, (True, False)),
    ("K81.0", {"bilirubin_total": 5, "age": 75}, (False, False)),  # two items of cholangitis
    ("K81.0", {"creatinine": "2.0", "inr": "1.5", "platelets": 100, "pao2_fio2": 300}, (False, False)),
    ("K81.0", {"creatinine": "2.1"}, (False, True)),
    ("K81.0", {"inr": "1.6"}, (False, True)),
    ("K83.09", {"platelets": 99}, (False, True)),
    ("K83.09", {"pao2_fio2": 299}, (False, True)),
    ("K83.09", {"consciousness": "V"}, (False, True)),
]


@pytest.mark.parametrize(("code", "change", "grades"), TOKYO)
def test_the_tokyo_grades_are_those_of_the_guidelines(
    code: str, change: dict[str, Any], grades: tuple[bool, bool]
) -> None:
    subset = plugin.LIBRARY.subsets["biliary"]
    well = WELL | {"bilirubin_total": 1, "symptom_hours": 24, "creatinine": 1, "inr": 1, "platelets": 250}
    values: dict[str, Value] = dict.fromkeys(
        (fact for fact, spec in subset.rules.facts.items() if spec.kind == "boolean"), False
    )
    values |= {
        fact: value if isinstance(value, bool | str) and not str(value)[0].isdigit() else Decimal(str(value))
        for fact, value in (well | {"pao2_fio2": 400, "consciousness": "A", "spo2": 97} | change).items()
        if fact in subset.rules.facts
    }
    values["is_cholangitis"] = code.startswith(("K83.09", "K80.3"))
    exam = examined(subset, values)
    two = exam.truth("cholecystitis_two") or exam.truth("cholangitis_two")
    assert (two, exam.truth("grade_three")) == grades

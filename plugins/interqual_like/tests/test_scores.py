"""Every score of the content against its paper, written out by hand: a second implementation."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any

import pytest
import umbridge_interqual_like as plugin
from hypothesis import given, settings
from hypothesis import strategies as st

from umbridge.specimens import Value, examined
from umbridge.testing import patients


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
    """RCP 2017, the chart's columns from the outside in, saturation by scale 1."""
    p = numbers(v)
    return (
        first(
            (p.resp_rate <= 8, 3),
            (p.resp_rate <= 11, 1),
            (p.resp_rate <= 20, 0),
            (p.resp_rate <= 24, 2),
            (True, 3),
        )
        + first((p.spo2 <= 91, 3), (p.spo2 <= 93, 2), (p.spo2 <= 95, 1))
        + 2 * p.o2_therapy
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
    return (p.temperature > 38) + (p.heart_rate > 90) + (p.resp_rate > 24) + (p.wbc > 12 or p.wbc < 4)  # type: ignore[no-any-return]


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
    injured = creatinine >= Decimal("1.5") * baseline
    return first(
        (bool(v["renal_replacement"]) or creatinine >= 3 * baseline or (injured and creatinine >= 4), 3),
        (creatinine >= 2 * baseline, 2),
        (injured or Decimal(str(v["urine_output_rate"])) < Decimal("0.5"), 1),
    )


PAPERS: Mapping[str, Callable[[Mapping[str, Value]], int]] = {
    "curb65": curb65,
    "psi": lambda v: psi(v)[0],
    "glasgow_blatchford": blatchford,
    "news2": news2,
    "heart": heart,
    "pesi": pesi,
    "spesi": spesi,
    "abcd2": abcd2,
    "sirs": sirs,
    "csrs": csrs,
    "mascc": mascc,
    "sofa": sofa,
    "sofa_rise": sofa_rise,
    "kdigo": kdigo,
}
HELD = [(subset, score) for subset in plugin.LIBRARY.subsets.values() for score in subset.rules.scores]


@pytest.mark.parametrize("subset", {s.id: s for s, _ in HELD}.values(), ids=lambda s: s.id)
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

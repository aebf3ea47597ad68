"""Answers that a physician advisor would not have signed, at the limits that decide them, both sides."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import pytest
import umbridge_interqual_like as plugin
from umbridge_kit.boundary_patients import AT, Value, case

from umbridge import Case, Level, Outcome, Reading, ReviewType, Sample, ScreenResult

Known = Mapping[str, bool | int | str | None]
Y, N = True, False
#: A patient of whom nothing is out of the ordinary; assessments and treatments are all N.
WELL: Known = {
    **{
        "age": 60,
        "sex": "F",
        "heart_rate": 80,
        "resp_rate": 16,
        "sbp": 128,
        "dbp": 76,
        "temperature": "36.8",
    },
    **{"spo2": 97, "spo2_room_air": 97, "spo2_limit": 90, "consciousness": "A", "gcs": 15, "map": 90},
    **{"sodium": 138, "potassium": "4.1", "glucose": 110, "bicarbonate": 24, "bun": 14, "creatinine": "0.9"},
    **{"baseline_creatinine": "0.9", "creatinine_rise_48h": 0, "wbc": 8, "platelets": 220, "lactate": 1},
    **{"troponin_ratio": "0.4", "neutrophils": 4, "hemoglobin": 14, "inr": 1, "bilirubin_total": "0.7"},
    **{
        "qrs_axis": 20,
        "qrs_duration": 100,
        "qtc": 420,
        "urine_output_rate": 1,
        "pao2_fio2": 450,
        "ciwa_ar": 3,
    },
    **{"heart_history_score": 0, "heart_ecg_score": 0, "cad_risk_factor_count": 0},
    **{"ed_syncope_diagnosis": "NEITHER", "mascc_symptom_burden": "NONE", "fever_onset_outpatient": Y},
    **{"lipase_ratio": 1, "dyspnea_vas": 2, "crp": 2, "paco2": 40, "arterial_ph": "7.4", "usual_spo2": None},
}


def question(name: str, *changes: Known, level: Level = Level.ACUTE) -> Case:
    subset = plugin.LIBRARY.subsets[name]
    specs = {fact: spec for fact, spec in subset.rules.facts.items() if spec.minus is None}
    whole: dict[str, bool | int | str | None] = {
        fact: N for fact, spec in specs.items() if spec.kind == "boolean"
    }
    for change in (WELL, *changes):
        whole |= {fact: value for fact, value in change.items() if fact in specs or change is not WELL}
    values: dict[str, Value] = {
        fact: value if isinstance(value, bool) or specs[fact].kind == "code" else Decimal(str(value))
        for fact, value in whole.items()
        if value is not None
    }
    return case(plugin.LIBRARY, subset, values, level)


def asked(name: str, *changes: Known, level: Level = Level.ACUTE) -> ScreenResult:
    return plugin.umbridge_screen(question(name, *changes, level=level))


def came(fact: str, *values: int | str, unit: str = "") -> dict[str, Reading]:
    """A reading of several samples, an hour apart, the last one now."""
    kept = [
        Sample(Decimal(str(value)), AT - timedelta(hours=len(values) - n), "", unit)
        for n, value in enumerate(values, 1)
    ]
    low, high = (pick(kept, key=lambda each: Decimal(str(each.value))) for pick in (min, max))
    return {fact: Reading(fact, kept[-1], low, high, tuple(kept))}


def over(asked_: Case, facts: Mapping[str, Reading]) -> ScreenResult:
    return plugin.umbridge_screen(replace(asked_, facts={**asked_.facts, **facts}))


@pytest.mark.parametrize("code", ["D70.1", "R50.81"])
def test_a_neutropenic_fever_without_a_count_asks_for_it(code: str) -> None:
    hot = question("febrile_neutropenia", {"temperature": "38.9", "neutrophils": None})
    found = plugin.umbridge_screen(replace(hot, diagnoses=(code,)))
    assert (found.outcome, found.missing) == (Outcome.PEND, ("neutrophils",))
    cold = question("febrile_neutropenia", {"temperature": "37.9", "neutrophils": None})
    assert plugin.umbridge_screen(replace(cold, diagnoses=(code,))).outcome is Outcome.REFER


def test_the_fever_of_sickle_cell_disease_is_its_own() -> None:
    found = plugin.LIBRARY.match(("R50.81", "D57.1"))
    assert found is not None
    assert found.id == "sickle_cell_crisis"


@pytest.mark.parametrize(
    ("count", "expected", "supported"),
    [
        ("0.1", N, Level.ACUTE),  # profound (IDSA 2010)
        ("0.11", N, Level.OBS),
        ("0.49", N, Level.OBS),
        ("0.5", N, Level.HOME),
        ("0.5", Y, Level.OBS),  # expected to fall below 0.5 within 48 hours
        ("0.99", Y, Level.OBS),
        ("1.0", Y, Level.HOME),
    ],
)
def test_neutrophils_count_as_low_where_they_are_or_are_expected_to_be(
    count: str, expected: bool, supported: Level
) -> None:
    found = asked(
        "febrile_neutropenia",
        {"temperature": "38.3", "neutrophils": count, "neutropenia_expected": expected},
        level=Level.CRITICAL,
    )
    assert found.supported is supported


@pytest.mark.parametrize(
    ("potassium", "contradicted", "ecg", "supported"),
    [
        (("6.5", "5.3"), N, N, Level.INTERMEDIATE),  # treated since: it was so high all the same
        (("6.4", "5.3"), N, N, Level.OBS),
        (("6.0", "5.3"), N, N, Level.OBS),
        (("5.9", "5.3"), N, N, Level.HOME),
        (("6.9", "4.4"), Y, N, Level.HOME),  # and nothing was given
        (("6.9", "4.4"), Y, Y, Level.INTERMEDIATE),  # but the heart had felt it
        (("5.5", "4.4"), Y, Y, Level.INTERMEDIATE),
        (("5.4", "4.4"), Y, Y, Level.HOME),
    ],
)
def test_the_worst_potassium_since_arrival_counts_unless_a_repeat_contradicts_it(
    potassium: tuple[str, str], contradicted: bool, ecg: bool, supported: Level
) -> None:
    asked_ = question(
        "aki_electrolyte",
        {"potassium_contradicted": contradicted, "ecg_hyperkalemia_change": ecg},
        level=Level.CRITICAL,
    )
    assert over(asked_, came("potassium", *potassium, unit="mmol/L")).supported is supported


def test_a_day_on_goes_by_the_latest_potassium_and_sodium() -> None:
    eating = {"oral_intake": Y, "mentation_at_baseline": Y}
    asked_ = replace(question("aki_electrolyte", eating, level=Level.ACUTE), review=ReviewType.CONTINUED_STAY)
    for fact, before, now in (("potassium", "7.2", "5.3"), ("sodium", "112", "126")):
        assert over(asked_, came(fact, before, now, unit="mmol/L")).discharge_ready is True
        assert over(asked_, came(fact, now, before, unit="mmol/L")).discharge_ready is False


@pytest.mark.parametrize(
    ("sodium", "corrected", "contradicted", "usual", "supported"),
    [
        (119, None, N, None, Level.INTERMEDIATE),
        (120, None, N, None, Level.ACUTE),
        (124, None, N, None, Level.ACUTE),
        (125, None, N, None, Level.HOME),
        (119, 120, N, None, Level.ACUTE),  # 50 mg/dL of glucose above 100 take 1.2 off
        (119, 119, N, None, Level.INTERMEDIATE),
        (118, 139, N, None, Level.HOME),
        (118, 118, Y, None, Level.HOME),
        (124, 124, N, 128, Level.HOME),  # within 4 of the usual
        (124, 124, N, 129, Level.ACUTE),
        (119, 119, N, 121, Level.INTERMEDIATE),  # below 120 is no patient's usual
    ],
)
def test_a_low_sodium_is_the_worst_one_corrected_for_glucose(
    sodium: int, corrected: int | None, contradicted: bool, usual: int | None, supported: Level
) -> None:
    values: Known = {
        **{"sodium": sodium, "corrected_sodium": corrected, "sodium_contradicted": contradicted},
        "usual_sodium": usual,
    }
    assert asked("aki_electrolyte", values, level=Level.CRITICAL).supported is supported


@pytest.mark.parametrize(
    ("change", "supported"),
    [
        ({"chronic_dialysis": N}, Level.INTERMEDIATE),
        ({"chronic_dialysis": Y}, Level.HOME),
        ({"chronic_dialysis": None}, Level.INTERMEDIATE),
        ({"chronic_dialysis": Y, "potassium": "6.5"}, Level.INTERMEDIATE),
        ({"chronic_dialysis": Y, "potassium": "6.4"}, Level.OBS),
    ],
)
def test_the_dialysis_of_every_week_is_no_injury(change: Known, supported: Level) -> None:
    asked_ = asked("aki_electrolyte", {"renal_replacement": Y}, change, level=Level.CRITICAL)
    assert asked_.supported is supported


@pytest.mark.parametrize(
    ("change", "supported"),
    [
        ({"high_grade_av_block": Y}, Level.ACUTE),
        ({"high_grade_av_block": Y, "heart_rate": 40}, Level.ACUTE),
        ({"high_grade_av_block": Y, "heart_rate": 39}, Level.INTERMEDIATE),
        ({"significant_arrhythmia": Y}, Level.ACUTE),
        ({"heart_rate": 39}, Level.ACUTE),
        ({"heart_rate": 40}, Level.HOME),
    ],
)
def test_a_syncope_whose_cause_was_found_is_no_matter_of_a_score(change: Known, supported: Level) -> None:
    assert asked("syncope", change, level=Level.CRITICAL).supported is supported


def test_reperfusion_is_critical_care_for_an_infarction_as_for_a_stroke() -> None:
    change: Known = {"st_elevation": Y, "is_infarction": Y, "troponin_ratio": 1}
    assert asked("chest_pain", change, level=Level.CRITICAL).outcome is Outcome.REFER
    treated = asked("chest_pain", change, {"reperfusion_therapy": Y}, level=Level.CRITICAL)
    assert (treated.outcome, treated.hold) == (Outcome.MEETS, ())


@pytest.mark.parametrize(
    ("ratio", "change", "elevation", "outcome"),
    [
        ("1.1", None, N, Outcome.PEND),  # one value shows no rise or fall
        ("1.1", Y, N, Outcome.MEETS),
        ("1.0", Y, N, Outcome.REFER),
        ("1.1", N, N, Outcome.REFER),
        ("5.0", None, N, Outcome.PEND),
        ("5.1", None, N, Outcome.MEETS),
    ],
)
def test_one_troponin_confirms_an_infarction_only_where_it_is_far_above(
    ratio: str, change: bool | None, elevation: bool, outcome: Outcome
) -> None:
    known: Known = {"is_infarction": Y, "troponin_ratio": ratio, "troponin_change": change}
    found = asked("chest_pain", known, {"st_elevation": elevation})
    assert found.outcome is outcome
    assert ("troponin_change" in found.missing) is (outcome is Outcome.PEND)


@pytest.mark.parametrize(
    ("ratio", "ecg", "change", "supported"),
    [
        ("1.2", 1, N, Level.OBS),  # 7, of which one is the stable troponin's
        ("1.2", 1, Y, Level.ACUTE),
        ("1.2", 1, None, Level.ACUTE),
        ("1.2", 2, N, Level.ACUTE),  # 7 without it
        ("3.1", 1, N, Level.OBS),  # 8, of which two are
        ("3.1", 2, N, Level.ACUTE),
    ],
)
def test_the_points_of_a_stable_troponin_reach_no_inpatient_level(
    ratio: str, ecg: int, change: bool | None, supported: Level
) -> None:
    values: Known = {
        **{"age": 70, "heart_history_score": 2, "cad_risk_factor_count": 2, "heart_ecg_score": ecg},
        **{"troponin_ratio": ratio, "troponin_change": change},
    }
    found = asked("chest_pain", values, level=Level.INTERMEDIATE)
    assert found.supported is supported


@pytest.mark.parametrize(
    ("pulse", "change", "supported"),
    [
        ((38, 46), {}, Level.OBS),  # of a sleeper, and over
        ((46, 39), {}, Level.ACUTE),
        ((46, 40), {}, Level.OBS),
        ((49, 60), {"syncope": Y}, Level.ACUTE),
        ((49, 60), {"dyspnea_at_rest": Y}, Level.ACUTE),
        ((50, 60), {"syncope": Y}, Level.HOME),
        ((190, 76), {"sbp": 96}, Level.OBS),  # over, and the pressure with it
        ((190, 100), {"sbp": 96}, Level.OBS),
        ((190, 101), {"sbp": 96}, Level.ACUTE),
        ((190, 101), {"sbp": 100}, Level.OBS),
        ((190, 76), {"syncope": Y}, Level.ACUTE),
    ],
)
def test_a_rate_that_is_over_or_without_a_symptom_is_no_inpatient_reason(
    pulse: tuple[int, int], change: Known, supported: Level
) -> None:
    asked_ = question("dysrhythmia", change, level=Level.CRITICAL)
    assert over(asked_, came("heart_rate", *pulse, unit="/min")).supported is supported


@pytest.mark.parametrize(
    ("pulse", "change", "supported"),
    [
        (48, {}, Level.OBS),
        (49, {"syncope": Y}, Level.ACUTE),
        (50, {"syncope": Y}, Level.OBS),
        (49, {"sbp": 89}, Level.ACUTE),
        (39, {}, Level.ACUTE),
        (40, {}, Level.OBS),
        (140, {}, Level.OBS),
        (141, {}, Level.ACUTE),
    ],
)
def test_a_slow_pulse_is_severe_with_a_symptom_or_below_40(
    pulse: int, change: Known, supported: Level
) -> None:
    """By the treatment alone it is OBS."""
    known = {"heart_rate": pulse, "iv_opioid": Y, **change}
    assert asked("general_medical", known, level=Level.INTERMEDIATE).supported is supported


@pytest.mark.parametrize(
    ("pressure", "change", "supported"),
    [
        ((88, 94), {}, Level.HOME),
        ((94, 89), {}, Level.ACUTE),
        ((94, 90), {}, Level.HOME),
        ((88, 89, 94), {}, Level.ACUTE),
        ((88, 94), {"iv_inotrope": Y}, Level.INTERMEDIATE),
    ],
)
def test_one_low_pressure_that_is_over_is_none_in_a_weak_heart(
    pressure: tuple[int, ...], change: Known, supported: Level
) -> None:
    asked_ = question("heart_failure", change, level=Level.CRITICAL)
    assert over(asked_, came("sbp", *pressure, unit="mm[Hg]")).supported is supported


@pytest.mark.parametrize(
    ("change", "supported"),
    [
        ({"heart_rate": 92, "resp_rate": 21}, Level.HOME),  # no sign of an infection
        ({"heart_rate": 92, "resp_rate": 21, "new_confusion": Y}, Level.HOME),
        ({"heart_rate": 92, "temperature": "38.1"}, Level.OBS),
        ({"heart_rate": 92, "temperature": "38.0"}, Level.HOME),
        ({"heart_rate": 92, "wbc": "12.1", "new_confusion": Y}, Level.ACUTE),
        ({"heart_rate": 92, "wbc": 12, "resp_rate": 21, "new_confusion": Y}, Level.HOME),
    ],
)
def test_pulse_and_breathing_alone_are_no_urinary_infection(change: Known, supported: Level) -> None:
    assert asked("uti", change, level=Level.INTERMEDIATE).supported is supported


@pytest.mark.parametrize(
    ("rate", "drinks", "outcome"),
    [(None, Y, Outcome.PEND), (74, Y, Outcome.REFER), (75, Y, Outcome.MEETS), (None, N, Outcome.MEETS)],
)
def test_fluids_of_a_patient_who_drinks_count_for_pancreatitis_at_their_rate(
    rate: int | None, drinks: bool, outcome: Outcome
) -> None:
    change: Known = {
        **{"pancreatitis_confirmed": Y, "iv_fluids": Y, "oral_intake": drinks, "iv_fluid_rate": rate}
    }
    assert asked("pancreatitis", change).outcome is outcome


@pytest.mark.parametrize(
    ("spo2", "usual", "target", "counts"),
    [
        (91, None, N, True),
        (92, None, N, False),
        (93, 97, N, True),  # fallen by 4
        (94, 97, N, False),  # by 3
        (91, 92, N, True),  # below 92 and/or a fall
        (88, 91, Y, False),  # the target
        (87, 91, Y, True),
    ],
)
def test_a_saturation_is_a_sign_of_rome_below_92_and_or_fallen_by_more_than_3(
    spo2: int, usual: int | None, target: bool, counts: bool
) -> None:
    change: Known = {
        **{"spo2": spo2, "usual_spo2": usual, "o2_target_88_92": target, "spo2_limit": 80},
        **{"heart_rate": 95, "resp_rate": 24, "home_support_adequate": Y},
    }
    found = asked("copd", change, level=Level.OBS)
    assert found.outcome is (Outcome.MEETS if counts else Outcome.REFER)

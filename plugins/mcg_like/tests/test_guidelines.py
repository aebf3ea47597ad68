"""Each guideline item by item: what alone admits, what is observed, and what keeps a patient here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from decimal import Decimal

import pytest
import umbridge_mcg_like as plugin
from umbridge_kit.testing import AT, Value, case

from umbridge import Level, Outcome, Reading, ReviewType, Sample, ScreenResult, Status
from umbridge.stay.dictionary import dictionary

SUBSETS = plugin.LIBRARY.subsets
Y, N = True, False
Change = Mapping[str, Value | int | float | None]  # None: not measured
#: Facts of no patient in particular: the limit where no other is stated, and what stands for nothing wrong.
USUAL: Change = {"spo2_limit": 90, "hemoglobin_fall_24h": 0, "usual_spo2": 96, "urine_ketones": "NEG"}
USUAL = {**USUAL, "iv_fluid_rate": 0, "spo2": 97, "spo2_room_air": 97, "pao2_fio2": 400}

#: Nothing wrong: facts not named are N.
WELL: Mapping[str, Change] = {
    "cap": {
        **{
            "age": 40,
            "sex": "M",
            "heart_rate": 80,
            "resp_rate": 16,
            "sbp": 120,
            "dbp": 75,
            "temperature": 37,
        },
        **{"spo2": 97, "spo2_room_air": 97, "bun": 12, "sodium": 140, "glucose": 100, "hematocrit": 42},
        **{"wbc": 8, "platelets": 250, "arterial_ph": 7.4, "pao2": 90, "pao2_fio2": 400},
        **{"oral_intake": Y, "mentation_at_baseline": Y, "oral_antibiotic": Y},
    },
    "copd": {
        **{"resp_rate": 18, "heart_rate": 80, "spo2": 95, "crp": 3, "dyspnea_vas": 2, "arterial_ph": 7.4},
        **{"paco2": 40, "consciousness": "A", "home_support_adequate": Y, "oral_intake": Y},
    },
    "asthma": {"pef_percent": 80, "consciousness": "A"},
    "heart_failure": {"sbp": 120, "spo2": 96, "consciousness": "A"},
    "chest_pain": {
        **{"age": 40, "heart_history_score": 0, "heart_ecg_score": 0, "cad_risk_factor_count": 0},
        **{"troponin_ratio": 0.4, "serial_troponin": 0.4},
    },
    "upper_gi_bleed": {
        "sex": "F",
        "bun": 12,
        "hemoglobin": 13,
        "sbp": 120,
        "heart_rate": 80,
        "oral_intake": Y,
    },
    "dka_hhs": {
        **{"glucose": 150, "beta_hydroxybutyrate": 0.3, "arterial_ph": 7.4, "venous_ph": 7.38},
        **{"bicarbonate": 24, "effective_osmolality": 290, "consciousness": "A", "oral_intake": Y},
    },
    "ssti": {
        **{"temperature": 37, "heart_rate": 80, "resp_rate": 16, "wbc": 8, "sbp": 120, "consciousness": "A"},
        **{"oral_antibiotic": Y},
    },
}
#: What alone is severe at presentation.
SEVERE: Mapping[str, tuple[Change, ...]] = {
    "cap": (
        *({"spo2": 89}, {"mechanical_ventilation": Y}, {"vasopressor": Y}, {"niv": Y}, {"high_flow_o2": Y}),
        *({"o2_above_usual": Y, "spo2_room_air": 89}, {"o2_above_usual": Y, "pao2_fio2": 299}),
        *({"bun": 20, "new_confusion": Y, "resp_rate": 30}, {"age": 91, "sex": "M"}),
        {"multilobar_infiltrate": Y, "platelets": 99, "wbc": 3.9},
    ),
    "copd": (
        *({"paco2": 45, "arterial_ph": 7.35}, {"spo2": 89}, {"consciousness": "C"}, {"resp_rate": 31}),
        *({"worsening_rest_dyspnea": Y}, {"new_cyanosis": Y}, {"new_peripheral_edema": Y}),
        *({"failed_initial_treatment": Y}, {"serious_comorbidity": Y}),
        {"home_support_adequate": N, "dyspnea_vas": 5, "resp_rate": 24, "heart_rate": 95},
    ),
    "asthma": ({"pef_percent": 39}, {"spo2": 89}),
    "heart_failure": (
        *({"sbp": 89}, {"worsening_renal_function": Y}, {"consciousness": "V"}, {"dyspnea_at_rest": Y}),
        *({"spo2": 89}, {"significant_arrhythmia": Y}, {"acute_coronary_syndrome": Y}),
    ),
    "chest_pain": (
        *({"troponin_ratio": 1.1, "troponin_change": Y}, {"st_elevation": Y}),
        {"is_infarction": Y, "troponin_ratio": 1.1, "troponin_change": Y},
        {"is_infarction": Y, "troponin_ratio": 5.1, "troponin_change": None},
        {"heart_history_score": 2, "heart_ecg_score": 2, "known_atherosclerosis": Y, "age": 45},
    ),
    "upper_gi_bleed": ({"sbp": 89}, {"hemoglobin": 9.9}),
    "dka_hhs": (
        {"glucose": 200, "beta_hydroxybutyrate": 3, "bicarbonate": 14.9},
        {"diabetes": Y, "beta_hydroxybutyrate": 3, "venous_ph": 7.25},
        {"diabetes": Y, "beta_hydroxybutyrate": 3, "bicarbonate": 17.9, "consciousness": "P"},
        {"glucose": 600, "effective_osmolality": 300.1},
        {"diabetes": Y, "beta_hydroxybutyrate": None, "urine_ketones": "2P", "bicarbonate": 14.9},
    ),
    "ssti": (
        *({"failed_outpatient_therapy": Y}, {"immunocompromised": Y}),
        {"poor_adherence": Y, "temperature": 38.1, "heart_rate": 91},
        *({"deep_infection": Y}, {"necrotizing_infection": Y}),
        {"temperature": 35.9, "heart_rate": 91, "sbp": 89},
    ),
}
#: What alone is a reason to observe, and no more.
OBSERVED: Mapping[str, tuple[Change, ...]] = {
    "cap": ({"bun": 20, "resp_rate": 30}, {"age": 71}),
    "copd": (
        {"dyspnea_vas": 5, "resp_rate": 24, "heart_rate": 95},
        {"spo2": 91, "crp": 10, "heart_rate": 95},
    ),
    "asthma": ({"pef_percent": 40}, {"pef_percent": 69}),
    "heart_failure": ({"worsened_congestion": Y},),
    "chest_pain": (
        {"heart_history_score": 2, "heart_ecg_score": 2},
        {"serial_troponin": 1.1, "troponin_change": Y},
    ),
    "upper_gi_bleed": ({"bun": 18.2}, {"bun": 22.4, "melena": Y, "heart_rate": 100}),
    "dka_hhs": ({"diabetes": Y, "beta_hydroxybutyrate": 3, "bicarbonate": 15},),
    "ssti": ({"temperature": 38.1, "heart_rate": 91},),
}
#: What alone keeps a patient who was ready: an item of the discharge list.
KEPT: Mapping[str, tuple[Change, ...]] = {
    "cap": (
        *({"temperature": 37.9}, {"heart_rate": 101}, {"resp_rate": 25}, {"sbp": 89}, {"spo2_room_air": 89}),
        *({"oral_intake": N}, {"mentation_at_baseline": N}, {"oral_antibiotic": N}, {"iv_anti_infective": Y}),
        {"o2_above_usual": Y},
    ),
    "copd": ({"resp_rate": 24}, {"spo2": 89}, {"consciousness": "C"}, {"niv": Y}, {"oral_intake": N}),
    "asthma": ({"pef_percent": 69}, {"consciousness": "V"}, {"o2_above_usual": Y}),
    "heart_failure": (
        *({"dyspnea_at_rest": Y}, {"spo2": 89}, {"sbp": 89}, {"worsening_renal_function": Y}),
        *({"consciousness": "C"}, {"o2_above_usual": Y}),
    ),
    "chest_pain": ({"serial_troponin": 1.1}, {"st_elevation": Y}, {"significant_arrhythmia": Y}),
    "upper_gi_bleed": (
        *({"sbp": 109}, {"heart_rate": 100}, {"active_bleeding": Y}, {"oral_intake": N}, {"iv_fluids": Y}),
        {"hemoglobin_fall_24h": 2},
    ),
    "dka_hhs": (
        *({"beta_hydroxybutyrate": 0.6}, {"venous_ph": 7.29, "bicarbonate": 17.9}),
        *({"consciousness": "C"}, {"oral_intake": N}, {"insulin_infusion": Y}),
    ),
    "ssti": (
        *({"temperature": 38.1, "wbc": 12.1}, {"sbp": 89}, {"consciousness": "C"}),
        *({"oral_antibiotic": N}, {"iv_anti_infective": Y}),
    ),
}
#: A day of the course that is missed, and by which change; then each listed reason with what makes it true.
BEHIND: Mapping[str, tuple[int, Change]] = {
    "cap": (3, {"heart_rate": 101}),
    "copd": (2, {"arterial_ph": 7.35, "paco2": 44, "oral_intake": N}),
    "asthma": (1, {"consciousness": "V"}),
    "heart_failure": (2, {"dyspnea_at_rest": Y}),
    "chest_pain": (2, {"st_elevation": Y}),
    "upper_gi_bleed": (2, {"heart_rate": 100}),
    "dka_hhs": (3, {"glucose": 200, "beta_hydroxybutyrate": 0.6}),
    "ssti": (3, {"oral_antibiotic": N}),
}
REASONS: Mapping[str, Mapping[str, Change]] = {
    "cap": {
        **{"persistent_hypoxemia": {"o2_above_usual": Y}, "persistent_fever": {"temperature": 37.9}},
        **{"hemodynamic": {"vasopressor": Y}, "effusion": {"pleural_effusion": Y, "chest_tube": Y}},
        "mental_status": {"mentation_at_baseline": N},
    },
    "copd": {
        **{"niv_dependence": {"niv": Y}, "persistent_hypoxemia": {"spo2": 89}},
        "comorbidity": {"serious_comorbidity": Y},
    },
    "asthma": {"slow_response": {"pef_percent": 69}, "ventilation": {"niv": Y}},
    "heart_failure": {
        **{"renal": {"worsening_renal_function": Y}, "arrhythmia": {"significant_arrhythmia": Y}},
        **{"congestion": {"worsened_congestion": Y}, "hemodynamic": {"vasopressor": Y}},
    },
    "chest_pain": {"acs": {"acute_coronary_syndrome": Y}, "arrhythmia": {"significant_arrhythmia": Y}},
    "upper_gi_bleed": {
        **{"rebleed": {"active_bleeding": Y}, "liver": {"liver_disease": Y}, "cardiac": {"heart_failure": Y}},
    },
    "dka_hhs": {
        **{"unresolved_acidosis": {"bicarbonate": 17.9}, "infusion": {"insulin_infusion": Y}},
        **{"infection": {"infection_documented": Y}, "renal": {"worsening_renal_function": Y}},
    },
    "ssti": {
        **{"deep": {"deep_infection": Y}, "surgery": {"necrotizing_infection": Y}},
        **{"host": {"immunocompromised": Y}, "persistent_fever": {"temperature": 38.1}},
    },
}


def asked(name: str, *changes: Change, **other: object) -> ScreenResult:
    subset = SUBSETS[name]
    specs = {fact: spec for fact, spec in subset.rules.facts.items() if spec.minus is None}
    whole: dict[str, Value | int | float | None] = dict.fromkeys(
        (fact for fact, spec in specs.items() if spec.kind == "boolean"), N
    )
    whole |= {fact: value for fact, value in USUAL.items() if fact in specs}
    for change in (WELL[name], *changes):
        assert set(change) <= set(specs)
        whole |= change
    assert set(whole) == set(specs)
    values = {
        fact: value if isinstance(value, bool | str) else Decimal(str(value))
        for fact, value in whole.items()
        if value is not None
    }
    question = case(plugin.LIBRARY, subset, values)
    extra = other.pop("beside", {})
    question = replace(question, facts={**question.facts, **extra})  # type: ignore[dict-item]
    return plugin.umbridge_screen(replace(question, **other))  # type: ignore[arg-type]


def each(table: Mapping[str, tuple[Change, ...]]) -> list[tuple[str, Change]]:
    assert set(table) == set(SUBSETS)
    return [(name, change) for name, changes in table.items() for change in changes]


@pytest.mark.parametrize("name", sorted(SUBSETS))
def test_a_well_patient_is_referred_and_supports_nothing(name: str) -> None:
    result = asked(name)
    assert (result.outcome, result.supported) == (Outcome.REFER, Level.HOME)
    left = asked(name, review=ReviewType.DISCHARGE)
    assert (left.outcome, left.discharge_ready) == (Outcome.MEETS, True)


@pytest.mark.parametrize(("name", "change"), each(SEVERE))
def test_one_severe_item_is_enough(name: str, change: Change) -> None:
    result = asked(name, change)
    assert (result.outcome, result.supported, result.basis) == (Outcome.MEETS, Level.ACUTE, None)


@pytest.mark.parametrize(("name", "change"), each(OBSERVED))
def test_one_indication_supports_observation_and_no_more(name: str, change: Change) -> None:
    result = asked(name, change)
    assert (result.outcome, result.supported) == (Outcome.REFER, Level.OBS)


@pytest.mark.parametrize(("name", "change"), each(KEPT))
def test_one_item_of_the_list_keeps_a_patient_who_was_ready(name: str, change: Change) -> None:
    left = asked(name, change, review=ReviewType.DISCHARGE)
    assert (left.outcome, left.discharge_ready) == (Outcome.REFER, False)


@pytest.mark.parametrize("name", sorted(SUBSETS))
def test_a_missed_milestone_without_a_reason_is_referred(name: str) -> None:
    day, change = BEHIND[name]
    result = asked(name, change, review=ReviewType.CONTINUED_STAY, episode_day=day)
    reasons = {reason for reason, why in REASONS[name].items() if change.items() >= why.items()}
    assert result.outcome is Outcome.REFER, (reasons, result.rationale)
    assert result.discharge_ready is False


@pytest.mark.parametrize(
    ("name", "reason"), [(name, reason) for name in sorted(REASONS) for reason in REASONS[name]]
)
def test_each_listed_reason_carries_a_stay_behind_its_course(name: str, reason: str) -> None:
    listed = {key.partition(".")[2] for key in SUBSETS[name].rules.rules if key.startswith("extended.")}
    assert listed == set(REASONS[name]) | {"treatment"}
    day, change = BEHIND[name]
    stay = asked(name, change, REASONS[name][reason], review=ReviewType.CONTINUED_STAY, episode_day=day)
    assert stay.outcome is Outcome.MEETS
    assert reason in str(stay.extended_stay_reason).split(",")


#: Of the dictionary, whatever it gives a level of care. Oxygen counts above the patient's usual only.
TREATMENTS = sorted(
    {fact for fact, each in dictionary().items() if each.level is not None} | {"o2_above_usual"}
)


@pytest.mark.parametrize("name", sorted(SUBSETS))
@pytest.mark.parametrize("fact", TREATMENTS)
def test_any_treatment_that_needs_the_hospital_keeps_a_patient_who_was_ready(name: str, fact: str) -> None:
    left = asked(name, {fact: Y}, review=ReviewType.DISCHARGE)
    assert (left.outcome, left.discharge_ready) == (Outcome.REFER, False)
    day, change = BEHIND[name]
    running: Change = {fact: Y, "iv_fluid_rate": 75}  # fluids keep nobody here at a rate that is not known
    stay = asked(name, change, running, review=ReviewType.CONTINUED_STAY, episode_day=day)
    assert stay.outcome is Outcome.MEETS
    assert stay.extended_stay_reason is None or "treatment" in stay.extended_stay_reason.split(",")


@pytest.mark.parametrize("name", sorted(SUBSETS))
def test_nobody_is_ready_while_an_order_runs_that_nobody_has_read(name: str) -> None:
    subset = SUBSETS[name]
    for review in (ReviewType.DISCHARGE, ReviewType.CONTINUED_STAY):
        ready = asked(name, review=review)
        assert ready.discharge_ready is True
        sample = Sample(True, AT, "ZZ1 RXO[1]-1", "")
        order = Reading("unmapped_parenteral_order", sample, sample, sample)
        held = asked(name, review=review, beside={order.fact: order})
        assert (held.outcome, held.discharge_ready) == (Outcome.PEND, None)
        assert held.missing == ("unmapped_parenteral_order",)
        assert "very other discharge item is reached" in held.rationale
        assert "refer to" not in held.rationale
    assert subset.id in plugin.umbridge_manifest().subsets


@pytest.mark.parametrize(
    ("name", "around", "lifted", "words"),
    [
        (
            *("copd", {"home_support_adequate": N}),
            *({"dyspnea_vas": 5, "resp_rate": 24, "heart_rate": 95}, "home_support_adequate is N"),
        ),
        ("ssti", {"poor_adherence": Y}, {"temperature": 38.1, "heart_rate": 91}, "poor_adherence is Y"),
    ],
)
@pytest.mark.parametrize("status", [Status.INPATIENT, Status.OBSERVATION])
def test_a_referral_names_the_circumstances_that_are_no_ground_by_themselves(
    name: str, around: Change, lifted: Change, words: str, status: Status
) -> None:
    found = asked(name, around, requested_status=status)
    assert (found.outcome, found.supported) == (Outcome.REFER, Level.HOME)
    assert f"no ground for a level by itself: {words}." in found.rationale
    assert "by itself" not in asked(name, requested_status=status).rationale
    with_reason = asked(name, around, lifted, requested_status=status)
    assert with_reason.outcome in (Outcome.MEETS, Outcome.MEETS_ADVISE_HIGHER)
    assert "by itself" not in with_reason.rationale


@pytest.mark.parametrize(
    ("rate", "drinks", "outcome"), [(None, Y, "PEND"), (74, Y, "REFER"), (75, Y, "MEETS")]
)
def test_fluids_keep_a_patient_here_at_a_rate_that_is_known(
    rate: int | None, drinks: bool, outcome: str
) -> None:
    """An order without a rate may be one that keeps a vein open."""
    behind: Change = {"heart_rate": 101, "iv_fluids": Y, "iv_fluid_rate": rate, "oral_intake": drinks}
    stay = asked("cap", behind, review=ReviewType.CONTINUED_STAY, episode_day=3)
    assert stay.outcome == outcome
    assert stay.missing == (("iv_fluid_rate",) if outcome == "PEND" else ())


def test_nobody_on_oxygen_is_called_well_oxygenated_by_a_saturation_that_it_holds_up() -> None:
    held: Change = {"o2_above_usual": Y, "spo2": 95, "spo2_room_air": None, "pao2_fio2": None}
    for name in ("cap", "copd", "heart_failure"):
        found = asked(name, held)
        assert (found.outcome, found.missing) == (Outcome.PEND, ("pao2_fio2", "spo2_room_air"))
        assert asked(name, held, {"spo2": 89}).outcome is Outcome.MEETS  # below on oxygen is below without
        for change in ({"pao2_fio2": 299}, {"spo2_room_air": 89}):
            assert asked(name, held, change).outcome is Outcome.MEETS
        for change in ({"spo2_room_air": 90}, {"o2_above_usual": N}):
            assert asked(name, held, change).outcome is Outcome.REFER


@pytest.mark.parametrize(("change", "outcome"), [(N, "REFER"), (Y, "MEETS"), (None, "PEND")])
def test_a_raised_troponin_that_is_stable_is_no_acute_injury(change: bool | None, outcome: str) -> None:
    raised: Change = {"troponin_ratio": 2.4, "serial_troponin": 2.4, "troponin_change": change}
    found = asked("chest_pain", raised)
    assert found.outcome == outcome
    if change is N:
        assert found.supported is Level.HOME
        assert asked("chest_pain", raised, {"is_infarction": Y}).outcome is Outcome.REFER
    else:
        assert asked("chest_pain", raised, {"is_infarction": Y}).outcome == outcome


@pytest.mark.parametrize(
    ("change", "outcome"), [({"troponin_ratio": 5}, "PEND"), ({"troponin_ratio": 5.1}, "MEETS")]
)
def test_one_troponin_confirms_an_infarction_only_where_it_is_far_above(change: Change, outcome: str) -> None:
    """A rise or fall makes the injury acute (universal definition): the second value is asked for."""
    once: Change = {"troponin_change": None, "is_infarction": Y, **change}
    assert asked("chest_pain", once).outcome == outcome
    beside: Change = {"st_elevation": Y, "troponin_ratio": 1.1}
    assert asked("chest_pain", once, beside).outcome is Outcome.MEETS


@pytest.mark.parametrize(
    ("troponin", "history", "change", "outcome"),
    [
        (1.2, 2, N, "REFER"),  # 7 with the point of a stable value
        (1.2, 2, Y, "MEETS"),
        (0.9, 2, N, "REFER"),  # 6
    ],
)
def test_the_point_of_a_stable_troponin_makes_no_score_severe(
    troponin: float, history: int, change: bool, outcome: str
) -> None:
    found: Change = {
        **{"heart_history_score": history, "heart_ecg_score": 1, "age": 70, "cad_risk_factor_count": 2},
        **{"troponin_ratio": troponin, "serial_troponin": troponin, "troponin_change": change},
    }
    assert asked("chest_pain", found).outcome == outcome
    more: Change = {"heart_ecg_score": 2, "cad_risk_factor_count": 3}
    assert asked("chest_pain", found, more).outcome is Outcome.MEETS  # 8 and 9 without it


def test_one_low_pressure_that_is_over_is_none_in_a_weak_heart() -> None:
    assert asked("heart_failure", {"sbp": 89}).outcome is Outcome.MEETS
    assert asked("heart_failure", {"sbp": 90}).outcome is Outcome.REFER

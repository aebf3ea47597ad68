"""Which facts the shipped content leaves out where nobody measured them: each condition has its reason."""

from __future__ import annotations

from types import ModuleType

import pytest
import umbridge_interqual_like
import umbridge_mcg_like
import umbridge_two_midnight

from umbridge.criteria.tree import ALWAYS
from umbridge.stay.readings.baselines import BASELINE_FACTS

#: Facts that say nothing but that another is not needed: Y where it is so, else unknown, and never N.
CONDITIONS = {"gas_not_needed", "lactate_not_needed", "map_not_needed", "without_oxygen", "workup_complete"}
#: Fact, what it may be left out beside, and why that is no missing value read as normal.
WHY = {
    (
        "arterial_ph",
        "gas_not_needed",
    ): "an alert patient with a good saturation on no more oxygen than usual has no gas taken",
    ("paco2", "gas_not_needed"): "the same",
    ("pao2", "gas_not_needed"): "the same",
    ("pao2_fio2", "gas_not_needed"): "the same",
    ("fio2", "without_oxygen"): "who breathes air has no fraction charted",
    (
        "lactate",
        "lactate_not_needed",
    ): "with a systolic pressure of 100 or more nobody looks for hypoperfusion",
    (
        "lactate",
        ALWAYS,
    ): "bowel obstruction: Bologna 2018 gives no limit; peritonitis and ischaemia are asked for",
    ("map", "map_not_needed"): "the other two pressures come to a mean of 65",
    ("arterial_ph", "venous_ph"): "one pH is enough for ketoacidosis",
    ("venous_ph", "arterial_ph"): "the same",
    ("beta_hydroxybutyrate", "urine_ketones"): "one of the two finds ketones",
    ("urine_ketones", "beta_hydroxybutyrate"): "the same",
    ("symptomatic_carotid_stenosis", "workup_complete"): "a complete work-up would name it",
    ("new_atrial_fibrillation", "workup_complete"): "the same",
    ("creatinine_rise_48h", "creatinine"): "it takes two values: one was measured (KDIGO 2012)",
    ("hemoglobin_fall_24h", "hemoglobin"): "the same",
    ("urine_output_rate", "creatinine"): "a second sign of one injury, charted where a catheter is in",
    ("inr", ALWAYS): "Tokyo 2018: one of several signs, each enough; the others are asked for",
    ("usual_paco2", "paco2"): "a baseline counts only where it is stated",
    ("usual_spo2", "spo2"): "the same",
    ("usual_sodium", "sodium"): "the same",
    ("corrected_sodium", ALWAYS): "without a glucose of the time the sodium counts as it is",
    (
        "chronic_dialysis",
        ALWAYS,
    ): "renal replacement is begun anew where nobody says that there was some before",
    ("potassium_contradicted", ALWAYS): "it takes a second value: the first counts until then",
    ("sodium_contradicted", ALWAYS): "the same",
    ("albumin", ALWAYS): "Tokyo 2018: one of five signs of which two are needed; the others are asked for",
    ("chronic_bicarbonate", "bicarbonate"): "the same",
    ("home_oxygen", ALWAYS): "the same",
    ("inpatient_only_procedure", ALWAYS): "most procedures are on no list: it counts where the site says so",
    ("pao2_fio2", "spo2_room_air"): "either says what oxygen holds up",
    (
        "troponin_change",
        ALWAYS,
    ): "a raised value counts until a second one shows that nothing moves",
    (
        "spo2",
        ALWAYS,
    ): "asthma: the guideline goes by the peak flow; a low saturation counts where one was taken",
    (
        "renal_disease",
        ALWAYS,
    ): "a creatinine counts as it is where nobody says that the kidneys were ill before",
    ("mentation_at_baseline", ALWAYS): "the same: without it not being alert counts",
    ("o2_target_88_92", ALWAYS): "the same",
    ("tube_feeding", ALWAYS): "the same",
}


def left_out(plugin: ModuleType) -> set[tuple[str, str, str]]:
    """Subset, fact and what it may be left out beside."""
    return {
        (subset.id, (subset.rules.facts[node.leaf.fact].minus or (node.leaf.fact,))[-1], node.beside)
        for subset in plugin.LIBRARY.subsets.values()
        for node in subset.rules.optional
    }


FOUND = {
    plugin.NAME: left_out(plugin)
    for plugin in (umbridge_interqual_like, umbridge_mcg_like, umbridge_two_midnight)
}


def test_nothing_is_left_out_without_a_reason_and_no_reason_is_idle() -> None:
    used = {(fact, beside) for found in FOUND.values() for _, fact, beside in found}
    assert used == set(WHY)
    assert FOUND["two_midnight"] == set()


def test_a_stand_in_is_a_condition_or_says_the_same_thing() -> None:
    """Any other would be a fact that is known of nearly everybody: a missing value read as normal."""
    replaces = {("arterial_ph", "venous_ph"), ("beta_hydroxybutyrate", "urine_ketones")}
    replaces |= {("pao2_fio2", "spo2_room_air")}
    baselines = {("usual_paco2", "paco2"), ("usual_spo2", "spo2"), ("chronic_bicarbonate", "bicarbonate")}
    baselines |= {("usual_sodium", "sodium")}
    once = {("creatinine_rise_48h", "creatinine"), ("hemoglobin_fall_24h", "hemoglobin")}
    once |= {("urine_output_rate", "creatinine")}
    for fact, beside in WHY:
        allowed = beside == ALWAYS or beside in CONDITIONS or (fact, beside) in baselines | once
        assert allowed or (fact, beside) in replaces or (beside, fact) in replaces, (fact, beside)


def test_where_the_same_finding_is_judged_by_two_plugins_it_may_be_left_out_alike() -> None:
    alike = FOUND["interqual_like"], FOUND["mcg_like"]
    both = {subset for subset, _, _ in alike[0]} & {subset for subset, _, _ in alike[1]}
    first, second = ({each for each in found if each[0] in both} for found in alike)
    assert {each for each in second - first if each[2] == ALWAYS} == set()


@pytest.mark.parametrize("fact", sorted(CONDITIONS))
def test_each_condition_is_worked_out_and_never_sent(fact: str) -> None:
    assert fact in BASELINE_FACTS

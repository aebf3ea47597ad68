"""The kit's checks on this plugin's content, and what only this plugin promises."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest
import umbridge_interqual_like as plugin
from umbridge_kit.boundary_patients import AT, Value, case, diagnosis
from umbridge_kit.testing import CriteriaKit

from umbridge import Level, Outcome, Reading, ReviewType, Sample, Subset
from umbridge.dryrun.linter import lint
from umbridge.stay.dictionary import dictionary

SUBSETS = list(plugin.LIBRARY.subsets.values())


class TestContent(CriteriaKit):
    plugin = plugin
    library = plugin.LIBRARY

    def test_each_test_of_each_criterion_can_turn_it(self) -> None:  # type: ignore[override]
        """By the linter, once for every file: none is always true or false, and none has an idle test."""
        assert [str(found) for found in lint(Path(plugin.__file__).with_name("content"))] == []


def test_every_subset_answers_what_it_has_rules_for_and_nothing_else() -> None:
    """A retrospective review by the rules of the admission that it looks back at."""
    for subset in SUBSETS:
        for review in ReviewType:
            result = plugin.umbridge_screen(case(plugin.LIBRARY, subset, {}, review=review))
            planned = "prospective.OBS" in subset.rules.rules
            has_content = review is not ReviewType.PROSPECTIVE or planned
            assert (result.outcome is Outcome.PEND) is has_content, (subset.id, review)


def test_nobody_is_screened_for_home() -> None:
    result = plugin.umbridge_screen(case(plugin.LIBRARY, SUBSETS[0], {}, Level.HOME))
    assert result.outcome is Outcome.NOT_APPLICABLE


def test_the_fallback_takes_what_no_subset_covers_and_leaves_out_what_needs_content_of_its_own() -> None:
    found = {
        code: plugin.LIBRARY.match((code,)) for code in ("R69", "R07.0", "O80", "Z38.00", "F32.9", "P07.3")
    }
    assert [subset and subset.id for subset in found.values()] == ["general_medical"] * 2 + [None] * 4
    withdrawal = plugin.LIBRARY.match(("F10.231",))
    assert withdrawal is not None
    assert withdrawal.id == "alcohol_withdrawal"


#: Subsets that judge pregnant patients too, and why. docs/judgement.md has the table.
FOR_ANYBODY = {
    "hip_fracture": "the operation decides, and it is the same",
    "elective_joint": "nobody plans one in pregnancy: the operation decides",
}


@pytest.mark.parametrize("subset", SUBSETS, ids=lambda subset: subset.id)
@pytest.mark.parametrize("beside", ["O23.02", "Z33.1", "Z34.90", "Z3A.22", "I10"])
def test_content_whose_sources_are_of_others_does_not_judge_a_pregnant_patient(
    subset: Subset, beside: str
) -> None:
    """Pulse, pressure, leukocytes, creatinine and carbon dioxide are others, and so is treatment."""
    for code in (diagnosis(plugin.LIBRARY, subset), *subset.icd10):
        asked = replace(case(plugin.LIBRARY, subset, {}), diagnoses=(code, beside))
        result = plugin.umbridge_screen(asked)
        is_for = beside == "I10" or subset.id in FOR_ANYBODY
        assert (result.outcome is not Outcome.NOT_APPLICABLE) is is_for, code
        if not is_for:
            said = "No subset for the principal diagnosis together with a secondary one: a person judges."
            assert (result.subset, result.rationale) == (None, said)


def test_substance_use_content_is_tagged_whatever_the_answer() -> None:
    for subset in SUBSETS:
        for level in (Level.OBS, Level.ACUTE):
            result = plugin.umbridge_screen(case(plugin.LIBRARY, subset, {}, level))
            assert result.tags == (("PART2_SUD",) if subset.id == "alcohol_withdrawal" else ())


def test_a_lower_level_that_is_still_open_is_said_with_a_referral() -> None:
    """HEART 2 to 4: too low for ACUTE, and whether it is enough for OBS hangs on the history."""
    chest = next(subset for subset in SUBSETS if subset.id == "chest_pain")
    known: dict[str, Value] = dict.fromkeys(chest.rules.facts, False) | {
        **{"age": Decimal(50), "heart_ecg_score": Decimal(0), "cad_risk_factor_count": Decimal(1)},
        **{"troponin_ratio": Decimal("0.4"), "sbp": Decimal(130)},
    }
    del known["heart_history_score"]
    result = plugin.umbridge_screen(case(plugin.LIBRARY, chest, known, Level.ACUTE))
    assert (result.outcome, result.supported) == (Outcome.REFER, Level.HOME)
    assert result.scores["supported_max"] == "OBS"
    low = plugin.umbridge_screen(
        case(plugin.LIBRARY, chest, known | {"heart_history_score": Decimal(0)}, Level.ACUTE)
    )
    assert (low.outcome, low.scores.get("supported_max")) == (Outcome.REFER, None)


def test_the_disclaimer_says_whose_it_is_not() -> None:
    manifest = plugin.umbridge_manifest()
    assert manifest.name == plugin.NAME
    assert "Not affiliated" in manifest.disclaimer
    assert "no proprietary text" in manifest.disclaimer


def test_the_marks_are_named_nowhere_but_in_the_disclaimer() -> None:
    for subset in SUBSETS:
        words = [subset.title, *subset.citations.values()]
        words += [criterion.title + criterion.note for criterion in subset.rules.criteria.values()]
        assert not any(mark in text for text in words for mark in ("InterQual", "MCG", "Milliman"))


def read_by(subset: Subset, criterion: str) -> set[str]:
    return {subset.rules.leaves[number].fact for number in subset.rules.read_by(criterion)[0]}


def test_the_treatments_of_each_level_are_those_that_the_dictionary_gives_it() -> None:
    """A treatment that the dictionary learns is one that the content counts, or this fails."""
    given: dict[Level, set[str]] = {}
    for fact, each in dictionary().items():
        if each.level is not None:
            given.setdefault(each.level, set()).add(fact)
    subset = plugin.LIBRARY.subsets["syncope"]
    assert read_by(subset, "hospital_treatment") == given[Level.ACUTE] | {
        "o2_above_usual",
        "iv_fluid_rate",
        "oral_intake",
    }
    assert read_by(subset, "intermediate_treatment") == given[Level.INTERMEDIATE]
    assert read_by(subset, "critical_treatment") == given[Level.CRITICAL]


@pytest.mark.parametrize("subset", SUBSETS, ids=lambda subset: subset.id)
def test_every_treatment_keeps_every_patient_at_its_level(subset: Subset) -> None:
    """Continued stay by treatment alone, whatever the file is about; and nobody on one is ready."""
    for fact, each in dictionary().items():
        if each.level is None:
            continue
        known: dict[str, Value] = {fact: True, "spo2": Decimal(97)}  # nothing measured, nothing decided
        if fact == "iv_fluids":
            known["iv_fluid_rate"] = Decimal(75)
        question = case(plugin.LIBRARY, subset, known, each.level, review=ReviewType.CONTINUED_STAY)
        result = plugin.umbridge_screen(question)
        assert result.outcome is Outcome.MEETS, (fact, result.missing)
        assert result.discharge_ready is False
        left = plugin.umbridge_screen(replace(question, review=ReviewType.DISCHARGE))
        assert left.outcome is Outcome.REFER


_LOW: dict[str, Value] = {"sbp": Decimal("89.9")}
#: Of a later day: what the latest values reach though nobody treats it so: level, values that do, and the
#: same a step short of it.
WORSE: list[tuple[str, Level, dict[str, Value], dict[str, Value]]] = [
    ("copd", Level.CRITICAL, {"arterial_ph": Decimal("7.25")}, {"arterial_ph": Decimal("7.26")}),
    (
        *("copd", Level.INTERMEDIATE),
        {"arterial_ph": Decimal("7.35"), "paco2": Decimal(45)},
        {"arterial_ph": Decimal("7.36"), "paco2": Decimal(45)},
    ),
    (
        *("acute_respiratory_failure", Level.CRITICAL),
        {"arterial_ph": Decimal("7.25")},
        {"arterial_ph": Decimal("7.26")},
    ),
    (
        *("acute_respiratory_failure", Level.INTERMEDIATE),
        {"pao2_fio2": Decimal(150)},
        {"pao2_fio2": Decimal(151)},
    ),
    ("uti", Level.INTERMEDIATE, {"lactate": Decimal(4)}, {"lactate": Decimal("3.9")}),
    ("upper_gi_bleed", Level.INTERMEDIATE, _LOW, {"sbp": Decimal(90)}),
    ("hip_fracture", Level.INTERMEDIATE, _LOW, {"sbp": Decimal(90)}),
    (
        *("lower_gi_bleed", Level.INTERMEDIATE),
        _LOW | {"active_bleeding": True},
        {"sbp": Decimal(90), "active_bleeding": True},
    ),
    (
        *("dysrhythmia", Level.INTERMEDIATE),
        _LOW | {"heart_rate": Decimal(130)},
        _LOW | {"heart_rate": Decimal(129)},
    ),
]


@pytest.mark.parametrize(("name", "level", "beyond", "short"), WORSE)
def test_who_is_worse_on_a_later_day_than_their_treatment_is_advised_higher(
    name: str, level: Level, beyond: dict[str, Value], short: dict[str, Value]
) -> None:
    """By the criteria of the admission on the latest values: the less treated are no less ill."""
    subset = plugin.LIBRARY.subsets[name]
    treated: dict[str, Value] = {"iv_anti_infective": True, "spo2": Decimal(97)}
    for values, is_higher in ((beyond, True), (short, False)):
        question = case(plugin.LIBRARY, subset, treated | values, review=ReviewType.CONTINUED_STAY)
        result = plugin.umbridge_screen(question)
        assert (result.outcome is Outcome.MEETS_ADVISE_HIGHER) is is_higher, values
        assert ((result.supported or Level.HOME) >= level) is is_higher


#: Treatments that support another level at admission than their own, and why.
OTHER_AT_ADMISSION = {
    ("dka_hhs", "insulin_infusion"): "every ketoacidosis has it: its own severity decides",
    **{
        ("hypertensive_crisis", fact): "INTERMEDIATE only with damage of an organ"
        for fact, each in dictionary().items()
        if each.level is Level.INTERMEDIATE
    },
}


@pytest.mark.parametrize("subset", SUBSETS, ids=lambda subset: subset.id)
def test_what_takes_higher_care_to_give_supports_it_from_the_admission_on(subset: Subset) -> None:
    """By the treatment alone, as on every later day; and without it the level is not supported."""
    for fact, each in dictionary().items():
        if each.level not in (Level.INTERMEDIATE, Level.CRITICAL):
            continue
        given: dict[str, Value] = {fact: True, "spo2": Decimal(97)}
        result = plugin.umbridge_screen(case(plugin.LIBRARY, subset, given, each.level))
        is_own = (subset.id, fact) not in OTHER_AT_ADMISSION
        assert (result.outcome is Outcome.MEETS) is is_own, (fact, result.missing)
        without = plugin.umbridge_screen(case(plugin.LIBRARY, subset, given | {fact: False}, each.level))
        assert without.outcome is not Outcome.MEETS, fact


def test_a_lactate_that_nobody_took_is_asked_for_unless_the_pressure_is_known_not_to_be_low() -> None:
    """A urinary infection with two systemic signs and nothing else: the lactate alone is open."""
    uti = plugin.LIBRARY.subsets["uti"]
    known: dict[str, Value] = dict.fromkeys(uti.rules.facts, False) | {
        **{
            "temperature": Decimal(39),
            "heart_rate": Decimal(110),
            "resp_rate": Decimal(18),
            "wbc": Decimal(9),
        },
        **{"sbp": Decimal(100), "age": Decimal(50)},
    }
    for fact in ("lactate", "lactate_not_needed"):
        del known[fact]
    asked = plugin.umbridge_screen(case(plugin.LIBRARY, uti, known, Level.ACUTE))
    assert (asked.outcome, asked.missing) == (Outcome.PEND, ("lactate",))
    not_asked = plugin.umbridge_screen(
        case(plugin.LIBRARY, uti, known | {"lactate_not_needed": True}, Level.ACUTE)
    )
    assert (not_asked.outcome, not_asked.supported) == (Outcome.REFER, Level.OBS)
    assert "Not measured and, as the rule allows, not counted: lactate." in not_asked.rationale
    for lactate, outcome in (("2.0", Outcome.REFER), ("2.1", Outcome.MEETS)):
        measured = known | {"lactate": Decimal(lactate), "lactate_not_needed": True}
        assert plugin.umbridge_screen(case(plugin.LIBRARY, uti, measured, Level.ACUTE)).outcome is outcome


# --- one code, one file ----------------------------------------------------------------------------------


def test_no_diagnosis_chooses_two_files() -> None:
    """No prefix of one file begins a prefix of another: then the longest match never has a choice."""
    prefixes = {code.replace(".", ""): subset.id for subset in SUBSETS for code in subset.icd10}
    for one, of in prefixes.items():
        for other, owner in prefixes.items():
            assert of == owner or not other.startswith(one), (one, of, other, owner)
    assert sum(len(subset.icd10) for subset in SUBSETS) == len(prefixes)


@pytest.mark.parametrize(
    ("codes", "file"),
    [
        (("K92.1",), "upper_gi_bleed"),
        (("K92.2", "I10"), "upper_gi_bleed"),
        (("K92.2", "K57.31"), "lower_gi_bleed"),
        (("K92.1", "K57.30"), "upper_gi_bleed"),  # without bleeding
        (("K92.0", "K57.31"), "upper_gi_bleed"),  # haematemesis is above
        (("K92.1", "Z79.01"), "upper_gi_bleed"),  # nobody saw red blood
        (("K57.31",), "lower_gi_bleed"),
        (("K57.30",), "general_medical"),
        (("J18.9", "J96.01"), "cap"),
        (("J96.01", "J18.9"), "acute_respiratory_failure"),
        (("J96.11",), "general_medical"),  # chronic
        (("K83.01",), "general_medical"),  # primary sclerosing
        (("K83.09",), "biliary"),
        (("I82.611",), "general_medical"),  # superficial
        (("I82.621",), "deep_vein_thrombosis"),
        (("S72.001A",), "hip_fracture"),
        (("S72.001D",), "general_medical"),  # healing
        (("S06.5X0A",), "intracranial_hemorrhage"),
        (("S06.5X0S",), "general_medical"),
        (("D57.1",), "general_medical"),  # no crisis
        (("D57.211",), "sickle_cell_crisis"),
        (("M17.11",), "elective_joint"),
    ],
)
def test_the_specific_diagnosis_chooses(codes: tuple[str, ...], file: str) -> None:
    found = plugin.LIBRARY.match(codes)
    assert found is not None
    assert found.id == file


def test_red_blood_on_an_anticoagulant_is_lower_bleeding() -> None:
    sample = Sample(True, AT, "ZZ1")
    seen = {"hematochezia": Reading("hematochezia", sample, sample, sample)}
    found = plugin.LIBRARY.match(("K92.2", "Z79.01"), seen)
    assert found is not None
    assert found.id == "lower_gi_bleed"
    assert "hematochezia" in plugin.umbridge_manifest().facts

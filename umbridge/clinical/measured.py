"""Which facts are measurements: what an instrument, a laboratory or a bedside scale found.

An age, a diagnosis code, an order and an assessment say what somebody is, asked for or thinks. An answer that
closes a review by itself rests on more than that (docs/judgement.md).
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from types import MappingProxyType

from umbridge.model import FactValue, Reading
from umbridge.values.kinds import ReviewType

#: The dictionary's groups vital, laboratory and ecg, the withdrawal score, and what is worked out from these
#: alone. A laboratory's flag that silence answers (a haemolysed specimen) measures nothing of the patient.
MEASURED = frozenset(
    {"heart_rate", "resp_rate", "sbp", "dbp", "map", "temperature", "spo2", "spo2_room_air", "o2_flow"}
    | {"fio2", "gcs", "consciousness", "dyspnea_vas", "pef_percent", "altered_mentation"}
    | {"bun", "creatinine", "sodium", "potassium", "glucose", "bicarbonate", "beta_hydroxybutyrate"}
    | {"lactate", "wbc", "neutrophils", "platelets", "hemoglobin", "hematocrit", "bilirubin_total", "crp"}
    | {"albumin", "corrected_sodium"}
    | {"troponin_ratio", "arterial_ph", "venous_ph", "paco2", "pao2", "pao2_fio2", "urine_output_24h"}
    | {"urine_output_rate", "lipase_ratio", "inr", "urine_ketones"}
    | {"creatinine_rise_48h", "effective_osmolality", "hemoglobin_fall_24h", "rise_in_creatinine"}
    | {"serial_troponin", "troponin_change"}
    | {"qrs_axis", "qrs_duration", "qtc", "ecg_hyperkalemia_change", "st_elevation"}
    | {"ciwa_ar"}
)
#: Of a planned operation these two are what is measured of the patient: before it, and where a first look is
#: at the stay that it began.
MEASURED_WHEN_PLANNED = frozenset({"asa_class", "bmi"})
#: Support of an organ in force says as much as the number that it holds up, once anything is measured.
#: Chosen for umbridge, unsigned.
ORGAN_SUPPORT = frozenset(
    {"mechanical_ventilation", "vasopressor", "niv", "high_flow_o2", "renal_replacement"}
    | {"reperfusion_therapy", "temporary_pacing"}
)
#: What a patient brings along: who they are, what they had before, how they live. All of it was so the day
#: before this illness, so none of it says how ill they are (docs/judgement.md).
BROUGHT = frozenset(
    {"age", "sex"}
    | {"heart_failure", "chronic_lung_disease", "copd", "cancer", "solid_tumor", "liver_disease"}
    | {"cerebrovascular_disease", "renal_disease", "diabetes", "heart_disease", "immunocompromised"}
    | {"infection_documented", "withdrawal_delirium"}  # by their codes
    | {"chronic_dialysis", "chronic_thrombocytopenia", "chronic_hyperbilirubinemia", "chronic_anemia"}
    | {"chronic_hypoxemia", "dementia", "comfort_care", "usual_sodium"}
    | {"baseline_creatinine", "home_oxygen", "home_o2_flow", "usual_spo2", "o2_target_88_92", "spo2_limit"}
    | {"usual_paco2", "chronic_bicarbonate", "tube_feeding", "sofa_baseline"}
    | {"nursing_home_resident", "known_atherosclerosis", "cad_risk_factor_count", "prior_fungal_infection"}
    | {"on_anticoagulant", "previous_lgib_admission", "serious_comorbidity", "home_support_adequate"}
    | {"poor_adherence"}
)
_WELL = frozenset({"home_support_adequate"})  # of these, what is good to have
#: From and to of each measurement that is nobody's illness, in the dictionary's unit, and of what patients
#: bring that measurements are held against. An answer that such values would give as well rests on no
#: finding. Of vital signs: what NEWS2 (RCP 2017) gives no point for, but for high pressures; else what
#: laboratories print as usual for adults of either sex, as recalled. Unsigned.
_ORDINARY: Mapping[str, tuple[str, str]] = {
    "heart_rate": ("51", "90"), "resp_rate": ("12", "20"), "sbp": ("111", "140"), "dbp": ("61", "89"),
    "map": ("70", "105"), "temperature": ("36.1", "38.0"), "spo2": ("96", "100"),
    "spo2_room_air": ("96", "100"), "o2_flow": ("0", "0"), "fio2": ("0.21", "0.21"), "gcs": ("15", "15"),
    "dyspnea_vas": ("0", "0"), "pef_percent": ("80", "110"), "bun": ("7", "19"), "creatinine": ("0.5", "1.1"),
    "sodium": ("135", "145"), "potassium": ("3.5", "5.0"), "glucose": ("70", "140"),
    "bicarbonate": ("22", "29"), "beta_hydroxybutyrate": ("0", "0.5"), "lactate": ("0.5", "1.9"),
    "wbc": ("4.5", "11"), "neutrophils": ("1.8", "7.5"), "platelets": ("150", "400"),
    "hemoglobin": ("13", "17"), "hematocrit": ("37", "50"), "bilirubin_total": ("0.2", "1.1"),
    "crp": ("0", "5"), "albumin": ("3.5", "5.2"), "corrected_sodium": ("135", "145"),
    "usual_sodium": ("135", "145"), "troponin_ratio": ("0", "1"), "arterial_ph": ("7.35", "7.45"),
    "venous_ph": ("7.32", "7.42"), "paco2": ("35", "45"), "pao2": ("80", "100"), "pao2_fio2": ("400", "500"),
    "urine_output_24h": ("800", "2500"), "urine_output_rate": ("0.5", "2"), "lipase_ratio": ("0", "1"),
    "inr": ("0.9", "1.2"), "creatinine_rise_48h": ("0", "0.1"), "effective_osmolality": ("275", "295"),
    "hemoglobin_fall_24h": ("0", "0.5"), "rise_in_creatinine": ("0.8", "1.2"), "serial_troponin": ("0", "1"),
    "qrs_axis": ("-30", "90"), "qrs_duration": ("70", "110"), "qtc": ("350", "450"), "ciwa_ar": ("0", "7"),
    "asa_class": ("1", "2"), "bmi": ("18.5", "24.9"), "spo2_limit": ("90", "90"), "usual_spo2": ("96", "98"),
    "usual_paco2": ("35", "45"), "chronic_bicarbonate": ("22", "29"), "baseline_creatinine": ("0.5", "1.1"),
    "home_o2_flow": ("0", "0"),
}  # fmt: skip
ORDINARY: Mapping[str, tuple[FactValue, FactValue]] = MappingProxyType(
    {
        **{fact: (Decimal(low), Decimal(high)) for fact, (low, high) in _ORDINARY.items()},
        **{"consciousness": ("A", "A"), "urine_ketones": ("NEG", "NEG")},
        **dict.fromkeys(("altered_mentation", "troponin_change", "ecg_hyperkalemia_change"), (False, False)),
        **dict.fromkeys(("st_elevation", *ORGAN_SUPPORT), (False, False)),
    }
)
#: Measurements that a second one may contradict: whether one did is a fact of its own, `<fact>_contradicted`.
CONTRADICTED = ("heart_rate", "resp_rate", "sbp", "spo2", "potassium", "sodium")
IMPLIED_BY = ", implied by "  # in a sample's source, before the fact whose answer holds this one in itself
OVER = " over "  # and between what was sent and what another answer implies: what was sent counts


_ANY_MEASURED = MEASURED | MEASURED_WHEN_PLANNED
_LATER = (ReviewType.CONTINUED_STAY, ReviewType.DISCHARGE)


def measurements(review: ReviewType) -> frozenset[str]:
    """The facts that are measurements in such a review."""
    return MEASURED if review in _LATER else _ANY_MEASURED


def measured(facts: Mapping[str, Reading], review: ReviewType) -> frozenset[str]:
    """Those of a case that are, without organ support.

    What an assessment implies is none: a normal ECG item of a risk score is no ST segment that was measured.
    """
    found = measurements(review).intersection(facts)
    implied = [fact for fact in found if not _is_found(facts[fact].latest.source)]
    return found.difference(implied) if implied else found


def supported(facts: Mapping[str, Reading]) -> frozenset[str]:
    """The organ support that is in force."""
    its = [(fact, facts.get(fact)) for fact in ORGAN_SUPPORT]
    return frozenset([fact for fact, reading in its if reading is not None and reading.latest.value is True])


def is_finding(reading: Reading) -> bool:
    """Whether what is known of a fact is worth naming to a person: a measurement any of whose values is not
    an ordinary one, or something that the patient brings along and has."""
    if reading.fact in MEASURED:
        ordinary = ORDINARY.get(reading.fact)
        return ordinary is not None and any(
            _is_beyond(each.value, ordinary) for each in (reading.low, reading.latest, reading.high)
        )
    return reading.fact in BROUGHT - _WELL and reading.latest.value is True


def _is_beyond(value: FactValue, ordinary: tuple[FactValue, FactValue]) -> bool:
    low, high = ordinary
    if isinstance(low, Decimal) and isinstance(high, Decimal):
        return isinstance(value, Decimal) and not low <= value <= high
    return value != low


def _is_found(source: str) -> bool:
    if IMPLIED_BY not in source or OVER in source:
        return True
    return source.rpartition(IMPLIED_BY)[2] in MEASURED

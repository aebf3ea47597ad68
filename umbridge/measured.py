"""Which facts are measurements: what an instrument, a laboratory or a bedside scale found.

An age, a diagnosis code, an order and an assessment say what somebody is, asked for or thinks. An answer that
closes a review by itself rests on more than that (docs/judgement.md).
"""

from __future__ import annotations

from collections.abc import Mapping

from umbridge.model import Reading, ReviewType

#: The dictionary's groups vital, laboratory and ecg, the withdrawal score, and what is worked out from these
#: alone. A laboratory's flag that silence answers (a haemolysed specimen) measures nothing of the patient.
MEASURED = frozenset(
    {"heart_rate", "resp_rate", "sbp", "dbp", "map", "temperature", "spo2", "spo2_room_air", "o2_flow"}
    | {"fio2", "gcs", "consciousness", "dyspnea_vas", "pef_percent", "altered_mentation"}
    | {"bun", "creatinine", "sodium", "potassium", "glucose", "bicarbonate", "beta_hydroxybutyrate"}
    | {"lactate", "wbc", "neutrophils", "platelets", "hemoglobin", "hematocrit", "bilirubin_total", "crp"}
    | {"troponin_ratio", "arterial_ph", "venous_ph", "paco2", "pao2", "pao2_fio2", "urine_output_24h"}
    | {"urine_output_rate", "lipase_ratio", "inr", "urine_ketones"}
    | {"creatinine_rise_48h", "effective_osmolality", "hemoglobin_fall_24h", "rise_in_creatinine"}
    | {"serial_troponin", "troponin_change"}
    | {"qrs_axis", "qrs_duration", "qtc", "ecg_hyperkalemia_change", "st_elevation"}
    | {"ciwa_ar"}
)
#: Before a planned admission these two are what is measured of the patient.
MEASURED_WHEN_PLANNED = frozenset({"asa_class", "bmi"})
#: Support of an organ in force says as much as the number that it holds up, once anything is measured.
#: Chosen for umbridge, unsigned.
ORGAN_SUPPORT = frozenset(
    {"mechanical_ventilation", "vasopressor", "niv", "high_flow_o2", "renal_replacement"}
    | {"reperfusion_therapy", "temporary_pacing"}
)
IMPLIED_BY = ", implied by "  # in a sample's source, before the fact whose answer holds this one in itself
OVER = " over "  # and between what was sent and what another answer implies: what was sent counts


def measurements(review: ReviewType) -> frozenset[str]:
    """The facts that are measurements in such a review."""
    return MEASURED | MEASURED_WHEN_PLANNED if review is ReviewType.PROSPECTIVE else MEASURED


def measured(facts: Mapping[str, Reading], review: ReviewType) -> frozenset[str]:
    """Those of a case that are, without organ support.

    What an assessment implies is none: a normal ECG item of a risk score is no ST segment that was measured.
    """
    return frozenset(fact for fact in measurements(review) & facts.keys() if _is_found(facts[fact]))


def supported(facts: Mapping[str, Reading]) -> frozenset[str]:
    """The organ support that is in force."""
    return frozenset(fact for fact in ORGAN_SUPPORT & facts.keys() if facts[fact].latest.value is True)


def _is_found(reading: Reading) -> bool:
    source = reading.latest.source
    if IMPLIED_BY not in source or OVER in source:
        return True
    return source.rpartition(IMPLIED_BY)[2] in MEASURED

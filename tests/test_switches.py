"""Which fact, made known, makes another unknown: each such switch is a rule, and there is no other.

More facts settle an answer and never unsettle it, but where one says that what was assumed may not be so.
The rules of the content have the same property in the kit ("one more fact never unsettles an answer").
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from test_case import ARRIVAL, SITE, at, obx, orm, oru

from umbridge.model import Event, Observation
from umbridge.stay.dictionary import DERIVED, FactType, dictionary
from umbridge.stay.fold import StayFold
from umbridge.stay.readings.implied import IMPLIED
from umbridge.stay.readings.window import readings
from umbridge.values.kinds import ReviewType

#: The fact that is made known, the one that is unknown from then on, and why.
SWITCHES = {
    ("home_oxygen", "o2_above_usual"): "more than at home only the two flows can say",
    ("home_oxygen", "sofa_baseline"): "lungs that failed before (Sepsis-3)",
    ("renal_disease", "sofa_baseline"): "kidneys that failed before",
    ("liver_disease", "sofa_baseline"): "a liver that failed before",
    ("baseline_creatinine", "sofa_baseline"): "kidneys that had a point of their own",
    ("consciousness", "gas_not_needed"): "not alert: a gas is asked for",
    ("spo2", "gas_not_needed"): "a low saturation: a gas is asked for",
    ("spo2_room_air", "gas_not_needed"): "the same on room air",
    **{
        (fact, "gas_not_needed"): "a good saturation on more oxygen than usual does not excuse a gas"
        for fact in ("o2_therapy", "o2_flow", "fio2", "niv", "high_flow_o2", "mechanical_ventilation")
    },
    ("o2_therapy", "without_oxygen"): "on oxygen: its fraction is asked for",
    ("specimen_hemolyzed", "potassium"): "a spoilt specimen is no potassium",
    ("specimen_hemolyzed", "potassium_contradicted"): "and none that a next one contradicts",
    ("spo2_room_air", "spo2_contradicted"): "a saturation on room air is the newer one",
    ("o2_therapy", "spo2_room_air"): "a saturation on oxygen is none on room air",
    ("niv", "spo2_room_air"): "the same",
    ("high_flow_o2", "spo2_room_air"): "the same",
    ("mechanical_ventilation", "spo2_room_air"): "the same",
    ("o2_flow", "spo2_room_air"): "the same",
    ("fio2", "spo2_room_air"): "the same",
    ("procedure_24h", "inpatient_only_procedure"): "only the site knows whether it is on Medicare's list",
    ("operative_plan", "inpatient_only_procedure"): "the same of an operation that is planned",
}
CODE: Mapping[str, str] = {fact: code for code, fact in SITE.observations["99UMB"].items()} | {
    fact: kind.loinc[0] for fact, kind in dictionary().items() if kind.loinc
}
ORDER = {fact: code for code, fact in sorted(SITE.intensity_orders.items())}
#: What can depend on other facts than itself.
MADE = frozenset(
    {*DERIVED, *IMPLIED, "sofa_baseline", "inpatient_only_procedure", "case_by_case_documented"}
) | {
    *("care_start", "expected_discharge", "failed_outpatient_therapy", "pao2_fio2", "potassium"),
    *("specimen_hemolyzed", "spo2_room_air", "troponin_ratio"),
}
#: A patient about whom everything that others are made of is known, and good.
WELL = {
    **{"spo2": "96", "consciousness": "A", "sbp": "120", "dbp": "80", "heart_ecg_score": "0", "gcs": "15"},
    **{"potassium": "4", "sodium": "140", "glucose": "100", "pao2": "80", "creatinine": "1.0"},
    **{"hemoglobin": "12", "baseline_creatinine": "0.9", "tia_workup_complete": "Y"},
    **{"expectation_documented": "Y"},
}


def said(fact: str, value: str, hours: float = 1) -> Observation:
    kind = {"number": "NM", "datetime": "TS"}.get(dictionary()[fact].kind, "CWE")
    unit = dictionary()[fact].unit
    return obx(CODE[fact], value, hours, unit, kind, reference="0-1", report="R")


def values(kind: FactType) -> Sequence[str]:
    match kind.kind:
        case "boolean":
            return ("Y", "N")
        case "code":
            return kind.codes
        case "datetime":
            return (at(1).strftime("%Y%m%d%H%M%S"),)
    return ("0.5", "50", "200") if kind.id in WELL or kind.group == "vital" else ("200",)


def known(*events: Event) -> set[str]:
    fold = StayFold(SITE)
    for seq, event in enumerate((ARRIVAL, *events)):
        fold.apply(event, seq)
    found = readings(fold, at(4), review=ReviewType.CONTINUED_STAY, wanted=MADE)
    return set(found)


def told(kind: FactType) -> Iterator[Event]:
    if kind.id in CODE:
        yield from (oru(said(kind.id, value)) for value in values(kind))
    else:
        yield orm(ORDER[kind.id], 1, placer="P9")


def test_what_one_fact_makes_unknown_is_the_table_and_nothing_else() -> None:
    """Every fact and its values, of a patient of whom nothing is known, of one who is well or on oxygen."""
    oxygen, air = orm(ORDER["o2_therapy"], 0.5), oru(said("spo2_room_air", "96"))
    found, plain = set(), {}
    for kind in sorted(
        dictionary().values(), key=lambda kind: kind.id in WELL
    ):  # those with all of WELL first
        others = oru(*(said(fact, value) for fact, value in WELL.items() if fact != kind.id))
        for n, context in enumerate(((), (air,), (others,), (others, oxygen))):
            if n not in plain:
                plain[n] = known(*context)
            before = known(*context) if kind.id in WELL and n > 1 else plain[n]
            for event in told(kind):
                found |= {(kind.id, lost) for lost in before - known(*context, event) - {kind.id}}
    assert found == set(SWITCHES)


def test_every_fact_that_can_be_sent_is_tried() -> None:
    assert {fact for fact in dictionary() if fact not in CODE and fact not in ORDER} == set()

"""Which measurements a chronic illness makes usual, and which say that a patient is ill now.

A platelet count of 60 is a sign of sepsis in who had 200, and no news in who has had 60 for years. What is
usual is never taken as normal: it makes no answer close by itself, and a person looks (docs/judgement.md).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal

from umbridge.clinical.measured import CONTRADICTED, ORDINARY
from umbridge.clinical.news2 import CALLED, is_so
from umbridge.model import FactValue, Reading
from umbridge.values.interval import holds


def _limits(said: Mapping[str, tuple[str, str]]) -> Mapping[str, tuple[Decimal, Decimal]]:
    return {fact: (Decimal(low), Decimal(high)) for fact, (low, high) in said.items()}


#: An illness of before, a measurement, and the lowest and highest value that it makes usual. Beyond these a
#: value is a finding whatever the illness. All unsigned:
#: * dialysis: what builds up between two sessions. Potassium from 6.5 is an emergency on dialysis too (UK
#:   Kidney Association 2023); haemoglobin is held at 9 to 11.5 g/dL (KDIGO 2012 on anaemia, recalled)
#: * a liver, a blood count, a bilirubin that were so before, within what is no reason to act by itself
#: * an anticoagulant: an INR says nothing of the liver then, however high
#: * dementia: not knowing where one is; drowsy is new
#: * chronic hypoxaemia: from 88 %, the target for such patients (BTS 2017)
_USUAL: tuple[tuple[str, str, str, str], ...] = (
    ("chronic_dialysis", "bun", "0", "100"),
    ("chronic_dialysis", "creatinine", "0", "80"),
    ("chronic_dialysis", "potassium", "3.0", "6.4"),
    ("chronic_dialysis", "bicarbonate", "18", "40"),
    ("chronic_dialysis", "hemoglobin", "9", "30"),
    ("chronic_dialysis", "hematocrit", "27", "90"),
    ("chronic_anemia", "hemoglobin", "7", "30"),
    ("chronic_anemia", "hematocrit", "21", "90"),
    ("chronic_thrombocytopenia", "platelets", "30", "10000"),
    ("chronic_hyperbilirubinemia", "bilirubin_total", "0", "4"),
    ("liver_disease", "platelets", "50", "10000"),
    ("liver_disease", "bilirubin_total", "0", "3"),
    ("liver_disease", "inr", "0", "2.3"),
    ("on_anticoagulant", "inr", "0", "100"),
    ("dementia", "gcs", "13", "15"),
    ("mentation_at_baseline", "gcs", "3", "15"),
    ("chronic_hypoxemia", "spo2", "88", "100"),
    ("chronic_hypoxemia", "spo2_room_air", "80", "100"),
    ("chronic_hypoxemia", "pao2", "50", "2500"),
    ("chronic_hypoxemia", "pao2_fio2", "200", "1000"),
    ("chronic_hypoxemia", "paco2", "0", "55"),
)
USUAL = tuple((illness, fact, Decimal(low), Decimal(high)) for illness, fact, low, high in _USUAL)
#: The same of the level of consciousness: which codes.
USUAL_CODES: Mapping[str, frozenset[str]] = {
    "dementia": frozenset({"A", "C"}),
    "mentation_at_baseline": frozenset({"A", "C", "V", "P", "U"}),
}
ILLNESSES = frozenset({illness for illness, *_ in USUAL} | USUAL_CODES.keys())
_BY_ILLNESS: Mapping[str, tuple[tuple[str, Decimal, Decimal], ...]] = {
    illness: tuple((fact, low, high) for its, fact, low, high in USUAL if its == illness)
    for illness in ILLNESSES
}
#: Slightly out, alone, in a patient whom no vital sign shows to be ill: it may have been so for years, and
#: nobody said. Which value counts (the lowest, the highest), from and to, and the fact by which somebody says
#: what is usual. Beyond these a value is a finding by itself. All unsigned:
#: * sodium: profound is below 125 (Spasovski G et al. Eur J Endocrinol 2014;170:G1); below 120 acts alone
#: * bicarbonate: below 20 is the regulation's, 18 the limit of ketoacidosis (Diabetes Care 2024;47:1257)
#: * lactate: 4 and more is looked for in sepsis; a liver, a tumour and metformin raise it too
_ALONE: tuple[tuple[str, str, str, str, str], ...] = (
    ("sodium", "low", "120", "124.9", "usual_sodium"),
    ("bicarbonate", "low", "18", "19.9", "chronic_bicarbonate"),
    ("lactate", "high", "4", "4.9", ""),
)
ALONE = tuple((fact, end, Decimal(low), Decimal(high), known) for fact, end, low, high, known in _ALONE)
BY_ITSELF = "alone, and no vital sign is abnormal"
_UNWELL = "appears_unwell"
#: What is worked out from a measurement alone goes with it.
_WITH = {"consciousness": ("altered_mentation",), "spo2": ("spo2_room_air",), "sodium": ("corrected_sodium",)}
#: Comfort or hospice care: the patient, or who speaks for them, has chosen what care is for.
COMFORT = "comfort_care"
_CONTRADICTED = tuple((fact, f"{fact}_contradicted") for fact in CONTRADICTED)
#: A score of before this illness that somebody stated already takes these off.
_BASELINE, _ASSUMED = "sofa_baseline", "none known"
_IN_BASELINE = frozenset({"platelets", "bilirubin_total", "gcs", "creatinine"})
#: From and to of what is no sign of a systemic inflammatory response (Bone, Chest 1992;101:1644).
_SIRS = _limits(
    {"temperature": ("36", "38"), "heart_rate": ("0", "90"), "resp_rate": ("0", "20"), "wbc": ("4", "12")}
)
_SIGNS = 2
_FULL = Decimal(100)
#: What ``is_ill`` looks at.
SIGNS = frozenset({*_SIRS, *CALLED, "spo2", "spo2_limit", "consciousness"})


def asked_beside(read: frozenset[str]) -> frozenset[str]:
    """The facts that say whether what was read is usual, or was contradicted: for a plugin's manifest."""
    found = {illness for illness, fact, *_ in USUAL if fact in read}
    if "consciousness" in read:
        found |= USUAL_CODES.keys()
    found |= {said for fact, said in _CONTRADICTED if fact in read}
    found |= {each for fact, *_, known in ALONE if fact in read and known for each in (known, _UNWELL)}
    return frozenset(found | {COMFORT} if read & ORDINARY.keys() else found)


def usual(facts: Mapping[str, Reading]) -> tuple[tuple[str, str], ...]:
    """Measurements that may be the patient's usual ones, each with the illness that says so."""
    illnesses = [illness for illness in ILLNESSES if is_so(facts, illness)]
    alone = [(row[0], BY_ITSELF) for row in ALONE if row[0] in facts and _is_alone(facts, *row)]
    if not illnesses and not alone:
        return ()
    found = [
        (fact, illness)
        for illness in illnesses
        for fact, low, high in _BY_ILLNESS.get(illness, ())
        if fact in facts and _within(facts[fact], low, high)
    ]
    level = facts.get("consciousness")
    if level is not None:
        found += [
            ("consciousness", illness)
            for illness in illnesses
            if {level.high.value, level.latest.value} <= USUAL_CODES.get(illness, frozenset())
        ]
    if alone and not is_so(facts, _UNWELL) and not is_ill(facts, frozenset(fact for fact, _ in found)):
        found += alone
    before = facts.get(_BASELINE)
    if before is not None and not before.latest.source.startswith(_ASSUMED):
        found = [each for each in found if each[0] not in _IN_BASELINE]
    return tuple(sorted(found))


def _is_alone(
    facts: Mapping[str, Reading], fact: str, end: str, low: Decimal, high: Decimal, known: str
) -> bool:
    """By the worst value: treatment makes no finding of it."""
    reading = facts[fact]
    return known not in facts and _is_between(
        (reading.low if end == "low" else reading.high).value, low, high
    )


def contradicted(facts: Mapping[str, Reading]) -> tuple[str, ...]:
    """Measurements whose worst value the next one contradicts."""
    return tuple([fact for fact, said in _CONTRADICTED if is_so(facts, said)])


def with_made(facts: frozenset[str]) -> frozenset[str]:
    """These and what is worked out from one of them alone."""
    return facts.union(*(_WITH.get(fact, ()) for fact in facts))


def is_ill(facts: Mapping[str, Reading], doubtful: frozenset[str]) -> bool:
    """Two signs of a systemic inflammatory response, one sign that has three points of NEWS2, or a saturation
    below the limit, which may be the patient's own."""
    signs = 0
    for fact, (low, high) in _SIRS.items():
        signs += _is_out(facts, fact, low, high, doubtful)
    if signs >= _SIGNS:
        return True
    for fact, limits in CALLED.items():
        # a sign alone that has the three points of NEWS2 for which a physician is called
        for each in _worst(facts, fact, doubtful):
            for op, limit in limits:
                if holds(each, op, limit):
                    return True
    usual_limit = facts.get("spo2_limit")
    lowest = None if usual_limit is None else usual_limit.latest.value
    if isinstance(lowest, Decimal) and _is_out(facts, "spo2", lowest, _FULL, doubtful):
        return True
    level = facts.get("consciousness")
    return level is not None and "consciousness" not in doubtful and level.high.value != "A"


def _is_out(
    facts: Mapping[str, Reading], fact: str, low: Decimal, high: Decimal, doubtful: frozenset[str]
) -> bool:
    worst = _worst(facts, fact, doubtful)
    return bool(worst) and not (low <= min(worst) and max(worst) <= high)


def _worst(facts: Mapping[str, Reading], fact: str, doubtful: frozenset[str]) -> Sequence[Decimal]:
    """The lowest and the highest number that is known of a sign, without any doubt."""
    reading = facts.get(fact)
    if reading is None or fact in doubtful:
        return ()
    low, high = reading.low, reading.high
    both = (low.value,) if low is high else (low.value, high.value)
    return [each for each in both if isinstance(each, Decimal)]


def _within(reading: Reading, low: Decimal, high: Decimal) -> bool:
    return all(_is_between(each, low, high) for each in (reading.low.value, reading.high.value))


def _is_between(value: FactValue, low: Decimal, high: Decimal) -> bool:
    return isinstance(value, Decimal) and low <= value <= high

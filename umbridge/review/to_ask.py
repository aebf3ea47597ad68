"""What people are asked for while an answer is open: what is measured, in the place of what is worked out.

Criteria read differences, falls and ratios, which the daemon works out. Nobody at the bedside can measure a
corrected sodium; a nurse can draw a sodium and a glucose.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import lru_cache

from umbridge.clinical.measured import CONTRADICTED
from umbridge.clinical.news2 import is_so
from umbridge.model import Case, Reading, ScreenResult

#: What each worked-out fact waits for. Where all of it is known the fact keeps its own name: it then takes a
#: second value, and its title says of what.
PARTS: Mapping[str, tuple[str, ...]] = {
    **{f"{fact}_contradicted": (fact,) for fact in CONTRADICTED},
    "altered_mentation": ("consciousness",),
    "corrected_sodium": ("sodium", "glucose"),
    "creatinine_rise_48h": ("creatinine",),
    "effective_osmolality": ("sodium", "glucose"),
    "gas_not_needed": ("spo2",),
    "hemoglobin_fall_24h": ("hemoglobin",),
    "lactate_not_needed": ("sbp",),
    "map_not_needed": ("sbp", "dbp"),
    "midnights_expected": ("care_start", "expected_discharge"),
    "midnights_from_care": ("care_start", "expected_discharge"),
    "midnights_so_far": ("care_start",),
    "o2_above_usual": ("o2_therapy", "niv", "high_flow_o2", "o2_flow", "home_o2_flow"),
    "rise_in_creatinine": ("creatinine", "baseline_creatinine"),
    "serial_troponin": ("troponin_ratio",),
    "troponin_change": ("troponin_ratio",),
    "without_oxygen": ("o2_therapy",),
    "workup_complete": ("tia_workup_complete",),
}
#: Worked out as well, and asked for by their own names: what registration, payers, orders, the profile and
#: other criteria say, and a limit that is always known.
AS_IT_IS = frozenset(
    {"age", "sex", "payer_class", "admission_start", "unforeseen_departure", "midnights_from_order"}
    | {"unmapped_parenteral_order", "level_supported", "spo2_limit"}
)
#: Flows say whether oxygen is more than usual of a patient alone who has some at home.
_FLOWS = ("o2_flow", "home_o2_flow")
_AT_HOME = "home_oxygen"


@lru_cache(maxsize=8)
def with_parts(facts: frozenset[str]) -> frozenset[str]:
    """These facts, and what says which part of one of them is unknown."""
    found = facts.union(*(PARTS[fact] for fact in facts & PARTS.keys()))
    return found | {_AT_HOME} if "o2_above_usual" in facts else found


def to_ask(missing: Iterable[str], facts: Mapping[str, Reading]) -> tuple[str, ...]:
    """The same, with what is unknown of its parts in the place of each fact that is worked out."""
    found: set[str] = set()
    for fact in missing:
        unknown = [part for part in PARTS.get(fact, ()) if part not in facts and _is_asked(part, facts)]
        found.update(unknown or (fact,))
    return tuple(sorted(found))


def _is_asked(part: str, facts: Mapping[str, Reading]) -> bool:
    return part not in _FLOWS or is_so(facts, _AT_HOME)


def told_what_to_measure(result: ScreenResult, whole: Case) -> ScreenResult:
    """The same answer, whose missing facts somebody can measure or say. ``whole``: with their parts."""
    if PARTS.keys().isdisjoint((*result.missing, *result.advise_missing)):
        return result
    missing, advise = (to_ask(each, whole.facts) for each in (result.missing, result.advise_missing))
    said = _renamed(_renamed(result.rationale, result.missing, missing), result.advise_missing, advise)
    return replace(result, missing=missing, advise_missing=advise, rationale=said)


def _renamed(rationale: str, missing: tuple[str, ...], asked: tuple[str, ...]) -> str:
    before, now = (f"ot known: {', '.join(each)}." for each in (missing, asked))
    return rationale.replace(before, now)

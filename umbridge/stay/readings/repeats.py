"""Measurements that the next one contradicts, and a sodium that a high glucose draws down.

A worst value counts although treatment has made a better one of it. One that an ordinary value follows at
once, with nothing done meanwhile, was never the patient's: a probe off the finger, a cuff of the wrong size,
a spoilt specimen that nobody flagged.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from decimal import Context, Decimal
from functools import partial
from typing import Protocol

from umbridge.clinical.measured import CONTRADICTED, ORDINARY
from umbridge.model import FactValue, Reading, Sample
from umbridge.stay.clock import HOUR, instant
from umbridge.stay.dictionary import FactType, dictionary
from umbridge.stay.orders.treatment_spans import InForce
from umbridge.stay.readings.derived import single
from umbridge.stay.results.statements import Result

MINUTE = HOUR // 60
#: How soon, in minutes, the next value has to be there to contradict. Vital signs are taken again at once
#: where one is not believed; a specimen is drawn again, and within two hours nothing but treatment makes a
#: potassium of 6.9 into 4.4. Chosen for umbridge, unsigned.
WITHIN = {"potassium": 120, "sodium": 120}
OTHERWISE = 10
#: What is given against such a value: with it, a better one is its effect and contradicts nothing.
TREATED_BY: Mapping[str, tuple[str, ...]] = {
    "potassium": ("iv_electrolytes", "insulin_infusion", "renal_replacement", "continuous_nebulizer"),
    "sodium": ("hypertonic_saline", "iv_fluids"),
    "heart_rate": ("iv_rate_control", "temporary_pacing"),
    "sbp": ("vasopressor", "iv_inotrope", "iv_vasodilator"),
    **dict.fromkeys(
        ("spo2", "resp_rate"),
        ("o2_therapy", "niv", "high_flow_o2", "mechanical_ventilation"),
    ),
}
#: A high glucose draws water into the blood: 2.4 mmol/L of sodium for each 100 mg/dL above 100 (Spasovski G
#: et al. Eur J Endocrinol 2014;170:G1; the factor recalled). Which glucose belongs to a sodium, in hours, is
#: unsigned.
SHIFT, FROM, BESIDE_HOURS = Decimal("0.024"), Decimal(100), 1
_EXACT = Context(prec=28)


class Look(Protocol):
    """One look at a stay's facts, as ``window`` takes it."""

    now: int

    def clock(self, at: int) -> datetime: ...

    def reading(self, fact: str) -> Reading | None: ...

    def prevailing(self, reading: Reading) -> tuple[Sample, ...]: ...

    def usable(self, kind: FactType) -> list[Result]: ...

    def turns(self, fact: str) -> InForce | None: ...

    def first_on(self, fact: str, first: int, last: int) -> list[Result]: ...

    def given(self, fact: str, at: int) -> Sample | None: ...


def contradicted(fact: str, look: Look) -> Reading | None:
    """Y where the lowest or highest value is out of the ordinary, and the next one, soon after and without
    treatment, is ordinary; else N. Unknown where nothing was measured."""
    reading = look.reading(fact)
    if reading is None:
        return None
    found = _contradiction(look, fact, reading)
    name = f"{fact}_contradicted"
    if found is not None:
        return single(name, Sample(True, found.at, found.source))
    return single(name, Sample(False, reading.latest.at, reading.latest.source))


def _contradiction(look: Look, fact: str, reading: Reading) -> Sample | None:
    # Of a later look, whose latest value is the only one, nothing came after.
    worst = [each for each in (reading.low, reading.high) if each.at < reading.latest.at]
    worst = [each for each in worst if not _is_ordinary(fact, each.value)]
    for each in dict.fromkeys(worst):
        start = instant(each.at)
        end = start + WITHIN.get(fact, OTHERWISE) * MINUTE
        later = (result for result in look.usable(dictionary()[fact]) if start < result.at <= end)
        following = next(later, None)
        if following is None or not _is_ordinary(fact, following.value):
            continue
        if not _is_treated(look, fact, start, following.at):
            return Sample(True, each.at, f"{each.source}, then {following.source}")
    return None


def _is_ordinary(fact: str, value: FactValue | None) -> bool:
    low, high = ORDINARY[fact]
    if not isinstance(value, Decimal) or not isinstance(low, Decimal) or not isinstance(high, Decimal):
        return True  # a bound, which says too little to contradict or to be contradicted
    return low <= value <= high


def _is_treated(look: Look, fact: str, start: int, end: int) -> bool:
    """Whether a treatment was given at any instant from one to the other: what is given changes only where
    an order begins or ends, or somebody says so."""
    for treatment in TREATED_BY[fact]:
        moments = {start, end}
        moments.update(turn.at for turn in look.turns(treatment) or ())
        moments.update(said.at for said in look.first_on(treatment, start, end))
        given = (look.given(treatment, at) for at in sorted(moments) if start <= at <= end)
        if any(each is not None and each.value is True for each in given):
            return True
    return False


def corrected_sodium(look: Look) -> Reading | None:
    """The sodium that this review goes by, with what its glucose takes off put back; unknown without one."""
    reading = look.reading("sodium")
    if reading is None:
        return None
    (salt,) = look.prevailing(reading)
    if not isinstance(salt.value, Decimal):
        return None
    at = instant(salt.at)
    beside = [
        each
        for each in look.usable(dictionary()["glucose"])
        if isinstance(each.value, Decimal) and abs(each.at - at) <= BESIDE_HOURS * HOUR
    ]
    if not beside:
        return None
    sugar = min(beside, key=lambda each: abs(each.at - at))
    above = max(Decimal(str(sugar.value)) - FROM, Decimal(0))
    value = _EXACT.add(salt.value, _EXACT.multiply(SHIFT, above))
    return single("corrected_sodium", Sample(value, salt.at, f"{salt.source}, {sugar.source}", "mmol/L"))


REPEAT_FACTS: Mapping[str, Callable[[Look], Reading | None]] = {
    **{f"{fact}_contradicted": partial(contradicted, fact) for fact in CONTRADICTED},
    "corrected_sodium": corrected_sodium,
}

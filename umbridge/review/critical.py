"""Latest values at which a ward calls a physician: no later review closes by itself over one of them.

Criteria for a later day ask whether the care that is given is still needed, and those for a discharge whether
what was treated is over. Neither asks what else has gone wrong since. A patient who is worse than their care
must not leave the worklist by an answer that never looked.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from decimal import Decimal

from umbridge.interval import Interval, holds
from umbridge.model import Case, Level, Outcome, Reading, ReviewType, ScreenResult
from umbridge.review.closing import CRITICAL_VALUE
from umbridge.review.plan import Review

#: A single score of 3 in NEWS2, which calls for an urgent look (Royal College of Physicians, 2017).
_NEWS2: Mapping[str, tuple[tuple[str, str], ...]] = {
    "resp_rate": (("<=", "8"), (">=", "25")),
    "sbp": (("<=", "90"), (">=", "220")),
    "heart_rate": (("<=", "40"), (">=", "131")),
    "temperature": (("<=", "35.0"),),
}
#: Values of a kind that laboratories telephone (42 CFR 493.1291(g) has each set its own), and a diastolic
#: pressure above which hypertension is a crisis (Whelton PK et al. Hypertension 2018;71:e13). The limits of
#: the laboratory were chosen for umbridge: unsigned.
_CALLED: Mapping[str, tuple[tuple[str, str], ...]] = {
    "dbp": ((">", "120"),),
    "potassium": (("<", "2.5"), (">=", "6.5")),
    "sodium": (("<", "120"), (">", "160")),
    "glucose": (("<", "54"),),
    "hemoglobin": (("<", "7.0"),),
    "lactate": ((">=", "4"),),
    "arterial_ph": (("<", "7.20"),),
}
LIMITS: Mapping[str, tuple[tuple[str, Decimal], ...]] = {
    fact: tuple((op, Decimal(limit)) for op, limit in its) for fact, its in {**_NEWS2, **_CALLED}.items()
}
#: NEWS2's scale 1: 91 % and less. Of a patient with a limit of their own, what is below that.
_SATURATION, _USUAL_LIMIT = Decimal(91), Decimal(90)
LOOKED_AT = frozenset(
    {*LIMITS, "spo2", "spo2_limit", "consciousness", "mentation_at_baseline"}
    | {"troponin_ratio", "troponin_change"}
)
_LATER = (ReviewType.CONTINUED_STAY, ReviewType.DISCHARGE, ReviewType.OBSERVATION)


def told_of_a_critical_value(result: ScreenResult, review: Review, whole: Case) -> ScreenResult:
    """An answer that meets, held for a person where ``critical_in`` finds anything.

    Not where the highest level is supported already: more care than that there is none, but for a discharge.
    """
    is_highest = result.supported is Level.CRITICAL and review.type is not ReviewType.DISCHARGE
    if result.outcome not in (Outcome.MEETS, Outcome.MEETS_ADVISE_HIGHER) or is_highest:
        return result
    found = critical_in(review, whole)
    if not found:
        return result
    words = f"A latest value at which a physician is called: {'; '.join(found)}."
    rationale = f"{result.rationale} {words}".lstrip()
    return replace(result, hold=(*result.hold, CRITICAL_VALUE), rationale=rationale)


def critical_in(review: Review, whole: Case) -> tuple[str, ...]:
    """The critical values of a review of what is so now, in words; none of a first look.

    ``whole``: with every fact of ``LOOKED_AT``, whatever the plugins ask for.
    """
    if review.judged.moment is not None or review.type not in _LATER:
        return ()
    return (*critical(whole), *(new_injury(whole) if review.type is ReviewType.DISCHARGE else ()))


def critical(whole: Case) -> tuple[str, ...]:
    """The latest values that are, or may be (a bound), beyond a limit, in words."""
    facts, found = whole.facts, []
    for fact, limits in LIMITS.items():
        reading = facts.get(fact)
        if reading is not None and any(_is_beyond(reading, op, limit) for op, limit in limits):
            found.append(_shown(reading))
    saturation = facts.get("spo2")
    if saturation is not None and _is_beyond(saturation, *_saturation_limit(facts)):
        found.append(_shown(saturation))
    alert, usual = facts.get("consciousness"), facts.get("mentation_at_baseline")
    is_usual = usual is not None and usual.latest.value is True
    if alert is not None and alert.latest.value != "A" and not is_usual:
        found.append(_shown(alert))
    return tuple(found)


def new_injury(whole: Case) -> tuple[str, ...]:
    """A troponin of the last day above its limit in a stay in which it moved: nobody leaves over it unseen
    (Thygesen K et al. Fourth universal definition of myocardial infarction. Circulation 2018;138:e618)."""
    troponin, moved = whole.facts.get("troponin_ratio"), whole.facts.get("troponin_change")
    has_moved = moved is None or moved.latest.value is not False
    if troponin is None or not has_moved or not _is_beyond(troponin, ">", Decimal(1)):
        return ()
    return (_shown(troponin),)


def _saturation_limit(facts: Mapping[str, Reading]) -> tuple[str, Decimal]:
    own = facts.get("spo2_limit")
    value = None if own is None else own.latest.value
    is_own = isinstance(value, Decimal) and value < _USUAL_LIMIT
    return ("<", value) if is_own and isinstance(value, Decimal) else ("<=", _SATURATION)


def _is_beyond(reading: Reading, op: str, limit: Decimal) -> bool:
    value = reading.latest.value
    return isinstance(value, Decimal | Interval) and holds(value, op, limit) is not False


def _shown(reading: Reading) -> str:
    return f"{reading.fact} {reading.latest.value} {reading.latest.unit}".rstrip()

"""Latest values at which a ward calls a physician: no later review closes by itself over one of them.

Criteria for a later day ask whether the care that is given is still needed, and those for a discharge whether
what was treated is over. Neither asks what else has gone wrong since. A patient who is worse than their care
must not leave the worklist by an answer that never looked.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from decimal import Decimal

from umbridge.clinical import news2
from umbridge.clinical.news2 import may_be, own_limit
from umbridge.criteria.unreadhold import RESULT_UNREAD
from umbridge.model import Case, Reading, ScreenResult
from umbridge.review.closing import CRITICAL_VALUE
from umbridge.review.review import Review
from umbridge.values.interval import Interval, holds
from umbridge.values.kinds import Level, Outcome, ReviewType

#: A sum at which a team with skills of critical care is called, and a move to a higher level considered
#: (Royal College of Physicians, 2017).
EMERGENCY = 7
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
    **news2.CALLED,
    **{fact: tuple((op, Decimal(limit)) for op, limit in its) for fact, its in _CALLED.items()},
}
#: NEWS2's scale 1: 91 % and less. Of a patient with a limit of their own, what is below that.
_SATURATION = Decimal(91)
#: New ischaemia on an electrocardiogram of the last day.
_SEEN = ("ecg_new_ischemia",)
#: Within 48 hours: acute kidney injury (KDIGO. Kidney Int Suppl 2012;2:1-138).
KIDNEY_INJURY = Decimal("0.3")
#: What may be a critical value where somebody sent it and nobody can read it.
_VALUES = frozenset({*LIMITS, "spo2", "consciousness"})
_BEFORE_LEAVING = frozenset({"troponin_ratio", "creatinine"})
LOOKED_AT = news2.READ | _VALUES | frozenset(_SEEN) | _BEFORE_LEAVING
LOOKED_AT |= {"troponin_change", "creatinine_rise_48h"}
_LATER = (ReviewType.CONTINUED_STAY, ReviewType.DISCHARGE, ReviewType.OBSERVATION)


def told_of_a_critical_value(result: ScreenResult, review: Review, whole: Case) -> ScreenResult:
    """An answer that meets, held for a person where ``critical_in`` finds anything, or where what was sent of
    such a value can be read by nobody: it may be one.

    Not where the highest level is supported already: more care than that there is none, but for a discharge.
    One that calls the patient ready says it too, and then none of these days could have been avoided.
    """
    is_highest = result.supported is Level.CRITICAL and review.type is not ReviewType.DISCHARGE
    is_met = result.outcome in (Outcome.MEETS, Outcome.MEETS_ADVISE_HIGHER)
    if not (is_met or result.discharge_ready) or is_highest:
        return result
    found = critical_in(review, whole)
    if found:
        result = replace(result, avoidable_day=None, avoidable_attribution=None)
        words = f"A latest value at which a physician is called: {'; '.join(found)}."
        result = _held(result, CRITICAL_VALUE, words)
    unread = () if RESULT_UNREAD in result.hold else _unread(review, whole)
    if unread:
        words = f"It may be one at which a physician is called, and nobody can read it: {', '.join(unread)}."
        result = _held(result, RESULT_UNREAD, words)
    return result


def critical_in(review: Review, whole: Case) -> tuple[str, ...]:
    """The critical values of a review of what is so now, in words; none of a first look.

    ``whole``: with every fact of ``LOOKED_AT``, whatever the plugins ask for.
    """
    if not _is_later(review):
        return ()
    return (*critical(whole), *(new_injury(whole) if review.type is ReviewType.DISCHARGE else ()))


def critical(whole: Case) -> tuple[str, ...]:
    """The latest values that are, or may be (a bound), beyond a limit, in words."""
    facts, found = whole.facts, []
    for fact, limits in LIMITS.items():
        reading = facts.get(fact)
        if reading is not None and any(may_be(reading, op, limit) for op, limit in limits):
            found.append(shown(reading))
    saturation, own = facts.get("spo2"), own_limit(facts)
    limit = ("<=", _SATURATION) if own is None else ("<", own)
    if saturation is not None and may_be(saturation, *limit):
        found.append(shown(saturation))
    if news2.is_not_alert(facts):
        found.append(shown(facts["consciousness"]))
    found += [shown(facts[fact]) for fact in _SEEN if news2.is_so(facts, fact)]
    if (points := news2.least_sum(facts)) >= EMERGENCY:
        found.append(f"NEWS2 of {points} or more")
    return tuple(found)


def new_injury(whole: Case) -> tuple[str, ...]:
    """A troponin of the last day above its limit in a stay in which it moved (Thygesen K et al. Fourth
    universal definition of myocardial infarction. Circulation 2018;138:e618), and a creatinine that rose
    within two days: nobody leaves over either unseen."""
    facts, found = whole.facts, []
    troponin, moved = facts.get("troponin_ratio"), facts.get("troponin_change")
    has_moved = moved is None or moved.latest.value is not False
    if troponin is not None and has_moved and may_be(troponin, ">", Decimal(1)):
        found.append(shown(troponin))
    rise = facts.get("creatinine_rise_48h")
    if rise is not None and _is_surely(rise, ">=", KIDNEY_INJURY):
        found.append(shown(rise))
    return tuple(found)


def shown(reading: Reading) -> str:
    """A latest value as a rationale has it."""
    value = reading.latest.value
    if isinstance(value, bool):
        value = "Y" if value else "N"
    elif isinstance(value, Decimal) and value.as_tuple().exponent not in (0, -1, -2):
        value = round(value, 2)
    return f"{reading.fact} {value} {reading.latest.unit}".rstrip().removesuffix(" {ratio}")


def _is_surely(reading: Reading, op: str, limit: Decimal) -> bool:
    value = reading.latest.value
    return isinstance(value, Decimal | Interval) and holds(value, op, limit) is True


def _is_later(review: Review) -> bool:
    return review.judged.moment is None and review.type in _LATER


def _unread(review: Review, whole: Case) -> Iterable[str]:
    if not _is_later(review):
        return ()
    asked = _VALUES | _BEFORE_LEAVING if review.type is ReviewType.DISCHARGE else _VALUES
    return tuple(fact for fact in whole.unread if fact in asked)


def _held(result: ScreenResult, reason: str, words: str) -> ScreenResult:
    return replace(result, hold=(*result.hold, reason), rationale=f"{result.rationale} {words}".lstrip())

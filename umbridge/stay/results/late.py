"""Results that were collected before the patient left and told afterwards: who sent them home may not know.

No review changes by them: what nobody could know decides nothing about the care that was given. They are for
the practitioner, who may have to call the patient back.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from decimal import Decimal

from umbridge.stay.readings.ends import value_of
from umbridge.stay.results.counted import counted
from umbridge.stay.results.result_list import ResultList
from umbridge.stay.results.statements import EVER, Result
from umbridge.values.interval import holds

TROPONIN = "troponin_ratio"
#: The exception of the stay.
LATE_CRITICAL_RESULT = "LATE_CRITICAL_RESULT"
_LIMIT = Decimal(1)  # the upper reference limit, which ``troponin_ratio`` is a multiple of


def is_any_late(lists: Iterable[ResultList], left: int, is_own: Callable[[str], bool]) -> bool:
    """Whether there is any result that was collected by ``left``, and told, or told otherwise, later."""
    return any(
        each.sent > left and each.value is not None and is_own(each.patient)
        for listed in lists
        for each in listed.between(None, left)
    )


def has_troponin_risen(listed: ResultList | None, left: int, is_own: Callable[[str], bool]) -> bool:
    """Whether a troponin above its limit was told after the patient left, and none was known before.

    Above the 99th percentile of the reference population is myocardial injury (Thygesen K et al. Fourth
    universal definition of myocardial infarction. Circulation 2018;138:e618).
    """
    is_now = False
    for told, made in () if listed is None else listed.told():
        own = [each for each in told if is_own(each.patient)]
        known = [each for each in own if each.sent <= left]
        if any(map(_is_above, counted(known, made(), EVER))):
            return False
        is_now = is_now or any(each.at <= left and _is_above(each) for each in counted(own, made(), EVER))
    return is_now


def _is_above(result: Result) -> bool:
    return holds(value_of(result), ">", _LIMIT) is True

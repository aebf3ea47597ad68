"""What an answer lacks though something was sent of it, said with the answer."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import replace
from decimal import Decimal

from umbridge.criteria.unreadhold import CORRECTION_NOT_FOUND, ORDER_NOT_FOUND, RESULT_UNREAD
from umbridge.model import FactValue, ScreenResult
from umbridge.review.review import Review
from umbridge.stay.aside_words import AsideRow, sentence
from umbridge.stay.clock import instant
from umbridge.stay.fold import StayFold
from umbridge.stay.readings.in_question import sent_in_vain
from umbridge.stay.readings.not_used import Within, not_used
from umbridge.stay.stay import Stay

_ASIDE = (RESULT_UNREAD, CORRECTION_NOT_FOUND, ORDER_NOT_FOUND)
Held = Mapping[str, Collection[str]]
_WORD = re.compile(r"[a-z][a-z0-9_]*")


def facts_named(rationale: str) -> set[str]:
    """The words of a rationale that may be ids of facts."""
    return set(_WORD.findall(rationale))


def held_for(result: ScreenResult) -> Held:
    """By hold, the words among which are the facts for which an answer is held; none where none is."""
    return {why: facts_named(result.rationale) for why in _ASIDE if why in result.hold}


def aside(fold: StayFold, stay: Stay, review: Review, unknown: Collection[str], held: Held) -> list[AsideRow]:
    """What was sent of facts that are unknown in a review, and is not used in it; of facts that hold the
    answer, what nobody can read, and what found nothing that it names."""
    look = Within(fold, stay, review.judged.cut, instant(review.judged_at))
    return [
        {
            "fact": each.fact,
            "value": None if each.value is None else _shown(each.value),
            "unit": each.unit,
            "at": each.at.isoformat(),
            "told": each.told.isoformat(),
            "why": each.why.value,
            "limit": None if each.limit is None else each.limit.isoformat(),
            "reason": each.reason or None,
        }
        for each in (*not_used(look, unknown, held.get(RESULT_UNREAD, ())), *sent_in_vain(look, held))
    ]


def with_aside(fold: StayFold, stay: Stay, review: Review, result: ScreenResult) -> ScreenResult:
    """The same answer, whose rationale ends with what was sent of what it lacks. Nothing else is another."""
    unknown = {*result.missing, *result.advise_missing}
    held = held_for(result)
    said = sentence(aside(fold, stay, review, unknown, held)) if unknown or held else ""
    return replace(result, rationale=f"{result.rationale} {said}".lstrip()) if said else result


def _shown(value: FactValue) -> str:
    if isinstance(value, bool):
        return "Y" if value else "N"
    return format(value, "f") if isinstance(value, Decimal) else str(value)

"""The question put to a criteria plugin: one review of one stay, with the facts the plugin declared."""

from __future__ import annotations

from decimal import Decimal

from umbridge.model import Case
from umbridge.review.review import Review
from umbridge.stay.clock import HOUR, instant
from umbridge.stay.dictionary import dictionary
from umbridge.stay.fold import StayFold
from umbridge.stay.readings.corrections import corrected_after
from umbridge.stay.readings.in_question import in_question
from umbridge.stay.readings.not_used import Within, unread
from umbridge.stay.readings.window import readings
from umbridge.stay.stay import Stay
from umbridge.values.kinds import Lifecycle, Status

_HUNDREDTH = Decimal("0.01")


def case(
    fold: StayFold,
    stay: Stay,
    review: Review,
    wanted: frozenset[str],
    pseudonym: str,
) -> Case:
    """The case, judged at the review's own moment.

    It carries no name, number or address, and no fact the plugin did not ask for.
    """
    at = review.judged_at
    look = Within(fold, stay, review.judged.cut, instant(at))
    hours, ended = _observation(stay, instant(at))
    return Case(
        pseudonym=pseudonym,
        review=review.type,
        requested_status=review.requested_status,
        requested_level=review.requested_level,
        as_of=at,
        episode_day=review.episode_day,
        diagnoses=_diagnoses(fold, stay, review),
        payer_class=stay.payer_class,
        observation_hours=hours,
        observation_ended=ended,
        facts=readings(fold, at, review=review.judged.cut, wanted=wanted, stay=stay),
        corrected={
            fact: f"{said.value} {dictionary()[fact].unit}".rstrip()
            for fact, said in corrected_after(fold, stay, review.judged.cut, instant(at)).items()
        },
        unread=unread(look, wanted),
        in_question=in_question(look, wanted),
    )


def _diagnoses(fold: StayFold, stay: Stay, review: Review) -> tuple[str, ...]:
    """Those in force at the moment of a first look, else those of now; principal first."""
    told_by = review.judged.cut.told_by
    if told_by is None:
        return stay.diagnoses
    return tuple(each.code for each in fold.diagnoses(told_by, instant(review.judged_at)))


def _observation(stay: Stay, at: int) -> tuple[Decimal | None, bool]:
    """Hours of observation so far, and whether it is over. (None, False) where it never began."""
    spent, began, running = 0, False, False
    for span in stay.spans:
        if span.status is not Status.OBSERVATION or instant(span.start) > at:
            continue
        began = True
        end = at if span.end is None else min(at, instant(span.end))
        spent += max(0, end - instant(span.start))
        running = end == at and (span.end is None or instant(span.end) > at)
    if not began:
        return None, False
    running = running and not (stay.lifecycle is Lifecycle.DISCHARGED and stay.discharged_at is None)
    return (Decimal(spent) / Decimal(HOUR)).quantize(_HUNDREDTH), not running

"""When continued stays and observation are looked at again: the days and hours, as a function of the stay."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import date, timedelta
from enum import Enum

from umbridge.review.closing import STATUS_ORDER_CANCELLED
from umbridge.stay.clock import instant, local_date, moment, start_of_day
from umbridge.stay.payers import MEDICARE
from umbridge.stay.stay import StatusSpan, Stay
from umbridge.values.kinds import Level, Lifecycle, ReviewType, Status

#: Continued-stay reviews fall due on these days, then every 7 (VistA Claims Tracking, file 356.1); the
#: whole row moves with the site's first day. Every 7 is also the longest that 42 CFR 482.30(e)(1) allows
#: between reviews of an extended stay.
CONTINUED_STAY_DAYS = (3, 6, 9, 14, 21, 28)
#: Whether to admit or send home is usually clear within 24 hours and seldom takes more than 48 (Medicare
#: Benefit Policy Manual ch. 6 s. 20.6): hours of observation at which it is looked at, then every 24.
OBSERVATION_HOURS = (8, 24, 36, 48)
OBSERVATION_AGAIN = 24


class Turn(Enum):
    """Of a review in the row of continued-stay reviews."""

    DONE = "done"
    REPLACED = "replaced"  # by that of a transfer, which asked in its place
    NEXT = "next"


def observation_hours(number: int) -> int:
    """After so many hours the look of that number is due, from 0."""
    extra = number - len(OBSERVATION_HOURS) + 1
    return OBSERVATION_HOURS[min(number, len(OBSERVATION_HOURS) - 1)] + OBSERVATION_AGAIN * max(extra, 0)


def continued_dates(
    stay: Stay, span: StatusSpan, is_done: Callable[[int], bool], moved: int | None
) -> Iterator[tuple[int, date, Turn]]:
    """(number, due, turn) of the reviews that are done or replaced, by the schedule, and of the next one.

    The next is due on a scheduled day, or on the day of return from a leave, when care is looked at again.
    ``moved``: the instant of the transfer that has a review.
    """
    zone = stay.site.zone
    start = local_date(instant(span.start), zone)
    returns = [local_date(instant(back), zone) for _, back in stay.leaves if back is not None]
    away = stay.lifecycle is Lifecycle.ON_LEAVE
    left = local_date(instant(stay.leaves[-1][0]), zone) if away else None
    number, before = 1, start - timedelta(days=1)
    first = scheduled(stay, start, before)
    while True:
        due = scheduled(stay, start, before)
        turn = Turn.DONE if is_done(number) else Turn.NEXT
        if turn is Turn.NEXT:
            back = max((each for each in returns if each > before and each >= first), default=None)
            due = due if back is None else back
            if left is not None and due >= left:
                return
            if moved is not None and instant(moment(start_of_day(due, zone), zone)) <= moved:
                turn = Turn.REPLACED
        yield number, due, turn
        if turn is Turn.NEXT:
            return
        number, before = number + 1, due


def scheduled(stay: Stay, start: date, after: date) -> date:
    """The first scheduled day of review after a date."""
    shift = stay.site.windows.continued_stay_first_day - CONTINUED_STAY_DAYS[0]
    for day in CONTINUED_STAY_DAYS:
        due = start + timedelta(days=day + shift - 1)
        if due > after:
            return due
    last = start + timedelta(days=CONTINUED_STAY_DAYS[-1] + shift - 1)
    return last + timedelta(days=7 * ((after - last).days // 7 + 1))


def level_now(stay: Stay, span: StatusSpan) -> Level | None:
    """What is asked for now: by the last order of a level or transfer to another, else by the unit."""
    since, level = span.levels[-1] if span.levels else (instant(span.start), span.level)
    for asked in stay.asked:
        if asked.type is ReviewType.CONTINUED_STAY and instant(asked.at) >= since:
            level = asked.level
    is_by_unit = level is None and span.status is Status.INPATIENT and (stay.unit_level or 0) >= Level.ACUTE
    return stay.unit_level if is_by_unit else level


def is_unordered(stay: Stay, span: StatusSpan | None) -> bool:
    """Whoever pays, where the order was cancelled, or none was seen though the site has codes for one: a
    patient is admitted on the recommendation of a practitioner (42 CFR 482.12(c)(2)). For Medicare also where
    it has none (42 CFR 412.3(a))."""
    is_unseen = span is not None and span.evidence == "ADT"
    is_due = stay.payer_class in MEDICARE or any(
        each.status == Status.INPATIENT for each in stay.site.status_orders.values()
    )
    return (is_unseen and is_due) or is_order_gone(stay, span)


def is_order_gone(stay: Stay, span: StatusSpan | None) -> bool:
    """Whether the order behind the status in force was cancelled after registration had acted on it."""
    is_last = span is None or not stay.spans or span is stay.spans[-1]
    return is_last and STATUS_ORDER_CANCELLED in stay.exceptions

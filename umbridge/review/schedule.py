"""When continued stays and observation are looked at again: the days and hours, as a function of the stay."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import date, timedelta

from umbridge.model import Lifecycle
from umbridge.stay.clock import instant, local_date
from umbridge.stay.view import StatusSpan, Stay

#: Continued-stay reviews fall due on these days, then every 7 (VistA Claims Tracking, file 356.1); the
#: whole row moves with the site's first day. Every 7 is also the longest that 42 CFR 482.30(e)(1) allows
#: between reviews of an extended stay.
CONTINUED_STAY_DAYS = (3, 6, 9, 14, 21, 28)
#: Whether to admit or send home is usually clear within 24 hours and seldom takes more than 48 (Medicare
#: Benefit Policy Manual ch. 6 s. 20.6): hours of observation at which it is looked at, then every 24.
OBSERVATION_HOURS = (8, 24, 36, 48)
OBSERVATION_AGAIN = 24


def observation_hours(number: int) -> int:
    """After so many hours the look of that number is due, from 0."""
    extra = number - len(OBSERVATION_HOURS) + 1
    return OBSERVATION_HOURS[min(number, len(OBSERVATION_HOURS) - 1)] + OBSERVATION_AGAIN * max(extra, 0)


def continued_dates(
    stay: Stay, span: StatusSpan, is_done: Callable[[int], bool]
) -> Iterator[tuple[int, date, bool]]:
    """(number, due, whether it is completed) of the completed reviews, by the schedule, and of the next one.

    The next is due on a scheduled day, or on the day of return from a leave, when care is looked at again.
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
        is_next = not is_done(number)
        if is_next:
            back = max((each for each in returns if each > before and each >= first), default=None)
            due = due if back is None else back
            if left is not None and due >= left:
                return
        yield number, due, not is_next
        if is_next:
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

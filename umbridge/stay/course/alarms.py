"""Exceptions that a clock or a payer raises: each code with the moment from which it stands.

A person closes them. None decides anything about care, and a later message may take their ground away.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, timedelta
from typing import NamedTuple

from umbridge.model import Certification
from umbridge.stay.clock import HOUR, end_of_day, local_date, start_of_day
from umbridge.stay.course.clocks import Ground
from umbridge.stay.course.state import REVIEW_OF
from umbridge.values.kinds import Status

APPROVED, DENIED = "AP", "DE"  # IN3-11.1, HL7 table 0149
_REQUIRED, _NOT_REQUIRED = "Y", "N"  # IN3-4, table 0136
_WAITING = (Status.ED, Status.OUTPATIENT, Status.OBSERVATION)
_SECOND = 2
_DAY = timedelta(days=1)


class Alarm(NamedTuple):
    """An exception and the first instant at which it stands; one to come is a deadline of the stay."""

    code: str
    since: int


def alarms(ground: Ground) -> Iterator[Alarm]:
    """Those that stand at ``ground.now``, and those that will if nothing is said."""
    yield from _orders(ground)
    yield from _second_midnight(ground)
    yield from _payer(ground)


def _orders(ground: Ground) -> Iterator[Alarm]:
    """An inpatient status and its order should meet within the site's hours (42 CFR 412.3(a)).

    A newborn has no order of its own: the birth is the admission. Where registration says otherwise after it
    had said the same, which of the two is true nobody here knows.
    """
    grace = ground.windows.order_to_adt_hours * HOUR + 1
    for span in ground.spans:
        if span.status != Status.INPATIENT:
            continue
        late = span.start + grace
        if span.evidence == "ADT" and not ground.is_newborn and (span.end is None or span.end >= late):
            yield Alarm("INPATIENT_ORDER_MISSING", late)
    last = ground.spans[-1] if ground.spans else None
    if last is None or last.status == Status.PREADMIT:
        if ground.has_come:
            yield Alarm("STATUS_UNKNOWN", ground.now)
        if ground.is_unseen:
            yield Alarm("STATUS_CONTRADICTED", ground.now)
        return
    if last.evidence == "ADT":
        if ground.is_unsaid:
            yield Alarm("STATUS_UNKNOWN", ground.now)
        if ground.is_in_doubt:
            yield Alarm("STATUS_CONTRADICTED", ground.now)
    late = last.start + grace
    if last.status not in REVIEW_OF:
        if ground.registered in REVIEW_OF:  # what admitted the patient never came, or an order says another
            yield Alarm("STATUS_CONTRADICTED", ground.now if last.evidence == "ADT" else late)
        return
    is_leaving = last.status == Status.OBSERVATION and ground.pending is not None
    if ground.is_unordered and not is_leaving:  # observation that ends with the stay has ended as it should
        yield Alarm("STATUS_ORDER_CANCELLED", ground.now)
    if ground.registered == last.status:
        return
    if ground.has_followed:
        if ground.registered is not None:
            yield Alarm("STATUS_CONTRADICTED", ground.now)
    elif last.evidence != "ADT" and (last.end is None or last.end >= late):
        if last.status == Status.INPATIENT:
            yield Alarm("ADT_LAG", late)
        elif ground.registered == Status.INPATIENT:
            yield Alarm("STATUS_CONTRADICTED", late)


def _second_midnight(ground: Ground) -> Iterator[Alarm]:
    """Medicare care that passes a second midnight outpatient: the expectation of 42 CFR 412.3(d)(1) is then
    met by time alone, and no inpatient order stands. Somebody should look before that midnight.

    Where nobody says when care began it is when the patient came: too early, and so not too late. A clinic
    visit that nobody closes is no such care: an outpatient counts who lies in a unit of the site's.
    """
    if not ground.has_medicare or ground.status not in _WAITING:
        return
    if ground.status is Status.OUTPATIENT and not ground.is_in_unit:
        return
    came = next(span.start for span in ground.spans if span.status != Status.PREADMIT)
    start = came if ground.care_start is None else ground.care_start
    second = start_of_day(local_date(start, ground.zone) + _SECOND * _DAY, ground.zone)
    if ground.now < second:
        yield Alarm("SECOND_MIDNIGHT_NEAR", second - ground.windows.second_midnight_alarm_hours * HOUR)
    yield Alarm("SECOND_MIDNIGHT_PASSED", second)


def _payer(ground: Ground) -> Iterator[Alarm]:
    """What payers said of the stay (IN3), at any time: a denial at once, a day without approval from that
    day on."""
    if any(each.non_concurrence or each.days_kind == DENIED for each in ground.certifications):
        yield Alarm("PAYER_NON_CONCURRENCE", ground.now)
    if any(_is_needed(each) for each in ground.certifications):
        day = _uncovered(ground)
        if day is not None:
            yield Alarm("AUTHORIZATION_GAP", start_of_day(day, ground.zone))


def _is_needed(each: Certification) -> bool:
    """IN3-4 says so, or there is a certification and IN3-4 does not say that none is needed."""
    return each.required == _REQUIRED or (each.required != _NOT_REQUIRED and bool(each.number))


def _uncovered(ground: Ground) -> date | None:
    """The first inpatient day that no approval covers: of those that have come, else the next to come.

    A day counts where the patient is in the house at the midnight that ends it, as Medicare and payers count
    days: neither the day of discharge nor that on which a leave begins, but a stay of one day is that day.
    """
    approved = list(_approved(ground))
    for span in ground.spans:
        if span.status != Status.INPATIENT:
            continue
        first = day = local_date(span.start, ground.zone)
        ends = date.max if span.end is None else local_date(span.end, ground.zone)
        while day < ends or day == first:
            until = max((end for begin, end in approved if begin <= day <= end), default=None)
            if until == date.max:
                break
            back = _back(ground, day) if until is None else until + _DAY
            if back is None:
                return day
            day = back
    return None


def _approved(ground: Ground) -> Iterator[tuple[date, date]]:
    """From which day to which: IN3-9 and IN3-10, else IN3-9 and the days of IN3-11.2; without an end, on."""
    for each in ground.certifications:
        if each.days_kind != APPROVED:
            continue
        begin = date.min if each.begin is None else each.begin.astimezone(ground.zone).date()
        if each.end is not None:
            yield begin, each.end.astimezone(ground.zone).date()
        elif each.days and each.begin is not None:
            yield begin, begin + (each.days - 1) * _DAY
        else:
            yield begin, date.max


def _back(ground: Ground, day: date) -> date | None:
    """The day of return from a leave over the midnight that ends ``day``; None where the patient was here."""
    last = end_of_day(day, ground.zone)
    for each in ground.leaves:
        if each.out <= last and (each.back is None or each.back > last):
            return date.max if each.back is None else local_date(each.back, ground.zone)
    return None

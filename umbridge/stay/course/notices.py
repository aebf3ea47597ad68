"""Notices that a Medicare patient is owed: each with its latest time, due while there is time, then missed.

A pure function of the course: what is missed is found again each time, so it stays missed until the ground
is taken back or a delivery in time is recorded.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import NamedTuple

from umbridge.settings.parts import Windows
from umbridge.stay.clock import HOUR, end_of_day, local_date, moment, start_of_day
from umbridge.stay.course.clocks import Ground
from umbridge.stay.course.state import Span
from umbridge.values.kinds import Status

#: 42 CFR 405.1205(c), 422.620(c): the follow-up copy is given at most two calendar days before the
#: discharge, and is not needed where the first notice was. The four hours to think it over are unsigned:
#: the manual that is said to ask for them (ch. 30 s. 200.3) was not seen.
FOLLOW_UP_DAYS = 2
FOLLOW_UP_HOURS = 4
#: The first copy of a planned admission may be given before it, at most so many days. Unsigned: neither the
#: paragraph of 42 CFR 405.1205(b) nor the manual that is said to have the days was seen.
IMM_BEFORE_DAYS = 7
MOON, IMM, IMM_FOLLOWUP = "MOON", "IMM", "IMM_FOLLOWUP"


@dataclass(frozen=True, slots=True)
class Notice:
    """A notice the patient is owed, and the latest time to give it."""

    type: str
    due: datetime


class Given(NamedTuple):
    """A delivery that a person recorded."""

    type: str
    at: int


class Obligation(NamedTuple):
    """A notice owed from ``since`` on. ``earliest``: a delivery before that is of another one.

    ``closed``: when it could no longer be given, as the patient had left or what it is about was over.
    """

    type: str
    earliest: int
    since: int
    due: int
    closed: int | None = None


class Notices(NamedTuple):
    """``turns``: the moments still to come at which one becomes due or missed though nothing is said."""

    due: tuple[Notice, ...]
    missed: tuple[Notice, ...]
    turns: tuple[int, ...]


def notices(ground: Ground, given: Sequence[Given] = ()) -> Notices:
    """What a patient with any Medicare cover is owed at ``ground.now``."""
    due: list[Notice] = []
    missed: list[Notice] = []
    turns: list[int] = []
    for each in _owed(ground, given) if ground.has_medicare else ():
        if any(one.type == each.type and each.earliest <= one.at <= _last(each) for one in given):
            continue
        shown = Notice(each.type, moment(each.due, ground.zone))
        if each.since > ground.now:
            turns.append(each.since)
        elif ground.now > each.due or (each.closed is not None and ground.now >= each.closed):
            missed.append(shown)
        else:
            due.append(shown)
            turns.append(each.due + 1)
    return Notices(tuple(due), tuple(missed), tuple(turns))


def _last(owed: Obligation) -> int:
    return owed.due if owed.closed is None else min(owed.due, owed.closed)


def _owed(ground: Ground, given: Sequence[Given]) -> Iterator[Obligation]:
    for place, span in enumerate(ground.spans):
        if span.status == Status.OBSERVATION:
            yield from _observed(span, ground.windows)
        elif span.status == Status.INPATIENT:
            left = _left(ground, place)
            yield from _admitted(ground, span, left)
            if left is not None:
                yield from _gone(ground, span, left, given, is_last=place == len(ground.spans) - 1)
            elif span.end is None:
                yield from _leaving(ground, span, given)


def _left(ground: Ground, place: int) -> int | None:
    """When the patient left the house at the end of a span; None where another status followed, or none yet.

    A stay may be opened again by an admission: then time passes between two of its spans.
    """
    span, rest = ground.spans[place], ground.spans[place + 1 :]
    if not rest:
        return ground.left
    return span.end if span.end is not None and span.end < rest[0].start else None


def _observed(span: Span, windows: Windows) -> Iterator[Obligation]:
    """42 CFR 489.20(y): observation of more than 24 hours; within 36 hours of its start, or by the transfer,
    discharge or admission that ends it sooner."""
    more = span.start + windows.moon_after_hours * HOUR + 1
    latest = span.start + windows.moon_due_hours * HOUR
    if span.end is None:
        yield Obligation(MOON, span.start, more, latest)
    elif span.end >= more:
        yield Obligation(MOON, span.start, more, min(latest, span.end), span.end)


def _admitted(ground: Ground, span: Span, left: int | None) -> Iterator[Obligation]:
    """42 CFR 405.1205(b), 422.620(b): within two calendar days of the admission. Who is made an outpatient
    before that is owed none; who leaves before that should have had it."""
    day = local_date(span.start, ground.zone) + timedelta(days=ground.windows.imm_due_days)
    due, earliest = end_of_day(day, ground.zone), span.start - IMM_BEFORE_DAYS * 24 * HOUR
    if left is not None or span.end is None or span.end > due:
        yield Obligation(IMM, earliest, span.start, due, left)


def _is_far(day: date, ground: Ground, span: Span, given: Sequence[Given]) -> bool:
    """Whether the first notice was given, or should have been, too long before that day to do for it."""
    earliest = span.start - IMM_BEFORE_DAYS * 24 * HOUR
    first = min((one.at for one in given if one.type == IMM and one.at >= earliest), default=span.start)
    return (day - local_date(first, ground.zone)).days > FOLLOW_UP_DAYS


def _gone(
    ground: Ground, span: Span, left: int, given: Sequence[Given], *, is_last: bool
) -> Iterator[Obligation]:
    """The follow-up copy of a patient who has left: owed whether or not the discharge was announced."""
    if is_last and ground.has_died:
        return
    if _is_far(local_date(left, ground.zone), ground, span, given):
        expected = ground.expected if is_last and ground.expected is not None else left
        yield Obligation(IMM_FOLLOWUP, span.start, span.start, _before(min(expected, left)), left)


def _leaving(ground: Ground, span: Span, given: Sequence[Given]) -> Iterator[Obligation]:
    """The follow-up copy while a discharge is pending, or expected within two days."""
    zone, expected, since = ground.zone, ground.expected, ground.pending
    if expected is not None:
        soon = start_of_day(local_date(expected, zone) - timedelta(days=FOLLOW_UP_DAYS), zone)
        since = soon if since is None else min(soon, since)
    if ground.pending is not None and (
        expected is None or local_date(expected, zone) < local_date(ground.pending, zone)
    ):  # a pending discharge whose time nobody has told is one of that day
        expected = end_of_day(local_date(ground.pending, zone), zone)
    if expected is None or since is None:
        return
    if _is_far(local_date(expected, zone), ground, span, given):
        yield Obligation(IMM_FOLLOWUP, span.start, max(since, span.start), _before(expected))


def _before(at: int) -> int:
    return at - FOLLOW_UP_HOURS * HOUR

"""Which reviews a stay has, in which state and by when: a pure function of the stay.

Nothing is remembered between two calls: a late event plans reviews anew. What a cancelled event had opened
is void rather than gone, and so is a review already spoken of (``known``) whose ground has moved away.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import replace
from datetime import date, datetime
from itertools import count
from typing import Any

from umbridge.review import schedule
from umbridge.review.moment import Judged, is_first_look, judged_first, judged_now
from umbridge.review.review import Review
from umbridge.review.schedule import Turn, continued_dates, level_now, observation_hours
from umbridge.stay.clock import HOUR, end_of_day, instant, local_date, midnights, moment, start_of_day
from umbridge.stay.course.state import DEFAULT_LEVEL, REVIEW_OF, Origin
from umbridge.stay.payers import MEDICARE
from umbridge.stay.readings.payment import UNFORESEEN
from umbridge.stay.stay import AskedReview, StatusSpan, Stay
from umbridge.stay.together import ELSEWHERE
from umbridge.values.frozen import dataclass
from umbridge.values.kinds import Level, Lifecycle, ReviewState, ReviewType, Status

#: Days to decide on care asked for beforehand: 7 for Medicare Advantage and Medicaid (42 CFR 422.568(b)(1),
#: 438.210(d)(1), from 2026), 15 for others (29 CFR 2560.503-1(f)(2)(iii)(A)). Urgent: 72 hours for all.
PROSPECTIVE_DAYS = {"MEDICARE_ADVANTAGE": 7, "MEDICAID": 7}
PROSPECTIVE_DAYS_OTHERS = 15
URGENT_HOURS = 72
#: A short stay is looked at afterwards unless what nobody foresaw cut it short (42 CFR 412.3(d)(1)(ii)).
SHORT_STAY_MIDNIGHTS = 2

COMPLETED = "COMPLETED"  # the reason of a review that its answers have closed
NO_ADMISSION = "NO_COMPLETED_ADMISSION_REVIEW"  # why a stay is looked at in the place of its admission
_HERE = (Lifecycle.ACTIVE, Lifecycle.ON_LEAVE)


@dataclass(frozen=True, slots=True)
class _Opening:
    type: ReviewType
    origin: Origin
    opened_at: datetime
    due: datetime | None = None
    span: StatusSpan | None = None
    level: Level | None = None
    number: int = 0  # in a row of the same kind; 0 where there is no row
    reason: str = ""
    ended: str = ""  # why it closed, "" while it stands
    is_void: bool = False

    @property
    def id(self) -> str:
        row, part = self.origin
        name = f"{self.type.value}-{row}" + (f".{part}" if part > 1 else "")
        return f"{name}-{self.number}" if self.number else name


def reviews(
    stay: Stay, completed: frozenset[str] = frozenset(), known: Iterable[str] = ()
) -> tuple[Review, ...]:
    """All reviews of the stay, in the order of opening.

    ``completed``: ids that were decided. ``known``: ids that were spoken of before; those that the stay no
    longer has come back void, so that none stays open without ground.
    """
    planned: dict[str, Review] = {}
    for opening in sorted(_openings(stay, completed), key=lambda each: (each.is_void, bool(each.ended))):
        review = _review(stay, opening, completed, planned)
        planned[review.id] = review
    for opening in _retrospective(stay, planned):
        review = _review(stay, opening, completed, planned)
        planned[review.id] = review
    for name in known:
        if name not in planned:
            lost = _lost(stay, name)
            if lost is not None:
                planned[name] = lost
    return tuple(sorted(planned.values(), key=lambda review: (review.opened_at.timestamp(), review.id)))


def open_reviews(stay: Stay, completed: frozenset[str] = frozenset()) -> tuple[Review, ...]:
    return tuple(review for review in reviews(stay, completed) if review.state is ReviewState.OPEN)


def stay_json(stay: Stay, completed: frozenset[str] = frozenset()) -> dict[str, Any]:
    """The stay with its reviews by state: one line of ``stays show --json``."""
    listed = ((review.type, review.state) for review in reviews(stay, completed))
    return stay.to_json(listed, next_continued_stay(stay, completed))


def next_continued_stay(stay: Stay, completed: frozenset[str] = frozenset()) -> date | None:
    """The local date of the next continued-stay review; None unless the patient is here as an inpatient."""
    span = _inpatient(stay)
    if span is None or span.end is not None or stay.lifecycle is not Lifecycle.ACTIVE:
        return None
    dates = _continued_dates(stay, span, completed)
    return next((due for _, due, turn in dates if turn is Turn.NEXT), None)


def next_deadline(stay: Stay, completed: frozenset[str] = frozenset()) -> datetime | None:
    """The next moment, in silence: a review opens or is judged for good, an alarm or a notice is due."""
    found = [] if stay.next_turn is None else [stay.next_turn]
    span = stay.spans[-1] if stay.spans else None
    kind = None if span is None or span.end is not None else REVIEW_OF.get(span.status.value)
    if kind is not None and span is not None and stay.lifecycle in _HERE:
        final = judged_first(stay, kind, span).moment
        found += [] if final is None else [moment(final, stay.site.zone)]
    if span is not None and span.end is None and span.status is Status.OBSERVATION:
        number = 0
        while _looked(span, number).id in completed:
            number += 1
        if number:
            found.append(_later(stay, span.start, observation_hours(number)))
    day = next_continued_stay(stay, completed)
    if day is not None:
        found.append(moment(start_of_day(day, stay.site.zone), stay.site.zone))
    return min((at for at in found if instant(at) > instant(stay.as_of)), key=instant, default=None)


# -- what opens a review ---------------------------------------------------------------------------------


def _openings(stay: Stay, completed: frozenset[str]) -> Iterator[_Opening]:
    for voided, at, origin in stay.voided:
        yield _Opening(voided, origin, at, ended="EVENT_CANCELLED", is_void=True)
    for span in stay.spans:
        kind = REVIEW_OF.get(span.status.value)
        if kind is ReviewType.ADMISSION:
            due = _later(stay, span.start, stay.site.windows.admission_review_hours)
            yield _Opening(kind, span.origin, span.start, due, span, span.level, ended=_ended(stay, span))
        elif kind is ReviewType.OBSERVATION:
            yield from _observed(stay, span, completed)
    for asked in stay.asked:
        yield from _asked(stay, asked, completed)
    yield from _continued(stay, completed)


def _ended(stay: Stay, span: StatusSpan) -> str:
    """Why a review that hangs on a status is over; "" while the status lasts."""
    if stay.lifecycle is Lifecycle.DISCHARGED:
        return "STATUS_CHANGED" if span is not stay.spans[-1] else "INCOMPLETE_AT_DISCHARGE"
    return "" if span.end is None else "STATUS_CHANGED"


def _observed(stay: Stay, span: StatusSpan, completed: frozenset[str]) -> Iterator[_Opening]:
    """The first look from the start on; each later one at its hour, once the one before is completed."""
    until = stay.as_of if span.end is None else min(stay.as_of, span.end, key=instant)
    number = 0
    while True:
        due = _later(stay, span.start, observation_hours(number))
        opened = due if number else span.start
        if number and instant(due) > instant(until):
            return
        opening = replace(
            _looked(span, number), opened_at=opened, due=due, level=span.level, ended=_ended(stay, span)
        )
        yield opening
        if opening.id not in completed:
            return
        number += 1


def _looked(span: StatusSpan, number: int) -> _Opening:
    """The look of that number, from 0, at a span of observation."""
    kind, place = ReviewType.OBSERVATION, number + 1 if number else 0
    return _Opening(kind, span.origin, span.start, span=span, number=place)


def _asked(stay: Stay, asked: AskedReview, completed: frozenset[str]) -> Iterator[_Opening]:
    """Planned care, a transfer to another level, a discharge that is coming."""
    last = stay.spans[-1] if stay.spans else None
    ended = asked.ended or ("INCOMPLETE_AT_DISCHARGE" if stay.lifecycle is Lifecycle.DISCHARGED else "")
    if asked.type is ReviewType.PROSPECTIVE:
        yield _Opening(
            asked.type,
            asked.origin,
            asked.at,
            _prospective_due(stay, asked),
            reason="URGENT" if asked.by == "A14" else "PLANNED",
            ended=ended,
        )
    elif asked.type is ReviewType.CONTINUED_STAY:
        yield _Opening(
            asked.type,
            asked.origin,
            asked.at,
            moment(end_of_day(_transfer_due(stay, asked, completed), stay.site.zone), stay.site.zone),
            last,
            None if last is None else level_now(stay, last),
            reason="TRANSFERRED",
            ended=ended,
        )
    elif last is not None and last.status.value in REVIEW_OF:
        expected = stay.expected_discharge
        due = expected if expected is not None and instant(expected) > instant(asked.at) else None
        yield _Opening(asked.type, asked.origin, asked.at, due, last, level_now(stay, last), ended=ended)


def _prospective_due(stay: Stay, asked: AskedReview) -> datetime:
    """By the payer's clock, and before the patient is to come."""
    days = PROSPECTIVE_DAYS.get(stay.payer_class, PROSPECTIVE_DAYS_OTHERS)
    due = _later(stay, asked.at, URGENT_HOURS if asked.by == "A14" else days * 24)
    coming = stay.expected_admission
    return coming if coming is not None and instant(asked.at) < instant(coming) < instant(due) else due


def _continued(stay: Stay, completed: frozenset[str]) -> Iterator[_Opening]:
    """Each opens on its due day once the one before it is completed; a leave puts it off.

    One is open at a time: a transfer's takes the place of one that was due, and the next waits for it.
    """
    span = _inpatient(stay)
    if span is None or stay.lifecycle is Lifecycle.CANCELLED:
        return
    ended = "INCOMPLETE_AT_DISCHARGE" if stay.lifecycle is Lifecycle.DISCHARGED else ""
    until = stay.discharged_at if ended and stay.discharged_at is not None else stay.as_of
    first = local_date(instant(span.start), stay.site.zone)
    moved = _transfer(stay)
    is_asked = moved is not None and _Opening(moved.type, moved.origin, moved.at).id not in completed
    for number, due, turn in _continued_dates(stay, span, completed):
        if due > local_date(instant(until), stay.site.zone) or (is_asked and turn is Turn.NEXT):
            return
        is_extended = (due - first).days + 1 >= stay.site.windows.extended_stay_day
        yield _Opening(
            ReviewType.CONTINUED_STAY,
            span.origin,
            moment(start_of_day(due, stay.site.zone), stay.site.zone),
            moment(end_of_day(due, stay.site.zone), stay.site.zone),
            span,
            level_now(stay, span),
            number,
            "EXTENDED_STAY" if is_extended else "DUE_DAY",
            "TRANSFERRED" if turn is Turn.REPLACED else ended,
        )


def _continued_dates(
    stay: Stay, span: StatusSpan, completed: frozenset[str]
) -> Iterator[tuple[int, date, Turn]]:
    def is_done(number: int) -> bool:
        return _Opening(ReviewType.CONTINUED_STAY, span.origin, span.start, number=number).id in completed

    moved = _transfer(stay)
    return continued_dates(stay, span, is_done, None if moved is None else instant(moved.at))


def _transfer_due(stay: Stay, asked: AskedReview, completed: frozenset[str]) -> date:
    """On the day of the transfer, or on that of the review in whose place it comes: it is no less overdue."""
    day, span = asked.at.date(), _inpatient(stay)
    if span is None or asked != _transfer(stay):
        return day
    dates = _continued_dates(stay, span, completed)
    return min((due for _, due, turn in dates if turn is Turn.REPLACED), default=day)


def _transfer(stay: Stay) -> AskedReview | None:
    """The transfer whose review stands: each ends the one before."""
    asked = (each for each in reversed(stay.asked) if each.type is ReviewType.CONTINUED_STAY)
    return next((each for each in asked if not each.ended), None)


def _retrospective(stay: Stay, planned: Mapping[str, Review]) -> Iterator[_Opening]:
    """A stay that ended inpatient is looked at afterwards where its admission was not, and by policy."""
    span = _inpatient(stay)
    if span is None or stay.lifecycle is not Lifecycle.DISCHARGED or stay.discharged_at is None:
        return
    admission = planned.get(_Opening(ReviewType.ADMISSION, span.origin, span.start).id)
    if admission is None or admission.reason != COMPLETED:
        reason = NO_ADMISSION
    elif _is_short(stay, span, stay.discharged_at):
        reason = "SHORT_STAY"
    elif any(each.non_concurrence for each in stay.certifications):
        reason = "PAYER_NON_CONCURRENCE"
    else:
        return
    origin = span.origin if stay.discharge_origin is None else stay.discharge_origin
    yield _Opening(
        ReviewType.RETROSPECTIVE, origin, stay.discharged_at, span=span, level=span.level, reason=reason
    )


def _is_short(stay: Stay, span: StatusSpan, out: datetime) -> bool:
    """Medicare, fewer than two midnights of hospital care (42 CFR 412.3(d)(1)), as ``two_midnight`` counts.

    Where nothing shows when it began, from the admission: the time before it may have been waiting."""
    if stay.payer_class not in MEDICARE or stay.disposition in UNFORESEEN:
        return False
    began = span.start if stay.care_seen is None else stay.care_seen
    return midnights(instant(began), instant(out), stay.site.zone) < SHORT_STAY_MIDNIGHTS


def _inpatient(stay: Stay) -> StatusSpan | None:
    """The inpatient span in force, or the one the stay ended in."""
    last = stay.spans[-1] if stay.spans else None
    return last if last is not None and last.status is Status.INPATIENT else None


def _later(stay: Stay, start: datetime, hours: int) -> datetime:
    """Elapsed time, not wall-clock time: 24 hours stay 24 hours when the clocks change."""
    return moment(instant(start) + hours * HOUR, stay.site.zone)


# -- an opening as a review ------------------------------------------------------------------------------


def _free(name: str, taken: Collection[str]) -> str:
    """The name, with a number where one row spoke for several reviews: one may be void by a cancel."""
    more = (f"{name}x{number}" for number in count(2))
    return name if name not in taken else next(each for each in more if each not in taken)


def _review(stay: Stay, opening: _Opening, completed: Collection[str], taken: Collection[str]) -> Review:
    state, reason, name = ReviewState.OPEN, opening.reason or _REASON[opening.type], _free(opening.id, taken)
    if opening.is_void:
        state, reason = ReviewState.VOID, opening.ended
    elif name in completed:
        state, reason = ReviewState.CLOSED, COMPLETED
    elif opening.ended:
        state, reason = ReviewState.CLOSED, opening.ended
    of_span = opening.span if opening.type is ReviewType.DISCHARGE else None
    status = of_span.status if of_span is not None else _REQUESTED.get(opening.type, Status.INPATIENT)
    judged, level = _judged(stay, opening), opening.level
    if judged.moment is not None and opening.span is not None:  # what was asked for then is the question
        level = opening.span.level_at(instant(judged.at))
    is_looked_at_after = judged.moment is not None and opening.ended == "INCOMPLETE_AT_DISCHARGE"
    return Review(
        id=name,
        type=opening.type,
        state=state,
        opened_at=opening.opened_at,
        due=opening.due,
        episode_day=_episode_day(stay, opening, judged),
        requested_status=status,
        requested_level=DEFAULT_LEVEL.get(status.value, Level.HOME) if level is None else level,
        reason=reason,
        judged=judged,
        stands=not opening.is_void and (not opening.ended or is_looked_at_after),
        is_unordered=status is Status.INPATIENT and schedule.is_unordered(stay, opening.span),
        elsewhere=tuple(each for each in ELSEWHERE if each in stay.exceptions),
        is_order_gone=status.value in REVIEW_OF and schedule.is_order_gone(stay, opening.span),
    )


def _judged(stay: Stay, opening: _Opening) -> Judged:
    if opening.span is None or not is_first_look(opening.type, opening.number):
        return judged_now(stay, opening.type)
    return judged_first(stay, opening.type, opening.span)


def _lost(stay: Stay, name: str) -> Review | None:
    """A review that was spoken of and has no ground any more."""
    try:
        kind = ReviewType(name.partition("-")[0])
    except ValueError:
        return None
    status = _REQUESTED.get(kind, Status.INPATIENT)
    level = DEFAULT_LEVEL.get(status.value, Level.HOME)
    void = (name, kind, ReviewState.VOID, stay.as_of, None, 1, status, level, "GROUND_MOVED")
    return Review(*void, judged_now(stay, kind), stands=False)


_REASON = {
    ReviewType.PROSPECTIVE: "PLANNED",
    ReviewType.ADMISSION: "INPATIENT_BEGAN",
    ReviewType.OBSERVATION: "OBSERVATION_BEGAN",
    ReviewType.CONTINUED_STAY: "DUE_DAY",
    ReviewType.DISCHARGE: "DISCHARGE_EXPECTED",
    ReviewType.RETROSPECTIVE: NO_ADMISSION,
}
_REQUESTED = {ReviewType.OBSERVATION: Status.OBSERVATION}


def _episode_day(stay: Stay, opening: _Opening, judged: Judged) -> int:
    """Day 1 is the local date on which the span began; a retrospective review looks at day 1.

    A first look has the day that it is judged as of, whatever day it is now.
    """
    if opening.span is None or opening.type in (ReviewType.RETROSPECTIVE, ReviewType.PROSPECTIVE):
        return 1
    now = stay.as_of if judged.moment is None else judged.at
    until = now if opening.span.end is None else min(now, opening.span.end)
    return max(1, (until.date() - opening.span.start.date()).days + 1)

"""Which reviews a stay has, in which state and by when: a pure function of the stay.

Nothing is remembered between two calls. A late event that re-folds the stay re-plans its reviews too, and
what a cancelled event had opened is void rather than gone.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

from umbridge.model import Level, Lifecycle, ReviewState, ReviewType, Status
from umbridge.review.waves import settled
from umbridge.stay.clock import end_of_day, moment, start_of_day
from umbridge.stay.course import DEFAULT_LEVEL, REVIEW_OF
from umbridge.stay.view import StatusSpan, Stay

#: Continued-stay reviews fall due on these days, then every 7 (VistA Claims Tracking, file 356.1); the
#: whole row moves with the site's first day.
CONTINUED_STAY_DAYS = (3, 6, 9, 14, 21, 28)
#: Whether to admit or send home is usually clear within a day (Medicare Benefit Policy Manual ch. 6 s. 20.6).
OBSERVATION_REVIEW = timedelta(hours=24)


@dataclass(frozen=True, slots=True)
class Review:
    """One question about the stay. ``id`` counts within the type, by opening; ``reason`` is a code.

    A review is open until the stay closes or changes it, or its id is among the completed ones.
    """

    id: str
    type: ReviewType
    state: ReviewState
    opened_at: datetime
    due: datetime | None
    episode_day: int
    requested_status: Status
    requested_level: Level
    reason: str


@dataclass(frozen=True, slots=True)
class _Opening:
    type: ReviewType
    opened_at: datetime
    due: datetime | None
    span: StatusSpan | None
    ended: str = ""  # why it closed, "" while it stands
    is_void: bool = False


def completed(latest: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> frozenset[str]:
    """Reviews that may close by themselves, from review id -> plugin -> its answer in force."""
    return frozenset(review for review, by_plugin in latest.items() if settled(by_plugin.values()))


def reviews(stay: Stay, completed: frozenset[str] = frozenset()) -> tuple[Review, ...]:
    """All reviews of the stay, in the order of opening. ``completed``: ids that were decided."""
    openings = [_Opening(kind, at, None, None, "EVENT_CANCELLED", True) for kind, at in stay.voided]
    openings += [opening for span in stay.spans for opening in _of_span(stay, span)]
    planned = _number(stay, openings, completed)
    planned += _continued(stay, completed)
    planned += _retrospective(stay, planned, completed)
    return tuple(sorted(planned, key=lambda review: (review.opened_at.timestamp(), review.id)))


def open_reviews(stay: Stay, completed: frozenset[str] = frozenset()) -> tuple[Review, ...]:
    return tuple(review for review in reviews(stay, completed) if review.state is ReviewState.OPEN)


def stay_json(stay: Stay, completed: frozenset[str] = frozenset()) -> dict[str, Any]:
    """The stay with its reviews by state: one line of ``stays show --json``."""
    return stay.to_json((review.type, review.state) for review in reviews(stay, completed))


def _of_span(stay: Stay, span: StatusSpan) -> Iterable[_Opening]:
    """Inpatient, observation and planned spans open one review each; a change of status closes it."""
    kind = REVIEW_OF.get(span.status.value)
    if kind is None:
        return
    windows = stay.site.windows
    due: datetime | None = None
    if kind is ReviewType.ADMISSION:
        due = _later(stay, span.start, timedelta(hours=windows.admission_review_hours))
    elif kind is ReviewType.OBSERVATION:
        due = _later(stay, span.start, OBSERVATION_REVIEW)
    ended = ""
    if stay.lifecycle is Lifecycle.DISCHARGED:
        ended = "STATUS_CHANGED" if span is not stay.spans[-1] else "INCOMPLETE_AT_DISCHARGE"
    elif span.end is not None:
        ended = "STATUS_CHANGED"
    yield _Opening(kind, span.start, due, span, ended)


def _later(stay: Stay, start: datetime, delay: timedelta) -> datetime:
    """Elapsed time, not wall-clock time: 24 hours stay 24 hours when the clocks change."""
    return datetime.fromtimestamp(start.timestamp() + delay.total_seconds(), stay.site.zone)


def _number(stay: Stay, openings: list[_Opening], completed: frozenset[str]) -> list[Review]:
    count: Counter[ReviewType] = Counter()
    made: list[Review] = []
    for opening in sorted(openings, key=lambda each: (each.opened_at.timestamp(), not each.is_void)):
        count[opening.type] += 1
        name = f"{opening.type.value}-{count[opening.type]}"
        made.append(_review(stay, name, opening, completed))
    return made


def _review(stay: Stay, name: str, opening: _Opening, completed: frozenset[str]) -> Review:
    state, reason = ReviewState.OPEN, _REASON[opening.type]
    if opening.is_void:
        state, reason = ReviewState.VOID, opening.ended
    elif name in completed:
        state, reason = ReviewState.CLOSED, "COMPLETED"
    elif opening.ended:
        state, reason = ReviewState.CLOSED, opening.ended
    status = _REQUESTED[opening.type]
    level = None if opening.span is None else opening.span.level
    return Review(
        id=name,
        type=opening.type,
        state=state,
        opened_at=opening.opened_at,
        due=opening.due,
        episode_day=_episode_day(stay, opening),
        requested_status=status,
        requested_level=DEFAULT_LEVEL.get(status.value, Level.HOME) if level is None else level,
        reason=reason,
    )


_REASON = {
    ReviewType.PROSPECTIVE: "PLANNED",
    ReviewType.ADMISSION: "INPATIENT_BEGAN",
    ReviewType.OBSERVATION: "OBSERVATION_BEGAN",
    ReviewType.CONTINUED_STAY: "DUE_DAY",
    ReviewType.RETROSPECTIVE: "NO_COMPLETED_ADMISSION_REVIEW",
}
_REQUESTED = {
    ReviewType.PROSPECTIVE: Status.INPATIENT,
    ReviewType.ADMISSION: Status.INPATIENT,
    ReviewType.OBSERVATION: Status.OBSERVATION,
    ReviewType.CONTINUED_STAY: Status.INPATIENT,
    ReviewType.RETROSPECTIVE: Status.INPATIENT,
}


def _episode_day(stay: Stay, opening: _Opening) -> int:
    """Day 1 is the local date on which the span began; a retrospective review looks at day 1."""
    if opening.span is None or opening.type in (ReviewType.RETROSPECTIVE, ReviewType.PROSPECTIVE):
        return 1
    until = stay.as_of if opening.span.end is None else min(stay.as_of, opening.span.end)
    return max(1, (until.date() - opening.span.start.date()).days + 1)


def _inpatient(stay: Stay) -> StatusSpan | None:
    """The inpatient span in force, or the one the stay ended in."""
    last = stay.spans[-1] if stay.spans else None
    return last if last is not None and last.status is Status.INPATIENT else None


def _continued(stay: Stay, completed: frozenset[str]) -> list[Review]:
    """Each opens on its due day once the one before it is completed; a leave puts it off."""
    span = _inpatient(stay)
    if span is None or stay.lifecycle is Lifecycle.CANCELLED:
        return []
    made: list[Review] = []
    ended = "INCOMPLETE_AT_DISCHARGE" if stay.lifecycle is Lifecycle.DISCHARGED else ""
    until = stay.discharged_at if ended and stay.discharged_at is not None else stay.as_of
    for number, due in enumerate(_due_dates(stay, span), 1):
        if due > until.date():
            break
        name = f"{ReviewType.CONTINUED_STAY.value}-{number}"
        opened = max(start_of_day(due, stay.site.zone), 0)
        opening = _Opening(
            ReviewType.CONTINUED_STAY,
            moment(opened, stay.site.zone),
            moment(end_of_day(due, stay.site.zone), stay.site.zone),
            span,
            ended,
        )
        made.append(_review(stay, name, opening, completed))
        if name not in completed:
            break
    return made


def _due_dates(stay: Stay, span: StatusSpan) -> Iterable[date]:
    first = stay.site.windows.continued_stay_first_day
    returns = [back.date() for _, back in stay.leaves if back is not None]
    number = 0
    while True:
        in_row = number < len(CONTINUED_STAY_DAYS)
        last = CONTINUED_STAY_DAYS[-1] + 7 * (number - len(CONTINUED_STAY_DAYS) + 1)
        day = (CONTINUED_STAY_DAYS[number] if in_row else last) + first - CONTINUED_STAY_DAYS[0]
        due = span.start.date() + timedelta(days=day - 1)
        if stay.lifecycle is Lifecycle.ON_LEAVE and due >= stay.leaves[-1][0].date():
            return
        yield max([due, *returns]) if number == 0 else due
        number += 1


def _retrospective(stay: Stay, planned: list[Review], completed: frozenset[str]) -> list[Review]:
    """A stay that ends inpatient without a completed admission review is looked at afterwards."""
    span = _inpatient(stay)
    if span is None or stay.lifecycle is not Lifecycle.DISCHARGED or stay.discharged_at is None:
        return []
    admission = [review for review in planned if review.type is ReviewType.ADMISSION]
    admission = [review for review in admission if review.state is not ReviewState.VOID]
    if not admission or admission[-1].reason == "COMPLETED":
        return []
    number = 1 + sum(review.type is ReviewType.RETROSPECTIVE for review in planned)
    opening = _Opening(ReviewType.RETROSPECTIVE, stay.discharged_at, None, span)
    return [_review(stay, f"{ReviewType.RETROSPECTIVE.value}-{number}", opening, completed)]

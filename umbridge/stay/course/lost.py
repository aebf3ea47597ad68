"""Which reviews lose their ground with the event that a cancel took back."""

from __future__ import annotations

from typing import NamedTuple

from umbridge.stay.course.state import REVIEW_OF, Course, Origin, Span
from umbridge.values.kinds import Lifecycle, ReviewType, Status


class _Ground(NamedTuple):
    """What a review rests on."""

    type: str
    at: int
    origin: Origin
    span: Span | None = None  # of a status; without it an event asked, or the patient left


def _grounds(course: Course) -> list[_Ground]:
    """What the reviews of a course rest on now."""
    found = [
        _Ground(REVIEW_OF[span.status].value, span.start, span.origin, span)
        for span in course.spans
        if span.status in REVIEW_OF
    ]
    found += [_Ground(each.type, each.at, each.origin) for each in course.asked if not each.ended]
    is_over = course.lifecycle == Lifecycle.DISCHARGED and bool(course.spans)
    origin, at = course.discharge_origin, course.discharged_at
    if is_over and course.spans[-1].status == Status.INPATIENT and origin is not None and at is not None:
        found.append(_Ground(ReviewType.RETROSPECTIVE.value, at, origin))
    return found


def _goes_on(lost: _Ground, left: _Ground) -> bool:
    """Whether a review rests on something that goes on without the cancelled event, from another moment on or
    under another name. By what it rests on, never by the name: a name is the order of receipt.
    """
    if lost.type != left.type or (lost.span is None) != (left.span is None):
        return False
    if (
        lost.span is None or left.span is None
    ):  # of a discharge and of each transfer; of the others one stands
        return lost.at == left.at or lost.type in (ReviewType.PROSPECTIVE, ReviewType.DISCHARGE)
    is_before = lost.span.end is not None and lost.span.end < left.span.start
    return not is_before and (left.span.end is None or lost.span.start <= left.span.end)


def void_lost(course: Course, beside: Course, trigger: str) -> None:
    """What only the cancelled event gave ground for is void; a discharge that was expected is no more."""
    left, asked = _grounds(course), {(each.type, each.at) for each in course.asked}  # also what has ended
    for lost in _grounds(beside):
        if any(_goes_on(lost, each) for each in left) or (lost.span is None and lost[:2] in asked):
            continue
        if beside.is_void(lost.type, lost.at):
            continue
        beside.void(lost.type, lost.at, lost.origin)  # other events wait for their cancels there
        if trigger == "A25" and lost.type == ReviewType.DISCHARGE:
            standing = (each for each in beside.asked if not each.ended and (each.type, each.at) == lost[:2])
            course.asked = [*course.asked, next(standing)._replace(ended="PENDING_DISCHARGE_CANCELLED")]
        else:
            course.void(lost.type, lost.at, lost.origin)

"""A row between its folding and its answers, and which reviews of its stay are put to plugins."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from umbridge.lanes.asking import Heard, Put
from umbridge.lanes.protocol import (
    Failed,
    Need,
    Reread,
    Task,
)
from umbridge.model import Case, Event
from umbridge.review.plan import COMPLETED
from umbridge.review.review import Review
from umbridge.stay.clock import instant
from umbridge.stay.fold import Stay, StayFold
from umbridge.values.frozen import dataclass
from umbridge.values.kinds import ReviewState


def to_screen(planned: Sequence[Review]) -> tuple[Review, ...]:
    """The reviews a message is put to: the open ones, and those that MEETS closed and nothing else has.

    A result that is corrected or withdrawn after MEETS must be seen: the screen is asked again and supersedes
    the earlier one (``closing`` says what comes of it), also after the discharge. Of reviews that ask what is
    so now, the newest of its kind asks it: what an earlier one came to was about another day.
    """
    planned = [each for each in planned if each.stands]
    newest = {each.type: each.id for each in planned}
    found = [each for each in planned if each.state is ReviewState.OPEN]
    found += [
        each
        for each in planned
        if each.reason == COMPLETED and (each.judged.moment is not None or newest[each.type] == each.id)
    ]
    return tuple(found)


def is_due(task: Task, review: Review) -> bool:
    """Whether a review is put to the plugins though nothing was said: it is new, or its moment has come."""
    judged = review.judged
    has_come = judged.moment is not None and judged.is_final and judged.moment > instant(task.said.as_of)
    return has_come or not task.said.review(review.id).answers


def is_closed_by_other_rules(task: Task, review: Review) -> bool:
    """Whether the ledger says of a review that it is closed, or void, and only the rules are others now."""
    is_over = task.said.review(review.id).state in (ReviewState.CLOSED, ReviewState.VOID)
    return is_over and isinstance(task.purpose, Reread)


def is_read_anew(task: Task, review: Review) -> bool:
    """Whether a review is put to the plugins because the rules of reading changed.

    A first look that is closed is, to tell a person where it no longer meets; what is said is not recorded.
    """
    is_first_look = review.judged.moment is not None and review.state is ReviewState.CLOSED
    return is_first_look or not is_closed_by_other_rules(task, review)


@dataclass(frozen=True, slots=True)
class Begun:
    """A row that is folded in and whose questions are ready."""

    task: Task
    event: Event
    fold: StayFold
    increments: list[tuple[int, bytes]]
    as_of: datetime
    stay: Stay
    planned: tuple[Review, ...]
    questions: list[tuple[Review, Case]]
    late: list[tuple[Review, Case]]  # asked beside them and recorded nowhere, where there are any: two
    unused: Mapping[str, int]
    differs: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Underway:
    """Rows whose questions, if they have any, are with the plugins."""

    begun: Sequence[Begun | Need | Failed]
    put: Put | None
    heard: Heard | None = None  # what the first wave has said

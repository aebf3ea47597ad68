"""Whether what was told after the discharge would have supported more care than was known to be needed.

Asked of the plugins, and recorded as no answer: both looks are as of the discharge, the one by what was told
by then, the other by everything that was collected by then. No review has them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from umbridge.model import Case, ScreenResult
from umbridge.review.moment import Judged
from umbridge.review.review import Review
from umbridge.review.schedule import level_now
from umbridge.stay.clock import instant
from umbridge.stay.course.state import DEFAULT_LEVEL, REVIEW_OF
from umbridge.stay.fold import StayFold
from umbridge.stay.readings.cut import Cut
from umbridge.stay.results.late import is_any_late
from umbridge.stay.stay import Stay
from umbridge.values.kinds import Level, Lifecycle, ReviewState

#: Care that a ward cannot give. Chosen for umbridge, unsigned.
CRITICAL_FROM = Level.INTERMEDIATE


def looks(fold: StayFold, stay: Stay) -> tuple[Review, ...]:
    """The look without what was told late, and the one with it; none where nothing was."""
    span = stay.spans[-1] if stay.spans else None
    kind = None if span is None else REVIEW_OF.get(span.status.value)
    if stay.lifecycle is not Lifecycle.DISCHARGED or stay.discharged_at is None:
        return ()
    if span is None or kind is None:
        return ()
    left = instant(stay.discharged_at)
    lists = (listed for fact in fold.sent if (listed := fold.results(fact)) is not None)
    if not is_any_late(lists, left, fold.is_patient):
        return ()
    level = level_now(stay, span)
    return tuple(
        Review(
            id="",
            type=kind,
            state=ReviewState.CLOSED,
            opened_at=stay.discharged_at,
            due=None,
            episode_day=1,
            requested_status=span.status,
            requested_level=DEFAULT_LEVEL[span.status.value] if level is None else level,
            reason="",
            judged=Judged(stay.discharged_at, Cut(kind, told_by)),
            stands=False,
        )
        for told_by in (left, max(left, instant(stay.as_of)))
    )


def of_one_illness(questions: list[tuple[Review, Case]]) -> list[tuple[Review, Case]]:
    """Both by the diagnoses of the first: that another was told later is no result."""
    return [(review, replace(whole, diagnoses=questions[0][1].diagnoses)) for review, whole in questions]


def is_critical(known: Mapping[str, ScreenResult], now: Mapping[str, ScreenResult]) -> bool:
    """Whether any plugin supports a level, by what was told late, that it did not support without."""
    return any(
        CRITICAL_FROM <= (said.supported or Level.HOME) > (known[name].supported or Level.HOME)
        for name, said in now.items()
        if name in known
    )

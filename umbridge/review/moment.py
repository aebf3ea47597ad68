"""The moment of a review: as of when it is judged, and by when what was so then must have been told.

The first look at a status (an admission, the first look at an observation, an admission looked at afterwards)
is judged as of one moment for ever, every other review as of now. docs/judgement.md has the reasons.
"""

from __future__ import annotations

from datetime import datetime

from umbridge.stay.clock import HOUR, instant, moment
from umbridge.stay.readings.cut import Cut
from umbridge.stay.stay import StatusSpan, Stay
from umbridge.values.frozen import dataclass
from umbridge.values.kinds import Lifecycle, ReviewType, Status

#: Observation for so long, and then inpatient care: what was severe at presentation was asked by the
#: observation review; the question now is what persists. Chosen for umbridge, unsigned.
PERSISTS_HOURS = 24


@dataclass(frozen=True, slots=True)
class Judged:
    """``at``: windows and ages count back from it, and nothing collected after it counts. ``cut``: what of
    the rest counts. ``is_final``: that moment has come; it is the same for ever. ``moment``: which it is,
    had the patient not left before; None of a review of what is so now.
    """

    at: datetime
    cut: Cut
    is_final: bool = False
    moment: int | None = None


def judged_now(stay: Stay, kind: ReviewType) -> Judged:
    """A review of what is so now."""
    return Judged(stay.as_of, Cut(kind, is_later=kind is ReviewType.OBSERVATION))


def judged_first(stay: Stay, kind: ReviewType, span: StatusSpan) -> Judged:
    """The first look at a status: when it began, or the site's grace after the first contact if later.

    Never later than now or the discharge. Reports have the same grace from then on.
    """
    grace = stay.site.windows.first_review_grace_hours * HOUR
    began = instant(span.start)
    arrived = began if stay.first_contact is None else instant(stay.first_contact)
    final = max(began, arrived + grace)
    now, at = instant(stay.as_of), final
    documented = min(final + grace, now)
    if stay.lifecycle is Lifecycle.DISCHARGED and stay.discharged_at is not None:
        left = instant(stay.discharged_at)
        at, documented = min(at, left), min(documented, left)
    zone = stay.site.zone
    is_fresh = not _follows_observation(stay, span)
    cut = Cut(kind, final + grace, from_arrival=is_fresh, documented_by=documented)
    return Judged(moment(min(at, now), zone), cut, is_final=now >= at, moment=final)


def _follows_observation(stay: Stay, span: StatusSpan) -> bool:
    """Whether so many hours of observation led to this status."""
    before = stay.spans[: stay.spans.index(span)] if span in stay.spans else ()
    if span.status is not Status.INPATIENT or not before or before[-1].status is not Status.OBSERVATION:
        return False
    spent = 0
    for each in reversed(before):
        if each.status is not Status.OBSERVATION:
            break
        spent += (instant(span.start) if each.end is None else instant(each.end)) - instant(each.start)
    return spent >= PERSISTS_HOURS * HOUR


def is_first_look(kind: ReviewType, number: int) -> bool:
    """``number``: of a row of the same kind, 0 for the first."""
    return kind in (ReviewType.ADMISSION, ReviewType.RETROSPECTIVE) or (
        kind is ReviewType.OBSERVATION and number == 0
    )

"""One review of a stay: what it asks, in which state it is, and by when it is due."""

from __future__ import annotations

from datetime import datetime

from umbridge.review.moment import Judged
from umbridge.values.frozen import dataclass
from umbridge.values.kinds import Level, ReviewState, ReviewType, Status


@dataclass(frozen=True, slots=True)
class Review:
    """One question about the stay. ``reason`` is a code.

    ``id`` is the type and the row that first gave ground for it, so that no later arrival can change it. A
    review is open until the stay closes or changes it, or its id is among the completed ones.
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
    judged: Judged
    stands: bool = True  # nothing but answers closes it, or for a first look the discharge
    is_unordered: bool = False  # of an inpatient: the order was cancelled, or none was seen
    is_order_gone: bool = False  # the order of the status was cancelled after registration had acted on it
    elsewhere: tuple[str, ...] = ()  # exceptions: what counts was corrected or ended under another visit

    @property
    def judged_at(self) -> datetime:
        """What windows and ages count back from, and ``as_of`` of the case."""
        return self.judged.at

"""What notices and alarms rest on: the course of a stay and its payers, as of one moment."""

from __future__ import annotations

from zoneinfo import ZoneInfo

from umbridge.model import Certification
from umbridge.settings.parts import Windows
from umbridge.settings.site import SiteProfile
from umbridge.stay.clock import end_of_day, local_date
from umbridge.stay.course.registered import is_in_doubt, is_unsaid
from umbridge.stay.course.state import NEVER_CAME, REVIEW_OF, Course, Leave, Span
from umbridge.values.frozen import dataclass
from umbridge.values.kinds import Lifecycle, Status


@dataclass(frozen=True, slots=True)
class Ground:
    """Times are instants. ``left`` is None while the patient is in the house.

    ``expected``: the discharge as PV2-9 has it; of a day without an hour the last second.
    """

    now: int
    zone: ZoneInfo
    windows: Windows
    lifecycle: Lifecycle
    spans: tuple[Span, ...]
    leaves: tuple[Leave, ...]
    left: int | None
    has_died: bool
    pending: int | None
    expected: int | None
    care_start: int | None
    registered: str | None
    has_followed: bool  # whether registration has said the status of the last span
    has_come: bool  # whether anything told that the patient is or was here
    is_unseen: bool  # whether something was told of who is only planned that is told of who is here
    is_in_doubt: bool  # whether registration still sends a field that it has contradicted since
    is_unsaid: bool  # whether an event set a status and did not say which
    is_unordered: bool  # whether the order behind the status was cancelled after registration had acted
    is_newborn: bool
    is_in_unit: bool
    has_medicare: bool
    certifications: tuple[Certification, ...]

    @property
    def status(self) -> Status | None:
        """What the patient is now; None for who is not here."""
        is_here = self.lifecycle in (Lifecycle.ACTIVE, Lifecycle.ON_LEAVE)
        return Status(self.spans[-1].status) if is_here and self.spans else None


_COME = (Lifecycle.ACTIVE, Lifecycle.ON_LEAVE, Lifecycle.DISCHARGED)
NEWBORN = "N"  # PV1-4, HL7 table 0007


def ground_of(
    site: SiteProfile,
    course: Course,
    now: int,
    *,
    expected: tuple[int, bool] | None,
    care_start: int | None,
    has_medicare: bool,
    certifications: tuple[Certification, ...],
) -> Ground:
    """``expected``: PV2-9, and whether that is a day without an hour."""
    lifecycle = Lifecycle(course.lifecycle or Lifecycle.ACTIVE)
    has_review = bool(course.spans) and course.spans[-1].status in REVIEW_OF
    leaves_at = None
    if expected is not None:
        at, is_day = expected
        leaves_at = end_of_day(local_date(at, site.zone), site.zone) if is_day else at
    return Ground(
        now=now,
        zone=site.zone,
        windows=site.windows,
        lifecycle=lifecycle,
        spans=tuple(course.spans),
        leaves=tuple(course.leaves),
        left=course.discharged_at if lifecycle is Lifecycle.DISCHARGED else None,
        has_died=site.dispositions.get(course.disposition) == "DIED",
        pending=course.pending.get("discharge"),
        expected=leaves_at,
        care_start=care_start,
        registered=course.registered,
        has_followed=course.followed,
        has_come=course.lifecycle in _COME,
        is_unseen=lifecycle is Lifecycle.PLANNED and NEVER_CAME in course.fields,
        is_in_doubt=is_in_doubt(course.fields),
        is_unsaid=is_unsaid(course.fields, has_review=has_review),
        is_unordered=course.is_unordered(),
        is_newborn=course.fields.get("admission") == NEWBORN,
        is_in_unit=course.fields.get("unit", "") in site.units,
        has_medicare=has_medicare,
        certifications=certifications,
    )

"""A stay as of one moment: its status, places, reviews asked for, people and exceptions."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, field
from datetime import date, datetime
from typing import Any, NamedTuple

from umbridge.model import Certification, Coverage
from umbridge.settings.site import SiteProfile
from umbridge.stay.course.notices import Notice
from umbridge.stay.course.state import Origin
from umbridge.stay.elsewhere import Reported
from umbridge.stay.payers import Payers
from umbridge.values.frozen import dataclass
from umbridge.values.kinds import Level, Lifecycle, ReviewState, ReviewType, Status


@dataclass(frozen=True, slots=True)
class StatusSpan:
    """Time in one status. ``evidence`` is ORDER or ADT, ``source`` the order's address or the PV1 field.

    ``levels``: each level that orders asked for, with the instant since when; ``level`` is the last.
    """

    status: Status
    start: datetime
    end: datetime | None
    evidence: str
    source: str
    level: Level | None
    origin: Origin
    levels: tuple[tuple[int, Level | None], ...] = ()

    def level_at(self, at: int) -> Level | None:
        """The one that was asked for then; the first, where the first order came later."""
        asked = [level for since, level in self.levels if since <= at]
        return asked[-1] if asked else self.levels[0][1] if self.levels else self.level


@dataclass(frozen=True, slots=True)
class LocationSpan:
    """Time in one place. ``level`` is what the unit can give, not what the patient needs."""

    unit: str
    room: str
    bed: str
    level: Level | None
    start: datetime
    end: datetime | None


@dataclass(frozen=True, slots=True)
class AskedReview:
    """A review that an event asked for. ``ended`` says why it closed, "" while it stands."""

    type: ReviewType
    at: datetime
    origin: Origin
    level: Level | None
    by: str
    ended: str


class StayPractitioner(NamedTuple):
    """Who held a role in the care of the patient, and when; of an order, the status that it asked for."""

    role: str
    number: str
    authority: str
    since: datetime
    until: datetime | None
    status: str


def _told(value: datetime | None) -> str | None:
    return None if value is None else value.isoformat()


@dataclass(frozen=True, slots=True)
class Stay:
    """One encounter as the feed tells it. Times are on the facility's clock."""

    as_of: datetime
    visit: str
    accounts: tuple[str, ...]
    mrn: str
    mrn_aliases: tuple[str, ...]
    birth_date: str
    sex: str
    lifecycle: Lifecycle
    status: Status | None
    spans: tuple[StatusSpan, ...]
    pending: tuple[str, ...]
    unit: str | None
    bed: str | None
    unit_level: Level | None
    practitioners: tuple[StayPractitioner, ...]
    care_start: datetime | None  # PV1-44
    care_seen: datetime | None  # where care began for Medicare's two midnights, once somebody asks
    first_contact: datetime | None
    inpatient_start: datetime | None
    observation_start: datetime | None
    discharged_at: datetime | None
    disposition: str | None
    leaves: tuple[tuple[datetime, datetime | None], ...]
    expected_return: datetime | None
    expected_admission: datetime | None
    discharge_origin: Origin | None
    places: tuple[LocationSpan, ...]
    asked: tuple[AskedReview, ...]
    los_midnights: int | None
    leave_midnights: int
    hospital_midnights: int | None
    readmission_index: bool
    payer_class: str
    coverage: tuple[Coverage, ...]
    certifications: tuple[Certification, ...]
    diagnoses: tuple[str, ...]
    expected_discharge: datetime | None
    voided: tuple[tuple[ReviewType, datetime, Origin], ...]
    events_applied: int
    exceptions: tuple[str, ...]
    notices_due: tuple[Notice, ...]
    notices_missed: tuple[Notice, ...]
    next_turn: datetime | None  # when an exception or a notice is another though nothing is said
    site: SiteProfile
    reported: Reported = field(compare=False, repr=False)  # for the patient's other stays

    @property
    def status_evidence(self) -> str | None:
        return None if self.status is None or not self.spans else self.spans[-1].evidence

    def to_json(
        self, reviews: Iterable[tuple[ReviewType, ReviewState]], continued_stay_due: date | None
    ) -> dict[str, Any]:
        """The keys of ``stays show --json``. Reviews are the review room's to plan, so they are handed in,
        and with them the local date of the next continued-stay review."""
        listed = list(reviews)

        def listed_notices(found: tuple[Notice, ...]) -> list[dict[str, str]]:
            return [{"type": each.type, "due": each.due.isoformat()} for each in found]

        def by_state(state: ReviewState) -> list[str]:
            return sorted(kind.value for kind, its in listed if its is state)

        return {
            "visit": self.visit,
            "accounts": list(self.accounts),
            "mrn": self.mrn or None,
            "mrn_aliases": list(self.mrn_aliases),
            "lifecycle": self.lifecycle.value,
            "status": None if self.status is None else self.status.value,
            "status_spans": [span.status.value for span in self.spans],
            "status_evidence": self.status_evidence,
            "pending": list(self.pending),
            "unit": self.unit,
            "bed": self.bed,
            "unit_level": None if self.unit_level is None else self.unit_level.name,
            "care_start": _told(self.care_start),
            "inpatient_start": _told(self.inpatient_start),
            "observation_start": _told(self.observation_start),
            "discharged_at": _told(self.discharged_at),
            "los_midnights": self.los_midnights,
            "leave_midnights": self.leave_midnights,
            "hospital_midnights": self.hospital_midnights,
            "continued_stay_due": None if continued_stay_due is None else continued_stay_due.isoformat(),
            "readmission_index": self.readmission_index,
            "open_reviews": by_state(ReviewState.OPEN),
            "void_reviews": by_state(ReviewState.VOID),
            "closed_reviews": by_state(ReviewState.CLOSED),
            "events_applied": self.events_applied,
            "exceptions": list(self.exceptions),
            "notices_due": listed_notices(self.notices_due),
            "notices_missed": listed_notices(self.notices_missed),
        }

    def detail(self) -> dict[str, Any]:
        """What ``stays show`` adds for who reviews the stay: where and when, and what the payer said."""
        return {
            "midnights_from": _told(self.care_seen),
            "spans": [
                {
                    "status": span.status.value,
                    "start": _told(span.start),
                    "end": _told(span.end),
                    "evidence": span.evidence,
                    "source": span.source,
                }
                for span in self.spans
            ],
            "locations": [
                {
                    "unit": place.unit,
                    "room": place.room,
                    "bed": place.bed,
                    "level": None if place.level is None else place.level.name,
                    "start": _told(place.start),
                    "end": _told(place.end),
                }
                for place in self.places
            ],
            "practitioners": [
                {
                    "role": each.role,
                    "number": each.number,
                    "authority": each.authority or None,
                    "since": _told(each.since),
                    "until": _told(each.until),
                    "status": each.status or None,
                }
                for each in self.practitioners
            ],
            "leaves": [{"out": _told(out), "back": _told(back)} for out, back in self.leaves],
            "payer_class": self.payer_class,
            "coverage": [asdict(each) for each in self.coverage],
            "authorizations": [
                {name: _told(v) if isinstance(v, datetime) else v for name, v in each._asdict().items()}
                for each in self.certifications
            ],
        }


@dataclass(frozen=True, slots=True)
class Identity:
    """What the fold knows besides the course: whose stay it is and what came with it."""

    visit: str
    accounts: tuple[str, ...]
    mrn: str
    mrn_aliases: tuple[str, ...]
    birth_date: str
    sex: str
    payers: Payers
    coverage: tuple[Coverage, ...]
    certifications: tuple[Certification, ...]
    diagnoses: tuple[str, ...]
    expected_discharge: tuple[int, bool] | None  # and whether it is a day without an hour
    care_start: int | None  # as payment rules have it: what was said or done first, None where unknown
    events_applied: int
    has_other_patient: bool
    has_moved: bool
    has_ring: bool
    unguarded: tuple[str, ...]  # exceptions: where two patients could not be told apart
    has_no_cover: bool
    reported: Reported
    raised: tuple[str, ...] = ()  # exceptions about results and orders
    planned: int | None = None  # when the next order takes effect that waits for its time

"""The stay as of one moment: a frozen view with the counts and clocks that reviews and notices run on."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, field
from datetime import date, datetime
from typing import Any, NamedTuple

from umbridge.model import (
    Certification,
    Coverage,
    Level,
    Lifecycle,
    ReviewState,
    ReviewType,
    Status,
)
from umbridge.settings.site import SiteProfile
from umbridge.stay.clock import instant, midnights, moment
from umbridge.stay.course.alarms import alarms
from umbridge.stay.course.clocks import ground_of
from umbridge.stay.course.notices import Notice, notices
from umbridge.stay.course.state import REVIEW_OF, Course, Origin, Place, Span
from umbridge.stay.course.whereabouts import PLACE_CONTRADICTED, is_contradicted
from umbridge.stay.elsewhere import Reported
from umbridge.stay.payers import Payers
from umbridge.stay.record import account_name
from umbridge.values.frozen import dataclass


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


def view(site: SiteProfile, course: Course, identity: Identity, as_of: datetime) -> Stay:
    """Freeze the course. Only clocks look at ``as_of``; events are never undone by asking about the past."""
    now, zone = instant(as_of), site.zone
    lifecycle = Lifecycle(course.lifecycle or Lifecycle.ACTIVE)
    inpatient = _last(course, Status.INPATIENT)
    observation = _last(course, Status.OBSERVATION)
    unit = course.fields.get("unit")
    is_out = lifecycle is Lifecycle.DISCHARGED and course.discharged_at is not None
    end = course.discharged_at if is_out and course.discharged_at is not None else now
    leave = _leave_midnights(site, course, end)
    status = Status(course.spans[-1].status) if course.spans else None
    start = inpatient.start if inpatient is not None else None

    def time(at: int | None) -> datetime | None:
        return None if at is None else moment(at, zone)

    stayed = None if start is None else midnights(start, end, zone)
    accounts = tuple(course.accounts) or identity.accounts
    contact = course.care_start if course.care_start is not None else course.first_at
    known_unit = site.units.get(unit or "")
    ground = ground_of(
        site,
        course,
        now,
        expected=identity.expected_discharge,
        care_start=course.care_start if identity.care_start is None else identity.care_start,
        has_medicare=identity.payers.has_medicare,
        certifications=identity.certifications,
    )
    owed, raised = notices(ground), tuple(alarms(ground))
    turns = [*owed.turns, *(alarm.since for alarm in raised), identity.planned or now]
    return Stay(
        as_of=moment(now, zone),
        visit=course.visit or identity.visit or account_name(next(iter(accounts), "")),
        accounts=accounts,
        mrn=identity.mrn,
        mrn_aliases=identity.mrn_aliases,
        birth_date=identity.birth_date,
        sex=identity.sex,
        lifecycle=lifecycle,
        status=None if lifecycle is Lifecycle.CANCELLED else status,
        spans=tuple(
            StatusSpan(
                Status(span.status),
                moment(span.start, zone),
                time(span.end),
                span.evidence,
                span.source,
                _level(span.level),
                span.origin,
                tuple((at, _level(level)) for at, level in span.levels),
            )
            for span in course.spans
        ),
        pending=tuple(sorted(course.pending)),
        unit=unit,
        bed=course.fields.get("room") or course.fields.get("bed"),
        unit_level=None if known_unit is None else known_unit.level,
        practitioners=tuple(
            StayPractitioner(*row[:3], moment(row.since, zone), time(row.until), row.status)
            for row in course.practitioners
        ),
        care_start=time(course.care_start),
        care_seen=time(identity.care_start),
        first_contact=time(contact),
        inpatient_start=time(start),
        observation_start=None if observation is None else moment(observation.start, zone),
        discharged_at=time(course.discharged_at),
        disposition=site.dispositions.get(course.disposition),
        leaves=tuple((moment(leave.out, zone), time(leave.back)) for leave in course.leaves),
        expected_return=time(course.leaves[-1].expected) if lifecycle is Lifecycle.ON_LEAVE else None,
        expected_admission=time(course.coming),
        discharge_origin=course.discharge_origin,
        places=tuple(_place(site, place) for place in course.places),
        asked=tuple(
            AskedReview(
                ReviewType(each.type),
                moment(each.at, zone),
                each.origin,
                _level(each.level),
                each.by,
                each.ended,
            )
            for each in course.asked
        ),
        los_midnights=stayed if is_out and status is Status.INPATIENT else None,
        leave_midnights=leave,
        hospital_midnights=None if stayed is None else max(0, stayed - leave),
        readmission_index=is_out and status is Status.INPATIENT and _counts_as_index(site, course),
        payer_class=identity.payers.first,
        coverage=identity.coverage,
        certifications=identity.certifications,
        diagnoses=identity.diagnoses,
        expected_discharge=None
        if identity.expected_discharge is None
        else time(identity.expected_discharge[0]),
        voided=tuple((ReviewType(kind), moment(at, zone), origin) for kind, at, origin in course.voided),
        events_applied=identity.events_applied,
        exceptions=_exceptions(course, identity, (alarm.code for alarm in raised if alarm.since <= now)),
        notices_due=owed.due,
        notices_missed=owed.missed,
        next_turn=time(min((at for at in turns if at > now), default=None)),
        site=site,
        reported=identity.reported,
    )


def _level(level: int | None) -> Level | None:
    return None if level is None else Level(level)


def _place(site: SiteProfile, place: Place) -> LocationSpan:
    unit = site.units.get(place.unit)
    return LocationSpan(
        place.unit,
        place.room,
        place.bed,
        None if unit is None else unit.level,
        moment(place.start, site.zone),
        None if place.end is None else moment(place.end, site.zone),
    )


def _last(course: Course, status: Status) -> Span | None:
    return next((span for span in reversed(course.spans) if span.status == status), None)


def _leave_midnights(site: SiteProfile, course: Course, end: int) -> int:
    return sum(
        midnights(leave.out, end if leave.back is None else leave.back, site.zone) for leave in course.leaves
    )


def _counts_as_index(site: SiteProfile, course: Course) -> bool:
    """Discharged alive, not against advice, not to another acute hospital (CMS readmission measures)."""
    return site.dispositions.get(course.disposition) not in ("DIED", "AGAINST_ADVICE", "TRANSFER_ACUTE")


def _exceptions(course: Course, identity: Identity, raised: Iterable[str]) -> tuple[str, ...]:
    found = {*course.said_to_be_odd(), *identity.unguarded, *identity.raised, *raised}
    for span in course.spans:
        if span.status in REVIEW_OF and span.evidence == "ADT" and span.start == course.unseen:
            found.add("STATUS_START_UNKNOWN")
    if is_contradicted(course) and course.lifecycle != Lifecycle.DISCHARGED:
        found.add(PLACE_CONTRADICTED)
    if identity.has_other_patient:
        found.add("PATIENT_MISMATCH")
    if identity.has_moved:
        found.add("FACTS_QUARANTINED")
    if identity.has_ring:
        found.add("MERGE_RING")
    if identity.has_no_cover:
        found.add("NO_COVER_IN_FORCE")
    return tuple(sorted(found))

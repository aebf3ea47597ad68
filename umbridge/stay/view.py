"""The stay as of one moment: a frozen view with the counts and clocks that reviews and notices run on."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from umbridge.settings.site import SiteProfile
from umbridge.stay.clock import instant, midnights, moment
from umbridge.stay.course.alarms import alarms
from umbridge.stay.course.clocks import ground_of
from umbridge.stay.course.notices import notices
from umbridge.stay.course.state import REVIEW_OF, Course, Place, Span
from umbridge.stay.course.whereabouts import PLACE_CONTRADICTED, is_contradicted
from umbridge.stay.record import account_name
from umbridge.stay.stay import AskedReview, Identity, LocationSpan, StatusSpan, Stay, StayPractitioner
from umbridge.values.kinds import Level, Lifecycle, ReviewType, Status


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

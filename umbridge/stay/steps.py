"""What each ADT event and status order, taken in effective order, does to the course of a stay.

A plain left-to-right fold. An event that a later one may cancel leaves behind what it replaced, so that a
cancel restores the previous state rather than a fixed one, and a cancel that comes before its target (in
effective order) finds nothing and changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import assert_never

from umbridge.model import Level, Lifecycle, ReviewType, Status
from umbridge.site import SiteProfile
from umbridge.stay.course import (
    ACCOUNTS,
    LEAVES,
    LOCATION,
    Attended,
    Begun,
    Course,
    Departed,
    Leave,
    Moved,
    Opening,
    Span,
    Undo,
)
from umbridge.stay.record import CANCELS, ORDER, RENAMES, Record, RecordData, same_patient
from umbridge.stay.settle import order, settle, settle_discharge

_UPDATES = frozenset(
    {"A01", "A02", "A03", "A04", "A05", "A06", "A07", "A08", "A09", "A10", "A17", "A21", "A22"}
)


def step(course: Course, site: SiteProfile, record: Record) -> None:
    """Apply the next record. Another patient's events change nothing: the fold raises the exception."""
    if not course.patient:
        course.patient = record.patient
    elif not same_patient(course.patient, record.patient):
        return
    elif "^" in course.patient and record.patient and "^" not in record.patient:
        course.patient = record.patient  # the site's own number at last
    if record.trigger == "A29" and course.first_at is None:
        return  # the person was deleted before this stay began
    _identify(course, record)
    if record.trigger == ORDER:
        order(course, site, record)
    elif record.trigger in CANCELS:
        _cancel(course, site, record)
    elif record.trigger not in RENAMES:
        _event(course, site, record)


def _identify(course: Course, record: Record) -> None:
    data = record.data
    if course.first_at is None and record.trigger not in RENAMES:
        course.first_at = record.at
    if not course.visit or record.trigger in RENAMES:
        course.visit = data.get("visit", "") or course.visit
    for account in (*data.get("prior", ()), data.get("account", "")):
        if account and account not in course.accounts and len(course.accounts) < ACCOUNTS:
            course.accounts.append(account)
    if data.get("joined"):
        course.flag("VISITS_MERGED")
    is_planned = record.trigger in ("A05", "A14")  # PV1-44 then says when the patient should come
    if course.care_start is None and not is_planned:
        course.care_start = data.get("admitted")
    course.coming = data.get("coming", course.coming)


def _event(course: Course, site: SiteProfile, record: Record) -> None:
    trigger, at = record.trigger, record.at
    before = site.units.get(course.fields.get("unit", ""))
    handler = _HANDLERS.get(trigger)
    if handler is not None:
        handler(course, record)
    if trigger in _UPDATES:
        _update(course, record.data)
        if course.lifecycle != Lifecycle.DISCHARGED or not course.places:
            course.settle_place(at)
    if course.lifecycle is None:
        course.lifecycle = Lifecycle.ACTIVE
    if trigger == "A03":
        settle_discharge(course, site, record)
    elif trigger == "A05":
        if course.lifecycle == Lifecycle.PLANNED and not course.current():
            course.begin(Span(Status.PREADMIT, at, None, "ADT", "A05", None, "", record.claim))
    elif trigger in _UPDATES:
        settle(course, site, record)
    if trigger in ("A02", "A17"):
        _another_level(course, site, record, None if before is None else before.level)


def _update(course: Course, data: RecordData) -> None:
    for name, value in data.get("fields", {}).items():
        if value:
            course.fields[name] = value
        else:
            course.fields.pop(name, None)
    course.attending = data.get("attending") or course.attending


# -- what single triggers do beyond updating fields -----------------------------------------------------


def _admit(course: Course, record: Record) -> None:
    planning = record.trigger == "A05"
    course.remember(
        "preadmit" if planning else "admit",
        Opening(
            course.lifecycle,
            dict(course.fields),
            tuple(course.spans),
            tuple(course.places),
            tuple(course.asked),
            dict(course.pending),
            course.registered,
            course.discharged_at,
            course.discharge_claim,
        ),
    )
    if planning:
        if course.lifecycle in (None, Lifecycle.CANCELLED):
            course.lifecycle = Lifecycle.PLANNED
        if course.lifecycle == Lifecycle.PLANNED:
            course.ask(ReviewType.PROSPECTIVE, record.at, record.claim, record.trigger)
        return
    course.pending.pop("admit", None)
    if record.trigger == "A01" or course.lifecycle == Lifecycle.PLANNED:
        course.end_asked(ReviewType.PROSPECTIVE, "STATUS_CHANGED")
    if course.lifecycle != Lifecycle.ON_LEAVE:
        course.lifecycle = Lifecycle.ACTIVE
    _void_retrospective(course)
    course.discharged_at = course.discharge_claim = None


def _convert(course: Course, record: Record) -> None:
    if course.lifecycle in (None, Lifecycle.PLANNED):
        course.lifecycle = Lifecycle.ACTIVE
    if record.trigger == "A06":
        course.pending.pop("admit", None)
        course.end_asked(ReviewType.PROSPECTIVE, "STATUS_CHANGED")


def _changed(course: Course, record: Record) -> None:
    if record.data.get("discharged") is not None and course.lifecycle == Lifecycle.ACTIVE:
        course.flag("DISCHARGE_TIME_ON_ACTIVE_VISIT")


def _move(course: Course, record: Record) -> None:
    kind = {"A02": "transfer", "A09": "departure", "A10": "arrival"}[record.trigger]
    pending = course.pending.pop("transfer", None) if record.trigger == "A02" else None
    course.remember(kind, Moved(course.location(), record.claim, pending, ()))


def _attend(course: Course, record: Record) -> None:
    course.remember("attending", Attended(course.attending))
    course.attending = record.data.get("attending") or course.attending


def _discharge(course: Course, record: Record) -> None:
    if course.lifecycle != Lifecycle.DISCHARGED:
        course.remember("discharge", Departed(course.lifecycle, course.disposition, dict(course.pending)))
        course.discharge_claim = record.claim
    elif course.discharge_claim is None or record.claim < course.discharge_claim:
        course.discharge_claim = record.claim
    course.lifecycle = Lifecycle.DISCHARGED
    discharged = record.data.get("discharged")
    course.discharged_at = record.at if discharged is None else discharged
    course.disposition = record.data.get("disposition") or course.disposition
    course.pending = {}


def _leave(course: Course, record: Record) -> None:
    if course.lifecycle == Lifecycle.ACTIVE:
        course.remember("leave", Begun())
        course.lifecycle = Lifecycle.ON_LEAVE
        course.leaves = [*course.leaves, Leave(record.at, None, record.data.get("back"))][-LEAVES:]


def _return(course: Course, record: Record) -> None:
    if course.lifecycle == Lifecycle.ON_LEAVE and course.leaves:
        course.remember("return", Begun())
        course.lifecycle = Lifecycle.ACTIVE
        course.leaves[-1] = course.leaves[-1]._replace(back=record.at)


def _pend(course: Course, record: Record) -> None:
    word = {"A14": "admit", "A15": "transfer", "A16": "discharge"}[record.trigger]
    reopens = record.trigger == "A14" and course.lifecycle == Lifecycle.CANCELLED
    course.remember(f"pending {word}", Begun(Lifecycle.CANCELLED if reopens else None))
    course.pending[word] = record.at
    if record.trigger == "A14":
        if course.lifecycle is None or reopens:  # as A05: who is awaited again has a stay again
            course.lifecycle = Lifecycle.PLANNED
        current = course.current()
        if current is None or current.status != Status.INPATIENT:
            course.ask(ReviewType.PROSPECTIVE, record.at, record.claim, record.trigger)
    elif record.trigger == "A16":
        course.ask(ReviewType.DISCHARGE, record.at, record.claim, record.trigger)


def _purge(course: Course, record: Record) -> None:
    """The sender deletes the visit or the person. What we know stays; what was open has no ground."""
    course.flag("DELETED_BY_SENDER")
    _empty(course)
    course.leave_place(record.at)


def _empty(course: Course) -> None:
    """A shell: nothing that opened the stay is left."""
    for span in course.spans:
        course.void_span(span)
    for kind in (ReviewType.PROSPECTIVE, ReviewType.CONTINUED_STAY, ReviewType.DISCHARGE):
        course.void_asked(kind)
    _void_retrospective(course)
    course.lifecycle, course.spans, course.registered = Lifecycle.CANCELLED, [], None
    course.pending, course.discharged_at, course.discharge_claim = {}, None, None


def _void_retrospective(course: Course) -> None:
    """The discharge that an inpatient stay ended in is no more."""
    ended_inpatient = bool(course.spans) and course.spans[-1].status == Status.INPATIENT
    if ended_inpatient and course.discharge_claim is not None and course.discharged_at is not None:
        course.void(ReviewType.RETROSPECTIVE.value, course.discharged_at, course.discharge_claim)


def _another_level(course: Course, site: SiteProfile, record: Record, before: Level | None) -> None:
    """A transfer to a unit that gives another level of care is screened again there."""
    unit, current = site.units.get(course.fields.get("unit", "")), course.current()
    if unit is None or before is None or unit.level is before or unit.level < Level.ACUTE:
        return
    if current is not None and current.status == Status.INPATIENT and course.lifecycle == Lifecycle.ACTIVE:
        kind = ReviewType.CONTINUED_STAY
        if record.trigger == "A02":  # what its cancel has stand again
            move = course.undo["transfer"][-1]
            if isinstance(move, Moved):
                ended = tuple(each.claim for each in course.asked if each.type == kind and not each.ended)
                course.undo["transfer"][-1] = move._replace(ended=ended)
        course.end_asked(kind, "TRANSFERRED")
        course.ask(kind, record.at, record.claim, record.trigger, int(unit.level))


# -- cancels ---------------------------------------------------------------------------------------------


def _cancel(course: Course, site: SiteProfile, record: Record) -> None:
    """Undo the newest event of the kind that still stands. Where none does, nothing changes."""
    kind = CANCELS[record.trigger]
    entries = course.undo.get(kind)
    saved = entries.pop() if entries else None
    if kind in ("admit", "preadmit"):
        _cancel_opening(course, site, record, saved)
    else:
        match saved:
            case None | Opening():
                if course.lifecycle is None:
                    course.lifecycle = Lifecycle.ACTIVE
            case Departed():
                _cancel_discharge(course, site, record, saved)
            case Moved():
                _cancel_move(course, site, record, saved, is_transfer=kind == "transfer")
            case Attended():
                course.attending = saved.attending
            case Begun():
                _cancel_begun(course, kind)
                if saved.lifecycle is not None and course.lifecycle == Lifecycle.PLANNED:
                    course.lifecycle = saved.lifecycle
            case _:
                assert_never(saved)
    if course.lifecycle == Lifecycle.ON_LEAVE and not any(leave.back is None for leave in course.leaves[-1:]):
        course.lifecycle = Lifecycle.ACTIVE  # what was given back spoke of a leave that is cancelled itself


def _cancel_move(
    course: Course, site: SiteProfile, record: Record, saved: Moved, *, is_transfer: bool
) -> None:
    course.relocate(saved.location, record.at)
    settle(course, site, record)
    if not is_transfer:
        return
    course.void_asked(ReviewType.CONTINUED_STAY, claim=saved.claim)
    course.asked = [
        each._replace(ended="") if each.claim in saved.ended and each.ended == "TRANSFERRED" else each
        for each in course.asked
    ]
    if saved.pending is not None:
        course.pending.setdefault("transfer", saved.pending)


def _cancel_begun(course: Course, kind: str) -> None:
    match kind:
        case "leave":
            if course.lifecycle == Lifecycle.ON_LEAVE:
                course.lifecycle = Lifecycle.ACTIVE
            del course.leaves[-1:]
        case "return":
            if course.leaves:
                course.lifecycle = Lifecycle.ON_LEAVE
                course.leaves[-1] = course.leaves[-1]._replace(back=None)
        case _:
            course.pending.pop(kind.removeprefix("pending "), None)
            if kind == "pending discharge":
                course.end_asked(ReviewType.DISCHARGE, "PENDING_DISCHARGE_CANCELLED")
            elif kind == "pending admit":
                course.void_asked(ReviewType.PROSPECTIVE, by="A14")


def _cancel_opening(course: Course, site: SiteProfile, record: Record, saved: Undo | None) -> None:
    if record.trigger == "A38" and course.lifecycle not in (None, Lifecycle.PLANNED):
        return  # the patient came after all; what was planned is history
    if not course.undo.get("admit") and not course.undo.get("preadmit"):
        _empty(course)  # the place and account it had stay
        _update(course, record.data)
        course.leave_place(record.at)
    elif isinstance(saved, Opening):
        before, standing = list(course.spans), list(course.asked)
        course.lifecycle, course.fields = saved.lifecycle, dict(saved.fields)
        course.spans, course.registered = list(saved.spans), saved.registered
        course.places = course.places[: len(saved.places)]
        if course.places and saved.places:
            course.places[-1] = course.places[-1]._replace(end=saved.places[-1].end)
        course.asked, course.pending = list(saved.asked), dict(saved.pending)
        course.discharged_at, course.discharge_claim = saved.discharged_at, saved.discharge_claim
        settle(course, site, record)
        kept = {(span.status, span.start) for span in course.spans}
        for span in before:
            if (span.status, span.start) not in kept:
                course.void_span(span)
        known = {each.claim for each in course.asked}
        for each in standing:
            if each.claim not in known and not each.ended:
                course.void(each.type, each.at, each.claim)


def _cancel_discharge(course: Course, site: SiteProfile, record: Record, saved: Departed) -> None:
    if course.current() is None and course.spans:
        last = course.spans[-1]
        course.spans[-1] = last._replace(end=None)
        _void_retrospective(course)
    course.lifecycle = saved.lifecycle or Lifecycle.ACTIVE
    course.disposition, course.pending = saved.disposition, dict(saved.pending)
    course.discharged_at = course.discharge_claim = None
    place = {name: value for name, value in record.data.get("fields", {}).items() if name in LOCATION}
    if course.places:
        course.places[-1] = course.places[-1]._replace(end=None)
    if place.get("unit"):
        course.relocate(place, record.at)
    settle(course, site, record)


_HANDLERS: dict[str, Callable[[Course, Record], None]] = {
    **dict.fromkeys(("A01", "A04", "A05"), _admit),
    **dict.fromkeys(("A06", "A07"), _convert),
    **dict.fromkeys(("A14", "A15", "A16"), _pend),
    **dict.fromkeys(("A02", "A09", "A10"), _move),
    **dict.fromkeys(("A23", "A29"), _purge),
    "A03": _discharge,
    "A08": _changed,
    "A21": _leave,
    "A22": _return,
    "A54": _attend,
}

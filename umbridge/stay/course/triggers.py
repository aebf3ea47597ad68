"""What each ADT event and status order, taken in effective order, does to the course of a stay.

A plain left-to-right fold. What a cancel took back never was: it comes to a course of its own beside this
one, so that the cancel knows which reviews lost their ground with it.
"""

from __future__ import annotations

from collections.abc import Callable

from umbridge.settings.site import SiteProfile
from umbridge.stay.course.happening import Placed
from umbridge.stay.course.lost import void_lost
from umbridge.stay.course.registered import STATUS_FIELDS, comes_again, is_older, say, update
from umbridge.stay.course.state import (
    ACCOUNTS,
    LEAVES,
    LOCATION,
    NEVER_CAME,
    RETURN_CONTRADICTED,
    Course,
    Leave,
    Span,
)
from umbridge.stay.course.status import BY_EVENT, from_registration, resolve
from umbridge.stay.course.status_rules import order, settle, settle_discharge
from umbridge.stay.course.whereabouts import place_kept
from umbridge.stay.practitioners import attending, told
from umbridge.stay.record import CANCELS, ORDER, RENAMES, Record
from umbridge.values.carers import ATTENDING
from umbridge.values.kinds import Level, Lifecycle, ReviewType, Status

_UPDATES = frozenset(
    {"A01", "A02", "A03", "A04", "A05", "A06", "A07", "A08", "A09", "A10", "A17", "A21", "A22"}
)


#: What begins a cancelled stay again.
_BEGINS = frozenset({"A01", "A04", "A05", "A14"})

#: Among the fields of the stay: when a return was told that ended no leave; that one contradicts its leave.
_RETURNED = "returned"

#: What is told only of somebody who is here: transfers and tracking, leaves, what is pending of either, and
#: the cancels of these and of a discharge (HL7 v2 3.3.2, 3.3.9, 3.3.21 and on).
SUPPOSES_ARRIVAL = frozenset(
    {"A02", "A09", "A10", "A12", "A13", "A15", "A16", "A17", "A21", "A22"}
    | {"A25", "A26", "A32", "A33", "A52", "A53"}
)

#: What takes an opening back says of nobody that they came.
_OF_OPENINGS = frozenset({"A11", "A38"})


def step(course: Course, site: SiteProfile, placed: Placed) -> None:
    """Apply the next statement, whatever has become of it since."""
    record = placed.record
    if record.trigger == "A29" and course.first_at is None:
        return  # the person was deleted before this stay began
    reopen(course, placed)
    seen(course, record)
    if course.care_start is None:
        course.care_start = placed.since
    if placed.is_contradicted or (placed.left is not None and placed.left.is_contradicted):
        course.flag("TIMES_CONTRADICT")
    if course.lifecycle == Lifecycle.PLANNED and record.trigger in SUPPOSES_ARRIVAL:
        course.fields[NEVER_CAME] = "Y"
    if record.trigger == ORDER:
        _order(course, site, placed)
    elif record.trigger in CANCELS:
        _begin_by_cancel(course, record)
        _attended_before(course, None, record)
    elif record.trigger not in RENAMES:
        _event(course, site, placed)


def reopen(course: Course, placed: Placed) -> None:
    """A stay that was cancelled begins again with an opening, or with what was told under one that stands and
    took effect before it."""
    is_opening = placed.record.trigger in _BEGINS
    if course.lifecycle == Lifecycle.CANCELLED and (is_opening or placed.is_under):
        _begin_again(course)
        if not is_opening:
            course.lifecycle = None


def _begin_again(course: Course) -> None:
    """Nothing that was said of the stay that never was is said of the one that begins."""
    course.fields, course.places, course.leaves = {}, [], []
    course.care_start = course.first_at = course.coming = course.registered = course.unseen = None
    course.anew = course.emptied
    course.disposition = course.facility = ""
    course.practitioners = [row for row in course.practitioners if row.order]  # orders are cancelled apart


def seen(course: Course, record: Record) -> None:
    """Which stay it is, and since when the patient is known to have been there."""
    known(course, record)
    if record.trigger in RENAMES:
        return
    if course.first_at is None:
        course.first_at, course.facility = record.at, record.data.get("facility", "")
    course.coming = record.data.get("coming", course.coming)


def known(course: Course, record: Record) -> None:
    """Which stay it is stays known, also from what a cancel took back."""
    data = record.data
    if not course.patient or ("^" in course.patient and record.patient and "^" not in record.patient):
        course.patient = record.patient  # in the second case the site's own number at last
    if not course.visit or record.trigger in RENAMES:
        course.visit = data.get("visit", "") or course.visit
    for account in (*data.get("prior", ()), data.get("account", "")):
        if account and account not in course.accounts and len(course.accounts) < ACCOUNTS:
            course.accounts.append(account)
    if data.get("joined"):
        course.flag("VISITS_MERGED")


def _order(course: Course, site: SiteProfile, placed: Placed) -> None:
    """Said after the discharge, an order may be evidence of the status that the patient had: no more."""
    data, last = placed.record.data, course.spans[-1] if course.spans else None
    is_after = placed.late or course.lifecycle == Lifecycle.DISCHARGED
    if is_after and last is not None and data.get("status") is not None:
        is_same = data["status"] == last.status and (not placed.late or placed.record.at <= last.start)
        if data.get("on") and not is_same:
            course.flag("ORDER_AFTER_DISCHARGE")
        if placed.late and not (data.get("on") and is_same):
            return
    order(course, site, placed.record)


def _event(course: Course, site: SiteProfile, placed: Placed) -> None:
    record = placed.record
    trigger, at = record.trigger, record.at
    before = site.units.get(course.fields.get("unit", ""))
    has_left = course.discharged_at is not None
    if trigger == "A03":
        _discharge(course, placed)
    handler = _HANDLERS.get(trigger)
    if handler is not None:
        handler(course, record)
    is_over = course.lifecycle == Lifecycle.DISCHARGED
    is_after = trigger != "A03" and course.spans and (placed.late or is_over)
    if trigger in _UPDATES:
        if is_after and _would_change(course, site, record):
            course.flag("STATUS_CHANGE_AFTER_DISCHARGE")
        but = place_kept(course, record)
        if (is_after and not is_over) or is_older(course.fields, record):
            but = (*but, *STATUS_FIELDS)
        if has_left and trigger in ("A01", "A04"):
            comes_again(course.fields, record.data.get("fields", {}))
        say(course.fields, site, record, but)
        _care(course, record)
        if not is_over or not course.places:
            course.settle_place(at)
        if is_over:
            course.disposition = record.data.get("disposition", course.disposition)
    if course.lifecycle is None:
        course.lifecycle = Lifecycle.ACTIVE
    if trigger == "A03":
        settle_discharge(course, site, record)
    elif trigger == "A05":
        if course.lifecycle == Lifecycle.PLANNED and not course.current():
            course.begin(Span(Status.PREADMIT, at, None, "ADT", "A05", None, "", record.origin))
    elif trigger in _UPDATES and not is_after:
        settle(course, site, record)
    if trigger in ("A02", "A17"):
        _another_level(course, site, record, None if before is None else before.level)


def _would_change(course: Course, site: SiteProfile, record: Record) -> bool:
    """Whether it says another status than the patient had. Said after the discharge, it moves nothing."""
    said = record.data.get("fields", {})
    if record.trigger not in BY_EVENT and not any(name in said for name in STATUS_FIELDS):
        return False
    fields = dict(course.fields)
    say(fields, site, record, but=LOCATION)
    found = from_registration(site, fields)
    if found is None or found.status == course.registered:
        return False
    if record.trigger not in ("A06", "A07", "A08"):  # these say that the status is another
        found = resolve(site, found, course.order_in_force()) or found
    return found.status != course.spans[-1].status


def _care(course: Course, record: Record) -> None:
    said = record.data.get("care")
    if said:
        course.practitioners = told(course.practitioners, said, record.at)


# -- what single triggers do beyond updating fields -----------------------------------------------------


def _admit(course: Course, record: Record) -> None:
    planning = record.trigger == "A05"
    if planning:
        if course.lifecycle in (None, Lifecycle.CANCELLED):
            course.lifecycle = Lifecycle.PLANNED
        if course.lifecycle == Lifecycle.PLANNED:
            course.ask(ReviewType.PROSPECTIVE, record.at, record.origin, record.trigger)
        return
    course.pending.pop("admit", None)
    if record.trigger == "A01" or course.lifecycle == Lifecycle.PLANNED:
        course.end_asked(ReviewType.PROSPECTIVE, "STATUS_CHANGED")
    if course.lifecycle != Lifecycle.ON_LEAVE:
        course.lifecycle = Lifecycle.ACTIVE
    left = course.discharged_at
    if left is not None:  # whoever comes again is admitted by an order of now, not by that of the stay before
        course.orders = [each for each in course.orders if each.at > left]
    _void_retrospective(course)
    course.discharged_at = course.discharge_origin = None


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
    if record.trigger == "A02":
        course.pending.pop("transfer", None)


def _attend(course: Course, record: Record) -> None:
    """Of an A54 that alone is new; the rest of its PV1 repeats what was told before."""
    said = record.data.get("care", {})
    if ATTENDING in said:
        course.practitioners = told(course.practitioners, {ATTENDING: said[ATTENDING]}, record.at)


def _attended_before(course: Course, beside: Course | None, record: Record) -> None:
    """PV1-7 of an A55 is who attends without the change: it counts where nothing else says who does, and
    where it does not repeat who was cancelled."""
    its = record.data.get("care", {}).get(ATTENDING) if record.trigger == "A55" else None
    if its and not attending(course.practitioners):
        gone = set() if beside is None else attending(beside.practitioners)
        said = [each for each in its if tuple(each) not in gone]
        course.practitioners = told(course.practitioners, {ATTENDING: said}, record.at)


def _discharge(course: Course, placed: Placed) -> None:
    course.lifecycle = Lifecycle.DISCHARGED
    if placed.left is not None:
        course.discharged_at, course.discharge_origin = placed.left.at, placed.left.origin
    course.disposition = placed.record.data.get("disposition", course.disposition)
    course.pending = {}


def _leave(course: Course, record: Record) -> None:
    """A return that was told after the leave, of a time before it, leaves nobody away."""
    if course.lifecycle != Lifecycle.ACTIVE:
        return
    course.fields.pop(RETURN_CONTRADICTED, None)
    back = int(course.fields.pop(_RETURNED, "0"))
    if back > record.told:
        course.fields[RETURN_CONTRADICTED] = "Y"
        ended = max(back, record.at)
    else:
        course.lifecycle, ended = Lifecycle.ON_LEAVE, None
    course.leaves = [*course.leaves, Leave(record.at, ended, record.data.get("back"))][-LEAVES:]


def _return(course: Course, record: Record) -> None:
    is_away = course.lifecycle == Lifecycle.ON_LEAVE
    is_again = course.fields.pop(RETURN_CONTRADICTED, None) is not None  # told again, with another time
    if course.leaves and (is_away or is_again):
        course.leaves[-1] = course.leaves[-1]._replace(back=record.at)
    elif not is_away:
        course.fields[_RETURNED] = str(record.told)
    if is_away:
        course.lifecycle = Lifecycle.ACTIVE


def _pend(course: Course, record: Record) -> None:
    word = {"A14": "admit", "A15": "transfer", "A16": "discharge"}[record.trigger]
    reopens = record.trigger == "A14" and course.lifecycle == Lifecycle.CANCELLED
    course.pending[word] = record.at
    if record.trigger == "A14":
        if course.lifecycle is None or reopens:  # as A05: who is awaited again has a stay again
            course.lifecycle = Lifecycle.PLANNED
        current = course.current()
        if current is None or current.status != Status.INPATIENT:
            course.ask(ReviewType.PROSPECTIVE, record.at, record.origin, record.trigger)
    elif record.trigger == "A16":
        course.ask(ReviewType.DISCHARGE, record.at, record.origin, record.trigger)


def _purge(course: Course, record: Record) -> None:
    """The sender deletes the visit or the person. What we know stays; what was open has no ground."""
    course.flag("DELETED_BY_SENDER")
    _empty(course, record)
    course.leave_place(record.at)


def _empty(course: Course, record: Record) -> None:
    """A shell: nothing that opened the stay is left."""
    course.emptied = [record.told, record.origin[0]]
    for span in course.spans:
        course.void_span(span)
    for kind in (ReviewType.PROSPECTIVE, ReviewType.CONTINUED_STAY, ReviewType.DISCHARGE):
        course.void_asked(kind)
    _void_retrospective(course)
    course.lifecycle, course.spans, course.registered = Lifecycle.CANCELLED, [], None
    course.followed = False
    course.pending, course.discharged_at, course.discharge_origin = {}, None, None


def _void_retrospective(course: Course) -> None:
    """The discharge that an inpatient stay ended in is no more."""
    ended_inpatient = bool(course.spans) and course.spans[-1].status == Status.INPATIENT
    if ended_inpatient and course.discharge_origin is not None and course.discharged_at is not None:
        course.void(ReviewType.RETROSPECTIVE.value, course.discharged_at, course.discharge_origin)


def _another_level(course: Course, site: SiteProfile, record: Record, before: Level | None) -> None:
    """A transfer to a unit that gives another level of care is screened again there."""
    unit, current = site.units.get(course.fields.get("unit", "")), course.current()
    if unit is None or before is None or unit.level is before or unit.level < Level.ACUTE:
        return
    if current is not None and current.status == Status.INPATIENT and course.lifecycle == Lifecycle.ACTIVE:
        kind = ReviewType.CONTINUED_STAY
        course.end_asked(kind, "TRANSFERRED")
        course.ask(kind, record.at, record.origin, record.trigger, int(unit.level))


# -- cancels ---------------------------------------------------------------------------------------------


def take_back(
    course: Course, beside: Course | None, site: SiteProfile, placed: Placed, *, is_shell: bool
) -> None:
    """A cancel in its place: ``beside`` has what the cancelled event made of the course."""
    record = placed.record
    is_planned = course.lifecycle in (None, Lifecycle.PLANNED) or (
        course.lifecycle == Lifecycle.CANCELLED and beside is not None  # planned again since
    )
    if is_shell and record.trigger == "A38" and not is_planned:
        return  # the patient came after all; what was planned is history
    (known if placed.never_came or (is_shell and beside is not None) else seen)(course, record)
    is_first = record.trigger == "A13" and course.lifecycle is None and not course.spans
    if is_first and not is_shell and beside is not None and beside.spans:
        # The discharge came first. What it said of the status still holds.
        course.spans = [*beside.spans[:-1], beside.spans[-1]._replace(end=None)]
        course.fields, course.registered = dict(beside.fields), beside.registered
        course.unseen, course.followed = beside.unseen, beside.followed
        course.places = [*beside.places[:-1], *(each._replace(end=None) for each in beside.places[-1:])]
        course.care_start = beside.care_start
    if beside is not None:
        void_lost(course, beside, record.trigger)
    if is_shell:
        if beside is not None:  # what a cancelled stay shows is what it was
            course.fields, course.places = dict(beside.fields), list(beside.places)
            course.care_start, course.first_at = beside.care_start, beside.first_at
            course.facility, course.coming = beside.facility, beside.coming
            course.practitioners, course.anew = list(beside.practitioners), beside.anew
        _empty(course, record)
        update(course.fields, record.data.get("fields", {}))
        course.leave_place(record.at)
        return
    if record.trigger == "A13":
        fields = record.data.get("fields", {})
        if fields.get("unit") and course.lifecycle != Lifecycle.DISCHARGED:
            update(course.fields, {name: fields.get(name, "") for name in LOCATION})
            course.settle_place(record.at)
            settle(course, site, record)
    ended = beside is not None and beside.lifecycle == Lifecycle.DISCHARGED  # the stay that never was, too
    if record.trigger == "A11" and course.lifecycle == Lifecycle.DISCHARGED and ended:
        course.flag("STATUS_CHANGE_AFTER_DISCHARGE")
    _attended_before(course, beside, record)
    if not placed.never_came:
        _begin_by_cancel(course, record)


def _begin_by_cancel(course: Course, record: Record) -> None:
    """A cancel is told of who is here, but for those of what was to come (A27: nobody comes any more)."""
    if course.lifecycle is None and record.trigger not in _OF_OPENINGS:
        course.lifecycle = Lifecycle.CANCELLED if record.trigger == "A27" else Lifecycle.ACTIVE


_HANDLERS: dict[str, Callable[[Course, Record], None]] = {
    **dict.fromkeys(("A01", "A04", "A05"), _admit),
    **dict.fromkeys(("A06", "A07"), _convert),
    **dict.fromkeys(("A14", "A15", "A16"), _pend),
    **dict.fromkeys(("A02", "A09", "A10"), _move),
    **dict.fromkeys(("A23", "A29"), _purge),
    "A08": _changed,
    "A21": _leave,
    "A22": _return,
    "A54": _attend,
}

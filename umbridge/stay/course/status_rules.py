"""Status from its evidence: what a status order does, and when a span begins, is confirmed or closes."""

from __future__ import annotations

from umbridge.settings.site import SiteProfile
from umbridge.stay.clock import HOUR
from umbridge.stay.course.state import ORDERS, REVIEW_OF, Course, Span
from umbridge.stay.course.status import BY_EVENT, Resolved, StatusOrderInForce, from_registration, resolve
from umbridge.stay.practitioners import order_ended, ordered
from umbridge.stay.record import ORDER, Record, is_planned
from umbridge.values.kinds import Lifecycle, ReviewType, Status

#: What says that a status begins. Any other message says that the patient has it.
_BEGINNINGS = frozenset({"A01", "A04", "A05", "A06", "A07", "A14", ORDER})
#: What a patient who has one of these does not go back to by the way: nobody who was admitted comes anew.
_ARRIVED = Status.ED
_LEFT = "left_status"  # among the fields of the stay: what an A06 or A07 ended


# -- status orders ---------------------------------------------------------------------------------------


def order(course: Course, site: SiteProfile, record: Record) -> None:
    data = record.data
    if data["status"] is None:
        if data["on"] and course.lifecycle in (None, Lifecycle.ACTIVE):
            course.pending["discharge"] = record.at
            course.ask(ReviewType.DISCHARGE, record.at, record.origin, ORDER)
        elif not data["on"] and course.pending.pop("discharge", None) is not None:
            course.end_asked(ReviewType.DISCHARGE, "PENDING_DISCHARGE_CANCELLED")
        return
    held = next((each for each in course.orders if each.placer == data["placer"]), None)
    if data["on"]:
        began = held.at if held is not None and held.status == data["status"] else record.at
        asked = StatusOrderInForce(data["placer"], data["status"], data["level"], began, data["source"])
        others = [each for each in course.orders if each is not held]
        course.orders = [*others, asked][-ORDERS:]
        course.practitioners = ordered(
            course.practitioners, data.get("by", ()), record.at, data["placer"], data["status"]
        )
        if course.lifecycle is None:
            course.lifecycle = Lifecycle.ACTIVE
        settle(course, site, record)
    elif held is not None:
        _order_ends(course, site, record, held)


def _order_ends(course: Course, site: SiteProfile, record: Record, held: StatusOrderInForce) -> None:
    course.practitioners = order_ended(course.practitioners, held.placer, record.at)
    if course.lifecycle == Lifecycle.DISCHARGED:  # orders are closed when the patient has gone
        course.orders = [each for each in course.orders if each is not held]
        return
    has_acted = course.registered == held.status or (course.registered is None and course.followed)
    current = course.current()
    began_it = current is not None and current.placer == held.placer
    # An end that was told of before it takes effect says that the order stands until then (HL7 v2 4.5.1.15).
    is_late = is_planned(record, record.key, site)
    stood = is_late and current is not None and began_it and current.start <= record.told
    if (held.status == Status.INPATIENT and stood) or (held.status in REVIEW_OF and has_acted):
        # The patient has the status: no ORC undoes that. An inpatient's takes condition code 44; hours of
        # observation that were given were given, and whether by an order a person says.
        ended = None if held.status == Status.INPATIENT else record.at
        gone = held._replace(is_ended=True, ended=ended)
        course.orders = [gone if each is held else each for each in course.orders]
        return
    course.orders = [each for each in course.orders if each is not held]
    is_still_asked = any(each.status == held.status for each in course.orders)
    is_alone = began_it and not is_still_asked and not stood
    if current is not None and is_alone and not (course.followed or course.registered == current.status):
        course.void_span(current)  # nobody acted on the order: the span never was
        course.spans = course.spans[:-1]
        if course.spans:
            course.spans[-1] = course.spans[-1]._replace(end=None)
    settle(course, site, record)


# -- status ----------------------------------------------------------------------------------------------


def settle_discharge(course: Course, site: SiteProfile, record: Record) -> None:
    """Close the stay. A discharge that comes first still says which status ended, and not when it began.

    An order for observation that ended with the stay, within the hours in which order and registration meet,
    was carried out: care in observation is over when the patient leaves (Medicare Claims Processing Manual
    ch. 4 s. 290.2.2; recalled).
    """
    registered = from_registration(site, course.fields)
    current = course.current()
    if not course.spans and course.discharged_at is not None:
        found = resolve(site, registered, course.order_in_force())
        if found is not None:
            start = course.unseen = course.discharged_at
            course.begin(Span(found.status, start, None, "ADT", found.source, None, "", record.origin))
            course.followed = False
    elif current is not None and registered is not None and registered.status == current.status:
        course.confirm(record.origin)
    if registered is not None:
        course.registered = registered.status
        last = course.spans[-1] if course.spans else None
        course.followed = course.followed or (last is not None and last.status == registered.status)
    end = record.at if course.discharged_at is None else course.discharged_at
    late = end - site.windows.order_to_adt_hours * HOUR
    course.orders = [each for each in course.orders if each.ended is None or each.ended < late]
    course.close(end)
    course.leave_place(end)


def settle(course: Course, site: SiteProfile, record: Record) -> None:
    """Resolve the status again and open or confirm a span. A closed stay keeps the one it ended in."""
    at = record.at
    registered = from_registration(site, course.fields)
    said = None if registered is None else registered.status
    is_undone = _set_aside(course, record.trigger, said, at)
    course.registered = said
    current = course.current()
    if course.lifecycle not in (Lifecycle.ACTIVE, Lifecycle.ON_LEAVE, Lifecycle.PLANNED):
        return
    if current is not None and current.status == Status.PREADMIT and course.lifecycle == Lifecycle.PLANNED:
        return  # planned is planned until the patient comes, whatever the class says
    found = resolve(site, registered, course.order_in_force())
    if found is None:
        return
    asked = found.order
    if asked is None:
        span = Span(found.status, at, None, "ADT", found.source, None, "", record.origin)
    else:
        span = Span(found.status, asked.at, None, ORDER, asked.source, None, asked.placer, record.origin)
        span = span.asking(asked.at, asked.level)
    if current is None or current.status != span.status:
        left = course.fields.get(_LEFT, "")
        if current is not None and not is_undone and _goes_back(current, found, record.trigger, left):
            return
        course.fields.pop(_LEFT, None)
        if current is not None and record.trigger in BY_EVENT:
            course.fields[_LEFT] = current.status
        course.followed = said == span.status
        if not course.spans and record.trigger not in _BEGINNINGS:
            course.unseen = span.start
        _begin(course, span, current, at)
        return
    course.followed = course.followed or said == span.status
    course.confirm(record.origin)
    _confirm(course, found, course.spans[-1], span, at)


def _begin(course: Course, span: Span, current: Span | None, at: int) -> None:
    if current is not None and current.status == Status.PREADMIT:
        span = span._replace(start=max(span.start, at))  # an order given before the patient came waits
    elif current is not None:
        if current.status == Status.INPATIENT:
            course.flag("CC44_RECORD_MISSING")
            course.end_asked(ReviewType.CONTINUED_STAY, "STATUS_CHANGED")
        span = span._replace(start=max(span.start, current.start))
    elif course.spans:  # who has left was not here until they came again
        span = span._replace(start=max(span.start, course.spans[-1].end or 0, at))
    if span.status == Status.INPATIENT:
        course.end_asked(ReviewType.PROSPECTIVE, "STATUS_CHANGED")
        if course.lifecycle == Lifecycle.PLANNED:
            course.lifecycle = Lifecycle.ACTIVE
    course.begin(span)


def _confirm(course: Course, found: Resolved, current: Span, span: Span, at: int) -> None:
    """The same status from other evidence. A level that is asked for now does not change what was asked."""
    if found.order is None:
        course.spans[-1] = current._replace(evidence="ADT", source=found.source)
    elif current.evidence == ORDER:
        course.spans[-1] = current.asking(at, found.order.level)
    else:
        # Registration came first: inpatient care still begins with the order (42 CFR 412.3(a)).
        start = max(span.start, current.start)
        levels = current.asking(at, span.level).levels if current.levels else span.levels
        course.spans[-1] = span._replace(start=start, origin=current.origin, levels=levels)
        if len(course.spans) > 1:
            course.spans[-2] = course.spans[-2]._replace(end=start)


def _goes_back(current: Span, found: Resolved, trigger: str, left: str) -> bool:
    """Whether registration repeats what the patient was: on arrival, for no update makes an inpatient, or
    somebody in observation, an emergency patient again; or before the A06 or A07 that ended it (``left``).
    What takes that back is an event of its own."""
    if found.order is not None or trigger in _BEGINNINGS:
        return False
    return found.status == left or (found.status is _ARRIVED and current.status in REVIEW_OF)


def _set_aside(course: Course, trigger: str, registered: Status | None, at: int) -> bool:
    """A06 or A07 overrides older orders for the other side of inpatient; an update (A08) overrides none.

    Whether an order went that had been cancelled: nobody but registration has kept the status since.
    """
    is_inpatient = registered is Status.INPATIENT
    if is_inpatient and trigger == "A06":
        course.orders = [o for o in course.orders if o.at > at or o.status == Status.INPATIENT]
    elif not is_inpatient and trigger == "A07":
        course.orders = [o for o in course.orders if o.at > at or o.status != Status.INPATIENT]
    left = course.orders
    if registered is not None:
        left = [each for each in course.orders if not each.is_ended or each.status == registered]
    is_undone = len(left) != len(course.orders)
    course.orders = left
    return is_undone

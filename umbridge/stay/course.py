"""The course of one stay: what each ADT event and status order, taken in effective order, changes.

A plain left-to-right fold. An event that a later one may cancel leaves behind what it replaced, so that a
cancel restores the previous state rather than a fixed one, and a cancel that comes before its target (in
effective order) finds nothing and changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from copy import copy
from typing import Any, NamedTuple

from umbridge.model import Level, Lifecycle, ReviewType, Status
from umbridge.site import SiteProfile
from umbridge.stay.record import CANCELS, ORDER, Record, same_patient
from umbridge.stay.status import StatusOrderInForce, from_registration, resolve

_UPDATES = frozenset({"A01", "A02", "A03", "A04", "A05", "A06", "A07", "A08", "A21", "A22"})
_LOCATION = ("unit", "room", "bed")
_OUTPATIENT = (Status.OBSERVATION, Status.OUTPATIENT)

# Bounds, so that no sender can make a snapshot grow without end. Real stays stay far below them.
_SPANS, _UNDO, _ACCOUNTS, _ORDERS, _LEAVES, _VOIDED = 32, 4, 16, 16, 32, 16


class Span(NamedTuple):
    """Time in one status. ``evidence`` is ORDER or ADT; ``placer`` the order that began it."""

    status: str
    start: int
    end: int | None
    evidence: str
    source: str
    level: int | None
    placer: str


class Course:
    """The state between two events. Small, copyable, and written whole into a snapshot."""

    __slots__ = (
        *("lifecycle", "fields", "patient", "visit", "accounts", "care_start", "first_at", "discharged_at"),
        *("disposition", "attending", "pending", "spans", "orders", "voided", "leaves", "flags"),
        *("registered", "undo"),
    )

    def __init__(self) -> None:
        self.lifecycle: str | None = None
        self.fields: dict[str, str] = {}
        self.patient = ""
        self.visit = ""
        self.accounts: list[str] = []
        self.care_start: int | None = None
        self.first_at: int | None = None
        self.discharged_at: int | None = None
        self.disposition = ""
        self.attending = ""
        self.pending: dict[str, int] = {}
        self.spans: list[Span] = []
        self.orders: list[StatusOrderInForce] = []
        self.voided: list[tuple[str, int]] = []
        self.leaves: list[tuple[int, int | None]] = []
        self.flags: list[str] = []
        self.registered: str | None = None
        self.undo: dict[str, list[Any]] = {}

    def copied(self) -> Course:
        """A copy to step on without touching this one. Undo entries are never changed in place."""
        twin = Course()
        for name in self.__slots__:
            value = copy(getattr(self, name))
            setattr(twin, name, value)
        twin.undo = {kind: list(entries) for kind, entries in self.undo.items()}
        return twin

    def state(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self.__slots__}

    @classmethod
    def of(cls, state: dict[str, Any]) -> Course:
        course = cls()
        for name in cls.__slots__:
            setattr(course, name, state[name])
        course.spans = [Span(*row) for row in course.spans]
        course.orders = [StatusOrderInForce(*row) for row in course.orders]
        course.voided = [(kind, at) for kind, at in course.voided]
        course.leaves = [(out, back) for out, back in course.leaves]
        return course

    # -- one event -----------------------------------------------------------------------------------

    def step(self, site: SiteProfile, record: Record) -> None:
        """Apply the next record. Another patient's events change nothing: the fold raises the exception."""
        if not self.patient:
            self.patient = record.patient
        elif not same_patient(self.patient, record.patient):
            return
        elif "^" in self.patient and record.patient and "^" not in record.patient:
            self.patient = record.patient  # the site's own number at last
        self._identify(record)
        if record.trigger == ORDER:
            self._order(site, record)
        elif record.trigger in CANCELS:
            self._cancel(site, record)
        else:
            self._event(site, record)

    def _identify(self, record: Record) -> None:
        data = record.data
        if self.first_at is None:
            self.first_at = record.at
        if not self.visit:
            self.visit = data.get("visit", "")
        for account in (*data.get("prior", ()), data.get("account", "")):
            if account and account not in self.accounts and len(self.accounts) < _ACCOUNTS:
                self.accounts.append(account)
        is_planned = record.trigger in ("A05", "A14")  # PV1-44 then says when the patient should come
        if self.care_start is None and not is_planned:
            self.care_start = data.get("admitted")

    def _remember(self, kind: str, entry: Any) -> None:
        entries = self.undo.setdefault(kind, [])
        entries.append(entry)
        del entries[:-_UNDO]

    def _event(self, site: SiteProfile, record: Record) -> None:
        trigger, at = record.trigger, record.at
        handler = _HANDLERS.get(trigger)
        if handler is not None:
            handler(self, record)
        if trigger in _UPDATES:
            self._update(record.data)
        if self.lifecycle is None:
            self.lifecycle = Lifecycle.ACTIVE
        if trigger == "A03":
            self._settle_first(site)
            self._close(self.discharged_at or at)
        elif trigger == "A05":
            if self.lifecycle == Lifecycle.PLANNED and not self._current():
                self._begin(Span(Status.PREADMIT, at, None, "ADT", "A05", None, ""))
        elif trigger in _UPDATES:
            self._settle(site, trigger, at)

    def _update(self, data: dict[str, Any]) -> None:
        for name, value in data.get("fields", {}).items():
            if value:
                self.fields[name] = value
            else:
                self.fields.pop(name, None)
        self.attending = data.get("attending") or self.attending

    # -- what single triggers do beyond updating fields ------------------------------------------------

    def _admit(self, record: Record) -> None:
        spans = [tuple(span) for span in self.spans]
        saved = [self.lifecycle, dict(self.fields), spans, self.registered, self.discharged_at]
        self._remember("preadmit" if record.trigger == "A05" else "admit", saved)
        if record.trigger == "A05":
            if self.lifecycle in (None, Lifecycle.CANCELLED):
                self.lifecycle = Lifecycle.PLANNED
            return
        self.pending.pop("admit", None)
        if self.lifecycle != Lifecycle.ON_LEAVE:
            self.lifecycle = Lifecycle.ACTIVE
        self.discharged_at = None

    def _convert(self, _record: Record) -> None:
        if self.lifecycle in (None, Lifecycle.PLANNED):
            self.lifecycle = Lifecycle.ACTIVE

    def _changed(self, record: Record) -> None:
        if record.data.get("discharged") is not None and self.lifecycle == Lifecycle.ACTIVE:
            self._flag("DISCHARGE_TIME_ON_ACTIVE_VISIT")

    def _transfer(self, _record: Record) -> None:
        self._remember("transfer", {name: self.fields.get(name) for name in _LOCATION})

    def _discharge(self, record: Record) -> None:
        if self.lifecycle != Lifecycle.DISCHARGED:
            self._remember("discharge", [self.lifecycle, self.disposition, dict(self.pending)])
        self.lifecycle = Lifecycle.DISCHARGED
        discharged = record.data.get("discharged")
        self.discharged_at = record.at if discharged is None else discharged
        self.disposition = record.data.get("disposition") or self.disposition
        self.pending = {}

    def _leave(self, record: Record) -> None:
        if self.lifecycle == Lifecycle.ACTIVE:
            self._remember("leave", None)
            self.lifecycle = Lifecycle.ON_LEAVE
            self.leaves = [*self.leaves, (record.at, None)][-_LEAVES:]

    def _return(self, record: Record) -> None:
        if self.lifecycle == Lifecycle.ON_LEAVE and self.leaves:
            self._remember("return", None)
            self.lifecycle = Lifecycle.ACTIVE
            self.leaves[-1] = (self.leaves[-1][0], record.at)

    def _pend(self, record: Record) -> None:
        word = {"A14": "admit", "A15": "transfer", "A16": "discharge"}[record.trigger]
        self._remember(f"pending {word}", None)
        self.pending[word] = record.at
        if record.trigger == "A14" and self.lifecycle is None:
            self.lifecycle = Lifecycle.PLANNED

    # -- cancels -----------------------------------------------------------------------------------------

    def _cancel(self, site: SiteProfile, record: Record) -> None:
        kind = CANCELS[record.trigger]
        entries = self.undo.get(kind)
        saved: Any = entries.pop() if entries else _NOTHING
        if kind in ("admit", "preadmit"):
            self._cancel_opening(site, record, saved)
        elif saved is _NOTHING:
            if self.lifecycle is None:
                self.lifecycle = Lifecycle.ACTIVE
        elif kind == "discharge":
            self._cancel_discharge(site, record, saved)
        elif kind == "transfer":
            self._relocate(saved)
            self._settle(site, record.trigger, record.at)
        elif kind == "leave":
            self.lifecycle = Lifecycle.ACTIVE
            del self.leaves[-1:]
        elif kind == "return" and self.leaves:
            self.lifecycle = Lifecycle.ON_LEAVE
            self.leaves[-1] = (self.leaves[-1][0], None)
        else:
            self.pending.pop(kind.removeprefix("pending "), None)

    def _relocate(self, location: dict[str, str | None]) -> None:
        for name in _LOCATION:
            value = location.get(name)
            if value:
                self.fields[name] = value
            else:
                self.fields.pop(name, None)

    def _cancel_opening(self, site: SiteProfile, record: Record, saved: Any) -> None:
        if record.trigger == "A38" and self.lifecycle not in (None, Lifecycle.PLANNED):
            return  # the patient came after all; what was planned is history
        before = list(self.spans)
        if not self.undo.get("admit") and not self.undo.get("preadmit"):
            # Nothing that opened the stay is left: a shell, with the place and account it had.
            self.lifecycle, self.spans, self.registered = Lifecycle.CANCELLED, [], None
            self.pending, self.discharged_at = {}, None
            self._update(record.data)
        elif saved is not _NOTHING:
            self.lifecycle, self.fields, self.discharged_at = saved[0], dict(saved[1]), saved[4]
            self.spans, self.registered = [Span(*row) for row in saved[2]], saved[3]
            self._settle(site, record.trigger, record.at)
        kept = {(span.status, span.start) for span in self.spans}
        for span in before:
            if (span.status, span.start) not in kept:
                self._void(span)

    def _cancel_discharge(self, site: SiteProfile, record: Record, saved: Any) -> None:
        if self._current() is None and self.spans:
            last = self.spans[-1]
            self.spans[-1] = last._replace(end=None)
            if last.status == Status.INPATIENT and self.discharged_at is not None:
                self.voided = [*self.voided, (ReviewType.RETROSPECTIVE.value, self.discharged_at)][-_VOIDED:]
        self.lifecycle = saved[0] or Lifecycle.ACTIVE
        self.disposition, self.pending, self.discharged_at = saved[1], dict(saved[2]), None
        place = {name: value for name, value in record.data.get("fields", {}).items() if name in _LOCATION}
        if place.get("unit"):
            self._relocate(place)
        self._settle(site, record.trigger, record.at)

    # -- status orders -----------------------------------------------------------------------------------

    def _order(self, site: SiteProfile, record: Record) -> None:
        data = record.data
        if data["status"] is None:
            if data["on"] and self.lifecycle in (None, Lifecycle.ACTIVE):
                self.pending["discharge"] = record.at
            elif not data["on"]:
                self.pending.pop("discharge", None)
            return
        held = next((order for order in self.orders if order.placer == data["placer"]), None)
        if data["on"]:
            began = held.at if held is not None and held.status == data["status"] else record.at
            order = StatusOrderInForce(data["placer"], data["status"], data["level"], began, data["source"])
            others = [each for each in self.orders if each is not held]
            self.orders = [*others, order][-_ORDERS:]
            if self.lifecycle is None:
                self.lifecycle = Lifecycle.ACTIVE
            self._settle(site, ORDER, record.at)
        elif held is not None:
            self._order_ends(site, record, held)

    def _order_ends(self, site: SiteProfile, record: Record, held: StatusOrderInForce) -> None:
        if held.status == Status.INPATIENT and self.registered == Status.INPATIENT:
            # The patient is already inpatient: an ORC cannot undo that, it takes condition code 44.
            self._flag("STATUS_ORDER_CANCELLED")
            return
        self.orders = [order for order in self.orders if order is not held]
        current = self._current()
        is_still_asked = any(order.status == held.status for order in self.orders)
        began_it = current is not None and current.placer == held.placer and not is_still_asked
        if current is not None and began_it and self.registered != current.status:
            self._void(current)  # nobody acted on the order: the span never was
            self.spans = self.spans[:-1]
            if self.spans:
                self.spans[-1] = self.spans[-1]._replace(end=None)
        self._settle(site, ORDER, record.at)

    # -- status spans --------------------------------------------------------------------------------------

    def _current(self) -> Span | None:
        return self.spans[-1] if self.spans and self.spans[-1].end is None else None

    def _order_in_force(self) -> StatusOrderInForce | None:
        """A later order takes the place of an earlier one, which is seldom discontinued."""
        return self.orders[-1] if self.orders else None

    def _begin(self, span: Span) -> None:
        self._close(span.start)
        self.spans.append(span)
        if len(self.spans) > _SPANS:
            del self.spans[1]

    def _close(self, at: int) -> None:
        current = self._current()
        if current is not None:
            self.spans[-1] = current._replace(end=max(at, current.start))

    def _settle_first(self, site: SiteProfile) -> None:
        """A discharge that comes first still says which status ended."""
        if not self.spans and self.discharged_at is not None:
            found = resolve(site, from_registration(site, self.fields), self._order_in_force())
            if found is not None:
                start = self.discharged_at if self.care_start is None else self.care_start
                self._begin(Span(found.status, start, None, "ADT", found.source, None, ""))

    def _settle(self, site: SiteProfile, trigger: str, at: int) -> None:
        """Resolve the status again and open or confirm a span. A closed stay keeps the one it ended in."""
        registered = from_registration(site, self.fields)
        self._set_aside(trigger, None if registered is None else registered.status, at)
        self.registered = None if registered is None else registered.status
        if self.lifecycle not in (Lifecycle.ACTIVE, Lifecycle.ON_LEAVE, Lifecycle.PLANNED):
            return
        found = resolve(site, registered, self._order_in_force())
        if found is None:
            return
        order = found.order
        if order is None:
            span = Span(found.status, at, None, "ADT", found.source, None, "")
        else:
            span = Span(found.status, order.at, None, ORDER, order.source, order.level, order.placer)
        current = self._current()
        if current is None or current.status != span.status:
            if current is not None:
                if current.status == Status.INPATIENT and span.status in (
                    Status.OBSERVATION,
                    Status.OUTPATIENT,
                ):
                    self._flag("CC44_RECORD_MISSING")
                span = span._replace(start=max(span.start, current.start))
            elif self.spans:
                span = span._replace(start=max(span.start, self.spans[-1].end or 0))
            self._begin(span)
        elif order is None:
            self.spans[-1] = current._replace(evidence="ADT", source=found.source)
        elif current.evidence == ORDER:
            self.spans[-1] = current._replace(level=order.level)
        else:
            # Registration came first: inpatient care still begins with the order (42 CFR 412.3(a)).
            self.spans[-1] = span._replace(start=max(span.start, current.start))
            if len(self.spans) > 1:
                self.spans[-2] = self.spans[-2]._replace(end=self.spans[-1].start)

    def _set_aside(self, trigger: str, registered: Status | None, at: int) -> None:
        """A06 or A07, or an A08 saying the same, overrides older orders for the other side of inpatient."""
        is_inpatient = registered is Status.INPATIENT
        was_inpatient = self.registered == Status.INPATIENT
        implied = trigger == "A08" and registered is not None and self.registered is not None
        if is_inpatient and (trigger == "A06" or (implied and not was_inpatient)):
            self.orders = [o for o in self.orders if o.at > at or o.status == Status.INPATIENT]
        elif not is_inpatient and (trigger == "A07" or (implied and was_inpatient)):
            self.orders = [o for o in self.orders if o.at > at or o.status != Status.INPATIENT]

    def _flag(self, code: str) -> None:
        if code not in self.flags:
            self.flags.append(code)

    def _void(self, span: Span) -> None:
        review = REVIEW_OF.get(span.status)
        if review is not None:
            self.voided = [*self.voided, (review.value, span.start)][-_VOIDED:]


_NOTHING = object()

#: The review that a span of this status opens.
REVIEW_OF = {
    Status.INPATIENT.value: ReviewType.ADMISSION,
    Status.OBSERVATION.value: ReviewType.OBSERVATION,
    Status.PREADMIT.value: ReviewType.PROSPECTIVE,
}

_HANDLERS: dict[str, Callable[[Course, Record], None]] = {
    **dict.fromkeys(("A01", "A04", "A05"), Course._admit),
    **dict.fromkeys(("A06", "A07"), Course._convert),
    **dict.fromkeys(("A14", "A15", "A16"), Course._pend),
    "A02": Course._transfer,
    "A03": Course._discharge,
    "A08": Course._changed,
    "A21": Course._leave,
    "A22": Course._return,
}

#: What a status asks for when no order names a level.
DEFAULT_LEVEL = {
    Status.INPATIENT.value: Level.ACUTE,
    Status.OBSERVATION.value: Level.OBS,
}

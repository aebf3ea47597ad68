"""The state of one stay between two events: spans of status and place, orders, leaves, what waits.

Small, copyable, and written whole into a snapshot. What events do to it is in ``steps``.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from copy import copy
from typing import Any, NamedTuple

from umbridge.stay.course.status import StatusOrderInForce
from umbridge.stay.practitioners import Held
from umbridge.values.kinds import Level, ReviewType, Status

# Bounds, so that no sender can make a snapshot grow without end. Real stays stay far below them.
SPANS, ACCOUNTS, ORDERS, LEAVES, VOIDED, PLACES, ASKED, LEVELS = 32, 16, 16, 32, 32, 64, 32, 16

#: Row number and part of the message that first spoke for something: it names the review that follows.
Origin = tuple[int, int]


class Span(NamedTuple):
    """Time in one status. ``evidence`` is ORDER or ADT; ``placer`` the order that began it.

    ``levels``: each level of care that orders asked for, with since when; ``level`` is the last.
    """

    status: str
    start: int
    end: int | None
    evidence: str
    source: str
    level: int | None
    placer: str
    origin: Origin
    levels: tuple[tuple[int, int | None], ...] = ()

    def asking(self, at: int, level: int | None) -> Span:
        """The same, with a level that is asked for from then on."""
        if self.levels and self.levels[-1][1] == level:
            return self._replace(level=level)
        first, later = self.levels[:1], self.levels[1:]
        return self._replace(level=level, levels=(*first, *later[2 - LEVELS :], (at, level)))


class Place(NamedTuple):
    """Time in one place: PV1-3's unit, room and bed."""

    unit: str
    room: str
    bed: str
    start: int
    end: int | None


class Leave(NamedTuple):
    """Away from the house: since when, until when, and when the patient was expected back (PV2-47)."""

    out: int
    back: int | None
    expected: int | None


class Asked(NamedTuple):
    """A review that an event asked for rather than a status: planned care, a transfer, a coming discharge.

    ``by`` is the trigger; ``ended`` the reason why it closed, "" while it stands.
    """

    type: str
    at: int
    origin: Origin
    level: int | None
    by: str
    ended: str


class Voided(NamedTuple):
    """A review whose ground was taken back."""

    type: str
    at: int
    origin: Origin


class Course:
    """The state between two events. ``steps.step`` changes it; ``view`` reads it."""

    __slots__ = (
        *("lifecycle", "fields", "patient", "visit", "accounts", "care_start", "first_at", "discharged_at"),
        *(
            "discharge_origin",
            "disposition",
            "practitioners",
            "pending",
            "spans",
            "places",
            "orders",
            "voided",
        ),
        *("leaves", "asked", "flags", "registered", "coming", "facility", "unseen", "emptied", "anew"),
        *("followed", "reached"),
    )

    def __init__(self) -> None:
        self.lifecycle: str | None = None
        self.fields: dict[str, str] = {}
        self.patient = ""
        self.reached = 0  # when the last order in it took effect that had been told of before
        self.visit = ""
        self.accounts: list[str] = []
        self.care_start: int | None = None
        self.first_at: int | None = None
        self.discharged_at: int | None = None
        self.discharge_origin: Origin | None = None
        self.disposition = ""
        self.practitioners: list[Held] = []
        self.pending: dict[str, int] = {}
        self.spans: list[Span] = []
        self.places: list[Place] = []
        self.orders: list[StatusOrderInForce] = []
        self.voided: list[Voided] = []
        self.leaves: list[Leave] = []
        self.asked: list[Asked] = []
        self.flags: list[str] = []
        self.registered: str | None = None
        self.followed = False  # whether registration has said the status of the last span
        self.coming: int | None = None
        self.facility = ""  # where the stay began
        #: When a status began that no message saw begin: the first that told of it.
        self.unseen: int | None = None
        #: When it was told, with the receipt number, that nothing of the stay was left; and that of the last
        #: of them after which the stay began anew.
        self.emptied: list[int] | None = None
        self.anew: list[int] | None = None

    def copied(self) -> Course:
        """A copy to step on without touching this one. What its lists hold is never changed in place."""
        twin = Course()
        for name in self.__slots__:
            setattr(twin, name, copy(getattr(self, name)))
        return twin

    def state(self) -> dict[str, Any]:
        """What JSON can hold, as it lies in the store."""
        return {name: getattr(self, name) for name in self.__slots__}

    @classmethod
    def of(cls, state: dict[str, Any]) -> Course:
        course = cls()
        for name in cls.__slots__:
            setattr(course, name, state.get(name, getattr(course, name)))  # form 4 has fewer
        course.discharge_origin = _origin_or_none(course.discharge_origin)
        course.spans = _spans(course.spans)
        course.places = [Place(*row) for row in course.places]
        course.orders = [StatusOrderInForce(*row) for row in course.orders]
        course.voided = [Voided(kind, at, _origin(origin)) for kind, at, origin in course.voided]
        course.leaves = [Leave(*row) for row in course.leaves]
        course.asked = _asked(course.asked)
        course.practitioners = [Held(*row) for row in course.practitioners]
        return course

    # -- what handlers share -----------------------------------------------------------------------------

    def flag(self, code: str) -> None:
        if code not in self.flags:
            self.flags.append(code)

    def said_to_be_odd(self) -> list[str]:
        """The flags, and what a later message may still put right."""
        return [*self.flags, "TIMES_CONTRADICT"] if RETURN_CONTRADICTED in self.fields else self.flags

    def void(self, kind: str, at: int, origin: Origin) -> None:
        self.voided = [*self.voided, Voided(kind, at, origin)][-VOIDED:]

    def is_void(self, kind: str, at: int) -> bool:
        return any((each.type, each.at) == (kind, at) for each in self.voided)

    # -- status ------------------------------------------------------------------------------------------

    def current(self) -> Span | None:
        return self.spans[-1] if self.spans and self.spans[-1].end is None else None

    def order_in_force(self) -> StatusOrderInForce | None:
        """A later order takes the place of an earlier one, which is seldom discontinued."""
        return self.orders[-1] if self.orders else None

    def is_unordered(self) -> bool:
        """Whether the order behind the status was cancelled too late to undo it, and none was given since."""
        its = [each for each in self.orders if self.spans and each.status == self.spans[-1].status]
        return bool(its) and all(each.is_ended for each in its)

    @property
    def registered_since(self) -> tuple[str, int] | None:
        """The status that the patient has by registration alone, and since when."""
        last = self.spans[-1] if self.spans else None
        return None if last is None or last.evidence != "ADT" else (last.status, last.start)

    def begin(self, span: Span) -> None:
        self.close(span.start)
        self.spans.append(span)
        if len(self.spans) > SPANS:
            del self.spans[1]

    def close(self, at: int) -> None:
        current = self.current()
        if current is not None:
            self.spans[-1] = current._replace(end=max(at, current.start))

    def confirm(self, origin: Origin) -> None:
        """Another message speaks for the current span: the earliest received one names its review."""
        current = self.current()
        if current is not None and origin < current.origin:
            self.spans[-1] = current._replace(origin=origin)

    def void_span(self, span: Span) -> None:
        review = REVIEW_OF.get(span.status)
        if review is not None:
            self.void(review.value, span.start, span.origin)

    # -- place -------------------------------------------------------------------------------------------

    def settle_place(self, at: int) -> None:
        """Begin another place where the fields name one."""
        last = self.places[-1] if self.places and self.places[-1].end is None else None
        if last is not None and self._is_in(last):
            return
        self.leave_place(at)
        unit, room, bed = (self.fields.get(name, "") for name in LOCATION)
        if unit or room or bed:
            self.places.append(Place(unit, room, bed, at, None))
            if len(self.places) > PLACES:
                del self.places[1]

    def leave_place(self, at: int) -> None:
        if self.places and self.places[-1].end is None:
            self.places[-1] = self.places[-1]._replace(end=max(at, self.places[-1].start))

    def _is_in(self, place: Place) -> bool:
        return place[:3] == tuple(self.fields.get(name, "") for name in LOCATION)

    # -- reviews that events ask for ---------------------------------------------------------------------

    def ask(self, kind: ReviewType, at: int, origin: Origin, by: str, level: int | None = None) -> None:
        """Ask for a review, unless one of the kind stands: then this message speaks for that one too."""
        for place, each in enumerate(self.asked):
            if each.type == kind and not each.ended and kind is not ReviewType.CONTINUED_STAY:
                self.asked[place] = each._replace(origin=min(each.origin, origin))
                return
        self.asked = [*self.asked, Asked(kind.value, at, origin, level, by, "")][-ASKED:]

    def end_asked(self, kind: ReviewType, reason: str) -> None:
        self.asked = [
            each._replace(ended=reason) if each.type == kind and not each.ended else each
            for each in self.asked
        ]

    def void_asked(self, kind: ReviewType, by: str = "", origin: Origin | None = None) -> None:
        """Take back what stands of a kind: all of it, what one trigger asked for, or what one message did."""
        kept = []
        for each in self.asked:
            of_kind = each.type == kind and not each.ended
            if of_kind and by in ("", each.by) and origin in (None, each.origin):
                self.void(each.type, each.at, each.origin)
            else:
                kept.append(each)
        self.asked = kept


# -- at rest: JSON knows no tuples -------------------------------------------------------------------------


def _origin(row: Sequence[int]) -> Origin:
    return (row[0], row[1])


def _origin_or_none(row: Sequence[int] | None) -> Origin | None:
    return None if row is None else _origin(row)


def _spans(rows: Iterable[Sequence[Any]]) -> list[Span]:
    spans = [Span(*row) for row in rows]  # form 4 has no levels
    return [
        each._replace(origin=_origin(each.origin), levels=tuple((at, level) for at, level in each.levels))
        for each in spans
    ]


def _asked(rows: Iterable[Sequence[Any]]) -> list[Asked]:
    return [Asked(row[0], row[1], _origin(row[2]), *row[3:]) for row in rows]


LOCATION = ("unit", "room", "bed")
#: Among the fields of the stay: the patient came back before leaving, by what was told.
RETURN_CONTRADICTED = "return_contradicted"
#: Among them: something was told that is told only of who is here, and the patient was only planned.
NEVER_CAME = "never_came"

#: The review that a span of this status opens.
REVIEW_OF = {
    Status.INPATIENT.value: ReviewType.ADMISSION,
    Status.OBSERVATION.value: ReviewType.OBSERVATION,
}

#: What a status asks for when no order names a level.
DEFAULT_LEVEL = {
    Status.INPATIENT.value: Level.ACUTE,
    Status.OBSERVATION.value: Level.OBS,
}

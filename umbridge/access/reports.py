"""Reports for those who must account for access: who looked, and how far a breach reaches.

The first row of each says when it was made and how much of the ledger no anchor holds yet. What a report
counts it counts over whole entries, behind the door; what it shows of them is redacted line by line.
45 CFR 164.308(a)(1)(ii)(D), 164.402(2).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from typing import ClassVar, TypedDict

from umbridge_audit.disclose import Need, Viewer

from umbridge.access.door import Door
from umbridge.access.opened import Opened, Whole
from umbridge.access.questions import OfEntry, OfMessage, Patient, Query, Whose, asked, looks_for, text
from umbridge.access.views import Seen, Slots, inside, view, within
from umbridge.errors import UsageError
from umbridge.settings.config import Settings
from umbridge.store.writer import Writer

LOOKS = (
    "access.read",
    "access.search",
    "access.export",
    "access.denied",
    "breakglass.open",
    "breakglass.review",
)
REPORTING = ("HCOMPL",)
_NUMBERED = re.compile(r"(messages|ledger) (?:show|proof) (\d{1,16})")


@view
class ReportHead:
    """What a report says of itself."""

    report: str = within("open")
    made_at: str = within("open", "ts")
    since: str | None = within("open", "ts")
    until: str | None = within("open", "ts")
    entries: int = within("open", "seq")
    unanchored: int = within("open", "seq")
    unanchored_window_seconds: float = within("open", "seq")


@view
class BreachHead(ReportHead):
    """With whose looks are in question."""

    user: str = within("open", "actor")


@view
class AccessLine:
    """One look, refusal or broken glass, as its entry has it."""

    seq: int = within("open")
    kind: str = within("open", "schema")
    ts: str = within("open")
    slots: Slots = inside(Slots, flat=True)


@view
class BreachLine:
    """One patient whose record somebody was shown."""

    patient: str = within("ident", "visit")
    first: str = within("open", "ts")
    last: str = within("open", "ts")
    looks: int = within("ops", "count")
    how: tuple[str, ...] = within("ops", "request")
    shown: tuple[str, ...] = within("ops", "revealed")
    by: tuple[str, ...] = within("ops", "account")


@asked
class ReportAccess(Query[ReportHead | AccessLine]):
    """``report access``."""

    name: ClassVar[str] = "report.access"
    purposes = REPORTING
    rows = (ReportHead, AccessLine)

    user: str = text()
    patient: str = looks_for("ident", "patient", told="name")
    since: str = text()
    until: str = text()

    @property
    def words(self) -> str:
        return "report access"

    @property
    def whose(self) -> Whose:
        return Patient(self.patient)


@asked
class ReportBreachScope(Query[BreachHead | BreachLine]):
    """``report breach-scope``."""

    name: ClassVar[str] = "report.breach-scope"
    purposes = REPORTING
    rows = (BreachHead, BreachLine)
    stands_on = (Need("ident", "visit", "whose records were shown"),)

    user: str = text()
    since: str = text()
    until: str = text()


class Reports:
    """``report access`` and ``report breach-scope``. Every report is itself a look."""

    def __init__(self, settings: Settings, door: Door) -> None:
        self._settings = settings
        self._door = door
        self._writer = door.writer

    # -- access ----------------------------------------------------------------------------------------

    def access(self, viewer: Viewer, query: ReportAccess) -> Iterator[Seen[ReportHead | AccessLine]]:
        """Every look, refusal and broken glass in a span of time, of one user or at one patient."""
        since, until, meant = _span(query)

        def lines(opened: Opened) -> Iterator[ReportHead | AccessLine]:
            yield ReportHead(**head(self._writer, self._settings, "access", since, until))
            for look in opened.whole(LOOKS, meant):  # by what the entry says, whatever these eyes see of it
                if query.user and query.user not in (look.text("actor"), look.text("account")):
                    continue
                if not query.patient or look.text("patient") == query.patient:
                    entry = opened.entry(look.seq)
                    yield AccessLine(seq=entry.seq, kind=entry.kind, ts=entry.ts, slots=entry.slots)

        return self._door.disclose(viewer, query, lines)

    # -- breach ----------------------------------------------------------------------------------------

    def breach(self, viewer: Viewer, query: ReportBreachScope) -> Iterator[Seen[BreachHead | BreachLine]]:
        """Whose records one user or account was shown in a span of time: factors 1 to 3 of 164.402(2)."""
        if not query.user:
            raise UsageError("--user: the user or account whose looks are in question")
        since, until, meant = _span(query)

        def lines(opened: Opened) -> Iterator[BreachHead | BreachLine]:
            values = head(self._writer, self._settings, "breach-scope", since, until)
            yield BreachHead(**values, user=query.user)
            patients: dict[str, _Shown] = {}
            everybody: list[Whole] = []
            for look in opened.whole(LOOKS[:3], meant):
                if query.user not in (look.text("actor"), look.text("account")):
                    continue
                if look.text("outcome") == "denied":
                    continue
                if look.kind != "access.read":
                    if re.search(r"ident:(\*|\S*visit)", look.text("revealed")):
                        everybody.append(look)
                    continue
                visit = look.text("patient") or _of(opened, look.text("query"))
                if visit:
                    patients.setdefault(visit, _Shown(visit)).add(look, "one by one")
            for look in everybody:
                for visit in _known_at(opened, look.ts):
                    patients.setdefault(visit, _Shown(visit)).add(look, "in a list or file of all")
            for visit in sorted(patients):
                yield patients[visit].line()

        return self._door.disclose(viewer, query, lines)


class HeadValues(TypedDict):
    """The fields of a ``ReportHead``."""

    report: str
    made_at: str
    since: str | None
    until: str | None
    entries: int
    unanchored: int
    unanchored_window_seconds: float


def head(writer: Writer, settings: Settings, name: str, since: str, until: str) -> HeadValues:
    """What a report says of itself, of now."""
    return {
        "report": name,
        "made_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "since": since or None,
        "until": until or None,
        "entries": writer.ledger.size,
        "unanchored": writer.ledger.unanchored,
        "unanchored_window_seconds": settings.ledger.checkpoint_seconds,
    }


@dataclass(slots=True)
class _Shown:
    """What is counted of one patient in the scope of a breach."""

    patient: str
    first: str = ""
    last: str = ""
    looks: int = 0
    how: list[str] = field(default_factory=list)
    shown: list[str] = field(default_factory=list)
    by: list[str] = field(default_factory=list)

    def add(self, look: Whole, how: str) -> None:
        self.first, self.last = min(self.first or look.ts, look.ts), max(self.last, look.ts)
        self.looks += 1
        for known, value in (
            (self.how, how),
            (self.shown, look.text("revealed")),
            (self.by, look.text("account")),
        ):
            if value and value not in known:
                known.append(value)

    def line(self) -> BreachLine:
        return BreachLine(
            patient=self.patient,
            first=self.first,
            last=self.last,
            looks=self.looks,
            how=tuple(self.how),
            shown=tuple(self.shown),
            by=tuple(self.by),
        )


def _of(opened: Opened, query: str) -> str | None:
    """The visit of a message or entry that was looked at by its number, by entries that do not name it."""
    found = _NUMBERED.match(query)
    if found is None:
        return None
    number = int(found[2])
    return opened.visit_of(OfMessage(number) if found[1] == "messages" else OfEntry(number))


def _known_at(opened: Opened, ts: str) -> Iterator[str]:
    """Every visit that a message had named by then."""
    seen = set[str]()
    for row in opened.messages():
        visit = row.head.get("visit")
        if row.received_at <= ts and visit and visit not in seen:
            seen.add(visit)
            yield str(visit)


def _span(query: ReportAccess | ReportBreachScope) -> tuple[str, str, Callable[[str], bool]]:
    since, until = day_of(query.since, "since") or "", day_of(query.until, "until") or ""
    return since, until, during(since, until)


def during(since: str, until: str) -> Callable[[str], bool]:
    """Whether an entry's time lies in a span of days; "" is no end to it."""
    return lambda ts: not (since and ts < since) and not (until and ts[: len(until)] > until)


def day_of(said: str, name: str) -> str | None:
    """A date as the entries write it. Raises UsageError."""
    if not said:
        return None
    try:
        return date.fromisoformat(said).isoformat()
    except ValueError:
        raise UsageError(f"--{name.replace('_', '-')}: expected a date such as 2026-03-02") from None

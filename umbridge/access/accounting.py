"""Disclosures made outside, recorded, and the accounting that a patient may ask for. 45 CFR 164.528."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime
from typing import ClassVar

from umbridge_audit.disclose import Need, Viewer, who
from umbridge_audit.entry import Draft

from umbridge.access.door import Door
from umbridge.access.opened import Opened
from umbridge.access.questions import (
    Access,
    Act,
    Patient,
    Query,
    Whose,
    asked,
    flag,
    looks_for,
    some_number,
    text,
)
from umbridge.access.reports import REPORTING, ReportHead, day_of, during, head
from umbridge.access.views import Seen, view, within
from umbridge.errors import UsageError
from umbridge.settings.config import Settings
from umbridge.store.commands import WriteEntry

YEARS = 6  # 164.528(a)(1): disclosures in the six years before the request
COMPLIANCE = "2003-04-14"  # 164.534: the compliance date of most covered entities
# 164.528(a)(1)(i) to (ix): what an accounting leaves out, and why. Any other basis is accounted for.
EXCLUDED = {
    "treatment": "(i) treatment, payment and health care operations",
    "payment": "(i) treatment, payment and health care operations",
    "operations": "(i) treatment, payment and health care operations",
    "individual": "(ii) to the individual",
    "incident": "(iii) incident to a permitted use or disclosure",
    "authorization": "(iv) under an authorization",
    "directory": "(v) facility directory, persons involved in care, notification",
    "national-security": "(vi) national security or intelligence",
    "custody": "(vii) correctional institution or law enforcement custody",
    "limited-data-set": "(viii) part of a limited data set",
}
ACCOUNTED = (
    *("required-by-law", "public-health", "abuse", "oversight", "judicial", "law-enforcement", "decedent"),
    *("donation", "research", "threat", "specialized-government", "workers-compensation", "not-permitted"),
)
_EXPORT_BASIS = {"PATRQT": "individual", "HPAYMT": "payment", "TREAT": "treatment"}


@view
class AccountingHead(ReportHead):
    """With whose accounting it is."""

    patient: str = within("ident")


@view
class AccountingLine:
    """The four parts of 164.528(b)(2); several to one recipient for one purpose are one line."""

    date: str = within("ops", "on")
    recipient: str = within("ident")
    address: str | None = within("ident")
    what: str = within("ident")
    statement: str = within("ident")
    basis: str = within("ops")
    exclusion: str | None = within("ops")
    times: int = within("ops")
    last_date: str | None = within("ops", "last_on")
    entries: tuple[int, ...] = within("open", "seq")


@view
class DisclosureDone:
    """What became of a disclosure that was recorded."""

    entry: int = within("open", "seq")
    state: str = within("open")
    exclusion: str | None = within("ops")


@asked
class ReportDisclosures(Query[AccountingHead | AccountingLine]):
    """``report disclosures``."""

    name: ClassVar[str] = "report.disclosures"
    access: ClassVar[Access] = "read"
    purposes = REPORTING
    rows = (AccountingHead, AccountingLine)
    stands_on = (Need("ident", "recipient", "to whom something was disclosed"),)

    patient: str = looks_for("ident", "patient", told="name")
    asked_on: str = text()
    all: bool = flag()

    @property
    def words(self) -> str:
        return "report disclosures"

    @property
    def whose(self) -> Whose:
        return Patient(self.patient)


@asked
class RecordDisclosure(Act[DisclosureDone]):
    """``disclosures record``."""

    name: ClassVar[str] = "disclosures.record"
    may: ClassVar[str] = "record a disclosure"
    rows = (DisclosureDone,)

    patient: str = text()
    recipient: str = text()
    address: str = text()
    what: str = text()
    statement: str = text()
    basis: str = text()
    on: str = text()
    last_on: str = text()
    times: int | None = some_number()


class Accountings:
    """``report disclosures`` and ``disclosures record``."""

    def __init__(self, settings: Settings, door: Door) -> None:
        self._settings = settings
        self._door = door
        self._writer = door.writer

    # -- disclosures -----------------------------------------------------------------------------------

    def record(self, viewer: Viewer, act: RecordDisclosure) -> Iterator[Seen[DisclosureDone]]:
        """A disclosure made outside umbridge, with the four parts of 164.528(b)(2)."""
        return self._door.perform(viewer, act, lambda: self._recorded(viewer, act))

    def _recorded(self, viewer: Viewer, act: RecordDisclosure) -> Iterator[DisclosureDone]:
        on, last = day_of(act.on, "on"), day_of(act.last_on, "last_on")
        if act.basis not in EXCLUDED and act.basis not in ACCOUNTED:
            raise UsageError(f"--basis: expected one of {' '.join((*EXCLUDED, *ACCOUNTED))}")
        parts = {name: getattr(act, name) for name in ("patient", "recipient", "what", "statement")}
        missing = [f"--{name}" for name, value in parts.items() if not value.strip()]
        if missing:
            raise UsageError(f"45 CFR 164.528(b)(2) asks for {' '.join(missing)} too")
        on = on or datetime.now(UTC).date().isoformat()
        excluded = exclusion(act.basis, on)
        state = "excluded" if excluded else "accountable"
        values = who(viewer, act.reason) | {
            **parts,
            "state": state,
            "address": act.address or None,
            "basis": act.basis,
            "exclusion": excluded,
            "on": on,
            "last_on": last,
            "times": act.times if act.times and act.times > 1 else None,
        }
        seq = self._writer.call(WriteEntry(draft=Draft("disclosure", values)))
        yield DisclosureDone(entry=seq, state=state, exclusion=excluded)

    def disclosures(
        self, viewer: Viewer, query: ReportDisclosures
    ) -> Iterator[Seen[AccountingHead | AccountingLine]]:
        """The accounting for one patient; with ``all``, what is left out of it too, and why."""
        if not query.patient:
            raise UsageError("--patient: an accounting is one patient's")
        day = date.fromisoformat(day_of(query.asked_on, "asked_on") or datetime.now(UTC).date().isoformat())
        since, until = (
            day.replace(year=day.year - YEARS, day=min(day.day, 28)).isoformat(),
            day.isoformat(),
        )

        def lines(opened: Opened) -> Iterator[AccountingHead | AccountingLine]:
            values = head(self._writer, self._settings, "disclosures", since, until)
            yield AccountingHead(**values, patient=query.patient)
            yield from _accounting(opened, query, since, until)
            if query.all:
                yield from _exports(opened, since, until)

        return self._door.disclose(viewer, query, lines)


def exclusion(basis: str, on: str) -> str | None:
    """Why 164.528(a)(1) leaves a disclosure out of an accounting; None when it must be accounted for."""
    if basis in EXCLUDED:
        return EXCLUDED[basis]
    return "(ix) before the compliance date" if on < COMPLIANCE else None


def _accounting(opened: Opened, query: ReportDisclosures, since: str, until: str) -> Iterator[AccountingLine]:
    found: dict[tuple[str | None, ...], AccountingLine] = {}
    for told in opened.whole(("disclosure",), lambda ts: True):
        on = told.text("on")
        if told.text("patient") != query.patient or not since <= on <= until:
            continue
        excluded = exclusion(told.text("basis"), on)
        if excluded and not query.all:
            continue
        times = told.slots.get("times")
        line = AccountingLine(
            date=on,
            recipient=told.text("recipient"),
            address=told.text("address") or None,
            what=told.text("what"),
            statement=told.text("statement"),
            basis=told.text("basis"),
            exclusion=excluded,
            times=times if isinstance(times, int) and times else 1,
            last_date=told.text("last_on") or None,
            entries=(told.seq,),
        )
        # (b)(3): several to one recipient for one purpose, as the first, how often, and the last
        same = (line.recipient, line.address, line.what, line.statement, line.basis)
        first = found.get(same)
        found[same] = line if first is None else _together(first, line)
    yield from sorted(found.values(), key=lambda line: line.date)


def _together(first: AccountingLine, more: AccountingLine) -> AccountingLine:
    return replace(
        first,
        date=min(first.date, more.date),
        last_date=max(line.last_date or line.date for line in (first, more)),
        times=first.times + more.times,
        entries=(*first.entries, *more.entries),
    )


def _exports(opened: Opened, since: str, until: str) -> Iterator[AccountingLine]:
    """Bundles taken out hold every stay, so each is one of this patient's too, and each is left out."""
    for out in opened.whole(("access.export",), during(since, until)):
        if out.text("outcome") != "exported":
            continue
        profile, purpose = out.text("query"), out.text("purpose")
        basis = _EXPORT_BASIS.get(purpose, "operations")
        basis = "limited-data-set" if profile == "limited-data-set" else basis
        why = EXCLUDED[basis]
        if profile in ("safe-harbor", "integrity-only"):
            why = "not protected health information: 164.502(d)(2)"
        yield AccountingLine(
            date=out.ts[:10],
            recipient="whoever was given the file",
            address=None,
            what=f"ledger export, profile {profile}",
            statement=f"purpose {purpose or None}, by {out.text('actor')}",
            basis=basis,
            exclusion=why,
            times=1,
            last_date=None,
            entries=(out.seq,),
        )

"""Meaning: one message to one frozen event, in the standard's terms and in no local ones.

ADT, orders and ORU^R01 are read alike: who (PID), which visit (PV1, PV2, MRG), and what was said (ORC with
its OBR, RXO or RXE, OBX under its OBR, DG1, PR1, IN1, IN3). Nothing here knows a site's codes or units. What
cannot be understood leaves a code in ``notes`` and its place empty: a message is never lost for one field.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, tzinfo
from typing import NamedTuple

from umbridge.hl7 import patients
from umbridge.hl7.cover import certifications, coverage, diagnoses, procedures
from umbridge.hl7.er7 import Message
from umbridge.hl7.fields import (
    NULL,
    Identifiers,
    authority_of,
    identifiers_of,
    leaf,
    parts_of,
    repetitions_of,
    word,
)
from umbridge.hl7.lines import MOST_SEGMENTS
from umbridge.hl7.moments import UNSENT, happened, has_hour, moments
from umbridge.hl7.numbered import order_numbers
from umbridge.hl7.orders import DETAILS, ordered
from umbridge.hl7.practitioners import of_visit
from umbridge.hl7.reading import MOST, ONCE
from umbridge.hl7.results import Report, Results
from umbridge.hl7.segment import Segment
from umbridge.hl7.times import parse_date
from umbridge.hl7.triggers import GROUPED, ORDERS
from umbridge.model import (
    Event,
    Group,
    Observation,
    Order,
    Patient,
    Visit,
)

_RESULTS = frozenset({b"OBX", b"OBR", b"ORC"})
_CLINICAL = frozenset({b"OBX", b"ORC", b"PID", b"RXR", b"TQ1", *(name.encode() for name in DETAILS)})
_GROUPS = frozenset({b"PID", b"MRG", b"PV1"})
_ONCE = tuple((name, name.encode()) for name in ONCE)
_DAY_OF = {
    "A01": ("PV1-44", "admitted_at"),
    "A04": ("PV1-44", "admitted_at"),
    "A03": ("PV1-45", "discharged_at"),
}
_NO_MRG = [b""] * 6
_NO_ORC = [b""] * 4


class Identity(NamedTuple):
    """Who and which visit a message is about: what intake needs before anything is worked.

    ``identifiers`` are PID-3's repetitions as (id, assigning authority, type); PID-2's where PID-3 names
    nobody, else PID-4's, where versions before 2.3.1 have them. Empty strings where nothing was sent.
    """

    visit: str
    visit_authority: str
    account: str
    identifiers: Identifiers
    control_id: str
    message_type: str
    trigger: str
    account_authority: str = ""
    facility: str = ""


def identify(message: Message) -> Identity:
    """Read the identity only; a fraction of ``translate``'s cost."""
    pid, pv1 = message.first("PID"), message.first("PV1")
    code, trigger = message.kind
    visit = parts_of(message, pv1.field(19)) if pv1 else ()
    account = parts_of(message, pid.field(18)) if pid else ()
    return Identity(
        leaf(message, visit, 1),
        authority_of(message, visit),
        leaf(message, account, 1),
        identifiers_of(message, pid.field(3), pid.field(2), pid.field(4)) if pid else (),
        message.control_id,
        code,
        trigger,
        authority_of(message, account),
        facility_of(message),
    )


def facility_of(message: Message) -> str:
    """Where the message was sent from: MSH-4.1, or the universal id where an HD has no namespace (2.A.33)."""
    raw = message.header.field(4)
    return word(message, raw) or (leaf(message, parts_of(message, raw), 2) if raw else "")


def translate(
    message: Message, zone: tzinfo, mrn_authority: str = "", *, received_at: datetime | None = None
) -> Event:
    """What the message says. Raises nothing: see ``notes``.

    ``zone`` is the facility's, for times without an offset. Identifiers of ``mrn_authority`` come first.
    ``received_at`` stands in for what MSH-7 does not say; None where nobody received it (a file).
    """

    def read(one: Message) -> Event:
        return _Reading(one, zone, received_at).event(mrn_authority)

    each = patients.apart(message) if patients.is_several(message) else None
    return read(message) if each is None else _of_several([read(one) for one in each])


def _of_several(each: Sequence[Event]) -> Event:
    """A message about several patients: what it says of itself, and of each patient in ``several``."""
    first = each[0]
    return Event(
        first.message_type,
        first.trigger,
        first.control_id,
        first.processing_id,
        first.sent_at,
        first.effective_at,
        facility=first.facility,
        several=tuple(replace(event, part=part) for part, event in enumerate(each, 1)),
    )


def _timed(visit: Visit, trigger: str, at: datetime) -> Visit:
    """A visit whose own day without an hour has the hour of the event that it is the day of."""
    field, name = _DAY_OF.get(trigger, ("", ""))
    if field not in visit.days:
        return visit
    day = getattr(visit, name)
    if day is None or day == at or day.astimezone(at.tzinfo).date() != at.date():
        return visit
    left = tuple(each for each in visit.days if each != field)
    if name == "admitted_at":
        return replace(visit, admitted_at=at, days=left)
    return replace(visit, discharged_at=at, days=left)


class _Reading(Results):
    """One translation."""

    __slots__ = ()

    def event(self, mrn_authority: str) -> Event:
        message = self.message
        code, trigger = message.kind
        grouped = code == "ADT" and (
            trigger in GROUPED or (trigger in ("A06", "A07") and bool(message.lines_of(b"MRG")))
        )
        if not grouped:
            for name, key in _ONCE:
                if len(message.lines_of(key)) > 1:
                    self.note(f"{name}[2] not_used")
        header, pid, pv1 = message.header.row(11), self.row(b"PID", 18), self.row(b"PV1", 45)
        when = moments(self)
        self.sent_at = sent_at = when.sent
        orders, observations = self.clinical(code, sent_at)
        return Event(
            code,
            trigger,
            message.control_id,
            self.plain(header[11]) or message.get("MSH-11").strip(),
            sent_at,
            when.effective,
            self.patient(pid, mrn_authority) if pid else Patient(),
            _timed(self.visit(pv1, self.row(b"PV2", 47)), trigger if code == "ADT" else "", when.effective),
            self.prior_accounts(),
            tuple(orders),
            tuple(observations),
            diagnoses(self),
            coverage(self),
            certifications(self),
            tuple(self.groups(mrn_authority)) if grouped else (),
            tuple(self.notes),
            withdrawals=tuple(self.withdrawals),
            facility=facility_of(message),
            told_at=when.told,
            occurred=when.occurred,
            procedures=procedures(self, sent_at),
            is_undated=self.is_open
            or ((self.is_sent_open or not UNSENT.isdisjoint(self.notes)) and not when.is_entered),
            numbers=order_numbers(message),
        )

    # --- who

    def patient(self, pid: list[bytes], mrn_authority: str) -> Patient:
        identifiers = identifiers_of(self.message, pid[3], pid[2], pid[4])
        if not identifiers:
            self.note("PID-3 missing")
        if mrn_authority and len(identifiers) > 1:
            identifiers = tuple(sorted(identifiers, key=lambda one: one[1] != mrn_authority))
        born = pid[7]
        birth_date, note = parse_date(born if born.isdigit() else self.stamp(born))
        if note:
            self.note(f"PID-7 {note}")
        account = parts_of(self.message, pid[18])
        authority = authority_of(self.message, account)
        return Patient(identifiers, leaf(self.message, account, 1), birth_date, self.word(pid[8]), authority)

    def visit(self, pv1: list[bytes] | None, pv2: list[bytes] | None) -> Visit:
        message = self.message
        expected = coming = back = None
        if pv2 is not None:
            expected, coming = self.time(pv2[9], "PV2", 9), self.time(pv2[8], "PV2", 8)
            back = self.time(pv2[47], "PV2", 47)
        some_day: tuple[str, ...] = () if pv2 is None or expected is None or has_hour(pv2[9]) else ("PV2-9",)
        if pv1 is None:
            return Visit(
                expected_discharge=expected, expected_admission=coming, expected_return=back, days=some_day
            )
        number = parts_of(message, pv1[19])
        place = parts_of(message, pv1[3])
        came, left = pv1[44], pv1[45]
        deleted: tuple[str, ...] = ()
        if came == NULL:
            deleted, came = ("PV1-44",), b""
        if left == NULL:
            deleted, left = (*deleted, "PV1-45"), b""
        if pv2 is not None and pv2[9] == NULL:
            deleted = (*deleted, "PV2-9")
        days: tuple[str, ...] = ("PV1-44",) if came and not has_hour(came) else ()
        if left and not has_hour(left):
            days = (*days, "PV1-45")
        erased = pv1[3] == NULL  # the whole location is deleted, not only its first part
        return Visit(
            leaf(message, number, 1),
            authority_of(message, number),
            self.sent(pv1[2]),
            self.sent(pv1[18]),
            self.sent(pv1[10]),
            "" if erased else self.place(place, 1),
            "" if erased else self.place(place, 2),
            "" if erased else self.place(place, 3),
            happened(self, came, self.sent_at, "PV1", 44) if came else None,
            happened(self, left, self.sent_at, "PV1", 45) if left else None,
            self.sent(pv1[36]),
            expected,
            of_visit(message, pv1) if message.kind[0] == "ADT" else (),
            coming,
            back,
            (*days, *some_day),
            deleted,
            self.sent(pv1[4]),
        )

    def groups(self, mrn_authority: str) -> list[Group]:
        """A PID begins a group; each MRG or, without one, each PV1 that follows it ends one."""
        made: list[Group] = []
        pid: Segment | None = None
        mrg: Segment | None = None
        pv1: Segment | None = None

        def end() -> None:
            if pid is not None and (mrg is not None or pv1 is not None):
                made.append(self.group(pid, mrg, pv1, mrn_authority))

        for segment in self.message.walk(_GROUPS):
            if len(made) > MOST[b"PID"]:
                self.note("more_groups")
                return made[: MOST[b"PID"]]
            if segment.name == "PID":
                end()
                pid, mrg, pv1 = segment, None, None
            elif segment.name == "MRG":
                if mrg is not None:
                    end()
                mrg, pv1 = segment, None
            elif segment.name == "PV1":
                if pv1 is not None:
                    end()
                pv1 = segment
        end()
        return made

    def group(self, pid: Segment, mrg: Segment | None, pv1: Segment | None, mrn_authority: str) -> Group:
        message = self.message
        row = mrg.row(5) if mrg else _NO_MRG
        prior, account = parts_of(message, row[5]), parts_of(message, row[3])
        return Group(
            patient=self.patient(pid.row(18), mrn_authority),
            visit=self.visit(pv1.row(45) if pv1 else None, None),
            prior_identifiers=identifiers_of(message, row[1], row[4]),
            prior_account=leaf(message, account, 1),
            prior_visit=leaf(message, prior, 1),
            prior_visit_authority=authority_of(message, prior),
            prior_account_authority=authority_of(message, account),
        )

    def prior_accounts(self) -> tuple[str, ...]:
        mrg = self.row(b"MRG", 3)
        if mrg is None:
            return ()
        return tuple(filter(None, [self.word(one) for one in repetitions_of(self.message, mrg[3])]))

    # --- what was said

    def clinical(self, code: str, sent_at: datetime) -> tuple[list[Order], list[Observation]]:
        """Walk the segments once: an ORC owns the details that follow it, an OBR the OBX that follow.

        Earlier results may follow an order behind a PID of their own (OMG, OML: PRIOR_RESULT). They are told
        apart from new orders by that PID alone, so behind a second one nothing is read as an order.
        """
        message = self.message
        orders: list[Order] = []
        observations: list[Observation] = []
        orc: Segment | None = None
        details: list[Segment] = []
        ordering, patients = code in ORDERS, 0
        wanted = _CLINICAL if ordering else _RESULTS
        lines: Sequence[bytes] = message.body
        nowhere = report = Report("", "", "", "", "", sent_at, None)
        above = _NO_ORC
        numbered = f"{message.control_id} OBX["
        if len(lines) > MOST_SEGMENTS or message.more:
            self.note("more_segments")
        if not ordering and not message.lines_of(b"OBR") and not message.lines_of(b"ORC"):
            first = message.before.get(b"OBX", 0) + 1
            for nth, line in enumerate(message.lines_of(b"OBX"), first):
                observations.append(self.observation(line, nth, nowhere, f"{numbered}{nth}]-5"))
            return orders, observations
        ends = (message.delimiters.field, b"")
        seen: dict[bytes, int] = dict(message.before)
        for line in lines[:MOST_SEGMENTS]:
            name = line[:3]
            if name not in wanted or line[3:4] not in ends:
                continue
            nth = seen[name] = seen.get(name, 0) + 1
            if name == b"OBX":
                observations.append(self.observation(line, nth, report, f"{numbered}{nth}]-5"))
                continue
            if name == b"PID":
                patients += 1
                ordering, above = ordering and patients < 2, _NO_ORC
                continue
            segment = Segment(message.coding, name.decode(), nth, line)
            if name in (b"TQ1", b"RXR"):
                details += [segment] if ordering else []
                continue
            report = nowhere
            if name == b"ORC":
                above = segment.row(3)
                orders += ordered(self, orc, details, sent_at)
                orc, details = segment if ordering else None, []
                if len(orders) > MOST[b"ORC"]:
                    self.note("more_segments")
                    break
                continue
            if name == b"OBR":
                report = self.report(segment.row(25), above, nth)
            if ordering:
                if orc is None and not details:
                    self.note(f"{segment.name}[{nth}] without_ORC")
                details.append(segment)
        orders += ordered(self, orc, details, sent_at)
        return orders, observations

"""Meaning: one message to one frozen event, in the standard's terms and in no local ones.

ADT, ORM^O01 and ORU^R01 are read alike: who (PID), which visit (PV1, PV2, MRG), and what was said (ORC with
its OBR or RXO, OBX under its OBR, DG1, IN1). Nothing here knows a site's codes or units. What cannot be
understood leaves a code in ``notes`` and its place empty: a message is never lost for one field.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, tzinfo
from typing import NamedTuple

from umbridge.hl7.er7 import Message, Segment
from umbridge.hl7.times import parse_date, parse_time
from umbridge.model import Coded, Coverage, Diagnosis, Event, Observation, Order, Patient, Visit

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)  # where a message says no time at all and nobody knows a better one
MAX_NOTES = 100  # then one note more says that there were others
_NULL = b'""'
_DETAILS = frozenset({"OBR", "RXO", "ODS", "ODT", "RQD", "RQ1"})  # order detail segments of ORM^O01
_OWN_TIME = {"A01": 44, "A04": 44, "A03": 45}  # PV1 field that says when the event itself took place
_ONCE = ("EVN", "PID", "PV1", "PV2", "MRG")
_SHORT, _CACHED = 120, 4096  # bytes of a coded field, and how many, that are kept read

_Marks = tuple[bytes, bytes, bytes, bytes]
# Codes and units of plain ASCII fields without an escape: their bytes and the delimiters say it all.
_words: dict[tuple[bytes, _Marks], tuple[Coded, Coded, str]] = {}


class Identity(NamedTuple):
    """Who and which visit a message is about: what intake needs before anything is worked.

    ``identifiers`` are PID-3's repetitions as (id, assigning authority, type), with PID-2 where PID-3 is
    empty. Empty strings where nothing was sent.
    """

    visit: str
    visit_authority: str
    account: str
    identifiers: tuple[tuple[str, str, str], ...]
    control_id: str
    message_type: str
    trigger: str


def identify(message: Message) -> Identity:
    """Read the identity only; a fraction of ``translate``'s cost."""
    pid, pv1 = message.first("PID"), message.first("PV1")
    code, trigger = message.kind
    visit = pv1.components(19) if pv1 else ()
    return Identity(
        _text(message, visit, 1),
        _authority(message, visit),
        _text(message, pid.components(18), 1) if pid else "",
        _identifiers(message, pid) if pid else (),
        message.control_id,
        code,
        trigger,
    )


def translate(
    message: Message, zone: tzinfo, mrn_authority: str = "", *, received_at: datetime | None = None
) -> Event:
    """What the message says. Raises nothing: see ``notes``.

    ``zone`` is the facility's, for times without an offset. Identifiers of ``mrn_authority`` come first.
    ``received_at`` stands in for an unreadable MSH-7.
    """
    return _Reading(message, zone, received_at).event(mrn_authority)


class _Reading:
    """The state of one translation: notes, and times already read (a report repeats the same one)."""

    __slots__ = ("_marks", "_reported", "_times", "message", "notes", "received_at", "zone")

    def __init__(self, message: Message, zone: tzinfo, received_at: datetime | None) -> None:
        self.message = message
        self.zone = zone
        self.received_at = received_at
        self.notes: list[str] = []
        self._times: dict[bytes, tuple[datetime | None, str]] = {}
        self._reported: tuple[Segment | None, str] = (None, "")
        marks = message.delimiters
        self._marks: _Marks | None = None  # None: what bytes mean here takes more than these to tell
        if message.codec == "ascii" and message.raw.isascii():
            self._marks = (marks.component, marks.repetition, marks.escape, marks.subcomponent)

    def event(self, mrn_authority: str) -> Event:
        message = self.message
        code, trigger = message.kind
        for name in _ONCE:
            if len(message.segments(name)) > 1:
                self.note(f"{name}[2] not_used")
        evn, pid, pv1 = message.first("EVN"), message.first("PID"), message.first("PV1")
        recorded = self.time(evn, 2)
        sent_at = self.time(message.header, 7)
        if sent_at is None:
            self.note("MSH-7 time_missing")
            sent_at = self.received_at or recorded or EPOCH
        effective_at = sent_at
        if code == "ADT":
            own = self.time(pv1, _OWN_TIME[trigger]) if trigger in _OWN_TIME else None
            effective_at = self.time(evn, 6) or own or recorded or sent_at
        orders, observations = self.clinical(code, sent_at)
        return Event(
            message_type=code,
            trigger=trigger,
            control_id=message.control_id,
            processing_id=message.get("MSH-11").strip(),
            sent_at=sent_at,
            effective_at=effective_at,
            patient=self.patient(pid, mrn_authority) if pid else Patient(),
            visit=self.visit(pv1),
            prior_accounts=self.prior_accounts(),
            orders=tuple(orders),
            observations=tuple(observations),
            diagnoses=tuple(self.diagnosis(dg1) for dg1 in message.segments("DG1")),
            coverage=tuple(self.coverage(in1) for in1 in message.segments("IN1")),
            notes=tuple(self.notes),
        )

    # --- who

    def patient(self, pid: Segment, mrn_authority: str) -> Patient:
        message = self.message
        identifiers = _identifiers(message, pid)
        if not identifiers:
            self.note("PID-3 missing")
        if mrn_authority and len(identifiers) > 1:
            identifiers = tuple(sorted(identifiers, key=lambda one: one[1] != mrn_authority))
        birth_date, note = parse_date(pid.get_raw("7"))
        if note:
            self.note(f"PID-7 {note}")
        sex = _cleared(pid.get("8").strip())
        return Patient(identifiers, _text(message, pid.components(18), 1), birth_date, sex)

    def visit(self, pv1: Segment | None) -> Visit:
        message = self.message
        expected = self.time(message.first("PV2"), 9)
        if pv1 is None:
            return Visit(expected_discharge=expected)
        number = pv1.components(19)
        place = pv1.components(3)
        erased = pv1.field(3) == _NULL  # the whole location is deleted, not only its first part
        return Visit(
            number=_text(message, number, 1),
            authority=_authority(message, number),
            patient_class=self.sent(pv1, 2),
            patient_type=self.sent(pv1, 18),
            service=self.sent(pv1, 10),
            unit="" if erased else self.sent_part(place, 1),
            room="" if erased else self.sent_part(place, 2),
            bed="" if erased else self.sent_part(place, 3),
            admitted_at=self.time(pv1, 44),
            discharged_at=self.time(pv1, 45),
            disposition=self.sent(pv1, 36),
            expected_discharge=expected,
            attending=_text(message, pv1.components(7), 1),
        )

    def prior_accounts(self) -> tuple[str, ...]:
        mrg = self.message.first("MRG")
        if mrg is None:
            return ()
        count = len(mrg.repetitions(3))
        found = (_text(self.message, mrg.components(3, n), 1) for n in range(1, count + 1))
        return tuple(account for account in found if account)

    # --- what was said

    def clinical(self, code: str, sent_at: datetime) -> tuple[list[Order], list[Observation]]:
        """Walk the segments once: an ORC owns the detail that follows it, an OBR the OBX that follow."""
        orders: list[Order] = []
        observations: list[Observation] = []
        orc: Segment | None = None
        taken = True  # whether orc has been turned into an order
        obr: Segment | None = None
        ordering = code == "ORM"
        for segment in self.message.walk():
            name = segment.name
            if name == "OBX":
                observations.append(self.observation(segment, obr, sent_at))
            elif name == "ORC":
                if ordering and orc is not None and not taken:
                    orders.append(self.order(orc, None, False, sent_at))
                orc, taken, obr = segment, False, None
            elif name in _DETAILS:
                obr = segment if name == "OBR" else None
                if ordering:
                    if orc is None:
                        self.note(f"{name}[{segment.nth}] without_ORC")
                    orders.append(self.order(orc, segment, taken, sent_at))
                    taken = True
        if ordering and orc is not None and not taken:
            orders.append(self.order(orc, None, False, sent_at))
        return orders, observations

    def order(self, orc: Segment | None, detail: Segment | None, again: bool, sent_at: datetime) -> Order:
        """``again``: a further detail under the same ORC, which is an order of its own by its own numbers."""
        message = self.message
        obr = detail if detail is not None and detail.name == "OBR" else None

        def number(field: int) -> str:
            first, second = (obr, orc) if again else (orc, obr)
            return self.value(first, field) or self.value(second, field)

        wanted = 0
        if detail is not None:
            wanted = {"OBR": 4, "RXO": 1}.get(detail.name, 0)
        code = _coded(message, detail.components(wanted)) if detail is not None and wanted else Coded()
        source = detail if (again or orc is None) and detail is not None else orc
        return Order(
            control=self.value(orc, 1),
            placer=number(2),
            filler=number(3),
            status=self.value(orc, 5),
            code=code,
            at=self.time(orc, 15) or self.time(orc, 9) or self.time(obr, 7) or sent_at,
            practitioner=self.value(orc, 12),
            source=f"{message.control_id} {source.name}[{source.nth}]" if source else message.control_id,
        )

    def observation(self, obx: Segment, obr: Segment | None, sent_at: datetime) -> Observation:
        message = self.message
        value_type = message.value(obx.field(2)).strip()
        code, alternate, _ = self.words(obx, 3)
        repeat, limits = message.delimiters.repetition, obx.field(7)
        if repeat and repeat in obx.field(5):
            self.note(f"OBX[{obx.nth}]-5 repeated")
        return Observation(
            value_type=value_type,
            code=code,
            alternate=alternate,
            value=_observed(message, obx, value_type),
            unit=self.words(obx, 6)[2],
            reference_range=_cleared(obx.text(7).strip()) if limits else "",
            status=message.value(obx.field(11)).strip(),
            at=self.time(obx, 14) or self.time(obr, 7) or sent_at,
            report=self.report(obr),
            source=f"{message.control_id} OBX[{obx.nth}]-5",
        )

    def report(self, obr: Segment | None) -> str:
        if obr is None or self._reported[0] is not obr:
            self._reported = (obr, self.value(obr, 3) or self.value(obr, 2))
        return self._reported[1]

    def words(self, obx: Segment, field: int) -> tuple[Coded, Coded, str]:
        """A coded field: components 1 to 3, 4 to 6, and the first word of either. A feed repeats few."""
        raw, marks = obx.field(field), self._marks
        key = None if marks is None or len(raw) > _SHORT or (marks[2] and marks[2] in raw) else (raw, marks)
        found = None if key is None else _words.get(key)
        if found is None:
            parts = obx.components(field)
            code, alternate = _coded(self.message, parts), _coded(self.message, parts[3:])
            found = (code, alternate, code.code or alternate.code)
            if key is not None and len(_words) < _CACHED:
                _words[key] = found
        return found

    def diagnosis(self, dg1: Segment) -> Diagnosis:
        what = dg1.components(3)
        code = _text(self.message, what, 1)
        if not code:
            self.note(f"DG1[{dg1.nth}]-3 missing")
        return Diagnosis(
            rank=self.rank(dg1),
            code=code,
            system=_text(self.message, what, 3),
            kind=self.value(dg1, 6),
            deleted=self.value(dg1, 21) == "D",
            source=f"{self.message.control_id} DG1[{dg1.nth}]",
        )

    def coverage(self, in1: Segment) -> Coverage:
        return Coverage(self.rank(in1), self.value(in1, 2), self.value(in1, 15))

    # --- fields

    def rank(self, segment: Segment) -> int:
        """Field 1 as a number, else the segment's place among its kind."""
        raw = segment.field(1).strip()
        if raw.isdigit() and len(raw) < 6:
            return int(raw)
        self.note(f"{segment.name}[{segment.nth}]-1 number_unreadable")
        return segment.nth

    def value(self, segment: Segment | None, field: int) -> str:
        """Component 1 of the first repetition; HL7's null counts as nothing sent."""
        return _text(self.message, segment.components(field), 1) if segment else ""

    def sent(self, segment: Segment, field: int) -> str | None:
        return self.sent_part(segment.components(field), 1)

    def sent_part(self, parts: Sequence[bytes], number: int) -> str | None:
        """None for not sent, "" for HL7's null, else the value."""
        if len(parts) < number:
            return None
        raw = parts[number - 1].strip()
        if not raw:
            return None
        return "" if raw == _NULL else _text(self.message, parts, number)

    def time(self, segment: Segment | None, field: int) -> datetime | None:
        """A TS or DTM field's moment, None (with a note when something was sent) if it has none."""
        if segment is None:
            return None
        raw = segment.field(field)
        if not raw:
            return None
        found = self._times.get(raw)
        if found is None:
            parts = segment.subcomponents(field)
            found = self._times[raw] = parse_time(parts[0] if parts else b"", self.zone)
        if found[1]:
            nth = f"[{segment.nth}]" if segment.name not in ("MSH", *_ONCE) else ""
            self.note(f"{segment.name}{nth}-{field} {found[1]}")
        return found[0]

    def note(self, code: str) -> None:
        if code not in self.notes[-3:]:
            if len(self.notes) < MAX_NOTES:
                self.notes.append(code)
            elif len(self.notes) == MAX_NOTES:
                self.notes.append("more_notes")


def _text(message: Message, parts: Sequence[bytes], number: int) -> str:
    """One component's first subcomponent as text, without padding; HL7's null is nothing here."""
    if len(parts) < number:
        return ""
    raw = parts[number - 1]
    if raw.isalnum():
        return raw.decode()
    if not raw or raw == _NULL:
        return ""
    mark = message.delimiters.subcomponent
    if mark and mark in raw:
        raw = raw[: raw.index(mark)]
    return message.value(raw).strip()


def _cleared(value: str) -> str:
    return "" if value == '""' else value


def _authority(message: Message, parts: Sequence[bytes]) -> str:
    """CX.4: the authority's namespace, else its universal id."""
    if len(parts) < 4 or not parts[3]:
        return ""
    found = _text(message, parts, 4)
    if found:
        return found
    mark = message.delimiters.subcomponent
    rest = parts[3].split(mark) if mark else []
    return message.value(rest[1]).strip() if len(rest) > 1 else ""


def _identifiers(message: Message, pid: Segment) -> tuple[tuple[str, str, str], ...]:
    found = []
    for field in (3, 2):
        for nth in range(1, len(pid.repetitions(field)) + 1):
            parts = pid.components(field, nth)
            number = _text(message, parts, 1)
            if number:
                found.append((number, _authority(message, parts), _text(message, parts, 5)))
        if found:
            break
    return tuple(found)


def _coded(message: Message, parts: Sequence[bytes]) -> Coded:
    return Coded(_text(message, parts, 1), _text(message, parts, 2), _text(message, parts, 3))


def _observed(message: Message, obx: Segment, value_type: str) -> str:
    """OBX-5.1, with two exceptions that lose meaning if cut: text, and SN's number after its comparator."""
    parts = obx.components(5)
    if not parts or parts == [_NULL]:
        return ""
    if value_type in ("ST", "TX", "FT"):
        return message.value(parts[0]).strip()  # senders do not escape & in text
    if value_type == "SN":
        return "".join(_text(message, parts, number) for number in range(1, 5))
    return _text(message, parts, 1)

"""Meaning: one message to one frozen event, in the standard's terms and in no local ones.

ADT, orders and ORU^R01 are read alike: who (PID), which visit (PV1, PV2, MRG), and what was said (ORC with
its OBR, RXO or RXE, OBX under its OBR, DG1, IN1, IN3). Nothing here knows a site's codes or units. What
cannot be understood leaves a code in ``notes`` and its place empty: a message is never lost for one field.
"""

from __future__ import annotations

from datetime import UTC, datetime, tzinfo
from typing import NamedTuple

from umbridge.hl7.er7 import Message, Segment
from umbridge.hl7.fields import NULL, authority_of, cleared, coded_of, identifiers_of, leaf, observed_value
from umbridge.hl7.reading import ONCE, Reading
from umbridge.hl7.times import parse_date
from umbridge.hl7.triggers import GROUPED, ORDERS
from umbridge.model import (
    Certification,
    Coded,
    Coverage,
    Diagnosis,
    Event,
    Group,
    Observation,
    Order,
    Patient,
    Visit,
)

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)  # where a message says no time at all and nobody knows a better one
_DETAILS = frozenset({"OBR", "RXO", "RXE", "ODS", "ODT", "RQD", "RQ1"})  # order detail segments
_RESULTS = frozenset({b"OBX", b"OBR", b"ORC"})
_CLINICAL = frozenset({b"OBX", b"ORC", b"PID", *(name.encode() for name in _DETAILS)})
_GROUPS = frozenset({b"PID", b"MRG", b"PV1"})
MOST_RESULTS, MOST_ORDERS = 20_000, 2_000
MOST = 500  # diagnoses, plans, patients of one message: real ones stay far below; more cost and mean nothing
_CODED_AT = {"OBR": 4, "RXO": 1, "RXE": 2}
_OWN_TIME = {"A01": 44, "A04": 44, "A03": 45}  # PV1 field that says when the event itself took place


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
        leaf(message, visit, 1),
        authority_of(message, visit),
        leaf(message, pid.components(18), 1) if pid else "",
        identifiers_of(message, pid) if pid else (),
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


class _Reading(Reading):
    """One translation."""

    __slots__ = ("_reported",)

    def __init__(self, message: Message, zone: tzinfo, received_at: datetime | None) -> None:
        super().__init__(message, zone, received_at)
        self._reported: tuple[Segment | None, str] = (None, "")

    def event(self, mrn_authority: str) -> Event:
        message = self.message
        code, trigger = message.kind
        grouped = code == "ADT" and (
            trigger in GROUPED or (trigger in ("A06", "A07") and bool(message.segments("MRG")))
        )
        for name in () if grouped else ONCE:
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
            processing_id=self.plain(message.header.field(11)) or message.get("MSH-11").strip(),
            sent_at=sent_at,
            effective_at=effective_at,
            patient=self.patient(pid, mrn_authority) if pid else Patient(),
            visit=self.visit(pv1, message.first("PV2")),
            prior_accounts=self.prior_accounts(),
            orders=tuple(orders),
            observations=tuple(observations),
            diagnoses=tuple([self.diagnosis(dg1) for dg1 in self.first_of("DG1")]),
            coverage=tuple([self.coverage(in1) for in1 in self.first_of("IN1")]),
            certifications=tuple([self.certification(in3) for in3 in self.first_of("IN3")]),
            groups=tuple(self.groups(mrn_authority)) if grouped else (),
            notes=tuple(self.notes),
        )

    def first_of(self, name: str) -> list[Segment]:
        """As many as a stay can have; what is left out is noted."""
        found = self.message.segments(name)
        if len(found) > MOST:
            self.note(f"{name}[{MOST + 1}] not_used")
        return found[:MOST]

    # --- who

    def patient(self, pid: Segment, mrn_authority: str) -> Patient:
        message = self.message
        identifiers = identifiers_of(message, pid)
        if not identifiers:
            self.note("PID-3 missing")
        if mrn_authority and len(identifiers) > 1:
            identifiers = tuple(sorted(identifiers, key=lambda one: one[1] != mrn_authority))
        born = pid.field(7)
        birth_date, note = parse_date(born if born.isdigit() else pid.get_raw("7"))
        if note:
            self.note(f"PID-7 {note}")
        sex = pid.field(8)
        return Patient(
            identifiers,
            self.value(pid, 18),
            birth_date,
            sex.decode() if sex.isalnum() else cleared(pid.get("8").strip()),
        )

    def visit(self, pv1: Segment | None, pv2: Segment | None) -> Visit:
        message = self.message
        expected = coming = back = None
        if pv2 is not None:
            expected, coming, back = self.time(pv2, 9), self.time(pv2, 8), self.time(pv2, 47)
        if pv1 is None:
            return Visit(expected_discharge=expected, expected_admission=coming, expected_return=back)
        number = pv1.components(19)
        place = pv1.components(3)
        erased = pv1.field(3) == NULL  # the whole location is deleted, not only its first part
        return Visit(
            number=leaf(message, number, 1),
            authority=authority_of(message, number),
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
            attending=self.value(pv1, 7),
            expected_admission=coming,
            expected_return=back,
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
            if len(made) > MOST:
                self.note("more_groups")
                return made[:MOST]
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
        prior = mrg.components(5) if mrg else ()
        return Group(
            patient=self.patient(pid, mrn_authority),
            visit=self.visit(pv1, None),
            prior_identifiers=identifiers_of(self.message, mrg, (1, 4)) if mrg else (),
            prior_account=self.value(mrg, 3),
            prior_visit=leaf(self.message, prior, 1),
            prior_visit_authority=authority_of(self.message, prior),
        )

    def prior_accounts(self) -> tuple[str, ...]:
        mrg = self.message.first("MRG")
        if mrg is None:
            return ()
        count = len(mrg.repetitions(3))
        found = (leaf(self.message, mrg.components(3, n), 1) for n in range(1, count + 1))
        return tuple(account for account in found if account)

    # --- what was said

    def clinical(self, code: str, sent_at: datetime) -> tuple[list[Order], list[Observation]]:
        """Walk the segments once: an ORC owns the details that follow it, an OBR the OBX that follow.

        Earlier results may follow an order behind a PID of their own (OMG, OML: PRIOR_RESULT). They are told
        apart from new orders by that PID alone, so behind a second one nothing is read as an order.
        """
        orders: list[Order] = []
        observations: list[Observation] = []
        orc: Segment | None = None
        details: list[Segment] = []
        obr: Segment | None = None
        ordering, patients = code in ORDERS, 0
        for segment in self.message.walk(_CLINICAL if ordering else _RESULTS):
            name = segment.name
            if len(observations) > MOST_RESULTS or len(orders) > MOST_ORDERS:
                self.note("more_segments")
                break
            if name == "OBX":
                observations.append(self.observation(segment, obr, sent_at))
            elif name == "ORC":
                orders += self.ordered(orc, details, sent_at)
                orc, details, obr = segment if ordering else None, [], None
            elif name == "PID":
                patients += 1
                ordering = ordering and patients < 2
            else:
                obr = segment if name == "OBR" else None
                if ordering:
                    if orc is None and not details:
                        self.note(f"{name}[{segment.nth}] without_ORC")
                    details.append(segment)
        orders += self.ordered(orc, details, sent_at)
        return orders, observations

    def ordered(self, orc: Segment | None, details: list[Segment], sent_at: datetime) -> list[Order]:
        """The orders of one ORC: one, or one a detail. An RXE is its RXO as the pharmacy encoded it."""
        if len(details) > 1 and details[-1].name == "RXE":
            asked = [detail for detail in details if detail.name == "RXO"]
            rest = [detail for detail in details if detail.name != "RXO"]
            if len(asked) == 1:
                return [self.order(orc, each, n > 0, sent_at, asked[0]) for n, each in enumerate(rest)]
        if details:
            return [self.order(orc, each, n > 0, sent_at) for n, each in enumerate(details)]
        return [] if orc is None else [self.order(orc, None, False, sent_at)]

    def order(
        self,
        orc: Segment | None,
        detail: Segment | None,
        again: bool,
        sent_at: datetime,
        asked: Segment | None = None,
    ) -> Order:
        """``again``: a further detail under the same ORC, which is an order of its own by its own numbers."""
        message = self.message
        obr = detail if detail is not None and detail.name == "OBR" else None

        def number(field: int) -> str:
            first, second = (obr, orc) if again else (orc, obr)
            return self.value(first, field) or self.value(second, field)

        code = Coded()
        alternates: tuple[Coded, ...] = ()
        if detail is not None and detail.name in _CODED_AT:
            parts = detail.components(_CODED_AT[detail.name])
            more = [parts[3:]] if len(parts) > 3 else []
            if asked is not None:
                more.append(asked.components(_CODED_AT["RXO"]))
            code = coded_of(message, parts)
            alternates = tuple(each for each in (coded_of(message, one) for one in more) if each.code)
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
            alternates=alternates,
        )

    def observation(self, obx: Segment, obr: Segment | None, sent_at: datetime) -> Observation:
        message = self.message
        kind, raw, limits, status = obx.field(2), obx.field(5), obx.field(7), obx.field(11)
        value_type = kind.decode() if kind.isalnum() else message.value(kind).strip()
        code, alternate, _ = self.words(obx, 3)
        value = self.plain(raw) if raw and raw != NULL else ""
        if value is None:
            repeat = message.delimiters.repetition
            if repeat and repeat in raw:
                self.note(f"OBX[{obx.nth}]-5 repeated")
            value = observed_value(message, obx, value_type)
        return Observation(
            value_type,
            code,
            alternate,
            value,
            self.words(obx, 6)[2],
            cleared((self.plain(limits) or obx.text(7)).strip()) if limits else "",
            status.decode() if status.isalpha() else message.value(status).strip(),
            self.time(obx, 14) or self.time(obr, 7) or sent_at,
            self.report(obr) if obr else "",
            f"{message.control_id} OBX[{obx.nth}]-5",
        )

    def report(self, obr: Segment) -> str:
        if self._reported[0] is not obr:
            self._reported = (obr, self.value(obr, 3) or self.value(obr, 2))
        return self._reported[1]

    def diagnosis(self, dg1: Segment) -> Diagnosis:
        what = dg1.components(3)
        code = leaf(self.message, what, 1)
        if not code:
            self.note(f"DG1[{dg1.nth}]-3 missing")
        return Diagnosis(
            rank=self.rank(dg1),
            code=code,
            system=leaf(self.message, what, 3),
            kind=self.value(dg1, 6),
            deleted=self.value(dg1, 21) == "D",
            source=f"{self.message.control_id} DG1[{dg1.nth}]",
        )

    def coverage(self, in1: Segment) -> Coverage:
        return Coverage(
            self.rank(in1),
            self.value(in1, 2),
            self.value(in1, 15),
            self.value(in1, 14),
            self.value(in1, 28),
        )

    def certification(self, in3: Segment) -> Certification:
        days = leaf(self.message, in3.components(11), 2)
        return Certification(
            number=self.value(in3, 2),
            certified_by=self.value(in3, 3),
            required=self.value(in3, 4),
            certified_at=self.time(in3, 6),
            begin=self.time(in3, 9),
            end=self.time(in3, 10),
            days_kind=self.value(in3, 11),
            days=int(days) if days.isascii() and days.isdigit() and len(days) < 6 else None,
            non_concurrence=self.value(in3, 12),
            non_concurrence_at=self.time(in3, 13),
            reviewer=self.value(in3, 14),
            appeal=self.value(in3, 17),
            case_manager=self.value(in3, 21),
            source=f"{self.message.control_id} IN3[{in3.nth}]",
        )

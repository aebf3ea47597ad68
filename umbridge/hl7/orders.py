"""One ORC with the details that follow it: which order it speaks of, what, when, and for how long."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, time, timedelta

from umbridge.hl7.fields import (
    coded_of,
    entity_from,
    entity_of,
    entity_within,
    leaf,
    parts_of,
)
from umbridge.hl7.moments import settled
from umbridge.hl7.practitioners import practitioners_of
from umbridge.hl7.reading import Reading
from umbridge.hl7.segment import Segment
from umbridge.hl7.timing import scheduled, timing_of
from umbridge.model import Coded, Order
from umbridge.values.carers import ORDERING, Practitioner

DETAILS = frozenset({"OBR", "RXO", "RXE", "ODS", "ODT", "RQD", "RQ1"})  # order detail segments
_CODED_AT = {"OBR": 4, "RXO": 1, "RXE": 2}
_DRUGS = ("RXO", "RXE")
_RATE_AT = {"RXO": 21, "RXE": 23}  # give rate amount (4.14.1, 4.14.4); its units are the next field
_NO_ORC = [b""] * 26
_NO_PARENTS = [b"", b""]
_NO_CODE = Coded()
_DATE = 8  # bytes of a time stamp that is a date alone


def ordered(reading: Reading, orc: Segment | None, found: list[Segment], sent_at: datetime) -> list[Order]:
    """The orders of one ORC: one, or one a detail. An RXE is its RXO as the pharmacy encoded it.

    A TQ1 behind a detail is that detail's; before the first it is the ORC's, for all that have none. An RXR
    is the detail's before it; an RXE without a TQ1 or RXR has its RXO's.
    """
    if not found:
        return [] if orc is None else [_Ordering(reading, orc, None, (), sent_at).order()]
    details: list[Segment] = []
    timed: list[list[Segment]] = [[]]
    given: list[list[Segment]] = [[]]
    for segment in found:
        if segment.name == "TQ1":
            timed[-1].append(segment)
        elif segment.name == "RXR":
            given[-1].append(segment)
        else:
            details.append(segment)
            timed.append([])
            given.append([])
    if not details:
        return [] if orc is None else [_Ordering(reading, orc, None, timed[0], sent_at).order()]
    triples = [(detail, timed[n] or timed[0], given[n]) for n, detail in enumerate(details, 1)]
    asked = [detail for detail in details if detail.name == "RXO"]
    encoded = len(details) > 1 and details[-1].name == "RXE" and len(asked) == 1
    if encoded:
        at = details.index(asked[0]) + 1
        triples = [
            (detail, timed[n] or timed[at] or timed[0], routes or given[at])
            for n, (detail, _, routes) in enumerate(triples, 1)
            if detail is not asked[0]
        ]
    return [
        _Ordering(reading, orc, detail, its, sent_at, n > 0, asked[0] if encoded else None, routes).order()
        for n, (detail, its, routes) in enumerate(triples)
    ]


class _Ordering:
    """One order being read."""

    __slots__ = (
        *("again", "asked", "detail", "message", "obr", "orc", "reading", "routed", "sent_at", "timed"),
    )

    def __init__(
        self,
        reading: Reading,
        orc: Segment | None,
        detail: Segment | None,
        timed: Sequence[Segment],
        sent_at: datetime,
        again: bool = False,  # a further detail under the same ORC: an order of its own by its own numbers
        asked: Segment | None = None,  # the RXO of an RXE
        routed: Sequence[Segment] = (),  # the RXR of the detail
    ) -> None:
        self.reading, self.message = reading, reading.message
        self.orc, self.detail, self.timed, self.asked = orc, detail, timed, asked
        self.obr = detail if detail is not None and detail.name == "OBR" else None
        self.sent_at, self.again, self.routed = sent_at, again, routed

    def order(self) -> Order:
        reading, orc, detail, sent_at = self.reading, self.orc, self.detail, self.sent_at
        row = _NO_ORC if orc is None else orc.row(25)
        code, alternates = (_NO_CODE, ()) if detail is None else self.codes(detail)
        above = row[8]
        if self.obr is not None and (self.again or not above):
            above = self.obr.field(29)
        parents = [*parts_of(self.message, above), b""] if above else _NO_PARENTS
        source = detail if (self.again or orc is None) and detail is not None else orc
        takes_effect = self.time(row[15], orc, 15) if row[15] else None
        entered = self.time(row[9], orc, 9) if row[9] else None
        is_exact = entered is not None and len(row[9]) > _DATE
        entered_at = entered if is_exact else None  # a date alone does not say what came last on that day
        told_at = sent_at if entered_at is None else min(entered_at, sent_at)
        at = takes_effect or entered
        if reading.either:
            if row[9] in reading.either:  # of the transaction; as it was sent it says which one is repeated
                told_at = settled(reading, row[9], sent_at)
                at = takes_effect or told_at
            if takes_effect is not None and row[15] in reading.either:  # later messages repeat it
                reading.is_open |= settled(reading, row[15], sent_at) != takes_effect
        begins = at
        if at is None and self.obr is not None:
            begins = self.time(self.obr.field(7), self.obr, 7)
        begins = begins or sent_at
        is_dated = takes_effect is not None and len(row[15]) > _DATE
        timing = timing_of(reading, orc, detail, self.timed) if row[7] or self.timed or detail else None
        if is_dated and takes_effect is not None and takes_effect > told_at:
            starts: datetime | None = takes_effect  # "takes precedence" over TQ1 (4.5.1.15)
        else:
            set_at = scheduled(reading, self.obr, sent_at)
            sent = (set_at, None if timing is None else timing.start)
            starts = max((each for each in sent if each is not None), default=None)
            begins = begins if starts is None else max(begins, starts)
        return Order(
            reading.word(row[1]).upper(),
            self.number(row[2], 2),
            self.number(row[3], 3),
            reading.word(row[5]) if row[5] else "",
            code,
            begins,
            self.ordering(row[12]),
            f"{self.message.control_id} {source.name}[{source.nth}]" if source else self.message.control_id,
            alternates,
            entity_within(self.message, parents[0]) if above else "",
            entity_within(self.message, parents[1]) if above else "",
            told_at,
            at or sent_at,
            timing,
            detail is not None,
            self.routes() if self.routed else (),
            detail is not None and detail.name in _DRUGS,
            entered_at,
            is_dated,
            self.rate() if detail is not None and detail.name in _DRUGS else None,
            entity_of(self.message, row[4]) if row[4] and not self.again else "",
            coded_of(self.message, parts_of(self.message, row[25])) if row[25] else _NO_CODE,
            starts,
        )

    def ordering(self, signed: bytes) -> tuple[Practitioner, ...]:
        """ORC-12, else OBR-16, which is the same field (4.5.1.12)."""
        raw = signed or (b"" if self.obr is None else self.obr.field(16))
        return practitioners_of(self.message, ORDERING, raw) if raw else ()

    def routes(self) -> tuple[str, ...]:
        """RXR-1 of each: the code, and the other one that says the same."""
        found: list[str] = []
        for segment in self.routed:
            parts = [*parts_of(self.message, segment.field(1)), *([b""] * 4)]
            found += [leaf(self.message, parts, number) for number in (1, 4)]
        return tuple(each for each in found if each)

    def rate(self) -> tuple[str, str, str] | None:
        """The pharmacy's, else what was asked for. "" for HL7's null, which takes it away."""
        for segment in (self.detail, self.asked):
            if segment is None:
                continue
            at = _RATE_AT[segment.name]
            amount = self.reading.sent(segment.field(at))
            if amount is not None:
                units = [*parts_of(self.message, segment.field(at + 1)), *([b""] * 4)]
                unit = leaf(self.message, units, 1) or leaf(self.message, units, 4)
                return amount, unit, f"{segment.name}-{at}"
        return None

    def codes(self, detail: Segment) -> tuple[Coded, tuple[Coded, ...]]:
        message = self.message
        if detail.name not in _CODED_AT:
            return _NO_CODE, ()
        parts = parts_of(message, detail.field(_CODED_AT[detail.name]))
        more = [parts[3:]] if len(parts) > 3 else []
        if self.asked is not None:
            asked = parts_of(message, self.asked.field(_CODED_AT["RXO"]))
            more += [asked, asked[3:]]
        others = tuple(coded_of(message, each) for each in more)
        return coded_of(message, parts), tuple(each for each in others if each.code)

    def number(self, raw: bytes, field: int) -> str:
        """ORC's and OBR's, which are one number: what one of them leaves out the other may have."""
        first = entity_of(self.message, raw) if raw else ""
        if self.obr is None:
            return first
        second = entity_of(self.message, self.obr.field(field))
        if self.again:
            first, second = second, first
        return entity_from(first, second)

    def time(self, raw: bytes, segment: Segment | None, field: int) -> datetime | None:
        """A date without an hour is the last moment of that day that is not after the message."""
        if segment is None:
            return None
        found = self.reading.time(raw, segment.name, field, segment.nth)
        if found is None or len(raw) > _DATE:
            return found
        last = datetime.combine(found.date(), time.min, found.tzinfo) + timedelta(days=1, seconds=-1)
        return found if found >= self.sent_at else min(last, self.sent_at)

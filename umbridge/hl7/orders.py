"""One ORC with the details that follow it: which order it speaks of, what, when, and for how long."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, time, timedelta

from umbridge.hl7.er7 import Segment
from umbridge.hl7.fields import coded_of, entity_of, entity_within, leaf, parts_of, repetitions_of
from umbridge.hl7.reading import Reading
from umbridge.model import Coded, Order, Timing

DETAILS = frozenset({"OBR", "RXO", "RXE", "ODS", "ODT", "RQD", "RQ1"})  # order detail segments
_CODED_AT = {"OBR": 4, "RXO": 1, "RXE": 2}
_DATE = 8  # bytes of a time stamp that is a date alone
_ONE_DOSE = "ONCE"  # HL7 table 0335, and the repeat pattern of an interval


def ordered(reading: Reading, orc: Segment | None, found: list[Segment], sent_at: datetime) -> list[Order]:
    """The orders of one ORC: one, or one a detail. An RXE is its RXO as the pharmacy encoded it.

    A TQ1 behind a detail is that detail's; before the first it is the ORC's, for all that have none.
    """
    details: list[Segment] = []
    timed: list[list[Segment]] = [[]]
    for segment in found:
        if segment.name == "TQ1":
            timed[-1].append(segment)
        else:
            details.append(segment)
            timed.append([])
    if not details:
        return [] if orc is None else [_Ordering(reading, orc, None, timed[0], sent_at).order()]
    pairs = [(detail, timed[n] or timed[0]) for n, detail in enumerate(details, 1)]
    asked = [detail for detail in details if detail.name == "RXO"]
    encoded = len(details) > 1 and details[-1].name == "RXE" and len(asked) == 1
    if encoded:
        pairs = [pair for pair in pairs if pair[0].name != "RXO"]
    return [
        _Ordering(reading, orc, detail, its, sent_at, n > 0, asked[0] if encoded else None).order()
        for n, (detail, its) in enumerate(pairs)
    ]


class _Ordering:
    """One order being read."""

    def __init__(
        self,
        reading: Reading,
        orc: Segment | None,
        detail: Segment | None,
        timed: Sequence[Segment],
        sent_at: datetime,
        again: bool = False,  # a further detail under the same ORC: an order of its own by its own numbers
        asked: Segment | None = None,  # the RXO of an RXE
    ) -> None:
        self.reading, self.message = reading, reading.message
        self.orc, self.detail, self.timed, self.asked = orc, detail, timed, asked
        self.obr = detail if detail is not None and detail.name == "OBR" else None
        self.sent_at, self.again = sent_at, again

    def order(self) -> Order:
        orc, detail = self.orc, self.detail
        code, alternates = self.codes()
        above = b"" if orc is None else orc.field(8)
        if self.obr is not None and (self.again or not above):
            above = self.obr.field(29)
        parents = [*parts_of(self.message, above), b""]
        source = detail if (self.again or orc is None) and detail is not None else orc
        takes_effect, entered = self.time(orc, 15), self.time(orc, 9)
        told_at = self.sent_at
        if entered is not None and orc is not None and len(orc.field(9)) > _DATE:
            told_at = min(entered, told_at)  # a date alone does not say which of a day's statements came last
        place = f" {source.name}[{source.nth}]" if source else ""
        return Order(
            control=self.value(orc, 1).upper(),
            placer=self.number(2),
            filler=self.number(3),
            status=self.value(orc, 5),
            code=code,
            at=takes_effect or entered or self.time(self.obr, 7) or self.sent_at,
            practitioner=self.value(orc, 12),
            source=self.message.control_id + place,
            alternates=alternates,
            parent=entity_within(self.message, parents[0]),
            parent_filler=entity_within(self.message, parents[1]),
            told_at=told_at,
            changed_at=takes_effect or entered or self.sent_at,
            timing=self.timing(),
            is_detailed=detail is not None,
        )

    def codes(self) -> tuple[Coded, tuple[Coded, ...]]:
        message, detail = self.message, self.detail
        if detail is None or detail.name not in _CODED_AT:
            return Coded(), ()
        parts = parts_of(message, detail.field(_CODED_AT[detail.name]))
        more = [parts[3:]] if len(parts) > 3 else []
        if self.asked is not None:
            more.append(parts_of(message, self.asked.field(_CODED_AT["RXO"])))
        others = tuple(coded_of(message, each) for each in more)
        return coded_of(message, parts), tuple(each for each in others if each.code)

    def number(self, field: int) -> str:
        """ORC's, else OBR's; OBR's too where it is the same number and only there with its namespace."""
        first, second = (self.obr, self.orc) if self.again else (self.orc, self.obr)
        one, other = self.entity(first, field), self.entity(second, field)
        return other if not one or other.startswith(f"{one}^") else one

    def entity(self, segment: Segment | None, field: int) -> str:
        return "" if segment is None else entity_of(self.message, segment.field(field))

    def value(self, segment: Segment | None, field: int) -> str:
        return "" if segment is None else self.reading.word(segment.field(field))

    def time(self, segment: Segment | None, field: int) -> datetime | None:
        """A date without an hour is the last moment of that day that is not after the message."""
        if segment is None:
            return None
        raw = segment.field(field)
        found = self.reading.time(raw, segment.name, field, segment.nth)
        if found is None or len(raw) > _DATE:
            return found
        last = datetime.combine(found.date(), time.min, found.tzinfo) + timedelta(days=1, seconds=-1)
        return found if found >= self.sent_at else min(last, self.sent_at)

    # --- for how long

    def timing(self) -> Timing | None:
        """The whole of what TQ1, RXE-1 or ORC-7 say: it runs until the last of them has ended."""
        found = [self.timed_by(tq1) for tq1 in self.timed]
        if not found and self.detail is not None and self.detail.name == "RXE":
            found = self.quantities(self.detail, 1)
        if not found and self.orc is not None:
            found = self.quantities(self.orc, 7)
        if not found:
            return None
        ends = [each.stop or (each.start if each.is_single else None) for each in found]
        known = [each for each in ends if each is not None]
        return Timing(
            min((each.start for each in found if each.start is not None), default=None),
            max(known) if len(known) == len(ends) else None,
            all(each.is_single for each in found),
        )

    def timed_by(self, tq1: Segment) -> Timing:
        row, mark = tq1.row(8), self.message.delimiters.subcomponent
        start, stop = (self.reading.time(row[field], "TQ1", field, tq1.nth) for field in (7, 8))
        pattern = self.reading.word(row[3].split(mark, 1)[0] if mark else row[3])
        return Timing(start, stop, pattern.upper() == _ONE_DOSE)

    def quantities(self, segment: Segment, field: int) -> list[Timing]:
        """TQ, the data type of quantity and timing before 2.5: .2 interval, .4 start, .5 end."""
        found = []
        for one in repetitions_of(self.message, segment.field(field)):
            parts = [*parts_of(self.message, one), *([b""] * 5)]
            start, stop = (
                self.reading.time(parts[number - 1], segment.name, field, segment.nth) for number in (4, 5)
            )
            found.append(Timing(start, stop, leaf(self.message, parts, 2).upper() == _ONE_DOSE))
        return found

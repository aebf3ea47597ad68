"""When an order begins and how long it runs by its own fields: TQ1, the TQ before version 2.5, OBR-36."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from umbridge.hl7.fields import leaf, outset, parts_of, repetitions_of
from umbridge.hl7.reading import Reading
from umbridge.hl7.segment import Segment
from umbridge.hl7.times import days_of
from umbridge.values.timings import Part, Timing

_ONE_DOSE = "ONCE"  # HL7 table 0335, and the repeat pattern of an interval
_PARALLEL = "A"  # HL7 table 0472: the next one beside this one, and not after it
_CONJUNCTIONS = ("", "S", _PARALLEL)  # C, an actuation time, makes of the next one no timing of the service
#: Patterns and urgencies that nearly all are: they need no second look.
_USUAL = frozenset((b"Q4H", b"Q6H", b"Q8H", b"Q12H", b"Q24H", b"BID", b"TID", b"QID", b"ONCE", b"C"))
_SOON = frozenset((b"S", b"A", b"R"))
_AS_NEEDED = "PRN"  # tables 0335 and 0485
#: Tables 0335 (how often it is repeated) and 0485 (how soon it is to begin), and what everybody understands.
_REPEATED = re.compile(
    r"Q\d*[SMHDWLJ]\d*|Q(?:AM|PM|HS|OD|SHIFT|DAY)|[BTQX\d]ID|C|CONT(?:INUOUS)?|DAILY|[API]C[MDV]?|C[MDV]"
)
_URGENCY = re.compile(r"[SARPCT]|T[SMHDWL]\d+|STAT|ASAP|ROUTINE")
_PATTERN, _CONDITION = "order_pattern_unknown", "order_conditional"
_CONJUNCTION, _WITHIN = "order_conjunction_not_read", "order_timing_not_read"
_TQ_AT = {"RXE": 1, "OBR": 27}
_NOT_READ = "duration_not_read"
_MINUTES = 12  # digits of a stamp that has them
#: Units of time that mean one thing, as UCUM, ISO 2955 and ANSI X3.50 write them. A month has no one length.
_UNITS = {
    **dict.fromkeys(("s", "sec", "second", "seconds"), 1),
    **dict.fromkeys(("min", "mins", "minute", "minutes"), 60),
    **dict.fromkeys(("h", "hr", "hrs", "hour", "hours"), 3600),
    **dict.fromkeys(("d", "day", "days"), 86_400),
    **dict.fromkeys(("wk", "wks", "week", "weeks"), 604_800),
}
_LETTERS = {"S": 1, "M": 60, "H": 3600, "D": 86_400, "W": 604_800}
_LETTERED = re.compile(r"([SMHDW])0*([1-9]\d{0,5})")
_AMOUNT = re.compile(r"\d{1,6}(?:\.\d{1,6})?")


class _Piece(NamedTuple):
    """One TQ1, or one repetition of a TQ."""

    start: datetime | None
    stop: datetime | None
    lasting: timedelta | None
    is_single: bool
    is_beside: bool  # the next one runs beside this one
    unread: tuple[Part, ...]
    is_lost: bool  # for how long was sent and cannot be read

    def says(self) -> bool:
        return self.stop is not None or self.lasting is not None or self.is_single

    def end(self, start: datetime) -> datetime | None:
        """The earliest of what it says (TQ1-8, HL7 v2 4.5.4.8); a single dose is over when it is given."""
        ends = [self.stop] if self.stop is not None else []
        if self.lasting is not None:
            ends.append(start + self.lasting)
        elif self.is_single and self.stop is None:
            ends.append(start)
        return min(ends, default=None)

    def alone(self) -> Timing:
        """As all that is said of an order."""
        unread = self.unread
        is_unsure = (self.is_lost or unread != ()) and (self.is_unsure() or self.has(_CONDITION))
        return Timing(self.start, self.stop, self.is_single, self.lasting, (), is_unsure, unread)

    def has(self, why: str) -> bool:
        return any(each.why == why for each in self.unread)

    def is_unsure(self) -> bool:
        """Whether it may be over though nobody says so: an unknown pattern may be that of a single dose."""
        is_open = self.stop is None and self.lasting is None
        return is_open and (self.is_lost or (self.has(_PATTERN) and not self.is_single))


def timing_of(
    reading: Reading, orc: Segment | None, detail: Segment | None, timed: Sequence[Segment]
) -> Timing | None:
    """What the fields for it say; None where none of them was sent.

    TQ1 took the place of TQ, and ORC-7 is RXE-1 and OBR-27 again (4.5.1.2): what one of them leaves out
    another may have. It does not begin before the latest start; for how long it runs the first one says.
    """
    sources = [[_of_tq1(reading, tq1) for tq1 in timed]]
    for segment, field in ((detail, _TQ_AT.get(detail.name) if detail else None), (orc, 7)):
        if segment is not None and field is not None and (raw := segment.field(field)):
            sources.append(_of_tq(reading, raw, segment, field))
    found = [pieces for pieces in sources if pieces]
    if not found:
        return None
    if len(found) == 1 and len(found[0]) == 1:  # nearly always
        return found[0][0].alone()
    start = max((its for pieces in found if (its := _begins(pieces)) is not None), default=None)
    pieces = next((its for its in found if any(piece.says() for piece in its)), found[0])
    every = [piece for its in found for piece in its]
    unread = tuple(dict.fromkeys(part for piece in every for part in piece.unread))
    is_unsure = any(each.is_unsure() for each in pieces) or any(each.has(_CONDITION) for each in every)
    if len(pieces) > 1:
        is_unsure = is_unsure or any(each.has(_CONJUNCTION) for each in pieces[:-1])
        return _together(reading, pieces, start)._replace(is_unsure=is_unsure, unread=unread)
    return pieces[0].alone()._replace(start=start, is_unsure=is_unsure, unread=unread)


def scheduled(reading: Reading, obr: Segment | None, sent_at: datetime) -> datetime | None:
    """OBR-36, the time that the filler set (4.5.3.36); OBR-6, where it was asked for before there was a TQ.

    OBR-7 is when something was done; one that lies ahead of its message is when it is to be done. OBR-6 is as
    often the time of the order, so it counts where it lies ahead too.
    """
    if obr is None:
        return None
    set_at = reading.time(obr.field(36), "OBR", 36, obr.nth)
    asked = (reading.time(obr.field(field), "OBR", field, obr.nth) for field in (6, 7))
    ahead = (at for at in asked if at is not None and at > sent_at)
    return max((at for at in (set_at, *ahead) if at is not None), default=None)


def _begins(pieces: Sequence[_Piece]) -> datetime | None:
    """The first of several is the beginning; where that has no time, nobody said when."""
    return None if pieces[0].start is None else min(each.start for each in pieces if each.start is not None)


def _together(reading: Reading, pieces: Sequence[_Piece], start: datetime | None) -> Timing:
    """Several timings: one after the other or beside one another, and nothing where none of them runs."""
    spans: list[tuple[datetime, datetime | None]] = []
    first = start
    for piece in pieces:
        begins = piece.start or first
        if begins is None:
            ends = piece.stop
            if piece.lasting is not None:
                reading.note(_NOT_READ)
        else:
            ends = piece.end(begins)
            spans.append((begins, ends))
        first = begins if piece.is_beside else ends or begins
    is_open = any(end is None for _, end in spans) or len(spans) < len(pieces)
    known = [end for _, end in spans if end is not None]
    gaps = tuple(_gaps(spans)) if len(spans) == len(pieces) else ()
    is_single = all(piece.is_single for piece in pieces)
    return Timing(start, max(known) if known and not is_open else None, is_single, None, gaps)


def _gaps(spans: Iterable[tuple[datetime, datetime | None]]) -> Iterable[tuple[datetime, datetime]]:
    """From when until when none of them runs, though one still comes."""
    until: datetime | None = None
    for begins, ends in sorted(spans, key=lambda span: span[0]):
        if until is not None and begins > until:
            yield until, begins
        if ends is None:
            return
        until = ends if until is None else max(until, ends)


def _of_tq1(reading: Reading, tq1: Segment) -> _Piece:
    row, message, nth = tq1.row(14), reading.message, tq1.nth
    mark = message.delimiters.subcomponent
    pattern = reading.word(row[3].split(mark, 1)[0] if mark else row[3])
    lost: list[str] = []
    is_single = _is_single(reading, pattern, row[14], "TQ1", 14, nth, lost)
    length = _amount(reading, row[6], 6, nth, lost)
    if is_single:  # of one performance: here of the only one
        each = _amount(reading, row[13], 13, nth, lost)
        length = min((its for its in (length, each) if its is not None), default=None)
    conjunction = reading.word(row[12]).upper()
    unread: list[Part] = []
    if row[3] and row[3] not in _USUAL:
        unread += _patterns(reading, row[3], "TQ1-3")
    if row[9] and row[9] not in _SOON:
        for one in repetitions_of(message, row[9]):
            unread += _urgency(leaf(message, parts_of(message, one), 1), "TQ1-9")
    if row[10] and row[10] != b'""':
        unread.append(Part("TQ1-10", "", _CONDITION))
    within = (4, 5, 11) if is_single else (4, 5, 11, 13)
    unread += [Part(f"TQ1-{n}", "", _WITHIN) for n in within if row[n] and row[n] != b'""']
    if conjunction not in _CONJUNCTIONS:
        unread.append(Part("TQ1-12", conjunction, _CONJUNCTION))
    return _Piece(
        reading.time(row[7], "TQ1", 7, nth),
        _stop(reading, row[8], "TQ1", 8, nth, is_single),
        length,
        is_single,
        conjunction == _PARALLEL,
        tuple(unread),
        bool(lost),
    )


def _of_tq(reading: Reading, raw: bytes, segment: Segment, field: int) -> list[_Piece]:
    """TQ: .2 interval, .3 duration, .4 start, .5 end, .9 conjunction, .12 occurrences."""
    found, message, name, nth = [], reading.message, segment.name, segment.nth
    mark, place = message.delimiters.component, f"{segment.name}-{field}"
    for one in repetitions_of(message, raw):
        parts = [*(one.split(mark, 12) if mark else [one]), *([b""] * 12)]
        duration = leaf(message, parts, 3).upper()
        count = b"1" if duration == "X1" else parts[11]
        lost: list[str] = []
        is_single = _is_single(reading, outset(message, parts, 2), count, name, field, nth, lost)
        lettered = _LETTERED.fullmatch(duration)
        if duration not in ("", "INDEF", "X1") and lettered is None:
            reading.note(f"{name}[{nth}]-{field} {_NOT_READ}")
            lost.append(_NOT_READ)
        conjunction = leaf(message, parts, 9).upper() if parts[8] else ""
        unread: list[Part] = []
        if parts[1] and parts[1] not in _USUAL:
            unread += _patterns(reading, parts[1], place, is_ri=True)
        if parts[5] and parts[5] not in _SOON:
            unread += _urgency(leaf(message, parts, 6), place)
        if parts[6] and leaf(message, parts, 7):
            unread.append(Part(place, "", _CONDITION))
        if parts[7] or parts[9] or (parts[10] and not is_single):
            unread.append(Part(place, "", _WITHIN))
        if conjunction not in _CONJUNCTIONS:
            unread.append(Part(place, conjunction, _CONJUNCTION))
        found.append(
            _Piece(
                reading.time(parts[3], name, field, nth),
                _stop(reading, parts[4], name, field, nth, is_single),
                timedelta(seconds=_LETTERS[lettered[1]] * int(lettered[2])) if lettered else None,
                is_single,
                conjunction == _PARALLEL,
                tuple(unread),
                bool(lost),
            )
        )
    return found


def _patterns(reading: Reading, raw: bytes, place: str, *, is_ri: bool = False) -> Iterator[Part]:
    """How it is repeated: of every repetition the code, and what stands behind it."""
    message = reading.message
    for one in repetitions_of(message, raw):
        parts = parts_of(message, one)
        code, more = outset(message, parts, 1).upper(), parts[1:]
        if is_ri and (mark := message.delimiters.subcomponent):
            more = parts[0].split(mark)[1:]
        if code.startswith(_AS_NEEDED):
            yield Part(place, code, _CONDITION)
        elif code and code != _ONE_DOSE and not _REPEATED.fullmatch(code):
            yield Part(place, code, _PATTERN)
        if any(each.strip() for each in more):
            yield Part(place, "", _WITHIN)


def _urgency(code: str, place: str) -> list[Part]:
    """How soon it is to begin says nothing of whether it runs, but for what is given as needed."""
    said = code.upper()
    if said.startswith(_AS_NEEDED):
        return [Part(place, said, _CONDITION)]
    return [Part(place, said, _WITHIN)] if said and not _URGENCY.fullmatch(said) else []


def _is_single(
    reading: Reading, pattern: str, raw: bytes, name: str, field: int, nth: int, lost: list[str]
) -> bool:
    """Whether it is done once. When the last of several is done depends on the ward's hours: not read."""
    count = reading.word(raw) if raw else ""
    if count.lstrip("0") not in ("", "1"):
        reading.note(f"{name}[{nth}]-{field} {_NOT_READ}")
        lost.append(_NOT_READ)
    return pattern.upper() == _ONE_DOSE or count.lstrip("0") == "1"


def _amount(reading: Reading, raw: bytes, field: int, nth: int, lost: list[str]) -> timedelta | None:
    """A CQ: an amount above 0, and a unit of time."""
    if not raw:
        return None
    message = reading.message
    parts = [*parts_of(message, raw), b""]
    amount, unit = leaf(message, parts, 1), outset(message, parts, 2).lower()
    if not amount and not unit:
        return None
    seconds = float(amount) * _UNITS.get(unit, 0) if _AMOUNT.fullmatch(amount) else 0
    if not seconds:
        reading.note(f"TQ1[{nth}]-{field} {_NOT_READ}")
        lost.append(_NOT_READ)
        return None
    return timedelta(seconds=seconds)


def _stop(reading: Reading, raw: bytes, name: str, field: int, nth: int, is_single: bool) -> datetime | None:
    """The end of what the stamp says: a day without an hour is that day to its end, in the site's zone.

    Of a single dose such a day is the last on which it may be given, and not how long it takes.
    """
    at = reading.time(raw, name, field, nth)
    if at is None or (raw[:12].isdigit() and len(raw) >= _MINUTES) or raw[:10].endswith(b"24"):
        return at
    days = days_of(reading.stamp(raw), reading.zone)
    if days is None:
        return at
    return None if is_single else days[1] + timedelta(seconds=1)

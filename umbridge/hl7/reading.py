"""Reading one message field by field: values, times, codes, and a note for whatever could not be read."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime, tzinfo

from umbridge.hl7.er7 import Message
from umbridge.hl7.fields import cleared, coded_of, leaf, located, parts_of, repetitions_of, word
from umbridge.hl7.times import CHANGES, Clock, Either, either, parse_time
from umbridge.model import Coded

ONCE = ("EVN", "PID", "PV1", "PV2", "MRG")  # segments that most messages have one of
#: So many of one message are read. One with more waits for a person: it must not be half read.
MOST = {b"PID": 500, b"MRG": 500, b"ORC": 2_000, b"DG1": 500, b"IN1": 500, b"IN3": 500, b"PR1": 500}
MAX_NOTES = 100  # then one note more says that there were others
_SHORT, _CACHED = 120, 4096  # bytes of a field, and how many fields, that are kept read
_COARSE = (b"Y", b"L", b"D", b"H")  # TS.2: the stamp means less than it has digits for
_DATE = 8  # bytes of a stamp that are its day
_DIALECTS = 16  # sets of delimiters for which they are kept: senders have one or two

#: A unit with a power that was sent as components.
_POWER = re.compile(
    rb"[xX*]?\s?10\^\d{1,2}\s?/\s?[A-Za-z]{1,3}(?:\^3)?(?=\^|~|\Z)|[A-Za-z]{0,6}/[cm]m\^3(?=\^|~|\Z)"
)

_Words = tuple[Coded, Coded, str]
_NOTHING: _Words = (Coded(), Coded(), "")
_Key = tuple[bytes, bytes, bytes, bytes, bytes]
_Form = tuple[str, Coded, Coded, str, str, str, str]


class _Known:
    """Plain ASCII fields already read, for one set of delimiters: with it their bytes say it all."""

    __slots__ = ("forms", "words")

    def __init__(self) -> None:
        self.words: dict[bytes, _Words] = {}
        self.forms: dict[_Key, _Form] = {}


_known: dict[bytes, _Known] = {}


def _known_for(key: bytes) -> _Known:
    found = _known.get(key)
    if found is None:
        if len(_known) >= _DIALECTS:
            _known.clear()
        found = _known[key] = _Known()
    elif len(found.words) >= _CACHED or len(found.forms) >= _CACHED:
        found.words.clear()
        found.forms.clear()
    return found


class Reading:
    """The state of one translation."""

    __slots__ = (
        "_clock",
        "_days",
        "_escape",
        "_first",
        "_forms",
        "_hours",
        "_known",
        "_odd",
        "_special",
        "_steady",
        "either",
        "is_open",
        "is_sent_open",
        "message",
        "notes",
        "received_at",
        "zone",
    )

    def __init__(self, message: Message, zone: tzinfo, received_at: datetime | None) -> None:
        self.message = message
        self.zone = zone
        self.received_at = received_at
        self.notes: list[str] = []
        self.either: dict[bytes, Either] = {}  # times that the facility's clock has twice, or leaves out
        self.is_sent_open = self.is_open = False  # whether nothing settles which MSH-7, or another, means
        self._odd: dict[bytes, tuple[datetime | None, str]] = {}  # times that took a closer look
        self._first: dict[bytes, list[bytes]] = {}  # the fields of the first segment of a name
        self._clock = Clock.of(zone)
        self._days, self._hours, self._steady = self._clock.days, self._clock.hours, self._clock.steady
        marks = message.delimiters
        self._escape = marks.escape
        self._special = b""  # the delimiters, where a field without any of them is its own value
        self._known: _Known | None = None
        self._forms: dict[_Key, _Form] = {}
        if message.codec == "ascii" and message.is_ascii:
            self._special = marks.inner
            self._known = _known_for(marks.inner)
            self._forms = self._known.forms

    def rows(self, name: bytes, last: int, most: int) -> list[list[bytes]]:
        """The fields of the first ``most`` segments of that name, each at least up to number ``last``."""
        lines = self.message.lines_of(name)
        if not lines:
            return []
        separator = self.message.delimiters.field
        found = [line.split(separator) for line in lines[:most]]
        for row in found:
            if len(row) <= last:
                row.extend([b""] * (last + 1 - len(row)))
        return found

    def row(self, name: bytes, last: int) -> list[bytes] | None:
        """The fields of the first segment of that name, if any. Do not change the list: it is kept."""
        found = self._first.get(name)
        if found is None:
            lines = self.message.lines_of(name)
            if not lines:
                return None
            found = self._first[name] = lines[0].split(self.message.delimiters.field)
        missing = last + 1 - len(found)
        if missing > 0:
            found.extend([b""] * missing)
        return found

    def plain(self, raw: bytes) -> str | None:
        """The value of a field that is one word without delimiters, as most are; None: look closer."""
        if raw.isalnum():
            return raw.decode()
        if self._special and len(raw.translate(None, self._special)) == len(raw):
            return raw.decode("ascii").strip()
        return None

    def words(self, raw: bytes) -> _Words:
        """A coded field: components 1 to 3, 4 to 6, and the first word of either. A feed repeats few."""
        known = self._known
        found = None if known is None else known.words.get(raw)
        if found is None:
            if not raw:
                return _NOTHING
            parts = parts_of(self.message, raw)
            code, alternate = coded_of(self.message, parts), coded_of(self.message, parts[3:])
            found = (code, alternate, code.code or alternate.code)
            if known is not None and self._lasting(raw):
                known.words[raw] = found
        return found

    def form(self, key: _Key) -> _Form:
        """All of an OBX but its value and time: type, code, alternate code, unit, range, status, other unit.

        ``key`` is its fields 2, 3, 6, 7 and 11. A feed repeats few of these, so one is read once.
        """
        found = self._forms.get(key)
        if found is None:
            message, (kind, code_field, unit_field, range_field, status) = self.message, key
            code, alternate, _ = self.words(code_field)
            first, other = self.unit(unit_field)
            found = (
                kind.decode() if kind.isalnum() else word(message, kind),
                code,
                alternate,
                first,
                self.range(range_field),
                (status.decode() if status.isalpha() else self.status(status)).upper(),
                other,
            )
            if self._known is not None and self._lasting(b"".join(key)):
                self._forms[key] = found
        return found

    def status(self, raw: bytes) -> str:
        """OBX-11: its first component. Two that differ are one of no table."""
        many = repetitions_of(self.message, raw)
        return self.message.value(raw).strip() if len(set(many)) > 1 else word(self.message, raw)

    def unit(self, raw: bytes) -> tuple[str, str]:
        """OBX-6.1, else OBX-6.4; and OBX-6.4 beside it. Senders do not escape the ^ of a power: 10^3/uL."""
        repeat = self.message.delimiters.repetition
        if repeat and repeat in raw and len(set(repetitions_of(self.message, raw))) > 1:
            return self.message.value(raw).strip(), ""  # whichever was picked would be picked by position
        unit, other, first = self.words(raw)
        mark = self.message.delimiters.component
        if mark and mark in raw:
            power = _POWER.match(raw.replace(mark, b"^"))
            if power is not None:
                return power[0].decode(), ""
        return first, other.code if unit.code else ""

    def range(self, raw: bytes) -> str:
        """A reference range: its first repetition whole, as its senders escape nothing."""
        said = self.plain(raw)
        if said is None:
            mark = self.message.delimiters.repetition
            said = self.message.value(raw[: raw.index(mark)] if mark and mark in raw else raw)
        return cleared(said.strip())

    def _lasting(self, raw: bytes) -> bool:
        """Whether the bytes alone decide what was read, and are few enough to keep."""
        return len(raw) <= _SHORT and not (self._escape and self._escape in raw)

    def rank(self, raw: bytes, name: str, nth: int) -> int:
        """Field 1 as a number, else the segment's place among its kind."""
        raw = raw.strip()
        if raw.isdigit() and len(raw) < 6:
            return int(raw)
        self.note(f"{name}[{nth}]-1 number_unreadable")
        return nth

    def word(self, raw: bytes) -> str:
        """Component 1 of the first repetition; HL7's null counts as nothing sent."""
        if raw.isalnum():
            return raw.decode()
        return word(self.message, raw) if raw else ""

    def sent(self, raw: bytes) -> str | None:
        """None for not sent, "" for HL7's null, else component 1 of the first repetition."""
        if raw.isalnum():
            return raw.decode()
        parts = parts_of(self.message, raw) if raw else ()
        if not parts or not parts[0].strip():
            return None
        return leaf(self.message, parts, 1)

    def place(self, parts: Sequence[bytes], number: int) -> str | None:
        """The same of a part of PL."""
        if len(parts) < number:
            return None
        raw = parts[number - 1].strip()
        if raw.isalnum():
            return raw.decode()
        return located(self.message, raw) if raw else None

    def time(self, raw: bytes, name: str, field: int, nth: int = 0) -> datetime | None:
        """A TS or DTM field's moment, None (with a note when something was sent) if it has none.

        ``name``, ``field`` and, of segments that a message has several of, ``nth`` are for the note.
        """
        if not raw:
            return None
        digits = raw[:8]
        day, hour = self._days.get(digits), self._hours.get(raw[8:])
        if day is not None and hour is not None:
            at = datetime.combine(day, hour)
            if digits in self._steady:
                return at
            odd = self._clock.oddity(digits, at) if len(raw) > _DATE else ""
            if not odd:
                return at
            found: datetime | None = at
        else:
            found, odd = self._looked_at(raw)
        if odd in CHANGES and found is not None:
            its = self.either[raw] = self.either.get(raw) or either(found, self.zone)
            found = its.usual
        if odd and len(self.notes) <= MAX_NOTES:
            self.note(f"{name}[{nth}]-{field} {odd}" if nth else f"{name}-{field} {odd}")
        return found

    def _looked_at(self, raw: bytes) -> tuple[datetime | None, str]:
        """A stamp that is not made of a day and a time of day that were met before."""
        found = self._clock.usual(raw)
        odd = ""
        if found is None:
            known = self._odd.get(raw)
            if known is None:
                known = self._odd[raw] = parse_time(self.stamp(raw), self.zone)
            found, odd = known
        mark = self.message.delimiters.component
        if mark and mark in raw and not odd:
            precision = parts_of(self.message, raw)[1:2]
            odd = "precision_not_read" if precision and precision[0] in _COARSE else ""
        if found is not None and not odd and len(raw) > _DATE and raw[:_DATE] not in self._steady:
            odd = self._clock.oddity(raw[:_DATE], found)
        return found, odd

    def stamp(self, raw: bytes) -> bytes:
        """A TS field's first subcomponent, as sent."""
        found = parts_of(self.message, raw)[0]
        mark = self.message.delimiters.subcomponent
        return found[: found.index(mark)] if mark and mark in found else found

    def note(self, code: str) -> None:
        if code not in self.notes[-3:]:
            if len(self.notes) < MAX_NOTES:
                self.notes.append(code)
            elif len(self.notes) == MAX_NOTES:
                self.notes.append("more_notes")

"""Reading one message field by field: values, times, codes, and a note for whatever could not be read."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, tzinfo

from umbridge.hl7.er7 import Message, Segment
from umbridge.hl7.fields import NULL, coded_of, leaf
from umbridge.hl7.times import parse_time
from umbridge.model import Coded

ONCE = ("EVN", "PID", "PV1", "PV2", "MRG")  # segments that most messages have one of
MAX_NOTES = 100  # then one note more says that there were others
_SHORT, _CACHED = 120, 4096  # bytes of a coded field, and how many, that are kept read

_Words = dict[bytes, tuple[Coded, Coded, str]]
# Codes and units of plain ASCII fields without an escape, by delimiters: with them their bytes say it all.
_words: dict[bytes, _Words] = {}


_NOTHING = (Coded(), Coded(), "")


class Reading:
    """The state of one translation: notes, and times already read (a report repeats the same one)."""

    __slots__ = ("_escape", "_special", "_times", "_words", "message", "notes", "received_at", "zone")

    def __init__(self, message: Message, zone: tzinfo, received_at: datetime | None) -> None:
        self.message = message
        self.zone = zone
        self.received_at = received_at
        self.notes: list[str] = []
        self._times: dict[bytes, tuple[datetime | None, str]] = {}
        marks = message.delimiters
        self._escape = marks.escape
        self._special = b""  # the delimiters, where a field without any of them is its own value
        self._words: _Words | None = None
        if message.codec == "ascii" and message.raw.isascii():
            self._special = marks.component + marks.repetition + marks.escape + marks.subcomponent
            key = b"\x00".join((marks.component, marks.repetition, marks.escape, marks.subcomponent))
            self._words = _words.get(key)
            if self._words is None:
                self._words = _words[key] = {}
                while len(_words) > _CACHED:
                    del _words[next(iter(_words))]

    def plain(self, raw: bytes) -> str | None:
        """The value of a field that is one word without delimiters, as most are; None: look closer."""
        if raw.isalnum():
            return raw.decode()
        if self._special and len(raw.translate(None, self._special)) == len(raw):
            return raw.decode("ascii").strip()
        return None

    def words(self, segment: Segment, field: int) -> tuple[Coded, Coded, str]:
        """A coded field: components 1 to 3, 4 to 6, and the first word of either. A feed repeats few."""
        raw, known = segment.field(field), self._words
        found = None if known is None else known.get(raw)
        if found is None:
            if not raw:
                return _NOTHING
            parts = segment.components(field)
            code, alternate = coded_of(self.message, parts), coded_of(self.message, parts[3:])
            found = (code, alternate, code.code or alternate.code)
            has_escape = bool(self._escape) and self._escape in raw
            if known is not None and len(raw) <= _SHORT and not has_escape and len(known) < _CACHED:
                known[raw] = found
        return found

    def rank(self, segment: Segment) -> int:
        """Field 1 as a number, else the segment's place among its kind."""
        raw = segment.field(1).strip()
        if raw.isdigit() and len(raw) < 6:
            return int(raw)
        self.note(f"{segment.name}[{segment.nth}]-1 number_unreadable")
        return segment.nth

    def value(self, segment: Segment | None, field: int) -> str:
        """Component 1 of the first repetition; HL7's null counts as nothing sent."""
        if segment is None:
            return ""
        raw = segment.field(field)
        if raw.isalnum():
            return raw.decode()
        return leaf(self.message, segment.components(field), 1) if raw else ""

    def sent(self, segment: Segment, field: int) -> str | None:
        """None for not sent, "" for HL7's null, else component 1 of the first repetition."""
        raw = segment.field(field)
        if raw.isalnum():
            return raw.decode()
        return self.sent_part(segment.components(field), 1) if raw else None

    def sent_part(self, parts: Sequence[bytes], number: int) -> str | None:
        """None for not sent, "" for HL7's null, else the value."""
        if len(parts) < number:
            return None
        raw = parts[number - 1].strip()
        if not raw:
            return None
        return "" if raw == NULL else leaf(self.message, parts, number)

    def time(self, segment: Segment | None, field: int) -> datetime | None:
        """A TS or DTM field's moment, None (with a note when something was sent) if it has none."""
        if segment is None:
            return None
        raw = segment.field(field)
        if not raw:
            return None
        found = self._times.get(raw)
        if found is None:
            stamp = raw
            if not raw.isdigit():
                parts = segment.subcomponents(field)
                stamp = parts[0] if parts else b""
            found = self._times[raw] = parse_time(stamp, self.zone)
        if found[1]:
            nth = f"[{segment.nth}]" if segment.name not in ("MSH", *ONCE) else ""
            self.note(f"{segment.name}{nth}-{field} {found[1]}")
        return found[0]

    def note(self, code: str) -> None:
        if code not in self.notes[-3:]:
            if len(self.notes) < MAX_NOTES:
                self.notes.append(code)
            elif len(self.notes) == MAX_NOTES:
                self.notes.append("more_notes")

"""The reader: one frame's bytes to segments, fields and values, with every byte accounted for.

A tokenizer and no more: nothing is checked against a structure, nothing is dropped or reordered, and
what nobody asks for is never split or decoded. Addresses are the usual ones, ``PID-3[2].4.1`` for
segment, field, repetition, component, subcomponent, counted from one; ``OBX[4]-5`` is the fourth OBX.
A part that is left out is the first: ``PID-3`` is the first subcomponent of its first component.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from copy import copy
from types import MappingProxyType

from umbridge.errors import NotHl7Error
from umbridge.hl7.address import address_of
from umbridge.hl7.charset import codec_for, overlapping
from umbridge.hl7.coding import Coding
from umbridge.hl7.delimiters import PUNCTUATION, delimiters_of
from umbridge.hl7.lines import BLANK, BOM, MOST_SEGMENTS, lines_of
from umbridge.hl7.segment import Segment

ENVELOPE = frozenset({b"FHS", b"BHS", b"BTS", b"FTS"})  # batch and file headers and trailers, HL7 v2 ch. 2
# MSH, a separator, and at least a component separator that is not the same character: less cannot be read.
HEADER = re.compile(rb"MSH([!-/:-@\[-`{-~])(?!\1)[!-/:-@\[-`{-~]")
FOLDED = "lines_not_segments"
# The segments that intake and translation ask for, and those at which a message may have to end.
_ASKED = frozenset(b"EVN PID PV1 PV2 MRG OBX OBR ORC SPM DG1 IN1 IN3 PR1 MSA MSH DSC".split()) | ENVELOPE
_NONE_BEFORE: Mapping[bytes, int] = MappingProxyType({})
_IMPLIED = {
    "ORM": "O01",
    "ORU": "R01",
    "RDE": "O01",
}  # versions 2.1 and 2.2 may leave the trigger out; these have one
_EASY_SETS = frozenset({b"", b"ASCII", b"UNICODE UTF-8", b"8859/1"})
_NAMES = {name.decode(): name for name in _ASKED}
_NO_LINES: Sequence[bytes] = ()
_KINDS_KEPT = 256  # spellings of MSH-9 that were read: feeds have a dozen
_LONGEST_KIND = 64  # bytes of one
_kinds: dict[tuple[bytes, ...], tuple[str, str]] = {}


class Message:
    """One message of a frame. Made by ``parse``.

    ``raw`` is the frame as received; ``lines`` all its lines that are not blank; ``body`` those of this
    message, MSH first. What is in ``lines`` only is a batch envelope, lines before the MSH (``preceded``)
    or further messages (``extra_headers`` counts them). Of a frame with more than MOST_SEGMENTS lines, those
    behind the MSH that cannot be segments are in ``raw`` alone: documents come folded into lines. ``more``:
    the frame goes on after MOST_LINES of the others, likewise. ``notes`` are codes of what was odd, never
    content.

    ``before`` counts the segments of each name that stand before the body: of a part of a message, that its
    segments keep their numbers.
    """

    __slots__ = (
        "_control_id",
        "_index",
        "_kind",
        "_made",
        "before",
        "body",
        "codec",
        "coding",
        "delimiters",
        "extra_headers",
        "header",
        "is_ascii",
        "lines",
        "more",
        "notes",
        "preceded",
        "raw",
    )

    def __init__(
        self,
        raw: bytes,
        lines: list[bytes],
        first: int,
        default_charset: str,
        *,
        more: bool = False,
        folded: bool = False,
    ) -> None:
        self.raw = raw
        self.more = more
        self.lines = lines
        self.before: Mapping[bytes, int] = _NONE_BEFORE
        self.notes: list[str] = [FOLDED] if folded else []
        self.preceded = first > 0 and any(line[:3] not in ENVELOPE for line in lines[:first])
        body = lines[first:] if first else lines.copy()
        if first == 0 and not body[0].startswith(b"MSH"):
            if BOM in body[0][: len(BOM) + 4]:
                self.notes.append("bom")
            body[0] = _trimmed(body[0])
        self.delimiters = delimiters_of(body[0])
        self.coding = Coding(self.delimiters)
        if self.delimiters.problem:
            self.notes.append("MSH-2 " + self.delimiters.problem)
        self.extra_headers = 0
        self.body = body
        if self._take_lines() or len(body) > MOST_SEGMENTS:
            self._cut()
        self.header = Segment(self.coding, "MSH", 1, body[0])
        self._made: dict[str, list[Segment]] = {}
        self._kind: tuple[str, str] | None = None
        self._control_id: str | None = None
        self.is_ascii = raw.isascii()
        self.coding.plain = self.is_ascii and self.header.field(18) in _EASY_SETS
        if not self.coding.plain:
            self._choose_codec(default_charset)
        self.codec = self.coding.codec

    def part(self, lines: Sequence[bytes], before: Mapping[bytes, int]) -> Message:
        """A message of this header and some of the body's lines; ``before``: see the class."""
        twin = copy(self)
        twin.body = [self.body[0], *lines]
        twin.before = before
        twin.notes = list(self.notes)
        twin._made = {}
        twin._take_lines()
        return twin

    def _take_lines(self) -> bool:
        """Sort out the lines that everybody asks for; whether some may belong to another message.

        Other lines are looked for when somebody asks for them.
        """
        ends = (self.delimiters.field, b"")
        index: dict[bytes, list[bytes]] = {}
        odd = False  # a header in other delimiters than ours?
        for line in self.body[:MOST_SEGMENTS]:
            name = line[:3]
            if name in _ASKED:
                if line[3:4] not in ends:
                    odd = True
                elif name in index:
                    index[name].append(line)
                else:
                    index[name] = [line]
        self._index = index
        return odd or len(index.get(b"MSH", _NO_LINES)) > 1 or not ENVELOPE.isdisjoint(index)

    def _cut(self) -> None:
        """End the body before the next header (its PID must never read as ours) and before any trailers.

        An envelope line with segments behind it is a stray one: it stays, so that they do.
        """
        body = self.body
        headers = [at for at, line in enumerate(body) if line[:3] == b"MSH" and at and HEADER.match(line)]
        if headers:
            self.extra_headers = len(headers)
            self.notes.append("several_messages")
            del body[headers[0] :]
        last, ends = len(body), (self.delimiters.field, b"")
        while last > 1 and body[last - 1][:3] in ENVELOPE and body[last - 1][3:4] in ends:
            last -= 1
        del body[last:]
        self._take_lines()

    def _choose_codec(self, default_charset: str) -> None:
        # MSH-18 stands further right than field 18 where half a character of MSH-3 to 6 reads as MSH-1.
        declared = self.header.repetitions(18)
        for later in self.header.fields[19:]:
            if overlapping(codec_for([later.decode("latin-1")], "")[0]):
                declared = [later]
        names = [name.decode("latin-1") for name in declared]
        coding = self.coding
        coding.codec, known = codec_for(names, default_charset)
        if not known:
            self.notes.append("MSH-18 charset_unknown")
        try:
            self.raw.decode(coding.codec)
        except UnicodeError:
            self.notes.append("MSH-18 charset_mismatch" if names else "charset_guessed")
            return
        if overlapping(coding.codec):
            # Half of a character may look like a delimiter: tell the fields apart in UTF-8 instead.
            self.body = [line.decode(coding.codec, "replace").encode() for line in self.body]
            coding.transcribed, coding.codec = coding.codec, "utf-8"
            self.header = Segment(coding, "MSH", 1, self.body[0])
            self._take_lines()

    # --- reading

    def segments(self, name: str) -> list[Segment]:
        """The segments of that name in order; the list is ours, do not change it."""
        made = self._made.get(name)
        if made is None:
            if name == "MSH":
                made = [self.header]
            else:
                own = _NAMES.get(name) or name.encode("latin-1", "ignore")
                first = 1 + self.before.get(own, 0)
                made = [
                    Segment(self.coding, name, nth, line)
                    for nth, line in enumerate(self._lines_of(own), start=first)
                ]
            self._made[name] = made
        return made

    def lines_of(self, name: bytes) -> Sequence[bytes]:
        """Those of the first MOST_SEGMENTS segments that have that name, as sent. Do not change the list."""
        if name in _ASKED:
            return self._index.get(name, _NO_LINES)
        return self._found(name, self.body[:MOST_SEGMENTS])

    def _lines_of(self, name: bytes) -> Sequence[bytes]:
        few = len(self.body) <= MOST_SEGMENTS
        return self.lines_of(name) if few else self._found(name, self.body)

    def _found(self, name: bytes, lines: Sequence[bytes]) -> list[bytes]:
        mark = self.delimiters.field
        return [line for line in lines if line.startswith(name) and line.split(mark, 1)[0] == name]

    def walk(self, wanted: frozenset[bytes] | None = None) -> Iterator[Segment]:
        """All segments in order, MSH first; or those whose three-letter names are ``wanted``."""
        seen: dict[bytes, int] = {b"MSH": 1, **self.before}
        separator = self.delimiters.field
        if wanted is None:
            yield self.header
        for line in self.body[1:]:
            name = line[:3] if line[3:4] == separator else line.split(separator, 1)[0]
            if wanted is None or name in wanted:
                nth = seen[name] = seen.get(name, 0) + 1
                yield Segment(self.coding, name.decode("latin-1"), nth, line)

    def first(self, name: str) -> Segment | None:
        """The first segment of that name, if any."""
        found = self.segments(name)
        return found[0] if found else None

    def get_raw(self, address: str) -> bytes:
        """The bytes at ``PID-3[2].4.1``. Raises: ValueError for what is not an address."""
        name, nth, *_ = address_of(address)
        if not name:
            raise ValueError("an HL7 address with its segment is needed here")
        found = self.segments(name)
        return found[nth - 1].get_raw(address) if nth <= len(found) else b""

    def get(self, address: str) -> str:
        """The value at ``PID-3[2].4.1``: decoded, unescaped, "" where absent, '""' for HL7's null."""
        return self.value(self.get_raw(address))

    __getitem__ = get

    def value(self, raw: bytes) -> str:
        """One leaf's bytes as text, escapes resolved; an escape nobody knows stays as it was sent."""
        return self.coding.value(raw)

    def text(self, raw: bytes) -> str:
        """Bytes as text, escapes left alone."""
        return self.coding.text(raw)

    def wire(self, raw: bytes) -> bytes:
        """Bytes read from this message as the sender wrote them (they differ for GB 18030 and its like)."""
        sent = self.coding.transcribed
        return raw.decode("utf-8", "replace").encode(sent, "replace") if sent else raw

    # --- what everybody asks first

    @property
    def kind(self) -> tuple[str, str]:
        """Message type and trigger: MSH-9, else EVN-1, else the only trigger that the type ever had."""
        if self._kind is None:
            key = (self.header.field(9), *self.header.fields[1:3])  # which says how it is to be read
            known = _kinds.get(key) if self.coding.plain else None
            self._kind = known or self._read_kind(key)
        return self._kind

    def _read_kind(self, key: tuple[bytes, ...]) -> tuple[str, str]:
        parts = self.header.components(9)
        code = self.value(parts[0]).strip() if parts else ""
        trigger = self.value(parts[1]).strip() if len(parts) > 1 else ""
        if not trigger or trigger == '""':
            trigger = self.get("EVN-1").strip() if self.segments("EVN") else ""
            return code, trigger or _IMPLIED.get(code, "")
        if self.coding.plain and len(key[0]) <= _LONGEST_KIND:
            if len(_kinds) >= _KINDS_KEPT:
                _kinds.clear()
            _kinds[key] = code, trigger
        return code, trigger

    @property
    def wording(self) -> tuple[bytes, ...]:
        """The header but for what each message has of its own: time, control id, sequence number.

        A feed repeats it, so that what it says has to be read once (with ``codec``, which goes by the frame).
        """
        fields = self.header.fields
        return (*fields[:7], *fields[8:10], *fields[11:13], *fields[14:])

    @property
    def control_id(self) -> str:
        """MSH-10 as sent, escapes and delimiters left alone; the bytes are ``header.field(10)``."""
        if self._control_id is None:
            self._control_id = self.text(self.header.field(10))
        return self._control_id


def _trimmed(line: bytes) -> bytes:
    return line.lstrip(BLANK).removeprefix(BOM).lstrip(BLANK)


def parse(frame: bytes, default_charset: str = "utf-8") -> Message:
    """Read one frame. ``default_charset`` is the feed's codec for messages that leave MSH-18 empty.

    Raises: NotHl7Error when there is no MSH with a readable MSH-1 and MSH-2. Nothing else, ever.
    """
    lines, more, folded = lines_of(frame)
    if lines and HEADER.match(lines[0]):
        return Message(frame, lines, 0, default_charset, more=more, folded=folded)
    unreadable = ""
    begun = [at for at, line in enumerate(lines) if line[:3] == b"MSH"]
    for at in (0, *begun) if lines else ():
        bare = _trimmed(lines[at]) if at == 0 else lines[at]
        if HEADER.match(bare):
            return Message(frame, lines, at, default_charset, more=more, folded=folded)
        if bare[:3] == b"MSH" and not unreadable:
            separator = bare[3:4]
            unreadable = "msh2_unreadable" if separator and separator[0] in PUNCTUATION else "msh1_unreadable"
    if not lines or not frame.strip(BLANK + b"\r\n"):
        raise NotHl7Error("empty")
    if frame[:2] in (b"\xff\xfe", b"\xfe\xff") or b"M\x00S\x00H" in frame[:16] or b"\x00M\x00S" in frame[:16]:
        raise NotHl7Error("utf16")
    raise NotHl7Error(unreadable or "no_msh")

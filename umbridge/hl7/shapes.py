"""What a field has beside what is read of it: fields of another shape than their reader's are noted.

A receiver passes over what it does not expect: further components and repetitions (2.8.2). Here that is
said where it may be meant: repetitions that differ, something in a field and nothing in what is read of it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from umbridge.hl7.delimiters import Delimiters
from umbridge.hl7.er7 import Message
from umbridge.hl7.fields import NULL
from umbridge.hl7.reading import MAX_NOTES

REPETITIONS, COMPONENTS, NOTHING = "repetitions_not_read", "components_not_read", "nothing_where_read"


class Shape:
    """Which components are read, and whether more of what is sent is."""

    __slots__ = ("is_many", "is_time", "read")

    def __init__(self, *read: int, is_many: bool = False, is_time: bool = False) -> None:
        self.read, self.is_many, self.is_time = read, is_many, is_time

    def oddity(self, raw: bytes, marks: Delimiters) -> str:
        """What of a field nobody reads; "" where it is read, or is a text or a system beside a code."""
        each = raw.split(marks.repetition) if marks.repetition else [raw]
        if not self.is_many and any(one and one != each[0] for one in each[1:]):
            return REPETITIONS
        parts = [one.split(marks.component) if marks.component else [one] for one in each]
        if not any(self._said(one, marks) for one in parts):
            return NOTHING if raw.strip() not in (b"", NULL) and raw.strip(marks.inner) else ""
        if self.is_time and (
            any(parts[0][len(self.read) :]) or (marks.subcomponent and marks.subcomponent in raw)
        ):
            return COMPONENTS
        return ""

    def _said(self, parts: Sequence[bytes], marks: Delimiters) -> bool:
        """Whether a component that is read has anything; of one with an ampersand before all else, no."""
        its = [parts[number - 1].strip() for number in self.read if number <= len(parts)]
        return any(one and not (marks.subcomponent and one.startswith(marks.subcomponent)) for one in its)


_WORD, _CODE, _PARENTS = Shape(1), Shape(1, 4), Shape(1, 2)
_TIME, _RANGE = Shape(1, is_time=True), Shape(1, 2, is_time=True)
_PERSON = Shape(1, is_many=True)
_TEXT = Shape(1, 2)  # a code, or its text
_PATTERNS = Shape(1, is_many=True)
_PLACE, _AMOUNT = Shape(1, 2, 3), Shape(1)
_LIMITS = Shape(*range(1, 10))

#: Every field that is read as something else than whole (OBX-4, OBX-5 and their like), and how.
FIELDS: dict[bytes, dict[int, Shape]] = {
    b"EVN": dict.fromkeys((2, 6), _TIME),
    b"PID": {3: _PERSON, 7: _TIME, 8: _WORD, 18: _WORD},
    b"MRG": {1: _PERSON, 3: _PERSON, 4: _PERSON, 5: _WORD},
    b"PV1": {
        **dict.fromkeys((2, 4, 10, 18, 19, 36), _WORD),
        3: _PLACE,
        **dict.fromkeys((7, 8, 9, 17), _PERSON),
        **dict.fromkeys((44, 45), _TIME),
    },
    b"PV2": dict.fromkeys((8, 9, 47), _TIME),
    b"ORC": {
        **dict.fromkeys((1, 2, 3, 4, 5), _WORD),
        8: _PARENTS,
        9: _TIME,
        12: _PERSON,
        15: _TIME,
        25: _TEXT,
    },
    b"OBR": {
        **dict.fromkeys((2, 3, 25), _WORD),
        4: _CODE,
        6: _TIME,
        7: _TIME,
        14: _TIME,
        16: _PERSON,
        29: _PARENTS,
        36: _TIME,
    },
    b"OBX": {2: _WORD, 3: _CODE, 6: _CODE, 7: _LIMITS, 11: _WORD, 14: _TIME},
    b"SPM": {17: _RANGE, 18: _TIME, 21: Shape(*range(1, 10), is_many=True)},
    b"TQ1": {
        **dict.fromkeys((3, 9), _PATTERNS),
        **dict.fromkeys((6, 13), _AMOUNT),
        **dict.fromkeys((7, 8), _TIME),
        **dict.fromkeys((12, 14), _WORD),
    },
    b"RXO": {1: _CODE, 21: _WORD, 22: _CODE},
    b"RXE": {2: _CODE, 23: _WORD, 24: _CODE},
    b"RXR": {1: _CODE},
    b"DG1": {2: _WORD, 3: Shape(1, 4, 10), 6: _WORD, 15: _WORD, 21: _WORD},
    b"PR1": {3: _CODE, 5: _TIME, 6: _WORD, 20: _WORD},
    b"IN1": {**dict.fromkeys((2, 14, 15, 22, 28), _WORD), 12: _TIME, 13: _TIME},
    b"IN3": {
        **dict.fromkeys((2, 3, 4, 12, 14, 17, 21), _WORD),
        **dict.fromkeys((6, 9, 10, 13), _TIME),
        11: Shape(1, 2),
    },
}


Oddities = tuple[tuple[int, str], ...]
#: What lines have, by their bytes: a patient's PID and PV1 are in all messages about the visit.
_known: dict[bytes, dict[bytes, Oddities]] = {}
_DIALECTS, _CACHED, _SHORT = (
    16,
    4096,
    600,
)  # sets of delimiters, lines of each, and bytes of a line that is kept
_MOST = 10_000  # bytes of a field that are looked at


def notes_of(message: Message) -> list[str]:
    """A note for each field of another shape, as the reader writes its own.

    Nothing is read from them, so whoever counts what is not used asks for them: reading does not wait. Only
    lines are looked at that have a delimiter where it is odd.
    """
    marks = message.delimiters
    known = _known.get(marks.key)
    if known is None:
        if len(_known) >= _DIALECTS:
            _known.clear()
        known = _known[marks.key] = {}
    notes: list[str] = []
    for line in _suspects(message.raw, marks):
        found = known.get(line)
        if found is None:
            fields = FIELDS.get(line[:3])
            found = _of_line(line, fields, marks) if fields is not None else ()
            if len(line) <= _SHORT:
                if len(known) >= _CACHED:
                    known.clear()
                known[line] = found
        for number, oddity in found:
            notes.append(f"{line[:3].decode()}-{number} {oddity}")
        if len(notes) > MAX_NOTES:
            return [*notes[:MAX_NOTES], "more_notes"]
    return notes


def _suspects(raw: bytes, marks: Delimiters) -> Iterator[bytes]:
    """The lines behind the first with a repetition, a subcomponent, or a field that begins with nothing."""
    end = raw.find(b"\r")
    first = end if end >= 0 else raw.find(b"\n")
    cut = b"\r" if end >= 0 else b"\n"
    done: set[int] = set()
    for mark in (marks.repetition, marks.subcomponent, marks.component and marks.field + marks.component):
        at = raw.find(mark, first) if mark and first >= 0 else -1
        while at >= 0:
            end = raw.find(cut, at)
            begin = raw.rfind(cut, 0, at) + 1
            if begin not in done:
                done.add(begin)
                yield (raw[begin:end] if end >= 0 else raw[begin:]).strip(b"\n")
            at = raw.find(mark, end) if end >= 0 else -1


def _of_line(line: bytes, fields: Mapping[int, Shape], marks: Delimiters) -> Oddities:
    row, found = line.split(marks.field), []
    for number, shape in fields.items():
        raw = row[number][:_MOST] if number < len(row) else b""
        if not raw or raw.isalnum() or not _is_odd(raw, marks):
            continue
        oddity = shape.oddity(raw, marks)
        if oddity:
            found.append((number, oddity))
    return tuple(found)


def _is_odd(raw: bytes, marks: Delimiters) -> bool:
    if marks.component and raw.lstrip().startswith(marks.component):
        return True
    return any(mark and mark in raw for mark in (marks.repetition, marks.subcomponent))

"""A message about several patients as one message each: HL7 repeats PATIENT_RESULT in ORU^R01 (7.3.1).

One patient's results must never be read as another's, so a group is never guessed: what stands before the
first PID belongs to nobody, and a group that names no visit and no account has no stay.
"""

from __future__ import annotations

from collections import Counter

from umbridge.hl7.er7 import Message
from umbridge.hl7.fields import identifiers_of, parts_of, word

REPEATED = ("ORU", "R01")
_NAMED_IN_GROUP = frozenset({b"PID", b"PV1"})
_OF_A_PATIENT = frozenset({b"PV1", b"PV2", b"ORC", b"OBR", b"OBX", b"DG1"})  # means nothing without a PID


def is_several(message: Message) -> bool:
    """Whether its PIDs name more than one person, or one person's several visits.

    One person may be named twice, with other numbers beside: two PID are one person's where they share a
    number with its authority.
    """
    return len(message.lines_of(b"PID")) > 1 and len(_groups(message)) > 1


def apart(message: Message) -> tuple[Message, ...] | None:
    """The message cut into one for each patient and visit, in order; None where it cannot be: it is of a
    type that has one patient, something of a patient stands before the first PID, or a group names neither
    visit nor account."""
    if message.kind != REPEATED:
        return None
    groups = _groups(message)
    if any(not group.visit for group in groups) or _is_led(message):
        return None
    return tuple(message.part(group.lines, group.before) for group in groups)


class _Group:
    """The segments from one PID to the next."""

    __slots__ = ("before", "lines", "persons", "visit")

    def __init__(self, persons: set[tuple[str, str]], before: dict[bytes, int]) -> None:
        self.persons = persons
        self.before = before
        self.lines: list[bytes] = []
        self.visit = ""


def _groups(message: Message) -> list[_Group]:
    mark = message.delimiters.field
    groups: list[_Group] = []
    seen: Counter[bytes] = Counter()
    for line in message.body[1:]:
        name = line[:3]
        if name in _NAMED_IN_GROUP and line[3:4] == mark:
            row = [*line.split(mark), *([b""] * 20)]
            if name == b"PID":
                named = {(one[0], one[1]) for one in identifiers_of(message, row[3], row[2])}
                groups.append(_Group(named, dict(seen)))
                groups[-1].visit = word(message, row[18]) and "account " + word(message, row[18])
            elif groups:
                number = word(message, parts_of(message, row[19])[0]) if row[19] else ""
                groups[-1].visit = number or groups[-1].visit
        if groups:
            groups[-1].lines.append(line)
        seen[name] += 1
    return _joined(groups, by_visit=message.kind == REPEATED)


def _joined(groups: list[_Group], *, by_visit: bool) -> list[_Group]:
    """Neighbours that are one person's (``by_visit``: at one visit) as one group."""
    made: list[_Group] = []
    for group in groups:
        last = made[-1] if made else None
        same = last is not None and (not group.persons or not last.persons or group.persons & last.persons)
        one_visit = last is not None and (not by_visit or group.visit in ("", last.visit) or not last.visit)
        if last is not None and same and one_visit:
            last.lines += group.lines
            last.persons |= group.persons
            last.visit = last.visit or group.visit
        else:
            made.append(group)
    return made


def _is_led(message: Message) -> bool:
    """Whether something of a patient stands before the first PID."""
    for line in message.body[1:]:
        if line[:3] == b"PID":
            return False
        if line[:3] in _OF_A_PATIENT:
            return True
    return False

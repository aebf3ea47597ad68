"""Specimens (SPM): of which OBR each is, when it was collected, and whether the laboratory rejected it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from umbridge.hl7.er7 import Message
from umbridge.hl7.fields import NULL, parts_of
from umbridge.hl7.reading import Reading
from umbridge.hl7.times import days_of

_COLLECTED, _RECEIVED, _REJECTED = 17, 18, 21
_Told = tuple[datetime, datetime]
Rows = list[tuple[int, list[bytes]]]  # the place of each among the SPM, and its fields


def by_report(message: Message) -> dict[int, Rows]:
    """The specimens of each OBR, by its place among the OBR: those behind it, up to the next ORC, OBR or PID.

    In ORU and in orders SPM stands behind its OBR (7.3.1, 4.4.6). Where the first of a patient stands before
    any OBR the sender writes it as OUL has it: it is of all that follow, up to the next SPM.
    """
    if not message.lines_of(b"SPM"):
        return {}
    found: dict[int, Rows] = {}
    mark = message.delimiters.field
    obr, spm = message.before.get(b"OBR", 0), message.before.get(b"SPM", 0)
    is_above: bool | None = None
    run: Rows = []
    is_run_used = is_within = False
    for line in message.body[1:]:
        name = line[:3]
        if line[3:4] not in (mark, b""):
            continue
        if name == b"PID":
            is_above, run, is_within = None, [], False
        elif name == b"ORC":
            is_within = False
        elif name == b"OBR":
            obr += 1
            is_above, is_within, is_run_used = bool(is_above), True, True
            if is_above:
                found[obr] = list(run)
        elif name == b"SPM":
            spm += 1
            row = line.split(mark)
            row += [b""] * (_REJECTED + 1 - len(row))
            if is_above is None:
                is_above = True
            if is_above:
                run = [(spm, row)] if is_run_used else [*run, (spm, row)]
                is_run_used = False
            elif is_within:
                found.setdefault(obr, []).append((spm, row))
    return found


def is_rejected(rows: Rows) -> bool:
    """Whether no specimen is left that was not rejected. A reason deleted is none."""
    return bool(rows) and not _good(rows)


def _good(rows: Rows) -> Rows:
    return [(nth, row) for nth, row in rows if not row[_REJECTED].strip() or row[_REJECTED].strip() == NULL]


def collected(reading: Reading, rows: Rows) -> _Told | None:
    """First and last moment at which the specimens were collected that the results can be of.

    SPM-17 is a range: its beginning, as OBR-7 is; its end where only that is sent. None where any of them
    does not say.
    """
    told = [_time(reading, nth, row, _COLLECTED) for nth, row in _good(rows) or rows]
    known = [each for each in told if each is not None]
    if not known or len(known) < len(told):
        return None
    return min(each[0] for each in known), max(each[1] for each in known)


def received(reading: Reading, rows: Rows) -> datetime | None:
    """When the laboratory had the last of them: they were collected before."""
    told = [_time(reading, nth, row, _RECEIVED) for nth, row in _good(rows) or rows]
    known = [each[1] for each in told if each is not None]
    return max(known) if known and len(known) == len(told) else None


def _time(reading: Reading, nth: int, row: Sequence[bytes], field: int) -> _Told | None:
    parts = parts_of(reading.message, row[field]) if row[field] else []
    for part in parts[:2]:
        at = reading.time(part, "SPM", field, nth) if part else None
        if at is not None:
            its = reading.either.get(part)
            if its is not None:
                return its.earlier, its.later
            return days_of(part, reading.zone) or (at, at)
    return None

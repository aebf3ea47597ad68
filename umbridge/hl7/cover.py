"""What a message says for billing: diagnoses (DG1), procedures (PR1), cover (IN1), certifications (IN3)."""

from __future__ import annotations

from datetime import datetime, time, timedelta

from umbridge.hl7.fields import coded_of, leaf, parts_of
from umbridge.hl7.reading import MOST, Reading
from umbridge.hl7.times import parse_date
from umbridge.model import Certification, Coded, Coverage, Diagnosis, Procedure

_DATE = 8  # bytes of a time stamp that is a date alone
_NONE: tuple[Coded, ...] = ()
_LETTERS = {"P": 1, "S": 2, "T": 3}  # primary, secondary, tertiary


def diagnoses(reading: Reading) -> tuple[Diagnosis, ...]:
    return tuple([_diagnosis(reading, nth, row) for nth, row in enumerate(_rows(reading, b"DG1", 21), 1)])


def procedures(reading: Reading, sent_at: datetime) -> tuple[Procedure, ...]:
    """Those with a time. Of a date without an hour the moment of that day that lies nearest the message."""
    if not reading.message.lines_of(b"PR1"):
        return ()
    found = []
    for nth, row in enumerate(_rows(reading, b"PR1", 20), 1):
        at = reading.time(row[5], "PR1", 5, nth) if row[5] else None
        if at is None:
            continue
        if len(row[5]) <= _DATE:
            last = datetime.combine(at.date(), time.min, at.tzinfo) + timedelta(days=1, seconds=-1)
            at = min(max(at, sent_at), last)
        code, other, _ = reading.words(row[3])
        code = code if code.code else other
        found.append(
            Procedure(
                f"{code.code}^{code.system}",
                at,
                reading.word(row[6]) if row[6] else "",
                any(row[8:11]),
                (reading.word(row[20]) if row[20] else "") == "D",
                f"{reading.message.control_id} PR1[{nth}]",
            )
        )
    return tuple(found)


def coverage(reading: Reading) -> tuple[Coverage, ...]:
    return tuple([_coverage(reading, nth, row) for nth, row in enumerate(_rows(reading, b"IN1", 28), 1)])


def certifications(reading: Reading) -> tuple[Certification, ...]:
    return tuple([_certification(reading, nth, row) for nth, row in enumerate(_rows(reading, b"IN3", 21), 1)])


def _rows(reading: Reading, name: bytes, last: int) -> list[list[bytes]]:
    """As many as a stay can have, each up to field ``last``; what is left out is noted."""
    lines, most = reading.message.lines_of(name), MOST[name]
    if not lines:
        return []
    if len(lines) > most:
        reading.note(f"{name.decode()}[{most + 1}] not_used")
    return reading.rows(name, last, most)


def _diagnosis(reading: Reading, nth: int, dg1: list[bytes]) -> Diagnosis:
    code, other, any_ = reading.words(dg1[3])
    if not any_:
        reading.note(f"DG1[{nth}]-3 missing")
    method, kind, priority, action = dg1[2], dg1[6], dg1[15], dg1[21]
    word = reading.word(action) if action else ""
    return Diagnosis(
        reading.rank(dg1[1], "DG1", nth),
        code.code,
        code.system,
        reading.word(kind) if kind else "",
        word == "D",
        f"{reading.message.control_id} DG1[{nth}]",
        _others(reading, dg1[3], other),
        reading.word(method) if method else "",
        _count(reading.word(priority)) if priority else None,
        word,
    )


def _others(reading: Reading, raw: bytes, second: Coded) -> tuple[Coded, ...]:
    """The second triplet of a code, and the third, which version 2.7 brought."""
    mark = reading.message.delimiters.component
    if not mark or raw.count(mark) < 9:
        return (second,) if second.code else _NONE
    third = coded_of(reading.message, parts_of(reading.message, raw)[9:])
    return tuple(each for each in dict.fromkeys((second, third)) if each.code)


def _coverage(reading: Reading, nth: int, in1: list[bytes]) -> Coverage:
    word = reading.word
    return Coverage(
        reading.rank(in1[1], "IN1", nth),
        word(in1[2]),
        word(in1[15]),
        word(in1[14]),
        word(in1[28]),
        _day(reading, in1[12], nth, 12) if in1[12] else "",
        _day(reading, in1[13], nth, 13) if in1[13] else "",
        _priority(reading, in1[22], nth) if in1[22] else None,
    )


def _day(reading: Reading, raw: bytes, nth: int, field: int) -> str:
    day, note = parse_date(raw if raw.isdigit() else reading.stamp(raw))
    if note:
        reading.note(f"IN1[{nth}]-{field} {note}")
    return day


def _priority(reading: Reading, raw: bytes, nth: int) -> int | None:
    """IN1-22 is text: 1, 2, or the letters that senders write for them."""
    said = reading.word(raw)
    found = _count(said) if said.isdigit() else _LETTERS.get(said.upper())
    if said and found is None:
        reading.note(f"IN1[{nth}]-22 number_unreadable")
    return found


def _count(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 6 else None


def _certification(reading: Reading, nth: int, in3: list[bytes]) -> Certification:
    message, word, time = reading.message, reading.word, reading.time
    said, opposed = in3[11], in3[12]
    parts = parts_of(message, said) if said else []
    days = _count(leaf(message, parts, 2))
    if days is None and leaf(message, parts, 2):
        reading.note(f"IN3[{nth}]-11 number_unreadable")
    return Certification(
        word(in3[2]),
        word(in3[3]),
        word(in3[4]),
        time(in3[6], "IN3", 6, nth),
        time(in3[9], "IN3", 9, nth),
        time(in3[10], "IN3", 10, nth),
        leaf(message, parts, 1),
        days,
        word(opposed) if opposed else "",
        time(in3[13], "IN3", 13, nth),
        word(in3[14]),
        word(in3[17]),
        word(in3[21]),
        f"{message.control_id} IN3[{nth}]",
    )

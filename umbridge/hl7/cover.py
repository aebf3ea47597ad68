"""What a message says for billing: diagnoses (DG1), cover (IN1) and what payers certified (IN3)."""

from __future__ import annotations

from umbridge.hl7.fields import coded_of, leaf, parts_of
from umbridge.hl7.reading import MOST, Reading
from umbridge.hl7.times import parse_date
from umbridge.model import Certification, Coverage, Diagnosis


def diagnoses(reading: Reading) -> tuple[Diagnosis, ...]:
    return tuple([_diagnosis(reading, nth, row) for nth, row in enumerate(_rows(reading, b"DG1", 21), 1)])


def coverage(reading: Reading) -> tuple[Coverage, ...]:
    return tuple([_coverage(reading, nth, row) for nth, row in enumerate(_rows(reading, b"IN1", 28), 1)])


def certifications(reading: Reading) -> tuple[Certification, ...]:
    return tuple([_certification(reading, nth, row) for nth, row in enumerate(_rows(reading, b"IN3", 21), 1)])


def _rows(reading: Reading, name: bytes, last: int) -> list[list[bytes]]:
    """As many as a stay can have, each up to field ``last``; what is left out is noted."""
    if len(reading.message.lines_of(name)) > MOST[name]:
        reading.note(f"{name.decode()}[{MOST[name] + 1}] not_used")
    return reading.rows(name, last, MOST[name])


def _diagnosis(reading: Reading, nth: int, dg1: list[bytes]) -> Diagnosis:
    code, other, any_ = reading.words(dg1[3])
    if not any_:
        reading.note(f"DG1[{nth}]-3 missing")
    parts = parts_of(reading.message, dg1[3])
    third = coded_of(reading.message, parts[9:]) if len(parts) > 9 else other
    action = reading.word(dg1[21])
    return Diagnosis(
        reading.rank(dg1[1], "DG1", nth),
        code.code,
        code.system,
        reading.word(dg1[6]),
        action == "D",
        f"{reading.message.control_id} DG1[{nth}]",
        tuple(each for each in dict.fromkeys((other, third)) if each.code),
        reading.word(dg1[2]),
        _count(reading.word(dg1[15])),
        action,
    )


def _coverage(reading: Reading, nth: int, in1: list[bytes]) -> Coverage:
    word = reading.word
    return Coverage(
        reading.rank(in1[1], "IN1", nth),
        word(in1[2]),
        word(in1[15]),
        word(in1[14]),
        word(in1[28]),
        _day(reading, in1[12], f"IN1[{nth}]-12"),
        _day(reading, in1[13], f"IN1[{nth}]-13"),
        _count(word(in1[22])),
    )


def _day(reading: Reading, raw: bytes, address: str) -> str:
    day, note = parse_date(raw if raw.isdigit() else reading.stamp(raw))
    if note:
        reading.note(f"{address} {note}")
    return day


def _count(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 6 else None


def _certification(reading: Reading, nth: int, in3: list[bytes]) -> Certification:
    word = reading.word
    days = leaf(reading.message, parts_of(reading.message, in3[11]), 2)
    return Certification(
        number=word(in3[2]),
        certified_by=word(in3[3]),
        required=word(in3[4]),
        certified_at=reading.time(in3[6], "IN3", 6, nth),
        begin=reading.time(in3[9], "IN3", 9, nth),
        end=reading.time(in3[10], "IN3", 10, nth),
        days_kind=word(in3[11]),
        days=_count(days),
        non_concurrence=word(in3[12]),
        non_concurrence_at=reading.time(in3[13], "IN3", 13, nth),
        reviewer=word(in3[14]),
        appeal=word(in3[17]),
        case_manager=word(in3[21]),
        source=f"{reading.message.control_id} IN3[{nth}]",
    )

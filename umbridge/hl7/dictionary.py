"""The standard's dictionary: names and types per version, and advice on structure. Backed by hl7apy.

The only module that knows hl7apy, and only its tables: its parser is slow, drops what it cannot place and
is not used here. Tables are loaded when first asked for. Nothing here decides anything: names are for
people, findings are advice.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from umbridge.hl7.er7 import Message
from umbridge.hl7.segment import Segment
from umbridge.hl7.tables import SEGMENT_NAMES

SUPPORTED = ("2.1", "2.2", "2.3", "2.3.1", "2.4", "2.5", "2.5.1", "2.6", "2.7", "2.8", "2.8.1", "2.8.2")
MAX_SEGMENTS = 500  # advice on the first so many; a message with more is a report, and one page is enough
MAX_FINDINGS = 100
_USUAL = "2.5.1"
_NAME = re.compile(r"[A-Z][A-Z0-9]{2}")
# Triggers that share the structure of another event (HL7 table 0354), for senders that leave MSH-9.3 out.
_ADT_STRUCTURES = {
    "A01": ("A04", "A08", "A13"),
    "A05": ("A14", "A28", "A31"),
    "A06": ("A07",),
    "A09": ("A10", "A11", "A12"),
    "A21": ("A22", "A23", "A25", "A26", "A27", "A29", "A32", "A33"),
    "A30": ("A34", "A35", "A36", "A46", "A47", "A48", "A49"),
    "A39": ("A40", "A41", "A42"),
    "A43": ("A44",),
    "A50": ("A51",),
    "A52": ("A53",),
    "A54": ("A55",),
    "A61": ("A62",),
}
_STRUCTURES = {event: first for first, others in _ADT_STRUCTURES.items() for event in others}


@dataclass(frozen=True, slots=True)
class _Field:
    name: str
    datatype: str
    required: bool
    repeats: bool


def nearest(version: str) -> str:
    """The supported version to read ``version`` by: the newest not after it, else the oldest."""
    wanted = _numbers(version)
    if not wanted:
        return _USUAL
    return max((one for one in SUPPORTED if _numbers(one) <= wanted), key=_numbers, default=SUPPORTED[0])


def segment_name(version: str, segment: str) -> str:
    """What the standard calls a segment, "" for one that is local or not in that version."""
    if segment not in _table(nearest(version), "segments", "SEGMENTS"):
        return ""
    return SEGMENT_NAMES.get(segment, segment)


def field_name(version: str, segment: str, number: int) -> tuple[str, str]:
    """A field's name and data type, ("", "") for one that is local or not in that version."""
    fields = _fields(nearest(version), segment)
    if 0 < number <= len(fields):
        return fields[number - 1].name, fields[number - 1].datatype
    return "", ""


def findings(message: Message) -> list[str]:
    """What differs from the standard's structure, as ``address code``; no content. Raises nothing."""
    found: list[str] = []
    for finding in _findings(message):
        if len(found) == MAX_FINDINGS:
            found.append("more_findings")
            break
        found.append(finding)
    return found


def _findings(message: Message) -> Iterator[str]:
    version = nearest(message.get("MSH-12").strip())
    known = _table(version, "segments", "SEGMENTS")
    structure = _structure(message, version)
    expected, required = _contents(version, structure) if structure else (frozenset[str](), ())
    if not structure:
        yield "MSH-9 structure_unknown"
    present = set()
    for at, segment in enumerate(message.walk()):
        if at == MAX_SEGMENTS:
            yield "more_segments"
            return
        name = segment.name
        present.add(name)
        if not _NAME.fullmatch(name):
            yield f"segment[{at + 1}] name_unreadable"
        elif name not in known:
            yield f"{name}[{segment.nth}] " + ("segment_local" if name[0] == "Z" else "segment_unknown")
        else:
            if structure and name not in expected:
                yield f"{name}[{segment.nth}] segment_unexpected"
            yield from _field_findings(segment, _fields(version, name))
    for name in required:
        if name not in present:
            yield f"{name} segment_missing"


def _field_findings(segment: Segment, fields: tuple[_Field, ...]) -> Iterator[str]:
    where = f"{segment.name}[{segment.nth}]"
    for number, expected in enumerate(fields, start=1):
        raw = segment.field(number)
        if expected.required and not raw:
            yield f"{where}-{number} field_missing"
        elif (
            raw
            and not expected.repeats
            and expected.datatype != "ST"
            and len(segment.repetitions(number)) > 1
        ):
            yield f"{where}-{number} field_repeated"
    if any(segment.fields[len(fields) + 1 :]):
        yield f"{where}-{len(fields) + 1} field_unknown"


def _structure(message: Message, version: str) -> str:
    messages = _table(version, "messages", "MESSAGES")
    code, trigger = message.kind
    shared = f"{code}_{_STRUCTURES.get(trigger, '')}"
    candidates = (message.get("MSH-9.3").strip(), f"{code}_{trigger}", shared, code)
    return next((one for one in candidates if one in messages), "")


# --- hl7apy's tables: nested tuples (kind, children), a child being (name, reference, (min, max), class)


@lru_cache(maxsize=64)
def _table(version: str, module: str, name: str) -> dict[str, Any]:
    package = "hl7apy.v" + version.replace(".", "_")
    found: dict[str, Any] = getattr(importlib.import_module(f"{package}.{module}"), name)
    return found


@lru_cache(maxsize=1024)
def _fields(version: str, segment: str) -> tuple[_Field, ...]:
    reference = _table(version, "segments", "SEGMENTS").get(segment)
    if reference is None or reference[0] != "sequence":
        return ()
    fields = []
    for _, (_, _, datatype, name, *_), (least, most), _ in reference[1]:
        words = str(name or "").replace("_", " ").capitalize()
        fields.append(_Field(words, str(datatype or ""), least > 0, most != 1))
    return tuple(fields)


@lru_cache(maxsize=256)
def _contents(version: str, structure: str) -> tuple[frozenset[str], tuple[str, ...]]:
    """Every segment that may stand in a structure, and those that must."""
    possible: set[str] = set()
    required: list[str] = []

    def visit(reference: Any, must: bool) -> None:
        for name, inner, (least, _), kind in reference[1]:
            needed = must and least > 0 and reference[0] == "sequence"
            if kind == "GRP":
                visit(inner, needed)
            else:
                possible.add(name)
                if needed and name not in required:
                    required.append(name)

    visit(_table(version, "messages", "MESSAGES")[structure], True)
    return frozenset(possible), tuple(required)


@lru_cache(maxsize=256)
def _numbers(version: str) -> tuple[int, ...]:
    match = re.match(r"(\d{1,3})(?:\.(\d{1,3}))?(?:\.(\d{1,3}))?", version)
    return tuple(int(part) for part in match.groups() if part) if match else ()

"""What single fields mean: leaves without padding and HL7's null, identifiers, codes, observed values."""

from __future__ import annotations

import re
from collections.abc import Sequence

from umbridge.hl7.er7 import Message
from umbridge.model import Coded

NULL = b'""'
MOST_IDENTIFIERS = 100  # of one patient: nobody has more, and reading half a million costs a second
CODED = ("CWE", "CE", "CNE", "CF", "ID", "IS", "")  # types of OBX-2 whose OBX-5 may be a code
_COMPARATORS = ("", "<", "<=", ">", ">=", "=")  # SN-1
_SEPARATORS = ("-", "+", "/", ":")  # SN-3; "." would make two numbers one
_MOST_CODED = 1000  # bytes: nobody's code is longer
_PARTS_OF_HD = 3
_UNIVERSAL = (
    b"DNS",
    b"GUID",
    b"HCD",
    b"HL7",
    b"ISO",
    b"L",
    b"M",
    b"N",
    b"RANDOM",
    b"URI",
    b"UUID",
    b"x400",
    b"x500",
)
_PLAIN_ENTITY = re.compile(rb"[A-Za-z0-9._-]+\^[A-Za-z0-9._-]+")  # a number and its namespace
_MOST_PARTS = 10  # components that anybody here asks for; a flood of them stays in one piece behind these

Identifiers = tuple[tuple[str, str, str], ...]


def parts_of(message: Message, raw: bytes) -> list[bytes]:
    """The components of a field's first repetition, as sent."""
    marks = message.delimiters
    mark = marks.repetition
    if mark and mark in raw:
        raw = raw[: raw.index(mark)]
    return raw.split(marks.component, _MOST_PARTS) if marks.component else [raw]


def repetitions_of(message: Message, raw: bytes, most: int = MOST_IDENTIFIERS) -> list[bytes]:
    """A field's first ``most`` repetitions, as sent; none for an empty field."""
    mark = message.delimiters.repetition
    if not mark or mark not in raw:
        return [raw] if raw else []
    return raw.split(mark, most)[:most]


def leaf(message: Message, parts: Sequence[bytes], number: int) -> str:
    """One component as text, without padding; HL7's null is nothing here.

    Whole: senders escape no ampersand, and no number, unit or plan is another with something behind it.
    """
    if len(parts) < number:
        return ""
    raw = parts[number - 1]
    if raw.isalnum():
        return raw.decode()
    if not raw or raw == NULL:
        return ""
    mark = message.delimiters.subcomponent
    if mark and mark in raw:
        raw = raw.strip().rstrip(mark)
    return message.value(raw).strip()


def outset(message: Message, parts: Sequence[bytes], number: int) -> str:
    """The first subcomponent of a component that has several by its type."""
    mark = message.delimiters.subcomponent
    if mark and len(parts) >= number and mark in parts[number - 1]:
        return leaf(message, (parts[number - 1].split(mark, 1)[0],), 1)
    return leaf(message, parts, number)


def located(message: Message, raw: bytes) -> str:
    """A part of PL: text, and from version 2.7 an HD, with a universal id and its type behind the name."""
    mark = message.delimiters.subcomponent
    if mark and raw.count(mark) == _PARTS_OF_HD - 1:
        name, universal, kind = raw.split(mark)
        if universal and kind.strip() in _UNIVERSAL:
            return leaf(message, (name if name.strip() else universal,), 1)
    return leaf(message, (raw,), 1)


def whole(message: Message, parts: Sequence[bytes], number: int) -> str:
    """One component with its subcomponents, which are none in text, such as ``&lt;`` of an XML engine.

    Cut at its ampersand such a comparator would be none, and what it bounds would be exact.
    """
    if len(parts) < number:
        return ""
    raw, mark = parts[number - 1].strip(), message.delimiters.subcomponent
    return message.value(raw.rstrip(mark) or raw if mark else raw).strip()


def word(message: Message, raw: bytes) -> str:
    """A field's component 1 of the first repetition; HL7's null counts as nothing sent."""
    if raw.isalnum():
        return raw.decode()
    return leaf(message, parts_of(message, raw), 1) if raw else ""


def cleared(value: str) -> str:
    """Nothing for HL7's null."""
    return "" if value == '""' else value


def authority_of(message: Message, parts: Sequence[bytes]) -> str:
    """CX.4: the authority's namespace, else its universal id."""
    if len(parts) < 4 or not parts[3]:
        return ""
    if parts[3].isalnum():
        return parts[3].decode()
    found = outset(message, parts, 4)
    if found:
        return found
    mark = message.delimiters.subcomponent
    rest = parts[3].split(mark, 2) if mark else []
    return message.value(rest[1]).strip() if len(rest) > 1 else ""


def entity_of(message: Message, raw: bytes) -> str:
    """EI as "identifier^namespace^universal id", as far as they were sent.

    A number is unique only within the application that gave it (4.5.1.2), which the universal id identifies
    everywhere and the namespace in one place (2.A.28, 2.A.33).
    """
    if not raw or raw.isalnum():
        return raw.decode()
    if _PLAIN_ENTITY.fullmatch(raw) and message.delimiters.component == b"^":
        return raw.decode()  # as nearly all are
    return _entity(message, parts_of(message, raw))


def authority_spellings(message: Message, field: bytes) -> list[tuple[str, str]]:
    """Of each repetition of a CX: the namespace and the universal id, where CX.4 has both."""
    mark = message.delimiters.subcomponent
    found = []
    for one in repetitions_of(message, field):
        parts = parts_of(message, one)
        said = parts[3].split(mark, 2) if mark and len(parts) > 3 else []
        if len(said) > 1 and said[0] and said[1]:
            found.append((message.value(said[0]).strip(), message.value(said[1]).strip()))
    return found


def _entity(message: Message, parts: Sequence[bytes]) -> str:
    said = (leaf(message, parts, 1), leaf(message, parts, 2), leaf(message, parts, 3).lower())
    return "^".join(said).rstrip("^") if said[0] else ""


def entity_from(first: str, second: str) -> str:
    """One number of two segments, either of which may have left out part of it (4.5.1.2, 4.5.1.3).

    The first where they are two numbers all the same.
    """
    if not first or not second or first == second:
        return first or second
    mine, theirs = [*first.split("^"), "", ""][:3], [*second.split("^"), "", ""][:3]
    if any(one and other and one != other for one, other in zip(mine, theirs, strict=True)):
        return first
    return "^".join(one or other for one, other in zip(mine, theirs, strict=True)).rstrip("^")


def identifiers_of(message: Message, *fields: bytes) -> Identifiers:
    """(id, assigning authority, type) of each repetition of the first of ``fields`` that names anybody."""
    found = []
    mark = message.delimiters.component
    for field in fields:
        for one in repetitions_of(message, field):
            parts = one.split(mark, _MOST_PARTS) if mark else [one]
            number = leaf(message, parts, 1)
            if number:
                kind = leaf(message, parts, 5) if len(parts) > 4 else ""
                found.append((number, authority_of(message, parts), kind))
        if found:
            break
    return tuple(found)


def coded_of(message: Message, parts: Sequence[bytes]) -> Coded:
    """Identifier and system whole: ``71020&IMP`` was another observation than ``71020`` (suffixes of OBX-3
    up to version 2.3), and no code of this hospital's is another with something behind it."""
    return Coded(_identifier(message, parts, 1), leaf(message, parts, 2), _identifier(message, parts, 3))


def _identifier(message: Message, parts: Sequence[bytes], number: int) -> str:
    if len(parts) < number or not parts[number - 1]:
        return ""
    raw, mark = parts[number - 1], message.delimiters.subcomponent
    if raw.isalnum():
        return raw.decode()
    if not mark or mark not in raw:
        return leaf(message, parts, number)
    return whole(message, parts, number) if raw.strip(mark + b" ") else ""


def further_of(message: Message, raw: bytes) -> list[str]:
    """What an answer says that has nothing in its first two triplets.

    Its original text (CWE.9), else the code or text of its third triplet (CWE.10, .11, from version 2.7).
    """
    parts = parts_of(message, raw)
    if len(parts) > _MOST_PARTS:
        parts = [*parts[:_MOST_PARTS], *parts[_MOST_PARTS].split(message.delimiters.component)]
    return [text for text in (leaf(message, parts, number) for number in (9, 10, 11)) if text][:1]


def is_coded(raw: bytes, value_type: str) -> bool:
    """Whether an OBX-5 is to be read as codes."""
    return value_type in CODED and len(raw) <= _MOST_CODED


def observed_value(message: Message, raw: bytes, value_type: str) -> str:
    """OBX-5.1 whole, with two exceptions that lose meaning if cut: numbers and text, and SN's components."""
    parts = parts_of(message, raw)
    if parts == [NULL]:
        return ""
    if value_type in ("NM", "ST", "TX", "FT"):  # senders do not escape ^ and & in text: "10^3" is not 10
        marks = message.delimiters
        raw = raw[: raw.index(marks.repetition)] if marks.repetition and marks.repetition in raw else raw
        return message.value(raw.strip().rstrip(marks.component) if marks.component else raw).strip()
    if value_type == "SN":
        if any(parts[4:]):  # SN has four
            return "^".join(whole(message, parts, number) for number in range(1, len(parts) + 1))
        return _structured(*(whole(message, parts, number) for number in range(1, 5)))
    found = (whole(message, parts, number) for number in range(1, len(parts) + 1))
    return next((each for each in found if each), "")  # a CWE without a code, too long for one, has its text


def entity_within(message: Message, raw: bytes) -> str:
    """The same of an EI that is one component of a field, as in EIP: its parts are subcomponents."""
    mark = message.delimiters.subcomponent
    return _entity(message, raw.split(mark, 3) if mark else [raw])


def _structured(comparator: str, first: str, separator: str, second: str) -> str:
    """SN as one text: "<6", "1:8". What its tables do not have stays in components, and so is no number."""
    is_pair = bool(first and second and separator in _SEPARATORS) or (separator == "+" and not second)
    if comparator not in _COMPARATORS or (not is_pair and (separator or second)):
        return "^".join((comparator, first, separator, second))
    return f"{comparator}{first}{separator}{second}"

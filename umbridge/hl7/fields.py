"""What single fields mean: leaves without padding and HL7's null, identifiers, codes, observed values."""

from __future__ import annotations

from collections.abc import Sequence

from umbridge.hl7.er7 import Message, Segment
from umbridge.model import Coded

NULL = b'""'
MOST_IDENTIFIERS = 100  # of one patient: nobody has more, and reading half a million costs a second


def leaf(message: Message, parts: Sequence[bytes], number: int) -> str:
    """One component's first subcomponent as text, without padding; HL7's null is nothing here."""
    if len(parts) < number:
        return ""
    raw = parts[number - 1]
    if raw.isalnum():
        return raw.decode()
    if not raw or raw == NULL:
        return ""
    mark = message.delimiters.subcomponent
    if mark and mark in raw:
        raw = raw[: raw.index(mark)]
    return message.value(raw).strip()


def cleared(value: str) -> str:
    """Nothing for HL7's null."""
    return "" if value == '""' else value


def authority_of(message: Message, parts: Sequence[bytes]) -> str:
    """CX.4: the authority's namespace, else its universal id."""
    if len(parts) < 4 or not parts[3]:
        return ""
    found = leaf(message, parts, 4)
    if found:
        return found
    mark = message.delimiters.subcomponent
    rest = parts[3].split(mark) if mark else []
    return message.value(rest[1]).strip() if len(rest) > 1 else ""


def identifiers_of(
    message: Message, segment: Segment, fields: tuple[int, ...] = (3, 2)
) -> tuple[tuple[str, str, str], ...]:
    """(id, assigning authority, type) of each repetition of the first of ``fields`` that names anybody."""
    found = []
    for field in fields:
        for nth in range(1, min(len(segment.repetitions(field)), MOST_IDENTIFIERS) + 1):
            parts = segment.components(field, nth)
            number = leaf(message, parts, 1)
            if number:
                found.append((number, authority_of(message, parts), leaf(message, parts, 5)))
        if found:
            break
    return tuple(found)


def coded_of(message: Message, parts: Sequence[bytes]) -> Coded:
    return Coded(leaf(message, parts, 1), leaf(message, parts, 2), leaf(message, parts, 3))


def observed_value(message: Message, obx: Segment, value_type: str) -> str:
    """OBX-5.1, with two exceptions that lose meaning if cut: text, and SN's number after its comparator."""
    parts = obx.components(5)
    if not parts or parts == [NULL]:
        return ""
    if value_type in ("ST", "TX", "FT"):
        return message.value(parts[0]).strip()  # senders do not escape & in text
    if value_type == "SN":
        return "".join(leaf(message, parts, number) for number in range(1, 5))
    return leaf(message, parts, 1)

"""The numbers by which a message speaks of orders and reports."""

from __future__ import annotations

from collections.abc import Sequence

from umbridge.hl7.er7 import Message
from umbridge.hl7.fields import entity_from, entity_of

PLACER, FILLER, GROUP = b"P", b"F", b"G"
MOST = 256  # of one message: each is a row for ever, and a report of so many orders is no patient's


def order_numbers(message: Message) -> tuple[str, ...]:
    """ORC-2 and OBR-2, ORC-3 and OBR-3, ORC-4 (HL7 v2 4.5.1.2 to .4), each with its kind before it.

    None of ADT: an event is of a visit, whatever orders are told with it.
    """
    orders, details = message.lines_of(b"ORC"), message.lines_of(b"OBR")
    if not (orders or details) or message.kind[0] == "ADT":
        return ()
    mark = message.delimiters.field
    sent: dict[bytes, None] = {}  # mostly ORC and OBR have the same
    for line in (*orders, *details):
        fields = line.split(mark, 5)
        if len(fields) > 2 and fields[2]:
            sent[PLACER + fields[2]] = None
        if len(fields) > 3 and fields[3]:
            sent[FILLER + fields[3]] = None
        if len(fields) > 4 and fields[4] and line[:3] == b"ORC":
            sent[GROUP + fields[4]] = None
    found = [raw[:1].decode() + number for raw in sent if (number := entity_of(message, raw[1:]))]
    return tuple(found) if len(found) < 2 else spelt_once(found)[:MOST]


def spelt_once(numbers: Sequence[str]) -> tuple[str, ...]:
    """What one spelling of a number leaves out another may have: ORC and OBR are of one order."""
    found: dict[str, list[str]] = {}
    for number in numbers:
        found.setdefault(number.partition("^")[0], []).append(number)
    if len(found) == len(numbers):
        return tuple(numbers)
    return tuple(each for its in found.values() for each in _whole(its))


def _whole(spelt: list[str]) -> list[str]:
    found = spelt[:1]
    for number in spelt[1:]:
        for nth, each in enumerate(found):
            whole = entity_from(each, number)
            if whole == entity_from(number, each):
                found[nth] = whole
                break
        else:
            found.append(number)
    return found

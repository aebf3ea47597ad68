"""Who cares for the patient: the repetitions of an XCN field, each by its number and authority."""

from __future__ import annotations

from umbridge.hl7.er7 import Message
from umbridge.hl7.fields import NULL, authority_of, leaf, parts_of, repetitions_of
from umbridge.values.carers import ADMITTING, ATTENDING, CONSULTING, REFERRING, Practitioner

#: Where PV1 names them.
PLACES = ((ATTENDING, 7), (REFERRING, 8), (CONSULTING, 9), (ADMITTING, 17))
MOST = 16  # of one field
_BEFORE_AUTHORITY = 5  # XCN.9 is what CX.4 is: the ninth component here, the fourth there


#: Fields already read, of plain ASCII messages: few practitioners are in many messages.
_known: dict[tuple[bytes, str, bytes], tuple[Practitioner, ...]] = {}
_CACHED, _SHORT = 4096, 400


def practitioners_of(message: Message, role: str, raw: bytes) -> tuple[Practitioner, ...]:
    """Each once, in the order sent; HL7's null is one without a number. Names alone name nobody here."""
    if message.codec != "ascii" or not message.is_ascii or len(raw) > _SHORT:
        return _read(message, role, raw)
    key = (message.delimiters.inner, role, raw)
    found = _known.get(key)
    if found is None:
        if len(_known) >= _CACHED:
            _known.clear()
        found = _known[key] = _read(message, role, raw)
    return found


def _read(message: Message, role: str, raw: bytes) -> tuple[Practitioner, ...]:
    if raw == NULL:
        return (Practitioner(role, "", ""),)
    found: dict[Practitioner, None] = {}
    for one in repetitions_of(message, raw, MOST):
        parts = parts_of(message, one)
        number = leaf(message, parts, 1)
        if number:
            found[Practitioner(role, number, authority_of(message, parts[_BEFORE_AUTHORITY:]))] = None
    return tuple(found)


def of_visit(message: Message, pv1: list[bytes]) -> tuple[Practitioner, ...]:
    """What PV1 says of all four; of a field that is empty, nothing."""
    found: tuple[Practitioner, ...] = ()
    for role, place in PLACES:
        if pv1[place]:
            found += practitioners_of(message, role, pv1[place])
    return found

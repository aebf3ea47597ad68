"""Addresses: ``PID-3[2].4.1`` for segment, field, repetition, component, subcomponent, counted from one."""

from __future__ import annotations

import re

_ADDRESS = re.compile(
    r"(?:([A-Z][A-Z0-9]{2})(?:\[([1-9]\d{0,6})\])?-)?"
    r"([1-9]\d{0,4})(?:\[([1-9]\d{0,6})\])?(?:\.([1-9]\d{0,6})(?:\.([1-9]\d{0,6}))?)?"
)
_CACHED = 4096  # bound of the cache below, whose keys are few

Address = tuple[str, int, int, int, int, int]
_addresses: dict[str, Address] = {}


def address_of(text: str) -> Address:
    """Segment ("" where none is named), which of that name, field, repetition, component, subcomponent.

    Raises: ValueError for what is not an address.
    """
    found = _addresses.get(text)
    if found is None:
        match = _ADDRESS.fullmatch(text)
        if match is None:
            raise ValueError("not an HL7 address; expected the form PID-3[2].4.1")
        name, *numbers = match.groups()
        nth, at, rep, component, subcomponent = (int(n) if n else 1 for n in numbers)
        found = (name or "", nth, at, rep, component, subcomponent)
        if len(_addresses) < _CACHED:
            _addresses[text] = found
    return found

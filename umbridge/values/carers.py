"""Who cares for a patient: a practitioner's number, and the role in which a message names it."""

from __future__ import annotations

from typing import NamedTuple

ATTENDING, REFERRING, CONSULTING, ADMITTING = "attending", "referring", "consulting", "admitting"
ORDERING = "ordering"


class Practitioner(NamedTuple):
    """One repetition of an XCN: a number, unique only within the authority that gave it. No name is taken."""

    role: str  # one of the above
    number: str  # XCN.1; "" where the field was sent as HL7's delete
    authority: str  # XCN.9

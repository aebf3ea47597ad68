"""What only several stays of one patient show: that two of them are open inpatient stays.

A lane's fold knows no other lane, so this is found where stays are looked at, as they are then.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from umbridge.model import Lifecycle, Status
from umbridge.stay.view import Stay

TWO_OPEN_STAYS = "TWO_OPEN_STAYS"


def is_open_inpatient(stay: Stay) -> bool:
    """Whether the patient lies in the house by this stay, or is on leave from it."""
    return stay.status is Status.INPATIENT and stay.lifecycle in (Lifecycle.ACTIVE, Lifecycle.ON_LEAVE)


def beside(stay: Stay, others: Iterable[Stay]) -> Stay:
    """The stay, with the exception where another of its patient's stays is an open inpatient stay too.

    A patient without a number is nobody's other self. Asks for no ``others`` unless they matter.
    """
    if not stay.mrn or not is_open_inpatient(stay):
        return stay
    if not any(other.mrn == stay.mrn and is_open_inpatient(other) for other in others):
        return stay
    return replace(stay, exceptions=tuple(sorted({*stay.exceptions, TWO_OPEN_STAYS})))


def side_by_side(stays: Sequence[Stay]) -> list[Stay]:
    """All of them, each held against the others."""
    return [beside(stay, (other for other in stays if other is not stay)) for stay in stays]

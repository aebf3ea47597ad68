"""What several stays of one patient show: two open at once, a return on one day, a correction misfiled.

A lane's fold knows no other lane, so this is found where stays are looked at, as they are then.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from umbridge.stay.clock import instant, local_date
from umbridge.stay.elsewhere import Reported
from umbridge.stay.ended_elsewhere import is_ended_in
from umbridge.stay.record import ORDER
from umbridge.stay.stay import Stay
from umbridge.values.kinds import Lifecycle, Status

TWO_OPEN_STAYS = "TWO_OPEN_STAYS"
SAME_DAY_READMISSION = "SAME_DAY_READMISSION"
CORRECTION_ELSEWHERE = "CORRECTION_ELSEWHERE"
ORDER_ENDED_ELSEWHERE = "ORDER_ENDED_ELSEWHERE"
#: What counts here was corrected or ended under another visit of the patient.
ELSEWHERE = (CORRECTION_ELSEWHERE, ORDER_ENDED_ELSEWHERE)


def is_open_inpatient(stay: Stay) -> bool:
    """Whether the patient lies in the house by this stay, or is on leave from it."""
    return stay.status is Status.INPATIENT and stay.lifecycle in (Lifecycle.ACTIVE, Lifecycle.ON_LEAVE)


def is_readmission(stay: Stay, other: Stay) -> bool:
    """Whether it began inpatient on the date of the other's discharge, from inpatient care of one hospital.

    For related symptoms Medicare has both on one claim (Medicare Claims Processing Manual ch. 3 s. 40.2.5):
    a person looks. Nothing of the one stay is taken over into the other.
    """
    left, zone = other.discharged_at, stay.site.zone
    if other.site is not stay.site or left is None or other.lifecycle is not Lifecycle.DISCHARGED:
        return False
    if other.status is not Status.INPATIENT:
        return False
    return any(
        span.status is Status.INPATIENT
        and instant(left) <= instant(span.start)
        and local_date(instant(left), zone) == local_date(instant(span.start), zone)
        for span in stay.spans
    )


def meant_elsewhere(stay: Stay, other: Reported) -> Stay:
    """The stay, with the exceptions for what was corrected or ended under another visit and goes on here."""
    if not stay.mrn or stay.lifecycle is Lifecycle.CANCELLED:
        return stay
    found = set(stay.exceptions)
    if stay.reported.is_corrected_in(other):
        found.add(CORRECTION_ELSEWHERE)
    is_here = stay.lifecycle is not Lifecycle.DISCHARGED  # of who has left orders are closed anyhow
    has_orders = bool(stay.reported.orders.facts) or any(span.evidence == ORDER for span in stay.spans)
    if is_here and has_orders and is_ended_in(stay.reported, other, instant(stay.as_of)):
        found.add(ORDER_ENDED_ELSEWHERE)
    return stay if len(found) == len(stay.exceptions) else replace(stay, exceptions=tuple(sorted(found)))


def beside(stay: Stay, others: Iterable[Stay]) -> Stay:
    """The stay, with the exceptions that its patient's other stays give it.

    A patient without a number is nobody's other self. Asks for no ``others`` unless they matter.
    """
    is_inpatient = stay.inpatient_start is not None
    has_orders = bool(stay.reported.orders.facts) or any(span.evidence == ORDER for span in stay.spans)
    may_matter = is_inpatient or has_orders or bool(stay.reported.results)
    if not stay.mrn or stay.lifecycle is Lifecycle.CANCELLED or not may_matter:
        return stay
    found, is_open = set(stay.exceptions), is_open_inpatient(stay)
    for other in others:
        if other.mrn != stay.mrn:
            continue
        if is_open and is_open_inpatient(other):
            found.add(TWO_OPEN_STAYS)
        if is_inpatient and is_readmission(stay, other):
            found.add(SAME_DAY_READMISSION)
        found.update(meant_elsewhere(stay, other.reported).exceptions)
    return stay if len(found) == len(stay.exceptions) else replace(stay, exceptions=tuple(sorted(found)))


def side_by_side(stays: Sequence[Stay]) -> list[Stay]:
    """All of them, each held against the others."""
    of_patient: dict[str, list[Stay]] = {}
    for stay in stays:
        of_patient.setdefault(stay.mrn, []).append(stay)
    return [beside(stay, (other for other in of_patient[stay.mrn] if other is not stay)) for stay in stays]

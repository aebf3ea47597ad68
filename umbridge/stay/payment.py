"""Facts a payment rule asks for, made from the stay: midnights of care, its end, payer and admission."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from decimal import Decimal
from typing import Protocol
from zoneinfo import ZoneInfo

from umbridge.model import FactValue, Reading, Sample
from umbridge.stay.clock import instant, midnights, moment
from umbridge.stay.view import Stay

#: Ends that shorten a stay without undoing the expectation: death and transfer are the examples of 42 CFR
#: 412.3(d)(1)(ii); leaving against advice and the choice of hospice are CMS's (Reviewing Short Stay Hospital
#: Claims for Patient Status, 2015).
UNFORESEEN = ("DIED", "TRANSFER_ACUTE", "AGAINST_ADVICE", "HOSPICE")


class Look(Protocol):
    """One look at a stay's facts at one moment, as ``window`` takes it. ``now`` is an instant."""

    stay: Stay
    now: int
    zone: ZoneInfo

    def reading(self, fact: str) -> Reading | None: ...


def _single(look: Look, fact: str, value: FactValue, source: str, unit: str = "") -> Reading:
    sample = Sample(value, moment(look.now, look.zone), source, unit)
    return Reading(fact, sample, sample, sample, (sample,))


def _left(look: Look) -> datetime | None:
    left = look.stay.discharged_at
    return left if left is not None and instant(left) <= look.now else None


def _expected(look: Look) -> tuple[datetime, str] | None:
    expected = look.reading("expected_discharge")
    if expected is None:
        return None
    return datetime.fromisoformat(str(expected.latest.value)), expected.latest.source


def _care_start(look: Look) -> tuple[datetime, str] | None:
    start = look.reading("care_start")
    if start is None:
        return None
    return datetime.fromisoformat(str(start.latest.value)), start.latest.source


def _order(look: Look) -> tuple[datetime, str] | None:
    for span in reversed(look.stay.spans):
        if span.status == "INPATIENT" and span.evidence == "ORDER":
            return span.start, span.source
    return None


def _count(
    look: Look, fact: str, start: tuple[datetime, str] | None, end: tuple[datetime, str] | None, away: int = 0
) -> Reading | None:
    """Midnights by the local date, never by hours, less those spent away."""
    if start is None or end is None:
        return None
    nights = midnights(instant(start[0]), instant(end[0]), look.zone) - away
    return _single(look, fact, Decimal(max(0, nights)), f"{start[1]}, {end[1]}", "{count}")


def _end(look: Look) -> tuple[datetime, str] | None:
    """The discharge, or the expected one while the patient is here."""
    left = _left(look)
    return _expected(look) if left is None else (left, "PV1-45")


def midnights_from_care(look: Look) -> Reading | None:
    return _count(look, "midnights_from_care", _care_start(look), _end(look))


def midnights_from_order(look: Look) -> Reading | None:
    return _count(look, "midnights_from_order", _order(look), _end(look))


def midnights_expected(look: Look) -> Reading | None:
    """From the start of care to the expected discharge, whatever came of it."""
    return _count(look, "midnights_expected", _care_start(look), _expected(look))


def midnights_so_far(look: Look) -> Reading | None:
    """Of hospital care received, to now or to the discharge. Leave is not hospital care."""
    left = _left(look)
    end = (moment(look.now, look.zone), "now") if left is None else (left, "PV1-45")
    last = instant(end[0])
    away = sum(
        midnights(instant(out), last if back is None else min(last, instant(back)), look.zone)
        for out, back in look.stay.leaves
        if instant(out) < last
    )
    return _count(look, "midnights_so_far", _care_start(look), end, away)


def unforeseen_departure(look: Look) -> Reading | None:
    """Whether death, transfer, leaving against advice or hospice ended the stay (PV1-36 by the profile).

    N while the patient is here; unknown where the discharge has no disposition that the profile knows.
    """
    if _left(look) is None:
        return _single(look, "unforeseen_departure", False, "PV1-45 none")
    if look.stay.disposition is None:
        return None
    return _single(look, "unforeseen_departure", look.stay.disposition in UNFORESEEN, "PV1-36")


def payer_class(look: Look) -> Reading | None:
    known = look.stay.payer_class
    return None if known == "UNKNOWN" else _single(look, "payer_class", known, "IN1")


def admission_start(look: Look) -> Reading | None:
    """When the status under review began: inpatient, else observation. Editions of content go by its date."""
    start = look.stay.inpatient_start or look.stay.observation_start
    if start is None or instant(start) > look.now:
        return None
    return _single(look, "admission_start", start.isoformat(), "status")


PAYMENT_FACTS: Mapping[str, Callable[[Look], Reading | None]] = {
    "midnights_from_care": midnights_from_care,
    "midnights_from_order": midnights_from_order,
    "midnights_expected": midnights_expected,
    "midnights_so_far": midnights_so_far,
    "unforeseen_departure": unforeseen_departure,
    "payer_class": payer_class,
    "admission_start": admission_start,
}

"""Facts a payment rule asks for, made from the stay: midnights of care, its end, payer and admission.

And what silence says of two that only people send: a stay without any procedure has none that Medicare pays
for inpatients only, and who was asked for the documented expectation had the place to document an exception.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Set
from dataclasses import replace
from datetime import datetime
from decimal import Decimal
from typing import Protocol
from zoneinfo import ZoneInfo

from umbridge.model import FactValue, Reading, Sample
from umbridge.stay.care_start import first_care
from umbridge.stay.clock import instant, midnights, moment
from umbridge.stay.dictionary import FactType, dictionary
from umbridge.stay.fold import StayFold
from umbridge.stay.orders.treatment_spans import InForce
from umbridge.stay.readings.cut import Cut
from umbridge.stay.readings.derived import single
from umbridge.stay.results.statements import Result
from umbridge.stay.stay import Stay

PROCEDURE, PLANNED, EXPECTATION = "procedure_24h", "operative_plan", "expectation_documented"

#: Ends that shorten a stay without undoing the expectation: death and transfer are the examples of 42 CFR
#: 412.3(d)(1)(ii); leaving against advice and the choice of hospice are CMS's (Reviewing Short Stay Hospital
#: Claims for Patient Status, 2015).
UNFORESEEN = ("DIED", "TRANSFER_ACUTE", "AGAINST_ADVICE", "HOSPICE")


class Look(Protocol):
    """One look at a stay's facts at one moment, as ``window`` takes it. ``now`` is an instant."""

    fold: StayFold
    stay: Stay
    contact: int | None
    now: int
    zone: ZoneInfo
    cut: Cut

    @property
    def present(self) -> Look: ...

    @property
    def told_by(self) -> int: ...

    @property
    def ordered(self) -> Set[str]: ...

    def clock(self, at: int) -> datetime: ...

    def first_on(self, fact: str, first: int, last: int) -> list[Result]: ...

    def reading(self, fact: str) -> Reading | None: ...

    def sent(self, kind: FactType) -> Reading | None: ...

    def of_stay(self, kind: FactType) -> list[Result]: ...

    def of_results(self, kind: FactType, results: list[Result]) -> Reading | None: ...

    def turns(self, fact: str) -> InForce | None: ...

    def expected(self) -> tuple[int, int, str] | None: ...

    def is_own(self, patient: str) -> bool: ...


def _single(look: Look, fact: str, value: FactValue, source: str, unit: str = "") -> Reading:
    sample = Sample(value, moment(look.now, look.zone), source, unit)
    return Reading(fact, sample, sample, sample, (sample,))


def _left(look: Look) -> datetime | None:
    left = look.stay.discharged_at
    return left if left is not None and instant(left) <= look.now else None


def care_start(look: Look, kind: FactType) -> Reading | None:
    """As somebody said, else by what was done first; never the registration."""
    sent = look.sent(kind)
    if sent is not None or look.contact is None:
        return sent
    ordered = (each for each in look.stay.spans if each.evidence == "ORDER")
    found = first_care(
        look.contact,
        look.now,
        facts=look.fold.sent,
        ordered=look.ordered,
        within=look.first_on,
        orders=look.turns,
        statuses=((instant(each.start), each.source) for each in ordered),
        is_own=look.is_own,
    )
    if found is None:
        return None
    start = look.clock(found[0])
    return single(kind.id, Sample(start.isoformat(), start, found[1]))


def expected_discharge(look: Look, kind: FactType) -> Reading | None:
    """PV2-9 or an OBX, whichever was said last."""
    sent, said = look.sent(kind), look.expected()
    if said is None or (sent is not None and instant(sent.latest.at) >= said[1]):
        return sent
    at, told, source = said
    return single(kind.id, Sample(moment(at, look.zone).isoformat(), moment(told, look.zone), source))


def discharge_barrier(look: Look, kind: FactType) -> Reading | None:
    """What the patient waits for. Where a first look knows of no wait at its moment, one that was told later
    counts from when it was told: it says nothing of what was expected, but of midnights that were received
    that they were spent in waiting."""
    counted = look.sent(kind)
    if counted is not None or look.cut.told_by is None:
        return counted
    present = look.present
    later = present.of_results(kind, present.of_stay(kind))
    if later is None:
        return None
    told = max(each.sent for each in present.of_stay(kind) if each.source == later.latest.source)
    return single(kind.id, replace(later.latest, at=max(later.latest.at, look.clock(told))))


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


def no_procedure(look: Look) -> Sample | None:
    """N where the feed brings every order, none of a procedure stands and none is planned, and no PR1 stands:
    42 CFR 412.3(d)(2) speaks of a procedure. Whether a procedure that stands is on Medicare's list only the
    site can say."""
    silence = look.reading(PROCEDURE)
    if silence is None or silence.latest.value is not False:
        return None
    plan = look.sent(dictionary()[PLANNED])
    if plan is not None and plan.latest.value is True:
        return None
    if any(turn.is_on and look.is_own(turn.patient) for turn in look.turns(PROCEDURE) or ()):
        return None
    if any(look.fold.procedures.told(look.told_by, look.is_own)):
        return None
    return Sample(False, moment(look.now, look.zone), f"{silence.latest.source}, implied by {PROCEDURE}")


def no_exception(look: Look) -> Sample | None:
    """N once somebody answered whether the expectation is documented: the exception of 42 CFR 412.3(d)(3)
    stands in the same record, and counts only where the record has it."""
    asked = look.sent(dictionary()[EXPECTATION])
    if asked is None:
        return None
    return Sample(False, asked.latest.at, f"{asked.latest.source}, implied by {EXPECTATION}")


#: Facts that people send, and that something else says too, or at another moment.
SENT_TOO: Mapping[str, Callable[[Look, FactType], Reading | None]] = {
    "care_start": care_start,
    "discharge_barrier": discharge_barrier,
    "expected_discharge": expected_discharge,
}
#: What silence about a fact means; None where it means nothing. An answer that was sent is left alone.
UNSAID: Mapping[str, Callable[[Look], Sample | None]] = {
    "inpatient_only_procedure": no_procedure,
    "case_by_case_documented": no_exception,
}
#: Care that was received, and how it ended, is counted and not judged: read now by a first look too.
PRESENT = frozenset({"midnights_so_far", "unforeseen_departure"})
PAYMENT_FACTS: Mapping[str, Callable[[Look], Reading | None]] = {
    "midnights_from_care": midnights_from_care,
    "midnights_from_order": midnights_from_order,
    "midnights_expected": midnights_expected,
    "midnights_so_far": midnights_so_far,
    "unforeseen_departure": unforeseen_departure,
    "payer_class": payer_class,
    "admission_start": admission_start,
}

"""What follows from what was sent: answers that others hold in themselves, and what finished forms leave out.

An answer is implied only while nothing was sent for the fact itself: what was sent wins, be it a value or
that none could be had, and where the two disagree the source names both. A finished form closes the world
of its part of the chart only where the site's profile says so.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from decimal import Decimal
from typing import Protocol

from umbridge.clinical.measured import IMPLIED_BY, OVER
from umbridge.model import FactValue, Reading, Sample
from umbridge.stay.dictionary import FactType, dictionary
from umbridge.stay.readings.derived import single
from umbridge.stay.readings.ends import measured
from umbridge.values.interval import holds

CLOSED = "closed world: "  # and the event after which silence is N
#: Systolic pressure, in mm[Hg], below which a patient is hypotensive: the fact sustained_hypotension says so.
HYPOTENSION = Decimal(90)
#: Hours of treatment outside hospital before it can have failed: the fact failed_outpatient_therapy says so.
THERAPY_HOURS = Decimal(48)
#: An alert patient who is not confused opens the eyes, answers and obeys: 4 + 5 + 6. Unsigned.
GCS_OF_ALERT = Decimal(15)


class Look(Protocol):
    """One look at a stay's facts, as ``window`` takes it."""

    def sent(self, kind: FactType) -> Reading | None: ...

    def prevailing(self, reading: Reading) -> tuple[Sample, ...]: ...


def _by(look: Look, fact: str) -> Sample | None:
    """The one sample that this review goes by, of what was sent."""
    reading = look.sent(dictionary()[fact])
    return None if reading is None else look.prevailing(reading)[0]


def _answer(value: FactValue, sample: Sample, fact: str, unit: str = "") -> Sample:
    return Sample(value, sample.at, f"{sample.source}{IMPLIED_BY}{fact}", unit)


def normal_ecg(look: Look) -> Sample | None:
    """0 of the HEART score's ECG item is a normal ECG. 1 says nothing: it may be a bundle branch block."""
    item = _by(look, "heart_ecg_score")
    return _answer(False, item, "heart_ecg_score") if item is not None and item.value == 0 else None


def no_hypotension(look: Look) -> Sample | None:
    """Every systolic pressure of the window at 90 or more."""
    pressures = look.sent(dictionary()["sbp"])
    if pressures is None or not holds(measured(pressures.low), ">=", HYPOTENSION):
        return None
    return _answer(False, pressures.low, "sbp")


def confusion(look: Look) -> Sample | None:
    """ACVPU: A is alert and not confused, C is newly confused; the others do not say."""
    level = _by(look, "consciousness")
    if level is None or level.value not in ("A", "C"):
        return None
    return _answer(level.value == "C", level, "consciousness")


def coma_score(look: Look) -> Sample | None:
    level = _by(look, "consciousness")
    if level is None or level.value != "A":
        return None
    return _answer(GCS_OF_ALERT, level, "consciousness", dictionary()["gcs"].unit)


IMPLIED: Mapping[str, Callable[[Look], Sample | None]] = {
    "st_elevation": normal_ecg,
    "ecg_new_ischemia": normal_ecg,
    "sustained_hypotension": no_hypotension,
    "hypotension_aggressive_fluids": no_hypotension,
    "new_confusion": confusion,
    "gcs": coma_score,
}


def beside(fact: str, sent: Reading | None, implied: Sample | None, *, is_silent: bool) -> Reading | None:
    """What was sent, and where nothing was, what is implied. ``is_silent``: whether nothing was."""
    if sent is None:
        return single(fact, implied) if implied is not None and is_silent else None
    if implied is None or sent.latest.value == implied.value:
        return sent
    return named(sent, f"{sent.latest.source}{OVER}{implied.source}")


def named(reading: Reading, source: str) -> Reading:
    """The same, its latest sample with a source that says more."""
    old, new = reading.latest, replace(reading.latest, source=source)
    low, high = (new if each is old else each for each in (reading.low, reading.high))
    return Reading(reading.fact, new, low, high, tuple(new if e is old else e for e in reading.series))


def failed_therapy(look: Look, kind: FactType) -> Reading | None:
    """Fewer than 48 hours of treatment are no failure of it; the source then names both."""
    sent = look.sent(kind)
    hours = look.sent(dictionary()["outpatient_therapy_hours"])
    if sent is None or hours is None or sent.latest.value is not True:
        return sent
    is_short = holds(measured(hours.latest), "<", THERAPY_HOURS)
    if is_short is None:
        return None
    if not is_short:
        return sent
    source = f"{hours.latest.source}{OVER}{sent.latest.source}"
    return single(kind.id, Sample(False, sent.latest.at, source))

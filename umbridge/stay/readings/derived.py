"""Facts that are worked out from what was sent: age, sums, quotients and falls. Bounds come to bounds."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from decimal import Context, Decimal
from typing import Protocol

from umbridge.clinical.measured import IMPLIED_BY
from umbridge.model import Reading, Sample
from umbridge.stay.clock import HOUR, instant
from umbridge.stay.dictionary import FactType, dictionary
from umbridge.stay.readings.ends import divided, end_of, least_reached, measured, most_reached, value_of
from umbridge.stay.results.statements import Result
from umbridge.stay.stay import Stay
from umbridge.values.interval import Interval, as_number, least, most, plus, quotient, times

FALL_HOURS = 24
#: KDIGO 2012 defines an injury by a rise of 0.3 mg/dL within so many hours (Kidney Int Suppl 2012;2:1).
RISE_HOURS = 48
COMPARED = 256  # values that are compared with one another at most, the newest
FULL_SCORE = Decimal(15)  # of the Glasgow coma scale
_EXACT = Context(prec=28)


class Look(Protocol):
    """One look at a stay's facts, as ``window`` takes it."""

    stay: Stay
    now: int
    contact: int | None

    def clock(self, at: int) -> datetime: ...

    def reading(self, fact: str) -> Reading | None: ...

    def prevailing(self, reading: Reading) -> tuple[Sample, ...]: ...

    def of_stay(self, kind: FactType) -> list[Result]: ...

    def usable(self, kind: FactType) -> list[Result]: ...

    def sent(self, kind: FactType) -> Reading | None: ...


def single(fact: str, sample: Sample) -> Reading:
    """One sample is all there is to say."""
    return Reading(fact, sample, sample, sample, (sample,))


def age(look: Look) -> Reading | None:
    """Whole years on the review's local date (PID-7)."""
    born = look.stay.birth_date
    if len(born) != 8 or not born.isdecimal():
        return None
    today = look.clock(look.now)
    years = today.year - int(born[:4]) - ((today.month, today.day) < (int(born[4:6]), int(born[6:])))
    return single("age", Sample(Decimal(years), today, "PID-7", "a")) if years >= 0 else None


def sex(look: Look) -> Reading | None:
    if look.stay.sex not in ("F", "M"):
        return None
    return single("sex", Sample(look.stay.sex, look.clock(look.now), "PID-8"))


def altered_mentation(look: Look) -> Reading | None:
    """Not alert. A full coma score says that the patient is, where nobody said how alert."""
    reading = look.reading("consciousness")
    if reading is None:
        score = look.sent(dictionary()["gcs"])
        full = None if score is None else look.prevailing(score)[0]
        if full is None or full.value != FULL_SCORE:
            return None
        return single("altered_mentation", Sample(False, full.at, f"{full.source}{IMPLIED_BY}gcs"))
    (sample,) = look.prevailing(reading)
    return single("altered_mentation", Sample(sample.value != "A", sample.at, sample.source))


def effective_osmolality(look: Look) -> Reading | None:
    """2 x sodium + glucose / 18, in mOsm/kg, from the values this review goes by."""
    sodium, glucose = look.reading("sodium"), look.reading("glucose")
    if sodium is None or glucose is None:
        return None
    (salt,), (sugar,) = look.prevailing(sodium), look.prevailing(glucose)
    if isinstance(salt.value, Interval) or isinstance(sugar.value, Interval):
        sum_ = plus(times(measured(salt), Decimal(2)), quotient(measured(sugar), Decimal(18)))
        value = as_number(sum_)
    else:
        value = _EXACT.add(
            _EXACT.multiply(_exact(salt), Decimal(2)), _EXACT.divide(_exact(sugar), Decimal(18))
        )
    if value is None:
        return None
    source = f"{salt.source}, {sugar.source}"
    return single(
        "effective_osmolality", Sample(value, max(salt.at, sugar.at, key=instant), source, "mosm/kg")
    )


def rise_in_creatinine(look: Look) -> Reading | None:
    """Times the baseline; unknown without one (a baseline is never made up)."""
    now, baseline = look.reading("creatinine"), look.reading("baseline_creatinine")
    if now is None or baseline is None:
        return None
    base = baseline.latest

    def ratio(sample: Sample) -> Sample | None:
        value = divided(measured(sample), base.value)
        source = f"{sample.source} / {base.source}"
        return None if value is None else Sample(value, sample.at, source, "{ratio}")

    latest, low, high = ratio(now.latest), ratio(now.low), ratio(now.high)
    if latest is None or low is None or high is None:
        return None
    series = tuple(filter(None, (ratio(sample) for sample in now.series)))
    return Reading("rise_in_creatinine", latest, low, high, series)


def creatinine_rise(look: Look) -> Reading | None:
    """The greatest rise from one value to a later one within 48 hours, in mg/dL, the later in the window.

    Never below nothing. Unknown with fewer than two values, as a rise that nobody measured is.
    """
    kind = dictionary()["creatinine"]
    every = look.of_stay(kind)[-COMPARED:]
    rises: list[tuple[Interval, str, int]] = []
    for end in look.usable(kind)[-COMPARED:]:
        before = [each for each in every if end.at - RISE_HOURS * HOUR <= each.at < end.at]
        if before:
            start = min(before, key=least_reached)
            rise = plus(value_of(end), times(least(map(value_of, before)), Decimal(-1)))
            rises.append((rise, f"{end.source} - {start.source}", end.at))
    if not rises:
        return None
    greatest = most(rise for rise, _, _ in rises).within(Decimal(0), None)
    _, source, at = max(rises, key=lambda each: end_of(each[0]))
    value = Decimal(0) if greatest is None else as_number(greatest)
    if value is None:
        return None
    return single("creatinine_rise_48h", Sample(value, look.clock(at), source, kind.unit))


def hemoglobin_fall(look: Look) -> Reading | None:
    """From the highest of the last 24 hours to the latest, in g/dL; unknown before the second value."""
    kind = dictionary()["hemoglobin"]
    first = look.now - FALL_HOURS * HOUR
    since = first if look.contact is None else max(first, look.contact)
    results = [each for each in look.of_stay(kind) if each.at >= since]
    if len(results) < 2:
        return None
    latest, highest = results[-1], max(results, key=most_reached)
    fall = plus(most(map(value_of, results)), times(value_of(latest), Decimal(-1))).within(Decimal(0), None)
    value = None if fall is None else as_number(fall)
    if value is None:
        return None
    source = f"{highest.source} - {latest.source}"
    return single("hemoglobin_fall_24h", Sample(value, look.clock(latest.at), source, kind.unit))


def _exact(sample: Sample) -> Decimal:
    return sample.value if isinstance(sample.value, Decimal) else Decimal(0)


DERIVED_FACTS: Mapping[str, Callable[[Look], Reading | None]] = {
    "age": age,
    "sex": sex,
    "altered_mentation": altered_mentation,
    "creatinine_rise_48h": creatinine_rise,
    "effective_osmolality": effective_osmolality,
    "hemoglobin_fall_24h": hemoglobin_fall,
    "rise_in_creatinine": rise_in_creatinine,
}

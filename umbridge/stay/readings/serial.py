"""Troponin over the whole stay: whether it was repeated, how high it went, and whether it moved."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from decimal import Decimal
from typing import Protocol

from umbridge.model import FactValue, Reading, Sample
from umbridge.stay.clock import HOUR
from umbridge.stay.dictionary import FactType, dictionary
from umbridge.stay.readings.ends import end_of
from umbridge.stay.results.statements import Result
from umbridge.values.interval import Interval, Number, as_interval, as_number, least, most, plus, times

TROPONIN = "troponin_ratio"
#: A later sample above the first of these shares of an earlier one has risen, below the second fallen: by
#: more than 20 %, the limit for values that are already raised (Thygesen K et al. Fourth universal definition
#: of myocardial infarction. Circulation 2018;138:e618).
RISEN, FALLEN = Decimal("1.2"), Decimal("0.8")


class Look(Protocol):
    """One look at a stay's results, as ``window`` takes it."""

    def of_stay(self, kind: FactType) -> list[Result]: ...

    def clock(self, at: int) -> datetime: ...


def _series(look: Look) -> list[tuple[Number, Result]]:
    """The stay's samples of one assay, oldest first: the one with the highest ratio, as in the window."""
    known = [
        (each.value, each)
        for each in look.of_stay(dictionary()[TROPONIN])
        if isinstance(each.value, Decimal | Interval)
    ]
    if not known:
        return []
    assay = max(known, key=lambda pair: (end_of(pair[0]), pair[1].order))[1].code
    return [pair for pair in known if pair[1].code == assay]


def _single(look: Look, fact: str, value: FactValue, source: Result, unit: str = "") -> Reading:
    sample = Sample(value, look.clock(source.at), source.source, unit)
    return Reading(fact, sample, sample, sample, (sample,))


def serial_troponin(look: Look) -> Reading | None:
    """The highest ratio of the stay, known once a repeat came 3 hours (the dictionary's) after the first."""
    series = _series(look)
    apart = (dictionary()[TROPONIN].serial_hours or 0) * HOUR
    if not series or series[-1][1].at - series[0][1].at < apart:
        return None
    value = as_number(most(value for value, _ in series))
    _, highest = max(series, key=lambda pair: end_of(pair[0]))
    return None if value is None else _single(look, "serial_troponin", value, highest, "{ratio}")


def troponin_change(look: Look) -> Reading | None:
    """Whether the stay's samples rise or fall by more than 20 % from one to a later one; unknown before the
    second."""
    series = _series(look)
    if len(series) < 2:
        return None
    _, source = max(series, key=lambda pair: end_of(pair[0]))
    changed: bool | None = False
    low = high = as_interval(series[0][0])  # of all before
    for value, _ in series[1:]:
        rose = plus(times(value, Decimal(1)), times(low, -RISEN)).holds(">", Decimal(0))
        fell = plus(times(value, Decimal(1)), times(high, -FALLEN)).holds("<", Decimal(0))
        if rose or fell:
            return _single(look, "troponin_change", True, source)
        if rose is None or fell is None:
            changed = None
        low, high = least((low, value)), most((high, value))
    return None if changed is None else _single(look, "troponin_change", changed, source)


SERIAL_FACTS: Mapping[str, Callable[[Look], Reading | None]] = {
    "serial_troponin": serial_troponin,
    "troponin_change": troponin_change,
}

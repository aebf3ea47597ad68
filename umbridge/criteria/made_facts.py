"""Facts that the rules make of others: a number less its limit for this patient, a diagnosis, hours since.

A test such as "latest spo2 < spo2_limit %" compares one fact with another, whose value differs from patient
to patient. It is kept as a test of the difference, "spo2 - spo2_limit", so that a rule can read the first
fact in any way. Where the difference is unknown, people are asked for what it is made of.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from decimal import Decimal

from umbridge.criteria.tree import FactSpec, bounded, is_usable
from umbridge.model import Reading, Sample
from umbridge.values.interval import plus, times

HOUR = timedelta(hours=1)
DIFFERENCE = " - "  # between the two facts in the name of what is made of them: no fact that is sent has it


def difference(first: FactSpec, second: FactSpec) -> FactSpec:
    """What a test of one fact against another reads."""
    name = f"{first.id}{DIFFERENCE}{second.id}"
    return FactSpec(name, "number", first.unit, first.worst, minus=(first.id, second.id))


def asked_for(spec: FactSpec, known: Iterable[str]) -> str:
    """The fact that people are asked for while this one is unknown."""
    if spec.minus is None:
        return spec.id
    first, second = spec.minus
    return second if first in known and second not in known else first


MOST_MADE = 2_000  # differences: about 500 bytes each, and what they are made of
#: Of a difference and two readings, which it holds so that no others have their ids, what is made of them.
_made: dict[tuple[int, int, int], tuple[FactSpec, Reading, Reading, Reading | None]] = {}


def with_made(
    differences: Iterable[FactSpec], specs: Mapping[str, FactSpec], facts: Mapping[str, Reading]
) -> Mapping[str, Reading]:
    """These facts, and with them each of the differences that can be made of them."""
    found: dict[str, Reading] = {}
    for spec in differences:
        if spec.minus is None or spec.id in facts or spec.id not in specs:
            continue
        a, b = spec.minus
        first, second = facts.get(a), facts.get(b)
        if first is None or second is None:
            continue
        key = (id(spec), id(first), id(second))
        made = _made.get(key)
        if made is None:
            if len(_made) >= MOST_MADE:  # start again rather than grow
                _made.clear()
            reading = _less(spec, _read(specs[a], first), _read(specs[b], second))
            made = _made[key] = (spec, first, second, reading)
        if made[3] is not None:
            found[spec.id] = made[3]
    return {**facts, **found} if found else facts


def without_replaced(
    replaced: Mapping[str, str], specs: Mapping[str, FactSpec], facts: Mapping[str, Reading]
) -> Mapping[str, Reading]:
    """These facts but for those in whose place (``replaced``) another one is known."""
    gone = {
        fact
        for fact, other in replaced.items()
        if fact in specs
        and fact in facts
        and other in facts
        and _read(specs[other], facts[other]) is not None
    }
    return {fact: found for fact, found in facts.items() if fact not in gone} if gone else facts


def of_diagnosis(specs: Iterable[FactSpec], diagnoses: Sequence[str], at: datetime) -> dict[str, Reading]:
    """Whether the principal diagnosis is one of those that a fact names. Without one, none is known."""
    code = diagnoses[0].replace(".", "").upper() if diagnoses else ""
    found = {}
    for spec in specs if code else ():
        if spec.principal:
            is_so = code.startswith(tuple(each.replace(".", "") for each in spec.principal))
            sample = Sample(is_so, at, "DG1")
            found[spec.id] = Reading(spec.id, sample, sample, sample, (sample,))
    return found


def hours_since(reading: Reading, as_of: datetime | None) -> Reading | None:
    """A datetime fact as the hours since then; None (unknown) without a moment to count from, and for the
    future: what lies ahead of the question cannot have been known."""
    try:
        then = datetime.fromisoformat(str(reading.latest.value))
        hours = None if as_of is None else (as_of - then) / HOUR
    except (ValueError, TypeError, OverflowError):  # no time, or one without an offset
        return None
    if hours is None or hours < 0:
        return None
    sample = Sample(
        Decimal(str(round(hours, 6))), reading.latest.at, reading.latest.source, reading.latest.unit
    )
    return Reading(reading.fact, sample, sample, sample, (sample,))


def _read(spec: FactSpec, reading: Reading) -> Reading | None:
    if is_usable(spec, reading):
        return reading
    return bounded(spec, reading, is_counted=False, is_positive=False)


def _less(spec: FactSpec, first: Reading | None, second: Reading | None) -> Reading | None:
    """Each sample of the first less the latest of the second; a limit that is a bound gives none."""
    limit = None if second is None else second.latest.value
    if first is None or not isinstance(limit, Decimal):
        return None
    made: dict[int, Sample] = {}
    for sample in (first.latest, first.low, first.high, *first.series):
        if id(sample) not in made:
            value = sample.value
            if isinstance(value, Decimal):
                less = value - limit
                made[id(sample)] = Sample(less, sample.at, sample.source, spec.unit)
            else:
                moved = plus(times(value, Decimal(1)), times(limit, Decimal(-1)))  # type: ignore[arg-type]
                made[id(sample)] = Sample(moved, sample.at, sample.source, spec.unit)
    latest, low, high = (made[id(each)] for each in (first.latest, first.low, first.high))
    return Reading(spec.id, latest, low, high, tuple(made[id(each)] for each in first.series))

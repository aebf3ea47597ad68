"""A case on its way to a worker, as plain values; several plugins and questions share what is in it.

There are no floats: numbers that criteria compare travel as text. A reading is a tuple, so that a worker
finds what it was sent before by all that was sent of it.
"""

from __future__ import annotations

from collections.abc import Mapping, Set
from datetime import datetime
from decimal import Decimal, InvalidOperation
from typing import Any, TypeAlias

from umbridge.criteria.walk import shown
from umbridge.model import Case, Evidence, FactValue, Reading, Sample
from umbridge.screening.frames import WireError
from umbridge.values.interval import Interval
from umbridge.values.kinds import Level, ReviewType, Status

Parts: TypeAlias = tuple[Any, ...]
Sent: TypeAlias = tuple[list[Sample], dict[str, Reading]]  # of one reading's parts, the facts that have them
MOST_KNOWN = 10_000  # of one generation


def _value_out(value: FactValue) -> str | bool:
    if isinstance(value, bool):
        return value
    if isinstance(value, Decimal):
        return f"#{value}"
    return f"~{value}" if isinstance(value, Interval) else f"={value}"


def _value_in(value: str | bool) -> FactValue:
    if isinstance(value, bool):
        return value
    if value[0] == "#":
        return Decimal(value[1:])
    if value[0] != "~":
        return value[1:]
    found = Interval.parse(value[1:])
    if found is None:
        raise ValueError
    return found


class EncodeCache:
    """What of one review's facts is already written: several plugins are told the same readings.

    For cases that are all alive while this is used: parts are known by identity, which tells decimals and
    times apart at a small part of what comparing them costs.
    """

    __slots__ = ("cited", "readings", "samples", "times")

    def __init__(self) -> None:
        self.readings: dict[int, Parts] = {}
        self.samples: dict[int, Parts] = {}
        self.times: dict[int, str] = {}
        self.cited: dict[tuple[str, int], Evidence] = {}  # and found to be within the contract

    def sample(self, sample: Sample) -> Parts:
        out = self.samples.get(id(sample))
        if out is None:
            at = self.times.get(id(sample.at))
            if at is None:
                at = self.times[id(sample.at)] = sample.at.isoformat()
            out = self.samples[id(sample)] = (_value_out(sample.value), at, sample.source, sample.unit)
        return out

    def reading(self, reading: Reading) -> Parts:
        """Four or five scalars for the usual single sample; else the samples once each, then who is which."""
        latest, series = reading.latest, reading.series
        if (reading.low is latest is reading.high) and (
            not series or (len(series) == 1 and series[0] is latest)
        ):
            return self.sample(latest) if series else (*self.sample(latest), 0)
        place, samples, roles = dict[int, int](), list[Parts](), list[int]()
        for sample in (latest, reading.low, reading.high, *series):
            at = place.get(id(sample))
            if at is None:
                at = place[id(sample)] = len(samples)
                samples.append(self.sample(sample))
            roles.append(at)
        return tuple(samples), tuple(roles)

    def evidence(self, fact: str, sample: Sample) -> Evidence:
        """A sample of a fact as answers cite it."""
        _, at, source, unit = self.sample(sample)
        return Evidence(fact, shown(sample.value), unit, at, source)


class Known:
    """What a worker was sent before, by all that was sent of it: what is equal is read once.

    It cannot be told from outside: what is found is what would be read. Half of it at most is forgotten at
    once, that which was looked at longest ago.
    """

    __slots__ = ("_older", "_young")

    def __init__(self) -> None:
        self._young: dict[Parts, Sent] = {}
        self._older: dict[Parts, Sent] = {}

    def readings(self, facts: Mapping[str, Parts]) -> dict[str, Reading]:
        """Raises what ``case_in`` takes for a case that is none."""
        found: dict[str, Reading] = {}
        of_this: dict[int, Sent] = {}  # many facts share one sample, which came in once
        for fact, parts in facts.items():
            sent = of_this.get(id(parts))
            if sent is None:
                sent = of_this[id(parts)] = self._young.get(parts) or self._other(parts)
            reading = sent[1].get(fact)
            if reading is None:
                reading = sent[1][fact] = _reading(fact, parts, sent[0])
            found[fact] = reading
        return found

    def _other(self, parts: Parts) -> Sent:
        found = self._older.get(parts)
        if found is None:
            several = parts[0] if isinstance(parts[0], tuple) else (parts[:4],)
            samples = [
                Sample(_value_in(value), datetime.fromisoformat(at), source, unit)
                for value, at, source, unit in several
            ]
            found = (samples, {})
        if len(self._young) >= MOST_KNOWN:
            self._young, self._older = {}, self._young
        self._young[parts] = found
        return found


def _reading(fact: str, parts: Parts, samples: list[Sample]) -> Reading:
    if isinstance(parts[0], tuple):
        latest, low, high, *series = [samples[place] for place in parts[1]]
        return Reading(fact, latest, low, high, tuple(series))
    only = samples[0]
    return Reading(fact, only, only, only, () if len(parts) == 5 else (only,))


def case_out(
    case: Case, facts: Set[str], told: EncodeCache | None = None, *, bounds: bool = True
) -> list[Any]:
    """A case as plain values, with the declared facts and no others. ``told`` shares work between cases.

    A plugin without ``bounds`` is not told of a fact that has any: it would take "<6" for what it knows, or
    an older sample for the latest.
    """
    told = told or EncodeCache()
    known = told.readings
    said: dict[str, Parts] = {}
    for fact, reading in case.facts.items():
        if fact in facts and (bounds or not reading.has_bounds):
            out = known.get(id(reading))
            if out is None:
                out = known[id(reading)] = told.reading(reading)
            said[fact] = out
    return [
        case.pseudonym,
        case.review.value,
        case.requested_status.value,
        int(case.requested_level),
        case.as_of.isoformat(),
        case.episode_day,
        list(case.diagnoses),
        case.payer_class,
        None if case.observation_hours is None else str(case.observation_hours),
        case.observation_ended,
        said,
        [fact for fact in case.unread if fact in facts],
        *([own] if (own := _in_question(case, facts)) else ()),
    ]


def _in_question(case: Case, facts: Set[str]) -> dict[str, list[str]]:
    """Left out where there is nothing of the kind: a question that was put before is the same question."""
    said = ((why, [fact for fact in its if fact in facts]) for why, its in case.in_question.items())
    return {why: its for why, its in said if its}


def case_in(parts: list[Any], known: Known | None = None) -> Case:
    """The case a worker was sent; ``known`` has what came in earlier ones. Raises WireError for none."""
    try:
        name, review, status, level, as_of, day, diagnoses, payer, hours, ended, facts, *more = parts
        unread, in_question = more[0] if more else (), more[1] if more[1:] else {}
        return Case(
            name,
            ReviewType(review),
            Status(status),
            Level(level),
            datetime.fromisoformat(as_of),
            day,
            tuple(diagnoses),
            payer,
            None if hours is None else Decimal(hours),
            ended,
            (known or Known()).readings(facts),
            tuple(unread),
            {why: tuple(its) for why, its in in_question.items()},
        )
    except (ValueError, TypeError, LookupError, AttributeError, InvalidOperation):
        raise WireError("case") from None

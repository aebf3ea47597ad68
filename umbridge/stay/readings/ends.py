"""Measured numbers, and bounds in their place: what orders them, and quotients of them."""

from __future__ import annotations

from decimal import Context, Decimal

from umbridge.model import FactValue, Sample
from umbridge.stay.results.statements import Result
from umbridge.values.interval import Interval, Number, as_interval, as_number, holds, quotient

_EXACT = Context(prec=28)


def number_of(result: Result) -> Decimal:
    """The number that results are ordered by; of a bound, its end."""
    value = result.value
    return value if isinstance(value, Decimal) else end_of(value_of(result))


def end_of(value: Number) -> Decimal:
    """A number itself, or the bound's end."""
    if isinstance(value, Decimal):
        return value
    return value.high if value.high is not None else value.low or Decimal(0)


def value_of(result: Result) -> Number:
    """What a usable result of a fact that is a number says."""
    return result.value if isinstance(result.value, Decimal | Interval) else Decimal(0)


def least_reached(result: Result) -> Decimal:
    """By what is surely not exceeded: the one that says most of the lowest comes first."""
    high = as_interval(value_of(result)).high
    return Decimal("Infinity") if high is None else high


def most_reached(result: Result) -> Decimal:
    """By what is surely reached: the one that says most of the highest comes last."""
    low = as_interval(value_of(result)).low
    return Decimal("-Infinity") if low is None else low


def divided(one: Number, other: FactValue | None) -> Number | None:
    """A quotient of measured numbers; None where the divisor cannot be above zero, or nothing is known."""
    if not isinstance(other, Decimal | Interval) or holds(other, "<=", Decimal(0)):
        return None
    if isinstance(one, Decimal) and isinstance(other, Decimal):
        return _EXACT.divide(one, other)
    return as_number(quotient(one, other))


def measured(sample: Sample) -> Number:
    """The same of a sample."""
    return sample.value if isinstance(sample.value, Decimal | Interval) else Decimal(0)

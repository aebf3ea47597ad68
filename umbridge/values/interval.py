"""A number known only to lie between two others: "<6", ">600", and what follows from such.

Ends are decimals. What is worked out from them is rounded outwards, so that an interval always holds every
number that it can stand for, and an answer that goes by it is never more certain than what was measured.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_FLOOR, Context, Decimal
from typing import TypeAlias

_DOWN, _UP = Context(prec=28, rounding=ROUND_FLOOR), Context(prec=28, rounding=ROUND_CEILING)
_NO_END: tuple[Decimal | None, bool] = (None, False)
_END = re.compile(r"([<>]=?)(-?\d+(?:\.\d+)?)\Z", re.ASCII)


@dataclass(frozen=True, slots=True)
class Interval:
    """``low``, ``high``: None where there is no such end. ``has_low``, ``has_high``: it may be reached."""

    low: Decimal | None
    high: Decimal | None
    has_low: bool = False
    has_high: bool = False

    @classmethod
    def bound(cls, op: str, value: Decimal) -> Interval:
        """What "< 6" or ">= 600" says. ``op`` is one of < <= > >=."""
        if op[0] == "<":
            return cls(None, value, has_high=op == "<=")
        return cls(value, None, has_low=op == ">=")

    @classmethod
    def parse(cls, text: str) -> Interval | None:
        """What ``str`` wrote; None where it did not write this."""
        low = high = None
        has_low = has_high = False
        for part in text.split(" "):
            end = _END.match(part)
            if end is None or high is not None or (low is not None and part[0] == ">"):
                return None
            if part[0] == ">":
                low, has_low = Decimal(end[2]), end[1] == ">="
            else:
                high, has_high = Decimal(end[2]), end[1] == "<="
        return cls(low, high, has_low, has_high)

    def __str__(self) -> str:
        """As people write it: "<6", ">600", ">=5 <6"."""
        parts = []
        if self.low is not None:
            parts.append(f"{'>=' if self.has_low else '>'}{self.low:f}")
        if self.high is not None:
            parts.append(f"{'<=' if self.has_high else '<'}{self.high:f}")
        return " ".join(parts)

    def holds(self, op: str, value: Decimal) -> bool | None:
        """Whether each number in here is ``op`` the value: True, False, or None where they differ.

        ``op`` is one of < <= > >= is, "is not".
        """
        if op in (">", "<="):
            above = self._is_above(value, reached=True)
            return above if op == ">" or above is None else not above
        if op in (">=", "<"):
            above = self._is_above(value, reached=False)
            return above if op == ">=" or above is None else not above
        inside = None if self._may_be(value) else False
        return inside if op == "is" or inside is None else True

    def _is_above(self, value: Decimal, *, reached: bool) -> bool | None:
        """Whether each number is above the value (``reached``: and not the value itself), or none is."""
        low, high = self.low, self.high
        if low is not None and (low > value or (low == value and not (reached and self.has_low))):
            return True
        if high is not None and (high < value or (high == value and (reached or not self.has_high))):
            return False
        return None

    def _may_be(self, value: Decimal) -> bool:
        low, high = self.low, self.high
        if low is not None and (value < low or (value == low and not self.has_low)):
            return False
        return high is None or value < high or (value == high and self.has_high)

    def within(self, low: Decimal | None, high: Decimal | None) -> Interval | None:
        """The part of it from ``low`` to ``high``, both included; None where there is none."""
        ends = [self, Interval(low, high, low is not None, high is not None)]
        lows = [(end.low, not end.has_low) for end in ends if end.low is not None]
        highs = [(end.high, end.has_high) for end in ends if end.high is not None]
        (lowest, is_open), (highest, is_in) = max(lows, default=_NO_END), min(highs, default=_NO_END)
        is_empty = lowest is not None and highest is not None and lowest >= highest
        if is_empty and (lowest != highest or is_open or not is_in):
            return None
        return Interval(lowest, highest, lowest is not None and not is_open, is_in)


Number: TypeAlias = "Decimal | Interval"


def as_interval(value: Number) -> Interval:
    """An exact number as the interval of itself alone."""
    return value if isinstance(value, Interval) else Interval(value, value, has_low=True, has_high=True)


_COMPARE: Mapping[str, Callable[[Decimal, Decimal], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "is": operator.eq,
    "is not": operator.ne,
}


def holds(value: Number, op: str, limit: Decimal) -> bool | None:
    """Whether a number is ``op`` the limit, None where a bound leaves it open; ``op`` as in ``Interval``."""
    return _COMPARE[op](value, limit) if isinstance(value, Decimal) else value.holds(op, limit)


def as_number(value: Interval) -> Number | None:
    """The number where only one is left; None where nothing is known."""
    if value.low is None and value.high is None:
        return None
    return value.high if value.low == value.high and value.high is not None else value


def may_lie(value: Number, low: Decimal, high: Decimal) -> bool:
    """Whether a number lies from ``low`` to ``high``, both included, or a bound leaves any that does."""
    return low <= value <= high if isinstance(value, Decimal) else value.within(low, high) is not None


def times(value: Number, factor: Decimal) -> Interval:
    """Each number times an exact factor, which may be negative."""
    found = as_interval(value)
    low, high, has_low, has_high = found.low, found.high, found.has_low, found.has_high
    if factor < 0:
        low, high, has_low, has_high = high, low, has_high, has_low
    return Interval(
        None if low is None else _DOWN.multiply(low, factor),
        None if high is None else _UP.multiply(high, factor),
        has_low,
        has_high,
    )


def plus(one: Number, other: Number) -> Interval:
    """Every sum of a number of the one and a number of the other."""
    a, b = as_interval(one), as_interval(other)
    return Interval(
        None if a.low is None or b.low is None else _DOWN.add(a.low, b.low),
        None if a.high is None or b.high is None else _UP.add(a.high, b.high),
        a.has_low and b.has_low,
        a.has_high and b.has_high,
    )


def quotient(one: Number, other: Number) -> Interval:
    """Every quotient of what is measured and cannot be negative by what cannot be zero or less.

    Without an end where such numbers leave none.
    """
    a, b = as_interval(one), as_interval(other)
    low = high = None
    if a.low is not None and a.low >= 0 and b.high is not None and b.high > 0:
        low = _DOWN.divide(a.low, b.high)
    if a.high is not None and a.high >= 0 and b.low is not None and b.low > 0:
        high = _UP.divide(a.high, b.low)
    return Interval(low, high, a.has_low and b.has_high, a.has_high and b.has_low)


def least(values: Iterable[Number]) -> Interval:
    """What the lowest of several numbers can be."""
    all_ = [as_interval(value) for value in values]
    lows = [(each.low, not each.has_low) for each in all_ if each.low is not None]
    low, is_open = min(lows) if len(lows) == len(all_) else (None, True)
    high, has_high = min(((e.high, e.has_high) for e in all_ if e.high is not None), default=_NO_END)
    return Interval(low, high, not is_open, has_high)


def most(values: Iterable[Number]) -> Interval:
    """What the highest of several numbers can be."""
    turned = least([times(value, Decimal(-1)) for value in values])
    return times(turned, Decimal(-1))

"""Intervals against an oracle that tries numbers inside them: never more certain than what was measured."""

from __future__ import annotations

import operator
from decimal import Decimal
from fractions import Fraction
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from umbridge.values.interval import (
    Interval,
    Number,
    as_interval,
    as_number,
    least,
    most,
    plus,
    quotient,
    times,
)

OPERATORS = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "is": operator.eq,
    "is not": operator.ne,
}
NUDGE = Fraction(1, 10**9)

decimals = st.decimals(min_value=-50, max_value=50, places=1)
positive = st.decimals(min_value=Decimal("0.1"), max_value=50, places=1)


@st.composite
def intervals(draw: st.DrawFn, numbers: st.SearchStrategy[Decimal] = decimals) -> Interval:
    one, other = sorted((draw(numbers), draw(numbers)))
    low, high = draw(st.sampled_from([(None, one), (one, None), (one, other)]))
    has_low, has_high = draw(st.booleans()), draw(st.booleans())
    if low is not None and low == high:
        has_low = has_high = True
    return Interval(low, high, low is not None and has_low, high is not None and has_high)


def numbers(values: st.SearchStrategy[Decimal] = decimals) -> st.SearchStrategy[Number]:
    return st.one_of(values, intervals(values))


def inside(number: Number, *beside: Decimal) -> list[Fraction]:
    """Real numbers that it can stand for: close to its ends, between, far out, and at values of interest."""
    found = as_interval(number)
    low = Fraction(-(10**6)) if found.low is None else Fraction(found.low)
    high = Fraction(10**6) if found.high is None else Fraction(found.high)
    tried = [low, low + NUDGE, (low + high) / 2, high - NUDGE, high]
    for value in beside:
        tried += [Fraction(value) - NUDGE, Fraction(value), Fraction(value) + NUDGE]
    return [value for value in tried if holds(found, value)]


def holds(found: Interval, value: Fraction) -> bool:
    if found.low is not None and not (value >= found.low if found.has_low else value > found.low):
        return False
    return found.high is None or (value <= found.high if found.has_high else value < found.high)


@given(intervals(), st.sampled_from(sorted(OPERATORS)), decimals)
def test_a_test_is_definite_exactly_when_every_number_inside_agrees(
    interval: Interval, op: str, value: Decimal
) -> None:
    truths = {OPERATORS[op](each, Fraction(value)) for each in inside(interval, value)}
    if interval.low == interval.high and interval.low is not None:
        return  # one number: as_number makes it one
    assert interval.holds(op, value) is (truths.pop() if len(truths) == 1 else None)


@given(numbers(), decimals.filter(lambda factor: factor != 0))
def test_times_holds_every_product(number: Number, factor: Decimal) -> None:
    found = times(number, factor)
    assert all(holds(found, each * Fraction(factor)) for each in inside(number))


@given(numbers(), numbers())
def test_plus_holds_every_sum_and_no_more(one: Number, other: Number) -> None:
    found = plus(one, other)
    assert all(holds(found, a + b) for a, b in product(inside(one), inside(other)))
    a, b = as_interval(one), as_interval(other)
    assert (found.low is None) is (a.low is None or b.low is None)
    assert (found.high is None) is (a.high is None or b.high is None)


@given(numbers(positive), numbers(positive))
def test_quotient_holds_every_quotient_of_what_can_be(one: Number, other: Number) -> None:
    found = quotient(one, other)
    pairs = product(inside(one), inside(other))
    assert all(holds(found, a / b) for a, b in pairs if a >= 0 and b > 0)


@given(st.lists(numbers(), min_size=1, max_size=4))
def test_least_and_most_hold_every_lowest_and_highest(values: list[Number]) -> None:
    low, high = least(values), most(values)
    for chosen in product(*(inside(value)[:4] for value in values)):
        assert holds(low, min(chosen)) and holds(high, max(chosen))


@given(intervals(), decimals, decimals)
def test_within_holds_just_what_is_in_both(interval: Interval, one: Decimal, other: Decimal) -> None:
    low, high = min(one, other), max(one, other)
    found = interval.within(low, high)
    for value in inside(interval, low, high):
        assert (low <= value <= high) is (found is not None and holds(found, value))


@given(intervals())
def test_what_is_written_is_read_back(interval: Interval) -> None:
    assert Interval.parse(str(interval)) == interval


@pytest.mark.parametrize(
    "text", ["", "6", "<", "<6 >5", ">5  <6", ">5<6", "<6 <7", ">5 >6", "< 6", "<6x", "<1e3"]
)
def test_other_texts_are_no_interval(text: str) -> None:
    assert Interval.parse(text) is None


@given(st.text(max_size=12))
def test_any_text_is_survived(text: str) -> None:
    found = Interval.parse(text)
    assert found is None or str(found) == text or found == Interval.parse(str(found))


def test_as_people_write_them() -> None:
    six = Decimal(6)
    assert str(Interval.bound("<", six)) == "<6"
    assert str(Interval.bound(">=", Decimal("0.40"))) == ">=0.40"
    assert str(least([Decimal(5), Interval.bound("<", six)])) == "<=5"
    assert str(most([Decimal(5), Interval.bound("<", six)])) == ">=5 <6"


def test_numbers_and_nothing() -> None:
    assert as_number(Interval(Decimal(5), Decimal(5), has_low=True, has_high=True)) == Decimal(5)
    assert as_number(Interval(None, None)) is None
    bound = Interval.bound("<", Decimal(5))
    assert as_number(bound) is bound


def test_rounding_goes_outwards() -> None:
    third = quotient(Interval.bound("<", Decimal(1)), Decimal(3))
    assert third.high is not None and Fraction(third.high) >= Fraction(1, 3)
    third = quotient(Interval.bound(">", Decimal(1)), Decimal(3))
    assert third.low is not None and Fraction(third.low) <= Fraction(1, 3)

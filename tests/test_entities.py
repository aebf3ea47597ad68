"""Which spellings of a number are one: a table, and that the answer parts all numbers in any order."""

from __future__ import annotations

from itertools import permutations, product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from umbridge.hl7.er7 import parse
from umbridge.hl7.fields import entity_from, entity_of, entity_within
from umbridge.stay.orders.entities import alike, same, spelt_once

#: Two numbers as written here; whether they are one for sure, and whether they can be one.
PAIRS = [
    ("8", "8", True, True),
    ("8", "9", False, False),
    ("8", "8^LAB", False, True),
    ("8^LAB", "8^LAB", True, True),
    ("8^LAB", "8^POCT", False, False),
    ("8^ZZLAB", "8^zzlab", False, False),  # a value of the site's table, as it is written
    ("8^LAB^1.9", "8^^1.9", True, True),
    ("8^LAB^1.9", "8^LAB", True, True),
    ("8^LAB", "8^^1.9", False, True),
    ("8^LABA^1.9", "8^LABB^1.9", True, True),
    ("8^LAB^1.9", "8^LAB^1.8", False, False),
    ("8^^1.9", "8^^1.8", False, False),
    ("8^1.9", "8^^1.9", True, True),
    ("8^1.9", "8^LAB^1.9", False, False),
    ("8", "8^^1.9", False, True),
]


@pytest.mark.parametrize(("one", "other", "sure", "can"), PAIRS)
def test_two_numbers(one: str, other: str, sure: bool, can: bool) -> None:
    for pair in ((one, other), (other, one)):
        assert (same(*pair), alike(*pair)) == (sure, can)


SPELLINGS = [
    f"8^{space}^{universal}".rstrip("^")
    for space, universal in product(("", "A", "B", "1.9"), ("", "1.8", "1.9"))
]


@given(st.sets(st.sampled_from(SPELLINGS)))
def test_spellings_are_parted_into_orders(numbers: set[str]) -> None:
    """What differs in a universal id is two orders; what is left out may be one with another."""
    spelt = spelt_once(numbers)
    assert set(spelt) <= numbers and set(spelt.values()) <= set(spelt)
    assert all(spelt_once(order) == spelt for order in (sorted(numbers), sorted(numbers, reverse=True)))
    for one, other in product(spelt, spelt):
        _, _, mine = one[2:].partition("^")
        _, _, its = other[2:].partition("^")
        if spelt[one] == spelt[other]:
            assert not (mine and its and mine != its)
        elif mine and its:
            assert mine != its
    for left_out in numbers - set(spelt):
        assert any(alike(left_out, each) for each in numbers - {left_out}) or left_out == "8"


@pytest.mark.parametrize(
    ("sent", "read"),
    [
        ("8", "8"),
        ("8^LAB", "8^LAB"),
        ("8^LAB^1.9^ISO", "8^LAB^1.9"),
        ("8^^1.9^ISO", "8^^1.9"),
        ("8^^ZZ.ORG^DNS", "8^^zz.org"),
        ("^LAB^1.9^ISO", ""),
        ("8^^", "8"),
    ],
)
def test_an_ei_is_read_whole(sent: str, read: str) -> None:
    message = parse(b"MSH|^~\\&|ZZ\r")
    assert entity_of(message, sent.encode()) == read
    assert entity_within(message, sent.replace("^", "&").encode()) == read


@pytest.mark.parametrize(
    ("one", "other", "both"),
    [
        ("8", "8^LAB", "8^LAB"),
        ("8^LAB", "8^^1.9", "8^LAB^1.9"),
        ("8^LAB", "8^POCT", "8^LAB"),
        ("8", "9^LAB", "8"),
        ("", "9^LAB", "9^LAB"),
        ("8^LAB", "", "8^LAB"),
        ("8^^1.9", "8^LAB^1.9", "8^LAB^1.9"),
    ],
)
def test_two_segments_have_one_number_of_an_order(one: str, other: str, both: str) -> None:
    assert entity_from(one, other) == both


def test_parts_that_nobody_sent_make_no_difference() -> None:
    for order in permutations(["8^A", "8^^1.9", "8^A^1.9"]):
        assert set(spelt_once(order).values()) == {"8^A^1.9"}

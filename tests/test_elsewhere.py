"""A correction that was filed under another visit is said on the stay that has the old value."""

from __future__ import annotations

import random
from typing import Any

import pytest
from test_likeness import obr
from test_told import ARRIVAL, GLUCOSE, POTASSIUM, SITE, SODIUM, at, message, obx, oru

from umbridge.model import Event
from umbridge.stay import elsewhere
from umbridge.stay.fold import StayFold
from umbridge.stay.together import CORRECTION_ELSEWHERE, side_by_side

FIRST = oru("0901", obr("F1^LAB", "P1^EHR"), obx(SODIUM, "119", "mmol/L"), obx(POTASSIUM, "4.4", "mmol/L"))


def later(
    status: str = "C", name: tuple[str, str] = ("F1^LAB", "P1^EHR"), sent: str = "0930", **more: str
) -> Event:
    value = "139" if status in "CA" else ""
    return oru(sent, obr(*name, **more), obx(SODIUM, value, "mmol/L", status))


def whole(service: str = "CHEM^^L", number: str = "F1^LAB") -> Event:
    return oru("0930", obr(number, service=service, status="X"))


#: What the other visit was told, and whether the first one has a value that this means.
CASES: dict[str, tuple[list[Event], bool]] = {
    "a correction": ([later()], True),
    "an amendment": ([later("A")], True),
    "a withdrawal": ([later("D")], True),
    "for the wrong patient": ([later("W")], True),
    "no result": ([later("X")], True),
    "no result of a later tube": ([later("X", taken="0910")], False),
    "of another time": ([later(taken="0840")], True),
    "of no time": ([later(taken="")], True),
    "without the namespace": ([later(name=("F1", ""))], True),
    "by the order's number": ([later(name=("", "P1^EHR"))], True),
    "under another number of the order": ([later(name=("F2^LAB", "P1^EHR"))], True),
    "of the order, at another time": ([later(name=("F2^LAB", "P1^EHR"), taken="0840")], False),
    "another laboratory's": ([later(name=("F1^POCT", ""))], False),
    "another report": ([later(name=("F2^LAB", "P2^EHR"))], False),
    "another service": ([later(service="BGA^^L")], False),
    "told before": ([later(sent="0859")], False),
    "a value only": ([later("F")], False),
    "its own original came there too": ([FIRST, later()], False),
    "the whole report": ([whole()], True),
    "of another service": ([whole("BGA^^L")], False),
    "of another number": ([whole(number="F7^LAB")], False),
    "another fact": ([oru("0930", obr("F1^LAB"), obx(GLUCOSE, "90", "mg/dL", "C"))], False),
}


def raised(here: list[Event], there: list[Event], *, others: str = "") -> list[bool]:
    """Of each of two visits, whether it has the exception."""
    folds = [StayFold(SITE), StayFold(SITE)]
    moved = message("ADT^A04", "0600", patient=others) if others else ARRIVAL
    for fold, events in zip(folds, ([ARRIVAL, *here], [moved, *there]), strict=True):
        for seq, event in enumerate(events, 10 * folds.index(fold)):
            fold.apply(event, seq)
    stays = [fold.stay(at("1200")) for fold in folds]
    return [CORRECTION_ELSEWHERE in stay.exceptions for stay in side_by_side(stays)]


@pytest.mark.parametrize(("there", "is_meant"), CASES.values(), ids=CASES.keys())
def test_a_correction_under_another_visit_is_said_where_the_old_value_is(
    there: list[Event], is_meant: bool
) -> None:
    order = random.Random(1)
    for _ in range(4):
        assert raised([FIRST], there) == [is_meant, False]
        there = order.sample(there, len(there)) + order.sample(there, 1)


def test_it_ends_when_the_value_is_told_again_or_corrected_here() -> None:
    assert raised([FIRST, later(sent="1000")], [later()]) == [False, False]
    again = oru("1000", obr("F1^LAB", "P1^EHR"), obx(SODIUM, "119", "mmol/L"))
    assert raised([FIRST, again], [later()]) == [False, False]
    assert raised([], [later()]) == [False, False]


def test_another_patients_stay_says_nothing_of_this_one() -> None:
    theirs = oru("0930", obr("F1^LAB"), obx(SODIUM, "139", "mmol/L", "C"), patient="7790010")
    assert raised([FIRST], [theirs], others="7790010") == [False, False]


FAULTS: dict[str, Any] = {
    "what came first is not asked": lambda self, each, one: each.named == one.named,
    "the number is not asked": lambda self, each, one: each.stamp < one.stamp,
    "nothing is": lambda self, each, one: False,
}


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS.keys())
def test_a_planted_fault_turns_a_case_red(monkeypatch: pytest.MonkeyPatch, fault: Any) -> None:
    monkeypatch.setattr(elsewhere.Reported, "_is_meant", fault)
    assert [raised([FIRST], there)[0] for there, _ in CASES.values()] != [
        is_it for _, is_it in CASES.values()
    ]

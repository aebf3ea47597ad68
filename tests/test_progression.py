"""A draw's preliminary value beside its final one, whatever numbers the two were sent under.

Table 0085 lets a result go from preliminary to final to corrected, and never back. One draw that was told
under two numbers (an add-on, a second order, a relay's own) has one progression.
"""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_copies import BY_ITS_MOMENT, NAMES, RIGHT, WHOLE, Spelled, back, cell, told
from test_likeness import obr
from test_told import SITE, SODIUM, folded, obx, oru

from umbridge.model import Event
from umbridge.stay.fold import StayFold
from umbridge.stay.results.copies import Copies
from umbridge.stay.results.kinship import Kinship
from umbridge.stay.results.statements import MARK
from umbridge.stay.results.thread import Thread

OTHER = NAMES["a strange number"]
THIRD = Spelled("F3^ZZREF", "P3^ZZREF")


def panels(first: str, second: str) -> Event:
    """One message that tells of two numbers, the first with a status and the second with another."""
    names = ((WHOLE, first, "119"), (OTHER, second, RIGHT))
    lines = [
        (obr(n.filler, n.placer, n.service), obx(SODIUM, value, "mmol/L", status))
        for n, status, value in names
    ]
    return oru("0901", *lines[0], *lines[1])


EARLY = told(WHOLE, "0901", status="P")
FINAL = told(OTHER, "0910", RIGHT)
#: What is told of one moment, and what is in force ("?": CORRECTION_AMBIGUOUS).
TOLD: dict[str, tuple[list[Event], str]] = {
    "the final came under another number": ([EARLY, FINAL], "139"),
    "it came first": ([told(OTHER, "0901", RIGHT), told(WHOLE, "0910", status="P")], "139"),
    "the preliminary one is sent again": ([EARLY, FINAL, told(WHOLE, "0920", status="P")], "139"),
    "it says the same": ([EARLY, told(OTHER, "0910")], "119"),
    "another number of the same order": ([EARLY, told(NAMES["a new number"], "0910", RIGHT)], "139"),
    "two preliminary ones": ([EARLY, told(THIRD, "0902", "121", "P"), FINAL], "139"),
    "the final is corrected": ([EARLY, FINAL, told(OTHER, "0930", "141", "C")], "141"),
    "each becomes final": ([EARLY, FINAL, told(WHOLE, "0930")], "119 139"),
    "the other becomes final as it was": (
        [EARLY, told(OTHER, "0905", RIGHT, "P"), told(OTHER, "0910", "", "U")],
        "139",
    ),
    "the first becomes final as it was": ([EARLY, FINAL, told(WHOLE, "0930", "", "U")], "119 139"),
    # The final was wrong: whether the preliminary value was right is not said.
    "the final is withdrawn": ([EARLY, FINAL, back("D", OTHER)], "?"),
    "the final is withdrawn by its report": ([EARLY, FINAL, back("report", OTHER)], "?"),
    "the final is deleted": ([EARLY, FINAL, back('""', OTHER)], "?"),
    "until the first is final": ([EARLY, FINAL, back("D", OTHER), told(WHOLE, "0940")], "119"),
    "until the first is withdrawn": ([EARLY, FINAL, back("D", OTHER), back("D", WHOLE, "0940")], "-"),
    "until the other is run again": ([EARLY, FINAL, back("D", OTHER), told(OTHER, "0940", "137")], "137"),
    "both are withdrawn": ([EARLY, FINAL, back("D", WHOLE, "0920"), back("D", OTHER, "0930")], "-"),
    # Two draws, or two panels of one tube.
    "another moment": ([EARLY, told(OTHER, "0910", RIGHT, taken="0851")], "119 139"),
    "another service": ([EARLY, told(Spelled("X7", "", "BGA^^L"), "0910", RIGHT)], "119 139"),
    "two of one message": ([panels("P", "F")], "119 139"),
    "both preliminary": ([EARLY, told(OTHER, "0910", RIGHT, "P")], "119 139"),
}


@pytest.mark.parametrize(("events", "expected"), TOLD.values(), ids=TOLD.keys())
def test_the_final_value_of_a_draw_is_in_force(events: list[Event], expected: str) -> None:
    """In any order of arrival: ``cell`` has both."""
    assert cell(events) == expected


STEPS = st.tuples(
    st.sampled_from([WHOLE, *(NAMES[each] for each in BY_ITS_MOMENT), THIRD]),
    st.sampled_from(["P", "P", "F", "C", "U", "D"]),
    st.sampled_from(["119", "139", "141"]),
)


def in_force(fold: StayFold) -> list[tuple[str, bool]]:
    listed = fold.results("sodium")
    assert listed is not None
    return sorted((f"{e.value}", e.source.endswith(MARK)) for e in listed if e.value is not None)


@settings(max_examples=60)
@given(st.lists(STEPS, min_size=2, max_size=7), st.randoms())
def test_nothing_preliminary_stands_beside_what_is_final(
    steps: list[tuple[Spelled, str, str]], order: random.Random
) -> None:
    events = [
        told(name, f"09{10 + n}", "" if status in "UD" else value, status, control=n)
        for n, (name, status, value) in enumerate(steps)
    ]
    found = in_force(folded(*events))
    assert len({is_early for _, is_early in found}) < 2
    mixed = [(seq, each) for seq, each in enumerate(events, 1) for _ in range(order.randint(1, 2))]
    order.shuffle(mixed)
    fold = StayFold(SITE)
    for seq, event in mixed:
        fold.apply(event, seq)
        if order.random() < 0.3 and fold.results("sodium"):
            in_force(fold)
    assert in_force(fold) == found


FAULTS: dict[str, tuple[Any, str, object]] = {
    "the preliminary one stays": (Copies, "_give_way", lambda self, own: iter(())),
    "its moment is not looked at": (Kinship, "mark", lambda self, group, stated: []),
    "what gave way stays away": (Copies, "_come_back", lambda self, own: iter(())),
    "two of one message are one": (Thread, "_is_beside", lambda self, one, other, when: False),
}


@pytest.mark.parametrize(("room", "name", "fault"), FAULTS.values(), ids=FAULTS.keys())
def test_a_planted_fault_turns_a_case_red(
    monkeypatch: pytest.MonkeyPatch, room: Any, name: str, fault: object
) -> None:
    monkeypatch.setattr(room, name, fault)
    with pytest.raises(AssertionError):
        for events, expected in TOLD.values():
            assert cell(events) == expected

"""One draw told under several names: what is said of the one is said of the others, or a person is told.

The table has each way in which a second telling may be named, by what happens to the first. A cell is what is
in force, "?" where the stay has CORRECTION_AMBIGUOUS and "!" where it has CORRECTION_NOT_FOUND.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_likeness import obr
from test_told import SITE, SODIUM, at, folded, obx, oru

from umbridge.model import Event
from umbridge.stay.fold import StayFold
from umbridge.stay.results.copies import Copies
from umbridge.stay.results.kinship import Kinship
from umbridge.stay.results.thread import Thread

WRONG, RIGHT = "119", "139"


class Spelled(NamedTuple):
    filler: str = "F1^LAB"
    placer: str = "P1^EHR"
    service: str = "CHEM^^L"
    sub: str = ""


WHOLE = Spelled()
#: How a second telling of the draw may be named: with less, with more, or under a number of its own.
NAMES = {
    "the same": WHOLE,
    "bare": Spelled("F1", ""),
    "by its order": Spelled("", "P1^EHR"),
    "no service": Spelled(service=""),
    "a sub-id": Spelled(sub="1"),
    "no number": Spelled("", ""),
    "no number nor service": Spelled("", "", ""),
    "a new number": Spelled("F9^LAB"),
    "a strange number": Spelled("X7^HIE", "X7^HIE"),
    "another service": Spelled(service="BGA^^L"),
    "no number, another service": Spelled("", "", "MON^^L"),
}
#: Those that can be the whole name, as far as what was sent goes; and those by another number.
OF_ITS_REPORT = ("the same", "bare", "by its order", "no service", "a sub-id")
CAN_BE = (*OF_ITS_REPORT, "no number", "no number nor service")
BY_ITS_MOMENT = ("a new number", "a strange number")


def told(
    name: Spelled, sent: str, value: str = WRONG, status: str = "F", taken: str = "0850", control: int = 0
) -> Event:
    lines = [obr(name.filler, name.placer, name.service, taken, "X" if status == "report" else "F")]
    if status != "report":
        lines.append(obx(SODIUM, value, "mmol/L" if value else "", status, sub=name.sub))
    return oru(sent, *lines, control=control)


def back(status: str, name: Spelled = WHOLE, sent: str = "0930") -> Event:
    """What says that the value was wrong."""
    value = {"C": RIGHT, "F": RIGHT, '""': '""'}.get(status, "")
    return told(name, sent, value, "F" if status == '""' else status)


#: What is told of the draw, with the second telling under a name at a time.
HAPPENS: dict[str, Callable[[Spelled, str], list[Event]]] = {
    **{
        f"copy, {status}": lambda name, taken, status=status: [
            *(told(WHOLE, "0901"), told(name, "0910", taken=taken)),
            back(status),
        ]
        for status in ("C", "D", "X", "report", "F", '""')
    },
    **{
        f"{status}, copy": lambda name, taken, status=status: [
            *(told(WHOLE, "0901"), back(status)),
            told(name, "0940", taken=taken),
        ]
        for status in ("C", "D", "report", '""')
    },
    "old copy, C": lambda name, taken: [told(name, "0859", taken=taken), told(WHOLE, "0901"), back("C")],
    "copy, its D": lambda name, taken: [
        *(told(WHOLE, "0901"), told(name, "0910", taken=taken)),
        told(name, "0930", "", "D", taken),
    ],
    "P, its F": lambda name, taken: [told(WHOLE, "0901", status="P"), told(name, "0930", RIGHT, "F", taken)],
    "its P, F": lambda name, taken: [told(name, "0901", status="P", taken=taken), told(WHOLE, "0930", RIGHT)],
    "F, its P": lambda name, taken: [told(WHOLE, "0901", RIGHT), told(name, "0930", WRONG, "P", taken)],
    "F, its F": lambda name, taken: [told(WHOLE, "0901"), told(name, "0930", RIGHT, "F", taken)],
    "F, its U": lambda name, taken: [told(WHOLE, "0901", status="P"), told(name, "0930", "", "U", taken)],
    "F, its null": lambda name, taken: [told(WHOLE, "0901"), told(name, "0930", '""', "F", taken)],
}
TIMES = {"then": "0850", "later": "0855", "untimed": ""}
GOLDEN = Path(__file__).parent / "golden_copies.txt"


def in_force(fold: StayFold) -> tuple[list[str], tuple[str, ...]]:
    listed = fold.results("sodium")
    assert listed is not None
    return [f"{each.value}" for each in listed if each.value is not None], fold.stay(at("1200")).exceptions


def cell(events: list[Event]) -> str:
    """What is in force. In any order of arrival it is the same."""
    found = in_force(folded(*events))
    fold = StayFold(SITE)
    for seq in reversed(range(len(events))):
        fold.apply(events[seq], seq + 1)
    assert in_force(fold) == found
    marks = [
        mark for mark, name in (("?", "AMBIGUOUS"), ("!", "NOT_FOUND")) if f"CORRECTION_{name}" in found[1]
    ]
    return " ".join([*sorted(found[0]), *marks]) or "-"


def table() -> str:
    lines = []
    for name, spelled in NAMES.items():
        for time, taken in TIMES.items():
            its = [f"{what}: {cell(events(spelled, taken))}" for what, events in HAPPENS.items()]
            lines += [f"{name}, {time}", *(f"  {each}" for each in its)]
    return "\n".join(lines) + "\n"


def test_what_is_said_of_one_name_is_said_of_its_copies_as_was_decided() -> None:
    """A cell that changes is a decision: docs/meaning.md, "One draw under several names"."""
    assert table() == GOLDEN.read_text("utf-8")


@pytest.mark.parametrize("name", [*CAN_BE, *BY_ITS_MOMENT])
@pytest.mark.parametrize("what", [each for each in HAPPENS if "copy" in each and "its" not in each])
def test_no_copy_of_one_moment_stays_unsaid(name: str, what: str) -> None:
    """Under the number of its own report what is told after a withdrawal is another run of the tube."""
    is_run_again = name in OF_ITS_REPORT and what in ("D, copy", "report, copy", '"", copy')
    found = cell(HAPPENS[what](NAMES[name], "0850"))
    assert (WRONG in found) is is_run_again
    if name in BY_ITS_MOMENT:
        assert "?" in found


def two_panels(*more: Event, second: Spelled = NAMES["a strange number"]) -> list[Event]:
    """One message has the value under two numbers: two panels of one tube."""
    lines = [(obr(n.filler, n.placer, n.service), obx(SODIUM, WRONG, "mmol/L")) for n in (WHOLE, second)]
    return [oru("0901", *lines[0], *lines[1]), *more]


#: What is told, and the cell.
ALSO: dict[str, tuple[list[Event], str]] = {
    "two of one message are two": (two_panels(back("D")), "119"),
    "also where one of them was told again": (
        two_panels(told(NAMES["a strange number"], "0910"), back("D")),
        "119",
    ),
    "also without a number": (two_panels(back("D"), second=NAMES["no number"]), "119"),
    "a copy that may be of either of two": (
        [
            *(told(WHOLE, "0901"), told(Spelled("F2^LAB", "P2^EHR"), "0902")),
            *(told(NAMES["no number"], "0910"), back("D")),
        ],
        "?",
    ),
    "a copy that may be of either of two panels": (
        two_panels(told(NAMES["no number"], "0910"), back("D")),
        "119 ?",
    ),
    "a value that differs is no copy": (
        [told(WHOLE, "0901"), told(NAMES["no number"], "0910", "121"), back("D")],
        "121",
    ),
    "nor one of another number": (
        [told(WHOLE, "0901"), told(Spelled("X7^HIE", ""), "0910", "121"), back("C")],
        "121 139",
    ),
    "a rerun under a new number": (
        [told(WHOLE, "0901"), back("D"), told(Spelled("F2^LAB"), "0940", RIGHT)],
        "139",
    ),
    "a correction of nothing but its comment": (
        [told(WHOLE, "0901"), told(NAMES["a strange number"], "0910"), told(WHOLE, "0930", WRONG, "C")],
        "119 119",
    ),
    "the doubt ends when the copy is told otherwise": (
        [
            *(told(WHOLE, "0901"), back("D"), told(NAMES["a strange number"], "0940")),
            told(NAMES["a strange number"], "0950", RIGHT),
        ],
        "139",
    ),
    "and when it is withdrawn": (
        [
            *(told(WHOLE, "0901"), back("C"), told(NAMES["a strange number"], "0940")),
            back("D", NAMES["a strange number"], "0950"),
        ],
        "139",
    ),
    "but not when it is told once more": (
        [
            *(told(WHOLE, "0901"), back("C"), told(NAMES["a strange number"], "0940")),
            told(NAMES["a strange number"], "0950"),
        ],
        "139 ?",
    ),
    "nothing is doubted that the laboratory has told again": (
        [
            *(told(WHOLE, "0901"), back("D"), told(WHOLE, "0935")),
            told(NAMES["a strange number"], "0940"),
        ],
        "119 119",
    ),
    "two final values, apart by a sub-id that one has": (
        [told(WHOLE, "0901"), told(NAMES["a sub-id"], "0910", RIGHT)],
        "?",
    ),
    "two that contradict each other, until one is told as the other": (
        [
            *(told(WHOLE, "0901"), told(NAMES["a sub-id"], "0910", RIGHT)),
            told(WHOLE, "0930", RIGHT),
        ],
        "139 139",
    ),
    "or is withdrawn": (
        [told(WHOLE, "0901"), told(NAMES["a sub-id"], "0910", RIGHT), back("D", NAMES["a sub-id"])],
        "119",
    ),
    "the final of one of two": (
        [
            *(told(WHOLE, "0901", status="P"), told(Spelled("F2^LAB", "P2^EHR"), "0902", "121", "P")),
            told(NAMES["no number"], "0930", RIGHT),
        ],
        "139 ?",
    ),
    "until each has its own": (
        [
            *(told(WHOLE, "0901", status="P"), told(Spelled("F2^LAB", "P2^EHR"), "0902", "121", "P")),
            *(told(NAMES["no number"], "0930", RIGHT), told(WHOLE, "0940", RIGHT)),
            told(Spelled("F2^LAB", "P2^EHR"), "0941", "121"),
        ],
        "121 139 139",
    ),
    "a copy of what is in doubt": (
        [
            *(told(WHOLE, "0901"), told(WHOLE, "0902", "121", taken="0845")),
            *(told(NAMES["a strange number"], "0910"), told(WHOLE, "0930", "", "D", "0840")),
        ],
        "?",
    ),
}


@pytest.mark.parametrize(("events", "expected"), ALSO.values(), ids=ALSO.keys())
def test_what_else_is_told_of_copies(events: list[Event], expected: str) -> None:
    assert cell(events) == expected


@st.composite
def worlds(draw: st.DrawFn) -> tuple[list[Event], list[str]]:
    """A draw under names that can be one, its correction under one of them, and what is another's."""
    names = draw(st.lists(st.sampled_from([*CAN_BE, *BY_ITS_MOMENT]), min_size=1, max_size=3, unique=True))
    tellings = [told(WHOLE, "0901")]
    tellings += [told(NAMES[name], f"09{10 + n}") for n, name in enumerate(names)]
    sent = draw(st.sampled_from(["0905", "0920"]))
    gone = back(draw(st.sampled_from(["C", "D", "X", "report"])), WHOLE, sent)
    others = [
        told(NAMES[name], "0908", value, taken=taken)
        for name, value, taken in (("a strange number", "131", "0851"), ("no number", "132", "0852"))
        if draw(st.booleans())
    ]
    return [*tellings, gone, *others], names if sent == "0920" else [
        n for n in names if n not in OF_ITS_REPORT
    ]


@settings(max_examples=40)
@given(worlds(), st.randoms())
def test_no_trace_is_left_of_a_draw_under_any_of_its_names(
    world: tuple[list[Event], list[str]], order: random.Random
) -> None:
    events, names = world
    fold = folded(*events)
    found = in_force(fold)
    mixed = list(enumerate(events, 1)) + [
        (seq + 50, e) for seq, e in enumerate(events, 1) if order.random() < 0.3
    ]
    order.shuffle(mixed)
    other = StayFold(SITE)
    for seq, event in mixed:
        other.apply(event, seq)
        if order.random() < 0.3:
            in_force(other) if other.results("sodium") else None
    assert in_force(other) == found
    if len(names) == sum(1 for event in events if event.control_id.startswith("ZZ-091")):
        assert WRONG not in found[0]
    assert {"131", "132"} & {v for e in events for v in [o.value for o in e.observations]} <= set(found[0])


FAULTS: dict[str, tuple[Any, str, object]] = {
    "what is wrong is wrong under one name": (Copies, "_end", lambda self, own, wrong, stated: iter(())),
    "what comes back is not looked at": (Copies, "_compare", lambda self, own, value, stated: iter(())),
    "every copy is surely one": (Copies, "_is_shared", lambda self, own, copy, wrong: False),
    "two of one message are one": (Thread, "_is_beside", lambda self, one, other, when: False),
    "no moment is looked at": (Kinship, "mark", lambda self, group, stated: []),
    "a contradiction never ends": (Copies, "_reconcile", lambda self: iter(())),
    "finals differ unsaid": (Copies, "_contradict", lambda self, own, value, other, its: iter(())),
}


@pytest.mark.parametrize(("room", "name", "fault"), FAULTS.values(), ids=FAULTS.keys())
def test_a_planted_fault_turns_a_case_red(
    monkeypatch: pytest.MonkeyPatch, room: Any, name: str, fault: object
) -> None:
    monkeypatch.setattr(room, name, fault)
    with pytest.raises(AssertionError):
        for events, expected in ALSO.values():
            assert cell(events) == expected

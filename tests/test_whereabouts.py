"""Where the patient is: by the transfer, and not by an update that repeats what the transfer left."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from test_fold import adt, at, folded, told

from umbridge.stay.course import whereabouts
from umbridge.stay.course.whereabouts import PLACE_CONTRADICTED

HERE = adt("A01", 0, unit="4W", room="1", bed="A", patient_class="I")
MOVED = adt("A02", 5, unit="MICU", room="9", bed="B", patient_class="I")
OLD = {"unit": "4W", "room": "1", "bed": "A", "patient_class": "I"}
NEW = {"unit": "MICU", "room": "9", "bed": "B", "patient_class": "I"}
OTHER = {"unit": "5E", "room": "2", "bed": "C", "patient_class": "I"}

#: What else is told, the units of the stay one after the other, and whether a person is told.
TABLE: dict[str, tuple[list[Any], list[str], bool]] = {
    "the transfer alone": ([MOVED], ["4W", "MICU"], False),
    "an update with the old place": ([MOVED, adt("A08", 7, **OLD)], ["4W", "MICU"], True),
    "with the old unit alone": ([MOVED, adt("A08", 7, unit="4W", patient_class="I")], ["4W", "MICU"], True),
    "and one with the new place": (
        [MOVED, adt("A08", 7, **OLD), adt("A08", 8, **NEW)],
        ["4W", "MICU"],
        False,
    ),
    "with the new unit alone, then the old": (
        [MOVED, adt("A08", 6, unit="MICU", patient_class="I"), adt("A08", 7, **OLD)],
        ["4W", "MICU", "MICU"],
        True,
    ),
    "another room of the unit": (
        [adt("A02", 5, **{**OLD, "room": "2"}), adt("A08", 7, **OLD)],
        ["4W", "4W"],
        True,
    ),
    "and one without any": ([MOVED, adt("A08", 7, **OLD), adt("A08", 8, bed="")], ["4W", "MICU"], True),
    "said before the transfer was": (
        [adt("A02", 5, sent=9, **NEW), adt("A08", 7, **OLD)],
        ["4W", "MICU"],
        False,
    ),
    "a third place": ([MOVED, adt("A08", 7, **OTHER)], ["4W", "MICU", "5E"], False),
    "a third place and back to the first": (
        [MOVED, adt("A08", 7, **OTHER), adt("A08", 8, **OLD)],
        ["4W", "MICU", "5E", "4W"],
        False,
    ),
    "a transfer back": ([MOVED, adt("A02", 7, **OLD)], ["4W", "MICU", "4W"], False),
    "contradicted, and a transfer back": (
        [MOVED, adt("A08", 6, **OLD), adt("A02", 7, **OLD)],
        ["4W", "MICU", "4W"],
        False,
    ),
    "no transfer: by updates only": (
        [adt("A08", 5, **NEW), adt("A08", 7, **OLD)],
        ["4W", "MICU", "4W"],
        False,
    ),
    "the transfer was cancelled": ([MOVED, adt("A12", 6), adt("A08", 7, **OLD)], ["4W"], False),
    "the discharge repeats the old place": ([MOVED, adt("A03", 9, **OLD)], ["4W", "MICU"], False),
    "contradicted, and gone": (
        [MOVED, adt("A08", 7, **OLD), adt("A03", 9, **OLD)],
        ["4W", "MICU"],
        False,
    ),
}


def outcome(*events: Any) -> tuple[list[str], bool]:
    fold = folded(*events)
    places = [place.unit for place in fold.stay(at(20)).places]
    return places, PLACE_CONTRADICTED in told(fold)["exceptions"]


@pytest.mark.parametrize(("more", "units", "is_said"), TABLE.values(), ids=TABLE.keys())
def test_an_update_moves_nobody_back(more: list[Any], units: list[str], is_said: bool) -> None:
    for events in itertools.permutations((HERE, *more)):
        assert outcome(*events) == (units, is_said)
        assert outcome(*events, *events) == (units, is_said)


@pytest.mark.parametrize(
    ("name", "value"), [("REPEATS", frozenset[str]()), ("MOVES", frozenset[str]()), ("MOVES", {"A02", "A08"})]
)
def test_a_planted_fault_is_seen(monkeypatch: pytest.MonkeyPatch, name: str, value: Any) -> None:
    monkeypatch.setattr(whereabouts, name, value)
    assert any(outcome(HERE, *more) != (units, is_said) for more, units, is_said in TABLE.values())

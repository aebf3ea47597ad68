"""Results and treatment orders of one stay, in the order of their own times, whatever order they came in.

Both commute: a correction finds its result and a late order its place, whichever arrives first. Nothing here
is written whole to a snapshot: each message adds an increment, and the increments in any order give this.

Kept per fact: the first 256 and the newest 768 results. What lies between can be in no window that a review
asks for except the whole encounter's extremes of a fact measured more than a thousand times. Orders are all
kept: forgetting one that still runs would read as "no treatment".
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any, NamedTuple

from umbridge.model import FactValue
from umbridge.stay.facts import dictionary

FIRST_KEPT = 256
NEWEST_KEPT = 768

_STAGE = {"P": 1, "F": 2, "X": 2, "C": 3, "D": 3, "W": 3}


def stage(status: str) -> int:
    """How final OBX-11 is: a correction outranks a final result sent again, a pending one nothing."""
    return _STAGE.get(status, 0)


class Result(NamedTuple):
    """One OBX as it stands. ``value`` is None where the result is withdrawn, missing or unreadable."""

    at: int
    report: str
    code: str
    patient: str
    stage: int
    sent: int
    seq: int
    value: FactValue | None
    original: str
    source: str

    @property
    def place(self) -> tuple[int, str, str, str]:
        return self[:4]

    def row(self, fact: str) -> list[Any]:
        value = str(self.value) if isinstance(self.value, Decimal) else self.value
        return [fact, *self[:7], value, *self[8:]]

    @classmethod
    def from_row(cls, row: list[Any]) -> Result:
        result = cls(*row[1:])
        if result.value is not None and dictionary()[row[0]].kind == "number":
            return result._replace(value=Decimal(str(result.value)))
        return result


class ResultList:
    """The results of one fact."""

    __slots__ = ("_places", "_results")

    def __init__(self) -> None:
        self._places: list[tuple[int, str, str, str]] = []
        self._results: list[Result] = []

    def add(self, result: Result) -> None:
        index = bisect_left(self._places, result.place)
        if index < len(self._places) and self._places[index] == result.place:
            held = self._results[index]
            if (result.stage, result.sent, result.seq) > (held.stage, held.sent, held.seq):
                self._results[index] = result
            return
        self._places.insert(index, result.place)
        self._results.insert(index, result)
        if len(self._places) > FIRST_KEPT + NEWEST_KEPT:
            del self._places[FIRST_KEPT], self._results[FIRST_KEPT]

    def between(self, first: int | None, last: int) -> list[Result]:
        """Everything from ``first`` to ``last``, both included, oldest first; withdrawn results too."""
        low = 0 if first is None else bisect_left(self._places, (first,))
        return self._results[low : bisect_right(self._places, (last + 1,))]

    def __iter__(self) -> Iterator[Result]:
        return iter(self._results)

    def __len__(self) -> int:
        return len(self._results)


class Turn(NamedTuple):
    """One ORC: at ``at`` the order ``key`` began or ended."""

    at: int
    sent: int
    seq: int
    part: int
    is_on: bool
    key: str
    source: str
    patient: str

    def row(self, fact: str) -> list[Any]:
        return [fact, *self]


class TurnList:
    """The orders behind one treatment fact. Answers "is one in force" without going through all of them."""

    __slots__ = ("_by_key", "_on", "_turns")

    def __init__(self) -> None:
        self._turns: list[Turn] = []
        self._by_key: dict[str, list[Turn]] = {}
        self._on: list[Turn] = []

    def add(self, turn: Turn) -> None:
        turns = self._by_key.setdefault(f"{turn.patient}|{turn.key}", [])
        if turn in turns:
            return
        before = turns[-1] if turns else None
        insort(turns, turn)
        insort(self._turns, turn)
        after = turns[-1]
        if after is before:
            return
        if before is not None and before.is_on:
            del self._on[bisect_left(self._on, before)]
        if after.is_on:
            insort(self._on, after)

    def in_force(self, at: int, is_own: Callable[[str], bool]) -> Turn | None:
        """The newest order in force at an instant, of patients that ``is_own`` accepts."""
        if not self._turns:
            return None
        if at >= self._turns[-1].at:
            return next((turn for turn in reversed(self._on) if is_own(turn.patient)), None)
        seen: set[str] = set()
        for turn in self._back_from(at):
            if turn.key in seen or not is_own(turn.patient):
                continue
            if turn.is_on:
                return turn
            seen.add(turn.key)
        return None

    def newest(self, at: int, is_own: Callable[[str], bool]) -> Turn | None:
        """The newest turn up to an instant, on or off: what a treatment's OBX is older or newer than."""
        return next((turn for turn in self._back_from(at) if is_own(turn.patient)), None)

    def _back_from(self, at: int) -> Iterator[Turn]:
        return (self._turns[n] for n in range(bisect_right(self._turns, (at + 1,)) - 1, -1, -1))

    def __iter__(self) -> Iterator[Turn]:
        return iter(self._turns)

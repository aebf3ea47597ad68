"""Results of one stay, in the order of their own times, whatever order they came in.

They commute: a correction finds its result, whichever arrives first. Nothing here is written whole to a
snapshot: each message adds an increment, and the increments in any order give this.

Kept per fact: the first 256 and the newest 768 results. What lies between can be in no window that a review
asks for except the whole encounter's extremes of a fact measured more than a thousand times.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any, NamedTuple

from umbridge.interval import Interval
from umbridge.model import FactValue, Reading, Sample
from umbridge.stay.facts import dictionary

FIRST_KEPT = 256
NEWEST_KEPT = 768

_STAGE = {"P": 1, "F": 2, "X": 2, "B": 2, "V": 2, "A": 3, "C": 3, "D": 3, "W": 3}


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
        value = str(self.value) if isinstance(self.value, Decimal | Interval) else self.value
        return [fact, *self[:7], value, *self[8:]]

    @classmethod
    def from_row(cls, row: list[Any]) -> Result:
        result = cls(*row[1:])
        if result.value is not None and dictionary()[row[0]].kind == "number":
            text = str(result.value)
            return result._replace(value=Interval.parse(text) if text[0] in "<>" else Decimal(text))
        return result


class Look:
    """What one sliding window over a fact's results holds, kept up as results are added at its end.

    ``newest`` are the last usable results of the window, oldest first. ``low`` and ``high`` are the first
    of its lowest and highest. The results that are kept for good (the first 256) and the rest are looked at
    apart: of the rest, only what can still become an extreme is held, so that a step costs the same however
    long the list is (the ascending minima of a sliding window).
    """

    __slots__ = (
        "_from",
        "_head",
        "_highs",
        "_lows",
        "_rank",
        "_to",
        "kept",
        "newest",
        "own",
        "samples",
        "shown",
    )

    def __init__(self, own: str, rank: Callable[[Result], Any] | None, kept: int) -> None:
        self.own = own  # whose results count
        self.kept = kept
        self.newest: list[Result] = []
        self.shown: Reading | None = None  # what its reader made of it, until it changes
        self.samples: dict[int, tuple[Result, Sample]] = {}  # its parts, by the result they were made of
        self._rank = rank
        self._from = self._to = 0
        self._head: tuple[int, list[Result]] = (-1, [])
        self._lows: list[tuple[Any, Result]] = []
        self._highs: list[tuple[Any, Result]] = []

    @property
    def low(self) -> Result:
        """The first of the lowest; the newest where there is no order."""
        found = [*self._head[1], *(result for _, result in self._lows[:1])]
        return self.newest[-1] if self._rank is None else min(found, key=self._rank)

    @property
    def high(self) -> Result:
        """The first of the highest; the newest where there is no order."""
        found = [*self._head[1], *(result for _, result in self._highs[:1])]
        return self.newest[-1] if self._rank is None else max(found, key=self._rank)

    @property
    def begin(self) -> int:
        """Where the window begins in the list."""
        return self._from

    def begins(self, places: list[tuple[int, str, str, str]], first: int) -> bool:
        """Whether the window still begins there when it begins at the instant ``first``."""
        at = self._from
        return 0 < at < len(places) and places[at - 1][0] < first <= places[at][0]

    def can_reach(self, low: int, high: int) -> bool:
        """Whether the window has only moved on since."""
        return self._from <= low and self._to <= high

    def reach(
        self, results: list[Result], low: int, high: int, first: int | None, is_own: Callable[[str], bool]
    ) -> None:
        """Move on to ``results[low:high]``, all of it from the instant ``first`` on."""
        changed = low != self._from
        if not changed and high == self._to:
            return
        fresh = [
            each
            for each in (results[max(low, self._to) : high] if self._to < high else ())
            if each.value is not None and is_own(each.patient)
        ]
        rank = self._rank
        if changed and first is not None:
            self.newest = [each for each in self.newest if each.at >= first]
            for run in (self._lows, self._highs):
                gone = 0
                while gone < len(run) and run[gone][1].at < first:
                    gone += 1
                del run[:gone]
        if rank is not None:
            if low < FIRST_KEPT and (self._head[0] != low or self._to < FIRST_KEPT):
                known = self._head[1] if self._head[0] == low else []
                head = results[self._to if self._head[0] == low else low : min(high, FIRST_KEPT)]
                usable = [
                    *known,
                    *(each for each in head if each.value is not None and is_own(each.patient)),
                ]
                ends = [min(usable, key=rank), max(usable, key=rank)] if usable else []
                self._head = (low, ends)
            elif low >= FIRST_KEPT:
                self._head = (low, [])
            for each in self._tail(results, low, high, is_own):
                value = rank(each)
                while self._lows and self._lows[-1][0] > value:
                    self._lows.pop()
                while self._highs and self._highs[-1][0] < value:
                    self._highs.pop()
                self._lows.append((value, each))
                self._highs.append((value, each))
        if fresh:
            self.newest = [*self.newest, *fresh][-self.kept :]
        if changed or fresh:
            self.shown = None
        self._from, self._to = low, high

    def _tail(
        self, results: list[Result], low: int, high: int, is_own: Callable[[str], bool]
    ) -> Iterator[Result]:
        for each in results[max(low, self._to, FIRST_KEPT) : high]:
            if each.value is not None and is_own(each.patient):
                yield each

    def forget(self, gone: Result) -> bool:
        """Result 256 is dropped from the list. False where the window must be looked at afresh."""
        if self._to <= FIRST_KEPT:
            return True
        if self.newest and self.newest[0].at <= gone.at and any(each is gone for each in self.newest):
            return False
        for run in (self._lows, self._highs):
            if run and run[0][1] is gone:  # the oldest of the rest, so it is first or not there
                del run[0]
        if self._from > FIRST_KEPT:
            self._from -= 1
        self._to -= 1
        self.shown = None
        return True


class ResultList:
    """The results of one fact."""

    __slots__ = ("_looks", "_places", "_results", "has_bounds")

    def __init__(self) -> None:
        self.has_bounds = False  # whether any result was one: then the window has to be gone through
        self._places: list[tuple[int, str, str, str]] = []
        self._results: list[Result] = []
        self._looks: dict[object, Look] = {}

    def look(
        self,
        kind: object,
        first: int | None,
        last: int,
        own: str,
        is_own: Callable[[str], bool],
        rank: Callable[[Result], Any] | None,
        kept: int,
    ) -> Look | None:
        """The usable results from ``first`` to ``last``, summed up; None where there are none.

        ``kind`` names a window that asks with one ``rank`` and ``kept`` each time; ``own`` is all that
        ``is_own`` goes by.
        """
        places, look = self._places, self._looks.get(kind)
        # The usual ends are tried first: a search walks through memory that a long list has long left cold.
        if first is None or not places or first <= places[0][0]:
            low = 0
        elif look is not None and look.begins(places, first):
            low = look.begin
        else:
            low = bisect_left(places, (first,))
        high = len(places) if places and places[-1][0] <= last else bisect_right(places, (last + 1,))
        if look is None or look.own != own or not look.can_reach(low, high):
            look = self._looks[kind] = Look(own, rank, kept)
        look.reach(self._results, low, high, first, is_own)
        return look if look.newest else None

    def add(self, result: Result) -> None:
        self.has_bounds = self.has_bounds or isinstance(result.value, Interval)
        places = self._places
        index = len(places)
        if places and result.place <= places[-1]:
            index = bisect_left(places, result.place)
        if index < len(self._places) and self._places[index] == result.place:
            held = self._results[index]
            if (result.stage, result.sent, result.seq) > (held.stage, held.sent, held.seq):
                self._results[index] = result
                self._looks.clear()
            return
        if index < len(self._places):
            self._looks.clear()
        self._places.insert(index, result.place)
        self._results.insert(index, result)
        if len(self._places) > FIRST_KEPT + NEWEST_KEPT:
            gone = self._results[FIRST_KEPT]
            del self._places[FIRST_KEPT], self._results[FIRST_KEPT]
            for kind in [kind for kind, look in self._looks.items() if not look.forget(gone)]:
                del self._looks[kind]

    def forget_looks(self) -> None:
        """Whose results count has changed: look afresh."""
        self._looks.clear()

    def between(self, first: int | None, last: int) -> list[Result]:
        """Everything from ``first`` to ``last``, both included, oldest first; withdrawn results too."""
        low = 0 if first is None else bisect_left(self._places, (first,))
        return self._results[low : bisect_right(self._places, (last + 1,))]

    def __iter__(self) -> Iterator[Result]:
        return iter(self._results)

    def __len__(self) -> int:
        return len(self._results)

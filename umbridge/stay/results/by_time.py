"""Results of one stay, in the order of their own times, whatever order they came in.

Of one time the later told goes last: the latest is what was said last, never the greater accession number.

They commute: a correction finds its result, whichever arrives first. Nothing here is written whole to a
snapshot: each message adds an increment, and the increments in any order give this.

Kept per fact: the first 256 and the newest 768 results. What lies between can be in no window that a review
asks for except the whole encounter's extremes of a fact measured more than a thousand times.
"""

from __future__ import annotations

from collections.abc import Callable
from operator import attrgetter
from typing import Any

from umbridge.model import Reading, Sample
from umbridge.stay.results.statements import Place, Result

FIRST_KEPT = 256
NEWEST_KEPT = 768
_ORDER = attrgetter("order")


def in_order(found: list[Result]) -> list[Result]:
    """Results by their times, and of one time by when each was told."""
    return found if len(found) < 2 else sorted(found, key=_ORDER)


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
        found = in_order([*self._head[1], *(result for _, result in self._lows[:1])])
        return self.newest[-1] if self._rank is None else min(found, key=self._rank)

    @property
    def high(self) -> Result:
        """The first of the highest; the newest where there is no order."""
        found = in_order([*self._head[1], *(result for _, result in self._highs[:1])])
        return self.newest[-1] if self._rank is None else max(found, key=self._rank)

    @property
    def begin(self) -> int:
        """Where the window begins in the list."""
        return self._from

    def begins(self, places: list[Place], first: int) -> bool:
        """Whether the window still begins there when it begins at the instant ``first``."""
        at = self._from
        return 0 < at < len(places) and places[at - 1][0] < first <= places[at][0]

    def can_reach(self, low: int, high: int) -> bool:
        """Whether the window has only moved on since."""
        return self._from <= low and self._to <= high

    def reach(
        self,
        results: list[Result],
        low: int,
        high: int,
        first: int | None,
        is_own: Callable[[str], bool],
        *,
        has_ties: bool,
    ) -> None:
        """Move on to ``results[low:high]``, all of it from the instant ``first`` on.

        ``has_ties``: whether any two results are of one time, so that their places are not their order.
        """
        arranged = in_order if has_ties else list
        changed = low != self._from
        if not changed and high == self._to:
            return
        fresh = arranged(
            [
                each
                for each in (results[max(low, self._to) : high] if self._to < high else ())
                if each.value is not None and is_own(each.patient)
            ]
        )
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
                    *arranged([each for each in head if each.value is not None and is_own(each.patient)]),
                ]
                ends = [min(usable, key=rank), max(usable, key=rank)] if usable else []
                self._head = (low, ends)
            elif low >= FIRST_KEPT:
                self._head = (low, [])
            for each in arranged(self._tail(results, low, high, is_own)):
                value = rank(each)
                while self._lows and self._lows[-1][0] > value:
                    self._lows.pop()
                while self._highs and self._highs[-1][0] < value:
                    self._highs.pop()
                self._lows.append((value, each))
                self._highs.append((value, each))
        if fresh:
            self.newest = arranged([*self.newest, *fresh])[-self.kept :]
        if changed or fresh:
            self.shown = None
        self._from, self._to = low, high

    def _tail(
        self, results: list[Result], low: int, high: int, is_own: Callable[[str], bool]
    ) -> list[Result]:
        tail = results[max(low, self._to, FIRST_KEPT) : high]
        return [each for each in tail if each.value is not None and is_own(each.patient)]

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


class Kept:
    """The results of one window of a moment that is past, and what its reader made of them."""

    __slots__ = ("changed", "first", "last", "own", "results", "shown", "told_by")

    def __init__(self, first: int | None, last: int, told_by: int, own: str, results: list[Result]) -> None:
        self.first, self.last, self.told_by, self.own = first, last, told_by, own
        self.results = results
        self.shown: Reading | None = None
        #: What counted by what was known then, and is another now, or gone; None until somebody asks.
        self.changed: list[Result] | None = None

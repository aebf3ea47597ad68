"""The results of one fact by their places, and the windows that look at them.

A place is when a result was collected and which one it is. What does not count has its place and no value.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator
from typing import Any

from umbridge.stay.results import by_time
from umbridge.stay.results.by_time import Look, in_order
from umbridge.stay.results.statements import Place, Result, nothing


class Placed:
    """The first and the newest places, in order, and what counts at each."""

    __slots__ = ("_has_ties", "_looks", "_places", "_results")

    def __init__(self) -> None:
        self._has_ties = False  # whether any two have one time
        self._places: list[Place] = []
        self._results: list[Result] = []
        self._looks: dict[object, Look] = {}

    def settle(self) -> None:
        """Bring in what came later than it was told, before anybody looks."""

    def at(self, moment: int) -> Iterator[Place]:
        """The places of what was collected at a moment."""
        index = bisect_left(self._places, (moment,))
        while index < len(self._places) and self._places[index][0] == moment:
            yield self._places[index]
            index += 1

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
        self.settle()
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
        look.reach(self._results, low, high, first, is_own, has_ties=self._has_ties)
        return look if look.newest else None

    def publish(self, place: Place, result: Result | None) -> None:
        """Let this be what counts at a place, where that is kept."""
        index = bisect_left(self._places, place)
        if index == len(self._places) or self._places[index] != place:
            return
        held = self._results[index]
        if result is None or result.value is None:
            result = nothing(place)
        if result != held:
            self._results[index] = result
            self._looks.clear()

    def insert(self, place: Place, result: Result | None) -> Place | None:
        """Put in what counts at a place. Returns the place that is no longer kept for it, if there is one."""
        places = self._places
        index = len(places)
        if places and place <= places[-1]:
            index = bisect_left(places, place)
            self._looks.clear()
        shown = nothing(place) if result is None or result.value is None else result
        if places and (
            places[index - 1][0] == place[0] or places[min(index, len(places) - 1)][0] == place[0]
        ):
            self._has_ties = True
            if self._is_told_before(index, shown):
                self._looks.clear()
        places.insert(index, place)
        self._results.insert(index, shown)
        if len(places) <= by_time.FIRST_KEPT + by_time.NEWEST_KEPT:
            return None
        gone, lost = self._results[by_time.FIRST_KEPT], places[by_time.FIRST_KEPT]
        del places[by_time.FIRST_KEPT], self._results[by_time.FIRST_KEPT]
        if places[by_time.FIRST_KEPT][0] == lost[0]:  # which of one time a look holds is another order
            self._looks.clear()
        self._looks = {kind: look for kind, look in self._looks.items() if look.forget(gone)}
        return lost

    def _is_told_before(self, index: int, result: Result) -> bool:
        """Whether any of those of one time that stand before a place was told after what comes there."""
        while index and self._places[index - 1][0] == result.at:
            index -= 1
            if self._results[index].order > result.order:
                return True
        return False

    def between(self, first: int | None, last: int) -> list[Result]:
        """All from ``first`` to ``last``, both included, oldest first; what does not count has no value."""
        self.settle()
        low = 0 if first is None else bisect_left(self._places, (first,))
        found = self._results[low : bisect_right(self._places, (last + 1,))]
        return in_order(found) if self._has_ties else found

    def count(self, first: int | None, last: int) -> int:
        """How many are kept from ``first`` to ``last``, both included, whether or not they count."""
        low = 0 if first is None else bisect_left(self._places, (first,))
        return bisect_right(self._places, (last + 1,)) - low

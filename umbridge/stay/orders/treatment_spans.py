"""When treatments began and ended by their orders, and which of them are in force at an instant."""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections.abc import Callable, Iterable, Iterator
from itertools import chain, islice
from typing import Any, NamedTuple

_FEW = 64  # runs that are looked at one by one


class Turn(NamedTuple):
    """At ``at`` an order began or ended, by the statement of that receipt number and part."""

    at: int
    sent: int
    seq: int
    part: int
    is_on: bool
    key: str
    source: str
    patient: str
    rates: tuple[tuple[int, str, str], ...] = ()  # of a beginning: from when, how fast, source; as told
    is_unsure: bool = False  # of a beginning: whether its timing may say that it does not run

    def rate(self, at: int) -> tuple[int, str, str] | None:
        """How fast at an instant, since when and by what; None where nobody said. The last told counts."""
        since, rate, source = next((each for each in reversed(self.rates) if each[0] <= at), (0, "", ""))
        return (max(since, self.at), rate, source) if rate not in ("", "?") else None


class InForce:
    """The orders of one treatment. Answers "is one in force" without going through all of them."""

    __slots__ = ("_by_end", "_by_start", "_open", "_turns", "has_unsure")

    def __init__(self) -> None:
        self._turns: list[Turn] = []
        self._open: list[Turn] = []  # runs without an end
        self._by_start: list[tuple[Turn, int]] = []  # runs with one, and when
        self._by_end: list[tuple[int, Turn]] = []
        self.has_unsure = False  # whether any ever was

    def add(self, start: Turn, end: Turn | None) -> None:
        self.has_unsure = self.has_unsure or start.is_unsure
        if end is None:
            insort(self._turns, start)
            insort(self._open, start)
            return
        if end.at > start.at:
            insort(self._turns, start)
            insort(self._by_start, (start, end.at))
            insort(self._by_end, (end.at, start))
        insort(self._turns, end)

    def remove(self, start: Turn, end: Turn | None) -> None:
        """Take back what ``add`` was given."""
        if end is None:
            _drop(self._turns, start)
            _drop(self._open, start)
            return
        if end.at > start.at:
            _drop(self._turns, start)
            _drop(self._by_start, (start, end.at))
            _drop(self._by_end, (end.at, start))
        _drop(self._turns, end)

    def in_force(self, at: int, is_own: Callable[[str], bool]) -> Turn | None:
        """The newest order in force at an instant, of patients that ``is_own`` accepts."""
        running = (self._open[n] for n in range(bisect_right(self._open, (at + 1,)) - 1, -1, -1))
        own = (
            next((turn for turn in each if is_own(turn.patient)), None)
            for each in (running, self._stopping(at))
        )
        return max((turn for turn in own if turn is not None), default=None)

    def _stopping(self, at: int) -> Iterable[Turn]:
        """The runs with an end that go on at an instant, newest first."""
        place = bisect_right(self._by_end, (at + 1,))
        if len(self._by_end) - place <= _FEW:
            return sorted((turn for _, turn in self._by_end[place:] if turn.at <= at), reverse=True)
        last = bisect_right(self._by_start, ((at + 1,),))  # so many go on that one of the newest does
        back = (self._by_start[n] for n in range(last - 1, -1, -1))
        return (turn for turn, end in back if end > at)

    def every(self, at: int, is_own: Callable[[str], bool]) -> list[Turn]:
        """All orders in force at an instant, oldest first."""
        running = self._open[: bisect_right(self._open, (at + 1,))]
        return sorted(turn for turn in (*running, *self._stopping(at)) if is_own(turn.patient))

    def is_unsure(self, at: int, is_own: Callable[[str], bool]) -> bool:
        """Whether one is in force at an instant, and of none of them it is sure that it runs."""
        if not self.has_unsure:  # nearly always
            return False
        its = self.every(at, is_own)
        return bool(its) and all(turn.is_unsure for turn in its)

    def was_told(self, at: int, sent: int, is_own: Callable[[str], bool]) -> bool:
        """Whether one in force at an instant had been told of at another."""
        running = islice(self._open, bisect_right(self._open, (at + 1,)))
        its = chain(running, self._stopping(at))
        return any(turn.sent <= sent and is_own(turn.patient) for turn in its)

    def goes_on(self, at: int, sent: int, is_own: Callable[[str], bool]) -> bool:
        """Whether one of those has not been ended since by a statement about itself; a stop time is none."""
        its = [turn for turn in self.every(at, is_own) if turn.sent <= sent]
        ended = {(t.key, t.patient) for t in self._turns if not t.is_on and t.at >= at and t.sent > sent}
        return any((turn.key, turn.patient) not in ended for turn in its)

    def ended(self, since: int, at: int, is_own: Callable[[str], bool]) -> tuple[int, Turn] | None:
        """The last of those that ended after ``since`` and by ``at``, and when. What never ran is none."""
        low, high = bisect_right(self._by_end, (since + 1,)), bisect_right(self._by_end, (at + 1,))
        return next((each for each in reversed(self._by_end[low:high]) if is_own(each[1].patient)), None)

    def begins(self, at: int, until: int, is_own: Callable[[str], bool]) -> Turn | None:
        """The first that is to begin after ``at`` and by ``until``, told of by ``at``."""
        low, high = bisect_right(self._turns, (at + 1,)), bisect_right(self._turns, (until + 1,))
        return next(
            (t for t in self._turns[low:high] if t.is_on and t.sent <= at and is_own(t.patient)), None
        )

    def newest(self, at: int, is_own: Callable[[str], bool]) -> Turn | None:
        """The newest turn up to an instant, on or off: what a treatment's OBX is older or newer than."""
        place = bisect_right(self._turns, (at + 1,))
        return next(
            (self._turns[n] for n in range(place - 1, -1, -1) if is_own(self._turns[n].patient)), None
        )

    def __iter__(self) -> Iterator[Turn]:
        return iter(self._turns)

    def __bool__(self) -> bool:
        return bool(self._turns)


def _drop(held: list[Any], gone: object) -> None:
    del held[bisect_left(held, gone)]

"""What of one result came in and cannot be read, for as long as it would be what counts.

A number in an unknown unit or under a status of no table is no value, and must not pass for "not measured".
It is kept here in the order told, beside what is in force, until something is told in its place that can be
used or that takes it back. It never changes which value is read.
"""

from __future__ import annotations

from collections.abc import Iterator

from umbridge.stay.reasons import Reason
from umbridge.stay.results.statements import CONFIRMED, FINAL, PRELIMINARY, REPORT_WITHDRAWN, UNREAD, Result

_When = tuple[int, int]


class Unread:
    """The unread statements of one result that nothing has settled. ``hear`` takes what is told, in order."""

    __slots__ = ("_at", "_vague")

    def __init__(self) -> None:
        self._at: dict[_When, list[Result]] = {}  # by the time that they carry
        self._vague = 0  # how many of these times are no moments

    def __bool__(self) -> bool:
        return bool(self._at)

    def settle(self, told: Result, *, is_only: bool) -> None:
        """Take away what a statement says anew or takes back. ``is_only``: it can mean no other value.

        A final value is changed by a final or a corrected one, never by a preliminary one (table 0085).
        """
        if told.kind in (CONFIRMED, UNREAD) or not self._at:
            return
        if told.kind == REPORT_WITHDRAWN:
            self._at.clear()
            self._vague = 0
            return
        when = (told.first, told.last)
        if told.first == told.last and not self._vague:
            met = [when] if when in self._at else []
        else:
            met = [each for each in self._at if each[0] <= told.last and told.first <= each[1]]
        if not met and is_only and told.kind > FINAL and len(self._at) == 1:
            met = list(self._at)
        for each in met:
            self._keep(each, [held for held in self._at[each] if not _answers(told, held, each == when)])

    def add(self, stated: Result) -> None:
        when = (stated.first, stated.last)
        if when not in self._at:
            self._vague += when[0] != when[1]
        self._at.setdefault(when, []).append(stated)

    def lose(self, stated: Result) -> None:
        """Forget a statement that is no longer kept."""
        when = (stated.first, stated.last)
        if when in self._at:
            self._keep(when, [held for held in self._at[when] if held is not stated])

    def that_matter(self, newest: int | None) -> list[Result]:
        """Those that still matter. ``newest``: when the newest usable value of the fact was collected.

        A text hides no value: a later sample answers it. A number that could not be read may be the worst.
        """
        return [
            each
            for each in self._all()
            if each.original != Reason.COMMENT or newest is None or newest <= each.at
        ]

    def _all(self) -> Iterator[Result]:
        for held in self._at.values():
            yield from held

    def _keep(self, when: _When, held: list[Result]) -> None:
        if held:
            self._at[when] = held
        else:
            del self._at[when]
            self._vague -= when[0] != when[1]


def _answers(told: Result, held: Result, is_same_time: bool) -> bool:
    """Whether a statement is about a value that is unread. Two that one message has alike are two."""
    if told.seq == held.seq:
        return False
    if told.kind == PRELIMINARY and held.kind not in (PRELIMINARY, UNREAD):
        return False
    is_stated_again = told.kind <= FINAL and PRELIMINARY <= held.kind <= FINAL and is_same_time
    return told.nth == held.nth or not is_stated_again

"""The values of one result that stand: by the time that they carry, and which of them are preliminary."""

from __future__ import annotations

from collections.abc import Iterator

from umbridge.stay.clock import MINUTE
from umbridge.stay.results.one_value import Value
from umbridge.stay.results.statements import NEVER, REPORT_WITHDRAWN, Result


class Upright:
    """Values in the order in which they came to stand."""

    __slots__ = ("_at", "_values", "early", "vague")

    def __init__(self) -> None:
        self._values: dict[Value, None] = {}
        self._at: dict[tuple[int, int], list[Value]] = {}  # by the time they carry
        self.early: dict[Value, None] = {}  # those that are preliminary
        self.vague = 0  # how many that ever stood have no exact time

    def __iter__(self) -> Iterator[Value]:
        return iter(self._values)

    def __contains__(self, value: Value) -> bool:
        return value in self._values

    def __bool__(self) -> bool:
        return bool(self._values)

    def add(self, value: Value) -> None:
        slot = value.slot
        self._values[value] = None
        if not value.is_final:
            self.early[value] = None
        self._at.setdefault((slot.first, slot.last), []).append(value)
        self.vague += slot.first != slot.last

    def remove(self, value: Value) -> None:
        slot = value.slot
        del self._values[value]
        self.early.pop(value, None)
        self._at[slot.first, slot.last].remove(value)

    def at(self, stated: Result) -> list[Value]:
        """Those of the very time that a statement carries."""
        return self.of((stated.first, stated.last))

    def of(self, when: tuple[int, int]) -> list[Value]:
        """Those of a time as it was sent."""
        return self._at.get(when, [])

    def early_of(self, stated: Result) -> list[Value]:
        """The preliminary values that a final of another time may be the final of.

        Laboratories say when a specimen was received, and with the final when it was drawn. What was
        collected after a preliminary value had been told is another specimen.
        """
        if stated.first == NEVER:
            return []
        return [
            value
            for value in self.early
            if value.slot.sent >= stated.first and value.content.seq != stated.seq and not value.is_held
        ]

    def others(self, stated: Result) -> list[Value]:
        """Those that another message told of."""
        return [each for each in self._values if each.content.seq != stated.seq]

    def of_time(self, stated: Result) -> list[Value]:
        """Those of its time that another message told of; where none is, those that a day may mean."""
        if stated.first == NEVER or stated.kind == REPORT_WITHDRAWN:
            return []
        found = [each for each in self.at(stated) if each.content.seq != stated.seq]
        if found or not (self.vague or stated.first != stated.last):
            return found
        near = self.others(stated)
        return [each for each in near if each.slot.first != NEVER and overlap(each.slot, stated)]


def overlap(one: Result, other: Result) -> bool:
    """Whether their times as sent can be one."""
    return can_be_one((one.first, one.last), (other.first, other.last))


def can_be_one(one: tuple[int, int], other: tuple[int, int]) -> bool:
    """Whether two times can be one, each by the first and the last moment that it can mean.

    An hour that the clock has twice leaves two moments, and none between them: whole minutes apart, as no
    hour or day is that ends with its last second.
    """
    if one[0] > other[1] or other[0] > one[1]:
        return False
    return not any(
        two[0] != two[1]
        and (two[1] - two[0]) % MINUTE == 0
        and not any(its[0] <= end <= its[1] for end in two)
        for two, its in ((one, other), (other, one))
    )

"""What the writer knows without asking the database; changed by whole transactions, after COMMIT.

Inside a transaction everybody sees ``Working``: what is remembered, and what this transaction has learnt. A
transaction that is rolled back has taught nothing, so its commands can be applied again.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeVar

from umbridge.store.patient_index import Known, Learnt

T = TypeVar("T")


class Memory:
    """The last row's number, lanes that miss a message, rows set aside while worked, numbers seen lately."""

    def __init__(
        self, last: int, quarantined: Iterable[bytes] = (), unsorted: int = 0, *, waits: bool = False
    ) -> None:
        self.last = last
        self.quarantined = set(quarantined)  # lanes
        self.suspects: set[int] = set()  # rows set aside after they were answered, maybe while being worked
        self.unsorted = unsorted  # rows whose search tokens are not where they are looked up
        self.known = Known(waits=waits)


class Working:
    """A memory inside one transaction. ``keep`` when it is durable; else nobody hears of it."""

    def __init__(self, memory: Memory) -> None:
        self._memory = memory
        self._last = memory.last
        self._quarantined: dict[bytes, bool] = {}
        self._suspects: dict[int, bool] = {}
        self.unsorted = memory.unsorted
        self.learnt = Learnt(memory.known)

    def next_seq(self) -> int:
        """The number of a row that is new in this transaction."""
        self._last += 1
        return self._last

    def is_quarantined(self, lane: bytes | None) -> bool:
        """Whether a message of this lane waits for a person."""
        return self._quarantined.get(lane, lane in self._memory.quarantined) if lane is not None else False

    def set_quarantined(self, lane: bytes, waits: bool) -> None:
        self._quarantined[lane] = waits

    def is_suspect(self, seq: int) -> bool:
        """Whether the row was set aside after it was answered."""
        return self._suspects.get(seq, seq in self._memory.suspects)

    def set_suspect(self, seq: int, is_so: bool) -> None:
        self._suspects[seq] = is_so

    def keep(self) -> None:
        """The transaction is durable."""
        self._memory.last, self._memory.unsorted = self._last, self.unsorted
        _keep(self._memory.quarantined, self._quarantined)
        _keep(self._memory.suspects, self._suspects)
        self.learnt.keep()


def _keep(into: set[T], learnt: dict[T, bool]) -> None:
    for each, is_in in learnt.items():
        if is_in:
            into.add(each)
        else:
            into.discard(each)

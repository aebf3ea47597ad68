"""Operations and other procedures of one stay (PR1), done or planned: when each is, as last told."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from umbridge.model import Event
from umbridge.stay.clock import instant

DIAGNOSTIC = "D"  # PR1-6, table 0230


class Procedure(NamedTuple):
    """One PR1, as the increment keeps it. Times are instants."""

    at: int
    code: str
    patient: str
    sent: int
    seq: int
    is_gone: bool
    source: str


def procedures_of(event: Event, seq: int, patient: str) -> list[Procedure]:
    """Those that need the hospital: not what only looks (PR1-6 D), unless somebody gave an anaesthetic."""
    sent = instant(event.sent_at)
    return [
        Procedure(instant(each.at), each.code, patient, sent, seq, each.deleted, each.source)
        for each in event.procedures
        if each.kind != DIAGNOSTIC or each.is_anaesthetic
    ]


class Procedures:
    """The register. A message lists them all again: what it says of one takes the place of what was said."""

    def __init__(self) -> None:
        self._said: dict[tuple[int, str, str], list[Procedure]] = {}

    def add(self, said: Procedure) -> None:
        """Of those that say the same the first is kept, and the last: when it was told, and how it stands."""
        held = self._said.setdefault(said[:3], [])
        held.append(said)
        if len(held) > 2:
            ordered = sorted(held, key=lambda each: each[3:])
            held[:] = [ordered[0], ordered[-1]]

    def between(
        self, first: int, last: int, told_by: int, is_own: Callable[[str], bool]
    ) -> Iterable[Procedure]:
        """Those of a stretch of time, oldest first; otherwise as ``told``."""
        return sorted(each for each in self.told(told_by, is_own) if first <= each.at <= last)

    def told(self, told_by: int, is_own: Callable[[str], bool]) -> Iterator[Procedure]:
        """Those that stand, whenever they are, told of by ``told_by``, of ``is_own`` patients."""
        for held in self._said.values():
            told = min(held, key=lambda each: each[3:])
            stands = not max(held, key=lambda each: each[3:]).is_gone
            if stands and told.sent <= told_by and is_own(told.patient):
                yield told

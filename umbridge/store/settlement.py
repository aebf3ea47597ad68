"""What a person does with rows that were set aside, as commands: work them again, or lay them to rest."""

from __future__ import annotations

from dataclasses import dataclass

from umbridge.errors import UsageError
from umbridge.model import RowState
from umbridge.stay.identity import Named
from umbridge.store.batch import WORKED
from umbridge.store.commands import Transaction
from umbridge.store.inbox import Row

REPLAYABLE = ("QUARANTINED", "IGNORED", *WORKED)
DISMISSABLE = ("QUARANTINED",)


@dataclass(frozen=True, slots=True, kw_only=True)
class Again:
    """A row to be worked again: what it is found by, and the numbers that its parts name."""

    seq: int
    found_by: tuple[bytes, ...]
    named: tuple[Named[bytes], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Settled:
    """What became of one row: its state, and the child that is worked in its place."""

    seq: int
    state: str
    child: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Replay:
    """Each row stored again as its own child. Raises UsageError, nothing written, if one is not to be."""

    rows: tuple[Again, ...]
    user: str
    reason: str
    by: str

    def apply(self, tx: Transaction) -> tuple[Settled, ...]:
        states = [fit(tx.row(row.seq, leniently=True), row.seq, REPLAYABLE) for row in self.rows]
        settled = []
        for row, state in zip(self.rows, states, strict=True):
            child = tx.replay(row.seq, self.user, self.reason, self.by, row.found_by, row.named)
            now = state if state in WORKED else RowState.REPLAYED.value
            settled.append(Settled(seq=row.seq, state=now, child=child.seq))
        return tuple(settled)


@dataclass(frozen=True, slots=True, kw_only=True)
class Dismiss:
    """Each row laid to rest. Raises UsageError, nothing written, if one is not to be."""

    seqs: tuple[int, ...]
    user: str
    reason: str
    by: str

    def apply(self, tx: Transaction) -> tuple[Settled, ...]:
        for seq in self.seqs:
            fit(tx.row(seq, leniently=True), seq, DISMISSABLE)
        for seq in self.seqs:
            tx.dismiss(seq, self.user, self.reason, self.by)
        return tuple(Settled(seq=seq, state=RowState.DISMISSED.value) for seq in self.seqs)


def fit(row: Row | None, seq: int, states: tuple[str, ...]) -> str:
    """The row's state. Raises UsageError unless there is such a row in one of ``states``."""
    if row is None:
        raise UsageError(f"there is no message {seq}; nothing was done")
    if row.state not in states:
        raise UsageError(f"message {seq} is {row.state}, not {' or '.join(states)}; nothing was done")
    return row.state

"""What may be written, as values: a command names operations of a transaction and changes nothing else.

A command is frozen and is applied inside one transaction. What memory has to learn of it comes back as its
result, after COMMIT: so it can be applied again, by another writer or after a failed attempt. Neither a
command nor a transaction's signatures know which database there is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol, TypeVar

from umbridge_audit.entry import Draft, EncodedDraft
from umbridge_audit.handover import Handover

from umbridge.model import RowState
from umbridge.review.standing import LaneReviews
from umbridge.review.worklist import WorklistLine
from umbridge.stay.identity import Named
from umbridge.store.inbox import Row, Stored
from umbridge.store.patient_index import Refold
from umbridge.store.refusals import Refusal

R_co = TypeVar("R_co", covariant=True)


class Transaction(Protocol):
    """One transaction being filled: what it writes is durable together, or not at all."""

    @property
    def now(self) -> datetime:
        """The one moment of this transaction."""

    @property
    def next_entry(self) -> int:
        """The number that the next entry of this transaction will have."""

    def entry(self, draft: Draft | EncodedDraft) -> int:
        """Put an entry on the ledger; returns its number."""

    def hand_over(self, key: bytes, actor: str) -> Handover:
        """The entry from which on the signing key that waits, by its public half, signs; what both signed.

        What is signed names the entry's own number. Raises SignerAwayError or SignerRefusedError before
        anything is written.
        """

    def keep_cosignature(self, size: int, line: str) -> None:
        """Keep a witness's line over the checkpoint of ``size`` entries; the same line twice is one."""

    # -- short facts the store keeps about itself

    def note(self, name: str) -> str | None: ...

    def notes_under(self, prefix: str) -> dict[str, str]:
        """Every note whose name begins so, by name."""

    def put_note(self, name: str, value: str) -> None: ...

    def drop_note(self, name: str) -> None: ...

    def count_refusal(self, refusal: Refusal) -> None:
        """Count bytes that never became a frame, or connections that never came to one."""

    def count_unused(self, feed: str, found: Mapping[str, int]) -> None:
        """Count what of a feed's messages is not used, by "FIELD reason"."""

    # -- rows

    def row(self, seq: int, *, leniently: bool = False) -> Row | None:
        """One row, opened. ``leniently``: one that does not open has no head, no frame, and says so as its
        reason; else it raises SealError."""

    def strike(self, seq: int) -> None:
        """Count one more process that died of a pending row."""

    def finish(self, seq: int, state: RowState, reason: str) -> None:
        """A pending row is worked: say what became of it."""

    def take(self, lane: bytes, seq: int, reason: str) -> None:
        """A lane has taken in its share of a row. With the last of them the row is finished."""

    def set_aside(self, lane: bytes, seq: int, reason: str) -> None:
        """A lane's share of a row waits for a person, and with it the row."""

    def suspect(self, seq: int) -> None:
        """A message that was accepted turns out to be half of one: a person decides what was made of it."""

    def dismiss(self, seq: int, user: str, reason: str, by: str) -> None:
        """Lay a quarantined row to rest."""

    def replay(
        self,
        seq: int,
        user: str,
        reason: str,
        by: str,
        found_by: Sequence[bytes],
        named: Sequence[Named[bytes]],
    ) -> Stored:
        """Store a row again as its own child, to be worked as if it came now."""

    def register(self, seq: int, parts: Sequence[tuple[Named[bytes], bytes | None]]) -> tuple[Refold, ...]:
        """A worked row under the names that its numbers have now, each part with its visit as it was spelt.

        Returns the lanes that have to be folded again.
        """

    def sort_tokens(self, most: int) -> int:
        """Move the search tokens of up to ``most`` rows to where they are looked up; of how many rows."""

    # -- stays

    def save_stay(
        self, lane: bytes, seq: int, said: LaneReviews, head: bytes, increments: Sequence[tuple[int, bytes]]
    ) -> None:
        """Replace the lane's head and append increments."""

    def stay_seq(self, lane: bytes) -> int | None:
        """The last row that the lane's stay has taken in, None where there is no stay."""

    def save_open_reviews(
        self,
        lane: bytes,
        lines: Sequence[WorklistLine],
        before: Sequence[WorklistLine] | None = None,
    ) -> None:
        """Have exactly these lines of the worklist for the lane. ``before``: what it has."""

    def list_unreadable(self, lane: bytes) -> None:
        """Have one line for the lane that says nothing but that the stay does not open."""

    def renew_stay(self, lane: bytes, increments: Sequence[tuple[int, bytes]]) -> None:
        """Replace every increment of a lane."""

    def next_replay(self, seq: int) -> int:
        """The number of the next time that a row's reviews are answered anew, from 1."""

    def record_determinations(self, rows: Sequence[tuple[int, str, str, int, int]]) -> None:
        """(row, review, plugin, replay, entry) each; a second one for the same key fails the transaction."""

    def wait_until(self, lane: bytes, due: int | None) -> None:
        """When the lane's next review opens by the clock alone; None: at no time."""

    def no_longer_due(self, lane: bytes, due: int) -> None:
        """That moment is past; another may have been set meanwhile."""

    def join_lanes(self, gone: bytes, into: bytes) -> None:
        """The lane ``gone`` is no more: its rows are ``into``'s, its lines of the worklist are gone.

        Its stay is the caller's to fold again.
        """

    def refolded(self, lane: bytes, until: int) -> None:
        """The lane has been folded again with every row up to ``until``."""


class Command(Protocol[R_co]):
    """A frozen value that is applied in one transaction.

    An error of ours that is raised before the first write refuses the command: nothing is written and only
    its caller hears. Any other failure stops the writer.
    """

    def apply(self, tx: Transaction) -> R_co: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class WriteEntries:
    """Entries that say something by themselves. Returns their numbers."""

    drafts: tuple[Draft, ...]

    def apply(self, tx: Transaction) -> tuple[int, ...]:
        return tuple(tx.entry(draft) for draft in self.drafts)


@dataclass(frozen=True, slots=True, kw_only=True)
class WriteEntry:
    """One entry. Returns its number."""

    draft: Draft

    def apply(self, tx: Transaction) -> int:
        return tx.entry(self.draft)


@dataclass(frozen=True, slots=True, kw_only=True)
class WriteWithNote:
    """Entries, and the note that goes with them, together: either both are durable or neither is."""

    drafts: tuple[Draft, ...]
    name: str
    value: str

    def apply(self, tx: Transaction) -> None:
        for draft in self.drafts:
            tx.entry(draft)
        tx.put_note(self.name, self.value)


@dataclass(frozen=True, slots=True, kw_only=True)
class WriteOnChange:
    """An entry, unless the note ``name`` has ``value`` already: what is in force is said once.

    Returns whether it was written.
    """

    draft: Draft
    name: str
    value: str

    def apply(self, tx: Transaction) -> bool:
        if tx.note(self.name) == self.value:
            return False
        tx.put_note(self.name, self.value)
        tx.entry(self.draft)
        return True


@dataclass(frozen=True, slots=True, kw_only=True)
class CountRefusals:
    """Bytes that never became a frame, or connections that never came to one."""

    refusals: tuple[Refusal, ...]

    def apply(self, tx: Transaction) -> None:
        for refusal in self.refusals:
            tx.count_refusal(refusal)


@dataclass(frozen=True, slots=True, kw_only=True)
class KeepCosignature:
    """A witness's line over the checkpoint of ``size`` entries."""

    size: int
    line: str

    def apply(self, tx: Transaction) -> None:
        tx.keep_cosignature(self.size, self.line)


@dataclass(frozen=True, slots=True, kw_only=True)
class SetSuspect:
    """What followed an answered frame shows that it was half of one."""

    seq: int

    def apply(self, tx: Transaction) -> None:
        tx.suspect(self.seq)


@dataclass(frozen=True, slots=True, kw_only=True)
class SortTokens:
    """Search tokens that were written in a hurry, put in order. Returns of how many rows."""

    most: int

    def apply(self, tx: Transaction) -> int:
        return tx.sort_tokens(self.most)

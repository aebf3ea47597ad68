"""The log's signer held against the store: what it signed last is there, and the next head continues it.

The anchor file and the witnesses remember too. The signer's is the memory that travels with the key, so that
a store and an anchor which were both put back to an older state are refused.
"""

from __future__ import annotations

from collections.abc import Iterator

from umbridge_audit.checkpoint import Checkpoint, VerifierKey, signature_line, take_apart
from umbridge_audit.entry import FormatError
from umbridge_audit.examine import SourceError
from umbridge_audit.handover import Handover, from_entry, read_signed, signer_of
from umbridge_audit.kek import KeyRefusedError
from umbridge_audit.signing import Hand, LocalHand, SignerAwayError, SignerRefusedError, head_of
from umbridge_audit.store.rows import Broken, Rollback, Rows
from umbridge_audit.store.subtrees import prove_consistency
from umbridge_audit.tree import Frontier, consistent, leaf_hash

_LEAVES = "SELECT seq, leaf FROM ledger_entry WHERE seq >= ? AND seq < ? ORDER BY seq"
_PAGE = 256


class Signer:
    """Signs one log's checkpoints, whoever holds the key, and knows which key answers for which of them."""

    def __init__(self, hand: Hand, vkey: VerifierKey) -> None:
        self.hand = hand
        self.vkey = vkey  # the one in force
        self.handovers: list[Handover] = []
        self._origin = vkey.name

    def read(self, note: str) -> Checkpoint:
        """A stored note, by the key that answers for its size. Raises FormatError."""
        return read_signed(note, self.handovers, self.vkey, exact=True)

    def take(self, handover: Handover) -> None:
        """From now on the other key signs. Raises ValueError for what the one in force did not sign."""
        if handover.before != self.vkey or not handover.good():
            raise ValueError("not a handover by the key in force")
        self.handovers.append(handover)
        self.vkey = handover.after

    def learn(self, rows: Rows, newest: str) -> None:
        """Takes the handovers that are on the ledger; ``newest`` is the last checkpoint's note.

        Raises Broken for one that the key before it did not sign, KeyRefusedError when the key now due is
        not held. Where the first key signed the last checkpoint, only what came after it is looked through.
        """
        try:
            checkpoint, lines = take_apart(newest)
            name, raw = signature_line(lines[0])
        except FormatError as exc:
            raise Broken(f"last checkpoint: {exc}") from None
        first = name == self.vkey.name and raw[:4] == self.vkey.key_id
        for row in rows.open_slots(checkpoint.size if first else 0, kinds=["key.handover"]):
            at = row["seq"]
            try:
                assert isinstance(at, int)  # noqa: S101  as rows number themselves
                self.take(from_entry(at, row))
            except ValueError:
                raise Broken(f"entry {at}: not a handover by the key before it") from None
        try:
            now, waiting = self.hand.public()
            if now != self.vkey.public and waiting == self.vkey.public:
                self.hand.adopt(waiting)  # a crash came between the entry and the key's new name
            elif now != self.vkey.public:
                due = self.vkey.key_id.hex()
                raise KeyRefusedError(f"{self.hand.where}: not the key that signs {self._origin}; {due} does")
        except SignerAwayError:
            return
        except SignerRefusedError as exc:
            raise KeyRefusedError(str(exc)) from None

    def sign(self, rows: Rows, signed: Frontier, new: Frontier) -> str:
        """The note over ``new``, which was grown from ``signed``; remembered by whoever holds the key.

        Raises SignerAwayError, Broken where ``new`` is not a continuation, Rollback where the signer has
        signed what the store has not.
        """
        key = signer_of(new.size, self.handovers, self.vkey).public
        try:
            if not self.hand.apart:
                return self.hand.sign(self._origin, key, signed, new, _none)
            last = self.hand.last(self._origin)
            base = signed
            if last != head_of(self._origin, signed):
                base = self._at(rows, last, new.size)
            return self.hand.sign(self._origin, key, base, new, lambda low, high: _leaves(rows, low, high))
        except SignerRefusedError as exc:
            raise Broken(str(exc)) from None

    def resume(self, rows: Rows, stored: Checkpoint, signed: Frontier) -> None:
        """Holds the memory against the store's last good checkpoint, when the writer is taken up.

        Raises Rollback when the store is behind what was signed, or is another history. A crash may have left
        the memory one checkpoint ahead of the store, whose entries are there then; no memory at all is taken
        for a ledger from before there was one. A signer that is away is asked before it signs.
        """
        try:
            last = self.hand.last(self._origin)
            if last.size > stored.size:
                grown = signed.copy()
                for record in rows.records(stored.size, last.size):
                    grown.append(leaf_hash(record.leaf))
                if head_of(self._origin, grown) != last:
                    raise self._behind(last, grown.size)
            elif last.size:
                proof = prove_consistency(rows, last.size, stored.size, stored.root)
                if not consistent(last.size, last.root, stored.size, stored.root, proof):
                    raise Rollback(f"the signer ({self.hand.where}) signed another history of {last.size}")
            if last != stored and isinstance(self.hand, LocalHand):
                self.hand.follow(last, stored)
        except SignerRefusedError as exc:
            raise Rollback(str(exc)) from None
        except SignerAwayError:
            return

    def _at(self, rows: Rows, last: Checkpoint, size: int) -> Frontier:
        """The tree at a head that is not the store's last checkpoint, from the leaves: a crash left it."""
        frontier = Frontier()
        try:
            for page in _leaves(rows, 0, min(last.size, size)):
                frontier.extend([leaf_hash(leaf) for leaf in page])
                frontier.whole.clear()
        except SourceError as exc:
            raise Broken(f"the ledger cannot be read: {exc.code}") from None
        if head_of(self._origin, frontier) != last:
            raise self._behind(last, frontier.size)
        return frontier

    def _behind(self, last: Checkpoint, size: int) -> Rollback:
        return Rollback(
            f"the signer ({self.hand.where}): {last.size} entries were signed here, the store knows {size} "
            "or others: an older copy of it is back"
        )


def _none(_low: int, _high: int) -> Iterator[list[bytes]]:
    """Leaves for a signer in the process that has just read them."""
    return iter(())


def _leaves(rows: Rows, low: int, high: int) -> Iterator[list[bytes]]:
    """Leaves of entries [low, high), read back, a page at a time. Raises SourceError where one is missing."""
    while low < high:
        found = rows._fetch(_LEAVES, low, min(high, low + _PAGE))
        page = [leaf for _, leaf in found if isinstance(leaf, bytes)]
        if not page or [seq for seq, _ in found] != list(range(low, low + len(page))):
            raise SourceError("seq_gap", low)
        yield page
        low += len(page)

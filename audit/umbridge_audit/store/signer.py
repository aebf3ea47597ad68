"""The log's own signer: it remembers what it signed last, beside its key, and goes neither back nor aside.

The anchor file and the witnesses remember too. This is the memory that travels with the key, so that a store
and an anchor which were both put back to an older state are refused.
"""

from __future__ import annotations

from umbridge_audit.checkpoint import Checkpoint, sign
from umbridge_audit.heads import HeadError, Heads
from umbridge_audit.keys import Keyring
from umbridge_audit.store.rows import Broken, Rollback, Rows
from umbridge_audit.store.subtrees import prove_consistency
from umbridge_audit.tree import Frontier, consistent, leaf_hash


class Signer:
    """Signs one log's checkpoints. ``sign``, then ``keep`` before the note goes anywhere."""

    def __init__(self, keyring: Keyring, origin: str) -> None:
        self._keyring = keyring
        self._origin = origin
        self._heads = Heads(keyring.directory)
        self._next: tuple[Checkpoint, Checkpoint] | None = None

    def head_of(self, frontier: Frontier) -> Checkpoint:
        return Checkpoint(self._origin, frontier.size, frontier.root())

    def sign(self, signed: Frontier, new: Frontier) -> str:
        """The note over ``new``, which was grown from ``signed``. Raises Broken where that is not its own."""
        old, head = self.head_of(signed), self.head_of(new)
        try:
            last = self._heads.last(self._origin)
        except HeadError as exc:
            raise Broken(str(exc)) from None
        if last != old or head.size <= old.size:
            raise Broken("the signer has signed something else than the store says; nothing signed")
        self._next = (old, head)
        return sign(head, self._keyring.signer)

    def keep(self) -> None:
        """Remembers what was signed last, durably. Raises Broken."""
        if self._next is None:
            raise Broken("nothing was signed")
        try:
            self._heads.follow(*self._next)
        except HeadError as exc:
            raise Broken(str(exc)) from None

    def resume(self, rows: Rows, stored: Checkpoint, signed: Frontier) -> None:
        """Holds the memory against the store's last good checkpoint, when the pen is taken up.

        Raises Rollback when the store is behind what was signed, or is another history. A crash may have left
        the memory one checkpoint ahead of the store, whose entries are there then; no memory at all is taken
        for a ledger from before there was one.
        """
        try:
            last = self._heads.last(self._origin)
            if last.size > stored.size:
                grown = signed.copy()
                for record in rows.records(stored.size, last.size):
                    grown.append(leaf_hash(record.leaf))
                if self.head_of(grown) != last:
                    raise Rollback(
                        f"{self._heads.folder}: {last.size} entries were signed here, the store knows "
                        f"{grown.size} or others: an older copy of it is back"
                    )
            elif last.size:
                proof = prove_consistency(rows, last.size, stored.size, stored.root)
                if not consistent(last.size, last.root, stored.size, stored.root, proof):
                    raise Rollback(f"{self._heads.folder}: signed another history of {last.size} entries")
            if last != stored:
                self._heads.follow(last, stored)
        except HeadError as exc:
            raise Rollback(str(exc)) from None

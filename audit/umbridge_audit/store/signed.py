"""The ledger as far as it is signed: the tree, its checkpoints, the anchor, and who signs.

SPEC.md sections 8 and 18. A checkpoint is made in three steps, so that the second, which may wait for another
process, holds nobody up: ``due`` reads back, ``note`` has it signed, ``keep`` makes it durable.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from umbridge_audit.checkpoint import Checkpoint, VerifierKey, anchor_lines, append_anchor
from umbridge_audit.entry import FormatError
from umbridge_audit.examine import SourceError, examine
from umbridge_audit.fast_check import FastCheck
from umbridge_audit.handover import Handover
from umbridge_audit.keys import KeyRefusedError, Keyring
from umbridge_audit.signing import Hand, head_of
from umbridge_audit.store.made import LATER
from umbridge_audit.store.reread import read_back
from umbridge_audit.store.rows import Broken, LedgerError, Rollback, Rows
from umbridge_audit.store.signer import Signer
from umbridge_audit.store.subtrees import KEEP_SQL, reread, tree_at
from umbridge_audit.tree import Frontier, leaf_hash

_CHECKPOINT_SQL = "INSERT INTO ledger_checkpoint (n, note) VALUES (?, ?)"
_SUBTREE_SQL = "SELECT hash FROM subtree WHERE level = ? AND n = ?"
_REPLAY = 4096  # leaves read at a time when the tree is rebuilt
GEN = 1


@dataclass(frozen=True, slots=True)
class Due:
    """A checkpoint on its way: the tree signed last, the tree to sign, its last leaf's hash."""

    old: Frontier
    new: Frontier
    head: bytes
    announced: frozenset[str]  # keys whose entries it covers


class Signed(Rows):
    """One chain's tree and checkpoints. ``Ledger`` grows it."""

    keyring: Keyring

    def __init__(self, connection: sqlite3.Connection, keyring: Keyring, anchor: Path, chain: str) -> None:
        self._connection = connection
        self.keyring = keyring
        self._anchor = anchor
        self.chain = chain
        self.origin = f"umbridge.{chain}/{GEN}"
        self._checker = FastCheck(chain, GEN, "keyless")
        self._signer: Signer
        self._head = b""
        self._frontier = Frontier()
        self._signed = Frontier()  # the tree at the last checkpoint
        self._signed_head = b""
        self._read: tuple[Frontier, bytes] | None = None  # what was read back since, ahead of the next
        self._last: Checkpoint
        self._checkpoints = 0
        self.head_was = (
            ""  # what was wrong with the head row when the writer was taken up; the next append mends it
        )
        self._announced: set[str] = set()  # keys whose key.create went out since the last checkpoint

    def _cursor(self) -> sqlite3.Cursor:
        return self._connection.cursor()

    def _in_transaction(self) -> bool:
        return self._connection.in_transaction

    # --- taken up again -----------------------------------------------------------------------------

    def _engage(self, first: VerifierKey) -> None:
        """Finds who signs: ``first`` is the key that the genesis entry names. Raises as ``Signer.learn``."""
        self._signer = Signer(hand_of(self.keyring), first)
        newest = self.last_checkpoint()
        if newest is None:
            raise Broken("the ledger has no checkpoint")
        self._signer.learn(self, newest[1])

    def _reconcile(self) -> None:
        """Holds the anchor against the stored checkpoints; adds the one line a crash may have left out."""
        last = ""
        anchored = 0
        lines = self._anchored()
        for n, note in self.checkpoints():
            if n != self._checkpoints:
                raise Broken(f"checkpoint {self._checkpoints} is missing")
            line = next(lines, None)
            if line is not None:
                anchored += 1
                if line != note:
                    raise Rollback(f"{self._anchor}: line {anchored} is not the store's checkpoint")
            last = note
            self._checkpoints += 1
        if next(lines, None) is not None:
            raise Rollback(f"{self._anchor}: knows more checkpoints than the store's {self._checkpoints}")
        if not last:
            raise Broken("the ledger has no checkpoint")
        if anchored < self._checkpoints - 1:
            missing = self._checkpoints - anchored
            raise Rollback(f"{self._anchor}: {missing} lines are missing, a crash explains one")
        try:
            self._last = self._signer.read(last)
            if anchored < self._checkpoints:
                append_anchor(self._anchor, last)
        except FormatError as exc:
            raise Broken(f"last checkpoint: {exc}") from None

    def _anchored(self) -> Iterator[str]:
        try:
            yield from anchor_lines(self._anchor)
        except FileNotFoundError:
            return
        except (FormatError, OSError):
            raise Rollback(f"{self._anchor}: not readable as this ledger's anchor") from None

    def _resume(self, *, quick: bool) -> None:
        """The tree at the last checkpoint; what that does not cover is read and checked in full.

        ``quick``: from kept subtrees, where those give the signed root; else from every leaf.
        """
        kept = tree_at(self, self._last.size, self._last.root) if quick else None
        if kept is None:
            self._replay()
        else:
            self._frontier, self._head = kept
        self._signed, self._signed_head = self._frontier.copy(), self._head
        self._frontier, self._head = self._reread()

    def _hold_head(self) -> None:
        """Holds the head row against the entries, which are believed. Raises Broken where some are gone."""
        try:
            found = self._fetch("SELECT size, hash, frontier FROM chain_head WHERE n = 0")
        except SourceError:
            self._commit(*((sql, ()) for sql in LATER))
            found = []
        size = found[0][0] if found else None
        if isinstance(size, int) and size > self._frontier.size:
            raise Broken(
                f"the store's head knows {size} entries and the ledger has {self._frontier.size}: "
                "rows are gone; restore a backup"
            )
        if found != [(self._frontier.size, self._head, self._frontier.packed())]:
            self.head_was = "wrong" if found else "missing"

    def _replay(self) -> None:
        """Rebuilds the tree from every leaf."""
        low = 0
        while rows := self._fetch(
            "SELECT seq, leaf FROM ledger_entry WHERE seq >= ? AND seq < ? ORDER BY seq LIMIT ?",
            low,
            self._last.size,
            _REPLAY,
        ):
            for seq, leaf in rows:
                if seq != low or not isinstance(leaf, bytes):
                    raise Broken(f"entry {low} is missing")
                low += 1
                self._head = leaf_hash(leaf)
                self._frontier.append(self._head)
            self._mend()
        if (self._frontier.size, self._frontier.root()) != (self._last.size, self._last.root):
            raise Broken("the entries do not give the last checkpoint's root; run ledger verify")

    def _mend(self) -> None:
        """Writes kept subtrees again that are missing or are not what the leaves just gave."""
        whole, self._frontier.whole = self._frontier.whole, []
        try:
            whole = [node for node in whole if self._fetch(_SUBTREE_SQL, *node[:2]) != [(node[2],)]]
        except SourceError:
            self._commit(*((sql, ()) for sql in LATER))
        if whole:
            self._commit(*((KEEP_SQL, node) for node in whole))

    # --- checkpoints --------------------------------------------------------------------------------

    def checkpoint(self) -> bool:
        """``due``, ``note`` and ``keep`` in one; False when nothing is new."""
        due = self.due()
        if due is None:
            return False
        self.keep(due, self.note(due))
        return True

    def read_back(self, count: int) -> None:
        """Reads up to ``count`` committed rows again, those after the rows read last.

        The next checkpoint then has as many less to read: a second's rows at once would keep everybody
        waiting. Rows that are not as they were written are left to ``due``, which refuses them. Call
        outside a transaction; raises LedgerError inside one.
        """
        if self._in_transaction():
            raise LedgerError("reading back needs a connection without an open transaction")
        self._read = self._read_written(count) or self._read

    def _read_written(self, limit: int | None = None) -> tuple[Frontier, bytes] | None:
        since, head = self._read or (self._signed, self._signed_head)
        return read_back(self, self._checker, since, head, limit)

    @property
    def unread(self) -> int:
        """Entries that were not read back since the last checkpoint."""
        return self._frontier.size - (self._read or (self._signed, b""))[0].size

    def due(self) -> Due | None:
        """What is to be signed next: the present size; None when nothing is new. Call outside a transaction.

        What is signed is what the database gives back: rows since the last checkpoint are read and hashed
        again first (a bit flipped in memory ended the CT log Yeti 2022). Raises Broken when the rows differ
        from what was appended, LedgerError inside a transaction.
        """
        if self._in_transaction():
            raise LedgerError("checkpoint needs a connection without an open transaction")
        if self._frontier.size == self._signed.size:
            return None
        stored, head = self._read_written() or self._reread()
        if stored.size != self._frontier.size or stored.root() != self._frontier.root() or head != self._head:
            raise Broken("the stored rows are not those that were appended; nothing signed")
        previous = self.last_checkpoint()
        if (previous is None) != (self._checkpoints == 0) or (
            previous is not None
            and (
                previous[0] != self._checkpoints - 1
                or self._signer.read(previous[1]).root != self._signed.root()
            )
        ):
            raise Broken("the last stored checkpoint is not the one that was signed; nothing signed")
        return Due(self._signed, stored, head, frozenset(self._announced))

    def note(self, due: Due, rows: Rows | None = None) -> str:
        """Has it signed; the signer remembers it. May wait for another process: entries may be appended
        meanwhile, but only if ``rows`` is another connection's. Raises as ``Signer.sign``.
        """
        note = self._signer.sign(rows or self, due.old, due.new)
        try:
            signed = self._signer.read(note)
        except FormatError:
            raise Broken("the signer's note is not by the key in force") from None
        if signed != head_of(self.origin, due.new):
            raise Broken("the signer signed something else than it was asked to")
        return note

    def keep(self, due: Due, note: str) -> None:
        """Makes a signed note durable: row, commit, then the anchor line. Waits for disks; any thread may."""
        kept = [(KEEP_SQL, node) for node in due.new.whole]
        self._commit((_CHECKPOINT_SQL, (self._checkpoints, note)), *kept)
        append_anchor(self._anchor, note)
        self._checkpoints += 1
        self._signed, self._signed_head = due.new, due.head
        self._signed.whole.clear()
        if self._read is not None and self._read[0].size > due.new.size:  # it went on meanwhile
            self._read[0].whole = [
                node for node in self._read[0].whole if (node[1] + 1) << node[0] > due.new.size
            ]
        else:
            self._read = None
        self.keyring.mark_logged(set(due.announced))
        self._announced -= due.announced

    def _commit(self, *statements: tuple[str, tuple[object, ...]]) -> None:
        """A transaction on the driver: right whatever isolation level the connection has."""
        with closing(self._cursor()) as cursor:
            cursor.execute("BEGIN IMMEDIATE")
            try:
                for sql, values in statements:
                    cursor.execute(sql, values)
                cursor.execute("COMMIT")
            except BaseException:
                cursor.connection.rollback()
                raise

    def _reread(self) -> tuple[Frontier, bytes]:
        """The tree and head that the rows since the last checkpoint give, each row checked by itself."""
        frontier = self._signed.copy()
        head = self._signed_head
        for record in self.records(frontier.size):
            seen = examine(record, "keyless", self.chain, GEN)
            if seen.unknown is not None:
                raise Broken(f"entry {frontier.size}: {seen.unknown} is of a later version; run that one")
            if seen.code is not None or seen.row != frontier.size or (frontier.size and seen.prev != head):
                raise Broken(f"entry {frontier.size}: {seen.code or 'does not follow the one before'}")
            head = seen.hashed
            frontier.append(head)
        return frontier, head

    def reread(self, rows: Rows, go_on: Callable[[], None] = lambda: None) -> None:
        """Hashes every leaf up to the last checkpoint again, through another connection: what a ``quick``
        opening left out. Raises Broken. ``go_on`` is called now and then and may raise.
        """
        signed = self._signed  # another one when the next checkpoint is kept
        reread(rows, signed.size, signed.root(), go_on)

    # --- state ---------------------------------------------------------------------------------------

    @property
    def size(self) -> int:
        """Entries so far, those of the caller's open transaction included."""
        return self._frontier.size

    @property
    def root(self) -> bytes:
        """The tree's root at ``size``."""
        return self._frontier.root()

    @property
    def apart(self) -> bool:
        """Whether having a checkpoint signed means waiting for another process."""
        return self._signer.hand.apart

    @property
    def signs(self) -> Hand:
        """Who holds the signing key."""
        return self._signer.hand

    @property
    def anchored(self) -> int:
        """Entries that the last checkpoint covers."""
        return self._signed.size

    @property
    def unanchored(self) -> int:
        """Entries after the last checkpoint: the window in which cutting the tail would go unseen."""
        return self._frontier.size - self._signed.size

    @property
    def vkey(self) -> VerifierKey:
        """The public key that signs now."""
        return self._signer.vkey

    @property
    def handovers(self) -> list[Handover]:
        """The handovers of the signing key so far, oldest first."""
        return list(self._signer.handovers)


def hand_of(keyring: Keyring) -> Hand:
    """Who signs for this keyring. Raises KeyRefusedError where nobody is named."""
    if keyring.hand is None:
        raise KeyRefusedError(
            f"{keyring.directory / 'log.key'}: another account has it; ask that one to sign"
        )
    return keyring.hand

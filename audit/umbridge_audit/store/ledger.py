"""The pen: the one writer that appends entries and signs checkpoints.

SPEC.md sections 6 to 8. Appending runs in the caller's transaction; only a checkpoint has its own.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Self, cast

from sqlalchemy.engine import Connection

from umbridge_audit.checkpoint import anchor_lines, append_anchor, read_note
from umbridge_audit.entry import Draft, FormatError, Receipt, Spelt, canonical, good_chain, parse_leaf
from umbridge_audit.examine import SourceError, config_vkey, examine, genesis_prev
from umbridge_audit.keys import KeyRefusedError, Keyring
from umbridge_audit.policy import Policy
from umbridge_audit.seal import Composer, Xaes, draw_size
from umbridge_audit.slots import SCHEMAS, Schema
from umbridge_audit.store.recheck import recheck
from umbridge_audit.store.rows import Broken, LedgerError, Rollback, Rows
from umbridge_audit.store.signer import Signer
from umbridge_audit.store.subtrees import KEEP_SQL
from umbridge_audit.store.tables import create_tables, extra_ddl
from umbridge_audit.sweep import Sweeper
from umbridge_audit.tree import Frontier, leaf_hash

_ENTRY_SQL = "INSERT INTO ledger_entry (seq, leaf, open, closed) VALUES (?, ?, ?, ?)"
_PART_SQL = "INSERT INTO ledger_part (seq, c, ct) VALUES (?, ?, ?)"
_CHECKPOINT_SQL = "INSERT INTO ledger_checkpoint (n, note) VALUES (?, ?)"
_SUBTREE_SQL = "SELECT hash FROM subtree WHERE level = ? AND n = ?"
_REPLAY = 4096  # leaves read at a time when the tree is rebuilt
GEN = 1


def utc_now() -> datetime:
    """The wall clock, with its zone."""
    return datetime.now(UTC)


class Ledger(Rows):
    """The pen. One in the whole world for each chain: its holder has the store's lock.

    ``append`` runs inside the caller's transaction; when that fails the process stops, so the head here may
    run ahead of what is durable but is never believed after a failure.
    """

    def __init__(
        self,
        connection: Connection,
        keyring: Keyring,
        anchor: Path,
        clock: Callable[[], datetime],
        *,
        chain: str,
        genesis: bytes,
    ) -> None:
        self._connection = connection
        self.keyring: Keyring = keyring
        self._anchor = anchor
        self._clock = clock
        self.chain = chain
        self._composer = Composer(chain, GEN)
        self._sweeper = Sweeper(chain, GEN, "keyless")
        self.origin = f"umbridge.{chain}/{GEN}"
        self._vkey = keyring.vkey(self.origin)
        self._signer = Signer(keyring, self.origin)
        self._genesis = genesis
        self._head = b""
        self._frontier = Frontier()
        self._signed = Frontier()  # the tree at the last checkpoint
        self._signing, self._signed_head = (Frontier(), b""), b""  # of the note being kept, of the last
        self._checkpoints = 0
        self._announced: set[str] = set()  # keys whose key.create went out since the last checkpoint

    def _cursor(self) -> sqlite3.Cursor:
        return cast(sqlite3.Cursor, self._connection.connection.cursor())

    def _in_transaction(self) -> bool:
        """Begun through SQLAlchemy or on the driver itself: the daemon's pen does the latter."""
        raw = cast(sqlite3.Connection, self._connection.connection.driver_connection)
        return raw.in_transaction or self._connection.in_transaction()

    # --- life ---------------------------------------------------------------------------------------

    @classmethod
    def create(
        cls,
        connection: Connection,
        keyring: Keyring,
        *,
        org: str,
        chain: str,
        facility: str,
        software: str,
        anchor: Path,
        clock: Callable[[], datetime] = utc_now,
    ) -> Self:
        """Makes tables, entry 0, the first keys' entries and the first checkpoint; call outside a
        transaction.

        ``org`` and ``chain`` name the ledger for ever (1 to 40 of ``a-z 0-9 - _`` each; ValueError
        otherwise). Raises LedgerError when there is a ledger already, or an anchor of one.
        """
        name = f"{org}/{chain}"
        if not good_chain(name):
            raise ValueError("org and chain: 1 to 40 of a-z, 0-9, '-' and '_' each")
        if anchor.exists() and anchor.stat().st_size:
            raise LedgerError(f"{anchor}: belongs to another ledger")
        self = cls(connection, keyring, anchor, clock, chain=name, genesis=b"")
        if connection.in_transaction():
            raise LedgerError("create needs a connection without an open transaction")
        if self._fetch("SELECT name FROM sqlite_master WHERE name LIKE 'ledger_%'"):
            raise LedgerError("there is a ledger in this store already")
        config = canonical(
            {
                "chain": name,
                "facility": facility,
                "gen": GEN,
                "software": software,
                "v": 2,
                "vkey": str(self._vkey),
            }
        )
        self._head = genesis_prev(config)
        with connection.begin():
            create_tables(connection)
            genesis = {"actor": "umbridge", "org": org, "chain": chain} | {
                "facility": facility,
                "software": software,
                "config": config,
            }
            self._genesis = self.append([Draft("genesis", genesis)])[0].leaf_hash
        self.checkpoint()
        return self

    @classmethod
    def open(
        cls,
        connection: Connection,
        keyring: Keyring,
        *,
        anchor: Path,
        clock: Callable[[], datetime] = utc_now,
    ) -> Self:
        """Takes the pen up again: re-hashes every leaf, checks tail and anchor, adds a missing anchor line.

        Raises Rollback when the anchor is ahead of or differs from the store; Broken when rows or
        checkpoints do not fit together; KeyRefusedError when the signing key is not this ledger's. Costs
        about 2 s per million entries.
        """
        try:
            return cls._open(connection, keyring, anchor, clock)
        except SourceError as exc:
            where = "" if exc.seq is None else f" at entry {exc.seq}"
            raise Broken(f"the ledger cannot be read: {exc.code}{where}") from None

    @classmethod
    def _open(
        cls, connection: Connection, keyring: Keyring, anchor: Path, clock: Callable[[], datetime]
    ) -> Self:
        probe = cls(connection, keyring, anchor, clock, chain="", genesis=b"")
        try:
            first = probe.record(0)
            chain = parse_leaf(first.leaf).chain
        except (LookupError, FormatError):
            raise Broken("the ledger has no readable first entry") from None
        self = cls(connection, keyring, anchor, clock, chain=chain, genesis=leaf_hash(first.leaf))
        config = examine(first, "keyless", chain, GEN).config
        if config is None or config_vkey(config) != str(self._vkey):
            raise KeyRefusedError(f"{keyring.directory / 'log.key'}: not the key that signs {chain}")
        self._reconcile()
        self._replay()
        self._signer.resume(self, self._last, self._signed)
        return self

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
            self._last = read_note(last, self._vkey, exact=True)
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

    def _replay(self) -> None:
        """Rebuilds the tree from every leaf; what the last checkpoint does not cover is checked in full."""
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
        self._signed, self._signed_head = self._frontier.copy(), self._head
        self._frontier, self._head = self._reread()

    def _mend(self) -> None:
        """Writes kept subtrees again that are missing or are not what the leaves just gave."""
        whole, self._frontier.whole = self._frontier.whole, []
        try:
            whole = [node for node in whole if self._fetch(_SUBTREE_SQL, *node[:2]) != [(node[2],)]]
        except SourceError:
            self._commit(*((sql, ()) for sql in extra_ddl()))
        if whole:
            self._commit(*((KEEP_SQL, node) for node in whole))

    # --- writing ------------------------------------------------------------------------------------

    def append(self, drafts: Sequence[Draft | Spelt]) -> list[Receipt]:
        """Writes entries inside the caller's open transaction, a needed ``key.create`` before them.

        Raises ValueError for a draft that cannot be written, before anything has been: the ledger is
        unchanged. Raises LedgerError without an open transaction. Receipts are durable only after the
        caller's commit.
        """
        if not self._in_transaction():
            raise LedgerError("append needs the caller's open transaction")
        now = self._clock().astimezone(UTC)
        ts = f'"{now.strftime("%Y-%m-%dT%H:%M:%S")}.{now.microsecond // 1000:03d}Z"'
        mine = [_prepare(draft, ts) for draft in drafts]
        keys: dict[str, tuple[str, Xaes]] = {}
        for schema, _ in mine:
            for c in schema.compartments:
                if c not in keys:
                    keys[c] = self.keyring.dek(c, now)
        owed = [r for r in self.keyring.unlogged() if r.kid not in self._announced]
        if owed:
            created = [
                _prepare(
                    Draft(
                        "key.create", {"actor": "umbridge", "kid": r.kid, "alg": r.alg, "commit": r.commit}
                    ),
                    ts,
                )
                for r in owed
            ]
            # Entry 0 is the genesis, whatever keys exist before it.
            mine = mine + created if not self._frontier.size else created + mine
        entries: list[tuple[int, bytes, str, bytes]] = []
        parts: list[tuple[int, str, bytes]] = []
        hashes: list[bytes] = []
        seq, head = self._frontier.size, self._head
        write, at = self._composer.write, 0
        draw = os.urandom(sum([draw_size(schema) for schema, _ in mine]))
        for schema, texts in mine:
            size = draw_size(schema)
            leaf, opened, closed, cts, head = write(schema, texts, keys, seq, head, draw[at : at + size])
            at += size
            hashes.append(head)
            entries.append((seq, leaf, opened, closed))
            for c, ct in cts:
                parts.append((seq, c, ct))
            seq += 1
        cursor = self._cursor()
        if entries:
            cursor.executemany(_ENTRY_SQL, entries)
        if parts:
            cursor.executemany(_PART_SQL, parts)
        cursor.close()
        base = self._frontier.size
        for hashed in hashes:
            self._frontier.append(hashed)
        self._frontier.whole.clear()  # those that are kept come from rows that were read back
        self._head = head
        self._announced.update(r.kid for r in owed)
        skip = len(owed) if base else 0
        return [Receipt(base + skip + i, hashes[skip + i]) for i in range(len(drafts))]

    def checkpoint(self) -> bool:
        """``signed_note`` and ``keep_checkpoint`` in one; False when nothing is new."""
        note = self.signed_note()
        if note is None:
            return False
        self.keep_checkpoint(note)
        return True

    def signed_note(self) -> str | None:
        """Signs the present size; None when nothing is new. Call outside a transaction.

        What is signed is what the database gives back: rows since the last checkpoint are read and hashed
        again first (a bit flipped in memory ended the CT log Yeti 2022). Nothing may be appended until
        ``keep_checkpoint`` has returned. Raises Broken when the rows differ from what was appended,
        LedgerError inside a transaction.
        """
        if self._in_transaction():
            raise LedgerError("checkpoint needs a connection without an open transaction")
        if self._frontier.size == self._signed.size:
            return None
        stored, head = recheck(self, self._sweeper, self._signed, self._signed_head) or self._reread()
        if stored.size != self._frontier.size or stored.root() != self._frontier.root() or head != self._head:
            raise Broken("the stored rows are not those that were appended; nothing signed")
        previous = self.last_checkpoint()
        if (previous is None) != (self._checkpoints == 0) or (
            previous is not None
            and (
                previous[0] != self._checkpoints - 1
                or read_note(previous[1], self._vkey, exact=True).root != self._signed.root()
            )
        ):
            raise Broken("the last stored checkpoint is not the one that was signed; nothing signed")
        self._signing = (stored, head)
        return self._signer.sign(self._signed, stored)

    def keep_checkpoint(self, note: str) -> None:
        """Makes a signed note durable: row, commit, then the anchor line. Waits for disks; any thread may."""
        self._signer.keep()
        kept = [(KEEP_SQL, node) for node in self._signing[0].whole]
        self._commit((_CHECKPOINT_SQL, (self._checkpoints, note)), *kept)
        append_anchor(self._anchor, note)
        self._checkpoints += 1
        self._signed, self._signed_head = self._signing
        self._signed.whole.clear()
        self.keyring.mark_logged(self._announced)
        self._announced.clear()

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
            if seen.code is not None or seen.row != frontier.size or (frontier.size and seen.prev != head):
                raise Broken(f"entry {frontier.size}: {seen.code or 'does not follow the one before'}")
            head = seen.hashed
            frontier.append(head)
        return frontier, head

    # --- state --------------------------------------------------------------------------------------

    @property
    def size(self) -> int:
        """Entries so far, those of the caller's open transaction included."""
        return self._frontier.size

    @property
    def root(self) -> bytes:
        """The tree's root at ``size``."""
        return self._frontier.root()

    @property
    def unanchored(self) -> int:
        """Entries after the last checkpoint: the window in which cutting the tail would go unseen."""
        return self._frontier.size - self._signed.size

    def policy_text(self) -> str:
        """The policy file an auditor is given: public, and all that verifying needs."""
        return Policy(self._vkey, self._genesis).text()


def _prepare(draft: Draft | Spelt, ts: str) -> tuple[Schema, list[str]]:
    schema = SCHEMAS.get(draft.kind)
    if schema is None:
        raise ValueError("no such kind of entry")
    if isinstance(draft, Spelt):
        if len(draft.texts) != schema.size:
            raise ValueError("not the slots of its kind")
        return schema, [f'"{schema.name}"', ts, *draft.texts[2:]]
    if "schema" in draft.values or "ts" in draft.values:
        raise ValueError("schema and ts are the ledger's to write")
    texts = schema.texts(draft.values)
    texts[0] = f'"{schema.name}"'
    texts[1] = ts
    return schema, texts

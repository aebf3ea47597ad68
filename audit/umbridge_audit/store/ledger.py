"""The writer: the one writer that appends entries and signs checkpoints.

SPEC.md sections 6 to 8. Appending runs in the caller's transaction; only a checkpoint has its own.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Self

from umbridge_audit.checkpoint import VerifierKey
from umbridge_audit.entry import Draft, EncodedDraft, FormatError, Receipt, canonical, good_chain, parse_leaf
from umbridge_audit.examine import SourceError, config_vkey, examine, genesis_prev
from umbridge_audit.handover import Handover, from_entry
from umbridge_audit.keys import Keyring
from umbridge_audit.policy import Policy
from umbridge_audit.seal import Composer, Xaes, draw_size
from umbridge_audit.slots import SCHEMAS, Schema
from umbridge_audit.store.made import create_tables, transaction
from umbridge_audit.store.rows import Broken, LedgerError
from umbridge_audit.store.signed import GEN, Signed, hand_of
from umbridge_audit.store.signer import Signer
from umbridge_audit.tree import Frontier, leaf_hash

_ENTRY_SQL = "INSERT INTO ledger_entry (seq, leaf, open, closed) VALUES (?, ?, ?, ?)"
_PART_SQL = "INSERT INTO ledger_part (seq, c, ct) VALUES (?, ?, ?)"
_COSIGNATURE_SQL = "INSERT INTO cosignature (size, line) VALUES (?, ?) ON CONFLICT DO NOTHING"
_HEAD_SQL = (
    "INSERT INTO chain_head (n, size, hash, frontier, ts) VALUES (0, ?, ?, ?, ?) ON CONFLICT (n) DO UPDATE"
    " SET size = excluded.size, hash = excluded.hash, frontier = excluded.frontier, ts = excluded.ts"
)


def utc_now() -> datetime:
    """The wall clock, with its zone."""
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class Mark:
    """A moment between two transactions, as the writer remembers it."""

    frontier: Frontier
    head: bytes
    announced: frozenset[str]
    handovers: tuple[Handover, ...]
    vkey: VerifierKey


class Ledger(Signed):
    """The writer. One in the whole world for each chain: its holder has the store's lock.

    ``append`` runs inside the caller's transaction. Where that is rolled back the caller takes the ledger
    back to its ``mark`` of before.
    """

    def __init__(
        self,
        connection: sqlite3.Connection,
        keyring: Keyring,
        anchor: Path,
        clock: Callable[[], datetime],
        *,
        chain: str,
        genesis: bytes,
    ) -> None:
        super().__init__(connection, keyring, anchor, chain)
        self._clock = clock
        self._composer = Composer(chain, GEN)
        self._genesis = genesis

    # --- life ---------------------------------------------------------------------------------------

    @classmethod
    def create(
        cls,
        connection: sqlite3.Connection,
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
        hand = hand_of(keyring)
        self._signer = Signer(hand, VerifierKey(self.origin, hand.public()[0]))
        if connection.in_transaction:
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
                "vkey": str(self._signer.vkey),
            }
        )
        self._head = genesis_prev(config)
        with transaction(connection):
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
        connection: sqlite3.Connection,
        keyring: Keyring,
        *,
        anchor: Path,
        clock: Callable[[], datetime] = utc_now,
        quick: bool = False,
    ) -> Self:
        """Opens for writing again: re-hashes every leaf, checks tail and anchor, adds a missing anchor line.

        ``quick`` takes the signed tree from kept subtrees instead of the leaves under them: ``reread`` is to
        follow. ``head_was`` says what was wrong with the store's head row.

        Raises Rollback when the anchor is ahead of or differs from the store; Broken when rows or
        checkpoints do not fit together; KeyRefusedError when the signing key is not this ledger's. Costs
        about 2 s per million entries.
        """
        try:
            return cls._open(connection, keyring, anchor, clock, quick)
        except SourceError as exc:
            where = "" if exc.seq is None else f" at entry {exc.seq}"
            raise Broken(f"the ledger cannot be read: {exc.code}{where}") from None

    @classmethod
    def _open(
        cls,
        connection: sqlite3.Connection,
        keyring: Keyring,
        anchor: Path,
        clock: Callable[[], datetime],
        quick: bool,
    ) -> Self:
        probe = cls(connection, keyring, anchor, clock, chain="", genesis=b"")
        try:
            first = probe.record(0)
            chain = parse_leaf(first.leaf).chain
        except (LookupError, FormatError):
            raise Broken("the ledger has no readable first entry") from None
        self = cls(connection, keyring, anchor, clock, chain=chain, genesis=leaf_hash(first.leaf))
        config = examine(first, "keyless", chain, GEN).config
        try:
            named = VerifierKey.read(("" if config is None else config_vkey(config)) or "")
        except FormatError:
            raise Broken("the ledger has no readable first entry") from None
        self._engage(named)
        self._reconcile()
        self._resume(quick=quick)
        self._signer.resume(self, self._last, self._signed)
        self._hold_head()  # last: what is signed, and whoever signed it, say more than a row of the store's
        return self

    # --- writing ------------------------------------------------------------------------------------

    def append(self, drafts: Sequence[Draft | EncodedDraft]) -> list[Receipt]:
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
        skip = len(owed) if self._frontier.size else 0
        for n, draft in enumerate(drafts):
            if draft.kind == "key.handover":
                if isinstance(draft, EncodedDraft):
                    raise ValueError("a handover is not spelt by others")
                self._signer.take(from_entry(self._frontier.size + skip + n, draft.values))
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
        base = self._frontier.size
        for hashed in hashes:
            self._frontier.append(hashed)
        self._frontier.whole.clear()  # those that are kept come from rows that were read back
        self._head = head
        if entries:
            cursor.execute(_HEAD_SQL, (self._frontier.size, head, self._frontier.packed(), ts.strip('"')))
        cursor.close()
        self._announced.update(r.kid for r in owed)
        return [Receipt(base + skip + i, hashes[skip + i]) for i in range(len(drafts))]

    def mark(self) -> Mark:
        """Where the ledger is, before a transaction: for ``go_back``."""
        signing = self._signer.handovers, self._signer.vkey
        return Mark(
            self._frontier.copy(), self._head, frozenset(self._announced), tuple(signing[0]), signing[1]
        )

    def go_back(self, mark: Mark) -> None:
        """The transaction since ``mark`` was rolled back: what it appended was never said."""
        self._frontier, self._head, self._announced = mark.frontier.copy(), mark.head, set(mark.announced)
        self._signer.handovers[:] = mark.handovers
        self._signer.vkey = mark.vkey

    def keep_cosignature(self, size: int, line: str) -> None:
        """Keeps a witness's line over the checkpoint of ``size`` entries, in the caller's open transaction.

        The line is the witness's own evidence and is not checked here. The same line twice is one. Raises
        LedgerError without an open transaction.
        """
        if not self._in_transaction():
            raise LedgerError("keep_cosignature needs the caller's open transaction")
        with closing(self._cursor()) as cursor:
            cursor.execute(_COSIGNATURE_SQL, (size, line))

    # --- state --------------------------------------------------------------------------------------

    def policy_text(self) -> str:
        """The policy file an auditor is given: public, and all that verifying needs."""
        return Policy(self.vkey, self._genesis, handovers=tuple(self._signer.handovers)).text()


def _prepare(draft: Draft | EncodedDraft, ts: str) -> tuple[Schema, list[str]]:
    schema = SCHEMAS.get(draft.kind)
    if schema is None:
        raise ValueError("no such kind of entry")
    if isinstance(draft, EncodedDraft):
        if len(draft.texts) != schema.size:
            raise ValueError("not the slots of its kind")
        return schema, [f'"{schema.name}"', ts, *draft.texts[2:]]
    if "schema" in draft.values or "ts" in draft.values:
        raise ValueError("schema and ts are the ledger's to write")
    texts = schema.texts(draft.values)
    texts[0] = f'"{schema.name}"'
    texts[1] = ts
    return schema, texts

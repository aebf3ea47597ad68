"""The ledger in SQLite: the pen that appends and signs, and the read-only view that verifiers use.

The only module of the package that imports SQL. SPEC.md section 10. Tables are SQLModel classes; the append-only
triggers are plain DDL, because neither SQLModel nor SQLAlchemy has a word for a trigger. Reads go straight to
the driver: verifying is a scan of raw rows, and a read through SQLAlchemy would begin a transaction that is not ours.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import ClassVar, Self

from sqlalchemy import CheckConstraint, Column, Integer, LargeBinary, MetaData, Text
from sqlalchemy.engine import Connection
from sqlmodel import Field, SQLModel

from umbridge_audit.checkpoint import Checkpoint, Policy, append_anchor, read_anchor, read_note, sign
from umbridge_audit.entry import (
    Draft,
    FormatError,
    JsonValue,
    Receipt,
    Record,
    canonical,
    good_chain,
    parse,
    parse_leaf,
)
from umbridge_audit.keys import Keyring, KeyRefusedError
from umbridge_audit.seal import SealError, Xaes, check_part, closed_of, compose, open_part
from umbridge_audit.slots import SCHEMAS, Schema, check_open
from umbridge_audit.tree import Frontier, leaf_hash
from umbridge_audit.verify import SourceError, examine, genesis_prev

_BATCH = 512
GEN = 1


class LedgerError(Exception):
    """The ledger cannot be used as it is. One line, no content."""


class Broken(LedgerError):  # noqa: N818  named for what the operator is told
    """Rows or checkpoints do not fit together."""


class Rollback(LedgerError):  # noqa: N818  named for what the operator is told
    """The anchor knows more than the store, or something else: an old copy was put back, or the tail was cut."""


def utc_now() -> datetime:
    """The wall clock, with its zone."""
    return datetime.now(UTC)


class _Table(SQLModel):
    metadata = MetaData()  # our own: another package's create_all must not make these without their triggers


class LedgerEntry(_Table, table=True):
    """One entry; every column is covered by the leaf's hash or the leaf's ``fields``."""

    __tablename__ = "ledger_entry"
    __table_args__: ClassVar = (CheckConstraint("seq >= 0"), {"sqlite_strict": True})
    seq: int = Field(sa_column=Column(Integer, primary_key=True, autoincrement=False))
    leaf: bytes = Field(sa_column=Column(LargeBinary, nullable=False))
    open: str = Field(sa_column=Column(Text, nullable=False))
    closed: bytes = Field(sa_column=Column(LargeBinary, nullable=False))


class LedgerPart(_Table, table=True):
    """One compartment's ciphertext; its hash is in the leaf."""

    __tablename__ = "ledger_part"
    __table_args__: ClassVar = ({"sqlite_strict": True},)
    seq: int = Field(sa_column=Column(Integer, primary_key=True, autoincrement=False))
    c: str = Field(sa_column=Column(Text, primary_key=True))
    ct: bytes = Field(sa_column=Column(LargeBinary, nullable=False))


class LedgerCheckpoint(_Table, table=True):
    """One signed note; the signature covers all of it."""

    __tablename__ = "ledger_checkpoint"
    __table_args__: ClassVar = ({"sqlite_strict": True},)
    n: int = Field(sa_column=Column(Integer, primary_key=True, autoincrement=False))
    note: str = Field(sa_column=Column(Text, nullable=False))


TABLES = ("ledger_entry", "ledger_part", "ledger_checkpoint")
_ENTRY_SQL = "INSERT INTO ledger_entry (seq, leaf, open, closed) VALUES (?, ?, ?, ?)"
_PART_SQL = "INSERT INTO ledger_part (seq, c, ct) VALUES (?, ?, ?)"
_CHECKPOINT_SQL = "INSERT INTO ledger_checkpoint (n, note) VALUES (?, ?)"


class Rows:
    """Reading, shared by the pen and the read-only view: raw rows, in batches, strictly typed."""

    keyring: Keyring | None = None

    def _cursor(self) -> sqlite3.Cursor:
        raise NotImplementedError

    def _fetch(self, sql: str, *params: int) -> list[tuple[object, ...]]:
        cursor = self._cursor()
        try:
            rows: list[tuple[object, ...]] = cursor.execute(sql, params).fetchall()
        except sqlite3.OperationalError as exc:
            # Missing tables are evidence gone; a locked or unreadable disk is not the evidence's fault.
            if "no such" in str(exc):
                raise SourceError("table_missing") from None
            raise
        except sqlite3.DatabaseError:
            raise SourceError("unreadable") from None
        finally:
            cursor.close()
        return rows

    @contextmanager
    def snapshot(self) -> Iterator[None]:
        """One consistent view for as long as it is open."""
        yield

    def records(self, start: int = 0, stop: int | None = None) -> Iterator[Record]:
        """Raw rows in ascending order, read 512 at a time; from 0 to the end, rows outside that range too.

        Raises SourceError for rows of a wrong type, parts without an entry, or a missing table.
        """
        low = start - 1 if start else -(2**63)
        first = not start
        while True:
            above = ">=" if first else ">"
            limit = _BATCH if stop is None else max(0, min(_BATCH, stop - low - 1 if low >= 0 else stop))
            rows = self._fetch(
                "SELECT seq, leaf, CAST(open AS BLOB), closed FROM ledger_entry "  # noqa: S608  constants only
                f"WHERE seq {above} ? ORDER BY seq LIMIT ?",
                low,
                limit,
            )
            high = rows[-1][0] if rows else 2**63 - 1
            if not isinstance(high, int) or (not rows and stop is not None):
                return
            parts: dict[int, dict[str, bytes]] = {}
            for seq, c, ct in self._fetch(
                "SELECT seq, CAST(c AS BLOB), ct FROM ledger_part "  # noqa: S608  constants only
                f"WHERE seq {above} ? AND seq <= ? ORDER BY seq",
                low,
                high,
            ):
                if not isinstance(seq, int) or not isinstance(ct, bytes):
                    raise SourceError("row_type")
                parts.setdefault(seq, {})[_text(c, seq)] = ct
            for seq, leaf, opened, closed in rows:
                if not isinstance(seq, int) or not isinstance(leaf, bytes) or not isinstance(closed, bytes):
                    raise SourceError("row_type")
                yield Record(seq, leaf, _text(opened, seq), closed, parts.pop(seq, {}))
                low = seq
            if parts:
                raise SourceError("part_orphan", max(0, min(parts)))
            if not rows or (stop is not None and low >= stop - 1):
                return
            first = False

    def checkpoints(self) -> Iterator[tuple[int, str]]:
        """Stored notes in order, read 512 at a time."""
        low, above = -(2**63), ">="
        while rows := self._fetch(
            f"SELECT n, CAST(note AS BLOB) FROM ledger_checkpoint WHERE n {above} ? ORDER BY n LIMIT ?",  # noqa: S608
            low,
            _BATCH,
        ):
            for n, note in rows:
                if not isinstance(n, int):
                    raise SourceError("row_type")
                yield n, _text(note, None)
                low = n
            above = ">"

    def last_checkpoint(self) -> tuple[int, str] | None:
        """The newest stored note and its number."""
        rows = self._fetch("SELECT n, CAST(note AS BLOB) FROM ledger_checkpoint ORDER BY n DESC LIMIT 1")
        if not rows or not isinstance(rows[0][0], int):
            return None
        return rows[0][0], _text(rows[0][1], None)

    def record(self, seq: int) -> Record:
        """One raw row. Raises LookupError when there is no such entry."""
        if seq >= 0:
            for record in self.records(seq, seq + 1):
                if record.seq == seq:
                    return record
        raise LookupError(f"no entry {seq}")

    def open_slots(
        self, start: int = 0, stop: int | None = None, *, kinds: Sequence[str] = ()
    ) -> Iterator[dict[str, JsonValue]]:
        """What stands in the open, without any key: seq, kind, then the open slots; oldest first.

        Commitments are not checked here: this is for listing, ``verify`` is for believing.
        """
        wanted = frozenset(kinds)
        low = start
        while rows := self._fetch(
            "SELECT seq, CAST(open AS BLOB) FROM ledger_entry WHERE seq >= ? AND seq < ? ORDER BY seq LIMIT ?",
            low,
            2**63 - 1 if stop is None else stop,
            _BATCH,
        ):
            for seq, opened in rows:
                if not isinstance(seq, int):
                    raise SourceError("row_type")
                low = seq + 1
                try:
                    schema, values, _ = check_open(_text(opened, seq))
                except FormatError:
                    raise Broken(f"entry {seq}: open slots unreadable") from None
                if not wanted or schema.kind in wanted:
                    yield {"seq": seq, "kind": schema.kind, **values}

    def reveal(self, seq: int, compartments: Sequence[str] | None = None) -> dict[str, dict[str, JsonValue]]:
        """Plaintext by compartment, "open" included. Only ``disclose`` and ``export`` may call this.

        ``compartments`` limits what is decrypted. Raises Broken unless every value shown matches the leaf;
        KeyRefusedError when a key is not held.
        """
        return {
            c: {name: value for _, _, name, value in rows}
            for c, rows in self.openings(self.record(seq), compartments).items()
        }

    def openings(
        self, record: Record, compartments: Sequence[str] | None = None
    ) -> dict[str, list[tuple[int, str, str, JsonValue]]]:
        """As ``reveal``, with slot numbers and salts: (k, salt, name, value) by compartment."""
        try:
            leaf = parse_leaf(record.leaf)
            checked = examine(record, "keyless", leaf.chain, leaf.gen)
            if checked.code is not None:
                raise Broken(f"entry {record.seq}: {checked.code}")
            schema, _, closed = closed_of(record)
            rows = parse_open(record.open)
            found: dict[str, list[tuple[int, str, str, JsonValue]]] = {"open": rows}
            for part in leaf.parts:
                if compartments is not None and part.c not in compartments:
                    continue
                if self.keyring is None:
                    raise KeyRefusedError(f"key {part.kid}: no keys at hand")
                opened = open_part(schema, leaf, part, record.parts[part.c], self.keyring.cipher(part.kid))
                check_part(schema, opened, closed)
                found[part.c] = [(k, salt, schema.names[k], value) for k, (salt, value) in opened.items()]
        except (FormatError, SealError):
            raise Broken(f"entry {record.seq}: does not open as its leaf says") from None
        return found


def parse_open(text: str) -> list[tuple[int, str, str, JsonValue]]:
    """An ``open`` column that has been checked already, as (k, salt, name, value)."""
    rows = parse(text)
    assert isinstance(rows, list)  # noqa: S101  check_open has been there
    return [(k, salt, name, value) for k, salt, name, value in rows]


def _text(value: object, seq: int | None) -> str:
    if not isinstance(value, bytes):
        raise SourceError("row_type", seq)
    try:
        return value.decode()
    except UnicodeDecodeError:
        raise SourceError("row_text", seq) from None


class Reader(Rows):
    """A store's ledger, opened read-only; safe beside a running daemon. Close it when done."""

    def __init__(self, path: Path, keyring: Keyring | None = None) -> None:
        if not path.is_file():
            raise FileNotFoundError(f"{path}: no such store")
        self.keyring = keyring
        self._db = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, isolation_level=None)

    def _cursor(self) -> sqlite3.Cursor:
        return self._db.cursor()

    @contextmanager
    def snapshot(self) -> Iterator[None]:
        self._db.execute("BEGIN")
        try:
            yield
        finally:
            self._db.execute("ROLLBACK")

    def close(self) -> None:
        self._db.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def open_readonly(path: Path, keyring: Keyring | None = None) -> Reader:
    """The ledger in a SQLite file, for verifying, listing and exporting; nothing is written, ever.

    ``keyring`` is needed only to reveal. Raises FileNotFoundError.
    """
    return Reader(path, keyring)


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
        self.origin = f"umbridge.{chain}/{GEN}"
        self._vkey = keyring.vkey(self.origin)
        self._genesis = genesis
        self._head = b""
        self._frontier = Frontier()
        self._signed = Frontier()  # the tree at the last checkpoint
        self._signed_head = b""
        self._checkpoints = 0
        self._announced: set[str] = set()  # keys whose key.create went out since the last checkpoint

    def _cursor(self) -> sqlite3.Cursor:
        cursor = self._connection.connection.cursor()
        assert isinstance(cursor, sqlite3.Cursor)  # noqa: S101  the store is SQLite; others come with their own reader
        return cursor

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
        """Makes the tables, entry 0, the first keys' entries and the first checkpoint; call outside a transaction.

        ``org`` and ``chain`` name the ledger for ever (1 to 40 of ``a-z 0-9 - _`` each; ValueError otherwise).
        Raises LedgerError when there is a ledger already, or an anchor of one.
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
                "v": 1,
                "vkey": str(self._vkey),
            }
        )
        self._head = genesis_prev(config)
        with connection.begin():
            _Table.metadata.create_all(connection)
            for table in TABLES:
                for verb in ("UPDATE", "DELETE"):
                    connection.exec_driver_sql(
                        f"CREATE TRIGGER {table}_no_{verb.lower()} BEFORE {verb} ON {table} "
                        f"BEGIN SELECT RAISE(ABORT, '{table} is append-only'); END"
                    )
            genesis = {
                "actor": "umbridge",
                "org": org,
                "chain": chain,
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
        """Takes the pen up again: re-hashes every leaf, checks the tail and the anchor, adds a missing anchor line.

        Raises Rollback when the anchor is ahead of or differs from the store; Broken when rows or checkpoints do
        not fit together; KeyRefusedError when the signing key is not this ledger's. Costs about 2 s per million
        entries.
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
        if config is None or parse_config_vkey(config) != str(self._vkey):
            raise KeyRefusedError(f"{keyring.directory / 'log.key'}: not the key that signs {chain}")
        self._reconcile()
        self._replay()
        return self

    def _reconcile(self) -> None:
        """Holds the anchor against the stored checkpoints; adds the one line that a crash may have left out."""
        try:
            lines = read_anchor(self._anchor)
        except FileNotFoundError:
            lines = []
        except (FormatError, OSError):
            raise Rollback(f"{self._anchor}: not readable as this ledger's anchor") from None
        last = ""
        for n, note in self.checkpoints():
            if n != self._checkpoints:
                raise Broken(f"checkpoint {self._checkpoints} is missing")
            if n < len(lines) and lines[n] != note:
                raise Rollback(f"{self._anchor}: line {n + 1} is not the store's checkpoint")
            last = note
            self._checkpoints += 1
        if len(lines) > self._checkpoints:
            raise Rollback(f"{self._anchor}: knows {len(lines)} checkpoints, the store {self._checkpoints}")
        if not last:
            raise Broken("the ledger has no checkpoint")
        if len(lines) < self._checkpoints - 1:
            raise Rollback(
                f"{self._anchor}: {self._checkpoints - len(lines)} lines are missing, one can be explained"
            )
        try:
            self._last = read_note(last, self._vkey, exact=True)
            if len(lines) < self._checkpoints:
                append_anchor(self._anchor, last)
        except FormatError as exc:
            raise Broken(f"last checkpoint: {exc}") from None

    def _replay(self) -> None:
        """Rebuilds the tree from every leaf; what the last checkpoint does not cover is checked in full."""
        low = 0
        while rows := self._fetch(
            "SELECT seq, leaf FROM ledger_entry WHERE seq >= ? AND seq < ? ORDER BY seq LIMIT ?",
            low,
            self._last.size,
            _BATCH * 8,
        ):
            for seq, leaf in rows:
                if seq != low or not isinstance(leaf, bytes):
                    raise Broken(f"entry {low} is missing")
                low += 1
                self._head = leaf_hash(leaf)
                self._frontier.append(self._head)
        if (self._frontier.size, self._frontier.root()) != (self._last.size, self._last.root):
            raise Broken("the entries do not give the last checkpoint's root; run ledger verify")
        self._signed, self._signed_head = self._frontier.copy(), self._head
        self._frontier, self._head = self._reread()

    # --- writing ------------------------------------------------------------------------------------

    def append(self, drafts: Sequence[Draft]) -> list[Receipt]:
        """Writes entries inside the caller's open transaction, a needed ``key.create`` before them.

        Raises ValueError for a draft that cannot be written, before anything has been: the ledger is unchanged.
        Raises LedgerError without an open transaction. Receipts are durable only after the caller's commit.
        """
        if not self._connection.in_transaction():
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
        for schema, texts in mine:
            made = compose(schema, texts, keys, chain=self.chain, gen=GEN, seq=seq, prev=head)
            head = made.leaf_hash
            hashes.append(head)
            record = made.record
            entries.append((seq, record.leaf, record.open, record.closed))
            for c, ct in record.parts.items():
                parts.append((seq, c, ct))
            seq += 1
        if entries:
            self._connection.exec_driver_sql(_ENTRY_SQL, entries)
        if parts:
            self._connection.exec_driver_sql(_PART_SQL, parts)
        base = self._frontier.size
        for hashed in hashes:
            self._frontier.append(hashed)
        self._head = head
        self._announced.update(r.kid for r in owed)
        skip = len(owed) if base else 0
        return [Receipt(base + skip + i, hashes[skip + i]) for i in range(len(drafts))]

    def checkpoint(self) -> bool:
        """Signs the present size; False when nothing is new. Its own transaction: call outside one.

        What is signed is what the database gives back: rows since the last checkpoint are read and hashed again
        first (a bit flipped in memory ended the CT log Yeti 2022). Order: row, commit, then the anchor line.
        Raises Broken when the rows differ from what was appended, LedgerError inside a transaction.
        """
        if self._connection.in_transaction():
            raise LedgerError("checkpoint needs a connection without an open transaction")
        if self._frontier.size == self._signed.size:
            return False
        stored, head = self._reread()
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
        note = sign(Checkpoint(self.origin, stored.size, stored.root()), self.keyring.signer)
        with self._connection.begin():
            self._connection.exec_driver_sql(_CHECKPOINT_SQL, (self._checkpoints, note))
        append_anchor(self._anchor, note)
        self._checkpoints += 1
        self._signed, self._signed_head = stored, head
        self.keyring.mark_logged(self._announced)
        self._announced.clear()
        return True

    def _reread(self) -> tuple[Frontier, bytes]:
        """The tree and head that the rows since the last checkpoint give, each row checked by itself."""
        frontier = self._signed.copy()
        head = self._signed_head or self._head
        for record in self.records(frontier.size):
            seen = examine(record, "spine", self.chain, GEN)
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


def _prepare(draft: Draft, ts: str) -> tuple[Schema, list[str]]:
    schema = SCHEMAS.get(draft.kind)
    if schema is None:
        raise ValueError("no such kind of entry")
    if "schema" in draft.values or "ts" in draft.values:
        raise ValueError("schema and ts are the ledger's to write")
    texts = schema.texts(draft.values)
    texts[0] = f'"{schema.name}"'
    texts[1] = ts
    return schema, texts


def parse_config_vkey(config: str) -> str | None:
    """The log's key as the genesis configuration names it."""
    value = parse(config)
    vkey = value.get("vkey") if isinstance(value, dict) else None
    return vkey if isinstance(vkey, str) else None

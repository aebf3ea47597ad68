"""Reading the ledger's rows: listing, revealing, and what verifiers stream. Straight from the driver.

Verifying is a scan of raw rows, and a read through SQLAlchemy would begin a transaction that is not ours.
"""

from __future__ import annotations

import errno
import os
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from pathlib import Path
from typing import Self

from umbridge_audit.entry import MAX_INT, FormatError, JsonValue, Record, parse, parse_leaf
from umbridge_audit.examine import Page, Paged, SourceError, examine
from umbridge_audit.keys import KeyRefusedError, Keyring
from umbridge_audit.seal import SealError, check_part, closed_of, open_part
from umbridge_audit.slots import BY_NAME, check_open

_BATCH = 512
# All that is called the ledger's (SPEC.md section 10): each column is under a hash, a number or a signature.
COLUMNS = {
    "ledger_entry": ("seq", "leaf", "open", "closed"),
    "ledger_part": ("seq", "c", "ct"),
    "ledger_checkpoint": ("n", "note"),
}
_PAGE_OF_ENTRIES = (
    "SELECT seq, leaf, CAST(open AS BLOB), closed FROM ledger_entry WHERE seq >= ? AND seq < ? ORDER BY seq"
)
_PAGE_OF_PARTS = "SELECT seq, CAST(c AS BLOB), ct FROM ledger_part WHERE seq >= ? AND seq < ? ORDER BY seq"
_UNNUMBERED = "SELECT 1 FROM {} WHERE seq IS NULL LIMIT 1"


class LedgerError(Exception):
    """The ledger cannot be used as it is. One line, no content."""


class Broken(LedgerError):  # noqa: N818  named for what the operator is told
    """Rows or checkpoints do not fit together."""


class Rollback(LedgerError):  # noqa: N818  named for what the operator is told
    """The anchor knows more than the store, or other things: an old copy is back, or the tail was cut."""


class Rows:
    """Reading, shared by the writer and the read-only view: raw rows, in batches, strictly typed."""

    keyring: Keyring | None = None

    def _cursor(self) -> sqlite3.Cursor:
        raise NotImplementedError

    def _fetch(self, sql: str, *params: int | str) -> list[tuple[object, ...]]:
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
        for table in ("ledger_entry", "ledger_part"):
            if self._fetch(_UNNUMBERED.format(table)):
                raise SourceError("row_type")  # no range finds such a row
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

    def regular(self) -> int | None:
        """See ``examine.Paged``. A store like this is read page by page; any other row by row."""
        # min and max apart: asked for together they make SQLite read the whole index
        (low, high), (first, last) = (
            self._fetch(f"SELECT (SELECT min(seq) FROM {table}), (SELECT max(seq) FROM {table})")[0]  # noqa: S608  constants only
            for table in ("ledger_entry", "ledger_part")
        )
        if low != 0 or not isinstance(high, int) or high >= MAX_INT:
            return None
        if first is not None and not (isinstance(first, int) and isinstance(last, int) and first >= 0):
            return None
        return high + 1 if last is None or last <= high else None  # type: ignore[operator]  # int, just above

    def cosignatures(self, size: int) -> list[str]:
        """See ``examine.Paged``."""
        try:
            rows = self._fetch("SELECT CAST(line AS BLOB) FROM cosignature WHERE size = ?", size)
        except SourceError:
            return []  # a store from before there were witnesses
        return [_text(line, None) for (line,) in rows]

    def page(self, start: int, stop: int) -> Page:
        """Raw rows of entries [start, stop), unchecked."""
        return self._fetch(_PAGE_OF_ENTRIES, start, stop), self._fetch(_PAGE_OF_PARTS, start, stop)

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

    def length(self) -> int:
        """How many entries are committed."""
        top = self._fetch("SELECT max(seq) FROM ledger_entry")[0][0]
        return top + 1 if isinstance(top, int) else 0

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
        # An open column begins [[0,"<44 characters of salt>","schema","<kind>/<number>"]: SQL skips others.
        begins = [f'{name}"' for name, schema in sorted(BY_NAME.items()) if schema.kind in wanted]
        among = f"AND ({' OR '.join(['substr(open, 62, ?) = ?'] * len(begins))}) " if begins else ""
        low = start
        while rows := self._fetch(
            "SELECT seq, CAST(open AS BLOB) FROM ledger_entry "  # noqa: S608  constants only
            f"WHERE seq >= ? AND seq < ? {among}ORDER BY seq LIMIT ?",
            low,
            2**63 - 1 if stop is None else stop,
            *(value for begin in begins for value in (len(begin), begin)),
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
            if checked.unknown is not None:
                raise Broken(f"entry {record.seq}: {checked.unknown} is of a later version; run that one")
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
                check_part(schema, part.c, opened, closed)
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
    """A store's ledger, opened read-only; safe beside a running daemon. One thread at a time; close it."""

    def __init__(self, path: Path, keyring: Keyring | None = None) -> None:
        if not path.is_file():
            raise FileNotFoundError(f"{path}: no such store")
        # Who may not read it hears so: SQLite only says that it cannot open it. Never by opening it here: a
        # process that closes any descriptor of a file loses the locks that its other connections hold on it.
        if not os.access(path, os.R_OK, effective_ids=os.access in os.supports_effective_ids):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        self.keyring = keyring
        self._path = path
        # One at a time, but not always the same: an answer's rows are taken by whichever thread is free.
        self._db = sqlite3.connect(
            f"{path.absolute().as_uri()}?mode=ro", uri=True, isolation_level=None, check_same_thread=False
        )

    def _cursor(self) -> sqlite3.Cursor:
        return self._db.cursor()

    @contextmanager
    def snapshot(self) -> Iterator[None]:
        self._db.execute("BEGIN")
        try:
            self._only_ours()
            yield
        finally:
            self._db.execute("ROLLBACK")

    def _only_ours(self) -> None:
        """Raises SourceError for a table or column that is called the ledger's and that nothing covers."""
        for (name,) in self._fetch("SELECT name FROM sqlite_master WHERE name GLOB 'ledger_*'"):
            if str(name).startswith(tuple(f"{table}_no_" for table in COLUMNS)):
                continue  # a trigger against mistakes
            found = self._fetch("SELECT name FROM pragma_table_xinfo(?)", str(name))
            if name not in COLUMNS or not {column for (column,) in found} <= set(COLUMNS[str(name)]):
                raise SourceError("table_unknown")

    def again(self) -> Callable[[], AbstractContextManager[Paged]]:
        """See ``examine.Paged``."""
        return partial(open_readonly, self._path.absolute())

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

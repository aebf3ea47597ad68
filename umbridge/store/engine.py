"""Opening the database: every durability setting is made, read back, and refused if it did not hold."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any

from umbridge_audit.store import made

from umbridge.errors import StoreError
from umbridge.store.upgrade import newest

DATABASE = "umbridge.db"
SHAPE = Path(__file__).with_name("tables.sql")  # what ``tables`` says, as SQL: `make vectors` writes it

# intake.md's list: asked for, read back, refused if different. synchronous 2 is FULL: the WAL is synced at
# every commit, which is what "durable before the answer" rests on.
PRAGMAS: tuple[tuple[str, str, Any], ...] = (
    ("journal_mode", "wal", "wal"),
    ("synchronous", "FULL", 2),
    ("secure_delete", "ON", 1),
    ("temp_store", "MEMORY", 2),
    ("trusted_schema", "OFF", 0),
    ("cell_size_check", "ON", 1),
    ("mmap_size", "0", 0),
    ("foreign_keys", "ON", 1),
    # pages of log at which a COMMIT copies it back; mostly the writer does it before, in quiet moments
    ("wal_autocheckpoint", "4000", 4000),
)
CACHE_BYTES = 64 * 1024 * 1024  # of pages; SQLite's own 2 MB read the same index pages again for each message
# Two connections that write or checkpoint at once can corrupt a WAL database before this version
# (sqlite.org/wal.html, "WAL-reset bug"); umbridge has one writing connection, so this is a warning.
WAL_RESET_FIXED = (3, 51, 3)


_WHY = {  # SQLite's result codes (sqlite.org/rescode.html), and what to do about each
    "SQLITE_FULL": "the disk is full; make room and start again",
    "SQLITE_IOERR": "the disk does not do as it is told; look at it, and at its room and limits",
    "SQLITE_READONLY": "cannot be written; see whose it is and how its disk is mounted",
    "SQLITE_CANTOPEN": "cannot be opened; see whose it is, and whether it is a file",
    "SQLITE_NOTADB": "is no database; restore a backup",
    "SQLITE_CORRUPT": "is damaged; restore a backup",
    "SQLITE_NOMEM": "there is not enough memory to open it",
}


def unusable(path: Path, exc: sqlite3.Error) -> StoreError:
    """One line for a database that cannot be used as it is: SQLite's code, and what to do."""
    code: str = getattr(exc, "sqlite_errorname", None) or type(exc).__name__
    why = next((said for name, said in _WHY.items() if code.startswith(name)), "cannot be used")
    return StoreError(f"{path}: {why} ({code})")


@contextmanager
def open_database(path: Path, cache_bytes: int = CACHE_BYTES) -> Iterator[sqlite3.Connection]:
    """The one writing connection: 0600, pragmas verified, transactions ours to begin. Raises StoreError."""
    pages = -(cache_bytes // 1024)  # negative: so many KiB
    if not path.exists():
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    try:
        connection = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
    except sqlite3.Error as exc:
        raise unusable(path, exc) from None
    with closing(connection):
        for name, wanted, expected in (*PRAGMAS, ("cache_size", str(pages), pages)):
            try:
                connection.execute(f"PRAGMA {name}={wanted}")
                row = connection.execute(f"PRAGMA {name}").fetchone()
            except sqlite3.Error as exc:
                raise unusable(path, exc) from None
            # mmap_size answers nothing where memory mapping is compiled out
            if row is not None and row[0] != expected:
                raise StoreError(f"{path}: PRAGMA {name} is {row[0]}, not {expected}: not a durable place")
        try:
            yield connection
        finally:
            # A writer that failed leaves a transaction, whose lock every cursor still held would keep.
            with suppress(sqlite3.Error):
                connection.rollback()


def create_tables(connection: sqlite3.Connection) -> None:
    """The daemon's tables, empty. Runs inside the caller's transaction."""
    from umbridge.store import tables  # noqa: PLC0415  (SQLModel: half a second that a start need not wait)

    for statement in tables.statements():
        connection.execute(statement)
    connection.execute("INSERT INTO meta(name, value) VALUES ('version', ?)", (str(newest()),))


def check_file(connection: sqlite3.Connection) -> None:
    """Refuse a damaged file, before anything is written to it. Raises StoreError."""
    try:
        connection.execute("SELECT value FROM meta WHERE name = 'version'").fetchone()
        verdict = connection.execute("PRAGMA quick_check(1)").fetchone()
    except Exception as exc:
        raise StoreError(f"the store cannot be read ({type(exc).__name__}); restore a backup") from exc
    if verdict is None or verdict[0] != "ok":
        raise StoreError("the store's file is damaged (quick_check); restore a backup")


def check_tables(connection: sqlite3.Connection) -> None:
    """Refuse tables that are not as this version makes them. Raises StoreError."""
    try:
        found = _shape(connection.execute)
    except Exception as exc:
        raise StoreError(f"the store cannot be read ({type(exc).__name__}); restore a backup") from exc
    for name, wanted in _wanted().items():
        if found.get(name) != wanted:
            raise StoreError(
                f"the store's {name} is not as this version makes it: another version's, or a change "
                "left half done; restore a backup"
            )


_COLUMNS = {
    "table": "SELECT * FROM pragma_table_xinfo(?)",
    "index": "SELECT * FROM pragma_index_xinfo(?)",
}
_ROWS_OF = "SELECT substr(sql, nullif(instr(sql, ' WHERE '), 0)) FROM sqlite_master WHERE name = ?"


def _shape(execute: Callable[..., Any]) -> dict[str, tuple[Any, ...]]:
    """Columns of each table and index, an index's condition, where a trigger stands: by "table NAME" etc."""
    found: dict[str, tuple[Any, ...]] = {}
    query = "SELECT type, name, tbl_name FROM sqlite_master WHERE type IN ('table', 'index', 'trigger')"
    for kind, name, table in execute(query).fetchall():
        about: tuple[Any, ...] = (table,)
        if kind in _COLUMNS:
            about = tuple(tuple(row) for row in execute(_COLUMNS[kind], (name,)).fetchall())
        if kind == "index":  # which rows it is for: one for more or fewer has the same columns
            about += tuple(execute(_ROWS_OF, (name,)).fetchone())
        found[f"{kind} {name}"] = about
    return found


@cache
def _wanted() -> dict[str, tuple[Any, ...]]:
    """The same of a store made just now, in memory."""
    with closing(sqlite3.connect(":memory:")) as database:
        database.executescript(SHAPE.read_text(encoding="utf-8"))
        for statement in (*made.STATEMENTS, *made.TRIGGERS):
            database.execute(statement)
        whole = _shape(database.execute)
    later = {"table subtree", "table cosignature"}  # made when they are missing; they hold no evidence
    return {name: shape for name, shape in whole.items() if name not in later}


def sqlite_warning() -> str | None:
    """A line for ``status`` when SQLite is older than the WAL-reset fix; else None."""
    if sqlite3.sqlite_version_info >= WAL_RESET_FIXED:
        return None
    return (
        f"SQLite {sqlite3.sqlite_version} is older than 3.51.3: safe with umbridge's single connection only"
    )


def snapshot(source: Path, out: Path) -> None:
    """A consistent copy made beside the writer: one read transaction, for which no commit has to wait.

    ``out`` must be new; it is 0600, one file without a log beside it, and durable when this returns.
    """
    os.close(os.open(out, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    reading = sqlite3.connect(f"{source.absolute().as_uri()}?mode=ro", uri=True)
    writing = sqlite3.connect(out)
    try:
        reading.backup(writing)  # all pages in one step: another writer cannot make it begin again
        writing.execute("PRAGMA journal_mode=DELETE")
    finally:
        writing.close()
        reading.close()


def is_whole(path: Path) -> bool:
    """Whether SQLite finds nothing wrong with the file's pages and indexes."""
    database = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)
    try:
        return [row[0] for row in database.execute("PRAGMA integrity_check(1)")] == ["ok"]
    except sqlite3.DatabaseError:
        return False
    finally:
        database.close()

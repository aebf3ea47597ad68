"""Opening the database: every durability setting is made, read back, and refused if it did not hold."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.pool import StaticPool
from sqlmodel import SQLModel

from umbridge.errors import StoreError
from umbridge.store.tables import TABLES

DATABASE = "umbridge.db"
VERSION = "3"

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
)
# Two connections that write or checkpoint at once can corrupt a WAL database before this version
# (sqlite.org/wal.html, "WAL-reset bug"); umbridge has one writing connection, so this is a warning.
WAL_RESET_FIXED = (3, 51, 3)


def open_engine(path: Path) -> Engine:
    """One engine over one connection, 0600, ``BEGIN IMMEDIATE``, pragmas verified. Raises StoreError."""
    if path.is_symlink():
        raise StoreError(f"{path}: is a symbolic link; name the real file")
    if not path.exists():
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    elif path.stat().st_mode & 0o077:
        raise StoreError(f"{path}: readable by others; run chmod 600 on it and its -wal and -shm files")
    engine = create_engine(
        f"sqlite:///{path}", poolclass=StaticPool, connect_args={"check_same_thread": False}
    )

    @event.listens_for(engine, "connect")
    def _connect(raw: Any, _record: Any) -> None:
        raw.isolation_level = None  # transactions are ours: see the begin event
        cursor = raw.cursor()
        for name, wanted, expected in PRAGMAS:
            cursor.execute(f"PRAGMA {name}={wanted}")
            row = cursor.execute(f"PRAGMA {name}").fetchone()
            # mmap_size answers nothing where memory mapping is compiled out
            if row is not None and row[0] != expected:
                raise StoreError(f"{path}: PRAGMA {name} is {row[0]}, not {expected}: not a durable place")
        cursor.close()

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    return engine


def create_tables(connection: Connection) -> None:
    """The daemon's tables, empty. Runs inside the caller's transaction."""
    SQLModel.metadata.create_all(connection, tables=TABLES)
    connection.exec_driver_sql("INSERT INTO meta(name, value) VALUES ('version', ?)", (VERSION,))


def check_tables(connection: Connection) -> None:
    """Refuse a store of another version or a damaged file. Raises StoreError."""
    try:
        row = connection.exec_driver_sql("SELECT value FROM meta WHERE name = 'version'").fetchone()
        verdict = connection.exec_driver_sql("PRAGMA quick_check(1)").fetchone()
    except Exception as exc:
        raise StoreError(f"the store cannot be read ({type(exc).__name__}); restore a backup") from exc
    if row is None or row[0] != VERSION:
        raise StoreError("the store was written by another version of umbridge")
    if verdict is None or verdict[0] != "ok":
        raise StoreError("the store's file is damaged (quick_check); restore a backup")


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

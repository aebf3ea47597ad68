"""A ledger's tables made, their triggers, and transactions begun by hand.

The triggers are plain DDL, because neither SQLModel nor SQLAlchemy has a word for one. They are a fence
against mistakes: against tampering stand the hashes. SPEC.md section 10.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

TABLES = ("ledger_entry", "ledger_part", "ledger_checkpoint")

# What ``tables.statements`` gives, for a start that loads no SQLModel; a test compares.
STATEMENTS = (
    "CREATE TABLE chain_head ( n INTEGER NOT NULL, size INTEGER NOT NULL, hash BLOB NOT NULL, "
    "frontier BLOB NOT NULL, ts TEXT NOT NULL, PRIMARY KEY (n) ) STRICT",
    "CREATE TABLE cosignature ( size INTEGER NOT NULL, line TEXT NOT NULL, PRIMARY KEY (size, line) ) "
    "WITHOUT ROWID, STRICT",
    "CREATE TABLE ledger_checkpoint ( n INTEGER NOT NULL, note TEXT NOT NULL, PRIMARY KEY (n) ) STRICT",
    "CREATE TABLE ledger_entry ( seq INTEGER NOT NULL, leaf BLOB NOT NULL, open TEXT NOT NULL, closed "
    "BLOB NOT NULL, PRIMARY KEY (seq), CHECK (seq >= 0) ) STRICT",
    "CREATE TABLE ledger_part ( seq INTEGER NOT NULL, c TEXT NOT NULL, ct BLOB NOT NULL, PRIMARY KEY "
    "(seq, c) ) STRICT",
    "CREATE TABLE subtree ( level INTEGER NOT NULL, n INTEGER NOT NULL, hash BLOB NOT NULL, PRIMARY "
    "KEY (level, n) ) WITHOUT ROWID, STRICT",
)
# These may be missing from a store, as they hold no evidence of ours: an opening makes them.
LATER = tuple(
    text.replace("CREATE TABLE", "CREATE TABLE IF NOT EXISTS", 1)
    for text in STATEMENTS
    if text.split()[2] not in TABLES
)
TRIGGERS = tuple(
    f"CREATE TRIGGER {table}_no_{verb.lower()} BEFORE {verb} ON {table} "
    f"BEGIN SELECT RAISE(ABORT, '{table} is append-only'); END"
    for table in TABLES
    for verb in ("UPDATE", "DELETE")
)


@contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """From ``BEGIN IMMEDIATE`` to COMMIT, whatever the isolation level; rolled back when it fails."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.commit()
    except BaseException:
        connection.rollback()
        raise


def create_tables(connection: sqlite3.Connection) -> None:
    """Makes the tables and their triggers inside the caller's transaction."""
    from umbridge_audit.store import tables  # noqa: PLC0415  (SQLModel: half a second that an opening need not wait)

    for statement in (*tables.statements(), *TRIGGERS):
        connection.execute(statement)

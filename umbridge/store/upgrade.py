"""A store of an earlier version brought forward: numbered steps by hand, each whole or not at all.

A change of the schema adds a step here, the same change in ``tables``, and a kept store made by the commit
before it (tests/vectors/stores.md). Tables named ``ledger_*`` are never touched; the ledger may gain tables.
"""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass

from umbridge_audit.entry import Draft
from umbridge_audit.store import transaction

from umbridge import __version__
from umbridge.errors import StoreError
from umbridge.store.commands import Transaction

FIRST = 3  # the oldest store that can be brought forward: those before it were never in use
_NOTE = "upgraded:"  # a step that was taken and is not on the ledger yet


@dataclass(frozen=True, slots=True)
class Step:
    """``number``: the version a store has after it. ``statements``: DDL and DML, in order."""

    number: int
    why: str  # one line, for the ledger
    statements: tuple[str, ...]


STEPS: tuple[Step, ...] = (
    Step(
        4,
        "search tokens wait in a table of their own until nobody waits for an answer",
        ("CREATE TABLE search_later (seq INTEGER NOT NULL, tokens BLOB NOT NULL, PRIMARY KEY (seq))",),
    ),
    Step(
        5,
        "the worklist has a table of its own, filled from the stays when it is first asked for",
        (
            "CREATE TABLE open_review (lane BLOB NOT NULL, review_id VARCHAR NOT NULL, type VARCHAR NOT NULL,"
            " state VARCHAR NOT NULL, due INTEGER, unit BLOB, payer BLOB NOT NULL, sealed BLOB NOT NULL,"
            " PRIMARY KEY (lane, review_id)) WITHOUT ROWID",
            "CREATE INDEX open_review_due ON open_review (due, review_id)",
            "CREATE INDEX open_review_unit ON open_review (unit, due, review_id)",
            "CREATE INDEX open_review_payer ON open_review (payer, due, review_id)",
        ),
    ),
    Step(
        6,
        "where the ledger ends is a row, written with what takes it there",
        (
            "CREATE TABLE IF NOT EXISTS chain_head (n INTEGER NOT NULL, size INTEGER NOT NULL, hash BLOB NOT"
            " NULL, frontier BLOB NOT NULL, ts TEXT NOT NULL, PRIMARY KEY (n)) STRICT",
        ),
    ),
    Step(
        7,
        "a message stands in its lane's index once it is worked, until then with all that wait",
        (
            "DROP INDEX inbox_lane",
            "DROP INDEX inbox_pending",
            "CREATE INDEX inbox_lane ON inbox (lane, seq) WHERE state <> 'PENDING'",
            "CREATE INDEX inbox_pending ON inbox (seq, lane, state) WHERE state = 'PENDING'",
        ),
    ),
    Step(
        8,
        "orders' and reports' numbers have a table, filled from the messages while nothing waits",
        (
            "CREATE TABLE numbered (patient BLOB NOT NULL, number BLOB NOT NULL, lane BLOB NOT NULL, seq"
            " INTEGER NOT NULL, part INTEGER NOT NULL, PRIMARY KEY (patient, number, lane)) WITHOUT ROWID",
            "CREATE TABLE unplaced (patient BLOB NOT NULL, number BLOB NOT NULL, seq INTEGER NOT NULL, part"
            " INTEGER NOT NULL, PRIMARY KEY (patient, number, seq, part)) WITHOUT ROWID",
            "CREATE INDEX unplaced_seq ON unplaced (seq, part)",
        ),
    ),
)


def newest() -> int:
    """The version that this umbridge makes and writes."""
    return STEPS[-1].number


def bring_forward(connection: sqlite3.Connection) -> int:
    """Take the steps that are missing; returns how many. The caller holds the store's lock.

    Each step is one transaction with the store's version in it: a process that dies goes on from the last
    whole step. Raises StoreError for a store of a later version, one too old, or a step that failed.
    """
    version = _version(connection)
    if version > newest():
        raise StoreError(
            f"the store is of version {version} and this umbridge knows versions up to {newest()}: "
            "start the newer umbridge, or restore a backup made before the upgrade"
        )
    if not version:
        raise StoreError("the store does not say its version: a change left half done; restore a backup")
    if version < FIRST:
        raise StoreError(
            f"the store is of another version ({version}), from before there were upgrades: make a new one"
        )
    taken = 0
    for step in STEPS:
        if step.number > version:
            _take(connection, step)
            taken += 1
    return taken


def unsaid(connection: sqlite3.Connection) -> bool:
    """Whether a step was taken that the ledger does not know of: by this start, or one that did not live."""
    query = "SELECT 1 FROM meta WHERE substr(name, 1, ?) = ? LIMIT 1"
    with transaction(connection):
        return connection.execute(query, (len(_NOTE), _NOTE)).fetchone() is not None


def _version(connection: sqlite3.Connection) -> int:
    with transaction(connection):
        row = connection.execute("SELECT value FROM meta WHERE name = 'version'").fetchone()
    try:
        return int(row[0]) if row is not None else 0
    except ValueError:
        return 0


def _take(connection: sqlite3.Connection, step: Step) -> None:
    try:
        with transaction(connection):
            for statement in step.statements:
                connection.execute(statement)
            connection.execute("UPDATE meta SET value = ? WHERE name = 'version'", (str(step.number),))
            connection.execute(
                "INSERT INTO meta(name, value) VALUES (?, ?)",
                (f"{_NOTE}{step.number}", f"store {step.number - 1} to {step.number}: {step.why}"),
            )
    except sqlite3.Error as exc:
        code = getattr(exc, "sqlite_errorname", type(exc).__name__)
        raise StoreError(
            f"the store could not be brought to version {step.number} ({code}); nothing of this step was "
            "written: see to the disk and start again, or restore a backup"
        ) from exc


@dataclass(frozen=True, slots=True)
class SayUpgrades:
    """Steps that were taken, on the ledger. Returns how many there were to say."""

    def apply(self, tx: Transaction) -> int:
        owed = tx.notes_under(_NOTE)
        for name in sorted(owed, key=lambda name: int(name.removeprefix(_NOTE))):
            values = {"actor": "umbridge", "state": "upgraded", "version": __version__, "detail": owed[name]}
            tx.entry(Draft("audit.status", values))
            tx.drop_note(name)
        return len(owed)

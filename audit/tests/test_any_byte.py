"""One byte of any value of any ``ledger_*`` table is never a PASS: in any log, in later columns too.

The tables and columns are those that a new store has, read from the database and not from a list here.
"""

# ruff: noqa: S608  table and column names come from the database

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from umbridge_audit.entry import Draft
from umbridge_audit.examine import Level
from umbridge_audit.slots import SCHEMAS

# What a level below ``keyless`` says that it does not look at (SPEC.md section 13), and nothing else.
UNREAD = {"spine": {("ledger_entry", "open"), ("ledger_entry", "closed")}, "keyless": set(), "full": set()}
LEVELS: tuple[Level, ...] = ("spine", "keyless", "full")


def columns(db: sqlite3.Connection) -> Iterator[tuple[str, str]]:
    """Every column of every table whose name says that it is evidence."""
    query = "SELECT name FROM sqlite_master WHERE type = 'table' AND name GLOB 'ledger_*' ORDER BY name"
    for (table,) in db.execute(query).fetchall():
        for row in db.execute(f'PRAGMA table_info("{table}")').fetchall():
            yield table, row[1]


def other(value: object, at: int, mask: int) -> object:
    """The value with one byte changed; text stays text, whatever it then says."""
    if isinstance(value, int):
        return value ^ (mask << 8 * (at % 3))
    raw = value if isinstance(value, bytes) else str(value).encode()
    at %= len(raw)
    new = raw[:at] + bytes([raw[at] ^ mask]) + raw[at + 1 :]
    return new if isinstance(value, bytes) else new.decode("utf-8", errors="surrogateescape")


def change(db: sqlite3.Connection, table: str, column: str, rowid: int, new: object) -> bool:
    """Writes a value over another; False where a row of that number is there already."""
    raw = new.encode("utf-8", errors="surrogateescape") if isinstance(new, str) else new
    cast = "CAST(? AS TEXT)" if isinstance(new, str) else "?"
    try:
        db.execute(f'UPDATE "{table}" SET "{column}" = {cast} WHERE rowid = ?', (raw, rowid))
    except sqlite3.IntegrityError:
        db.rollback()
        return False
    db.commit()
    return True


def changed(lab: Any, table: str, column: str, pick: int, at: int, mask: int) -> str | None:
    """Changes one byte of one value; None where there is nothing to change."""
    db = sqlite3.connect(lab.db)
    try:
        ids = [rowid for (rowid,) in db.execute(f'SELECT rowid FROM "{table}" ORDER BY rowid')]
        if not ids:
            return None
        rowid = ids[pick % len(ids)]
        query = f'SELECT "{column}", typeof("{column}") FROM "{table}" WHERE rowid = ?'
        old, kind = db.execute(query, (rowid,)).fetchone()
        if kind == "null" or (kind != "integer" and not len(old)):
            return None
        new = other(old, at, mask)
        return f"{table}.{column} row {rowid}" if change(db, table, column, rowid, new) else None
    finally:
        db.close()


def uncovered(lab: Any, level: Level) -> set[tuple[str, str]]:
    """The columns in which a changed byte may pass, found by trying each."""
    db = sqlite3.connect(lab.db)
    every = list(columns(db))
    db.close()
    found = set()
    whole = lab.db.read_bytes()
    for table, column in every:
        tried = 0
        for pick, at in ((0, 0), (5, 7), (9, 60), (2, -1)):
            if changed(lab, table, column, pick, at, 1) is None:
                continue
            tried += 1
            if lab.verify(level).verdict not in ("FAIL", "INCOMPLETE"):
                found.add((table, column))
            lab.db.write_bytes(whole)
        assert tried, (table, column)
    return found


@pytest.mark.parametrize("level", LEVELS)
def test_every_column_is_covered_and_one_that_came_later_would_be_found(
    full_lab: Any, tmp_path: Path, level: Level
) -> None:
    lab = full_lab.copy(tmp_path / "lab")
    lab.sql("PRAGMA journal_mode = DELETE")
    assert lab.verify(level).verdict == "PASS"  # the control
    assert uncovered(lab, level) == UNREAD[level]


@pytest.mark.parametrize(
    "ddl",
    [
        "ALTER TABLE ledger_entry ADD COLUMN note TEXT NOT NULL DEFAULT 'ZZ'",
        "ALTER TABLE ledger_part ADD COLUMN note BLOB NOT NULL DEFAULT x'00'",
        "ALTER TABLE ledger_checkpoint ADD COLUMN at INTEGER NOT NULL DEFAULT 1",
        "CREATE TABLE ledger_note (seq INTEGER PRIMARY KEY, note TEXT)",
        "CREATE VIEW ledger_view AS SELECT 1",
    ],
)
def test_nothing_else_may_be_called_a_ledger_table(full_lab: Any, tmp_path: Path, ddl: str) -> None:
    """SPEC.md section 10: nothing else is in ``ledger_*`` tables. A column nobody hashes is no evidence."""
    lab = full_lab.copy(tmp_path / "lab")
    lab.sql(ddl)
    for level in LEVELS:
        report = lab.verify(level)
        assert (report.verdict, [p.code for p in report.problems]) == ("FAIL", ["table_unknown"])


KINDS = st.sampled_from(
    ["message.received", "determination", "audit.status", "plugin.load", "review.changed"]
)
TEXTS = st.text(st.characters(codec="utf-8"), max_size=12)


@settings(max_examples=8, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(st.lists(st.tuples(KINDS, TEXTS), max_size=4), min_size=1, max_size=4), st.data())
def test_any_byte_of_any_value_of_any_log(
    lab: Any, tmp_path_factory: Any, blocks: list[list[tuple[str, str]]], data: st.DataObject
) -> None:
    made = type(lab).make(tmp_path_factory.mktemp("log") / "lab")
    for block in blocks:
        drafts = []
        for kind, text in block:
            slots = [name for name in SCHEMAS[kind].names if name not in ("schema", "ts")]
            drafts.append(Draft(kind, dict.fromkeys(slots[:: 1 + len(text) % 3], text)))
        made.write(*drafts)
        made.ledger.checkpoint()
    made.close()
    made.sql("PRAGMA journal_mode = DELETE")
    whole = made.db.read_bytes()
    assert made.verify("full").verdict == "PASS"  # the control
    db = sqlite3.connect(made.db)
    every = list(columns(db))
    db.close()
    for _ in range(6):
        table, column = data.draw(st.sampled_from(every))
        pick, at = data.draw(st.integers(0, 1000)), data.draw(st.integers(0, 5000))
        if changed(made, table, column, pick, at, data.draw(st.integers(1, 127))) is None:
            continue
        for level in LEVELS:
            verdict = made.verify(level).verdict
            assert verdict == "FAIL" or (table, column) in UNREAD[level], (table, column, verdict)
        made.db.write_bytes(whole)

"""Counts that would otherwise need a walk over every row: kept in the transaction that changes them."""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Mapping


def add(cursor: sqlite3.Cursor, changes: Counter[tuple[str, str]], heard: Mapping[str, str]) -> None:
    """Add (kind, name) changes; ``heard`` gives the feeds' last message times."""
    cursor.executemany(
        "INSERT INTO tally(kind, name, count, last_at) VALUES (?,?,?,?) ON CONFLICT(kind, name) DO UPDATE SET"
        " count = count + excluded.count, last_at = max(last_at, excluded.last_at)",
        [(kind, name, n, heard.get(name, "")) for (kind, name), n in changes.items() if n],
    )


def read(cursor: sqlite3.Cursor, kind: str) -> dict[str, tuple[int, str]]:
    """name -> (count, last time or "")."""
    rows = cursor.execute("SELECT name, count, last_at FROM tally WHERE kind = ?", (kind,))
    return {str(name): (int(count), str(last)) for name, count, last in rows if count}

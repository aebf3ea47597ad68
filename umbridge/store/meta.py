"""Short facts the store keeps about itself: which key is in force, what waits for a second person.

Nothing of a patient in plain text: whoever writes a note about a person writes a token.
"""

from __future__ import annotations

import sqlite3


def get(cursor: sqlite3.Cursor, name: str) -> str | None:
    row = cursor.execute("SELECT value FROM meta WHERE name = ?", (name,)).fetchone()
    return None if row is None else str(row[0])


def put(cursor: sqlite3.Cursor, name: str, value: str) -> None:
    cursor.execute(
        "INSERT INTO meta(name, value) VALUES (?, ?) ON CONFLICT(name) DO UPDATE SET value = excluded.value",
        (name, value),
    )


def drop(cursor: sqlite3.Cursor, name: str) -> None:
    cursor.execute("DELETE FROM meta WHERE name = ?", (name,))


def under(cursor: sqlite3.Cursor, prefix: str) -> dict[str, str]:
    """Every note whose name begins so, by name."""
    rows = cursor.execute(
        "SELECT name, value FROM meta WHERE substr(name, 1, ?) = ? ORDER BY name", (len(prefix), prefix)
    )
    return {str(name): str(value) for name, value in rows}

"""The worklist at rest: one row for each open review, found by due time, unit and payer without unsealing."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from umbridge_audit.keys import Keyring

from umbridge.review import worklist
from umbridge.review.worklist import WorklistLine
from umbridge.stay.clock import instant
from umbridge.values.kinds import ReviewState

UNREADABLE = "unreadable"
_ENCODE = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False).encode
_PUT = (
    "INSERT INTO open_review(lane, review_id, type, state, due, unit, payer, sealed) VALUES (?,?,?,?,?,?,?,?)"
    " ON CONFLICT(lane, review_id) DO UPDATE SET type = excluded.type, state = excluded.state,"
    " due = excluded.due, unit = excluded.unit, payer = excluded.payer, sealed = excluded.sealed"
)


@dataclass(frozen=True, slots=True)
class Place:
    """Where a line stands: by due time, those without one last, then by the review's number."""

    due: int | None  # microseconds since 1970
    review_id: str
    lane: bytes = b"\xff" * 33  # behind every lane: a place given by a person is that of a line it has seen


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which lines are asked for; everything that is set must hold. Tokens as of ``unit_token``."""

    unit: bytes | None = None
    payer: bytes | None = None
    due_before: int | None = None


@dataclass(frozen=True, slots=True)
class SealedLine:
    """One line, still sealed: its place, and what is in clear of it."""

    place: Place
    type: str
    sealed: bytes


def unit_token(keyring: Keyring, unit: str) -> bytes:
    return keyring.token("unit", unit)


def payer_token(keyring: Keyring, payer: str) -> bytes:
    return keyring.token("payer", payer)


def _aad(lane: bytes, review_id: str) -> bytes:
    return b"open_review\x00" + lane + review_id.encode()


def open_line(keyring: Keyring, line: SealedLine) -> WorklistLine:
    """Raises SealError."""
    place = line.place
    plain = keyring.unseal("stay", line.sealed, _aad(place.lane, place.review_id))
    return worklist.decoded(json.loads(plain))


def save(
    cursor: sqlite3.Cursor,
    keyring: Keyring,
    lane: bytes,
    lines: Sequence[WorklistLine],
    before: Sequence[WorklistLine] | None,
    at: datetime,
) -> None:
    """Have exactly these lines for the lane. ``before``: what it has, None where that is not known.

    A line that is as before is not written again; one whose place is as before leaves the indexes alone.
    """
    had = {line.review_id: line for line in before or ()}
    for line in lines:
        old = had.pop(line.review_id, None)
        if line == old:
            continue
        sealed = keyring.seal(
            "stay", _ENCODE(worklist.encoded(line)).encode(), _aad(lane, line.review_id), at
        )
        if old is not None and (old.due, old.unit, old.payer_class) == (
            line.due,
            line.unit,
            line.payer_class,
        ):
            cursor.execute(
                "UPDATE open_review SET sealed = ? WHERE lane = ? AND review_id = ?",
                (sealed, lane, line.review_id),
            )
            continue
        due = None if line.due is None else instant(line.due)
        unit = None if line.unit is None else unit_token(keyring, line.unit)
        payer = payer_token(keyring, line.payer_class)
        clear = (lane, line.review_id, line.type.value, ReviewState.OPEN.value, due, unit, payer)
        cursor.execute(_PUT, (*clear, sealed))
    if before is not None:
        gone = [(lane, name) for name in had]
    else:
        kept = {line.review_id for line in lines}
        rows = cursor.execute("SELECT review_id FROM open_review WHERE lane = ?", (lane,)).fetchall()
        gone = [(lane, name) for (name,) in rows if name not in kept]
    if gone:
        cursor.executemany("DELETE FROM open_review WHERE lane = ? AND review_id = ?", gone)


def save_unreadable(cursor: sqlite3.Cursor, keyring: Keyring, lane: bytes) -> None:
    """One line that does not open, before all others, until the stay's next work replaces it."""
    drop(cursor, lane)
    clear = (lane, UNREADABLE, UNREADABLE, ReviewState.OPEN.value, 0, None, payer_token(keyring, UNREADABLE))
    cursor.execute(_PUT, (*clear, b""))


def drop(cursor: sqlite3.Cursor, lane: bytes) -> None:
    """The lane is no more."""
    cursor.execute("DELETE FROM open_review WHERE lane = ?", (lane,))


def lanes(cursor: sqlite3.Cursor) -> list[bytes]:
    """Every lane that has a line."""
    return [bytes(lane) for (lane,) in cursor.execute("SELECT DISTINCT lane FROM open_review")]


def of_lane(cursor: sqlite3.Cursor, lane: bytes) -> list[SealedLine]:
    query = "SELECT due, review_id, lane, type, sealed FROM open_review WHERE lane = ? ORDER BY review_id"
    return [_line(record) for record in cursor.execute(query, (lane,))]


def page(cursor: sqlite3.Cursor, wanted: Wanted, after: Place | None, limit: int) -> list[SealedLine]:
    """The first lines behind a place, the earliest due first, those without a due time last."""
    found: list[SealedLine] = []
    if after is None or after.due is not None:
        found = _dated(cursor, wanted, after, limit)
        after = None
    if len(found) < limit and wanted.due_before is None:
        found += _undated(cursor, wanted, after, limit - len(found))
    return found


def _dated(cursor: sqlite3.Cursor, wanted: Wanted, after: Place | None, limit: int) -> list[SealedLine]:
    where, values = _tokens(wanted)
    where.append("due IS NOT NULL" if wanted.due_before is None else "due < ?")
    values += [] if wanted.due_before is None else [wanted.due_before]
    if after is not None:
        where.append("(due, review_id, lane) > (?, ?, ?)")
        values += [after.due, after.review_id, after.lane]
    return _select(cursor, where, values, "due, review_id, lane", limit)


def _undated(cursor: sqlite3.Cursor, wanted: Wanted, after: Place | None, limit: int) -> list[SealedLine]:
    where, values = _tokens(wanted)
    where.append("due IS NULL")
    if after is not None:
        where.append("(review_id, lane) > (?, ?)")
        values += [after.review_id, after.lane]
    return _select(cursor, where, values, "review_id, lane", limit)


def _tokens(wanted: Wanted) -> tuple[list[str], list[Any]]:
    asked = [("unit = ?", wanted.unit), ("payer = ?", wanted.payer)]
    return [each for each, value in asked if value], [value for _, value in asked if value]


def _select(
    cursor: sqlite3.Cursor, where: Sequence[str], values: Sequence[Any], order: str, limit: int
) -> list[SealedLine]:
    query = (
        f"SELECT due, review_id, lane, type, sealed FROM open_review WHERE {' AND '.join(where)}"  # noqa: S608 - constants
        f" ORDER BY {order} LIMIT ?"
    )
    return [_line(record) for record in cursor.execute(query, (*values, limit))]


def _line(record: Sequence[Any]) -> SealedLine:
    due, review_id, lane, kind, sealed = record
    return SealedLine(Place(due, review_id, bytes(lane)), kind, sealed)

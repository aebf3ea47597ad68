"""Bytes that never became a frame: counted by day, feed and reason, never kept."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from datetime import UTC, datetime


@dataclass(frozen=True, slots=True)
class Refusal:
    """What is counted: bytes that were no frame, or ``times`` connections that never came to one."""

    feed: str
    reason: str
    at: datetime
    bytes_seen: int = 0
    digest: str = ""
    times: int = 1


def count(cursor: sqlite3.Cursor, refusal: Refusal) -> None:
    """Add a refusal; a flood grows a number, not the table."""
    moment = refusal.at.astimezone(UTC).isoformat(timespec="milliseconds")
    known = (moment[:10], refusal.feed, refusal.reason, refusal.times)
    cursor.execute(
        "INSERT INTO wire_refusal(day, feed, reason, count, bytes_seen, last_digest, last_at)"
        " VALUES (?,?,?,?,?,?,?) ON CONFLICT(day, feed, reason) DO UPDATE SET count = count + excluded.count,"
        " bytes_seen = bytes_seen + excluded.bytes_seen, last_digest = excluded.last_digest,"
        " last_at = excluded.last_at",
        (*known, refusal.bytes_seen, refusal.digest, moment),
    )


def totals(cursor: sqlite3.Cursor) -> list[tuple[str, str, int, str]]:
    """(feed, reason, count, last_at) over all days."""
    query = (
        "SELECT feed, reason, sum(count), max(last_at) FROM wire_refusal GROUP BY feed, reason"
        " ORDER BY feed, reason"
    )
    return [(f, r, int(n), last) for f, r, n, last in cursor.execute(query)]

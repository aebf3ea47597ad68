"""Bytes that never became a frame: counted by day, feed and reason, never kept."""

from __future__ import annotations

import sqlite3
from datetime import UTC, datetime


def count(
    cursor: sqlite3.Cursor,
    feed: str,
    reason: str,
    bytes_seen: int,
    digest: str,
    at: datetime,
    times: int = 1,
) -> None:
    """Add a refusal, or ``times`` of them; a flood grows a number, not the table."""
    moment = at.astimezone(UTC).isoformat(timespec="milliseconds")
    cursor.execute(
        "INSERT INTO wire_refusal(day, feed, reason, count, bytes_seen, last_digest, last_at)"
        " VALUES (?,?,?,?,?,?,?) ON CONFLICT(day, feed, reason) DO UPDATE SET count = count + excluded.count,"
        " bytes_seen = bytes_seen + excluded.bytes_seen, last_digest = excluded.last_digest,"
        " last_at = excluded.last_at",
        (moment[:10], feed, reason, times, bytes_seen, digest, moment),
    )


def totals(cursor: sqlite3.Cursor) -> list[tuple[str, str, int, str]]:
    """(feed, reason, count, last_at) over all days."""
    query = (
        "SELECT feed, reason, sum(count), max(last_at) FROM wire_refusal GROUP BY feed, reason"
        " ORDER BY feed, reason"
    )
    return [(f, r, int(n), last) for f, r, n, last in cursor.execute(query)]

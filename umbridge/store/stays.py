"""Stays at rest: one sealed head a lane, one sealed increment a message."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from umbridge_audit.keys import Keyring

from umbridge.review import standing
from umbridge.review.standing import LaneReviews


@dataclass(frozen=True, slots=True)
class SavedStay:
    """A lane as stored: its last row, what was said, and the fold's head and increments, oldest first."""

    seq: int
    said: LaneReviews
    head: bytes
    increments: tuple[bytes, ...]
    due: int | None  # when its next review opens by the clock alone (``wait_until``)


def _joined(said: LaneReviews, head: bytes) -> bytes:
    """u32 length of what was said, that as JSON, the fold's own head."""
    ours = json.dumps(standing.encoded(said), separators=(",", ":"), ensure_ascii=False).encode()
    return len(ours).to_bytes(4, "big") + ours + head


def _parted(joined: bytes) -> tuple[LaneReviews, bytes]:
    size = int.from_bytes(joined[:4], "big")
    return standing.decoded(json.loads(joined[4 : 4 + size])), joined[4 + size :]


def _head_aad(lane: bytes) -> bytes:
    return b"stay_head\x00" + lane


def _increment_aad(lane: bytes, seq: int) -> bytes:
    return b"stay_increment\x00" + lane + seq.to_bytes(8, "big")


def load(cursor: sqlite3.Cursor, keyring: Keyring, lane: bytes) -> SavedStay | None:
    found = cursor.execute("SELECT seq, sealed FROM stay_head WHERE lane = ?", (lane,)).fetchone()
    if found is None:
        return None
    rows = cursor.execute("SELECT seq, sealed FROM stay_increment WHERE lane = ? ORDER BY seq", (lane,))
    said, head = _parted(keyring.unseal("stay", found[1], _head_aad(lane)))
    return SavedStay(
        seq=found[0],
        said=said,
        head=head,
        increments=tuple(keyring.unseal("stay", sealed, _increment_aad(lane, seq)) for seq, sealed in rows),
        due=_due(cursor, lane),
    )


def seq(cursor: sqlite3.Cursor, lane: bytes) -> int | None:
    found = cursor.execute("SELECT seq FROM stay_head WHERE lane = ?", (lane,)).fetchone()
    return None if found is None else int(found[0])


def _due(cursor: sqlite3.Cursor, lane: bytes) -> int | None:
    found = cursor.execute("SELECT due FROM lane_due WHERE lane = ?", (lane,)).fetchone()
    return None if found is None else int(found[0])


def save(
    cursor: sqlite3.Cursor,
    keyring: Keyring,
    lane: bytes,
    seq: int,
    said: LaneReviews,
    head: bytes,
    increments: list[tuple[int, bytes]],
    at: datetime,
) -> None:
    """Replace the head and append increments; the cost depends on neither's history."""
    cursor.execute(
        "INSERT INTO stay_head(lane, seq, sealed, open) VALUES (?,?,?,?)"
        " ON CONFLICT(lane) DO UPDATE SET seq = excluded.seq, sealed = excluded.sealed, open = excluded.open",
        (lane, seq, keyring.seal("stay", _joined(said, head), _head_aad(lane), at), said.waiting),
    )
    _put(cursor, keyring, lane, increments, at)


def renew(
    cursor: sqlite3.Cursor, keyring: Keyring, lane: bytes, increments: list[tuple[int, bytes]], at: datetime
) -> None:
    """Replace every increment of a lane: the site profile changed, and with it what local codes mean."""
    cursor.execute("DELETE FROM stay_increment WHERE lane = ?", (lane,))
    _put(cursor, keyring, lane, increments, at)


def _put(
    cursor: sqlite3.Cursor, keyring: Keyring, lane: bytes, increments: list[tuple[int, bytes]], at: datetime
) -> None:
    if increments:
        cursor.executemany(
            "INSERT OR REPLACE INTO stay_increment(lane, seq, sealed) VALUES (?,?,?)",
            [
                (lane, seq, keyring.seal("stay", made, _increment_aad(lane, seq), at))
                for seq, made in increments
            ],
        )


def lanes(cursor: sqlite3.Cursor) -> Iterator[bytes]:
    for (lane,) in cursor.execute("SELECT lane FROM stay_head ORDER BY seq").fetchall():
        yield bytes(lane)


def exists(cursor: sqlite3.Cursor, lane: bytes) -> bool:
    """Whether there is a stay in that lane; nothing is opened for it."""
    return cursor.execute("SELECT 1 FROM stay_head WHERE lane = ?", (lane,)).fetchone() is not None


def waiting(cursor: sqlite3.Cursor) -> list[bytes]:
    """The lanes with a review that waits for a person."""
    found = cursor.execute("SELECT lane FROM stay_head WHERE open > 0 ORDER BY seq")
    return [bytes(lane) for (lane,) in found]


def next_replay(cursor: sqlite3.Cursor, seq: int) -> int:
    """How often the reviews of a row were answered anew, and one more."""
    found = cursor.execute("SELECT coalesce(max(replay), 0) + 1 FROM determination WHERE row = ?", (seq,))
    return int(found.fetchone()[0])


def record_determinations(cursor: sqlite3.Cursor, rows: list[tuple[Any, ...]]) -> None:
    """(row, review_id, plugin, replay, entry); a second one for the same key is an IntegrityError."""
    cursor.executemany(
        "INSERT INTO determination(row, review_id, plugin, replay, entry) VALUES (?,?,?,?,?)", rows
    )


def wait_until(cursor: sqlite3.Cursor, lane: bytes, due: int | None) -> None:
    """When the lane's next review opens by the clock alone; None: at no time."""
    if due is None:
        cursor.execute("DELETE FROM lane_due WHERE lane = ?", (lane,))
    else:
        cursor.execute("INSERT OR REPLACE INTO lane_due(lane, due) VALUES (?,?)", (lane, due))


def due_lanes(cursor: sqlite3.Cursor, now: int, limit: int) -> list[tuple[bytes, int]]:
    """Lanes whose moment has come, the longest overdue first."""
    query = "SELECT lane, due FROM lane_due WHERE due <= ? ORDER BY due LIMIT ?"
    return cursor.execute(query, (now, limit)).fetchall()


def no_longer_due(cursor: sqlite3.Cursor, lane: bytes, due: int) -> None:
    """That moment is past; another may have been set meanwhile."""
    cursor.execute("DELETE FROM lane_due WHERE lane = ? AND due = ?", (lane, due))

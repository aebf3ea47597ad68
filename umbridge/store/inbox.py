"""The inbox: what came in, sealed, in order; the duplicate rule; what became of each row."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any, NamedTuple

from umbridge_audit.entry import Draft
from umbridge_audit.keys import Keyring
from umbridge_audit.seal import SealError

from umbridge.model import RowState
from umbridge.stay.identity import Named
from umbridge.values.frozen import dataclass

_INSERT = (
    "INSERT INTO inbox(seq, feed, key_token, digest, content_digest, variant, lane, sealed, state, attempts,"
    " ack, condition, location, reason, received_at, entry) VALUES (?,?,?,?,?,?,?,?,?,0,?,?,?,?,?,?)"
)
# json.dumps makes one each time, and looks for rings
_spelt = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False, check_circular=False).encode
UNREADABLE = "unreadable"
MOST_PARTS = 1024  # more than one message can have (hl7.translate)
_FIRST = "first_received"  # in the sealed head of a replay
_COLUMNS = "seq, feed, lane, sealed, state, ack, condition, location, reason, received_at, entry"


@dataclass(frozen=True, slots=True)
class Incoming:
    """One frame as intake hands it to the writer: read, judged, not yet stored."""

    feed: str
    frame: bytes
    digest: bytes
    content_digest: bytes
    key_token: bytes
    visit_token: bytes | None
    account_token: bytes | None
    head: dict[str, Any]  # what lists show: control_id, type, visit; sealed with the frame
    sender: str
    version: str
    state: RowState
    ack: str
    condition: int | None
    location: str | None
    reason: str
    received_at: datetime
    reused: str  # the feed's rule for a control id that comes back with other content
    found_by: tuple[bytes, ...] = ()  # search tokens
    patient_token: bytes | None = None
    parts: tuple[
        Named[bytes], ...
    ] = ()  # of a merge, a move, an update of the person; else PID and PV1 say it
    numbers: tuple[bytes, ...] = ()  # of the orders and reports that it speaks of

    @property
    def named(self) -> tuple[Named[bytes], ...]:
        """The numbers that each part of the message names, as tokens."""
        if self.parts:
            return self.parts
        patients = () if self.patient_token is None else (self.patient_token,)
        return (Named(0, self.visit_token, self.account_token, patients, numbers=self.numbers),)


Share = tuple[bytes, tuple[int, ...] | None]  # a lane, and which parts of a row; None is the row as it is


@dataclass(frozen=True, slots=True)
class Stored:
    """The row an answer speaks for. ``duplicate``: the row was there before this delivery.

    ``shares``: the lanes that take it in. ``refolds``: lanes to be folded again with it, each with the lane
    that is joined to it, or None.
    """

    seq: int
    lane: bytes | None
    state: RowState
    ack: str
    condition: int | None
    location: str | None
    reason: str
    received_at: datetime
    duplicate: bool
    shares: tuple[Share, ...] = ()
    refolds: tuple[tuple[bytes, bytes | None], ...] = ()


class Struck(NamedTuple):
    """A pending row that processes died of, its first lane, and how many they were."""

    seq: int
    lane: bytes | None
    strikes: int


@dataclass(frozen=True, slots=True)
class Arrived:
    """A row to be worked, told after the COMMIT that made it; with its frame where that is at hand."""

    stored: Stored
    feed: str = ""
    frame: bytes | None = None


@dataclass(frozen=True, slots=True)
class Row:
    """One inbox row, opened: only ``disclose`` and the pipeline ever hold one."""

    seq: int
    feed: str
    lane: bytes | None
    state: str
    ack: str
    reason: str
    received_at: str
    entry: int
    head: dict[str, Any]
    frame: bytes
    part: int = 0  # of a message about several: which of them a lane takes in
    first_received: str = ""  # of a replay, when the message came in the first time

    @property
    def received(self) -> str:
        """When the message came in: a person who has it worked again is no sender."""
        return self.first_received or self.received_at


def aad(seq: int) -> bytes:
    """What a sealed row is bound to: its table and place, so that rows cannot be exchanged."""
    return b"inbox\x00" + seq.to_bytes(8, "big")


def seal(keyring: Keyring, item: Incoming, seq: int, at: datetime) -> bytes:
    """Header and frame in one ciphertext: u32 header length, header JSON, frame bytes."""
    head = _spelt(item.head).encode()
    plain = len(head).to_bytes(4, "big") + head + item.frame
    return keyring.seal("raw", plain, aad(seq), at)


def open_row(keyring: Keyring, record: Sequence[Any]) -> Row:
    """Unseal one row as selected by this module. Raises SealError."""
    seq, feed, lane, sealed, state, ack, _condition, _location, reason, received_at, entry = record
    plain = keyring.unseal("raw", sealed, aad(seq))
    size = int.from_bytes(plain[:4], "big")
    head = json.loads(plain[4 : 4 + size])
    return Row(
        seq=seq,
        feed=feed,
        lane=lane,
        state=state,
        ack=ack,
        reason=reason,
        received_at=received_at,
        entry=entry,
        head=head,
        frame=plain[4 + size :],
        first_received=head.pop(_FIRST, ""),
    )


def replay(
    cursor: sqlite3.Cursor,
    keyring: Keyring,
    old: Row,
    seq: int,
    lane: bytes | None,
    state: RowState,
    ack: str,
    at: datetime,
    received_at: str,
) -> tuple[int, bytes]:
    """Insert the child of a row; returns its number among the row's replays, and its key token.

    Its key is the replay's own, so that the duplicate rule goes on speaking of the first row alone.
    """
    query = "SELECT count(*), max(digest), max(content_digest) FROM inbox WHERE seq = ? OR replay_of = ?"
    count, digest, content = cursor.execute(query, (old.seq, old.seq)).fetchone()
    token = keyring.token("replay", f"{old.seq}/{count}")
    head = _spelt({**old.head, _FIRST: old.received}).encode()
    sealed = keyring.seal("raw", len(head).to_bytes(4, "big") + head + old.frame, aad(seq), at)
    known = (token, digest, content, 0, lane, sealed, state.value)
    insert(cursor, [(seq, old.feed, *known, ack, None, None, f"replay_of_{old.seq}", received_at, old.entry)])
    cursor.execute("UPDATE inbox SET replay_of = ?, replay_no = ? WHERE seq = ?", (old.seq, count, seq))
    return count, token


def receipt(
    item: Incoming,
    kind: str,
    row: int,
    state: str,
    *,
    ack: str = "",
    reason: str = "",
    of_row: int | None = None,
) -> Draft:
    """The ledger entry that says what became of a frame."""
    values: dict[str, Any] = {
        "actor": "umbridge",
        "feed": item.feed,
        "state": state,
        "row": row,
        "control_id": item.head["control_id"],
        "message_type": item.head["type"],
        "sender": item.sender,
        "version": item.version,
        "digest": item.digest.hex(),
        "ack": ack,
        "reason": reason,
    }
    if of_row is not None:
        values["of_row"] = of_row
    return Draft(kind, values)


def settle(cursor: sqlite3.Cursor, seq: int, state: RowState, reason: str) -> None:
    """Say what a person did with a row, beside what was said of it before."""
    finish(cursor, [(state.value, reason, seq)])


def strike(cursor: sqlite3.Cursor, seq: int) -> None:
    """Count one more process that died of a pending row."""
    cursor.execute("UPDATE inbox SET attempts = attempts + 1 WHERE seq = ? AND state = 'PENDING'", (seq,))


def struck(cursor: sqlite3.Cursor) -> list[Struck]:
    """Pending rows that processes died of."""
    query = "SELECT seq, lane, attempts FROM inbox WHERE state = 'PENDING' AND attempts > 0"
    return [Struck(*row) for row in cursor.execute(query)]


def quarantined_lanes(cursor: sqlite3.Cursor) -> set[bytes]:
    """Stays that miss a message which waits for a person."""
    query = "SELECT DISTINCT lane FROM inbox WHERE seq IN (SELECT seq FROM inbox INDEXED BY inbox_overview"
    rows = cursor.execute(query + " WHERE state = 'QUARANTINED') AND lane IS NOT NULL")
    found = {lane for (lane,) in rows}
    rows = cursor.execute(
        "SELECT DISTINCT lane FROM lane_row WHERE done = 2 AND seq IN"
        " (SELECT seq FROM inbox INDEXED BY inbox_overview WHERE state = 'QUARANTINED')"
    )
    return found | {lane for (lane,) in rows}


def insert(cursor: sqlite3.Cursor, rows: list[tuple[Any, ...]]) -> None:
    """On the driver's own cursor: the toolkit's bookkeeping would cost as much as the insert itself."""
    cursor.executemany(_INSERT, rows)


def known(cursor: sqlite3.Cursor, tokens: Sequence[bytes]) -> dict[bytes, list[tuple[Any, ...]]]:
    """Rows already stored under these key tokens, by token, oldest first."""
    marks = ",".join("?" * len(tokens))
    found: dict[bytes, list[tuple[Any, ...]]] = {}
    query = (
        "SELECT key_token, seq, digest, content_digest, lane, state, ack, condition, location, reason,"  # noqa: S608 - marks only
        f" received_at FROM inbox WHERE key_token IN ({marks}) ORDER BY seq"
    )
    for record in cursor.execute(query, tuple(tokens)):
        found.setdefault(record[0], []).append(record[1:])
    return found


def last_seq(cursor: sqlite3.Cursor) -> int:
    return int(cursor.execute("SELECT coalesce(max(seq), 0) FROM inbox").fetchone()[0])


def pending(cursor: sqlite3.Cursor, after: int, limit: int) -> list[tuple[int, bytes | None]]:
    """(seq, lane) of rows not yet worked, in order, a page at a time."""
    query = "SELECT seq, lane FROM inbox WHERE state = 'PENDING' AND seq > ? ORDER BY seq LIMIT ?"
    return [(seq, lane) for seq, lane in cursor.execute(query, (after, limit))]


def page(cursor: sqlite3.Cursor, keyring: Keyring, after: int, limit: int) -> list[Row]:
    """Opened rows after ``after``, oldest first."""
    query = f"SELECT {_COLUMNS} FROM inbox WHERE seq > ? ORDER BY seq LIMIT ?"  # noqa: S608 - constant
    return [open_row(keyring, record) for record in cursor.execute(query, (after, limit))]


def sealed_page(cursor: sqlite3.Cursor, after: int, limit: int, size: int) -> list[Sequence[Any]]:
    """Rows after ``after`` as ``open_row`` takes them: at most ``limit``, and ``size`` bytes or one row.

    Still sealed: whoever asks opens them in a thread of its own, one at a time.
    """
    return _within(cursor, "seq > ?", (after,), limit, size)


# A row that is worked stands in its lane's index; one that waits in that of all that wait, in the order of
# rows, where a lane's are found by walking it (docs/decisions/0104): so each is asked, by name.
_WORKED = " FROM inbox INDEXED BY inbox_lane WHERE lane = :lane AND state <> 'PENDING'"
_WAITING = " FROM inbox INDEXED BY inbox_pending WHERE lane = :lane AND state = 'PENDING'"
OF_LANE = f"SELECT seq{_WORKED} UNION ALL SELECT seq{_WAITING}"  # whatever became of them
_PLAIN = (
    " AND inbox.seq > :after AND inbox.seq <= :until"
    " AND NOT EXISTS (SELECT 1 FROM lane_row WHERE lane_row.seq = inbox.seq)"
)
_TAKEN_IN = (
    f"SELECT seq, 0 AS part, length(sealed) AS size{_WORKED}"  # noqa: S608 - constants
    f" AND state IN ('DETERMINED','NOT_APPLICABLE'){_PLAIN}"
    f" UNION ALL SELECT seq, 0, length(sealed){_WAITING}{_PLAIN}"
    " UNION ALL SELECT seq, part, (SELECT length(sealed) FROM inbox WHERE inbox.seq = lane_row.seq)"
    " FROM lane_row WHERE lane_row.lane = :lane AND seq > :after AND seq <= :until AND part <> -1"
    " AND (done = 1 OR (done = 0 AND seq = :until)) ORDER BY 1, 2 LIMIT :limit"
)


def lane_places(
    cursor: sqlite3.Cursor, lane: bytes, until: int, *, after: int = 0, limit: int = -1
) -> list[tuple[int, int, int]]:
    """(row, part, bytes) of all that a lane has taken in or is taking in, up to ``until``, in order."""
    words = {"lane": lane, "after": after, "until": until, "limit": limit}
    return cursor.execute(_TAKEN_IN, words).fetchall()


def lanes_of_row(cursor: sqlite3.Cursor, seq: int) -> list[bytes]:
    """The lanes that a row, or a part of it, went to."""
    query = "SELECT lane FROM inbox WHERE seq = ? UNION SELECT lane FROM lane_row WHERE seq = ?"
    return [bytes(lane) for (lane,) in cursor.execute(query, (seq, seq)) if lane is not None]


def sealed_lane(
    cursor: sqlite3.Cursor, lane: bytes, after: int, until: int, limit: int, size: int
) -> list[tuple[Sequence[Any], list[int]]]:
    """What a lane has taken in, a page at a time: rows as in ``sealed_page``, each with its parts."""
    found: dict[int, list[int]] = {}
    total, most = 0, limit + MOST_PARTS
    places = lane_places(cursor, lane, until, after=after, limit=most)
    if len(places) == most:  # the last row's parts may not all be there: it is for the next page
        places = [place for place in places if place[0] != places[-1][0]]
    for seq, part, length in places:
        if seq not in found:
            total += length
            if found and (total > size or len(found) == limit):
                break
        found.setdefault(seq, []).append(part)
    rows = {seq: sealed_row(cursor, seq) for seq in found}
    return [(row, found[seq]) for seq, row in rows.items() if row is not None]


def _within(
    cursor: sqlite3.Cursor, where: str, values: tuple[Any, ...], limit: int, size: int
) -> list[Sequence[Any]]:
    # SQLite tells a blob's length without reading it, so the bound is found before anything large is loaded
    query = f"SELECT seq, length(sealed) FROM inbox WHERE {where} ORDER BY seq LIMIT ?"  # noqa: S608 - constant
    found, total = 0, 0
    for _, length in cursor.execute(query, (*values, limit)):
        total += length
        if found and total > size:
            break
        found += 1
    query = f"SELECT {_COLUMNS} FROM inbox WHERE {where} ORDER BY seq LIMIT ?"  # noqa: S608 - constant
    return cursor.execute(query, (*values, found)).fetchall()


def sealed_row(cursor: sqlite3.Cursor, seq: int) -> Sequence[Any] | None:
    """One row as ``open_row`` takes it, None where there is none."""
    query = f"SELECT {_COLUMNS} FROM inbox WHERE seq = ?"  # noqa: S608 - constant
    found: Sequence[Any] | None = cursor.execute(query, (seq,)).fetchone()
    return found


def open_leniently(keyring: Keyring, record: Sequence[Any]) -> Row:
    """``open_row`` for looking: a row that does not open has no head, no frame, and says so as its reason."""
    try:
        return open_row(keyring, record)
    except (SealError, ValueError):
        seq, feed, lane, _sealed, state, ack, _condition, _location, _reason, received_at, entry = record
        return Row(seq, feed, lane, state, ack, UNREADABLE, received_at, entry, {}, b"")


def row(cursor: sqlite3.Cursor, keyring: Keyring, seq: int) -> Row | None:
    query = f"SELECT {_COLUMNS} FROM inbox WHERE seq = ?"  # noqa: S608 - constant
    record = cursor.execute(query, (seq,)).fetchone()
    return None if record is None else open_row(keyring, record)


def lane_rows(cursor: sqlite3.Cursor, keyring: Keyring, lane: bytes, until: int) -> Iterator[Row]:
    """What a re-fold reads: every row, or part of one, that a lane took in or is taking in."""
    opened: Row | None = None
    for seq, part, _ in lane_places(cursor, lane, until):
        if opened is None or opened.seq != seq:
            opened = row(cursor, keyring, seq)
        if opened is not None:
            yield replace(opened, part=part)


def finish(cursor: sqlite3.Cursor, rows: list[tuple[str, str, int]]) -> None:
    """Set (state, reason) of worked rows; what was said at intake, such as a reused id, stays beside it."""
    cursor.executemany("UPDATE inbox SET state = ?, reason = trim(reason || ' ' || ?) WHERE seq = ?", rows)

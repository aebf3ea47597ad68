"""Finding messages by number, time, feed or state: keyed tokens, one overview index, a reading connection.

Numbers of patients are never in an index as they are: only their keyed hashes. Looking runs beside the
writer, in the thread of whoever asks, so that a search over a million rows holds up nobody's answer.

Each random key dirties a page of its own, so an answer's transaction writes its tokens side by side
(``search_later``); they are moved, some hundred rows at a time, when nobody waits. A search looks in both.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from umbridge_audit.keys import Keyring

from umbridge.store import inbox

SEPARATOR = "\x1f"  # between the parts of a token's input; cannot occur inside a decoded HL7 field
TOKEN = 16  # bytes of one (``Keyring.token``)
CHUNK = 50_000  # row numbers found at a time


@dataclass(frozen=True, slots=True)
class Criteria:
    """What is looked for; everything that is set must hold. Times as stored: UTC, milliseconds, Z."""

    tokens: tuple[bytes, ...] = ()  # of ``patient`` and ``control``: all of them
    lane: bytes | None = None
    since: str = ""
    until: str = ""  # not included
    feed: str = ""
    state: str = ""
    after: int = 0
    any_of: tuple[bytes, ...] = ()  # of ``patient``: one number in each spelling of its authority


def patient(keyring: Keyring, number: str, authority: str) -> bytes:
    """The token of one identifier of PID-3."""
    return keyring.token_again("patient", authority + SEPARATOR + number)


def control(keyring: Keyring, control_id: str) -> bytes:
    """The token of MSH-10, whichever feed it came from."""
    return keyring.token("control", control_id)


def later(cursor: sqlite3.Cursor, rows: Sequence[tuple[int, Sequence[bytes]]]) -> None:
    """Let rows be found, by the cheapest write there is: their tokens, in the order of rows.

    Raises ValueError for a token of another length, which could not be told from its neighbours.
    """
    for _, tokens in rows:
        for token in tokens:
            if len(token) != TOKEN:
                raise ValueError("not a search token")
    joined = [(seq, b"".join(tokens)) for seq, tokens in rows]
    cursor.executemany("INSERT INTO search_later(seq, tokens) VALUES (?,?)", joined)


def sort(cursor: sqlite3.Cursor, most: int) -> int:
    """Move the tokens of the first ``most`` rows that wait to where they are looked up; how many rows."""
    found = cursor.execute("SELECT seq, tokens FROM search_later ORDER BY seq LIMIT ?", (most,)).fetchall()
    if not found:
        return 0
    # in the table's order: neighbours share a page; the same token twice in a message is one way to find it
    pairs = sorted(
        (joined[at : at + TOKEN], seq) for seq, joined in found for at in range(0, len(joined), TOKEN)
    )
    cursor.executemany("INSERT OR IGNORE INTO search_token(token, seq) VALUES (?,?)", pairs)
    cursor.execute("DELETE FROM search_later WHERE seq <= ?", (found[-1][0],))
    return len(found)


def unsorted(cursor: sqlite3.Cursor) -> int:
    """How many rows' tokens wait."""
    return int(cursor.execute("SELECT count(*) FROM search_later").fetchone()[0])


class Finder:
    """A connection of its own that only reads. Close it."""

    def __init__(self, database: Path) -> None:
        self._raw = sqlite3.connect(f"file:{database}?mode=ro", uri=True, check_same_thread=False)
        self._cursor = self._raw.cursor()

    def close(self) -> None:
        self._raw.close()

    def numbers(self, wanted: Criteria, limit: int = CHUNK) -> list[int]:
        """The first ``limit`` rows after ``wanted.after``, in order."""
        where = ["seq > :after"]
        values: dict[str, int | str | bytes] = {"after": wanted.after, "limit": limit}
        for number, token in enumerate(wanted.tokens):
            where.append(
                f"seq IN (SELECT seq FROM search_token WHERE token = :token{number}"  # noqa: S608 - numbered
                f" UNION ALL SELECT seq FROM search_later WHERE instr(tokens, :token{number}) > 0)"
            )
            values[f"token{number}"] = token
        if wanted.any_of:
            several = {f"any{number}": token for number, token in enumerate(wanted.any_of)}
            marks = ",".join(f":{name}" for name in several)
            here = " OR ".join(f"instr(tokens, :{name}) > 0" for name in several)
            where.append(
                f"seq IN (SELECT seq FROM search_token WHERE token IN ({marks})"  # noqa: S608 - constants
                f" UNION ALL SELECT seq FROM search_later WHERE {here})"
            )
            values |= several
        if wanted.lane:
            shared = "SELECT seq FROM lane_row WHERE lane = :lane AND done < 2"
            where.append(f"seq IN ({inbox.OF_LANE} UNION ALL {shared})")
            values["lane"] = wanted.lane
        for name, clause, value in (
            ("since", "received_at >= :since", wanted.since),
            ("until", "received_at < :until", wanted.until),
            ("feed", "feed = :feed", wanted.feed),
            ("state", "state = :state", wanted.state),
        ):
            if value:
                where.append(clause)
                values[name] = value
        # Without a token every row is a candidate: the overview has what is asked about, and not the frames.
        how = "" if wanted.tokens or wanted.any_of or wanted.lane else " INDEXED BY inbox_overview"
        query = f"SELECT seq FROM inbox{how} WHERE {' AND '.join(where)} ORDER BY seq LIMIT :limit"  # noqa: S608 - constants
        return [seq for (seq,) in self._cursor.execute(query, values)]

    def records(self, wanted: Criteria) -> Iterator[Sequence[Any]]:
        """The rows as ``inbox.open_row`` takes them, one at a time: a frame may have 16 MiB."""
        after = wanted.after
        while True:
            found = self.numbers(replace(wanted, after=after))
            for seq in found:
                record = inbox.sealed_row(self._cursor, seq)
                if record is not None:
                    yield record
            if len(found) < CHUNK:
                return
            after = found[-1]

"""What the writer does when nobody waits: search tokens put in order, the write-ahead log taken back."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

from umbridge.store.line import Line
from umbridge.store.memory import Memory

QUIET_SECONDS = 1.0  # without a frame
SORT = 256  # rows whose search tokens are moved in one transaction: some milliseconds
MOST_UNSORTED = 50_000  # beyond that they are moved however many senders there are: a search reads them all
TAKE_BACK = 1000  # rows changed, each on a page or two: below that a quiet moment is not worth two syncs


class Upkeep:
    """When which of it is due. ``until_…``: seconds from now, 0: now, None: there is nothing to do."""

    def __init__(self, path: Path, raw: sqlite3.Connection, line: Line[Any], memory: Memory) -> None:
        self._path = path
        self._raw = raw
        self._line = line
        self._memory = memory
        self._taken_back_at = raw.total_changes

    def until_sorting(self) -> float | None:
        """Many once senders stand in line no more, a few once it is quiet, and too many at once."""
        waiting = self._memory.unsorted
        if not waiting:
            return None
        if waiting >= MOST_UNSORTED:
            return 0.0
        return self._line.until_uncrowded() if waiting >= SORT else self._line.until_quiet(QUIET_SECONDS)

    def until_taking_back(self) -> float | None:
        """Once it is quiet: else some COMMIT has to, and whoever waits for it waits longer."""
        if self._raw.total_changes - self._taken_back_at < TAKE_BACK:
            return None
        return self._line.until_quiet(QUIET_SECONDS)

    def take_back(self) -> None:
        """Copy the log into the database, as far as no reader needs it. Waits for the disk.

        Through a connection of its own: this runs in the thread of the disk, and nobody else's statement may
        be in its way. Where another connection is at it, nothing is done: the log is whole as it is, and is
        taken back in a later quiet moment.
        """
        self._taken_back_at = self._raw.total_changes
        try:
            with closing(sqlite3.connect(self._path, timeout=0, isolation_level=None)) as own:
                own.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
        except sqlite3.DatabaseError as exc:
            if exc.sqlite_errorcode & 0xFF not in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
                raise

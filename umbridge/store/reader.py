"""Reading beside the writer: named operations on a connection that only reads, in the asking thread.

A question stands in no queue, and nobody's answer waits for it. What was committed before it began is seen
(a write-ahead log's readers see the newest commit); what is being written is not.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from threading import Lock
from typing import TypeVar

from umbridge_audit import store as ledger_store
from umbridge_audit.keys import Keyring

from umbridge.errors import StoreError
from umbridge.store import counters, inbox, meta, patient_index, refusals, stays, worklist
from umbridge.store.engine import unusable
from umbridge.store.inbox import Row
from umbridge.store.patient_index import Refold
from umbridge.store.stays import SavedStay
from umbridge.store.worklist import Place, SealedLine, Wanted

T = TypeVar("T")
KEPT = 4  # connections kept open between questions: as many as threads that answer the control socket
_PRAGMAS = ("query_only=ON", "trusted_schema=OFF", "cell_size_check=ON", "temp_store=MEMORY")


class Reader:
    """One asking thread's eyes. Raises StoreError where the database cannot be read."""

    def __init__(self, path: Path, keyring: Keyring) -> None:
        self._path = path
        self._keyring = keyring
        try:
            self._raw = sqlite3.connect(
                f"{path.absolute().as_uri()}?mode=ro", uri=True, isolation_level=None, check_same_thread=False
            )
            self._cursor = self._raw.cursor()
            for pragma in _PRAGMAS:
                self._cursor.execute(f"PRAGMA {pragma}")
        except sqlite3.Error as exc:
            raise unusable(path, exc) from exc

    def close(self) -> None:
        self._raw.close()
        if "ledger" in self.__dict__:
            self.ledger.close()

    @contextmanager
    def snapshot(self) -> Iterator[None]:
        """One consistent view for as long as it is open: keep it short, the log grows meanwhile."""
        self._ask(lambda: self._cursor.execute("BEGIN"))
        try:
            yield
        finally:
            self._ask(lambda: self._cursor.execute("ROLLBACK"))

    @cached_property
    def ledger(self) -> ledger_store.Reader:
        """The ledger's records, on a connection of their own."""
        return ledger_store.open_readonly(self._path, self._keyring)

    def _ask(self, question: Callable[[], T]) -> T:
        try:
            return question()
        except sqlite3.Error as exc:
            raise unusable(self._path, exc) from exc

    # -- rows ----------------------------------------------------------------------------------------

    def row(self, seq: int, *, leniently: bool = False) -> Row | None:
        """One row, opened. ``leniently``: one that does not open has no head, no frame, and says so as its
        reason; else it raises SealError.
        """
        record = self._ask(lambda: inbox.sealed_row(self._cursor, seq))
        if record is None:
            return None
        opened = inbox.open_leniently if leniently else inbox.open_row
        return opened(self._keyring, record)

    def has_row(self, seq: int) -> bool:
        """Whether there is such a row; nothing is opened for it."""
        return self._ask(lambda: inbox.sealed_row(self._cursor, seq)) is not None

    def rows(self, after: int, limit: int, size: int) -> list[Row]:
        """Rows after ``after``, oldest first: at most ``limit``, and ``size`` bytes or one row. For looking:
        a row that does not open is there and says so.
        """
        records = self._ask(lambda: inbox.sealed_page(self._cursor, after, limit, size))
        return [inbox.open_leniently(self._keyring, record) for record in records]

    def lane_rows(
        self, lane: bytes, after: int, until: int, limit: int, size: int
    ) -> list[tuple[Row, list[int]]]:
        """What a lane has taken in, a page at a time as in ``rows``; each row with the parts it took."""
        found = self._ask(lambda: inbox.sealed_lane(self._cursor, lane, after, until, limit, size))
        return [(inbox.open_leniently(self._keyring, record), parts) for record, parts in found]

    def folded_rows(self, lane: bytes, until: int) -> list[Row]:
        """Every row, or part of one, that a lane took in or is taking in: what a re-fold reads."""
        return self._ask(lambda: list(inbox.lane_rows(self._cursor, self._keyring, lane, until)))

    def lanes_of_row(self, seq: int) -> list[bytes]:
        """The lanes with a stay that a row, or a part of it, went to."""
        return [
            lane for lane in self._ask(lambda: inbox.lanes_of_row(self._cursor, seq)) if self.has_stay(lane)
        ]

    def pending(self, after: int, limit: int) -> list[tuple[int, bytes | None]]:
        """(row, lane) of rows not yet worked, in order, a page at a time."""
        return self._ask(lambda: inbox.pending(self._cursor, after, limit))

    def waiting_parts(self) -> dict[int, dict[bytes, tuple[int, ...]]]:
        """Row -> lane -> parts that are still to be taken in."""
        return self._ask(lambda: patient_index.waiting(self._cursor))

    def struck(self) -> list[inbox.Struck]:
        """Pending rows that daemons died of."""
        return self._ask(lambda: inbox.struck(self._cursor))

    # -- stays ---------------------------------------------------------------------------------------

    def resolve(self, token: bytes) -> bytes | None:
        """The lane a visit's or an account's number leads to."""
        return self._ask(lambda: patient_index.resolve(self._cursor, token))

    def stay(self, lane: bytes) -> SavedStay | None:
        """The lane's stay as its newest message left it. Raises SealError."""
        return self._ask(lambda: stays.load(self._cursor, self._keyring, lane))

    def has_stay(self, lane: bytes) -> bool:
        """Whether there is a stay in that lane; nothing is opened for it."""
        return self._ask(lambda: stays.exists(self._cursor, lane))

    def lanes(self) -> list[bytes]:
        """Every lane with a stay, in the order of their newest rows."""
        return self._ask(lambda: list(stays.lanes(self._cursor)))

    def lanes_of(self, patient: bytes, most: int) -> list[bytes]:
        """The lanes with a stay of a patient's number, those with the newest rows first."""
        return self._ask(lambda: patient_index.lanes_of(self._cursor, patient, most))

    def waiting_lanes(self) -> list[bytes]:
        """The lanes with a review that waits for a person."""
        return self._ask(lambda: stays.waiting(self._cursor))

    def stay_seq(self, lane: bytes) -> int | None:
        """The last row that the lane's stay has taken in, None where there is no stay."""
        return self._ask(lambda: stays.seq(self._cursor, lane))

    def open_reviews(self, wanted: Wanted, after: Place | None, limit: int) -> list[SealedLine]:
        """Lines of the worklist behind a place, the earliest due first, those without a due time last.

        Still sealed: whoever asks opens them one at a time.
        """
        return self._ask(lambda: worklist.page(self._cursor, wanted, after, limit))

    def lane_lines(self, lane: bytes) -> list[SealedLine]:
        """The lines of one stay."""
        return self._ask(lambda: worklist.of_lane(self._cursor, lane))

    def listed_lanes(self) -> list[bytes]:
        """The lanes that have a line in the worklist."""
        return self._ask(lambda: worklist.lanes(self._cursor))

    def due_lanes(self, now: int, limit: int) -> list[tuple[bytes, int]]:
        """Lanes whose moment has come, the longest overdue first."""
        return self._ask(lambda: stays.due_lanes(self._cursor, now, limit))

    def refolds(self) -> list[Refold]:
        """Lanes that are still to be folded again."""
        return self._ask(lambda: patient_index.refolds(self._cursor))

    # -- the store about itself ----------------------------------------------------------------------

    def note(self, name: str) -> str | None:
        return self._ask(lambda: meta.get(self._cursor, name))

    def notes_under(self, prefix: str) -> dict[str, str]:
        """Every note whose name begins so, by name."""
        return self._ask(lambda: meta.under(self._cursor, prefix))

    def counts(self, kind: str) -> dict[str, tuple[int, str]]:
        """name -> (count, last time or ""); ``kind``: state, feed or why/FEED."""
        return self._ask(lambda: counters.read(self._cursor, kind))

    def refusals(self) -> list[tuple[str, str, int, str]]:
        """(feed, reason, count, last time) over all days."""
        return self._ask(lambda: refusals.totals(self._cursor))


class Readers:
    """Readers for whoever asks: each has one to itself for the length of a question. Thread-safe."""

    def __init__(self, path: Path, keyring: Keyring) -> None:
        self._path = path
        self._keyring = keyring
        self._idle: list[Reader] = []
        self._lock = Lock()
        self._closed = False

    @contextmanager
    def take(self) -> Iterator[Reader]:
        """A reader for the block's length."""
        with self._lock:
            if self._closed:
                raise StoreError("the store is closing")
            reader = self._idle.pop() if self._idle else None
        reader = reader or Reader(self._path, self._keyring)
        try:
            yield reader
        except BaseException:
            reader.close()  # nobody knows in what state it was left
            raise
        with self._lock:
            keep = not self._closed and len(self._idle) < KEPT
            if keep:
                self._idle.append(reader)
        if not keep:
            reader.close()

    def close(self) -> None:
        """Close what is idle; what is in use closes when it is given back."""
        with self._lock:
            self._closed = True
            idle, self._idle = self._idle, []
        for reader in idle:
            reader.close()

"""The pen: one thread owns the only writing connection; callers get an answer after COMMIT, never before.

Group commit without a timer: what is queued when the last commit has returned is the next transaction.
The first failure of a write, sync or commit stops the pen for good: no further answer, no retry.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar, cast

from sqlalchemy import Connection
from umbridge_audit.entry import Draft
from umbridge_audit.keys import Keyring
from umbridge_audit.store import Ledger

from umbridge.errors import StoreError, UnavailableError
from umbridge.model import RowState
from umbridge.store import inbox, stays
from umbridge.store.inbox import Incoming, Stored

T = TypeVar("T")
REUSED = "control_id_reused"
ALIAS_CACHE = 100_000
KEY_KINDS = ("ops", "ident", "clin", "fin", "sens", "raw", "stay")


def iso(at: datetime) -> str:
    """UTC, milliseconds: the form of every stored time."""
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def take_lock(directory: Path) -> int:
    """Hold ``store/lock`` for this process. Raises UnavailableError when somebody else holds the pen."""
    handle = os.open(directory / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(handle)
        raise UnavailableError(f"{directory}: another umbridge holds the pen (store/lock)") from None
    return handle


class NothingFoundError(Exception):
    """The question has no answer. Work that raises it has written nothing; the others' work stands."""


class Batch:
    """One transaction being filled. Work functions get it, use it, and must not keep it."""

    def __init__(self, pen: Pen, connection: Connection) -> None:
        self.connection = connection
        self.cursor = cast(sqlite3.Cursor, connection.connection.cursor())  # the hot path's way in
        self.keyring = pen.keyring
        self.now = pen.clock.now
        self._pen = pen
        self._drafts: list[Draft] = []
        self._rows: list[tuple[Any, ...]] = []
        self._repeats: list[tuple[int, str, str]] = []
        self._aliases: list[tuple[bytes, bytes]] = []
        self._first_entry = pen.ledger.size
        self._known: dict[bytes, list[tuple[Any, ...]]] = {}

    def entry(self, draft: Draft) -> int:
        """Put an entry on the ledger with this transaction; returns the seq it will have."""
        self._drafts.append(draft)
        return self._first_entry + len(self._drafts) - 1

    def prefetch(self, tokens: list[bytes]) -> None:
        """Look up the group's key tokens in one query."""
        if tokens:
            self._known = inbox.known(self.cursor, tokens)

    def accept(self, item: Incoming) -> Stored:
        """Apply the duplicate rule (docs/intake.md) and store the frame with its receipt entry."""
        candidates = self._known.setdefault(item.key_token, [])
        for seq, digest, content, lane, state, ack, condition, location, reason, at in candidates:
            same_bytes = digest == item.digest
            restamped = not same_bytes and content == item.content_digest
            if same_bytes or restamped:
                self._repeats.append((seq, item.feed, iso(item.received_at)))
                if restamped:
                    self.entry(self._receipt(item, "message.variant", seq, "RESTAMPED", of_row=seq))
                return Stored(
                    seq,
                    lane,
                    RowState(state),
                    ack if same_bytes else item.ack,
                    condition,
                    location,
                    reason,
                    datetime.fromisoformat(at),
                    duplicate=True,
                )
        state, reason = item.state, item.reason
        ack, condition, location = item.ack, item.condition, item.location
        if candidates and item.state is not RowState.REFUSED:
            reason = f"{REUSED} {reason}".strip()
            if item.reused == "quarantine":
                state = RowState.QUARANTINED
            elif item.reused == "reject":
                state, condition, location = RowState.REFUSED, 207, "MSH-10"
                ack = {"CA": "CE", "AA": "AE"}.get(ack, ack)
        lane = self._lane(item)
        if state is RowState.PENDING and lane is None:
            state, reason = RowState.NOT_APPLICABLE, reason or "no_visit_number"
        seq = self._pen.next_seq()
        kind = {RowState.REFUSED: "message.refused", RowState.IGNORED: "message.ignored"}.get(
            state, "message.received"
        )
        entry = self.entry(self._receipt(item, kind, seq, state.value, ack=ack, reason=reason))
        if reason.startswith(REUSED):
            of_row = int(candidates[0][0])
            self.entry(self._receipt(item, "message.variant", seq, "CONTROL_ID_REUSED", of_row=of_row))
        at = iso(item.received_at)
        known = (item.key_token, item.digest, item.content_digest)
        said = (ack, condition, location, reason, at, entry)
        sealed = inbox.seal(self.keyring, item, seq, self.now)
        self._rows.append((seq, item.feed, *known, len(candidates), lane, sealed, state.value, *said))
        candidates.append(
            (seq, item.digest, item.content_digest, lane, state.value, ack, condition, location, reason, at)
        )
        return Stored(
            seq, lane, state, ack, condition, location, reason, datetime.fromisoformat(at), duplicate=False
        )

    def _lane(self, item: Incoming) -> bytes | None:
        """The stay a message belongs to: its visit; else the visit its account was seen with."""
        account = item.account_token
        if item.visit_token is not None:
            if account is not None and self._pen.remember_alias(account, item.visit_token):
                self._aliases.append((account, item.visit_token))
            return item.visit_token
        if account is None:
            return None
        cached = self._pen.alias(account)
        return cached or stays.resolve(self.connection, account) or account

    @staticmethod
    def _receipt(
        item: Incoming,
        kind: str,
        row: int,
        state: str,
        *,
        ack: str = "",
        reason: str = "",
        of_row: int | None = None,
    ) -> Draft:
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

    def flush(self) -> None:
        """Write what was gathered. The pen calls it once, just before COMMIT."""
        if self._rows:
            inbox.insert(self.cursor, self._rows)
        if self._aliases:
            stays.add_aliases(self.cursor, self._aliases)
        if self._repeats:
            self.connection.exec_driver_sql(
                "INSERT INTO delivery_attempt(row, feed, at) VALUES (?,?,?)", self._repeats
            )
        if self._drafts:
            receipts = self._pen.ledger.append(self._drafts)
            if receipts[0].seq != self._first_entry or len(receipts) != len(self._drafts):
                raise StoreError("the ledger numbered entries otherwise than the store expected")


Work = Callable[[Batch], Any]


class BatchClock:
    """One moment a transaction: every entry and every key of a batch belongs to the same month."""

    def __init__(self, clock: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._clock = clock
        self.now = clock()

    def tick(self) -> None:
        self.now = self._clock()

    def __call__(self) -> datetime:
        return self.now


class Pen:
    """The only writer. Thread-safe ``submit``; ``call`` waits; ``ask`` awaits on the daemon's loop.

    After a failure every waiting and later caller gets StoreError and ``failed`` is set.
    """

    def __init__(
        self,
        connection: Connection,
        ledger: Ledger,
        keyring: Keyring,
        clock: BatchClock,
        *,
        group: int = 64,
        checkpoint_seconds: float = 10.0,
        checkpoint_entries: int = 256,
        checkpoint_min_seconds: float = 1.0,
    ) -> None:
        self.ledger = ledger
        self.keyring = keyring
        self.clock = clock
        self.failed: StoreError | None = None
        self.commits = 0
        self._connection = connection
        self._group = group
        self._checkpoint_seconds = checkpoint_seconds
        self._checkpoint_entries = checkpoint_entries
        self._checkpoint_min_seconds = checkpoint_min_seconds
        self._checkpointed = time.monotonic()
        self._queue: deque[tuple[Work | Incoming, Any]] = deque()
        self._group_now: list[tuple[Work | Incoming, Any]] = []
        self._wake = threading.Condition()
        self._stopping = False
        self._keys_of = ""
        self._to_sign: list[Future[None]] = []
        self._seq = inbox.last_seq(connection)
        connection.rollback()
        self._alias: dict[bytes, bytes] = {}
        self._loop: asyncio.AbstractEventLoop | None = None
        self._deliver: Callable[[list[tuple[Any, Any]]], None] | None = None
        self._failure: Callable[[StoreError], None] | None = None
        self._thread = threading.Thread(target=self._run, name="pen")

    def start(self) -> Pen:
        self._thread.start()
        return self

    def attach(self, loop: asyncio.AbstractEventLoop, failure: Callable[[StoreError], None]) -> None:
        """Serve ``ask`` on this loop; ``failure`` is called there once if the pen fails."""
        self._loop, self._failure = loop, failure

    def watch(self, deliver: Callable[[list[tuple[Any, Any]]], None]) -> None:
        """``deliver`` sees each commit's results on the loop, in order, before their futures resolve."""
        self._deliver = deliver

    # -- callers ------------------------------------------------------------------------------------

    def submit(self, work: Work | Incoming, future: Any) -> None:
        """Queue work for the next transaction; ``future`` is resolved after its COMMIT."""
        with self._wake:
            if self.failed is not None or self._stopping:
                raise self.failed or StoreError("the store is closing")
            self._queue.append((work, future))
            self._wake.notify()

    def call(self, work: Callable[[Batch], T]) -> T:
        """Run ``work`` in a transaction and wait for its COMMIT (from any thread but the pen's)."""
        future: Future[T] = Future()
        self.submit(work, future)
        return future.result()

    async def ask(self, work: Callable[[Batch], T]) -> T:
        """The same from the daemon's loop."""
        if self._loop is None:
            raise RuntimeError("attach the pen to the loop before asking on it")
        future: asyncio.Future[T] = self._loop.create_future()
        self.submit(work, future)
        return await future

    def sign(self) -> None:
        """Have a checkpoint signed over everything committed so far; returns when it is anchored."""
        future: Future[None] = Future()
        with self._wake:
            if self.failed is not None or self._stopping:
                raise self.failed or StoreError("the store is closing")
            self._to_sign.append(future)
            self._wake.notify()
        future.result()

    def stop(self) -> None:
        """Finish what is queued, sign a last checkpoint, end the thread."""
        with self._wake:
            self._stopping = True
            self._wake.notify()
        if self._thread.is_alive():
            self._thread.join()

    # -- the thread ---------------------------------------------------------------------------------

    def next_seq(self) -> int:
        self._seq += 1
        return self._seq

    def alias(self, token: bytes) -> bytes | None:
        return self._alias.get(token)

    def remember_alias(self, token: bytes, lane: bytes) -> bool:
        """True when the alias is not known to be stored yet. The cache is bounded; the table is not."""
        if token in self._alias:
            return False
        if len(self._alias) >= ALIAS_CACHE:
            self._alias.clear()
        self._alias[token] = lane
        return True

    def _run(self) -> None:
        try:
            while True:
                with self._wake:
                    if not self._queue and not self._stopping and not self._to_sign:
                        self._wake.wait(self._until_checkpoint())
                    group = [self._queue.popleft() for _ in range(min(self._group, len(self._queue)))]
                    last = self._stopping and not group
                self._group_now = group
                if group:
                    self._commit(group)
                self._group_now = []
                signing, self._to_sign = self._to_sign, []
                if last or signing or self._checkpoint_due():
                    self._checkpoint()
                for waiting in signing:
                    waiting.set_result(None)
                if last:
                    return
        except BaseException as exc:
            self._fail(exc)

    def _until_checkpoint(self) -> float | None:
        if self.ledger.unanchored == 0:
            return None
        due = self._checkpointed + (
            self._checkpoint_min_seconds
            if self.ledger.unanchored >= self._checkpoint_entries
            else self._checkpoint_seconds
        )
        return max(0.0, due - time.monotonic())

    def _checkpoint_due(self) -> bool:
        wait = self._until_checkpoint()
        return wait is not None and wait <= 0

    def _checkpoint(self) -> None:
        self.ledger.checkpoint()
        self._checkpointed = time.monotonic()

    def _commit(self, group: list[tuple[Work | Incoming, Any]]) -> None:
        connection = self._connection
        results: list[tuple[Any, Any]] = []
        errors: list[tuple[Any, Exception]] = []
        with connection.begin():
            self._month()
            batch = Batch(self, connection)
            batch.prefetch([work.key_token for work, _ in group if isinstance(work, Incoming)])
            for work, future in group:
                if isinstance(work, Incoming):
                    results.append((future, batch.accept(work)))
                    continue
                try:
                    results.append((future, work(batch)))
                except NothingFoundError as exc:
                    errors.append((future, exc))
            batch.flush()
        self.commits += 1
        self._resolve(results, errors)

    def _month(self) -> None:
        """Before anything is numbered: this month's data keys, and their entries, are there."""
        self.clock.tick()
        month = self.clock.now.strftime("%Y-%m")
        if month != self._keys_of:
            for kind in KEY_KINDS:
                self.keyring.dek(kind, self.clock.now)
            self.ledger.append([])
            self._keys_of = month

    def _resolve(self, results: list[tuple[Any, Any]], errors: list[tuple[Any, Exception]]) -> None:
        loop_results = []
        for future, value in results:
            if isinstance(future, Future):
                future.set_result(value)
            else:
                loop_results.append((future, value))
        loop_errors = []
        for future, exc in errors:
            if isinstance(future, Future):
                future.set_exception(exc)
            else:
                loop_errors.append((future, exc))
        if (loop_results or loop_errors) and self._loop is not None:
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
                self._loop.call_soon_threadsafe(self._hand_over, loop_results, loop_errors)

    def _hand_over(self, results: list[tuple[Any, Any]], errors: list[tuple[Any, Exception]]) -> None:
        if self._deliver is not None and results:
            self._deliver(results)
        for future, value in results:
            if not future.done():
                future.set_result(value)
        for future, exc in errors:
            if not future.done():
                future.set_exception(exc)

    def _fail(self, exc: BaseException) -> None:
        """Fail-stop: nothing more is written, everybody waiting is told, the daemon ends (exit 74)."""
        failure = StoreError(
            f"the store failed ({type(exc).__name__}): nothing more is accepted; check disk space and "
            "permissions, then start again"
        )
        failure.__cause__ = exc
        with self._wake:
            self.failed = failure
            waiting = self._group_now + list(self._queue) + [(None, f) for f in self._to_sign]
            self._queue.clear()
        on_loop: list[tuple[Any, Exception]] = []
        for _, future in waiting:
            if not isinstance(future, Future):
                on_loop.append((future, failure))
            elif not future.done():
                future.set_exception(failure)
        if self._loop is not None:
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
                self._loop.call_soon_threadsafe(self._hand_over, [], on_loop)
                if self._failure is not None:
                    self._loop.call_soon_threadsafe(self._failure, failure)

"""The writer: the only writer. Callers get an answer after COMMIT, never before.

It lives on one event loop. Batches are filled there, in turn with the rest, and only COMMIT, which waits
for the disk, runs in a thread of its own: two threads that both run Python would hand the interpreter lock
back and forth at every statement (docs/decisions). Group commit without a timer: what is queued when the
last commit has returned is the next transaction. The first failure of a write, sync or commit stops the
writer for good: no further answer, no retry.
"""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from umbridge_audit.keys import Keyring
from umbridge_audit.signing import SignerAwayError
from umbridge_audit.store import Due, Ledger, open_readonly

from umbridge.errors import StoreError, UnavailableError
from umbridge.store import inbox, numbered, search
from umbridge.store.batch import Batch
from umbridge.store.commands import Command, SortTokens
from umbridge.store.inbox import Arrived, Incoming
from umbridge.store.inhand import Disk
from umbridge.store.line import Line
from umbridge.store.memory import Memory
from umbridge.store.reader import Reader, Readers
from umbridge.store.steps import BatchClock
from umbridge.store.upkeep import SORT, Upkeep

T = TypeVar("T")
KEY_KINDS = ("ops", "ident", "clin", "fin", "sens", "raw", "stay")
Asked = Incoming | Command[Any]
READ_BACK = 32  # rows at a time: what is left of them at a checkpoint stops everything until it is read
ENTRIES = 16  # with so many to write no further work is begun: a frame that comes now waits for it


class Writer:
    """The only writer. ``submit`` and ``call`` from any thread; ``ask`` on the loop that ``run``s it.

    After a failure every waiting and later caller gets StoreError and ``failed`` is set.
    """

    def __init__(
        self,
        connection: sqlite3.Connection,
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
        self._raw = connection
        self._cursor = self._raw.cursor()
        self._checkpoint_seconds = checkpoint_seconds
        self._checkpoint_entries = checkpoint_entries
        self._checkpoint_min_seconds = checkpoint_min_seconds
        self._checkpointed = time.monotonic()
        self.signer_away = ""  # why the last checkpoint could not be signed, "" when it was
        self._asked: tuple[asyncio.Future[str], Due] | None = None  # of a signer in another process
        self._line: Line[tuple[Asked, Any]] = Line(group)
        self._group_now: list[tuple[Asked, Any]] = []
        self._to_sign: list[Future[None]] = []
        self._signing: list[tuple[int, Future[None]]] = []  # taken up: the size it must cover
        self._lock = threading.Lock()
        self._stopping = False
        self._ended = threading.Event()
        self._keys_of = ""
        self._memory = Memory(
            inbox.last_seq(self._cursor),
            inbox.quarantined_lanes(self._cursor),
            search.unsorted(self._cursor),
            waits=numbered.waits(self._cursor),
        )
        self._path = Path(self._cursor.execute("PRAGMA database_list").fetchone()[2])
        self._upkeep = Upkeep(self._path, self._raw, self._line, self._memory)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._loop_thread = 0
        self._kick = asyncio.Event()
        self.disk = Disk()
        self._signer = ThreadPoolExecutor(1, "signer")
        self._readers = Readers(self._path, keyring)
        self._arrived: Callable[[list[Arrived]], None] | None = None
        self._failure: Callable[[StoreError], None] | None = None

    # -- callers ------------------------------------------------------------------------------------

    def watch(
        self,
        arrived: Callable[[list[Arrived]], None] | None = None,
        failure: Callable[[StoreError], None] | None = None,
    ) -> None:
        """``arrived`` is told of the rows to be worked, in order, after the COMMIT that made them and before
        their callers hear; ``failure`` is called once if the writer fails. Both on the writer's loop.
        """
        self._arrived = arrived or self._arrived
        self._failure = failure or self._failure

    def submit(self, asked: Asked, future: Any, *, can_wait: bool = False) -> None:
        """Queue work for the next transaction; ``future`` is resolved after its COMMIT.

        What ``can_wait`` is not written during a burst, for DEFER_MAX_SECONDS.
        """
        with self._lock:
            if self.failed is not None or self._stopping:
                raise self.failed or StoreError("the store is closing")
            if isinstance(asked, Incoming):
                self._line.frames.append((asked, future))
            else:
                (self._line.later if can_wait else self._line.works).append((asked, future))
        self._wake()

    def call(self, command: Command[T]) -> T:
        """Apply a command in a transaction and wait for its COMMIT (from any thread but the writer's)."""
        future: Future[T] = Future()
        self.submit(command, future)
        return future.result()

    async def ask(self, command: Command[T], *, can_wait: bool = False) -> T:
        """The same on the writer's own loop."""
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self.submit(command, future, can_wait=can_wait)
        return await future

    @property
    def database(self) -> Path:
        """The store's file, for what reads it beside the writer."""
        return self._path

    def reading(self) -> AbstractContextManager[Reader]:
        """A reader for a ``with`` block: questions do not stand in the writer's queue. From any thread."""
        return self._readers.take()

    def sign(self) -> None:
        """Have a checkpoint signed over everything committed so far; returns when it is anchored.

        Raises UnavailableError when the signer, in another process, is away.
        """
        future: Future[None] = Future()
        with self._lock:
            if self.failed is not None or self._stopping:
                raise self.failed or StoreError("the store is closing")
            self._to_sign.append(future)
        self._wake()
        future.result()

    def close(self) -> None:
        """Finish what is queued, sign a last checkpoint, end ``run``. Returns at once."""
        with self._lock:
            self._stopping = True
        self._wake()

    @property
    def closing(self) -> bool:
        """Whether no more is taken: after ``close``, or a failure."""
        return self._stopping or self.failed is not None

    def join(self) -> None:
        """Wait until ``run`` has ended (from another thread than the writer's)."""
        self._ended.wait()

    def _wake(self) -> None:
        loop = self._loop
        if loop is None:
            return  # run looks at the queue before it waits
        if threading.get_ident() == self._loop_thread:
            self._kick.set()
        else:
            with contextlib.suppress(RuntimeError):  # the loop has ended: _ended says so to who waits
                loop.call_soon_threadsafe(self._kick.set)

    # -- the loop -----------------------------------------------------------------------------------

    async def run(self) -> None:
        """Write until ``close``. A failure ends it too: see ``failed``."""
        self._loop, self._loop_thread = asyncio.get_running_loop(), threading.get_ident()
        try:
            while True:
                self._kick.clear()
                with self._lock:
                    group = self._line.next_group(stopping=self._stopping)
                    if not self._stopping and self._upkeep.until_sorting() == 0.0:
                        group.append((SortTokens(most=SORT), Future()))
                    signing, self._to_sign = self._to_sign, []
                    last = self._stopping and not group
                self._group_now = group
                if group:
                    await self._commit(group)
                if self.ledger.unread >= READ_BACK:
                    await asyncio.sleep(0)  # the answers leave first
                    self.ledger.read_back(READ_BACK)
                self._group_now = []
                self._signing += [(self.ledger.size, future) for future in signing]
                if last:
                    await self._checkpoint(wait=True)
                    if self.ledger.unanchored and not self.signer_away:
                        await self._checkpoint(wait=True)  # the first was on its way already, and smaller
                    self._refuse_signed("signer_stopping")
                    return
                answered = self._asked is not None and self._asked[0].done()
                if answered or self._signing or self._checkpoint_due():
                    await self._checkpoint(wait=False)
                if self._upkeep.until_taking_back() == 0.0:
                    await self.disk.do(self._upkeep.take_back)
                pause = self._pause()
                if pause is None or pause > 0:
                    with contextlib.suppress(TimeoutError):
                        async with asyncio.timeout(pause):
                            await self._kick.wait()
        except BaseException as exc:
            self._fail(exc)
            if isinstance(exc, asyncio.CancelledError):
                raise
        finally:
            self._signer.shutdown(wait=True)
            self.disk.close()
            self._readers.close()
            self._ended.set()

    @property
    def crowded(self) -> bool:
        """Whether senders stand in line just now."""
        return self._line.crowded

    def _pause(self) -> float | None:
        """How long to wait for a kick: not at all while there is something to write, None: for ever."""
        if self._line.frames or self._line.works or self._to_sign or self._stopping:
            return 0.0
        upkeep = (self._upkeep.until_sorting(), self._upkeep.until_taking_back())
        pauses = (self._until_checkpoint(), self._line.until_later(), *upkeep)
        return min((each for each in pauses if each is not None), default=None)

    def _until_checkpoint(self) -> float | None:
        if self.ledger.unanchored == 0 or self._asked is not None:
            return None  # when the signer has answered, that is a kick of its own
        due = self._checkpointed + (
            self._checkpoint_min_seconds
            if self.ledger.unanchored >= self._checkpoint_entries
            else self._checkpoint_seconds
        )
        return max(0.0, due - time.monotonic())

    def _checkpoint_due(self) -> bool:
        wait = self._until_checkpoint()
        return wait is not None and wait <= 0

    async def _checkpoint(self, *, wait: bool) -> None:
        """Re-read here; the commit and the anchor's disk, which may be a share, in the thread. A signer in
        another process is asked in a thread of its own, and entries are written meanwhile; with ``wait``,
        which is for the end, until it has answered.
        """
        loop = asyncio.get_running_loop()
        if self._asked is None:
            due = self.ledger.due()
            if due is None or not self.ledger.apart:
                if due is not None:
                    await self.disk.do(partial(self._sign_and_keep, due))
                self._checkpointed = time.monotonic()
                self._answer_signed()
                return
            self._asked = loop.run_in_executor(self._signer, self._ask, due), due
            self._asked[0].add_done_callback(lambda _: self._kick.set())
        asked, due = self._asked
        if wait:
            await asyncio.wait([asked])
        if asked.done():
            self._asked = None
            self._checkpointed = time.monotonic()
            try:
                note = asked.result()
            except SignerAwayError as exc:
                self.signer_away = str(exc)
                self._refuse_signed(str(exc))
                return
            self.signer_away = ""
            await self.disk.do(partial(self.ledger.keep, due, note))
            self._answer_signed()
            if self._signing:
                self._kick.set()  # entries came since this one was asked for

    def _sign_and_keep(self, due: Due) -> None:
        self.ledger.keep(due, self.ledger.note(due))

    def _ask(self, due: Due) -> str:
        with open_readonly(self._path) as rows:
            return self.ledger.note(due, rows)

    def _answer_signed(self) -> None:
        """Whoever waited for a checkpoint over what is signed now has it."""
        for size, future in self._signing:
            if size <= self.ledger.anchored:
                future.set_result(None)
        self._signing = [one for one in self._signing if not one[1].done()]

    def _refuse_signed(self, why: str) -> None:
        for _, future in self._signing:
            future.set_exception(UnavailableError(f"the signer is away ({why}); nothing is lost, ask later"))
        self._signing.clear()

    async def _commit(self, group: list[tuple[Asked, Any]]) -> None:
        results: list[tuple[Any, Any]] = []
        errors: list[tuple[Any, Exception]] = []
        mark = self.ledger.mark()
        try:
            batch = await self._write(group, results, errors)
        except BaseException:
            self.ledger.go_back(mark)  # what is asked about it until the end is what was durable
            raise
        self.commits += 1
        batch.keep()
        if self._arrived is not None and batch.arrived:
            self._arrived(batch.arrived)
        for future, value in results:
            if not future.done():
                future.set_result(value)
        for future, error in errors:
            if not future.done():
                future.set_exception(error)

    async def _write(
        self,
        group: list[tuple[Asked, Any]],
        results: list[tuple[Any, Any]],
        errors: list[tuple[Any, Exception]],
    ) -> Batch:
        """One transaction, durable when this returns; its results, which nobody may hear before."""
        raw = self._raw
        self._cursor.execute("BEGIN IMMEDIATE")
        before = raw.total_changes
        self._month()
        batch = Batch(self._cursor, self.ledger, self.keyring, self._memory, self.clock.now)
        batch.prefetch([asked.key_token for asked, _ in group if isinstance(asked, Incoming)])
        worked = False
        for number, (asked, future) in enumerate(group):
            if isinstance(asked, Incoming):
                results.append((future, batch.accept(asked)))
                continue
            if worked and batch.entries >= ENTRIES:
                self._put_back(group[number:])
                break
            worked = True
            place = batch.mark() + raw.total_changes
            try:
                results.append((future, asked.apply(batch)))
            except Exception as exc:
                if batch.mark() + raw.total_changes != place:
                    raise
                errors.append((future, exc))  # refused before its first write
        batch.flush()
        if raw.total_changes != before:
            await self.disk.do(raw.commit)
        else:
            raw.commit()  # only questions: nothing to sync
        return batch

    def _put_back(self, rest: list[tuple[Asked, Any]]) -> None:
        """What the transaction has no time for is first in line for the next."""
        del self._group_now[-len(rest) :]
        with self._lock:
            self._line.put_back(rest)

    def _month(self) -> None:
        """Before anything is numbered: this month's data keys, and their entries, are there."""
        self.clock.tick()
        month = self.clock.now.strftime("%Y-%m")
        if month != self._keys_of or self.keyring.waits:
            self.keyring.take_up()
            for kind in KEY_KINDS:
                self.keyring.dek(kind, self.clock.now)
            self.ledger.append([])
            self._keys_of = month
        if self.clock.stepped is not None:
            self.ledger.append([self.clock.stepped])

    def _fail(self, exc: BaseException) -> None:
        """Fail-stop: nothing more is written, everybody waiting is told, the daemon ends (exit 74)."""
        self.disk.in_hand.failed(exc)
        failure = StoreError(
            f"the store failed ({type(exc).__name__}): nothing more is accepted; check disk space and "
            "permissions, then start again"
        )
        failure.__cause__ = exc
        with self._lock:
            self.failed = failure
            asked = (*self._group_now, *self._line.clear())
            waiting = [*(future for _, future in asked), *self._to_sign]
            waiting += [future for _, future in self._signing]
            self._to_sign.clear()
        for future in waiting:
            if not future.done():
                future.set_exception(failure)
        if self._failure is not None:
            self._failure(failure)

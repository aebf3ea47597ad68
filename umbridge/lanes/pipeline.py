"""PATH 2: one durable message in, determinations on the ledger. One lane is one stay, worked in order."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import datetime
from typing import TypeVar, assert_never

from umbridge_audit.keys import Keyring

from umbridge.errors import StoreError
from umbridge.lanes.commands import GiveUpWaiting, NoLongerDue, Quarantine, RecordWork
from umbridge.lanes.memory import LaneMemory
from umbridge.lanes.protocol import (
    Need,
    NeedRows,
    NeedSnapshot,
    Purpose,
    Reread,
    ScreenAgain,
    SealedOut,
    Silence,
    Snapshot,
    TakeIn,
    Task,
    WholeLane,
)
from umbridge.lanes.queue import (
    AskedAgain,
    Deadline,
    Held,
    LaneQueue,
    LaneWork,
    Message,
    ReadAnew,
    Row,
    pending,
    row_work,
)
from umbridge.lanes.worker_pool import LaneWorkerLostError, WorkerPool, WorkFailedError
from umbridge.stay.clock import instant
from umbridge.store.inbox import Arrived, Stored
from umbridge.store.patient_index import Refold
from umbridge.store.reader import Reader
from umbridge.store.writer import Writer

T = TypeVar("T")
log = logging.getLogger("umbridge.lanes.pipeline")
YIELD_SECONDS = 0.05  # between two looks whether senders still stand in line
YIELD_LOOKS = 40  # two seconds at most
STRIKES = 3  # a row that ends so many lane workers, or daemons, worked alone, waits for a person


class UnreadableError(Exception):
    """The store could not be read for one piece of work."""


class Pipeline:
    """Has lanes worked side by side, each in order. Lives on the daemon's loop; writes through the writer."""

    def __init__(
        self,
        writer: Writer,
        keyring: Keyring,
        pool: WorkerPool,
        *,
        lanes: int = 16,
        cache: int = 4096,
        pending: Callable[[int], None] = lambda change: None,
    ) -> None:
        self._writer = writer
        self._keyring = keyring
        self._pool = pool
        self._pending = pending  # told how many rows more, or less, wait to be worked
        self._lanes = lanes
        self._queue = LaneQueue()
        self._gate: asyncio.Task[None] | None = None
        self._workers: list[asyncio.Task[None]] = []
        self._memory = LaneMemory(
            lambda lane: self._read(lambda reader: reader.stay(lane)),
            keyring,
            lambda: (info.name for info in pool.plugins),
            cache,
        )
        self._stopping = False
        self._suspect_until = 0  # rows up to this one were pending when a daemon died
        self._strikes: dict[int, int] = {}  # rows that daemons died of, and how many
        self._alone = asyncio.Lock()

    @property
    def backlog(self) -> int:
        return self._queue.backlog

    def start(self) -> None:
        """Begin to work; rows offered before are found waiting."""
        self._workers = [
            asyncio.create_task(self._worker(), name=f"lane-{number}") for number in range(self._lanes)
        ]

    def arrived(self, rows: Iterable[Arrived]) -> None:
        """Take up what a transaction has made durable, in order. The writer tells it so after COMMIT."""
        self._pending(sum(self.take(row.stored, row.feed, row.frame) for row in rows))

    def take(self, stored: Stored, feed: str = "", frame: bytes | None = None) -> int:
        """Take a stored row to each of its lanes. Must be called in ``seq`` order. Returns how many they are.

        The row is safe whether we get to it or not.
        """
        if self._stopping:
            return 0
        held = None if frame is None else Held(feed, frame, stored.received_at.isoformat())
        self._queue.refold(Refold(lane, stored.seq, gone) for lane, gone in stored.refolds)
        for lane, parts in stored.shares:
            self._queue.offer(lane, row_work(stored.seq, parts, held))
        return len(stored.shares)

    async def recover(self, found: Callable[[int], None], *, suspect: bool = False) -> int:
        """Queue every row that was stored and not worked, before any listener opens. Returns how many.

        ``found`` is told of each page before its rows are offered. After an unclean stop they are
        ``suspect``: one of them may have ended the daemon. Such rows are worked one at a time, each said to
        be in hand before it is touched; one that STRIKES daemons died of waits for a person. Lanes with an
        interrupted attempt go last, so that repeated kills do not quarantine an innocent row.
        """
        with self._writer.reading() as reader:
            struck = reader.struck() if suspect else []
            self._queue.refold(reader.refolds())
        self._strikes = {each.seq: each.strikes for each in struck}
        begun = {each.lane for each in struck} - {None}
        total = 0
        async for page in pending(self._writer):
            found(len(page))
            total += len(page)
            for seq, (lane, parts) in page:
                if lane not in begun:
                    self._queue.offer(lane, row_work(seq, parts))
                if suspect:
                    self._suspect_until = max(self._suspect_until, seq)
        if begun:
            async for page in pending(self._writer):
                for seq, (lane, parts) in page:
                    if lane in begun:
                        self._queue.offer(lane, row_work(seq, parts))
        return total

    def refold(self, asked: Iterable[Refold]) -> None:
        """Have lanes folded again from all their messages with the next one that comes."""
        self._queue.refold(asked)

    def look_at(self, lane: bytes, due: datetime) -> None:
        """Have a stay looked at as of a moment that has come though nothing was said."""
        if not self._stopping:
            self._queue.offer(lane, Deadline(due))

    def read_anew(self, lane: bytes) -> None:
        """Have a stay folded again under the rules in force, and its open reviews judged again."""
        if not self._stopping:
            self._queue.offer(lane, ReadAnew())

    async def idle(self) -> None:
        """Wait until every offered row is worked."""
        await self._queue.quiet()

    async def stop(self) -> None:
        """Finish the rows in hand; the rest is found again at the next start."""
        self._stopping = True
        self._queue.end(len(self._workers))
        await asyncio.gather(*self._workers)

    # -- one piece of work at a time, whichever lane is next ---------------------------------------------

    async def _worker(self) -> None:
        while True:
            lane = await self._queue.next()
            if self._stopping or lane is None:
                return
            match self._queue.first(lane):
                case Deadline() | ReadAnew() as work:
                    if not await self._safely(lane, work):
                        return
                case Message() | AskedAgain() as row:
                    does = self._safely if row.seq > self._suspect_until else self._suspiciously
                    if not await does(lane, row):
                        return
                    self._pending(-1)
                case other:
                    assert_never(other)
            self._queue.done(lane)

    async def _suspiciously(self, lane: bytes, row: Row) -> bool:
        """Work a row that was pending at a crash: alone, and said to be in hand first."""
        async with self._alone:
            if self._stopping:
                return False
            if self._strikes.get(row.seq, 0) >= STRIKES:
                try:
                    await self._give_up(lane, row, "process_death")
                except StoreError:
                    return False
                return True
            in_hand = self._writer.disk.in_hand
            in_hand.take(row.seq)
            if not await self._safely(lane, row):
                return False  # still in hand: what it did may be why the daemon ends
            in_hand.release()
            self._strikes.pop(row.seq, None)  # another lane's share of the row has none of them
            return True

    async def _safely(self, lane: bytes, work: LaneWork) -> bool:
        """Do one piece of work. A defect of ours must not stop the feed or lose a message.

        A row that meets one waits for a person. False when the store has failed or the daemon is ending: the
        work is found again at the next start.
        """
        deaths, alone = 0, False
        try:
            while True:
                try:
                    await self._work(lane, work, alone=alone)
                    return True
                except StoreError:
                    raise
                except LaneWorkerLostError as exc:
                    if self._stopping:
                        return False
                    deaths += exc.culprit
                    alone = True
                    if deaths < STRIKES:
                        continue
                    code = "process_death"
                except WorkFailedError as exc:
                    code = f"work_failed:{exc.code}"
                except Exception as exc:
                    code = f"work_failed:{type(exc).__name__}"
                await self._give_up(lane, work, code)
                return True
        except StoreError:
            return False

    async def _give_up(self, lane: bytes, work: LaneWork, code: str) -> None:
        """A row waits for a person; a deadline is left to the stay's next message, which sees to it.

        The log says so once it is written: where the store has failed the row is still pending.
        """
        self._memory.forget(lane)
        match work:
            case Deadline():
                await self._writer.ask(GiveUpWaiting(lane))
                log.error("deadline_failed", extra={"code": code})
            case ReadAnew():
                log.error("reading_anew_failed", extra={"code": code})
            case Message() | AskedAgain() as row:
                await self._writer.ask(Quarantine(lane=lane, row=row, reason=code))
                log.error("row_quarantined", extra={"row": row.seq, "code": code})
            case other:
                assert_never(other)

    async def _give_way(self) -> None:
        """While senders stand in line no row is handed to a lane worker, which would slow their core."""
        if self._writer.crowded:
            if self._gate is None or self._gate.done():
                self._gate = asyncio.create_task(self._wait_for_senders(), name="give-way")
            await self._gate  # one clock for all lanes: each with its own would keep the loop busy

    async def _wait_for_senders(self) -> None:
        for _ in range(YIELD_LOOKS):
            await asyncio.sleep(YIELD_SECONDS)
            if not self._writer.crowded:
                return

    async def _work(self, lane: bytes, work: LaneWork, *, alone: bool) -> None:
        if isinstance(work, Deadline) and not self._is_due(lane, work):
            await self._writer.ask(NoLongerDue(lane, instant(work.due)))
            self._memory.forget(lane)  # another deadline may stand now, or none
            return
        seq, held, purpose = self._asked(lane, work)
        held = held or self._read_back(seq)
        await self._give_way()
        anew, gone = self._queue.asked(lane, work)
        anew = anew or isinstance(work, ReadAnew)
        known, snapshot = self._memory.known(lane)
        said = self._memory.said(lane, gone)
        task = Task(
            *(seq, lane, held.feed, held.frame, known.seq, said, known.pseudonyms, snapshot, alone, purpose),
            received=held.received,
        )
        if anew:
            task = self._with(task, NeedRows(renew=True), gone)
        done = await self._pool.work(task)
        while isinstance(done, Need):
            task = self._with(task, done, gone)
            done = await self._pool.work(task)
        command = RecordWork(
            lane=lane,
            work=work,
            seq=seq,
            said=said,
            due=known.due,
            open=known.open,
            done=done,
            feed=held.feed,
            gone=gone,
            renew=isinstance(task.stored, WholeLane) and task.stored.renew,
        )
        recorded = await self._writer.ask(command, can_wait=True)
        worked = replace(known, seq=seq, said=recorded.said, due=recorded.due, open=recorded.open)
        self._memory.keep(lane, worked)
        for one in gone:
            self._memory.forget(one)
        if anew:
            self._queue.refolded(lane, seq, gone)

    def _is_due(self, lane: bytes, deadline: Deadline) -> bool:
        """Whether no message came in between: one that did has seen to the deadline."""
        known, _ = self._memory.known(lane)
        return known.seq > 0 and known.said.as_of < deadline.due

    def _asked(self, lane: bytes, work: LaneWork) -> tuple[int, Held | None, Purpose]:
        """The row that determinations will name, its message where it is in memory, and what is to be done.

        For a deadline that is the stay's newest row.
        """
        match work:
            case Message(seq, held, parts):
                return seq, held, TakeIn() if parts is None else TakeIn(parts)
            case AskedAgain(seq, held):
                return seq, held, ScreenAgain()
            case Deadline(due):
                return self._memory.known(lane)[0].seq, None, Silence(due)
            case ReadAnew():
                return self._memory.known(lane)[0].seq, None, Reread()
            case other:
                assert_never(other)

    def _with(self, task: Task, need: Need, gone: tuple[bytes, ...] = ()) -> Task:
        """The task with what the lane worker lacks: the lane's stored fold, or every message of it so far."""
        lane, until = task.lane, task.seq
        match need:
            case NeedSnapshot():
                saved = self._read(lambda reader: reader.stay(lane))
                if saved is None or saved.seq != task.after:
                    raise LookupError("stay_gone")
                return replace(task, stored=Snapshot(saved.head, saved.increments))
            case NeedRows(renew):
                rows = {
                    (row.seq, row.part): SealedOut(row.seq, row.feed, row.frame, row.part, row.received)
                    for each in (lane, *gone)
                    for row in self._read(lambda reader, each=each: reader.folded_rows(each, until))  # type: ignore[misc]
                }
                saved = self._read(lambda reader: reader.stay(lane)) if renew else None
                before = None if saved is None else Snapshot(saved.head, saved.increments)
                whole = WholeLane(tuple(rows[place] for place in sorted(rows)), renew, before)
                return replace(task, stored=whole)
            case other:
                assert_never(other)

    def _read_back(self, seq: int) -> Held:
        kept = self._read(lambda reader: reader.row(seq))
        if kept is None:
            raise LookupError("row_gone")
        return Held(kept.feed, kept.frame, kept.received)

    def _read(self, question: Callable[[Reader], T]) -> T:
        """Ask beside the writer. A StoreError of the writer ends the daemon, one of a reader must not do so
        unsaid: it is this piece of work that has met it.
        """
        try:
            with self._writer.reading() as reader:
                return question(reader)
        except StoreError as exc:
            raise UnreadableError from exc

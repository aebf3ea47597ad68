"""PATH 2: one durable message in, determinations on the ledger. One lane is one stay, worked in order."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, assert_never

from umbridge_audit.entry import Draft, Spelt
from umbridge_audit.keys import Keyring
from umbridge_audit.slots import SCHEMAS

from umbridge.casework.docket import (
    Done,
    Need,
    NeedRows,
    NeedSnapshot,
    Purpose,
    ScreenAgain,
    SealedOut,
    Silence,
    Snapshot,
    TakeIn,
    Task,
    WholeLane,
)
from umbridge.casework.office import CaseworkerLostError, Office, WorkFailedError
from umbridge.errors import StoreError
from umbridge.lanememory import Lane, LaneMemory
from umbridge.model import RowState
from umbridge.stay.clock import instant
from umbridge.store import directory, inbox, stays
from umbridge.store.batch import Batch
from umbridge.store.directory import Refold
from umbridge.store.inbox import Stored
from umbridge.store.writer import Pen
from umbridge.turns import AskedAgain, Deadline, Held, LaneWork, Message, Row, Turns, pending, row_work

log = logging.getLogger("umbridge.pipeline")
LINE_SECONDS = 0.05  # between two looks whether senders still stand in line
LINE_LOOKS = 40  # two seconds at most
HISTORY = timedelta(days=1)  # a deadline that a message finds further back is history being loaded
STRIKES = 3  # a row that ends this many caseworkers, worked alone, waits for a person
SUPERSEDES = SCHEMAS["determination"].number["supersedes"]
OUTCOME = SCHEMAS["determination"].number["outcome"]


class Pipeline:
    """Has lanes worked side by side, each in order. Lives on the daemon's loop; writes through the pen."""

    def __init__(
        self,
        pen: Pen,
        keyring: Keyring,
        office: Office,
        *,
        lanes: int = 16,
        cache: int = 4096,
        worked: Callable[[int], None] = lambda count: None,
    ) -> None:
        self._pen = pen
        self._keyring = keyring
        self._office = office
        self._worked = worked
        self._lanes = lanes
        self._turns = Turns()
        self._gate: asyncio.Task[None] | None = None
        self._workers: list[asyncio.Task[None]] = []
        self._memory = LaneMemory(pen, keyring, lambda: (info.name for info in office.plugins), cache)
        self._stopping = False
        self._suspect_until = 0  # rows up to this one were pending when a daemon died
        self._alone = asyncio.Lock()

    @property
    def backlog(self) -> int:
        return self._turns.backlog

    def start(self) -> None:
        """Begin to work; rows offered before are found waiting."""
        self._workers = [
            asyncio.create_task(self._worker(), name=f"lane-{number}") for number in range(self._lanes)
        ]

    def take(self, stored: Stored, feed: str = "", frame: bytes | None = None) -> int:
        """Take a stored row to each of its lanes. Must be called in ``seq`` order. Returns how many they are.

        The row is safe whether we get to it or not.
        """
        if self._stopping:
            return 0
        held = None if frame is None else Held(feed, frame)
        self._turns.refold(Refold(lane, stored.seq, gone) for lane, gone in stored.refolds)
        for lane, parts in stored.shares:
            self._turns.offer(lane, row_work(stored.seq, parts, held))
        return len(stored.shares)

    async def recover(self, found: Callable[[int], None], *, suspect: bool = False) -> int:
        """Queue every row that was stored and not worked, before any listener opens. Returns how many.

        ``found`` is told of each page before its rows are offered. After an unclean stop they are
        ``suspect``: one of them may have ended the daemon. Such rows are worked one at a time, each with its
        attempt on the disk before it is touched; one that was begun STRIKES times waits for a person. Stays
        whose row a dying daemon had in hand come last: a row that merely stood first in line each time
        somebody killed the daemon is not to blame.
        """
        begun = await self._pen.ask(lambda batch: inbox.begun_lanes(batch.cursor)) if suspect else set()
        self._turns.refold(await self._pen.ask(lambda batch: directory.refolds(batch.cursor)))
        total = 0
        async for page in pending(self._pen):
            found(len(page))
            total += len(page)
            for seq, (lane, parts) in page:
                if lane not in begun:
                    self._turns.offer(lane, row_work(seq, parts))
                if suspect:
                    self._suspect_until = max(self._suspect_until, seq)
        if begun:
            async for page in pending(self._pen):
                for seq, (lane, parts) in page:
                    if lane in begun:
                        self._turns.offer(lane, row_work(seq, parts))
        return total

    def look_at(self, lane: bytes, due: datetime) -> None:
        """Have a stay looked at as of a moment that has come though nothing was said."""
        if not self._stopping:
            self._turns.offer(lane, Deadline(due))

    async def idle(self) -> None:
        """Wait until every offered row is worked."""
        await self._turns.quiet()

    async def stop(self) -> None:
        """Finish the rows in hand; the rest is found again at the next start."""
        self._stopping = True
        self._turns.end(len(self._workers))
        await asyncio.gather(*self._workers)

    # -- one piece of work at a time, whichever lane is next ---------------------------------------------

    async def _worker(self) -> None:
        while True:
            lane = await self._turns.next()
            if self._stopping or lane is None:
                return
            match self._turns.first(lane):
                case Deadline() as deadline:
                    if not await self._at_deadline(lane, deadline):
                        return
                case Message() | AskedAgain() as row:
                    work = self._safely if row.seq > self._suspect_until else self._suspiciously
                    if not await work(lane, row):
                        return
                    self._worked(1)
                case other:
                    assert_never(other)
            self._turns.done(lane)

    async def _at_deadline(self, lane: bytes, deadline: Deadline) -> bool:
        """A moment has come and nothing was said: what opens by it is asked, by the stay's newest row."""
        due = deadline.due
        try:
            known, _ = await self._memory.known(lane)
            if known.seq and known.said.as_of < due:
                return await self._safely(lane, deadline)
            # a message came in between, and saw to it
            await self._pen.ask(lambda batch: stays.no_longer_due(batch.cursor, lane, instant(due)))
        except StoreError:
            return False
        if known.due == instant(due):
            known.due = None
        return True

    async def _suspiciously(self, lane: bytes, row: Row) -> bool:
        """Work a row that was pending at a crash: alone, and with the attempt written down first."""
        async with self._alone:
            if self._stopping:
                return False
            try:
                attempts = await self._pen.ask(lambda batch: inbox.attempt(batch.cursor, row.seq))
                if attempts > STRIKES:
                    await self._give_up(lane, row, "process_death")
                    return True
            except StoreError:
                return False
            return await self._safely(lane, row)

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
                except CaseworkerLostError as exc:
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
                self._memory.forget(lane)  # it may hold what was never committed
                await self._give_up(lane, work, code)
                return True
        except StoreError:
            return False

    async def _give_up(self, lane: bytes, work: LaneWork, code: str) -> None:
        """A row waits for a person; a deadline is left to the stay's next message, which sees to it."""
        match work:
            case Deadline():
                log.error("deadline_failed", extra={"code": code})
                await self._pen.ask(lambda batch: stays.wait_until(batch.cursor, lane, None))
            case Message() | AskedAgain() as row:
                log.error("row_quarantined", extra={"row": row.seq, "code": code})
                await self._pen.ask(lambda batch: self._quarantine(batch, lane, row, code))
            case other:
                assert_never(other)

    async def _give_way(self) -> None:
        """While senders stand in line no row is handed to a caseworker, which would slow their core."""
        if self._pen.crowded:
            if self._gate is None or self._gate.done():
                self._gate = asyncio.create_task(self._wait_for_senders(), name="give-way")
            await self._gate  # one clock for all lanes: each with its own would keep the loop busy

    async def _wait_for_senders(self) -> None:
        for _ in range(LINE_LOOKS):
            await asyncio.sleep(LINE_SECONDS)
            if not self._pen.crowded:
                return

    async def _work(self, lane: bytes, work: LaneWork, *, alone: bool) -> None:
        held: Held | None = None
        match work:
            case Message(seq, held, parts):
                purpose: Purpose = TakeIn() if parts is None else TakeIn(parts)
            case AskedAgain(seq, held):
                purpose = ScreenAgain()
            case Deadline(due):
                seq, purpose = (await self._memory.known(lane))[0].seq, Silence(due)
            case other:
                assert_never(other)
        held = held or await self._read_back(seq)
        await self._give_way()
        anew, gone = self._turns.asked(lane, work)
        known, snapshot = await self._memory.known(lane)
        if gone:
            known = await self._memory.joined(known, gone)
        task = Task(
            seq,
            lane,
            held.feed,
            held.frame,
            known.seq,
            known.said.as_of,
            known.said.states,
            known.said.latest,
            known.pseudonyms,
            snapshot,
            alone,
            purpose,
        )
        if anew:
            task = await self._with(task, NeedRows(renew=True), gone)
        done = await self._office.work(task)
        while isinstance(done, Need):
            task = await self._with(task, done, gone)
            done = await self._office.work(task)
        worked, renew = done, isinstance(task.stored, WholeLane) and task.stored.renew
        await self._pen.ask(
            lambda batch: self._decide(batch, lane, work, seq, known, worked, gone, renew=renew),
            can_wait=True,
        )
        if anew:
            self._turns.refolded(lane, seq, gone)

    async def _read_back(self, seq: int) -> Held:
        kept = await self._pen.ask(lambda batch: inbox.row(batch.cursor, self._keyring, seq))
        if kept is None:
            raise LookupError("row_gone")
        return Held(kept.feed, kept.frame)

    async def _with(self, task: Task, need: Need, gone: tuple[bytes, ...] = ()) -> Task:
        """The task with what the caseworker lacks: the lane's stored fold, or every message of it so far."""
        lane, until = task.lane, task.seq
        if isinstance(need, NeedSnapshot):
            saved = await self._pen.ask(lambda batch: stays.load(batch.cursor, self._keyring, lane))
            if saved is None or saved.seq != task.after:
                raise LookupError("stay_gone")
            return replace(task, stored=Snapshot(saved.head, saved.increments))
        rows = await self._pen.ask(
            lambda batch: {
                (row.seq, row.part): SealedOut(row.seq, row.feed, row.frame, row.part)
                for each in (lane, *gone)
                for row in inbox.lane_rows(batch.cursor, self._keyring, each, until)
            }
        )
        whole = tuple(rows[place] for place in sorted(rows))
        return replace(task, stored=WholeLane(whole, need.renew))

    # -- inside the transaction -----------------------------------------------------------------------

    @staticmethod
    def _quarantine(batch: Batch, lane: bytes, row: Row, reason: str) -> None:
        values: dict[str, Any] = {"actor": "umbridge", "state": "QUARANTINED", "row": row.seq}
        values |= {"reason": reason, "by": "umbridge"}
        batch.entry(Draft("quarantine", values))
        if isinstance(row, Message) and row.parts is None:
            batch.finish(row.seq, RowState.QUARANTINED, reason)
        else:
            batch.set_aside(lane, row.seq, reason)

    def _decide(
        self,
        batch: Batch,
        lane: bytes,
        work: LaneWork,
        seq: int,
        known: Lane,
        done: Done,
        gone: tuple[bytes, ...],
        *,
        renew: bool,
    ) -> None:
        said = known.said
        rows: list[tuple[Any, ...]] = []
        for item in done.determined:
            by_plugin = said.latest.setdefault(item.review, {})
            before = by_plugin.get(item.plugin)
            if before is not None:
                item.texts[SUPERSEDES] = str(before["entry"])
            entry = batch.entry(Spelt("determination", item.texts))
            by_plugin[item.plugin] = {
                "entry": entry,
                "outcome": item.texts[OUTCOME].strip('"'),
                "met": item.met,
                "wave": item.wave,
            }
            rows.append((seq, item.review, item.plugin, 0, entry))
        if rows:
            stays.record_determinations(batch.cursor, rows)
        for change in done.changed:
            batch.entry(Spelt("review.changed", change.texts))
            said.states[change.review] = change.state
        said.as_of = done.as_of
        known.seq = seq
        for one in gone:
            directory.join(batch.cursor, one, lane)
            self._memory.forget(one)
        if gone:
            self._memory.keep(lane, known)
        if renew:
            for one in (lane, *gone):
                directory.refolded(batch.cursor, one, seq)
            stays.renew(batch.cursor, self._keyring, lane, done.increments, batch.now)
        increments = [] if renew else done.increments
        stays.save(batch.cursor, self._keyring, lane, seq, said, done.head, increments, batch.now)
        self._note_due(batch, lane, work, known, done)
        match work:
            case Deadline():
                pass  # no row of the inbox was waiting for it
            case Message(parts=None):
                outcome = RowState.DETERMINED if done.determined else RowState.NOT_APPLICABLE
                batch.finish(seq, outcome, "" if done.determined else "no_review_open")
            case Message() | AskedAgain():
                batch.take(lane, seq, "no_review_open")
            case other:
                assert_never(other)

    @staticmethod
    def _note_due(batch: Batch, lane: bytes, work: LaneWork, known: Lane, done: Done) -> None:
        due = None if done.due is None else instant(done.due)
        if due is not None and not isinstance(work, Deadline) and due < instant(batch.now - HISTORY):
            due = None
        if due != known.due:
            stays.wait_until(batch.cursor, lane, due)
            known.due = due

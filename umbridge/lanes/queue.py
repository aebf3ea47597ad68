"""Work waiting for its turn, lane by lane: which lane is next, and which must wait for another.

A lane's work is done in the order it came, one piece at a time, so that nothing races for one stay. Before
lane A merges B, B first finishes every row received earlier.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import NamedTuple

from umbridge.store.inbox import Share
from umbridge.store.patient_index import ASK_AGAIN, Refold
from umbridge.store.writer import Writer

PAGE = 256
KEEP_BYTES = 64 * 1024 * 1024  # frames held between answer and work; beyond that they are read back


class Held(NamedTuple):
    """A row's message as it came in, kept in memory between answer and work."""

    feed: str
    frame: bytes
    received: str  # as the inbox has it


@dataclass(frozen=True, slots=True)
class Message:
    """A row that the lane takes in. ``parts``: which of it; None where the whole row is this lane's alone."""

    seq: int
    held: Held | None = None  # None: read back from the store when its turn comes
    parts: tuple[int, ...] | None = None


@dataclass(frozen=True, slots=True)
class AskedAgain:
    """A person had a worked row asked again: a row of its own, of which the stay takes nothing in."""

    seq: int
    held: Held | None = None


@dataclass(frozen=True, slots=True)
class Deadline:
    """A moment that the stay has come to though no message came: reviews may open by it."""

    due: datetime


@dataclass(frozen=True, slots=True)
class ReadAnew:
    """The rules of reading are others than when the stay was folded: it is folded again and asked again."""


Row = Message | AskedAgain
#: Everything that may wait in a lane. What people decide about a stay's reviews is to join here as a member
#: of its own, so that a decision and a message about one stay cannot be raced: each ``match`` over this union
#: ends in ``assert_never``, and the type check then names each place that has to say what it does with it.
LaneWork = Row | Deadline | ReadAnew


def row_work(seq: int, parts: tuple[int, ...] | None, held: Held | None = None) -> Row:
    """A stored row as one lane's work, from what the store says of its share."""
    if parts is None:
        return Message(seq, held)
    taken = tuple(part for part in parts if part != ASK_AGAIN)
    return Message(seq, held, taken) if taken else AskedAgain(seq, held)


class LaneQueue:
    """The queues. Lives on one loop; ``backlog``, how many rows wait, may be read from any thread."""

    def __init__(self) -> None:
        self._waiting: dict[bytes, deque[LaneWork]] = {}
        # lanes with a row to work and nobody at it; None ends a worker. In a queue one lane wakes one worker
        self._ready: asyncio.Queue[bytes | None] = asyncio.Queue()
        self._refolds: dict[bytes, list[Refold]] = {}  # what merges and new numbers ask of a lane
        self._parked: dict[bytes, list[bytes]] = {}  # a lane with work to do -> lanes that wait for it
        self._joining: dict[bytes, bytes] = {}  # a lane that is being joined -> the lane it is joined to
        self._quiet = asyncio.Event()
        self._quiet.set()
        self._held = 0  # bytes of frames kept for their turn
        self.backlog = 0  # kept, not counted: ``status`` asks from a thread, and lanes come and go meanwhile

    async def quiet(self) -> None:
        """Wait until nothing waits."""
        await self._quiet.wait()

    def offer(self, lane: bytes, work: LaneWork) -> None:
        """Put work behind what the lane has. Rows must be offered in ``seq`` order."""
        size = _bytes_held(work)
        if size and self._held + size > KEEP_BYTES and not isinstance(work, Deadline | ReadAnew):
            work = replace(work, held=None)
        else:
            self._held += size
        self.backlog += 1
        queue = self._waiting.get(lane)
        if queue is not None:
            queue.append(work)
            return
        self._waiting[lane] = deque([work])
        self._ready.put_nowait(lane)
        self._quiet.clear()

    async def next(self) -> bytes | None:
        """A lane whose first work can be done now; nobody else gets it before ``done``. None: end."""
        while (lane := await self._ready.get()) is not None:
            _, gone = self.asked(lane, self._waiting[lane][0])
            other = self._joining.get(lane) or next((each for each in gone if each in self._waiting), None)
            if other is None:
                self._joining |= dict.fromkeys(gone, lane)  # a deadline of theirs may still come
                return lane
            self._parked.setdefault(other, []).append(lane)
        return None

    def first(self, lane: bytes) -> LaneWork:
        return self._waiting[lane][0]

    def done(self, lane: bytes) -> None:
        """The lane's first work is done."""
        queue = self._waiting[lane]
        self._held -= _bytes_held(queue.popleft())
        self.backlog -= 1
        if self._joining:
            self._joining = {gone: into for gone, into in self._joining.items() if into != lane}
        if queue:
            self._ready.put_nowait(lane)
            return
        del self._waiting[lane]
        for parked in self._parked.pop(lane, ()):
            self._ready.put_nowait(parked)
        if not self._waiting:
            self._quiet.set()

    def end(self, workers: int) -> None:
        """Wake ``workers`` for the last time."""
        for _ in range(workers):
            self._ready.put_nowait(None)

    # -- lanes to be folded again ---------------------------------------------------------------------------

    def refold(self, asked: Iterable[Refold]) -> None:
        for each in asked:
            self._refolds.setdefault(each.lane, []).append(each)

    def asked(self, lane: bytes, work: LaneWork) -> tuple[bool, tuple[bytes, ...]]:
        """Whether the lane is to be folded again with this work, and the lanes that are joined to it then.

        Only a row is ever worked so: what asks for it is a row. One that was to be joined to one of those
        comes with it: its own turn never came.
        """
        if not self._refolds or isinstance(work, Deadline | ReadAnew):
            return False, ()
        asked = [each for each in self._refolds.get(lane, ()) if each.since <= work.seq]
        gone = [each.gone for each in asked if each.gone is not None]
        for one in gone:
            gone += [each.gone for each in self._refolds.get(one, ()) if each.gone is not None]
        return bool(asked), tuple(dict.fromkeys(gone))

    def refolded(self, lane: bytes, seq: int, gone: Iterable[bytes]) -> None:
        """It has been, at this row, with those."""
        for one in gone:
            self._refolds.pop(one, None)
        left = [each for each in self._refolds.pop(lane, ()) if each.since > seq]
        if left:
            self._refolds[lane] = left


def _bytes_held(work: LaneWork) -> int:
    return 0 if isinstance(work, Deadline | ReadAnew) or work.held is None else len(work.held.frame)


async def pending(writer: Writer) -> AsyncIterator[list[tuple[int, Share]]]:
    """Rows not yet worked, in their order, each with a lane that waits for it; a page at a time."""
    with writer.reading() as reader:
        waiting = reader.waiting_parts()
    after, more = 0, True
    while more:
        with writer.reading() as reader:
            rows = reader.pending(after, PAGE)
        await asyncio.sleep(0)  # a long list keeps nobody else waiting
        more = bool(rows)
        until = rows[-1][0] if rows else max(waiting, default=0)
        page: dict[int, list[Share]] = {seq: [(lane, None)] for seq, lane in rows if lane is not None}
        for seq in [each for each in waiting if each <= until]:
            page[seq] = list(waiting.pop(seq).items())
        if page:
            yield [(seq, share) for seq in sorted(page) for share in page[seq]]
        after = until

"""Rows waiting for their turn, lane by lane: which lane is next, and which must wait for another.

A lane's rows are worked in the order they came. A lane that is to be joined with another waits until that one
has worked the rows that came before.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass, replace
from datetime import datetime

from umbridge.store.directory import Refold
from umbridge.store.inbox import Share
from umbridge.store.writer import Pen

PAGE = 256
KEEP_BYTES = 64 * 1024 * 1024  # frames held between answer and work; beyond that they are read back


@dataclass(frozen=True, slots=True)
class Offered:
    """A row waiting for its turn in a lane. ``parts``: what the lane takes in of it, None: as it is."""

    seq: int
    feed: str
    frame: bytes | None
    parts: tuple[int, ...] | None = None
    due: datetime | None = None  # no row: a moment that the stay has come to though nothing was said


class Turns:
    """The queues. Lives on one loop; ``backlog``, how many rows wait, may be read from any thread."""

    def __init__(self) -> None:
        self._waiting: dict[bytes, deque[Offered]] = {}
        # lanes with a row to work and nobody at it; None ends a worker. In a queue one lane wakes one worker
        self._ready: asyncio.Queue[bytes | None] = asyncio.Queue()
        self._refolds: dict[bytes, list[Refold]] = {}  # what merges and new numbers ask of a lane
        self._parked: dict[bytes, list[bytes]] = {}  # a lane with rows to work -> lanes it is to be joined to
        self._quiet = asyncio.Event()
        self._quiet.set()
        self._held = 0  # bytes of frames kept for their turn
        self.backlog = 0  # kept, not counted: ``status`` asks from a thread, and lanes come and go meanwhile

    async def quiet(self) -> None:
        """Wait until nothing waits."""
        await self._quiet.wait()

    def offer(self, lane: bytes, row: Offered) -> None:
        """Put a row behind those that the lane has. Must be called in ``seq`` order."""
        size = 0 if row.frame is None else len(row.frame)
        if self._held + size > KEEP_BYTES:
            row = replace(row, frame=None)  # read back from the store when its turn comes
        else:
            self._held += size
        self.backlog += 1
        queue = self._waiting.get(lane)
        if queue is not None:
            queue.append(row)
            return
        self._waiting[lane] = deque([row])
        self._ready.put_nowait(lane)
        self._quiet.clear()

    async def next(self) -> bytes | None:
        """A lane whose first row can be worked now; nobody else gets it before ``done``. None: end."""
        while (lane := await self._ready.get()) is not None:
            _, gone = self.asked(lane, self._waiting[lane][0].seq)
            other = next((each for each in gone if each in self._waiting), None)
            if other is None:
                return lane
            self._parked.setdefault(other, []).append(lane)
        return None

    def first(self, lane: bytes) -> Offered:
        return self._waiting[lane][0]

    def done(self, lane: bytes) -> None:
        """The lane's first row is worked."""
        queue = self._waiting[lane]
        row = queue.popleft()
        self.backlog -= 1
        if row.frame is not None:
            self._held -= len(row.frame)
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

    def asked(self, lane: bytes, seq: int) -> tuple[bool, tuple[bytes, ...]]:
        """Whether the lane is to be folded again at this row, and the lanes that are joined to it then.

        One that was to be joined to one of those comes with it: its own turn never came.
        """
        if not self._refolds:
            return False, ()
        asked = [each for each in self._refolds.get(lane, ()) if each.since <= seq]
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


async def pending(pen: Pen) -> AsyncIterator[list[tuple[int, Share]]]:
    """Rows not yet worked, in their order, each with a lane that waits for it; a page at a time."""
    with pen.reading() as reader:
        waiting = reader.waiting_parts()
    after, more = 0, True
    while more:
        with pen.reading() as reader:
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

"""The daemon's end of the lane workers: starts them, hands rows out, outlives them.

A lane always goes to the same lane worker, which answers in the order it was asked. One that dies, or sits on
a row for longer than any row may take, is replaced. Rows are worked
together, so those it had are asked again alone; one that ends a process alone is named as the culprit.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import signal
import socket
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import NamedTuple, TypeAlias

from umbridge.errors import ConfigError, UnavailableError
from umbridge.lanes.protocol import (
    Answer,
    Done,
    Failed,
    Frames,
    Health,
    Need,
    Task,
    answer_in,
    frame,
    task_out,
    unframe,
)
from umbridge.screening.discover import Found
from umbridge.screening.host import PluginInfo

log = logging.getLogger("umbridge.lanes.worker_pool")
START_SECONDS = 60.0  # plugins may take ten each; a loaded machine takes longer
ROW_SECONDS = 300.0  # folding a long lane anew and hanging plugins included; beyond it the process is stuck
END_SECONDS = 5.0
PAUSE_SECONDS = (0.0, 0.25, 30.0)  # before the first restart; before the second, doubling; at most
LOOK_SECONDS = 5.0
MOST_CASEWORKERS = 4


def share_of(cores: int) -> int:
    """How many lane workers a machine gets when the settings do not say: one core is the writer's."""
    return max(1, min(MOST_CASEWORKERS, cores - 1))


Turned: TypeAlias = Callable[[PluginInfo], None]


class LaneWorkerLostError(Exception):
    """The process ended before it had answered. ``culprit``: it was at this very row, and at no other."""

    def __init__(self, *, culprit: bool) -> None:
        super().__init__("lane_worker_lost")
        self.culprit = culprit


class WorkFailedError(Exception):
    """A defect of ours met the row. ``code`` is the exception's type."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


@dataclass(frozen=True, slots=True)
class Terms:
    """What every lane worker is told when it starts."""

    site: Path
    digest: str  # of the profile the daemon has read: both must have read the same
    plugins: tuple[Found, ...]
    required: str  # the weakest isolation a plugin may run with
    seconds: float
    charsets: Mapping[str, str]
    cache: int

    def frame(self) -> bytes:
        return frame(
            {
                "site": str(self.site),
                "digest": self.digest,
                "plugins": [asdict(found) for found in self.plugins],
                "required": self.required,
                "seconds": self.seconds,
                "charsets": dict(self.charsets),
                "cache": self.cache,
            }
        )


class _Wire(asyncio.Protocol):
    """One socket: frames in, handed on as they are whole."""

    def __init__(self, lane_worker: LaneWorker) -> None:
        self._lane_worker = lane_worker
        self._frames = Frames()
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)  # noqa: S101  (asyncio's own promise for streams)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        for body in self._frames.feed(data):
            self._lane_worker.heard(self, body)

    def connection_lost(self, exc: Exception | None) -> None:
        self._lane_worker.lost(self)


class LaneWorker:
    """One process and what it has been asked. Lives on the daemon's loop."""

    def __init__(self, terms: Terms, turned: Turned) -> None:
        self._terms = terms
        self._turned = turned
        self.roster: list[PluginInfo] = []
        self._wire: _Wire | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._asked: deque[tuple[asyncio.Future[Answer], bool]] = deque()  # and whether it is worked alone
        self._out: list[bytes] = []
        self._started: asyncio.Future[_Started] | None = None
        self._starting = asyncio.Lock()
        self._since = 0.0  # when the row it is at became the first in line
        self._failures = 0
        self._not_before = 0.0
        self._stopped = False

    @property
    def pid(self) -> int | None:
        """The process id while it runs."""
        return None if self._process is None else self._process.pid

    async def ready(self) -> None:
        """Have a process that can be asked. Raises ConfigError, UnavailableError."""
        async with self._starting:
            if self._wire is not None:
                return
            pause = self._not_before - time.monotonic()
            if pause > 0:
                await asyncio.sleep(pause)
            if self._stopped:
                raise UnavailableError("the daemon is stopping")
            await self._start()

    async def _start(self) -> None:
        loop = asyncio.get_running_loop()
        ours, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(
                [
                    sys.executable,
                    "-P",
                    "-B",
                    "-m",
                    "umbridge.lanes.worker",
                    json.dumps([theirs.fileno(), os.getpid()]),
                ],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                pass_fds=(theirs.fileno(),),
                start_new_session=True,  # a terminal's interrupt is for the daemon, which ends it in order
            )
        ours.setblocking(False)
        self._started = loop.create_future()
        _, wire = await loop.connect_accepted_socket(lambda: _Wire(self), ours)
        assert wire.transport is not None  # noqa: S101  (set when the connection was made)
        wire.transport.write(self._terms.frame())
        self._wire = wire
        try:
            async with asyncio.timeout(START_SECONDS):
                said = await self._started
        except (TimeoutError, LaneWorkerLostError):
            self._kill()
            raise UnavailableError("a lane worker did not start; see the log") from None
        if said.refused:
            raise ConfigError(said.refused)
        self.roster = said.roster

    async def work(self, task: Task) -> Done | Need:
        """Have one row worked. Raises CaseworkerLostError, WorkFailedError."""
        while self._wire is None:
            try:
                await self.ready()
            except (ConfigError, UnavailableError):
                if self._stopped:
                    raise LaneWorkerLostError(culprit=False) from None
                log.error("lane_worker_not_started")
                self._pause()
        future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        if not self._asked:
            self._since = time.monotonic()
        self._asked.append((future, task.alone))
        if not self._out:
            asyncio.get_running_loop().call_soon(self._write)
        self._out.append(task_out(task))
        answer = await future
        if isinstance(answer, Failed):
            raise WorkFailedError(answer.code)
        assert isinstance(answer, Done | Need)  # noqa: S101  (health is not an answer to a row)
        return answer

    def _write(self) -> None:
        """What was asked in this turn of the loop leaves in one write: each one would wake the process."""
        out, self._out = self._out, []
        if self._wire is not None and self._wire.transport is not None:
            self._wire.transport.write(b"".join(out))

    def heard(self, wire: _Wire, body: bytes) -> None:
        if wire is not self._wire and self._wire is not None:
            return
        if self._started is not None and not self._started.done():
            self._started.set_result(_started(body))
            return
        answer = answer_in(body)
        if isinstance(answer, Health):
            before, self.roster = (
                self.roster,
                [replace(info, health=answer.plugins[info.name]) for info in self.roster],
            )
            for old, new in zip(before, self.roster, strict=True):
                if (old.health == "suspended") != (new.health == "suspended"):
                    self._turned(new)
            return
        self._failures = 0
        future, _ = self._asked.popleft()
        self._since = time.monotonic()
        if not future.done():
            future.set_result(answer)

    def lost(self, wire: _Wire) -> None:
        """The process is gone: whoever waits is told, the first in line, if alone, that it was to blame."""
        if self._started is not None and not self._started.done():
            self._started.set_exception(LaneWorkerLostError(culprit=False))
        if wire is not self._wire:
            return
        self._wire = None
        if not self._stopped:  # else it is ending by itself, its plugins first
            self._pause()
            log.error("lane_worker_lost", extra={"rows": len(self._asked), "code": self._kill()})
        self._out.clear()
        asked, self._asked = self._asked, deque()
        for place, (future, alone) in enumerate(asked):
            if not future.done():
                future.set_exception(LaneWorkerLostError(culprit=place == 0 and alone))

    def _pause(self) -> None:
        self._failures += 1
        first, second, most = PAUSE_SECONDS
        pause = first if self._failures == 1 else min(most, second * 2 ** min(self._failures - 2, 20))
        self._not_before = time.monotonic() + pause

    def look(self, row_seconds: float = ROW_SECONDS) -> None:
        """End a process that sits on one row for longer than any row may take."""
        if self._asked and time.monotonic() - self._since > row_seconds and self._process is not None:
            log.error("lane_worker_stuck")
            self._process.kill()

    def _kill(self) -> str:
        """End it if it has not ended; how it did, in a word."""
        process, self._process = self._process, None
        wire, self._wire = self._wire, None
        if wire is not None and wire.transport is not None:
            wire.transport.abort()
        if process is None:
            return "not_started"
        process.kill()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(END_SECONDS)
        code = process.returncode or 0
        return signal.Signals(-code).name if code < 0 else f"exit_{code}"

    async def stop(self) -> None:
        """Close its socket, on which it ends itself and its plugins; kill it when it does not."""
        self._stopped = True
        process = self._process
        if self._wire is not None and self._wire.transport is not None:
            self._wire.transport.close()
        if process is not None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                await asyncio.to_thread(process.wait, END_SECONDS)
        self._kill()


class WorkerPool:
    """All lane workers of one daemon."""

    def __init__(self, terms: Terms, count: int = 0, turned: Turned = lambda info: None) -> None:
        """``count`` 0: as many as the machine has cores to spare.

        ``turned`` hears of each plugin that was suspended in one of them, or is so no longer.
        """
        count = count or share_of(len(os.sched_getaffinity(0)))
        self.lane_workers = [LaneWorker(terms, turned) for _ in range(count)]
        self._looking: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Start every process, side by side. Raises ConfigError, UnavailableError."""
        try:
            await asyncio.gather(*(one.ready() for one in self.lane_workers))
        except BaseException:
            await self.stop()
            raise
        self._looking = asyncio.create_task(self._look(), name="lane workers")

    async def stop(self) -> None:
        """End them all; rows still asked for are lost here and found again at the next start."""
        if self._looking is not None:
            self._looking.cancel()
        await asyncio.gather(*(one.stop() for one in self.lane_workers))

    async def work(self, task: Task) -> Done | Need:
        """Have a row worked by its lane's lane worker. Raises CaseworkerLostError, WorkFailedError."""
        place = int.from_bytes(task.lane[:4], "big") % len(self.lane_workers)
        return await self.lane_workers[place].work(task)

    @property
    def plugins(self) -> Sequence[PluginInfo]:
        """The roster, by name; a plugin is as well as the worst of its workers."""
        first, *others = (one.roster for one in self.lane_workers)
        rank = ("running", "restarting", "suspended", "stopped")
        return [
            replace(info, health=max((each[place].health for each in (first, *others)), key=rank.index))
            for place, info in enumerate(first)
        ]

    async def _look(self) -> None:
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            for one in self.lane_workers:
                one.look()


class _Started(NamedTuple):
    """A lane worker's first words: its plugins, or why it may not run."""

    roster: list[PluginInfo]
    refused: str


def _started(body: bytes) -> _Started:
    head = unframe(body)[0]
    roster = [
        PluginInfo(**info | {"facts": tuple(info["facts"]), "subsets": tuple(info["subsets"])})
        for info in head.get("roster", ())
    ]
    return _Started(roster, head.get("refused", ""))

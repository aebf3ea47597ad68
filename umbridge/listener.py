"""Sockets in: MLLP connections, each with one frame in flight, none of them ever dropped for being early."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections import Counter
from dataclasses import replace

from umbridge.config import FeedSettings, LimitSettings
from umbridge.errors import StoreError, UnavailableError
from umbridge.hl7 import mllp
from umbridge.intake import Intake

log = logging.getLogger("umbridge.listener")
READ_BYTES = 65536
BACKLOG = 512


class Listener:
    """One feed's server. Owns its connection tasks; ``close`` lets frames already complete be answered."""

    def __init__(self, feed: str, settings: FeedSettings, limits: LimitSettings, intake: Intake) -> None:
        self.feed = feed
        self.port = settings.port
        self._settings = settings
        self._limits = limits
        self._intake = intake
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._idle: set[asyncio.Task[None]] = set()  # waiting for the peer, nothing complete in hand
        self._peers: Counter[str] = Counter()
        self._closing = False
        self.refused_connections = 0

    @property
    def connections(self) -> int:
        return len(self._tasks)

    async def open(self) -> None:
        """Start listening. Raises UnavailableError when the port cannot be had."""
        try:
            self._server = await asyncio.start_server(
                self._connected, self._settings.host, self._settings.port, backlog=BACKLOG
            )
        except OSError as exc:
            where = f"{self._settings.host}:{self._settings.port}"
            raise UnavailableError(f"feed {self.feed}: cannot listen on {where} ({exc.strerror})") from None
        self.port = self._server.sockets[0].getsockname()[1]

    async def close(self, seconds: float) -> None:
        """Stop accepting; frames already complete are stored and answered; then cut what is left."""
        self._closing = True
        if self._server is not None:
            self._server.close()
        for task in list(self._idle):
            task.cancel()
        if self._tasks:
            _, late = await asyncio.wait(set(self._tasks), timeout=seconds)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        peer = str((writer.get_extra_info("peername") or ("unknown",))[0])
        full = len(self._tasks) >= self._limits.connections
        if self._closing or full or self._peers[peer] >= self._limits.connections_per_peer:
            self.refused_connections += 1
            writer.transport.abort()
            return
        assert task is not None  # noqa: S101 - a coroutine of start_server runs in a task
        self._tasks.add(task)
        self._peers[peer] += 1
        try:
            await self._serve(reader, writer)
        except (ConnectionError, TimeoutError):
            log.info("connection_lost", extra={"feed": self.feed})
        except StoreError:
            log.error("not_stored_not_answered", extra={"feed": self.feed})
        except asyncio.CancelledError:
            log.info("connection_cut", extra={"feed": self.feed})
        finally:
            self._tasks.discard(task)
            self._peers[peer] -= 1
            if not self._peers[peer]:
                del self._peers[peer]
            writer.close()
            with contextlib.suppress(ConnectionError, TimeoutError, asyncio.CancelledError):
                await writer.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        decoder = mllp.FrameDecoder(self._limits.max_frame_bytes)
        began: float | None = None  # when the frame now being read began
        while True:
            data = await self._read(reader, began)
            if data is None:  # stalled inside a frame
                await self._intake.fault(_stalled(decoder), self.feed)
                return
            if not data:
                fault = decoder.eof()
                if fault is not None:
                    await self._intake.fault(fault, self.feed)
                return
            parts = decoder.feed(data)
            for index, part in enumerate(parts):
                following = parts[index + 1] if index + 1 < len(parts) else None
                if isinstance(part, mllp.Fault):
                    answer = await self._intake.fault(part, self.feed)
                    if answer is not None:
                        await self._answer(writer, answer)
                    return
                if isinstance(following, mllp.Fault) and following.reason == "junk_after_block":
                    # FS CR stood inside a message: what looked like a frame is half of one (intake.md 3.5)
                    await self._intake.fault(following, self.feed)
                    return
                reply = await self._intake.receive(part.data, self.feed, self._settings)
                if reply.answer is not None:
                    await self._answer(writer, reply.answer)
                if reply.close:
                    return
                if following is not None:
                    await self._room()
            if not decoder.inside:
                began = None
            elif began is None or parts:
                began = time.monotonic()
            if self._closing:
                return

    async def _room(self) -> None:
        """Wait until another frame may be taken; a stop may end the wait, for nothing of it was promised."""
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - connections are served in tasks
        self._idle.add(task)
        try:
            await self._intake.ready()
        finally:
            self._idle.discard(task)

    async def _read(self, reader: asyncio.StreamReader, began: float | None) -> bytes | None:
        """The next bytes; b"" at the end; None when a frame that has begun does not go on."""
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - connections are served in tasks
        self._idle.add(task)
        try:
            await self._intake.ready()
            if began is None:  # between frames there is no limit: a quiet feed is a healthy feed
                return await reader.read(READ_BYTES)
            left = self._limits.frame_total_seconds - (time.monotonic() - began)
            async with asyncio.timeout(max(0.0, min(left, self._limits.frame_stall_seconds))):
                return await reader.read(READ_BYTES)
        except TimeoutError:
            return None
        finally:
            self._idle.discard(task)

    async def _answer(self, writer: asyncio.StreamWriter, answer: bytes) -> None:
        if writer.is_closing():
            return  # the peer left; it will ask again and get the same answer
        writer.write(mllp.encode(answer))
        if not writer.transport.get_write_buffer_size():
            return  # the kernel has it; only a peer that does not read makes us wait
        async with asyncio.timeout(self._limits.answer_write_seconds):
            await writer.drain()


def _stalled(decoder: mllp.FrameDecoder) -> mllp.Fault:
    """The frame that does not go on, as a fault of its own name."""
    fault = decoder.eof()
    assert fault is not None  # noqa: S101 - only asked while a frame is open
    return replace(fault, reason="stalled_in_block")

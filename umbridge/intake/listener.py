"""Sockets in: MLLP connections, each with one frame in flight, none of them ever dropped for being early.

With TLS the peer's certificate says which feed it is; several feeds may share a port. Every connection counts
against its limits from the moment it is taken, so that one that never says anything costs others nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import struct
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace

from umbridge.errors import StoreError, UnavailableError
from umbridge.hl7 import mllp
from umbridge.intake import tls
from umbridge.intake.receive import Intake
from umbridge.settings.config import FeedSettings, LimitSettings

log = logging.getLogger("umbridge.intake.listener")
READ_BYTES = 65536
BACKLOG = 512
ACCEPT_PAUSE_SECONDS = 0.2  # when no descriptor is left: those that are open must end first
TLS_CLOSE_SECONDS = 2.0  # a peer that does not say goodbye is not waited for
PROBES = 6  # keep-alive: this many unanswered, over the last of ``dead_peer_seconds``, and the peer is gone


class Listener:
    """One port's server. Owns its connection tasks; ``close`` lets frames already complete be answered."""

    def __init__(
        self,
        feeds: Mapping[str, FeedSettings],
        limits: LimitSettings,
        intake: Intake,
        context: tls.Context | None = None,
    ) -> None:
        self._feeds = dict(feeds)
        self.first = next(iter(self._feeds))  # whose count it is while the peer has not said who it is
        self.port = self._feeds[self.first].port
        self._limits = limits
        self._intake = intake
        self._context = context
        self._socket: socket.socket | None = None
        self._accepting: asyncio.Task[None] | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._idle: set[asyncio.Task[None]] = set()  # waiting for the peer, nothing complete in hand
        self._peers: Counter[str] = Counter()
        self._age = 0  # how often certificates were exchanged
        self._closing = False
        self.connections: Counter[str] = Counter()  # by feed, once it is known
        self.noise: Counter[str] = Counter()  # bytes between frames that were passed over, by feed
        self.refused_connections = 0

    @property
    def feeds(self) -> tuple[str, ...]:
        return tuple(self._feeds)

    @property
    def open_connections(self) -> int:
        return len(self._tasks)

    async def open(self) -> None:
        """Start listening. Raises UnavailableError when the port cannot be had."""
        host = self._feeds[self.first].host
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        try:
            self._socket = socket.create_server((host, self.port), family=family, backlog=BACKLOG)
        except OSError as exc:
            where = f"{host}:{self.port}"
            raise UnavailableError(f"feed {self.first}: cannot listen on {where} ({exc.strerror})") from None
        self._socket.setblocking(False)
        self.port = self._socket.getsockname()[1]
        self._accepting = asyncio.create_task(self._accept(self._socket), name=f"accept-{self.first}")

    def renew(self, feeds: Mapping[str, FeedSettings], context: tls.Context | None) -> None:
        """Believe these certificates and senders from now on. TLS peers that are here come again.

        A frame that is complete is answered first; one that is half here is sent again by its sender.
        """
        self._feeds = dict(feeds)
        self._context = context
        if context is not None:
            self._age += 1
            for task in list(self._idle):
                task.cancel()

    async def close(self, seconds: float) -> None:
        """Stop accepting; frames already complete are stored and answered; then cut what is left."""
        self._closing = True
        if self._accepting is not None:
            self._accepting.cancel()
            await asyncio.gather(self._accepting, return_exceptions=True)
        if self._socket is not None:
            self._socket.close()
        for task in list(self._idle):
            task.cancel()
        if self._tasks:
            _, late = await asyncio.wait(set(self._tasks), timeout=seconds)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)

    # -- connections --------------------------------------------------------------------------------------

    async def _accept(self, listening: socket.socket) -> None:
        """Take connections for as long as there is a listener; nothing a peer does may end this."""
        loop = asyncio.get_running_loop()
        while True:
            try:
                peer, address = await loop.sock_accept(listening)
            except (OSError, MemoryError) as exc:
                log.error("connection_not_taken", extra={"feed": self.first, "code": type(exc).__name__})
                await asyncio.sleep(ACCEPT_PAUSE_SECONDS)
                continue
            origin = str(address[0])
            full = len(self._tasks) >= self._limits.connections
            if full or self._peers[origin] >= self._limits.connections_per_peer:
                self.refused_connections += 1
                self._intake.count(self.first, "too_many_connections")
                _reset(peer)
                continue
            task = asyncio.create_task(self._connected(peer), name=f"peer-{self.first}")
            self._tasks.add(task)
            self._peers[origin] += 1
            task.add_done_callback(lambda done, origin=origin: self._gone(done, origin))  # type: ignore[misc]

    def _gone(self, task: asyncio.Task[None], origin: str) -> None:
        self._tasks.discard(task)
        self._peers[origin] -= 1
        if not self._peers[origin]:
            del self._peers[origin]

    async def _connected(self, peer: socket.socket) -> None:
        writer: asyncio.StreamWriter | None = None
        feed: str | None = None
        try:
            reader, writer = await self._greet(peer)
            feed = self._feed_of(writer)
            if feed is not None:
                self.connections[feed] += 1
                await self._serve(reader, writer, feed)
        except (ConnectionError, TimeoutError):
            log.info("connection_lost", extra={"feed": feed or self.first})
            if writer is not None:
                writer.transport.abort()  # what it did not read in time it will not read now
        except StoreError:
            log.error("not_stored_not_answered", extra={"feed": feed or self.first})
        except asyncio.CancelledError:
            log.info("connection_cut", extra={"feed": feed or self.first})
        except OSError as exc:
            log.info("connection_lost", extra={"feed": feed or self.first, "code": type(exc).__name__})
        finally:
            if feed is not None:
                self.connections[feed] -= 1
            if writer is None:
                peer.close()
            else:
                await self._leave(writer)

    async def _leave(self, writer: asyncio.StreamWriter) -> None:
        writer.close()
        with contextlib.suppress(OSError, asyncio.CancelledError):
            async with asyncio.timeout(self._limits.answer_write_seconds):
                await writer.wait_closed()
        writer.transport.abort()  # nothing where it is closed already

    async def _greet(self, peer: socket.socket) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """The two ends of a connection, after the handshake where there is TLS. Raises OSError."""
        self._keep_alive(peer)
        loop = asyncio.get_running_loop()
        reader = asyncio.StreamReader(limit=READ_BYTES, loop=loop)
        protocol = asyncio.StreamReaderProtocol(reader, loop=loop)
        context = self._context
        if context is None:
            transport, _ = await loop.connect_accepted_socket(lambda: protocol, peer)
            return reader, asyncio.StreamWriter(transport, protocol, reader, loop)
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - connections are served in tasks
        self._idle.add(task)
        try:
            transport, _ = await loop.connect_accepted_socket(
                lambda: protocol,
                peer,
                ssl=context,
                ssl_handshake_timeout=self._limits.handshake_seconds,
                ssl_shutdown_timeout=TLS_CLOSE_SECONDS,
            )
        except OSError as exc:
            self._intake.count(self.first, tls.why(exc))
            raise
        finally:
            self._idle.discard(task)
        return reader, asyncio.StreamWriter(transport, protocol, reader, loop)

    def _feed_of(self, writer: asyncio.StreamWriter) -> str | None:
        """The feed that the peer's certificate names; without TLS the only one. None: nobody we know."""
        if self._context is None:
            return self.first
        names = tls.names_in(writer.get_extra_info("peercert"))
        found = [name for name, feed in self._feeds.items() if feed.tls and tls.named(feed.tls.peers, names)]
        if len(found) == 1:
            return found[0]
        self._intake.count(self.first, "tls_name_ambiguous" if found else "tls_name_unknown")
        return None

    def _keep_alive(self, peer: socket.socket) -> None:
        """A peer that vanished without a word is noticed by the kernel, asked or not (tcp(7))."""
        seconds = self._limits.dead_peer_seconds
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, seconds)
        peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, max(1, seconds // PROBES))
        peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, PROBES)
        peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, seconds * 1000)

    # -- frames -------------------------------------------------------------------------------------------

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, feed: str) -> None:
        decoder = mllp.FrameDecoder(self._limits.max_frame_bytes)
        began: float | None = None  # when the frame now being read began
        age = self._age
        last: int | None = None  # the row of the last frame that was answered
        while True:
            data = await self._read(reader, began)
            if data is None:  # stalled inside a frame
                await self._intake.fault(_stalled(decoder), feed)
                return
            if not data:
                fault = decoder.eof()
                if fault is not None:
                    await self._intake.fault(fault, feed)
                return
            parts = decoder.results(data)
            part = whole = next(parts, None)
            while part is not None:
                following = next(parts, None)
                if isinstance(part, mllp.Fault):
                    if part.reason == "junk_after_block" and last is not None:
                        await self._intake.suspect(last)
                    answer = await self._intake.fault(part, feed)
                    if answer is not None:
                        await self._answer(writer, answer)
                    return
                if isinstance(following, mllp.Fault) and following.reason == "junk_after_block":
                    # FS CR stood inside a message: what looked like a frame is half of one (intake.md 3.5)
                    await self._intake.fault(following, feed)
                    return
                reply = await self._intake.receive(part.data, feed, self._feeds[feed])
                last = reply.seq
                if reply.answer is not None:
                    await self._answer(writer, reply.answer)
                if reply.close:
                    return
                if following is not None:
                    await self._room()
                part = following
            self.noise[feed] += decoder.noise
            decoder.noise = 0
            if not decoder.inside:
                began = None
            elif began is None or whole is not None:
                began = time.monotonic()
            if self._closing or age != self._age:
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


def _reset(peer: socket.socket) -> None:
    """Close at once and leave nothing behind (SO_LINGER of zero: no TIME_WAIT to fill the table)."""
    with contextlib.suppress(OSError):
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    peer.close()

"""The control socket, the daemon's end: how commands reach the writer; the actor is the peer's account.

One JSON object asks, JSON lines answer: any number of ``{"row": …}``, then ``{"done": true}`` or
``{"error": text, "exit": code}``. Local accounts only: a unix socket, 0660, peer credentials from the kernel.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import pwd
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import ContextVar, copy_context
from pathlib import Path
from typing import Any

from umbridge.access.control_client import SOCKET, Short
from umbridge.errors import UmbridgeError, UnavailableError

log = logging.getLogger("umbridge.access.control")
MAX_REQUEST = 1 << 20
ROWS_AHEAD = 64
BYTES_AHEAD = 256 * 1024
STOP_SECONDS = 1.5
EXPORT = "ledger.export"

Answer = Callable[[str, str, dict[str, Any]], Iterator[dict[str, Any]]]


def account_name(uid: int) -> str:
    """The OS account of a uid; a uid without a name is ``uid:N``."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"uid:{uid}"


_ASKED: ContextVar[threading.Event | None] = ContextVar("asked", default=None)


_FROM: ContextVar[str] = ContextVar("from", default="")


def where_from() -> str:
    """Where the question that is being answered came from, for its entry: the socket's peer as the kernel
    names it, or, where no daemon runs, this very process."""
    return _FROM.get() or f"this process, {place(os.getpid(), os.geteuid())}"


def place(pid: int, uid: int) -> str:
    """A process, its account's number, and its terminal if it has one: read from /proc, so true of now."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
        tty = int(stat.rpartition(")")[2].split()[4])
    except (OSError, ValueError, IndexError):
        tty = 0
    major, minor = os.major(tty), os.minor(tty)
    if 136 <= major <= 143:  # Linux devices.txt: the slaves of Unix98 pseudo-terminals
        return f"uid {uid}, pid {pid}, pts/{(major - 136) * 256 + minor}"
    return f"uid {uid}, pid {pid}, " + (f"tty {major}:{minor}" if tty else "no terminal")


def go_on() -> None:
    """Long work calls this now and then. Raises UnavailableError when nobody waits for its answer any more.

    In an answer that no control socket asked for it does nothing.
    """
    ended = _ASKED.get()
    if ended is not None and ended.is_set():
        raise UnavailableError("the daemon is stopping, or the one who asked has gone")


class _Asked:
    """One question under way: its rows, taken in whatever thread is free, and how it is ended."""

    def __init__(
        self, rows: Callable[[], Iterator[dict[str, Any]]], freed: Callable[[], None], source: str
    ) -> None:
        self._begin = rows
        self._rows: Iterator[dict[str, Any]] | None = None
        self._freed = freed
        self._last: Future[bytes] | None = None
        self._ended = threading.Event()
        self._context = copy_context()
        self._context.run(_ASKED.set, self._ended)
        self._context.run(_FROM.set, source)

    async def take(self, threads: ThreadPoolExecutor) -> bytes:
        """The next rows as lines, b"" at the end."""
        self._last = threads.submit(self._context.run, self._take)
        return await asyncio.wrap_future(self._last)

    def _take(self) -> bytes:
        if self._rows is None:
            self._rows = self._begin()
        chunk = bytearray()
        for count, row in enumerate(self._rows, 1):
            chunk += _line({"row": row})
            go_on()
            if count >= ROWS_AHEAD or len(chunk) >= BYTES_AHEAD:
                break
        return bytes(chunk)

    def end(self) -> Future[bytes] | None:
        """Have it stop: at once, or when the thread that is at it next looks. Returns what to wait for."""
        self._ended.set()
        if self._last is None:
            self._close(None)
        else:
            self._last.add_done_callback(self._close)  # at once if it is done: nobody else has the rows then
        return self._last

    def _close(self, _last: Future[bytes] | None) -> None:
        close = getattr(self._rows, "close", None)
        try:
            if close is not None:
                close()
        finally:
            self._freed()


class Control:
    """Serves the socket. ``answer(account, op, args)`` runs in a thread and yields rows.

    Whoever asks can hold up only others who ask, and them not for long: there are bounds to how many ask at
    once, to the seconds a request and a reader may take, and to the threads and exports that answer.
    """

    def __init__(
        self,
        store: Path,
        answer: Answer,
        *,
        connections: int = 32,
        request_seconds: float = 5.0,
        drain_seconds: float = 30.0,
        threads: int = 4,
        exports: int = 2,
    ) -> None:
        self._store = store
        self._answer = answer
        self._connections = connections
        self._request_seconds = request_seconds
        self._drain_seconds = drain_seconds
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._threads = ThreadPoolExecutor(threads, "control")
        self._exports = threading.BoundedSemaphore(exports)
        self._ending: set[Future[bytes]] = set()
        self._closing = False

    async def open(self) -> None:
        """Listen. The caller holds the store's lock, so a socket that is there is left over and goes."""
        with contextlib.suppress(FileNotFoundError):
            (self._store / SOCKET).unlink()
        short = Short(self._store)
        try:
            self._server = await asyncio.start_unix_server(self._connected, short.path, limit=MAX_REQUEST)
        finally:
            short.close()
        (self._store / SOCKET).chmod(0o660)

    async def close(self) -> None:
        """Stop answering: whatever is under way is broken off. Takes at most a little over STOP_SECONDS."""
        self._closing = True
        if self._server is not None:
            self._server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        # give what was broken off a moment to put its things away
        last = [asyncio.wrap_future(one) for one in list(self._ending)]
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(STOP_SECONDS):
                await asyncio.gather(*last, return_exceptions=True)
        self._threads.shutdown(wait=False, cancel_futures=True)
        with contextlib.suppress(FileNotFoundError):
            (self._store / SOCKET).unlink()

    async def _connected(self, reader: asyncio.StreamReader, stream: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - connections are served in tasks
        if self._closing or len(self._tasks) >= self._connections:
            stream.write(_line({"error": "the daemon is busy with other questions; ask again", "exit": 69}))
            stream.close()
            return
        self._tasks.add(task)
        try:
            peer = stream.get_extra_info("socket")
            raw = peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
            pid, uid, _ = struct.unpack("3i", raw)
            await self._serve(account_name(uid), f"control socket, {place(pid, uid)}", reader, stream)
            stream.close()
            async with asyncio.timeout(self._drain_seconds):
                await stream.wait_closed()
        except (ConnectionError, TimeoutError, asyncio.CancelledError):
            log.info("control_lost")
        finally:
            self._tasks.discard(task)
            stream.transport.abort()  # nothing where it is closed already; what nobody reads is dropped

    async def _serve(
        self, account: str, source: str, reader: asyncio.StreamReader, stream: asyncio.StreamWriter
    ) -> None:
        try:
            async with asyncio.timeout(self._request_seconds):
                request = json.loads(await reader.readline())
            op, args = str(request["op"]), dict(request.get("args") or {})
        except TimeoutError:
            stream.write(_line({"error": "no control request came in time", "exit": 2}))
            return
        except (ValueError, KeyError, TypeError, RecursionError):
            stream.write(_line({"error": "not a control request", "exit": 2}))
            return
        freed = _nothing
        if op == EXPORT:
            if not self._exports.acquire(blocking=False):
                text = "the daemon is busy with other exports; ask again when one has ended"
                stream.write(_line({"error": text, "exit": 69}))
                return
            freed = self._exports.release
        asked = _Asked(lambda: self._answer(account, op, args), freed, source)
        try:
            stream.write(await self._rows(asked, op, stream))
        finally:
            last = asked.end()
            if last is not None and not last.done():
                self._ending.add(last)
                last.add_done_callback(self._ending.discard)

    async def _rows(self, asked: _Asked, op: str, stream: asyncio.StreamWriter) -> bytes:
        """Write the rows as they come; returns the line that ends the answer."""
        while True:
            try:
                chunk = await asked.take(self._threads)
            except UmbridgeError as exc:
                return _line({"error": str(exc), "exit": exc.exit_code})
            except Exception as exc:
                log.error("control_failed", extra={"code": type(exc).__name__})
                text = f"the daemon could not answer {op} ({type(exc).__name__})"
                return _line({"error": text, "exit": 74})
            if not chunk:
                return _line({"done": True})
            stream.write(chunk)
            async with asyncio.timeout(self._drain_seconds):
                await stream.drain()


def _nothing() -> None:
    """What most questions free when they end."""


def _line(value: dict[str, Any]) -> bytes:
    text = json.dumps(value, separators=(",", ":"), ensure_ascii=False)
    # half a surrogate pair has no UTF-8, but its escape is as good JSON as any
    return text.encode("utf-8", "backslashreplace") + b"\n"

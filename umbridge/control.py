"""The control socket: how other commands reach the pen. The actor is the socket peer's account.

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
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

from umbridge.errors import (
    ConfigError,
    NotPermittedError,
    StoreError,
    UmbridgeError,
    UnavailableError,
    UsageError,
)

log = logging.getLogger("umbridge.control")
SOCKET = "control.sock"
MAX_REQUEST = 1 << 20
ROWS_AHEAD = 64

Answer = Callable[[str, str, dict[str, Any]], Iterator[dict[str, Any]]]


def account_name(uid: int) -> str:
    """The OS account of a uid; a uid without a name is ``uid:N``."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"uid:{uid}"


class _Short:
    """A path to the socket that fits the kernel's 107 bytes wherever the store lies."""

    def __init__(self, store: Path) -> None:
        self._handle = os.open(store, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        self.path = f"/proc/self/fd/{self._handle}/{SOCKET}"

    def close(self) -> None:
        os.close(self._handle)


class Control:
    """Serves the socket. ``answer(account, op, args)`` runs in a thread and yields rows."""

    def __init__(self, store: Path, answer: Answer) -> None:
        self._store = store
        self._answer = answer
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def open(self) -> None:
        """Listen. The caller holds the store's lock, so a socket that is there is left over and goes."""
        with contextlib.suppress(FileNotFoundError):
            (self._store / SOCKET).unlink()
        short = _Short(self._store)
        try:
            self._server = await asyncio.start_unix_server(self._connected, short.path, limit=MAX_REQUEST)
        finally:
            short.close()
        (self._store / SOCKET).chmod(0o660)

    async def close(self) -> None:
        if self._server is not None:
            self._server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        with contextlib.suppress(FileNotFoundError):
            (self._store / SOCKET).unlink()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - connections are served in tasks
        self._tasks.add(task)
        try:
            peer = writer.get_extra_info("socket")
            raw = peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
            account = account_name(struct.unpack("3i", raw)[1])
            await self._serve(account, reader, writer)
        except (ConnectionError, asyncio.CancelledError):
            log.info("control_lost")
        finally:
            self._tasks.discard(task)
            writer.close()

    async def _serve(self, account: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            request = json.loads(await reader.readline())
            op, args = str(request["op"]), dict(request.get("args") or {})
        except (ValueError, KeyError, TypeError, RecursionError):
            _write(writer, {"error": "not a control request", "exit": 2})
            return
        end: dict[str, Any] = {"done": True}
        try:
            rows = await asyncio.to_thread(self._answer, account, op, args)
            while chunk := await asyncio.to_thread(_take, rows):
                for row in chunk:
                    _write(writer, {"row": row})
                await writer.drain()
        except UmbridgeError as exc:
            end = {"error": str(exc), "exit": exc.exit_code}
        except ConnectionError:
            raise
        except Exception as exc:
            log.error("control_failed", extra={"code": type(exc).__name__})
            end = {"error": f"the daemon could not answer {op} ({type(exc).__name__})", "exit": 74}
        _write(writer, end)
        await writer.drain()


def _write(writer: asyncio.StreamWriter, value: dict[str, Any]) -> None:
    text = json.dumps(value, separators=(",", ":"), ensure_ascii=False)
    # half a surrogate pair has no UTF-8, but its escape is as good JSON as any
    writer.write(text.encode("utf-8", "backslashreplace") + b"\n")


def _take(rows: Iterator[dict[str, Any]]) -> list[dict[str, Any]]:
    chunk = []
    for row in rows:
        chunk.append(row)
        if len(chunk) >= ROWS_AHEAD:
            break
    return chunk


_ERRORS = {
    2: UsageError,
    69: UnavailableError,
    74: StoreError,
    77: NotPermittedError,
    78: ConfigError,
}


def request(store: Path, op: str, args: dict[str, Any]) -> Iterator[dict[str, Any]] | None:
    """Ask the running daemon; None when none listens. Raises the error the daemon answered with."""
    peer = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        if not (store / SOCKET).exists():
            peer.close()
            return None
        short = _Short(store)
        try:
            peer.connect(short.path)
        finally:
            short.close()
    except PermissionError:
        peer.close()
        raise NotPermittedError(f"{store / SOCKET}: this account may not speak to the daemon") from None
    except OSError:
        peer.close()
        return None
    return _rows(peer, op, args)


def _rows(peer: socket.socket, op: str, args: dict[str, Any]) -> Iterator[dict[str, Any]]:
    with peer, peer.makefile("rb") as stream:
        for value in _lines(peer, stream, json.dumps({"op": op, "args": args}).encode() + b"\n"):
            if "row" in value:
                yield value["row"]
            elif "error" in value:
                kind = _ERRORS.get(value["exit"], UmbridgeError)
                raise kind(value["error"])
            else:
                return
    raise UnavailableError("the daemon closed the control socket before it had answered")


def _lines(peer: socket.socket, stream: IO[bytes], asked: bytes) -> Iterator[dict[str, Any]]:
    """The answer's lines; a connection that breaks, or breaks off inside a line, is an answer that ends."""
    with contextlib.suppress(ConnectionError):
        peer.sendall(asked)
    try:
        for line in stream:
            if not line.endswith(b"\n"):
                return
            yield json.loads(line)
    except ConnectionError:
        return

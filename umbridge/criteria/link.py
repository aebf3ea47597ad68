"""The daemon's end of one worker: start it, ask it one thing at a time, end it when it breaks the rules.

A worker that hangs, floods, dies or talks out of turn is killed and a fresh one is started for a later call,
after a pause that doubles while it keeps failing. No failure here ever reaches another plugin.
"""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from typing import Any

from umbridge.criteria.wire import FRAME_LIMIT, WireError, frame, manifest_in, unframe
from umbridge.model import Manifest

CALL_SECONDS = 2.0
START_SECONDS = 10.0
PAUSE_SECONDS = (0.0, 0.25, 30.0)  # before the first restart; before the second, doubling; at most

_BOOT = (
    "import json,sys;fd,name,entry,parent,path=json.loads(sys.argv[1]);sys.path.extend(path);"
    "from umbridge.criteria.worker import main;main(fd,name,entry,parent)"
)


class PluginFailedError(Exception):
    """One call came to nothing, with a code of docs/hooks.md; ``took_us`` is 0 when it was never asked."""

    def __init__(self, code: str, took_us: int = 0) -> None:
        super().__init__(code)
        self.code = code
        self.took_us = took_us


class _Wire(asyncio.Protocol):
    """Collects exactly one reply at a time; anything else the worker says spoils it."""

    def __init__(self) -> None:
        self.transport: asyncio.Transport | None = None
        self.waiting: asyncio.Future[bytes] | None = None
        self.spoiled = False
        self.closed = False
        self._buffer = bytearray()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)  # noqa: S101  (asyncio's own promise for streams)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        if self.waiting is None or self.waiting.done():
            self.spoiled = True
            return
        self._buffer += data
        if len(self._buffer) < 4:
            return
        size = int.from_bytes(self._buffer[:4], "big")
        if size > FRAME_LIMIT:
            self.spoiled = True
            self.waiting.set_exception(PluginFailedError("plugin_reply_too_large"))
        elif len(self._buffer) > size + 4:
            self.spoiled = True
            self.waiting.set_exception(PluginFailedError("plugin_reply_invalid"))
        elif len(self._buffer) == size + 4:
            self.waiting.set_result(bytes(self._buffer[4:]))

    def connection_lost(self, exc: Exception | None) -> None:
        self.closed = True
        if self.waiting is not None and not self.waiting.done():
            self.waiting.set_exception(PluginFailedError("plugin_died"))

    async def ask(self, message: bytes, seconds: float) -> bytes:
        """Send one frame and wait for one. Raises PluginFailedError."""
        assert self.transport is not None  # noqa: S101  (set before the connection is handed out)
        if self.spoiled or self.closed:
            raise PluginFailedError("plugin_died" if self.closed else "plugin_reply_invalid")
        self._buffer.clear()
        self.waiting = asyncio.get_running_loop().create_future()
        self.transport.write(message)
        try:
            async with asyncio.timeout(seconds):
                return await self.waiting
        except TimeoutError:
            raise PluginFailedError("plugin_timeout") from None
        finally:
            self.waiting = None


class Link:
    """One plugin's worker. ``ask`` may be called by many tasks; they wait their turn, in order."""

    def __init__(
        self, name: str, entry: str, path: Sequence[str], *, call_seconds: float = CALL_SECONDS
    ) -> None:
        self.name, self.entry, self.path, self.call_seconds = name, entry, list(path), call_seconds
        self.manifest: Manifest | None = None
        self._lock = asyncio.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._wire: _Wire | None = None
        self._failures = 0
        self._not_before = 0.0
        self._stopped = False

    @property
    def health(self) -> str:
        """running, restarting (it failed and will be tried again) or stopped."""
        if self._stopped:
            return "stopped"
        alive = self._wire is not None and not self._wire.closed and not self._wire.spoiled
        return "running" if alive else "restarting"

    @property
    def pid(self) -> int | None:
        """The worker's process id while it runs."""
        return None if self._process is None else self._process.pid

    async def start(self) -> None:
        """Start the worker and hear its manifest. Raises PluginFailedError."""
        async with self._lock:
            await self._ready()

    async def stop(self) -> None:
        """End the worker; later calls fail as plugin_unavailable."""
        async with self._lock:
            self._stopped = True
            await self._end()

    async def ask(self, request: dict[str, Any]) -> tuple[dict[str, Any], int]:
        """One request and its answer, with the microseconds the worker took. Raises PluginFailedError."""
        async with self._lock:
            await self._ready()
            key = secrets.token_hex(16)
            try:
                message = frame({"id": key, **request})
            except WireError:
                raise PluginFailedError("case_too_large") from None
            began = time.perf_counter_ns()
            try:
                answer = await self._exchange(message, key, self.call_seconds)
            except PluginFailedError as exc:
                raise PluginFailedError(exc.code, (time.perf_counter_ns() - began) // 1000) from None
            took = (time.perf_counter_ns() - began) // 1000
            self._failures = 0
            return answer, took

    async def _exchange(self, message: bytes, key: str, seconds: float) -> dict[str, Any]:
        assert self._wire is not None  # noqa: S101  (callers have made it ready)
        try:
            answer = unframe(await self._wire.ask(message, seconds))
            if answer.get("id") != key or len(answer) != 2:
                raise PluginFailedError("plugin_reply_invalid")
        except (PluginFailedError, WireError) as exc:
            self._failed()
            await self._end()
            raise (
                exc if isinstance(exc, PluginFailedError) else PluginFailedError("plugin_reply_invalid")
            ) from None
        except BaseException:  # cancelled: its reply is still to come, so this worker cannot be asked again
            self._kill()
            raise
        return answer

    def _failed(self) -> None:
        self._failures += 1
        first, second, most = PAUSE_SECONDS
        pause = first if self._failures == 1 else min(most, second * 2 ** min(self._failures - 2, 20))
        self._not_before = time.monotonic() + pause

    async def _ready(self) -> None:
        if self._wire is not None and not self._wire.closed and not self._wire.spoiled:
            return
        if self._stopped:
            raise PluginFailedError("plugin_unavailable")
        if self._wire is not None:  # it ended, or spoke out of turn, between two calls
            self._failed()
            await self._end()
        if time.monotonic() < self._not_before:
            raise PluginFailedError("plugin_unavailable")
        try:
            await self._spawn()
        except (PluginFailedError, OSError):
            self._failed()
            await self._end()
            raise PluginFailedError("plugin_unavailable") from None

    async def _spawn(self) -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            arguments = [theirs.fileno(), self.name, self.entry, os.getpid(), self.path]
            try:
                self._process = subprocess.Popen(
                    [sys.executable, "-I", "-S", "-B", "-c", _BOOT, json.dumps(arguments)],
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                    cwd="/",
                    env={},
                    pass_fds=(theirs.fileno(),),
                )
            except OSError:
                ours.close()
                raise
        ours.setblocking(False)
        _, self._wire = await asyncio.get_running_loop().connect_accepted_socket(_Wire, ours)
        key = secrets.token_hex(16)
        try:
            answer = unframe(await self._wire.ask(frame({"id": key, "do": "manifest"}), START_SECONDS))
            if answer.get("id") != key:
                raise WireError("id")
            manifest = manifest_in(answer.get("manifest"), self.name)
        except WireError:
            raise PluginFailedError("plugin_unavailable") from None
        except asyncio.CancelledError:
            self._kill()
            raise
        if self.manifest is not None and manifest != self.manifest:
            raise PluginFailedError("plugin_unavailable")  # other content than the daemon started with
        self.manifest = manifest

    def _kill(self) -> None:
        if self._process is not None:
            self._process.kill()
        if self._wire is not None:
            self._wire.spoiled = True
            if self._wire.transport is not None:
                self._wire.transport.abort()

    async def _end(self) -> None:
        self._kill()
        process, self._process, self._wire = self._process, None, None
        if process is not None:
            await asyncio.get_running_loop().run_in_executor(None, process.wait)

"""The other end of ``send``, for trying a feed out: takes MLLP messages, says what came, answers as told.

Nothing is promised and nothing is stored, unless a folder is named to keep the messages in.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from umbridge.errors import NotHl7Error, UnavailableError
from umbridge.hl7 import ack, er7, mllp

ANSWERS = ("AA", "AE", "AR", "CA", "CE", "CR", "NONE", "CLOSE")
REFUSED = 207  # table 0357, application internal error: we were told to refuse
GOODBYE_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class Heard:
    """One message or one fault: ``ack`` is what was answered, ``fault`` why the stream was given up."""

    number: int
    control_id: str
    type: str
    bytes: int
    ack: str
    fault: str = ""

    def to_json(self) -> dict[str, str | int | None]:
        return {
            "n": self.number,
            "control_id": self.control_id,
            "type": self.type,
            "bytes": self.bytes,
            "ack": self.ack,
            "fault": self.fault or None,
        }


class Peer:
    """Answers all messages with ``answer``, after ``delay`` seconds; ends after ``count`` of them."""

    def __init__(
        self,
        answer: str,
        *,
        delay: float = 0.0,
        count: int | None = None,
        keep: Path | None = None,
        heard: Callable[[Heard], None] = lambda heard: None,
    ) -> None:
        self._answer = answer
        self._delay = delay
        self._count = count
        self._keep = keep
        self._heard = heard
        self._number = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self._enough = asyncio.Event()

    async def serve(self, host: str, port: int, ready: Callable[[int], None] = lambda port: None) -> int:
        """Listen until enough has come; returns how many messages that were. Raises UnavailableError."""
        try:
            server = await asyncio.start_server(self._connected, host, port)
        except OSError as exc:
            raise UnavailableError(f"cannot listen on {host}:{port} ({exc.strerror})") from None
        ready(int(server.sockets[0].getsockname()[1]))
        try:
            await self._enough.wait()
        finally:
            server.close()
            for task in list(self._tasks):
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
        return self._number

    def stop(self) -> None:
        """It is enough."""
        self._enough.set()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - a coroutine of start_server runs in a task
        self._tasks.add(task)
        try:
            await self._serve(reader, writer)
        except (ConnectionError, asyncio.CancelledError):
            pass  # it left, or we do
        finally:
            self._tasks.discard(task)
            writer.close()
            with contextlib.suppress(OSError):
                async with asyncio.timeout(GOODBYE_SECONDS):
                    await writer.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        decoder = mllp.FrameDecoder()
        while data := await reader.read(65536):
            for part in decoder.feed(data):
                if isinstance(part, mllp.Fault):
                    self._tell("", "", part.byte_count, "CLOSE", part.reason)
                    return
                if not await self._one(part.data, writer):
                    return
        fault = decoder.eof()
        if fault is not None:
            self._tell("", "", fault.byte_count, "CLOSE", fault.reason)

    async def _one(self, frame: bytes, writer: asyncio.StreamWriter) -> bool:
        """Take one message; False ends the connection."""
        try:
            message = er7.parse(frame)
        except NotHl7Error as exc:
            self._tell("", "", len(frame), "CLOSE", exc.reason)
            return False
        if self._keep is not None:
            path = (
                self._keep / f"{self._number + 1:06d}.hl7"
            )  # a number: what a sender calls it is no file name
            with os.fdopen(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "wb") as stream:
                stream.write(frame)
        if self._delay:
            await asyncio.sleep(self._delay)
        said = "NONE" if ack.is_acknowledgment(message) else self._answer
        if said not in ("NONE", "CLOSE"):
            bad = said[1] != "A"
            writer.write(
                mllp.encode(
                    ack.answer(
                        message,
                        said,
                        control_id=f"UMBPEER{self._number + 1:06d}",
                        now=datetime.now(UTC),
                        condition=REFUSED if bad else None,
                        text="as told" if bad else None,
                    )
                )
            )
            await writer.drain()
        self._tell(message.control_id, "^".join(part for part in message.kind if part), len(frame), said)
        return said != "CLOSE"

    def _tell(self, control_id: str, kind: str, size: int, said: str, fault: str = "") -> None:
        self._number += 1
        self._heard(Heard(self._number, control_id, kind, size, said, fault))
        if self._count is not None and self._number >= self._count:
            self._enough.set()

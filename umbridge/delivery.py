"""Sockets out: the MLLP client behind ``umbridge send``; one message in flight a connection."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass

from umbridge.errors import NotHl7Error
from umbridge.hl7 import ack, er7, mllp

ANSWER_SECONDS = 30.0
# An error-only answer (MSH-15 = ER) comes or does not: after this long silence means acceptance.
CONDITIONAL_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class Sent:
    """What became of one message: ``ack`` is MSA-1, NONE where no answer is due, CLOSED, or TIMEOUT."""

    file: str
    control_id: str
    ack: str
    error: str | None
    ms: float

    @property
    def accepted(self) -> bool:
        return self.ack in ("AA", "CA", "NONE")


def _expects(frame: bytes) -> tuple[str, str]:
    """(control id, when an answer is due: always | never | on_error)."""
    try:
        message = er7.parse(frame)
    except NotHl7Error:
        return "", "always"
    control_id = message.get("MSH-10")
    if ack.used(message).reason == "acknowledgment":
        return control_id, "never"
    accepted = ack.code_due(message, None)
    if accepted is not None:
        return control_id, "always"
    refused = ack.refusal(message)
    possible = ack.code_due(message, refused) if refused is not None else None
    if possible is not None:
        return control_id, "always"
    wants_errors = {message.get("MSH-15").strip(), message.get("MSH-16").strip()} & {"ER", "AL"}
    return control_id, "on_error" if wants_errors else "never"


class Connection:
    """One MLLP connection that sends a message and reads its answer before the next."""

    def __init__(self, host: str, port: int) -> None:
        self._host, self._port = host, port
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None
        self._decoder = mllp.FrameDecoder()
        self._answers: list[bytes] = []

    async def open(self) -> None:
        self._reader, self._writer = await asyncio.open_connection(self._host, self._port)
        self._decoder = mllp.FrameDecoder()
        self._answers = []

    async def close(self) -> None:
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    async def send(self, file: str, frame: bytes) -> Sent:
        """Send one message; reconnects first when the peer has closed the connection before."""
        began = time.perf_counter()
        control_id, due = _expects(frame)

        def sent(code: str, error: str | None = None) -> Sent:
            return Sent(file, control_id, code, error, round((time.perf_counter() - began) * 1000, 3))

        try:
            if self._writer is None:
                await self.open()
            assert self._writer is not None and self._reader is not None  # noqa: S101 - opened above
            self._writer.write(mllp.encode(frame))
            await self._writer.drain()
            if due == "never":
                return sent("NONE")
            seconds = ANSWER_SECONDS if due == "always" else CONDITIONAL_SECONDS
            async with asyncio.timeout(seconds):
                answer = await self._answer(control_id)
        except TimeoutError:
            if due == "on_error":
                return sent("NONE")
            await self.close()
            return sent("TIMEOUT", "no_answer")
        except OSError as exc:
            await self.close()
            return sent("CLOSED", type(exc).__name__)
        if answer is None:
            await self.close()
            return sent("CLOSED", "peer_closed")
        return sent(answer.get("MSA-1"), _error(answer))

    async def _answer(self, control_id: str) -> er7.Message | None:
        assert self._reader is not None  # noqa: S101 - only called on an open connection
        while True:
            while self._answers:
                answer = er7.parse(self._answers.pop(0))
                if not control_id or answer.get("MSA-2") == control_id:
                    return answer
            data = await self._reader.read(65536)
            if not data:
                return None
            parts = self._decoder.feed(data)
            self._answers.extend(part.data for part in parts if isinstance(part, mllp.Frame))


def _error(answer: er7.Message) -> str | None:
    if answer.get("MSA-1") in ("AA", "CA"):
        return None
    code = answer.get("ERR-3.1") or answer.get("ERR-1.4.1") or answer.get("MSA-6.1")
    text = answer.get("MSA-3") or answer.get("ERR-8")
    return " ".join(part for part in (code, text) if part) or None


async def send_all(
    host: str,
    port: int,
    messages: Sequence[tuple[str, bytes]] | Iterator[tuple[str, bytes]],
    *,
    connections: int = 1,
    rate: float | None = None,
    done: Callable[[Sent], None] = lambda sent: None,
) -> None:
    """Send every (file, message); in order on one connection, shared out over several.

    With ``rate``, messages start at most that many a second over all connections together.
    """
    source = iter(messages)
    began = time.perf_counter()
    started = 0

    async def take() -> AsyncIterator[tuple[str, bytes]]:
        nonlocal started
        for item in source:
            if rate:
                wait = began + started / rate - time.perf_counter()
                if wait > 0:
                    await asyncio.sleep(wait)
            started += 1
            yield item

    async def one() -> None:
        connection = Connection(host, port)
        try:
            async for file, frame in take():
                done(await connection.send(file, frame))
        finally:
            await connection.close()

    await asyncio.gather(*(one() for _ in range(connections)))

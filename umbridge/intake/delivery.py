"""Sockets out: the MLLP client behind ``umbridge send``; one message in flight a connection."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass

from umbridge.errors import Hl7Error, NotHl7Error
from umbridge.hl7 import ack, er7, mllp
from umbridge.intake import tls

ANSWER_SECONDS = 30.0
# An error-only answer (MSH-15 = ER) comes or does not: after this long silence means acceptance.
CONDITIONAL_SECONDS = 0.5
GOODBYE_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Sent:
    """What became of one message: ``ack`` is MSA-1 or a word of ours.

    NONE where no answer is due, CLOSED where the peer hung up, TIMEOUT where it kept silent, UNREADABLE where
    its answer is not HL7, UNSENT where the message holds block bytes and so cannot be framed.
    """

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

    def __init__(self, host: str, port: int, context: tls.Context | None = None) -> None:
        self._host, self._port = host, port
        self._context = context
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None
        self._decoder = mllp.FrameDecoder()
        self._answers: list[bytes] = []

    async def open(self) -> None:
        self._reader, self._writer = await asyncio.open_connection(self._host, self._port, ssl=self._context)
        self._decoder = mllp.FrameDecoder()
        self._answers = []

    async def close(self) -> None:
        if self._writer is not None:
            self._writer.close()
            if self._context is not None:  # TLS has a goodbye, which the loop must live to send
                with contextlib.suppress(OSError):
                    async with asyncio.timeout(GOODBYE_SECONDS):
                        await self._writer.wait_closed()
            self._writer = None

    async def send(self, file: str, frame: bytes) -> Sent:
        """Send one message; connects again first when the peer has closed the connection before."""
        began = time.perf_counter()
        control_id, due = _expects(frame)

        def sent(code: str, error: str | None = None) -> Sent:
            return Sent(file, control_id, code, error, round((time.perf_counter() - began) * 1000, 3))

        try:
            block = mllp.encode(frame)
        except Hl7Error as exc:
            return sent("UNSENT", str(exc))
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                await self._write(block)
        except OSError as exc:  # a time-out is one
            await self.close()
            return sent("CLOSED", tls.told(exc))
        if due == "never":
            return sent("NONE")
        try:
            async with asyncio.timeout(ANSWER_SECONDS if due == "always" else CONDITIONAL_SECONDS):
                answer = await self._answer(control_id)
        except NotHl7Error:
            await self.close()
            return sent("UNREADABLE", "answer_not_hl7")
        except TimeoutError:
            if due == "on_error":
                return sent("NONE")
            await self.close()
            return sent("TIMEOUT", "no_answer")
        except OSError as exc:
            await self.close()
            return sent("CLOSED", tls.told(exc))
        if answer is None:
            await self.close()
            return sent("CLOSED", "peer_closed")
        return sent(answer.get("MSA-1"), _error(answer))

    async def _write(self, block: bytes) -> None:
        if self._reader is not None and self._reader.at_eof():
            await self.close()
        if self._writer is None:
            await self.open()
        assert self._writer is not None  # noqa: S101 - opened above
        self._writer.write(block)
        await self._writer.drain()

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
            if any(isinstance(part, mllp.Fault) for part in parts):
                raise NotHl7Error("answer_not_framed")


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
    context: tls.Context | None = None,
    done: Callable[[Sent], None] = lambda sent: None,
) -> None:
    """Send every (file, message); in order on one connection, shared out over several.

    With ``rate``, messages start at most that many a second over all connections together; with ``context``
    over TLS.
    """
    source = iter(messages)
    began = time.perf_counter()
    started = 0

    async def take() -> AsyncIterator[tuple[str, bytes]]:
        nonlocal started
        for item in source:
            due = began + started / rate if rate else began
            started += 1  # before the wait: the next connection's turn is one later, not the same
            if (wait := due - time.perf_counter()) > 0:
                await asyncio.sleep(wait)
            yield item

    async def one() -> None:
        connection = Connection(host, port, context)
        try:
            async for file, frame in take():
                done(await connection.send(file, frame))
        finally:
            await connection.close()

    await asyncio.gather(*(one() for _ in range(connections)))

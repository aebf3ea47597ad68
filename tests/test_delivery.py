"""Sockets out, against peers that answer, stay silent, hang up, lie and babble."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import pytest

from umbridge.commands import sample
from umbridge.hl7 import mllp
from umbridge.intake import delivery
from umbridge.intake.delivery import Sent

Handler = Callable[[bytes, asyncio.StreamWriter], Awaitable[bool]]  # False: hang up


def message(control_id: str, accept: str = "", application: str = "", kind: str = "ADT^A08") -> bytes:
    head = (
        f"MSH|^~\\&|ZZEHR|UMBH|UMBRIDGE|UMBH|20260112||{kind}|{control_id}|P|2.5.1|||{accept}|{application}"
    )
    return f"{head}\rPID|1||ZZ1^^^UMBH^MR||ZZTEST^ALDER\r".encode()


def answer(control_id: str, code: str = "AA", more: str = "") -> bytes:
    head = "MSH|^~\\&|UMBRIDGE|UMBH|ZZEHR|UMBH|20260112||ACK^A08^ACK|X1|P|2.5.1"
    return f"{head}\rMSA|{code}|{control_id}\r{more}".encode()


def id_of(frame: bytes) -> str:
    return frame.split(b"|")[9].decode()


@dataclass
class Peer:
    """A receiver on loopback that does what ``handle`` says with each message."""

    handle: Handler
    got: list[bytes] = field(default_factory=list)
    at: list[float] = field(default_factory=list)
    connections: int = 0

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        decoder = mllp.FrameDecoder()
        try:
            while data := await reader.read(65536):
                for part in decoder.feed(data):
                    assert isinstance(part, mllp.Frame)
                    self.got.append(part.data)
                    self.at.append(time.monotonic())
                    if not await self.handle(part.data, writer):
                        return
        except ConnectionError:
            return
        finally:
            writer.close()

    def play(self, *frames: bytes, connections: int = 1, rate: float | None = None) -> list[Sent]:
        found: list[Sent] = []

        async def main() -> None:
            server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
            async with server:
                port = server.sockets[0].getsockname()[1]
                await delivery.send_all(
                    "127.0.0.1",
                    port,
                    [(f"f{n}", frame) for n, frame in enumerate(frames)],
                    connections=connections,
                    rate=rate,
                    done=found.append,
                )

        asyncio.run(main())
        return found


async def say(writer: asyncio.StreamWriter, *blocks: bytes) -> bool:
    writer.write(b"".join(blocks))
    await writer.drain()
    return True


async def accepts(frame: bytes, writer: asyncio.StreamWriter) -> bool:
    return await say(writer, mllp.encode(answer(id_of(frame))))


async def silent(frame: bytes, writer: asyncio.StreamWriter) -> bool:
    return True


async def hangs_up(frame: bytes, writer: asyncio.StreamWriter) -> bool:
    return False


def test_one_connection_keeps_the_order_and_one_message_in_flight() -> None:
    peer = Peer(accepts)
    frames = [message(f"ZZ{n:03d}") for n in range(50)]
    found = peer.play(*frames)
    assert peer.got == frames
    assert [s.control_id for s in found] == [f"ZZ{n:03d}" for n in range(50)]
    assert [s.file for s in found] == [f"f{n}" for n in range(50)]
    assert {s.ack for s in found} == {"AA"}
    assert all(s.accepted and s.error is None and s.ms > 0 for s in found)
    assert peer.connections == 1


def test_several_connections_share_the_messages_out_and_lose_none() -> None:
    peer = Peer(accepts)
    frames = [message(f"ZZ{n:03d}") for n in range(60)]
    found = peer.play(*frames, connections=7)
    assert sorted(peer.got) == frames
    assert sorted(s.control_id for s in found) == [f"ZZ{n:03d}" for n in range(60)]
    assert peer.connections == 7


@pytest.mark.parametrize("connections", [1, 6])
def test_a_rate_holds_over_all_connections_together(connections: int) -> None:
    """A lower bound only: message n never starts before n / rate, however slow the machine is."""
    peer = Peer(accepts)
    began = time.monotonic()
    peer.play(*(message(f"ZZ{n}") for n in range(12)), connections=connections, rate=40)
    early = [n for n, at in enumerate(peer.at) if at - began < n / 40 - 0.002]
    assert early == []


@pytest.mark.parametrize(
    ("code", "more", "error"),
    [
        ("AE", "ERR||MSH^1^10|101^Required field missing^HL70357|E\r", "101"),
        ("AR", "ERR|||200|E||||UMBX1\r", "200 UMBX1"),
        ("CE", "", None),
        ("CR", "", None),
        ("", "", None),
        ("ZZ", "", None),
    ],
)
def test_any_other_answer_is_not_accepted_and_says_why(code: str, more: str, error: str | None) -> None:
    async def refuses(frame: bytes, writer: asyncio.StreamWriter) -> bool:
        return await say(writer, mllp.encode(answer(id_of(frame), code, more)))

    (sent,) = Peer(refuses).play(message("ZZ1"))
    assert (sent.ack, sent.accepted, sent.error) == (code, False, error)


@pytest.mark.parametrize(("accept", "application"), [("NE", "NE"), ("NE", ""), ("", "NE")])
def test_where_no_answer_is_due_none_is_waited_for(accept: str, application: str) -> None:
    peer = Peer(silent)
    found = peer.play(
        *(message(f"ZZ{n}", accept, application) for n in range(3)), message("ACK1", kind="ACK")
    )
    assert [s.ack for s in found] == ["NONE"] * 4
    assert all(s.accepted for s in found)


def test_silence_after_an_error_only_message_means_acceptance(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delivery, "CONDITIONAL_SECONDS", 0.05)
    assert [s.ack for s in Peer(silent).play(message("ZZ1", "ER", "NE"))] == ["NONE"]

    async def refuses(frame: bytes, writer: asyncio.StreamWriter) -> bool:
        return await say(writer, mllp.encode(answer(id_of(frame), "CE")))

    monkeypatch.setattr(delivery, "CONDITIONAL_SECONDS", 20.0)
    assert [s.ack for s in Peer(refuses).play(message("ZZ1", "ER", "NE"))] == ["CE"]


def test_silence_where_an_answer_is_due_is_a_time_out_and_the_next_gets_a_new_connection(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(delivery, "ANSWER_SECONDS", 0.1)
    peer = Peer(silent)
    found = peer.play(message("ZZ1"), message("ZZ2"))
    assert [(s.ack, s.error, s.accepted) for s in found] == [("TIMEOUT", "no_answer", False)] * 2
    assert peer.connections == 2  # a late answer to the first must not be taken for the second's


def test_a_peer_that_hangs_up_is_closed_and_the_next_message_connects_again() -> None:
    peer = Peer(hangs_up)
    found = peer.play(message("ZZ1"), message("ZZ2"))
    assert [(s.ack, s.accepted) for s in found] == [("CLOSED", False)] * 2
    assert peer.connections == 2


def test_nobody_listening_is_closed_too() -> None:
    found: list[Sent] = []

    async def main() -> None:
        server = await asyncio.start_server(lambda r, w: None, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        server.close()
        await server.wait_closed()
        await delivery.send_all("127.0.0.1", port, [("f", message("ZZ1"))], done=found.append)
        await delivery.send_all("no-such-host.invalid", 1, [("f", message("ZZ1"))], done=found.append)

    asyncio.run(main())
    assert [(s.ack, s.accepted) for s in found] == [("CLOSED", False)] * 2
    assert all(re.fullmatch(r"\w+", s.error or "") for s in found)


def test_an_answer_to_another_message_is_not_this_ones() -> None:
    async def late(frame: bytes, writer: asyncio.StreamWriter) -> bool:
        stray = mllp.encode(answer("SOMEBODY-ELSE", "AR"))
        return await say(writer, stray, mllp.encode(answer(id_of(frame))), stray)

    found = Peer(late).play(message("ZZ1"), message("ZZ2"), message("ZZ3"))
    assert [s.ack for s in found] == ["AA", "AA", "AA"]


def test_an_answer_may_come_in_any_pieces() -> None:
    async def drips(frame: bytes, writer: asyncio.StreamWriter) -> bool:
        for byte in mllp.encode(answer(id_of(frame))):
            writer.write(bytes((byte,)))
            await writer.drain()
            await asyncio.sleep(0)
        return True

    assert [s.ack for s in Peer(drips).play(message("ZZ1"), message("ZZ2"))] == ["AA", "AA"]


@pytest.mark.parametrize(
    "babble", [b"HTTP/1.1 400 Bad Request\r\n\r\n", mllp.encode(b"no header at all"), mllp.encode(b"")]
)
def test_an_answer_that_is_not_hl7_is_said_and_the_next_message_goes_out(babble: bytes) -> None:
    async def babbles(frame: bytes, writer: asyncio.StreamWriter) -> bool:
        if id_of(frame) == "ZZ1":
            return await say(writer, babble)
        return await accepts(frame, writer)

    found = Peer(babbles).play(message("ZZ1"), message("ZZ2"))
    assert [(s.control_id, s.ack, s.accepted) for s in found] == [
        ("ZZ1", "UNREADABLE", False),
        ("ZZ2", "AA", True),
    ]


@pytest.mark.parametrize("byte", [b"\x0b", b"\x1c"])
def test_a_message_that_no_block_can_carry_is_not_sent_and_the_next_one_is(byte: bytes) -> None:
    peer = Peer(accepts)
    found = peer.play(message("ZZ1") + b"NTE|1||a" + byte + b"b\r", message("ZZ2"))
    assert [(s.ack, s.accepted) for s in found] == [("UNSENT", False), ("AA", True)]
    assert [id_of(frame) for frame in peer.got] == ["ZZ2"]


def test_bytes_without_a_header_are_sent_and_any_answer_is_theirs() -> None:
    async def refuses(frame: bytes, writer: asyncio.StreamWriter) -> bool:
        return await say(writer, mllp.encode(answer("", "AE")))

    (sent,) = Peer(refuses).play(b"not hl7")
    assert (sent.control_id, sent.ack) == ("", "AE")


def test_the_sample_feed_is_delivered_whole() -> None:
    from datetime import UTC, datetime

    frames = [f for n in range(6) for f in sample.stay(n, datetime(2026, 1, 12, 9, tzinfo=UTC))]
    peer = Peer(accepts)
    assert {s.ack for s in peer.play(*frames, connections=3)} == {"AA"}
    assert sorted(peer.got) == sorted(frames)

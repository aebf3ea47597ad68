"""Sockets in: every complete frame is answered in order on its own connection, whatever the network does."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import findings
import pytest
from installation import exchange
from test_receive import frame
from test_writer import make

from umbridge.errors import UnavailableError
from umbridge.hl7 import er7, mllp
from umbridge.intake import tls
from umbridge.intake.listener import Listener
from umbridge.intake.receive import Intake
from umbridge.settings.config import FeedSettings, LimitSettings
from umbridge.settings.site import default_site
from umbridge.store import inbox
from umbridge.store.opening import open_writer
from umbridge.store.writer import Writer


class Wire:
    """A listener over a real writer, on one loop, as in the daemon."""

    def __init__(self, listener: Listener, intake: Intake, writer: Writer) -> None:
        self.listener, self.intake, self.writer = listener, intake, writer

    @property
    def port(self) -> int:
        return self.listener.port

    async def rows(self) -> list[inbox.Row]:
        with self.writer.reading() as reader:
            return reader.rows(0, 100_000, 1 << 40)

    async def refused(self) -> dict[str, int]:
        with self.writer.reading() as reader:
            return {reason: count for _, reason, count, _ in reader.refusals()}

    async def still_works(self) -> None:
        answer = await exchange(self.port, mllp.encode(frame(id="ZZAFTER")))
        assert acks(answer)[-1] == ("AA", "ZZAFTER")


def play(
    tmp_path: Path,
    scene: Callable[[Wire], Awaitable[Any]],
    feed: FeedSettings = FeedSettings(port=0),  # noqa: B008 - frozen
    context: tls.Context | None = None,
    seconds: float = 60.0,
    **limits: Any,
) -> Any:
    made, keyring = make(tmp_path / "s")

    async def main(writer: Writer) -> Any:
        writing = asyncio.create_task(writer.run())
        settings = LimitSettings(min_free_bytes=0, **limits)
        intake = Intake(writer, keyring, settings, tmp_path, default_site())
        listener = Listener({"main": feed}, settings, intake, context)
        await listener.open()
        try:
            return await asyncio.wait_for(scene(Wire(listener, intake, writer)), seconds)
        finally:
            await listener.close(2.0)
            writer.close()
            await writing

    with open_writer(made, keyring) as writer:
        return asyncio.run(main(writer))


def acks(data: bytes) -> list[tuple[str, str]]:
    parts = mllp.FrameDecoder().feed(data)
    answers = [er7.parse(part.data) for part in parts if isinstance(part, mllp.Frame)]
    return [(answer.get("MSA-1"), answer.get("MSA-2")) for answer in answers]


def test_several_frames_in_one_write_are_answered_in_order(tmp_path: Path) -> None:
    async def scene(wire: Wire) -> None:
        burst = b"".join(mllp.encode(frame(id=f"ZZ{n}")) + b"\r\n" for n in range(7))
        assert acks(await exchange(wire.port, burst)) == [("AA", f"ZZ{n}") for n in range(7)]
        assert [row.head["control_id"] for row in await wire.rows()] == [f"ZZ{n}" for n in range(7)]

    play(tmp_path, scene)


def test_a_frame_in_pieces_is_one_row(tmp_path: Path) -> None:
    async def scene(wire: Wire) -> None:
        data = mllp.encode(frame())
        assert acks(await exchange(wire.port, *(data[i : i + 1] for i in range(len(data))))) == [
            ("AA", "ZZ1")
        ]
        for cut in range(1, len(data)):
            pieces = (data[:cut], data[cut:])
            assert acks(await exchange(wire.port, *pieces)) == [("AA", "ZZ1")]
        assert len(await wire.rows()) == 1

    play(tmp_path, scene)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", "junk_before_block"),
        (b"\xef\xbb\xbf" + mllp.encode(frame()), "junk_before_block"),
        (b"\x16\x03\x01\x02\x00", "junk_before_block"),  # a TLS hello on the plain port
        (mllp.START + frame() + b"\x1c\n", "end_without_cr"),
        (mllp.START + frame() + mllp.START + frame(), "start_inside_block"),
        (mllp.START + frame()[:40], "eof_in_block"),
    ],
)
def test_what_is_no_frame_is_counted_and_closed_on(tmp_path: Path, data: bytes, reason: str) -> None:
    async def scene(wire: Wire) -> None:
        assert await exchange(wire.port, data) == b""
        assert await wire.refused() == {reason: 1}
        assert await wire.rows() == []
        await wire.still_works()

    play(tmp_path, scene)


def test_an_end_of_block_inside_a_message_is_not_accepted(tmp_path: Path) -> None:
    """FS CR in a field: what looks like a frame is half of one, and its other half is there to see."""

    async def scene(wire: Wire) -> None:
        cut = mllp.encode(frame()) + b"rest of an OBX|\r" + mllp.END
        assert await exchange(wire.port, cut) == b""
        assert await wire.rows() == []
        await wire.still_works()

    play(tmp_path, scene)


def test_oversize_is_answered_and_closed_on(tmp_path: Path) -> None:
    async def scene(wire: Wire) -> None:
        big = mllp.START + frame() + b"OBX|" + b"x" * 5000 + mllp.END
        assert acks(await exchange(wire.port, big)) == [("AE", "ZZ1")]
        assert await wire.refused() == {"oversize": 1}
        await wire.still_works()

    play(tmp_path, scene, max_frame_bytes=4096)


def test_a_stalled_frame_is_cut_and_a_quiet_connection_is_not(tmp_path: Path) -> None:
    async def scene(wire: Wire) -> None:
        quiet_reader, quiet = await asyncio.open_connection("127.0.0.1", wire.port)
        assert await exchange(wire.port, mllp.START + b"MSH|", eof=False) == b""
        assert await wire.refused() == {"stalled_in_block": 1}
        quiet.write(mllp.encode(frame()))
        assert acks(await quiet_reader.readuntil(mllp.END)) == [("AA", "ZZ1")]
        quiet.close()

    play(tmp_path, scene, frame_stall_seconds=0.2)


def test_a_frame_a_byte_at_a_time_is_cut_when_its_time_is_up(tmp_path: Path) -> None:
    """Item 10 of the hostile list: it never stalls, and still may not hold a connection for ever."""

    async def scene(wire: Wire) -> None:
        reader, stream = await asyncio.open_connection("127.0.0.1", wire.port)

        async def heard() -> bytes:
            with contextlib.suppress(ConnectionResetError):  # bytes that nobody read make the cut a reset
                return await reader.read(-1)
            return b""

        cut = asyncio.create_task(heard())
        for byte in mllp.START + b"MSH|" * 10_000:
            if cut.done():
                break
            stream.write(bytes((byte,)))
            await asyncio.wait((cut,), timeout=0.01)
        assert cut.done() and await cut == b""
        assert await wire.refused() == {"stalled_in_block": 1}
        stream.close()
        await wire.still_works()

    play(tmp_path, scene, frame_stall_seconds=20.0, frame_total_seconds=0.4)


def test_a_peer_that_never_reads_is_cut_and_holds_up_nobody(tmp_path: Path) -> None:
    """Item 12: its answers fill the buffers; what was accepted is stored all the same."""

    async def scene(wire: Wire) -> None:
        with socket.socket() as deaf:
            deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
            deaf.connect(("127.0.0.1", wire.port))
            deaf.setblocking(False)
            loop, block = asyncio.get_running_loop(), mllp.encode(frame().replace(b"ZZEHR", b"Z" * 4000))
            while not wire.listener.open_connections:
                await asyncio.sleep(0.01)
            with contextlib.suppress(ConnectionError, TimeoutError):
                async with asyncio.timeout(30):
                    while wire.listener.open_connections:
                        await loop.sock_sendall(deaf, block * 10)
            while wire.listener.open_connections:
                await asyncio.sleep(0.01)
        await wire.still_works()
        assert len(await wire.rows()) == 2

    play(tmp_path, scene, answer_write_seconds=0.2)


def test_connections_by_the_hundred_leave_nothing_behind(tmp_path: Path) -> None:
    """Item 13: opened and closed one after another, and all at once; 10,000 in ``make faults``."""

    async def scene(wire: Wire) -> None:
        for _ in range(findings.often(10, 200)):
            opened = await asyncio.gather(
                *(asyncio.open_connection("127.0.0.1", wire.port) for _ in range(50)), return_exceptions=True
            )
            for one in opened:
                if not isinstance(one, BaseException):
                    one[1].transport.abort()
        while wire.listener.open_connections:
            await asyncio.sleep(0.01)
        await wire.still_works()
        assert not wire.listener._peers

    play(tmp_path, scene)


def test_the_same_message_on_two_connections_at_once_is_one_row(tmp_path: Path) -> None:
    """Item 35: the second comes while the first is being committed."""

    async def scene(wire: Wire) -> None:
        block = mllp.encode(frame())
        answers = await asyncio.gather(*(exchange(wire.port, block) for _ in range(8)))
        assert len(set(answers)) == 1 and acks(answers[0]) == [("AA", "ZZ1")]
        assert len(await wire.rows()) == 1

    play(tmp_path, scene)


def test_no_answer_is_due_and_none_is_sent(tmp_path: Path) -> None:
    async def scene(wire: Wire) -> None:
        silent = mllp.encode(frame(id="ZZ1", accept="NE", app="NE"))
        answered = mllp.encode(frame(id="ZZ2"))
        assert acks(await exchange(wire.port, silent + answered)) == [("AA", "ZZ2")]
        assert len(await wire.rows()) == 2

    play(tmp_path, scene)


def test_an_acknowledgment_is_never_acknowledged(tmp_path: Path) -> None:
    async def scene(wire: Wire) -> None:
        ack = b"MSH|^~\\&|A|B|C|D|20260302||ACK|ZZ9|P|2.5.1\rMSA|AA|ZZ1\r"
        assert await exchange(wire.port, mllp.encode(ack)) == b""
        (row,) = await wire.rows()
        assert (row.state, row.reason) == ("IGNORED", "acknowledgment")

    play(tmp_path, scene)


def test_back_pressure_stops_reading_and_loses_nothing(tmp_path: Path) -> None:
    async def scene(wire: Wire) -> None:
        wire.intake.set_pending(10)
        reader, stream = await asyncio.open_connection("127.0.0.1", wire.port)
        stream.write(mllp.encode(frame()))
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(reader.read(1), 0.3)
        assert await wire.rows() == []
        wire.intake.set_pending(0)
        assert acks(await reader.readuntil(mllp.END)) == [("AA", "ZZ1")]
        stream.close()

    play(tmp_path, scene, pending_rows=10)


def test_too_many_connections_of_a_peer_are_cut_and_freed(tmp_path: Path) -> None:
    async def scene(wire: Wire) -> None:
        held = [await asyncio.open_connection("127.0.0.1", wire.port) for _ in range(3)]
        for reader, stream in held:  # each is served before the next one counts
            stream.write(mllp.encode(frame(id=f"ZZ{id(reader)}")))
            await reader.readuntil(mllp.END)
        reader, stream = await asyncio.open_connection("127.0.0.1", wire.port)
        with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
            await reader.readexactly(1)
        assert wire.listener.refused_connections == 1
        for _, open_one in held:
            open_one.close()
        while wire.listener.open_connections:
            await asyncio.sleep(0)
        await wire.still_works()

    play(tmp_path, scene, connections_per_peer=3)


def test_closing_answers_what_is_complete(tmp_path: Path) -> None:
    async def scene(wire: Wire) -> None:
        reader, stream = await asyncio.open_connection("127.0.0.1", wire.port)
        idle, idle_writer = await asyncio.open_connection("127.0.0.1", wire.port)
        stream.write(b"".join(mllp.encode(frame(id=f"ZZ{n}")) for n in range(5)))
        await reader.readuntil(mllp.END)
        await wire.listener.close(5.0)
        rest = await reader.read(-1)
        assert acks(rest) == [("AA", f"ZZ{n}") for n in range(1, 5)]
        assert await idle.read(-1) == b""
        stream.close()
        idle_writer.close()

    play(tmp_path, scene)


def test_a_port_that_is_taken_says_so(tmp_path: Path) -> None:
    async def scene(wire: Wire) -> None:
        second = Listener({"other": FeedSettings(port=wire.port)}, LimitSettings(), wire.intake)
        with pytest.raises(UnavailableError, match="feed other: cannot listen"):
            await second.open()

    play(tmp_path, scene)


def test_a_failed_store_answers_nothing(tmp_path: Path) -> None:
    async def scene(wire: Wire) -> None:
        wire.writer._cursor.execute("DROP TABLE inbox")
        assert await exchange(wire.port, mllp.encode(frame())) == b""
        assert wire.writer.failed is not None
        assert await exchange(wire.port, mllp.encode(frame(id="ZZ2"))) == b""

    play(tmp_path, scene)

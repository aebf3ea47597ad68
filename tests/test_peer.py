"""The test peer: it answers as told, says what came, never acknowledges an acknowledgment."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from installation import exchange
from test_receive import frame

from umbridge.errors import UnavailableError
from umbridge.hl7 import mllp
from umbridge.intake import delivery
from umbridge.intake.peer import ANSWERS, Heard, Peer


def play(answer: str, *data: bytes, **options: Any) -> tuple[list[Heard], list[str]]:
    """What the peer heard and what our own sender was answered."""
    heard: list[Heard] = []
    sent: list[delivery.Sent] = []

    async def main() -> None:
        ready: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        peer = Peer(answer, heard=heard.append, **options)
        serving = asyncio.create_task(peer.serve("127.0.0.1", 0, ready.set_result))
        port = await ready
        await delivery.send_all("127.0.0.1", port, [("m", one) for one in data], done=sent.append)
        peer.stop()
        await asyncio.wait_for(serving, 60)

    asyncio.run(main())
    return heard, [one.ack for one in sent]


@pytest.mark.parametrize("answer", ANSWERS[:6])
def test_every_code_is_answered_as_told(answer: str) -> None:
    heard, codes = play(answer, frame(id="ZZ1"), frame(id="ZZ2"))
    assert codes == [answer, answer]
    assert [(one.number, one.control_id, one.type, one.ack) for one in heard] == [
        (1, "ZZ1", "ADT^A01", answer),
        (2, "ZZ2", "ADT^A01", answer),
    ]
    assert heard[0].bytes == len(frame(id="ZZ1"))


def test_it_can_hang_up() -> None:
    heard, codes = play("CLOSE", frame(id="ZZ1"), frame(id="ZZ2"))
    assert codes == ["CLOSED", "CLOSED"]
    assert [one.ack for one in heard] == ["CLOSE", "CLOSE"]


def test_an_acknowledgment_is_not_acknowledged() -> None:
    told = b"MSH|^~\\&|A|B|C|D|20260302||ACK|ZZ9|P|2.5.1\rMSA|AA|ZZ1\r"
    heard, codes = play("AA", told)
    assert (heard[0].ack, codes) == ("NONE", ["NONE"])


def test_what_is_no_frame_is_named() -> None:
    heard: list[Heard] = []

    async def main() -> None:
        ready: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        peer = Peer("AA", heard=heard.append, count=3)
        serving = asyncio.create_task(peer.serve("127.0.0.1", 0, ready.set_result))
        port = await ready
        assert await exchange(port, b"GET / HTTP/1.1\r\n") == b""
        assert await exchange(port, mllp.START + b"MSH|^~") == b""
        assert await exchange(port, mllp.encode(b"not a message")) == b""
        assert await asyncio.wait_for(serving, 60) == 3

    asyncio.run(main())
    assert [one.fault for one in heard][:2] == ["junk_before_block", "eof_in_block"]
    assert heard[2].fault


def test_messages_are_kept_under_numbers_and_readable_by_nobody_else(tmp_path: Path) -> None:
    hostile = frame(id="../../x")
    play("AA", hostile, keep=tmp_path)
    (found,) = tmp_path.iterdir()
    assert (found.name, found.read_bytes(), found.stat().st_mode & 0o777) == ("000001.hl7", hostile, 0o600)


def test_a_port_that_is_taken_says_so() -> None:
    async def main() -> None:
        server = await asyncio.start_server(lambda r, w: None, "127.0.0.1", 0)
        async with server:
            with pytest.raises(UnavailableError, match="cannot listen on 127"):
                await Peer("AA").serve("127.0.0.1", server.sockets[0].getsockname()[1])

    asyncio.run(main())


def test_the_command_prints_json_and_ends_when_told() -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "umbridge.commands.main", "listen", "--port", "0", "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stderr is not None and process.stdout is not None
        port = int(process.stderr.readline().rpartition(":")[2])
        found: list[delivery.Sent] = []
        asyncio.run(delivery.send_all("127.0.0.1", port, [("m", frame())], done=found.append))
        os.kill(process.pid, signal.SIGTERM)
        out, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (0, "1 came\n")
    assert [one.ack for one in found] == ["AA"]
    row = json.loads(out)
    assert (row["n"], row["control_id"], row["ack"], row["fault"]) == (1, "ZZ1", "AA", None)

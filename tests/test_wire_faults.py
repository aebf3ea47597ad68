"""The network against us: cut, reset, half-closed and stalled after each byte, answers lost, streams mutated.

F8 and B3 of the fault list. A short count by default; ``make faults`` takes every byte, and many streams.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
import struct
import time
from collections import Counter
from pathlib import Path
from typing import Any

import findings
import pytest
from installation import exchange
from mutants import mutant
from test_listener import Wire, acks, play
from test_receive import frame

from umbridge.hl7 import mllp
from umbridge.intake.receive import Intake

SEED = 20261122
STALL_SECONDS = 0.3
MODES = ("cut", "reset", "half_close", "stall")
LINGER = struct.pack("ii", 1, 0)


async def misbehave(port: int, data: bytes, mode: str) -> bytes:
    """Send the bytes and go away in one of four ways; what was answered, where somebody hears it."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(data)
        await writer.drain()
        if mode == "half_close":
            writer.write_eof()
            return await asyncio.wait_for(reader.read(-1), 30)
        if mode == "stall" and data and not data.endswith(mllp.END):
            return await asyncio.wait_for(reader.read(-1), 10 * STALL_SECONDS)  # until we are cut
        if mode == "reset":
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER)
    except (ConnectionError, TimeoutError):
        pass
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
    return b""


async def idle(wire: Wire) -> None:
    while wire.listener.open_connections:
        await asyncio.sleep(0.002)


def cut_everywhere(tmp_path: Path, every: int) -> dict[str, int]:
    """Each mode after every so many bytes; then the sender comes again with the whole message."""
    found = Counter(offered=0, early=0, unanswered=0, lost=0, double=0)

    async def one(wire: Wire, offset: int, mode: str) -> None:
        control_id = f"ZZ{mode}{offset:04d}"
        block = mllp.encode(frame(id=control_id))
        answered = await misbehave(wire.port, block[:offset], mode)
        if offset < len(block) and answered:
            found["early"] += 1
        found["offered"] += 1

    async def again(wire: Wire, offset: int, mode: str) -> None:
        control_id = f"ZZ{mode}{offset:04d}"
        answer = await exchange(wire.port, mllp.encode(frame(id=control_id)))
        if acks(answer) != [("AA", control_id)]:
            found["unanswered"] += 1

    async def scene(wire: Wire) -> None:
        size = len(mllp.encode(frame(id="ZZstall0000")))
        for mode in MODES:
            size = len(mllp.encode(frame(id=f"ZZ{mode}0000")))
            offsets = sorted({*range(0, size + 1, every), 1, size - 2, size - 1, size})
            for start in range(0, len(offsets), 32):
                group = offsets[start : start + 32]
                await asyncio.gather(*(one(wire, offset, mode) for offset in group))
                await idle(wire)
                whole = Counter(str(row.head["control_id"]) for row in await wire.rows())
                found["early"] += sum(whole[f"ZZ{mode}{offset:04d}"] for offset in group if offset < size)
                await asyncio.gather(*(again(wire, offset, mode) for offset in group))
        rows = Counter(str(row.head["control_id"]) for row in await wire.rows())
        found["double"] += sum(count - 1 for count in rows.values())
        found["lost"] += found["offered"] - len(rows)

    play(tmp_path, scene, frame_stall_seconds=STALL_SECONDS)
    return dict(found)


@pytest.mark.slow
def test_a_message_cut_anywhere_is_no_message_and_comes_again_once(tmp_path: Path) -> None:
    began = time.monotonic()
    found = cut_everywhere(tmp_path, findings.often(23, 1))
    said = findings.write("cuts", seed=SEED, **found, seconds=round(time.monotonic() - began, 1))
    assert found["offered"] >= findings.often(40, 700), said
    assert {key: found[key] for key in ("early", "unanswered", "lost", "double")} == {
        "early": 0,
        "unanswered": 0,
        "lost": 0,
        "double": 0,
    }, said


def test_a_reader_that_ends_frames_too_early_is_caught(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The planted bug: a frame is taken at FS, before the CR that makes it whole."""
    results = mllp.FrameDecoder.results

    def early(self: mllp.FrameDecoder, data: bytes) -> Any:
        yield from results(self, data)
        if self._state == mllp._ENDING and not self._failed:
            yield self._close(bytes(self._block))

    monkeypatch.setattr(mllp.FrameDecoder, "results", early)
    assert cut_everywhere(tmp_path, 97)["early"], "the planted bug went unseen: the test proves nothing"


def swallow(tmp_path: Path, times: int) -> dict[str, int]:
    """The answer is lost, the sender asks again: one row each, and the answer it would have had."""
    found = Counter(offered=0, other=0, double=0, lost=0)

    async def scene(wire: Wire) -> None:
        for n in range(times):
            block = mllp.encode(frame(id=f"ZZ{n}"))
            reader, writer = await asyncio.open_connection("127.0.0.1", wire.port)
            writer.write(block)
            if n % 2:
                await reader.readexactly(1)  # it was on its way
            writer.transport.abort()
            found["offered"] += 1
            first = await exchange(wire.port, block)
            second = await exchange(wire.port, block)
            if first != second or acks(first) != [("AA", f"ZZ{n}")]:
                found["other"] += 1
        rows = Counter(str(row.head["control_id"]) for row in await wire.rows())
        found["double"] += sum(count - 1 for count in rows.values())
        found["lost"] += found["offered"] - len(rows)

    play(tmp_path, scene)
    return dict(found)


@pytest.mark.slow
def test_a_lost_answer_costs_a_repeat_and_nothing_else(tmp_path: Path) -> None:
    found = swallow(tmp_path, findings.often(60, 1000))
    said = findings.write("answers_lost", seed=SEED, **found)
    assert (found["other"], found["double"], found["lost"]) == (0, 0, 0), said


def test_a_store_that_forgets_what_it_has_is_caught(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The planted bug: no key to know a repeat by."""
    judge = Intake._judge
    count = iter(range(10**6))

    def forgetful(self: Intake, *args: Any) -> Any:
        from dataclasses import replace

        return replace(judge(self, *args), key_token=b"%032d" % next(count))

    monkeypatch.setattr(Intake, "_judge", forgetful)
    assert swallow(tmp_path, 4)["double"], "the planted bug went unseen: the test proves nothing"


def poison(tmp_path: Path, streams: int) -> Counter[str]:
    """Mutated streams, each followed by a good message on a new connection."""
    rng = random.Random(SEED)
    counts = Counter(streams=0, unanswered=0)

    async def scene(wire: Wire) -> None:
        for n in range(streams):
            data = mutant(rng, mllp.encode(frame(id=f"ZZM{n}")) * rng.choice((1, 1, 2)))
            with contextlib.suppress(ConnectionError):
                await exchange(wire.port, data)
            good = f"ZZGOOD{n}"
            answer = await exchange(wire.port, mllp.encode(frame(id=good)))
            counts["streams"] += 1
            counts["unanswered"] += acks(answer) != [("AA", good)]
        rows = Counter(str(row.head["control_id"]) for row in await wire.rows())
        counts["lost"] += sum(f"ZZGOOD{n}" not in rows for n in range(streams))
        counts["refused"] += sum((await wire.refused()).values())

    play(tmp_path, scene, seconds=3000.0, frame_stall_seconds=STALL_SECONDS)
    return counts


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_after_any_stream_the_next_sender_is_answered(tmp_path: Path) -> None:
    """B3: whatever a connection brought, the next one is answered."""
    began = time.monotonic()
    counts = poison(tmp_path, findings.often(150, 20_000))
    said = findings.write("streams", seed=SEED, **counts, seconds=round(time.monotonic() - began, 1))
    assert (counts["unanswered"], counts["lost"]) == (0, 0), said
    assert counts["refused"], said


def test_a_connection_that_leaves_its_state_to_the_next_is_caught(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The planted bug of B3: one decoder for all connections."""
    shared = mllp.FrameDecoder()
    monkeypatch.setattr(mllp, "FrameDecoder", lambda *_: shared)
    monkeypatch.setattr("test_wire_faults.acks", lambda data: [] if not data else [("AA", "x")])
    assert poison(tmp_path, 5)["unanswered"], "the planted bug went unseen: the test proves nothing"

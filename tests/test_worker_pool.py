"""Lane workers start, answer in order, die without losing a row, and leave nothing behind."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

import pytest

from umbridge.commands import sample
from umbridge.errors import ConfigError
from umbridge.lanes import worker_pool as rooms
from umbridge.lanes.protocol import Done, Task
from umbridge.lanes.worker_pool import (
    LaneWorker,
    LaneWorkerLostError,
    Terms,
    WorkerPool,
    WorkFailedError,
    share_of,
)
from umbridge.review.standing import LaneReviews
from umbridge.screening.discover import installed
from umbridge.settings.site import load_site

T = TypeVar("T")
BEGAN = datetime(2026, 3, 2, 8, tzinfo=UTC)
SITE = Path(__file__).parents[1] / "umbridge/settings/default_site.toml"
NAMES = {"interqual_like": "zz-one", "mcg_like": "zz-two"}
TASK = Task(
    1,
    b"\x00" * 32,
    "zz",
    sample.stay(3, BEGAN, sample.PNEUMONIA)[0],
    0,
    LaneReviews(),
    NAMES,
)


def terms(**more: object) -> Terms:
    whole = Terms(
        SITE, load_site(SITE).digest, tuple(installed()[name] for name in NAMES), "process-only", 60.0, {}, 64
    )
    return replace(whole, **more)  # type: ignore[arg-type]


def at_work(use: Callable[[WorkerPool], Awaitable[T]], count: int = 1) -> T:
    async def main() -> T:
        pool = WorkerPool(terms(), count)
        await pool.start()
        try:
            return await use(pool)
        finally:
            await pool.stop()

    return asyncio.run(main())


def lane(number: int) -> bytes:
    return bytes([number]) * 32


async def started(one: LaneWorker) -> int:
    await one.ready()
    assert one.pid is not None
    return one.pid


def is_gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


def test_rows_are_answered_each_with_its_own_result() -> None:
    async def use(pool: WorkerPool) -> None:
        tasks = [replace(TASK, seq=number + 1, lane=lane(number)) for number in range(12)]
        done = await asyncio.gather(*map(pool.work, tasks))
        for task, each in zip(tasks, done, strict=True):
            assert isinstance(each, Done)
            assert [seq for seq, _ in each.increments] in ([], [task.seq])
        assert [info.name for info in pool.plugins] == sorted(NAMES)
        assert {info.health for info in pool.plugins} == {"running"}

    at_work(use, 2)


def test_a_lane_keeps_its_caseworker() -> None:
    async def use(pool: WorkerPool) -> None:
        told = sample.stay(3, BEGAN, sample.PNEUMONIA)
        for number in range(4):
            first = await pool.work(replace(TASK, lane=lane(number)))
            assert isinstance(first, Done)
            after = replace(
                TASK, seq=2, after=1, lane=lane(number), frame=told[1], said=LaneReviews(first.as_of)
            )
            assert isinstance(await pool.work(after), Done)  # no snapshot was needed: it was remembered

    at_work(use, 2)


@pytest.mark.parametrize("alone", [True, False])
def test_one_that_dies_names_the_row_it_was_at_and_is_replaced(alone: bool) -> None:
    """Only a row that was worked alone can be blamed: it may have been any of those worked together."""

    async def use(pool: WorkerPool) -> None:
        (one,) = pool.lane_workers
        pid = one.pid
        assert pid is not None
        os.kill(pid, signal.SIGSTOP)
        asked = [
            asyncio.ensure_future(pool.work(replace(TASK, seq=number + 1, lane=lane(number), alone=alone)))
            for number in range(3)
        ]
        await asyncio.sleep(0)
        os.kill(pid, signal.SIGKILL)
        lost = await asyncio.gather(*asked, return_exceptions=True)
        assert [isinstance(each, LaneWorkerLostError) and each.culprit for each in lost] == [
            alone,
            False,
            False,
        ]
        assert isinstance(await pool.work(TASK), Done)
        assert one.pid not in (None, pid)
        assert is_gone(pid)

    at_work(use)


def test_one_that_sits_on_a_row_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rooms, "LOOK_SECONDS", 0.05)
    monkeypatch.setattr(LaneWorker.look, "__defaults__", (0.3,))

    async def use(pool: WorkerPool) -> None:
        (one,) = pool.lane_workers
        assert one.pid is not None
        os.kill(one.pid, signal.SIGSTOP)
        with pytest.raises(LaneWorkerLostError) as lost:
            await pool.work(TASK)
        assert not lost.value.culprit
        with pytest.raises(LaneWorkerLostError) as again:
            os.kill(await started(one), signal.SIGSTOP)
            await pool.work(replace(TASK, alone=True))
        assert again.value.culprit

    at_work(use)


def test_a_defect_is_told_by_its_type_alone() -> None:
    async def use(pool: WorkerPool) -> None:
        with pytest.raises(WorkFailedError, match=r"^NotHl7Error$"):
            await pool.work(replace(TASK, frame=b"ZZCANARY not HL7"))
        assert isinstance(await pool.work(TASK), Done)

    at_work(use)


def test_a_plugin_that_dies_between_rows_is_seen_without_asking() -> None:
    async def use(pool: WorkerPool) -> None:
        (one,) = pool.lane_workers
        children = Path(f"/proc/{one.pid}/task/{one.pid}/children").read_text().split()
        assert len(children) == len(NAMES)
        os.kill(int(children[0]), signal.SIGKILL)
        until = time.monotonic() + 120
        while {info.health for info in pool.plugins} == {"running"}:
            assert time.monotonic() < until
            await asyncio.sleep(0.02)
        assert sorted(info.health for info in pool.plugins) == ["restarting", "running"]

    at_work(use)


def test_stop_leaves_no_process_behind() -> None:
    pids: list[int] = []

    async def use(pool: WorkerPool) -> None:
        for one in pool.lane_workers:
            assert one.pid is not None
            children = Path(f"/proc/{one.pid}/task/{one.pid}/children").read_text().split()
            pids.extend([one.pid, *map(int, children)])

    at_work(use, 2)
    assert len(pids) == 6
    assert [pid for pid in pids if not is_gone(pid)] == []


def test_settings_that_cannot_be_are_refused_by_name() -> None:
    async def start(more: dict[str, object]) -> None:
        await WorkerPool(terms(**more), 1).start()

    with pytest.raises(ConfigError, match="changed while umbridge was starting"):
        asyncio.run(start({"digest": "sha256:" + "0" * 64}))


def test_one_core_is_left_for_the_pen() -> None:
    assert [share_of(cores) for cores in (1, 2, 3, 5, 64)] == [1, 1, 2, 4, 4]

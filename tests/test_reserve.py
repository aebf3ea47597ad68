"""A disk that fills up: reading stops, the ledger has room to say so, and it goes on by itself."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import findings
import pytest
from installation import Inside
from test_receive import frame
from test_writer import make

from umbridge.intake.receive import Intake
from umbridge.settings.config import FeedSettings, LimitSettings
from umbridge.settings.site import default_site
from umbridge.store import reserve
from umbridge.store.opening import open_writer
from umbridge.store.writer import Writer

MB = 1024 * 1024


def test_ballast_takes_real_room_and_gives_it_back(tmp_path: Path) -> None:
    assert reserve.take(tmp_path, MB)
    made = (tmp_path / reserve.NAME).stat()
    assert (made.st_size, made.st_blocks * 512 >= MB, made.st_mode & 0o777) == (MB, True, 0o600)
    assert reserve.take(tmp_path, MB)  # it is there
    reserve.drop(tmp_path)
    reserve.drop(tmp_path)
    assert not (tmp_path / reserve.NAME).exists()


class Usage:
    """A disk with so much room, less what the ballast takes of it; counts how often it was looked at."""

    def __init__(self, store: Path, room: int) -> None:
        self.store, self.room, self.looked = store, room, 0

    def __call__(self, _path: Path) -> Any:
        self.looked += 1
        kept = self.store / reserve.NAME
        free = self.room - (kept.stat().st_size if kept.exists() else 0)
        return shutil._ntuple_diskusage(self.room, self.room - free, free)  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("room", "taken"),
    [
        (4 * MB, False),
        (5 * MB, False),
        (6 * MB - 1, False),
        (8 * MB - 1, False),
        (8 * MB, True),
        (9 * MB, True),
    ],
)
def test_a_start_does_not_make_the_disk_low_by_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, room: int, taken: bool
) -> None:
    """With 4 MB to be free and a ballast of 2: nothing changes unless somebody writes, whatever the room."""
    made, keyring = make(tmp_path / "s")
    usage = Usage(made.store, room)
    monkeypatch.setattr(shutil, "disk_usage", usage)

    async def main(writer: Writer) -> None:
        writing = asyncio.create_task(writer.run())
        limits = LimitSettings(min_free_bytes=4 * MB, ballast_bytes=2 * MB)
        intake = Intake(writer, keyring, limits, made.store, default_site(), disk_seconds=0.0)
        watching = asyncio.create_task(intake.watch_disk())
        async with asyncio.timeout(60):
            while usage.looked < 4:
                assert intake.held is None
                await asyncio.sleep(0)
        assert (made.store / reserve.NAME).exists() is taken
        watching.cancel()
        writer.close()
        await writing

    with open_writer(made, keyring) as writer:
        asyncio.run(main(writer))


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """A disk of 24 MiB in memory: the store proper must not lie there, but full is full."""
    where = tmp_path / "small"
    where.mkdir()
    if os.geteuid() != 0:
        findings.skip("disk_low", "needs root to mount a small disk")
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", str(where)], capture_output=True, check=False
    )
    if done.returncode:
        findings.skip("disk_low", "a tmpfs cannot be mounted here")
    yield where
    subprocess.run(["umount", "-l", str(where)], capture_output=True, check=False)


def test_a_full_disk_is_on_the_ledger_and_reading_goes_on_when_there_is_room(small: Path) -> None:
    made, keyring = make(small / "s")

    async def until(done: Any) -> None:
        async with asyncio.timeout(60):
            while not await done():
                await asyncio.sleep(0.01)

    async def main(writer: Writer) -> None:
        writing = asyncio.create_task(writer.run())
        limits = LimitSettings(min_free_bytes=4 * MB, ballast_bytes=2 * MB)
        intake = Intake(writer, keyring, limits, made.store, default_site(), disk_seconds=0.01)
        watching = asyncio.create_task(intake.watch_disk())

        async def kept() -> bool:
            return (made.store / reserve.NAME).exists()

        async def low() -> bool:
            return intake.held == "disk_low" and not await kept()

        async def states() -> list[str]:
            found = await writer.ask(
                Inside(lambda batch: list(writer.ledger.open_slots(0, 1000, kinds=("audit.status",))))
            )
            return [str(row["state"]) for row in found]

        async def told(count: int) -> bool:
            return len(await states()) == count

        await until(kept)
        await intake.receive(frame(), "main", FeedSettings(port=0))
        filler = small / "filler"
        filler.write_bytes(b"x" * (24 * MB - _used(small) - 3 * MB))
        await until(low)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(intake.ready(), 0.1)
        await until(lambda: told(1))
        filler.unlink()
        await until(kept)
        await asyncio.wait_for(intake.ready(), 30)
        await until(lambda: told(2))
        assert await states() == ["disk_low", "disk_has_room"]
        watching.cancel()
        writer.close()
        await writing

    with open_writer(made, keyring) as writer:
        asyncio.run(main(writer))


def _used(where: Path) -> int:
    found = os.statvfs(where)
    return (found.f_blocks - found.f_bfree) * found.f_frsize

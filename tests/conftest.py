"""What tests stand on: an installation in a folder, a daemon as its own process, the shared material."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from umbridge import config, controlclient, setup
from umbridge.config import Settings
from umbridge.store import ground

ROOT = Path(__file__).resolve().parents[1]
SHARED = ROOT.parent / "shared"
START_SECONDS = 120.0  # on a loaded machine everything takes several times as long


class Installation:
    """A made installation on free ports, and the commands a person would run on it."""

    def __init__(self, directory: Path, site_file: str | None = None) -> None:
        self.directory = directory
        setup.init(directory, org="zz-test", chain="t", site_file=site_file)
        self.file = directory / "umbridge.toml"
        self.edit(r"(?m)^port = 2575", "port = 0")
        if ground.weakness(directory):  # a machine whose /tmp lies in memory
            self.edit(r'(?m)^store = "store"', 'store = "store"\nstore_not_durable = "I accept"')
        self.edit(
            r"(?m)^pending_rows", "ballast_bytes = 65536\npending_rows"
        )  # the tests' disk is not theirs

    @property
    def settings(self) -> Settings:
        return config.load(self.file)

    def edit(self, pattern: str, replacement: str, name: str = "umbridge.toml") -> None:
        path = self.directory / name
        text, count = re.subn(pattern, replacement, path.read_text(encoding="utf-8"), count=1)
        assert count == 1, f"{name} has no {pattern}"
        path.write_text(text, encoding="utf-8")

    def roles(self, *roles: str) -> None:
        """Give the account that runs the tests these roles."""
        self.edit(r"roles = \[.*\]", f"roles = {json.dumps(list(roles))}", "users.toml")

    def run(self, *words: str, check: int | None = 0) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [sys.executable, "-m", "umbridge.cli", *words, "--config", str(self.file)],
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        if check is not None:
            assert done.returncode == check, (words, done.returncode, done.stderr)
        return done

    def rows(self, *words: str) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.run(*words, "--json").stdout.splitlines()]

    def start(self, program: tuple[str, ...] = ("-m", "umbridge.cli")) -> Running:
        return Running(self, program)


class Running:
    """A daemon process, ready to be spoken to. ``stop`` must end it cleanly; ``kill`` is SIGKILL."""

    def __init__(self, where: Installation, program: tuple[str, ...]) -> None:
        self.where = where
        self.log = where.directory / "daemon.log"
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, *program, "serve", "--config", str(where.file)], stdout=log, stderr=log
            )
        self.status = self._ready()
        self.port = int(self.status["feeds"][0]["port"])

    def _ready(self) -> dict[str, Any]:
        until = time.monotonic() + START_SECONDS
        while time.monotonic() < until:
            assert self.process.poll() is None, self.log.read_text()[-2000:]
            for row in controlclient.request(self.where.settings.store, "status", {}) or ():
                if row["pid"] == self.process.pid and row["feeds"][0]["port"]:
                    return row
            time.sleep(0.02)
        self.kill()
        raise AssertionError("the daemon did not start")

    def now(self) -> dict[str, Any]:
        rows = controlclient.request(self.where.settings.store, "status", {})
        assert rows is not None
        return next(iter(list(rows)))

    def worked(self) -> dict[str, Any]:
        """Wait until no row is pending; for as long as there are ever fewer."""
        least, until = None, 0.0
        while left := (status := self.now())["messages"].get("PENDING"):
            if least is None or left < least:
                least, until = left, time.monotonic() + START_SECONDS
            assert time.monotonic() < until, "rows stay pending"
            time.sleep(0.02)
        return status

    def stop(self) -> int:
        self.process.terminate()
        return self.process.wait(START_SECONDS)

    def kill(self) -> None:
        if self.process.poll() is None:
            os.kill(self.process.pid, signal.SIGKILL)
        self.process.wait(START_SECONDS)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files with slow tests start first: side by side, what starts last decides when the run ends."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)


@pytest.fixture
def installation(tmp_path: Path) -> Installation:
    return Installation(tmp_path / "site")


@pytest.fixture
def running(installation: Installation) -> Iterator[Running]:
    daemon = installation.start()
    yield daemon
    daemon.kill()


@pytest.fixture
def shared() -> Path:
    """The shared reference material beside the repository; a user's machine does not have it."""
    if not SHARED.is_dir():
        pytest.skip("no ../shared beside the repository: the real messages and vignettes are not tested here")
    return SHARED


async def exchange(port: int, *writes: bytes, eof: bool = True, seconds: float = 20.0) -> bytes:
    """Write to a listener, then read everything it says until it closes (or falls silent with ``eof``)."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        for data in writes:
            writer.write(data)
            await writer.drain()
        if eof:
            writer.write_eof()
        return await asyncio.wait_for(reader.read(-1), seconds)
    finally:
        writer.close()

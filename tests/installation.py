"""An installation in a folder, a daemon as its own process, and a wire to it: what tests stand on."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, ClassVar

import pytest
from click.testing import CliRunner
from prefork import Forked, Loaded, environment

from umbridge.access import control_client
from umbridge.commands import setup
from umbridge.commands.main import main
from umbridge.settings import config
from umbridge.settings.config import Settings
from umbridge.store import durability

ROOT = Path(__file__).resolve().parents[1]
SHARED = ROOT.parent / "shared"
SERVE = ("-m", "umbridge.commands.main")
AT_FIRST = environment()  # before any test has changed it: what a daemon that is forked was loaded with
START_SECONDS = 120.0  # on a loaded machine everything takes several times as long


@dataclass(frozen=True, slots=True)
class Inside:
    """What only a test does in a transaction: plant what no command writes, look at what none returns."""

    work: Callable[[Any], Any]

    def apply(self, batch: Any) -> Any:
        return self.work(batch)


class Installation:
    """A made installation on free ports, and the commands a person would run on it."""

    folders: ClassVar[pytest.TempPathFactory]
    unused: ClassVar[Path | None] = None
    _loaded: ClassVar[Loaded | None] = None

    def __init__(self, directory: Path, *, stranger: bool = False) -> None:
        """A copy of one made once, as that takes some sixty syncs; a stranger's has keys of its own."""
        if stranger:
            setup.init(directory, org="zz-test", chain="t", site_file=None)
        else:
            shutil.copytree(self._unused(), directory)
        self._at(directory)
        self.edit(r"(?m)^port = 2575", "port = 0")
        self.edit(r"(?m)^seconds = 2\.0", "seconds = 60.0")  # a busy machine is not a plugin that hangs
        if durability.weakness(directory):  # a machine whose /tmp lies in memory
            self.edit(r'(?m)^store = "store"', 'store = "store"\nstore_not_durable = "I accept"')
        self.edit(
            r"(?m)^pending_rows", "ballast_bytes = 65536\npending_rows"
        )  # the tests' disk is not theirs

    @classmethod
    def at(cls, directory: Path) -> Installation:
        """One that is there already: a copy to be changed."""
        self = cls.__new__(cls)
        self._at(directory)
        return self

    @classmethod
    def _unused(cls) -> Path:
        if cls.unused is None:
            made = cls.folders.mktemp("unused") / "site"
            setup.init(made, org="zz-test", chain="t", site_file=None)
            cls.unused = made
        return cls.unused

    def _at(self, directory: Path) -> None:
        self.directory, self.file = directory, directory / "umbridge.toml"

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
        """One command as the console script runs it, here: a process of its own takes ten times as long."""
        result = CliRunner().invoke(main, [*words, "--config", str(self.file)], env={"UMBRIDGE_CONFIG": None})
        assert isinstance(result.exception, SystemExit | None), result.exception
        done = subprocess.CompletedProcess(words, result.exit_code, result.stdout, result.stderr)
        return self._checked(done, check)

    def process(self, *words: str, check: int | None = 0) -> subprocess.CompletedProcess[str]:
        """The same in a process of its own, where that is the subject: a daemon, the whole job."""
        done = subprocess.run(
            [sys.executable, "-m", "umbridge.commands.main", *words, "--config", str(self.file)],
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        return self._checked(done, check)

    @staticmethod
    def _checked(
        done: subprocess.CompletedProcess[str], check: int | None
    ) -> subprocess.CompletedProcess[str]:
        if check is not None:
            assert done.returncode == check, (done.args, done.returncode, done.stderr)
        return done

    def rows(self, *words: str) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.run(*words, "--json").stdout.splitlines()]

    def start(self, program: tuple[str, ...] | None = None) -> Running:
        """A daemon, forked from a process that has loaded it where the environment is as it was then.

        ``program`` is what Python runs in a process of its own: ``SERVE`` for what a person would start.
        """
        return Running(self, program)

    def start_on(self, moment: datetime, patch: pytest.MonkeyPatch) -> Running:
        """A daemon whose clock begins at this moment: no deadline passes beside what is told as of then."""
        patch.setenv("ZZ_NOW", moment.isoformat())
        return self.start((str(ROOT / "tests" / "planted" / "another_day.py"),))

    @classmethod
    def loaded(cls) -> Loaded:
        if cls._loaded is None:
            cls._loaded = Loaded()
        return cls._loaded

    @classmethod
    def unload(cls) -> None:
        if cls._loaded is not None:
            cls._loaded.close()
            cls._loaded = None


class Running:
    """A daemon process, ready to be spoken to. ``stop`` must end it cleanly; ``kill`` is SIGKILL."""

    def __init__(self, where: Installation, program: tuple[str, ...] | None) -> None:
        self.where = where
        self.log = where.directory / "daemon.log"
        self.process: subprocess.Popen[bytes] | Forked
        words = ["serve", "--config", str(where.file)]
        with self.log.open("ab") as log:
            if program is None and environment() == AT_FIRST:
                self.process = where.loaded().fork(words, log.fileno())
            else:
                command = [sys.executable, *(program or SERVE), *words]
                self.process = subprocess.Popen(command, stdout=log, stderr=log)
        self.status = self._ready()
        self.port = int(self.status["feeds"][0]["port"])

    def _ready(self) -> dict[str, Any]:
        until = time.monotonic() + START_SECONDS
        while time.monotonic() < until:
            assert self.process.poll() is None, self.log.read_text()[-2000:]
            for row in control_client.request(self.where.settings.store, "status", {}) or ():
                if row["pid"] == self.process.pid and row["feeds"][0]["port"]:
                    return row
            time.sleep(0.02)
        self.kill()
        raise AssertionError("the daemon did not start")

    def now(self) -> dict[str, Any]:
        rows = control_client.request(self.where.settings.store, "status", {})
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

    def caught_up(self) -> None:
        """Wait until no stay's moment has passed that the daemon has not looked at: it looks at its start."""
        store, until = self.where.settings.store / "umbridge.db", time.monotonic() + START_SECONDS
        with closing(sqlite3.connect(f"file:{store}?mode=ro", uri=True)) as connection:
            while connection.execute(
                "SELECT 1 FROM lane_due WHERE due <= ?", (int(time.time() * 1_000_000),)
            ).fetchone():
                assert time.monotonic() < until, "stays stay overdue"
                time.sleep(0.02)

    def stop(self) -> int:
        self.process.terminate()
        return self.process.wait(START_SECONDS)

    def kill(self) -> None:
        if self.process.poll() is None:
            os.kill(self.process.pid, signal.SIGKILL)
        self.process.wait(START_SECONDS)


async def exchange(port: int, *writes: bytes, eof: bool = True, seconds: float = 60.0) -> bytes:
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

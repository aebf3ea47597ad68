"""The power cut and the process killed at a chosen write: what was accepted is there, once, and verifies.

F2 needs root and a loop device, F3 needs strace and ptrace; where they are not to be had the test is skipped,
says so, and writes it down. ``make faults`` runs the long counts.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import findings
import pytest
from installation import Installation
from test_faults import CONNECTIONS, Log, Sender, lost, settle

from umbridge.access import control_client

PLANTED = Path(__file__).parent / "planted"
SOUND = ("-m", "umbridge.commands.main")
EXT4_IOC_SHUTDOWN = 0x8004587D  # _IOR('X', 125, u32)
NO_LOG_FLUSH = 2  # EXT4_GOING_FLAGS_NOLOGFLUSH: what was not synced is gone, as when the power goes
SEED = 20261122
UNDER_WAY = 0.1  # seconds: an answer that was on its way when the power went has arrived by then
IMAGE_BYTES = (
    1024 * 1024 * 1024
)  # a sparse file: 40 cuts wrote 85 MB of store on a quiet machine, which filled 96


@contextlib.contextmanager
def senders(log: Log) -> Iterator[list[Sender]]:
    """Interface engines that send what was not answered again; they end with the block."""
    crowd = [Sender(number, log) for number in range(CONNECTIONS)]
    for one in crowd:
        one.start()
    try:
        yield crowd
    finally:
        for one in crowd:
            one.port = None
            one.ended.set()
        for one in crowd:
            one.join(15)


def wait_for(done: Callable[[], bool], seconds: float = 120.0) -> bool:
    until = time.monotonic() + seconds
    while not done():
        if time.monotonic() > until:
            return False
        time.sleep(0.002)
    return True


def verdict(installation: Installation, log: Log, name: str, **more: Any) -> dict[str, Any]:
    """Let everything be worked, verify in full, and say what there is."""
    rows = settle(installation)
    counts = Counter(str(row["control_id"]) for row in rows)
    report = json.loads(installation.run("ledger", "verify", "--level", "full", "--json", check=None).stdout)
    return dict(
        name=name,
        seed=SEED,
        offered=len(log.offered),
        acked=len(log.accepted),
        late=len(log.late),
        stored=len(rows),
        lost=len(lost(log, rows)),
        double=sum(count - 1 for count in counts.values()),
        states=dict(Counter(str(row["state"]) for row in rows)),
        set_aside=dict(Counter(str(row["reason"]) for row in rows if row["state"] == "QUARANTINED")),
        verdict=report["verdict"],
        **more,
    )


def check(found: dict[str, Any], least: int) -> None:
    assert found["acked"] >= least, found
    assert (found["lost"], found["double"], found["verdict"]) == (0, 0, "PASS"), found
    assert set(found["states"]) <= {"DETERMINED", "NOT_APPLICABLE"}, found


# --- F2: the power cut ------------------------------------------------------------------------------------


class Disk:
    """An ext4 file system in a file, whose power can be cut."""

    def __init__(self, folder: Path) -> None:
        self.image, self.mount = folder / "disk.img", folder / "disk"
        self.mount.mkdir()
        with self.image.open("wb") as stream:
            stream.truncate(IMAGE_BYTES)
        self._do("mkfs.ext4", "-q", "-F", str(self.image))
        self.up()

    def up(self) -> None:
        self._do("mount", "-o", "loop", str(self.image), str(self.mount))

    def cut(self) -> None:
        handle = os.open(self.mount, os.O_RDONLY)
        try:
            fcntl.ioctl(handle, EXT4_IOC_SHUTDOWN, NO_LOG_FLUSH.to_bytes(4, sys.byteorder))
        finally:
            os.close(handle)

    def down(self) -> None:
        command = ["umount", str(self.mount)]
        done = wait_for(lambda: not subprocess.run(command, capture_output=True, check=False).returncode)
        assert done, "the disk is still in use"

    @staticmethod
    def _do(*words: str) -> None:
        done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)
        if done.returncode:
            raise OSError(f"{words[0]}: {done.stderr.strip()}")


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    if os.geteuid() != 0 or not shutil.which("mkfs.ext4") or not Path("/dev/loop-control").exists():
        findings.skip("power", "needs root, mkfs.ext4 and a loop device")
    try:
        made = Disk(tmp_path)
    except OSError as exc:
        findings.skip("power", str(exc))
    yield made
    subprocess.run(["umount", "-l", str(made.mount)], capture_output=True, check=False)


def power(disk: Disk, cuts: int, program: tuple[str, ...]) -> tuple[Installation, Log]:
    rng = random.Random(SEED)
    installation = Installation(
        disk.mount / "site", stranger=True
    )  # init syncs what it wrote, a copy does not
    installation.edit(r"(?m)^pending_rows", "min_free_bytes = 0\npending_rows")  # it is a small disk
    log = Log()
    with senders(log) as crowd:
        for _ in range(cuts):
            daemon = installation.start(program)
            try:
                for one in crowd:
                    one.port = daemon.port
                before = len(log.accepted)
                wait_for(lambda before=before: len(log.accepted) > before + 20)  # type: ignore[misc]
                time.sleep(rng.uniform(0.0, 0.25))  # the moment of the cut is the experiment
                with log.lock:
                    promised = set(log.accepted)
                disk.cut()
                time.sleep(UNDER_WAY)
                with log.lock:
                    late = log.accepted - promised
                time.sleep(UNDER_WAY)  # who answers now does so without a disk, and is held to it
            finally:
                for one in crowd:
                    one.port = None
                daemon.kill()
            disk.down()
            # Without power nobody answers. Here the machine goes on while the file system is shut down, for
            # some milliseconds, and a sync under way then can say that it was done when it was not: answers
            # of that moment are counted apart. (Of 704 answers in 16 cuts 4 were lost, all of them 6 to 8 ms
            # after a cut had begun that took 9.) Answers that come later are held to like any other.
            with log.lock:
                log.late |= late
                log.accepted -= late
            disk.up()
    return installation, log


@pytest.mark.slow
@pytest.mark.timeout(300 + 60 * findings.often(2, 40))
def test_power_cuts_lose_nothing_that_was_accepted(disk: Disk) -> None:
    cuts = findings.often(2, 40)
    began = time.monotonic()
    installation, log = power(disk, cuts, SOUND)
    found = verdict(installation, log, "power", cycles=cuts)
    assert found["verdict"] == "PASS", found  # the control is the next test: the same, and a planted bug
    found = findings.write(**found, seconds=round(time.monotonic() - began, 1))
    check(found, 20 * cuts)


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_database_that_does_not_sync_is_caught(disk: Disk) -> None:
    """The planted bug: synchronous=OFF. Nothing accepted since the last write-back survives the cut."""
    installation, log = power(disk, 1, (str(PLANTED / "syncs_never.py"),))
    try:
        gone = lost(log, settle(installation))
    except AssertionError:
        return  # the store did not even open again: seen
    assert gone, "the planted bug went unseen: the test proves nothing"


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_daemon_that_answers_without_a_disk_is_caught(disk: Disk) -> None:
    """Why only the moment of the cut is counted apart: the planted daemon answers on, and stores nothing."""
    installation, log = power(disk, 1, (str(PLANTED / "answers_early.py"),))
    assert lost(log, settle(installation)), "the planted bug went unseen: the test proves nothing"


# --- F3: death at the Nth write -----------------------------------------------------------------------------


def can_trace() -> bool:
    if not shutil.which("strace"):
        return False
    tried = subprocess.run(["strace", "-qq", "-o", "/dev/null", "true"], capture_output=True, check=False)
    return tried.returncode == 0


def killed_at(installation: Installation, log: Log, call: str, nth: int, program: tuple[str, ...]) -> bool:
    """Run under load until the daemon dies at its Nth ``call``; whether it did."""
    trace = ["strace", "-f", "-qq", "-o", "/dev/null", "-e", f"trace={call}"]
    trace += ["-e", f"inject={call}:signal=KILL:when={nth}"]
    command = [*trace, sys.executable, *program, "serve", "--config", str(installation.file)]
    process = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )

    def port() -> int | None:
        with contextlib.suppress(Exception):  # it may die while it answers
            for row in control_client.request(installation.settings.store, "status", {}) or ():
                return int(row["feeds"][0]["port"])
        return None

    try:
        found: list[int] = []

        def ready() -> bool:
            if process.poll() is None and (got := port()):
                found.append(got)
            return bool(found) or process.poll() is not None

        wait_for(ready)
        if found:
            with senders(log) as crowd:
                for one in crowd:
                    one.port = found[0]
                return wait_for(lambda: process.poll() is not None)
        return process.poll() is not None
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(30)


def deaths(
    installation: Installation, points: list[tuple[str, int]], program: tuple[str, ...]
) -> tuple[Log, int]:
    log = Log()
    return log, sum(killed_at(installation, log, call, nth, program) for call, nth in points)


def some_points(count: int) -> list[tuple[str, int]]:
    """Calls of a start, of the first messages and of later ones, by turns."""
    rng = random.Random(SEED)
    return [(("pwrite64", "fdatasync")[n % 2], rng.randint(1, (4, 20, 90)[n % 3])) for n in range(count)]


@pytest.mark.slow
@pytest.mark.timeout(300 + 60 * findings.often(2, 60))
def test_death_at_any_write_or_sync_loses_nothing(installation: Installation) -> None:
    if not can_trace():
        findings.skip("writes", "needs strace, and leave to trace")
    points = some_points(findings.often(2, 60))
    began = time.monotonic()
    log, died = deaths(installation, points, SOUND)
    found = verdict(installation, log, "writes", cycles=len(points), died=died)
    found = findings.write(**found, seconds=round(time.monotonic() - began, 1))
    assert died == len(points), found
    check(found, 1)


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_an_answer_before_the_write_is_caught(installation: Installation) -> None:
    """The planted bug of the kill test: the answer leaves, and the write that should hold it is the last."""
    if not can_trace():
        findings.skip("writes_control", "needs strace, and leave to trace")
    log, _ = deaths(
        installation, [("pwrite64", nth) for nth in (120, 240)], (str(PLANTED / "answers_early.py"),)
    )
    assert lost(log, settle(installation)), "the planted bug went unseen: the test proves nothing"

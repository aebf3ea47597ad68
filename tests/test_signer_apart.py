"""The daemon and a signer in another process: it signs, it may be away, and it is never fooled."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from installation import Installation, Running

PATIENCE = 120.0


class Apart:
    """An installation whose signing key was taken by ``umbridge-signer``."""

    def __init__(self, where: Installation, folder: Path) -> None:
        self.where = where
        self.folder = folder / "signer"
        self.socket = folder / "s"
        where.edit(r"(?m)^checkpoint_seconds = .*", f'checkpoint_seconds = 0.2\nsigner = "{self.socket}"')
        self.process: subprocess.Popen[str] | None = None

    def take(self) -> None:
        done = self._run("take", str(self.where.settings.keys), str(self.folder))
        assert done.returncode == 0, done.stderr

    @staticmethod
    def _run(*words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "umbridge_audit.signer", *words]
        return subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False)

    def up(self) -> None:
        command = [sys.executable, "-m", "umbridge_audit.signer", "serve", str(self.folder)]
        self.process = subprocess.Popen(
            [*command, "--socket", str(self.socket)], stdout=subprocess.PIPE, text=True
        )
        assert self.process.stdout is not None and self.process.stdout.readline()

    def down(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait(PATIENCE)
            assert self.process.stdout is not None
            self.process.stdout.close()
            self.process = None


@pytest.fixture
def apart(installation: Installation, tmp_path: Path) -> Iterator[Apart]:
    made = Apart(installation, tmp_path)
    yield made
    made.down()


def until(daemon: Running, good: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    limit = time.monotonic() + PATIENCE
    while not good(status := daemon.now()):
        assert time.monotonic() < limit, status
        time.sleep(0.02)
    return status


def verified(where: Installation) -> dict[str, Any]:
    (row,) = where.rows("ledger", "verify", "--level", "full")
    return row


def test_away_and_back(apart: Apart) -> None:
    """Absent at the start, then there, killed, and there again: everything is written, and signed at last."""
    where = apart.where
    apart.take()
    daemon = where.start()
    try:
        status = until(daemon, lambda s: s["ledger"]["signer_error"] is not None)
        assert status["ledger"]["signer"] == str(apart.socket)
        assert status["ledger"]["signer_error"] == "signer_unreachable"
        assert status["ledger"]["unanchored"] > 0 and any("signer is away" in w for w in status["warnings"])
        refused = where.run("ledger", "checkpoint", check=69)
        assert "the signer is away" in refused.stderr
        sent = where.directory / "one.hl7"
        where_sample(sent)
        answers = send(daemon.port, sent)
        assert {row["ack"] for row in answers} == {"AA"}  # care goes on
        before = daemon.now()["ledger"]
        assert before["unanchored"] >= len(answers)
        apart.up()
        status = until(daemon, lambda s: s["ledger"]["unanchored"] == 0)
        assert status["ledger"]["signer_error"] is None and not any("signer" in w for w in status["warnings"])
        where.run("ledger", "checkpoint")
        apart.down()
        where.run("keys", "list")  # an entry
        until(daemon, lambda s: s["ledger"]["signer_error"] is not None)
        apart.up()
        until(daemon, lambda s: s["ledger"]["unanchored"] == 0)
        assert daemon.stop() == 0
    finally:
        daemon.kill()
    row = verified(where)
    assert (row["verdict"], row["unanchored"]) == ("PASS", 0)


def test_a_stop_without_the_signer_loses_nothing(apart: Apart) -> None:
    where = apart.where
    apart.take()
    daemon = where.start()
    try:
        assert daemon.stop() == 0
    finally:
        daemon.kill()
    row = verified(where)
    assert row["verdict"] == "PASS" and row["unanchored"] > 0
    apart.up()
    daemon = where.start()
    try:
        until(daemon, lambda s: s["ledger"]["unanchored"] == 0)
        assert daemon.stop() == 0
    finally:
        daemon.kill()
    assert (verified(where)["verdict"], verified(where)["unanchored"]) == ("PASS", 0)


def test_everything_of_the_daemons_put_back_is_refused(apart: Apart, tmp_path: Path) -> None:
    """Store, anchor and keys, all as they were: the other account's memory is what is left."""
    where, old = apart.where, tmp_path / "old"
    apart.take()
    apart.up()
    parts = ("store", "anchor", "keys")
    for part in parts:
        shutil.copytree(where.directory / part, old / part)
    daemon = where.start()
    assert daemon.stop() == 0
    for part in parts:
        shutil.rmtree(where.directory / part)
        shutil.copytree(old / part, where.directory / part)
    assert verified(where)["verdict"] == "PASS"
    done = where.process("serve", check=74)
    assert "were signed here" in done.stderr
    # and when it started while nobody could tell, it ends as soon as somebody can
    apart.down()
    daemon = where.start()
    apart.up()
    assert daemon.process.wait(PATIENCE) == 74


def test_the_key_is_handed_over_by_the_other_account(apart: Apart) -> None:
    where = apart.where
    apart.take()
    apart.up()
    before = (apart.folder / "log.key").read_bytes()
    daemon = where.start()
    try:
        where.run("keys", "rotate", "signing", "--reason", "ZZ")
        assert (apart.folder / "log.key").read_bytes() != before
        where.run("ledger", "checkpoint")
        apart.down()
        failed = where.run("keys", "rotate", "signing", check=69)
        assert "nothing was changed" in failed.stderr
        apart.up()
        assert daemon.stop() == 0
    finally:
        daemon.kill()
    assert (verified(where)["verdict"], verified(where)["unanchored"]) == ("PASS", 0)
    handed = [row for row in where.rows("ledger", "list") if row["kind"] == "key.handover"]
    assert len(handed) == 1


def test_a_key_that_was_left_behind_is_a_mistake_and_said_so(apart: Apart) -> None:
    done = apart.where.run("keys", "list", check=78)
    assert "log.key" in done.stderr and "umbridge-signer take" in done.stderr


def where_sample(path: Path) -> None:
    """One invented stay's messages in a file."""
    from datetime import UTC, datetime

    from umbridge.commands import sample

    messages = sample.stay(0, datetime(2026, 3, 2, 20, 0, tzinfo=UTC))
    path.write_bytes(b"\r".join(m.strip(b"\r") for m in messages) + b"\r")


def send(port: int, path: Path) -> list[dict[str, Any]]:
    command = [
        sys.executable,
        "-m",
        "umbridge.commands.main",
        "send",
        str(path),
        "--port",
        str(port),
        "--json",
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False)
    return [json.loads(line) for line in done.stdout.splitlines()]

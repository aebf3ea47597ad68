"""The daemon killed under load: what was accepted is there, each once, and the ledger verifies.

``UMBRIDGE_KILLS`` sets how often (8 here; ``make faults`` runs 60). The evidence goes to ``evidence/``.
"""

from __future__ import annotations

import json
import os
import random
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import pytest
from installation import ROOT, START_SECONDS, Installation, Running

from umbridge.commands import sample
from umbridge.hl7 import er7, mllp

KILLS = int(os.environ.get("UMBRIDGE_KILLS", "8"))
CONNECTIONS = 6
SEED = 20261122


@dataclass
class Log:
    """What the sender saw: ids offered and ids accepted on the wire."""

    offered: set[str] = field(default_factory=set)
    accepted: set[str] = field(default_factory=set)
    late: set[str] = field(default_factory=set)  # answered after the power was cut: no promise
    lock: threading.Lock = field(default_factory=threading.Lock)


class Sender(threading.Thread):
    """One closed-loop connection that sends what was not answered again, like an interface engine."""

    def __init__(self, number: int, log: Log) -> None:
        super().__init__(daemon=True)
        self._messages = self._endless(number)
        self._log = log
        self._unanswered: bytes | None = None
        self.port: int | None = None
        self.ended = threading.Event()

    @staticmethod
    def _endless(number: int) -> Iterator[bytes]:
        began = datetime(2026, 3, 2, 20, 0, tzinfo=UTC)
        stay = number
        while True:
            yield from sample.stay(stay, began)
            stay += CONNECTIONS

    def run(self) -> None:
        while not self.ended.is_set():
            port = self.port
            if port is None:
                self.ended.wait(0.01)
                continue
            try:
                with socket.create_connection(("127.0.0.1", port), timeout=10) as peer:
                    self._talk(peer)
            except OSError:
                self.ended.wait(0.01)

    def _talk(self, peer: socket.socket) -> None:
        decoder = mllp.FrameDecoder()
        while not self.ended.is_set():
            if self._unanswered is None:
                self._unanswered = next(self._messages)
            control_id = er7.parse(self._unanswered).control_id
            with self._log.lock:
                self._log.offered.add(control_id)
            peer.sendall(mllp.encode(self._unanswered))
            frames: list[object] = []
            while not frames:
                data = peer.recv(65536)
                if not data:
                    raise ConnectionError
                frames = list(decoder.feed(data))
            frame = frames[0]
            assert isinstance(frame, mllp.Frame)
            answer = er7.parse(frame.data)
            assert answer.get("MSA-2") == control_id
            assert answer.get("MSA-1") == "AA"
            with self._log.lock:
                self._log.accepted.add(control_id)
            self._unanswered = None


def storm(installation: Installation, kills: int, program: tuple[str, ...]) -> Log:
    """Load on several connections; ``kills`` times the daemon dies at a random moment and starts again."""
    rng = random.Random(SEED)
    log = Log()
    senders = [Sender(number, log) for number in range(CONNECTIONS)]
    for sender in senders:
        sender.start()
    daemon: Running | None = None
    try:
        for _ in range(kills):
            daemon = installation.start(program)
            for sender in senders:
                sender.port = daemon.port
            before = len(log.accepted)
            until = time.monotonic() + START_SECONDS
            while len(log.accepted) <= before + 20 and time.monotonic() < until:
                threading.Event().wait(0.002)
            threading.Event().wait(rng.uniform(0.0, 0.25))
            daemon.kill()
            for sender in senders:
                sender.port = None
    finally:
        for sender in senders:
            sender.ended.set()
        for sender in senders:
            sender.join(15)
        if daemon is not None:
            daemon.kill()
    return log


def settle(installation: Installation) -> list[dict[str, object]]:
    """Start once more, let everything be worked, stop cleanly, and list what is there."""
    daemon = installation.start()
    try:
        daemon.worked()
        assert daemon.stop() == 0
    finally:
        daemon.kill()
    return installation.rows("messages", "list")


def lost(log: Log, rows: list[dict[str, object]]) -> set[str]:
    return log.accepted - {str(row["control_id"]) for row in rows}


@pytest.mark.slow
@pytest.mark.timeout(300 + 60 * KILLS)
def test_kills_under_load_lose_nothing_and_decide_nothing_twice(installation: Installation) -> None:
    began = time.monotonic()
    log = storm(installation, KILLS, ("-m", "umbridge.commands.main"))
    rows = settle(installation)
    counts = Counter(str(row["control_id"]) for row in rows)
    states = Counter(str(row["state"]) for row in rows)
    report = json.loads(installation.run("ledger", "verify", "--level", "full", "--json").stdout)
    missing = lost(log, rows)
    evidence = {
        "test": "kill",
        "seed": SEED,
        "cycles": KILLS,
        "offered": len(log.offered),
        "acked": len(log.accepted),
        "stored": len(rows),
        "lost": len(missing),
        "double": sum(count - 1 for count in counts.values()),
        "states": dict(states),
        "set_aside": dict(Counter(str(row["reason"]) for row in rows if row["state"] == "QUARANTINED")),
        "verdict": report["verdict"],
        "seconds": round(time.monotonic() - began, 1),
    }
    _write(evidence)
    assert len(log.accepted) >= 20 * KILLS, evidence
    assert not missing, evidence
    assert set(counts.values()) == {1}, evidence
    assert set(counts) <= log.offered, evidence
    assert set(states) <= {"DETERMINED", "NOT_APPLICABLE"}, evidence
    assert report["verdict"] == "PASS", evidence  # the control is the next test: the same, and a planted bug
    assert report["unanchored"] == 0, evidence


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_the_kill_test_catches_a_daemon_that_answers_before_it_commits(installation: Installation) -> None:
    program = (str(Path(__file__).parent / "planted" / "answers_early.py"),)
    log = storm(installation, 3, program)
    assert lost(log, settle(installation)), "the planted bug went unseen: the kill test proves nothing"


def _write(evidence: dict[str, object]) -> None:
    folder = ROOT / "evidence"
    folder.mkdir(exist_ok=True)
    (folder / "kill.json").write_text(json.dumps(evidence, indent=1) + "\n")

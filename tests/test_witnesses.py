"""A daemon and a witness: checkpoints are cosigned while it runs; a refusal is said, and care goes on."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from installation import Installation
from umbridge_audit.checkpoint import Checkpoint, VerifierKey, sign
from umbridge_audit.heads import Heads
from umbridge_audit.policy import Policy
from umbridge_audit.witness import Witness, server, write_request


@pytest.fixture
def site(tmp_path: Path) -> Installation:
    return Installation(tmp_path / "site")


class Running:
    """A witness in a thread, named in the installation's policy."""

    def __init__(self, site: Installation, folder: Path) -> None:
        folder.mkdir()
        policy = Policy.read(site.settings.policy.read_text())
        key = Ed25519PrivateKey.generate()
        self.witness = Witness("witness.example/w1", key, {policy.origin: [policy.log]}, Heads(folder))
        self.server = server(self.witness, "127.0.0.1", 0)
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02})
        self.thread.start()
        url = f"http://127.0.0.1:{self.server.server_address[1]}"
        text = site.settings.policy.read_text()
        site.settings.policy.write_text(
            text.replace("quorum none", f"witness w1 {self.witness.vkey} {url}\nquorum w1")
        )

    def close(self) -> None:
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


@pytest.fixture
def running(site: Installation, tmp_path: Path) -> Iterator[Running]:
    made = Running(site, tmp_path / "witness")
    yield made
    made.close()


def until(daemon: Any, what: str) -> dict[str, Any]:
    """Status once the witness's row says so."""
    for _ in range(600):
        (row,) = daemon.now()["witnesses"]
        if (row["error"] == what) if what else (row["cosigned"] > 0 and row["error"] is None):
            return dict(row)
        time.sleep(0.1)  # until the daemon has been on its errand
    raise AssertionError(row)


def test_checkpoints_are_cosigned_and_a_verdict_says_so(site: Installation, running: Running) -> None:
    assert json.loads(site.run("ledger", "verify", "--json", check=3).stdout)["verdict"] == "PASS-UNWITNESSED"
    daemon = site.start()
    try:
        assert until(daemon, "")["witness"] == "w1"
        said = json.loads(site.run("ledger", "verify", "--json").stdout)
        assert (said["verdict"], said["witnessed"] > 0) == ("PASS", True)
        receipt = site.run("ledger", "proof", "2").stdout
        assert receipt.count("\u2014") in (1, 2)
        assert daemon.stop() == 0
    finally:
        daemon.kill()


def test_a_witness_that_knows_more_is_an_error_that_stops_nobody(
    site: Installation, running: Running
) -> None:
    policy = Policy.read(site.settings.policy.read_text())
    key = Ed25519PrivateKey.from_private_bytes((site.settings.keys / "log.key").read_bytes())
    forked = Checkpoint(policy.origin, 10_000, bytes(32))
    assert running.witness.add_checkpoint(write_request(0, [], sign(forked, key)))[0] == 200
    assert VerifierKey.read(str(policy.log)) == policy.log
    daemon = site.start()
    try:
        until(daemon, "witness_is_ahead")
        assert json.loads(site.run("ledger", "verify", "--json", check=3).stdout)["witnessed"] is None
        assert daemon.stop() == 0
    finally:
        daemon.kill()

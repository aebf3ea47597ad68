"""The witness by its rules and over the wire: what continues is cosigned, all else is refused."""

from __future__ import annotations

import http.client
import subprocess
import sys
import threading
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st
from umbridge_audit.checkpoint import Checkpoint, VerifierKey, sign
from umbridge_audit.cosign import cosigned_at
from umbridge_audit.entry import FormatError
from umbridge_audit.heads import Behind, HeadError, Heads, Inconsistent
from umbridge_audit.policy import Witness as Known
from umbridge_audit.submit import ForkError, SubmitError, submit
from umbridge_audit.tree import EMPTY_ROOT, consistency_proof, leaf_hash, root_of
from umbridge_audit.witness import Witness, load, main, read_request, server, write_request

ORIGIN = "umbridge.genhosp/adt-1/1"
KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
LOG = VerifierKey(ORIGIN, KEY.public_key().public_bytes_raw())
LEAVES = [leaf_hash(b"leaf %d" % n) for n in range(70)]
OTHERS = [leaf_hash(b"other %d" % n) for n in range(70)]


def node(leaves: list[bytes]) -> Any:
    return lambda level, n: root_of(leaves[n << level : (n + 1) << level])


def head(size: int, leaves: list[bytes] = LEAVES) -> Checkpoint:
    return Checkpoint(ORIGIN, size, root_of(leaves[:size]))


def request(old: int, size: int, leaves: list[bytes] = LEAVES, key: Ed25519PrivateKey = KEY) -> bytes:
    proof = consistency_proof(old, size, node(leaves)) if old <= size else []
    return write_request(old, proof, sign(head(size, leaves), key))


@pytest.fixture
def witness(tmp_path: Path) -> Witness:
    (tmp_path / "state").mkdir()
    key = Ed25519PrivateKey.from_private_bytes(bytes([7]) * 32)
    return Witness(
        "witness.example/w1", key, {ORIGIN: [LOG]}, Heads(tmp_path / "state"), lambda: 1_700_000_000.9
    )


def test_it_cosigns_what_continues(witness: Witness) -> None:
    sizes = [0, 1, 2, 3, 8, 8, 33, 70]
    for old, size in pairwise(sizes):
        status, _, line = witness.add_checkpoint(request(old, size))
        assert status == 200, (old, size, line)
        assert cosigned_at(head(size), line, witness.vkey) == 1_700_000_000


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (request(8, 7), 400),
        (request(0, 9), 409),
        (request(9, 20), 409),
        (request(8, 8, OTHERS), 409),  # A16: a fork of the same size
        (request(8, 20, OTHERS), 422),  # A6, A15: another history
        (write_request(8, [], sign(head(20), KEY)), 422),
        (write_request(8, [bytes(32)] * 3, sign(head(20), KEY)), 422),
        (request(8, 20, key=Ed25519PrivateKey.from_private_bytes(bytes(32))), 403),
        (write_request(8, [], sign(Checkpoint("umbridge.x/y/1", 9, bytes(32)), KEY)), 404),
        (b"", 400),
        (b"old 8\n", 400),
        (request(8, 20).replace(b"old 8", b"old 08"), 400),
        (request(8, 20).replace(b"old 8", b"old -8"), 400),
        (write_request(8, [bytes(32)] * 64, sign(head(20), KEY)), 400),
        (write_request(8, [b"short"], sign(head(20), KEY)), 400),
        (b"\xff" + request(8, 20), 400),
        (request(8, 20) + b"x" * 70_000, 400),
    ],
)
def test_it_refuses_everything_else_and_stays_where_it_was(
    witness: Witness, body: bytes, status: int
) -> None:
    assert witness.add_checkpoint(request(0, 8))[0] == 200
    answer = witness.add_checkpoint(body)
    assert answer[0] == status, answer
    if status == 409:
        assert answer[1:] == ("text/x.tlog.size", "8\n")
    assert "\u2014" not in answer[2]
    assert witness.add_checkpoint(request(8, 20))[0] == 200  # the control: it still goes on from 8


def test_a72_its_state_outlives_it_and_a_lost_one_is_not_taken_for_none(tmp_path: Path) -> None:
    heads = Heads(tmp_path)
    heads.advance(0, [], head(8))
    again = Heads(tmp_path)
    assert again.last(ORIGIN) == head(8)
    with pytest.raises(Behind) as caught:
        again.advance(0, [], head(8))
    assert caught.value.size == 8
    with pytest.raises(Inconsistent):
        again.advance(8, [], head(20))
    (path,) = tmp_path.glob("*.head")
    for broken in (b"", b"{}", b"\xff", path.read_bytes().replace(b"8", b"9 "), b"x" * 10_000):
        path.write_bytes(broken)
        with pytest.raises(HeadError):
            again.last(ORIGIN)
    assert Heads(tmp_path).last("another").root == EMPTY_ROOT


def test_a71_two_at_once_never_go_back(witness: Witness) -> None:
    """Many requests race from size 8; one wins, and no later size is ever undone."""
    assert witness.add_checkpoint(request(0, 8))[0] == 200
    answers: list[tuple[int, int]] = []
    gate = threading.Barrier(12)

    def ask(size: int) -> None:
        gate.wait()
        answers.append((witness.add_checkpoint(request(8, size))[0], size))

    threads = [threading.Thread(target=ask, args=(size,)) for size in range(20, 32)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    won = [size for status, size in answers if status == 200]
    assert len(won) == 1 and sorted(status for status, _ in answers) == [200] + [409] * 11
    assert witness._heads.last(ORIGIN) == head(won[0])


@settings(max_examples=150, deadline=None)
@given(st.one_of(st.binary(max_size=300), st.text().map(lambda t: f"old 1\n{t}\n\n{t}".encode())))
def test_the_request_reader_is_total(body: bytes) -> None:
    try:
        old, proof, _ = read_request(body)
        assert old >= 0 and all(len(hashed) == 32 for hashed in proof)
    except FormatError:
        pass


# --- over the wire ------------------------------------------------------------------------------------


@pytest.fixture
def running(witness: Witness) -> Iterator[Known]:
    with server(witness, "127.0.0.1", 0) as made:
        thread = threading.Thread(target=made.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield Known(witness.vkey, f"http://127.0.0.1:{made.server_address[1]}")
        made.shutdown()
        thread.join()


def ask(known: Known, size: int, leaves: list[bytes] = LEAVES, old: int = 0) -> str:
    return submit(
        known,
        head(size, leaves),
        sign(head(size, leaves), KEY),
        lambda start: consistency_proof(start, size, node(leaves)),
        old=old,
    )


def test_a_log_gets_its_cosignature_whatever_it_remembers(running: Known, witness: Witness) -> None:
    assert cosigned_at(head(5), ask(running, 5), witness.vkey)
    assert cosigned_at(head(9), ask(running, 9, old=5), witness.vkey)
    assert cosigned_at(head(30), ask(running, 30), witness.vkey)  # it had forgotten: 409 tells it
    with pytest.raises(ForkError, match="witness_is_ahead"):
        ask(running, 20)  # A14: a log that came back from an old backup
    with pytest.raises(ForkError, match="witness_has_another_root"):
        ask(running, 30, OTHERS, old=30)
    with pytest.raises(ForkError, match="witness_refuses_the_proof"):
        ask(running, 40, OTHERS, old=30)


def test_a38_no_answer_is_no_cosignature(running: Known, witness: Witness) -> None:
    with pytest.raises(SubmitError, match="witness_unreachable"):
        ask(Known(witness.vkey, "http://127.0.0.1:1"), 5)
    with pytest.raises(SubmitError, match="witness_has_no_url"):
        ask(Known(witness.vkey), 5)
    other = VerifierKey(witness.vkey.name, bytes(32), witness.vkey.kind)
    with pytest.raises(SubmitError, match="witness_answer"):
        ask(Known(other, running.url), 5)  # A39: it answers with another key than the policy's


def test_monitors_and_strangers(running: Known, witness: Witness) -> None:
    from hashlib import sha256

    ask(running, 5)
    place = sha256(ORIGIN.encode()).hexdigest()
    port = int(str(running.url).rpartition(":")[2])

    def get(method: str, path: str, body: bytes | None = None, **headers: str) -> tuple[int, str]:
        peer = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        peer.request(method, path, body, headers)
        answer = peer.getresponse()
        text = answer.read().decode()
        peer.close()
        return answer.status, text

    status, text = get("GET", f"/checkpoint/{place}")
    body, _, line = text.partition("\n\n")
    assert status == 200 and body + "\n" == head(5).body() and cosigned_at(head(5), line, witness.vkey)
    assert get("GET", "/checkpoint/x")[0] == get("GET", "/")[0] == get("POST", "/elsewhere", b"x")[0] == 404
    assert get("POST", "/add-checkpoint", b"x" * 70_000)[0] == 413
    assert get("POST", "/add-checkpoint", b"", **{"Content-Length": "99999999"})[0] == 413
    assert get("DELETE", "/")[0] == 501


def test_the_command_makes_a_witness_and_runs_one_at_a_time(tmp_path: Path) -> None:
    folder = tmp_path / "w"
    made = CliRunner().invoke(main, ["init", str(folder), "--name", "witness.example/w1"])
    assert made.exit_code == 0 and made.stdout.startswith("witness w1 witness.example/w1+")
    assert CliRunner().invoke(main, ["init", str(folder), "--name", "x"]).exit_code == 2
    (folder / "logs").write_text(f"# ours\n{LOG}\n")
    assert load(folder).add_checkpoint(request(0, 3))[0] == 200
    command = [sys.executable, "-m", "umbridge_audit.witness", "serve", str(folder), "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        url = child.stdout.readline().split()[-1]
        line = ask(Known(load(folder).vkey, url), 9)
        assert cosigned_at(head(9), line, load(folder).vkey)
        second = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        assert second.returncode == 1 and "another witness" in second.stderr
        child.terminate()
    for name, text in (("logs", "nonsense\n"), ("witness.key", "x\nzz\n")):
        kept = (folder / name).read_text()
        (folder / name).write_text(text)
        assert CliRunner().invoke(main, ["serve", str(folder), "--port", "0"]).exit_code == 2
        (folder / name).write_text(kept)
    (folder / "witness.key").chmod(0o644)
    assert CliRunner().invoke(main, ["serve", str(folder), "--port", "0"]).exit_code == 2

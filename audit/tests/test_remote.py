"""The signer in a process of its own: what it signs, what it refuses, and that it may die."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from umbridge_audit.keys import KeyRefusedError, Keyring
from umbridge_audit.remote import MAX_FRAME, RemoteHand, read_frame, send_frame
from umbridge_audit.signer import PER_SECOND, Conversation
from umbridge_audit.signing import LocalHand, SignerAwayError, head_of
from umbridge_audit.store import Broken, Ledger, Rollback
from umbridge_audit.tree import Frontier, leaf_hash

ORIGIN = "umbridge.genhosp/adt-1/1"
PATIENCE = 60.0


class Process:
    """umbridge-signer on a folder and a socket."""

    def __init__(self, folder: Path, path: Path, *more: str) -> None:
        self.path = path
        command = [sys.executable, "-m", "umbridge_audit.signer", "serve", str(folder), "--socket", str(path)]
        self.process = subprocess.Popen([*command, *more], stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        self.said = self.process.stdout.readline()
        until = time.monotonic() + PATIENCE
        while not self._answers():
            assert self.process.poll() is None and time.monotonic() < until, self.said
            time.sleep(0.01)

    def _answers(self) -> bool:
        with socket.socket(socket.AF_UNIX) as peer:
            try:
                peer.connect(str(self.path))
            except OSError:
                return False
            return True

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(PATIENCE)
        assert self.process.stdout is not None
        self.process.stdout.close()


def run(*words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "umbridge_audit.signer", *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False)


@pytest.fixture
def parted(lab: Any, tmp_path: Path) -> Iterator[Any]:
    """A ledger whose key lies in another folder, with a process that signs; ``parted.start`` brings it up."""
    lab.close()
    lab.taken = tmp_path / "signer"
    lab.socket = tmp_path / "s"
    done = run("take", str(lab.keys), str(lab.taken))
    assert done.returncode == 0, done.stderr
    assert str(lab.policy.log) in done.stdout
    procs: list[Process] = []

    def start(*more: str) -> Process:
        procs.append(Process(lab.taken, lab.socket, *more))
        return procs[-1]

    def reopen() -> None:
        lab.connection.close()
        lab.connection = lab.connect()
        lab.keyring = Keyring.open(lab.keys, hand=RemoteHand(lab.socket, 10.0))
        lab.ledger = Ledger.open(lab.connection, lab.keyring, anchor=lab.anchor)

    lab.start, lab.reopen = start, reopen
    yield lab
    for one in procs:
        one.kill()
    lab.close()


def test_the_key_is_gone_from_the_daemons_folder_and_everything_still_verifies(
    parted: Any, message: Any
) -> None:
    assert sorted(p.name for p in parted.taken.iterdir() if p.suffix != ".head") == ["log.key", "origin"]
    assert not list(parted.keys.glob("*.head")) and not (parted.keys / "log.key").exists()
    assert oct((parted.taken / "log.key").stat().st_mode)[-3:] == "600"
    parted.start()
    parted.reopen()
    for n in range(3):
        parted.write(*(message(10 * n + k) for k in range(4)))
        assert parted.ledger.checkpoint()
    assert parted.verify("full").verdict == "PASS"
    again = run("take", str(parted.keys), str(parted.taken))
    assert again.returncode == 2 and "already" in again.stderr
    with pytest.raises(KeyRefusedError, match="another account has it"):
        Ledger.open(parted.connect(), Keyring.open(parted.keys), anchor=parted.anchor)


def test_away_it_costs_a_wait_and_nothing_else(parted: Any, message: Any) -> None:
    """Not there at the start, there, killed, there again: entries are written, and signed when it is back."""
    parted.reopen()
    parted.write(message(1))
    with pytest.raises(SignerAwayError, match="signer_unreachable"):
        parted.ledger.checkpoint()
    process = parted.start()
    parted.ledger.checkpoint()
    assert parted.ledger.unanchored == 0
    process.kill()
    parted.write(message(2))
    with pytest.raises(SignerAwayError):
        parted.ledger.checkpoint()
    parted.write(*(message(n) for n in range(3, 700)))  # more than one frame of leaves
    assert parted.ledger.unanchored == 698
    parted.start()
    parted.ledger.checkpoint()
    assert parted.ledger.unanchored == 0
    parted.reopen()
    report = parted.verify("full")
    assert (report.verdict, report.unanchored) == ("PASS", 0)


def test_a_signature_that_never_arrived_is_made_again(parted: Any, message: Any) -> None:
    """The signer remembered the head, and then the daemon died before its row."""
    parted.start()
    parted.reopen()
    parted.write(message(1))
    parted.ledger.note(parted.ledger.due())
    size = parted.ledger.size
    parted.reopen()
    assert parted.ledger.checkpoint() and parted.ledger.anchored == size  # the very same head
    parted.write(message(2))
    parted.ledger.note(parted.ledger.due())
    parted.reopen()
    parted.write(message(3))  # and entries came since
    assert parted.ledger.checkpoint()
    assert parted.verify().verdict == "PASS"


def test_a_rolled_back_store_and_anchor_are_refused_by_the_other_account(
    parted: Any, message: Any, tmp_path: Path
) -> None:
    parted.start()
    parted.reopen()
    parted.write(message(1))
    parted.ledger.checkpoint()
    old = tmp_path / "old"
    shutil.copytree(parted.folder, old)
    parted.write(message(2))
    parted.ledger.checkpoint()
    parted.close()
    for part in ("store", "anchor", "keys"):
        shutil.rmtree(parted.folder / part)
        shutil.copytree(old / part, parted.folder / part)
    assert parted.verify().verdict == "PASS"  # whole, and older: everything of the daemon's was put back
    with pytest.raises(Rollback, match="were signed here"):
        parted.reopen()


def test_a_rolled_back_store_that_started_without_its_signer_gets_nothing_signed(
    parted: Any, message: Any, tmp_path: Path
) -> None:
    process = parted.start()
    parted.reopen()
    old = tmp_path / "old"
    shutil.copytree(parted.folder, old)
    parted.write(message(1))
    parted.ledger.checkpoint()
    parted.close()
    process.kill()
    for part in ("store", "anchor", "keys"):
        shutil.rmtree(parted.folder / part)
        shutil.copytree(old / part, parted.folder / part)
    parted.reopen()  # nobody knows better
    parted.write(message(2), message(3), message(4))  # longer than what was signed, and another history
    parted.start()
    with pytest.raises(Rollback, match="were signed here"):
        parted.ledger.checkpoint()
    head = LocalHand(parted.taken).last(ORIGIN)
    assert head.size < parted.ledger.size


def test_it_wants_its_memory(parted: Any) -> None:
    (head,) = parted.taken.glob("*.head")
    head.unlink()
    done = run("serve", str(parted.taken), "--socket", str(parted.socket))
    assert done.returncode == 2 and "memory" in done.stderr


def test_two_signers_on_one_state_are_one_too_many(parted: Any) -> None:
    parted.start()
    done = run("serve", str(parted.taken), "--socket", str(parted.socket) + "2")
    assert done.returncode == 1 and "another signer runs" in done.stderr


def test_sigterm_ends_it_cleanly(parted: Any) -> None:
    process = parted.start()
    process.process.send_signal(signal.SIGTERM)
    assert process.process.wait(PATIENCE) == 0


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to be somebody else: wrong peer not tried")
def test_only_the_accounts_that_were_named_may_ask(parted: Any, message: Any) -> None:
    parted.start("--allow", "12345")  # nobody here
    parted.reopen()
    parted.write(message(1))
    with pytest.raises(SignerAwayError, match="signer_not_permitted"):
        parted.ledger.checkpoint()
    # the control: the same question by the account that was named
    parted.socket.chmod(0o666)
    for folder in (parted.socket.parent, *parted.socket.parents[1:4]):
        folder.chmod(folder.stat().st_mode | 0o011)
    program = (
        "import os\n"
        "from pathlib import Path\n"
        "from umbridge_audit.remote import RemoteHand\n"
        "os.setgid(12345); os.setuid(12345)\n"
        f"print(RemoteHand(Path({str(parted.socket)!r}), 30.0).last({ORIGIN!r}).size)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.stdout.strip() == str(parted.ledger.anchored), done.stderr


# --- the rules, without the socket ---------------------------------------------------------------------


@pytest.fixture
def talk(full_lab: Any, tmp_path: Path) -> tuple[Conversation, list[str], Any]:
    """A conversation with a signer that has signed half of a ledger's checkpoints."""
    keys = tmp_path / "keys"
    shutil.copytree(full_lab.keys, keys)
    for path in keys.glob("*.head"):
        path.unlink()
    hand = LocalHand(keys)
    leaves = [full_lab.ledger.record(n).leaf for n in range(full_lab.ledger.size)]
    tree = Frontier()
    tree.extend([leaf_hash(leaf) for leaf in leaves[:5]])
    key = hand.public()[0]
    hand.sign(ORIGIN, key, Frontier(), tree, lambda _a, _b: iter(()))
    return Conversation(hand, ORIGIN, deque()), [leaf.decode() for leaf in leaves], hand


def b64(raw: bytes) -> str:
    from base64 import b64encode

    return b64encode(raw).decode()


def frames(leaves: list[str], hand: Any, low: int = 5, high: int = 9) -> list[dict[str, Any]]:
    old, new = Frontier(), Frontier()
    old.extend([leaf_hash(leaf.encode()) for leaf in leaves[:low]])
    new.extend([leaf_hash(leaf.encode()) for leaf in leaves[:high]])
    key = b64(hand.public()[0])
    return [
        {"op": "from", "origin": ORIGIN, "size": low, "peaks": [b64(peak) for peak in old._stack]},
        {"op": "leaves", "leaves": leaves[low:high]},
        {"op": "sign", "key": key, "size": high, "root": b64(new.root())},
    ]


def test_what_continues_is_signed_and_may_be_signed_again(talk: Any) -> None:
    one, leaves, hand = talk
    first = [one.answer(frame) for frame in frames(leaves, hand)]
    assert first[-1]["note"] == one.answer(frames(leaves, hand)[-1])["note"]
    again = Conversation(hand, ORIGIN, deque())
    assert "note" in [again.answer(frame) for frame in frames(leaves, hand, 9, 12)][-1]
    assert hand.last(ORIGIN).size == 12


@pytest.mark.parametrize(
    ("change", "error"),
    [
        (lambda f: f[0].update(size=4), "request"),  # as many peaks as another size has
        (lambda f: f[0].update(size=6), "not_the_last_head"),
        (lambda f: f[0].update(origin="umbridge.other/adt-1/1"), "another_ledger"),
        (lambda f: f[0].update(peaks=[b64(bytes(32))] * 2), "not_the_last_head"),
        (lambda f: f[0].update(size=0, peaks=[]), "not_the_last_head"),  # back to the beginning
        (lambda f: f[1].update(leaves=f[1]["leaves"][1:]), "not_the_next_entry"),
        (lambda f: f[1].update(leaves=f[1]["leaves"][::-1]), "not_the_next_entry"),
        (lambda f: f[1].update(leaves=[f[1]["leaves"][0], f[1]["leaves"][0]]), "not_the_next_entry"),
        (lambda f: f[1].update(leaves=["{}"]), "request"),
        (lambda f: f[1].update(leaves=[5]), "request"),
        (lambda f: f[1].update(leaves=f[1]["leaves"][:1] * 257), "request"),
        (lambda f: f[1].update(leaves=f[1]["leaves"][:2]), "another_root"),
        (lambda f: f[2].update(root=b64(bytes(32))), "another_root"),
        (lambda f: f[2].update(size=5), "another_root"),
        (lambda f: f[2].update(key=b64(bytes(32))), "refused"),
        (lambda f: f[2].update(more=1), "request"),
    ],
)
def test_all_else_is_refused_and_nothing_is_remembered(talk: Any, change: Any, error: str) -> None:
    one, leaves, hand = talk
    asked = frames(leaves, hand)
    change(asked)
    said = [one.answer(frame) for frame in asked]
    errors = [answer["error"] for answer in said if "error" in answer]
    assert errors and errors[0] == error, said
    assert not any("note" in answer for answer in said)
    assert hand.last(ORIGIN).size == 5
    assert "note" in [one.answer(frame) for frame in frames(leaves, hand)][-1]  # the control


def test_a_leaf_that_was_altered_gives_another_root(talk: Any) -> None:
    """The signer hashes the leaves itself: what it signs is what it was shown."""
    one, leaves, hand = talk
    asked = frames(leaves, hand)
    text = asked[1]["leaves"][-1]
    at = text.index('"fields":"') + 10
    asked[1]["leaves"] = [
        *asked[1]["leaves"][:-1],
        text[:at] + ("0" if text[at] != "0" else "1") + text[at + 1 :],
    ]
    assert [one.answer(frame) for frame in asked][-1] == {"error": "another_root"}


def test_too_many_signatures_a_second_are_put_off(talk: Any) -> None:
    _, leaves, hand = talk
    clock: deque[float] = deque([time.monotonic() + 1000.0] * (PER_SECOND - 1))
    one = Conversation(hand, ORIGIN, clock)
    said = [one.answer(frame) for frame in frames(leaves, hand)]
    assert "note" in said[-1]
    assert one.answer(frames(leaves, hand)[-1]) == {"error": "busy"}


anything = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)
ops = st.sampled_from(["hello", "from", "leaves", "sign", "prepare", "hand_over", "adopt", "x"])
names = st.sampled_from(["origin", "size", "peaks", "leaves", "key", "root", "at", "to", "more"])


def test_any_question_has_an_answer(talk: Any) -> None:
    one, _, hand = talk

    @settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
    @given(ops, st.dictionaries(names, anything | st.just(ORIGIN) | st.just([]), max_size=5))
    def check(op: str, more: dict[str, Any]) -> None:
        said = one.answer({**more, "op": op})
        assert isinstance(said, dict) and "note" not in said
        assert all(type(text) is str for text in said if "error" in said)

    key = hand.public()[0]
    check()
    assert hand.last(ORIGIN).size == 5 and hand.public()[0] == key


def test_any_bytes_are_a_frame_or_a_fault(tmp_path: Path) -> None:
    @settings(max_examples=60, deadline=None)
    @given(st.binary(max_size=60) | st.binary(max_size=30).map(lambda b: len(b).to_bytes(4, "big") + b))
    def check(raw: bytes) -> None:
        here, there = socket.socketpair()
        with here, there:
            there.sendall(raw)
            there.shutdown(socket.SHUT_WR)
            try:
                found = read_frame(here)
            except ValueError:  # FormatError is one
                return
            assert (found is None) == (not raw) and (found is None or isinstance(found, dict))

    check()
    here, there = socket.socketpair()
    with here, there:
        there.sendall((MAX_FRAME + 1).to_bytes(4, "big"))
        with pytest.raises(ValueError, match="too long"):
            read_frame(here)
        with pytest.raises(ValueError, match="too long"):
            send_frame(here, {"op": "x" * MAX_FRAME})


@pytest.mark.parametrize("answer", [b"", b"\0\0\0\2{}", b"\0\0\0\2[]", b"\0\0\0\1x", b"\xff" * 9, b"\0\0"])
def test_a_signer_that_talks_nonsense_is_away(tmp_path: Path, answer: bytes) -> None:
    import threading

    path = tmp_path / "s"
    with socket.socket(socket.AF_UNIX) as door:
        door.bind(str(path))
        door.listen()

        def serve() -> None:
            peer, _ = door.accept()
            with peer:
                read_frame(peer)
                peer.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        with pytest.raises(SignerAwayError):
            RemoteHand(path, 30.0).public()
        thread.join()


def test_a_signer_that_signs_with_another_key_is_no_signer(parted: Any, message: Any) -> None:
    """Whoever answers at the socket: a note by a key that is not the ledger's is not taken."""
    parted.start()
    parted.reopen()
    parted.write(message(1))
    due = parted.ledger.due()
    real = parted.ledger._signer.hand
    note = parted.ledger._signer.sign(parted.ledger, due.old, due.new)

    class Forger(RemoteHand):
        def sign(self, *_: Any) -> str:
            return str(note.replace("genhosp", "genhasp"))

    parted.ledger._signer.hand = Forger(parted.socket)
    with pytest.raises(Broken, match="not by the key in force"):
        parted.ledger.note(due)
    parted.ledger._signer.hand = real
    parted.ledger.keep(due, parted.ledger.note(due))
    assert parted.verify().verdict == "PASS"
    assert head_of(ORIGIN, due.new) == LocalHand(parted.taken).last(ORIGIN)
    assert json.loads(next(parted.taken.glob("*.head")).read_text())["size"] == due.new.size

"""Killed at every write, sync and rename of an append, a checkpoint and each rotation.

Each time what was promised is there, the ledger opens, goes on and verifies in full. Every case has a planted
bug that must be seen. ``UMBRIDGE_FAULTS=1`` also tears each write in the middle.
"""

from __future__ import annotations

import os
import shutil
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from umbridge_audit.entry import Draft, parse_leaf
from umbridge_audit.handover import Handover
from umbridge_audit.keys import Keyring
from umbridge_audit.policy import Policy
from umbridge_audit.rotate import handover, rotate_data, rotate_kek, rotate_signing, settle
from umbridge_audit.store import transaction

AT = datetime.now(UTC)
TORN = os.environ.get("UMBRIDGE_FAULTS") == "1"
Promise = Callable[[str], None]


@pytest.fixture
def start(lab: Any, message: Any, determination: Any) -> Any:
    """A ledger as the daemon keeps it, closed: WAL, every commit synced, something sealed in it."""
    pragmas(lab)
    lab.write(message(1), determination(1))
    lab.ledger.checkpoint()
    note(lab)([], lab.keyring.provider.kek_id)
    lab.write(message(2))
    lab.close()
    return lab


def pragmas(lab: Any) -> None:
    raw = lab.connection
    raw.execute("PRAGMA journal_mode=wal")
    raw.execute("PRAGMA synchronous=FULL")


def note(lab: Any) -> Any:
    """The store's note of the key-encryption key, in the transaction of the entries: see test_rotate."""

    def commit(drafts: Any, kek: str) -> None:
        lab.keyring.take_up()
        with transaction(lab.connection):
            if drafts:
                lab.ledger.append(drafts)
            lab.connection.execute("CREATE TABLE IF NOT EXISTS note (kek TEXT)")
            lab.connection.execute("DELETE FROM note")
            lab.connection.execute("INSERT INTO note VALUES (?)", (kek,))

    return commit


def opened(start: Any, folder: Path) -> Any:
    """A copy, taken up."""
    shutil.copytree(start.folder, folder)
    twin = type(start)(folder)
    twin.policy = start.policy
    twin.reopen()
    pragmas(twin)
    return twin


# --- what is done, and what is promised when it returns -----------------------------------------------


def append(twin: Any, promise: Promise) -> None:
    for n in range(3):
        receipt = twin.write(*(entry(10 * n + k) for k in range(3)))[-1]
        promise(f"entry:{receipt.seq}:{receipt.leaf_hash.hex()}")


def checkpoint(twin: Any, promise: Promise) -> None:
    for n in range(2):
        twin.write(entry(n))
        twin.ledger.checkpoint()
        promise(f"signed:{twin.ledger.anchored}")


def kek(twin: Any, promise: Promise) -> None:
    promise(f"kek:{rotate_kek(twin.keyring, note(twin), actor='zz', passphrase=None)}")


def data(twin: Any, promise: Promise) -> None:
    made = rotate_data(twin.keyring, note(twin), ["clin", "ops"], actor="zz", at=AT)
    receipt = twin.write(entry(5))[0]
    promise(f"kid:{made[-1]}")
    promise(f"entry:{receipt.seq}:{receipt.leaf_hash.hex()}")
    assert made[-1] in [part.kid for part in parse_leaf(twin.ledger.record(receipt.seq).leaf).parts]


def signing(twin: Any, promise: Promise) -> None:
    made = rotate_signing(twin.ledger, handing(twin))
    promise(f"key:{made.after}")
    twin.write(entry(5))
    twin.ledger.checkpoint()
    promise(f"signed:{twin.ledger.anchored}")


def handing(twin: Any) -> Any:
    def commit(key: bytes) -> Handover:
        with transaction(twin.connection):
            twin.ledger.append([])
            made, draft = handover(twin.ledger, twin.ledger.size, key, "zz")
            twin.ledger.append([draft])
        return made

    return commit


def entry(n: int) -> Draft:
    return Draft(
        "message.received", {"actor": "umbridge", "feed": "adt", "row": n, "control_id": f"ZZTEST{n}"}
    )


# --- what must hold afterwards ------------------------------------------------------------------------


def hold(start: Any, folder: Path, promised: list[str]) -> None:
    """Opens what a crash left, holds it to what was promised, goes on, verifies."""
    twin = type(start)(folder)
    try:
        twin.policy = start.policy
        twin.reopen()
        pragmas(twin)
        anchored = twin.ledger.anchored
        with transaction(twin.connection):
            said = twin.connection.execute("SELECT kek FROM note").fetchone()[0]
        assert twin.keyring.provider.kek_id in (said, first_kek(start)), "in force and not on the ledger"
        settle(twin.keyring, note(twin), said)
        for word in promised:
            what, _, rest = word.partition(":")
            if what == "entry":
                seq, _, hashed = rest.partition(":")
                from umbridge_audit.tree import leaf_hash

                assert leaf_hash(twin.ledger.record(int(seq)).leaf).hex() == hashed, word
            elif what == "signed":
                assert anchored >= int(rest), word
            elif what == "kek":
                assert twin.keyring.provider.kek_id == rest, word
            elif what == "kid":
                assert rest in [r.kid for r in twin.keyring.records()] and twin.keyring.is_current(rest), word
            elif what == "key":
                assert str(twin.ledger.vkey) == rest, word
        twin.write(entry(99))
        twin.ledger.checkpoint()
        twin.reopen()
        policy = Policy.read(twin.ledger.policy_text())
        assert policy.continues(start.policy)
        report = twin.verify("full", policy=policy)
        assert (report.verdict, report.unanchored) == ("PASS", 0), report.problems
        seq = next(row["seq"] for row in twin.ledger.open_slots() if row["kind"] == "determination")
        assert twin.ledger.reveal(seq)["clin"]["outcome"] == "MEETS"
        Keyring.open(twin.keys)
    finally:
        twin.close()


def first_kek(start: Any) -> str:
    return str(Keyring.open(start.keys).provider.kek_id)


CASES: dict[str, tuple[Any, int]] = {  # with the fewest changes of the disk that there can be
    "append": (append, 6),
    "checkpoint": (checkpoint, 20),
    "kek": (kek, 15),
    "data": (data, 15),
    "signing": (signing, 20),
}


@pytest.mark.parametrize("case", CASES)
def test_killed_at_every_change_of_the_disk(start: Any, dying: ModuleType, tmp_path: Path, case: str) -> None:
    work, least = CASES[case]
    for torn in (False, True) if TORN else (False,):
        died = Counter[str]()
        promises = set[int]()
        for nth in range(1, 400):
            folder = tmp_path / "twin"
            twin = opened(start, folder)
            promised, at = dying.run(lambda promise, twin=twin: work(twin, promise), nth, torn=torn)
            twin.close()
            try:
                hold(start, folder, promised)
            except BaseException as exc:
                raise AssertionError(f"{case}: change {nth} ({at or 'none'}), torn={torn}: {exc}") from exc
            shutil.rmtree(folder)
            promises.add(len(promised))
            if not at:
                break
            died[at] += 1
        else:
            pytest.fail("it never got through")
        assert died.total() >= least and died["fdatasync"] + died["fsync"] and died["pwrite64"], died
        assert case in ("append",) or case == "checkpoint" or died["rename"], died
        assert promises >= {0, max(promises)} and max(promises), promises
        print(f"{case}{' torn' if torn else ''}: {died.total()} deaths: {dict(died)}")


# --- the planted bugs ---------------------------------------------------------------------------------


def answers_early(twin: Any, promise: Promise) -> None:
    with transaction(twin.connection):
        receipt = twin.ledger.append([entry(1)])[0]
        promise(f"entry:{receipt.seq}:{receipt.leaf_hash.hex()}")


def anchors_early(twin: Any, promise: Promise) -> None:
    from umbridge_audit.checkpoint import append_anchor

    twin.write(entry(1))
    due = twin.ledger.due()
    said = twin.ledger.note(due)
    append_anchor(twin.anchor, said)
    twin.ledger._commit(
        ("INSERT INTO ledger_checkpoint (n, note) VALUES (?, ?)", (twin.ledger._checkpoints, said))
    )


def wraps_early(twin: Any, promise: Promise) -> None:
    new = twin.keyring.prepare(None)
    twin.keyring.adopt()
    note(twin)([], new)
    promise(f"kek:{new}")


def keeps_nothing(twin: Any, promise: Promise) -> None:
    twin.keyring._write = lambda _records: None
    data(twin, promise)


def adopts_early(twin: Any, promise: Promise) -> None:
    hand = twin.ledger.signs
    new = hand.prepare()
    with transaction(twin.connection):
        twin.ledger.append([])
        _, draft = handover(twin.ledger, twin.ledger.size, new, "zz")
        hand.adopt(new)
        twin.ledger.append([draft])


BUGS = {
    "append": answers_early,
    "checkpoint": anchors_early,
    "kek": wraps_early,
    "data": keeps_nothing,
    "signing": adopts_early,
}


@pytest.mark.parametrize("case", BUGS)
def test_the_planted_bug_is_seen(start: Any, dying: ModuleType, tmp_path: Path, case: str) -> None:
    assert set(BUGS) == set(CASES)
    for nth in range(1, 60):
        folder = tmp_path / "twin"
        twin = opened(start, folder)
        promised, at = dying.run(lambda promise, twin=twin: BUGS[case](twin, promise), nth)
        twin.close()
        try:
            hold(start, folder, promised)
        except Exception:
            return
        shutil.rmtree(folder)
        assert at, "the planted bug went unseen: the test above proves nothing"

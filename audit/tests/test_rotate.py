"""Rotation: on the ledger, in force, and history untouched; killed anywhere it leaves a store that opens."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from umbridge_audit.entry import Draft, parse_leaf
from umbridge_audit.keys import KeyRefusedError, Keyring
from umbridge_audit.rotate import rotate_data, rotate_kek, settle
from umbridge_audit.store import transaction

AT = datetime.now(UTC)


class Note:
    """What the daemon's store keeps: the id last written, in the transaction of the entries."""

    def __init__(self, lab: Any) -> None:
        self.lab = lab
        with transaction(lab.connection):
            lab.connection.execute("CREATE TABLE IF NOT EXISTS note (kek TEXT)")

    @property
    def said(self) -> str | None:
        with transaction(self.lab.connection):
            row = self.lab.connection.execute("SELECT kek FROM note").fetchone()
        return None if row is None else str(row[0])

    def __call__(self, drafts: Sequence[Draft], kek: str) -> None:
        self.lab.keyring.take_up()  # as the writer does before it numbers anything
        with transaction(self.lab.connection):
            if drafts:
                self.lab.ledger.append(drafts)
            self.lab.connection.execute("DELETE FROM note")
            self.lab.connection.execute("INSERT INTO note VALUES (?)", (kek,))


@pytest.fixture
def filled(lab: Any, message: Any, determination: Any) -> Any:
    lab.write(message(1), determination(1))
    lab.ledger.checkpoint()
    return lab


def entries(lab: Any, kind: str) -> list[dict[str, Any]]:
    return [row for row in lab.ledger.open_slots() if row["kind"] == kind]


def test_a_kek_rotation_wraps_everything_anew_and_changes_no_history(filled: Any, canaries: Any) -> None:
    note = Note(filled)
    rows = filled.value("SELECT group_concat(hex(leaf)) FROM ledger_entry")
    sealed = filled.keyring.seal("raw", b"ZZTEST", b"", AT)
    old = filled.keyring.provider.kek_id
    kids = {r.kid: r.wrapped for r in filled.keyring.records()}
    new = rotate_kek(filled.keyring, note, actor="zz", passphrase=None)
    assert new != old and note.said == new
    assert filled.value("SELECT group_concat(hex(leaf)) FROM ledger_entry").startswith(rows)
    now = {r.kid: r for r in filled.keyring.records()}
    assert set(now) == set(kids) and all(r.wrapped != kids[r.kid] and r.kek_id == new for r in now.values())
    said = entries(filled, "key.rotate")
    assert {(e["kid"], e["kek"], e["actor"]) for e in said} == {(kid, new, "zz") for kid in kids}
    left = {p.name for p in filled.keys.iterdir() if not p.name.endswith(".head")}  # the signer's own
    assert left == {"kek", "keystore.json", "log.key"}
    filled.ledger.checkpoint()
    filled.reopen()
    assert filled.keyring.unseal("raw", sealed, b"") == b"ZZTEST"
    (seq,) = (row["seq"] for row in entries(filled, "determination"))
    assert filled.ledger.reveal(seq)["ident"]["mrn"] == canaries[0]
    assert filled.verify("full").verdict == "PASS"


def test_a_reader_opened_before_goes_on_reading(filled: Any) -> None:
    reader = Keyring.open(filled.keys)
    kid = filled.keyring.dek("clin", AT)[0]
    rotate_kek(filled.keyring, Note(filled), actor="zz", passphrase=None)
    assert reader.cipher(kid)
    assert reader.commit(kid) == filled.keyring.commit(kid)


def test_new_data_keys_are_used_at_once_and_the_old_still_open(filled: Any, determination: Any) -> None:
    before = {c: filled.keyring.dek(c, AT)[0] for c in ("clin", "ident")}
    asked = filled.keyring.renew("fin", AT)
    assert (
        filled.keyring.waits and filled.keyring.dek("fin", AT)[0] != asked.kid
    )  # nothing moves under the writer
    made = rotate_data(filled.keyring, Note(filled), ["clin"], actor="zz", at=AT)
    assert filled.keyring.dek("clin", AT)[0] == made[0] != before["clin"]
    assert filled.keyring.dek("ident", AT)[0] == before["ident"]
    (receipt,) = filled.write(determination(2))
    kids = [part.kid for part in parse_leaf(filled.ledger.record(receipt.seq).leaf).parts]
    assert made[0] in kids and before["ident"] in kids
    filled.ledger.checkpoint()
    filled.reopen()
    assert filled.keyring.dek("clin", AT)[0] == made[0]  # the newest of a month, after a start too
    report = filled.verify("full")
    assert report.verdict == "PASS", report.problems
    (said,) = entries(filled, "key.rotate")
    assert said["kid"] == made[0]
    assert filled.keyring.dek("fin", AT)[0] == asked.kid


def test_to_a_passphrase_and_back(filled: Any) -> None:
    note, words = Note(filled), b"ZZTEST long enough"
    with pytest.raises(KeyRefusedError, match="12 characters"):
        rotate_kek(filled.keyring, note, actor="zz", passphrase=b"short")
    assert entries(filled, "key.rotate") == []
    new = rotate_kek(filled.keyring, note, actor="zz", passphrase=words)
    with pytest.raises(KeyRefusedError, match=new):
        Keyring.open(filled.keys)
    ring = Keyring.open(filled.keys, lambda: words)
    assert ring.provider.kind == "passphrase"
    rotate_kek(ring, note, actor="zz", passphrase=None)
    assert Keyring.open(filled.keys).provider.kind == "file"


def test_an_older_copy_of_the_keys_is_put_on_the_ledger(filled: Any) -> None:
    note = Note(filled)
    old = {p: p.read_bytes() for p in filled.keys.iterdir()}
    rotate_kek(filled.keyring, note, actor="zz", passphrase=None)
    for path, raw in old.items():
        path.write_bytes(raw)
    ring = Keyring.open(filled.keys)
    settle(ring, note, note.said)
    assert note.said == ring.provider.kek_id
    assert entries(filled, "key.rotate")[-1]["kek"] == ring.provider.kek_id


def killed_at(filled: Any, step: int, *, planted_bug: bool = False) -> bool:
    """Rotates in a child that dies at the ``step``-th call to the disk; False when it got through."""
    pid = os.fork()
    if pid:
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 9
    count = 0

    def dying(call: Any) -> Any:
        def one(*args: Any, **more: Any) -> Any:
            nonlocal count
            count += 1
            if count == step:
                os._exit(9)
            return call(*args, **more)

        return one

    for name in ("open", "fsync", "rename", "replace", "unlink"):
        setattr(os, name, dying(getattr(os, name)))
    sys.setrecursionlimit(1000)
    try:
        if planted_bug:  # in force before the ledger knows
            new = filled.keyring.prepare(None)
            filled.keyring.adopt()
            Note(filled)([], new)
        else:
            rotate_kek(filled.keyring, Note(filled), actor="zz", passphrase=None)
    finally:
        os._exit(0)


def test_killed_at_every_step_it_opens_verifies_and_is_on_the_ledger(
    filled: Any, tmp_path: Path, message: Any
) -> None:
    Note(filled)([], filled.keyring.provider.kek_id)
    filled.close()
    seen: set[tuple[bool, bool]] = set()
    for step in range(1, 60):
        folder = tmp_path / f"k{step}"
        shutil.copytree(filled.folder, folder)
        twin = type(filled)(folder)
        twin.policy = filled.policy
        twin.reopen()
        before = twin.keyring.provider.kek_id
        died = killed_at(twin, step)
        twin.reopen()  # whatever was left on the disk
        note = Note(twin)
        in_force, said = twin.keyring.provider.kek_id, note.said
        assert in_force in {before, said}, f"step {step}: in force and not on the ledger"
        seen.add((in_force != before, said != before))
        settle(twin.keyring, note, note.said)
        twin.write(message(7))
        twin.ledger.checkpoint()
        twin.reopen()
        assert note.said == twin.keyring.provider.kek_id
        assert {e["kek"] for e in entries(twin, "key.rotate")} <= {note.said}
        report = twin.verify("full")
        assert report.verdict == "PASS", (step, report.problems)
        assert not twin.keys.joinpath("kek.next").exists() or note.said == before
        twin.close()
        if not died:
            break
    else:
        pytest.fail("the rotation never got through")
    assert step > 8 and seen == {(False, False), (False, True), (True, True)}


def test_the_planted_bug_is_seen(filled: Any) -> None:
    """A rotation that is in force before it is on the ledger leaves what the test above forbids."""
    Note(filled)([], filled.keyring.provider.kek_id)
    before = filled.keyring.provider.kek_id
    found = False
    for step in range(1, 60):
        if not killed_at(filled, step, planted_bug=True):
            break
        held = Keyring.open(filled.keys).provider.kek_id
        found |= held not in (before, Note(filled).said)
    assert found

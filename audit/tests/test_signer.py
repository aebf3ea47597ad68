"""The signer's memory beside its key: what store and anchor cannot undo together."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from umbridge_audit.store import Broken, Rollback


def test_a14_store_and_anchor_put_back_together_are_refused(lab: Any, message: Any, tmp_path: Path) -> None:
    lab.write(message(1))
    lab.ledger.checkpoint()
    old = tmp_path / "old"
    shutil.copytree(lab.folder, old)
    lab.write(message(2))
    lab.ledger.checkpoint()
    lab.reopen()  # the control: as it is, it opens
    lab.close()
    for part in ("store", "anchor"):
        shutil.rmtree(lab.folder / part)
        shutil.copytree(old / part, lab.folder / part)
    assert lab.verify().verdict == "PASS"  # a whole and older ledger: only memory tells
    with pytest.raises(Rollback, match="were signed here"):
        lab.reopen()
    lab.connection.close()
    shutil.rmtree(lab.folder / "keys")
    shutil.copytree(old / "keys", lab.folder / "keys")
    lab.reopen()  # and with the memory gone too only a witness is left
    lab.close()


def test_a16_another_history_is_not_signed(lab: Any, message: Any, tmp_path: Path) -> None:
    fork = lab.copy(tmp_path / "fork")
    lab.write(message(1))
    lab.ledger.checkpoint()
    fork.reopen()
    fork.write(message(2))
    fork.ledger.checkpoint()
    fork.close()
    (head,) = lab.keys.glob("*.head")
    shutil.copy(head, fork.keys / head.name)
    with pytest.raises(Rollback):
        fork.reopen()
    fork.connection.close()


def test_a_crash_between_the_memory_and_the_row_is_mended(lab: Any, message: Any) -> None:
    lab.write(message(1))
    due = lab.ledger.due()
    assert due is not None
    lab.ledger.note(due)  # and then the power went
    size = lab.ledger.size
    lab.reopen()
    assert lab.ledger.size == size and lab.ledger.unanchored > 0
    lab.write(message(2))
    lab.ledger.checkpoint()
    assert lab.verify("full").verdict == "PASS"
    lab.reopen()


def test_a_signer_that_is_used_elsewhere_signs_nothing_here(lab: Any, message: Any, tmp_path: Path) -> None:
    twin = lab.copy(tmp_path / "twin")
    twin.reopen()
    twin.write(message(1))
    twin.ledger.checkpoint()
    twin.close()
    (head,) = twin.keys.glob("*.head")
    shutil.copy(head, lab.keys / head.name)
    lab.write(message(2))
    with pytest.raises(Broken, match="signed something else"):
        lab.ledger.checkpoint()
    (lab.keys / head.name).write_bytes(b"{}")
    with pytest.raises(Broken, match="not a head"):
        lab.ledger.checkpoint()


def test_a_ledger_from_before_there_was_a_memory_gets_one(lab: Any, message: Any) -> None:
    (head,) = lab.keys.glob("*.head")
    head.unlink()
    lab.reopen()
    assert head.exists()
    lab.write(message(1))
    lab.ledger.checkpoint()
    assert lab.verify().verdict == "PASS"

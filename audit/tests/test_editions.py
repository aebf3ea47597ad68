"""Two lists of one kind in one ledger: what was written before is read and verified by its own list."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from breaking import opened
from umbridge_audit.entry import Draft
from umbridge_audit.slots import BY_NAME, SCHEMAS

SAID = {"actor": "plugin:zztest", "state": "screened", "row": 7, "plugin": "zztest", "outcome": "MEETS"}
SINCE = {"rules": "2026.1", "closes": False, "hold": ["AGE_ONLY"], "judged_at": "2026-02-17T12:00:00-05:00"}


@pytest.fixture
def mixed(full_lab: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The table's ledger (22 entries), gone on with by both: 22 is of the first list, 23 of the second."""
    lab = full_lab.copy(tmp_path / "mixed")
    lab.reopen()
    with monkeypatch.context() as before:
        before.setitem(SCHEMAS, "determination", BY_NAME["determination/1"])
        lab.write(Draft("determination", dict(SAID)))
    lab.write(Draft("determination", {**SAID, **SINCE}))
    lab.ledger.checkpoint()
    return lab


@pytest.mark.parametrize("level", ["spine", "keyless", "full"])
def test_a_ledger_with_both_lists_is_verified(mixed: Any, level: Any) -> None:
    report = mixed.verify(level)
    assert (report.verdict, report.problems, report.not_judged) == ("PASS", [], {})


def test_both_are_read_and_listed_as_one_kind(mixed: Any) -> None:
    listed = list(mixed.ledger.open_slots(22, kinds=("determination",)))
    assert [(row["seq"], row["kind"], row["schema"]) for row in listed] == [
        (22, "determination", "determination/1"),
        (23, "determination", "determination/2"),
    ]
    old, new = mixed.ledger.reveal(22)["clin"], mixed.ledger.reveal(23)["clin"]
    assert (old["outcome"], new["outcome"]) == ("MEETS", "MEETS")
    assert "hold" not in old and new["hold"] == ["AGE_ONLY"]


@pytest.mark.parametrize(("seq", "old", "new"), [(22, "1", "2"), (23, "2", "1")])
@pytest.mark.parametrize("level", ["keyless", "full"])
def test_one_list_cannot_pose_as_the_other(mixed: Any, seq: int, old: str, new: str, level: Any) -> None:
    opened(seq, f"determination/{old}".encode(), f"determination/{new}".encode())(mixed)
    report = mixed.verify(level)
    assert (report.verdict, report.first_bad_seq) == ("FAIL", seq)


@pytest.mark.parametrize("level", ["spine", "keyless", "full"])
def test_changes_of_reviews_by_both_lists_stand_in_one_ledger(
    full_lab: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, level: Any
) -> None:
    lab = full_lab.copy(tmp_path / "changes")
    lab.reopen()
    said: dict[str, Any] = {"actor": "umbridge", "state": "open", "row": 7, "review_id": "ADMISSION-2"}
    with monkeypatch.context() as before:
        before.setitem(SCHEMAS, "review.changed", BY_NAME["review.changed/1"])
        lab.write(Draft("review.changed", dict(said)))
    lab.write(Draft("review.changed", {**said, "reason": "FACT_CORRECTED"}))
    lab.ledger.checkpoint()
    report = lab.verify(level)
    assert (report.verdict, report.problems, report.not_judged) == ("PASS", [], {})
    listed = list(lab.ledger.open_slots(22, kinds=("review.changed",)))
    assert [row["schema"] for row in listed] == ["review.changed/1", "review.changed/2"]
    shown = [lab.ledger.reveal(row["seq"])["ops"].get("reason") for row in listed]
    assert shown == [None, "FACT_CORRECTED"]
    opened(22, b"review.changed/1", b"review.changed/2")(lab)
    if level != "spine":
        assert (lab.verify(level).verdict, lab.verify(level).first_bad_seq) == ("FAIL", 22)


def test_a_list_never_changes() -> None:
    """The first list as it was from 2026-11-22 on, word for word: entries by it are on ledgers for ever."""
    first, second = BY_NAME["determination/1"], BY_NAME["determination/2"]
    assert " ".join(first.names) == (
        "schema ts actor state row control_id message_digest plugin plugin_version subset edition "
        "content_digest review review_id isolation latency_us replay supersedes visit mrn outcome "
        "requested_status requested_level supported episode_day missing rationale evidence basis "
        "advise_higher advise_missing "
        "scores discharge_ready extended_stay_reason as_of payer_class avoidable_day avoidable_attribution "
        "tags sens_rationale sens_evidence"
    )
    assert set(second.slots) - set(first.slots) == {
        *(("content_status", "ops"), ("rules", "ops")),
        *(("judged_at", "clin"), ("closes", "clin"), ("hold", "clin")),
    }
    assert set(first.slots) < set(second.slots)  # each old slot is in its old compartment
    first, second = BY_NAME["review.changed/1"], BY_NAME["review.changed/2"]
    assert " ".join(first.names) == "schema ts actor state row review review_id due visit mrn"
    assert set(second.slots) - set(first.slots) == {("reason", "ops")}

"""Log before you show: the entry first, and nothing at all when it cannot be written."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from umbridge_audit.disclose import NotPermitted, Viewer, disclose, view
from umbridge_audit.redact import REDACTED, AccessTable, Permission
from umbridge_audit.store import open_readonly

TABLE = AccessTable.load()


def viewer(*roles: str) -> Viewer:
    return Viewer("zztest-os", "zztest-user", roles, "os-account")


def ask(lab: Any, who: Viewer, purpose: str, produce: Any, **more: Any) -> Any:
    arguments: dict[str, Any] = {
        "reason": "",
        "kind": "read",
        "query": "entry 11",
        "patient": None,
        "count": 1,
    }
    return disclose(lab.commit, TABLE, who, purpose=purpose, produce=produce, **arguments | more)


def test_the_entry_is_durable_before_anything_is_produced(lab: Any, determination: Any) -> None:
    (wanted,) = lab.write(determination(1))

    def produce(permission: Permission) -> dict[str, Any]:
        with open_readonly(lab.db) as other:  # another connection: what is committed, not what is pending
            rows = list(other.open_slots(kinds=["access.read"]))
        assert [(row["actor"], row["outcome"]) for row in rows] == [("zztest-user", "allowed")]
        return view(lab.ledger, permission, wanted.seq)

    receipt, page = ask(lab, viewer("billing"), "HPAYMT", produce, reason="claim", patient="ZZTEST")
    slots = page["slots"]
    assert (
        slots["outcome"] == "MEETS"
        and slots["rationale"] == REDACTED
        and slots["payer_class"] == "MEDICARE_FFS"
    )
    assert "mrn" not in slots and "tags" not in slots and "latency_us" not in slots
    said = lab.ledger.reveal(receipt.seq)
    assert said["ops"]["purpose"] == "HPAYMT" and said["ops"]["policy_hash"] == TABLE.hash
    assert said["ops"]["roles"] == ["billing"] and said["ops"]["reason"] == "claim"
    assert said["ident"]["patient"] == "ZZTEST" and "clin:as_of" in str(said["ops"]["revealed"])


@pytest.mark.parametrize(
    ("roles", "purpose"),
    [
        ((), "HPAYMT"),
        (("billing",), "TREAT"),
        (("administrator",), "HCOMPL"),
        (("ur_nurse",), "BTG"),
        (("x",), ""),
    ],
)
def test_refusals_are_recorded_and_produce_nothing(lab: Any, roles: tuple[str, ...], purpose: str) -> None:
    with pytest.raises(NotPermitted, match="not permitted") as caught:
        ask(lab, viewer(*roles), purpose, lambda _: pytest.fail("produced"))
    assert isinstance(caught.value, PermissionError)
    last = lab.ledger.size - 1
    assert lab.ledger.reveal(last)["open"]["schema"] == "access.denied/1"
    assert lab.ledger.reveal(last)["ops"]["request"] == "read"


def test_exports_need_the_right_to_export(lab: Any) -> None:
    with pytest.raises(NotPermitted):
        ask(lab, viewer("ur_nurse"), "HPAYMT", lambda _: pytest.fail("produced"), kind="export")
    assert ask(lab, viewer("external_auditor"), "HCOMPL", lambda _: "done", kind="export")[1] == "done"


def test_a56_no_entry_no_plaintext() -> None:
    def full(_draft: Any) -> Any:
        raise OSError("no space left")

    with pytest.raises(OSError, match="space"):
        disclose(
            full,
            TABLE,
            viewer("ur_nurse"),
            purpose="HPAYMT",
            reason="",
            kind="read",
            query="",
            patient=None,
            count=None,
            produce=lambda _: pytest.fail("produced"),
        )


def test_text_that_cannot_be_recorded_is_not_answered(lab: Any) -> None:
    size = lab.ledger.size
    with pytest.raises(ValueError, match="surrogate"):
        ask(lab, viewer("ur_nurse"), "HPAYMT", lambda _: pytest.fail("produced"), query=os.fsdecode(b"\xff"))
    assert lab.ledger.size == size


CHILD = """
import os, signal, sqlite3, sys
from pathlib import Path
from umbridge_audit.disclose import Viewer, disclose, view
from umbridge_audit.keys import Keyring
from umbridge_audit.redact import AccessTable
from umbridge_audit.store import Ledger, transaction
folder, seq, when = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
connection = sqlite3.connect(folder / "store" / "umbridge.db")
ledger = Ledger.open(connection, Keyring.open(folder / "keys"), anchor=folder / "anchor" / "ledger.anchor")
def commit(draft):
    if when == "planted bug":
        return None
    with transaction(connection):
        receipts = ledger.append([draft])
        if when == "before commit":
            os.kill(os.getpid(), signal.SIGKILL)
    return receipts[0]
def produce(permission):
    print(view(ledger, permission, seq)["slots"]["rationale"], flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
disclose(commit, AccessTable.load(), Viewer("a", "u", ("ur_nurse",), "os"), purpose="HPAYMT", reason="",
         kind="read", query="", patient=None, count=1, produce=produce)
"""


@pytest.mark.parametrize("when", ["before commit", "after", "planted bug"])
def test_a55_killed_in_between(lab: Any, determination: Any, canaries: tuple[str, ...], when: str) -> None:
    (wanted,) = lab.write(determination(1))
    lab.ledger.checkpoint()
    lab.close()
    done = subprocess.run(
        [sys.executable, "-c", CHILD, str(lab.folder), str(wanted.seq), when],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    with open_readonly(lab.db) as source:
        recorded = len(list(source.open_slots(kinds=["access.read"])))
    shown = canaries[2] in done.stdout
    if when == "planted bug":
        assert shown and not recorded  # the control: what the rule forbids, and this test would see
    else:
        assert shown == bool(recorded) == (when == "after")
    assert lab.verify().verdict == "PASS"


def test_view_hides_and_masks(full_lab: Any, canaries: tuple[str, ...]) -> None:
    nurse = view(full_lab.ledger, TABLE.permission(["ur_nurse"], "HPAYMT"), 11)
    assert nurse["kind"] == "determination" and nurse["slots"]["mrn"] == canaries[0]  # type: ignore[index,call-overload]
    assert "tags" not in nurse["slots"]  # type: ignore[operator]
    auditor = view(full_lab.ledger, TABLE.permission(["compliance_auditor"], "HCOMPL"), 11)
    assert not any(canary in repr(auditor) for canary in canaries)
    slots: Any = auditor["slots"]
    # a slot with a value and one without look the same
    assert slots["rationale"] == slots["advise_higher"] == slots["mrn"] == REDACTED and slots["plugin"]
    nobody = view(full_lab.ledger, Permission(), 11)
    assert nobody["slots"] == {} and nobody["kind"] is None and nobody["ts"] is None
    with pytest.raises(LookupError):
        view(full_lab.ledger, Permission(), 1000)


def test_compartments_not_seen_are_not_decrypted(full_lab: Any, tmp_path: Path) -> None:
    """With the clinical key gone, a role that never sees it works on; one that does, fails."""
    import json

    from umbridge_audit.keys import KeyRefusedError, Keyring

    lab = full_lab.copy(tmp_path / "fewer")
    path = lab.keys / "keystore.json"
    store = json.loads(path.read_text())
    store["keys"] = [item for item in store["keys"] if not item["kid"].startswith("clin.")]
    path.write_text(json.dumps(store))
    with open_readonly(lab.db, Keyring.open(lab.keys)) as source:
        assert view(source, TABLE.permission(["administrator"], "HOPERAT"), 11)["slots"]
        with pytest.raises(KeyRefusedError):
            view(source, TABLE.permission(["ur_nurse"], "HPAYMT"), 11)

"""One signing key after another: allowed by the old, pinned by the policy, and seen when forged."""

from __future__ import annotations

from base64 import b64encode
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from click.testing import CliRunner
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st
from umbridge_audit.checkpoint import VerifierKey, read_anchor, sign
from umbridge_audit.cli import main as verify_main
from umbridge_audit.entry import Draft, FormatError
from umbridge_audit.handover import Handover, read_handover, signer_of, statement
from umbridge_audit.keys import KeyRefusedError
from umbridge_audit.policy import Policy
from umbridge_audit.resume import Since
from umbridge_audit.rotate import handover, rotate_signing
from umbridge_audit.signing import KEY, NEXT, LocalHand
from umbridge_audit.store import Broken, open_readonly, transaction
from umbridge_audit.store.history import StoredPast
from umbridge_audit.verify import verify

ORIGIN = "umbridge.genhosp/adt-1/1"


def commit(lab: Any) -> Any:
    """As the writer does it: what is owed first, then the entry, in one transaction."""

    def one(key: bytes) -> Handover:
        with transaction(lab.connection):
            lab.ledger.append([])
            made, draft = handover(lab.ledger, lab.ledger.size, key, "zz")
            lab.ledger.append([draft])
        return made

    return one


def rotate(lab: Any) -> int:
    return int(rotate_signing(lab.ledger, commit(lab)).at)


@pytest.fixture
def handed(lab: Any, message: Any) -> Any:
    """Six entries under the first key, then a second key, then a third; ``policies`` as each was."""
    lab.policies = [lab.policy]
    lab.first = (lab.keys / KEY).read_bytes()
    for n in range(2):
        lab.write(message(10 * n), message(10 * n + 1))
        lab.ledger.checkpoint()
        rotate(lab)
        lab.write(message(10 * n + 2))
        lab.ledger.checkpoint()
        lab.policies.append(Policy.read(lab.ledger.policy_text()))
    lab.policy = lab.policies[-1]
    return lab


def problems(report: Any) -> list[tuple[str, int | None]]:
    return [(p.code, p.seq) for p in report.problems]


@pytest.mark.parametrize("level", ["spine", "keyless", "full"])
@pytest.mark.parametrize("jobs", [1, 2])
def test_the_new_policy_verifies_old_and_new(handed: Any, level: Any, jobs: int, message: Any) -> None:
    report = handed.verify(level, jobs=jobs)
    assert (report.verdict, report.unanchored) == ("PASS", 0), report.problems
    handed.reopen()
    assert [h.at for h in handed.ledger.handovers] == [h.at for h in handed.policy.handovers]
    handed.write(message(99))
    handed.ledger.checkpoint()
    assert handed.verify(level).verdict == "PASS"


def test_the_entry_says_who_and_both_keys(handed: Any) -> None:
    said = [row for row in handed.ledger.open_slots() if row["kind"] == "key.handover"]
    keys = [str(policy.log) for policy in handed.policies]
    assert [(row["before"], row["after"], row["actor"]) for row in said] == [
        (keys[0], keys[1], "zz"),
        (keys[1], keys[2], "zz"),
    ]
    assert len(set(keys)) == 3
    assert not (handed.keys / NEXT).exists()
    assert str(LocalHand(handed.keys).public()[0].hex()) == handed.policy.log.public.hex()


def test_the_oracle_agrees(handed: Any, oracle: ModuleType, spec_text: str) -> None:
    keys = {r.kid: handed.keyring._unwrap(r) for r in handed.keyring.records()}
    assert oracle.ledger(handed.db, handed.policy.text(), spec_text, keys) == handed.ledger.size


def test_an_older_policy_does_not_follow_by_itself(handed: Any) -> None:
    """Keys that only the log names are never used: the auditor is given the new policy, and can check it."""
    for n, policy in enumerate(handed.policies[:-1]):
        report = handed.verify(policy=policy)
        at = handed.policy.handovers[n].at
        assert report.verdict == "FAIL"
        assert ("handover", at) in problems(report) and report.first_bad_seq is not None
        assert report.first_bad_seq <= at
        assert handed.verify("spine", policy=policy).verdict == "FAIL"
        assert handed.policy.continues(policy)
        assert not policy.continues(handed.policy)


def test_a31_a44_each_key_has_its_range(handed: Any, message: Any, tmp_path: Path) -> None:
    """A retired key signs nothing new, and a new one nothing old."""
    first = Ed25519PrivateKey.from_private_bytes(handed.first)
    anchor = read_anchor(handed.anchor)
    policy = handed.policy
    for n, note in enumerate(anchor):
        checkpoint = policy.read_note(note, exact=True)
        mine = sign(checkpoint, first)
        if checkpoint.size <= policy.handovers[0].at:
            assert mine == note and policy.read_note(mine, exact=True) == checkpoint
        else:
            assert n > 1
            with pytest.raises(FormatError):
                policy.read_note(mine, exact=True)
    # the third key on the first key's checkpoint
    third = Ed25519PrivateKey.from_private_bytes((handed.keys / KEY).read_bytes())
    note = sign(policy.read_note(anchor[1], exact=True), third)
    twin = handed.copy(tmp_path / "twin")
    twin.sql(("UPDATE ledger_checkpoint SET note = ? WHERE n = 1", (note,)))
    report = twin.verify(anchored=False)
    assert ("checkpoint_signature", policy.read_note(anchor[0], exact=True).size) in problems(report)


def test_a_handover_that_the_old_key_did_not_sign_is_a_fail(lab: Any, message: Any, tmp_path: Path) -> None:
    """Whoever has the database and a key of their own, and no key of ours."""
    lab.write(message(1))
    mine, other = Ed25519PrivateKey.generate(), Ed25519PrivateKey.generate()
    before, at = lab.policy.log, lab.ledger.size
    after = VerifierKey(ORIGIN, mine.public_key().public_bytes_raw())
    said = statement(at, before, after)
    for signatures in (other.sign(said) + mine.sign(said), mine.sign(said) * 2, bytes(128)):
        bad = Handover(at, before, after, signatures)
        assert not bad.good()
        with pytest.raises(ValueError, match="handover"), transaction(lab.connection):
            lab.ledger.append([Draft("key.handover", bad.values())])
        with pytest.raises(FormatError, match="a handover that the key before it did not sign"):
            Policy.read(Policy(after, lab.policy.genesis, handovers=(bad,)).text())
    # and past the writer's own check, onto the ledger
    lab.ledger._signer.take = lambda _: None
    import umbridge_audit.store.ledger as room

    kept = room.from_entry
    room.from_entry = lambda *_: None  # type: ignore[assignment,return-value]
    try:
        lab.write(Draft("key.handover", bad.values()))
    finally:
        room.from_entry = kept
    with pytest.raises(Broken, match=f"entry {at}: handover"):
        lab.ledger.checkpoint()  # read back before it is signed
    for level in ("keyless", "full"):
        report = lab.verify(level)
        assert (report.verdict, report.first_bad_seq) == ("FAIL", at), report.problems
        assert ("handover", at) in problems(report)


def test_a_handover_taken_away_or_named_twice_is_a_fail(handed: Any) -> None:
    """The policy names one that the log does not show, and the other way round."""
    first, second = handed.policy.handovers
    shorter = replace(handed.policies[0], log=handed.policies[1].log, handovers=(first,))
    assert ("handover", second.at) in problems(handed.verify(policy=shorter))
    key = Ed25519PrivateKey.generate()
    third = Ed25519PrivateKey.from_private_bytes((handed.keys / KEY).read_bytes())
    after = VerifierKey(ORIGIN, key.public_key().public_bytes_raw())
    at = second.at + 1
    said = statement(at, handed.policy.log, after)
    more = Handover(at, handed.policy.log, after, third.sign(said) + key.sign(said))
    longer = Policy.read(Policy(after, handed.policy.genesis, handovers=(first, second, more)).text())
    assert ("handover", at) in problems(handed.verify(policy=longer))


def test_policies_are_read_back_and_refused_when_bent(handed: Any) -> None:
    policy = handed.policy
    assert Policy.read(policy.text()) == replace(policy, handovers=tuple(policy.handovers))
    lines = policy.text().splitlines()
    one, two = (line for line in lines if line.startswith("handover"))
    for bent in (
        [line for line in lines if line != two],
        [two if line == one else one if line == two else line for line in lines],
        [line.replace(f"handover {policy.handovers[0].at} ", "handover 2 ") for line in lines],
        [line.replace("handover ", "handover 0") if line == one else line for line in lines],
        [line + "=" if line == one else line for line in lines],
        [line[:-8] if line == one else line for line in lines],
        [*lines, one],
    ):
        with pytest.raises(FormatError):
            Policy.read("\n".join(bent))
    # well formed, and another ledger's: its first key is not the one that signed here first
    short = Policy.read("\n".join(line for line in lines if line != one))
    assert ("handover", policy.handovers[0].at) in problems(handed.verify(policy=short))
    assert handed.verify("spine", policy=short).verdict == "FAIL"


@settings(max_examples=60, deadline=None)
@given(
    st.integers(), st.none() | st.text(max_size=40), st.none() | st.text(max_size=40), st.text(max_size=40)
)
def test_reading_is_total(at: int, before: Any, after: Any, signatures: Any) -> None:
    with pytest.raises(FormatError):
        read_handover(at, before, after, signatures)


def test_any_changed_byte_of_a_statement_fails(handed: Any) -> None:
    good = handed.policy.handovers[0]
    assert good.good()
    for i in range(0, 128, 7):
        raw = bytearray(good.signatures)
        raw[i] ^= 1
        assert not replace(good, signatures=bytes(raw)).good()
    assert not replace(good, at=good.at + 1).good()
    assert not replace(good, after=good.before).good()
    assert not replace(good, signatures=good.signatures[64:] + good.signatures[:64]).good()
    assert not replace(good, signatures=good.signatures + b"\0").good()
    assert good.signed == b64encode(good.signatures).decode()


def test_an_auditor_holds_the_new_policy_against_the_old(handed: Any, full_lab: Any, tmp_path: Path) -> None:
    names = []
    for n, policy in enumerate([*handed.policies, full_lab.policy]):
        names.append(tmp_path / f"{n}.policy")
        names[-1].write_text(policy.text())

    def run(new: Path, old: Path) -> tuple[int, str]:
        done = CliRunner().invoke(verify_main, [str(new), "--policy", str(old)])
        return done.exit_code, done.output

    for old in names[:3]:
        code, said = run(names[2], old)
        assert (code, "PASS" in said) == (0, True), said
    for new, old in ((names[0], names[2]), (names[3], names[2]), (names[2], names[3])):
        code, said = run(new, old)
        assert (code, "FAIL" in said) == (1, True), said


def test_old_bundles_and_receipts_verify_with_the_new_policy(lab: Any, message: Any, tmp_path: Path) -> None:
    from umbridge_audit.bundle import verify_bundle
    from umbridge_audit.disclose import Viewer
    from umbridge_audit.export import export
    from umbridge_audit.proof import verify_receipt
    from umbridge_audit.redact import AccessTable
    from umbridge_audit.store.receipts import take_receipt

    table = AccessTable.load()
    sees = table.permission(("compliance_auditor",), "HCOMPL")

    def bundle(name: str) -> Path:
        out = tmp_path / name
        export(
            lab.ledger,
            sees,
            table,
            viewer=Viewer("zz", "zz", ("compliance_auditor",), "test"),
            purpose="HCOMPL",
            reason="ZZ",
            profile="role:compliance_auditor",
            out=out,
            commit=lab.commit,
            checkpoint=lab.ledger.checkpoint,
        )
        return out

    def receipt(seq: int) -> str:
        with open_readonly(lab.db) as reader:
            return str(take_receipt(reader, seq, sees))

    lab.write(message(1))
    old, early = bundle("old.jsonl"), receipt(2)
    before = lab.policy
    rotate(lab)
    new = bundle("new.jsonl")
    late = receipt(2)
    after = Policy.read(lab.ledger.policy_text())
    assert verify_bundle(old, before).verdict == verify_bundle(old, after).verdict == "PASS"
    assert verify_bundle(new, after).verdict == "PASS"
    assert problems(verify_bundle(new, before)) == [("checkpoint_signature", None)]
    assert verify_receipt(early, after).verdict == verify_receipt(late, after).verdict == "PASS"
    assert verify_receipt(late, before).verdict == "FAIL"


# --- the writer, taken up again ------------------------------------------------------------------------


def test_old_keys_put_back_are_refused_and_the_one_that_is_due_is_named(lab: Any, message: Any) -> None:
    old = (lab.keys / KEY).read_bytes()
    rotate(lab)
    lab.write(message(1))
    lab.ledger.checkpoint()
    new = (lab.keys / KEY).read_bytes()
    (lab.keys / KEY).write_bytes(old)
    due = Policy.read(lab.ledger.policy_text()).log.key_id.hex()
    before = {p: p.read_bytes() for p in lab.keys.iterdir()}
    with pytest.raises(KeyRefusedError, match=due):
        lab.reopen()
    assert {p: p.read_bytes() for p in lab.keys.iterdir()} == before
    (lab.keys / KEY).write_bytes(new)
    lab.reopen()


def test_a_key_that_waits_and_was_never_logged_is_not_used(lab: Any, message: Any) -> None:
    lab.ledger.signs.prepare()
    lab.reopen()
    assert lab.ledger.handovers == []
    lab.write(message(1))
    lab.ledger.checkpoint()
    assert lab.verify().verdict == "PASS"
    rotate(lab)  # and the next rotation makes its own
    lab.write(message(2))
    lab.ledger.checkpoint()
    lab.policy = Policy.read(lab.ledger.policy_text())
    assert lab.verify("full").verdict == "PASS"
    assert not (lab.keys / NEXT).exists()


def test_logged_and_not_yet_in_force_is_finished_at_the_next_start(lab: Any, message: Any) -> None:
    def dies(key: bytes) -> Handover:
        commit(lab)(key)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        rotate_signing(lab.ledger, dies)
    assert (lab.keys / NEXT).exists()
    lab.reopen()
    assert not (lab.keys / NEXT).exists() and len(lab.ledger.handovers) == 1
    lab.write(message(1))
    lab.ledger.checkpoint()
    lab.policy = Policy.read(lab.ledger.policy_text())
    assert lab.verify("full").verdict == "PASS"
    lab.reopen()


@pytest.mark.parametrize("level", ["spine", "keyless"])
def test_on_from_every_kept_checkpoint_of_either_key(handed: Any, level: Any) -> None:
    kept = read_anchor(handed.anchor)
    for note in kept:
        with open_readonly(handed.db) as source:
            report = verify(
                source,
                handed.policy,
                level=level,
                anchor_notes=kept,
                since=Since(note, StoredPast(source)),
            )
        assert report.verdict == "PASS-SINCE", (note, report.problems)
        with open_readonly(handed.db) as source:
            report = verify(source, handed.policies[0], level=level, since=Since(note, StoredPast(source)))
        assert report.verdict == "FAIL"


def test_whoever_holds_everything_is_betrayed_by_a_receipt(lab: Any, message: Any, tmp_path: Path) -> None:
    """Database, program, signing key, its memory, anchor and encryption keys: all but what was handed out."""
    from umbridge_audit.proof import verify_receipt
    from umbridge_audit.redact import AccessTable
    from umbridge_audit.store.receipts import take_receipt

    twin = lab.copy(tmp_path / "twin")
    (mine,) = lab.write(message(1))
    lab.ledger.checkpoint()
    with open_readonly(lab.db, lab.keyring) as reader:
        receipt = str(take_receipt(reader, mine.seq, AccessTable.load().permission(("it_ops",), "HOPERAT")))
    assert verify_receipt(receipt, lab.policy).verdict == "PASS"
    note = receipt.partition("\n\n")[2]
    twin.reopen()
    twin.write(message(666), message(667), message(668))
    twin.ledger.checkpoint()
    assert twin.verify("full").verdict == "PASS"  # a history of its own, and nothing in it is wrong

    def since(one: Any) -> Any:
        with open_readonly(one.db) as source:
            return verify(source, one.policy, since=Since(note, StoredPast(source)))

    assert since(lab).verdict == "PASS-SINCE"  # the control
    found = since(twin)
    assert found.verdict == "FAIL" and {code for code, _ in problems(found)} & {"kept_root", "kept_ahead"}
    twin.close()


def test_the_range_ends_with_the_entry_before_the_handover(lab: Any) -> None:
    """Size at: the old key's. Size at + 1, which covers the entry: the new one's."""
    lab.ledger.checkpoint()
    old = lab.policy.log
    at = rotate(lab)
    lab.ledger.checkpoint()
    policy = Policy.read(lab.ledger.policy_text())
    sizes = {size: signer_of(size, policy.handovers, policy.log) for size in (at - 1, at, at + 1, at + 2)}
    assert sizes == {at - 1: old, at: old, at + 1: policy.log, at + 2: policy.log}
    checkpoints = [policy.read_note(note, exact=True).size for note in read_anchor(lab.anchor)]
    assert checkpoints[-1] == at + 1
    assert lab.verify(policy=policy).verdict == "PASS"

"""Signed notes and cosignatures against published ones, and the quorum in a verdict."""

# ruff: noqa: E501  notes have the lines they have

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from umbridge_audit.checkpoint import (
    COSIGNATURE,
    Checkpoint,
    VerifierKey,
    read_note,
    signature_line,
    take_apart,
)
from umbridge_audit.cosign import cosign, cosigned_at, cosigners
from umbridge_audit.entry import FormatError
from umbridge_audit.policy import Policy, Witness
from umbridge_audit.store import open_readonly

# The worked example of https://c2sp.org/signed-note.
C2SP_VKEY = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k"
C2SP_TEXT = b"This is an example message.\n"
C2SP_LINE = "\u2014 example.com/foo Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM="
# The worked example of https://c2sp.org/tlog-cosignature: no public keys are given, so only its form is checked.
C2SP_COSIGNED = """\
example.com/behind-the-sofa
20852163
CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=

\u2014 example.com/behind-the-sofa Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=
\u2014 witness.example.com/w1 jWbPPwAAAABkGFDLEZMHwSRaJNiIDoe9DYn/zXcrtPHeolMI5OWXEhZCB9dlrDJsX3b2oyin1nPZqhf5nNo0xUe+mbIUBkBIfZ+qnA==
"""
# A public log's checkpoint (a staging CT log, 2026) with the cosignature of a public witness, and both their keys.
PUBLIC_LOG = "arche2025h1.staging.ct.transparency.dev+ba2f06c0+AU0vHmlGCS/PdN8b2OaGmKprLI8HKM+dJ472xgFYh15f"
PUBLIC_WITNESS = "remora.n621.de+da77ade7+BOvN63jn/bLvkieywe8R6UYAtVtNbZpXh34x7onlmtw2"
PUBLIC_NOTE = """\
arche2025h1.staging.ct.transparency.dev
1432088532
U7WM79jrzyhGZ5/GUBTpM7NzwdyfFx61t3RovgcC4Ro=

\u2014 arche2025h1.staging.ct.transparency.dev ui8GwCF1+kWqZrxGdhj4aX3gcw7XUlXQQabg/27lefwhUkzbC3NygNI75MdhL1bfTW9g8Ei59RA23oHP7Ry1k3ZFWwQ=
\u2014 remora.n621.de 2net5wAAAABqEiEgPlfF3V06o0Y+fHM+J5J9s27wgxxcOVSpZ/2g/KSiXCg9DEZI+aVCIobWX9sXTynk5XeU/zZ0WBxtqB0DrAWfBw==
"""


def test_the_signed_note_of_the_specification() -> None:
    key = VerifierKey.read(C2SP_VKEY)
    assert key.key_id.hex() == "530d903a" and str(key) == C2SP_VKEY
    name, raw = signature_line(C2SP_LINE)
    assert (name, raw[:4]) == (key.name, key.key_id)
    assert key.good(C2SP_TEXT, raw[4:]) and not key.good(C2SP_TEXT + b"x", raw[4:])


def test_the_cosigned_checkpoint_of_the_specification_is_read() -> None:
    checkpoint, lines = take_apart(C2SP_COSIGNED)
    assert (checkpoint.origin, checkpoint.size) == ("example.com/behind-the-sofa", 20852163)
    name, raw = signature_line(lines[1])
    assert name == "witness.example.com/w1" and int.from_bytes(raw[4:12], "big") == 1679315147


def test_a_public_witness_is_understood() -> None:
    checkpoint = read_note(PUBLIC_NOTE, VerifierKey.read(PUBLIC_LOG), exact=False)
    _, lines = take_apart(PUBLIC_NOTE)
    key = VerifierKey.read(PUBLIC_WITNESS, COSIGNATURE)
    assert cosigned_at(checkpoint, lines[1], key) == 0x6A122120
    assert cosigned_at(checkpoint, lines[0], key) is None
    with pytest.raises(FormatError):
        cosigned_at(Checkpoint(checkpoint.origin, checkpoint.size + 1, checkpoint.root), lines[1], key)
    with pytest.raises(FormatError):
        VerifierKey.read(PUBLIC_WITNESS)  # a witness's key is not a log's


def witness(n: int) -> tuple[Ed25519PrivateKey, VerifierKey]:
    key = Ed25519PrivateKey.from_private_bytes(bytes([n]) * 32)
    return key, VerifierKey(f"w{n}.example", key.public_key().public_bytes_raw(), COSIGNATURE)


def policy_of(lab: Any, quorum: int) -> Policy:
    keys = {f"w{n}": Witness(witness(n)[1]) for n in (1, 2, 3)}
    groups = {"most": (quorum, ("w1", "w2", "w3"))}
    return Policy(lab.policy.log, lab.policy.genesis, "most", keys, groups)


def cosign_store(lab: Any, size: int, *names: int, at: int = 1_700_000_000) -> None:
    with open_readonly(lab.db) as source:
        notes = {int(note.split("\n")[1]): note for _, note in source.checkpoints()}
    checkpoint, _ = take_apart(notes[size])
    db = sqlite3.connect(lab.db)
    for n in names:
        db.execute(
            "INSERT INTO cosignature VALUES (?, ?)",
            (size, cosign(checkpoint, f"w{n}.example", witness(n)[0], at)),
        )
    db.commit()
    db.close()


@pytest.mark.parametrize(
    ("signed", "verdict", "witnessed"),
    [
        ({22: (1, 2)}, "PASS", 22),
        ({17: (1, 3)}, "PASS", 17),  # the newest may be on its way
        ({22: (1,), 17: (1, 2, 3)}, "PASS", 17),
        ({12: (1, 2, 3)}, "PASS-UNWITNESSED", 12),  # A18, A32: the witnesses stopped some time ago
        ({22: (1,), 17: (2,)}, "PASS-UNWITNESSED", None),
        ({}, "PASS-UNWITNESSED", None),
    ],
)
def test_the_quorum_decides(
    full_lab: Any, tmp_path: Path, signed: dict[int, tuple[int, ...]], verdict: str, witnessed: int | None
) -> None:
    lab = full_lab.copy(tmp_path / "lab")
    for size, names in signed.items():
        cosign_store(lab, size, *names)
    report = lab.verify(policy=policy_of(lab, 2))
    assert (report.verdict, report.witnessed) == (verdict, witnessed)
    assert report.to_json()["witnessed"] == witnessed
    assert lab.verify().verdict == "PASS" and "witnessed" not in lab.verify().to_json()


def test_a30_a_cosignature_is_good_for_one_checkpoint_and_as_nothing_else(
    full_lab: Any, tmp_path: Path
) -> None:
    lab = full_lab.copy(tmp_path / "lab")
    policy = policy_of(lab, 1)
    with open_readonly(lab.db) as source:
        notes = [note for _, note in source.checkpoints()]
    newest, (own,) = take_apart(notes[-1])
    older, _ = take_apart(notes[-2])
    key, vkey = witness(1)
    good = cosign(newest, vkey.name, key, 5)
    assert cosigners(newest, [good], policy) == {"w1": 5}
    # the log's own signature, under the witness's name and key id
    _, raw = signature_line(own)
    posing = good[: len("\u2014 w1.example ")] + "AAAA"
    for lines in ([cosign(older, vkey.name, key, 5)], [good.replace("A", "B", 1)] if "A" in good else []):
        if lines and lines != [good]:
            with pytest.raises(FormatError):
                cosigners(newest, lines, policy)
    with pytest.raises(FormatError):
        cosigned_at(newest, posing, vkey)
    stranger = cosign(newest, "w9.example", Ed25519PrivateKey.from_private_bytes(bytes([9]) * 32), 5)
    assert cosigners(newest, [stranger, own], policy) == {}
    assert len(raw) == 68
    db = sqlite3.connect(lab.db)
    db.execute("INSERT INTO cosignature VALUES (22, ?)", (cosign(older, vkey.name, key, 5),))
    db.commit()
    db.close()
    report = lab.verify(policy=policy)
    assert report.verdict == "FAIL" and "cosignature" in {p.code for p in report.problems}

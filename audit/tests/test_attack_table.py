"""The design's threats A1 to A75 as one table: what is done, what is said of it, and from which entry on.

Each row's construction is run twice on a ledger of its own: unarmed, which must give the control's verdict,
and armed, with the verdict, first bad entry and code that stand beside it. Threats that only a daemon shows
are rows too: they name the test that holds them, which must exist, be collected, assert the verdict and have
a control. The ledger: seq 0 genesis, 1 the token key (checkpoint of size 2), 2 to 6 data keys, then three
blocks of four messages and one determination, under checkpoints of size 12, 17 and 22.
"""

# ruff: noqa: S608  table and column names are this file's own constants

from __future__ import annotations

import ast
import json
import re
import sqlite3
import subprocess
import sys
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from hmac import digest as hmac
from pathlib import Path
from typing import Any

import pytest
from breaking import (
    LAST,
    NOTE,
    PARTS_6,
    ROWS_5_6,
    SWAP_5_6,
    add_line,
    blob,
    break_signature,
    digit,
    drop_ninth,
    flip,
    leaf,
    move_part,
    nullable,
    opened,
    renumber,
    resign,
    restate_size,
    seed,
    sql,
    text_for_blob,
)
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from umbridge_audit.bundle import verify_bundle
from umbridge_audit.checkpoint import (
    COSIGNATURE,
    Checkpoint,
    VerifierKey,
    read_anchor,
    sign,
    take_apart,
)
from umbridge_audit.cosign import cosign
from umbridge_audit.deidentify import statement
from umbridge_audit.disclose import Viewer, disclose, view
from umbridge_audit.entry import Draft, Record, parse_leaf
from umbridge_audit.export import export
from umbridge_audit.heads import Heads
from umbridge_audit.keys import Keyring
from umbridge_audit.policy import Policy
from umbridge_audit.policy import Witness as Known
from umbridge_audit.proof import read_receipt, verify_receipt, write_receipt
from umbridge_audit.redact import AccessTable
from umbridge_audit.report import Report
from umbridge_audit.resume import Since
from umbridge_audit.seal import dek_commit, part_aad
from umbridge_audit.slots import SCHEMAS
from umbridge_audit.store import Broken, Rollback, open_readonly
from umbridge_audit.store.history import StoredPast
from umbridge_audit.store.receipts import take_receipt
from umbridge_audit.tree import consistency_proof, leaf_hash, node_hash, root_of
from umbridge_audit.verify import verify
from umbridge_audit.witness import Witness, write_request

ROOT = Path(__file__).parents[2]
TABLE = AccessTable.load()

# Nothing can attack what is not there: retention and purge, and many chains under one.
NOT_YET = {
    60: "purge early, under a hold or without a second person: there is no purge",
    61: "a ciphertext deleted and no purge entry: there is no purge; a missing part is a row of A7",
    62: "a shredded key out of a backup: nothing is shredded",
    70: "a shard dropped from the meta log: there is one chain",
}


@dataclass(frozen=True, slots=True)
class Said:
    """What came out, where it is not the verifier's report."""

    verdict: str
    first_bad_seq: int | None = None
    codes: tuple[str, ...] = ()


class World:
    """Ledgers to break, each in a folder of its own."""

    def __init__(self, full: Any, folder: Path, message: Any, determination: Any, canaries: Any) -> None:
        self.full, self.folder, self.message, self.determination = full, folder, message, determination
        self.canaries: tuple[str, ...] = canaries
        self._count = 0

    def place(self) -> Path:
        self._count += 1
        return self.folder / str(self._count)

    def copy(self) -> Any:
        """The ledger of the table, closed, its triggers gone."""
        lab = self.full.copy(self.place())
        lab.sql()
        return lab

    def fresh(self) -> Any:
        """Another ledger of the same name, under keys of its own, open."""
        return type(self.full).make(self.place())

    def notes(self, lab: Any) -> dict[int, str]:
        with open_readonly(lab.db) as source:
            return {take_apart(note)[0].size: note for _, note in source.checkpoints()}


Run = Callable[[World, bool], "Said | Report"]


@dataclass(frozen=True, slots=True)
class Row:
    """One attack. ``number`` 0 is one of ours that the design has not listed."""

    number: int
    name: str
    run: Run
    verdict: str
    first_bad: int | None
    code: str
    control: str = "PASS"

    def __str__(self) -> str:
        return f"A{self.number} {self.name}" if self.number else self.name


@dataclass(frozen=True, slots=True)
class Held:
    """An attack that needs a daemon, a process to kill or a second machine: the very test that makes it."""

    number: int
    name: str
    test: str
    verdict: str
    first_bad: str | None = None  # as the test names it


ROWS: list[Row] = []


def row(
    number: int, name: str, verdict: str, first_bad: int | None, code: str, control: str = "PASS"
) -> Callable[[Run], Run]:
    def keep(run: Run) -> Run:
        ROWS.append(Row(number, name, run, verdict, first_bad, code, control))
        return run

    return keep


def store(
    text: str, change: Callable[[Any], object], first_bad: int | None, code: str, *, level: Any = "keyless"
) -> None:
    """A row whose attacker has the file alone."""

    def run(world: World, armed: bool) -> Report:
        lab = world.copy()
        if armed:
            change(lab)
        report: Report = lab.verify(level)
        return report

    number, _, name = text.partition(" ")
    ROWS.append(Row(int(number[1:]), name, run, "FAIL", first_bad, code))


def rewrite(text: str, change: Callable[[list[Record]], list[Record]], verdict: str, first_bad: int | None,
            code: str, *, key: str = "log", anchored: bool = True) -> None:  # fmt: skip
    """A row whose attacker rewrites every row and hash after a change, and signs with the key he has."""

    def run(world: World, armed: bool) -> Report:
        lab = world.copy()
        own = seed(lab)
        held = {"log": own, "none": None, "other": bytes(32) if armed else own}[key]
        if armed or held is not None:
            resign(lab, change if armed else list, seed=held)
        report: Report = lab.verify(anchored=anchored)
        return report

    number, _, name = text.partition(" ")
    ROWS.append(Row(int(number[1:]), name, run, verdict, first_bad, code))


def cell(table: str, column: str, where: str, change: Callable[[bytes], bytes]) -> Callable[[Any], object]:
    return lambda lab: blob(lab, table, column, where, change)


def refused(what: Callable[[], object], *errors: type[Exception]) -> str:
    try:
        what()
    except errors:
        return "REFUSED"
    return "TAKEN"


# --- whoever has the file ------------------------------------------------------------------------------

store("A1 leaf digit", cell("ledger_entry", "leaf", "seq = 8", digit(40)), 8, "fields_root")
store("A2 ciphertext bit", cell("ledger_part", "ct", "seq = 8", flip(9)), 8, "part_hash")
store("A2 tag bit", cell("ledger_part", "ct", "seq = 8", flip(-1)), 8, "part_hash")
store("A2 ciphertext cut", cell("ledger_part", "ct", "seq = 8", lambda b: b[:-1]), 8, "part_hash")
store("A3 ts", opened(8, b'"ts","2', b'"ts","1'), 8, "fields_root")
store("A3 actor", opened(8, b'"umbridge"', b'"mallory"'), 8, "fields_root")
store("A3 kind", opened(8, b"message.received/1", b"message.ignored/1"), 8, "fields_root")
store(
    "A3 salt",
    cell("ledger_entry", "open", "seq = 8", lambda b: b[:9] + (b"A" if b[9:10] != b"A" else b"B") + b[10:]),
    8,
    "fields_root",
)
store("A4 prev edited too", leaf(9, b'"prev":"', b'"prev":"f'), 9, "leaf_format")
store(
    "A7 middle row",
    sql("DELETE FROM ledger_entry WHERE seq = 8", "DELETE FROM ledger_part WHERE seq = 8"),
    8,
    "seq_gap",
)
store("A7 middle row, part left", sql("DELETE FROM ledger_entry WHERE seq = 8"), 8, "part_orphan")
store("A8 first row", sql("DELETE FROM ledger_entry WHERE seq = 0"), 0, "genesis")
store("A2 nonce", leaf(8, b'"n":"', b'"n":"A'), 8, "leaf_format")
store("A10 rows swapped", sql(*ROWS_5_6), 8, "seq_row")
store(
    "A11 duplicate under a new seq",
    sql(
        f"INSERT INTO ledger_entry SELECT 1 + {LAST}, leaf, open, closed FROM ledger_entry WHERE seq = 9",
        PARTS_6.format(f"{LAST}"),
    ),
    22,
    "seq_row",
)
store(
    "A13 tail and its checkpoint cut",
    sql(
        "DELETE FROM ledger_entry WHERE seq >= 20",
        "DELETE FROM ledger_part WHERE seq >= 20",
        f"DELETE FROM ledger_checkpoint WHERE n = {NOTE}",
    ),
    20,
    "anchor_ahead",
)
store(
    "A13 tail cut, checkpoint kept",
    sql("DELETE FROM ledger_entry WHERE seq >= 20", "DELETE FROM ledger_part WHERE seq >= 20"),
    20,
    "truncated",
)
store(
    "A13 last checkpoint only",
    sql(f"DELETE FROM ledger_checkpoint WHERE n = {NOTE}"),
    17,
    "checkpoint_missing",
)
store(
    "A19 emptied",
    sql("DELETE FROM ledger_entry", "DELETE FROM ledger_part", "DELETE FROM ledger_checkpoint"),
    0,
    "empty",
)
store("A19 entries dropped", sql("DROP TABLE ledger_entry"), None, "table_missing")
store("A19 parts dropped", sql("DROP TABLE ledger_part"), None, "table_missing")
store("A19 checkpoints dropped", sql("DROP TABLE ledger_checkpoint"), None, "table_missing")
store("A19 no checkpoint at all", sql("DELETE FROM ledger_checkpoint"), 0, "checkpoint_missing")
store("A20 ciphertexts swapped", sql(*SWAP_5_6), 8, "part_hash")
store("A21 moved between compartments", move_part, 11, "part_hash")
store("A22 another chain's entry", leaf(8, b"genhosp/adt-1", b"genhosp/adt-2"), 8, "other_chain")
store("A22 another generation's", leaf(8, b'"gen":1', b'"gen":2'), 8, "other_chain")
store("A26 kid relabelled", leaf(8, b'"kid":"ops.', b'"kid":"fin.'), 8, "leaf_format")
store("A26 kid never introduced", leaf(8, b'"kid":"ops.2', b'"kid":"ops.1'), 8, "key_unknown")
store("A26 version", leaf(8, b'"v":2', b'"v":1'), 8, "leaf_format")
store("A26 algorithm", opened(1, b"HMAC-SHA-256", b"HMAC-MD5"), 1, "fields_root")
store("A27 size in the note", restate_size, 17, "checkpoint_signature")
store("A28 stranger's line in the store", add_line, 17, "checkpoint_signature")
store("A29 signature broken", break_signature, 17, "checkpoint_signature")
store("A36 space", leaf(8, b'"gen":1', b'"gen": 1'), 8, "leaf_format")
store("A36 2.0", leaf(8, b'"v":2', b'"v":2.0'), 8, "leaf_format")
store("A36 true for 2", leaf(8, b'"v":2', b'"v":true'), 8, "leaf_format")
store("A36 escape", leaf(8, b"genhosp", b"\\u0067enhosp"), 8, "leaf_format")
store("A36 duplicate key", leaf(8, b'"gen":1', b'"gen":1,"gen":1'), 8, "leaf_format")
store("A36 byte order mark", leaf(8, b'{"chain', b'\xef\xbb\xbf{"chain'), 8, "leaf_format")
store(
    "A36 upper-case hex",
    cell("ledger_entry", "leaf", "seq = 8", lambda b: b[:50] + b[50:110].upper() + b[110:]),
    8,
    "leaf_format",
)
store("A36 space in open", opened(8, b",", b", "), 8, "open_slots")
store("A36 escape in open", opened(8, b'"umbridge"', b'"\\u0075mbridge"'), 8, "open_slots")
store("A37 compartment's root only", cell("ledger_entry", "closed", "seq = 8", flip(3)), 8, "fields_root")
store("A37 ciphertext only", cell("ledger_part", "ct", f"seq = {LAST}", flip(100)), 21, "part_hash")
store(
    "A46 compartments' roots swapped",
    cell("ledger_entry", "closed", "seq = 11", lambda b: b[32:64] + b[:32] + b[64:]),
    11,
    "fields_root",
)
store(
    "A46 compartment's root cut off",
    cell("ledger_entry", "closed", "seq = 8", lambda b: b[:-32]),
    8,
    "closed_slots",
)
store("A7 ciphertext gone", sql("DELETE FROM ledger_part WHERE seq = 8"), 8, "part_missing")
store(
    "A7 one of several ciphertexts gone", sql("DELETE FROM ledger_part WHERE c = 'clin'"), 11, "part_missing"
)
store("A0 extra part", sql("INSERT INTO ledger_part VALUES (8, 'clin', x'00')"), 8, "part_missing")
store("A74 seq negative", renumber(-5), 0, "seq_gap")
store("A74 seq 2^63-1", renumber(2**63 - 1), 8, "part_orphan")
store(
    "A74 part far away",
    sql("UPDATE ledger_part SET seq = 9223372036854775807 WHERE seq = 8"),
    8,
    "part_missing",
)
store(
    "A74 part before all",
    sql("UPDATE ledger_part SET seq = -9223372036854775808 WHERE seq = 8"),
    0,
    "part_orphan",
)
store("A74 null", nullable, None, "row_type")
store("A74 text for blob", text_for_blob, None, "row_type")
store("A74 checkpoint n", sql(f"UPDATE ledger_checkpoint SET n = 99 WHERE n = {NOTE}"), 17, "checkpoint_gap")
store(
    "A74 checkpoint n negative", sql("UPDATE ledger_checkpoint SET n = -1 WHERE n = 0"), 0, "checkpoint_gap"
)
store(
    "A0 undecodable text",
    sql("UPDATE ledger_entry SET open = CAST(x'ff' AS TEXT) WHERE seq = 8"),
    8,
    "row_text",
)
store("A4 nonce, and the next leaf's prev", lambda lab: relink(lab, 8), 10, "prev")
store(
    "A4 nonce, and the next leaf's prev, with keys",
    lambda lab: relink(lab, 8),
    8,
    "part_sealed",
    level="full",
)
store(
    "A31 the newest checkpoint by a key that is not in force",
    lambda lab: resigned_note(lab, bytes(32)),
    17,
    "checkpoint_signature",
)
store(
    "A45 a checkpoint in the middle left out",
    sql("DELETE FROM ledger_checkpoint WHERE n = 2"),
    12,
    "checkpoint_gap",
)
store("A48 a short salt", opened(8, b'=","ts"', b'","ts"'), 8, "open_slots")


def relink(lab: Any, seq: int) -> None:
    """Another nonce in a leaf, and the hash of what came out in the next one."""
    blob(lab, "ledger_entry", "leaf", f"seq = {seq}", other_nonce)
    hashed = leaf_hash(lab.value(f"SELECT leaf FROM ledger_entry WHERE seq = {seq}")).hex().encode()
    blob(
        lab,
        "ledger_entry",
        "leaf",
        f"seq = {seq + 1}",
        lambda raw: re.sub(rb'"prev":"[0-9a-f]{64}', b'"prev":"' + hashed, raw),
    )


def other_nonce(raw: bytes) -> bytes:
    return re.sub(rb'"n":"(.)', lambda found: b'"n":"' + (b"B" if found[1] == b"A" else b"A"), raw, count=1)


def resigned_note(lab: Any, key: bytes) -> None:
    note = lab.value(f"SELECT note FROM ledger_checkpoint WHERE n = {NOTE}")
    new = sign(take_apart(note)[0], Ed25519PrivateKey.from_private_bytes(key))
    lab.sql((f"UPDATE ledger_checkpoint SET note = ? WHERE n = {NOTE}", (new,)))


# --- whoever has the file, the code, and perhaps a key --------------------------------------------------

rewrite("A5 suffix rewritten", drop_ninth, "FAIL", 2, "checkpoint_root", key="none")
rewrite("A5 and signed by another key", list, "FAIL", 0, "checkpoint_signature", key="other")
rewrite("A6 stolen signing key", drop_ninth, "FAIL", 2, "anchor_root")
rewrite(
    "A9 row inserted in the middle, all hashed again",
    lambda records: [*records[:9], records[8], *records[9:]],
    "FAIL",
    2,
    "checkpoint_root",
    key="none",
)
rewrite(
    "A42 backdated entry put in behind a checkpoint",
    lambda records: [*records[:9], records[8], *records[9:]],
    "FAIL",
    2,
    "anchor_root",
)
# What the design says cannot be caught, so that nobody believes more: the key and nobody outside.
rewrite("A6 stolen signing key, and no outside party", drop_ninth, "PASS", None, "", anchored=False)


@row(8, "another ledger's genesis", "FAIL", 0, "genesis")
def a8(world: World, armed: bool) -> Report:
    lab, other = world.copy(), world.fresh()
    other.close()
    genesis = other.policy.genesis if armed else lab.policy.genesis
    report: Report = lab.verify(policy=Policy(lab.policy.log, genesis))
    return report


@row(12, "tail cut inside the stated window", "PASS", None, "unanchored 2 before")
def a12(world: World, armed: bool) -> Said:
    lab = world.fresh()
    lab.write(world.message(1))
    before = lab.verify().unanchored
    lab.close()
    if armed:
        lab.sql("DELETE FROM ledger_entry WHERE seq >= 2", "DELETE FROM ledger_part WHERE seq >= 2")
    report = lab.verify()
    return Said(report.verdict, report.first_bad_seq, (f"unanchored {before} before",))


@row(
    12,
    "tail cut, checkpoint, anchor line and all: the signer's memory",
    "REFUSED",
    None,
    "signed here",
    "TAKEN",
)
def a12_signer(world: World, armed: bool) -> Said:
    lab = world.copy()
    if armed:
        lab.sql(
            "DELETE FROM ledger_entry WHERE seq >= 17",
            "DELETE FROM ledger_part WHERE seq >= 17",
            f"DELETE FROM ledger_checkpoint WHERE n = {NOTE}",
        )
        lab.anchor.write_bytes(b"".join(lab.anchor.read_bytes().splitlines(keepends=True)[:-1]))
        assert lab.verify().verdict == "PASS"  # a whole and older ledger
    return Said(refused(lab.reopen, Rollback), None, ("signed here",))


def older_and_newer(world: World) -> tuple[Any, Any]:
    """A ledger as it was, and as it went on."""
    lab = world.fresh()
    lab.write(world.message(1))
    lab.ledger.checkpoint()
    old = lab.copy(world.place())
    lab.write(world.message(2))
    lab.ledger.checkpoint()
    lab.close()
    return old, lab


@row(14, "an old copy put back", "FAIL", 4, "anchor_ahead")
def a14(world: World, armed: bool) -> Report:
    old, lab = older_and_newer(world)
    shown = old if armed else lab
    with open_readonly(shown.db) as source:
        return verify(source, shown.policy, anchor_notes=read_anchor(lab.anchor))


@row(14, "an old copy put back, and written to", "REFUSED", None, "", "TAKEN")
def a14_pen(world: World, armed: bool) -> Said:
    old, lab = older_and_newer(world)
    shown = old if armed else lab
    (shown.anchor).write_bytes(lab.anchor.read_bytes())
    said = refused(shown.reopen, Rollback)
    shown.close()
    return Said(said, None, ("",))


WITNESS_KEY = Ed25519PrivateKey.from_private_bytes(bytes([7]) * 32)
VKEY = VerifierKey("w1.example", WITNESS_KEY.public_key().public_bytes_raw(), COSIGNATURE)


def witnessed(policy: Policy) -> Policy:
    return Policy(policy.log, policy.genesis, "w1", {"w1": Known(VKEY)})


def a_witness(world: World, lab: Any) -> Witness:
    (state := world.place()).mkdir()
    return Witness(VKEY.name, WITNESS_KEY, {lab.policy.origin: (lab.policy.log,)}, Heads(state), lambda: 5.0)


def hashes(lab: Any) -> list[bytes]:
    with open_readonly(lab.db) as source:
        return [leaf_hash(record.leaf) for record in source.records()]


def ask(witness: Witness, lab: Any, old: int, size: int) -> tuple[int, str]:
    """Asks for a cosignature of the lab's checkpoint of a size; one that is given is stored."""
    leaves = hashes(lab)
    proof = consistency_proof(old, size, lambda level, n: root_of(leaves[n << level : (n + 1) << level]))
    status, _, text = witness.add_checkpoint(write_request(old, proof, World.notes(None, lab)[size]))  # type: ignore[arg-type]
    if status == 200:
        keep(lab, size, text)
    return status, text


def keep(lab: Any, size: int, line: str) -> None:
    db = sqlite3.connect(lab.db)
    db.execute("INSERT OR IGNORE INTO cosignature VALUES (?, ?)", (size, line))
    db.commit()
    db.close()


def forked(world: World, armed: bool) -> Any:
    """The ledger as another auditor is shown it: rewritten with the stolen key, or as it is."""
    lab = world.copy()
    resign(lab, (lambda records: [*records[:8], records[9], *records[9:]]) if armed else list, seed=seed(lab))
    return lab


@row(15, "store, anchor and signer's memory rolled back, and gone on from", "PASS-UNWITNESSED", None, "409")
def a15(world: World, armed: bool) -> Said:
    lab = world.copy()
    witness = a_witness(world, lab)
    assert ask(witness, lab, 0, 22)[0] == 200
    shown = forked(world, armed)
    status, _ = ask(witness, shown, 22, 22)
    with open_readonly(shown.db) as source:
        report = verify(source, witnessed(shown.policy))
    return Said(report.verdict, report.first_bad_seq, (str(status),))


@row(16, "two checkpoints of one size", "FAIL", None, "forked")
def a16(world: World, armed: bool) -> Report:
    lab = world.copy()
    root = bytes(32) if armed else root_of(hashes(lab)[:12])
    other = sign(Checkpoint(lab.policy.origin, 12, root), Ed25519PrivateKey.from_private_bytes(seed(lab)))
    with open_readonly(lab.db) as source:
        return verify(source, lab.policy, anchor_notes=[*read_anchor(lab.anchor), other])


@row(16, "two checkpoints of one size, to a witness", "409", None, "", "200")
def a16_witness(world: World, armed: bool) -> Said:
    lab = world.copy()
    witness = a_witness(world, lab)
    assert ask(witness, lab, 0, 12)[0] == 200
    shown = forked(world, armed)
    return Said(str(ask(witness, shown, 12, 12)[0]), None, ("",))


@row(6, "stolen signing key, to a witness", "422", None, "", "200")
def a6_witness(world: World, armed: bool) -> Said:
    lab = world.copy()
    witness = a_witness(world, lab)
    assert ask(witness, lab, 0, 12)[0] == 200
    return Said(str(ask(witness, forked(world, armed), 12, 22)[0]), None, ("",))


@row(17, "another view for another auditor", "PASS-UNWITNESSED", None, "the others PASS")
def a17(world: World, armed: bool) -> Said:
    lab = world.copy()
    witness = a_witness(world, lab)
    ask(witness, lab, 0, 22)
    shown = forked(world, armed)
    if not armed:
        ask(witness, shown, 22, 22)
    with open_readonly(lab.db) as one, open_readonly(shown.db) as two:
        first, second = (verify(source, witnessed(lab.policy)) for source in (one, two))
    return Said(second.verdict, second.first_bad_seq, (f"the others {first.verdict}",))


@row(18, "a stale view for whoever has seen a newer one", "FAIL", 4, "kept_ahead", "PASS-SINCE")
def a18(world: World, armed: bool) -> Report:
    old, lab = older_and_newer(world)
    kept = list(world.notes(lab).values())[-1]
    with open_readonly((old if armed else lab).db) as source:
        return verify(source, lab.policy, since=Since(kept, StoredPast(source)))


@row(18, "a view that the witnesses have not seen for two checkpoints", "PASS-UNWITNESSED", None, "")
def a18_witness(world: World, armed: bool) -> Report:
    lab = world.copy()
    ask(a_witness(world, lab), lab, 0, 12 if armed else 17)
    with open_readonly(lab.db) as source:
        return verify(source, witnessed(lab.policy))


# --- keys and ciphertexts -----------------------------------------------------------------------------


def rekeyed(lab: Any, *, known: bool) -> None:
    """Two wrapped keys exchanged, or a whole new one in the place of one that was announced."""
    path = lab.keys / "keystore.json"
    kept = json.loads(path.read_text())
    keys = {item["kid"].split(".")[0]: item for item in kept["keys"]}
    if known:
        keys["clin"]["wrapped"], keys["fin"]["wrapped"] = keys["fin"]["wrapped"], keys["clin"]["wrapped"]
    else:
        kid, fake = keys["clin"]["kid"], bytes(range(32))
        wrapped = Keyring.open(lab.keys)._provider.wrap(kid, "XAES-256-GCM", fake)
        keys["clin"]["wrapped"], keys["clin"]["commit"] = b64encode(wrapped).decode(), dek_commit(kid, fake)
    path.write_text(json.dumps(kept))


@row(23, "wrapped keys exchanged", "INCOMPLETE", 4, "key_refused")
def a23(world: World, armed: bool) -> Report:
    lab = world.copy()
    if armed:
        rekeyed(lab, known=True)
    assert lab.verify().verdict == "PASS"  # integrity does not hang on the keys
    report: Report = lab.verify("full")
    return report


@row(23, "another key in the place of the one announced", "FAIL", 4, "key_commit")
def a23_other(world: World, armed: bool) -> Report:
    lab = world.copy()
    if armed:
        rekeyed(lab, known=False)
    report: Report = lab.verify("full")
    return report


def resealed(lab: Any, change: Callable[[bytes], bytes], *, nonce: bytes | None = None) -> None:
    """The last entry's clinical part sealed again under its own key, leaf and signatures redone."""
    keyring = Keyring.open(lab.keys)

    def work(records: list[Record]) -> list[Record]:
        record = records[-1]  # the last, so that no other leaf's prev changes
        read = parse_leaf(record.leaf)
        part = next(p for p in read.parts if p.c == "clin")
        cipher, aad = keyring.cipher(part.kid), part_aad(read, part)
        plain = cipher.unseal(b64decode(part.n), record.parts["clin"], aad)
        new = b64decode(part.n) if nonce is None else nonce
        ct = cipher.seal(new, change(plain), aad)
        raw = record.leaf.replace(part.h.encode(), sha256(ct).hexdigest().encode())
        raw = raw.replace(part.n.encode(), b64encode(new))
        return [
            *records[:-1],
            Record(record.seq, raw, record.open, record.closed, {**record.parts, "clin": ct}),
        ]

    resign(lab, work, seed=seed(lab))


@row(24, "a second plaintext under the right key", "FAIL", 21, "part_content")
def a24(world: World, armed: bool) -> Report:
    lab = world.copy()
    resealed(lab, lambda plain: plain.replace(b"MEETS", b"REFER" if armed else b"MEETS"))
    assert lab.verify(anchored=False).verdict == "PASS"  # without keys nobody can tell
    report: Report = lab.verify("full", anchored=False)
    return report


@row(44, "an old entry sealed again later", "FAIL", 17, "anchor_root")
def a44(world: World, armed: bool) -> Report:
    lab = world.copy()
    resealed(lab, lambda plain: plain, nonce=bytes(24) if armed else None)
    report: Report = lab.verify("full")
    return report


@row(25, "a nonce used again after a restore", "FRESH", None, "", "AGAIN")
def a25(world: World, armed: bool) -> Said:
    lab = world.fresh()
    lab.close()
    seen = []
    for _ in range(2):
        twin = lab.copy(world.place())
        twin.reopen()
        twin.write(world.message(1))
        record = twin.ledger.record(3)
        seen.append((parse_leaf(record.leaf).parts[0].n, record.parts["ops"], record.closed))
        assert twin.verify("full").verdict == "PASS"
        twin.close()
    one, two = seen if armed else (seen[0], seen[0])
    return Said("FRESH" if not set(one) & set(two) else "AGAIN", None, ("",))


# --- signatures ---------------------------------------------------------------------------------------


def outside(world: World, change: Callable[[str], str]) -> Report:
    lab = world.copy()
    notes = [change(note) for note in read_anchor(lab.anchor)]
    with open_readonly(lab.db) as source:
        return verify(source, lab.policy, anchor_notes=notes)


@row(28, "a stranger's line in a note kept outside is ignored", "PASS", None, "")
def a28(world: World, armed: bool) -> Report:
    line = f"— stranger {b64encode(b'abcd' + bytes(72)).decode()}\n"
    clash = f"— other.example {b64encode(world.full.policy.log.key_id + bytes(64)).decode()}\n"
    return outside(world, lambda note: note + line + clash if armed else note)


@row(28, "a stranger's line alone", "FAIL", None, "anchor_format")
def a28_alone(world: World, armed: bool) -> Report:
    line = f"— stranger {b64encode(b'abcd' + bytes(72)).decode()}\n"
    return outside(world, lambda note: note.split("— ")[0] + line if armed else note + line)


@row(28, "a line with the log's name and key id that is not the log's", "FAIL", None, "anchor_format")
def a28_clash(world: World, armed: bool) -> Report:
    policy = world.full.policy
    line = f"— {policy.origin} {b64encode(policy.log.key_id + bytes(64)).decode()}\n"
    return outside(world, lambda note: note + line if armed else note)


@row(29, "the log's line broken, a stranger's good", "FAIL", None, "anchor_format")
def a29(world: World, armed: bool) -> Report:
    stranger = Ed25519PrivateKey.from_private_bytes(bytes([9]) * 32)

    def change(note: str) -> str:
        line = sign(Checkpoint("stranger.example", 1, bytes(32)), stranger).splitlines()[-1] + "\n"
        return (note[:-6] + "AAAA=\n" if armed else note) + line

    return outside(world, change)


@row(30, "a cosignature of another checkpoint", "FAIL", None, "cosignature")
def a30(world: World, armed: bool) -> Report:
    lab = world.copy()
    checkpoint = take_apart(world.notes(lab)[12 if armed else 22])[0]
    keep(lab, 22, cosign(checkpoint, VKEY.name, WITNESS_KEY, 5))
    with open_readonly(lab.db) as source:
        return verify(source, witnessed(lab.policy))


@row(30, "the log's own signature as a cosignature", "FAIL", None, "cosignature")
def a30_own(world: World, armed: bool) -> Report:
    lab = world.copy()
    note = world.notes(lab)[22]
    good = cosign(take_apart(note)[0], VKEY.name, WITNESS_KEY, 5)
    own = b64decode(note.split()[-1])[4:]
    posing = f"— {VKEY.name} {b64encode(VKEY.key_id + own).decode()}\n"
    keep(lab, 22, posing if armed else good)
    with open_readonly(lab.db) as source:
        return verify(source, witnessed(lab.policy))


@row(43, "a witness's time stated anew", "FAIL", None, "cosignature")
def a43(world: World, armed: bool) -> Report:
    """A cosignature's time is under its signature. There are no RFC 3161 tokens yet."""
    lab = world.copy()
    line = cosign(take_apart(world.notes(lab)[22])[0], VKEY.name, WITNESS_KEY, 1_700_000_000)
    raw = b64decode(line.split()[-1])
    if armed:
        raw = raw[:4] + (1_800_000_000).to_bytes(8, "big") + raw[12:]
    keep(lab, 22, f"— {VKEY.name} {b64encode(raw).decode()}\n")
    with open_readonly(lab.db) as source:
        return verify(source, witnessed(lab.policy))


@row(32, "expected witnesses that are not there", "PASS-UNWITNESSED", None, "")
def a32(world: World, armed: bool) -> Report:
    lab = world.copy()
    policy = witnessed(lab.policy) if armed else lab.policy
    report: Report = lab.verify(policy=policy)
    return report


@row(32, "no signature where one is expected", "FAIL", 17, "checkpoint_signature")
def a32_unsigned(world: World, armed: bool) -> Report:
    lab = world.copy()
    if armed:
        note = world.notes(lab)[22]
        lab.sql((f"UPDATE ledger_checkpoint SET note = ? WHERE n = {NOTE}", (note.split("— ")[0],)))
    report: Report = lab.verify()
    return report


# --- proofs -------------------------------------------------------------------------------------------


def receipts(number: int, name: str, change: Callable[[Any], Any], first_bad: int | None, code: str) -> None:
    """A row whose attacker hands out a receipt. ``change`` has (line, index, path, note) and the ledger."""

    def run(world: World, armed: bool) -> Report:
        lab = world.copy()
        with open_readonly(lab.db, Keyring.open(lab.keys)) as source:
            text = take_receipt(source, 11, TABLE.permission(["ur_nurse"], "HPAYMT"))
            leaves, notes = hashes(lab), world.notes(lab)
        made = read_receipt(text)
        if armed:
            parts = change((made.line, made.index, list(made.path), made.note, leaves, notes))
            text = write_receipt(*parts)
        return verify_receipt(text, lab.policy)

    ROWS.append(Row(number, name, run, "FAIL", first_bad, code))


receipts(33, "another index", lambda r: (r[0], 12, r[2], r[3]), 12, "seq_row")
receipts(33, "a smaller size", lambda r: (r[0], r[1], r[2], r[5][17]), 11, "inclusion")
receipts(33, "a hash too many", lambda r: (r[0], r[1], [*r[2], r[2][-1]], r[3]), 11, "inclusion")
receipts(33, "a hash missing", lambda r: (r[0], r[1], r[2][:-1], r[3]), 11, "inclusion")
receipts(33, "hashes in another order", lambda r: (r[0], r[1], r[2][::-1], r[3]), 11, "inclusion")
receipts(33, "no path", lambda r: (r[0], r[1], [], r[3]), 11, "inclusion")
receipts(
    33,
    "an inner node for a leaf's neighbour",
    lambda r: (r[0], r[1], [node_hash(*r[4][8:10]), *r[2][1:]], r[3]),
    11,
    "inclusion",
)
receipts(
    33,
    "no signed checkpoint",
    lambda r: (r[0], r[1], r[2], r[3].split("— ")[0]),
    None,
    "checkpoint_signature",
)


def prepended(world: World, lab: Any, size: int) -> tuple[list[bytes], str]:
    """A history with an entry slipped in before the first, signed with the stolen key."""
    leaves = [leaf_hash(b"slipped in"), *hashes(lab)][:size]
    key = Ed25519PrivateKey.from_private_bytes(seed(lab))
    return leaves, sign(Checkpoint(lab.policy.origin, size, root_of(leaves)), key)


@row(34, "entries before history, to a witness", "422", None, "", "200")
def a34(world: World, armed: bool) -> Said:
    lab = world.copy()
    witness = a_witness(world, lab)
    assert ask(witness, lab, 0, 12)[0] == 200
    leaves, note = prepended(world, lab, 22) if armed else (hashes(lab), world.notes(lab)[22])
    proof = consistency_proof(12, 22, lambda level, n: root_of(leaves[n << level : (n + 1) << level]))
    return Said(str(witness.add_checkpoint(write_request(12, proof, note))[0]), None, ("",))


@row(34, "entries before history, to whoever kept a checkpoint", "FAIL", 0, "kept_root", "PASS-SINCE")
def a34_kept(world: World, armed: bool) -> Report:
    lab = world.copy()
    kept = prepended(world, lab, 12)[1] if armed else world.notes(lab)[12]
    with open_readonly(lab.db) as source:
        return verify(source, lab.policy, since=Since(kept, StoredPast(source)))


for name_, old_, proof_ in (
    ("sizes exchanged", 23, []),
    ("a size of none", 0, []),
    ("no proof", 12, []),
    ("too long a proof", 12, [bytes(32)] * 6),
):

    def a34_sizes(world: World, armed: bool, old: int = old_, proof: Any = proof_) -> Said:
        lab = world.copy()
        witness = a_witness(world, lab)
        assert ask(witness, lab, 0, 12)[0] == 200
        if not armed:
            return Said(str(ask(witness, lab, 12, 22)[0]))
        status, _, text = witness.add_checkpoint(write_request(old, proof, world.notes(lab)[22]))
        return Said("4xx" if 400 <= status < 500 and "—" not in text else str(status), None, ("",))

    ROWS.append(Row(34, name_, a34_sizes, "4xx", None, "", "200"))


@row(35, "two hidden slots folded into their parent", "FAIL", 8, "fields_root")
def a35(world: World, armed: bool) -> Report:
    path, policy = bundle(world)

    def change(lines: list[Any]) -> None:
        hidden = lines[9]["hidden"]
        pair = [bytes.fromhex(hidden[k][1]) for k in (0, 1)]
        lines[9]["hidden"] = [[0, node_hash(*pair).hex()], *hidden[2:]]

    return verify_bundle(edited(path, change if armed else None), policy)


# --- bundles ------------------------------------------------------------------------------------------


def bundle(
    world: World, role: str = "external_auditor", profile: str = "integrity-only"
) -> tuple[Path, Policy]:
    """A bundle as somebody takes it out, look and all."""
    lab = world.copy()
    lab.reopen()
    out = world.place()
    take(lab, out, role, profile)
    lab.close()
    return out, lab.policy


def take(lab: Any, out: Path, role: str, profile: str, purpose: str = "HCOMPL") -> None:
    who = Viewer("zztest-os", "zztest-user", (role,), "os-account")
    disclose(
        lab.commit,
        TABLE,
        who,
        purpose=purpose,
        reason="",
        kind="export",
        query=profile,
        patient=None,
        count=None,
        produce=lambda permission: export(
            lab.ledger,
            permission,
            TABLE,
            viewer=who,
            purpose=purpose,
            reason="",
            profile=profile,
            out=out,
            commit=lab.commit,
            checkpoint=lab.ledger.checkpoint,
        ),
    )


def edited(path: Path, change: Callable[[list[Any]], object] | None) -> Path:
    """The bundle with its lines changed, each spelt as it must be."""
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    if change is not None:
        change(lines)
    spelt = (json.dumps(one, sort_keys=True, separators=(",", ":"), ensure_ascii=False) for one in lines)
    path.write_text("".join(f"{one}\n" for one in spelt))
    return path


def bundles(
    number: int, name: str, change: Callable[[list[Any]], object], first_bad: int | None, code: str
) -> None:
    def run(world: World, armed: bool) -> Report:
        path, policy = bundle(world, "compliance_auditor", "role:compliance_auditor")
        return verify_bundle(edited(path, change if armed else None), policy)

    ROWS.append(Row(number, name, run, "FAIL", first_bad, code))


def exchange(lines: list[Any]) -> None:
    one, two = lines[12]["open"][1], lines[12]["open"][2]
    one[3], two[3] = two[3], one[3]


bundles(46, "a shown value", lambda lines: lines[12]["open"][-1].__setitem__(3, "OTHER"), 11, "fields_root")
bundles(46, "two shown values exchanged", exchange, 11, "fields_root")
bundles(
    46, "a hidden hash", lambda lines: lines[12]["hidden"][0].__setitem__(1, "00" * 32), 11, "fields_root"
)
bundles(46, "a hidden hash dropped", lambda lines: lines[12]["hidden"].pop(), 11, "fields_root")
bundles(50, "a line left out", lambda lines: lines.pop(5), 4, "seq_gap")
bundles(50, "the last lines left out", lambda lines: lines.__delitem__(slice(-3, -1)), 22, "line_keys")
bundles(
    50,
    "a range that is not the whole",
    lambda lines: lines[0].update(count=9, range=[0, 8]),
    10,
    "export_entry",
)


@row(47, "a hidden word guessed", "FAIL", 11, "fields_root")
def a47(world: World, armed: bool) -> Report:
    """The word is right; without its salt it gives another commitment. With it the same line verifies."""
    lab = world.copy()
    schema = SCHEMAS["determination"]
    k = schema.number["rationale"]
    with open_readonly(lab.db, Keyring.open(lab.keys)) as source:
        text = take_receipt(source, 11, TABLE.permission(["billing"], "HPAYMT"))
        found = source.openings(source.record(11))["clin"]
    salt, value = next((salt, value) for n, salt, _, value in found if n == k)
    made = read_receipt(text)
    line = json.loads(made.line)
    assert k in [at for at, _ in line["hidden"]] and value == world.canaries[2]
    line["hidden"] = [one for one in line["hidden"] if one[0] != k]
    guess = b64encode(bytes(32)).decode() if armed else salt
    line["open"] = sorted([*line["open"], [k, guess, "rationale", value]])
    spelt = json.dumps(line, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return verify_receipt(write_receipt(spelt, 11, made.path, made.note), lab.policy)


@row(48, "a salt used twice", "ALL DIFFERENT", None, "", "AGAIN")
def a48(world: World, armed: bool) -> Said:
    lab = world.copy()
    with open_readonly(lab.db, Keyring.open(lab.keys)) as source:
        salts = [
            one[1] for record in source.records() for rows in source.openings(record).values() for one in rows
        ]
    assert all(len(b64decode(salt)) == 32 for salt in salts)
    seen = salts if armed else [*salts, salts[0]]
    return Said("ALL DIFFERENT" if len(set(seen)) == len(seen) else "AGAIN", None, ("",))


@row(49, "an absent, a short and a long value by their looks", "ALIKE", None, "bundle PASS", "UNLIKE")
def a49(world: World, armed: bool) -> Said:
    lab = world.fresh()
    full = world.determination(1)
    bare = Draft("determination", {"actor": "x"})
    long = Draft("determination", {**full.values, "rationale": "x" * 2000, "sens_rationale": "y" * 3000})
    first = lab.write(bare, full, long if armed else world.message(1))[0].seq
    out = world.place()
    take(lab, out, "external_auditor", "integrity-only")
    lab.close()
    lines = [json.loads(one) for one in out.read_text().splitlines()][1 + first : 4 + first]
    shapes = {(len(re.sub('"seq":[0-9]+', "", one["leaf"])), len(str(one["hidden"]))) for one in lines}
    verdict = verify_bundle(out, lab.policy).verdict
    return Said("ALIKE" if len(shapes) == 1 else "UNLIKE", None, (f"bundle {verdict}",))


@row(51, "a profile wider than the role", "NOTHING SHOWN", None, "bundle PASS", "SHOWN")
def a51(world: World, armed: bool) -> Said:
    role, profile = (
        ("compliance_auditor", "role:physician_advisor")
        if armed
        else ("privacy_officer", "role:privacy_officer")
    )
    path, policy = bundle(world, role, profile)
    shown = any(canary in path.read_text() for canary in world.canaries)
    return Said(
        "SHOWN" if shown else "NOTHING SHOWN", None, (f"bundle {verify_bundle(path, policy).verdict}",)
    )


@row(52, "identifiers in every field of a Safe Harbor file", "NOTHING SHOWN", None, "", "SHOWN")
def a52(world: World, armed: bool) -> Said:
    """All eighteen kinds are planted in test_deidentify.py; here the file beside what a nurse sees."""
    lab = world.fresh()
    seq = lab.write(world.determination(1))[0].seq
    if armed:
        text = "\n".join(
            statement(lab.ledger, lab.ledger.records(), TABLE.profile("safe-harbor"), TABLE.hash)
        )
    else:
        text = repr(view(lab.ledger, TABLE.permission(["ur_nurse"], "HPAYMT"), seq))
    lab.close()
    shown = any(canary in text for canary in world.canaries)
    return Said("SHOWN" if shown else "NOTHING SHOWN", None, ("",))


# --- looks --------------------------------------------------------------------------------------------


@row(54, "an index token without the key", "NO MATCH", None, "", "MATCH")
def a54(world: World, armed: bool) -> Said:
    lab = world.copy()
    keyring = Keyring.open(lab.keys)
    token = keyring.token("mrn", world.canaries[0])
    field = b"umb/token/1" + bytes([3]) + b"mrn" + world.canaries[0].encode()
    guesses = [bytes(32), lab.policy.genesis, lab.policy.log.public, b"", seed(lab)]
    tokens = {hmac(guess, field, "sha256")[:16] for guess in guesses}
    if not armed:
        tokens.add(Keyring.open(lab.keys).token("mrn", world.canaries[0]))
    return Said("MATCH" if token in tokens else "NO MATCH", None, ("",))


@row(56, "no room for the entry", "NOTHING SHOWN", None, "PASS", "SHOWN")
def a56(world: World, armed: bool) -> Said:
    lab = world.fresh()
    seq = lab.write(world.message(1))[-1].seq
    size = lab.ledger.size
    shown: list[object] = []

    def commit(draft: Draft) -> Any:
        if armed:
            raise OSError("no space left")
        return lab.commit(draft)

    who = Viewer("zztest-os", "zztest-user", ("ur_nurse",), "os-account")
    said = refused(
        lambda: disclose(
            commit,
            TABLE,
            who,
            purpose="HPAYMT",
            reason="",
            kind="read",
            query="",
            patient=None,
            count=1,
            produce=lambda permission: shown.append(view(lab.ledger, permission, seq)),
        ),
        OSError,
    )
    assert (said == "REFUSED") == armed and (lab.ledger.size > size) == (not armed)
    lab.close()
    report = lab.verify()
    return Said("SHOWN" if shown else "NOTHING SHOWN", None, (report.verdict,))


@row(66, "two pens on one store", "REFUSED", None, "PASS 4", "TAKEN")
def a66(world: World, armed: bool) -> Said:
    lab = world.fresh()
    lab.close()
    one = lab
    one.reopen()
    other = type(lab)(lab.folder)
    other.policy = lab.policy
    if armed:
        other.reopen()
    one.write(world.message(1))
    if not armed:
        one.ledger.checkpoint()
        one.close()
        other.reopen()
    said = refused(lambda: other.write(world.message(2)), Exception)
    other.close()
    one.close()
    return Said(said, None, (f"{lab.verify().verdict} {lab.verify().entries}",))


@row(71, "two sizes at once, to a witness", "409", None, "", "200")
def a71(world: World, armed: bool) -> Said:
    """By turns here; that it is one step under twelve threads is test_witness.py's."""
    lab = world.copy()
    witness = a_witness(world, lab)
    assert ask(witness, lab, 0, 12)[0] == 200
    assert ask(witness, lab, 12, 22)[0] == 200
    return Said(str(ask(witness, lab, 12 if armed else 22, 17 if armed else 22)[0]), None, ("",))


@row(72, "a witness's memory damaged or put back", "500", None, "", "200")
def a72(world: World, armed: bool) -> Said:
    lab = world.copy()
    witness = a_witness(world, lab)
    assert ask(witness, lab, 0, 12)[0] == 200
    (path,) = witness._heads.folder.glob("*.head")
    if armed:
        path.write_bytes(b"")
    return Said(str(ask(witness, lab, 12, 22)[0]), None, ("",))


@row(73, "a bit that changed between append and checkpoint", "REFUSED", None, "", "TAKEN")
def a73(world: World, armed: bool) -> Said:
    lab = world.fresh()
    lab.write(world.message(1))
    if armed:
        lab.sql("UPDATE ledger_part SET ct = zeroblob(length(ct))")
    said = refused(lab.ledger.checkpoint, Broken)
    lab.close()
    return Said(said, None, ("",))


# --- the verifier itself ---------------------------------------------------------------------------------


@row(38, "the disk fails half-way", "INCOMPLETE", None, "verifier_error")
def a38(world: World, armed: bool) -> Report:
    lab = world.copy()

    class Failing:
        @contextmanager
        def snapshot(self) -> Iterator[None]:
            yield

        def records(self, start: int = 0, stop: int | None = None) -> Iterator[Record]:
            with open_readonly(lab.db) as source:
                yield from source.records(0, 9 if armed else None)
            if armed:
                raise OSError("disk")

        def checkpoints(self) -> Iterator[tuple[int, str]]:
            with open_readonly(lab.db) as source:
                yield from list(source.checkpoints())

    return verify(Failing(), lab.policy)


@row(38, "no keys for a full check", "INCOMPLETE", 0, "key_missing")
def a38_keys(world: World, armed: bool) -> Report:
    lab = world.copy()
    with open_readonly(lab.db) as source:
        return verify(source, lab.policy, level="full", keyring=None if armed else Keyring.open(lab.keys))


@row(38, "not a database", "FAIL", None, "unreadable")
def a38_noise(world: World, armed: bool) -> Report:
    lab = world.copy()
    if armed:
        lab.db.write_bytes(sha256(b"noise").digest() * 600)
    with open_readonly(lab.db) as source:
        return verify(source, lab.policy)


@row(39, "the key that the log itself names", "FAIL", 0, "checkpoint_signature")
def a39(world: World, armed: bool) -> Report:
    lab, other = world.copy(), world.fresh()
    other.close()
    policy = Policy(other.policy.log, lab.policy.genesis) if armed else lab.policy
    report: Report = lab.verify(policy=policy)
    return report


UNREAD = "not read 0 to 16, whole FAIL at 8"


@row(40, "an old row, and only the new ones verified", "PASS-SINCE", None, UNREAD, "PASS-SINCE")
def a40(world: World, armed: bool) -> Said:
    lab = world.copy()
    kept = world.notes(lab)[17]
    if armed:
        blob(lab, "ledger_part", "ct", "seq = 8", flip(9))
    with open_readonly(lab.db) as source:
        report = verify(source, lab.policy, since=Since(kept, StoredPast(source)))
    low, high = report.to_json()["not_read"]  # type: ignore[misc]
    whole = lab.verify()
    said = f"not read {low} to {high}, whole {whole.verdict} at {whole.first_bad_seq}"
    return Said(report.verdict, report.first_bad_seq, (said,))


def hostile(name: str, change: Callable[[bytes], bytes], code: str, first_bad: int | None = None) -> None:
    def run(world: World, armed: bool) -> Report:
        path, policy = bundle(world)
        if armed:
            path.write_bytes(change(path.read_bytes()))
        return verify_bundle(path, policy)

    ROWS.append(Row(75, name, run, "FAIL", first_bad, code))


hostile("a huge line", lambda raw: b'{"a":"' + b"x" * (5 << 20) + raw, "line_too_long")
hostile("a truncated file", lambda raw: raw[: len(raw) // 2], "cut_short")
hostile("deep brackets", lambda raw: b"[" * 200_000 + b"\n" + raw, "line_format")
hostile("an archive", lambda raw: b"PK\x03\x04../../etc/passwd\n" + raw, "line_format")


@row(75, "a folder with a link out of it", "FAIL", None, "not_a_bundle")
def a75(world: World, armed: bool) -> Report:
    path, policy = bundle(world)
    (folder := world.place()).mkdir()
    path.rename(folder / "a.jsonl")
    (folder / ("b.jsonl" if armed else "b.txt")).symlink_to("/dev/zero")
    return verify_bundle(folder, policy)


# --- what only a daemon, a kill or a power cut shows ---------------------------------------------------

DAEMON = "tests/test_ledger_attacks.py"
HELD = [
    Held(41, "the clock set back, or forward", f"{DAEMON}::test_a41_a_step_is_on_the_ledger", "PASS"),
    Held(53, "rows of the search index removed", f"{DAEMON}::test_a53_a_record_without_its_index", "PASS"),
    Held(55, "killed in between", "audit/tests/test_disclose.py::test_a55_killed_in_between", "PASS"),
    Held(57, "a flood of denied looks", f"{DAEMON}::test_a57_a_flood_is_counted", "PASS"),
    Held(58, "glass broken without a reason", f"{DAEMON}::test_a58_no_reason_no_glass", "PASS"),
    Held(58, "one's own broken glass reviewed", f"{DAEMON}::test_a58_nobody_reviews_themselves", "PASS"),
    Held(58, "an expired window used", f"{DAEMON}::test_a58_an_expired_window_shows_nothing", "PASS"),
    Held(58, "a broken glass edited away", f"{DAEMON}::test_a58_nothing_is_taken_back", "FAIL", "opened"),
    Held(59, "the audit switched off", f"{DAEMON}::test_a59_every_start_and_stop_is_on_the_ledger", "PASS"),
    Held(63, "a plugin that forges, hangs or floods", f"{DAEMON}::test_a63_no_plugin_writes", "PASS"),
    Held(64, "text that would move a cursor or a cell", f"{DAEMON}::test_a64_hostile_text_is_text", "PASS"),
    Held(65, "a patient in errors, logs and names", f"{DAEMON}::test_a65_no_canary_outside", "PASS"),
    Held(66, "a second daemon on the store", f"{DAEMON}::test_a66_a_second_pen_is_refused", "PASS"),
    Held(67, "killed again and again under load",
         "tests/test_faults.py::test_kills_under_load_lose_nothing_and_decide_nothing_twice", "PASS"),
    Held(68, "a power cut after the answer",
         "tests/test_store_faults.py::test_power_cuts_lose_nothing_that_was_accepted", "PASS"),
    Held(69, "a message sent again", f"{DAEMON}::test_a69_a_repeat_is_one_row_and_one_entry", "PASS"),
]  # fmt: skip


# --- the table is run, and complete -------------------------------------------------------------------


@pytest.fixture
def world(full_lab: Any, tmp_path: Path, message: Any, determination: Any, canaries: Any) -> World:
    return World(full_lab, tmp_path, message, determination, canaries)


@pytest.mark.parametrize("row", ROWS, ids=str)
def test_attack(world: World, row: Row) -> None:
    control = row.run(world, False)
    assert (control.verdict, control.first_bad_seq) == (row.control, None), "the control"
    said = row.run(world, True)
    codes = said.codes if isinstance(said, Said) else tuple(problem.code for problem in said.problems)
    assert (said.verdict, said.first_bad_seq) == (row.verdict, row.first_bad), codes
    assert not row.code or row.code in codes, codes


def test_every_threat_has_its_rows_or_is_said_to_be_not_applicable_yet() -> None:
    rows = {row.number for row in ROWS} | {held.number for held in HELD}
    assert rows - {0} == set(range(1, 76)) - set(NOT_YET)
    assert set(NOT_YET) == {60, 61, 62, 70}
    assert len({str(row) for row in ROWS}) == len(ROWS), "each has a name of its own"
    ours = sum(row.number == 0 for row in ROWS)
    print(
        f"{len(rows) - 1} threats in {len(ROWS) - ours} rows here and {len(HELD)} held by daemon tests, "
        f"{len(NOT_YET)} not applicable yet; {ours} rows of our own"
    )


@cache
def collected() -> frozenset[str]:
    """What pytest itself collects of the files that rows name."""
    files = sorted({held.test.partition("::")[0] for held in HELD})
    command = [sys.executable, "-m", "pytest", "--collect-only", "-p", "no:cacheprovider", *files]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stdout[-2000:]
    return frozenset(line.partition("[")[0] for line in done.stdout.splitlines() if "::" in line)


def words_of(name: str) -> tuple[str, list[str]]:
    """A named test's text, and its assertions."""
    file, _, function = name.partition("::")
    text = (ROOT / file).read_text(encoding="utf-8")
    (node,) = (
        one for one in ast.parse(text).body if isinstance(one, ast.FunctionDef) and one.name == function
    )
    source = ast.get_source_segment(text, node) or ""
    return source, [ast.unparse(one.test) for one in ast.walk(node) if isinstance(one, ast.Assert)]


@pytest.mark.parametrize("held", HELD, ids=lambda held: f"A{held.number} {held.name}")
def test_a_row_held_elsewhere_is_a_test_with_a_verdict_and_a_control(held: Held) -> None:
    assert held.test in collected()
    source, asserted = words_of(held.test)
    verdicts = [one for one in asserted if "verdict" in one and f"'{held.verdict}'" in one]
    assert verdicts, "it asserts the verdict"
    if held.first_bad is not None:
        assert any("first_bad" in one and str(held.first_bad) in one for one in asserted), (
            "and the first bad entry"
        )
    assert re.search(r"#.*\bcontrol\b", source), "and has a control"


def test_the_check_of_held_rows_can_fail() -> None:
    """A pointer at nothing, and one at a test without a verdict: the planted errors."""
    assert f"{DAEMON}::test_a58_that_is_not_there" not in collected()
    _, asserted = words_of("audit/tests/test_keys.py::test_tokens_are_stable_and_separate_fields")
    assert not any("verdict" in one for one in asserted)

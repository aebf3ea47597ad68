"""Every attack that applies to a store: what the verifier says, and from which entry on.

Numbers are those of the threat list in the design (A1 to A75). Each case breaks a copy of the same ledger:
seq 0 genesis, 1 the token key (checkpoint of size 2), 2 to 6 data keys, then three blocks of four messages
and one determination, under checkpoints of size 12, 17 and 22.
"""

# ruff: noqa: S608  table and column names are this file's own constants

from __future__ import annotations

import json
import random
import shutil
import sqlite3
from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from umbridge_audit.checkpoint import COSIGNATURE, Checkpoint, VerifierKey, read_anchor, read_note, sign
from umbridge_audit.entry import Record, canonical, parse_leaf
from umbridge_audit.keys import Keyring
from umbridge_audit.policy import Policy
from umbridge_audit.seal import SealError, open_part
from umbridge_audit.slots import SCHEMAS
from umbridge_audit.store import Ledger, Rollback, open_readonly
from umbridge_audit.tree import Frontier, leaf_hash, root_of
from umbridge_audit.verify import verify

# --- the table: name, what is done to the file, verdict, first bad entry, one code that must be found ------


@dataclass
class Case:
    name: str
    change: Callable[[Any], object]
    first_bad: int | None
    code: str
    verdict: str = "FAIL"
    level: str = "keyless"


def blob(lab: Any, table: str, column: str, where: str, change: Callable[[bytes], bytes]) -> None:
    raw = lab.value(f"SELECT {column} FROM {table} WHERE {where}")
    new: object = change(raw) if isinstance(raw, bytes) else change(raw.encode()).decode()
    lab.sql((f"UPDATE {table} SET {column} = ? WHERE {where}", (new,)))


def leaf(seq: int, old: bytes, new: bytes) -> Callable[[Any], object]:
    def change(lab: Any) -> None:
        def replace(raw: bytes) -> bytes:
            assert old in raw
            return raw.replace(old, new, 1)

        blob(lab, "ledger_entry", "leaf", f"seq = {seq}", replace)

    return change


def opened(seq: int, old: bytes, new: bytes) -> Callable[[Any], object]:
    def change(lab: Any) -> None:
        def replace(raw: bytes) -> bytes:
            assert old in raw
            return raw.replace(old, new, 1)

        blob(lab, "ledger_entry", "open", f"seq = {seq}", replace)

    return change


def flip(at: int) -> Callable[[bytes], bytes]:
    return lambda raw: raw[:at] + bytes([raw[at] ^ 1]) + raw[at + 1 :]


def digit(at: int) -> Callable[[bytes], bytes]:
    """Another hex digit in place of one: the form of a leaf stays whole."""
    return lambda raw: raw[:at] + (b"1" if raw[at : at + 1] == b"0" else b"0") + raw[at + 1 :]


def sql(*statements: str) -> Callable[[Any], object]:
    return lambda lab: lab.sql(*statements)


def resign(lab: Any, change: Callable[[list[Record]], list[Record]], *, seed: bytes | None = None) -> None:
    """Rewrites all rows and hashes after a change, as an attacker with the file and the code can; then signs
    again with the key he has (``seed``) or leaves the old checkpoints."""
    with open_readonly(lab.db) as source:
        records = change(list(source.records()))
        notes = [note for _, note in source.checkpoints()]
    lab.sql("DELETE FROM ledger_entry", "DELETE FROM ledger_part")
    db = sqlite3.connect(lab.db)
    frontier = Frontier()
    roots = {0: frontier.root()}
    prev = b""
    for seq, record in enumerate(records):
        value = json.loads(record.leaf)
        value["seq"] = seq
        if seq:
            value["prev"] = prev.hex()
        raw = json.dumps(value, sort_keys=True, separators=(",", ":")).encode()
        db.execute("INSERT INTO ledger_entry VALUES (?, ?, ?, ?)", (seq, raw, record.open, record.closed))
        for c, ct in record.parts.items():
            db.execute("INSERT INTO ledger_part VALUES (?, ?, ?)", (seq, c, ct))
        prev = leaf_hash(raw)
        frontier.append(prev)
        roots[frontier.size] = frontier.root()
    if seed is not None:
        key = Ed25519PrivateKey.from_private_bytes(seed)
        for n, note in enumerate(notes):
            size = min(int(note.split("\n")[1]), len(records))
            new = sign(Checkpoint(lab.policy.origin, size, roots[size]), key)
            db.execute("UPDATE ledger_checkpoint SET note = ? WHERE n = ?", (new, n))
    db.commit()
    db.close()


def drop_ninth(records: list[Record]) -> list[Record]:
    return records[:9] + records[10:]


SWAP = "UPDATE ledger_part SET seq = CASE seq {} END WHERE c = 'ops' AND seq IN ({})"
SWAP_5_6 = (
    "UPDATE ledger_part SET seq = -1 WHERE seq = 8",
    "UPDATE ledger_part SET seq = 8 WHERE seq = 9",
    "UPDATE ledger_part SET seq = 9 WHERE seq = -1",
)
ROWS_5_6 = (
    "UPDATE ledger_entry SET seq = 1000 WHERE seq = 8",
    "UPDATE ledger_entry SET seq = 8 WHERE seq = 9",
    "UPDATE ledger_entry SET seq = 9 WHERE seq = 1000",
    "UPDATE ledger_part SET seq = 1000 WHERE seq = 8",
    "UPDATE ledger_part SET seq = 8 WHERE seq = 9",
    "UPDATE ledger_part SET seq = 9 WHERE seq = 1000",
)
PARTS_6 = "INSERT INTO ledger_part SELECT {}, c, ct FROM ledger_part WHERE seq = 9"
LAST = "(SELECT max(seq) FROM ledger_entry)"
NOTE = "(SELECT max(n) FROM ledger_checkpoint)"


def move_part(lab: Any) -> None:
    lab.sql(
        "UPDATE ledger_part SET c = 'x' WHERE c = 'fin'",
        "UPDATE ledger_part SET c = 'fin' WHERE c = 'sens'",
        "UPDATE ledger_part SET c = 'sens' WHERE c = 'x'",
    )


def restate_size(lab: Any) -> None:
    blob(lab, "ledger_checkpoint", "note", f"n = {NOTE}", lambda raw: raw.replace(b"\n22\n", b"\n21\n"))


def break_signature(lab: Any) -> None:
    def change(raw: bytes) -> bytes:
        text = raw.decode().rstrip("\n")
        return (text[:-10] + ("A" if text[-10] != "A" else "B") + text[-9:] + "\n").encode()

    blob(lab, "ledger_checkpoint", "note", f"n = {NOTE}", change)


def add_line(lab: Any) -> None:
    line = f"— mallory {b64encode(b'abcd' + bytes(64)).decode()}\n".encode()
    blob(lab, "ledger_checkpoint", "note", f"n = {NOTE}", lambda raw: raw + line)


def renumber(value: int) -> Callable[[Any], object]:
    return sql(f"UPDATE ledger_entry SET seq = {value} WHERE seq = 8")


def nullable(lab: Any) -> None:
    lab.sql(
        "CREATE TABLE loose (seq, leaf, open, closed)",
        "INSERT INTO loose SELECT * FROM ledger_entry",
        "DROP TABLE ledger_entry",
        "ALTER TABLE loose RENAME TO ledger_entry",
        "UPDATE ledger_entry SET leaf = NULL WHERE seq = 8",
    )


def text_for_blob(lab: Any) -> None:
    lab.sql(
        "CREATE TABLE loose (seq, leaf, open, closed)",
        "INSERT INTO loose SELECT seq, CAST(leaf AS TEXT), open, closed FROM ledger_entry",
        "DROP TABLE ledger_entry",
        "ALTER TABLE loose RENAME TO ledger_entry",
    )


CASES = [
    Case(
        "A1 leaf digit", lambda lab: blob(lab, "ledger_entry", "leaf", "seq = 8", digit(40)), 8, "fields_root"
    ),
    Case("A2 ciphertext bit", lambda lab: blob(lab, "ledger_part", "ct", "seq = 8", flip(9)), 8, "part_hash"),
    Case("A2 tag bit", lambda lab: blob(lab, "ledger_part", "ct", "seq = 8", flip(-1)), 8, "part_hash"),
    Case(
        "A2 ciphertext cut",
        lambda lab: blob(lab, "ledger_part", "ct", "seq = 8", lambda b: b[:-1]),
        8,
        "part_hash",
    ),
    Case("A3 ts", opened(8, b'"ts","2', b'"ts","1'), 8, "fields_root"),
    Case("A3 actor", opened(8, b'"umbridge"', b'"mallory"'), 8, "fields_root"),
    Case("A3 kind", opened(8, b"message.received/1", b"message.ignored/1"), 8, "fields_root"),
    Case(
        "A3 salt",
        lambda lab: blob(
            lab,
            "ledger_entry",
            "open",
            "seq = 8",
            lambda b: b[:9] + (b"A" if b[9:10] != b"A" else b"B") + b[10:],
        ),
        8,
        "fields_root",
    ),
    Case("A4 prev edited too", leaf(9, b'"prev":"', b'"prev":"f'), 9, "leaf_format"),
    Case("A5 suffix rewritten", lambda lab: resign(lab, drop_ninth), 2, "checkpoint_root"),
    Case(
        "A5 and signed by another key",
        lambda lab: resign(lab, drop_ninth, seed=bytes(32)),
        0,
        "checkpoint_signature",
    ),
    Case(
        "A7 middle row",
        sql("DELETE FROM ledger_entry WHERE seq = 8", "DELETE FROM ledger_part WHERE seq = 8"),
        8,
        "seq_gap",
    ),
    Case("A7 middle row, part left", sql("DELETE FROM ledger_entry WHERE seq = 8"), 8, "part_orphan"),
    Case("A8 first row", sql("DELETE FROM ledger_entry WHERE seq = 0"), 0, "genesis"),
    Case(
        "A9 row inserted in the middle, all hashed again",
        lambda lab: resign(lab, lambda records: [*records[:9], records[8], *records[9:]]),
        2,
        "checkpoint_root",
    ),
    Case("A2 nonce", leaf(8, b'"n":"', b'"n":"A'), 8, "leaf_format"),
    Case("A10 rows swapped", sql(*ROWS_5_6), 8, "seq_row"),
    Case(
        "A11 duplicate under a new seq",
        sql(
            f"INSERT INTO ledger_entry SELECT 1 + {LAST}, leaf, open, closed FROM ledger_entry WHERE seq = 9",
            PARTS_6.format(f"{LAST}"),
        ),
        22,
        "seq_row",
    ),
    Case(
        "A13 tail and its checkpoint cut",
        sql(
            "DELETE FROM ledger_entry WHERE seq >= 20",
            "DELETE FROM ledger_part WHERE seq >= 20",
            f"DELETE FROM ledger_checkpoint WHERE n = {NOTE}",
        ),
        20,
        "anchor_ahead",
    ),
    Case(
        "A13 tail cut, checkpoint kept",
        sql("DELETE FROM ledger_entry WHERE seq >= 20", "DELETE FROM ledger_part WHERE seq >= 20"),
        20,
        "truncated",
    ),
    Case(
        "A13 last checkpoint only",
        sql(f"DELETE FROM ledger_checkpoint WHERE n = {NOTE}"),
        17,
        "checkpoint_missing",
    ),
    Case(
        "A19 emptied",
        sql("DELETE FROM ledger_entry", "DELETE FROM ledger_part", "DELETE FROM ledger_checkpoint"),
        0,
        "empty",
    ),
    Case("A19 entries dropped", sql("DROP TABLE ledger_entry"), None, "table_missing"),
    Case("A19 parts dropped", sql("DROP TABLE ledger_part"), None, "table_missing"),
    Case("A19 checkpoints dropped", sql("DROP TABLE ledger_checkpoint"), None, "table_missing"),
    Case("A19 no checkpoint at all", sql("DELETE FROM ledger_checkpoint"), 0, "checkpoint_missing"),
    Case("A20 ciphertexts swapped", sql(*SWAP_5_6), 8, "part_hash"),
    Case("A21 moved between compartments", move_part, 11, "part_hash"),
    Case("A22 another chain's entry", leaf(8, b"genhosp/adt-1", b"genhosp/adt-2"), 8, "other_chain"),
    Case("A22 another generation's", leaf(8, b'"gen":1', b'"gen":2'), 8, "other_chain"),
    Case("A26 kid relabelled", leaf(8, b'"kid":"ops.', b'"kid":"fin.'), 8, "leaf_format"),
    Case("A26 kid never introduced", leaf(8, b'"kid":"ops.2', b'"kid":"ops.1'), 8, "key_unknown"),
    Case("A26 version", leaf(8, b'"v":2', b'"v":1'), 8, "leaf_format"),
    Case("A26 algorithm", opened(1, b"HMAC-SHA-256", b"HMAC-MD5"), 1, "fields_root"),
    Case("A27 size in the note", restate_size, 17, "checkpoint_signature"),
    Case("A28 stranger's line in the store", add_line, 17, "checkpoint_signature"),
    Case("A29 signature broken", break_signature, 17, "checkpoint_signature"),
    Case("A36 space", leaf(8, b'"gen":1', b'"gen": 1'), 8, "leaf_format"),
    Case("A36 2.0", leaf(8, b'"v":2', b'"v":2.0'), 8, "leaf_format"),
    Case("A36 true for 2", leaf(8, b'"v":2', b'"v":true'), 8, "leaf_format"),
    Case(
        "A36 escape",
        leaf(8, b"genhosp", b"\\u0067enhosp"),
        8,
        "leaf_format",
    ),
    Case("A36 duplicate key", leaf(8, b'"gen":1', b'"gen":1,"gen":1'), 8, "leaf_format"),
    Case("A36 byte order mark", leaf(8, b'{"chain', b'\xef\xbb\xbf{"chain'), 8, "leaf_format"),
    Case(
        "A36 upper-case hex",
        lambda lab: blob(
            lab, "ledger_entry", "leaf", "seq = 8", lambda b: b[:50] + b[50:110].upper() + b[110:]
        ),
        8,
        "leaf_format",
    ),
    Case("A36 space in open", opened(8, b",", b", "), 8, "open_slots"),
    Case("A36 escape in open", opened(8, b'"umbridge"', b'"\\u0075mbridge"'), 8, "open_slots"),
    Case(
        "A37 compartment's root only",
        lambda lab: blob(lab, "ledger_entry", "closed", "seq = 8", flip(3)),
        8,
        "fields_root",
    ),
    Case(
        "A37 ciphertext only",
        lambda lab: blob(lab, "ledger_part", "ct", f"seq = {LAST}", flip(100)),
        21,
        "part_hash",
    ),
    Case(
        "A46 compartments' roots swapped",
        lambda lab: blob(lab, "ledger_entry", "closed", "seq = 11", lambda b: b[32:64] + b[:32] + b[64:]),
        11,
        "fields_root",
    ),
    Case(
        "A46 compartment's root cut off",
        lambda lab: blob(lab, "ledger_entry", "closed", "seq = 8", lambda b: b[:-32]),
        8,
        "closed_slots",
    ),
    Case("A61 ciphertext gone", sql("DELETE FROM ledger_part WHERE seq = 8"), 8, "part_missing"),
    Case("A61 one of several gone", sql("DELETE FROM ledger_part WHERE c = 'clin'"), 11, "part_missing"),
    Case("extra part", sql("INSERT INTO ledger_part VALUES (8, 'clin', x'00')"), 8, "part_missing"),
    Case("A74 seq negative", renumber(-5), 0, "seq_gap"),
    Case("A74 seq 2^63-1", renumber(2**63 - 1), 8, "part_orphan"),
    Case(
        "A74 part far away",
        sql("UPDATE ledger_part SET seq = 9223372036854775807 WHERE seq = 8"),
        8,
        "part_missing",
    ),
    Case(
        "A74 part before all",
        sql("UPDATE ledger_part SET seq = -9223372036854775808 WHERE seq = 8"),
        0,
        "part_orphan",
    ),
    Case("A74 null", nullable, None, "row_type"),
    Case("A74 text for blob", text_for_blob, None, "row_type"),
    Case(
        "A74 checkpoint n", sql(f"UPDATE ledger_checkpoint SET n = 99 WHERE n = {NOTE}"), 17, "checkpoint_gap"
    ),
    Case(
        "A74 checkpoint n negative",
        sql("UPDATE ledger_checkpoint SET n = -1 WHERE n = 0"),
        0,
        "checkpoint_gap",
    ),
    Case(
        "undecodable text",
        sql("UPDATE ledger_entry SET open = CAST(x'ff' AS TEXT) WHERE seq = 8"),
        8,
        "row_text",
    ),
]
CASES = [case for case in CASES if case.code]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_attack(full_lab: Any, tmp_path: Path, case: Case) -> None:
    lab = full_lab.copy(tmp_path / "broken")
    assert lab.verify().verdict == "PASS"
    case.change(lab)
    report = lab.verify(case.level)
    codes = [(p.code, p.seq) for p in report.problems]
    assert report.verdict == case.verdict, codes
    assert report.first_bad_seq == case.first_bad, codes
    assert case.code in [code for code, _ in codes], codes


# --- attackers with more than the file ----------------------------------------------------------------


def seed(lab: Any) -> bytes:
    raw: bytes = (lab.keys / "log.key").read_bytes()
    return raw


def test_a6_stolen_signing_key_is_caught_by_the_anchor_alone(full_lab: Any, tmp_path: Path) -> None:
    lab = full_lab.copy(tmp_path / "broken")
    # all that can be done with the key: drop a message, rewrite what follows, sign every checkpoint again
    resign(lab, drop_ninth, seed=seed(lab))
    assert (
        lab.verify(anchored=False).verdict == "PASS"
    )  # the trust table says so: without an outside party, yes
    report = lab.verify()
    assert (report.verdict, report.first_bad_seq) == ("FAIL", 2)
    assert {p.code for p in report.problems} == {"anchor_root", "anchor_ahead"}
    with pytest.raises(Rollback):
        Ledger.open(lab.engine.connect(), Keyring.open(lab.keys), anchor=lab.anchor)
    lab.close()


def test_a12_the_window_is_stated(lab: Any, message: Any, tmp_path: Path) -> None:
    """Entries after the last checkpoint can be cut unseen: that is what ``unanchored`` says beforehand."""
    lab.write(message(1))
    assert lab.verify().unanchored == 2
    twin = lab.copy(tmp_path / "cut")
    twin.sql("DELETE FROM ledger_entry WHERE seq >= 2", "DELETE FROM ledger_part WHERE seq >= 2")
    assert twin.verify().verdict == "PASS"


def test_a14_old_copy_put_back(lab: Any, message: Any, tmp_path: Path) -> None:
    lab.write(message(1))
    lab.ledger.checkpoint()
    old = lab.copy(tmp_path / "old")
    lab.write(message(2))
    lab.ledger.checkpoint()
    shutil.copy(lab.anchor, old.anchor)
    report = old.verify()
    assert (report.verdict, report.first_bad_seq) == ("FAIL", report.entries)
    with pytest.raises(Rollback):
        Ledger.open(old.engine.connect(), Keyring.open(old.keys), anchor=old.anchor)
    old.close()


def test_a16_two_notes_of_one_size_are_a_fork(full_lab: Any) -> None:
    key = Ed25519PrivateKey.from_private_bytes(seed(full_lab))
    other = sign(Checkpoint(full_lab.policy.origin, 12, bytes(32)), key)
    with open_readonly(full_lab.db) as source:
        report = verify(source, full_lab.policy, anchor_notes=[*read_anchor(full_lab.anchor), other])
    assert report.verdict == "FAIL" and "forked" in {p.code for p in report.problems}


def test_a23_swapped_keys(full_lab: Any, tmp_path: Path) -> None:
    lab = full_lab.copy(tmp_path / "broken")
    path = lab.keys / "keystore.json"
    store = json.loads(path.read_text())
    by_kind = {item["kid"].split(".")[0]: item for item in store["keys"]}
    by_kind["clin"]["wrapped"], by_kind["fin"]["wrapped"] = (
        by_kind["fin"]["wrapped"],
        by_kind["clin"]["wrapped"],
    )
    path.write_text(json.dumps(store))
    report = lab.verify("full")
    assert report.verdict == "INCOMPLETE" and "key_refused" in {p.code for p in report.problems}
    assert lab.verify("keyless").verdict == "PASS"  # integrity does not hang on the keys
    # a key that is whole in the keystore, commitment and all, but is not the one the ledger announced
    keyring = Keyring.open(full_lab.keys)
    kid = by_kind["clin"]["kid"]
    from umbridge_audit.seal import dek_commit

    fake = bytes(range(32))
    by_kind["clin"]["wrapped"] = b64encode(keyring._provider.wrap(kid, "XAES-256-GCM", fake)).decode()
    by_kind["clin"]["commit"] = dek_commit(kid, fake)
    path.write_text(json.dumps(store))
    report = lab.verify("full")
    assert report.verdict == "FAIL" and "key_commit" in {p.code for p in report.problems}


def test_a24_a_second_plaintext_is_caught_by_the_commitments(full_lab: Any, tmp_path: Path) -> None:
    """A ciphertext with the right key and place, saying something else, leaf and signatures redone."""
    lab = full_lab.copy(tmp_path / "broken")
    keyring = Keyring.open(lab.keys)

    def change(records: list[Record]) -> list[Record]:
        record = records[-1]  # the last, so that no other leaf's prev changes
        leaf = parse_leaf(record.leaf)
        part = next(p for p in leaf.parts if p.c == "clin")
        schema = SCHEMAS["determination"]
        cipher = keyring.cipher(part.kid)
        from base64 import b64decode

        from umbridge_audit.seal import part_aad

        plain = cipher.unseal(b64decode(part.n), record.parts["clin"], part_aad(leaf, part))
        assert b"MEETS" in plain
        ct = cipher.seal(b64decode(part.n), plain.replace(b"MEETS", b"REFER"), part_aad(leaf, part))
        raw = record.leaf.replace(part.h.encode(), sha256(ct).hexdigest().encode())
        forged = Record(record.seq, raw, record.open, record.closed, {**record.parts, "clin": ct})
        assert open_part(schema, leaf, part, ct, cipher)[schema.number["outcome"]][1] == "REFER"
        return [*records[:-1], forged]

    resign(lab, change, seed=seed(lab))
    assert lab.verify("keyless", anchored=False).verdict == "PASS"
    report = lab.verify("full", anchored=False)
    assert (report.verdict, report.first_bad_seq) == ("FAIL", 21)
    assert [p.code for p in report.problems] == ["part_content"]


def test_a20_a21_the_additional_data_holds_a_ciphertext_in_its_place(full_lab: Any) -> None:
    keyring = Keyring.open(full_lab.keys)
    with open_readonly(full_lab.db) as source:
        one, two = source.record(11), source.record(16)
    schema = SCHEMAS["determination"]
    leaf, other = parse_leaf(one.leaf), parse_leaf(two.leaf)
    for part in leaf.parts:
        cipher = keyring.cipher(part.kid)
        open_part(schema, leaf, part, one.parts[part.c], cipher)
        with pytest.raises(SealError):
            open_part(schema, other, part, one.parts[part.c], cipher)


def test_a28_a_strangers_line_in_an_outside_note_is_ignored(full_lab: Any) -> None:
    notes = read_anchor(full_lab.anchor)
    line = f"— stranger {b64encode(b'abcd' + bytes(72)).decode()}\n"
    clash = f"— other.example {b64encode(full_lab.policy.log.key_id + bytes(64)).decode()}\n"
    with open_readonly(full_lab.db) as source:
        report = verify(source, full_lab.policy, anchor_notes=[note + line + clash for note in notes])
        assert report.verdict == "PASS"
        only = notes[-1].split("— ")[0] + line
        assert verify(source, full_lab.policy, anchor_notes=[only]).verdict == "FAIL"
        broken = notes[-1][:-6] + "AAAA=\n"
        assert verify(source, full_lab.policy, anchor_notes=[broken + line]).verdict == "FAIL"


def test_a32_expected_witnesses_that_are_not_there(full_lab: Any) -> None:
    vkey = VerifierKey("witness.example", bytes(32), COSIGNATURE)
    text = full_lab.policy.text().replace("quorum none", f"witness w1 {vkey}\ngroup g any w1\nquorum g")
    report = full_lab.verify(policy=Policy.read(text))
    assert (report.verdict, report.exit_code) == ("PASS-UNWITNESSED", 3)


def test_a38_an_error_is_not_a_success(full_lab: Any) -> None:
    class Failing:
        @contextmanager
        def snapshot(self) -> Iterator[None]:
            yield

        def records(self, start: int = 0, stop: int | None = None) -> Iterator[Record]:
            with open_readonly(full_lab.db) as source:
                yield from source.records(0, 9)
            raise OSError("disk")

        def checkpoints(self) -> Iterator[tuple[int, str]]:
            with open_readonly(full_lab.db) as source:
                yield from list(source.checkpoints())

    report = verify(Failing(), full_lab.policy)
    assert (report.verdict, report.exit_code) == ("INCOMPLETE", 4)
    assert full_lab.verify("full").verdict == "PASS"
    with open_readonly(full_lab.db) as source:
        assert verify(source, full_lab.policy, level="full", keyring=None).verdict == "INCOMPLETE"


def test_a38_not_a_database(full_lab: Any, tmp_path: Path) -> None:
    path = tmp_path / "noise.db"
    path.write_bytes(random.Random(7).randbytes(20_000))
    with open_readonly(path) as source:
        assert verify(source, full_lab.policy).verdict == "FAIL"
    path.write_bytes(b"")
    with open_readonly(path) as source:
        assert verify(source, full_lab.policy).verdict == "FAIL"


def test_a39_only_the_pinned_key_counts(full_lab: Any, lab: Any) -> None:
    report = full_lab.verify(policy=lab.policy)
    assert report.verdict == "FAIL" and report.first_bad_seq == 0
    swapped = Policy(
        lab.policy.log, full_lab.policy.genesis
    )  # the log's own text names a key; it is not asked
    report = full_lab.verify(policy=swapped)
    assert report.verdict == "FAIL" and "checkpoint_signature" in {p.code for p in report.problems}


def test_a47_a_hidden_word_cannot_be_guessed(full_lab: Any) -> None:
    """Six possible outcomes, and still no guess without the salt gives the stored commitment."""
    schema = SCHEMAS["determination"]
    k = schema.number["outcome"]
    with open_readonly(full_lab.db, Keyring.open(full_lab.keys)) as source:
        record = source.record(11)
        salt = next(salt for n, salt, _, _ in source.openings(record)["clin"] if n == k)
        clin = source.openings(record)["clin"]
        others = [schema.commitment(n, s.encode(), canonical(v).encode()) for n, s, _, v in clin if n != k]
        at = schema.compartments.index("clin")
        stored = record.closed[32 * at : 32 * at + 32]
        shown = [row[1] for row in source.openings(record, ())["open"]]

    def root_with(guess: bytes) -> bytes:
        """The stored hash, if a guess is right: from all other slots of the compartment."""
        place = k - schema.of["clin"].start
        return root_of([*others[:place], guess, *others[place:]])

    words = ["MEETS", "MEETS_ADVISE_HIGHER", "REFER", "PEND", "NOT_APPLICABLE"]
    guesses = {
        schema.commitment(k, s.encode(), f'"{word}"'.encode())
        for word in words
        for s in ["", b64encode(bytes(32)).decode(), *shown]
    }
    assert stored not in {root_with(guess) for guess in guesses}
    assert stored == root_with(
        schema.commitment(k, salt.encode(), b'"MEETS"')
    )  # the control: with the salt it is told


# --- the property: any change to any cell of any row -------------------------------------------------

COLUMNS = {
    "ledger_entry": ("seq", "leaf", "open", "closed"),
    "ledger_part": ("seq", "c", "ct"),
    "ledger_checkpoint": ("n", "note"),
}


def other_text(raw: bytes, how: str, at: int) -> bytes:
    """A changed value of the same type: a bit, a cut, an insertion, or what a lax reader would not notice."""
    if not raw:
        return b"x"
    at %= len(raw)
    if how == "bit":
        return raw[:at] + bytes([raw[at] ^ (1 << at % 7)]) + raw[at + 1 :]
    if how == "case":
        return raw.swapcase()
    if how == "space":
        return raw.replace(b",", b", ", 1)
    if how == "newline":
        return raw + b"\n"
    if how == "padding":
        return raw.replace(b"=", b"", 1)
    if how == "nul":
        return raw + b"\x00"
    if how == "cut":
        return raw[:at]
    if how == "double":
        return raw + raw
    return raw[: at + 1] + raw[at:]


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    st.sampled_from([(t, c) for t, cs in COLUMNS.items() for c in cs]),
    st.integers(0, 10_000),
    st.sampled_from(
        ["bit", "case", "space", "newline", "padding", "nul", "cut", "double", "insert", "delete row"]
    ),
    st.integers(0, 100_000),
)
def test_any_change_to_any_cell_fails(
    full_lab: Any, tmp_path_factory: Any, cell: tuple[str, str], row: int, how: str, at: int
) -> None:
    table, column = cell
    folder = tmp_path_factory.mktemp("cell")
    lab = full_lab.copy(folder / "lab")
    count = int(str(lab.value(f"SELECT count(*) FROM {table}")))
    rowid = int(str(lab.value(f"SELECT rowid FROM {table} ORDER BY rowid LIMIT 1 OFFSET {row % count}")))
    old = lab.value(f"SELECT {column} FROM {table} WHERE rowid = {rowid}")
    try:
        if how == "delete row":
            lab.sql(f"DELETE FROM {table} WHERE rowid = {rowid}")
        elif isinstance(old, int):
            lab.sql(
                (
                    f"UPDATE {table} SET {column} = ? WHERE rowid = {rowid}",
                    (at - 50_000 if at != old else -1,),
                )
            )
        else:
            assert isinstance(old, (bytes, str))
            new = other_text(old.encode() if isinstance(old, str) else old, how, at)
            cast = "TEXT" if isinstance(old, str) else "BLOB"
            lab.sql((f"UPDATE {table} SET {column} = CAST(? AS {cast}) WHERE rowid = {rowid}", (new,)))
            if new == (old.encode() if isinstance(old, str) else old):
                return
        if lab.value(f"SELECT count(*) FROM {table}") == count and (
            lab.value(f"SELECT count(*) FROM {table} WHERE rowid = {rowid}") == 1
            and lab.value(f"SELECT {column} FROM {table} WHERE rowid = {rowid}") == old
        ):
            return
    except sqlite3.IntegrityError:
        return  # the number is taken by another row: nothing was changed
    except sqlite3.OperationalError:
        pass  # text that is no text any more
    finally:
        report = lab.verify()
        shutil.rmtree(folder)
    assert report.verdict == "FAIL"


def test_read_note_is_total() -> None:
    key = VerifierKey("umbridge.a/b/1", bytes(32))

    @settings(max_examples=200, deadline=None)
    @given(st.text())
    def run(text: str) -> None:
        with pytest.raises(ValueError):
            read_note(text, key, exact=False)

    run()

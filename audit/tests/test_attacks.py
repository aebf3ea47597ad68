"""Attackers with more than the file, at length, and the property behind the table: any change to any cell.

The table itself, with every threat by its number, is test_attack_table.py. The ledger here is the same.
"""

# ruff: noqa: S608  table and column names are this file's own constants

from __future__ import annotations

import shutil
import sqlite3
from base64 import b64decode, b64encode
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from breaking import drop_ninth, resign, seed
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from umbridge_audit.checkpoint import VerifierKey, read_note
from umbridge_audit.entry import Record, canonical, parse_leaf
from umbridge_audit.keys import Keyring
from umbridge_audit.seal import SealError, open_part, part_aad
from umbridge_audit.slots import SCHEMAS
from umbridge_audit.store import Ledger, Rollback, open_readonly
from umbridge_audit.tree import root_of


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
        Ledger.open(lab.connect(), Keyring.open(lab.keys), anchor=lab.anchor)
    lab.close()


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
        Ledger.open(old.connect(), Keyring.open(old.keys), anchor=old.anchor)
    old.close()


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


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
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

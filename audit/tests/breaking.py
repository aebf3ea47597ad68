"""What an attacker with the file, or with more, does to a copy of a ledger."""

# ruff: noqa: S608  table and column names are the tests' own constants

from __future__ import annotations

import json
import sqlite3
from base64 import b64encode
from collections.abc import Callable
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from umbridge_audit.checkpoint import Checkpoint, sign
from umbridge_audit.entry import Record
from umbridge_audit.store import open_readonly
from umbridge_audit.tree import Frontier, leaf_hash


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


def seed(lab: Any) -> bytes:
    """The stolen signing key."""
    raw: bytes = (lab.keys / "log.key").read_bytes()
    return raw

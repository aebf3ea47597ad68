"""The vectors: SPEC.md's example is what the code writes, others' numbers are what it computes."""

from __future__ import annotations

import json
from hashlib import shake_128
from pathlib import Path
from types import ModuleType

import pytest
from umbridge_audit.checkpoint import VerifierKey, read_note
from umbridge_audit.entry import FormatError, canonical, parse
from umbridge_audit.seal import Xaes
from umbridge_audit.slots import BY_NAME

VECTORS = Path(__file__).parent / "vectors"


def load(name: str) -> dict[str, object]:
    value = json.loads((VECTORS / name).read_text())
    assert isinstance(value, dict)
    return value


def test_spec_and_vectors_are_what_the_code_writes(make_vectors: ModuleType, spec_text: str) -> None:
    assert make_vectors.spec_text(spec_text) == spec_text
    written = {p.name: p.read_text() for p in VECTORS.iterdir()}
    assert written == make_vectors.files()


def test_the_spec_lists_every_kind(oracle: ModuleType, spec_text: str) -> None:
    table = oracle.kinds(spec_text)
    assert table == {schema.name: list(schema.slots) for schema in BY_NAME.values()}


def test_xaes_vectors() -> None:
    vectors = load("xaes.json")["vectors"]
    assert isinstance(vectors, list)
    for vector in vectors:
        key, nonce, plain, aad, ct = (
            bytes.fromhex(vector[k]) for k in ("key", "nonce", "plaintext", "aad", "ciphertext")
        )
        assert Xaes(key).seal(nonce, plain, aad) == ct
        assert Xaes(key).unseal(nonce, ct, aad) == plain


def test_xaes_accumulated() -> None:
    """C2SP's 10,000 rounds: inputs from one SHAKE128, ciphertexts into another."""
    source = shake_128(b"").digest(10_000 * (32 + 24 + 2 + 510))
    at = 0

    def take(count: int) -> bytes:
        nonlocal at
        at += count
        return source[at - count : at]

    total = shake_128()
    for _ in range(10_000):
        key, nonce = take(32), take(24)
        plain = take(take(1)[0])
        aad = take(take(1)[0])
        total.update(Xaes(key).seal(nonce, plain, aad))
    accumulated = load("xaes.json")["accumulated"]
    assert isinstance(accumulated, dict)
    assert total.hexdigest(32) == accumulated["10000"]


def test_canonical_vectors() -> None:
    vectors = load("canonical.json")
    assert isinstance(vectors["same"], list) and isinstance(vectors["refused"], list)
    for text in vectors["same"]:
        assert canonical(parse(text)) == text
    for text in vectors["refused"]:
        with pytest.raises(FormatError):
            parse(text)


def test_note_vectors() -> None:
    vectors = load("note.json")
    key = VerifierKey.read(str(vectors["vkey"]))
    assert read_note(str(vectors["good"]), key, exact=True).size == 3
    assert isinstance(vectors["bad"], dict)
    for name, note in vectors["bad"].items():
        for exact in (True, False):
            with pytest.raises(FormatError):
                pytest.fail(f"{name} was taken: {read_note(note, key, exact=exact)}")


def test_c2sp_vkey_example() -> None:
    """https://c2sp.org/signed-note: the key id of PeterNeumann and of the page's example key."""
    text = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
    key = VerifierKey.read(text)
    assert key.key_id.hex() == "c74f20a3" and str(key) == text
    body = "If you think cryptography is the answer to your problem,\n"
    body += "then you don't know what your problem is.\n"
    from base64 import b64decode

    raw = b64decode(
        "x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM="
    )
    assert raw[:4] == key.key_id and key.good(body.encode(), raw[4:])


@pytest.mark.parametrize(
    ("name", "entries"), [("ledger.json", 3), ("determinations.json", 8), ("reviews.json", 8)]
)
def test_the_oracle_agrees_with_the_example(
    oracle: ModuleType, spec_text: str, tmp_path: Path, name: str, entries: int
) -> None:
    import sqlite3

    example = load(name)
    path = tmp_path / "example.db"
    db = sqlite3.connect(path)
    db.executescript(
        "CREATE TABLE ledger_entry (seq INTEGER PRIMARY KEY, leaf BLOB, open TEXT, closed BLOB);"
        "CREATE TABLE ledger_part (seq INTEGER, c TEXT, ct BLOB);"
        "CREATE TABLE ledger_checkpoint (n INTEGER PRIMARY KEY, note TEXT);"
    )
    assert isinstance(example["records"], list) and isinstance(example["keys"], dict)
    for row in example["records"]:
        db.execute(
            "INSERT INTO ledger_entry VALUES (?, ?, ?, ?)",
            (row["seq"], row["leaf"].encode(), row["open"], bytes.fromhex(row["closed"])),
        )
        for c, ct in row["parts"].items():
            db.execute("INSERT INTO ledger_part VALUES (?, ?, ?)", (row["seq"], c, bytes.fromhex(ct)))
    db.execute("INSERT INTO ledger_checkpoint VALUES (0, ?)", (example["checkpoint"],))
    db.commit()
    db.close()
    keys = {kid: bytes.fromhex(key) for kid, key in example["keys"].items()}
    assert oracle.ledger(path, str(example["policy"]), spec_text, keys) == entries


def test_the_spec_names_every_fault(spec_text: str) -> None:
    """Scripts and reports hang on codes: none is used that section 13 does not list, and none is idle."""
    import re

    package = Path(__file__).parents[1] / "umbridge_audit"
    source = "".join(p.read_text() for p in package.rglob("*.py"))
    used = set(re.findall(r'(?:\badd|add_root|fault|SourceError)\(\s*"([a-z_]+)"', source))
    used |= set(re.findall(r'SourceError\("genesis" if prev is None else "([a-z_]+)"', source))
    used |= set(re.findall(r'record\.seq, hashed, "([a-z_]+)"', source))
    listed = spec_text.partition("Faults have codes:")[2].partition("## 14.")[0]
    named = {word for text in re.findall("`([a-z_ \n]+)`", listed) for word in text.split()}
    assert used == named

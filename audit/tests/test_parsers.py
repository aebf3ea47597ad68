"""Every reader of somebody else's bytes: a value or our own error, for whatever is there, and within limits.

One table of readers, each with a specimen it takes; one bag of changes: bytes moved about, cut, doubled, made
huge or deep, other files' beginnings, tricks with paths and code points. A new reader belongs in the table.
"""

from __future__ import annotations

import json
import random
import time
from base64 import b64encode
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from umbridge_audit.bundle import read_slots, verify_bundle
from umbridge_audit.checkpoint import (
    COSIGNATURE,
    Checkpoint,
    VerifierKey,
    read_anchor,
    read_note,
    sign,
    signature_line,
    take_apart,
)
from umbridge_audit.cosign import cosign, cosigned_at
from umbridge_audit.entry import FormatError, canonical, parse, parse_leaf
from umbridge_audit.heads import HeadError, Heads
from umbridge_audit.kek import read_key_file
from umbridge_audit.keys import KeyRefusedError, Keyring
from umbridge_audit.policy import Policy
from umbridge_audit.proof import read_receipt, verify_receipt
from umbridge_audit.redact import AccessTable
from umbridge_audit.resume import Since
from umbridge_audit.slots import check_open
from umbridge_audit.store import open_readonly
from umbridge_audit.store.history import StoredPast
from umbridge_audit.store.receipts import take_receipt
from umbridge_audit.verify import verify
from umbridge_audit.witness import read_request, write_request

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
ORIGIN = "umbridge.genhosp/adt-1/1"
LOG = VerifierKey(ORIGIN, KEY.public_key().public_bytes_raw())
WITNESS = VerifierKey("w1.example", KEY.public_key().public_bytes_raw(), COSIGNATURE)
HEAD = Checkpoint(ORIGIN, 12, bytes(range(32)))
NOTE = sign(HEAD, KEY)


@dataclass(frozen=True, slots=True)
class Reader:
    """``read`` takes bytes and gives back whether it took them; only ``errors`` may come out of it."""

    name: str
    good: bytes
    read: Callable[[bytes], object]
    errors: tuple[type[Exception], ...] = (FormatError,)
    times: int = 400


def text(read: Callable[[str], object]) -> Callable[[bytes], object]:
    """A reader of text, given text that is no UTF-8 too: half surrogates, as an argument may hold them."""
    return lambda raw: read(raw.decode("utf-8", errors="surrogateescape"))


def passed(verdict: str) -> None:
    if not verdict.startswith("PASS"):
        raise FormatError("not passed")


@pytest.fixture(scope="session")
def readers(full_lab: Any, tmp_path_factory: Any, external: Any) -> dict[str, Reader]:
    folder: Path = tmp_path_factory.mktemp("readers")
    policy = full_lab.policy
    with open_readonly(full_lab.db, Keyring.open(full_lab.keys)) as source:
        record = source.record(11)
        receipt = take_receipt(source, 11, AccessTable.load().permission(["billing"], "HPAYMT"))
        kept = [note for _, note in source.checkpoints()][2]
    line = json.loads(read_receipt(receipt).line)
    lab = full_lab.copy(folder / "lab")
    lab.reopen()
    bundle = external(lab, folder / "bundle").read_bytes()
    lab.close()
    keys = folder / "keys"
    Keyring.create(keys)
    (folder / "heads").mkdir()
    heads = Heads(folder / "heads")
    heads.follow(heads.last(ORIGIN), HEAD)
    (head_file,) = (folder / "heads").glob("*.head")

    def on_file(path: Path, read: Callable[[Path], object]) -> Callable[[bytes], object]:
        def put(raw: bytes) -> object:
            path.touch(0o600)
            path.write_bytes(raw)
            return read(path)

        return put

    def since(raw: bytes) -> None:
        with open_readonly(full_lab.db) as source:
            note = raw.decode("utf-8", errors="surrogateescape")
            passed(verify(source, policy, since=Since(note, StoredPast(source))).verdict)

    argon = {"v": 1, "kdf": "argon2id", "salt": b64encode(bytes(16)).decode(), "passes": 3, "lanes": 4}
    kek = json.dumps({**argon, "memory_kib": 65536, "kek_id": "0" * 16}).encode()
    refused = (KeyRefusedError,)
    table = [
        Reader("canonical JSON", canonical({"a": [1, "é", None]}).encode(), text(parse)),
        Reader("leaf", record.leaf, parse_leaf),
        Reader("open slots", record.open.encode(), text(check_open)),
        Reader(
            "shown and hidden slots",
            canonical([line["open"], line["hidden"]]).encode(),
            text(lambda raw: pair(parse(raw), parse_leaf(record.leaf).fields)),
        ),
        Reader("note", NOTE.encode(), text(lambda raw: read_note(raw, LOG, exact=True))),
        Reader("note from outside", NOTE.encode(), text(lambda raw: read_note(raw, LOG, exact=False))),
        Reader("checkpoint", NOTE.encode(), text(take_apart)),
        Reader("signature line", NOTE.splitlines()[-1].encode(), text(signature_line)),
        Reader(
            "cosignature",
            cosign(HEAD, WITNESS.name, KEY, 5).encode(),
            text(lambda raw: cosigned_at(HEAD, raw, WITNESS)),
        ),
        Reader("verifier key", str(LOG).encode(), text(VerifierKey.read)),
        Reader("policy", policy.text().encode(), text(Policy.read)),
        Reader("receipt", receipt.encode(), text(read_receipt)),
        Reader(
            "receipt, verified",
            receipt.encode(),
            text(lambda raw: passed(verify_receipt(raw, policy).verdict)),
        ),
        Reader("witness request", write_request(8, [bytes(32)] * 3, NOTE), read_request),
        Reader("kept checkpoint", kept.encode(), since, times=150),
        Reader(
            "bundle",
            bundle,
            on_file(folder / "one.jsonl", lambda path: passed(verify_bundle(path, policy).verdict)),
            times=150,
        ),
        Reader("anchor", (canonical(NOTE) + "\n").encode() * 3, on_file(folder / "anchor", read_anchor)),
        Reader(
            "head", head_file.read_bytes(), on_file(head_file, lambda _: heads.last(ORIGIN)), (HeadError,)
        ),
        Reader("key file", kek, on_file(folder / "kek", read_key_file), refused, 150),
        Reader(
            "keystore",
            (keys / "keystore.json").read_bytes(),
            on_file(keys / "keystore.json", lambda path: Keyring.open(path.parent)),
            refused,
            150,
        ),
    ]
    return {reader.name: reader for reader in table}


def pair(value: Any, fields: bytes) -> None:
    if not isinstance(value, list) or len(value) != 2:
        raise FormatError("not two")
    read_slots(value[0], value[1], fields)


NAMES = (
    "canonical JSON", "leaf", "open slots", "shown and hidden slots", "note", "note from outside",
    "checkpoint", "signature line", "cosignature", "verifier key", "policy", "receipt", "receipt, verified",
    "witness request", "kept checkpoint", "bundle", "anchor", "head", "key file", "keystore",
)  # fmt: skip

PIECES = (
    b"\n", b"\n\n", b"\r\n", b"\0", b"\xff", b"\xed\xa0\x80", b"\xef\xbb\xbf", "\u2028".encode(), b'"',
    b"\\u0000", b"\\ud800", b"+", b"=", b"==", b" ", b"\t", b"-1", b"00", b"1e9", b"9" * 30,
    b"18446744073709551616", b"../../etc/passwd", b"/dev/zero", b"[", b"{", b"]", b"}", b"null", b"true",
    b"NaN", "\u2014 ".encode(), b"PK\x03\x04", b"\x1f\x8b\x08", b"size", b"%n",
)  # fmt: skip


def mutant(rng: random.Random, data: bytes) -> bytes:
    """One to three changes somewhere."""
    out = bytearray(data)
    for _ in range(rng.randint(1, 3)):
        at = rng.randrange(len(out) + 1)
        to = min(len(out), at + rng.choice((1, 1, 2, 8, 64)))
        what = rng.randrange(7)
        if what == 0 and at < len(out):
            out[at] ^= 1 << rng.randrange(8)
        elif what == 1:
            del out[at:to]
        elif what == 2:
            out[at:at] = out[at:to]
        elif what == 3:
            out[at:at] = rng.choice(PIECES)
        elif what == 4:
            out[at:to] = rng.choice(PIECES)
        elif what == 5:
            del out[at:]
        else:
            start = rng.randrange(len(data) + 1)
            out[at:to] = data[start : start + 64]
    return bytes(out)


def hostile(good: bytes) -> list[bytes]:
    """Huge, deep, empty, truncated: what a limit is for."""
    half = len(good) // 2
    return [
        b"",
        b"\n",
        good[:half],
        good[half:],
        good * 2,
        good + b"\0" * (2 << 20),
        good[:half] + b"x" * (5 << 20) + good[half:],
        b"[" * (1 << 20),
        b'{"a":' * 200_000,
        b"9" * (1 << 20),
        b"\n" * (1 << 20),
        b"\xff" * 4096,
        b"../" * 1000,
    ]


@pytest.mark.parametrize("name", NAMES)
def test_a_reader_gives_a_value_or_our_own_error(readers: dict[str, Reader], name: str) -> None:
    reader = readers[name]
    reader.read(reader.good)  # the control: as it is, it is taken
    rng = random.Random(name)
    tried = [mutant(rng, reader.good) for _ in range(reader.times)] + hostile(reader.good)
    began, taken = time.process_time(), 0
    for raw in tried:
        try:
            reader.read(raw)
        except reader.errors as exc:
            said = str(exc)
            assert "ZZTEST" not in said and len(said) < 400 and "\n" not in said
            continue
        taken += raw != reader.good
    assert taken < len(tried) - 20, "it takes anything"
    assert time.process_time() - began < 120, "a hostile file costs too much"


def test_every_reader_is_in_the_table(readers: dict[str, Reader]) -> None:
    assert tuple(readers) == NAMES

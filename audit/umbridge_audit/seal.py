"""Encryption and the writing of one entry: XAES-256-GCM, parts, and an entry composed from its values.

SPEC.md section 6 and https://c2sp.org/XAES-256-GCM: stock AES-256-GCM under a key derived from the first half
of a 24-byte nonce, so that random nonces stay safe for ever and across restores.
"""

from __future__ import annotations

import json
import os
from base64 import b64decode
from binascii import a2b_base64, b2a_base64
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256
from json.encoder import encode_basestring
from threading import Lock
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import ECB

from umbridge_audit.entry import (
    IN_BODY,
    MAX_LEAF,
    FormatError,
    JsonValue,
    Leaf,
    Part,
    Record,
    canonical,
    parse,
)
from umbridge_audit.slots import Schema, check_open, salts, split_closed
from umbridge_audit.tree import root_of

ALG = "XAES-256-GCM"
NONCE = 24
TAG = 16
_SCAN: Callable[[str, int], tuple[Any, int]] = getattr(json.JSONDecoder(), "scan_once")  # noqa: B009
STEP = 256  # plaintexts are padded to this, so that lengths say little


class SealError(Exception):
    """A ciphertext that does not open: wrong key, wrong place, or changed."""


class Xaes:
    """XAES-256-GCM under one key. Safe to share between threads."""

    __slots__ = ("_block", "_k1", "_lock")

    def __init__(self, key: bytes) -> None:
        # One AES block at a time is what the specification asks for; no message is ever put through ECB.
        self._block = Cipher(AES(key), ECB()).encryptor()  # noqa: S305
        self._lock = Lock()
        number = int.from_bytes(self._block.update(bytes(16)), "big") << 1
        if number >> 128:
            number = (number & (2**128 - 1)) ^ 0x87
        k1 = number.to_bytes(16, "big")
        self._k1 = int.from_bytes(k1 + k1, "big")

    def _gcm(self, nonce: bytes) -> AESGCM:
        half = nonce[:12]
        blocks = b"\x00\x01X\x00" + half + b"\x00\x02X\x00" + half
        mixed = (int.from_bytes(blocks, "big") ^ self._k1).to_bytes(32, "big")
        with self._lock:
            return AESGCM(self._block.update(mixed))

    def seal(self, nonce: bytes, plaintext: bytes, aad: bytes) -> bytes:
        """Ciphertext and tag. The nonce must be 24 random bytes."""
        return self._gcm(nonce).encrypt(nonce[12:], plaintext, aad)

    def unseal(self, nonce: bytes, ciphertext: bytes, aad: bytes) -> bytes:
        """Raises SealError unless key, nonce, aad and ciphertext belong together."""
        try:
            return self._gcm(nonce).decrypt(nonce[12:], ciphertext, aad)
        except (InvalidTag, ValueError):
            raise SealError("does not open") from None


def dek_commit(kid: str, key: bytes) -> str:
    """What ``key.create`` publishes of a key: SHA-256("umb/dek/1" ‖ u8 len(kid) ‖ kid ‖ key), hex."""
    return sha256(b"umb/dek/1" + lv8(kid) + key).hexdigest()


@lru_cache(maxsize=256)
def lv8(text: str) -> bytes:
    """A short text with its length before it: the few names of keys, fields and compartments."""
    raw = text.encode()
    return len(raw).to_bytes(1, "big") + raw


def part_aad(leaf: Leaf, part: Part) -> bytes:
    """What ties a ciphertext to its place: chain, generation, row, history, slots, compartment and key."""
    place = aad_head(leaf.chain, leaf.gen) + leaf.seq.to_bytes(8, "big") + leaf.prev + leaf.fields
    return place + lv8(part.c) + lv8(part.kid)


def aad_head(chain: str, gen: int) -> bytes:
    """The part of the AAD that is the same for a whole chain."""
    name = chain.encode()
    return b"umb/part/1" + len(name).to_bytes(2, "big") + name + gen.to_bytes(4, "big")


@dataclass(frozen=True, slots=True)
class Composed:
    """A new entry, ready to be stored."""

    record: Record
    leaf_hash: bytes


def compose(
    schema: Schema,
    texts: Sequence[str],
    keys: Mapping[str, tuple[str, Xaes]],
    *,
    chain: str,
    gen: int,
    seq: int,
    prev: bytes,
    random: Callable[[int], bytes] = os.urandom,
) -> Composed:
    """One entry. ``texts`` are canonical JSON per slot, ``keys`` give kid and cipher per compartment."""
    leaf, opened, closed, cts, hashed = Composer(chain, gen).write(
        schema, texts, keys, seq, prev, random(draw_size(schema))
    )
    return Composed(Record(seq, leaf, opened, closed, dict(cts)), hashed)


def draw_size(schema: Schema) -> int:
    """Random bytes for one entry: a secret for each group of slots, a nonce for each compartment."""
    return 32 + (32 + NONCE) * len(schema.compartments)


class Composer:
    """Writes the entries of one chain: what is the same in all of them is worked out once."""

    __slots__ = ("_leaf", "_place")

    def __init__(self, chain: str, gen: int) -> None:
        self._place = aad_head(chain, gen)
        # The order of keys is canonical by construction (SPEC.md section 7).
        self._leaf = (
            f'{{"chain":"{chain}","fields":"%s","gen":{gen},"parts":[%s],"prev":"%s","seq":%d,"v":2}}'
        )

    def write(
        self,
        schema: Schema,
        texts: Sequence[str],
        keys: Mapping[str, tuple[str, Xaes]],
        seq: int,
        prev: bytes,
        draw: bytes,
    ) -> tuple[bytes, str, bytes, list[tuple[str, bytes]], bytes]:
        """Leaf, open column, closed column, ciphertexts by compartment, leaf hash. Raises FormatError.

        The order in ``draw`` is fixed (open secret, then secret per compartment, then nonce per compartment)
        because the test vectors depend on it.
        """
        salted = schema.salted(draw, texts)
        commitments = schema.commitments(salted)
        closed = schema.roots(commitments)
        fields = root_of(commitments[: len(schema.open)] + closed)
        place = self._place + seq.to_bytes(8, "big") + prev + fields
        parts: list[str] = []
        cts: list[tuple[str, bytes]] = []
        at = 32
        nonce_at = 32 + 32 * len(schema.compartments)
        leads = schema.leads
        for c, label, numbers in schema.closed:
            secret = b2a_base64(draw[at : at + 32], newline=False).decode("ascii")
            nonce = draw[nonce_at : nonce_at + NONCE]
            at += 32
            nonce_at += NONCE
            said = [f"{leads[k]}{texts[k]}" for k in numbers if texts[k] != "null"]
            values = "],".join(said) + "]" if said else ""
            body = f'{{"secret":"{secret}","values":[{values}]}}'.encode()
            size = len(body)
            kid, cipher = keys[c]
            ct = cipher.seal(
                nonce,
                b"%b%b%b" % (size.to_bytes(4, "big"), body, bytes(-(size + 4) % STEP)),
                place + label + lv8(kid),
            )
            cts.append((c, ct))
            n = b2a_base64(nonce, newline=False).decode("ascii")
            parts.append(f'{{"c":"{c}","h":"{sha256(ct).hexdigest()}","kid":"{kid}","n":"{n}"}}')
        text = self._leaf % (fields.hex(), ",".join(parts), prev.hex(), seq)
        if len(text) > MAX_LEAF:
            raise FormatError("leaf too long")
        leaf = text.encode("ascii")
        return leaf, schema.opening(salted), b"".join(closed), cts, sha256(b"\0" + leaf).digest()


def open_part(
    schema: Schema, leaf: Leaf, part: Part, ct: bytes, cipher: Xaes
) -> dict[int, tuple[str, JsonValue]]:
    """Decrypts one part: {slot: (base64 salt, value)} for every slot of the compartment, null ones included.

    Raises SealError when it does not open, FormatError when what is inside is not as SPEC.md section 6 says.
    """
    secret, rows = open_body(leaf, part, ct, cipher)
    numbers = schema.of[part.c]
    values: dict[int, JsonValue] = {}
    for k, value in rows:
        if k not in numbers:
            raise FormatError("part slots")
        values[k] = value
    salted = salts(secret, len(numbers))
    return {k: (salt.decode(), values.get(k)) for k, salt in zip(numbers, salted, strict=True)}


def open_body(leaf: Leaf, part: Part, ct: bytes, cipher: Xaes) -> tuple[bytes, list[tuple[int, JsonValue]]]:
    """Decrypts one part: its secret, and its slots that hold a value by ascending number. Raises as
    ``open_part``; which slots the compartment has is not looked at."""
    plain = cipher.unseal(b64decode(part.n), ct, part_aad(leaf, part))
    size = int.from_bytes(plain[:4], "big")
    if len(plain) % STEP or len(plain) - 4 - size >= STEP or size > len(plain) - 4 or any(plain[4 + size :]):
        raise FormatError("part padding")
    try:
        body = parse(plain[4 : 4 + size].decode())
    except UnicodeDecodeError:
        raise FormatError("part text") from None
    if (
        not isinstance(body, dict)
        or set(body) != {"secret", "values"}
        or not isinstance(body["values"], list)
    ):
        raise FormatError("part keys")
    try:
        secret = b64decode(body["secret"], validate=True)
    except (ValueError, TypeError):
        raise FormatError("part secret") from None
    if len(secret) != 32:
        raise FormatError("part secret")
    rows: list[tuple[int, JsonValue]] = []
    for row in body["values"]:
        if not isinstance(row, list) or len(row) != 2 or type(row[0]) is not int or row[1] is None:
            raise FormatError("part values")
        if row[0] <= (rows[-1][0] if rows else -1):
            raise FormatError("part slots")
        rows.append((row[0], row[1]))
    return secret, rows


def plain_part(
    schema: Schema, c: str, cipher: Xaes, nonce: str, ct: bytes, aad: bytes
) -> tuple[bytes, list[str]] | None:
    """As ``open_part``, by rebuilding instead of parsing: the secret and each slot's text.

    None when what is inside is not as the writer writes it. Raises SealError when it does not open.
    """
    plain = cipher.unseal(a2b_base64(nonce), ct, aad)
    end = 4 + int.from_bytes(plain[:4], "big")
    if len(plain) % STEP or not 0 <= len(plain) - end < STEP or plain[end:].strip(b"\0"):
        return None
    try:
        body = plain[4:end].decode()
        secret = b64decode(body[11:55], validate=True)
        numbers = schema.of[c]
        texts = ["null"] * len(numbers)
        pieces = []
        last = numbers.start - 1
        rows, _ = _SCAN(body, 66)  # what follows is compared below
        if len(secret) != 32 or not isinstance(rows, list):
            return None
        for k, value in rows:  # ValueError, TypeError: not as it is written
            if type(k) is not int or not last < k < numbers.stop or value is None:
                return None
            last = k
            if type(value) is str and value.isascii():
                text = encode_basestring(value)
            else:
                text = canonical(value, IN_BODY)
            texts[k - numbers.start] = text
            pieces.append(f"[{k},{text}]")
    except (ValueError, TypeError, StopIteration, RecursionError):
        return None
    if f'{{"secret":"{body[11:55]}","values":[{",".join(pieces)}]}}' != body:
        return None
    return secret, texts


def check_part(
    schema: Schema, c: str, opened: Mapping[int, tuple[str, JsonValue]], closed: Sequence[bytes]
) -> list[bytes]:
    """Holds a compartment's decrypted slots against its stored root; returns their commitments.

    Raises FormatError when they do not give that root.
    """
    made = [
        schema.commitment(k, salt.encode(), canonical(value).encode()) for k, (salt, value) in opened.items()
    ]
    if root_of(made) != closed[schema.compartments.index(c)]:
        raise FormatError("decrypted slots do not give their compartment's root")
    return made


def closed_of(record: Record) -> tuple[Schema, dict[str, JsonValue], list[bytes]]:
    """A stored record's schema, open values and compartments' roots. Raises FormatError."""
    schema, values, _ = check_open(record.open)
    return schema, values, split_closed(schema, record.closed)

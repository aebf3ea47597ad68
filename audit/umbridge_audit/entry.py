"""One entry's bytes: canonical JSON, the leaf, and the record that store and bundle share.

SPEC.md sections 2, 7 and 10.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from json.encoder import encode_basestring
from typing import TypeAlias

JsonValue: TypeAlias = "bool | int | str | Sequence[JsonValue] | Mapping[str, JsonValue] | None"

MAX_LEAF = 65_535  # C2SP tlog-tiles entry bundles carry a u16 length
MAX_INT = 2**53 - 1  # RFC 8785 / I-JSON: what a double holds exactly
MAX_DEPTH = 8
_KEY = re.compile(r"[ -~]{1,64}\Z")
_HEX32 = re.compile(r"[0-9a-f]{64}\Z")
_CHAIN = re.compile(r"[a-z0-9_-]{1,40}/[a-z0-9_-]{1,40}\Z")
_KID = re.compile(r"[a-z]{2,12}\.[0-9]{4}-[0-9]{2}\.[0-9a-f]{8}\Z")
_NONCE = re.compile(r"[A-Za-z0-9+/]{32}\Z")  # 24 bytes are 32 characters without padding


class FormatError(ValueError):
    """Bytes or values outside SPEC.md. The text is a code, never content."""


# --- canonical JSON (section 2) ---------------------------------------------------------------------


def canonical(value: JsonValue) -> str:
    """The one spelling of a value. FormatError for what has none: floats, huge integers, surrogates."""
    if value is None:
        return "null"
    if isinstance(value, str):
        return _string(value)
    return _nested(value, 0)


def _string(value: str) -> str:
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError:
            raise FormatError("lone surrogate") from None
    return encode_basestring(value)


def _nested(value: JsonValue, depth: int) -> str:
    if value is None:
        return "null"
    if value is True:
        return "true"
    if value is False:
        return "false"
    if isinstance(value, str):
        return _string(value)
    if isinstance(value, int):
        if not -MAX_INT <= value <= MAX_INT:
            raise FormatError("integer too large")
        return int.__repr__(value)
    if depth >= MAX_DEPTH:
        raise FormatError("nested too deeply")
    if isinstance(value, Mapping):
        if not all(isinstance(key, str) and _KEY.match(key) for key in value):
            raise FormatError("object key")
        inside = (f"{_string(key)}:{_nested(value[key], depth + 1)}" for key in sorted(value))
        return "{" + ",".join(inside) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ",".join([_nested(item, depth + 1) for item in value]) + "]"
    raise FormatError("not a JSON value of this profile")


def _no_number(_text: str) -> JsonValue:
    raise FormatError("number with a fraction or exponent")


_DECODER = json.JSONDecoder(parse_float=_no_number, parse_constant=_no_number)


def parse(text: str) -> JsonValue:
    """A value from canonical JSON. Raises FormatError unless writing it again gives the same text."""
    try:
        value: JsonValue = _DECODER.decode(text)
        same = canonical(value) == text
    except FormatError:
        raise
    except (ValueError, RecursionError):
        raise FormatError("not JSON") from None
    if not same:
        raise FormatError("not canonical")
    return value


# --- values that cross the border -------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Draft:
    """What a caller wants written. The ledger adds ``schema`` and ``ts``; slots not named are null.

    ``kind`` is a schema without its version ("determination"). Unknown kinds or slots, and values outside
    the canonical profile, raise ValueError from ``Ledger.append`` before anything is written.
    """

    kind: str
    values: Mapping[str, JsonValue]


@dataclass(frozen=True, slots=True)
class Receipt:
    """Where an entry stands. Durable only once the caller's transaction has committed."""

    seq: int
    leaf_hash: bytes


@dataclass(frozen=True, slots=True)
class Part:
    """One compartment's ciphertext as the leaf names it."""

    c: str
    h: str
    kid: str
    len: int
    n: str


@dataclass(frozen=True, slots=True)
class Leaf:
    """A leaf, read strictly."""

    chain: str
    fields: bytes
    gen: int
    parts: tuple[Part, ...]
    prev: bytes
    seq: int


@dataclass(frozen=True, slots=True)
class Record:
    """A stored row: ``seq`` is the row's own number, to be held against the leaf's."""

    seq: int
    leaf: bytes
    open: str
    closed: bytes
    parts: Mapping[str, bytes]


def leaf_bytes(leaf: Leaf) -> bytes:
    """The leaf in canonical form, keys in order by construction. Raises FormatError above 65,535 bytes."""
    inner = ",".join(
        [f'{{"c":"{p.c}","h":"{p.h}","kid":"{p.kid}","len":{p.len},"n":"{p.n}"}}' for p in leaf.parts]
    )
    text = (
        f'{{"chain":"{leaf.chain}","fields":"{leaf.fields.hex()}","gen":{leaf.gen},"parts":[{inner}],'
        f'"prev":"{leaf.prev.hex()}","seq":{leaf.seq},"v":1}}'
    ).encode("ascii")
    if len(text) > MAX_LEAF:
        raise FormatError("leaf too long")
    return text


def parse_leaf(raw: bytes) -> Leaf:
    """Reads a leaf strictly: rebuilding it must give the same bytes. Raises FormatError."""
    if len(raw) > MAX_LEAF:
        raise FormatError("leaf too long")
    try:
        value = _DECODER.decode(raw.decode("ascii"))
    except FormatError:
        raise
    except (ValueError, RecursionError):
        raise FormatError("leaf is not JSON") from None
    try:
        if value["v"] != 1:
            raise FormatError("leaf version")
        parts = tuple(Part(p["c"], p["h"], p["kid"], p["len"], p["n"]) for p in value["parts"])
        leaf = Leaf(
            value["chain"],
            bytes.fromhex(value["fields"]),
            value["gen"],
            parts,
            bytes.fromhex(value["prev"]),
            value["seq"],
        )
        good = (
            type(leaf.seq) is int
            and 0 <= leaf.seq <= MAX_INT
            and type(leaf.gen) is int
            and 1 <= leaf.gen < 2**32
            and len(leaf.fields) == 32
            and len(leaf.prev) == 32
            and _CHAIN.match(leaf.chain) is not None
            and all(_good_part(p) for p in parts)
        )
    except FormatError:
        raise
    except (TypeError, KeyError, ValueError, IndexError):
        raise FormatError("leaf keys") from None
    # With every piece of the right shape, writing it again also rules out other keys, duplicates and spaces.
    if not good or leaf_bytes(leaf) != raw:
        raise FormatError("leaf not canonical")
    return leaf


def _good_part(p: Part) -> bool:
    return (
        type(p.len) is int
        and 0 < p.len <= MAX_INT
        and type(p.c) is str
        and p.kid.startswith(p.c + ".")
        and _KID.match(p.kid) is not None
        and _HEX32.match(p.h) is not None
        and _NONCE.match(p.n) is not None
    )


def good_chain(chain: str) -> bool:
    """Whether ``<org>/<chain>`` is spelled as SPEC.md section 3 allows."""
    return _CHAIN.match(chain) is not None

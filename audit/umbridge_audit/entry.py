"""One entry's bytes: canonical JSON, the leaf, and the record that store and bundle share.

SPEC.md sections 2, 7 and 10.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from json.encoder import encode_basestring
from typing import TypeAlias

JsonValue: TypeAlias = "bool | int | str | Sequence[JsonValue] | Mapping[str, JsonValue] | None"

MAX_LEAF = 65_535  # C2SP tlog-tiles entry bundles carry a u16 length
MAX_INT = 2**53 - 1  # RFC 8785 / I-JSON: what a double holds exactly
MAX_DEPTH = 8
IN_BODY = 3  # levels of a part's body around a slot's value: the object, its list, the pair
_KEY = re.compile(r"[ -~]{1,64}\Z")
_CHAIN = re.compile(r"[a-z0-9_-]{1,40}/[a-z0-9_-]{1,40}\Z")
# A nonce is 24 bytes: 32 characters of base64 and no padding.
_PART_TEXT = (
    r'\{{"c":"{0}[a-z]{{2,12}}{1}","h":"{0}[0-9a-f]{{64}}{1}","kid":"{0}[a-z]{{2,12}}\.[0-9]{{4}}-[0-9]{{2}}\.'
    r'[0-9a-f]{{8}}{1}","n":"{0}[A-Za-z0-9+/]{{32}}{1}"\}}'
)
_PART = re.compile(_PART_TEXT.format("(", ")"))
_PLAIN_PART = _PART_TEXT.format("", "")
_LEAF = re.compile(
    r'\{"chain":"([a-z0-9_-]{1,40}/[a-z0-9_-]{1,40})","fields":"([0-9a-f]{64})","gen":([1-9][0-9]{0,9}),'
    rf'"parts":\[((?:{_PLAIN_PART}(?:,{_PLAIN_PART})*)?)\],'
    r'"prev":"([0-9a-f]{64})","seq":(0|[1-9][0-9]{0,15}),"v":2\}\Z'
)


class FormatError(ValueError):
    """Bytes or values outside SPEC.md. The text is a code, never content."""


# --- canonical JSON (section 2) ---------------------------------------------------------------------


def canonical(value: JsonValue, above: int = 0) -> str:
    """The one spelling of a value. FormatError for what has none: floats, huge integers, surrogates.

    ``above`` is how many levels of arrays and objects it will stand in.
    """
    if value is None:
        return "null"
    if isinstance(value, str):
        return _string(value)
    if value is True:
        return "true"
    if value is False:
        return "false"
    if not value and type(value) is list:
        return "[]"
    if not _simple(value, MAX_DEPTH - above):
        return _nested(value, above)  # says what is wrong, or knows the type that ``_simple`` does not
    text = "".join(_PIECES(value, 0)) if _PIECES is not None else _ENCODE(value)
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError:
            raise FormatError("lone surrogate") from None
    return text


def _simple(value: JsonValue, depth: int) -> bool:
    """Whether the library's encoder, in C, agrees with ``_nested`` on a value but for lone surrogates.

    Exact types only, so that no subclass has a say in its own spelling.
    """
    kind = type(value)
    if kind is str or kind is bool or value is None:
        return True
    if kind is int:
        return -MAX_INT <= value <= MAX_INT  # type: ignore[operator]  # known by its type
    if depth == 0:
        return False
    if kind is list or kind is tuple:
        for item in value:  # type: ignore[union-attr]  # noqa: SIM110  a generator costs twice as much
            if type(item) is not str and not _simple(item, depth - 1):
                return False
        return True
    if kind is not dict:
        return False
    for key, item in value.items():  # type: ignore[union-attr]
        # the same keys as _KEY: ASCII that can be printed is space to tilde
        if type(key) is not str or not (key.isascii() and key.isprintable() and 0 < len(key) <= 64):
            return False
        if type(item) is not str and not _simple(item, depth - 1):
            return False
    return True


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


def _integer(text: str) -> int:
    if len(text) > 17:
        raise FormatError("integer too large")
    return int(text)


_DECODER = json.JSONDecoder(parse_float=_no_number, parse_constant=_no_number, parse_int=_integer)
_ENCODE = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode
# What ``encode`` makes anew for every call; an interpreter without it has None there.
_MAKE = getattr(json.encoder, "c_make_encoder", None)
_PIECES = None if _MAKE is None else _MAKE(None, None, encode_basestring, None, ":", ",", True, False, False)


def decode(text: str) -> JsonValue:
    """A value from JSON, canonical or not: for callers who rebuild the text and compare. FormatError."""
    try:
        value: JsonValue = _DECODER.decode(text)
    except FormatError:
        raise
    except (ValueError, RecursionError):
        raise FormatError("not JSON") from None
    return value


def parse(text: str) -> JsonValue:
    """A value from canonical JSON. Raises FormatError unless writing it again gives the same text."""
    try:
        if not text.isascii():
            text.encode()
        value = decode(text)
        # The library's encoder agrees with ``canonical`` on everything that ``_check`` lets through, in C.
        _check(value, MAX_DEPTH)
        same = _ENCODE(value) == text
    except FormatError:
        raise
    except (ValueError, RecursionError):
        raise FormatError("not JSON") from None
    if not same:
        raise FormatError("not canonical")
    return value


def _check(value: JsonValue, depth: int) -> None:
    """What the grammar of a decoded value does not settle: size of integers, keys, depth."""
    if isinstance(value, int):
        if not -MAX_INT <= value <= MAX_INT:
            raise FormatError("integer too large")
    elif isinstance(value, (list, dict)):
        if depth == 0:
            raise FormatError("nested too deeply")
        if isinstance(value, dict):
            if not all(map(_KEY.match, value)):
                raise FormatError("object key")
            inside: Iterable[JsonValue] = value.values()
        else:
            inside = value
        for item in inside:
            if type(item) is not str:
                _check(item, depth - 1)


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
class EncodedDraft:
    """A draft whose slots are canonical JSON already, in the schema's order; the first two are the ledger's.

    Spelling is ``Schema.texts``'s work: it costs as much as sealing, and can be done in another process.
    """

    kind: str
    texts: Sequence[str]


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
    inner = ",".join([f'{{"c":"{p.c}","h":"{p.h}","kid":"{p.kid}","n":"{p.n}"}}' for p in leaf.parts])
    text = (
        f'{{"chain":"{leaf.chain}","fields":"{leaf.fields.hex()}","gen":{leaf.gen},"parts":[{inner}],'
        f'"prev":"{leaf.prev.hex()}","seq":{leaf.seq},"v":2}}'
    ).encode("ascii")
    if len(text) > MAX_LEAF:
        raise FormatError("leaf too long")
    return text


def parse_leaf(raw: bytes) -> Leaf:
    """Reads a leaf strictly: the pattern has exactly one spelling for each leaf. Raises FormatError."""
    if len(raw) > MAX_LEAF:
        raise FormatError("leaf too long")
    try:
        text = raw.decode("ascii")
    except UnicodeDecodeError:
        raise FormatError("leaf is not ASCII") from None
    found = _LEAF.match(text)
    if found is None:
        raise FormatError("leaf not canonical")
    chain, fields, gen, inner, prev, seq = found.groups()
    parts = tuple([Part(c, h, kid, n) for c, h, kid, n in _PART.findall(inner)])
    leaf = Leaf(chain, bytes.fromhex(fields), int(gen), parts, bytes.fromhex(prev), int(seq))
    if leaf.seq > MAX_INT or leaf.gen >= 2**32 or not all(p.kid.startswith(p.c + ".") for p in parts):
        raise FormatError("leaf values")
    return leaf


def good_chain(chain: str) -> bool:
    """Whether ``<org>/<chain>`` is spelled as SPEC.md section 3 allows."""
    return _CHAIN.match(chain) is not None

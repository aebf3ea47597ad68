"""Canonical JSON against rfc8785, and leaves that are read only one way."""

from __future__ import annotations

import pytest
import rfc8785
from hypothesis import given, settings
from hypothesis import strategies as st
from umbridge_audit.entry import (
    MAX_INT,
    FormatError,
    JsonValue,
    Leaf,
    Part,
    canonical,
    good_chain,
    leaf_bytes,
    parse,
    parse_leaf,
)

text = st.text(st.characters(codec="utf-8"))
keys = st.text(st.characters(min_codepoint=32, max_codepoint=126), min_size=1, max_size=64)
values = st.recursive(
    st.none() | st.booleans() | st.integers(-MAX_INT, MAX_INT) | text,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(keys, inner, max_size=4),
    max_leaves=12,
)
hashes = st.binary(min_size=32, max_size=32)
parts = st.builds(
    lambda c, h, n: Part(c, h.hex(), f"{c}.2026-11.0123abcd", n),
    st.sampled_from(["ops", "clin"]),
    hashes,
    st.text("ABCabc019+/", min_size=32, max_size=32),
)
leaves = st.builds(
    Leaf,
    st.just("genhosp/adt-1"),
    hashes,
    st.integers(1, 9),
    st.lists(parts, max_size=5).map(tuple),
    hashes,
    st.integers(0, MAX_INT),
)


@given(values)
def test_canonical_is_rfc8785(value: JsonValue) -> None:
    assert canonical(value).encode() == rfc8785.dumps(value)
    assert parse(canonical(value)) == value


@settings(max_examples=300)
@given(text)
def test_parse_is_total(raw: str) -> None:
    try:
        value = parse(raw)
    except FormatError:
        return
    assert canonical(value) == raw


def test_every_scalar_value_is_written_as_rfc8785_writes_it() -> None:
    everything = "".join(map(chr, (*range(0xD800), *range(0xE000, 0x110000))))
    assert canonical(everything).encode() == rfc8785.dumps(everything)


@pytest.mark.parametrize(
    "value",
    [
        1.5,
        float("nan"),
        MAX_INT + 1,
        -MAX_INT - 1,
        "\udc00",
        {"": 1},
        {"é": 1},
        {1: 2},
        b"x",
        {"a": {1, 2}},
        object(),
    ],
)
def test_what_has_no_spelling_is_refused(value: JsonValue) -> None:
    with pytest.raises(FormatError):
        canonical(value)


def test_depth() -> None:
    value: JsonValue = 1
    for _ in range(8):
        value = [value]
    assert parse(canonical(value)) == value
    with pytest.raises(FormatError):
        canonical([value])
    for hostile in ("[" * 100_000, '{"a":' * 100_000, "9" * 100_000):
        with pytest.raises(FormatError):
            parse(hostile)


@given(leaves)
def test_a_leaf_comes_back_and_is_canonical_json(leaf: Leaf) -> None:
    raw = leaf_bytes(leaf)
    assert parse_leaf(raw) == leaf
    assert canonical(parse(raw.decode())).encode() == raw


@given(leaves, st.integers(0, 10_000), st.binary(min_size=1, max_size=2))
def test_no_two_spellings_of_a_leaf(leaf: Leaf, at: int, new: bytes) -> None:
    """Whatever changed bytes are still read as a leaf are a different leaf."""
    raw = leaf_bytes(leaf)
    at %= len(raw)
    changed = raw[:at] + new + raw[at + 1 :]
    try:
        other = parse_leaf(changed)
    except FormatError:
        return
    assert (other == leaf) == (changed == raw)


def test_a_leaf_is_below_64_k() -> None:
    part = Part("ops", "0" * 64, "ops.2026-11.0123abcd", "A" * 32)
    with pytest.raises(FormatError):
        leaf_bytes(Leaf("a/b", bytes(32), 1, (part,) * 500, bytes(32), 0))
    with pytest.raises(FormatError):
        parse_leaf(b" " * 65_536)


def test_chain_names() -> None:
    assert good_chain("genhosp/adt-1")
    for bad in ("genhosp", "/a", "a/", "a/b/c", "A/b", "a b/c", "a+b/c", "é/a", "a" * 41 + "/b", "a/b\n"):
        assert not good_chain(bad)

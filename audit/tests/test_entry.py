"""Canonical JSON against rfc8785, and leaves that are read only one way."""

from __future__ import annotations

from collections import OrderedDict
from types import MappingProxyType
from typing import Any

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
    _nested,
    _simple,
    canonical,
    decode,
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


def test_the_limits_are_where_they_are_said_to_be() -> None:
    """One step this side is taken, one step that side is not: depth, keys, integers, the length of a leaf."""
    assert canonical("x", 8) == '"x"' and canonical([], 7) == "[]" and canonical(["x"], 7) == '["x"]'
    for value, above in ((["x"], 8), ([1], 8), ({"a": 1}, 8), ([["x"]], 7), ({"a": [1]}, 7)):
        with pytest.raises(FormatError):
            canonical(value, above)
    assert canonical({"k" * 64: [1]}) and canonical({"k": [1]})
    for key in ("k" * 65, "", "\x7f", "\x1f", "\u00e9"):
        for value in ({key: 1}, [{key: "x"}], {"a": {key: []}}):
            with pytest.raises(FormatError):
                canonical(value)
        with pytest.raises(FormatError):
            parse(f'{{"{key}":1}}')
    for number in (MAX_INT, -MAX_INT):
        assert canonical([number]) == f"[{number}]" and parse(str(number)) == number
    for number in (MAX_INT + 1, -MAX_INT - 1):
        for value in (number, [number], {"a": number}):
            with pytest.raises(FormatError):
                canonical(value)
        with pytest.raises(FormatError):
            parse(f"[{number}]")
    assert (
        canonical((1, "x")) == '[1,"x"]' and canonical([(1,), True, False, None]) == "[[1],true,false,null]"
    )
    assert canonical(False) == "false" and canonical(True) == "true"
    odd = MappingProxyType(
        {"b": [True, False, None, 5, "x"], "a": (1,)}
    )  # a type that the quick way leaves alone
    assert canonical(odd) == '{"a":[1],"b":[true,false,null,5,"x"]}'


def sized(length: int) -> bytes:
    """A leaf's bytes of exactly this length, well formed in all else: names take up what is left."""

    def part(c: str) -> str:
        return f'{{"c":"{c}","h":"{"0" * 64}","kid":"{c}.2026-11.0123abcd","n":"{"A" * 32}"}}'

    def leaf(org: str, names: list[str]) -> str:
        head = f'{{"chain":"{org}/b","fields":"{"0" * 64}","gen":1,"parts":['
        return f'{head}{",".join(map(part, names))}],"prev":"{"0" * 64}","seq":0,"v":2}}'

    names = ["ops"]
    while len(leaf("a", [*names, "ops"])) <= length:
        names.append("ops")
    at = 0
    while (spare := length - len(leaf("a", names))) > 38:
        names[at] = "opsabcdefghi"
        at += 1
    return leaf("a" * (1 + spare), names).encode()


def test_a_leaf_of_the_longest_length_and_one_byte_more() -> None:
    longest = sized(65_535)
    assert len(longest) == 65_535
    leaf = parse_leaf(longest)
    assert leaf_bytes(leaf) == longest
    more = Leaf(leaf.chain + "b", leaf.fields, leaf.gen, leaf.parts, leaf.prev, leaf.seq)
    with pytest.raises(FormatError, match="too long"):
        leaf_bytes(more)
    with pytest.raises(FormatError, match="too long"):
        parse_leaf(sized(65_536))


def test_the_numbers_of_a_leaf_end_where_they_do() -> None:
    leaf = Leaf("a/b", bytes(32), 2**32 - 1, (), bytes(32), MAX_INT)
    assert parse_leaf(leaf_bytes(leaf)) == leaf
    for old, new in (
        (b'"gen":4294967295', b'"gen":4294967296'),
        (b'"gen":4294967295', b'"gen":0'),
        (b'"seq":9007199254740991', b'"seq":9007199254740992'),
        (b'"seq":9007199254740991', b'"seq":-1'),
        (b'"seq":9007199254740991', b'"seq":01'),
    ):
        with pytest.raises(FormatError):
            parse_leaf(leaf_bytes(leaf).replace(old, new))
    part = Part("ops", "0" * 64, "fin.2026-11.0123abcd", "A" * 32)
    with pytest.raises(FormatError, match="values"):
        parse_leaf(leaf_bytes(Leaf("a/b", bytes(32), 1, (part,), bytes(32), 0)))


def test_what_is_not_text_of_one_spelling_is_not_json() -> None:
    for raw in (
        "",
        " 1",
        "1 ",
        "1.0",
        "1e3",
        "-0",
        "01",
        "NaN",
        "Infinity",
        "-Infinity",
        "'a'",
        '"\\u0041"',
        "\ud800",
    ):
        with pytest.raises(FormatError):
            parse(raw)
    for raw in ('"\\ud800"', '["\\udfff"]', '{"a":1,"a":1}', '{"b":1,"a":1}', "9" * 18, "9" * 5000, "[1,]"):
        with pytest.raises(FormatError):
            parse(raw)


@pytest.mark.parametrize("value", [["\ud800"], {"a": "é\udc00"}, {"a": ["\udfff", 1]}, ("\ud800",)])
def test_half_a_character_has_no_spelling_however_deep(value: JsonValue) -> None:
    with pytest.raises(FormatError, match="surrogate"):
        canonical(value)


def test_the_largest_number_is_one_that_a_double_holds_in_every_mapping() -> None:
    for made in (dict, OrderedDict):
        assert canonical(made(a=MAX_INT)) == f'{{"a":{MAX_INT}}}'
        assert canonical(made(a=-MAX_INT)) == f'{{"a":-{MAX_INT}}}'
        for wrong in (MAX_INT + 1, -MAX_INT - 1):
            with pytest.raises(FormatError, match="integer"):
                canonical(made(a=wrong))


@pytest.mark.parametrize("text", ["1" * 18, "-" + "1" * 17, "1" * 5000, "[" + "9" * 18 + "]"])
def test_a_number_too_long_is_no_value_even_for_who_compares_later(text: str) -> None:
    with pytest.raises(FormatError, match="integer"):
        decode(text)


@pytest.mark.parametrize("text", ['"\ud800"', '["é\udc00"]', '{"\udfff":1}'])
def test_text_that_is_not_text_is_not_parsed(text: str) -> None:
    with pytest.raises(FormatError):
        parse(text)


class Text(str):
    __slots__ = ()


class Number(int):
    pass


@pytest.mark.parametrize(
    "text", ["1.5", "1e3", "-0.0", "NaN", "Infinity", "-Infinity", "[1.0]", '{"a":1e-9}']
)
def test_a_fraction_is_no_value_even_for_who_compares_later(text: str) -> None:
    with pytest.raises(FormatError, match="fraction"):
        decode(text)


@pytest.mark.parametrize(
    "inside", [lambda x: OrderedDict(a=x), lambda x: MappingProxyType({"a": x}), lambda x: [x]]
)
def test_depth_is_counted_the_same_in_what_goes_the_long_way(inside: Any) -> None:
    value: Any = inside(Number(5))
    for _ in range(7):
        value = inside(value)
    assert parse(canonical(value)) is not None and canonical(value).count("5") == 1
    with pytest.raises(FormatError, match="deep"):
        canonical(inside(value))


# --- the quick way --------------------------------------------------------------------------------------


def levels(value: object) -> int:
    """How many arrays and objects stand in each other."""
    if isinstance(value, dict):
        return 1 + max(map(levels, value.values()), default=0)
    return 1 + max(map(levels, value), default=0) if isinstance(value, list | tuple) else 0


def agrees(value: JsonValue) -> None:
    for depth in range(10):
        assert _simple(value, depth) == (levels(value) <= depth)
    assert canonical(value) == _nested(value, 0)


@given(values)
def test_every_plain_value_may_go_the_quick_way_and_ends_up_the_same(value: JsonValue) -> None:
    agrees(value)


@pytest.mark.parametrize(
    "value",
    [None, True, False, 0, 1, MAX_INT, -MAX_INT, "x", "", [], (), {}, [1], (1,), ["x"], ("x", 1), {"k": 1},
     {"k": "x"}, {" ": [1]}, {"~" * 64: {"a": ["x", -1]}}, [[[[[[[1]]]]]]], {"a": {"b": [{"c": []}]}},
     [True, None]],
)  # fmt: skip
def test_the_edges_of_what_may_go_the_quick_way(value: JsonValue) -> None:
    agrees(value)


@pytest.mark.parametrize(
    "value",
    [MAX_INT + 1, -MAX_INT - 1, 1.5, b"x", Number(1), OrderedDict(a=1), {"": 1}, {"k" * 65: 1}, {"\u00e9": 1},
     {"\x1f": 1}, {"\x7f": 1}, {Text("k"): 1}, {1: 2}, {None: 1}, {1, 2}, object()],
)  # fmt: skip
def test_what_may_not_go_the_quick_way_may_not_within_another_value_either(value: Any) -> None:
    """Where the library's encoder would write what we do not, or a subclass would have a say."""
    for whole in (value, [value], (value,), {"a": value}, ["x", [value]], {"a": "x", "b": [value, 1]}):
        assert not _simple(whole, 8)

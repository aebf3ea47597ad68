"""Openings read strictly: what is not exactly a kind's slots is refused, and by our own error."""

from __future__ import annotations

import json
from base64 import b64encode
from typing import Any

import pytest
from umbridge_audit.entry import FormatError, canonical
from umbridge_audit.slots import (
    BY_NAME,
    SCHEMAS,
    check_open,
    fields_root,
    open_text,
    read_openings,
    salts,
    split_closed,
)
from umbridge_audit.tree import root_of

SALT = b64encode(bytes(range(32))).decode()
AUDIT = SCHEMAS["audit.status"]


def rows(**values: Any) -> list[Any]:
    given = {"schema": AUDIT.name, "ts": "2026-11-22T08:00:01.250Z"} | values
    return [[k, SALT, name, given.get(name)] for k, name in enumerate(AUDIT.open)]


def test_a_column_comes_back_and_its_commitments_are_the_slots() -> None:
    schema, values, commitments = check_open(canonical(rows(actor="x")))
    assert schema is AUDIT and values == {
        "schema": AUDIT.name,
        "ts": rows()[1][3],
        "actor": "x",
        "state": None,
    }
    assert commitments == [
        AUDIT.commitment(k, SALT.encode(), canonical(row[3]).encode())
        for k, row in enumerate(rows(actor="x"))
    ]
    assert AUDIT.plain_open(canonical(rows(actor="x"))) == commitments
    assert AUDIT.plain_open(canonical(rows(actor=7))) is not None
    for slow in ("caf\u00e9", 'a"b', "\\", -1, 10**15, True, ["x"]):
        assert AUDIT.plain_open(canonical(rows(actor=slow))) is None
        assert check_open(canonical(rows(actor=slow)))[1]["actor"] == slow
    assert AUDIT.plain_open(canonical(rows(actor="x")) + "\n") is None


@pytest.mark.parametrize(
    "text", ["5", "0", "null", "true", "false", "{}", "[]", '""', '"a"', '{"a":1}', "[[]]", "[5]"]
)
def test_what_is_no_list_of_openings_is_refused(text: str) -> None:
    with pytest.raises(FormatError):
        check_open(text)


@pytest.mark.parametrize(
    "change",
    [
        lambda r: r.pop(),
        lambda r: r.append([4, SALT, "row", 1]),
        lambda r: r.append(r[-1]),
        lambda r: r.insert(0, r.pop(1)),
        lambda r: r.pop(2),
        lambda r: r[2].append(1),
        lambda r: r[2].pop(),
        lambda r: r[2].__setitem__(0, True),
        lambda r: r[2].__setitem__(0, "2"),
        lambda r: r[2].__setitem__(0, 1),
        lambda r: r[2].__setitem__(0, 99),
        lambda r: r[2].__setitem__(1, 7),
        lambda r: r[2].__setitem__(1, SALT[:-1]),
        lambda r: r[2].__setitem__(1, SALT[:-2] + "=="),
        lambda r: r[2].__setitem__(1, SALT + "\n"),
        lambda r: r[2].__setitem__(1, "*" + SALT[1:]),
        lambda r: r[2].__setitem__(2, 7),
        lambda r: r[2].__setitem__(2, "state"),
        lambda r: r[0].__setitem__(0, 1),
        lambda r: r[0].__setitem__(2, "ts"),
        lambda r: r[0].__setitem__(3, 7),
        lambda r: r[0].__setitem__(3, "audit.status/2"),
        lambda r: r[0].__setitem__(3, "plugin.load/1"),
        lambda r: r.__setitem__(2, {"k": 2}),
        lambda r: r.__setitem__(2, None),
    ],
)
def test_a_column_that_is_not_exactly_the_kinds_is_refused(change: Any) -> None:
    made = rows(actor="x")
    assert check_open(canonical(made))  # the control
    change(made)
    with pytest.raises(FormatError):
        check_open(json.dumps(made, separators=(",", ":")))


def test_openings_ascend_and_begin_with_the_schema() -> None:
    made = rows(actor="x")
    assert list(read_openings(made[:1]).commitments) == [0]
    assert list(read_openings([made[0], made[2]]).commitments) == [0, 2]
    for wrong in ([made[2]], [made[0], made[0]], [made[0], made[2], made[1]]):
        with pytest.raises(FormatError):
            read_openings(wrong)
    assert read_openings([]).schema is None
    for below in (-1, -2, -(2**53)):  # the first number too is one of a slot
        with pytest.raises(FormatError, match=r"opening\Z"):
            read_openings([[below, *made[0][1:]]])


def test_a_slot_beyond_the_last_is_refused_by_our_own_error() -> None:
    made = rows()
    with pytest.raises(FormatError, match="slot name"):
        read_openings([*made, [AUDIT.size, SALT, "more", 1]])
    with pytest.raises(FormatError, match="slot name"):
        read_openings([*made, [AUDIT.size - 1, SALT, "more", 1]])


def test_closed_roots_are_as_many_as_compartments() -> None:
    schema = SCHEMAS["determination"]
    whole = bytes(range(160))
    assert split_closed(schema, whole) == [whole[i : i + 32] for i in range(0, 160, 32)]
    for wrong in (b"", whole[:-1], whole + b"x", whole[:-32], whole + bytes(32)):
        with pytest.raises(FormatError):
            split_closed(schema, wrong)
    assert split_closed(SCHEMAS["genesis"], b"") == []
    hashes = split_closed(schema, whole)
    assert fields_root(hashes[:2], hashes[2:]) == root_of(hashes)


@pytest.mark.parametrize("name", sorted(BY_NAME))
def test_the_ways_to_a_commitment_agree(name: str) -> None:
    """One slot at a time, a compartment at once, and all at once as the writer does it: the same hashes."""
    schema = BY_NAME[name]
    texts = [canonical(f"v{k}" if k % 3 else None) for k in range(schema.size)]
    secrets = bytes(range(32)) + bytes(32 * (len(schema.groups) - 1))
    salted = schema.salted(secrets, texts)
    every = schema.commitments(salted)
    assert len(every) == schema.size and salted[1::2] == texts
    at = 0
    for i, count in enumerate(schema.groups):
        mine = salts(secrets[32 * i : 32 * i + 32], count)
        assert [f"{one}=".encode() for one in salted[2 * at : 2 * (at + count) : 2]] == mine
        for j, salt in enumerate(mine):
            assert len(salt) == 44
            assert schema.commitment(at + j, salt, texts[at + j].encode()) == every[at + j]
        if i:
            c = schema.compartments[i - 1]
            assert list(schema.of[c]) == list(range(at, at + count))
            derived = schema.derived(c, secrets[32 * i : 32 * i + 32], texts[at : at + count])
            assert derived == every[at : at + count]
        at += count
    column = open_text(
        schema, [f"{one}=" for one in salted[::2]], texts
    )  # the front of both, where slots are open
    assert schema.opening(salted) == column
    assert schema.roots(every) == [root_of([every[k] for k in schema.of[c]]) for c in schema.compartments]
    assert [schema.slots[k][1] for k in range(schema.size)] == [
        group
        for group, count in zip(("open", *schema.compartments), schema.groups, strict=True)
        for _ in range(count)
    ]


def test_unknown_slots_and_values_without_a_spelling_are_refused() -> None:
    assert AUDIT.texts({"actor": "x", "state": 0})[2:4] == ['"x"', "0"]
    assert AUDIT.texts({"actor": "caf\u00e9"})[2] == '"caf\u00e9"'
    assert AUDIT.texts({"actor": 2**53 - 1, "state": -1})[2:4] == [str(2**53 - 1), "-1"]
    for wrong in (
        {"nobody": 1},
        {"actor": 1.5},
        {"actor": 2**53},
        {"actor": "\ud800"},
        {"detail": [[[[[[1]]]]]]},
    ):
        with pytest.raises(FormatError):
            AUDIT.texts(wrong)  # type: ignore[arg-type]
    assert AUDIT.texts({"detail": [[[[[1]]]]]})[-1] == "[[[[[1]]]]]"

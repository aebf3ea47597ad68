"""Policy files and anchors: read strictly, refused by line."""

from __future__ import annotations

from base64 import b64encode
from pathlib import Path
from types import ModuleType

import pytest
from hypothesis import given
from hypothesis import strategies as st
from umbridge_audit.checkpoint import (
    COSIGNATURE,
    MAX_NOTE,
    VerifierKey,
    append_anchor,
    read_anchor,
    signature_line,
    take_apart,
)
from umbridge_audit.entry import FormatError
from umbridge_audit.policy import Policy


@pytest.fixture
def good(make_vectors: ModuleType) -> str:
    text: str = make_vectors.ledger()[2].text()
    return text


def test_policy_comes_back(good: str) -> None:
    policy = Policy.read(good)
    assert policy.text() == good
    assert (policy.chain, policy.gen, policy.origin) == ("genhosp/adt-1", 1, "umbridge.genhosp/adt-1/1")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("log ", "lag "),
        ("quorum none", ""),
        ("quorum none", "quorum w9"),
        ("quorum none", "quorum none\nquorum none"),
        ("quorum none", "group g 2 w1\nquorum g"),
        ("quorum none", "witness none x\nquorum none"),
        ("genesis ", "genesis 0"),
        ("adt-1/1+", "adt-1/1+0"),
        ("adt-1/1+", "adt-2/1+"),
        ("+AQ", "+Ag"),
        ("log umbridge.", "log other."),
    ],
)
def test_policy_mistakes_are_refused(good: str, old: str, new: str) -> None:
    assert old in good
    with pytest.raises(FormatError, match="policy"):
        Policy.read(good.replace(old, new))


@given(st.text())
def test_policy_reader_is_total(text: str) -> None:
    with pytest.raises(FormatError):
        Policy.read(text)


def test_groups_of_witnesses(good: str) -> None:
    keys = [VerifierKey(f"w{n}.example", bytes([n]) * 32, COSIGNATURE) for n in range(4)]
    lines = "".join(f"witness {n} {key} http://127.0.0.1:1\n" for n, key in zip("abcd", keys, strict=True))
    text = good.replace("quorum none", lines + "group g 2 a b c\ngroup h all g d\nquorum h")
    policy = Policy.read(text)
    assert Policy.read(policy.text()) == policy and policy.quorum == "h"
    assert policy.witnesses["a"].url == "http://127.0.0.1:1"
    met = {names for names in ("", "a", "ab", "abd", "ad", "abc", "bcd", "d") if policy.met(set(names))}
    assert met == {"abd", "bcd"}
    assert Policy.read(text.replace("quorum h", "quorum d")).met({"d"})
    for old, new in (
        ("group h all g d", "group h all g a"),  # a counts twice
        ("group g 2 a b c", "group g 4 a b c"),
        ("group g 2 a b c", "group g 2 a a b c"),
        ("group g 2 a b c", "group g 2"),
        ("group g 2 a b c", "group a 2 b c"),
        ("http://127.0.0.1:1", "ftp://127.0.0.1"),
        (str(keys[1]), str(keys[0])),
        (str(keys[1]), str(VerifierKey("w1.example", bytes([1]) * 32))),
    ):
        assert old in text
        with pytest.raises(FormatError, match="policy line"):
            Policy.read(text.replace(old, new, 1))


def test_anchor_lines(tmp_path: Path) -> None:
    path = tmp_path / "anchor"
    append_anchor(path, "one\n— é\n")
    append_anchor(path, "two\n")
    assert read_anchor(path) == ["one\n— é\n", "two\n"]
    with path.open("ab") as file:
        file.write(b'"thr')
    assert len(read_anchor(path)) == 2
    with pytest.raises(FormatError):
        append_anchor(path, "four\n")
    append_anchor(path, "three\n")
    assert read_anchor(path)[-1] == "three\n"
    path.write_bytes(b'{"not":"a note"}\n')
    with pytest.raises(FormatError):
        read_anchor(path)


@pytest.mark.parametrize("head", ["o\n5\n{}\n", "\n5\n{}\n", "o\n05\n{}\n", "o\n5\n{}\nmore\n"])
@pytest.mark.parametrize("length", [31, 32, 33, 0])
def test_a_checkpoints_lines_are_an_origin_a_size_and_a_whole_root(head: str, length: int) -> None:
    note = head.format(b64encode(bytes(length)).decode()) + "\n\u2014 o AAAAAAA=\n"
    if head.startswith("o\n5\n") and "more" not in head and length == 32:
        assert take_apart(note)[0].size == 5  # the control
        return
    with pytest.raises(FormatError):
        take_apart(note)


def test_a_signature_is_a_key_id_and_at_least_one_byte() -> None:
    for length, good in ((4, False), (5, True), (68, True)):
        line = f"— zz.example/log {b64encode(bytes(range(length))).decode()}"
        if good:
            assert signature_line(line) == ("zz.example/log", bytes(range(length)))
        else:
            with pytest.raises(FormatError):
                signature_line(line)


def test_a_note_is_taken_apart_up_to_its_longest_and_no_further() -> None:
    body = f"zz.example/log\n1\n{b64encode(bytes(32)).decode()}\n"
    room = MAX_NOTE - len(body) - 1
    filled = "x" * (room - 1) + "\n"
    assert take_apart(body + "\n" + filled)[1] == [filled[:-1]]
    with pytest.raises(FormatError, match="too long"):
        take_apart(body + "\n" + "x" + filled)

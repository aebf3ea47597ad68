"""Policy files and anchors: read strictly, refused by line."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import pytest
from hypothesis import given
from hypothesis import strategies as st
from umbridge_audit.checkpoint import Policy, append_anchor, read_anchor
from umbridge_audit.entry import FormatError


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
    text = good.replace("quorum none", "witness a k\nwitness b k\ngroup g 2 a b\ngroup h any g a\nquorum h")
    assert Policy.read(text).quorum == "h"


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

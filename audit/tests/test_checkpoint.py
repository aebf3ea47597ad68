"""Policy files and anchors: read strictly, refused by line."""

from __future__ import annotations

import contextlib
import os
import stat
from base64 import b64encode
from pathlib import Path
from types import ModuleType

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st
from umbridge_audit.checkpoint import (
    COSIGNATURE,
    Checkpoint,
    VerifierKey,
    anchor_lines,
    append_anchor,
    read_anchor,
    read_note,
    sign,
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
    room = (1 << 20) - len(body) - 1
    filled = "x" * (room - 1) + "\n"
    assert take_apart(body + "\n" + filled)[1] == [filled[:-1]]
    with pytest.raises(FormatError, match="too long"):
        take_apart(body + "\n" + "x" + filled)


def test_a_note_has_at_most_a_hundred_signature_lines() -> None:
    body = f"zz.example/log\n1\n{b64encode(bytes(32)).decode()}\n"
    assert len(take_apart(body + "\n" + "x\n" * 100)[1]) == 100
    for lines in ("x\n" * 101, "", "x"):
        with pytest.raises(FormatError, match="signature lines"):
            take_apart(body + "\n" + lines)


def signed_by(name: str, raw: bytes) -> str:
    """A signature line of this name with these bytes for key id and signature."""
    return f"\u2014 {name} {b64encode(raw).decode()}\n"


def test_a_note_names_its_log_and_is_signed_by_that_key_once() -> None:
    """Each thing that must agree, off by itself: origin, signer's name, key id, signature, how often."""
    private = Ed25519PrivateKey.from_private_bytes(bytes([3]) * 32)
    key = VerifierKey("zz.example/log", private.public_key().public_bytes_raw())
    other = VerifierKey("zz.example/other", key.public)
    note = sign(Checkpoint(key.name, 5, bytes(32)), private)
    body, own = note.split("\n\n")
    assert read_note(note, key, exact=True) == read_note(note, key, exact=False)
    # a second key of the same name, another name with the same key id, and a stranger: not ours
    signature = signature_line(own.rstrip())[1][4:]
    strangers = [
        signed_by(key.name, bytes(4) + signature),
        signed_by(other.name, key.key_id + signature),
        signed_by(other.name, other.key_id + bytes(64)),
    ]
    for line in strangers:
        assert read_note(note + line, key, exact=False).size == 5
        for wrong, exact in ((note + line, True), (f"{body}\n\n{line}", False), (f"{body}\n\n{line}", True)):
            with pytest.raises(FormatError, match="signature missing"):
                read_note(wrong, key, exact=exact)
    with pytest.raises(FormatError, match="signature missing"):
        read_note(note + own, key, exact=False)
    # the known key's line, one byte short, one too long, one bit off
    for bad in (signature[:-1], signature + b"x", bytes([signature[0] ^ 1]) + signature[1:]):
        line = signed_by(key.name, key.key_id + bad)
        for wrong in (f"{body}\n\n{line}", note + line, f"{body}\n\n{line}{own}"):
            with pytest.raises(FormatError, match=r"signature\Z"):
                read_note(wrong, key, exact=False)
    # signed by the right key under the right name, over another log's checkpoint
    foreign = Checkpoint("zz.example/other", 5, bytes(32)).body()
    line = signed_by(key.name, key.key_id + private.sign(foreign.encode()))
    with pytest.raises(FormatError, match="checkpoint lines"):
        read_note(f"{foreign}\n{line}", key, exact=False)


@pytest.mark.parametrize("name", ["", "zz log", "zz\u2003log", "zz\nlog", "zz\x1flog", "z" * 201, "zz\ud800"])
def test_a_keys_name_is_one_word_of_at_most_two_hundred_characters(name: str) -> None:
    for good in ("z", "z" * 200, "zz.example/log"):
        key = VerifierKey(good, bytes(32))
        assert VerifierKey.read(str(key)) == key
    shown = f"{name}+00000000+{b64encode(bytes([1]) + bytes(32)).decode()}"
    with contextlib.suppress(UnicodeEncodeError):  # a name that has no bytes has no key id either
        shown = str(VerifierKey(name, bytes(32)))
    with pytest.raises(FormatError, match="vkey"):
        VerifierKey.read(shown)


@pytest.mark.parametrize("length", [31, 33])
def test_a_key_is_of_its_kind_and_length(length: int) -> None:
    with pytest.raises(FormatError, match="vkey"):
        VerifierKey.read(str(VerifierKey("zz", bytes(length))))
    with pytest.raises(FormatError, match="vkey"):
        VerifierKey.read(str(VerifierKey("zz", bytes(32))), COSIGNATURE)


# --- the anchor file ------------------------------------------------------------------------------------


def test_an_anchor_line_is_taken_up_to_its_longest_and_no_further(tmp_path: Path) -> None:
    """4 MiB and a newline. A longer one is refused, not passed over in silence as a line that a crash cut."""
    path = tmp_path / "anchor"
    longest = b'"' + b"x" * ((4 << 20) - 2) + b'"'
    path.write_bytes(longest + b"\n" + b'"after"\n')
    assert [len(note) for note in anchor_lines(path)] == [(4 << 20) - 2, 5]
    path.write_bytes(b'"first"\n' + longest)  # cut by a crash before its newline
    assert list(anchor_lines(path)) == ["first"]
    for more in (b" " + longest, b" " + longest + b"\n", b" " + longest + b'\n"after"\n'):
        path.write_bytes(b'"first"\n' + more)
        lines = anchor_lines(path)
        assert next(lines) == "first"
        with pytest.raises(FormatError, match="too long"):
            next(lines)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.text(max_size=5), max_size=5), st.integers(0, 60))
def test_an_anchor_is_read_from_its_beginning_to_a_byte(
    tmp_path_factory: pytest.TempPathFactory, notes: list[str], stop: int
) -> None:
    """A line that begins before ``stop`` is read whole, one that begins there or later is not."""
    path = tmp_path_factory.mktemp("anchor") / "anchor"
    path.touch()
    begins = []
    for note in notes:
        begins.append(path.stat().st_size)
        append_anchor(path, note)
    assert read_anchor(path) == notes
    for end in (stop, *begins):
        assert list(anchor_lines(path, end)) == [
            note for note, at in zip(notes, begins, strict=True) if at < end
        ]


def test_a_line_that_a_crash_cut_is_finished_wherever_it_was_cut(tmp_path: Path) -> None:
    """The first line of a file, and a later one, after any number of its bytes; nothing else is added to."""
    whole = b'"new"\n'
    for before in (b"", b'"old"\n', b'"a longer one"\n'):
        for cut in range(len(whole) + 1):
            path = tmp_path / f"{len(before)} {cut}"
            path.write_bytes(before + whole[:cut])
            append_anchor(path, "new")
            assert path.read_bytes() == before + whole * (1 if cut < len(whole) else 2)
        for foreign in (b"x", b'"ne_', b'"old', b'"new"x', b'""new"', b'"a longer one that was cut', b'"new'):
            path = tmp_path / "foreign"
            torn = foreign if foreign != b'"new' else b'"' * 20 + b'"new'
            path.write_bytes(before + torn)
            with pytest.raises(FormatError, match="foreign line"):
                append_anchor(path, "new")
            assert path.read_bytes() == before + torn


def test_what_is_anchored_is_on_the_disk_before_the_call_returns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The whole line is synced once it is written, and after it the folder of a new name."""
    path = tmp_path / "anchor"
    really = os.fsync
    asked: list[tuple[str, int]] = []

    def fsync(fd: int) -> None:
        found = os.fstat(fd)
        folder = stat.S_ISDIR(found.st_mode)
        assert os.path.samestat(found, (tmp_path if folder else path).stat())
        asked.append(("folder", 0) if folder else ("file", found.st_size))
        really(fd)

    monkeypatch.setattr(os, "fsync", fsync)
    append_anchor(path, "one")
    assert asked == [("file", 6), ("folder", 0)]
    append_anchor(path, "two")
    assert asked[2:] == [("file", 12)]


def test_an_anchor_is_its_owners_to_write_and_leaves_nothing_open(tmp_path: Path) -> None:
    before = len(list(Path("/proc/self/fd").iterdir()))
    mask = os.umask(0)
    try:
        for n in range(10):
            append_anchor(tmp_path / str(n), "note")
    finally:
        os.umask(mask)
    assert stat.S_IMODE((tmp_path / "0").stat().st_mode) == 0o644
    assert len(list(Path("/proc/self/fd").iterdir())) == before

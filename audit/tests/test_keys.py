"""Keys apart from the store: made once, private, bound to each other, refused when anything is wrong."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from umbridge_audit.keys import KeyRefusedError, Keyring
from umbridge_audit.seal import SealError

AT = datetime(2026, 11, 30, 23, 30, tzinfo=UTC)


def test_private_files_and_no_second_set(tmp_path: Path) -> None:
    Keyring.create(tmp_path / "keys")
    assert sorted(p.name for p in (tmp_path / "keys").iterdir()) == ["kek", "keystore.json", "log.key"]
    assert {p.stat().st_mode & 0o777 for p in (tmp_path / "keys").iterdir()} == {0o600}
    before = {p: p.read_bytes() for p in (tmp_path / "keys").iterdir()}
    with pytest.raises(KeyRefusedError, match="kek"):
        Keyring.create(tmp_path / "keys")
    assert before == {p: p.read_bytes() for p in (tmp_path / "keys").iterdir()}


def _drop(name: str) -> Callable[[Path], object]:
    return lambda folder: (folder / name).unlink()


def _write(name: str, raw: bytes) -> Callable[[Path], object]:
    return lambda folder: (folder / name).write_bytes(raw)


def _mode(name: str, mode: int) -> Callable[[Path], object]:
    return lambda folder: (folder / name).chmod(mode)


def _edit(field: str, value: str) -> Callable[[Path], object]:
    def change(folder: Path) -> None:
        path = folder / "keystore.json"
        store = json.loads(path.read_text())
        for item in store["keys"]:
            item[field] = value
        path.write_text(json.dumps(store))

    return change


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (_drop("kek"), "kek"),
        (_drop("log.key"), "log.key"),
        (_drop("keystore.json"), "keystore.json"),
        (_write("kek", bytes(31)), "kek"),
        (_write("kek", bytes(32)), "token."),
        (_write("log.key", b""), "log.key"),
        (_write("keystore.json", b"{}"), "keystore.json"),
        (_write("keystore.json", b"\xff"), "keystore.json"),
        (_write("keystore.json", b'{"keys":[]}'), "keystore.json"),
        (_mode("kek", 0o640), "kek"),
        (_mode("log.key", 0o604), "log.key"),
        (_mode("keystore.json", 0o660), "keystore.json"),
        (_edit("wrapped", "AAAA"), "token."),
        (_edit("commit", "00"), "token."),
        (_edit("alg", "AES-ECB"), "token."),
        (_edit("kid", "token.2026-11.00000000"), "token."),
    ],
)
def test_refused_in_one_line_that_names_what(
    tmp_path: Path, change: Callable[[Path], object], named: str
) -> None:
    folder = tmp_path / "keys"
    Keyring.create(folder)
    change(folder)
    before = {p: p.read_bytes() for p in folder.iterdir()}
    with pytest.raises(KeyRefusedError) as caught:
        Keyring.open(folder)
    assert named in str(caught.value) and "\n" not in str(caught.value)
    assert before == {p: p.read_bytes() for p in folder.iterdir()}


def test_a_key_for_each_kind_and_utc_month(tmp_path: Path) -> None:
    keyring = Keyring.create(tmp_path / "keys")
    kid, _ = keyring.dek("clin", AT)
    assert kid.startswith("clin.2026-11.") and keyring.dek("clin", AT)[0] == kid
    east = timezone(timedelta(hours=5))
    assert keyring.dek("clin", AT.astimezone(east))[0] == kid  # already December there
    assert keyring.dek("clin", AT + timedelta(hours=1))[0] != kid
    assert keyring.dek("fin", AT)[0] != kid
    with pytest.raises(ValueError, match="kind"):
        keyring.dek("nonsense", AT)
    again = Keyring.open(tmp_path / "keys")
    assert again.dek("clin", AT)[0] == kid and len(again.unlogged()) == 4
    again.mark_logged({kid})
    assert kid not in {r.kid for r in Keyring.open(tmp_path / "keys").unlogged()}


def test_a_reader_sees_keys_made_later(tmp_path: Path) -> None:
    writer = Keyring.create(tmp_path / "keys")
    reader = Keyring.open(tmp_path / "keys")
    sealed = writer.seal("stay", b"snapshot", b"VN1", AT)
    assert reader.unseal("stay", sealed, b"VN1") == b"snapshot"


def test_sealed_values_open_only_as_what_they_were(tmp_path: Path) -> None:
    keyring = Keyring.create(tmp_path / "keys")

    @settings(max_examples=60, deadline=None)
    @given(st.binary(max_size=200), st.binary(max_size=20), st.integers(0, 10_000), st.integers(1, 255))
    def run(plain: bytes, aad: bytes, at: int, bits: int) -> None:
        sealed = keyring.seal("raw", plain, aad, AT)
        assert keyring.unseal("raw", sealed, aad) == plain
        at %= len(sealed)
        changed = sealed[:at] + bytes([sealed[at] ^ bits]) + sealed[at + 1 :]
        for kind, what, about in (
            ("stay", sealed, aad),
            ("raw", changed, aad),
            ("raw", sealed[:at], aad),
            ("raw", sealed, aad + b"x"),
        ):
            with pytest.raises(SealError):
                keyring.unseal(kind, what, about)

    run()
    with pytest.raises(SealError):
        Keyring.create(tmp_path / "other").unseal("raw", keyring.seal("raw", b"", b"", AT), b"")


def test_tokens_are_stable_and_separate_fields(tmp_path: Path) -> None:
    keyring = Keyring.create(tmp_path / "keys")
    token = keyring.token("mrn", "ZZTEST1")
    assert len(token) == 16 and Keyring.open(tmp_path / "keys").token("mrn", "ZZTEST1") == token
    assert keyring.token("visit", "ZZTEST1") != token != keyring.token("mrn", "ZZTEST2")
    assert keyring.token("ab", "c") != keyring.token("a", "bc")
    assert Keyring.create(tmp_path / "other").token("mrn", "ZZTEST1") != token
    assert keyring.token("mrn", os.fsdecode(b"\xff"))  # whatever an argument list may hold


def test_no_key_in_any_error_text(tmp_path: Path) -> None:
    Keyring.create(tmp_path / "keys")
    kek = (tmp_path / "keys" / "kek").read_bytes()
    (tmp_path / "keys" / "kek").write_bytes(kek[::-1])
    with pytest.raises(KeyRefusedError) as caught:
        Keyring.open(tmp_path / "keys")
    assert kek.hex() not in repr(caught.value) and caught.value.__cause__ is None

"""The key-encryption key: from a file or a passphrase; whatever is wrong is one line with its id or name."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from umbridge_audit import kek
from umbridge_audit.kek import KeyRefusedError, clean, read_key_file, write_key_file
from umbridge_audit.keys import Keyring

PASSPHRASE = "ZZTEST correct horse é".encode()


def made(folder: Path) -> Path:
    write_key_file(folder / "kek", PASSPHRASE)
    return folder / "kek"


def test_rfc_9106_vector_of_the_primitive() -> None:
    """RFC 9106 section 5.3: so that another implementation makes the same key of the same passphrase."""
    from cryptography.hazmat.primitives.kdf.argon2 import Argon2id

    kdf = Argon2id(
        salt=b"\x02" * 16,
        length=32,
        iterations=3,
        lanes=4,
        memory_cost=32,
        ad=b"\x04" * 12,
        secret=b"\x03" * 8,
    )
    assert kdf.derive(b"\x01" * 32).hex() == (
        "0d640df58d78766c08c037a34a8b53c9d01ef0452d75b65eb52520e96b01e659"
    )


def test_the_passphrase_gives_the_key_and_no_other_does(tmp_path: Path) -> None:
    file = read_key_file(made(tmp_path))
    assert (file.path.stat().st_mode & 0o777, file.raw) == (0o600, None)
    provider = file.open(lambda: PASSPHRASE)
    wrapped = provider.wrap("clin.2026-11.00000000", "A", b"k" * 32)
    assert provider.unwrap("clin.2026-11.00000000", "A", wrapped) == b"k" * 32
    before = file.path.read_bytes()
    for wrong in (b"", PASSPHRASE + b" "):
        with pytest.raises(KeyRefusedError, match=file.kek_id) as caught:
            file.open(lambda wrong=wrong: wrong)  # type: ignore[misc]
        assert "\n" not in str(caught.value) and PASSPHRASE.decode() not in str(caught.value)
    assert file.path.read_bytes() == before
    with pytest.raises(KeyRefusedError, match="12 characters"):
        write_key_file(tmp_path / "short", b"elevenchars")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["kek"]


def test_where_a_service_keeps_its_passphrase(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(kek.PASSPHRASE_FILE, raising=False)
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    assert kek.from_environment() == b""
    for name in (kek.CREDENTIAL, "named"):
        (tmp_path / name).write_bytes(b"from " + name.encode() + b"\r\nsecond line\n")
        (tmp_path / name).chmod(0o600)
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    assert kek.from_environment() == b"from umbridge-passphrase"
    monkeypatch.setenv(kek.PASSPHRASE_FILE, str(tmp_path / "named"))
    assert kek.from_environment() == b"from named"
    (tmp_path / "named").chmod(0o644)
    with pytest.raises(KeyRefusedError, match="named"):
        kek.from_environment()
    assert clean("e\u0301".encode()) == "é".encode() and clean(b"\xff") == b"\xff"


def test_a_ring_under_a_passphrase(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(kek.PASSPHRASE_FILE, raising=False)
    ring = Keyring.create(tmp_path / "keys", PASSPHRASE)
    assert ring.provider.kind == "passphrase"
    token = ring.token("mrn", "ZZTEST1")
    before = {p: p.read_bytes() for p in (tmp_path / "keys").iterdir()}
    with pytest.raises(KeyRefusedError, match=ring.provider.kek_id):
        Keyring.open(tmp_path / "keys")
    assert Keyring.open(tmp_path / "keys", lambda: PASSPHRASE).token("mrn", "ZZTEST1") == token
    assert {p: p.read_bytes() for p in (tmp_path / "keys").iterdir()} == before


HOSTILE = [
    b"",
    b"x" * 31,
    b"x" * 5000,
    b"[" * 4000,
    b"null",
    b"7",
    b'"salt"',
    b"\xff\xfe{}",
]


@pytest.mark.parametrize("raw", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_files_are_refused_by_name(tmp_path: Path, raw: bytes) -> None:
    (tmp_path / "kek").write_bytes(raw)
    (tmp_path / "kek").chmod(0o600)
    with pytest.raises(KeyRefusedError, match="kek: neither"):
        read_key_file(tmp_path / "kek")


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    st.sampled_from(["v", "kdf", "salt", "passes", "lanes", "memory_kib", "kek_id"]),
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(-5, 2**40),
        st.text(max_size=20),
        st.lists(st.integers(), max_size=2),
    ),
)
def test_no_field_can_ask_for_more_than_the_limits(
    tmp_path_factory: pytest.TempPathFactory, field: str, value: object
) -> None:
    path = tmp_path_factory.mktemp("kek") / "kek"
    good = {"v": 1, "kdf": "argon2id", "salt": "A" * 22 + "==", "passes": 3, "lanes": 4}
    said = {**good, "memory_kib": 65536, "kek_id": "0" * 16, field: value}
    path.write_text(json.dumps(said))
    path.chmod(0o600)
    try:
        file = read_key_file(path)
    except KeyRefusedError as exc:
        assert str(path) in str(exc)
        return
    assert (file.passes, file.lanes, file.memory_kib) <= (16, 16, 1 << 20)
    assert file.passes <= 16 and file.lanes <= 16 and 8 * file.lanes <= file.memory_kib <= 1 << 20

"""Keys apart from the store: the key-encryption key, the log's signing key, and the wrapped data keys.

One directory with `kek` (32 bytes), `log.key` (Ed25519 seed) and `keystore.json`, all 0600. SPEC.md
sections 6 and 14. Nothing here ever appears in an error's text but a file's name or a key's id.
"""

from __future__ import annotations

import hmac
import json
import os
import secrets
import stat
from base64 import b64decode, b64encode
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from threading import RLock
from typing import Protocol

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from umbridge_audit.checkpoint import VerifierKey, sync_directory
from umbridge_audit.seal import ALG, NONCE, SealError, Xaes, dek_commit, lv8
from umbridge_audit.slots import COMPARTMENTS

TOKEN_ALG = "HMAC-SHA-256"  # noqa: S105
KINDS = (*COMPARTMENTS, "raw", "stay")
_FILES = ("kek", "log.key", "keystore.json")


class KeyRefusedError(KeyError):
    """A key is missing, wrong or readable by others. One line, naming the file or the key's id."""

    def __str__(self) -> str:
        return str(self.args[0]) if self.args else "key refused"


class KeyProvider(Protocol):
    """Whoever holds the key-encryption key: a file now; a KMS or HSM needs no more than this."""

    @property
    def kek_id(self) -> str: ...

    def wrap(self, kid: str, alg: str, key: bytes) -> bytes: ...

    def unwrap(self, kid: str, alg: str, wrapped: bytes) -> bytes:
        """Raises KeyRefusedError naming the kid."""


class FileKeyProvider:
    """The key-encryption key in a file of 32 bytes."""

    def __init__(self, path: Path) -> None:
        key = _read_private(path, 32)
        self._cipher = Xaes(key)
        self.kek_id = sha256(b"umb/kek/1" + key).hexdigest()[:16]

    def wrap(self, kid: str, alg: str, key: bytes) -> bytes:
        nonce = os.urandom(NONCE)
        return nonce + self._cipher.seal(nonce, key, b"umb/wrap/1" + lv8(kid) + alg.encode())

    def unwrap(self, kid: str, alg: str, wrapped: bytes) -> bytes:
        try:
            return self._cipher.unseal(
                wrapped[:NONCE], wrapped[NONCE:], b"umb/wrap/1" + lv8(kid) + alg.encode()
            )
        except SealError:
            raise KeyRefusedError(f"key {kid}: does not open with this key-encryption key") from None


@dataclass(frozen=True, slots=True)
class WrappedKey:
    """One record of the keystore. ``logged``: its ``key.create`` entry is known to be durable."""

    kid: str
    kek_id: str
    alg: str
    wrapped: str
    commit: str
    logged: bool = False


class Keyring:
    """All keys of one ledger. Safe to share between threads; only the holder of the pen may create keys."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._provider: KeyProvider = FileKeyProvider(directory / "kek")
        self._signer = Ed25519PrivateKey.from_private_bytes(_read_private(directory / "log.key", 32))
        self._lock = RLock()
        self._ciphers: dict[str, Xaes] = {}
        self._current: dict[tuple[str, str], str] = {}
        self._records: dict[str, WrappedKey] = {}
        self._unlogged: list[WrappedKey] | None = None  # worked out when asked for after a change
        self._load()
        token = [r for r in self._records.values() if r.alg == TOKEN_ALG]
        if len(token) != 1:
            raise KeyRefusedError(f"{directory / 'keystore.json'}: needs exactly one token key")
        padded = self._unwrap(token[0]).ljust(64, b"\0")
        self._inner = sha256(bytes(byte ^ 0x36 for byte in padded))
        self._outer = sha256(bytes(byte ^ 0x5C for byte in padded))

    @classmethod
    def create(cls, directory: Path) -> Keyring:
        """Fresh keys in ``directory`` (made if missing, 0700). KeyRefusedError if any key file exists."""
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        for name in _FILES:
            if (directory / name).exists():
                raise KeyRefusedError(f"{directory / name}: exists already, nothing written")
        _write_private(directory / "kek", os.urandom(32))
        _write_private(directory / "log.key", os.urandom(32))
        provider = FileKeyProvider(directory / "kek")
        kid = f"token.{datetime.now(UTC):%Y-%m}.{secrets.token_hex(4)}"
        key = os.urandom(32)
        record = WrappedKey(
            kid,
            provider.kek_id,
            TOKEN_ALG,
            b64encode(provider.wrap(kid, TOKEN_ALG, key)).decode(),
            dek_commit(kid, key),
        )
        _save(directory / "keystore.json", [record])
        sync_directory(directory)
        return cls(directory)

    @classmethod
    def open(cls, directory: Path) -> Keyring:
        """The keys in ``directory``; every data key is unwrapped when first needed.

        Raises KeyRefusedError: a file is missing, malformed, readable by group or others, or the keys do not
        belong together. Writes nothing.
        """
        return cls(directory)

    # --- the log's own key --------------------------------------------------------------------------

    @property
    def signer(self) -> Ed25519PrivateKey:
        """The log's signing key."""
        return self._signer

    def vkey(self, origin: str) -> VerifierKey:
        """The log's public key under the name a verifier knows it by."""
        return VerifierKey(origin, self._signer.public_key().public_bytes_raw())

    # --- data keys ----------------------------------------------------------------------------------

    def dek(self, kind: str, at: datetime) -> tuple[str, Xaes]:
        """Kid and cipher for a kind (a compartment, ``raw`` or ``stay``) in the UTC month of ``at``.

        Makes the key where there is none, durable in the keystore before it is returned; its ``key.create``
        entry is then owed (``unlogged``).
        """
        when = at if at.tzinfo is UTC else at.astimezone(UTC)
        month = f"{when.year:04d}-{when.month:02d}"
        known = self._current.get((kind, month), "")
        ready = self._ciphers.get(known)
        if ready is not None:
            return known, ready
        with self._lock:
            kid = self._current.get((kind, month))
            if kid is None:
                kid = self._make(kind, month)
            return kid, self.cipher(kid)

    def cipher(self, kid: str) -> Xaes:
        """The cipher of one data key. Raises KeyRefusedError when it is not held or does not unwrap."""
        cipher = self._ciphers.get(kid)
        if cipher is None:
            with self._lock:
                record = self._records.get(kid)
                if record is None:
                    self._load()  # made by the pen after this keyring was read
                    record = self._records.get(kid)
                if record is None or record.alg != ALG:
                    raise KeyRefusedError(f"key {kid}: not in {self.directory / 'keystore.json'}")
                cipher = self._ciphers[kid] = Xaes(self._unwrap(record))
        return cipher

    def commit(self, kid: str) -> str | None:
        """The commitment of the key actually held under a kid, recomputed; None when it is not held."""
        record = self._records.get(kid)
        return None if record is None else dek_commit(kid, self._unwrap(record))

    def unlogged(self) -> list[WrappedKey]:
        """Keys whose ``key.create`` entry is not known to be durable."""
        with self._lock:
            if self._unlogged is None:
                self._unlogged = [record for record in self._records.values() if not record.logged]
            return list(self._unlogged)

    def mark_logged(self, kids: set[str]) -> None:
        """Notes that these keys' entries are durable. Losing the note only repeats an entry."""
        with self._lock:
            due = {k: replace(self._records[k], logged=True) for k in kids if not self._records[k].logged}
            if due:
                self._records |= due
                self._unlogged = None
                _save(self.directory / "keystore.json", list(self._records.values()))

    # --- sealed values and tokens -------------------------------------------------------------------

    def seal(self, kind: str, plaintext: bytes, aad: bytes, at: datetime) -> bytes:
        """Seals a value outside the ledger's tables; ``kind`` is "raw" or "stay". SPEC.md section 14."""
        kid, cipher = self.dek(kind, at)
        nonce = os.urandom(NONCE)
        return b"\x01" + lv8(kid) + nonce + cipher.seal(nonce, plaintext, _seal_aad(kind, kid, aad))

    def unseal(self, kind: str, sealed: bytes, aad: bytes) -> bytes:
        """Raises SealError when the bytes were sealed otherwise, or the key is not held."""
        try:
            if sealed[0] != 1:
                raise SealError("sealed value of an unknown version")
            end = 2 + sealed[1]
            kid = sealed[2:end].decode("ascii")
            if kid.partition(".")[0] != kind:
                raise SealError("sealed as another kind")
            return self.cipher(kid).unseal(
                sealed[end : end + NONCE], sealed[end + NONCE :], _seal_aad(kind, kid, aad)
            )
        except (IndexError, UnicodeDecodeError):
            raise SealError("sealed value is cut short") from None
        except KeyRefusedError as exc:
            raise SealError(str(exc)) from None

    def token(self, field: str, value: str) -> bytes:
        """16 bytes that stand for a value in an index: equal values of a field, equal tokens, for ever."""
        # RFC 2104 from two states made once: the one-shot call costs ten times as much.
        inner, outer = self._inner.copy(), self._outer.copy()
        inner.update(b"umb/token/1" + lv8(field) + value.encode("utf-8", "surrogatepass"))
        outer.update(inner.digest())
        return outer.digest()[:16]

    # --- the keystore file --------------------------------------------------------------------------

    def _unwrap(self, record: WrappedKey) -> bytes:
        if record.kek_id != self._provider.kek_id:
            raise KeyRefusedError(
                f"key {record.kid}: wrapped under key-encryption key {record.kek_id}, not this one"
            )
        key = self._provider.unwrap(record.kid, record.alg, b64decode(record.wrapped))
        if not hmac.compare_digest(dek_commit(record.kid, key), record.commit):
            raise KeyRefusedError(f"key {record.kid}: does not match its commitment")
        return key

    def _make(self, kind: str, month: str) -> str:
        if kind not in KINDS:
            raise ValueError("no such kind of key")
        kid = f"{kind}.{month}.{secrets.token_hex(4)}"
        key = os.urandom(32)
        wrapped = b64encode(self._provider.wrap(kid, ALG, key)).decode()
        record = WrappedKey(kid, self._provider.kek_id, ALG, wrapped, dek_commit(kid, key))
        _save(self.directory / "keystore.json", [*self._records.values(), record])
        self._records[kid] = record
        self._unlogged = None
        self._current[(kind, month)] = kid
        return kid

    def _load(self) -> None:
        path = self.directory / "keystore.json"
        raw = _read_private(path, None)
        try:
            records = [WrappedKey(**item) for item in json.loads(raw)["keys"]]
            for record in records:
                kind, month, _ = record.kid.split(".")
                b64decode(record.wrapped, validate=True)
                if record.alg not in (ALG, TOKEN_ALG):
                    raise KeyRefusedError(f"key {record.kid}: algorithm not allowed")
                if record.alg == ALG:
                    self._current[(kind, month)] = record.kid
            self._records = {record.kid: record for record in records}
            self._unlogged = None
        except KeyRefusedError:
            raise
        except (ValueError, TypeError, KeyError, AttributeError):
            raise KeyRefusedError(f"{path}: not a keystore") from None


def _seal_aad(kind: str, kid: str, aad: bytes) -> bytes:
    return b"umb/seal/1" + lv8(kind) + lv8(kid) + aad


def _read_private(path: Path, size: int | None) -> bytes:
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            if mode & (stat.S_IRWXG | stat.S_IRWXO):
                raise KeyRefusedError(f"{path}: open to group or others; chmod 600 it")
            raw = file.read()
    except OSError as exc:
        raise KeyRefusedError(f"{path}: {os.strerror(exc.errno or 0)}") from None
    if size is not None and len(raw) != size:
        raise KeyRefusedError(f"{path}: not {size} bytes")
    return raw


def _write_private(path: Path, raw: bytes) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(fd, "wb") as file:
        file.write(raw)
        file.flush()
        os.fsync(fd)


def _save(path: Path, records: list[WrappedKey]) -> None:
    """Atomic and durable: a temporary file beside it, synced, renamed, the directory synced."""
    items = [
        {
            "kid": r.kid,
            "kek_id": r.kek_id,
            "alg": r.alg,
            "wrapped": r.wrapped,
            "commit": r.commit,
            "logged": r.logged,
        }
        for r in records
    ]
    beside = path.with_name(path.name + ".new")
    beside.unlink(missing_ok=True)
    _write_private(beside, json.dumps({"v": 1, "keys": items}, indent=1).encode() + b"\n")
    beside.replace(path)
    sync_directory(path.parent)

"""Keys apart from the store: the wrapped data keys, the log's signing key, and how each is renewed.

One directory with `kek` (see ``kek``), `log.key` (see ``signing``) and `keystore.json`, all 0600; during a
rotation also `kek.next`. SPEC.md sections 6 and 14. Nothing here ever appears in an error's text but a file's
name or a key's id.
"""

from __future__ import annotations

import hmac
import json
import os
import secrets
from base64 import b64decode, b64encode
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import lru_cache
from hashlib import sha256
from pathlib import Path
from threading import RLock

from umbridge_audit.checkpoint import sync_directory
from umbridge_audit.kek import (
    KeyProvider,
    KeyRefusedError,
    Passphrase,
    read_key_file,
    read_private,
    write_key_file,
    write_private,
)
from umbridge_audit.seal import ALG, NONCE, SealError, Xaes, dek_commit, lv8
from umbridge_audit.signing import Hand, hand_in, make_key
from umbridge_audit.slots import COMPARTMENTS

__all__ = ["KINDS", "TOKEN_ALG", "KeyRefusedError", "Keyring", "WrappedKey"]

TOKEN_ALG = "HMAC-SHA-256"  # noqa: S105
KINDS = (*COMPARTMENTS, "raw", "stay", "backup")
TOKENS_KEPT = 65_536  # values, most of them a patient's number of a dozen characters: some 10 MB
_FILES = ("kek", "kek.next", "log.key", "keystore.json")


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
    """All keys of one ledger. Safe to share between threads; only the one writer may create keys."""

    def __init__(
        self, directory: Path, passphrase: Passphrase | None = None, hand: Hand | None = None
    ) -> None:
        self.directory = directory
        # Who signs: ``hand``, the key that lies here, or, where another account took that, nobody.
        self.hand: Hand | None = hand_in(directory) if hand is None else hand
        self._passphrase = passphrase
        self._provider: KeyProvider | None = None
        self._lock = RLock()
        self._ciphers: dict[str, Xaes] = {}
        self._current: dict[tuple[str, str], str] = {}
        self._records: dict[str, WrappedKey] = {}
        self._unlogged: list[WrappedKey] | None = None  # worked out when asked for after a change
        self._next_passphrase: bytes | None = None
        self._waiting: list[WrappedKey] = []  # made by ``renew``, not in use before the writer takes them up
        self._load()
        token = [r for r in self._records.values() if r.alg == TOKEN_ALG]
        if len(token) != 1:
            raise KeyRefusedError(f"{directory / 'keystore.json'}: needs exactly one token key")
        padded = self._unwrap(token[0]).ljust(64, b"\0")
        self._inner = sha256(bytes(byte ^ 0x36 for byte in padded))
        self._outer = sha256(bytes(byte ^ 0x5C for byte in padded))
        self._tokens: dict[tuple[str, str], bytes] = {}

    @classmethod
    def create(cls, directory: Path, passphrase: bytes | None = None) -> Keyring:
        """Fresh keys in ``directory`` (made if missing, 0700). KeyRefusedError if any key file exists."""
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        for name in _FILES:
            if (directory / name).exists():
                raise KeyRefusedError(f"{directory / name}: exists already, nothing written")
        write_key_file(directory / "kek", passphrase)
        make_key(directory)
        ask = None if passphrase is None else lambda: passphrase
        provider = read_key_file(directory / "kek").open(ask)
        kid = f"token.{datetime.now(UTC):%Y-%m}.{secrets.token_hex(4)}"
        key = os.urandom(32)
        _save(directory / "keystore.json", [_wrapped(provider, kid, TOKEN_ALG, key)])
        sync_directory(directory)
        return cls(directory, ask)

    @classmethod
    def open(cls, directory: Path, passphrase: Passphrase | None = None, hand: Hand | None = None) -> Keyring:
        """The keys in ``directory``; every data key is unwrapped when first needed.

        ``passphrase`` is asked only if the key-encryption key comes from one; by default the environment is.
        ``hand`` holds the signing key where it does not lie in ``directory``.
        Raises KeyRefusedError: a file is missing, malformed, readable by group or others, or the keys do not
        belong together. Writes nothing.
        """
        return cls(directory, passphrase, hand)

    # --- data keys ----------------------------------------------------------------------------------

    def dek(self, kind: str, at: datetime) -> tuple[str, Xaes]:
        """Kid and cipher for a kind (a compartment, ``raw`` or ``stay``) in the UTC month of ``at``.

        Makes the key where there is none, durable in the keystore before it is returned; its ``key.create``
        entry is then owed (``unlogged``).
        """
        when = at if at.tzinfo is UTC else at.astimezone(UTC)
        month = _month(when.year, when.month)
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
                    self._load()  # made by the writer after this keyring was read
                    record = self._records.get(kid)
                if record is None or record.alg != ALG:
                    raise KeyRefusedError(f"key {kid}: not in {self.directory / 'keystore.json'}")
                try:
                    key = self._unwrap(record)
                except KeyRefusedError:
                    self._load()  # wrapped anew by the writer after this keyring was read, or really refused
                    key = self._unwrap(self._records.get(kid, record))
                cipher = self._ciphers[kid] = Xaes(key)
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
                self._write([*self._records.values(), *self._waiting])

    # --- rotation -----------------------------------------------------------------------------------

    @property
    def provider(self) -> KeyProvider:
        """Who holds the key-encryption key in force."""
        with self._lock:
            return self._holder(next(iter(self._records.values())))

    def records(self) -> list[WrappedKey]:
        """Every key held, oldest first, as wrapped: for listing, and for what a rotation writes."""
        with self._lock:
            return [*self._records.values(), *self._waiting]

    def is_current(self, kid: str) -> bool:
        """Whether new entries of its month would be sealed with this key."""
        return kid in self._current.values()

    def renew(self, kind: str, at: datetime) -> WrappedKey:
        """A new data key for a kind in the UTC month of ``at``, durable; in use once the writer takes it up.

        What is sealed already stays under the old one.
        """
        with self._lock:
            record = self._fresh(kind, at.astimezone(UTC).strftime("%Y-%m"))
            self._waiting.append(record)
            self._write([*self._records.values(), *self._waiting])
            return record

    @property
    def waits(self) -> bool:
        """Whether a new data key waits to be taken up."""
        return bool(self._waiting)

    def take_up(self) -> None:
        """The writer's, between two transactions: new keys are in use now, their ``key.create`` is owed."""
        with self._lock:
            for record in self._waiting:
                self._records[record.kid] = record
                kind, month, _ = record.kid.split(".")
                self._current[(kind, month)] = record.kid
            self._waiting.clear()
            self._unlogged = None

    def prepare(self, passphrase: bytes | None) -> str:
        """Makes the next key-encryption key, durable and not in force; returns its id. See ``adopt``.

        Without a passphrase the key is a file of 32 random bytes. One left by a rotation that never got
        further is replaced: nothing was ever wrapped under it.
        """
        with self._lock:
            beside = self._next()
            if self.next_id() == self.provider.kek_id:
                raise KeyRefusedError(f"{beside}: a rotation is not finished; start the daemon once")
            beside.unlink(missing_ok=True)
            if passphrase is not None:
                self._next_passphrase = passphrase
            write_key_file(beside, passphrase)
            sync_directory(self.directory)
            return read_key_file(beside).kek_id

    def next_id(self) -> str | None:
        """The id of the key-encryption key that waits in `kek.next`, None where none does."""
        beside = self._next()
        return read_key_file(beside).kek_id if beside.exists() else None

    def adopt(self) -> None:
        """Wraps every key under `kek.next` and makes that the key-encryption key; may be called again.

        The keystore is replaced in one rename, so that it is all old or all new; then `kek.next` becomes
        `kek`. Killed anywhere, ``open`` finds whichever of the two the keystore names.
        """
        with self._lock:
            file = read_key_file(self._next())
            records = [*self._records.values(), *self._waiting]
            if any(record.kek_id != file.kek_id for record in records):
                ask = (
                    self._passphrase
                    if self._next_passphrase is None
                    else lambda: self._next_passphrase or b""
                )
                provider = file.open(ask)
                made = [
                    replace(_wrapped(provider, r.kid, r.alg, self._unwrap(r)), logged=r.logged)
                    for r in records
                ]
                self._write(made)
                self._provider, self._passphrase = provider, ask
                waiting = {record.kid for record in self._waiting}
                self._records = {record.kid: record for record in made if record.kid not in waiting}
                self._waiting = [record for record in made if record.kid in waiting]
                self._unlogged = None
            self._next().replace(self.directory / "kek")
            sync_directory(self.directory)

    def _next(self) -> Path:
        return self.directory / "kek.next"

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

    def token_again(self, field: str, value: str) -> bytes:
        """``token`` of a value that comes again and again, as a patient's number does: kept in memory."""
        key = (field, value)
        found = self._tokens.get(key)
        if found is None:
            if len(self._tokens) >= TOKENS_KEPT:
                self._tokens.clear()
            found = self._tokens[key] = self.token(field, value)
        return found

    # --- the keystore file --------------------------------------------------------------------------

    def _unwrap(self, record: WrappedKey) -> bytes:
        provider = self._holder(record)
        key = provider.unwrap(record.kid, record.alg, b64decode(record.wrapped))
        stated = record.commit.encode("utf-8", "replace")  # a file may say anything
        if not hmac.compare_digest(dek_commit(record.kid, key).encode(), stated):
            raise KeyRefusedError(f"key {record.kid}: does not match its commitment")
        return key

    def _holder(self, record: WrappedKey) -> KeyProvider:
        """The key-encryption key a record is wrapped under: `kek`, or in mid-rotation `kek.next`."""
        if self._provider is None or self._provider.kek_id != record.kek_id:
            path = self.directory / "kek"
            file = read_key_file(path)
            beside = self._next()
            if file.kek_id != record.kek_id and beside.exists():
                file = read_key_file(beside)
            if file.kek_id != record.kek_id:
                raise KeyRefusedError(
                    f"key {record.kid}: wrapped under key-encryption key {record.kek_id}, which {path} is not"
                )
            self._provider = file.open(self._passphrase)
        return self._provider

    def _make(self, kind: str, month: str) -> str:
        record = self._fresh(kind, month)
        self._write([*self._records.values(), *self._waiting, record])
        self._records[record.kid] = record
        self._unlogged = None
        self._current[(kind, month)] = record.kid
        return record.kid

    def _fresh(self, kind: str, month: str) -> WrappedKey:
        if kind not in KINDS:
            raise ValueError("no such kind of key")
        return _wrapped(self.provider, f"{kind}.{month}.{secrets.token_hex(4)}", ALG, os.urandom(32))

    def _write(self, records: list[WrappedKey]) -> None:
        _save(self.directory / "keystore.json", records)

    def _load(self) -> None:
        path = self.directory / "keystore.json"
        raw = read_private(path)
        try:
            records = [WrappedKey(**item) for item in json.loads(raw)["keys"]]
            waiting = {record.kid for record in self._waiting}
            records = [record for record in records if record.kid not in waiting]
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
        except (RecursionError, ValueError, TypeError, KeyError, AttributeError):
            raise KeyRefusedError(f"{path}: not a keystore") from None


@lru_cache(maxsize=4)
def _month(year: int, month: int) -> str:
    return f"{year:04d}-{month:02d}"


def _seal_aad(kind: str, kid: str, aad: bytes) -> bytes:
    return b"umb/seal/1" + lv8(kind) + lv8(kid) + aad


def _wrapped(provider: KeyProvider, kid: str, alg: str, key: bytes) -> WrappedKey:
    wrapped = b64encode(provider.wrap(kid, alg, key)).decode()
    return WrappedKey(kid, provider.kek_id, alg, wrapped, dek_commit(kid, key))


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
    write_private(beside, json.dumps({"v": 1, "keys": items}, indent=1).encode() + b"\n")
    beside.replace(path)
    sync_directory(path.parent)

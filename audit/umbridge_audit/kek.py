"""The key-encryption key: held in a file, or made from a passphrase. It wraps every other key.

SPEC.md section 14. A file `kek` has either 32 bytes, or one line of JSON that says how a passphrase becomes
the key: argon2id (RFC 9106) with its salt and costs, and the key's id, so that a wrong passphrase is told
from a wrong file. A KMS or an HSM needs no more than ``KeyProvider``.
"""

from __future__ import annotations

import json
import os
import stat
import unicodedata
from base64 import b64decode, b64encode
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, Protocol

from cryptography.hazmat.primitives.kdf.argon2 import Argon2id

from umbridge_audit.seal import NONCE, SealError, Xaes, lv8

Passphrase = Callable[[], bytes]
# RFC 9106 section 4, the second recommended option: 3 passes, 4 lanes, 64 MiB; half a second on one core.
PASSES, LANES, MEMORY_KIB = 3, 4, 65536
# What a key file may ask of us at most: a hostile one must not take the machine's memory.
MOST_PASSES, MOST_LANES, MOST_MEMORY_KIB = 16, 16, 1 << 20
SHORTEST_PASSPHRASE = 12
PASSPHRASE_FILE = "UMBRIDGE_PASSPHRASE_FILE"  # noqa: S105  where it is, not what it is
CREDENTIAL = "umbridge-passphrase"


class KeyRefusedError(KeyError):
    """A key is missing, wrong or readable by others. One line, naming the file or the key's id."""

    def __str__(self) -> str:
        return str(self.args[0]) if self.args else "key refused"


class KeyProvider(Protocol):
    """Whoever holds the key-encryption key. ``kind`` is a word for lists: file, passphrase."""

    @property
    def kek_id(self) -> str: ...

    @property
    def kind(self) -> str: ...

    def wrap(self, kid: str, alg: str, key: bytes) -> bytes: ...

    def unwrap(self, kid: str, alg: str, wrapped: bytes) -> bytes:
        """Raises KeyRefusedError naming the kid."""


class LocalKey:
    """A key-encryption key in this process's memory."""

    def __init__(self, key: bytes, kind: str) -> None:
        self._cipher = Xaes(key)
        self.kind = kind
        self.kek_id = kek_id(key)

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
class KeyFile:
    """A key file as read: its id is known before any passphrase is asked for."""

    path: Path
    kek_id: str
    raw: bytes | None  # None: made from a passphrase
    salt: bytes = b""
    passes: int = 0
    lanes: int = 0
    memory_kib: int = 0

    def open(self, passphrase: Passphrase | None) -> KeyProvider:
        """The key itself. Raises KeyRefusedError: no passphrase at hand, or not the one."""
        if self.raw is not None:
            return LocalKey(self.raw, "file")
        said = (passphrase or from_environment)()
        if not said:
            raise KeyRefusedError(
                f"{self.path}: key-encryption key {self.kek_id} needs its passphrase; set {PASSPHRASE_FILE}"
            )
        key = _derive(said, self.salt, self.passes, self.lanes, self.memory_kib)
        if kek_id(key) != self.kek_id:
            raise KeyRefusedError(
                f"{self.path}: the passphrase does not give key-encryption key {self.kek_id}; nothing changed"
            )
        return LocalKey(key, "passphrase")


def read_key_file(path: Path) -> KeyFile:
    """A key file, private and well formed; total over its bytes. Raises KeyRefusedError naming the file."""
    raw = read_private(path)
    if len(raw) == 32:
        return KeyFile(path, kek_id(raw), raw)
    said: Any = None
    try:
        said = json.loads(raw) if len(raw) < 4096 else None
        salt = b64decode(said["salt"], validate=True)
        costs = [said["passes"], said["lanes"], said["memory_kib"]]
        most = (MOST_PASSES, MOST_LANES, MOST_MEMORY_KIB)
        good = (
            set(said) == {"v", "kdf", "salt", "passes", "lanes", "memory_kib", "kek_id"}
            and (said["v"], said["kdf"]) == (1, "argon2id")
            and 16 <= len(salt) <= 64
            and all(type(cost) is int and 1 <= cost <= limit for cost, limit in zip(costs, most, strict=True))
            and costs[2] >= 8 * costs[1]
            and isinstance(said["kek_id"], str)
            and len(said["kek_id"]) == 16
        )
    except (ValueError, TypeError, KeyError, RecursionError):
        good = False
    if not good:
        raise KeyRefusedError(f"{path}: neither 32 bytes nor an argon2id key file")
    return KeyFile(path, said["kek_id"], None, salt, *costs)


def write_key_file(path: Path, passphrase: bytes | None = None) -> None:
    """A fresh key-encryption key: 32 random bytes, or made from a passphrase. The file is there whole or not.

    Raises KeyRefusedError for a passphrase of fewer than 12 characters.
    """
    beside = path.with_name(path.name + ".new")
    if passphrase is None:
        beside.unlink(missing_ok=True)
        write_private(beside, os.urandom(32))
        beside.replace(path)
        return
    if len(passphrase) < SHORTEST_PASSPHRASE:
        raise KeyRefusedError(f"passphrase: at least {SHORTEST_PASSPHRASE} characters; nothing changed")
    salt = os.urandom(16)
    said = {
        "v": 1,
        "kdf": "argon2id",
        "salt": b64encode(salt).decode(),
        "passes": PASSES,
        "lanes": LANES,
        "memory_kib": MEMORY_KIB,
        "kek_id": kek_id(_derive(passphrase, salt, PASSES, LANES, MEMORY_KIB)),
    }
    beside.unlink(missing_ok=True)
    write_private(beside, json.dumps(said).encode() + b"\n")
    beside.replace(path)


def from_environment() -> bytes:
    """The passphrase from where a service keeps it, b"" where there is none.

    ``UMBRIDGE_PASSPHRASE_FILE`` names a file; else systemd's credential ``umbridge-passphrase``. Only the
    first line counts. Raises KeyRefusedError when the file cannot be read or is open to others.
    """
    named = os.environ.get(PASSPHRASE_FILE)
    folder = os.environ.get("CREDENTIALS_DIRECTORY")
    if not named and folder and (Path(folder) / CREDENTIAL).is_file():
        named = str(Path(folder) / CREDENTIAL)
    if not named:
        return b""
    return clean(read_private(Path(named)).partition(b"\n")[0].rstrip(b"\r"))


def clean(passphrase: bytes) -> bytes:
    """One spelling of what was typed: Unicode NFC, so that another keyboard gives the same key."""
    try:
        return unicodedata.normalize("NFC", passphrase.decode()).encode()
    except UnicodeDecodeError:
        return passphrase


def kek_id(key: bytes) -> str:
    """What a key-encryption key is known by in keystore and ledger. SPEC.md section 14."""
    return sha256(b"umb/kek/1" + key).hexdigest()[:16]


def _derive(passphrase: bytes, salt: bytes, passes: int, lanes: int, memory_kib: int) -> bytes:
    kdf = Argon2id(salt=salt, length=32, iterations=passes, lanes=lanes, memory_cost=memory_kib)
    return kdf.derive(passphrase)


def read_private(path: Path, size: int | None = None) -> bytes:
    """A file nobody else may read. Raises KeyRefusedError naming it."""
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


def write_private(path: Path, raw: bytes) -> None:
    """A new file, 0600, its bytes durable; its name is not until the directory is synced."""
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(fd, "wb") as file:
        file.write(raw)
        file.flush()
        os.fsync(fd)

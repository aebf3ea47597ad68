"""Backups: a snapshot of the store under load, sealed in one file; proved against the public policy.

A file is a line of JSON, then sealed pieces of 1 MiB. Each piece's additional data are the head, its number
and whether it is the last, so that none can be changed, moved, left out or added. The key is a data key of
kind ``backup``, in the keystore: never in the store, never in the backup.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import ClassVar, Literal

from umbridge_audit.checkpoint import read_anchor, sync_directory
from umbridge_audit.disclose import Viewer, who
from umbridge_audit.entry import Draft
from umbridge_audit.keys import KeyRefusedError, Keyring
from umbridge_audit.policy import Policy
from umbridge_audit.seal import NONCE, SealError, Xaes
from umbridge_audit.store import open_readonly
from umbridge_audit.verify import Report, verify

from umbridge.access.control import go_on
from umbridge.access.door import Door
from umbridge.access.questions import Act, asked, text
from umbridge.access.views import Seen, view, within
from umbridge.errors import ConfigError, UmbridgeError, UsageError
from umbridge.settings.config import Settings
from umbridge.store.commands import WriteEntries, WriteEntry
from umbridge.store.engine import DATABASE, is_whole, snapshot

FORMAT = "umbridge-backup/1"
PIECE = 1 << 20
TAG = 16
MAX_HEAD = 4096


@view
class BackupMade:
    """A backup that has its name."""

    file: str = within("ops", "detail")
    bytes: int = within("ops")
    sha256: str = within("ops", "digest")
    entries: int = within("ops")
    entry: int = within("open", "seq")


@asked
class CreateBackup(Act[BackupMade]):
    """``backup create``."""

    name: ClassVar[str] = "backup.create"
    may: ClassVar[str] = "make a backup"
    rows = (BackupMade,)

    out: str = text()


class Backups:
    """``backup create``: asked of whoever holds the writer, so that it may run under load."""

    def __init__(self, settings: Settings, door: Door) -> None:
        self._settings = settings
        self._door = door

    def create(self, viewer: Viewer, act: CreateBackup) -> Iterator[Seen[BackupMade]]:
        """One sealed file. Its digest is on the ledger before it has its name."""
        return self._door.perform(viewer, act, lambda: self._made(viewer, act))

    def _made(self, viewer: Viewer, act: CreateBackup) -> Iterator[BackupMade]:
        out = Path(act.out)
        if not out.is_absolute() or not out.parent.is_dir() or out.exists():
            raise UsageError("--out: a new file in a folder that is there")
        for apart in (self._settings.keys, self._settings.store):
            if out.parent.resolve().is_relative_to(apart):
                raise UsageError(f"--out: not inside {apart}: a backup lies apart from keys and store")
        writer = self._door.writer
        now = datetime.now(UTC)
        writer.keyring.renew("backup", now)  # each backup under a key of its own
        writer.call(WriteEntries(drafts=()))
        kid, cipher = writer.keyring.dek("backup", now)
        writer.sign()
        beside = out.with_name(f".{out.name}.{os.getpid()}.part")
        copy = self._settings.store / f".backup-{os.getpid()}.part"
        try:
            snapshot(self._settings.store / DATABASE, copy)
            with open_readonly(copy) as reader:
                entries = reader.length()
            head = {"format": FORMAT, "kid": kid, "chain": writer.ledger.chain, "entries": entries}
            head |= {"made_at": now.isoformat(timespec="seconds"), "bytes": copy.stat().st_size}
            digest, size = _seal(copy, beside, json.dumps(head, sort_keys=True).encode() + b"\n", cipher)
            values = who(viewer, act.reason) | {
                "state": "made",
                "digest": digest,
                "bytes": size,
                "entries": entries,
                "kid": kid,
            }
            seq = writer.call(WriteEntry(draft=Draft("backup.create", values)))
            beside.rename(out)
            sync_directory(out.parent)
        finally:
            beside.unlink(missing_ok=True)
            copy.unlink(missing_ok=True)
        yield BackupMade(file=str(out), bytes=size, sha256=digest, entries=entries, entry=seq)


def check(
    settings: Settings, file: Path, policy_file: Path, keyring: Keyring, level: Literal["keyless", "full"]
) -> Report:
    """Opens a backup beside nothing of the store and verifies what is in it against policy and anchor.

    The anchor may know later checkpoints than a backup does; up to the backup's size it must agree. Raises
    UmbridgeError for a file that does not open, ConfigError naming the key that is missing.
    """
    try:
        policy = Policy.read(policy_file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        raise ConfigError(f"{policy_file}: not a ledger policy that can be read") from None
    with tempfile.TemporaryDirectory(prefix="umbridge-backup-") as folder:  # 0700
        copy = Path(folder) / DATABASE
        head = _unseal(file, copy, keyring)
        if not is_whole(copy):
            raise UmbridgeError(f"{file}: the database in it is damaged")
        try:
            notes = read_anchor(settings.anchor)
        except (OSError, ValueError):
            notes = ["unreadable"]
        known = [note for note in notes if _size(note) <= head.entries]
        with open_readonly(copy, keyring if level == "full" else None) as source:
            return verify(
                source,
                policy,
                level=level,
                keyring=keyring if level == "full" else None,
                anchor_notes=known,
                progress=lambda _: go_on(),
            )


@dataclass(frozen=True, slots=True)
class Head:
    """What a backup says of itself before its first piece; all of it is authenticated with every piece."""

    kid: str
    entries: int
    size: int


def _size(note: str) -> int:
    size = note.split("\n", 2)[1] if note.count("\n") > 1 else ""
    return int(size) if size.isascii() and size.isdigit() else 0


def _aad(head: bytes, number: int, last: bool) -> bytes:
    return b"umb/backup/1" + sha256(head).digest() + number.to_bytes(8, "big") + bytes([last])


def _seal(source: Path, out: Path, head: bytes, cipher: Xaes) -> tuple[str, int]:
    """Digest and length of the sealed file."""
    digest, total = sha256(), 0
    handle = os.open(out, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
    with os.fdopen(handle, "wb") as stream, source.open("rb") as plain:

        def write(raw: bytes) -> None:
            nonlocal total
            stream.write(raw)
            digest.update(raw)
            total += len(raw)

        write(head)
        number, piece = 0, plain.read(PIECE)
        while True:
            go_on()
            after = plain.read(PIECE)
            nonce = os.urandom(NONCE)
            write(nonce + cipher.seal(nonce, piece, _aad(head, number, not after)))
            if not after:
                break
            number, piece = number + 1, after
        stream.flush()
        os.fsync(stream.fileno())
    return digest.hexdigest(), total


def _unseal(file: Path, out: Path, keyring: Keyring) -> Head:
    """Writes the database out; total over the file's bytes. Raises UmbridgeError, ConfigError."""
    try:
        with file.open("rb") as stream:
            raw = stream.readline(MAX_HEAD)
            head = _head(file, raw)
            try:
                cipher = keyring.cipher(head.kid)
            except KeyRefusedError as exc:
                raise ConfigError(str(exc)) from None
            number, last = 0, False
            piece = stream.read(NONCE + PIECE + TAG)
            with out.open("xb") as plain:
                while not last:
                    after = stream.read(NONCE + PIECE + TAG)
                    last = not after
                    plain.write(cipher.unseal(piece[:NONCE], piece[NONCE:], _aad(raw, number, last)))
                    number, piece = number + 1, after
                if plain.tell() != head.size:
                    raise SealError("length")
    except SealError:
        raise UmbridgeError(f"{file}: changed or cut short since it was made") from None
    except OSError as exc:
        raise UsageError(f"{file}: cannot be read ({exc.strerror})") from None
    return head


def _head(file: Path, raw: bytes) -> Head:
    try:
        said = json.loads(raw)
        head = Head(said["kid"], said["entries"], said["bytes"])
        if said["format"] != FORMAT or type(head.kid) is not str or type(head.entries) is not int:
            raise ValueError("format")
    except (ValueError, TypeError, KeyError, RecursionError):
        raise UmbridgeError(f"{file}: not a backup of umbridge") from None
    return head

"""Signed checkpoints, public keys, and the anchor file.

SPEC.md section 8; formats of https://c2sp.org/signed-note and /tlog-checkpoint.
"""

from __future__ import annotations

import os
import re
from base64 import b64decode, b64encode
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from umbridge_audit.entry import FormatError, canonical, parse

ED25519 = b"\x01"  # C2SP signature type of a log's own key
COSIGNATURE = b"\x04"  # and of a witness's: a time stamp and an Ed25519 signature over it and the note
MAX_NOTE = 1 << 20  # signed-note: implementations may refuse more
_MAX_LINE = 4 << 20  # a note as a JSON string
_SIZE = re.compile(r"(0|[1-9][0-9]{0,15})\Z")
_NAME = re.compile(r"[^\s+\x00-\x1f]{1,200}\Z")


@dataclass(frozen=True, slots=True)
class VerifierKey:
    """A named Ed25519 public key, as ``<name>+<key id>+<base64>``: a log's, or with ``kind`` a witness's."""

    name: str
    public: bytes
    kind: bytes = ED25519

    @property
    def key_id(self) -> bytes:
        return sha256(self.name.encode() + b"\n" + self.kind + self.public).digest()[:4]

    def __str__(self) -> str:
        return f"{self.name}+{self.key_id.hex()}+{b64encode(self.kind + self.public).decode()}"

    @classmethod
    def read(cls, text: str, kind: bytes = ED25519) -> VerifierKey:
        """Raises FormatError for anything but an Ed25519 vkey of this kind whose key id is right."""
        name, _, rest = text.partition("+")
        _, _, encoded = rest.partition("+")
        try:
            text.encode()
            raw = b64decode(encoded, validate=True)
        except ValueError:
            raise FormatError("vkey") from None
        key = cls(name, raw[1:], kind)
        if raw[:1] != kind or len(raw) != 33 or not _NAME.match(name) or str(key) != text:
            raise FormatError("vkey")
        return key

    def good(self, message: bytes, signature: bytes) -> bool:
        try:
            Ed25519PublicKey.from_public_bytes(self.public).verify(signature, message)
        except (InvalidSignature, ValueError):
            return False
        return True


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A tree head: how many entries, and the root over them."""

    origin: str
    size: int
    root: bytes

    def body(self) -> str:
        return f"{self.origin}\n{self.size}\n{b64encode(self.root).decode()}\n"


def sign(checkpoint: Checkpoint, key: Ed25519PrivateKey) -> str:
    """The signed note over a checkpoint; the signer's name is the origin."""
    public = VerifierKey(checkpoint.origin, key.public_key().public_bytes_raw())
    body = checkpoint.body()
    line = b64encode(public.key_id + key.sign(body.encode())).decode()
    return f"{body}\n— {checkpoint.origin} {line}\n"


def read_note(note: str, key: VerifierKey, *, exact: bool) -> Checkpoint:
    """The checkpoint in a note signed by the log's key. Raises FormatError.

    ``exact`` (store and bundle): one signature line and no other bytes. Otherwise signature lines of unknown
    keys are ignored; a line of the known key that is broken refuses the note whatever the others say.
    """
    checkpoint, lines = take_apart(note)
    if checkpoint.origin != key.name:
        raise FormatError("checkpoint lines")
    body = checkpoint.body().encode()
    ours = 0
    for line in lines:
        name, raw = signature_line(line)
        if name != key.name or raw[:4] != key.key_id:
            continue
        if len(raw) != 68 or not key.good(body, raw[4:]):
            raise FormatError("signature")
        ours += 1
    if ours != 1 or (exact and len(lines) != 1):
        raise FormatError("signature missing")
    return checkpoint


def take_apart(note: str) -> tuple[Checkpoint, list[str]]:
    """Checkpoint and signature lines of a note, nothing verified. Raises FormatError."""
    if len(note) > MAX_NOTE:
        raise FormatError("note too long")
    body, gap, tail = note.partition("\n\n")
    body += "\n"
    lines = body.split("\n")
    if not gap or len(lines) != 4 or lines[3] or not lines[0] or not _SIZE.match(lines[1]):
        raise FormatError("checkpoint lines")
    try:
        root = b64decode(lines[2], validate=True)
    except ValueError:
        raise FormatError("checkpoint root") from None
    checkpoint = Checkpoint(lines[0], int(lines[1]), root)
    if len(root) != 32 or checkpoint.body() != body:
        raise FormatError("checkpoint root")
    signatures = tail.split("\n")
    if len(signatures) < 2 or signatures[-1] or len(signatures) > 101:
        raise FormatError("signature lines")
    return checkpoint, signatures[:-1]


def signature_line(line: str) -> tuple[str, bytes]:
    """Name, and key id with signature, of one line without its newline. Raises FormatError."""
    mark, _, rest = line.partition(" ")
    name, _, encoded = rest.partition(" ")
    try:
        raw = b64decode(encoded, validate=True)
    except ValueError:
        raise FormatError("signature line") from None
    if mark != "—" or not _NAME.match(name) or len(raw) < 5 or b64encode(raw).decode() != encoded:
        raise FormatError("signature line")
    return name, raw


# --- the anchor file --------------------------------------------------------------------------------


def anchor_lines(path: Path, stop: int | None = None) -> Iterator[str]:
    """The notes in an anchor file, oldest first, one at a time; those that begin in its first ``stop`` bytes.
    A last line without its newline (a crash) is left out.

    Raises FormatError for a line that is not a canonical JSON string, OSError when it cannot be read.
    """
    with path.open("rb") as file:
        while (stop is None or file.tell() < stop) and (line := file.readline(_MAX_LINE + 1)):
            if not line.endswith(b"\n"):
                if len(line) > _MAX_LINE:
                    raise FormatError("anchor line too long")
                return
            try:
                note = parse(line[:-1].decode())
            except UnicodeDecodeError:
                raise FormatError("anchor is not UTF-8") from None
            if not isinstance(note, str):
                raise FormatError("anchor line")
            yield note


def read_anchor(path: Path) -> list[str]:
    """All notes in an anchor file: ``verify``'s ``anchor_notes``. Raises as ``anchor_lines``."""
    return list(anchor_lines(path))


def append_anchor(path: Path, note: str) -> None:
    """Adds one line durably. Finishes a line that a crash cut short, if it is the same line."""
    line = (canonical(note) + "\n").encode()
    fresh = not path.exists()
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
    try:
        size = os.fstat(fd).st_size
        window = min(size, len(line))
        end = os.pread(fd, window, size - window)
        torn = end[end.rfind(b"\n") + 1 :]
        # No newline in as many bytes as the line has: whatever was begun there is not this line.
        if not line.startswith(torn) or (size > window and b"\n" not in end):
            raise FormatError("anchor ends in a foreign line")
        rest = line[len(torn) :]
        while rest:
            rest = rest[os.write(fd, rest) :]
        os.fsync(fd)
    finally:
        os.close(fd)
    if fresh:
        sync_directory(path.parent)


def sync_directory(path: Path) -> None:
    """Makes a new or renamed name in a directory durable."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)

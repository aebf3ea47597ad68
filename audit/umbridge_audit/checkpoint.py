"""Signed checkpoints, the log's public key, the anchor file, and the policy a verifier is given beforehand.

SPEC.md sections 8 and 9; formats of https://c2sp.org/signed-note, /tlog-checkpoint and /tlog-policy.
"""

from __future__ import annotations

import os
import re
from base64 import b64decode, b64encode
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from umbridge_audit.entry import FormatError, canonical, parse

ED25519 = b"\x01"  # C2SP signature type of a log's own key
MAX_NOTE = 1 << 20  # signed-note: implementations may refuse more
_MAX_LINE = 4 << 20  # a note as a JSON string
_SIZE = re.compile(r"(0|[1-9][0-9]{0,15})\Z")
_NAME = re.compile(r"[^\s+\x00-\x1f]{1,200}\Z")


@dataclass(frozen=True, slots=True)
class VerifierKey:
    """A named Ed25519 public key, as ``<name>+<key id>+<base64>``."""

    name: str
    public: bytes

    @property
    def key_id(self) -> bytes:
        return sha256(self.name.encode() + b"\n" + ED25519 + self.public).digest()[:4]

    def __str__(self) -> str:
        return f"{self.name}+{self.key_id.hex()}+{b64encode(ED25519 + self.public).decode()}"

    @classmethod
    def read(cls, text: str) -> VerifierKey:
        """Raises FormatError for anything but an Ed25519 vkey whose key id is right."""
        name, _, rest = text.partition("+")
        _, _, encoded = rest.partition("+")
        try:
            raw = b64decode(encoded, validate=True)
        except ValueError:
            raise FormatError("vkey") from None
        key = cls(name, raw[1:])
        if raw[:1] != ED25519 or len(raw) != 33 or not _NAME.match(name) or str(key) != text:
            raise FormatError("vkey")
        return key

    def good(self, message: bytes, signature: bytes) -> bool:
        try:
            Ed25519PublicKey.from_public_bytes(self.public).verify(signature, message)
        except InvalidSignature:
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
    if len(note) > MAX_NOTE:
        raise FormatError("note too long")
    body, gap, tail = note.partition("\n\n")
    body += "\n"
    lines = body.split("\n")
    if not gap or len(lines) != 4 or lines[3] or not _SIZE.match(lines[1]) or lines[0] != key.name:
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
    ours = 0
    for line in signatures[:-1]:
        name, raw = _signature(line)
        if name != key.name or raw[:4] != key.key_id:
            continue
        if len(raw) != 68 or not key.good(body.encode(), raw[4:]):
            raise FormatError("signature")
        ours += 1
    if ours != 1 or (exact and len(signatures) != 2):
        raise FormatError("signature missing")
    return checkpoint


def _signature(line: str) -> tuple[str, bytes]:
    mark, _, rest = line.partition(" ")
    name, _, encoded = rest.partition(" ")
    try:
        raw = b64decode(encoded, validate=True)
    except ValueError:
        raise FormatError("signature line") from None
    if mark != "—" or not _NAME.match(name) or len(raw) < 5 or b64encode(raw).decode() != encoded:
        raise FormatError("signature line")
    return name, raw


# --- the policy -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Policy:
    """What a verifier pins: the log's key, its first entry, and whose witness it expects."""

    log: VerifierKey
    genesis: bytes
    quorum: str = "none"

    @property
    def origin(self) -> str:
        return self.log.name

    @property
    def chain(self) -> str:
        """``<org>/<chain>`` out of the origin."""
        return self.log.name.removeprefix("umbridge.").rpartition("/")[0]

    @property
    def gen(self) -> int:
        return int(self.log.name.rpartition("/")[2])

    def text(self) -> str:
        return (
            "# umbridge ledger policy: what a verifier needs, and nothing secret\n"
            f"log {self.log}\ngenesis {self.genesis.hex()}\nquorum {self.quorum}\n"
        )

    @classmethod
    def read(cls, text: str) -> Policy:
        """Parses a policy file. Raises FormatError naming the line."""
        log: VerifierKey | None = None
        genesis: bytes | None = None
        quorum: str | None = None
        names: set[str] = {"none"}
        for at, line in enumerate(text.splitlines(), 1):
            words = line.split()
            if not words or words[0].startswith("#"):
                continue
            try:
                match words:
                    case ["log", key] if log is None:
                        log = VerifierKey.read(key)
                    case ["genesis", value] if genesis is None and re.fullmatch("[0-9a-f]{64}", value):
                        genesis = bytes.fromhex(value)
                    case ["witness", name, _key] if name not in names:
                        names.add(name)
                    case ["group", name, need, *members] if name not in names and _group(
                        need, members, names
                    ):
                        names.add(name)
                    case ["quorum", name] if quorum is None and name in names:
                        quorum = name
                    case _:
                        raise FormatError("not understood")
            except FormatError:
                raise FormatError(f"policy line {at}") from None
        if log is None or genesis is None or quorum is None:
            raise FormatError("policy needs one log, one genesis and one quorum line")
        if not re.fullmatch(r"umbridge\.[a-z0-9_-]{1,40}/[a-z0-9_-]{1,40}/[1-9][0-9]{0,8}", log.name):
            raise FormatError("policy: not an umbridge log")
        return cls(log, genesis, quorum)


def _group(need: str, members: Sequence[str], names: set[str]) -> bool:
    counted = need in ("any", "all") or (need.isascii() and need.isdigit() and 1 <= int(need) <= len(members))
    return bool(members) and counted and all(member in names - {"none"} for member in members)


# --- the anchor file --------------------------------------------------------------------------------


def anchor_lines(path: Path) -> Iterator[str]:
    """The notes in an anchor file, oldest first, one at a time. A last line without its newline (a crash) is
    left out.

    Raises FormatError for a line that is not a canonical JSON string, OSError when it cannot be read.
    """
    with path.open("rb") as file:
        while line := file.readline(_MAX_LINE + 1):
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

"""Asking the signer in another process: frames over a unix socket, and the daemon's end of them.

A frame is a u32 length and canonical JSON, at most 1 MiB. SPEC.md section 18 has the questions. A signer that
does not answer, or answers otherwise than it should, is away: an error and never a signature.
"""

from __future__ import annotations

import socket
from base64 import b64decode, b64encode
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from umbridge_audit.checkpoint import Checkpoint, VerifierKey
from umbridge_audit.entry import FormatError, JsonValue, canonical, parse
from umbridge_audit.handover import Handover, read_handover
from umbridge_audit.signing import Leaves, SignerAwayError, SignerRefusedError, peaks_of
from umbridge_audit.tree import EMPTY_ROOT, Frontier

MAX_FRAME = 1 << 20
MAX_LEAVES = 256  # in one frame
_ROOM = MAX_FRAME // 4  # bytes of leaves in one frame: JSON escapes their quotes, and one may be 64 KiB
SECONDS = 5.0  # for each answer
# What is no fault of the store's: asked again later.
AWAY = frozenset({"busy", "not_permitted", "request", "state_not_kept"})


def send_frame(peer: socket.socket, value: JsonValue) -> None:
    """Raises OSError, FormatError for what is too long."""
    raw = canonical(value).encode()
    if len(raw) > MAX_FRAME:
        raise FormatError("frame too long")
    peer.sendall(len(raw).to_bytes(4, "big") + raw)


def read_frame(peer: socket.socket) -> dict[str, JsonValue] | None:
    """The next frame's object; None at a clean end. Raises OSError, FormatError."""
    head = _exactly(peer, 4)
    if not head:
        return None
    size = int.from_bytes(head, "big")
    if size > MAX_FRAME:
        raise FormatError("frame too long")
    try:
        value = parse(_exactly(peer, size).decode())
    except UnicodeDecodeError:
        raise FormatError("frame is not UTF-8") from None
    if not isinstance(value, dict):
        raise FormatError("frame")
    return value


def _exactly(peer: socket.socket, size: int) -> bytes:
    """So many bytes; b"" where the peer ended before the first. Raises FormatError where it did later."""
    found = bytearray()
    while len(found) < size:
        piece = peer.recv(size - len(found))
        if not piece:
            if not found:
                return b""
            raise FormatError("frame cut short")
        found += piece
    return bytes(found)


def bytes_of(value: object, size: int) -> bytes:
    """So many bytes out of their base64. Raises FormatError."""
    try:
        raw = b64decode(value, validate=True) if isinstance(value, str) else b""
    except ValueError:
        raw = b""
    if len(raw) != size or b64encode(raw).decode() != value:
        raise FormatError("base64")
    return raw


class RemoteHand:
    """The signing key in a process of its own, behind a unix socket."""

    apart = True

    def __init__(self, path: Path, seconds: float = SECONDS) -> None:
        self.where = str(path)
        self._path = path
        self._seconds = seconds

    def public(self) -> tuple[bytes, bytes | None]:
        with self._peer() as peer:
            said = peer.ask("hello")
            waiting = said.get("waiting")
            return peer.key(said.get("key")), None if waiting is None else peer.key(waiting)

    def last(self, origin: str) -> Checkpoint:
        with self._peer() as peer:
            said = peer.ask("hello")
            size = said.get("size")
            if said.get("origin") != origin:
                raise SignerRefusedError(f"the signer at {self.where} signs for another ledger")
            if type(size) is not int or size < 0:
                raise FormatError("answer")
            return Checkpoint(origin, size, bytes_of(said.get("root"), 32) if size else EMPTY_ROOT)

    def sign(self, origin: str, key: bytes, old: Frontier, new: Frontier, leaves: Leaves) -> str:
        with self._peer() as peer:
            peer.ask("from", origin=origin, size=old.size, peaks=[_b64(peak) for peak in peaks_of(old)])
            for page in leaves(old.size, new.size):
                for batch in _batches(page):
                    peer.ask("leaves", leaves=batch)
            said = peer.ask("sign", key=_b64(key), size=new.size, root=_b64(new.root()))
            note = said.get("note")
            if not isinstance(note, str):
                raise FormatError("answer")
            return note

    def prepare(self) -> bytes:
        with self._peer() as peer:
            return peer.key(peer.ask("prepare").get("waiting"))

    def hand_over(self, origin: str, at: int, to: bytes) -> Handover:
        with self._peer() as peer:
            said = peer.ask("hand_over", origin=origin, at=at, to=_b64(to))
            found = read_handover(at, said.get("before"), said.get("after"), said.get("signatures"))
            if found.after != VerifierKey(origin, to):
                raise FormatError("answer")
            return found

    def adopt(self, key: bytes) -> None:
        with self._peer() as peer:
            peer.ask("adopt", key=_b64(key))

    @contextmanager
    def _peer(self) -> Iterator[_Peer]:
        """One conversation. What breaks it, and what is no answer, is SignerAwayError."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as plug:
            plug.settimeout(self._seconds)
            try:
                plug.connect(str(self._path))
                yield _Peer(plug)
            except FormatError:
                raise SignerAwayError("signer_answer") from None
            except TimeoutError:
                raise SignerAwayError("signer_silent") from None
            except OSError:
                raise SignerAwayError("signer_unreachable") from None


class _Peer:
    def __init__(self, plug: socket.socket) -> None:
        self._plug = plug

    def ask(self, op: str, **more: JsonValue) -> Mapping[str, JsonValue]:
        """One question and its answer. Raises SignerAwayError, SignerRefusedError, OSError, FormatError."""
        send_frame(self._plug, {"op": op, **more})
        said = read_frame(self._plug)
        if said is None:
            raise SignerAwayError("signer_hung_up")
        error = said.get("error")
        if error is None:
            return said
        if not isinstance(error, str) or error in AWAY:
            raise SignerAwayError(f"signer_{error}" if error in AWAY else "signer_answer")
        raise SignerRefusedError(f"the signer refuses: {error if error.isidentifier() else 'unknown'}")

    def key(self, value: object) -> bytes:
        return bytes_of(value, 32)


def _batches(page: list[bytes]) -> Iterator[list[str]]:
    """A page of leaves in pieces that fit a frame. Raises FormatError for what is no leaf."""
    batch: list[str] = []
    room = _ROOM
    for leaf in page:
        if batch and (len(leaf) > room or len(batch) >= MAX_LEAVES):
            yield batch
            batch, room = [], _ROOM
        try:
            batch.append(leaf.decode())
        except UnicodeDecodeError:
            raise FormatError("leaf") from None
        room -= len(leaf)
    if batch:
        yield batch


def _b64(raw: bytes) -> str:
    return b64encode(raw).decode()

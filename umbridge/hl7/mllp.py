"""The block protocol on the wire (MLLP): bytes in, whole frames or one fault out.

A block is ``VT data FS CR``. What the decoder decides, byte by byte, so that any chunking of the same
stream gives the same sequence of results:

* between blocks CR, LF and NUL are tolerated and counted; a VT directly after a VT likewise;
* any other byte between blocks is a fault, ``junk_before_block`` before the first frame and
  ``junk_after_block`` later. The second means that the frame before it may have been cut by an FS CR
  inside its text: a caller that gets that frame and this fault from one ``feed`` must not accept the
  frame, and one that has already accepted it holds what follows from it for a person;
* inside a block a VT is ``start_inside_block``, an FS not followed by CR is ``end_without_cr``;
* more than ``max_frame`` bytes in a block are ``oversize``; the stream's end inside one is ``eof_in_block``.

After a fault the stream has no trustworthy boundaries left: the decoder yields nothing more and the
connection is to be closed. An empty block is a frame; whether it is a message is not decided here.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from umbridge.errors import Hl7Error

START = b"\x0b"
END = b"\x1c\r"
MAX_FRAME = 16 * 1024 * 1024  # as other receivers do; a scanned document in an OBX-5 is about 10 MiB
_HEAD = 4096
_NOISE, _STUTTER = re.compile(rb"[\r\n\x00]*"), re.compile(rb"\x0b+")
_VT, _FS, _CR = 0x0B, 0x1C, 0x0D
_BETWEEN, _INSIDE, _ENDING = range(3)


@dataclass(frozen=True, slots=True)
class Frame:
    """The bytes between VT and FS CR, untouched; kept out of the repr, as patient data is."""

    data: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Fault:
    """Why the stream is given up, with no content in the fields meant for a person.

    ``byte_count`` and ``digest`` (SHA-256, hex) cover the bytes since the last whole frame, up to and
    including the one that made it a fault. ``head`` holds the block's leading whole lines, at most
    4096 bytes, so that an oversize message whose MSH was seen can still be refused by name.
    """

    reason: str
    byte_count: int
    digest: str
    head: bytes = field(default=b"", repr=False)


class FrameDecoder:
    """One connection's state. ``noise`` counts the tolerated bytes between blocks."""

    __slots__ = ("_block", "_count", "_failed", "_frames", "_hash", "_max", "_state", "noise")

    def __init__(self, max_frame: int = MAX_FRAME) -> None:
        self._max = max_frame
        self._state = _BETWEEN
        self._block = bytearray()  # data of the open block so far
        self._hash: hashlib._Hash | None = None  # of what came since the last frame, without _block
        self._count = 0  # how many bytes those were
        self._frames = 0
        self._failed = False
        self.noise = 0

    def feed(self, data: bytes) -> list[Frame | Fault]:
        """Take the next bytes; any number of frames, and at most one fault, which is the last result."""
        return list(self.results(data))

    def results(self, data: bytes) -> Iterator[Frame | Fault]:
        """As ``feed``, one by one: who stops at the first has not paid for twenty thousand empty blocks."""
        out: list[Frame | Fault] = []
        at = 0
        while at < len(data) and not self._failed:
            if self._state == _INSIDE:
                at = self._inside(data, at, out)
            elif self._state == _BETWEEN:
                at = self._between(data, at, out)
            elif data[at] == _CR:
                out.append(self._close(bytes(self._block)))
                at += 1
            else:
                out.append(self._fault("end_without_cr", bytes((_FS, data[at]))))
            if out:
                yield out.pop()

    def eof(self) -> Fault | None:
        """The peer will send no more: a fault when that cuts a block short, else None."""
        if self._failed or self._state == _BETWEEN:
            return None
        return self._fault("eof_in_block", b"" if self._state == _INSIDE else b"\x1c")

    @property
    def inside(self) -> bool:
        """Whether a block has begun and not ended: the peer owes us bytes."""
        return not self._failed and self._state != _BETWEEN

    def _between(self, data: bytes, at: int, out: list[Frame | Fault]) -> int:
        match = _NOISE.match(data, at)
        assert match is not None  # noqa: S101 - it matches nothing, too
        if match.end() > at:
            self._pass(match[0])
            at = match.end()
        if at == len(data):
            return at
        if data[at] == _VT:
            self._before(START)
            self._state = _INSIDE
        else:
            reason = "junk_after_block" if self._frames else "junk_before_block"
            out.append(self._fault(reason, data[at : at + 1]))
        return at + 1

    def _inside(self, data: bytes, at: int, out: list[Frame | Fault]) -> int:
        """Take block data up to the next VT or FS. Every byte is searched once, however it arrives."""
        block = self._block
        if data[at] == _VT and not block:
            match = _STUTTER.match(data, at)  # further VT before any data are not a cut message
            assert match is not None  # noqa: S101 - it matches one at least
            self._pass(match[0])
            return match.end()
        fs = data.find(b"\x1c", at)
        stop = len(data) if fs < 0 else fs
        vt = data.find(START, at, stop)
        if vt >= 0:
            stop = vt
        room = self._max - len(block)
        if stop - at > room:
            block += data[at : at + room + 1]
            out.append(self._fault("oversize", b""))
        elif vt >= 0:
            block += data[at:stop]
            out.append(self._fault("start_inside_block", START))
        elif not block and data.startswith(END, stop):
            out.append(self._close(data[at:stop]))  # the usual case, one read, one copy
            return stop + 2
        else:
            block += data[at:stop]
            if fs >= 0:
                self._state = _ENDING
                return stop + 1
        return stop

    def _pass(self, noise: bytes) -> None:
        self.noise += len(noise)
        self._before(noise)

    def _before(self, data: bytes) -> None:
        """Count what is no part of a block's data, and keep it for the digest of a fault."""
        self._count += len(data)
        if self._hash is None:
            self._hash = hashlib.sha256()
        self._hash.update(data)

    def _close(self, data: bytes) -> Frame:
        self._state = _BETWEEN
        self._block.clear()
        self._hash = None
        self._count = 0
        self._frames += 1
        return Frame(data)

    def _fault(self, reason: str, last: bytes) -> Fault:
        self._failed = True
        found = self._hash or hashlib.sha256()
        found.update(self._block)
        found.update(last)
        head = bytes(self._block[:_HEAD])
        lines = max(head.rfind(b"\r"), head.rfind(b"\n")) + 1
        fault = Fault(reason, self._count + len(self._block) + len(last), found.hexdigest(), head[:lines])
        self._block.clear()
        return fault


def encode(payload: bytes) -> bytes:
    """Frame one message. Raises: Hl7Error when the payload holds a VT or FS, which no block can carry."""
    if _VT in payload or _FS in payload:
        raise Hl7Error("payload_holds_block_bytes")
    return START + payload + END

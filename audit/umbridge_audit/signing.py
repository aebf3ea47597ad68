"""The log's signing key, and what was signed with it last: whoever holds these two is the signer.

In the daemon's own process, or in another under another account (``signer``, asked through ``remote``): the
rules are the same. Nothing is signed that does not continue the head signed last. SPEC.md sections 8 and 18.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from threading import Lock
from typing import Protocol

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from umbridge_audit.checkpoint import Checkpoint, VerifierKey, sign, sync_directory
from umbridge_audit.handover import Handover, statement
from umbridge_audit.heads import HeadError, Heads
from umbridge_audit.kek import read_private, write_private
from umbridge_audit.tree import Frontier

KEY = "log.key"
NEXT = "log.key.next"
ELSEWHERE = "log.elsewhere"  # stands where the key was before another account took it

# The leaves of entries [start, stop), a page at a time.
Leaves = Callable[[int, int], Iterator[list[bytes]]]


class SignerAwayError(Exception):
    """The signer cannot be asked now: a code. Nothing is lost; the unanchored window grows."""


class SignerRefusedError(Exception):
    """The signer was asked for what it never signs: a head behind or beside its last, a key it has not."""


class Hand(Protocol):
    """Whoever holds the signing key. Each method may raise SignerAwayError or SignerRefusedError."""

    where: str  # the key's file, or the socket

    @property
    def apart(self) -> bool:
        """Whether asking means waiting for another process."""

    def public(self) -> tuple[bytes, bytes | None]:
        """The public key in force, and the one that waits to be."""

    def last(self, origin: str) -> Checkpoint:
        """The head signed last; size 0 for none."""

    def sign(self, origin: str, key: bytes, old: Frontier, new: Frontier, leaves: Leaves) -> str:
        """The note over ``new``, by the private half of ``key``, remembered before it is returned.

        ``old`` is the tree at ``last``, ``leaves`` give what lies between. The head signed last may be
        signed again.
        """

    def prepare(self) -> bytes:
        """Makes the next key, durable and not in force; its public half. One that waited is replaced."""

    def hand_over(self, origin: str, at: int, to: bytes) -> Handover:
        """What both keys sign so that entry ``at`` may hand the log over to the key that waits."""

    def adopt(self, key: bytes) -> None:
        """The waiting key is in force, the one before it gone. Nothing where ``key`` is in force already."""


class LocalHand:
    """The key in a file of this process's own folder, the memory beside it."""

    apart = False

    def __init__(self, folder: Path) -> None:
        self.where = str(folder / KEY)
        self._folder = folder
        self._key = _read(folder / KEY)
        self._heads = Heads(folder)
        self._lock = Lock()

    def public(self) -> tuple[bytes, bytes | None]:
        waiting = self._waiting()
        return _public(self._key), None if waiting is None else _public(waiting)

    def last(self, origin: str) -> Checkpoint:
        try:
            return self._heads.last(origin)
        except HeadError as exc:
            raise SignerRefusedError(str(exc)) from None

    def sign(self, origin: str, key: bytes, old: Frontier, new: Frontier, leaves: Leaves) -> str:
        before, head = head_of(origin, old), head_of(origin, new)
        with self._lock:
            last = self.last(origin)
            if not head.size or last not in (before, head) or head.size < before.size:
                raise SignerRefusedError(
                    "the signer has signed something else than the store says; nothing signed"
                )
            note = sign(head, self._of(key))
            if last != head:
                try:
                    self._heads.follow(before, head)
                except HeadError as exc:
                    raise SignerRefusedError(str(exc)) from None
            return note

    def follow(self, old: Checkpoint, new: Checkpoint) -> None:
        """Remembers another head than the last: only for whoever has compared both with the store."""
        try:
            self._heads.follow(old, new)
        except HeadError as exc:
            raise SignerRefusedError(str(exc)) from None

    def prepare(self) -> bytes:
        with self._lock:
            path = self._folder / NEXT
            path.unlink(missing_ok=True)
            beside = path.with_suffix(".new")
            beside.unlink(missing_ok=True)
            made = Ed25519PrivateKey.generate()
            write_private(beside, made.private_bytes_raw())
            beside.replace(path)
            sync_directory(self._folder)
            return _public(made)

    def hand_over(self, origin: str, at: int, to: bytes) -> Handover:
        waiting = self._waiting()
        if waiting is None or _public(waiting) != to:
            raise SignerRefusedError("no such key waits")
        before, after = VerifierKey(origin, _public(self._key)), VerifierKey(origin, to)
        said = statement(at, before, after)
        return Handover(at, before, after, self._key.sign(said) + waiting.sign(said))

    def adopt(self, key: bytes) -> None:
        with self._lock:
            if _public(self._key) == key:
                return
            waiting = self._waiting()
            if waiting is None or _public(waiting) != key:
                raise SignerRefusedError("no such key waits")
            (self._folder / NEXT).replace(self._folder / KEY)
            sync_directory(self._folder)
            self._key = waiting

    def _waiting(self) -> Ed25519PrivateKey | None:
        path = self._folder / NEXT
        return _read(path) if path.exists() else None

    def _of(self, key: bytes) -> Ed25519PrivateKey:
        for held in (self._key, self._waiting()):
            if held is not None and _public(held) == key:
                return held
        raise SignerRefusedError("not a key that is held here; nothing signed")


def make_key(folder: Path) -> None:
    """A new signing key's file. Raises FileExistsError."""
    write_private(folder / KEY, os.urandom(32))


def _read(path: Path) -> Ed25519PrivateKey:
    return Ed25519PrivateKey.from_private_bytes(read_private(path, 32))


def _public(key: Ed25519PrivateKey) -> bytes:
    return key.public_key().public_bytes_raw()


def head_of(origin: str, frontier: Frontier) -> Checkpoint:
    """The tree's head as a checkpoint names it."""
    return Checkpoint(origin, frontier.size, frontier.root())


def peaks_of(frontier: Frontier) -> list[bytes]:
    """The roots of the complete subtrees, largest first: with the size they are the whole frontier."""
    return list(frontier._stack)


def frontier_of(size: int, peaks: Sequence[bytes]) -> Frontier:
    """A frontier from its peaks. Raises ValueError unless there are as many as the size has."""
    if size < 0 or len(peaks) != size.bit_count() or any(len(peak) != 32 for peak in peaks):
        raise ValueError("peaks")
    frontier = Frontier()
    frontier._stack = list(peaks)
    frontier.size = size
    return frontier


def hand_in(folder: Path) -> LocalHand | None:
    """The signing key of a folder of keys; None where another account took it. Raises KeyRefusedError."""
    if not (folder / KEY).exists() and (folder / ELSEWHERE).is_file():
        return None
    return LocalHand(folder)

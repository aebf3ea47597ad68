"""The last tree head that somebody signed, kept so that nothing behind or beside it is ever signed again.

A witness keeps one for each log, the log's own signer one for itself. One file each: replaced whole and made
durable before the signature leaves.
"""

from __future__ import annotations

import os
from base64 import b64decode, b64encode
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from threading import Lock

from umbridge_audit.checkpoint import Checkpoint, sync_directory
from umbridge_audit.entry import FormatError, canonical, parse
from umbridge_audit.tree import EMPTY_ROOT, consistent

_MAX_FILE = 4096


class HeadError(Exception):
    """A head that is not taken. One line, no content."""


class Behind(HeadError):  # noqa: N818  named for what the asker is
    """The asker's old size is not the one that was signed last, or another root of that size was."""

    def __init__(self, size: int) -> None:
        super().__init__(f"size {size} was signed last")
        self.size = size


class Inconsistent(HeadError):  # noqa: N818  named for what the proof is
    """The proof does not lead from the last head to the new one."""


class Heads:
    """Heads by origin, in a folder of their own. Raises HeadError for a file that cannot be believed: a head
    that is lost must not be taken for none."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._lock = Lock()

    def path(self, origin: str) -> Path:
        """Where the head of a log is kept."""
        return self.folder / f"{sha256(origin.encode()).hexdigest()[:32]}.head"

    def last(self, origin: str) -> Checkpoint:
        """The head signed last; size 0 when this log is new."""
        path = self.path(origin)
        try:
            with path.open("rb") as file:
                raw = file.read(_MAX_FILE)
        except FileNotFoundError:
            return Checkpoint(origin, 0, EMPTY_ROOT)
        try:
            value = parse(raw.decode().removesuffix("\n"))
            assert isinstance(value, dict) and set(value) == {"origin", "root", "size"}  # noqa: S101
            size, root = value["size"], b64decode(str(value["root"]), validate=True)
            assert type(size) is int and size > 0 and len(root) == 32 and value["origin"] == origin  # noqa: S101
        except (ValueError, FormatError, AssertionError):
            raise HeadError(f"{path}: not a head; restore it, never delete it") from None
        return Checkpoint(origin, size, root)

    def advance(self, old: int, proof: Sequence[bytes], new: Checkpoint) -> None:
        """Checks and keeps a new head, as one step. Raises Behind or Inconsistent; nothing is kept then."""
        with self._lock:
            last = self.last(new.origin)
            if old != last.size or (old == new.size and new.root != last.root):
                raise Behind(last.size)
            if not consistent(old, last.root, new.size, new.root, proof):
                raise Inconsistent("the proof does not lead there")
            if new.size > last.size:
                self._keep(new)

    def follow(self, old: Checkpoint, new: Checkpoint) -> None:
        """As ``advance`` for whoever grew the tree himself, or goes back on purpose to what is stored."""
        with self._lock:
            last = self.last(new.origin)
            if last != old:
                raise Behind(last.size)
            self._keep(new)

    def _keep(self, head: Checkpoint) -> None:
        text = canonical({"origin": head.origin, "root": b64encode(head.root).decode(), "size": head.size})
        path = self.path(head.origin)
        beside = path.with_suffix(".new")
        fd = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(fd, "w") as file:
            file.write(text + "\n")
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
        sync_directory(self.folder)

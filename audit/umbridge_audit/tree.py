"""The RFC 6962 tree: leaf and node hashes, a root over hashes, and a frontier that grows.

SPEC.md section 4. The frontier keeps one hash for each complete subtree, so memory is log2 of the size.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256

EMPTY_ROOT = sha256(b"").digest()
_NODE = sha256(b"\x01")


def leaf_hash(data: bytes) -> bytes:
    """SHA-256(0x00 ‖ data)."""
    return sha256(b"\x00" + data).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """SHA-256(0x01 ‖ left ‖ right)."""
    return sha256(b"\x01" + left + right).digest()


def root_of(hashes: Sequence[bytes]) -> bytes:
    """The root over leaf hashes. Pairing neighbours and carrying an odd last one up is RFC 6962's split."""
    if not hashes:
        return EMPTY_ROOT
    level = list(hashes)
    size = len(level)
    new = _NODE.copy  # a state that has the prefix already is cheaper than a longer message
    while size > 1:
        up = []
        for i in range(1, size, 2):
            node = new()
            node.update(level[i - 1] + level[i])
            up.append(node.digest())
        if size & 1:
            up.append(level[-1])
        level = up
        size = len(up)
    return level[0]


class Frontier:
    """A tree that is only ever appended to."""

    __slots__ = ("_stack", "size")

    def __init__(self) -> None:
        self._stack: list[bytes] = []
        self.size = 0

    def append(self, hashed: bytes) -> None:
        """Adds one leaf hash."""
        merges = self.size
        while merges & 1:
            hashed = sha256(b"\x01" + self._stack.pop() + hashed).digest()
            merges >>= 1
        self._stack.append(hashed)
        self.size += 1

    def root(self) -> bytes:
        """The root at the present size."""
        if not self._stack:
            return EMPTY_ROOT
        root = self._stack[-1]
        for left in reversed(self._stack[:-1]):
            root = node_hash(left, root)
        return root

    def copy(self) -> Frontier:
        """An independent frontier of the same size."""
        twin = Frontier()
        twin._stack = list(self._stack)
        twin.size = self.size
        return twin

"""The RFC 6962 tree: hashes, roots, a frontier that grows, and the two proofs with their checks.

SPEC.md section 4; RFC 6962 section 2.1 for making proofs, RFC 9162 sections 2.1.3.2 and 2.1.4.2 for checking
them. The frontier keeps one hash for each complete subtree, so memory is log2 of the size.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from hashlib import sha256

EMPTY_ROOT = sha256(b"").digest()
STEP = 8  # levels between the subtrees that are kept: 256 leaves, 65,536, …

_NODE = sha256(b"\x01")

# The hash of a complete subtree: its level (0 is a leaf's hash) and its number from the left.
Node = Callable[[int, int], bytes]


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
    made = list(hashes)
    new = _NODE.copy  # a state that has the prefix already is cheaper than a longer message
    for left, right in _pairs(len(made)):
        node = new()
        node.update(made[left] + made[right])
        made.append(node.digest())
    return made[-1]


@lru_cache  # an entry's roots are over as many slots each time
def _pairs(size: int) -> tuple[tuple[int, int], ...]:
    """Which two hashes each node is made of, level by level; nodes are numbered after the ``size`` leaves."""
    found: list[tuple[int, int]] = []
    level = list(range(size))
    while len(level) > 1:
        pairs = list(zip(level[::2], level[1::2], strict=False))
        odd = level[-1:] if len(level) & 1 else []
        level = [*range(size + len(found), size + len(found) + len(pairs)), *odd]
        found += pairs
    return tuple(found)


class Frontier:
    """A tree that is only ever appended to."""

    __slots__ = ("_stack", "size", "whole")

    def __init__(self) -> None:
        self._stack: list[bytes] = []
        self.size = 0
        # Subtrees completed since somebody last took them: (level, number, hash) at every eighth level.
        self.whole: list[tuple[int, int, bytes]] = []

    def append(self, hashed: bytes) -> None:
        """Adds one leaf hash."""
        merges = self.size
        self.size = size = merges + 1
        if size & 255:
            while merges & 1:
                hashed = sha256(b"\x01" + self._stack.pop() + hashed).digest()
                merges >>= 1
        else:
            level = 0
            while merges & 1:
                hashed = sha256(b"\x01" + self._stack.pop() + hashed).digest()
                merges >>= 1
                level += 1
                if not level % STEP:
                    self.whole.append((level, merges, hashed))
        self._stack.append(hashed)

    def extend(self, hashes: Sequence[bytes]) -> None:
        """Adds leaf hashes, in order."""
        for hashed in hashes:
            self.append(hashed)

    def root(self) -> bytes:
        """The root at the present size."""
        if not self._stack:
            return EMPTY_ROOT
        root = self._stack[-1]
        for left in reversed(self._stack[:-1]):
            root = node_hash(left, root)
        return root

    @classmethod
    def after(cls, last: bytes, size: int, path: Sequence[bytes]) -> Frontier:
        """The frontier of ``size`` leaves, from the last one's hash and a path that ``included`` has passed.

        Within the last complete subtree the path goes up from the leaf; what follows are the other subtrees.
        """
        frontier = cls()
        inside = (size & -size).bit_length() - 1
        for sibling in path[:inside]:
            last = node_hash(sibling, last)
        frontier._stack = [*reversed(path[inside:]), last]
        frontier.size = size
        return frontier

    def packed(self) -> bytes:
        """The roots of its complete subtrees, the largest first: with ``size`` all there is to it."""
        return b"".join(self._stack)

    def copy(self) -> Frontier:
        """An independent frontier of the same size, nothing in its ``whole``."""
        twin = Frontier()
        twin._stack = list(self._stack)
        twin.size = self.size
        return twin


# --- proofs: RFC 6962 sections 2.1.1 and 2.1.2 --------------------------------------------------------


def range_root(start: int, stop: int, node: Node) -> bytes:
    """The root over leaves [start, stop) of a subtree that begins at ``start``, from complete subtrees."""
    if stop <= start:
        return EMPTY_ROOT
    pieces = []
    while start < stop:
        level = (stop - start).bit_length() - 1
        pieces.append(node(level, start >> level))
        start += 1 << level
    root = pieces.pop()
    while pieces:
        root = node_hash(pieces.pop(), root)
    return root


def _split(start: int, stop: int) -> int:
    """Where RFC 6962 divides a tree: after the largest power of two that is smaller than its size."""
    return start + (1 << ((stop - start - 1).bit_length() - 1))


def inclusion_proof(index: int, size: int, node: Node) -> list[bytes]:
    """PATH(index, D[size]), the leaf's sibling first. ValueError unless 0 <= index < size."""
    if not 0 <= index < size:
        raise ValueError("index outside the tree")
    path = []
    start, stop = 0, size
    while stop - start > 1:
        middle = _split(start, stop)
        if index < middle:
            path.append(range_root(middle, stop, node))
            stop = middle
        else:
            path.append(range_root(start, middle, node))
            start = middle
    return path[::-1]


def consistency_proof(old: int, new: int, node: Node) -> list[bytes]:
    """PROOF(old, D[new]); empty when ``old`` is 0 or ``new``. ValueError unless 0 <= old <= new."""
    if not 0 <= old <= new:
        raise ValueError("sizes out of order")
    if old in (0, new):
        return []
    path = []
    start, stop = 0, new
    while stop != old:
        middle = _split(start, stop)
        if old <= middle:
            path.append(range_root(middle, stop, node))
            stop = middle
        else:
            path.append(range_root(start, middle, node))
            start = middle
    if start:  # the old tree's own root is what the checker has already
        path.append(range_root(start, stop, node))
    return path[::-1]


def included(hashed: bytes, index: int, size: int, path: Sequence[bytes], root: bytes) -> bool:
    """Whether a leaf hash is at ``index`` of the tree with this size and root (RFC 9162 2.1.3.2).

    ``size`` and ``root`` must come from a signed checkpoint: a proof alone does not fix them.
    """
    if not 0 <= index < size:
        return False
    here, last = index, size - 1
    for sibling in path:
        if len(sibling) != 32 or last == 0:
            return False
        if here & 1 or here == last:
            hashed = node_hash(sibling, hashed)
            while not here & 1 and here:
                here >>= 1
                last >>= 1
        else:
            hashed = node_hash(hashed, sibling)
        here >>= 1
        last >>= 1
    return last == 0 and hashed == root


def consistent(old: int, old_root: bytes, new: int, new_root: bytes, path: Sequence[bytes]) -> bool:
    """Whether the tree (old, old_root) is a beginning of (new, new_root) (RFC 9162 2.1.4.2).

    Every tree begins with the empty one; the proof is then empty, as it is between equal trees.
    """
    if not 0 <= old <= new or any(len(hashed) != 32 for hashed in path):
        return False
    if old == 0:
        return not path and old_root == EMPTY_ROOT and (new > 0 or new_root == EMPTY_ROOT)
    if old == new:
        return not path and old_root == new_root
    steps = list(path) if old & (old - 1) else [old_root, *path]
    if not steps:
        return False
    here, last = old - 1, new - 1
    while here & 1:
        here >>= 1
        last >>= 1
    first = second = steps[0]
    for sibling in steps[1:]:
        if last == 0:
            return False
        if here & 1 or here == last:
            first, second = node_hash(sibling, first), node_hash(sibling, second)
            while not here & 1 and here:
                here >>= 1
                last >>= 1
        else:
            second = node_hash(second, sibling)
        here >>= 1
        last >>= 1
    return last == 0 and first == old_root and second == new_root

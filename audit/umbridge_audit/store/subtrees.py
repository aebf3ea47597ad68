"""Hashes of complete subtrees, kept so that a proof reads a few hundred rows and not the whole log.

Table ``subtree`` holds every eighth level: the root over each 256 leaves, each 65,536 and so on, an eighth
of a byte an entry. It is no evidence and is believed by nobody: each proof is checked against a signed root
before it leaves, and where the table is missing or wrong the leaves are hashed again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from umbridge_audit.examine import SourceError
from umbridge_audit.store.rows import Broken, Rows
from umbridge_audit.tree import (
    STEP,
    Frontier,
    Node,
    consistency_proof,
    consistent,
    included,
    inclusion_proof,
    leaf_hash,
    range_root,
    root_of,
)

_LEAVES = "SELECT seq, leaf FROM ledger_entry WHERE seq >= ? AND seq < ? ORDER BY seq"
_KEPT = "SELECT n, hash FROM subtree WHERE level = ? AND n >= ? AND n < ? ORDER BY n"
KEEP_SQL = (
    "INSERT INTO subtree (level, n, hash) VALUES (?, ?, ?) "
    "ON CONFLICT (level, n) DO UPDATE SET hash = excluded.hash WHERE hash IS NOT excluded.hash"
)
_BATCH = 4096


def prove_inclusion(rows: Rows, seq: int, size: int, root: bytes) -> list[bytes]:
    """The path from entry ``seq`` to a signed ``root`` over ``size`` entries.

    Raises ValueError for an entry outside the tree, Broken when the store does not give that root.
    """
    if not 0 <= seq < size:
        raise ValueError("index outside the tree")
    (hashed,) = _hashes(rows, seq, seq + 1)
    for node in (_kept(rows), _fresh(rows)):
        try:
            path = inclusion_proof(seq, size, node)
        except SourceError:
            continue
        if included(hashed, seq, size, path, root):
            return path
    raise Broken(f"entry {seq}: the store does not give the checkpoint's root; run ledger verify")


def prove_consistency(rows: Rows, old: int, new: int, root: bytes) -> list[bytes]:
    """The proof that the first ``old`` entries begin the tree of ``new`` entries with a signed ``root``.

    Raises ValueError for sizes out of order, Broken when the store does not give that root.
    """
    for node in (_kept(rows), _fresh(rows)):
        try:
            path = consistency_proof(old, new, node)
            if consistent(old, range_root(0, old, node), new, root, path):
                return path
        except SourceError:
            continue
    raise Broken(f"the store does not give the root of size {new}; run ledger verify")


def tree_at(rows: Rows, size: int, root: bytes) -> tuple[Frontier, bytes] | None:
    """The tree of a signed ``root`` over ``size`` entries, and the last entry's hash, from kept subtrees.

    None where those do not give that root. What comes back is the signed tree, whoever wrote the table; the
    leaves below its kept subtrees were not looked at.
    """
    try:
        (hashed,) = _hashes(rows, size - 1, size)
        path = inclusion_proof(size - 1, size, _kept(rows))
    except SourceError:
        return None
    return (
        (Frontier.after(hashed, size, path), hashed) if included(hashed, size - 1, size, path, root) else None
    )


def reread(rows: Rows, size: int, root: bytes, go_on: Callable[[], None] = lambda: None) -> None:
    """Hashes the first ``size`` leaves again. Raises Broken when they do not give that signed ``root``.

    ``go_on`` is called between pages and may raise.
    """
    frontier = Frontier()
    try:
        for low in range(0, size, _BATCH):
            go_on()
            frontier.extend(_hashes(rows, low, min(low + _BATCH, size)))
            frontier.whole.clear()
    except SourceError as exc:
        raise Broken(f"entry {exc.seq}: {exc.code}; run ledger verify") from None
    if frontier.root() != root:
        raise Broken("the entries do not give the last checkpoint's root; run ledger verify")


def _hashes(rows: Rows, start: int, stop: int) -> list[bytes]:
    hashes: list[bytes] = []
    for seq, leaf in rows._fetch(_LEAVES, start, stop):
        if seq != start + len(hashes) or not isinstance(leaf, bytes):
            break
        hashes.append(leaf_hash(leaf))
    if len(hashes) != stop - start:
        raise SourceError("seq_gap", start + len(hashes))
    return hashes


def _stream(rows: Rows, start: int, stop: int) -> Iterator[bytes]:
    for low in range(start, stop, _BATCH):
        yield from _hashes(rows, low, min(low + _BATCH, stop))


def _kept(rows: Rows) -> Node:
    """Subtrees out of the table, and from the leaves below its lowest level."""
    runs: dict[int, list[bytes]] = {}

    def node(level: int, n: int) -> bytes:
        if level < STEP:
            run, at = divmod(n << level, 1 << STEP)
            if len(runs.get(run, ())) < at + (1 << level):
                runs[run] = _hashes(rows, run << STEP, (run << STEP) + at + (1 << level))
            return root_of(runs[run][at : at + (1 << level)])
        low = level - level % STEP
        first, last = n << (level - low), (n + 1) << (level - low)
        found = [
            hashed
            for k, hashed in rows._fetch(_KEPT, low, first, last)
            if isinstance(k, int) and isinstance(hashed, bytes)
        ]
        if len(found) == last - first:
            return root_of(found)
        if level == STEP:  # not kept yet: its checkpoint is being made
            return root_of(_hashes(rows, n << STEP, (n + 1) << STEP))
        return root_of([node(level - 1, 2 * n), node(level - 1, 2 * n + 1)])

    return node


def _fresh(rows: Rows) -> Node:
    """Subtrees from the leaves alone, one pass over each; memory stays flat."""

    def node(level: int, n: int) -> bytes:
        frontier = Frontier()
        for hashed in _stream(rows, n << level, (n + 1) << level):
            frontier.append(hashed)
            frontier.whole.clear()
        return frontier.root()

    return node

"""The tree against pymerkle and against RFC 6962's own recursion."""

from __future__ import annotations

from types import ModuleType

from hypothesis import given
from hypothesis import strategies as st
from pymerkle import InmemoryTree
from umbridge_audit.tree import (
    EMPTY_ROOT,
    Frontier,
    consistency_proof,
    consistent,
    included,
    inclusion_proof,
    leaf_hash,
    node_hash,
    range_root,
    root_of,
)

LEAVES = [leaf_hash(b"leaf %d" % n) for n in range(24)]


def node(level: int, n: int) -> bytes:
    return root_of(LEAVES[n << level : (n + 1) << level])


@given(st.lists(st.binary(max_size=8), max_size=70))
def test_three_ways_to_one_root(oracle: ModuleType, leaves: list[bytes]) -> None:
    theirs = InmemoryTree(algorithm="sha256")
    frontier = Frontier()
    hashes = []
    for leaf in leaves:
        theirs.append_entry(leaf)
        frontier.append(leaf_hash(leaf))
        hashes.append(leaf_hash(leaf))
        assert frontier.root() == root_of(hashes)
    assert frontier.root() == root_of(hashes) == oracle.root(hashes)
    if leaves:
        assert frontier.root() == theirs.get_root()


def test_rfc6962_hashes() -> None:
    """The empty tree, and the empty leaf, of RFC 6962's reference tests."""
    assert root_of([]).hex() == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    assert leaf_hash(b"").hex() == "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d"


def test_a_leaf_cannot_pose_as_a_node() -> None:
    a, b = leaf_hash(b"a"), leaf_hash(b"b")
    assert leaf_hash(a + b) != node_hash(a, b)


def test_a_copy_grows_alone() -> None:
    frontier = Frontier()
    frontier.append(leaf_hash(b"a"))
    root = frontier.root()
    twin = frontier.copy()
    twin.append(leaf_hash(b"b"))
    assert (frontier.size, frontier.root(), twin.size) == (1, root, 2)
    frontier.whole.append((8, 0, bytes(32)))
    assert frontier.copy().whole == []


def test_the_subtrees_told_of_are_the_whole_ones_of_256_and_65536_leaves() -> None:
    """Each once, when its last leaf comes; what is told of is the taker's to clear."""
    frontier = Frontier()
    leaves = [leaf_hash(n.to_bytes(4, "big")) for n in range(65_536 + 256 + 9)]
    told = []
    for at in range(0, len(leaves), 300):
        frontier.extend(leaves[at : at + 300])
        told += [(level, n) for level, n, _ in frontier.whole]
        for level, n, hashed in frontier.whole:
            assert hashed == root_of(leaves[n << level : (n + 1) << level])
            assert at < (n + 1) << level <= frontier.size
        frontier.whole.clear()
    assert told == [*((8, n) for n in range(256)), (16, 0), (8, 256)]
    assert frontier.size == len(leaves) and frontier.root() == root_of(leaves)


def test_nothing_has_the_empty_root() -> None:
    for start, stop in ((0, 0), (5, 5), (6, 5)):
        assert range_root(start, stop, node) == EMPTY_ROOT
    assert Frontier().root() == root_of([]) == EMPTY_ROOT
    assert consistency_proof(0, 0, node) == consistency_proof(0, 9, node) == []


def test_every_tree_begins_with_the_empty_one_and_with_itself_and_has_no_other_beginning_of_that_size() -> (
    None
):
    one, two = LEAVES[0], root_of(LEAVES[:2])
    assert consistent(0, EMPTY_ROOT, 0, EMPTY_ROOT, [])
    assert consistent(0, EMPTY_ROOT, 1, one, []) and consistent(0, EMPTY_ROOT, 2, two, [])
    assert consistent(1, one, 1, one, []) and consistent(2, two, 2, two, [])
    assert not consistent(0, EMPTY_ROOT, 0, one, [])  # an empty tree has one root
    assert not consistent(0, one, 0, one, [])
    assert not consistent(0, one, 1, one, []) and not consistent(0, two, 2, two, [])
    assert not consistent(0, EMPTY_ROOT, 1, one, [one])
    assert not consistent(1, one, 1, LEAVES[1], []) and not consistent(2, two, 2, two, [two])
    assert not consistent(-1, EMPTY_ROOT, 0, EMPTY_ROOT, []) and not consistent(1, one, 0, EMPTY_ROOT, [])


def test_a_leaf_is_at_its_index_and_at_no_other() -> None:
    for size in range(1, 20):
        root = root_of(LEAVES[:size])
        for index in range(size):
            path = inclusion_proof(index, size, node)
            for other in range(-2, size + 3):
                assert included(LEAVES[index], other, size, path, root) == (other == index)


def test_a_path_is_as_long_as_the_size_says_whatever_root_it_leads_to() -> None:
    """The forger chooses the root too: still no inner node is a leaf, and nothing stands beyond the top."""
    for size in range(1, 20):
        for index in range(size):
            path = inclusion_proof(index, size, node)
            hashed = LEAVES[index]
            assert included(hashed, index, size, path, root_of(LEAVES[:size]))  # the control
            top = root_of(LEAVES[:size])
            for beyond in (node_hash(EMPTY_ROOT, top), node_hash(top, EMPTY_ROOT)):
                assert not included(hashed, index, size, [*path, EMPTY_ROOT], beyond)
            if path:
                assert not included(hashed, index, size, [], hashed)
                assert not included(hashed, index, size, path[:-1], root_of(LEAVES[:size]))


def test_a_hash_of_a_path_has_32_bytes_whatever_root_it_leads_to() -> None:
    left, right = LEAVES[:2]
    assert included(right, 1, 2, [left], node_hash(left, right))  # the control
    for wrong in (left[:31], left + b"x", b""):
        assert not included(right, 1, 2, [wrong], node_hash(wrong, right))
        assert not consistent(1, left, 2, node_hash(left, wrong), [wrong])
    assert consistent(1, left, 2, node_hash(left, right), [right])


def test_an_older_tree_needs_its_whole_proof() -> None:
    for new in range(2, 20):
        root = root_of(LEAVES[:new])
        for old in range(1, new):
            before, path = root_of(LEAVES[:old]), consistency_proof(old, new, node)
            assert consistent(old, before, new, root, path)  # the control
            for cut in range(len(path)):
                assert not consistent(old, before, new, root, path[:cut])
            for other in {*range(-1, new + 2)} - {old}:
                assert not consistent(other, before, new, root, path)
            assert not consistent(old, before, new, node_hash(root, EMPTY_ROOT), [*path, EMPTY_ROOT])
            assert not consistent(old, before, new, node_hash(EMPTY_ROOT, root), [*path, EMPTY_ROOT])

"""The tree against pymerkle and against RFC 6962's own recursion."""

from __future__ import annotations

from types import ModuleType

from hypothesis import given
from hypothesis import strategies as st
from pymerkle import InmemoryTree
from umbridge_audit.tree import Frontier, leaf_hash, node_hash, root_of


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

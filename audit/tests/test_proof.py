"""Proofs against pymerkle, RFC 6962's own recursion and forgers; receipts against their every byte."""

from __future__ import annotations

import json
import random
import sqlite3
from base64 import b64encode
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st
from pymerkle import InmemoryTree, verify_consistency, verify_inclusion
from umbridge_audit.checkpoint import read_note
from umbridge_audit.cli import main
from umbridge_audit.entry import FormatError, canonical
from umbridge_audit.policy import Policy
from umbridge_audit.proof import FIRST, read_receipt, verify_receipt, write_receipt
from umbridge_audit.store import Broken, open_readonly
from umbridge_audit.store.subtrees import prove_consistency, prove_inclusion
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

# The eight leaves of the reference tests of RFC 6962 (google/certificate-transparency, merkletree tests).
RFC_LEAVES = [
    bytes.fromhex(h)
    for h in (
        "",
        "00",
        "10",
        "2021",
        "3031",
        "40414243",
        "5051525354555657",
        "606162636465666768696a6b6c6d6e6f",
    )
]
RFC_ROOTS = [
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]
# The same tests' paths: (leaf from 0, tree size, path).
RFC_PATHS = [
    (0, 1, []),
    (
        0,
        8,
        [
            "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
            "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
            "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
        ],
    ),
    (
        5,
        8,
        [
            "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
            "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
            "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        ],
    ),
    (2, 3, ["fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125"]),
    (
        1,
        5,
        [
            "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
            "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
            "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
        ],
    ),
]


def hashes(count: int) -> list[bytes]:
    return [leaf_hash(b"leaf %d" % n) for n in range(count)]


def node_of(leaves: list[bytes]) -> Any:
    return lambda level, n: root_of(leaves[n << level : (n + 1) << level])


@pytest.mark.parametrize(("index", "size", "path"), RFC_PATHS)
def test_the_reference_tests_of_rfc6962(index: int, size: int, path: list[str]) -> None:
    leaves = [leaf_hash(raw) for raw in RFC_LEAVES]
    roots = [root_of(leaves[: n + 1]).hex() for n in range(8)]
    assert roots == RFC_ROOTS
    made = inclusion_proof(index, size, node_of(leaves))
    assert [hashed.hex() for hashed in made] == path
    assert included(leaves[index], index, size, made, bytes.fromhex(RFC_ROOTS[size - 1]))


def rfc_path(m: int, leaves: list[bytes]) -> list[bytes]:
    """RFC 6962 2.1.1 as it is written there."""
    if len(leaves) == 1:
        return []
    k = 1
    while k * 2 < len(leaves):
        k *= 2
    if m < k:
        return [*rfc_path(m, leaves[:k]), root_of(leaves[k:])]
    return [*rfc_path(m - k, leaves[k:]), root_of(leaves[:k])]


def rfc_proof(m: int, leaves: list[bytes], whole: bool = True) -> list[bytes]:
    """RFC 6962 2.1.2 as it is written there."""
    if m == len(leaves):
        return [] if whole else [root_of(leaves)]
    k = 1
    while k * 2 < len(leaves):
        k *= 2
    if m <= k:
        return [*rfc_proof(m, leaves[:k], whole), root_of(leaves[k:])]
    return [*rfc_proof(m - k, leaves[k:], False), root_of(leaves[:k])]


def test_every_proof_of_every_small_tree() -> None:
    leaves = hashes(40)
    for size in range(1, 41):
        node, root = node_of(leaves), root_of(leaves[:size])
        assert range_root(0, size, node) == root
        for index in range(size):
            path = inclusion_proof(index, size, node)
            assert path == rfc_path(index, leaves[:size])
            assert included(leaves[index], index, size, path, root)
        for old in range(size + 1):
            path = consistency_proof(old, size, node)
            assert path == (rfc_proof(old, leaves[:size]) if old else [])
            assert consistent(old, root_of(leaves[:old]), size, root, path)


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 200), st.data())
def test_pymerkle_agrees(size: int, data: st.DataObject) -> None:
    """Its own verifier takes our roots, and its trees give the roots our proofs lead to."""
    theirs = InmemoryTree(algorithm="sha256")
    for n in range(size):
        theirs.append_entry(b"leaf %d" % n)
    leaves = hashes(size)
    index = data.draw(st.integers(0, size - 1))
    old = data.draw(st.integers(1, size))
    assert theirs.get_root(size) == root_of(leaves)
    assert included(
        leaves[index], index, size, inclusion_proof(index, size, node_of(leaves)), theirs.get_root(size)
    )
    assert consistent(
        old,
        theirs.get_root(old),
        size,
        theirs.get_root(size),
        consistency_proof(old, size, node_of(leaves)),
    )
    verify_inclusion(theirs.get_leaf(index + 1), root_of(leaves), theirs.prove_inclusion(index + 1, size))
    verify_consistency(root_of(leaves[:old]), root_of(leaves), theirs.prove_consistency(old, size))


# --- forgers (A33, A34, A35) ---------------------------------------------------------------------------


@settings(max_examples=150, deadline=None)
@given(st.integers(1, 70), st.data())
def test_a33_no_other_path_index_or_size_is_believed(size: int, data: st.DataObject) -> None:
    leaves = hashes(size)
    index = data.draw(st.integers(0, size - 1))
    root = root_of(leaves)
    path = inclusion_proof(index, size, node_of(leaves))
    assert included(leaves[index], index, size, path, root)
    other = data.draw(st.integers(-2, size + 3).filter(lambda n: n != index))
    assert not included(leaves[index], other, size, path, root)
    assert not included(leaves[index], index, size, [*path, EMPTY_ROOT], root)
    assert not included(leaves[index], index, size, [*path, *path[-1:], *path[-1:], b""], root)
    assert not included(leaf_hash(b"other"), index, size, path, root)
    assert not included(leaves[index], index, size, path, EMPTY_ROOT)
    assert not included(leaves[index], index, 0, [], leaves[index])
    if path:
        at = data.draw(st.integers(0, len(path) - 1))
        cut = path[:at] + path[at + 1 :]
        assert not included(leaves[index], index, size, cut, root)
        assert not included(leaves[index], index, size, [*cut, path[at]], root) or cut == path[:-1]
        flipped = [*path[:at], bytes([path[at][0] ^ 1]) + path[at][1:], *path[at + 1 :]]
        assert not included(leaves[index], index, size, flipped, root)
        short = [*path[:at], path[at][:31], *path[at + 1 :]]
        assert not included(leaves[index], index, size, short, root)
        # an inner node posing as a leaf of a smaller tree: the size of the checkpoint forbids it
        assert not included(node_hash(leaves[0], leaves[1 % size]), 0, size, path[1:], root)


def test_a33_a_proof_alone_does_not_fix_the_size() -> None:
    """Index 3 has the same path in trees of 5 to 8 leaves with other roots: the size is the checkpoint's."""
    leaves = hashes(8)
    path = inclusion_proof(3, 5, node_of(leaves))
    assert not included(leaves[3], 3, 8, path, root_of(leaves))
    assert included(leaves[3], 3, 5, path, root_of(leaves[:5]))


@settings(max_examples=150, deadline=None)
@given(st.integers(1, 70), st.data())
def test_a34_no_other_history_is_consistent(size: int, data: st.DataObject) -> None:
    leaves = hashes(size)
    old = data.draw(st.integers(1, size))
    node, root, before = node_of(leaves), root_of(leaves), root_of(leaves[:old])
    path = consistency_proof(old, size, node)
    assert consistent(old, before, size, root, path)
    prepended = [leaf_hash(b"slipped in"), *leaves]
    late = consistency_proof(old, size + 1, node_of(prepended))
    assert not consistent(old, before, size + 1, root_of(prepended), late)
    assert not consistent(old, before, size + 1, root_of(prepended), [before, *late])
    # the old tree as the right child of the new one (pymerkle 6.1.0 took this)
    assert not consistent(old, before, 2 * old, node_hash(leaf_hash(b"x"), before), [leaf_hash(b"x")])
    assert not consistent(old, root, size, before, path) or root == before
    assert not consistent(size + 1, before, size, root, path)
    assert not consistent(-1, before, size, root, path)
    assert not consistent(0, before, size, root, path)
    assert not consistent(0, EMPTY_ROOT, size, root, [root])
    assert not consistent(old, before, old, EMPTY_ROOT, [])
    assert not consistent(old, before, size, root, [*path, EMPTY_ROOT])
    assert not consistent(old, leaf_hash(b"other"), size, root, path)
    if path:
        at = data.draw(st.integers(0, len(path) - 1))
        assert not consistent(old, before, size, root, path[:at] + path[at + 1 :])
        flipped = [*path[:at], bytes([path[at][0] ^ 1]) + path[at][1:], *path[at + 1 :]]
        assert not consistent(old, before, size, root, flipped)
        assert not consistent(old, before, size, root, [*path[:at], path[at] + b"x", *path[at + 1 :]])


@pytest.mark.parametrize(("old", "new"), [(3, 2), (-1, 2)])
def test_sizes_out_of_order_have_no_proof(old: int, new: int) -> None:
    with pytest.raises(ValueError, match="sizes out of order"):
        consistency_proof(old, new, node_of(hashes(4)))


@pytest.mark.parametrize(("index", "size"), [(0, 0), (3, 3), (-1, 3)])
def test_an_index_outside_the_tree_has_no_proof(index: int, size: int) -> None:
    with pytest.raises(ValueError, match="index outside the tree"):
        inclusion_proof(index, size, node_of(hashes(4)))


# --- from the store -----------------------------------------------------------------------------------


def store_leaves(lab: Any) -> list[bytes]:
    with open_readonly(lab.db) as source:
        return [leaf_hash(record.leaf) for record in source.records()]


def test_kept_subtrees_are_those_of_the_leaves(long_lab: Any) -> None:
    leaves = store_leaves(long_lab)
    rows = sqlite3.connect(long_lab.db).execute("SELECT level, n, hash FROM subtree ORDER BY n").fetchall()
    assert rows == [(8, n, root_of(leaves[256 * n : 256 * n + 256])) for n in range(len(leaves) // 256)]
    frontier = Frontier()
    for n in range(1 << 16):
        frontier.append(b"%032d" % n)
    assert [(level, n) for level, n, _ in frontier.whole][-2:] == [(8, 255), (16, 0)]
    assert frontier.whole[-1][2] == frontier.root() and len(frontier.whole) == 257


def test_the_stores_proofs_are_the_trees(long_lab: Any) -> None:
    leaves = store_leaves(long_lab)
    size, root = len(leaves), root_of(leaves)
    rng = random.Random(8)
    with open_readonly(long_lab.db) as source:
        for index in (0, 255, 256, 511, 767, 768, size - 1, *rng.sample(range(size), 20)):
            assert prove_inclusion(source, index, size, root) == rfc_path(index, leaves)
        for old in (0, 1, 255, 256, 257, 512, 768, size, *rng.sample(range(size), 20)):
            expected = rfc_proof(old, leaves) if old else []
            assert prove_consistency(source, old, size, root) == expected
        for bad in (-1, size):
            with pytest.raises(ValueError):
                prove_inclusion(source, bad, size, root)
        with pytest.raises(ValueError):
            prove_consistency(source, size + 1, size, root)


@pytest.mark.parametrize(
    "change",
    [
        "DROP TABLE subtree",
        "DELETE FROM subtree WHERE n = 1",
        "UPDATE subtree SET hash = zeroblob(32)",
        "UPDATE subtree SET hash = x'00' WHERE n = 2",
    ],
)
def test_a_wrong_or_missing_subtree_costs_time_and_nothing_else(
    long_lab: Any, tmp_path: Path, change: str
) -> None:
    lab = long_lab.copy(tmp_path / "copy")
    lab.sql(change)
    leaves = store_leaves(lab)
    root = root_of(leaves)
    with open_readonly(lab.db) as source:
        assert prove_inclusion(source, 300, len(leaves), root) == rfc_path(300, leaves)
        assert prove_consistency(source, 300, len(leaves), root) == rfc_proof(300, leaves)
    assert lab.verify().verdict == "PASS"  # it is no evidence
    lab.reopen()
    rows = sqlite3.connect(lab.db).execute("SELECT n, hash FROM subtree ORDER BY n").fetchall()
    assert rows == [(n, root_of(leaves[256 * n : 256 * n + 256])) for n in range(len(leaves) // 256)]
    lab.close()


def test_a_store_that_does_not_give_the_signed_root_gives_no_proof(long_lab: Any, tmp_path: Path) -> None:
    lab = long_lab.copy(tmp_path / "copy")
    root = root_of(store_leaves(lab))
    lab.sql("UPDATE ledger_entry SET leaf = CAST(leaf || ' ' AS BLOB) WHERE seq = 301")
    with open_readonly(lab.db) as source:
        with pytest.raises(Broken, match="entry 300"):
            prove_inclusion(source, 300, 881, root)
        with pytest.raises(Broken):
            prove_consistency(source, 300, 881, root)


# --- receipts -----------------------------------------------------------------------------------------


def receipt_of(lab: Any, seq: int, shown: tuple[str, ...] = ("schema", "ts")) -> str:
    """A receipt that shows these open slots, made by hand."""
    with open_readonly(lab.db) as source:
        _, note = source.last_checkpoint()
        checkpoint = read_note(note, lab.policy.log, exact=True)
        record = source.record(seq)
        path = prove_inclusion(source, seq, checkpoint.size, checkpoint.root)
        opened = source.openings(record, ())["open"]
    from umbridge_audit.slots import check_open, split_closed

    schema, _, commitments = check_open(record.open)
    roots = zip(schema.compartments, split_closed(schema, record.closed), strict=True)
    line = {
        "leaf": record.leaf.decode(),
        "open": [list(row) for row in opened if row[2] in shown],
        "hidden": [
            *([k, c.hex()] for k, c in enumerate(commitments) if opened[k][2] not in shown),
            *([c, root.hex()] for c, root in roots),
        ],
    }
    return write_receipt(canonical(line), seq, path, note)


def test_a_receipt_is_checked_alone(full_lab: Any, tmp_path: Path) -> None:
    path, policy = tmp_path / "one.tlog-proof", tmp_path / "ledger.policy"
    path.write_text(receipt_of(full_lab, 11))
    policy.write_text(full_lab.policy.text())
    done = CliRunner().invoke(main, [str(path), "--policy", str(policy), "--json"])
    said = json.loads(done.stdout)
    assert (done.exit_code, said["verdict"], said["level"], said["entry"]) == (0, "PASS", "receipt", 11)
    assert said["shown"]["schema"] == "determination/2" and set(said["shown"]) == {"schema", "ts"}
    assert said["checkpoint"] == full_lab.ledger.size and said["head"] == full_lab.ledger.root.hex()
    done = CliRunner().invoke(main, [str(path), "--policy", str(policy)])
    assert done.stdout.startswith("PASS  level receipt  entry 11 of 22")


def test_every_entry_has_a_receipt(full_lab: Any) -> None:
    for seq in range(full_lab.ledger.size):
        report = verify_receipt(receipt_of(full_lab, seq), full_lab.policy)
        assert (report.verdict, report.entry) == ("PASS", seq), report.problems


def test_a_receipt_hides_all_it_is_asked_to(full_lab: Any, canaries: tuple[str, ...]) -> None:
    report = verify_receipt(receipt_of(full_lab, 11, ()), full_lab.policy)
    assert (report.verdict, report.shown) == ("PASS", {})
    assert not any(word in receipt_of(full_lab, 11) for word in canaries)


def test_another_ledgers_policy_refuses_a_receipt(full_lab: Any, lab: Any) -> None:
    text = receipt_of(full_lab, 11)
    assert verify_receipt(text, lab.policy).verdict == "FAIL"
    swapped = Policy(full_lab.policy.log, lab.policy.genesis)
    assert verify_receipt(receipt_of(full_lab, 0), swapped).verdict == "FAIL"


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_any_changed_byte_of_a_receipt_fails(full_lab: Any, data: st.DataObject) -> None:
    raw = receipt_of(full_lab, 11).encode()
    at = data.draw(st.integers(0, len(raw) - 1))
    byte = data.draw(st.integers(0, 255).filter(lambda b: b != raw[at]))
    changed = data.draw(
        st.sampled_from([raw[:at] + bytes([byte]) + raw[at + 1 :], raw[:at], raw[:at] + raw[at + 1 :]])
    )
    if changed == raw:
        return
    report = verify_receipt(changed.decode(errors="replace"), full_lab.policy)
    assert (report.verdict, report.shown) == ("FAIL", {})


def test_a_receipt_of_another_entry_is_not_this_ones(full_lab: Any) -> None:
    one, other = read_receipt(receipt_of(full_lab, 11)), read_receipt(receipt_of(full_lab, 12))
    mixed = [
        write_receipt(one.line, 12, one.path, one.note),
        write_receipt(one.line, 11, other.path, one.note),
        write_receipt(other.line, 11, one.path, one.note),
        write_receipt(one.line, 11, one.path[:-1], one.note),
        write_receipt(one.line, 11, [], one.note),
        write_receipt(one.line, 11, [*one.path, bytes(32)], one.note),
    ]
    for text in mixed:
        assert verify_receipt(text, full_lab.policy).verdict == "FAIL"


def test_an_older_checkpoint_does_not_cover_a_later_entry(full_lab: Any) -> None:
    with open_readonly(full_lab.db) as source:
        notes = [note for _, note in source.checkpoints()]
    one = read_receipt(receipt_of(full_lab, 20))
    report = verify_receipt(write_receipt(one.line, 20, one.path, notes[1]), full_lab.policy)
    assert (report.verdict, [p.code for p in report.problems]) == ("FAIL", ["inclusion"])


@given(st.text(), st.booleans())
def test_the_receipt_reader_is_total(text: str, headed: bool) -> None:
    with pytest.raises(FormatError):
        read_receipt(f"{FIRST}\n{text}" if headed else text)


def test_hostile_receipts_are_refused(full_lab: Any, tmp_path: Path) -> None:
    good = read_receipt(receipt_of(full_lab, 11))
    deep = '{"hidden":' + "[" * 5000 + "]" * 5000 + "}"
    texts = [
        write_receipt(good.line, 11, [bytes(32)] * 64, good.note),
        write_receipt(good.line, 11, good.path, good.note + "x" * (1 << 20)),
        write_receipt("A" * (9 << 20), 11, good.path, good.note),
        write_receipt(deep, 11, good.path, good.note),
        write_receipt("[]", 11, good.path, good.note),
        write_receipt('{"hidden":1,"leaf":2,"open":3}', 11, good.path, good.note),
        f"{FIRST}\nextra {b64encode(bytes([255])).decode()}\nindex 11\n\n{good.note}",
    ]
    policy = tmp_path / "p"
    policy.write_text(full_lab.policy.text())
    for text in texts:
        assert verify_receipt(text, full_lab.policy).verdict == "FAIL"
        path = tmp_path / "hostile"
        path.write_text(text)
        assert CliRunner().invoke(main, [str(path), "--policy", str(policy)]).exit_code == 1
    path.write_bytes(FIRST.encode() + b"\n\xff\xff")
    assert CliRunner().invoke(main, [str(path), "--policy", str(policy)]).exit_code == 1


def test_the_oracle_takes_what_we_take(full_lab: Any, oracle: ModuleType, spec_text: str) -> None:
    policy = full_lab.policy.text()
    for seq in range(full_lab.ledger.size):
        text = receipt_of(full_lab, seq)
        assert oracle.receipt(text, policy, spec_text) == verify_receipt(text, full_lab.policy).shown
    good = receipt_of(full_lab, 11)
    with pytest.raises(ValueError):
        oracle.receipt(good.replace("index 11", "index 12"), policy, spec_text)


def test_the_vectors(make_vectors: ModuleType, oracle: ModuleType, spec_text: str) -> None:
    files = {name: json.loads(text) for name, text in make_vectors.files().items()}
    one = files["receipt.json"]
    assert list(verify_receipt(one["receipt"], Policy.read(one["policy"])).shown) == one["shown"]
    assert list(oracle.receipt(one["receipt"], one["policy"], spec_text)) == one["shown"]
    roots = [bytes.fromhex(root) for root in files["tree.json"]["roots"]]
    leaves = hashes_named("leaf %d", 34)
    for name, path in files["tree.json"]["inclusion"].items():
        index, size = map(int, name.split(" in "))
        made = [bytes.fromhex(h) for h in path]
        assert included(leaves[index], index, size, made, roots[size] if size < 33 else root_of(leaves[:33]))
        assert oracle.path_root(index, size, made, leaves[index]) == root_of(leaves[:size])
    for name, path in files["tree.json"]["consistency"].items():
        old, new = map(int, name.split(" to "))
        made = [bytes.fromhex(h) for h in path]
        assert consistent(old, root_of(leaves[:old]), new, root_of(leaves[:new]), made)


def hashes_named(name: str, count: int) -> list[bytes]:
    return [leaf_hash((name % n).encode()) for n in range(count)]

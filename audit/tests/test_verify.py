"""The verifier's whole answer: every fault with its entry, in order, and nothing else.

Records and notes are held in memory (inmemory.py). Each ledger is given twice, record by record and in pages,
and the answer is the same.
"""

from __future__ import annotations

import gc
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from inmemory import InPages, Listed, Made, faults, held, key_entry, leaf_of, open_entry, relinked
from umbridge_audit.checkpoint import COSIGNATURE, Checkpoint, VerifierKey, sign, signature_line
from umbridge_audit.cosign import cosign
from umbridge_audit.entry import Record
from umbridge_audit.examine import Level, SourceError
from umbridge_audit.handover import Handover, statement
from umbridge_audit.policy import Witness
from umbridge_audit.report import Report
from umbridge_audit.slots import check_open
from umbridge_audit.tree import Frontier
from umbridge_audit.verify import verify

LEVELS: tuple[Level, ...] = ("spine", "keyless", "full")
OTHER = bytes([7]) * 32


@pytest.fixture(scope="module")
def made(full_lab: Any) -> Made:
    made = held(full_lab)
    assert len(made.records) == 22
    return made


# --- what is sound --------------------------------------------------------------------------------------


@pytest.mark.parametrize("level", LEVELS)
def test_a_sound_ledger_has_no_fault_and_all_its_figures(made: Made, level: Level) -> None:
    began = time.monotonic()
    report = made.said(made.notes(2, 12, 20), made.notes(2, 12), level)
    assert 0 <= report.seconds <= time.monotonic() - began
    assert report == Report(
        level=level,
        verdict="PASS",
        entries=22,
        head=made.root(22).hex(),
        checkpoint=20,
        unanchored=2,
        expected=12,
        seconds=report.seconds,
    )


def test_checkpoints_and_anchors_may_be_of_any_size_from_one_on(made: Made) -> None:
    every = made.notes(*range(1, 23))
    report = made.said(every, every)
    assert (faults(report), report.checkpoint, report.unanchored, report.expected) == ([], 22, 0, 21)
    assert faults(made.said(made.notes(1, 22), made.notes(1))) == []


def test_progress_is_told_of_what_is_done(made: Made) -> None:
    for source, steps in ((Listed, list(range(1, 23))), (InPages, [22])):
        told: list[int] = []
        verify(source(made.records, [(0, made.note(22))]), made.policy, progress=told.append)
        assert told == steps


@pytest.mark.parametrize("level", ["spine", "keyless"])
def test_below_full_no_key_is_asked_for(made: Made, level: Level) -> None:
    class Ring:
        def __getattr__(self, name: str) -> Any:
            raise AssertionError(name)

    for source in (Listed, InPages):
        report = verify(
            source(made.records, [(0, made.note(22))]),
            made.policy,
            level=level,
            keyring=Ring(),  # type: ignore[arg-type]
        )
        assert report.verdict == "PASS"


def test_full_without_keys_is_incomplete(made: Made) -> None:
    report = verify(Listed(made.records, [(0, made.note(22))]), made.policy, level="full")
    assert report.verdict == "INCOMPLETE" and {code for code, _ in faults(report)} == {"key_missing"}


@pytest.mark.parametrize("source", [Listed, InPages])
def test_memory_stays_flat(made: Made, source: type[Listed]) -> None:
    """After each page nothing is kept of its subtrees: no tree in the process holds any."""
    long = made.of(relinked([*made.records[:7], *[key_entry("ops.2026-11.00000000")] * 600]))
    kept: list[int] = []

    def look(_done: int) -> None:
        if not len(kept) or _done >= 600:
            kept.append(sum(len(one.whole) for one in gc.get_objects() if isinstance(one, Frontier)))

    before = sum(len(one.whole) for one in gc.get_objects() if isinstance(one, Frontier))
    report = verify(source(long.records, [(0, long.note(607))]), long.policy, progress=look)
    assert faults(report) == [] and len(kept) > 1 and set(kept) == {before}


def test_who_verifies_without_keys_loads_no_code_that_handles_keys() -> None:
    asked = "import sys, umbridge_audit.verify; print('umbridge_audit.keys' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


# --- what cannot be read --------------------------------------------------------------------------------


@pytest.mark.parametrize(("error", "verdict", "found"), [
    (SourceError("row_type", 5), "FAIL", ("row_type", 5)),
    (sqlite3.OperationalError("locked"), "INCOMPLETE", ("verifier_error", None)),
])  # fmt: skip
def test_an_error_on_the_way_is_the_last_thing_said(
    made: Made, error: Exception, verdict: str, found: tuple[str, int | None]
) -> None:
    class Failing(Listed):
        def records(self, start: int = 0, stop: int | None = None) -> Iterator[Record]:
            yield from self.rows[:4]
            raise error

    report = verify(Failing(made.records, [(0, made.note(3, OTHER))]), made.policy)
    assert (report.verdict, report.entries) == (verdict if verdict == "FAIL" else "FAIL", 4)
    assert faults(report) == [("checkpoint_root", 0), found]
    report = verify(Failing(made.records, [(0, made.note(3))]), made.policy)
    assert (report.verdict, faults(report)) == (verdict, [found])


# --- rows: numbers, links, the first entry --------------------------------------------------------------


@pytest.mark.parametrize("level", ["spine", "keyless"])
def test_a_row_that_is_missing_double_or_before_the_first(made: Made, level: Level) -> None:
    rows = made.records
    gone = made.of(rows[:9] + rows[10:])
    assert faults(gone.said(made.notes(9), level=level)) == [("seq_gap", 9), ("prev", 10)]
    double = made.of(rows[:9] + rows[8:])
    assert faults(double.said(made.notes(9), level=level)) == [("seq_gap", 8), ("prev", 8)]
    headless = made.of(rows[1:])
    assert faults(headless.said([], level=level)) == [
        ("seq_gap", 0),
        ("genesis", 0),
        *([("genesis_config", 0)] if level == "keyless" else []),
        ("checkpoint_missing", 0),
    ]
    early = made.of([replace(rows[0], seq=-1), *rows])
    assert faults(early.said([], level=level)) == [
        ("seq_gap", 0),
        ("seq_row", 0),
        ("prev", 0),
        ("checkpoint_missing", 0),
    ]


@pytest.mark.parametrize("level", ["spine", "keyless"])
def test_a_leaf_that_cannot_be_read_says_nothing_of_its_neighbours(made: Made, level: Level) -> None:
    rows = list(made.records)
    rows[0] = replace(rows[0], leaf=b"{}")
    assert faults(made.of(rows).said([], level=level)) == [
        ("leaf_format", 0),
        ("genesis", 0),
        ("prev", 1),
        ("checkpoint_missing", 0),
    ]
    rows = list(made.records)
    rows[9] = replace(rows[9], leaf=b"{}")
    assert faults(made.of(rows).said(made.notes(9), level=level)) == [("leaf_format", 9), ("prev", 10)]


def test_a_link_to_another_entry_is_the_only_fault(made: Made) -> None:
    rows = list(made.records)
    rows[9] = leaf_of(rows[9], prev="00" * 32)
    changed = made.of(relinked(rows, 10))
    for level in ("spine", "keyless"):
        assert faults(changed.said(level=level)) == [("prev", 9)]


def test_another_first_entry_than_the_pinned_one(made: Made) -> None:
    stranger = replace(made, policy=replace(made.policy, genesis=OTHER))
    for level in LEVELS:
        assert faults(stranger.said(level=level)) == [("genesis", 0)]


def test_the_first_entry_names_the_hash_of_its_configuration(made: Made) -> None:
    forged = made.of(relinked([leaf_of(made.records[0], prev="00" * 32), *made.records[1:]]), pin=True)
    assert faults(forged.said()) == [("genesis_config", 0)]
    assert faults(forged.said(level="spine")) == []  # that level reads no slots
    for first in (1, 7):  # a key's entry, a message: no configuration at all
        headless = made.of(relinked(made.records[first:], 0), pin=True)
        for source in (Listed, InPages):
            found = faults(verify(source(headless.records, []), headless.policy))
            assert found[0] == ("genesis_config", 0)
            assert {code for code, _ in found[1:]} <= {"key_unknown", "checkpoint_missing"}
        assert faults(headless.said(level="spine")) == []


def test_nothing_at_all(made: Made) -> None:
    for source in (Listed, InPages):
        assert faults(verify(source([], []), made.policy)) == [("checkpoint_missing", 0), ("empty", 0)]
        report = verify(source([], [(0, made.note(2))]), made.policy, anchor_notes=made.notes(2))
        assert faults(report) == [("truncated", 0), ("empty", 0), ("anchor_ahead", 0)]


# --- keys -----------------------------------------------------------------------------------------------


def test_a_key_comes_before_its_first_use(made: Made) -> None:
    rows = made.records
    assert faults(made.of(relinked([*rows[:7], *rows[7:]])).said()) == []
    late = made.of(relinked([rows[0], rows[7], *rows[1:7], *rows[8:]]))
    assert faults(late.said()) == [("key_unknown", 1)]
    assert faults(late.said(level="spine")) == []
    never = made.of(relinked([rows[0], rows[7], rows[8]]))
    for source, found in ((Listed, [1, 2]), (InPages, [1])):  # a page names the first use
        report = verify(source(never.records, [(0, never.note(3))]), never.policy)
        assert faults(report) == [("key_unknown", at) for at in found]


def test_a_faulty_entry_is_not_asked_for_its_keys_as_well(made: Made) -> None:
    rows = made.records
    moved = relinked([rows[0], rows[7], *rows[1:7], *rows[8:]])
    moved[1] = replace(moved[1], parts={"ops": b"other"})
    assert faults(made.of(moved).said()) == [("part_hash", 1)]


def test_a_key_is_introduced_in_one_way_only(made: Made) -> None:
    kid, head = "ops.2026-11.00000000", made.records[:7]
    one = key_entry(kid)
    assert faults(made.of(relinked([*head, one, one])).said()) == []  # said again is not said otherwise
    for other in (key_entry(kid, commit="01"), key_entry(kid, alg="HMAC-SHA-256")):
        twice = made.of(relinked([*head, one, other, one]))
        assert faults(twice.said()) == [("key_entry", 8)]
        assert faults(twice.said(level="spine")) == []
    assert faults(made.of(relinked([*head, key_entry(kid, alg="XAES-512")])).said()) == [("key_entry", 7)]


def test_full_holds_each_introduced_key_against_the_one_it_has(made: Made) -> None:
    foreign = made.of(relinked([*made.records, key_entry("ops.2026-11.00000000")]))
    report = foreign.said(level="full")
    assert (report.verdict, faults(report)) == ("INCOMPLETE", [("key_missing", 22)])
    values = check_open(made.records[1].open)[1]
    restated = key_entry(str(values["kid"]), str(values["alg"]), "00" * 32)
    report = made.of(relinked([made.records[0], restated, *made.records[2:7]])).said(level="full")
    assert (report.verdict, faults(report)) == ("FAIL", [("key_commit", 1)])


def test_the_log_hands_over_where_the_policy_says_so_and_nowhere_else(made: Made) -> None:
    private = Ed25519PrivateKey.from_private_bytes(OTHER)
    old = made.policy.log
    new = VerifierKey(old.name, private.public_key().public_bytes_raw())
    said = statement(22, old, new)
    pinned = Handover(22, old, new, made.key.sign(said) + private.sign(said))
    entry, plain = open_entry("key.handover", **pinned.values()), key_entry("ops.2026-11.00000000")
    policy = replace(made.policy, log=new, handovers=(pinned,))
    for then, knows, found in (
        ((entry, plain), True, []),
        ((plain, plain), True, [("handover", 22)]),  # the policy has one that the log does not show
        ((entry, plain), False, [("handover", 22)]),  # the log shows one that the policy does not have
        ((), True, []),  # it is to come
    ):
        handed = made.of(relinked([*made.records, *then]))
        newest = replace(handed, key=private) if knows and then else handed
        handed = replace(handed, policy=policy if knows else made.policy)
        stored = [handed.note(22), *newest.notes(*[24][: len(then)])]
        for level in LEVELS[:2]:
            assert faults(handed.said(stored, level=level)) == (found if level == "keyless" else [])


# --- stored checkpoints ---------------------------------------------------------------------------------


def test_stored_checkpoints_are_numbered_from_nothing_on(made: Made) -> None:
    a, b, c = made.notes(2, 12, 22)
    for stored, at, good in (
        ([(0, a), (1, b), (3, c)], 12, 12),
        ([(0, a), (2, b), (3, c)], 2, 2),
        ([(1, a), (2, b), (3, c)], 0, 0),
        ([(0, a), (1, b), (1, c)], 12, 12),
        ([(-1, a), (0, b), (1, c)], 0, 0),
    ):
        report = made.said(stored)
        assert (faults(report), report.checkpoint) == ([("checkpoint_gap", at)], good)
        assert report.unanchored == 22 - good


def test_stored_checkpoints_grow(made: Made) -> None:
    for sizes, at, good in (
        ((2, 12, 12, 22), 12, 12),
        ((2, 12, 5, 22), 12, 12),
        ((0, 2, 22), 0, 0),
        ((2, 2, 22), 2, 2),
    ):
        report = made.said(made.notes(*sizes))
        assert (faults(report), report.checkpoint) == ([("checkpoint_order", at)], good)


def test_after_a_stored_checkpoint_that_is_wrong_none_is_good(made: Made) -> None:
    a, b, c = made.notes(2, 12, 22)
    broken = b.replace("\n12\n", "\n11\n")
    for stored, code, at in (
        ([a, broken, c], "checkpoint_signature", 2),
        ([broken, b, c], "checkpoint_signature", 0),
        ([a, made.note(12, OTHER), c], "checkpoint_root", 2),
        ([made.note(2, OTHER), b, c], "checkpoint_root", 0),
        ([a, b + signed_by_a_stranger(), c], "checkpoint_signature", 2),
    ):
        report = made.said(stored)
        assert (faults(report), report.checkpoint, report.verdict) == ([(code, at)], at, "FAIL")


def signed_by_a_stranger() -> str:
    key = Ed25519PrivateKey.from_private_bytes(OTHER)
    return sign(Checkpoint("zz.example", 1, bytes(32)), key).split("\n\n")[1]


def test_a_checkpoint_beyond_the_end_and_all_that_follows_it(made: Made) -> None:
    assert faults(made.said(made.notes(2, 22, 22 + 8))) == [("truncated", 22)]
    broken = made.note(40).replace("\n40\n", "\n41\n")
    assert faults(made.said([*made.notes(2, 22, 30), broken])) == [
        ("truncated", 22),
        ("checkpoint_signature", 22),
    ]


def test_no_stored_checkpoint(made: Made) -> None:
    report = made.said([])
    assert (faults(report), report.checkpoint, report.unanchored) == ([("checkpoint_missing", 0)], 0, 22)


# --- anchors --------------------------------------------------------------------------------------------


def test_anchors_are_of_this_ledger_and_within_it(made: Made) -> None:
    stored = made.notes(2, 12)
    other = made.note(12, OTHER)
    wild = replace(made, key=Ed25519PrivateKey.from_private_bytes(OTHER)).note(12)
    for anchors, found in (
        (made.notes(2, 12), []),
        ([made.note(2), made.note(12) + signed_by_a_stranger()], []),
        (made.notes(2, 12, 12, 2), []),
        (made.notes(2, 12, 17), [("checkpoint_missing", 12)]),
        (made.notes(12, 22), [("checkpoint_missing", 12)]),
        (made.notes(2, 23), [("anchor_ahead", 22)]),
        ([other], [("anchor_root", 0)]),
        ([made.note(2), other], [("anchor_root", 2)]),
        ([made.note(2, OTHER), other], [("anchor_root", 0), ("anchor_root", None)]),
        ([made.note(2, OTHER), made.note(5), other], [("anchor_root", 0), ("anchor_root", 5)]),
        ([*made.notes(2, 12), other], [("forked", None)]),
        ([made.note(12), made.note(2)], [("anchor_order", None)]),
        ([made.note(12), made.note(2), made.note(2)], [("anchor_order", None)]),
        ([made.note(12), made.note(2), made.note(2, OTHER)], [("anchor_order", None), ("forked", None)]),
        ([wild, made.note(12)], [("anchor_format", None)]),
        (["", made.note(2, OTHER)], [("anchor_format", None), ("anchor_root", 0)]),
        ([made.note(30), made.note(12)], [("anchor_order", None), ("anchor_ahead", 22)]),
        ([made.note(0)], [("anchor_order", None)]),
    ):
        expected = sorted(found, key=str)
        assert sorted(faults(made.said(stored, anchors)), key=str) == expected, anchors


def test_of_the_last_4096_sizes_a_fork_is_called_one_and_of_an_older_one_the_order(made: Made) -> None:
    anchors = [made.note(size, OTHER) for size in (*range(100, 100 + 4096), 5000)]
    fork, another = made.note(100, bytes(32)), made.note(101, bytes(32))
    anchors[-1:] = [fork, anchors[-1], another, fork]
    report = verify(InPages(made.records, [(0, made.note(22))]), made.policy, anchor_notes=anchors)
    found = [("forked", None), ("forked", None), ("anchor_order", None), ("anchor_ahead", 22)]
    assert faults(report) == found


# --- cosignatures ---------------------------------------------------------------------------------------


def test_cosignatures_count_where_a_quorum_is_pinned_and_the_source_has_them(made: Made) -> None:
    private = Ed25519PrivateKey.from_private_bytes(OTHER)
    vkey = VerifierKey("w1.example", private.public_key().public_bytes_raw(), COSIGNATURE)
    policy = replace(made.policy, quorum="w1", witnesses={"w1": Witness(vkey)})
    stored = list(enumerate(made.notes(2, 22)))
    line = cosign(Checkpoint(made.policy.origin, 22, made.root(22)), vkey.name, private, 5)
    source = InPages(made.records, stored[1:])
    source.notes = [(0, stored[1][1])]
    source.lines = [line]
    report = verify(source, policy)
    assert (report.verdict, report.witnessed, faults(report)) == ("PASS", 22, [])
    source.lines = []
    report = verify(source, policy)
    assert (report.verdict, report.witnessed, faults(report)) == ("PASS-UNWITNESSED", None, [])
    name, raw = signature_line(line.rstrip("\n"))
    assert name == "w1.example"
    source.lines = [cosign(Checkpoint(made.policy.origin, 22, OTHER), vkey.name, private, 5)]
    report = verify(source, policy)
    assert (report.verdict, faults(report)) == ("FAIL", [("cosignature", None)]) and len(raw) == 76
    # a source that has none to give, such as a list, and a policy that wants none
    report = verify(Listed(made.records, source.notes), policy)
    assert (report.verdict, faults(report)) == ("PASS-UNWITNESSED", [])
    source.lines = None
    report = verify(source, made.policy)
    assert (report.verdict, report.witnessed) == ("PASS", None)

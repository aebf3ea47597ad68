"""On from a kept checkpoint: what is new is read, what is old is proved or said to be unread."""

# ruff: noqa: S608  table and column names are this file's own constants

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import breaking
import pytest
from click.testing import CliRunner
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from inmemory import InPages, Listed, held, key_entry, leaf_of, relinked
from umbridge_audit.bundle import verify_bundle
from umbridge_audit.checkpoint import Checkpoint, VerifierKey, read_anchor, sign, take_apart
from umbridge_audit.cli import main
from umbridge_audit.examine import Level
from umbridge_audit.keys import Keyring
from umbridge_audit.policy import Policy
from umbridge_audit.report import Report
from umbridge_audit.resume import Since
from umbridge_audit.store import open_readonly
from umbridge_audit.store.history import StoredPast
from umbridge_audit.tree import Frontier, included, inclusion_proof, leaf_hash, root_of
from umbridge_audit.verify import verify

LEVELS: tuple[Level, ...] = ("spine", "keyless", "full")


def notes(lab: Any) -> dict[int, str]:
    with open_readonly(lab.db) as source:
        return {take_apart(note)[0].size: note for _, note in source.checkpoints()}


def since(
    lab: Any, note: str, level: Level = "keyless", *, anchored: bool = True, jobs: int = 1, **more: Any
) -> Report:
    keyring = Keyring.open(lab.keys) if level == "full" else None
    anchor = read_anchor(lab.anchor) if anchored else []
    with open_readonly(lab.db) as source:
        return verify(
            source,
            more.get("policy", lab.policy),
            level=level,
            keyring=keyring,
            anchor_notes=anchor,
            jobs=jobs,
            since=Since(note, StoredPast(source)),
        )


def codes(report: Report) -> set[str]:
    return {problem.code for problem in report.problems}


# --- the last leaf and its path are the tree ------------------------------------------------------------


def test_a_leaf_and_its_path_are_the_frontier() -> None:
    leaves = [leaf_hash(b"leaf %d" % n) for n in range(140)]
    grown = Frontier()
    for size in range(1, 131):
        grown.append(leaves[size - 1])
        path = inclusion_proof(
            size - 1, size, lambda level, n: root_of(leaves[n << level : (n + 1) << level])
        )
        assert included(leaves[size - 1], size - 1, size, path, grown.root())
        made = Frontier.after(leaves[size - 1], size, path)
        assert (made.size, made.root()) == (size, grown.root())
        made.extend(leaves[size : size + 9])
        assert made.root() == root_of(leaves[: size + 9])


# --- what is sound --------------------------------------------------------------------------------------


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("size", [2, 12, 17, 22])
def test_a_sound_ledger_is_never_a_plain_pass(full_lab: Any, level: Level, size: int) -> None:
    whole = full_lab.verify(level)
    report = since(full_lab, notes(full_lab)[size], level)
    assert (report.verdict, report.exit_code, report.since) == ("PASS-SINCE", 0, size), report.problems
    assert (report.entries, report.head, report.checkpoint) == (whole.entries, whole.head, whole.checkpoint)
    said = report.to_json()
    assert said["since"] == size and said["not_read"] == [0, size - 1] and said["verdict"] == "PASS-SINCE"
    assert whole.verdict == "PASS" and "since" not in whole.to_json() and "not_read" not in whole.to_json()


@pytest.mark.parametrize("kept_subtrees", [True, False])
@pytest.mark.parametrize("jobs", [1, 2])
def test_many_pages_with_and_without_kept_subtrees(
    long_lab: Any, tmp_path: Path, jobs: int, kept_subtrees: bool
) -> None:
    lab = long_lab.copy(tmp_path / "lab")
    if not kept_subtrees:
        lab.sql("DROP TABLE subtree")
    for size, note in notes(lab).items():
        report = since(lab, note, jobs=jobs)
        assert (report.verdict, report.since, report.problems) == ("PASS-SINCE", size, [])
        assert report.head == long_lab.ledger.root.hex()
        if jobs == 2:
            return


def test_only_what_is_new_is_read(long_lab: Any) -> None:
    """Pages begin at the kept size; below it stand one leaf and the entries of the keys in use."""
    size = sorted(notes(long_lab))[-2]
    asked: list[tuple[int, int]] = []

    with open_readonly(long_lab.db) as source:
        page, records = source.page, source.records

        def paged(start: int, stop: int) -> Any:
            asked.append((start, stop))
            return page(start, stop)

        def read(start: int = 0, stop: int | None = None) -> Any:
            asked.append((start, 2**63 if stop is None else stop))
            return records(start, stop)

        source.page, source.records = paged, read  # type: ignore[method-assign]  # to be listened to
        report = verify(source, long_lab.policy, since=Since(notes(long_lab)[size], StoredPast(source)))
    assert report.verdict == "PASS-SINCE"
    below = [(start, stop) for start, stop in asked if start < size]
    assert all(stop - start == 1 for start, stop in below) and len(below) <= 3
    assert (size - 1, size) in below and min(start for start, _ in asked if start >= size) == size


def test_entries_after_the_last_checkpoint_count_as_unanchored(lab: Any, message: Any) -> None:
    lab.write(message(1))
    lab.ledger.checkpoint()
    note = notes(lab)[lab.ledger.size]
    lab.write(message(2), message(3))
    report = since(lab, note)
    assert (report.verdict, report.unanchored) == ("PASS-SINCE", 2)


def test_a_strangers_line_on_the_kept_note_is_ignored(full_lab: Any) -> None:
    other = Ed25519PrivateKey.from_private_bytes(bytes([9]) * 32)
    note = notes(full_lab)[12]
    line = sign(Checkpoint("stranger.example", 12, bytes(32)), other).splitlines()[-1]
    assert since(full_lab, f"{note}{line}\n").verdict == "PASS-SINCE"


def test_the_quorum_counts_from_the_kept_checkpoint_on(full_lab: Any, tmp_path: Path) -> None:
    from umbridge_audit.checkpoint import COSIGNATURE
    from umbridge_audit.cosign import cosign
    from umbridge_audit.policy import Witness

    key = Ed25519PrivateKey.from_private_bytes(bytes([1]) * 32)
    vkey = VerifierKey("w1.example", key.public_key().public_bytes_raw(), COSIGNATURE)
    policy = Policy(full_lab.policy.log, full_lab.policy.genesis, "w1", {"w1": Witness(vkey)})
    kept = notes(full_lab)
    report = since(full_lab, kept[17], policy=policy)
    assert (report.verdict, report.exit_code) == ("PASS-UNWITNESSED", 3)
    assert report.to_json()["not_read"] == [0, 16]
    for size, verdict in ((12, "PASS-UNWITNESSED"), (17, "PASS-SINCE"), (22, "PASS-SINCE")):
        lab = full_lab.copy(tmp_path / str(size))
        db = sqlite3.connect(lab.db)
        line = cosign(take_apart(kept[size])[0], vkey.name, key, 5)
        db.execute("INSERT INTO cosignature VALUES (?, ?)", (size, line))
        db.commit()
        db.close()
        assert since(lab, kept[17], policy=policy).verdict == verdict


# --- attacks: name, what is done, kept size, verdict, first bad entry, code ------------------------------


def flip(table: str, column: str, where: str, at: int) -> Callable[[Any], None]:
    def change(lab: Any) -> None:
        raw = lab.value(f"SELECT {column} FROM {table} WHERE {where}")
        kept = raw if isinstance(raw, bytes) else raw.encode()
        at_ = at % len(kept)
        other = kept[at_] ^ 1 if column in ("ct", "closed") else b"01"[kept[at_] == ord("0")]  # still a digit
        new = kept[:at_] + bytes([other]) + kept[at_ + 1 :]
        value = new if isinstance(raw, bytes) else new.decode()
        lab.sql((f"UPDATE {table} SET {column} = ? WHERE {where}", (value,)))

    return change


def sql(*statements: str) -> Callable[[Any], None]:
    return lambda lab: lab.sql(*statements)


def last_note(size: int) -> Callable[[Any], None]:
    """The newest stored checkpoint restated as one of another size."""

    def change(lab: Any) -> None:
        raw = lab.value("SELECT note FROM ledger_checkpoint ORDER BY n DESC LIMIT 1")
        lab.sql(
            (
                "UPDATE ledger_checkpoint SET note = ? WHERE n = (SELECT max(n) FROM ledger_checkpoint)",
                (raw.replace("\n22\n", f"\n{size}\n"),),
            )
        )

    return change


CUT = ("DELETE FROM ledger_entry WHERE seq >= {0}", "DELETE FROM ledger_part WHERE seq >= {0}")
ATTACKS: dict[str, tuple[Callable[[Any], object], int, str, int | None, str]] = {
    "new leaf": (flip("ledger_entry", "leaf", "seq = 18", 40), 17, "FAIL", 18, "fields_root"),
    "new ciphertext": (flip("ledger_part", "ct", "seq = 18", 9), 17, "FAIL", 18, "part_hash"),
    "new open slots": (flip("ledger_entry", "open", "seq = 18", 140), 17, "FAIL", 18, "fields_root"),
    "new closed slots": (flip("ledger_entry", "closed", "seq = 18", 3), 17, "FAIL", 18, "fields_root"),
    "new row deleted": (sql("DELETE FROM ledger_entry WHERE seq = 18"), 17, "FAIL", 18, "part_orphan"),
    "first new row deleted": (
        sql("DELETE FROM ledger_entry WHERE seq = 17", "DELETE FROM ledger_part WHERE seq = 17"),
        17,
        "FAIL",
        17,
        "seq_gap",
    ),
    "new checkpoint broken": (
        flip("ledger_checkpoint", "note", "n = 3", 60),
        17,
        "FAIL",
        17,
        "checkpoint_signature",
    ),
    "new checkpoint gone": (
        sql("DELETE FROM ledger_checkpoint WHERE n = 3"),
        17,
        "FAIL",
        17,
        "checkpoint_missing",
    ),
    "new checkpoint says it is older than the kept one": (last_note(10), 17, "FAIL", 17, "checkpoint_order"),
    "newest says it is a little older": (last_note(18), 22, "FAIL", 18, "kept_ahead"),
    "no checkpoints": (sql("DELETE FROM ledger_checkpoint"), 17, "FAIL", 0, "checkpoint_missing"),
    "the last old leaf": (flip("ledger_entry", "leaf", "seq = 16", 40), 17, "FAIL", 0, "kept_root"),
    "the last old row deleted": (
        sql("DELETE FROM ledger_entry WHERE seq = 16"),
        17,
        "FAIL",
        16,
        "part_orphan",
    ),
    "rolled back behind it": (sql(*(one.format(15) for one in CUT)), 17, "FAIL", 15, "kept_ahead"),
    "rolled back to it": (sql(*(one.format(17) for one in CUT)), 17, "FAIL", 17, "truncated"),
    "emptied": (sql("DELETE FROM ledger_entry", "DELETE FROM ledger_part"), 17, "FAIL", 0, "kept_ahead"),
    "table gone": (sql("DROP TABLE ledger_entry"), 17, "FAIL", None, "table_missing"),
    "the key's entry hidden": (
        sql("UPDATE ledger_entry SET open = replace(open, 'key.create/1', 'key.rotate/1')"),
        17,
        "FAIL",
        17,
        "key_unknown",
    ),
    "the key's entry edited": (
        sql("UPDATE ledger_entry SET open = replace(open, '\"XAES-256', '\"XAES-512')"),
        17,
        "FAIL",
        2,
        "fields_root",
    ),
    "the key's entry gone": (
        sql("DELETE FROM ledger_entry WHERE seq BETWEEN 1 AND 6"),
        17,
        "FAIL",
        0,
        "kept_root",
    ),
    # What is not read is not seen, and the verdict says that it was not read.
    "an old ciphertext": (flip("ledger_part", "ct", "seq = 8", 9), 17, "PASS-SINCE", None, ""),
    "an old open slot": (flip("ledger_entry", "open", "seq = 8", 140), 17, "PASS-SINCE", None, ""),
    "an old checkpoint": (flip("ledger_checkpoint", "note", "n = 0", 60), 17, "PASS-SINCE", None, ""),
}


@pytest.mark.parametrize("name", ATTACKS)
def test_attacks_on_the_way(full_lab: Any, tmp_path: Path, name: str) -> None:
    change, size, verdict, first_bad, code = ATTACKS[name]
    lab = full_lab.copy(tmp_path / "broken")
    note = notes(full_lab)[size]
    assert since(lab, note).verdict == "PASS-SINCE"  # the control
    change(lab)
    report = since(lab, note)
    assert (report.verdict, report.first_bad_seq) == (verdict, first_bad), report.problems
    assert not code or code in codes(report), report.problems
    if verdict == "PASS-SINCE":
        assert report.to_json()["not_read"] == [0, size - 1]
        assert lab.verify().verdict == "FAIL"  # and reading all of it finds it


@pytest.mark.parametrize("size", [12, 17, 22])
def test_another_history_is_a_fork_from_before_the_kept_one(full_lab: Any, tmp_path: Path, size: int) -> None:
    """A whole and sound ledger under the same key, that parted from ours before: its own key signed both."""
    lab = full_lab.copy(tmp_path / "fork")
    breaking.resign(lab, lambda records: [*records[:9], records[8], *records[9:]], seed=breaking.seed(lab))
    assert lab.verify(anchored=False).verdict == "PASS"
    report = since(lab, notes(full_lab)[size], anchored=False)
    assert (report.verdict, report.first_bad_seq, codes(report)) == ("FAIL", 0, {"kept_root"})
    assert since(lab, notes(full_lab)[2], anchored=False).verdict == "PASS-SINCE"  # it parted later than that
    assert since(lab, notes(lab)[size], anchored=False).verdict == "PASS-SINCE"


def test_a_fork_after_the_kept_one_is_the_anchors_to_tell(full_lab: Any, tmp_path: Path) -> None:
    lab = full_lab.copy(tmp_path / "fork")
    breaking.resign(lab, lambda records: [*records[:19], records[18], *records[19:]], seed=breaking.seed(lab))
    note = notes(full_lab)[17]
    assert since(lab, note, anchored=False).verdict == "PASS-SINCE"
    report = since(lab, note)
    assert (report.verdict, report.first_bad_seq) == ("FAIL", 17)


def test_an_anchor_that_says_otherwise_at_the_kept_size(full_lab: Any) -> None:
    """Two notes of one size under one key, the kept one and an anchored one: a fork, whoever is right."""
    key = Ed25519PrivateKey.from_private_bytes(breaking.seed(full_lab))
    other = sign(Checkpoint(full_lab.policy.origin, 17, bytes(32)), key)
    with open_readonly(full_lab.db) as source:
        past = StoredPast(source)
        report = verify(source, full_lab.policy, anchor_notes=[other], since=Since(notes(full_lab)[17], past))
        assert report.verdict == "FAIL" and codes(report) == {"anchor_root"}
    report = since(full_lab, other)
    assert (report.verdict, report.first_bad_seq, codes(report)) == ("FAIL", 0, {"kept_root"})


def test_a_note_of_another_log_or_of_none(full_lab: Any, lab: Any) -> None:
    good = notes(full_lab)[17]
    key = Ed25519PrivateKey.from_private_bytes(breaking.seed(full_lab))
    empty = sign(Checkpoint(full_lab.policy.origin, 0, root_of([])), key)
    for note in (
        "",
        "x",
        next(iter(notes(lab).values())),
        good.replace("\n17\n", "\n16\n"),
        good[:-6] + "AAAA=\n",
        good + good.splitlines()[-1] + "\n",
        empty,
        "\n" * 5000,
        good * 10_000,
    ):
        report = since(full_lab, note)
        assert (report.verdict, codes(report)) == ("FAIL", {"kept_format"})
        assert report.to_json()["not_read"] is None
    assert since(full_lab, good).verdict == "PASS-SINCE"


def test_paths_that_lie_are_not_believed(full_lab: Any) -> None:
    """Whatever answers for the past is held against the kept root: a shorter, longer, other path, or none."""
    good = notes(full_lab)[12]
    with open_readonly(full_lab.db) as source:
        sound = StoredPast(source)

        class Lying:
            def __init__(self, change: Callable[[list[bytes]], list[bytes]], hide: bool = False) -> None:
                self.change, self.hide = change, hide

            def path(self, seq: int, size: int, root: bytes) -> list[bytes]:
                return self.change(list(sound.path(seq, size, root)))

            def introductions(self, before: int) -> Iterator[tuple[int, str]]:
                return iter(()) if self.hide else sound.introductions(before)

        assert verify(source, full_lab.policy, since=Since(good, Lying(list))).verdict == "PASS-SINCE"
        for change in (
            lambda path: path[:-1],
            lambda path: [*path, path[-1]],
            lambda path: path[::-1],
            lambda path: [bytes(32), *path[1:]],
            lambda path: [],
            lambda path: [b"", *path],
        ):
            report = verify(source, full_lab.policy, since=Since(good, Lying(change)))
            assert (report.verdict, codes(report)) == ("FAIL", {"kept_root"})
        report = verify(source, full_lab.policy, since=Since(good, Lying(list, hide=True)))
        assert (report.verdict, report.first_bad_seq, codes(report)) == ("FAIL", 12, {"key_unknown"})
        assert verify(
            source, full_lab.policy, level="spine", since=Since(good, Lying(list, hide=True))
        ).verdict == ("PASS-SINCE")

        class LyingLater(Lying):
            """The path of the last leaf is good; that of a key's entry is not."""

            def path(self, seq: int, size: int, root: bytes) -> list[bytes]:
                found = list(sound.path(seq, size, root))
                return found if seq == size - 1 else found[::-1]

        report = verify(source, full_lab.policy, since=Since(good, LyingLater(list)))
        assert report.verdict == "FAIL" and "inclusion" in codes(report)


def test_an_error_on_the_way_is_incomplete(full_lab: Any) -> None:
    class Failing(StoredPast):
        def path(self, seq: int, size: int, root: bytes) -> list[bytes]:
            raise OSError("disk")

    with open_readonly(full_lab.db) as source:
        report = verify(source, full_lab.policy, since=Since(notes(full_lab)[17], Failing(source)))
    assert (report.verdict, report.exit_code) == ("INCOMPLETE", 4)


@settings(max_examples=80, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    st.sampled_from([2, 12, 17, 22]),
    st.sampled_from(
        [
            *(("ledger_entry", c) for c in ("leaf", "open", "closed")),
            *(("ledger_part", c) for c in ("ct", "c")),
            ("ledger_checkpoint", "note"),
        ]
    ),
    st.integers(0, 10_000),
    st.integers(0, 100_000),
)
def test_any_changed_byte_of_what_is_new_is_seen_and_of_what_is_old_never_called_read(
    full_lab: Any, tmp_path_factory: Any, size: int, cell: tuple[str, str], row: int, at: int
) -> None:
    table, column = cell
    lab = full_lab.copy(tmp_path_factory.mktemp("cell") / "lab")
    count = int(str(lab.value(f"SELECT count(*) FROM {table}")))
    rowid, old = lab.value(f"SELECT rowid FROM {table} LIMIT 1 OFFSET {row % count}"), None
    old = lab.value(f"SELECT {column} FROM {table} WHERE rowid = {rowid}")
    number = lab.value(
        f"SELECT {'n' if table == 'ledger_checkpoint' else 'seq'} FROM {table} WHERE rowid = {rowid}"
    )
    raw = old if isinstance(old, bytes) else str(old).encode()
    if not raw:
        return
    at %= len(raw)
    new = raw[:at] + bytes([raw[at] ^ 1]) + raw[at + 1 :]
    cast = "BLOB" if isinstance(old, bytes) else "TEXT"
    lab.sql((f"UPDATE {table} SET {column} = CAST(? AS {cast}) WHERE rowid = {rowid}", (new,)))
    report = since(lab, notes(full_lab)[size])
    read = [2, 12, 17, 22][number] >= size if table == "ledger_checkpoint" else number >= size
    assert report.verdict == "FAIL" or (not read and report.verdict == "PASS-SINCE")
    assert report.verdict != "PASS" and lab.verify().verdict == "FAIL"


def key_entries(lab: Any) -> list[tuple[int, str]]:
    with open_readonly(lab.db) as source:
        return list(StoredPast(source).introductions(1000))


class Kept:
    """A past that is held in memory, and what it was asked for."""

    def __init__(self, made: Any) -> None:
        self.leaves = [leaf_hash(record.leaf) for record in made.records]
        self.asked: list[int] = []
        self.key_entries: list[tuple[int, str]] = []

    def path(self, seq: int, size: int, root: bytes) -> list[bytes]:
        self.asked.append(seq)
        if not seq < size <= len(self.leaves):
            return []
        return inclusion_proof(
            seq, size, lambda level, n: root_of(self.leaves[n << level : (n + 1) << level])
        )

    def introductions(self, before: int) -> Iterator[tuple[int, str]]:
        return iter([(seq, kid) for seq, kid in self.key_entries if seq < before])


@pytest.mark.parametrize("size", range(1, 23))
def test_any_size_from_one_on_can_be_gone_on_from(full_lab: Any, size: int) -> None:
    made = held(full_lab)
    for source in (Listed, InPages):
        past = Kept(made)
        past.key_entries = key_entries(full_lab)
        report = verify(
            source(made.records, [(0, made.note(22))]), made.policy, since=Since(made.note(size), past)
        )
        assert (report.verdict, codes(report), report.since) == ("PASS-SINCE", set(), size)
        assert (report.entries, report.head, report.checkpoint) == (22, made.root(22).hex(), 22)


def test_the_first_new_entry_names_the_last_old_one(full_lab: Any) -> None:
    """All that is new is sound by itself and signed, and follows another past than the kept one."""
    made = held(full_lab)
    other = leaf_of(made.records[17], prev="00" * 32)
    changed = made.of(relinked([*made.records[:17], other, *made.records[18:]], 18))
    for source in (Listed, InPages):
        past = Kept(changed)
        past.key_entries = key_entries(full_lab)
        notes = [(0, changed.note(17)), (1, changed.note(22))]
        report = verify(source(changed.records, notes), changed.policy, since=Since(changed.note(17), past))
        assert [(p.code, p.seq) for p in report.problems] == [("prev", 17)]


def test_an_old_entry_of_a_key_in_use_is_held_to_what_such_entries_may_say(full_lab: Any) -> None:
    made = held(full_lab)
    used = {part["kid"] for record in made.records[17:] for part in json.loads(record.leaf)["parts"]}
    at, kid = next((seq, kid) for seq, kid in key_entries(full_lab) if kid in used)
    other = key_entry(kid, alg="ZZ")
    changed = made.of(relinked([*made.records[:at], other, *made.records[at + 1 :]], at))
    for source in (Listed, InPages):
        past = Kept(changed)
        past.key_entries = key_entries(full_lab)
        report = verify(
            source(changed.records, [(0, changed.note(22))]),
            changed.policy,
            since=Since(changed.note(17), past),
        )
        assert [(p.code, p.seq) for p in report.problems] == [("key_entry", at)]


def test_the_first_entry_that_is_missing_is_named_wherever_the_store_ends(full_lab: Any) -> None:
    made = held(full_lab)
    asked: list[tuple[int, int | None]] = []

    class Source(Listed):
        def records(self, start: int = 0, stop: int | None = None) -> Iterator[Any]:
            asked.append((start, stop))
            return super().records(start, stop)

    for there in range(23):
        source = Source(made.records[:there], [])
        for size in {*range(there + 1, there + 4), 31, 32, 33, 1000}:
            report = verify(source, made.policy, since=Since(made.note(size, bytes(32)), Kept(made)))
            assert [(p.code, p.seq) for p in report.problems] == [("kept_ahead", there)]
    assert all(stop == start + 1 for start, stop in asked)  # by asking for one row at a time
    for size in range(1, 23):  # and where it is one alone, with rows after it
        source = Source([record for record in made.records if record.seq != size - 1], [])
        report = verify(source, made.policy, since=Since(made.note(size), Kept(made)))
        assert [(p.code, p.seq) for p in report.problems] == [("kept_ahead", size - 1)]


def test_a_key_is_looked_for_until_its_newest_entry_and_no_further(full_lab: Any) -> None:
    """Of entries said to introduce a key that is in use, one is read; of those of other keys, none."""
    made = held(full_lab)
    past = Kept(made)
    said = key_entries(full_lab)
    past.key_entries = [*said, *said, (0, "zz.2026-11.00000000")]
    read: list[int] = []

    class Source(Listed):
        def records(self, start: int = 0, stop: int | None = None) -> Iterator[Any]:
            for record in super().records(start, stop):
                if record.seq < 17:
                    read.append(record.seq)
                yield record

    source = Source(made.records, [(0, made.note(22))])
    report = verify(source, made.policy, since=Since(made.note(17), past))
    assert report.verdict == "PASS-SINCE"
    used = {part["kid"] for record in made.records[17:] for part in json.loads(record.leaf)["parts"]}
    assert sorted(read) == sorted([16, *(seq for seq, kid in said if kid in used)])
    assert sorted(past.asked) == sorted(read)


# --- a bundle goes on from it too ------------------------------------------------------------------------


def test_a_bundle_continues_a_kept_checkpoint_or_fails(full_lab: Any, tmp_path: Path, external: Any) -> None:
    lab = full_lab.copy(tmp_path / "lab")
    lab.reopen()
    bundle = external(lab, tmp_path / "bundle.jsonl")
    lab.close()
    (tmp_path / "policy").write_text(lab.policy.text())
    good = notes(full_lab)
    for size in (2, 12, 17, 22):
        report = verify_bundle(bundle, lab.policy, good[size])
        assert (report.verdict, report.to_json()["since"]) == ("PASS", size)
        assert "not_read" not in report.to_json()  # a bundle is read whole
    key = Ed25519PrivateKey.from_private_bytes(breaking.seed(full_lab))
    for size, code, first in ((17, "kept_root", 0), (1000, "kept_ahead", 23)):
        note = sign(Checkpoint(lab.policy.origin, size, bytes(32)), key)
        report = verify_bundle(bundle, lab.policy, note)
        assert (report.verdict, report.first_bad_seq, codes(report)) == ("FAIL", first, {code})
    assert codes(verify_bundle(bundle, lab.policy, "no note")) == {"kept_format"}
    assert codes(
        verify_bundle(bundle, lab.policy, sign(Checkpoint(lab.policy.origin, 0, root_of([])), key))
    ) == {"kept_format"}

    def run(*arguments: str) -> Any:
        return CliRunner().invoke(main, [str(bundle), "--policy", str(tmp_path / "policy"), *arguments])

    kept = tmp_path / "kept"
    kept.write_text(good[17])
    done = run("--since", str(kept))
    assert done.exit_code == 0 and done.stdout.startswith("PASS  level bundle  entries 23  since 17")
    assert json.loads(run("--since", str(kept), "--json").stdout)["since"] == 17
    kept.write_bytes(b"\xff\x00")
    assert run("--since", str(kept)).exit_code == 1
    assert run("--since", str(tmp_path / "absent")).exit_code == 2
    assert run("--since", str(tmp_path)).exit_code == 2

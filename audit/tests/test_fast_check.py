"""The quick way and the long way agree: what is swept is sound, and nothing that is unsound is swept."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from umbridge_audit.entry import Draft
from umbridge_audit.examine import Level, examine
from umbridge_audit.fast_check import FastCheck
from umbridge_audit.keys import Keyring
from umbridge_audit.store import open_readonly, transaction
from umbridge_audit.verify import verify

CHAIN = "genhosp/adt-1"
LEVELS: tuple[Level, ...] = ("spine", "keyless", "full")


def page_of(lab: Any) -> tuple[list[list[Any]], list[list[Any]]]:
    with open_readonly(lab.db) as source:
        entries, parts = source.page(0, 10_000)
    return [list(row) for row in entries], [list(row) for row in parts]


def fast_checker(lab: Any, level: Level) -> FastCheck:
    return FastCheck(CHAIN, 1, level, Keyring.open(lab.keys) if level == "full" else None)


@pytest.mark.parametrize("level", LEVELS)
def test_a_sound_page_is_swept_and_says_what_examining_says(full_lab: Any, level: Level) -> None:
    entries, parts = page_of(full_lab)
    said = fast_checker(full_lab, level).check(entries, parts, 0, None)
    assert said is not None
    keyring = Keyring.open(full_lab.keys)
    with open_readonly(full_lab.db) as source:
        seen = [examine(record, level, CHAIN, 1, keyring) for record in source.records()]
    assert said.hashes == [one.hashed for one in seen]
    assert said.prev == seen[0].prev
    kids = {kid for one in seen for kid in one.kids}
    assert set(said.uses) == kids
    if level != "spine":
        assert said.introduces == [(one.row, *one.introduces) for one in seen if one.introduces]
        assert said.config == seen[0].config


@pytest.mark.parametrize("level", LEVELS)
def test_a_page_goes_on_from_the_hash_before_it(full_lab: Any, level: Level) -> None:
    entries, parts = page_of(full_lab)
    whole = fast_checker(full_lab, level).check(entries, parts, 0, None)
    assert whole is not None
    later = [row for row in parts if row[0] >= 9]
    for prev in (whole.hashes[8], None):
        rest = fast_checker(full_lab, level).check(entries[9:], later, 9, prev)
        assert rest is not None and rest.hashes == whole.hashes[9:]
        assert rest.prev == (b"" if prev else whole.hashes[8])
    assert fast_checker(full_lab, level).check(entries[9:], later, 9, bytes(32)) is None
    assert fast_checker(full_lab, level).check(entries[9:], later, 8, None) is None
    assert fast_checker(full_lab, level).check(entries[9:], parts, 9, None) is None  # parts of nobody


MUTATIONS = ("bit", "cut", "grow", "swap", "none", "text", "negative", "drop", "twice", "space", "case")


@settings(max_examples=400, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    st.sampled_from(LEVELS),
    st.booleans(),
    st.integers(0, 10_000),
    st.integers(0, 3),
    st.integers(0, 100_000),
    st.sampled_from(MUTATIONS),
)
def test_no_changed_row_is_swept_that_examining_refuses(
    full_lab: Any, level: Level, of_part: bool, row: int, column: int, at: int, how: str
) -> None:
    entries, parts = page_of(full_lab)
    table = parts if of_part else entries
    mine = table[row % len(table)]
    column %= len(mine)
    old = mine[column]
    if how == "drop":
        table.remove(mine)
    elif how == "twice":
        table.insert(row % len(table), list(mine))
    elif how == "none":
        mine[column] = None
    elif how == "text" and isinstance(old, bytes):
        mine[column] = old.decode("latin-1")
    elif isinstance(old, int):
        mine[column] = -old - 1 if how == "negative" else at
    elif isinstance(old, bytes) and old:
        at %= len(old)
        other = table[(row + 1) % len(table)][column]
        mine[column] = {
            "bit": old[:at] + bytes([old[at] ^ (1 << at % 8)]) + old[at + 1 :],
            "cut": old[:at],
            "grow": old + b"0",
            "swap": other,
            "space": old.replace(b",", b", ", 1),
            "case": old.swapcase(),
        }.get(how, old[:at] + old[at + 1 :])
    clean, _ = page_of(full_lab)
    same = entries == clean and parts == page_of(full_lab)[1]
    said = fast_checker(full_lab, level).check(entries, parts, 0, None)
    if same:
        assert said is not None
    elif said is not None:
        # Only what this level does not look at may differ: open and closed slots, below keyless.
        assert level == "spine" and not of_part and column in (2, 3) and how not in ("drop", "twice")


def test_what_the_pen_rarely_writes_is_examined_and_still_passes(lab: Any, message: Any) -> None:
    """Quotes, accents, nested values in the open: no page of them is swept, and none is refused."""
    odd = [
        Draft("message.received", dict(message(1).values) | {"actor": value})
        for value in ('a "quoted" one', "\u00e9", ["a", {"b": 1}], True, -5, 2**53 - 1, "\\", "")
    ]
    deep: Any = "x"
    for _ in range(5):
        deep = [deep]
    odd.append(Draft("message.received", dict(message(2).values) | {"sender": deep, "reason": "caf\u00e9\n"}))
    lab.write(*odd)
    lab.ledger.checkpoint()
    for level in LEVELS:
        assert lab.verify(level).verdict == "PASS"
    entries, parts = page_of(lab)
    assert fast_checker(lab, "keyless").check(entries, parts, 0, None) is None
    assert fast_checker(lab, "spine").check(entries, parts, 0, None) is not None


def test_what_could_not_be_read_back_is_not_written(lab: Any, message: Any) -> None:
    """A value stands three levels deep in a part's body, so it may have five of its own."""
    deep: Any = "x"
    for _ in range(6):
        deep = [deep]
    before = lab.ledger.size
    with pytest.raises(ValueError), transaction(lab.connection):
        lab.ledger.append([Draft("message.received", dict(message(1).values) | {"sender": deep})])
    assert lab.ledger.size == before


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("jobs", [1, 2])
def test_pages_and_processes_give_one_answer(long_lab: Any, tmp_path: Path, level: Level, jobs: int) -> None:
    """Several pages, one of them broken, in one process and in two: verdict, faults and head are the same."""
    if jobs == 2 and level == "full":
        pytest.skip("the full level in two processes is in test_store.py")
    lab = long_lab.copy(tmp_path / "lab")
    assert lab.verify(level, jobs=jobs).verdict == "PASS"
    row = random.Random(3).randrange(520, 800)
    lab.sql(f"UPDATE ledger_part SET ct = zeroblob(length(ct)) WHERE seq = {row}")  # noqa: S608  our own number
    report = lab.verify(level, jobs=jobs)
    assert (report.verdict, report.first_bad_seq) == ("FAIL", row)
    assert [p.code for p in report.problems] == ["part_hash"]
    assert report.entries == long_lab.ledger.size and report.head == long_lab.ledger.root.hex()


def test_a_source_without_pages_is_read_record_by_record(full_lab: Any) -> None:
    class Plain:
        def __init__(self, source: Any) -> None:
            self.snapshot, self.records, self.checkpoints = (
                source.snapshot,
                source.records,
                source.checkpoints,
            )

    with open_readonly(full_lab.db) as source:
        one, other = verify(Plain(source), full_lab.policy), verify(source, full_lab.policy)
    assert (one.verdict, one.head, one.entries) == (other.verdict, other.head, other.entries)

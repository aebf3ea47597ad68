"""What every store promises: commands applied in one transaction, questions answered beside the writer.

One suite for each implementation. SQLite is the only one so far.
"""

from __future__ import annotations

import ast
import os
import random
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from pathlib import Path
from threading import Event, Thread
from typing import Any

import pytest
from test_upgrade import contents
from test_writer import accept, incoming, writer_at
from umbridge_audit.entry import Draft
from umbridge_audit.keys import Keyring
from umbridge_audit.store import Ledger

from umbridge.errors import StoreError, UsageError
from umbridge.model import RowState
from umbridge.review.standing import LaneReviews
from umbridge.settings import config
from umbridge.stay.identity import Named
from umbridge.store import commands
from umbridge.store.batch import Batch
from umbridge.store.commands import (
    CountRefusals,
    KeepCosignature,
    SetSuspect,
    Transaction,
    WriteEntries,
    WriteEntry,
    WriteOnChange,
    WriteWithNote,
)
from umbridge.store.inbox import Incoming
from umbridge.store.opening import open_writer
from umbridge.store.reader import Reader
from umbridge.store.refusals import Refusal
from umbridge.store.settlement import Again, Dismiss, Replay
from umbridge.store.writer import Writer

AT = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
STORES: dict[str, Callable[[Path], AbstractContextManager[Writer]]] = {"sqlite": writer_at}


@pytest.fixture(params=STORES)
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Writer]:
    with STORES[request.param](tmp_path / "s") as made:
        yield made


def said(text: str) -> Draft:
    return Draft("audit.status", {"actor": "umbridge", "state": text, "version": "0"})


def states(store: Writer) -> list[str]:
    with store.reading() as reader:
        return [str(row["state"]) for row in reader.ledger.open_slots(kinds=["audit.status"])]


@dataclass(frozen=True, slots=True)
class Refuse:
    """Finds that it is not to be done before it has written anything."""

    def apply(self, tx: Transaction) -> None:
        if tx.note("there") is None:
            raise UsageError("there is no such note")
        tx.drop_note("there")


@dataclass(frozen=True, slots=True)
class Linger:
    """Writes, and stays in its transaction until it is let go."""

    begun: Event
    go: Event

    def apply(self, tx: Transaction) -> None:
        tx.put_note("lingering", "yes")
        self.begun.set()
        assert self.go.wait(30)


# -- commands ------------------------------------------------------------------------------------------


def test_what_a_command_wrote_is_there_for_every_reader_once_it_has_returned(store: Writer) -> None:
    (first, second) = store.call(WriteEntries(drafts=(said("one"), said("two"))))
    third = store.call(WriteEntry(draft=said("three")))
    assert [second - first, third - first] == [1, 2]
    assert states(store) == ["one", "two", "three"]


def test_a_command_that_refuses_itself_wrote_nothing_and_only_its_caller_hears(store: Writer) -> None:
    with pytest.raises(UsageError, match="no such note"):
        store.call(Refuse())
    assert store.failed is None
    store.call(WriteWithNote(drafts=(said("one"),), name="there", value="a note"))
    store.call(Refuse())
    with store.reading() as reader:
        assert reader.note("there") is None


def test_an_entry_and_its_note_are_one(store: Writer) -> None:
    store.call(WriteWithNote(drafts=(said("one"), said("two")), name="zz:1", value="first"))
    store.call(WriteWithNote(drafts=(), name="zz:2", value="second"))
    with store.reading() as reader:
        assert reader.notes_under("zz:") == {"zz:1": "first", "zz:2": "second"}
        assert reader.note("zz:3") is None
    assert states(store) == ["one", "two"]


def test_what_is_in_force_is_said_once(store: Writer) -> None:
    command = WriteOnChange(draft=said("in force"), name="zz", value="a")
    assert [store.call(command), store.call(command)] == [True, False]
    assert store.call(WriteOnChange(draft=said("another"), name="zz", value="b"))
    assert states(store) == ["in force", "another"]


def test_refusals_are_counted_not_kept(store: Writer) -> None:
    one = Refusal("zz", "oversize", AT, bytes_seen=7, digest="00", times=2)
    store.call(CountRefusals(refusals=(one, one, Refusal("zz", "tls", AT))))
    with store.reading() as reader:
        told = [(feed, reason, count) for feed, reason, count, _ in reader.refusals()]
    assert told == [("zz", "oversize", 4), ("zz", "tls", 1)]


def test_the_same_cosignature_twice_is_one(store: Writer) -> None:
    for _ in range(2):
        store.call(KeepCosignature(size=3, line="— zz.example/w1 AAAA\n"))
    with store.reading() as reader:
        assert reader.ledger.cosignatures(3) == ["— zz.example/w1 AAAA\n"]


# -- readers -------------------------------------------------------------------------------------------


def test_a_question_does_not_stand_in_the_writers_queue(store: Writer) -> None:
    begun, go = Event(), Event()
    writing = Thread(target=lambda: store.call(Linger(begun, go)))
    writing.start()
    try:
        assert begun.wait(30)
        with store.reading() as reader:  # the writer is in the middle of a transaction
            assert reader.note("lingering") is None
    finally:
        go.set()
        writing.join()
    with store.reading() as reader:
        assert reader.note("lingering") == "yes"


def test_a_snapshot_sees_one_moment(store: Writer) -> None:
    store.call(WriteWithNote(drafts=(), name="zz", value="before"))
    with store.reading() as reader:
        with reader.snapshot():
            assert reader.note("zz") == "before"
            store.call(WriteWithNote(drafts=(), name="zz", value="after"))
            assert reader.note("zz") == "before"
        assert reader.note("zz") == "after"


def test_rows_are_read_beside_the_writer(store: Writer) -> None:
    frames = [b"MSH|zz%d\r" % number for number in range(5)]
    for number, frame in enumerate(frames):
        accept(store, incoming(b"k%d" % number, frame))
    with store.reading() as reader:
        assert [row.frame for row in reader.rows(0, 10, 1 << 20)] == frames
        assert [row.seq for row in reader.rows(2, 2, 1 << 20)] == [3, 4]
        assert [row.seq for row in reader.rows(0, 10, 1)] == [1]  # one row, however large
        one = reader.row(4)
        assert one is not None
        assert one.frame == frames[3]
        assert reader.row(6) is None
        assert reader.resolve(b"v" * 16) == one.lane
        assert one.lane is not None
        assert [(row.seq, parts) for row, parts in reader.lane_rows(one.lane, 0, 3, 10, 1 << 20)] == [
            (1, [0]),
            (2, [0]),
            (3, [0]),
        ]
        assert reader.pending(3, 10) == [(4, one.lane), (5, one.lane)]
        assert reader.counts("state") == {"PENDING": (5, "")}


def test_a_reader_cannot_write(store: Writer) -> None:
    with store.reading() as reader, pytest.raises(StoreError, match="READONLY"):
        reader._ask(lambda: reader._cursor.execute("DELETE FROM meta"))


def test_readers_are_used_again_one_asker_at_a_time_and_closed_with_the_store(store: Writer) -> None:
    with store.reading() as one, store.reading() as other:
        assert one is not other
    with store.reading() as again:
        assert again in (one, other)
    store.close()
    store.join()
    with pytest.raises(StoreError, match="closing"), store.reading():
        pass


def test_a_reader_that_failed_is_not_used_again(store: Writer) -> None:
    seen: list[Reader] = []
    with pytest.raises(UsageError), store.reading() as reader:
        seen.append(reader)
        raise UsageError("whoever asked went away")
    with store.reading() as reader:
        assert reader not in seen


def test_every_command_is_a_frozen_value_with_named_fields() -> None:
    made = [
        each
        for each in vars(commands).values()
        if isinstance(each, type) and "apply" in vars(each) and each is not commands.Command
    ]
    assert len(made) > 5
    for each in made:
        assert each.__dataclass_params__.frozen, each  # type: ignore[attr-defined]
        assert "__slots__" in vars(each), each
        assert all(one.kw_only for one in fields(each)), each  # type: ignore[arg-type]


def running(source: str) -> Iterator[str]:
    """Fields of commands that are code, or something that is still being read."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ClassDef) and any(
            isinstance(each, ast.FunctionDef) and each.name == "apply" for each in node.body
        ):
            for each in node.body:
                if isinstance(each, ast.AnnAssign) and re.search(
                    r"Callable|Iterator|Iterable|Cursor|Connection|Batch", ast.unparse(each.annotation)
                ):
                    yield f"{node.name}.{ast.unparse(each.target)}"


def test_no_command_holds_what_runs_or_is_read_but_once() -> None:
    """Such a command could not be applied again, nor by a writer elsewhere."""
    umbridge = Path(commands.__file__).parents[1]
    found = {path.name: list(running(path.read_text(encoding="utf-8"))) for path in umbridge.rglob("*.py")}
    assert {name: each for name, each in found.items() if each} == {}
    planted = "class HandOver:\n    draft: Callable[[int], Draft]\n    def apply(self, tx: Transaction): ..."
    assert list(running(planted)) == ["HandOver.draft"]


# -- a transaction that is rolled back taught nothing -----------------------------------------------------


def population(directory: Path) -> None:
    """A worked row, one that waits, two set aside of which one is a lane's share, and a merge."""
    with writer_at(directory) as writer:
        merge = (Named(0, None, None, (b"p" * 16, b"q" * 16), is_person=True),)
        accept(writer, incoming(b"a", b"one", patient_token=b"p" * 16))
        accept(writer, incoming(b"b", b"two", state=RowState.QUARANTINED, visit_token=b"w" * 16))
        accept(writer, incoming(b"c", b"three", patient_token=b"q" * 16, visit_token=b"x" * 16))
        accept(writer, incoming(b"d", b"four", parts=merge))
        writer.call(Finish(1))


@dataclass(frozen=True, slots=True)
class Finish:
    seq: int

    def apply(self, tx: Transaction) -> None:
        tx.finish(self.seq, RowState.NOT_APPLICABLE, "no_review_open")


@dataclass(frozen=True, slots=True)
class SaveStay:
    lane: bytes

    def apply(self, tx: Transaction) -> None:
        tx.save_stay(self.lane, 1, LaneReviews(), b"head", [(1, b"increment")])
        tx.wait_until(self.lane, 7)
        tx.record_determinations([(1, "r", "zz", 0, tx.entry(said("decided")))])


@dataclass(frozen=True, slots=True)
class Share:
    """What a lane does with its share of a row: takes it in, or has it wait for a person."""

    lane: bytes
    taken: bool

    def apply(self, tx: Transaction) -> None:
        (tx.take if self.taken else tx.set_aside)(self.lane, 4, "zz")


V, W, X = b"v" * 16, b"w" * 16, b"x" * 16
AGAIN = Again(seq=2, found_by=(b"f" * 16,), named=(Named(0, W, None, ()),))
PERSON = {"user": "zz", "reason": "zz", "by": ""}
APPLIED: dict[str, tuple[Any, ...]] = {
    "frames": (
        incoming(b"e", b"five", found_by=(b"t" * 16,)),
        incoming(b"a", b"one"),
        incoming(b"e", b"another"),
        incoming(b"f", b"six", state=RowState.QUARANTINED),
        incoming(b"g", b"seven"),
    ),
    "a merge": (
        incoming(b"h", b"eight", parts=(Named(0, None, None, (b"q" * 16, b"p" * 16), is_person=True),)),
        incoming(b"i", b"nine", patient_token=b"q" * 16, visit_token=b"y" * 16),
    ),
    "a replay": (Replay(rows=(AGAIN,), **PERSON), incoming(b"j", b"ten", visit_token=W)),
    "a dismissal": (Dismiss(seqs=(2,), **PERSON), incoming(b"j", b"ten", visit_token=W)),
    "a suspect": (SetSuspect(seq=1), Finish(1), incoming(b"k", b"eleven")),
    "a stay": (SaveStay(V),),
    "shares": (Share(V, True), Share(X, False), incoming(b"l", b"twelve", visit_token=X)),
    "notes": (WriteWithNote(drafts=(said("one"),), name="zz", value="1"), KeepCosignature(size=1, line="zz")),
    "counts": (CountRefusals(refusals=(Refusal("zz", "tls", AT),)), WriteEntry(draft=said("two"))),
}


THEN = datetime.now(UTC)  # this month's keys are those of the populated store


def remembered(writer: Writer) -> tuple[object, ...]:
    memory = writer._memory
    known = memory.known
    return (
        memory.last,
        set(memory.quarantined),
        set(memory.suspects),
        dict(known.lanes),
        set(known.registered),
        writer.ledger.size,
        writer.ledger.root,
    )


def applied(
    directory: Path, commands: tuple[Any, ...], monkeypatch: pytest.MonkeyPatch, *, rolled_back: bool
) -> dict[str, list[tuple[object, ...]]]:
    """All tables after the commands; ``rolled_back``: after they were applied once before, for nothing."""
    made = config.load(directory / "umbridge.toml")

    def fill(writer: Writer) -> Batch:
        monkeypatch.setattr(os, "urandom", random.Random(7).randbytes)
        batch = Batch(writer._cursor, writer.ledger, writer.keyring, writer._memory, writer.clock.now)
        batch.prefetch([each.key_token for each in commands if isinstance(each, Incoming)])
        for each in commands:
            _ = batch.accept(each) if isinstance(each, Incoming) else each.apply(batch)
        batch.flush()
        return batch

    with open_writer(made, Keyring.open(made.keys)) as writer:
        writer.clock.now = THEN
        if rolled_back:
            before, mark = remembered(writer), writer.ledger.mark()
            writer._cursor.execute("BEGIN IMMEDIATE")
            fill(writer)
            writer._raw.rollback()
            writer.ledger.go_back(mark)
            assert remembered(writer) == before
        writer._cursor.execute("BEGIN IMMEDIATE")
        fill(writer).keep()
        writer._raw.commit()
    monkeypatch.undo()
    return contents(made, but=())


@pytest.fixture(scope="module")
def populated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("populated") / "s"
    population(directory)
    return directory


@pytest.mark.parametrize("commands", APPLIED.values(), ids=APPLIED.keys())
def test_applied_rolled_back_and_applied_again_is_applied_once(
    populated: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, commands: tuple[Any, ...]
) -> None:
    for name in ("once", "again"):
        shutil.copytree(populated, tmp_path / name)
    once = applied(tmp_path / "once", commands, monkeypatch, rolled_back=False)
    again = applied(tmp_path / "again", commands, monkeypatch, rolled_back=True)
    assert again == once


@dataclass(frozen=True, slots=True)
class Leaks:
    """The planted bug: a command that changes something outside its transaction."""

    seen: list[int]

    def apply(self, tx: Transaction) -> None:
        self.seen.append(1)
        tx.put_note("zz", str(len(self.seen)))


def test_a_command_that_changes_memory_itself_is_noticed(
    populated: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("once", "again"):
        shutil.copytree(populated, tmp_path / name)
    once = applied(tmp_path / "once", (Leaks([]),), monkeypatch, rolled_back=False)
    assert applied(tmp_path / "again", (Leaks([]),), monkeypatch, rolled_back=True) != once


def test_a_ledger_that_is_not_taken_back_is_noticed(
    populated: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(populated, tmp_path / "again")
    monkeypatch.setattr(Ledger, "go_back", lambda self, mark: None)
    with pytest.raises(AssertionError):
        applied(tmp_path / "again", APPLIED["notes"], monkeypatch, rolled_back=True)

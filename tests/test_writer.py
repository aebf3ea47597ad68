"""The writer: nothing is promised before COMMIT, repeats are one row, a failure stops everything."""

from __future__ import annotations

import asyncio
import hashlib
import shutil
import sqlite3
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import Future
from contextlib import closing, contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from installation import Inside, Installation
from umbridge_audit.entry import Draft
from umbridge_audit.keys import Keyring

from umbridge.errors import StoreError, UnavailableError
from umbridge.model import RowState
from umbridge.settings import config
from umbridge.settings.config import Settings
from umbridge.store import engine, inbox, line, upkeep
from umbridge.store import writer as writing
from umbridge.store.commands import WriteEntries
from umbridge.store.inbox import Incoming, Stored
from umbridge.store.opening import create_store, hold_writer, open_writer
from umbridge.store.writer import Writer

NOW = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)


@cache
def made_once() -> Path:
    directory = Installation.folders.mktemp("made") / "s"
    directory.mkdir()
    file = directory / "umbridge.toml"
    file.write_text('[feeds.main]\nport = 0\n[ledger]\norg = "zz"\nchain = "t"\n')
    made = config.load(file)
    create_store(made, Keyring.create(made.keys), "ZZ")
    return directory


def make(directory: Path) -> tuple[Settings, Keyring]:
    """A copy of one that was made once, as that takes a dozen syncs: all of them have the same keys."""
    shutil.copytree(made_once(), directory, dirs_exist_ok=True)
    made = config.load(directory / "umbridge.toml")
    return made, Keyring.open(made.keys)


@contextmanager
def writer_at(directory: Path) -> Iterator[Writer]:
    made, keyring = make(directory)
    with hold_writer(made, keyring) as writer:
        yield writer


@pytest.fixture
def writer(tmp_path: Path) -> Iterator[Writer]:
    with writer_at(tmp_path / "s") as held:
        yield held


def incoming(key: bytes, frame: bytes, content: bytes | None = None, **changes: Any) -> Incoming:
    made = Incoming(
        feed="main",
        frame=frame,
        digest=hashlib.sha256(frame).digest(),
        content_digest=hashlib.sha256(content or frame).digest(),
        key_token=key.ljust(16, b"\0"),
        visit_token=b"v" * 16,
        account_token=None,
        head={"control_id": key.decode(), "type": "ADT^A01", "visit": "ZZV1"},
        sender="ZZ/ZZ",
        version="2.5.1",
        state=RowState.PENDING,
        ack="AA",
        condition=None,
        location=None,
        reason="",
        received_at=NOW,
        reused="accept_flag",
    )
    return replace(made, **changes)


def accept(writer: Writer, item: Incoming) -> Stored:
    future: Future[Stored] = Future()
    writer.submit(item, future)
    return future.result(10)


def rows(writer: Writer) -> list[inbox.Row]:
    with writer.reading() as reader:
        return reader.rows(0, 10_000, 1 << 40)


def test_durability_settings_are_what_the_database_says(writer: Writer) -> None:
    said = writer.call(
        Inside(
            lambda batch: {
                name: batch.cursor.execute(f"PRAGMA {name}").fetchone()[0] for name, _, _ in engine.PRAGMAS
            }
        )
    )
    assert said["journal_mode"] == "wal"
    assert said["synchronous"] == 2
    assert said == {name: expected for name, _, expected in engine.PRAGMAS}


def test_the_log_is_taken_back_in_a_quiet_moment_and_not_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upkeep, "TAKE_BACK", 10)
    monkeypatch.setattr(upkeep, "QUIET_SECONDS", 3600.0)
    made, keyring = make(tmp_path / "s")
    with hold_writer(made, keyring) as writer:
        for number in range(10):
            accept(writer, incoming(b"k%d" % number, b"%d" % number))
        assert copied(made) == 0
        monkeypatch.setattr(upkeep, "QUIET_SECONDS", 0.0)
        while not copied(made):
            writer.call(WriteEntries(drafts=()))  # its loop goes round
        assert len(rows(writer)) == 10


def copied(made: Settings) -> int:
    """How many messages are in the database itself, without its log."""
    with closing(sqlite3.connect(f"file:{made.store}/umbridge.db?immutable=1", uri=True)) as database:
        return int(database.execute("SELECT count(*) FROM inbox").fetchone()[0])


def test_the_page_cache_is_as_large_as_the_settings_say(tmp_path: Path) -> None:
    made, keyring = make(tmp_path / "s")
    made = made.model_copy(
        update={"limits": made.limits.model_copy(update={"page_cache_bytes": 5 * 1024 * 1024})}
    )
    with hold_writer(made, keyring) as writer:
        said = writer.call(Inside(lambda batch: batch.cursor.execute("PRAGMA cache_size").fetchone()[0]))
    assert said == -5 * 1024


def test_a_setting_that_does_not_hold_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "PRAGMAS", (("synchronous", "NORMAL", 2),))
    with (
        pytest.raises(StoreError, match="synchronous is 1, not 2"),
        engine.open_database(tmp_path / "x.db"),
    ):
        pass


def test_files_are_for_their_owner_only(writer: Writer, tmp_path: Path) -> None:
    accept(writer, incoming(b"a", b"one"))
    for path in (tmp_path / "s" / "store").iterdir():
        assert path.stat().st_mode & 0o077 == 0, path.name


def test_an_accepted_frame_is_sealed_and_comes_back_whole(writer: Writer) -> None:
    stored = accept(writer, incoming(b"a", b"MSH|secret\r"))
    assert (stored.seq, stored.duplicate, stored.state) == (1, False, RowState.PENDING)
    (row,) = rows(writer)
    assert row.frame == b"MSH|secret\r"
    assert row.head["visit"] == "ZZV1"
    entries = writer.call(Inside(lambda batch: list(writer.ledger.open_slots())))
    assert entries[row.entry]["kind"] == "message.received"


def test_the_same_bytes_are_one_row_and_the_first_answer(writer: Writer) -> None:
    first = accept(writer, incoming(b"a", b"one", ack="AA"))
    again = accept(writer, incoming(b"a", b"one", ack="CA"))
    assert again.duplicate
    assert (again.seq, again.ack) == (first.seq, "AA")
    attempts = writer.call(
        Inside(lambda batch: batch.cursor.execute("SELECT row FROM delivery_attempt").fetchall())
    )
    assert [row for (row,) in attempts] == [1]


def test_a_restamped_repeat_is_a_repeat_with_a_note_on_the_ledger(writer: Writer) -> None:
    accept(writer, incoming(b"a", b"one at 10:00", content=b"one"))
    again = accept(writer, incoming(b"a", b"one at 10:05", content=b"one"))
    assert again.duplicate
    assert len(rows(writer)) == 1
    kinds = [
        (e["kind"], e["state"])
        for e in writer.call(Inside(lambda b: list(writer.ledger.open_slots())))
        if "feed" in e
    ]
    assert kinds == [("message.received", "PENDING"), ("message.variant", "RESTAMPED")]


@pytest.mark.parametrize(
    ("rule", "state", "ack"),
    [("accept_flag", "PENDING", "AA"), ("quarantine", "QUARANTINED", "AA"), ("reject", "REFUSED", "AE")],
)
def test_a_reused_control_id_is_never_dropped(writer: Writer, rule: str, state: str, ack: str) -> None:
    accept(writer, incoming(b"a", b"one"))
    other = accept(writer, incoming(b"a", b"two", reused=rule))
    assert not other.duplicate
    assert (other.state.value, other.ack) == (state, ack)
    assert other.reason.startswith("control_id_reused")
    assert [row.frame for row in rows(writer)] == [b"one", b"two"]


def test_repeats_inside_one_transaction_are_seen(writer: Writer) -> None:
    """Two connections deliver the same message at the same moment."""
    futures: list[Future[Stored]] = []
    with writer._lock:  # hold it back so that all are in one group
        for frame in (b"one", b"one", b"two"):
            future: Future[Stored] = Future()
            writer._line.frames.append((incoming(b"a", frame), future))
            futures.append(future)
    writer._wake()
    results = [future.result(10) for future in futures]
    assert [(r.seq, r.duplicate) for r in results] == [(1, False), (1, True), (2, False)]
    assert writer.commits <= 2


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from("xyz"), st.booleans()), max_size=20))
def test_every_delivery_is_a_new_row_or_a_repeat_of_one(
    tmp_path_factory: pytest.TempPathFactory, deliveries: list[tuple[str, str, bool]]
) -> None:
    """I2 and the duplicate rule against a model in three lines: one row a distinct (key, content)."""
    model: dict[tuple[str, str], int] = {}
    with writer_at(tmp_path_factory.mktemp("model") / "s") as writer:
        for key, body, restamp in deliveries:
            frame = f"{body}{'!' if restamp else ''}".encode()
            stored = accept(writer, incoming(key.encode(), frame, content=body.encode()))
            expected = model.setdefault((key, body), len(model) + 1)
            assert stored.seq == expected
        assert len(rows(writer)) == len(model)
        assert [row.seq for row in rows(writer)] == list(range(1, len(model) + 1))


def test_account_numbers_lead_to_the_visit_they_were_seen_with(writer: Writer) -> None:
    account = b"k" * 16
    first = accept(writer, incoming(b"a", b"1", visit_token=b"v" * 16, account_token=account))
    alone = accept(writer, incoming(b"b", b"2", visit_token=None, account_token=account))
    other = accept(writer, incoming(b"c", b"3", visit_token=None, account_token=b"z" * 16))
    none = accept(writer, incoming(b"d", b"4", visit_token=None, account_token=None))
    assert alone.lane == first.lane == b"v" * 16
    assert other.lane == b"z" * 16
    assert (none.lane, none.state, none.reason) == (None, RowState.NOT_APPLICABLE, "no_visit_number")


def test_a_question_without_an_answer_harms_nobody(writer: Writer) -> None:
    with pytest.raises(sqlite3.OperationalError):
        writer.call(Inside(lambda batch: batch.cursor.execute("SELECT no_such_column")))
    with pytest.raises(ZeroDivisionError):
        writer.call(Inside(lambda batch: 1 // 0))
    assert accept(writer, incoming(b"a", b"one")).seq == 1


def test_the_first_failure_stops_the_pen_for_good(tmp_path: Path) -> None:
    made, keyring = make(tmp_path / "s")

    def bad(batch: Any) -> None:
        batch.entry(Draft("no.such.kind", {}))

    with hold_writer(made, keyring) as writer:
        kept = accept(writer, incoming(b"a", b"one"))
        futures: list[Future[Any]] = [Future(), Future()]
        with writer._lock:
            writer._line.frames.append((incoming(b"b", b"two"), futures[0]))
            writer._line.frames.append((Inside(bad), futures[1]))
        writer._wake()
        for future in futures:
            with pytest.raises(StoreError):
                future.result(10)
        with pytest.raises(StoreError):
            accept(writer, incoming(b"c", b"three"))
        assert writer.failed is not None
    with hold_writer(made, keyring) as writer:  # what was promised is there; what was not is not
        assert [row.seq for row in rows(writer)] == [kept.seq]


async def held(writer: Writer, count: int) -> list[asyncio.Future[int]]:
    """Work that can wait, asked for behind a line of senders; its result is its transaction."""
    loop = asyncio.get_running_loop()
    assert not writer.crowded
    for number in range(line.BURST):
        writer.submit(incoming(b"k%d" % number, b"m%d" % number), loop.create_future())
    await writer.ask(Inside(lambda batch: None))
    assert writer.crowded
    futures: list[asyncio.Future[int]] = [loop.create_future() for _ in range(count)]
    for future in futures:
        writer.submit(Inside(lambda batch: writer.commits), future, can_wait=True)
    return futures


async def play(writer: Writer, story: Callable[[], Awaitable[None]]) -> None:
    writing = asyncio.create_task(writer.run())
    try:
        await asyncio.wait_for(story(), 30)
    finally:
        writer.close()
        await asyncio.wait_for(writing, 30)


def test_what_can_wait_does_so_while_senders_stand_in_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, keyring = make(tmp_path / "s")
    monkeypatch.setattr(line, "BURST_SECONDS", 3600.0)
    monkeypatch.setattr(line, "DEFER_MAX_SECONDS", 3600.0)

    async def story() -> None:
        futures = await held(writer, 3)
        for _ in range(20):
            await writer.ask(Inside(lambda batch: None))  # what somebody waits for goes on
        assert not any(future.done() for future in futures)
        monkeypatch.setattr(line, "DEFER_MAX_SECONDS", 0.0)  # waited long enough: one with each transaction
        writer.submit(Inside(lambda batch: None), asyncio.get_running_loop().create_future())
        found = await asyncio.gather(*futures)
        assert found == list(range(found[0], found[0] + 3))

    with open_writer(made, keyring) as writer:
        asyncio.run(play(writer, story))


def test_what_waits_is_written_when_the_line_has_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, keyring = make(tmp_path / "s")
    monkeypatch.setattr(line, "BURST_SECONDS", 1.0)
    monkeypatch.setattr(line, "DEFER_MAX_SECONDS", 3600.0)

    async def story() -> None:
        began = time.monotonic()  # before the line stands: a slow machine makes it later, never earlier
        futures = await held(writer, 3)
        await asyncio.gather(*futures)  # nobody else says anything
        assert time.monotonic() - began > 0.5

    with open_writer(made, keyring) as writer:
        asyncio.run(play(writer, story))


def test_what_can_wait_has_its_turn_however_much_else_is_asked(tmp_path: Path) -> None:
    made, keyring = make(tmp_path / "s")
    order: list[str] = []

    async def story() -> None:
        loop = asyncio.get_running_loop()
        for _ in range(line.WORKS * 5):
            writer.submit(Inside(lambda batch: order.append("asked")), loop.create_future())
        waiting = loop.create_future()
        writer.submit(Inside(lambda batch: order.append("can wait")), waiting, can_wait=True)
        await waiting

    with open_writer(made, keyring) as writer:
        asyncio.run(play(writer, story))
    assert order.index("can wait") == line.WORKS


def test_a_stop_writes_what_waits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made, keyring = make(tmp_path / "s")
    monkeypatch.setattr(line, "BURST_SECONDS", 3600.0)
    monkeypatch.setattr(line, "DEFER_MAX_SECONDS", 3600.0)
    waiting: list[asyncio.Future[int]] = []

    async def story() -> None:
        waiting.extend(await held(writer, 20))

    with open_writer(made, keyring) as writer:
        asyncio.run(play(writer, story))
    assert [future.done() and future.exception() for future in waiting] == [None] * 20


def test_what_waits_hears_of_a_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made, keyring = make(tmp_path / "s")
    monkeypatch.setattr(line, "BURST_SECONDS", 3600.0)
    monkeypatch.setattr(line, "DEFER_MAX_SECONDS", 3600.0)

    def bad(batch: Any) -> None:
        batch.entry(Draft("genesis", {"actor": "x"}))
        raise ZeroDivisionError

    async def story() -> None:
        futures = await held(writer, 3)
        with pytest.raises(StoreError):
            await writer.ask(Inside(bad))
        for future in futures:
            assert isinstance(future.exception(), StoreError)

    with open_writer(made, keyring) as writer:
        asyncio.run(play(writer, story))


def test_a_transaction_begins_no_more_work_than_a_sender_can_wait_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it puts back comes first in the next, in its order: a lane's rows must not change places."""
    made, keyring = make(tmp_path / "s")
    monkeypatch.setattr(writing, "ENTRIES", 3)
    order: list[tuple[int, int]] = []

    def work(number: int) -> Callable[[Any], None]:
        def write(batch: Any) -> None:
            batch.entry(Draft("config.change", {"actor": "umbridge", "detail": str(number)}))
            order.append((number, writer.commits))

        return write

    async def story() -> None:
        loop = asyncio.get_running_loop()
        futures = [loop.create_future() for _ in range(20)]
        for number, future in enumerate(futures):
            writer.submit(Inside(work(number)), future, can_wait=number % 2 > 0)
        await asyncio.gather(*futures)

    with open_writer(made, keyring) as writer:
        asyncio.run(play(writer, story))
    assert [number for number, _ in order if number % 2 == 0] == list(range(0, 20, 2))
    assert [number for number, _ in order if number % 2] == list(range(1, 20, 2))
    assert Counter(Counter(transaction for _, transaction in order).values()) == {3: 6, 2: 1}


def test_the_loop_hears_of_a_failure(tmp_path: Path) -> None:
    made, keyring = make(tmp_path / "s")

    def bad(batch: Any) -> None:
        batch.entry(Draft("genesis", {"actor": "x"}))
        raise ZeroDivisionError

    async def run(writer: Writer) -> list[StoreError]:
        heard: list[StoreError] = []
        writer.watch(failure=heard.append)
        writing = asyncio.create_task(writer.run())
        with pytest.raises(StoreError):
            await writer.ask(Inside(bad))
        await asyncio.wait_for(writing, 10)
        return heard

    with open_writer(made, keyring) as writer:
        (failure,) = asyncio.run(run(writer))
    assert "ZeroDivisionError" in str(failure)


def test_a_clean_stop_leaves_nothing_unanchored(tmp_path: Path) -> None:
    made, keyring = make(tmp_path / "s")
    with hold_writer(made, keyring) as writer:
        for number in range(10):
            accept(writer, incoming(b"k%d" % number, b"m%d" % number))
    with hold_writer(made, keyring) as writer:
        assert writer.ledger.unanchored == 0
        assert writer.ledger.size >= 11


def test_a_checkpoint_follows_without_a_clean_stop(tmp_path: Path) -> None:
    directory = tmp_path / "s"
    made, keyring = make(directory)
    file = directory / "umbridge.toml"
    file.write_text(file.read_text() + "checkpoint_seconds = 0.05\ncheckpoint_min_seconds = 0.0\n")
    made = config.load(file)
    with hold_writer(made, keyring) as writer:
        accept(writer, incoming(b"a", b"one"))
        until = time.monotonic() + 10
        while writer.ledger.unanchored and time.monotonic() < until:
            writer.call(Inside(lambda batch: None))
        assert writer.ledger.unanchored == 0  # nobody asked for it, and nothing was stopped


def test_only_one_process_holds_the_pen(tmp_path: Path) -> None:
    made, keyring = make(tmp_path / "s")
    with (
        hold_writer(made, keyring),
        pytest.raises(UnavailableError, match="holds the lock"),
        hold_writer(made, keyring),
    ):
        pass

"""Deadlines that pass in silence: found without a message, as of the deadline, and by the next daemon too."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from installation import Inside
from test_moves import OBS_BED, START, WARD_BED, Feed, Ward
from test_writer import make

from umbridge.errors import StoreError
from umbridge.lanes.deadlines import Deadlines
from umbridge.lanes.protocol import Silence, Task
from umbridge.lanes.queue import Deadline, LaneWork, Message
from umbridge.screening.host import Host
from umbridge.store import stays
from umbridge.store.opening import hold_writer
from umbridge.store.steps import Steps

DAY_THREE = datetime(2026, 3, 4, 5, 0, tzinfo=UTC)  # begins at midnight of the facility, UTC-5 in March


class Clock:
    """A given one, for the daemon's part and for the writer's."""

    def __init__(self) -> None:
        self.now = START + timedelta(hours=1)

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def ward(tmp_path_factory: pytest.TempPathFactory, clock: Clock) -> Iterator[Ward]:
    directory = tmp_path_factory.mktemp("deadlines")
    made, keyring = make(directory / "s")
    with hold_writer(made, keyring) as writer:
        writer.clock.steps = Steps(clock)
        yield Ward(writer, directory, Host(call_seconds=60.0))


def look(ward: Ward, clock: Clock) -> int:
    """One look at the clock, and what comes of it worked."""
    assert ward.pipeline is not None
    found: int = ward.on_loop(Deadlines(ward.writer, ward.pipeline, clock).look())
    ward.idle()
    return found


def looks(ward: Ward, clock: Clock) -> None:
    """Looks until nothing is overdue: one at each of a stay's moments that have passed."""
    while look(ward, clock):
        pass


def opened(ward: Ward) -> list[tuple[str, str]]:
    return [(kind, state) for _, kind, state in ward.reviews()]


def test_a_due_day_opens_its_review_though_nothing_is_said(ward: Ward, clock: Clock) -> None:
    feed = Feed()
    ward.work(feed.adt("A01", 0, "111", "V1", place=WARD_BED))
    ward.begin()
    assert opened(ward) == [("ADMISSION", "open")]
    clock.now = DAY_THREE - timedelta(microseconds=1)
    looks(ward, clock)
    assert opened(ward) == [("ADMISSION", "open")]
    clock.now = DAY_THREE + timedelta(hours=7)
    assert look(ward, clock) == 1
    assert opened(ward) == [("ADMISSION", "open"), ("CONTINUED_STAY", "open")]
    (stay,) = ward.stays(DAY_THREE)
    assert "CONTINUED_STAY" in stay["open_reviews"]
    assert look(ward, clock) == 0  # once
    assert opened(ward) == [("ADMISSION", "open"), ("CONTINUED_STAY", "open")]
    ward.end()


def test_a_daemon_that_was_away_finds_it_at_its_start(ward: Ward, clock: Clock) -> None:
    feed = Feed()
    ward.work(feed.adt("A01", 0, "111", "V1", place=WARD_BED))
    clock.now = DAY_THREE + timedelta(days=5)
    ward.begin()
    looks(ward, clock)
    assert opened(ward) == [("ADMISSION", "open"), ("CONTINUED_STAY", "open")]

    def as_of(batch: object) -> datetime:
        (lane,) = stays.lanes(batch.cursor)  # type: ignore[attr-defined]
        saved = stays.load(batch.cursor, batch.keyring, lane)  # type: ignore[attr-defined]
        assert saved is not None
        return saved.said.as_of

    assert ward.writer.call(Inside(as_of)) == DAY_THREE  # as one that was there would have found it
    ward.end()


def test_a_message_that_comes_first_has_seen_to_it(ward: Ward, clock: Clock) -> None:
    feed = Feed()
    ward.work(feed.adt("A01", 0, "111", "V1", place=WARD_BED))
    clock.now = DAY_THREE + timedelta(hours=9)
    ward.work(feed.pulse(50, "111", "V1", 90))
    assert opened(ward) == [("ADMISSION", "open"), ("CONTINUED_STAY", "open")]
    ward.begin()
    assert look(ward, clock) == 0
    ward.end()


@pytest.mark.parametrize("work", [Message(1, None), Deadline(DAY_THREE)])
def test_the_log_says_only_what_is_written(
    ward: Ward, clock: Clock, caplog: pytest.LogCaptureFixture, work: LaneWork
) -> None:
    """Where the store has failed, a full disk, a row is pending still and nobody has set it aside."""
    feed = Feed()
    ward.work(feed.adt("A01", 0, "111", "V1", place=WARD_BED))
    ward.begin()
    assert ward.pipeline is not None
    for table in ("inbox", "lane_due"):
        ward.writer.call(Inside(lambda batch, name=table: batch.cursor.execute(f"DROP TABLE {name}")))
    with pytest.raises((StoreError, sqlite3.OperationalError)):
        ward.on_loop(ward.pipeline._give_up(b"lane", work, "work_failed:ZZ"))
    assert [record.message for record in caplog.records if record.name == "umbridge.lanes.pipeline"] == []


def test_a_stay_that_does_not_open_holds_up_no_other(
    ward: Ward, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    """It used to end a task that works the lanes, without a word; with each one a task fewer."""
    feed = Feed()
    ward.work(*(feed.adt("A01", 0, f"{n}11", f"V{n}", place=WARD_BED) for n in range(6)))
    ward.writer.call(
        Inside(lambda batch: batch.cursor.execute("UPDATE stay_head SET sealed = zeroblob(99) WHERE seq < 6"))
    )
    clock.now = DAY_THREE + timedelta(hours=1)
    ward.begin()
    assert look(ward, clock) == 6
    looks(ward, clock)
    assert [kind for kind, _ in opened(ward)].count("CONTINUED_STAY") == 1
    assert [record.message for record in caplog.records] == ["deadline_failed"] * 5
    assert look(ward, clock) == 0
    ward.end()


def test_an_exception_stands_though_nothing_is_said(ward: Ward, clock: Clock) -> None:
    """An inpatient of whom no order has come within twelve hours; the second midnight of who is none."""
    feed = Feed()
    ward.work(feed.adt("A01", 0, "111", "V1", place=WARD_BED))
    ward.begin()
    clock.now = START + timedelta(hours=12)
    assert look(ward, clock) == 1  # the moment of the admission's review
    assert look(ward, clock) == 0
    clock.now += timedelta(minutes=1)
    assert look(ward, clock) == 1
    assert look(ward, clock) == 0  # once
    (stay,) = ward.stays(DAY_THREE)
    assert stay["exceptions"] == ["INPATIENT_ORDER_MISSING"]
    assert opened(ward) == [("ADMISSION", "open")]  # nothing is judged again for it
    ward.end()


def test_who_left_waits_for_nothing(ward: Ward, clock: Clock) -> None:
    feed = Feed()
    ward.work(feed.adt("A01", 0, "111", "V1", place=WARD_BED), feed.adt("A03", 5, "111", "V1"))
    clock.now = DAY_THREE + timedelta(days=9)
    ward.begin()
    assert look(ward, clock) == 0
    ward.end()


def test_history_that_is_loaded_is_worked_from_a_day_back_on(ward: Ward, clock: Clock) -> None:
    """Not one moment after the other of 250 days; and the patient is here, so that the next ones come."""
    clock.now = START + timedelta(days=250)
    feed = Feed()
    ward.work(feed.adt("A01", 0, "111", "V1", place=WARD_BED), feed.adt("A04", 0, "111", "V2", place=OBS_BED))
    ward.begin()
    made = 0
    while found := look(ward, clock):
        made += found
    assert 2 <= made <= 8
    assert sorted(kind for kind, state in opened(ward) if state == "open").count("CONTINUED_STAY") == 1
    assert look(ward, clock) == 0
    ward.end()


def test_a_moment_that_was_long_past_keeps_no_later_one_from_coming(ward: Ward, clock: Clock) -> None:
    """A feed was connected late, or a queue let go: its stays are quiet, and their days still come."""
    clock.now = DAY_THREE - timedelta(hours=2)  # the moment of the admission's review is more than a day back
    feed = Feed()
    ward.work(feed.adt("A01", 0, "111", "V1", place=WARD_BED))
    ward.begin()
    looks(ward, clock)
    assert opened(ward) == [("ADMISSION", "open")]
    (stay,) = ward.stays(clock.now)
    assert stay["exceptions"] == ["INPATIENT_ORDER_MISSING"]
    clock.now = DAY_THREE + timedelta(minutes=1)
    looks(ward, clock)
    assert opened(ward) == [("ADMISSION", "open"), ("CONTINUED_STAY", "open")]
    ward.end()


def test_a_look_that_fails_is_not_tried_for_ever_and_the_next_message_sees_to_it(
    ward: Ward, clock: Clock
) -> None:
    feed = Feed()
    ward.work(feed.adt("A01", 0, "111", "V1", place=WARD_BED))
    clock.now = DAY_THREE + timedelta(hours=1)

    def fails(task: Task) -> bool:
        return isinstance(task.purpose, Silence)

    ward.one_worker.fails = fails
    ward.begin()
    assert look(ward, clock) == 1
    assert look(ward, clock) == 0
    assert ward.states() == {1: "NOT_APPLICABLE"}  # the message it goes by is as it was
    ward.send(feed.pulse(50, "111", "V1", 90))
    ward.idle()
    assert opened(ward) == [("ADMISSION", "open"), ("CONTINUED_STAY", "open")]
    ward.end()

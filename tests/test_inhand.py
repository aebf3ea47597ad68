"""Why a process died with a row in hand: what its record says, and what the next start makes of it."""

from __future__ import annotations

import errno
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from installation import Inside
from sqlalchemy import create_engine
from sqlalchemy.exc import SQLAlchemyError
from test_moves import Ward
from test_receive import frame
from test_writer import make, rows

from umbridge.errors import StoreError
from umbridge.lanes.commands import RecordWork
from umbridge.lanes.pipeline import STRIKES
from umbridge.screening.host import Host
from umbridge.store import inhand
from umbridge.store.inhand import NAME, SIZE, Death, InHand, is_ground, last
from umbridge.store.opening import CLEAN, MOST_DEATHS, RUN, Start, hold_writer, note_start, note_stop
from umbridge.store.writer import Writer

RUN_ID = "00ff" * 8


# --- the record -----------------------------------------------------------------------------------------


@pytest.fixture
def kept(tmp_path: Path) -> InHand:
    return InHand.keep(tmp_path, RUN_ID)


def test_a_death_is_the_rows_the_disks_or_the_ends(kept: InHand, tmp_path: Path) -> None:
    seen: list[Death | None] = [last(tmp_path)]
    kept.take(7)
    seen.append(last(tmp_path))
    kept.at_disk(lambda: seen.append(last(tmp_path)))
    seen.append(last(tmp_path))
    kept.ending()
    seen.append(last(tmp_path))
    kept.release()
    seen.append(last(tmp_path))
    row, disk, end = (Death(RUN_ID, 7, cause) for cause in ("row", "disk", "ending"))
    assert seen == [None, row, disk, row, end, None]


def test_a_row_that_is_taken_while_the_disk_is_waited_for_is_not_to_blame(
    kept: InHand, tmp_path: Path
) -> None:
    kept.at_disk(lambda: kept.take(7))
    assert last(tmp_path) == Death(RUN_ID, 7, "row")
    kept.release()

    def taken() -> Death | None:
        kept.take(8)
        return last(tmp_path)

    assert kept.at_disk(taken) == Death(RUN_ID, 8, "disk")


def test_without_a_row_in_hand_the_page_is_not_touched(kept: InHand, tmp_path: Path) -> None:
    """On a disk that has gone read-only each touch may be a bus error: the daemon is to end in order."""
    before = (tmp_path / NAME).read_bytes()
    seen = kept.at_disk((tmp_path / NAME).read_bytes)
    kept.failed(OSError(errno.EROFS, "Read-only file system"))
    kept.ending()
    assert seen == before == (tmp_path / NAME).read_bytes()


def test_a_write_that_raises_at_the_disk_is_the_disks(kept: InHand, tmp_path: Path) -> None:
    kept.take(7)
    with pytest.raises(ZeroDivisionError):
        kept.at_disk(lambda: 1 // 0)
    assert last(tmp_path) == Death(RUN_ID, 7, "disk")


def test_the_machine_that_went_down_says_nothing_of_a_row(
    kept: InHand, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept.take(7)
    monkeypatch.setattr(inhand, "BOOT", tmp_path / "boot")
    assert last(tmp_path) is None  # one that does not say which start it is, after one that did
    (tmp_path / "boot").write_text("another\n")
    assert last(tmp_path) is None
    again = InHand.keep(tmp_path, RUN_ID)
    again.take(8)
    assert last(tmp_path) == Death(RUN_ID, 8, "row")


def test_a_new_record_takes_the_last_ones_place(kept: InHand, tmp_path: Path) -> None:
    kept.take(7)
    kept.ending()
    InHand.keep(tmp_path, "11" * 16).take(9)
    assert last(tmp_path) == Death("11" * 16, 9, "row")
    assert (tmp_path / NAME).stat().st_mode & 0o777 == 0o600


@given(st.binary(max_size=2 * SIZE))
def test_a_damaged_record_is_none(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    store = tmp_path_factory.mktemp("s")
    (store / NAME).write_bytes(data)
    assert last(store) is None
    InHand.keep(store, RUN_ID).take(3)
    assert last(store) == Death(RUN_ID, 3, "row")


def test_a_record_that_cannot_be_kept_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / NAME).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(StoreError, match=r"in-hand: cannot be kept \(ELOOP\); see to room"):
        InHand.keep(tmp_path, RUN_ID)


def full(raw: sqlite3.Connection) -> None:
    raw.execute("PRAGMA max_page_count = 3")
    raw.execute("INSERT INTO zz VALUES (zeroblob(100000))")


def readonly(raw: sqlite3.Connection) -> None:
    raw.execute("PRAGMA query_only = ON")
    raw.execute("INSERT INTO zz VALUES (1)")


@pytest.mark.parametrize(
    ("fails", "ground"),
    [
        (full, True),
        (readonly, True),
        (lambda raw: raw.execute("INSERT INTO zz VALUES (NULL)"), False),
        (lambda raw: raw.execute("INSERT INTO zz VALUES (zeroblob(2000000000))"), False),
        (lambda raw: raw.execute("INSERT INTO nowhere VALUES (1)"), False),
        (lambda raw: raw.execute("INSERT INTO zz VALUES (?)", (object(),)), False),
        (lambda raw: (Path("/proc/nowhere")).read_bytes(), True),
        (lambda raw: bytes(-1), False),
    ],
)
def test_which_failures_of_a_write_are_the_grounds(
    tmp_path: Path, fails: Callable[[sqlite3.Connection], Any], ground: bool
) -> None:
    raw = sqlite3.connect(tmp_path / "zz.db", isolation_level=None)
    raw.execute("CREATE TABLE zz(a NOT NULL)")
    with pytest.raises(Exception) as found:
        fails(raw)
    assert is_ground(found.value) is ground
    raw.close()


def test_the_toolkits_wrapping_hides_nothing(tmp_path: Path) -> None:
    with create_engine(f"sqlite:///{tmp_path / 'zz.db'}").connect() as made:
        made.exec_driver_sql("CREATE TABLE zz(a NOT NULL)")
        made.exec_driver_sql("PRAGMA query_only = ON")
        with pytest.raises(SQLAlchemyError) as found:
            made.exec_driver_sql("INSERT INTO zz VALUES (1)")
    assert is_ground(found.value)


# --- what the next start makes of it ----------------------------------------------------------------------


@pytest.fixture
def struck(tmp_path: Path) -> Iterator[tuple[Writer, Callable[[], int]]]:
    """A store with one pending row, and how many strikes it has."""
    made, keyring = make(tmp_path / "s")
    with hold_writer(made, keyring) as writer:
        Ward(writer, tmp_path, Host(call_seconds=60.0)).send(frame())

        def strikes() -> int:
            with writer.reading() as reader:
                return sum(each.strikes for each in reader.struck())

        yield writer, strikes


def start(writer: Writer, cause: Any, row: int = 1, *, run: str | None = None) -> bool:
    """A start after a process died so. Returns whether its death was judged."""
    with writer.reading() as reader:
        before = reader.note(RUN)
    death = None if cause is None else Death(before or "" if run is None else run, row, cause)
    return writer.call(Start(f"{writer.commits:032x}", death)).death is not None


def test_only_a_death_of_the_row_is_a_strike(struck: tuple[Writer, Callable[[], int]]) -> None:
    writer, strikes = struck
    start(writer, None)
    told = [("row", 1), ("disk", 1), ("ending", 1), ("row", 2), (None, 2)]
    assert [(cause, start(writer, cause) and strikes()) for cause, _ in told] == [
        (cause, cause is not None and count) for cause, count in told
    ]


def test_a_death_is_judged_once_and_only_beside_its_own_store(
    struck: tuple[Writer, Callable[[], int]],
) -> None:
    writer, strikes = struck
    start(writer, None)
    with writer.reading() as reader:
        run = reader.note(RUN)
    assert run is not None
    assert start(writer, "row", run=run)
    assert not start(writer, "row", run=run)  # that start was cut short before it began a record of its own
    assert not start(writer, "row", run="ab" * 16)  # a record left beside a store that was restored
    assert strikes() == 1


def test_a_clean_stop_leaves_no_death_behind(struck: tuple[Writer, Callable[[], int]]) -> None:
    writer, strikes = struck
    start(writer, None)
    note_stop(writer)
    assert not start(writer, "row")
    assert strikes() == 0


def test_a_row_that_is_no_more_takes_no_strike(struck: tuple[Writer, Callable[[], int]]) -> None:
    writer, strikes = struck
    start(writer, None)
    assert start(writer, "row", row=99)
    assert strikes() == 0


def test_deaths_in_succession_are_the_rows_at_last_whatever_the_disk_did(
    struck: tuple[Writer, Callable[[], int]],
) -> None:
    """Nothing may end the daemon for ever."""
    writer, strikes = struck
    start(writer, None)
    for _ in range(MOST_DEATHS - 1):
        start(writer, "disk")
    assert strikes() == 0
    start(writer, "disk", row=99)  # another row: it begins anew
    for _ in range(MOST_DEATHS - 1):
        start(writer, "disk")
    assert strikes() == 0
    start(writer, None)  # one that died with nothing in hand speaks for no row, and against none
    start(writer, "disk")
    assert strikes() == 1


# --- with the pipeline --------------------------------------------------------------------------------------


class DeadError(Exception):
    """Stands for the end of the process: the record stays as it is at that moment."""


Plant = Callable[[pytest.MonkeyPatch], None]
apply, at_disk = RecordWork.apply, InHand.at_disk


def as_the_row_is_written(m: pytest.MonkeyPatch) -> None:
    def dying(self: RecordWork, tx: Any) -> Any:
        done = apply(self, tx)
        if self.seq == 1:
            raise DeadError
        return done

    m.setattr(RecordWork, "apply", dying)


def while_the_row_is_committed(m: pytest.MonkeyPatch) -> None:
    armed = []

    def arming(self: RecordWork, tx: Any) -> Any:
        armed.extend([1] * (self.seq == 1))
        return apply(self, tx)

    def dying(self: InHand, work: Callable[[], Any]) -> Any:
        return at_disk(self, (lambda: throw(DeadError())) if armed else work)

    m.setattr(RecordWork, "apply", arming)
    m.setattr(InHand, "at_disk", dying)


def as_the_disk_is_full(m: pytest.MonkeyPatch) -> None:
    def failing(self: RecordWork, tx: Any) -> Any:
        apply(self, tx)
        raise OSError(errno.ENOSPC, "No space left on device")

    m.setattr(RecordWork, "apply", failing)


def unmarked(m: pytest.MonkeyPatch) -> None:
    """The planted bug: the same deaths, and nothing says that the disk was being written."""
    while_the_row_is_committed(m)
    dying = InHand.at_disk

    def forgetting(self: InHand, work: Callable[[], Any]) -> Any:
        return dying(InHand(), work)

    m.setattr(InHand, "at_disk", forgetting)


def throw(exc: Exception) -> None:
    raise exc


@pytest.mark.parametrize(
    ("plant", "state"),
    [
        (while_the_row_is_committed, "NOT_APPLICABLE"),
        (as_the_disk_is_full, "NOT_APPLICABLE"),
        (as_the_row_is_written, "QUARANTINED process_death"),
        (unmarked, "QUARANTINED process_death"),
    ],
)
def test_a_row_waits_for_a_person_only_if_daemons_died_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, plant: Plant, state: str
) -> None:
    made, keyring = make(tmp_path / "s")
    with hold_writer(made, keyring) as writer:
        Ward(writer, tmp_path, Host(call_seconds=60.0)).send(frame(), frame(id="ZZ2", visit="ZZV2"))
        writer.call(Inside(lambda batch: batch.put_note(CLEAN, "no")))
    for _ in range(STRIKES):
        with hold_writer(made, keyring) as writer, monkeypatch.context() as planted:
            assert not note_start(writer).clean
            plant(planted)
            Ward(writer, tmp_path, Host(call_seconds=60.0)).begin(suspect=True)
            writer.join()
    with hold_writer(made, keyring) as writer:
        note_start(writer)
        ward = Ward(writer, tmp_path, Host(call_seconds=60.0))
        ward.begin(suspect=True)
        ward.idle()
        ward.end()
        found = [f"{row.state} {row.reason}".removesuffix(" no_review_open") for row in rows(writer)]
    assert found == [state, "NOT_APPLICABLE"]

"""Searches against walking every row; who may search by what; the access entry; the plan at size."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from installation import Inside, Installation
from test_receive import frame, receive
from test_writer import accept, incoming, make, rows
from umbridge_audit.keys import Keyring

from umbridge.errors import NotPermittedError
from umbridge.model import RowState
from umbridge.run.daemon import answering
from umbridge.settings.config import FeedSettings, Settings
from umbridge.store import engine, inbox, line, patient_index, search, upkeep
from umbridge.store.batch import WORKED, iso
from umbridge.store.commands import SortTokens, WriteEntries
from umbridge.store.engine import DATABASE
from umbridge.store.memory import Memory
from umbridge.store.opening import hold_writer, open_keys
from umbridge.store.writer import Writer

START = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
FEEDS = ("ehr", "lab", "adt")
STATES = (RowState.PENDING, RowState.IGNORED, RowState.REFUSED)


def test_searches_find_what_a_walk_finds(tmp_path: Path) -> None:
    made, keyring = make(tmp_path / "s")
    known = []
    with hold_writer(made, keyring) as writer:
        for n in range(120):
            row = {
                "feed": FEEDS[n % 3],
                "state": STATES[n % 7 % 3],
                # the clock goes back now and then
                "received_at": START + timedelta(minutes=n - (25 if n % 40 == 0 else 0)),
                "found_by": (
                    search.patient(keyring, f"ZZM{n % 5}", "UMBH"),
                    search.patient(keyring, f"ZZM{n % 5}", "UMBH"),  # twice in one message
                    search.control(keyring, f"ZZC{n % 50}"),
                ),
                "visit_token": keyring.token("visit", f"ZZV{n % 9}"),
            }
            data = b"ZZ%d" % n
            writer.call(Inside(lambda batch, data=data, row=row: batch.accept(incoming(data, data, **row))))
            known.append((n + 1, n, row))
        finder = search.Finder(made.store / DATABASE)

        @given(
            st.none() | st.integers(0, 6),
            st.none() | st.integers(0, 60),
            st.none() | st.integers(0, 10),
            st.none() | st.integers(-10, 130),
            st.none() | st.integers(-10, 130),
            st.sampled_from(("", *FEEDS, "none")),
            st.sampled_from(("", *(state.value for state in STATES))),
            st.integers(0, 130),
            st.integers(1, 200),
        )
        @example(None, None, None, None, 5, "", "", 0, 200)  # the ends of a span: the first is in it
        @example(None, None, None, 5, None, "", "", 0, 200)  # and the last is not
        @settings(max_examples=150, deadline=None)
        def check(
            mrn: int | None,
            control: int | None,
            visit: int | None,
            since: int | None,
            until: int | None,
            feed: str,
            state: str,
            after: int,
            limit: int,
        ) -> None:
            moments = [None if m is None else START + timedelta(minutes=m) for m in (since, until)]
            tokens = []
            if mrn is not None:
                tokens.append(search.patient(keyring, f"ZZM{mrn}", "UMBH"))
            if control is not None:
                tokens.append(search.control(keyring, f"ZZC{control}"))
            wanted = search.Criteria(
                tuple(tokens),
                None if visit is None else keyring.token("visit", f"ZZV{visit}"),
                since=iso(moments[0]) if moments[0] else "",
                until=iso(moments[1]) if moments[1] else "",
                feed=feed,
                state=state,
                after=after,
            )
            walked = [
                seq
                for seq, n, row in known
                if seq > after
                and (mrn is None or n % 5 == mrn)
                and (control is None or n % 50 == control)
                and (visit is None or n % 9 == visit)
                and (moments[0] is None or row["received_at"] >= moments[0])
                and (moments[1] is None or row["received_at"] < moments[1])
                and feed in ("", row["feed"])
                and state in ("", row["state"].value)
            ]
            assert finder.numbers(wanted, limit) == walked[:limit]
            assert [record[0] for record in finder.records(wanted)] == walked

        check()
        finder.close()


def test_a_long_answer_comes_in_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search, "CHUNK", 7)
    made, keyring = make(tmp_path / "s")
    with hold_writer(made, keyring) as writer:
        for n in range(40):
            data = b"ZZ%d" % n
            writer.call(Inside(lambda batch, data=data: batch.accept(incoming(data, data))))
        finder = search.Finder(made.store / DATABASE)
        assert [r[0] for r in finder.records(search.Criteria(feed="main"))] == list(range(1, 41))
        finder.close()


def test_numbers_of_a_message_lead_to_it_and_are_not_in_the_file(tmp_path: Path) -> None:
    made, keyring = make(tmp_path / "s")
    with hold_writer(made, keyring) as writer:
        receive(writer, tmp_path, frame(id="ZZCANARYCONTROL").replace(b"ZZM1", b"ZZCANARYMRN"))
        finder = search.Finder(made.store / DATABASE)
        for token in (
            search.patient(keyring, "ZZCANARYMRN", "UMBH"),
            search.control(keyring, "ZZCANARYCONTROL"),
        ):
            assert finder.numbers(search.Criteria((token,))) == [1]
        assert finder.numbers(search.Criteria((search.patient(keyring, "ZZCANARYMRN", "OTHER"),))) == []
        finder.close()
    data = b"".join(path.read_bytes() for path in made.store.iterdir() if path.is_file())
    assert b"ZZCANARY" not in data


def test_test_messages_never_meet_a_real_stay(tmp_path: Path) -> None:
    """MSH-11 T and D (HL7 table 0103): another lane, so that none is folded into a patient's stay."""
    made, keyring = make(tmp_path / "s")
    feed = FeedSettings(port=0, processing_ids=("P", "T", "D"))
    with hold_writer(made, keyring) as writer:
        receive(writer, tmp_path, *(frame(id=f"ZZ{p}", pid=p) for p in "PTD"), frame(id="ZZ4"), feed=feed)
        lanes = [row.lane for row in rows(writer)]
        assert [row.state for row in rows(writer)] == ["PENDING"] * 4
    assert lanes[0] == lanes[3]
    assert len(set(lanes)) == 3


PLANS = {
    "feed and state": search.Criteria(feed="lab", state="REFUSED"),
    "time": search.Criteria(since="2026-03-02T00:00:00.000Z", until="2026-03-03T00:00:00.000Z"),
    "a patient": search.Criteria((b"t" * 32,)),
    "a patient and a control id": search.Criteria((b"t" * 32, b"u" * 32), state="IGNORED"),
    "a patient in two spellings": search.Criteria(any_of=(b"t" * 32, b"u" * 32)),
    "a visit": search.Criteria(lane=b"l" * 32, since="2026-03-02T00:00:00.000Z"),
}


@pytest.mark.parametrize("name", PLANS)
def test_no_search_walks_the_frames(tmp_path: Path, name: str) -> None:
    """Rows carry sealed frames: at a million of them a walk reads gigabytes, an index some megabytes."""
    made, _ = make(tmp_path / "s")
    finder = search.Finder(made.store / DATABASE)
    asked: list[str] = []
    finder._raw.set_trace_callback(asked.append)
    finder.numbers(PLANS[name])
    finder._raw.set_trace_callback(None)
    plan = [row[3] for row in finder._raw.execute("EXPLAIN QUERY PLAN " + asked[-1])]
    finder.close()
    assert not [step for step in plan if step.startswith("SCAN inbox") and "COVERING INDEX" not in step], plan


# --- the rows of a lane, wherever they stand ------------------------------------------------------------

LANES = (b"\x01" * 16, b"\x02" * 16, b"\x03" * 16)
AFTER_ALL = 2**60
# lane, what it is when it comes, what becomes of it, whether another table says who takes it in
MESSAGES = st.lists(
    st.tuples(
        st.sampled_from((None, *LANES)),
        st.sampled_from(RowState),
        st.sampled_from(RowState),
        st.integers(0, 4).map(lambda n: n == 0),
    ),
    max_size=30,
)


@contextmanager
def empty_store() -> Iterator[tuple[sqlite3.Cursor, Path]]:
    """The daemon's tables in a file, with no ledger."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / DATABASE
        with closing(sqlite3.connect(path, isolation_level=None)) as db:
            db.execute("PRAGMA synchronous=OFF")  # what is asked here is no matter of a disk
            engine.create_tables(db)
            yield db.cursor(), path


def walked(cursor: sqlite3.Cursor, lane: bytes) -> tuple[list[int], list[int]]:
    """The rows of a lane, and those of them that it takes in by themselves: every row looked at."""
    shared = {seq for (seq,) in cursor.execute("SELECT seq FROM lane_row")}
    its = [row for row in cursor.execute("SELECT seq, lane, state FROM inbox ORDER BY seq") if row[1] == lane]
    taken_in = [row[0] for row in its if row[2] in ("PENDING", *WORKED) and row[0] not in shared]
    return [row[0] for row in its], taken_in


@given(MESSAGES, st.integers(0, 30), st.integers(0, 30))
@settings(max_examples=60, deadline=None)
def test_the_rows_of_a_lane_are_those_that_a_walk_finds(
    messages: list[tuple[bytes | None, RowState, RowState, bool]], after: int, until: int
) -> None:
    """Whether they wait or are worked, and after two lanes have become one."""
    with empty_store() as (cursor, path):
        for seq, (lane, first, _, elsewhere) in enumerate(messages, start=1):
            known = (b"key%d" % seq, b"digest", b"content", 0, lane, b"sealed", first.value)
            inbox.insert(cursor, [(seq, "zz", *known, "AA", None, None, "", iso(START), seq)])
            if elsewhere:
                patient_index.give(cursor, b"\x04" * 16, seq, [0])
        for change in ("as they came", "worked", "joined"):
            if change == "worked":
                inbox.finish(cursor, [(m[2].value, "", seq) for seq, m in enumerate(messages, start=1)])
            elif change == "joined":
                patient_index.join(cursor, LANES[0], LANES[1])
            finder = search.Finder(path)
            for lane in LANES:
                all_of_it, taken_in = walked(cursor, lane)
                assert finder.numbers(search.Criteria(lane=lane)) == all_of_it, change
                places = inbox.lane_places(cursor, lane, until, after=after)
                assert [seq for seq, _, _ in places] == [n for n in taken_in if after < n <= until], change
            finder.close()
        assert walked(cursor, LANES[0]) == ([], [])


def test_who_asks_for_a_lane_reads_no_frame_of_another(tmp_path: Path) -> None:
    """A hundred thousand rows may wait; what is read of them is the index that they stand in."""
    made, _ = make(tmp_path / "s")
    with closing(sqlite3.connect(made.store / DATABASE)) as db:
        asked: list[str] = []
        db.set_trace_callback(asked.append)
        inbox.lane_places(db.cursor(), LANES[0], AFTER_ALL)
        inbox.pending(db.cursor(), 0, 10)
        patient_index.join(db.cursor(), LANES[0], LANES[1])
        db.set_trace_callback(None)
        of_rows = [each for each in asked if "inbox" in each and not each.startswith("BEGIN")]
        assert len(of_rows) == 3
        for each in of_rows:
            plan = [row[3] for row in db.execute("EXPLAIN QUERY PLAN " + each)]
            walks = [step for step in plan if step.startswith("SCAN")]
            assert all("USING COVERING INDEX inbox_pending" in step for step in walks), plan


# --- tokens that are put in order later -----------------------------------------------------------------


def by_patient(keyring: Keyring, made: Settings, *numbers: str) -> list[list[int]]:
    with closing(search.Finder(made.store / DATABASE)) as finder:
        return [
            finder.numbers(search.Criteria((search.patient(keyring, number, "UMBH"),))) for number in numbers
        ]


def found_by(keyring: Keyring, *numbers: str) -> tuple[bytes, ...]:
    return tuple(search.patient(keyring, number, "UMBH") for number in numbers)


def test_a_message_is_found_the_moment_it_is_answered_and_once_its_tokens_are_moved(tmp_path: Path) -> None:
    made, keyring = make(tmp_path / "s")
    with hold_writer(made, keyring) as writer:
        accept(writer, incoming(b"a", b"one", found_by=found_by(keyring, "ZZ1", "ZZ2", "ZZ1")))
        accept(writer, incoming(b"b", b"two", found_by=found_by(keyring, "ZZ2")))
        accept(writer, incoming(b"c", b"three"))
        assert by_patient(keyring, made, "ZZ1", "ZZ2", "ZZ3") == [[1], [1, 2], []]
        assert writer.call(SortTokens(most=1)) == 1  # in the middle of it
        assert by_patient(keyring, made, "ZZ1", "ZZ2", "ZZ3") == [[1], [1, 2], []]
        assert writer.call(SortTokens(most=100)) == 1
        assert writer.call(SortTokens(most=100)) == 0
        assert by_patient(keyring, made, "ZZ1", "ZZ2", "ZZ3") == [[1], [1, 2], []]


def test_the_writer_moves_them_by_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upkeep, "QUIET_SECONDS", 0.0)
    made, keyring = make(tmp_path / "s")
    with hold_writer(made, keyring) as writer:
        accept(writer, incoming(b"a", b"one", found_by=found_by(keyring, "ZZ1")))
        while waiting(made):
            writer.call(WriteEntries(drafts=()))  # its loop goes round
        assert by_patient(keyring, made, "ZZ1") == [[1]]


@pytest.mark.parametrize("most", [upkeep.SORT, 1], ids=["while senders stand in line", "too many of them"])
def test_while_senders_stand_in_line_they_wait_unless_there_are_too_many(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, most: int
) -> None:
    monkeypatch.setattr(line, "BURST_SECONDS", 3600.0)
    monkeypatch.setattr(upkeep, "QUIET_SECONDS", 0.0)
    monkeypatch.setattr(upkeep, "SORT", 1)
    monkeypatch.setattr(upkeep, "MOST_UNSORTED", most + line.BURST)
    made, keyring = make(tmp_path / "s")
    with hold_writer(made, keyring) as writer:
        monkeypatch.setattr(writer._memory, "unsorted", 0)
        for number in range(line.BURST + 1):
            accept(writer, incoming(b"k%d" % number, b"%d" % number))
        assert writer.crowded
        for number in range(3):
            item = incoming(b"z%d" % number, b"zz%d" % number, found_by=found_by(keyring, f"ZZ{number}"))
            accept(writer, item)
        assert writer._memory.unsorted == waiting(made) == 3
        if most == 1:
            monkeypatch.setattr(upkeep, "MOST_UNSORTED", 1)
            while waiting(made):
                writer.call(WriteEntries(drafts=()))
        assert by_patient(keyring, made, "ZZ0", "ZZ1", "ZZ2") == [[47], [48], [49]]


def waiting(made: Settings) -> int:
    with closing(sqlite3.connect(made.store / DATABASE)) as db:
        return int(db.execute("SELECT count(*) FROM search_later").fetchone()[0])


def killed_after_the_answer(made: Settings, keyring: Keyring) -> None:
    """A process that answers a message, says so, and is killed before it has moved anything."""
    child = os.fork()
    if child == 0:
        try:
            with hold_writer(made, keyring) as writer:
                accept(writer, incoming(b"a", b"one", found_by=found_by(keyring, "ZZ1")))
                os.kill(os.getpid(), signal.SIGKILL)
        finally:
            os._exit(1)
    assert os.WIFSIGNALED(os.waitpid(child, 0)[1])


def test_killed_between_answer_and_move_nothing_is_lost(tmp_path: Path) -> None:
    made, keyring = make(tmp_path / "s")
    killed_after_the_answer(made, keyring)
    assert by_patient(keyring, made, "ZZ1") == [[1]]
    with hold_writer(made, keyring) as writer:
        assert accept(writer, incoming(b"a", b"one", found_by=found_by(keyring, "ZZ1"))).duplicate
        assert by_patient(keyring, made, "ZZ1") == [[1]]
        while waiting(made):  # a start knows what is left to do
            writer.call(WriteEntries(drafts=()))
    assert by_patient(keyring, made, "ZZ1") == [[1]]


def test_tokens_that_only_memory_holds_are_missed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The planted bug: what is left for later is not in the answer's transaction."""
    monkeypatch.setattr(search, "later", lambda cursor, rows: None)
    made, keyring = make(tmp_path / "s")
    killed_after_the_answer(made, keyring)
    assert by_patient(keyring, made, "ZZ1") == [[]]


def test_a_token_that_could_not_be_told_from_its_neighbours_is_refused(tmp_path: Path) -> None:
    made, keyring = make(tmp_path / "s")
    with closing(sqlite3.connect(made.store / DATABASE)) as db, pytest.raises(ValueError, match="token"):
        search.later(db.cursor(), [(1, (b"short",))])
    assert len(search.control(keyring, "ZZ")) == search.TOKEN


# --- by the command -------------------------------------------------------------------------------------


@pytest.fixture
def hospital(installation: Installation) -> Installation:
    made = installation.settings
    with hold_writer(made, open_keys(made)) as writer:
        _fill(writer, installation.directory)
    return installation


def _fill(writer: Writer, folder: Path) -> None:
    receive(writer, folder, frame(id="ZZ1", visit="ZZV1"), frame(id="ZZ2", visit="ZZV2"))
    receive(writer, folder, frame(id="ZZ3", visit="ZZV1", kind="SIU^S12").replace(b"ZZM1", b"ZZM3"))


def test_the_command_searches_and_the_search_is_an_access(hospital: Installation) -> None:
    hospital.roles("administrator", "ur_nurse")

    words = ("--since", "2026-03-02", "--until", "2026-03-03", "--state", "PENDING", "--limit", "1")
    assert [row["seq"] for row in hospital.rows("messages", "list", *words, "--mrn", "ZZM1")] == [1]
    with answering(hospital.settings) as ask:

        def found(**asked: object) -> list[int]:
            return [row["seq"] for row in ask("messages.list", asked)]

        assert found() == [1, 2, 3]
        assert found(mrn="ZZM1") == [1, 2]
        assert found(visit="ZZV1", state="IGNORED") == [3]
        assert found(control_id="ZZ2", feed="main") == [2]
        assert found(after=1, limit=1) == [2]
        entries = list(ask("ledger.list", {"kind": "access.search"}))
        args = {"seq": entries[2]["seq"], "purpose": "HPAYMT"}
        shown = next(iter(ask("ledger.show", args)))["slots"]
    assert (shown["query"], shown["patient"]) == ("messages list --mrn", "ZZM1")
    connection = sqlite3.connect(hospital.settings.store / DATABASE)
    told = json.dumps(connection.execute("SELECT * FROM ledger_entry").fetchall(), default=repr)
    connection.close()
    assert "ZZM1" not in told


def test_what_a_stay_shows_as_its_patient_can_be_looked_for(installation: Installation) -> None:
    site = installation.settings.site
    text = site.read_text("utf-8")
    site.write_text(
        text.replace(
            'account_authority = "UMBH"', 'account_authority = "UMBH"\nmrn_authority_aliases = ["1.2.3"]'
        )
    )
    installation.roles("administrator", "ur_nurse")
    sent = {"1": "ZZM1^^^ELSEWHERE^MR", "2": "ZZM1^^^&1.2.3&ISO^PI", "3": "ZZM1^^^UMBH^MR", "4": "ZZM1"}
    with hold_writer(installation.settings, open_keys(installation.settings)) as writer:
        for n, number in sent.items():
            one = frame(id=f"ZZ{n}", visit=f"ZZV{n}").replace(b"ZZM1^^^UMBH^MR", number.encode())
            assert number.encode() in one
            receive(writer, installation.directory, one)
    with answering(installation.settings) as ask:

        def found(mrn: str) -> list[int]:
            return [row["seq"] for row in ask("messages.list", {"mrn": mrn})]

        assert found("ZZM1^ELSEWHERE") == [1]
        assert found("ZZM1") == found("ZZM1^UMBH") == found("ZZM1^1.2.3") == [2, 3, 4]
        assert found("ZZM1^NOBODY") == []


def test_who_may_not_see_a_patient_may_not_search_for_one(hospital: Installation) -> None:
    hospital.roles("administrator")  # operations: no identifiers
    with answering(hospital.settings) as ask:
        for asked in ({"mrn": "ZZM1"}, {"visit": "ZZNOBODY"}):
            with pytest.raises(NotPermittedError, match="no role of yours may see what --"):
                list(ask("messages.list", asked))
        assert [row["seq"] for row in ask("messages.list", {"control_id": "ZZ2"})] == [2]


@pytest.mark.parametrize("words", [("--since", "yesterday"), ("--state", "LOST")])
def test_what_cannot_be_looked_for_is_said(installation: Installation, words: tuple[str, ...]) -> None:
    done = installation.run("messages", "list", *words, check=2)
    assert words[0] in done.stderr


def test_a_log_that_cannot_be_taken_back_now_is_left_for_later(tmp_path: Path) -> None:
    """The writer must not end over it: a statement still read through its connection is no failure."""
    path = tmp_path / "zz.db"
    with closing(sqlite3.connect(path, isolation_level=None)) as raw:
        raw.execute("PRAGMA journal_mode=wal")
        raw.execute("CREATE TABLE zz (n INTEGER)")
        raw.executemany("INSERT INTO zz VALUES (?)", [(n,) for n in range(100)])
        keeper = upkeep.Upkeep(path, raw, line.Line(8), Memory(0, set()))
        reading = raw.execute("SELECT n FROM zz")
        assert reading.fetchone() == (0,)
        with pytest.raises(sqlite3.DatabaseError, match="locked"):  # what it meets
            raw.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
        keeper.take_back()
        assert len(reading.fetchall()) == 99
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            keeper.take_back()
            other.execute("ROLLBACK")
        _, size, back = raw.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
        assert size == back > 0

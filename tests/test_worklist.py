"""The worklist kept beside the stays: it is what the stays come to, whatever came, and is read in pages."""

from __future__ import annotations

import re
import sqlite3
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from conftest import Installation
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from installation import Inside
from test_moves import OBS_BED, START, WARD_BED, Feed, Ward, happenings, told, told_of
from test_upgrade import kept
from test_writer import make
from umbridge_audit.seal import SealError

from umbridge.access.worklist import RemakeLines, Unreadable, Worklist, remade
from umbridge.lanes.deadlines import Deadlines
from umbridge.review.standing import InForce
from umbridge.review.waves import Verdict
from umbridge.review.worklist import WorklistLine, decoded, encoded
from umbridge.screening.host import Host
from umbridge.settings.site import DEFAULT_SITE, default_site, load_site, parse_site
from umbridge.stay.anew import reading_of
from umbridge.stay.clock import instant
from umbridge.store import worklist as stored
from umbridge.store.commands import Transaction
from umbridge.store.opening import hold_writer, open_keys
from umbridge.store.steps import Steps
from umbridge.store.worklist import Place, Wanted, payer_token, unit_token
from umbridge.store.writer import Writer
from umbridge.values.kinds import Level, Outcome, ReviewType, Status

SITE = default_site()


# -- kept with the stays -----------------------------------------------------------------------------------


class Clock:
    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture(scope="module")
def clock() -> Clock:
    return Clock()


@pytest.fixture(scope="module")
def screening(tmp_path_factory: pytest.TempPathFactory, clock: Clock) -> Iterator[Ward]:
    """A ward whose reviews are put to real plugins: their answers stand in the list."""
    directory = tmp_path_factory.mktemp("worklist")
    made, keyring = make(directory / "s")
    host = Host(call_seconds=60.0)
    host.start(["interqual_like", "two_midnight"])
    try:
        with hold_writer(made, keyring) as writer:
            writer.clock.steps = Steps(clock)
            ward = Ward(writer, directory, host)
            ward.one_worker.plugins = host.plugins
            yield ward
    finally:
        host.stop()


@pytest.fixture
def ward(screening: Ward, clock: Clock) -> Iterator[Ward]:
    clock.now = START
    screening.clear()
    yield screening
    screening.clear()


def look(ward: Ward, clock: Clock, hours: float) -> None:
    """The clock goes on, and what is due by it is looked at."""
    clock.now = max(clock.now, START + timedelta(hours=hours))
    assert ward.pipeline is not None
    ward.on_loop(Deadlines(ward.writer, ward.pipeline, clock).catch_up())
    ward.idle()


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(happenings, min_size=1, max_size=14),
    st.integers(0, 14),
    st.lists(st.integers(0, 400), min_size=2, max_size=2),
    st.randoms(use_true_random=False),
)
def test_the_kept_list_is_what_the_stays_come_to(
    ward: Ward, clock: Clock, told_now: list[tuple[Any, ...]], cut: int, hours: list[int], random: Any
) -> None:
    """Merges, moves, cancels, late events, folds made anew, deadlines, and an end in the middle."""
    feed, clock.now = Feed(), START
    frames = [told(feed, hours, what) for hours, what in enumerate(told_now)]
    random.shuffle(frames)
    ward.begin()
    ward.send(*frames[:cut])
    look(ward, clock, hours[0])
    ward.worklist()
    ward.end()
    ward.send(*frames[cut:])
    ward.begin()
    ward.idle()
    look(ward, clock, hours[1])
    ward.end()
    try:
        ward.worklist()
    finally:
        ward.clear()


@pytest.mark.parametrize(
    ("planted", "seen"),
    [
        ("DELETE FROM open_review", AssertionError),
        ("UPDATE open_review SET lane = zeroblob(32)", (AssertionError, SealError)),
        ("UPDATE open_review SET review_id = 'ZZ-1'", SealError),
    ],
)
def test_a_line_that_is_not_kept_is_seen(
    ward: Ward, planted: str, seen: type[Exception] | tuple[type[Exception], ...]
) -> None:
    """The property above must be able to fail: plant what a forgotten write would leave."""
    feed = Feed()
    ward.work(feed.adt("A01", 0, "111", "V1", place=WARD_BED))
    assert ward.worklist()
    ward.writer.call(Inside(lambda batch: batch.cursor.execute(planted) and None))
    with pytest.raises(seen):
        ward.worklist()


def test_answers_and_their_entries_stand_in_the_line(ward: Ward) -> None:
    feed = Feed()
    ward.work(feed.adt("A01", 0, "111", "V1", place=WARD_BED))
    (line,) = ward.worklist()
    assert set(line.answers) == {"interqual_like", "two_midnight"}
    before = {plugin: one.entry for plugin, one in line.answers.items()}
    ward.work(feed.pulse(2, "111", "V1", 88))
    (line,) = ward.worklist()
    assert all(line.answers[plugin].entry > entry for plugin, entry in before.items())


def test_a_review_that_opens_by_the_clock_is_there_once_its_deadline_was_worked(
    ward: Ward, clock: Clock
) -> None:
    feed = Feed()
    ward.work(feed.adt("A01", 0, "111", "V1", place=WARD_BED))
    ward.begin()
    clock.now = START + timedelta(days=3)
    assert [line.type for line in ward.worklist()] == [ReviewType.ADMISSION]  # nobody has looked yet
    look(ward, clock, 72)
    ward.end()
    assert {line.type for line in ward.worklist()} == {ReviewType.ADMISSION, ReviewType.CONTINUED_STAY}


def test_what_is_over_is_not_in_the_list(ward: Ward) -> None:
    feed = Feed()
    ward.work(feed.adt("A01", 0, "111", "V1", place=WARD_BED), feed.adt("A04", 0, "222", "V3", place=OBS_BED))
    assert len(ward.worklist()) == 2
    ward.work(feed.adt("A11", 1, "111", "V1", place=WARD_BED))  # the admission is cancelled
    assert [line.type for line in ward.worklist()] == [ReviewType.OBSERVATION]
    ward.work(feed.adt("A03", 5, "222", "V3"))
    assert ward.worklist() == []


def test_the_lines_of_a_lane_that_is_joined_go_with_it(ward: Ward) -> None:
    """Each number opened an admission review; the stay that they become has what it has ground for."""
    feed = Feed()
    ward.work(
        feed.adt("A01", 0, "111", "V1", place=WARD_BED),
        feed.adt("A01", 3, "111", "V2", place=WARD_BED),
    )
    assert len(ward.worklist()) == 2
    ward.work(feed.moved("A42", 4, ("111", "111"), ("V1", "V2")))
    assert {line.visit.partition("X")[0] for line in ward.worklist()} == {"V2"}
    with ward.writer.reading() as reader:
        assert len(reader.lanes()) == len(reader.listed_lanes()) == 1


# -- in pages ----------------------------------------------------------------------------------------------

AT = datetime(2026, 3, 2, 15, 0, tzinfo=UTC)
UNITS = ("ZZ4W", "ZZICU", None)
PAYERS = ("MEDICARE_FFS", "COMMERCIAL", "UNKNOWN")


@dataclass(frozen=True, slots=True)
class Keep:
    """Lines of some lanes, as lane work keeps them."""

    lanes: Sequence[tuple[bytes, tuple[WorklistLine, ...]]]

    def apply(self, tx: Transaction) -> None:
        for lane, lines in self.lanes:
            tx.save_open_reviews(lane, lines)


def line(number: int, due: int | None, unit: str | None = None, payer: str = PAYERS[0]) -> WorklistLine:
    return WorklistLine(
        review_id=f"ADMISSION-{number}",
        type=ReviewType.ADMISSION,
        due=None if due is None else AT + timedelta(hours=due),
        opened_at=AT,
        episode_day=1,
        requested_status=Status.INPATIENT,
        requested_level=Level.ACUTE,
        visit=f"ZZV{number}",
        mrn=f"ZZ{number}",
        unit=unit,
        payer_class=payer,
    )


def test_a_line_says_why_its_answers_wait() -> None:
    """As it comes out of the store; what binds is told, and nothing else."""
    age, own = Verdict(True, 1, ("AGE_ONLY",)), Verdict(True, 1, ("ZZ_KEPT", "AGE_ONLY"))
    meets, no = Verdict(True, 2), Verdict(None, 2, ("ADVISED_HIGHER",))
    for said, expected in (
        ((), ()),
        ((age,), ("AGE_ONLY",)),
        ((age, own), ("AGE_ONLY", "PLUGIN")),
        ((age, no), ("AGE_ONLY",)),
        ((age, meets), ()),
        ((own, meets), ("PLUGIN",)),
        ((age, Verdict(True, 2, ("INPATIENT_ORDER_MISSING",))), ("INPATIENT_ORDER_MISSING",)),
    ):
        answers = {
            f"zz{n}": InForce.of(each, entry=n, outcome=Outcome.MEETS) for n, each in enumerate(said, 1)
        }
        kept = decoded(encoded(replace(line(1, 2), answers=answers)))
        assert kept.hold == expected


@pytest.fixture(scope="module")
def writer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Writer]:
    made, keyring = make(tmp_path_factory.mktemp("pages") / "s")
    with hold_writer(made, keyring) as held:
        yield held


def place(one: WorklistLine) -> Place:
    return Place(None if one.due is None else instant(one.due), one.review_id)


def lane_of(number: int) -> bytes:
    return number.to_bytes(32, "big")


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.tuples(st.none() | st.integers(-3, 3), st.sampled_from(UNITS), st.sampled_from(PAYERS)),
        max_size=30,
    ),
    st.sampled_from(UNITS),
    st.none() | st.sampled_from(PAYERS),
    st.none() | st.integers(-3, 4),
    st.integers(1, 7),
)
def test_pages_put_together_are_the_list(
    writer: Writer,
    drawn: list[tuple[int | None, str | None, str]],
    unit: str | None,
    payer: str | None,
    before: int | None,
    limit: int,
) -> None:
    writer.call(Inside(lambda batch: batch.cursor.execute("DELETE FROM open_review") and None))
    lines = [line(number, *each) for number, each in enumerate(drawn)]
    writer.call(Keep([(lane_of(number), (one,)) for number, one in enumerate(lines)]))
    until = None if before is None else AT + timedelta(hours=before)
    expected = [
        one
        for one in sorted(lines, key=lambda one: (one.due is None, one.due or AT, one.review_id))
        if (unit is None or one.unit == unit)
        and (payer is None or one.payer_class == payer)
        and (until is None or (one.due is not None and one.due < until))
    ]
    wanted = Wanted(
        unit=None if unit is None else unit_token(writer.keyring, unit),
        payer=None if payer is None else payer_token(writer.keyring, payer),
        due_before=None if until is None else instant(until),
    )
    worklist = Worklist(writer, SITE, lambda feed: "utf-8")
    found: list[WorklistLine | Unreadable] = []
    while page := list(worklist.lines(wanted, place(found[-1]) if found else None, limit)):  # type: ignore[arg-type]
        assert len(page) <= limit
        found += page
    assert found == expected
    assert list(worklist.lines(wanted)) == expected


def test_a_page_goes_on_where_the_last_one_ended_whatever_closed_or_opened_meanwhile(writer: Writer) -> None:
    writer.call(Inside(lambda batch: batch.cursor.execute("DELETE FROM open_review") and None))
    writer.call(Keep([(lane_of(n), (line(n, n),)) for n in range(6)]))
    worklist = Worklist(writer, SITE, lambda feed: "utf-8")
    first = list(worklist.lines(Wanted(), None, 3))
    assert [one.review_id for one in first if isinstance(one, WorklistLine)] == [
        f"ADMISSION-{n}" for n in range(3)
    ]
    writer.call(Keep([(lane_of(2), ()), (lane_of(4), ()), (lane_of(9), (line(9, 7),))]))
    after = place(line(2, 2))  # whose line is gone
    second = list(worklist.lines(Wanted(), after, 3))
    assert [one.review_id for one in second if isinstance(one, WorklistLine)] == [
        "ADMISSION-3",
        "ADMISSION-5",
        "ADMISSION-9",
    ]


@pytest.mark.parametrize(
    ("wanted", "index"),
    [
        (Wanted(), "open_review_due"),
        (Wanted(due_before=1), "open_review_due"),
        (Wanted(unit=b"u"), "open_review_unit"),
        (Wanted(unit=b"u", due_before=1), "open_review_unit"),
        (Wanted(payer=b"p"), "open_review_payer"),
        (Wanted(payer=b"p", due_before=1), "open_review_payer"),
    ],
)
@pytest.mark.parametrize("after", [None, Place(5, "ADMISSION-5"), Place(None, "ADMISSION-5")])
def test_a_page_is_read_by_an_index_and_sorted_by_nothing(
    writer: Writer, wanted: Wanted, index: str, after: Place | None
) -> None:
    with sqlite3.connect(writer._path) as db:
        asked: list[str] = []
        db.set_trace_callback(asked.append)
        stored.page(db.cursor(), wanted, after, 10)
        db.set_trace_callback(None)
        plans = [[row[-1] for row in db.execute("EXPLAIN QUERY PLAN " + each)] for each in asked]
    assert plans or wanted.due_before is not None
    for (plan,) in plans:
        assert f"INDEX {index} " in plan
    db.close()


def test_only_what_changed_is_written(writer: Writer) -> None:
    """A line that is as before stays as it lies: its sealed bytes would be others."""

    @dataclass(frozen=True, slots=True)
    class Again:
        lines: tuple[WorklistLine, ...]
        before: tuple[WorklistLine, ...]

        def apply(self, tx: Transaction) -> None:
            tx.save_open_reviews(lane_of(70), self.lines, self.before)

    one, two, three = line(70, 1), line(71, 2), line(72, 3)

    def sealed() -> dict[str, bytes]:
        with writer.reading() as reader:
            return {each.place.review_id: each.sealed for each in reader.lane_lines(lane_of(70))}

    writer.call(Keep([(lane_of(70), (one, two, three))]))
    before = sealed()
    later, moved = replace(two, episode_day=2), replace(three, unit="ZZ5W")
    writer.call(Again((one, later, moved), (one, two, three)))
    after = sealed()
    assert {name for name in before if before[name] != after[name]} == {"ADMISSION-71", "ADMISSION-72"}
    with writer.reading() as reader:
        assert told_of(
            stored.open_line(writer.keyring, each) for each in reader.lane_lines(lane_of(70))
        ) == told_of([one, later, moved])
        wanted = Wanted(unit=unit_token(writer.keyring, "ZZ5W"))
        assert [each.place.review_id for each in reader.open_reviews(wanted, None, 9)] == ["ADMISSION-72"]
    writer.call(Again((), (one, later, moved)))
    assert sealed() == {}


def test_nothing_of_a_patient_lies_in_clear(writer: Writer) -> None:
    writer.call(Keep([(lane_of(80), (line(80, 1, "ZZ4W", "COMMERCIAL"),))]))
    with sqlite3.connect(writer._path) as db:
        (row,) = db.execute("SELECT * FROM open_review WHERE lane = ?", (lane_of(80),)).fetchall()
    db.close()
    lain = b"|".join(each if isinstance(each, bytes) else str(each).encode() for each in row)
    assert b"ADMISSION-80" in lain
    for word in (b"ZZV80", b"ZZ80", b"ZZ4W", b"COMMERCIAL", b"INPATIENT", b"ACUTE"):
        assert word not in lain


# -- made again --------------------------------------------------------------------------------------------


def remembered(ward: Ward) -> Worklist:
    return Worklist(ward.writer, SITE, lambda feed: "utf-8")


def test_a_list_that_is_not_whole_is_made_again_from_the_stays(ward: Ward) -> None:
    feed = Feed()
    ward.work(
        feed.adt("A01", 0, "111", "V1", place=WARD_BED),
        feed.adt("A04", 0, "222", "V3", place=OBS_BED),
        feed.merge(2, ("111", "333")),
    )
    before = told_of(ward.worklist())
    assert len(before) == len(list(remembered(ward).lines(Wanted()))) == 2
    ward.writer.call(Inside(lambda batch: batch.cursor.execute("DELETE FROM open_review") and None))
    assert list(remembered(ward).lines(Wanted())) == []  # it was whole, says the note
    ward.writer.call(Inside(lambda batch: batch.drop_note("worklist")))
    found = list(remembered(ward).lines(Wanted()))
    assert told_of(each for each in found if isinstance(each, WorklistLine)) == before
    with ward.writer.reading() as reader:
        assert reader.note("worklist") == reading_of(SITE)


def test_under_another_site_profile_it_is_made_again_from_the_messages(ward: Ward) -> None:
    """A payer's or a unit's code means another thing now; the stay's next message is not waited for."""
    feed = Feed()
    ward.work(feed.adt("A01", 0, "111", "V1", place=WARD_BED))
    list(remembered(ward).lines(Wanted()))
    hours = f"admission_review_hours = {SITE.windows.admission_review_hours + 7}"
    text = re.sub(r"(?m)^admission_review_hours = \d+", hours, DEFAULT_SITE.read_text("utf-8"))
    other = parse_site(text.encode())
    (before,) = ward.worklist()
    (after,) = Worklist(ward.writer, other, lambda feed: "utf-8").lines(Wanted())
    assert isinstance(after, WorklistLine)
    assert before.due is not None
    assert after.due == before.due + timedelta(hours=7)
    ward.writer.call(Inside(lambda batch: batch.drop_note("worklist")))


def test_a_stay_that_does_not_open_is_in_the_list_and_says_so(ward: Ward) -> None:
    feed = Feed()
    ward.work(
        feed.adt("A01", 0, "111", "V1", place=WARD_BED), feed.adt("A01", 0, "222", "V3", place=WARD_BED)
    )
    ward.writer.call(Inside(lambda batch: batch.drop_note("worklist")))
    ward.writer.call(
        Inside(
            lambda batch: (
                batch.cursor.execute(
                    "UPDATE stay_head SET sealed = zeroblob(99) WHERE seq = (SELECT min(seq) FROM stay_head)"
                )
                and None
            )
        )
    )
    first, second = remembered(ward).lines(Wanted())
    assert isinstance(first, Unreadable)
    assert isinstance(second, WorklistLine)


def test_a_stay_worked_meanwhile_is_not_overwritten(ward: Ward) -> None:
    feed = Feed()
    ward.work(feed.adt("A01", 0, "111", "V1", place=WARD_BED))
    with ward.writer.reading() as reader:
        (lane,) = reader.lanes()
        saved = reader.stay(lane)
    assert saved is not None
    old = remade(SITE, saved, lambda: iter(()))
    ward.work(feed.pulse(3, "111", "V1", 90))
    newer = told_of(ward.worklist())
    ward.writer.call(RemakeLines(lane=lane, seq=saved.seq, lines=old))
    assert told_of(ward.worklist()) == newer != told_of(old)


def test_a_daemon_makes_the_list_whole_when_it_starts(installation: Installation) -> None:
    """Nobody has asked for it yet: the first who does need not wait."""
    database = installation.settings.store / "umbridge.db"
    daemon = installation.start()
    try:
        until = time.monotonic() + 60
        made_for: list[tuple[str]] = []
        while not made_for and time.monotonic() < until:
            with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as db:
                made_for = db.execute("SELECT value FROM meta WHERE name = 'worklist'").fetchall()
        assert made_for == [(reading_of(load_site(installation.settings.site)),)]
        assert daemon.stop() == 0
    finally:
        daemon.kill()


def test_a_store_of_before_there_was_a_list_has_one_when_it_is_asked_for(tmp_path: Path) -> None:
    old = kept(3, tmp_path / "site")
    with hold_writer(old, open_keys(old)) as writer:
        found = list(Worklist(writer, load_site(old.site), lambda feed: "utf-8").lines(Wanted()))
        with writer.reading() as reader:
            stays = [reader.stay(lane) for lane in reader.waiting_lanes()]
            listed = len(reader.listed_lanes())
    assert found
    assert listed == len(stays)
    assert len(found) == sum(saved.said.waiting for saved in stays if saved is not None)

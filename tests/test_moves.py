"""Merges and moves in the daemon: its stays are those of a run over files, whenever it is ended."""

from __future__ import annotations

import asyncio
import itertools
import json
import sys
import threading
from collections.abc import Callable, Coroutine, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from installation import Inside, Installation
from test_writer import make

from umbridge.access.worklist import remade
from umbridge.dryrun.screen import Shadow
from umbridge.hl7 import er7
from umbridge.hl7.translate import translate
from umbridge.intake import delivery
from umbridge.intake.receive import Intake
from umbridge.intake.tokens import Tokens
from umbridge.lanes import pipeline as pipeline_module
from umbridge.lanes import queue as turns_module
from umbridge.lanes.pipeline import Pipeline
from umbridge.lanes.protocol import LENGTH, Done, Need, Task, answer_in, answer_out, task_in, task_out
from umbridge.lanes.queue import AskedAgain, Deadline, Held, LaneQueue, LaneWork, Message, row_work
from umbridge.lanes.work import StayWork
from umbridge.lanes.worker_pool import WorkFailedError
from umbridge.model import Event
from umbridge.review import worklist
from umbridge.review.plan import stay_json
from umbridge.review.worklist import WorklistLine
from umbridge.run.daemon import Parts
from umbridge.screening.host import Host, PluginInfo
from umbridge.settings.config import FeedSettings, LimitSettings
from umbridge.settings.site import SiteProfile, default_site, load_site
from umbridge.stay.fold import StayFold
from umbridge.stay.identity import taken_part
from umbridge.stay.together import side_by_side
from umbridge.store import inbox, stays
from umbridge.store import patient_index as directory
from umbridge.store.batch import Batch
from umbridge.store.inbox import Arrived, Stored
from umbridge.store.opening import hold_writer
from umbridge.store.worklist import Wanted, open_line
from umbridge.store.writer import Writer

SITE = default_site()
FEED = FeedSettings(port=0)
START = datetime(2026, 3, 2, 15, 0, tzinfo=UTC)
LATER = START + timedelta(hours=500)


# --- a daemon without its processes ---------------------------------------------------------------------


class OneWorker:
    """A pool of one lane worker in this process; what goes in and out passes as bytes."""

    plugins: Sequence[PluginInfo] = ()

    def __init__(self, host: Host, site: SiteProfile) -> None:
        self._host = host
        self._site = site
        self.stay_work = StayWork(site, host, charsets={})
        self.fails: Callable[[Task], bool] = lambda task: False

    def restart(self) -> None:
        self.stay_work = StayWork(self._site, self._host, charsets={})

    async def work(self, task: Task) -> Done | Need:
        await asyncio.sleep(0)  # other lanes come in between
        if self.fails(task):
            raise WorkFailedError("planted")
        (answer,) = self.stay_work.work([task_in(task_out(task)[LENGTH:])])
        found = answer_in(answer_out(answer)[LENGTH:])
        assert isinstance(found, Done | Need), found
        return found


def told_of(lines: Iterable[WorklistLine]) -> list[str]:
    """Lines as they lie in the store, to the letter."""
    return sorted(json.dumps(worklist.encoded(line)) for line in lines)


class Ward:
    """A store, its intake and its pipeline, on the writer's loop."""

    def __init__(self, writer: Writer, directory: Path, host: Host, site: SiteProfile = SITE) -> None:
        self.writer = writer
        self.site = site
        self.one_worker = OneWorker(host, site)
        self.intake = Intake(writer, writer.keyring, LimitSettings(min_free_bytes=0), directory, site)
        self.pipeline: Pipeline | None = None
        self.since = 0  # the first ledger entry to look at
        writer.watch(arrived=self._arrived)
        writer.call(Inside(lambda batch: None))  # its loop runs

    def on_loop(self, play: Coroutine[Any, Any, Any]) -> Any:
        assert self.writer._loop is not None
        return asyncio.run_coroutine_threadsafe(play, self.writer._loop).result(300)

    def _arrived(self, rows: list[Arrived]) -> None:
        if self.pipeline is not None:
            self.pipeline.arrived(rows)

    def begin(self, *, suspect: bool = False) -> None:
        """As at a start: what is stored and not worked comes first."""

        async def play() -> None:
            self.pipeline = Pipeline(self.writer, self.writer.keyring, self.one_worker, lanes=4)  # type: ignore[arg-type]
            await self.pipeline.recover(lambda count: None, suspect=suspect)
            self.pipeline.start()

        self.on_loop(play())

    def end(self) -> None:
        """As at a stop with rows still waiting: they are found again."""

        async def play() -> None:
            assert self.pipeline is not None
            pipeline, self.pipeline = self.pipeline, None
            await pipeline.stop()

        self.on_loop(play())
        self.one_worker.restart()

    def send(self, *frames: bytes) -> None:
        async def play() -> None:
            await asyncio.gather(*(self.intake.receive(frame, "main", FEED) for frame in frames))

        self.on_loop(play())

    def idle(self) -> None:
        assert self.pipeline is not None
        self.on_loop(self.pipeline.idle())

    def folds(self) -> list[StayFold]:
        """Every stay in the store, restored from its snapshot."""

        def work(batch: Batch) -> list[StayFold]:
            saved = [stays.load(batch.cursor, batch.keyring, lane) for lane in stays.lanes(batch.cursor)]
            return [StayFold.restore(self.site, one.head, one.increments) for one in saved if one]

        return self.writer.call(Inside(work))

    def pulses(self, visit: str) -> set[int]:
        """The heart rates that count for a stay."""
        for fold in self.folds():
            if fold.stay(LATER).visit.startswith(visit):
                listed = fold.results("heart_rate") or ()
                return {int(str(each.value)) for each in listed if fold.is_patient(each.patient)}
        raise AssertionError(visit)

    def reviews(self) -> list[tuple[str, str, str]]:
        """(id, type, state) of every change of a review on the ledger since ``clear``, oldest first."""

        def work(batch: Batch) -> list[tuple[str, str, str]]:
            ledger = self.writer.ledger
            found = []
            for slots in ledger.open_slots(self.since, kinds=("review.changed",)):
                said = {
                    k: v for part in ledger.reveal(int(str(slots["seq"]))).values() for k, v in part.items()
                }
                found.append((str(said["review_id"]), str(said["review"]), str(said["state"])))
            return found

        return self.writer.call(Inside(work))

    def replay(self, row: int) -> int:
        """As ``messages replay`` does it; the child's number."""
        tokens = Tokens(self.writer.keyring, self.site)

        def work(batch: Batch) -> Stored:
            held = inbox.row(batch.cursor, batch.keyring, row)
            assert held is not None
            return batch.replay(row, "zz", "again", "zz", (), tokens.named(er7.parse(held.frame), ""))

        stored = self.writer.call(Inside(work))
        return stored.seq

    def stays(self, moment: datetime = LATER) -> list[dict[str, Any]]:
        """Every stay in the store, restored from its snapshot; folding its rows again must give the same."""

        def work(batch: Batch) -> list[dict[str, Any]]:
            found = []
            for lane in stays.lanes(batch.cursor):
                saved = stays.load(batch.cursor, batch.keyring, lane)
                assert saved is not None
                stay = StayFold.restore(self.site, saved.head, saved.increments).stay(moment)
                rows = inbox.lane_rows(batch.cursor, batch.keyring, lane, 2**60)
                again = StayFold.refold(self.site, ((row.seq, self.event(row)) for row in rows))
                assert stay_json(again.stay(moment)) == stay_json(stay)
                found.append(stay)
            return sorted(map(stay_json, side_by_side(found)), key=json.dumps)

        self.worklist()
        return self.writer.call(Inside(work))

    def event(self, row: inbox.Row) -> Event:
        whole = translate(er7.parse(row.frame), self.site.zone, mrn_authority=self.site.mrn_authority)
        return taken_part(whole, row.part)

    def states(self) -> dict[int, str]:
        with self.writer.reading() as reader:
            return {row.seq: row.state for row in reader.rows(0, 100_000, 1 << 40)}

    def worklist(self) -> list[WorklistLine]:
        """Every line of the kept worklist; it must be what the stays themselves come to."""
        with self.writer.reading() as reader:
            kept = [
                open_line(self.writer.keyring, line) for line in reader.open_reviews(Wanted(), None, 10_000)
            ]
            for lane in reader.lanes():
                its = [open_line(self.writer.keyring, line) for line in reader.lane_lines(lane)]
                saved = reader.stay(lane)
                assert saved is not None
                again = remade(self.site, saved, lambda: iter(()))
                assert told_of(its) == told_of(again)
            assert set(reader.listed_lanes()) <= set(reader.lanes())
        assert len({line.review_id for line in kept}) == len(kept)  # a place in the list is one line's
        return kept

    def clear(self) -> None:
        """No stay is left to look at; the next example's numbers are others."""
        self.writer.call(Inside(lambda batch: batch.cursor.execute("DELETE FROM stay_head") and None))
        self.writer.call(Inside(lambda batch: batch.cursor.execute("DELETE FROM open_review") and None))
        self.one_worker.fails = lambda task: False
        self.since = self.writer.ledger.size

    def one(self, visit: str) -> dict[str, Any]:
        (found,) = (stay for stay in self.stays() if stay["visit"].partition("X")[0] == visit)
        return found

    def work(self, *frames: bytes) -> None:
        """All of it, in one go."""
        self.begin()
        self.send(*frames)
        self.idle()
        self.end()


@pytest.fixture(scope="module")
def everything(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ward]:
    directory = tmp_path_factory.mktemp("moves")
    made, keyring = make(directory / "s")
    with hold_writer(made, keyring) as writer:
        yield Ward(writer, directory, Host(call_seconds=60.0))


@pytest.fixture
def ward(everything: Ward) -> Iterator[Ward]:
    everything.clear()
    yield everything
    everything.clear()


def screened(frames: Sequence[bytes]) -> list[dict[str, Any]]:
    """What ``umbridge screen --stays`` makes of the same messages."""
    shadow = Shadow(SITE)
    for frame in frames:
        shadow.take(frame)
    return sorted(shadow.stays(LATER), key=json.dumps)


# --- messages -------------------------------------------------------------------------------------------

NUMBERS = itertools.count(1)
WARD_BED, ICU_BED, OBS_BED = ("I", "4W^310", "INP"), ("I", "MICU^1", "INP"), ("O", "CDU^05", "OBS")
PLACES = (WARD_BED, ICU_BED, OBS_BED, ("E", "ED^12", "EDP"))


class Feed:
    """Builds messages whose numbers belong to this feed alone."""

    def __init__(self) -> None:
        self.own = next(NUMBERS)
        self.count = 0

    def head(self, kind: str, hours: float) -> list[str]:
        self.count += 1
        at = (START + timedelta(hours=hours)).strftime("%Y%m%d%H%M%S+0000")
        return [
            f"MSH|^~\\&|ZZEHR|UMBH|UMBRIDGE|UMBH|{at}||{kind}|ZZ{self.own}.{self.count}|P|2.5.1",
            *([f"EVN||{at}"] if kind.startswith("ADT") else []),
        ]

    def pid(self, mrn: str, account: str = "", born: str = "19541110") -> str:
        number = f"{self.own}{mrn}^^^UMBH^MR" if mrn else ""
        return (
            f"PID|1||{number}||ZZTEST^ALDER||{born}|F"
            + "|" * 10
            + (f"{account}X{self.own}" if account else "")
        )

    def pv1(self, visit: str, place: tuple[str, str, str] = ("", "", "")) -> str:
        number = f"{visit}X{self.own}^^^UMBH^VN" if visit else ""
        return f"PV1|1|{place[0]}|{place[1]}" + "|" * 15 + f"{place[2]}|{number}"

    def mrg(self, mrn: str = "", account: str = "", visit: str = "") -> str:
        old = f"{self.own}{mrn}^^^UMBH^MR" if mrn else ""
        number = f"{visit}X{self.own}^^^UMBH^VN" if visit else ""
        return f"MRG|{old}||{f'{account}X{self.own}' if account else ''}||{number}"

    def frame(self, *segments: str) -> bytes:
        return ("\r".join(segments) + "\r").encode()

    def adt(
        self,
        trigger: str,
        hours: float,
        mrn: str,
        visit: str = "",
        account: str = "",
        place: tuple[str, str, str] = ("", "", ""),
        born: str = "19541110",
    ) -> bytes:
        head = self.head(f"ADT^{trigger}", hours)
        return self.frame(*head, self.pid(mrn, account, born), self.pv1(visit, place))

    def merge(self, hours: float, *pairs: tuple[str, str], trigger: str = "A40") -> bytes:
        """Each of ``pairs``: the wrong number and the right one."""
        groups = [line for old, new in pairs for line in (self.pid(new), self.mrg(old))]
        return self.frame(*self.head(f"ADT^{trigger}", hours), *groups)

    def moved(
        self,
        trigger: str,
        hours: float,
        mrns: tuple[str, str],
        visits: tuple[str, str] = ("", ""),
        accounts: tuple[str, str] = ("", ""),
        place: tuple[str, str, str] = ("", "", ""),
    ) -> bytes:
        head = self.head(f"ADT^{trigger}", hours)
        segments = [self.pid(mrns[1], accounts[1]), self.mrg(mrns[0], accounts[0], visits[0])]
        return self.frame(*head, *segments, self.pv1(visits[1], place))

    def swap(self, hours: float, *who: tuple[str, str, tuple[str, str, str]]) -> bytes:
        groups = [line for mrn, visit, place in who for line in (self.pid(mrn), self.pv1(visit, place))]
        return self.frame(*self.head("ADT^A17", hours), *groups)

    def pulse(self, hours: float, mrn: str, visit: str, value: int, account: str = "") -> bytes:
        at = (START + timedelta(hours=hours)).strftime("%Y%m%d%H%M%S+0000")
        segments = [self.pid(mrn, account), self.pv1(visit), f"OBR|1||R{hours}|8867-4^^LN|||{at}"]
        observed = f"OBX|1|NM|8867-4^^LN||{value}|/min|||||F|||{at}"
        return self.frame(*self.head("ORU^R01", hours), *segments, observed)

    def order(self, hours: float, mrn: str, visit: str, code: str, control: str = "NW") -> bytes:
        at = (START + timedelta(hours=hours)).strftime("%Y%m%d%H%M%S+0000")
        asked = [f"ORC|{control}|P{visit}.{self.own}|||||||{at}", f"OBR|1|P{visit}.{self.own}||{code}"]
        return self.frame(*self.head("ORM^O01", hours), self.pid(mrn), self.pv1(visit), *asked)

    def numbered(
        self, hours: float, mrn: str, visit: str, numbers: tuple[str, str], value: int, status: str = "F"
    ) -> bytes:
        """A heart rate under a placer's and a filler's number, with its visit or without PV1."""
        at = (START + timedelta(hours=hours)).strftime("%Y%m%d%H%M%S+0000")
        placer, filler = numbers
        place = [self.pv1(visit)] if visit else []
        order = f"ORC|NW|{placer}|{filler}|||||||{at}" if status == "NW" else f"ORC|RE|{placer}|{filler}"
        said = [order, f"OBR|1|{placer}|{filler}|8867-4^^LN|||{at}"]
        if status != "NW":
            said.append(f"OBX|1|NM|8867-4^^LN||{value}|/min|||||{status}|||{at}")
        kind = "ORM^O01" if status == "NW" else "ORU^R01"
        return self.frame(*self.head(kind, hours), self.pid(mrn), *place, *said)


MRNS = ("111", "222", "333")
VISITS = {"V1": "111", "V2": "111", "V3": "222", "V4": "333"}
mrns, visits = st.sampled_from(MRNS), st.sampled_from(sorted(VISITS))
accounts = st.sampled_from(["", "A1", "A2"])
places = st.sampled_from(PLACES)
some = st.sampled_from
happenings = st.one_of(
    st.tuples(st.just("adt"), some(["A01", "A04", "A08", "A02", "A03", "A11"]), visits, accounts, places),
    st.tuples(
        st.just("merge"),
        some(["A40", "A18", "A34", "A47"]),
        st.lists(st.tuples(mrns, mrns), min_size=1, max_size=2),
    ),
    st.tuples(st.just("visit"), some(["A42", "A50", "A06", "A07"]), visits, visits, places),
    st.tuples(st.just("account"), some(["A35", "A41", "A49"]), accounts, accounts, some(["", "V1", "V3"])),
    st.tuples(st.just("move"), some(["A43", "A44", "A45"]), visits, mrns, accounts),
    st.tuples(st.just("swap"), visits, visits, places, places),
    st.tuples(st.just("pulse"), mrns, some(["", "V1", "V2", "V3"]), accounts),
    st.tuples(
        st.just("numbered"),
        mrns,
        some(["", "", "V1", "V2", "V3"]),
        some(
            [("N1", ""), ("N1^ZZEHR", "N2^ZZLAB"), ("", "N2"), ("", "N2^ZZPOC"), ("N3", "N2^ZZLAB^1.2^ISO")]
        ),
        some(["NW", "F", "C", "D"]),
    ),
    st.tuples(st.just("order"), visits, some(["ADTINPT", "ADTOBS"]), some(["NW", "CA"])),
    st.tuples(st.just("person"), some(["A31", "A28", "A29"]), mrns, some(["1950", "1960"])),
)


def told(feed: Feed, hours: float, what: tuple[Any, ...]) -> bytes:
    kind, *more = what
    match kind:
        case "adt":
            trigger, visit, account, place = more
            return feed.adt(trigger, hours, VISITS[visit], visit, account, place)
        case "merge":
            return feed.merge(hours, *more[1], trigger=more[0])
        case "visit":
            trigger, old, new, place = more
            return feed.moved(trigger, hours, (VISITS[old], VISITS[new]), (old, new), place=place)
        case "account":
            trigger, old, new, visit = more
            who = VISITS.get(visit, "111")
            return feed.moved(trigger, hours, (who, who), ("", visit), (old, new))
        case "move":
            trigger, visit, mrn, account = more
            return feed.moved(trigger, hours, (VISITS[visit], mrn), (visit, visit), (account, account))
        case "swap":
            one, other, here, there = more
            return feed.swap(hours, (VISITS[one], one, here), (VISITS[other], other, there))
        case "pulse":
            mrn, visit, account = more
            return feed.pulse(hours, mrn, visit, 50 + MRNS.index(mrn), account)
        case "numbered":
            mrn, visit, numbers, status = more
            return feed.numbered(hours, mrn, visit, numbers, 90 + MRNS.index(mrn), status)
        case "order":
            visit, code, control = more
            return feed.order(hours, VISITS[visit], visit, code, control)
    return feed.adt(more[0], hours, more[1], born=f"{more[2]}0101")


# --- the daemon and the run over files agree ------------------------------------------------------------


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(happenings, min_size=1, max_size=14), st.integers(0, 14), st.randoms(use_true_random=False))
def test_the_daemons_stays_are_those_of_a_run_over_files(
    everything: Ward, told_of: list[tuple[Any, ...]], cut: int, random: Any
) -> None:
    """In any order; some messages stored while nobody works, and found at the next start."""
    ward, feed = everything, Feed()
    frames = [told(feed, hours, what) for hours, what in enumerate(told_of)]
    random.shuffle(frames)
    ward.begin()
    ward.send(*frames[:cut])
    ward.end()  # in the middle of it: what is waiting stays waiting
    ward.send(*frames[cut:])
    ward.begin()
    ward.idle()
    ward.end()
    try:
        assert ward.stays() == screened(frames)
        assert set(ward.states().values()) <= {"DETERMINED", "NOT_APPLICABLE", "QUARANTINED"}
    finally:
        ward.clear()


def test_two_merges_in_one_message_are_taken_in_the_order_in_which_they_stand(ward: Ward) -> None:
    """One number merged into two others: a stay put together from two lanes takes them as they were sent."""
    feed = Feed()
    frames = [
        feed.adt("A04", 0, "333", "V4", "A1", PLACES[3]),
        feed.adt("A08", 1, "111", "V1", "A1", PLACES[3]),
        feed.merge(2, ("222", "111"), ("222", "333"), trigger="A34"),
        feed.moved("A50", 3, ("111", "333"), ("V1", "V4"), place=ICU_BED),
        feed.adt("A04", 4, "333", "V4", place=PLACES[3]),
    ]
    frames = [frames[place] for place in (4, 1, 0, 2, 3)]
    ward.work(*frames)
    assert ward.stays() == screened(frames)


@pytest.mark.parametrize("order", list(itertools.permutations(range(4)))[::5])
def test_two_numbers_merged_into_a_third_and_their_visits_into_one(
    everything: Ward, order: tuple[int, ...]
) -> None:
    """A40 of both into 222, then A42 of one visit into the other: whichever of them comes first."""
    ward, feed = everything, Feed()
    frames = [
        feed.adt("A01", 0, "111", "V1", "A1", PLACES[3]),
        feed.adt("A04", 1, "333", "V4", place=PLACES[0]),
        feed.merge(2, ("111", "222"), ("333", "222")),
        feed.moved("A42", 3, ("333", "111"), ("V4", "V1"), place=ICU_BED),
    ]
    ward.work(*(frames[place] for place in order))
    try:
        assert ward.stays() == screened(frames)
    finally:
        ward.clear()


def messages_of(shared: Path, case: str) -> list[bytes]:
    return [path.read_bytes() for path in sorted((shared / "vignettes" / "cases" / case).glob("*.hl7"))]


@pytest.mark.parametrize("case", ["S1", "S2", "S3", "S4", "S5", "S6"])
def test_sequence_vignettes_through_the_store(
    shared: Path, case: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """The material's own site profile and moments; a repeat is answered and never folded."""
    expected = json.loads((shared / "vignettes" / "cases" / case / "expected.json").read_text())
    site = load_site(shared / "vignettes" / "site.toml")
    directory = tmp_path_factory.mktemp(case)
    made, keyring = make(directory / "s")
    with hold_writer(made, keyring) as writer:
        ward = Ward(writer, directory, Host(call_seconds=60.0), site)
        ward.work(*messages_of(shared, case))
        found = ward.stays(datetime.fromisoformat(expected["as_of"]))
    (stay,) = expected["stays"]
    assert [{key: one[key] for key in stay} for one in found] == [stay]
    assert found[0]["exceptions"] == expected["exceptions"]
    assert found[0]["events_applied"] == expected["events_applied"]


# --- merges -----------------------------------------------------------------------------------------


def test_a_merge_that_names_no_visit_reaches_every_stay_of_both_numbers(ward: Ward) -> None:
    feed = Feed()
    ward.work(
        feed.adt("A01", 0, "111", "V1", place=WARD_BED),
        feed.adt("A04", 1, "111", "V2", place=OBS_BED),
        feed.adt("A01", 2, "222", "V3", place=ICU_BED),
        feed.adt("A01", 3, "333", "V4", place=WARD_BED),
        feed.merge(5, ("111", "222")),
    )
    assert {stay["visit"][:2]: (stay["mrn"][-3:], len(stay["mrn_aliases"])) for stay in ward.stays()} == {
        "V1": ("222", 1),
        "V2": ("222", 1),
        "V3": ("222", 1),
        "V4": ("333", 0),
    }


def test_a_merge_before_anybody_was_known_waits_for_them(ward: Ward) -> None:
    feed = Feed()
    ward.work(feed.merge(5, ("111", "222")), feed.merge(6, ("222", "333")))
    last = max(ward.states())
    assert [ward.states()[row] for row in (last - 1, last)] == ["NOT_APPLICABLE"] * 2
    ward.work(feed.adt("A01", 0, "111", "V1", place=WARD_BED))
    assert (ward.one("V1")["mrn"][-3:], len(ward.one("V1")["mrn_aliases"])) == ("333", 2)


def test_a_ring_of_merges_ends_and_is_for_a_person(ward: Ward) -> None:
    feed = Feed()
    ring = [feed.merge(hour, pair) for hour, pair in ((1, ("111", "222")), (2, ("222", "111")))]
    ward.work(feed.adt("A01", 0, "111", "V1", place=WARD_BED), *ring)
    assert "MERGE_RING" in ward.one("V1")["exceptions"]
    assert ward.one("V1")["mrn"][-3:] == "222"


def test_facts_never_cross_patients_and_come_back_with_the_stay(ward: Ward) -> None:
    feed = Feed()
    ward.work(
        feed.adt("A01", 0, "111", "V1", place=WARD_BED),
        feed.pulse(1, "111", "V1", 91),
        feed.moved("A45", 5, ("111", "222"), ("V1", "V1")),
        feed.pulse(6, "333", "V1", 93),
    )
    stay = ward.one("V1")
    assert stay["mrn"][-3:] == "222"
    assert {"FACTS_QUARANTINED", "PATIENT_MISMATCH"} <= set(stay["exceptions"])
    assert ward.pulses("V1") == set()
    ward.work(feed.pulse(7, "222", "V1", 92))
    assert ward.pulses("V1") == {92}
    ward.work(feed.moved("A45", 8, ("222", "111"), ("V1", "V1")))
    assert ward.pulses("V1") == {91}


def test_merged_visits_put_their_reviews_together_and_edit_nothing(ward: Ward) -> None:
    feed = Feed()
    ward.work(
        feed.adt("A04", 0, "111", "V1", place=OBS_BED),
        feed.adt("A01", 3, "111", "V2", place=WARD_BED),
    )
    before = ward.reviews()
    assert sorted(kind for _, kind, _ in before) == ["ADMISSION", "OBSERVATION"]
    ward.work(feed.moved("A42", 4, ("111", "111"), ("V1", "V2")))
    (stay,) = ward.stays()
    assert (stay["visit"][:2], stay["status_spans"]) == ("V2", ["OBSERVATION", "INPATIENT"])
    after = ward.reviews()
    assert after[: len(before)] == before
    assert [(kind, state) for _, kind, state in after[len(before) :]] == [("OBSERVATION", "closed")]
    ward.work(feed.adt("A08", 5, "111", "V1", place=ICU_BED))  # the old number leads there for ever
    assert [stay["unit"] for stay in ward.stays()] == ["MICU"]


def test_a_swap_may_open_a_review_in_each_of_two_stays(ward: Ward) -> None:
    """One row, two stays: their reviews must not have one name, or one determination would bar the other."""
    feed = Feed()
    ward.work(
        feed.adt("A01", 0, "111", "V1", place=WARD_BED),
        feed.adt("A01", 0, "222", "V3", place=ICU_BED),
        feed.order(1, "111", "V1", "ADTINPT"),
        feed.order(1, "222", "V3", "ADTINPT"),
    )
    known = len(ward.reviews())
    ward.work(feed.swap(2, ("111", "V1", ICU_BED), ("222", "V3", WARD_BED)))
    opened = [review for review, kind, _ in ward.reviews()[known:] if kind == "CONTINUED_STAY"]
    assert len(opened) == 2
    assert len(set(opened)) == 2


# --- what goes wrong ----------------------------------------------------------------------------------


def test_a_merge_that_fails_in_one_stay_is_taken_in_by_the_others_and_replayed_for_that_one(
    ward: Ward,
) -> None:
    feed = Feed()
    ward.work(feed.adt("A01", 0, "111", "V1", place=WARD_BED), feed.adt("A01", 1, "111", "V2", place=OBS_BED))
    failed: list[bytes] = []

    def fails(task: Task) -> bool:
        """The first stay that comes to it fails."""
        if b"ADT^A40" not in task.frame or (failed and task.lane != failed[0]):
            return False
        failed.append(task.lane)
        return True

    ward.one_worker.fails = fails
    ward.work(feed.merge(5, ("111", "222")))
    row = max(ward.states())
    assert ward.states()[row] == "QUARANTINED"
    assert sorted(stay["mrn"][-3:] for stay in ward.stays()) == ["111", "222"]
    ward.one_worker.fails = lambda task: False
    ward.begin()
    child = ward.replay(row)
    ward.idle()
    ward.end()
    assert (ward.states()[row], ward.states()[child]) == ("REPLAYED", "NOT_APPLICABLE")
    assert sorted(stay["mrn"][-3:] for stay in ward.stays()) == ["222", "222"]


def test_a_join_whose_message_fails_is_made_up_for_by_the_next(ward: Ward) -> None:
    feed = Feed()
    ward.work(feed.adt("A04", 0, "111", "V1", place=OBS_BED), feed.adt("A01", 3, "111", "V2", place=WARD_BED))
    ward.one_worker.fails = lambda task: b"ADT^A42" in task.frame
    ward.work(feed.moved("A42", 4, ("111", "111"), ("V1", "V2")))
    assert len(ward.stays()) == 2
    ward.one_worker.fails = lambda task: False
    ward.work(feed.adt("A08", 5, "111", "V1", place=ICU_BED))
    (stay,) = ward.stays()
    assert stay["status_spans"] == ["OBSERVATION", "INPATIENT"]
    assert "VISITS_MERGED" not in stay["exceptions"]  # the message itself waits for a person


def test_a_row_of_two_stays_that_are_to_be_one_is_asked_again_once(ward: Ward) -> None:
    """Twice in one lane it would be screened twice under one row: the second time ends the daemon."""
    feed = Feed()
    ward.work(
        feed.adt("A04", 0, "111", "V1", place=OBS_BED),
        feed.adt("A01", 3, "111", "V2", place=WARD_BED),
        feed.merge(4, ("111", "222")),  # taken in by both
    )
    merge = max(ward.states())
    ward.one_worker.fails = lambda task: b"ADT^A42" in task.frame
    ward.work(feed.moved("A42", 5, ("222", "222"), ("V1", "V2")))  # and not joined yet
    tokens = Tokens(ward.writer.keyring, ward.site)

    def replayed(batch: Batch) -> Stored:
        held = inbox.row(batch.cursor, batch.keyring, merge)
        assert held is not None
        return batch.replay(merge, "zz", "again", "zz", (), tokens.named(er7.parse(held.frame), ""))

    ((_, parts),) = ward.writer.call(Inside(replayed)).shares
    assert parts == (directory.ASK_AGAIN,)


def test_every_kind_of_work_a_lane_can_have_is_told_apart_by_its_type() -> None:
    """No number, no empty text and no flag says what a piece of work is."""
    assert row_work(7, None) == Message(7)
    assert row_work(7, (0, 2)) == Message(7, parts=(0, 2))
    assert row_work(7, (directory.ASK_AGAIN,)) == AskedAgain(7)
    turns = LaneQueue()
    turns.refold([directory.Refold(b"lane", 0, b"gone")])
    assert turns.asked(b"lane", Message(7)) == turns.asked(b"lane", AskedAgain(7)) == (True, (b"gone",))
    assert turns.asked(b"lane", Deadline(START)) == (False, ())  # only a row is worked with a join


def test_a_deadline_of_a_lane_that_is_being_joined_waits_for_the_join() -> None:
    """Worked beside it, it would write the stay of a lane that is no more."""

    async def play() -> None:
        turns = LaneQueue()
        turns.refold([directory.Refold(b"into", 5, b"gone")])
        turns.offer(b"into", Message(5))
        assert await turns.next() == b"into"
        turns.offer(b"gone", Deadline(START))
        turns.offer(b"other", Message(6))
        assert await turns.next() == b"other"
        turns.done(b"into")
        assert await turns.next() == b"gone"

    asyncio.run(asyncio.wait_for(play(), 60))


def test_frames_are_held_within_bounds_and_counted_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turns_module, "KEEP_BYTES", 10)
    turns = LaneQueue()
    given: list[LaneWork] = [
        Message(1, Held("adt", b"12345678", "")),
        Message(2, Held("adt", b"123", "")),  # beyond the bound: read back from the store
        Deadline(START),
        AskedAgain(3, Held("adt", b"12", "")),
    ]
    for work in given:
        turns.offer(b"lane", work)
    kept = []
    for _ in given:
        kept.append(turns.first(b"lane"))
        turns.done(b"lane")
    assert kept == [given[0], Message(2), given[2], given[3]]
    assert (turns.backlog, turns._held) == (0, 0)


# --- kills ----------------------------------------------------------------------------------------------

KILLS = 3


def answered(port: int, frames: Sequence[bytes]) -> None:
    """Send, each once, and insist on the answer."""
    sent: list[delivery.Sent] = []
    messages = [("m", frame) for frame in frames]
    asyncio.run(delivery.send_all("127.0.0.1", port, messages, connections=1, done=sent.append))
    assert {one.ack for one in sent} == {"AA"}


def test_a_merge_that_was_answered_is_a_merge_whenever_the_daemon_is_killed(
    installation: Installation,
) -> None:
    """Killed the moment after the last answer, again and again: the work is found at the next start."""
    installation.edit(r"(?m)^names = \[\]", 'names = ["mcg_like"]')
    feed = Feed()
    rounds = [
        [
            feed.adt("A04", 0, f"{n}11", f"V{n}", f"A{n}", OBS_BED),
            feed.merge(1, (f"{n}11", f"{n}22")),
            feed.adt("A01", 2, f"{n}22", f"W{n}", f"B{n}", WARD_BED),
            feed.pulse(3, f"{n}22", f"W{n}", 60 + n),
            feed.moved("A42", 4, (f"{n}22", f"{n}22"), (f"V{n}", f"W{n}"), (f"A{n}", f"B{n}")),
            feed.adt("A31", 5, f"{n}11", born="19600101"),
            feed.swap(6, (f"{n}22", f"W{n}", ICU_BED), (f"{n}33", f"Y{n}", WARD_BED)),
            feed.moved("A45", 7, (f"{n}22", f"{n}44"), (f"W{n}", f"W{n}")),
            feed.merge(8, (f"{max(n - 1, 0)}44", f"{n}44")),  # and with the round before
        ]
        for n in range(KILLS)
    ]
    frames = [frame for each in rounds for frame in each]
    for each in rounds:
        daemon = installation.start()
        try:
            answered(daemon.port, each)
        finally:
            daemon.kill()
    daemon = installation.start()
    try:
        daemon.worked()
        assert daemon.stop() == 0
    finally:
        daemon.kill()
    rows = installation.rows("messages", "list")
    assert [row["seq"] for row in rows] == list(range(1, len(frames) + 1))
    assert {row["state"] for row in rows} <= {"DETERMINED", "NOT_APPLICABLE"}
    assert installation.rows("ledger", "verify")[0]["verdict"] == "PASS"
    parts = Parts(installation.settings)
    with hold_writer(installation.settings, parts.keyring) as writer:
        kept = Ward(writer, installation.directory, Host(call_seconds=60.0), parts.site)
        assert kept.stays() == screened(frames)
    installation.roles("administrator", "ur_nurse")
    one = f"V0X{feed.own}"
    found = installation.rows("stays", "show", one, "--purpose", "HPAYMT")[0]
    assert found["visit"] == f"W0X{feed.own}"  # asked for by the number it had before
    mine = installation.rows("messages", "list", "--visit", one, "--purpose", "HPAYMT")
    assert {row["type"] for row in mine} >= {"ADT^A04", "ADT^A40", "ADT^A42", "ADT^A31", "ADT^A17", "ADT^A45"}


def test_how_many_rows_wait_can_be_asked_from_a_thread_while_lanes_come_and_go() -> None:
    """``status`` runs beside the loop: counting the queues there met a dictionary that changed its size."""
    turns, over = LaneQueue(), threading.Event()
    for number in range(20_000):  # a count of them takes longer than one thread's turn
        turns.offer(b"old %d" % number, Message(number))
    found: list[int] = []

    def ask() -> None:
        while not over.is_set():
            found.append(turns.backlog)

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        with ThreadPoolExecutor(1) as threads:
            asked = threads.submit(ask)
            try:
                for number in range(2_000):
                    turns.offer(b"new %d" % number, Message(number))
                    turns.offer(b"new %d" % number, Message(number))
                    turns.done(b"new %d" % number)
                    if number % 2:
                        turns.done(b"new %d" % number)
            finally:
                over.set()
            asked.result()
    finally:
        sys.setswitchinterval(interval)
    assert found
    assert turns.backlog == 21_000


class Line:
    """A writer as far as a row that is to be handed out looks at it."""

    crowded = True


def test_no_row_is_handed_out_while_senders_stand_in_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipeline_module, "YIELD_SECONDS", 0.01)
    monkeypatch.setattr(pipeline_module, "YIELD_LOOKS", 1_000_000)

    async def play() -> None:
        line: Any = Line()
        nobody: Any = None
        pipeline = Pipeline(line, nobody, nobody)
        waiting = [asyncio.create_task(pipeline._give_way()) for _ in range(3)]
        await asyncio.sleep(0.1)
        assert not any(task.done() for task in waiting)
        line.crowded = False
        await asyncio.wait_for(asyncio.gather(*waiting), 60)
        line.crowded = True
        monkeypatch.setattr(pipeline_module, "YIELD_LOOKS", 3)  # a line that does not end is not waited for
        await asyncio.wait_for(pipeline._give_way(), 60)

    asyncio.run(play())

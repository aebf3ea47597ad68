"""Results and orders that name no visit come to the stay that has what they speak of."""

from __future__ import annotations

import asyncio
import random
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from installation import Inside, Installation, exchange
from test_moves import LATER, Feed, Ward, everything, screened
from test_registration import note, register
from test_upgrade import kept

from umbridge.access import plugins
from umbridge.dryrun.screen import Shadow
from umbridge.hl7 import er7
from umbridge.hl7.numbered import MOST, order_numbers, spelt_once
from umbridge.intake import registration
from umbridge.intake.tokens import Tokens
from umbridge.model import ScreenResult
from umbridge.review.waves import told_of_what_is_elsewhere
from umbridge.settings.site import default_site, load_site
from umbridge.stay import by_number
from umbridge.stay.fold import StayFold
from umbridge.stay.orders.entities import alike
from umbridge.store import engine, numbered
from umbridge.store.batch import Batch
from umbridge.store.memory import Working
from umbridge.store.opening import hold_writer, open_keys
from umbridge.store.patient_index import StoredNumbers
from umbridge.values.kinds import Outcome

__all__ = ["everything"]

Say = Callable[[Feed], bytes]
P1, P1_EHR, F1, BOTH = ("P1", ""), ("P1^ZZEHR", ""), ("", "F1^ZZLAB"), ("P1^ZZEHR", "F1^ZZLAB")
OTHER = ("P9^ZZEHR", "F9^ZZLAB")
ONE, TWO = "111", "222"


def come(visit: str, mrn: str = ONE, hours: float = 0) -> Say:
    return lambda feed: feed.adt("A01", hours, mrn, visit, "", ("I", "4W^310", "INP"))


def said(
    hours: float,
    numbers: tuple[str, str],
    value: int = 0,
    visit: str = "",
    mrn: str = ONE,
    status: str = "F",
) -> Say:
    return lambda feed: feed.numbered(hours, mrn, visit, numbers, value, status)


def ordered(visit: str, numbers: tuple[str, str] = BOTH, mrn: str = ONE, hours: float = 1) -> Say:
    return said(hours, numbers, visit=visit, mrn=mrn, status="NW")


def merged(old: str, new: str, trigger: str = "A40") -> Say:
    return lambda feed: feed.merge(4, (old, new), trigger=trigger)


def moved(visit: str, old: str, new: str) -> Say:
    return lambda feed: feed.moved("A44", 4, (old, new), (visit, visit))


HERE = [come("V1"), come("V2", hours=2)]
#: What is told in this order; then the heart rates that count, by visit, and what is not used of the rest.
CASES: dict[str, tuple[list[Say], dict[str, set[int]], dict[str, int]]] = {
    "by the placer's number": ([*HERE, ordered("V1"), said(5, P1_EHR, 61)], {"V1": {61}}, {}),
    "by the filler's": ([*HERE, ordered("V1"), said(5, F1, 61)], {"V1": {61}}, {}),
    "without the namespace": ([*HERE, ordered("V1"), said(5, P1, 61)], {"V1": {61}}, {}),
    "an order that was told without it": ([*HERE, ordered("V1", P1), said(5, P1_EHR, 61)], {"V1": {61}}, {}),
    "another application's number": (
        [*HERE, ordered("V1"), said(5, ("P1^ZZLAB", ""), 61)],
        {},
        {"no_visit_number": 1},
    ),
    "the placer's number as the filler's": (
        [*HERE, ordered("V1"), said(5, ("", "P1^ZZEHR"), 61)],
        {},
        {"no_visit_number": 1},
    ),
    "no number of it": ([*HERE, ordered("V1"), said(5, OTHER, 61)], {}, {"no_visit_number": 1}),
    "a correction": (
        [*HERE, said(5, BOTH, 61, "V1"), said(5, F1, 66, status="C")],
        {"V1": {66}},
        {},
    ),
    "a withdrawal": ([*HERE, said(5, BOTH, 61, "V1"), said(5, F1, 61, status="D")], {}, {}),
    "by a number that it was tied to without a visit": (
        [*HERE, ordered("V1", P1_EHR), said(5, BOTH, 61), said(5, F1, 66, status="C")],
        {"V1": {66}},
        {},
    ),
    "before its order": ([*HERE, said(5, BOTH, 61), ordered("V1")], {"V1": {61}}, {}),
    "before its order, by what ties it": (
        [*HERE, said(5, F1, 61), said(6, BOTH, 62), ordered("V1", P1_EHR)],
        {"V1": {61, 62}},
        {},
    ),
    "a number of two stays": (
        [*HERE, ordered("V1"), ordered("V2"), said(5, BOTH, 61)],
        {},
        {"visit_ambiguous": 1},
    ),
    "two numbers of two stays": (
        [*HERE, ordered("V1"), ordered("V2", OTHER), said(5, ("P1^ZZEHR", "F9^ZZLAB"), 61)],
        {},
        {"visit_ambiguous": 1},
    ),
    "another patient's number": (
        [come("V1"), come("V3", TWO), ordered("V1"), said(5, BOTH, 61, mrn=TWO)],
        {},
        {"no_visit_number": 1},
    ),
    "each patient's own of one number": (
        [
            *(come("V1"), come("V3", TWO), ordered("V1"), ordered("V3", mrn=TWO)),
            *(said(5, BOTH, 61), said(5, BOTH, 62, mrn=TWO)),
        ],
        {"V1": {61}, "V3": {62}},
        {},
    ),
    "nobody's number": (
        [*HERE, ordered("V1"), lambda feed: feed.numbered(5, "", "", BOTH, 61)],
        {},
        {"no_visit_number": 1},
    ),
    "merged between order and result": (
        [come("V1"), ordered("V1"), merged(ONE, TWO), said(5, BOTH, 61, mrn=TWO)],
        {"V1": {61}},
        {},
    ),
    "merged after both": (
        [come("V1"), said(5, BOTH, 61, mrn=TWO), ordered("V1"), merged(TWO, ONE)],
        {"V1": {61}},
        {},
    ),
    "merged before both": (
        [merged(TWO, ONE), come("V1"), said(5, BOTH, 61, mrn=TWO), ordered("V1")],
        {"V1": {61}},
        {"no_stay_of_this_patient": 1},
    ),
    "moved to another patient": (
        [come("V1"), come("V3", TWO), ordered("V1"), moved("V1", ONE, TWO), said(5, BOTH, 61, mrn=TWO)],
        {"V1": {61}},
        {},
    ),
    "moved after the result": (
        [come("V1"), come("V3", TWO), ordered("V1"), said(5, BOTH, 61, mrn=TWO), moved("V1", ONE, TWO)],
        {"V1": {61}},
        {},
    ),
}


def counts(fold: StayFold) -> set[int]:
    listed = fold.results("heart_rate") or ()
    return {
        int(str(each.value)) for each in listed if each.value is not None and fold.is_patient(each.patient)
    }


def shadowed(frames: Sequence[bytes]) -> tuple[dict[str, set[int]], dict[str, int]]:
    """The heart rates of each stay that has any, and what is not used."""
    run = Shadow(default_site())
    for frame in frames:
        run.take(frame)
    found = {each.fold.stay(LATER).visit.partition("X")[0]: counts(each.fold) for each in run.lanes.values()}
    return {visit: its for visit, its in found.items() if its}, run.unread


@pytest.mark.parametrize(("say", "found", "not_used"), CASES.values(), ids=CASES.keys())
def test_what_names_no_visit_comes_to_the_stay_that_has_its_number(
    say: list[Say], found: dict[str, set[int]], not_used: dict[str, int]
) -> None:
    feed = Feed()
    assert shadowed([each(feed) for each in say]) == (found, not_used)


@pytest.fixture
def ward(everything: Ward) -> Iterator[Ward]:
    yield everything
    everything.clear()


def test_the_daemon_has_it_so_too(ward: Ward) -> None:
    """All cases at once: each has patients and numbers of its own."""
    wanted: dict[str, set[int]] = {}
    frames: list[bytes] = []
    why: list[str] = []
    for say, found, not_used in CASES.values():
        feed = Feed()
        wanted |= {f"{visit}X{feed.own}": its for visit, its in found.items()}
        frames += [each(feed) for each in say]
        why += [reason for reason, count in not_used.items() for _ in range(count)]
    ward.begin()
    ward.send(*frames)
    ward.idle()
    ward.end()
    folds = {fold.stay(LATER).visit: counts(fold) for fold in ward.folds()}
    assert {visit: its for visit, its in folds.items() if its} == wanted
    with ward.writer.reading() as reader:
        reasons = [row.reason for row in reader.rows(0, 100_000, 1 << 40)][-len(frames) :]
    nowhere = ("no_visit_number", "visit_ambiguous", "no_stay_of_this_patient")
    assert sorted(each for each in reasons if each in nowhere) == sorted(why)
    assert (
        reasons.count("no_visit_number stay_found") == 6
    )  # those that came before their stay had the number
    assert ward.stays()


ORDERS = [(f"P{n}^ZZEHR", f"F{n}^ZZLAB") for n in range(3)]
told = st.tuples(
    st.sampled_from(ORDERS),
    st.sampled_from([0, 1, 2]),  # by both numbers, the placer's, the filler's
    st.sampled_from(["F", "P", "C", "D"]),
    st.integers(60, 70),
    st.booleans(),
)


def feeds(what: list[tuple[Any, ...]]) -> tuple[list[bytes], list[bytes]]:
    """The same feed with PV1 in every message, and without it in some; each order is told of with it."""
    made: list[list[bytes]] = []
    own = None
    for is_bare in (False, True):
        feed = Feed()
        own = feed.own = own or feed.own
        frames = [come("V1")(feed), come("V3", TWO)(feed), come("V2", hours=1)(feed)]
        for nth, numbers in enumerate(ORDERS):
            frames.append(ordered("V1" if nth < 2 else "V2", numbers, hours=1 + nth)(feed))
        for hours, (numbers, kind, status, value, bare) in enumerate(what, 5):
            visit = "V2" if numbers == ORDERS[2] else "V1"
            its = (numbers, (numbers[0], ""), ("", numbers[1]))[kind]
            frames.append(said(hours, its, value, "" if is_bare and bare else visit, status=status)(feed))
        made.append(frames)
    return made[0], made[1]


@settings(max_examples=60, deadline=None)
@given(st.lists(told, min_size=1, max_size=8), st.randoms(use_true_random=False))
def test_a_feed_without_visits_in_some_messages_gives_the_stays_of_the_whole_feed(
    what: list[tuple[Any, ...]], chance: random.Random
) -> None:
    whole, bare = feeds(what)
    expected = screened(whole)
    order = list(range(len(whole)))
    chance.shuffle(order)
    assert screened([bare[at] for at in order]) == expected


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(told, min_size=1, max_size=8), st.integers(0, 12), st.randoms(use_true_random=False))
def test_so_it_is_in_the_daemon_whenever_it_ends(
    everything: Ward, what: list[tuple[Any, ...]], cut: int, chance: random.Random
) -> None:
    ward = everything
    whole, bare = feeds(what)
    chance.shuffle(bare)
    ward.begin()
    ward.send(*bare[:cut])
    ward.end()
    ward.send(*bare[cut:])
    ward.begin()
    ward.idle()
    ward.end()
    try:
        assert ward.stays() == screened(whole)
    finally:
        ward.clear()


def _last(numbers: Any, named: Any) -> list[Any]:
    persons = [each for patient in named.patients for each in numbers.same(patient)]
    found = [lane for number in named.numbers for one in persons for lane in numbers.find(one, number)]
    return found[-1:]


def _of_anybody(self: by_number.Spoken, patient: str, number: str) -> list[str]:
    return [
        lane
        for (_, base), its in self._by_number.items()
        for each, lane in its
        if base == number.partition("^")[0] and alike(each, number)
    ]


PLANTED: dict[str, tuple[Any, str, Any]] = {
    "a number without its patient": (by_number.Spoken, "find", _of_anybody),
    "the last stay instead of the only one": (by_number, "lanes_of", _last),
    "what came first never finds its stay": (by_number.Spoken, "waiting", lambda *_: []),
    "whose number it is does not matter": (by_number, "alike", lambda *_: True),
    "merges join no numbers": (by_number, "met", lambda *_: []),
    "a stay that moved leaves its numbers": (by_number.Spoken, "hand_on", lambda *_: None),
    "only the row's own numbers are learnt": (by_number.Spoken, "settle", lambda *_: []),
}


@pytest.mark.parametrize(("where", "name", "fault"), PLANTED.values(), ids=PLANTED.keys())
def test_a_planted_fault_turns_a_case_red(
    monkeypatch: pytest.MonkeyPatch, where: Any, name: str, fault: Any
) -> None:
    monkeypatch.setattr(where, name, fault)
    for say, found, not_used in CASES.values():
        feed = Feed()
        if shadowed([each(feed) for each in say]) != (found, not_used):
            return
    pytest.fail("no case saw it")


# --- numbers ------------------------------------------------------------------------------------------------

givers = st.tuples(st.sampled_from(["", "A", "B", "1.2"]), st.sampled_from(["", "1.2", "3.4"]))


@given(givers, givers)
def test_stored_numbers_are_compared_as_numbers_are(one: tuple[str, str], other: tuple[str, str]) -> None:
    def stored(giver: tuple[str, str]) -> bytes:
        return b"itself.." + numbered.giver_of(*(each.encode().ljust(8) if each else b"" for each in giver))

    spelt = ["^".join(["P1", *giver]).rstrip("^") for giver in (one, other)]
    if "1.2" not in (one[0], other[0]):  # an OID in the place of a namespace: below
        assert numbered.can_be_one(stored(one), stored(other)) == alike(*spelt)


def numbers_of(*segments: str) -> tuple[str, ...]:
    head = "MSH|^~\\&|ZZEHR|UMBH|||20260302150000+0000||ORM^O01|ZZ1|P|2.5.1"
    return order_numbers(er7.parse("\r".join((head, "PID|1||ZZ1", *segments)).encode()))


def test_the_numbers_of_a_message_are_those_of_its_orders_and_reports() -> None:
    assert numbers_of("ORC|NW|1^A|2^B|3^C", "OBR|1|1^A|2^B|9") == ("P1^A", "F2^B", "G3^C")
    assert numbers_of("ORC|NW|1", "OBR|1|1^A^1.2.3^ISO|2") == ("P1^A^1.2.3", "F2")
    assert numbers_of("ORC|NW|1^B", "OBR|1|1^A") == ("P1^B", "P1^A")
    assert numbers_of('ORC|NW|""|', "OBR|1", "ORC") == ()
    assert numbers_of("OBX|1|NM|K^^L||5") == ()
    assert len(numbers_of(*(f"OBR|{n}|{n}" for n in range(MOST + 9)))) == MOST
    assert spelt_once(["P1^A", "P1^^1.2", "P1"]) == ("P1^A^1.2",)


def test_an_event_has_no_numbers(ward: Ward) -> None:
    feed = Feed()
    frame = feed.adt("A01", 0, ONE, "V1") + b"ORC|NW|1^A\rOBR|1|1^A\r"
    assert order_numbers(er7.parse(frame)) == ()


# --- stores that are there ----------------------------------------------------------------------------------


def before(where: Path) -> Installation:
    """The store that the program of before filled (vectors/stores.md)."""
    kept(7, where)
    one = Installation.at(where)
    one.roles("administrator", "ur_nurse")
    with hold_writer(one.settings, open_keys(one.settings)) as writer:
        plugins.approve_bundled(one.settings, writer, "zz")  # the copies that were approved are not kept
    return one


def tables(one: Installation) -> dict[str, list[tuple[object, ...]]]:
    columns = {"lane_refold": "lane, since, gone", "inbox": "seq, lane, state, reason"}
    names = ("numbered", "unplaced", "lane_row", "lane_refold", "inbox")
    with closing(sqlite3.connect(one.settings.store / engine.DATABASE)) as db:
        return {
            name: sorted(db.execute(f"SELECT {columns.get(name, '*')} FROM {name}").fetchall(), key=repr)  # noqa: S608
            for name in names
        }


def test_a_store_of_before_places_what_had_no_visit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both directions: a correction after its report, a result before its order. Ended at every page."""
    monkeypatch.setattr(registration, "PAGE", 1)
    whole, pieces = before(tmp_path / "whole"), before(tmp_path / "pieces")
    site = load_site(whole.settings.site)
    with hold_writer(whole.settings, open_keys(whole.settings)) as writer:
        asked = register(writer, site)
        lane = Tokens(writer.keyring, site).lookup("ZZKN1")
        assert {each.lane for each in asked} == {lane}
        again = register(writer, site)
        assert again == []
    found = tables(whole)
    rows = {seq: (bool(its), reason) for seq, its, _, reason in found["inbox"]}
    assert [row for row in rows.values() if "no_visit" in str(row[1])] == [
        *((False, "no_visit_number stay_found"),) * 2,
        (False, "no_visit_number"),  # another patient's, under the number of the first one's report
    ]
    assert len(found["unplaced"]) == 1
    for _ in range(len(rows) + 3):
        with hold_writer(pieces.settings, open_keys(pieces.settings)) as writer:
            register(writer, site, 1)
    assert note(pieces) == note(whole)
    for name, its in tables(pieces).items():
        assert its == found[name] or name == "numbered"  # by keys of its own
    assert len(tables(pieces)["numbered"]) == len(found["numbered"])


def test_its_stays_take_them_in_with_their_next_message(tmp_path: Path) -> None:
    one = before(tmp_path / "site")
    site = load_site(one.settings.site)
    with hold_writer(one.settings, open_keys(one.settings)) as writer:
        register(writer, site)
    daemon = one.start()
    try:
        at = "20260101000000+0000"
        head = f"MSH|^~\\&|ZZEHR|UMBH|||{at}||ADT^A08|ZZN1|P|2.5.1"
        body = (
            head,
            f"EVN||{at}",
            "PID|1||ZZK701^^^UMBH^MR||ZZTEST^X",
            "PV1|1|I|4W^1|||||||||||||||INP|ZZKN1",
        )
        asyncio.run(exchange(daemon.port, b"\x0b" + "\r".join((*body, "")).encode() + b"\x1c\r"))
        daemon.worked()
    finally:
        daemon.stop()
    with hold_writer(one.settings, open_keys(one.settings)) as writer, writer.reading() as reader:
        lane = Tokens(writer.keyring, site).lookup("ZZKN1")
        saved = reader.stay(reader.resolve(lane) or lane)
        assert saved is not None
        fold = StayFold.restore(site, saved.head, saved.increments)
        assert {str(each.value) for each in fold.results("potassium") or () if each.value} == {"4.2", "3.9"}


def test_nothing_that_is_not_committed_is_known(ward: Ward) -> None:
    """A transaction that is given up has taught nothing."""

    def work(batch: Batch) -> tuple[list[bytes], list[bytes]]:
        memory = ward.writer._memory
        given_up = Working(memory)
        StoredNumbers(batch.cursor, given_up.learnt).keep(b"p" * 16, b"n" * 16, b"l" * 16, (1, 0))
        fresh = StoredNumbers(batch.cursor, Working(memory).learnt)
        return fresh.find(b"p" * 16, b"n" * 16), StoredNumbers(batch.cursor, given_up.learnt).find(
            b"p" * 16, b"n" * 16
        )

    assert ward.writer.call(Inside(work)) == ([], [b"l" * 16])


# --- told of under another visit of the patient -------------------------------------------------------------


def inpatient(hours: float, visit: str, control: str) -> Say:
    def frame(feed: Feed) -> bytes:
        said = [f"ORC|{control}|P7^ZZEHR", "OBR|1|P7^ZZEHR||ADTINPT"]
        return feed.frame(*feed.head("ORM^O01", hours), feed.pid(ONE), feed.pv1(visit), *said)

    return frame


FILED: dict[str, tuple[list[Say], tuple[str, ...]]] = {
    "a correction": ([said(3, BOTH, 61, "V1"), said(5, F1, 66, "V2", status="C")], ("CORRECTION_ELSEWHERE",)),
    "a withdrawal": ([said(3, BOTH, 61, "V1"), said(5, F1, 61, "V2", status="D")], ("CORRECTION_ELSEWHERE",)),
    "under the visit of nobody": (
        [said(3, BOTH, 61, "V1"), said(5, F1, 66, "V9", status="C")],
        ("CORRECTION_ELSEWHERE",),
    ),
    "a value only": ([said(3, BOTH, 61, "V1"), said(5, F1, 66, "V2")], ()),
    "of its own value there": (
        [said(3, BOTH, 61, "V1"), said(4, BOTH, 62, "V2"), said(5, F1, 66, "V2", status="C")],
        (),
    ),
    "another report": ([said(3, BOTH, 61, "V1"), said(5, OTHER, 66, "V2", status="C")], ()),
    "another patient's": ([said(3, BOTH, 61, "V1"), said(5, F1, 66, "V9", TWO, status="C")], ()),
    "corrected here too": (
        [said(3, BOTH, 61, "V1"), said(5, F1, 66, "V2", status="C"), said(6, F1, 66, "V1", status="C")],
        (),
    ),
    "an inpatient order": ([inpatient(3, "V1", "NW"), inpatient(5, "V2", "CA")], ("ORDER_ENDED_ELSEWHERE",)),
    "on hold": ([inpatient(3, "V1", "NW"), inpatient(5, "V9", "HD")], ("ORDER_ENDED_ELSEWHERE",)),
    "an order that is told of": ([inpatient(3, "V1", "NW"), inpatient(5, "V2", "SC")], ()),
}


def alone(frames: Sequence[bytes], visit: str) -> tuple[str, ...]:
    """What one stay says by its own messages, beside no other."""
    run = Shadow(default_site())
    for frame in frames:
        run.take(frame)
    folds = [each.fold for each in run.lanes.values()]
    (fold,) = (each for each in folds if each.stay(LATER).visit.startswith(f"{visit}X"))
    return tuple(each for each in fold.stay(LATER).exceptions if each.endswith("_ELSEWHERE"))


@pytest.mark.parametrize(("say", "raised"), FILED.values(), ids=FILED.keys())
def test_what_is_filed_under_another_visit_is_known_to_the_stay_that_it_means(
    say: list[Say], raised: tuple[str, ...]
) -> None:
    feed = Feed()
    frames = [each(feed) for each in (*HERE, *say)]
    assert alone(frames, "V1") == raised
    assert alone(frames, "V2") == ()
    values, _ = shadowed(frames)
    assert not raised or not values or 61 in values["V1"]  # nothing of it counts


def test_the_daemon_shows_it_to_the_other_stay(ward: Ward) -> None:
    wanted: dict[str, tuple[str, ...]] = {}
    frames: list[bytes] = []
    for say, raised in FILED.values():
        feed = Feed()
        wanted[f"V1X{feed.own}"] = raised
        frames += [each(feed) for each in (*HERE, *say)]
    ward.begin()
    ward.send(*frames)
    ward.idle()
    ward.end()
    stays = [fold.stay(LATER) for fold in ward.folds()]
    found = {
        stay.visit: tuple(each for each in stay.exceptions if each.endswith("_ELSEWHERE")) for stay in stays
    }
    assert {visit: found[visit] for visit in wanted} == wanted
    assert ward.stays()  # folded again from its rows each is the same
    assert set(ward.states().values()) <= {"DETERMINED", "NOT_APPLICABLE"}


def test_an_answer_that_meets_waits_meanwhile() -> None:
    met = ScreenResult(Outcome.MEETS, rationale="zz")
    held = told_of_what_is_elsewhere(met, ("CORRECTION_ELSEWHERE",))
    assert held.hold == ("CORRECTION_ELSEWHERE",)
    assert told_of_what_is_elsewhere(held, ("CORRECTION_ELSEWHERE",)) == held
    assert told_of_what_is_elsewhere(met, ()) == met
    refer = ScreenResult(Outcome.REFER, rationale="zz")
    assert told_of_what_is_elsewhere(refer, ("CORRECTION_ELSEWHERE",)) == refer


@pytest.mark.parametrize("fault", [lambda *_: [], lambda numbers, named, lane, seq: [lane]])
def test_a_stay_that_is_shown_nothing_turns_a_case_red(monkeypatch: pytest.MonkeyPatch, fault: Any) -> None:
    monkeypatch.setattr(by_number, "others", fault)
    for say, raised in FILED.values():
        feed = Feed()
        if alone([each(feed) for each in (*HERE, *say)], "V1") != raised:
            return
    pytest.fail("no case saw it")

"""When an order begins and ends by its own fields, as a sender writes them: real messages, every place."""

from __future__ import annotations

import random
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from umbridge.hl7 import timing
from umbridge.hl7.er7 import parse
from umbridge.hl7.translate import translate
from umbridge.model import Event
from umbridge.settings.site import default_site
from umbridge.stay.fold import StayFold
from umbridge.stay.orders import force
from umbridge.stay.readings.window import readings
from umbridge.values.kinds import ReviewType

SITE = default_site()
ZONE = ZoneInfo("America/New_York")
FLUIDS, INPATIENT = "RXNACLIV", "ADTINPT"
FACT = "iv_fluids"


def at(clock: str) -> datetime:
    """``DDHHMM`` of April 2026 on the site's clock."""
    return datetime.strptime(f"202604{clock}", "%Y%m%d%H%M").replace(tzinfo=ZONE)


def message(kind: str, sent: str, *segments: str) -> Event:
    lines = [
        f"MSH|^~\\&|ZZEHR|UMBH|UMBRIDGE|UMBH|202604{sent}00||{kind}|ZZ-{sent}|P|2.5.1",
        "PID|1||7790021^^^UMBH^MR||ZZTEST^HAZEL||19580711|F",
        "PV1|1|E|ED^3^1^UMBH|||||||||||||||EDP|ZZVN21^^^UMBH^VN" + "|" * 25 + "20260402060000",
        *segments,
    ]
    return translate(parse("\r".join(lines).encode()), ZONE, SITE.mrn_authority)


ARRIVAL = message("ADT^A04^ADT_A01", "020600")


def orc(
    control: str = "NW", timing: str = "", effective: str = "", status: str = "", entered: str = ""
) -> str:
    fields = ["ORC", control, "P1^ZZEHR", "", "", status, "", timing, "", entered, *[""] * 5, effective]
    return "|".join(fields).rstrip("|")


def obr(code: str, **fields: str) -> str:
    """``f36`` is OBR-36."""
    row = ["OBR", "1", "P1^ZZEHR", "", f"{code}^^99UMB", *[""] * 36]
    for name, value in fields.items():
        row[int(name[1:])] = value
    return "|".join(row).rstrip("|")


def tq1(start: str = "", stop: str = "", **fields: str) -> str:
    row = ["TQ1", "1", *[""] * 5, start, stop, *[""] * 6]
    for name, value in fields.items():
        row[int(name[1:])] = value
    return "|".join(row).rstrip("|")


def tq(start: str = "", stop: str = "", duration: str = "") -> str:
    return f"1^Q6H^{duration}^{start}^{stop}" if start or stop or duration else ""


Place = Callable[..., tuple[str, ...]]


def _obr(*segments: Callable[[str, str], str]) -> Place:
    return lambda start, stop, **its: (orc(**its), *(each(start, stop) for each in segments))


#: Where an order can say when it begins and ends, and whether it can say both. Of each: the segments.
PLACES: dict[str, tuple[str, Place, bool]] = {
    "TQ1 before OBR": ("OMG^O19", lambda c, a, b, **its: (orc(**its), tq1(a, b), obr(c)), True),
    "TQ1 after OBR": ("OMG^O19", lambda c, a, b, **its: (orc(**its), obr(c), tq1(a, b)), True),
    "ORC-7": ("ORM^O01", lambda c, a, b, **its: (orc(timing=tq(a, b), **its), obr(c)), True),
    "OBR-27": ("ORM^O01", lambda c, a, b, **its: (orc(**its), obr(c, f27=tq(a, b))), True),
    "ORC-7 beside an OBR-27 of the urgency": (
        "ORM^O01",
        lambda c, a, b, **its: (orc(timing=tq(a, b), **its), obr(c, f27="^^^^^R")),
        True,
    ),
    "OBR-27 beside a TQ1 of the urgency": (
        "OMG^O19",
        lambda c, a, b, **its: (orc(**its), tq1(f9="R"), obr(c, f27=tq(a, b))),
        True,
    ),
    "OBR-36": ("ORM^O01", lambda c, a, b, **its: (orc(**its), obr(c, f36=a)), False),
    "OBR-6": ("ORM^O01", lambda c, a, b, **its: (orc(**its), obr(c, f6=a)), False),
    "OBR-7": ("ORM^O01", lambda c, a, b, **its: (orc(**its), obr(c, f7=a)), False),
    "ORC-15": ("ORM^O01", lambda c, a, b, **its: (orc(effective=a, **its), obr(c)), False),
    "ORC-7 of an RXO": ("OMP^O09", lambda c, a, b, **its: (orc(timing=tq(a, b), **its), f"RXO|{c}"), True),
    "TQ1 of an RXO": ("OMP^O09", lambda c, a, b, **its: (orc(**its), tq1(a, b), f"RXO|{c}"), True),
    "RXE-1": ("RDE^O11", lambda c, a, b, **its: (orc(**its), f"RXE|{tq(a, b)}|{c}"), True),
    "TQ1 of an RXE": ("RDE^O11", lambda c, a, b, **its: (orc(**its), f"RXE||{c}", tq1(a, b)), True),
    "TQ1 of an RXO that was encoded": (
        "RDE^O11",
        lambda c, a, b, **its: (orc(**its), f"RXO|{c}", tq1(a, b), f"RXE||{c}"),
        True,
    ),
}
BOTH = [name for name, (_, _, is_both) in PLACES.items() if is_both]
#: How a time is written, and the last minute before it and the first since, on the site's clock.
STARTS = {
    "to the second": ("20260405140000-0400", "051359", "051400"),
    "without its zone": ("202604051400", "051359", "051400"),
    "in another zone": ("20260405180000+0000", "051359", "051400"),
    "a day": ("20260405", "042359", "050000"),
    "a day with its zone": ("20260405-0400", "042359", "050000"),
}
STOPS = {
    "to the second": ("20260405140000-0400", "051359", "051400"),
    "without its zone": ("202604051400", "051359", "051400"),
    "an hour": ("2026040514", "051459", "051500"),
    "a day": ("20260405", "052359", "060000"),
    "a day with its zone": ("20260405-0400", "052359", "060000"),
    "hour 24": ("202604052400", "052359", "060000"),
}
#: What says that there is an order.
CONTROLS = {
    "new": {},
    "new, entered before": {"entered": "20260402110000"},
    "scheduled": {"status": "SC"},
    "a change of one that nobody saw": {"control": "XO"},
    "a replacement": {"control": "RO"},
    "status changed, scheduled": {"control": "SC", "status": "SC"},
}


def order(place: str, code: str, start: str, stop: str = "", sent: str = "021200", **its: str) -> Event:
    kind, made, _ = PLACES[place]
    return message(kind, sent, *made(code, start, stop, **its))


def control(place: str, how: str) -> dict[str, str]:
    """Each with several places and ways to write a time."""
    row = [*STARTS, *STOPS]
    return list(CONTROLS.values())[(list(PLACES).index(place) + row.index(how)) % len(CONTROLS)]


def alone(control: str, sent: str, **its: str) -> Event:
    """Something said of the order by its number alone."""
    return message("ORM^O01", sent, orc(control, **its))


def folded(*events: Event) -> StayFold:
    fold = StayFold(SITE)
    for seq, event in enumerate((ARRIVAL, *events)):
        fold.apply(event, seq)
    return fold


def runs(fold: StayFold, clock: str) -> object:
    found = readings(fold, at(clock), review=ReviewType.ADMISSION, wanted={FACT})
    return found[FACT].latest.value


def status(fold: StayFold, clock: str) -> str:
    found = fold.stay(at(clock)).status
    return "" if found is None else found.value


# --- when it begins ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", STARTS)
@pytest.mark.parametrize("place", PLACES)
def test_a_treatment_is_not_in_force_before_its_start(place: str, how: str) -> None:
    start, before, since = STARTS[how]
    fold = folded(order(place, FLUIDS, start, **control(place, how)))
    assert [runs(fold, clock) for clock in ("021200", before, since)] == [False, False, True]


@pytest.mark.parametrize("how", STARTS)
@pytest.mark.parametrize("place", [each for each in PLACES if "RX" not in each])
def test_a_status_order_is_not_in_force_before_its_start(place: str, how: str) -> None:
    start, before, since = STARTS[how]
    fold = folded(order(place, INPATIENT, start, **control(place, how)))
    assert [status(fold, clock) for clock in ("021200", before, since)] == ["ED", "ED", "INPATIENT"]
    assert fold.stay(at(since)).inpatient_start == at(since)
    assert fold.stay(at(before)).next_turn == at(since)  # a daemon looks then, though nothing is said


@pytest.mark.parametrize("place", [each for each in PLACES if "RX" not in each and each != "ORC-15"])
@pytest.mark.parametrize("start", ["20260402080000", "202604020800", "20260402", "20260401", "2026"])
def test_a_start_that_has_passed_dates_nothing_back(place: str, start: str) -> None:
    """It is the earliest at which the service may begin (4.5.4.7), and not when it began."""
    for entered in ("20260402110000",):
        fold = folded(order(place, INPATIENT, start, entered=entered))
        began = fold.stay(at("021300")).inpatient_start
        assert began == datetime.strptime(entered, "%Y%m%d%H%M%S").replace(tzinfo=ZONE)


def test_the_latest_of_two_starts_counts_and_an_effective_time_ahead_before_both() -> None:
    both = message("OMG^O19", "021200", orc(), tq1("20260405140000"), obr(FLUIDS, f36="20260406090000"))
    assert [runs(folded(both), clock) for clock in ("051400", "060859", "060900")] == [False, False, True]
    other = message("OMG^O19", "021200", orc(), tq1("20260406090000"), obr(FLUIDS, f36="20260405140000"))
    assert [runs(folded(other), clock) for clock in ("051400", "060900")] == [False, True]
    ahead = message("OMG^O19", "021200", orc(effective="20260403080000"), tq1("20260405140000"), obr(FLUIDS))
    assert [runs(folded(ahead), clock) for clock in ("021200", "030759", "030800")] == [False, False, True]
    copied = message("OMG^O19", "021200", orc(effective="20260402120000"), tq1("20260405140000"), obr(FLUIDS))
    assert [runs(folded(copied), clock) for clock in ("021200", "051400")] == [False, True]
    late = message("OMG^O19", "021200", orc(effective="20260402080000"), tq1("20260405140000"), obr(FLUIDS))
    assert [runs(folded(late), clock) for clock in ("021200", "051400")] == [False, True]


@pytest.mark.parametrize("how", ["without its zone", "a day"])
@pytest.mark.parametrize("place", PLACES)
def test_an_end_is_not_put_off_by_the_start_that_it_repeats(place: str, how: str) -> None:
    start, _, since = STARTS[how]
    begun = order(place, FLUIDS, start)
    gone = order(place, FLUIDS, "" if place == "ORC-15" else start, sent="031000", control="CA")
    for events in ((begun, gone), (gone, begun)):
        assert [runs(folded(*events), clock) for clock in ("031200", since)] == [False, False]
    asked = order("TQ1 before OBR", INPATIENT, start)
    back = order("TQ1 before OBR", INPATIENT, start, sent="031000", control="CA")
    assert status(folded(asked, back), since) == "ED"


def test_an_order_that_is_put_off_or_brought_forward_begins_when_it_was_last_told() -> None:
    for code, shown in ((FLUIDS, runs), (INPATIENT, status)):
        is_on = (True, "INPATIENT")
        first = order("TQ1 before OBR", code, "202604051400")
        for start, before, since in (
            ("202604061400", "051400", "061400"),
            ("202604041400", "041359", "041400"),
            ("202604030900", "" if code == INPATIENT else "030959", "031000"),  # it is to begin at once
            ("", "031000", "051400"),  # nothing is said of it
        ):
            fold = folded(first, order("TQ1 before OBR", code, start, sent="031000", control="XO"))
            assert shown(fold, since) in is_on
            assert not before or shown(fold, before) not in is_on  # also where somebody has looked later
            assert shown(fold, since) in is_on


def test_what_runs_goes_on_when_a_change_says_from_when() -> None:
    begun = order("TQ1 before OBR", FLUIDS, "202604021200")
    changed = order("TQ1 before OBR", FLUIDS, "202604050900", sent="031000", control="XO")
    assert [runs(folded(begun, changed), clock) for clock in ("021200", "031200", "050900")] == [True] * 3


STEPS = ["HD", "RL", "OK", "SC", "SC SC", "SC IP", "XO", "DC", "UC", "UD", "OD", "NA", "RE"]


def told_before_the_start(place: str, steps: list[str], turn: random.Random) -> list[bool]:
    said = [
        alone(word[:2], f"{2 + (12 + n) // 24:02}{(12 + n) % 24:02}30", status=word[3:])
        for n, word in enumerate(steps)
    ]
    fold = StayFold(SITE)
    events = list(enumerate((ARRIVAL, order(place, FLUIDS, "202604051400"), *said)))
    for seq, event in turn.sample(events, len(events)) + turn.sample(events, 2):
        fold.apply(event, seq)
    return [runs(fold, clock) is True for clock in ("021200", "021700", "030600", "051359")]


@settings(max_examples=25, deadline=None)
@given(st.sampled_from(list(PLACES)), st.lists(st.sampled_from(STEPS), max_size=8), st.randoms())
def test_nothing_said_by_number_begins_an_order_before_its_start(
    place: str, steps: list[str], turn: Any
) -> None:
    assert told_before_the_start(place, steps, turn) == [False] * 4


# --- when it ends -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", STOPS)
@pytest.mark.parametrize("place", BOTH)
def test_a_stop_without_an_hour_is_that_day_to_its_end(place: str, how: str) -> None:
    stop, before, since = STOPS[how]
    for start in ("202604021200", ""):
        fold = folded(order(place, FLUIDS, start, stop, **control(place, how)))
        assert [runs(fold, clock) for clock in ("021200", before, since)] == [True, True, False]


@pytest.mark.parametrize("place", BOTH)
def test_a_stop_on_the_day_of_the_order_lets_it_run_that_day(place: str) -> None:
    fold = folded(order(place, FLUIDS, "202604021200", "20260402"))
    assert [runs(fold, clock) for clock in ("021200", "022359", "030000")] == [True, True, False]
    changed = order(place, FLUIDS, "202604021200", "20260404", sent="021500", control="XO")
    assert [runs(folded(order(place, FLUIDS, "202604021200", "20260402"), changed), "042359")] == [True]


def test_the_last_hour_of_a_day_whose_clock_changes() -> None:
    """On 1 November 2026 the clock goes back at 2: the day is 25 hours long."""
    event = message("OMG^O19", "021200", orc(), tq1("202604021200", "20261101"), obr(FLUIDS))
    ends = event.orders[0].timing
    assert ends is not None
    assert ends.stop == datetime(2026, 11, 2, tzinfo=ZONE)


LENGTHS = {
    "hours": ({"f6": "3^hr"}, 180),
    "minutes, as UCUM writes them": ({"f6": "30^min&&UCUM"}, 30),
    "days": ({"f6": "2^d&&ANS+"}, 2880),
    "a week": ({"f6": "1^wk"}, 7 * 1440),
    "half an hour": ({"f6": "0.5^h"}, 30),
    "the earlier of length and stop": ({"f6": "3^h", "f8": "20260402170000"}, 180),
    "the earlier of stop and length": ({"f6": "9^h", "f8": "20260402150000"}, 180),
    "once, for so long": ({"f3": "ONCE", "f13": "45^min"}, 45),
    "one occurrence, for so long": ({"f14": "1", "f13": "45^min"}, 45),
    "one occurrence": ({"f3": "Q24H", "f14": "1"}, 0),
    "once": ({"f3": "ONCE"}, 0),
    "once, on that day": ({"f3": "ONCE", "f8": "20260402"}, 0),
}


@pytest.mark.parametrize(("fields", "minutes"), LENGTHS.values(), ids=LENGTHS.keys())
@pytest.mark.parametrize("start", ["20260402120000", ""])
def test_a_length_ends_it_counted_from_its_beginning(
    fields: dict[str, str], minutes: int, start: str
) -> None:
    event = message("OMG^O19", "021200", orc(), tq1(**{"start": start, **fields}), obr(FLUIDS))
    ends, fold = at("021200") + timedelta(minutes=minutes), folded(event)
    its = [at("021200"), ends - timedelta(minutes=1), ends]
    clocks = [f"{each:%d%H%M}" for each in its if each >= its[0]]
    assert [runs(fold, clock) for clock in clocks] == [each < ends for each in its if each >= its[0]]
    assert event.notes == ()
    if start:
        put_off = message("OMG^O19", "021200", orc(), tq1(**{"start": "202604051400", **fields}), obr(FLUIDS))
        found = folded(put_off)
        assert runs(found, "021200") is False
        assert runs(found, "051400") is (minutes > 0 and "f8" not in fields)


@pytest.mark.parametrize(
    ("duration", "minutes"), [("H3", 180), ("M30", 30), ("D2", 2880), ("W1", 7 * 1440), ("S90", 2), ("X1", 0)]
)
@pytest.mark.parametrize("place", ["ORC-7", "OBR-27", "RXE-1"])
def test_the_length_of_a_tq(place: str, duration: str, minutes: int) -> None:
    its = tq("", "", duration)
    segments = {
        "ORC-7": (orc(timing=its), obr(FLUIDS)),
        "OBR-27": (orc(), obr(FLUIDS, f27=its)),
        "RXE-1": (orc(), f"RXE|{its}|{FLUIDS}"),
    }[place]
    fold = folded(message("RDE^O11" if place == "RXE-1" else "ORM^O01", "021200", *segments))
    ends = at("021200") + timedelta(minutes=minutes)
    assert runs(fold, "021200") is (minutes > 0)
    assert runs(fold, f"{ends:%d%H%M}") is False
    if minutes:
        assert runs(fold, f"{ends - timedelta(minutes=1):%d%H%M}") is True


@pytest.mark.parametrize(
    ("segments", "field"),
    [
        ((orc(), tq1(f6="3^mo"), obr(FLUIDS)), "TQ1[1]-6"),
        ((orc(), tq1(f6="3"), obr(FLUIDS)), "TQ1[1]-6"),
        ((orc(), tq1(f6="0^h"), obr(FLUIDS)), "TQ1[1]-6"),
        ((orc(), tq1(f6="-3^h"), obr(FLUIDS)), "TQ1[1]-6"),
        ((orc(), tq1(f6="3^m"), obr(FLUIDS)), "TQ1[1]-6"),
        ((orc(), tq1(f3="Q6H", f14="9"), obr(FLUIDS)), "TQ1[1]-14"),
        ((orc(timing=tq("", "", "L1")), obr(FLUIDS)), "ORC[1]-7"),
        ((orc(timing=tq("", "", "X3")), obr(FLUIDS)), "ORC[1]-7"),
        ((orc(timing=tq("", "", "T10")), obr(FLUIDS)), "ORC[1]-7"),
        ((orc(), obr(FLUIDS, f27="1^Q6H" + "^" * 10 + "4")), "OBR[1]-27"),
    ],
)
def test_a_length_that_is_not_read_is_counted_and_the_order_runs(
    segments: tuple[str, ...], field: str
) -> None:
    event = message("OMG^O19", "021200", *segments)
    assert event.notes == (f"{field} duration_not_read",)
    assert [runs(folded(event), clock) for clock in ("021200", "061200")] == [True, True]
    assert event.orders[0].timing is not None


def test_a_change_says_anew_for_how_long_and_counts_from_the_beginning() -> None:
    begun = order("TQ1 before OBR", FLUIDS, "202604021200")
    for detail in ((obr(FLUIDS),), ()):
        shorter = message("OMG^O19", "021300", orc("XO"), tq1(f6="3^h"), *detail)
        assert [runs(folded(begun, shorter), clock) for clock in ("021459", "021500")] == [True, False]
        again = order("TQ1 before OBR", FLUIDS, "202604021200", sent="021400", control="SC")
        assert runs(folded(begun, shorter, again), "021500") is True


# --- several timings --------------------------------------------------------------------------------------

SEVERAL: dict[str, tuple[tuple[str, ...], dict[str, bool]]] = {
    "one after the other": (
        (tq1("202604021200", "202604021400", f12="S"), tq1("202604021400", "202604021600")),
        {"021200": True, "021359": True, "021400": True, "021559": True, "021600": False},
    ),
    "with a night between": (
        (tq1("202604021200", "202604021800", f12="S"), tq1("202604030800", "202604031800")),
        {"021200": True, "021759": True, "021800": False, "030759": False, "030800": True, "031800": False},
    ),
    "three days of six hours": (
        tuple(tq1(f"2026040{day}1200", f"2026040{day}1800", f12="S") for day in (2, 3, 4)),
        {"021759": True, "021800": False, "031200": True, "031800": False, "041759": True, "041800": False},
    ),
    "the later one first": (
        (tq1("202604030800", "202604031800", f12="A"), tq1("202604021200", "202604021800")),
        {"021200": True, "021800": False, "030800": True, "031800": False},
    ),
    "one without an end": (
        (tq1("202604021200", "202604021400", f12="S"), tq1("202604030800")),
        {"021200": True, "021400": False, "030800": True, "091200": True},
    ),
    "a dose, then continuously": (
        (tq1("202604021200", f3="ONCE", f12="S"), tq1("202604021300")),
        {"021200": False, "021259": False, "021300": True, "061300": True},
    ),
    "the second where the first ends": (
        (tq1("202604021200", f6="2^h", f12="S"), tq1(f6="3^h")),
        {"021200": True, "021659": True, "021700": False},
    ),
    "beside one another": (
        (tq1("202604021200", "202604021400", f12="A"), tq1("", "202604021500")),
        {"021200": True, "021459": True, "021500": False},
    ),
    "all to come": (
        (tq1("202604051200", "202604051400", f12="S"), tq1("202604061200", "20260406")),
        {"021200": False, "051200": True, "051400": False, "061200": True, "062359": True, "070000": False},
    ),
}


@pytest.mark.parametrize(("pieces", "wanted"), SEVERAL.values(), ids=SEVERAL.keys())
def test_several_timings_run_while_one_of_them_does(pieces: tuple[str, ...], wanted: dict[str, bool]) -> None:
    event = message("OMG^O19", "021200", orc(), *pieces, obr(FLUIDS))
    assert {clock: runs(folded(event), clock) for clock in wanted} == wanted
    ended = folded(event, alone("DC", "021330"))
    assert {clock: runs(ended, clock) for clock in wanted} == {
        clock: its and clock < "021330" for clock, its in wanted.items()
    }


def test_the_same_in_repetitions_of_orc_7() -> None:
    its = "^Q6H^^202604021200^202604021800~^Q6H^^202604030800^202604031800"
    fold = folded(message("ORM^O01", "021200", orc(timing=its), obr(FLUIDS)))
    assert [runs(fold, clock) for clock in ("021759", "021800", "030800", "031800")] == [
        *(True, False, True, False),
    ]


def test_a_change_of_an_order_with_a_pause_takes_only_its_own_turns_back() -> None:
    """Statements that come one by one give what all of them give at once."""
    twice = message("OMG^O19", "021200", orc(), *SEVERAL["with a night between"][0], obr(FLUIDS))
    changed = message("OMG^O19", "021300", orc("XO"), *SEVERAL["three days of six hours"][0], obr(FLUIDS))
    once = message("OMG^O19", "021400", orc("XO"), tq1("202604021200", "202604021500"), obr(FLUIDS))
    fold = StayFold(SITE)
    for seq, event in enumerate((ARRIVAL, twice, changed, once)):
        fold.apply(event, seq)
        others = StayFold.refold(SITE, list(enumerate((ARRIVAL, twice, changed, once)))[: seq + 1])
        assert list(fold.orders(FACT) or ()) == list(others.orders(FACT) or ())
    assert [runs(fold, clock) for clock in ("021459", "021500", "031200")] == [True, False, False]


# --- faults -----------------------------------------------------------------------------------------------

FAULTS: dict[str, tuple[Any, str, Any]] = {
    "no start is read": (timing, "_begins", lambda pieces: None),
    "what the filler scheduled is not read": (timing, "scheduled", lambda reading, obr, sent_at: None),
    "a release begins it": (force.OrderLine, "_not_before", lambda self, said, start: start),
}


@pytest.mark.parametrize(("room", "name", "fault"), FAULTS.values(), ids=FAULTS.keys())
def test_a_planted_fault_is_seen(monkeypatch: pytest.MonkeyPatch, room: Any, name: str, fault: Any) -> None:
    monkeypatch.setattr(room, name, fault)
    if name == "scheduled":
        monkeypatch.setattr("umbridge.hl7.orders.scheduled", fault)
    turn = random.Random(1)
    words: tuple[list[str], ...] = ([], ["HD", "RL"])
    assert any(any(told_before_the_start(place, steps, turn)) for place in PLACES for steps in words)

"""The hour that a clock has twice, or leaves out, in times without an offset: which one is meant."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from umbridge.dryrun.screen import Shadow
from umbridge.hl7 import er7
from umbridge.hl7.times import days_of, either
from umbridge.hl7.translate import translate
from umbridge.settings.site import default_site
from umbridge.stay.fold import StayFold
from umbridge.stay.identity import event_of
from umbridge.stay.readings.window import readings
from umbridge.values.kinds import ReviewType

SITE = default_site()
ZONE = SITE.zone
UNDATED = "SENT_TIME_UNKNOWN"
DOUBT = "CORRECTION_AMBIGUOUS"


def clock(text: str) -> datetime:
    """A moment of the night of 2026-11-01, as "01:45 EDT"."""
    hour, _, zone = text.partition(" ")
    return datetime.fromisoformat(f"2026-11-01T{hour}{'-04:00' if zone == 'EDT' else '-05:00'}")


def spring(text: str) -> datetime:
    hour, _, zone = text.partition(" ")
    return datetime.fromisoformat(f"2026-03-08T{hour}{'-04:00' if zone == 'EDT' else '-05:00'}")


def stamp(at: datetime, *, offset: bool = False) -> str:
    here = at.astimezone(ZONE)
    return here.strftime("%Y%m%d%H%M%S%z" if offset else "%Y%m%d%H%M%S")


def message(kind: str, msh7: str, *lines: str, number: int = 1) -> er7.Message:
    head = [
        f"MSH|^~\\&|ZZSYS|UMBH|||{msh7}||{kind}|ZZ{number}|P|2.5.1",
        "PID|1||ZZ1^^^UMBH^MR",
        "PV1|1|I|{place}|||||||||||||||INP|ZZV1^^^UMBH^VN" + "|" * 26,
    ]
    place = next((line for line in lines if line.startswith("PV1 ")), "PV1 4W^1").removeprefix("PV1 ")
    evn = [line for line in lines if line.startswith("EVN")]
    rest = [line for line in lines if line[:4] not in ("PV1 ", "EVN|")]
    return er7.parse("\r".join([head[0], *evn, head[1], head[2].format(place=place), *rest, ""]).encode())


ADMITTED = message(
    "ADT^A01", "20261031230000-0400", "EVN|A01|20261031230000-0400||||20261031230000-0400", number=99
)


# --- what MSH-7 means ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("msh7", "received", "sent", "is_undated"),
    [
        ("20261101014500", "01:45:02 EDT", "01:45 EDT", False),
        ("20261101014500", "01:44:58 EDT", "01:45 EDT", False),  # its clock is ahead
        ("20261101014500", "02:14 EDT", "01:45 EDT", False),
        ("202611010145", "01:45:02 EDT", "01:45 EDT", False),
        ("20261101014500", "01:45:02 EST", "01:45:02 EST", False),
        ("20261101014500", "01:44:58 EST", "01:44:58 EST", False),
        ("202611010145", "01:45:02 EST", "01:45:02 EST", False),
        ("20261101010000", "01:45 EDT", "01:45 EDT", False),  # kept back, or from a clock that is ahead
        ("20261101014500", "01:59:59 EST", "01:59:59 EST", False),
        ("20261101014500", "02:00 EST", "01:59:59 EST", True),
        ("20261101014500", "09:00 EST", "01:59:59 EST", True),
        ("20261101014500-0400", "09:00 EST", "01:45 EDT", False),
        ("20261101014500-0500", "09:00 EST", "01:45 EST", False),
        ("20261101014500", "", "01:59:59 EST", True),
        ("20261101020000", "", "02:00 EST", False),
        ("20261101005959", "", "00:59:59 EDT", False),
        ("2026110101", "01:20 EST", "01:20 EST", True),  # no minutes: an hour of two hours
        ("2026110101", "09:20 EST", "01:59:59 EST", True),
    ],
)
def test_when_a_message_of_the_hour_that_comes_twice_was_sent(
    msh7: str, received: str, sent: str, is_undated: bool
) -> None:
    event = translate(message("ADT^A08", msh7), ZONE, received_at=clock(received) if received else None)
    assert (event.sent_at.astimezone(UTC), event.is_undated) == (clock(sent).astimezone(UTC), is_undated)


@pytest.mark.parametrize(
    ("received", "sent", "is_undated"),
    [
        ("03:30:02 EDT", "03:30 EDT", False),  # its clock has not changed
        ("01:30:02 EST", "01:30 EST", False),  # its clock changed too early
        ("09:00 EDT", "03:30 EDT", True),
        ("", "03:30 EDT", True),
    ],
)
def test_when_a_message_of_the_hour_that_is_left_out_was_sent(
    received: str, sent: str, is_undated: bool
) -> None:
    one = message("ADT^A08", "20260308023000")
    event = translate(one, ZONE, received_at=spring(received) if received else None)
    assert (event.sent_at.astimezone(UTC), event.is_undated) == (spring(sent).astimezone(UTC), is_undated)


def test_what_a_message_of_a_file_tells_of_says_that_it_was_sent_in_the_second_hour() -> None:
    obx = "OBX|1|NM|2823-3^^LN||6.8|mmol/L|||||F|||{}"
    for told, sent, is_undated in (
        ("20261101014000-0500", "01:45 EST", False),
        ("20261101013000-0400", "01:59:59 EST", True),
        ("20261101020000-0500", "01:45 EST", False),
        ("20261102020000-0500", "01:59:59 EST", True),  # a mistake
    ):
        event = translate(message("ORU^R01", "20261101014500", "OBR|1||F1", obx.format(told)), ZONE)
        assert (event.sent_at.astimezone(UTC), event.is_undated) == (clock(sent).astimezone(UTC), is_undated)


@pytest.mark.parametrize(
    ("zone", "at", "last"),
    [
        ("America/New_York", "2026-11-01T01:10", "2026-11-01T06:59:59"),
        ("America/New_York", "2026-11-01T01:00", "2026-11-01T06:59:59"),
        ("Europe/Berlin", "2026-10-25T02:59:59", "2026-10-25T01:59:59"),
        ("Australia/Lord_Howe", "2026-04-05T01:40", "2026-04-04T15:29:59"),
        ("America/Havana", "2026-11-01T00:30", "2026-11-01T05:59:59"),
    ],
)
def test_the_two_hours_end_where_the_clock_has_them_no_more(zone: str, at: str, last: str) -> None:
    place = ZoneInfo(zone)
    its = either(datetime.fromisoformat(at).replace(tzinfo=place), place)
    assert its.last.astimezone(UTC) == datetime.fromisoformat(last).replace(tzinfo=UTC)
    after = (its.last + timedelta(seconds=1)).astimezone(place)
    assert its.earlier < its.later <= its.last and after.replace(fold=0).utcoffset() == after.utcoffset()


@pytest.mark.parametrize(
    ("raw", "first", "last"),
    [
        (b"2026110101", "01:00 EDT", "01:59:59 EST"),
        (b"2026110100", "00:00 EDT", "00:59:59 EDT"),
        (b"20261101", "00:00 EDT", "23:59:59 EST"),
    ],
)
def test_an_hour_without_minutes_that_comes_twice_is_two_hours(raw: bytes, first: str, last: str) -> None:
    found = days_of(raw, ZONE)
    assert found is not None and [each.astimezone(UTC) for each in found] == [
        clock(each).astimezone(UTC) for each in (first, last)
    ]


# --- what was told after what -------------------------------------------------------------------------------


def potassium(value: str, status: str, drawn: str = "20261101003000") -> tuple[str, ...]:
    return (
        f"OBR|1|P1^ZZCPOE|F1^ZZLAB|24323-8^^LN|||{drawn}" + "|" * 18 + "F",
        f"OBX|1|NM|2823-3^^LN||{value}|mmol/L|||||{status}|||{drawn}",
    )


Spoken = tuple[str, tuple[str, ...]]
#: Two statements, of which the one that was told last holds, with what the stay then is.
PAIRS: dict[str, tuple[Spoken, Spoken, str]] = {
    "withdrawn": (("ORU^R01", potassium("6.8", "F")), ("ORU^R01", potassium("6.8", "D")), ""),
    "corrected": (("ORU^R01", potassium("6.8", "F")), ("ORU^R01", potassium("4.2", "C")), "4.2"),
    "final again": (("ORU^R01", potassium("6.8", "F")), ("ORU^R01", potassium("4.2", "F")), "4.2"),
    "stopped": (
        ("ORM^O01", ("ORC|NW|P1^ZZCPOE", "RXO|RXNACLIV")),
        ("ORM^O01", ("ORC|DC|P1^ZZCPOE",)),
        "False",
    ),
    "moved": (
        ("ADT^A02", ("EVN|A02|{}||||{}", "PV1 MICU^3")),
        ("ADT^A02", ("EVN|A02|{}||||{}", "PV1 5W^2")),
        "5W",
    ),
    "back": (("ADT^A03", ("EVN|A03|{}",)), ("ADT^A13", ("EVN|A13|{}",)), "active"),
}


def said(name: str, which: int, at: datetime, *, offset: bool = False) -> er7.Message:
    kind, lines = PAIRS[name][which]
    when = stamp(at, offset=offset)
    return message(kind, when, *(line.replace("{}", when) for line in lines), number=which + 1)


AS_OF = clock("12:00 EST")


def outcome(fold: StayFold, name: str) -> tuple[str, bool]:
    """What holds, and whether the stay says that it may be otherwise."""
    stay = fold.stay(AS_OF)
    fact = "iv_fluids" if name == "stopped" else "potassium"
    found = readings(fold, AS_OF, review=ReviewType.ADMISSION, wanted={fact})
    now = str(found[fact].latest.value) if fact in found else ""
    holds = {"moved": stay.unit, "back": stay.lifecycle.value}.get(name, now)
    return holds or "", not {UNDATED, DOUBT}.isdisjoint(stay.exceptions)


def folded(told: list[tuple[er7.Message, datetime]]) -> StayFold:
    fold = StayFold(SITE)
    for seq, (one, received) in enumerate(told, 1):
        fold.apply(event_of(one, SITE, received.isoformat()), seq)
    return fold


MINUTES = st.integers(0, 119)


@settings(max_examples=40)
@given(st.sampled_from(sorted(PAIRS)), MINUTES, MINUTES, st.integers(0, 1700), st.integers(0, 3 * 3600))
def test_the_order_in_which_two_messages_came_is_the_order_in_which_they_were_told(
    name: str, one: int, other: int, slow: int, later: int
) -> None:
    """Whatever the clock showed, and however late they came: as it would be with offsets, or it is said."""
    first, second = (clock("01:00 EDT") + timedelta(minutes=each) for each in sorted((one, other)))
    admitted = (ADMITTED, clock("00:10 EDT"))
    sure = [said(name, n, at, offset=True) for n, at in enumerate((first, second))]
    meant, _ = outcome(folded([admitted, (sure[0], first), (sure[1], second)]), name)
    seconds = timedelta(seconds=slow)
    came = [first + seconds, max(first, second) + seconds]
    bare = [said(name, n, at) for n, at in enumerate((first, second))]
    found, _ = outcome(folded([admitted, *zip(bare, came, strict=True)]), name)
    assert found == meant
    held = [each + timedelta(seconds=later) for each in came]
    found, is_said = outcome(folded([admitted, *zip(bare, held, strict=True)]), name)
    assert found == meant or is_said


@pytest.mark.parametrize("name", sorted(PAIRS))
@pytest.mark.parametrize(("one", "other"), [("01:45 EDT", "01:15 EST"), ("01:15 EDT", "01:45 EST")])
def test_in_a_file_the_later_word_holds_and_that_nobody_knows_is_said(
    name: str, one: str, other: str
) -> None:
    run = Shadow(SITE)
    bare = [said(name, n, clock(each)) for n, each in enumerate((one, other))]
    for each in (ADMITTED, *bare):
        run.take(each.raw)
    (stay,) = run.stays(AS_OF)
    (lane,) = run.lanes.values()
    assert outcome(lane.fold, name) == (PAIRS[name][2], True)
    assert UNDATED in stay["exceptions"]


# --- times of their own -------------------------------------------------------------------------------------


def results(*told: tuple[str, str, str, str], as_of: datetime = AS_OF) -> tuple[list[tuple[str, str]], bool]:
    """The values in force, and whether any is in doubt. ``told``: MSH-7, OBX-14, OBX-11, value."""
    fold = folded([(ADMITTED, clock("00:10 EDT"))])
    for number, (sent, drawn, status, value) in enumerate(told, 2):
        at = clock(sent)
        one = message("ORU^R01", stamp(at), *potassium(value, status, drawn), number=number)
        fold.apply(event_of(one, SITE, at.isoformat()), number)
    listed = fold.results("potassium")
    assert listed is not None
    return [
        (str(each.value), datetime.fromtimestamp(each.at / 1e6, UTC).strftime("%H:%M"))
        for each in listed
        if each.value is not None
    ], DOUBT in fold.stay(as_of).exceptions


FIRST, SECOND, BARE = "20261101013000-0400", "20261101013000-0500", "20261101013000"


@pytest.mark.parametrize(
    ("sent", "status", "counts", "is_doubted"),
    [
        ("01:50 EST", "D", [], True),
        ("02:30 EST", "D", [], True),
        ("08:00 EST", "D", [], True),
        ("02:30 EST", "C", [], True),
        ("08:00 EST", "C", [], True),
    ],
)
def test_a_withdrawal_without_an_offset_may_mean_the_value_of_either_hour(
    sent: str, status: str, counts: list[tuple[str, str]], is_doubted: bool
) -> None:
    both = (("01:45 EST", FIRST, "F", "6.8"), ("01:46 EST", SECOND, "F", "5.1"))
    assert results(*both, (sent, BARE, status, "4.9")) == (counts, is_doubted)


@pytest.mark.parametrize(
    ("told", "counts"),
    [
        # sent before the hour began anew: the first
        ([("01:40 EDT", FIRST, "F", "6.8"), ("01:50 EDT", BARE, "D", "6.8")], []),
        # one value that it can mean
        ([("01:40 EDT", BARE, "F", "6.8"), ("03:00 EST", BARE, "D", "6.8")], []),
        ([("01:40 EST", SECOND, "F", "6.8"), ("03:00 EST", BARE, "D", "6.8")], []),
        ([("01:40 EDT", BARE, "P", "6.8"), ("03:00 EST", BARE, "F", "6.7")], [("6.7", "05:30")]),
        # a value of another minute of the hour is another value
        (
            [
                ("01:40 EDT", BARE, "F", "6.8"),
                ("01:40 EDT", "20261101013500", "F", "5.1"),
                ("03:00 EST", BARE, "D", ""),
            ],
            [("5.1", "05:35")],
        ),
        # a flow sheet of both hours, told as it was measured
        (
            [("01:31 EDT", BARE, "F", "6.8"), ("01:31 EST", BARE, "F", "5.1")],
            [("6.8", "05:30"), ("5.1", "06:30")],
        ),
        # told long after: the last moment at which it can have been
        ([("08:00 EST", BARE, "F", "6.8")], [("6.8", "06:30")]),
    ],
)
def test_which_of_two_hours_a_result_was_collected_in(
    told: list[tuple[str, str, str, str]], counts: list[tuple[str, str]]
) -> None:
    assert results(*told) == (counts, False)


LATER = {
    "moved": (
        ("ADT^A02", ("EVN|A02|{}||||{}", "PV1 MICU^3")),
        ("ADT^A02", ("EVN|A02|{}||||{}", "PV1 5W^2")),
    ),
    "back": (("ADT^A03", ("EVN|A03|{}",)), ("ADT^A13", ("EVN|A13|{}",))),
    "stopped": (
        ("ORM^O01", ("ORC|NW|P1^ZZCPOE|||||||{}", "RXO|RXNACLIV")),
        ("ORM^O01", ("ORC|DC|P1^ZZCPOE|||||||{}",)),
    ),
}


@settings(max_examples=40)
@given(st.sampled_from(sorted(LATER)), MINUTES, MINUTES, st.integers(0, 4 * 60))
def test_own_times_of_the_hour_decide_nothing_that_they_do_not_say(
    name: str, one: int, other: int, after: int
) -> None:
    """EVN-2, EVN-6, ORC-9, of messages sent at once or hours later: the later word holds, or it is said."""
    assume(
        not any(55 <= max(one, other) + after - each <= 66 for each in (one, other))
    )  # as of the other hour
    found = {}
    for offset in (True, False):
        told = [(ADMITTED, clock("00:10 EDT"))]
        for n, minute in enumerate((one, other)):  # the second may be of what was before
            own = clock("01:00 EDT") + timedelta(minutes=minute)
            sent = clock("01:00 EDT") + timedelta(minutes=max(one, other) + after, seconds=n)
            kind, lines = LATER[name][n]
            when = stamp(own, offset=offset)
            lines = tuple(line.replace("{}", when) for line in lines)
            told.append((message(kind, stamp(sent, offset=offset), *lines, number=n), sent))
        found[offset] = outcome(folded(told), name)
    assert found[False][0] == found[True][0] or found[False][1]

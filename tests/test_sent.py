"""When a message was sent that does not say so: receipt stands in, in an interval that MSH-7 leaves."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import permutations
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from click.testing import CliRunner

from umbridge.commands.main import main
from umbridge.dryrun.screen import Shadow
from umbridge.hl7 import er7
from umbridge.hl7.translate import translate
from umbridge.settings.site import default_site
from umbridge.stay.fold import StayFold
from umbridge.stay.identity import event_of
from umbridge.stay.readings.window import readings
from umbridge.values.kinds import ReviewType

ZONE = ZoneInfo("America/New_York")


def at(text: str) -> datetime:
    return datetime.fromisoformat(f"2026-03-{text}").replace(tzinfo=ZONE)


def result(msh7: str, obx14: str = "202603100831", obr22: str = "") -> er7.Message:
    lines = [
        f"MSH|^~\\&|ZZLAB|UMBH|||{msh7}||ORU^R01|ZZ1|P|2.5.1",
        "PID|1||ZZ1^^^UMBH^MR",
        "PV1|1|E|ED|||||||||||||||EDP|ZZV1^^^UMBH^VN",
        f"OBR|1||ZZF1^ZZLAB|ZZ^ZZ^L|||202603100825|||||||202603100840||||||||{obr22}",
        f"OBX|1|NM|2823-3^^LN||6.7|mmol/L|||||F|||{obx14}",
    ]
    return er7.parse("\r".join(lines).encode() + b"\r")


RECEIVED = "10T08:52:10"


@pytest.mark.parametrize(
    ("msh7", "received", "sent", "note"),
    [
        ("20260310090507", RECEIVED, "10T09:05:07", ""),
        ("202603100905", RECEIVED, "10T09:05", ""),
        ("202603100840", RECEIVED, "10T08:40", ""),
        ("202603100905-0400", RECEIVED, "10T09:05", ""),
        ("", RECEIVED, RECEIVED, "time_missing"),
        ('""', RECEIVED, RECEIVED, "time_missing"),
        ("03/10/2026 09:05", RECEIVED, RECEIVED, "time_missing"),
        ("2026031009", "10T09:20", "10T09:20", "time_inexact"),
        (
            "2026031009",
            "10T08:52",
            "10T09:00",
            "time_inexact",
        ),  # its clock is ahead
        ("2026031009", "12T07:00", "10T09:59:59", "time_inexact"),  # kept back for two days
        ("20260310", RECEIVED, RECEIVED, "time_inexact"),
        ("20260310-0400", RECEIVED, RECEIVED, "time_inexact"),
        ("20260310", "12T07:00", "10T23:59:59", "time_inexact"),
        ("202603", RECEIVED, RECEIVED, "time_inexact"),
        ("2026", RECEIVED, RECEIVED, "time_inexact"),
        # nobody received it: the latest of which it tells, here OBR-14
        ("", "", "10T08:40", "time_missing"),
        ("20260310", "", "10T08:40", "time_inexact"),
        ("20260309", "", "09T23:59:59", "time_inexact"),
        ("2026031008", "", "10T08:40", "time_inexact"),
    ],
)
def test_what_stands_in_for_the_time_of_sending(msh7: str, received: str, sent: str, note: str) -> None:
    event = translate(result(msh7), ZONE, received_at=at(received) if received else None)
    assert event.sent_at == at(sent)
    assert [
        each.partition(" ")[2]
        for each in event.notes
        if each.startswith("MSH-7 time_") and "read" not in each
    ] == ([note] if note else [])


@pytest.mark.parametrize("msh7", ["", "20260310", "2026031008", "202603100831", "03/10/2026", "202603"])
@pytest.mark.parametrize("received", ["", "10T08:52:10"])
def test_a_value_with_a_time_of_its_own_keeps_it(msh7: str, received: str) -> None:
    event = translate(result(msh7, "20260310083127"), ZONE, received_at=at(received) if received else None)
    assert event.observations[0].at == at("10T08:31:27") <= event.sent_at
    assert not [each for each in event.notes if "time_after" in each]


# --- a whole stay ---------------------------------------------------------------------------------------

SITE = default_site()
UNDATED_STAY = "SENT_TIME_UNKNOWN"
ARRIVED = (
    "MSH|^~\\&|ZZADT|UMBH|||20260310080000||ADT^A04|ZZ0|P|2.5.1\rEVN|A04|20260310080000\r"
    "PID|1||ZZ1^^^UMBH^MR\rPV1|1|E|ED|||||||||||||||EDP|ZZV1^^^UMBH^VN|||||||||||||||||||||||||20260310080000\r"
)
LEFT = ARRIVED.replace("A04", "A03").replace("ZZ0", "ZZ8").replace("100800", "101500", 2)


def report(
    number: int, msh7: str, value: str, status: str, report_status: str = "", at: str = "202603100831"
) -> bytes:
    lines = [
        f"MSH|^~\\&|ZZLAB|UMBH|||{msh7}||ORU^R01|ZZR{number}|P|2.5.1",
        "PID|1||ZZ1^^^UMBH^MR",
        "PV1|1|E|ED|||||||||||||||EDP|ZZV1^^^UMBH^VN",
        f"OBR|1||ZZF1^ZZLAB|ZZ^ZZ^L|||{at}||||||||||||||||||{report_status}",
        f"OBX|1|NM|2823-3^^LN||{value}|mmol/L|||||{status}|||{at}",
    ]
    return "\r".join(lines).encode() + b"\r"


UNDATED = ["", '""', "20260310", "2026031009", "yesterday", "202603"]


def known(fold: StayFold, as_of: str = "10T16:00") -> tuple[str, bool]:
    """The potassium that counts, "" for none, and whether the stay says that it is undated."""
    moment = at(as_of)
    found = readings(fold, moment, review=ReviewType.ADMISSION, wanted={"potassium"})
    is_said = UNDATED_STAY in fold.stay(moment).exceptions
    return (str(found["potassium"].latest.value) if found else ""), is_said


#: What was told before at 09:00 of the value, what an undated message says of it, and what then counts.
@pytest.mark.parametrize(
    ("sent", "counts"),
    [
        ("2026031008", "10T08:59:59"),
        ("2026031009", "10T09:05:00"),  # the last moment of that hour at which it can have been
        ("2026031008-0400", "10T08:59:59"),
        ("20260310", "10T09:05:00"),
        ("202603100831", "10T08:31:00"),
    ],
)
def test_an_hour_without_minutes_is_an_hour(sent: str, counts: str) -> None:
    """Read as its first moment it would lie before an arrival at half past eight."""
    event = translate(result("20260310090500", sent), ZONE)
    assert event.observations[0].at == at(counts)


SAID = [
    ("", "6.7", "F", "", "6.7"),
    ("4.3", "6.7", "C", "", "6.7"),
    ("4.3", "6.7", "F", "C", "6.7"),
    ("6.7", "", "D", "", ""),
    ("6.7", "", "W", "", ""),
    ("6.7", "", "X", "", ""),
    ("6.7", "6.7", "F", "X", ""),
]


@pytest.mark.parametrize("msh7", UNDATED)
@pytest.mark.parametrize(("before", "value", "status", "report_status", "counts"), SAID)
def test_what_an_undated_message_says_is_told_when_it_was_received(
    msh7: str, before: str, value: str, status: str, report_status: str, counts: str
) -> None:
    told = [(ARRIVED.encode(), "10T08:00:01"), (report(2, msh7, value, status, report_status), "10T09:30:00")]
    if before:
        told.insert(1, (report(1, "20260310090000", before, "F"), "10T09:00:01"))
    events = [
        (seq, event_of(er7.parse(each), SITE, at(when).isoformat()))
        for seq, (each, when) in enumerate(told, 1)
    ]
    for order in permutations(events):
        fold = StayFold(SITE)
        increments = [fold.apply(event, seq) for seq, event in order]
        kept = StayFold.restore(SITE, fold.head(), [each for each in increments if each])
        for one in (fold, kept, StayFold.refold(SITE, order)):
            assert known(one) == (counts, True)


@pytest.mark.parametrize("msh7", UNDATED)
@pytest.mark.parametrize(("before", "value", "status", "report_status", "counts"), SAID)
def test_of_files_no_order_decides_what_an_undated_message_means(
    msh7: str, before: str, value: str, status: str, report_status: str, counts: str
) -> None:
    told = [ARRIVED.encode(), LEFT.encode(), report(2, msh7, value, status, report_status)]
    if before:
        told.append(report(1, "20260310090000", before, "F"))
    for order in permutations(told):
        for as_of in ("10T16:00", "10T10:00", None):
            run = Shadow(SITE)
            for each in order:
                run.take(each)
                run.take(each)
            stays = run.stays(at(as_of) if as_of else None)
            assert UNDATED_STAY in stays[0]["exceptions"]
            (lane,) = run.lanes.values()
            assert known(lane.fold) == (counts, True)


def test_an_undated_event_that_says_when_it_was_entered_needs_no_receipt() -> None:
    frame = ARRIVED.replace("|20260310080000||ADT", "|||ADT")
    event = event_of(er7.parse(frame.encode()), SITE, at("10T08:07").isoformat())
    assert (event.told_at or event.sent_at, event.effective_at) == (at("10T08:07"), at("10T08:00"))
    assert not event.is_undated and "MSH-7 time_missing" in event.notes


def test_a_message_that_says_nothing_of_any_time_is_told_when_it_was_received() -> None:
    frame = report(1, "", "6.7", "F", at="")
    event = event_of(er7.parse(frame), SITE, at("10T09:00").isoformat())
    assert event.observations[0].at == event.sent_at == at("10T09:00")
    run = Shadow(SITE)
    for each in (frame, LEFT.encode(), ARRIVED.encode()):
        run.take(each)
    run.stays(at("10T11:00"))
    (lane,) = run.lanes.values()
    assert known(lane.fold, "10T11:00") == ("6.7", True)  # at the end of what is looked at, not in 1970


def test_screen_says_which_exceptions_stays_have(tmp_path: Path) -> None:
    (tmp_path / "a.hl7").write_bytes(ARRIVED.encode() + report(1, "", "6.7", "F"))
    for form in ([], ["--json"]):
        result = CliRunner().invoke(main, ["screen", str(tmp_path), "--as-of", "2026-03-10T10:00:00", *form])
        assert "1 stays have the exception SENT_TIME_UNKNOWN: --stays shows which" in result.stderr
        assert result.exit_code == 0


@pytest.mark.parametrize("values", [("6.1", "6.3"), ("6.3", "6.1")])
def test_of_two_undated_corrections_the_order_of_the_files_picks_none(values: tuple[str, str]) -> None:
    told = [ARRIVED.encode(), report(1, "20260310090000", "4.3", "F")]
    told += [report(n, "", value, "C") for n, value in enumerate(values, 2)]
    found = set()
    for order in permutations(told):
        run = Shadow(SITE)
        for each in order:
            run.take(each)
        run.stays(None)
        (lane,) = run.lanes.values()
        found.add(known(lane.fold))
    assert len(found) == 1


def test_an_undated_cancel_of_the_newest_message_of_all_is_told_after_it() -> None:
    back = LEFT.replace("A03", "A13").replace("ZZ8", "ZZ9").replace("|20260310150000||ADT", "|||ADT")
    back = back.replace("EVN|A13|20260310150000", "EVN|A13|")
    for order in permutations((ARRIVED.encode(), LEFT.encode(), back.encode())):
        run = Shadow(SITE)
        for each in order:
            run.take(each)
        (stay,) = run.stays(None)
        assert (stay["discharged_at"], UNDATED_STAY in stay["exceptions"]) == (None, True)


# --- entered before it happened, and sent after now ------------------------------------------------------


def left(entered: str, trigger: str = "A03", evn6: str = "20260310113000", pv1_45: str = "") -> er7.Message:
    pv1 = [""] * 46
    pv1[0], pv1[2], pv1[19], pv1[45] = "PV1", "I", "ZZV1^^^UMBH", pv1_45
    lines = (
        f"MSH|^~\\&|ZZ|UMBH|||20260310120000||ADT^{trigger}|ZZ9|P|2.5.1",
        f"EVN|{trigger}|{entered}||||{evn6}",
        "PID|1||ZZ1^^^UMBH^MR",
        "|".join(pv1),
    )
    return er7.parse("\r".join(lines).encode())


@pytest.mark.parametrize(
    ("entered", "told"),
    [
        ("20260310075000", None),  # hours before: of the visit, mostly
        ("20260310105900", None),
        ("20260310110000", "10T11:00"),  # by half an hour at most
        ("20260310113000", None),  # a copy of the event's own time
        ("20260310114500", "10T11:45"),
        ("20260310121500", None),  # after it was sent
    ],
)
def test_nobody_enters_hours_before_what_has_happened(entered: str, told: str | None) -> None:
    wanted = None if told is None else at(told)
    assert event_of(left(entered), SITE).told_at == wanted
    assert event_of(left(entered, evn6="", pv1_45="20260310113000"), SITE).told_at == wanted


@pytest.mark.parametrize("trigger", ["A05", "A15", "A16", "A27"])
def test_what_is_planned_is_entered_long_before(trigger: str) -> None:
    assert event_of(left("20260310075000", trigger=trigger), SITE).told_at == at("10T07:50")


def test_a_date_is_before_nothing() -> None:
    assert event_of(left("20260310075000", evn6="20260310"), SITE).told_at == at("10T07:50")


def test_screen_leaves_out_what_lies_ahead_of_the_clock_as_the_daemon_does(tmp_path: Path) -> None:
    run = Shadow(SITE, now=at("10T11:55"))
    run.take(ARRIVED.encode())
    assert (run.unread, len(run.lanes)) == ({}, 1)
    run = Shadow(SITE, now=at("10T11:55"))
    ahead = (datetime.now(UTC) + timedelta(days=365)).strftime("%Y%m%d%H%M%S+0000")
    later = ARRIVED.replace(ARRIVED.split("|")[6], ahead)
    run.take(later.encode())
    assert (run.unread, run.lanes) == ({"from_the_future": 1}, {})
    (tmp_path / "a.hl7").write_bytes(later.encode())
    for more, said in (([], True), (["--as-of", "2999-01-01"], None), (["--as-of", "2190-01-01"], False)):
        result = CliRunner().invoke(main, ["screen", str(tmp_path), "--stays", "--json", *more])
        assert said is None or ("1 not used: from_the_future" in result.stderr) == said

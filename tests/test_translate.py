"""Meaning: what a message says in the standard's terms, and a note for whatever could not be read."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from zoneinfo import ZoneInfo

import hl7
import pytest
from hl7apy.parser import parse_segment
from hypothesis import given
from hypothesis import strategies as st

from umbridge.errors import NotHl7Error
from umbridge.hl7 import fields
from umbridge.hl7.er7 import parse
from umbridge.hl7.moments import EPOCH
from umbridge.hl7.times import parse_date, parse_time
from umbridge.hl7.translate import identify, translate
from umbridge.model import Coded, Coverage, Event, Withdrawal
from umbridge.values.timings import Part, Timing

VIGNETTES = Path(__file__).parents[1] / "../shared/vignettes/cases"
ZONE = ZoneInfo("America/New_York")
MSH = "MSH|^~\\&|ZZEHR|UMBH|UMBRIDGE|UMBH|20260112140700-0500||{kind}|ZZ-1|P|2.5.1\r"
PID = "PID|1|OLD9|111^^^OTHER^PI~222^^^UMBH&1.2.3&ISO^MR||ZZTEST^ALDER||19530914|M||||||||||AC1^^^UMBH^AN\r"
PV1 = (
    "PV1|1|E|ED^12^1^UMBH|E|||990001^ZZDOCTOR|||MED||||||||EDP|VN1^^^UMBH^VN" + "|" * 25 + "20260112140500\r"
)
SENT = datetime(2026, 1, 12, 19, 7, tzinfo=UTC)


def said(kind: str, *segments: str, **more: object) -> Event:
    frame = MSH.format(kind=kind) + "".join(segments)
    return translate(parse(frame.encode()), ZONE, **more)  # type: ignore[arg-type]


def at(*parts: int) -> datetime:
    return datetime(*parts, tzinfo=ZONE)  # type: ignore[arg-type, misc]


# --- properties


@given(st.binary(max_size=120), st.sampled_from(["ADT^A01", "ADT^A03", "ORM^O01", "ORU^R01", "SIU^S12"]))
def test_no_message_makes_it_raise(tail: bytes, kind: str) -> None:
    rest = b"EVN|" + tail + b"\rPID|" + tail + b"\rPV1|" + tail + b"\rORC|" + tail + b"\rOBR|" + tail
    rest += b"\rOBX|" + tail + b"\rDG1|" + tail + b"\rIN1|" + tail + b"\rMRG|" + tail + b"\rPV2|" + tail
    frame = MSH.format(kind=kind).encode() + rest
    try:
        message = parse(frame)
    except NotHl7Error:
        raise AssertionError("the header is good") from None
    event = translate(message, ZONE)
    assert event.sent_at.tzinfo is not None and event.effective_at.tzinfo is not None
    assert all(observation.at.tzinfo is not None for observation in event.observations)
    identity = identify(message)
    assert (identity.visit, identity.account) == (event.visit.number, event.patient.account)
    assert identity.identifiers == event.patient.identifiers


@given(
    st.datetimes(datetime(1800, 1, 2), datetime(2199, 12, 30)),  # noqa: DTZ001 - the offset is drawn beside it
    st.integers(-14 * 60, 14 * 60),
    st.sampled_from(["%Y%m%d%H%M", "%Y%m%d%H%M%S", "%Y%m%d%H%M%S.%f"]),
)
def test_times_with_an_offset_come_back(moment: datetime, minutes: int, form: str) -> None:
    zone = timezone(timedelta(minutes=minutes))
    sign = "-" if minutes < 0 else "+"
    text = f"{moment.strftime(form)}{sign}{abs(minutes) // 60:02d}{abs(minutes) % 60:02d}"
    if moment.year >= 1000:
        found, note = parse_time(text.encode(), ZONE)
        assert note == ""
        assert found is not None
        assert found.strftime(form) == moment.strftime(form)
        assert found.utcoffset() == zone.utcoffset(None)


@given(
    st.one_of(
        st.binary(max_size=30), st.from_regex(rb"[0-9]{0,18}(\.[0-9]{0,6})?([+-][0-9]{0,4})?", fullmatch=True)
    )
)
def test_any_bytes_are_a_time_or_a_note(raw: bytes) -> None:
    found, note = parse_time(raw, ZONE)
    if found is None:
        assert note == "time_unreadable" or raw.strip() in (b"", b'""')
    else:
        assert found.tzinfo is not None
        assert found.astimezone(UTC).year in range(1799, 2202)
    day, note = parse_date(raw)
    assert (len(day) == 8 and not note) or (day == "" and (note or raw.strip() in (b"", b'""')))


# --- times a person would think of


@pytest.mark.parametrize(
    ("raw", "moment", "note"),
    [
        ("2026", at(2026, 1, 1), "time_coarse"),
        ("202603", at(2026, 3, 1), "time_coarse"),
        ("20260312", at(2026, 3, 12), ""),
        ("2026031214", at(2026, 3, 12, 14), ""),
        ("202603121405", at(2026, 3, 12, 14, 5), ""),
        ("20260312140506", at(2026, 3, 12, 14, 5, 6), ""),
        ("20260312140506.1234", at(2026, 3, 12, 14, 5, 6, 123400), ""),
        ("20260312140506.1234-0500", datetime(2026, 3, 12, 19, 5, 6, 123400, tzinfo=UTC), ""),
        ("202603121405+0545", datetime(2026, 3, 12, 8, 20, tzinfo=UTC), ""),
        ("20260312140506-05:00", datetime(2026, 3, 12, 19, 5, 6, tzinfo=UTC), ""),
        ("20260312140506-05", datetime(2026, 3, 12, 19, 5, 6, tzinfo=UTC), ""),
        ("20260312140506Z", datetime(2026, 3, 12, 14, 5, 6, tzinfo=UTC), ""),
        (" 20260312 ", at(2026, 3, 12), ""),
        ("20240229", at(2024, 2, 29), ""),
        ("20260229", None, "time_unreadable"),
        ("20261301", None, "time_unreadable"),
        ("202603122400", at(2026, 3, 13), "time_hour_24"),
        ("20261231240000", at(2027, 1, 1), "time_hour_24"),
        ("202603122401", None, "time_unreadable"),
        ("20261231235960", at(2026, 12, 31, 23, 59, 59), "time_leap_second"),
        ("20260312140506+9900", at(2026, 3, 12, 14, 5, 6), "time_offset_unreadable"),
        ("20260312140506+1401", at(2026, 3, 12, 14, 5, 6), "time_offset_unreadable"),
        ("20260312140506+0575", at(2026, 3, 12, 14, 5, 6), "time_offset_unreadable"),
        ("20260312140506+1400", datetime(2026, 3, 12, 0, 5, 6, tzinfo=UTC), ""),
        ("00000000", None, "time_unreadable"),
        ("99991231", None, "time_unreadable"),
        ("99991231235959", None, "time_unreadable"),
        ("1" * 30, None, "time_unreadable"),
        ("2026-03-12", None, "time_unreadable"),
        ("٢٠٢٦٠٣١٢", None, "time_unreadable"),
        ('""', None, ""),
        ("", None, ""),
        ("20261101013000", at(2026, 11, 1, 1, 30), ""),  # twice that night: the first
    ],
)
def test_times(raw: str, moment: datetime | None, note: str) -> None:
    assert parse_time(raw.encode(), ZONE) == (moment, note)


@pytest.mark.parametrize(
    ("raw", "day"),
    [("19530914", ("19530914", "")), ("195309", ("", "date_coarse")), ("19530914083000", ("19530914", ""))],
)
def test_dates(raw: str, day: tuple[str, str]) -> None:
    assert parse_date(raw.encode()) == day


# --- who


def test_a_registration_in_full() -> None:
    event = said("ADT^A04", "EVN|A04|20260112140700||||20260112140300\r", PID, PV1, mrn_authority="UMBH")
    assert (event.message_type, event.trigger, event.control_id, event.processing_id) == (
        "ADT",
        "A04",
        "ZZ-1",
        "P",
    )
    assert event.sent_at == SENT
    assert event.effective_at == at(2026, 1, 12, 14, 3)
    assert event.patient.identifiers == (("222", "UMBH", "MR"), ("111", "OTHER", "PI"))
    assert (event.patient.account, event.patient.birth_date, event.patient.sex) == ("AC1", "19530914", "M")
    visit = event.visit
    assert (visit.number, visit.authority) == ("VN1", "UMBH")
    assert visit.practitioners[0] == ("attending", "990001", "")
    assert (visit.patient_class, visit.patient_type, visit.service) == ("E", "EDP", "MED")
    assert (visit.unit, visit.room, visit.bed) == ("ED", "12", "1")
    assert (visit.admitted_at, visit.discharged_at) == (at(2026, 1, 12, 14, 5), None)
    assert (visit.disposition, visit.expected_discharge) == (None, None)
    assert event.notes == ()
    assert "ZZTEST" not in repr(event)


@pytest.mark.parametrize(
    ("kind", "evn", "effective"),
    [
        ("ADT^A04", "EVN|A04|20260112150000||||20260112140300", (14, 3)),
        ("ADT^A04", "EVN|A04|20260112150000", (14, 5)),  # PV1-44
        ("ADT^A03", "EVN|A03|20260112150000", (16, 0)),  # PV1-45
        ("ADT^A08", "EVN|A08|20260112150000", (15, 0)),
        ("ADT^A08", "EVN|A08", (14, 7)),  # MSH-7
        ("ORU^R01", "EVN|R01|20260112150000||||20260112140300", (14, 7)),
    ],
)
def test_when_it_took_effect(kind: str, evn: str, effective: tuple[int, int]) -> None:
    event = said(kind, evn + "\r", PV1.rstrip("\r") + "|20260112160000\r")
    assert event.effective_at == at(2026, 1, 12, *effective)


def test_null_deletes_and_empty_does_not() -> None:
    visit = said("ADT^A08", 'PV1|1|""|""|||||||||||||||\r').visit
    assert (visit.patient_class, visit.unit, visit.room, visit.bed) == ("", "", "", "")
    assert (visit.patient_type, visit.service, visit.disposition) == (None, None, None)
    visit = said("ADT^A08", 'PV1|1||4W^""\r').visit
    assert (visit.patient_class, visit.unit, visit.room, visit.bed) == (None, "4W", "", None)


def test_no_pid_and_no_pv1() -> None:
    event = said("ADT^A08")
    assert (event.patient.identifiers, event.visit.number, event.visit.patient_class) == ((), "", None)


def test_pid_2_where_pid_3_is_empty() -> None:
    event = said("ADT^A08", "PID|1|OLD9^^^UMBH^MR|\r")
    assert event.patient.identifiers == (("OLD9", "UMBH", "MR"),)
    assert said("ADT^A08", "PID|1\r").notes == ("PID-3 missing",)


def test_an_authority_without_a_name_is_its_universal_id() -> None:
    assert said("ADT^A08", "PID|1||1^^^&1.2.3&ISO^MR\r").patient.identifiers == (("1", "1.2.3", "MR"),)


def test_accounts_before_a_change_of_class() -> None:
    event = said("ADT^A06", PID, "MRG|7^^^UMBH^MR||AC0^^^UMBH^AN~AC00\r")
    assert event.prior_accounts == ("AC0", "AC00")


# --- what was said


def test_an_order() -> None:
    (order,) = said(
        "ORM^O01",
        "ORC|NW|P1^ZZEHR|F1|||||||||990001^ZZDOCTOR|||20260112152100\r",
        "OBR|1|P9||ADTINPT^Admit to inpatient^99UMB|||20260112100000\r",
    ).orders
    assert (order.control, order.placer, order.filler, order.status) == ("NW", "P1^ZZEHR", "F1", "")
    assert order.code == Coded("ADTINPT", "Admit to inpatient", "99UMB")
    assert (order.at, order.source) == (at(2026, 1, 12, 15, 21), "ZZ-1 ORC[1]")
    assert [each.number for each in order.practitioners] == ["990001"]


@pytest.mark.parametrize(
    ("orc", "obr", "moment"),
    [
        ("ORC|NW|P1|||||||20260112152000||||||20260112152100", "OBR|1||||||20260112100000", (15, 21)),
        ("ORC|NW|P1|||||||20260112152000", "OBR|1|||X|||20260112100000", (15, 20)),
        ("ORC|NW|P1", "OBR|1|||X|||20260112100000", (10, 0)),
        ("ORC|NW|P1", "OBR|1|||X", (14, 7)),
    ],
)
def test_when_an_order_counts_from(orc: str, obr: str, moment: tuple[int, int]) -> None:
    (order,) = said("ORM^O01", orc + "\r", obr + "\r").orders
    assert order.at == at(2026, 1, 12, *moment)


@pytest.mark.parametrize(
    ("orc", "obr", "placer", "filler"),
    [
        ("ORC|NW|P1^ZZEHR|F1^ZZLAB", "OBR|1|P9|F9", "P1^ZZEHR", "F1^ZZLAB"),
        ("ORC|NW|P1^^1.2.3^ISO|F1^ZZLAB^4.5^ISO", "OBR|1", "P1^^1.2.3", "F1^ZZLAB^4.5"),
        ("ORC|NW|P1|", "OBR|1|P1^ZZEHR|F1^ZZLAB", "P1^ZZEHR", "F1^ZZLAB"),
        ("ORC|NW|P1|F1", "OBR|1|P10^ZZEHR|", "P1", "F1"),
        ("ORC|NW|^ZZEHR|", 'OBR|1||""', "", ""),
    ],
)
def test_a_number_is_the_applications_that_gave_it(orc: str, obr: str, placer: str, filler: str) -> None:
    (order,) = said("ORM^O01", orc + "\r", obr + "\r").orders
    assert (order.placer, order.filler) == (placer, filler)


def test_control_codes_count_without_case_and_an_order_may_have_no_detail() -> None:
    first, second = said("ORM^O01", "ORC|ca|P1\r", "ORC||P2\rRXO|B\r").orders
    assert (first.control, first.is_detailed) == ("CA", False)
    assert (second.control, second.is_detailed) == ("", True)


@pytest.mark.parametrize(
    ("orc", "obr", "parent"),
    [
        ("ORC|CH|P2||||||P1&ZZEHR^F1&ZZLAB", "OBR|1", ("P1^ZZEHR", "F1^ZZLAB")),
        ("ORC|CH|P2||||||P1", "OBR|1", ("P1", "")),
        ("ORC|CH|P2||||||^F1&&1.2.3&ISO", "OBR|1", ("", "F1^^1.2.3")),
        ("ORC|CH|P2", "OBR|1" + "|" * 28 + "P1&ZZEHR", ("P1^ZZEHR", "")),
        ("ORC|CH|P2", "OBR|1", ("", "")),
    ],
)
def test_the_parent_of_an_order(orc: str, obr: str, parent: tuple[str, str]) -> None:
    (order,) = said("ORM^O01", orc + "\r", obr + "\r").orders
    assert (order.parent, order.parent_filler) == parent


@pytest.mark.parametrize(
    ("segments", "timing"),
    [
        ("ORC|NW|P1\rRXO|A\r", None),
        (
            "ORC|NW|P1|||||^once^^20260112140000^20260112150000\rRXO|A\r",
            Timing(at(2026, 1, 12, 14), at(2026, 1, 12, 15), True),
        ),
        ("ORC|NW|P1|||||1^QD\rRXO|A\r", Timing(None, None, False)),
        (  # of several the last to end; one without an end has none
            "ORC|NW|P1|||||^BID^^20260112140000^20260112150000~^QD^^20260112130000^20260113\rRXO|A\r",
            Timing(at(2026, 1, 12, 13), at(2026, 1, 14), False),
        ),
        (
            "ORC|NW|P1|||||^BID^^20260112140000^20260112150000~^QD\rRXO|A\r",
            Timing(at(2026, 1, 12, 14), None, False),
        ),
        (
            "ORC|NW|P1|||||^QD\rTQ1|1||ONCE&&&X^2||||20260112141500|20260112143000\rRXO|A\r",
            Timing(  # RPT.2, the alignment, is not read and is counted
                *(at(2026, 1, 12, 14, 15), at(2026, 1, 12, 14, 30), True),
                unread=(Part("TQ1-3", "", "order_timing_not_read"),),
            ),
        ),
        (  # before an RXE-1 goes ORC-7; a TQ1 behind the RXE is the pharmacy's
            "ORC|NW|P1|||||^QD^^^20260112143000\rRXO|A\rRXE|^ONCE^^20260112140000|B\r",
            Timing(at(2026, 1, 12, 14), None, True),
        ),
        (
            "ORC|NW|P1\rTQ1|1|||||||20260112143000\rRXO|A\rRXE||B\rTQ1|1|||||||20260112150000\r",
            Timing(None, at(2026, 1, 12, 15), False),
        ),
    ],
)
def test_for_how_long_an_order_runs(segments: str, timing: Timing | None) -> None:
    (order,) = said("RDE^O11", segments).orders
    assert order.timing == timing


@pytest.mark.parametrize(
    ("orc", "told", "changed"),
    [
        ("ORC|DC|P1", (14, 7), (14, 7)),  # never an old OBR-7
        ("ORC|DC|P1|||||||20260112130000", (13, 0), (13, 0)),
        ("ORC|DC|P1|||||||20260112130000||||||20260112120000", (13, 0), (12, 0)),
        ("ORC|DC|P1|||||||20260112180000", (14, 7), (18, 0)),  # nothing is said after it was sent
        ("ORC|DC|P1|||||||20260112", (14, 7), (14, 7)),  # a day's last moment before the message
    ],
)
def test_when_an_order_was_said_and_when_it_changed(
    orc: str, told: tuple[int, int], changed: tuple[int, int]
) -> None:
    (order,) = said("ORM^O01", orc + "\r", "OBR|1|||X|||20260112100000\r").orders
    assert order.told_at == at(2026, 1, 12, *told)
    assert order.changed_at == at(2026, 1, 12, *changed)


def test_a_day_before_and_a_day_to_come() -> None:
    first, second = said("ORM^O01", "ORC|NW|P1|||||||20260111\r", "ORC|NW|P2|||||||20260113\r").orders
    assert (first.at, second.at) == (at(2026, 1, 11, 23, 59, 59), at(2026, 1, 13))


def test_a_timing_between_a_service_and_its_results_parts_nothing() -> None:
    event = said("OMG^O19", "ORC|RE|P1\rOBR|1|P1|F7|LAB\rTQ1|1||ONCE\rOBX|1|NM|3094-0^BUN^LN||28\r")
    assert [(one.report, order.timing) for one in event.observations for order in event.orders] == [
        ("F7", Timing(None, None, True))
    ]


def test_orders_are_grouped_by_their_own_orc_whatever_stands_between() -> None:
    """hl7apy puts order 1's DG1 into order 2's group when a Z segment stands between ORC and OBR."""
    event = said(
        "ORM^O01",
        "ORC|NW|P1\rZOR|x\rOBR|1|||A\rDG1|1||K92.1^^I10\rOBX|1|NM|W^^LN||80\r",
        "ORC|CA|P2\rRXO|B^two^99UMB\r",
        "ORC|DC|P3\r",
        "ORC|NW|P4\rOBR|1|P4A||C\rOBR|2|P4B||D\r",
    )
    got = [(order.control, order.placer, order.code.code, order.source) for order in event.orders]
    assert got == [
        ("NW", "P1", "A", "ZZ-1 ORC[1]"),
        ("CA", "P2", "B", "ZZ-1 ORC[2]"),
        ("DC", "P3", "", "ZZ-1 ORC[3]"),
        ("NW", "P4", "C", "ZZ-1 ORC[4]"),
        ("NW", "P4B", "D", "ZZ-1 OBR[3]"),
    ]
    assert [one.code for one in event.diagnoses] == ["K92.1"]
    assert [one.value for one in event.observations] == ["80"]


def test_a_detail_without_its_orc_is_kept_and_told() -> None:
    event = said("ORM^O01", "OBR|1|P1||A\r")
    assert [(order.control, order.placer, order.source) for order in event.orders] == [
        ("", "P1", "ZZ-1 OBR[1]")
    ]
    assert event.notes == ("OBR[1] without_ORC",)


def test_a_result_is_not_an_order() -> None:
    event = said("ORU^R01", "ORC|RE|P1\rOBR|1|P1^Z|F1^Z|LAB|||20260112144000\rOBX|1|NM|3094-0^BUN^LN||28\r")
    assert event.orders == ()
    assert event.observations[0].report == "F1^Z"


def test_an_observation_in_full() -> None:
    (one,) = said(
        "ORU^R01",
        "OBR|1|P1|R1^ZZEHR|LAB|||20260112144000\r",
        "OBX|1|NM|3094-0^Urea nitrogen^LN^BUN^Old^99UMB|1.2|28|mg/dL^^UCUM|7-20|H|||F|||20260112140300\r",
    ).observations
    assert (one.value_type, one.value, one.unit, one.reference_range, one.status) == (
        "NM",
        "28",
        "mg/dL",
        "7-20",
        "F",
    )
    assert one.code == Coded("3094-0", "Urea nitrogen", "LN")
    assert one.alternate == Coded("BUN", "Old", "99UMB")
    assert (one.at, one.report, one.source) == (at(2026, 1, 12, 14, 3), "R1^ZZEHR", "ZZ-1 OBX[1]-5")
    assert (one.sub, one.service, one.told) == ("1.2", "LAB^", (one.at, one.at))


def test_times_and_reports_come_from_the_obr_above() -> None:
    event = said(
        "ORU^R01",
        "OBX|1|NM|A||0\rOBR|1|P1|R1||||20260112100000\rOBX|2|NM|A||1\rOBX|3|NM|A||2|||||||||20260112110000\r",
        "OBR|2|P2|||||x\rOBX|4|NM|A||3\r",
    )
    got = [(one.value, one.at, one.report or one.placer) for one in event.observations]
    assert got == [
        ("0", SENT, ""),
        ("1", at(2026, 1, 12, 10), "R1"),
        ("2", at(2026, 1, 12, 11), "R1"),
        ("3", SENT, "P2"),
    ]
    assert event.notes == ("OBR[2]-7 time_unreadable",)
    assert [one.source for one in event.observations][3] == "ZZ-1 OBX[4]-5"


@pytest.mark.parametrize(
    ("obr", "report", "service"),
    [
        ("OBR|1|P1^ZZEHR|F1^ZZLAB|CBC^Count^99LAB", "F1^ZZLAB", "CBC^99LAB"),
        ("OBR|1|P1^ZZEHR||CBC^Count^99LAB^58410-2^^LN", "P1^ZZEHR", "CBC^99LAB"),
        ("OBR|1|P1^^1.2.840^ISO||^Count^^58410-2^^LN", "P1^^1.2.840", "58410-2^LN"),
        ("OBR|1|P1|F1|CBC", "F1", "CBC^"),
        ('OBR|1|P1^ZZEHR|""|^Count', "P1^ZZEHR", ""),
        ("OBR|1||^ZZLAB", "", ""),
        ("OBR|1", "", ""),
    ],
)
def test_which_report_and_service(obr: str, report: str, service: str) -> None:
    (one,) = said("ORU^R01", obr + "\rOBX|1|NM|A||1\r").observations
    assert (one.report or one.placer, one.service) == (report, service)


@pytest.mark.parametrize(
    ("orc", "obr", "report", "placer"),
    [
        ("ORC|RE|P1^ZZEHR|F1^ZZLAB", "OBR|1", "F1^ZZLAB", "P1^ZZEHR"),
        ("ORC|RE||F1^ZZLAB", "OBR|1|P1^ZZEHR", "F1^ZZLAB", "P1^ZZEHR"),
        ("ORC|RE|P1|F1^ZZLAB", "OBR|1|P1^ZZEHR|F1", "F1^ZZLAB", "P1^ZZEHR"),
        ("ORC|RE|P2|F2^ZZLAB", "OBR|1|P1^ZZEHR|F1", "F1", "P1^ZZEHR"),
        ("ORC|RE|P1^ZZEHR", "OBR|1", "", "P1^ZZEHR"),
        ("ORC|RE||F2^ZZLAB\rOBR|1\rORC|RE", "OBR|2", "", ""),  # each group has its own
    ],
)
def test_a_report_has_the_numbers_of_its_orc_where_its_obr_has_none(
    orc: str, obr: str, report: str, placer: str
) -> None:
    (one,) = said("ORU^R01", f"{orc}\r{obr}\rOBX|1|NM|A||1\r").observations
    assert (one.report, one.placer) == (report, placer)


SENT_HERE = at(2026, 1, 12, 14, 7)


@pytest.mark.parametrize(
    ("obr7", "obx14", "counts", "told", "note"),
    [
        ("", "", SENT_HERE, None, ""),
        ("20260112100000", "", at(2026, 1, 12, 10), at(2026, 1, 12, 10), ""),
        ("20260112100000", "20260112110000", at(2026, 1, 12, 11), at(2026, 1, 12, 11), ""),
        ("20260112100000", "x", at(2026, 1, 12, 10), at(2026, 1, 12, 10), "OBX[1]-14 time_unreadable"),
        # a day counts from its last moment that is not after the message
        ("20260112", "", SENT_HERE, (at(2026, 1, 12), at(2026, 1, 12, 23, 59, 59)), ""),
        ("", "20260111", at(2026, 1, 11, 23, 59, 59), (at(2026, 1, 11), at(2026, 1, 11, 23, 59, 59)), ""),
        ("", " 20260112 ", SENT_HERE, (at(2026, 1, 12), at(2026, 1, 12, 23, 59, 59)), ""),
        (
            *("", "202512", at(2025, 12, 31, 23, 59, 59)),
            *((at(2025, 12, 1), at(2025, 12, 31, 23, 59, 59)), "OBX[1]-14 time_coarse"),
        ),
        (
            *("2024", "", at(2024, 12, 31, 23, 59, 59)),
            *((at(2024, 1, 1), at(2024, 12, 31, 23, 59, 59)), "OBR[1]-7 time_coarse"),
        ),
        # nothing was collected after it was sent; what clocks cannot explain is told
        ("", "20260112143630", SENT_HERE, at(2026, 1, 12, 14, 36, 30), ""),
        ("", "20260112143700", SENT_HERE, at(2026, 1, 12, 14, 37), "OBX[1]-14 time_after_message"),
        ("20260112190000", "", SENT_HERE, at(2026, 1, 12, 19), "OBR[1]-7 time_after_message"),
        ("20260112190000+0000", "", at(2026, 1, 12, 14), at(2026, 1, 12, 14), ""),
        (
            *("", "20260113", SENT_HERE),
            *((at(2026, 1, 13), at(2026, 1, 13, 23, 59, 59)), "OBX[1]-14 time_after_message"),
        ),
    ],
)
def test_when_a_result_was_collected(
    obr7: str, obx14: str, counts: datetime, told: datetime | tuple[datetime, datetime] | None, note: str
) -> None:
    event = said("ORU^R01", f"OBR|1||F1|LAB|||{obr7}\r", f"OBX|1|NM|A||1|||||||||{obx14}\r")
    (one,) = event.observations
    assert one.at == counts
    assert one.told == (told if told is None or isinstance(told, tuple) else (told, told))
    assert event.notes == ((note,) if note else ())


def test_a_day_has_as_many_hours_as_its_clocks() -> None:
    frame = MSH.format(kind="ORU^R01").replace("20260112140700-0500", "20261102120000-0500")
    event = translate(parse((frame + "OBX|1|NM|A||1|||||||||20261101\r").encode()), ZONE)
    (told,) = [one.told for one in event.observations]
    assert told is not None
    assert [one.astimezone(UTC).strftime("%d %H:%M:%S") for one in told] == ["01 04:00:00", "02 04:59:59"]


@pytest.mark.parametrize(
    ("value", "kind", "first", "also"),
    [
        ("135~122", "NM", "135", ("122",)),
        ("135~135", "NM", "135", ()),
        ("135~", "NM", "135", ()),
        ("~135", "NM", "", ("135",)),
        ("135~122~135~99", "NM", "135", ("122", "99")),
        ("Y^Yes^HL70136~N^No^HL70136", "CWE", "Y", ("N",)),
        ("a b~c", "TX", "a b", ("c",)),
        ("<^6~^7", "SN", "<6", ("7",)),
    ],
)
def test_repetitions_of_a_value_that_differ_are_kept(
    value: str, kind: str, first: str, also: tuple[str, ...]
) -> None:
    event = said("ORU^R01", f"OBX|1|{kind}|A||{value}\r")
    assert [(one.value, one.also) for one in event.observations] == [(first, also)]
    assert event.notes == ("OBX[1]-5 repeated",)


def test_a_whole_report_can_be_withdrawn_without_its_results() -> None:
    event = said(
        "ORU^R01", f"OBR|1||F1^ZZLAB|LAB^^99LAB{'|' * 21}X\r", f"OBR|2|||LAB{'|' * 21}X\rOBX|1|NM|A||2\r"
    )
    assert event.withdrawals == (Withdrawal("F1^ZZLAB", "LAB^99LAB", "ZZ-1 OBR[1]-25"),)
    assert [(one.report, one.report_status) for one in event.observations] == [("", "X")]
    assert event.notes == ("OBR[2]-25 report_unnamed",)


@pytest.mark.parametrize(
    ("obx", "value", "unit"),
    [
        ("OBX|1|NM|A|| 38.6 |Cel", "38.6", "Cel"),
        ("OBX|1|NM|A||38.6|^^^Cel^^UCUM", "38.6", "Cel"),
        ("OBX|1|CWE|A||Y^Yes^HL70136", "Y", ""),
        ("OBX|1|ST|A||a & b \\T\\ c", "a & b & c", ""),
        ("OBX|1|SN|A||^38.6", "38.6", ""),
        ("OBX|1|SN|A||>^100", ">100", ""),
        ("OBX|1|SN|A||^1^:^128", "1:128", ""),
        ('OBX|1|NM|A||""', '""', ""),  # deletes, where nothing says nothing
        ("OBX|1|NM|A", "", ""),
        ("OBX|1|TS|A||20260112", "20260112", ""),
        ("OBX|1|NM|A||1e999|x", "1e999", "x"),
        ("OBX|1|NM|A||\\H\\4.9\\N\\|mmol/L", "4.9", "mmol/L"),
        ("OBX|1|TX|A||colonies 10^3~more", "colonies 10^3", ""),  # cut at ^ it would be another number
        ("OBX|1|NM|A||12^3", "12^3", ""),
        ("OBX|1|NM|A||12^^", "12", ""),
        ("OBX|1|CWE|A||^^^LA33-6^Yes^LN", "LA33-6", ""),
        ("OBX|1|CWE|A||^not sure", "not sure", ""),
        ("OBX|1|ED|A||ZZAPP^AP^PDF^Base64^AAAA", "ZZAPP", ""),
    ],
)
def test_values_are_read_and_not_judged(obx: str, value: str, unit: str) -> None:
    (one,) = said("ORU^R01", obx + "\r").observations
    assert (one.value, one.unit) == (value, unit)


@pytest.mark.parametrize(
    ("obx", "answers", "other_unit"),
    [
        ("OBX|1|CWE|A||Y^Yes^HL70136|", (Coded("Y", "Yes", "HL70136"),), ""),
        ("OBX|1||A||ZZ1^Ja^L^LA33-6^Yes^LN|", (Coded("ZZ1", "Ja", "L"), Coded("LA33-6", "Yes", "LN")), ""),
        ("OBX|1|CWE|A||^Ja|", (Coded("", "Ja", ""),), ""),
        ("OBX|1|CWE|A||Y|", (), ""),
        ("OBX|1|ST|A||Y^Yes|", (), ""),
        ("OBX|1|CWE|A||" + "Z" * 1000 + "^Yes|", (), ""),
        ("OBX|1|NM|A||7|12^^L^mg/dL^^UCUM", (), "mg/dL"),
        ("OBX|1|NM|A||7|^^^mg/dL^^UCUM", (), ""),
    ],
)
def test_codes_of_an_answer_and_the_other_unit(obx: str, answers: tuple[Coded, ...], other_unit: str) -> None:
    (one,) = said("ORU^R01", obx + "\r").observations
    assert (one.answers, one.other_unit) == (answers, other_unit)


#: A code as it is sent, and the code and system that it is: what stands behind an ampersand belongs to it.
WHOLE = [
    ("2823-3^K^LN", "2823-3", "LN"),
    ("2823-3&x^K^LN", "2823-3&x", "LN"),
    ("71020&IMP^Chest^LN", "71020&IMP", "LN"),
    ("2823-3^K^LN&x", "2823-3", "LN&x"),
    ("2823-3&^K^LN&", "2823-3", "LN"),  # nothing behind it
    (" 2823-3 ^K^ LN ", "2823-3", "LN"),
    ("&^K^LN", "", "LN"),
    ('""^K^LN', "", "LN"),
    ("^^", "", ""),
]


def coded_everywhere(raw: str) -> list[tuple[str, str]]:
    """How OBX-3, OBX-5, OBR-4 of an order, RXO-1 and DG1-3 read it."""
    (one,) = said("ORU^R01", f"OBX|1|CWE|{raw}||{raw}\r").observations
    orders = said("ORM^O01", f"ORC|NW|1\rOBR|1|||{raw}\rORC|NW|2\rRXO|{raw}\r").orders
    codes = [one.code, *(one.answers or [Coded("")]), *(each.code for each in orders)]
    (diagnosis,) = said("ADT^A08", f"DG1|1||{raw}\r").diagnoses
    return [*((each.code, each.system) for each in codes), (diagnosis.code, diagnosis.system)]


@pytest.mark.parametrize(("raw", "code", "system"), WHOLE)
def test_a_code_is_read_whole_wherever_it_stands(raw: str, code: str, system: str) -> None:
    read = coded_everywhere(raw)
    assert all(each == (code, system) for each in read if any(each)), read
    assert len(read) == 5


def test_a_code_that_is_cut_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fields, "_identifier", fields.outset)
    assert set(coded_everywhere("8867-4&zq^H^LN")) == {("8867-4", "LN")}  # read nowhere else: words are kept


def test_a_repeated_value_is_told() -> None:
    event = said("ORU^R01", "OBX|1|NM|A||1~2\r")
    assert (event.observations[0].value, event.notes) == ("1", ("OBX[1]-5 repeated",))


def test_diagnoses_and_coverage() -> None:
    event = said(
        "ADT^A08",
        "DG1|1||J18.9^Pneumonia^I10|||W\rDG1|x||K92.1^^I10|||F" + "|" * 15 + "D\rDG1|3\r",
        "IN1|1|ZZPPO^Sample" + "|" * 13 + "COM\rIN1|2|MCRAB\r",
    )
    got = [(one.rank, one.code, one.system, one.kind, one.deleted) for one in event.diagnoses]
    assert got == [(1, "J18.9", "I10", "W", False), (2, "K92.1", "I10", "F", True), (3, "", "", "", False)]
    assert event.coverage == (Coverage(1, "ZZPPO", "COM"), Coverage(2, "MCRAB", ""))
    assert event.notes == ("DG1[2]-1 number_unreadable", "DG1[3]-3 missing")


def test_what_cannot_be_read_is_noted_and_nothing_is_lost() -> None:
    event = said("ADT^A01", "EVN|A01|x\r", "PID|1||1||||1953|M\r", "PID|1||2\r", "PV1|1|I||||||||||||\r")
    assert event.notes == ("PID[2] not_used", "EVN-2 time_unreadable", "PID-7 date_coarse")
    assert event.patient.identifiers == (("1", "", ""),)
    many = said("ORU^R01", "".join(f"OBX|{n}|NM|A||1|||||||||x{n}\r" for n in range(500)))
    assert (len(many.observations), len(many.notes), many.notes[-1]) == (500, 101, "more_notes")


def test_without_any_time() -> None:
    message = parse(b"MSH|^~\\&|||||||ADT^A08|1|P|2.5.1\r")
    assert translate(message, ZONE).sent_at == EPOCH
    assert translate(message, ZONE, received_at=SENT).sent_at == SENT
    assert translate(message, ZONE).notes == ("MSH-7 time_missing",)


def test_the_identity_alone() -> None:
    message = parse((MSH.format(kind="ADT^A08") + PID + PV1).encode())
    identity = identify(message)
    assert identity == (
        "VN1",
        "UMBH",
        "AC1",
        (("111", "OTHER", "PI"), ("222", "UMBH", "MR")),
        "ZZ-1",
        "ADT",
        "A08",
        "UMBH",
        "UMBH",
    )


# --- somebody else's readers


@pytest.mark.skipif(not VIGNETTES.is_dir(), reason="the shared vignettes are not beside this repository")
def test_python_hl7_and_hl7apy_read_the_same_observations() -> None:
    compared = 0
    for path in sorted(VIGNETTES.glob("G*/*ORU_R01.hl7")):
        frame = path.read_bytes()
        event = translate(parse(frame), ZONE)
        theirs = [segment for segment in hl7.parse(frame.decode()) if str(segment[0]) == "OBX"]
        assert len(theirs) == len(event.observations)
        for nth, (ours, other) in enumerate(zip(event.observations, theirs, strict=True)):
            assert ours.value == other.extract_field(1, 5, 1, 1)
            assert (ours.code.code, ours.code.system) == (
                other.extract_field(1, 3, 1, 1),
                other.extract_field(1, 3, 1, 3),
            )
            assert ours.at == parse_time(str(other[14]).encode(), ZONE)[0]
            if nth == 0:
                third = parse_segment(str(other), version="2.5.1")
                assert ours.value_type == third.obx_2.to_er7()
                assert ours.code.text == third.obx_3.obx_3_2.to_er7()
                assert ours.status == third.obx_11.to_er7()
            compared += 1
    assert compared > 200

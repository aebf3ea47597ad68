"""Everything of a message that is not used has one reason, a closed set of them, and nothing of a value."""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

from hypothesis import given
from hypothesis import strategies as st
from installation import Installation

from umbridge.commands import sample
from umbridge.hl7 import er7
from umbridge.hl7.translate import translate
from umbridge.intake import delivery
from umbridge.settings.site import default_site
from umbridge.stay import reasons
from umbridge.stay.facts import Fact, read
from umbridge.stay.fold import StayFold
from umbridge.stay.reasons import DiagnosisReason, NoteReason, OrderReason, PartReason, Reason
from umbridge.stay.unused import (
    Unused,
    counted,
    orders_unused,
    segments_not_read,
    unfound,
    unused,
)

SITE = default_site()
AT = datetime(2026, 3, 2, 20, 0, tzinfo=UTC)
HEAD = "MSH|^~\\&|ZZEHR|UMBH|UMBRIDGE|UMBH|20260302090000-0500||{kind}|ZZ1|P|2.5.1\rPID|1||ZZM1^^^UMBH^MR\r"
DAY = datetime.fromisoformat
SETS = (Reason, OrderReason, DiagnosisReason, PartReason, NoteReason)
KNOWN = {str(reason) for its in SETS for reason in its}


def found(*segments: str, kind: str = "ORU^R01") -> list[Unused]:
    message = er7.parse((HEAD.format(kind=kind) + "\r".join(segments) + "\r").encode())
    return list(unused(translate(message, SITE.zone, mrn_authority="UMBH"), SITE))


def test_every_reason_says_what_it_means() -> None:
    said = [reason.says for its in SETS for reason in its]
    assert all(said)
    assert not [each for each in said if each.endswith(".")]  # a line to settle it may follow


def test_no_reason_is_in_two_sets_and_no_two_say_the_same() -> None:
    codes = [str(reason) for its in SETS for reason in its]
    said = [reason.says for its in SETS for reason in its]
    assert [code for code, count in Counter(codes).items() if count > 1] == []
    assert [each for each, count in Counter(said).items() if count > 1] == []


def test_the_reasons_are_read_in_one_sitting() -> None:
    """A line each: the table is the page that a person reads."""
    source = Path(reasons.__file__).read_text("utf-8")
    assert source.count("\n") < 200
    for its in SETS:
        for reason in its:
            quote = "'" if '"' in reason.says else '"'
            assert f' = "{reason}", {quote}{reason.says}{quote}\n' in source, reason


def test_every_word_of_the_reader_is_known() -> None:
    """A note that the reader makes and nobody explains would be a reason that says nothing."""
    folder = Path(__file__).parents[1] / "umbridge/hl7"
    source = "\n".join(path.read_text("utf-8") for path in sorted(folder.glob("*.py")))
    said = set(re.findall(r'note\(f?"[^"]*? ?([a-z_A-Z]+)"\)', source))
    said |= set(re.findall(r'"((?:time|date|duration)_[a-z0-9_]+|[a-z]+_(?:not|where)_read)"', source))
    assert {"time_unreadable", "not_used", "more_segments", "number_unreadable"} <= said
    assert said - set(map(str, NoteReason)) == {"repeated"}  # of OBX-5, said by its value's reason
    assert set(map(str, NoteReason)) - said == {"more_notes"}  # written at the bound


def test_the_page_has_every_reason() -> None:
    page = (Path(__file__).parents[1] / "docs/meaning.md").read_text(encoding="utf-8")
    table = page.partition("### Why what is no value is not used")[2]
    listed = dict(re.findall(r"(?m)^\| `(\w+)` \| (.*) \|$", table))
    wanted = {str(reason): reason.says for its in SETS if its is not Reason for reason in its}
    assert listed == wanted


CODES = st.sampled_from(
    [
        "2951-2^Sodium^LN",
        "8867-4^HR^LN",
        "ZZ-NO^^99UMB",
        "UMB-CONF^^99UMB",
        "30341-2^ESR^LN",
        "^^",
        "UMB-SPO2RA^^99UMB",
    ]
)
VALUES = st.sampled_from(
    ["122", "4242", "<6", "see 4242", "Y", "UNK", "4242~17", "", '""', "1,2", "3-5", "20260302"]
)
OBX = st.builds(
    "OBX|{}|{}|{}||{}|{}|||||{}".format,
    st.integers(1, 9),
    st.sampled_from(["NM", "ST", "SN", "CWE", "TX", "", "ED", "TS"]),
    CODES,
    VALUES,
    st.sampled_from(["mmol/L", "/min", "ZZ", "", "mg/dL"]),
    st.sampled_from(["F", "C", "P", "X", "D", "I", "", "Q"]),
)
ORDER = st.builds(
    "ORC|{}|ZZP1|||{}\rOBR|1|ZZP1||{}".format,
    st.sampled_from(["NW", "CA", "", "QQ", "SC", "nw"]),
    st.sampled_from(["", "CM", "ZZ", "IP"]),
    st.sampled_from(["ADTINPT", "RXNACLIV", "ZZLAB^^99UMB", ""]),
)
DG1 = st.builds("DG1|1||{}".format, st.sampled_from(["E87.1^^I10", "123^^SCT", "1^^ZZ", "", "870.1"]))
OTHERS = st.sampled_from(
    ["PV1|1|K|9Z^1", "IN1|1|ZZX", "ZPV|1", "NTE|1||4242", "OBX|1|NM|2951-2^^LN||1||||||F|||2026ZZ"]
)


@given(
    st.lists(st.one_of(OBX, ORDER, DG1, OTHERS), max_size=8),
    st.sampled_from(["ORU^R01", "ORM^O01", "ADT^A08"]),
)
def test_each_thing_is_used_or_has_exactly_one_reason(segments: list[str], kind: str) -> None:
    listed = found(*segments, kind=kind)
    assert all(one.reason in KNOWN and one.says for one in listed), listed
    assert "4242" not in repr(listed)
    message = er7.parse((HEAD.format(kind=kind) + "\r".join(segments) + "\r").encode())
    event = translate(message, SITE.zone, mrn_authority="UMBH")
    values = [read(each, SITE) for each in event.observations]
    not_read = [one for one in listed if one.reason in set(map(str, Reason))]
    assert len(not_read) == sum(not isinstance(each, Fact) for each in values)
    about_orders = [one for one in listed if one.reason in set(map(str, OrderReason))]
    assert len(about_orders) <= len(event.orders)
    diagnosed = [one for one in listed if one.reason in set(DiagnosisReason)]
    assert len(diagnosed) <= len(event.diagnoses)


def test_a_value_without_a_collection_time_is_said_with_what_to_do() -> None:
    obx = "OBX|1|NM|2951-2^Sodium^LN||122|mmol/L|||||F"
    (one,) = found("OBR|1||ZZ1^LAB|CHEM", obx)
    assert (one.field, one.reason, one.fact) == ("OBX-14", "collection_time_missing", "sodium")
    assert "OBR-7" in one.settle
    assert found("OBR|1||ZZ1^LAB|CHEM|||202603020850", obx) == []
    assert found("OBR|1||ZZ1^LAB|CHEM", f"{obx}|||202603020850") == []


def test_each_of_several_patients_is_looked_at() -> None:
    segments = [
        "PV1|1|I|MED" + "|" * 16 + "ZZV1",
        "OBX|1|NM|2951-2^^LN||1|ZZ|||||F",
        "PID|2||ZZM2^^^UMBH^MR",
        "PV1|1|I|MED" + "|" * 16 + "ZZV2",
        "OBX|1|NM|2951-2^^LN||1|ZZ|||||F",
    ]
    assert [one.reason for one in found(*segments)].count("unit_unknown") == 2


def test_segments_that_nothing_is_read_from_are_named() -> None:
    message = er7.parse(
        (HEAD.format(kind="ORU^R01") + "AL1|1\rNTE|1\rZPV|1\rnot a segment\rOBX|1\r").encode()
    )
    assert [one.field for one in segments_not_read(message)] == ["AL1", "NTE", "ZPV"]
    assert translate(message, ZoneInfo("UTC")).sent_at.year == AT.year


def test_a_segment_whose_name_is_misspelt_is_said_and_not_read() -> None:
    lines = (
        "\ufeffOBX|9\robx|1|NM|2951-2^^LN||122|mmol/L|||||F\r  OBX|2\rObr|1\rand|more\rmsh|1\r OBX\rZPV|1\r"
    )
    message = er7.parse((HEAD.format(kind="ORU^R01") + lines).encode())
    assert [(one.field, one.reason) for one in segments_not_read(message)] == [
        ("OBX", "segment_name_misspelt"),
        ("OBX", "segment_name_misspelt"),
        ("OBX", "segment_name_misspelt"),
        ("OBR", "segment_name_misspelt"),
        ("OBX", "segment_name_misspelt"),
        ("ZPV", "segment_not_read"),
    ]


def test_a_bad_collection_time_has_one_reason() -> None:
    obx = "OBX|{}|NM|2951-2^Sodium^LN||122|mmol/L|||||F|||{}"
    listed = found("OBR|1||ZZ1^LAB|CHEM", obx.format(1, "soon"), obx.format(2, ""), obx.format(3, "later"))
    assert Counter(one.reason for one in listed) == {"time_unreadable": 2, "collection_time_missing": 1}
    assert {one.field for one in listed} == {"OBX-14"}


def test_an_unknown_status_of_a_report_is_said() -> None:
    report = "OBR|1||ZZ1^LAB|CHEM|||202603020850" + "|" * 18
    obx = "OBX|1|NM|2951-2^Sodium^LN||122|mmol/L|||||F"
    assert [one.reason for one in found(report + "Q", obx)] == ["report_status_unknown"]
    for status in ("", "F", "C", "P", "x", "R", "M"):
        assert "report_status_unknown" not in [one.reason for one in found(report + status, obx)]


@given(
    st.datetimes(DAY("2026-03-07"), DAY("2026-03-10")) | st.datetimes(DAY("2026-10-31"), DAY("2026-11-02"))
)
def test_an_hour_that_the_clock_has_twice_or_not_at_all_is_said(at: datetime) -> None:
    """Only without an offset, on the clock of the facility, and of times of day."""
    report = "OBR|1||ZZ1^LAB|CHEM|||{}"
    local = at.replace(tzinfo=SITE.zone)
    instants = {local.replace(fold=fold).astimezone(UTC) for fold in (0, 1)}
    exists = local.astimezone(UTC).astimezone(SITE.zone).replace(tzinfo=None) == at
    odd = [] if len(instants) == 1 else ["time_twice"] if exists else ["time_skipped"]
    stamp = at.strftime("%Y%m%d%H%M%S")
    for _ in range(2):  # read, and read from what is kept
        message = er7.parse((HEAD.format(kind="ORU^R01") + report.format(stamp) + "\r").encode())
        assert [
            one.partition(" ")[2] for one in translate(message, SITE.zone).notes if "time_after" not in one
        ] == odd
    for sure in (stamp[:8], f"{stamp}-0500"):
        message = er7.parse((HEAD.format(kind="ORU^R01") + report.format(sure) + "\r").encode())
        assert [one for one in translate(message, SITE.zone).notes if "time_after" not in one] == []


def test_segments_of_an_order_are_read_in_orders_only() -> None:
    def named(kind: str, *segments: str) -> list[str]:
        message = er7.parse((HEAD.format(kind=kind) + "\r".join(segments) + "\r").encode())
        return [one.field for one in segments_not_read(message)]

    drug = ("ORC|NW|P1", "RXO|A", "TQ1|1", "RXR|IV")
    assert named("RDE^O11", *drug) == []
    assert named("ADT^A01", *drug) == ["ORC", "RXO", "TQ1", "RXR"]
    assert named("ORU^R01", "ORC|RE|P1", "OBR|1|P1", "TQ1|1", "OBX|1") == ["TQ1"]
    assert named("OMG^O19", "ORC|NW|P1", "OBR|1|P1", "PID|1", "ORC|RE|P2", "OBR|1|P2", "TQ1|1") == ["TQ1"]


def test_orders_are_counted_by_what_the_stay_made_of_them() -> None:
    """By number: a cancel that found its order is used, whatever its code; one that found none is counted."""
    fold = StayFold(SITE)
    kept: Counter[str] = Counter()
    texts = [
        "ORC|NW|71^ZZEHR\rRXO|RXNACLIV",
        "ORC|DC|71^ZZEHR\rRXO|NDC-1",
        "ORC|CA|79^ZZEHR",
        "ORC|OC||F9^ZZLAB",
        "ORC|NW|80^ZZEHR\rOBR|1|||ZZLAB",
        "ORC|CA|80^ZZEHR",
        "ORC|SS|80^ZZEHR",
        "ORC|ZZ|71^ZZEHR",
        "ORC|XO|71^ZZEHR|||ZZ",
        "ORC|CA",
        "ORC|NW|81^ZZA\rRXO|RXNACLIV\rORC|NW|81^ZZB\rRXO|RXNACLIV\rORC|CA|81",
    ]
    for seq, text in enumerate(texts):
        message = er7.parse((HEAD.format(kind="ORM^O01") + f"PV1|1|I|MED\r{text}\r").encode())
        event = translate(message, SITE.zone, mrn_authority="UMBH")
        fold.apply(event, seq)
        kept += counted(message, [event], SITE, list(orders_unused(event, seq, fold)))
    assert {name: count for name, count in kept.items() if " order_" in name} == {
        "ORC-2 order_not_found": 1,
        "ORC-3 order_not_found": 1,
        "OBR-4 order_unmapped": 1,
        "ORC-2 order_unmapped": 1,
        "ORC-1 order_says_nothing": 1,
        "ORC-1 order_control_unknown": 1,
        "ORC-5 order_status_unknown": 1,
        "ORC-2 order_number_missing": 1,
        "ORC-2 order_ambiguous": 1,
    }


def test_withdrawals_that_find_nothing_are_counted_as_such() -> None:
    fold = StayFold(SITE)
    kept: Counter[str] = Counter()
    obr = "OBR|1||{}|CHEM|||202603020850||||||||||||||||||{}\r"
    obx = "OBX|1|NM|2951-2^Sodium^LN||{}|mmol/L|||||{}"
    texts = [
        obr.format("F1^LAB", "F") + obx.format("119", "F"),
        obr.format("F1^LAB", "F") + obx.format("", "D"),
        obr.format("F1^LAB", "F") + obx.format("", "D"),
        obr.format("F2^LAB", "F") + obx.format("", "D"),
        obr.format("F3^LAB", "F") + obx.format("", "X"),
        obr.format("F1^LAB", "X"),
        obr.format("F4^LAB", "X"),
    ]
    for seq, text in enumerate(texts):
        message = er7.parse((HEAD.format(kind="ORU^R01") + f"PV1|1|I|MED\r{text}\r").encode())
        event = translate(message, SITE.zone, mrn_authority="UMBH")
        fold.apply(event, seq)
        kept += counted(message, [event], SITE, (), unfound(seq, fold))
    assert {name: count for name, count in kept.items() if name.startswith("OB")} == {
        "OBX-11 withdrawn": 2,
        "OBX-11 withdrawal_not_found": 1,
        "OBX-11 status_X": 1,
        "OBR-25 withdrawal_not_found": 1,
    }


def test_it_is_counted_shown_and_listed(installation: Installation) -> None:
    """In `status` by feed, field and reason; of one message and of all with the code, for whom it is."""
    installation.roles("ur_nurse")
    running = installation.start()
    frames = [frame.replace(b"/min^/min^UCUM", b"ZZ/UNIT") for frame in sample.stay(0, AT)]
    sent: list[delivery.Sent] = []
    messages = [("", frame) for frame in frames]
    asyncio.run(delivery.send_all("127.0.0.1", running.port, messages, connections=1, done=sent.append))
    status = running.worked()
    tally = status["feeds"][0]["not_used"]
    assert tally["OBX-6 unit_unknown"] > 0
    assert tally["NK1 segment_not_read"] > 0
    rows = installation.rows("messages", "unused")
    units = [row for row in rows if row["reason"] == "unit_unknown"]
    assert {row["code"] for row in units} == {"ZZ/UNIT"}
    assert {row["fact"] for row in units} == {"heart_rate", "resp_rate"}
    assert sum(row["count"] for row in units) == tally["OBX-6 unit_unknown"]
    assert installation.rows("messages", "unused", "--feed", "nobody") == []
    seq = units[0]["last"]
    (shown,) = installation.rows("messages", "show", str(seq), "--purpose", "HPAYMT")
    assert {
        "field": "OBX-6",
        "reason": "unit_unknown",
        "count": 1,
        "code": "ZZ/UNIT",
        "fact": "heart_rate",
    } in (shown["unused"])
    assert running.stop() == 0
    installation.roles("it_ops")
    hidden = [row for row in installation.rows("messages", "unused") if row["reason"] == "unit_unknown"]
    assert hidden and all(row["code"] is None or "redacted" in str(row["code"]) for row in hidden)

"""A sample of a feed under a profile: every finding named, counted and settled, and no patient in it."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from installation import Installation

from umbridge.commands import sample
from umbridge.dryrun import feed_check, screen, site_draft
from umbridge.errors import UsageError
from umbridge.hl7 import ack, er7
from umbridge.settings.site import DEFAULT_SITE, default_site, parse_site
from umbridge.stay.dictionary import dictionary

BEGAN = datetime(2026, 3, 2, 20, 0, tzinfo=UTC)
SITE = default_site()
KEYS = {"message", "field", "value_kind", "problem", "count", "settle"}


def findings(*messages: bytes) -> list[feed_check.Finding]:
    read = feed_check.Sample(SITE)
    for message in messages:
        read.take(message)
    return list(read.findings())


def by_code(found: list[feed_check.Finding]) -> dict[str, tuple[str, str, int]]:
    return {each.unused.code: (each.unused.field, each.unused.reason, each.count) for each in found}


def test_the_sample_feed_has_nothing_that_the_example_profile_does_not_use() -> None:
    read = feed_check.Sample(SITE)
    for message in (m for n in range(3) for m in sample.stay(n, BEGAN)):
        read.take(message)
    assert list(read.findings()) == []
    assert read.not_read == {"AL1": 12, "GT1": 6, "NK1": 6, "ZPV": 6}
    assert read.advice == {"ZPV[1] segment_local": 6}


def test_what_is_not_used_is_named_counted_and_settled() -> None:
    messages = sample.stay(0, BEGAN)
    ward = (
        messages[0]
        .replace(b"ED^12^1", b"ZZWARD^12^1")
        .replace(b"|COM|", b"|ZZTYPE|")
        .replace(b"ZZPPO^", b"ZZX^")
    )
    results = messages[1].replace(b"UMB-SPO2RA", b"ZZ-LOCAL").replace(b"/min^/min^UCUM", b"ZZ/UNIT")
    typed = messages[5].replace(b"|INP|", b"|ZZPT|")
    found = findings(ward, results, typed, b"not hl7\r", ward.replace(b"|ZZTEST", b"|ZZTEST2"))
    named = by_code(found)
    assert named["ZZWARD"] == ("PV1-3.1", "unit_of_place_unmapped", 2)
    assert named["ZZTYPE"] == ("IN1-15", "payer_unmapped", 2)
    assert named["ZZPT"] == ("PV1-18", "status_code_unmapped", 1)
    assert named["ZZ-LOCAL^99UMB"] == ("OBX-3", "unmapped", 1)
    assert named["ZZ/UNIT"][:2] == ("OBX-6", "unit_unknown")
    settled = {each.unused.code: each.unused.settle for each in found}
    assert settled["ZZWARD"] == '[units] ZZWARD = { level = "ACUTE" }'
    assert settled["ZZ/UNIT"].startswith('[units_of_measure] "ZZ/UNIT" = one of ')
    assert settled["ZZ-LOCAL^99UMB"].startswith("[observations.99UMB] ZZ-LOCAL = ")
    assert any(each.unused.field == "MSH" for each in found)
    text = repr(found)
    for secret in ("ZZTEST", "ALDER", "ZZVN", "19540311", "101.5"):
        assert secret not in text


def test_a_line_that_settles_a_finding_settles_it(tmp_path: Path) -> None:
    """The proposals are real: with them in the profile the findings are gone."""
    from umbridge.settings.site import DEFAULT_SITE, parse_site

    messages = sample.stay(0, BEGAN)
    odd = [
        messages[0].replace(b"ED^12^1", b"ZZWARD^12^1"),
        messages[1].replace(b"UMB-SPO2RA", b"ZZ-LOCAL").replace(b"/min^/min^UCUM", b"ZZ/UNIT"),
    ]
    text = DEFAULT_SITE.read_text("utf-8")
    text = text.replace("[units]\n", '[units]\nZZWARD = { level = "OBS", ed = true }\n')
    text = text.replace("[observations.99UMB]\n", '[observations.99UMB]\nZZ-LOCAL = "spo2_room_air"\n')
    text += '\n[units_of_measure]\n"ZZ/UNIT" = "/min"\n'
    read = feed_check.Sample(parse_site(text.encode()))
    for message in odd:
        read.take(message)
    assert list(read.findings()) == []


def test_a_feed_without_numbers_of_the_sites_is_said_first() -> None:
    messages = sample.stay(0, BEGAN)
    pid = next(line for line in messages[0].split(b"\r") if line.startswith(b"PID"))
    number = pid.split(b"|")[3].split(b"~")[0].split(b"^")[0]
    assert number.startswith(b"ZZ")
    strange = []
    for sent in (number + b"^^^UMBH^EPI", number + b"^^^ZZ ELSEWHERE^MR", b""):
        fields = pid.split(b"|")
        fields[3] = sent
        strange.append(messages[0].replace(pid, b"|".join(fields)))
    first, *rest = [each for each in findings(*strange) if each.unused.field == "PID-3"]
    assert (first.unused.reason, first.count) == ("no_own_number", 3)
    assert sorted(each.unused.code for each in rest if each.unused.reason == "number_of_another") == [
        "?^MR",
        "UMBH^EPI",
        "empty",
    ]
    settled = {each.unused.code: each.unused.settle.partition(", if")[0] for each in rest}
    assert settled["UMBH^EPI"] == '[site] mrn_types = ["MR", "EPI"]'
    assert settled["?^MR"] == '[site] mrn_authority_aliases = ["…"]'  # it does not look like a name
    assert settled["empty"] == "have the sender fill PID-3"
    own = findings(messages[0].replace(b"^^^UMBH^MR", b"^^^UMBH^MRN"), *strange)
    assert not any(each.unused.reason == "no_own_number" for each in own)
    assert number.decode() not in repr(own)


def run(where: Installation, *words: str, check: int) -> tuple[list[dict[str, Any]], str]:
    done = where.run("config", "check", *words, check=check)
    return [json.loads(line) for line in done.stdout.splitlines()] if "--json" in words else [], done.stdout


def test_the_command_prints_a_finding_a_line_and_its_code_says_whether_there_are_any(
    installation: Installation, tmp_path: Path
) -> None:
    feed = tmp_path / "feed"
    feed.mkdir()
    good = sample.stay(0, BEGAN)
    for n, message in enumerate(good):
        (feed / f"{n}.hl7").write_bytes(message)
    (feed / "9.hl7").write_bytes(
        good[0].replace(b"ED^12^1", b"ZZWARD^12^1").replace(b"|P|2.5.1", b"X|P|2.5.1")
    )
    rows, _ = run(installation, "--feed", str(feed), "--json", check=1)
    *found, last = rows
    assert (last["messages"], last["findings"]) == (len(good) + 1, len(found))
    assert last["segments_not_read"]["NK1"]
    assert all(row.keys() >= KEYS for row in found)
    ward = next(row for row in found if row["code"] == "ZZWARD")
    assert ward["message"].endswith("X")
    _, text = run(installation, "--feed", str(feed), check=1)
    assert f"{len(good) + 1} messages, {len(good) + 1} of them read; " in text
    assert "[units] ZZWARD" in text
    nothing = tmp_path / "nothing.hl7"
    nothing.write_bytes(b"not hl7\r")
    rows, _ = run(installation, "--feed", str(nothing), "--json", check=3)
    assert (rows[-1]["messages"], rows[-1]["findings"]) == (1, 1)
    several, _ = run(installation, "--feed", str(nothing), "--feed", str(feed), "--json", check=1)
    assert several[-1]["messages"] == len(good) + 2
    run(installation, "--json", check=0)
    (feed / "9.hl7").unlink()
    _, text = run(installation, "--feed", str(feed), check=0)
    assert "no segment of these is read: " in text


def test_what_would_not_be_worked_is_counted_by_reason_and_settled(
    installation: Installation, tmp_path: Path
) -> None:
    """Refused and set aside are findings, each with the way out; what means nothing here is counted only."""
    good = sample.stay(0, BEGAN)[0]
    two = good.replace(b"ADT^A04", b"ADT^A08") + b"PID|2||ZZ2^^^UMBH^MR||ZZTEST^TWO\r"
    cases = {
        "fragment": good + b"DSC|ZZ1|F\r",
        "fragment_2": good + b"DSC|ZZ2|F\r",
        "several": two,
        "own": good.replace(b"ADT^A04^ADT_A01", b"ADT^Z01"),
        "beds": good.replace(b"ADT^A04^ADT_A01", b"ADT^A20"),
        "good": good,
    }
    feed = tmp_path / "kept"
    feed.mkdir()
    for name, data in cases.items():
        (feed / f"{name}.hl7").write_bytes(data)
    rows, _ = run(installation, "--feed", str(feed), "--json", check=1)
    *found, last = rows
    assert (last["messages"], last["read"], last["findings"]) == (6, 1, 3)
    assert last["set_aside"] == {"continued": 2, "several_patients": 1}
    assert (last["refused"], last["ignored"]) == ({"event_unknown": 1}, {"bed_status": 1})
    settled = {row["problem"]: (row["count"], row["settle"]) for row in found}
    assert settled["continued"] == (2, "have the sender switch fragmenting off and send the whole")
    assert settled["several_patients"][1] == "have the sender send one message a patient"
    assert 'ignored_events = ["ADT^Z01"]' in settled["event_unknown"][1]
    _, text = run(installation, "--feed", str(feed), check=1)
    assert "6 messages, 1 of them read, " in text
    assert "3 set aside (2 x continued, 1 x several_patients)" in text
    installation.edit("(?m)^port =", 'ignored_events = ["ADT^Z01"]\nport =')
    rows, _ = run(installation, "--feed", str(feed), "--json", check=1)
    assert (rows[-1]["refused"], rows[-1]["findings"]) == ({}, 2)


def test_every_way_out_of_what_is_set_aside_is_known() -> None:
    source = Path(ack.__file__).read_text("utf-8")
    reasons = set(re.findall(r'Disposition\(RowState\.QUARANTINED, "(\w+)"', source))
    assert reasons == feed_check._WAYS_OUT.keys()


@pytest.mark.parametrize(
    ("old", "new", "settle"),
    [
        (b"^^^UMBH^AN", b"^^^ZZACC^AN", '[site] account_authority_aliases = ["ZZACC"]'),
        (b"^^^UMBH^VN", b"^^^ZZVIS^VN", '[site] visit_authority_aliases = ["ZZVIS"]'),
        (b"^^^UMBH^MR", b"^^^ZZMRN^MR", '[site] mrn_authority_aliases = ["ZZMRN"]'),
        (b"^^^UMBH^MR", b"^^^UMBH^ZZT", '[site] mrn_types = ["MR", "ZZT"]'),
    ],
)
def test_the_line_that_settles_a_number_settles_it(old: bytes, new: bytes, settle: str) -> None:
    message = sample.stay(0, BEGAN)[0]
    assert old in message
    (finding,) = findings(message.replace(old, new))[-1:]
    assert finding.unused.reason == "number_of_another"
    line = finding.unused.settle.partition(", if")[0]
    assert line == settle
    text = DEFAULT_SITE.read_text("utf-8")
    settled = feed_check.Sample(parse_site(text.replace("[site]\n", f"[site]\n{line[7:]}\n", 1).encode()))
    settled.take(message.replace(old, new))
    assert list(settled.findings()) == []


def test_no_line_calls_a_system_that_is_known_icd_10() -> None:
    """Of several systems the one that nobody lists is named: ICD-9 is not to be mapped to ICD-10."""
    message = sample.stay(0, BEGAN)[0] + b"DG1|9||584.9^ZZ^I9^ZZ1^ZZ^ZZSYS\r"
    (finding,) = findings(message)
    assert finding.unused.settle == '[code_systems] I10 = ["ZZSYS"], if that is ICD-10-CM'


def test_an_order_is_named_by_the_field_that_has_its_code() -> None:
    head = b"MSH|^~\\&|ZZ|UMBH|U|U|20260302110000-0500||%s|ZZ1|P|2.5.1\rPID|1||ZZ1^^^UMBH^MR\rORC|NW|1\r"
    for kind, detail, field in (
        (b"ORM^O01", b"OBR|1|1||ZZQ\r", "OBR-4"),
        (b"ORM^O01", b"RXO|ZZQ\r", "RXO-1"),
        (b"RDE^O11", b"RXE||ZZQ\r", "RXE-2"),
    ):
        found = findings(head % kind + detail)
        assert [each.unused.field for each in found if each.unused.code == "ZZQ^"] == [field]


@pytest.mark.parametrize("said", ["", "P", "P^T", "T", "D", "T^T"])
@pytest.mark.parametrize(
    "kind", ["ORU^R01", "ORU^R30", "ORU^R31", "ORU^R32", "ORU^R33", "ORU^W01", "SIU^S12"]
)
def test_every_way_in_reads_the_same_messages(kind: str, said: str, tmp_path: Path) -> None:
    """What the daemon ignores no shadow run screens, no check reads and no draft is made of; all say why."""
    lines = [
        f"MSH|^~\\&|ZZP|UMBH|||202603021100||{kind}|ZZ1|{said}|2.5.1",
        "PID|1||ZZ1^^^UMBH^MR",
        "PV1|1|E|ED|||||||||||||||EDP|ZZV1^^^UMBH^VN",
        "OBR|1||ZZF1^ZZP|ZZ^ZZ^L|||202603021055",
        "OBX|1|NM|2345-7^^LN||432|mg/dL|||||F",
    ]
    frame = "\r".join(lines).encode() + b"\r"
    read, run = feed_check.Sample(SITE), screen.Shadow(SITE)
    event = read.take(frame)
    run.take(frame)
    message = er7.parse(frame)
    found = ack.disposition(message, ("P",))
    is_read = found.state == "PENDING"
    assert is_read is (kind in ("ORU^R01", "ORU^R30", "ORU^R31", "ORU^R32") and said[:1] not in ("T", "D"))
    assert (event is not None, bool(run.lanes)) == (is_read, is_read)
    why = ack.told(found.reason, message)
    assert read.kept == ({} if is_read else {"ignored": {why: 1}})
    assert run.unread == ({} if is_read else {why: 1})
    assert (why in ("", "processing_id_T", "processing_id_D")) or why.endswith(f"_not_used {kind}")
    (tmp_path / "one.hl7").write_bytes(frame)
    if is_read:
        assert event is not None and event.observations[0].value == "432"
        assert "glucose" in site_draft.draft([str(tmp_path)])
    else:
        with pytest.raises(UsageError, match=found.reason):
            site_draft.draft([str(tmp_path)])


def test_a_test_feed_is_screened_where_that_is_asked_for() -> None:
    run = screen.Shadow(SITE, "T")
    for message in sample.stay(0, BEGAN)[:2]:
        run.take(message.replace(b"|P|2.5.1", b"|T|2.5.1"))
        run.take(message)
    assert len(run.lanes) == 1 and run.unread == {"processing_id_P": 2}


def test_a_sample_that_is_not_there_is_a_usage_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="nowhere"):
        feed_check.sample_of(SITE, [str(tmp_path / "nowhere")])


def test_facts_are_listed_with_how_often_a_sample_has_them(
    installation: Installation, tmp_path: Path
) -> None:
    feed = tmp_path / "feed.hl7"
    feed.write_bytes(b"".join(sample.stay(0, BEGAN)))
    rows = installation.rows("facts", "list", str(feed))
    assert {row["fact"] for row in rows} == set(dictionary())
    assert all(
        row.keys() >= {"fact", "kind", "unit", "codes", "window_hours", "group", "seen"} for row in rows
    )
    seen = {row["fact"]: row["seen"] for row in rows}
    assert seen["heart_rate"] > 0
    assert seen["niv"] == 0
    line = next(row for row in rows if row["fact"] == "spo2_room_air")
    assert "UMB-SPO2RA^99UMB" in line["codes"]
    assert "order RXCEFTRIV" in next(row for row in rows if row["fact"] == "iv_anti_infective")["codes"]
    assert {row["seen"] for row in installation.rows("facts", "list")} == {None}

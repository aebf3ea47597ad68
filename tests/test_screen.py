"""The shadow run against the golden cases, and against repeats, other orders and files that are no feed."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from umbridge.commands import sample
from umbridge.dryrun import screen
from umbridge.errors import UsageError
from umbridge.screening.host import Host
from umbridge.settings.site import SiteProfile, default_site, load_site

CASES = ("G01", "G02", "G03", "G07", "G17", "G18")
BEGAN = datetime.fromisoformat("2026-01-12T09:00:00-05:00")
KEYS = [
    *("visit", "review", "episode_day", "plugin", "subset", "edition", "digest", "requested", "outcome"),
    *("supported", "missing", "rationale", "evidence", "avoidable_day", "judged_at"),
    *("closes", "hold"),
    "content_status",
]
OPTIONAL = {
    *("advise_higher", "advise_missing", "basis", "discharge_ready", "extended_stay_reason"),
    *("avoidable_attribution", "tags", "scores", "not_used"),
}
STAY_KEYS = [  # in the order of the README of the golden cases
    "visit",
    "accounts",
    "mrn",
    "mrn_aliases",
    "lifecycle",
    "status",
    "status_spans",
    "status_evidence",
    "pending",
    "unit",
    "bed",
    "unit_level",
    "care_start",
    "inpatient_start",
    "observation_start",
    "discharged_at",
    "los_midnights",
    "leave_midnights",
    "hospital_midnights",
    "continued_stay_due",
    "readmission_index",
    "open_reviews",
    "void_reviews",
    "closed_reviews",
    "events_applied",
    "exceptions",
    "notices_due",
    "notices_missed",
]


class Screens:
    """One host for the whole module: its workers start once."""

    def __init__(self) -> None:
        self._host = Host(call_seconds=60.0)
        self._host.start()
        self.plugins = {info.name for info in self._host.plugins}

    def of(self, run: screen.Shadow, as_of: datetime | None = None) -> list[dict[str, Any]]:
        return run.screen(self._host, as_of)

    def close(self) -> None:
        self._host.stop()


@pytest.fixture(scope="module")
def screens() -> Iterator[Screens]:
    found = Screens()
    yield found
    found.close()


def taken(messages: Sequence[bytes], site: SiteProfile | None = None) -> screen.Shadow:
    run = screen.Shadow(site or default_site())
    for message in messages:
        run.take(message)
    return run


def of_folder(folder: Path) -> list[bytes]:
    return [message for _, message in screen.read_files([str(folder)])]


def restamped(message: bytes) -> bytes:
    fields = message.split(b"|")
    fields[6] = b"20991231235959"
    return b"|".join(fields)


# -- the golden cases ------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "closes"), [("G01", True), ("G02", False), ("G19", True), ("G24", False)])
def test_for_medicare_the_payers_own_rule_lets_a_review_close(
    shared: Path, screens: Screens, name: str, closes: bool
) -> None:
    """G02 is referred by commercial criteria. So is G24, where 42 CFR 412.3 is met and goes first; but what
    supports a level there was only seen, and closes nothing."""
    run = taken(of_folder(shared / "vignettes/cases" / name), load_site(shared / "vignettes/site.toml"))
    rows = screens.of(run)
    assert ("REFER" in {row["outcome"] for row in rows}) is (name in ("G02", "G24"))
    (stay,) = run.stays(None)
    assert ("ADMISSION" in stay["closed_reviews"]) is closes


@pytest.mark.parametrize("name", CASES)
def test_a_golden_case_is_screened_as_expected(shared: Path, screens: Screens, name: str) -> None:
    expected = json.loads((shared / "vignettes" / "cases" / name / "expected.json").read_text())
    site = load_site(shared / "vignettes" / "site.toml")
    run = taken(of_folder(shared / "vignettes" / "cases" / name), site)
    rows = screens.of(run, datetime.fromisoformat(expected["as_of"]))
    assert run.unread == {}
    assert len({(row["review"], row["plugin"]) for row in rows}) == len(rows)
    assert {row["review"] for row in rows} == {expected["review"]}
    by_plugin = {row["plugin"]: row for row in rows}
    main = by_plugin[expected["plugin"]]
    for key in ("visit", "review", "subset", "requested", "outcome", "supported", "avoidable_day"):
        assert main[key] == expected[key], key
    assert set(expected["missing"]) <= set(main["missing"])
    assert set(main["missing"]) <= set(expected["missing"]) | set(expected.get("missing_optional", ()))
    assert expected.get("scores", {}).items() <= main.get("scores", {}).items()
    for other in expected["also"]:
        if other["plugin"] not in screens.plugins:
            continue
        row = by_plugin[other["plugin"]]
        for key in {"subset", "outcome", "supported"} & set(other):
            assert row[key] == other[key], (other["plugin"], key)
    for row in rows:
        assert list(row)[: len(KEYS)] == KEYS
        assert set(row) <= set(KEYS) | OPTIONAL
        assert row["edition"] and row["digest"].startswith("sha256:")
        assert bool(row["missing"]) == (row["outcome"] == "PEND")


def test_all_cases_in_one_feed_do_not_touch_each_other(shared: Path, screens: Screens) -> None:
    site = load_site(shared / "vignettes" / "site.toml")
    folders = [shared / "vignettes" / "cases" / name for name in CASES]
    alone = {
        row["visit"]: row["outcome"]
        for folder in folders
        for row in screens.of(taken(of_folder(folder), site))
        if row["plugin"] == "interqual_like"
    }
    by_turns = [of_folder(folder) for folder in folders]
    mixed = [messages[n] for n in range(6) for messages in by_turns if n < len(messages)]
    run = taken(mixed, site)
    together = {
        row["visit"]: row["outcome"]
        for folder, visit in zip(folders, sorted(alone), strict=True)
        for row in screens.of(
            run, datetime.fromisoformat(json.loads((folder / "expected.json").read_text())["as_of"])
        )
        if row["plugin"] == "interqual_like" and row["visit"] == visit
    }
    assert together == alone


@pytest.mark.parametrize("name", ["S1", "S2", "S3", "S4", "S5", "S6"])
def test_a_stay_is_printed_with_the_keys_of_the_contract(shared: Path, name: str) -> None:
    folder = shared / "vignettes" / "cases" / name
    run = taken(of_folder(folder), load_site(shared / "vignettes" / "site.toml"))
    for stay in run.stays(None):
        assert list(stay) == STAY_KEYS


# -- the sample feed: what holds without the shared material ---------------------------------------------


def test_the_same_feed_gives_the_same_bytes(screens: Screens) -> None:
    messages = [m for n in range(3) for m in sample.stay(n, BEGAN)]
    first, second = (json.dumps(screens.of(taken(messages))) for _ in range(2))
    assert first == second
    assert json.dumps(taken(messages).stays(None)) == json.dumps(taken(messages).stays(None))


def test_the_order_of_arrival_does_not_change_what_is_in_force(screens: Screens) -> None:
    messages = sample.stay(0, BEGAN)
    there, back = taken(messages), taken(list(reversed(messages)))
    assert screens.of(there) == screens.of(back)


def test_a_repeat_counts_once_restamped_or_not(screens: Screens) -> None:
    messages = sample.stay(0, BEGAN)
    run = taken([*messages, *messages, *map(restamped, messages)])
    assert run.unread == {"duplicate": 2 * len(messages)}
    assert run.stays(None) == taken(messages).stays(None)


def test_the_later_look_at_an_observation_is_shown_beside_the_first(screens: Screens) -> None:
    """Closed by the first look, septic on the second day: the newest look that is due, and no other."""

    def told(kind: str, hours: float, *segments: str) -> bytes:
        at = f"{BEGAN + timedelta(hours=hours):%Y%m%d%H%M%S%z}"
        head = f"MSH|^~\\&|ZZEHR|UMBH|UMBRIDGE|UMBH|{at}||{kind}|ZZC{hours}|P|2.5.1"
        pid = "PID|1||ZZ9^^^UMBH^MR||ZZTEST^ROWAN||19541110|F"
        pv1 = "PV1|1|E|ED^1|||||||||||||||EDP|ZZV9^^^UMBH^VN"
        return "\r".join([head, pid, pv1, *(each.replace("@", at) for each in segments), ""]).encode()

    def signs(hours: float, pulse: int, breaths: int, pressure: int) -> bytes:
        values = [("8867-4", pulse, "/min"), ("9279-1", breaths, "/min"), ("8480-6", pressure, "mm[Hg]")]
        obx = [
            f"OBX|{n}|NM|{code}^x^LN||{value}|{unit}^x^UCUM|||||F|||@"
            for n, (code, value, unit) in enumerate(values, 1)
        ]
        temperature = "OBX|9|NM|8310-5^x^LN||38.6|Cel^x^UCUM|||||F|||@"
        return told("ORU^R01", hours, f"OBR|1||ZZR{hours}^ZZEHR|V^V^99UMB|||@", *obx, temperature)

    run = taken(
        [
            told("ADT^A04", 0, "EVN||@", "DG1|1||L03.115^^I10|||A|||||||||1"),
            signs(1, 112, 24, 122),
            told("ORM^O01", 2, "ORC|NW|ZZP1^ZZEHR|||||||@", "OBR|1|ZZP1^ZZEHR||ADTOBS^x^99UMB"),
            signs(29, 142, 36, 76),
        ]
    )
    first, later = [line for line in screens.of(run) if line["plugin"] == "interqual_like"]
    assert (first["review"], first["outcome"], first["closes"]) == ("OBSERVATION", "MEETS", True)
    assert (later["review"], later["outcome"]) == ("OBSERVATION", "MEETS_ADVISE_HIGHER")
    assert later["judged_at"] == (BEGAN + timedelta(hours=29)).isoformat()


def test_before_the_order_was_sent_there_was_no_review(screens: Screens) -> None:
    run = taken(sample.stay(0, BEGAN))
    assert [row["outcome"] for row in screens.of(run)] != []
    early = BEGAN + timedelta(minutes=60)  # the status order is sent at 70
    assert screens.of(run, early) == []
    (stay,) = run.stays(early)
    assert (stay["status"], stay["inpatient_start"], stay["events_applied"]) == ("ED", None, 4)
    assert run.stays(BEGAN - timedelta(hours=1)) == []
    (later,) = run.stays(BEGAN + timedelta(hours=3))
    assert (later["status"], later["events_applied"]) == ("INPATIENT", 6)


@pytest.mark.parametrize(
    "text", ["0001-01-01T00:00:00+00:00", "9999-12-31T23:59:59-05:00", "1700-01-01T00:00+00:00"]
)
def test_a_moment_no_hospital_means_is_a_usage_error(screens: Screens, text: str) -> None:
    run = taken(sample.stay(0, BEGAN))
    moment = datetime.fromisoformat(text)
    with pytest.raises(UsageError, match="--as-of"):
        screens.of(run, moment)
    with pytest.raises(UsageError, match="--as-of"):
        run.stays(moment)


def test_what_is_no_use_is_counted_by_reason_and_the_rest_is_folded(screens: Screens) -> None:
    head = b"MSH|^~\\&|ZZEHR|UMBH|X|X|20260112||%s|%s|P|2.5.1\r"
    run = taken(
        [
            b"",
            b"not hl7",
            head % (b"ZZZ^Z99", b"ZZA1"),
            head % (b"SIU^S12", b"ZZA2"),
            head % (b"ADT^A08", b"ZZA3") + b"PID|1||ZZ9^^^UMBH^MR\r",
            *sample.stay(0, BEGAN),
        ]
    )
    assert sum(run.unread.values()) == 5
    assert run.unread["no_readable_header"] == 2
    assert run.unread["no_visit_number"] == 1
    assert len(run.stays(None)) == 1


def test_nothing_at_all_gives_nothing(screens: Screens) -> None:
    run = taken([])
    assert screens.of(run) == []
    assert run.stays(None) == []


# -- files ---------------------------------------------------------------------------------------------


def test_a_folder_is_read_in_name_order_and_only_its_hl7_files(tmp_path: Path) -> None:
    for name in ("10.hl7", "02.hl7", "01.hl7"):
        (tmp_path / name).write_bytes(b"MSH|^~\\&|" + name.encode() + b"\r")
    (tmp_path / "notes.txt").write_bytes(b"MSH|^~\\&|NO\r")
    found = list(screen.read_files([str(tmp_path)]))
    assert [Path(file).name for file, _ in found] == ["01.hl7", "02.hl7", "10.hl7"]
    assert [message for _, message in found] == [
        b"MSH|^~\\&|" + name + b"\r" for name in (b"01.hl7", b"02.hl7", b"10.hl7")
    ]


def test_a_file_may_hold_many_and_stdin_too(tmp_path: Path) -> None:
    messages = [m for n in range(3) for m in sample.stay(n, BEGAN)]
    plain, framed = tmp_path / "plain", tmp_path / "framed.hl7"
    plain.write_bytes(b"".join(messages))
    framed.write_bytes(b"".join(b"\x0b" + m + b"\x1c\r" for m in messages))
    assert [m for _, m in screen.read_files([str(plain)])] == messages
    assert [m.rstrip(b"\r") for _, m in screen.read_files([str(framed)])] == [
        m.rstrip(b"\r") for m in messages
    ]
    both = list(screen.read_files(["-", str(plain)], b"".join(messages)))
    assert [file for file, _ in both] == ["-"] * len(messages) + [str(plain)] * len(messages)


def test_a_pipe_is_a_file_too(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    message = sample.stay(0, BEGAN)[0]
    writer = threading.Thread(target=lambda: pipe.write_bytes(message))
    writer.start()
    assert [m for _, m in screen.read_files([str(pipe)])] == [message]
    writer.join()


def test_a_path_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"nowhere\.hl7"):
        list(screen.read_files([str(tmp_path / "nowhere.hl7")]))

"""Hostile input in turns: what takes several messages, several connections, a restart, a year or a merge.

Items of the list that one frame cannot show; the single frames are in test_hostile and test_bad_input.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import re
import socket
import ssl
import time
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import findings
import pytest
from authority import Authority
from installation import ROOT, Inside, Running, exchange
from test_attacks import attacking, came_of, folder, host  # noqa: F401  (fixtures)
from test_fold import ADMITTED, WARD, adt, folded, told
from test_fold import at as hour
from test_host import answered, case, install
from test_hostile import GOOD, header
from test_ledger_attacks import said
from test_listener import Wire, acks, play
from test_moves import WARD_BED, Feed, Ward, everything, ward  # noqa: F401  (fixtures)
from test_receive import FEED, NOW, frame, receive, rows, with_intake
from test_tls import ENGINE, authority, client, counted, guarded, say  # noqa: F401  (a fixture)
from test_writer import make

from umbridge.hl7 import er7, mllp
from umbridge.hl7.translate import translate
from umbridge.intake.receive import Intake, Reply
from umbridge.screening.host import Host
from umbridge.settings.config import FeedSettings, LimitSettings
from umbridge.settings.site import default_site
from umbridge.stay.readings.window import readings
from umbridge.store.opening import hold_writer
from umbridge.store.writer import Writer
from umbridge.values.kinds import ReviewType

MOST = LimitSettings().max_frame_bytes


@pytest.fixture
def writer(tmp_path: Path) -> Iterator[Writer]:
    made, keyring = make(tmp_path / "s")
    with hold_writer(made, keyring) as held:
        yield held


# --- framing ------------------------------------------------------------------------------------------------


def test_3_bytes_between_frames_are_counted(tmp_path: Path) -> None:
    async def scene(wire: Wire) -> None:
        burst = mllp.encode(frame(id="ZZ1")) + b"\n\r\0" + mllp.encode(frame(id="ZZ2")) + b"\n"
        assert acks(await exchange(wire.port, burst)) == [("AA", "ZZ1"), ("AA", "ZZ2")]
        assert wire.listener.noise == {"main": 4}
        assert await wire.refused() == {}

    play(tmp_path, scene)


def test_9_the_longest_frame_is_taken_and_a_byte_more_is_not(tmp_path: Path) -> None:
    """16 MiB as configured when nobody says otherwise."""
    assert MOST == 16 * 1024 * 1024

    def filled(size: int) -> bytes:
        head = frame() + b"OBX|1|TX|ZZ||"
        return head + b"x" * (size - len(head) - 1) + b"\r"

    async def scene(wire: Wire) -> None:
        over = mllp.START + filled(MOST + 1)  # an endless frame never gets to its end
        assert acks(await exchange(wire.port, over)) == [("AE", "ZZ1")]
        assert await wire.refused() == {"oversize": 1} and await wire.rows() == []
        assert acks(await exchange(wire.port, mllp.encode(filled(MOST)))) == [("AA", "ZZ1")]
        (row,) = await wire.rows()
        assert len(row.frame) == MOST

    play(tmp_path, scene, seconds=250.0)


def test_11_a_hello_and_then_silence(tmp_path: Path, authority: Authority) -> None:  # noqa: F811
    """It began a handshake and stops: cut when the time for it is up, whoever else is served meanwhile."""
    context = client(authority, authority.sign("engine", ENGINE))
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    with pytest.raises(ssl.SSLWantReadError):
        context.wrap_bio(incoming, outgoing, server_hostname="localhost").do_handshake()
    hello = outgoing.read()
    assert hello.startswith(b"\x16\x03")

    async def scene(wire: Wire) -> None:
        reader, stream = await asyncio.open_connection("127.0.0.1", wire.port)
        stream.write(hello)
        pair = authority.sign("engine", ENGINE)
        assert acks(await say(wire.port, client(authority, pair), frame())) == [("AA", "ZZ1")]
        with contextlib.suppress(ConnectionError):
            assert b"MSA" not in await asyncio.wait_for(reader.read(-1), 60)  # our hello, and no more
        stream.close()
        await counted(wire, "tls_handshake_timeout")
        assert len(await wire.rows()) == 1

    guarded(tmp_path, authority, scene, handshake_seconds=3.0)  # time enough for whoever is served beside it


# --- answers ------------------------------------------------------------------------------------------------

WORDS = ("", "AL", "NE", "ER", "SU", "XX")
# intake.md 1.4, written out: a row for each MSH-15, a column for each MSH-16, both in the order of WORDS.
ACCEPTED = """
AA AA .. .. AA AA
CA CA CA CA CA CA
.. AA .. .. AA AA
.. AA .. .. AA AA
CA CA CA CA CA CA
CA CA CA CA CA CA
"""
REFUSED = """
AR AR .. AR .. AR
CR CR CR CR CR CR
.. AR .. AR .. AR
CR CR CR CR CR CR
.. AR .. AR .. AR
CR CR CR CR CR CR
"""


@pytest.mark.parametrize(
    ("version", "table", "state"),
    [("2.5.1", ACCEPTED, ("PENDING", "")), ("9.9", REFUSED, ("REFUSED", "version_unknown"))],
)
def test_22_every_combination_has_its_answer_and_its_row(
    writer: Writer, tmp_path: Path, version: str, table: str, state: tuple[str, str]
) -> None:
    pairs = [(accept, app) for accept in WORDS for app in WORDS]
    frames = [
        frame(id=f"ZZ{n}", version=version, accept=accept, app=app) for n, (accept, app) in enumerate(pairs)
    ]
    replies = receive(writer, tmp_path, *frames)
    got = [er7.parse(one.answer).get("MSA-1") if one.answer else ".." for one in replies]
    assert dict(zip(pairs, got, strict=True)) == dict(zip(pairs, table.split(), strict=True))
    found = rows(writer)
    assert [(row.state, row.reason) for row in found] == [state] * 36
    assert [row.ack for row in found] == [code.replace("..", "NONE") for code in table.split()]


ESCAPES = (
    *(rb"\F\S\T\R\E\ ".strip(), b"\\", rb"\X" + b"\\", rb"\X0" + b"\\", rb"\XZZ" + b"\\"),
    *(rb"\X0D0A1C0B" + b"\\", rb"\X000D" + b"\\", rb"\M2442" + b"\\", rb"\C2442" + b"\\"),
    *(rb"\.br" + b"\\", rb"\H" + b"\\", rb"\F\F" + b"\\", rb"\X0D\MSA|AA", b"\\" * 150),
)


@pytest.mark.parametrize("text", ESCAPES, ids=repr)
@pytest.mark.parametrize("version", ["2.5.1", "9.9"])
def test_30_no_escape_becomes_a_segment_of_the_answer(
    writer: Writer, tmp_path: Path, text: bytes, version: str
) -> None:
    """In each field that an answer takes over: MSH-3 to MSH-6 and MSH-10."""
    for field in (3, 4, 5, 6, 10):
        head = header(field, text.split(b"|")[0]).replace(b"2.5.1", version.encode(), 1)
        (reply,) = receive(writer, tmp_path, head)
        if reply.answer is None:
            continue
        assert mllp.encode(reply.answer)  # no VT and no FS
        names = [line[:3] for line in reply.answer.rstrip(b"\r").split(b"\r")]
        assert names == ([b"MSH", b"MSA"] if version == "2.5.1" else [b"MSH", b"MSA", b"ERR"])


def test_21_production_on_a_feed_for_tests(writer: Writer, tmp_path: Path) -> None:
    feed = FeedSettings(port=0, processing_ids=("T",))
    receive(writer, tmp_path, frame(id="ZZ1", pid="P"), frame(id="ZZ2", pid="T"), feed=feed)
    assert [(row.state, row.reason) for row in rows(writer)] == [
        ("IGNORED", "processing_id_P"),
        ("PENDING", ""),
    ]


def test_24_gaps_and_repeats_of_msh_13_refuse_nothing(writer: Writer, tmp_path: Path) -> None:
    numbers = (b"1", b"2", b"9", b"2", b"-1")
    frames = [header(13, n).replace(b"ZZ1|", b"ZZ%d|" % i, 1) for i, n in enumerate(numbers)]
    replies = receive(writer, tmp_path, *frames)
    assert [reply.answer is not None and b"MSA|AA" in reply.answer for reply in replies] == [True] * 5
    assert [row.state for row in rows(writer)] == ["PENDING"] * 5


# --- repeats ------------------------------------------------------------------------------------------------


def test_35_a_repeat_after_a_restart(tmp_path: Path) -> None:
    made, keyring = make(tmp_path / "s")
    with hold_writer(made, keyring) as writer:
        (first,) = receive(writer, tmp_path, frame())
    with hold_writer(made, keyring) as writer:
        again, other = receive(writer, tmp_path, frame(), frame(visit="ZZV2"))
        assert (again.answer, again.seq) == (first.answer, 1)
        assert [(row.seq, row.reason) for row in rows(writer)] == [(1, ""), (2, "control_id_reused")]
        assert other.seq == 2
        attempts = writer.call(
            Inside(lambda batch: batch.cursor.execute("SELECT row FROM delivery_attempt").fetchall())
        )
        assert attempts == [(1,)]
        assert said(made, writer).verdict == "PASS"


@pytest.mark.parametrize("restamped", [False, True])
def test_35_a_repeat_after_a_year(writer: Writer, tmp_path: Path, restamped: bool) -> None:
    """The rule is for ever: no window after which the same message would count again."""

    async def at(now: datetime, data: bytes) -> Reply:
        limits = LimitSettings(min_free_bytes=0)
        return await Intake(writer, writer.keyring, limits, tmp_path, default_site(), lambda: now).receive(
            data, "main", FEED
        )

    first = with_intake(writer, tmp_path, lambda _: at(NOW, frame()))
    later = frame().replace(b"20260302120000-0500", b"20270302120000-0500") if restamped else frame()
    again = with_intake(writer, tmp_path, lambda _: at(NOW + timedelta(days=365), later))
    assert again.seq == first.seq and len(rows(writer)) == 1
    if not restamped:
        assert again.answer == first.answer


def test_36_a_message_set_aside_is_replayed_after_its_patient_was_merged(ward: Ward) -> None:  # noqa: F811
    """It comes to the stay under the number that counts now, and nothing of it is another patient's."""
    feed = Feed()
    ward.work(
        feed.adt("A01", 0, "111", "V1", place=WARD_BED), feed.adt("A01", 0, "333", "V3", place=WARD_BED)
    )
    ward.one_worker.fails = lambda task: b"|118|" in task.frame
    ward.work(feed.pulse(2, "111", "V1", 118))
    row = max(ward.states())
    assert ward.states()[row] == "QUARANTINED"
    ward.work(feed.merge(5, ("111", "222")))
    assert sorted(stay["mrn"][-3:] for stay in ward.stays()) == ["222", "333"]
    assert ward.pulses("V1") == set()
    ward.one_worker.fails = lambda task: False
    ward.begin()
    child = ward.replay(row)
    ward.idle()
    ward.end()
    assert (ward.states()[row], ward.states()[child]) == ("REPLAYED", "NOT_APPLICABLE")
    assert (ward.pulses("V1"), ward.pulses("V3")) == ({118}, set())
    assert sorted(stay["mrn"][-3:] for stay in ward.stays()) == ["222", "333"]


# --- meaning ------------------------------------------------------------------------------------------------


def test_34_an_update_before_the_admission_it_updates() -> None:
    admission, update = adt("A01", 2, **WARD), adt("A08", 3, unit="4W", room="311")
    expected = told(folded(admission, update))
    assert told(folded(update, admission)) == expected
    assert expected["bed"].startswith("311")


def test_34_a_discharge_and_then_the_admission() -> None:
    admission, discharge = adt("A01", 2, **WARD), adt("A03", 9, discharged_at=hour(9), disposition="01")
    expected = told(folded(*ADMITTED[:2], admission, discharge))
    assert told(folded(discharge, admission, *ADMITTED[:2])) == expected
    assert expected["lifecycle"] == "discharged"


def test_32_a_discharge_before_the_admission_counts_no_midnight_below_nought() -> None:
    """PV1-45 a day before PV1-44: the stay is ended, and its length is never negative."""
    impossible = adt("A03", 9, admitted_at=hour(2), discharged_at=hour(-22), disposition="01")
    found = told(folded(*ADMITTED, impossible))
    assert found["lifecycle"] == "discharged"
    assert (found["los_midnights"] or 0) >= 0 and (found["hospital_midnights"] or 0) >= 0


def age_of(born: str) -> int | None:
    """As a review sees it, of somebody whose PID-7 says this."""
    head, _, rest = GOOD.partition(b"ALDER")
    events = [translate(er7.parse(head + b"ALDER||" + born.encode() + rest), default_site().zone)]
    fold = folded(*events)
    found = readings(fold, NOW + timedelta(hours=1), review=ReviewType.ADMISSION, wanted={"age"}).get("age")
    return None if found is None else int(found.latest.value)


@pytest.mark.parametrize("born", ["20990101", "29990101", "20260303", "19900230", "00000101", ""])
def test_32_an_age_is_never_below_nought(born: str) -> None:
    """A birth to come, or on no day there is, is an unknown age: never a small one."""
    assert age_of("19540311") == 71  # the control
    assert age_of(born) is None


def test_33_nothing_is_ever_unpacked() -> None:
    """A bomb is a field like any other: no module of ours can open an archive."""
    opener = re.compile(r"^\s*(import|from) (zlib|gzip|zipfile|bz2|lzma|tarfile|shutil\.unpack)", re.M)
    for root in ("umbridge", "audit/umbridge_audit", "plugins"):
        for path in (ROOT / root).rglob("*.py"):
            if "tests" not in path.parts:
                assert not opener.search(path.read_text(encoding="utf-8")), path
    assert opener.search("import zlib\n")  # the control


# --- plugins ------------------------------------------------------------------------------------------------


def test_a_plugins_reply_after_its_time_is_nobodys(folder: Path, host: Host) -> None:  # noqa: F811
    """It answers late: PEND, and what it said is never taken for the next case's answer."""
    install(folder, "late", attacking("time.sleep(10.0); return met(case, basis='late')"))
    host.call_seconds = 0.5
    host.start(["late"])
    assert came_of(host.screen({"late": case("bad")})["late"]) == "plugin_timeout"
    host._links["late"].call_seconds = 20.0
    deadline = time.monotonic() + 60
    while not answered(found := host.screen({"late": case()})["late"]):
        assert found.failed is not None and time.monotonic() < deadline


# --- meant for others ---------------------------------------------------------------------------------------

TEXTS = (
    *("<img src=x onerror=alert(1)>", "{{7*7}}", "javascript:alert(1)", "<svg/onload=x>", "</script>"),
    *("=HYPERLINK(1)", "+cmd", "@SUM(1)", "\t=1", '"quoted",', "\x1b[2J", "\u202eevil", "x" * 5000),
    *("'; DROP TABLE inbox;--", "%s%n", "{0.__class__}", "${jndi:ldap://x}", '{"__proto__":1}', "[" * 500),
    *("umbridge.zz/t/1", "message.received/1", "//host/share", "file:///etc/passwd", "../../x"),
)


STAYS = findings.often(6, len(TEXTS))


def hostile_everywhere(number: int, url: str) -> list[bytes]:
    """A stay whose every field with room for words holds hostile ones, and an address to fetch.

    The words move on from stay to stay: in the long run each stands in each field.
    """
    at = number * 5 % len(TEXTS)
    words = itertools.cycle([*TEXTS[at:], *TEXTS[:at]])

    def w() -> str:
        return next(words).replace("\\", "")

    first = "MSH|^~\\&|ZZEHR|UMBH|UMBRIDGE|UMBH|20260302120000-0500||{kind}|ZZ{n}.{part}|P|2.5.1"
    pid = f"PID|1||ZZM{number}^^^UMBH^MR||{w()}^{w()}||19540311|F||{w()}|{w()}||{url}"
    pv1 = f"PV1|1|I|{w()}^{w()}^{w()}||||{w()}^{w()}||||{w()}" + "|" * 8 + f"ZZHV{number}^^^UMBH^VN"
    rest = {
        "ADT^A01": f"DG1|1||{w()}^{w()}^I10|{w()}||A\rIN1|1|{w()}|{w()}|{url}\rNTE|1||{w()}",
        "ORM^O01": f"ORC|NW|{w()}\rOBR|1|{w()}||{w()}^{w()}",
        "ORU^R01": f"OBR|1|||{w()}\rOBX|1|TX|{w()}^{w()}||{w()}||||||F\rOBX|2|RP|a||{url}^IM^PNG||||||F",
    }
    return [
        (f"{first.format(kind=kind, n=number, part=part)}\r{pid}\r{pv1}\r{more}\r").encode()
        for part, (kind, more) in enumerate(rest.items())
    ]


def test_39_to_44_hostile_words_in_every_field_are_words_and_nothing_is_fetched(running: Running) -> None:
    where = running.where
    with socket.create_server(("127.0.0.1", 0)) as bait:
        url = f"http://127.0.0.1:{bait.getsockname()[1]}/zz"
        frames = [one for n in range(STAYS) for one in hostile_everywhere(n, url)]
        answers = acks(asyncio.run(exchange(running.port, *map(mllp.encode, frames), seconds=120)))
        assert [code for code, _ in answers] == ["AA"] * len(frames)
        running.worked()
        bait.setblocking(False)
        with pytest.raises(BlockingIOError):
            bait.accept()
    assert running.stop() == 0
    where.roles("administrator", "compliance_auditor", "ur_nurse")
    asked: tuple[tuple[str, ...], ...] = (
        ("messages", "list"),
        ("stays", "list", "--purpose", "HPAYMT"),
        ("reviews", "list", "--purpose", "HPAYMT"),
        ("ledger", "list"),
    )
    shown = 0
    for words in asked:
        done = where.run(*words)
        assert all(32 <= ord(letter) < 127 or letter in "\n…" for letter in done.stdout), words
        assert "Traceback" not in done.stderr
        shown += len(done.stdout.splitlines())
    assert shown > len(frames)
    states = [row["state"] for row in where.rows("messages", "list")]
    assert len(states) == len(frames) and set(states) <= {"DETERMINED", "NOT_APPLICABLE"}
    log: list[dict[str, Any]] = [json.loads(line) for line in running.log.read_text().splitlines()]
    assert all(len(json.dumps(line)) < 500 for line in log)
    assert where.rows("ledger", "verify")[0]["verdict"] == "PASS"


def test_the_good_message_of_these_tests_is_good(writer: Writer, tmp_path: Path) -> None:
    """The control of all the tables: unspoilt, it is taken, and has somewhere to go."""
    (reply,) = receive(writer, tmp_path, GOOD)
    assert reply.answer is not None and b"MSA|AA|ZZ1" in reply.answer
    assert [row.state for row in rows(writer)] == ["PENDING"]

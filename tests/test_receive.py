"""One frame in, one answer out: what intake.md's table says, for each of its rows."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Coroutine, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from test_writer import make, rows

from umbridge.commands import sample
from umbridge.hl7 import er7, mllp
from umbridge.intake.receive import Intake, Reply, content_digest
from umbridge.settings.config import FeedSettings, LimitSettings
from umbridge.settings.site import default_site
from umbridge.store.commands import WriteEntries
from umbridge.store.opening import hold_writer
from umbridge.store.writer import Writer

NOW = datetime(2026, 3, 2, 17, 0, tzinfo=UTC)
FEED = FeedSettings(port=0)
HEAD = "MSH|^~\\&|ZZEHR|UMBH|UMBRIDGE|UMBH|20260302120000-0500||{kind}|{id}|{pid}|{version}|||{accept}|{app}"


def frame(
    kind: str = "ADT^A01",
    id: str = "ZZ1",
    pid: str = "P",
    version: str = "2.5.1",
    accept: str = "",
    app: str = "",
    visit: str = "ZZV1",
) -> bytes:
    head = HEAD.format(kind=kind, id=id, pid=pid, version=version, accept=accept, app=app)
    pv1 = "PV1|1|I|4W^310" + "|" * 15 + f"INP|{visit}^^^UMBH^VN"
    return f"{head}\rPID|1||ZZM1^^^UMBH^MR||ZZTEST^ALDER\r{pv1}\r".encode()


@pytest.fixture
def writer(tmp_path: Path) -> Iterator[Writer]:
    made, keyring = make(tmp_path / "s")
    with hold_writer(made, keyring) as held:
        yield held


def with_intake(
    writer: Writer, tmp_path: Path, play: Callable[[Intake], Coroutine[Any, Any, Any]], **limits: Any
) -> Any:
    """Play on the writer's own loop, as the daemon does."""

    async def main() -> Any:
        settings_ = LimitSettings(min_free_bytes=0, **limits)
        return await play(Intake(writer, writer.keyring, settings_, tmp_path, default_site(), lambda: NOW))

    writer.call(WriteEntries(drafts=()))  # its loop runs
    assert writer._loop is not None
    return asyncio.run_coroutine_threadsafe(main(), writer._loop).result(30)


def receive(writer: Writer, tmp_path: Path, *frames: bytes, feed: FeedSettings = FEED) -> list[Reply]:
    async def play(intake: Intake) -> list[Reply]:
        return [await intake.receive(data, "main", feed) for data in frames]

    return with_intake(writer, tmp_path, play)


# (frame, MSA-1 or None, row state, reason, ERR-3 code)
TABLE = [
    (frame(), "AA", "PENDING", "", ""),
    (frame(accept="AL"), "CA", "PENDING", "", ""),
    (frame(accept="SU"), "CA", "PENDING", "", ""),
    (frame(accept="NE", app="AL"), "AA", "PENDING", "", ""),
    (frame(accept="ER", app="AL"), "AA", "PENDING", "", ""),
    (frame(accept="ER"), None, "PENDING", "", ""),
    (frame(accept="NE", app="NE"), None, "PENDING", "", ""),
    (frame(id=""), "AE", "REFUSED", "control_id_missing", "101"),
    (frame(id="9" * 200), "AE", "REFUSED", "control_id_too_long", "104"),
    (frame(kind=""), "AE", "REFUSED", "message_type_missing", "101"),
    (frame(kind="XYZ^A01"), "AR", "REFUSED", "message_type_unknown", "200"),
    (frame(kind="ADT^A99"), "AR", "REFUSED", "event_unknown", "201"),
    (frame(pid="X"), "AR", "REFUSED", "processing_id_unknown", "202"),
    (frame(version="7.7"), "AR", "REFUSED", "version_unknown", "203"),
    (frame(version="7.7", accept="AL"), "CR", "REFUSED", "version_unknown", "203"),
    (frame(version="7.7", accept="NE", app="ER"), "AR", "REFUSED", "version_unknown", "203"),
    (frame(kind="SIU^S12"), "AA", "IGNORED", "type_not_used", ""),
    (frame(kind="ADT^A20"), "AA", "IGNORED", "bed_status", ""),
    (frame(kind="ORU^R33"), "AA", "IGNORED", "trigger_not_used", ""),
    (frame(pid="T"), "AA", "IGNORED", "processing_id_T", ""),
    (frame(kind="ACK"), None, "IGNORED", "acknowledgment", ""),
    (frame(visit=""), "AA", "NOT_APPLICABLE", "no_visit_number", ""),
]


@pytest.mark.parametrize(("data", "code", "state", "reason", "condition"), TABLE)
def test_the_table_of_answers(
    writer: Writer, tmp_path: Path, data: bytes, code: str | None, state: str, reason: str, condition: str
) -> None:
    (reply,) = receive(writer, tmp_path, data)
    (row,) = rows(writer)
    assert row.frame == data
    assert (row.state, row.reason, row.ack) == (state, reason, code or "NONE")
    if code is None:
        assert reply.answer is None
        return
    assert reply.answer is not None
    said = er7.parse(reply.answer)
    assert said.get("MSA-1") == code
    assert said.get_raw("MSA-2") == er7.parse(data).get_raw("MSH-10")
    assert said.get("ERR-3.1") == condition
    assert b"ZZTEST" not in reply.answer


def test_no_header_is_kept_listed_and_closed_on(writer: Writer, tmp_path: Path) -> None:
    (reply,) = receive(writer, tmp_path, b"PID|1||ZZM1\r")
    assert reply == Reply(None, close=True)
    (row,) = rows(writer)
    assert (row.state, row.ack, row.frame) == ("REFUSED", "CLOSED", b"PID|1||ZZM1\r")


def test_a_repeat_gets_the_stored_answer_byte_for_byte(writer: Writer, tmp_path: Path) -> None:
    first, second, other = receive(writer, tmp_path, frame(), frame(), frame(id="ZZ2"))
    assert first.answer == second.answer != other.answer


def test_a_repeated_refusal_gets_the_stored_refusal(writer: Writer, tmp_path: Path) -> None:
    first, second = receive(writer, tmp_path, frame(version="7.7"), frame(version="7.7"))
    assert first.answer == second.answer
    assert len(rows(writer)) == 1


def test_a_rejected_reuse_says_207(writer: Writer, tmp_path: Path) -> None:
    feed = FeedSettings(port=0, control_id_reused="reject")
    _, second = receive(writer, tmp_path, frame(), frame(visit="ZZV2"), feed=feed)
    assert second.answer is not None
    said = er7.parse(second.answer)
    assert (said.get("MSA-1"), said.get("ERR-3.1"), said.get("ERR-2.1")) == ("AE", "207", "MSH")


def test_a_sender_that_is_not_on_the_feeds_list_is_refused(writer: Writer, tmp_path: Path) -> None:
    feed = FeedSettings(port=0, senders=("OTHER/UMBH",))
    (reply,) = receive(writer, tmp_path, frame(), feed=feed)
    assert reply.answer is not None
    assert er7.parse(reply.answer).get("MSA-1") == "AR"
    assert rows(writer)[0].reason == "sender_not_on_feed"


def test_two_feeds_may_use_the_same_control_id(writer: Writer, tmp_path: Path) -> None:
    async def play(intake: Intake) -> None:
        await intake.receive(frame(), "one", FEED)
        await intake.receive(frame(), "two", FEED)

    with_intake(writer, tmp_path, play)
    assert [(row.feed, row.reason) for row in rows(writer)] == [("one", ""), ("two", "")]


@pytest.mark.parametrize("number", [7, 13])
def test_only_a_new_time_or_sequence_makes_the_same_content(number: int) -> None:
    """The content digest is blind to MSH-7 and MSH-13 and to nothing else."""
    data = sample.stay(0, NOW)[0].replace(b"|2.5.1\r", b"|2.5.1|77|\r")
    fields = data.split(b"|")
    base = content_digest(er7.parse(data))
    fields[number - 1] = b"20300101"
    assert content_digest(er7.parse(b"|".join(fields))) == base
    fields[9] = b"OTHER"
    assert content_digest(er7.parse(b"|".join(fields))) != base


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.one_of(st.binary(max_size=200), st.binary(max_size=60).map(lambda b: b"MSH|^~\\&|" + b)))
def test_any_frame_ends_as_one_row_and_one_answer_or_a_closed_connection(
    writer: Writer, tmp_path: Path, data: bytes
) -> None:
    before = {row.seq for row in rows(writer)}
    (reply,) = receive(writer, tmp_path, data)
    after = [row for row in rows(writer) if row.seq not in before]
    assert len(after) <= 1
    assert all(row.frame == data for row in after)
    if not after:  # a repeat: the row was there
        digest = hashlib.sha256(data).digest()
        assert digest in {hashlib.sha256(row.frame).digest() for row in rows(writer)}
    assert reply.close == (reply.answer is None and any(row.ack == "CLOSED" for row in after)) or not after


def test_oversize_is_counted_and_answered_when_the_header_was_seen(writer: Writer, tmp_path: Path) -> None:
    decoder = mllp.FrameDecoder(1024)
    data = mllp.START + frame() + b"OBX|" + b"x" * 2000
    (fault,) = decoder.feed(data)
    assert isinstance(fault, mllp.Fault)

    async def play(intake: Intake) -> bytes | None:
        return await intake.fault(fault, "main")

    answer = with_intake(writer, tmp_path, play)
    assert answer is not None
    said = er7.parse(answer)
    assert (said.get("MSA-1"), said.get("ERR-3.1"), said.get("MSA-2")) == ("AE", "104", "ZZ1")
    with writer.reading() as reader:
        counted = reader.refusals()
    assert [(feed, reason, count) for feed, reason, count, _ in counted] == [("main", "oversize", 1)]
    assert rows(writer) == []


def test_reading_pauses_at_the_limit_and_goes_on(writer: Writer, tmp_path: Path) -> None:
    async def play(intake: Intake) -> list[object]:
        seen: list[object] = []
        intake.set_pending(2)
        seen.append(intake.held)
        waiting = asyncio.ensure_future(intake.ready())
        await asyncio.sleep(0)
        seen.append(waiting.done())
        intake.add_pending(-1)
        await asyncio.wait_for(waiting, 60)
        seen.append(intake.held)
        return seen

    assert with_intake(writer, tmp_path, play, pending_rows=2) == ["pending_rows", False, None]


def test_a_message_from_the_future_is_set_aside_and_shifts_nothing(writer: Writer, tmp_path: Path) -> None:
    """Sent, or telling of a time, more than ten minutes after our clock (site profile). Noon here is NOW."""
    sent = frame(visit="ZZV7").replace(b"20260302120000-0500", b"%s-0500")
    cases = {
        sent % b"20260302121000": "PENDING",  # ten minutes: a clock may be that wrong
        sent % b"20260302121001": "QUARANTINED",
        frame(id="ZZ2")
        .replace(b"20260302120000-0500", b"20260302060000-0500")
        .replace(b"\rPID", b"\rEVN||||||202603021211\rPID"): "QUARANTINED",
        frame(kind="ORU^R01", id="ZZ3", visit="ZZV8").replace(b"20260302120000", b"20270302120000"): (
            "QUARANTINED"
        ),
        frame(id="ZZ4").replace(b"20260302120000-0500", b""): "PENDING",  # no time is no time to come
    }
    made = [data.replace(b"ZZ1|", b"ZZ1%d|" % n) for n, data in enumerate(cases)]
    replies = receive(writer, tmp_path, *made)
    assert [reply.answer is not None and b"MSA|AA" in reply.answer for reply in replies] == [True] * 5
    found = rows(writer)
    assert [row.state for row in found] == list(cases.values())
    assert {row.reason for row in found if row.state == "QUARANTINED"} == {"from_the_future"}

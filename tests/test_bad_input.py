"""Bad input by name, by the thousand and on its way out: B1, B2, B4 and B5 of the fault list.

The named list has the expected answer and row beside each item (hostile_lists.txt says where each is).
Whatever comes, the next sender is answered.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections import Counter
from pathlib import Path
from typing import Any

import findings
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from installation import Installation, exchange
from mutants import mutant
from test_listener import Wire, acks, play
from test_receive import frame

from umbridge.commands import sample
from umbridge.errors import NotHl7Error, RefusedError
from umbridge.hl7 import ack, er7, mllp
from umbridge.hl7 import translate as translating
from umbridge.hl7.moments import EPOCH
from umbridge.hl7.translate import identify, translate
from umbridge.intake.listener import Listener
from umbridge.settings.config import FeedSettings, LimitSettings
from umbridge.settings.site import default_site

SEED = 20261122
GOOD = frame()
BLOCK = mllp.encode(GOOD)
HEAD = b"MSH|^~\\&|ZZEHR|UMBH|UMBRIDGE|UMBH|20260302120000-0500||ADT^A01|ZZ1|P|2.5.1"


def head(field: int, value: bytes) -> bytes:
    """The good message with one field of MSH changed."""
    lines = GOOD.split(b"\r")
    fields = lines[0].split(b"|")
    fields += [b""] * (field - len(fields))
    fields[field - 1] = value
    return b"\r".join([b"|".join(fields), *lines[1:]])


def more(*segments: bytes) -> bytes:
    return GOOD + b"".join(segment + b"\r" for segment in segments)


P, R, IG = "PENDING", "REFUSED", "IGNORED"

# number in the list of hostile inputs: what is written, the codes that come back, the rows it makes as
# (state, reason), the refusals that are counted
WIRE: dict[str, tuple[bytes, list[str], list[tuple[str, str]], list[str]]] = {
    "1 three frames in one write": (
        b"".join(mllp.encode(frame(id=f"ZZ{n}")) for n in range(3)),
        ["AA"] * 3,
        [(P, "")] * 3,
        [],
    ),
    "1 the same frame three times": (BLOCK * 3, ["AA"] * 3, [(P, "")], []),
    "3 CR LF between frames": (BLOCK + b"\r\n" + mllp.encode(frame(id="ZZ2")), ["AA"] * 2, [(P, "")] * 2, []),
    "3 LF, CR and NUL between frames": (b"\n\r\x00" + BLOCK + b"\x00\n", ["AA"], [(P, "")], []),
    "4 a log line before VT": (b"INFO starting\n" + BLOCK, [], [], ["junk_before_block"]),
    "4 a byte order mark before VT": (b"\xef\xbb\xbf" + BLOCK, [], [], ["junk_before_block"]),
    "5 no VT": (GOOD + mllp.END, [], [], ["junk_before_block"]),
    "5 no FS": (mllp.START + GOOD + b"\r", [], [], ["eof_in_block"]),
    "5 FS without CR": (mllp.START + GOOD + b"\x1c", [], [], ["eof_in_block"]),
    "5 FS, then not CR": (mllp.START + GOOD + b"\x1cX", [], [], ["end_without_cr"]),
    "5 FS CR inside the body": (
        mllp.START + GOOD + mllp.END + b"OBX|1\r" + mllp.END,
        [],
        [],
        ["junk_after_block"],
    ),
    "6 double VT": (mllp.START + BLOCK, ["AA"], [(P, "")], []),
    "6 VT inside": (
        mllp.START + GOOD[:50] + mllp.START + GOOD[50:] + mllp.END,
        [],
        [],
        ["start_inside_block"],
    ),
    "7 an empty frame": (mllp.encode(b""), [], [(R, "empty")], []),
    "7 a frame of one CR": (mllp.encode(b"\r"), [], [(R, "empty")], []),
    "7 only spaces": (mllp.encode(b"   "), [], [(R, "empty")], []),
    "8 the end in mid-frame": (BLOCK[:60], [], [], ["eof_in_block"]),
    "9 too long, and its header was seen": (mllp.START + GOOD + b"x" * 70_000, ["AE"], [], ["oversize"]),
    "9 too long, and no header": (mllp.START + b"x" * 70_000, [], [], ["oversize"]),
    "11 an HTTP request": (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", [], [], ["junk_before_block"]),
    "11 an SSH banner": (b"SSH-2.0-x\r\n", [], [], ["junk_before_block"]),
    "11 a TLS hello": (b"\x16\x03\x01\x02\x00\x01", [], [], ["junk_before_block"]),
    "11 nothing at all": (b"", [], [], []),
    "14 an acknowledgment": (
        mllp.encode(b"MSH|^~\\&|A|B|C|D|2026||ACK|Z|P|2.5\rMSA|AA|1\r"),
        [],
        [(IG, "acknowledgment")],
        [],
    ),
    "15 UTF-16": (mllp.encode("MSH|^~\\&|A".encode("utf-16-le")), [], [(R, "*")], []),
    "16 MSH alone": (mllp.encode(b"MSH"), [], [(R, "*")], []),
    "16 MSH|": (mllp.encode(b"MSH|"), [], [(R, "*")], []),
    "16 MSH|^~\\&": (mllp.encode(b"MSH|^~\\&"), ["AE"], [(R, "*")], []),
    "17 repeated delimiters": (mllp.encode(head(2, b"^^^^")), ["AE"], [(R, "delimiters_ambiguous")], []),
    "17 a fifth": (mllp.encode(head(2, b"^~\\&#")), ["AA"], [(P, "")], []),
    "17 other separators": (
        mllp.encode(GOOD.replace(b"|", b":").replace(b"^~", b";~").replace(b"^", b";")),
        ["AA"],
        [(P, "")],
        [],
    ),
    "18 no control id": (mllp.encode(head(10, b"")), ["AE"], [(R, "control_id_missing")], []),
    "18 200 characters": (mllp.encode(head(10, b"Z" * 200)), ["AE"], [(R, "control_id_too_long")], []),
    "18 a path": (mllp.encode(head(10, b"../../x")), ["AA"], [(P, "")], []),
    "18 a formula": (mllp.encode(head(10, b"=cmd()")), ["AA"], [(P, "")], []),
    "18 a script": (mllp.encode(head(10, b"<script>")), ["AA"], [(P, "")], []),
    "18 an emoji": (mllp.encode(head(10, "ZZ\U0001f600".encode())), ["AA"], [(P, "")], []),
    "18 an escaped CR": (mllp.encode(head(10, b"ZZ\\X0D\\MSA")), ["AA"], [(P, "")], []),
    "18 the same id, other content": (
        BLOCK + mllp.encode(GOOD + b"NTE|1\r"),
        ["AA"] * 2,
        [(P, ""), (P, "control_id_reused")],
        [],
    ),
    "18 the same, re-stamped": (
        BLOCK + mllp.encode(head(7, b"20260302120001-0500")),
        ["AA"] * 2,
        [(P, "")],
        [],
    ),
    "19 MSH-6 of components": (mllp.encode(head(6, b"^^")), ["AA"], [(P, "")], []),
    "19 no MSH-9": (mllp.encode(head(9, b"")), ["AE"], [(R, "message_type_missing")], []),
    "19 an event nobody knows": (mllp.encode(head(9, b"ADT^A99")), ["AR"], [(R, "event_unknown")], []),
    "19 a type alone": (mllp.encode(head(9, b"ADT")), ["AR"], [(R, "event_unknown")], []),
    "20 no version": (mllp.encode(head(12, b"")), ["AE"], [(R, "version_missing")], []),
    "20 a version nobody knows": (mllp.encode(head(12, b"9.9")), ["AR"], [(R, "version_unknown")], []),
    "21 a test message": (mllp.encode(head(11, b"T")), ["AA"], [(IG, "processing_id_T")], []),
    "21 a processing id nobody knows": (
        mllp.encode(head(11, b"Q")),
        ["AR"],
        [(R, "processing_id_unknown")],
        [],
    ),
    "22 accept always": (mllp.encode(head(15, b"AL")), ["CA"], [(P, "")], []),
    "22 a word that is not in the table": (mllp.encode(head(15, b"XX")), ["CA"], [(P, "")], []),
    "22 never, never": (mllp.encode(frame(accept="NE", app="NE")), [], [(P, "")], []),
    "23 a character set nobody knows": (mllp.encode(head(18, b"KLINGON")), ["AA"], [(P, "")], []),
    "23 bytes that are no UTF-8": (
        mllp.encode(GOOD.replace(b"ALDER", b"\xc0\xaf\xed\xa0\x80")),
        ["AA"],
        [(P, "")],
        [],
    ),
    "24 a year of 0000": (mllp.encode(head(7, b"00000101")), ["AA"], [(P, "")], []),
    "24 a time of 30 digits": (mllp.encode(head(7, b"2" * 30)), ["AA"], [(P, "")], []),
    "24 a sequence number": (mllp.encode(head(13, b"-1")), ["AA"], [(P, "")], []),
    "25 two MSH in a frame": (mllp.encode(GOOD + GOOD), ["AE"], [(R, "several_messages")], []),
    "25 MSH not first": (mllp.encode(b"PID|1\r" + GOOD), ["AE"], [(R, "msh_not_first")], []),
    "26 LF between segments": (mllp.encode(GOOD.replace(b"\r", b"\n")), ["AA"], [(P, "")], []),
    "26 no final CR": (mllp.encode(GOOD.rstrip(b"\r")), ["AA"], [(P, "")], []),
    "27 names of no segment": (
        mllp.encode(more(b"pid|1", b"PI|1", b"PIDX|1", b"Z..|1", b"\x00ID|1")),
        ["AA"],
        [(P, "")],
        [],
    ),
    "30 escapes without an end": (
        mllp.encode(more(b"NTE|1||\\X0D0A1C0B\\ \\XZZ\\ \\F")),
        ["AA"],
        [(P, "")],
        [],
    ),
    "33 deleted results": (mllp.encode(more(b"OBX|1|ED|X||^^^Base64^@@@||||||D")), ["AA"], [(P, "")], []),
    "34 no identifiers": (mllp.encode(GOOD.replace(b"ZZM1^^^UMBH^MR", b"")), ["AA"], [(P, "")], []),
    "42 SQL and format strings": (
        mllp.encode(more(b"NTE|1||'; DROP TABLE inbox; %n {0.__class__} ${jndi:x}")),
        ["AA"],
        [(P, "")],
        [],
    ),
    "no visit and no account": (
        mllp.encode(frame(visit="")),
        ["AA"],
        [("NOT_APPLICABLE", "no_visit_number")],
        [],
    ),
}


def named(tmp_path: Path, items: dict[str, Any]) -> dict[str, Any]:
    """The items that were not answered, stored and counted as the table says."""
    wrong: dict[str, Any] = {}

    async def one(wire: Wire, number: int, data: bytes) -> tuple[list[str], list[tuple[str, str]], list[str]]:
        feed = f"f{number}"
        limits = LimitSettings(min_free_bytes=0, max_frame_bytes=65536)
        listener = Listener({feed: FeedSettings(port=0)}, limits, wire.intake)
        await listener.open()
        try:
            answer = await exchange(listener.port, data)
            found = [(row.state, row.reason) for row in await wire.rows() if row.feed == feed]
            with wire.writer.reading() as reader:
                refused = reader.refusals()
            good = await exchange(listener.port, mllp.encode(frame(id="ZZAFTER")))
        finally:
            await listener.close(2.0)
        assert acks(good) == [("AA", "ZZAFTER")]
        return [code for code, _ in acks(answer)], found, sorted(why for f, why, _, _ in refused if f == feed)

    async def scene(wire: Wire) -> None:
        for number, (name, (data, codes, rows, counted)) in enumerate(items.items()):
            got = await one(wire, number, data)
            expected = [(s, r if r != "*" else g[1]) for (s, r), g in zip(rows, got[1], strict=False)]
            if got != (codes, expected, counted) or len(rows) != len(got[1]):
                wrong[name] = got

    play(tmp_path, scene, seconds=250.0)
    return wrong


@pytest.mark.slow
def test_every_named_input_has_its_answer_and_its_row(tmp_path: Path) -> None:
    """B1. One store, and a feed for each item: the duplicate rule goes by the feed."""
    wrong = named(tmp_path, WIRE)
    findings.write("named", items=len(WIRE), wrong=sorted(wrong))
    assert not wrong


def test_a_daemon_that_takes_everything_is_caught(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The planted bug of B1: nothing is refused, so that a sender is told AA for what nobody can work."""
    monkeypatch.setattr(ack, "refusal", lambda message, also=(): None)
    some = {name: WIRE[name] for name in WIRE if name.startswith(("18", "19"))}
    assert len(named(tmp_path, some)) >= 5, "the planted bug went unseen: the table proves nothing"


def seeds() -> list[bytes]:
    folder = Path(__file__).parent / "vectors" / "hl7"
    found = [path.read_bytes() for path in sorted(folder.glob("*.hl7"))]
    began = EPOCH.replace(year=2026)
    return [*found, *sample.stay(0, began), *sample.stay(1, began)]


def mutate(tries: int) -> dict[str, float]:
    """Mutants read, judged, answered and translated; whatever is raised but a refusal ends it."""
    rng = random.Random(SEED)
    originals = seeds()
    zone = default_site().zone
    began, read, slowest = time.monotonic(), 0, 0.0
    for _ in range(tries):
        data = mutant(rng, rng.choice(originals))
        started = time.perf_counter()
        try:
            message = er7.parse(data)
        except NotHl7Error:
            continue
        read += 1
        refused = ack.refusal(message)
        identify(message)
        if refused is None and ack.used(message).state.value == P:
            translate(message, zone)
        answers_this(message, refused)
        slowest = max(slowest, time.perf_counter() - started)
    seconds = round(time.monotonic() - began, 1)
    return {"tries": tries, "read": read, "slowest_ms": round(slowest * 1000, 1), "seconds": seconds}


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_no_mutated_message_breaks_the_reader_or_the_answer() -> None:
    """B2: nothing but our own refusal, and an answer that parses and names this message."""
    said = findings.write("mutants", seed=SEED, **mutate(findings.often(3_000, 200_000)))
    assert said["read"] > said["tries"] // 4, said


def test_a_reader_that_trusts_its_input_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    """The planted bug of B2: the fourth component is taken to be there."""
    monkeypatch.setattr(translating, "authority_of", lambda message, parts: parts[3].decode())
    with pytest.raises((IndexError, UnicodeError)):
        mutate(500)


def answers_this(message: er7.Message, refused: RefusedError | None) -> None:
    """The answer has the segments it should have, whatever the message held, and the message's own id."""
    code = ack.code_due(message, refused)
    if code is None:
        return
    answer = ack.answer(
        message,
        code,
        control_id="UMB000000000001",
        now=EPOCH,
        condition=refused.condition if refused else None,
        location=refused.location if refused else None,
        text=f"{refused.reason} ref 1" if refused else None,
    )
    assert mllp.encode(answer)  # no VT and no FS in it: it can be framed
    read = er7.parse(answer)
    names = [segment.name for segment in read.walk()]
    assert names == ["MSH", "MSA", *(["ERR"] if refused else [])], "a value became a segment"
    assert read.get("MSA-1") == code


HOSTILE = st.one_of(
    st.binary(max_size=30).filter(lambda b: b"\r" not in b and b"\n" not in b and b"|" not in b),
    st.sampled_from([b"\\X0D\\MSA|AA", b"\\F\\", b"\\", b"\\\\\\", b"^", b"&&", b"~~", b"\\X1C0D\\", b'""']),
)


@pytest.mark.timeout(1800)
def test_hostile_values_come_back_as_values() -> None:
    """B5: what is echoed re-parses to as many segments, and MSA-2 is MSH-10."""
    found: Counter[str] = Counter()

    @given(HOSTILE, HOSTILE, HOSTILE, st.sampled_from(["2.1", "2.3", "2.5.1", "2.7", "2.9"]))
    @settings(
        max_examples=findings.often(300, 10_000), deadline=None, suppress_health_check=[HealthCheck.too_slow]
    )
    def echoed(app: bytes, place: bytes, control: bytes, version: str) -> None:
        head = [b"MSH", b"^~\\&", app, place, b"U", b"F", b"20260302", b"", b"ADT^A01", control, b"P"]
        data = b"|".join([*head, version.encode()])
        found["tries"] += 1
        try:
            message = er7.parse(data + b"\rPID|1\r")
        except NotHl7Error:
            found["no_header"] += 1
            return
        refused = ack.refusal(message)
        answers_this(message, refused)
        found["accepted" if refused is None else "refused"] += 1
        if refused is None:
            code = ack.code_due(message, None)
            answer = ack.answer(message, code or "AA", control_id="U1", now=EPOCH)
            assert er7.parse(answer).get("MSA-2") == message.get("MSH-10")

    echoed()
    said = findings.write("echoed", **found)
    assert said["accepted"] > 50, said


def test_an_answer_that_echoes_what_it_got_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    """The planted bug: values go back as they came, control characters and all."""
    monkeypatch.setattr(ack, "_printable", lambda value, marks: value)
    data = b"MSH|^~\\&|A\x0bB|B|C|D|20260302||ADT^A01|ZZ1|P|2.5.1\rPID|1\r"
    with pytest.raises(Exception):  # noqa: B017 - any of the checks will do
        answers_this(er7.parse(data), None)


def canaries(installation: Installation, times: int, program: tuple[str, ...]) -> tuple[int, list[str]]:
    """How many files are left after a run with a canary in every message, and which of them name it."""
    rng = random.Random(SEED)
    canary = b"ZZCANARYPATIENT"
    data = frame(id="ZZCANARYCONTROL", visit="ZZCANARYVISIT").replace(b"ALDER", canary)
    daemon = installation.start(program)
    try:
        for n in range(times):
            block = mllp.encode(data.replace(b"CONTROL", b"CONTROL%d" % n))
            whole = block if n % 3 == 0 else mutant(rng, block)
            with contextlib.suppress(ConnectionError):
                asyncio.run(exchange(daemon.port, whole))
        daemon.worked()
    finally:
        daemon.kill()
    looked, hits = 0, []
    for path in installation.directory.rglob("*"):
        if path.is_file() and "keys" not in path.relative_to(installation.directory).parts:
            looked += 1
            if b"ZZCANARY" in path.read_bytes():
                hits.append(path.name)
    return looked, hits


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_no_word_of_a_patient_is_left_in_the_open(installation: Installation) -> None:
    """B4: good, bad and half messages with a canary in them, a kill, and then every file that is left."""
    looked, hits = canaries(installation, findings.often(60, 2000), ("-m", "umbridge.commands.main"))
    said = findings.write("canary", seed=SEED, files=looked, hits=hits)
    assert looked >= 6, said
    assert not hits, said


@pytest.mark.slow
def test_a_daemon_that_says_what_it_got_is_caught(installation: Installation) -> None:
    """The planted bug of B4: a log line with the message in it, written to find a fault and forgotten."""
    program = (str(Path(__file__).parent / "planted" / "says_too_much.py"),)
    assert canaries(installation, 3, program)[1] == ["daemon.log"], "the planted bug went unseen"

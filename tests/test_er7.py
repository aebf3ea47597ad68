"""The reader: total on any bytes, no segment lost, no byte unaccounted for, the sender's delimiters."""

from __future__ import annotations

import gc
import re
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import hl7
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from umbridge.errors import NotHl7Error
from umbridge.hl7 import ack, escapes, translate
from umbridge.hl7.er7 import Message, parse
from umbridge.hl7.segment import Segment

VIGNETTES = Path(__file__).parents[1] / "../shared/vignettes/cases"
HEADER = b"MSH|^~\\&|ZZEHR|UMBH|UMBRIDGE|UMBH|20260112140700-0500||ADT^A04^ADT_A01|ZZ-1|P|2.5.1"
ADT = (
    HEADER + b"\rEVN|A04|20260112140700\r"
    b"PID|1||111^^^UMBH&1.2.3&ISO^MR~222^^^OTHER^PI||ZZTEST^ALDER^^^^^L||19530914|M\r"
    b"ZPI|own^thing\rPV1|1|E|ED^12^1^UMBH\rOBX|1|ST|A||one\rOBX|2|TX|B||two \\T\\ three\r"
)
PUNCTUATION = "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~"
LINE = (
    st.binary(min_size=1, max_size=30).map(lambda b: re.sub(rb"[\r\n]", b"", b)).filter(lambda b: b.strip())
)
SAFE_LINE = LINE.filter(
    lambda line: line[:3] not in (b"MSH", b"FHS", b"BHS", b"BTS", b"FTS") and not line.isspace()
)
ENDS = st.sampled_from([b"\r", b"\n", b"\r\n", b"\r\r", b"\n\r\n"])
VALUES = st.text(
    st.characters(min_codepoint=0x20, max_codepoint=0x24F, exclude_categories=("Cs", "Cc")), max_size=12
)


def mutated(frame: bytes) -> st.SearchStrategy[bytes]:
    """One message with a few bytes changed, cut out or put in twice."""
    edit = st.tuples(st.integers(0, len(frame)), st.integers(0, 6), st.binary(max_size=4))

    def apply(edits: list[tuple[int, int, bytes]]) -> bytes:
        out = frame
        for at, length, put in edits:
            out = out[:at] + put + out[at + length :]
        return out

    return st.lists(edit, max_size=6).map(apply)


def read_everything(message: Message) -> None:
    for segment in message.walk():
        for number in range(len(segment.fields) + 2):
            segment.text(number)
            for nth in range(1, len(segment.repetitions(number)) + 1):
                for part in segment.components(number, nth):
                    assert isinstance(message.value(part), str)


# --- properties


@given(st.one_of(st.binary(max_size=200), st.binary(max_size=100).map(lambda b: b"MSH|" + b), mutated(ADT)))
@example(b"MSH")
@example(b"MSH|")
@example(b"MSH||")
@example(b"MSH|^~\\&")
@example(b"\xef\xbb\xbfMSH|^\r|")
def test_any_bytes_are_a_message_or_not_hl7(frame: bytes) -> None:
    try:
        message = parse(frame)
    except NotHl7Error as error:
        assert re.fullmatch(r"[a-z0-9_]+", error.reason)
        return
    assert message.raw == frame
    read_everything(message)


@given(st.lists(st.tuples(SAFE_LINE, ENDS), max_size=12), st.booleans())
def test_no_segment_is_lost_and_no_byte_unaccounted_for(
    lines: list[tuple[bytes, bytes]], last_end: bool
) -> None:
    frame = HEADER + b"\r" + b"".join(line + end for line, end in lines)
    if lines and not last_end:
        frame = frame[: -len(lines[-1][1])]
    message = parse(frame)
    expected = [HEADER] + [line for line, _ in lines]
    assert message.lines == expected == message.body
    assert [segment.raw for segment in message.walk()] == expected
    assert b"".join(message.lines) == re.sub(rb"[\r\n]", b"", frame)
    for segment in message.walk():
        fields = segment.fields
        mark = message.delimiters.field
        rebuilt = mark.join([fields[0], *fields[2:]] if segment.name == "MSH" else fields)
        assert rebuilt == segment.raw
        for number in range(2 if segment.name != "MSH" else 3, len(fields)):
            assert b"~".join(segment.repetitions(number)) == fields[number]
            assert (
                b"~".join(
                    b"^".join(segment.components(number, nth))
                    for nth in range(1, len(segment.repetitions(number)) + 1)
                )
                == fields[number]
            )


@given(st.permutations(PUNCTUATION), st.lists(VALUES, min_size=4, max_size=4))
def test_the_senders_delimiters_are_used(marks: list[str], values: list[str]) -> None:
    field, component, repetition, escape, subcomponent = marks[:5]
    names = {field: "F", component: "S", repetition: "R", escape: "E", subcomponent: "T"}

    def escaped(value: str) -> str:
        return "".join(escape + names[c] + escape if c in names else c for c in value)

    sent = [escaped(value) for value in values]
    text = (
        f"MSH{field}{component}{repetition}{escape}{subcomponent}{field}ZZEHR\r"
        f"ZZZ{field}{sent[0]}{repetition}{sent[1]}{component}{sent[2]}{subcomponent}{sent[3]}"
    )
    message = parse(text.encode())
    got = [message.get(f"ZZZ-1{place}") for place in ("[1]", "[2].1", "[2].2.1", "[2].2.2")]
    assert got == values
    assert message.get("MSH-1") == field
    assert message.get("MSH-2") == component + repetition + escape + subcomponent
    assert message.get("MSH-3") == "ZZEHR"


@given(
    VALUES,
    st.sampled_from(
        ["8859/1", "UNICODE UTF-8", "8859/15", "GB 18030-2000", "BIG-5", "ISO IR87", "KS X 1001"]
    ),
)
def test_declared_character_sets_are_decoded(value: str, charset: str) -> None:
    from umbridge.hl7.charset import codec_for

    codec, known = codec_for([charset], "utf-8")
    assert known
    kept = value.encode(codec, "ignore").decode(codec)
    kept = "".join(c for c in kept if c not in "|^~\\&")
    frame = f"MSH|^~\\&|||||||ADT^A01|1|P|2.5.1||||||{charset}\rPID|1||{kept}^x|end".encode(codec)
    message = parse(frame)
    assert message.get("PID-3") == kept
    assert message.get("PID-4") == "end"
    assert message.raw == frame


# --- what a person would think of


@pytest.mark.parametrize(
    ("address", "value"),
    [
        ("MSH-1", "|"),
        ("MSH-2", "^~\\&"),
        ("MSH-3", "ZZEHR"),
        ("MSH-9.3", "ADT_A01"),
        ("MSH-12", "2.5.1"),
        ("PID-3", "111"),
        ("PID-3.4", "UMBH"),
        ("PID-3.4.2", "1.2.3"),
        ("PID-3[2]", "222"),
        ("PID-3[2].4.1", "OTHER"),
        ("PID-3[3]", ""),
        ("PID-5.2", "ALDER"),
        ("PID-99", ""),
        ("OBX[2]-5", "two & three"),
        ("OBX[3]-5", ""),
        ("ZPI-1.2", "thing"),
        ("ZZZ-1", ""),
    ],
)
def test_addresses(address: str, value: str) -> None:
    assert parse(ADT)[address] == value


@pytest.mark.parametrize(
    "address", ["", "PID", "PID-", "PID-0", "pid-3", "PID-3.0", "PID-3[0]", "PID-3.4.1.1", "3"]
)
def test_what_is_not_an_address_is_a_mistake_of_ours(address: str) -> None:
    with pytest.raises(ValueError, match="address"):
        parse(ADT).get(address)


def test_a_segment_reads_its_own_addresses() -> None:
    pid = parse(ADT).first("PID")
    assert pid is not None
    assert (pid.get("3[2].5"), pid.get("PID-8"), pid.field(8)) == ("PI", "M", b"M")
    with pytest.raises(ValueError, match="another segment"):
        pid.get("PV1-2")


def test_null_is_not_empty() -> None:
    message = parse(HEADER + b'\rPV1|1|""||""^x')
    assert (message["PV1-2"], message["PV1-3"], message["PV1-4"]) == ('""', "", '""')


@pytest.mark.parametrize(
    ("sent", "read"),
    [
        (rb"\F\\S\\T\\R\\E\ ", "|^&~\\ "),
        (rb"a\.br\b", "a\nb"),
        (rb"\X41\\X0D0A\\X1c\\XC3A9\ ", "A\r\n\x1cé "),
        (rb"\X\\X0\\XZZ\\X 4\ ", r"\X\\X0\\XZZ\\X 4\ "),
        (rb"\H\bold\N\ \C2842\ \M123456\ \Zx\ ", r"bold \C2842\ \M123456\ \Zx\ "),
        (rb"a\.sp\b\.sp2\c\.ce\d\.sk 3\e\.in+4\f\.ti-4\g\.fi\h\.nf\i", "a\nb\nc\nd e f g h i"),
        (rb"a\.spx\b\.xx\c\.sp-x\d", r"a\.spx\b\.xx\c\.sp-x\d"),
        (rb"open \ end", r"open \ end"),
        (rb"\\", r"\\"),
        (rb"C:\temp\file", r"C:\temp\file"),
        (rb"\H\F\N\ ", "F "),  # highlighting is shown, not said; it does not open another escape
    ],
)
def test_escapes(sent: bytes, read: str) -> None:
    message = parse(HEADER + b"\rOBX|1|TX|A||" + sent)
    segment = message.first("OBX")
    assert segment is not None
    assert segment.text(5) == read
    assert len(message.body) == 2  # whatever is unescaped, the segments stay as they were


PIECES = [b"\\", b"F", b"X0D", b"X", b"a", b"", b".br", b"H", b"X4", b"\\\\"]


@given(st.lists(st.sampled_from(PIECES), max_size=16), st.sampled_from([2, 4, 8192]))
def test_escapes_are_paired_from_the_left_however_many_are_taken_at_a_time(
    pieces: list[bytes], at_once: int
) -> None:
    """Against the plainest reader there is: a regular expression."""
    marks = parse(HEADER).delimiters
    known = {b"F": b"|", b".br": b"\n", b"H": b""}

    def meant(match: re.Match[bytes]) -> bytes:
        if re.fullmatch(rb"X([0-9A-Fa-f]{2})+", match[1]):
            return bytes.fromhex(match[1][1:].decode())
        return known.get(match[1], match[0])

    raw = b"".join(pieces)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(escapes, "_AT_ONCE", at_once)
        assert escapes.resolved(raw, marks) == re.sub(rb"\\([^\\]*)\\", meant, raw)


def test_a_fifth_delimiter_has_its_escape() -> None:
    message = parse(b"MSH|^~\\&#|A||||||ADT^A01|1|P|2.8\rOBX|1|TX|A||b\\P\\")
    assert (message.get("MSH-2"), message.get("OBX-5"), message.notes) == ("^~\\&#", "b#", [])


@pytest.mark.parametrize(
    ("characters", "note", "broken"),
    [
        (b"^~\\&", [], False),
        (b"^", [], False),
        (b"^~", [], False),
        (b"^~\\\\&", ["MSH-2 escape_doubled"], False),
        (b"^~\\&#!", ["MSH-2 delimiters_unexpected"], False),
        (b"^^\\&", ["MSH-2 delimiters_ambiguous"], True),
        (b"^~A&", ["MSH-2 delimiters_ambiguous"], True),
        (b"^~\\\x00", ["MSH-2 delimiters_ambiguous"], True),
    ],
)
def test_odd_encoding_characters(characters: bytes, note: list[str], broken: bool) -> None:
    message = parse(b"MSH|" + characters + b"|ZZEHR^X||||||ADT^A01|1|P|2.5.1")
    assert (message.notes, message.delimiters.broken) == (note, broken)
    assert message.get("MSH-3") == "ZZEHR"


@pytest.mark.parametrize(
    ("frame", "reason"),
    [
        (b"", "empty"),
        (b"\r", "empty"),
        (b"  \r\n \x00", "empty"),
        (b"MSH", "msh1_unreadable"),
        (b"MSHA^~\\&A", "msh1_unreadable"),
        (b"MSH\x00^~\\&\x00", "msh1_unreadable"),
        (b"MSH ^~\\& ", "msh1_unreadable"),
        (b"MSH|", "msh2_unreadable"),
        (b"MSH||ZZEHR", "msh2_unreadable"),
        (b"MSH|\r^~\\&", "msh2_unreadable"),
        (b"MSH|abc|", "msh2_unreadable"),
        (b"GET / HTTP/1.1\r\n", "no_msh"),
        (b"PID|1\rPV1|1", "no_msh"),
        (b"msh|^~\\&|", "no_msh"),
        ("MSH|^~\\&|".encode("utf-16-le"), "utf16"),
        ("MSH|^~\\&|".encode("utf-16"), "utf16"),
    ],
)
def test_what_has_no_readable_header(frame: bytes, reason: str) -> None:
    with pytest.raises(NotHl7Error) as caught:
        parse(frame)
    assert caught.value.reason == reason


@pytest.mark.parametrize(
    "before", [b"", b"\xef\xbb\xbf", b" \t", b"\r\n", b" \xef\xbb\xbf", b"FHS|^~\\&|x\rBHS|^~\\&|y\r"]
)
def test_what_may_stand_before_a_header(before: bytes) -> None:
    message = parse(before + ADT + (b"BTS|1\rFTS|1\r" if before.startswith(b"FHS") else b""))
    assert [segment.name for segment in message.walk()] == ["MSH", "EVN", "PID", "ZPI", "PV1", "OBX", "OBX"]
    assert (message.get("MSH-3"), message.preceded, message.extra_headers) == ("ZZEHR", False, 0)
    assert ("bom" in message.notes) == (b"\xef" in before)


def test_a_header_that_is_not_first_is_found_and_told() -> None:
    assert parse(b"EVN|A01\r" + ADT).preceded
    assert parse(b"12:00 sent\r" + ADT).preceded


def test_another_message_in_the_frame_never_lends_its_segments() -> None:
    second = b"MSH|^~\\&|B||||||ADT^A01|2|P|2.5.1\rPV2|other\rMSH|^~\\&|C"
    message = parse(b"BHS|^~\\&|\r" + ADT + b"BTS|1\r" + second)
    assert message.extra_headers == 2
    assert message.segments("PV2") == []
    assert len(message.lines) == 12
    assert parse(ADT + second).extra_headers == 2


def test_an_envelope_line_among_the_segments_hides_none_of_them() -> None:
    message = parse(ADT + b"BHS|^~\\&|x\rPV2|1\rBTS|1\rFTS|1")
    assert [segment.name for segment in message.walk()][-2:] == ["BHS", "PV2"]
    assert len(message.lines) == len(message.body) + 2


def test_type_and_trigger_of_old_senders() -> None:
    def kind(field: bytes, rest: bytes = b"") -> tuple[str, str]:
        return parse(b"MSH|^~\\&|||||||" + field + b"|1|P|2.2" + rest).kind

    assert kind(b"ADT^A01") == ("ADT", "A01")
    assert kind(b"ADT", b"\rEVN|A08") == ("ADT", "A08")
    assert kind(b"ADT") == ("ADT", "")
    assert kind(b"ORU") == ("ORU", "R01")
    assert kind(b"ORM") == ("ORM", "O01")
    assert kind(b"") == ("", "")


@pytest.mark.parametrize(
    ("declared", "sent", "read", "notes"),
    [
        (b"", "é".encode(), "é", []),
        (b"", "é".encode("latin-1"), "é", ["charset_guessed"]),
        (b"ASCII", "é".encode(), "é", ["MSH-18 charset_mismatch"]),
        (b"UNICODE UTF-8", b"\xed\xa0\x80", "í\xa0\x80", ["MSH-18 charset_mismatch"]),  # a lone surrogate
        (b"UNICODE UTF-8", b"\xc0\xaf", "À¯", ["MSH-18 charset_mismatch"]),  # overlong
        (b"8859/1", "é".encode("latin-1"), "é", []),
        (b"8859/5", "Ж".encode("iso8859-5"), "Ж", []),
        (b"MARTIAN", "é".encode(), "é", ["MSH-18 charset_unknown"]),
        (b"MARTIAN", b"plain", "plain", ["MSH-18 charset_unknown"]),
        (b"ASCII~ISO IR87", "痛".encode("iso2022_jp"), "痛", []),
        (b"GB 18030-2000", "咯\u4e02".encode("gb18030"), "咯\u4e02", []),
    ],
)
def test_character_sets(declared: bytes, sent: bytes, read: str, notes: list[str]) -> None:
    message = parse(b"MSH|^~\\&|||||||ADT^A01|1|P|2.5.1||||||" + declared + b"\rPID|1||x|" + sent + b"|after")
    assert (message["PID-4"], message["PID-5"], message.notes) == (read, "after", notes)


def test_a_half_character_is_not_a_delimiter() -> None:
    """In GB 18030, Big5 and Shift JIS the second byte of a character may be that of ``|``, ``^`` or ``~``."""
    text = b"\x81\x7c".decode("gb18030")
    message = parse(
        f"MSH|^~\\&|{text}|B|||||ADT^A01|1|P|2.5.1||||||GB 18030-2000\rPID|1||{text}".encode("gb18030")
    )
    assert (message["PID-3"], message["MSH-3"], message["MSH-4"]) == (text, text, "B")
    assert message.wire(message.header.field(3)) == b"\x81\x7c"


def test_a_feeds_own_default_character_set() -> None:
    frame = b"MSH|^~\\&|||||||ADT^A01|1|P|2.5.1\rPID|1||" + "Ж".encode("cp1251")
    assert parse(frame, "cp1251")["PID-3"] == "Ж"
    assert parse(frame, "no-such-codec")["PID-3"] == "Æ"


@pytest.mark.timeout(20)
@pytest.mark.parametrize("mark", [b"~", b"^", b"&"])
def test_100_000_parts_of_one_field_are_linear(mark: bytes) -> None:
    """Read one by one through addresses; quadratic would be hours (test time-out)."""
    message = parse(HEADER + b"\rPID|1||" + mark.join([b"a"] * 100_000))
    place = {b"~": "[{}]", b"^": ".{}", b"&": ".1.{}"}[mark]
    pid = message.first("PID")
    assert pid is not None
    assert sum(len(pid.get_raw("3" + place.format(nth))) for nth in range(1, 100_001)) == 100_000


@pytest.mark.timeout(20)
def test_large_messages_stay_linear() -> None:
    assert len(parse(HEADER + b"\rOBX|1" * 19_000).segments("OBX")) == 19_000
    escapes = parse(HEADER + b"\rOBX|1|TX|A||" + b"\\" * 1_000_001).get("OBX-5")
    assert len(escapes) == 1_000_001


# --- somebody else's reader


@pytest.mark.skipif(not VIGNETTES.is_dir(), reason="the shared vignettes are not beside this repository")
def test_python_hl7_reads_the_same_fields() -> None:
    compared = 0
    for path in sorted(VIGNETTES.glob("G0*/*.hl7")):
        frame = path.read_bytes()
        ours, theirs = parse(frame), hl7.parse(frame.decode())
        assert len(theirs) == len(ours.body)
        for segment, other in zip(ours.walk(), theirs, strict=True):
            for number in range(1, len(segment.fields)):
                assert message_text(segment, number) == str(other[number])
                compared += 1
                if segment.name == "MSH" and number < 3:
                    continue
                for nth in range(1, len(segment.repetitions(number)) + 1):
                    for part, value in enumerate(segment.components(number, nth), start=1):
                        address = f"{segment.name}.{number}.{nth}.{part}"
                        parts = segment.subcomponents(number, nth, part)
                        one = other.extract_field(1, number, nth, part, 1) if value else ""
                        assert (parts[0].decode() if parts else "") == one, address
    assert compared > 2000


def message_text(segment: Segment, number: int) -> str:
    return segment.coding.text(segment.field(number))


def read_and_answered(frame: bytes) -> None:
    """All that intake and a lane worker read of a frame."""
    try:
        message = parse(frame)
    except NotHl7Error:
        return
    refused = ack.refusal(message)
    translate.identify(message)
    translate.translate(message, UTC)
    read_everything(message)
    at = datetime(2026, 3, 2, tzinfo=UTC)
    ack.answer(message, ack.code_due(message, refused) or "AA", control_id="ZZ1", now=at)


def test_a_frame_is_given_back_with_no_collector_looking_for_it() -> None:
    """A frame may have 16 MiB, and the daemon seldom looks for values that hold each other."""
    frames = [path.read_bytes() for path in sorted((Path(__file__).parent / "vectors/hl7").glob("*.hl7"))]
    assert frames
    for frame in frames:  # what is remembered of wordings is remembered now
        read_and_answered(frame)
    gc.collect()
    gc.disable()
    try:
        for frame in frames:
            read_and_answered(frame)
        assert gc.collect() == 0
    finally:
        gc.enable()


def test_the_reader_brings_in_no_parser_and_no_io() -> None:
    ours = "er7, ack, translate, mllp, batch"
    theirs = "hl7apy, asyncio, socket, threading, sqlalchemy, sqlite3"
    code = f"import sys; from umbridge.hl7 import {ours}; print(*sorted(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not set(theirs.split(", ")) & set(done.stdout.split())


def test_a_headers_wording_is_all_of_it_but_what_each_message_has_of_its_own() -> None:
    """MSH-7, MSH-10 and MSH-13: by what else it says, it may be read once for a whole feed."""
    fields = [b"MSH", b"^~\\&", *(b"ZZ%d" % number for number in range(3, 22))]

    def wording(at: int = 0) -> tuple[bytes, ...]:
        changed = [b"other" if number == at else each for number, each in enumerate(fields, start=1)]
        return parse(b"|".join(changed)).wording

    same = {number for number in range(3, 22) if wording(number) == wording()}
    assert same == {7, 10, 13}
    assert parse(b"#".join(fields)).wording != wording()

"""Hostile input, item by item: the answer and the row's state expected of each. The wire: test_listener."""

from __future__ import annotations

from base64 import b64encode
from pathlib import Path
from zlib import compress
from zoneinfo import ZoneInfo

import pytest
from test_receive import frame, receive, rows, writer

from umbridge.errors import NotHl7Error
from umbridge.hl7 import er7
from umbridge.hl7.translate import translate
from umbridge.settings.site import default_site
from umbridge.stay.fold import StayFold
from umbridge.store.writer import Writer

__all__ = ["writer"]  # the fixture

GOOD = frame()
CANARY = b"ZZCANARY"
HEADER = GOOD.split(b"\r")[0]


def header(number: int, value: bytes) -> bytes:
    """A good message with another MSH field."""
    fields = HEADER.split(b"|")
    fields += [b""] * (number - len(fields))
    fields[number - 1] = value
    return GOOD.replace(HEADER, b"|".join(fields))


def more(*segments: bytes) -> bytes:
    return GOOD + b"".join(segment + b"\r" for segment in segments)


def obx(value: bytes, kind: bytes = b"NM", status: bytes = b"F") -> bytes:
    return b"OBX|1|" + kind + b"|8867-4^^LN||" + value + b"|/min|||||" + status + b"|||20260302120000"


ODD = (b"A", b"1", b"\r", b"\0", b" ", b"\x85")  # no field separators
VISIT = b"ZZV1^^^UMBH^VN"
LEFT = b"|" * 25 + b"20260302100000|20260301100000"  # PV1-44 and, a day before it, PV1-45
BOMB = b64encode(compress(bytes(20_000_000), 9))

TAKEN = ("AA", "PENDING", "")
CONTINUED = ("AA", "QUARANTINED", "continued")
AHEAD = ("AA", "QUARANTINED", "from_the_future")
NOBODY = ("AA", "NOT_APPLICABLE", "no_stay_of_this_patient")  # and a stay that comes later takes it in
CLOSED = (None, "REFUSED")


def refused(code: str, reason: str) -> tuple[str, str, str]:
    return (code, "REFUSED", reason)


#: (item of the list, what, frame, (MSA-1 or None, row state, reason))
ITEMS: list[tuple[int, str, bytes, tuple[str | None, str, str]]] = [
    (7, "empty", b"", (*CLOSED, "empty")),
    (7, "one carriage return", b"\r", (*CLOSED, "empty")),
    (7, "only spaces", b"   ", (*CLOSED, "empty")),
    (14, "an acknowledgment", header(9, b"ACK") + b"MSA|AA|ZZ0\r", (None, "IGNORED", "acknowledgment")),
    (15, "UTF-16", GOOD.decode().encode("utf-16"), (*CLOSED, "utf16")),
    (15, "UTF-16, big end first", GOOD.decode().encode("utf-16-be"), (*CLOSED, "utf16")),
    (15, "UTF-32", GOOD.decode().encode("utf-32"), (*CLOSED, "utf16")),
    (15, "UTF-32, little end first", GOOD.decode().encode("utf-32-le"), (*CLOSED, "no_msh")),
    (15, "UTF-32, big end first", GOOD.decode().encode("utf-32-be"), (*CLOSED, "no_msh")),
    (16, "MSH", b"MSH", (*CLOSED, "msh1_unreadable")),
    (16, "MSH and a separator", b"MSH|", (*CLOSED, "msh2_unreadable")),
    (16, "MSH with delimiters alone", b"MSH|^~\\&", refused("AE", "message_type_missing")),
    (17, "a delimiter repeated", header(2, b"^^\\&"), refused("AE", "delimiters_ambiguous")),
    (17, "digits", header(2, b"^123"), refused("AE", "delimiters_ambiguous")),
    (17, "letters", header(2, b"^~\\A"), refused("AE", "delimiters_ambiguous")),
    (17, "the separator twice", GOOD.replace(b"|^~\\&|", b"||", 1), (*CLOSED, "msh2_unreadable")),
    (17, "CR", header(2, b"^~\r&"), refused("AE", "message_type_missing")),  # it ends the segment
    (17, "NUL", header(2, b"^~\\\0"), refused("AE", "delimiters_ambiguous")),
    (17, "a space", header(2, b"^~\\ "), refused("AE", "delimiters_ambiguous")),
    (17, "a fifth that is the fourth", header(2, b"^~\\&&"), refused("AE", "delimiters_ambiguous")),
    *((17, f"separator {one!r}", GOOD.replace(b"|", one), (*CLOSED, "msh1_unreadable")) for one in ODD),
    (17, "the separator is a delimiter", GOOD.replace(b"|", b"^"), (*CLOSED, "msh2_unreadable")),
    (17, "one character", header(2, b"^"), TAKEN),
    (17, "a fifth, 2.7", header(2, b"^~\\&#").replace(b"2.5.1", b"2.7"), TAKEN),
    (17, "a fifth", header(2, b"^~\\&#"), TAKEN),
    (17, "three characters", header(2, b"^~\\"), TAKEN),
    (17, "six characters", header(2, b"^~\\&#!"), TAKEN),
    (17, "other separators", GOOD.translate(bytes.maketrans(b"|^", b":;")), TAKEN),
    (18, "no control id", header(10, b""), refused("AE", "control_id_missing")),
    (18, "a long control id", header(10, b"9" * 200), refused("AE", "control_id_too_long")),
    (18, "199 characters", header(10, b"9" * 199), TAKEN),
    (18, "the separator in it", header(10, b"a|b"), refused("AR", "processing_id_unknown")),
    (18, "a CR in it", header(10, b"a\rb"), refused("AE", "version_missing")),  # MSH ends there
    (18, "a tab in it", header(10, b"a\tb"), refused("AE", "control_id_unprintable")),
    (18, "null", header(10, b'""'), refused("AE", "control_id_missing")),
    (18, "a control id with an escape", header(10, b"a\\X0D\\b"), TAKEN),
    (18, "a path", header(10, b"../../x"), TAKEN),
    (18, "a formula", header(10, b"=cmd()"), TAKEN),
    (18, "markup", header(10, b"<script>"), TAKEN),
    (18, "emoji and direction marks", header(10, "\U0001f600\u202ex".encode()), TAKEN),
    (19, "an empty MSH-6", header(6, b"^^"), TAKEN),
    (19, "no type", header(9, b""), refused("AE", "message_type_missing")),
    (19, "no such event", header(9, b"ADT^A99"), refused("AR", "event_unknown")),
    (19, "the type alone", header(9, b"ADT"), refused("AR", "event_unknown")),
    (20, "no version", header(12, b""), refused("AE", "version_missing")),
    (20, "2.5.1 and CR", header(12, b"2.5.1\r"), TAKEN),
    (20, "2.5.1 and CR as an escape", header(12, b"2.5.1\\X0D\\"), TAKEN),
    (20, "2.9.1", header(12, b"2.9.1"), TAKEN),
    (20, "9.9", header(12, b"9.9"), refused("AR", "version_unknown")),
    (21, "a training message", header(11, b"T"), ("AA", "IGNORED", "processing_id_T")),
    (21, "for finding faults", header(11, b"D"), ("AA", "IGNORED", "processing_id_D")),
    (21, "training, and a mode", header(11, b"T^T"), ("AA", "IGNORED", "processing_id_T")),
    (21, "production, current", header(11, b"P^T"), TAKEN),  # MSH-11.2 T is table 0207's "current"
    (21, "lower case", header(11, b"p"), refused("AR", "processing_id_unknown")),
    (21, "null", header(11, b'""'), refused("AR", "processing_id_unknown")),
    (21, "no processing id", header(11, b""), TAKEN),
    (21, "an unknown processing id", header(11, b"X"), refused("AR", "processing_id_unknown")),
    (22, "never and never", frame(accept="NE", app="NE"), (None, "PENDING", "")),
    (22, "a word that is none", frame(accept="XX"), ("CA", "PENDING", "")),
    *(
        (23, f"MSH-18 {name!r}", header(18, name).replace(b"ALDER", value), TAKEN)
        for name, value in (
            (b"ASCII", "ÄLDER".encode()),
            (b"UNICODE UTF-8", "ÄLDER".encode()),
            (b"UNICODE UTF-8", b"\xed\xa0\x80\xc0\xaf\xff"),
            (b"UNICODE UTF-8", b"\xc0\xaf"),
            (b"UNICODE UTF-8", b"\xed\xa0\x80"),
            (b"8859/1", b"\xc4LDER"),
            (b"8859/1", "ÄLDER".encode()),
            (b"GB18030", b"\x81"),
            (b"UNICODE UTF-16", b"ALDER"),
            (b"~ISO IR87", b"\x1b$B;3ED\x1b(B^"),
            (b"\\X0D\\", b"ALDER"),
            (b"GB18030", b"\x81\x7c"),
            (b"NO SUCH SET", b"\xc4LDER"),
            (b"ASCII~8859/1~ISO IR87", b"ALDER"),
            (b"", b"\xc4LDER"),
        )
    ),
    *(
        (24, f"MSH-7 {when!r}", header(7, when), TAKEN)
        for when in (b"00000101", b"99990101", b"20260302120000+9900", b"", b"1" * 30)
    ),
    *((24, f"MSH-13 {n!r}", header(13, n), TAKEN) for n in (b"0", b"-1", b"2147483648")),
    (24, "MSH-8 and MSH-14", header(8, b"secret").replace(b"2.5.1", b"2.5.1||again", 1), CONTINUED),
    (25, "a batch around it", b"FHS|^~\\&|ZZ\rBHS|^~\\&|ZZ\r" + GOOD + b"BTS|1\rFTS|1\r", TAKEN),
    (
        25,
        "a batch of two in a frame",
        b"BHS|^~\\&|ZZ\r" + GOOD + header(10, b"ZZ2") + b"BTS|2\r",
        refused("AE", "several_messages"),
    ),
    (25, "a batch of none", b"FHS|^~\\&|ZZ\rBHS|^~\\&|ZZ\rBTS|0\rFTS|1\r", (*CLOSED, "no_msh")),
    (25, "two messages", GOOD + header(10, b"ZZ2"), refused("AE", "several_messages")),
    (25, "MSH not first", b"EVN|A01\r" + GOOD, refused("AE", "msh_not_first")),
    (26, "LF", GOOD.replace(b"\r", b"\n"), TAKEN),
    (26, "no last end", GOOD.rstrip(b"\r"), TAKEN),
    (26, "LF and CR by turns", GOOD.replace(b"\r", b"\n", 1), TAKEN),
    (26, "CRLF and no last end", GOOD.replace(b"\r", b"\r\n").rstrip(), TAKEN),
    (
        27,
        "lower case, short, long and local names",
        more(b"pid|1", b"ZZ|1", b"ABCD|1", b"ZPI|1", b"\x00ID|1"),
        TAKEN,
    ),
    (28, "100,000 segments", more(*[b"ZZZ|1"] * 100_000), ("AA", "QUARANTINED", "too_many_segments")),
    (28, "600 diagnoses", more(*[b"DG1|1||I10"] * 600), ("AA", "QUARANTINED", "too_many_segments")),
    (28, "9,000 segments", more(*[b"ZZZ|1"] * 9_000), TAKEN),
    (28, "100,000 repetitions", GOOD.replace(b"ZZM1", b"1~" * 100_000 + b"ZZM1"), TAKEN),
    (28, "100,000 components", GOOD.replace(b"ALDER", b"^" * 100_000), TAKEN),
    (28, "100,000 subcomponents", GOOD.replace(b"ALDER", b"&" * 100_000), TAKEN),
    (29, "a field of 10 megabytes", more(obx(b"x" * 10_000_000, b"TX")), TAKEN),
    *(
        (30, f"escape {text[:8]!r}", more(obx(text, b"TX")), TAKEN)
        for text in (
            *(b"\\F\\\\S\\\\T\\\\R\\\\E\\", b"\\", b"\\X\\", b"\\X0\\", b"\\XZZ\\", b"\\X0D0A1C0B\\"),
            *(b"\\X000D\\", b"\\M2442\\", b"\\C2442\\", b"\\.br\\", b"\\H\\", b"\\F\\F\\", b"\\" * 1_000_000),
        )
    ),
    (31, "delete", GOOD.replace(b"4W^310", b'""'), TAKEN),
    *(
        (32, f"number {value[:8]!r}", more(obx(value)), TAKEN)
        for value in (b"1e999", b"NaN", b"-0", b"9" * 10_000, "٣٤".encode(), b"1,5")
    ),
    *(
        (32, f"time {value!r}", more(b"EVN|A01|" + value), TAKEN)
        for value in (b"20260229", b"20261301", b"202603012400", b"29990101")
    ),
    (32, "a birth to come", GOOD.replace(b"ALDER", b"ALDER||20990101"), TAKEN),
    (32, "death before birth", GOOD.replace(b"ALDER", b"ALDER||20200101" + b"|" * 22 + b"19900101|Y"), TAKEN),
    (32, "discharge before admission", header(9, b"ADT^A03").replace(VISIT, VISIT + LEFT), TAKEN),
    *((32, f"time {value!r}", more(b"EVN|A01|" + value), AHEAD) for value in (b"202603022400", b"20990101")),
    (33, "OBX-4 twice", more(obx(b"88"), obx(b"99")), TAKEN),
    (33, "another type than said", more(obx(b"high")), TAKEN),
    *((33, f"OBX-11 {s.decode()}", more(obx(b"188", status=s)), TAKEN) for s in (b"W", b"D", b"X")),
    (33, "broken base64", more(obx(b"^^PDF^Base64^%%%", b"ED")), TAKEN),
    (33, "a bomb in base64", more(obx(b"^^ZIP^Base64^" + BOMB, b"ED")), TAKEN),
    *(
        (34, kind.decode(), header(9, kind), TAKEN)
        for kind in (b"ADT^A08", b"ADT^A03", b"ADT^A11", b"ADT^A12", b"ADT^A13")
    ),
    (34, "a merge", header(9, b"ADT^A40") + b"MRG|ZZM2^^^UMBH^MR\r", NOBODY),
    (34, "a merge of itself", header(9, b"ADT^A18") + b"MRG|ZZM1^^^UMBH^MR\r", NOBODY),
    (34, "two patients", more(b"PID|2||ZZM2^^^UMBH^MR"), ("AA", "QUARANTINED", "several_patients")),
    (34, "several authorities", GOOD.replace(b"ZZM1", b"9^^^ELSE^PI~ZZM1"), TAKEN),
    (34, "no PID-3", GOOD.replace(b"ZZM1^^^UMBH^MR", b""), TAKEN),
    (37, "a cancel of an unknown order", header(9, b"ORM^O01") + b"ORC|CA|ZZ9\rOBR|1|ZZ9||RTNIV\r", TAKEN),
    (38, "a VIP", GOOD.replace(b"4W^310" + b"|" * 13, b"4W^310" + b"|" * 13 + b"VIP"), TAKEN),
    (38, "an alias", GOOD.replace(b"ALDER", b"ALDER" + b"|" * 27 + b"AL"), TAKEN),
    (44, "a pointer to a picture", more(obx(b"http://127.0.0.1:9/x^IM^PNG", b"RP")), TAKEN),
    *(
        (number, repr(text)[:40], GOOD.replace(b"ALDER", text), TAKEN)
        for number, text in (
            *((39, b"<svg/onload=x>"), (39, b"</script>"), (40, b"+cmd"), (40, b"\t=1"), (40, b"\x00=1")),
            *((40, b'\'"quoted",'), (41, b"\\X0D0A\\MSH"), (41, b"x" * 100_000), (42, b"{0.__class__}")),
            *((43, b"umbridge.zz/t/1"), (43, b"message.received/1"), (43, b'{"a":1,"a":2}')),
            *((44, b"http://127.0.0.1/x"), (44, b"file:///etc/passwd"), (44, b"\\\\host\\share")),
            *((39, b"<img onerror=x>"), (39, b"{{7*7}}"), (39, b"javascript:x"), (40, b"=HYPERLINK(1)")),
            *((40, b"@SUM"), (41, b"\x1b[2J"), (41, "\u202e".encode()), (42, b"'; DROP"), (42, b"%s%n")),
            *((42, b"${jndi:x}"), (43, b'{"__proto__":1}'), (43, b"[" * 10_000), (44, b"//host/share")),
        )
    ),
]


@pytest.mark.parametrize(
    ("data", "expected"), [item[2:] for item in ITEMS], ids=[f"{item[0]}-{item[1]}" for item in ITEMS]
)
def test_each_has_its_answer_and_its_row(
    writer: Writer,
    tmp_path: Path,
    data: bytes,
    expected: tuple[str | None, str, str],
) -> None:
    (reply,) = receive(writer, tmp_path, data)
    (row,) = rows(writer)
    assert row.frame == data
    code, state, reason = expected
    assert (row.state, row.reason) == (state, reason)
    if code is None:
        assert reply.answer is None
        return
    assert reply.answer is not None
    assert er7.parse(reply.answer).get("MSA-1") == code
    assert b"ZZTEST" not in reply.answer and b"ZZM1" not in reply.answer


def test_whatever_is_taken_can_be_folded() -> None:
    """Answered with AA, so it must not fail later: translated, folded, looked at, kept."""
    site = default_site()
    for _, _, data, (_, state, _) in ITEMS:
        try:
            message = er7.parse(data)
        except NotHl7Error:
            assert state == "REFUSED"
            continue
        event = translate(message, ZoneInfo("America/New_York"), mrn_authority="UMBH")
        fold = StayFold(site)
        made = fold.apply(event, 1)
        fold.stay(event.sent_at)
        StayFold.restore(site, fold.head(), [] if made is None else [made])


@pytest.mark.parametrize("status", ["W", "D", "X"])
def test_a_withdrawn_or_missing_result_does_not_count(status: str) -> None:
    fold = StayFold(default_site())
    zone = ZoneInfo("America/New_York")
    for seq, data in enumerate((more(obx(b"188")), more(obx(b"188", status=status.encode())))):
        fold.apply(translate(er7.parse(data.replace(b"ADT^A01", b"ORU^R01")), zone), seq)
    found = [result.value for result in fold.results("heart_rate") or ()]
    assert found == ([None] if status in ("W", "D", "X") else [188])

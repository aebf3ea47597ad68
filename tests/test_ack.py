"""What is answered: the table of cases, and that an answer carries what it may and nothing else."""

from __future__ import annotations

import importlib
import importlib.util
import re
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from umbridge.errors import NotHl7Error
from umbridge.hl7 import ack, er7, tables, triggers
from umbridge.hl7.er7 import Message, parse

FOLDER = Path(__file__).parent / "vectors" / "hl7"
EXPECTED = [line.split("\t") for line in (FOLDER / "expected.tsv").read_text().splitlines()]
NOW = datetime(2026, 1, 12, 19, 7, 1, tzinfo=UTC)
HEADER = (
    "MSH|^~\\&|ZZEHR|UMBH|UMBRIDGE|UMBH2|20260112140700-0500||{kind}|ZZ-1|P|{version}"
    "|||{accept}|{application}"
)


def header(
    kind: str = "ADT^A04", version: str = "2.5.1", accept: str = "", application: str = "", rest: str = ""
) -> Message:
    text = HEADER.format(kind=kind, version=version, accept=accept, application=application)
    return parse((text + rest).encode())


def answered(message: Message, **more: object) -> Message:
    refused = ack.refusal(message)
    if refused is not None:
        more = {"condition": refused.condition, "location": refused.location, "text": "E-1", **more}
    return parse(ack.answer(message, "AA", "UMB-1", NOW, **more))  # type: ignore[arg-type]


# --- the table of cases


@pytest.mark.parametrize(
    ("name", "due", "condition", "state", "reason"), EXPECTED, ids=[row[0] for row in EXPECTED]
)
def test_vectors(name: str, due: str, condition: str, state: str, reason: str) -> None:
    frame = (FOLDER / name).read_bytes()
    try:
        message = parse(frame)
    except NotHl7Error as error:
        assert (due, reason) == ("closed", error.reason)
        return
    refused = ack.refusal(message)
    disposition = ack.used(message)
    code = ack.code_due(message, refused)
    assert code == (None if due == "-" else due)
    if refused is None:
        assert (condition, state, reason) == ("-", disposition.state, disposition.reason or "-")
    else:
        assert (int(condition), state, reason) == (refused.condition, "REFUSED", refused.reason)
    if code is not None:
        bytes_ = ack.answer(
            message,
            code,
            "UMB-1",
            NOW,
            refused.condition if refused else None,
            refused.location if refused else None,
        )
        reply = parse(bytes_)
        assert reply.get("MSA-1") == code
        if reason != "control_id_unprintable":
            assert reply.segments("MSA")[0].field(2) == message.header.field(10)
        assert bool(reply.segments("ERR")) == (refused is not None)
        assert bytes_.endswith(b"\r")
        assert not re.search(rb"[\x00-\x0c\x0e-\x1f]", bytes_)


def test_the_vectors_are_what_their_generator_writes() -> None:
    spec = importlib.util.spec_from_file_location("make_hl7_vectors", FOLDER / "make.py")
    assert spec is not None and spec.loader is not None
    make = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(make)
    written = {path.name: path.read_bytes() for path in FOLDER.iterdir() if path.suffix in (".hl7", ".tsv")}
    assert written == make.files()


def test_all_combinations_of_msh_15_and_16() -> None:
    """HL7 v2 ch. 2.9: accept acknowledgment first, empty as NE, and both empty as original mode."""
    words = ["", "AL", "NE", "ER", "SU", "XX"]
    good, bad = {}, {}
    for accept in words:
        for application in words:
            message = header(accept=accept, application=application)
            good[accept, application] = ack.code_due(message, None)
            broken = header(version="9.9", accept=accept, application=application)
            bad[accept, application] = ack.code_due(broken, ack.refusal(broken))
    on_success, on_error = {"AL", "SU", "XX"}, {"AL", "ER", "XX"}
    assert (good.pop(("", "")), bad.pop(("", ""))) == ("AA", "AR")
    for (accept, application), code in good.items():
        accepts, applies = accept in on_success, application in on_success
        assert code == ("CA" if accepts else "AA" if applies else None)
        accepts, applies = accept in on_error, application in on_error
        assert bad[accept, application] == ("CR" if accepts else "AR" if applies else None)


@pytest.mark.parametrize("kind", ["ACK", "ACK^A01^ACK", "MCF^Q02", "ORR^O02", "", "XYZ"])
def test_an_acknowledgment_is_never_answered(kind: str) -> None:
    message = header(kind, version="9.9", accept="AL", application="AL", rest="\rMSA|AE|1")
    refused = ack.refusal(message)
    assert refused is None
    assert ack.code_due(message, refused) is None
    assert ack.used(message).reason == "acknowledgment"


# --- the answer's bytes


def test_an_answer_in_full() -> None:
    message = header(version="9.9")
    assert ack.answer(message, "AR", "UMB-7", NOW, 203, "MSH-12", "R203 ref 42") == (
        b"MSH|^~\\&|UMBRIDGE|UMBH2|ZZEHR|UMBH|20260112190701+0000||ACK^A04^ACK|UMB-7|P|9.9\r"
        b"MSA|AR|ZZ-1|R203 ref 42\r"
        b"ERR||MSH^1^12^1|203^Unsupported version id^HL70357|E||||R203 ref 42\r"
    )


@pytest.mark.parametrize(
    ("version", "kind", "error"),
    [
        ("2.2", b"ACK^A04", b"ERR|MSH^1^10^101&Required field missing&HL70357"),
        ("2.3.1", b"ACK^A04^ACK", b"ERR|MSH^1^10^101&Required field missing&HL70357"),
        ("2.5", b"ACK^A04^ACK", b"ERR||MSH^1^10^1|101^Required field missing^HL70357|E"),
        ("2.9.1", b"ACK^A04^ACK", b"ERR||MSH^1^10^1|101^Required field missing^HL70357|E"),
    ],
)
def test_err_has_the_form_of_its_version(version: str, kind: bytes, error: bytes) -> None:
    lines = ack.answer(header(version=version), "AE", "U", NOW, 101, "MSH-10").split(b"\r")
    assert lines[0].split(b"|")[8] == kind
    assert lines[2] == error


@pytest.mark.parametrize(
    ("location", "sent"),
    [
        ("MSH-9.2", b"MSH^1^9^1^2"),
        ("MSH[2]", b"MSH^2"),
        ("OBX[4]-5[2].1.3", b"OBX^4^5^2^1^3"),
        ("", b""),
        ("?|x", b""),
    ],
)
def test_err_2_names_the_place(location: str, sent: bytes) -> None:
    lines = ack.answer(header(), "AE", "U", NOW, 102, location).split(b"\r")
    assert lines[2].split(b"|")[2] == sent


# --- properties

HOSTILE = st.text(
    st.one_of(st.characters(codec="ascii"), st.sampled_from("|^~\\&#\x0b\x1c\x00\té中\u202e")), max_size=20
).map(lambda text: text.replace("\r", "").replace("\n", ""))
PUNCTUATION = "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~"


@given(st.permutations(PUNCTUATION), st.integers(0, 5), st.lists(HOSTILE, min_size=14, max_size=14), HOSTILE)
def test_an_answer_reads_back_under_hostile_delimiters(
    marks: list[str], count: int, values: list[str], text: str
) -> None:
    field, encoding = marks[0], "".join(marks[1 : count + 2])
    fields = [value.replace(field, "") for value in values]
    fields[6] = "".join([f"ADT{marks[1]}A04"])
    frame = field.join(["MSH", encoding, *fields]) + "\rPID" + field + "ZZTEST"
    try:
        message = parse(frame.encode())
    except NotHl7Error:
        return
    answer = ack.answer(message, "AE", "UMB|^~1", NOW, 101, "MSH-10", text)
    reply = parse(answer)
    assert [line[:3] for line in reply.body] == [b"MSH", b"MSA", b"ERR"]
    assert not re.search(rb"[\x00-\x0c\x0e-\x1f]", answer)
    for ours, theirs in ((3, 5), (4, 6), (5, 3), (6, 4)):
        sent = message.header.field(theirs)
        if not re.search(rb"[\x00-\x1f\x7f]", sent):
            assert reply.header.field(ours) == sent
        elif message.delimiters.escape and not message.delimiters.broken:
            assert (
                reply.value(reply.header.field(ours)) == message.value(sent)
                or message.delimiters.escape in sent
            )
    if reply.delimiters.escape:
        assert reply.get("MSH-10") == "UMB|^~1"
        assert reply.get("MSA-3") == text.encode("ascii", "replace").decode()
    assert reply.get("MSA-1") == "AE"


CANARY = "ZZCANARY"
ECHOED = {3, 4, 5, 6, 10, 11, 12}


@given(st.sampled_from(["ADT^A04", "ADT^{c}", "{c}^A04", "{c}", "ADT", "ACK", "ORU^R01^{c}"]), st.booleans())
def test_nothing_else_of_the_message_comes_back(kind: str, break_version: bool) -> None:
    fields = {number: f"{CANARY}{number}x" for number in range(3, 22)}
    fields |= {9: kind.format(c=f"{CANARY}9x"), 11: "P", 12: "9.9" if break_version else "2.5.1"}
    line = "MSH|^~\\&|" + "|".join(fields[number] for number in range(3, 22))
    rest = "".join(f"\r{name}|" + "|".join([CANARY + "zx"] * 20) for name in ("EVN", "PID", "PV1", "ZZZ"))
    message = parse((line + rest).encode())
    refused = ack.refusal(message)
    answer = ack.answer(
        message,
        "AE",
        "U",
        NOW,
        refused.condition if refused else 207,
        refused.location if refused else "PID-3",
        "ref 1",
    ).decode()
    found = {int(number) for number in re.findall(CANARY + r"(\d+)x", answer)}
    assert CANARY + "zx" not in answer
    assert found <= ECHOED


@given(st.binary(max_size=300))
def test_any_message_gets_a_decision_and_an_answer(tail: bytes) -> None:
    message = parse(b"MSH|^~\\&|" + tail)
    refused = ack.refusal(message)
    ack.used(message)
    ack.code_due(message, refused)
    reply = answered(message)
    assert reply.get("MSA-1") == "AA"


@given(
    st.sampled_from(sorted(tables.EVENTS)),
    st.sampled_from(sorted(tables.TYPES - {"ACK", "MCF"} - set(triggers.FAMILIES))),
)
def test_no_known_type_and_event_is_refused(event: str, code: str) -> None:
    assert ack.refusal(header(f"{code}^{event}")) is None
    assert ack.used(header(f"{code}^{event}")).reason == "type_not_used"


def test_every_adt_trigger_is_applied_or_ignored_for_a_reason() -> None:
    applied = [trigger for its in triggers.APPLIED.values() for trigger in its]
    decided = Counter([*applied, *triggers.IGNORED])
    events = {event for event in tables.EVENTS if event.startswith("A")}
    assert set(decided) == events and max(decided.values()) == 1
    for trigger, reason in triggers.IGNORED.items():
        assert ack.refusal(header(f"ADT^{trigger}")) is None
        disposition = ack.used(header(f"ADT^{trigger}"))
        assert (disposition.state, disposition.reason) == ("IGNORED", reason)
    for trigger in set(decided) - set(triggers.IGNORED):
        assert ack.used(header(f"ADT^{trigger}")).state == "PENDING"


def test_every_message_with_orders_is_worked() -> None:
    for kind in ("ORM^O01", "OMG^O19", "OML^O21", "OMP^O09", "RDE^O11", "RDE^O01", "ORU^R01"):
        assert ack.used(header(kind)).state == "PENDING"
        assert ack.refusal(header(kind)) is None
    for kind in ("ORU^R30", "ORU^R31", "ORU^R32"):  # a point-of-care device's value is a value
        assert ack.used(header(kind)).state == "PENDING"
    for kind in ("RDE^O25", "OML^O39", "ORU^R33", "ORU^W01", "RDE^O99"):
        assert ack.used(header(kind)).reason == "trigger_not_used"


@pytest.mark.parametrize(
    ("said", "means"),
    [("", "P"), ("P", "P"), ("T", "T"), ("D", "D"), ("P^T", "P"), ("T^T", "T"), ("D^A", "D"), ("T~P", "T")],
)
def test_msh_11_says_which_messages_are_screened(said: str, means: str) -> None:
    """MSH-11.2 T is table 0207's "current", and no training."""
    message = parse(f"MSH|^~\\&|ZZA|ZZB|||20260302||ORU^R01|ZZ1|{said}|2.5.1\r".encode())
    assert ack.refusal(message) is None and ack.processing_of(message) == means
    for screened in (("P",), ("T",), ("D",), ("P", "T", "D")):
        found = ack.disposition(message, screened)
        assert (found.state == "PENDING") is (means in screened)
        assert found.reason in ("", f"processing_id_{means}")


# --- somebody else's tables


def test_the_tables_hold_every_type_and_event_of_the_standards_dictionaries() -> None:
    types, events = {"MCF"}, set[str]()
    for version in (
        "2_1",
        "2_2",
        "2_3",
        "2_3_1",
        "2_4",
        "2_5",
        "2_5_1",
        "2_6",
        "2_7",
        "2_8",
        "2_8_1",
        "2_8_2",
    ):
        for name in importlib.import_module(f"hl7apy.v{version}.messages").MESSAGES:
            code, _, event = name.partition("_")
            types.add(code)
            events.add(event)
        if version > "2_3":
            listed = importlib.import_module(f"hl7apy.v{version}.tables").TABLES
            types.update(listed["HL70076"][1])
            events.update(listed["HL70003"][1])
    placeholders = {"", "Varies", "varies", "Znn", "Knn", "Qnn"}
    assert types - tables.TYPES == set()
    assert {
        event for event in events if re.fullmatch(r"[A-Z]\w\w", event)
    } - tables.EVENTS - placeholders == set()
    assert {"A56", "A59", "A99", "R99", "S99", "O99"} & tables.EVENTS == set()


def test_hostile_control_ids_come_back_as_they_came() -> None:
    for control_id in (
        b"a|b",
        b"=cmd()",
        b"<script>",
        b"../../x",
        "\U0001f600\u202e".encode(),
        b"a^b~c&d",
        b"\\X0D\\",
        b"\xff\xfe",
    ):
        frame = b"MSH|^~\\&|||||||ADT^A04|" + control_id + b"|P|2.5.1"
        message = parse(frame)
        assert answered(message).segments("MSA")[0].field(2) == control_id.split(b"|")[0]


def test_an_oversize_frame_is_refused_by_its_header() -> None:
    refused = ack.too_long()
    message = er7.parse(b"MSH|^~\\&|||||||ADT^A04|ZZ-1|P|2.5.1\r")
    assert ack.code_due(message, refused) == "AE"
    assert (refused.location, refused.reason) == ("MSH", "oversize")
    lines = ack.answer(message, "AE", "U", NOW, refused.condition, refused.location, refused.reason).split(
        b"\r"
    )
    assert lines[1:] == [b"MSA|AE|ZZ-1|oversize", b"ERR||MSH^1|104^Value too long^HL70357|E||||oversize", b""]


PLAIN = {"marks": "|^~\\&", "a": "ZZA", "b": "ZZB", "c": "ZZC", "d": "ZZD"} | {
    "kind": "ADT^A01",
    "processing": "P",
    "version": "2.5.1",
    "charset": "",
    "tail": "",
}
CHANGES = {
    "marks": ["|^~\\&#", "#^~\\&", "|^~", "|*~\\&", "|^~\\|", "|^~\\$"],
    **{name: ["", "Z^1", "Z\x01", "Z\\T\\", "Z\xe9"] for name in "abcd"},
    "kind": ["ADT^A03", "ADT^Z99", "ADT^Z98", "ADT", "ACK", "QRY^A19", "ORU*R01", "ZZZ^A01", ""],
    "processing": ["T", "", "X", "P^T", "D"],
    "version": ["2.3", "2.9.9", "", '""', "2.4^USA"],
    "charset": ["ASCII", "UNICODE UTF-8", "8859/1", "ZZSET", "GB 18030-2000"],
    "tail": ["EVN|A03|2026\r", "PID|1||\xe9\r"],
}


def one_head(**said: str) -> bytes:
    it = PLAIN | said
    names = [it[name] for name in "abcd"]
    fields = [
        "MSH",
        it["marks"][1:],
        *names,
        "20260302",
        "",
        it["kind"],
        "ZZ1",
        it["processing"],
        it["version"],
    ]
    head = it["marks"][0].join([*fields, *[""] * 5, it["charset"]])
    return f"{head}\r{it['tail']}".encode("latin-1")


def forget() -> None:
    for kept in (ack._SOUND, ack._AROUND, er7._kinds):
        kept.clear()


def said_of(raw: bytes) -> tuple[object, tuple[str, str], bytes]:
    message = parse(raw)
    refused = ack.refusal(message)
    words = None if refused is None else (refused.ack, refused.condition, refused.location, refused.reason)
    code, condition = (refused.ack, refused.condition) if refused else ("AA", None)
    answer = ack.answer(message, code, "UMB1", NOW, condition, "MSH-9" if refused else None, "x")
    return words, message.kind, answer


@pytest.mark.parametrize(
    "base",
    [
        {},
        {"kind": "ADT^Z99"},
        {"kind": "ADT"},
        {"kind": "ADT", "tail": "EVN|A03|2026\r", "version": "2.4^USA"},  # the trigger without a component
        {"processing": "P^T"},
        {"kind": "ADT^A0\\F\\"},  # the trigger goes by MSH-1
    ],
)
def test_what_is_kept_of_a_feeds_wordings_changes_no_decision_and_no_answer(base: dict[str, str]) -> None:
    """One thing changed at a time, each after each: what was kept of the one must not answer the other."""
    changes = [{}, *({name: value} for name, values in CHANGES.items() for value in values)]
    heads = [one_head(**base | change) for change in changes]
    fresh = []
    for raw in heads:
        forget()
        fresh.append(said_of(raw))
    for first in heads:
        forget()
        said_of(first)
        for raw, expected in zip(heads, fresh, strict=True):
            assert said_of(raw) == expected

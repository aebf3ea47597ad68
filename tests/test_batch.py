"""Files of messages: each message's bytes come back as they stand, whatever they were wrapped in."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from umbridge.hl7.batch import split
from umbridge.hl7.er7 import parse
from umbridge.hl7.mllp import encode

ONE = b"MSH|^~\\&|A||||||ADT^A01|1|P|2.5.1\rPID|1||ZZTEST\r"
TWO = b"MSH:;~\\&:B::::::ADT;A01:2:P:2.3\rPID:1\r"
THREE = b"MSH|^~\\&#|C||||||ORU^R01|3|P|2.8\rOBX|1|TX|A||the MSH|x was late, MSH-9 too\rOBX|2\r"
MESSAGES = st.lists(st.sampled_from([ONE, TWO, THREE]), min_size=1, max_size=6)
ENDS = st.sampled_from([b"\r", b"\n", b"\r\n"])


@given(MESSAGES, ENDS, st.sampled_from([b"", b"\r", b"\n\n"]))
def test_messages_in_a_row(messages: list[bytes], end: bytes, gap: bytes) -> None:
    sent = [message.replace(b"\r", end) + gap for message in messages]
    assert split(b"".join(sent)) == sent


@given(MESSAGES, ENDS)
def test_an_envelope_is_left_out(messages: list[bytes], end: bytes) -> None:
    body = b"".join(b"BHS|^~\\&|x\r" + message + b"BTS|1\r" for message in messages)
    data = (b"FHS|^~\\&|x\r" + body + b"FTS|1\r").replace(b"\r", end)
    assert split(data) == [message.replace(b"\r", end) for message in messages]


@given(MESSAGES, st.sampled_from([b"", b"\n", b"\r\n"]))
def test_blocks_are_opened(messages: list[bytes], between: bytes) -> None:
    assert split(between.join(encode(message) for message in messages)) == messages


@given(st.binary(max_size=200))
def test_total_and_nothing_is_invented(data: bytes) -> None:
    parts = split(data)
    assert parts
    at = 0
    for part in parts:
        at = data.index(part, at) + len(part)


@given(st.binary(max_size=60).filter(lambda b: b"MSH" not in b))
def test_data_without_a_message_comes_back_as_it_is(data: bytes) -> None:
    assert split(data) == [data]


@pytest.mark.parametrize(
    ("data", "parts"),
    [
        (b"", [b""]),
        (b"\xef\xbb\xbf" + ONE, [b"\xef\xbb\xbf" + ONE]),
        (b"log line\r" + ONE, [ONE]),
        (ONE + b"  " + TWO, [ONE, b"  " + TWO]),
        (ONE[:-1], [ONE[:-1]]),
        (ONE + b"BTSX is a line of text\r", [ONE + b"BTSX is a line of text\r"]),
        (b"OBX|1|TX|||MSH|^~\\&|not at the start", [b"OBX|1|TX|||MSH|^~\\&|not at the start"]),
        (ONE + b"BHS|^~\\&|x\rPV1|1\rBTS|1\r", [ONE + b"BHS|^~\\&|x\rPV1|1\r"]),  # a stray header
        (b"\x0b" + ONE + b"\x1c\rPV1|1\r\x1c\r", [ONE + b"\x1c\rPV1|1\r"]),
        (b"MSH is missing\rMSH\rMSH|\r", [b"MSH is missing\rMSH\rMSH|\r"]),
        (b"BHS|Bahamas|ISO\rBIH|Bosnia|ISO\r", [b"BHS|Bahamas|ISO\rBIH|Bosnia|ISO\r"]),
    ],
)
def test_files_that_people_have(data: bytes, parts: list[bytes]) -> None:
    assert split(data) == parts


def test_each_part_reads_as_one_message() -> None:
    data = b"FHS|^~\\&\nBHS|^~\\&\n" + (ONE + TWO + THREE).replace(b"\r", b"\n") + b"BTS|3\nFTS|1\n"
    read = [parse(part) for part in split(data)]
    assert [(message.control_id, message.extra_headers) for message in read] == [("1", 0), ("2", 0), ("3", 0)]


@pytest.mark.timeout(20)
def test_a_large_file_is_linear() -> None:
    """Twenty thousand messages; quadratic would run into the time-out."""
    assert len(split((b"BHS|^~\\&\r" + ONE + b"BTS|1\r") * 20_000)) == 20_000
    (kept,) = split(ONE + b"BTS|1\r" * 100_000)  # more trailers than a file has: the reader knows them too
    assert parse(kept).body == parse(ONE).body
    assert len(split(ONE + b"\r" * 1_000_000 + b" " * 1_000_000)) == 1

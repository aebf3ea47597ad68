"""Frames and faults: any chunking of a stream gives the same result, in linear time."""

from __future__ import annotations

import hashlib
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from umbridge.errors import Hl7Error
from umbridge.hl7.mllp import Fault, Frame, FrameDecoder, encode

MESSAGE = b"MSH|^~\\&|A|B|C|D|20260112||ADT^A01|ZZ1|P|2.5.1\rPID|1\r"
# Streams rich in the bytes that matter, so that every branch is met.
STREAMS = st.lists(
    st.sampled_from([b"\x0b", b"\x1c", b"\r", b"\n", b"\x00", b"x", b"MSH|", b"\x1c\r", b"\x0bab\x1c\r"]),
    max_size=24,
).map(b"".join)
CUTS = st.lists(st.integers(0, 60), max_size=8)


def decoded(chunks: list[bytes], max_frame: int = 8) -> tuple[list[Frame | Fault], Fault | None, int]:
    decoder = FrameDecoder(max_frame)
    out = [result for chunk in chunks for result in decoder.feed(chunk)]
    return out, decoder.eof(), decoder.noise


def kinds(stream: bytes, max_frame: int = 1000) -> list[str]:
    out, end, _ = decoded([stream], max_frame)
    names = [result.reason if isinstance(result, Fault) else "frame" for result in out]
    return names + ([end.reason] if end else [])


@given(STREAMS, CUTS)
def test_any_chunking_gives_the_same_result(stream: bytes, cuts: list[int]) -> None:
    edges = sorted({0, len(stream), *(cut for cut in cuts if cut < len(stream))})
    chunks = [stream[a:b] for a, b in pairwise(edges)]
    whole = decoded([stream])
    assert decoded(chunks) == whole
    assert decoded([stream[i : i + 1] for i in range(len(stream))]) == whole


@given(STREAMS)
def test_every_byte_is_in_a_frame_is_noise_or_is_counted_in_the_fault(stream: bytes) -> None:
    out, end, noise = decoded([stream], 1000)
    faults = [result for result in [*out, end] if isinstance(result, Fault)]
    framed = sum(len(result.data) + 3 for result in out if isinstance(result, Frame))
    assert len(faults) <= 1
    if faults:
        assert len(stream) >= framed + faults[0].byte_count
        last = [*out, end]
        assert last[-1] is None or last[-1] is faults[0]
    else:
        assert framed + noise == len(stream)


@given(st.lists(st.binary(max_size=40).filter(lambda b: not {0x0B, 0x1C} & set(b)), max_size=5))
def test_what_is_encoded_comes_back(payloads: list[bytes]) -> None:
    out, end, noise = decoded([b"".join(encode(payload) for payload in payloads)], 1000)
    assert [result.data for result in out if isinstance(result, Frame)] == payloads
    assert len(out) == len(payloads) and end is None and noise == 0


@pytest.mark.parametrize("payload", [b"a\x0bb", b"a\x1cb", b"MSH\x1c\r"])
def test_no_payload_may_break_its_block(payload: bytes) -> None:
    with pytest.raises(Hl7Error):
        encode(payload)


@pytest.mark.parametrize(
    ("stream", "expected"),
    [
        (b"", []),
        (b"\x0bab\x1c\r\x0bcd\x1c\r\x0bef\x1c\r", ["frame", "frame", "frame"]),
        (b"\x0bab\x1c\r\n\r\x00\n\x0bcd\x1c\r", ["frame", "frame"]),  # Mirth 249, Camel
        (b"\x0b\x1c\r", ["frame"]),
        (b"\x0b\r\x1c\r", ["frame"]),
        (b"\x0b\x0bab\x1c\r", ["frame"]),  # a stutter
        (b"2026-01-12 log\x0bab\x1c\r", ["junk_before_block"]),  # Mirth 423
        (b"\xef\xbb\xbf\x0bab\x1c\r", ["junk_before_block"]),
        (b"GET / HTTP/1.1\r\n", ["junk_before_block"]),
        (b"\x16\x03\x01\x02", ["junk_before_block"]),  # TLS on the plain port
        (b"\x0bab\x1c\rcd\x1c\r", ["frame", "junk_after_block"]),  # FS CR in the text
        (b"\x0bab\x0bcd\x1c\r", ["start_inside_block"]),
        (b"\x0bab\x1c\x0bcd\x1c\r", ["end_without_cr"]),
        (b"\x0bab\x1c\n", ["end_without_cr"]),
        (b"\x0bab\x1cx", ["end_without_cr"]),
        (b"\x0bab", ["eof_in_block"]),
        (b"\x0bab\x1c", ["eof_in_block"]),
        (b"\x0b", ["eof_in_block"]),
        (b"\r\n\x00", []),
    ],
)
def test_streams_that_people_send(stream: bytes, expected: list[str]) -> None:
    assert kinds(stream) == expected


def test_after_a_fault_nothing_more_comes() -> None:
    decoder = FrameDecoder()
    assert [type(result) for result in decoder.feed(b"x")] == [Fault]
    assert decoder.feed(encode(MESSAGE)) == []
    assert decoder.eof() is None


def test_the_size_limit_is_met_exactly() -> None:
    assert kinds(b"\x0b" + b"a" * 100 + b"\x1c\r", 100) == ["frame"]
    assert kinds(b"\x0b" + b"a" * 101 + b"\x1c\r", 100) == ["oversize"]
    assert kinds(b"\x0b" + b"a" * 101, 100) == ["oversize"]


def test_an_endless_block_keeps_its_header_for_a_refusal_and_no_more() -> None:
    decoder = FrameDecoder(10_000)
    (fault,) = decoder.feed(b"\x0b" + MESSAGE + b"OBX|1|" + b"x" * 20_000)
    assert isinstance(fault, Fault)
    assert (fault.reason, fault.head, fault.byte_count) == ("oversize", MESSAGE, 10_002)
    (fault,) = FrameDecoder(10_000).feed(b"\x0bMSH|^~\\&|" + b"x" * 20_000)
    assert isinstance(fault, Fault)
    assert fault.head == b""  # a cut MSH is not a header


def test_a_fault_tells_which_bytes_it_is_about() -> None:
    (fault,) = FrameDecoder().feed(b"\r\n\x0bab\x0b")
    assert isinstance(fault, Fault)
    assert fault.byte_count == 6
    assert fault.digest == hashlib.sha256(b"\r\n\x0bab\x0b").hexdigest()


def test_patient_data_is_not_in_the_repr() -> None:
    (frame,) = FrameDecoder().feed(b"\x0bMSH|ZZTEST\r\x1c\r")
    (fault,) = FrameDecoder(12).feed(b"\x0bMSH|ZZTEST\rPID|ZZTEST\x1c\r")
    assert "ZZTEST" not in repr(frame) + repr(fault)


@pytest.mark.timeout(30)
def test_single_bytes_are_not_quadratic() -> None:
    """A megabyte byte by byte; with a search from the start each time this takes minutes (test time-out)."""
    payload = b"x" * 1_000_000
    decoder = FrameDecoder()
    out = [result for value in encode(payload) for result in decoder.feed(bytes((value,)))]
    assert out == [Frame(payload)]


@pytest.mark.timeout(20)
def test_many_frames_in_one_read_are_not_quadratic() -> None:
    assert len(FrameDecoder().feed(encode(MESSAGE) * 50_000)) == 50_000

"""What hostile input costs, in counted work: Python's own steps, which no neighbour on the machine can slow.

``bench/read.py`` has the milliseconds a megabyte of the same input. What is counted here is whether twice the
bytes are ever more than twice the work, and how much memory a byte takes.
"""

from __future__ import annotations

import sys
import tracemalloc
from collections.abc import Callable, Sequence
from functools import partial
from itertools import product
from types import FrameType
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from bench import lane
from bench.read import answered, files, hostile, streams, taken
from umbridge.errors import NotHl7Error
from umbridge.hl7 import ack, batch, er7
from umbridge.hl7.lines import MOST_LINES, MOST_SEGMENTS
from umbridge.hl7.translate import translate
from umbridge.model import RowState
from umbridge.settings.site import default_site
from umbridge.stay import person
from umbridge.stay.results import by_time

SMALL = 3_000
GROWTH = 2.2  # for twice the bytes; what does not grow at all makes up for the rest
STEPS = 120  # a byte: the dearest are orders, seven bytes each
FLOODS: list[tuple[str, Callable[[bytes], object], Callable[[int], Any]]] = [
    ("frame", answered, hostile),
    ("stream", taken, streams),
    ("file", batch.split, files),
]
NAMES = [(kind, name) for kind, _, made in FLOODS for name, _ in made(100)]


def steps(work: Callable[[], object]) -> int:
    """How many bytecodes ``work`` runs."""
    count = 0

    def trace(frame: FrameType, event: str, arg: Any) -> Any:
        nonlocal count
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        count += event == "opcode"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        work()
    finally:
        sys.settrace(before)
    return count


def flood(kind: str, name: str, size: int) -> Callable[[], object]:
    work, made = next((work, made) for what, work, made in FLOODS if what == kind)
    data = dict(made(size))[name]
    return lambda: work(data)


def grows(work: Callable[[int], Callable[[], object]]) -> tuple[float, float]:
    """The work of twice the bytes over that of the bytes, and the work a byte."""
    work(SMALL)()  # what is read once and kept is not counted
    work(2 * SMALL)()
    once, twice = steps(work(SMALL)), steps(work(2 * SMALL))
    return twice / max(1, once), twice / (2 * SMALL)


@pytest.mark.parametrize(("kind", "name"), NAMES, ids=[f"{kind}: {name}" for kind, name in NAMES])
def test_twice_the_bytes_are_at_most_twice_the_work(kind: str, name: str) -> None:
    growth, each = grows(lambda size: flood(kind, name, size))
    assert growth <= GROWTH, f"{growth:.2f} times the work"
    assert each <= STEPS, f"{each:.0f} steps a byte"


def test_a_reader_whose_work_grows_with_the_square_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    """The planted bug: each segment is looked for from the start again."""

    def slow(self: er7.Message) -> bool:
        found = {name: [] for name in er7._ASKED}  # type: ignore[var-annotated]
        for at in range(len(self.body)):
            for line in self.body[: at + 1]:
                if line is self.body[at]:
                    found.setdefault(line[:3], []).append(line)
        self._index = found
        return False

    monkeypatch.setattr(er7.Message, "_take_lines", slow)
    growth, _ = grows(lambda size: flood("frame", "segments of three characters", size // 3))
    assert growth > GROWTH, "the planted bug went unseen: the test proves nothing"


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for kind, name in NAMES if kind == "frame"])
def test_memory_stays_in_proportion(name: str) -> None:
    """At most 20 times the frame, of which the sender may choose the worst: empty segments and components."""
    work = flood("frame", name, 400_000)
    work()
    tracemalloc.start()
    try:
        work()
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak <= 20 * 400_000, f"{peak / 400_000:.1f} bytes a byte"


def test_what_is_kept_read_is_bounded() -> None:
    """Caches of delimiters, codes and times: a sender who never repeats himself does not fill the memory."""
    from umbridge.hl7 import delimiters, reading, times

    for n in range(9_000):
        marks = bytes((33 + n % 14, 91 + n // 14 % 6, 58 + n % 7))
        frame = b"MSH|" + marks + b"|A|B|C|D|20260302||ORU^R01|ZZ%d|P|2.5.1\r" % n
        frame += b"OBX|1|NM|C%d||1|u%d|||||F|||2026030212%04d\r" % (n, n, n % 6000)
        try:
            answered(frame)
        except NotHl7Error:
            continue
    assert len(delimiters._known) <= delimiters._CACHED
    assert len(reading._known) <= reading._DIALECTS
    assert all(max(len(one.words), len(one.forms)) <= 2 * reading._CACHED for one in reading._known.values())
    assert len(times.Clock.days) <= times._KEPT
    assert all(len(clock.hours) <= times._KEPT for clock in times.Clock._made.values())


def test_more_segments_than_are_read_are_not_read() -> None:
    message = er7.parse(dict(hostile(1_000_000))["segments OBX"])
    assert MOST_SEGMENTS < len(message.body) <= MOST_LINES
    assert len(message.lines_of(b"OBX")) < MOST_SEGMENTS
    assert message.more
    assert ack.used(message) == ack.Disposition(RowState.QUARANTINED, "too_many_segments")


@pytest.mark.parametrize("end", [b"\r", b"\n", b"\r\n"])
def test_a_frame_is_cut_where_it_says_so_and_nowhere_else(end: bytes) -> None:
    """Every line there or ``more``, one step either side of the limit; blank lines do not count."""
    head = [b"MSH|^~\\&|A|B|C|D|20260302||ORU^R01|ZZ1|P|2.5.1", b"PID|1||ZZ1"]
    most = MOST_LINES
    for count in (most - 1, most, most + 1):
        lines = head + [b"NTE|%d" % n for n in range(count - 2)]
        message = er7.parse(end.join(lines) + end)
        assert message.more is (count > most)
        assert [*message.lines] == lines[:most]
        assert ack.used(message).reason == "too_many_segments" or count <= MOST_SEGMENTS
    assert not er7.parse(end.join(head) + end + b" \r" * 2 * MOST_LINES).more
    behind = er7.parse(end.join(head) + b"\r" * 2 * MOST_LINES + b"OBX|1")  # a result behind a blank flood
    assert not behind.more
    assert len(translate(behind, ZoneInfo("UTC")).observations) == 1


def test_lines_that_are_no_segments_do_not_count() -> None:
    """A document folded into lines beside a result: the result is read, whatever the document's length."""
    head = b"MSH|^~\\&|A|B|C|D|20260302||ORU^R01|ZZ1|P|2.5.1\rPID|1||ZZ1\rOBX|1|ED|PDF^^L||^AP^PDF^Base64^"
    for folds, end in product((MOST_SEGMENTS - 1, MOST_SEGMENTS, 3 * MOST_LINES), (b"\r", b"\n", b"\r\n")):
        folded = (b"\r".join([b"QUJD" * 19] * folds) + b"||||||F\r").replace(b"\r", end)
        message = er7.parse(head + folded + b"OBX|2|NM|2951-2^^LN||121|mmol/L|||||F\r")
        assert ack.used(message).state is RowState.PENDING
        event = translate(message, ZoneInfo("UTC"))
        assert [one.value for one in event.observations][1:] == ["121"]
        assert event.observations[1].source == "ZZ1 OBX[2]-5"
    assert er7.FOLDED in message.notes
    assert er7.FOLDED not in er7.parse(head + b"\rOBX|2" * MOST_SEGMENTS).notes
    # a segment of the sender's own, and one that is only its name, are segments
    many = er7.parse(head + b"\rZPI|1\rNTE" * MOST_SEGMENTS)
    assert ack.used(many).reason == "too_many_segments"


# --- a stay, however many messages it has had


def next_ten(told: list[bytes], before: int) -> int:
    """The work of ten messages, taken in and looked at, of a lane that has had so many."""
    made = lane.Lane(default_site(), told)
    while made.applied < before:
        made.fold(made.read())
        if made.applied in (before - 1, before):
            made.ask()
    count = 0
    for _ in range(10):
        event = made.read()
        count += steps(partial(made.fold, event)) + steps(made.ask)
    return count


@pytest.mark.parametrize("shape", ["vitals", "adt"])
def test_the_next_messages_of_a_long_stay_are_no_more_work_than_those_of_a_short_one(shape: str) -> None:
    told = lane.messages(320, shape)
    assert next_ten(told, 300) <= 1.1 * next_ten(told, 50)


def test_a_feed_of_results_that_runs_backwards_is_bound_by_what_is_kept(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Each result is the oldest: the window is looked at afresh, over the results that are kept of a fact."""
    monkeypatch.setattr(by_time, "FIRST_KEPT", 8)
    monkeypatch.setattr(by_time, "NEWEST_KEPT", 24)
    told = [each for each in lane.messages(260) if b"ORU^R01" in each][::-1]
    assert next_ten(told, 200) <= 1.1 * next_ten(told, 60)


def _anew(self: person.PastRegister, at: int, words: Sequence[person.Word]) -> None:
    self.__init__(0, self.anew)  # type: ignore[misc]
    REACH(self, at, words)


REACH = person.PastRegister.reach


def test_work_that_grows_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    told = lane.messages(320, "adt")
    monkeypatch.setattr(person.PastRegister, "reach", _anew)
    assert next_ten(told, 300) > 1.1 * next_ten(told, 50)

"""MLLP load: many connections, one message in flight each, and what every answer cost in time.

Closed loop: each connection sends its next message when the last one is answered. Open loop (``--rate``):
each message has a moment at which it is due, and its latency counts from there, whether or not its connection
was free to send it. A server that stalls is then late for every message due meanwhile, not for one alone
(coordinated omission: G. Tene, "How NOT to Measure Latency", 2013).

Standard library only, one epoll loop over frames encoded beforehand, so that the generator leaves the machine
to the server it measures; its own CPU time is part of the report.
"""

from __future__ import annotations

import argparse
import gc
import heapq
import json
import math
import select
import socket
import sys
import time
from array import array
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

VT, END = b"\x0b", b"\x1c\r"
ACCEPTED = (b"AA", b"CA")
BEGAN = datetime(2026, 3, 2, 14, 0, tzinfo=UTC)  # fixed: every run and every peer gets the same bytes
SIDE_BY_SIDE = 8  # stays whose messages alternate on one connection, as patients do on a ward's feed
LATER = 6  # messages a stay in the feed of vital signs
PATIENCE = 30.0


def _sample() -> Any:
    """What makes stays, loaded by who asks for them alone: the generator itself needs the standard library.

    A checkout of before the folders has it elsewhere.
    """
    try:
        from umbridge.commands import sample  # noqa: PLC0415
    except ImportError:
        from umbridge import sample  # noqa: PLC0415
    return sample


def feed(
    count: int, connections: int, first: int = 0, *, in_turn: bool = False, later: bool = False
) -> list[list[bytes]]:
    """``count`` sample messages as one stream a connection; a stay keeps to one stream, in order.

    ``first`` is the first stay's number: runs that must not repeat one another's control ids start far apart.
    ``in_turn`` gives one stay after the other, so that any beginning of a stream has the usual mixture.
    ``later`` gives what comes in once the stays of the plain feed are admitted: hourly vital signs of those
    whose admission cannot be decided yet, so that each message is screened again.
    """
    sample = _sample()

    kinds = len(sample.STORIES)
    stride = 1
    if later:  # only every so many stays has an open question
        stride = kinds
        first += (sample.STORIES.index(sample.INCOMPLETE) - first) % kinds
    side_by_side = 1 if in_turn else 2 if later else SIDE_BY_SIDE
    streams: list[list[bytes]] = []
    for index in range(connections):
        share = count // connections + (index < count % connections)
        stream: list[bytes] = []
        number = first + index * stride
        while len(stream) < share:
            group = []
            for _ in range(side_by_side):
                group.append(_vitals(number) if later else sample.stay(number, BEGAN))
                number += connections * stride
            longest = max(map(len, group))
            stream += [stay[step] for step in range(longest) for stay in group if step < len(stay)]
        streams.append(stream[:share])
    return streams


def _vitals(number: int) -> list[bytes]:
    sample = _sample()

    told = []
    for hour in range(1, LATER + 1):
        message = sample.stay(number, BEGAN + timedelta(hours=2 + hour))[1]
        mine = control_id(message)
        told.append(message.replace(mine, mine[:-2] + b"%02d" % (10 + hour), 1))
    return told


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came back. Times in seconds; ``due`` and ``latencies`` are parallel, in the order of the answers.

    ``began`` is time.perf_counter() at the first message, and ``due`` counts from there. ``lags`` is how late
    the generator itself was: from the moment a message was due and its connection free to the moment it was
    sent (open loop only).
    """

    connections: int
    rate: float | None
    offered: int
    accepted: int
    errors: dict[str, int]
    seconds: float
    cpu_seconds: float
    sent_bytes: int
    began: float
    due: array[float]
    latencies: array[float]
    lags: array[float]

    def report(self) -> dict[str, Any]:
        """The figures as one JSON object; latencies in milliseconds."""
        taken = sorted(self.latencies)
        return {
            "began": self.began,
            "mode": "open" if self.rate else "closed",
            "connections": self.connections,
            "rate": self.rate,
            "offered": self.offered,
            "accepted": self.accepted,
            "errors": self.errors,
            "seconds": round(self.seconds, 3),
            "per_second": round(self.accepted / self.seconds, 1) if self.seconds else 0.0,
            "p50_ms": _ms(quantile(taken, 0.5)),
            "p99_ms": _ms(quantile(taken, 0.99)),
            "p999_ms": _ms(quantile(taken, 0.999)),
            "max_ms": _ms(taken[-1] if taken else math.nan),
            "generator_lag_p99_ms": _ms(quantile(sorted(self.lags), 0.99)),
            "generator_cpu_us_per_message": round(self.cpu_seconds / max(1, self.offered) * 1e6, 1),
            "mean_bytes": round(self.sent_bytes / max(1, self.offered)),
        }


def quantile(ordered: Sequence[float], share: float) -> float:
    """Nearest rank: the smallest value that at least ``share`` of all do not exceed; NaN of nothing."""
    if not ordered:
        return math.nan
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def _ms(seconds: float) -> float | None:
    return None if math.isnan(seconds) else round(seconds * 1000, 3)


def judge(answer: bytes, control_id: bytes) -> str | None:
    """None for AA or CA to this very message; else a word for what is wrong with the answer."""
    separator = answer[3:4]
    at = answer.find(b"\rMSA" + separator)
    if not answer.startswith(b"MSH") or at < 0:
        return "no_msa"
    code, _, rest = answer[at + 5 : answer.find(b"\r", at + 1)].partition(separator)
    if code not in ACCEPTED:
        return code.decode("ascii", "replace")[:8] or "empty"
    return None if rest.partition(separator)[0] == control_id else "other_control_id"


def control_id(message: bytes) -> bytes:
    """MSH-10 of a message that is known to have one."""
    return message.split(b"\r", 1)[0].split(message[3:4])[9]


class _Line:
    """One connection and the messages that go over it."""

    __slots__ = ("buffer", "busy", "due", "frames", "free_at", "ids", "index", "next", "peer", "unsent")

    def __init__(self, index: int, stream: Sequence[bytes]) -> None:
        self.index = index
        self.frames = [VT + message + END for message in stream]
        self.ids = [control_id(message) for message in stream]
        self.next = 0  # the message to send next; the one before it may be in flight
        self.due = 0.0
        self.free_at = 0.0
        self.busy = False
        self.buffer = b""
        self.unsent = b""
        self.peer = socket.socket(socket.AF_INET, socket.SOCK_STREAM)


class _Run:
    """One measurement; see ``run``."""

    def __init__(
        self,
        address: tuple[str, int],
        streams: Sequence[Sequence[bytes]],
        rate: float | None,
        patience: float,
        progress: Callable[[int], None],
    ) -> None:
        self.lines = [_Line(index, stream) for index, stream in enumerate(streams)]
        self.rate = rate
        self.patience = patience
        self.progress = progress
        self.errors: Counter[str] = Counter()
        self.due = array("d")
        self.latencies = array("d")
        self.lags = array("d")
        self.accepted = self.answered = self.in_flight = 0
        self.waiting: list[tuple[float, int]] = []  # (when, line) of free lines whose next message is not due
        self.began = self.heard = 0.0
        self.poller = select.epoll()
        self.by_fd: dict[int, _Line] = {}
        for line in self.lines:
            line.peer.connect(address)
            line.peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            line.peer.setblocking(False)
            self.by_fd[line.peer.fileno()] = line
            self.poller.register(line.peer, select.EPOLLIN)

    def close(self) -> None:
        self.poller.close()
        for line in self.lines:
            line.peer.close()

    def play(self) -> Outcome:
        clock = time.perf_counter
        cpu = time.process_time()
        self.began = self.heard = clock()
        for line in self.lines:
            line.free_at = self.began
            self.plan(line, self.began)
        while self.in_flight or self.waiting:
            now = clock()
            while self.waiting and self.waiting[0][0] <= now:
                self.send(self.lines[heapq.heappop(self.waiting)[1]], now)
            if self.in_flight and now - self.heard > self.patience:
                self.errors["no_answer"] += self.in_flight
                for line in self.lines:
                    line.busy = False
                break
            for handle, event in self.events():
                self.handle(self.by_fd[handle], event, clock())
        left = sum(len(line.frames) - line.next for line in self.lines)
        if left:
            self.errors["not_sent"] += left
        return Outcome(
            connections=len(self.lines),
            rate=self.rate,
            offered=sum(len(line.frames) for line in self.lines),
            accepted=self.accepted,
            errors=dict(self.errors),
            seconds=self.heard - self.began,
            cpu_seconds=time.process_time() - cpu,
            sent_bytes=sum(len(frame) for line in self.lines for frame in line.frames[: line.next]),
            began=self.began,
            due=self.due,
            latencies=self.latencies,
            lags=self.lags,
        )

    def events(self) -> list[tuple[int, int]]:
        """What happened, waiting at most until the next message is due."""
        if not self.waiting:
            return self.poller.poll(self.patience)
        # epoll rounds a wait up to whole milliseconds; select does not, and one descriptor is cheap
        wait = min(self.patience, self.waiting[0][0] - time.perf_counter())
        if wait > 0:
            select.select([self.poller], [], [], wait)
        return self.poller.poll(0)

    def plan(self, line: _Line, now: float) -> None:
        """The line is free: send its next message if it is due, else remember when it will be."""
        if line.next >= len(line.frames):
            return
        if self.rate is None:
            line.due = now
        else:
            line.due = self.began + (line.next * len(self.lines) + line.index) / self.rate
            if line.due > now:
                heapq.heappush(self.waiting, (line.due, line.index))
                return
        self.send(line, now)

    def send(self, line: _Line, now: float) -> None:
        if self.rate is not None:
            self.lags.append(now - max(line.due, line.free_at))
        if not self.in_flight:
            self.heard = now  # a quiet feed is not a silent server: patience begins with the question
        line.busy = True
        self.in_flight += 1
        line.next += 1
        self.write(line, line.frames[line.next - 1])

    def write(self, line: _Line, data: bytes) -> None:
        try:
            done = line.peer.send(data)
        except BlockingIOError:
            done = 0
        except OSError:
            self.lost(line)
            return
        waits = bool(line.unsent)
        line.unsent = data[done:]
        if bool(line.unsent) != waits:
            self.poller.modify(line.peer, select.EPOLLIN | (select.EPOLLOUT if line.unsent else 0))

    def handle(self, line: _Line, event: int, now: float) -> None:
        if event & select.EPOLLOUT and line.unsent:
            self.write(line, line.unsent)
            return  # anything to read makes its own event
        try:
            data = line.peer.recv(65536)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self.lost(line)
            return
        line.buffer += data
        end = line.buffer.find(END)
        if end < 0:
            return
        answer, line.buffer = line.buffer[:end].lstrip(VT), line.buffer[end + len(END) :]
        self.heard = now
        if not line.busy or line.buffer:
            self.errors["unasked_answer"] += 1
            line.buffer = b""
        if not line.busy:
            return
        line.busy = False
        line.free_at = now
        self.in_flight -= 1
        self.answered += 1
        self.due.append(line.due - self.began)
        self.latencies.append(now - line.due)
        wrong = judge(answer, line.ids[line.next - 1])
        if wrong is None:
            self.accepted += 1
        else:
            self.errors[wrong] += 1
        self.progress(self.answered)
        self.plan(line, now)

    def lost(self, line: _Line) -> None:
        """The peer hung up: what was in flight is lost, and the rest of this stream is not sent."""
        if line.busy:
            line.busy = False
            self.in_flight -= 1
            self.errors["closed"] += 1
        self.waiting = [entry for entry in self.waiting if entry[1] != line.index]
        heapq.heapify(self.waiting)
        self.by_fd.pop(line.peer.fileno(), None)
        self.poller.unregister(line.peer)
        line.peer.close()


def run(
    host: str,
    port: int,
    streams: Sequence[Sequence[bytes]],
    *,
    rate: float | None = None,
    patience: float = PATIENCE,
    progress: Callable[[int], None] = lambda answered: None,
) -> Outcome:
    """One stream over each of N connections; with ``rate``, message j of stream c is due at (jN + c)/rate.

    Ends when every message is answered, or after ``patience`` seconds of silence with messages in flight.
    Raises OSError when a connection cannot be opened.
    """
    measured = _Run((host, port), streams, rate, patience, progress)
    try:
        return measured.play()
    finally:
        measured.close()


def ticker(label: str, total: int) -> Callable[[int], None]:
    """Progress on a terminal's stderr, a few times a second, after two seconds; nothing elsewhere."""
    began = last = time.monotonic()
    shown = sys.stderr.isatty()

    def show(done: int) -> None:
        nonlocal last
        if not shown or (done % 64 and done != total):
            return
        now = time.monotonic()
        if now - began > 2 and (now - last > 0.25 or done == total):
            last = now
            sys.stderr.write(f"\r{label}: {done:,} of {total:,}" + ("\r\x1b[K" if done == total else ""))
            sys.stderr.flush()

    return show


def main(words: Sequence[str] | None = None) -> int:
    """Exit 0 when every message was answered AA or CA, 1 when not, 69 when nobody listens."""
    parser = argparse.ArgumentParser(prog="bench/load.py", description="MLLP load, closed or open loop.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--connections", type=int, default=8)
    parser.add_argument("--rate", type=float, help="messages a second over all connections: open loop")
    parser.add_argument("--count", type=int, default=1000, help="messages in all")
    parser.add_argument("--first", type=int, default=0, help="number of the first sample stay")
    parser.add_argument("--later", action="store_true", help="vital signs of stays sent without it before")
    parser.add_argument("--patience", type=float, default=PATIENCE, help="seconds of silence that end it")
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")
    asked = parser.parse_args(words)
    if min(asked.connections, asked.count) < 1 or (asked.rate is not None and asked.rate <= 0):
        parser.error("--connections, --count and --rate must be above zero")
    streams = feed(asked.count, asked.connections, asked.first, later=asked.later)
    gc.disable()  # a collection would be counted as the server's latency; nothing here makes cycles
    try:
        outcome = run(
            asked.host,
            asked.port,
            streams,
            rate=asked.rate,
            patience=asked.patience,
            progress=ticker("answered", asked.count),
        )
    except OSError as exc:
        print(f"load: {asked.host}:{asked.port}: {exc.strerror}", file=sys.stderr)
        return 69
    report = outcome.report()
    if asked.json:
        print(json.dumps(report))
    else:
        for name, value in report.items():
            print(f"{name:28}  {value}")
    return 0 if outcome.accepted == outcome.offered and not outcome.errors else 1


if __name__ == "__main__":
    sys.exit(main())

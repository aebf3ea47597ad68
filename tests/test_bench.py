"""The load generator, held to a tiny MLLP server whose faults are known."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parents[1]))
from bench import beside, load, ours
from bench import ledger as ledger_bench
from bench import run as bench_run

Answer = Callable[[bytes, int], bytes | None]


def acknowledge(message: bytes, _number: int, code: bytes = b"AA") -> bytes:
    return b"MSH|^~\\&|ZZ|ZZ|ZZ|ZZ|20260302||ACK|1|P|2.5.1\rMSA|%b|%b\r" % (code, load.control_id(message))


class Heard(list[bytes]):
    """Messages in the order they came, and how many more bytes had come before the answer was given."""

    early = 0


def _more(peer: socket.socket) -> int:
    try:
        return len(peer.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT))
    except BlockingIOError:
        return 0


@contextmanager
def server(answer: Answer, chunk: int = 0) -> Iterator[tuple[int, Heard]]:
    """A server with one thread a connection. ``answer`` gets (message, how many before it); None hangs up.

    ``chunk`` sends each answer in pieces of so many bytes. Yields the port and the messages as they come.
    """
    heard = Heard()
    lock = threading.Lock()
    threads: list[threading.Thread] = []
    listener = socket.create_server(("127.0.0.1", 0), backlog=64)

    def serve(peer: socket.socket) -> None:
        buffer = b""
        with peer:
            while True:
                end = buffer.find(load.END)
                if end < 0:
                    data = peer.recv(65536)
                    if not data:
                        return
                    buffer += data
                    continue
                message, buffer = buffer[1:end], buffer[end + 2 :]
                with lock:
                    number = len(heard)
                    heard.append(message)
                said = answer(message, number)
                heard.early += len(buffer) + _more(peer)
                if said is None:
                    return
                block = load.VT + said + load.END
                for at in range(0, len(block), chunk or len(block)):
                    peer.sendall(block[at : at + (chunk or len(block))])

    def accept() -> None:
        while True:
            try:
                peer, _ = listener.accept()
            except OSError:
                return
            peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threads.append(threading.Thread(target=serve, args=(peer,)))
            threads[-1].start()

    accepting = threading.Thread(target=accept)
    accepting.start()
    try:
        yield listener.getsockname()[1], heard
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        accepting.join()
        for thread in threads:
            thread.join()


def run(port: int, streams: list[list[bytes]], **more: float) -> load.Outcome:
    return load.run("127.0.0.1", port, streams, patience=more.get("patience", 20.0), rate=more.get("rate"))


# -- the feed --------------------------------------------------------------------------------------------


@given(count=st.integers(1, 200), connections=st.integers(1, 9), in_turn=st.booleans(), later=st.booleans())
def test_feed_gives_each_message_once_and_keeps_a_stay_in_order_on_one_stream(
    count: int, connections: int, in_turn: bool, later: bool
) -> None:
    streams = load.feed(count, connections, in_turn=in_turn, later=later)
    assert len(streams) == connections
    assert sum(map(len, streams)) == count
    ids = [[load.control_id(message).decode() for message in stream] for stream in streams]
    assert len({one for stream in ids for one in stream}) == count
    home: dict[str, int] = {}
    last: dict[str, str] = {}
    for index, stream in enumerate(ids):
        for one in stream:
            stay, step = one[:-2], one[-2:]
            assert home.setdefault(stay, index) == index
            assert last.get(stay, "00") < step
            last[stay] = step


def test_later_messages_belong_to_the_stays_of_the_plain_feed_and_repeat_none_of_it() -> None:
    plain, later = (
        [load.control_id(message) for stream in streams for message in stream]
        for streams in (load.feed(480, 4), load.feed(120, 4, later=True))
    )
    assert {name[:-2] for name in later} < {name[:-2] for name in plain}
    assert not set(plain) & set(later)


def test_feeds_that_start_far_apart_share_no_control_id() -> None:
    one, other = ({load.control_id(m) for s in load.feed(300, 4, first) for m in s} for first in (0, 100_000))
    assert not one & other


# -- counting --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rate", [None, 2000.0])
@pytest.mark.parametrize("chunk", [0, 1, 7])
def test_every_message_is_sent_once_and_every_answer_counted(rate: float | None, chunk: int) -> None:
    streams = load.feed(103, 4)
    with server(acknowledge, chunk) as (port, heard):
        outcome = load.run("127.0.0.1", port, streams, rate=rate, patience=20)
    assert Counter(heard) == Counter(message for stream in streams for message in stream)
    assert (outcome.offered, outcome.accepted, outcome.errors) == (103, 103, {})
    assert len(outcome.latencies) == len(outcome.due) == 103
    assert min(outcome.latencies) > 0
    assert len(outcome.lags) == (103 if rate else 0)
    assert outcome.sent_bytes == sum(len(message) + 3 for stream in streams for message in stream)


def test_one_message_is_in_flight_on_a_connection() -> None:
    with server(acknowledge) as (port, heard):
        outcome = run(port, load.feed(200, 1), rate=100_000.0)  # all due at once
    assert outcome.accepted == 200
    assert heard.early == 0


def test_the_server_of_these_tests_notices_a_second_message_in_flight() -> None:
    both = b"".join(load.VT + message + load.END for message in load.feed(2, 1)[0])
    with server(acknowledge) as (port, heard), socket.create_connection(("127.0.0.1", port)) as peer:
        peer.sendall(both)
        said = b""
        while said.count(load.END) < 2:
            said += peer.recv(65536)
    assert heard.early > 0


def test_a_message_larger_than_the_socket_takes_at_once_arrives_whole() -> None:
    small = load.feed(3, 1)[0]
    large = small[1] + b"NTE|1||" + b"Z" * (6 << 20) + b"\r"
    with server(acknowledge) as (port, heard):
        outcome = run(port, [[small[0], large, small[2]]])
    assert outcome.accepted == 3
    assert heard == [small[0], large, small[2]]


# -- errors ----------------------------------------------------------------------------------------------


def other_id(message: bytes, _number: int) -> bytes:
    return acknowledge(message, 0).replace(load.control_id(message), b"ZZ-OTHER")


CASES: list[tuple[str, Answer]] = [
    ("AE", lambda message, number: acknowledge(message, number, b"AE")),
    ("AR", lambda message, number: acknowledge(message, number, b"AR")),
    ("CE", lambda message, number: acknowledge(message, number, b"CE")),
    ("empty", lambda message, number: acknowledge(message, number, b"")),
    ("other_control_id", other_id),
    ("no_msa", lambda message, number: b"MSH|^~\\&|ZZ\r"),
    ("no_msa", lambda message, number: b""),
    ("unasked_answer", lambda m, n: acknowledge(m, n) + load.END + load.VT + acknowledge(m, n)),
]


@pytest.mark.parametrize(("word", "wrong"), CASES, ids=[f"{i}-{word}" for i, (word, _) in enumerate(CASES)])
def test_an_answer_that_is_no_acceptance_of_this_message_is_an_error(word: str, wrong: Answer) -> None:
    def answer(message: bytes, number: int) -> bytes | None:
        return wrong(message, number) if number in (3, 8) else acknowledge(message, number)

    with server(answer) as (port, _):
        outcome = run(port, load.feed(20, 1))
    assert outcome.errors.get(word) == 2
    if word != "unasked_answer":  # there the message itself was accepted
        assert outcome.accepted == 18
        assert sum(outcome.errors.values()) == 2


def test_commit_accept_is_an_acceptance() -> None:
    with server(lambda message, number: acknowledge(message, number, b"CA")) as (port, _):
        assert run(port, load.feed(9, 2)).accepted == 9


@pytest.mark.parametrize("rate", [None, 5000.0])
def test_a_server_that_hangs_up_costs_what_was_in_flight_and_what_was_not_sent(rate: float | None) -> None:
    streams = load.feed(40, 2)
    doomed = streams[1][4]

    def answer(message: bytes, number: int) -> bytes | None:
        return None if message == doomed else acknowledge(message, number)

    with server(answer) as (port, _):
        outcome = load.run("127.0.0.1", port, streams, rate=rate, patience=20)
    assert outcome.errors == {"closed": 1, "not_sent": 15}
    assert outcome.accepted == 24


def test_a_server_that_never_answers_ends_the_run() -> None:
    released = threading.Event()

    def answer(message: bytes, number: int) -> bytes | None:
        return acknowledge(message, number) if number < 5 else (released.wait(), None)[1]

    with server(answer) as (port, _):
        try:
            outcome = run(port, load.feed(30, 3), patience=0.2)
        finally:
            released.set()
    assert outcome.accepted == 5
    assert outcome.errors == {"no_answer": 3, "not_sent": 22}


# -- time ------------------------------------------------------------------------------------------------

STALL = 0.4
RATE = 100.0
STALLED_AT = 5


@pytest.mark.parametrize("connections", [1, 2])
def test_a_stall_is_late_for_every_message_due_meanwhile(connections: int) -> None:
    """Only lower bounds: a busy machine makes answers later, never earlier."""
    gate = threading.Lock()
    stall: list[float] = []

    def answer(message: bytes, number: int) -> bytes:
        with gate:  # the whole server stands still
            if number == STALLED_AT:
                stall.append(time.perf_counter())
                threading.Event().wait(STALL)  # not waited for anything: this is the fault under test
                stall.append(time.perf_counter())
        return acknowledge(message, number)

    with server(answer) as (port, _):
        outcome = run(port, load.feed(80, connections), rate=RATE)
    assert outcome.accepted == 80
    assert sorted(round(due * RATE) for due in outcome.due) == list(range(80))
    began, ended = stall
    meanwhile = [
        (ended - outcome.began - due, latency)
        for due, latency in zip(outcome.due, outcome.latencies, strict=True)
        if began < outcome.began + due < ended
    ]
    # measured from the sending, only the message in flight on each connection would be late
    assert len(meanwhile) > 5 * connections
    assert all(latency >= left for left, latency in meanwhile)
    assert outcome.report()["max_ms"] >= STALL * 1000


def test_in_closed_loop_a_stall_is_late_for_one_message_alone() -> None:
    """The control: this is what measuring from the sending hides."""

    def answer(message: bytes, number: int) -> bytes:
        if number == STALLED_AT:
            threading.Event().wait(STALL)
        return acknowledge(message, number)

    with server(answer) as (port, _):
        outcome = run(port, load.feed(20, 1))
    late = [latency for latency in outcome.latencies if latency >= STALL]
    assert outcome.latencies[STALLED_AT] in late
    assert len(late) < 10


def test_nothing_is_sent_before_it_is_due() -> None:
    arrived: list[float] = []

    def answer(message: bytes, number: int) -> bytes:
        arrived.append(time.perf_counter())
        return acknowledge(message, number)

    with server(answer) as (port, _):
        began = time.perf_counter()
        run(port, load.feed(20, 1), rate=200.0)
    assert all(at >= began + number / 200.0 for number, at in enumerate(arrived))


# -- figures ---------------------------------------------------------------------------------------------


@given(st.lists(st.floats(0, 1e6), min_size=1), st.floats(0.001, 1))
def test_a_quantile_is_the_smallest_value_that_the_share_does_not_exceed(
    values: list[float], share: float
) -> None:
    found = load.quantile(sorted(values), share)
    assert found in values
    assert sum(value <= found for value in values) >= share * len(values) - 1e-6
    assert sum(value < found for value in values) < share * len(values) + 1e-6


def test_the_command_prints_one_json_object(capsys: pytest.CaptureFixture[str]) -> None:
    with server(acknowledge) as (port, heard):
        code = load.main(["--port", str(port), "--connections", "3", "--count", "31", "--json"])
    report = json.loads(capsys.readouterr().out)
    assert code == 0
    assert report["accepted"] == report["offered"] == len(heard) == 31
    assert report["mode"] == "closed"
    assert report["p50_ms"] <= report["p99_ms"] <= report["p999_ms"] <= report["max_ms"]


def test_the_command_says_when_an_answer_was_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    with server(lambda message, number: acknowledge(message, number, b"AE")) as (port, _):
        code = load.main(
            ["--port", str(port), "--connections", "1", "--count", "2", "--rate", "500", "--json"]
        )
    report = json.loads(capsys.readouterr().out)
    assert (code, report["accepted"], report["errors"], report["mode"]) == (1, 0, {"AE": 2}, "open")


def test_the_command_ends_with_69_when_nobody_listens(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as held:  # it has the port, so that nobody else can, and does not listen
        held.bind(("127.0.0.1", 0))
        port = held.getsockname()[1]
        assert load.main(["--port", str(port), "--count", "1", "--connections", "1"]) == 69
    assert str(port) in capsys.readouterr().err


def test_a_run_shows_the_wide_load_the_answer_path_and_how_fast_disk_and_core_are() -> None:
    figures = json.loads(bench_run.FIGURES.read_text(encoding="utf-8"))
    figures["umbridge"]["wide"] = {**figures["umbridge"]["burst"], "per_second": 4321.0, "errors": {}}
    figures["answer"] = {
        "8": {"cpu_us": 236.4, "wal_bytes": 29_900.0},
        "64": {"cpu_us": 182.0, "wal_bytes": 11_040.0},
    }
    figures["machine"] |= {"fdatasync_p90_ms": 5.6, "sha256_1kb_us": 0.871}
    figures["ratios"] = bench_run.ratios(figures)
    shown = bench_run.lines(figures)
    assert max(map(len, shown)) <= 100
    (wide,) = [line for line in shown if "the same over 32 connections" in line]
    assert wide.split()[-4] == "4,321"
    assert any("8 messages a commit: 236 µs CPU and 29.9 kB of log each" in line for line in shown)
    assert any("p90 5.6 ms, SHA-256 of 1 kB 0.871 µs" in line for line in shown)
    figures["umbridge"]["wide"]["errors"] = {"AE": 2}
    assert any("not accepted: 2 AE of ours" in line for line in bench_run.lines(figures))


def test_two_checkouts_are_measured_alike_and_shown_as_ratios(tmp_path: Path) -> None:
    found = beside.once(sys.executable, tmp_path / "site", 400, 1)
    assert set(found) == set(beside.WHAT)
    assert min(found.values()) > 0
    shown = beside.lines(found, {name: value * 2 for name, value in found.items()})
    assert [line.split()[-2] for line in shown[1:]] == ["0.50"] * len(beside.WHAT)
    with pytest.raises(ours.BenchFailedError, match="nothing to compare"):
        beside.compare([sys.executable, sys.executable], lambda _text: None)


def test_the_table_of_the_figures_kept_here_fits_100_columns() -> None:
    figures = json.loads(bench_run.FIGURES.read_text(encoding="utf-8"))
    shown = bench_run.lines(figures)
    assert max(map(len, shown)) <= 100
    assert figures["ratios"] == bench_run.ratios(figures)
    assert figures["commit"] in shown[0]


def test_cpu_of_a_process_and_of_its_children_is_told_apart() -> None:
    burn = "import time\nwhile time.process_time() < {}: pass\n"
    child = burn.format(0.4) + "print('burnt', flush=True)\ninput()"
    parent = (
        "import subprocess, sys\n"
        f"child = subprocess.Popen([sys.executable, '-c', {child!r}], stdin=subprocess.PIPE)\n"
        "input()\nchild.communicate()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", parent], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None and process.stdout is not None
        assert process.stdout.readline() == "burnt\n"
        own, family = ours.cpu_seconds(process.pid)
        process.stdin.write("\n")
        process.stdin.close()
    assert family >= 0.38
    assert own < family


def test_the_ledgers_figures_kept_here_fit_100_columns_and_stand_beside_their_goals() -> None:
    kept = ledger_bench.FIGURES.read_text(encoding="utf-8").splitlines()
    assert max(map(len, kept)) <= 100
    rows = [
        line.split()
        for line in kept
        if line.startswith(("spine  ", "keyless  ", "full  ")) and "over" not in line
    ]
    assert {row[0] for row in rows} == {"spine", "keyless", "full"}
    assert all(row[2] == f"{ledger_bench.GOALS[row[0]]:,}" for row in rows)

"""The control socket: who asks is the kernel's word, and nothing anybody writes stops the server."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import pwd
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from umbridge.access import control, control_client
from umbridge.errors import (
    ConfigError,
    NotPermittedError,
    StoreError,
    UmbridgeError,
    UnavailableError,
    UsageError,
)

ERRORS = {
    kind.__name__: kind
    for kind in (UmbridgeError, UsageError, UnavailableError, StoreError, NotPermittedError, ConfigError)
}
ME = pwd.getpwuid(os.geteuid()).pw_name
BARRIER = threading.Barrier(2)


def answer(account: str, op: str, args: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """A server that says back what it was asked, and fails at once or on the way."""
    if op == "raise":
        raise ERRORS[args["kind"]](args["text"])
    if op == "bug":
        raise ValueError("ZZSECRET")

    def rows() -> Iterator[dict[str, Any]]:
        if op == "meet":
            BARRIER.wait(60)
        for number in range(args.get("rows", 1)):
            yield {"account": account, "op": op, "args": args, "number": number}
        if op == "raise-late":
            raise ERRORS[args["kind"]](args["text"])
        if op == "bug-late":
            raise ValueError("ZZSECRET")

    return rows()


@contextmanager
def queries(
    store: Path, answers: Callable[..., Iterator[dict[str, Any]]] = answer, **bounds: Any
) -> Iterator[Path]:
    """A control socket served by its own loop in its own thread."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    served = control.Control(store, answers, **bounds)
    try:
        asyncio.run_coroutine_threadsafe(served.open(), loop).result(10)
        yield store
    finally:
        asyncio.run_coroutine_threadsafe(served.close(), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with queries(tmp_path_factory.mktemp("desk")) as where:
        yield where


def ask(store: Path, op: str, **args: Any) -> list[dict[str, Any]]:
    rows = control_client.request(store, op, args)
    assert rows is not None
    return list(rows)


def raw(store: Path, data: bytes, *, eof: bool = True) -> bytes:
    """Bytes straight into the socket; whatever comes back until it closes."""
    with socket.socket(socket.AF_UNIX) as peer:
        peer.settimeout(60)
        peer.connect(os.path.relpath(store / control_client.SOCKET))
        with contextlib.suppress(
            ConnectionError
        ):  # it may have answered and closed already: read what it said
            peer.sendall(data)
            if eof:
                peer.shutdown(socket.SHUT_WR)
        got = b""
        with contextlib.suppress(ConnectionError):
            while more := peer.recv(65536):
                got += more
        return got


def test_the_actor_is_the_account_of_the_peer_whatever_the_request_says(store: Path) -> None:
    (row,) = ask(store, "who", account="somebody", actor="somebody")
    assert row["account"] == ME
    reply = raw(store, b'{"op":"who","args":{},"account":"somebody","uid":12345}\n')
    assert json.loads(reply.splitlines()[0])["row"]["account"] == ME


def test_an_account_without_a_name_is_its_number() -> None:
    unused = next(uid for uid in range(54_321, 60_000) if not _known(uid))
    assert control.account_name(unused) == f"uid:{unused}"
    assert control.account_name(os.geteuid()) == ME


def _known(uid: int) -> bool:
    try:
        pwd.getpwuid(uid)
    except KeyError:
        return False
    return True


@settings(max_examples=30, deadline=None)
@given(text=st.text(st.characters(codec=None), max_size=30), rows=st.integers(0, 200))
def test_rows_come_back_in_order_and_unchanged(store: Path, text: str, rows: int) -> None:
    found = ask(store, "echo", text=text, rows=rows)
    assert [row["number"] for row in found] == list(range(rows))
    assert all(row["args"]["text"] == text for row in found)


@pytest.mark.parametrize("late", ["raise", "raise-late"])
@pytest.mark.parametrize("kind", sorted(ERRORS))
def test_an_error_arrives_as_what_it_was(store: Path, kind: str, late: str) -> None:
    with pytest.raises(ERRORS[kind]) as caught:
        ask(store, late, kind=kind, text="what is wrong, where, what to do", rows=0)
    assert type(caught.value) is ERRORS[kind]
    assert str(caught.value) == "what is wrong, where, what to do"


@pytest.mark.parametrize("op", ["bug", "bug-late"])
def test_a_bug_is_told_by_its_type_and_the_desk_goes_on(store: Path, op: str) -> None:
    with pytest.raises(StoreError, match="ValueError") as caught:
        ask(store, op)
    assert "ZZSECRET" not in str(caught.value)
    assert ask(store, "echo")


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\n",
        b"{}\n",
        b"[]\n",
        b"null\n",
        b'{"args":{}}\n',
        b'{"op":"x","args":[1]}\n',
        b'{"op":"x","args":"ab"}\n',
        b'{"op":"x"',
        b"\xff\xfe\n",
        b"[" * 100_000 + b"\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"x" * (control.MAX_REQUEST + 10),
    ],
)
def test_what_is_no_request_gets_one_error_and_the_desk_goes_on(store: Path, data: bytes) -> None:
    said = raw(store, data)
    if said:  # a request that is far too long may be cut off unread
        value = json.loads(said)
        assert value["exit"] == 2
    else:
        assert len(data) > control.MAX_REQUEST
    assert ask(store, "echo")


@settings(max_examples=40, deadline=None)
@given(data=st.binary(max_size=60))
def test_any_bytes_leave_the_desk_standing(store: Path, data: bytes) -> None:
    for line in raw(store, data).splitlines():
        assert {"row", "done", "error"} & set(json.loads(line))
    assert ask(store, "echo")


def test_two_ask_at_once_and_neither_waits_for_the_other(store: Path) -> None:
    found: list[list[dict[str, Any]]] = []
    threads = [threading.Thread(target=lambda: found.append(ask(store, "meet"))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(found) == 2  # each needed the other's request to be under way


def test_one_who_asks_and_leaves_does_not_stop_the_next(store: Path) -> None:
    for _ in range(5):
        with socket.socket(socket.AF_UNIX) as peer:
            peer.connect(os.path.relpath(store / control_client.SOCKET))
            peer.sendall(b'{"op":"echo","args":{"rows":5000}}\n')
            peer.recv(10)
    rows = control_client.request(store, "echo", {"rows": 5000})
    assert rows is not None
    next(rows)
    rows.close()  # type: ignore[attr-defined]
    assert len(ask(store, "echo", rows=100)) == 100


# -- bounds: whoever asks can hold up only others who ask, and them not for long ----------------------------


def held(store: Path, data: bytes = b"") -> socket.socket:
    """A client that has connected, perhaps asked, and reads nothing."""
    peer = socket.socket(socket.AF_UNIX)
    peer.settimeout(60)
    peer.connect(os.path.relpath(store / control_client.SOCKET))
    peer.sendall(data)
    return peer


def ask_until_free(store: Path, op: str, **args: Any) -> list[dict[str, Any]]:
    """Ask again while the server is still noticing that others have gone."""
    until = time.monotonic() + 60
    while time.monotonic() < until:
        with contextlib.suppress(UnavailableError):
            return ask(store, op, **args)
    raise AssertionError("the server stays busy")


def test_one_too_many_is_told_so_and_is_served_when_there_is_room(tmp_path: Path) -> None:
    with queries(tmp_path, connections=2):
        peers = [held(tmp_path), held(tmp_path)]
        said = raw(tmp_path, b"", eof=False)
        (line,) = said.splitlines()
        assert json.loads(line)["exit"] == 69
        assert "busy" in json.loads(line)["error"]
        with pytest.raises(UnavailableError, match="busy"):
            ask(tmp_path, "echo")
        for peer in peers:
            peer.close()
        assert len(ask_until_free(tmp_path, "echo", rows=3)) == 3


def test_one_who_connects_and_asks_nothing_is_sent_away(tmp_path: Path) -> None:
    with queries(tmp_path, request_seconds=0.05):
        for data in (b"", b'{"op":"echo"'):
            assert json.loads(raw(tmp_path, data, eof=False))["exit"] == 2


def endless(ended: threading.Event) -> Callable[..., Iterator[dict[str, Any]]]:
    def rows(account: str, op: str, args: dict[str, Any]) -> Iterator[dict[str, Any]]:
        if op == "echo":
            yield {}
            return
        try:
            while True:
                yield {"much": "x" * 10_000}
        finally:
            ended.set()

    return rows


def test_one_who_does_not_read_is_sent_away_and_its_rows_are_put_away(tmp_path: Path) -> None:
    ended = threading.Event()
    with queries(tmp_path, endless(ended), drain_seconds=0.05, connections=1):
        peer = held(tmp_path, b'{"op":"much"}\n')
        assert ended.wait(60)
        assert ask_until_free(tmp_path, "echo") == [{}]
        peer.close()


def test_a_stop_breaks_off_one_who_does_not_read(tmp_path: Path) -> None:
    ended = threading.Event()
    with queries(tmp_path, endless(ended)):
        peer = held(tmp_path, b'{"op":"much"}\n')
        assert peer.recv(1)
    assert ended.is_set()
    peer.close()


def test_a_stop_breaks_off_long_work_that_looks_whether_to_go_on(tmp_path: Path) -> None:
    began, ended = threading.Event(), threading.Event()

    def work(account: str, op: str, args: dict[str, Any]) -> Iterator[dict[str, Any]]:
        try:
            while True:
                began.set()
                control.go_on()
                yield from ()
        finally:
            ended.set()

    with queries(tmp_path, work):
        peer = held(tmp_path, b'{"op":"long"}\n')
        assert began.wait(60)
    assert ended.is_set()
    peer.close()


def test_a_stop_does_not_wait_for_work_that_never_looks(tmp_path: Path) -> None:
    began, let_go, ended = threading.Event(), threading.Event(), threading.Event()

    def work(account: str, op: str, args: dict[str, Any]) -> Iterator[dict[str, Any]]:
        try:
            began.set()
            let_go.wait(120)
            yield {}
        finally:
            ended.set()

    with queries(tmp_path, work, threads=1):
        peers = [held(tmp_path, b'{"op":"long"}\n')]
        assert began.wait(60)
        peers.append(held(tmp_path, b'{"op":"waits for a thread"}\n'))
    assert not ended.is_set()  # close came back although it is still at it ...
    let_go.set()
    assert ended.wait(60)  # ... and what it held is put away when it ends
    for peer in peers:
        peer.close()


def test_at_most_two_exports_at_once_and_others_are_answered_meanwhile(tmp_path: Path) -> None:
    let_go, under_way = threading.Event(), threading.Barrier(3)

    def work(account: str, op: str, args: dict[str, Any]) -> Iterator[dict[str, Any]]:
        if op == control.EXPORT and not let_go.is_set():
            under_way.wait(60)
            let_go.wait(120)
        yield {"op": op}

    with queries(tmp_path, work):
        peers = [held(tmp_path, b'{"op":"ledger.export"}\n') for _ in range(2)]
        under_way.wait(60)
        for _ in range(3):
            with pytest.raises(UnavailableError, match="busy"):
                ask(tmp_path, control.EXPORT)
        assert ask(tmp_path, "echo") == [{"op": "echo"}]
        let_go.set()
        for peer in peers:
            while peer.recv(4096):
                pass
            peer.close()
        for _ in range(5):  # each gives its place back
            assert ask_until_free(tmp_path, control.EXPORT) == [{"op": control.EXPORT}]


def test_without_a_socket_nothing_is_broken_off() -> None:
    control.go_on()


def test_the_socket_is_for_its_owner_and_group(store: Path) -> None:
    assert (store / control_client.SOCKET).stat().st_mode & 0o777 == 0o660


def test_a_store_deep_in_the_tree_is_reached(tmp_path: Path) -> None:
    deep = tmp_path
    while len(str(deep)) < 300:
        deep = deep / ("d" * 60)
    deep.mkdir(parents=True)
    with queries(deep):
        assert ask(deep, "echo")[0]["account"] == ME
    assert not (deep / control_client.SOCKET).exists()


def test_without_a_daemon_there_is_no_answer(tmp_path: Path) -> None:
    assert control_client.request(tmp_path, "status", {}) is None
    left = socket.socket(socket.AF_UNIX)  # what a killed daemon leaves behind: a socket nobody listens on
    left.bind(os.path.relpath(tmp_path / control_client.SOCKET))
    left.close()
    assert (tmp_path / control_client.SOCKET).exists()
    assert control_client.request(tmp_path, "status", {}) is None
    with queries(tmp_path):  # and the next daemon takes its place
        assert ask(tmp_path, "echo")
    (tmp_path / control_client.SOCKET).write_text("not a socket")
    assert control_client.request(tmp_path, "status", {}) is None


@pytest.mark.parametrize(
    "said", [b"", b'{"row":{"a":1}}\n', b'{"row":{"a":1}}\n{"ro', b'{"row":{"a":1}}\n{"done"']
)
def test_a_daemon_that_goes_away_in_the_middle_is_unavailable(tmp_path: Path, said: bytes) -> None:
    server = socket.socket(socket.AF_UNIX)
    server.bind(os.path.relpath(tmp_path / control_client.SOCKET))
    server.listen()

    def hang_up() -> None:
        peer, _ = server.accept()
        peer.recv(65536)
        peer.sendall(said)
        peer.close()

    thread = threading.Thread(target=hang_up)
    thread.start()
    with server:
        rows = control_client.request(tmp_path, "status", {})
        assert rows is not None
        got: list[dict[str, Any]] = []
        with pytest.raises(UnavailableError):
            got.extend(iter(rows))
        thread.join()


def test_another_account_is_told_that_it_may_not(store: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can ask as another account: the refusal of a stranger is not tested here")
    code = (
        "import os, sys\nfrom pathlib import Path\n"
        "from umbridge.access import control_client\nfrom umbridge.errors import NotPermittedError\n"
        "os.setgroups([])\nos.setgid(65534)\nos.setuid(65534)\n"
        "try:\n    control_client.request(Path(sys.argv[1]), 'status', {})\n"
        "except NotPermittedError as exc:\n    print(exc)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(store)], capture_output=True, text=True, timeout=60, check=False
    )
    assert "may not speak to the daemon" in done.stdout, done.stderr

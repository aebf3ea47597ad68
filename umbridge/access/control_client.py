"""The control socket, a command's end: one question to the daemon, with the standard library alone."""

from __future__ import annotations

import contextlib
import json
import os
import socket
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, TYPE_CHECKING, TypeAlias, TypedDict

from umbridge.errors import (
    ConfigError,
    NotPermittedError,
    StoreError,
    UmbridgeError,
    UnavailableError,
    UsageError,
)

if TYPE_CHECKING:
    from umbridge_audit.entry import JsonValue

SOCKET = "control.sock"
Row: TypeAlias = "dict[str, JsonValue]"  # of an answer: its keys are docs/cli.md's
Args: TypeAlias = "Mapping[str, JsonValue]"


class Line(TypedDict, total=False):
    """One line of an answer: a row, or how it failed, or the end."""

    row: Row
    error: str
    exit: int


def row_in(value: JsonValue) -> Row:
    """An object inside an answer's row; an empty one where there is none."""
    return dict(value) if isinstance(value, dict) else {}


def rows_in(value: JsonValue) -> list[Row]:
    """The objects of a list inside an answer's row."""
    return [row_in(each) for each in value] if isinstance(value, list) else []


class Short:
    """A path to the socket that fits the kernel's 107 bytes wherever the store lies."""

    def __init__(self, store: Path) -> None:
        self._handle = os.open(store, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        self.path = f"/proc/self/fd/{self._handle}/{SOCKET}"

    def close(self) -> None:
        os.close(self._handle)


_ERRORS = {
    2: UsageError,
    69: UnavailableError,
    74: StoreError,
    77: NotPermittedError,
    78: ConfigError,
}


def request(store: Path, op: str, args: Args) -> Iterator[Row] | None:
    """Ask the running daemon; None when none listens. Raises the error the daemon answered with."""
    peer = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        if not (store / SOCKET).exists():
            peer.close()
            return None
        short = Short(store)
        try:
            peer.connect(short.path)
        finally:
            short.close()
    except PermissionError:
        peer.close()
        raise NotPermittedError(f"{store / SOCKET}: this account may not speak to the daemon") from None
    except OSError:
        peer.close()
        return None
    return _rows(peer, op, args)


def _rows(peer: socket.socket, op: str, args: Args) -> Iterator[Row]:
    with peer, peer.makefile("rb") as stream:
        for value in _lines(peer, stream, json.dumps({"op": op, "args": dict(args)}).encode() + b"\n"):
            if "row" in value:
                yield value["row"]
            elif "error" in value:
                kind = _ERRORS.get(value["exit"], UmbridgeError)
                raise kind(value["error"])
            else:
                return
    raise UnavailableError("the daemon closed the control socket before it had answered")


def _lines(peer: socket.socket, stream: IO[bytes], asked: bytes) -> Iterator[Line]:
    """The answer's lines; a connection that breaks, or breaks off inside a line, is an answer that ends."""
    with contextlib.suppress(ConnectionError):
        peer.sendall(asked)
    try:
        for line in stream:
            if not line.endswith(b"\n"):
                return
            yield json.loads(line)
    except ConnectionError:
        return

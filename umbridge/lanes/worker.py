"""The lane worker: a process of its own that folds and screens row after row, with its own plugin workers.

It holds no key, no store and no listening socket. It ends when the daemon's end of the socket closes, or with
the daemon. Signals meant for the daemon do not reach it: what is in hand is finished first.
"""

from __future__ import annotations

import contextlib
import ctypes
import dataclasses
import gc
import json
import os
import resource
import select
import signal
import socket
import sys
import time
from collections import deque
from collections.abc import Iterable
from pathlib import Path

from umbridge.errors import ConfigError
from umbridge.lanes.protocol import Failed, Frames, Health, Need, Task, answer_out, frame, task_in, unframe
from umbridge.lanes.underway import Begun, Underway
from umbridge.lanes.work import StayWork
from umbridge.screening.discover import Found
from umbridge.screening.host import Host
from umbridge.settings.site import load_site

IDLE_MS = 1000
TOGETHER = 16  # rows whose questions travel together: the first waits for the last of them
NICE = 10  # its plugins with it: where cores are short, the daemon answers senders first
AHEAD = 48  # rows made up while the plugins are busy
TIDY_SECONDS = 60.0
READ = 1 << 18
# Many small values live for one row: look for cycles among the young ones, leave the old for idle moments.
GC_THRESHOLD = (20_000, 20, 1_000_000)
_PR_SET_PDEATHSIG, _PR_SET_DUMPABLE, _PR_SET_NO_NEW_PRIVS = 1, 4, 38  # linux/prctl.h


def main(fd: int, parent: int) -> None:
    """Serve the socket ``fd`` until the daemon, process ``parent``, closes it or is gone."""
    _settle(parent)
    try:
        _run(fd)
    except (BrokenPipeError, ConnectionResetError):
        return
    except BaseException as exc:  # its type is all that may be said: a text can hold anything
        line = {"level": "error", "event": "library_message", "code": type(exc).__name__}
        print(json.dumps(line), file=sys.stderr)
        os._exit(1)


def _run(fd: int) -> None:
    wire = socket.socket(fileno=fd)
    frames = Frames()
    waiting = _bodies(wire, frames)
    if waiting is None:
        return
    asked, _ = unframe(waiting.pop(0))
    host = Host(call_seconds=asked["seconds"], required=asked["required"])
    try:
        site = load_site(Path(asked["site"]))
        if site.digest != asked["digest"]:
            raise ConfigError(f"{asked['site']}: changed while umbridge was starting; start it again")
        host.start_these(Found(**found) for found in asked["plugins"])
    except ConfigError as exc:
        wire.sendall(frame({"refused": str(exc)}))
        return
    try:
        roster = host.plugins
        wire.sendall(frame({"roster": [dataclasses.asdict(info) for info in roster]}))
        told = {info.name: info.health for info in roster}
        stay_work = StayWork(site, host, charsets=asked["charsets"], cache=asked["cache"])
        _serve(wire, frames, waiting, host, stay_work, told)
    finally:
        host.stop()


def _settle(parent: int) -> None:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    prctl = ctypes.CDLL(None, use_errno=True).prctl
    prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:  # it died before the line above could take effect
        os._exit(0)
    prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    os.nice(NICE)


def _serve(
    wire: socket.socket,
    frames: Frames,
    waiting: list[bytes],
    host: Host,
    stay_work: StayWork,
    told: dict[str, str],
) -> None:
    """Work what comes, in its order. While the plugins have some questions, the next rows are made up."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLD)
    poll = select.poll()
    poll.register(wire, select.POLLIN)
    tidied = time.monotonic()
    turns = _Turns(wire, stay_work)
    while True:
        turns.add(task_in(body) for body in waiting)
        waiting = []
        while turns.step(more=bool(poll.poll(0))):
            pass
        if not turns.busy:
            health = host.health()
            if health != told:
                told = health
                wire.sendall(answer_out(Health(health)))
            if not poll.poll(IDLE_MS):
                if time.monotonic() - tidied > TIDY_SECONDS:
                    gc.collect()
                    tidied = time.monotonic()
                continue
        more = _bodies(wire, frames)
        if more is None:
            return
        waiting = more


class _Turns:
    """Rows on their way through: waiting, folded in, with the plugins. Each stage keeps their order."""

    def __init__(self, wire: socket.socket, stay_work: StayWork) -> None:
        self._wire = wire
        self._stay_work = stay_work
        self._tasks: deque[Task] = deque()
        self._begun: deque[Begun | Need | Failed] = deque()
        self._asked: Underway | None = None

    @property
    def busy(self) -> bool:
        return bool(self._tasks or self._begun or self._asked)

    def add(self, tasks: Iterable[Task]) -> None:
        self._tasks.extend(tasks)

    def step(self, *, more: bool) -> bool:
        """Do one thing. False when there is nothing to do but to read what ``more`` there is."""
        if self._tasks and self._tasks[0].alone:
            while self._begun or self._asked:
                self._turn()  # whatever ends this process now is that row's doing
            self._wire.sendall(b"".join(map(answer_out, self._stay_work.work([self._tasks.popleft()]))))
        elif self._tasks and not self._full():
            self._begun.append(self._stay_work.begin(self._tasks.popleft()))
        elif not self._tasks and more:
            return False
        elif self._begun or self._asked:
            self._turn()
        else:
            return False
        return True

    def _full(self) -> bool:
        """Whether to make up another row would keep the plugins waiting, or too many others."""
        if len(self._begun) < TOGETHER:
            return False
        return self._asked is None or len(self._begun) >= AHEAD or self._stay_work.answered(self._asked)

    def _turn(self) -> None:
        """Hear the plugins out and give them the next questions, before anything else is done."""
        heard = None if self._asked is None else self._stay_work.heard(self._asked)
        self._asked = None
        if self._begun:
            together = [self._begun.popleft() for _ in range(min(TOGETHER, len(self._begun)))]
            self._asked = self._stay_work.ask(together)
        if heard is not None:
            self._wire.sendall(b"".join(map(answer_out, self._stay_work.finish(heard))))


def _bodies(wire: socket.socket, frames: Frames) -> list[bytes] | None:
    """The next whole frames, at least one; None when the daemon has closed its end."""
    while True:
        with contextlib.suppress(InterruptedError):
            data = wire.recv(READ)
            if not data:
                return None
            found = frames.feed(data)
            if found:
                return found


if __name__ == "__main__":
    main(*json.loads(sys.argv[1]))

"""The near end of one plugin's worker: start it, ask it one thing at a time, end it when it breaks the rules.

A worker that hangs, floods, dies or talks out of turn is killed and a fresh one is started for a later call,
after a pause that doubles while it keeps failing. No failure here ever reaches another plugin. Blocking code
for one thread: ``Asking`` asks several workers at once and waits for all of them in one poll.
"""

from __future__ import annotations

import secrets
import select
import time
from collections.abc import Sequence
from typing import TypeAlias

from umbridge.screening.frames import FRAME_LIMIT, Answer, Request, WireError, question, unframe
from umbridge.screening.package import ChangedError
from umbridge.screening.process import START_SECONDS, Link, PluginFailedError

_READ = 1 << 18

RECYCLE_CALLS = 10_000  # then a fresh worker: what a plugin keeps from call to call stays bounded


_GREET: Request = {"do": "greet"}


def start_all(links: Sequence[Link]) -> None:
    """Start every worker, side by side. One that cannot start is tried again when it is asked."""
    spawned: list[tuple[Link, Request]] = []
    for link in links:
        try:
            link._spawn()  # one module: links and those who ask them
        except (OSError, ChangedError) as exc:
            link._unable(exc)
        else:
            spawned.append((link, _GREET))
    _greet(spawned)


def _greet(spawned: Sequence[tuple[Link, Request]]) -> None:
    # who is given longer for an answer is given as long to start: it is as busy a machine
    talks = [_Talk(link, request, max(START_SECONDS, link.call_seconds)) for link, request in spawned]
    for (link, _), said in zip(spawned, _Hearing(talks).all(), strict=True):
        if not isinstance(said, PluginFailedError) and not link._greeted(said[0]):
            link._fail()


Said: TypeAlias = "tuple[Answer, int] | PluginFailedError"


class Asking:
    """Several workers asked at once, each once. Their answers are taken by ``wait``, whenever that is.

    A worker that is not there is started first. Each may take ``call_seconds``.
    """

    def __init__(self, asks: Sequence[tuple[Link, Request]]) -> None:
        self._asks = asks
        self._said: list[Said | None] = []
        starting: list[tuple[Link, Request]] = []
        for link, _ in asks:
            try:
                if not link._is_ready():
                    link._spawn()
                    starting.append((link, _GREET))
                self._said.append(None)
            except PluginFailedError as exc:
                self._said.append(exc)
            except (OSError, ChangedError) as exc:
                link._unable(exc)
                self._said.append(PluginFailedError("plugin_unavailable"))
        if starting:
            _greet(starting)
            for place, (link, _) in enumerate(asks):
                if self._said[place] is None and link._wire is None:
                    self._said[place] = PluginFailedError("plugin_unavailable")
        able = [ask for ask, said in zip(asks, self._said, strict=True) if said is None]
        self._hearing = _Hearing([_Talk(link, request, link.call_seconds) for link, request in able])

    def answered(self) -> bool:
        """Whether ``wait`` would return at once."""
        return self._hearing.look(block=False)

    def wait(self) -> list[Said]:
        """For each its answer and the microseconds until it was read, or why there is none."""
        heard = iter(self._hearing.all())
        found = [next(heard) if said is None else said for said in self._said]
        for (link, request), answer in zip(self._asks, found, strict=True):
            if not isinstance(answer, PluginFailedError):
                link._failures = 0
                link._calls += len(request.get("cases", ()))
                if link._calls >= RECYCLE_CALLS:
                    link._end()  # the next call starts another
                link._keep_spare()
        return found


def ask_all(asks: Sequence[tuple[Link, Request]]) -> list[Said]:
    """Ask and wait."""
    return Asking(asks).wait()


def repeat(link: Link, request: Request) -> Said:
    """The same request to a fresh worker, which takes the old one's place."""
    link._end()  # one module: links and those who ask them
    return ask_all([(link, request)])[0]


class _Talk:
    """One request under way."""

    __slots__ = ("began", "buffer", "deadline", "key", "link", "rest", "said", "seconds")

    def __init__(self, link: Link, request: Request, seconds: float) -> None:
        self.link = link
        self.key = secrets.token_hex(16)
        self.buffer = b""
        self.said: Said | None = None
        self.seconds = seconds
        self.began = 0
        self.deadline = 0.0
        try:
            self.rest = question({"id": self.key, **request})
        except WireError:
            self.rest = b""
            self.said = PluginFailedError("case_too_large")
            return
        self.began = time.perf_counter_ns()
        self.deadline = time.monotonic() + seconds
        self.write()

    def write(self) -> None:
        """Send what the socket takes."""
        wire = self.link._wire
        assert wire is not None  # noqa: S101  (callers have made it ready)
        try:
            self.rest = self.rest[wire.send(self.rest) :]
        except BlockingIOError:
            pass
        except OSError:
            self.failed("plugin_died")

    def read(self) -> None:
        """Take what is there; ``said`` is set once the answer is whole, or cannot be."""
        wire = self.link._wire
        assert wire is not None  # noqa: S101  (callers have made it ready)
        try:
            data = wire.recv(_READ)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self.failed("plugin_died")
            return
        buffer = self.buffer = self.buffer + data if self.buffer else data
        if len(buffer) < 4:
            return
        size = int.from_bytes(buffer[:4], "big")
        if size > FRAME_LIMIT:
            self.failed("plugin_reply_too_large")
        elif len(buffer) > size + 4:
            self.failed("plugin_reply_invalid")
        elif len(buffer) == size + 4:
            took = self.took()
            try:
                answer = unframe(buffer[4:])
            except WireError:
                answer = Answer()
            if answer.get("id") != self.key or len(answer) != 2:
                self.failed("plugin_reply_invalid")
            else:
                self.said = answer, took

    def took(self) -> int:
        return (time.perf_counter_ns() - self.began) // 1000

    def failed(self, code: str) -> None:
        """The rules are broken: this worker is not asked again."""
        self.said = PluginFailedError(code, self.took())
        self.link._fail()


class _Hearing:
    """Requests under way, listened to at once. What has come is read before anything is called late."""

    def __init__(self, talks: Sequence[_Talk]) -> None:
        self._talks = talks
        self._poll = select.poll()
        self._waiting: dict[int, _Talk] = {}
        for talk in talks:
            wire = talk.link._wire
            if talk.said is None and wire is not None:
                self._waiting[wire.fileno()] = talk
                self._poll.register(wire, select.POLLIN | select.POLLOUT if talk.rest else select.POLLIN)

    def all(self) -> list[Said]:
        """Wait for every answer."""
        while not self.look(block=True):
            pass
        return [_said(talk) for talk in self._talks]

    def look(self, *, block: bool) -> bool:
        """Take what has come, or with ``block`` what comes next; True when nothing is left to wait for."""
        waiting = self._waiting
        if not waiting:
            return True
        left = min(talk.deadline for talk in waiting.values()) - time.monotonic()
        moved = self._poll.poll(max(0.0, left) * 1000 if block else 0)
        for handle, event in moved:
            talk = waiting[handle]
            wire = talk.link._wire
            if event & select.POLLOUT and talk.rest:
                talk.write()
                if not talk.rest and wire is not None:
                    self._poll.modify(wire, select.POLLIN)
            if talk.said is None and event & ~select.POLLOUT:
                talk.read()
            if talk.said is not None:
                self._ended(handle)
        now, heard = time.monotonic(), {handle for handle, _ in moved}
        for handle, talk in list(waiting.items()):
            if now >= talk.deadline and (handle not in heard or now >= talk.deadline + talk.seconds):
                self._ended(handle)
                talk.failed("plugin_timeout")
        return not waiting

    def _ended(self, handle: int) -> None:
        self._poll.unregister(handle)
        del self._waiting[handle]


def _said(talk: _Talk) -> Said:
    assert talk.said is not None  # noqa: S101  (every talk has ended)
    return talk.said

"""One plugin's process: started, greeted, recycled and ended."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import time
from pathlib import Path

from umbridge.model import Manifest
from umbridge.screening.answer_codec import greeting_in
from umbridge.screening.boot import command
from umbridge.screening.discover import Found
from umbridge.screening.frames import Answer, WireError
from umbridge.screening.package import ChangedError, digest_of, kept
from umbridge.screening.sandbox import LEVELS, at_least

CALL_SECONDS = 2.0


START_SECONDS = 10.0


END_SECONDS = 5.0  # a killed process is gone in milliseconds; one that the kernel holds is left to it


PAUSE_SECONDS = (0.0, 0.25, 30.0)  # before the first restart; before the second, doubling; at most


SPARE_AFTER = 100  # calls: a short life needs no second worker


class PluginFailedError(Exception):
    """One call came to nothing, with a code of docs/hooks.md; ``took_us`` is 0 when it was never asked."""

    def __init__(self, code: str, took_us: int = 0) -> None:
        super().__init__(code)
        self.code = code
        self.took_us = took_us


class Link:
    """One plugin's worker. For one thread; see ``ask_all``."""

    def __init__(
        self, found: Found, *, call_seconds: float = CALL_SECONDS, required: str = "process-only"
    ) -> None:
        self.found, self.call_seconds, self.required = found, call_seconds, required
        self.name = found.name
        self.manifest: Manifest | None = None
        self.isolation = LEVELS[-1]  # until a worker has said more
        self.why = ""  # why there is no worker, in words for the operator
        self._calls = 0
        self._process: subprocess.Popen[bytes] | None = None
        self._wire: socket.socket | None = None
        self._spare: tuple[subprocess.Popen[bytes], socket.socket] | None = None
        self._failures = 0
        self._not_before = 0.0
        self._stopped = False

    @property
    def health(self) -> str:
        """running, restarting (it failed, or has not said what it is, and will be tried again) or stopped."""
        if self._stopped:
            return "stopped"
        return "running" if self.manifest is not None and self._is_quiet() else "restarting"

    @property
    def pid(self) -> int | None:
        """The worker's process id while it runs."""
        return None if self._process is None else self._process.pid

    def stop(self) -> None:
        """End the worker; later calls fail as plugin_unavailable."""
        self._stopped = True
        self._end()
        if self._spare is not None:
            (self._process, self._wire), self._spare = self._spare, None
            self._end()

    def _is_quiet(self) -> bool:
        """Whether a worker is there and has said nothing that it was not asked for."""
        if self._wire is None:
            return False
        try:
            self._wire.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return True
        except OSError:
            return False
        return False  # something out of turn, or the end of its stream

    def _is_ready(self) -> bool:
        """Whether it can be asked now; False when it must be started first. Raises PluginFailedError."""
        if self._stopped:
            raise PluginFailedError("plugin_unavailable")
        if self._is_quiet():
            return True
        if self._wire is not None:  # it ended, or spoke out of turn, between two calls
            self._fail()
        if time.monotonic() < self._not_before:
            raise PluginFailedError("plugin_unavailable")
        return False

    def _fail(self) -> None:
        """End this worker, and say when the next may be started."""
        self._end()
        self._failures += 1
        first, second, most = PAUSE_SECONDS
        pause = first if self._failures == 1 else min(most, second * 2 ** min(self._failures - 2, 20))
        self._not_before = time.monotonic() + pause

    def forgive(self) -> None:
        """Do not hold the last failure against it: the next worker may be started at once."""
        self._failures, self._not_before = 0, 0.0

    def _spawn(self) -> None:
        """Have a fresh process. Raises OSError, or ChangedError when its files are not those approved."""
        self._check()
        self._process, self._wire = self._spare or self._launch()
        self._spare = None

    def _keep_spare(self) -> None:
        """Start the next worker before it is needed: who asks need not wait for it then."""
        if self._spare is None and self._calls >= SPARE_AFTER and not self._stopped:
            with contextlib.suppress(OSError, ChangedError):  # told when it is needed
                self._check()
                self._spare = self._launch()

    def _check(self) -> None:
        if self.found.digest and digest_of(kept(Path(self.found.folder))) != self.found.digest:
            raise ChangedError("the files are not those that were approved")

    def _launch(self) -> tuple[subprocess.Popen[bytes], socket.socket]:
        ours, theirs = socket.socketpair()
        with theirs:
            try:
                process = subprocess.Popen(
                    command(self.found, theirs.fileno(), self.required),
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                    cwd="/",
                    env={},
                    pass_fds=(theirs.fileno(),),
                )
            except OSError:
                ours.close()
                raise
        ours.setblocking(False)
        return process, ours

    def _greeted(self, answer: Answer) -> bool:
        """Take the manifest; False where there is none or it is another one than before."""
        try:
            manifest, level, why = greeting_in(answer.get("greeting"), self.name)
        except WireError as exc:
            self.why = f"its manifest is outside the contract: {exc}"
            return False
        if manifest is None:
            self.why = why
            return False
        if not at_least(level, self.required):
            self.why = f"isolation is {level}, required is {self.required}"
            return False
        if self.manifest is not None and manifest != self.manifest:
            self.why = "its manifest is not the one it started with"
            return False
        self.manifest, self.isolation, self.why, self._calls = manifest, level, "", 0
        return True

    def _unable(self, exc: Exception) -> None:
        """It could not be started at all."""
        self.why = str(exc) if isinstance(exc, ChangedError) else f"cannot be started: {type(exc).__name__}"
        self._fail()

    def _end(self) -> None:
        process, self._process = self._process, None
        wire, self._wire = self._wire, None
        if process is not None:
            process.kill()
        if wire is not None:
            wire.close()
        if process is not None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(END_SECONDS)

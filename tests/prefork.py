"""Daemons forked from a process that has loaded umbridge already: loading is half of what a start costs.

Each is a process of its own, with the exit code, signals, output and working directory that it would have
had, and starts its lane worker and plugins as always. Not tried this way is loading: see decision 0103.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import json
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

PR_SET_PDEATHSIG = 1  # linux/prctl.h
LINE = 65536


class Forked:
    """What tests use of ``subprocess.Popen``, of a process whose parent is not the test's."""

    def __init__(self, peer: socket.socket, pid: int) -> None:
        self._peer = peer
        self.pid = pid
        self.returncode: int | None = None

    def poll(self) -> int | None:
        return self._heard(0)

    def wait(self, timeout: float | None = None) -> int:
        code = self._heard(timeout)
        if code is None:
            raise subprocess.TimeoutExpired("umbridge serve", timeout or 0.0)
        return code

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def _heard(self, timeout: float | None) -> int | None:
        if self.returncode is None:
            waiting = select.poll()
            waiting.register(self._peer, select.POLLIN)
            if waiting.poll(None if timeout is None else timeout * 1000):
                self.returncode = int(self._peer.recv(LINE))  # nothing: the process that forks has died
                self._peer.close()
        return self.returncode


class Loaded:
    """The process that has loaded it. It ends when this one closes its end, or dies."""

    def __init__(self) -> None:
        self._asking, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-P", __file__, json.dumps([theirs.fileno(), os.getpid()])],
                stdin=subprocess.DEVNULL,
                pass_fds=(theirs.fileno(),),
            )

    def fork(
        self, words: list[str], output: int, errors: int | None = None, *, folder: Path | None = None
    ) -> Forked:
        """``umbridge`` with these words; its streams go to the descriptors ``output`` and ``errors``."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            asked = json.dumps({"words": words, "folder": str(folder or Path.cwd())}).encode()
            socket.send_fds(
                self._asking, [asked], [theirs.fileno(), output, output if errors is None else errors]
            )
        return Forked(ours, int(ours.recv(LINE)))

    def run(self, words: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
        """The same to its end, in this folder."""
        with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
            code = self.fork(words, out.fileno(), err.fileno(), folder=folder).wait(120)
            out.seek(0)
            err.seek(0)
            return subprocess.CompletedProcess(words, code, out.read().decode(), err.read().decode())

    def close(self) -> None:
        self._asking.close()
        self._process.wait()


def environment() -> dict[str, str]:
    """What a process would inherit, but for the name of the test."""
    return {name: value for name, value in os.environ.items() if name != "PYTEST_CURRENT_TEST"}


def main(fd: int, parent: int) -> list[str] | None:
    """Fork for whoever asks on ``fd``. Returns in each child, with the words it is to obey."""
    dies_with_parent()
    if os.getppid() != parent:
        return None
    asked = socket.socket(fileno=fd)
    ended, note = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.set_wakeup_fd(note)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    children: dict[int, socket.socket] = {}
    gc.collect()
    gc.freeze()
    while True:
        ready, _, _ = select.select([asked, ended], [], [])
        if ended in ready:
            os.read(ended, LINE)
            for pid, peer in list(children.items()):
                gone, status = os.waitpid(pid, os.WNOHANG)
                if gone:
                    told(peer, os.waitstatus_to_exitcode(status))
                    del children[pid]
        if asked in ready:
            line, (*descriptors,), _, _ = socket.recv_fds(asked, LINE, 3)
            if not line:
                return None
            peer, output, errors = socket.socket(fileno=descriptors[0]), *descriptors[1:]
            request = json.loads(line)
            pid = os.fork()
            if not pid:
                dies_with_parent()  # a daemon that a failed test has left does not outlive the tests
                signal.set_wakeup_fd(-1)
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                for one in (asked, peer, *children.values()):
                    one.close()
                os.close(ended)
                os.close(note)
                os.dup2(output, 1)
                os.dup2(errors, 2)
                os.close(output)
                os.close(errors)
                os.chdir(request["folder"])
                words: list[str] = request["words"]
                return words
            os.close(output)
            os.close(errors)
            children[pid] = peer
            peer.send(b"%d" % pid)


def dies_with_parent() -> None:
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def told(peer: socket.socket, code: int) -> None:
    with peer, contextlib.suppress(OSError):  # whoever asked may not listen any more
        peer.send(b"%d" % code)


if __name__ == "__main__":
    from umbridge.commands import main as cli
    from umbridge.run import daemon  # noqa: F401  (what is loaded here is what need not be loaded again)

    obeyed = main(*json.loads(sys.argv[1]))
    if obeyed is not None:
        sys.argv[:] = ["umbridge", *obeyed]
        cli.main()

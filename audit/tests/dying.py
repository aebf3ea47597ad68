"""A child that dies at its Nth write, sync or rename: every system call that changes the disk, by ptrace.

Python's own calls and SQLite's in C are seen alike. x86-64 Linux; ``can_trace`` says whether it works here.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import platform
import signal
from collections.abc import Callable

_TRACEME, _PEEKUSER, _POKEUSER, _SYSCALL, _SETOPTIONS = 0, 3, 6, 24, 0x4200
_EXITKILL_AND_SYSGOOD = 0x100000 | 1
_SYSCALL_STOP = signal.SIGTRAP | 0x80
_DI, _SI, _DX, _ORIG_AX = 14 * 8, 13 * 8, 12 * 8, 15 * 8  # struct user_regs_struct
WRITES = {1: "write", 18: "pwrite64", 20: "writev", 296: "pwritev"}
OTHERS = {
    **{74: "fsync", 75: "fdatasync", 76: "truncate", 77: "ftruncate", 82: "rename", 83: "mkdir"},
    **{86: "link", 87: "unlink", 263: "unlinkat", 264: "renameat", 285: "fallocate", 316: "renameat2"},
    **{90: "chmod", 91: "fchmod"},
}
_OPENAT, _OPEN = 257, 2  # counted when they may make or empty a file
_MAKES = os.O_CREAT | os.O_TRUNC

_libc = ctypes.CDLL(None, use_errno=True)
_libc.ptrace.restype = ctypes.c_long
_libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]


def run(
    work: Callable[[Callable[[str], None]], None], nth: int, *, torn: bool = False
) -> tuple[list[str], str]:
    """Forks, runs ``work(promise)`` and kills it just before its ``nth`` change of the disk.

    Returns what it had promised and the call it died at, "" when it got through. ``torn``: a write there is
    done by half first; at a call that is no write it dies as without.
    """
    said_in, said_out = os.pipe()
    pid = os.fork()
    if pid == 0:
        with contextlib.suppress(BaseException):
            os.close(said_in)
            _libc.ptrace(_TRACEME, 0, None, None)
            os.kill(os.getpid(), signal.SIGSTOP)
            work(lambda word: _tell(said_out, word))
            os._exit(0)
        os._exit(1)
    os.close(said_out)
    try:
        died_at = _watch(pid, nth, said_out, torn=torn)
        with os.fdopen(said_in, "rb") as stream:
            promised = stream.read().decode().split()
    except BaseException:
        with contextlib.suppress(OSError):
            os.kill(pid, signal.SIGKILL)
        raise
    return promised, died_at


def _tell(out: int, word: str) -> None:
    os.write(out, f"{word}\n".encode())


def _watch(pid: int, nth: int, promises: int, *, torn: bool) -> str:
    _, status = os.waitpid(pid, 0)
    assert os.WIFSTOPPED(status), "the child cannot be traced"
    _libc.ptrace(_SETOPTIONS, pid, None, _EXITKILL_AND_SYSGOOD)
    count, entering, dying, passed = 0, True, "", 0
    while True:
        _libc.ptrace(_SYSCALL, pid, None, passed)
        _, status = os.waitpid(pid, 0)
        if os.WIFEXITED(status) or os.WIFSIGNALED(status):
            assert os.WIFEXITED(status) and os.WEXITSTATUS(status) == 0, "the child failed by itself"
            return ""
        passed = 0
        if os.WSTOPSIG(status) != _SYSCALL_STOP:
            passed = os.WSTOPSIG(status)
            continue
        if entering:
            name = _name(pid, promises)
            count += bool(name)
            if name and count == nth:
                if not (torn and name in WRITES.values()):
                    return _kill(pid, name)
                _libc.ptrace(_POKEUSER, pid, _DX, _libc.ptrace(_PEEKUSER, pid, _DX, None) // 2)
                dying = name
        elif dying:
            return _kill(pid, dying)
        entering = not entering


def _name(pid: int, promises: int) -> str:
    """The call the child is about to make, if it changes the disk."""
    number = _libc.ptrace(_PEEKUSER, pid, _ORIG_AX, None)
    if number in WRITES:
        return "" if _libc.ptrace(_PEEKUSER, pid, _DI, None) == promises else WRITES[number]
    if number in OTHERS:
        return OTHERS[number]
    flags = {_OPENAT: _DX, _OPEN: _SI}.get(number)
    if flags is not None and _libc.ptrace(_PEEKUSER, pid, flags, None) & _MAKES:
        return "open"
    return ""


def _kill(pid: int, name: str) -> str:
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    return name


def can_trace() -> bool:
    """Whether a child of ours can be traced here."""
    if platform.machine() != "x86_64" or platform.system() != "Linux":
        return False
    try:
        return run(lambda promise: promise("x"), 10**9) == (["x"], "")
    except (AssertionError, OSError):
        return False

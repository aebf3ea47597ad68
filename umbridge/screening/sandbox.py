"""Locks a worker down before the plugin is imported: what it may still read, and the few calls left to it.

By ctypes, with no dependency: limits, Landlock (the files it may read), then a seccomp allow-list (the system
calls that pure computing needs). Each layer is tried after it is put on, so that the level reported is one
that was seen to hold. No part of this needs root.
"""

from __future__ import annotations

import ctypes
import errno
import os
import resource
import signal
import struct
import sys
from collections.abc import Iterable
from typing import Any

LEVELS = ("full", "seccomp-only", "process-only")  # strongest first

MEMORY_BYTES = 512 << 20
OPEN_FILES = 16

# linux/prctl.h
_PR_SET_PDEATHSIG, _PR_SET_DUMPABLE, _PR_SET_SECCOMP, _PR_SET_NO_NEW_PRIVS = 1, 4, 22, 38

# linux/landlock.h. The three calls have one number on every architecture.
_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_READ_FILE, _READ_DIR = 1 << 2, 1 << 3
_PATH_BENEATH = 1
_FS_RIGHTS = {1: 13, 2: 14, 3: 15, 4: 15, 5: 16}  # ABI: how many rights it knows, counted from bit 0
_NET_RIGHTS = 0b11  # bind and connect TCP, since ABI 4
_SCOPES = 0b11  # abstract unix sockets and signals, since ABI 6

# linux/audit.h, linux/seccomp.h
_ARCHITECTURES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
_X32_BIT = 0x40000000
_KILL, _ALLOW, _REFUSE = 0x80000000, 0x7FFF0000, 0x00050000 | errno.EPERM
_LOAD, _EQUAL, _AT_LEAST, _ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06

# What computing, importing and answering need: (x86_64, aarch64); None where there is no such call. Not here,
# so refused: sockets, processes and threads, signals to others, memory of others, files made or changed.
CALLS: dict[str, tuple[int | None, int | None]] = {
    "read": (0, 63),
    "write": (1, 64),
    "close": (3, 57),
    "stat": (4, None),
    "fstat": (5, 80),
    "lstat": (6, None),
    "lseek": (8, 62),
    "mmap": (9, 222),
    "mprotect": (10, 226),
    "munmap": (11, 215),
    "brk": (12, 214),
    "rt_sigaction": (13, 134),
    "rt_sigprocmask": (14, 135),
    "rt_sigreturn": (15, 139),
    "pread64": (17, 67),
    "access": (21, None),
    "sched_yield": (24, 124),
    "mremap": (25, 216),
    "madvise": (28, 233),
    "nanosleep": (35, 101),
    "getpid": (39, 172),
    "exit": (60, 93),
    "uname": (63, 160),
    "getcwd": (79, 17),
    "readlink": (89, None),
    "gettimeofday": (96, 169),
    "getuid": (102, 174),
    "getgid": (104, 176),
    "geteuid": (107, 175),
    "getegid": (108, 177),
    "sigaltstack": (131, 132),
    "gettid": (186, 178),
    "time": (201, None),
    "futex": (202, 98),
    "getdents64": (217, 61),
    "restart_syscall": (219, 128),
    "clock_gettime": (228, 113),
    "clock_getres": (229, 114),
    "clock_nanosleep": (230, 115),
    "exit_group": (231, 94),
    "newfstatat": (262, 79),
    "readlinkat": (267, 78),
    "faccessat": (269, 48),
    "getrandom": (318, 278),
    "statx": (332, 291),
    "faccessat2": (439, 439),
}
OPENAT, FCNTL = (257, 56), (72, 25)  # allowed with some arguments only
_OPEN_TO_CHANGE = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | 0o20000000  # the last: __O_TMPFILE
_FCNTL_FROM = 4  # below lie F_DUPFD F_GETFD F_SETFD F_GETFL; F_SETFL, locks and owners are refused


def confine(parent: int, folders: Iterable[str] = (), files: Iterable[str] = ()) -> str:
    """Lock this process down for good; returns the level reached, one of ``LEVELS``.

    ``parent`` is the daemon's process id: if it is gone, this process ends. ``folders`` and ``files`` stay
    readable beside the standard library, and nothing else does. Nothing can be written.
    """
    if not sys.platform.startswith("linux"):
        _limits()
        return "process-only"
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:  # it died before the line above could take effect
        os._exit(0)
    libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    libc.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
    library = os.path.dirname(os.__file__)  # noqa: PTH120  (pathlib is not needed before the plugin)
    closed = _landlock(libc, [library, os.path.join(library, "lib-dynload"), *folders], files)  # noqa: PTH118
    _limits()
    filtered = _seccomp(libc)
    if not filtered:
        return "process-only"
    return "full" if closed else "seccomp-only"


def _limits() -> None:
    wanted = {
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_AS: MEMORY_BYTES,
        resource.RLIMIT_FSIZE: 0,
        resource.RLIMIT_NOFILE: OPEN_FILES,
        resource.RLIMIT_NPROC: 0,
    }
    for limit, most in wanted.items():
        hard = resource.getrlimit(limit)[1]
        least = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(limit, (least, least))


# --- Landlock: which files ------------------------------------------------------------------------------


def landlock_abi() -> int:
    """The version of Landlock in this kernel; 0 where there is none or it is switched off."""
    if not sys.platform.startswith("linux"):
        return 0
    return max(0, int(ctypes.CDLL(None).syscall(_CREATE_RULESET, None, ctypes.c_size_t(0), 1)))


def _landlock(libc: Any, folders: Iterable[str], files: Iterable[str]) -> bool:
    """Everything the kernel's Landlock knows is denied but reading below these. Returns whether it holds."""
    abi = landlock_abi()
    if not abi:
        return False
    rights = [(1 << _FS_RIGHTS[min(abi, max(_FS_RIGHTS))]) - 1]
    if abi >= 4:
        rights.append(_NET_RIGHTS)
    if abi >= 6:
        rights.append(_SCOPES)
    attributes = struct.pack(f"={len(rights)}Q", *rights)
    ruleset = libc.syscall(_CREATE_RULESET, attributes, ctypes.c_size_t(len(attributes)), 0)
    if ruleset < 0:
        return False
    try:
        for path, allowed in (
            *((folder, _READ_FILE | _READ_DIR) for folder in folders),
            *((file, _READ_FILE) for file in files),
        ):
            try:
                place = os.open(path, os.O_PATH | os.O_CLOEXEC)
            except OSError:
                continue  # what is not there need not be readable
            try:
                rule = struct.pack("=Qi", allowed, place)
                if libc.syscall(_ADD_RULE, ruleset, _PATH_BENEATH, rule, 0):
                    return False
            finally:
                os.close(place)
        if libc.syscall(_RESTRICT_SELF, ruleset, 0):
            return False
    finally:
        os.close(ruleset)
    return _refused(lambda: os.close(os.open("/", os.O_RDONLY | os.O_DIRECTORY)), errno.EACCES)


# --- seccomp: which calls -------------------------------------------------------------------------------


def program(machine: str) -> list[tuple[int, int, int, int]]:
    """The filter for an architecture as (code, jump if true, jump if false, constant). Raises KeyError."""
    column = list(_ARCHITECTURES).index(machine) if machine in _ARCHITECTURES else -1
    steps = [(_LOAD, 0, 0, 4), (_EQUAL, 1, 0, _ARCHITECTURES[machine]), (_RETURN, 0, 0, _KILL)]
    steps.append((_LOAD, 0, 0, 0))
    if machine == "x86_64":  # its x32 numbers would pass a check of the architecture alone
        steps += [(_AT_LEAST, 0, 1, _X32_BIT), (_RETURN, 0, 0, _KILL)]
    for number, argument, test, value in (
        (OPENAT[column], 2, _ANY_BIT, _OPEN_TO_CHANGE),
        (FCNTL[column], 1, _AT_LEAST, _FCNTL_FROM),
    ):
        steps += [(_EQUAL, 0, 4, number), (_LOAD, 0, 0, 16 + 8 * argument)]
        steps += [(test, 0, 1, value), (_RETURN, 0, 0, _REFUSE), (_RETURN, 0, 0, _ALLOW)]
    for numbers in CALLS.values():
        if (call := numbers[column]) is not None:
            steps += [(_EQUAL, 0, 1, call), (_RETURN, 0, 0, _ALLOW)]
    return [*steps, (_RETURN, 0, 0, _REFUSE)]


def _seccomp(libc: Any) -> bool:
    """Refuse every call that is not in ``CALLS``, with EPERM. Returns whether it holds."""
    machine = os.uname().machine
    if machine not in _ARCHITECTURES or struct.calcsize("P") != 8 or sys.byteorder != "little":
        return False
    steps = program(machine)
    code = ctypes.create_string_buffer(b"".join(struct.pack("=HBBI", *step) for step in steps))
    wanted = struct.pack("@HP", len(steps), ctypes.addressof(code))
    if libc.prctl(_PR_SET_SECCOMP, 2, ctypes.c_char_p(wanted), 0, 0):
        return False
    return libc.syscall(_NUMBER_OF_GETPPID[machine]) == -1 and ctypes.get_errno() == errno.EPERM


_NUMBER_OF_GETPPID = {"x86_64": 110, "aarch64": 173}  # harmless and not allowed: shows that the filter holds


def _refused(attempt: Any, with_errno: int) -> bool:
    try:
        attempt()
    except OSError as exc:
        return exc.errno == with_errno
    return False


def at_least(level: str, required: str) -> bool:
    """Whether ``level`` is as strong as ``required``. A word that is no level is weaker than all."""
    return level in LEVELS and LEVELS.index(level) <= LEVELS.index(required)

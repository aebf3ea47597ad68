"""The sandbox: the filter read as the kernel reads it, and each attack tried with it and without it."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from umbridge.screening import sandbox
from umbridge.screening.sandbox import CALLS, FCNTL, LEVELS, OPENAT, at_least, program

ROOT = Path(__file__).parents[1]
MACHINES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
ALLOW, EPERM, KILL = 0x7FFF0000, 0x00050001, 0x80000000
LINUX = sys.platform.startswith("linux")
FULL = LINUX and sandbox.landlock_abi() > 0 and os.uname().machine in MACHINES
only_full = pytest.mark.skipif(
    not FULL, reason="this kernel cannot do the full sandbox: attacks on it are NOT tested here"
)


# --- the filter, interpreted ----------------------------------------------------------------------------


def verdict(machine: str, number: int, *arguments: int, architecture: int | None = None) -> int:
    """What the filter says of one call: a classic BPF machine in ten lines."""
    arch = MACHINES[machine] if architecture is None else architecture
    words = {0: number, 4: arch}
    for i, value in enumerate((*arguments, 0, 0, 0, 0, 0, 0)[:6]):
        words[16 + 8 * i], words[20 + 8 * i] = value & 0xFFFFFFFF, value >> 32
    steps, at, loaded = program(machine), 0, 0
    while True:
        code, true, false, k = steps[at]
        if code == 0x20:
            loaded, jump = words[k], 0
        elif code == 0x06:
            return k
        else:
            holds = {0x15: loaded == k, 0x35: loaded >= k, 0x45: bool(loaded & k)}[code]
            jump = true if holds else false
        at += 1 + jump


@pytest.mark.parametrize("machine", MACHINES)
@given(st.integers(0, 2**32 - 1) | st.integers(0, 500))
@example(0x40000000)
@example(0x40000000 | 39)
@settings(max_examples=300, deadline=None)
def test_what_is_not_on_the_list_is_refused(machine: str, number: int) -> None:
    column = list(MACHINES).index(machine)
    allowed = {numbers[column] for numbers in CALLS.values()} | {OPENAT[column], FCNTL[column]}
    expected = ALLOW if number in allowed else EPERM
    if machine == "x86_64" and number >= 0x40000000:
        expected = KILL  # x32: another set of numbers under the same architecture
    assert verdict(machine, number) == expected
    assert verdict(machine, number, architecture=MACHINES["x86_64"] ^ 2) == KILL


@pytest.mark.parametrize("machine", MACHINES)
def test_a_file_is_opened_to_be_read_or_not_at_all(machine: str) -> None:
    number = OPENAT[list(MACHINES).index(machine)]
    for flags in (os.O_RDONLY, os.O_RDONLY | os.O_CLOEXEC, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC):
        assert verdict(machine, number, 0, 0, flags) == ALLOW
    for flags in (os.O_WRONLY, os.O_RDWR, os.O_CREAT, os.O_TRUNC, os.O_TMPFILE | os.O_RDWR, 0o20000000):
        assert verdict(machine, number, 0, 0, flags) == EPERM
        assert verdict(machine, number, flags, flags, 0) == ALLOW  # it is the third argument that counts


@pytest.mark.parametrize("machine", MACHINES)
def test_fcntl_may_look_and_no_more(machine: str) -> None:
    import fcntl

    number = FCNTL[list(MACHINES).index(machine)]
    for command in (fcntl.F_DUPFD, fcntl.F_GETFD, fcntl.F_SETFD, fcntl.F_GETFL):
        assert verdict(machine, number, 0, command) == ALLOW
    for command in (fcntl.F_SETFL, fcntl.F_SETLK, fcntl.F_SETOWN, fcntl.F_SETPIPE_SZ, fcntl.F_ADD_SEALS):
        assert verdict(machine, number, 0, command) == EPERM


HEADERS = {
    "x86_64": ("/usr/include/x86_64-linux-gnu/asm/unistd_64.h", r"#define __NR_(\w+) (\d+)"),
    "aarch64": ("/usr/include/asm-generic/unistd.h", r"#define __NR(?:3264)?_(\w+) (\d+)"),
}


@pytest.mark.parametrize("machine", MACHINES)
def test_the_numbers_are_the_kernels(machine: str) -> None:
    path, line = HEADERS[machine]
    if not Path(path).is_file():
        pytest.skip(f"no {path}: the system call numbers of {machine} are not compared here")
    theirs = {name: int(number) for name, number in re.findall(line, Path(path).read_text())}
    column = list(MACHINES).index(machine)
    generic = {"newfstatat": "fstatat"} if machine == "aarch64" else {}
    for name, numbers in {**CALLS, "openat": OPENAT, "fcntl": FCNTL}.items():
        if numbers[column] is not None:
            assert theirs[generic.get(name, name)] == numbers[column], name
        elif machine == "aarch64":
            assert name not in theirs or name in ("stat", "lstat"), name


def test_levels_are_ordered_and_a_made_up_one_is_weaker_than_all() -> None:
    for i, level in enumerate(LEVELS):
        assert [at_least(level, other) for other in LEVELS] == [j >= i for j in range(3)]
        assert not at_least("FULL", level) and not at_least("", level)


# --- attacks --------------------------------------------------------------------------------------------

# Each is tried by plugin code against a daemon whose process id it is *given*: one that has to ask for it
# could be refused for the wrong reason. `secret` is a file of the daemon's own account, `folder` is its own.
ATTACKS: dict[str, str] = {
    "tcp connect": "socket.create_connection(('127.0.0.1', port), 5)",
    "udp send": "socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'x', ('127.0.0.1', port))",
    "abstract unix socket": "socket.socket(socket.AF_UNIX).connect(abstract)",
    "listen": "socket.create_server(('127.0.0.1', 0))",
    "netlink": "socket.socket(16, 3, 0)",
    "socket pair": "socket.socketpair()",
    "read a system file": "open('/etc/passwd').read()",
    "read the account's file": "open(secret).read()",
    "read through a link": "open(folder + '/link').read()",
    "read its own environment": "open('/proc/self/environ').read()",
    "list a folder": "os.listdir(folder)",
    "write a file": "open(folder + '/new', 'w').write('x')",
    "append to a file": "open(secret, 'a').write('x')",
    "write to /dev/shm": "shm = f'/dev/shm/zz{os.getpid()}'; open(shm, 'w').close(); os.unlink(shm)",
    "a temporary file": "os.close(os.open(folder, os.O_TMPFILE | os.O_RDWR))",
    "truncate": "os.truncate(folder + '/victim', 0)",
    "unlink": "os.unlink(folder + '/victim')",
    "rename": "os.rename(folder + '/victim2', folder + '/victim3')",
    "make a folder": "os.mkdir(folder + '/made')",
    "make a link": "os.symlink(secret, folder + '/made-link')",
    "make a hard link": "os.link(secret, folder + '/hard')",
    "make a fifo": "os.mkfifo(folder + '/fifo')",
    "chmod": "os.chmod(folder, 0o777)",
    "chdir": "os.chdir(folder)",
    "subprocess": "subprocess.run(['/bin/true'], check=True)",
    "os.system": "ok(os.system('exit 0'))",
    "fork": "pid = os.fork() or os._exit(0); os.waitpid(pid, 0)",
    "exec": "os.execv('/nonexistent-but-searched', ['x'])",
    "a thread": "t = threading.Thread(target=print); t.start(); t.join()",
    "signal the daemon": "os.kill(daemon, 0)",
    "stop the daemon": "os.kill(daemon, signal.SIGCONT)",
    "a signal through pidfd": "os.close(os.pidfd_open(daemon))",
    "ptrace": "call(SEIZE, 0x4206, daemon, 0, 0)",
    "read the daemon's memory": "vm_read()",
    "io_uring": "call(425, 8, ctypes.create_string_buffer(256))",
    "memfd": "os.close(os.memfd_create('x'))",
    "bpf": "call(BPF, 0, ctypes.create_string_buffer(128), 128)",
    "userfaultfd": "call(USERFAULT, 0)",
    "a key ring": "call(ADD_KEY, b'user', b'zz', b'x', ctypes.c_size_t(1), -3)",
    "the daemon's environment": "open(f'/proc/{daemon}/environ', 'rb').read()",
    "the daemon's memory file": "open(f'/proc/{daemon}/mem', 'rb').close()",
    "the daemon's maps": "open(f'/proc/{daemon}/maps').read()",
    "the daemon's descriptors": "os.listdir(f'/proc/{daemon}/fd')",
    "the daemon's command line": "open(f'/proc/{daemon}/cmdline').read()",
    "a descriptor of the daemon's": "os.readlink(f'/proc/{daemon}/fd/0')",
    "more memory": "(ctypes.c_char * (2 << 30))()",
    "higher limits": "resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))",
    "the daemon's limits": "resource.prlimit(daemon, resource.RLIMIT_NOFILE)",
    "priority": "os.nice(1)",
    "who else is there": "os.getppid() == daemon or die()",
    "adjust the clock": "time.clock_gettime(0); call(ADJTIMEX, ctypes.create_string_buffer(512))",
    "a namespace": "call(UNSHARE, 0x10000000)",  # last: in a new one the others would fail
}
# What the kernel or its settings may refuse to anybody; the control cannot succeed there and is counted.
DEPENDS = {
    "io_uring",
    "userfaultfd",
    "bpf",
    "ptrace",
    "read the daemon's memory",
    "a namespace",
    "exec",
    "a key ring",
}

TRIES = """
import ctypes, errno, json, os, resource, signal, socket, subprocess, sys, threading, time
libc = ctypes.CDLL(None, use_errno=True)
X86 = os.uname().machine == "x86_64"
SEIZE, VM_READ, BPF = (101, 310, 321) if X86 else (117, 270, 280)
USERFAULT, UNSHARE, ADD_KEY, ADJTIMEX = (323, 272, 248, 159) if X86 else (282, 97, 217, 171)
def call(number, *arguments):
    ctypes.set_errno(0)
    found = libc.syscall(number, *arguments)
    if found < 0: raise OSError(ctypes.get_errno(), "call")
def ok(status):
    if status != 0: raise OSError(errno.EPERM, "status")
def die(): raise OSError(errno.EPERM, "not the daemon's")
def vm_read():
    into = ctypes.create_string_buffer(8)
    class Iovec(ctypes.Structure): _fields_ = [("at", ctypes.c_void_p), ("size", ctypes.c_size_t)]
    ours, theirs = Iovec(ctypes.addressof(into), 8), Iovec(where, 8)
    call(VM_READ, daemon, ctypes.byref(ours), 1, ctypes.byref(theirs), 1, 0)
def attempt(code):
    try: exec(code, globals())
    except OSError as exc: return errno.errorcode.get(exc.errno, "?")
    except BaseException as exc: return type(exc).__name__
    return "done"
"""


@pytest.fixture
def target(tmp_path: Path) -> Any:
    """What is attacked: this process stands for the daemon."""
    import ctypes

    folder = tmp_path / "folder"
    folder.mkdir()
    for name in ("victim", "victim2", "secret"):
        (folder / name).write_text("ZZTEST")
    (folder / "link").symlink_to(folder / "secret")
    memory = ctypes.create_string_buffer(b"ZZTEST!!")
    abstract = f"\0zz-{os.getpid()}"
    with socket.create_server(("127.0.0.1", 0)) as server, socket.socket(socket.AF_UNIX) as unix:
        unix.bind(abstract)
        unix.listen()
        yield {
            "daemon": os.getpid(),
            "where": ctypes.addressof(memory),
            "port": server.getsockname()[1],
            "abstract": abstract,
            "folder": str(folder),
            "secret": str(folder / "secret"),
        }


def tried(target: dict[str, Any], confined: bool, attacks: dict[str, str] = ATTACKS) -> dict[str, str]:
    """Try every attack in one process, started as workers are; what came of each, by name."""
    lock = "confine(os.getppid())" if confined else "'none'"
    script = (
        f"import sys; sys.path.extend({[str(ROOT), *sys.path]!r})\n"
        "from umbridge.screening.sandbox import confine\n"
        f"{TRIES}\nglobals().update({target!r})\nout = os.dup(1)\nlevel = {lock}\n"
        f"found = {{name: attempt(code) for name, code in {attacks!r}.items()}}\n"
        "os.write(out, json.dumps([level, found]).encode())\nos._exit(0)\n"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-B", "-c", script], capture_output=True, env={}, check=True, timeout=120
    )
    level, found = json.loads(done.stdout[done.stdout.index(b'["') :])
    assert level == ("full" if confined else "none")
    return found


REFUSED = {"EPERM", "EACCES", "MemoryError", "RuntimeError", "PermissionError", "ValueError"}


@only_full
def test_every_attack_is_refused_and_would_succeed_without_the_sandbox(target: dict[str, Any]) -> None:
    confined = tried(target, confined=True)
    assert {name: what for name, what in confined.items() if what not in REFUSED} == {}
    assert confined["more memory"] == "MemoryError"
    assert confined["a thread"] == "RuntimeError"
    left = {path.name: path.read_text() for path in Path(target["folder"]).iterdir()}
    assert left == dict.fromkeys(("victim", "victim2", "secret", "link"), "ZZTEST")  # nothing was changed
    free = tried(target, confined=False)
    assert {name: what for name, what in free.items() if what != "done" and name not in DEPENDS} == {}


@only_full
def test_landlock_alone_and_seccomp_alone_each_hold(target: dict[str, Any]) -> None:
    """Two walls: with either one left out, what the other is for is still refused."""
    files = {
        name: ATTACKS[name] for name in ("read the account's file", "read a system file", "write a file")
    }
    calls = {name: ATTACKS[name] for name in ("tcp connect", "fork", "write a file", "memfd", "truncate")}
    for missing, attacks, level in (
        ("_seccomp", files, "process-only"),
        ("_landlock", calls, "seccomp-only"),
    ):
        script = (
            f"import sys; sys.path.extend({[str(ROOT), *sys.path]!r})\n"
            "from umbridge.screening import sandbox\n"
            f"sandbox.{missing} = lambda *a: False\n"
            f"{TRIES}\nglobals().update({target!r})\nlevel = sandbox.confine(os.getppid())\n"
            f"found = {{name: attempt(code) for name, code in {attacks!r}.items()}}\n"
            "os.write(1, json.dumps([level, found]).encode())\n"
        )
        done = subprocess.run(
            [sys.executable, "-I", "-S", "-B", "-c", script], capture_output=True, check=True, timeout=120
        )
        said, found = json.loads(done.stdout)
        assert said == level  # and never more than was reached
        assert set(found.values()) <= REFUSED, (missing, found)


@only_full
def test_an_x32_call_ends_the_process() -> None:
    if os.uname().machine != "x86_64":
        pytest.skip("x32 numbers exist on x86_64 only")
    script = (
        f"import sys; sys.path.extend({[str(ROOT), *sys.path]!r}); import ctypes, os;"
        "from umbridge.screening.sandbox import confine; confine(os.getppid());"
        "ctypes.CDLL(None).syscall(0x40000000 | 39)"
    )
    done = subprocess.run([sys.executable, "-I", "-S", "-c", script], check=False, timeout=60)
    assert done.returncode == -signal.SIGSYS


@only_full
def test_what_a_plugin_may_do_still_works(tmp_path: Path) -> None:
    """Later imports from the standard library, its own files, time, random numbers, big allocations."""
    own = tmp_path / "own"
    own.mkdir()
    (own / "content.toml").write_text("a = 1")
    script = (
        f"import sys; sys.path.extend({[str(ROOT), *sys.path]!r}); import os\n"
        f"from umbridge.screening.sandbox import confine; level = confine(os.getppid(), [{str(own)!r}])\n"
        "import array, csv, datetime, decimal, fractions, json, pathlib, random, statistics, time, uuid\n"
        f"own = pathlib.Path({str(own)!r})\n"
        "text = (own / 'content.toml').resolve().read_text()\n"
        "found = [sorted(os.listdir(own)), text, len(bytearray(20 << 20)),"
        " random.SystemRandom().random() < 1, time.time() > 0, str(decimal.Decimal('1.10') * 2)]\n"
        "time.sleep(0.001)\n"
        "print(json.dumps([level, found]))\n"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-B", "-c", script], capture_output=True, check=True, timeout=120
    )
    assert json.loads(done.stdout) == ["full", [["content.toml"], "a = 1", 20 << 20, True, True, "2.20"]]


@only_full
@pytest.mark.skipif(os.geteuid() != 0, reason="not root: another account cannot be taken to try it as nobody")
def test_it_needs_no_privilege() -> None:
    """As nobody, with no capability: the same level. The source lies where it may be read."""
    import shutil

    python = shutil.which("python3", path="/usr/bin:/usr/local/bin")
    place = Path("/tmp") / f"zz-umbridge-{os.getpid()}"  # noqa: S108  (tmp_path is closed to others)
    place.mkdir()
    try:
        place.chmod(0o755)  # whatever umask a command run in this process has left
        Path(shutil.copyfile(ROOT / "umbridge/screening/sandbox.py", place / "sandbox.py")).chmod(0o644)
        script = (
            f"import sys, os; sys.path.append({str(place)!r}); import sandbox;"
            "os.write(1, sandbox.confine(os.getppid()).encode())"
        )
        if python is None:
            pytest.skip("no system python that nobody may run: the sandbox is not tried as nobody")
        done = subprocess.run(
            [python, "-I", "-S", "-B", "-c", script],
            capture_output=True,
            check=True,
            timeout=60,
            user=65534,
            cwd="/",
        )
        assert done.stdout == b"full"
    finally:
        shutil.rmtree(place)

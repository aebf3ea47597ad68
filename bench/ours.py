"""Our own daemon, made and started as a user would, and what a load costs it: time, CPU, disk."""

from __future__ import annotations

import json
import os
import re
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.load import ticker
from umbridge.access import control_client
from umbridge.store import durability

START_SECONDS = 30.0
DRAIN_SECONDS = 60.0
TICK = os.sysconf("SC_CLK_TCK")
LOAD = Path(__file__).with_name("load.py")


class BenchFailedError(Exception):
    """What was to be measured did not run; the text says where to look."""


def umbridge(*words: str, python: str = sys.executable) -> subprocess.CompletedProcess[str]:
    """One umbridge command, as typed. -P: the code is the interpreter's, not that of the folder we are in."""
    return subprocess.run(
        [python, "-P", str(Path(python).with_name("umbridge")), *words],
        capture_output=True,
        text=True,
        env=_environment(),
        check=False,
    )


def _environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name != "UMBRIDGE_CONFIG"}


def generate(port: int, *, later: bool = False, **options: float) -> dict[str, Any]:
    """Run the generator in a process of its own; its report. Raises BenchFailedError when it had none."""
    words = [f"--{name}={value}" for name, value in options.items()] + ["--later"] * later
    done = subprocess.run(
        [sys.executable, str(LOAD), f"--port={port}", "--json", *words],
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
    if not done.stdout:
        raise BenchFailedError(f"the load generator ended with {done.returncode}")
    report: dict[str, Any] = json.loads(done.stdout)
    return report


def cpu_seconds(pid: int) -> tuple[float, float]:
    """(CPU of the process and its dead children, CPU of its living descendants), from /proc/PID/stat."""
    parents: dict[int, int] = {}
    spent: dict[int, float] = {}
    own = 0.0
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            fields = (entry / "stat").read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()
        except OSError:
            continue  # it ended while we looked
        number = int(entry.name)
        parents[number] = int(fields[1])
        spent[number] = sum(map(int, fields[11:13])) / TICK
        if number == pid:
            own = sum(map(int, fields[11:15])) / TICK
    family, grown = {pid}, True
    while grown:
        more = {child for child, parent in parents.items() if parent in family} - family
        family |= more
        grown = bool(more)
    return own, sum(spent.get(member, 0.0) for member in family - {pid})


def machine_seconds() -> tuple[float, float]:
    """(CPU spent by everybody, CPU there was) since boot, from the first line of /proc/stat."""
    line = Path("/proc/stat").read_text(encoding="ascii").split("\n", 1)[0].split()
    ticks = list(map(int, line[1:9]))  # user nice system idle iowait irq softirq steal
    return (sum(ticks) - ticks[3] - ticks[4]) / TICK, sum(ticks) / TICK


@dataclass(frozen=True, slots=True)
class Ours:
    """A running daemon on a throw-away store."""

    folder: Path
    pid: int
    port: int

    @property
    def store(self) -> Path:
        return self.folder / "store"

    def status(self) -> dict[str, Any]:
        """What ``umbridge status --json`` prints, over the same socket."""
        rows = control_client.request(self.store, "status", {})
        found = next(iter(rows), None) if rows is not None else None
        if found is None:
            raise BenchFailedError(f"the daemon is gone; see {self.folder}/daemon.log")
        return found

    def determinations(self) -> int:
        """How many determinations are on the ledger. Counted in the store: asking would be an access."""
        with closing(sqlite3.connect(f"file:{self.store}/umbridge.db?mode=ro", uri=True)) as connection:
            return int(connection.execute("SELECT count(*) FROM determination").fetchone()[0])

    def disk_bytes(self) -> int:
        """Store without the WAL, which is bounded and not kept."""
        return sum(path.stat().st_size for path in self.store.glob("*.db"))

    def measure(self, *, count: int, later: bool = False, **options: float) -> dict[str, Any]:
        """One load, from its first message until no row waits any more. Seconds, counts, CPU."""
        before, cpu_before, all_before = self.status(), cpu_seconds(self.pid), machine_seconds()
        determined_before = self.determinations()
        wire = generate(self.port, count=count, later=later, **options)
        began = wire.pop("began")  # the same clock in every process of this machine
        drained = self._drain(before["messages"], count)
        ended = time.perf_counter()
        cpu, everybody = cpu_seconds(self.pid), machine_seconds()
        daemon, workers = cpu[0] - cpu_before[0], cpu[1] - cpu_before[1]
        whole = ended - began
        mine = daemon + workers + wire["generator_cpu_us_per_message"] * count / 1e6
        others = (everybody[0] - all_before[0] - mine) / max(everybody[1] - all_before[1], 1e-9)
        made = self.determinations() - determined_before
        return {
            **wire,
            "worked_seconds": round(whole, 3),
            "worked_per_second": round(count / whole, 1),
            "drain_seconds": round(whole - wire["seconds"], 3),
            "others_cpu_percent": round(max(0.0, others) * 100),
            "states": drained,
            "determined_per_second": round(drained.get("DETERMINED", 0) / whole, 1),
            "determinations": made,
            "determinations_per_second": round(made / whole, 1),
            "cpu_ms_per_message": round((daemon + workers) / count * 1000, 3),
            "daemon_cpu_ms_per_message": round(daemon / count * 1000, 3),
            "worker_cpu_ms_per_message": round(workers / count * 1000, 3),
        }

    def _drain(self, before: dict[str, int], count: int) -> dict[str, int]:
        """Wait until no row is PENDING; the states this load's rows ended in."""
        until = time.monotonic() + DRAIN_SECONDS
        show = ticker("determined", count)
        while pending := self.status()["messages"].get("PENDING", 0):
            if time.monotonic() > until:
                raise BenchFailedError(f"{pending} messages were not worked within {DRAIN_SECONDS:.0f} s")
            show(max(0, count - pending) // 64 * 64)
            time.sleep(min(0.5, max(0.02, pending / 4000)))  # asking costs the daemon time too
        show(count)
        now = self.status()["messages"]
        return {state: n - before.get(state, 0) for state, n in now.items() if n != before.get(state, 0)}


@contextmanager
def running(folder: Path, plugins: Sequence[str] = (), python: str = sys.executable) -> Iterator[Ours]:
    """``umbridge init`` and ``umbridge serve`` on a free port; SIGTERM at the end, which must exit 0.

    ``plugins``: ask these alone; otherwise all that are installed, as ``init`` sets it up. ``python``: whose
    code is run.
    """
    made = umbridge("init", str(folder), "--org", "zz-bench", python=python)
    if made.returncode:
        raise BenchFailedError(f"umbridge init: {made.stderr.strip()}")
    settings = folder / "umbridge.toml"
    text, changed = re.subn(r"(?m)^port = 2575\b", "port = 0", settings.read_text(encoding="utf-8"), count=1)
    if not changed:
        raise BenchFailedError(f"{settings}: no port to change")
    if plugins:
        text, changed = re.subn(r"(?m)^names = \[\]", f"names = {json.dumps(list(plugins))}", text, count=1)
        if not changed:
            raise BenchFailedError(f"{settings}: no list of plugins to change")
    if durability.weakness(folder):
        text = text.replace('store = "store"', 'store = "store"\nstore_not_durable = "I accept"', 1)
    settings.write_text(text, encoding="utf-8")
    with (folder / "daemon.log").open("wb") as log:
        process = subprocess.Popen(
            [python, "-P", str(Path(python).with_name("umbridge")), "serve", "--config", str(settings)],
            stdout=log,
            stderr=log,
            env=_environment(),
        )
    try:
        yield Ours(folder, process.pid, _port(process, folder))
        process.send_signal(signal.SIGTERM)
        code = process.wait(START_SECONDS)
        if code:
            raise BenchFailedError(f"the daemon ended with {code}; see {folder}/daemon.log")
    finally:
        process.kill()
        process.wait()


def _port(process: subprocess.Popen[bytes], folder: Path) -> int:
    until = time.monotonic() + START_SECONDS
    while time.monotonic() < until and process.poll() is None:
        rows = control_client.request(folder / "store", "status", {})
        found = next(iter(rows), None) if rows is not None else None
        if found and found["feeds"] and found["feeds"][0]["port"]:
            return int(found["feeds"][0]["port"])
        time.sleep(0.05)
    lines = (folder / "daemon.log").read_text(encoding="utf-8", errors="replace").splitlines()
    raise BenchFailedError(f"the daemon did not start: {lines[-1] if lines else 'nothing in its log'}")


def verify(folder: Path) -> dict[str, Any]:
    """``umbridge ledger verify --json`` on the store the load has left."""
    done = umbridge("ledger", "verify", "--json", "--config", str(folder / "umbridge.toml"))
    if done.returncode not in (0, 3):
        raise BenchFailedError(f"umbridge ledger verify ended with {done.returncode}: {done.stdout.strip()}")
    report: dict[str, Any] = json.loads(done.stdout)
    return report

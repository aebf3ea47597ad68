"""Throughput and latency on this machine, ours and the peers' on the same feed in one run (``make bench``).

Everything runs on loopback in a throw-away directory; the generator shares the machine with what it measures.
Prints a table and writes bench/figures.json.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import os
import platform
import shutil
import signal
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench import answer, beside, lane, ours
from bench.load import quantile, ticker

ROOT = Path(__file__).resolve().parents[1]
FIGURES = Path(__file__).with_name("figures.json")
PEERS = Path(__file__).with_name("peers.py")
CONNECTIONS = 8
WIDE = 32  # by then a commit takes in many frames, and CPU decides instead of the disk
RATE = 200
PACE = 400  # of messages that are all determined: the goal for two plugins
# Numbers of the first stay of each load: none may meet another's, or its messages would be repeats.
FIRST = {
    "warm": 0,
    "small": 100_000,
    "burst": 200_000,
    "rate": 300_000,
    "large": 400_000,
    "paced": 500_000,
    "wide": 600_000,
}
BLOCK = 1000  # the same load on a store of 1,000 messages and again on one ten times as large
BURST = 5000
LANE = (10, 10_000)
LEVEL_OF_CARE = ("interqual_like", "mcg_like")


def say(text: str) -> None:
    """Progress, for a person at a terminal."""
    if sys.stderr.isatty():
        print(f"… {text}", file=sys.stderr, flush=True)


# -- where -----------------------------------------------------------------------------------------------


def machine(folder: Path) -> dict[str, Any]:
    """What the figures were taken on, the disk's sync included: without it they mean nothing."""
    return {
        "cpu": cpu_model(),
        "cores": len(os.sched_getaffinity(0)),
        "system": f"{platform.system()} {platform.release()}",
        "python": f"{platform.python_version()} of {sys.base_prefix}",  # how it was built counts
        "sqlite": sqlite3.sqlite_version,
        "filesystem": _filesystem(folder),
        **_sync_ms(folder),
        "sha256_1kb_us": _hash_us(),
        "load_average_at_start": round(os.getloadavg()[0], 2),
    }


def cpu_model() -> str:
    for line in Path("/proc/cpuinfo").read_text(encoding="ascii", errors="replace").splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _filesystem(folder: Path) -> str:
    """The type of the file system that holds the folder: on tmpfs a sync costs nothing and proves nothing."""
    best, kind = "", "unknown"
    for line in Path("/proc/mounts").read_text(encoding="utf-8", errors="replace").splitlines():
        _, place, found = line.split()[:3]
        if folder.resolve().is_relative_to(place) and len(place) >= len(best):
            best, kind = place, found
    return kind


def _sync_ms(folder: Path, count: int = 200) -> dict[str, float]:
    """Milliseconds of appending 2 KiB and fdatasync: the median, and what nine of ten stay below."""
    took = []
    handle = os.open(folder / "sync", os.O_CREAT | os.O_WRONLY, 0o600)
    try:
        for _ in range(count):
            began = time.perf_counter()
            os.write(handle, b"\0" * 2048)
            os.fdatasync(handle)
            took.append(time.perf_counter() - began)
    finally:
        os.close(handle)
        (folder / "sync").unlink()
    took.sort()
    return {
        "fdatasync_ms": round(statistics.median(took) * 1000, 3),
        "fdatasync_p90_ms": round(quantile(took, 0.9) * 1000, 3),
    }


def _hash_us(count: int = 20_000) -> float:
    """CPU µs of SHA-256 over 1 kB: how fast a core is at what the ledger does most."""
    data = b"\0" * 1000
    began = time.process_time()
    for _ in range(count):
        hashlib.sha256(data).digest()
    return round((time.process_time() - began) / count * 1e6, 3)


def commit() -> str:
    """The commit measured; "+" where the working tree had changes to the product."""

    def git(*words: str) -> str:
        done = subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True, check=False)  # noqa: S607
        return done.stdout.strip()

    changed = git(
        "status", "--porcelain", "--untracked-files=no", "umbridge", "audit", "plugins", "bench/*.py"
    )
    return (git("rev-parse", "--short", "HEAD") or "no commit") + ("+" if changed else "")


# -- measuring -------------------------------------------------------------------------------------------


def measure_ours(folder: Path) -> dict[str, Any]:
    """Our daemon, every figure from one store that grows from nothing to more than 10,000 messages."""
    found: dict[str, Any] = {}
    with ours.running(folder) as daemon:
        found["plugins"] = [plugin["plugin"] for plugin in daemon.status()["plugins"]]
        say("warming up")
        daemon.measure(connections=CONNECTIONS, count=200, first=FIRST["warm"])
        found["stored_before_small"] = sum(daemon.status()["messages"].values())
        say(f"{BLOCK:,} messages on a small store")
        small = daemon.measure(connections=CONNECTIONS, count=BLOCK, first=FIRST["small"])
        burst = _bounded(BURST, small, 20)
        say(f"{burst:,} messages over {CONNECTIONS} connections, then until none waits")
        found |= {
            "small": small,
            "burst": daemon.measure(connections=CONNECTIONS, count=burst, first=FIRST["burst"]),
        }
        screened = burst // 4  # there are stays for so many
        say(f"{screened:,} messages that every plugin is asked about")
        found["screened"] = daemon.measure(
            connections=CONNECTIONS, count=screened, first=FIRST["burst"], later=True
        )
        say(f"{burst:,} messages over {WIDE} connections")
        found["wide"] = daemon.measure(connections=WIDE, count=burst, first=FIRST["wide"])
        found["paced"] = measure_paced(daemon, burst)
        say(f"{RATE} messages a second, open loop")
        found["rate"] = daemon.measure(
            connections=CONNECTIONS, count=RATE * 15, first=FIRST["rate"], rate=RATE
        )
        found["stored_before_large"] = sum(daemon.status()["messages"].values())
        say(f"{BLOCK:,} messages on a store ten times as large")
        found["large"] = daemon.measure(connections=CONNECTIONS, count=BLOCK, first=FIRST["large"])
        found["stored"] = sum(daemon.status()["messages"].values())
        found["memory_mb"] = _memory_mb(daemon.pid)
        say("stopping")
    found["store_bytes_per_message"] = round(daemon.disk_bytes() / found["stored"])
    say("verifying the ledger this has left")
    found["ledger"] = {k: v for k, v in ours.verify(folder).items() if k in ("verdict", "entries", "seconds")}
    return found


def measure_paced(daemon: ours.Ours, count: int) -> dict[str, Any]:
    """A quarter of ``count`` messages that are all determined, as they would come all day."""
    say(f"{count:,} messages, then {count // 4:,} that every plugin is asked about, {PACE} a second")
    daemon.measure(connections=CONNECTIONS, count=count, first=FIRST["paced"])
    return daemon.measure(
        connections=CONNECTIONS, count=count // 4, first=FIRST["paced"], later=True, rate=PACE
    )


def measure_two(folder: Path, small: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The same determined loads with the two level-of-care plugins alone, on a store of its own."""
    with ours.running(folder, LEVEL_OF_CARE) as daemon:
        daemon.measure(connections=CONNECTIONS, count=200, first=FIRST["warm"])
        count = _bounded(BURST, small, 20)
        say(f"{count:,} messages, then {count // 4:,} that {' and '.join(LEVEL_OF_CARE)} are asked about")
        daemon.measure(connections=CONNECTIONS, count=count, first=FIRST["burst"])
        options = {"connections": CONNECTIONS, "count": count // 4, "first": FIRST["burst"]}
        return daemon.measure(**options, later=True), measure_paced(daemon, count)


def _bounded(count: int, seen: dict[str, Any], seconds: float) -> int:
    """So many messages, or what a slower machine works in about so many seconds: the bench stays short."""
    return max(BLOCK // 2, min(count, int(seen["worked_per_second"] * seconds) // 100 * 100))


def _memory_mb(pid: int) -> float:
    """Resident memory of the daemon alone, without its workers."""
    pages = int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1])
    return round(pages * os.sysconf("SC_PAGE_SIZE") / 1e6, 1)


@contextmanager
def python_hl7() -> Iterator[tuple[int, int]]:
    """python-hl7's server in a process of its own; its pid and port."""
    process = subprocess.Popen([sys.executable, str(PEERS), "python-hl7"], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield process.pid, int(process.stdout.readline())
        process.send_signal(signal.SIGTERM)
        process.wait(10)
    finally:
        process.kill()
        process.communicate()


def measure_python_hl7(count: int) -> dict[str, Any]:
    with python_hl7() as (pid, port):
        ours.generate(port, connections=CONNECTIONS, count=100, first=FIRST["warm"])
        before = ours.cpu_seconds(pid)[0]
        report = ours.generate(port, connections=CONNECTIONS, count=count, first=FIRST["burst"])
        report.pop("began")
        report["cpu_ms_per_message"] = round((ours.cpu_seconds(pid)[0] - before) / count * 1000, 3)
    return report


def measure_hl7apy(seconds: float) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, str(PEERS), "hl7apy", "--seconds", str(seconds)],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    report: dict[str, Any] = json.loads(done.stdout)
    return report


# -- saying ----------------------------------------------------------------------------------------------


def ratios(figures: dict[str, Any]) -> dict[str, float]:
    """What the run is for: our figures over the peers', and the same work at ten times the data."""
    own, peer, parser = figures["umbridge"], figures["python_hl7"], figures["hl7apy"]
    burst = own["burst"]
    wide = (
        {"accepted_wide_over_hl7apy": _over(own["wide"]["per_second"], parser["per_second"])}
        if "wide" in own
        else {}
    )
    return {
        **wide,
        "accepted_over_python_hl7": _over(burst["per_second"], peer["per_second"]),
        "accepted_over_hl7apy": _over(burst["per_second"], parser["per_second"]),
        "worked_over_hl7apy": _over(burst["worked_per_second"], parser["per_second"]),
        "determined_over_python_hl7": _over(own["screened"]["determined_per_second"], peer["per_second"]),
        "cpu_large_over_small": _over(own["large"]["cpu_ms_per_message"], own["small"]["cpu_ms_per_message"]),
        "fold_long_over_short": figures["lane"]["fold_ratio"],
        "message_long_over_short": figures["lane"]["message_ratio"],
    }


def _over(one: float, other: float) -> float:
    return round(one / other, 2) if other else math.inf


def lines(figures: dict[str, Any]) -> list[str]:
    """The table, at most 100 columns wide."""
    own, peer, parser = figures["umbridge"], figures["python_hl7"], figures["hl7apy"]
    where, ratio, long = figures["machine"], figures["ratios"], figures["lane"]
    burst, screened, rate = own["burst"], own["screened"], own["rate"]
    small, large = own["small"], own["large"]

    def row(who: str, what: str, speed: float, cpu: float, by: float) -> str:
        return f"{who:<11}{what:<49}{speed:>10,.0f}{cpu:>13.2f}{by:>15.1f} ×"

    return [
        f"umbridge bench, {figures['date']}, commit {figures['commit']}",
        f"{where['cpu']}, {where['cores']} cores, {where['system']}, Python {where['python']}, "
        f"SQLite {where['sqlite']}",
        *_met(
            where,
            f"others used {burst['others_cpu_percent']} % of the cores, the generator {_generator(burst)}",
        ),
        f"sample feed of ADT, ORM and ORU, {burst['mean_bytes']} bytes a message; {CONNECTIONS} connections",
        "",
        f"{'':<60}{'messages/s':>10}{'CPU ms each':>13}{'over hl7apy':>17}",
        row("hl7apy", "parses, no more, one core", parser["per_second"], parser["cpu_ms_per_message"], 1.0),
        row(
            "python-hl7",
            "parses and answers; keeps nothing",
            peer["per_second"],
            peer["cpu_ms_per_message"],
            _over(peer["per_second"], parser["per_second"]),
        ),
        row(
            "umbridge",
            "answers: stored, synced, on the ledger",
            burst["per_second"],
            burst["cpu_ms_per_message"],
            ratio["accepted_over_hl7apy"],
        ),
        *(
            row(
                "umbridge",
                f"the same over {WIDE} connections",
                own["wide"]["per_second"],
                own["wide"]["cpu_ms_per_message"],
                ratio["accepted_wide_over_hl7apy"],
            )
            for _ in ("wide",)
            if "wide" in own  # a run of before that was measured has none
        ),
        row(
            "umbridge",
            "the same feed, until no message waits",
            burst["worked_per_second"],
            burst["cpu_ms_per_message"],
            ratio["worked_over_hl7apy"],
        ),
        *(
            row(
                "umbridge",
                f"determined: {plugins} plugins asked, {how}",
                own[load]["determined_per_second"],
                own[load]["cpu_ms_per_message"],
                _over(own[load]["determined_per_second"], parser["per_second"]),
            )
            for plugins, load, how in (
                (len(LEVEL_OF_CARE), "two", "all sent at once"),
                (len(LEVEL_OF_CARE), "two_paced", f"sent at {PACE}/s"),
                (len(own["plugins"]), "screened", "all sent at once"),
                (len(own["plugins"]), "paced", f"sent at {PACE}/s"),
            )
        ),
        "",
        f"over python-hl7's server: answers {ratio['accepted_over_python_hl7']:.2f} ×, determined "
        f"{ratio['determined_over_python_hl7']:.2f} ×",
        f"the feed: {_ended(burst)}",
        f"  CPU a message: {_shares(burst)}; of the determined ones: {_shares(screened)}",
        *_answer_path(figures),
        f"answers at {RATE}/s, from the moment each was due: p50 {rate['p50_ms']:.1f}, "
        f"p99 {rate['p99_ms']:.1f}, p99.9 {rate['p999_ms']:.1f}, longest {rate['max_ms']:.1f} ms",
        f"  worked {rate['drain_seconds']:.1f} s after the last answer; the generator itself was late by "
        f"{rate['generator_lag_p99_ms']:.1f} ms (p99)",
        f"not accepted: {_errors(own)} of ours, {peer['errors'] or 'none'} of python-hl7's; "
        f"hl7apy refused {parser['failed']}",
        "",
        "as data grows",
        f"  {BLOCK:,} messages on a store of {own['stored_before_small']:,} and of "
        f"{own['stored_before_large']:,}: CPU {small['cpu_ms_per_message']:.2f} / "
        f"{large['cpu_ms_per_message']:.2f} ms each = {ratio['cpu_large_over_small']:.2f} ×,",
        f"    answers {small['per_second']:,.0f} / {large['per_second']:,.0f} a second",
        f"  one stay, its message after {LANE[0]} and after {LANE[1]:,}: fold {_pair(long, 'fold')},",
        f"    all before the plugins {_pair(long, 'message')}",
        f"  store {own['store_bytes_per_message']:,} bytes a message; daemon {own['memory_mb']:.0f} MB",
        f"ledger {own['ledger']['verdict']}, {own['ledger']['entries']:,} entries verified in "
        f"{own['ledger']['seconds']:.1f} s; the whole bench took {figures['seconds']:.0f} s",
    ]


def _generator(load: dict[str, Any]) -> str:
    return f"{load['generator_cpu_us_per_message']:.0f} µs a message"


def _met(where: dict[str, Any], meanwhile: str) -> list[str]:
    """Disk, a core, other load. A run of before all of them were taken has the disk's median alone."""
    if "sha256_1kb_us" not in where:
        return [f"{where['filesystem']}, fdatasync {where['fdatasync_ms']} ms; meanwhile {meanwhile}"]
    return [f"{where['filesystem']}, {_speeds(where)}", f"meanwhile {meanwhile}"]


def _speeds(where: dict[str, Any]) -> str:
    return (
        f"fdatasync p50 {where['fdatasync_ms']}, p90 {where['fdatasync_p90_ms']} ms, "
        f"SHA-256 of 1 kB {where['sha256_1kb_us']} µs"
    )


def _answer_path(figures: dict[str, Any]) -> list[str]:
    """Intake and writer alone; a run of before they were measured has no such line."""
    return [
        f"  intake and writer alone, {frames} messages a commit: {each['cpu_us']:.0f} µs CPU and "
        f"{each['wal_bytes'] / 1000:.1f} kB of log each"
        for frames, each in figures.get("answer", {}).items()
    ]


def _ended(load: dict[str, Any]) -> str:
    states = ", ".join(f"{count:,} {state}" for state, count in sorted(load["states"].items()))
    return f"{states}, {load['determinations']:,} determinations"


def _shares(load: dict[str, Any]) -> str:
    daemon, workers = load["daemon_cpu_ms_per_message"], load["worker_cpu_ms_per_message"]
    return f"{daemon:.2f} daemon + {workers:.2f} workers"


def _pair(long: dict[str, float], what: str) -> str:
    short, far = (long[f"{what}_us_after_{length}"] for length in LANE)
    return f"{short:,.0f} / {far:,.0f} µs = {long[f'{what}_ratio']:.2f} ×"


def _errors(own: dict[str, Any]) -> str:
    found: dict[str, int] = {}
    for load in ("small", "burst", "screened", "wide", "paced", "rate", "large", "two", "two_paced"):
        for word, count in own.get(load, {"errors": {}})["errors"].items():
            found[word] = found.get(word, 0) + count
    return ", ".join(f"{count} {word}" for word, count in sorted(found.items())) or "none"


def measure_beside(checkout: Path, rounds: int) -> int:
    """The other mode: no peers and no file, this checkout and another in turn."""
    try:
        with tempfile.TemporaryDirectory(prefix="umbridge-bench-") as folder:
            where = machine(Path(folder))
        told = [f"{where['cpu']}, {where['cores']} cores, {where['filesystem']}", _speeds(where)]
        return beside.main(checkout, told, say, rounds)
    except ours.BenchFailedError as exc:
        print(f"bench: {exc}", file=sys.stderr)
        return 1


def main(words: Sequence[str] | None = None) -> int:
    """Exit 0 when everything ran and every message was accepted and worked; 1 when not."""
    parser = argparse.ArgumentParser(prog="bench/run.py", description="Ours and the peers on one feed.")
    parser.add_argument("--keep", metavar="DIR", help="keep store and daemon log in DIR, to look at")
    parser.add_argument("--out", default=str(FIGURES), metavar="FILE", help="figures as JSON")
    parser.add_argument(
        "--against", type=Path, metavar="DIR", help="another checkout with its own .venv, in turn"
    )
    parser.add_argument(
        "--rounds", type=int, default=beside.ROUNDS, help="of that, how often each is measured"
    )
    asked = parser.parse_args(words)
    if asked.against is not None:
        return measure_beside(asked.against, asked.rounds)
    began = time.monotonic()
    folder = Path(asked.keep or tempfile.mkdtemp(prefix="umbridge-bench-"))
    folder.mkdir(parents=True, exist_ok=True)
    figures: dict[str, Any] = {
        "date": datetime.now(UTC).date().isoformat(),
        "commit": commit(),
        "machine": machine(folder),
    }
    try:
        figures["umbridge"] = measure_ours(folder / "ours")
        own = figures["umbridge"]
        own["two"], own["two_paced"] = measure_two(folder / "two", own["small"])
        say("python-hl7's server on the same feed")
        figures["python_hl7"] = measure_python_hl7(3000)
        say("hl7apy's parser on the same feed")
        figures["hl7apy"] = measure_hl7apy(12)
        say("intake and writer alone")
        (figures["answer"],) = answer.compare(
            [sys.executable], answer.COUNT, answer.FRAMES, 0, 3, answer.cache()
        )
        say("one lane, short and long")
        figures["lane"] = lane.cost(LANE, ticker("folded", LANE[1]))
    except ours.BenchFailedError as exc:
        print(f"bench: {exc}", file=sys.stderr)
        return 1
    finally:
        if not asked.keep:
            shutil.rmtree(folder, ignore_errors=True)
    figures["ratios"] = ratios(figures)
    figures["seconds"] = round(time.monotonic() - began, 1)
    Path(asked.out).write_text(json.dumps(figures, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    print("\n".join(lines(figures)))
    return 1 if _errors(figures["umbridge"]) != "none" else 0


if __name__ == "__main__":
    sys.exit(main())

"""What the ledger costs: append, verify at each level, bundle lines, receipts, bytes (``make ledgerbench``).

Figures are entries a second of processor time on one core, because the machine may be shared. They come with
the machine and a calibration: SHA-256 over 1 kB, by the same interpreter in the same minute. The last column
is the cost of an entry in such hashes, which carries over better than a rate does.

Each level, and appending to what is there, runs in a process of its own, so that its peak memory is its own.
With ``--keep FOLDER`` a ledger is built once and measured again and again; of several sizes the last lines
say what an entry costs in the largest over the smallest.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))  # run as a file, it finds the tree it is part of

from umbridge_audit.bundle import verify_bundle
from umbridge_audit.checkpoint import anchor_lines
from umbridge_audit.disclose import Viewer
from umbridge_audit.entry import Draft, Receipt
from umbridge_audit.export import export
from umbridge_audit.keys import Keyring
from umbridge_audit.policy import Policy
from umbridge_audit.proof import verify_receipt
from umbridge_audit.redact import AccessTable
from umbridge_audit.store import Ledger, open_readonly
from umbridge_audit.store.receipts import take_receipt
from umbridge_audit.verify import verify

from bench.run import cpu_model

FIGURES = Path(__file__).with_name("ledger.txt")
GROUP = 256
MORE = 10_240  # entries appended to a ledger that is there, to see what one costs
TURNS = 20  # how often two ledgers are measured in turn
ROUNDS_OF = 80_000  # entries verified at least, in a few rounds, where the ledger is small
LINES_UP_TO = 200_000  # a bundle of a million entries takes minutes and says nothing new
GOALS = {
    "append": 2_000,
    "spine": 50_000,
    "keyless": 12_000,
    "full": 5_000,
    "bundle lines": 2_500,
    "receipts": 2_500,
}
EVIDENCE = [
    {"fact": name, "value": value, "unit": unit, "at": f"2026-03-02T{hour:02}:40:00-05:00"}
    for hour, (name, value, unit) in enumerate(
        [("bun", "28", "mg/dL"), ("spo2", "88", "%"), ("resp_rate", "31", "/min"), ("sbp", "88", "mm[Hg]")]
    )
]


def drafts(n: int) -> Draft:
    """Ten entries in turn: five messages, three determinations, a review, a look. Invented patients."""
    if n % 10 in (1, 4, 8):
        return Draft(
            "determination",
            {
                "actor": "umbridge",
                "state": "FINAL",
                "row": n,
                "control_id": f"ZZTEST{n:08}",
                "message_digest": "ab" * 32,
                "plugin": "interqual_like",
                "plugin_version": "0.1.0",
                "subset": "acute_adult_pneumonia",
                "edition": "2026.1",
                "content_digest": "cd" * 32,
                "review": "ADMISSION",
                "review_id": f"r{n:08}",
                "isolation": "process-only",
                "latency_us": 1200,
                "visit": f"ZZVN{n:08}",
                "mrn": f"ZZMRN{n:08}",
                "outcome": "MEETS",
                "requested_status": "INPATIENT",
                "supported": "INPATIENT",
                "episode_day": 1,
                "missing": [],
                "rationale": "Hypoxia on room air and tachypnoea; CURB-65 of 3 supports the acute level.",
                "evidence": EVIDENCE,
                "scores": {"CURB-65": 3},
                "as_of": "2026-03-02T22:40:00-05:00",
                "payer_class": "MEDICARE_FFS",
                "tags": [],
            },
        )
    if n % 10 == 6:
        return Draft(
            "review.changed",
            {"actor": "umbridge", "state": "OPEN", "row": n, "review": "ADMISSION", "visit": f"ZZVN{n:08}"},
        )
    if n % 10 == 9:
        return Draft(
            "access.read",
            {
                "actor": "zz",
                "outcome": "allowed",
                "account": "zz",
                "roles": ["ur_nurse"],
                "auth": "peer",
                "purpose": "HPAYMT",
                "reason": "review of the day",
                "request": "read",
                "query": "stays show",
                "count": 1,
                "revealed": "ops:* ident:* clin:* fin:payer_class",
                "policy_hash": "ef" * 32,
                "patient": f"ZZVN{n:08}",
            },
        )
    return Draft(
        "message.received",
        {
            "actor": "umbridge",
            "feed": "adt",
            "state": "PENDING",
            "row": n,
            "control_id": f"ZZTEST{n:08}",
            "message_type": "ADT^A01",
            "sender": "ZZREG|GENHOSP",
            "version": "2.5.1",
            "digest": "ab" * 32,
            "ack": "AA",
        },
    )


@dataclass
class Site:
    """A ledger on disk, with what is needed to read it."""

    folder: Path
    policy: Policy
    append_cpu: float
    append_wall: float
    appended: int
    entries: int

    @property
    def db(self) -> Path:
        return self.folder / "umbridge.db"

    @property
    def keys(self) -> Path:
        return self.folder / "keys"

    @property
    def anchor(self) -> Path:
        return self.folder / "ledger.anchor"


def make(folder: Path, entries: int) -> None:
    """A ledger of so many entries; `made.json` and `policy` beside it say that it is whole."""
    keyring = Keyring.create(folder / "keys")
    with writer(folder) as connection:
        ledger = Ledger.create(
            connection,
            keyring,
            org="genhosp",
            chain="bench",
            facility="ZZ",
            software="bench",
            anchor=folder / "ledger.anchor",
        )
        cpu, wall = append(connection, ledger, 0, entries)
        (folder / "policy").write_text(ledger.policy_text())
    made = {"cpu": cpu, "wall": wall, "appended": entries}
    (folder / "made.json").write_text(json.dumps(made))


@contextmanager
def writer(folder: Path) -> Iterator[sqlite3.Connection]:
    """The store as the daemon opens it: WAL, and every commit synced."""
    with closing(sqlite3.connect(folder / "umbridge.db", isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode=wal")
        connection.execute("PRAGMA synchronous=FULL")
        yield connection


def append(connection: sqlite3.Connection, ledger: Ledger, start: int, count: int) -> tuple[float, float]:
    """Group commits with FULL sync, a checkpoint every 4,096 entries, as a busy second has; processor seconds
    and seconds on the wall."""
    cpu, wall = time.process_time(), time.monotonic()
    for low in range(0, count, GROUP):
        connection.execute("BEGIN IMMEDIATE")
        ledger.append([drafts(start + n) for n in range(low, min(low + GROUP, count))])
        connection.execute("COMMIT")
        if low % 4096 == 0:
            ledger.checkpoint()
    ledger.checkpoint()
    return time.process_time() - cpu, time.monotonic() - wall


def site_of(folder: Path) -> Site:
    made = json.loads((folder / "made.json").read_text())
    policy = Policy.read((folder / "policy").read_text())
    with open_readonly(folder / "umbridge.db") as source:
        return Site(folder, policy, made["cpu"], made["wall"], made.get("appended", 0), source.length())


def hash_ns() -> float:
    """Nanoseconds of SHA-256 over 1 kB, the best of five rounds."""
    data = bytes(1000)
    best = float("inf")
    for _ in range(5):
        began = time.process_time()
        for _ in range(20_000):
            sha256(data).digest()
        best = min(best, (time.process_time() - began) / 20_000)
    return best * 1e9


def timed(work: Callable[[], object]) -> float:
    """Processor seconds of this process and of those it started and waited for."""

    def used() -> float:
        mine, theirs = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
        return mine.ru_utime + mine.ru_stime + theirs.ru_utime + theirs.ru_stime

    before = used()
    work()
    return used() - before


def one_level(site: Site, level: Any, jobs: int, progress: Callable[[int], None] | None = None) -> None:
    """Verifies the whole store, which must PASS."""
    keyring = Keyring.open(site.keys) if level == "full" else None
    with open_readonly(site.db, keyring) as source:
        report = verify(
            source,
            site.policy,
            level=level,
            keyring=keyring,
            anchor_notes=anchor_lines(site.anchor),
            jobs=jobs,
            progress=progress,
        )
    assert (report.verdict, report.entries) == ("PASS", site.entries), report.problems


def grow(site: Site) -> float:
    """Processor seconds an entry for MORE entries on top of those that are there."""
    with writer(site.folder) as connection:
        ledger = Ledger.open(connection, Keyring.open(site.keys), anchor=site.anchor)
        connection.rollback()
        append(connection, ledger, site.entries, GROUP)  # warm
        return append(connection, ledger, site.entries, MORE)[0] / MORE


def child(site: Site, what: str, jobs: int) -> None:
    """One measurement, in this process alone: seconds an entry, the best of some rounds, and peak memory."""
    if what == "append":
        seconds = grow(site)
    else:
        rounds = max(1, min(8, ROUNDS_OF // site.entries))
        seconds = min(timed(lambda: one_level(site, what, jobs)) for _ in range(rounds)) / site.entries
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"seconds": seconds, "peak_rss_mib": peak}))


def in_turn(large: Site, small: Site, what: str) -> tuple[float, float]:
    """Seconds an entry in the large and in the small ledger, a piece of one and then of the other: a shared
    machine is now fast and now slow, and both must have had the same of it."""
    costs: list[tuple[float, float]] = []
    if what == "append":
        with ExitStack() as stack:
            writers = []
            for site in (large, small):
                connection = stack.enter_context(writer(site.folder))
                ledger = Ledger.open(connection, Keyring.open(site.keys), anchor=site.anchor)
                connection.rollback()
                append(connection, ledger, site.entries, 4 * GROUP)  # warm
                writers.append((connection, ledger))
            for _ in range(TURNS):
                both = [append(connection, ledger, 0, 8 * GROUP)[0] for connection, ledger in writers]
                costs.append((both[0] / (8 * GROUP), both[1] / (8 * GROUP)))
    else:
        step, last = large.entries // TURNS, [0, 0.0]

        def turn(done: int) -> None:
            if done - last[0] >= step:
                mine = (time.process_time() - last[1]) / (done - last[0])
                began = time.process_time()
                for _ in range(max(1, min(step, ROUNDS_OF // 2) // small.entries)):
                    one_level(small, what, 1)
                rounds = max(1, min(step, ROUNDS_OF // 2) // small.entries)
                costs.append((mine, (time.process_time() - began) / rounds / small.entries))
                last[:] = [done, time.process_time()]

        one_level(small, what, 1)  # warm
        last[1] = time.process_time()
        one_level(large, what, 1, turn)
    return sum(one for one, _ in costs) / len(costs), sum(two for _, two in costs) / len(costs)


def apart(folder: Path, what: str, jobs: int) -> dict[str, float]:
    """``child`` in a process of its own."""
    command = [sys.executable, __file__, "--child", what, "--keep", str(folder), "--jobs", str(jobs)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    found: dict[str, float] = json.loads(done.stdout)
    return found


def lines(site: Site) -> float:
    """Processor seconds to verify a redacted bundle of the store."""
    table = AccessTable.load()
    keyring = Keyring.open(site.keys)
    with writer(site.folder) as connection:
        ledger = Ledger.open(connection, keyring, anchor=site.anchor)

        def commit(draft: Draft) -> Receipt:
            connection.rollback()
            connection.execute("BEGIN IMMEDIATE")
            written = ledger.append([draft])[0]
            connection.execute("COMMIT")
            return written

        connection.rollback()
        export(
            ledger,
            table.permission(("compliance_auditor",), "HCOMPL"),
            table,
            viewer=Viewer("zz", "zz", ("compliance_auditor",), "bench"),
            purpose="HCOMPL",
            reason="bench",
            profile="role:compliance_auditor",
            out=site.folder / "bundle.jsonl",
            commit=commit,
            checkpoint=ledger.checkpoint,
        )
    return timed(lambda: check(verify_bundle(site.folder / "bundle.jsonl", site.policy)))


def check(report: Any) -> None:
    assert report.verdict == "PASS", report.problems


def receipts(site: Site, count: int) -> tuple[float, float]:
    """Processor seconds to take ``count`` receipts out and to verify them."""
    sees = AccessTable.load().permission(("compliance_auditor",), "HCOMPL")
    texts: list[str] = []
    step = max(1, site.entries // count)
    with open_readonly(site.db, Keyring.open(site.keys)) as reader:
        took = timed(
            lambda: texts.extend(
                take_receipt(reader, n, sees) for n in range(0, step * count, step) if n < site.entries
            )
        )
        newest = reader.last_checkpoint()
    assert newest is not None and site.policy.read_note(newest[1], exact=True).size >= site.entries
    checked = timed(lambda: [check(verify_receipt(text, site.policy)) for text in texts])
    return took / len(texts), checked / len(texts)


def measure(entries: int, jobs: int, folder: Path) -> dict[str, Any]:
    """Every figure for a ledger of one size, made in ``folder`` if it is not there yet."""
    if not (folder / "made.json").exists():
        make(folder, entries)
    site = site_of(folder)
    size = sum(path.stat().st_size for path in folder.glob("umbridge.db*"))
    rates, peaks = {}, {}
    took, rates["receipts"] = receipts(site, min(500, entries))
    for what in ("spine", "keyless", "full"):
        found = apart(folder, what, jobs)
        rates[what], peaks[what] = found["seconds"], found["peak_rss_mib"]
    twin = folder.with_name(folder.name + ".copy")  # what is kept stays as it is
    try:
        shutil.copytree(folder, twin)
        if entries <= LINES_UP_TO:
            rates["bundle lines"] = lines(site_of(twin)) / site.entries
        found = apart(twin, "append", jobs)
        rates["append"], peaks["append"] = found["seconds"], found["peak_rss_mib"]
    finally:
        shutil.rmtree(twin, ignore_errors=True)
    return {
        "entries": site.entries,
        "seconds_an_entry": rates,
        "receipt_taken_ms": took * 1e3,
        "bytes_an_entry": size / site.entries,
        "append_wall_per_second": site.appended / site.append_wall,
        "peak_rss_mib": peaks,
        "sha256_1kb_ns": hash_ns(),
    }


def shown(found: dict[str, Any]) -> Iterator[str]:
    """The figures of one size as lines."""
    yield f"{found['entries']:,} entries; SHA-256 of 1 kB takes {found['sha256_1kb_ns']:,.0f} ns"
    yield f"{'':14}{'a second, one core':>20}{'goal':>10}{'hashes of 1 kB':>16}"
    for name, seconds in found["seconds_an_entry"].items():
        hashes = seconds * 1e9 / found["sha256_1kb_ns"]
        yield f"{name:14}{1 / seconds:>20,.0f}{GOALS[name]:>10,}{hashes:>16,.1f}"
    bytes_each, took = found["bytes_an_entry"], found["receipt_taken_ms"]
    yield f"{bytes_each:,.0f} bytes an entry (goal 2,500); a receipt is taken in {took:.1f} ms"
    yield f"peak MiB: {', '.join(f'{what} {peak:.0f}' for what, peak in found['peak_rss_mib'].items())}"
    yield ""


def compared(small: Path, large: Path) -> Iterator[str]:
    """What an entry costs in the larger ledger over what it costs in the smaller, both measured in turn."""
    for what in ("spine", "keyless", "full", "append"):
        twins = [folder.with_name(f"{folder.name}.twin") for folder in (large, small)]
        try:
            if what == "append":
                for folder, twin in zip((large, small), twins, strict=True):
                    shutil.copytree(folder, twin)
                more, less = in_turn(site_of(twins[0]), site_of(twins[1]), what)
            else:
                more, less = in_turn(site_of(large), site_of(small), what)
        finally:
            for twin in twins:
                shutil.rmtree(twin, ignore_errors=True)
        sizes = f"{int(large.name):,} over one of {int(small.name):,}"
        yield f"{what:8} an entry of {sizes}: {more / less:.3f}"


def figures(sizes: Sequence[int], folders: Sequence[Path], jobs: int) -> Iterator[str]:
    """The whole report, line by line as it is measured."""
    machine = f"{cpu_model()}, {os.cpu_count()} cores, Python {platform.python_version()}"
    yield f"umbridge ledger bench, {datetime.now(UTC):%Y-%m-%d}; {machine}"
    yield ""
    for entries, folder in zip(sizes, folders, strict=True):
        yield from shown(measure(entries, jobs, folder))
    if len(folders) > 1:
        yield from compared(folders[0], folders[-1])


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--entries", type=int, nargs="+", default=[10_000])
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--write", action="store_true", help=f"keep the report as {FIGURES.name}, for README")
    parser.add_argument("--keep", type=Path, help="where ledgers are kept and found again, by size")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.child:
        child(site_of(given.keep), given.child, given.jobs)
        return 0
    keep = given.keep or Path(tempfile.mkdtemp(prefix="umbridge-ledger-"))
    folders = [keep / str(entries) for entries in given.entries]
    lines = []
    try:
        for folder in folders:
            folder.mkdir(parents=True, exist_ok=True)
        if given.json:
            for entries, folder in zip(given.entries, folders, strict=True):
                print(json.dumps(measure(entries, given.jobs, folder)), flush=True)
            return 0
        for line in figures(given.entries, folders, given.jobs):
            print(line, flush=True)
            lines.append(line)
    finally:
        if given.keep is None:
            shutil.rmtree(keep)
    if given.write:
        FIGURES.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())

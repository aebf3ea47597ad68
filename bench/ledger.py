"""What the ledger costs: append, verify at each level, bundle lines, receipts, bytes (``make ledgerbench``).

Figures are entries a second of processor time on one core, because the machine may be shared. They come with
the machine and a calibration: SHA-256 over 1 kB, by the same interpreter in the same minute. The last column
is the cost of an entry in such hashes, which carries over better than a rate does.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from sqlalchemy import create_engine
from umbridge_audit.bundle import verify_bundle
from umbridge_audit.checkpoint import read_anchor, read_note
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

GROUP = 256
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


def make(folder: Path, entries: int) -> Site:
    """Appends in group commits with FULL sync and a checkpoint every 4,096 entries, as a busy second has."""
    engine = create_engine(f"sqlite:///{folder / 'umbridge.db'}")
    connection = engine.connect()
    raw: Any = connection.connection.driver_connection
    raw.isolation_level = None
    raw.execute("PRAGMA journal_mode=wal")
    raw.execute("PRAGMA synchronous=FULL")
    keyring = Keyring.create(folder / "keys")
    ledger = Ledger.create(
        connection,
        keyring,
        org="genhosp",
        chain="bench",
        facility="ZZ",
        software="bench",
        anchor=folder / "ledger.anchor",
    )
    cpu, wall = time.process_time(), time.monotonic()
    for low in range(0, entries, GROUP):
        raw.execute("BEGIN IMMEDIATE")
        ledger.append([drafts(n) for n in range(low, min(low + GROUP, entries))])
        raw.execute("COMMIT")
        if low % 4096 == 0:
            ledger.checkpoint()
    ledger.checkpoint()
    cpu, wall = time.process_time() - cpu, time.monotonic() - wall
    size, policy = ledger.size, Policy.read(ledger.policy_text())
    connection.close()
    engine.dispose()
    return Site(folder, policy, cpu, wall, size)


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


def levels(site: Site, jobs: int) -> Iterator[tuple[str, float]]:
    """Processor seconds for each level over the whole store; each must PASS."""
    for level in ("spine", "keyless", "full"):

        def run(level: Any = level) -> None:
            keyring = Keyring.open(site.keys) if level == "full" else None
            with open_readonly(site.db, keyring) as source:
                report = verify(
                    source,
                    site.policy,
                    level=level,
                    keyring=keyring,
                    anchor_notes=read_anchor(site.anchor),
                    jobs=jobs,
                )
            assert (report.verdict, report.entries) == ("PASS", site.entries), report.problems

        yield level, timed(run)


def lines(site: Site) -> float:
    """Processor seconds to verify a redacted bundle of the store."""
    table = AccessTable.load()
    keyring = Keyring.open(site.keys)
    engine = create_engine(f"sqlite:///{site.db}")
    with engine.connect() as connection:
        ledger = Ledger.open(connection, keyring, anchor=site.anchor)

        def commit(draft: Draft) -> Receipt:
            connection.rollback()
            with connection.begin():
                return ledger.append([draft])[0]

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
    engine.dispose()
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
    assert newest is not None and read_note(newest[1], site.policy.log, exact=True).size >= site.entries
    checked = timed(lambda: [check(verify_receipt(text, site.policy)) for text in texts])
    return took / len(texts), checked / len(texts)


def measure(entries: int, jobs: int, folder: Path) -> dict[str, Any]:
    """Every figure for a ledger of one size."""
    site = make(folder, entries)
    size = sum(path.stat().st_size for path in folder.glob("umbridge.db*"))
    rates = {"append": site.append_cpu / entries}
    for level, seconds in levels(site, jobs):
        rates[level] = seconds / site.entries
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    rates["bundle lines"] = lines(site) / site.entries
    took, rates["receipts"] = receipts(site, min(500, entries))
    return {
        "entries": site.entries,
        "seconds_an_entry": rates,
        "receipt_taken_ms": took * 1e3,
        "bytes_an_entry": size / site.entries,
        "append_wall_per_second": entries / site.append_wall,
        "peak_rss_mib": peak / 1024,
        "sha256_1kb_ns": hash_ns(),
    }


def show(found: dict[str, Any]) -> None:
    machine = f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}"
    print(f"{found['entries']:,} entries; {machine}; SHA-256 of 1 kB {found['sha256_1kb_ns']:.0f} ns")
    print(f"{'':14}{'a second, one core':>20}{'goal':>10}{'hashes of 1 kB':>16}")
    for name, seconds in found["seconds_an_entry"].items():
        hashes = seconds * 1e9 / found["sha256_1kb_ns"]
        print(f"{name:14}{1 / seconds:>20,.0f}{GOALS[name]:>10,}{hashes:>16,.1f}")
    print(
        f"bytes an entry {found['bytes_an_entry']:,.0f} (goal 2,500); a receipt taken in "
        f"{found['receipt_taken_ms']:.1f} ms; append on the wall {found['append_wall_per_second']:,.0f}/s; "
        f"peak {found['peak_rss_mib']:.0f} MiB"
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--entries", type=int, nargs="+", default=[10_000])
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    for entries in given.entries:
        folder = Path(tempfile.mkdtemp(prefix="umbridge-ledger-"))
        try:
            found = measure(entries, given.jobs, folder)
        finally:
            shutil.rmtree(folder)
        print(json.dumps(found)) if given.json else show(found)
    return 0


if __name__ == "__main__":
    sys.exit(main())

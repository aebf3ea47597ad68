"""What the first page of the worklist costs as open reviews grow: CPU, the entry of the access included.

    python bench/worklist.py [LINES] [STAYS ...]

Has a daemon open one review for each stay in a temporary installation, then asks in this process for the
first LINES lines (default 50) with 100, 1,000 and 10,000 stays open. The time of a calibration loop stands
beside it: machines drift by a factor of three, the ratio does not.
Run it with another commit's .venv to compare.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path
from sqlite3 import connect

from umbridge.access.registry import Registry
from umbridge.intake import delivery
from umbridge.run.daemon import Parts
from umbridge.settings import config
from umbridge.settings.config import User
from umbridge.store.opening import hold_writer

REPEATS = 5
SECONDS = 600.0
BEGAN = datetime.now(UTC) - timedelta(hours=2)


def calibration() -> float:
    """Seconds of CPU for a fixed loop; about 0.045 on a quiet core of the machine the figures are from."""
    began, total = time.process_time(), 0
    for i in range(1_000_000):
        total += i
    return time.process_time() - began


def admission(number: int) -> bytes:
    """An inpatient admission of an invented patient: it opens one review, which no screen can settle."""
    at = f"{BEGAN + timedelta(milliseconds=number):%Y%m%d%H%M%S}+0000"
    segments = [
        f"MSH|^~\\&|ZZEHR|ZZ|UMBRIDGE|ZZ|{at}||ADT^A01^ADT_A01|ZZ{number}|P|2.5.1",
        f"EVN|A01|{at}",
        f"PID|1||ZZ{number:07}^^^ZZ^MR||ZZTEST^WORKLIST||19500101|F",
        f"PV1|1|I|4W^{number % 40:02}^1||||||||||||||||ZZV{number:07}|||||||||||||||||||||||||{at}",
    ]
    return ("\r".join(segments) + "\r").encode()


def grow(file: Path, store: Path, numbers: range) -> None:
    """Have a daemon take in these stays, to the last determination."""
    serve = [sys.executable, "-m", "umbridge.commands.main", "serve", "--config", str(file)]
    with (file.parent / "daemon.log").open("ab") as log:
        daemon = subprocess.Popen(serve, stderr=log, stdout=log)
    try:
        port, until = 0, time.monotonic() + SECONDS
        while not port and time.monotonic() < until and daemon.poll() is None:
            time.sleep(0.2)
            port = next((each["feeds"][0]["port"] for each in status(file)), 0)
        frames = [(f"m{number}", admission(number)) for number in numbers]
        asyncio.run(delivery.send_all("127.0.0.1", port, frames, connections=8, done=lambda sent: None))
        with closing(connect(f"file:{store}/umbridge.db?mode=ro", uri=True)) as db:
            while db.execute("SELECT count(*) FROM inbox WHERE state = 'PENDING'").fetchone()[0]:
                time.sleep(0.5)
    finally:
        daemon.terminate()
        daemon.wait(60)


def status(file: Path) -> list[dict[str, object]]:
    """Lines of ``umbridge status --json``; none while the daemon is not there yet."""
    words = [sys.executable, "-m", "umbridge.commands.main", "status", "--json", "--config", str(file)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    found = [json.loads(line) for line in done.stdout.splitlines()]
    return [row for row in found if row.get("running", True) and row.get("pid")]


def measured(file: Path, lines: int) -> tuple[int, list[float]]:
    """How many lines came, and milliseconds of CPU for each question."""
    settings = config.load(file)
    parts = Parts(settings)
    with hold_writer(settings, parts.keyring) as writer:
        users = {"zz": User(user="zz", roles=("ur_nurse",))}
        registry = Registry(settings, writer, parts.site, users, parts.table)
        spent, count = [], 0
        for _ in range(REPEATS + 1):
            began = time.process_time()
            asked = registry.answer("zz", "reviews.list", {"purpose": "HPAYMT"}, "bench")
            count = len(list(islice(asked, lines)))
            spent.append((time.process_time() - began) * 1000)
    return count, sorted(spent[1:])  # the first one warms up


def main(lines: int, sizes: list[int]) -> None:
    print(json.dumps({"calibration_seconds": round(min(calibration() for _ in range(3)), 4)}))
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder) / "site"
        subprocess.run(
            [sys.executable, "-m", "umbridge.commands.main", "init", str(place)],
            check=True,
            capture_output=True,
        )
        file, there = place / "umbridge.toml", 0
        text = file.read_text(encoding="utf-8").replace("port = 2575", "port = 0")
        file.write_text(text, encoding="utf-8")
        for size in sizes:
            grow(file, place / "store", range(there, size))
            there = size
            count, spent = measured(file, lines)
            middle = spent[len(spent) // 2]
            print(json.dumps({"open": size, "lines": count, "cpu_ms": round(middle, 1)}), flush=True)


if __name__ == "__main__":
    words = [int(word) for word in sys.argv[1:]]
    main(words[0] if words else 50, words[1:] or [100, 1_000, 10_000])

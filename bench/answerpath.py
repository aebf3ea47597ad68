"""From a frame to its answer in this process alone: intake and writer, no sockets, no screens.

Started by answer.py with the interpreter of the checkout that is measured, so it uses only what every version
has: ``setup.init``, ``daemon.Parts``, ``open_writer``, ``Writer.run``, ``Intake.receive``.
Prints one JSON object.

CPU is that of the whole process: the thread that waits for COMMIT counts too, waiting for the disk does not.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import shutil
import sqlite3
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager, closing, suppress
from hashlib import sha256
from itertools import islice, repeat
from pathlib import Path
from random import Random
from typing import Any

import load  # beside this file; not bench.load, for there may be another bench in the checkout
from earlier import module

import umbridge

setup = module("commands.setup", "setup")
Intake = module("intake.receive", "intake").Intake
daemon = module("run.daemon", "daemon")
config = module("settings.config", "config")
durability = module("store.durability", "store.ground")
opening = module("store.opening", "store.opening")
open_writer = getattr(opening, "open_writer", None) or opening.take_pen

WARM = 256
LATER_SECONDS = 30.0
BLOCK = 50_000
TOKENS = 3  # search tokens of a message of the sample feed: two numbers of the patient, the control id
STAY = 5  # messages of one stay in it
TOKEN, DIGEST = 16, 32  # bytes


# -- an installation ---------------------------------------------------------------------------------------


def install(folder: Path) -> None:
    setup.init(folder, org="zz-bench", chain="answer", site_file=None)
    if durability.weakness(folder):
        file = folder / "umbridge.toml"
        text = file.read_text(encoding="utf-8")
        said = 'store = "store"\nstore_not_durable = "I accept"'
        file.write_text(text.replace('store = "store"', said, 1), encoding="utf-8")


def grown(cache: Path, rows: int) -> Path:
    """An installation with so many synthetic messages in its store, made once for each form of the tables."""
    with tempfile.TemporaryDirectory(prefix="umbridge-answer-") as made:
        install(Path(made) / "site")
        with closing(sqlite3.connect(Path(made) / "site/store/umbridge.db")) as connection:
            found = connection.execute("SELECT sql FROM sqlite_master ORDER BY name").fetchall()
    folder = cache / f"{rows}-{sha256(repr(found).encode()).hexdigest()[:12]}"
    if not (folder / "whole").exists():
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        install(folder / "site")
        with closing(sqlite3.connect(folder / "site/store/umbridge.db", isolation_level=None)) as connection:
            fill(connection, rows)
        (folder / "whole").touch()
    return folder / "site"


def fill(connection: sqlite3.Connection, rows: int) -> None:
    """Messages long worked, in the tables whose keys are random: there a new row dirties a page of its own.

    The keys are spread over their whole range and inserted in order, so that the tables are as wide as a
    hospital's and are still written from one end to the other. The ledger grows at its end alone, and a
    sealed message lies beside its row, so neither needs the bulk.
    """
    connection.execute("PRAGMA synchronous=OFF")
    connection.execute("PRAGMA journal_mode=OFF")  # a store that was not made whole is made again
    connection.execute("PRAGMA cache_size=-400000")
    began = int(connection.execute("SELECT coalesce(max(seq), 0) FROM inbox").fetchone()[0]) + 1
    fixed = {
        "feed": "main",
        "variant": 0,
        "sealed": b"\0" * 16,
        "state": "DETERMINED",
        "attempts": 1,
        "ack": "AA",
        "reason": "",
        "received_at": "2026-03-02T14:00:00.000Z",
        "entry": 1,
    }
    fill_table(connection, "inbox", rows, began, {"key_token", "digest"}, {"lane", "content_digest"}, fixed)
    fill_table(connection, "search_token", rows * TOKENS, began, {"token"}, set(), {}, every=TOKENS)
    fill_table(connection, "alias", rows * 2 // STAY, began, {"token"}, {"lane"}, {"account": 0})
    fill_table(connection, "patient_lane", rows // STAY, began, {"token"}, {"lane"}, {})
    connection.execute("PRAGMA journal_mode=WAL")


def fill_table(
    connection: sqlite3.Connection,
    table: str,
    rows: int,
    began: int,
    rising: set[str],
    random: set[str],
    fixed: dict[str, Any],
    every: int = 1,
) -> None:
    """Rows with ``rising`` keys spread over their range and ``random`` ones; columns not named stay empty."""
    names = [row[1] for row in connection.execute(f"PRAGMA table_info({table})")]  # a name of ours
    used = [name for name in names if name in rising | random | set(fixed) | {"seq"}]
    query = f"INSERT INTO {table}({', '.join(used)}) VALUES ({', '.join('?' * len(used))})"  # noqa: S608
    part = (1 << 64) // rows
    some = Random(rows).randbytes  # keyed hashes look like this, and nothing here is a secret

    def column(name: str, numbers: range) -> Iterable[Any]:
        size = DIGEST if "digest" in name else TOKEN
        if name in rising:
            return ((n * part).to_bytes(8, "big") + some(size - 8) for n in numbers)
        if name == "seq":
            return (began + n // every for n in numbers)
        return (some(size) for _ in numbers) if name in random else repeat(fixed[name])

    for start in range(0, rows, BLOCK):
        numbers = range(start, min(start + BLOCK, rows))
        connection.execute("BEGIN")
        connection.executemany(
            query, islice(zip(*(column(n, numbers) for n in used), strict=False), len(numbers))
        )
        connection.execute("COMMIT")


# -- measuring -----------------------------------------------------------------------------------------------


@asynccontextmanager
async def kept_log(database: Path) -> AsyncIterator[Path]:
    """The write-ahead log, held by a reader: it grows by all that is written and never begins again."""
    until = time.monotonic() + LATER_SECONDS
    with closing(sqlite3.connect(database, timeout=0, isolation_level=None)) as reader:
        while reader.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]:  # the writer may be at it too
            if time.monotonic() > until:
                raise SystemExit("the log could not be emptied: somebody else reads this store")
            await asyncio.sleep(0.05)
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM meta").fetchone()
        yield database.with_name(database.name + "-wal")


def waiting(database: Path) -> int:
    """Rows that the answers have left for later; a version without such rows has none."""
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as reader, suppress(sqlite3.Error):
        return int(reader.execute("SELECT count(*) FROM search_later").fetchone()[0])
    return 0


class Answers:
    """One store, its intake, and messages that none of its rows has."""

    def __init__(self, intake: Intake, settings: config.Settings, first: int) -> None:
        self._intake = intake
        self._feed, self._terms = next(iter(settings.feeds.items()))
        self._next = first
        self._database = settings.store / "umbridge.db"

    def _groups(self, count: int, frames: int) -> list[tuple[bytes, ...]]:
        streams = load.feed(count // frames * frames, frames, self._next, in_turn=True)
        self._next += count  # more than there are stays in it
        return list(zip(*streams, strict=True))

    async def _answer(self, groups: list[tuple[bytes, ...]]) -> None:
        receive, feed, terms = self._intake.receive, self._feed, self._terms
        for group in groups:
            replies = await asyncio.gather(*(receive(frame, feed, terms) for frame in group))
            if not all(reply.answer and b"\rMSA|AA|" in reply.answer for reply in replies):
                raise SystemExit("a message of the sample feed was not answered AA")

    async def _settled(self) -> None:
        """Wait until nothing is left for later."""
        until = time.monotonic() + LATER_SECONDS
        while waiting(self._database):
            if time.monotonic() > until:
                raise SystemExit(f"rows were still left for later after {LATER_SECONDS:.0f} s")
            await asyncio.sleep(0.2)

    async def measure(self, count: int, frames: int) -> dict[str, float]:
        """CPU µs and bytes of the log for each message, ``frames`` of them to a commit."""
        groups = self._groups(count, frames)
        rows = len(groups) * frames
        gc.collect()
        began, cpu, thread = time.perf_counter(), time.process_time(), time.thread_time()
        await self._answer(groups)
        seconds, cpu, thread = (
            time.perf_counter() - began,
            time.process_time() - cpu,
            time.thread_time() - thread,
        )
        after = time.process_time()
        await self._settled()
        after = time.process_time() - after
        async with kept_log(self._database) as log:
            groups = self._groups(max(count // 2, frames), frames)
            size = log.stat().st_size
            await self._answer(groups)
            written = log.stat().st_size - size
            await self._settled()
            later = log.stat().st_size - size - written
        return {
            "cpu_us": cpu / rows * 1e6,
            "loop_us": thread / rows * 1e6,
            "later_us": after / rows * 1e6,
            "wal_bytes": written / (len(groups) * frames),
            "later_wal_bytes": later / (len(groups) * frames),
            "per_second": rows / seconds,
        }


async def measured(folder: Path, count: int, frames: list[int]) -> dict[str, Any]:
    settings = config.load(folder / "umbridge.toml")
    parts = daemon.Parts(settings)
    sys.setswitchinterval(daemon.SWITCH_SECONDS)
    found: dict[str, Any] = {}
    with open_writer(settings, parts.keyring) as writer:
        writing = asyncio.create_task(writer.run())
        with closing(sqlite3.connect(f"file:{settings.store}/umbridge.db?mode=ro", uri=True)) as reader:
            last = int(reader.execute("SELECT coalesce(max(seq), 0) FROM inbox").fetchone()[0])
        intake = Intake(writer, parts.keyring, settings.limits, settings.store, parts.site)
        answers = Answers(intake, settings, last + 1)
        try:
            await answers.measure(WARM, frames[0])
            gc.collect()
            gc.freeze()
            gc.set_threshold(*daemon.GC_THRESHOLD)
            for each in frames:
                found[str(each)] = await answers.measure(count, each)
        finally:
            writer.close()
            await writing
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description="One measurement; see answer.py")
    parser.add_argument("--count", type=int, required=True)
    parser.add_argument("--frames", type=int, nargs="+", required=True)
    parser.add_argument("--grown", type=int, default=0)
    parser.add_argument("--cache", type=Path, required=True)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="umbridge-answer-") as made:
        folder = grown(asked.cache, asked.grown) if asked.grown else Path(made) / "site"
        if not asked.grown:
            install(folder)
        found = asyncio.run(measured(folder, asked.count, asked.frames))
    print(json.dumps({"code": str(Path(umbridge.__file__).parents[1]), **found}))
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""The main job in miniature: a throw-away store, a real socket, a look, a proof, a caught change."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import click

from umbridge.access import control_client
from umbridge.access.control_client import Row
from umbridge.clinical.titles import in_words
from umbridge.commands import sample, terminal
from umbridge.errors import UmbridgeError, UnavailableError
from umbridge.intake import delivery
from umbridge.store import durability

START_SECONDS = 90.0  # a few on a quiet machine
# The throw-away account may look in two ways, so that one run shows both sides of the redaction.
ROLES = '["administrator", "compliance_auditor", "ur_nurse"]'


def run(keep: str | None) -> int:
    """Play it through. Exit 0 when every step showed what it should; asks nothing."""
    folder = Path(keep) if keep else Path(tempfile.mkdtemp(prefix="umbridge-demo-"))
    try:
        _play(folder)
    finally:
        if keep is None:
            shutil.rmtree(folder, ignore_errors=True)
    return 0


def _say(text: str) -> None:
    click.echo(f"\n== {text}")


def _play(folder: Path) -> None:
    _say("a new installation: settings, keys, store, and the public policy for auditors")
    _command("init", str(folder), "--org", "zz-demo", quiet=True)
    settings = folder / "umbridge.toml"
    _edit(settings, r"(?m)^port = 2575 ", "port = 0 ")
    if durability.weakness(folder):  # a folder for temporary files often lies in memory; this store may
        _edit(settings, r'(?m)^store = "store"', 'store = "store"\nstore_not_durable = "I accept"')
    _edit(folder / "users.toml", r"roles = \[.*\]", f"roles = {ROLES}")
    click.echo(f"made {len(list(folder.iterdir()))} files and folders; keys apart from the store")

    _say("the daemon, and a feed of ADT, ORM and ORU messages over a real socket")
    with _daemon(settings) as port:
        _feed(port)
        determinations = _determinations(folder / "store")
        _say("determinations: what the criteria say, what is missing, and why")
        shown = [row | {"rationale": in_words(str(row["rationale"]))} for row in determinations]
        terminal.table(shown, ("visit", "review", "plugin", "outcome", "supported", "rationale"))
        _look(folder / "store", settings, int(str(determinations[0]["seq"])))
        bundle = folder / "bundle.jsonl"
        _say("an extract for a stranger: no clinical field in it, and it still verifies")
        _command(
            *("ledger", "export", "--profile", "role:it_ops", "--purpose", "HOPERAT"),
            *("--out", str(bundle), "--config", str(settings)),
        )
    _say("the ledger, verified without a key")
    _command("ledger", "verify", "--config", str(settings))
    _prove(folder, bundle)


def _command(*words: str, quiet: bool = False) -> str:
    """Run one umbridge command as a person would, show it and what it prints."""
    shown = " ".join(w if re.fullmatch(r"[\w./:=-]+", w) else repr(w) for w in words)
    click.echo(f"$ umbridge {shown}")
    done = subprocess.run(
        [sys.executable, "-P", "-m", "umbridge.commands.main", *words],
        capture_output=True,
        text=True,
        env=_environment(),
        check=False,
    )
    if not quiet:
        click.echo(done.stdout.rstrip())
    if done.returncode:
        raise UmbridgeError(f"`umbridge {shown}` ended with {done.returncode}: {done.stderr.strip()}")
    return done.stdout


def _environment() -> dict[str, str]:
    columns = str(shutil.get_terminal_size((110, 24)).columns)
    hidden = {"UMBRIDGE_CONFIG"}
    return {k: v for k, v in os.environ.items() if k not in hidden} | {"COLUMNS": columns}


def _edit(path: Path, pattern: str, replacement: str) -> None:
    text, count = re.subn(pattern, replacement, path.read_text(encoding="utf-8"), count=1)
    if count != 1:
        raise UmbridgeError(f"{path}: the demo expected to find {pattern}")
    path.write_text(text, encoding="utf-8")


@contextmanager
def _daemon(settings: Path) -> Iterator[int]:
    """The daemon as its own process on a free port; stopped with SIGTERM, which must end it cleanly."""
    store = settings.parent / "store"
    with (settings.parent / "daemon.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "umbridge.commands.main", "serve", "--config", str(settings)],
            stderr=log,
            stdout=log,
            env=_environment(),
        )
        try:
            yield _wait(process, store)
            process.terminate()
            if process.wait(START_SECONDS) != 0:
                raise UmbridgeError(f"the daemon did not stop cleanly; see {settings.parent}/daemon.log")
        finally:
            process.kill()
            process.wait()


def _wait(process: subprocess.Popen[bytes], store: Path) -> int:
    until = time.monotonic() + START_SECONDS
    while time.monotonic() < until:
        if process.poll() is not None:
            raise UnavailableError("the daemon ended at once; run `umbridge serve` to see why")
        rows = control_client.request(store, "status", {})
        for status in list(rows or ()):
            for feed in control_client.rows_in(status["feeds"]):
                if port := feed["port"]:
                    return int(str(port))
        time.sleep(0.05)
    raise UnavailableError(f"the daemon did not start within {START_SECONDS:.0f} s")


def _feed(port: int) -> None:
    began = datetime.now(UTC) - timedelta(hours=2)
    messages = [
        (f"stay {number} ({sample.STORIES[number % 3].name})", frame)
        for number in range(3)
        for frame in sample.stay(number, began)
    ]
    said: dict[str, dict[str, int]] = {}

    def done(sent: delivery.Sent) -> None:
        by_code = said.setdefault(sent.file, {})
        by_code[sent.ack] = by_code.get(sent.ack, 0) + 1

    asyncio.run(delivery.send_all("127.0.0.1", port, messages, done=done))
    for name, by_code in said.items():
        answers = ", ".join(f"{count} answered {code}" for code, count in by_code.items())
        click.echo(f"{name}: {answers}")
    if {code for by_code in said.values() for code in by_code} != {"AA"}:
        raise UmbridgeError("a sample message was not answered AA")


def _rows(store: Path, op: str, **args: str | int) -> list[Row]:
    rows = control_client.request(store, op, args)
    if rows is None:
        raise UnavailableError("the daemon is not there any more")
    return list(rows)


def _determinations(store: Path) -> list[Row]:
    """Wait until everything is worked, then read the last determination of each review and plugin."""
    until = time.monotonic() + START_SECONDS
    while control_client.row_in(_rows(store, "status")[0]["messages"]).get("PENDING"):
        if time.monotonic() > until:
            raise UmbridgeError(f"the sample messages were not worked within {START_SECONDS:.0f} s")
        time.sleep(0.05)
    latest: dict[tuple[str, ...], Row] = {}
    for entry in _rows(store, "ledger.list", kind="determination", purpose="HPAYMT"):
        seq = int(str(entry["seq"]))
        shown = _rows(store, "ledger.show", seq=seq, purpose="HPAYMT", reason="demo")[0]
        slots = control_client.row_in(shown["slots"]) | {"seq": seq}
        latest[tuple(str(slots[name]) for name in ("visit", "review_id", "plugin"))] = slots
    return [latest[key] for key in sorted(latest)]


def _look(store: Path, settings: Path, seq: int) -> None:
    _say("the same entry, looked at by the compliance auditor: clinical and personal fields are redacted")
    _command(
        *("ledger", "show", str(seq), "--purpose", "HCOMPL", "--reason", "demo"),
        *("--config", str(settings)),
    )
    entries = _rows(store, "ledger.list", kind="access.read", purpose="HCOMPL")
    last = entries[-1]
    click.echo(f"the look is itself on the ledger: entry {last['seq']} {last['kind']} by {last['actor']}")


def _prove(folder: Path, bundle: Path) -> None:
    policy = str(folder / "ledger.policy")
    _say("the stand-alone verifier on the extract, then on a copy with one byte changed")
    good = _verifier(bundle, policy)
    changed = folder / "changed.jsonl"
    data = bytearray(bundle.read_bytes())
    at = data.index(b"message.received") + 3
    data[at] ^= 1
    changed.write_bytes(data)
    bad = _verifier(changed, policy)
    if (good, bad) != (0, 1):
        raise UmbridgeError(f"the verifier ended with {good} and {bad}, not 0 and 1")
    click.echo("\nthe change was caught; nothing of this run is left behind unless --keep was given")


def _verifier(bundle: Path, policy: str) -> int:
    click.echo(f"$ umbridge-verify {bundle.name} --policy ledger.policy")
    done = subprocess.run(
        [Path(sys.executable).with_name("umbridge-verify"), bundle, "--policy", policy, "--json"],
        capture_output=True,
        text=True,
        check=False,
    )
    report = json.loads(done.stdout)
    bad = report["first_bad_seq"]
    found = "nothing wrong" if bad is None else f"first bad entry {bad}"
    click.echo(f"{report['verdict']}  {report['entries']} entries  {found}")
    return done.returncode

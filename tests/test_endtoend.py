"""The main job over real sockets: every stranger's message accounted for, no patient in the clear."""

from __future__ import annotations

import asyncio
import hashlib
import json
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from installation import SERVE, Installation, Running

from umbridge.commands import sample
from umbridge.dryrun import screen
from umbridge.hl7 import er7, mllp
from umbridge.intake import delivery

BEGAN = datetime(2026, 3, 2, 20, 0, tzinfo=UTC)


KNOWN_VERSIONS = {
    "2.1",
    "2.2",
    "2.3",
    "2.3.1",
    "2.4",
    "2.5",
    "2.5.1",
    "2.6",
    "2.7",
    "2.7.1",
    "2.8",
    "2.8.1",
    "2.8.2",
}
KNOWN_TYPES = {"ADT", "ORU", "ORM", "OML", "OMG", "SIU", "MDM", "RDE", "BAR", "DFT"}


def due(data: bytes) -> str:
    """What intake owes a message, from docs/intake.md and the header's bytes; none of the daemon's code."""
    lines = [line for line in data.removeprefix(b"\xef\xbb\xbf").replace(b"\n", b"\r").split(b"\r") if line]
    heads = [line for line in lines if line.startswith(b"MSH")]
    if not heads:
        return "CLOSED"
    fields = heads[0].decode("latin-1").split(heads[0][3:4].decode("latin-1"))
    header = dict(enumerate(fields, start=1))
    mark = (header.get(2) or "^")[0]

    def first(number: int) -> str:
        return header.get(number, "").split(mark)[0].strip()

    letter = "A"
    if not first(9) or not first(10) or len(first(10)) > 199:
        letter = "E"
    elif (
        first(9) not in KNOWN_TYPES or first(11) not in ("", "P", "T", "D") or first(12) not in KNOWN_VERSIONS
    ):
        letter = "R"
    accept, application = header.get(15, "").strip(), header.get(16, "").strip()
    if not accept and not application:
        return "A" + letter
    asking = ("AL", "SU") if letter == "A" else ("AL", "ER")
    return "C" + letter if accept in asking else "A" + letter if application in asking else "NONE"


@pytest.fixture
def running(installation: Installation) -> Iterator[Running]:
    """As a person starts it: the whole job has no shortcut."""
    daemon = installation.start(SERVE)
    yield daemon
    daemon.kill()


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_every_real_message_is_answered_and_accounted_for(running: Running, shared: Path) -> None:
    folder = shared / "corpora" / "messages"
    messages = list(screen.read_files([str(folder)]))
    sent: list[delivery.Sent] = []
    asyncio.run(delivery.send_all("127.0.0.1", running.port, messages, connections=4, done=sent.append))
    assert running.process.poll() is None
    assert len(sent) == len(messages)
    owed = Counter((file, due(data)) for file, data in messages)
    assert owed - Counter((one.file, one.ack) for one in sent) == Counter()
    status = running.worked()
    rows = running.where.rows("messages", "list")
    assert running.stop() == 0
    distinct = {hashlib.sha256(data).digest() for _, data in messages}
    # A message sent twice with the same bytes, or re-stamped only, is one row; everything else has its own.
    assert len(rows) <= len(distinct)
    assert {row["control_id"] for row in rows} == {one.control_id for one in sent}
    assert [row["seq"] for row in rows] == list(range(1, len(rows) + 1))
    settled = ("NOT_APPLICABLE", "IGNORED", "REFUSED", "QUARANTINED")
    assert all(row["state"] in ("DETERMINED", *settled) for row in rows)
    assert all(row["reason"] for row in rows if row["state"] in settled)
    assert {row["reason"] for row in rows if row["state"] == "QUARANTINED"} <= {
        "several_patients",
        "continued",
        "control_id_reused several_patients",
        "control_id_reused continued",
        "from_the_future",
        "control_id_reused from_the_future",
    }
    assert sum(status["messages"].values()) == len(rows)
    print("\n" + _table(rows))
    verdict = json.loads(running.where.process("ledger", "verify", "--json").stdout)
    assert verdict["verdict"] == "PASS"


def _table(rows: list[dict[str, object]]) -> str:
    counts = Counter((str(row["ack"]), str(row["state"])) for row in rows)
    lines = [f"{ack_:<7} {state:<15} {count:>5}" for (ack_, state), count in sorted(counts.items())]
    return "\n".join(["answer  state           rows", *lines])


def needles(messages: list[bytes]) -> set[bytes]:
    """Names, MRNs, account and visit numbers of the messages, as they would stand in a file."""
    found: set[bytes] = set()
    for data in messages:
        message = er7.parse(data)
        for address in ("PID-3", "PID-5.1", "PID-5.2", "PID-11.1", "PID-18", "PV1-19"):
            value = message.get_raw(address)
            if len(value) >= 4:
                found.add(value)
    return found


def files(directory: Path) -> Iterator[tuple[Path, bytes]]:
    for path in sorted(directory.rglob("*")):
        if path.is_file():
            yield path, path.read_bytes()


def test_no_patient_is_found_in_files_logs_or_answers(installation: Installation, tmp_path: Path) -> None:
    messages = [frame for number in range(4) for frame in sample.stay(number, BEGAN)]
    hostile = [
        b"MSH|^~\\&|ZZEHR|UMBH|||20260302||ADT^A99|ZCTL9|P|2.5.1\rPID|1||ZZ0000001||ZZTEST^ALDER\r",
        b"MSH|^~\\&|ZZEHR|UMBH|||20260302||ADT^A01|ZCTL8|P|7.7\rPID|1||ZZ0000001||ZZTEST^ALDER\r",
        b"PID|1||ZZ0000001^^^UMBH^MR||ZZTEST^ALDER\r",
    ]
    wanted = needles(messages)
    assert len(wanted) >= 12
    daemon = installation.start()
    try:
        answers: list[bytes] = []

        async def send() -> None:
            for data in [*messages, *hostile]:
                reader, writer = await asyncio.open_connection("127.0.0.1", daemon.port)
                writer.write(mllp.encode(data))
                writer.write_eof()
                answers.append(await asyncio.wait_for(reader.read(-1), 60))
                writer.close()

        asyncio.run(send())
        daemon.worked()
        live = list(files(installation.directory))
        assert daemon.stop() == 0
    finally:
        daemon.kill()
    assert answers[-1] == b""  # no header, no answer
    for path, data in [*live, *files(installation.directory)]:
        for needle in wanted:
            assert needle not in data, f"{path.name} holds a patient"
    for answer in answers:
        for needle in wanted:
            assert needle not in answer, "an answer holds a patient"
    installation.process("ledger", "export", "--profile", "role:it_ops", "--out", str(tmp_path / "b.jsonl"))
    bundle = (tmp_path / "b.jsonl").read_bytes()
    for needle in wanted | {b'"MEETS', b'"PEND"', b'"REFER"', b"CURB", b'"rationale"'}:
        assert needle not in bundle, "the export holds what its role may not see"
    done = subprocess.run(
        [
            Path(sys.executable).with_name("umbridge-verify"),
            tmp_path / "b.jsonl",
            "--policy",
            installation.settings.policy,
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout

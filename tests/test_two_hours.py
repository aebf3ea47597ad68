"""A daemon in the night in which the clock goes back: its receipts tell which of two hours is meant."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from installation import Installation, Running

from umbridge.intake import delivery

PROGRAM = Path(__file__).parent / "planted" / "another_day.py"
UNDATED = "SENT_TIME_UNKNOWN"


def message(kind: str, sent: str, *segments: str, place: str = "OBS^1^1", more: str = "") -> bytes:
    """``sent`` is MSH-7, and of ADT EVN-2; without an offset, as most systems write it."""
    evn = [f"EVN|{kind[4:7]}|{sent}"] if kind.startswith("ADT") else []
    lines = [
        f"MSH|^~\\&|ZZREG|UMBH|UMBRIDGE|UMBH|{sent}||{kind}|ZZ{kind[4:7]}{sent}|P|2.5.1",
        *evn,
        "PID|1||7790077^^^UMBH^MR||ZZTEST^AUTUMN||19600303|F",
        f"PV1|1|O|{place}^UMBH|||||||||||||||OBS|ZZVN77^^^UMBH^VN" + "|" * 25 + f"20261031230000-0400{more}",
        *segments,
    ]
    return "\r".join([*lines, ""]).encode()


def status_order(control: str, sent: str) -> bytes:
    return message(
        "ORM^O01", sent, f"ORC|{control}|ZZP77^ZZEHR", "OBR|1|ZZP77^ZZEHR||ADTINPT^Inpatient^99UMB"
    )


def at(clock: Path, moment: str) -> None:
    """Move the daemon's clock: whoever reads it sees the one time or the other."""
    new = clock.with_suffix(".new")
    new.write_text(moment, "ascii")
    new.replace(clock)


def send(running: Running, *frames: bytes) -> None:
    told = [("", frame) for frame in frames]
    asyncio.run(delivery.send_all("127.0.0.1", running.port, told, connections=1, done=lambda sent: None))
    running.worked()


def shown(one: Installation) -> dict[str, Any]:
    (found,) = one.rows("stays", "show", "ZZVN77", "--purpose", "HPAYMT")
    return found


def test_a_daemon_reads_the_second_hour_as_later_than_the_first(
    installation: Installation, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Eastern daylight time ends on 2026-11-01 at two. Each later word has the earlier face of the clock."""
    one, clock = installation, tmp_path / "clock"
    one.roles("administrator", "ur_nurse")
    at(clock, "2026-10-31T23:30:00-04:00")
    monkeypatch.setenv("ZZ_CLOCK", str(clock))
    running = one.start((str(PROGRAM),))
    try:
        send(running, message("ADT^A04^ADT_A01", "20261031233000-0400"))
        at(clock, "2026-11-01T01:45:05-04:00")
        send(running, status_order("NW", "20261101014500"))
        send(running, message("ADT^A03^ADT_A03", "20261101014700", more="|20261101014600"))
        said = shown(one)
        assert (said["lifecycle"], said["status"]) == ("discharged", "INPATIENT")
        at(clock, "2026-11-01T01:15:05-05:00")  # half an hour later
        send(running, message("ADT^A13^ADT_A01", "20261101011500"), status_order("CA", "20261101011600"))
        said = shown(one)
        assert (said["lifecycle"], said["status"]) == ("active", "OBSERVATION")
        assert UNDATED not in said["exceptions"]
        at(clock, "2026-11-01T03:10:00-05:00")  # kept back: of either hour, and nobody knows which
        send(running, message("ADT^A03^ADT_A03", "20261101013000", more="|20261101013000"))
        said = shown(one)
        assert said["lifecycle"] == "discharged" and UNDATED in said["exceptions"]
        assert running.stop() == 0
    finally:
        running.kill()

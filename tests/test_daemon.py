"""The daemon as a process: it starts or says why not, stops cleanly, recovers, keeps lanes in order."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sqlite3
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from installation import ROOT, SERVE, START_SECONDS, Installation, Running

from umbridge.commands import sample
from umbridge.intake import delivery
from umbridge.settings.config import LimitSettings

BEGAN = datetime(2026, 3, 2, 20, 0, tzinfo=UTC)


def send(port: int, frames: list[bytes], connections: int = 1) -> list[delivery.Sent]:
    sent: list[delivery.Sent] = []
    messages = [("m", data) for data in frames]
    asyncio.run(delivery.send_all("127.0.0.1", port, messages, connections=connections, done=sent.append))
    return sent


def stays_of(count: int, first: int = 0) -> list[bytes]:
    return [data for n in range(first, first + count) for data in sample.stay(n, BEGAN)]


def kinds(where: Installation) -> list[tuple[str, str | None]]:
    return [(row["kind"], row.get("state")) for row in where.rows("ledger", "list")]


def test_a_clean_stop_is_on_the_ledger_and_leaves_nothing_unanchored(installation: Installation) -> None:
    daemon = installation.start()
    assert {one.ack for one in send(daemon.port, stays_of(2))} == {"AA"}
    assert daemon.stop() == 0
    report = json.loads(installation.run("ledger", "verify", "--json").stdout)
    assert (report["verdict"], report["unanchored"]) == ("PASS", 0)
    said = kinds(installation)
    assert ("audit.status", "started") in said
    assert ("audit.status", "stopped") in said


def test_an_unclean_stop_is_told_at_the_next_start(installation: Installation) -> None:
    daemon = installation.start()
    daemon.kill()
    again = installation.start()
    assert again.stop() == 0
    assert ("audit.status", "started_after_unclean_stop") in kinds(installation)


def test_rows_stored_before_a_crash_are_worked_before_anybody_is_let_in(installation: Installation) -> None:
    daemon = installation.start()
    sent = send(daemon.port, stays_of(20), connections=4)
    daemon.kill()  # most rows are stored and not worked
    again = installation.start()
    status = again.worked()
    assert again.stop() == 0
    assert sum(status["messages"].values()) == len(sent)
    rows = installation.rows("messages", "list")
    assert [row["seq"] for row in rows] == list(range(1, len(sent) + 1))
    assert {row["state"] for row in rows} == {"DETERMINED", "NOT_APPLICABLE"}


def test_each_row_has_one_determination_a_plugin_review_and_moment(running: Running) -> None:
    running.where.roles("administrator", "ur_nurse")
    os.kill(running.process.pid, signal.SIGHUP)
    send(running.port, stays_of(1))
    running.worked()
    assert running.stop() == 0
    seen = set()
    entries = running.where.rows("ledger", "list", "--kind", "determination")
    assert entries
    for entry in entries:
        shown = running.where.rows("ledger", "show", str(entry["seq"]), "--purpose", "HPAYMT")[0]["slots"]
        key = (shown["row"], shown["judged_at"], shown["review_id"], shown["plugin"])
        assert key not in seen
        seen.add(key)
        assert shown["outcome"] in ("MEETS", "MEETS_ADVISE_HIGHER", "REFER", "PEND", "NOT_APPLICABLE")
        assert shown["rationale"]
        assert shown["supersedes"] is None or shown["supersedes"] < entry["seq"]


@pytest.fixture
def evening(installation: Installation, monkeypatch: pytest.MonkeyPatch) -> Iterator[Running]:
    """A daemon as of the evening on which the stays began: no review opens by itself meanwhile."""
    installation.roles("administrator", "ur_nurse")
    daemon = installation.start_on(BEGAN + timedelta(hours=3), monkeypatch)
    yield daemon
    daemon.kill()


def test_a_late_flood_of_one_stay_is_worked_in_order(evening: Running) -> None:
    """Four connections race with one stay's messages; the stay is the same as in order."""
    running = evening
    told = sample.stay(7, BEGAN, sample.PNEUMONIA)
    later = sample.stay(8, BEGAN + timedelta(minutes=1), sample.PNEUMONIA)
    send(running.port, told)
    send(running.port, later[::-1], connections=4)
    running.worked()
    shown = [running.where.rows("stays", "show", f"ZZVN000000{n}", "--purpose", "HPAYMT")[0] for n in (7, 8)]
    for key in ("lifecycle", "status", "unit", "open_reviews", "exceptions", "events_applied"):
        assert shown[0][key] == shown[1][key], key


def test_a_changed_site_profile_folds_the_stays_anew(installation: Installation) -> None:
    installation.roles("administrator", "ur_nurse")
    told = sample.stay(1, BEGAN, sample.BLEED)
    daemon = installation.start()
    send(daemon.port, told[:-1])
    daemon.worked()
    assert daemon.stop() == 0
    installation.edit(r"moon_after_hours = 24", "moon_after_hours = 23", "site.toml")
    again = installation.start()
    send(again.port, told[-1:])
    again.worked()
    shown = installation.rows("stays", "show", "ZZVN0000001", "--purpose", "HPAYMT")[0]
    assert again.stop() == 0
    assert shown["status"] == "OBSERVATION"
    assert shown["events_applied"] == len(told)


@pytest.mark.parametrize("signal_", [signal.SIGTERM, signal.SIGINT])
def test_both_signals_end_it_cleanly(installation: Installation, signal_: signal.Signals) -> None:
    daemon = installation.start(SERVE)
    os.kill(daemon.process.pid, signal_)
    assert daemon.process.wait(START_SECONDS) == 0


def test_a_second_daemon_is_refused(running: Running) -> None:
    done = running.where.process("serve", check=69)
    assert "holds the lock" in done.stderr.splitlines()[-1]


def test_an_anchor_ahead_of_the_store_refuses_to_start(installation: Installation, tmp_path: Path) -> None:
    daemon = installation.start()
    assert daemon.stop() == 0
    database = installation.settings.store / "umbridge.db"
    old = database.read_bytes()
    daemon = installation.start()
    send(daemon.port, stays_of(1))
    assert daemon.stop() == 0
    database.write_bytes(old)  # yesterday's backup put back
    done = installation.process("serve", check=74)
    assert "anchor" in done.stderr.splitlines()[-1]


def children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def test_a_row_that_kills_caseworkers_waits_for_a_person_and_holds_up_nobody(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The planted part ends the process on one control id; the rows beside it and after it are worked."""
    monkeypatch.setenv("PYTHONPATH", str(ROOT / "tests" / "planted" / "dies_on_poison"))
    daemon = installation.start()
    told = stays_of(4)
    poison = told[2].split(b"|")
    poison[9] = b"ZZPOISON"
    try:
        send(daemon.port, [*told[:2], b"|".join(poison), *told[3:]])
        status = daemon.worked()
        assert status["messages"]["QUARANTINED"] == 1
        rows = installation.rows("messages", "list")
        (held,) = (row for row in rows if row["state"] == "QUARANTINED")
        assert held["reason"] == "process_death"
        assert held["control_id"] == "ZZPOISON"
        log = [json.loads(line) for line in daemon.log.read_text().splitlines()]
        assert sum(line["event"] == "lane_worker_lost" for line in log) == 4  # with others, then alone
        assert daemon.stop() == 0
        assert installation.rows("ledger", "verify")[0]["verdict"] == "PASS"
    finally:
        daemon.kill()


def determinations(running: Running, row: int) -> list[tuple[str, dict[str, Any]]]:
    """What was determined because of this row, and not because time went by meanwhile, which it may."""
    entries = running.where.rows("ledger", "list", "--kind", "determination")
    words = ("ledger", "show", "--purpose", "HPAYMT")
    shown = [(one["state"], running.where.rows(*words, str(one["seq"]))[0]["slots"]) for one in entries]
    of_row = [(state, slots) for state, slots in shown if slots["row"] == row]
    return [(state, slots) for state, slots in of_row if slots["judged_at"] == of_row[0][1]["judged_at"]]


def test_a_plugin_that_dies_costs_only_its_own_answer(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Kill one worker while the feed goes on: the other answers, the failure is a PEND with its code."""
    installation.edit(r"(?m)^seconds = 60\.0", "seconds = 10.0")  # it is the one that is waited for
    installation.roles("administrator", "ur_nurse")
    running = installation.start_on(BEGAN + timedelta(hours=3), monkeypatch)  # no deadline asks it first
    try:
        told = sample.stay(0, BEGAN, sample.PNEUMONIA)
        send(running.port, told[:-1])
        running.worked()
        (lane_worker,) = children(running.process.pid)
        workers = children(lane_worker)  # now: one that was asked twice to compare has another process
        assert len(workers) == len(running.now()["plugins"])
        os.kill(workers[0], signal.SIGSTOP)
        send(running.port, told[-1:])
        running.worked()
        entries = determinations(running, len(told))
        assert sorted(state for state, _ in entries) == ["failed"] + ["screened"] * (len(workers) - 1)
        failed = next(slots for state, slots in entries if state == "failed")
        assert failed["outcome"] == "PEND"
        assert failed["rationale"].startswith("plugin_timeout")
        assert running.stop() == 0
    finally:
        running.kill()


def test_the_log_has_no_text_of_strangers(running: Running) -> None:
    send(running.port, [b"MSH|^~\\&|ZZ|ZZ|||20260302||ADT^A01|Z1|P|2.5.1\rPID|1||ZZCANARY\r"])
    assert running.stop() == 0
    for line in running.log.read_text().splitlines():
        assert "ZZCANARY" not in line
        assert set(json.loads(line)) <= {
            *(
                "at",
                "level",
                "from",
                "event",
                "feed",
                "row",
                "code",
                "port",
                "rows",
                "plugin",
                "reason",
                "path",
            )
        }


def test_a_result_corrected_after_meets_reopens_the_review(evening: Running) -> None:
    """Urea, respiratory rate and the rest met; then the laboratory withdraws what it reported."""
    running = evening
    told = sample.stay(3, BEGAN, sample.PNEUMONIA)
    send(running.port, told)
    running.worked()
    show = ("stays", "show", "ZZVN0000003", "--purpose", "HPAYMT")
    assert running.where.rows(*show)[0]["open_reviews"] == []
    withdrawn = [data.replace(b"|||||F|||", b"|||||W|||").replace(b".02|P", b".92|P") for data in told[1:2]]
    more = [data.replace(b"|||||F|||", b"|||||W|||").replace(b".03|P", b".93|P") for data in told[2:3]]
    assert withdrawn[0] != told[1]
    assert {one.ack for one in send(running.port, withdrawn + more)} == {"AA"}
    running.worked()
    assert running.where.rows(*show)[0]["open_reviews"] == ["ADMISSION"]
    slots = [slots for _, slots in determinations(running, len(told) + len(withdrawn) + len(more))]
    (last,) = (each for each in slots if each["plugin"] == "interqual_like")
    assert last["outcome"] == "PEND"
    assert last["supersedes"] is not None


def test_a_stop_with_a_long_backlog_does_not_wait_for_it(installation: Installation) -> None:
    """Many stays wait, each in a lane of its own: SIGTERM works on for its time and leaves the rest."""
    assert LimitSettings().drain_seconds < 10  # docs/operations.md: within 10 s, whatever waits
    installation.edit(r"(?m)^pending_rows", "drain_seconds = 0.2\npending_rows")
    daemon = installation.start()
    arrivals = [sample.stay(n, BEGAN)[0] for n in range(600)]
    tasks = Path(f"/proc/{daemon.process.pid}/task").iterdir()
    lane_workers = [int(pid) for task in tasks for pid in (task / "children").read_text().split()]
    assert lane_workers
    try:
        for pid in lane_workers:
            os.kill(pid, signal.SIGSTOP)  # nothing is worked while they arrive
        send(daemon.port, arrivals, connections=16)
        assert daemon.now()["messages"]["PENDING"] > len(arrivals) / 2
        daemon.process.terminate()
        for pid in lane_workers:
            os.kill(pid, signal.SIGCONT)
        assert daemon.process.wait(START_SECONDS) == 0
    finally:
        daemon.kill()
        for pid in lane_workers:  # what is stopped does not notice that its daemon is gone
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)
    database = sqlite3.connect(installation.settings.store / "umbridge.db")
    (left,) = database.execute("SELECT count(*) FROM inbox WHERE state = 'PENDING'").fetchone()
    database.close()
    assert left > 0  # it stopped, it did not work its way out
    again = installation.start()
    again.worked()
    assert again.stop() == 0
    assert len(installation.rows("messages", "list")) == len(arrivals)


def test_a_damaged_row_is_set_aside_and_blocks_nobody(installation: Installation) -> None:
    daemon = installation.start()
    told = sample.stay(1, BEGAN)
    send(daemon.port, told)
    daemon.worked()
    assert daemon.stop() == 0
    database = sqlite3.connect(installation.settings.store / "umbridge.db")
    database.execute("UPDATE inbox SET state = 'PENDING', sealed = x'00' WHERE seq = 3")
    database.execute("UPDATE tally SET count = count + 1 WHERE name = 'PENDING'")
    database.execute("UPDATE tally SET count = count - 1 WHERE name = 'NOT_APPLICABLE'")
    database.commit()
    database.close()
    again = installation.start()
    send(again.port, sample.stay(2, BEGAN))
    status = again.worked()
    assert status["messages"]["QUARANTINED"] == 1
    assert again.stop() == 0
    assert ("quarantine", "QUARANTINED") in kinds(installation)


def test_an_account_leads_to_its_first_visit_before_and_after_a_restart(installation: Installation) -> None:
    installation.roles("administrator", "ur_nurse")
    template = sample.stay(1, BEGAN)[0]

    def message(number: int, visit: bytes) -> bytes:
        return template.replace(b"ZC0000001.01", b"ZC%07d.01" % number).replace(
            b"ZZVN0000001^^^UMBH^VN", visit
        )

    daemon = installation.start()
    send(daemon.port, [message(1, b"ZZVNA^^^UMBH^VN")])
    daemon.worked()
    assert daemon.stop() == 0
    daemon = installation.start()
    send(daemon.port, [message(2, b"ZZVNB^^^UMBH^VN"), message(3, b"")])
    daemon.worked()
    assert daemon.stop() == 0
    daemon = installation.start()
    send(daemon.port, [message(4, b"")])
    daemon.worked()
    shown = installation.rows("stays", "show", "ZZVNA", "--purpose", "HPAYMT")[0]
    assert daemon.stop() == 0
    assert shown["events_applied"] == 3  # its own, and the two that named the account only

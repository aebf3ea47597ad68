"""Attacks on the ledger that only the daemon's rooms show: rows of audit/tests/test_attack_table.py.

Each makes the attack, says what the verifier says of the ledger afterwards, and has its control beside it.
"""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from installation import Inside, Installation
from test_door import denied, knock, total
from test_host import behaving, case, folder, hosted, install
from test_people import VISIT, Access
from test_receive import frame, receive
from test_writer import accept, incoming, make, rows
from umbridge_audit.checkpoint import read_anchor
from umbridge_audit.entry import Draft
from umbridge_audit.policy import Policy
from umbridge_audit.redact import AccessTable
from umbridge_audit.report import Report
from umbridge_audit.store import open_readonly
from umbridge_audit.verify import verify

from umbridge.access import breakglass
from umbridge.access import door as doors
from umbridge.access.door import Door
from umbridge.commands import render, terminal
from umbridge.errors import ConfigError, NotPermittedError, UnavailableError
from umbridge.settings import config
from umbridge.settings.config import Settings
from umbridge.store import search
from umbridge.store.batch import Batch
from umbridge.store.commands import WriteEntry
from umbridge.store.engine import DATABASE
from umbridge.store.opening import hold_writer, note_start, note_stop, open_keys
from umbridge.store.steps import wall_time
from umbridge.store.writer import Writer

__all__ = ["folder"]  # the fixture comes with the import
TABLE = AccessTable.load()


def said(settings: Settings, writer: Writer | None = None) -> Report:
    """What a keyless verification says now, beside the writer or after it."""
    policy = Policy.read(
        writer.call(Inside(lambda batch: writer.ledger.policy_text()))
        if writer is not None
        else settings.policy.read_text()
    )
    notes = read_anchor(settings.anchor)
    with open_readonly(settings.store / DATABASE) as source:
        return verify(source, policy, anchor_notes=notes)


@pytest.fixture
def writer(installation: Installation) -> Iterator[Writer]:
    settings = installation.settings
    with ExitStack() as stack:
        yield stack.enter_context(hold_writer(settings, open_keys(settings)))


@pytest.fixture
def queries(installation: Installation) -> Iterator[Access]:
    with ExitStack() as stack:
        yield Access(installation, stack)


def tried(writer: Writer, draft: Draft) -> str:
    """What the ledger says to an entry that it must not take."""

    def work(batch: Batch) -> str:
        try:
            writer.ledger.append([draft])
        except ValueError as exc:
            return str(exc)
        return "taken"

    return writer.call(Inside(work))


def kinds(writer: Writer) -> list[str]:
    return [str(row["kind"]) for row in writer.call(Inside(lambda batch: list(writer.ledger.open_slots())))]


@pytest.mark.parametrize("seconds", [-1, -86_400, 10, 86_400 * 40])
def test_a41_a_step_is_on_the_ledger(tmp_path: Path, seconds: int) -> None:
    """Nothing is refused for the clock's sake; the step is an entry before the first with the new time."""
    made, keyring = make(tmp_path / "s")
    off = timedelta()
    with hold_writer(made, keyring) as writer:
        writer.clock.steps._wall = lambda: wall_time() + off
        accept(writer, incoming(b"a", b"one"))
        accept(writer, incoming(b"b", b"two"))
        assert "clock.step" not in kinds(writer)  # the control: a clock that goes as it should leaves none
        off = timedelta(seconds=seconds)
        assert accept(writer, incoming(b"c", b"three")).ack == "AA"
        off = off + timedelta(seconds=1)  # and a little is not a step
        accept(writer, incoming(b"d", b"four"))
        writer.sign()
        written = [kind for kind in kinds(writer) if kind in ("clock.step", "message.received")]
        assert written == ["message.received"] * 2 + ["clock.step"] + ["message.received"] * 2
        detail = writer.ledger.reveal(kinds(writer).index("clock.step"))["ops"]["detail"]
        assert isinstance(detail, dict) and abs(int(str(detail["ms"])) - seconds * 1000) < 1000
        report = said(made, writer)
        assert (report.verdict, report.first_bad_seq) == ("PASS", None)


def test_a41_back_to_before_the_last_entry_between_two_starts(tmp_path: Path) -> None:
    made, keyring = make(tmp_path / "s")
    with hold_writer(made, keyring) as writer:
        writer.clock.steps._wall = lambda: wall_time() + timedelta(days=3)
        accept(writer, incoming(b"a", b"one"))
        assert kinds(writer).count("clock.step") == 0  # how long nobody wrote is not known at a start
    for key in (b"b", b"c"):  # back at the second start, and then no more
        with hold_writer(made, keyring) as writer:
            accept(writer, incoming(key, b"two" + key))
            assert kinds(writer).count("clock.step") == 1


def test_a53_a_record_without_its_index(tmp_path: Path) -> None:
    """Whoever takes a number out of the index hides the row from that search, and from nothing else."""
    made, keyring = make(tmp_path / "s")
    with hold_writer(made, keyring) as writer:
        receive(writer, tmp_path, frame(id="ZZCONTROL").replace(b"ZZM1", b"ZZHIDDEN"))
        wanted = search.Criteria((search.patient(keyring, "ZZHIDDEN", "UMBH"),))
        finder = search.Finder(made.store / DATABASE)
        assert finder.numbers(wanted) == [1]  # the control: it is found while its token is there
        for gone in ("DELETE FROM search_token", "DELETE FROM search_later"):  # wherever it is by now
            writer.call(Inside(lambda batch, gone=gone: batch.cursor.execute(gone).rowcount))  # type: ignore[misc]
        assert finder.numbers(wanted) == []
        assert [row.seq for row in rows(writer)] == [1] and "message.received" in kinds(writer)
        assert finder.numbers(search.Criteria()) == [1]  # a walk over all rows shows it
        finder.close()
        report = said(made, writer)
        assert (report.verdict, report.first_bad_seq) == ("PASS", None)


def test_a57_a_flood_is_counted(installation: Installation, writer: Writer) -> None:
    door = Door(writer, {}, TABLE)
    knock(door)
    assert len(denied(writer)) == total(denied(writer)) == 1  # the control: one refusal is one entry
    for _ in range(doors.FLOOD + 49):
        knock(door)
    door.settle_floods(everything=True)
    assert total(denied(writer)) == doors.FLOOD + 50 and len(denied(writer)) < doors.FLOOD + 5
    report = said(installation.settings, writer)
    assert (report.verdict, report.first_bad_seq) == ("PASS", None)


# --- A58: broken glass ------------------------------------------------------------------------------------


def broken(queries: Access) -> int:
    """The glass broken as it may be; the entry that opened the window."""
    before = len(queries.kinds())
    (row,) = queries.ask("doctor", "ledger.show", seq=queries.mine, purpose="BTG", reason="ZZ emergency here")
    assert row["slots"]["sens_rationale"] == "ZZSECRET"
    assert queries.kinds()[before] == "breakglass.open"
    return before


@pytest.mark.parametrize("reason", ["", "x", "       ", "\t\n \t\n \t\n"])
def test_a58_no_reason_no_glass(queries: Access, reason: str) -> None:
    with pytest.raises(NotPermittedError) as caught:
        queries.ask("doctor", "ledger.show", seq=queries.mine, purpose="BTG", reason=reason)
    assert "ZZSECRET" not in str(caught.value) and VISIT not in str(caught.value)
    assert queries.kinds().count("breakglass.open") == 0 and queries.kinds()[-1] == "access.denied"
    report = said(queries.where.settings, queries.writer)
    assert (report.verdict, report.first_bad_seq) == ("PASS", None)
    # the control: with a reason it is shown
    broken(queries)


def test_a58_nobody_reviews_themselves(queries: Access) -> None:
    """Not whoever broke it, whatever other role they hold or are given; not under another account either."""
    opened = broken(queries)
    user = queries.users["doctor"].user
    tries = [("doctor", "doctor"), ("doctor", "both"), ("second", "both")]
    for account, how in tries:
        roles = ("physician_advisor",) if how == "doctor" else ("physician_advisor", "privacy_officer")
        queries.users[account] = type(queries.users["nurse"])(user=user, roles=roles)
        with pytest.raises(NotPermittedError):
            queries.ask(account, "breakglass.review", seq=opened, finding="justified", reason="ZZ it was me")
    assert "breakglass.review" not in queries.kinds() and breakglass.waiting(queries.writer)["to_review"] == 1
    report = said(queries.where.settings, queries.writer)
    assert (report.verdict, report.first_bad_seq) == ("PASS", None)
    queries.ask(
        "privacy", "breakglass.review", seq=opened, finding="justified"
    )  # the control: a second person
    assert queries.kinds()[-1] == "breakglass.review" and breakglass.waiting(queries.writer)["to_review"] == 0


def test_a58_an_expired_window_shows_nothing(queries: Access, monkeypatch: pytest.MonkeyPatch) -> None:
    broken(queries)
    queries.ask("doctor", "ledger.show", seq=queries.mine, purpose="BTG")  # the control: within the hour
    monkeypatch.setattr(breakglass, "MINUTES", 0)
    queries.ask("doctor", "ledger.show", seq=queries.other, purpose="BTG", reason="ZZ another patient")
    before = queries.kinds().count("access.denied")
    with pytest.raises(NotPermittedError):
        queries.ask("doctor", "ledger.show", seq=queries.other, purpose="BTG")
    assert queries.kinds().count("access.denied") == before + 1
    report = said(queries.where.settings, queries.writer)
    assert (report.verdict, report.first_bad_seq) == ("PASS", None)


def test_a58_nothing_is_taken_back(queries: Access) -> None:
    """The entry that says that the glass was broken is an entry like any other."""
    opened = broken(queries)
    queries.writer.sign()
    assert said(queries.where.settings, queries.writer).verdict == "PASS"  # the control
    db = sqlite3.connect(queries.where.settings.store / DATABASE)
    db.execute("DROP TRIGGER ledger_entry_no_update")
    change = (
        "UPDATE ledger_entry SET open = replace(open, 'breakglass.open/1', 'access.read/1') WHERE seq = ?"
    )
    db.execute(change, (opened,))
    db.commit()
    db.close()
    report = said(queries.where.settings, queries.writer)
    assert (report.verdict, report.first_bad_seq) == ("FAIL", opened)


def test_a59_every_start_and_stop_is_on_the_ledger(installation: Installation) -> None:
    """No setting turns it off, a stop is written, and a kill is told at the next start."""
    original = installation.file.read_text()
    for line in ("enabled = false", 'audit = "off"', "log_access = false"):
        installation.file.write_text(original.replace("[ledger]", f"[ledger]\n{line}"))
        with pytest.raises(ConfigError):
            config.load(installation.file)
    installation.file.write_text(original)
    settings = installation.settings
    for stop in (False, True, True):
        with hold_writer(settings, open_keys(settings)) as writer:
            note_start(writer)
            if stop:
                note_stop(writer)
            states = [row["state"] for row in writer.ledger.open_slots(kinds=["audit.status"])]
    # the first was killed; the others are the control
    assert states == ["started", "started_after_unclean_stop", "stopped", "started", "stopped"]
    report = said(settings)
    assert (report.verdict, report.first_bad_seq) == ("PASS", None)


@pytest.mark.parametrize("name", ["forges", "raises", "huge", "lies", "denies", "dies"])
def test_a63_no_plugin_writes(folder: Path, tmp_path: Path, name: str) -> None:
    """It answers, or fails; actor, number and time of the entry are the daemon's, whatever it sends."""
    install(folder, name, behaving(name))
    screened = hosted([name], lambda host: host.screen({name: case("bad")})[name])
    sound = hosted([name], lambda host: host.screen({name: case()})[name])
    assert sound.failed is None and sound.result.outcome == "MEETS"  # the control: it can answer
    assert screened.failed is not None and screened.result.outcome == "PEND"
    made, keyring = make(tmp_path / "s")
    with hold_writer(made, keyring) as writer:
        values: dict[str, Any] = {
            "actor": f"plugin:{name}",
            "state": "failed",
            "outcome": screened.result.outcome.value,
            "rationale": screened.result.rationale,
        }
        seq = writer.call(WriteEntry(draft=Draft("determination", values)))
        assert seq == writer.ledger.size - 1
        shown = writer.call(Inside(lambda batch: writer.ledger.reveal(seq)))
        assert shown["open"]["actor"] == f"plugin:{name}" and "CANARY" not in json.dumps(shown)
        for forged in ({"ts": "1999-01-01T00:00:00.000Z"}, {"schema": "genesis/1"}, {"seq": 0}):
            assert tried(writer, Draft("determination", values | forged)) != "taken"
        report = said(made, writer)
        assert (report.verdict, report.first_bad_seq) == ("PASS", None)


EVIL = "\x1b[2J\r\n=HYPERLINK(1)\u202eabc\u2028|^~\\&\x00\u2014 zz\n"


def test_a64_hostile_text_is_text(queries: Access) -> None:
    values = {"actor": EVIL, "state": EVIL, "control_id": EVIL, "sender": EVIL, "reason": EVIL}
    seq = queries.writer.call(WriteEntry(draft=Draft("message.received", values)))
    (row,) = queries.ask("nurse", "ledger.show", seq=seq, purpose="HPAYMT")
    assert row["slots"]["actor"] == EVIL  # what was received is kept as it was
    shown = terminal.clean(row["slots"])
    assert shown.isprintable() and "\x1b" not in shown
    lines = list(
        render.csv_lines(
            {"unanchored": 0, "unanchored_window_seconds": 10}, [{"actor": EVIL, "plain": "ward 3"}]
        )
    )
    assert not any(re.search(r'(^|,)"?\s*[=+@-]', line) for line in lines)
    assert any("ward 3" in line for line in lines) and terminal.clean("ward 3") == "ward 3"  # the control
    report = said(queries.where.settings, queries.writer)
    assert (report.verdict, report.first_bad_seq) == ("PASS", None)


def test_a65_no_canary_outside(tmp_path: Path) -> None:
    """A patient's words are in no file in the clear, in no name, in no refusal and in no report."""
    made, keyring = make(tmp_path / "s")
    canary = "ZZCANARYWORD"
    with hold_writer(made, keyring) as writer:
        raw = f"MSH|{canary}\r".encode()
        accept(writer, incoming(b"a", raw, head={"control_id": canary, "type": "ADT^A01", "visit": canary}))
        values = {"actor": "umbridge", "visit": canary, "rationale": canary, "tags": [canary]}
        seq = writer.call(WriteEntry(draft=Draft("determination", values)))
        assert canary in json.dumps(
            writer.call(Inside(lambda batch: writer.ledger.reveal(seq)))
        )  # the control: it is there
        answer = tried(writer, Draft("determination", {"visit": [canary, 1.5]}))  # type: ignore[list-item]
        assert answer != "taken" and canary not in answer
        report = said(made, writer)
        assert (report.verdict, report.first_bad_seq) == ("PASS", None)
        assert canary not in json.dumps(report.to_json())
    for path in (tmp_path / "s").rglob("*"):
        assert canary not in str(path)
        assert not path.is_file() or canary.encode() not in path.read_bytes(), path.name


def test_a66_a_second_pen_is_refused(tmp_path: Path) -> None:
    made, keyring = make(tmp_path / "s")
    with hold_writer(made, keyring) as writer:
        accept(writer, incoming(b"a", b"one"))
        with pytest.raises(UnavailableError, match="holds the lock"), hold_writer(made, keyring):
            pass
        accept(writer, incoming(b"b", b"two"))
        report = said(made, writer)
        assert (report.verdict, report.first_bad_seq) == ("PASS", None)
    with hold_writer(made, keyring) as writer:  # the control: let go, it can be taken up
        assert accept(writer, incoming(b"c", b"three")).seq == 3


def test_a69_a_repeat_is_one_row_and_one_entry(tmp_path: Path) -> None:
    made, keyring = make(tmp_path / "s")
    with hold_writer(made, keyring) as writer:
        first = accept(writer, incoming(b"a", b"one"))
        for _ in range(5):
            again = accept(writer, incoming(b"a", b"one"))
            assert again.duplicate and (again.seq, again.ack) == (first.seq, first.ack)
        assert len(rows(writer)) == kinds(writer).count("message.received") == 1
        accept(writer, incoming(b"b", b"two"))  # the control: another message is another row
        assert len(rows(writer)) == kinds(writer).count("message.received") == 2
        report = said(made, writer)
        assert (report.verdict, report.first_bad_seq) == ("PASS", None)

"""Stores that earlier versions made: brought forward step by step, whatever ends the process on the way."""

from __future__ import annotations

import os
import re
import shutil
import signal
import sqlite3
from collections.abc import Collection, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from test_writer import accept, incoming
from umbridge_audit.checkpoint import read_anchor
from umbridge_audit.policy import Policy
from umbridge_audit.store import open_readonly
from umbridge_audit.verify import verify

from umbridge.errors import StoreError
from umbridge.settings import config
from umbridge.settings.config import Settings
from umbridge.store import engine, upgrade
from umbridge.store.opening import hold_writer, open_keys
from umbridge.store.upgrade import STEPS, Step
from umbridge.store.writer import Writer

KEPT = Path(__file__).parent / "vectors"
FOLDERS = sorted(int(path.name.removeprefix("store-")) for path in KEPT.glob("store-*"))


def kept(version: int, into: Path, name: str = "store") -> Settings:
    """A copy of a kept store, closed to others as it was when it was made."""
    shutil.copytree(KEPT / f"{name}-{version}", into)
    for path in (into, *into.rglob("*")):
        path.chmod(0o700 if path.is_dir() else 0o600)
    (into / "store").chmod(0o710)
    return config.load(into / "umbridge.toml")


def version_of(made: Settings) -> str:
    with closing(sqlite3.connect(made.store / engine.DATABASE)) as db:
        return str(db.execute("SELECT value FROM meta WHERE name = 'version'").fetchone()[0])


def contents(made: Settings, but: Collection[str] = ("meta",)) -> dict[str, list[tuple[object, ...]]]:
    """Every row of every table, by table."""
    with closing(sqlite3.connect(made.store / engine.DATABASE)) as db:
        names = [row[0] for row in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        return {
            name: sorted(db.execute(f'SELECT * FROM "{name}"').fetchall(), key=repr)  # noqa: S608 - its own tables
            for name in names
            if name not in but
        }


def open_and_close(made: Settings) -> None:
    with hold_writer(made, open_keys(made)):
        pass


def verdict(made: Settings) -> tuple[str, int]:
    keyring = open_keys(made)
    policy = Policy.read(made.policy.read_text(encoding="utf-8"))
    notes = read_anchor(made.anchor)
    with open_readonly(made.store / engine.DATABASE, keyring) as rows:
        report = verify(rows, policy, level="full", keyring=keyring, anchor_notes=notes)
    return report.verdict, report.entries


def upgrades_said(writer: Writer) -> list[str]:
    """What the ledger says of upgrades, without their reasons."""
    with writer.reading() as reader:
        rows = [row for row in reader.ledger.open_slots(kinds=["audit.status"]) if row["state"] == "upgraded"]
        details: list[Any] = [
            reader.ledger.reveal(int(str(row["seq"])), ["ops"])["ops"]["detail"] for row in rows
        ]
    return [str(detail).split(":")[0] for detail in details]


def headless(version: str) -> int:
    """Entries that say that the ledger's head was worked out: before version 6 there was no row for it."""
    return int(int(version) < 6)


@pytest.fixture(params=FOLDERS)
def old(request: pytest.FixtureRequest, tmp_path: Path) -> Settings:
    return kept(request.param, tmp_path / "site")


def test_steps_are_numbered_without_gaps_from_the_first_kept_store() -> None:
    assert FOLDERS[0] == upgrade.FIRST
    assert FOLDERS[-1] <= upgrade.newest()
    assert [step.number for step in STEPS] == list(range(upgrade.FIRST + 1, upgrade.newest() + 1))


def test_no_step_touches_what_the_ledger_says() -> None:
    for step in STEPS:
        for statement in step.statements:
            touched = re.sub(r"FROM ledger_\w+", "", statement)
            assert "ledger_" not in touched, f"step {step.number}: ledger tables are only ever read"
            assert not re.match(r"\s*(VACUUM|PRAGMA|ATTACH|BEGIN|COMMIT)", statement), "not in a transaction"


def test_a_kept_store_is_brought_forward_verifies_and_goes_on(old: Settings) -> None:
    before, entries = contents(old), verdict(old)[1]
    first = version_of(old)
    with hold_writer(old, open_keys(old)) as writer:
        stored = accept(writer, incoming(b"zz-new", b"MSH|zz after the upgrade\r"))
        with writer.reading() as reader:
            assert len(reader.rows(0, 1000, 1 << 24)) == stored.seq
            assert all(row.frame for row in reader.rows(0, 1000, 1 << 24))
            assert reader.lanes()
            assert all(reader.stay(lane) is not None for lane in reader.lanes())
        kinds = upgrades_said(writer)
    assert version_of(old) == str(upgrade.newest())
    assert kinds == [
        f"store {step.number - 1} to {step.number}" for step in STEPS if step.number > int(first)
    ]
    assert verdict(old) == ("PASS", entries + len(kinds) + 1 + headless(first))
    after = contents(old)
    assert before["ledger_entry"] == [row for row in after["ledger_entry"] if row in before["ledger_entry"]]
    assert {tuple(row) for row in before["inbox"]} <= {tuple(row) for row in after["inbox"]}
    assert engine.is_whole(old.store / engine.DATABASE)  # every index has its rows, and no others


def test_an_upgrade_is_said_once(old: Settings) -> None:
    first = int(version_of(old))
    open_and_close(old)
    with hold_writer(old, open_keys(old)) as writer:
        told = upgrades_said(writer)
    assert len(told) == len([step for step in STEPS if step.number > first])


class Dying:
    """A process that is killed at its ``last``-th statement that SQLite runs."""

    def __init__(self, last: int) -> None:
        self.left = last

    def __call__(self, _statement: str) -> None:
        self.left -= 1
        if self.left == 0:
            os.kill(os.getpid(), signal.SIGKILL)


def brought(made: Settings, last: int) -> bool:
    """Bring the store forward in a process that dies at a statement; whether it came to the end."""
    child = os.fork()
    if child == 0:
        try:
            with engine.open_database(made.store / engine.DATABASE) as connection:
                connection.set_trace_callback(Dying(last))
                upgrade.bring_forward(connection)
            os._exit(0)
        finally:
            os._exit(1)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status) or os.waitstatus_to_exitcode(status) == 0
    return not os.WIFSIGNALED(status)


def deaths(made: Settings, work: Path) -> Iterator[Settings]:
    """The store after a death at each statement of its upgrade, one after the other."""
    last = 0
    while True:
        last += 1
        copy = work / f"at-{last}"
        shutil.copytree(made.store.parent, copy)
        (copy / "store").chmod(0o710)
        there = config.load(copy / "umbridge.toml")
        if brought(there, last):
            return
        yield there


def test_killed_at_any_statement_it_goes_on_from_the_last_whole_step(old: Settings, tmp_path: Path) -> None:
    entries, tried, first = verdict(old)[1], set[str](), version_of(old)
    steps = [step for step in STEPS if step.number > int(version_of(old))]
    for there in deaths(old, tmp_path / "deaths"):
        tried.add(version_of(there))
        open_and_close(there)  # which looks at every table, index and trigger
        assert version_of(there) == str(upgrade.newest())
        assert verdict(there) == ("PASS", entries + len(steps) + headless(first))
    assert {str(step.number - 1) for step in steps} <= tried  # some died before the end of each step


def test_a_step_that_is_not_one_transaction_is_noticed(
    old: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The planted bug: statements that are durable one by one."""
    halves = [Step(each.number, each.why, (*each.statements[:1], "COMMIT", "BEGIN")) for each in STEPS]
    monkeypatch.setattr(upgrade, "STEPS", tuple(halves))
    with pytest.raises(StoreError):
        for there in deaths(old, tmp_path / "deaths"):
            open_and_close(there)


def test_a_later_version_is_refused_in_words(old: Settings) -> None:
    open_and_close(old)
    with closing(sqlite3.connect(old.store / engine.DATABASE)) as db:
        db.execute("UPDATE meta SET value = ? WHERE name = 'version'", (str(upgrade.newest() + 1),))
        db.commit()
    before = contents(old)
    with pytest.raises(StoreError, match=r"start the newer umbridge, or restore a backup made before"):
        open_and_close(old)
    assert contents(old) == before


def test_a_step_that_fails_leaves_the_store_as_it_was(old: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    bad = Step(upgrade.newest() + 1, "planted", ("CREATE TABLE zz (a)", "INSERT INTO no_such VALUES (1)"))
    open_and_close(old)
    before = contents(old)
    monkeypatch.setattr(upgrade, "STEPS", (*STEPS, bad))
    with pytest.raises(StoreError, match=r"could not be brought to version \d+ \(SQLITE_ERROR\)"):
        open_and_close(old)
    assert contents(old) == before
    monkeypatch.undo()
    open_and_close(old)

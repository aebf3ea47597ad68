"""The row that says where the ledger ends: written with the entries, and never believed over them."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from conftest import START_SECONDS, Installation
from test_upgrade import verdict
from test_writer import accept, incoming, make
from umbridge_audit.entry import Draft
from umbridge_audit.keys import Keyring
from umbridge_audit.store import Broken
from umbridge_audit.store.signed import Signed
from umbridge_audit.tree import Frontier, leaf_hash

from umbridge.errors import StoreError, UnavailableError
from umbridge.settings import config
from umbridge.settings.config import Settings
from umbridge.store.commands import WriteEntries
from umbridge.store.engine import DATABASE
from umbridge.store.opening import hold_writer, open_keys
from umbridge.store.writer import Writer

HEAD = "SELECT size, hash, frontier, ts FROM chain_head"


@pytest.fixture
def made(tmp_path: Path) -> Settings:
    settings, keyring = make(tmp_path / "s")
    with hold_writer(settings, keyring) as writer:
        for number in range(5):
            accept(writer, incoming(b"k%d" % number, b"%d" % number))
        settings.policy.write_text(writer.ledger.policy_text(), encoding="utf-8")
    return settings


def change(made: Settings, *statements: str) -> None:
    with closing(sqlite3.connect(made.store / DATABASE)) as db:
        for statement in statements:
            db.execute(statement)
        db.commit()


def row(made: Settings) -> tuple[object, ...]:
    with closing(sqlite3.connect(made.store / DATABASE)) as db:
        (found,) = db.execute(HEAD).fetchall()
    return tuple(found)


def derived(made: Settings) -> tuple[object, ...]:
    """The same from the leaves alone."""
    frontier, hashed = Frontier(), b""
    with closing(sqlite3.connect(made.store / DATABASE)) as db:
        for (leaf,) in db.execute("SELECT leaf FROM ledger_entry ORDER BY seq"):
            hashed = leaf_hash(leaf)
            frontier.append(hashed)
    return frontier.size, hashed, frontier.packed()


def recomputed(writer: Writer) -> list[str]:
    with writer.reading() as reader:
        rows = list(reader.ledger.open_slots(kinds=["audit.status"]))
        told = [one["seq"] for one in rows if one["state"] == "head_recomputed"]
        return [str(reader.ledger.reveal(int(str(seq)), ["ops"])["ops"]["detail"]) for seq in told]


def test_it_is_written_with_the_entries_that_it_speaks_of(made: Settings) -> None:
    with hold_writer(made, open_keys(made)) as writer:
        for number in range(3):
            accept(writer, incoming(b"n%d" % number, b"n%d" % number))
            assert row(made)[:3] == derived(made)
            with writer.reading() as reader:
                *_, last = reader.ledger.open_slots()
            assert row(made)[3] == last["ts"]
        assert recomputed(writer) == []


WRONG = {
    "another hash": ("UPDATE chain_head SET hash = zeroblob(32)", "wrong"),
    "another tree": ("UPDATE chain_head SET frontier = zeroblob(64)", "wrong"),
    "no tree": ("UPDATE chain_head SET frontier = x''", "wrong"),
    "an earlier size": ("UPDATE chain_head SET size = 2", "wrong"),
    "a size below nothing": ("UPDATE chain_head SET size = -1", "wrong"),
    "a second row": ("INSERT INTO chain_head SELECT 1, 99, hash, frontier, ts FROM chain_head", ""),
    "no row": ("DELETE FROM chain_head", "missing"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_head_is_worked_out_again_and_said(made: Settings, name: str) -> None:
    statement, was = WRONG[name]
    change(made, statement)
    assert verdict(made)[0] == "PASS"  # whoever verifies does not look at it
    with hold_writer(made, open_keys(made)) as writer:
        accept(writer, incoming(b"n", b"n"))
        assert recomputed(writer) == ([f"the store's head row was {was}"] if was else [])
    change(made, "DELETE FROM chain_head WHERE n = 1")
    assert row(made)[:3] == derived(made)
    assert verdict(made)[0] == "PASS"


@pytest.fixture
def cut(made: Settings, tmp_path: Path) -> Settings:
    """A store whose last entry is gone; no checkpoint covers it."""
    with hold_writer(made, open_keys(made)) as writer:
        accept(writer, incoming(b"n", b"n"))
        assert writer.ledger.unanchored
        shutil.copytree(tmp_path / "s", tmp_path / "cut")
    found = config.load(tmp_path / "cut" / "umbridge.toml")
    change(
        found,
        "DROP TRIGGER ledger_entry_no_delete",
        "DROP TRIGGER ledger_part_no_delete",
        "DELETE FROM ledger_part WHERE seq = (SELECT max(seq) FROM ledger_entry)",
        "DELETE FROM ledger_entry WHERE seq = (SELECT max(seq) FROM ledger_entry)",
        *(
            f"CREATE TRIGGER {table}_no_delete BEFORE DELETE ON {table} "
            f"BEGIN SELECT RAISE(ABORT, '{table} is append-only'); END"
            for table in ("ledger_entry", "ledger_part")
        ),
    )
    return found


def open_and_close(made: Settings) -> None:
    with hold_writer(made, open_keys(made)):
        pass


def test_a_head_that_knows_more_entries_than_there_are_ends_the_start(cut: Settings) -> None:
    before = row(cut)
    with pytest.raises(StoreError, match=r"head knows \d+ entries and the ledger has \d+: rows are gone"):
        open_and_close(cut)
    assert row(cut) == before


def test_without_the_row_nobody_would_have_seen_it(cut: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """The planted bug: a start that does not hold the row against the entries."""
    monkeypatch.setattr(Signed, "_hold_head", lambda self: None)
    open_and_close(cut)


# --- a start that reads no leaf below the kept subtrees -------------------------------------------------


@pytest.fixture(scope="module")
def long(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A ledger of more than two kept subtrees."""
    directory = tmp_path_factory.mktemp("long") / "s"
    settings, keyring = make(directory)
    entry = Draft("audit.status", {"actor": "umbridge", "state": "zz", "version": "0"})
    with hold_writer(settings, keyring) as writer:
        writer.call(WriteEntries(drafts=(entry,) * 700))
        settings.policy.write_text(writer.ledger.policy_text(), encoding="utf-8")
    return directory


@pytest.fixture
def site(long: Path, tmp_path: Path) -> Iterator[Settings]:
    shutil.copytree(long, tmp_path / "s")
    yield config.load(tmp_path / "s" / "umbridge.toml")


SPOIL = (
    "DROP TRIGGER ledger_entry_no_update",
    "UPDATE ledger_entry SET leaf = CAST(replace(leaf, '\"v\":2', '\"v\":3') AS BLOB) WHERE seq = 7",
    "CREATE TRIGGER ledger_entry_no_update BEFORE UPDATE ON ledger_entry "
    "BEGIN SELECT RAISE(ABORT, 'ledger_entry is append-only'); END",
)


def test_a_start_takes_the_signed_tree_and_the_leaves_are_read_afterwards(site: Settings) -> None:
    with hold_writer(site, open_keys(site)) as writer:
        assert row(site)[:3] == derived(site)
        with writer.reading() as reader:
            writer.ledger.reread(reader.ledger)
    change(site, *SPOIL)
    with hold_writer(site, open_keys(site)) as writer:
        accept(writer, incoming(b"n", b"n"))
        with (
            writer.reading() as reader,
            pytest.raises(Broken, match="do not give the last checkpoint's root"),
        ):
            writer.ledger.reread(reader.ledger)


@pytest.mark.parametrize(
    "statement", ["UPDATE subtree SET hash = zeroblob(32) WHERE n = 1", "DELETE FROM subtree WHERE n = 0"]
)
def test_kept_subtrees_that_do_not_give_the_signed_root_are_not_believed(
    site: Settings, statement: str
) -> None:
    with closing(sqlite3.connect(site.store / DATABASE)) as db:
        kept = db.execute("SELECT * FROM subtree ORDER BY level, n").fetchall()
    assert len(kept) >= 2
    change(site, statement)
    with hold_writer(site, open_keys(site)) as writer:
        accept(writer, incoming(b"n", b"n"))
        with writer.reading() as reader:
            writer.ledger.reread(reader.ledger)
    assert row(site)[:3] == derived(site)
    assert verdict(site)[0] == "PASS"


@pytest.mark.slow
def test_a_daemon_ends_when_its_old_entries_are_not_those_that_were_signed(
    installation: Installation,
) -> None:
    made = installation.settings
    entry = Draft("audit.status", {"actor": "umbridge", "state": "zz", "version": "0"})
    with hold_writer(made, Keyring.open(made.keys)) as writer:
        writer.call(WriteEntries(drafts=(entry,) * 700))
    change(made, *SPOIL)
    try:
        code = installation.start().process.wait(START_SECONDS)
    except (AssertionError, UnavailableError):  # it had ended before it could be asked, or while it was
        code = 74
    assert code == 74
    assert "ledger_broken" in (installation.directory / "daemon.log").read_text()

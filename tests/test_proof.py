"""The store's own proof: any change to what is evidence is found, with a daemon beside it and without."""

from __future__ import annotations

import json
import re
import shutil
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import pytest
from click.testing import CliRunner
from installation import Installation
from test_registry import feed
from umbridge_audit.checkpoint import read_note
from umbridge_audit.cli import main as verifier
from umbridge_audit.policy import Policy

from umbridge.commands import proof
from umbridge.errors import ConfigError, NotPermittedError, UmbridgeError, UsageError
from umbridge.settings.config import Settings

Level = Literal["spine", "keyless", "full"]
KEYS = ["verdict", "level", "entries", "first_bad_seq", "head", "checkpoint", "unanchored", "seconds"]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Installation:
    """An installation with three stays on its ledger, stopped cleanly."""
    where = Installation(tmp_path_factory.mktemp("proof") / "site")
    feed(where)
    return where


@pytest.fixture
def copy(made: Installation, tmp_path: Path) -> Settings:
    """A copy of its own to change."""
    shutil.copytree(made.directory, tmp_path / "copy")
    there = Installation.at(tmp_path / "copy")
    return there.settings


def verdict(settings: Settings, level: Level = "keyless", policy: Path | None = None) -> dict[str, Any]:
    report = proof.verify_store(settings, level, policy, 1)
    said = report.to_json()
    assert list(said) == KEYS
    codes = {"PASS": 0, "FAIL": 1, "PASS-UNWITNESSED": 3, "INCOMPLETE": 4}
    assert report.exit_code == codes[said["verdict"]]
    return said


def evidence_files(directory: Path) -> dict[Path, bytes]:
    """Every file but the two that SQLite makes beside a database that is being read."""
    files = (p for p in directory.rglob("*") if p.is_file() and not p.name.endswith(("-wal", "-shm")))
    return {path: path.read_bytes() for path in files}


def database(settings: Settings) -> sqlite3.Connection:
    """The store's file in a forger's hands: every append-only trigger is dropped first."""
    connection = sqlite3.connect(settings.store / "umbridge.db", isolation_level=None)
    for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
        connection.execute(f'DROP TRIGGER "{name}"')
    return connection


def evidence(connection: sqlite3.Connection) -> Iterator[tuple[str, str]]:
    """Every column of every table that holds evidence (cli.md: those named ``ledger_*``)."""
    query = "SELECT name FROM sqlite_master WHERE type = 'table' AND name LIKE 'ledger_%'"
    for (table,) in connection.execute(query).fetchall():
        for column in connection.execute(f'PRAGMA table_info("{table}")').fetchall():
            yield table, column[1]


@pytest.mark.parametrize("level", ["spine", "keyless", "full"])
def test_a_ledger_that_nobody_touched_passes_after_a_clean_stop(made: Installation, level: Level) -> None:
    before = evidence_files(made.directory)
    said = verdict(made.settings, level)
    assert (said["verdict"], said["level"], said["unanchored"], said["first_bad_seq"]) == (
        "PASS",
        level,
        0,
        None,
    )
    assert said["entries"] == said["checkpoint"] > 40
    assert evidence_files(made.directory) == before


def test_a_changed_value_in_any_column_fails(made: Installation, tmp_path: Path) -> None:
    shutil.copytree(made.directory, tmp_path / "copy")
    there = Installation.at(tmp_path / "copy")
    settings = there.settings
    whole = (settings.store / "umbridge.db").read_bytes()
    connection = database(settings)
    columns = list(evidence(connection))
    connection.close()
    assert len(columns) >= 6
    for table, column in columns:
        for last in (False, True):
            (settings.store / "umbridge.db").write_bytes(whole)
            connection = database(settings)
            order = "DESC" if last else "ASC"
            ask = (
                f'SELECT rowid, "{column}" FROM "{table}" WHERE "{column}" IS NOT NULL ORDER BY rowid {order}'  # noqa: S608 - the schema's own names
            )
            (rowid, value) = connection.execute(ask).fetchone()
            change = f'UPDATE "{table}" SET "{column}" = ? WHERE rowid = ?'  # noqa: S608 - the same
            connection.execute(change, (other(value), rowid))
            connection.close()
            assert verdict(settings)["verdict"] == "FAIL", (table, column, last)


def other(value: Any) -> Any:
    """Another value of the same kind, as near to the old one as can be."""
    if isinstance(value, int):
        return value + 1_000_003
    if isinstance(value, bytes):
        return value[:-1] + bytes((value[-1] ^ 1,)) if value else b"x"
    return value[:-1] + chr(ord(value[-1]) ^ 1) if value else "x"


def test_a_deleted_row_of_any_table_fails(copy: Settings) -> None:
    whole = (copy.store / "umbridge.db").read_bytes()
    connection = database(copy)
    tables = sorted({table for table, _ in evidence(connection)})
    connection.close()
    for table in tables:
        for pick in ("min(rowid)", "max(rowid)", "(min(rowid) + max(rowid)) / 2"):
            (copy.store / "umbridge.db").write_bytes(whole)
            connection = database(copy)
            forget = f'DELETE FROM "{table}" WHERE rowid = (SELECT {pick} FROM "{table}")'  # noqa: S608 - the same
            done = connection.execute(forget)
            assert done.rowcount == 1
            connection.close()
            assert verdict(copy)["verdict"] == "FAIL", (table, pick)


def test_a_cut_tail_is_behind_its_anchor(copy: Settings) -> None:
    connection = database(copy)
    tables = {t for t, _ in evidence(connection)}
    named = {t for t in tables if ("seq",) in [(c,) for x, c in evidence(connection) if x == t]}
    for table in named:
        cut = f'DELETE FROM "{table}" WHERE seq >= (SELECT max(seq) - 5 FROM "{table}")'  # noqa: S608 - the same
        connection.execute(cut)
    connection.close()
    assert verdict(copy)["verdict"] == "FAIL"


def test_another_ledgers_policy_fails(made: Installation, tmp_path: Path) -> None:
    stranger = Installation(tmp_path / "other", stranger=True)
    assert verdict(made.settings, policy=stranger.settings.policy)["verdict"] == "FAIL"
    assert verdict(stranger.settings, policy=made.settings.policy)["verdict"] == "FAIL"
    assert verdict(stranger.settings)["verdict"] == "PASS"


@pytest.mark.parametrize("text", [b"", b"log\n", b"\xff", b"log x\nquorum none\n"])
def test_a_policy_that_is_none_is_a_configuration_mistake(
    made: Installation, tmp_path: Path, text: bytes
) -> None:
    path = tmp_path / "a.policy"
    path.write_bytes(text)
    for given in (path, tmp_path / "nowhere", tmp_path):
        with pytest.raises(ConfigError, match=re.escape(str(given))):
            verdict(made.settings, policy=given)


def test_a_configured_anchor_that_is_gone_or_garbage_is_not_silence(copy: Settings) -> None:
    copy.anchor.write_bytes(b"\xffgarbage")
    assert verdict(copy)["verdict"] != "PASS"
    copy.anchor.unlink()
    assert verdict(copy)["verdict"] != "PASS"


def test_no_store_is_said(copy: Settings) -> None:
    (copy.store / "umbridge.db").unlink()
    with pytest.raises(ConfigError, match="there is no store"):
        verdict(copy)
    assert not (copy.store / "umbridge.db").exists()


def test_a_store_that_is_no_database_is_one_line_or_a_failure(copy: Settings) -> None:
    (copy.store / "umbridge.db").write_bytes(b"SQLite format 3\0" + b"\xaa" * 5000)
    try:
        assert verdict(copy)["verdict"] == "FAIL"
    except UmbridgeError as exc:
        assert exc.exit_code == 74


def test_full_needs_the_keys_and_keyless_does_not(copy: Settings) -> None:
    shutil.rmtree(copy.keys)
    assert verdict(copy)["verdict"] == "PASS"
    with pytest.raises(ConfigError, match=r"kek|log\.key"):
        verdict(copy, "full")


def test_beside_a_running_daemon_it_passes_and_reads_only(made: Installation) -> None:
    daemon = made.start()
    try:
        daemon.caught_up()
        done = made.run("ledger", "verify", "--json")
        said = json.loads(done.stdout)
        assert said["verdict"] == "PASS"
        before = daemon.now()["ledger"]["entries"]
        made.run("ledger", "verify", "--level", "full")
        assert daemon.now()["ledger"]["entries"] == before  # verifying discloses nothing and appends nothing
        assert daemon.stop() == 0
    finally:
        daemon.kill()
    assert verdict(made.settings)["unanchored"] == 0


# -- receipts and checkpoints -------------------------------------------------------------------------------


def check(receipt: Path, settings: Settings) -> tuple[int, dict[str, Any]]:
    """What a stranger is told, who has the receipt, the policy and ``umbridge-verify``."""
    done = CliRunner().invoke(verifier, [str(receipt), "--policy", str(settings.policy), "--json"])
    return done.exit_code, json.loads(done.stdout)


def test_a_receipt_shows_what_its_profile_shows(made: Installation, tmp_path: Path) -> None:
    rows = [json.loads(line) for line in made.run("ledger", "list", "--json").stdout.splitlines()]
    kinds = ("genesis", "key.create", "message.received", "determination")
    newest = {kind: max(row["seq"] for row in rows if row["kind"] == kind) for kind in kinds}
    for kind, seq in newest.items():
        for profile in ("integrity-only", "role:it_ops"):
            out = tmp_path / f"{seq}.tlog-proof"
            said = made.run("ledger", "proof", str(seq), "--profile", profile, "--out", str(out)).stdout
            assert "umbridge-verify" in said
            code, report = check(out, made.settings)
            assert (code, report["verdict"], report["entry"]) == (0, "PASS", seq)
            schema = f"{kind}/2" if kind == "determination" else f"{kind}/1"
            assert report["shown"].get("schema", schema) == schema
            assert bool(report["shown"]) == (profile != "integrity-only")
            assert not any(word in json.dumps(report["shown"]) for word in ("ZZTEST", "ALDER", "ZZVN"))
    before = rows[-1]["seq"]
    after = [json.loads(line) for line in made.run("ledger", "list", "--json").stdout.splitlines()]
    looked = [row for row in after if row["seq"] > before and row["kind"] == "access.export"]
    assert len(looked) == 2 * len(newest)
    assert verdict(made.settings)["verdict"] == "PASS"


def test_a_receipt_goes_to_stdout_and_beside_a_daemon(made: Installation, tmp_path: Path) -> None:
    daemon = made.start()
    try:
        text = made.run("ledger", "proof", "3", "--purpose", "HCOMPL", "--reason", "ZZ payer asks").stdout
        (tmp_path / "r").write_text(text)
        assert check(tmp_path / "r", made.settings)[1]["verdict"] == "PASS"
        stranger = Installation(tmp_path / "other", stranger=True)
        assert check(tmp_path / "r", stranger.settings)[0] == 1
        assert daemon.stop() == 0
    finally:
        daemon.kill()


@pytest.mark.parametrize(
    ("args", "code"),
    [(["999999"], 1), (["3", "--profile", "role:nobody"], 2), (["3", "--purpose", "NONE"], 77), (["x"], 2)],
)
def test_a_receipt_that_cannot_be_had(made: Installation, tmp_path: Path, args: list[str], code: int) -> None:
    out = tmp_path / "r"
    done = made.run("ledger", "proof", *args, "--out", str(out), check=None)
    assert (done.returncode, done.stdout, out.exists()) == (code, "", False)
    assert len(done.stderr.splitlines()) >= 1


def test_a_checkpoint_covers_all_there_is(made: Installation) -> None:
    said = json.loads(made.run("ledger", "checkpoint", "--json").stdout)
    policy = Policy.read(made.settings.policy.read_text())
    found = read_note(said["note"], policy.log, exact=True)
    assert (said["origin"], said["size"], said["root"]) == (found.origin, found.size, found.root.hex())
    assert found.origin == policy.origin
    note = made.run("ledger", "checkpoint").stdout
    later = read_note(note, policy.log, exact=True)
    assert later.size > found.size and verdict(made.settings)["entries"] >= later.size


# -- writing the bundle -----------------------------------------------------------------------------------


def test_a_bundle_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    out = tmp_path / "bundle.jsonl"
    out.write_text("the one before\n")

    def refused() -> Iterator[str]:
        yield "{}\n"
        raise NotPermittedError("no")

    with pytest.raises(NotPermittedError):
        proof.write_bundle(refused(), out)
    with pytest.raises(UmbridgeError, match="empty"):
        proof.write_bundle(iter(()), out)
    assert [p.name for p in tmp_path.iterdir()] == ["bundle.jsonl"]
    assert out.read_text() == "the one before\n"
    assert proof.write_bundle(iter(["{}\n", '{"é":1}\n']), out) == 2
    assert out.read_bytes() == b"{}\n" + '{"é":1}\n'.encode()
    assert out.stat().st_mode & 0o777 == 0o600


def test_a_bundle_without_a_place_is_not_even_asked_for(tmp_path: Path) -> None:
    asked = []

    def lines() -> Iterator[str]:
        asked.append(1)
        yield "{}\n"

    for out in (tmp_path / "no" / "such", tmp_path):
        with pytest.raises(UsageError, match="--out"):
            proof.write_bundle(lines(), out)
    assert asked == []


# --- on from a checkpoint that was kept -------------------------------------------------------------------


def test_since_a_kept_checkpoint_only_the_new_part_is_vouched_for(tmp_path: Path) -> None:
    where = Installation(tmp_path / "site")
    feed(where)
    kept = tmp_path / "kept"
    kept.write_text(where.run("ledger", "checkpoint").stdout)
    size = int(kept.read_text().split("\n")[1])
    where.run("ledger", "list")  # a look, so that there is something new
    done = where.run("ledger", "verify", "--since", str(kept), "--json")
    said = json.loads(done.stdout)
    assert done.returncode == 0, done.stderr
    assert said["verdict"] == "PASS-SINCE" and said["since"] == size and said["not_read"] == [0, size - 1]
    assert said["entries"] > size and said["unanchored"] == 0
    assert said["head"] == json.loads(where.run("ledger", "verify", "--json").stdout)["head"]
    text = where.run("ledger", "verify", "--level", "full", "--jobs", "2", "--since", str(kept)).stdout
    assert "PASS-SINCE" in text and "not_read" in text
    # the old part was not read, which the verdict said; the new one was
    there = database(where.settings)
    for at, verdict_ in ((1, "PASS-SINCE"), (size, "FAIL")):
        there.execute(
            "UPDATE ledger_entry SET open = replace(open, '\"actor\"', '\"actos\"') WHERE seq = ?", (at,)
        )
        found = where.run("ledger", "verify", "--since", str(kept), "--json", check=None)
        report = json.loads(found.stdout)
        assert (report["verdict"], found.returncode) == (verdict_, 0 if verdict_ == "PASS-SINCE" else 1)
    assert report["first_bad_seq"] == size
    # rolled back to before it
    there.execute("DELETE FROM ledger_entry WHERE seq >= ?", (size - 2,))
    there.execute("DELETE FROM ledger_part WHERE seq >= ?", (size - 2,))
    report = json.loads(where.run("ledger", "verify", "--since", str(kept), "--json", check=1).stdout)
    assert (report["verdict"], report["first_bad_seq"]) == ("FAIL", size - 2)
    there.close()


@pytest.mark.parametrize("raw", [None, b"", b"\xff", b"umbridge\n", b"x" * (2 << 20)])
def test_what_is_no_checkpoint_is_a_usage_error(
    made: Installation, tmp_path: Path, raw: bytes | None
) -> None:
    kept = tmp_path / "kept"
    if raw is not None:
        kept.write_bytes(raw)
    done = made.run("ledger", "verify", "--since", str(kept), check=2)
    assert done.returncode == 2 and len(done.stderr.splitlines()) == 1 and str(kept) in done.stderr
    assert not done.stdout

"""The contract others script against: exit codes, one-line errors, JSON Lines on stdout and nothing else."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner
from installation import START_SECONDS, Installation, Running
from test_registry import feed as send_sample

from umbridge import __version__
from umbridge.commands import sample
from umbridge.commands.main import main

BEGAN = datetime(2026, 1, 12, 14, 0, tzinfo=UTC)
MESSAGE_KEYS = ["seq", "feed", "control_id", "type", "received_at", "ack", "state", "reason", "visit"]
SENT_KEYS = ["file", "control_id", "ack", "error", "ms"]


@dataclass
class Done:
    code: int
    out: str
    err: str

    @property
    def rows(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.out.splitlines()]


def umbridge(*words: str, stdin: bytes = b"", env: dict[str, str] | None = None) -> Done:
    """One command in this process, as the console script runs it."""
    unset: dict[str, str | None] = {"UMBRIDGE_CONFIG": None}
    result = CliRunner().invoke(main, list(words), input=stdin, env=unset | (env or {}))
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return Done(result.exit_code, result.stdout, result.stderr)


def refused(done: Done, code: int, *words: str) -> None:
    """One line on stderr, nothing on stdout, the promised exit code."""
    assert (done.code, done.out) == (code, ""), done.err
    assert len(done.err.splitlines()) == 1
    assert done.err.startswith("umbridge: ")
    for word in words:
        assert word in done.err


def contents(folder: Path) -> dict[str, tuple[int, bytes | None]]:
    return {
        str(p.relative_to(folder)): (p.stat().st_mode, p.read_bytes() if p.is_file() else None)
        for p in sorted(folder.rglob("*"))
        if p.name != "daemon.log"
    }


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Installation:
    return Installation(tmp_path_factory.mktemp("cli") / "site")


@pytest.fixture(scope="module")
def daemon(site: Installation) -> Iterator[Running]:
    running = site.start()
    yield running
    running.kill()


@pytest.fixture(scope="module")
def feed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("feed")
    for number, message in enumerate(sample.stay(0, BEGAN)):
        (folder / f"{number:02d}.hl7").write_bytes(message)
    return folder


# -- the shape of the whole -------------------------------------------------------------------------------


def commands(group: click.Group, *before: str) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    for name, command in group.commands.items():
        yield (*before, name), command
        if isinstance(command, click.Group):
            yield from commands(command, *before, name)


EVERY = dict(commands(main))
BUILT = {
    *("demo", "init", "serve", "send", "screen", "status", "messages list", "messages show", "stays list"),
    *(
        "stays show",
        "ledger verify",
        "ledger list",
        "ledger show",
        "ledger export",
        "plugins list",
        "plugins approve",
        "plugins new",
        "plugins test",
    ),
    "reviews list",
    "reviews show",
    *("facts list", "site draft", "messages unused"),
    *("config check", "listen", "messages replay", "messages dismiss", "messages quarantine list"),
    *("keys list", "keys rotate", "users list", "users add", "users role", "users disable"),
    *("breakglass list", "breakglass review", "report access", "report disclosures", "report breach-scope"),
    *("stays acknowledge", "disclosures record", "backup create", "backup verify"),
    *("ledger proof", "ledger checkpoint"),
}


def test_the_promised_commands_are_there_and_no_others_are_listed() -> None:
    assert {" ".join(words) for words, c in EVERY.items() if not isinstance(c, click.Group)} == BUILT


@pytest.mark.parametrize("words", sorted(EVERY), ids=" ".join)
def test_every_command_explains_itself_and_takes_config_where_it_works_on_a_store(
    words: tuple[str, ...],
) -> None:
    done = umbridge(*words, "--help")
    assert (done.code, done.err) == (0, "")
    assert "Usage: " in done.out
    command = EVERY[words]
    assert command.help
    options = {name for p in command.params for name in p.opts}
    storeless = {("demo",), ("init",), ("screen",), ("listen",), ("plugins", "new"), ("plugins", "test")}
    storeless.add(("site", "draft"))
    if not isinstance(command, click.Group):
        assert ("--config" in options) == (words not in storeless)
    for param in command.params:
        if isinstance(param, click.Option) and param.name not in ("host",):
            assert param.help or param.type.name == "choice" or param.show_default, param.name


def test_the_version_is_the_packages() -> None:
    assert umbridge("--version").out.strip().endswith(__version__)


@pytest.mark.parametrize(
    "words",
    [
        ("nosuch",),
        ("--nosuch",),
        ("--config", "x", "status"),
        ("status", "--nosuch"),
        ("messages", "show"),
        ("messages", "show", "one", "--purpose", "TREAT"),
        ("send",),
        ("screen",),
        ("init",),
        ("ledger", "verify", "--level", "half"),
        ("ledger", "export", "--out", "x"),
        ("send", "x", "--port", "0"),
        ("send", "x", "--port", "65536"),
        ("send", "x", "--connections", "0"),
        ("send", "x", "--rate", "0"),
        ("send", "x", "--rate", "-1"),
        ("send", "/nowhere.hl7"),
        ("screen", "/nowhere.hl7"),
        ("screen", "--as-of", "yesterday", "/dev/null"),
        ("ledger", "verify", "--jobs", "0"),
    ],
    ids=" ".join,
)
def test_a_wrong_call_is_one_line_and_exit_2(site: Installation, words: tuple[str, ...]) -> None:
    refused(umbridge(*words, env={"UMBRIDGE_CONFIG": str(site.file)}), 2)


def test_no_configuration_is_exit_78(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for words in (("status",), ("messages", "list"), ("ledger", "verify"), ("serve",), ("config", "check")):
        refused(umbridge(*words), 78)
        refused(umbridge(*words, "--config", "gone.toml"), 78, "gone.toml")
        refused(umbridge(*words, env={"UMBRIDGE_CONFIG": "other.toml"}), 78, "other.toml")


def test_the_environment_overrides_config(site: Installation, tmp_path: Path) -> None:
    done = umbridge(
        "config",
        "check",
        "--json",
        "--config",
        str(tmp_path / "gone"),
        env={"UMBRIDGE_CONFIG": str(site.file)},
    )
    assert done.rows[0]["settings"] == str(site.file)
    refused(
        umbridge("config", "check", "--config", str(site.file), env={"UMBRIDGE_CONFIG": "gone"}), 78, "gone"
    )


# -- refusing to start ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("spoil", "word"),
    [
        ("rm keys/kek", "kek"),
        ("rm keys/log.key", "log.key"),
        ("rm keys/keystore.json", "keystore.json"),
        ("wrong keys/kek", "key"),
        ("wrong keys/log.key", "key"),
        ("short keys/kek", "kek"),
        ("open keys/kek", "kek"),
        ("open keys/log.key", "log.key"),
        ("open keys/keystore.json", "keystore.json"),
        ("typo umbridge.toml", "checkpoint_secs"),
        ("typo site.toml", "checkpoint_secs"),
        ("typo users.toml", "checkpoint_secs"),
    ],
)
def test_a_missing_wrong_or_open_key_or_a_mistake_refuses_the_start_and_writes_nothing(
    site: Installation, tmp_path: Path, spoil: str, word: str
) -> None:
    where = tmp_path / "copy"
    shutil.copytree(site.directory, where, ignore=shutil.ignore_patterns("control.sock", "*-shm", "*-wal"))
    how, name = spoil.split()
    path = where / name
    if how == "rm":
        path.unlink()
    elif how == "wrong":
        path.write_bytes(bytes(32))
    elif how == "short":
        path.write_bytes(bytes(31))
    elif how == "open":
        path.chmod(0o640)
    else:
        path.write_text("checkpoint_secs = 1\n" + path.read_text())
    before = contents(where)
    done = Installation.loaded().run(["serve", "--config", str(where / "umbridge.toml")], tmp_path)
    refused(Done(done.returncode, done.stdout, done.stderr), 78, word)
    assert contents(where) == before
    refused(umbridge("config", "check", "--config", str(where / "umbridge.toml")), 78, word)


def test_init_refuses_a_folder_with_a_store_and_changes_nothing(tmp_path: Path) -> None:
    done = umbridge("init", str(tmp_path / "new"), "--org", "zz-test", "--chain", "c")
    assert (done.code, done.err) == (0, "")
    assert "umbridge serve" in done.out
    before = contents(tmp_path / "new")
    refused(umbridge("init", str(tmp_path / "new")), 78, "is there already")
    assert contents(tmp_path / "new") == before


def test_without_a_daemon_status_is_69_and_says_so(tmp_path: Path) -> None:
    where = Installation(tmp_path / "site")
    done = umbridge("status", "--json", "--config", str(where.file))
    assert (done.code, done.rows[0]["running"], done.err) == (69, False, "")


# -- with a daemon ----------------------------------------------------------------------------------------


def test_the_round_trip_of_a_feed(site: Installation, daemon: Running, feed: Path) -> None:
    at = ("--config", str(site.file))
    sent = umbridge("send", str(feed), "--port", str(daemon.port), "--json")
    assert (sent.code, sent.err) == (0, "")
    assert [list(row) for row in sent.rows] == [SENT_KEYS] * 6
    assert {row["ack"] for row in sent.rows} == {"AA"}
    assert [row["file"] for row in sent.rows] == sorted(str(p) for p in feed.iterdir())
    daemon.worked()
    listed = umbridge("messages", "list", "--json", *at)
    assert (listed.code, listed.err) == (0, "")
    rows = [row for row in listed.rows if row["control_id"] in {s["control_id"] for s in sent.rows}]
    assert [list(row) for row in rows] == [MESSAGE_KEYS] * 6
    assert [row["control_id"] for row in rows] == [row["control_id"] for row in sent.rows]
    again = umbridge("send", str(feed), "--port", str(daemon.port), "--json", "--connections", "3")
    assert {row["ack"] for row in again.rows} == {"AA"}
    assert len(umbridge("messages", "list", "--json", *at).rows) == len(listed.rows)
    entries = umbridge("ledger", "list", "--kind", "determination", "--json", *at).rows
    shown = umbridge("ledger", "show", str(entries[0]["seq"]), "--purpose", "HCOMPL", "--json", *at)
    assert shown.rows[0]["slots"]["outcome"] == "[redacted]"
    assert umbridge("ledger", "show", "0", "--json", *at).code == 2  # a purpose is needed
    for words in (("plugins", "list"), ("status",), ("stays", "list", "--purpose", "HOPERAT")):
        done = umbridge(*words, "--json", *at)
        assert (done.code, done.err) == (0, "")
        assert done.rows
        assert umbridge(*words, *at).code == 0  # and as a table for people


def test_a_refused_message_and_a_dead_port_are_exit_1(daemon: Running, tmp_path: Path) -> None:
    bad = b"MSH|^~\\&|A|B|C|D|20260112||ZZZ^Z99|ZB-1|P|2.5.1\r"
    done = umbridge("send", "-", "--port", str(daemon.port), "--json", stdin=bad)
    assert (done.code, done.rows[0]["file"], done.rows[0]["ack"]) == (1, "-", "AR")
    assert done.rows[0]["error"].startswith("200")
    done = umbridge("send", "-", "--port", "1", "--json", stdin=bad)
    assert (done.code, done.rows[0]["ack"], done.err) == (1, "CLOSED", "")
    never = b"MSH|^~\\&|A|B|C|D|20260112||ADT^A08|ZB-2|P|2.5.1|||NE|NE\rPID|1\r"
    done = umbridge("send", "-", "--port", str(daemon.port), "--json", stdin=never)
    assert (done.code, done.rows[0]["ack"]) == (0, "NONE")


def test_no_question_on_the_command_line_stops_the_daemon(site: Installation, daemon: Running) -> None:
    at = ("--purpose", "HOPERAT", "--config", str(site.file))
    for words in (
        ("messages", "show", "9" * 25),
        ("ledger", "show", "9" * 25),
        ("messages", "show", "1", "--reason", "x" * 5000),
        ("stays", "show", "\udcff"),
        ("ledger", "list", "--kind", "\udcff"),
    ):
        refused(umbridge(*words, *at), 2)
    refused(umbridge("messages", "show", "999999", *at), 1, "999999")
    refused(umbridge("stays", "show", "NOBODY", *at), 77)  # an answer would say whether there is one
    refused(umbridge("messages", "show", "1", "--purpose", "TREAT", "--config", str(site.file)), 77)
    assert daemon.now()["running"] is True


def test_a_second_daemon_and_a_second_pen_are_refused(site: Installation, daemon: Running) -> None:
    done = site.process("serve", check=None)
    refused(Done(done.returncode, done.stdout, done.stderr), 69, "store/lock")
    assert daemon.now()["running"] is True


def test_an_account_without_a_role_is_77_and_leaves_its_entry(tmp_path: Path) -> None:
    where = Installation(tmp_path / "site")
    where.roles()
    at = ("--config", str(where.file))
    refused(umbridge("messages", "list", *at), 77, "recorded as entry")
    refused(
        umbridge("ledger", "export", "--profile", "integrity-only", "--out", str(tmp_path / "b"), *at), 77
    )
    assert not (tmp_path / "b").exists()
    where.roles("compliance_auditor")
    assert len(umbridge("ledger", "list", "--kind", "access.denied", "--json", *at).rows) == 2


def test_an_export_says_how_to_verify_it_and_a_place_that_is_none_is_exit_2(
    site: Installation, daemon: Running, tmp_path: Path
) -> None:
    at = ("--config", str(site.file))
    before = len(umbridge("ledger", "list", "--kind", "access.export", "--json", *at).rows)
    for out in (tmp_path / "no" / "such", tmp_path):
        refused(umbridge("ledger", "export", "--profile", "role:it_ops", "--out", str(out), *at), 2, "--out")
    assert len(umbridge("ledger", "list", "--kind", "access.export", "--json", *at).rows) == before
    done = umbridge("ledger", "export", "--profile", "role:it_ops", "--out", str(tmp_path / "b"), *at)
    assert done.code == 0
    assert "umbridge-verify" in done.out


def test_sighup_reads_the_accounts_again_and_a_mistake_leaves_them(
    site: Installation, daemon: Running
) -> None:
    at = ("--config", str(site.file))

    def until(code: int) -> None:
        ends = time.monotonic() + START_SECONDS
        while umbridge("messages", "list", *at).code != code:
            assert time.monotonic() < ends
            time.sleep(0.02)

    until(0)
    site.roles("plugin_vendor")
    daemon.process.send_signal(signal.SIGHUP)
    until(77)
    site.edit("roles = ", "rolls = ", "users.toml")
    daemon.process.send_signal(signal.SIGHUP)
    site.edit("rolls = ", "roles = ", "users.toml")
    site.roles("administrator", "compliance_auditor")
    daemon.process.send_signal(signal.SIGHUP)
    until(0)


# -- screen ----------------------------------------------------------------------------------------------


def test_screen_prints_the_same_bytes_twice_from_files_and_from_stdin(feed: Path) -> None:
    first = umbridge("screen", str(feed), "--json")
    assert (first.code, first.err) == (0, "")
    judged = [row for row in first.rows if row["plugin"] != "two_midnight"]  # no Medicare patient here
    assert {row["outcome"] for row in judged} == {"MEETS"}
    assert umbridge("screen", str(feed), "--json").out == first.out
    whole = b"".join(p.read_bytes() for p in sorted(feed.iterdir()))
    assert umbridge("screen", "-", "--json", stdin=whole).out == first.out
    (stay,) = umbridge("screen", "-", "--json", "--stays", stdin=whole).rows
    assert (stay["status"], stay["events_applied"]) == ("INPATIENT", 6)


def test_screen_shows_the_tree_of_the_worker_that_answered_beside_the_same_answer(feed: Path) -> None:
    rows = umbridge("screen", str(feed), "--json", "--why").rows
    plain = umbridge("screen", str(feed), "--json").rows
    assert [{key: value for key, value in row.items() if key != "why"} for row in rows] == plain
    assert {row["plugin"] for row in rows if row["why"]} >= {"interqual_like", "mcg_like"}
    for row in rows:
        for tree in row["why"]:
            assert list(tree) == ["rule", "truth", "readings", "missing", "children"]
    lines = umbridge("screen", str(feed), "--why").out.splitlines()
    assert max(map(len, lines)) <= 80
    for row in rows:
        assert f"{row['visit']}  {row['review']}  day {row['episode_day']}" in lines
        assert any(line.startswith(f"  {row['plugin']}: {row['outcome']}") for line in lines)
    plain_lines = umbridge("screen", str(feed)).out.splitlines()
    assert {line for line in plain_lines if line not in lines} == set()


def test_screen_asks_only_the_plugins_named_and_refuses_one_that_is_not_there(feed: Path) -> None:
    rows = umbridge("screen", str(feed), "--json", "--plugin", "mcg_like").rows
    assert {row["plugin"] for row in rows} == {"mcg_like"}
    refused(umbridge("screen", str(feed), "--plugin", "nosuch"), 78, "nosuch", "mcg_like")


def test_screen_of_no_feed_says_so_on_stderr_alone() -> None:
    done = umbridge("screen", "-", "--json", stdin=b"not hl7")
    assert (done.code, done.out) == (0, "")
    assert done.err == "1 not used: no_readable_header\n"


@pytest.mark.parametrize("moment", ["9999-12-31", "0001-01-01T00:00:00+14:00", "1700-01-01"])
def test_screen_at_a_moment_out_of_this_world_is_a_usage_error(feed: Path, moment: str) -> None:
    refused(umbridge("screen", str(feed), "--as-of", moment), 2, "--as-of")


def test_a_reader_that_leaves_early_is_no_traceback(feed: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "umbridge.commands.main", "screen", str(feed), "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(60) in (1, 141)  # click ends a broken pipe with 1, a shell would show 141


def test_the_output_is_ascii_whatever_a_file_is_called(tmp_path: Path) -> None:
    name = os.fsdecode(b"odd\xff.hl7")
    (tmp_path / name).write_bytes(sample.stay(0, BEGAN)[0])
    done = umbridge("send", str(tmp_path), "--port", "1", "--json")
    assert done.code == 1
    assert done.out.isascii()
    assert done.rows[0]["file"] == str(tmp_path / name)


def test_a_page_of_the_worklist_says_how_to_have_the_next(installation: Installation) -> None:
    """The table has no room for what names its last line."""
    installation.roles("ur_nurse")
    send_sample(installation, stays=6)
    listed = ("reviews", "list", "--purpose", "HPAYMT")
    whole = [json.loads(line) for line in installation.run(*listed, "--json").stdout.splitlines()]
    found, more = [], ""
    while True:
        after = ("--after", more) if more else ()
        found += installation.run(*listed, *after, "--limit", "1", "--json").stdout.splitlines()
        said = installation.run(*listed, *after, "--limit", "1").stderr
        if "next page: --after " not in said:
            break
        more = said.strip().rpartition(" ")[2]
    assert [json.loads(line)["review_id"] for line in found] == [row["review_id"] for row in whole]
    assert len(whole) > 1

"""A command that only asks the daemon loads what asking takes, finds the socket, and knocks once."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from installation import Installation, Running

import umbridge
from umbridge.access.control_client import SOCKET
from umbridge.commands import options
from umbridge.criteria import frontdoor
from umbridge.errors import ConfigError
from umbridge.settings import config
from umbridge.settings import file as settingsfile

# What the daemon is made of, by its first names. asyncio and ssl: a client needs neither.
GOOD = '[ledger]\norg = "zz-test"\nchain = "t"\n[feeds.main]\nport = 2575\n'
HEAVY = (
    *("pydantic", "pydantic_core", "sqlmodel", "sqlalchemy", "sqlite3", "hl7apy", "pluggy", "asyncio", "ssl"),
    *(
        "cryptography",
        "umbridge_audit",
        "umbridge.run.daemon",
        "umbridge.settings.config",
        "umbridge.access.control",
    ),
)
LOADED = (
    "import atexit, sys; atexit.register(lambda: print('loaded', *sys.modules, file=sys.stderr)); "
    "from umbridge.commands.main import main; main()"
)
ASKING = (
    *(("status",), ("messages", "list"), ("messages", "list", "--visit", "ZZ-1")),
    *(("stays", "list", "--purpose", "HPAYMT"), ("reviews", "list", "--purpose", "HPAYMT")),
    *(("ledger", "list"), ("ledger", "show", "1", "--purpose", "HPAYMT"), ("ledger", "checkpoint")),
    *(("keys", "list"), ("users", "list"), ("breakglass", "list")),
    *(("report", "access"), ("messages", "quarantine", "list")),
)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Installation:
    made = Installation(tmp_path_factory.mktemp("asking") / "site")
    made.roles("administrator", "compliance_auditor", "ur_nurse")
    return made


@pytest.fixture(scope="module")
def daemon(site: Installation) -> Iterator[Running]:
    running = site.start()
    yield running
    running.kill()


def loaded(where: Installation, *words: str) -> tuple[int, set[str]]:
    """How a command ended, and which modules of the daemon's its process held then."""
    done = subprocess.run(
        [sys.executable, "-c", LOADED, *words, "--config", str(where.file)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    last = done.stderr.splitlines()[-1].split()
    assert last[0] == "loaded", done.stderr
    return done.returncode, {name for name in last for heavy in HEAVY if f"{name}.".startswith(f"{heavy}.")}


# -- what is loaded ---------------------------------------------------------------------------------------


def test_status_without_a_daemon_loads_nothing_of_one(tmp_path: Path) -> None:
    assert loaded(Installation(tmp_path / "site"), "status", "--json") == (69, set())


@pytest.mark.parametrize("words", ASKING, ids=" ".join)
def test_a_question_to_a_daemon_loads_nothing_of_one(
    site: Installation, daemon: Running, words: tuple[str, ...]
) -> None:
    assert loaded(site, *words) == (0, set())


def test_what_answers_without_a_daemon_is_seen_by_this_test(tmp_path: Path) -> None:
    code, heavy = loaded(Installation(tmp_path / "site"), "messages", "list")
    nowhere = {"hl7apy", "sqlmodel", "sqlalchemy"}  # a start loads no dictionary and no table classes
    assert (code, set(HEAVY) - heavy) == (0, nowhere)


@pytest.mark.parametrize("words", ASKING, ids=" ".join)
def test_another_account_is_told_that_no_daemon_runs(
    installation: Installation, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...]
) -> None:
    """Whose store it is decides; what else that account may not read is not what is wrong."""
    monkeypatch.setattr(os, "geteuid", lambda: 54321)
    installation.settings.users.unlink()
    done = installation.run(*words, check=69)
    if words != ("status",):
        owner = installation.settings.store.stat().st_uid
        assert f"no daemon runs, and only account {owner} may look without one" in done.stderr


# -- how it is asked --------------------------------------------------------------------------------------


def test_a_question_is_one_connection(installation: Installation) -> None:
    seen: list[str] = []

    def answer() -> None:
        while True:
            try:
                peer, _ = listening.accept()
            except OSError:
                return
            with peer, peer.makefile("rwb") as stream:
                seen.append(json.loads(stream.readline())["op"])
                stream.write(b'{"row":{"seq":7}}\n{"done":true}\n')

    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(os.path.relpath(installation.settings.store / SOCKET))
        listening.listen()
        thread = threading.Thread(target=answer)
        thread.start()
        rows = list(options.ask(options.Installation(installation.file), "messages.list", {}))
        listening.shutdown(socket.SHUT_RDWR)
        thread.join()
    assert (rows, seen) == ([{"seq": 7}], ["messages.list"])


@pytest.mark.parametrize("named", ["", 'store = "s"', 'store = "/zz/s"', 'store = "../s"', 'keys = "k"'])
def test_the_store_is_found_where_the_settings_have_it(tmp_path: Path, named: str) -> None:
    file = tmp_path / "umbridge.toml"
    file.write_text(f"{GOOD}[paths]\n{named}\n")
    (tmp_path / "link.toml").symlink_to(file)
    for path in (file, tmp_path / "link.toml"):
        assert settingsfile.store(path) == config.load(path).store


@pytest.mark.parametrize("paths", ["paths = 7", "[paths]\nstore = 7", "[paths]\nstore = []"])
def test_a_store_that_cannot_be_found_is_told_as_ever(tmp_path: Path, paths: str) -> None:
    file = tmp_path / "umbridge.toml"
    file.write_text(f"{paths}\n{GOOD}" if paths.startswith("paths") else f"{GOOD}{paths}\n")
    with pytest.raises(ConfigError, match="paths"):
        options.Installation(file).request("status", {})


def test_a_mistake_elsewhere_in_the_settings_does_not_keep_a_daemon_from_being_asked(
    site: Installation, daemon: Running, tmp_path: Path
) -> None:
    wrong = site.directory / "wrong.toml"
    wrong.write_text("checkpoint_secs = 1\n" + site.file.read_text())
    asked = options.Installation(wrong)
    assert [row["running"] for row in asked.request("status", {}) or ()] == [True]
    with pytest.raises(ConfigError, match="checkpoint_secs"):  # needed as soon as no daemon answers
        _ = asked.settings


# -- the front door ---------------------------------------------------------------------------------------


def test_the_front_door_hands_out_what_it_lists_and_nothing_else() -> None:
    assert umbridge.__all__ == frontdoor.__all__
    for name in umbridge.__all__:
        assert getattr(umbridge, name) is getattr(frontdoor, name)
    with pytest.raises(AttributeError, match="no attribute 'Daemon'"):
        _ = umbridge.Daemon

"""Backups: made while messages come in, proved by the policy, useless without the keys, whole or nothing."""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from installation import Installation
from umbridge_audit.keys import Keyring
from umbridge_audit.redact import AccessTable

from umbridge.access import backup
from umbridge.access.door import Door
from umbridge.commands import sample
from umbridge.errors import ConfigError, NotPermittedError, UmbridgeError, UsageError
from umbridge.intake import delivery
from umbridge.settings.config import User
from umbridge.store.opening import hold_writer, open_keys

BEGAN = datetime(2026, 1, 12, 14, 0, tzinfo=UTC)


class Made:
    """An installation that was fed while a backup of it was made."""

    def __init__(self, folder: Path) -> None:
        self.where = Installation(folder / "site")
        self.file = folder / "backups" / "one.backup"
        self.file.parent.mkdir()
        daemon = self.where.start()
        try:
            frames = [(str(n), frame) for n in range(4) for frame in sample.stay(n, BEGAN)]
            half = len(frames) // 2
            asyncio.run(delivery.send_all("127.0.0.1", daemon.port, frames[:half], done=lambda _: None))

            async def together() -> None:
                sending = delivery.send_all("127.0.0.1", daemon.port, frames[half:], done=lambda _: None)
                words = ("backup", "create", "--out", str(self.file), "--json")
                done, _ = await asyncio.gather(asyncio.to_thread(self.where.run, *words), sending)
                self.said: dict[str, Any] = json.loads(done.stdout)

            asyncio.run(together())
            daemon.worked()
            assert daemon.stop() == 0
        finally:
            daemon.kill()

    def check(self, file: Path | None = None, keyring: Keyring | None = None, level: Any = "keyless") -> str:
        settings = self.where.settings
        keys = keyring or open_keys(settings)
        return backup.check(settings, file or self.file, settings.policy, keys, level).verdict


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Made]:
    yield Made(tmp_path_factory.mktemp("backup"))


def test_a_backup_made_under_load_is_proved_and_on_the_ledger(made: Made) -> None:
    assert made.file.stat().st_mode & 0o777 == 0o600 and made.said["bytes"] == made.file.stat().st_size
    assert made.check() == made.check(level="full") == "PASS"
    rows = made.where.rows("ledger", "list", "--kind", "backup.create")
    assert [row["seq"] for row in rows] == [made.said["entry"]]
    assert made.where.rows("ledger", "verify")[0]["verdict"] == "PASS"
    assert "PASS" in made.where.run("backup", "verify", str(made.file)).stdout
    left = [*made.where.settings.store.glob(".*part"), *made.file.parent.glob(".*")]
    assert left == []


def test_nothing_readable_and_no_key_is_in_it(made: Made) -> None:
    raw = made.file.read_bytes()
    for word in (b"SQLite", b"ZZTEST", b"ZZVN", b"access.", b"umbridge.zz-test"):
        assert word not in raw.partition(b"\n")[2]
    for path in made.where.settings.keys.iterdir():
        assert path.read_bytes() not in raw


def test_a62_without_the_keys_it_says_which_is_missing(made: Made, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"backup\."):
        made.check(keyring=Keyring.create(tmp_path / "other"))
    other = Installation(tmp_path / "site", stranger=True)
    settings = other.settings
    keys = open_keys(made.where.settings)
    assert backup.check(settings, made.file, settings.policy, keys, "keyless").verdict == "FAIL"


def test_hostile_files_are_refused_in_one_line(made: Made, tmp_path: Path) -> None:
    raw = made.file.read_bytes()
    head, _, rest = raw.partition(b"\n")
    empty = (b"", b"\n", b"{}\n", head, head + b"\n")
    for bad in (*empty, b"[" * 5000, b"x" * 9000, rest, head[:-2] + b"\n" + rest):
        (tmp_path / "bad").write_bytes(bad)
        with pytest.raises(UmbridgeError) as caught:
            made.check(tmp_path / "bad")
        assert "\n" not in str(caught.value)
    with pytest.raises(UmbridgeError):
        made.check(tmp_path / "absent")


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.integers(0, 10**9), st.integers(1, 255), st.sampled_from(["flip", "cut", "double", "drop"]))
def test_any_changed_byte_is_refused(
    made: Made, tmp_path_factory: pytest.TempPathFactory, at: int, bits: int, how: str
) -> None:
    raw = made.file.read_bytes()
    at %= len(raw)
    changed = {
        "flip": raw[:at] + bytes([raw[at] ^ bits]) + raw[at + 1 :],
        "cut": raw[:at],
        "double": raw + raw[at:],
        "drop": raw[:at] + raw[at + 1 :],
    }[how]
    path = tmp_path_factory.getbasetemp() / "changed.backup"
    path.write_bytes(changed)
    with pytest.raises(UmbridgeError):
        made.check(path)


def test_an_edited_database_sealed_again_is_a_fail(made: Made, tmp_path: Path) -> None:
    """Whoever has the keys may seal what they like; the policy and the anchor still tell."""
    import sqlite3

    keys = open_keys(made.where.settings)
    head = backup._unseal(made.file, tmp_path / "db", keys)
    shutil.copy(tmp_path / "db", tmp_path / "same")
    with sqlite3.connect(tmp_path / "db") as db:
        db.execute("DROP TRIGGER ledger_entry_no_delete")
        db.execute("DELETE FROM ledger_entry WHERE seq = (SELECT max(seq) FROM ledger_entry)")
    db.close()
    first = made.file.read_bytes().partition(b"\n")[0]
    for name, verdict in (("same", "PASS"), ("db", "FAIL")):
        said = json.loads(first) | {"bytes": (tmp_path / name).stat().st_size}
        line = json.dumps(said, sort_keys=True).encode() + b"\n"
        backup._seal(tmp_path / name, tmp_path / f"{name}.backup", line, keys.cipher(head.kid))
        assert made.check(tmp_path / f"{name}.backup") == verdict


def test_where_a_backup_may_not_lie(made: Made) -> None:
    settings = made.where.settings
    with hold_writer(settings, open_keys(settings)) as writer:
        users = {"zz": User(user="zz", roles=("administrator",)), "yy": User(user="yy", roles=("ur_nurse",))}
        backups = backup.Backups(settings, Door(writer, users, AccessTable.load()))

        def create(account: str, out: Path | str) -> None:
            act = backup.CreateBackup.of({"out": str(out)})
            list(backups.create(backups._door.viewer(account, "test"), act))

        for out in (settings.store / "b", settings.keys / "b", "/nowhere/b", "relative", made.file):
            with pytest.raises(UsageError, match="--out"):
                create("zz", out)
        with pytest.raises(NotPermittedError):
            create("yy", made.file.with_name("two"))
    assert sorted(p.name for p in made.file.parent.iterdir()) == ["one.backup"]

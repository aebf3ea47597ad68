"""Keys listed and rotated: nothing secret shown, two people where there are two, under a running daemon."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from installation import Installation, Running
from umbridge_audit.keys import Keyring
from umbridge_audit.redact import AccessTable
from umbridge_audit.store import open_readonly

from umbridge.access import keys
from umbridge.access.door import Door
from umbridge.access.keys import KeyCare, KeysList, RotateKeys
from umbridge.errors import ConfigError, NotPermittedError, UsageError
from umbridge.settings.config import User
from umbridge.store.engine import DATABASE
from umbridge.store.opening import hold_writer, open_keys
from umbridge.store.writer import Writer

ADMIN = ("administrator",)


@pytest.fixture
def writer(installation: Installation) -> Iterator[Writer]:
    settings = installation.settings
    with ExitStack() as stack:
        writer = stack.enter_context(hold_writer(settings, open_keys(settings)))
        keys.settle(writer, settings.policy)
        writer.policy = settings.policy  # type: ignore[attr-defined]
        yield writer


def care(writer: Writer, **roles: tuple[str, ...]) -> KeyCare:
    users = {account: User(user=f"{account}-user", roles=held) for account, held in roles.items()}
    return KeyCare(Door(writer, users, AccessTable.load()), writer.policy)  # type: ignore[attr-defined]


def rotate(at: KeyCare, account: str, **args: Any) -> dict[str, Any]:
    (row,) = at.rotate(at._door.viewer(account, "test"), RotateKeys.of(args))
    return row.values


def kinds(writer: Writer) -> list[str]:
    return [str(row["kind"]) for row in writer.ledger.open_slots()]


def test_nothing_secret_is_listed(writer: Writer) -> None:
    at = care(writer, zz=ADMIN)
    rows = [row.values for row in at.list(at._door.viewer("zz", "test"), KeysList.of({}))]
    assert {row["use"] for row in rows} >= {"key-encryption", "signing", "token"}
    text = json.dumps(rows)
    for path in writer.keyring.directory.iterdir():
        assert path.read_bytes().hex() not in text
    for record in writer.keyring.records():
        assert record.kid in text and record.wrapped not in text and record.commit not in text
    assert "access.search" in kinds(writer)
    with pytest.raises(NotPermittedError):
        list(at.list(at._door.viewer("nobody", "test"), KeysList.of({})))


def test_one_administrator_decides_alone_and_the_ledger_says_so(writer: Writer) -> None:
    at = care(writer, zz=ADMIN)
    old = writer.keyring.provider.kek_id
    done = rotate(at, "zz", what="kek", reason="ZZ yearly")
    assert done["state"] == "done" and done["made"] == [writer.keyring.provider.kek_id] != [old]
    said = writer.ledger.reveal(done["entry"])
    assert said["open"]["state"] == "one person decided"
    assert (said["ops"]["subject"], said["ops"]["reason"]) == ("rotate kek", "ZZ yearly")
    with writer.reading() as reader:
        assert reader.note("kek") == writer.keyring.provider.kek_id
    assert "key.rotate" in kinds(writer)


def test_with_two_administrators_one_asks_and_the_other_allows(writer: Writer) -> None:
    at = care(writer, zz=ADMIN, yy=ADMIN, xx=("ur_nurse",))
    old = writer.keyring.provider.kek_id
    asked = rotate(at, "zz", what="data", kinds="clin sens")
    assert (asked["state"], asked["made"]) == ("waits", [])
    for account, wrong in (("zz", NotPermittedError), ("xx", NotPermittedError)):
        with pytest.raises(wrong):
            rotate(at, account, approve=asked["entry"])
    with pytest.raises(UsageError, match="nothing that still waits"):
        rotate(at, "yy", approve=asked["entry"] + 1000)
    done = rotate(at, "yy", approve=asked["entry"])
    assert [kid.partition(".")[0] for kid in done["made"]] == ["clin", "sens"]
    assert writer.keyring.provider.kek_id == old
    with pytest.raises(UsageError, match="nothing that still waits"):
        rotate(at, "yy", approve=asked["entry"])  # once
    assert kinds(writer).count("approval") == 2 and kinds(writer).count("access.denied") == 2


def test_two_accounts_of_one_person_are_one_person(writer: Writer) -> None:
    users = {name: User(user="zz-same", roles=ADMIN) for name in ("zz", "yy")}
    users["xx"] = User(user="xx", roles=ADMIN)
    at = KeyCare(Door(writer, users, AccessTable.load()), writer.policy)  # type: ignore[attr-defined]
    asked = rotate(at, "zz", what="kek")
    with pytest.raises(NotPermittedError, match="may not also allow"):
        rotate(at, "yy", approve=asked["entry"])


@pytest.mark.parametrize(
    "args",
    [
        {"what": "log"},
        {"what": "data", "kinds": "clin nonsense"},
        {"what": "data", "kinds": "token"},
        {"what": "token"},
        {"what": "signing", "passphrase": "ZZTEST long enough"},
        {"what": "kek", "passphrase": "short"},
        {"approve": "x"},
    ],
)
def test_what_cannot_be_rotated_changes_nothing(writer: Writer, args: dict[str, Any]) -> None:
    at = care(writer, zz=ADMIN)
    before = {p: p.read_bytes() for p in writer.keyring.directory.iterdir()}
    with pytest.raises(UsageError) as caught:
        rotate(at, "zz", **args)
    assert "short" not in str(caught.value).replace("shorter", "")
    assert {p: p.read_bytes() for p in writer.keyring.directory.iterdir()} == before
    assert "key.rotate" not in kinds(writer)


def test_a_daemon_rotates_while_it_runs_and_starts_again(running: Running, tmp_path: Path) -> None:
    where = running.where
    before = (where.settings.keys / "kek").read_bytes()
    where.run("keys", "rotate", "kek", "--reason", "ZZ test")
    where.run("keys", "rotate", "data", "--kind", "clin")
    assert (where.settings.keys / "kek").read_bytes() != before
    rows = where.rows("keys", "list")
    assert sum(row["use"] == "clin" for row in rows) == 2
    assert sum(row["use"] == "clin" and row["in_use"] for row in rows) == 1
    assert running.stop() == 0
    again = where.start()
    try:
        assert again.stop() == 0
    finally:
        again.kill()
    assert where.rows("ledger", "verify", "--level", "full")[0]["verdict"] == "PASS"
    settings = where.settings
    with open_readonly(settings.store / DATABASE, Keyring.open(settings.keys)) as reader:
        looks = [reader.reveal(int(str(row["seq"]))) for row in reader.open_slots(kinds=["access.search"])]
    assert looks and all(
        str(look["ops"]["source"]).startswith(f"control socket, uid {os.geteuid()}, pid ") for look in looks
    )


def test_under_a_passphrase_a_start_needs_it_and_says_which_key(
    installation: Installation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings, words = installation.settings, "ZZTEST words enough"
    with hold_writer(settings, open_keys(settings)) as writer:
        keys.settle(writer, settings.policy)
        writer.policy = settings.policy  # type: ignore[attr-defined]
        rotate(care(writer, zz=ADMIN), "zz", what="kek", passphrase=words)
        kek = writer.keyring.provider.kek_id
    before = {p: p.read_bytes() for p in settings.keys.iterdir()}
    done = installation.run("keys", "list", check=78)
    assert kek in done.stderr and "UMBRIDGE_PASSPHRASE_FILE" in done.stderr
    said = tmp_path / "passphrase"
    said.write_text("ZZTEST other words\n")
    said.chmod(0o600)
    monkeypatch.setenv("UMBRIDGE_PASSPHRASE_FILE", str(said))
    with pytest.raises(ConfigError, match=kek):
        open_keys(settings)
    assert {p: p.read_bytes() for p in settings.keys.iterdir()} == before
    said.write_text(words + "\n")
    assert Keyring.open(settings.keys).provider.kind == "passphrase"
    assert "PASS" in installation.run("ledger", "verify", "--level", "full").stdout


def test_the_signing_key_is_handed_over_while_the_daemon_runs(running: Running, tmp_path: Path) -> None:
    where = running.where
    policy = where.settings.policy
    policy.write_text("# ours, by hand\n" + policy.read_text())
    old = tmp_path / "old.policy"
    old.write_text(policy.read_text())
    before = (where.settings.keys / "log.key").read_bytes()
    where.run("ledger", "checkpoint")
    (done,) = where.rows("keys", "rotate", "signing", "--reason", "ZZ yearly")
    text = policy.read_text()
    assert done["state"] == "done" and f"log umbridge.zz-test/t/1+{done['made'][0]}+" in text
    assert text.startswith("# ours, by hand\n") and text.count("handover ") == 1
    assert (where.settings.keys / "log.key").read_bytes() != before
    where.run("ledger", "checkpoint")
    assert where.rows("ledger", "verify", "--level", "full")[0]["verdict"] == "PASS"
    assert where.run("ledger", "verify", "--policy", str(old), check=1).stdout.startswith(
        "verdict        FAIL"
    )
    command = [sys.executable, "-m", "umbridge_audit.cli", str(policy), "--policy", str(old)]
    assert subprocess.run(command, check=False, capture_output=True).returncode == 0
    uses = [row for row in where.rows("keys", "list") if row["use"] == "signing"]
    assert [row["in_use"] for row in uses] == [False, True]
    assert running.stop() == 0
    policy.write_text(old.read_text())  # the crash came before the policy was written
    again = where.start()
    try:
        assert again.stop() == 0
    finally:
        again.kill()
    assert policy.read_text() == text
    assert where.rows("ledger", "verify")[0]["verdict"] == "PASS"
    where.run("config", "check")


def test_the_token_key_is_refused_and_it_says_why(running: Running) -> None:
    done = running.where.run("keys", "rotate", "token", check=2)
    assert "for the life of the ledger" in done.stderr


def test_a_policy_of_another_ledger_is_left_alone(writer: Writer, tmp_path: Path) -> None:
    at = care(writer, zz=ADMIN)
    policy: Path = writer.policy  # type: ignore[attr-defined]
    other = policy.read_text().replace("genesis ", "genesis 00")[:-1] + "\n"
    path = tmp_path / "other"
    for text in (other.replace("genesis 00", "genesis "), other, "", "\xff"):
        path.write_text(text.replace("zz-test", "zz-else"))
        before = path.read_bytes()
        assert keys.publish(writer.ledger, path) is False
        assert path.read_bytes() == before
    assert keys.publish(writer.ledger, tmp_path / "gone") is False
    assert keys.publish(writer.ledger, policy) is True
    rotate(at, "zz", what="signing")
    assert keys.publish(writer.ledger, policy) is True

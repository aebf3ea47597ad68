"""Approval by digest: two people, kept files, and nothing that was not approved ever runs."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from installation import Installation
from test_host import behaving, install
from umbridge_audit.redact import AccessTable

from umbridge.access.door import Door
from umbridge.access.plugins import ApprovePlugin, Roster, choose, in_force
from umbridge.errors import ConfigError, NotPermittedError, UsageError
from umbridge.run.daemon import Parts
from umbridge.settings import config
from umbridge.store.opening import hold_writer
from umbridge.store.writer import Writer

BUNDLED = {"interqual_like", "mcg_like", "two_midnight"}
ASKS = {"plugin": "zz", "reason": "ZZ committee of May"}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An installed plugin called zz, beside those that came with umbridge."""
    place = tmp_path / "site-packages"
    place.mkdir()
    install(place, "zz", behaving("good").replace("import zz_", "import "))
    record = "".join(
        f"zz_zz{name},,\n" for name in ("/__init__.py", "-1.0.dist-info/METADATA", "-1.0.dist-info/RECORD")
    )
    (place / "zz_zz-1.0.dist-info/RECORD").write_text(record + "zz_zz-1.0.dist-info/entry_points.txt,,\n")
    monkeypatch.syspath_prepend(str(place))
    return place


@pytest.fixture
def writer(installation: Installation) -> Iterator[Writer]:
    parts = Parts(installation.settings)
    with hold_writer(installation.settings, parts.keyring) as held:
        yield held


def queries(
    installation: Installation, writer: Writer, people: tuple[str, ...] = ("zza", "zzb")
) -> tuple[Roster, Door]:
    users = {name: config.User(user=name, roles=("administrator",)) for name in people}
    users["nurse"] = config.User(user="nurse", roles=("ur_nurse",))
    door = Door(writer, users, AccessTable.load())
    return Roster(installation.settings, door), door


def ask(made: tuple[Roster, Door], account: str, **args: Any) -> dict[str, Any]:
    act = ApprovePlugin.of(ASKS | args)
    (row,) = made[0].approve(made[1].viewer(account, "os-account"), act)
    return row.values


def test_the_bundled_plugins_are_approved_at_init(installation: Installation, writer: Writer) -> None:
    approved = in_force(writer)
    assert approved.keys() == BUNDLED
    found = choose(installation.settings, approved)
    assert {one.name for one in found} == BUNDLED
    for one in found:
        assert one.digest == approved[one.name]
        assert one.folder.startswith(str(installation.settings.approved))
        assert one.path is not None and one.folder in one.path


def test_two_people_let_an_edition_run_and_one_cannot(
    folder: Path, installation: Installation, writer: Writer
) -> None:
    made = queries(installation, writer)
    with pytest.raises(ConfigError, match="zz: not approved; two people approve"):
        choose(
            installation.settings.model_copy(update={"plugins": config.PluginSettings(names=("zz",))}),
            in_force(writer),
        )
    asked = ask(made, "zza")
    assert (asked["state"], asked["edition"]) == ("waits", "2026.1")
    assert in_force(writer).keys() == BUNDLED
    with pytest.raises(NotPermittedError, match="whoever asks may not also allow"):
        ask(made, "zza", approve=asked["entry"])
    with pytest.raises(NotPermittedError):
        ask(made, "nurse", approve=asked["entry"])
    assert in_force(writer).keys() == BUNDLED
    done = ask(made, "zzb", approve=asked["entry"])
    assert done["state"] == "approved"
    assert in_force(writer)["zz"] == done["package"] == asked["package"]
    opened = writer.ledger.reveal(done["entry"])
    assert opened["open"]["actor"] == "zzb"
    assert (opened["ops"]["of_entry"], opened["ops"]["reason"]) == (asked["entry"], ASKS["reason"])
    with pytest.raises(UsageError):  # once
        ask(made, "zzb", approve=asked["entry"])


def test_one_administrator_alone_can_approve_nothing(
    folder: Path, installation: Installation, writer: Writer
) -> None:
    with pytest.raises(NotPermittedError, match="two people"):
        ask(queries(installation, writer, ("zza",)), "zza")
    assert in_force(writer).keys() == BUNDLED


def test_files_that_change_between_the_two_are_not_approved(
    folder: Path, installation: Installation, writer: Writer
) -> None:
    made = queries(installation, writer)
    asked = ask(made, "zza")
    with (folder / "zz_zz/__init__.py").open("a") as stream:
        stream.write("# one line more\n")
    with pytest.raises(UsageError, match="asks for something else"):
        ask(made, "zzb", approve=asked["entry"])
    assert "zz" not in in_force(writer)


def test_what_cannot_run_or_could_run_elsewhere_is_not_even_asked_for(
    folder: Path, installation: Installation, writer: Writer
) -> None:
    made = queries(installation, writer)
    source = folder / "zz_zz/__init__.py"
    text = source.read_text()
    source.write_text("raise RuntimeError('ZZTEST^CANARY')\n")
    with pytest.raises(ConfigError, match=r"it does not run: RuntimeError at __init__\.py:1"):
        ask(made, "zza")
    source.write_text(text)
    (folder / "zz_zz/fast.so").write_bytes(b"\x7fELF")
    with pytest.raises(ConfigError, match=r"zz_zz/fast\.so: compiled code"):
        ask(made, "zza")
    with pytest.raises(UsageError, match="not installed"):
        ask(made, "zza", plugin="nobody")


def approved(made: tuple[Roster, Door]) -> str:
    return str(ask(made, "zzb", approve=ask(made, "zza")["entry"])["package"])


def test_the_approved_files_run_whatever_becomes_of_the_installed(
    folder: Path, installation: Installation, writer: Writer
) -> None:
    digest = approved(queries(installation, writer))
    (folder / "zz_zz/__init__.py").write_text("broken(")
    settings = installation.settings
    found = {one.name: one for one in choose(settings, in_force(writer))}
    assert found["zz"].digest == digest
    assert "broken(" not in (Path(found["zz"].folder) / "zz_zz/__init__.py").read_text()
    refusing = settings.model_copy(update={"plugins": config.PluginSettings(changed="refuse")})
    with pytest.raises(ConfigError, match="what is installed is not what was approved"):
        choose(refusing, in_force(writer))
    shutil.rmtree(folder)  # uninstalled: the approved edition stays until somebody says otherwise
    assert {one.name for one in choose(settings, in_force(writer))} == BUNDLED | {"zz"}


def test_a_copy_that_was_changed_stops_the_start(
    folder: Path, installation: Installation, writer: Writer
) -> None:
    digest = approved(queries(installation, writer))
    copy = installation.settings.approved / "zz" / digest.removeprefix("sha256:")
    source = copy / "zz_zz/__init__.py"
    source.chmod(0o644)
    source.write_text(source.read_text() + " ")
    with pytest.raises(ConfigError, match=r"zz: the approved copy .* is not whole: its files were changed"):
        choose(installation.settings, in_force(writer))
    shutil.rmtree(copy)
    with pytest.raises(ConfigError, match="not whole"):
        choose(installation.settings, in_force(writer))


@pytest.mark.parametrize("name", ["../../zz", "/zz", "zz\x1b[2J", ""])
def test_a_name_that_would_leave_the_folder_of_copies_is_refused(
    folder: Path, installation: Installation, writer: Writer, name: str
) -> None:
    """Whether it comes from an old entry of the ledger or from an installed distribution."""
    with pytest.raises(ConfigError, match="expected up to 63 lower-case letters"):
        choose(installation.settings, {name: "sha256:" + "0" * 64})
    points = folder / "zz_zz-1.0.dist-info/entry_points.txt"
    points.write_text(points.read_text().replace("zz =", f"{name} ="))
    with pytest.raises(UsageError, match="not installed"):
        ask(queries(installation, writer), "zza", plugin=name)
    assert {path.name for path in installation.settings.approved.iterdir()} == BUNDLED


def test_a_store_without_any_approval_does_not_start_in_silence(installation: Installation) -> None:
    with pytest.raises(ConfigError, match="no criteria plugin is approved; installed: interqual_like"):
        choose(installation.settings, {})


def test_the_daemon_runs_the_copies_and_says_so(installation: Installation) -> None:
    with_daemon = installation.start()
    try:
        rows = {row["plugin"]: row for row in installation.rows("plugins", "list")}
        assert rows.keys() == BUNDLED
        for row in rows.values():
            assert re.fullmatch(r"sha256:[0-9a-f]{64}", row["package"])
            assert (row["health"], row["why"]) == ("running", "")
    finally:
        with_daemon.kill()


def test_a_daemon_whose_copy_was_changed_exits_with_78(installation: Installation) -> None:
    (copy,) = (installation.settings.approved / "mcg_like").iterdir()
    (copy / "more.py").write_text("")
    done = installation.process("serve", check=78)
    assert "criteria plugin mcg_like: the approved copy" in done.stderr
    assert "Traceback" not in done.stderr

"""A new installation: made whole or not at all, private where it must be, and checked without a start."""

from __future__ import annotations

import io
import re
import shutil
from contextlib import redirect_stderr
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from umbridge.commands import setup
from umbridge.errors import ConfigError
from umbridge.settings import config

BEGAN = datetime(2026, 1, 12, 14, 0, tzinfo=UTC)


def made(where: Path, **more: Any) -> str:
    return setup.init(where, **{"org": "zz-test", "chain": "t", "site_file": None} | more)


def contents(folder: Path) -> dict[str, bytes | None]:
    return {
        str(p.relative_to(folder)): p.read_bytes() if p.is_file() else None for p in sorted(folder.rglob("*"))
    }


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Path:
    where = tmp_path_factory.mktemp("setup") / "site"
    made(where)
    return where


def test_everything_is_there_and_what_is_private_is_private(fresh: Path) -> None:
    names = {p.name for p in fresh.iterdir()}
    assert names == {
        "umbridge.toml",
        "site.toml",
        "users.toml",
        "keys",
        "store",
        "anchor",
        "ledger.policy",
        "plugins",
    }
    assert [p for p in fresh.rglob("*") if p.stat().st_mode & 0o002] == []
    for path in (fresh / "keys", *(fresh / "keys").iterdir()):
        assert not path.stat().st_mode & 0o077, path
    for path in (fresh / "store").iterdir():
        assert not path.stat().st_mode & 0o077, path
    assert not (fresh / "store").stat().st_mode & 0o007


def test_the_settings_say_what_the_contract_says(fresh: Path) -> None:
    text = (fresh / "umbridge.toml").read_text()
    first = re.search(r"(?m)^port = (\d+)", text)
    assert first is not None
    assert first[1] == "2575"
    settings = config.load(fresh / "umbridge.toml")
    (feed,) = settings.feeds.values()
    assert (feed.host, feed.senders) == ("127.0.0.1", ("*",))
    assert (settings.ledger.org, settings.ledger.chain) == ("zz-test", "t")
    (user,) = config.load_users(settings.users, frozenset({"administrator", "compliance_auditor"})).values()
    assert set(user.roles) == {"administrator", "compliance_auditor"}
    written = set(re.findall(r"(?m)^(\w+) = ", text))
    assert {"port", "host", "senders", "org", "chain", "anchor", "policy", "store", "keys"} <= written


def test_the_commented_settings_are_the_defaults(fresh: Path) -> None:
    """A value in the file that init writes must not differ from what leaving it out would mean."""
    settings = config.load(fresh / "umbridge.toml")
    bare = config.Settings(
        ledger=config.LedgerSettings(org="zz-test", chain="t"),
        feeds={"main": config.FeedSettings(port=2575)},
        directory=settings.directory,
    )
    assert settings == bare


def test_two_installations_share_no_key_and_no_policy(fresh: Path, tmp_path: Path) -> None:
    made(tmp_path / "other")
    for name in ("keys/kek", "keys/log.key", "ledger.policy"):
        assert (fresh / name).read_bytes() != (tmp_path / "other" / name).read_bytes()
    assert (fresh / "keys" / "log.key").read_bytes() not in (fresh / "ledger.policy").read_bytes()


@pytest.mark.parametrize(
    "kept", ["umbridge.toml", "site.toml", "users.toml", "keys", "ledger.policy", "store"]
)
def test_a_folder_that_has_any_part_of_an_installation_is_refused_unchanged(
    fresh: Path, tmp_path: Path, kept: str
) -> None:
    source, there = fresh / kept, tmp_path / kept
    if source.is_dir():
        shutil.copytree(source, there)
    else:
        shutil.copy(source, there)
    before = contents(tmp_path)
    with pytest.raises(ConfigError, match=kept):
        made(tmp_path)
    assert contents(tmp_path) == before


@pytest.mark.parametrize(
    ("more", "word"),
    [
        ({"org": "ZZ Test"}, "--org"),
        ({"org": "a" * 41}, "--org"),
        ({"chain": ""}, "--chain"),
        ({"chain": "a\nb"}, "--chain"),
        ({"chain": "t\n"}, "--chain"),
        ({"chain": 't"x'}, "--chain"),
        ({"site_file": "/nowhere/site.toml"}, "site.toml"),
        ({"site_file": "/dev/null"}, "/dev/null"),
    ],
)
def test_a_name_that_cannot_be_a_ledgers_makes_nothing(
    tmp_path: Path, more: dict[str, str], word: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        made(tmp_path / "site", **more)
    assert word in str(caught.value)
    assert not (tmp_path / "site").exists()


def test_a_file_in_the_way_is_said(tmp_path: Path) -> None:
    (tmp_path / "site").write_text("mine")
    with pytest.raises(ConfigError, match="not a folder"):
        made(tmp_path / "site")
    assert (tmp_path / "site").read_text() == "mine"


def test_an_old_anchor_in_the_way_leaves_no_half_made_installation(tmp_path: Path) -> None:
    (tmp_path / "anchor").mkdir()
    (tmp_path / "anchor" / "ledger.anchor").write_text('"another ledger"\n')
    before = contents(tmp_path)
    with pytest.raises(ConfigError, match="anchor"):
        made(tmp_path)
    assert contents(tmp_path) == before


# -- config check -----------------------------------------------------------------------------------------


def complaints(where: Path, code: int = 78) -> list[str]:
    """What ``config check`` says, a line each."""
    err = io.StringIO()
    with redirect_stderr(err):
        assert setup.check(where / "umbridge.toml") == (code, None)
    return err.getvalue().splitlines()


def check(where: Path) -> dict[str, Any]:
    code, found = setup.check(where / "umbridge.toml")
    assert code == 0
    assert found is not None
    return found


def test_a_good_installation_is_said_to_be_good_and_left_as_it_is(fresh: Path) -> None:
    before = contents(fresh)
    assert check(fresh)["feeds"] == ["main"]
    assert contents(fresh) == before


def test_check_refuses_what_a_start_would_refuse(fresh: Path, tmp_path: Path) -> None:
    for name, word in (("site.toml", "site.toml"), ("users.toml", "users.toml"), ("keys/kek", "kek")):
        shutil.copytree(fresh, tmp_path / word)
        (tmp_path / word / name).unlink()
        (said,) = complaints(tmp_path / word)
        assert word in said


def test_check_says_everything_that_is_wrong_in_one_run(fresh: Path, tmp_path: Path) -> None:
    where = tmp_path / "wrong"
    shutil.copytree(fresh, where)
    text = (where / "umbridge.toml").read_text()
    text = re.sub(r"(?m)^org = .*$", 'orgg = "zz"', text)
    text = text.replace("port = 2575", 'port = "2575"')
    (where / "umbridge.toml").write_text(text + "zz = 1\n[zzz]\n")
    for name in ("site.toml", "users.toml", "keys/kek", "store/umbridge.db"):
        (where / name).unlink()
    said = complaints(where)
    wanted = [
        "ledger.org: missing",
        "ledger.orgg: unknown key",
        "feeds.main.port: ",
        "limits.zz: unknown key",
        "zzz: unknown key",
        "site.toml: cannot be read",
        "users.toml: no such file",
        "kek",
        "store: there is no store",
    ]
    assert len(said) == len(wanted)
    assert [next((word for word in wanted if word in line), line) for line in said] == wanted


def test_check_names_a_store_folder_that_is_not_there(fresh: Path, tmp_path: Path) -> None:
    shutil.copytree(fresh, tmp_path / "w")
    shutil.rmtree(tmp_path / "w" / "store")
    assert complaints(tmp_path / "w") == [
        f"umbridge: {tmp_path / 'w' / 'store'}: there is no store; `umbridge init DIR` makes one"
    ]


@pytest.mark.parametrize(
    "text", ["paths = 1", "[paths]\nstore = 1", "ledger = 1", "[ledger]\nanchor = 1", "directory = 1", ""]
)
def test_settings_that_do_not_say_where_things_lie_are_said_to_be_wrong(tmp_path: Path, text: str) -> None:
    (tmp_path / "umbridge.toml").write_text(text)
    said = complaints(tmp_path)
    assert said and all(line.startswith("umbridge: ") for line in said)
    with pytest.raises(ConfigError) as first:
        config.load(tmp_path / "umbridge.toml")
    assert f"umbridge: {first.value}" == said[0]

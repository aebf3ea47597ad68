"""Settings: a mistake is one line with the file and the key; whatever the bytes, a value or ConfigError."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from umbridge_audit.redact import AccessTable

from umbridge.errors import ConfigError
from umbridge.settings import config, file

GOOD = """
[ledger]
org = "zz-test"
chain = "t"
[feeds.main]
port = 2575
"""


def load(folder: Path, text: str | bytes) -> config.Settings:
    path = folder / "umbridge.toml"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return config.load(path)


def refused(folder: Path, text: str | bytes) -> str:
    with pytest.raises(ConfigError) as caught:
        load(folder, text)
    said = str(caught.value)
    assert "\n" not in said
    assert "umbridge.toml" in said
    assert caught.value.exit_code == 78
    return said


def test_the_least_settings_have_the_documented_defaults_and_paths_start_at_the_file(tmp_path: Path) -> None:
    settings = load(tmp_path, GOOD)
    assert settings.limits.pending_rows >= 100_000
    assert settings.limits.connections_per_peer >= 128
    assert settings.feeds["main"].host == "127.0.0.1"
    assert settings.feeds["main"].senders == ("*",)
    assert settings.store == tmp_path / "store"
    assert (settings.keys, settings.users) == (tmp_path / "keys", tmp_path / "users.toml")
    assert (settings.site, settings.policy) == (tmp_path / "site.toml", tmp_path / "ledger.policy")
    assert settings.anchor == tmp_path / "anchor" / "ledger.anchor"
    assert load(tmp_path, GOOD + '[paths]\nstore = "/elsewhere/s"\n').store == Path("/elsewhere/s")


@pytest.mark.parametrize(
    ("text", "key"),
    [
        (GOOD.replace("port = 2575", 'port = "2575"'), "feeds.main.port"),
        (GOOD.replace("port = 2575", "port = true"), "feeds.main.port"),
        (GOOD.replace("port = 2575", "port = -1"), "feeds.main.port"),
        (GOOD.replace("port = 2575", "port = 65536"), "feeds.main.port"),
        (GOOD.replace("port = 2575", "prot = 2575"), "feeds.main.p"),
        (GOOD.replace("feeds.main", 'feeds."Main Feed"'), "feeds.Main Feed"),
        (GOOD.replace("feeds.main", 'feeds."../x"'), "feeds.../x"),
        (GOOD + 'senders = "A/B"\n', "feeds.main.senders"),
        (GOOD + 'processing_ids = ["P", "X"]\n', "feeds.main.processing_ids"),
        (GOOD + 'control_id_reused = "drop"\n', "feeds.main.control_id_reused"),
        (GOOD + 'host = "0.0.0.0"\n', "feeds.main"),
        (GOOD + 'host = "::"\n', "feeds.main"),
        (GOOD + 'host = "localhost.example.org"\n', "feeds.main"),
        (GOOD + 'host = "0.0.0.0"\ninsecure_plaintext = "yes"\n', "feeds.main"),
        (GOOD.replace('chain = "t"', ""), "ledger.chain"),
        (GOOD.replace('"zz-test"', '"ZZ Test"'), "ledger.org"),
        (GOOD.replace('"zz-test"', '"' + "a" * 41 + '"'), "ledger.org"),
        (GOOD.replace('"t"', '"a/b"'), "ledger.chain"),
        (GOOD.replace('chain = "t"', 'chain = "t"\ncheckpoint_seconds = 61'), "ledger.checkpoint_seconds"),
        (GOOD.replace('chain = "t"', 'chain = "t"\ncheckpoint_seconds = nan'), "ledger.checkpoint_seconds"),
        (GOOD + "[limits]\npending_rows = 0\n", "limits.pending_rows"),
        (GOOD + "[limits]\npending_rows = 1.5\n", "limits.pending_rows"),
        (GOOD + "[limits]\nmax_frame_bytes = 1\n", "limits.max_frame_bytes"),
        (GOOD + "[limits]\nframe_stall_seconds = 0\n", "limits.frame_stall_seconds"),
        (GOOD + "[plugins]\nseconds = inf\n", "plugins.seconds"),
        (GOOD + '[plugins]\nnames = "cap"\n', "plugins.names"),
        (GOOD + "[paths]\nstore = 3\n", "paths.store"),
        ('directory = "/tmp"\n' + GOOD, "directory"),
        ("store = 1\n" + GOOD, "store"),
        ('feeds = 3\n[ledger]\norg = "zz"\nchain = "t"\n', "feeds"),
        ('[ledger]\norg = "zz"\nchain = "t"\n[feeds]\n', "feeds"),
        ('[ledger]\norg = "zz"\nchain = "t"\n', "feeds"),
        ("", "ledger"),
    ],
)
def test_a_mistake_names_its_key(tmp_path: Path, text: str, key: str) -> None:
    assert f": {key}" in refused(tmp_path, text)


@pytest.mark.parametrize("text", [b"\xff\xfe", b"[ledger", b"a = 1\na = 2\n", b"\0"])
def test_what_is_not_toml_is_one_line(tmp_path: Path, text: bytes) -> None:
    refused(tmp_path, text)


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    for path in (tmp_path / "nothing.toml", tmp_path):
        with pytest.raises(ConfigError, match=str(path)):
            config.load(path)


@given(data=st.binary(max_size=200))
def test_any_bytes_are_settings_or_a_config_error(
    tmp_path_factory: pytest.TempPathFactory, data: bytes
) -> None:
    path = tmp_path_factory.getbasetemp() / "any.toml"
    path.write_bytes(data)
    with pytest.raises(ConfigError):
        config.load(path)


@given(
    section=st.sampled_from(["", "ledger", "feeds.main", "limits", "plugins", "paths"]),
    key=st.from_regex(r"zz_[a-z]{1,8}", fullmatch=True),
)
def test_an_unknown_key_is_refused_wherever_it_stands(
    tmp_path_factory: pytest.TempPathFactory, section: str, key: str
) -> None:
    path = tmp_path_factory.getbasetemp() / "unknown.toml"
    head = "[limits]\n[plugins]\n[paths]\n" + GOOD
    text = (
        f"{key} = 1\n{head}" if not section else head.replace(f"[{section}]\n", f"[{section}]\n{key} = 1\n")
    )
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match=key):
        config.load(path)


def test_the_environment_overrides_the_option_and_the_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("UMBRIDGE_CONFIG", raising=False)
    for name in ("umbridge.toml", "given.toml", "override.toml"):
        (tmp_path / name).write_text(GOOD, encoding="utf-8")
    assert file.find(None) == Path("umbridge.toml")
    assert file.find("given.toml") == Path("given.toml")
    monkeypatch.setenv("UMBRIDGE_CONFIG", "override.toml")
    assert file.find(None) == file.find("given.toml") == Path("override.toml")
    monkeypatch.setenv("UMBRIDGE_CONFIG", "gone.toml")
    with pytest.raises(ConfigError, match=r"gone\.toml"):
        file.find("given.toml")


def test_no_settings_anywhere_says_where_was_looked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if Path("/etc/umbridge/umbridge.toml").exists():
        pytest.skip("this machine has settings in /etc/umbridge")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("UMBRIDGE_CONFIG", raising=False)
    with pytest.raises(ConfigError, match="umbridge init"):
        file.find(None)


ROLES = frozenset(AccessTable.load().roles)


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ('[ann]\nuser = "ann"\nroles = ["kingmaker"]\n', "kingmaker"),
        ('[ann]\nuser = "ann"\nroles = "ur_nurse"\n', "ann"),
        ('[ann]\nuser = "ann"\n', ""),
        ('[ann]\nuser = ""\nroles = []\n', "ann"),
        ("[ann]\nuser = 3\nroles = []\n", "ann"),
        ('[ann]\nuser = "ann"\nroles = [3]\n', "ann"),
        ('[ann]\nuser = "ann"\nroles = 3\n', "ann"),
        ('[ann]\nuser = "ann"\nroles = []\nsudo = true\n', "ann"),
        ("ann = 3\n", "ann"),
    ],
)
def test_a_mistake_in_the_accounts_names_the_account(tmp_path: Path, text: str, word: str) -> None:
    path = tmp_path / "users.toml"
    path.write_text(text, encoding="utf-8")
    if not word:  # no roles at all: nobody is given anything
        assert config.load_users(path, ROLES)["ann"].roles == ()
        return
    with pytest.raises(ConfigError) as caught:
        config.load_users(path, ROLES)
    assert word in str(caught.value)
    assert "\n" not in str(caught.value)


@given(text=st.text(max_size=80))
def test_any_name_makes_a_ledger_name(text: str) -> None:
    settings = config.LedgerSettings(org=config.slug(text), chain="t")
    assert 1 <= len(settings.org) <= 40

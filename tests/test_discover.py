"""What is found installed: one damaged distribution costs no command and no other plugin."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import Installation
from test_host import behaving, install
from umbridge_kit import new_plugin

from umbridge.dryrun import trial
from umbridge.errors import ConfigError
from umbridge.screening.discover import entry_points, in_folder, installed, unusable

POINTS = b"[umbridge.criteria]\nzz = zz_pkg\n"
METADATA = b"Metadata-Version: 2.1\nName: zz-pkg\nVersion: 1.0\n"
# The files of a distribution's metadata, and what is said of it.
DAMAGED: dict[str, tuple[bytes, bytes | None, str]] = {
    "entry points not utf-8": (POINTS + b"\xff", METADATA, "cannot be read"),
    "metadata not utf-8": (POINTS, METADATA + b"Summary: \xff\n\xff", "cannot be read"),
    "no metadata": (POINTS, None, "cannot be read"),
    "no version": (POINTS, METADATA.replace(b"Version: 1.0\n", b""), "cannot be read"),
    "no equals sign": (POINTS + b"zz\n", METADATA, "cannot be read"),
    "an empty value": (b"[umbridge.criteria]\nzz =\n", METADATA, "expected a module"),
    "an empty name": (b"[umbridge.criteria]\n= zz_pkg\n", METADATA, "the name ''"),
    "a path": (b"[umbridge.criteria]\n../../x = zz_pkg\n", METADATA, "the name '../../x'"),
    "a terminal's bell": (
        b"[umbridge.packs]\nz\x07\x1b[2J = zz_pkg\n",
        METADATA,
        "the name 'z\\x07\\x1b[2J'",
    ),
    "right to left": ("[umbridge.criteria]\nz\u202e = zz_pkg\n".encode(), METADATA, "the name 'z\\u202e'"),
    "a name of Python's": (b"[umbridge.criteria]\nzz = org.zz\n", METADATA, "org: a name that Python"),
}


def damage(place: Path, how: str, name: str = "zz_pkg") -> str:
    """Install it; what must be said."""
    points, metadata, said = DAMAGED[how]
    info = place / f"{name}-1.0.dist-info"
    info.mkdir()
    (info / "entry_points.txt").write_bytes(points)
    if metadata is not None:
        named = metadata.replace(b"zz-pkg", name.replace("_", "-").encode())
        (info / "METADATA").write_bytes(named)
    return said


@pytest.mark.parametrize("how", DAMAGED)
def test_a_damaged_distribution_is_told_and_the_others_are_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    install(tmp_path, "good", behaving("good"))
    said = damage(tmp_path, how)
    monkeypatch.syspath_prepend(str(tmp_path))
    assert "good" in entry_points() and "good" in installed()
    assert not {"zz", "", "../../x"} & set(entry_points())
    (told,) = unusable()
    assert told.startswith("zz_pkg-1.0.dist-info: ") and said in told
    assert told.isprintable()


def test_one_that_is_not_ours_is_none_of_our_business(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    info = tmp_path / "zz_pkg-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_bytes(b"\xff")
    (info / "entry_points.txt").write_text("[zz.other]\n= \n")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert unusable() == []


def test_every_command_goes_on(
    tmp_path: Path, installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a distribution for each kind of damage: each is told, and none of them stops anything."""
    place = tmp_path / "installed"
    place.mkdir()
    install(place, "good", behaving("good"))
    said = {f"zz_pkg{i}-1.0.dist-info": damage(place, how, f"zz_pkg{i}") for i, how in enumerate(DAMAGED)}
    monkeypatch.setenv("PYTHONPATH", str(place))
    daemon = installation.start()
    try:
        assert {
            json.loads(row)["plugin"]
            for row in installation.process("plugins", "list", "--json").stdout.splitlines()
        } >= {"two_midnight"}
        shown = installation.process("plugins", "list")
        for damaged, what in said.items():
            (line,) = (line for line in shown.stderr.splitlines() if f" {damaged}: " in line)
            assert "not a plugin that can be used: " in line and what in line
        refused = installation.process("plugins", "approve", "zz", "--reason", "ZZ", check=None)
        assert "internal error" not in refused.stderr and "Traceback" not in refused.stderr
        assert "criteria plugin zz: not installed; zz_pkg" in refused.stderr
        assert [damaged for damaged in said if damaged not in refused.stderr] == []
    finally:
        assert daemon.stop() == 0
    logged = [json.loads(line) for line in daemon.log.read_text().splitlines()]
    unused = {line["plugin"] for line in logged if line["event"] == "plugin_not_usable"}
    assert {name: any(name in one and what in one for one in unused) for name, what in said.items()} == (
        dict.fromkeys(said, True)
    )
    installation.process("config", "check")


def test_an_error_is_shown_without_what_would_change_a_terminal(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "umbridge.commands.main", "plugins", "new", "zz\x1b[31m\u202e\x07"],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
    )
    assert (done.returncode, done.stderr.strip().isprintable()) == (2, True), done.stderr
    assert "zz\\u001b[31m\\u202e\\u0007" in done.stderr


REPOSITORIES: dict[str, tuple[str, str, str]] = {  # what is changed in pyproject.toml, and what is said
    "script": (
        "[project.entry-points",
        '[project.scripts]\nzz = "zz_new:x"\n[project.entry-points',
        "the script zz",
    ),
    "gui": (
        "[project.entry-points",
        '[project.gui-scripts]\nzz = "zz_new:x"\n[project.entry-points',
        "script zz",
    ),
    "pydantic": (
        "[project.entry-points",
        '[project.entry-points.pydantic]\nzz = "zz_new:x"\n[project.entry-points',
        "an entry point in the group pydantic",
    ),
}


@pytest.mark.parametrize("how", REPOSITORIES)
def test_what_else_a_repository_declares_is_found_when_it_is_tried(tmp_path: Path, how: str) -> None:
    new_plugin.write(tmp_path, "zz-new", code=True)
    old, new, said = REPOSITORIES[how]
    path = tmp_path / "zz-new/pyproject.toml"
    path.write_text(path.read_text().replace(old, new, 1))
    report = trial.run(tmp_path / "zz-new")
    (found,) = [text for text in report.findings if text.startswith("pyproject.toml: ")]
    assert said in found and report.wrong == 1


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('[project.entry-points."umbridge.criteria"]\n"../x" = "zz"\n', "the name '../x'"),
        ('[project.entry-points."umbridge.criteria"]\nzz = "org"\n', "org: a name that Python"),
        ('[project.entry-points."umbridge.criteria"]\nzz = 3\n', "expected a module"),
        ("project = 3\n", "found 0"),
        ("[project]\nentry-points = 3\n", "found 0"),
        ("x = " + "[" * 5000 + "]" * 5000, "nested too deep"),
        ("x = ", "not valid TOML"),
    ],
    ids=range(7),
)
def test_a_repository_that_cannot_be_used_is_said_in_words(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "pyproject.toml").write_text(text)
    with pytest.raises(ConfigError) as caught:
        in_folder(tmp_path)
    assert said in str(caught.value)

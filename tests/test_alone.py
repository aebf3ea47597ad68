"""Each distribution with what it declares and nothing more: what it may use is what its metadata asks for.

The environment is made of links to what is installed here, chosen by the metadata as pip would choose: a
requirement that is used and not declared is missing, and one that is declared and not needed is seen.
"""

from __future__ import annotations

import importlib.metadata
import os
import subprocess
import sys
from pathlib import Path

import pytest
from installation import Installation
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[1]
OURS = {  # a distribution of this checkout, and the packages of which it consists
    "umbridge-audit": ROOT / "audit/umbridge_audit",
    "umbridge-daemon": ROOT / "umbridge",
    "umbridge-kit": ROOT / "kit/umbridge_kit",
}


def needed(name: str, extras: frozenset[str] = frozenset()) -> set[str]:
    """The distribution and all that it asks for, by the metadata of what is installed."""
    found, waiting = set(), [(name, extras)]
    seen = set()
    while waiting:
        each = waiting.pop()
        if each in seen:
            continue
        seen.add(each)
        found.add(each[0])
        for text in importlib.metadata.requires(each[0]) or ():
            asked = Requirement(text)
            if asked.marker is None or any(asked.marker.evaluate({"extra": e}) for e in (each[1] or {""})):
                waiting.append((asked.name.lower().replace("_", "-"), frozenset(asked.extras)))
    return found


def place_of(names: set[str], where: Path) -> Path:
    """A folder that holds the files of these distributions, as links, and nothing else."""
    for name in sorted(names):
        if name in OURS:
            (where / OURS[name].name).symlink_to(OURS[name])
            continue
        made = importlib.metadata.distribution(name)
        for top in {file.parts[0] for file in made.files or () if file.parts[0] not in ("..", "__pycache__")}:
            if not (where / top).exists():
                (where / top).symlink_to(Path(str(made.locate_file(top))))
    return where


def run(where: Path, code: str, *words: str) -> subprocess.CompletedProcess[str]:
    """In an interpreter that sees the standard library and ``where``."""
    script = f"import sys; sys.path.append({str(where)!r}); {code}"
    return subprocess.run(
        [sys.executable, "-I", "-S", "-c", script, *words],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env={"PATH": os.environ["PATH"]},
    )


def test_the_verifier_alone_has_no_sql_and_verifies_a_bundle(
    installation: Installation, tmp_path: Path
) -> None:
    names = needed("umbridge-audit")
    assert names & {"sqlalchemy", "sqlmodel", "pydantic"} == set()
    assert "cryptography" in names
    bundle, why = tmp_path / "bundle.jsonl", ("--purpose", "HCOMPL", "--reason", "zz")
    installation.run("ledger", "export", "--profile", "integrity-only", "--out", str(bundle), *why)
    (where := tmp_path / "alone").mkdir()
    place_of(names, where)
    verify = "from umbridge_audit.cli import main; main()"
    said = run(where, verify, str(bundle), "--policy", str(installation.directory / "ledger.policy"))
    assert said.returncode == 0 and "PASS" in said.stdout, said.stdout + said.stderr
    assert run(where, "import sqlalchemy").returncode == 1


@pytest.mark.parametrize("absent", ["pytest", "hypothesis", "_pytest"])
def test_the_daemon_alone_has_no_pytest(absent: str, tmp_path: Path) -> None:
    names = needed("umbridge-daemon")
    assert {"pytest", "hypothesis", "umbridge-kit"} & names == set()
    assert {"umbridge-audit", "sqlmodel", "hl7apy", "pluggy", "click"} <= names
    place_of(names, tmp_path)
    assert run(tmp_path, f"import {absent}").returncode == 1


def test_every_command_of_the_daemon_alone_can_be_loaded_and_the_kits_is_not_there(tmp_path: Path) -> None:
    place_of(needed("umbridge-daemon"), tmp_path)
    everything = (
        "import importlib, pkgutil, umbridge; "
        "[importlib.import_module(m.name) for m in pkgutil.walk_packages(umbridge.__path__, 'umbridge.')]"
    )
    assert run(tmp_path, everything).returncode == 0, run(tmp_path, everything).stderr
    listed = run(tmp_path, "from umbridge.commands.main import main; main()", "plugins", "--help")
    assert listed.returncode == 0 and "test " in listed.stdout
    assert "new " not in listed.stdout
    asked = run(tmp_path, "from umbridge.commands.main import main; main()", "plugins", "new", "zz")
    assert asked.returncode == 2


def test_with_the_kit_its_command_is_there(tmp_path: Path) -> None:
    names = needed("umbridge-kit")
    assert {"pytest", "hypothesis"} <= names
    place_of(names, tmp_path)
    listed = run(tmp_path, "from umbridge.commands.main import main; main()", "plugins", "--help")
    assert "new " in listed.stdout


def test_a_strangers_plugin_is_tried_without_the_kit(tmp_path: Path) -> None:
    (where := tmp_path / "alone").mkdir()
    place_of(needed("umbridge-daemon"), where)
    plugin = ROOT / "plugins/two_midnight"
    code = "from umbridge.commands.main import main; main()"
    tried = run(where, code, "plugins", "test", str(plugin))
    assert tried.returncode == 0, tried.stdout[-2000:] + tried.stderr

"""No process of ours runs what merely happens to be installed: no entry point, no module of another system.

A distribution is planted on the import path of every process: with entry points for whoever loads some, and
with a module for each name that is asked for and not there. Whatever of it is run says so in a file.
"""

from __future__ import annotations

import ast
import importlib.metadata
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from installation import ROOT, Installation
from test_boot import ELSEWHERE

PACKAGES = {"umbridge": ROOT / "umbridge", "umbridge_audit": ROOT / "audit/umbridge_audit"}
DISTRIBUTIONS = ("umbridge-daemon", "umbridge-audit")
# Who loads entry points among what we depend on: at the first model, for a database's address, on request.
GROUPS = {
    "pydantic": ("zz",),
    "sqlalchemy.dialects": ("sqlite", "sqlite.pysqlite"),
    "sqlalchemy.plugins": ("zz",),
    "umbridge": ("zz",),
}

# Runs as each interpreter starts, asked after everybody else: it notes each top-level name that nobody found.
NOTE = """
import os, sys
class Note:
    @staticmethod
    def find_spec(name, path=None, target=None):
        if path is None and ("umbridge" in sys.modules or "umbridge_audit" in sys.modules):
            open(os.environ["ZZ_TOLD"] + "/missed " + name.partition(".")[0], "w").close()
sys.meta_path.append(Note)
"""


@pytest.fixture
def told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder where it would be said. Every process that is started has the planted one on its path."""
    place, told = tmp_path / "planted", tmp_path / "told"
    place.mkdir()
    told.mkdir()
    body = "import os\nopen(os.environ['ZZ_TOLD'] + '/ran ' + __name__, 'w').close()\n"
    body += "raise ModuleNotFoundError\n"  # what whoever asks for it is prepared for
    for name in sorted({"zz_eager"} | ELSEWHERE):
        (place / f"{name}.py").write_text(body)
    info = place / "zz_eager-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: zz-eager\nVersion: 1.0\n")
    points = [
        f"[{group}]\n" + "".join(f"{n} = zz_eager:x\n" for n in names) for group, names in GROUPS.items()
    ]
    (info / "entry_points.txt").write_text("\n".join(points))
    monkeypatch.setenv("PYTHONPATH", str(place))
    monkeypatch.setenv("ZZ_TOLD", str(told))
    monkeypatch.delenv("PYDANTIC_DISABLE_PLUGINS", raising=False)  # this process has set it for its children
    return told


def noting(told: Path) -> None:
    """From now on names that nobody finds are noted too."""
    (told.parent / "planted/sitecustomize.py").write_text(NOTE)
    for name in ELSEWHERE:
        (told.parent / f"planted/{name}.py").unlink()


def said(told: Path) -> list[str]:
    return sorted(path.name for path in told.iterdir())


def run(*words: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(words, capture_output=True, text=True, timeout=120, check=False, cwd="/")


def scripts() -> list[str]:
    found = [
        point.name
        for name in DISTRIBUTIONS
        for point in importlib.metadata.distribution(name).entry_points
        if point.group == "console_scripts"
    ]
    assert len(found) >= 4
    return found


def runnable() -> list[str]:
    """Every module of ours that ``python -m`` runs."""
    found = []
    for package, folder in PACKAGES.items():
        for path in sorted(folder.rglob("*.py")):
            source = path.read_text("utf-8")
            if "__name__" not in source and path.name != "__main__.py":
                continue  # every process of pytest asks this when it collects
            tests = (n.test for n in ast.walk(ast.parse(source)) if isinstance(n, ast.If))
            if path.name == "__main__.py" or any("__name__" in ast.unparse(test) for test in tests):
                found.append(".".join([package, *path.relative_to(folder).with_suffix("").parts]))
    assert {"umbridge.commands.main", "umbridge.lanes.worker"} <= set(found)
    return found


@pytest.mark.parametrize("script", scripts())
def test_no_script_runs_what_is_merely_installed(told: Path, script: str) -> None:
    done = run(Path(sys.executable).with_name(script), "--help")
    assert (done.returncode, said(told)) == (0, []), done.stderr


@pytest.mark.parametrize("module", runnable())
def test_nor_does_a_module_that_is_run(told: Path, module: str) -> None:
    run(sys.executable, "-P", "-m", module, "--help")
    assert said(told) == []


EVERYTHING = """
import importlib, pkgutil, sys
for name in {first}:
    package = importlib.import_module(name)
    for found in pkgutil.walk_packages(package.__path__, name + "."):
        importlib.import_module(found.name)
import pydantic
class Model(pydantic.BaseModel):
    x: int = 0
print("imported")
"""


@pytest.mark.parametrize("first", [["umbridge", "umbridge_audit"], ["umbridge_audit", "umbridge"]])
def test_nor_does_any_module_whichever_package_is_imported_first(told: Path, first: list[str]) -> None:
    done = run(sys.executable, "-c", EVERYTHING.format(first=first))
    assert (done.stdout, said(told)) == ("imported\n", []), done.stderr


def test_nor_does_a_daemon_with_its_caseworker_plugins_and_ledger(
    told: Path, installation: Installation
) -> None:
    daemon = installation.start()
    try:
        assert "restarting" not in installation.process("plugins", "list").stdout
    finally:
        assert daemon.stop() == 0
    installation.process("config", "check")
    installation.process("plugins", "list")
    installation.process("ledger", "verify")
    assert said(told) == []


def test_nobody_asks_for_a_module_that_is_not_there(told: Path, installation: Installation) -> None:
    """Whatever a process asks for in vain, a distribution of that name would be run by it."""
    noting(told)
    daemon = installation.start()
    assert daemon.stop() == 0
    installation.process("plugins", "list")
    installation.process("ledger", "verify")
    done = run(sys.executable, "-c", EVERYTHING.format(first=list(PACKAGES)))
    assert (done.stdout, said(told)) == ("imported\n", []), done.stderr
    run(sys.executable, "-c", "import umbridge, zz_not_there")
    assert said(told) == ["missed zz_not_there"]  # it does note them


@pytest.mark.parametrize("package", PACKAGES)
def test_without_the_guard_it_would_be_run(told: Path, package: str) -> None:
    unguarded = (
        "import sys, types\n"
        f"for name in {list(PACKAGES)}: sys.modules[name + '.importguard'] = types.ModuleType('none')\n"
    )
    module = {"umbridge": "umbridge.commands.main", "umbridge_audit": "umbridge_audit.redact"}[package]
    more = f"import {module}, copy, pydantic\nclass Model(pydantic.BaseModel):\n    x: int = 0\n"
    done = run(sys.executable, "-c", unguarded + more)
    assert {"ran zz_eager", "ran org"} <= set(said(told)), done.stderr


def test_the_two_guards_are_one_text_and_come_first() -> None:
    texts = {(folder / "importguard.py").read_text("utf-8") for folder in PACKAGES.values()}
    assert len(texts) == 1
    for name, folder in PACKAGES.items():
        first = next(
            node
            for node in ast.parse((folder / "__init__.py").read_text("utf-8")).body
            if isinstance(node, ast.Import | ast.ImportFrom)
        )
        assert ast.unparse(first) == f"import {name}.importguard"


def test_a_setting_of_the_environment_cannot_switch_it_off(
    told: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYDANTIC_DISABLE_PLUGINS", "some-other-plugin")
    assert run(Path(sys.executable).with_name("umbridge"), "--help").returncode == 0
    assert said(told) == []
    shown = run(sys.executable, "-c", "import umbridge, os, json; print(json.dumps(dict(os.environ)))")
    assert json.loads(shown.stdout)["PYDANTIC_DISABLE_PLUGINS"] == "__all__"
    assert os.environ["PYDANTIC_DISABLE_PLUGINS"] == "some-other-plugin"

"""What a worker imports before it is locked down: nothing that lies beside a plugin, whatever its name.

The names are not a list that somebody keeps: they are those that the interpreter at hand really asks for.
"""

from __future__ import annotations

import ast
import json
import os
import shutil
import socket
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Any

import pytest
from test_host import FULL, answered, behaving, case, hosted, install
from umbridge_kit import new_plugin

import umbridge
from umbridge.screening.discover import Found
from umbridge.screening.host import Host

ROOT = Path(__file__).parents[1]
OURS = {"umbridge", "pluggy"}
only_full = pytest.mark.skipif(not FULL, reason="this kernel cannot do the full sandbox: NOT tested here")

# Asked before anybody else, it answers nothing and remembers every top-level name.
REMEMBER = """
import sys
asked = []
class Remember:
    @staticmethod
    def find_spec(name, path=None, target=None):
        asked.append(name.partition(".")[0])
sys.meta_path.insert(0, Remember)
"""


def names_asked_for() -> set[str]:
    """Every top-level module that an interpreter looks for while it imports what a worker is made of."""
    places = {str(Path(file).parent.parent) for file in (umbridge.__file__, shutil.__file__) if file}
    script = f"{REMEMBER}\nsys.path.extend({[*places, sysconfig.get_path('purelib')]!r})\n"
    script += "import umbridge.screening.worker\nprint(*sorted(set(asked)))"
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-B", "-c", script], capture_output=True, check=True, text=True
    )
    found = set(done.stdout.split())
    assert OURS | {"dataclasses", "json"} <= found
    return found


def good(tmp_path: Path, more: str = "") -> Found:
    """A plugin that answers, in a folder of its own."""
    folder = tmp_path / "plugin"
    folder.mkdir()
    install(folder, "good", behaving("good") + more)
    return Found("good", "zz_good", "1.0", (str(folder),))


def plant(folder: Path, names: set[str], told: Path) -> None:
    """A module for every name, each of which writes a file when it is run."""
    told.mkdir()
    for name in sorted(names):
        body = f"open({str(told / name)!r}, 'w').close()\n"
        (folder / f"{name}.py").write_text(body)
        if name == "org":  # asked for as org.python.core
            (folder / f"{name}.py").unlink()
            (folder / name).mkdir()
            (folder / name / "__init__.py").write_text(body)


# What the standard library asks for on other systems, in some version or other.
ELSEWHERE = {"org", "nt", "_winapi", "msvcrt", "winreg", "_overlapped", "_scproxy", "java", "vms_lib"}


@only_full
def test_nothing_beside_a_plugin_is_run_before_its_worker_is_locked_down(tmp_path: Path) -> None:
    """A confined module cannot write: what is written was written by a process that was still open."""
    found, told = good(tmp_path), tmp_path / "told"
    plant(tmp_path / "plugin", (names_asked_for() - OURS) | ELSEWHERE, told)

    def use(host: Host) -> None:
        host.start_these([found])
        (info,) = host.plugins
        assert (info.isolation, info.why) == ("full", "")
        assert answered(host.screen({"good": case()})["good"])

    hosted([], use)
    assert sorted(path.name for path in told.iterdir()) == []


@only_full
@pytest.mark.parametrize("code", [False, True], ids=["pack", "code"])
@pytest.mark.parametrize("source", ["", "src"], ids=["flat", "src"])
def test_trying_a_strangers_repository_runs_nothing_unconfined(
    tmp_path: Path, code: bool, source: str
) -> None:
    new_plugin.write(tmp_path, "zz-new", code=code)
    repository, told = tmp_path / "zz-new", tmp_path / "told"
    root = repository / source
    root.mkdir(exist_ok=True)
    if source:
        (repository / "zz_new").rename(root / "zz_new")
    plant(root, (names_asked_for() - OURS) | ELSEWHERE | {"sitecustomize", "usercustomize"}, told)
    command = Path(sys.executable).with_name(
        "umbridge"
    )  # the script: `python -m` would import from its folder
    done = subprocess.run(
        [command, "plugins", "test", ".", "--json"],
        cwd=repository,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert sorted(path.name for path in told.iterdir()) == []
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert (done.returncode, rows[0]["isolation"]) == (0, "full"), (done.stderr, rows)


# What happens in a worker from its first line on, seen by the interpreter's own audit hook.
WATCH = """
import sys
seen, locked = [], []
def watch(event, arguments):
    if event == "resource.setrlimit":
        locked.append(1)
    elif event == "import":
        seen.append([len(locked) > 0, arguments[0], [str(place) for place in arguments[2] or ()]])
    elif event in ("open", "os.listdir", "os.scandir") and isinstance(arguments[0], str):
        seen.append([len(locked) > 0, event, [arguments[0]]])
sys.addaudithook(watch)
"""


def watched(boot: str, plugin: Found) -> list[tuple[bool, str, list[str]]]:
    """Everything looked for by a worker that is started with this boot and asked nothing."""
    from umbridge.screening.boot import command

    ours, theirs = socket.socketpair()
    with ours, theirs:
        *words, _, told = command(plugin, theirs.fileno(), "process-only")
        ours.close()
        script = f"{WATCH}\n{boot}\nimport json\nimport os\nos.write(1, json.dumps(seen).encode())"
        done = subprocess.run(
            [*words, script, told],
            capture_output=True,
            check=True,
            env={},
            pass_fds=(theirs.fileno(),),
            timeout=60,
        )
    return [(bool(late), what, where) for late, what, where in json.loads(done.stdout)]


def early(seen: list[tuple[bool, str, list[str]]], folder: Path) -> list[tuple[str, list[str]]]:
    """What touched the plugin's folder, or could have, before the lock-down began."""
    inside = str(folder)
    found = [(what, [w for w in where if w.startswith(inside)]) for late, what, where in seen if not late]
    return [(what, where) for what, where in found if where]


def expected(folder: Path) -> list[tuple[str, list[str]]]:
    """Its place looked at once, by a finder for its own name alone; its package named to Landlock."""
    return [("os.listdir", [str(folder)]), ("open", [str(folder / "zz_good")])]


@only_full
def test_no_name_is_looked_up_in_the_plugins_folder_before_the_lock_down(tmp_path: Path) -> None:
    from umbridge.screening.boot import BOOT

    plugin, folder = good(tmp_path), tmp_path / "plugin"
    seen = watched(BOOT, plugin)
    assert any(late for late, _, _ in seen) and any(what == "umbridge.model" for _, what, _ in seen)
    assert early(seen, folder) == expected(folder)
    library = {
        sysconfig.get_path("stdlib"),
        sysconfig.get_path("platstdlib"),
        str(Path(os.__file__).parent / "lib-dynload"),
    }
    places = {
        place
        for _, what, where in seen
        if what not in ("open", "os.listdir", "os.scandir")
        for place in where
    }
    assert {p for p in places if not p.endswith(".zip")} <= library, "neither then nor later"


@only_full
@pytest.mark.parametrize(
    "bug",
    ["sys.path.extend(told[-1])", "sys.path[:0] = told[-1]", "places['org'] = told[-1][0]; import org"],
    ids=["last", "first", "by name"],
)
def test_a_worker_that_could_import_from_there_too_early_is_noticed(tmp_path: Path, bug: str) -> None:
    from umbridge.screening.boot import BOOT

    plugin, folder = good(tmp_path), tmp_path / "plugin"
    (folder / "org.py").write_text("")
    planted = BOOT.replace("sys.meta_path.insert(0, Ours)", f"sys.meta_path.insert(0, Ours)\n{bug}")
    assert planted != BOOT
    assert early(watched(planted, plugin), folder) != expected(folder)


@only_full
def test_a_plugin_is_found_by_its_one_name_even_when_it_asks_for_others(tmp_path: Path) -> None:
    """Locked down or not: what lies beside the package is no part of it."""
    more = (
        "import importlib.util\n"
        "OTHER = importlib.util.find_spec('zz_beside')\n"
        "from zz_good import inner\n"
        "assert inner.X == 1 and OTHER is None, 'found'\n"
    )
    plugin = good(tmp_path, more)
    (tmp_path / "plugin/zz_good/inner.py").write_text("X = 1\n")
    (tmp_path / "plugin/zz_beside.py").write_text("")

    def use(host: Host) -> None:
        host.start_these([plugin])
        assert host.plugins[0].why == ""

    hosted([], use)


def starts(path: Path) -> list[tuple[int, list[Any]]]:
    """Each list of words in a file that begins with ``sys.executable``: its line, and the words after it."""
    found = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.List) and node.elts and ast.unparse(node.elts[0]) == "sys.executable":
            words = [word.value if isinstance(word, ast.Constant) else None for word in node.elts[1:]]
            found.append((node.lineno, words))
    return found


def test_no_process_of_ours_imports_from_the_folder_it_is_started_in() -> None:
    """`umbridge demo` in a stranger's repository: ``python -m`` alone would put that folder first."""
    sources = [*(ROOT / "umbridge").rglob("*.py"), *(ROOT / "audit/umbridge_audit").rglob("*.py")]
    found = {path: starts(path) for path in sources}
    assert sum(map(len, found.values())) >= 3
    wrong = [
        f"{path.relative_to(ROOT)}:{line}"
        for path, each in found.items()
        for line, words in each
        if not {"-P", "-I"} & set(words)
    ]
    assert wrong == []

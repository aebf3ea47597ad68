"""Which plugins are installed, by the metadata of their entry points; nothing of them is imported."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import re
import tomllib
from dataclasses import dataclass
from importlib.metadata import Distribution, EntryPoint
from pathlib import Path
from typing import TypeAlias

from umbridge.errors import ConfigError
from umbridge.hookspecs import PACK_GROUP
from umbridge.screening.names import GROUPS, group_problem, name_problem, top_of, value_problem

Table: TypeAlias = "dict[str, Table | list[Table] | str | int | float | bool]"  # TOML's, dates aside


@dataclass(frozen=True, slots=True)
class Found:
    """A plugin that can be started. ``path`` is where its worker looks for its package, and nothing else."""

    name: str
    entry: str
    version: str
    path: tuple[str, ...] | None  # None: the package cannot be located
    pack: bool = False  # content only: none of its files is imported
    folder: str = ""  # an approved edition's files; at each start they must have this digest
    digest: str = ""


def entry_points() -> dict[str, EntryPoint]:
    """The entry point of every installed plugin and pack that can be used, by name; see ``unusable``.

    Raises:
        ConfigError: two distributions claim the same name.
    """
    found: dict[str, EntryPoint] = {}
    for entry in _declared()[0]:
        if found.setdefault(entry.name, entry) is not entry:
            raise ConfigError(f"criteria plugin {entry.name}: two installed packages claim this name")
    return dict(sorted(found.items()))


def unusable() -> list[str]:
    """What is installed and cannot be told or used as a plugin: each its metadata's folder, and why."""
    return _declared()[1]


def _declared() -> tuple[list[EntryPoint], list[str]]:
    """Every entry point of ours, and what is wrong with others. One damaged distribution costs no other."""
    found: list[EntryPoint] = []
    wrong: list[str] = []
    seen: set[str] = set()
    for distribution in importlib.metadata.distributions():
        try:
            entries = _entries(distribution)
        except Exception:  # whatever a stranger's file makes the reader raise
            wrong.append(f"{_folder(distribution)}: its metadata cannot be read")
            continue
        if not entries or (name := re.sub(r"[-_.]+", "-", distribution.name).lower()) in seen:
            continue  # the first on the path is the one that is imported
        seen.add(name)
        for entry in entries:
            problem = name_problem(entry.name) or value_problem(entry.value)
            if problem:
                wrong.append(f"{_folder(distribution)}: {problem}")
            else:
                found.append(entry)
    return found, wrong


def _entries(distribution: Distribution) -> list[EntryPoint]:
    """Raises whatever the reader of metadata raises; ValueError where a name or version is missing."""
    text = distribution.read_text("entry_points.txt") or ""
    if not any(group in text for group in GROUPS):
        return []
    if not (distribution.name and distribution.version):
        raise ValueError
    return [entry for entry in distribution.entry_points if entry.group in GROUPS]


def _folder(distribution: Distribution) -> str:
    return Path(str(getattr(distribution, "_path", distribution.locate_file("")))).name


def installed() -> dict[str, Found]:
    """Every installed plugin by name, as it lies. Raises ConfigError: see ``entry_points``."""
    return {
        name: Found(
            name,
            entry.value,
            entry.dist.version if entry.dist else "",
            _path(entry.module),
            entry.group == PACK_GROUP,
        )
        for name, entry in entry_points().items()
    }


def in_folder(folder: Path) -> Found:
    """The plugin whose repository this is, installed or not: its ``pyproject.toml`` says what it would be.

    Raises:
        ConfigError: there is none, or not exactly one entry point.
    """
    path = folder / "pyproject.toml"
    project = _project(path)
    found = [point for point in _points(project) if point[0] in GROUPS]
    if len(found) != 1:
        groups = " or ".join(f'"{group}"' for group in GROUPS)
        raise ConfigError(
            f"{path}: project.entry-points: expected exactly one of {groups}, found {len(found)}"
        )
    ((group, name, value),) = found
    if problem := name_problem(name) or value_problem(value):
        raise ConfigError(f"{path}: project.entry-points: {problem}")
    roots = [place for place in (folder, folder / "src") if (place / top_of(value)).is_dir()]
    place = (str(roots[0].resolve()),) if roots else ()
    return Found(name, value, str(project.get("version", "")), place, group == PACK_GROUP)


def beyond(folder: Path) -> list[str]:
    """What a repository's ``pyproject.toml`` declares that an installed plugin may not have, in words."""
    problems = (group_problem(group, name) for group, name, _ in _points(_project(folder / "pyproject.toml")))
    return [f"pyproject.toml: {problem}" for problem in problems if problem]


def _project(path: Path) -> Table:
    try:
        return _table(tomllib.loads(path.read_text(encoding="utf-8")), "project")
    except OSError:
        raise ConfigError(
            f"{path}: cannot be read; `umbridge plugins new NAME` writes a repository"
        ) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as exc:
        raise ConfigError(f"{path}: not valid TOML: {exc}") from None
    except RecursionError:
        raise ConfigError(f"{path}: nested too deep") from None


def _points(project: Table) -> list[tuple[str, str, str]]:
    """Every entry point as (group, name, value), scripts included."""
    groups = {
        group: _table(_table(project, "entry-points"), group) for group in _table(project, "entry-points")
    }
    groups |= {"console_scripts": _table(project, "scripts"), "gui_scripts": _table(project, "gui-scripts")}
    return [(group, name, str(value)) for group, points in groups.items() for name, value in points.items()]


def _table(of: Table, key: str) -> Table:
    """A table within a table; one that is something else counts as empty, as what is not there."""
    value = of.get(key)
    return value if isinstance(value, dict) else {}


def _path(module: str) -> tuple[str, ...] | None:
    """Where the plugin lies. Finding a top-level package's spec runs none of its code."""
    try:
        spec = importlib.util.find_spec(module.partition(".")[0])
    except (ImportError, ValueError):
        return None
    if spec is None:
        return None
    places = [str(Path(place).parent) for place in spec.submodule_search_locations or ()]
    places += [str(Path(spec.origin).parent)] if not places and spec.origin else []
    return tuple(dict.fromkeys(places)) or None

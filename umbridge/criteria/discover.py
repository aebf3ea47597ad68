"""Which plugins are installed, by the metadata of their entry points; nothing of them is imported."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import tomllib
from dataclasses import dataclass
from importlib.metadata import EntryPoint
from pathlib import Path

from umbridge.errors import ConfigError
from umbridge.hookspecs import ENTRY_POINT_GROUP, PACK_GROUP


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
    """The entry point of every installed plugin and pack, by name.

    Raises:
        ConfigError: two distributions claim the same name.
    """
    found: dict[str, EntryPoint] = {}
    for group in (ENTRY_POINT_GROUP, PACK_GROUP):
        for entry in importlib.metadata.entry_points(group=group):
            other = found.setdefault(entry.name, entry)
            if other is not entry and (other.group, other.value, _place(other)) != (
                group,
                entry.value,
                _place(entry),
            ):
                raise ConfigError(f"criteria plugin {entry.name}: two installed packages claim this name")
    return dict(sorted(found.items()))


def _place(entry: EntryPoint) -> tuple[str, str]:
    return (entry.dist.name, entry.dist.version) if entry.dist else ("", "")


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
    try:
        project = tomllib.loads(path.read_text(encoding="utf-8")).get("project", {})
    except OSError:
        raise ConfigError(
            f"{path}: cannot be read; `umbridge plugins new NAME` writes a repository"
        ) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as exc:
        raise ConfigError(f"{path}: not valid TOML: {exc}") from None
    points = project.get("entry-points", {})
    found = [
        (group, str(name), str(value))
        for group in (ENTRY_POINT_GROUP, PACK_GROUP)
        for name, value in points.get(group, {}).items()
    ]
    if len(found) != 1:
        groups = f'"{ENTRY_POINT_GROUP}" or "{PACK_GROUP}"'
        raise ConfigError(
            f"{path}: project.entry-points: expected exactly one of {groups}, found {len(found)}"
        )
    ((group, name, value),) = found
    roots = [
        place
        for place in (folder, folder / "src")
        if (place / value.partition(":")[0].partition(".")[0]).is_dir()
    ]
    place = (str(roots[0].resolve()),) if roots else ()
    return Found(name, value, str(project.get("version", "")), place, group == PACK_GROUP)


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

"""A criteria pack: a plugin that is content only. These are the hooks of every pack; it has no code.

A pack's folder holds ``pack.toml`` (``version``, ``disclaimer``) and ``content/``, which ``levels`` asks.
"""

from __future__ import annotations

import tomllib
from pathlib import Path

from umbridge.criteria.levels import LevelContent
from umbridge.errors import ContentError
from umbridge.hookspecs import hookimpl
from umbridge.model import Case, Manifest, ScreenResult

ABOUT = "pack.toml"
CONTENT = "content"


class Pack:
    """The plugin that a pack's folder is. Raises ContentError: file, line or key, and what was expected."""

    def __init__(self, name: str, folder: Path) -> None:
        self.name = name
        self.version, self.disclaimer = _about(folder / ABOUT)
        self.content = LevelContent(folder / CONTENT)

    @hookimpl
    def umbridge_manifest(self) -> Manifest:
        return self.content.manifest(self.name, self.version, self.disclaimer)

    @hookimpl
    def umbridge_screen(self, case: Case) -> ScreenResult:
        return self.content.screen(case)


def _about(path: Path) -> tuple[str, str]:
    try:
        found = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError:
        raise ContentError(
            f"{path.name}: cannot be read; a pack needs one, with version and disclaimer"
        ) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as exc:
        raise ContentError(f"{path.name}: not valid TOML: {exc}") from None
    for key in found.keys() ^ {"version", "disclaimer"}:
        what = "unknown key; remove it" if key in found else "missing; add it"
        raise ContentError(f"{path.name}: {key}: {what}")
    for key, value in found.items():
        if not isinstance(value, str) or not value.strip() or not value.isprintable():
            raise ContentError(f"{path.name}: {key}: expected a line of text")
    return found["version"], found["disclaimer"]

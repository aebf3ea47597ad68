"""The settings file found and read as TOML: as much of it as finds the daemon, without judging the rest."""

from __future__ import annotations

import os
import tomllib
from pathlib import Path
from typing import Any

from umbridge.errors import ConfigError

STORE = "store"  # the default of [paths]


def find(given: str | None) -> Path:
    """The settings file: ``UMBRIDGE_CONFIG``, else the one given, else ./ and /etc/umbridge/.

    Raises ConfigError when there is none.
    """
    override = os.environ.get("UMBRIDGE_CONFIG")
    if override or given:
        path = Path(override or given or "")
        if not path.is_file():
            raise ConfigError(f"no settings file at {path}: check --config or UMBRIDGE_CONFIG")
        return path
    for candidate in (Path("umbridge.toml"), Path("/etc/umbridge/umbridge.toml")):
        if candidate.is_file():
            return candidate
    raise ConfigError(
        "no settings file: looked for ./umbridge.toml and /etc/umbridge/umbridge.toml; "
        "run `umbridge init DIR` or name one with --config"
    )


def read_toml(path: Path) -> dict[str, Any]:
    """A TOML file as a dict; ConfigError with the line where it is broken."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such file") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{path}: not UTF-8 text") from None
    except OSError as exc:
        raise ConfigError(f"{path}: cannot be read ({exc.strerror})") from None
    except tomllib.TOMLDecodeError as exc:
        raise ConfigError(f"{path}: not valid TOML: {exc}") from None


def store(path: Path) -> Path | None:
    """Where the store lies; None when the file says it in no way that ``config.load`` takes, which says why.

    Nothing else in the file is looked at: a mistake elsewhere is for ``config.load`` to find.
    """
    paths = read_toml(path).get("paths", {})
    named = paths.get("store", STORE) if isinstance(paths, dict) else None
    return (path.resolve().parent / named).resolve() if isinstance(named, str) else None

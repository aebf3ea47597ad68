"""Asks every criteria plugin, each in its own worker process, and keeps each one's failure its own.

Plugins are found by the metadata of their entry points; nothing of them is imported here.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pluggy

import umbridge
from umbridge.criteria.link import CALL_SECONDS, Link, PluginFailedError, Said, ask_all, start_all
from umbridge.criteria.sandbox import LEVELS
from umbridge.criteria.wire import Told, WireError, case_out, result_in
from umbridge.errors import ConfigError
from umbridge.hookspecs import ENTRY_POINT_GROUP
from umbridge.model import Case, Outcome, ScreenResult

FAILURES: Mapping[str, str] = {
    "plugin_error": "The criteria plugin failed on this case.",
    "plugin_timeout": "The criteria plugin did not answer in time.",
    "plugin_reply_too_large": "The criteria plugin's answer was too large.",
    "plugin_reply_invalid": "The criteria plugin's answer was outside the contract.",
    "plugin_died": "The criteria plugin's process ended.",
    "plugin_unavailable": "The criteria plugin is not running.",
    "case_too_large": "The case is too large to be sent to a criteria plugin.",
}


@dataclass(frozen=True, slots=True)
class PluginInfo:
    """What the daemon knows of a plugin. Empty texts and tuples where its worker never started."""

    name: str
    version: str
    edition: str
    digest: str
    facts: tuple[str, ...]
    subsets: tuple[str, ...]
    health: str  # running, restarting, stopped
    isolation: str
    disclaimer: str = ""


@dataclass(frozen=True, slots=True)
class Screened:
    """One plugin's answer. ``failed`` is a code of ``FAILURES`` when it is the host that answered PEND."""

    result: ScreenResult
    latency_us: int  # from the request's first byte to the reply's last; 0 when it was never asked
    isolation: str
    failed: str | None = None


@dataclass(frozen=True, slots=True)
class Found:
    """An installed plugin, by metadata alone. ``path`` is what its worker may import from."""

    name: str
    entry: str
    version: str
    path: tuple[str, ...] | None  # None: the package cannot be located


def installed() -> dict[str, Found]:
    """Every installed plugin by name, without importing any.

    Raises:
        ConfigError: two distributions claim the same name.
    """
    found: dict[str, Found] = {}
    for entry in importlib.metadata.entry_points(group=ENTRY_POINT_GROUP):
        here = Found(entry.name, entry.value, entry.dist.version if entry.dist else "", _path(entry.module))
        if found.setdefault(entry.name, here) != here:
            raise ConfigError(f"criteria plugin {entry.name}: two installed packages claim this name")
    return dict(sorted(found.items()))


def _path(module: str) -> tuple[str, ...] | None:
    """Where umbridge, pluggy and the plugin lie. Finding a top-level package's spec runs none of its code."""
    try:
        spec = importlib.util.find_spec(module.partition(".")[0])
    except (ImportError, ValueError):
        return None
    if spec is None:
        return None
    places = [str(Path(place).parent) for place in spec.submodule_search_locations or ()]
    places += [str(Path(spec.origin).parent)] if not places and spec.origin else []
    ours = [str(Path(file).parent.parent) for file in (umbridge.__file__, pluggy.__file__) if file]
    return tuple(dict.fromkeys([*ours, *places])) if places else None


class Host:
    """All plugins of one caseworker. For one thread."""

    def __init__(self, *, call_seconds: float = CALL_SECONDS) -> None:
        self.call_seconds = call_seconds
        self._found: dict[str, Found] = {}
        self._links: dict[str, Link] = {}

    def start(self, names: Sequence[str] | None = None) -> None:
        """Start one worker for each named plugin (all installed ones when None), side by side.

        A plugin that cannot start is kept, answers PEND as plugin_unavailable and is tried again later.

        Raises:
            ConfigError: a name that no installed distribution has.
        """
        found = installed()
        for name in found if names is None else names:
            if name not in found:
                there = ", ".join(found) or "none"
                raise ConfigError(f"criteria plugin {name}: not installed; installed: {there}")
            self._found[name] = found[name]
            self._links[name] = Link(
                name, found[name].entry, found[name].path or (), call_seconds=self.call_seconds
            )
        start_all(list(self._links.values()))

    def stop(self) -> None:
        """End every worker."""
        for link in self._links.values():
            link.stop()

    @property
    def plugins(self) -> list[PluginInfo]:
        """What is running, by name."""
        infos = []
        for name, link in sorted(self._links.items()):
            said = link.manifest
            infos.append(
                PluginInfo(
                    name,
                    self._found[name].version if said is None else said.version,
                    "" if said is None else said.edition,
                    "" if said is None else said.digest,
                    () if said is None else said.facts,
                    () if said is None else said.subsets,
                    link.health,
                    link.isolation,
                    "" if said is None else said.disclaimer,
                )
            )
        return infos

    def health(self) -> dict[str, str]:
        """How each plugin's worker is: running, restarting or stopped."""
        return {name: link.health for name, link in sorted(self._links.items())}

    def screen(self, cases: Mapping[str, Case]) -> dict[str, Screened]:
        """Ask each named plugin its case, all at once; never raises for a plugin's sake.

        A failure is PEND with a code, for that plugin only; facts a plugin did not declare are not sent.
        """
        told = Told()
        asks: list[tuple[Link, dict[str, Any]]] = []
        done: dict[str, Screened] = {}
        for name, case in cases.items():
            link = self._links.get(name)
            if link is None or (link.manifest is None and not self._heard(link)):
                done[name] = self._failed(link, "plugin_unavailable", 0)
                continue
            assert link.manifest is not None  # noqa: S101 - heard just now, or before
            question = case_out(case, frozenset(link.manifest.facts), told)
            asks.append((link, {"do": "screen", "case": question}))
        for (link, _), said in zip(asks, ask_all(asks), strict=True):
            done[link.name] = self._screened(link, said, cases[link.name])
        return {name: done[name] for name in cases}

    @staticmethod
    def _heard(link: Link) -> bool:
        """Whether a worker that never came up has a manifest now."""
        ask_all([(link, {"do": "manifest"})])
        return link.manifest is not None

    def _screened(self, link: Link, said: Said, case: Case) -> Screened:
        if isinstance(said, PluginFailedError):
            return self._failed(link, said.code, said.took_us)
        answer, took = said
        if "error" in answer:
            code = answer["error"]
            return self._failed(link, code if code in FAILURES else "plugin_reply_invalid", took)
        try:
            assert link.manifest is not None  # noqa: S101 - it was asked, so it was heard
            return Screened(result_in(answer.get("result"), link.manifest, case), took, link.isolation)
        except WireError:
            return self._failed(link, "plugin_reply_invalid", took)

    @staticmethod
    def _failed(link: Link | None, code: str, took: int) -> Screened:
        said = None if link is None else link.manifest
        result = ScreenResult(
            Outcome.PEND,
            edition="" if said is None else said.edition,
            digest="" if said is None else said.digest,
            rationale=f"{code}: {FAILURES[code]}",
        )
        return Screened(result, took, LEVELS[-1] if link is None else link.isolation, code)

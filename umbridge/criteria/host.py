"""Asks every criteria plugin, each in its own worker process, and keeps each one's failure its own.

Plugins are found by the metadata of their entry points; nothing of them is imported here.
"""

from __future__ import annotations

import asyncio
import importlib.metadata
import importlib.util
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pluggy

import umbridge
from umbridge.criteria.link import CALL_SECONDS, Link, PluginFailedError
from umbridge.criteria.wire import Told, WireError, case_out, result_in
from umbridge.criteria.worker import ISOLATION
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
    """All plugins of this daemon. One event loop; ``screen`` may be called by many lanes at once."""

    def __init__(self, *, call_seconds: float = CALL_SECONDS) -> None:
        self.call_seconds = call_seconds
        self._found: dict[str, Found] = {}
        self._links: dict[str, Link] = {}

    async def start(self, names: Sequence[str] | None = None) -> None:
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
        await asyncio.gather(*(link.start() for link in self._links.values()), return_exceptions=True)

    async def stop(self) -> None:
        """End every worker."""
        await asyncio.gather(*(link.stop() for link in self._links.values()))

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
                    ISOLATION,
                    "" if said is None else said.disclaimer,
                )
            )
        return infos

    async def screen(self, cases: Mapping[str, Case]) -> dict[str, Screened]:
        """Ask each named plugin its case; never raises for a plugin's sake.

        A failure is PEND with a code, for that plugin only; facts a plugin did not declare are not sent.
        """
        told = Told()
        answers = await asyncio.gather(*(self._screen(name, case, told) for name, case in cases.items()))
        return dict(zip(cases, answers, strict=True))

    async def _screen(self, name: str, case: Case, told: Told) -> Screened:
        link = self._links.get(name)
        took = 0
        try:
            if link is None:
                raise PluginFailedError("plugin_unavailable")
            if link.manifest is None:
                await link.start()
            manifest = link.manifest
            if manifest is None:
                raise PluginFailedError("plugin_unavailable")
            question = case_out(case, frozenset(manifest.facts), told)
            answer, took = await link.ask({"do": "screen", "case": question})
            if "error" in answer:
                code = answer["error"]
                raise PluginFailedError(code if code in FAILURES else "plugin_reply_invalid")
            return Screened(result_in(answer.get("result"), manifest, case), took, ISOLATION)
        except WireError:
            return self._failed(link, "plugin_reply_invalid", took)
        except PluginFailedError as exc:
            return self._failed(link, exc.code, took or exc.took_us)

    @staticmethod
    def _failed(link: Link | None, code: str, took: int) -> Screened:
        said = None if link is None else link.manifest
        result = ScreenResult(
            Outcome.PEND,
            edition="" if said is None else said.edition,
            digest="" if said is None else said.digest,
            rationale=f"{code}: {FAILURES[code]}",
        )
        return Screened(result, took, ISOLATION, code)

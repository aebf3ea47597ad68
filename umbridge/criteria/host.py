"""Asks every criteria plugin, each in its own worker process, and keeps each one's failure its own.

Plugins are found by the metadata of their entry points; nothing of them is imported here.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from umbridge.criteria.conduct import Conduct
from umbridge.criteria.discover import Found, installed
from umbridge.criteria.link import (
    CALL_SECONDS,
    Link,
    PluginFailedError,
    Said,
    ask_all,
    repeat,
    start_all,
)
from umbridge.criteria.sandbox import LEVELS
from umbridge.criteria.wire import Told, WireError, case_out, result_in
from umbridge.errors import ConfigError
from umbridge.model import Case, Outcome, ScreenResult

FAILURES: Mapping[str, str] = {
    "plugin_error": "The criteria plugin failed on this case.",
    "plugin_timeout": "The criteria plugin did not answer in time.",
    "plugin_reply_too_large": "The criteria plugin's answer was too large.",
    "plugin_reply_invalid": "The criteria plugin's answer was outside the contract.",
    "plugin_died": "The criteria plugin's process ended.",
    "plugin_unavailable": "The criteria plugin is not running.",
    "plugin_suspended": "The criteria plugin has failed too often and is suspended.",
    "plugin_impure": "The criteria plugin answered the same question differently in a fresh process.",
    "case_too_large": "The case is too large to be sent to a criteria plugin.",
}
PROBE_ONE_IN = 1000  # so many good answers are asked for again, in a fresh worker; at random
_NOT_ITS_OWN = frozenset({"case_too_large", "plugin_unavailable", "plugin_suspended"})


@dataclass(frozen=True, slots=True)
class PluginInfo:
    """What the daemon knows of a plugin. Empty texts and tuples where its worker never started."""

    name: str
    version: str
    edition: str
    digest: str
    facts: tuple[str, ...]
    subsets: tuple[str, ...]
    health: str  # running, restarting, suspended, stopped
    isolation: str  # the level its worker reached
    disclaimer: str = ""
    approved: str = ""  # the digest over its files that people approved; empty where nobody was asked
    why: str = ""  # why it is not running


@dataclass(frozen=True, slots=True)
class Screened:
    """One plugin's answer. ``failed`` is a code of ``FAILURES`` when it is the host that answered PEND."""

    result: ScreenResult
    latency_us: int  # from the request's first byte to the reply's last; 0 when it was never asked
    isolation: str
    failed: str | None = None


class Host:
    """All plugins of one caseworker. For one thread."""

    def __init__(self, *, call_seconds: float = CALL_SECONDS, required: str = "process-only") -> None:
        """``required``: the weakest level of isolation (``sandbox.LEVELS``) that a plugin may run with."""
        self.call_seconds = call_seconds
        self.required = required
        self._found: dict[str, Found] = {}
        self._links: dict[str, Link] = {}
        self._conduct: dict[str, Conduct] = {}

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
            self._add(found[name])
        start_all(list(self._links.values()))

    def start_these(self, editions: Iterable[Found]) -> None:
        """The same for editions chosen by somebody else, such as those that people approved."""
        for found in editions:
            self._add(found)
        start_all(list(self._links.values()))

    def _add(self, found: Found) -> None:
        self._found[found.name] = found
        self._conduct[found.name] = Conduct()
        self._links[found.name] = Link(found, call_seconds=self.call_seconds, required=self.required)

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
                    self._health(link),
                    link.isolation,
                    "" if said is None else said.disclaimer,
                    self._found[name].digest,
                    link.why,
                )
            )
        return infos

    def health(self) -> dict[str, str]:
        """How each plugin is: running, restarting, suspended or stopped."""
        return {name: self._health(link) for name, link in sorted(self._links.items())}

    def _health(self, link: Link) -> str:
        return "suspended" if self._conduct[link.name].suspended else link.health

    def screen(self, cases: Mapping[str, Case]) -> dict[str, Screened]:
        """Ask each named plugin its case, all at once; never raises for a plugin's sake.

        A failure is PEND with a code, for that plugin only; facts a plugin did not declare are not sent.
        """
        told = Told()
        asks: list[tuple[Link, dict[str, Any]]] = []
        done: dict[str, Screened] = {}
        for name, case in cases.items():
            link = self._links.get(name)
            if link is not None and not self._conduct[name].may_ask(time.monotonic()):
                done[name] = self._failed(link, "plugin_suspended", 0)
                continue
            if link is None or (link.manifest is None and not self._heard(link)):
                done[name] = self._failed(link, "plugin_unavailable", 0)
                continue
            assert link.manifest is not None  # noqa: S101 - heard just now, or before
            question = case_out(case, frozenset(link.manifest.facts), told)
            asks.append((link, {"do": "screen", "case": question}))
        for (link, request), said in zip(asks, ask_all(asks), strict=True):
            case = cases[link.name]
            screened = self._screened(link, said, case)
            if screened.failed is None and secrets.randbelow(PROBE_ONE_IN) == 0:
                screened = self._probed(link, request, said, screened)
            self._note(link.name, (case.pseudonym, case.as_of), screened.failed)
            done[link.name] = screened
        return {name: done[name] for name in cases}

    def _probed(self, link: Link, request: dict[str, Any], said: Said, screened: Screened) -> Screened:
        """The answer, if a fresh worker gives the same; one that gives none shows nothing."""
        again = repeat(link, request)
        if isinstance(again, PluginFailedError) or isinstance(said, PluginFailedError) or "error" in again[0]:
            return screened
        if again[0]["result"] == said[0]["result"]:
            return screened
        return self._failed(link, "plugin_impure", screened.latency_us)

    def _note(self, name: str, message: object, failed: str | None) -> None:
        if failed is None:
            self._conduct[name].answered()
        elif failed not in _NOT_ITS_OWN:
            self._conduct[name].failed(message, time.monotonic())

    @staticmethod
    def _heard(link: Link) -> bool:
        """Whether a worker that never came up has a manifest now."""
        ask_all([(link, {"do": "greet"})])
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

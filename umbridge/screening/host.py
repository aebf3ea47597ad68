"""Asks every criteria plugin, each in its own worker process, and keeps each one's failure its own.

Plugins are found by the metadata of their entry points; nothing of them is imported here.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from umbridge.criteria.why import Trace
from umbridge.errors import ConfigError
from umbridge.model import Case, ScreenResult
from umbridge.screening.answer_codec import result_in
from umbridge.screening.case_codec import EncodeCache, case_out
from umbridge.screening.circuit_breaker import CircuitBreaker
from umbridge.screening.discover import Found, installed
from umbridge.screening.frames import Request, WireError
from umbridge.screening.link import Asking, Said, ask_all, repeat, start_all
from umbridge.screening.process import CALL_SECONDS, Link, PluginFailedError
from umbridge.screening.sandbox import LEVELS
from umbridge.screening.why_codec import why_in
from umbridge.values.frozen import dataclass
from umbridge.values.kinds import Outcome
from umbridge.values.signed import DRAFT

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
#: What a case lacks of which no diagnosis is known; no id of the dictionary, as the diagnosis is no fact.
PRINCIPAL_DIAGNOSIS = "principal_diagnosis"
UNDIAGNOSED = "No principal diagnosis was sent (DG1): which criteria apply is not known."
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
    states: tuple[str, ...] = ()  # of each subset, whether its content is draft, reviewed or approved


@dataclass(frozen=True, slots=True)
class Screened:
    """One plugin's answer. ``failed`` is a code of ``FAILURES`` when it is the host that answered PEND."""

    result: ScreenResult
    # from the request's first byte until the reply was read, by the number of cases in it; 0: never asked
    latency_us: int
    isolation: str
    failed: str | None = None
    why: tuple[Trace, ...] = ()  # of the rules that the answer rests on, where the host was to ask for them


@dataclass(frozen=True, slots=True)
class _Ask:
    """What one plugin is asked at once: its cases, and the questions they belong to."""

    link: Link
    places: list[int]
    cases: list[list[Any]]
    why: bool

    def request(self) -> tuple[Link, Request]:
        request: Request = {"do": "screen", "cases": self.cases}
        if self.why:
            request["why"] = True
        return self.link, request


@dataclass(frozen=True, slots=True)
class Asked:
    """Questions that are with the plugins, and what is known of their answers already."""

    questions: Sequence[Mapping[str, Case]]
    found: list[dict[str, Screened]]
    asks: list[_Ask]
    asking: Asking
    told: EncodeCache


def _may_be_one_alone(said: Said) -> bool:
    """Whether a request for several cases failed as a whole, though one of them alone may be to blame."""
    if isinstance(said, PluginFailedError):
        return said.code != "plugin_unavailable"
    return "results" not in said[0]


class Host:
    """All plugins of one lane worker. For one thread."""

    def __init__(
        self, *, call_seconds: float = CALL_SECONDS, required: str = "process-only", why: bool = False
    ) -> None:
        """``required``: the weakest level of isolation (``sandbox.LEVELS``) that a plugin may run with.

        ``why``: plugins are asked for the trees behind their answers too.
        """
        self.why = why
        self.call_seconds = call_seconds
        self.required = required
        self._found: dict[str, Found] = {}
        self._links: dict[str, Link] = {}
        self._breaker: dict[str, CircuitBreaker] = {}
        self._heard, self._facts = 0, frozenset[str]()

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
        self._breaker[found.name] = CircuitBreaker()
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
                    () if said is None else said.states or (DRAFT,) * len(said.subsets),
                )
            )
        return infos

    @property
    def names(self) -> list[str]:
        """Every plugin that is asked."""
        return sorted(self._links)

    def declared(self, name: str) -> tuple[str, ...]:
        """The facts a plugin wants; none while its worker never came up."""
        said = self._links[name].manifest
        return () if said is None else said.facts

    def version(self, name: str) -> str:
        said = self._links[name].manifest
        return self._found[name].version if said is None else said.version

    @property
    def facts(self) -> frozenset[str]:
        """Every fact that some plugin wants: looked up once for all of them."""
        heard = [link.manifest for link in self._links.values() if link.manifest is not None]
        if len(heard) != self._heard:  # what a plugin has said once it never says otherwise
            self._heard, self._facts = len(heard), frozenset(fact for each in heard for fact in each.facts)
        return self._facts

    @property
    def editions(self) -> list[list[str]]:
        """Of every plugin its name, version and digest ("" while it never came up), by name."""
        return [
            [name, self.version(name), "" if link.manifest is None else link.manifest.digest]
            for name, link in sorted(self._links.items())
        ]

    @property
    def all_heard(self) -> bool:
        """Whether every plugin has said what it wants; until then ``facts`` may lack some."""
        return all(link.manifest is not None for link in self._links.values())

    def health(self) -> dict[str, str]:
        """How each plugin is: running, restarting, suspended or stopped."""
        return {name: self._health(link) for name, link in sorted(self._links.items())}

    def _health(self, link: Link) -> str:
        return "suspended" if self._breaker[link.name].suspended else link.health

    def screen(self, cases: Mapping[str, Case]) -> dict[str, Screened]:
        """Put one question to the plugins it names, and wait; see ``ask``."""
        return self.answers(self.ask([cases]))[0]

    def ask(self, questions: Sequence[Mapping[str, Case]]) -> Asked:
        """Put each question's cases to the plugins it names, all plugins at once; never raises for theirs.

        The cases of one plugin travel together: waking a process costs more than a screen. ``answers`` takes
        what they say; until then none of these plugins may be asked anything else. Facts a plugin did not
        declare are not sent.
        """
        told = EncodeCache()
        found: list[dict[str, Screened]] = [{} for _ in questions]
        asks: list[_Ask] = []
        for name in dict.fromkeys(name for cases in questions for name in cases):
            places = [place for place, cases in enumerate(questions) if name in cases]
            link = self._links.get(name)
            unable = self._unable(link)
            if link is None or link.manifest is None or unable:
                for place in places:
                    found[place][name] = self._failed(link, unable, 0)
                continue
            declared, bounds = frozenset(link.manifest.facts), link.manifest.bounds
            sent = [case_out(questions[place][name], declared, told, bounds=bounds) for place in places]
            asks.append(_Ask(link, places, sent, self.why))
        return Asked(questions, found, asks, Asking([ask.request() for ask in asks]), told)

    def _unable(self, link: Link | None) -> str:
        """Why a plugin cannot be asked now; "" where it can."""
        if link is not None and not self._breaker[link.name].may_ask(time.monotonic()):
            return "plugin_suspended"
        if link is None:
            return "plugin_unavailable"
        if link.manifest is None:
            # It may come up now, but this case was made without its facts: known ones would pass for missing.
            ask_all([(link, {"do": "greet"})])
            return "plugin_unavailable"
        return ""

    @staticmethod
    def answered(asked: Asked) -> bool:
        """Whether ``answers`` need not wait."""
        return asked.asking.answered()

    def answers(self, asked: Asked) -> list[dict[str, Screened]]:
        """What the plugins say, by question and plugin.

        A failure is PEND with a code, for that plugin and that case only: when a plugin fails on several
        cases at once it is asked them again one by one.
        """
        for ask, said in zip(asked.asks, asked.asking.wait(), strict=True):
            if len(ask.places) > 1 and _may_be_one_alone(said):
                ask.link.forgive()  # the failure counts when it is known whose it is
                for place, case in zip(ask.places, ask.cases, strict=True):
                    alone = _Ask(ask.link, [place], [case], ask.why)
                    self._take(asked, alone, ask_all([alone.request()])[0])
            else:
                self._take(asked, ask, said)
        return asked.found

    def _take(self, asked: Asked, ask: _Ask, said: Said) -> None:
        """One request's results, each looked at, one in so many requests repeated."""
        name, cases = ask.link.name, [asked.questions[place][ask.link.name] for place in ask.places]
        screened = [
            self._screened(ask.link, said, number, case, len(cases), asked.told)
            for number, case in enumerate(cases)
        ]
        if secrets.randbelow(PROBE_ONE_IN) < len(cases) and all(each.failed is None for each in screened):
            screened = self._probed(ask, said, screened)
        for place, case, each in zip(ask.places, cases, screened, strict=True):
            self._note(name, (case.pseudonym, case.as_of), each.failed)
            asked.found[place][name] = each

    def _probed(self, ask: _Ask, said: Said, screened: list[Screened]) -> list[Screened]:
        """The answers that a fresh worker gives as well; one that gives none shows nothing."""
        again = repeat(*ask.request())
        if isinstance(again, PluginFailedError) or isinstance(said, PluginFailedError):
            return screened
        first, second = said[0].get("results"), again[0].get("results")
        if not isinstance(first, list) or not isinstance(second, list) or len(first) != len(second):
            return screened
        return [
            each if one == other else self._failed(ask.link, "plugin_impure", each.latency_us)
            for each, one, other in zip(screened, first, second, strict=True)
        ]

    def _note(self, name: str, message: object, failed: str | None) -> None:
        if failed is None:
            self._breaker[name].answered()
        elif failed not in _NOT_ITS_OWN:
            self._breaker[name].failed(message, time.monotonic())

    def _screened(
        self, link: Link, said: Said, number: int, case: Case, count: int, told: EncodeCache
    ) -> Screened:
        """The answer to case ``number`` of ``count`` in one request."""
        if isinstance(said, PluginFailedError):
            return self._failed(link, said.code, said.took_us)
        answer, took = said
        took = max(1, took // count)
        results = answer.get("results")
        own: object = {"error": answer.get("error")}  # of the request as a whole
        if isinstance(results, list) and len(results) == count:
            own = results[number]
        if not isinstance(own, dict) or "result" not in own:
            code = str(own.get("error")) if isinstance(own, dict) else ""
            return self._failed(link, code if code in FAILURES else "plugin_reply_invalid", took)
        try:
            assert link.manifest is not None  # noqa: S101 - it was asked, so it was heard
            result = result_in(own["result"], link.manifest, case, told)
            why = why_in(own.get("why"), link.manifest, case) if self.why else ()
            return Screened(result, took, link.isolation, why=why)
        except WireError:
            return self._failed(link, "plugin_reply_invalid", took)

    def undiagnosed(self, name: str) -> Screened:
        """The host's own answer for a plugin where no principal diagnosis is known: one to be had."""
        link = self._links[name]
        said = link.manifest
        result = ScreenResult(
            Outcome.PEND,
            edition="" if said is None else said.edition,
            digest="" if said is None else said.digest,
            missing=(PRINCIPAL_DIAGNOSIS,),
            rationale=UNDIAGNOSED,
        )
        return Screened(result, 0, link.isolation)

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

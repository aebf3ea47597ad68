"""A criteria pack: a plugin that is content only. These are the hooks of every pack; it has no code.

A pack's folder holds ``pack.toml`` (``version``, ``disclaimer``) and ``content/``. Its rules are named for
what they decide: ``admission`` and ``continued`` by level, ``discharge.ready``. The supported level is the
highest with a true rule. A request at or below it meets; one above it is undecided while a missing fact could
still change that, and is otherwise referred to a person.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from umbridge.criteria.content import Library, Subset, load_content
from umbridge.criteria.examination import Examination
from umbridge.criteria.tree import Decision, Node, one
from umbridge.errors import ContentError
from umbridge.hookspecs import hookimpl
from umbridge.model import Case, Level, Manifest, Outcome, ReviewType, ScreenResult

ABOUT = "pack.toml"
CONTENT = "content"
LEVELS = (Level.CRITICAL, Level.INTERMEDIATE, Level.ACUTE, Level.OBS)  # highest first
EPISODES = {
    ReviewType.ADMISSION: "admission",
    ReviewType.OBSERVATION: "admission",
    ReviewType.CONTINUED_STAY: "continued",
    ReviewType.DISCHARGE: "discharge",
}
READY = "discharge.ready"
_UNKNOWN = {True: "YES", False: "NO", None: "UNKNOWN"}


def _or_above(episode: str, level: Level) -> str:
    """The name of the rule "some level from this one up is true"."""
    return f"{episode}.{level.name}_or_above"


def _derive(rules: Mapping[str, Node]) -> Mapping[str, Node]:
    found: dict[str, Node] = {}
    for episode in ("admission", "continued"):
        for level in LEVELS:
            names = (f"{episode}.{higher.name}" for higher in LEVELS if higher >= level)
            nodes = [rules[name] for name in names if name in rules]
            if nodes:
                found[_or_above(episode, level)] = one(*nodes)
    return found


class Pack:
    """The plugin that a pack's folder is. Raises ContentError: file, line or key, and what was expected."""

    def __init__(self, name: str, folder: Path) -> None:
        self.name = name
        self.version, self.disclaimer = _about(folder / ABOUT)
        self.library: Library = load_content(folder / CONTENT, derive=_derive)

    @hookimpl
    def umbridge_manifest(self) -> Manifest:
        library = self.library
        return Manifest(
            self.name,
            self.version,
            library.edition,
            library.digest,
            tuple(library.subsets),
            library.facts(),
            self.disclaimer,
        )

    @hookimpl
    def umbridge_screen(self, case: Case) -> ScreenResult:
        result = self._screen(case)
        return replace(result, edition=self.library.edition, digest=self.library.digest)

    def _screen(self, case: Case) -> ScreenResult:
        subset = self.library.choose(case)
        if isinstance(subset, str):
            return _not_applicable(subset)
        return replace(_asked(case, subset), subset=subset.id, tags=subset.tags)


def _asked(case: Case, subset: Subset) -> ScreenResult:
    episode = EPISODES.get(case.review, "")
    if not any(key.startswith(f"{episode}.") for key in subset.rules.rules):
        return _not_applicable(f"{subset.title}: no content for this review.")
    if episode != "discharge" and case.requested_level is Level.HOME:
        return _not_applicable("No level of care above home is requested.")
    exam = subset.rules.examine(case.facts, case.as_of)
    if episode == "discharge":
        result = _discharge(exam)
    else:
        result = _level(case.requested_level, episode, subset, exam)
    return result if "age" in case.facts else _pend_for_age(result)


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


def _not_applicable(why: str) -> ScreenResult:
    return ScreenResult(Outcome.NOT_APPLICABLE, rationale=why)


def _pend_for_age(result: ScreenResult) -> ScreenResult:
    """Whether the subset applies at all hangs on the age, so nothing else is settled without it."""
    return replace(
        result,
        outcome=Outcome.PEND,
        missing=tuple(sorted({"age", *result.missing})),
        rationale=f"Age is not known. {result.rationale}",
        advise_higher=None,
        advise_missing=(),
        discharge_ready=None,
    )


def _level(request: Level, episode: str, subset: Subset, exam: Examination) -> ScreenResult:
    rules = subset.rules.rules
    decisions = {
        level: exam.decide(_or_above(episode, level))
        for level in LEVELS
        if _or_above(episode, level) in rules
    }
    supported = next((level for level, found in decisions.items() if found.value), Level.HOME)
    top = next(level for level in LEVELS if f"{episode}.{level.name}" in rules)
    met = decisions.get(request, Decision(False))
    if request > top and decisions[top].value is None:
        met = decisions[top]  # no content so high: refer, but not before the facts for what there is are in
    above = [decisions[level] for level in reversed(LEVELS) if level > request and level in decisions]
    higher = above[0] if above else Decision(False)
    outcome = {True: Outcome.MEETS, False: Outcome.REFER, None: Outcome.PEND}[met.value]
    if met.value and higher.value:
        outcome = Outcome.MEETS_ADVISE_HIGHER
    deciding = [f"{episode}.{supported.name}"] if supported is not Level.HOME else []
    if not met.value and request in decisions:
        deciding.append(_or_above(episode, request))
    ready = exam.decide(READY).value if episode == "continued" and READY in rules else None
    return ScreenResult(
        outcome,
        supported=supported,
        missing=met.missing if outcome is Outcome.PEND else (),
        rationale=_rationale(request, f"{episode}.{supported.name}", outcome, met, exam),
        evidence=exam.evidence(*(key for key in deciding if key in rules)),
        advise_higher=_UNKNOWN[higher.value] if met.value else None,
        advise_missing=higher.missing if met.value else (),
        discharge_ready=ready,
        scores=exam.scores() if episode == "admission" else {},
    )


def _discharge(exam: Examination) -> ScreenResult:
    ready = exam.decide(READY)
    outcome = {True: Outcome.MEETS, False: Outcome.REFER, None: Outcome.PEND}[ready.value]
    said = {True: "Every discharge criterion is true.", False: "Not ready for discharge."}
    return ScreenResult(
        outcome,
        supported=Level.HOME if ready.value else None,
        missing=ready.missing,
        discharge_ready=ready.value,
        evidence=exam.evidence(READY),
        rationale=said.get(bool(ready.value), "") if ready.value is not None else "Undecided.",
    )


def _rationale(request: Level, key: str, outcome: Outcome, met: Decision, exam: Examination) -> str:
    parts = []
    if outcome is Outcome.REFER:
        parts.append(f"No criterion at {request.name} or above is true: refer to secondary review.")
    elif outcome is Outcome.PEND:
        parts.append(f"{request.name} or above is undecided; not known: {', '.join(met.missing)}.")
    if key in exam.rules.rules:
        titles = [criterion.title for criterion in exam.reasons(key, True)]
        parts.append(f"{key.partition('.')[2]} supported: {'; '.join(titles)}.")
    else:
        parts.append("No level above home supported.")
    return " ".join([*parts, *exam.score_lines()])[:2000]

"""A plugin's vignettes: folders of HL7 messages, screened as a daemon would, held to expected.json."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Literal, TypeAlias, TypedDict, cast, get_args

from umbridge.criteria.content import Library
from umbridge.dryrun.screen import Shadow, read_files
from umbridge.errors import ConfigError
from umbridge.model import Case
from umbridge.review.record import Requested, ScreenLine
from umbridge.screening.host import Asked, Host
from umbridge.settings.site import SiteProfile, default_site, load_site
from umbridge.stay.profile import check_site

EXPECTED = "expected.json"
Compared: TypeAlias = Literal[
    "requested",
    "outcome",
    "supported",
    "subset",
    "advise_higher",
    "episode_day",
    "discharge_ready",
    "avoidable_day",
    "avoidable_attribution",
    "basis",
    "extended_stay_reason",
    "closes",
]
_EQUAL: tuple[Compared, ...] = get_args(Compared)


class Remembering(Host):
    """A host that remembers which cases a plugin was asked."""

    def __init__(self, *, why: bool = False) -> None:
        super().__init__(why=why)
        self.cases: dict[str, list[Case]] = {}

    def ask(self, questions: Sequence[Mapping[str, Case]]) -> Asked:
        for cases in questions:
            for name, case in cases.items():
                self.cases.setdefault(name, []).append(case)
        return super().ask(questions)


@dataclass(slots=True)
class Judged:
    """One vignette: ``wrong`` is empty when it came out as expected, ``skipped`` says why not judged."""

    name: str
    wrong: list[str] = field(default_factory=list)
    skipped: str = ""
    outcome: str = ""
    line: ScreenLine | None = None  # what came out, where one result did

    @property
    def verdict(self) -> str:
        return "skipped" if self.skipped else "WRONG" if self.wrong else "ok"


def site_of(folder: Path) -> SiteProfile:
    """The profile beside the vignettes (``site.toml``), else the built-in one."""
    path = folder / "site.toml"
    site = load_site(path) if path.is_file() else default_site()
    check_site(site)
    return site


class Expected(TypedDict, total=False):
    """``expected.json``: what must come out of a vignette. A key that is missing is not compared."""

    kind: str
    visit: str
    review: str
    as_of: str
    plugin: str
    also: list[Expected]
    subset: str | None
    requested: Requested
    episode_day: int | None
    outcome: str
    supported: str | None
    missing: list[str]
    missing_optional: list[str]
    advise_higher: str
    advise_missing: list[str]
    discharge_ready: bool
    avoidable_day: str | None
    avoidable_attribution: str | None
    basis: str
    extended_stay_reason: str
    tags: list[str]
    scores: dict[str, int | str | list[str]]
    closes: bool
    hold: list[str]
    payer_class: str
    facts: dict[str, bool | int | Decimal | str]


def judge(folder: Path, plugin: str, host: Remembering, site: SiteProfile) -> Judged:
    """Screen one vignette's messages with ``plugin`` and compare. Raises ConfigError for a broken file."""
    judged = Judged(folder.name)
    whole = _read(folder / EXPECTED)
    if whole.get("kind", "review") != "review":
        judged.skipped = "not a review"
        return judged
    expected = expectation(whole, plugin)
    if expected is None:
        judged.skipped = f"nothing is expected of {plugin}"
        return judged
    run = Shadow(site)
    for _, data in read_files([str(folder)]):
        run.take(data)
    judged.wrong += [f"{count} not used: {why}" for why, count in sorted(run.unread.items())]
    lines = [
        line
        for line in run.screen(host, _time(whole, folder))
        if line["visit"] == whole.get("visit")
        and line["review"] == whole.get("review")
        and line["plugin"] == plugin
    ]
    if len(lines) != 1:
        judged.wrong.append(
            f"{len(lines)} results for {whole.get('review')} of {whole.get('visit')}, expected 1"
        )
        return judged
    judged.line = lines[0]
    judged.outcome = str(lines[0]["outcome"])
    judged.wrong += differences(expected, lines[0])
    return judged


def expectation(whole: Expected, plugin: str) -> Expected | None:
    """What a vignette expects of one plugin: its main part, or the plugin's place under ``also``."""
    if whole.get("plugin", plugin) == plugin:
        return whole
    for other in whole.get("also", ()):
        if other.get("plugin") == plugin:
            found = other.copy()
            if "requested" in whole:
                found.setdefault("requested", whole["requested"])
            if "episode_day" in whole:
                found.setdefault("episode_day", whole["episode_day"])
            return found
    return None


def differences(expected: Expected, line: ScreenLine) -> list[str]:
    """In words, where a result is not what was expected. A key that is not expected is not compared."""
    if expected.get("subset", "") is None and line["outcome"] == "NOT_APPLICABLE":
        return []  # no subset for this diagnosis: silence is as good
    found = []
    for key in _EQUAL:
        if key in expected and line.get(key) != expected[key]:
            found.append(f"{key} is {line.get(key)}, expected {expected[key]}")
    if "hold" in expected and set(line["hold"]) != set(expected["hold"]):
        found.append(f"hold is {sorted(line['hold'])}, expected {sorted(expected['hold'])}")
    missing = set(line.get("missing", ()))
    if "missing" in expected:
        needed = set(expected["missing"])
        allowed = needed | set(expected.get("missing_optional", ()))
        if needed - missing:
            found.append(f"missing lacks {', '.join(sorted(needed - missing))}")
        if missing - allowed:
            found.append(f"missing has {', '.join(sorted(missing - allowed))} as well")
    listed: tuple[Literal["advise_missing", "tags"], ...] = ("advise_missing", "tags")
    for name in listed:
        lacking = set(expected.get(name, ())) - set(line.get(name, ()))
        if lacking:
            found.append(f"{name} lacks {', '.join(sorted(lacking))}")
    scores = dict(line.get("scores", {}))
    if basis := line.get("basis"):
        scores["basis"] = basis
    for score, value in expected.get("scores", {}).items():
        if _plain(scores.get(score)) != _plain(value):
            found.append(f"score {score} is {scores.get(score)}, expected {value}")
    return found


def _plain(value: object) -> object:
    return sorted(value) if isinstance(value, list | tuple) else value


class CriterionRow(TypedDict):
    """How often one criterion was true, false and unknown."""

    subset: str
    criterion: str
    true: int
    false: int
    unknown: int
    exercised: str


_TRUTH: dict[bool | None, Literal["true", "false", "unknown"]] = {
    True: "true",
    False: "false",
    None: "unknown",
}


def coverage(library: Library, cases: list[Case]) -> list[CriterionRow]:
    """How often each criterion was true, false and unknown in the cases that were asked."""
    counts: dict[tuple[str, str], CriterionRow] = {
        (subset.id, name): CriterionRow(
            subset=subset.id, criterion=name, true=0, false=0, unknown=0, exercised=""
        )
        for subset in library.subsets.values()
        for name in subset.rules.criteria
    }
    for case in cases:
        subset = library.choose(case)
        if isinstance(subset, str):
            continue
        exam = subset.examine(case)
        for name in subset.rules.criteria:
            counts[subset.id, name][_TRUTH[exam.truth(name)]] += 1
    rows = list(counts.values())
    for row in rows:
        row["exercised"] = "both ways" if row["true"] and row["false"] else "NOT both ways"
    return rows


def _read(path: Path) -> Expected:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such file; each vignette says what must come out") from None
    except (ValueError, OSError):
        raise ConfigError(f"{path}: not readable as JSON") from None
    if not isinstance(found, dict):
        raise ConfigError(f"{path}: expected one object")
    return cast(Expected, found)


def _time(whole: Expected, folder: Path) -> datetime | None:
    said = whole.get("as_of")
    if said is None:
        return None
    try:
        moment = datetime.fromisoformat(said)
    except (TypeError, ValueError):
        moment = None
    if moment is None or moment.tzinfo is None:
        raise ConfigError(f"{folder / EXPECTED}: as_of: expected an ISO 8601 time with its offset")
    return moment

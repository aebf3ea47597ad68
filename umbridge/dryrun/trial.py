"""A plugin's repository tried as it lies: files, content, vignettes in the sandbox, what they exercise.

Content goes through the linter: what loads and is wrong all the same is found here, not in a hospital.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypedDict

from umbridge.criteria.content import Library, load_content
from umbridge.dryrun.linter import ERROR, WARNING, lint
from umbridge.dryrun.vignettes import EXPECTED, CriterionRow, Remembering, coverage, judge, site_of
from umbridge.errors import ConfigError, ContentError
from umbridge.review.record import ScreenLine
from umbridge.screening.discover import Found, beyond, in_folder
from umbridge.screening.host import PluginInfo
from umbridge.screening.names import top_of
from umbridge.screening.package import ChangedError, kept, native
from umbridge.settings.site import load_site
from umbridge.stay.profile import check_site
from umbridge.values.signed import STATES


class About(TypedDict, total=False):
    """The plugin as its repository and its worker's first words describe it."""

    plugin: str
    kind: str
    version: str
    edition: str
    digest: str
    subsets: list[str]
    content: dict[str, int]
    facts: int
    isolation: str


class VignetteRow(TypedDict):
    """One vignette's verdict: ok, WRONG or skipped, and why."""

    vignette: str
    verdict: str
    outcome: str
    why: str


@dataclass(slots=True)
class Trial:
    """What was found. ``wrong`` counts what must be mended before anybody approves the plugin."""

    about: About
    findings: list[str] = field(default_factory=list)
    vignettes: list[VignetteRow] = field(default_factory=list)
    coverage: list[CriterionRow] = field(default_factory=list)
    trees: list[tuple[str, ScreenLine]] = field(default_factory=list)  # of vignettes that came out otherwise
    wrong: int = 0
    warnings: int = 0  # a person's judgement is wanted; nothing to mend before that

    @property
    def summary(self) -> str:
        """One line: what was done, and how it came out."""
        verdicts = [row["verdict"] for row in self.vignettes]
        both = sum(row["exercised"] == "both ways" for row in self.coverage)
        parts = [
            f"{len(verdicts)} vignettes: {verdicts.count('ok')} ok, {verdicts.count('WRONG')} wrong, "
            f"{verdicts.count('skipped')} skipped"
        ]
        if self.coverage:
            parts.append(f"{both} of {len(self.coverage)} criteria exercised both ways")
        if self.warnings:
            parts.append(f"{self.warnings} warnings")
        return "; ".join([*parts, "nothing is wrong" if not self.wrong else f"{self.wrong} to mend"])

    def rows(self) -> Iterator[Mapping[str, object]]:
        """Everything as JSON Lines: each row says in ``row`` which kind it is."""
        yield {"row": "plugin", **self.about}
        for text in self.findings:
            yield {"row": "finding", "text": text}
        for vignette in self.vignettes:
            yield {"row": "vignette", **vignette}
        for name, line in self.trees:
            yield {"row": "why", "vignette": name, "missing": line["missing"], "why": line.get("why", [])}
        for criterion in self.coverage:
            yield {"row": "criterion", **criterion}
        yield {"row": "summary", "wrong": self.wrong, "text": self.summary}


def run(
    repository: Path, vignettes: Path | None = None, site_file: Path | None = None, *, why: bool = False
) -> Trial:
    """Try the plugin of a repository. Raises ConfigError where there is none, or a file cannot be used.

    ``why``: of each vignette that comes out otherwise than expected, the tree behind its result.
    """
    found = in_folder(repository)
    trial = Trial({"plugin": found.name, "kind": "criteria pack" if found.pack else "code plugin"})
    package = _package(repository, found)
    _files(package, found, trial)
    others = beyond(repository)
    trial.findings += others
    trial.wrong += len(others)
    library = _content(package, trial)
    host = Remembering(why=why)
    host.start_these([found])
    try:
        (info,) = host.plugins
        _about(info, trial)
        if info.why:
            trial.findings.append(f"it does not run: {info.why}")
            trial.wrong += 1
            return trial
        _judge(vignettes or repository / "vignettes", found.name, host, site_file, trial)
        if library is not None:
            trial.coverage = coverage(library, host.cases.get(found.name, []))
    finally:
        host.stop()
    return trial


def _package(repository: Path, found: Found) -> Path:
    top = top_of(found.entry)
    for place in (repository / top, repository / "src" / top):
        if place.is_dir():
            return place
    raise ConfigError(f"{repository}: no package folder {top}, which pyproject.toml names")


def _files(package: Path, found: Found, trial: Trial) -> None:
    try:
        files = {f"{package.name}/{name}": path for name, path in kept(package).items()}
        problems = list(native(files))
        problems += [f"{name}: a pack has no code" for name in files if found.pack and name.endswith(".py")]
    except ChangedError as exc:
        problems = [str(exc)]
    trial.findings += problems
    trial.wrong += len(problems)


def _content(package: Path, trial: Trial) -> Library | None:
    """The content, where it is in its usual place; None without one, or when it is broken.

    Each finding names file, line and key. An error is to be mended; a warning is shown and counted as such.
    """
    folder = package / "content"
    if not folder.is_dir():
        trial.findings.append("no content folder: what the vignettes exercise cannot be counted")
        return None
    for finding in lint(folder):
        trial.findings.append(f"content/{finding}")
        trial.wrong += finding.weight == ERROR
        trial.warnings += finding.weight == WARNING
    try:
        return load_content(folder)
    except ContentError:
        return None  # the linter has said why, as an error


def _about(info: PluginInfo, trial: Trial) -> None:
    trial.about["version"] = info.version
    trial.about["edition"] = info.edition
    trial.about["digest"] = info.digest
    trial.about["subsets"] = list(info.subsets)
    trial.about["content"] = {state: info.states.count(state) for state in STATES if state in info.states}
    trial.about["facts"] = len(info.facts)
    trial.about["isolation"] = info.isolation


def _judge(folder: Path, plugin: str, host: Remembering, site_file: Path | None, trial: Trial) -> None:
    cases = sorted(path.parent for path in folder.glob(f"*/{EXPECTED}"))
    if not cases:
        trial.findings.append(f"no vignettes: {folder} has no folder with {EXPECTED}")
        trial.wrong += 1
        return
    site = load_site(site_file) if site_file else site_of(folder)
    check_site(site)
    for case in cases:
        judged = judge(case, plugin, host, site)
        why = judged.skipped or "; ".join(judged.wrong)
        row: VignetteRow = {
            "vignette": judged.name,
            "verdict": judged.verdict,
            "outcome": judged.outcome,
            "why": why,
        }
        trial.vignettes.append(row)
        trial.wrong += bool(judged.wrong)
        if host.why and judged.wrong and judged.line is not None:
            trial.trees.append((judged.name, judged.line))

"""Looks through criteria content for what loads and is wrong: bands never reached, facts nobody sends.

``load_content`` refuses what the format does not allow. This finds the rest, and goes on after a mistake.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

from umbridge.criteria.content import load_content
from umbridge.criteria.content_file import ContentFile, Part
from umbridge.criteria.places import lines_of, nearest
from umbridge.criteria.sensitivity import always, idle_tests, only, unreachable_bands
from umbridge.criteria.strict_file import StrictFile
from umbridge.criteria.subset import Subset
from umbridge.criteria.tree import OPERATORS, Criterion, Node, Score, ScoreTest
from umbridge.criteria.walk import text_of, walk
from umbridge.errors import ContentError
from umbridge.stay.dictionary import DERIVED, dictionary, is_loinc, loinc_digit

ERROR, WARNING = "error", "warning"
_WORST = {"max": "high", "min": "low", "both": "both", "latest": "latest", "worst": "high"}
_KIND = {"age": "number", "sex": "code", "altered_mentation": "boolean"}  # of facts that are made, not sent
_FOUND_AGAIN = re.compile(r"\b(?:(?:19|20)\d\d|\d+ CFR \d+)\b")
_ICD10 = re.compile(r"[A-Z](?:\d(?:[0-9A-Z](?:\.[0-9A-Z]{1,4})?)?)?")
_SAID = re.compile(r"(?P<file>[^:]+): (?:line (?P<line>\d+): )?(?:(?P<key>[\w.\[\]]+): )?(?P<text>.*)", re.S)


@dataclass(frozen=True, slots=True, order=True)
class Finding:
    """One thing to look at. An error must not ship; a warning wants a person's judgement."""

    file: str
    line: int
    key: str
    weight: str
    text: str

    def __str__(self) -> str:
        return f"{self.file}: line {self.line}: {self.key}: {self.weight}: {self.text}"


def lint(folder: Path) -> tuple[Finding, ...]:
    """Everything found in a folder of content, in order of file and line; empty when there is nothing.

    Takes some seconds for a large folder: what can never happen is proved, not sampled.
    """
    found: set[Finding] = set()
    try:
        files = {path.name: path.read_bytes() for path in sorted(folder.glob("*.toml"))}
    except OSError:
        return (Finding(folder.name, 1, "folder", ERROR, "cannot be read"),)
    if not files:
        return (Finding(folder.name, 1, "folder", ERROR, "no .toml file"),)
    read: dict[str, StrictFile] = {}
    parts: dict[str, Part] = {}
    for name, body in files.items():
        try:
            read[name] = StrictFile(name, body)
            if Part.is_one(read[name]):
                part = Part(read[name])
                parts[part.id] = part
        except ContentError as exc:
            found.add(_refused(exc))
    rest = sorted(set(read) - {part.name for part in parts.values()} - {each.file for each in found})
    for name in rest:
        try:
            file = ContentFile(read[name], (), None, parts)
            found.update(_File(file, file.subset(), parts).findings())
        except ContentError as exc:
            found.add(_refused(exc))
    if not any(each.weight == ERROR for each in found):
        try:
            load_content(folder)
        except ContentError as exc:  # what only shows in all files together
            found.add(_refused(exc))
    return tuple(sorted(found))


def _refused(exc: ContentError) -> Finding:
    said = _SAID.fullmatch(str(exc))
    if said is None:
        return Finding("", 1, "content", ERROR, str(exc))
    return Finding(said["file"], int(said["line"] or 1), said["key"] or "file", ERROR, said["text"])


class _File:
    """One file that loads."""

    def __init__(self, file: ContentFile, subset: Subset, parts: Mapping[str, Part]) -> None:
        self.file, self.subset, self.rules = file, subset, subset.rules
        self._lines = {each.name: lines_of(each.text) for each in (file, *parts.values())}

    def at(self, key: str, weight: str, text: str) -> Finding:
        """A finding in the file the key comes from: this one, or a part of it."""
        origin = self.file.origin.get(".".join(re.split(r"[.\[]", key)[:2]))
        name = self.file.name if origin is None else origin.name
        return Finding(name, nearest(self._lines[name], key), key, weight, text)

    def findings(self) -> Iterator[Finding]:
        yield from self.facts()
        yield from self.limits()
        yield from self.header()
        yield from self.citations()
        for score in self.rules.scores.values():
            yield from self.score(score)
        for name, node in self.rules.rules.items():
            yield from self.rule(name, node)
        yield from self.unused()

    def facts(self) -> Iterator[Finding]:
        known = dictionary()
        for fact, spec in self.rules.facts.items():
            key = f"fact.{fact}"
            if spec.minus is not None:
                continue
            if spec.principal:
                yield from self.principal(key, spec.principal)
                continue
            yield from self.loinc(fact)
            if fact in DERIVED:
                if spec.kind != _KIND.get(fact, spec.kind):
                    yield self.at(f"{key}.kind", ERROR, f"the dictionary has {_KIND[fact]}")
                continue
            if fact not in known:
                yield self.at(key, ERROR, "no fact of the dictionary: it will always be unknown")
                continue
            there = known[fact]
            if there.kind != spec.kind:
                yield self.at(f"{key}.kind", ERROR, f"the dictionary has {there.kind}")
            if there.unit != spec.unit:
                yield self.at(f"{key}.unit", ERROR, f"the dictionary has {there.unit or 'no unit'}")
            if strange := sorted(set(spec.codes) - set(there.codes)):
                yield self.at(f"{key}.codes", ERROR, f"no codes of the dictionary: {', '.join(strange)}")
            if spec.codes and (lacking := sorted(set(there.codes) - set(spec.codes))):
                yield self.at(f"{key}.codes", WARNING, f"will be unknown here: {', '.join(lacking)}")
            if _WORST[there.worst] != spec.worst:
                yield self.at(f"{key}.worst", WARNING, f"the dictionary has {_WORST[there.worst]}")

    def limits(self) -> Iterator[Finding]:
        """A limit with no living patient's value on one side of it decides nothing. But that a scale was used
        at all may be asked for by its lowest score."""
        known = dictionary()
        for leaf in self.rules.leaves:
            kind = known.get(leaf.fact)
            if kind is None or kind.possible is None or not isinstance(leaf.value, Decimal):
                continue
            low, high = kind.possible
            words, between = text_of(leaf), f"{low:f} and {high:f} {kind.unit}"
            if not low <= leaf.value <= high:
                text = f"'{words}': the dictionary has values between {between}"
                yield self.at(f"fact.{leaf.fact}", ERROR, text)
            elif leaf.op in ("<", "<=", ">", ">="):
                at_ends = {OPERATORS[leaf.op](end, leaf.value) for end in (low, high)}
                if len(at_ends) == 1 and not (at_ends == {True} and kind.unit == "{score}"):
                    text = f"'{words}' is the same for every value between {between}"
                    yield self.at(f"fact.{leaf.fact}", ERROR, text)

    def loinc(self, fact: str) -> Iterator[Finding]:
        owners = {code: each.id for each in dictionary().values() for code in each.loinc}
        for code in self.file.data["fact"][fact].get("loinc", ()):
            if not is_loinc(code):
                body = code.partition("-")[0]
                right = (
                    f": expected {body}-{loinc_digit(body)}" if body.isascii() and body.isdecimal() else ""
                )
                yield self.at(f"fact.{fact}.loinc", ERROR, f"{code}: its check digit is wrong{right}")
            elif owners.get(code, fact) != fact:
                yield self.at(f"fact.{fact}.loinc", ERROR, f"{code} is {owners[code]} in the dictionary")

    def principal(self, key: str, prefixes: tuple[str, ...]) -> Iterator[Finding]:
        """A diagnosis that the file is not for is never the principal one where the file is asked."""
        for i, prefix in enumerate(prefixes, 1):
            if not _ICD10.fullmatch(prefix):
                yield self.at(f"{key}.principal[{i}]", ERROR, f"{prefix} begins no ICD-10-CM code")
            elif not self.subset.is_fallback and not any(
                prefix.startswith(own) or own.startswith(prefix) for own in self.subset.icd10
            ):
                yield self.at(f"{key}.principal[{i}]", ERROR, f"{prefix} is no diagnosis of this file")

    def header(self) -> Iterator[Finding]:
        for key in ("icd10", "icd10_not"):
            for i, prefix in enumerate(getattr(self.subset, key), 1):
                if not _ICD10.fullmatch(prefix):
                    yield self.at(f"{key}[{i}]", ERROR, f"{prefix} begins no ICD-10-CM code")
        if self.subset.approval.state == "draft" and not self.subset.approval.note:
            yield self.at("approval", WARNING, "a draft, and no word of who is to approve it")

    def citations(self) -> Iterator[Finding]:
        """A published limit must be found again: some source of it names its year."""
        texts = self.subset.citations
        cited = {f"criterion.{c.id}": c.cite for c in self.rules.criteria.values() if c.mark != "mapping"}
        cited |= {f"score.{s.id}": s.cite for s in self.rules.scores.values()}
        for key, cites in cited.items():
            if not any(_FOUND_AGAIN.search(texts[cite]) for cite in cites):
                yield self.at(f"{key}.cite", WARNING, "no source with a year: it cannot be looked up")

    def score(self, score: Score) -> Iterator[Finding]:
        inherited = len(self.rules.scores[score.of].items) if score.of else 0
        for i, item in enumerate(score.items[inherited:], 1):
            for number in unreachable_bands(self.rules, item):
                where = f"score.{score.id}.item[{i}]"
                band = f"{where}.band[{number}]" if len(item.bands) > 1 else where
                yield self.at(band, ERROR, "is never reached")
        low, high = only(self.rules, ScoreTest(score.id, ">=", 0)).examine({}).bounds(score.id)
        floor = low
        for i, (name, top) in enumerate(score.classes, 1):
            if floor > high or (top is not None and top < low):
                yield self.at(
                    f"score.{score.id}.class[{i}]", ERROR, f"{name} is never reached: {low} to {high} points"
                )
            floor = high + 1 if top is None else top + 1

    def rule(self, name: str, node: Node) -> Iterator[Finding]:
        key = f"criterion.{name}" if name in self.rules.criteria else f"rule.{name}"
        settled = always(self.rules, node)
        if settled is not None:
            yield self.at(key, ERROR, f"is always {str(settled).lower()}")
        elif isinstance(node, Criterion):
            for test in idle_tests(self.rules, node):
                yield self.at(key, WARNING, f"'{text_of(test)}' can never turn it")

    def unused(self) -> Iterator[Finding]:
        used = {
            node.id
            for key, rule in self.rules.rules.items()
            if key not in self.rules.criteria
            for node in walk(rule, self.rules.scores)
            if isinstance(node, Criterion)
        }
        used |= {
            node.id
            for score in self.rules.scores.values()
            if score.first_step is not None
            for node in walk(score.first_step, self.rules.scores)
            if isinstance(node, Criterion)
        }
        for name in self.file.own("criterion"):
            if name not in used:
                yield self.at(f"criterion.{name}", WARNING, "no rule uses it")

"""Criteria content: a folder of TOML files, validated into rule sets and named by a digest.

Nothing is guessed. Each error says which file, line and key, and what was expected. The format is described
in ``docs/content.md``.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from pathlib import Path

from umbridge.clinical.usual import asked_beside
from umbridge.criteria.content_file import ContentFile, Derive, Part
from umbridge.criteria.strict_file import StrictFile
from umbridge.criteria.subset import Subset
from umbridge.errors import ContentError
from umbridge.model import Case, Reading

BARRIER = "discharge_barrier"  # the fact behind avoidable-day candidates
READY = "discharge.ready"
UNREAD_ORDER = "unmapped_parenteral_order"  # active, parenteral, and in neither list of the site's profile

__all__ = ["BARRIER", "READY", "UNREAD_ORDER", "Library", "Subset", "digest_of", "load_content"]


@dataclass(frozen=True, slots=True, eq=False)
class Library:
    """All content of one plugin."""

    edition: str
    digest: str
    subsets: Mapping[str, Subset]
    prefixes: Mapping[str, Subset]  # code prefixes without dots
    fallback: Subset | None = None

    def facts(self) -> tuple[str, ...]:
        """Every fact that is read, sorted: what a plugin's manifest declares."""
        found = {"age"} | {fact for subset in self.subsets.values() for fact in subset.rules.needed()}
        if any(subset.avoidable for subset in self.subsets.values()):
            found.add(BARRIER)
        if any(READY in subset.rules.rules for subset in self.subsets.values()):
            found.add(UNREAD_ORDER)
        found |= asked_beside(frozenset(found))
        found |= {each.fact for subset in self.subsets.values() for each in subset.elsewhere if each.fact}
        return tuple(sorted(found))

    def states(self) -> tuple[str, ...]:
        """Of each subset, whether it is a draft, reviewed or approved: what a manifest says."""
        return tuple(subset.approval.state for subset in self.subsets.values())

    def choose(self, case: Case, day: date | None = None) -> Subset | str:
        """The subset for a case, in the edition of ``day`` (else of the question's own), or why there is
        none, in words for the rationale. They do not name the subset it would have been: an answer without
        one carries no tags, so everybody may read them.

        An unknown age does not exclude: the caller must pend for it.
        """
        if not case.diagnoses:
            return "No principal diagnosis is known yet, so no subset can be chosen."
        subset = self.match(case.diagnoses, case.facts)
        if subset is None and self.match(case.diagnoses[:1]) is not None:
            return "No subset for the principal diagnosis together with a secondary one: a person judges."
        if subset is None:
            return "No subset for the principal diagnosis."
        if not subset.in_force(day or case.as_of.date()):
            return "No edition for the principal diagnosis is in force on the date of service."
        age = case.facts.get("age")
        if age is not None and isinstance(age.latest.value, Decimal) and age.latest.value < subset.age_from:
            return f"For patients of {subset.age_from} years or more."
        return subset

    def match(self, diagnoses: Sequence[str], facts: Mapping[str, Reading] | None = None) -> Subset | None:
        """The subset whose longest code prefix fits the principal diagnosis, else the fallback.

        A secondary diagnosis can make it another's (``elsewhere``). None without a diagnosis, and where the
        fallback leaves out what was diagnosed.
        """
        if not diagnoses:
            return None
        code = diagnoses[0].replace(".", "").upper()[:8]  # ICD-10-CM codes have at most seven characters
        for size in range(len(code), 0, -1):
            found = self.prefixes.get(code[:size])
            if found is None or (found.icd10_7th and code[6:7] and code[6] not in found.icd10_7th):
                continue  # a later encounter for an injury is not the injury; a code cut short may be
            return self._or_elsewhere(found, diagnoses, facts or {})
        last = self.fallback
        if last is None or not code or code.startswith(tuple(p.replace(".", "") for p in last.icd10_not)):
            return None
        return self._or_elsewhere(last, diagnoses, facts or {})

    def _or_elsewhere(
        self, found: Subset, diagnoses: Sequence[str], facts: Mapping[str, Reading]
    ) -> Subset | None:
        if found.elsewhere:
            codes = [each.replace(".", "").upper() for each in diagnoses]
            for other in found.elsewhere:
                if other.applies(codes, facts):
                    return self.subsets.get(other.to)
        return found


def digest_of(files: Mapping[str, bytes]) -> str:
    """``sha256:`` over the files in name order, each as name, length and bytes, line ends as LF."""
    whole = hashlib.sha256()
    for name in sorted(files):
        body = files[name].replace(b"\r\n", b"\n")
        whole.update(f"{name}\n{len(body)}\n".encode() + body)
    return "sha256:" + whole.hexdigest()


def load_content(
    folder: Path,
    *,
    required: Sequence[str] = (),
    derive: Derive | None = None,
) -> Library:
    """Load every ``*.toml`` file of a folder.

    ``required`` names rules ("section.name") that each file must have. ``derive`` may add rules built from
    the loaded ones, so that a plugin can ask the engine for an exact answer about a combination.

    Raises:
        ContentError: a file is missing, is not TOML, or says something the format does not allow.
    """
    try:
        files = {path.name: path.read_bytes() for path in sorted(folder.glob("*.toml"))}
    except OSError as exc:
        raise ContentError(f"{folder.name}: cannot be read") from exc
    if not files:
        raise ContentError(f"{folder.name}: expected at least one .toml file")
    # once each: the start of a plugin waits for it
    read = {name: StrictFile(name, body) for name, body in files.items()}
    parts: dict[str, Part] = {}
    for each in read.values():
        if Part.is_one(each):
            part = Part(each)
            if part.id in parts:
                raise part.fail("part", "a name that no other part has")
            parts[part.id] = part
    subsets: dict[str, Subset] = {}
    for name in sorted(set(files) - {part.name for part in parts.values()}):
        file = ContentFile(read[name], required, derive, parts)
        subset = file.subset()
        if subset.id in subsets:
            raise file.fail("id", "an id that no other file has")
        subsets[subset.id] = subset
    if not subsets:
        raise ContentError(f"{folder.name}: expected at least one file with an id")
    for part in parts.values():
        if part.unused:
            raise part.fail(min(part.unused), "to be used by some file")
    editions = sorted({subset.edition for subset in subsets.values()})
    if len(editions) != 1:
        raise ContentError(
            f"{folder.name}: edition: expected the same in every file, found {', '.join(editions)}"
        )
    fallbacks = [subset for subset in subsets.values() if subset.is_fallback]
    if len(fallbacks) > 1:
        raise ContentError(f"{folder.name}: fallback: expected in one file only")
    prefixes: dict[str, Subset] = {}
    for subset in subsets.values():
        for prefix in subset.icd10:
            if prefixes.setdefault(prefix.replace(".", "").upper(), subset) is not subset:
                raise ContentError(f"{folder.name}: icd10: expected {prefix} in one file only")
    for subset in subsets.values():
        for other in subset.elsewhere:
            if other.to and other.to not in subsets:
                raise ContentError(f"{folder.name}: elsewhere: expected the id of a file, found {other.to}")
    return Library(editions[0], digest_of(files), subsets, prefixes, fallbacks[0] if fallbacks else None)

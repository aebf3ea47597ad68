"""One subset of criteria: which patients it is for, its rules, and who answers for them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date

from umbridge.criteria.examination import Examination
from umbridge.criteria.made_facts import of_diagnosis
from umbridge.criteria.ruleset import RuleSet
from umbridge.model import Case, Reading
from umbridge.values.signed import DRAFT, ContentStatus


@dataclass(frozen=True, slots=True)
class Approval:
    """Who answers for the content, as its file says; whether a site may run it is the site's own decision."""

    state: str  # draft reviewed approved
    by: tuple[str, ...] = ()
    on: date | None = None
    note: str = ""


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """Principal diagnoses that are another file's where a secondary one says more: codes without dots."""

    icd10: tuple[str, ...]
    beside: tuple[str, ...]
    fact: str = ""  # a boolean that must be Y too
    to: str = ""  # the other file; "" where the folder has none for it

    def applies(self, codes: Sequence[str], facts: Mapping[str, Reading]) -> bool:
        """Of codes without dots, principal first."""
        if not codes[0].startswith(self.icd10) or not any(c.startswith(self.beside) for c in codes[1:]):
            return False
        reading = facts.get(self.fact)
        return not self.fact or (reading is not None and reading.latest.value is True)


@dataclass(frozen=True, slots=True, eq=False)
class Subset:
    """One condition's content. ``rules.rules`` holds its rules by "section.name"."""

    id: str
    title: str
    edition: str
    effective_from: date
    effective_to: date | None
    icd10: tuple[str, ...]  # code prefixes, dots as in the file
    age_from: int
    citations: Mapping[str, str]
    rules: RuleSet
    avoidable: Mapping[str, tuple[str, str]]  # barrier code -> (avoidable-day code, attribution)
    is_fallback: bool = False  # for diagnoses that no other file covers, except those of ``icd10_not``
    icd10_not: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    approval: Approval = Approval(DRAFT)
    icd10_7th: tuple[str, ...] = ()  # of codes with a seventh character, those that it may be
    elsewhere: tuple[Elsewhere, ...] = ()
    shown_by: str = ""  # "imaging" or "bedside": what shows the illness, where no measurement does
    shown: tuple[str, ...] = ()  # criteria that it shows; none named: all of the file

    @property
    def content_status(self) -> ContentStatus:
        """Who answers for this file, as each of its results says."""
        on = self.approval.on
        return ContentStatus(self.approval.state, self.approval.by, on.isoformat() if on else "")

    def examine(self, case: Case, keys: tuple[str, ...] = ()) -> Examination:
        """Put the rules to a case: its facts, and what they ask of its principal diagnosis."""
        facts = case.facts
        if self.rules.of_diagnosis:
            facts = {**facts, **of_diagnosis(self.rules.of_diagnosis, case.diagnoses, case.as_of)}
        return self.rules.examine(facts, case.as_of, keys)

    def in_force(self, day: date) -> bool:
        """Whether this edition may judge care on this local date."""
        return self.effective_from <= day and (self.effective_to is None or day <= self.effective_to)

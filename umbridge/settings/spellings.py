"""How senders write coding systems, units and answers, as the optional parts of a site profile say."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from umbridge.settings.facilities import Reads, Table

PARTS = ("code_systems", "units_of_measure", "answers")
#: Coding systems by the names and identifiers that senders give them (HL7 table 0396, and their OIDs).
#: ``[code_systems]`` of the profile adds to them.
CODE_SYSTEMS: Mapping[str, tuple[str, ...]] = {
    "LN": ("LN", "LOINC", "2.16.840.1.113883.6.1"),
    "SCT": ("SCT", "SNOMED", "SNOMED-CT", "SNOMEDCT", "SCTUS", "2.16.840.1.113883.6.96"),
    "I10": ("I10", "I10C", "ICD10", "ICD-10", "ICD10CM", "ICD-10-CM", "2.16.840.1.113883.6.90"),
    "I9": ("I9", "I9C", "I9CDX", "9CM", "ICD9", "ICD-9", "ICD9CM", "ICD-9-CM", "2.16.840.1.113883.6.103"),
}
_ANSWERS = ("yes", "no", "codes")
_Nested = Mapping[str, Mapping[str, str]]


@dataclass(frozen=True, slots=True)
class Spellings:
    """What is written elsewhere than here, and what it is here."""

    systems: Mapping[str, str]  # what a sender calls a coding system, in capitals -> its name here
    units: _Nested  # by fact, "" for all: spelling -> UCUM unit
    unsent_units: _Nested  # by coding system: code -> UCUM unit of its values where none is sent
    words: Mapping[str, bool]  # without case: what means yes and what means no
    codes: _Nested  # by fact: "CODE" or "CODE^SYSTEM" of an answer -> the fact's code

    def system(self, name: str) -> str:
        """What a coding system is called here: "LN" for "LOINC". A name that nobody lists is its own."""
        return self.systems.get(name.upper(), name)

    @property
    def has_units(self) -> bool:
        """Whether the profile says of any unit what it means."""
        return len(self.units) > 1 or bool(self.units[""])


def read(reads: Reads, tree: Table) -> Spellings:
    """Those of a profile. Raises ConfigError through ``reads``."""
    units, unsent = _units(reads, tree.get("units_of_measure", {}))
    words, codes = _answers(reads, tree.get("answers", {}))
    return Spellings(_systems(reads, tree.get("code_systems", {})), units, unsent, words, codes)


def _texts(reads: Reads, tree: object, key: str) -> Mapping[str, str]:
    table = reads.table(tree, key)
    return MappingProxyType({name: reads.text(value, f"{key}.{name}") for name, value in table.items()})


def _nested(reads: Reads, tree: object, key: str) -> _Nested:
    """Texts in tables in a table."""
    table = reads.table(tree, key)
    return MappingProxyType({name: _texts(reads, value, f"{key}.{name}") for name, value in table.items()})


def _systems(reads: Reads, tree: object) -> Mapping[str, str]:
    """The names of each system; one name cannot be two systems'."""
    known = {name.upper(): system for system, names in CODE_SYSTEMS.items() for name in names}
    own: dict[str, str] = {}
    for system, value in reads.table(tree, "code_systems").items():
        for name in (system, *reads.texts(value, f"code_systems.{system}")):
            if own.setdefault(name.upper(), system) != system:
                reads.fail(f"code_systems.{system}", f"{name} in one system only")
    return MappingProxyType({**known, **own})


def _units(reads: Reads, tree: object) -> tuple[_Nested, _Nested]:
    key = "units_of_measure"
    table = reads.table(tree, key)
    for_all = {name: unit for name, unit in table.items() if name not in ("fact", "unsent")}
    by_fact = _nested(reads, table.get("fact", {}), f"{key}.fact")
    units = MappingProxyType({"": _texts(reads, for_all, key), **by_fact})
    return units, _nested(reads, table.get("unsent", {}), f"{key}.unsent")


def _answers(reads: Reads, tree: object) -> tuple[Mapping[str, bool], _Nested]:
    whole = {"yes": [], "no": [], "codes": {}, **reads.table(tree, "answers")}
    table = reads.table(whole, "answers", _ANSWERS)
    words: dict[str, bool] = {}
    for key, means in (("yes", True), ("no", False)):
        for word in reads.texts(table[key], f"answers.{key}") if table[key] != [] else ():
            if words.setdefault(word.casefold(), means) is not means:
                reads.fail(f"answers.{key}", f"{word} as yes or as no, not as both")
    return MappingProxyType(words), _nested(reads, table["codes"], "answers.codes")

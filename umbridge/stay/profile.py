"""The site profile held against the dictionary: every fact, code and unit it names must exist."""

from __future__ import annotations

from collections.abc import Mapping

from umbridge.errors import ConfigError
from umbridge.settings.site import SiteProfile
from umbridge.stay.dictionary import LOINC, FactType, by_loinc, dictionary


def check_site(site: SiteProfile) -> None:
    """Every fact the profile names must exist and be of the right sort. Raises ConfigError."""
    facts = dictionary()
    for system, codes in site.observations.items():
        for code, fact in codes.items():
            if fact not in facts:
                raise ConfigError(
                    f"{site.source}: observations.{system}.{code}: expected a fact of the dictionary"
                )
    for code, fact in site.intensity_orders.items():
        if fact not in facts or not facts[fact].closed_world:
            raise ConfigError(f"{site.source}: orders.intensity.{code}: expected a treatment fact")
    _check_answers(site, facts)
    _check_units(site, facts)
    for barrier in site.avoidable_days:
        if barrier not in facts["discharge_barrier"].codes:
            raise ConfigError(f"{site.source}: avoidable_days.{barrier}: expected a discharge_barrier code")


def _check_answers(site: SiteProfile, facts: Mapping[str, FactType]) -> None:
    for fact, meanings in site.spellings.codes.items():
        if fact not in facts or not facts[fact].codes:
            raise ConfigError(f"{site.source}: answers.codes.{fact}: expected a fact that has codes")
        for sent, meant in meanings.items():
            if meant not in facts[fact].codes:
                known = ", ".join(facts[fact].codes)
                raise ConfigError(f"{site.source}: answers.codes.{fact}.{sent}: expected one of {known}")


def _check_units(site: SiteProfile, facts: Mapping[str, FactType]) -> None:
    every = {unit for kind in facts.values() for unit in kind.accepts}
    for fact, spellings in site.spellings.units.items():
        key = f"units_of_measure.fact.{fact}" if fact else "units_of_measure"
        if fact and fact not in facts:
            raise ConfigError(f"{site.source}: {key}: expected a fact of the dictionary")
        known = facts[fact].accepts.keys() if fact else every
        for spelling, unit in spellings.items():
            if unit not in known:
                raise ConfigError(f"{site.source}: {key}.{spelling}: expected a UCUM unit of the dictionary")
    for system, units in site.spellings.unsent_units.items():
        for code, unit in units.items():
            found = by_loinc().get(code) if system == LOINC else None
            kind = found or facts.get(site.observations.get(system, {}).get(code, ""))
            if kind is None or unit not in kind.accepts:
                raise ConfigError(
                    f"{site.source}: units_of_measure.unsent.{system}.{code}: expected a code of a fact "
                    "and a UCUM unit that the fact accepts"
                )

"""Which UCUM unit a sender's spelling means: the shipped table, and the site's own before it."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from umbridge.errors import ContentError
from umbridge.settings.site import SiteProfile

ANY = ""  # in place of a fact: for all of them
_SIGNS = str.maketrans({"\N{MICRO SIGN}": "u", "\N{GREEK SMALL LETTER MU}": "u", "º": "°", "˚": "°"})
_AS_IT_STANDS = "Cel"
_NO_PREFIX = ("min", "minute", "minutes", "mins")  # words that begin with an m which is no prefix
_MOST_KNOWN = 4096  # spellings remembered for one profile; a hostile feed must not fill the memory
_MOST_SITES = 16


@dataclass(frozen=True, slots=True)
class Alias:
    """One spelling. ``fact`` is ANY or the only fact it holds for."""

    spelling: str
    unit: str
    fact: str
    is_exact: bool


def plain(spelling: str) -> str:
    """Without spaces, and with one micro and one degree sign."""
    return "".join(spelling.translate(_SIGNS).split())


def is_same(sent: str, listed: str) -> bool:
    """Whether two plain spellings are the same but for the case of letters in which case says nothing."""
    if sent == listed:
        return True
    if sent.lower() != listed.lower() or _AS_IT_STANDS in listed:
        return False
    if sent == sent.upper():  # as the case-insensitive codes of UCUM are written
        return True
    start = 0
    for atom in listed.replace(".", "/").split("/"):
        if atom[:1] in ("m", "M") and atom.lower() not in _NO_PREFIX and sent[start] != atom[0]:
            return False
        start += len(atom) + 1
    return True


def parse_aliases(text: str) -> tuple[Alias, ...]:
    """The shipped table. Raises ContentError naming the entry."""
    found: list[Alias] = []
    try:
        entries: Any = tomllib.loads(text)["alias"]
    except (tomllib.TOMLDecodeError, KeyError) as exc:
        raise ContentError(f"units.toml: expected a list of [[alias]]: {exc}") from None
    for number, entry in enumerate(entries, 1):
        where = f"units.toml: alias {number}"
        if not isinstance(entry, dict) or not entry.keys() <= {"unit", "names", "exact", "facts", "why"}:
            raise ContentError(f"{where}: expected unit, names, exact, facts and why")
        for key in ("unit", "why"):
            if not isinstance(entry.get(key), str) or not entry[key]:
                raise ContentError(f"{where}: {key}: expected a text")
        for key, is_exact in (("names", False), ("exact", True)):
            for name in entry.get(key, ()):
                for fact in entry.get("facts", (ANY,)):
                    found.append(Alias(plain(name), entry["unit"], fact, is_exact))
    return tuple(found)


@cache
def shipped() -> tuple[Alias, ...]:
    """The aliases that come with the program."""
    return parse_aliases(files("umbridge.stay").joinpath("units.toml").read_text("utf-8"))


class Units:
    """The spellings of one site. ``known`` are the UCUM units themselves, which need no alias."""

    def __init__(self, known: Iterable[str], aliases: Iterable[Alias], site: SiteProfile) -> None:
        #: The site's first; of each, the fact's own spellings before those of all facts.
        self._own: dict[tuple[str, str], str] = {
            (plain(spelling), fact): unit
            for fact, spellings in site.spellings.units.items()
            for spelling, unit in spellings.items()
        }
        self._shipped: dict[str, list[Alias]] = {}
        listed = [*aliases, *(Alias(plain(unit), unit, ANY, is_exact=len(unit) < 2) for unit in known)]
        for alias in sorted(listed, key=lambda each: each.fact == ANY):
            self._shipped.setdefault(alias.spelling.lower(), []).append(alias)
        self._found: dict[tuple[str, str], str] = {}

    def find(self, spelling: str, fact: str) -> str:
        """The UCUM unit that a spelling means for a fact; "" where nobody says."""
        key = (spelling, fact)
        found = self._found.get(key)
        if found is None:
            found = self._find(plain(spelling), fact)
            if len(self._found) >= _MOST_KNOWN:
                self._found.clear()
            self._found[key] = found
        return found

    def _find(self, sent: str, fact: str) -> str:
        own = self._own.get((sent, fact)) or self._own.get((sent, ANY))
        if own is not None:
            return own
        listed = [each for each in self._shipped.get(sent.lower(), ()) if each.fact in (fact, ANY)]
        exact = [each for each in listed if each.spelling == sent]
        nearly = [each for each in listed if not each.is_exact and is_same(sent, each.spelling)]
        return next((alias.unit for alias in (*exact, *nearly)), "")


_units: dict[str, Units] = {}


def units_of(site: SiteProfile, known: Iterable[str]) -> Units:
    """The spellings of a site, worked out once for each profile."""
    found = _units.get(site.digest)
    if found is None:
        if len(_units) >= _MOST_SITES:
            _units.clear()
        found = _units[site.digest] = Units(known, shipped(), site)
    return found

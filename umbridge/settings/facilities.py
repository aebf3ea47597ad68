"""The hospital's facilities: the clock and the numbers of each, as [site] and [facilities.*] say.

A profile without ``[facilities.*]`` has one facility, which every message is of, whatever its MSH-4.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, NoReturn, Protocol
from zoneinfo import ZoneInfo

from umbridge.settings.authorities import Authority

#: PID-3.5 (HL7 table 0203) of what sites use as the patient's own number: medical record number, its
#: unofficial spelling, internal and external patient number, or no type. EPI, SS, NI, AN and others are
#: number spaces of their own, whoever assigns them.
USUAL_MRN_TYPES = ("MR", "MRN", "PI", "PT", "")
AUTHORITIES = ("mrn_authority", "visit_authority", "account_authority")
ALIASES = tuple(f"{name}_aliases" for name in AUTHORITIES)
OPTIONAL = ("mrn_types", *ALIASES)
_FACILITY = ("msh4", "timezone", *AUTHORITIES, *OPTIONAL)


@dataclass(frozen=True, slots=True)
class Facility:
    """What a message's numbers and times mean, by where it was sent from."""

    codes: tuple[str, ...]  # MSH-4
    zone: ZoneInfo
    mrn_types: tuple[str, ...]  # PID-3.5 in upper case, the preferred first
    mrns: Authority
    visits: Authority
    accounts: Authority


Table = dict[str, Any]  # of a TOML file, before it is read into a type


#: Goes up when this program calls a number otherwise than the one before it did.
RULE = 3


def naming_of(places: Iterable[tuple[str, tuple[str, ...], Sequence[Authority]]]) -> str:
    """What the names of numbers depend on, as a digest: the rules here, and the profile's part in them.

    Of each facility its code, types and authorities.
    """
    said = [
        [code, list(types), [[each.own, each.first, dict(each.aliases)] for each in authorities]]
        for code, types, authorities in sorted(places, key=lambda place: place[0])
    ]
    text = json.dumps([RULE, said], sort_keys=True, ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()


class Reads(Protocol):
    """What reads a profile's values, naming the key in every complaint."""

    def fail(self, key: str, expected: str) -> NoReturn: ...

    def table(self, tree: object, key: str, keys: tuple[str, ...] | None = None) -> Table: ...

    def text(self, value: object, key: str) -> str: ...

    def texts(self, value: object, key: str) -> tuple[str, ...]: ...


def read(reads: Reads, site: Table, others: object) -> tuple[Facility, tuple[Facility, ...]]:
    """The site's own facility, and those of ``[facilities.*]``. Raises ConfigError through ``reads``."""
    own = {name: reads.text(site[name], f"site.{name}") for name in AUTHORITIES}
    tables = {"site": {**site, "msh4": site["facilities"]}}
    for name, value in reads.table(others, "facilities").items():
        key = f"facilities.{name}"
        table = reads.table(value, key)
        for each in table:
            if each not in _FACILITY:
                reads.fail(f"{key}.{each}", f"one of the known keys: {', '.join(_FACILITY)}")
        if "msh4" not in table:
            reads.fail(f"{key}.msh4", "this key, it is missing")
        tables[key] = {**own, "timezone": site["timezone"], **table}
    aliases = {name: _aliases(reads, tables, name) for name in AUTHORITIES}
    found: list[Facility] = []
    for key, table in tables.items():
        codes = reads.texts(table["msh4"], f"{key}.{'facilities' if key == 'site' else 'msh4'}")
        for code in codes:
            if any(code in each.codes for each in found):
                reads.fail(f"{key}.msh4", f"each value of MSH-4 at one facility; {code} is at two")
        mrns, visits, accounts = (
            Authority(reads.text(table[name], f"{key}.{name}"), own[name], aliases[name])
            for name in AUTHORITIES
        )
        said = site["mrn_types"] if table.get("mrn_types") is None else table["mrn_types"]
        types = USUAL_MRN_TYPES if said is None else _types(reads, said, f"{key}.mrn_types")
        zone = _zone(reads, table["timezone"], f"{key}.timezone")
        found.append(Facility(codes, zone, types, mrns, visits, accounts))
    return found[0], tuple(found[1:])


def _zone(reads: Reads, value: object, key: str) -> ZoneInfo:
    try:
        return ZoneInfo(reads.text(value, key))
    except (KeyError, ValueError, OSError):
        reads.fail(key, "an IANA time zone such as America/New_York")


def _types(reads: Reads, value: object, key: str) -> tuple[str, ...]:
    if not isinstance(value, list) or not value or not all(isinstance(each, str) for each in value):
        reads.fail(key, 'a list of values of PID-3.5, at least one; "" stands for none sent')
    return tuple(dict.fromkeys(each.strip().upper() for each in value))


def _aliases(reads: Reads, tables: Mapping[str, Table], name: str) -> Mapping[str, str]:
    """Other spelling -> authority, over all facilities: one that meant two would mix their numbers."""
    owns = {table[name] for table in tables.values()}
    found: dict[str, str] = {}
    for key, table in tables.items():
        where = f"{key}.{name}_aliases"
        said = table.get(f"{name}_aliases")
        for alias in () if said is None else reads.texts(said, where):
            if alias in owns or found.get(alias, table[name]) != table[name]:
                reads.fail(where, f"other spellings of this authority alone; {alias} stands for another")
            found[alias] = table[name]
    return MappingProxyType(found)

"""Who gives a kind of number: the authority meant where none is sent, and its other spellings.

HL7 leaves both to agreement (v2.5.1, 2.A.14.4 and 2.A.14.10): the site profile says what was agreed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

MARK = "^"


class Number(NamedTuple):
    """A number and the authority that gave it."""

    number: str
    authority: str


@dataclass(frozen=True, slots=True)
class Authority:
    """One kind of number: medical record, visit or account."""

    own: str  # the authority of a number that is sent without one
    first: str  # a number of this authority is written alone; any other is written with its authority
    aliases: Mapping[str, str]  # another spelling, or a universal id -> the authority that is meant

    def of(self, sent: str) -> str:
        """The authority that is meant by what CX.4 says."""
        return self.aliases.get(sent, sent) if sent else self.own

    def name(self, number: str, sent: str) -> str:
        """The number as stays, lists and searches have it: ``NUMBER`` or ``NUMBER^AUTHORITY``."""
        authority = self.of(sent)
        if not number or (authority == self.first and MARK not in number):
            return number
        return f"{number}{MARK}{authority}"

    def named(self, name: str) -> Number:
        """What ``name`` stands for, the other way round."""
        number, mark, authority = name.rpartition(MARK)
        return Number(number, self.of(authority)) if mark and authority else Number(name, self.first)

    def spellings(self, name: str) -> tuple[Number, ...]:
        """What ``name`` stands for as senders may have spelt its authority."""
        meant = self.named(name)
        others = (Number(meant.number, alias) for alias, of in self.aliases.items() if of == meant.authority)
        return (meant, *others)


def authority_in(name: str) -> str:
    """The authority of a named number, "" for the site's first."""
    return name.rpartition(MARK)[2] if MARK in name else ""

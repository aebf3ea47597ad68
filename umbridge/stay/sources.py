"""What can say a fact: results alone, diagnoses too, orders too, or anything else as well.

Most of what a look asks for nobody ever spoke of: it need not be looked for.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import NamedTuple

from umbridge.charting import ASSUMPTIONS
from umbridge.stay.facts import FactType, dictionary
from umbridge.stay.treatments import PROCEDURE


class Sources(NamedTuple):
    """Facts by what can say them: results alone, diagnoses too, orders too, or anything else as well."""

    sent: frozenset[str]
    coded: frozenset[str]
    ordered: frozenset[str]
    others: frozenset[str]


@lru_cache(maxsize=64)
def sources_of(wanted: frozenset[str], closed: frozenset[str], special: frozenset[str]) -> Sources:
    """``closed``: parts of the chart whose silence says something. ``special``: facts with another rule."""
    kinds = [each for fact, each in dictionary().items() if fact in wanted]
    # of an operation, its entry among the procedures (PR1) says something too
    ordered = frozenset(each.id for each in kinds if each.closed_world and each.id != PROCEDURE)
    plain = [
        each for each in kinds if not (each.id in special or each.closed_world or each.closed_by in closed)
    ]
    coded = frozenset(each.id for each in plain if each.icd10 or each.icd10_no)
    sent = frozenset(each.id for each in plain) - coded
    return Sources(sent, coded, ordered, wanted - sent - coded - ordered)


@lru_cache(maxsize=4096)
def coded_by(code: str) -> tuple[str, ...]:
    """The facts that a diagnosis, without its dot, says something about."""
    kinds = dictionary().values()
    return tuple(each.id for each in kinds if code.startswith((*each.icd10, *each.icd10_no)))


@lru_cache(maxsize=1)
def plain(special: frozenset[str]) -> Mapping[str, FactType]:
    """Facts that are what was sent and nothing else, whatever the profile assumes."""
    kinds = dictionary()
    return {fact: kinds[fact] for fact in sources_of(frozenset(kinds), frozenset(ASSUMPTIONS), special).sent}

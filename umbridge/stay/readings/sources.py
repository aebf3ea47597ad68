"""What can say a fact: results alone, diagnoses too, orders too, or anything else as well.

Most of what a look asks for nobody ever spoke of: it need not be looked for.
"""

from __future__ import annotations

from collections.abc import Mapping, Set
from functools import lru_cache
from typing import NamedTuple

from umbridge.clinical.measured import CONTRADICTED
from umbridge.settings.charting import ASSUMPTIONS
from umbridge.stay.dictionary import FactType, dictionary
from umbridge.stay.readings.treatments import PROCEDURE

#: Facts with a rule of their own that come to nothing unless something was sent of one of these, whatever
#: else was said: no order, no diagnosis and no silence says them.
MADE_OF_RESULTS: Mapping[str, tuple[str, ...]] = {
    **{f"{fact}_contradicted": (fact,) for fact in CONTRADICTED},
    "altered_mentation": ("consciousness", "gcs"),
    "corrected_sodium": ("glucose",),
    "creatinine_rise_48h": ("creatinine",),
    "effective_osmolality": ("glucose",),
    "gas_not_needed": ("spo2", "spo2_room_air"),
    "hemoglobin_fall_24h": ("hemoglobin",),
    "lactate_not_needed": ("sbp",),
    "map_not_needed": ("dbp",),
    "pao2_fio2": ("pao2_fio2", "pao2"),
    "potassium": ("potassium",),
    "rise_in_creatinine": ("creatinine",),
    "serial_troponin": ("troponin_ratio",),
    "spo2_room_air": ("spo2_room_air", "spo2"),
    "troponin_change": ("troponin_ratio",),
    "troponin_ratio": ("troponin_ratio",),
}


class Sources(NamedTuple):
    """Facts by what can say them: results alone, diagnoses too, orders too, or anything else as well.

    ``made``: those of the others that are made of results alone, each with the facts of which it needs one.
    """

    sent: frozenset[str]
    coded: frozenset[str]
    ordered: frozenset[str]
    others: frozenset[str]
    made: Mapping[str, tuple[str, ...]]

    def made_by(self, sent: Set[str]) -> set[str]:
        """Those of the last that may come to something by what was sent."""
        return {fact for fact, of in self.made.items() if not sent.isdisjoint(of)}


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
    others = wanted - sent - coded - ordered
    made = {fact: of for fact, of in MADE_OF_RESULTS.items() if fact in others}
    return Sources(sent, coded, ordered, others - made.keys(), made)


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

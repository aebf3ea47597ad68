"""Which fact a code that nobody has mapped may stand for: a proposal for a person, never a reading."""

from __future__ import annotations

import re

from umbridge.model import Coded
from umbridge.stay.dictionary import by_loinc, dictionary

_WORD = re.compile(r"[a-z0-9]+")
#: Words of a result that is not of the blood or the bedside: urine sodium is no sodium.
_ELSEWHERE = frozenset(
    (
        *("urine", "ur", "csf", "fluid", "stool", "feces", "cord", "saliva", "sputum", "dialysate"),
        *("per", "percent", "pct", "mean"),  # of a count the share, of cells their size
        *("goal", "target", "history", "family", "ratio", "clearance", "stain", "culture"),
    )
)


def likely_fact(code: Coded) -> str:
    """By its code where that is LOINC's for a fact, under whatever system; else by the words of its text.

    "" where no fact, or more than one, has all its words there.
    """
    known = by_loinc().get(code.code)
    if known is not None:
        return known.id
    words = set(_WORD.findall(code.text.lower()))
    if not words or words & _ELSEWHERE:
        return ""
    found = [(len(parts), fact) for fact in dictionary() if words >= (parts := set(fact.split("_")))]
    most = max((count for count, _ in found), default=0)
    best = [fact for count, fact in found if count == most]
    return best[0] if len(best) == 1 else ""

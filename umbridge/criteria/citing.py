"""Readings as answers cite them: in words for people, and on the wire by their place in the case.

A worker answers with the place where the case already holds what it cites, so that neither end spells, sends
and checks the same value, time and source again. What is cited is then what the daemon itself sent.
"""

from __future__ import annotations

from collections.abc import Sequence

from umbridge.criteria.walk import shown
from umbridge.model import Evidence, Reading, Sample

MOST_CITED = 10_000  # about 400 bytes each
_cited: dict[tuple[str, int], tuple[Sample, Evidence]] = {}


def spelt(key: tuple[str, int]) -> Evidence | None:
    """What ``cited`` gave of this fact and the sample of this id, as long as that is remembered."""
    known = _cited.get(key)  # what is remembered holds the sample, so no other one has its id
    return None if known is None else known[1]


def cited(fact: str, sample: Sample) -> Evidence:
    """A sample as answers cite it; the same one of the same sample, which is spelt once."""
    known = _cited.get((fact, id(sample)))
    if known is not None:
        return known[1]
    if len(_cited) >= MOST_CITED:  # start again rather than grow
        _cited.clear()
    found = Evidence(fact, shown(sample.value), sample.unit, sample.at.isoformat(), sample.source)
    _cited[fact, id(sample)] = sample, found
    return found


def places(reading: Reading) -> Sequence[Sample]:
    """The samples of a reading by their places: latest, lowest, highest, then the newest, oldest first."""
    return (reading.latest, reading.low, reading.high, *reading.series)


def place_of(evidence: Evidence, reading: Reading) -> int | None:
    """The first place of the reading at which it says what is cited; None where it nowhere does."""
    if evidence.fact != reading.fact:
        return None
    for place, sample in enumerate(places(reading)):
        if sample.source == evidence.source and cited(evidence.fact, sample) == evidence:
            return place
    return None

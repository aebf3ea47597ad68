"""When hospital care began, where no result says so: the first test, treatment or order that was seen.

The midnights of 42 CFR 412.3(d)(1) count from the start of care and not from registration: triage, with the
vital signs taken in it, and waiting are no hospital care (CMS-1599-F, 78 FR 50496).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from functools import lru_cache

from umbridge.stay.dictionary import dictionary
from umbridge.stay.orders.treatment_spans import InForce
from umbridge.stay.results.statements import Result

FIRST = ", first test or order"  # how the source of such a start ends
_DONE = ("laboratory", "ecg")  # whose results show that somebody looked into the illness
_GIVEN = "treatment"

#: The results of one fact from one instant to another; where nothing counts there is no value.
Within = Callable[[str, int, int], Sequence[Result]]


@lru_cache(maxsize=1)
def care_facts() -> Mapping[str, bool]:
    """The facts whose results show care; whether only an answer of Y does."""
    return {
        kind.id: kind.group == _GIVEN
        for kind in dictionary().values()
        if kind.group in (*_DONE, _GIVEN) and not kind.may_predate
    }


@lru_cache(maxsize=1)
def _places() -> Mapping[str, int]:
    """Where each stands in the dictionary: of one instant the first is named."""
    return {fact: place for place, fact in enumerate(care_facts())}


def first_care(
    since: int,
    until: int,
    *,
    facts: Set[str],
    ordered: Set[str],
    within: Within,
    orders: Callable[[str], InForce | None],
    statuses: Iterable[tuple[int, str]],
    is_own: Callable[[str], bool],
) -> tuple[int, str] | None:
    """The earliest instant of care from ``since`` to ``until`` and the source that shows it.

    ``facts``: those that have results. ``ordered``: those of which orders were told. ``statuses``: the
    status orders, each with its source: who orders a status has seen the patient. None where only vital signs
    were taken, or nothing was done at all.
    """
    found = min((each for each in statuses if since <= each[0] <= until), default=None)
    care = care_facts()
    for fact in sorted(care.keys() & (facts | ordered), key=_places().__getitem__):
        is_answer = care[fact]
        last = until if found is None else found[0] - 1
        if fact in facts:
            for each in within(fact, since, last):
                if each.at > last:
                    break
                counts = each.value is True if is_answer else each.value is not None
                if counts and is_own(each.patient):
                    found = (each.at, each.source)
                    last = each.at - 1
                    break
        turns = orders(fact) if is_answer else None
        if turns is not None:
            for turn in turns:
                if turn.at > last:
                    break
                if turn.is_on and turn.at >= since and is_own(turn.patient):
                    found = (turn.at, turn.source)
                    break
    return None if found is None else (found[0], found[1] + FIRST)

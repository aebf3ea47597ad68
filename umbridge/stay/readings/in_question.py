"""What counts in one look and may have been taken back: what was sent of it names no result and no order.

A value or a treatment goes on counting where its correction or its end came under another name
(docs/meaning.md). An answer that goes by it waits for a person.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Set

from umbridge.stay.clock import instant
from umbridge.stay.dictionary import dictionary
from umbridge.stay.orders.register import UNREAD_ORDER
from umbridge.stay.orders.strange import UNKNOWN
from umbridge.stay.readings.not_used import MADE_OF, MOST_SHOWN, NotUsed, Why, Within
from umbridge.stay.results.statements import Result
from umbridge.stay.results.unfound import UNFOUND

#: Facts that orders of others say something about.
_OXYGEN = ("o2_therapy", "niv", "high_flow_o2", "mechanical_ventilation")
_ORDERED_AS = {
    "gas_not_needed": _OXYGEN,
    "o2_above_usual": _OXYGEN[:3],
    "spo2_room_air": _OXYGEN,
    "without_oxygen": _OXYGEN[:1],
}


def in_question(look: Within, wanted: Set[str]) -> dict[str, tuple[str, ...]]:
    """By exception of the stay, the wanted facts that count in this look, or are made of such, and that a
    correction, a withdrawal or an end that found nothing may mean."""
    found: dict[str, set[str]] = {}
    if UNFOUND in look.stay.exceptions:
        facts = {fact for fact in look.fold.sent if any(_lost(look, fact))}
        found[UNFOUND] = facts | {made for made, of in MADE_OF.items() if not facts.isdisjoint(of)}
    told_by = look.cut.told_by
    its = ((fact, look.fold.orders(fact, told_by)) for fact in look.fold.ordered(told_by))
    unsure = {fact for fact, turns in its if turns and turns.is_unsure(look.at, look.fold.is_patient)}
    if unsure:
        found[UNREAD_ORDER] = unsure | {made for made, of in _ORDERED_AS.items() if not unsure.isdisjoint(of)}
    if look.fold.strange():  # nearly never
        facts = {fact for fact, _, _ in _ends(look)}
        found[UNKNOWN] = facts | {made for made, of in _ORDERED_AS.items() if not facts.isdisjoint(of)}
    return {why: tuple(sorted(facts & wanted)) for why, facts in found.items() if facts & wanted}


def sent_in_vain(look: Within, held: Mapping[str, Collection[str]]) -> Iterator[NotUsed]:
    """What found nothing, of the facts that hold an answer by exception of the stay."""
    for fact in sorted(look.fold.sent & _with_parts(held.get(UNFOUND, ()), MADE_OF)):
        for each in sorted(_lost(look, fact), key=lambda one: one.stamp)[-MOST_SHOWN:]:
            at, told = look.clock(each.at), look.clock(each.sent)
            yield NotUsed(fact, each.value, dictionary()[fact].unit, at, told, Why.UNFOUND, None, "")
    if UNKNOWN in held:
        facts = _with_parts(held[UNKNOWN], _ORDERED_AS)
        for fact, sent, when in sorted(set(_ends(look))):
            if fact in facts:
                yield NotUsed(fact, None, "", look.clock(when), look.clock(sent), Why.STRANGE, None, "")


def _with_parts(facts: Collection[str], made_of: Mapping[str, tuple[str, ...]]) -> set[str]:
    return {*facts, *(part for fact in facts for part in made_of.get(fact, ()))}


def _lost(look: Within, fact: str) -> list[Result]:
    """Whenever they were told: a wrong value never was a fact, also of a first look that is past."""
    listed = look.fold.results(fact)
    pairs = () if listed is None else listed.in_question(look.fold.is_patient)
    return list({id(one): one for one, meant in pairs if look.why(fact, meant) is None}.values())


def _ends(look: Within) -> Iterator[tuple[str, int, int]]:
    stay, told_by = look.stay, look.cut.told_by
    left = None if stay.discharged_at is None else instant(stay.discharged_at)
    ends = look.fold.strange(told_by).ends
    return ends(
        lambda fact: look.fold.orders(fact, told_by), look.fold.orders, look.fold.is_patient, look.at, left
    )

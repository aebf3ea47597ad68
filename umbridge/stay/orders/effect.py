"""What ORC-1 (HL7 table 0119) and ORC-5 (table 0038) together say of an order, or why they say nothing.

Every code of both tables, versions 2.1 to 2.9, has its place here: a code that is missing is one that no
version knows, and a statement with it is not read. Of two fields that disagree the one that ends the order
wins; otherwise ORC-5, which only the filler gives and which tells how things are, goes before ORC-1.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import StrEnum

from umbridge.model import Coded, Order
from umbridge.settings.parts import ORDER_MEANINGS
from umbridge.stay.reasons import OrderReason


class Effect(StrEnum):
    """What one statement does to its order."""

    BEGINS = "begins"  # in force from its effective time on, again if it had ended
    STANDS = "stands"  # speaks of an order in force: begins one that was unknown, reopens none
    RELEASES = "releases"  # in force again if it was on hold
    HOLDS = "holds"  # ended until it is released
    ASKS = "asks"  # a request to cancel, discontinue or replace: ended, unless the request is taken back
    ASKS_HOLD = "asks_hold"  # a request to hold: the same, until it is released
    ENDS = "ends"  # ended for good
    FULFILS = "fulfils"  # done: a treatment has ended, a status order stands
    REFUSES = "refuses"  # the filler cannot do it: a treatment is not given, a status order stands
    TAKES_BACK = "takes_back"  # what was requested cannot be done: as it was before the request


_LEAVES = None
#: ORC-1 -> what it does by itself; None: nothing, but ORC-5 beside it may.
CONTROLS: Mapping[str, Effect | None] = {
    **dict.fromkeys(("NW", "RO", "CH", "RA"), Effect.BEGINS),  # new, replacement, child, accepted proposal
    **dict.fromkeys(("SN", "NA", "OK", "PA", "XO", "XX", "XR"), Effect.STANDS),  # numbers, accepted, changed
    **dict.fromkeys(("SC", "SR", "RE", "CN"), Effect.STANDS),  # status changed or asked for, results follow
    **dict.fromkeys(("RF", "AF", "OF", "FU", "SU", "SQ"), Effect.STANDS),  # refills, supplements
    **dict.fromkeys(("RL", "OE", "OR"), Effect.RELEASES),
    **dict.fromkeys(("OH", "HR", "UR"), Effect.HOLDS),  # UR: unable to release, so it stays on hold
    **dict.fromkeys(("CA", "DC", "RP"), Effect.ASKS),
    "HD": Effect.ASKS_HOLD,
    **dict.fromkeys(("OC", "CR", "OD", "DR", "RU", "RQ"), Effect.ENDS),
    "UA": Effect.REFUSES,
    **dict.fromkeys(("UC", "UD", "UH", "UM"), Effect.TAKES_BACK),
    **dict.fromkeys(("UX", "UF", "DF"), _LEAVES),  # change or refill refused: the order is what it was
    **dict.fromkeys(("LI", "UN"), _LEAVES),  # linked to a problem or goal
}
#: Not about whether this order is in force, whatever ORC-5 says beside it: errors in the data, receipts,
#: questions, earlier results, charges, care given elsewhere, proposals, one step of a process.
APART = frozenset({"DE", "RR", "NR", "SS", "PR", "MC", "OP", "PY", "RC", "RD", "CP"})

#: What a value of ORC-5 can mean, in the words of ``[orders.meaning]`` of the site profile.
IN_FORCE, ENDED, FULFILLED, NOTHING = ORDER_MEANINGS
_HELD = "held"
MEANINGS_0038: Mapping[str, str] = {
    **dict.fromkeys(("A", "IP", "SC"), IN_FORCE),
    **dict.fromkeys(("CA", "DC", "RP"), ENDED),
    "HD": _HELD,
    "CM": FULFILLED,
    "ER": NOTHING,  # "error, order not found": the filler does not know it
}

_ENDING = frozenset({Effect.ENDS, Effect.ASKS})
_HOLDING = frozenset({Effect.HOLDS, Effect.ASKS_HOLD})
#: What a statement about a parent does to its children too (HL7 v2 4.5.1, use note c), or to a whole group.
INHERITED = _ENDING | _HOLDING | {Effect.TAKES_BACK, Effect.RELEASES}
_ENDS = _ENDING | _HOLDING | {Effect.FULFILS, Effect.REFUSES}
_UNMODIFIED = Coded()


_OVER = frozenset({ENDED, _HELD, FULFILLED})
_IS_OVER = re.compile(r"\s*(?:cancel|discontinu)", re.IGNORECASE)


def effect_of(order: Order, meaning: Mapping[str, str] | None = None) -> Effect | OrderReason:
    """By ORC-25 too, a refinement of ORC-5 for which there is no table.

    What the site says of its values counts as ORC-5 does. One that the site does not list and that names an
    end contradicts an ORC-1 and ORC-5 that do not: nobody knows.
    """
    alone = effect(order.control, order.status, meaning)
    modifier = order.modifier
    if modifier == _UNMODIFIED or isinstance(alone, OrderReason):
        return alone
    if (meaning or {}).get(modifier.code.upper()):
        return effect(order.control, modifier.code, meaning)
    return OrderReason.MODIFIER if names_an_end(modifier) and alone not in _ENDS else alone


def names_an_end(modifier: Coded) -> bool:
    """By a value of table 0038, or in words."""
    is_ours = not modifier.system or "0038" in modifier.system
    is_over = is_ours and MEANINGS_0038.get(modifier.code.upper()) in _OVER
    return is_over or any(_IS_OVER.match(each) for each in (modifier.code, modifier.text))


def effect(control: str, status: str, meaning: Mapping[str, str] | None = None) -> Effect | OrderReason:
    """What a statement does, whatever its letters' case. The site's ``meaning`` goes before the table."""
    control, status = control.strip().upper(), status.strip().upper()
    if not control:
        return OrderReason.CONTROL_MISSING
    if control in APART:
        return OrderReason.SAYS_NOTHING
    if control not in CONTROLS:
        return OrderReason.CONTROL_UNKNOWN
    alone = CONTROLS[control]
    said = (meaning or {}).get(status) or MEANINGS_0038.get(status)
    if said == ENDED:
        return Effect.ENDS
    if alone in _ENDING:
        return alone
    if said == FULFILLED:
        return Effect.FULFILS
    if said == _HELD and alone not in _HOLDING:
        return Effect.HOLDS
    if alone in _HOLDING or alone is Effect.REFUSES:
        return alone
    if said == IN_FORCE:
        return alone if alone is Effect.TAKES_BACK else Effect.BEGINS
    if said == NOTHING:
        return OrderReason.SAYS_NOTHING
    if status and said is None and alone not in (Effect.BEGINS, Effect.RELEASES):
        return OrderReason.STATUS_UNKNOWN
    return alone or OrderReason.SAYS_NOTHING

"""Treatments beyond what is in force: those just over or about to begin, unread orders, rates."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from decimal import Decimal
from typing import Protocol

from umbridge.model import Reading, Sample
from umbridge.stay.clock import HOUR, instant
from umbridge.stay.dictionary import FactType
from umbridge.stay.fold import StayFold
from umbridge.stay.orders.order_statement import UNREAD
from umbridge.stay.orders.rates import FLUIDS
from umbridge.stay.orders.treatment_spans import InForce
from umbridge.stay.readings.derived import single
from umbridge.values.interval import Interval

NO_ORDER = "order:none"  # the source of a reading that no message sent
PROCEDURE = "procedure_24h"
SHOWN = 8  # orders that a source names


class Look(Protocol):
    """One look at a stay's facts, as ``window`` takes it."""

    fold: StayFold
    now: int

    def clock(self, at: int) -> datetime: ...

    def is_own(self, patient: str) -> bool: ...

    def turns(self, fact: str) -> InForce | None: ...

    def sent(self, kind: FactType) -> Reading | None: ...


def around(look: Look, kind: FactType, found: Reading | None) -> Reading | None:
    """With what counts though it is not in force: a transfusion just over, an operation of tomorrow.

    A charted N that is later than the end of the order stands.
    """
    if not (kind.hours_after or kind.hours_before) or (found is not None and found.latest.value is True):
        return found
    since, until = look.now - kind.hours_after * HOUR, look.now + kind.hours_before * HOUR
    turns = look.turns(kind.id)
    over = None if turns is None else turns.ended(since, look.now, look.is_own)
    if over is not None and not _is_charted_since(found, over[0]):
        return single(kind.id, Sample(True, look.clock(over[0]), over[1].source))
    coming = None if turns is None else turns.begins(look.now, until, look.is_own)
    if coming is not None:
        return single(kind.id, Sample(True, look.clock(coming.at), coming.source))
    if kind.id == PROCEDURE:
        for each in look.fold.procedures.between(since, until, look.now, look.is_own):
            return single(kind.id, Sample(True, look.clock(each.at), each.source))
    return found


def _is_charted_since(found: Reading | None, end: int) -> bool:
    """Whether N is somebody's word: the end of the order itself, and silence, are not."""
    if found is None or found.latest.source == NO_ORDER:
        return False
    return instant(found.latest.at) > end


def unread_order(look: Look) -> Reading | None:
    """Whether an order for a drug that goes past gut and skin is in force that no list knows."""
    turns = look.turns(UNREAD)
    active = [] if turns is None else turns.every(look.now, look.is_own)
    if active:
        source = "; ".join(each.source for each in active[-SHOWN:])
        return single(UNREAD, Sample(True, look.clock(active[-1].at), source))
    if not look.fold.site.closed_world:
        return None
    return single(UNREAD, Sample(False, look.clock(look.now), NO_ORDER))


def fluid_rate(look: Look, kind: FactType) -> Reading | None:
    """What was charted, or the rates of all orders in force together where one of them is newer than that.

    Bags that run beside one another are one patient's fluids. Where one has no rate the others are the least
    that is given.
    """
    charted, turns = look.sent(kind), look.turns(FLUIDS)
    running = [] if turns is None else turns.every(look.now, look.is_own)
    told = [found for each in running if (found := each.rate(look.now)) is not None]
    if not told:
        return charted
    newest = max(at for at, _, _ in told)
    if charted is not None and instant(charted.latest.at) >= newest:
        return charted
    total = sum((Decimal(rate) for _, rate, _ in told), Decimal(0))
    value = total if len(told) == len(running) else Interval(total, None, has_low=True)
    source = "; ".join(source for _, _, source in told)
    return single(kind.id, Sample(value, look.clock(newest), source, kind.unit))


TREATMENT_FACTS: Mapping[str, Callable[[Look], Reading | None]] = {UNREAD: unread_order}

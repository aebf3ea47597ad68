"""Orders that go on here though they were ended under another visit of the patient.

An order's number is its placer's or filler's (HL7 v2 4.5.1.2, 4.5.1.3) and not the visit's: an end that found
no order where it was filed may mean one that the patient's other stay goes on counting.
"""

from __future__ import annotations

from collections.abc import Iterator

from umbridge.stay.elsewhere import Reported
from umbridge.stay.orders.effect import Effect
from umbridge.stay.orders.entities import alike
from umbridge.stay.orders.force import SAYS_WHAT
from umbridge.stay.orders.order_statement import DISCHARGE, STATUS, OrderStatement
from umbridge.stay.orders.shelf import Shelf
from umbridge.stay.reasons import OrderReason
from umbridge.stay.record import Record

_ENDS = frozenset({Effect.ASKS, Effect.ENDS, Effect.HOLDS, Effect.ASKS_HOLD})
_OVER = frozenset({Effect.FULFILS, Effect.REFUSES})  # of a treatment; a status order stands


def is_ended_in(here: Reported, other: Reported, at: int) -> bool:
    """Whether an order that is in force here at an instant was ended or held in the other stay."""
    return any(_goes_on(here, one, at) for said in _lost(other) for one in _meant(here, said))


def _lost(other: Reported) -> Iterator[OrderStatement]:
    """What ended or held an order and found none there."""
    for said, reason in other.orders.odd():
        is_end = said.does in _ENDS or said.does in _OVER
        if is_end and reason == OrderReason.NOT_FOUND.value and other.is_own(said.patient):
            yield said


def _meant(here: Reported, said: OrderStatement) -> Iterator[OrderStatement]:
    if said.is_of_group:
        yield from here.orders.grouped.each(said)
    elif said.placer or said.filler:
        yield said


def _goes_on(here: Reported, said: OrderStatement, at: int) -> bool:
    """Whether an order that it names had been told of before it, and has not ended here since."""
    shelf = here.orders.shelf(said)
    if shelf is None or not shelf.groups:
        return False
    return any(
        _is_in_force(shelf, name, said, at)
        for name, its in shelf.groups.items()
        if any(_is_told_before(each, said) and here.is_own(each.patient) for each in its)
    )


def _is_told_before(each: OrderStatement, said: OrderStatement) -> bool:
    if not each.what or each.does not in SAYS_WHAT or each.sent > said.sent:
        return False
    if said.placer and each.placer:
        return alike(said.placer, each.placer)
    return bool(said.filler) and alike(said.filler, each.filler)


def _is_in_force(shelf: Shelf, name: str, said: OrderStatement, at: int) -> bool:
    """What was ordered anew after the end was told of is not what has ended."""
    for _, start, end in shelf.runs:
        if start.key == name and start.sent <= said.sent and (end is None or end.at > at):
            return True
    if said.does in _OVER:
        return False
    last: dict[str, Record] = {}
    for record in sorted(shelf.records, key=lambda each: each.told):
        if record.data["placer"] in (name + STATUS, name + DISCHARGE):
            last[record.data["placer"]] = record
    return any(record.data["on"] and record.told <= said.sent for record in last.values())

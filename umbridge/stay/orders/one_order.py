"""Statements under one number: whether they are about one order, whose, and when each was told."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from umbridge.stay.orders.entities import alike
from umbridge.stay.orders.force import SAYS_WHAT
from umbridge.stay.orders.order_statement import NO_TREATMENT, OrderStatement
from umbridge.stay.record import same_patient


def alike_until(one: list[Any], other: list[Any]) -> int:
    """How far two lists begin alike."""
    if one is other:
        return len(one)
    pairs = zip(one, other, strict=False)
    return next((n for n, (mine, its) in enumerate(pairs) if mine != its), min(len(one), len(other)))


def are_one(its: list[OrderStatement]) -> bool:
    """Whether kinds under one number are parts of one order: told of in one message, or by a change of it."""
    rows = [
        {said.seq for said in its if said.what == what and said.does in SAYS_WHAT}
        for what in {said.what for said in its if said.what}
    ]
    return bool(set.intersection(*rows)) or any(said.is_change for said in its)


def is_meant(said: OrderStatement, its: list[OrderStatement], kinds: set[str]) -> bool:
    """Whether a number without a namespace, with a code that nobody knows, means the one order that has it.

    Pharmacies code a treatment anew. Nobody does that to a status order: the number may be another
    application's, unless the filler number is the order's too.
    """
    if not said.code or not kinds & NO_TREATMENT:
        return True
    is_named = bool(said.placer) or "^" in said.filler
    return is_named and any(alike(said.filler, each.filler) for each in its if each.what)


def by_patient(its: list[OrderStatement], stands: Callable[[str], str]) -> Iterator[list[OrderStatement]]:
    """The statements by whose order it is: another patient's under the same number is another order."""
    owners = {stands(said.patient) for said in its} - {""}
    if len(owners) < 2:
        yield its
        return
    for owner in sorted(owners):
        yield [said for said in its if same_patient(owner, stands(said.patient))]


class Entries:
    """The statements of one order by their ORC-9, as they were sent: when each of them was told.

    ORC-9 is the moment of the transaction that ORC-1 speaks of (HL7 v2 4.5.1.9). Senders that keep one for
    the order send that of the order in all that they say of it later, a cancel too. What is sent later under
    the same ORC-9 with other words is another transaction: nothing says when but MSH-7.
    """

    __slots__ = ("_by",)

    def __init__(self, its: Iterable[OrderStatement] = ()) -> None:
        self._by: dict[
            int, list[tuple[OrderStatement, OrderStatement]]
        ] = {}  # as it was said, and as it is read
        for said in sorted(its, key=_sent):
            self.read(said)

    def read(self, said: OrderStatement) -> OrderStatement | None:
        """The next by MSH-7 and receipt, told when it was told; None where it is not the next."""
        if said.entered is None:
            return said
        under = self._by.setdefault(said.entered, [])
        if under and said[1:4] < under[-1][0][1:4]:
            return None
        before = next((each for each in reversed(under) if _is_before(each[0], said)), None)
        read = said
        if before is not None and _words(before[0]) == _words(said):  # that one, told again
            read = said._replace(told=before[1].told, at=before[1].at, changed=before[1].changed)
        elif before is not None:
            copied = {said.entered, under[0][0].changed}
            read = said._replace(
                told=said.sent,
                at=max(said.at, said.sent) if said.at in copied else said.at,
                changed=max(said.changed, said.sent) if said.changed in copied else said.changed,
                is_dated=said.is_dated and said.at not in copied,
            )
        under.append((said, read))
        return read


def _is_before(one: OrderStatement, other: OrderStatement) -> bool:
    """Whether it was sent before, and of the same part of the order."""
    is_same = not one.what or not other.what or one.what == other.what or one.is_change or other.is_change
    return one.sent < other.sent and is_same


def _words(said: OrderStatement) -> tuple[object, ...]:
    its = (*said[4:10], said.is_timed, said.stop, said.status, said.level, said.word, said.rate)
    return (*its, said.start, said.lasting, said.gaps)


def retold(its: list[OrderStatement]) -> list[OrderStatement]:
    """The statements of one order in the order told."""
    named = [said.entered for said in its if said.entered is not None]
    if len(set(named)) == len(named):
        return its
    entries = Entries()
    read = (entries.read(said) for said in sorted(its, key=_sent))
    return sorted(said for said in read if said is not None)


def _sent(said: OrderStatement) -> tuple[int, int, int]:
    return said[1:4]

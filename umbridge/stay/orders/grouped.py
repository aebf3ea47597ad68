"""Orders that were told of as a group (ORC-4), and what was said of a whole group by its number alone.

A placer's group number identifies a set of orders (HL7 v2 4.5.1.4): what ends, holds or releases the group
says so of each of them, as an ORC by its number would.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from hashlib import blake2b

from umbridge.stay.orders.entities import alike
from umbridge.stay.orders.force import BESIDE
from umbridge.stay.orders.order_statement import OrderStatement
from umbridge.stay.orders.strange import UNKNOWN
from umbridge.stay.reasons import OrderReason


class Grouped:
    """Group numbers without their namespaces -> what they are the group of, and what was said of it."""

    def __init__(self) -> None:
        self._orders: dict[str, dict[tuple[str, str, str], None]] = {}  # group, placer, else filler
        self._said: dict[str, dict[OrderStatement, None]] = {}
        self._others: dict[str, set[str]] = {}  # groups of orders that are neither a status nor a treatment

    def take(self, said: OrderStatement) -> Iterator[OrderStatement]:
        """What it says of orders by their numbers; of an order of a group also what was said of them all."""
        base = said.group.partition("^")[0]
        if said.is_of_group:
            self._said.setdefault(base, {})[said] = None
            yield from self.each(said)
            return
        yield said
        key = (said.group, said.placer, "" if said.placer else said.filler)
        its = self._orders.setdefault(base, {})
        if (said.placer or said.filler) and key not in its:
            its[key] = None
            for each in self._said.get(base, ()):
                if alike(each.group, said.group):
                    yield _of_one(each, *key[1:])

    def each(self, said: OrderStatement) -> Iterator[OrderStatement]:
        """What is said of a group, of each of its orders by its number."""
        for group, placer, filler in self._orders.get(said.group.partition("^")[0], ()):
            if alike(group, said.group):
                yield _of_one(said, placer, filler)

    def know(self, group: str) -> None:
        """There is an order of that group that is neither a status nor a treatment."""
        self._others.setdefault(group.partition("^")[0], set()).add(group)

    def why(self, said: OrderStatement) -> OrderReason | None:
        """Why what was said of a group says nothing here; None where one of its orders is known."""
        base = said.group.partition("^")[0]
        if any(alike(group, said.group) for group, _, _ in self._orders.get(base, ())):
            return None
        is_other = any(alike(group, said.group) for group in self._others.get(base, ()))
        return OrderReason.UNMAPPED if is_other else OrderReason.NOT_FOUND

    def odd(self) -> Iterator[tuple[OrderStatement, str]]:
        for said in (each for its in self._said.values() for each in its):
            why = self.why(said)
            if why is not None:
                yield said, why.value

    def exceptions(self, is_own: Callable[[str], bool]) -> set[str]:
        lost = (said for said, why in self.odd() if why == OrderReason.NOT_FOUND.value)
        return {UNKNOWN for said in lost if is_own(said.patient)}


def _of_one(said: OrderStatement, placer: str, filler: str) -> OrderStatement:
    """With a part of its own: no two statements have one claim."""
    own = BESIDE * (1 + int.from_bytes(blake2b(f"{placer}|{filler}".encode(), digest_size=4).digest()))
    return said._replace(placer=placer, filler=filler, group="", part=said.part + own)

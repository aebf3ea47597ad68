"""Order numbers: which order one means that leaves out whose it is."""

from __future__ import annotations

from collections.abc import Iterable

from umbridge.stay.orders.entities import alike, same, spelt_once
from umbridge.stay.orders.order_statement import NO_TREATMENT, UNREAD, OrderStatement


def shelf_of(kind: str, number: str) -> str:
    return kind + number.partition("^")[0]


def own_shelf(said: OrderStatement) -> str:
    """The shelf of its own number."""
    return shelf_of("P", said.placer) if said.placer else shelf_of("F", said.filler)


class Numbers:
    """The numbers on one shelf: whose is known, and whether one that leaves it out is an order of its own."""

    def __init__(self, place: str, said: list[OrderStatement], plain: Iterable[str]) -> None:
        self._kind = kind = place[0]
        self.apart = sorted({each.filler for each in said if each.apart})
        plain = set(plain)
        told = [(each.placer if kind == "P" else each.filler, each) for each in said]
        told = [
            pair for pair in told if pair[0].partition("^")[0] == place[1:]
        ]  # else found by another number
        spaced = {number for number, each in told if "^" in number and not each.apart}
        self._spelt = spelt_once(spaced | plain)
        self._known: dict[str, set[str]] = {each: set() for each in self._spelt.values()}
        unsure: set[str] = set()
        for number, each in told:
            its = None if each.apart else self._spelt.get(number)
            if its is not None:
                self._known[its].update({each.what} - {""})
            elif number and each.what and (each.what != UNREAD or each.is_new):
                unsure.add(each.what)
        self._plain = {self._spelt.get(each, each) for each in plain}
        self._is_coded_anew = UNREAD not in unsure
        self._is_own = any(not self._fitting(what, self._known) for what in unsure)

    def name(self, number: str, what: str) -> str:
        spelt = self._spelt.get(number)
        if spelt is None and "^" in number:
            sure = {its for its in self._spelt.values() if same(its, number)}
            spelt = sure.pop() if len(sure) == 1 else None
        if spelt is not None:
            return self._kind + spelt
        known = [each for each in self._known if alike(each, number)]
        if not known:
            return self._kind + number
        if what:
            fitting = self._fitting(what, known)
            return self._kind + (fitting[0] if fitting else number) if len(fitting) < 2 else ""
        if len(known) + self._is_own == 1:
            return self._kind + known[0]
        is_any_mapped = self._is_own or any(self._known[each] for each in known)
        return "" if is_any_mapped else self._kind + number

    def _fitting(self, what: str, known: Iterable[str]) -> list[str]:
        """The known orders that one of that kind may be whose number leaves out whose it is."""
        its = {each: self._known[each] for each in known}
        if what == UNREAD and self._is_coded_anew:  # a pharmacy's own code for one of the treatments
            return [n for n, each in its.items() if each - NO_TREATMENT or not (each or n in self._plain)]
        exact = [number for number, each in its.items() if what in each]
        return exact or [each for each, kinds in its.items() if not kinds and each not in self._plain]

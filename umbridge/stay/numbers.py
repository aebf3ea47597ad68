"""Order numbers: which two can be one, and which order a number without a namespace means."""

from __future__ import annotations

from collections.abc import Iterable

from umbridge.stay.said import NO_TREATMENT, UNREAD, Said


def shelf_of(kind: str, number: str) -> str:
    return kind + number.partition("^")[0]


def alike(one: str, other: str) -> bool:
    """Whether two numbers can be one: alike, or one of them without a namespace."""
    if one == other:
        return bool(one)
    (mine, _, space), (theirs, _, others) = one.partition("^"), other.partition("^")
    return mine == theirs and not (space and others)


class Numbers:
    """The numbers on one shelf: those with a namespace, and whether one without is an order of its own."""

    def __init__(self, place: str, said: list[Said], plain: Iterable[str]) -> None:
        self._kind = kind = place[0]
        self._known: dict[str, set[str]] = {}
        self.apart = sorted({each.filler for each in said if each.apart})
        bare: set[str] = set()
        for each in said:
            number = each.placer if kind == "P" else each.filler
            if number.partition("^")[0] != place[1:]:
                continue  # found by another number
            if "^" in number and not each.apart:
                self._known.setdefault(number, set()).update({each.what} - {""})
            elif number and each.what and (each.what != UNREAD or each.is_new):
                bare.add(each.what)
        self._plain = set(plain)
        self._known.update((number, set()) for number in self._plain - self._known.keys())
        self._is_coded_anew = UNREAD not in bare
        self._is_own = any(not self._fitting(what) for what in bare)

    def name(self, number: str, what: str) -> str:
        if "^" in number or not self._known:
            return self._kind + number
        if what:
            fitting = self._fitting(what)
            return self._kind + (fitting[0] if fitting else number) if len(fitting) < 2 else ""
        if len(self._known) + self._is_own == 1:
            return self._kind + next(iter(self._known))
        is_any_mapped = self._is_own or any(self._known.values())
        return "" if is_any_mapped else self._kind + number

    def _fitting(self, what: str) -> list[str]:
        """The orders with a namespace that one of that kind without may be."""
        if what == UNREAD and self._is_coded_anew:  # a pharmacy's own code for one of the treatments
            return [
                n for n, its in self._known.items() if its - NO_TREATMENT or not (its or n in self._plain)
            ]
        exact = [number for number, its in self._known.items() if what in its]
        return exact or [each for each, its in self._known.items() if not its and each not in self._plain]

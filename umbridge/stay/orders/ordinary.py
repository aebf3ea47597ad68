"""The orders of a stay that are neither a status nor a treatment: their numbers, and what they are called."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from umbridge.stay.orders.entities import same
from umbridge.stay.orders.numbers import shelf_of
from umbridge.stay.orders.order_statement import OrderStatement, Plain

#: So many numbers a stay, some 150 bytes each.
MOST = 16_384


class Ordinary:
    """By number, with "P" before a placer's and "F" before a filler's."""

    def __init__(self) -> None:
        self._codes: dict[str, str] = {}
        self._spaced: dict[str, set[str]] = {}  # shelf -> the numbers with a namespace
        self._called: dict[str, set[str]] = {}  # shelf -> the numbers of which a code was told

    def take(self, plain: Plain) -> list[tuple[str, str]]:
        """Kind and number of each of which this is news."""
        news = []
        for kind, number in (("P", plain.placer), ("F", plain.filler)):
            key = kind + number
            before = self._codes.get(key)
            if not number or before == plain.code:
                continue
            known = "\n".join(sorted({*(() if before is None else before.split("\n")), plain.code}))
            if before == known or (before is None and self.is_full):
                continue
            self._codes[key], place = known, shelf_of(kind, number)
            if "^" in number:
                self._spaced.setdefault(place, set()).add(number)
            if plain.code:
                self._called.setdefault(place, set()).add(number)
            news.append((kind, number))
        return news

    def __contains__(self, key: str) -> bool:
        return any(each in self._codes for each in self._spelt(key))

    def __len__(self) -> int:
        return len(self._codes)

    @property
    def is_full(self) -> bool:
        return len(self._codes) >= MOST

    def spaced(self, place: str) -> Collection[str]:
        """The numbers on a shelf that have a namespace."""
        return self._spaced.get(place, ())

    def called(self, place: str) -> Collection[str]:
        """The numbers on a shelf of which somebody has said what is ordered."""
        return self._called.get(place, ())

    def codes(self, keys: Iterable[str]) -> set[str]:
        """What the orders of these numbers are called; "" of one that nobody called anything."""
        its = {each for key in keys for each in self._spelt(key) if each in self._codes}
        return {code for key in its for code in self._codes[key].split("\n")}

    def codes_of(self, place: str, name: str, its: list[OrderStatement]) -> set[str]:
        """What orders of this name are called that are neither a status nor a treatment."""
        keys = {name, *(f"F{said.filler}" for said in its if said.filler and not said.placer)}
        if name[:1] == "P":
            keys |= {f"P{said.placer}" for said in its if said.placer}
        if "^" not in name:
            keys |= {place[0] + number for number in self.spaced(place)}
        return self.codes(keys)

    def _spelt(self, key: str) -> list[str]:
        """A number as it is, and as others spell it who name the same authority."""
        spaced = self._spaced.get(shelf_of(key[:1], key[1:]), ())
        return [key, *(key[0] + each for each in spaced if each != key[1:] and same(each, key[1:]))]

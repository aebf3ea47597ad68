"""Which placer and filler numbers are one order's, learnt from every statement that has both."""

from __future__ import annotations

from collections.abc import Iterator

from umbridge.stay.orders.entities import alike, are_one_authority, same, spelt_once
from umbridge.stay.orders.numbers import shelf_of
from umbridge.stay.orders.ordinary import Ordinary

#: A placer number that may be the name of another one's order, and nothing says surely of which.
UNSURE = ""


class Ties:
    """The numbers of one stay. A placer number is *known* once something says what is ordered by it.

    The filler number finds the order where the placer number is one that nobody knows: some other system's
    (HL7 v2 4.5.1.3: the filler number is unique within the filler).
    """

    def __init__(self, ordinary: Ordinary) -> None:
        self._placers: dict[str, dict[str, set[str]]] = {}  # filler's shelf -> filler -> placers
        self._fillers: dict[str, set[str]] = {}  # placer's shelf -> the fillers' shelves
        self._known: dict[str, set[str]] = {}  # placer's shelf -> numbers of a status or treatment
        self._ordinary = ordinary  # the same of orders that are neither

    def tie(self, filler: str, placer: str) -> bool:
        """Whether that is news."""
        at = shelf_of("F", filler)
        placers = self._placers.setdefault(at, {}).setdefault(filler, set())
        if placer in placers:
            return False
        placers.add(placer)
        self._fillers.setdefault(shelf_of("P", placer), set()).add(at)
        return True

    def know(self, placer: str) -> bool:
        """Whether it is news that something is ordered by this number."""
        known = self._known.setdefault(shelf_of("P", placer), set())
        if placer in known:
            return False
        known.add(placer)
        return True

    def is_known(self, placer: str) -> bool:
        at = shelf_of("P", placer)
        known = (*self._known.get(at, ()), *self._ordinary.called(at))
        return any(alike(each, placer) for each in known)

    def all_tied(self, filler: str) -> set[str]:
        ties = self._placers.get(shelf_of("F", filler), {})
        return {placer for each, its in ties.items() if alike(each, filler) for placer in its}

    def tied(self, filler: str) -> set[str]:
        """The placer numbers that a filler number goes with: those that somebody knows, else all."""
        its = self.all_tied(filler)
        return {placer for placer in its if self.is_known(placer)} or its if len(its) > 1 else its

    def home(self, placer: str, filler: str) -> str | None:
        """The placer number of the order that a number nobody knows means; None where it is its own.

        UNSURE where the filler number has no namespace, or the application of the placer number has given
        that order another one: then the two numbers contradict each other.
        """
        if self.is_known(placer):
            return None
        fillers = [filler] if filler else list(self._with(placer))
        found = {each for its in fillers for each in self.all_tied(its) if self.is_known(each)}
        if not found:
            return None
        orders = self._spelt_once(found)
        home = min(orders)
        is_sure = len(orders) == 1 and all("^" in each for each in fillers)
        mine, its = placer.partition("^")[2], home.partition("^")[2]
        is_another = not mine or (are_one_authority(mine, its) is False if its else True)
        return home if is_sure and is_another else UNSURE

    def _spelt_once(self, numbers: set[str]) -> set[str]:
        """The orders that these placer numbers name, each by one spelling."""
        found: set[str] = set()
        for place in {shelf_of("P", each) for each in numbers}:
            here = {each for each in numbers if shelf_of("P", each) == place}
            spelt = spelt_once({*here, *self._known.get(place, ()), *self._ordinary.called(place)})
            found |= {spelt.get(each, each) for each in here}
        return found

    def _with(self, placer: str) -> Iterator[str]:
        for at in self._fillers.get(shelf_of("P", placer), ()):
            for filler, its in self._placers[at].items():
                if any(same(placer, each) for each in its):
                    yield filler

    def fillers_at(self, place: str) -> set[str]:
        """Where statements by filler number may lie that speak of the same as a placer's shelf."""
        return self._fillers.get(place, set())

    def near(self, place: str) -> set[str]:
        """The shelves of numbers that can mean another order by what is known of the placers of one."""
        fillers = self.fillers_at(place)
        placers = {
            shelf_of("P", each) for at in fillers for its in self._placers[at].values() for each in its
        }
        return {place} | fillers | placers

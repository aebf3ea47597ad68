"""Which stay a message without a visit is of: the one of its patient that has its order's or report's number.

PV1 is optional in results and orders (HL7 v2 7.3.1). A number is unique only within whoever gave it, and both
are only ever asked about with the patient's own number: it leads to no other person's stay.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import field
from typing import Protocol, TypeVar

from umbridge.stay.identity import Named
from umbridge.stay.orders.entities import alike
from umbridge.values.frozen import dataclass

K = TypeVar("K", str, bytes)
Place = tuple[int, int]  # a row and the part of it
MOST_OTHERS = 8  # stays that one message is shown to; a sender who numbers each stay's orders anew has many


class Numbered(Protocol[K]):
    """What is remembered of orders' and reports' numbers, patient by patient."""

    def same(self, patient: K) -> Sequence[K]:
        """Every number that merges made one person's with this one; it is the first of them."""

    def find(self, patient: K, number: K) -> list[K]:
        """The lanes that told of a number that can be this one."""

    def first(self, patient: K, number: K) -> list[tuple[K, int]]:
        """The same, each with the row that told of it first."""

    def keep(self, patient: K, number: K, lane: K, place: Place) -> bool:
        """Remember that a lane told of a number; whether that was news."""

    def hand_on(self, old: K, new: K, lane: K) -> None:
        """A stay became another patient's: what it told of is found under that one too."""

    def wait(self, patient: K, number: K, place: Place) -> None:
        """Remember what found no stay."""

    def has_waiting(self) -> bool:
        """Whether anything waits at all; where nothing does nothing is looked up."""

    def waiting(self, patient: K, number: K | None) -> list[Place]:
        """What waits for a number that can be this one; None: for any."""

    def settle(self, place: Place) -> list[tuple[K, K]]:
        """It waits no more. Returns the patients and numbers that it waited for."""


def everyone(
    patient: K, told: Callable[[K], Iterable[Place]], patients: Callable[[Place], Iterable[K]]
) -> tuple[K, ...]:
    """The patient's numbers, by what was told of them together."""
    found, waiting = dict[K, None](), [patient]
    while waiting:
        one = waiting.pop()
        if one not in found:
            found[one] = None
            waiting += [each for place in told(one) for each in patients(place)]
    return tuple(found)


def lanes_of(numbers: Numbered[K], named: Named[K]) -> list[K]:
    """The stays of the patient that told of any of the numbers."""
    persons = [each for patient in named.patients for each in numbers.same(patient)]
    found = (lane for number in named.numbers for one in persons for lane in numbers.find(one, number))
    return list(dict.fromkeys(found))


def wait(numbers: Numbered[K], named: Named[K], seq: int) -> None:
    """No stay has any of the numbers yet."""
    for patient in named.patients[:1]:
        for number in named.numbers:
            numbers.wait(patient, number, (seq, named.part))


def others(numbers: Numbered[K], named: Named[K], lane: K, seq: int) -> list[K]:
    """The stays of the patient that told of one of the numbers before this one did: it may mean theirs."""
    found: dict[K, int] = {}
    for patient in named.patients:
        persons = numbers.same(patient)
        for number in named.numbers:
            its = [each for person in persons for each in numbers.first(person, number)]
            if its and (len(its) > 1 or its[0][0] != lane):
                own = min((at for one, at in its if one == lane), default=seq)
                found |= {one: at for one, at in its if one != lane and at < own}
    return sorted(found, key=found.__getitem__)[-MOST_OTHERS:]


def told(numbers: Numbered[K], named: Named[K], lane: K, seq: int) -> list[Place]:
    """A lane tells of numbers. Returns what waited for them, and for the numbers of that in turn."""
    place = (seq, named.part)
    left = [
        (patient, number)
        for patient in named.patients
        for number in named.numbers
        if numbers.keep(patient, number, lane, place)
    ]
    found: dict[Place, None] = {}
    if not left or not numbers.has_waiting():
        return []
    while left:
        patient, number = left.pop()
        for person in numbers.same(patient):
            for each in numbers.waiting(person, number):
                if each not in found:
                    found[each] = None
                    left += [its for its in numbers.settle(each) if numbers.keep(*its, lane, each)]
    return list(found)


def met(numbers: Numbered[K], named: Named[K]) -> list[tuple[K, Place]]:
    """Numbers of patients became one person's: what waited under one of them, and each one's only stay."""
    found: list[tuple[K, Place]] = []
    if not numbers.has_waiting():
        return found
    persons = list(dict.fromkeys(each for patient in named.patients for each in numbers.same(patient)))
    waits = dict.fromkeys((one, place) for one in persons for place in numbers.waiting(one, None))
    for patient, place in waits:
        its = tuple(dict.fromkeys(number for _, number in numbers.settle(place)))
        spoken = Named(place[1], patients=(patient,), numbers=its)
        lanes = lanes_of(numbers, spoken)
        if len(lanes) == 1:
            its_own: list[Place] = told(numbers, spoken, lanes[0], place[0])
            found += [(lanes[0], each) for each in (place, *its_own)]
        elif not lanes and its:
            wait(numbers, spoken, place[0])
    return found


@dataclass(slots=True)
class Spoken:
    """The same in memory: ``Numbered`` but for ``same``. A number is as it was sent, its kind before it."""

    _by_number: dict[tuple[str, str], dict[tuple[str, str], Place]] = field(default_factory=dict)
    _waiting: dict[str, dict[tuple[str, Place], None]] = field(default_factory=dict)

    def find(self, patient: str, number: str) -> list[str]:
        its = self._by_number.get((patient, _base(number)), {})
        return [lane for each, lane in its if alike(each, number)]

    def first(self, patient: str, number: str) -> list[tuple[str, int]]:
        its = self._by_number.get((patient, _base(number)), {})
        return [(lane, place[0]) for (each, lane), place in its.items() if alike(each, number)]

    def keep(self, patient: str, number: str, lane: str, place: Place) -> bool:
        its = self._by_number.setdefault((patient, _base(number)), {})
        if (number, lane) in its:
            return False
        its[number, lane] = place
        return True

    def hand_on(self, old: str, new: str, lane: str) -> None:
        its = [(whose, told) for whose, told in self._by_number.items() if whose[0] == old]
        for _, told in its:
            for (number, one), place in list(told.items()):
                if one == lane:
                    self.keep(new, number, lane, place)

    def wait(self, patient: str, number: str, place: Place) -> None:
        self._waiting.setdefault(patient, {})[number, place] = None

    def has_waiting(self) -> bool:
        return any(self._waiting.values())

    def waiting(self, patient: str, number: str | None) -> list[Place]:
        its = self._waiting.get(patient, {})
        return list(dict.fromkeys(place for each, place in its if number is None or alike(each, number)))

    def settle(self, place: Place) -> list[tuple[str, str]]:
        found = [
            (patient, number) for patient, its in self._waiting.items() for number, one in its if one == place
        ]
        for patient, number in found:
            del self._waiting[patient][number, place]
        return found

    def moved(self, gone: str, into: str) -> None:
        """A lane is joined to another."""
        for its in self._by_number.values():
            for number, lane in list(its):
                if lane == gone:
                    place = its.pop((number, lane))
                    its.setdefault((number, into), place)


def _base(number: str) -> str:
    return number.partition("^")[0]

"""Which stays a message is about, by the numbers it names, and what later messages need to know of it.

The rules are here once; where the numbers are kept is the caller's: in memory for a run over files, in the
store for the daemon (``store.directory``), where a number is only ever its keyed token.

A lane is one stay, named by the first number that was seen for it: a visit's, or an account's where no visit
was known. Most messages are about one lane. Merges, moves and person-level updates are about all stays of a
patient, or make one lane of two. Old numbers lead to the new ones for ever. What names neither visit nor
account is of the stay that has the order or report it speaks of (``by_number``).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import field
from typing import Generic, NamedTuple, Protocol, TypeVar

from umbridge.model import Event
from umbridge.settings.site import SiteProfile
from umbridge.stay import by_number
from umbridge.stay.by_number import Numbered, Place, Spoken, everyone
from umbridge.stay.identity import ACCOUNT, VISIT, Named, naming, parts
from umbridge.stay.record import account_name
from umbridge.values.frozen import dataclass

K = TypeVar("K", str, bytes)
__all__ = ["Directory", "Numbers", "Place", "Route", "named_again", "route"]


class Numbers(Numbered[K], Protocol[K]):
    """What is remembered between messages."""

    def lane(self, number: K) -> K | None:
        """Where a visit's or an account's number leads."""

    def lead(self, number: K, lane: K, *, account: bool) -> None:
        """Let a number lead to a lane, wherever it led before."""

    def is_account(self, lane: K) -> bool:
        """Whether a lane is named by an account: no visit was known when it began."""

    def join(self, gone: K, into: K) -> None:
        """Every number and patient that led to ``gone`` leads to ``into``."""

    def lanes(self, patient: K) -> list[K]:
        """The stays of a patient's number."""

    def register(self, patient: K, lane: K) -> bool:
        """Remember a stay of a patient's number; whether that was news."""

    def told(self, patient: K) -> list[Place]:
        """What was said of the patient, for stays that come later."""

    def update(self, patient: K) -> tuple[tuple[int, int], Place] | None:
        """The newest plain update among ``told``, with its times."""

    def tell(self, patient: K, place: Place, at: tuple[int, int] | None) -> None:
        """Remember what was said of a patient; ``at``: times of a plain update, which replaces the last."""

    def patients(self, place: Place) -> list[K]:
        """The patients' numbers that something told was about."""


class Route(NamedTuple, Generic[K]):
    """Where one part of a message belongs.

    ``joined`` names lanes that are no more: their messages belong to the (one) lane given here, which has to
    be folded again from all of them. ``earlier`` was said before of the patient of a lane that is new;
    ``placed`` had found no stay, and is of that lane. ``several``: stays that have what it speaks of, none of
    which takes it in. ``beside``: other stays that had it first: they are shown what was told.
    """

    lanes: tuple[K, ...]
    joined: tuple[K, ...] = ()
    earlier: tuple[Place, ...] = ()
    placed: tuple[tuple[K, Place], ...] = ()
    several: tuple[K, ...] = ()
    beside: tuple[K, ...] = ()


def route(numbers: Numbers[K], named: Named[K], seq: int) -> Route[K]:
    """Where a part belongs, and what it changes about the numbers. Asked in the order of receipt."""
    if named.is_person:
        return _person(numbers, named, seq)
    visit, account, gone = named.visit, named.account, list[K]()
    if named.prior_visit is not None and visit is not None:
        gone += _link(numbers, named.prior_visit, visit)
    if named.prior_account is not None:
        to = account if visit is None else visit
        if to is not None:
            gone += _link(numbers, named.prior_account, to, account=True, to_account=visit is None)
        if visit is None:
            both = [
                _lane(numbers, each, account=True)
                for each in (named.prior_account, account)
                if each is not None
            ]
            return _delivered(numbers, list(dict.fromkeys(both)), named, seq, gone)
    if visit is not None:
        lane = _lane(numbers, visit, account=False)
        if account is not None:
            known = numbers.lane(account)
            if known is None:
                numbers.lead(account, lane, account=True)
            elif known == account:
                gone += _link(numbers, account, visit, account=True)  # results came first, under it alone
    elif account is not None:
        lane = _lane(numbers, account, account=True)
    else:
        return _unvisited(numbers, named, seq)
    return _delivered(numbers, [lane], named, seq, gone)


def named_again(
    numbers: Numbers[K], named: Named[K], spelt: K | None, lanes: Sequence[K], seq: int
) -> Route[K]:
    """What a part that was routed under other names adds, now that its numbers are called as in ``named``.

    ``lanes``: where it went. ``spelt``: its visit as the sender spelt it. Numbers are only added: a lane that
    had a number keeps it. Two lanes become one where the spellings of one visit's number led to both.
    """
    if named.is_person:
        return _person(numbers, named, seq)
    if not lanes:
        is_unvisited = named.visit is None and named.account is None
        return _unvisited(numbers, named, seq) if is_unvisited else Route(())
    gone: list[K] = []
    visit = named.visit
    if visit is not None and spelt is not None and spelt != visit and numbers.lane(spelt) in lanes:
        gone = _link(numbers, spelt, visit)
        into = _lane(numbers, visit, account=False)
        lanes = list(dict.fromkeys(into if one in gone else one for one in lanes))
    if len(lanes) == 1:
        for number, is_account in ((named.visit, False), (named.account, True)):
            if number is not None and numbers.lane(number) is None:
                numbers.lead(number, lanes[0], account=is_account)
    return _delivered(numbers, list(lanes), named, seq, gone)


def _unvisited(numbers: Numbers[K], named: Named[K], seq: int) -> Route[K]:
    """By the orders and reports it speaks of: the one stay that has them, now or later. Never a guess."""
    if not named.numbers or not named.patients:
        return Route(())
    lanes = by_number.lanes_of(numbers, named)
    if len(lanes) == 1:
        return _delivered(numbers, lanes, named, seq, [])
    if not lanes:
        by_number.wait(numbers, named, seq)
    return Route((), several=tuple(lanes))


def _lane(numbers: Numbers[K], number: K, *, account: bool) -> K:
    """Where a number leads; to a lane of its own when it is new."""
    known = numbers.lane(number)
    if known is None:
        numbers.lead(number, number, account=account)
    return number if known is None else known


def _link(numbers: Numbers[K], old: K, new: K, *, account: bool = False, to_account: bool = False) -> list[K]:
    """Let ``old`` lead where ``new`` leads. Returns the lane that is no more, if there were two."""
    if old == new:
        return []
    before, after = numbers.lane(old), numbers.lane(new)
    if before is None or before == after:
        numbers.lead(old, _lane(numbers, new, account=to_account), account=account)
        return []
    if after is None:
        numbers.lead(new, before, account=to_account)  # the stay goes on under its first name
        return []
    if account and not numbers.is_account(before):
        return []  # an account with visits: they stay visits of their own
    numbers.join(before, after)
    return [before]


def _person(numbers: Numbers[K], named: Named[K], seq: int) -> Route[K]:
    """Every stay of the patients named, and any that one of them gets later."""
    lanes = list(dict.fromkeys(lane for patient in named.patients for lane in numbers.lanes(patient)))
    for patient in named.patients:
        place = (seq, named.part)
        if named.at is not None:  # of plain updates the newest is enough
            known = numbers.update(patient)
            if known is not None and (known[0], known[1][0]) > (named.at, seq):
                continue
        numbers.tell(patient, place, named.at)
    return _delivered(numbers, lanes, named, seq, [])


def _delivered(numbers: Numbers[K], lanes: list[K], named: Named[K], seq: int, joined: list[K]) -> Route[K]:
    """Register the lanes with their patient, and find what was said before of that patient's numbers."""
    earlier = set[Place]()
    seen, waiting = set[K](), list(named.patients)
    while waiting:
        patient = waiting.pop()
        if patient in seen:
            continue
        seen.add(patient)
        fresh = [lane for lane in lanes if numbers.register(patient, lane)]
        if not fresh and not named.is_person:
            continue  # known under this number: so it is under those that stand for it
        told = numbers.told(patient)
        if fresh:
            earlier.update(told)
        for place in told:
            waiting += numbers.patients(place)
    placed: list[tuple[K, Place]] = []
    beside: list[K] = []
    if named.numbers and len(lanes) == 1:
        beside = by_number.others(numbers, named, lanes[0], seq)
        placed = [(lanes[0], each) for each in by_number.told(numbers, named, lanes[0], seq)]
    elif len(named.patients) > 1:
        if len(lanes) == 1 and not named.is_person:
            for old in named.patients[1:]:
                numbers.hand_on(old, named.patients[0], lanes[0])
        placed = by_number.met(numbers, named)
    said = tuple(sorted(each for each in earlier if each[0] != seq))
    return Route(tuple(lanes), tuple(joined), said, tuple(placed), beside=tuple(beside))


@dataclass(slots=True)
class Remembered(Spoken):
    """Numbers in memory."""

    _lane_of: dict[str, str] = field(default_factory=dict)
    _accounts: set[str] = field(default_factory=set)
    _lanes_of: dict[str, list[str]] = field(default_factory=dict)
    _told: dict[str, dict[Place, tuple[int, int] | None]] = field(default_factory=dict)
    _patients: dict[Place, list[str]] = field(default_factory=dict)

    def lane(self, number: str) -> str | None:
        return self._lane_of.get(number)

    def lead(self, number: str, lane: str, *, account: bool) -> None:
        self._lane_of[number] = lane
        if account:
            self._accounts.add(number)

    def is_account(self, lane: str) -> bool:
        return lane in self._accounts

    def same(self, patient: str) -> tuple[str, ...]:
        return everyone(patient, self.told, self.patients)

    def join(self, gone: str, into: str) -> None:
        self.moved(gone, into)
        for number, lane in self._lane_of.items():
            if lane == gone:
                self._lane_of[number] = into
        for lanes in self._lanes_of.values():
            if gone in lanes:
                lanes[:] = list(dict.fromkeys(into if lane == gone else lane for lane in lanes))

    def lanes(self, patient: str) -> list[str]:
        return list(self._lanes_of.get(patient, ()))

    def register(self, patient: str, lane: str) -> bool:
        known = self._lanes_of.setdefault(patient, [])
        if lane in known:
            return False
        known.append(lane)
        return True

    def told(self, patient: str) -> list[Place]:
        return list(self._told.get(patient, ()))

    def update(self, patient: str) -> tuple[tuple[int, int], Place] | None:
        held = self._told.get(patient, {})
        return next(((at, place) for place, at in held.items() if at is not None), None)

    def tell(self, patient: str, place: Place, at: tuple[int, int] | None) -> None:
        held = self._told.setdefault(patient, {})
        if at is not None:
            for old in [each for each, when in held.items() if when is not None]:
                del held[old]
        held[place] = at
        named = self._patients.setdefault(place, [])
        if patient not in named:
            named.append(patient)

    def patients(self, place: Place) -> list[str]:
        return self._patients.get(place, [])


@dataclass(frozen=True, slots=True)
class Delivery:
    """A ``Route`` with the events themselves."""

    lanes: tuple[str, ...]
    event: Event
    joined: tuple[str, ...] = ()
    earlier: tuple[tuple[int, Event], ...] = ()
    placed: tuple[tuple[str, int, Event], ...] = ()  # had found no stay: each with the lane it is of
    is_ambiguous: bool = False  # it speaks of what several stays have
    beside: tuple[str, ...] = ()  # they are shown it


@dataclass(slots=True)
class Directory:
    """The rules over events in memory: what a run over files asks."""

    site: SiteProfile
    _numbers: Remembered = field(default_factory=Remembered)
    _said: dict[Place, Event] = field(default_factory=dict)

    def take(self, event: Event, seq: int) -> list[Delivery]:
        """Where each part of a message belongs. A part without lanes is about nobody known here (yet)."""
        return [self._part(part, seq) for part in parts(event)]

    def _part(self, event: Event, seq: int) -> Delivery:
        named = naming(event, self.site, self._name)
        found = route(self._numbers, named, seq)
        if not found.lanes or named.is_person:
            self._said[seq, named.part] = event
        earlier = tuple((place[0], self._said[place]) for place in found.earlier)
        placed = tuple((lane, place[0], self._said[place]) for lane, place in found.placed)
        return Delivery(found.lanes, event, found.joined, earlier, placed, bool(found.several), found.beside)

    def _name(self, kind: str, number: str, authority: str) -> str:
        """As people have it: a visit's number alone where it is the site's own, an account's as such."""
        if kind == ACCOUNT:
            return account_name(self.site.accounts.name(number, authority))
        return self.site.visits.name(number, authority) if kind == VISIT else number

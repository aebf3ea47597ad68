"""The results of one fact: every statement, by the time of its own, and what of it counts.

Results that have one value to each time, as nearly all have, cost one search each. Where a result has more to
it (a correction, a withdrawal, a time that is no moment) what was told is gone through again, and only then.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator, Mapping, Sequence
from operator import attrgetter
from typing import Any

from umbridge.interval import Interval
from umbridge.model import Reading
from umbridge.stay import results
from umbridge.stay.account import Account, Outcome
from umbridge.stay.clock import HOUR
from umbridge.stay.counted import counted, is_counted
from umbridge.stay.results import Look, in_order
from umbridge.stay.statements import FINAL, LOST, PRELIMINARY, Place, Result, again

_LOST_NUMBERS = 8  # of a statement that is no longer kept
_STAMP = attrgetter("stamp")
_APART = 48 * HOUR  # a statement so much later than a moment is about no value of that moment's days
_FINAL_THEN_NEWEST = attrgetter("kind", "sent", "seq", "part")
_Named = tuple[str, str, str, str]  # which result: report, service, code, sub-id
_Key = tuple[str, str, str, str, str]  # whose, and which


class _Group:
    """The statements about one result that are kept, by place, and when those were told that are not."""

    __slots__ = ("account", "is_early", "lost", "named", "newest", "patient", "slots")

    def __init__(self, named: _Named, patient: str) -> None:
        self.named = named
        self.patient = patient
        self.slots: dict[Place, list[Result]] = {}
        self.lost: dict[str, array[int]] = {}  # by patient
        self.is_early = False  # a preliminary value was told: a final of another time may be its own
        self.account: Account | None = None  # None while each time has one value and there is no more to it
        self.newest: tuple[int, ...] = ()  # the stamp of the last that the account was told

    def patients(self) -> set[str]:
        return {*self.lost, *(place[-1] for place in self.slots)}

    def statements(self) -> Iterator[Result]:
        for slot in self.slots.values():
            yield from slot
        for patient, numbers in self.lost.items():
            for n in range(0, len(numbers), _LOST_NUMBERS):
                at, first, last, nth, *told = numbers[n : n + _LOST_NUMBERS]
                kind, sent, seq, part = told
                named = (at, *self.named, first, last, nth, patient)
                yield Result(*named, kind, sent, seq, part, LOST, "", "")

    def lose(self, place: Place) -> list[Place]:
        """Keep of a place only what later statements need. Returns where else this changes something."""
        changed: list[Place] = []
        for stated in self.slots.pop(place):
            kept = self.lost.setdefault(stated.patient, array("q"))
            kept.extend([stated.at, *stated.name, *stated[9:13]])
            if self.account is not None:
                changed += self.account.lose(stated)
        return changed


class Kept:
    """The results of one window of a moment that is past, and what its reader made of them."""

    __slots__ = ("first", "last", "own", "results", "shown", "told_by")

    def __init__(self, first: int | None, last: int, told_by: int, own: str, results: list[Result]) -> None:
        self.first, self.last, self.told_by, self.own = first, last, told_by, own
        self.results = results
        self.shown: Reading | None = None


class ResultList:
    """The results of one fact.

    ``person`` says whose a patient key is now: the statements about one result of one person are taken
    together. ``withdrawn`` has the reports that are withdrawn whole, and the list sees what is added to it
    once it is told (``withdraw``).

    What is dropped from the middle is the value, not that it was told: when, and of which moment, is kept in
    64 bytes (some hundreds where the result has corrections). So a correction of a value that is no longer
    kept finds it, and is never taken for one of another value; what it says is kept by its own time.
    """

    __slots__ = (
        "_groups",
        "_has_ties",
        "_kept",
        "_looks",
        "_person",
        "_persons",
        "_places",
        "_results",
        "_stale",
        "_unread",
        "_unsure",
        "_withdrawn",
        "has_bounds",
    )

    def __init__(
        self,
        person: Callable[[str], str] = str,
        withdrawn: Mapping[tuple[str, ...], Sequence[Result]] | None = None,
    ) -> None:
        self._has_ties = False  # whether any two have one time
        self.has_bounds = False  # whether any result was one: then the window has to be gone through
        self._places: list[Place] = []
        self._results: list[Result] = []
        self._looks: dict[object, Look] = {}
        self._person = person
        self._kept: dict[str, Kept] = {}  # looks at moments that are past, by window
        self._persons: dict[str, str] = {}  # whose each patient key was when the groups were made
        self._withdrawn = {} if withdrawn is None else withdrawn
        for its in self._withdrawn.values():
            for each in its:
                self._persons[each.patient] = each.patient
        self._groups: dict[_Key, _Group] = {}
        self._stale: dict[_Key, _Group] = {}
        self._unsure: dict[_Key, _Group] = {}
        self._unread: dict[_Key, _Group] = {}

    def look(
        self,
        kind: object,
        first: int | None,
        last: int,
        own: str,
        is_own: Callable[[str], bool],
        rank: Callable[[Result], Any] | None,
        kept: int,
    ) -> Look | None:
        """The usable results from ``first`` to ``last``, summed up; None where there are none.

        ``kind`` names a window that asks with one ``rank`` and ``kept`` each time; ``own`` is all that
        ``is_own`` goes by.
        """
        self.settle()
        places, look = self._places, self._looks.get(kind)
        # The usual ends are tried first: a search walks through memory that a long list has long left cold.
        if first is None or not places or first <= places[0][0]:
            low = 0
        elif look is not None and look.begins(places, first):
            low = look.begin
        else:
            low = bisect_left(places, (first,))
        high = len(places) if places and places[-1][0] <= last else bisect_right(places, (last + 1,))
        if look is None or look.own != own or not look.can_reach(low, high):
            look = self._looks[kind] = Look(own, rank, kept)
        look.reach(self._results, low, high, first, is_own)
        return look if look.newest else None

    def kept(self, name: str, first: int | None, last: int, told_by: int, own: str) -> Kept:
        """The window called ``name``, of a moment that is past: gone through once, until it may differ.

        Its results are in the order of time; those that do not count have no value. ``own`` as in ``look``.
        """
        self.settle()
        kept = self._kept.get(name)
        if kept is None or (kept.first, kept.last, kept.told_by, kept.own) != (first, last, told_by, own):
            kept = self._kept[name] = Kept(first, last, told_by, own, self._counted(first, last, told_by))
        return kept

    def _counted(self, first: int | None, last: int, told_by: int) -> list[Result]:
        found: list[Result] = []
        for key, group in self._groups.items():
            if group.account is not None:
                found += counted(self._told(key, group), bool(key[1]), told_by)
            else:
                slots = (slot for slot in group.slots.values() if is_counted(slot, told_by))
                found += [max(slot, key=_FINAL_THEN_NEWEST) for slot in slots]
        return in_order([each for each in found if (first is None or first <= each.at) and each.at <= last])

    def told(self) -> Iterator[tuple[list[Result], bool]]:
        """All that was said about each result, in the order told, and whether a report names it."""
        self.settle()
        return ((self._told(key, group), bool(key[1])) for key, group in self._groups.items())

    def _spoil(self, stated: Result, group: _Group | None) -> None:
        """Look again at past moments for which a statement may count, or of whose values it may say more."""
        is_again = group is not None and stated.place in group.slots
        is_new = stated.kind <= FINAL and stated.is_plain and not is_again
        for name, its in list(self._kept.items()):
            is_apart = group is None or group.account is None or stated.at > its.last + _APART
            if stated.sent <= its.told_by or not (is_new and is_apart):
                del self._kept[name]

    def add(self, stated: Result) -> None:
        """Take in one statement, whenever it was told. The same again changes nothing."""
        self.has_bounds = self.has_bounds or isinstance(stated.value, Interval)
        patient = stated.patient
        person = self._persons.setdefault(patient, patient)  # whose it is, is asked when somebody looks
        key = (person, *stated.named)
        group = self._groups.get(key)
        if self._kept:
            self._spoil(stated, group)
        if group is None:
            group = self._groups[key] = _Group(stated.named, patient)
            if stated[1:3] in self._withdrawn:
                self._open(key, group)
            elif not stated.is_plain:
                group.account = Account(has_report=bool(stated.report))
        place = stated.place
        slot = group.slots.get(place)
        if slot is None:
            group.slots[place] = [stated]
        else:
            count = len(slot)
            if again(slot, stated):
                return
            if len(slot) == count and group.account is not None:
                self._open(key, group)
        if stated.kind == PRELIMINARY and stated.report:
            group.is_early = True
        account = group.account
        is_one = not group.is_early or (len(group.slots) == 1 and not group.lost)
        if account is None and stated.is_plain and patient == group.patient and is_one:  # nearly always
            if slot is None:
                self._insert(place, stated)
            else:
                self._publish(place, max(slot, key=_FINAL_THEN_NEWEST))
            return
        if account is None:
            account = self._open(key, group)
        changed = self._tell(key, group, stated)
        if slot is None:
            self._insert(place, account.at(place))
        for each in changed:
            self._publish(each, account.at(each))

    def withdraw(self, withdrawal: Result) -> None:
        """No result of this report and service counts that was told before. ``withdrawn`` has it already."""
        self._persons.setdefault(withdrawal.patient, withdrawal.patient)
        self._kept.clear()
        for key, group in self._groups.items():
            if key[1:3] == withdrawal[1:3]:
                self._open(key, group)

    def settle(self) -> None:
        """Bring in what came later than it was told, and follow who is who."""
        if len(self._persons) > 1:
            self._regroup()
        for key, group in self._stale.items():
            self._refold(key, group)
        self._stale.clear()

    def exceptions(self, is_own: Callable[[str], bool]) -> Iterator[str]:
        """What a person has to look at among the results of these patients, as codes of exceptions."""
        self.settle()
        if self._unsure and any(is_own(group.patient) for group in self._unsure.values()):
            yield "CORRECTION_AMBIGUOUS"
        if not self._unread:
            return
        accounts = [group.account for group in self._unread.values() if is_own(group.patient)]
        newest = next(
            (e.at for e in reversed(self._results) if e.value is not None and is_own(e.patient)), None
        )
        if any(account is not None and account.unread.matter(newest) for account in accounts):
            yield "RESULT_UNREAD"

    def outcomes(self) -> Iterator[tuple[Result, Outcome]]:
        """Each value that was stated and is kept, and what has become of it: exactly one thing."""
        self.settle()
        for group in self._groups.values():
            if group.account is None:
                told = {id(max(slot, key=_FINAL_THEN_NEWEST)) for slot in group.slots.values()}
                found: dict[int, Outcome] = dict.fromkeys(told, "in_force")
            else:
                found = {id(each): outcome for each, outcome in group.account.outcomes()}
            for slot in group.slots.values():
                for each in slot:
                    if each.value is not None:
                        yield each, found.get(id(each), "superseded")

    def _open(self, key: _Key, group: _Group) -> Account:
        """Go by what was told after what: there is more to this result than one value at each time."""
        group.account = group.account or Account(has_report=bool(key[1]))
        self._stale[key] = group
        return group.account

    def _tell(self, key: _Key, group: _Group, stated: Result) -> list[Place]:
        if group.account is None or key in self._stale:
            return []
        if stated.stamp < group.newest:
            self._stale[key] = group
            return []
        group.newest = stated.stamp
        changed = group.account.tell(stated)
        self._mark(key, group)
        return changed

    def _refold(self, key: _Key, group: _Group) -> None:
        account = group.account = Account(has_report=bool(key[1]))
        told = self._told(key, group)
        for stated in told:
            account.tell(stated)
        group.newest = told[-1].stamp
        for place in group.slots:
            self._publish(place, account.at(place))
        self._mark(key, group)

    def _told(self, key: _Key, group: _Group) -> list[Result]:
        """All that was said about one result, in the order told."""
        whose, reports = self._person(group.patient), self._withdrawn.get(key[1:3], ())
        told = [each for each in reports if self._person(each.patient) == whose]
        return sorted([*told, *group.statements()], key=_STAMP)

    def _mark(self, key: _Key, group: _Group) -> None:
        if group.account is not None and group.account.unsure:
            self._unsure[key] = group
        else:
            self._unsure.pop(key, None)
        if group.account is not None and group.account.unread:
            self._unread[key] = group
        else:
            self._unread.pop(key, None)

    def _regroup(self) -> None:
        """Take together again whose patient keys have become one person's, or are no longer."""
        persons = {patient: self._person(patient) for patient in self._persons}
        if persons == self._persons:
            return
        before, self._groups, self._persons = self._groups, {}, persons
        for kept in (self._stale, self._unsure, self._unread, self._kept):
            kept.clear()
        for old in before.values():
            named = old.named
            for patient in old.patients():
                key = (persons[patient], *named)
                group = self._groups.get(key)
                if group is None:
                    group = self._groups[key] = _Group(named, patient)
                group.is_early = group.is_early or old.is_early
                group.slots |= {place: its for place, its in old.slots.items() if place[-1] == patient}
                if patient in old.lost:
                    group.lost[patient] = old.lost[patient]
                self._open(key, group)

    def _publish(self, place: Place, result: Result | None) -> None:
        """Let this be what counts at a place, where that is kept."""
        index = bisect_left(self._places, place)
        if index == len(self._places) or self._places[index] != place:
            return
        held = self._results[index]
        if result is None or result.value is None:
            result = _nothing(place)
        if result != held:
            self._results[index] = result
            self._looks.clear()

    def _insert(self, place: Place, result: Result | None) -> None:
        places = self._places
        index = len(places)
        if places and place <= places[-1]:
            index = bisect_left(places, place)
            self._looks.clear()
        shown = _nothing(place) if result is None or result.value is None else result
        if places and (
            places[index - 1][0] == place[0] or places[min(index, len(places) - 1)][0] == place[0]
        ):
            self._has_ties = True
            if self._is_told_before(index, shown):
                self._looks.clear()
        places.insert(index, place)
        self._results.insert(index, shown)
        if len(places) <= results.FIRST_KEPT + results.NEWEST_KEPT:
            return
        gone, lost = self._results[results.FIRST_KEPT], places[results.FIRST_KEPT]
        del places[results.FIRST_KEPT], self._results[results.FIRST_KEPT]
        if places[results.FIRST_KEPT][0] == lost[0]:  # which of one time a look holds is another order
            self._looks.clear()
        for kind in [kind for kind, look in self._looks.items() if not look.forget(gone)]:
            del self._looks[kind]
        key = (self._persons[lost[-1]], *lost[1:5])
        group = self._groups[key]
        for each in group.lose(lost):
            self._publish(each, None if group.account is None else group.account.at(each))
        self._mark(key, group)

    def _is_told_before(self, index: int, result: Result) -> bool:
        """Whether any of those of one time that stand before a place was told after what comes there."""
        while index and self._places[index - 1][0] == result.at:
            index -= 1
            if self._results[index].order > result.order:
                return True
        return False

    def forget_looks(self) -> None:
        """Whose results count has changed: look afresh."""
        self._looks.clear()
        self._kept.clear()

    def between(self, first: int | None, last: int) -> list[Result]:
        """All from ``first`` to ``last``, both included, oldest first; what does not count has no value."""
        self.settle()
        low = 0 if first is None else bisect_left(self._places, (first,))
        found = self._results[low : bisect_right(self._places, (last + 1,))]
        return in_order(found) if self._has_ties else found

    def __iter__(self) -> Iterator[Result]:
        self.settle()
        return iter(in_order(self._results))

    def __len__(self) -> int:
        return len(self._results)


def _nothing(place: Place) -> Result:
    """A place at which nothing counts."""
    return Result(*place, 0, 0, 0, 0, None, "", "")

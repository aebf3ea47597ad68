"""The results of one fact: every statement, by the time of its own, and what of it counts.

Results that have one value to each time, as nearly all have, cost one search each. Where a result has more to
it (a correction, a withdrawal, a time that is no moment) what was told is gone through again, and only then.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator
from functools import partial
from operator import attrgetter
from typing import Any

from umbridge.interval import Interval
from umbridge.stay import results
from umbridge.stay.account import Outcome
from umbridge.stay.clock import HOUR
from umbridge.stay.counted import FINAL_THEN_NEWEST, changed, every, outcomes
from umbridge.stay.kinship import Kinship
from umbridge.stay.likeness import Told
from umbridge.stay.results import Kept, Look, in_order
from umbridge.stay.statements import EVER, FINAL, PRELIMINARY, Place, Result, again, nothing
from umbridge.stay.thread import Group, Thread, join
from umbridge.stay.unfound import UNFOUND, Marks, in_question

_STAMP = attrgetter("stamp")
_APART = 48 * HOUR  # a statement so much later than a moment is about no value of that moment's days
_Key = tuple[str, str, str, str, str]  # whose, and which


class ResultList:
    """The results of one fact.

    ``person`` says whose a patient key is now: the statements about one result of one person are taken
    together. ``told`` has what the stay's messages say of reports, and which are withdrawn whole; the list
    sees what is added to it when somebody looks, and a withdrawal once it is told (``withdraw``).

    What is dropped from the middle is the value, not that it was told: when, and of which moment, is kept in
    64 bytes (some hundreds where the result has corrections). So a correction of a value that is no longer
    kept finds it, and is never taken for one of another value; what it says is kept by its own time.
    """

    __slots__ = (
        *("_groups", "_has_ties", "_kept", "_kinship", "_looks", "_marks"),
        *("_person", "_persons", "_places", "_results", "_services", "_stale", "_told"),
        *("has_bounds", "has_changes"),
    )

    def __init__(
        self,
        person: Callable[[str], str] = str,
        told: Told | None = None,
    ) -> None:
        self._has_ties = False  # whether any two have one time
        self.has_bounds = False  # whether any result was one: then the window has to be gone through
        self.has_changes = False  # whether more was ever told than one value of each time
        self._places: list[Place] = []
        self._results: list[Result] = []
        self._looks: dict[object, Look] = {}
        self._person = person
        self._kept: dict[str, Kept] = {}  # looks at moments that are past, by window
        self._persons: dict[str, str] = {}  # whose each patient key was when the groups were made
        self._told = Told(person) if told is None else told
        for its in self._told.withdrawn.values():
            for each in its:
                self._persons[each.patient] = each.patient
        self._groups: dict[_Key, Group] = {}
        self._stale: dict[Thread, None] = {}
        self._marks = Marks()
        self._services: dict[str, None] = {}  # of the reports that have such results
        self._kinship = Kinship(self._told, self._persons)

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
        look.reach(self._results, low, high, first, is_own, has_ties=self._has_ties)
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

    def changed(self, kept: Kept) -> list[Result]:
        """What counted in a window by what was known at its moment, and is another now, or gone."""
        if kept.changed is None:
            known = self._counted(kept.first, kept.last, kept.told_by, kept.told_by)
            kept.changed = changed(known, kept.results)
        return kept.changed

    def _counted(self, first: int | None, last: int, told_by: int, known: int = EVER) -> list[Result]:
        found = every(self._groups.values(), self._told, self._all_of, told_by, known)
        return in_order([each for each in found if (first is None or first <= each.at) and each.at <= last])

    def told(self) -> Iterator[tuple[list[Result], Callable[[], Thread]]]:
        """All that was said about results that may be one, in the order told, and what to tell it to."""
        self.settle()
        threads = dict.fromkeys(
            group.thread or Thread(self._told, [group]) for group in self._groups.values()
        )
        return ((self._all_of(each), partial(Thread, self._told, each.groups)) for each in threads)

    def _spoil(self, stated: Result, group: Group | None) -> None:
        """Look again at past moments for which a statement may count, or of whose values it may say more."""
        is_again = group is not None and stated.place in group.slots
        is_new = stated.kind <= FINAL and stated.is_plain and not is_again
        for name, its in list(self._kept.items()):
            is_apart = group is None or group.thread is None or stated.at > its.last + _APART
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
            group = self._groups[key] = Group(stated.named, patient)
            self._services[stated.service] = None
            if self._kinship.enter(group) or self._told.withdrawn:
                self._relate(group)
            if group.thread is None and not stated.is_plain:
                group.thread = Thread(self._told, [group])
        if stated.kind > FINAL:
            if group.is_far(stated) and (not group.is_reaching or group.is_wide(stated)):
                self._kinship.reach(group, stated)
                self._relate(group)
        elif stated.kind and stated.sent < group.since:
            group.since = stated.sent
        place = stated.place
        slot = group.slots.get(place)
        if slot is None:
            group.slots[place] = [stated]
            if self._kinship.is_met(stated):
                self._relate(group)
        else:
            count = len(slot)
            if again(slot, stated):
                return
            if len(slot) == count and group.thread is not None:
                self._open(group)
        if stated.kind == PRELIMINARY and stated.report:
            group.is_early = True
        thread = group.thread
        is_one = not group.is_early or (len(group.slots) == 1 and not group.lost)
        if thread is None and stated.is_plain and patient == group.patient and is_one:  # nearly always
            if slot is None:
                self._insert(place, stated)
            else:
                self.has_changes = True
                self._publish(place, max(slot, key=FINAL_THEN_NEWEST))
            return
        self.has_changes = True
        if thread is None:
            thread = self._open(group)
        changed = self._tell(thread, stated)
        if slot is None:
            self._insert(place, thread.at(place))
        for each in changed:
            self._publish(each, thread.at(each))

    def withdraw(self, withdrawal: Result) -> None:
        """No result of this report and service counts that was told before. ``told`` has it already."""
        self._persons.setdefault(withdrawal.patient, withdrawal.patient)
        self._kept.clear()
        for group in self._kinship.under(withdrawal.report, withdrawal.patient):
            if self._told.is_withdrawn(withdrawal, [group.named], group.patient) is not None:
                self._open(group)

    def settle(self) -> None:
        """Bring in what came later than it was told, and follow who is who and what was told together."""
        if len(self._persons) > 1:
            self._regroup()
        if self._kinship.has_news():
            for group in self._kinship.news():
                self._relate(group)
                if group.thread is not None and (len(group.thread.groups) > 1 or self._told.withdrawn):
                    self._open(group)
        if self._stale:
            for thread in self._stale:
                self._refold(thread)
            self._stale.clear()

    def exceptions(self, is_own: Callable[[str], bool]) -> list[str]:
        """What a person has to look at among the results of these patients, as codes of exceptions."""
        self.settle()
        if not self._marks.is_any and not self._told.strange():  # nearly always
            return []
        found = ["CORRECTION_AMBIGUOUS"] if any(is_own(each.patient) for each in self._marks.unsure) else []
        found += [UNFOUND] if any(self.in_question(is_own)) else []
        return [*found, "RESULT_UNREAD"] if self.unread(is_own) else found

    def in_question(self, is_own: Callable[[str], bool]) -> Iterator[tuple[Result, Result]]:
        """Corrections and withdrawals that found nothing, each with every value in force that it may mean."""
        self.settle()
        return in_question(self._told, self._marks, self._services, self._results, is_own)

    def unfound(self) -> Iterator[Result]:
        """The corrections and withdrawals that found no result which they could mean."""
        self.settle()
        return (each for thread in self._marks.unfound for each in thread.unfound)

    def doubted(self, is_own: Callable[[str], bool]) -> list[Result]:
        """What was told of these patients and may be corrected or withdrawn: nobody knows."""
        self.settle()
        return [each for thread in self._marks.unsure if is_own(thread.patient) for each in thread.doubted]

    def unread(self, is_own: Callable[[str], bool]) -> list[Result]:
        """What came in about these patients, cannot be read, and may matter."""
        self.settle()
        marked = self._marks.unread
        if not marked:
            return []
        unread = [each for thread in marked if is_own(thread.patient) for each in thread.unread]
        usable = (e.at for e in reversed(self._results) if e.value is not None and is_own(e.patient))
        newest = next(usable, None)
        return [stated for each in unread for stated in each.that_matter(newest)]

    def outcomes(self) -> Iterator[tuple[Result, Outcome]]:
        """Each value that was stated and is kept, and what has become of it: exactly one thing."""
        self.settle()
        return outcomes(self._groups.values())

    # -- which belong together -------------------------------------------------------------------------

    def _relate(self, group: Group) -> None:
        """Take a group together with those that it may be one with, and with withdrawals of its report."""
        kin = self._kinship.of(group)
        if kin:
            self.has_changes = True
            self._kept.clear()
            is_new = not group.slots and all(each.thread is not None for each in kin)
            thread, gone = join(self._told, [group, *kin])
            for each in gone:
                self._stale.pop(each, None)
                self._marks.drop(each)
            if gone or not is_new:
                self._stale[thread] = None
        if (
            self._told.withdrawn
            and next(self._told.withdrawals(group.named, group.patient), None) is not None
        ):
            self._open(group)

    # -- what they come to -----------------------------------------------------------------------------

    def _open(self, group: Group) -> Thread:
        """Go by what was told after what: there is more to this result than one value at each time."""
        thread = group.thread = group.thread or Thread(self._told, [group])
        self._stale[thread] = None
        self.has_changes = True
        return thread

    def _tell(self, thread: Thread, stated: Result) -> list[Place]:
        if thread in self._stale:
            return []
        if stated.stamp < thread.newest:
            self._stale[thread] = None
            return []
        changed = thread.tell(stated)
        self._marks.mark(thread)
        return changed

    def _refold(self, thread: Thread) -> None:
        thread.clear()
        for stated in self._all_of(thread):
            thread.tell(stated)
        for group in thread.groups:
            for place in group.slots:
                self._publish(place, thread.at(place))
        self._marks.mark(thread)

    def _all_of(self, thread: Thread) -> list[Result]:
        """All that was said about the results of one thread, in the order told."""
        told: dict[int, Result] = {}
        for group in thread.groups:
            if self._told.withdrawn:
                told.update((id(each), each) for each in self._told.withdrawals(group.named, group.patient))
            told.update((id(each), each) for each in group.statements())
        return sorted(told.values(), key=_STAMP)

    def _regroup(self) -> None:
        """Take together again whose patient keys have become one person's, or are no longer."""
        persons = {patient: self._person(patient) for patient in self._persons}
        if persons == self._persons:
            return
        before, self._groups, self._persons = self._groups, {}, persons
        for kept in (self._stale, self._marks, self._kept):
            kept.clear()
        for old in before.values():
            named = old.named
            for patient in old.patients():
                key = (persons[patient], *named)
                group = self._groups.get(key)
                if group is None:
                    group = self._groups[key] = Group(named, patient)
                group.is_early = group.is_early or old.is_early
                group.slots |= {place: its for place, its in old.slots.items() if place[-1] == patient}
                if patient in old.lost:
                    group.lost[patient] = old.lost[patient]
                self._open(group)
        for group in self._groups.values():
            group.look_back()
        self._kinship = Kinship(self._told, persons, self._groups.values())
        for group in self._groups.values():
            self._relate(group)

    def _publish(self, place: Place, result: Result | None) -> None:
        """Let this be what counts at a place, where that is kept."""
        index = bisect_left(self._places, place)
        if index == len(self._places) or self._places[index] != place:
            return
        held = self._results[index]
        if result is None or result.value is None:
            result = nothing(place)
        if result != held:
            self._results[index] = result
            self._looks.clear()

    def _insert(self, place: Place, result: Result | None) -> None:
        places = self._places
        index = len(places)
        if places and place <= places[-1]:
            index = bisect_left(places, place)
            self._looks.clear()
        shown = nothing(place) if result is None or result.value is None else result
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
        self._looks = {kind: look for kind, look in self._looks.items() if look.forget(gone)}
        key = (self._persons[lost[-1]], *lost[1:5])
        group = self._groups[key]
        changed, thread = group.lose(lost), group.thread
        if thread is not None:
            for each in changed:
                self._publish(each, thread.at(each))
            self._marks.mark(thread)

    def _is_told_before(self, index: int, result: Result) -> bool:
        """Whether any of those of one time that stand before a place was told after what comes there."""
        while index and self._places[index - 1][0] == result.at:
            index -= 1
            if self._results[index].order > result.order:
                return True
        return False

    def forget_looks(self) -> None:
        """Whose results count has changed: look afresh."""
        self._told.forget()
        self._kinship.forget()
        self._looks.clear()
        self._kept.clear()

    def between(self, first: int | None, last: int) -> list[Result]:
        """All from ``first`` to ``last``, both included, oldest first; what does not count has no value."""
        self.settle()
        low = 0 if first is None else bisect_left(self._places, (first,))
        found = self._results[low : bisect_right(self._places, (last + 1,))]
        return in_order(found) if self._has_ties else found

    def count(self, first: int | None, last: int) -> int:
        """How many are kept from ``first`` to ``last``, both included, whether or not they count."""
        low = 0 if first is None else bisect_left(self._places, (first,))
        return bisect_right(self._places, (last + 1,)) - low

    def __iter__(self) -> Iterator[Result]:
        self.settle()
        return iter(in_order(self._results))

    def __len__(self) -> int:
        return len(self._results)

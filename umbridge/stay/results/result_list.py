"""The results of one fact: every statement, by the time of its own, and what of it counts.

Results that have one value to each time, as nearly all have, cost one search each. Where a result has more to
it (a correction, a withdrawal, a time that is no moment) what was told is gone through again, and only then.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from operator import attrgetter
from typing import Final

from umbridge.stay.clock import HOUR
from umbridge.stay.results.account import Outcome
from umbridge.stay.results.by_time import Kept, in_order
from umbridge.stay.results.counted import FINAL_THEN_NEWEST, changed, every, outcomes
from umbridge.stay.results.kinship import Kinship
from umbridge.stay.results.likeness import Told
from umbridge.stay.results.placed import Placed
from umbridge.stay.results.statements import EVER, FINAL, PRELIMINARY, Place, Result, again
from umbridge.stay.results.thread import Group, Thread, join
from umbridge.stay.results.unfound import UNFOUND, Marks, in_question
from umbridge.values.interval import Interval

_STAMP = attrgetter("stamp")
_APART = 48 * HOUR  # a statement so much later than a moment is about no value of that moment's days
_Key = tuple[str, str, str, str, str]  # whose, and which


#: What nearly every list has of these, as in ``kinship``: nobody writes here.
_NOT_LOOKED: Final[dict[str, Kept]] = {}
_NONE: Final[dict[Thread, None]] = {}


class ResultList(Placed):
    """The results of one fact.

    ``person`` says whose a patient key is now: the statements about one result of one person are taken
    together. ``told`` has what the stay's messages say of reports, and which are withdrawn whole; the list
    sees what is added to it when somebody looks, and a withdrawal once it is told (``withdraw``).

    What is dropped from the middle is the value, not that it was told: when, and of which moment, is kept in
    64 bytes (some hundreds where the result has corrections). So a correction of a value that is no longer
    kept finds it, and is never taken for one of another value; what it says is kept by its own time.
    """

    __slots__ = (
        *("_groups", "_kept", "_kinship", "_marks"),
        *("_person", "_persons", "_stale", "_told"),
        *("has_bounds", "has_changes", "lost"),
    )

    def __init__(
        self,
        person: Callable[[str], str] = str,
        told: Told | None = None,
    ) -> None:
        super().__init__()
        self.has_bounds = False  # whether any result was one: then the window has to be gone through
        self.has_changes = False  # whether more was ever told than one value of each time
        self._person = person
        self._kept = _NOT_LOOKED  # looks at moments that are past, by window
        self._persons: dict[str, str] = {}  # whose each patient key was when the groups were made
        self._told = Told(person) if told is None else told
        for its in self._told.withdrawn.values():
            for each in its:
                self._persons[each.patient] = each.patient
        self._groups: dict[_Key, Group] = {}
        self._stale = _NONE
        self._marks = Marks()
        self.lost: list[Result] = []  # what may correct one of these, by a code that nobody mapped
        self._kinship = Kinship(self._told, self._persons, self._found_at)

    def kept(self, name: str, first: int | None, last: int, told_by: int, own: str) -> Kept:
        """The window called ``name``, of a moment that is past: gone through once, until it may differ.

        Its results are in the order of time; those that do not count have no value. ``own`` as in ``look``.
        """
        self.settle()
        kept = self._kept.get(name)
        if kept is None or (kept.first, kept.last, kept.told_by, kept.own) != (first, last, told_by, own):
            self._kept = self._kept or {}
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
        if moments := self._kinship.mark(group, stated):
            self._meet(group, moments)
        if (stated.nth or group.has_beside(place)) and stated.kind <= FINAL and group.is_told_again(place):
            self._open(group)  # of values that are alike it tells all, or one
        if stated.kind == PRELIMINARY and stated.report:
            group.is_early = True
        thread = group.thread
        is_one = not group.is_early or (len(group.slots) == 1 and not group.lost)
        if thread is None and stated.is_plain and patient == group.patient and is_one:  # nearly always
            if slot is None:
                self._insert(place, stated)
            else:
                self.has_changes = True
                self.publish(place, max(slot, key=FINAL_THEN_NEWEST))
            return
        self.has_changes = True
        if thread is None:
            thread = self._open(group)
        changed = self._tell(thread, stated)
        if slot is None:
            self._insert(place, thread.at(place))
        for each in changed:
            self.publish(each, thread.at(each))

    def withdraw(self, withdrawal: Result) -> None:
        """No result of this report and service counts that was told before. ``told`` has it already."""
        self._persons.setdefault(withdrawal.patient, withdrawal.patient)
        self._kept.clear()
        for group in self._kinship.under(withdrawal.report, withdrawal.patient):
            if self._told.is_withdrawn(withdrawal, [group.named], group.patient) is not None:
                self._open(group)
                self._meet(group, self._kinship.mark_all(group))

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
        told = self._told
        if not self._marks.is_any and not self.lost and not (told.withdrawn and told.strange()):
            return []  # nearly always
        found = ["CORRECTION_AMBIGUOUS"] if any(is_own(each.patient) for each in self._marks.unsure) else []
        found += [UNFOUND] if any(self.in_question(is_own)) else []
        return [*found, "RESULT_UNREAD"] if self.unread(is_own) else found

    def in_question(self, is_own: Callable[[str], bool]) -> Iterator[tuple[Result, Result]]:
        """Corrections and withdrawals that found nothing, each with every value in force that it may mean."""
        self.settle()
        services = {group.named[1] for group in self._groups.values()}
        return in_question(self._told, self._marks, services, self._results, is_own, self.lost)

    def has(self, report: str, code: str, patient: str) -> bool:
        """Whether a report has anything under a code."""
        its = (each.named for each in self._kinship.under(report, patient))
        return any(each[2] == code and self._told.is_report(each[0], report, patient) for each in its)

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

    def _found_at(self, moment: int) -> Iterator[Group]:
        """Those that have anything of a moment."""
        for place in self.at(moment):
            yield self._group_of(place)

    def _group_of(self, place: Place) -> Group:
        return self._groups[(self._persons[place[-1]], *place[1:5])]

    def _meet(self, group: Group, moments: Iterable[int]) -> None:
        """Take a group together with all that has to do with what was taken back of these moments."""
        kin = [
            each
            for moment in moments
            for each in self._kinship.met_at(moment, group)
            if each.thread is None or each.thread is not group.thread
        ]
        if kin:
            self._join(group, kin)

    def _join(self, group: Group, kin: list[Group], *, is_new: bool = False) -> None:
        """``is_new``: nothing was told to the group yet, nor kept from the thread of the others."""
        self.has_changes = True
        self._kept.clear()
        thread, gone = join(self._told, [group, *kin])
        for each in gone:
            self._stale.pop(each, None)
            self._marks.drop(each)
        if gone or not is_new:
            self._set_stale(thread)

    def _relate(self, group: Group) -> None:
        """Take a group together with those that it may be one with, and with withdrawals of its report."""
        kin = self._kinship.of(group)
        if kin:
            is_new = not group.slots and all(each.thread is not None for each in kin)
            self._join(group, kin, is_new=is_new)
            for each in (group, *kin):
                self._meet(each, self._kinship.mark_all(each))
        if self._is_withdrawn(group):
            self._open(group)
            self._meet(group, self._kinship.mark_all(group))

    def _is_withdrawn(self, group: Group) -> bool:
        told = self._told
        return bool(told.withdrawn) and any(True for _ in told.withdrawals(group.named, group.patient))

    # -- what they come to -----------------------------------------------------------------------------

    def _open(self, group: Group) -> Thread:
        """Go by what was told after what: there is more to this result than one value at each time."""
        thread = group.thread = group.thread or Thread(self._told, [group])
        self._set_stale(thread)
        self.has_changes = True
        return thread

    def _set_stale(self, thread: Thread) -> None:
        self._stale = self._stale or {}
        self._stale[thread] = None

    def _tell(self, thread: Thread, stated: Result) -> list[Place]:
        if thread in self._stale:
            return []
        if stated.stamp < thread.newest:
            self._set_stale(thread)
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
                self.publish(place, thread.at(place))
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
                    group.lost = group.lost or {}
                    group.lost[patient] = old.lost[patient]
                self._open(group)
        for group in self._groups.values():
            group.look_back()
        self._kinship = Kinship(self._told, persons, self._found_at, self._groups.values())
        for group in self._groups.values():
            self._relate(group)
            for stated in group.statements():
                self._meet(group, self._kinship.mark(group, stated))

    def _insert(self, place: Place, result: Result | None) -> None:
        lost = self.insert(place, result)
        if lost is None:
            return
        group = self._group_of(lost)
        changed, thread = group.lose(lost), group.thread
        self._kinship.has_lost = True
        if thread is not None:
            for each in changed:
                self.publish(each, thread.at(each))
            self._marks.mark(thread)

    def forget_looks(self) -> None:
        """Whose results count has changed: look afresh."""
        self._told.forget()
        self._kinship.forget()
        self._looks.clear()
        self._kept.clear()

    def __iter__(self) -> Iterator[Result]:
        self.settle()
        return iter(in_order(self._results))

    def __len__(self) -> int:
        return len(self._results)

"""What was told under names that may be of one result: which statement is about which, in the order told.

Most results have one name, and one account. Where a sender spells a name otherwise the account is the one
that the name must mean; a correction that may mean several leaves a doubt on each of them, and on itself.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Sequence
from typing import Final

from umbridge.stay.results.account import Account, Outcome
from umbridge.stay.results.copies import Copies, Story
from umbridge.stay.results.likeness import Named, Told, base_of
from umbridge.stay.results.one_value import Value
from umbridge.stay.results.standing import When
from umbridge.stay.results.statements import (
    CORRECTED,
    EVER,
    FINAL,
    LOST,
    REPORT_WITHDRAWN,
    UNOBTAINABLE,
    UNREAD,
    WITHDRAWN,
    Name,
    Place,
    Result,
)
from umbridge.stay.results.unread import Unread

_LOST_NUMBERS = 8  # of a statement that is no longer kept


#: What nearly every group has lost, one for all of them: nobody writes here.
_NOTHING_LOST: Final[dict[str, array[int]]] = {}
NO_TIMES: Final[frozenset[int]] = frozenset()


class Group:
    """The statements under one name that are kept, by place, and when those were told that are not."""

    __slots__ = (
        "is_early",
        "is_marked",
        "is_reaching",
        "lost",
        "moments",
        "named",
        "patient",
        "since",
        "slots",
        "thread",
    )

    def __init__(self, named: Named, patient: str) -> None:
        self.named = named
        self.patient = patient
        self.slots: dict[Place, list[Result]] = {}
        self.lost = _NOTHING_LOST  # by patient
        self.is_early = False  # a preliminary value was told: a final of another time may be its own
        self.since = EVER  # when a value was first told
        self.is_marked = False  # something of it was taken back, or may be: it has copies of its times
        self.is_reaching = False  # a correction came of which nothing was told before under this name
        #: The times of those that any other number of that time may be meant by.
        self.moments: set[int] | frozenset[int] = NO_TIMES
        self.thread: Thread | None = None  # None while each time has one value and there is no more to it

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

    def look_back(self) -> None:
        """Work out anew what was noted as statements came in: they are of other patients now."""
        said = list(self.statements())
        self.since = min((each.sent for each in said if UNREAD < each.kind <= FINAL), default=EVER)
        far = [each for each in said if self.is_far(each)]
        self.is_reaching = bool(far)
        self.moments = {each.first for each in far if self.is_wide(each)}

    def is_far(self, stated: Result) -> bool:
        """Whether a correction may mean another name: nothing was told before under its own."""
        return reaches(stated) and (stated.sent < self.since or not stated.report)

    @staticmethod
    def is_wide(stated: Result) -> bool:
        """Whether its time alone may name the value: it says that there was one."""
        is_moment = stated.first == stated.last
        return is_moment and stated.report != "" and stated.kind in (CORRECTED, WITHDRAWN)

    def times(self) -> set[int]:
        """The moments of which anything was told, kept or not."""
        kept = {place[5] for place in self.slots}
        lost = (numbers[n] for numbers in self.lost.values() for n in range(1, len(numbers), _LOST_NUMBERS))
        return kept.union(lost)

    def has_beside(self, place: Place) -> bool:
        """Whether a message has another value that differs in nothing but its place there."""
        return (*place[:7], place[7] + 1, place[8]) in self.slots

    def is_told_again(self, place: Place) -> bool:
        """Whether more than one message told of a value and those that are alike."""
        seqs: set[int] = set()
        nth = 0
        while (slot := self.slots.get((*place[:7], nth, place[8]))) is not None:
            seqs.update(each.seq for each in slot)
            nth += 1
        return len(seqs) > 1

    def alike(self, stated: Result) -> int:
        """How many values its message tells that differ from it in nothing but their place there."""
        if any(stated.seq in numbers[6::_LOST_NUMBERS] for numbers in self.lost.values()):
            return 1 << 30  # not all of it is kept
        place, found, nth = stated.place, 0, 0
        while (slot := self.slots.get((*place[:7], nth, place[8]))) is not None:
            found += any(each.seq == stated.seq for each in slot)
            nth += 1
        return found

    def has_lost(self, moment: int) -> bool:
        """Whether anything of a moment is no longer kept."""
        return any(moment in numbers[1::_LOST_NUMBERS] for numbers in self.lost.values())

    def lose(self, place: Place) -> list[Place]:
        """Keep of a place only what later statements need. Returns where else this changes something."""
        changed: list[Place] = []
        self.lost = self.lost or {}
        for stated in self.slots.pop(place):
            kept = self.lost.setdefault(stated.patient, array("q"))
            kept.extend([stated.at, *stated.name, *stated[9:13]])
            if self.thread is not None:
                changed += self.thread.lose(stated)
        return changed


def reaches(stated: Result) -> bool:
    """Whether it may mean what was told under another name. X of a monitor means its own moment only."""
    return stated.kind in (CORRECTED, WITHDRAWN) or (stated.kind == UNOBTAINABLE and stated.report != "")


class Thread:
    """The accounts of results whose names may be one's, told of one statement after the other."""

    __slots__ = (
        *("_by_base", "_by_name", "_meant", "_stories", "_told", "_unfound", "_unread", "_unsure"),
        *("groups", "newest", "patient", "shown"),
    )

    def __init__(self, told: Told, groups: Sequence[Group]) -> None:
        self._told = told
        self.groups = list(groups)
        self.patient = self.groups[0].patient
        self.clear()

    def clear(self) -> None:
        self.newest: tuple[int, ...] = ()  # the stamp of the last that was told
        self.shown: dict[Place, Value] = {}
        self._stories: list[Story] = []
        self._unsure: dict[Story, None] = {}
        self._unread: dict[Story, None] = {}
        self._unfound: dict[Story, None] = {}
        self._by_name: dict[Named, Story] = {}
        self._by_base: dict[str, dict[Story, None]] = {}
        #: What a correction under a name of its own meant, by name and time: told again it means the same.
        self._meant: dict[tuple[Named, Name], list[Story]] = {}

    def tell(self, stated: Result) -> list[Place]:
        """Take in what was told after all before it. Returns the places at which something changed."""
        self.newest = stated.stamp
        if stated.kind == REPORT_WITHDRAWN:
            return self._withdraw(stated) + self._follow(None, stated)
        if stated.kind == UNREAD and not stated.is_unread:
            return []  # nothing was said: it ties no names, either
        story = self._story(stated)
        if story is None:
            changed = self._doubt(stated)
        else:
            is_part = bool(story.account.several) and self._is_part(story, stated)
            changed = self._noted(story, story.account.tell(stated, is_part=is_part))
        return changed + self._follow(story, stated)

    def _is_part(self, story: Story, stated: Result) -> bool:
        """Whether its message has fewer values that are alike than were told before of their time."""
        most = story.account.several.get((stated.first, stated.last), 0)
        if not most or stated.kind > FINAL or stated.value is LOST:
            return False
        its = [group for group in self.groups if group.named == stated.named]
        return all(group.alike(stated) < most for group in its)

    def _follow(self, story: Story | None, stated: Result) -> list[Place]:
        """What it means for other names of one draw."""
        if len(self._stories) < 2:
            return []
        copies = Copies(self._told, self.patient, self._stories, self._is_beside)
        return [place for each, its in copies.follow(story, stated) for place in self._noted(each, its)]

    def _is_beside(self, one: Story, other: Story, when: When) -> bool:
        """Whether one message told of both, of a time or as a correction: then they are two."""
        return not self._messages(one, when).isdisjoint(self._messages(other, when))

    def _messages(self, story: Story, when: When) -> set[int]:
        its = (each for group in self.groups if group.named in story.names for each in group.statements())
        return {
            each.seq
            for each in its
            if each.kind != UNREAD
            and each.stamp <= self.newest
            and (each.kind > FINAL or (each.first, each.last) == when)
        }

    def _noted(self, story: Story, changed: list[Place]) -> list[Place]:
        account = story.account
        for held, has in (
            (self._unsure, account.unsure),
            (self._unread, account.unread),
            (self._unfound, account.unfound),
        ):
            if has:
                held[story] = None
            else:
                held.pop(story, None)
        return changed

    def at(self, place: Place) -> Result | None:
        """What counts at a place, None where nothing does."""
        value = self.shown.get(place)
        return None if value is None else value.shown()

    def lose(self, stated: Result) -> list[Place]:
        """Forget what a statement says that is no longer kept."""
        meant = self._meant.get((stated.named, stated.name))
        own = self._by_name.get(stated.named)
        stories = meant if meant is not None and len(meant) == 1 else [] if own is None else [own]
        return [place for each in stories for place in self._noted(each, each.account.lose(stated))]

    @property
    def values(self) -> Iterator[Value]:
        for story in self._stories:
            yield from story.account.values

    def final_of(self, value: Value) -> Value | None:
        """The final value that a preliminary one gave way to, under another number."""
        found = (story.account.gave_way.get(value) for story in self._stories)
        return next((final for final in found if final is not None), None)

    @property
    def unsure(self) -> bool:
        return bool(self._unsure)

    @property
    def unread(self) -> list[Unread]:
        return [story.account.unread for story in self._unread]

    @property
    def doubted(self) -> Iterator[Result]:
        return (each for story in self._unsure for each in story.account.doubted)

    @property
    def unfound(self) -> list[Result]:
        """The corrections and withdrawals that found nothing which they could mean."""
        return [each for story in self._unfound for each in story.account.unfound]

    def outcomes(self) -> Iterator[tuple[Result, Outcome]]:
        for story in self._stories:
            yield from story.account.outcomes()

    # -- which -----------------------------------------------------------------------------------------

    def _story(self, stated: Result) -> Story | None:
        """The result that a statement is about; None where it may be one of several."""
        named = stated.named
        story = self._by_name.get(named)
        if reaches(stated):
            meant = self._meant.get((named, stated.name))
            if meant is None and (story is None or not story.account.is_told(stated)):
                meant, is_sure = self._reached(stated)
                if meant and meant != [story]:
                    if not is_sure:
                        meant = [*meant, story or self._new(named)]
                    elif named not in meant[0].names and self._is_same(meant[0], named):
                        meant[0].names.append(named)  # so it is called now: what is not alike is another's
                    self._meant[named, stated.name] = meant
                else:
                    meant = None
            if meant is not None:
                return meant[0] if len(meant) == 1 else None
        if story is None:
            same = [each for each in self._nearby(named) if self._is_same(each, named)]
            if len(same) != 1 or same[0].account.has_beside(stated):
                return self._new(named)
            story = self._by_name[named] = same[0]
            story.names.append(named)
            self._index(story, named)
        elif len(story.names) > 1 and story.account.has_beside(stated):
            return self._new(named)  # one message has both names: they are two results
        return story

    def _new(self, named: Named) -> Story:
        story = self._by_name[named] = Story(Account(named[0] != "", self.shown), named)
        self._stories.append(story)
        self._index(story, named)
        return story

    def _index(self, story: Story, named: Named) -> None:
        self._by_base.setdefault(base_of(named[0]), {})[story] = None

    def _nearby(self, named: Named, *, on_its_order: bool = False) -> list[Story]:
        """The results of the reports that may be this one, and of others on its order if asked for."""
        if len(self._stories) < 2:
            return self._stories
        found: dict[Story, None] = {}
        for base in self._told.bases(named[0], self.patient, on_its_order=on_its_order):
            found.update(self._by_base.get(base, {}))
        return list(found)

    def _is_same(self, story: Story, named: Named) -> bool:
        return all(self._told.is_same(each, named, self.patient) for each in story.names)

    def _reached(self, stated: Result) -> tuple[list[Story], bool]:
        """Where nothing was told under its name: which results a correction may mean, and whether it is sure.

        Those that differ in what was not sent; those of its very time if there are any. Without a report's
        number only the time names a value. A report of another number may be the corrected one anew, or the
        original may not have come, and nobody knows: on the same order where the times can be one, on any
        where they are the same moment.
        """
        named, patient = stated.named, self.patient
        is_wide = Group.is_wide(stated)
        is_all = is_wide or not named[0]
        nearby = dict.fromkeys(self._stories if is_all else self._nearby(named, on_its_order=True))
        nearby.update(self._by_base.get("", {}))
        timed: list[Story] = []
        others: list[Story] = []
        siblings: list[Story] = []
        elsewhere: list[Story] = []
        is_sure = True  # where another name of it is no name of this one, what it was told of is not
        for story in nearby:
            told_of, is_timed = story.account.told_of(stated)
            if not told_of:
                continue
            near = [self._told.is_near(each, named, patient) for each in story.names]
            if any(near):
                (timed if is_timed else others).append(story)
                is_sure = is_sure and all(near)
            elif (is_timed or story.account.has_no_time(stated)) and any(
                self._told.is_sibling(each, named, patient) for each in story.names
            ):
                siblings.append(story)
            elif (is_wide and story.account.has_moment(stated)) and any(
                self._told.is_elsewhere(each, named, patient) for each in story.names
            ):
                elsewhere.append(story)
        is_named = named[0] != "" and all(each.names[0][0] for each in others)
        meant = timed or [*others, *siblings, *(() if others and is_named else elsewhere)]
        is_found = bool(timed) or (bool(others) and is_named and not siblings)
        return meant, len(meant) == 1 and is_found and is_sure

    def _doubt(self, stated: Result) -> list[Place]:
        """A correction that may mean one of several results, or another that never came."""
        *meant, own = self._meant[stated.named, stated.name]
        changed = [place for each in meant for place in each.account.doubt(stated)]
        changed += own.account.keep_in_doubt(stated)
        for each in (*meant, own):
            self._noted(each, [])
        return changed

    def _withdraw(self, withdrawal: Result) -> list[Place]:
        changed: list[Place] = []
        for story in self._stories:
            is_sure = self._told.is_withdrawn(withdrawal, story.names, self.patient)
            if is_sure is not None:
                account = story.account
                changed += account.tell(withdrawal) if is_sure else account.doubt(withdrawal)
                self._noted(story, [])
        return changed


def join(told: Told, groups: Sequence[Group]) -> tuple[Thread, list[Thread]]:
    """Let these be of one thread, the greatest of theirs. Returns it, and those that are no longer."""
    threads = {each.thread: None for each in groups if each.thread is not None}
    thread = max(threads, key=lambda each: len(each.groups), default=None) or Thread(told, groups[:1])
    gone = [each for each in threads if each is not thread]
    for group in (*groups, *(each for other in gone for each in other.groups)):
        if group.thread is not thread:
            if group not in thread.groups:
                thread.groups.append(group)
            group.thread = thread
    return thread, gone

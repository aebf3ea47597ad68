"""The events of a stay in the order in which they took effect, and the course they make when looked at.

Copies of the course are kept on the way, farther apart the older they are. What comes late is put in its
place, and only what follows it is folded again, once for any number of messages between two looks.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Sequence
from typing import NamedTuple

from umbridge.settings.site import SiteProfile
from umbridge.stay.course.happening import BACK, GONE, SHELL, Placed
from umbridge.stay.course.state import Course
from umbridge.stay.course.telling import Telling
from umbridge.stay.course.triggers import known, reopen, seen, step, take_back
from umbridge.stay.record import Key, Record, canonical, is_planned, same_patient

MARK_EVERY = 32


class _Mark(NamedTuple):
    """The state after so many statements. ``beside``: the course as it was before cancels took effect."""

    number: int
    course: Course
    beside: Course | None
    awaited: frozenset[Key]


def _key(placed: Placed) -> Key:
    return placed.key


def _told(record: Record) -> tuple[int, int, int]:
    return record.key[2:]


class Timeline:
    """One stay's ADT events and status orders. ``owner``: whose a patient's number is by now."""

    def __init__(self, site: SiteProfile, owner: Callable[[str], str]) -> None:
        self._site = site
        self._owner = owner
        self._records: list[Record] = []  # as they were told
        self._waiting: list[Record] = []  # since the last look
        self._first: Record | None = None  # the earliest that names a patient
        self._own: Record | None = None  # the earliest with a number of the site's own
        self._telling: Telling | None = None
        self._placed_for = ("", "")
        self._order: list[Placed] = []
        self._keys: list[Key] = []
        self._marks: list[_Mark] = []
        self._count = 0  # how many of them the course has
        self._course = Course()
        self._beside: Course | None = None
        self._awaited: frozenset[Key] = frozenset()
        self._is_restored = False  # the course is made; where its records stand is asked with the next
        self._now = 0  # planned orders of a later time wait for it
        self._planned = 0  # when the last of them takes effect
        self._written: bytes | None = None  # the course as a snapshot has it, until it changes

    # -- taking in -------------------------------------------------------------------------------------

    def add(self, records: Sequence[Record]) -> None:
        self._waiting += records
        self._name(records)

    def remove(self, gone: Sequence[Record]) -> None:
        """These are not what was said any more: a later statement has changed what an order does."""
        self._unrestore()
        held = self._records + self._waiting
        for record in gone:
            held.remove(record)
        self._first = self._own = None
        self._name(held)
        self._telling, self._records, self._waiting = None, [], held
        if not held:
            self.forget()

    def reach(self, now: int) -> int | None:
        """The course is to be that of an instant: an order that takes effect later waits until then. When
        the next one does."""
        since, until = sorted((self._now, now))
        if self._planned > since:
            self._settle()
            self._unrestore()
            self._now = now
            place = bisect_left(self._keys, (since + 1,))
            while place < len(self._keys) and self._keys[place][0] <= until:
                if self._is_planned(place):
                    self._from(place)
                    break
                place += 1
        self._now = now
        if self._planned <= now:
            return None
        first = bisect_left(self._keys, (now + 1,))
        return next((self._keys[n][0] for n in range(first, len(self._keys)) if self._is_planned(n)), None)

    def _is_planned(self, place: int) -> bool:
        return is_planned(self._order[place].record, self._keys[place], self._site)

    def restore(self, course: Course) -> None:
        """What waits has made this course."""
        self._records, self._waiting = sorted(self._waiting, key=_told), []
        self._course, self._now, self._written = course, course.reached, None
        self._placed_for, self._is_restored = self._whose(), True

    def forget(self) -> None:
        """A number stands for another patient than before: whose the records are is asked again."""
        self._telling = None
        self._marks, self._count, self._order, self._keys = [], 0, [], []
        self._course, self._beside, self._awaited = Course(), None, frozenset()
        self._written = None
        self._waiting, self._records = self._records + self._waiting, []
        self._is_restored = False

    @property
    def first(self) -> str:
        """The patient of the earliest record that names one."""
        return "" if self._first is None else self._first.patient

    @property
    def facility(self) -> str:
        """Where the stay began."""
        return self.course.facility

    @property
    def course(self) -> Course:
        self._settle()
        if self._count < len(self._order):
            self._fold()
        return self._course

    def written(self) -> bytes:
        """The course as a snapshot has it. Most messages bring results and leave it as it is."""
        course = self.course
        if self._written is None:
            self._written = canonical(course.state())
        return self._written

    def _settle(self) -> None:
        """Put what waits in its place."""
        if not self._waiting:
            return
        self._unrestore()
        fresh, self._waiting = sorted(self._waiting, key=_told), []
        is_next = not self._records or _told(self._records[-1]) < _told(fresh[0])
        if self._telling is None or not is_next or self._whose() != self._placed_for:
            self._records = sorted(self._records + fresh, key=_told)
            self._place_all(self._whose())
            return
        self._records += fresh
        for record in fresh:
            self._take(self._telling, record)

    def _unrestore(self) -> None:
        """Ask where the records stand that made the restored course."""
        if self._is_restored:
            self._is_restored = False
            course = self._course
            self._place_all(self._placed_for)
            self._course, self._count = course, len(self._order)
            self._marks = [_Mark(self._count, course.copied(), None, frozenset())] if self._count else []

    def _name(self, records: Sequence[Record]) -> None:
        for record in records:
            if record.at > self._planned and is_planned(record, record.key, self._site):
                self._planned = record.at
            if not record.patient:
                continue
            if self._first is None or record.key < self._first.key:
                self._first = record
            if "^" not in record.patient and (self._own is None or record.key < self._own.key):
                self._own = record

    def _whose(self) -> tuple[str, str]:
        first = "" if self._first is None else self._owner(self._first.patient)
        own = "" if self._own is None or "^" not in first else self._owner(self._own.patient)
        return first, own or first

    def _ours(self, record: Record) -> Record | None:
        patient = self._owner(record.patient)
        if record.trigger == "A29" and record.patient != patient:
            return None  # a number that was merged away and is now cleared up: nobody's stay any more
        if not all(same_patient(each, patient) for each in self._placed_for):
            return None
        return record if patient == record.patient else record._replace(patient=patient)

    def _place_all(self, whose: tuple[str, str]) -> None:
        """From scratch. What stands where it stood keeps the course that was made of it."""
        telling, self._placed_for = Telling(self._site), whose
        for record in self._records:
            ours = self._ours(record)
            if ours is not None:
                telling.take(ours)
        order = []
        for said in telling.statements:
            said.placed = telling.placed(said)
            order.append(said.placed)
        order.sort(key=_key)
        same = 0
        for old, new in zip(self._order, order, strict=False):
            if old != new:
                break
            same += 1
        self._telling, self._order = telling, order
        self._keys = [_key(placed) for placed in order]
        self._from(same)

    def _take(self, telling: Telling, record: Record) -> None:
        ours = self._ours(record)
        if ours is None:
            return
        for said in telling.take(ours):
            old, new = said.placed, telling.placed(said)
            if old == new:
                continue
            said.placed = new
            if old is not None:
                place = bisect_left(self._keys, old.key)
                self._from(place)
                del self._keys[place], self._order[place]
            last = len(self._keys)
            place = last if not last or self._keys[-1] < new.key else bisect_left(self._keys, new.key)
            self._from(place)
            self._keys.insert(place, new.key)
            self._order.insert(place, new)

    # -- folding ---------------------------------------------------------------------------------------

    def _from(self, place: int) -> None:
        """What stands at that place and after it has to be folded again."""
        if place >= self._count:
            return
        while self._marks and self._marks[-1].number > place:
            del self._marks[-1]
        mark = self._marks[-1] if self._marks else _Mark(0, Course(), None, frozenset())
        self._count, self._awaited = mark.number, mark.awaited
        self._course, self._written = mark.course.copied(), None
        self._beside = None if mark.beside is None else mark.beside.copied()

    def _fold(self) -> None:
        for number in range(self._count, len(self._order)):
            is_planned = self._is_planned(number)
            if is_planned and self._keys[number][0] > self._now:
                continue
            self._written = None
            self._step(self._order[number])
            if is_planned:
                self._course.reached = self._keys[number][0]
            count = number + 1
            if count - (self._marks[-1].number if self._marks else 0) >= MARK_EVERY:
                beside = None if self._beside is None else self._beside.copied()
                self._marks.append(_Mark(count, self._course.copied(), beside, self._awaited))
                self._thin()
        self._count = len(self._order)

    def _step(self, placed: Placed) -> None:
        """Beside the course goes, between an event and the cancel that took it back, the one that it made."""
        if placed.role == GONE and placed.by is not None:
            if self._beside is None:
                self._beside = self._beginning_beside()
            if placed.never_came:
                known(self._course, placed.record)
            else:
                reopen(self._course, placed)
                seen(self._course, placed.record)
            step(self._beside, self._site, placed)
            self._awaited |= {placed.by}
        elif placed.role in (BACK, SHELL):
            take_back(self._course, self._beside, self._site, placed, is_shell=placed.role == SHELL)
            self._awaited -= {placed.key}
            if not self._awaited:
                self._beside = None
            elif placed.role == SHELL:  # nothing is left of what others stand beside
                self._beside = self._beginning_beside()
        else:
            step(self._course, self._site, placed)
            if self._beside is not None and placed.key[2:] < max(key[2:] for key in self._awaited):
                step(self._beside, self._site, placed)  # it was said while that stood

    def _beginning_beside(self) -> Course:
        beside = self._course.copied()
        beside.voided = []  # what a cancel has voided since
        return beside

    def _thin(self) -> None:
        """Keep copies at distances that double from one to the next: late events are seldom very late."""
        newest = self._marks[-1].number + MARK_EVERY
        kept = [self._marks[-1]]
        for mark in reversed(self._marks[:-1]):
            if newest - mark.number >= 2 * (newest - kept[-1].number):
                kept.append(mark)
        self._marks = kept[::-1]

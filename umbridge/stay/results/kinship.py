"""Which results of one fact have to be looked at together, as what is told of one may be about another."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Final

from umbridge.stay.results.likeness import Told, are_codes_one, base_of
from umbridge.stay.results.statements import CONFIRMED, FINAL, PLACER, PRELIMINARY, Result
from umbridge.stay.results.thread import NO_TIMES, Group

#: What nearly every list has of these. A stay has dozens of lists, each of them in memory for as long as the
#: stay is: none has an empty table of its own. Nobody writes here: what is added goes to a table made for it.
_NO_GROUPS: Final[dict[str, dict[Group, None]]] = {}
_NO_MOMENTS: Final[dict[int, dict[Group, None]]] = {}


class Kinship:
    """The groups of one list, found by the numbers of their reports.

    Nearly every report has a number that no other is like: then one search finds that there is nothing.
    ``persons`` says whose each patient key is.
    """

    __slots__ = (
        *("_bases", "_found_at", "_has_placers", "_marked", "_moments", "_persons"),
        *("_reaching", "_seen", "_told", "_vocabulary", "has_lost"),
    )

    def __init__(
        self,
        told: Told,
        persons: Mapping[str, str],
        found_at: Callable[[int], Iterable[Group]],
        groups: Iterable[Group] = (),
    ) -> None:
        self._told, self._persons, self._found_at = told, persons, found_at
        self._bases: dict[str, list[Group]] = {}  # by the report's number without its namespace
        self._reaching = _NO_GROUPS  # by the numbers at which they have to be found
        #: The times of corrections that may mean a value of that time under any number.
        self._moments = _NO_MOMENTS
        #: The times of what was taken back or may be, and of preliminary values: their finals may have
        #: another name.
        self._marked: set[int] | frozenset[int] = NO_TIMES
        self.has_lost = False  # whether anything is no longer kept
        self._has_placers = False  # whether any report is known by its placer's number alone
        self.caught_up()
        for group in groups:
            self.enter(group)
            if group.is_reaching:
                self.reach(group)

    def enter(self, group: Group) -> bool:
        """A group that was not known before. False where it can be one with no other: nearly always."""
        report = group.named[0]
        its = self._bases.setdefault(base_of(report), [])
        its.append(group)
        self._has_placers = self._has_placers or report.startswith(PLACER)
        return len(its) > 1 or self._has_placers or bool(self._reaching)

    def reach(self, group: Group, stated: Result | None = None) -> None:
        """A correction came of which nothing was told before under its name: it may mean another's value."""
        group.is_reaching = True
        if stated is not None and group.is_wide(stated):
            if isinstance(group.moments, frozenset):
                group.moments = set()
            group.moments.add(stated.first)
        self._moments, self._reaching = self._moments or {}, self._reaching or {}
        for moment in group.moments if stated is None else group.moments & {stated.first}:
            self._moments.setdefault(moment, {})[group] = None
        for base in self._told.bases(group.named[0], group.patient):
            self._reaching.setdefault(base, {})[group] = None

    def is_met(self, stated: Result) -> bool:
        """Whether a correction under any number may mean it by its time."""
        return stated.first in self._moments

    # -- copies of one draw ------------------------------------------------------------------------------

    def mark(self, group: Group, stated: Result) -> list[int]:
        """The moments of which copies of the group's values matter, now that this was told."""
        told = group.slots.get(stated.place, ())
        if stated.kind == FINAL and len(told) < 2 and stated.value is not None and not group.is_marked:
            return self._note(stated)  # nearly always
        is_null = stated.kind == FINAL and stated.value is None and not stated.is_unread
        is_back = is_null or (stated.kind > FINAL and stated.kind != CONFIRMED)
        is_changed = len({each.value for each in told if each.kind == FINAL}) > 1
        if (is_back or is_changed or group.is_marked) and group.named[0]:
            return [*self.mark_all(group), *self._note(stated, is_new=True)]
        is_early = stated.kind == PRELIMINARY
        return self._note(stated, is_new=is_back or is_changed or is_early)

    def mark_all(self, group: Group) -> list[int]:
        """Those of all that it has, where its number names them; without one only a time does."""
        if group.is_marked or not group.named[0]:
            return []
        group.is_marked = True
        found = [moment for place in group.slots if (moment := place[5]) == place[6]]
        self._mark(found)
        return found

    def _mark(self, moments: Iterable[int]) -> None:
        if isinstance(self._marked, frozenset):
            self._marked = set()
        self._marked.update(moments)

    def _note(self, stated: Result, *, is_new: bool = False) -> list[int]:
        first = stated.first
        if first != stated.last:
            return []
        if is_new:
            self._mark([first])
        return [first] if first in self._marked else []

    def met_at(self, moment: int, group: Group) -> Iterator[Group]:
        """The others that have anything of a moment and can be of the same fact."""
        lost = (each for its in self._bases.values() for each in its if each.has_lost(moment))
        for each in (*self._found_at(moment), *(lost if self.has_lost else ())):
            is_theirs = self._persons[each.patient] == self._persons[group.patient]
            if each is not group and is_theirs and are_codes_one(each.named[2], group.named[2]):
                yield each

    # -- one name ----------------------------------------------------------------------------------------

    def of(self, group: Group) -> list[Group]:
        """Those that a group may be one with."""
        return [each for each in self._nearby(group) if self._is_of(group, each)]

    def under(self, report: str, patient: str) -> Iterable[Group]:
        """Those whose report may be this one."""
        for base in self._told.bases(report, patient):
            yield from self._bases.get(base, ())

    def has_news(self) -> bool:
        return self._seen != len(self._told.log) or self._vocabulary != self._told.vocabulary

    def news(self) -> list[Group]:
        """The groups of which something has come to be known elsewhere since this was last asked."""
        told, found = self._told, dict[Group, None]()
        if self._vocabulary != told.vocabulary:
            found.update((group, None) for its in self._bases.values() for group in its)
        elif self._has_placers or self._reaching or told.withdrawn:
            for pair in told.log[self._seen :]:
                for number in pair:
                    found.update(dict.fromkeys(self._bases.get(base_of(number), ())))
        self.caught_up()
        for group in found:
            if group.is_reaching:
                self.reach(group)
        return list(found)

    def caught_up(self) -> None:
        self._seen, self._vocabulary = len(self._told.log), self._told.vocabulary

    def forget(self) -> None:
        """Whose numbers are whose has changed: everything is news."""
        self._vocabulary = -1

    def _nearby(self, group: Group) -> Iterable[Group]:
        report, bases, reaching = group.named[0], self._bases, self._reaching
        if group.is_reaching and not report:
            return [each for its in bases.values() for each in its]
        found: dict[Group, None] = {}
        for base in self._told.bases(report, group.patient, on_its_order=group.is_reaching):
            found.update(dict.fromkeys(bases.get(base, ())))
            found.update(reaching.get(base, {}))
        if self._moments:
            for place in group.slots:
                found.update(self._moments.get(place[5], {}))
        if group.moments:
            every = (each for its in bases.values() for each in its)
            found.update((each, None) for each in every if not group.moments.isdisjoint(each.times()))
        if reaching:
            found.update(reaching.get("", {}))
            if group.is_reaching:
                found.update(dict.fromkeys(bases.get("", ())))
            elif not report:
                found.update((each, None) for its in reaching.values() for each in its)
        return found

    def _is_of(self, one: Group, other: Group) -> bool:
        if one is other or self._persons[one.patient] != self._persons[other.patient]:
            return False
        told, names = self._told, (one.named, other.named, one.patient)
        if told.is_same(*names) or (one.named[0] and other.named[0] and told.is_near(*names)):
            return True
        if not one.is_reaching and not other.is_reaching:
            return False
        if told.is_near(*names) or told.is_sibling(*names):
            return True
        is_apart = one.moments.isdisjoint(other.times()) and other.moments.isdisjoint(one.times())
        return not is_apart and told.is_elsewhere(*names)

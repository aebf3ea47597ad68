"""What the statements about one result come to: which of its values are in force, and which cannot be told.

Statements are taken in the order in which they were told (MSH-7), whatever order they came in. The latest
about a value says what it is. Table 0085 lets only a correction change a final value: where the value that a
correction has replaced is told again, as it was, the two contradict each other.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from umbridge.stay.reasons import Reason
from umbridge.stay.results.one_value import Value
from umbridge.stay.results.standing import Standing, When
from umbridge.stay.results.statements import (
    CONFIRMED,
    CORRECTED,
    FINAL,
    LOST,
    NEVER,
    PRELIMINARY,
    REPORT_WITHDRAWN,
    UNOBTAINABLE,
    UNREAD,
    Name,
    Place,
    Result,
)
from umbridge.stay.results.unread import Unread
from umbridge.stay.results.upright import overlap

Outcome = Literal["in_force", "superseded", "withdrawn", "correction_ambiguous"]


class Account(Standing):
    """What the statements about one result come to, told one after the other."""

    __slots__ = ("_finals", "_open", "_parts", "several", "unfound", "unread")

    def __init__(self, has_report: bool, shown: dict[Place, Value] | None = None) -> None:
        super().__init__(has_report, shown)
        self._finals: list[tuple[Value, list[Value]]] = []  # finals, and the preliminary values of which
        #: How many values of a time a message told that are alike in all else; and what was told of one.
        self.several: dict[When, int] = {}
        self._parts: dict[Name, Value] = {}
        self._open: dict[Name, list[Value]] = {}  # withdrawals of nobody knows which, and of which
        self.unread = Unread()
        self.unfound: list[Result] = []  # corrections and withdrawals of which nothing was known

    def tell(self, stated: Result, *, is_part: bool = False) -> list[Place]:
        """Take in what was told after all before it. Returns the places at which something changed.

        ``is_part``: its message has fewer values that are alike than were told before.
        """
        changed: list[Place] = []
        self.wrong.clear()
        if self.unread or stated.is_unread:
            self._hear(stated)
        if stated.kind == UNREAD:
            return changed
        for value in list(self.gave_way):
            changed += self.come_back(value)
        if stated.kind <= FINAL:
            if not (is_part and self._state_part(stated, changed)):
                self._state(stated, changed)
        elif stated.kind == CONFIRMED:
            self._confirm(stated, changed)
        elif stated.kind == REPORT_WITHDRAWN:
            for value in list(self._standing):
                self._withdraw(value, stated, changed)
        else:
            self._correct(stated, changed)
        if self._finals:
            self._make_final(changed)
        return changed

    def at(self, place: Place) -> Result | None:
        """What counts at a place, None where nothing does."""
        value = self.shown.get(place)
        return None if value is None else value.shown()

    def outcomes(self) -> Iterator[tuple[Result, Outcome]]:
        """The statements that say what a value is, and what has become of it; all others are superseded."""
        for value in self._values:
            if not value.is_standing:
                yield value.content, "superseded" if value.is_replaced else "withdrawn"
            else:
                yield value.content, "correction_ambiguous" if value.is_unsure else "in_force"

    def lose(self, stated: Result) -> list[Place]:
        """Forget what a statement says that is no longer kept."""
        changed: list[Place] = []
        self.unread.lose(stated)
        value = self._names.get(stated.name)
        if value is not None and stated.value in value.refuted:
            value.refuted = (value.refuted - {stated.value}) | {LOST}
        if value is not None and value.content is stated:
            value.content = stated._replace(value=LOST)
            self._show(value, changed)
        return changed

    # -- beside others of one thread ---------------------------------------------------------------------

    def doubt(self, stated: Result) -> list[Place]:
        """A correction may mean one of these values, or another result's."""
        changed: list[Place] = []
        self.wrong.clear()
        for value in self._standing.of_time(stated) or self._standing.others(stated):
            self._hold(value, stated, changed)
        return changed

    def keep_in_doubt(self, stated: Result) -> list[Place]:
        """Of a correction of nobody knows which result: what it says, and cannot be used."""
        changed: list[Place] = []
        value = self._names.get(stated.name)
        if stated.is_unread:
            self.unread.add(stated)
        if stated.kind == CORRECTED and stated.value is not None:
            value = value or self._add(stated, changed)
            value.content, value.is_held, value.is_unplaced = stated, True, True
            self._set_unsure(value, True)
            self._show(value, changed)
        elif value is not None and value.is_standing:
            self._withdraw(value, stated, changed)
        return changed

    # -- statements --------------------------------------------------------------------------------------

    def _hear(self, stated: Result) -> None:
        """Whether it settles what could not be read, or is itself such. Before anything else of it."""
        has_others = any(each.content.value is not None for each in self._standing)
        may_mean_any = bool(self._standing or self.unread)
        self.unread.settle(stated, is_only=self._has_report and not has_others)
        if not stated.is_unread or (stated.original == Reason.EMPTY and not may_mean_any):
            return  # a correction without a value is of a value, if there was one
        value = None if stated.kind > FINAL else self._named(stated)
        if value is not None:
            is_text = stated.original == Reason.COMMENT
            has_final = value.is_standing and value.is_final and value.content.value is not None
            if has_final and (is_text or stated.kind == PRELIMINARY):
                return  # a final value is changed by no remark, and by no preliminary one
            if is_text and value.is_withdrawn:
                return  # of what was taken back it is a remark too
        self.unread.add(stated)

    def _state_part(self, stated: Result, changed: list[Place]) -> bool:
        """One value where several were told that nothing tells apart: which of them it is nobody knows.

        False where it is all the same.
        """
        its = self._standing.of((stated.first, stated.last))
        if len(its) < 2 or all(each.content.value == stated.value for each in its):
            return False
        if stated.kind == PRELIMINARY and all(each.is_final for each in its):
            return True  # a final value is changed by no preliminary one
        part = self._parts.get(stated.name)
        if part is not None and part.is_standing:
            part.content = stated
        else:
            part = self._parts[stated.name] = Value(stated)
            self._values.append(part)
            self._standing.add(part)
        for value in (*its, part):
            value.is_held = True
            self._set_unsure(value, True)
            self._show(value, changed)
        return True

    def _state(self, stated: Result, changed: list[Place]) -> None:
        if stated.nth:
            when = (stated.first, stated.last)
            self.several[when] = max(stated.nth + 1, self.several.get(when, 0))
        if self._parts:  # all of them are told again
            for name in [n for n, part in self._parts.items() if n[:2] == (stated.first, stated.last)]:
                part = self._parts.pop(name)
                changed += self.retire(part) if part.is_standing else []
        value = self._named(stated)
        if value is None:
            is_of_early = self._standing.early and stated.kind == FINAL and self._has_report
            early = self._standing.early_of(stated) if is_of_early else []
            value = self._add(stated, changed)
            if early:
                self._finals.append((value, early))
            return
        self._names.setdefault(stated.name, value)
        is_early, has_final = stated.kind == PRELIMINARY, value.is_standing and value.is_final
        if is_early and (has_final or value.is_replaced or value.is_held):
            return
        is_old = value.contradicts(stated.value)
        is_read = stated.value is not None or not stated.is_unread
        if has_final and is_read and value.content.value != stated.value:
            self._refute(value, is_withdrawn=stated.value is None)
        value.content = stated
        if not value.is_standing:
            self._revive(value, stated)
        if not is_early:
            self._finish(value)
        if not is_early or is_old:
            self._set_unsure(value, is_old)
            value.is_held, value.is_unplaced = is_old, False
        is_closer = stated.last - stated.first < value.slot.last - value.slot.first
        is_moved = is_closer or not overlap(stated, value.slot)
        self._move(value, stated if is_moved else value.slot, changed)

    def _revive(self, value: Value, stated: Result) -> None:
        """What was withdrawn is told anew: laboratories run the same tube again."""
        if value.is_replaced:
            value.is_replaced = False
        else:
            value.slot, value.is_final = stated, False
        value.is_standing = True
        self._standing.add(value)

    def _named(self, stated: Result) -> Value | None:
        """The value that is stated again: the one of its time, or the only one that can be meant.

        A day means the value of that day, and a value without a time is the value of its result. Two of one
        message are never one.
        """
        found = self._names.get(stated.name)
        if found is not None or stated.nth or not (self._standing.vague or stated.first != stated.last):
            return found
        for value in self._values:
            if value.content.seq == stated.seq or not overlap(value.slot, stated):
                continue
            if found is not None:
                return None
            found = value
        return found

    def _make_final(self, changed: list[Place]) -> None:
        """Preliminary values that finals may be of: unusable, and gone once as many finals were told."""
        while True:
            left = [
                (final, [each for each in early if each in self._standing.early and not each.is_held])
                for final, early in self._finals
            ]
            self._finals = [(final, early) for final, early in left if early]
            for _, gone in self._finals:
                finals = [final for final, early in self._finals if set(early) <= set(gone)]
                if len(finals) >= len(gone):
                    break
            else:
                break
            for value in gone:
                value.is_replaced, value.is_standing = True, False
                self._set_unsure(value, False)
                self._standing.remove(value)
                self._show(value, changed)
            for final in finals:  # the specimen is the one that was flagged under the earlier time
                final.former += tuple(each.slot.at for each in gone if each.slot.at not in final.former)
                self._show(final, changed)
        for value in {each: None for _, early in self._finals for each in early}:
            self._set_unsure(value, True)
            self._show(value, changed)

    def _finish(self, value: Value) -> None:
        """No longer preliminary, nor in doubt for that."""
        value.is_final = True
        self._standing.early.pop(value, None)
        if not value.is_held:
            self._set_unsure(value, False)

    def _confirm(self, stated: Result, changed: list[Place]) -> None:
        """U: the preliminary value is final as it was."""
        found = self._names.get(stated.name)
        if found is None:
            meant, is_sure = self._meant(stated)
            found = meant[0] if is_sure else None
        if found is not None and found.is_standing and not found.is_held:
            self._finish(found)
            self._show(found, changed)

    def _correct(self, stated: Result, changed: list[Place]) -> None:
        withdraws = stated.kind != CORRECTED or stated.value is None
        if self._is_told_again(stated):
            if not withdraws:  # there is a value after all
                gone = self._names[stated.name]
                value = self._add(stated, changed)
                value.is_held, value.refuted = True, gone.refuted_by(stated)
            return
        meant, is_sure = self._meant(stated)
        if is_sure:
            (value,) = meant
            self._names[stated.name] = value
            if withdraws:
                self._withdraw(value, stated, changed)
                return
            if value.content.value != stated.value:
                self._refute(value)
            value.refuted = value.refuted_by(stated)
            value.content, value.is_held = stated, True
            self._finish(value)
            self._set_unsure(value, value.is_unplaced)
            is_known = stated.first <= value.slot.first and value.slot.last <= stated.last
            self._move(value, value.slot if is_known else stated, changed)
            return
        if stated.kind == UNOBTAINABLE and not self._has_report:
            return  # a monitor that could not measure then takes no other moment's value back
        for value in meant:
            self._hold(value, stated, changed)
        if meant and withdraws:
            self._open.setdefault(stated.name, meant)
        if not meant and stated.name not in self._open and not self._is_gone(stated.name):
            self.unfound.append(stated)
        if stated.kind == UNOBTAINABLE or (withdraws and (meant or self._is_gone(stated.name))):
            return  # X says that there is none: one that comes later is another attempt
        value = self._add(stated, changed)
        value.is_held, value.is_unplaced = True, bool(meant)
        value.refuted = frozenset((LOST,))  # what it replaces nobody has seen, or nobody knows
        if withdraws:
            self._withdraw(value, stated, changed)
        elif meant:
            self._set_unsure(value, True)
            self._show(value, changed)

    def _hold(self, value: Value, stated: Result, changed: list[Place]) -> None:
        """A correction or withdrawal may mean it, or another one."""
        self._refute(value, is_sure=False)
        if stated.kind == CORRECTED and stated.value is not None:
            value.refuted = value.refuted_by(stated)
        value.is_held = True
        self._set_unsure(value, True)
        self._show(value, changed)

    def _is_told_again(self, stated: Result) -> bool:
        """Whether the value that it names by its moment or day is withdrawn already: it means no other."""
        if stated.first == NEVER or not self._is_gone(stated.name):
            return False
        if stated.first == stated.last:
            return not self._standing.at(stated)
        return not any(overlap(each.slot, stated) for each in self._standing)

    def _is_gone(self, name: Name) -> bool:
        value = self._names.get(name)
        return value is not None and value.is_withdrawn

    def _meant(self, stated: Result) -> tuple[list[Value], bool]:
        """The values that a correction may mean, and whether it is sure which.

        The one of the same time, else the one of the same day, else the only one. Without a report only the
        time names a value. Corrections of one message do not correct one another. A withdrawal that was told
        before means what it meant then: what has become the only value since is another one. X supposes no
        earlier result: with a time that no value has it may mean another specimen, and surely does so where
        that was collected after the value had been told.
        """

        def may(value: Value) -> bool:
            return not (value.content.seq == stated.seq and value.content.kind == CORRECTED)

        if stated.first != NEVER:
            same = [value for value in self._standing.at(stated) if may(value)]
            if same:
                return same, len(same) == 1
        others = [value for value in self._standing if may(value)]
        is_again = stated.name in self._open or self._is_gone(stated.name)
        if stated.name in self._open and stated.first == stated.last:
            return [value for value in self._open[stated.name] if value in self._standing], False
        if stated.first != NEVER and (self._standing.vague or stated.first != stated.last):
            near = [each for each in others if each.slot.first != NEVER and overlap(each.slot, stated)]
            if near:
                return near, len(near) == 1 and not is_again
        is_other = stated.kind == UNOBTAINABLE and stated.first != NEVER
        if is_other:
            others = [each for each in others if each.told >= stated.first]
            is_other = any(each.slot.first != NEVER for each in others)
        return others, len(others) == 1 and self._has_report and not is_again and not is_other

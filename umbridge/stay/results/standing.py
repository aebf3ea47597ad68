"""The values of one result: those that stand, what of them is in doubt, and what was said that is wrong.

What the statements come to is for the account (``account``), what other names of the result have to do with
it for ``copies``; both act on the values here.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import NamedTuple

from umbridge.model import FactValue
from umbridge.stay.results.one_value import Value
from umbridge.stay.results.statements import CORRECTED, FINAL, LOST, NEVER, Name, Place, Result
from umbridge.stay.results.upright import Upright, can_be_one

When = tuple[int, int]  # the first and last moment that a time as sent can mean


class Wrong(NamedTuple):
    """What a statement says, or may say, was never so: the value that had been told of a time."""

    when: When
    value: FactValue
    seq: int  # of the message that had told it
    is_sure: bool


class Standing:
    """The values of one result.

    ``shown`` has the values in force by the place of the statement that gave each its time. ``wrong`` is what
    the statement that was told last took back, ``gone`` what was taken back and not told again since: by
    time, each value, and whether it was withdrawn (else it was replaced). ``gave_way`` has the preliminary
    values whose moment has a final one under another number, each with that one.
    """

    __slots__ = (
        "_has_report",
        "_names",
        "_standing",
        "_values",
        "gave_way",
        "gone",
        "rivals",
        "shown",
        "unsure",
        "wrong",
    )

    def __init__(self, has_report: bool, shown: dict[Place, Value] | None = None) -> None:
        self._has_report = has_report
        self._names: dict[Name, Value] = {}
        self._values: list[Value] = []
        self._standing = Upright()
        self.shown: dict[Place, Value] = {} if shown is None else shown  # its own, or with others' values
        self.unsure = 0
        self.rivals: list[Value] = []  # those that another name contradicts
        self.wrong: list[Wrong] = []
        self.gone: dict[When, dict[FactValue, bool]] = {}
        self.gave_way: dict[Value, Value] = {}

    @property
    def values(self) -> Sequence[Value]:
        """All that were ever stated, in the order told; gone ones too."""
        return self._values

    @property
    def early(self) -> Collection[Value]:
        """Those that stand and are preliminary."""
        return self._standing.early

    @property
    def doubted(self) -> Iterator[Result]:
        """The values of which nobody knows whether they hold."""
        its = (each for each in self._standing if each.is_unsure)
        return (each.shown() for each in its if each.content.value not in (None, LOST))

    # -- beside others of one thread ---------------------------------------------------------------------

    def is_told(self, stated: Result) -> bool:
        """Whether a correction has anything here that it can mean: without a report, of its time."""
        return bool(self._values) and (self._has_report or stated.name in self._names)

    def told_of(self, stated: Result) -> tuple[bool, bool]:
        """Whether another message told of a value that stands, and whether of the time of this one."""
        found = any(each.content.seq != stated.seq for each in self._standing)
        return found, found and bool(self._standing.of_time(stated))

    def has_moment(self, stated: Result) -> bool:
        """Whether another message told of a value of its very moment that stands."""
        return any(each.content.seq != stated.seq for each in self._standing.at(stated))

    def has_no_time(self, stated: Result) -> bool:
        """Whether nobody said of one of the two when it was: then they can be of one time."""
        its = self._standing.others(stated)
        return bool(its) and (stated.first == NEVER or any(each.slot.first == NEVER for each in its))

    def has_beside(self, stated: Result) -> bool:
        """Whether the same message states a value of the same time under another name."""
        its = self._standing.at(stated) if stated.kind <= FINAL else ()
        return any(each.content.seq == stated.seq and each.content.named != stated.named for each in its)

    def said(self, stated: Result) -> Value | None:
        """The value of which this statement says what it is."""
        value = self._names.get(stated.name)
        return value if value is not None and value.is_standing and value.content is stated else None

    def confirmed(self, stated: Result) -> Value | None:
        """The value that this statement says is final as it was."""
        value = self._names.get(stated.name)
        return value if value is not None and value.is_standing and value.is_final else None

    def of(self, when: When, *, but: int) -> list[Value]:
        """Those that stand of this very time, by what another message than ``but`` says."""
        return [each for each in self._standing.of(when) if each.content.seq != but]

    def near(self, when: When, *, but: int) -> list[Value]:
        """Those that stand of a time that can be this one: where one was not sent, or is a day."""
        exact = self.of(when, but=but)
        if exact or not (self._standing.vague or when[0] != when[1]):
            return exact
        its = (each for each in self._standing if each.content.seq != but)
        return [each for each in its if can_be_one((each.slot.first, each.slot.last), when)]

    def wronged(self, when: When, *, is_near: bool) -> dict[FactValue, bool]:
        """What was taken back of a time, or of one that can be it."""
        if not is_near:
            return self.gone.get(when, {})
        near = (its for its_when, its in self.gone.items() if can_be_one(its_when, when))
        return {value: its[value] for its in near for value in its}

    def early_of(self, stated: Result) -> list[Value]:
        """The preliminary values that a final of another time may be the final of."""
        return self._standing.early_of(stated)

    def succeed(self, value: Value, early: Value) -> list[Place]:
        """It is the final of a preliminary value that had another time under another name."""
        changed: list[Place] = []
        if early.slot.at != value.slot.at and early.slot.at not in value.former:
            value.former += (early.slot.at,)
            self._show(value, changed)
        return changed

    def retire(self, value: Value) -> list[Place]:
        """It was preliminary, and its final is another name's value."""
        changed: list[Place] = []
        value.is_replaced, value.is_standing = True, False
        self._set_unsure(value, False)
        self._standing.remove(value)
        self._show(value, changed)
        return changed

    def give_way(self, value: Value, final: Value) -> list[Place]:
        """It is preliminary, and another number has the final value of its moment."""
        self.gave_way[value] = final
        return self.retire(value)

    def come_back(self, value: Value) -> list[Place]:
        """There is no such final value any more, or its own number says something of it."""
        changed: list[Place] = []
        del self.gave_way[value]
        if value.is_replaced:
            value.is_replaced, value.is_standing = False, True
            self._standing.add(value)
            self._show(value, changed)
        return changed

    def take_back(self, value: Value, stated: Result) -> list[Place]:
        """What it says was said to be wrong under another name of it."""
        changed: list[Place] = []
        own = list(self.wrong)
        self._withdraw(value, stated, changed)
        self.wrong = own
        return changed

    def cast_doubt(self, value: Value, refuted: frozenset[FactValue]) -> list[Place]:
        """It may be what was said to be wrong under another name, or contradicts what is said under one."""
        changed: list[Place] = []
        value.refuted |= refuted
        value.is_held = value.is_held or bool(refuted)
        self._set_unsure(value, True)
        self._show(value, changed)
        return changed

    def contradict(self, value: Value, rival: Value) -> list[Place]:
        """Another name, which may be its own, says otherwise."""
        if value.rival is None:
            self.rivals.append(value)
        value.rival = rival
        return self.cast_doubt(value, frozenset())

    def clear(self, value: Value) -> list[Place]:
        """What it contradicted is no longer said."""
        changed: list[Place] = []
        value.rival = None
        self.rivals.remove(value)
        if value.is_standing:
            self._set_unsure(value, False)
            self._show(value, changed)
        return changed

    # -- values ------------------------------------------------------------------------------------------

    def _add(self, stated: Result, changed: list[Place]) -> Value:
        value = Value(stated)
        self._values.append(value)
        self._names[stated.name] = value
        self._standing.add(value)
        self._show(value, changed)
        return value

    def _withdraw(self, value: Value, stated: Result, changed: list[Place]) -> None:
        """Take it back. After a withdrawal nothing of before counts; a correction says that it was wrong."""
        value.refuted = value.refuted_by(stated) if stated.kind == CORRECTED else frozenset()
        value.is_held = False
        self._set_unsure(value, False)
        if value.is_standing:
            self._refute(value, is_withdrawn=stated.kind != CORRECTED)
            value.is_standing = False
            self._standing.remove(value)
        self._show(value, changed)

    def _move(self, value: Value, slot: Result, changed: list[Place]) -> None:
        """Let it count from another statement's time."""
        if slot is not value.slot and slot.place != value.slot.place:
            self._standing.remove(value)
            self._hide(value, changed)
            if slot.at != value.slot.at and value.slot.at not in value.former:
                value.former += (value.slot.at,)
            value.slot = slot
            self._standing.add(value)
        self._show(value, changed)

    def _set_unsure(self, value: Value, is_unsure: bool) -> None:
        self.unsure += is_unsure - value.is_unsure
        value.is_unsure = is_unsure

    def _show(self, value: Value, changed: list[Place]) -> None:
        said = value.content.value
        if value.is_shown and said is not None:
            if self.gone:  # what is told again is not gone
                self.gone.get((value.slot.first, value.slot.last), {}).pop(said, None)
            place = value.slot.place
            self.shown[place] = value
            changed.append(place)
        else:
            self._hide(value, changed)

    def _hide(self, value: Value, changed: list[Place]) -> None:
        place = value.slot.place
        if self.shown.get(place) is value:
            del self.shown[place]
        changed.append(place)

    def _refute(self, value: Value, *, is_withdrawn: bool = False, is_sure: bool = True) -> None:
        """What it says so far was never so, or may never have been."""
        slot, said = value.slot, value.content
        if said.value is None:
            return
        when = (slot.first, slot.last)
        self.wrong.append(Wrong(when, said.value, said.seq, is_sure))
        if is_sure:
            self.gone.setdefault(when, {})[said.value] = is_withdrawn

"""One draw that was told under several names: what is said of the one name is said of its copies.

A relay sends a report again without its numbers, or under its own; an interface leaves OBR-4 or OBX-4 out.
Each name has its account. Here the accounts of names that can be one are held against each other: by the
values of one time, for that is all that says that two values are one draw.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import product
from typing import NamedTuple

from umbridge.model import FactValue
from umbridge.stay.results.account import Account
from umbridge.stay.results.likeness import Named, Told
from umbridge.stay.results.one_value import Value
from umbridge.stay.results.standing import When, Wrong
from umbridge.stay.results.statements import CONFIRMED, CORRECTED, FINAL, LOST, PRELIMINARY, Place, Result

#: How two names can be of one draw: of one report; by what one of them lacks; under another number.
REPORT, LACKING, ELSEWHERE = range(3)


class Story:
    """One result, and the names under which it was told."""

    __slots__ = ("account", "names")

    def __init__(self, account: Account, named: Named) -> None:
        self.account, self.names = account, [named]


Changed = tuple[Story, list[Place]]


class Copies(NamedTuple):
    """The results of one thread. ``is_beside``: whether one message told of two of them as two."""

    told: Told
    patient: str
    stories: Sequence[Story]
    is_beside: Callable[[Story, Story, When], bool]

    def follow(self, own: Story | None, stated: Result) -> Iterator[Changed]:
        """What a statement means for the other results, once the one that it is about was told it."""
        for story in self.stories if own is None else [own]:
            for wrong in story.account.wrong:
                yield from self._end(story, wrong, stated)
            story.account.wrong.clear()
        if own is not None and PRELIMINARY <= stated.kind <= CORRECTED:
            value = own.account.confirmed(stated) if stated.kind == CONFIRMED else own.account.said(stated)
            if value is not None and value.content.value is not None:
                yield from self._compare(own, value, stated)
            elif value is not None and not stated.is_unread:
                yield from self._delete(own, value, stated)
        yield from self._reconcile()
        for story in self.stories:
            if story.account.gave_way:
                yield from self._come_back(story)
        for story in self.stories:
            if story.account.early:
                yield from self._give_way(story)

    # -- two names -------------------------------------------------------------------------------------

    def _kin(self, one: Story, other: Story) -> tuple[int | None, bool]:
        """How two results can be one draw, and whether by every name that they have."""
        told, patient = self.told, self.patient
        pairs = list(product(one.names, other.names))
        near = [told.is_near(*pair, patient) for pair in pairs]
        if any(near):
            is_report = any(a[0] and b[0] for (a, b), its in zip(pairs, near, strict=True) if its)
            return (REPORT if is_report else LACKING), all(near)
        return (ELSEWHERE if any(told.is_elsewhere(*pair, patient) for pair in pairs) else None), False

    def _others(self, own: Story, when: When, but: int) -> Iterator[tuple[Story, int, bool, list[Value]]]:
        """Those that may have the same draw, and its values there: of one report by what is lacking, and
        then of a time that can be the same, else of the very moment."""
        for other in self.stories:
            account = other.account
            if other is own or not (account.near(when, but=-1) or account.wronged(when, is_near=True)):
                continue
            kin, is_all = self._kin(own, other)
            if kin == REPORT:
                yield other, kin, is_all, account.near(when, but=but)
            elif kin is not None and when[0] == when[1]:
                yield other, kin, is_all, account.of(when, but=but)

    # -- what is wrong -----------------------------------------------------------------------------------

    def _end(self, own: Story, wrong: Wrong, stated: Result) -> Iterator[Changed]:
        """The copies of a value that was taken back: gone where they can be no other's, else in doubt."""
        for other, kin, is_all, held in self._others(own, wrong.when, stated.seq):
            account = other.account
            its = [v for v in held if v.content.seq != wrong.seq]
            its = [v for v in its if v.content.value is not LOST and _may_be(v.content.value, wrong.value)]
            if not its or self.is_beside(own, other, wrong.when):
                continue
            is_sure = wrong.is_sure and is_all and kin != ELSEWHERE and not self._is_shared(own, other, wrong)
            for value in its:
                if is_sure and value.content.value == wrong.value != LOST:
                    yield other, account.take_back(value, stated)
                else:
                    yield other, account.cast_doubt(value, frozenset((wrong.value,)))

    def _is_shared(self, own: Story, copy: Story, wrong: Wrong) -> bool:
        """Whether a copy may as well be of a third result, which is not the one that was taken back."""
        return any(
            third is not own
            and third is not copy
            and any(_may_be(v.content.value, wrong.value) for v in third.account.of(wrong.when, but=-1))
            and self._kin(third, copy)[0] in (REPORT, LACKING)
            and self._kin(third, own)[0] in (ELSEWHERE, None)
            for third in self.stories
        )

    # -- what is told ------------------------------------------------------------------------------------

    def _compare(self, own: Story, value: Value, stated: Result) -> Iterator[Changed]:
        """What other names say of the draw of which this statement says something."""
        when, said = (value.slot.first, value.slot.last), value.content.value
        early: list[tuple[Story, Value]] = []
        for other, kin, _, its in self._others(own, when, stated.seq):
            gone = other.account.wronged(when, is_near=kin == REPORT)
            back = [
                each
                for each, is_withdrawn in gone.items()
                if said is not LOST and _may_be(each, said) and not (kin == REPORT and is_withdrawn)
            ]
            if not (back or its) or self.is_beside(own, other, when):
                continue
            if back:
                yield own, own.account.cast_doubt(value, frozenset(back))
            elif kin != ELSEWHERE and not value.is_final:
                if any(each.is_final and each.content.value is not None for each in its):
                    yield own, own.account.retire(value)
                    return
            elif kin != ELSEWHERE:
                early += [(other, each) for each in its if not each.is_final and not each.is_held]
                if kin == REPORT and stated.kind == FINAL:
                    yield from self._contradict(own, value, other, its)
        yield from self._make_final(own, value, early or self._earlier(own, value, stated))

    def _delete(self, own: Story, value: Value, stated: Result) -> Iterator[Changed]:
        """There is no value (2.5.3), where there is exactly one that this can mean."""
        its = [
            (other, each)
            for other, kin, is_all, held in self._others(own, (value.slot.first, value.slot.last), stated.seq)
            if kin != ELSEWHERE
            and is_all
            and not self.is_beside(own, other, (value.slot.first, value.slot.last))
            for each in held
            if value.is_final or not each.is_final
        ]
        for other, each in its if len(its) == 1 else ():
            yield other, other.account.take_back(each, stated)

    def _contradict(self, own: Story, value: Value, other: Story, its: list[Value]) -> Iterator[Changed]:
        """Two final values of one time, and what tells them apart was sent with one of them only."""
        if not any(a[2] == b[2] for a, b in product(own.names, other.names)):
            return
        for each in its:
            pair = (each.content.value, value.content.value)
            is_other = None not in pair and pair != (LOST, LOST) and pair[0] != pair[1]
            if each.is_final and is_other:
                yield other, other.account.contradict(each, value)
                yield own, own.account.contradict(value, each)

    def _reconcile(self) -> Iterator[Changed]:
        """Where one of two that contradict each other is gone, or says the same now, nothing does."""
        for story in self.stories:
            for value in list(story.account.rivals):
                rival = value.rival
                if rival is not None and (
                    not rival.is_standing or rival.content.value == value.content.value
                ):
                    yield story, story.account.clear(value)

    # -- under another number ----------------------------------------------------------------------------

    def _give_way(self, own: Story) -> Iterator[Changed]:
        """From preliminary to final and not back (table 0085): so goes one draw of two numbers."""
        for value in list(own.account.early):
            when = (value.slot.first, value.slot.last)
            if value.is_held or when[0] != when[1]:
                continue
            for other in self.stories:
                finals = [
                    e for e in other.account.of(when, but=-1) if e.is_final and e.content.value is not None
                ]
                if other is own or not finals or self._kin(own, other)[0] != ELSEWHERE:
                    continue
                if not self.is_beside(own, other, when):
                    yield own, own.account.give_way(value, finals[0])
                    break

    def _come_back(self, own: Story) -> Iterator[Changed]:
        """The final value was wrong. Whether the preliminary one was right nobody has said."""
        for value, final in list(own.account.gave_way.items()):
            if not final.is_standing or final.content.value is None:
                yield own, own.account.come_back(value)
                yield own, own.account.cast_doubt(value, frozenset())

    def _earlier(self, own: Story, value: Value, stated: Result) -> list[tuple[Story, Value]]:
        """The preliminary values of its report that a final of another time is the final of."""
        if stated.kind != FINAL or value.slot is not stated or value.former or not stated.report:
            return []
        return [
            (other, each)
            for other in self.stories
            if other is not own and self._kin(own, other)[0] == REPORT
            for each in other.account.early_of(stated)
            if not self.is_beside(own, other, (each.slot.first, each.slot.last))
        ]

    def _make_final(self, own: Story, final: Value, early: list[tuple[Story, Value]]) -> Iterator[Changed]:
        """The preliminary value is gone; where it may be one of several nobody knows which."""
        stories = list(dict.fromkeys(story for story, _ in early))
        is_one = len(early) == len(stories) and all(
            self._kin(a, b)[0] in (REPORT, LACKING) for a, b in product(stories, stories) if a is not b
        )
        for story, value in early:
            if is_one:
                yield own, own.account.succeed(final, value)
                yield story, story.account.retire(value)
            else:
                yield story, story.account.cast_doubt(value, frozenset())


def _may_be(one: FactValue | None, other: FactValue | None) -> bool:
    """Whether two values are one; of what is no longer kept nobody knows."""
    return one is not None and other is not None and (one == other or LOST in (one, other))

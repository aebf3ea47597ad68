"""Corrections and withdrawals that found no result, and whether they may mean a value that is used.

A number names its report (7.4.1.3). What is told under a number that nothing else has is about another
report, or the number is wrong: only a person can say where both are possible.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from typing import Final

from umbridge.stay.clock import MINUTE
from umbridge.stay.results.likeness import Told
from umbridge.stay.results.statements import REPORT_WITHDRAWN, UNOBTAINABLE, Result
from umbridge.stay.results.thread import Thread

UNFOUND = "CORRECTION_NOT_FOUND"
_A_MINUTE = MINUTE - 1  # a stamp to the minute, and one to the second, can be one time


#: What nearly every list has of them: nobody writes here.
_NONE: Final[dict[Thread, None]] = {}


def _with(held: dict[Thread, None], thread: Thread, *, has: bool) -> dict[Thread, None]:
    if has:
        held = held or {}
        held[thread] = None
    else:
        held.pop(thread, None)
    return held


class Marks:
    """Which threads of one list have something that a person may have to look at."""

    __slots__ = ("unfound", "unread", "unsure")

    def __init__(self) -> None:
        self.unfound = self.unread = self.unsure = _NONE

    def mark(self, thread: Thread) -> None:
        self.unfound = _with(self.unfound, thread, has=bool(thread.unfound))
        self.unread = _with(self.unread, thread, has=bool(thread.unread))
        self.unsure = _with(self.unsure, thread, has=thread.unsure)

    @property
    def is_any(self) -> bool:
        return bool(self.unfound or self.unread or self.unsure)

    def drop(self, thread: Thread) -> None:
        for held in (self.unfound, self.unread, self.unsure):
            held.pop(thread, None)

    def clear(self) -> None:
        for held in (self.unfound, self.unread, self.unsure):
            held.clear()


def lost(
    told: Told, marks: Marks, services: Iterable[str], is_own: Callable[[str], bool]
) -> Iterator[Result]:
    """What was told of these patients and found nothing: of single results, and of reports of a service."""
    its = (each for thread in marks.unfound if is_own(thread.patient) for each in thread.unfound)
    reports = (
        each
        for each in told.strange()
        if is_own(each.patient)
        and any(told.may_be_service(service, each.service, each.patient) for service in services)
    )
    return chain(its, reports)


def may_be_meant(told: Told, one: Result, shown: Iterable[Result]) -> Iterator[Result]:
    """Those of these values of one person and one fact that a correction which found nothing may mean.

    Any that was told before it by another message, unless both have a time and the times differ. X supposes
    no earlier result: it is the cancel of an order as often. So it may mean what is of its very time, and
    without a time only under a number of which no order is known.
    """
    is_cancel = one.kind == UNOBTAINABLE and one.first != one.last
    if is_cancel and told.is_order_alone(one):
        return iter(())
    return (
        each
        for each in shown
        if each.value is not None
        and each.stamp < one.stamp
        and each.seq != one.seq
        and each.first <= one.last + _A_MINUTE
        and one.first <= each.last + _A_MINUTE
        and (one.kind != REPORT_WITHDRAWN or told.may_be_service(each.service, one.service, each.patient))
    )


def in_question(
    told: Told,
    marks: Marks,
    services: Iterable[str],
    results: Iterable[Result],
    is_own: Callable[[str], bool],
    coded: Iterable[Result] = (),
) -> Iterator[tuple[Result, Result]]:
    """Each of these patients' that found nothing, with every value of one fact in force that it may mean.

    ``coded``: those under a code that nobody mapped, whose words name the fact. They mean their own report.
    """
    for one in coded:
        its = (each for each in results if is_own(each.patient) and is_own(one.patient))
        near = (each for each in its if told.is_report(each.report, one.report, one.patient))
        yield from ((one, meant) for meant in may_be_meant(told, one, near))
    for one in lost(told, marks, services, is_own):
        own = (each for each in results if is_own(each.patient))
        yield from ((one, meant) for meant in may_be_meant(told, one, own))

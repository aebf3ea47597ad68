"""What of one result counts in a look at a past moment: what was told in time, as it was corrected since.

Which values there were is asked of what was told by then; what they are, of everything. So a correction of a
value that counted takes effect whenever it is told, and what else is told later never does. The time of a
value is the one it had by then.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from operator import attrgetter

from umbridge.stay.results.account import Outcome
from umbridge.stay.results.likeness import Told
from umbridge.stay.results.one_value import Value
from umbridge.stay.results.statements import UNREAD, Result
from umbridge.stay.results.thread import Group, Thread

FINAL_THEN_NEWEST = attrgetter("kind", "sent", "seq", "part")


def is_counted(stated: Sequence[Result], told_by: int) -> bool:
    """Of statements that are all about one value: whether any was told in time."""
    return any(each.sent <= told_by for each in stated if each.kind != UNREAD)


def counted(told: Sequence[Result], thread: Thread, told_by: int) -> Iterator[Result]:
    """The values of one thread that stand, once it is told all that was told about it, in the order told."""
    late = next((place for place, stated in enumerate(told) if stated.sent > told_by), len(told))
    for stated in told[:late]:
        thread.tell(stated)
    times = {value: value.slot.at for value in thread.values if not value.is_withdrawn}
    for stated in told[late:]:
        thread.tell(stated)
    for value, at in times.items():
        now = _followed(thread, value)
        final = thread.final_of(value)  # of its moment, under another number
        if final is not None and final not in times:  # told late: it counts in the place of what counted
            now = final
        if now.is_shown:
            yield now.shown()._replace(at=at)


def every(
    groups: Iterable[Group], told: Told, all_of: Callable[[Thread], list[Result]], told_by: int, known: int
) -> Iterator[Result]:
    """The values of several results that count, by all that was told until ``known``."""
    threads: dict[Thread, None] = {}
    for group in groups:
        if group.thread is not None:
            threads[group.thread] = None
            continue
        for slot in group.slots.values():
            stated = [each for each in slot if each.sent <= known]
            if is_counted(stated, told_by):
                yield max(stated, key=FINAL_THEN_NEWEST)
    for thread in threads:
        stated = [each for each in all_of(thread) if each.sent <= known]
        yield from counted(stated, Thread(told, thread.groups), told_by)


def is_changed(
    told: Sequence[Result],
    made: Callable[[], Thread],
    told_by: int,
    row: int,
    is_within: Callable[[Result], bool],
) -> bool:
    """Whether any of the values that counted by what rows up to ``row`` had brought is another now, or gone.

    By the row and not by when it was told: what was known when an answer was given is asked, whatever order
    messages came in. A value whose time alone is another counts as it did.
    """
    before = [stated for stated in told if stated.seq <= row]
    if not before or len(before) == len(told):
        return False
    now = list(counted(told, made(), told_by))
    return any(
        is_within(each) and not any(_is_still(each, other) for other in now)
        for each in counted(before, made(), told_by)
    )


def changed(known: Sequence[Result], now: Sequence[Result]) -> list[Result]:
    """Of values that counted by what was known at a moment: those that are another now, or gone."""
    return [e for e in known if e.value is not None and not any(_is_still(e, other) for other in now)]


def _is_still(before: Result, now: Result) -> bool:
    is_same_time = before.at == now.at or before.at in now.former or now.at in before.former
    return before.value == now.value and is_same_time


def _followed(thread: Thread, value: Value) -> Value:
    """The value itself, or the final one that a preliminary one of another time has become."""
    if value.is_standing:
        return value
    for other in thread.values:
        if other.is_standing and value.slot.at in other.former:
            return other
    return value


def outcomes(groups: Collection[Group]) -> Iterator[tuple[Result, Outcome]]:
    """Each value that was stated and is kept, and what has become of it: exactly one thing."""
    threads = {group.thread: None for group in groups if group.thread is not None}
    found: dict[int, Outcome] = {id(each): its for thread in threads for each, its in thread.outcomes()}
    for group in groups:
        for slot in group.slots.values():
            if group.thread is None:
                found[id(max(slot, key=FINAL_THEN_NEWEST))] = "in_force"
            for each in slot:
                if each.value is not None:
                    yield each, found.get(id(each), "superseded")

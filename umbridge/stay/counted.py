"""What of one result counts in a look at a past moment: what was told in time, as it was corrected since.

Which values there were is asked of what was told by then; what they are, of everything. So a correction of a
value that counted takes effect whenever it is told, and what else is told later never does. The time of a
value is the one it had by then.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from umbridge.stay.account import Account, Value
from umbridge.stay.statements import Result


def is_counted(stated: Sequence[Result], told_by: int) -> bool:
    """Of statements that are all about one value: whether any was told in time."""
    return any(each.sent <= told_by for each in stated)


def counted(told: Sequence[Result], has_report: bool, told_by: int) -> Iterator[Result]:
    """The values of one result, from all that was told about it in the order told; those that stand."""
    account = Account(has_report)
    late = next((place for place, stated in enumerate(told) if stated.sent > told_by), len(told))
    for stated in told[:late]:
        account.tell(stated)
    times = {value: value.slot.at for value in account.values}
    for stated in told[late:]:
        account.tell(stated)
    for value, at in times.items():
        now = _followed(account, value)
        if now.is_shown:
            yield now.shown()._replace(at=at)


def corrected(told: Sequence[Result], has_report: bool, told_by: int, since: int) -> Iterator[int]:
    """The times of values told by ``told_by`` that were changed or taken back after ``since``."""
    account, before = Account(has_report), dict[Value, tuple[int, object]]()
    for stated in told:
        if stated.sent > since:
            before = _added(account, before, told_by)
        account.tell(stated)
    if told and told[-1].sent <= since:
        return
    for value, (at, said) in before.items():
        if said is not None and _said(_followed(account, value)) != said:
            yield at


def _added(
    account: Account, known: dict[Value, tuple[int, object]], told_by: int
) -> dict[Value, tuple[int, object]]:
    """With the values that were told since, as they are now."""
    found = dict(known)
    for value in account.values:
        if value not in known and value.told <= told_by:
            found[value] = (value.slot.at, _said(value))
    return found


def _said(value: Value) -> object:
    """What a value says where it is used; None where it is not."""
    return value.content.value if value.is_shown else None


def _followed(account: Account, value: Value) -> Value:
    """The value itself, or the final one that a preliminary one of another time has become."""
    if value.is_standing:
        return value
    for other in account.values:
        if other.is_standing and value.slot.at in other.former:
            return other
    return value

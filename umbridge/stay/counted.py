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


def _followed(account: Account, value: Value) -> Value:
    """The value itself, or the final one that a preliminary one of another time has become."""
    if value.is_standing:
        return value
    for other in account.values:
        if other.is_standing and value.slot.at in other.former:
            return other
    return value

"""Values that were sent and are not used, as rows for programs and in words for people."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypedDict

from umbridge.stay.reasons import PartReason, Reason

# By ``notused.Why``. A limit is the moment that the value is after or before.
WORDS = {
    "after_the_moment": "collected after the moment that is judged, {limit}",
    "told_too_late": "told {told}, and what counts was told by {limit}",
    "before_the_first_contact": "from before the first contact, {limit}",
    "older_than_the_window": "older than what counts here, which begins {limit}",
    "unread": "nobody can read it: {reason}",
    "in_doubt": "a correction or withdrawal may mean it, and nobody knows",
    "result_not_found": "a correction or withdrawal, and no result has its name: one that it may mean counts",
    "order_not_found": "its end, and no order has its number: one that it may mean counts",
}
_COUNTS = frozenset({"result_not_found", "order_not_found"})


#: The reason of a value that counts from its message, as nobody sent when it was collected.
UNTIMED = PartReason.UNTIMED.value


class AsideRow(TypedDict):
    """One such value. ``value`` is None where it could not be read."""

    fact: str
    value: str | None
    unit: str
    at: str
    told: str
    why: str
    limit: str | None
    reason: str | None


def minute(at: str) -> str:
    """A time as a chart writes it, its offset behind it: seconds if there are any. The ledger's are UTC."""
    day, found, clock = at.partition("T")
    if found and clock.endswith("Z"):
        return minute(f"{at[:19]}+00:00")
    time, sign, offset = clock[:8], clock[8:9], clock[9:]
    if sign not in ("+", "-"):
        return at
    return f"{day} {time.removesuffix(':00')} {sign}{offset}"


def words_of(row: AsideRow, name: str) -> str:
    """One value in words. ``name``: what its fact is to be called."""
    value = "" if row["value"] is None else f" {minute(row['value'])} {row['unit']}".rstrip()
    why = WORDS[row["why"]].format(
        limit=minute(row["limit"] or ""), told=minute(row["told"]), reason=_says(row["reason"] or "")
    )
    rest = "" if row["why"] in _COUNTS else ": not used"
    untimed = " (when it was collected was not sent)" if row["reason"] == UNTIMED else ""
    return f"{name}{value} of {minute(row['at'])}{untimed}: {why}{rest}"


def sentence(rows: Iterable[AsideRow]) -> str:
    """Several as the end of a rationale, facts by their ids as there; "" for none."""
    said = "; ".join(words_of(row, row["fact"]) for row in rows)
    return f"Sent: {said}." if said else ""


def _says(code: str) -> str:
    return next((f"{each.says} ({code})" for each in Reason if each == code), code)

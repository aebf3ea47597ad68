"""Who pays for a stay: the class of the cover that pays first, and of every cover that stands.

The plan in force on the day care began goes first: what begins or ends during an inpatient stay does not
change who pays for it (42 CFR 422.318 for Medicare Advantage). Notices go by any cover that stands.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import date
from typing import NamedTuple

from umbridge.model import Coverage
from umbridge.settings.site import SiteProfile

MEDICARE = ("MEDICARE_FFS", "MEDICARE_ADVANTAGE")
UNKNOWN = "UNKNOWN"


class Payers(NamedTuple):
    """``first`` is the class of the stay; ``standing`` has the class of each cover in force, in order."""

    first: str
    standing: tuple[str, ...]

    @property
    def has_medicare(self) -> bool:
        """Whether Medicare pays first, second or later: its notices are owed alike."""
        return any(each in MEDICARE for each in self.standing)


def payers_of(cover: Sequence[Coverage], came: date, until: date, site: SiteProfile) -> Payers:
    """By the plans in the order of paying, between the day care began and the last day that is known."""
    standing = tuple(in_force(cover, came, max(came, until)))
    first = next(in_force(standing, came, came), standing[0] if standing else None)
    return Payers(
        UNKNOWN if first is None else class_of(first, site), tuple(class_of(e, site) for e in standing)
    )


def in_force(cover: Sequence[Coverage], begins: date, until: date) -> Iterator[Coverage]:
    """The plans in force on any day from ``begins`` to ``until`` (IN1-12, IN1-13)."""
    for each in cover:
        has_ended = bool(each.ends) and each.ends < _as_sent(begins)
        is_to_come = bool(each.begins) and each.begins > _as_sent(until)
        if not has_ended and not is_to_come:
            yield each


def _as_sent(day: date) -> str:
    """As IN1 has it: YYYYMMDD."""
    return day.isoformat().replace("-", "")


def class_of(plan: Coverage, site: SiteProfile) -> str:
    return site.payer_class(plan.plan_type, plan.plan_id)

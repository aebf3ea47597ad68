"""How far back one look at a stay's facts goes, and by when what counts in it must have been told."""

from __future__ import annotations

from umbridge.stay.clock import HOUR
from umbridge.stay.dictionary import FactType
from umbridge.values.frozen import dataclass
from umbridge.values.kinds import ReviewType

#: Of what is judged as of now, vital signs and laboratory values of so many hours count.
NOW_HOURS = 24
#: Care that is planned is judged by what was measured and assessed in so many days, before the encounter too.
#: Chosen for umbridge, unsigned.
PLANNED_HOURS = 30 * 24
_PLANNED_GROUPS = ("vital", "laboratory", "ecg", "assessment")
#: What stands in the record about an expectation: it counts from when it was signed, with the same grace as a
#: result that was told late, for the rule asks for the record and not for the minute (42 CFR 412.3(d)(1)(i)).
DOCUMENTS = frozenset({"expectation_documented", "case_by_case_documented", "expected_discharge"})
_NOW = (ReviewType.CONTINUED_STAY, ReviewType.DISCHARGE)


@dataclass(frozen=True, slots=True)
class Cut:
    """One review's. ``told_by``: the instant after which nothing new may be told; None where all counts.

    ``from_arrival``: of a first look, whose windows reach back to the first contact. ``is_later``: a later
    look at the same status, which goes by what is so now, as a continued stay does. ``documented_by``: of a
    first look, until when documents are read.
    """

    review: ReviewType
    told_by: int | None = None
    from_arrival: bool = False
    is_later: bool = False
    documented_by: int | None = None

    @property
    def window(self) -> str:
        """A name of the window that its results are looked at in."""
        return f"{self.review.value}{'' if self.told_by is None else self.told_by}{self.is_later}"

    @property
    def by_latest(self) -> bool:
        """Whether the latest value of a vital sign or laboratory test counts, rather than the worst."""
        return self.review in _NOW or self.is_later

    def last(self, fact: str, now: int) -> int:
        """The last instant at which a result of this fact counts, in a look that is made at ``now``."""
        if self.documented_by is None or fact not in DOCUMENTS:
            return now
        return max(now, self.documented_by)

    def first(self, kind: FactType, now: int, contact: int | None) -> int | None:
        """The first instant from which a result of this fact counts; None where any does."""
        if kind.may_predate:
            # Known before this illness: counted back from the first contact, so that it does not run out
            # in the middle of the stay.
            return (now if contact is None else contact) - (kind.window_hours or 0) * HOUR
        if self.review is ReviewType.PROSPECTIVE and kind.group in _PLANNED_GROUPS:
            return now - PLANNED_HOURS * HOUR
        if self.from_arrival and contact is not None:
            return contact
        hours = NOW_HOURS if self.by_latest and kind.is_measured else kind.window_hours
        bounds = [at for at in (contact, None if hours is None else now - hours * HOUR) if at is not None]
        return max(bounds, default=None)

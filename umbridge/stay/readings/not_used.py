"""What was sent of a fact and is not used in one look, and why: too late, too old, unreadable or in doubt.

A fact without a usable value is unknown. That it is unknown is not to be shown as if nothing had been sent.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Set
from datetime import datetime
from enum import StrEnum

from umbridge.clinical.measured import CONTRADICTED
from umbridge.model import FactValue
from umbridge.stay.clock import instant, moment
from umbridge.stay.dictionary import dictionary
from umbridge.stay.fold import StayFold
from umbridge.stay.readings.cut import Cut
from umbridge.stay.reasons import PartReason
from umbridge.stay.results.result_list import ResultList
from umbridge.stay.results.statements import UNTIMED, Result
from umbridge.stay.stay import Stay
from umbridge.values.frozen import dataclass

#: Facts that are worked out, or answered, by what was sent of others.
MADE_OF = {
    **{f"{fact}_contradicted": (fact,) for fact in CONTRADICTED},
    "altered_mentation": ("consciousness", "gcs"),
    "corrected_sodium": ("sodium", "glucose"),
    "creatinine_rise_48h": ("creatinine",),
    "ecg_new_ischemia": ("heart_ecg_score",),
    "effective_osmolality": ("sodium", "glucose"),
    "failed_outpatient_therapy": ("outpatient_therapy_hours",),
    "gcs": ("consciousness",),
    "hemoglobin_fall_24h": ("hemoglobin",),
    "hypotension_aggressive_fluids": ("sbp",),
    "midnights_expected": ("care_start",),
    "midnights_from_care": ("care_start",),
    "midnights_so_far": ("care_start",),
    "new_confusion": ("consciousness",),
    "o2_above_usual": ("o2_flow", "fio2", "home_oxygen", "home_o2_flow"),
    "pao2_fio2": ("pao2", "fio2"),
    "potassium": ("specimen_hemolyzed",),
    "rise_in_creatinine": ("creatinine", "baseline_creatinine"),
    "serial_troponin": ("troponin_ratio",),
    "spo2_limit": ("usual_spo2", "o2_target_88_92", "home_oxygen"),
    "spo2_room_air": ("spo2",),
    "st_elevation": ("heart_ecg_score",),
    "sustained_hypotension": ("sbp",),
    "troponin_change": ("troponin_ratio",),
}
#: The exceptions of a stay that has anything unread, or in doubt.
_RAISED = frozenset({"RESULT_UNREAD", "CORRECTION_AMBIGUOUS"})
MOST_SHOWN = 3  # of one fact, the newest


class Why(StrEnum):
    """Why a value is not used."""

    AFTER = "after_the_moment"
    LATE = "told_too_late"
    BEFORE = "before_the_first_contact"
    OLD = "older_than_the_window"
    UNREAD = "unread"
    DOUBT = "in_doubt"
    UNFOUND = "result_not_found"  # a correction or withdrawal: what it may mean goes on counting
    STRANGE = "order_not_found"  # an end: the order that it may mean goes on counting


@dataclass(frozen=True, slots=True)
class NotUsed:
    """One value. ``limit``: the moment that it is after or before; ``reason``: why it could not be read, or
    that nobody sent when it was collected."""

    fact: str
    value: FactValue | None
    unit: str
    at: datetime
    told: datetime
    why: Why
    limit: datetime | None
    reason: str


@dataclass(frozen=True, slots=True)
class Within:
    """Where a look at one stay begins and ends."""

    fold: StayFold
    stay: Stay
    cut: Cut
    at: int

    @property
    def contact(self) -> int | None:
        return None if self.stay.first_contact is None else instant(self.stay.first_contact)

    def first(self, fact: str) -> int | None:
        return self.cut.first(dictionary()[fact], self.at, self.contact)

    def clock(self, at: int) -> datetime:
        return moment(at, self.stay.site.zone)

    def why(self, fact: str, result: Result) -> tuple[Why, int] | None:
        """Why what was collected and told at these times does not count; None where it would."""
        first = self.first(fact)
        if result.at > (last := self.cut.last(fact, self.at)):
            return Why.AFTER, last
        if first is not None and result.at < first:
            is_before = self.contact is not None and result.at < self.contact
            return (Why.BEFORE, self.contact or first) if is_before else (Why.OLD, first)
        if self.cut.told_by is not None and result.sent > self.cut.told_by:
            return Why.LATE, self.cut.told_by
        return None


def unread(look: Within, wanted: Set[str]) -> tuple[str, ...]:
    """The wanted facts of which something came in for this look that nobody can read, or of which nobody
    knows whether it holds, or that are made of such."""
    if _RAISED.isdisjoint(look.stay.exceptions):  # nothing of the kind in the whole stay
        return ()
    found = {fact for fact in look.fold.sent if any(_unread(look, fact)) or any(_doubted(look, fact))}
    if found:
        found |= {made for made, of in MADE_OF.items() if not found.isdisjoint(of)}
    return tuple(sorted(found & wanted))


def not_used(look: Within, unknown: Collection[str], held: Collection[str] = ()) -> Iterator[NotUsed]:
    """What was sent of facts that are unknown in a look, or of what they are made of. Of those in ``held``,
    which may be known by other values, what nobody can read."""
    for fact in sorted(_with_parts(unknown) & look.fold.sent):
        if fact in unknown or not _counts(look, fact):
            yield from _of(look, fact)
        elif fact in held:
            yield from _of(look, fact, is_held=True)
    for fact in sorted((_with_parts(held) - _with_parts(unknown)) & look.fold.sent):
        yield from _of(look, fact, is_held=True)


def _with_parts(facts: Collection[str]) -> set[str]:
    return {*facts, *(part for fact in facts for part in MADE_OF.get(fact, ()))}


def _of(look: Within, fact: str, *, is_held: bool = False) -> Iterator[NotUsed]:
    listed, unit = look.fold.results(fact), dictionary()[fact].unit
    found: list[tuple[Result, Why, int | None]] = [(each, Why.UNREAD, None) for each in _unread(look, fact)]
    found += [(each, Why.DOUBT, None) for each in _doubted(look, fact)]
    for each in [] if listed is None or is_held else _near(look, fact, listed):
        why = None if each.value is None else look.why(fact, each)
        if why is not None and look.fold.is_patient(each.patient):
            found.append((each, *why))
    for each, word, limit in sorted(found, key=lambda one: one[0].order)[-MOST_SHOWN:]:
        yield NotUsed(
            fact,
            each.value,
            unit,
            look.clock(each.at),
            look.clock(each.sent),
            word,
            None if limit is None else look.clock(limit),
            each.original if word is Why.UNREAD else PartReason.UNTIMED if UNTIMED in each.source else "",
        )


def _near(look: Within, fact: str, listed: ResultList) -> list[Result]:
    """What was collected since the window began; where there is none, the newest from before."""
    first = look.first(fact)
    found = listed.between(first, instant(look.stay.as_of))
    return found if found or first is None else listed.between(None, first - 1)[-MOST_SHOWN:]


def _counts(look: Within, fact: str) -> bool:
    """Whether any value of it counts in this look."""
    listed = look.fold.results(fact)
    return any(
        each.value is not None and look.why(fact, each) is None and look.fold.is_patient(each.patient)
        for each in ([] if listed is None else listed.between(look.first(fact), look.cut.last(fact, look.at)))
    )


def _unread(look: Within, fact: str) -> Iterator[Result]:
    listed = look.fold.results(fact)
    for each in () if listed is None else listed.unread(look.fold.is_patient):
        if look.why(fact, each) is None:
            yield each


def _doubted(look: Within, fact: str) -> Iterator[Result]:
    listed = look.fold.results(fact)
    for each in () if listed is None else listed.doubted(look.fold.is_patient):
        if look.why(fact, each) is None:
            yield each

"""What a stay has of results, for the patient's other stays: a correction may have come under another visit.

A lane's fold knows no other lane. A correction that found nothing where it was filed may mean a value that
the other stay goes on using.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

from umbridge.stay.orders.entities import alike
from umbridge.stay.orders.register import Orders
from umbridge.stay.results.likeness import Told
from umbridge.stay.results.result_list import ResultList
from umbridge.stay.results.statements import REPORT_WITHDRAWN, UNOBTAINABLE, Result
from umbridge.stay.results.upright import overlap

_ANY = ""  # a whole report is withdrawn: whatever the fact


class Reported(NamedTuple):
    """The results of one stay's own patient, by fact, and the orders."""

    results: Mapping[str, ResultList]
    told: Told
    is_own: Callable[[str], bool]
    orders: Orders

    def lost(self) -> Iterator[tuple[str, Result]]:
        """The corrections and withdrawals that found nothing here, each with its fact."""
        for fact, listed in self.results.items():
            yield from ((fact, each) for each in listed.unfound() if self.is_own(each.patient))
        yield from ((_ANY, each) for each in self.told.lost() if self.is_own(each.patient))

    def is_corrected_in(self, other: Reported) -> bool:
        """Whether a value that counts here is one that was corrected or withdrawn in the other stay.

        The number of its report names it, or that of its order unless the times differ: the visit's is no
        part of a result's name.
        """
        return any(
            each.value is not None and self.is_own(each.patient) and self._is_meant(each, one)
            for fact, one in other.lost()
            for listed in ([self.results.get(fact)] if fact else self.results.values())
            if listed is not None
            for each in listed
        )

    def _is_meant(self, each: Result, one: Result) -> bool:
        if not each.report or not one.report or each.stamp >= one.stamp:
            return False
        told, patient = self.told, each.patient
        is_time = overlap(each, one)
        if one.kind == REPORT_WITHDRAWN:
            is_service = told.may_be_service(each.service, one.service, patient)
            return is_service and told.is_report(each.report, one.report, patient)
        if told.is_near(each.named, one.named, patient):
            return is_time or one.kind != UNOBTAINABLE
        is_order = each.placer != "" and alike(each.placer, one.placer)
        return is_time and is_order and told.is_elsewhere(each.named, one.named, patient)

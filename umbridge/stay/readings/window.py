"""Facts as a review sees them: within their window, by the dictionary's rules, never imputed.

A fact without a reading is unknown. The only silences that mean N are treatments where the site's feed
carries every order, the haemolysis flag, which laboratories send only when it is so, what another answer
implies (``implied``), and what a finished form leaves out where the profile says that it may.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Set
from dataclasses import replace
from datetime import datetime
from decimal import Decimal
from functools import cached_property

from umbridge.model import Reading, Sample
from umbridge.stay.clock import HOUR, instant, moment
from umbridge.stay.dictionary import FactType, dictionary
from umbridge.stay.fold import StayFold
from umbridge.stay.orders.treatment_spans import InForce
from umbridge.stay.person import Diagnosed
from umbridge.stay.readings.assays import hemolyzed, oxygenation, potassium, troponin
from umbridge.stay.readings.baselines import BASELINE_FACTS, UNSTATED, room_air
from umbridge.stay.readings.cut import Cut
from umbridge.stay.readings.derived import DERIVED_FACTS, single
from umbridge.stay.readings.ends import least_reached, most_reached, number_of, value_of
from umbridge.stay.readings.implied import CLOSED, IMPLIED, beside, failed_therapy
from umbridge.stay.readings.payment import PAYMENT_FACTS, PRESENT, SENT_TOO, UNSAID
from umbridge.stay.readings.prevailing import latest_only, prevailing, severity_of
from umbridge.stay.readings.repeats import REPEAT_FACTS
from umbridge.stay.readings.serial import SERIAL_FACTS
from umbridge.stay.readings.sources import coded_by, plain, sources_of
from umbridge.stay.readings.treatments import NO_ORDER, TREATMENT_FACTS, around, fluid_rate
from umbridge.stay.results.by_time import Look
from umbridge.stay.results.result_list import ResultList
from umbridge.stay.results.statements import Result
from umbridge.stay.stay import Stay
from umbridge.values.interval import Interval, as_interval, as_number, least, most
from umbridge.values.kinds import ReviewType

SERIES_KEPT = 4  # a trend; rules go by latest, low and high
SERIAL_KEPT = 16  # where repeats are the point: troponin
TREATMENT_OBX_HOURS = 24


def readings(
    fold: StayFold,
    as_of: datetime,
    *,
    review: ReviewType | Cut,
    wanted: Set[str],
    stay: Stay | None = None,
) -> dict[str, Reading]:
    """The wanted facts that are known at ``as_of``. Ids that are no facts are left out, like unknown ones.

    ``stay``: as of now, which a first review's ``as_of`` is before.
    """
    cut = review if isinstance(review, Cut) else Cut(review)
    window = _Window(fold, as_of, cut, stay or fold.stay(as_of))
    sources = sources_of(frozenset(wanted), frozenset(window.closed), _OF_ITS_OWN)
    # What nobody spoke of is unknown, as most facts are; of a treatment it may be N.
    asked = (fold.sent & sources.sent) | ((fold.sent | window.coded) & sources.coded)
    asked |= ((fold.sent | window.ordered) & sources.ordered) | sources.made_by(fold.sent)
    found = {fact: window.reading(fact) for fact in (*sources.others, *asked)}
    if fold.site.closed_world:
        found |= {fact: single(fact, window.unordered) for fact in sources.ordered - asked}
    known = {fact: reading for fact, reading in sorted(found.items()) if reading is not None}
    return {fact: latest_only(each) for fact, each in known.items()} if cut.is_later else known


class _Window:
    """One look at a fold: the facts of one review at one moment."""

    def __init__(self, fold: StayFold, as_of: datetime, cut: Cut, stay: Stay) -> None:
        self.fold = fold
        self.stay = stay
        self.now = instant(as_of)
        self.cut, self._name = cut, cut.window
        # Until then nothing can have been told too late, and the window slides as any other does.
        self._told_by = None if cut.told_by is None or instant(stay.as_of) <= cut.told_by else cut.told_by
        self.zone, self.patient = stay.site.zone, fold.patient
        self.contact = None if stay.first_contact is None else instant(stay.first_contact)
        self._closed: dict[str, Sample] | None = None
        self._own: dict[str, bool] = {}
        self._moments: dict[int, datetime] = {}
        self._readings: dict[str, Reading | None] = {}
        #: Of a treatment that no order and no result speaks of, where the feed carries every order.
        self.unordered = Sample(False, self.clock(self.now), NO_ORDER)

    @cached_property
    def _diagnoses(self) -> list[tuple[str, Diagnosed]]:
        """Those of this moment, each with its code without the dot, principal first."""
        told_by = self.cut.told_by
        told = self.fold.diagnoses() if told_by is None else self.fold.diagnoses(told_by, self.now)
        return [
            (each.code.replace(".", ""), each)
            for each in told
            if told_by is not None or each.at <= self.now  # else those of a later moment are left out already
        ]

    @property
    def coded(self) -> Set[str]:
        """The facts that diagnoses of this moment say something about."""
        return {fact for code, _ in self._diagnoses for fact in coded_by(code)}

    @property
    def ordered(self) -> Set[str]:
        """The treatments of which any order was told."""
        return self.fold.ordered(self._told_by)

    def reading(self, fact: str) -> Reading | None:
        """A fact as this look finds it, worked out once: derived facts go by one another."""
        if fact not in self._readings:
            self._readings[fact] = self._worked_out(fact)
        return self._readings[fact]

    def _worked_out(self, fact: str) -> Reading | None:
        kind = plain(_OF_ITS_OWN).get(fact)
        if kind is not None:
            return self.sent(kind)
        kind = dictionary().get(fact)
        if kind is None:
            derive = _DERIVED.get(fact)
            return None if derive is None else derive(self.present if fact in PRESENT else self)
        if kind.closed_world:
            return around(self, kind, self.treatment(kind))
        found = self.stated(kind)
        implied = IMPLIED.get(fact)
        if implied is not None:
            found = beside(fact, found, implied(self), is_silent=found is None and self.is_silent(kind))
        unsaid = _SILENT.get(fact)
        silence = self.closed.get(kind.closed_by) if unsaid is None else unsaid(self)
        if found is None and silence is not None and self.is_silent(kind):
            found = single(fact, silence)
        return found

    def stated(self, kind: FactType) -> Reading | None:
        """By what was sent about it, diagnoses included."""
        if kind.icd10:
            return self.diagnosed(kind)
        special = _SPECIAL.get(kind.id)
        return self.sent(kind) if special is None else special(self, kind)

    @property
    def closed(self) -> Mapping[str, Sample]:
        """Parts of the chart whose silence is N, by what the profile assumes and who said what was done."""
        if self._closed is None:
            self._closed = {}
            for part, event in self.fold.site.assumptions.items():
                told = self.sent(dictionary()[event])
                if told is not None and told.latest.value is True:
                    self._closed[part] = Sample(False, told.latest.at, CLOSED + event)
        return self._closed

    def is_silent(self, kind: FactType) -> bool:
        """Whether nothing was sent: not that no value could be had, nor one that nobody can read or that was
        withdrawn."""
        listed = self.fold.results(kind.id)
        if listed is None:
            return True
        first, last = self.first_instant(kind), self.cut.last(kind.id, self.now)
        within = listed.between(first, last)
        if self._told_by is not None:
            within = [each for each in within if each.sent <= self._told_by]
            within += self._within(listed, kind.id, first, last)
        return not any(self.is_own(each.patient) for each in within)

    @property
    def told_by(self) -> int:
        """By when what counts must have been told."""
        return self.now if self._told_by is None else self._told_by

    @cached_property
    def present(self) -> _Window:
        """A look at what is so now, whatever moment the review is judged at."""
        is_now = self.cut.told_by is None
        return self if is_now else _Window(self.fold, self.stay.as_of, Cut(self.cut.review), self.stay)

    # -- results ---------------------------------------------------------------------------------------

    def is_own(self, patient: str) -> bool:
        known = self._own.get(patient)
        if known is None:
            known = self._own[patient] = self.fold.is_patient(patient)
        return known

    def first_instant(self, kind: FactType) -> int | None:
        return self.cut.first(kind, self.now, self.contact)

    def usable(self, kind: FactType) -> list[Result]:
        return self._usable(kind, kind.id, self.first_instant(kind))

    def of_stay(self, kind: FactType) -> list[Result]:
        """Usable results since the first contact, however long ago."""
        return self._usable(kind, "stay", self.contact)

    def _usable(self, kind: FactType, name: str, first: int | None) -> list[Result]:
        listed = self.fold.results(kind.id)
        within = [] if listed is None else self._within(listed, name, first, self.cut.last(kind.id, self.now))
        own = {patient for patient in {each.patient for each in within} if self.is_own(patient)}
        return [each for each in within if each.value is not None and each.patient in own]

    def count(self, kind: FactType) -> int | None:
        """How many results its window has, usable or not; None of a moment that is past."""
        listed = self.fold.results(kind.id) if self._told_by is None else None
        return None if listed is None else listed.count(self.first_instant(kind), self.now)

    def at(self, fact: str, at: int) -> list[Result]:
        """The results of one fact at an instant, in the order told."""
        listed = self.fold.results(fact)
        return [] if listed is None else self._within(listed, f"at {at}", at, at)

    def _within(self, listed: ResultList, name: str, first: int | None, last: int) -> list[Result]:
        """The results of a stretch of time; of a moment that is past, those that were told in time."""
        if self._told_by is None:
            return listed.between(first, last)
        return listed.kept(f"{self._name} {name}", first, last, self._told_by, self.patient).results

    def sample(self, kind: FactType, result: Result) -> Sample:
        value = result.value
        assert value is not None  # noqa: S101 - usable() let only values through
        return Sample(value, self.clock(result.at), result.source, kind.unit)

    def clock(self, at: int) -> datetime:
        """An instant on the facility's clock; most samples of a look share a few."""
        known = self._moments.get(at)
        if known is None:
            known = self._moments[at] = moment(at, self.zone)
        return known

    def _looked(self, listed: ResultList, kind: FactType, name: object, first: int | None) -> Look | None:
        rank = number_of if kind.kind == "number" else severity_of(kind) if kind.worst == "worst" else None
        last = self.cut.last(kind.id, self.now)
        return listed.look(name, first, last, self.patient, self.is_own, rank, SERIES_KEPT)

    def sent(self, kind: FactType) -> Reading | None:
        """Unless the moment is past the window is not gone through: it is what the last look left."""
        listed = self.fold.results(kind.id)
        if listed is None:
            return None
        if self._told_by is not None:
            return self._of_past(kind, listed, kind.id, self.first_instant(kind))
        if listed.has_bounds:
            return self.of_results(kind, self.usable(kind))
        look = self._looked(listed, kind, self._name, self.first_instant(kind))
        return None if look is None else self.of_look(kind, look)

    def _of_past(self, kind: FactType, listed: ResultList, name: str, first: int | None) -> Reading | None:
        assert self._told_by is not None  # noqa: S101 - only a past moment is asked for
        name, last = f"{self._name} {name}", self.cut.last(kind.id, self.now)
        kept = listed.kept(name, first, last, self._told_by, self.patient)
        if kept.shown is None:
            usable = [each for each in kept.results if each.value is not None and self.is_own(each.patient)]
            kept.shown = self.of_results(kind, usable)
        return kept.shown

    def of_look(self, kind: FactType, look: Look) -> Reading:
        if look.shown is not None:
            return look.shown
        newest = look.newest
        latest = low = high = newest[-1]
        if kind.kind == "number":
            low, high = look.low, look.high
        elif kind.worst == "worst":
            high = look.high
        known, made = look.samples, {}
        for each in (low, high, *newest):
            held = known.get(id(each))  # the pair keeps its result alive, so that no other has its id
            made[id(each)] = held or (each, self.sample(kind, each))
        look.samples = made
        last, least, most = (made[id(each)][1] for each in (latest, low, high))
        look.shown = Reading(kind.id, last, least, most, tuple([made[id(each)][1] for each in newest]))
        return look.shown

    def of_results(
        self, kind: FactType, results: list[Result], series: list[Result] | None = None
    ) -> Reading | None:
        if not results:
            return None
        if len(results) == 1 and series is None:  # the usual case: one sample is all there is to say
            return single(kind.id, self.sample(kind, results[0]))
        latest = low = high = results[-1]
        if kind.kind == "number":
            if any(isinstance(each.value, Interval) for each in results):
                return self._of_bounds(kind, results, series)
            low = min(results, key=number_of)
            high = max(results, key=number_of)
        elif kind.worst == "worst":
            high = max(results, key=lambda each: kind.codes.index(str(each.value)))
        shown = results[-SERIES_KEPT:] if series is None else series[-SERIAL_KEPT:]
        samples = {id(each): self.sample(kind, each) for each in (latest, low, high, *shown)}
        return Reading(
            kind.id,
            samples[id(latest)],
            samples[id(low)],
            samples[id(high)],
            tuple(samples[id(each)] for each in shown),
        )

    def _of_bounds(self, kind: FactType, results: list[Result], series: list[Result] | None) -> Reading:
        """Numbers of which some are bounds: the lowest of 5 and "<6" is at most 5, whichever is the lower."""
        shown = results[-SERIES_KEPT:] if series is None else series[-SERIAL_KEPT:]
        samples = {id(each): self.sample(kind, each) for each in (*results, *shown)}
        values = [each.value for each in results if isinstance(each.value, Decimal | Interval)]

        def end(found: Interval, result: Result) -> Sample:
            same = next((each for each in results if as_interval(value_of(each)) == found), None)
            if same is not None:
                return samples[id(same)]
            return replace(samples[id(result)], value=as_number(found) or found)

        low = end(least(values), min(results, key=least_reached))
        high = end(most(values), max(results, key=most_reached))
        return Reading(
            kind.id, samples[id(results[-1])], low, high, tuple(samples[id(each)] for each in shown)
        )

    # -- facts with rules of their own -------------------------------------------------------------------

    def turns(self, fact: str) -> InForce | None:
        """The orders of one treatment."""
        return self.fold.orders(fact, self._told_by)

    def given(self, fact: str, at: int) -> Sample | None:
        """Whether a treatment was given at an instant, and by what; None where nobody can say."""
        kind = dictionary()[fact]
        turns, listed = self.turns(fact), self.fold.results(fact)
        newest = None if turns is None else turns.newest(at, self.is_own)
        first = at - TREATMENT_OBX_HOURS * HOUR
        sent = [] if listed is None else self._within(listed, f"at {at}", first, at)
        own = [each for each in sent if each.value is not None and self.is_own(each.patient)]
        if own and (newest is None or own[-1].at >= newest.at):
            return self.sample(kind, own[-1])
        order = None if turns is None else turns.in_force(at, self.is_own)
        if order is not None:
            return Sample(True, self.clock(order.at), order.source)
        if not self.fold.site.closed_world:
            return None
        return Sample(False, self.clock(at), NO_ORDER if newest is None else newest.source)

    def first_on(self, fact: str, first: int, last: int) -> list[Result]:
        """Results of one fact in the order of time, at least those of a stretch; as known at the moment."""
        listed = self.fold.results(fact)
        if listed is None or self._told_by is None:
            return [] if listed is None else listed.between(first, last)
        return self._within(listed, "stay", self.contact, self.now)

    def expected(self) -> tuple[int, int, str] | None:
        """PV2-9: the discharge, when that was told, and the source; None where there is none."""
        until = self.cut.told_by
        person = self.fold.person() if until is None else self.fold.person_at(until, self.now)
        when, said = person.get("expected", ([0], None))
        if said is None or (until is None and when[0] > self.now):
            return None
        return said[0], when[0], said[1]

    def diagnosed(self, kind: FactType) -> Reading | None:
        """Y from a standing DG1 wins over an N that was sent; the source then names both."""
        sent = self.sent(kind)
        for prefixes, answer in ((kind.icd10, True), (kind.icd10_no, False)):
            if not prefixes or (sent is not None and not answer):
                continue
            for code, each in self._diagnoses:
                if code.startswith(prefixes):
                    source = each.source
                    if sent is not None and sent.latest.value is not answer:
                        source = f"{source} over {sent.latest.source}"
                    return single(kind.id, Sample(answer, self.clock(each.at), source))
        return sent

    def treatment(self, kind: FactType) -> Reading | None:
        """In force now: the newest of an OBX of the last 24 h and the orders up to now."""
        turns, listed = self.turns(kind.id), self.fold.results(kind.id)
        if turns is None and listed is None:  # as of most treatments
            return single(kind.id, self.unordered) if self.fold.site.closed_world else None
        newest = None if turns is None else turns.newest(self.now, self.is_own)
        first = self.now - TREATMENT_OBX_HOURS * HOUR
        first = first if self.contact is None else max(first, self.contact)
        sent: Reading | None = None
        if listed is not None and self._told_by is not None:
            sent = self._of_past(kind, listed, kind.id, first)
        elif listed is not None:
            look = self._looked(listed, kind, f"{self._name} treatment", first)
            sent = None if look is None else self.of_look(kind, look)
        if sent is not None and (newest is None or instant(sent.latest.at) >= newest.at):
            return sent
        order = None if turns is None else turns.in_force(self.now, self.is_own)
        if order is not None:
            return single(kind.id, Sample(True, self.clock(order.at), order.source))
        if not self.fold.site.closed_world:
            return None
        if newest is not None:
            return single(kind.id, Sample(False, self.clock(newest.at), newest.source))
        return single(kind.id, self.unordered)

    def prevailing(self, reading: Reading) -> tuple[Sample, ...]:
        kind = dictionary().get(reading.fact)
        if kind is not None and kind.is_measured and self.cut.by_latest:
            return (reading.latest,)
        return prevailing(reading, self.cut.review)


_SPECIAL: Mapping[str, Callable[[_Window, FactType], Reading | None]] = {
    "troponin_ratio": troponin,
    "potassium": potassium,
    "specimen_hemolyzed": hemolyzed,
    "pao2_fio2": oxygenation,
    "spo2_room_air": room_air,
    "failed_outpatient_therapy": failed_therapy,
    "iv_fluid_rate": fluid_rate,
    **SENT_TOO,
}
_SILENT: Mapping[str, Callable[[_Window], Sample | None]] = {**UNSAID, **UNSTATED}
_DERIVED: Mapping[str, Callable[[_Window], Reading | None]] = {
    **BASELINE_FACTS,
    **DERIVED_FACTS,
    **PAYMENT_FACTS,
    **{**REPEAT_FACTS, **SERIAL_FACTS, **TREATMENT_FACTS},
}
_OF_ITS_OWN = frozenset({*_SPECIAL, *_SILENT, *IMPLIED})

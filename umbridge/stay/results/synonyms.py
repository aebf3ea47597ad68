"""Results that a message names by a code that nobody mapped, where others of their report say which it is.

The triplets of one OBX-3 are synonyms (2.A.13, CWE). A laboratory that sends its own code and LOINC's
together corrects by its own code alone; one that leaves the coding system out means the code that it had
sent with one.
Only within the report: a code of one's own names something else elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any

from umbridge.hl7.moments import EPOCH
from umbridge.model import Coded, Event, Observation
from umbridge.settings.site import SiteProfile
from umbridge.stay.dictionary import LOINC, by_loinc, dictionary
from umbridge.stay.facts import feeds
from umbridge.stay.likely import likely_fact
from umbridge.stay.reasons import Reason
from umbridge.stay.results.likeness import Told, base_of
from umbridge.stay.results.statements import (
    CONFIRMED,
    CORRECTED,
    FINAL,
    Codes,
    Result,
    kind_of,
    named,
    rows_of,
)

likely = lru_cache(4096)(likely_fact)
#: Of a fact: whether a report has results under a code.
Has = Callable[[str, str, str, str], bool]


def rows_by_code(
    event: Event, seq: int, patient: str, site: SiteProfile, codes: Codes
) -> dict[str, list[Any]]:
    """What one message says under codes that nobody mapped, and which codes it has together: its increment.

    A value is kept where its code or its words name one fact, by which it is read; a correction or withdrawal
    always, for it takes back what another code may have told.
    """
    base = event.part << 24
    names: dict[int, tuple[str, bool]] = {}
    guesses = [_NOTHING] * len(event.observations)
    for part in codes.unmapped:
        observation = event.observations[part - base - 1]
        kind = kind_of(observation.status, observation.report_status)
        local = _local_name(observation, site)
        if kind is None or not local:
            continue
        guess = _guessed(observation)
        if guess is not None or (kind > FINAL and kind != CONFIRMED):
            names[part] = (local, guess is not None)
            guesses[part - base - 1] = guess or observation._replace(code=_ANY, alternate=Coded(), value="")
    coded: list[Any] = []
    if names:
        shadow = replace(event, observations=tuple(guesses), withdrawals=())
        coded = rows_of(shadow, seq, patient, site)["facts"]
    for row in coded:
        for its in row[5]:
            its[2], is_guessed = names[its[7]]
            if not is_guessed:
                is_value = its[6] == CORRECTED
                its[0], its[8], its[9] = "", None, str(Reason.UNMAPPED) if is_value else ""
    known: dict[str, list[Any]] = {}
    for observation, fact, code in codes.double:
        report = observation.report or named(observation)[0]
        for other in _synonyms(observation, code) if report else ():
            # LOINC's code says which fact it is
            known.setdefault(report, []).append([other, code] if code in by_loinc() else [other, code, fact])
    return {"coded": coded, "codes": [[report, its] for report, its in known.items()]}


_ANY = Coded("2823-3", "", LOINC)  # of a correction whose fact nobody knows: its value is not read by it
_NOTHING = Observation("", Coded(), Coded(), "", "", "", "", EPOCH, "", "")


def _local_name(observation: Observation, site: SiteProfile) -> str:
    """The code of an OBX that nobody mapped, where it may be a synonym of one that is: none of LOINC's."""
    pair = [each for each in (observation.code, observation.alternate) if each.code]
    is_known = any(LOINC in (each.system, site.spellings.system(each.system)) for each in pair)
    is_named = observation.report or observation.placer
    return "" if is_known or not pair or not is_named else f"{pair[0].code}^{pair[0].system}"


def _guessed(observation: Observation) -> Observation | None:
    """The same under LOINC's code of the one fact that its own code, or its words, may stand for."""
    fact = likely(observation.code) or likely(observation.alternate)
    if not fact or not dictionary()[fact].loinc:
        return None
    return observation._replace(code=Coded(dictionary()[fact].loinc[0], "", LOINC), alternate=Coded())


def _synonyms(observation: Observation, code: str) -> Iterator[str]:
    """What else the message calls what it calls by a code that is mapped."""
    for each in (observation.code, observation.alternate):
        if each.code and each.system != LOINC and (name := f"{each.code}^{each.system}") != code:
            yield name


class Synonyms:
    """What is known of codes, by report, and what waits for its report to say more."""

    __slots__ = ("_known", "_log", "_told", "_waiting", "lost")

    def __init__(self, told: Told) -> None:
        self._told = told
        self._log = 0  # how much of what is told of numbers was looked at
        self._known: dict[str, dict[tuple[str, str, str, str], None]] = {}
        #: By report: what was told, under which fact by its words, and what it was found to mean.
        self._waiting: dict[str, list[tuple[str, Result, set[tuple[str, str]]]]] = {}
        #: By fact: what waits, and may correct or withdraw a value of it by its words.
        self.lost: dict[str, list[Result]] = {}

    def __bool__(self) -> bool:
        return bool(self._waiting)

    def learn(self, row: Sequence[Any]) -> None:
        """One report's codes, as the increment has them."""
        report, names = row
        known = self._known.setdefault(base_of(report), {})
        for other, code, *named_fact in names:
            for fact in feeds(named_fact[0] if named_fact else by_loinc()[code].id):
                known[report, other, fact, code] = None

    def wait(self, fact: str, stated: Result) -> None:
        """It is about what its report calls so, if that is told."""
        its = self._waiting.setdefault(base_of(stated.report), [])
        if any(each == fact and stated.is_again(one) for each, one, _ in its):
            return
        its.append((fact, stated, set()))
        if fact and stated.kind > FINAL and stated.kind != CONFIRMED:
            self.lost.setdefault(fact, []).append(stated)

    def found(self, reports: Iterable[tuple[str, str]] | None, has: Has) -> Iterator[tuple[str, Result]]:
        """What is known now of these reports, each of a patient, or of any: by fact, with its code.

        A code that a report has for two facts is said of both.
        """
        if not self._waiting:
            return
        told = self._told
        bases = {base for pair in told.log[self._log :] for base in map(base_of, pair)}
        self._log = len(told.log)
        for report, patient in reports or ():
            bases.update(told.bases(report, patient))
        for base in list(self._waiting) if reports is None else bases & self._waiting.keys():
            for fact, stated, known in self._waiting[base]:
                new = [
                    each for each in self._meant(stated, has) if fact in ("", each[0]) and each not in known
                ]
                if new and not known and stated in (lost := self.lost.get(fact, [])):
                    lost.remove(stated)
                known.update(new)
                yield from ((each, stated._replace(code=code)) for each, code in new)

    def _meant(self, stated: Result, has: Has) -> list[tuple[str, str]]:
        told, report, patient = self._told, stated.report, stated.patient
        found = {
            (fact, code): None
            for base in told.bases(report, patient)
            for known, other, fact, code in self._known.get(base, ())
            if other == stated.code and told.is_report(known, report, patient)
        }
        code, _, system = stated.code.partition("^")
        if not system and code in by_loinc() and has(by_loinc()[code].id, report, code, patient):
            found[by_loinc()[code].id, code] = None
        return list(found)

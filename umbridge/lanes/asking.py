"""Questions put to the plugins, one wave after the other, and their answers: one request to each for all."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import lru_cache
from hashlib import sha256

from umbridge.model import Case
from umbridge.review.case import case
from umbridge.review.critical import LOOKED_AT, told_of_a_critical_value
from umbridge.review.review import Review
from umbridge.review.standing import LaneReviews
from umbridge.review.staying import looked_at, told_of_staying
from umbridge.review.to_ask import told_what_to_measure, with_parts
from umbridge.review.waves import (
    LEVEL_SUPPORTED,
    level_supported,
    told_of_a_correction,
    told_of_a_delay,
    told_of_a_measurement,
    told_of_the_order,
    told_of_what_is_elsewhere,
    waves,
)
from umbridge.screening.case_codec import case_out
from umbridge.screening.host import Asked, Host, Screened
from umbridge.stay.dictionary import DERIVED, dictionary
from umbridge.stay.fold import Stay, StayFold
from umbridge.values.frozen import dataclass
from umbridge.values.kinds import ReviewState


@dataclass(frozen=True, slots=True)
class Screening:
    """One review of one stay, asked and answered."""

    review: Review
    plugin: str
    screened: Screened
    wave: int = 1


_EVERY = frozenset((*dictionary(), *DERIVED))


@lru_cache(maxsize=8)
def _with_the_hosts(facts: frozenset[str]) -> frozenset[str]:
    """What plugins want, and what the host looks at itself: of one set always the same object."""
    return with_parts(facts) | LOOKED_AT | looked_at()


def questions_of(
    fold: StayFold, stay: Stay, asked: tuple[Review, ...], host: Host
) -> list[tuple[Review, Case]]:
    """The cases of a stay's reviews, with every fact that any plugin wants, or that one may yet want."""
    if not asked:
        return []
    wanted = _with_the_hosts(host.facts) if host.all_heard else _EVERY
    return [(review, case(fold, stay, review, wanted, "")) for review in asked]


def digest_of(review: Review, whole: Case, host: Host) -> str:
    """A digest of what is asked, and of whom: to the same the same plugins give the same answer."""
    of_review = (review.is_unordered, review.is_order_gone, *review.elsewhere)
    asked = [case_out(whole, whole.facts.keys()), *of_review, host.editions]
    return sha256(json.dumps(asked).encode()).hexdigest()[:32]


def digest_kept(review: Review, whole: Case, host: Host, *, is_kept: bool) -> str:
    """``digest_of`` what was judged for good, "" of anything else and where nobody keeps it."""
    return digest_of(review, whole, host) if is_kept and review.judged.is_final else ""


def is_answered(said: LaneReviews, review: Review, whole: Case, host: Host) -> bool:
    """Whether a closed first look that was judged for good would be asked what it was asked last."""
    if not review.judged.is_final or review.state is not ReviewState.CLOSED:
        return False
    held = said.review(review.id).closing
    return held is not None and held.asked != "" and held.asked == digest_of(review, whole, host)


Question = tuple[Review, Case, Callable[[str], str]]


@dataclass(frozen=True, slots=True)
class Put:
    """Questions that the first wave of plugins has, and the cases that the second is to get."""

    questions: Sequence[Question]
    first: tuple[str, ...]
    second: tuple[str, ...]
    cases: list[dict[str, Case]]
    asked: Asked


def put(host: Host, questions: Sequence[Question]) -> Put:
    """Put every question to the first wave of plugins, with each plugin's pseudonym and facts.

    One without a diagnosis is put to none of them: which criteria apply is not known, so that no plugin can
    say that its own do, nor that none do.
    """
    wanted = {name: host.declared(name) for name in host.names}
    first, second = waves(wanted)
    declared = {name: frozenset(facts) for name, facts in wanted.items()}
    cases = [
        {
            name: replace(
                whole,
                pseudonym=pseudonym(name),
                facts={fact: reading for fact, reading in whole.facts.items() if fact in declared[name]},
                corrected={fact: said for fact, said in whole.corrected.items() if fact in declared[name]},
            )
            for name in wanted
        }
        for _, whole, pseudonym in questions
    ]
    asked = [
        {name: own[name] for name in (first if whole.diagnoses else ())}
        for own, (_, whole, _) in zip(cases, questions, strict=True)
    ]
    return Put(questions, first, second, cases, host.ask(asked))


@dataclass(frozen=True, slots=True)
class Heard:
    """What the first wave said, and what the second is asked meanwhile."""

    found: list[list[Screening]]
    second: Asked | None


def _as_taken(said: Screened, own: Case, review: Review, whole: Case, wave: int = 1) -> Screened:
    """``whole``: the case with what the plugin did not ask for."""
    result = said.result
    if wave == 1:
        result = told_of_a_delay(told_of_a_measurement(result, own), whole)
    result = told_of_the_order(
        result, review.type, is_unordered=review.is_unordered, is_order_gone=review.is_order_gone
    )
    result = told_of_what_is_elsewhere(result, review.elsewhere)
    if review.state is ReviewState.OPEN:
        result = told_of_a_correction(result, own)
    result = told_of_staying(told_of_a_critical_value(result, review, whole), review, whole)
    result = told_what_to_measure(result, whole)
    return said if result is said.result else replace(said, result=result)


def heard(host: Host, asked: Put) -> Heard:
    """Take what the first wave of plugins says, and put to the second what that comes to."""
    said = [
        answer if whole.diagnoses else {name: host.undiagnosed(name) for name in asked.first}
        for answer, (_, whole, _) in zip(host.answers(asked.asked), asked.questions, strict=True)
    ]
    said = [
        {name: _as_taken(each, own[name], review, whole) for name, each in answer.items()}
        for answer, own, (review, whole, _) in zip(said, asked.cases, asked.questions, strict=True)
    ]
    found = [
        [Screening(review, name, each) for name, each in sorted(answer.items())]
        for (review, _, _), answer in zip(asked.questions, said, strict=True)
    ]
    if not asked.second:
        return Heard(found, None)
    later: list[dict[str, Case]] = []
    for (_, whole, _), own, answer in zip(asked.questions, asked.cases, said, strict=True):
        level = level_supported({name: each.result for name, each in answer.items()}, whole.as_of)
        told = {} if level is None else {LEVEL_SUPPORTED: level}
        later.append({name: replace(own[name], facts={**own[name].facts, **told}) for name in asked.second})
    return Heard(found, host.ask(later))


def answers(host: Host, asked: Put, so_far: Heard) -> list[list[Screening]]:
    """What all plugins say, by question."""
    if so_far.second is not None:
        for (review, whole, _), own, place, answer in zip(
            asked.questions, asked.cases, so_far.found, host.answers(so_far.second), strict=True
        ):
            place += [
                Screening(review, name, _as_taken(said, own[name], review, whole, 2), 2)
                for name, said in sorted(answer.items())
            ]
    return so_far.found


def screenings(host: Host, questions: Sequence[Question]) -> list[list[Screening]]:
    """Every question put to every plugin and answered: for the shadow run, as the daemon does it."""
    asked = put(host, questions)
    return answers(host, asked, heard(host, asked))

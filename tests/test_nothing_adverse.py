"""No input makes software say that care is not due: only a person may (42 CFR 482.30(d))."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import asdict, replace
from datetime import timedelta
from decimal import Decimal
from itertools import product
from types import ModuleType

import pytest
import umbridge_interqual_like
import umbridge_mcg_like
import umbridge_two_midnight
from umbridge_kit.boundary_patients import AT, Value, case, choices
from umbridge_kit.testing import ADVERSE

from umbridge.criteria.content import Subset
from umbridge.model import Case, Reading, Sample, ScreenResult
from umbridge.values.kinds import Level, Outcome, ReviewType, Status

SAID = {"MEETS", "MEETS_ADVISE_HIGHER", "PEND", "REFER", "NOT_APPLICABLE"}
PLUGINS = (umbridge_interqual_like, umbridge_mcg_like, umbridge_two_midnight)
PAYERS = ("MEDICARE_FFS", "MEDICARE_ADVANTAGE", "COMMERCIAL", "UNKNOWN")
STATUSES = (Status.INPATIENT, Status.OBSERVATION, Status.UNKNOWN)
EACH = pytest.mark.parametrize("plugin", PLUGINS, ids=lambda plugin: plugin.NAME)


def test_there_is_no_adverse_outcome_to_give() -> None:
    assert {each.value for each in Outcome} == SAID
    assert [word for word in SAID if ADVERSE.search(word)] == []


def words_of(subset: Subset) -> Iterator[str]:
    rules = subset.rules
    yield from (subset.id, subset.title, *subset.citations.values(), *subset.tags, *rules.rules)
    for criterion in rules.criteria.values():
        yield from (criterion.id, criterion.title, criterion.note)
    for score in rules.scores.values():
        yield from (score.title, score.first_class, *(name for name, _ in score.classes))
    yield from (word for pair in subset.avoidable.values() for word in pair)


@EACH
def test_no_word_of_the_content_is_adverse(plugin: ModuleType) -> None:
    words = [word for subset in plugin.LIBRARY.subsets.values() for word in words_of(subset)]
    assert len(words) > 50
    assert [word for word in words if ADVERSE.search(word)] == []


def strings(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        yield from (text for pair in value.items() for each in pair for text in strings(each))
    elif isinstance(value, list | tuple):
        yield from (text for each in value for text in strings(each))


def asked(plugin: ModuleType, subset: Subset, rng: random.Random) -> Iterator[Case]:
    """Every kind of question there is, each about another patient: all is known of some, of some little."""
    several = range(8 if plugin is umbridge_two_midnight else 1)
    for review, status, _ in product(ReviewType, STATUSES, several):
        share, quiet = rng.choice((0.0, 0.5, 0.9, 1.0)), rng.random()
        values: dict[str, Value] = {}
        for fact, spec in subset.rules.facts.items():
            if spec.is_made or rng.random() >= share:
                continue
            options = choices(subset, fact)
            values[fact] = rng.random() < quiet if options == (False, True) else rng.choice(options)
        hours = rng.choice((None, Decimal(3), Decimal(25), Decimal(49)))
        if plugin is umbridge_two_midnight:  # chosen by payer and date, not by diagnosis
            day = subset.effective_from + timedelta(days=rng.randint(0, 700))
            start = Sample(f"{day.isoformat()}T12:00:00-05:00", AT, "status")
            facts = {fact: sampled(subset, fact, value) for fact, value in values.items()}
            facts["admission_start"] = Reading("admission_start", start, start, start, (start,))
            plain = case(umbridge_mcg_like.LIBRARY, umbridge_mcg_like.LIBRARY.subsets["cap"], {})
            plain = replace(plain, facts=facts)
        else:
            plain = case(plugin.LIBRARY, subset, values)
        yield replace(
            plain,
            review=review,
            requested_status=status,
            requested_level=rng.choice(list(Level)),
            episode_day=rng.randint(1, 9),
            payer_class=rng.choice(PAYERS),
            observation_hours=hours,
            observation_ended=hours is not None and rng.random() < 0.5,
        )


def sampled(subset: Subset, fact: str, value: Value) -> Reading:
    sample = Sample(value, AT, f"ZZ1 OBX[{fact}]-5", subset.rules.facts[fact].unit)
    return Reading(fact, sample, sample, sample, (sample,))


@EACH
def test_no_question_of_any_kind_is_answered_adversely(plugin: ModuleType) -> None:
    rng, outcomes = random.Random(plugin.NAME), set()
    for subset in plugin.LIBRARY.subsets.values():
        for question in asked(plugin, subset, rng):
            found: ScreenResult = plugin.umbridge_screen(question)
            assert found.outcome in SAID
            outcomes.add(found.outcome)
            adverse = [text for text in strings(asdict(found)) if ADVERSE.search(text)]
            assert adverse == [], (subset.id, question.review)
    assert {"MEETS", "REFER", "PEND", "NOT_APPLICABLE"} <= outcomes  # each of them was tried

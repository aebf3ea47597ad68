"""Patients drawn by hypothesis from what content reads, and the same question of another patient."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

from hypothesis import strategies as st

from umbridge.criteria.content import Library, Subset
from umbridge.model import Case, Reading, Sample
from umbridge_kit.boundary_patients import Value, choices, codes_of, said_by


def patients(
    library: Library, only: Subset | None = None
) -> st.SearchStrategy[tuple[Subset, dict[str, Value]]]:
    """A subset and a value for each of its facts, on or beside a threshold."""

    @st.composite
    def drawn(draw: st.DrawFn) -> tuple[Subset, dict[str, Value]]:
        subset = only or draw(st.sampled_from(sorted(library.subsets.values(), key=lambda s: s.id)))
        rng = draw(st.randoms(use_true_random=False))
        quiet = rng.random()
        values: dict[str, Value] = {}
        for fact, spec in sorted(subset.rules.facts.items()):
            if spec.is_made:
                continue
            options = choices(subset, fact)
            values[fact] = rng.random() < quiet if options == (False, True) else rng.choice(options)
        of_diagnosis = [spec.id for spec in subset.rules.of_diagnosis]
        if of_diagnosis:
            values |= said_by(subset, rng.choice(codes_of(library, subset)), of_diagnosis)
        return subset, values

    return drawn()


def without(question: Case, fact: str) -> Case:
    return replace(question, facts={name: found for name, found in question.facts.items() if name != fact})


def elsewhere(question: Case, moved: Decimal) -> Case:
    """The same question of another patient: other times and sources, numbers moved a little."""

    def other(sample: Sample) -> Sample:
        value = sample.value + moved if isinstance(sample.value, Decimal) else sample.value
        return Sample(value, sample.at + timedelta(minutes=90), "ZZ2 OBX[9]-5", sample.unit)

    facts = {
        fact: Reading(
            fact,
            other(reading.latest),
            other(reading.low),
            other(reading.high),
            tuple(other(sample) for sample in reading.series),
        )
        for fact, reading in question.facts.items()
    }
    return replace(question, facts=facts)

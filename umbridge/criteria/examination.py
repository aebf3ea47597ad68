"""One patient put to one subset's rules: which tests are true, and the readings that show it."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import datetime
from decimal import Decimal
from typing import TypeAlias, TypeVar, cast

from umbridge.criteria.compiled import CompiledRules, FactTests
from umbridge.criteria.made import hours_since, with_made, without_replaced
from umbridge.criteria.tree import (
    Criterion,
    Decision,
    FactSpec,
    IfMeasured,
    Joint,
    Truth,
    bounded,
    is_positive,
    is_usable,
    leaf_truth,
    shown,
    value_read,
)
from umbridge.criteria.truths import JointState, Shown, State, Truths
from umbridge.criteria.why import Trace, grown, sample_read
from umbridge.model import Evidence, Reading

Found = TypeVar("Found")
Cited: TypeAlias = tuple["Examination", tuple[str, ...], tuple[Evidence, ...]]  # of which rules, and what
_cited: ContextVar[list[Cited] | None] = ContextVar("cited", default=None)


class Examination:
    """One patient against one subset's rules.

    What does not hang on this patient's values is looked up in ``Truths``, which other patients share. What
    is given out is a copy of it: whoever changes it changes no other patient's.
    """

    def __init__(
        self,
        rules: CompiledRules,
        of_state: Callable[[State], Truths],
        facts: Mapping[str, Reading],
        as_of: datetime | None,
        by_fact: Sequence[FactTests],
    ) -> None:
        self.rules = rules
        if rules.replaced:
            facts = without_replaced(rules.facts, facts)
        if rules.has_differences:
            facts = with_made(rules.facts, facts)
        self.facts = facts
        self._by_fact = by_fact
        truths: list[Truth] = [None] * len(rules.leaves)
        known: set[str] = set()
        bounds: dict[str, Reading] = {}
        for fact, spec, tests in by_fact:
            if (reading := facts.get(fact)) is not None and is_usable(spec, reading):
                if spec.kind == "datetime" and (reading := hours_since(reading, as_of)) is None:
                    continue
                if fact in rules.joined and not is_positive(reading):
                    continue  # no concentration is zero; a quotient by it would be none either
                known.add(fact)
                for number, test in tests:
                    truths[number] = test(reading)
            elif reading is not None and (cut := self._bounded(spec, reading)) is not None:
                known.add(fact)
                bounds[fact] = cut
                for number, _ in tests:
                    truths[number] = leaf_truth(rules.leaves[number], cut)
        self._truths = of_state(
            State(
                tuple(truths),
                frozenset(known),
                tuple([_counted(facts[fact]) if fact in known else None for fact in rules.counted]),
                tuple([self._joint(joint, known, bounds) for joint in rules.joints]),
            )
        )

    def readable(self, facts: Mapping[str, Reading], names: Iterable[str]) -> dict[str, Reading]:
        """Of these facts those that are known and that the content can use: in its unit, one of its codes."""
        specs = self.rules.facts
        return {
            name: reading
            for name in names
            if (reading := facts.get(name)) is not None
            and ((spec := specs.get(name)) is None or is_usable(spec, reading))
        }

    def _bounded(self, spec: FactSpec, reading: Reading) -> Reading | None:
        rules = self.rules
        counted, joined = spec.id in rules.counted, spec.id in rules.joined
        return bounded(spec, reading, is_counted=counted, is_positive=joined)

    def _joint(self, joint: Joint, known: set[str], bounds: Mapping[str, Reading]) -> JointState:
        """Settled, it is its truth; open, the one value that may be known counts too. A bound is none."""
        x, y = [
            value_read(bounds.get(fact) or self.facts[fact], reads) if fact in known else None
            for fact, reads in zip(joint.facts, joint.reads, strict=True)
        ]
        truth = None if x is None or y is None else joint.truth(x, y)
        if truth is not None:
            return truth, None, None
        return None, x if isinstance(x, Decimal) else None, y if isinstance(y, Decimal) else None

    @property
    def known(self) -> frozenset[str]:
        """The facts that can be used."""
        return self._truths.known

    @property
    def read(self) -> frozenset[str]:
        """The facts that are looked at, with what differences are made of."""
        return frozenset(fact for fact, _, _ in self._by_fact)

    @property
    def truths(self) -> tuple[Truth, ...]:
        """Of each test, by its number (``CompiledRules.number_of``)."""
        return self._truths.truths

    @property
    def joint_truths(self) -> tuple[Truth, ...]:
        """The same of the tests of two facts."""
        return self._truths.joint_truths

    def truth(self, key: str) -> Truth:
        """A rule ("section.name") or criterion, by Kleene. Raises KeyError when there is none."""
        return self._truths.truth(key)

    def counted(self, fact: str) -> int | None:
        """The points of a fact that is counted itself: its latest value. None while it is unknown."""
        return self._truths.counted(fact)

    def bounds(self, score: str) -> tuple[int, int]:
        """Least and most the score can be, whatever the unknown facts turn out to be."""
        return self._truths.bounds(score)

    def decide(self, key: str) -> Decision:
        """The exact answer: a truth only when every completion of the unknown facts agrees on it.

        Where they do not, ``missing`` names each fact that flips the answer in some completion, and no other.
        """
        return self._truths.decide(key)

    def scores(self, keys: Sequence[str] | None = None) -> dict[str, int | str]:
        """Scores as results show them: ``x`` or ``x_min`` and ``x_max``; ``x_class`` likewise."""
        return dict(self._truths.kept(Truths.scores, None if keys is None else tuple(keys)))

    def score_lines(self, keys: Sequence[str] | None = None) -> list[str]:
        """Each score in words: "CURB-65 3." or "PSI 60 to 130, class II to IV."."""
        return list(self._truths.kept(Truths.score_lines, None if keys is None else tuple(keys)))

    def left_out(self, optional: Sequence[IfMeasured] | None = None) -> tuple[str, ...]:
        """Facts that may be left out, that are unknown and were left out: of all tests, or of these."""
        return self._truths.kept(Truths.left_out, None if optional is None else tuple(optional))

    def reasons(self, key: str, truth: Truth) -> list[Criterion]:
        """The criteria of a rule, outermost first, that came to this truth."""
        return list(self._truths.kept(Truths.reasons, key, truth))

    @staticmethod
    def once(_what: Hashable, work: Callable[[], Found]) -> Found:
        """What ``work`` gives, worked out each time.

        Of the interface of 2026-11-22, where it was remembered from patient to patient; approved plugins of
        that time call it and go on running. Nothing new needs it: what can be remembered is, by itself.
        """
        return work()

    def trace(self, key: str) -> Trace:
        """Every node of a rule with what it came to, the readings it read and what it lacks."""
        return self.traces(key)[0]

    def traces(self, *keys: str) -> tuple[Trace, ...]:
        """The same of several rules: what one has shown, the next does not show again."""
        return grown(self._truths, self.facts, keys)

    def _shown(self, keys: Sequence[str]) -> Iterator[Shown]:
        """What was sent: of a difference, what it is made of. A diagnosis is in the criterion's own words."""
        for fact, reads, leaf in self._truths.kept(Truths.to_show, tuple(keys)):
            spec = self.rules.facts[fact]
            if spec.minus is not None:
                yield spec.minus[0], reads, None
                yield spec.minus[1], "latest", None
            elif not spec.principal:
                yield fact, reads, leaf

    def evidence(self, *keys: str) -> tuple[Evidence, ...]:
        """The readings that made the rules what they are; for an unknown rule, those known so far."""
        found: dict[tuple[str, int], Evidence] = {}
        times: dict[int, str] = {}
        for fact, reads, leaf in self._shown(keys):
            sample = sample_read(self.facts[fact], reads, leaf)
            key = (fact, id(sample))
            if key not in found:
                at = times.get(id(sample.at))
                if at is None:
                    at = times[id(sample.at)] = sample.at.isoformat()
                found[key] = Evidence(fact, shown(sample.value), sample.unit, at, sample.source)
        evidence = tuple(found.values())
        if (cited := _cited.get()) is not None:
            cited.append((self, keys, evidence))
        return evidence


@contextmanager
def heeding() -> Iterator[list[Cited]]:
    """What is cited meanwhile: an answer rests on the rules whose evidence it gives. One within another hears
    what the outer one does."""
    heard = _cited.get()
    found: list[Cited] = [] if heard is None else heard
    before = _cited.set(found)
    try:
        yield found
    finally:
        _cited.reset(before)


def truths_of(exam: Examination) -> Truths:
    """For the engine's own rooms: what the patient shares with others. It is no vendor's to fill."""
    return exam._truths


def _counted(reading: Reading) -> int:
    return int(cast(Decimal, reading.latest.value))  # usable, so a whole number within its bounds

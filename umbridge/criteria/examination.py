"""One patient put to one subset's rules: which tests are true, and the readings that show it."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import datetime
from decimal import Decimal
from typing import NamedTuple, TypeAlias, TypeVar, cast

from umbridge.criteria.citing import cited, spelt
from umbridge.criteria.compiled import CompiledRules, FactTests, Looks
from umbridge.criteria.made_facts import hours_since, with_made, without_replaced
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
    value_read,
)
from umbridge.criteria.truths import JointState, State, Truths
from umbridge.criteria.why import Trace, grown, sample_read
from umbridge.model import Evidence, Reading

Found = TypeVar("Found")
Cited: TypeAlias = tuple["Examination", tuple[str, ...], tuple[Evidence, ...]]  # of which rules, and what
_cited: ContextVar[list[Cited] | None] = ContextVar("cited", default=None)


class Tested(NamedTuple):
    """What one fact's tests came to by one reading, which it holds, so that no other one has its id."""

    fact: str
    reading: Reading
    usable: bool
    truths: tuple[tuple[int, Truth], ...] | None  # by the tests' numbers; None where the fact is unknown
    cut: Reading | None  # of bounds: what the fact can be


MOST_TESTED = 10_000  # readings with what their tests came to: about 300 bytes each, and what they hold
_tests: dict[tuple[int, int], Tested] = {}


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
        looks: Looks,
    ) -> None:
        self.rules = rules
        if rules.replaced:
            facts = without_replaced(rules.replaced, rules.facts, facts)
        if rules.differences:
            facts = with_made(rules.differences, rules.facts, facts)
        self.facts = facts
        self._looks = looks
        self._as_of = as_of
        truths: list[Truth] = [None] * len(rules.leaves)
        known: set[str] = set()
        bounds: dict[str, Reading] = {}
        readings = list(map(facts.get, looks.facts))
        tested = map(_tests.get, zip(looks.numbers, map(id, readings), strict=True))
        for place, (reading, found) in enumerate(zip(readings, list(tested), strict=True)):
            if reading is None:
                continue
            its = found or self._test(looks.entries[place], reading)
            fact, _, _, truths_of_it, cut = its
            if truths_of_it is None:
                continue
            known.add(fact)
            for number, truth in truths_of_it:
                truths[number] = truth
            if cut is not None:
                bounds[fact] = cut
        self._truths = of_state(
            State(
                tuple(truths),
                frozenset(known),
                tuple([_counted(facts[fact]) if fact in known else None for fact in rules.counted]),
                tuple([self._joint(joint, known, bounds) for joint in rules.joints]),
            )
        )

    def _test(self, entry: FactTests, reading: Reading) -> Tested:
        """What one fact's tests come to by one reading; remembered, but where that hangs on the moment or
        where the reading is made anew each time."""
        fact, spec, tests, number = entry
        rules = self.rules
        usable, cut = is_usable(spec, reading), None
        truths: tuple[tuple[int, Truth], ...] | None = None
        if usable:
            read = hours_since(reading, self._as_of) if spec.kind == "datetime" else reading
            # no concentration is zero; a quotient by it would be none either
            if read is not None and not (fact in rules.joined and not is_positive(read)):
                truths = tuple([(leaf, test(read)) for leaf, test in tests])
        elif (cut := self._bounded(spec, reading)) is not None:
            truths = tuple([(leaf, leaf_truth(rules.leaves[leaf], cut)) for leaf, _ in tests])
        found = Tested(fact, reading, usable, truths, cut)
        if spec.kind != "datetime" and not spec.principal:
            if len(_tests) >= MOST_TESTED:  # start again rather than grow
                _tests.clear()
            _tests[number, id(reading)] = found
        return found

    def readable(self, facts: Mapping[str, Reading], names: Iterable[str]) -> dict[str, Reading]:
        """Of these facts those that are known and that the content can use: in its unit, one of its codes."""
        rules, found = self.rules, dict[str, Reading]()
        for name in names:
            if (reading := facts.get(name)) is None:
                continue
            if name in rules.facts:
                entry = rules.tests_of[name]
                if not (_tests.get((entry[3], id(reading))) or self._test(entry, reading)).usable:
                    continue
            found[name] = reading
        return found

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
        return frozenset(self._looks.facts)

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

    def evidence(self, *keys: str) -> tuple[Evidence, ...]:
        """The readings that made the rules what they are; for an unknown rule, those known so far."""
        facts, found = self.facts, dict[tuple[str, int], Evidence]()
        for fact, reads, leaf in self._truths.kept(Truths.to_show, keys):
            reading = facts[fact]
            sample = reading.latest if reads == "latest" else sample_read(reading, reads, leaf)
            key = (fact, id(sample))
            found[key] = spelt(key) or cited(fact, sample)
        evidence = tuple(found.values())
        if (heard := _cited.get()) is not None:
            heard.append((self, keys, evidence))
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


def forget() -> None:
    """Drop what single readings came to in any tests."""
    _tests.clear()


def truths_of(exam: Examination) -> Truths:
    """For the engine's own rooms: what the patient shares with others. It is no vendor's to fill."""
    return exam._truths


def _counted(reading: Reading) -> int:
    return int(cast(Decimal, reading.latest.value))  # usable, so a whole number within its bounds

"""One subset's rules compiled: each node becomes a function of what a patient's tests came to."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence, Set
from itertools import count
from typing import NamedTuple, Protocol, TypeAlias

from umbridge.criteria.tree import (
    Criterion,
    Decision,
    FactSpec,
    Group,
    IfMeasured,
    Joint,
    Leaf,
    Node,
    Not,
    Score,
    ScoreTest,
    Truth,
    leaf_test,
)
from umbridge.criteria.walk import walk, walk_all
from umbridge.model import Reading

# Numbers of leaves and of joint tests, facts counted, facts that may be left out and those beside them.
Read: TypeAlias = tuple[tuple[int, ...], tuple[int, ...], tuple[str, ...], tuple[str, ...]]
Tests: TypeAlias = list[tuple[int, Callable[[Reading], bool]]]  # with their numbers
FactTests: TypeAlias = tuple[str, FactSpec, Tests, int]  # with a number of its own among all of a process


class Looks(NamedTuple):
    """The facts that some rules look at, side by side: each with its tests, its name and its number."""

    entries: Sequence[FactTests]
    facts: tuple[str, ...]
    numbers: tuple[int, ...]


def _looks(entries: Sequence[FactTests]) -> Looks:
    return Looks(entries, tuple(entry[0] for entry in entries), tuple(entry[3] for entry in entries))


_numbers = count()


class Tested(Protocol):
    """What compiled rules are functions of: what each test came to, and which facts are known."""

    @property
    def truths(self) -> Sequence[Truth]: ...

    @property
    def joint_truths(self) -> Sequence[Truth]: ...

    @property
    def known(self) -> Set[str]: ...

    @property
    def memory(self) -> dict[str, Truth]: ...

    def score_truth(self, node: ScoreTest) -> Truth: ...


class CompiledRules:
    """The rules, criteria and scores of one subset, compiled. ``rules`` are found by "section.name".

    Immutable after construction except for what is remembered, which cannot be seen from outside: the same
    facts give the same answers in any order.
    """

    def __init__(
        self,
        facts: Mapping[str, FactSpec],
        scores: Mapping[str, Score],
        criteria: Mapping[str, Criterion],
        rules: Mapping[str, Node],
    ) -> None:
        self.facts = dict(facts)
        self.scores = dict(scores)
        self.criteria = dict(criteria)
        self.rules: dict[str, Node] = {**criteria, **rules}
        self.leaves: list[Leaf] = []
        self.joints: list[Joint] = []
        self.optional: list[IfMeasured] = []
        self.leaves_of: dict[str, list[int]] = {fact: [] for fact in facts}
        self._numbers: dict[Leaf | Joint, int] = {}
        nodes: list[Node] = list(self.rules.values())
        nodes += [ScoreTest(score, ">=", 0) for score in scores]
        for node in walk_all(nodes, self.scores):
            if isinstance(node, IfMeasured):
                self.optional.append(node)
            if isinstance(node, Joint) and node not in self._numbers:
                self._numbers[node] = len(self.joints)
                self.joints.append(node)
            if isinstance(node, Leaf) and node not in self._numbers:
                self._numbers[node] = len(self.leaves)
                self.leaves_of[node.fact].append(len(self.leaves))
                self.leaves.append(node)
        self.replaced = {spec.id: spec.unless for spec in self.facts.values() if spec.unless}
        self.of_diagnosis = tuple(spec for spec in self.facts.values() if spec.principal)
        self.differences = tuple(spec for spec in self.facts.values() if spec.minus is not None)
        self.joined = frozenset(fact for joint in self.joints for fact in joint.facts)
        self.counted = tuple(dict.fromkeys(i.counts for s in scores.values() for i in s.items if i.counts))
        self._functions: dict[int, Callable[[Tested], Truth]] = {}
        self._parts: dict[tuple[str, ...], Looks] = {}
        self._facts_read: dict[tuple[str, ...], frozenset[str]] = {}
        self.tests_of: Mapping[str, FactTests] = {
            fact: (
                *(fact, self.facts[fact], [(i, leaf_test(self.leaves[i])) for i in numbers]),
                next(_numbers),
            )
            for fact, numbers in self.leaves_of.items()
        }
        self._by_fact = _looks(tuple(self.tests_of.values()))
        self._items = {
            score.id: [
                (item.counts, item.sign, [(self._compile(node), points) for node, points in item.bands])
                for item in score.items
            ]
            for score in scores.values()
        }
        self._first = {s.id: self._compile(s.first_step) for s in scores.values() if s.first_step is not None}
        self._compiled = {key: self._compile(node) for key, node in self.rules.items()}
        self.decided: dict[Hashable, Decision] = {}  # by rule and what it reads; see ``Truths.decide``
        self._read: dict[str, Read] = {}
        self.atoms: dict[object, list[tuple[tuple[bool, ...], int, bool]]] = {}

    def number_of(self, leaf: Leaf | Joint) -> int:
        """Where this leaf's truth stands in an examination: in ``truths``, a joint's in ``joint_truths``."""
        return self._numbers[leaf]

    def needed(self) -> tuple[str, ...]:
        """The facts that any rule, criterion or score reads, sorted."""
        found = {fact for node in self.optional for fact in node.hangs_on} | set(self.counted) | self.joined
        for leaf in self.leaves:
            spec = self.facts[leaf.fact]
            found |= {spec.id, spec.unless} - {""} if spec.minus is None else set(spec.minus)
        return tuple(sorted(fact for fact in found if not self.facts[fact].is_made))

    def scores_read(self, key: str) -> tuple[str, ...]:
        """The scores that a rule or criterion tests, and what those are built on, in the content's order."""
        nodes = walk(self.rules[key], self.scores)
        found = {node.score for node in nodes if isinstance(node, ScoreTest)}
        found |= {self.scores[score].of for score in found}
        return tuple(score for score in self.scores if score in found)

    def left_out_by(self, key: str) -> tuple[IfMeasured, ...]:
        """The tests of a rule or criterion that count nothing where their fact was not measured."""
        nodes = walk(self.rules[key], self.scores)
        return tuple(dict.fromkeys(node for node in nodes if isinstance(node, IfMeasured)))

    def read_by(self, key: str) -> Read:
        """What a rule or criterion reads; remembered."""
        found = self._read.get(key)
        if found is None:
            nodes = list(walk(self.rules[key], self.scores))
            scores = dict.fromkeys(node.score for node in nodes if isinstance(node, ScoreTest))
            items = (item for score in scores for item in self.scores[score].items)
            found = self._read[key] = (
                tuple(sorted({self._numbers[node] for node in nodes if isinstance(node, Leaf)})),
                tuple(sorted({self._numbers[node] for node in nodes if isinstance(node, Joint)})),
                tuple(dict.fromkeys(item.counts for item in items if item.counts)),
                tuple(
                    dict.fromkeys(
                        fact
                        for node in nodes
                        if isinstance(node, IfMeasured | Leaf)
                        for fact in self._beside(node)
                    )
                ),
            )
        return found

    def _beside(self, node: IfMeasured | Leaf) -> tuple[str, ...]:
        """Facts of which an answer hangs on whether they are known, beside what the tests came to."""
        if isinstance(node, IfMeasured):
            return (*node.hangs_on, node.leaf.fact)
        return self.facts[node.fact].minus or ()

    def tests_by_fact(self, keys: tuple[str, ...]) -> Looks:
        """The facts that these rules read, or all do, each with its tests; remembered."""
        if not keys:
            return self._by_fact
        known = self._parts.get(keys)
        if known is None:
            read: set[str] = set()
            for node in walk_all((self.rules[key] for key in keys), self.scores):
                match node:
                    case Leaf():
                        spec = self.facts[node.fact]
                        read |= {spec.id, *(spec.minus or (spec.unless,))}
                    case Joint():
                        read |= set(node.facts)
                    case IfMeasured():
                        read.update(node.hangs_on)
                    case ScoreTest():
                        read |= {item.counts for item in self.scores[node.score].items}
                    case _:
                        pass
            known = self._parts[keys] = _looks([each for each in self._by_fact.entries if each[0] in read])
        return known

    def facts_read(self, keys: tuple[str, ...]) -> frozenset[str]:
        """The facts that these rules read, or all do, with what differences are made of; remembered."""
        found = self._facts_read.get(keys)
        if found is None:
            found = self._facts_read[keys] = frozenset(self.tests_by_fact(keys).facts)
        return found

    def _compile(self, node: Node) -> Callable[[Tested], Truth]:
        key = id(node)  # nodes live as long as this rule set, which holds them all
        if key not in self._functions:
            self._functions[key] = self._function(node)
        return self._functions[key]

    def _function(self, node: Node) -> Callable[[Tested], Truth]:
        match node:
            case Leaf():
                number = self._numbers[node]
                return lambda exam: exam.truths[number]
            case Joint():
                joined = self._numbers[node]
                return lambda exam: exam.joint_truths[joined]
            case IfMeasured():
                optional = self._numbers[node.leaf]
                return lambda exam: (
                    False
                    if (truth := exam.truths[optional]) is None and node.is_left_out(exam.known)
                    else truth
                )
            case Not():
                inner = self._compile(node.child)
                return lambda exam: None if (truth := inner(exam)) is None else not truth
            case Criterion():
                return self._remembered(node.id, self._compile(node.rule))
            case ScoreTest():
                return lambda exam: exam.score_truth(node)
            case Group():
                return _compiled_group(node.n, [self._compile(child) for child in node.children])

    def _remembered(self, key: str, rule: Callable[[Tested], Truth]) -> Callable[[Tested], Truth]:
        def recall(exam: Tested) -> Truth:
            if key not in exam.memory:
                exam.memory[key] = rule(exam)
            return exam.memory[key]

        return recall


def _compiled_group(n: int, children: list[Callable[[Tested], Truth]]) -> Callable[[Tested], Truth]:
    spare = len(children) - n  # how many may be false

    def truth(exam: Tested) -> Truth:
        need, may_fail = n, spare
        if need <= 0:
            return True
        if may_fail < 0:
            return False
        for child in children:
            found = child(exam)
            if found is True:
                need -= 1
                if need == 0:
                    return True
            elif found is False:
                may_fail -= 1
                if may_fail < 0:
                    return False
        return None

    return truth

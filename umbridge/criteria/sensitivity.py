"""Which tests of a rule can turn it, with two patients that show it; exact, so that none found means none."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import lru_cache

from umbridge.criteria.atoms import readings_of
from umbridge.criteria.decision_diagram import BOTTOM, NO, YES, Diagram
from umbridge.criteria.examination import truths_of
from umbridge.criteria.ruleset import RuleSet
from umbridge.criteria.tree import FactSpec, Group, Item, Joint, Leaf, Node, Not, Score, ScoreTest
from umbridge.criteria.walk import walk
from umbridge.model import Reading, Sample

AT = datetime(2000, 1, 2, tzinfo=UTC)  # the question's moment, for patients made here
Test = Leaf | Joint
Facts = Mapping[str, Reading]
_KEPT = 2048  # answers remembered: the rules of a large folder


@dataclass(frozen=True, slots=True)
class Turned:
    """Two patients alike but for one fact, and the rule's truth for the first."""

    first: Facts
    second: Facts
    truth: bool


def read_tests(node: Node, scores: Mapping[str, Score]) -> tuple[Test, ...]:
    """Every test a rule reads, those inside scores included."""
    return tuple(dict.fromkeys(found for found in walk(node, scores) if isinstance(found, Leaf | Joint)))


def only(rules: RuleSet, node: Node, scores: Mapping[str, Score] | None = None) -> RuleSet:
    """A rule set of one rule, "x.x", with no more facts and scores than it reads."""
    known = rules.scores if scores is None else scores
    read = {found.score for found in walk(node, known) if isinstance(found, ScoreTest)}
    return RuleSet(rules.facts, {key: known[key] for key in known if key in read}, {}, {"x.x": node})


def always(rules: RuleSet, node: Node) -> bool | None:
    """The rule's truth where no fact can change it; None where some can."""
    return _always(node, *_reads(rules, node))


def _reads(rules: RuleSet, node: Node) -> tuple[tuple[FactSpec, ...], tuple[Score, ...]]:
    """All that a rule comes of beside itself. A part's rules come to the same in every file that has it."""
    scores = {each.score for each in walk(node, rules.scores) if isinstance(each, ScoreTest)}
    scores |= {rules.scores[name].of for name in scores} - {""}
    alone = only(rules, node)
    facts = {fact for test in read_tests(node, rules.scores) for fact in _facts_of(test)} | set(alone.counted)
    for spec in [rules.facts[fact] for fact in facts]:
        facts |= {*(spec.minus or ()), spec.unless} - {""}
    facts |= {fact for each in alone.optional for fact in each.hangs_on}
    return (
        tuple(spec for fact, spec in sorted(rules.facts.items()) if fact in facts),
        tuple(rules.scores[name] for name in sorted(scores)),
    )


def _facts_of(test: Test) -> tuple[str, ...]:
    return (test.fact,) if isinstance(test, Leaf) else test.facts


def _made(specs: tuple[FactSpec, ...], scores: tuple[Score, ...], node: Node) -> RuleSet:
    facts = {spec.id: spec for spec in specs}
    return RuleSet(facts, {score.id: score for score in scores}, {}, {"x.x": node})


@lru_cache(maxsize=_KEPT)
def _always(node: Node, specs: tuple[FactSpec, ...], scores: tuple[Score, ...]) -> bool | None:
    rules = _made(specs, scores, node)
    diagram = Diagram(truths_of(only(rules, node).examine({})), node, measured=True)
    found = diagram.build(node)
    return None if diagram.support(found) else found == YES


def item_tests(item: Item) -> tuple[tuple[Node, Score], ...]:
    """Rules "this item gives at least so many points", for each number of points it can give."""
    alone = Score("x", "x", ("x",), (item,))
    points = sorted({0, *(number for _, number in item.bands)})
    return tuple((ScoreTest("x", ">=", number), alone) for number in points[1:])


def unreachable_bands(rules: RuleSet, item: Item) -> list[int]:
    """Numbers, from 1, of the bands that never count: those above them hold whenever they do."""
    found = []
    for place, (condition, _) in enumerate(item.bands):
        above: list[Node] = [Not(node) for node, _ in item.bands[:place]]
        if always(rules, Group(len(above) + 1, (*above, condition))) is False:
            found.append(place + 1)
    return found


def idle_tests(rules: RuleSet, node: Node) -> list[Test]:
    """Tests that can neither turn the rule nor, inside a score, change the points of their item.

    A higher band cannot turn a criterion that its lower band has met, but it must be able to count.
    """
    return list(_idle_tests(node, *_reads(rules, node)))


@lru_cache(maxsize=_KEPT)
def _idle_tests(node: Node, specs: tuple[FactSpec, ...], scores_: tuple[Score, ...]) -> tuple[Test, ...]:
    rules = _made(specs, scores_, node)
    turning = Turning(rules, node)
    left = [test for test in read_tests(node, rules.scores) if turning.by(test) is None]
    if not left:
        return ()
    read = {found.score for found in walk(node, rules.scores) if isinstance(found, ScoreTest)}
    for item in (item for key in sorted(read) for item in rules.scores[key].items):
        for rule, alone in item_tests(item):
            scores = {"x": alone}
            among = set(read_tests(rule, scores)) & set(left)
            if among:
                inner = Turning(rules, rule, scores)
                left = [test for test in left if test not in among or inner.by(test) is None]
    return tuple(left)


class Turning:
    """Asks one rule which of its tests can turn it."""

    def __init__(self, rules: RuleSet, node: Node, scores: Mapping[str, Score] | None = None) -> None:
        self.rules = only(rules, node, scores)
        self.node = node
        self.diagram = Diagram(truths_of(self.rules.examine({}, AT)), node, measured=True)
        self.root = self.diagram.build(node)
        self._paths = self._reached()
        #: Facts not measured in a patient: none, or those that would take another one's place.
        self._left_out = [frozenset[str](), *({frozenset(rules.replaced.values())} - {frozenset()})]

    def by(self, test: Test) -> Turned | None:
        """Two patients who differ in the fact of this test alone.

        Tests of a single number are crossed one by one; a joint test may be crossed together with others.
        """
        diagram = self.diagram
        for fact in (test.fact,) if isinstance(test, Leaf) else test.facts:
            level = diagram.level.get(fact)
            if level is None:
                continue
            for number, path in self._paths.items():
                if diagram.nodes[number][0] != level:
                    continue
                children = diagram.nodes[number][1]
                for i, j in self._pairs(test, fact, level):
                    if children[i] != children[j]:
                        rest = self._apart(children[i], children[j])
                        found = None if rest is None else self._shown(test, path | rest[0], level, i, j)
                        if found is not None:
                            return found
        return None

    def _reached(self) -> dict[int, dict[int, int]]:
        """For each node of the diagram one way to it: the cell chosen at each level above."""
        paths: dict[int, dict[int, int]] = {self.root: {}}
        todo = [self.root]
        while todo:
            number = todo.pop()
            level, children = self.diagram.nodes[number]
            for atom, child in enumerate(children):
                if child not in paths and not self._is_left_out(level, atom):
                    paths[child] = paths[number] | {level: atom}
                    todo.append(child)
        return paths

    def _is_left_out(self, level: int, atom: int) -> bool:
        return level != BOTTOM and self.diagram.atoms[level][atom][2]

    def _pairs(self, test: Test, fact: str, level: int) -> Iterator[tuple[int, int]]:
        """Pairs of cells of a fact between which this test turns and, for numbers, no other of the fact's."""
        atoms = self.diagram.atoms[level]
        usable = [i for i, atom in enumerate(atoms) if not atom[2]]
        if isinstance(test, Joint):
            yield from ((i, j) for i in usable for j in usable if i < j)
            return
        place = self.rules.leaves_of[fact].index(self.rules.number_of(test))
        alone = test.kind not in ("boolean", "code")
        for i in usable:
            for j in usable:
                a, b = atoms[i][0], atoms[j][0]
                if i >= j or a[place] == b[place]:
                    continue
                others = sum(x != y for x, y in zip(a, b, strict=True)) - 1
                if not others or not alone or len({*self._ways(fact)}) > 1:
                    yield i, j

    def _ways(self, fact: str) -> Iterator[str]:
        return (self.rules.leaves[number].reads for number in self.rules.leaves_of[fact])

    def _apart(self, first: int, second: int) -> tuple[dict[int, int], bool] | None:
        """Cells below two different nodes on which they come out differently, and the first's truth."""
        if first in (NO, YES) and second in (NO, YES):
            return {}, first == YES
        nodes = self.diagram.nodes
        level = min(nodes[first][0], nodes[second][0])
        for atom in range(len(self.diagram.atoms[level])):
            if self._is_left_out(level, atom):
                continue
            a = nodes[first][1][atom] if nodes[first][0] == level else first
            b = nodes[second][1][atom] if nodes[second][0] == level else second
            if a != b and (rest := self._apart(a, b)) is not None:
                return rest[0] | {level: atom}, rest[1]
        return None

    def _shown(self, test: Test, chosen: dict[int, int], level: int, i: int, j: int) -> Turned | None:
        """The two patients, put to the rules as any other.

        None where rounding has spoilt a quotient, or where a joint test does not differ between them.
        """
        for left_out in self._left_out:
            both, own = [], []
            for atom in (i, j):
                atoms = dict.fromkeys(range(len(self.diagram.order)), 0) | chosen | {level: atom}
                facts = {
                    fact: self._reading(place, at)
                    for place, at in atoms.items()
                    if (fact := self.diagram.order[place]) not in left_out
                }
                exam = self.rules.examine(facts, AT)
                both.append((facts, exam.truth("x.x")))
                own.append(exam.joint_truths[self.rules.number_of(test)] if isinstance(test, Joint) else atom)
            (first, a), (second, b) = both
            if a is not None and b is not None and a is not b and own[0] != own[1]:
                return Turned(first, second, a)
        return None

    def _reading(self, level: int, atom: int) -> Reading:
        fact = self.diagram.order[level]
        spec = self.rules.facts[fact]
        if fact in self.diagram.values:
            value = self.diagram.values[fact][atom]
            sample = Sample(Decimal(value.numerator) / Decimal(value.denominator), AT, "", spec.unit)
            return Reading(fact, sample, sample, sample, (sample,))
        truths, points, _ = self.diagram.atoms[level][atom]
        found = readings_of(self.rules, fact)[truths, points, False]
        if spec.kind == "datetime":
            then = AT - timedelta(hours=float(str(found.latest.value)))
            sample = Sample(then.isoformat(), AT, "", "")
            return Reading(fact, sample, sample, sample, (sample,))
        return found

"""What can still change a decision: the exact answer about facts that are not known yet.

Each unknown fact can fall only into finitely many cells, between which no rule sees a difference. The
decision is then a function of finitely many cells, kept as a reduced ordered decision diagram (Bryant,
IEEE Trans. Comput. 1986;35:677), with one branch a cell. In a reduced diagram a variable is present exactly
when some assignment of the others makes it matter, so the facts left in the diagram are the missing ones.
"""

from __future__ import annotations

from fractions import Fraction

from umbridge.criteria.atoms import Atom, atoms
from umbridge.criteria.joint_regions import (
    between,
    joined,
    own_truths,
    pair_values,
    place,
    solved,
    thresholds,
    turns_at,
)
from umbridge.criteria.made_facts import asked_for
from umbridge.criteria.tree import (
    OPERATORS,
    Criterion,
    Decision,
    Group,
    IfMeasured,
    Joint,
    Leaf,
    Node,
    Not,
    ScoreTest,
)
from umbridge.criteria.truths import Truths
from umbridge.criteria.walk import walk

NO, YES = 0, 1
BOTTOM = 1 << 30  # the level of the two ends, below every fact


class Diagram:
    """A reduced ordered multi-valued decision diagram over the unknown facts of one examination, with
    ``measured`` over those too that may always be left out."""

    def __init__(self, exam: Truths, root: Node, *, measured: bool = False) -> None:
        self.exam, self.rules, self._measured = exam, exam.rules, measured
        self.joints = [
            node
            for node in dict.fromkeys(walk(root, exam.rules.scores))
            if isinstance(node, Joint) and exam.joint_truths[exam.rules.number_of(node)] is None
        ]
        self.order = _order(exam, root)
        self.level = {fact: i for i, fact in enumerate(self.order)}
        self.values: dict[str, list[Fraction]] = {}  # of facts read jointly: one for each cell
        self.atoms = [self._atoms(fact) for fact in self.order]
        self.nodes: list[tuple[int, tuple[int, ...]]] = [(BOTTOM, ()), (BOTTOM, ())]
        self._unique: dict[tuple[int, tuple[int, ...]], int] = {}
        self._ites: dict[tuple[int, int, int], int] = {}
        self._branched: dict[tuple[int, tuple[int, ...]], int] = {}
        self._built: dict[int, int] = {}
        self._rests: dict[str, list[tuple[int, int]]] = {}
        self._sums: dict[tuple[str, int, int], int] = {}

    def _atoms(self, fact: str) -> list[Atom]:
        joints = [joint for joint in self.joints if fact in joint.facts]
        if joints:
            return self._joint_cells(fact, joints)
        remembered: dict[object, list[Atom]] = self.rules.atoms
        if fact not in remembered:
            remembered[fact] = atoms(self.rules, fact)
        if fact in self.exam.known:
            return self._left_open(fact, [atom for atom in remembered[fact] if not atom[2]])
        return remembered[fact]

    def _left_open(self, fact: str, all_: list[Atom]) -> list[Atom]:
        """Of a fact whose bounds leave tests open, the cells that agree with the tests they settle."""
        settled = [self.exam.truths[number] for number in self.rules.leaves_of[fact]]
        kept = [
            atom
            for atom in all_
            if all(truth in (None, mine) for truth, mine in zip(settled, atom[0], strict=True))
        ]
        return kept or all_  # none where the tests are settled from samples that no one cell shows

    def _joint_cells(self, fact: str, joints: list[Joint]) -> list[Atom]:
        """Values that differ in a test of their own or, beside a value of the other fact, in a joint one."""
        side = joints[0].facts.index(fact)
        other = [self.exam.operand(joint, 1 - side) for joint in joints]
        if any(value is None for value in other):
            both = pair_values(self.rules, joints)
            values, beside = both[side], both[1 - side]
        else:
            known = Fraction(other[0])  # type: ignore[arg-type]  # all alike: one fact, read in one way
            values, beside = between(thresholds(self.rules, fact) | solved(joints, side, known)), [known]
        turns = [turns_at(joint, side, beside) for joint in joints]
        found: dict[object, Fraction] = {}
        for value in values:
            rows = tuple(place(joint, side, value, at) for joint, at in zip(joints, turns, strict=True))
            found.setdefault((own_truths(self.rules, fact, value), rows), value)
        every = [(own_truths(self.rules, fact, value), 0, False) for value in found.values()]
        kept = self._left_open(fact, every) if fact in self.exam.known else every
        self.values[fact] = [value for atom, value in zip(every, found.values(), strict=True) if atom in kept]
        return [(own_truths(self.rules, fact, value), 0, False) for value in self.values[fact]]

    def node(self, level: int, children: tuple[int, ...]) -> int:
        if children.count(children[0]) == len(children):
            return children[0]
        key = (level, children)
        if key not in self._unique:
            self.nodes.append(key)
            self._unique[key] = len(self.nodes) - 1
        return self._unique[key]

    def ite(self, test: int, then: int, other: int) -> int:
        """``then`` where ``test`` holds, else ``other``."""
        if test == YES or then == other:
            return then
        if test == NO:
            return other
        if then == YES and other == NO:
            return test
        key = (test, then, other)
        if (known := self._ites.get(key)) is not None:
            return known
        nodes = self.nodes
        (a, x), (b, y), (c, z) = nodes[test], nodes[then], nodes[other]
        level = min(a, b, c)
        children = [  # made at once: drawn one by one they take longer
            self.ite(
                x[i] if a == level else test, y[i] if b == level else then, z[i] if c == level else other
            )
            for i in range(len(self.atoms[level]))
        ]
        found = self._ites[key] = self.node(level, tuple(children))
        return found

    def branch(self, level: int, children: tuple[int, ...]) -> int:
        """The kid of the cell that this level's fact falls in, wherever the kids begin in the order.

        An age has a hundred cells: one step for all of them, not a ``choose`` for each.
        """
        top = min(self.nodes[child][0] for child in children)
        if top > level or children.count(children[0]) == len(children):
            return self.node(level, children)
        key = (level, children)
        if key not in self._branched:
            of = [self.nodes[child] for child in children]
            if top == level:  # what a kid says of this fact itself: the part for the cell it is the kid of
                own = tuple(
                    below[i] if at == level else child
                    for i, (child, (at, below)) in enumerate(zip(children, of, strict=True))
                )
                self._branched[key] = self.node(level, own)
            else:
                self._branched[key] = self.node(
                    top,
                    tuple(
                        self.branch(
                            level,
                            tuple(
                                below[i] if at == top else child
                                for child, (at, below) in zip(children, of, strict=True)
                            ),
                        )
                        for i in range(len(self.atoms[top]))
                    ),
                )
        return self._branched[key]

    def build(self, node: Node) -> int:
        key = id(node)  # nodes live in the rule set, so an id is not used twice while we are here
        if key not in self._built:
            self._built[key] = self._build(node)
        return self._built[key]

    def _build(self, node: Node) -> int:
        match node:
            case Leaf():
                return self._leaf(node)
            case Joint():
                return self._joint(node)
            case IfMeasured():
                left_out = node.is_left_out(self.exam.known) and not (self._measured and not node.hangs_on)
                return NO if left_out else self._leaf(node.leaf, optional=True)
            case Not():
                return self.ite(self.build(node.child), NO, YES)
            case Criterion():
                return self.build(node.rule)
            case Group():
                return self._at_least(node.n, [self.build(child) for child in node.children])
            case ScoreTest():
                return self._score_test(node)

    def _leaf(self, leaf: Leaf, *, optional: bool = False) -> int:
        number = self.rules.number_of(leaf)
        truth = self.exam.truths[number]
        if truth is not None:
            return YES if truth else NO
        level, place = self.level[leaf.fact], self.rules.leaves_of[leaf.fact].index(number)
        return self.node(
            level,
            tuple(
                YES if truths[place] and not (optional and left_out) else NO
                for truths, _, left_out in self.atoms[level]
            ),
        )

    def _joint(self, joint: Joint) -> int:
        truth = self.exam.joint_truths[self.rules.number_of(joint)]
        if truth is not None:
            return YES if truth else NO
        sides = [side for side in (0, 1) if joint.facts[side] in self.level]
        if len(sides) == 1:
            (side,) = sides
            known = Fraction(self.exam.operand(joint, 1 - side))  # type: ignore[arg-type]  # else not missing
            row = (joined(joint, side, value, known) for value in self.values[joint.facts[side]])
            return self.node(self.level[joint.facts[side]], tuple(YES if t else NO for t in row))
        top, low = sorted((0, 1), key=lambda side: self.level[joint.facts[side]])
        test, level, factor = OPERATORS[joint.op], self.level[joint.facts[low]], Fraction(joint.factors[top])
        edges = [
            Fraction(joint.limit) - Fraction(joint.factors[low]) * other
            for other in self.values[joint.facts[low]]
        ]
        children = [
            self.node(level, tuple(YES if test(reached, edge) else NO for edge in edges))
            for reached in (factor * value for value in self.values[joint.facts[top]])
        ]
        return self.node(self.level[joint.facts[top]], tuple(children))

    def _at_least(self, n: int, children: list[int]) -> int:
        counted: dict[tuple[int, int], int] = {}

        def count(need: int, start: int) -> int:
            if need <= 0:
                return YES
            if need > len(children) - start:
                return NO
            if (need, start) not in counted:
                counted[need, start] = self.ite(
                    children[start], count(need - 1, start + 1), count(need, start + 1)
                )
            return counted[need, start]

        return count(n, 0)

    def _score_test(self, node: ScoreTest) -> int:
        def reaches(value: int) -> int:
            return self._sum_reaches(node.score, 0, value)

        match node.op:
            case ">=":
                found = reaches(node.value)
            case ">":
                found = reaches(node.value + 1)
            case "<":
                found = self.ite(reaches(node.value), NO, YES)
            case "<=":
                found = self.ite(reaches(node.value + 1), NO, YES)
            case _:
                same = self.ite(reaches(node.value + 1), NO, reaches(node.value))
                found = same if node.op == "is" else self.ite(same, NO, YES)
        step = self.rules.scores[node.score].first_step
        if step is None:
            return found
        return self.ite(self.build(step), YES if node.op in ("<", "<=", "is not") else NO, found)

    def _sum_reaches(self, score: str, index: int, need: int) -> int:
        """Whether the items from ``index`` on give at least ``need`` points."""
        least, most = self._rest(score)[index]
        if need <= least:
            return YES
        if need > most:
            return NO
        key = (score, index, need)
        if key not in self._sums:
            self._sums[key] = self._item(score, index, need)
        return self._sums[key]

    def _rest(self, score: str) -> list[tuple[int, int]]:
        """Least and most points of the items from each index on."""
        if score not in self._rests:
            sums = [(0, 0)]
            for index in reversed(range(len(self.rules.scores[score].items))):
                low, high = self.exam.item_bounds(score, index)
                sums.append((sums[-1][0] + low, sums[-1][1] + high))
            self._rests[score] = sums[::-1]
        return self._rests[score]

    def _item(self, score: str, index: int, need: int) -> int:
        item = self.rules.scores[score].items[index]
        if item.counts:
            value = self.exam.counted(item.counts)
            if value is not None:
                return self._sum_reaches(score, index + 1, need - item.sign * value)
            level = self.level[item.counts]
            return self.branch(
                level,
                tuple(
                    self._sum_reaches(score, index + 1, need - item.sign * points)
                    for _, points, _ in self.atoms[level]
                ),
            )
        found = self._sum_reaches(score, index + 1, need)
        for condition, points in reversed(item.bands):
            found = self.ite(self.build(condition), self._sum_reaches(score, index + 1, need - points), found)
        return found

    def support(self, root: int) -> tuple[str, ...]:
        seen, todo, levels = {root}, [root], set()
        while todo:
            level, children = self.nodes[todo.pop()]
            if level != BOTTOM:
                levels.add(level)
                fresh = set(children) - seen
                seen |= fresh
                todo += fresh
        return tuple(sorted(self.order[level] for level in levels))


def _order(exam: Truths, root: Node) -> list[str]:
    """Unknown facts, those read in most places first: what is shared is settled before what is private."""
    uses: dict[str, int] = {}
    rules = exam.rules
    for node in walk(root, rules.scores):
        if isinstance(node, Leaf) and exam.truths[rules.number_of(node)] is None:
            uses[node.fact] = uses.get(node.fact, 0) + 1
        elif isinstance(node, Joint):
            for side, fact in enumerate(node.facts):
                if exam.joint_truths[rules.number_of(node)] is None and exam.operand(node, side) is None:
                    uses[fact] = uses.get(fact, 0) + 1
        elif isinstance(node, ScoreTest):
            for item in rules.scores[node.score].items:
                if item.counts and exam.counted(item.counts) is None:
                    uses[item.counts] = uses.get(item.counts, 0) + 1
    return sorted(uses, key=lambda fact: (-uses[fact], fact))


def decide(exam: Truths, root: Node) -> Decision:
    """The exact truth of a rule and, where it has none yet, the facts that can still flip it."""
    found = (diagram := Diagram(exam, root)).build(root)
    missing = {asked_for(exam.rules.facts[fact], exam.known) for fact in diagram.support(found)}
    return Decision(None if missing else found == YES, tuple(sorted(missing)))

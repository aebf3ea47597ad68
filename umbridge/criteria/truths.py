"""What one subset's rules come to, for all patients whom the rules cannot tell apart.

A patient's values change with each measurement, the truths of the tests seldom. So what follows from truths
is worked out once and kept here, where no value, time or source is: no patient's can reach another.

Kleene's answer comes first: it is quick and never wrong, but it can say "unknown" where every completion of
the unknown facts agrees. ``decide`` then asks for the exact answer, which ``undecided`` works out.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import TypeAlias, TypeVar, TypeVarTuple

from umbridge.criteria.compiled import CompiledRules
from umbridge.criteria.tree import (
    TIMES,
    Criterion,
    Decision,
    Group,
    IfMeasured,
    Joint,
    Leaf,
    Node,
    Not,
    ScoreTest,
    Truth,
    at_least,
    class_of,
    compare,
    counted_range,
)

Shown: TypeAlias = tuple[str, str, Leaf | None]  # a fact, how it was read, and the test that picks a sample
JointState: TypeAlias = tuple[Truth, Decimal | None, Decimal | None]
Found = TypeVar("Found")
What = TypeVarTuple("What")
MOST_DECISIONS = 20_000  # of one rule set, about 10 MB


@dataclass(frozen=True, slots=True)
class State:
    """All that the rules go by. Two patients with the same have the same ``Truths``.

    It holds a value in two places, where the rules themselves go by it: points that are counted (an age), and
    the one known side of a joint test that is still open.
    """

    leaves: tuple[Truth, ...]
    known: frozenset[str]
    counted: tuple[int | None, ...]
    joints: tuple[JointState, ...]  # its truth; while that is open, the values of its two sides


class Truths:
    """One state of one subset's rules. ``exactly`` gives the answer where Kleene's is "unknown"."""

    def __init__(
        self, rules: CompiledRules, state: State, exactly: Callable[[Truths, Node], Decision]
    ) -> None:
        self.rules = rules
        self._exactly = exactly
        self.truths = state.leaves
        self.known = state.known
        self.joint_truths = tuple(joint[0] for joint in state.joints)
        self.memory: dict[str, Truth] = {}
        self._joints = state.joints
        self._counted = dict(zip(rules.counted, state.counted, strict=True))
        self._bounds: dict[str, tuple[int, int]] = {}
        self._item_bounds: dict[str, list[tuple[int, int]]] = {}
        self._kept: dict[Hashable, object] = {}

    def kept(self, work: Callable[[Truths, *What], Found], *what: *What) -> Found:
        """What ``work`` gives for these truths and ``what``, worked out the first time. Do not change it.

        ``work`` must be a function of its arguments alone, so one of a module, and not one made on the spot
        that could bring a patient's values along.
        """
        key = (work, what)
        if key not in self._kept:
            self._kept[key] = work(self, *what)
        return self._kept[key]  # type: ignore[return-value]  # one work, one kind of result

    def operand(self, joint: Joint, side: int) -> Decimal | None:
        """One of the two values that an open joint test puts together; None while it is unknown."""
        _, x, y = self._joints[self.rules.number_of(joint)]
        return y if side else x

    def counted(self, fact: str) -> int | None:
        """The points of a fact that is counted itself: its latest value. None while it is unknown."""
        return self._counted[fact]

    def truth(self, key: str) -> Truth:
        """A rule ("section.name") or criterion, by Kleene. Raises KeyError when there is none."""
        return self.rules._compiled[key](self)

    def of(self, node: Node) -> Truth:
        """A node of these rules, by Kleene."""
        return self.rules._compile(node)(self)

    def only(self, facts: Sequence[str]) -> Truths:
        """The same patient with all but these facts unknown."""
        tests = zip(self.rules.leaves, self.truths, strict=True)
        state = State(
            tuple([truth if leaf.fact in facts else None for leaf, truth in tests]),
            self.known.intersection(facts),
            tuple([value if fact in facts else None for fact, value in self._counted.items()]),
            tuple([(None, None, None) for _ in self._joints]),
        )
        return Truths(self.rules, state, self._exactly)

    def item_bounds(self, score: str, index: int) -> tuple[int, int]:
        """Least and most points one item can still give."""
        self.bounds(score)
        return self._item_bounds[score][index]

    def _bounds_of(self, score: str, index: int) -> tuple[int, int]:
        counts, sign, bands = self.rules._items[score][index]
        if counts:
            value = self.counted(counts)
            least, most = counted_range(self.rules.facts[counts]) if value is None else (value, value)
            return (least, most) if sign > 0 else (-most, -least)
        low, high, open_ = 0, 0, False
        for rule, points in bands:
            truth = rule(self)
            if truth is False:
                continue
            low, high = (min(low, points), max(high, points)) if open_ else (points, points)
            if truth:
                return low, high
            open_ = True
        return (min(low, 0), max(high, 0)) if open_ else (0, 0)

    def bounds(self, score: str) -> tuple[int, int]:
        """Least and most the score can be, whatever the unknown facts turn out to be."""
        if score not in self._bounds:
            items = [self._bounds_of(score, index) for index in range(len(self.rules._items[score]))]
            self._item_bounds[score] = items
            self._bounds[score] = (sum(low for low, _ in items), sum(high for _, high in items))
        return self._bounds[score]

    def first_step(self, score: str) -> Truth:
        """Whether the score's first step settles it before any point is counted (PSI class I)."""
        step = self.rules._first.get(score)
        return False if step is None else step(self)

    def score_truth(self, node: ScoreTest) -> Truth:
        """A score test by its bounds; a true first step ranks below every number."""
        low, high = self.bounds(node.score)
        by_sum = compare(low, high, node.op, node.value)
        step = self.first_step(node.score)
        if step is False:
            return by_sum
        below = node.op in ("<", "<=", "is not")
        return below if step or by_sum is below else None

    def exactly(self, node: Node) -> Decision:
        """The exact answer about a node of these rules that has no name."""
        truth = self.of(node)
        return Decision(truth) if truth is not None else self._exactly(self, node)

    def decide(self, key: str) -> Decision:
        """The exact answer: a truth only when every completion of the unknown facts agrees on it.

        Where they do not, ``missing`` names each fact that flips the answer in some completion, and no other.
        """
        truth = self.truth(key)
        return Decision(truth) if truth is not None else self.kept(Truths._decide, key)

    def _decide(self, key: str) -> Decision:
        """By what this rule reads and nothing else: states that differ elsewhere share the answer."""
        leaves, joints, counted, beside = self.rules.read_by(key)
        state = (
            key,
            tuple([self.truths[number] for number in leaves]),
            tuple([self._joints[number] for number in joints]),
            tuple([self.counted(fact) for fact in counted]),
            tuple([fact in self.known for fact in beside]),
        )
        found = self.rules.decided.get(state)
        if found is None:
            if len(self.rules.decided) >= MOST_DECISIONS:  # start again rather than grow
                self.rules.decided.clear()
            found = self.rules.decided[state] = self._exactly(self, self.rules.rules[key])
        return found

    def scores(self, keys: Sequence[str] | None = None) -> dict[str, int | str]:
        """Scores as results show them: ``x`` or ``x_min`` and ``x_max``; ``x_class`` likewise."""
        shown_scores: dict[str, int | str] = {}
        for key in self.rules.scores if keys is None else keys:
            score, (low, high) = self.rules.scores[key], self.bounds(key)
            shown_scores |= {key: low} if low == high else {f"{key}_min": low, f"{key}_max": high}
            if not score.classes:
                continue
            step = self.first_step(key)
            least = score.first_class if step is not False else class_of(score, low)
            most = score.first_class if step else class_of(score, high)
            if least == most:
                shown_scores[f"{key}_class"] = least
            else:
                shown_scores |= {f"{key}_class_min": least, f"{key}_class_max": most}
        return shown_scores

    def score_lines(self, keys: Sequence[str] | None = None) -> list[str]:
        """Each score in words: "CURB-65 3." or "PSI 60 to 130, class II to IV."."""
        found, lines = self.scores(keys), []
        for key in self.rules.scores if keys is None else keys:
            score, spans = self.rules.scores[key], []
            for name, word in ((key, ""), (f"{key}_class", ", class")):
                if name in found:
                    spans.append(f"{word} {found[name]}")
                elif f"{name}_min" in found:
                    spans.append(f"{word} {found[f'{name}_min']} to {found[f'{name}_max']}")
            lines.append(score.title + "".join(spans) + ".")
        return lines

    def left_out(self, optional: Sequence[IfMeasured] | None = None) -> tuple[str, ...]:
        """Facts that may be left out, that are unknown and were left out: of all tests, or of these."""
        return tuple(
            dict.fromkeys(
                (self.rules.facts[node.leaf.fact].minus or (node.leaf.fact,))[-1]
                for node in (self.rules.optional if optional is None else optional)
                if node.is_left_out(self.known)
            )
        )

    def reasons(self, key: str, truth: Truth) -> list[Criterion]:
        """The criteria of a rule, outermost first, that came to this truth."""
        found: dict[str, Criterion] = {}
        self._reasons(self.rules.rules[key], truth, found)
        return list(found.values())

    def _reasons(self, node: Node, truth: Truth, found: dict[str, Criterion]) -> None:
        match node:
            case Criterion():
                if self.rules._compiled[node.id](self) is truth:
                    found[node.id] = node
            case Group():
                for child in node.children:
                    self._reasons(child, truth, found)
            case Not():
                self._reasons(node.child, None if truth is None else not truth, found)
            case _:
                pass

    def to_show(self, keys: Sequence[str]) -> tuple[Shown, ...]:
        """Which readings make the rules what they are; for an unknown rule, those known so far."""
        found: dict[Shown, None] = {}
        for key in keys:
            self._show(self.rules.rules[key], found)
        return tuple([part for each in found for part in self._sent(*each)])

    def _sent(self, fact: str, reads: str, leaf: Leaf | None) -> tuple[Shown, ...]:
        """What was sent: of a difference, what it is made of. A diagnosis is in the criterion's own words."""
        spec = self.rules.facts[fact]
        if spec.minus is not None:
            return (spec.minus[0], reads, None), (spec.minus[1], "latest", None)
        return () if spec.principal else ((fact, reads, leaf),)

    def _show(self, node: Node, found: dict[Shown, None]) -> None:
        match node:
            case Leaf():
                if node.fact in self.known:
                    picks = node.reads == "any" or node.reads in TIMES
                    found[node.fact, node.reads, node if picks else None] = None
            case Joint():
                for fact, reads in zip(node.facts, node.reads, strict=True):
                    if fact in self.known:
                        found[fact, reads, None] = None
            case Group():
                children = [(child, self.rules._compile(child)(self)) for child in node.children]
                whole = at_least(node.n, [truth for _, truth in children])
                for child, truth in children:
                    if whole is None or truth is whole:
                        self._show(child, found)
            case ScoreTest():
                self._show_score(node, found)
            case Criterion():
                self._show(node.rule, found)
            case IfMeasured():
                self._show(node.leaf, found)
            case Not():
                self._show(node.child, found)

    def _show_score(self, node: ScoreTest, found: dict[Shown, None]) -> None:
        score, truth = self.rules.scores[node.score], self.score_truth(node)
        if score.first_step is not None and self.first_step(node.score):
            self._show(score.first_step, found)
            return
        self.bounds(node.score)
        reached = truth is True and node.op in (">", ">=")
        for item, bounds in zip(score.items, self._item_bounds[node.score], strict=True):
            if reached and bounds == (0, 0):
                continue  # it gave nothing, so it did not decide
            if item.counts and item.counts in self.known:
                found[item.counts, "latest", None] = None
            for condition, _ in item.bands:
                self._show(condition, found)

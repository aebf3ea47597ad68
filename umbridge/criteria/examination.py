"""One patient put to one subset's rules.

Kleene's answer comes first: it is quick and never wrong, but it can say "unknown" where every completion of
the unknown facts agrees. ``decide`` then asks ``undecided`` for the exact answer.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING

from umbridge.criteria.tree import (
    OPERATORS,
    TIMES,
    Criterion,
    Decision,
    FactSpec,
    Group,
    IfMeasured,
    Joint,
    Leaf,
    Node,
    Not,
    ScoreTest,
    Trace,
    Truth,
    at_least,
    class_of,
    compare,
    counted_range,
    hours_since,
    is_usable,
    samples_read,
    shown,
    text_of,
    value_read,
)
from umbridge.model import Evidence, Reading

if TYPE_CHECKING:
    from umbridge.criteria.ruleset import RuleSet  # it makes examinations, so it imports this module


FactTests = tuple[str, FactSpec, list[tuple[int, Callable[[Reading], bool]]]]  # with each test's number


class Examination:
    """One patient against one ``RuleSet``."""

    def __init__(
        self,
        rules: RuleSet,
        facts: Mapping[str, Reading],
        as_of: datetime | None,
        by_fact: Sequence[FactTests],
    ) -> None:
        self.rules = rules
        self.facts = facts
        self.truths: list[Truth] = [None] * len(rules.leaves)
        self.memory: dict[str, Truth] = {}
        self._bounds: dict[str, tuple[int, int]] = {}
        self._item_bounds: dict[str, list[tuple[int, int]]] = {}
        self.known: set[str] = set()
        for fact, spec, tests in by_fact:
            if (reading := facts.get(fact)) is not None and is_usable(spec, reading):
                if spec.kind == "datetime" and (reading := hours_since(reading, as_of)) is None:
                    continue
                if fact in rules.joined and value_read(reading, "lowest") <= 0:
                    continue  # no concentration is zero; a quotient by it would be none either
                self.known.add(fact)
                for number, test in tests:
                    self.truths[number] = test(reading)
        self.joint_truths = [self._joint(joint) for joint in rules.joints]

    def operand(self, joint: Joint, side: int) -> Decimal | None:
        """One of the two values that a joint test puts together; None while it is unknown."""
        fact = joint.facts[side]
        if fact not in self.known:
            return None
        return value_read(self.facts[fact], joint.reads[side])

    def _joint(self, joint: Joint) -> Truth:
        x, y = self.operand(joint, 0), self.operand(joint, 1)
        return None if x is None or y is None else joint.holds(x, y)

    def counted(self, fact: str) -> int | None:
        """The points of a fact that is counted itself: its latest value. None while it is unknown."""
        if fact not in self.known:
            return None
        return int(self.facts[fact].latest.value)  # usable, so a whole number within its bounds

    def truth(self, key: str) -> Truth:
        """A rule ("section.name") or criterion, by Kleene. Raises KeyError when there is none."""
        return self.rules._compiled[key](self)

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

    def decide(self, key: str) -> Decision:
        """The exact answer: a truth only when every completion of the unknown facts agrees on it.

        Where they do not, ``missing`` names each fact that flips the answer in some completion, and no other.
        """
        truth = self.truth(key)
        if truth is not None:
            return Decision(truth)
        from umbridge.criteria.undecided import decide  # noqa: PLC0415  (it builds on this module)

        memory = self.rules.decided
        state = (
            key,
            tuple(self.truths),
            tuple(self.counted(fact) for fact in self.rules.counted),
            tuple(
                (truth, None if truth is not None else (self.operand(joint, 0), self.operand(joint, 1)))
                for joint, truth in zip(self.rules.joints, self.joint_truths, strict=True)
            ),
        )
        known = memory.get(state)
        if known is None:
            if len(memory) >= 20_000:  # about 10 MB; then start again rather than grow
                memory.clear()
            known = memory[state] = decide(self, self.rules.rules[key])
        return known

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
                node.leaf.fact
                for node in (self.rules.optional if optional is None else optional)
                if node.leaf.fact not in self.known and node.beside in self.known
            )
        )

    def trace(self, key: str) -> Trace:
        """Every node of a rule with what it came to."""
        return self._trace(self.rules.rules[key])

    def _trace(self, node: Node) -> Trace:
        truth = self.rules._compile(node)(self)
        match node:
            case Criterion():
                return Trace(node.title, truth, (self._trace(node.rule),))
            case Not():
                return Trace("NOT", truth, (self._trace(node.child),))
            case Group():
                return Trace(text_of(node), truth, tuple(self._trace(child) for child in node.children))
            case ScoreTest():
                low, high = self.bounds(node.score)
                found = f"{low}" if low == high else f"{low} to {high}"
                return Trace(f"{text_of(node)} (found {found})", truth, self._items_trace(node.score))
            case Leaf() | Joint() | IfMeasured():
                return Trace(text_of(node), truth)

    def _items_trace(self, score: str) -> tuple[Trace, ...]:
        lines = []
        for index, item in enumerate(self.rules.scores[score].items):
            low, high = self.item_bounds(score, index)
            points = f"{low}" if low == high else f"{low} to {high}"
            lines.append(Trace(f"{item.id}: {points}", None if low != high else low != 0))
        return tuple(lines)

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

    def evidence(self, *keys: str) -> tuple[Evidence, ...]:
        """The readings that made the rules what they are; for an unknown rule, those known so far."""
        found: dict[tuple[str, int], Evidence] = {}
        times: dict[int, str] = {}
        for key in keys:
            self._evidence(self.rules.rules[key], found, times)
        return tuple(found.values())

    def _evidence(self, node: Node, found: dict[tuple[str, int], Evidence], times: dict[int, str]) -> None:
        match node:
            case Leaf():
                if node.fact in self.known:
                    self._show(self.facts[node.fact], node.reads, node, found, times)
            case Joint():
                for fact, reads in zip(node.facts, node.reads, strict=True):
                    if fact in self.known:
                        self._show(self.facts[fact], reads, None, found, times)
            case Group():
                children = [(child, self.rules._compile(child)(self)) for child in node.children]
                whole = at_least(node.n, [truth for _, truth in children])
                for child, truth in children:
                    if whole is None or truth is whole:
                        self._evidence(child, found, times)
            case ScoreTest():
                self._score_evidence(node, found, times)
            case Criterion():
                self._evidence(node.rule, found, times)
            case IfMeasured():
                self._evidence(node.leaf, found, times)
            case Not():
                self._evidence(node.child, found, times)

    def _score_evidence(
        self, node: ScoreTest, found: dict[tuple[str, int], Evidence], times: dict[int, str]
    ) -> None:
        score, truth = self.rules.scores[node.score], self.score_truth(node)
        if score.first_step is not None and self.first_step(node.score):
            self._evidence(score.first_step, found, times)
            return
        self.bounds(node.score)
        reached = truth is True and node.op in (">", ">=")
        for item, bounds in zip(score.items, self._item_bounds[node.score], strict=True):
            if reached and bounds == (0, 0):
                continue  # it gave nothing, so it did not decide
            if item.counts and item.counts in self.known:
                self._show(self.facts[item.counts], "latest", None, found, times)
            for condition, _ in item.bands:
                self._evidence(condition, found, times)

    @staticmethod
    def _show(
        reading: Reading,
        reads: str,
        leaf: Leaf | None,
        found: dict[tuple[str, int], Evidence],
        times: dict[int, str],
    ) -> None:
        sample = reading.latest
        if reads == "lowest":
            sample = reading.low
        elif reads == "highest":
            sample = reading.high
        elif (reads == "any" or reads in TIMES) and leaf is not None:
            test = OPERATORS[leaf.op]
            sample = next((s for s in samples_read(reading, reads) if test(s.value, leaf.value)), sample)
        key = (reading.fact, id(sample))
        if key in found:
            return
        at = times.get(id(sample.at))
        if at is None:
            at = times[id(sample.at)] = sample.at.isoformat()
        found[key] = Evidence(reading.fact, shown(sample.value), sample.unit, at, sample.source)

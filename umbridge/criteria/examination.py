"""One patient put to one subset's rules.

Kleene's answer comes first: it is quick and never wrong, but it can say "unknown" where every completion of
the unknown facts agrees. ``decide`` then asks ``undecided`` for the exact answer.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, TypeAlias, TypeVar

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
from umbridge.model import Evidence, Reading, Sample

if TYPE_CHECKING:
    from umbridge.criteria.ruleset import RuleSet  # it makes examinations, so it imports this module


FactTests = tuple[str, FactSpec, list[tuple[int, Callable[[Reading], bool]]]]  # with each test's number
Shown: TypeAlias = tuple[str, str, Leaf | None]  # a fact, how it was read, and the test that picks a sample
Found = TypeVar("Found")
MOST_DECISIONS = 20_000  # of one rule set, about 10 MB
MOST_STATES = 1000  # of one rule set; a state and what was found for it are about 4 kB


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
        self._found: dict[Hashable, object] | None = None

    def once(self, what: Hashable, work: Callable[[], Found]) -> Found:
        """What ``work`` gives, remembered for every examination that these rules cannot tell from this one.

        A patient's values change with each measurement, their truths seldom: most screens of a stay find here
        what the one before them worked out. ``work`` may use this examination's truths, decisions, scores and
        reasons and whatever is part of ``what``; never a value, a time or a source, which differ from patient
        to patient. ``evidence`` is for those.
        """
        found = self._found
        if found is None:
            found = self._found = self._found_before()
        if what not in found:
            found[what] = work()
        return found[what]  # type: ignore[return-value]  # one ``what``, one kind of work

    def _found_before(self) -> dict[Hashable, object]:
        memory = self.rules.memory
        state = (
            tuple(self.truths),
            frozenset(self.known),
            tuple([self.counted(fact) for fact in self.rules.counted]),
            tuple([self._joint_state(number) for number in range(len(self.joint_truths))]),
        )
        found = memory.get(state)
        if found is None:
            if len(memory) >= MOST_STATES:  # start again rather than grow
                memory.clear()
            found = memory[state] = {}
        return found

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
        return self.once(("decision", key), lambda: self._decide(key))

    def _decide(self, key: str) -> Decision:
        """By what this rule reads and nothing else: patients who differ elsewhere share the answer."""
        from umbridge.criteria.undecided import decide  # noqa: PLC0415  (it builds on this module)

        leaves, joints, counted, beside = self.rules.read_by(key)
        state = (
            key,
            tuple([self.truths[number] for number in leaves]),
            tuple([self._joint_state(number) for number in joints]),
            tuple([self.counted(fact) for fact in counted]),
            tuple([fact in self.known for fact in beside]),
        )
        found = self.rules.decided.get(state)
        if found is None:
            if len(self.rules.decided) >= MOST_DECISIONS:  # start again rather than grow
                self.rules.decided.clear()
            found = self.rules.decided[state] = decide(self, self.rules.rules[key])
        return found

    def _joint_state(self, number: int) -> tuple[Truth, Decimal | None, Decimal | None]:
        """Settled, it is its truth; open, the one value that may be known counts too."""
        truth = self.joint_truths[number]
        if truth is not None:
            return truth, None, None
        joint = self.rules.joints[number]
        return None, self.operand(joint, 0), self.operand(joint, 1)

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
        for fact, reads, leaf in self.once(("evidence", keys), lambda: self._to_show(keys)):
            sample = _sample_read(self.facts[fact], reads, leaf)
            key = (fact, id(sample))
            if key not in found:
                at = times.get(id(sample.at))
                if at is None:
                    at = times[id(sample.at)] = sample.at.isoformat()
                found[key] = Evidence(fact, shown(sample.value), sample.unit, at, sample.source)
        return tuple(found.values())

    def _to_show(self, keys: Sequence[str]) -> tuple[Shown, ...]:
        found: dict[Shown, None] = {}
        for key in keys:
            self._show(self.rules.rules[key], found)
        return tuple(found)

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


def _sample_read(reading: Reading, reads: str, leaf: Leaf | None) -> Sample:
    """The sample to show: of several that were looked at, the first that made the test true."""
    if reads == "lowest":
        return reading.low
    if reads == "highest":
        return reading.high
    if leaf is None:
        return reading.latest
    test = OPERATORS[leaf.op]
    return next((s for s in samples_read(reading, reads) if test(s.value, leaf.value)), reading.latest)

"""One subset's rules compiled, and one patient put to them.

Kleene's answer comes first: it is quick and never wrong, but it can say "unknown" where every completion of
the unknown facts agrees. ``decide`` then asks ``undecided`` for the exact answer.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from umbridge.criteria.tree import (
    OPERATORS,
    Criterion,
    Decision,
    FactSpec,
    Group,
    IfMeasured,
    Leaf,
    Node,
    Not,
    Score,
    ScoreTest,
    Trace,
    Truth,
    at_least,
    class_of,
    compare,
    counted_range,
    is_usable,
    leaf_test,
    samples_read,
    shown,
    text_of,
    walk,
)
from umbridge.model import Evidence, Reading


class RuleSet:
    """The rules, criteria and scores of one subset, compiled. ``rules`` are found by "section.name".

    Immutable after construction except for its cache, which cannot be seen from outside: the same facts
    give the same answers in any order.
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
        self.optional: list[IfMeasured] = []
        self.leaves_of: dict[str, list[int]] = {fact: [] for fact in facts}
        self._numbers: dict[Leaf, int] = {}
        nodes: list[Node] = list(self.rules.values())
        nodes += [ScoreTest(score, ">=", 0) for score in scores]
        for node in (found for start in nodes for found in walk(start, self.scores)):
            if isinstance(node, IfMeasured):
                self.optional.append(node)
            if isinstance(node, Leaf) and node not in self._numbers:
                self._numbers[node] = len(self.leaves)
                self.leaves_of[node.fact].append(len(self.leaves))
                self.leaves.append(node)
        self.counted = tuple(dict.fromkeys(i.counts for s in scores.values() for i in s.items if i.counts))
        self._functions: dict[int, Callable[[Examination], Truth]] = {}
        self._by_fact = [
            (fact, self.facts[fact], [(i, leaf_test(self.leaves[i])) for i in numbers])
            for fact, numbers in self.leaves_of.items()
        ]
        self._items = {
            score.id: [
                (item.counts, [(self._compile(node), points) for node, points in item.bands])
                for item in score.items
            ]
            for score in scores.values()
        }
        self._first = {s.id: self._compile(s.first_step) for s in scores.values() if s.first_step is not None}
        self._compiled = {key: self._compile(node) for key, node in self.rules.items()}
        self.decided: dict[object, Decision] = {}
        self.cells: dict[object, list[tuple[tuple[bool, ...], int, bool]]] = {}

    def number_of(self, leaf: Leaf) -> int:
        """Where this leaf's truth stands in an examination."""
        return self._numbers[leaf]

    def needed(self) -> tuple[str, ...]:
        """The facts that any rule, criterion or score reads, sorted."""
        beside = {node.beside for node in self.optional}
        return tuple(sorted({leaf.fact for leaf in self.leaves} | set(self.counted) | beside))

    def examine(self, facts: Mapping[str, Reading]) -> Examination:
        """Put the rules to one patient's facts. Facts the rules do not read are ignored."""
        return Examination(self, facts)

    def _compile(self, node: Node) -> Callable[[Examination], Truth]:
        key = id(node)  # nodes live as long as this rule set, which holds them all
        if key not in self._functions:
            self._functions[key] = self._function(node)
        return self._functions[key]

    def _function(self, node: Node) -> Callable[[Examination], Truth]:
        match node:
            case Leaf():
                number = self._numbers[node]
                return lambda exam: exam.truths[number]
            case IfMeasured():
                optional, beside = self._numbers[node.leaf], node.beside
                return lambda exam: (
                    False if (truth := exam.truths[optional]) is None and beside in exam.known else truth
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

    def _remembered(self, key: str, rule: Callable[[Examination], Truth]) -> Callable[[Examination], Truth]:
        def recall(exam: Examination) -> Truth:
            if key not in exam.memory:
                exam.memory[key] = rule(exam)
            return exam.memory[key]

        return recall


def _compiled_group(n: int, children: list[Callable[[Examination], Truth]]) -> Callable[[Examination], Truth]:
    spare = len(children) - n  # how many may be false

    def truth(exam: Examination) -> Truth:
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


class Examination:
    """One patient against one ``RuleSet``."""

    def __init__(self, rules: RuleSet, facts: Mapping[str, Reading]) -> None:
        self.rules = rules
        self.facts = facts
        self.truths: list[Truth] = [None] * len(rules.leaves)
        self.memory: dict[str, Truth] = {}
        self._bounds: dict[str, tuple[int, int]] = {}
        self._item_bounds: dict[str, list[tuple[int, int]]] = {}
        self.known: set[str] = set()
        for fact, spec, tests in rules._by_fact:
            if (reading := facts.get(fact)) is not None and is_usable(spec, reading):
                self.known.add(fact)
                for number, test in tests:
                    self.truths[number] = test(reading)

    def counted(self, fact: str) -> int | None:
        """The points of a fact that is counted itself: its latest value, cut to whole and to its bounds."""
        if fact not in self.known:
            return None
        low, high = counted_range(self.rules.facts[fact])
        return min(max(int(self.facts[fact].latest.value), low), high)  # usable, so a number

    def truth(self, key: str) -> Truth:
        """A rule ("section.name") or criterion, by Kleene. Raises KeyError when there is none."""
        return self.rules._compiled[key](self)

    def item_bounds(self, score: str, index: int) -> tuple[int, int]:
        """Least and most points one item can still give."""
        self.bounds(score)
        return self._item_bounds[score][index]

    def _bounds_of(self, score: str, index: int) -> tuple[int, int]:
        counts, bands = self.rules._items[score][index]
        if counts:
            value = self.counted(counts)
            return counted_range(self.rules.facts[counts]) if value is None else (value, value)
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
        state = (key, tuple(self.truths), tuple(self.counted(fact) for fact in self.rules.counted))
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

    def score_lines(self) -> list[str]:
        """Each score in words: "CURB-65 3." or "PSI 60 to 130, class II to IV."."""
        found, lines = self.scores(), []
        for key, score in self.rules.scores.items():
            spans = []
            for name, word in ((key, ""), (f"{key}_class", ", class")):
                if name in found:
                    spans.append(f"{word} {found[name]}")
                elif f"{name}_min" in found:
                    spans.append(f"{word} {found[f'{name}_min']} to {found[f'{name}_max']}")
            lines.append(score.title + "".join(spans) + ".")
        return lines

    def left_out(self) -> tuple[str, ...]:
        """Facts that a score allows one to leave out, that are unknown and were left out."""
        return tuple(
            dict.fromkeys(
                node.leaf.fact
                for node in self.rules.optional
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
            case Leaf() | IfMeasured():
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
        elif reads == "any" and leaf is not None:
            test = OPERATORS[leaf.op]
            sample = next((s for s in samples_read(reading, reads) if test(s.value, leaf.value)), sample)
        key = (reading.fact, id(sample))
        if key in found:
            return
        at = times.get(id(sample.at))
        if at is None:
            at = times[id(sample.at)] = sample.at.isoformat()
        found[key] = Evidence(reading.fact, shown(sample.value), sample.unit, at, sample.source)

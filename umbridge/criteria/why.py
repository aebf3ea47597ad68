"""The tree behind an answer: each node of a rule with its truth, the readings it read and what it lacks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from umbridge.criteria.citing import cited
from umbridge.criteria.made_facts import asked_for
from umbridge.criteria.tree import (
    TIMES,
    Criterion,
    Group,
    IfMeasured,
    Item,
    Joint,
    Leaf,
    Node,
    Not,
    ScoreTest,
    Truth,
    samples_read,
    truth_of,
)
from umbridge.criteria.truths import Truths
from umbridge.criteria.walk import text_of
from umbridge.model import Evidence, Reading, Sample

ABOVE = " (shown above)"  # a criterion or a score that stands in the tree already is not written out again
SETTLED = ", whatever the unknown facts are"
LEFT_OUT = ": not measured, and may be left out"


@dataclass(frozen=True, slots=True)
class Trace:
    """What one node came to, for people. ``missing``: the facts that leave it open by themselves."""

    text: str
    truth: Truth
    children: tuple[Trace, ...] = ()
    readings: tuple[Evidence, ...] = ()
    missing: tuple[str, ...] = ()


def sample_read(reading: Reading, reads: str, leaf: Leaf | None) -> Sample:
    """The sample to show: of several that were looked at, the first that made the test true."""
    if reads == "lowest":
        return reading.low
    if reads == "highest":
        return reading.high
    if leaf is None:
        return reading.latest
    op, limit = leaf.op, leaf.value
    return next((s for s in samples_read(reading, reads) if truth_of(op, s.value, limit)), reading.latest)


def grown(truths: Truths, facts: Mapping[str, Reading], keys: Sequence[str]) -> tuple[Trace, ...]:
    """One tree for each rule ("section.name") or criterion. A root's truth is exact, those below Kleene's."""
    growing = _Growing(truths, facts)
    return tuple(growing.root(key) for key in keys)


class _Growing:
    """One patient's trees in the making. What one tree has shown, the next does not show again."""

    def __init__(self, truths: Truths, facts: Mapping[str, Reading]) -> None:
        self.truths, self.facts = truths, facts
        self.specs = truths.rules.facts
        self.seen: set[str] = set()

    def root(self, key: str) -> Trace:
        node = self.truths.rules.rules[key]
        section, _, name = key.partition(".")
        text = f"{section}: {name}".replace("_", " ") if name else text_of(node)
        truth, kleene = self.truths.decide(key).value, self.truths.of(node)
        if isinstance(node, Group):
            children = tuple(self.node(child) for child in node.children)
            text += f", {text_of(node)}" if children else ": no rule"
        else:
            children = (self.node(node),)
        return Trace(text if truth is kleene else text + SETTLED, truth, children)

    def node(self, node: Node) -> Trace:
        truth = self.truths.of(node)
        match node:
            case Criterion():
                if self._is_above(f"criterion {node.id}"):
                    return Trace(node.title + ABOVE, truth)
                return Trace(node.title, truth, (self.node(node.rule),))
            case Not():
                return Trace("NOT", truth, (self.node(node.child),))
            case Group():
                return Trace(text_of(node), truth, tuple(self.node(child) for child in node.children))
            case ScoreTest():
                return self._score(node, truth)
            case Leaf():
                return self._leaf(node, truth, text_of(node))
            case IfMeasured():
                text = text_of(node.leaf)
                if truth is False and node.is_left_out(self.truths.known):
                    return Trace(text + LEFT_OUT, truth)
                found = self._leaf(node.leaf, truth, text)
                beside = [fact for fact in node.hangs_on if fact not in self.truths.known]
                return found if truth is not None else replace(found, missing=(*found.missing, *beside))
            case Joint():
                read = [
                    cited(fact, sample_read(self.facts[fact], reads, None))
                    for fact, reads in zip(node.facts, node.reads, strict=True)
                    if fact in self.truths.known
                ]
                open_ = tuple(fact for fact in node.facts if fact not in self.truths.known) or node.facts
                return Trace(text_of(node), truth, (), tuple(read), open_ if truth is None else ())

    def _is_above(self, name: str) -> bool:
        is_so = name in self.seen
        self.seen.add(name)
        return is_so

    def _leaf(self, leaf: Leaf, truth: Truth, text: str) -> Trace:
        missing = self._lacking(leaf.fact) if truth is None else ()
        return Trace(text, truth, (), self._readings(leaf), missing)

    def _readings(self, leaf: Leaf) -> tuple[Evidence, ...]:
        """What was sent: of a difference, what it is made of. A diagnosis is in the criterion's own words."""
        spec = self.specs[leaf.fact]
        if leaf.fact not in self.truths.known:
            parts = [] if spec.minus is None else [fact for fact in spec.minus if fact in self.facts]
            return tuple(cited(fact, self.facts[fact].latest) for fact in parts)
        if spec.principal:
            return ()
        if spec.minus is not None:
            first, second = spec.minus
            read = sample_read(self.facts[first], leaf.reads, None)
            return cited(first, read), cited(second, self.facts[second].latest)
        picks = leaf if leaf.reads == "any" or leaf.reads in TIMES else None
        return (cited(leaf.fact, sample_read(self.facts[leaf.fact], leaf.reads, picks)),)

    def _lacking(self, fact: str) -> tuple[str, ...]:
        spec = self.specs[fact]
        if spec.principal:
            return ()
        made_of = [each for each in spec.minus or () if each not in self.facts]
        return tuple(made_of) or (asked_for(spec, self.facts),)

    def _score(self, node: ScoreTest, truth: Truth) -> Trace:
        score = self.truths.rules.scores[node.score]
        text = f"{score.title} {node.op} {node.value} (found {_span(*self.truths.bounds(score.id))})"
        if self._is_above(f"score {score.id}"):
            return Trace(text + ABOVE, truth)
        first = () if score.first_step is None else (self.node(score.first_step),)
        items = tuple(self._item(score.id, index, item) for index, item in enumerate(score.items))
        return Trace(text, truth, first + items)

    def _item(self, score: str, index: int, item: Item) -> Trace:
        low, high = self.truths.item_bounds(score, index)
        text, truth = f"{item.id}: {_span(low, high)} points", None if low != high else low != 0
        if item.counts:
            if self.truths.counted(item.counts) is None:
                return Trace(text, None, (), (), (item.counts,))
            return Trace(text, truth, (), (cited(item.counts, self.facts[item.counts].latest),))
        bands = [(self.node(condition), points) for condition, points in item.bands]
        below = tuple([replace(each, text=f"{points} for {each.text}") for each, points in bands])
        return Trace(text, truth, below)


def _span(low: int, high: int) -> str:
    return f"{low}" if low == high else f"{low} to {high}"

"""Every node below a rule, and a rule as text."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from decimal import Decimal

from umbridge.criteria.tree import Criterion, Group, IfMeasured, Joint, Leaf, Node, Not, Score, ScoreTest
from umbridge.model import FactValue


def shown(value: FactValue) -> str:
    """A value as content and rationales write it."""
    if isinstance(value, bool):
        return "Y" if value else "N"
    return format(value, "f") if isinstance(value, Decimal) else str(value)


def text_of(node: Node) -> str:
    """A node in the content's own notation."""
    match node:
        case Leaf():
            reads = "" if node.kind != "number" and node.reads == "latest" else f"{node.reads} "
            first, is_made, second = node.fact.partition(" - ")
            if is_made and isinstance(node.value, Decimal):  # a fact against another
                by = f" {'-' if node.value < 0 else '+'} {shown(abs(node.value))}" if node.value else ""
                return f"{reads}{first} {node.op} {second}{by} {node.unit}".rstrip()
            return f"{reads}{node.fact} {node.op} {shown(node.value)} {node.unit}".rstrip()
        case Joint():
            return f"{node.name} {node.op} {shown(node.value)} {node.unit}".rstrip()
        case IfMeasured():
            return f"{text_of(node.leaf)} (optional{''.join(f' beside {fact}' for fact in node.hangs_on)})"
        case ScoreTest():
            return f"{node.score} {node.op} {node.value}"
        case Criterion():
            return node.title
        case Not():
            return "NOT"
        case Group():
            if node.n == 1:
                return "ONE"
            return "ALL" if node.n == len(node.children) else f"{node.n} OF {len(node.children)}"


def walk(node: Node, scores: Mapping[str, Score]) -> Iterator[Node]:
    """Every node below and including this one, scores' items included, in the order of the content."""
    return walk_all((node,), scores)


def walk_all(nodes: Iterable[Node], scores: Mapping[str, Score]) -> Iterator[Node]:
    """The same for several, each node once: rules share criteria, and criteria scores."""
    seen: set[int] = set()
    todo = list(nodes)[::-1]
    while todo:
        node = todo.pop()
        if id(node) in seen:
            continue
        seen.add(id(node))
        yield node
        todo += _below(node, scores)[::-1]


def _below(node: Node, scores: Mapping[str, Score]) -> list[Node]:
    match node:
        case IfMeasured():
            return [node.leaf]
        case Not():
            return [node.child]
        case Criterion():
            return [node.rule]
        case Group():
            return list(node.children)
        case ScoreTest():
            score = scores[node.score]
            below = [condition for item in score.items for condition, _ in item.bands]
            return below if score.first_step is None else [*below, score.first_step]
        case Leaf() | Joint():
            return []

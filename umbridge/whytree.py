"""Results with the tree of rules behind each, for people: 80 columns."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator, Sequence

import click

from umbridge.criteria.whyframe import WhyRow
from umbridge.review.record import ScreenLine
from umbridge.terminal import clean

WIDTH = 80
DEEPEST = 20  # columns of indent: what is deeper stands under its parent all the same
NO_TREE = "no tree: the plugin's answer cites no rules of the engine's"
NO_RULES = "no tree: no rules were asked"


def show(lines: Iterable[ScreenLine]) -> None:
    """Print each result, its rationale and its trees."""
    is_any = False
    for line in lines:
        if is_any:
            click.echo("")
        is_any = True
        for text in result_lines(line):
            click.echo(text)
    if not is_any:
        click.echo("nothing to show", err=True)


def result_lines(line: ScreenLine) -> Iterator[str]:
    """One result."""
    head = f"{line['visit']}  {line['review']}  {line['plugin']}: {line['outcome']}"
    yield from _wrapped(head + (f"  {line['subset']}" if line["subset"] else ""), 0)
    yield from _wrapped(line["rationale"], 2)
    yield from tree_lines(line)


def tree_lines(line: ScreenLine, indent: int = 2) -> Iterator[str]:
    """The trees of one result; then what it lacks that no rule of theirs reads, such as the age."""
    trees = line.get("why", [])
    if not trees:
        yield " " * indent + (NO_RULES if line["outcome"] == "NOT_APPLICABLE" else NO_TREE)
    for tree in trees:
        yield from _node(tree, frozenset(line["missing"]), indent)
    beside = [fact for fact in line["missing"] if fact not in unknown(trees)]
    if beside:
        yield from _wrapped(f"missing beside these rules: {', '.join(beside)}", indent)


def unknown(trees: Sequence[WhyRow]) -> set[str]:
    """The facts that stand as missing at some node."""
    found: set[str] = set()
    for tree in trees:
        found |= {*tree["missing"], *unknown(tree["children"])}
    return found


def _node(node: WhyRow, missing: frozenset[str], indent: int) -> Iterator[str]:
    """A fact that is not known is called missing where the answer can still turn on it."""
    yield from _wrapped(f"{node['truth']:<7} {node['rule']}", indent, 8)
    for each in node["readings"]:
        value = f"{each['fact']} {each['value']} {each['unit']}".rstrip()
        yield from _wrapped(f"{value}, {each['at']}, {each['from']}", indent + 8, 2)
    for word, facts in (
        ("missing", [fact for fact in node["missing"] if fact in missing]),
        ("not known", [f for f in node["missing"] if f not in missing]),
    ):
        if facts:
            yield from _wrapped(f"{word}: {', '.join(facts)}", indent + 8, 2)
    for child in node["children"]:
        yield from _node(child, missing, min(indent + 2, DEEPEST))


def _wrapped(text: str, indent: int, hang: int = 2) -> list[str]:
    first, later = " " * indent, " " * (indent + hang)
    return textwrap.wrap(clean(text), WIDTH, initial_indent=first, subsequent_indent=later)

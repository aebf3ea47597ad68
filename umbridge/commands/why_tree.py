"""The tree of rules behind a result, for people: 80 columns, facts by their titles."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator
from typing import TYPE_CHECKING

from umbridge.clinical.titles import in_words, title_of, titles_of
from umbridge.commands.terminal import clean
from umbridge.criteria.why_rows import WhyRow, unknown
from umbridge.stay.aside_words import minute

if TYPE_CHECKING:
    from umbridge.review.record import ScreenLine

WIDTH = 80
DEEPEST = 20  # columns of indent: what is deeper stands under its parent all the same
HELD = "\u2007"  # a space at which no line ends, until it is printed
_TIME = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d(?::\d\d)? [+-]\d\d:\d\d")
NO_TREE = "no tree: the plugin's answer cites no rules of the engine's"
NO_RULES = "no tree: no rules were asked"


def tree_lines(line: ScreenLine, indent: int = 2) -> Iterator[str]:
    """The trees of one result; then what it lacks that no rule of theirs reads, such as the age."""
    trees, sent = line.get("why", []), frozenset(row["fact"] for row in line.get("not_used", []))
    if not trees:
        yield " " * indent + (NO_RULES if line["outcome"] == "NOT_APPLICABLE" else NO_TREE)
    for tree in trees:
        yield from _node(tree, frozenset(line["missing"]), sent, indent)
    beside = [fact for fact in line["missing"] if fact not in unknown(trees)]
    if beside:
        yield from wrapped(f"missing beside these rules: {titles_of(beside)}", indent)


def _node(node: WhyRow, missing: frozenset[str], sent: frozenset[str], indent: int) -> Iterator[str]:
    """A fact that is not known is called missing where the answer can still turn on it. ``sent``: those of
    which a value is listed above that is not used."""
    yield from wrapped(f"{node['truth']:<7} {in_words(node['rule'])}", indent, 8)
    for each in node["readings"]:
        value = f"{title_of(each['fact'])} {each['value']} {each['unit']}".rstrip()
        yield from wrapped(f"{value}, {minute(each['at'])}, {source_of(each['from'])}", indent + 8, 2)
    for word, facts in (
        ("missing", [fact for fact in node["missing"] if fact in missing]),
        ("not known", [f for f in node["missing"] if f not in missing]),
    ):
        if facts:
            above = " (what was sent of it is above)" if sent.intersection(facts) else ""
            yield from wrapped(f"{word}: {titles_of(facts)}{above}", indent + 8, 2)
    for child in node["children"]:
        yield from _node(child, missing, sent, min(indent + 2, DEEPEST))


_IMPLIED = re.compile(r"(?<=[, ])implied by ([a-z][a-z0-9_]*)")
#: Sources that no message is, by how they begin.
_SILENT = (
    ("order:none", "no such order was sent"),
    ("flag:none", "no such flag was sent"),
    ("baseline:none", "nothing usual is stated for this patient"),
    ("closed world: ", "not named, and this was said: "),
)


def source_of(source: str) -> str:
    """Where a value comes from. Of one that nobody sent, what silence stands for; facts by their titles."""
    for code, words in _SILENT:
        if source.startswith(code):
            return words + title_of(source.removeprefix(code)) if source != code else words
    head, found, facts = source.partition("none known: ")
    if found and not head:
        return found + in_words(facts)
    return _IMPLIED.sub(lambda by: f"implied by {title_of(by[1])}", source)


def wrapped(text: str, indent: int, hang: int = 2) -> list[str]:
    """One text in lines of the page's width. A time is not parted from its day or its offset."""
    first, later = " " * indent, " " * (indent + hang)
    whole = _TIME.sub(lambda found: found[0].replace(" ", HELD), clean(text))
    lines = textwrap.wrap(whole, WIDTH, initial_indent=first, subsequent_indent=later)
    return [line.replace(HELD, " ") for line in lines]

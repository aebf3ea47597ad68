"""A tree as rows: what programs are given and pages print."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypedDict


class WhyRow(TypedDict):
    """One node in the keys of ``--why --json``."""

    rule: str
    truth: str
    readings: list[dict[str, str]]
    missing: list[str]
    children: list[WhyRow]


def unknown(trees: Sequence[WhyRow]) -> set[str]:
    """The facts that stand as missing at some node."""
    found: set[str] = set()
    for tree in trees:
        found |= {*tree["missing"], *unknown(tree["children"])}
    return found

"""Writes golden_disclosures.txt: who sees which field of which question's answer (make vectors).

Read every changed line before it is committed: a line is a permission.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from umbridge_audit.disclose import Sees, unmet
from umbridge_audit.redact import PURPOSES, AccessTable, Permission

from umbridge.access.messages import SEGMENT_COMPARTMENT
from umbridge.access.questions import Act, Query
from umbridge.access.registry import ACTS, QUERIES
from umbridge.access.views import Exported, Placed, Slots, places

PAGE = Path(__file__).with_name("golden_disclosures.txt")
INSIDE: dict[type[Any], str] = {
    Slots: "each slot as its kind's table in the ledger says",
    Placed: "each value as its segment, below",
    Exported: "as the export's profile",
}


def flat(declared: type[Any], above: str = "") -> Iterator[tuple[str, str, str]]:
    """Every field of a view, those inside it too, with its compartment and slot or what decides instead."""
    for name, place in places(declared).items():
        if place.holds is None:
            yield above + name, place.compartment, place.slot
        elif place.holds in INSIDE:
            yield above + name, "", INSIDE[place.holds]
        else:
            yield from flat(place.holds, f"{above}{name}.")


def sights(declared: type[Any], sees: Sees) -> Iterator[str]:
    for sight in ("show", "mask"):
        names = [name for name, c, slot in flat(declared) if c and sees.may(c, slot) == sight]
        if names:
            yield f"{sight} {' '.join(names)}"


def of_query(query: type[Query[Any]], table: AccessTable) -> Iterator[str]:
    yield f"{query.name} {query.access}"
    filters = {n: a.looks_for for n, a in query.arguments().items() if a.looks_for is not None}
    for name, (compartment, slot) in filters.items():
        yield f"{query.name} looks for {name}: {compartment}.{slot}"
    for need in query.stands_on:
        yield f"{query.name} stands on {need.compartment}.{need.field}"
    for declared in query.rows:
        for name, compartment, slot in flat(declared):
            yield f"{query.name} {declared.__name__} {name}: {compartment}{compartment and '.'}{slot}"
    granted = [(f"{r} {p}", table.permission([r], p)) for r in sorted(table.roles) for p in PURPOSES]
    if query.access == "read" and table.broken is not None:
        granted.append(("breakglass BTG", table.broken))
    for who, sees in granted:
        able = sees.exports if query.access == "export" else sees.any
        if not sees.roles:
            continue
        if not able or unmet(sees, query.stands_on) is not None:
            yield f"{query.name} {who} refused"
            continue
        barred = [name for name, (c, slot) in filters.items() if sees.may(c, slot) != "show"]
        if barred:
            yield f"{query.name} {who} may not look for {' '.join(barred)}"
        for declared in query.rows:
            for line in sights(declared, sees):
                yield f"{query.name} {who} {declared.__name__} {line}"


def of_act(act: type[Act[Any]], table: AccessTable) -> Iterator[str]:
    yield f"{act.name} act: {act.may}"
    for role in sorted(table.acts[act.may]):
        for declared in act.rows:
            for line in sights(declared, Permission((table.roles[role],))):
                yield f"{act.name} {role} {declared.__name__} {line}"


def lines() -> list[str]:
    table = AccessTable.load()
    found = ["# question, who and for what, what is shown and what is masked; what is not listed is hidden"]
    for query in QUERIES:
        found += of_query(query, table)
    for act in ACTS:
        found += of_act(act, table)
    found += [f"segment {name}: {c}" for name, c in sorted(SEGMENT_COMPARTMENT.items())]
    found.append("segment any other: clin, or sens where the message tells of substance use")
    return found


def text() -> str:
    return "\n".join(lines()) + "\n"


if __name__ == "__main__":
    PAGE.write_text(text())

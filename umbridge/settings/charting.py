"""What the profile says of charts: when silence is an answer, and which drugs need the hospital.

``[assumptions]`` names the event after which a finding that was not charted is N; without it silence says
nothing. The lists of ``[orders]`` tell apart the drug orders that no other table names.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import NoReturn, Protocol, TypeAlias

Table: TypeAlias = Mapping[str, str | list[str]]  # as a profile should have it; whoever reads it checks

#: What a chart may be taken as complete for, and the event (a fact that is Y) that has to be told for it.
EVENTS = {
    "comorbidities": "history_complete",
    "assessments": "assessment_complete",
    "chest_imaging": "chest_imaging_reported",
}
ASSUMPTIONS = tuple(EVENTS)
#: Keys of ``[orders]`` that may be left out, and what then holds. Routes are values of RXR-1 (table 0162).
USUAL: Mapping[str, list[str]] = {
    "not_treatment": [],
    "parenteral_routes": ["IV", "IA", "IC", "IO", "IT", "EP"],
    "parenteral_suffixes": ["INF", "IV", "PCA"],
}


class Reads(Protocol):
    """What reads a profile's values, naming the key in every complaint."""

    def fail(self, key: str, expected: str) -> NoReturn: ...

    def table(self, tree: object, key: str, keys: tuple[str, ...] | None = None) -> Table: ...

    def text(self, value: object, key: str) -> str: ...

    def one_of(self, value: object, key: str, known: tuple[str, ...]) -> str: ...


@dataclass(frozen=True, slots=True)
class DrugOrders:
    """Of orders for drugs that are neither treatments nor known to be none: which leave the question open."""

    not_treatment: frozenset[str]  # codes
    routes: frozenset[str]  # of RXR-1, in upper case
    suffixes: tuple[str, ...]  # of codes, where no RXR was sent

    def is_parenteral(self, codes: tuple[str, ...], routes: tuple[str, ...]) -> bool:
        """Whether an order of these codes and routes goes past gut and skin, and nobody said what it is."""
        if not self.not_treatment.isdisjoint(codes):
            return False
        if routes:
            return not self.routes.isdisjoint(each.upper() for each in routes)
        return any(code.upper().endswith(self.suffixes) for code in codes)


def drug_orders(reads: Reads, orders: Table) -> DrugOrders:
    """Of the table ``[orders]``, completed by ``USUAL``. Raises ConfigError through ``reads``."""
    listed: dict[str, tuple[str, ...]] = {}
    for name in USUAL:
        value = orders[name]
        if not isinstance(value, list):
            reads.fail(f"orders.{name}", "a list of texts")
        listed[name] = tuple(reads.text(each, f"orders.{name}[{n}]") for n, each in enumerate(value))
    return DrugOrders(
        frozenset(listed["not_treatment"]),
        frozenset(each.upper() for each in listed["parenteral_routes"]),
        tuple(each.upper() for each in listed["parenteral_suffixes"]),
    )


def assumptions(reads: Reads, tree: object) -> Mapping[str, str]:
    """Of ``[assumptions]``: each with the one event that can close it. Raises ConfigError likewise."""
    found = reads.table(tree, "assumptions")
    read: dict[str, str] = {}
    for name in found:
        if name not in EVENTS:
            reads.fail(f"assumptions.{name}", f"one of the known keys: {', '.join(EVENTS)}")
        read[name] = reads.one_of(found[name], f"assumptions.{name}", (EVENTS[name],))
    return MappingProxyType(read)

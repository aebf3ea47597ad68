"""The notation of rules: facts, tests, criteria and trees as a content file writes them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Decimal
from fractions import Fraction
from math import lcm
from typing import Any

from umbridge.criteria.made_facts import difference
from umbridge.criteria.strict_file import ID, StrictFile
from umbridge.criteria.tree import (
    ALWAYS,
    READS,
    Criterion,
    FactSpec,
    Group,
    IfMeasured,
    Joint,
    Leaf,
    Node,
    Not,
    ScoreTest,
)
from umbridge.model import FactValue

MARKS = ("published", "recalled", "mapping")
_LEAF = re.compile(
    r"(?:(?P<reads>latest|lowest|highest|any|since|[234] times) )?"
    r"(?P<name>[a-z][a-z0-9_]*) (?P<op><=|>=|<|>|is not|is) (?P<value>[A-Za-z0-9_.+-]+)(?: (?P<unit>\S+))?"
)
_BESIDE = re.compile(  # one fact against another, with so much more or less
    r"(?:(?P<reads>latest|lowest|highest) )?(?P<name>[a-z][a-z0-9_]*) (?P<op><=|>=|<|>) "
    r"(?P<other>[a-z][a-z0-9_]*)(?: (?P<sign>[+-]) (?P<by>\d{1,7}(?:\.\d{1,6})?))?(?: (?P<unit>\S+))?"
)
_KINDS = ("number", "boolean", "code", "datetime")
_WORST = {"high": "highest", "low": "lowest", "both": "", "latest": "latest"}
_NUMBER = r"-?\d{1,7}(\.\d{1,6})?"
RULE = ("when", "one", "all", "at_least", "of", "not")


class Notation(StrictFile):
    """Reads the parts rules are made of. ``criteria``, ``facts`` and ``wanted`` fill as rules are read."""

    def __init__(self, file: StrictFile) -> None:
        self.name, self.text, self.data = file.name, file.text, file.data
        self.facts: dict[str, FactSpec] = {}
        self.computed: dict[str, tuple[tuple[str, str], tuple[Fraction, Fraction] | None, str]] = {}
        self.criteria: dict[str, Criterion] = {}
        self.citations: dict[str, str] = {}
        self.cited: set[str] = set()
        self.wanted: list[str] = []  # scores that a rule tests
        self.optional: dict[str, str] = {}  # of the score being read: fact -> the fact that stands in for it
        self.open: list[str] = []  # criteria being read, to find circles

    def fact(self, name: str, table: Mapping[str, Any]) -> FactSpec:
        where = f"fact.{name}"
        self.only(
            table,
            ("kind", "unit", "worst", "codes", "whole", "from", "to", "loinc", "principal", "unless"),
            where,
        )
        kind = self.take(table, "kind", str, where)
        if "principal" in table:
            if kind != "boolean" or len(table) > 2:
                raise self.fail(where, 'kind = "boolean" beside principal, and nothing else')
            return FactSpec(name, kind, principal=self.texts(table, "principal", where))
        worst = self.take(table, "worst", str, where, "latest")
        if kind not in _KINDS:
            raise self.fail(f"{where}.kind", " or ".join(_KINDS))
        if worst not in ("latest", "high", "low", "both"):
            raise self.fail(f"{where}.worst", "latest, high, low or both")
        codes = self.texts(table, "codes", where) if kind == "code" else ()
        bounds: list[Decimal | None] = []
        for key in ("from", "to"):
            value = table.get(key)
            if value is not None and type(value) not in (int, Decimal):
                raise self.fail(f"{where}.{key}", "a number")
            bounds.append(None if value is None else Decimal(value))
        if "loinc" in table:
            self.texts(table, "loinc", where)  # for people and for the linter: a site's profile maps codes
        whole = self.take(table, "whole", bool, where, False)
        unit = self.take(table, "unit", str, where) if "unit" in table else ""
        if kind == "datetime" and unit:
            raise self.fail(f"{where}.unit", "no unit: a time is read in hours since then")
        unless = self.take(table, "unless", str, where) if "unless" in table else ""
        if unless and (unless == name or unless not in self.tables("fact")):
            raise self.fail(f"{where}.unless", "another fact of this file")
        return FactSpec(name, kind, unit, worst, codes, whole, bounds[0], bounds[1], unless=unless)

    def pair(self, name: str, table: Mapping[str, Any]) -> None:
        """Two facts read as one number: ``ratio = [a, b]`` or ``sum = { a = "2", b = "1/18" }``."""
        where = f"computed.{name}"
        self.only(table, ("ratio", "sum", "unit"), where)
        if ("ratio" in table) == ("sum" in table):
            raise self.fail(where, "either ratio or sum")
        factors: tuple[Fraction, Fraction] | None = None
        if "ratio" in table:
            names = self.texts(table, "ratio", where)
        else:
            terms = self.take(table, "sum", dict, where)
            names = tuple(terms)
            numbers = [self.factor(terms, fact, f"{where}.sum") for fact in names]
            factors = (numbers[0], numbers[1]) if len(numbers) == 2 else None
        if len(names) != 2 or names[0] == names[1]:
            raise self.fail(where, "two facts")
        for fact in names:
            spec = self.facts.get(fact)
            if spec is None or spec.kind != "number" or spec.whole or not _WORST[spec.worst]:
                raise self.fail(where, f"facts that are measured numbers, read in one way; {fact} is not")
            if any(fact in pair and pair != names for pair, _, _ in self.computed.values()):
                raise self.fail(where, f"{fact} beside one other fact only, in the same order")
        unit = self.take(table, "unit", str, where) if "unit" in table else ""
        self.computed[name] = ((names[0], names[1]), factors, unit)

    def factor(self, terms: Mapping[str, Any], fact: str, where: str) -> Fraction:
        text = self.take(terms, fact, str, where)
        if not re.fullmatch(r"-?[1-9]\d{0,5}(/[1-9]\d{0,5})?|-?0\.\d{0,5}[1-9]", text):
            raise self.fail(f"{where}.{fact}", "a factor such as '2', '-1', '0.5' or '1/18'")
        return Fraction(text)

    def cite(self, table: Mapping[str, Any], where: str) -> tuple[str, ...]:
        """Citations are not optional: a threshold nobody can look up does not ship."""
        found = self.texts(table, "cite", where)
        for key in found:
            if key not in self.citations:
                raise self.fail(f"{where}.cite", "the name of an entry of [citation]")
        self.cited |= set(found)
        return found

    def criterion(self, name: str) -> Criterion:
        if name in self.criteria:
            return self.criteria[name]
        where = f"criterion.{name}"
        if name in self.open:
            raise self.fail(where, "no circle: it is built on itself")
        self.open.append(name)
        table = self.tables("criterion")[name]
        self.only(table, ("title", "cite", "mark", "note", "optional", *RULE), where)
        mark = self.take(table, "mark", str, where, "published")
        if mark not in MARKS:
            raise self.fail(f"{where}.mark", " or ".join(MARKS))
        around, self.optional = self.optional, self.left_out(table, where)
        rule = self.rule(table, where)
        self.optional = around
        self.criteria[name] = Criterion(
            name,
            self.take(table, "title", str, where),
            self.cite(table, where),
            mark,
            rule,
            self.take(table, "note", str, where) if "note" in table else "",
        )
        self.open.pop()
        return self.criteria[name]

    def left_out(self, table: Mapping[str, Any], where: str) -> dict[str, str]:
        """``optional``: facts that may be left out, each with the fact that stands in for it, or always."""
        found: dict[str, str] = self.take(table, "optional", dict, where, {})
        for fact, beside in found.items():
            stands_in = isinstance(beside, str) and (beside == ALWAYS or beside in self.facts)
            if fact not in self.facts or not stands_in:
                raise self.fail(
                    f"{where}.optional.{fact}", f'a fact and the fact that stands in for it, or "{ALWAYS}"'
                )
        return found

    def rule(self, table: Mapping[str, Any], where: str) -> Node:
        """``when`` is a condition of the node's own; with children, both must hold."""
        parts: list[Node] = []
        if "when" in table:
            parts.append(self.node(table["when"], f"{where}.when"))
        shapes = [key for key in ("one", "all", "of", "not") if key in table]
        if len(shapes) > 1 or not (parts or shapes) or ("of" in table) != ("at_least" in table):
            raise self.fail(where, "when, and at most one of: one, all, at_least with of, not")
        if "not" in table:
            parts.append(Not(self.node(table["not"], f"{where}.not")))
        elif shapes:
            key = shapes[0]
            listed = self.take(table, key, list, where)
            if not listed:
                raise self.fail(f"{where}.{key}", "a list, not empty")
            children = tuple(self.node(child, f"{where}.{key}[{i}]") for i, child in enumerate(listed, 1))
            n = {"one": 1, "all": len(children)}.get(key) or self.take(table, "at_least", int, where)
            if not 1 <= n <= len(children):
                raise self.fail(f"{where}.at_least", f"1 to {len(children)}")
            parts.append(Group(n, children))
        return parts[0] if len(parts) == 1 else Group(len(parts), tuple(parts))

    def node(self, value: Any, where: str) -> Node:
        if isinstance(value, dict):
            self.only(value, RULE, where)
            return self.rule(value, where)
        if not isinstance(value, str):
            raise self.fail(where, "a test, the name of a criterion, or a table with one, all, of or not")
        if ID.fullmatch(value):
            if value not in self.tables("criterion"):
                raise self.fail(where, "the name of a criterion")
            return self.criterion(value)
        found = _BESIDE.fullmatch(value)
        if found is not None and found["other"] in self.facts:
            return self.beside(found, where)
        found = _LEAF.fullmatch(value)
        if found is None:
            raise self.fail(where, "a test such as 'sbp < 90 mm[Hg]', 'melena is Y' or 'curb65 >= 3'")
        if found["name"] in self.tables("score"):
            if found["reads"] or found["unit"] or not re.fullmatch(r"-?\d{1,4}", found["value"]):
                raise self.fail(where, "a score and a whole number, such as 'curb65 >= 3'")
            self.wanted.append(found["name"])
            return ScoreTest(found["name"], found["op"], int(found["value"]))
        if found["name"] in self.computed:
            return self.joint(found, where)
        leaf = self.leaf(found, where)
        beside = self.optional.get(leaf.fact)
        return leaf if beside is None else IfMeasured(leaf, beside)

    def beside(self, found: re.Match[str], where: str) -> Leaf | IfMeasured:
        """A fact against another: a test of the first less the second."""
        specs = [self.facts.get(found[key]) for key in ("name", "other")]
        first, second = specs
        if first is None or second is None or first is second:
            raise self.fail(where, "two facts of this file")
        if any(spec.kind != "number" or spec.minus for spec in (first, second)) or first.unit != second.unit:
            raise self.fail(where, "two numbers of one unit")
        if (found["unit"] or "") != first.unit:
            raise self.fail(where, f"the unit {first.unit}" if first.unit else "no unit")
        reads = found["reads"] or _WORST[first.worst]
        if reads not in READS:
            raise self.fail(where, "latest, lowest or highest before the fact: its worst may be either")
        made = difference(first, second)
        self.facts.setdefault(made.id, made)
        by = Decimal(found["by"] or 0)
        leaf = Leaf(made.id, found["op"], -by if found["sign"] == "-" else by, reads, "number", first.unit)
        stands_in = self.optional.get(second.id)
        return leaf if stands_in is None else IfMeasured(leaf, stands_in)

    def leaf(self, found: re.Match[str], where: str) -> Leaf:
        spec = self.facts.get(found["name"])
        if spec is None:
            raise self.fail(where, f"a fact or score of this file; {found['name']} is neither")
        unit = "h" if spec.kind == "datetime" else spec.unit
        if (found["unit"] or "") != unit:
            raise self.fail(where, f"the unit {unit}" if unit else "no unit")
        reads = found["reads"] or ("since" if spec.kind == "datetime" else _WORST[spec.worst])
        if reads not in READS:
            raise self.fail(where, "latest, lowest, highest or any before the fact: its worst may be either")
        if (reads == "since") != (spec.kind == "datetime"):
            raise self.fail(where, "'since' before a time and before nothing else")
        if any(spec.id in pair and reads != _WORST[spec.worst] for pair, _, _ in self.computed.values()):
            raise self.fail(where, f"{_WORST[spec.worst]}, as where {spec.id} is read beside another fact")
        value: FactValue
        if spec.kind in ("number", "datetime"):
            value = self.number(found["value"], where)
        else:
            if found["op"] not in ("is", "is not"):
                raise self.fail(where, "'is' or 'is not'")
            allowed = ("Y", "N") if spec.kind == "boolean" else spec.codes
            if found["value"] not in allowed:
                raise self.fail(where, " or ".join(allowed))
            value = found["value"] == "Y" if spec.kind == "boolean" else found["value"]
        return Leaf(spec.id, found["op"], value, reads, spec.kind, unit)

    def number(self, text: str, where: str) -> Decimal:
        if not re.fullmatch(_NUMBER, text):
            raise self.fail(where, "a number")
        return Decimal(text)

    def joint(self, found: re.Match[str], where: str) -> Joint:
        (first, second), factors, unit = self.computed[found["name"]]
        if found["reads"] or found["op"] in ("is", "is not"):
            raise self.fail(where, "a computed fact, < <= > or >=, and a number")
        if (found["unit"] or "") != unit:
            raise self.fail(where, f"the unit {unit}" if unit else "no unit")
        value = self.number(found["value"], where)
        limit = Decimal(0)
        if factors is None:  # a / b >= t, with b above zero, is a - t * b >= 0
            line = (Decimal(1), -value)
        else:
            scale = lcm(factors[0].denominator, factors[1].denominator)
            line = (Decimal(int(factors[0] * scale)), Decimal(int(factors[1] * scale)))
            limit = value * scale
        if factors is None and value <= 0:
            raise self.fail(where, "a quotient above nought")
        reads = (_WORST[self.facts[first].worst], _WORST[self.facts[second].worst])
        return Joint(found["name"], (first, second), reads, line, found["op"], limit, value, unit)

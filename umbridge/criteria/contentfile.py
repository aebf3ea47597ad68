"""One TOML content file, read strictly: facts, citations, scores, criteria and the rules built on them."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Any

from umbridge.criteria.examination import RuleSet
from umbridge.criteria.tree import (
    READS,
    Criterion,
    FactSpec,
    Group,
    IfMeasured,
    Item,
    Leaf,
    Node,
    Not,
    Score,
    ScoreTest,
    one,
)
from umbridge.errors import ContentError
from umbridge.model import FactValue

FORMAT = 1
MARKS = ("published", "recalled", "mapping")
_ID = re.compile(r"[a-z][a-z0-9_]{0,47}")
_LEAF = re.compile(
    r"(?:(?P<reads>latest|lowest|highest|any) )?(?P<name>[a-z][a-z0-9_]*) (?P<op><=|>=|<|>|is not|is)"
    r" (?P<value>[A-Za-z0-9_.+-]+)(?: (?P<unit>\S+))?"
)
_KINDS = ("number", "boolean", "code")
_TOP = frozenset(
    {"format", "id", "title", "edition", "effective_from", "effective_to", "icd10", "age_from", "citation"}
    | {"fact", "score", "criterion", "rule", "avoidable"}
)
_RULE = ("when", "one", "all", "at_least", "of", "not")

Derive = Callable[[Mapping[str, Node]], Mapping[str, Node]]


@dataclass(frozen=True, slots=True)
class Subset:
    """One condition's content. ``rules.rules`` holds its rules by "section.name"."""

    id: str
    title: str
    edition: str
    effective_from: date
    effective_to: date | None
    icd10: tuple[str, ...]  # code prefixes, dots as in the file
    age_from: int
    citations: Mapping[str, str]
    rules: RuleSet
    avoidable: Mapping[str, tuple[str, str]]  # barrier code -> (avoidable-day code, attribution)

    def in_force(self, day: date) -> bool:
        """Whether this edition may judge care on this local date."""
        return self.effective_from <= day and (self.effective_to is None or day <= self.effective_to)


class ContentFile:
    """One file on its way to a subset. Methods raise ContentError for what the format does not allow."""

    def __init__(
        self,
        name: str,
        body: bytes,
        required: Sequence[str],
        derive: Derive | None,
    ) -> None:
        self.name, self.required, self.derive = name, required, derive
        try:
            self.data: dict[str, Any] = tomllib.loads(body.decode("utf-8"), parse_float=Decimal)
        except UnicodeDecodeError as exc:
            raise ContentError(f"{name}: byte {exc.start}: expected UTF-8") from exc
        except tomllib.TOMLDecodeError as exc:
            raise ContentError(f"{name}: not TOML: {exc}") from exc
        self.facts: dict[str, FactSpec] = {}
        self.scores: dict[str, Score] = {}
        self.criteria: dict[str, Criterion] = {}
        self.cited: set[str] = set()
        self.optional: dict[str, str] = {}  # of the score being read: fact -> the fact that stands in for it
        self.open: list[str] = []  # criteria being read, to find circles

    def fail(self, key: str, expected: str) -> ContentError:
        return ContentError(f"{self.name}: {key}: expected {expected}")

    def take(self, table: Mapping[str, Any], key: str, kind: type, where: str, default: Any = None) -> Any:
        if not isinstance(table, dict):
            raise self.fail(where, "a table")
        full = f"{where}.{key}" if where else key
        words = {
            str: "text",
            int: "a whole number",
            list: "a list",
            dict: "a table",
            date: "a date",
            bool: "true or false",
        }
        if key not in table:
            if default is None:
                raise self.fail(full, f"{words[kind]} (it is missing)")
            return default
        value = table[key]
        if type(value) is not kind or value == "":
            raise self.fail(full, words[kind])
        return value

    def only(self, table: Mapping[str, Any], allowed: Sequence[str] | frozenset[str], where: str) -> None:
        for key in table:
            if key not in allowed:
                raise self.fail(f"{where}.{key}" if where else key, f"one of {', '.join(sorted(allowed))}")

    def tables(self, key: str) -> dict[str, dict[str, Any]]:
        found: dict[str, Any] = self.take(self.data, key, dict, "", {})
        for name, table in found.items():
            if not _ID.fullmatch(name):
                raise self.fail(f"{key}.{name}", "a name of lower-case letters, digits and _")
            if not isinstance(table, dict):
                raise self.fail(f"{key}.{name}", "a table")
        return found

    def subset(self) -> Subset:
        data = self.data
        self.only(data, _TOP, "")
        if self.take(data, "format", int, "") != FORMAT:
            raise self.fail("format", str(FORMAT))
        self.citations: dict[str, str] = self.take(data, "citation", dict, "")
        for key in self.citations:
            self.take(self.citations, key, str, "citation")
        self.facts = {name: self.fact(name, table) for name, table in self.tables("fact").items()}
        for name in self.tables("score"):
            if name in self.facts:
                raise self.fail(f"score.{name}", "a name that no fact has")
        for name in self.tables("criterion"):
            self.criterion(name)
        for name in self.tables("score"):
            self.score(name)
            self.no_score_within(name)
        rules = self.rules()
        if self.derive is not None:
            rules |= self.derive(rules)
        avoidable = self.avoidable()
        if unused := sorted(set(self.citations) - self.cited):
            raise self.fail(f"citation.{unused[0]}", "to be cited somewhere")
        compiled = RuleSet(self.facts, self.scores, self.criteria, rules)
        if unread := sorted(set(self.facts) - set(compiled.needed())):
            raise self.fail(f"fact.{unread[0]}", "to be read by some rule")
        return Subset(
            id=self.named("id"),
            title=self.take(data, "title", str, ""),
            edition=self.take(data, "edition", str, ""),
            effective_from=self.take(data, "effective_from", date, ""),
            effective_to=self.take(data, "effective_to", date, "") if "effective_to" in data else None,
            icd10=self.texts(data, "icd10", ""),
            age_from=self.take(data, "age_from", int, ""),
            citations=self.citations,
            rules=compiled,
            avoidable=avoidable,
        )

    def named(self, key: str) -> str:
        value: str = self.take(self.data, key, str, "")
        if not _ID.fullmatch(value):
            raise self.fail(key, "a name of lower-case letters, digits and _")
        return value

    def texts(self, table: Mapping[str, Any], key: str, where: str) -> tuple[str, ...]:
        found = self.take(table, key, list, where)
        if not found or not all(isinstance(text, str) and text for text in found):
            raise self.fail(f"{where}.{key}" if where else key, "a list of texts, not empty")
        return tuple(found)

    def fact(self, name: str, table: Mapping[str, Any]) -> FactSpec:
        where = f"fact.{name}"
        self.only(table, ("kind", "unit", "worst", "codes", "whole", "from", "to"), where)
        kind = self.take(table, "kind", str, where)
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
        whole = self.take(table, "whole", bool, where, False)
        unit = self.take(table, "unit", str, where) if "unit" in table else ""
        return FactSpec(name, kind, unit, worst, codes, whole, bounds[0], bounds[1])

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
        self.only(table, ("title", "cite", "mark", "note", *_RULE), where)
        mark = self.take(table, "mark", str, where, "published")
        if mark not in MARKS:
            raise self.fail(f"{where}.mark", " or ".join(MARKS))
        self.criteria[name] = Criterion(
            name,
            self.take(table, "title", str, where),
            self.cite(table, where),
            mark,
            self.rule(table, where),
            self.take(table, "note", str, where) if "note" in table else "",
        )
        self.open.pop()
        return self.criteria[name]

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
            self.only(value, _RULE, where)
            return self.rule(value, where)
        if not isinstance(value, str):
            raise self.fail(where, "a test, the name of a criterion, or a table with one, all, of or not")
        if _ID.fullmatch(value):
            if value not in self.tables("criterion"):
                raise self.fail(where, "the name of a criterion")
            return self.criterion(value)
        found = _LEAF.fullmatch(value)
        if found is None:
            raise self.fail(where, "a test such as 'sbp < 90 mm[Hg]', 'melena is Y' or 'curb65 >= 3'")
        if found["name"] in self.tables("score"):
            if found["reads"] or found["unit"] or not re.fullmatch(r"-?\d{1,4}", found["value"]):
                raise self.fail(where, "a score and a whole number, such as 'curb65 >= 3'")
            return ScoreTest(found["name"], found["op"], int(found["value"]))
        leaf = self.leaf(found, where)
        beside = self.optional.get(leaf.fact)
        return leaf if beside is None else IfMeasured(leaf, beside)

    def leaf(self, found: re.Match[str], where: str) -> Leaf:
        spec = self.facts.get(found["name"])
        if spec is None:
            raise self.fail(where, f"a fact or score of this file; {found['name']} is neither")
        if (found["unit"] or "") != spec.unit:
            raise self.fail(where, f"the unit {spec.unit}" if spec.unit else "no unit")
        reads = (
            found["reads"] or {"high": "highest", "low": "lowest", "both": "", "latest": "latest"}[spec.worst]
        )
        if reads not in READS:
            raise self.fail(where, "latest, lowest, highest or any before the fact: its worst may be either")
        value: FactValue
        if spec.kind == "number":
            if not re.fullmatch(r"-?\d{1,7}(\.\d{1,6})?", found["value"]):
                raise self.fail(where, "a number")
            value = Decimal(found["value"])
        else:
            if found["op"] not in ("is", "is not"):
                raise self.fail(where, "'is' or 'is not'")
            allowed = ("Y", "N") if spec.kind == "boolean" else spec.codes
            if found["value"] not in allowed:
                raise self.fail(where, " or ".join(allowed))
            value = found["value"] == "Y" if spec.kind == "boolean" else found["value"]
        return Leaf(spec.id, found["op"], value, reads, spec.kind, spec.unit)

    def score(self, name: str) -> None:
        table, where = self.tables("score")[name], f"score.{name}"
        self.only(table, ("title", "cite", "item", "class", "first_step", "first_class", "optional"), where)
        self.optional = self.take(table, "optional", dict, where, {})
        for fact, beside in self.optional.items():
            if fact not in self.facts or not isinstance(beside, str) or beside not in self.facts:
                raise self.fail(f"{where}.optional.{fact}", "a fact and the fact that stands in for it")
        items = []
        for i, item in enumerate(self.take(table, "item", list, where), 1):
            items.append(self.item(item, f"{where}.item[{i}]"))
        self.optional = {}
        classes: list[tuple[str, int | None]] = []
        for i, entry in enumerate(self.take(table, "class", list, where, []), 1):
            at = f"{where}.class[{i}]"
            if not isinstance(entry, dict):
                raise self.fail(at, "a table with name and to")
            top = self.take(entry, "to", int, at) if "to" in entry else None
            if classes and (classes[-1][1] is None or (top is not None and top <= classes[-1][1])):
                raise self.fail(at, "classes from the lowest to the highest, only the last without 'to'")
            classes.append((self.take(entry, "name", str, at), top))
        step = self.node(table["first_step"], f"{where}.first_step") if "first_step" in table else None
        self.scores[name] = Score(
            name,
            self.take(table, "title", str, where),
            self.cite(table, where),
            tuple(items),
            tuple(classes),
            step,
            self.take(table, "first_class", str, where) if step is not None else "",
        )

    def no_score_within(self, name: str) -> None:
        """Scores count facts; one built on another could go round in a circle."""
        score = self.scores[name]
        todo = [condition for item in score.items for condition, _ in item.bands]
        todo += [] if score.first_step is None else [score.first_step]
        while todo:
            match todo.pop():
                case ScoreTest():
                    raise self.fail(f"score.{name}", "tests of facts only, not of scores")
                case Group() as node:
                    todo += node.children
                case Not() as node:
                    todo.append(node.child)
                case Criterion() as node:
                    todo.append(node.rule)
                case _:
                    pass

    def item(self, table: Any, where: str) -> Item:
        if not isinstance(table, dict):
            raise self.fail(where, "a table")
        self.only(table, ("id", "when", "one", "all", "points", "band", "counts"), where)
        name = self.take(table, "id", str, where)
        if "counts" in table:
            spec = self.facts.get(self.take(table, "counts", str, where))
            if spec is None or not spec.whole or spec.low is None or spec.high is None:
                raise self.fail(f"{where}.counts", "a fact that is whole and has from and to")
            return Item(name, counts=spec.id)
        bands = self.take(table, "band", list, where) if "band" in table else [table]
        read: list[tuple[Node, int]] = []
        for i, band in enumerate(bands, 1):
            at = where if band is table else f"{where}.band[{i}]"
            points = self.take(band, "points", int, at)
            if "when" in band:
                read.append((self.node(band["when"], f"{at}.when"), points))
                continue
            key = "one" if "one" in band else "all"
            parts = [self.node(p, f"{at}.{key}") for p in self.take(band, key, list, at)]
            read.append((one(*parts) if key == "one" else Group(len(parts), tuple(parts)), points))
        return Item(name, tuple(read))

    def rules(self) -> dict[str, Node]:
        found: dict[str, Node] = {}
        for section, table in self.tables("rule").items():
            for name, rule in table.items():
                where = f"rule.{section}.{name}"
                if not isinstance(rule, dict):
                    raise self.fail(where, "a table")
                self.only(rule, _RULE, where)
                found[f"{section}.{name}"] = node = self.rule(rule, where)
                self.cited_only(node, where)
        for key in self.required:
            if key not in found:
                raise self.fail(f"rule.{key}", "a table (it is missing)")
        return found

    def cited_only(self, node: Node, where: str) -> None:
        """Rules combine criteria; a bare test has no citation, so it belongs in a criterion."""
        children: tuple[Node, ...] = node.children if isinstance(node, Group) else ()
        children = (node.child,) if isinstance(node, Not) else children
        if not children and not isinstance(node, Criterion):
            raise self.fail(where, "names of criteria only, since each test needs a citation")
        for child in children:
            self.cited_only(child, where)

    def avoidable(self) -> dict[str, tuple[str, str]]:
        found = {}
        for code, table in self.take(self.data, "avoidable", dict, "", {}).items():
            where = f"avoidable.{code}"
            if not isinstance(table, dict):
                raise self.fail(where, "a table")
            self.only(table, ("code", "attribution", "cite"), where)
            self.cite(table, where)
            found[code] = (self.take(table, "code", str, where), self.take(table, "attribution", str, where))
        return found

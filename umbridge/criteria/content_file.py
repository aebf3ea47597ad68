"""One content file on its way to a subset: parts, scores, criteria and the rules built on them."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from datetime import date
from typing import Any

from umbridge.criteria.notation import RULE, Notation
from umbridge.criteria.ruleset import RuleSet
from umbridge.criteria.strict_file import StrictFile
from umbridge.criteria.subset import Approval, Elsewhere, Subset
from umbridge.criteria.tree import Criterion, Group, Item, Node, Not, Score, ScoreTest, one
from umbridge.values.signed import DRAFT, STATES

FORMAT = 1
_SHARED = ("citation", "fact", "computed", "score", "criterion", "avoidable")  # what a part may bring
_TOP = frozenset(
    {"format", "id", "title", "edition", "effective_from", "effective_to", "icd10", "age_from", "include"}
    | {
        "fallback",
        "icd10_not",
        "icd10_7th",
        "elsewhere",
        "tags",
        "approval",
        "rule",
        "shown_by",
        "shown",
        *_SHARED,
    }
)
_SHOWN_BY = ("imaging", "bedside")

Derive = Callable[[Mapping[str, Node]], Mapping[str, Node]]


class Part(StrictFile):
    """Tables that several files share: ``part = "name"`` in place of an id. It judges nothing by itself."""

    def __init__(self, file: StrictFile) -> None:
        self.name, self.text, self.data = file.name, file.text, file.data
        self.only(self.data, ("format", "part", "title", *_SHARED), "")
        if self.take(self.data, "format", int, "") != FORMAT:
            raise self.fail("format", str(FORMAT))
        self.id = self.named("part")
        self.take(self.data, "title", str, "")
        self.shared = {
            key: self.take(self.data, key, dict, "", {})
            if key in ("citation", "avoidable")
            else self.tables(key)
            for key in _SHARED
        }
        self.unused = {f"{key}.{name}" for key, found in self.shared.items() for name in found}

    @staticmethod
    def is_one(file: StrictFile) -> bool:
        return "part" in file.data


class ContentFile(Notation):
    """Methods raise ContentError for what the format does not allow. What ``file`` holds is changed."""

    def __init__(
        self,
        file: StrictFile,
        required: Sequence[str],
        derive: Derive | None,
        parts: Mapping[str, Part] | None = None,
    ) -> None:
        super().__init__(file)
        self.required, self.derive = required, derive
        self.scores: dict[str, Score] = {}
        self.reading: list[str] = []  # scores being read, to find circles
        self.origin: dict[str, Part] = {}  # "criterion.shock" -> the part it comes from
        self.merge(parts or {})

    def merge(self, parts: Mapping[str, Part]) -> None:
        data = self.data
        include = self.texts(data, "include", "") if "include" in data else ()
        for i, name in enumerate(include, 1):
            if name not in parts:
                raise self.fail(f"include[{i}]", "the name of a part in this folder")
            for key, found in parts[name].shared.items():
                own = self.take(data, key, dict, "", {})
                for entry, table in found.items():
                    if entry in own:
                        raise self.fail(f"{key}.{entry}", f"a name that the part {name} does not use")
                    self.origin[f"{key}.{entry}"] = parts[name]
                    own[entry] = table
                data[key] = own

    def fail(self, key: str, expected: str) -> Any:
        part = self.origin.get(".".join(re.split(r"[.\[]", key)[:2]))
        return super().fail(key, expected) if part is None else part.fail(key, expected)

    def own(self, key: str) -> list[str]:
        """The entries of a table that no part brought: these must all be used."""
        return [name for name in self.tables(key) if f"{key}.{name}" not in self.origin]

    def subset(self) -> Subset:
        data = self.data
        self.only(data, _TOP, "")
        if self.take(data, "format", int, "") != FORMAT:
            raise self.fail("format", str(FORMAT))
        self.citations = self.take(data, "citation", dict, "")
        for key in self.citations:
            self.take(self.citations, key, str, "citation")
        self.facts = {name: self.fact(name, table) for name, table in self.tables("fact").items()}
        for name, table in self.tables("computed").items():
            if name in self.facts:
                raise self.fail(f"computed.{name}", "a name that no fact has")
            self.pair(name, table)
        for name in self.tables("score"):
            if name in self.facts or name in self.computed:
                raise self.fail(f"score.{name}", "a name that no fact has")
        for name in self.own("criterion"):
            self.criterion(name)
        for name in self.own("score"):
            self.score(name)
        rules = self.rules()
        while self.wanted:  # scores of a part, and what they are built on in turn
            self.score(self.wanted.pop())
        if self.derive is not None:
            rules |= self.derive(rules)
        avoidable = self.avoidable()
        return self.finished(rules, avoidable)

    def finished(self, rules: dict[str, Node], avoidable: dict[str, tuple[str, str]]) -> Subset:
        data = self.data
        compiled = RuleSet(self.facts, self.scores, self.criteria, rules)
        for name in compiled.joined & set(compiled.counted):
            raise self.fail(f"fact.{name}", "to be counted or read beside another fact, not both")
        used = {f"citation.{name}" for name in self.cited}
        read = {*compiled.needed(), *(leaf.fact for leaf in compiled.leaves)}
        elsewhere = tuple(
            self.elsewhere(table, f"elsewhere[{i}]")
            for i, table in enumerate(self.take(data, "elsewhere", list, "", []), 1)
        )
        used |= {f"fact.{name}" for name in read | {each.fact for each in elsewhere}}
        used |= {f"avoidable.{name}" for name in avoidable}
        used |= {f"computed.{joint.name}" for joint in compiled.joints}
        used |= {f"score.{name}" for name in self.scores} | {f"criterion.{name}" for name in self.criteria}
        for key in _SHARED:
            for name in sorted(data.get(key, {})):
                entry = f"{key}.{name}"
                part = self.origin.get(entry)
                if part is not None and entry in used:
                    part.unused.discard(entry)
                if part is None and entry not in used:
                    raise self.fail(
                        entry, "to be cited somewhere" if key == "citation" else "to be read by some rule"
                    )
        for name in set(self.facts) - read:
            del compiled.facts[name]
        is_fallback = self.take(data, "fallback", bool, "", False)
        if is_fallback == ("icd10" in data):
            raise self.fail("icd10", "a list, or fallback = true, and not both")
        found = Subset(
            id=self.named("id"),
            title=self.take(data, "title", str, ""),
            edition=self.take(data, "edition", str, ""),
            effective_from=self.take(data, "effective_from", date, ""),
            effective_to=self.take(data, "effective_to", date, "") if "effective_to" in data else None,
            # [] is for content that no diagnosis chooses: the plugin does (a payment rule)
            icd10=() if is_fallback or data.get("icd10") == [] else self.texts(data, "icd10", ""),
            age_from=self.take(data, "age_from", int, ""),
            citations={key: text for key, text in self.citations.items() if key in self.cited},
            rules=compiled,
            avoidable=avoidable,
            is_fallback=is_fallback,
            icd10_not=self.texts(data, "icd10_not", "") if "icd10_not" in data else (),
            tags=self.texts(data, "tags", "") if "tags" in data else (),
            approval=self.approval(),
            icd10_7th=self.texts(data, "icd10_7th", "") if "icd10_7th" in data else (),
            elsewhere=elsewhere,
            shown_by=self.shown_by(),
            shown=self.texts(data, "shown", "") if "shown" in data else (),
        )
        if not set(found.shown) <= found.rules.criteria.keys() or (found.shown and not found.shown_by):
            raise self.fail("shown", "criteria of this file, beside shown_by")
        if found.effective_to is not None and found.effective_to < found.effective_from:
            raise self.fail("effective_to", "a date on or after effective_from")
        if found.icd10_not and not is_fallback:
            raise self.fail("icd10_not", "to stand beside fallback = true only")
        return found

    def elsewhere(self, table: Any, where: str) -> Elsewhere:
        if not isinstance(table, dict):
            raise self.fail(where, "a table")
        self.only(table, ("icd10", "beside", "fact", "to"), where)
        fact = self.take(table, "fact", str, where) if "fact" in table else ""
        if fact and (fact not in self.facts or self.facts[fact].kind != "boolean"):
            raise self.fail(f"{where}.fact", "a boolean fact of this file")
        codes, beside = (
            tuple(code.replace(".", "").upper() for code in self.texts(table, key, where))
            for key in ("icd10", "beside")
        )
        return Elsewhere(codes, beside, fact, self.take(table, "to", str, where) if "to" in table else "")

    def shown_by(self) -> str:
        shown = self.take(self.data, "shown_by", str, "") if "shown_by" in self.data else ""
        if "shown_by" in self.data and shown not in _SHOWN_BY:
            raise self.fail("shown_by", " or ".join(_SHOWN_BY))
        return shown

    def approval(self) -> Approval:
        """What the file says of its own clinical approval; a file that says nothing is a draft."""
        table = self.take(self.data, "approval", dict, "", {})
        self.only(table, ("state", "by", "on", "note"), "approval")
        state = self.take(table, "state", str, "approval", DRAFT)
        if state not in STATES:
            raise self.fail("approval.state", ", ".join(STATES))
        note = self.take(table, "note", str, "approval") if "note" in table else ""
        if state == DRAFT:
            if "by" in table or "on" in table:
                raise self.fail("approval.state", "reviewed or approved, since it says by whom or when")
            return Approval(state, note=note)
        return Approval(
            state, self.texts(table, "by", "approval"), self.take(table, "on", date, "approval"), note
        )

    def score(self, name: str) -> None:
        table, where = self.tables("score")[name], f"score.{name}"
        if name in self.scores:
            return
        if name in self.reading:
            raise self.fail(where, "no circle: it is built on itself")
        self.reading.append(name)
        self.only(
            table, ("title", "cite", "item", "class", "first_step", "first_class", "optional", "of"), where
        )
        items = list(self.base(table, where))
        self.optional = self.left_out(table, where)
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
            table.get("of", ""),
        )
        self.no_score_within(name)
        self.reading.pop()

    def base(self, table: Mapping[str, Any], where: str) -> tuple[Item, ...]:
        """``of``: the items of another score come first, as in a rise above a baseline."""
        if "of" not in table:
            return ()
        base = self.take(table, "of", str, where)
        if base not in self.tables("score"):
            raise self.fail(f"{where}.of", "the name of a score")
        self.score(base)
        if self.scores[base].first_step is not None:
            raise self.fail(f"{where}.of", "a score without a first step")
        return self.scores[base].items

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
        self.only(table, ("id", "when", "one", "all", "points", "band", "counts", "less"), where)
        name = self.take(table, "id", str, where)
        if "counts" in table:
            spec = self.facts.get(self.take(table, "counts", str, where))
            if spec is None or not spec.whole or spec.low is None or spec.high is None:
                raise self.fail(f"{where}.counts", "a fact that is whole and has from and to")
            return Item(name, counts=spec.id, sign=-1 if self.take(table, "less", bool, where, False) else 1)
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
                self.only(rule, RULE, where)
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

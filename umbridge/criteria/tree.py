"""Three-valued rules over dated facts: TRUE, FALSE and UNKNOWN, with nothing imputed.

A rule is a tree of small frozen nodes; ``examination`` asks it about one patient. A truth is ``True``,
``False`` or ``None`` (unknown), combined as Kleene does; a score is an interval while an item is unknown.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Context, Decimal
from typing import Any, TypeAlias

from umbridge.model import FactValue, Reading, Sample
from umbridge.values.interval import Interval, Number, plus, times

Truth = bool | None
Node: TypeAlias = "Leaf | Joint | IfMeasured | Group | Not | ScoreTest | Criterion"

OPERATORS: Mapping[str, Callable[[Any, Any], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "is": operator.eq,
    "is not": operator.ne,
}
ALWAYS = "always"  # what ``optional`` says where no fact stands in
TIMES = {"2 times": 2, "3 times": 3, "4 times": 4}  # of the newest samples, of which a case carries four
READS = ("latest", "lowest", "highest", "any", "since", *TIMES)
_EXACT = Context(prec=60)
_TYPES: Mapping[str, type] = {"number": Decimal, "boolean": bool, "code": str, "datetime": str}


@dataclass(frozen=True, slots=True)
class FactSpec:
    """A fact as the content uses it.

    ``worst`` is the reading a first review takes: "high", "low", "latest", or "both" where every rule must
    say which. ``low`` and ``high`` bound a whole number that is counted itself (age in the PSI); outside them
    it is unknown.
    """

    id: str
    kind: str  # number boolean code datetime
    unit: str = ""  # UCUM; "" where the fact has none, and then none is checked
    worst: str = "latest"
    codes: tuple[str, ...] = ()
    whole: bool = False
    low: Decimal | None = None
    high: Decimal | None = None
    minus: tuple[str, str] | None = None  # made by the engine: the first of these less the second
    principal: tuple[str, ...] = ()  # made likewise: whether the principal diagnosis begins with one of these
    unless: str = ""  # a fact that takes its place: where that is known, this one is not looked at

    @property
    def is_made(self) -> bool:
        """Whether nobody sends it."""
        return self.minus is not None or bool(self.principal)


@dataclass(frozen=True, slots=True)
class Leaf:
    """One fact against one threshold. ``kind`` and ``unit`` are the fact's, for people to read.

    A datetime is read as the hours "since" it, counted back from the moment of the question.
    """

    fact: str
    op: str
    value: FactValue
    reads: str  # one of READS
    kind: str
    unit: str = ""


@dataclass(frozen=True, slots=True)
class Joint:
    """Two facts together against one threshold: a ratio, a sum or a change from baseline.

    Kept as the line ``factors[0] * x + factors[1] * y op limit``. Both facts are above zero.
    """

    name: str
    facts: tuple[str, str]
    reads: tuple[str, str]  # latest lowest highest
    factors: tuple[Decimal, Decimal]
    op: str
    limit: Decimal
    value: Decimal  # the threshold as the content writes it, for people to read
    unit: str = ""

    def truth(self, x: Number, y: Number) -> Truth:
        """The same of numbers of which only bounds may be known."""
        if isinstance(x, Decimal) and isinstance(y, Decimal):
            return self.holds(x, y)
        return plus(times(x, self.factors[0]), times(y, self.factors[1])).holds(self.op, self.limit)

    def holds(self, x: Decimal, y: Decimal) -> bool:
        """Exact: factors are the content's own decimals, and no division is done."""
        found = _EXACT.add(_EXACT.multiply(self.factors[0], x), _EXACT.multiply(self.factors[1], y))
        return OPERATORS[self.op](found, self.limit)


@dataclass(frozen=True, slots=True)
class IfMeasured:
    """A leaf that the published rule lets one leave out: FALSE when unknown while ``beside`` is known."""

    leaf: Leaf
    beside: str  # a fact, or ALWAYS: a finding that counts only where it was made

    @property
    def hangs_on(self) -> tuple[str, ...]:
        """The fact that stands in, where there is one."""
        return () if self.beside == ALWAYS else (self.beside,)

    def is_left_out(self, known: Container[str]) -> bool:
        """Measured, and left open by its bounds, is not left out."""
        return self.leaf.fact not in known and (self.beside == ALWAYS or self.beside in known)


@dataclass(frozen=True, slots=True)
class Group:
    """At least ``n`` of the children: 1 is ONE, ``len(children)`` is ALL."""

    n: int
    children: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Not:
    child: Node


@dataclass(frozen=True, slots=True)
class ScoreTest:
    """A score against a whole number, judged by the score's bounds while items are unknown."""

    score: str
    op: str
    value: int


@dataclass(frozen=True, slots=True)
class Criterion:
    """A named rule with its source. ``mark``: published, recalled (to be confirmed) or mapping (ours)."""

    id: str
    title: str
    cite: tuple[str, ...]
    mark: str
    rule: Node
    note: str = ""


@dataclass(frozen=True, slots=True)
class Item:
    """One line of a score: the first true band gives its points, none gives 0.

    ``counts`` names a whole-number fact whose value is itself the points, taken off where ``sign`` is -1.
    """

    id: str
    bands: tuple[tuple[Node, int], ...] = ()
    counts: str = ""
    sign: int = 1


@dataclass(frozen=True, slots=True)
class Score:
    """A sum of items. ``first_step`` true puts the patient below every number, in ``first_class``."""

    id: str
    title: str
    cite: tuple[str, ...]
    items: tuple[Item, ...]
    classes: tuple[tuple[str, int | None], ...] = ()  # (name, highest sum), lowest class first
    first_step: Node | None = None
    first_class: str = ""
    of: str = ""  # the score whose items come first, shown beside this one


@dataclass(frozen=True, slots=True)
class Decision:
    """``missing`` is exactly the unknown facts that can still flip ``value``; empty unless it is None."""

    value: Truth
    missing: tuple[str, ...] = ()


def one(*nodes: Node) -> Group:
    """TRUE when any is; an empty ONE is FALSE."""
    return Group(1, nodes)


def every(*nodes: Node) -> Group:
    """TRUE when all are; an empty ALL is TRUE."""
    return Group(len(nodes), nodes)


def samples_read(reading: Reading, reads: str) -> Sequence[Sample]:
    """The samples that one way of reading looks at."""
    if reads in ("latest", "since"):
        return (reading.latest,)
    if reads == "lowest":
        return (reading.low,)
    if reads == "highest":
        return (reading.high,)
    if reads in TIMES:
        return reading.series or (reading.latest,)
    return (*reading.series, reading.low, reading.high, reading.latest)


def is_within(spec: FactSpec, value: Decimal) -> bool:
    """A HEART item of 3 or a SOFA of 30 is a mistake, and a mistake is not counted as the nearest number."""
    if (spec.low is not None and value < spec.low) or (spec.high is not None and value > spec.high):
        return False
    return not spec.whole or value == value.to_integral_value()


def is_usable(spec: FactSpec, reading: Reading) -> bool:
    """Whether every sample has the type, the unit and (for codes) a code that the content declares."""
    kind, unit, codes = _TYPES[spec.kind], spec.unit, spec.codes
    latest, low, high, series = reading.latest, reading.low, reading.high, reading.series
    is_one = low is latest is high and (not series or (len(series) == 1 and series[0] is latest))
    if is_one and kind is bool and not codes:  # as most are
        return type(latest.value) is bool and (not unit or latest.unit == unit)
    for sample in (latest,) if is_one else (latest, low, high, *series):
        value = sample.value
        if type(value) is not kind or (unit and sample.unit != unit):
            return False
        if codes and value not in codes:
            return False
        if isinstance(value, Decimal) and not (value.is_finite() and is_within(spec, value)):
            return False
    return True


def is_positive(reading: Reading) -> bool:
    """Whether every sample of a usable reading of exact numbers is above zero."""
    return bool(reading.low.value > 0)  # type: ignore[operator]  # usable, so a number


def truth_of(op: str, value: FactValue, limit: FactValue) -> Truth:
    """One value against one threshold; None where a bound leaves it open."""
    if isinstance(value, Interval):
        return value.holds(op, limit) if isinstance(limit, Decimal) else None
    return OPERATORS[op](value, limit)


def bounded(spec: FactSpec, reading: Reading, *, is_counted: bool, is_positive: bool) -> Reading | None:
    """A reading with bounds in it, cut to what the fact can be; None where it cannot be used.

    A number that is itself counted has to be known. Facts that are read together are above zero.
    """
    if spec.kind != "number" or is_counted or not reading.has_bounds:
        return None
    low = max(spec.low or Decimal(0), Decimal(0)) if is_positive else spec.low
    known: dict[int, Sample] = {}
    for sample in (reading.latest, reading.low, reading.high, *reading.series):
        value = sample.value
        if spec.unit and sample.unit != spec.unit:
            return None
        if isinstance(value, Interval):
            cut = value.within(low, spec.high)
            if cut is None or (is_positive and cut.high == 0):
                return None
            known[id(sample)] = replace(sample, value=cut)
        elif isinstance(value, Decimal) and value.is_finite() and is_within(spec, value):
            known[id(sample)] = sample
        else:
            return None
    latest, lowest, highest = (known[id(each)] for each in (reading.latest, reading.low, reading.high))
    return Reading(spec.id, latest, lowest, highest, tuple([known[id(each)] for each in reading.series]))


def leaf_truth(leaf: Leaf, reading: Reading) -> Truth:
    """One leaf of a usable reading with bounds in it: definite where every number in them agrees."""
    truths = [truth_of(leaf.op, sample.value, leaf.value) for sample in samples_read(reading, leaf.reads)]
    if leaf.reads == "any" or leaf.reads in TIMES:
        return at_least(TIMES.get(leaf.reads, 1), truths)
    return truths[0]


def leaf_test(leaf: Leaf) -> Callable[[Reading], bool]:
    """One leaf as a function of a usable reading of exact values."""
    test, value = OPERATORS[leaf.op], leaf.value
    if leaf.reads in ("latest", "since"):
        return lambda reading: test(reading.latest.value, value)
    if leaf.reads == "lowest":
        return lambda reading: test(reading.low.value, value)
    if leaf.reads == "highest":
        return lambda reading: test(reading.high.value, value)
    if (enough := TIMES.get(leaf.reads)) is not None:
        return lambda reading: sum(test(s.value, value) for s in samples_read(reading, leaf.reads)) >= enough
    return lambda reading: any(test(sample.value, value) for sample in samples_read(reading, "any"))


def at_least(n: int, truths: Sequence[Truth]) -> Truth:
    """Kleene's ``n`` of: TRUE when enough are true, FALSE when even the unknown ones would not do."""
    true = truths.count(True)
    if true >= n:
        return True
    return False if true + truths.count(None) < n else None


def compare(low: int, high: int, op: str, value: int) -> Truth:
    """A number known to lie within bounds, both included, against a threshold."""
    match op:
        case "<" | "<=":
            above = compare(low, high, ">=" if op == "<" else ">", value)
            return None if above is None else not above
        case ">=":
            return True if low >= value else (False if high < value else None)
        case ">":
            return compare(low, high, ">=", value + 1)
    inside = None if low <= value <= high and low != high else low == value == high
    if op == "is":
        return inside
    return None if inside is None else not inside


def counted_range(spec: FactSpec) -> tuple[int, int]:
    """Least and most of a fact that is counted itself; the content must bound it."""
    return int(spec.low or 0), int(spec.high or 0)


def value_read(reading: Reading, reads: str) -> Number:
    """The number that ``latest``, ``lowest`` or ``highest`` looks at, of a usable reading of a number."""
    value = samples_read(reading, reads)[0].value
    assert isinstance(value, Decimal | Interval)  # noqa: S101 - is_usable() or bounded() has seen to it
    return value


def class_of(score: Score, total: int) -> str:
    """The class of a sum: the first whose highest sum is not exceeded."""
    for name, top in score.classes:
        if top is None or total <= top:
            return name
    return score.classes[-1][0]

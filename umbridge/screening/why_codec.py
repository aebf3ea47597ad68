"""The trees behind an answer on their way out of a worker, and checked on their way in.

In a frame they lie flat, each node with its depth: lists in one another are held to few there.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

from umbridge.criteria.examination import Cited
from umbridge.criteria.tree import Truth
from umbridge.criteria.why import Trace
from umbridge.criteria.why_rows import WhyRow
from umbridge.model import Case, Evidence, Manifest, ScreenResult
from umbridge.screening.frames import WireError

MOST_NODES = 5_000
DEEPEST = 60
LONGEST = 500  # characters of a node's text
WORDS: dict[Truth, str] = {True: "TRUE", False: "FALSE", None: "UNKNOWN"}


def behind(cited: Sequence[Cited], result: ScreenResult) -> tuple[Trace, ...]:
    """The trees of the rules whose evidence an answer gives; none where it gives none of the engine's."""
    if not cited:
        return ()
    exam, keys, evidence = cited[-1]
    return exam.traces(*keys) if set(evidence) <= set(result.evidence) else ()


def why_out(trees: Sequence[Trace]) -> list[object]:
    """Trees as plain JSON, outermost first."""
    return [list(node) for tree in trees for node in _flat(tree, 0)]


def _flat(tree: Trace, depth: int) -> Iterator[tuple[object, ...]]:
    read = [[e.fact, e.value, e.unit, e.at, e.source] for e in tree.readings]
    yield depth, tree.text, tree.truth, read, list(tree.missing)
    for child in tree.children:
        yield from _flat(child, depth + 1)


def why_in(data: object, manifest: Manifest, case: Case) -> tuple[Trace, ...]:
    """The trees a worker sent, of facts that it was told or may be told. Raises WireError otherwise."""
    if not isinstance(data, list) or len(data) > MOST_NODES:
        raise WireError("why")
    told, wanted = case.facts.keys(), frozenset(manifest.facts)
    flat = [_node_in(each, told, wanted) for each in data]
    deepest = -1
    for depth, _ in flat:
        if not 0 <= depth <= min(deepest + 1, DEEPEST):
            raise WireError("why")
        deepest = depth
    trees, _ = _grown(flat, 0, 0)
    return trees


def _node_in(data: object, told: Collection[str], wanted: Collection[str]) -> tuple[int, Trace]:
    if not isinstance(data, list) or len(data) != 5:
        raise WireError("why")
    depth, text, truth, read, missing = data
    if type(depth) is not int or not (truth is None or isinstance(truth, bool)):
        raise WireError("why")
    if not isinstance(read, list) or not isinstance(missing, list) or len(read) + len(missing) > 10:
        raise WireError("why")
    readings = tuple(_reading_in(each, told) for each in read)
    if not all(isinstance(fact, str) and fact in wanted for fact in missing):
        raise WireError("why")
    return depth, Trace(_text(text), truth, (), readings, tuple(missing))


def _reading_in(data: object, told: Collection[str]) -> Evidence:
    if not isinstance(data, list) or len(data) != 5:
        raise WireError("why")
    fact, value, unit, at, source = [_text(part) for part in data]
    if fact not in told:  # nobody can cite what nobody was told
        raise WireError("why")
    return Evidence(fact, value, unit, at, source)


def _text(value: object) -> str:
    if not isinstance(value, str) or len(value) > LONGEST or not value.isprintable():
        raise WireError("why")
    return value


def _grown(flat: Sequence[tuple[int, Trace]], place: int, depth: int) -> tuple[tuple[Trace, ...], int]:
    """The trees that begin at ``place`` and ``depth``, and where they end."""
    found: list[Trace] = []
    while place < len(flat) and flat[place][0] == depth:
        node = flat[place][1]
        children, place = _grown(flat, place + 1, depth + 1)
        found.append(Trace(node.text, node.truth, children, node.readings, node.missing))
    return tuple(found), place


def why_rows(trees: Sequence[Trace]) -> list[WhyRow]:
    """The same for people's programs."""
    return [
        {
            "rule": tree.text,
            "truth": WORDS[tree.truth],
            "readings": [
                {"fact": e.fact, "value": e.value, "unit": e.unit, "at": e.at, "from": e.source}
                for e in tree.readings
            ],
            "missing": list(tree.missing),
            "children": why_rows(tree.children),
        }
        for tree in trees
    ]

"""Habits of the code that only its syntax tree shows: no import circle, no mapping without a type."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

from test_architecture import modules, relative

# --- import circles -----------------------------------------------------------------------------------


def dotted(path: Path) -> str:
    """The module's name as an import statement spells it."""
    parts = relative(path).removesuffix(".py").removesuffix("/__init__").split("/")
    roots = (
        "umbridge",
        "umbridge_audit",
        "umbridge_kit",
        "umbridge_interqual_like",
        "umbridge_mcg_like",
        "umbridge_two_midnight",
    )
    start = next(place for place, part in enumerate(parts) if part in roots)
    return ".".join(parts[start:])


def imported(source: str, known: set[str]) -> set[str]:
    """The known modules that this source imports anywhere: in a function and for type checks only, too.

    ``from umbridge import x`` names the package's own file only where ``x`` is no module of it.
    """
    found: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                found.add(inner if inner in known else node.module)
    return found & known


def circle(sources: dict[str, str]) -> list[str]:
    """One circle of modules that import one another, [] where there is none."""
    graph = {name: imported(source, set(sources)) - {name} for name, source in sources.items()}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as exc:
        return list(exc.args[1])
    return []


def test_no_modules_import_one_another_in_a_circle() -> None:
    assert circle({dotted(path): path.read_text("utf-8") for path in modules()}) == []


def test_a_planted_circle_is_seen() -> None:
    house = {
        "a": "import b",
        "b": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from c import C",
        "c": "def late():\n    import a",
    }
    assert set(circle(house)) == {"a", "b", "c"}
    assert circle(house | {"c": ""}) == []


# --- untyped mappings ---------------------------------------------------------------------------------

MAPPINGS = {"dict", "Mapping", "MutableMapping", "OrderedDict", "defaultdict", "ChainMap"}
UNTYPED = {"Any", "object"}  # JsonValue is not: the type checker has whoever reads one say what it is
#: What anything JSON or TOML becomes on its way in and out. Everywhere else a record has a type.
BORDERS = {
    "umbridge/access/control.py": "questions as JSON lines, before they are read into a type",
    "umbridge/commands/terminal.py": "prints any row",
    "umbridge/lanes/protocol.py": "frames between daemon and lane workers",
    "umbridge/screening/answer_codec.py": "cases and results between daemon and plugin workers",
    "umbridge/criteria/strict_file.py": "a TOML file, key by key",
    "umbridge/criteria/notation.py": "rules as a TOML file writes them",
}
STORES = ("umbridge/store/", "audit/umbridge_audit/store/")
MOST = 29


def untyped(source: str) -> Iterator[int]:
    """The lines on which a mapping of anything is written down, under whichever name."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Subscript) and _name(node.value) in MAPPINGS:
            inside = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
            if any(_name(part) in UNTYPED for part in inside):
                yield node.lineno
        elif isinstance(node, ast.arg | ast.AnnAssign):
            if _name(node.annotation) in MAPPINGS:
                yield node.lineno
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and _name(node.returns) in MAPPINGS:
            yield node.lineno


def _name(node: ast.expr | None) -> str:
    if isinstance(node, ast.Attribute):
        return node.attr
    return node.id if isinstance(node, ast.Name) else ""


def test_a_record_has_a_type() -> None:
    assert len(BORDERS) <= 6
    found = {
        relative(path): count
        for path in modules()
        if not relative(path).startswith(STORES) and relative(path) not in BORDERS
        if (count := len(list(untyped(path.read_text("utf-8")))))
    }
    listed = "\n".join(
        f"{count:4} {name}" for name, count in sorted(found.items(), key=lambda pair: -pair[1])
    )
    assert sum(found.values()) <= MOST, listed


def test_a_planted_mapping_of_anything_is_seen() -> None:
    planted = """
import typing
Row = dict[str, typing.Any]
def one(row: Mapping[str, object]) -> dict[str, list[int]]: ...
def two(row: dict) -> MutableMapping: ...
def three() -> list[defaultdict[int, object]]: ...
held: dict = {}
fine: dict[str, int] = {}
"""
    assert list(untyped(planted)) and sorted(untyped(planted)) == [3, 4, 5, 5, 6, 7]

"""The list of hostile inputs, sub-case by sub-case: each names tests, and each of them is there and asserts.

``hostile_lists.txt`` is the index. What the product does not have stands there too, with why, and is counted.
"""

from __future__ import annotations

import ast
import re
from collections import Counter
from functools import cache
from hashlib import sha256
from pathlib import Path

import pytest
from installation import SHARED
from test_attacks import MISBEHAVIOUR
from test_bad_input import WIRE
from test_hostile import ITEMS
from test_sandbox import ATTACKS
from test_store_host import REFUSED

HERE = Path(__file__).parent
NAMED = {f"{number} {name}" for number, name, *_ in ITEMS}
TABLES: dict[str, dict[str, str]] = {
    "wire": dict.fromkeys(WIRE, "test_bad_input.py::test_every_named_input_has_its_answer_and_its_row"),
    "plugin": dict.fromkeys(MISBEHAVIOUR, "test_attacks.py::test_each_misbehaviour_is_contained"),
    "account": dict.fromkeys(
        ATTACKS, "test_sandbox.py::test_every_attack_is_refused_and_would_succeed_without_the_sandbox"
    ),
    "store": dict.fromkeys(
        REFUSED, "test_store_host.py::test_what_is_wrong_with_the_store_is_one_line_and_nothing_is_written"
    ),
}
START = re.compile(r", (?=(?:item|wire|plugin|account|store) |test_\w+\.py)")


def index() -> list[tuple[str, str, list[str]]]:
    """(item, sub-case, where); the first word of ``where`` is ``none`` for what cannot be tried here."""
    found = []
    for line in (HERE / "hostile_lists.txt").read_text(encoding="utf-8").splitlines():
        if line and not line.startswith("#"):
            item, case, where = line.split(" | ", 2)
            found.append((item, case, ["none"] if where.startswith("none | ") else START.split(where)))
    return found


INDEX = index()


@cache
def functions(file: str) -> dict[str, ast.FunctionDef]:
    tree = ast.parse((HERE / file).read_text(encoding="utf-8"))
    return {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef)}


def asserts(node: ast.AST, its: dict[str, ast.FunctionDef], deep: int = 2) -> bool:
    """Whether it asserts itself, or calls a function of its own file that does."""
    for one in ast.walk(node):
        if isinstance(one, ast.Assert):
            return True
        if isinstance(one, ast.Call):
            if ast.unparse(one.func) == "pytest.raises":
                return True
            called = its.get(ast.unparse(one.func))
            if deep and called is not None and asserts(called, its, deep - 1):
                return True
    return False


def wrong_with(test: str) -> str:
    """Why ``file::name`` is no test that can fail, or "" when it is one."""
    file, _, name = test.partition("::")
    if not (HERE / file).is_file():
        return "no such file"
    its = functions(file)
    if not name:
        return "" if any(asserts(its[one], its) for one in its if one.startswith("test_")) else "no test"
    node = its.get(name)
    if node is None or not name.startswith("test_"):
        return "no such test"
    if any(re.match(r"pytest\.mark\.(skip$|skip\(|xfail)", ast.unparse(one)) for one in node.decorator_list):
        return "never run"
    body = node.body[1:] if ast.get_docstring(node) else node.body
    if ast.unparse(body[0]).startswith(("pytest.skip", "return", "pass")):
        return "never run"
    return "" if asserts(node, its) else "asserts nothing"


def unresolved(item: str, where: str) -> str:
    """What is wrong with one pointer of the index."""
    kind, _, name = where.partition(" ")
    if kind == "item":
        wanted = f"{item} {name}"
        among = NAMED if not name.endswith("*") else {n[: len(wanted) - 1] + "*" for n in NAMED}
        return "" if wanted in among else "no such row"
    if kind in TABLES:
        return wrong_with(TABLES[kind][name]) if name in TABLES[kind] else "no such row"
    test, _, word = where.partition("[")
    if word and word[:-1] not in (HERE / test.partition("::")[0]).read_text(encoding="utf-8"):
        return "no such case"
    return wrong_with(test)


@pytest.mark.parametrize(("item", "case", "where"), INDEX, ids=[f"{one[0]}-{one[1]}" for one in INDEX])
def test_each_sub_case_has_a_test_that_can_fail(item: str, case: str, where: list[str]) -> None:
    assert case
    if where != ["none"]:
        assert {one: why for one in where if (why := unresolved(item, one))} == {}


def test_the_index_is_whole_and_says_what_cannot_be_tried() -> None:
    counted = Counter(item for item, _, _ in INDEX)
    assert {int(item) for item in counted if item.isdigit()} == set(range(1, 45))
    assert (counted["plugins"], counted["plugins+"], counted["store"]) == (20, 13, 14)
    none = [case for item, case, where in INDEX if where == ["none"]]
    assert len(none) == counted["console"] == 10
    assert len({(item, case) for item, case, _ in INDEX}) == len(INDEX)
    cases = sum(counted[item] for item in counted if item.isdigit())
    print(
        f"{cases} sub-cases of 44 items, 33 of plugins, 14 of store and host; "
        f"{len(none)} not applicable (no console): {', '.join(none)}"
    )


def test_no_row_of_the_tables_is_without_its_place_in_the_list() -> None:
    """The other way round: an item of the list that somebody adds to a table is also in the index."""
    assert {number for number, *_ in ITEMS} <= set(range(1, 45))
    pointed = {where for _, _, all_ in INDEX for where in all_}
    assert {f"store {name}" for name in REFUSED if ":" not in name} - pointed <= {
        "store a folder for a database",
        "store a database that is not ours",
        "store an empty database",
        "store no database",
        "store noise",
    }


def test_the_list_itself_has_not_grown() -> None:
    if not (SHARED / "spec" / "intake.md").is_file():
        pytest.skip("no ../shared beside the repository: the index is not compared with the list")
    text = (SHARED / "spec" / "intake.md").read_text(encoding="utf-8")
    section = text.split("## 3. Hostile inputs")[1].split("\n## ")[0]
    numbered, plugins, store, console = re.split(
        r"\*\*Plugins\*\*|\*\*Store and host\*\*|\*\*Console/API\*\*", section
    )
    assert [n for n in range(1, 45) if not re.search(rf"(?<![\d.,]){n} ", numbered)] == []
    assert not re.search(r"[;.] 45 ", numbered)
    assert len(plugins.split("plus:")[1].split(", ")) == 13
    assert len(store.split(", ")) == 14
    assert len(console.split(", ")) == 10


@pytest.mark.parametrize(
    ("where", "why"),
    [
        ("item no such thing", "no such row"),
        ("item letter*", ""),
        ("wire 99 nothing", "no such row"),
        ("test_nowhere.py::test_x", "no such file"),
        ("test_hostile.py::test_that_is_not_there", "no such test"),
        ("test_hostile.py::header", "no such test"),
        ("test_tls.py::test_what_is_not_tls_is_shut_out_at_once[GOPHER]", "no such case"),
    ],
)
def test_a_pointer_at_nothing_is_found(where: str, why: str) -> None:
    """The planted errors."""
    assert unresolved("17", where) == why


@pytest.mark.parametrize(
    ("source", "why"),
    [
        ("def test_zz():\n    assert 1\n", ""),
        ("def test_zz():\n    check()\ndef check():\n    assert 1\n", ""),
        ("def test_zz():\n    print(1)\n", "asserts nothing"),
        ("@pytest.mark.skip\ndef test_zz():\n    assert 1\n", "never run"),
        ("def test_zz():\n    pytest.skip('later')\n    assert 1\n", "never run"),
    ],
)
def test_a_test_that_cannot_fail_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str, why: str
) -> None:
    name = f"test_{sha256(source.encode()).hexdigest()}.py"  # files are read once
    (tmp_path / name).write_text(source)
    monkeypatch.setitem(globals(), "HERE", tmp_path)
    assert wrong_with(f"{name}::test_zz") == why

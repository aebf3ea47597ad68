"""What ``make mutants`` found (mutants.json): whole, above the bar, and what the pages say of it."""

from __future__ import annotations

import json
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

HERE = Path(__file__).parent
MODULES = ("entry", "slots", "tree", "checkpoint", "resume", "verify", "abnormal", "grounds", "unreadhold")


@pytest.fixture(scope="module")
def found(mutation: ModuleType) -> dict[str, Any]:
    read: dict[str, Any] = json.loads(mutation.FOUND.read_text())
    return read


def test_the_figures_are_those_of_the_lists(mutation: ModuleType, found: dict[str, Any]) -> None:
    assert set(found["modules"]) == set(mutation.MODULES) == set(MODULES)
    for module in found["modules"].values():
        left = len(module["excused"]) + len(module["survived"])
        assert sum(module["noticed"].values()) + left == module["mutants"]
    figures = mutation.figures(found["modules"])
    assert {name: found[name] for name in figures} == figures
    assert figures["killed_percent"] >= mutation.BAR


def test_the_pages_say_what_was_found_and_when(mutation: ModuleType, found: dict[str, Any]) -> None:
    said = mutation.sentence(found["modules"])
    assert mutation.SENTENCE.fullmatch(said)
    for page in mutation.PAGES:
        texts = [each.group() for each in mutation.SENTENCE.finditer(page.read_text())]
        assert texts == [said], page


def test_a_module_that_was_not_run_again_keeps_its_date(mutation: ModuleType, found: dict[str, Any]) -> None:
    later = found["modules"] | {"tree": found["modules"]["tree"] | {"date": "2999-01-02"}}
    said = mutation.sentence(later)
    assert said.endswith(" and 2999-01-02")
    assert mutation.SENTENCE.fullmatch(said)
    assert mutation.SENTENCE.sub("X", f"They noticed {said}; the rest") == "They noticed X; the rest"


@pytest.mark.parametrize("module", MODULES)
def test_what_was_found_was_found_for_the_code_as_it_is(
    mutation: ModuleType, found: dict[str, Any], module: str
) -> None:
    """Every mutant is counted, and each excused one still has its reason. After an edit this is not known."""
    kept = found["modules"][module]
    if kept["sha256"] != mutation.digest(module):
        pytest.skip(f"{module}.py has changed since {kept['date']}: not known again before `make mutants`")
    every = {one.name: one for one in mutation.mutants(module)}
    assert len(every) == kept["mutants"]
    assert {name for name, one in every.items() if one.excuse is None}.isdisjoint(kept["excused"])
    assert {*kept["excused"], *kept["survived"]} <= set(every)


def test_the_end_of_a_run_is_understood(mutation: ModuleType) -> None:
    """Only what a mutant can cause counts as noticing it; the runner's own failure does not."""
    ends = {0: None, 1: "failed", 2: "not loaded", 3: None, 4: "not loaded", 5: None, 70: None, -9: "stopped"}
    assert {code: mutation.noticed_how(code) for code in ends} == ends


def test_each_change_is_one_change(mutation: ModuleType) -> None:
    one = next(mutation.mutants("tree"))
    assert one.source != mutation.original("tree").source
    assert "STEP = 9" in one.source and "STEP = 8" in mutation.original("tree").source

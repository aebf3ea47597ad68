"""What a plugin may be called: the list of names held to what is installed, and every problem printable."""

from __future__ import annotations

import sys
from importlib.metadata import distribution

import pytest
from hypothesis import given
from hypothesis import strategies as st
from packaging.requirements import Requirement

from umbridge.importguard import ABSENT
from umbridge.screening import names
from umbridge.screening.names import GROUPS, group_problem, name_problem, top_of, value_problem


def closure() -> set[str]:
    """What umbridge depends on here, directly or not."""
    found: set[str] = set()
    pending = ["umbridge-daemon"]
    while pending:
        name = pending.pop()
        if name in found:
            continue
        found.add(name)
        for text in distribution(name).requires or ():
            need = Requirement(text)
            if need.marker is None or need.marker.evaluate({"extra": ""}):
                pending.append(need.name)
    assert {"umbridge-audit", "pydantic"} <= found
    return found


def test_no_plugin_may_take_the_name_of_anything_umbridge_depends_on() -> None:
    tops = set()
    for name in closure():
        for file in distribution(name).files or ():
            first = file.parts[0]
            if len(file.parts) > 1 and first.isidentifier() and first != "__pycache__":
                tops.add(first)
            elif len(file.parts) == 1 and first.endswith((".py", ".so")):
                tops.add(first.partition(".")[0])
    assert len(tops) > 10
    assert [top for top in sorted(tops) if not value_problem(top)] == []
    assert [top for top in (*ABSENT, *sys.stdlib_module_names) if not value_problem(top)] == []
    assert tops | names.OURS >= names.DEPENDENCIES - {"greenlet", "pycparser", "cffi", "_cffi_backend"}


def test_plain_names_are_taken() -> None:
    for name in ("zz", "two_midnight", "a1", "z" * 63):
        assert name_problem(name) == "" and value_problem(name) == ""
    for value in ("zz_pkg", "zz_pkg.sub", "zz_pkg:plugin", "zz_pkg.sub : a.b", "Zz.X"):
        assert value_problem(value) == ""
        assert top_of(value) == value[:6].rstrip(":. ") or value == "Zz.X"
    assert [group_problem(group, "zz") for group in GROUPS] == ["", ""]


@pytest.mark.parametrize(
    "value", ["", " ", ":x", "a.", "a..b", "a-b", "a [extra]", "a/b", "../x", "a:b:c", "é", "a\n"]
)
def test_what_is_no_module_is_refused(value: str) -> None:
    assert "expected a module" in value_problem(value)


@given(st.text())
def test_whatever_is_wrong_can_be_printed(text: str) -> None:
    assert name_problem(text).isprintable()
    assert value_problem(text).isprintable()

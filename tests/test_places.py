"""Line numbers of keys: as the eye finds them, and never a crash."""

from __future__ import annotations

import tomllib
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from umbridge.criteria.places import lines_of, nearest

TEXT = '''\
format = 1   # a = comment
id = "x # not = a comment"

[fact]
"quoted" = { kind = "number", unit = "[pH]" }

[score.s]
item = [
  { id = "one", when = "a > 1" },   # [ { ,
  { id = "two", band = [
    { when = """
three " lines
""", points = 2 },
    { when = 'b', points = 1 },
  ] },
]
[[list]]
a.b = 1
[[list]]
c = [1, [2,
 3]]
'''


def test_every_key_and_entry_has_its_line() -> None:
    found = lines_of(TEXT)
    assert {key: found[key] for key in ("format", "id", "fact", "fact.quoted.unit", "score.s.item")} == {
        "format": 1,
        "id": 2,
        "fact": 4,
        "fact.quoted.unit": 5,
        "score.s.item": 8,
    }
    assert [found[f"score.s.item[{n}]"] for n in (1, 2)] == [9, 10]
    assert [found[f"score.s.item[2].band[{n}]"] for n in (1, 2)] == [11, 14]
    assert found["score.s.item[2].band[1].points"] == 13
    assert (found["list[1].a.b"], found["list[2].c[2][2]"]) == (18, 21)


def test_what_is_missing_is_placed_by_what_is_around_it() -> None:
    found = lines_of(TEXT)
    assert nearest(found, "score.s.item[2].band[9].when") == 10
    assert nearest(found, "score.s.title") == 7
    assert nearest(found, "rule.admission") == 1
    assert nearest(found, "") == 1


@given(st.text(alphabet="ab.=[]{}\"'\\n #,1\\\\", max_size=60))
@settings(max_examples=300, deadline=None)
def test_any_text_is_read_to_its_end(text: str) -> None:
    found = lines_of(text)
    assert all(1 <= line <= text.count("\n") + 1 for line in found.values())


def paths(value: Any, above: str) -> list[str]:
    if isinstance(value, dict):
        return [p for k, v in value.items() for p in [f"{above}.{k}", *paths(v, f"{above}.{k}")]]
    if isinstance(value, list):
        return [p for i, v in enumerate(value, 1) for p in [f"{above}[{i}]", *paths(v, f"{above}[{i}]")]]
    return []


def test_every_path_of_valid_text_is_found() -> None:
    found = lines_of(TEXT)
    wanted = {path[1:] for path in paths(tomllib.loads(TEXT), "")}
    assert wanted - set(found) <= {"score", "list", "list[1].a"}  # named in passing only

"""A report as a file: no formula, no markup, nothing fetched, whatever stands in a field."""

from __future__ import annotations

import csv
import io
from html.parser import HTMLParser
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from umbridge.commands import render

HEAD: dict[str, Any] = {
    "report": "access",
    "made_at": "2026-03-02T00:00:00+00:00",
    "since": None,
    "entries": 7,
    "unanchored": 2,
    "unanchored_window_seconds": 10.0,
}
rows = st.lists(
    st.dictionaries(st.sampled_from("abc"), st.text(max_size=12), min_size=1), min_size=1, max_size=4
)


@pytest.mark.parametrize("lead", list(render._FORMULA))
def test_no_cell_begins_a_formula(lead: str) -> None:
    for value in (lead + "cmd|' /C calc'!A0", " " + lead + "1+1", [lead + "x"]):
        (_, line) = render.csv_lines(HEAD, [{"a": value}])
        (cells,) = csv.reader(io.StringIO(line, newline=""))
        assert cells[0].startswith("'") or not cells[0].lstrip().startswith(render._FORMULA)


@settings(max_examples=80, deadline=None)
@given(rows)
def test_csv_reads_back_with_as_many_cells_and_the_window(found: list[dict[str, str]]) -> None:
    text = "".join(render.csv_lines(HEAD, found))
    read = list(csv.reader(io.StringIO(text, newline="")))
    assert len(read) == len(found) + 1 and len({len(line) for line in read}) == 1
    assert read[0][-1] == "unanchored" and all(line[-1] == "2 entries, 10.0 s" for line in read[1:])
    for line in read[1:]:
        assert not any(cell.lstrip(" ").startswith(render._FORMULA) for cell in line)


class Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, tuple[str, ...]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, tuple(name for name, _ in attrs)))


def tags(found: list[dict[str, Any]]) -> list[tuple[str, tuple[str, ...]]]:
    parser = Tags()
    parser.feed(render.html_page(HEAD, found))
    return parser.found


@settings(max_examples=80, deadline=None)
@given(
    st.text(min_size=1, max_size=40).filter(
        lambda text: all(len(word) <= 32 for word in render.plain(text).split())
    )
)
def test_no_value_becomes_markup(text: str) -> None:
    assert tags([{"a": text}]) == tags([{"a": "plain"}])


def test_the_page_needs_nothing_and_names_its_window() -> None:
    hostile = "</td><script src=//zz>alert(1)</script>\u202e"
    page = render.html_page(HEAD, [{"a": hostile, "b": ["x", None]}])
    assert "<script" not in page and "http" not in page.replace("http-equiv", "") and "\u202e" not in page
    assert "default-src 'none'" in page
    assert "2 of 7 entries were not under an anchored checkpoint" in page
    assert "Nothing." in render.html_page(HEAD, [])


def test_the_page_has_no_empty_column_and_breaks_only_what_no_column_holds() -> None:
    """Seen in a browser: fifteen columns, four of them empty, and a time of day one letter wide."""
    page = render.html_page(HEAD, [{"a": None, "b": "", "ts": "2026-03-02", "digest": "0f" * 32}])
    assert "<th scope=col>ts</th>" in page and "<th scope=col>a</th>" not in page and ">b</th>" not in page
    assert f"<td class=long>{'0f' * 32}</td>" in page and "<td>2026-03-02</td>" in page

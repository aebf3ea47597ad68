"""What is printed: nothing a sender wrote can move the cursor, break a line or stop the printing."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from umbridge.commands import terminal

ANY = st.text(st.characters(codec=None), max_size=40)  # half surrogate pairs included, as in odd file names
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | ANY,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(ANY, inner, max_size=3),
    max_leaves=6,
)


@given(value=VALUES)
def test_clean_text_is_printable_and_encodes(value: object) -> None:
    said = terminal.clean(value)
    assert said.isprintable()
    said.encode()


@pytest.mark.parametrize(
    "evil", ["\x1b[2J", "a\rb", "a\nb", "\x9b31m", "\u202eabc", "\u2028", "\0", "\ud83d"]
)
def test_control_and_bidi_characters_are_shown_not_done(evil: str) -> None:
    assert "\\u" in terminal.clean(evil)


@given(value=VALUES)
def test_a_json_line_is_one_ascii_line_that_reads_back(value: object) -> None:
    import contextlib
    import io

    out = io.TextIOWrapper(io.BytesIO(), encoding="ascii", errors="strict")
    with contextlib.redirect_stdout(out):
        terminal.json_line({"value": value})
    out.flush()
    data = out.buffer.getvalue()
    assert data.endswith(b"\n")
    assert data.count(b"\n") == 1
    assert not any(byte < 0x20 or byte > 0x7E for byte in data[:-1])
    assert json.loads(data) == {"value": value}


@given(
    rows=st.lists(
        st.fixed_dictionaries({"one": ANY, "two": ANY | st.integers(), "three": VALUES}), max_size=4
    ),
    width=st.integers(30, 200),
)
def test_a_table_has_one_line_a_row_and_fits(rows: list[dict[str, object]], width: int) -> None:
    import contextlib
    import io

    out = io.StringIO()
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(out):
        patch.setenv("COLUMNS", str(width))
        assert terminal.table(rows, ("one", "two", "three", "absent")) == len(rows)
    lines = out.getvalue().splitlines()
    assert len(lines) == (len(rows) + 1 if rows else 0)
    assert all(len(line) <= width for line in lines)


@given(words=st.lists(st.text("abcdefgh=_", min_size=1, max_size=60), max_size=6), width=st.integers(30, 120))
def test_of_a_column_that_is_whole_nothing_is_cut(words: list[str], width: int) -> None:
    import contextlib
    import io

    out = io.StringIO()
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(out):
        patch.setenv("COLUMNS", str(width))
        terminal.table([{"hold": ", ".join(words), "one": "Z" * 60}], ("one", "hold"), ("hold",))
    lines = out.getvalue().splitlines()
    assert all(len(line) <= width for line in lines)
    said = "".join("".join(line for line in lines[1:]).split())
    assert said.replace("Z", "").replace("…", "") == ",".join(words)


def test_a_cut_text_says_so() -> None:
    assert terminal.cut("abcdef", 6) == "abcdef"
    assert terminal.cut("abcdefg", 6) == "abcde…"


def test_fields_are_indented_and_lists_of_objects_have_a_line_each(
    capsys: pytest.CaptureFixture[str],
) -> None:
    terminal.fields({"a": {"b": 1}, "c": [{"d": "\x1b", "e": None}], "f": [], "g": ["x", "y"]})
    assert capsys.readouterr().out.splitlines() == ["a", "  b  1", "c", "  - d=\\u001b e=-", "f  ", "g  x, y"]


def test_nothing_is_progress_where_nobody_looks(capsys: pytest.CaptureFixture[str]) -> None:
    show = terminal.counter("verifying", "entries")
    show(1)
    show(1_000_000)
    assert capsys.readouterr() == ("", "")

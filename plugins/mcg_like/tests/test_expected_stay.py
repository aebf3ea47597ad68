"""The site's table of expected stays: read strictly, dated, and never deciding anything."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

import pytest
import umbridge_mcg_like as plugin
from hypothesis import given, settings
from hypothesis import strategies as st
from umbridge_kit.testing import case, patients
from umbridge_mcg_like import expected_stay
from umbridge_mcg_like.expected_stay import Table, load, main, read

from umbridge import ContentError, ReviewType

HEAD = "effective_from,effective_to,ms_drg,guideline,expected_days\n"
ILLUSTRATIVE = f"""# illustrative=true; not CMS data; replace before use
{HEAD}2025-10-01,2026-09-30,193,cap,4.0
2026-10-01,2027-09-30,193,cap,3.5
2025-10-01,2026-09-30,378,upper_gi_bleed,3.0
"""
GUIDELINES = plugin.LIBRARY.subsets


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "zz.csv").write_text(ILLUSTRATIVE)
    return tmp_path


@pytest.fixture
def loaded(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Table]:
    table = load(folder, GUIDELINES)
    monkeypatch.setattr(plugin, "TABLE", table)
    monkeypatch.setattr(plugin, "DIGEST", plugin._digest(table))
    yield table


@pytest.mark.parametrize(
    ("day", "days"),
    [
        ("2025-09-30", None),
        ("2025-10-01", "4.0"),
        ("2026-09-30", "4.0"),
        ("2026-10-01", "3.5"),
        ("2027-10-01", None),
    ],
)
def test_a_row_applies_on_its_own_days(folder: Path, day: str, days: str | None) -> None:
    row = load(folder, GUIDELINES).expected("cap", date.fromisoformat(day))
    assert (None if row is None else str(row.days)) == days
    assert load(folder, GUIDELINES).expected("copd", date.fromisoformat(day)) is None


def test_no_folder_is_no_table_and_the_content_keeps_its_digest(tmp_path: Path) -> None:
    empty = load(tmp_path / "nosuch", GUIDELINES)
    assert empty == Table()
    assert plugin._digest(empty) == plugin.LIBRARY.digest == plugin.umbridge_manifest().digest


def test_any_changed_byte_changes_the_digest_that_must_be_approved(folder: Path) -> None:
    first = plugin._digest(load(folder, GUIDELINES))
    assert first != plugin.LIBRARY.digest
    (folder / "zz.csv").write_bytes(ILLUSTRATIVE.replace("\n", "\r\n").encode())
    assert plugin._digest(load(folder, GUIDELINES)) == first  # line ends are no change
    (folder / "zz.csv").write_text(ILLUSTRATIVE.replace("3.5", "3.6"))
    assert plugin._digest(load(folder, GUIDELINES)) != first


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (
            "# illustrative=true; not CMS data; replace before use\n",
            "",
            "zz.csv: expected a line '# source='",
        ),
        ("illustrative=true", "illustrative=false", "zz.csv: expected a line '# source='"),
        ("ms_drg,", "drg,", "line 2: expected effective_from"),
        ("2025-10-01,2026-09-30,193", "1 Oct 2025,2026-09-30,193", "line 3: effective_from: expected a date"),
        ("2025-10-01,2026-09-30,193", "2025-13-01,2026-09-30,193", "line 3: effective_from: expected a date"),
        (
            "2025-10-01,2026-09-30,193",
            "2025-10-01,2025-09-30,193",
            "line 3: effective_to: expected a date on",
        ),
        (",193,cap,4.0", ",93,cap,4.0", "line 3: ms_drg: expected three digits"),
        (",193,cap,4.0", ",193,zz,4.0", "line 3: guideline: expected one of asthma"),
        (",193,cap,4.0", ",193,cap,0", "line 3: expected_days: expected a number"),
        (",193,cap,4.0", ",193,cap,400", "line 3: expected_days: expected a number"),
        (",193,cap,4.0", ",193,cap,NaN", "line 3: expected_days: expected a number"),
        (",193,cap,4.0", ",193,cap,4.0,x", "line 3: expected 5 columns"),
        ("2026-10-01,2027", "2026-09-30,2027", "cap: expected one row for each day"),
        (ILLUSTRATIVE, f"# source=ZZ\n{HEAD}", "expected at least one row"),
        (ILLUSTRATIVE, "# source=ZZ\n", "expected at least one row"),
        (",193,cap,4.0", ",193,cap," + "4" * 140_000, "not readable as CSV"),
    ],
)
def test_each_mistake_names_the_file_the_line_and_what_was_expected(
    folder: Path, old: str, new: str, said: str
) -> None:
    assert old in ILLUSTRATIVE
    (folder / "zz.csv").write_text(ILLUSTRATIVE.replace(old, new, 1))
    with pytest.raises(ContentError) as caught:
        load(folder, GUIDELINES)
    assert str(caught.value).startswith("zz.csv: ")
    assert said in str(caught.value)


@given(st.binary(max_size=300) | st.text(max_size=300).map(str.encode))
@settings(max_examples=150, deadline=None)
def test_any_bytes_are_rows_or_our_own_error(body: bytes) -> None:
    for data in (body, ILLUSTRATIVE.encode() + body):
        with suppress(ContentError):
            assert read("zz.csv", data, GUIDELINES)


def test_files_can_be_checked_before_they_are_put_in(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good, bad = folder / "zz.csv", folder / "bad.csv"
    bad.write_text("zz")
    assert main([str(good)]) == 0  # it goes by the names of the content's files, which are the guidelines'
    assert capsys.readouterr().out == f"{good}: 3 rows, source: ILLUSTRATIVE, not real\n"
    assert main([str(bad), str(folder / "nosuch.csv")]) == 1
    assert len(capsys.readouterr().err.splitlines()) == 2


@pytest.mark.parametrize(("day", "stay"), [(5, "WITHIN"), (6, "LONGER")])
def test_a_long_stay_is_marked_with_source_and_group(loaded: Table, day: int, stay: str) -> None:
    """Four days expected: the fifth night is beyond them, on day 6."""
    subset = plugin.LIBRARY.subsets["cap"]
    question = replace(
        case(plugin.LIBRARY, subset, {}, review=ReviewType.CONTINUED_STAY),
        episode_day=day,
        as_of=datetime(2026, 9, 30, 12, tzinfo=UTC),
    )
    result = plugin.umbridge_screen(question)
    assert (result.scores["expected_stay"], result.scores["expected_days"]) == (stay, "4.0")
    assert result.scores["expected_drg"] == "193"
    assert "MS-DRG 193, ILLUSTRATIVE, not real" in result.rationale
    assert result.digest == plugin._digest(loaded)
    after = plugin.umbridge_screen(replace(question, as_of=datetime(2026, 10, 1, 12, tzinfo=UTC)))
    assert after.scores["expected_days"] == "3.5"  # by the day it is looked at, as a discharge today would be
    none = plugin.umbridge_screen(replace(question, as_of=datetime(2030, 1, 1, tzinfo=UTC)))
    assert "No expected stay is loaded." in none.rationale
    assert "expected_stay" not in none.scores


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_the_table_never_decides(data: st.DataObject) -> None:
    subset, values = data.draw(patients(plugin.LIBRARY))
    rng = data.draw(st.randoms(use_true_random=False))
    kept = {fact: value for fact, value in values.items() if rng.random() < 0.5}
    review = data.draw(st.sampled_from(list(ReviewType)))
    question = replace(
        case(plugin.LIBRARY, subset, kept, review=review), episode_day=data.draw(st.integers(1, 40))
    )
    without, before = plugin.umbridge_screen(question), plugin.TABLE
    row = expected_stay.Row(date(2000, 1, 1), date(2100, 1, 1), "999", subset.id, Decimal(1), "ZZ")
    plugin.TABLE = Table((row,))
    try:
        with_one = plugin.umbridge_screen(question)
    finally:
        plugin.TABLE = before
    ours = {"expected_stay", "expected_days", "expected_drg"}
    rest = {key: value for key, value in with_one.scores.items() if key not in ours}
    assert replace(with_one, rationale="", scores=rest) == replace(
        without, rationale="", scores=dict(without.scores)
    )

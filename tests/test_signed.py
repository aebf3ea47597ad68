"""Who answers for content: what its file says is on each result; README says what waits for a signature."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import replace
from itertools import product
from pathlib import Path

import pytest
import umbridge_interqual_like
import umbridge_mcg_like
import umbridge_two_midnight
from conftest import ROOT
from test_grounds import FILE, QUIET, asked

from umbridge import Level, LevelContent, Library, ReviewType
from umbridge.screening.answer_codec import manifest_in, manifest_out
from umbridge.values.signed import NOBODY, ContentStatus

LIBRARIES: dict[str, Library] = {
    "interqual_like": umbridge_interqual_like.LIBRARY,
    "mcg_like": umbridge_mcg_like.LIBRARY,
    "two_midnight": umbridge_two_midnight.LIBRARY,
}
README = (ROOT / "README.md").read_text(encoding="utf-8")
SECTION = README.partition("## What a clinician must still sign")[2].partition("\n## ")[0]


@pytest.mark.parametrize("state", ["draft", "reviewed", "approved"])
def test_what_a_file_says_of_itself_is_on_each_of_its_results(tmp_path: Path, state: str) -> None:
    said = f'[approval]\nstate = "{state}"\n'
    if state != "draft":
        said += 'by = ["ZZ Signer, physician"]\non = 2026-01-02\n'
    content = LevelContent(_written(tmp_path, FILE.replace("[citation]", f"{said}[citation]")))
    signed = ContentStatus(state, ("ZZ Signer, physician",), "2026-01-02") if state != "draft" else NOBODY
    for review, level in product(ReviewType, (Level.ACUTE, Level.HOME)):
        assert content.screen(asked(QUIET, level, review)).content_status == signed
    assert content.screen(replace(asked(QUIET), diagnoses=("O80",))).content_status == NOBODY  # no file
    manifest = content.manifest("zz", "1", "")
    assert manifest.states == (state,)
    assert manifest_in(manifest_out(manifest), "zz") == manifest


def _written(folder: Path, text: str) -> Path:
    (folder / "zz.toml").write_text(text, encoding="utf-8")
    return folder


def test_no_clinician_has_signed_anything_here() -> None:
    """An approval that nobody gave would be the worst thing content could say."""
    for library in LIBRARIES.values():
        assert set(library.states()) == {"draft"}
    assert "All content here is a draft" in SECTION


def test_readme_counts_what_waits_for_a_signature() -> None:
    """Criteria that were chosen here or recalled, by plugin: a new one is counted, or this fails."""
    for name, library in LIBRARIES.items():
        marks = Counter(
            criterion.mark
            for subset in library.subsets.values()
            for criterion in subset.rules.criteria.values()
        )
        shown = sorted(subset.id for subset in library.subsets.values() if subset.shown_by)
        row = next(line for line in SECTION.splitlines() if line.startswith(f"| `{name}` |"))
        assert row == (
            f"| `{name}` | {len(library.subsets)} | {marks['published']} | {marks['mapping']} | "
            f"{marks['recalled']} | {' '.join(f'`{each}`' for each in shown) or '-'} |"
        )


def test_readme_names_every_limit_of_the_daemons_own_that_is_unsigned() -> None:
    """Each module that says "unsigned" is named with its limit, and no other is."""
    says = {
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "umbridge").rglob("*")
        if path.suffix in (".py", ".toml") and re.search(r"\bunsigned\b", path.read_text("utf-8"), re.I)
    }
    assert set(re.findall(r"`(umbridge/[\w/.]+)`", SECTION)) == says

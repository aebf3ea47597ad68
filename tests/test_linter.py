"""The linter against planted mistakes, each in content that loads, and against content that does not."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from umbridge.dryrun.linter import ERROR, WARNING, Finding, lint

ROOT = Path(__file__).parents[1]
FORMAT = re.findall(r"```toml\n(.*?)```", (ROOT / "docs" / "content.md").read_text(), re.S)
SHIPPED = sorted(ROOT.glob("plugins/*/umbridge_*/content"))


def documented(folder: Path, old: str = "", new: str = "") -> tuple[Finding, ...]:
    """The files of docs/content.md, with one change, linted."""
    assert not old or any(old in text for text in FORMAT)
    for name, text in zip(("kidney.toml", "shared.toml"), FORMAT, strict=True):
        (folder / name).write_text(text.replace(old, new, 1) if old else text)
    return lint(folder)


def test_the_documented_files_have_one_made_up_fact_and_no_other_fault(tmp_path: Path) -> None:
    found = documented(tmp_path)
    assert [(each.key, each.weight) for each in found] == [("fact.past_stage", ERROR)]
    assert (
        found[0].line
        == (tmp_path / "kidney.toml")
        .read_text()
        .splitlines()
        .index(next(line for line in FORMAT[0].splitlines() if line.startswith("past_stage")))
        + 1
    )


SOURCE = 'loinc = ["2160-0"]'
BASELINE = 'baseline_creatinine = { kind = "number", unit = "mg/dL"'
PLANTED = [
    # a band behind one that always holds when it does
    ('ratio >= 3"', 'ratio >= 1.2"', "score.stage.item[1].band[2]", ERROR, "never reached"),
    # a class above everything the score can be
    ('"mild", to = 1', '"mild", to = 3', "score.stage.class[2]", ERROR, "never reached"),
    # a test of a score that always holds, and one that never does
    ('when = "stage >= 2"', 'when = "stage >= 0"', "criterion.staged", ERROR, "always true"),
    ('when = "stage >= 2"', 'when = "stage >= 4"', "criterion.staged", ERROR, "always false"),
    # a test that cannot turn its criterion
    (
        'when = "potassium >= 6.5 mmol/L"',
        'one = ["potassium >= 6.5 mmol/L", "potassium >= 7 mmol/L"]',
        "criterion.potassium_high",
        WARNING,
        "'highest potassium >= 7 mmol/L' can never turn it",
    ),
    # a limit that nobody's value can be, and one that everybody's is
    ('potassium >= 6.5 mmol/L"', 'potassium >= 65 mmol/L"', "fact.potassium", ERROR, "between 0.5 and 15"),
    ('potassium >= 6.5 mmol/L"', 'potassium >= 0.5 mmol/L"', "fact.potassium", ERROR, "the same for every"),
    (SOURCE, 'loinc = ["2160-1"]', "fact.creatinine.loinc", ERROR, "digit is wrong: expected 2160-0"),
    (SOURCE, 'loinc = ["2823-3"]', "fact.creatinine.loinc", ERROR, "is potassium in the dictionary"),
    (BASELINE, BASELINE + ', worst = "low"', "fact.baseline_creatinine.worst", WARNING, "has latest"),
    ('icd10 = ["N17"]', 'icd10 = ["17"]', "icd10[1]", ERROR, "begins no ICD-10-CM code"),
    ('note = "No clinician has signed this example."', "", "approval", WARNING, "a draft"),
    ("2012;2:1-138", "2:1-138", "score.stage.cite", WARNING, "no source with a year"),
    ('one = ["staged", ', "one = [", "criterion.staged", WARNING, "no rule uses it"),
]


@pytest.mark.parametrize(("old", "new", "key", "weight", "said"), PLANTED)
def test_a_planted_mistake_is_found_where_it_stands(
    tmp_path: Path, old: str, new: str, key: str, weight: str, said: str
) -> None:
    found = [each for each in documented(tmp_path, old, new) if each.key == key]
    assert [each.weight for each in found] == [weight], found
    assert said in found[0].text
    line = (tmp_path / found[0].file).read_text().splitlines()[found[0].line - 1]
    assert any(word in line for word in re.split(r"\W+", key) if word), line


def test_it_goes_on_after_a_mistake_and_says_what_was_refused(tmp_path: Path) -> None:
    documented(tmp_path)
    (tmp_path / "a.toml").write_text("[citation")
    (tmp_path / "b.toml").write_text(FORMAT[0].replace("stage >= 2", "stage >= 2.5"))
    found = lint(tmp_path)
    assert {each.file for each in found} == {"a.toml", "b.toml", "kidney.toml"}
    refused = {each.file: each for each in found if each.file != "kidney.toml"}
    assert "not TOML" in refused["a.toml"].text
    assert (refused["b.toml"].key, refused["b.toml"].weight) == ("criterion.staged.when", ERROR)
    assert "2.5" in (tmp_path / "b.toml").read_text().splitlines()[refused["b.toml"].line - 1]


def test_what_only_shows_in_all_files_together_is_found(tmp_path: Path) -> None:
    text = (
        FORMAT[0].replace("past_stage", "sofa_baseline").replace("to = 3 }", 'to = 3, unit = "{score}" }', 1)
    )
    (tmp_path / "shared.toml").write_text(FORMAT[1])
    (tmp_path / "a.toml").write_text(text)
    assert lint(tmp_path) == ()
    (tmp_path / "b.toml").write_text(text.replace('id = "kidney"', 'id = "other"'))
    assert [each.text for each in lint(tmp_path)] == ["expected N17 in one file only"]


def test_no_folder_and_no_files_are_findings_too(tmp_path: Path) -> None:
    assert [each.weight for each in lint(tmp_path)] == [ERROR]
    assert [each.weight for each in lint(tmp_path / "nowhere")] == [ERROR]


@pytest.mark.parametrize("folder", SHIPPED, ids=lambda path: path.parent.name)
def test_shipped_content_has_no_error(folder: Path) -> None:
    if folder.parent.name == "umbridge_interqual_like":
        pytest.skip("it is linted, warnings included, by the plugin's own tests")
    assert [str(each) for each in lint(folder) if each.weight == ERROR] == []

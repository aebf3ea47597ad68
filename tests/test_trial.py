"""A new plugin's repository, tried: it passes as written, and whatever is wrong with it is said."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from installation import ROOT, Installation
from umbridge_kit import new_plugin

from umbridge.dryrun import trial
from umbridge.dryrun.vignettes import Remembering, differences, expectation, judge
from umbridge.errors import ConfigError, UsageError
from umbridge.screening.discover import in_folder
from umbridge.settings.site import load_site


def command(*words: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return Installation.loaded().run(["plugins", *words], cwd)


@pytest.fixture(params=[False, True], ids=["pack", "code"])
def repository(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    new_plugin.write(tmp_path, "zz-new", code=request.param)
    return tmp_path / "zz-new"


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_bytes().decode()
    assert old in text
    path.write_bytes(text.replace(old, new).encode())


def test_a_new_repository_passes_as_it_was_written(repository: Path) -> None:
    done = command("test", ".", "--json", cwd=repository)
    assert (done.returncode, done.stderr) == (0, "")
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert [row["verdict"] for row in rows if row["row"] == "vignette"] == ["ok"] * 4
    assert [row["exercised"] for row in rows if row["row"] == "criterion"] == ["both ways"] * 3
    assert [row for row in rows if row["row"] == "finding"] == []
    assert rows[-1]["wrong"] == 0
    shown = command("test", ".", cwd=repository)
    assert shown.returncode == 0
    assert "3 of 3 criteria exercised both ways; nothing is wrong" in shown.stdout


def test_its_own_test_passes_and_fails_with_its_vignettes(repository: Path) -> None:
    own = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests"]
    assert subprocess.run(own, cwd=repository, capture_output=True, timeout=120, check=False).returncode == 0
    edit(repository / "vignettes/V01/expected.json", '"MEETS"', '"REFER"')
    assert subprocess.run(own, cwd=repository, capture_output=True, timeout=120, check=False).returncode == 1


WRONG: list[tuple[str, str, str, str]] = [
    ("vignettes/V03/expected.json", '"REFER"', '"MEETS"', "outcome is REFER, expected MEETS"),
    ("vignettes/V04/expected.json", '"bun"', '"spo2"', "missing lacks spo2; missing has bun as well"),
    ("vignettes/V02/expected.json", '"curb65": 0', '"curb65": 1', "score curb65 is 0, expected 1"),
    ("vignettes/V01/02_ORU_R01.hl7", "||32|", "||22|", "outcome is REFER, expected MEETS"),
    ("vignettes/V01/03_ORM_O01.hl7", "ADTINPT", "ZZNONE", "0 results for ADMISSION"),
    ("vignettes/V01/01_ADT_A04.hl7", "|2.5.1", "|9.9", "1 not used"),
    ("zz_new/content/example.toml", "bun > 19 mg/dL", "bun > 19 furlongs", "example.toml"),
]


@pytest.mark.parametrize(("file", "old", "new", "said"), WRONG, ids=range(len(WRONG)))
def test_what_is_wrong_is_said_and_the_exit_code_is_1(
    tmp_path: Path, file: str, old: str, new: str, said: str
) -> None:
    new_plugin.write(tmp_path, "zz-new", code=False)
    edit(tmp_path / "zz-new" / file, old, new)
    report = trial.run(tmp_path / "zz-new")
    assert report.wrong
    assert any(said in text for text in (*report.findings, *(row["why"] for row in report.vignettes)))


def test_the_tree_of_each_vignette_that_differs_is_shown_when_asked_for(tmp_path: Path) -> None:
    """An own code's answer has one as a pack's has, as it cites what the engine gave it."""
    new_plugin.write(tmp_path, "zz-new", code=True)
    edit(tmp_path / "zz-new/vignettes/V04/expected.json", '"bun"', '"spo2"')
    done = command("test", "zz-new", "--why", "--json", cwd=tmp_path)
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    (row,) = [row for row in rows if row["row"] == "why"]
    assert (done.returncode, row["vignette"], row["missing"]) == (1, "V04", ["bun"])
    assert [tree["truth"] for tree in row["why"]][-1] == "UNKNOWN"
    shown = command("test", "zz-new", "--why", cwd=tmp_path).stdout
    assert "missing: blood urea nitrogen" in shown
    assert "latest blood urea nitrogen" in shown or "highest blood urea nitrogen" in shown
    assert "missing: blood urea nitrogen" not in command("test", "zz-new", cwd=tmp_path).stdout


CONTENT = "zz_new/content/example.toml"
SPO2 = 'spo2 = { kind = "number", unit = "%", worst = "low" }'
LINTED: list[tuple[str, str, str, str, int]] = [  # what loads and is wrong all the same; an error, or not
    ("curb65 >= 2", "curb65 >= 0", "criterion.curb65_some: error:", "is always true", 1),
    ("curb65 >= 2", "curb65 >= 6", "criterion.curb65_some: error:", "is always false", 1),
    ("spo2", "zz_wish", "fact.zz_wish: error:", "no fact of the dictionary", 1),
    (SPO2, SPO2[:-2] + ', loinc = ["2708-7"] }', "fact.spo2.loinc: error:", "expected 2708-6", 1),
    (
        "Thorax 2003;58:377-382",
        "Thorax 58:377-382",
        "score.curb65.cite: warning:",
        "no source with a year",
        0,
    ),
    (
        'one = ["curb65_some"]',
        'one = ["curb65_severe"]',
        "criterion.curb65_some: warning:",
        "no rule uses",
        0,
    ),
    ('cite = ["ours"]', "cite = []", "criterion.hypoxaemia.cite: error:", "expected", 1),
]


@pytest.mark.parametrize(("old", "new", "where", "said", "wrong"), LINTED, ids=range(len(LINTED)))
def test_the_linter_runs_too(tmp_path: Path, old: str, new: str, where: str, said: str, wrong: int) -> None:
    new_plugin.write(tmp_path, "zz-new", code=False)
    file = tmp_path / "zz-new" / CONTENT
    edit(file, old, new)
    report = trial.run(tmp_path / "zz-new")
    (found,) = [text for text in report.findings if where in text]
    place, line, rest = found.split(": ", 2)
    assert (place, said in rest) == ("content/example.toml", True), found
    there = file.read_text().splitlines()[int(line.split()[1]) - 1]
    assert any(part in there for part in where.partition(":")[0].split(".")), there
    assert (report.wrong >= wrong, report.warnings) == (True, 1 - wrong)
    assert ("1 warnings" in report.summary) is not wrong


def test_a_finding_of_the_linter_is_exit_1_and_a_warning_is_not(tmp_path: Path) -> None:
    new_plugin.write(tmp_path, "zz-new", code=False)
    edit(tmp_path / "zz-new" / CONTENT, "Thorax 2003;58:377-382", "Thorax 58:377-382")
    warned = command("test", "zz-new", cwd=tmp_path)
    assert (warned.returncode, "warning: no source with a year" in warned.stdout) == (0, True)
    edit(tmp_path / "zz-new" / CONTENT, SPO2, SPO2[:-2] + ', loinc = ["2708-7"] }')
    wrong = command("test", "zz-new", cwd=tmp_path)
    assert (wrong.returncode, wrong.stderr) == (1, "")
    assert "fact.spo2.loinc: error: 2708-7: its check digit is wrong: expected 2708-6" in wrong.stdout


def test_code_in_a_pack_and_compiled_code_are_found(tmp_path: Path) -> None:
    new_plugin.write(tmp_path, "zz-new", code=False)
    (tmp_path / "zz-new/zz_new/more.py").write_text("x = 1\n")
    (tmp_path / "zz-new/zz_new/blob").write_bytes(b"\x7fELF")
    report = trial.run(tmp_path / "zz-new")
    assert report.findings == ["zz_new/blob: compiled code", "zz_new/more.py: a pack has no code"]
    assert report.wrong == 2


def test_a_criterion_that_no_vignette_makes_true_is_shown(tmp_path: Path) -> None:
    import shutil

    new_plugin.write(tmp_path, "zz-new", code=False)
    shutil.rmtree(tmp_path / "zz-new/vignettes/V02")
    rows = {row["criterion"]: row for row in trial.run(tmp_path / "zz-new").coverage}
    assert (rows["hypoxaemia"]["true"], rows["hypoxaemia"]["exercised"]) == (0, "NOT both ways")
    shutil.rmtree(tmp_path / "zz-new/vignettes")
    report = trial.run(tmp_path / "zz-new")
    assert report.wrong == 1 and report.findings[0].startswith("no vignettes:")


def test_a_name_that_cannot_be_and_a_folder_that_is_there_are_refused(tmp_path: Path) -> None:
    for name in ("", "Zz", "9zz", "zz--a", "zz/../a", "zz a", "-zz", "z" * 41):
        with pytest.raises(UsageError):
            new_plugin.write(tmp_path, name, code=False)
    new_plugin.write(tmp_path, "zz", code=False)
    done = command("new", "zz", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (78, "umbridge: zz: is there already; nothing was changed\n")
    with pytest.raises(ConfigError):
        trial.run(tmp_path)


# --- the judge ------------------------------------------------------------------------------------------

LINE: dict[str, Any] = {
    "outcome": "PEND",
    "supported": "HOME",
    "subset": "cap",
    "missing": ["bun", "sbp"],
    "advise_higher": "UNKNOWN",
    "advise_missing": ["spo2"],
    "tags": ["PART2_SUD"],
    "scores": {"psi_class": "IV", "left": ("a", "b")},
    "basis": "BENCHMARK",
    "requested": {"status": "INPATIENT", "level": "ACUTE"},
}


@pytest.mark.parametrize(
    ("expected", "count"),
    [
        ({}, 0),
        ({"outcome": "PEND", "supported": "HOME", "subset": "cap"}, 0),
        ({"outcome": "MEETS"}, 1),
        ({"supported": None}, 1),
        ({"subset": "copd"}, 1),
        ({"missing": ["bun"], "missing_optional": ["sbp", "dbp"]}, 0),
        ({"missing": ["bun"]}, 1),
        ({"missing": ["bun", "sbp", "dbp"]}, 1),
        ({"missing": ["dbp"]}, 2),
        ({"advise_higher": "UNKNOWN", "advise_missing": ["spo2"]}, 0),
        ({"advise_missing": ["dbp"]}, 1),
        ({"tags": ["PART2_SUD"]}, 0),
        ({"tags": ["OTHER"]}, 1),
        ({"scores": {"psi_class": "IV", "left": ["b", "a"], "basis": "BENCHMARK"}}, 0),
        ({"scores": {"psi_class": "V", "psi": 1, "basis": "OTHER"}}, 3),
        ({"requested": {"status": "OBSERVATION", "level": "OBS"}}, 1),
        ({"subset": None}, 1),
    ],
    ids=range(17),
)
def test_a_result_is_compared_key_by_key(expected: dict[str, Any], count: int) -> None:
    assert len(differences(expected, LINE)) == count


def test_silence_is_as_good_as_not_applicable() -> None:
    assert differences({"subset": None, "outcome": "MEETS"}, {"outcome": "NOT_APPLICABLE"}) == []


def test_what_a_vignette_expects_of_another_plugin_stands_under_also() -> None:
    whole = {"plugin": "a", "outcome": "MEETS", "also": [{"plugin": "b", "outcome": "REFER"}]}
    assert expectation(whole, "a") == whole
    assert expectation(whole, "b") == {"plugin": "b", "outcome": "REFER"}
    assert expectation(whole, "c") is None


def golden(shared: Path, name: str, subsets: tuple[str, ...]) -> list[Path]:
    """The golden cases about a subset that this plugin has."""
    found = [path.parent for path in (shared / "vignettes/cases").glob("G*/expected.json")]
    whole = {folder: json.loads((folder / "expected.json").read_text()) for folder in found}
    return [folder for folder in found if (expectation(whole[folder], name) or {}).get("subset") in subsets]


@pytest.mark.parametrize("name", ["interqual_like", "mcg_like"])
def test_the_shipped_plugins_pass_the_golden_vignettes(shared: Path, name: str) -> None:
    """Judged as a trial judges; their content is linted, at greater length, by their own tests."""
    site = load_site(shared / "vignettes/site.toml")
    host = Remembering()
    host.start_these([in_folder(ROOT / "plugins" / name)])
    try:
        (info,) = host.plugins
        known = golden(shared, name, info.subsets)
        assert len(known) >= 5
        assert [each for f in known if (each := judge(f, name, host, site)).verdict != "ok"] == []
    finally:
        host.stop()


def test_a_shipped_plugin_that_misses_a_golden_vignette_is_seen(shared: Path, tmp_path: Path) -> None:
    host = Remembering()
    host.start_these([in_folder(ROOT / "plugins/mcg_like")])
    try:
        case = golden(shared, "mcg_like", host.plugins[0].subsets)[0]
        shutil.copytree(case, tmp_path / case.name)
        path = tmp_path / case.name / "expected.json"
        path.write_text(path.read_text().replace('"outcome": "', '"outcome": "ZZ_'))
        site = load_site(shared / "vignettes/site.toml")
        assert judge(path.parent, "mcg_like", host, site).verdict == "WRONG"
    finally:
        host.stop()

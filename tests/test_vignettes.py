"""The golden review cases, from their HL7 messages through ``umbridge screen``, as they list them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from umbridge.cli import main

CASES = [f"G{number:02}" for number in range(1, 25)]
#: Plugins held to the cases here; what a case says of others is theirs to test.
HELD = ("mcg_like", "two_midnight")
KEYS = ("outcome", "supported", "subset", "missing", "discharge_ready", "episode_day", "requested")


@pytest.mark.parametrize("name", CASES)
def test_each_plugin_answers_as_the_case_lists(shared: Path, name: str) -> None:
    folder = shared / "vignettes" / "cases" / name
    expected = json.loads((folder / "expected.json").read_text())
    words = ["screen", str(folder), "--site", str(shared / "vignettes/site.toml"), "--json"]
    done = CliRunner().invoke(main, [*words, "--as-of", expected["as_of"]])
    assert done.exit_code == 0, done.stderr
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    rows = [row for row in rows if row["review"] == expected["review"] and row["visit"] == expected["visit"]]
    found = {row["plugin"]: row for row in rows}
    assert len(found) == len(rows)
    seen = {key: value for row in rows for key, value in scores(row).items()}
    for want in (expected, *expected.get("also", ())):
        if want["plugin"] not in HELD:
            continue
        row = found[want["plugin"]]
        if want["subset"] is None:  # no subset for this diagnosis
            assert row["outcome"] == "NOT_APPLICABLE"
            continue
        listed = {key: want[key] for key in KEYS if key in want}
        assert {key: row.get(key) for key in listed} == listed
        assert {key: seen.get(key) for key in want.get("scores", {})} == want.get("scores", {})


def scores(row: dict[str, Any]) -> dict[str, Any]:
    """One case lists a score of another plugin beside its own, so they are looked up over all rows."""
    return {**row.get("scores", {}), **({"basis": row["basis"]} if row.get("basis") else {})}


def test_the_payers_rule_names_who_supports_the_need(shared: Path) -> None:
    """G24: both level-of-care sets refer, and the benchmark is met with what they support."""
    folder, site = shared / "vignettes/cases/G24", shared / "vignettes/site.toml"
    done = CliRunner().invoke(main, ["screen", str(folder), "--site", str(site), "--json"])
    rows = {row["plugin"]: row for row in map(json.loads, done.stdout.splitlines())}
    told = [each for each in rows["two_midnight"]["evidence"] if each["fact"] == "level_supported"]
    assert [(each["value"], each["from"]) for each in told] == [("OBS", "plugin:mcg_like")]
    alone = CliRunner().invoke(
        main, ["screen", str(folder), "--site", str(site), "--json", "--plugin", "two_midnight"]
    )
    (row,) = [json.loads(line) for line in alone.stdout.splitlines()]
    assert row["outcome"] == "PEND"
    assert "level_supported" in row["missing"]

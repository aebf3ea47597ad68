"""Golden cases from their messages through the command: strictly as listed, and the same in other units."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from umbridge import SEEN_ONLY
from umbridge.commands.main import main
from umbridge.dryrun.screen import Shadow, read_files
from umbridge.dryrun.vignettes import differences
from umbridge.screening.host import Host
from umbridge.settings.site import load_site

CASES = ["G19", "G21", "G24"]  # the main cases of these plugins; all others are in test_golden
#: Plugins held to the cases here.
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


#: Clinical cases about a review; those about a stay (54 to 62) are in test_alarms, and 63 is below.
REVIEWS = [f"U{number:02d}" for number in (*range(1, 54), 64)]
STAYS = [f"U{number:02d}" for number in range(54, 64)]
TOLD = (
    "outcome",
    "missing",
    "advise_higher",
    "episode_day",
    "avoidable_day",
    "avoidable_attribution",
    "requested",
)


def screened(folder: Path, expected: dict[str, Any], *more: str) -> list[dict[str, Any]]:
    """The lines of ``screen --json``."""
    words = ["screen", str(folder), "--site", str(folder.parents[1] / expected["site"]), "--json", *more]
    done = CliRunner().invoke(main, [*words, "--as-of", expected["as_of"]])
    assert done.exit_code == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.fixture(scope="module")
def host() -> Iterator[Host]:
    """One for all cases, as a daemon has it: starting the plugins takes ten times as long as asking them."""
    found = Host(call_seconds=60.0)
    found.start()
    yield found
    found.stop()


def asked(host: Host, folder: Path, expected: dict[str, Any]) -> list[dict[str, Any]]:
    """What ``screened`` gives, of plugins that run already."""
    site = load_site(folder.parents[1] / expected["site"])
    told = Shadow(site)
    for _, message in read_files([str(folder)]):
        told.take(message)
    moment = datetime.fromisoformat(expected["as_of"])
    lines = told.screen(host, moment if moment.tzinfo else moment.replace(tzinfo=site.zone))
    found: list[dict[str, Any]] = json.loads(json.dumps(lines))
    return found


@pytest.mark.parametrize("name", [REVIEWS[0], REVIEWS[-1]])
def test_the_command_gives_what_running_plugins_give(shared: Path, host: Host, name: str) -> None:
    folder = shared / "vignettes" / "cases" / name
    expected = json.loads((folder / "expected.json").read_text())
    assert screened(folder, expected) == asked(host, folder, expected)


def test_no_clinical_case_is_left_out(shared: Path) -> None:
    found = {path.name: json.loads((path / "expected.json").read_text()) for path in cases(shared)}
    assert [name for name, each in sorted(found.items()) if each["kind"] == "review"] == REVIEWS
    assert [name for name, each in sorted(found.items()) if each["kind"] != "review"] == STAYS


def cases(shared: Path) -> list[Path]:
    return sorted((shared / "vignettes" / "cases").glob("U*"))


@pytest.mark.parametrize("name", REVIEWS)
def test_the_clinical_cases_are_answered_as_listed(shared: Path, host: Host, name: str) -> None:
    folder = shared / "vignettes" / "cases" / name
    expected = json.loads((folder / "expected.json").read_text())
    rows = [row for row in asked(host, folder, expected) if row["visit"] == expected["visit"]]
    found = {row["plugin"]: row for row in rows if row["review"] == expected["review"]}
    for want in (expected, *expected.get("also", ())):
        row = found[want["plugin"]]
        assert {key: row.get(key) for key in TOLD if key in want} == {
            key: want[key] for key in TOLD if key in want
        }
        if want["subset"] is not None or row["outcome"] not in ("NOT_APPLICABLE", "PEND"):
            assert row["subset"] == want["subset"]
        if want["outcome"] != "PEND" and want.get("supported") is not None:
            assert row["supported"] == want["supported"]
        if "discharge_ready" in want:
            is_open = want["discharge_ready"] == "UNKNOWN"
            assert row.get("discharge_ready") == (None if is_open else want["discharge_ready"])
        if "missing_any" in want:
            assert set(want["missing_any"]) & set(row["missing"])
        if "review_state" in want:
            assert row["closes"] is (want["review_state"] == "closed")
        assert set(want.get("hold", ())) <= set(row["hold"])
        given = scores(row)
        for key, value in want.get("scores", {}).items():
            if key in given or not key.endswith(("_min", "_max")):  # bounds are told while they differ
                assert given[key] == value


def test_a_critical_result_that_is_told_late_is_shown_on_its_stay(shared: Path) -> None:
    folder = shared / "vignettes" / "cases" / "U63"
    expected = json.loads((folder / "expected.json").read_text())
    (stay,) = screened(folder, expected, "--stays")
    assert stay["exceptions"] == expected["exceptions"]
    (listed,) = expected["stays"]
    assert {key: stay[key] for key in listed} == listed


#: Units that mean the same exactly, and what the number is then multiplied by (or the degrees made of it).
OTHER_UNITS = {
    "g/dL": ("g/L", Decimal(10)),
    "mm[Hg]": ("mmHg", Decimal(1)),
    "/min": ("{beats}/min", Decimal(1)),
    "10*3/uL": ("/uL", Decimal(1000)),
    "mmol/L": ("meq/L", Decimal(1)),
    "Cel": ("[degF]", Decimal(0)),
}
#: Codes whose fact lists the unit above: breaths are not beats, and ketones come in one unit only.
NOT_SO = {"9279-1", "6873-4", "32693-4", "2518-9", "3094-0", "22664-7", "2345-7"}


def in_other_units(message: bytes) -> tuple[bytes, int]:
    """Each number that has another unit, sent in that; how many were changed."""
    changed, lines = 0, []
    for line in message.decode().split("\r"):
        fields = line.split("|")
        if fields[0] == "OBX" and fields[2] == "NM" and fields[3].partition("^")[0] not in NOT_SO:
            unit, factor = OTHER_UNITS.get(fields[6].partition("^")[0], ("", Decimal(0)))
            value = Decimal(fields[5]) if unit else Decimal(0)
            if unit:
                fields[5] = str(value * factor if factor else value * Decimal("1.8") + 32)
                fields[6] = f"{unit}^{unit}^UCUM"
                changed += 1
        lines.append("|".join(fields))
    return "\r".join(lines).encode(), changed


def test_units_change_nothing(shared: Path) -> None:
    """The same patients in other units: every plugin's result is the same, evidence and all."""
    site, host, changed = load_site(shared / "vignettes/site.toml"), Host(call_seconds=60.0), 0
    host.start()
    try:
        for name in ("G01", "G07", "G08", "G11", "G18"):
            told, other = Shadow(site), Shadow(site)
            for _, message in read_files([str(shared / "vignettes/cases" / name)]):
                told.take(message)
                converted, count = in_other_units(message)
                other.take(converted)
                changed += count
            assert plain(other.screen(host, None)) == plain(told.screen(host, None)), name
    finally:
        host.stop()
    assert changed >= 20


def plain(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """9.60 is 9.6."""
    for each in (each for row in rows for each in row["evidence"]):
        with suppress(InvalidOperation):
            each["value"] = str(Decimal(each["value"]).normalize())
    return rows


def scores(row: dict[str, Any]) -> dict[str, Any]:
    """One case lists a score of another plugin beside its own, so they are looked up over all rows."""
    return {**row.get("scores", {}), **({"basis": row["basis"]} if row.get("basis") else {})}


def test_the_payers_rule_names_who_supports_the_need(shared: Path) -> None:
    """G24: both level-of-care sets refer, and the benchmark is met with what they support."""
    folder, site = shared / "vignettes/cases/G24", shared / "vignettes/site.toml"
    done = CliRunner().invoke(main, ["screen", str(folder), "--site", str(site), "--json"])
    rows = {row["plugin"]: row for row in map(json.loads, done.stdout.splitlines())}
    told = [each for each in rows["two_midnight"]["evidence"] if each["fact"] == "level_supported"]
    assert [(each["value"], each["from"]) for each in told] == [("OBS", f"plugin:mcg_like{SEEN_ONLY}")]
    said = rows["two_midnight"]  # a congestion that was seen meets the rule, and a person has to see it
    assert (said["outcome"], said["hold"], said["closes"]) == ("MEETS", ["NO_MEASURED_FACT"], False)
    alone = CliRunner().invoke(
        main, ["screen", str(folder), "--site", str(site), "--json", "--plugin", "two_midnight"]
    )
    (row,) = [json.loads(line) for line in alone.stdout.splitlines()]
    assert row["outcome"] == "PEND"
    assert "level_supported" in row["missing"]


@pytest.mark.parametrize("plugin", ["mcg_like", "two_midnight"])
def test_a_bundled_plugin_passes_the_check_its_authors_are_told_to_run(plugin: str) -> None:
    """Its repository as it lies, with the vignettes that come with it."""
    done = CliRunner().invoke(main, ["plugins", "test", str(Path(__file__).parents[1] / "plugins" / plugin)])
    assert done.exit_code == 0, done.stdout
    assert "nothing is wrong" in done.stdout
    assert " 0 vignettes" not in done.stdout


@pytest.mark.parametrize(
    ("said", "wrong"),
    [
        ({}, []),
        ({"hold": ["AGE_ONLY", "ZZ_KEPT"], "closes": False}, []),
        ({"hold": ["AGE_ONLY"]}, ["hold is ['AGE_ONLY', 'ZZ_KEPT'], expected ['AGE_ONLY']"]),
        ({"hold": []}, ["hold is ['AGE_ONLY', 'ZZ_KEPT'], expected []"]),
        ({"closes": True}, ["closes is False, expected True"]),
    ],
)
def test_a_vignette_may_say_what_holds_and_whether_it_closes(said: Any, wrong: list[str]) -> None:
    line: Any = {"outcome": "MEETS", "hold": ["ZZ_KEPT", "AGE_ONLY"], "closes": False}
    assert differences(said, line) == wrong

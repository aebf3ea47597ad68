"""The golden vignettes, from their HL7 messages through the shadow run beside the other installed plugins."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from umbridge import shadow
from umbridge.criteria.host import Host
from umbridge.site import load_site

SHARED = Path(__file__).parents[4] / "shared" / "vignettes"
NAME = "two_midnight"


@pytest.fixture(scope="module")
def screened() -> dict[str, tuple[dict[str, Any], list[dict[str, Any]]]]:
    """Every review vignette, with all rows of its review."""
    if not SHARED.is_dir():
        pytest.skip("the shared vignettes are not beside this repository")
    site = load_site(SHARED / "site.toml")

    def run() -> dict[str, tuple[dict[str, Any], list[dict[str, Any]]]]:
        host, found = Host(), {}
        host.start()
        try:
            for path in sorted((SHARED / "cases").glob("G*/expected.json")):
                expected = json.loads(path.read_text())
                stays = shadow.Shadow(site)
                for _, message in shadow.read_files([str(path.parent)]):
                    stays.take(message)
                rows = stays.screen(host, datetime.fromisoformat(expected["as_of"]))
                found[expected["id"]] = (expected, [r for r in rows if r["review"] == expected["review"]])
        finally:
            host.stop()
        return found

    return run()


def test_every_vignette_that_names_it_is_answered_as_listed(
    screened: dict[str, tuple[dict[str, Any], list[dict[str, Any]]]],
) -> None:
    named = 0
    for name, (expected, rows) in screened.items():
        listed = [each for each in (expected, *expected.get("also", [])) if each["plugin"] == NAME]
        for want in listed:
            named += 1
            (row,) = [each for each in rows if each["plugin"] == NAME]
            assert (row["outcome"], row["subset"]) == (want["outcome"], want["subset"]), name
            assert row["supported"] == want.get("supported"), name
            assert row["missing"] == want.get("missing", []), name
    assert named == 23  # all but G20, which is a later day


@pytest.mark.parametrize("name", ["G19", "G24"])
def test_medicare_by_the_benchmark(
    screened: dict[str, tuple[dict[str, Any], list[dict[str, Any]]]], name: str
) -> None:
    expected, rows = screened[name]
    scores = {key: value for row in rows for key, value in row.get("scores", {}).items()}
    (own,) = [row for row in rows if row["plugin"] == NAME]
    assert {key: scores[key] for key in expected["scores"]} == expected["scores"]
    assert own["basis"] == "BENCHMARK"
    assert {e["from"] for e in own["evidence"] if e["fact"] == "level_supported"} <= {
        "plugin:interqual_like",
        "plugin:mcg_like",
    }


def test_asked_alone_it_says_that_nobody_judged_the_need() -> None:
    if not SHARED.is_dir():
        pytest.skip("the shared vignettes are not beside this repository")

    def run() -> list[dict[str, Any]]:
        host, stays = Host(), shadow.Shadow(load_site(SHARED / "site.toml"))
        for _, message in shadow.read_files([str(SHARED / "cases/G19")]):
            stays.take(message)
        host.start([NAME])
        try:
            return stays.screen(host, None)
        finally:
            host.stop()

    (row,) = run()
    assert row["outcome"] == "PEND"
    assert "level_supported" in row["missing"]

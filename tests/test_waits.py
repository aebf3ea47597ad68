"""A wait that is told on a later day, from messages to page: a delay of care, and midnights of none."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from umbridge.commands import sample
from umbridge.commands.main import main

ARRIVED = datetime(2026, 3, 2, 22, 0, tzinfo=UTC)  # five in the afternoon of the hospital's day
MEDICARE = (b"ZZPPO^ZZ Sample PPO|ZZPPO01^^^UMBH", b"MCRAB^ZZ Medicare|MCRAB^^^UMBH")


def later(hours: float, number: int, values: tuple[tuple[str, ...], ...]) -> bytes:
    """Another report of the sample stay."""
    maker = sample._Maker(0, sample.PNEUMONIA, ARRIVED + sample.ZONE)
    maker._count = 90 + number
    return maker._results(int(hours * 60), "LATER^Later^99UMB", values)


def barrier(code: str, hours: float) -> bytes:
    return later(hours, 9, (("UMB-DCBARR", code),))


def screened(folder: Path, feed: list[bytes], hours: float) -> tuple[list[dict[str, Any]], str]:
    for number, message in enumerate(feed):
        (folder / f"{number:02d}.hl7").write_bytes(message)
    when = (ARRIVED + timedelta(hours=hours)).isoformat()
    said = []
    for words in (("--json",), ()):
        done = CliRunner().invoke(main, ["screen", str(folder), "--as-of", when, *words])
        assert done.exit_code == 0, done.output
        said.append(done.stdout)
    return [json.loads(line) for line in said[0].splitlines()], " ".join(said[1].split())


@pytest.mark.parametrize("code", ["RESULT", "PROCEDURE", "SNF_BED"])
def test_a_day_that_still_meets_and_waits_for_care_is_a_delay_on_the_page(tmp_path: Path, code: str) -> None:
    ill = [later(40, 1, sample.PNEUMONIA.vitals), later(40.2, 2, sample.PNEUMONIA.labs)]
    found, page = screened(
        tmp_path, [*sample.stay(0, ARRIVED, sample.PNEUMONIA), *ill, barrier(code, 41)], 42
    )
    days = [each for each in found if each["review"] == "CONTINUED_STAY" and each["outcome"] == "MEETS"]
    assert {each["plugin"] for each in days} >= {"interqual_like"}
    for each in days:
        is_delay = code != "SNF_BED"
        assert each.get("scores", {}).get("delay") == (code if is_delay else None)
        assert each.get("avoidable_day") is None
    assert page.count("Candidate for a delay, not for an avoidable day") == (
        len(days) if code != "SNF_BED" else 0
    )


@pytest.mark.parametrize("code", ["SNF_BED", ""])
def test_midnights_received_close_nothing_once_somebody_says_that_the_patient_waited(
    tmp_path: Path, code: str
) -> None:
    """Nobody documented an expectation: on the third day the benchmark is met by what was received."""
    feed = [
        each.replace(*MEDICARE).replace(b"||COM|", b"||MCR|")
        for each in sample.stay(0, ARRIVED, sample.PNEUMONIA)
    ]
    if code:
        feed.append(barrier(code, 41))
    found, page = screened(tmp_path, feed, 42)
    (rule,) = [each for each in found if (each["review"], each["plugin"]) == ("ADMISSION", "two_midnight")]
    assert (rule["outcome"], rule["scores"]["midnights_so_far"]) == ("MEETS", 2)
    assert (rule["hold"], rule["closes"]) == ((["WAITS_FOR_A_PLACE"], False) if code else ([], True))
    assert ("The patient waits for a bed in a nursing facility" in page) is bool(code)

"""The golden vignettes, from their canonical facts: what this plugin must answer, exactly.

Reads shared material beside the repository when it is there and skips, saying so, when it is not. The
repository's own tests put the same cases through every plugin from their messages.
"""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest
import umbridge_mcg_like as plugin
from umbridge_kit.testing import vignette, vignette_case

from umbridge import Case, Outcome

CASES = Path(__file__).parents[4] / "shared" / "vignettes" / "cases"
NAMED = ("G01", "G02", "G03", "G04", "G05", "G06", "G07", "G08", "G11", "G18", "G20", "G22", "G24")


def asked(name: str) -> Case:
    expected = vignette(CASES / name)
    here = expected if expected["plugin"] == plugin.NAME else None
    here = here or next((also for also in expected["also"] if also["plugin"] == plugin.NAME), expected)
    return vignette_case(plugin.LIBRARY, expected, here["subset"])


@pytest.mark.parametrize("name", NAMED)
def test_the_vignette_is_answered_as_listed_beside_the_other_plugin(name: str) -> None:
    here = next(also for also in vignette(CASES / name)["also"] if also["plugin"] == plugin.NAME)
    result = plugin.umbridge_screen(asked(name))
    assert result.outcome == here["outcome"]
    assert result.subset == here["subset"]
    assert result.supported is not None
    assert result.supported.name == here["supported"]
    if "discharge_ready" in here:
        assert result.discharge_ready is here["discharge_ready"]
    assert result.missing == ()
    assert result.rationale


def test_a_pneumonia_without_laboratory_pends_here_too() -> None:
    expected = vignette(CASES / "G17")
    result = plugin.umbridge_screen(asked("G17"))
    assert result.outcome is Outcome.PEND
    assert set(expected["missing"]) <= set(result.missing)
    assert set(result.missing) <= set(expected["missing"]) | set(expected["missing_optional"])


@pytest.mark.parametrize(("name", "failing"), [("G02", ("temperature",)), ("G21", ("pef_percent",))])
def test_observation_that_has_run_opens_the_second_way_in(name: str, failing: tuple[str, ...]) -> None:
    before = plugin.umbridge_screen(replace(asked(name), observation_hours=Decimal("23.9")))
    after = plugin.umbridge_screen(replace(asked(name), observation_hours=Decimal(26)))
    ended = plugin.umbridge_screen(replace(asked(name), observation_hours=Decimal(2), observation_ended=True))
    assert (before.outcome, after.outcome, ended.outcome) == (Outcome.REFER, Outcome.MEETS, Outcome.MEETS)
    assert after.basis == after.scores["basis"] == "PERSISTING_AFTER_OBSERVATION"
    assert after.scores["observation_discharge_false"] == failing


def test_a_vignette_with_no_facts_pends() -> None:
    result = plugin.umbridge_screen(replace(asked("G02"), facts={}))
    assert result.outcome is Outcome.PEND
    assert "age" in result.missing
    assert result.evidence == ()

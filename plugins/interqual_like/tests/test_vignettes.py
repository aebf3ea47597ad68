"""The golden vignettes, from their canonical facts: what this plugin must answer, exactly.

Reads shared material beside the repository when it is there and skips, saying so, when it is not.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import umbridge_interqual_like as plugin
from umbridge_kit.testing import vignette, vignette_case

from umbridge import Case, Outcome

CASES = Path(__file__).parents[4] / "shared" / "vignettes" / "cases"
MAIN = [f"G{n:02d}" for n in range(1, 25) if n not in (19, 21, 24)]  # those are about another plugin first


def asked(name: str) -> Case:
    expected = vignette(CASES / name)
    return vignette_case(plugin.LIBRARY, expected, expected["subset"])


@pytest.mark.parametrize("name", MAIN)
def test_the_vignette_is_answered_exactly(name: str) -> None:
    expected = vignette(CASES / name)
    result = plugin.umbridge_screen(asked(name))
    assert result.outcome == expected["outcome"]
    assert result.subset == expected["subset"]
    assert result.supported is not None
    assert result.supported.name == expected["supported"]
    assert set(expected["missing"]) <= set(result.missing)
    assert set(result.missing) <= set(expected["missing"]) | set(expected.get("missing_optional", ()))
    assert {key: result.scores[key] for key in expected.get("scores", {})} == expected.get("scores", {})
    assert result.avoidable_day == expected["avoidable_day"]
    if "avoidable_attribution" in expected:
        assert result.avoidable_attribution == expected["avoidable_attribution"]
        assert result.discharge_ready is expected["discharge_ready"]
    assert result.tags == tuple(expected.get("tags", ()))
    assert result.digest.startswith("sha256:")
    assert result.rationale
    assert (result.missing == ()) == (result.outcome is not Outcome.PEND)


def test_copd_waits_for_the_oxygen_fraction_before_it_rules_out_a_higher_level() -> None:
    result = plugin.umbridge_screen(asked("G03"))
    assert result.advise_higher == "UNKNOWN"
    assert "fio2" in result.advise_missing


def test_a_vignette_with_no_facts_pends() -> None:
    case = replace(asked("G02"), facts={})
    result = plugin.umbridge_screen(case)
    assert result.outcome is Outcome.PEND
    assert "age" in result.missing
    assert result.evidence == ()

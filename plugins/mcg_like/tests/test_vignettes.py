"""The golden vignettes, from their canonical facts: what this plugin must answer, exactly.

Reads shared material beside the repository when it is there and skips, saying so, when it is not.
"""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import umbridge_mcg_like as plugin

from umbridge import Case, Level, Outcome, Reading, ReviewType, Sample, Status

CASES = Path(__file__).parents[4] / "shared" / "vignettes" / "cases"
PRINCIPAL = {"cap": "J18.9", "copd": "J44.1", "upper_gi_bleed": "K92.1"}
TREATMENTS = (  # closed world: no active order means N
    *("mechanical_ventilation", "vasopressor", "niv", "o2_therapy"),
    *("iv_anti_infective", "oral_antibiotic", "iv_fluids"),
)
UNITS = {
    fact: spec.unit for subset in plugin.LIBRARY.subsets.values() for fact, spec in subset.rules.facts.items()
}


def load(name: str) -> dict[str, Any]:
    path = CASES / name / "expected.json"
    if not path.exists():
        pytest.skip("the shared vignettes are not beside this repository")
    found: dict[str, Any] = json.loads(path.read_text(), parse_float=Decimal)
    return found


def case_of(expected: dict[str, Any]) -> Case:
    as_of = datetime.fromisoformat(expected["as_of"])
    values = dict.fromkeys(TREATMENTS, False) | expected["facts"]
    if "spo2_room_air" in values:  # a room-air reading counts as a saturation too
        values.setdefault("spo2", values["spo2_room_air"])
    facts = {}
    for fact, value in values.items():
        number = Decimal(value) if isinstance(value, int) and not isinstance(value, bool) else value
        sample = Sample(number, as_of, "ZZ1 OBX[1]-5", UNITS.get(fact, ""))
        facts[fact] = Reading(fact, sample, sample, sample, (sample,))
    return Case(
        pseudonym="zz",
        review=ReviewType(expected["review"]),
        requested_status=Status(expected["requested"]["status"]),
        requested_level=Level[expected["requested"]["level"]],
        as_of=as_of,
        episode_day=expected.get("episode_day", 1),
        diagnoses=(PRINCIPAL[expected["subset"]],),
        payer_class=expected["payer_class"],
        observation_hours=None,
        observation_ended=False,
        facts=facts,
    )


@pytest.mark.parametrize("name", ["G01", "G02", "G03", "G07", "G18", "G20", "G22"])
def test_the_vignette_is_answered_as_listed_beside_the_other_plugin(name: str) -> None:
    expected = load(name)
    here = next(also for also in expected["also"] if also["plugin"] == plugin.NAME)
    result = plugin.umbridge_screen(case_of(expected))
    assert result.outcome == here["outcome"]
    assert result.subset == here["subset"]
    assert result.supported is not None
    assert result.supported.name == here["supported"]
    if "discharge_ready" in here:
        assert result.discharge_ready is here["discharge_ready"]
    assert result.missing == ()
    assert result.rationale


def test_a_pneumonia_without_laboratory_pends_here_too() -> None:
    expected = load("G17")
    result = plugin.umbridge_screen(case_of(expected))
    assert result.outcome is Outcome.PEND
    assert set(expected["missing"]) <= set(result.missing)
    assert set(result.missing) <= set(expected["missing"]) | set(expected["missing_optional"])


def test_observation_that_has_run_opens_the_second_way_in() -> None:
    case = case_of(load("G02"))
    before = plugin.umbridge_screen(case)
    after = plugin.umbridge_screen(replace(case, observation_hours=Decimal(26)))
    assert (before.outcome, after.outcome) == (Outcome.REFER, Outcome.MEETS)
    assert after.basis == after.scores["basis"] == "PERSISTING_AFTER_OBSERVATION"
    assert after.scores["observation_discharge_false"] == ("temperature",)


def test_a_vignette_with_no_facts_pends() -> None:
    case = replace(case_of(load("G02")), facts={})
    result = plugin.umbridge_screen(case)
    assert result.outcome is Outcome.PEND
    assert "age" in result.missing
    assert result.evidence == ()

"""Situations from public reports: a value that was not read, and nobody was told.

The messages lie beside the repository; where they do not, these tests say so and skip.
``tests/test_values.py`` holds the same kinds with other values.
"""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest

from umbridge.hl7.er7 import parse
from umbridge.hl7.translate import translate
from umbridge.model import Observation
from umbridge.settings.site import default_site
from umbridge.stay.facts import Fact, Unusable, read
from umbridge.stay.reasons import Reason
from umbridge.stay.unused import unused

FIELD = Path(__file__).parents[1] / "../shared/field"
pytestmark = pytest.mark.skipif(
    not FIELD.is_dir(), reason="the shared field cases are not beside this repository"
)
SITE = default_site()


def observations(folder: str) -> list[Observation]:
    """Every OBX of a case, in the order of its files."""
    paths = sorted((FIELD / folder).glob("*.hl7"))
    assert paths, folder
    return [each for path in paths for each in translate(parse(path.read_bytes()), SITE.zone).observations]


def facts(folder: str) -> dict[str, object]:
    """What a case's OBX come to, by fact; none may be left unread."""
    found = [read(each, SITE) for each in observations(folder)]
    assert all(isinstance(each, Fact) for each in found), found
    return {each.fact: each.value for each in found if isinstance(each, Fact)}


@pytest.mark.parametrize("case", ["a1_sn_plain", "a1_sn_eq"])
def test_f07_sn_plain(case: str) -> None:
    assert facts(f"F07_SN_plain/{case}")["sodium"] == Decimal(122)


@pytest.mark.parametrize("case", ["a1_st_num", "a1_no_type"])
def test_f08_st_number(case: str) -> None:
    assert facts(f"F08_ST_number/{case}")["sodium"] == Decimal(122)


@pytest.mark.parametrize("case", ["k1_yes_ST", "k1_yes_words"])
def test_f08_yes(case: str) -> None:
    assert facts(f"F08_ST_number/{case}")["appears_unwell"] is True


def test_f09_units() -> None:
    sent = observations("F09_units/i1_units")
    assert len(sent) == 53
    found = [(each.unit, read(each, SITE)) for each in sent]
    not_read = [(unit, one) for unit, one in found if not isinstance(one, Fact)]
    # the unit is known; a creatinine of 1.1 umol/L is a number that nobody has, as it is one of mg/dL
    assert {(unit, one.fact, one.reason) for unit, one in not_read if isinstance(one, Unusable)} == {
        (unit, "creatinine", Reason.IMPOSSIBLE) for unit in ("umol/L", "µmol/L")
    }
    for path in sorted((FIELD / "F09_units/i1_units").glob("*.hl7")):
        event = translate(parse(path.read_bytes()), SITE.zone)
        said = [one.reason for one in unused(event, SITE) if one.field.startswith("OBX")]
        assert [reason for reason in said if reason != Reason.IMPOSSIBLE.value] == []


def test_f32_highlight() -> None:
    assert facts("F32_highlight/k1_highlight")["sodium"] == Decimal(122)

"""The kit's checks on this plugin's content, and what only this plugin promises."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import umbridge_interqual_like as plugin

from umbridge import Level, Outcome, ReviewType
from umbridge.linter import lint
from umbridge.specimens import Value, case
from umbridge.testing import CriteriaKit

SUBSETS = list(plugin.LIBRARY.subsets.values())


class TestContent(CriteriaKit):
    plugin = plugin
    library = plugin.LIBRARY


def test_the_linter_finds_nothing() -> None:
    assert [str(found) for found in lint(Path(plugin.__file__).with_name("content"))] == []


def test_every_subset_answers_what_it_has_rules_for_and_nothing_else() -> None:
    """A retrospective review by the rules of the admission that it looks back at."""
    for subset in SUBSETS:
        for review in ReviewType:
            result = plugin.umbridge_screen(case(plugin.LIBRARY, subset, {}, review=review))
            planned = "prospective.OBS" in subset.rules.rules
            has_content = review is not ReviewType.PROSPECTIVE or planned
            assert (result.outcome is Outcome.PEND) is has_content, (subset.id, review)


def test_nobody_is_screened_for_home() -> None:
    result = plugin.umbridge_screen(case(plugin.LIBRARY, SUBSETS[0], {}, Level.HOME))
    assert result.outcome is Outcome.NOT_APPLICABLE


def test_the_fallback_takes_what_no_subset_covers_and_leaves_out_what_needs_content_of_its_own() -> None:
    found = {
        code: plugin.LIBRARY.match((code,)) for code in ("N39.0", "R07.0", "O80", "Z38.00", "F32.9", "P07.3")
    }
    assert [subset and subset.id for subset in found.values()] == ["general_medical"] * 2 + [None] * 4
    withdrawal = plugin.LIBRARY.match(("F10.231",))
    assert withdrawal is not None
    assert withdrawal.id == "alcohol_withdrawal"


def test_substance_use_content_is_tagged_whatever_the_answer() -> None:
    for subset in SUBSETS:
        for level in (Level.OBS, Level.ACUTE):
            result = plugin.umbridge_screen(case(plugin.LIBRARY, subset, {}, level))
            assert result.tags == (("PART2_SUD",) if subset.id == "alcohol_withdrawal" else ())


def test_a_lower_level_that_is_still_open_is_said_with_a_referral() -> None:
    """HEART 2 to 4: too low for ACUTE, and whether it is enough for OBS hangs on the history."""
    chest = next(subset for subset in SUBSETS if subset.id == "chest_pain")
    known: dict[str, Value] = dict.fromkeys(chest.rules.facts, False) | {
        **{"age": Decimal(50), "heart_ecg_score": Decimal(0), "cad_risk_factor_count": Decimal(1)},
        **{"troponin_ratio": Decimal("0.4"), "sbp": Decimal(130)},
    }
    del known["heart_history_score"]
    result = plugin.umbridge_screen(case(plugin.LIBRARY, chest, known, Level.ACUTE))
    assert (result.outcome, result.supported) == (Outcome.REFER, Level.HOME)
    assert result.scores["supported_max"] == "OBS"
    low = plugin.umbridge_screen(
        case(plugin.LIBRARY, chest, known | {"heart_history_score": Decimal(0)}, Level.ACUTE)
    )
    assert (low.outcome, low.scores.get("supported_max")) == (Outcome.REFER, None)


def test_the_disclaimer_says_whose_it_is_not() -> None:
    manifest = plugin.umbridge_manifest()
    assert manifest.name == plugin.NAME
    assert "Not affiliated" in manifest.disclaimer
    assert "no proprietary text" in manifest.disclaimer


def test_the_marks_are_named_nowhere_but_in_the_disclaimer() -> None:
    for subset in SUBSETS:
        words = [subset.title, *subset.citations.values()]
        words += [criterion.title + criterion.note for criterion in subset.rules.criteria.values()]
        assert not any(mark in text for text in words for mark in ("InterQual", "MCG", "Milliman"))

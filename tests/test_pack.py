"""A criteria pack's answers: the same as those of the code plugin that goes by the same content."""

from __future__ import annotations

import shutil
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from itertools import product
from pathlib import Path

import pytest
import umbridge_interqual_like as plugin
from conftest import ROOT
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from umbridge_kit.boundary_patients import AT, Value, case
from umbridge_kit.testing import patients

from umbridge.criteria.content import BARRIER
from umbridge.criteria.pack import Pack
from umbridge.model import Reading, Sample
from umbridge.values.kinds import Level, Outcome, ReviewType

CONTENT = ROOT / "plugins/interqual_like/umbridge_interqual_like/content"


@pytest.fixture(scope="module")
def pack(tmp_path_factory: pytest.TempPathFactory) -> Pack:
    folder = tmp_path_factory.mktemp("pack")
    shutil.copytree(CONTENT, folder / "content")
    (folder / "pack.toml").write_text('version = "1"\ndisclaimer = "ZZ"\n')
    return Pack("zz", folder)


def test_every_answer_from_a_tagged_file_carries_its_tags(pack: Pack) -> None:
    """42 CFR part 2: whatever the review, level and facts; an untagged answer names the subset to all."""
    tagged = [subset for subset in pack.content.library.subsets.values() if subset.tags]
    assert [(subset.id, subset.tags) for subset in tagged] == [("alcohol_withdrawal", ("PART2_SUD",))]
    known: tuple[dict[str, Value], ...] = ({}, {"vasopressor": True})
    for subset, level, review, values in product(tagged, Level, ReviewType, known):
        question = case(pack.content.library, subset, values, level, review=review)
        for asked in (question, replace(question, facts={})):  # the second without an age
            result = pack.umbridge_screen(asked)
            assert (result.subset, result.tags) == (subset.id, subset.tags), (level, review)


def test_a_refusal_before_the_subset_is_asked_does_not_say_which_it_would_have_been(pack: Pack) -> None:
    """The age or the day is wrong: no subset answers, so nothing would carry its tags."""
    young = Sample(Decimal(3), AT, "PID-7")
    for subset in pack.content.library.subsets.values():
        for refused in (
            replace(case(pack.content.library, subset, {}), as_of=datetime(1999, 1, 1, tzinfo=UTC)),
            replace(
                case(pack.content.library, subset, {}), facts={"age": Reading("age", young, young, young)}
            ),
        ):
            result = pack.umbridge_screen(refused)
            assert (result.outcome, result.subset) == (Outcome.NOT_APPLICABLE, None)
            assert subset.id not in result.rationale
            assert subset.title not in result.rationale


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_a_pack_answers_as_the_plugin_with_the_same_content(pack: Pack, data: st.DataObject) -> None:
    """Tags, ceiling, barrier, scores and words: one engine, so not a byte differs."""
    subset, values = data.draw(patients(pack.content.library))
    kept = {fact: value for fact, value in values.items() if data.draw(st.booleans())}
    level, review = data.draw(st.sampled_from(list(Level))), data.draw(st.sampled_from(list(ReviewType)))
    question = case(pack.content.library, subset, kept, level, review=review)
    barrier = Sample(data.draw(st.sampled_from(sorted(subset.avoidable) or ["ZZ"])), AT, "ZZ1 OBX[1]-5")
    facts = dict(question.facts)
    if data.draw(st.booleans()):
        facts[BARRIER] = Reading(BARRIER, barrier, barrier, barrier, (barrier,))
    if data.draw(st.booleans()):
        facts.pop("age", None)
    question = replace(question, facts=facts)
    assert repr(pack.umbridge_screen(question)) == repr(plugin.umbridge_screen(question))


def test_a_pack_says_how_high_what_is_supported_could_still_come_out(pack: Pack) -> None:
    """HEART 2 to 4: too low for ACUTE, and whether it is enough for OBS hangs on the history."""
    chest = pack.content.library.subsets["chest_pain"]
    known: dict[str, Value] = dict.fromkeys(chest.rules.facts, False) | {
        **{"age": Decimal(50), "heart_ecg_score": Decimal(0), "cad_risk_factor_count": Decimal(1)},
        **{"troponin_ratio": Decimal("0.4"), "sbp": Decimal(130)},
    }
    del known["heart_history_score"]
    result = pack.umbridge_screen(case(pack.content.library, chest, known, Level.ACUTE))
    assert (result.outcome, result.scores["supported_max"]) == (Outcome.REFER, "OBS")


SMALL = """
format = 1
id = "zz"
title = "ZZ"
edition = "1"
effective_from = 2020-01-01
age_from = 18
icd10 = ["J18"]

[citation]
ours = "ZZ"

[fact]
hypoxia = { kind = "boolean" }

[criterion.sick]
title = "Sick"
cite = ["ours"]
when = "hypoxia is Y"

[rule.continued]
ACUTE = { one = ["sick"] }

[rule.discharge]
ready = { one = [{ not = "sick" }] }

[avoidable]
SNF_BED = { code = "12.02", attribution = "post_acute", cite = ["ours"] }
"""


@pytest.mark.parametrize(
    ("sick", "barrier", "named"),
    [
        (False, "SNF_BED", ("12.02", "post_acute")),
        (True, "SNF_BED", (None, None)),
        (None, "SNF_BED", (None, None)),
        (False, "ZZ_OTHER", (None, None)),
        (False, None, (None, None)),
    ],
)
def test_a_pack_names_the_avoidable_day_of_a_barrier(
    tmp_path: Path, sick: bool | None, barrier: str | None, named: tuple[str | None, str | None]
) -> None:
    """Where the patient is ready for discharge and what stands in the way is known, and only there."""
    (tmp_path / "content").mkdir()
    (tmp_path / "content/zz.toml").write_text(SMALL)
    (tmp_path / "pack.toml").write_text('version = "1"\ndisclaimer = "ZZ"\n')
    small = Pack("zz", tmp_path)
    (subset,) = small.content.library.subsets.values()
    values: dict[str, Value] = {} if sick is None else {"hypoxia": sick}
    question = case(small.content.library, subset, values, review=ReviewType.CONTINUED_STAY)
    if barrier is not None:
        sample = Sample(barrier, AT, "ZZ1 OBX[1]-5")
        reading = Reading(BARRIER, sample, sample, sample, (sample,))
        question = replace(question, facts={**question.facts, BARRIER: reading})
    result = small.umbridge_screen(question)
    assert result.discharge_ready is (None if sick is None else not sick)
    assert (result.avoidable_day, result.avoidable_attribution) == named
    admission = small.umbridge_screen(replace(question, review=ReviewType.ADMISSION))
    assert admission.outcome is Outcome.NOT_APPLICABLE  # no rule, no content for this review

"""A criteria pack's answers: the same as those of the code plugin that goes by the same content."""

from __future__ import annotations

import shutil
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from itertools import product

import pytest
from conftest import ROOT

from umbridge.criteria.pack import Pack
from umbridge.model import Level, Outcome, Reading, ReviewType, Sample
from umbridge.specimens import AT, Value, case

CONTENT = ROOT / "plugins/interqual_like/umbridge_interqual_like/content"


@pytest.fixture(scope="module")
def pack(tmp_path_factory: pytest.TempPathFactory) -> Pack:
    folder = tmp_path_factory.mktemp("pack")
    shutil.copytree(CONTENT, folder / "content")
    (folder / "pack.toml").write_text('version = "1"\ndisclaimer = "ZZ"\n')
    return Pack("zz", folder)


def test_every_answer_from_a_tagged_file_carries_its_tags(pack: Pack) -> None:
    """42 CFR part 2: whatever the review, level and facts; an untagged answer names the subset to all."""
    tagged = [subset for subset in pack.library.subsets.values() if subset.tags]
    assert [(subset.id, subset.tags) for subset in tagged] == [("alcohol_withdrawal", ("PART2_SUD",))]
    known: tuple[dict[str, Value], ...] = ({}, {"vasopressor": True})
    for subset, level, review, values in product(tagged, Level, ReviewType, known):
        question = case(pack.library, subset, values, level, review=review)
        for asked in (question, replace(question, facts={})):  # the second without an age
            result = pack.umbridge_screen(asked)
            assert (result.subset, result.tags) == (subset.id, subset.tags), (level, review)


def test_a_refusal_before_the_subset_is_asked_does_not_say_which_it_would_have_been(pack: Pack) -> None:
    """The age or the day is wrong: no subset answers, so nothing would carry its tags."""
    young = Sample(Decimal(3), AT, "PID-7")
    for subset in pack.library.subsets.values():
        for refused in (
            replace(case(pack.library, subset, {}), as_of=datetime(1999, 1, 1, tzinfo=UTC)),
            replace(case(pack.library, subset, {}), facts={"age": Reading("age", young, young, young)}),
        ):
            result = pack.umbridge_screen(refused)
            assert (result.outcome, result.subset) == (Outcome.NOT_APPLICABLE, None)
            assert subset.id not in result.rationale
            assert subset.title not in result.rationale

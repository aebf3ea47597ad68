"""How much of the shipped content is exercised: every criterion both ways, every limit a step either side.

The proofs are the kit's and the linter's, file by file; here is that they leave nothing out, in numbers.
"""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from types import ModuleType

import pytest
import umbridge_interqual_like
import umbridge_mcg_like
import umbridge_two_midnight
from umbridge_kit.boundary_patients import choices, step

from umbridge.criteria.sensitivity import AT, Turning, idle_tests, read_tests
from umbridge.dryrun.linter import WARNING, lint

#: Of each plugin: files, criteria, and limits of numbers, each as often as a file has it.
COUNTED = {"interqual_like": (29, 521, 1029), "mcg_like": (8, 163, 133), "two_midnight": (5, 37, 15)}
PLUGINS = (umbridge_interqual_like, umbridge_mcg_like, umbridge_two_midnight)
EACH = pytest.mark.parametrize("plugin", PLUGINS, ids=lambda plugin: plugin.NAME)


@EACH
def test_the_content_is_as_large_as_was_exercised(plugin: ModuleType) -> None:
    """A number that falls is content that is gone; new content is exercised by the same tests."""
    subsets = plugin.LIBRARY.subsets.values()
    criteria = sum(len(subset.rules.criteria) for subset in subsets)
    leaves = [(subset, leaf) for subset in subsets for leaf in subset.rules.leaves]
    limits = [(subset, leaf) for subset, leaf in leaves if leaf.kind == "number"]
    joints = sum(len(subset.rules.joints) for subset in subsets)
    assert (len(subsets), criteria, len(limits) + joints) == COUNTED[plugin.NAME]
    for subset, leaf in limits:  # made patients stand on each limit and a step either side
        assert isinstance(leaf.value, Decimal)
        if subset.rules.facts[leaf.fact].minus is None and leaf.fact not in subset.rules.counted:
            by = step(leaf.value)
            spec = subset.rules.facts[leaf.fact]
            beside = {leaf.value - by, leaf.value, leaf.value + by}
            beside = {
                v
                for v in beside
                if (spec.low is None or v >= spec.low) and (spec.high is None or v <= spec.high)
            }
            assert beside <= set(choices(subset, leaf.fact)), (subset.id, leaf)


def test_the_linter_proves_each_criterion_and_sees_one_that_is_planted(tmp_path: Path) -> None:
    """A limit that cannot matter beside another: the proof is not empty."""
    source = Path(umbridge_interqual_like.__file__).with_name("content")
    for name in ("general.toml", "syncope.toml"):
        (tmp_path / name).write_bytes((source / name).read_bytes())
    text = (tmp_path / "syncope.toml").read_text("utf-8")
    planted = text.replace("[rule.admission]", PLANTED + "[rule.admission]", 1).replace(
        "ACUTE = { one = [", 'ACUTE = { one = ["planted", ', 1
    )
    (tmp_path / "syncope.toml").write_text(planted, "utf-8")
    found = [each for each in lint(tmp_path) if each.key == "criterion.planted"]
    assert [(each.weight, "can never turn it" in each.text) for each in found] == [(WARNING, True)]


PLANTED = """[criterion.planted]
title = "Planted"
cite = ["map"]
mark = "mapping"
one = ["sbp < 90 mm[Hg]", "sbp < 80 mm[Hg]"]

"""


@EACH
def test_both_ways_are_shown_by_two_patients(plugin: ModuleType) -> None:
    """The proof shown, for the first file: two patients who differ in one fact, and with it the criterion."""
    subset = next(iter(plugin.LIBRARY.subsets.values()))
    for name, rule in subset.rules.criteria.items():
        assert idle_tests(subset.rules, rule) == []
        turning = Turning(subset.rules, rule)
        shown = (turning.by(test) for test in read_tests(rule, subset.rules.scores))
        turned = next(each for each in shown if each is not None)
        exams = [subset.rules.examine(facts, AT) for facts in (turned.first, turned.second)]
        assert [exam.truth(name) for exam in exams] == [turned.truth, not turned.truth], name

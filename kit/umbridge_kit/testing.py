"""A test kit for criteria plugins: inherit ``CriteriaKit`` and every rule of the content is exercised.

Needs pytest and hypothesis, which umbridge itself does not.

    class TestContent(CriteriaKit):
        plugin = my_criteria
        library = my_criteria.LIBRARY
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from itertools import product
from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from umbridge.clinical.measured import MEASURED, ORGAN_SUPPORT
from umbridge.criteria.content import Library, Subset
from umbridge.criteria.sensitivity import always, idle_tests
from umbridge.criteria.tree import Leaf
from umbridge.dryrun.vignettes import Expected
from umbridge.model import Case, Reading, Sample, ScreenResult
from umbridge.stay.dictionary import dictionary
from umbridge.values.interval import Interval
from umbridge.values.kinds import Level, Outcome, ReviewType, Status
from umbridge.values.signed import NOBODY
from umbridge_kit.boundary_patients import (
    AT,
    REQUESTS,
    REVIEWS,
    Value,
    case,
    diagnosis,
    examined,
    joint_values,
    questions,
    reading,
    step,
    unmeasured,
)
from umbridge_kit.boundary_patients import choices as choices  # noqa: PLC0414 - likewise
from umbridge_kit.drawing import elsewhere, without
from umbridge_kit.drawing import patients as patients  # noqa: PLC0414 - the kit is imported from one place

#: Words that only a person may use of a patient's care (42 CFR 482.30(d)).
ADVERSE = re.compile(r"\b(den(?:y|ied|ial)|not (?:medically )?necessary|inappropriate|reject(?:ed)?)\b", re.I)


#: Of each operator, its truth a step below the limit, at it and a step above.
TURNS = {"<": "100", "<=": "110", ">": "001", ">=": "011"}


def vignette(folder: Path) -> Expected:
    """``expected.json`` of a golden case, numbers as decimals. Skips the test where there is none."""
    path = folder / "expected.json"
    if not path.exists():
        pytest.skip(f"{folder.name}: the shared vignettes are not beside this repository")
    return cast(Expected, json.loads(path.read_text("utf-8"), parse_float=Decimal))


def vignette_case(
    library: Library, expected: Expected, subset: str, treatments: Sequence[str] | None = None
) -> Case:
    """The question a vignette's canonical facts make. ``treatments`` are N unless the facts say otherwise:
    the feed carries every order, so silence means none is active. None: all that the dictionary has."""
    as_of = datetime.fromisoformat(expected["as_of"])
    if treatments is None:
        treatments = [fact for fact, each in dictionary().items() if each.closed_world]
    values: dict[str, bool | int | Decimal | str] = dict.fromkeys(treatments, False) | expected["facts"]
    values.setdefault("spo2_limit", Decimal(90))  # no baseline is stated in these cases
    values.setdefault("o2_above_usual", bool(values.get("o2_therapy")))
    if "spo2_room_air" in values:  # a room-air reading counts as a saturation too
        values.setdefault("spo2", values["spo2_room_air"])
    chosen = library.subsets[subset]
    units = {fact: spec.unit for fact, spec in chosen.rules.facts.items()}
    facts = {}
    for fact, value in values.items():
        number = Decimal(value) if isinstance(value, int) and not isinstance(value, bool) else value
        sample = Sample(number, as_of, "ZZ1 OBX[1]-5", units.get(fact, ""))
        facts[fact] = Reading(fact, sample, sample, sample, (sample,))
    return Case(
        pseudonym="zz",
        review=ReviewType(expected["review"]),
        requested_status=Status(expected["requested"]["status"]),
        requested_level=Level[expected["requested"]["level"]],
        as_of=as_of,
        episode_day=expected.get("episode_day") or 1,
        diagnoses=(diagnosis(library, chosen),),
        payer_class=expected["payer_class"],
        observation_hours=None,
        observation_ended=False,
        facts=facts,
    )


_SETTINGS = settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.differing_executors],
)


def _sent(subset: Subset, fact: str) -> str:
    """The fact that people send: of a comparison the one that the other is compared with."""
    return (subset.rules.facts[fact].minus or (fact,))[-1]


#: What a question is, beside its facts; the hours of observation and whether it ended go together.
ASKED_BY = (
    ("requested_level",),
    ("review",),
    ("requested_status",),
    ("episode_day",),
    ("observation_hours", "observation_ended"),
    (),
)


_FEW = settings(parent=_SETTINGS, max_examples=15)


class CriteriaKit:
    """What any plugin built on the engine must pass. Override ``may_move`` and ``examples`` where needed."""

    plugin: Any
    library: Library
    #: Facts that a score may leave out: measuring one may move a result that was settled without it.
    may_move: frozenset[str] = frozenset()

    @staticmethod
    def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
        library: Library = metafunc.cls.library
        subsets = sorted(library.subsets.values(), key=lambda s: s.id)
        if "subset" in metafunc.fixturenames:
            metafunc.parametrize("subset", subsets, ids=lambda subset: subset.id)

    def screen(self, question: Case) -> ScreenResult:
        result: ScreenResult = type(self).plugin.umbridge_screen(question)
        return result

    def test_each_threshold_turns_exactly_where_it_says(self, subset: Subset) -> None:
        for leaf in subset.rules.leaves:
            if not isinstance(leaf.value, Decimal) or leaf.kind != "number":
                continue
            if subset.rules.facts[leaf.fact].minus is not None:
                self._turns_beside(subset, leaf)
            around = [leaf.value - step(leaf.value), leaf.value, leaf.value + step(leaf.value)]
            if leaf.fact in subset.rules.joined:
                around = [max(value, Decimal("0.000001")) for value in around]
            number = subset.rules.number_of(leaf)
            truths = [examined(subset, {leaf.fact: value}).truths[number] for value in around]
            assert "".join(str(int(bool(truth))) for truth in truths) == TURNS[leaf.op], leaf
        for joint in subset.rules.joints:
            low, turn, high = sorted(joint_values(subset, joint, 0))
            (beside,) = joint_values(subset, joint, 1)
            found = [joint.holds(value, beside) for value in (low, turn, high)]
            assert found[0] is not found[2], joint

    def _turns_beside(self, subset: Subset, leaf: Leaf) -> None:
        """One fact against another: at the other's value, and a step either side of it."""
        first, second = subset.rules.facts[leaf.fact].minus or ("", "")
        assert isinstance(leaf.value, Decimal)
        for limit in (Decimal(50), Decimal("61.5")):
            by, truths = step(leaf.value), []
            for value in (limit + leaf.value - by, limit + leaf.value, limit + leaf.value + by):
                exam = examined(subset, {first: value, second: limit})
                truths.append(exam.truths[subset.rules.number_of(leaf)])
            assert "".join(str(int(bool(truth))) for truth in truths) == TURNS[leaf.op], leaf

    def test_each_test_of_each_criterion_can_turn_it(self, subset: Subset) -> None:
        """For every test a criterion reads, two patients who differ in it alone and come out differently."""
        for name, rule in subset.rules.criteria.items():
            assert always(subset.rules, rule) is None, name
            assert idle_tests(subset.rules, rule) == [], name

    @given(st.data())
    @_SETTINGS
    def test_more_facts_settle_a_result_and_never_unsettle_it(self, data: st.DataObject) -> None:
        library = type(self).library
        subset, values = data.draw(patients(library))
        level, review = data.draw(st.sampled_from(REQUESTS)), data.draw(st.sampled_from(REVIEWS))
        optional = {_sent(subset, node.leaf.fact) for node in subset.rules.optional}
        optional |= {spec.id for spec in subset.rules.of_diagnosis} | type(self).may_move | {"age"}
        dropped = data.draw(st.sets(st.sampled_from(sorted(set(values) - optional))))
        kept = {fact: value for fact, value in values.items() if fact not in dropped}
        full = self.screen(case(library, subset, values, level, review=review))
        part = self.screen(case(library, subset, kept, level, review=review))
        assert full.outcome is not Outcome.PEND
        assert set(part.missing) <= dropped
        assert (part.missing == ()) == (part.outcome is not Outcome.PEND)
        if part.outcome is not Outcome.PEND:
            meets = (Outcome.MEETS, Outcome.MEETS_ADVISE_HIGHER)
            assert full.outcome is part.outcome or {full.outcome, part.outcome} == set(meets)
        if part.supported is not None and full.supported is not None and part.outcome is not Outcome.PEND:
            assert part.supported <= full.supported
        for name, value in full.scores.items():
            if isinstance(value, int) and f"{name}_min" in part.scores:
                low, high = part.scores[f"{name}_min"], part.scores[f"{name}_max"]
                assert int(str(low)) <= value <= int(str(high))

    @given(st.data())
    @_FEW
    def test_one_more_fact_never_unsettles_an_answer(self, data: st.DataObject) -> None:
        """But for a fact that was left out until then, and one that takes another's place: they count now."""
        subset, values = data.draw(patients(type(self).library))
        rules, rng = subset.rules, data.draw(st.randoms(use_true_random=False))
        pairs = sorted({(_sent(subset, node.leaf.fact), *node.hangs_on) for node in rules.optional})
        counts_now = {pair[0] for pair in pairs} | set(rules.replaced.values())
        for _ in range(4):
            unknown = set(rng.sample(sorted(values), rng.randint(0, min(3, len(values)))))
            unknown |= set(rng.choice(pairs)) if pairs else set()  # an answer hangs on one that is left out
            if rng.random() < 0.5:
                unknown |= {fact for fact in values if rng.random() < 0.5}
            unknown -= {"age", *(spec.id for spec in rules.of_diagnosis)}
            known = {fact: value for fact, value in values.items() if fact not in unknown}
            question, before = self._asked(data, subset, known), examined(subset, known)
            is_settled = self.screen(question).outcome is not Outcome.PEND
            settled = [key for key in (*rules.criteria, *rules.rules) if before.truth(key) is not None]
            for fact in rng.sample(sorted(unknown - counts_now), min(4, len(unknown - counts_now))):
                after = examined(subset, {**known, fact: values[fact]})
                assert [key for key in settled if after.truth(key) is None] == [], (subset.id, fact)
                if is_settled:
                    more = {**question.facts, fact: reading(subset, fact, values[fact])}
                    assert self.screen(replace(question, facts=more)).outcome is not Outcome.PEND, fact

    @given(st.data())
    @_SETTINGS
    def test_the_order_of_facts_is_nothing_and_no_word_is_adverse(self, data: st.DataObject) -> None:
        library = type(self).library
        subset, values = data.draw(patients(library))
        level, review = data.draw(st.sampled_from(REQUESTS)), data.draw(st.sampled_from(REVIEWS))
        rng = data.draw(st.randoms(use_true_random=False))
        kept = {fact: value for fact, value in values.items() if rng.random() < 0.5}
        question = case(library, subset, kept, level, review=review)
        result = self.screen(question)
        assert isinstance(result.outcome, Outcome)
        assert ADVERSE.search(result.rationale) is None, result.rationale
        shuffled = list(question.facts.items())
        data.draw(st.randoms(use_true_random=False)).shuffle(shuffled)
        again = self.screen(replace(question, facts=dict(shuffled)))
        assert repr(again) == repr(result)

    @given(st.data())
    @_SETTINGS
    def test_another_unit_is_unknown_and_not_another_number(self, data: st.DataObject) -> None:
        library = type(self).library
        subset, values = data.draw(patients(library))
        measured = sorted(f for f in values if subset.rules.facts[f].unit)
        if not measured:
            return
        fact = data.draw(st.sampled_from(measured))
        question = case(library, subset, values, data.draw(st.sampled_from(REQUESTS)))
        sample = replace(question.facts[fact].latest, unit="{furlong}")
        wrong = dict(question.facts) | {fact: Reading(fact, sample, sample, sample, (sample,))}
        without = {name: found for name, found in question.facts.items() if name != fact}
        assert self.screen(replace(question, facts=wrong)) == self.screen(replace(question, facts=without))

    @given(st.data())
    @_FEW
    def test_an_answer_does_not_hang_on_who_was_screened_before(self, data: st.DataObject) -> None:
        """What is remembered between screens is no value of a patient, nor another question."""
        library = type(self).library
        subset, values = data.draw(patients(library))
        rng = data.draw(st.randoms(use_true_random=False))
        kept = {fact: value for fact, value in values.items() if rng.random() < 0.5}
        dropped = data.draw(st.sets(st.sampled_from(sorted(values)), max_size=1))
        first, second = self._asked(data, subset, kept), self._asked(data, subset, kept)
        moved = data.draw(st.sampled_from((Decimal(0), Decimal("0.001"), Decimal(1))))
        others = [  # one thing different at a time: what is forgotten shows best so
            replace(first, **{name: getattr(second, name) for name in names}) for names in ASKED_BY
        ]
        others += [without(first, fact) for fact in ("age", *sorted(dropped)[:1])]
        others = [elsewhere(each, moved if each == first else Decimal(0)) for each in others]
        subset.rules.forget()
        self.screen(first)
        after = [self.screen(other) for other in others]
        for other, found in zip(others, after, strict=True):
            subset.rules.forget()
            assert repr(self.screen(other)) == repr(found)
            assert not {e.source for e in found.evidence} & {r.latest.source for r in first.facts.values()}

    @given(data=st.data())
    @_FEW
    def test_a_bound_settles_only_what_every_number_in_it_would(self, data: st.DataObject) -> None:
        """Of a plugin that says it knows bounds: "<6" gives no answer that 5 would not have given."""
        if not type(self).plugin.umbridge_manifest().bounds:
            return
        subset, values = data.draw(patients(type(self).library))
        exact = self._asked(data, subset, values)
        numbers = [fact for fact, each in exact.facts.items() if isinstance(each.latest.value, Decimal)]
        counted = set(subset.rules.counted) | {"age"}
        for fact in data.draw(st.sets(st.sampled_from(sorted({*numbers} - counted) or ["age"]), max_size=2)):
            if fact in counted:
                continue
            sample = exact.facts[fact].latest
            op, by = data.draw(st.sampled_from([("<", 1), ("<", 20), (">", -1), (">=", 0), ("<=", 0)]))
            open_ = replace(sample, value=Interval.bound(op, Decimal(str(sample.value)) + by))
            found, plain = (
                self.screen(replace(exact, facts={**exact.facts, fact: Reading(fact, s, s, s, (s,))})).outcome
                for s in (open_, sample)
            )
            if found is not Outcome.PEND:  # whether a higher level is met too may still be open
                met = (Outcome.MEETS, Outcome.MEETS_ADVISE_HIGHER)
                assert found is plain or (found in met and plain in met), (fact, str(open_.value))

    def _asked(self, data: st.DataObject, subset: Subset, values: Mapping[str, Value]) -> Case:
        """One question out of all that these facts can be asked with."""
        library = type(self).library
        level, review = data.draw(st.sampled_from(REQUESTS)), data.draw(st.sampled_from(REVIEWS))
        hours = data.draw(st.sampled_from([None, *map(Decimal, (3, 24, 49))]))
        return replace(
            case(library, subset, values, level, review=review),
            requested_status=data.draw(st.sampled_from((Status.INPATIENT, Status.OBSERVATION))),
            episode_day=data.draw(st.integers(1, 6)),
            observation_hours=hours,
            observation_ended=hours is not None and data.draw(st.booleans()),
        )

    def test_every_answer_from_a_file_carries_its_tags(self, subset: Subset) -> None:
        """An answer that names a tagged subset and has not its tags is shown to everybody (42 CFR part 2)."""
        library = type(self).library
        few = (Status.INPATIENT, Status.OBSERVATION, Status.UNKNOWN)  # enough where there is no tag to lose
        for level, review, status in product(Level, ReviewType, Status if subset.tags else few):
            question = case(library, subset, {}, level, review=review, requested_status=status)
            result = self.screen(question)
            assert result.tags == (subset.tags if result.subset is not None else ())
            is_said = result.subset is not None
            assert result.content_status == (subset.content_status if is_said else NOBODY)
            if result.subset is None:
                assert subset.id not in result.rationale
                assert subset.title not in result.rationale

    def test_without_facts_it_pends_and_never_refers(self, subset: Subset) -> None:
        for level in REQUESTS:
            result = self.screen(case(type(self).library, subset, {}, level))
            assert result.outcome is Outcome.PEND
            assert result.missing
            ageless = self.screen(replace(case(type(self).library, subset, {}, level), facts={}))
            assert "age" in ageless.missing

    def test_without_a_measurement_nothing_closes(self, subset: Subset) -> None:
        """Whatever age, diagnosis, orders and assessments say, of every review, level and status. A plugin
        with code of its own puts its answer through ``on_measurement``."""
        for values in unmeasured(subset):
            for question in questions(type(self).library, subset, values):
                result = self.screen(question)
                assert result.outcome not in (Outcome.MEETS, Outcome.MEETS_ADVISE_HIGHER) or result.hold
                assert result.outcome in (Outcome.PEND, Outcome.NOT_APPLICABLE) or result.hold

    def test_a_measurement_that_no_rule_reads_closes_no_first_look(self, subset: Subset) -> None:
        if subset.shown_by:
            return
        unread = min(MEASURED - set(subset.rules.facts))
        sample = Sample(Decimal(1), AT, "ZZ1 OBX[9]-5", "{unread}")
        beside = {unread: Reading(unread, sample, sample, sample, (sample,))}
        for values in unmeasured(subset, *ORGAN_SUPPORT):
            for question in questions(type(self).library, subset, values):
                if question.review in (ReviewType.CONTINUED_STAY, ReviewType.DISCHARGE):
                    continue
                result = self.screen(replace(question, facts={**question.facts, **beside}))
                assert result.outcome not in (Outcome.MEETS, Outcome.MEETS_ADVISE_HIGHER) or result.hold

    def test_the_age_and_the_date_of_service_are_kept_to(self, subset: Subset) -> None:
        def aged(years: int) -> Case:
            sample = Sample(Decimal(years), AT, "PID-7")
            plain = case(type(self).library, subset, {})
            return replace(plain, facts={"age": Reading("age", sample, sample, sample)})

        assert self.screen(aged(subset.age_from - 1)).outcome is Outcome.NOT_APPLICABLE
        assert self.screen(aged(subset.age_from)).outcome is Outcome.PEND
        before = datetime.combine(subset.effective_from, AT.timetz()) - timedelta(days=1)
        for other in (replace(aged(60), diagnoses=()), replace(aged(60), as_of=before)):
            assert self.screen(other).outcome is Outcome.NOT_APPLICABLE

    def test_every_diagnosis_prefix_finds_its_subset(self, subset: Subset) -> None:
        for code in subset.icd10 or (diagnosis(type(self).library, subset),):
            for written in (code, code.replace(".", ""), code.lower()):
                assert type(self).library.match((written, "Z99.9")) is subset

    def test_the_manifest_declares_what_is_read(self) -> None:
        manifest = type(self).plugin.umbridge_manifest()
        assert manifest == type(self).plugin.umbridge_manifest()
        assert set(manifest.subsets) == set(type(self).library.subsets)
        for subset in type(self).library.subsets.values():
            assert set(subset.rules.needed()) <= set(manifest.facts)

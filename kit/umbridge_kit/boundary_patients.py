"""Invented patients on and beside every limit of a plugin's content, and which rules they exercise.

Values come from the content: each threshold and one step either side of it, every code, both booleans.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import cache
from itertools import product
from typing import Any

from umbridge.clinical.measured import measurements
from umbridge.criteria.content import Library, Subset
from umbridge.criteria.examination import Examination
from umbridge.criteria.made_facts import of_diagnosis
from umbridge.criteria.tree import Joint, is_within
from umbridge.model import Case, FactValue, Reading, Sample
from umbridge.values.kinds import Level, ReviewType, Status

AT = datetime(2026, 3, 2, 22, 40, tzinfo=UTC)
REQUESTS = (Level.OBS, Level.ACUTE, Level.INTERMEDIATE, Level.CRITICAL)
REVIEWS = (ReviewType.ADMISSION, ReviewType.CONTINUED_STAY, ReviewType.DISCHARGE)
#: Ages that stand in for all others where the age itself is the points.
AGES = (18, 30, 50, 51, 64, 65, 70, 80, 90, 120)
_UNCOVERED = ("R69", "R68.89", "T88.9", "N39.0", "M79.6")  # what a fallback may be asked about

Value = FactValue


def step(value: Decimal) -> Decimal:
    """The smallest step in which such a value is reported: the last place of its threshold."""
    exponent = value.as_tuple().exponent
    return Decimal(1).scaleb(min(exponent, 0)) if isinstance(exponent, int) else Decimal(1)


@cache
def choices(subset: Subset, fact: str) -> tuple[Value, ...]:
    """Values enough to tell every test of a fact apart: thresholds, one step below and one above."""
    rules = subset.rules
    spec = rules.facts[fact]
    if spec.kind == "boolean":
        return (False, True)
    if spec.kind == "code":
        return spec.codes
    found: set[Decimal] = set()
    for leaf in (rules.leaves[i] for i in rules.leaves_of[fact]):
        if isinstance(leaf.value, Decimal):
            found |= {leaf.value - step(leaf.value), leaf.value, leaf.value + step(leaf.value)}
    found |= _beside(subset, fact)
    for joint in rules.joints:
        if fact in joint.facts:
            found |= joint_values(subset, joint, joint.facts.index(fact))
    if fact in rules.counted:
        found |= {Decimal(n) for n in (AGES if fact == "age" else range(int(spec.low or 0), 4))}
    found = {value for value in found if is_within(spec, value)}
    if spec.kind == "datetime":
        return tuple((AT - timedelta(hours=float(h))).isoformat() for h in sorted(found) if h >= 0)
    if fact in rules.joined:
        found = {value for value in found if value > 0}
    return tuple(sorted(found))


def _beside(subset: Subset, fact: str) -> set[Decimal]:
    """Values of a fact that is tested against another, or that another is tested against."""
    rules, found = subset.rules, set()
    for spec in rules.facts.values():
        if spec.minus is None or fact not in spec.minus:
            continue
        first, second = spec.minus
        own = [rules.leaves[i].value for i in rules.leaves_of[first]]
        limits = sorted({value for value in own if isinstance(value, Decimal)} or {Decimal(50)})
        limits = [limits[0], limits[-1] - 1]
        if fact == second:
            found |= set(limits)
            continue
        for leaf in (rules.leaves[i] for i in rules.leaves_of[spec.id]):
            if isinstance(leaf.value, Decimal):
                by = step(leaf.value)
                found |= {limit + leaf.value + each for limit in limits for each in (-by, Decimal(0), by)}
    return found


def joint_values(subset: Subset, joint: Joint, side: int) -> set[Decimal]:
    """The second fact takes one value, the first what turns the test beside it."""
    own = [leaf.value for i in subset.rules.leaves_of[joint.facts[1]] for leaf in [subset.rules.leaves[i]]]
    beside = next((value for value in own if isinstance(value, Decimal)), Decimal(1))
    if side == 1:
        return {beside}
    turn = (joint.limit - joint.factors[1] * beside) / joint.factors[0]
    turn = turn.quantize(Decimal("0.01"))
    return {turn - Decimal("0.01"), turn, turn + Decimal("0.01")}


def reading(subset: Subset, fact: str, value: Value) -> Reading:
    """One sample of a fact, in its own unit. A test of repeats sees the value four times."""
    sample = Sample(value, AT, f"ZZ1 OBX[{fact}]-5", subset.rules.facts[fact].unit)
    return Reading(fact, sample, sample, sample, (sample,) * 4)


def readings(subset: Subset, values: Mapping[str, Value]) -> dict[str, Reading]:
    return {
        fact: reading(subset, fact, value) for fact, value in values.items() if fact in subset.rules.facts
    }


def examined(subset: Subset, values: Mapping[str, Value]) -> Examination:
    """The subset's rules put to an invented patient."""
    return subset.rules.examine(readings(subset, values), AT)


@cache
def codes_of(library: Library, subset: Subset) -> tuple[str, ...]:
    """Principal diagnoses of a subset that its rules tell apart, and one that they do not ask about."""
    found = [diagnosis(library, subset)]
    for spec in subset.rules.of_diagnosis:
        found += [code for code in (*spec.principal, *subset.icd10) if library.match((code,)) is subset]
    return tuple(dict.fromkeys(found))


def principal_of(library: Library, subset: Subset, values: Mapping[str, Value]) -> str:
    """The diagnosis of which these facts say whether it is the principal one; the first where none fits."""
    asked = {spec.id: values[spec.id] for spec in subset.rules.of_diagnosis if spec.id in values}
    return next(
        (code for code in codes_of(library, subset) if asked == said_by(subset, code, asked)),
        diagnosis(library, subset),
    )


def said_by(subset: Subset, code: str, facts: Iterable[str]) -> dict[str, Value]:
    """What a principal diagnosis says of the facts that ask for it."""
    specs = (spec for spec in subset.rules.of_diagnosis if spec.id in set(facts))
    return {name: found.latest.value for name, found in of_diagnosis(specs, (code,), AT).items()}


@cache
def diagnosis(library: Library, subset: Subset) -> str:
    """A principal diagnosis that this subset is for."""
    if not subset.is_fallback:
        return subset.icd10[0]
    return next(code for code in _UNCOVERED if library.match((code,)) is subset)


def case(
    library: Library, subset: Subset, values: Mapping[str, Value], level: Level = Level.ACUTE, **other: Any
) -> Case:
    """A question about an invented patient of 60 who has the subset's diagnosis and these facts."""
    facts = readings(subset, values)
    if "age" not in facts:
        sample = Sample(Decimal(60), AT, "PID-7")
        facts["age"] = Reading("age", sample, sample, sample, (sample,))
    is_watched = level is Level.OBS
    settled: dict[str, Any] = {
        "pseudonym": "zz",
        "review": ReviewType.OBSERVATION if is_watched else ReviewType.ADMISSION,
        "requested_status": Status.OBSERVATION if is_watched else Status.INPATIENT,
        "requested_level": level,
        "as_of": AT,
        "episode_day": 1,
        "diagnoses": (principal_of(library, subset, values),),
        "payer_class": "COMMERCIAL",
        "observation_hours": None,
        "observation_ended": False,
        "facts": facts,
    }
    if other.get("review") in (ReviewType.CONTINUED_STAY, ReviewType.DISCHARGE):
        other.setdefault("episode_day", 2)
    return Case(**(settled | other))


def unmeasured(subset: Subset, *unknown: str) -> Iterator[dict[str, Value]]:
    """Each fact that is no measurement at its first value, at its last, and mixed."""
    left_out = {*measurements(ReviewType.PROSPECTIVE), *unknown}
    offered = {
        fact: choices(subset, fact)
        for fact, spec in subset.rules.facts.items()
        if fact not in left_out and not spec.is_made
    }
    mixed = random.Random(subset.id)  # noqa: S311 - patients, not secrets
    yield {fact: options[0] for fact, options in offered.items()}
    yield {fact: options[-1] for fact, options in offered.items()}
    yield {fact: mixed.choice(options) for fact, options in offered.items()}


def questions(library: Library, subset: Subset, values: Mapping[str, Value]) -> Iterator[Case]:
    """What can be asked about one patient: each review, level and status, without and after observation."""
    statuses = (Status.INPATIENT, Status.OBSERVATION)
    for level, review, status, spent in product(REQUESTS, ReviewType, statuses, (None, Decimal(30))):
        asked = {"requested_status": status, "observation_hours": spent}
        ended = spent is not None
        yield case(library, subset, values, level, review=review, observation_ended=ended, **asked)

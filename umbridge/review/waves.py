"""Who is asked first: plugins that judge the level of care, before those that build on their results.

Vendors do not know one another. A plugin that wants the others' results declares the fact ``level_supported``
like any other fact; it is then asked in the second wave and finds there what the first wave supports.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime

from umbridge.clinical.measured import measured
from umbridge.criteria.grounds import (
    AGE_ONLY,
    COMFORT_CARE,
    CONTRADICTED_VALUE,
    NO_MEASURED_FACT,
    SEEN,
    SEEN_ONLY,
    SUPPORTED_BY,
    UNMEASURED,
    USUAL_VALUE,
)
from umbridge.criteria.unreadhold import CORRECTION_NOT_FOUND, ORDER_NOT_FOUND, ORDER_UNREAD, RESULT_UNREAD
from umbridge.criteria.walk import shown
from umbridge.model import Case, Reading, Sample, ScreenResult
from umbridge.review.closing import CRITICAL_VALUE, FACT_CORRECTED, STATUS_ORDER_CANCELLED
from umbridge.review.staying import DELAYS, DISCHARGE_BARRIER, STABLE_ON_TREATMENT, barrier
from umbridge.stay.together import ELSEWHERE
from umbridge.values.frozen import dataclass
from umbridge.values.kinds import Level, Outcome, ReviewType

LEVEL_SUPPORTED = "level_supported"
#: A score by which a plugin says how high its answer could still come out (a ``Level``'s name).
CEILING = "supported_max"
#: The host's own reason to keep a review open: the patient may need more than was ordered.
ADVISED_HIGHER = "ADVISED_HIGHER"
NO_ORDER = "INPATIENT_ORDER_MISSING"  # as the exception: a plugin that counts from the order says it too
DELAY = "delay"  # among the scores: what care that is needed waits for
OWN_REASON = "PLUGIN"  # a plugin's own, on the worklist
#: Why a review is open beside the holds: an answer that does not meet; no answer that applies;
#: none at all yet.
NOT_MET, NONE_APPLIES, NO_ANSWER = "NOT_MET", "NONE_APPLIES", "NO_ANSWER"
_NAMED = (
    *(ADVISED_HIGHER, NO_MEASURED_FACT, AGE_ONLY, NO_ORDER, STATUS_ORDER_CANCELLED),
    *(RESULT_UNREAD, CORRECTION_NOT_FOUND, ORDER_NOT_FOUND, ORDER_UNREAD, FACT_CORRECTED, CRITICAL_VALUE),
    *ELSEWHERE,
    *(DISCHARGE_BARRIER, STABLE_ON_TREATMENT),
    *(USUAL_VALUE, CONTRADICTED_VALUE, COMFORT_CARE),
)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What one plugin's answer comes to for a review: met, not met, or None where it does not apply.

    One that is met and has a ``hold`` waits for a person nevertheless.
    """

    met: bool | None
    wave: int = 1  # 1 or 2
    hold: tuple[str, ...] = ()


def holds(result: ScreenResult) -> tuple[str, ...]:
    """Why a person has to see this answer: the plugin's reasons, and the host's, which no plugin can take
    away."""
    own = (ADVISED_HIGHER,) if result.outcome is Outcome.MEETS_ADVISE_HIGHER else ()
    return tuple(dict.fromkeys((*result.hold, *own)))


def told_of_a_measurement(result: ScreenResult, case: Case) -> ScreenResult:
    """A first-wave plugin's answer as the host takes it: held where the plugin was told of no measurement.

    Content is held to more by its engine. What a vendor's own code rests on nobody can see; that it cannot
    rest on a measurement, the host can.
    """
    is_said = result.outcome in (Outcome.MEETS, Outcome.MEETS_ADVISE_HIGHER) or bool(result.supported)
    if not is_said or result.outcome is Outcome.NOT_APPLICABLE or UNMEASURED.intersection(result.hold):
        return result
    if measured(case.facts, case.review):
        return result
    return replace(result, hold=(*result.hold, NO_MEASURED_FACT))


def told_of_the_order(
    result: ScreenResult, review: ReviewType, *, is_unordered: bool, is_order_gone: bool = False
) -> ScreenResult:
    """An answer as the host takes it where the order behind the status was cancelled, or of an inpatient not
    seen: whoever pays, nobody has a status by registration alone until a person has said which is so.

    Of observation only the cancelled one: it is covered by an order too (Medicare Benefit Policy Manual ch. 6
    s. 20.6), but many feeds bring none, and that no order was seen says nothing there.
    """
    is_met = result.outcome in (Outcome.MEETS, Outcome.MEETS_ADVISE_HIGHER)
    reason = NO_ORDER if is_unordered else STATUS_ORDER_CANCELLED if is_order_gone else ""
    if not reason or not is_met or review is ReviewType.DISCHARGE or reason in result.hold:
        return result
    return replace(result, hold=(*result.hold, reason))


def told_of_a_correction(result: ScreenResult, case: Case) -> ScreenResult:
    """An answer to a first look that is open, after a value was corrected since its moment: it names both
    values, whether or not it goes by them, and one that meets is held.

    The value that is right counts, and nobody knew it when the level was ordered: a person sees both.
    """
    if result.outcome is Outcome.NOT_APPLICABLE or not case.corrected:
        return result
    cited = {each.fact: f"{each.value} {each.unit}".rstrip() for each in result.evidence}
    both = (
        f"{fact} {was}, now {cited.get(fact) or _now(case.facts.get(fact))}"
        for fact, was in sorted(case.corrected.items())
    )
    words = f"{result.rationale} Known at the moment, and corrected since: {'; '.join(both)}.".lstrip()
    is_met = result.outcome in (Outcome.MEETS, Outcome.MEETS_ADVISE_HIGHER)
    return replace(result, hold=(*result.hold, FACT_CORRECTED) if is_met else result.hold, rationale=words)


def _now(reading: Reading | None) -> str:
    if reading is None:
        return "none"
    return f"{shown(reading.latest.value)} {reading.latest.unit}".rstrip()


def told_of_what_is_elsewhere(result: ScreenResult, reasons: Sequence[str]) -> ScreenResult:
    """An answer as the host takes it while a value or an order of the stay was corrected, withdrawn or ended
    under another visit: one of the two visit numbers is wrong, and only a person can say which."""
    is_met = result.outcome in (Outcome.MEETS, Outcome.MEETS_ADVISE_HIGHER)
    more = tuple(each for each in reasons if each not in result.hold)
    return replace(result, hold=(*result.hold, *more)) if is_met and more else result


def told_of_a_delay(result: ScreenResult, case: Case) -> ScreenResult:
    """An answer to a later day that meets, with the wait that somebody named for a result or a procedure.

    Care that is needed and comes late is a delay and no avoidable day. A person counts them, apart.
    """
    code = barrier(case)
    is_met = result.outcome in (Outcome.MEETS, Outcome.MEETS_ADVISE_HIGHER)
    if case.review is not ReviewType.CONTINUED_STAY or not is_met or code not in DELAYS:
        return result
    words = f"{result.rationale} Candidate for a delay, not for an avoidable day: {DELAYS[code]}.".lstrip()
    return replace(result, scores={**result.scores, DELAY: code}, rationale=words)


def waves(wanted: Mapping[str, Collection[str]]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Plugin names by wave, from the facts each one's manifest declares. Either wave may be empty."""
    second = {name for name, facts in wanted.items() if LEVEL_SUPPORTED in facts}
    return tuple(name for name in wanted if name not in second), tuple(n for n in wanted if n in second)


def level_supported(answers: Mapping[str, ScreenResult], as_of: datetime) -> Reading | None:
    """The first wave's answers as one fact: the highest level that any plugin supports.

    A plugin that is undecided, or failed, may yet support more, so the fact is a least level: anything above
    HOME is known as soon as one plugin supports it; HOME is known only when every plugin that judged has
    settled that nothing above it is supported. Otherwise, and when no plugin judged, it is unknown (None).
    An answer that rests on no measurement supports nothing here, and leaves open what it would support.
    The series holds one sample a plugin that counts, by name; ``source`` names the plugin, and whether its
    level rests on what people saw alone: a rule that would close by such a level has to leave it to a person.
    """
    judged = {name: each for name, each in sorted(answers.items()) if _has_judged(each)}
    samples = [
        Sample((each.supported or Level.HOME).name, as_of, _source(name, each))
        for name, each in judged.items()
        if not UNMEASURED.intersection(each.hold)
    ]
    if not samples:
        return None
    # of two that support the same, the one that rests on a measurement is named
    ordered = sorted(samples, key=lambda each: (Level[str(each.value)], not each.source.endswith(SEEN_ONLY)))
    low, high = ordered[0], ordered[-1]
    if high.value == Level.HOME.name and any(_ceiling(each) > Level.HOME for each in judged.values()):
        return None
    return Reading(LEVEL_SUPPORTED, high, low, high, tuple(samples))


def _source(name: str, result: ScreenResult) -> str:
    return f"plugin:{name}" + (SEEN_ONLY if result.scores.get(SUPPORTED_BY) == SEEN else "")


def _has_judged(result: ScreenResult) -> bool:
    return result.outcome is Outcome.PEND or (
        result.outcome is not Outcome.NOT_APPLICABLE and result.supported is not None
    )


def _ceiling(result: ScreenResult) -> Level:
    """The highest level this plugin could still come to support once every fact is known."""
    said = result.scores.get(CEILING)
    if isinstance(said, str) and said in Level.__members__:
        return max(Level[said], result.supported or Level.HOME)
    if result.outcome is Outcome.PEND:
        return Level.CRITICAL
    return result.supported or Level.HOME


def settled(said: Iterable[Verdict]) -> bool:
    """Whether a review's answers in force let it close by itself.

    An applicable answer of the second wave goes before the first's: for Medicare, other criteria do not
    overrule 42 CFR 412.3 (42 CFR 422.101(b)(2) and (b)(6)). Within a wave every applicable answer must be
    met, and none of any wave may bind the review to wait for a person.
    """
    applicable = [each for each in said if each.met is not None]
    return is_met(applicable) and not any(_binding(applicable))


def is_met(said: Iterable[Verdict]) -> bool:
    """Whether every applicable answer of the deciding wave meets, held or not."""
    applicable = [each for each in said if each.met is not None]
    last = _last(applicable)
    return bool(applicable) and all(each.met for each in applicable if each.wave == last)


def why_open(said: Mapping[str, Verdict]) -> tuple[tuple[str, str], ...]:
    """Why these answers let no review close, as (plugin, reason); empty where they do.

    A reason is one of a hold's, or ``NOT_MET``. ("", ``NONE_APPLIES``): nobody's criteria apply.
    """
    applicable = {name: each for name, each in sorted(said.items()) if each.met is not None}
    if not applicable:
        return (("", NONE_APPLIES),)
    last = _last(list(applicable.values()))
    found = [(name, NOT_MET) for name, each in applicable.items() if each.wave == last and not each.met]
    for name, each in applicable.items():
        found += [(name, reason) for reason in _binds(each, last)]
    return tuple(found)


def is_named(reason: str) -> bool:
    """Whether the host knows a reason by name: a vendor's own may tell what a patient is treated for."""
    return reason in (*_NAMED, NOT_MET, NONE_APPLIES, NO_ANSWER)


def waits_for(said: Iterable[Verdict]) -> tuple[str, ...]:
    """The reasons for which a review waits for a person, those that the host knows by name.

    A vendor's own reason may tell what a patient is treated for (42 CFR part 2), and the worklist has no
    restricted part: there it is ``PLUGIN``, and the determination has it.
    """
    binding = _binding([each for each in said if each.met is not None])
    found = {reason if reason in _NAMED else OWN_REASON for reason in binding}
    return tuple(reason for reason in (*_NAMED, OWN_REASON) if reason in found)


def _last(applicable: Sequence[Verdict]) -> int:
    return max((each.wave for each in applicable), default=0)


def _binding(applicable: Sequence[Verdict]) -> Iterator[str]:
    """The holds of all applicable answers that keep the review open.

    What a person has to see, the second wave does not settle: that the status is right says nothing of a
    patient who needs more than was ordered. Only what the first wave says of its own measurements is settled
    there, as the second was not told of such answers.
    """
    last = _last(applicable)
    for each in applicable:
        yield from _binds(each, last)


def _binds(said: Verdict, last: int) -> Iterator[str]:
    return (reason for reason in said.hold if said.wave == last or reason not in UNMEASURED)

"""Whether a patient is still here for what needs the hospital: a wait that was told, an order only left on.

A continued stay that meets by a treatment says that it is given, and not that it has to be given here; one
that is told what the patient waits for, and a discharge that is, contradict themselves. A person decides.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from decimal import Decimal
from functools import cache

from umbridge.clinical.news2 import is_not_alert, is_so, own_limit
from umbridge.criteria.content import BARRIER
from umbridge.model import Case, Reading, ScreenResult
from umbridge.review.critical import shown
from umbridge.review.review import Review
from umbridge.stay.dictionary import dictionary
from umbridge.values.interval import Interval, holds
from umbridge.values.kinds import Level, Outcome, ReviewType

#: The patient waits for something outside the care that is asked for, and the answer meets nevertheless.
DISCHARGE_BARRIER = "DISCHARGE_BARRIER"
#: Stable, and every treatment in force is one that can be swallowed instead, or stopped.
STABLE_ON_TREATMENT = "STABLE_ON_TREATMENT"
#: Barriers that are needed care coming late: a delay, no reason to be elsewhere. Before a discharge they are.
DELAYS: Mapping[str, str] = {"RESULT": "care waits for a result", "PROCEDURE": "care waits for a procedure"}

#: Clinical stability, by which treatment goes on by mouth and at home: Halm EA et al. JAMA 1998;279:1452;
#: Mandell LA et al. Clin Infect Dis 2007;44 Suppl 2:S27 (its table of criteria). All must be known.
STABLE: Mapping[str, tuple[str, Decimal]] = {
    "temperature": ("<=", Decimal("37.8")),
    "heart_rate": ("<=", Decimal(100)),
    "resp_rate": ("<=", Decimal(24)),
    "sbp": (">=", Decimal(90)),
}
SATURATION = Decimal(90)  # of a patient with a limit of their own, that one
#: What a patient who swallows can be given by mouth: antibiotics (Mandell 2007, as above), acid suppression,
#: steroids (GOLD report: by mouth as good as by vein) and drugs against seizures. Of the last three no source
#: was looked up for the words: unsigned.
BY_MOUTH = frozenset({"iv_anti_infective", "iv_acid_suppression", "iv_steroid", "iv_antiepileptic"})
#: Who drinks needs none by vein for that alone (NICE guideline CG174, 2013: where needs cannot be met by
#: mouth).
FLUIDS = "iv_fluids"
#: Oxygen is to be stopped where it holds a saturation of 96 % or more (Siemieniuk RAC et al. BMJ
#: 2018;363:k4169), and above the target of a patient who has one (O'Driscoll BR et al. Thorax 2017;72 Suppl
#: 1). At more than 2 L/min, or a fraction above 0.28, it is turned down first: unsigned.
OXYGEN = "o2_above_usual"
ENOUGH, ENOUGH_ON_TARGET = Decimal(96), Decimal(93)
LITTLE: Mapping[str, Decimal] = {"o2_flow": Decimal(2), "fio2": Decimal("0.28")}
#: What says that the patient is not stable whatever the numbers are, or cannot swallow.
_AGAINST: Mapping[str, bool] = {"active_bleeding": True, "mentation_at_baseline": False, "oral_intake": False}
_READ = frozenset(
    {*STABLE, *LITTLE, *_AGAINST, OXYGEN, BARRIER, "spo2", "spo2_limit", "o2_target_88_92"}
    | {"consciousness", "pao2_fio2"}
)
_LUNGS_FAIL = Decimal(300)


@cache
def treatments() -> frozenset[str]:
    """Those that take a hospital to give them, by the dictionary."""
    return frozenset(fact for fact, kind in dictionary().items() if kind.level is not None)


@cache
def looked_at() -> frozenset[str]:
    """What is looked at here, whatever the plugins ask for."""
    return _READ | treatments()


def told_of_staying(result: ScreenResult, review: Review, whole: Case) -> ScreenResult:
    """An answer to a later day that meets, held where the patient waits, or is stable on what may be left on.

    ``whole``: with every fact of ``looked_at``.
    """
    if result.outcome not in (Outcome.MEETS, Outcome.MEETS_ADVISE_HIGHER) or review.judged.moment is not None:
        return result
    code = barrier(whole)
    is_leaving = review.type is ReviewType.DISCHARGE
    if code and (is_leaving or (review.type is ReviewType.CONTINUED_STAY and code not in DELAYS)):
        words = f"Somebody said what the patient waits for: {BARRIER} {code}. A person has to see it."
        result = _held(result, DISCHARGE_BARRIER, words)
    if review.type is ReviewType.CONTINUED_STAY and (result.supported or Level.HOME) <= Level.ACUTE:
        kept, stable = kept_by(whole), stable_by(whole)
        if kept and stable:
            eats = "" if is_so(whole.facts, "oral_intake") else " Whether the patient eats is not known."
            words = (
                f"Stable by the latest values ({', '.join(stable)}), and what keeps the patient here may be "
                f"given by mouth or stopped: {', '.join(kept)}.{eats} A person has to see it."
            )
            result = _held(result, STABLE_ON_TREATMENT, words)
    return result


def barrier(whole: Case) -> str:
    """What the patient waits for, "" where nobody said anything."""
    said = whole.facts.get(BARRIER)
    return "" if said is None else str(said.latest.value)


def kept_by(whole: Case) -> tuple[str, ...]:
    """The treatments in force, where each is one that may be only left on; empty where one is not, or none
    is given."""
    facts = whole.facts
    given = sorted(fact for fact in (*treatments(), OXYGEN) if is_so(facts, fact))
    return tuple(given) if all(_may_be_left_on(facts, fact) for fact in given) else ()


def stable_by(whole: Case) -> tuple[str, ...]:
    """The latest vital signs that show a stable patient, in words; empty where one shows none, or is not
    known, or anything else says that the patient is not stable."""
    facts = whole.facts
    limits = {**STABLE, "spo2": (">=", own_limit(facts) or SATURATION)}
    found = [facts[fact] for fact, limit in limits.items() if _is_surely(facts.get(fact), *limit)]
    is_against = any(
        fact in facts and facts[fact].latest.value is value for fact, value in _AGAINST.items()
    ) or is_not_alert(facts)
    gas = facts.get("pao2_fio2")
    if len(found) < len(limits) or is_against or (gas and not _is_surely(gas, ">=", _LUNGS_FAIL)):
        return ()
    return tuple(shown(each) for each in found)


def _may_be_left_on(facts: Mapping[str, Reading], fact: str) -> bool:
    if fact == FLUIDS:
        return is_so(facts, "oral_intake")
    if fact == OXYGEN:
        enough = ENOUGH_ON_TARGET if is_so(facts, "o2_target_88_92") else ENOUGH
        is_little = all(
            _is_surely(facts[each], "<=", limit) for each, limit in LITTLE.items() if each in facts
        )
        return is_little and _is_surely(facts.get("spo2"), ">=", enough)
    return fact in BY_MOUTH


def _is_surely(reading: Reading | None, op: str, limit: Decimal) -> bool:
    value = None if reading is None else reading.latest.value
    return isinstance(value, Decimal | Interval) and holds(value, op, limit) is True


def _held(result: ScreenResult, reason: str, words: str) -> ScreenResult:
    return replace(result, hold=(*result.hold, reason), rationale=f"{result.rationale} {words}".lstrip())

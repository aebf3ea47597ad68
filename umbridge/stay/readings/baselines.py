"""What is usual for this patient: limits and treatment measured against it, each only where it is stated.

A patient who lives at 88 % on oxygen is not hypoxaemic at 88 %, and that oxygen is no reason to be in
hospital. Where nothing usual is stated the limit that holds for everybody holds.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from decimal import Decimal
from typing import Protocol

from umbridge.model import Reading, Sample
from umbridge.stay.dictionary import FactType, dictionary
from umbridge.stay.readings.derived import single
from umbridge.stay.readings.ends import measured, value_of
from umbridge.stay.results.statements import Result
from umbridge.values.interval import Number, holds, plus, times

#: Saturation below which a patient is hypoxaemic, in %. 88 to 92 % is the target at risk of hypercapnic
#: failure, so that below 88 is below it (British Thoracic Society guideline for oxygen use in adults, Thorax
#: 2017;72 Suppl 1; GOLD). 90 for all others, and what is taken off the usual, were chosen here: unsigned.
LIMIT, LIMIT_AT_TARGET, BELOW_USUAL = Decimal(90), Decimal(88), Decimal(2)
#: A usual saturation that can be true: what lies outside is a mistake, which moves no limit. Unsigned.
USUAL = (Decimal(70), Decimal(100))
#: No usual saturation moves the limit below this one, in %: 83 or less has three points of NEWS2 on the scale
#: for patients at risk of hypercapnic failure (Royal College of Physicians, 2017). Its use here: unsigned.
LOWEST_LIMIT = Decimal(84)
ROOM_AIR = Decimal("0.21")  # the oxygen of air, as a fraction
#: Pressures in mm[Hg]: a systolic one from which nobody looks for hypoperfusion, and a mean that is low.
NOT_LOW, LOW_MEAN = Decimal(100), Decimal(65)
#: Creatinine, in mg/dL, from which kidneys have a point of SOFA (Vincent, Intensive Care Med 1996;22:707).
KIDNEY_POINT = Decimal("1.2")
#: Organ dysfunction of before, each by its own fact: kidneys, liver, lungs.
_FAILED_BEFORE = ("renal_disease", "liver_disease", "home_oxygen")
#: Sources that no message is: no baseline was stated.
ABSOLUTE = "baseline:none"
#: Support that gives oxygen too, whether or not it is ordered by itself.
_SUPPORT = ("high_flow_o2", "niv", "mechanical_ventilation")


class Look(Protocol):
    """One look at a stay's facts, as ``window`` takes it."""

    now: int

    def clock(self, at: int) -> datetime: ...

    def reading(self, fact: str) -> Reading | None: ...

    def prevailing(self, reading: Reading) -> tuple[Sample, ...]: ...

    def sent(self, kind: FactType) -> Reading | None: ...

    def usable(self, kind: FactType) -> list[Result]: ...

    def count(self, kind: FactType) -> int | None: ...

    def of_results(self, kind: FactType, results: list[Result]) -> Reading | None: ...

    def given(self, fact: str, at: int) -> Sample | None: ...


def spo2_limit(look: Look) -> Reading | None:
    """90 %; 88 at a target of 88 to 92 % or on home oxygen; never above the usual less 2, never below 84."""
    found = Sample(LIMIT, look.clock(look.now), ABSOLUTE, "%")
    for fact in ("o2_target_88_92", "home_oxygen"):
        stated = look.reading(fact)
        if stated is not None and stated.latest.value is True:
            found = Sample(LIMIT_AT_TARGET, stated.latest.at, stated.latest.source, "%")
            break
    usual = look.reading("usual_spo2")
    value = None if usual is None else usual.latest.value
    if usual is not None and isinstance(value, Decimal) and USUAL[0] <= value <= USUAL[1]:
        own = max(value - BELOW_USUAL, LOWEST_LIMIT)
        if own < _number(found):
            found = Sample(own, usual.latest.at, usual.latest.source, "%")
    return single("spo2_limit", found)


def o2_above_usual(look: Look) -> Reading | None:
    """Whether oxygen is given beyond what the patient has at home.

    Unknown on home oxygen while the flow, or the flow at home, is.
    """
    parts = [_supported(look, fact) for fact in ("niv", "high_flow_o2")]
    oxygen, at_home = look.reading("o2_therapy"), look.reading("home_oxygen")
    if oxygen is None or oxygen.latest.value is False or at_home is None or at_home.latest.value is not True:
        parts.append(None if oxygen is None else oxygen.latest)
    else:
        parts.append(_more_than_at_home(look))
    true = next((each for each in parts if each is not None and each.value is True), None)
    if true is None and any(each is None for each in parts):
        return None
    shown = true or parts[-1]
    return None if shown is None else single("o2_above_usual", shown)


def _supported(look: Look, fact: str) -> Sample | None:
    reading = look.reading(fact)
    return None if reading is None else reading.latest


def _more_than_at_home(look: Look) -> Sample | None:
    now, usual = look.reading("o2_flow"), look.reading("home_o2_flow")
    limit = None if usual is None else usual.latest.value
    if now is None or usual is None or not isinstance(limit, Decimal):
        return None
    is_more = holds(measured(now.latest), ">", limit)
    source = f"{now.latest.source} beside {usual.latest.source}"
    return None if is_more is None else Sample(is_more, now.latest.at, source)


def room_air(look: Look, kind: FactType) -> Reading | None:
    """Saturations on room air, as they were sent or as nothing says that oxygen was given.

    One that was sent as such is among all saturations too: as many of both are the same ones.
    """
    count = look.count(kind)
    if count is not None and count == look.count(dictionary()["spo2"]):
        return look.sent(kind)
    return look.of_results(kind, _on_room_air(look))


def _on_room_air(look: Look) -> list[Result]:
    """Saturations that were sent as such, and those sent while no oxygen was given: no order or charting of
    it, and no flow or raised fraction at the same time."""
    sent = look.usable(dictionary()["spo2_room_air"])
    named = {(each.seq, each.part) for each in sent}  # one OBX gives both facts
    others = [each for each in look.usable(dictionary()["spo2"]) if (each.seq, each.part) not in named]
    if not others:
        return sent
    on_oxygen = {
        each.at for each in look.usable(dictionary()["o2_flow"]) if not _is_at_most(each, Decimal(0))
    }
    on_oxygen |= {each.at for each in look.usable(dictionary()["fio2"]) if not _is_at_most(each, ROOM_AIR)}
    states: dict[int, Sample | None] = {}
    for each in others:
        if each.at not in states:
            states[each.at] = None if each.at in on_oxygen else _no_oxygen(look, each.at)
        without = states[each.at]
        if without is not None:
            sent.append(each._replace(source=f"{each.source}, {without.source}"))
    return sorted(sent, key=lambda each: each.order)


def _is_at_most(result: Result, limit: Decimal) -> bool:
    return holds(value_of(result), "<=", limit) is True


def _no_oxygen(look: Look, at: int) -> Sample | None:
    """What says that no oxygen was given at an instant; None where it was, or nobody can say."""
    shown: Sample | None = None
    for fact in (*_SUPPORT, "o2_therapy"):
        shown = look.given(fact, at)
        if shown is None or shown.value is not False:
            return None
    return shown


def gas_not_needed(look: Look) -> Reading | None:
    """Y where the saturation is at the limit or above without more oxygen than usual, and nobody says that
    the patient is not alert.

    A blood gas is not taken from such a patient, so that none is missed. Oxygen holds up the saturation of
    lungs that fail, and nobody can say what a saturation shows while it is not known whether oxygen is given:
    only one on room air then counts. Else unknown, never N: it says which facts may be left out
    (``optional``). Chosen for umbridge, unsigned.
    """
    limit, alert = look.reading("spo2_limit"), look.reading("consciousness")
    on_air = look.reading("spo2_room_air")
    known = [each for each in (look.reading("spo2"), on_air) if each is not None]
    above = _is_on_more_oxygen(look)
    if limit is None or not known or above is True or (above is None and on_air is None):
        return None
    if alert is not None and any(each.value != "A" for each in look.prevailing(alert)):
        return None
    shown = [sample for each in known for sample in look.prevailing(each)]
    if not all(holds(measured(each), ">=", _number(limit.latest)) for each in shown):
        return None
    return single("gas_not_needed", Sample(True, shown[0].at, shown[0].source))


def _is_on_more_oxygen(look: Look) -> bool | None:
    """Whether more oxygen than usual is given, by an order or by what was charted without one.

    Of a patient with oxygen at home only the flows can say so: a fraction may be that of home.
    """
    above, ventilated = o2_above_usual(look), _supported(look, "mechanical_ventilation")
    if _is_stated(above) or (ventilated is not None and ventilated.value is True):
        return True
    if not _is_stated(look.reading("home_oxygen")):
        for fact, air in (("o2_flow", Decimal(0)), ("fio2", ROOM_AIR)):
            charted = look.reading(fact)
            if charted is not None and holds(measured(charted.latest), "<=", air) is not True:
                return True
    else:
        more = _more_than_at_home(look)
        if more is not None and more.value is True:
            return True
    return None if above is None or ventilated is None else False


def lactate_not_needed(look: Look) -> Reading | None:
    """Y where the systolic pressure is 100 mm[Hg] or more, else unknown: with a lower one, and with one that
    nobody took, a lactate that was not taken is missed. Chosen for umbridge, unsigned.
    """
    pressure = look.reading("sbp")
    if pressure is None:
        return None
    shown = look.prevailing(pressure)
    if not all(holds(measured(each), ">=", NOT_LOW) for each in shown):
        return None
    return single("lactate_not_needed", Sample(True, shown[0].at, shown[0].source))


def map_not_needed(look: Look) -> Reading | None:
    """Y where the pressures come to a mean of 65 mm[Hg] or more, (systolic + 2 diastolic) / 3, else unknown.

    Cuffs measure the mean and charts often leave it out. Unsigned.
    """
    systolic, diastolic = look.reading("sbp"), look.reading("dbp")
    if systolic is None or diastolic is None:
        return None
    (upper,), (lower,) = look.prevailing(systolic), look.prevailing(diastolic)
    if not holds(_thrice_mean(measured(upper), measured(lower)), ">=", 3 * LOW_MEAN):
        return None
    return single("map_not_needed", Sample(True, lower.at, f"{upper.source}, {lower.source}"))


def _thrice_mean(systolic: Number, diastolic: Number) -> Number:
    if isinstance(systolic, Decimal) and isinstance(diastolic, Decimal):
        return systolic + 2 * diastolic
    return plus(systolic, times(diastolic, Decimal(2)))


def without_oxygen(look: Look) -> Reading | None:
    """Y where no oxygen is given, else unknown: a fraction of inspired oxygen is not charted then."""
    return _only("without_oxygen", look.reading("o2_therapy"), False)


def workup_complete(look: Look) -> Reading | None:
    """Y where the work-up of a transient attack is complete, else unknown: it would name what it found."""
    return _only("workup_complete", look.reading("tia_workup_complete"), True)


def no_dysfunction(look: Look) -> Sample | None:
    """SOFA of 0 before this illness, of a patient who is not known to have had an organ dysfunction.

    Sepsis-3 (JAMA 2016;315:801) assumes so, as recalled: unsigned. What is known to be one leaves the
    score before open: somebody has to say.
    """
    if any(_is_stated(look.reading(fact)) for fact in _FAILED_BEFORE):
        return None
    creatinine = look.reading("baseline_creatinine")
    if creatinine is not None and not holds(measured(creatinine.latest), "<", KIDNEY_POINT):
        return None
    known = ", ".join((*_FAILED_BEFORE, "baseline_creatinine"))
    return Sample(
        Decimal(0), look.clock(look.now), f"none known: {known}", dictionary()["sofa_baseline"].unit
    )


def _is_stated(reading: Reading | None) -> bool:
    return reading is not None and reading.latest.value is True


def _only(fact: str, reading: Reading | None, value: bool) -> Reading | None:
    if reading is None or reading.latest.value is not value:
        return None
    return single(fact, Sample(True, reading.latest.at, reading.latest.source))


def _number(sample: Sample) -> Decimal:
    return sample.value if isinstance(sample.value, Decimal) else LIMIT


#: What silence about a baseline means; None where it means nothing.
UNSTATED: Mapping[str, Callable[[Look], Sample | None]] = {"sofa_baseline": no_dysfunction}
BASELINE_FACTS: Mapping[str, Callable[[Look], Reading | None]] = {
    "gas_not_needed": gas_not_needed,
    "lactate_not_needed": lactate_not_needed,
    "map_not_needed": map_not_needed,
    "o2_above_usual": o2_above_usual,
    "spo2_limit": spo2_limit,
    "without_oxygen": without_oxygen,
    "workup_complete": workup_complete,
}

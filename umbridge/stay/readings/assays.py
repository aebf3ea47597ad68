"""Laboratory facts that go by one assay, by specimens that nothing spoilt, or by two values of one time."""

from __future__ import annotations

from datetime import datetime
from typing import Protocol

from umbridge.model import Reading, Sample
from umbridge.stay.clock import HOUR
from umbridge.stay.dictionary import FactType, dictionary
from umbridge.stay.readings.derived import single
from umbridge.stay.readings.ends import divided, number_of, value_of
from umbridge.stay.results.statements import Result

NO_FLAG = "flag:none"  # the source of a reading that no message sent


class Look(Protocol):
    """One look at a stay's results, as ``window`` takes it."""

    now: int

    def clock(self, at: int) -> datetime: ...

    def is_own(self, patient: str) -> bool: ...

    def at(self, fact: str, at: int) -> list[Result]: ...

    def usable(self, kind: FactType) -> list[Result]: ...

    def of_results(
        self, kind: FactType, results: list[Result], series: list[Result] | None = None
    ) -> Reading | None: ...


def troponin(look: Look, kind: FactType) -> Reading | None:
    """One assay only: the one with the highest ratio, so that no raised value is passed over."""
    results = look.usable(kind)
    if not results:
        return None
    assay = max(results, key=lambda each: (number_of(each), each.order)).code
    same = [each for each in results if each.code == assay]
    apart = (kind.serial_hours or 0) * HOUR
    return look.of_results(kind, same, [same[0], *(e for e in same if e.at - same[0].at >= apart)])


def potassium(look: Look, kind: FactType) -> Reading | None:
    return look.of_results(kind, _clean_potassium(look, kind))


def _clean_potassium(look: Look, kind: FactType) -> list[Result]:
    """Without the specimens flagged as haemolysed; a flag belongs to its own report and time."""
    flags = look.usable(dictionary()["specimen_hemolyzed"])
    flagged = {specimen for flag in flags if flag.value is True for specimen in _specimens(flag)}
    return [each for each in look.usable(kind) if flagged.isdisjoint(_specimens(each))]


def hemolyzed(look: Look, kind: FactType) -> Reading | None:
    """About the specimen whose potassium counts; silence is N."""
    flags = look.usable(kind)
    clean = _clean_potassium(look, dictionary()["potassium"])
    if clean:
        specimens = _specimens(clean[-1])
        flags = [flag for flag in flags if not specimens.isdisjoint(_specimens(flag))]
    if flags:
        return look.of_results(kind, flags)
    return single(kind.id, Sample(False, look.clock(look.now), NO_FLAG))


def oxygenation(look: Look, kind: FactType) -> Reading | None:
    """Horowitz index as sent, and from a PaO2 and an FiO2 of the same time."""
    sent = look.usable(kind)
    times = {each.at for each in sent}
    for tension in look.usable(dictionary()["pao2"]):
        for fraction in () if tension.at in times else reversed(look.at("fio2", tension.at)):
            ratio = divided(value_of(tension), fraction.value) if look.is_own(fraction.patient) else None
            if ratio is not None:  # by the last told
                source = f"{tension.source} / {fraction.source}"
                sent.append(tension._replace(value=ratio, source=source))
                break
    return look.of_results(kind, sorted(sent, key=lambda each: each.order))


def _specimens(result: Result) -> set[tuple[int, str]]:
    """Report and time, those before a correction gave it another included: the specimen is the same."""
    return {(at, result.report) for at in (result.at, *result.former)}

"""A look asks only for what somebody spoke of, and finds what asking for each fact by itself finds."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from test_case import ARRIVAL, at, obx, orm, oru, yes_no

from umbridge.commands import sample
from umbridge.hl7 import er7
from umbridge.model import Event, Reading
from umbridge.settings.site import DEFAULT_SITE, SiteProfile, parse_site
from umbridge.stay.clock import instant
from umbridge.stay.dictionary import DERIVED, dictionary
from umbridge.stay.fold import StayFold
from umbridge.stay.identity import event_of
from umbridge.stay.readings.cut import Cut
from umbridge.stay.readings.prevailing import latest_only
from umbridge.stay.readings.sources import MADE_OF_RESULTS, coded_by, sources_of
from umbridge.stay.readings.window import _Window, readings
from umbridge.values.kinds import ReviewType

BEGAN = datetime(2026, 3, 2, 8, tzinfo=UTC)
EVERY = frozenset((*dictionary(), *DERIVED))
ASSUMED = '\n[assumptions]\ncomorbidities = "history_complete"\nassessments = "assessment_complete"\n'
USUAL = DEFAULT_SITE.read_text(encoding="utf-8")
SITES = {
    "closed world": parse_site(USUAL.encode()),
    "open world": parse_site(USUAL.replace("closed_world = true", "closed_world = false").encode()),
    "forms assumed": parse_site((USUAL + ASSUMED).encode()),
}


#: Codes that say Y, and N, of a fact of their own.
CODES = tuple(
    prefixes[0]
    for choose in (lambda kind: kind.icd10, lambda kind: kind.icd10_no)
    for prefixes in map(choose, dictionary().values())
    if prefixes
)


def moved(event: Event, to: datetime) -> Event:
    """The same, told and so at another moment."""
    orders = tuple(replace(each, at=to) for each in event.orders)
    seen = tuple(each._replace(at=to, told=(to, to)) for each in event.observations)
    return replace(event, sent_at=to, effective_at=to, orders=orders, observations=seen)


def stays(site: SiteProfile) -> list[tuple[StayFold, datetime]]:
    """One of each story, in another order too, with treatments ordered, ended and charted and a form done."""
    found = []
    for number, story in enumerate(sample.STORIES):
        told = [event_of(er7.parse(raw), site) for raw in sample.stay(number, BEGAN, story)]
        person, visit = told[0].patient, told[0].visit
        last = max(each.sent_at for each in told)
        ill = next(each for each in told if each.diagnoses)
        codes = [ill.diagnoses[0]._replace(code=code, rank=nth) for nth, code in enumerate(CODES, 5)]
        more = [
            orm("RXCEFTRIV", 1, placer="P1"),
            orm("RXCEFTRIV", 2, "CA", placer="P1"),
            orm("RXPIPTAZIV", 3, placer="P2"),
            oru(yes_no("UMB-HXDONE", "Y", 2), yes_no("UMB-NIV", "Y", 1)),
        ]
        told += [
            replace(moved(each, last - timedelta(minutes=nth * 20)), patient=person, visit=visit)
            for nth, each in enumerate(more)
        ]
        told.append(replace(ill, diagnoses=tuple(codes), sent_at=last, effective_at=last))
        for order in (told, told[::-1]):
            fold = StayFold(site)
            for seq, event in enumerate(order, 1):
                fold.apply(event, seq)
            found.append((fold, last))
    return found


def cuts(last: datetime) -> list[Cut]:
    first = [Cut(ReviewType.ADMISSION, instant(last) - hours * 3_600_000_000) for hours in (0, 1, 30)]
    return [
        *first,
        Cut(ReviewType.ADMISSION),
        Cut(ReviewType.CONTINUED_STAY),
        Cut(ReviewType.OBSERVATION, is_later=True),
    ]


@pytest.mark.parametrize("named", SITES)
def test_a_look_finds_what_asking_for_each_fact_by_itself_finds(named: str) -> None:
    site, known = SITES[named], set[str]()
    for fold, last in stays(site):
        stay = fold.stay(last)
        for cut in cuts(last):
            found = readings(fold, last, review=cut, wanted=EVERY, stay=stay)
            alone: dict[str, Reading] = {}
            for fact in sorted(EVERY):
                reading = _Window(fold, last, cut, stay).reading(fact)
                if reading is not None:
                    alone[fact] = latest_only(reading) if cut.is_later else reading
            assert found == alone
            assert list(found) == sorted(found)
            known |= found.keys()
    sources = sources_of(EVERY, frozenset(), frozenset())
    for its in sources:  # each kind of source was seen to say something
        assert known.intersection(its) or not its


#: Two values of each fact that others are made of, two hours and more apart.
SENT = {
    "consciousness": ("A", "A"),
    "creatinine": ("1.1", "1.4"),
    "dbp": ("70", "72"),
    "gcs": ("15", "15"),
    "glucose": ("100", "110"),
    "heart_rate": ("80", "82"),
    "hemoglobin": ("13", "12"),
    "pao2": ("80", "82"),
    "pao2_fio2": ("380", "370"),
    "potassium": ("4.1", "4.2"),
    "resp_rate": ("14", "15"),
    "sbp": ("120", "122"),
    "sodium": ("139", "140"),
    "spo2": ("97", "98"),
    "spo2_room_air": ("97", "98"),
    "troponin_ratio": ("10", "40"),
}
#: What some of them are made of besides.
BESIDE = {
    "baseline_creatinine": ("0.9", "0.9"),
    "fio2": ("0.21", "0.21"),
}
TOGETHER = (
    *(("sodium", "glucose"), ("dbp", "sbp"), ("pao2", "fio2"), ("creatinine", "baseline_creatinine")),
    *((fact,) for fact in SENT),
)


def code_of(fact: str) -> str:
    kind = dictionary()[fact]
    local = (
        code for its in SITES["closed world"].observations.values() for code, of in its.items() if of == fact
    )
    return kind.loinc[0] if kind.loinc else next(local)


def test_a_fact_made_of_results_is_found_by_each_of_those_that_make_it() -> None:
    site, seen_by = SITES["closed world"], {fact: set[str]() for fact in MADE_OF_RESULTS}
    cut = Cut(ReviewType.ADMISSION)
    for sent in TOGETHER:
        fold = StayFold(site)
        fold.apply(ARRIVAL, 0)
        its = [
            obx(code_of(fact), value, hours, dictionary()[fact].unit, reference="0-20")
            for fact in sent
            for hours, value in zip((1, 4.5), (SENT | BESIDE)[fact], strict=True)
        ]
        fold.apply(oru(*its), 1)
        stay = fold.stay(at(5))
        found = readings(fold, at(5), review=cut, wanted=frozenset(MADE_OF_RESULTS), stay=stay)
        for fact, of in MADE_OF_RESULTS.items():
            assert found.get(fact) == _Window(fold, at(5), cut, stay).reading(fact)
            if fact in found:
                seen_by[fact] |= {*of}.intersection(sent)
    assert seen_by == {fact: {*of} for fact, of in MADE_OF_RESULTS.items()}  # none is listed in vain


def test_every_wanted_fact_has_one_source() -> None:
    for closed in (frozenset[str](), frozenset({"comorbidities", "assessments"})):
        sources = sources_of(EVERY, closed, frozenset({"gcs"}))
        assert sorted(fact for its in sources for fact in its) == sorted(EVERY)


def test_a_diagnosis_speaks_of_the_facts_that_list_it_either_way() -> None:
    for kind in dictionary().values():
        for prefix in (*kind.icd10, *kind.icd10_no):
            assert kind.id in coded_by(prefix)
    assert coded_by("") == ()

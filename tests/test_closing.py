"""What closes a review, what opens it again, and what leaves it as it is: worked as a lane worker does."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from test_host import HEAD, install
from test_work import Book, one
from umbridge_audit.slots import SCHEMAS

from umbridge.lanes import asking, work
from umbridge.lanes.protocol import Done, Reread, ScreenAgain, Silence, Snapshot
from umbridge.lanes.work import StayWork
from umbridge.review.closing import Answered, Closing, after
from umbridge.review.critical import LIMITS
from umbridge.review.standing import LaneReviews, ReviewRecord, decoded, encoded
from umbridge.screening.host import Host
from umbridge.settings.site import default_site
from umbridge.stay.clock import HOUR, instant
from umbridge.stay.dictionary import dictionary
from umbridge.stay.readings import corrections
from umbridge.stay.results.counted import is_changed
from umbridge.stay.results.statements import Result
from umbridge.values.kinds import Outcome, ReviewState

START = datetime(2026, 3, 2, 15, 0, tzinfo=UTC)
NUMBER = SCHEMAS["determination"].number
NAMES = {"pulse": "zz-one"}
#: A vendor's: a last pulse of 100 meets, one of 150 is more than was asked for. It needs no diagnosis.
PULSE = """
@hookimpl
def umbridge_screen(case):
    told = case.facts.get("heart_rate")
    if told is None:
        return ScreenResult(Outcome.PEND, "cap", "2026.1", DIGEST, missing=("heart_rate",))
    pulse = told.latest.value
    said = Outcome.MEETS_ADVISE_HIGHER if pulse >= 150 else Outcome.MEETS if pulse >= 100 else Outcome.REFER
    return ScreenResult(said, "cap", "2026.1", DIGEST)
"""


def hosted(folder: Path, screen: str) -> Iterator[Host]:
    """A host with one plugin, of this answer."""
    install(folder, "pulse", HEAD.replace('("bun", "sbp")', '("heart_rate",)') + screen)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(folder))
        before = os.environ.get("PYTHONPATH", "")
        patch.setenv("PYTHONPATH", f"{folder}:{before}" if before else str(folder))
        found = Host(call_seconds=60.0)
        found.start(sorted(NAMES))
        yield found
        found.stop()


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    yield from hosted(tmp_path_factory.mktemp("vendor"), PULSE)


def at(hours: float) -> datetime:
    return START + timedelta(hours=hours)


def stamp(hours: float) -> str:
    return at(hours).strftime("%Y%m%d%H%M%S+0000")


class Ward:
    """One stay, told message by message to one lane worker."""

    def __init__(self, host: Host) -> None:
        self.host = host
        self.book = Book()
        self.book.task = replace(self.book.task, pseudonyms=NAMES)
        self.work = StayWork(default_site(), host, charsets={})
        self.count = 0

    def tell(self, kind: str, hours: float, *segments: str) -> Done:
        self.count += 1
        head = f"MSH|^~\\&|ZZEHR|UMBH|UMBRIDGE|UMBH|{stamp(hours)}||{kind}|ZZC{self.count}|P|2.5.1"
        whole = [head, *([f"EVN||{stamp(hours)}"] if kind.startswith("ADT") else [])]
        whole += ["PID|1||ZZ4^^^UMBH^MR||ZZTEST^ALDER||19541110|F", *segments]
        frame = ("\r".join(whole) + "\r").encode()
        self.done: Done = self.book.take(one(self.work, self.book.next(frame)))
        return self.done

    def arrive(self, hours: float = 0, diagnosis: str = "J18.9") -> Done:
        return self.tell("ADT^A04", hours, pv1("E", "ED^12", "EDP"), *dg1(diagnosis))

    def order(self, hours: float, code: str = "ADTINPT", control: str = "NW", placer: str = "P1") -> Done:
        orc = f"ORC|{control}|ZZ{placer}^ZZEHR|||||||{stamp(hours)}"
        return self.tell("ORM^O01", hours, pv1(), orc, f"OBR|1|ZZ{placer}^ZZEHR||{code}^{code}^99UMB")

    def pulse(self, value: int, collected: float, told: float, report: str = "R1", status: str = "F") -> Done:
        obr = f"OBR|1||ZZ{report}^ZZEHR|VITALS^VITALS^99UMB|||{stamp(collected)}"
        said = f"OBX|1|NM|8867-4^Heart rate^LN||{value}|/min^/min^UCUM|||||{status}|||{stamp(collected)}"
        return self.tell("ORU^R01", told, pv1(), obr, said)

    def state(self, kind: str = "ADMISSION") -> str:
        (found,) = [
            str(each.state)
            for name, each in self.book.task.said.reviews.items()
            if name.partition("-")[0] == kind
        ]
        return found

    def hush(self, hours: float, purpose: Reread | ScreenAgain | None = None) -> Done:
        """A moment comes and no message does; or the rules of reading are others."""
        book = self.book
        last = replace(
            book.task,
            seq=len(book.rows),
            frame=book.rows[-1].frame,
            after=len(book.rows),
            purpose=purpose or Silence(at(hours)),
            stored=Snapshot(book.head, tuple(book.increments)),
        )
        self.done = book.take(one(StayWork(default_site(), self.host, charsets={}), last))
        return self.done

    def states(self) -> dict[str, str]:
        said = self.book.task.said.reviews
        return {name.partition("-")[0]: str(each.state) for name, each in said.items()}

    def reopened(self, kind: str = "ADMISSION") -> str:
        (found,) = [
            each.reopened
            for name, each in self.book.task.said.reviews.items()
            if name.partition("-")[0] == kind
        ]
        return found

    def exceptions(self) -> tuple[str, ...]:
        said = self.book.task.said
        return (*(["CLOSED_EARLY_DIFFERS"] if said.differing else []), *said.raised)


def held(ward: Ward, kind: str = "ADMISSION") -> list[str]:
    """Why the answers in force keep a review open."""
    (record,) = [each for name, each in ward.book.task.said.reviews.items() if name.startswith(kind)]
    return sorted(reason for each in record.answers.values() for reason in each.hold)


def written(done: Done) -> list[tuple[str, str, str]]:
    """What the ledger is told of reviews: type, state, and why one is open again."""
    slots = [SCHEMAS["review.changed"].number[name] for name in ("review", "state", "reason")]
    return [(a, b, c) for each in done.changed for a, b, c in [[json.loads(each.texts[n]) for n in slots]]]


def pv1(patient_class: str = "", place: str = "", patient_type: str = "") -> str:
    return f"PV1|1|{patient_class}|{place}" + "|" * 15 + f"{patient_type}|ZZV4^^^UMBH^VN"


def dg1(code: str) -> list[str]:
    return [f"DG1|1||{code}^^I10|||A|||||||||1"] if code else []


def outcomes(done: Done) -> dict[str, Outcome]:
    return {each.plugin: each.outcome for each in done.determined}


def test_without_a_diagnosis_a_plugin_that_needs_none_is_not_asked_either(host: Host) -> None:
    ward = Ward(host)
    ward.arrive(diagnosis="")
    ward.pulse(120, 0.5, 0.6)
    done = ward.order(1)
    (said,) = done.determined
    assert said.outcome is Outcome.PEND
    assert said.texts[NUMBER["missing"]] == '["principal_diagnosis"]'
    assert ward.state() == "open"
    done = ward.tell("ADT^A08", 2, pv1("E", "ED^12", "EDP"), *dg1("J18.9"))
    assert outcomes(done) == {"pulse": Outcome.MEETS}
    assert ward.state() == "closed"


def test_the_ledger_says_what_was_sent_of_a_fact_that_is_missing(host: Host) -> None:
    """Nobody looks in vain for a pulse that came too late, or wonders what became of it."""
    ward = Ward(host)
    ward.arrive()
    ward.order(1)
    (said,) = [each for each in ward.pulse(120, 5, 5.1).determined if each.review.startswith("ADMISSION")]
    assert said.outcome is Outcome.PEND
    assert json.loads(said.texts[NUMBER["rationale"]]) == (
        "Sent: heart_rate 120 /min of 2026-03-02 15:00 -05:00: collected after the moment that is judged, "
        "2026-03-02 14:00 -05:00: not used."
    )


def admitted(host: Host, value: int = 120) -> Ward:
    """Arrived at 0, pulse at half past, inpatient at 1: T is 4 h and reports count until 8 h."""
    ward = Ward(host)
    ward.arrive()
    ward.pulse(value, 0.5, 0.6)
    ward.order(1)
    return ward


def test_a_correction_that_finds_nothing_holds_what_is_open_and_opens_nothing(host: Host) -> None:
    """Under another number and without a time it may mean the value that counted."""
    lost = ("OBR|1||ZZR77^ZZEHR|VITALS^VITALS^99UMB", "OBX|1|NM|8867-4^Heart rate^LN||||||||D")
    for told in (2, 30):
        ward = admitted(host)
        ward.tell("ORU^R01", told, pv1(), *lost)
        assert (ward.state(), ward.reopened()) == ("closed", "")
    ward = Ward(host)
    ward.arrive()
    ward.pulse(130, 0.5, 0.6)
    ward.tell("ORU^R01", 0.8, pv1(), *lost)
    ward.order(1)
    assert (ward.state(), held(ward)) == ("open", ["CORRECTION_NOT_FOUND"])
    ward.pulse(130, 0.5, 2)  # told again: the laboratory says what it is
    assert (ward.state(), held(ward)) == ("closed", [])


def test_a_correction_of_what_counted_opens_it_and_the_next_one_closes_it_again(host: Host) -> None:
    for told in (2, 30):  # before T and long after it
        ward = admitted(host)
        assert ward.state() == "closed"
        assert written(ward.done) == [("ADMISSION", "closed", "")]
        done = ward.pulse(80, 0.5, told, status="C")
        assert written(done)[:1] == [("ADMISSION", "open", "FACT_CORRECTED")]
        assert {why for _, _, why in written(done)[1:]} <= {""}
        assert (ward.state(), ward.reopened()) == ("open", "FACT_CORRECTED")
        assert [line.reason for line in ward.done.open if line.type == "ADMISSION"] == ["FACT_CORRECTED"]
        ward.pulse(130, 0.5, told + 1, status="C")
        is_early = told < 4
        assert (ward.state(), ward.reopened()) == (("closed", "") if is_early else ("open", "FACT_CORRECTED"))
        assert held(ward) == ([] if is_early else ["FACT_CORRECTED"])


@pytest.mark.parametrize(
    ("value", "told", "status", "expected"),
    [
        (130, 7.9, "C", ("closed", [])),  # T is at 4 hours, and reports have as long again
        (130, 8.1, "C", ("open", ["FACT_CORRECTED"])),
        (130, 30, "C", ("open", ["FACT_CORRECTED"])),
        (130, 30, "F", ("open", ["FACT_CORRECTED"])),  # the laboratory says no C, and means one
        (160, 30, "C", ("open", ["ADVISED_HIGHER", "FACT_CORRECTED"])),
        (90, 30, "C", ("open", [])),  # it does not meet with it either
    ],
)
def test_a_correction_that_nobody_could_know_at_the_moment_closes_no_open_review(
    host: Host, value: int, told: float, status: str, expected: tuple[str, list[str]]
) -> None:
    ward = admitted(host, 80)
    assert ward.state() == "open"
    ward.pulse(value, 0.5, told, status=status)
    assert (ward.state(), held(ward)) == expected


def test_a_value_withdrawn_late_closes_no_open_review_either(host: Host) -> None:
    ward = admitted(host, 80)
    ward.pulse(120, 0.4, 3, "R2")  # before the other: 80 is the last
    assert ward.state() == "open"
    ward.pulse(80, 0.5, 30, status="D")
    assert (ward.state(), held(ward)) == ("open", ["FACT_CORRECTED"])


def test_a_withdrawal_of_what_counted_opens_it_and_of_what_did_not_changes_nothing(host: Host) -> None:
    ward = admitted(host)
    ward.pulse(90, 5, 5.1, "R2")  # after T
    ward.pulse(90, 5, 6, "R2", "D")
    assert (ward.state(), ward.exceptions()) == ("closed", ())
    ward.pulse(120, 0.5, 7, status="W")
    assert (ward.state(), ward.reopened()) == ("open", "FACT_CORRECTED")


def test_a_correction_after_which_it_still_meets_leaves_it_closed(host: Host) -> None:
    ward = admitted(host)
    ward.pulse(101, 0.5, 30, status="C")
    assert (ward.state(), ward.exceptions()) == ("closed", ())


def test_a_correction_that_was_sent_first_and_came_last_is_seen(host: Host) -> None:
    """By when it came, not by when it was told: the feed had it somewhere."""
    ward = admitted(host)
    ward.tell("ADT^A08", 3, pv1("E", "ED^12", "EDP"))
    ward.pulse(80, 0.5, 0.8, status="C")
    assert (ward.state(), ward.reopened()) == ("open", "FACT_CORRECTED")


def test_who_gets_better_before_the_moment_stays_closed_and_a_person_is_told_at_it(host: Host) -> None:
    ward = admitted(host)
    ward.pulse(80, 2, 2.1, "R2")
    assert (ward.state(), ward.exceptions()) == ("closed", ())
    ward.hush(4)
    assert (ward.state(), ward.exceptions()) == ("closed", ("CLOSED_EARLY_DIFFERS",))
    ward.tell("ADT^A08", 5, pv1("E", "ED^12", "EDP"))
    assert (ward.state(), ward.exceptions()) == ("closed", ("CLOSED_EARLY_DIFFERS",))
    ward.pulse(120, 3.9, 7.9, "R3")  # collected before T, and told within the grace
    assert (ward.state(), ward.exceptions()) == ("closed", ())


def test_a_correction_opens_what_was_closed_early_and_differs(host: Host) -> None:
    ward = admitted(host)
    ward.pulse(80, 2, 2.1, "R2")
    ward.hush(4)
    ward.pulse(60, 0.5, 20, status="C")
    assert (ward.state(), ward.reopened(), ward.exceptions()) == ("open", "FACT_CORRECTED", ())


def test_what_is_collected_after_the_moment_or_told_too_late_changes_nothing(host: Host) -> None:
    for value in (80, 160):
        ward = admitted(host)
        ward.pulse(value, 4.01, 4.1, "R2")
        assert outcomes(ward.done) == {"pulse": Outcome.MEETS}
        assert ward.pulse(value, 3, 8.01, "R3").determined == []  # the same question
        assert (ward.state(), ward.exceptions()) == ("closed", ())


def test_a_higher_level_that_is_advised_opens_it_for_a_person(host: Host) -> None:
    for collected, told in ((2, 2.1), (3, 7.9)):
        ward = admitted(host)
        ward.pulse(160, collected, told, "R2")
        assert (ward.state(), ward.reopened()) == ("open", "ADVISED_HIGHER")
        assert written(ward.done) == [("ADMISSION", "open", "ADVISED_HIGHER")]


def test_it_is_judged_once_at_its_moment_in_silence(host: Host) -> None:
    ward = Ward(host)
    ward.arrive()
    done = ward.order(1)
    assert done.due == START + timedelta(hours=4)
    ward.pulse(80, 2, 2.1)
    done = ward.pulse(120, 3, 3.1, "R2")
    assert ward.state() == "closed"
    assert [each.outcome for each in ward.hush(4).determined] == [Outcome.MEETS]
    assert ward.hush(4.5).determined == []
    assert ward.done.due is None or ward.done.due > START + timedelta(hours=4)


MOMENT = 4 * HOUR
CLOSED = Closing(7, HOUR, MOMENT)


@pytest.mark.parametrize("outcome", [Outcome.REFER, Outcome.PEND, Outcome.MEETS_ADVISE_HIGHER, None])
@pytest.mark.parametrize("is_final", [False, True])
@pytest.mark.parametrize("is_corrected", [False, True])
@pytest.mark.parametrize("is_critical", [False, True])
@pytest.mark.parametrize("is_gone", [False, True])
@pytest.mark.parametrize("moment", [MOMENT, MOMENT + 1])
def test_five_reasons_open_a_review_and_nothing_else_does(
    outcome: Outcome | None, is_final: bool, is_corrected: bool, is_critical: bool, is_gone: bool, moment: int
) -> None:
    """``outcome`` None: the plugin failed. That opens nothing and says nothing of the stay."""
    outcomes = () if outcome is None else (outcome,)
    said = Answered(
        Closing(9, MOMENT, moment),
        is_met=False,
        is_final=is_final,
        outcomes=outcomes,
        has_failed=outcome is None,
        is_order_gone=is_gone,
        is_critical=is_critical,
    )
    now, why = after(CLOSED, said, lambda held: is_corrected)
    expected = (
        "FACT_CORRECTED"
        if is_corrected
        else "MOMENT_MOVED"
        if moment != MOMENT
        else "STATUS_ORDER_CANCELLED"
        if is_gone
        else "ADVISED_HIGHER"
        if outcome is Outcome.MEETS_ADVISE_HIGHER
        else "CRITICAL_VALUE"
        if is_critical
        else ""
    )
    assert why == expected
    differs = is_final and outcome is not None
    assert now == (None if expected else replace(CLOSED, differs=differs))
    assert after(None, said, lambda held: is_corrected) == (None, "")  # an open one stays open
    met = replace(said, is_met=True)
    assert after(CLOSED, met, lambda held: is_corrected) == (met.closing, "")
    assert after(None, met, lambda held: is_corrected) == (met.closing, "")


def test_an_order_that_moves_the_start_has_it_judged_as_of_then(host: Host) -> None:
    """Registered as an inpatient at 6; the order is of 8, and inpatient care begins with it."""
    ward = Ward(host)
    ward.arrive()
    ward.pulse(120, 5, 5.1)
    ward.tell("ADT^A01", 6, pv1("I", "4W^310", "INP"), *dg1("J18.9"))
    ward.pulse(80, 7, 7.1, "R2")  # after T
    assert (ward.state(), held(ward)) == ("open", ["INPATIENT_ORDER_MISSING"])
    ward.order(8)
    assert (ward.state(), ward.reopened(), held(ward)) == ("open", "", [])
    assert outcomes(ward.done) == {"pulse": Outcome.REFER}


@pytest.mark.parametrize("hours", [2.0, 9.0])
def test_an_order_that_is_cancelled_takes_away_what_was_judged(host: Host, hours: float) -> None:
    """Before its moment and after: who is an inpatient by registration alone is for a person."""
    ward = admitted(host)
    ward.tell("ADT^A01", 1.5, pv1("I", "4W^310", "INP"), *dg1("J18.9"))
    assert ward.state() == "closed"
    ward.order(hours, control="CA")
    assert (ward.state(), ward.reopened()) == ("open", "STATUS_ORDER_CANCELLED")
    assert ("ADMISSION", "open", "STATUS_ORDER_CANCELLED") in written(ward.done)
    assert (held(ward), ward.exceptions()) == (["INPATIENT_ORDER_MISSING"], ())
    ward.hush(10)
    assert (ward.state(), ward.exceptions()) == ("open", ())
    ward.order(11, placer="P2")
    assert ward.state() == "closed"


def test_an_order_for_observation_that_is_cancelled_takes_away_what_was_judged(host: Host) -> None:
    ward = Ward(host)
    ward.arrive()
    ward.order(1, "ADTOBS")
    ward.tell("ADT^A08", 1.5, pv1("O", "CDU^1", "OBS"), *dg1("J18.9"))
    ward.pulse(120, 2, 2.1)
    assert ward.state("OBSERVATION") == "closed"
    ward.order(5, "ADTOBS", control="CA")
    assert (ward.state("OBSERVATION"), ward.reopened("OBSERVATION")) == ("open", "STATUS_ORDER_CANCELLED")
    assert held(ward, "OBSERVATION") == ["STATUS_ORDER_CANCELLED"]
    ward.order(6, "ADTOBS", placer="P2")
    assert ward.state("OBSERVATION") == "closed"


@pytest.mark.parametrize(("effective", "state"), [(8, "open"), (7, "open"), (6.5, "closed"), (9.0, "closed")])
def test_an_order_told_again_with_another_time_has_it_judged_as_of_then(
    host: Host, effective: float, state: str
) -> None:
    """Closed by what was so at 6; worse at 7. At 9, which is when it was told, something else was changed."""
    ward = Ward(host)
    ward.arrive()
    ward.pulse(120, 5, 5.1)
    ward.order(6)
    ward.pulse(80, 7, 7.1, "R2")  # after T
    assert (ward.state(), ward.exceptions()) == ("closed", ())
    orc = f"ORC|XO|ZZP1^ZZEHR|||||||{stamp(9)}||||||{stamp(effective)}"
    ward.tell("ORM^O01", 9, pv1(), orc, "OBR|1|ZZP1^ZZEHR||ADTINPT^ADTINPT^99UMB")
    assert ward.state() == state
    assert ward.reopened() == ("MOMENT_MOVED" if state == "open" else "")
    assert (("ADMISSION", "open", "MOMENT_MOVED") in written(ward.done)) == (state == "open")


def test_an_order_in_the_place_of_another_has_a_review_of_its_own(host: Host) -> None:
    ward = admitted(host)
    ward.pulse(80, 6, 6.1, "R2")
    ward.order(7, control="CA")
    ward.order(7.5, placer="P2")
    states = {name: str(each.state) for name, each in ward.book.task.said.reviews.items()}
    assert states == {"ADMISSION-3": "void", "ADMISSION-6": "open"}


def test_a_review_that_was_closed_in_a_store_of_before_stays_closed(host: Host) -> None:
    ward = admitted(host)
    row = encoded(ward.book.task.said)
    del row["closings"], row["reopened"]
    ward.book.task = replace(ward.book.task, said=decoded(row))
    assert ward.book.task.said.completed
    ward.pulse(80, 2, 2.1, "R2")
    assert (ward.state(), ward.exceptions()) == ("closed", ())
    ward.pulse(60, 0.5, 20, status="C")  # what it rested on is known from here on
    assert (ward.state(), ward.reopened()) == ("open", "FACT_CORRECTED")


def test_a_continued_stay_that_is_closed_is_not_asked_about_another_day(host: Host) -> None:
    """It opens again for a correction or a higher level, until the next of its kind asks."""
    ward = admitted(host)
    ward.pulse(120, 45, 45.1, "R2")  # the third local day
    ward.tell("ADT^A08", 45.2, pv1("I", "4W^310", "INP"))
    assert ward.state("CONTINUED_STAY") == "closed"
    ward.pulse(80, 48, 48.1, "R3")  # better in the afternoon: the next review asks
    assert (ward.state("CONTINUED_STAY"), ward.reopened("CONTINUED_STAY")) == ("closed", "")
    done = ward.pulse(80, 24 * 5 - 3, 24 * 5 - 2.9, "R4")  # the sixth day's review has opened
    assert {each.review for each in done.determined} == {"CONTINUED_STAY-3-2"}


@pytest.mark.parametrize(("pulse", "reason"), [(130, ""), (131, "CRITICAL_VALUE"), (39, "CRITICAL_VALUE")])
def test_who_becomes_critical_after_the_day_was_closed_is_seen(host: Host, pulse: int, reason: str) -> None:
    """Whatever the plugin says of it: 131 meets, and 39 does not. Who was well again is judged anew."""
    ward = admitted(host)
    ward.pulse(120, 45, 45.1, "R2")
    ward.tell("ADT^A08", 45.2, pv1("I", "4W^310", "INP"))
    assert ward.state("CONTINUED_STAY") == "closed"
    ward.pulse(pulse, 48, 48.1, "R3")
    state = "open" if reason else "closed"
    assert (ward.state("CONTINUED_STAY"), ward.reopened("CONTINUED_STAY")) == (state, reason)
    assert ward.state("ADMISSION") == "closed"
    ward.pulse(110, 50, 50.1, "R4")
    assert ward.state("CONTINUED_STAY") == "closed"


def on_day_three(host: Host, pulse: int, *told: str) -> Ward:
    """An inpatient whose continued stay is due, with that last pulse and these results beside it."""
    ward = admitted(host)
    if told:
        obr = f"OBR|1||ZZR3^ZZEHR|LAB^LAB^99UMB|||{stamp(45)}"
        ward.tell("ORU^R01", 45.05, pv1(), obr, *told)
    ward.pulse(pulse, 45, 45.1, "R2")
    ward.tell("ADT^A08", 45.2, pv1("I", "4W^310", "INP"))
    return ward


def measured(fact: str, value: Decimal, hours: float) -> str:
    kind = dictionary()[fact]
    of = f"{kind.loinc[0]}^{fact}^LN||{value}|{kind.unit}^{kind.unit}^UCUM"
    return f"OBX|1|NM|{of}|||||F|||{stamp(hours)}"


@pytest.mark.parametrize("fact", sorted(LIMITS.keys() - {"heart_rate"}))
def test_a_critical_value_that_no_plugin_asked_for_is_looked_at(host: Host, fact: str) -> None:
    ward = on_day_three(host, 120)
    assert ward.state("CONTINUED_STAY") == "closed"
    op, limit = LIMITS[fact][0]
    beyond = limit + (Decimal("0.1") if op[0] == ">" else -Decimal("0.1"))
    obr = f"OBR|1||ZZR4^ZZEHR|LAB^LAB^99UMB|||{stamp(48)}"
    ward.tell("ORU^R01", 48.1, pv1(), obr, measured(fact, beyond, 48))
    assert (ward.state("CONTINUED_STAY"), ward.reopened("CONTINUED_STAY")) == ("open", "CRITICAL_VALUE")


@pytest.mark.parametrize(("code", "waits"), [("SNF_BED", True), ("RESULT", False)])
def test_a_wait_that_no_plugin_asked_for_is_looked_at(host: Host, code: str, *, waits: bool) -> None:
    barrier = f"OBX|1|CWE|UMB-DCBARR^Barrier^99UMB||{code}^{code}^99UMB||||||F|||{stamp(45)}"
    ward = on_day_three(host, 120, barrier)
    assert ward.state("CONTINUED_STAY") == ("open" if waits else "closed")
    assert held(ward, "CONTINUED_STAY") == (["DISCHARGE_BARRIER"] if waits else [])
    assert held(ward) == []  # a first look asks what was so at its moment


@pytest.mark.parametrize(("fever", "is_held"), [("36.9", True), ("38.4", False)])
def test_an_antibiotic_that_nobody_stopped_keeps_no_stable_patient(
    host: Host, fever: str, *, is_held: bool
) -> None:
    well = {"temperature": fever, "sbp": "128", "spo2": "97", "resp_rate": "16"}
    told = [measured(fact, Decimal(value), 45) for fact, value in well.items()]
    given = f"OBX|9|CWE|UMB-IVABX^Antibiotic by vein^99UMB||Y^Yes^HL70136||||||F|||{stamp(45)}"
    ward = on_day_three(host, 100, *told, given)
    assert ward.state("CONTINUED_STAY") == ("open" if is_held else "closed")
    assert held(ward, "CONTINUED_STAY") == (["STABLE_ON_TREATMENT"] if is_held else [])


def test_under_other_rules_what_is_closed_stays_so_and_a_person_is_told_where_it_no_longer_meets(
    host: Host,
) -> None:
    """As in a store of before: nothing says when it was closed, and its answers stay as they were."""
    for value, expected in ((120, ()), (80, ("CLOSED_EARLY_DIFFERS",)), (160, ("CLOSED_EARLY_DIFFERS",))):
        ward = admitted(host)
        ward.pulse(value, 3, 7.9, "R2")
        held = ward.book.task.said.review("ADMISSION-3")
        answers = {"pulse": replace(held.answers["pulse"], outcome=Outcome.MEETS, met=True)}
        before = ReviewRecord(ReviewState.CLOSED, answers, Closing())
        ward.book.task = replace(ward.book.task, said=LaneReviews(at(7.9), {"ADMISSION-3": before}))
        done = ward.hush(7.9, Reread())
        assert (done.determined, done.changed) == ([], [])
        assert (ward.state(), ward.reopened(), ward.exceptions()) == ("closed", "", expected)
        assert ward.book.task.said.review("ADMISSION-3").answers == answers


def test_the_question_that_a_closed_review_was_answered_is_not_put_again(host: Host) -> None:
    """From its moment on nearly every message leaves it as it is; a person who asks again is answered."""
    ward = admitted(host)
    a08 = ("ADT^A08", pv1("E", "ED^12", "EDP"))
    assert len(ward.tell(a08[0], 3, a08[1]).determined) == 1  # before its moment it follows the day
    assert len(ward.tell(a08[0], 5, a08[1]).determined) == 1  # judged for good
    for hours in (6, 30, 300):
        assert "ADMISSION-3" not in {each.review for each in ward.tell(a08[0], hours, a08[1]).determined}
    assert "ADMISSION-3" in {each.review for each in ward.hush(301, ScreenAgain()).determined}
    done = ward.pulse(110, 0.5, 302, status="C")
    assert {each.review: each.outcome for each in done.determined}["ADMISSION-3"] is Outcome.MEETS
    ward.pulse(80, 0.5, 303, status="C")
    assert (ward.state(), ward.reopened()) == ("open", "FACT_CORRECTED")
    assert len(ward.tell(a08[0], 304, a08[1]).determined) >= 1  # an open one is asked each time


def test_after_the_discharge_a_correction_has_the_admission_looked_at_afterwards(host: Host) -> None:
    """The admission itself is over; who corrects a result next week has somebody look all the same."""
    ward = admitted(host)
    ward.tell("ADT^A03", 20, pv1("I", "4W^310", "INP"))
    assert ward.states() == {"ADMISSION": "closed"}
    ward.pulse(130, 0.5, 30, status="C")
    assert ward.states() == {"ADMISSION": "closed"}
    done = ward.pulse(80, 0.5, 200, status="C")
    assert ward.states() == {"ADMISSION": "closed", "RETROSPECTIVE": "open"}
    assert written(done) == [("RETROSPECTIVE", "open", "FACT_CORRECTED")]
    assert [line.reason for line in done.open] == ["FACT_CORRECTED"]
    assert done.due is not None  # which nobody was asked about yet
    done = ward.hush((done.due - START) / timedelta(hours=1))
    assert {each.review.partition("-")[0]: each.outcome for each in done.determined} == {
        "RETROSPECTIVE": Outcome.REFER
    }
    assert done.due is None
    assert [line.reason for line in done.open] == ["FACT_CORRECTED"]
    done = ward.tell("ADT^A13", 201, pv1("I", "4W^310", "INP"))
    assert (ward.state(), ward.reopened()) == ("open", "FACT_CORRECTED")
    again = {("ADMISSION", "open", "FACT_CORRECTED"), ("RETROSPECTIVE", "void", "")}
    assert again <= set(written(done)) and {why for *_, why in written(done)} == {"FACT_CORRECTED", ""}


def test_an_admission_that_no_answers_closed_is_looked_at_afterwards_for_that_reason(host: Host) -> None:
    ward = admitted(host, 80)
    done = ward.tell("ADT^A03", 20, pv1("I", "4W^310", "INP"))
    assert {("ADMISSION", "closed", ""), ("RETROSPECTIVE", "open", "")} <= set(written(done))
    assert [line.reason for line in done.open] == ["NO_COMPLETED_ADMISSION_REVIEW"]


def test_who_leaves_before_the_moment_is_judged_as_of_leaving(host: Host) -> None:
    ward = admitted(host)
    ward.pulse(80, 2, 2.1, "R2")
    ward.tell("ADT^A03", 3, pv1("I", "4W^310", "INP"))
    assert (ward.state(), ward.exceptions()) == ("closed", ("CLOSED_EARLY_DIFFERS",))


def _by_when_it_was_told(told: Sequence[Result], made: Any, told_by: int, row: int, is_within: Any) -> bool:
    """As if what was sent before the newest of the known had been known."""
    last = max((each.sent for each in told if each.seq <= row), default=0)
    known = [each._replace(seq=0 if each.sent <= max(last, instant(at(3))) else row + 1) for each in told]
    return is_changed(known, made, told_by, row, is_within)


@pytest.mark.parametrize(
    ("room", "name", "planted", "seen_by"),
    [
        (
            work,
            "is_corrected",
            lambda *_: False,
            test_a_correction_of_what_counted_opens_it_and_the_next_one_closes_it_again,
        ),
        (
            work,
            "is_corrected",
            lambda *_: True,
            test_who_gets_better_before_the_moment_stays_closed_and_a_person_is_told_at_it,
        ),
        (
            asking,
            "told_of_a_correction",
            lambda result, _: result,
            test_a_value_withdrawn_late_closes_no_open_review_either,
        ),
        (work, "is_due", lambda *_: False, test_it_is_judged_once_at_its_moment_in_silence),
        (
            corrections,
            "is_changed",
            _by_when_it_was_told,
            test_a_correction_that_was_sent_first_and_came_last_is_seen,
        ),
    ],
)
def test_a_planted_bug_is_seen(
    host: Host,
    monkeypatch: pytest.MonkeyPatch,
    room: Any,
    name: str,
    planted: Callable[..., Any],
    seen_by: Callable[[Host], None],
) -> None:
    monkeypatch.setattr(room, name, planted)
    with pytest.raises(AssertionError):
        seen_by(host)

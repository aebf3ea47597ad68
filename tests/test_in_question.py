"""An answer waits where a correction or an end that found nothing may mean what it goes by, and only so."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
import umbridge_interqual_like as interqual
from test_unreadhold import ARRIVAL, ILL, LATER, NUMBER, ORDER, ORDERED, lab, message
from umbridge_kit.boundary_patients import case

from umbridge import Outcome, ScreenResult
from umbridge.commands.pages import REASONS
from umbridge.criteria.unreadhold import CORRECTION_NOT_FOUND, ORDER_NOT_FOUND, ORDER_UNREAD, held_for_unread
from umbridge.dryrun.screen import Shadow
from umbridge.review.waves import is_named
from umbridge.screening.case_codec import case_in, case_out
from umbridge.screening.host import Host
from umbridge.settings.site import default_site
from umbridge.stay.orders.strange import UNKNOWN, Strange
from umbridge.stay.results.result_list import ResultList
from umbridge.stay.results.unfound import UNFOUND

SODIUM, POTASSIUM = "2951-2", "2823-3"


@pytest.fixture(scope="module")
def host() -> Iterator[Host]:
    found = Host(call_seconds=60.0)
    found.start(["interqual_like"])
    yield found
    found.stop()


def looked(host: Host, *messages: bytes) -> Any:
    """The admission review, and the exceptions of the stay."""
    run = Shadow(default_site())
    for each in messages:
        run.take(each)
    (line,) = [line for line in run.screen(host, None) if line["review"] == "ADMISSION"]
    stay = next(each for each in run.stays(None) if each["visit"] == line["visit"])
    return line, stay["exceptions"]


def correction(code: str = SODIUM, status: str = "D", told: str = "202603021200", taken: str = "") -> bytes:
    """Under a number of which nobody ever told; without a time of its own it may mean any value."""
    value = "120" if status == "C" else ""
    line = f"OBX|1|NM|{code}^zz^LN||{value}|mmol/L^mmol/L^UCUM|||||{status}|||{taken}"
    return message("ORU^R01", told, f"OBR|1||ZZR77^ZZLAB|ZZ^Elsewhere^99ZZ|||{taken}", line)


def order(control: str, number: str, told: str, code: str, stop: str = "") -> bytes:
    segments = [f"ORC|{control}|{number}|||||{stop}||{told}00", f"RXO|{code}^ZZ^L"]
    return message("ORM^O01", told, *segments)


def elsewhere(frame: bytes) -> bytes:
    """The same under another visit of the patient."""
    assert NUMBER.encode() in frame
    return frame.replace(NUMBER.encode(), b"PV1|1|E|||||||||||||||||ZZV99")


WITHDRAWN = message(
    "ORU^R01",
    "202603021300",
    "OBR|1||ZZR2^ZZLAB|ZZ^Other^99ZZ|||202603021000",
    f"OBX|1|NM|{SODIUM}^zz^LN||||||||D|||20260302100000",
)
CANCELLED = message("ORM^O01", "202603021400", "ORC|CA|ZZO1^ZZEHR", "OBR|1|ZZO1^ZZEHR||ADTINPT^Admit^99UMB")


@pytest.mark.parametrize(
    ("sent", "hold"),
    [
        ((), set()),
        ((elsewhere(WITHDRAWN),), {"CORRECTION_ELSEWHERE"}),
        ((elsewhere(CANCELLED),), {"ORDER_ENDED_ELSEWHERE"}),
        ((elsewhere(WITHDRAWN), elsewhere(CANCELLED)), {"CORRECTION_ELSEWHERE", "ORDER_ENDED_ELSEWHERE"}),
        ((elsewhere(WITHDRAWN), WITHDRAWN), set()),
    ],
)
def test_what_came_under_another_visit_holds_the_stay_that_it_may_mean(
    host: Host, sent: tuple[bytes, ...], hold: set[str]
) -> None:
    line, exceptions = looked(host, ARRIVAL, ILL, ORDER, ORDERED, lab(SODIUM, "mmol/L"), *sent, LATER)
    assert {each for each in exceptions if each.endswith("_ELSEWHERE")} == hold
    assert {each for each in line["hold"] if each.endswith("_ELSEWHERE")} == hold
    assert line["outcome"] in ("MEETS", "MEETS_ADVISE_HIGHER")
    assert not hold or not line["closes"]


@pytest.mark.parametrize(
    ("sent", "is_raised", "is_held"),
    [
        ((lab(SODIUM, "mmol/L"),), False, False),
        ((lab(SODIUM, "mmol/L"), correction()), True, True),
        ((lab(SODIUM, "mmol/L"), correction(told="202603022200")), True, True),  # it never was a fact then
        # a correction that found nothing stands as a value, beside the one that it may mean
        ((lab(SODIUM, "mmol/L"), correction(status="C")), True, True),
        ((lab(POTASSIUM, "mmol/L"), correction(POTASSIUM)), True, False),  # no rule of pneumonia reads it
        ((lab(SODIUM, "mmol/L"), correction(POTASSIUM)), False, False),  # nothing that it may mean
        ((lab(SODIUM, "mmol/L"), correction(told="202603020955")), False, False),  # told before the value
        # what it may mean was collected after the moment, and does not count
        (
            (
                lab(SODIUM, "mmol/L", taken="202603022000", told="202603022010"),
                correction(told="202603022200"),
            ),
            True,
            False,
        ),
        # told again since: the laboratory says what it is
        ((lab(SODIUM, "mmol/L"), correction(), lab(SODIUM, "mmol/L", told="202603021205")), False, False),
    ],
)
def test_a_correction_that_found_nothing_holds_what_it_may_mean(
    host: Host, sent: tuple[bytes, ...], is_raised: bool, is_held: bool
) -> None:
    for order_of in itertools.permutations(sent):
        line, exceptions = looked(host, ARRIVAL, ILL, ORDER, ORDERED, *order_of, LATER)
        assert (UNFOUND in exceptions) is is_raised
        assert (CORRECTION_NOT_FOUND in line["hold"]) is is_held
        assert line["outcome"] in ("MEETS", "MEETS_ADVISE_HIGHER")
        assert line["closes"] is (not is_held and line["outcome"] == "MEETS")
        rows = [(row["fact"], row["why"]) for row in line.get("not_used", [])]
        assert (("sodium", "result_not_found") in rows) is is_held
        assert ("sodium: a person has to see it" in line["rationale"]) is is_held


PRESSOR, ANTIBIOTIC = "RXNOREPI", "RXCEFTRIV"
BEGUN = order("NW", "ZZ71^ZZEHR", "202603021000", PRESSOR)


def end(told: str = "202603021100", number: str = "ZZ99^ZZEHR", code: str = PRESSOR) -> bytes:
    return order("DC", number, told, code)


@pytest.mark.parametrize(
    ("sent", "is_held"),
    [
        ((BEGUN,), False),
        ((BEGUN, end()), True),
        ((BEGUN, end("202603022200")), False),  # told too late: the same under its own number would not count
        ((BEGUN, end("202603020955")), False),  # told before the order
        ((BEGUN, end(code="RTVENT")), False),  # of another treatment, which nobody ordered
        ((BEGUN, end(), end("202603021130", "ZZ71^ZZEHR")), False),  # ended under its own number too
        ((BEGUN, end(), end("202603022200", "ZZ71^ZZEHR")), False),  # which says that it was given until then
        (
            (order("NW", "ZZ71^ZZEHR", "202603021000", ANTIBIOTIC), end(code=ANTIBIOTIC)),
            False,
        ),  # no rule reads it
        # its own stop time, in the evening, says nothing of noon
        ((order("NW", "ZZ71^ZZEHR", "202603021000", PRESSOR, "^^^^202603022000"), end()), True),
    ],
)
def test_an_end_that_found_no_order_holds_what_it_may_mean(
    host: Host, sent: tuple[bytes, ...], is_held: bool
) -> None:
    for order_of in itertools.permutations(sent):
        line, _ = looked(host, ARRIVAL, ILL, ORDER, ORDERED, *order_of, LATER)
        assert (ORDER_NOT_FOUND in line["hold"]) is is_held
        assert line["closes"] is (not is_held and line["outcome"] == "MEETS")
        rows = [(row["fact"], row["why"]) for row in line.get("not_used", [])]
        assert (("vasopressor", "order_not_found") in rows) is is_held


@pytest.mark.parametrize(
    ("sent", "is_held"),
    [
        ((order("NW", "ZZ71^ZZEHR", "202603021000", PRESSOR, "^PRN"),), True),
        ((order("NW", "ZZ71^ZZEHR", "202603021000", PRESSOR, "^Q6H^^^^^if below 65"),), True),
        ((order("NW", "ZZ71^ZZEHR", "202603021000", PRESSOR, "^C"),), False),
        # the daily round told later that it runs without a condition
        (
            (
                order("NW", "ZZ71^ZZEHR", "202603021000", PRESSOR, "^PRN"),
                order("XO", "ZZ71^ZZEHR", "202603021030", PRESSOR, "^C"),
            ),
            False,
        ),
        ((order("NW", "ZZ71^ZZEHR", "202603021000", ANTIBIOTIC, "^PRN"),), False),  # no rule reads it
        ((order("NW", "ZZ72^ZZEHR", "202603021000", PRESSOR, "^PRN"), BEGUN), False),  # another one runs
    ],
)
def test_a_treatment_that_may_not_run_by_its_timing_holds_what_goes_by_it(
    host: Host, sent: tuple[bytes, ...], is_held: bool
) -> None:
    for order_of in itertools.permutations(sent):
        line, exceptions = looked(host, ARRIVAL, ILL, ORDER, ORDERED, *order_of, LATER)
        assert (ORDER_UNREAD in line["hold"]) is is_held
        assert not is_held or ORDER_UNREAD in exceptions
        assert ("vasopressor: a person has to see it" in line["rationale"]) is is_held


def test_what_found_nothing_holds_a_later_day_too(host: Host) -> None:
    """Of now: while the order that the end may mean is in force."""
    run = Shadow(default_site())
    later = message("ADT^A08", "202603042000", "DG1|1||J18.9^J18.9^I10|||A|||||||||1", "IN1|1|ZZ|ZZ")
    for each in (ARRIVAL, ILL, ORDERED, BEGUN, end("202603031000"), later):
        run.take(each)
    (line,) = [line for line in run.screen(host, None) if line["review"] == "CONTINUED_STAY"]
    assert ORDER_NOT_FOUND in line["hold"] and line["closes"] is False


def test_both_reasons_reach_the_worker_by_name_and_declared_facts_alone() -> None:
    question = case(interqual.LIBRARY, interqual.LIBRARY.subsets["cap"], {})
    asked = replace(question, in_question={UNFOUND: ("sodium", "zz_other"), UNKNOWN: ("zz_other",)})
    assert case_in(case_out(asked, frozenset({"sodium"}))).in_question == {UNFOUND: ("sodium",)}
    assert case_out(question, frozenset()) == case_out(replace(asked, in_question={}), frozenset())
    said = ScreenResult(Outcome.MEETS)
    assert held_for_unread(asked, said, []).hold == (CORRECTION_NOT_FOUND, ORDER_NOT_FOUND)
    nothing = ScreenResult(Outcome.NOT_APPLICABLE)
    assert held_for_unread(asked, nothing, []) == nothing
    assert (UNFOUND, UNKNOWN) == (CORRECTION_NOT_FOUND, ORDER_NOT_FOUND)
    assert all(is_named(each) and each in REASONS for each in (UNFOUND, UNKNOWN, ORDER_UNREAD))


def _never(*_: Any) -> Any:
    return iter(())


@pytest.mark.parametrize("fault", [(Strange, "ends"), (ResultList, "in_question")])
def test_a_planted_fault_lets_it_close(
    host: Host, monkeypatch: pytest.MonkeyPatch, fault: tuple[Any, str]
) -> None:
    sent = (lab(SODIUM, "mmol/L"), correction(), BEGUN, end())
    whole = looked(host, ARRIVAL, ILL, ORDERED, *sent, LATER)[0]["hold"]
    monkeypatch.setattr(*fault, _never)
    assert set(looked(host, ARRIVAL, ILL, ORDERED, *sent, LATER)[0]["hold"]) < set(whole)

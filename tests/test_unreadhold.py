"""A value that nobody can read keeps a review open where the answer goes by its fact, and only there."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import umbridge_interqual_like as interqual
import umbridge_mcg_like as mcg
from hypothesis import given, settings
from hypothesis import strategies as st
from umbridge_kit.boundary_patients import case
from umbridge_kit.drawing import patients

from umbridge import Outcome, ScreenResult
from umbridge.criteria.examination import heeding
from umbridge.criteria.unreadhold import RESULT_UNREAD, held_for_unread
from umbridge.dryrun.screen import Shadow
from umbridge.review.record import _restricted
from umbridge.screening.case_codec import case_in, case_out
from umbridge.screening.host import Host
from umbridge.settings.site import default_site

PLUGINS: tuple[ModuleType, ...] = (interqual, mcg)


@given(st.data())
@settings(max_examples=40, deadline=None)
def test_an_answer_is_held_exactly_for_facts_that_its_rules_look_at(data: st.DataObject) -> None:
    """The answer itself stays as it is, and the same question without anything unread is held for nothing."""
    plugin = data.draw(st.sampled_from(PLUGINS))
    subset, values = data.draw(patients(plugin.LIBRARY))
    question = case(plugin.LIBRARY, subset, values)
    with heeding() as cited:
        result: ScreenResult = plugin.umbridge_screen(question)
    fact = data.draw(st.sampled_from(plugin.LIBRARY.facts()))
    found = held_for_unread(replace(question, unread=(fact,)), result, cited)
    if result.outcome is Outcome.NOT_APPLICABLE:
        assert found == result
        return
    is_asked = fact in cited[-1][0].read
    assert (RESULT_UNREAD in found.hold) is is_asked
    assert replace(found, hold=result.hold, rationale=result.rationale) == result
    assert (fact in found.rationale.removeprefix(result.rationale)) is is_asked
    assert held_for_unread(question, result, cited) == result


def test_of_code_that_asks_no_engine_any_unread_fact_holds() -> None:
    question = case(interqual.LIBRARY, interqual.LIBRARY.subsets["cap"], {})
    said = ScreenResult(Outcome.MEETS)
    assert held_for_unread(replace(question, unread=("sodium",)), said, []).hold == (RESULT_UNREAD,)
    assert held_for_unread(question, said, []) == said
    none = ScreenResult(Outcome.NOT_APPLICABLE)
    assert held_for_unread(replace(question, unread=("sodium",)), none, []) is none


def test_criteria_that_do_not_apply_hold_nothing() -> None:
    question = replace(case(interqual.LIBRARY, interqual.LIBRARY.subsets["cap"], {}), unread=("sodium",))
    aside = ScreenResult(Outcome.NOT_APPLICABLE)
    assert held_for_unread(question, aside, ()) is aside
    assert held_for_unread(question, ScreenResult(Outcome.MEETS), ()).hold == (RESULT_UNREAD,)


def test_a_case_tells_a_plugin_of_declared_facts_alone() -> None:
    question = replace(
        case(interqual.LIBRARY, interqual.LIBRARY.subsets["cap"], {}), unread=("sodium", "zz_other")
    )
    assert case_in(case_out(question, frozenset({"sodium"}))).unread == ("sodium",)


# -- from messages -----------------------------------------------------------------------------------------

NUMBER = "|".join(["PV1", "1", "I", "4E^1^1^UMBH", *[""] * 15, "ZZVN1^^^UMBH^VN"])


def message(kind: str, at: str, *segments: str) -> bytes:
    head = [
        f"MSH|^~\\&|ZZEHR|UMBH|UMBRIDGE|UMBH|{at}00-0500||{kind}|ZZ{at}{len(''.join(segments))}|P|2.5.1",
        "PID|1||8800099^^^UMBH^MR||ZZTEST^UNREAD||19500101|M",
        NUMBER,
    ]
    if kind.startswith("ADT"):
        head.insert(1, f"EVN||{at}00||||{at}00")
    return "\r".join([*head, *segments, ""]).encode()


def obx(code: str, value: str, unit: str, at: str) -> str:
    return f"OBX|1|NM|{code}^zz^LN||{value}|{unit}^{unit}^UCUM|||||F|||{at}00"


ARRIVAL = message("ADT^A04", "202603020900", "DG1|1||J18.9^J18.9^I10|||A|||||||||1", "IN1|1|ZZ|ZZ")
ILL = message(
    "ORU^R01",
    "202603020930",
    "OBR|1||ZZR1^ZZLAB|ZZ^Panel^99ZZ|||202603020930",
    *(
        obx(code, value, unit, "202603020930")
        for code, value, unit in (
            ("9279-1", "34", "/min"),
            ("8480-6", "84", "mm[Hg]"),
            ("8462-4", "50", "mm[Hg]"),
            ("59408-5", "84", "%"),
            ("8867-4", "130", "/min"),
            ("3094-0", "40", "mg/dL"),
            ("2160-0", "1.0", "mg/dL"),
        )
    ),
)
ORDER = message(
    "ORM^O01", "202603021155", "ORC|NW|ZZO1^ZZEHR", "OBR|1|ZZO1^ZZEHR||ADTINPT^Admit to inpatient^99UMB"
)
ORDERED = message("ADT^A01", "202603021200", "DG1|1||J18.9^J18.9^I10|||A|||||||||1", "IN1|1|ZZ|ZZ")


def lab(code: str, unit: str, *, taken: str = "202603021000", told: str = "202603021010") -> bytes:
    return message(
        "ORU^R01",
        told,
        f"OBR|1||ZZR2^ZZLAB|ZZ^Other^99ZZ|||{taken}",
        obx(code, VALUES.get(code, "90"), unit, taken),
    )


@pytest.fixture(scope="module")
def host() -> Iterator[Host]:
    found = Host(call_seconds=60.0)
    found.start(["interqual_like"])
    yield found
    found.stop()


def admission(host: Host, *messages: bytes) -> Any:
    run = Shadow(default_site())
    for each in (ARRIVAL, ILL, ORDER, ORDERED, *messages):
        run.take(each)
    (line,) = [line for line in run.screen(host, None) if line["review"] == "ADMISSION"]
    return line


VALUES = {"2823-3": "4.1", "2951-2": "138"}
LATER = message("ORU^R01", "202603022300", "OBR|1||ZZR9^ZZLAB|ZZ^Late^99ZZ|||202603022300")


@pytest.mark.parametrize(
    ("sent", "is_held"),
    [
        ((), False),
        ((lab("2823-3", "mmol/L"),), False),  # potassium, as it should be
        ((lab("2951-2", "zz/L"),), True),  # sodium, which the index reads, in a unit of nobody's
        ((lab("2951-2", "zz/L"), lab("2951-2", "mmol/L", taken="202603021100", told="202603021110")), True),
        ((lab("2823-3", "zz/L"),), False),  # potassium: no rule of pneumonia reads it
        ((lab("2951-2", "zz/L", taken="202603022000", told="202603022010"),), False),  # after the moment
        ((lab("2951-2", "zz/L", told="202603022200"),), False),  # told too late to count
        ((lab("2703-7", "zz"),), True),  # an arterial oxygen, of which the quotient is made
    ],
)
def test_a_review_waits_for_a_result_that_it_asks_for(
    host: Host, sent: tuple[bytes, ...], is_held: bool
) -> None:
    line = admission(host, *sent, LATER)
    assert line["outcome"] in ("MEETS", "MEETS_ADVISE_HIGHER")
    assert (RESULT_UNREAD in line["hold"]) is is_held
    assert ("nobody can read it" in line["rationale"]) is is_held
    if line["outcome"] == "MEETS":
        assert line["closes"] is not is_held


def gone(told: str, number: str = "ZZR3^ZZLAB") -> bytes:
    """A withdrawal of sodium under another number, of the time of ``lab``: it may mean that one."""
    taken = "202603021000"
    line = f"OBX|1|NM|2951-2^Sodium^LN||||||||D|||{taken}"
    return message("ORU^R01", told, f"OBR|1||{number}|ZZ^Other^99ZZ|||{taken}", line)


def test_a_value_in_doubt_holds_it_as_one_that_nobody_can_read(host: Host) -> None:
    """Which value holds nobody knows, and it may be the worst: whenever the doubt arose."""
    first = lab("2951-2", "mmol/L")
    other = lab("2951-2", "mmol/L", taken="202603021100", told="202603021110")
    for told in ("202603021020", "202603022200"):
        line = admission(host, first, other, gone(told), LATER)
        assert RESULT_UNREAD in line["hold"] and line["closes"] is not True
        assert "which value holds: sodium" in line["rationale"]
    assert RESULT_UNREAD not in admission(host, first, other, LATER)["hold"]
    named = gone("202603021020", "ZZR2^ZZLAB")  # withdrawn, and no doubt about it
    assert RESULT_UNREAD not in admission(host, first, other, named, LATER)["hold"]


def test_what_cannot_be_read_is_listed_beside_a_value_that_can(host: Host) -> None:
    """The fact is known by the later sample, so it is not missing; the page names the other one too."""
    later = lab("2951-2", "mmol/L", taken="202603021100", told="202603021110")
    line = admission(host, lab("2951-2", "zz/L"), later, LATER)
    assert "sodium" not in line["missing"]
    assert [(row["fact"], row["why"], row["at"][11:16]) for row in line["not_used"]] == [
        ("sodium", "unread", "10:00")
    ]


def test_a_rationale_that_names_an_unread_fact_of_substance_use_is_restricted() -> None:
    """42 CFR 2.12(a)(1): that a withdrawal score was sent tells as much as the score."""
    plain = ScreenResult(
        Outcome.MEETS, rationale="Sent, and nobody can read it: sodium: a person has to see it."
    )
    told = replace(plain, rationale=plain.rationale.replace("sodium", "ciwa_ar"))
    stay: Any = SimpleNamespace(diagnoses=("J18.9",))
    assert not _restricted(stay, plain)
    assert _restricted(stay, told)


def test_the_value_that_can_be_read_lets_it_close(host: Host) -> None:
    good = lab("2951-2", "mmol/L", told="202603021030")
    assert RESULT_UNREAD not in admission(host, lab("2951-2", "zz/L"), good)["hold"]

"""Results of several patients in one message: each goes to its own stay, or the message waits."""

from __future__ import annotations

import asyncio
import random
import re
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from installation import Installation, Running

from umbridge.dryrun.screen import Shadow
from umbridge.errors import ConfigError
from umbridge.hl7 import ack, er7, moments, patients
from umbridge.hl7.translate import translate
from umbridge.intake import delivery
from umbridge.model import RowState
from umbridge.settings.site import default_site
from umbridge.stay.identity import parts
from umbridge.store.batch import FRAME_SUSPECT

ROOT = Path(__file__).parents[1]
SITE = default_site()
ZONE = ZoneInfo("UTC")
MSH = "MSH|^~\\&|ZZEHR|UMBH|UMBRIDGE|UMBH|20260302090000-0500||{kind}|{control}|P|2.5.1"
SODIUM = "OBX|1|NM|2951-2^Sodium^LN||{value}|mmol/L|||||F|||20260302084500"


def pid(number: str, account: str = "", more: str = "") -> str:
    return f"PID|1||{number}^^^UMBH^MR{more}||ZZTEST^ALDER||19520704|F||||||||||{account}"


def pv1(visit: str) -> str:
    return "PV1|1|I|MED^1^1" + "|" * 16 + f"{visit}^^^UMBH^VN"


def message(*segments: str, kind: str = "ORU^R01^ORU_R01", control: str = "ZZ1") -> er7.Message:
    return er7.parse("\r".join([MSH.format(kind=kind, control=control), *segments, ""]).encode())


def group(number: str, value: str, report: str = "1") -> list[str]:
    sodium = SODIUM.format(value=value)
    return [pid(f"ZZM{number}"), pv1(f"ZZV{number}"), f"OBR|1||ZZL{number}{report}|LAB", sodium]


def test_each_patient_has_its_own_part() -> None:
    read = message(*group("1", "122"), *group("2", "139"))
    assert ack.used(read).state is RowState.PENDING
    event = translate(read, ZONE)
    assert (event.observations, event.patient.identifiers) == ((), ())  # the whole says nothing of anybody
    assert [
        (one.part, one.visit.number, one.patient.identifiers[0][0], one.observations[0].value)
        for one in parts(event)
    ] == [(1, "ZZV1", "ZZM1", "122"), (2, "ZZV2", "ZZM2", "139")]
    # an address names the segment of the message that came, not of its part
    assert [one.observations[0].source for one in parts(event)] == ["ZZ1 OBX[1]-5", "ZZ1 OBX[2]-5"]


def test_a_visit_without_a_pv1_is_its_account() -> None:
    first = [pid("ZZM1", "ZZA1"), "OBR|1||ZZL1|LAB", SODIUM.format(value="122")]
    event = translate(message(*first, *group("2", "139")), ZONE)
    assert [(one.visit.number, one.patient.account) for one in parts(event)] == [("", "ZZA1"), ("ZZV2", "")]


@pytest.mark.parametrize(
    "segments",
    [
        [*group("1", "122"), pid("ZZM2"), "OBR|1||ZZL2|LAB", SODIUM.format(value="139")],  # no visit
        [SODIUM.format(value="1"), *group("1", "122"), *group("2", "139")],  # whose is the first?
        [pv1("ZZV1"), *group("1", "122"), *group("2", "139")],
    ],
)
def test_what_cannot_be_told_apart_waits(segments: list[str]) -> None:
    read = message(*segments)
    assert ack.used(read) == ack.Disposition(RowState.QUARANTINED, "several_patients")
    assert patients.apart(read) is None


@pytest.mark.parametrize("kind", ["ADT^A08^ADT_A01", "ORM^O01^ORM_O01", "OML^O21^OML_O21"])
def test_other_messages_are_about_one_patient(kind: str) -> None:
    assert ack.used(message(*group("1", "122"), *group("2", "139"), kind=kind)).reason == "several_patients"
    same = [*group("1", "122"), pid("ZZM1"), pv1("ZZV0"), "OBR|2||ZZL3|LAB"]  # an earlier visit's results
    assert ack.used(message(*same, kind=kind)).state is RowState.PENDING


def test_one_person_named_twice_is_one() -> None:
    again = [pid("ZZM1", more="~ZZE9^^^ZZNAT^NI"), pv1("ZZV1"), "OBR|2||ZZL9|LAB", SODIUM.format(value="3")]
    event = translate(message(*group("1", "122"), *again), ZONE)
    assert event.several == ()
    assert [one.value for one in event.observations] == ["122", "3"]


def test_one_person_at_two_visits_is_two_parts() -> None:
    again = [pid("ZZM1"), pv1("ZZV9"), "OBR|2||ZZL9|LAB", SODIUM.format(value="139")]
    event = translate(message(*group("1", "122"), *again), ZONE)
    assert [one.visit.number for one in parts(event)] == ["ZZV1", "ZZV9"]


@given(st.lists(st.integers(1, 5), min_size=1, max_size=8), st.integers(0, 2**16))
def test_cutting_gives_each_what_a_message_of_its_own_would_have(whose: list[int], seed: int) -> None:
    """The same results, in one message or in one each, make the same stays."""
    dice = random.Random(seed)
    groups = [group(str(n), str(dice.randint(110, 150)), str(at)) for at, n in enumerate(whose)]
    together, alone = Shadow(SITE), Shadow(SITE)
    together.take(message(*[line for one in groups for line in one]).raw)
    for at, one in enumerate(groups):
        alone.take(message(*one, control=f"ZZ{at}").raw)
    assert together.unread == alone.unread == {}
    assert together.lanes.keys() == alone.lanes.keys()

    def sodium(shadow: Shadow, lane: str) -> set[object]:
        results = shadow.lanes[lane].fold.results("sodium")
        assert results is not None
        return {(one.report, one.value) for one in results}

    for lane in together.lanes:
        assert sodium(together, lane) == sodium(alone, lane)


def test_a_daemon_gives_each_its_own(installation: Installation) -> None:
    """Over the socket: each patient's stay has its result, a search by either finds the message."""
    installation.roles("ur_nurse")
    running = installation.start()
    read = message(*group("1", "122"), *group("2", "139"))
    assert sent(running, read) == "AA"
    running.worked()
    for number in ("1", "2"):
        (line,) = running.where.rows("messages", "list", "--mrn", f"ZZM{number}")
        assert line["control_id"] == "ZZ1"
        (stay,) = running.where.rows("stays", "show", f"ZZV{number}", "--purpose", "HPAYMT")
        assert (stay["mrn"], stay["exceptions"]) == (f"ZZM{number}", [])
    assert running.stop() == 0


def sent(running: Running, read: er7.Message) -> str:
    """The answer's code."""
    answers: list[delivery.Sent] = []
    asyncio.run(
        delivery.send_all("127.0.0.1", running.port, [("", read.raw)], connections=1, done=answers.append)
    )
    return answers[0].ack


# --- fragments, events of the site's own --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("last", "mark", "reason"),
    [
        ("DSC|ZZP1|F", "", "continued"),
        ("DSC|ZZP1", "", "continued"),
        ("NTE|1", "ZZP1", "continued"),
        ("DSC||F", "", ""),
        ('DSC|""', "", ""),
        ("NTE|1", '""', ""),
    ],
)
def test_a_fragment_waits(last: str, mark: str, reason: str) -> None:
    segments = [*group("1", "122"), last]
    frame = "\r".join([MSH.format(kind="ORU^R01^ORU_R01", control="ZZ1") + f"||{mark}", *segments, ""])
    assert ack.used(er7.parse(frame.encode())).reason == reason


def test_an_event_of_the_sites_own_is_refused_unless_the_feed_ignores_it(installation: Installation) -> None:
    own = message(*group("1", "122")[:2], kind="ADT^Z01", control="ZZ9")
    refused = ack.refusal(own)
    assert refused is not None
    assert (refused.ack, refused.condition) == ("AR", 201)
    assert ack.refusal(own, ("ADT^Z01",)) is None
    assert ack.refusal(own) is not None  # and no other feed takes it for that
    assert ack.used(own).state is RowState.IGNORED
    installation.edit("(?m)^port =", 'ignored_events = ["ADT^Z01"]\nport =')
    running = installation.start()
    try:
        assert sent(running, own) == "AA"
        (line,) = installation.rows("messages", "list")
        assert (line["state"], line["reason"]) == ("IGNORED", "trigger_not_used")
        (status,) = installation.rows("status")
        assert status["feeds"][0]["why"] == {"IGNORED trigger_not_used ADT^Z01": 1}
    finally:
        running.stop()
    installation.edit("ADT.Z01", "ADT^A01")
    found = installation.run("config", "check", check=78)
    assert "ignored_events: ADT^A01 is worked here" in found.stderr


@pytest.mark.parametrize("event", ["", "ADT", "ADT^", "^Z01"])
def test_an_ignored_event_is_a_type_and_a_trigger(event: str, installation: Installation) -> None:
    installation.edit("(?m)^port =", f'ignored_events = ["{event}"]\nport =')
    with pytest.raises(ConfigError, match="ignored_events"):
        _ = installation.settings


# --- every reason has its way out ---------------------------------------------------------------------------


def test_every_reason_to_set_a_message_aside_is_explained() -> None:
    """The code's reasons and the page's table are the same; each has what happened and what to do."""
    page = (ROOT / "docs/operations.md").read_text(encoding="utf-8")
    table = page.partition("## Messages that wait for a person")[2].partition("\n## ")[0]
    explained = {
        line.split("|")[1].strip().strip("`").partition(":")[0]: [
            cell.strip() for cell in line.split("|")[2:4]
        ]
        for line in table.splitlines()
        if line.startswith("| `")
    }
    assert all(what and way for what, way in explained.values())
    code = "\n".join(path.read_text(encoding="utf-8") for path in sorted((ROOT / "umbridge").rglob("*.py")))
    said = {"control_id_reused", FRAME_SUSPECT, moments.AHEAD}
    said |= set(re.findall(r'Disposition\(RowState\.QUARANTINED, "(\w+)"', code))
    said |= set(re.findall(r'"(process_death|work_failed)', code))
    assert len(said) == 8
    assert said == explained.keys()

"""Specimens (SPM) and OBR-14: when a result was collected that does not say so, and what was rejected."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import pytest
from click.testing import CliRunner

from umbridge.commands.main import main
from umbridge.hl7 import er7
from umbridge.hl7.translate import translate
from umbridge.settings.site import default_site
from umbridge.stay.fold import StayFold
from umbridge.stay.identity import event_of
from umbridge.stay.readings.window import readings
from umbridge.stay.unused import segments_not_read, unused
from umbridge.values.kinds import ReviewType

SITE = default_site()
SENT = "20261110090000"


def at(text: str) -> datetime:
    return datetime.fromisoformat(f"2026-11-{text}").replace(tzinfo=SITE.zone)


def obr(number: int = 1, taken: str = "", came: str = "") -> str:
    return f"OBR|{number}|P{number}^ZZC|F{number}^ZZLAB|24323-8^^LN|||{taken}|||||||{came}|||||||||||F"


def obx(value: str = "6.8", status: str = "F", taken: str = "") -> str:
    return f"OBX|1|NM|2823-3^^LN||{value}|mmol/L|||||{status}|||{taken}"


def spm(taken: str = "", came: str = "", rejected: str = "") -> str:
    return f"SPM|1|||BLD|||||||||||||{taken}|{came}|||{rejected}"


def message(*lines: str, kind: str = "ORU^R01", sent: str = SENT, number: int = 1) -> er7.Message:
    head = [
        f"MSH|^~\\&|ZZLAB|UMBH|||{sent}||{kind}|ZZ{number}|P|2.5.1",
        "PID|1||ZZ1^^^UMBH^MR",
        "PV1|1|I|4W|||||||||||||||INP|ZZV1^^^UMBH^VN",
    ]
    return er7.parse("\r".join([*head, *lines, ""]).encode())


def counted(*lines: str) -> list[tuple[str, str]]:
    """Each value's time, "sent" where nobody said it, with its OBX-5."""
    event = translate(message(*lines), SITE.zone)
    return [
        (
            ("" if each.told else "not told, by ") + each.at.astimezone(SITE.zone).strftime("%d %H:%M"),
            each.value,
        )
        for each in event.observations
    ]


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        # SPM-17 alone: a result of three days ago
        ((obr(), obx(), spm("20261107080600")), "07 08:06"),
        ((obr(), obx(), spm("20261107080600-0500^20261107081000-0500")), "07 08:06"),
        ((obr(), obx(), spm("^20261107081000")), "07 08:10"),
        ((obr(), obx(), spm("20261107")), "07 23:59"),
        # OBX-14 and OBR-7 go before it
        ((obr(taken="20261110080000"), obx(), spm("20261107080600")), "10 08:00"),
        ((obr(), obx(taken="20261110081500"), spm("20261107080600")), "10 08:15"),
        ((obr(taken="soon"), obx(), spm("20261107080600")), "07 08:06"),
        # received: no later
        ((obr(came="20261110084000"), obx()), "not told, by 10 08:40"),
        ((obr(), obx(), spm(came="20261110084100")), "not told, by 10 08:41"),
        ((obr(came="20261110084000"), obx(), spm(came="20261110084100")), "not told, by 10 08:40"),
        ((obr(came="20261109"), obx()), "not told, by 09 23:59"),
        ((obr(came="20261111"), obx()), "not told, by 10 09:00"),
        ((obr(taken="20261110", came="20261110084000"), obx()), "10 08:40"),
        ((obr(taken="20261110", came="20261109084000"), obx()), "10 09:00"),  # received before: a mistake
        ((obr(taken="20261110083000", came="20261110082000"), obx()), "10 08:30"),
        ((obr(), obx()), "not told, by 10 09:00"),
        # several: the last moment at which it can have been
        ((obr(), obx(), spm("20261107080600"), spm("20261108080600")), "08 08:06"),
        ((obr(), obx(), spm("20261107080600"), spm()), "not told, by 10 09:00"),
        # of those that were not rejected, if there are any
        (
            (obr(), obx(), spm("20261107080600", "", "RH^Hemolyzed^HL70490"), spm("20261108080600")),
            "08 08:06",
        ),
        ((obr(), obx(), spm("20261112080600")), "10 09:00"),
    ],
)
def test_when_a_result_was_collected(lines: tuple[str, ...], expected: str) -> None:
    assert counted(*lines) == [(expected, "6.8")]


def test_each_specimen_is_of_the_report_above_it_or_written_as_oul_of_those_below() -> None:
    one, other = spm("20261107080600"), spm("20261108080600")
    behind = counted(obr(1), obx("1"), one, "ORC|RE", obr(2), obx("2"), other, obr(3), obx("3"))
    assert behind == [("07 08:06", "1"), ("08 08:06", "2"), ("not told, by 10 09:00", "3")]
    before = counted(one, obr(1), obx("1"), obr(2), obx("2"), other, obr(3), obx("3"))
    assert before == [("07 08:06", "1"), ("07 08:06", "2"), ("08 08:06", "3")]
    late = counted(obr(1), obx("1"), "ORC|RE", one, obr(2), obx("2"), other)  # of neither: between two groups
    assert late == [("not told, by 10 09:00", "1"), ("08 08:06", "2")]


def test_a_specimen_of_one_patient_is_of_no_other() -> None:
    lines = ["ORC|RE", obr(1), obx("1"), spm("20261107080600")]
    lines += ["PID|2||ZZ2^^^UMBH^MR", "PV1|1|I|4W|||||||||||||||INP|ZZV2^^^UMBH^VN", obr(2), obx("2")]
    lines += ["PID|3||ZZ3^^^UMBH^MR", "PV1|1|I|4W|||||||||||||||INP|ZZV3^^^UMBH^VN", obr(3), obx("3")]
    lines.append(spm("20261108080600"))
    event = translate(message(*lines), SITE.zone)
    times = [each.observations[0].told is not None and each.observations[0].at.day for each in event.several]
    assert times == [7, False, 8]


HEMOLYZED = "RH^Hemolyzed^HL70490"


@pytest.mark.parametrize(
    ("specimens", "is_used"),
    [
        ((spm("", "", HEMOLYZED),), False),
        ((spm("", "", HEMOLYZED), spm("", "", "QS")), False),
        ((spm("", "", HEMOLYZED), spm()), True),  # another one was measured
        ((spm("", "", '""'),), True),
        ((spm(),), True),
        ((spm("", "", "^Hemolyzed"),), False),
    ],
)
def test_what_was_measured_in_a_rejected_specimen_is_unread(
    specimens: tuple[str, ...], is_used: bool
) -> None:
    one = message(obr(taken="20261110083000"), obx(), *specimens)
    fold = StayFold(SITE)
    event = event_of(one, SITE)
    fold.apply(event, 1)
    moment = at("10T10:00")
    found = readings(fold, moment, review=ReviewType.ADMISSION, wanted={"potassium"})
    assert bool(found) is is_used
    assert ("RESULT_UNREAD" in fold.stay(moment).exceptions) is not is_used
    reasons = [(each.field, each.reason, each.fact) for each in unused(event, SITE) if each.fact]
    assert reasons == ([] if is_used else [("SPM-21", "specimen_rejected", "potassium")])


@pytest.mark.parametrize(("status", "before"), [("F", "4.1"), ("C", "4.1"), ("F", "")])
def test_a_rejected_specimen_leaves_the_fact_unread_until_another_is_measured(
    status: str, before: str
) -> None:
    fold = StayFold(SITE)
    taken = obr(taken="20261110083000")
    told = [message(taken, obx(before or "4.0", "F" if before else "P"), sent="20261110084000", number=1)]
    told.append(message(taken, obx("6.8", status), spm("", "", HEMOLYZED), sent="20261110085000", number=2))
    for seq, one in enumerate(told, 1):
        fold.apply(event_of(one, SITE), seq)
    moment = at("10T10:00")
    assert not readings(fold, moment, review=ReviewType.ADMISSION, wanted={"potassium"})
    assert "RESULT_UNREAD" in fold.stay(moment).exceptions
    again = message(taken, obx("4.2", "C"), sent="20261110090000", number=3)
    fold.apply(event_of(again, SITE), 3)
    found = readings(fold, moment, review=ReviewType.ADMISSION, wanted={"potassium"})
    assert str(found["potassium"].latest.value) == "4.2"
    assert "RESULT_UNREAD" not in fold.stay(moment).exceptions


def test_a_withdrawal_takes_back_what_was_measured_in_any_specimen() -> None:
    fold = StayFold(SITE)
    taken = obr(taken="20261110083000")
    fold.apply(event_of(message(taken, obx(), number=1), SITE), 1)
    gone = message(taken, obx("", "D"), spm("", "", HEMOLYZED), sent="20261110091000", number=2)
    fold.apply(event_of(gone, SITE), 2)
    stay = fold.stay(at("10T10:00"))
    assert not readings(fold, at("10T10:00"), review=ReviewType.ADMISSION, wanted={"potassium"})
    assert "RESULT_UNREAD" not in stay.exceptions


def test_a_specimen_without_a_report_is_not_read() -> None:
    assert [each.field for each in segments_not_read(message(spm(), obx()))] == ["SPM"]
    assert not list(segments_not_read(message(obr(), obx(), spm())))


def test_screen_knows_a_potassium_of_three_days_ago(tmp_path: Path) -> None:
    """What was collected before the visit decides nothing about it."""
    came = message(kind="ADT^A01", sent="20261110080000").raw.replace(
        b"PID", b"EVN|A01|20261110080000\rPID", 1
    )
    old = message(obr(), obx(), spm("20261107080600"), number=2).raw
    (tmp_path / "a.hl7").write_bytes(came + old)
    run = CliRunner().invoke(main, ["screen", str(tmp_path), "--as-of", "2026-11-10T12:00:00", "--json"])
    assert run.exit_code == 0 and "6.8" not in run.output

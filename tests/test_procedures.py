"""PR1: an operation of yesterday or of tomorrow keeps a patient in hospital; a look at something does not."""

from __future__ import annotations

import pytest
from test_case import ARRIVAL, at, seen
from test_treatments import NOW, message, stamp

from umbridge.model import Event, Reading


def pr1(hours: float, *, told: float = 1, kind: str = "P", more: str = "", code: str = "47562") -> Event:
    return message(f"PR1|1||{code}^Y^C4||{stamp(at(hours))}|{kind}{more}", hours=told, kind="ADT^A08")


def shown(*events: Event, hours: float = 30) -> Reading:
    return seen(*events, hours=hours, review=NOW)["procedure_24h"]


@pytest.mark.parametrize(
    ("when", "counts"), [(5.9, False), (6, True), (29, True), (30, True), (54, True), (54.1, False)]
)  # seen at 30
def test_it_counts_a_day_before_and_a_day_after(when: float, counts: bool) -> None:
    found = shown(pr1(when)).latest
    assert found.value is counts
    assert found.source.endswith("PR1[1]") is counts


@pytest.mark.parametrize(
    ("kind", "more", "counts"),
    [
        ("P", "", True),
        ("I", "", True),
        ("A", "", True),
        ("", "", True),
        ("D", "", False),  # an X-ray is no operation
        ("D", "||990001^ZZDOCTOR", True),  # but an endoscopy that somebody gave an anaesthetic for
        ("D", "|||G", True),
        ("D", "||||40", True),
    ],
)
def test_what_only_looks_does_not_count_unless_it_took_an_anaesthetic(
    kind: str, more: str, counts: bool
) -> None:
    assert shown(pr1(20, kind=kind, more=more)).latest.value is counts


def test_the_last_word_about_one_counts() -> None:
    gone = "|" * 13 + "|D"
    assert shown(pr1(20), pr1(20, told=2, more=gone)).latest.value is False
    assert shown(pr1(20, told=2, more=gone), pr1(20)).latest.value is False  # in whatever order it came
    assert shown(pr1(20, more=gone), pr1(20, told=2)).latest.value is True
    assert shown(pr1(20), pr1(20, told=2, more=gone), pr1(20, told=3)).latest.value is True
    assert shown(pr1(20), pr1(20, told=2, more=gone, code="11111")).latest.value is True  # another


def test_what_was_told_later_was_not_known() -> None:
    assert shown(pr1(20, told=30)).latest.value is True
    assert shown(pr1(20, told=31)).latest.value is False


def test_a_date_without_an_hour_is_the_moment_of_that_day_nearest_the_message() -> None:
    (today,) = message("PR1|1||1^Y^C4||20260302", hours=2, kind="ADT^A08").procedures
    assert today.at == at(2)
    (before,) = message("PR1|1||1^Y^C4||20260301", hours=2, kind="ADT^A08").procedures
    assert (before.at.hour, before.at.minute, before.at.day) == (23, 59, 1)
    (coming,) = message("PR1|1||1^Y^C4||20260304", hours=2, kind="ADT^A08").procedures
    assert (coming.at.hour, coming.at.day) == (0, 4)
    assert message("PR1|1||1^Y^C4", hours=2, kind="ADT^A08").procedures == ()
    assert ARRIVAL.procedures == ()

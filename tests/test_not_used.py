"""A fact that is unknown though something was sent of it: which value, and why it is not used."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from test_unreadhold import lab, message

from umbridge.commands.pages import review_lines
from umbridge.dryrun.screen import Shadow
from umbridge.screening.host import Host
from umbridge.settings.site import default_site
from umbridge.stay.aside_words import WORDS, minute, sentence, words_of
from umbridge.stay.dictionary import DERIVED, dictionary
from umbridge.stay.readings.not_used import MADE_OF, Why

DIAGNOSIS = ("DG1|1||E87.5^E87.5^I10|||A|||||||||1", "IN1|1|ZZ|ZZ")
ARRIVAL = message("ADT^A04", "202603020900", *DIAGNOSIS)
SODIUM = lab("2951-2", "mmol/L", taken="202603020930", told="202603020940")
ORDERED = message("ADT^A01", "202603021200", *DIAGNOSIS)
END = message("ADT^A08", "202603042000", *DIAGNOSIS)
POTASSIUM = "2823-3"


@pytest.fixture(scope="module")
def host() -> Iterator[Host]:
    found = Host(call_seconds=60.0, why=True)
    found.start(["interqual_like"])
    yield found
    found.stop()


def looked(host: Host, *messages: bytes, kind: str = "ADMISSION") -> tuple[Any, str]:
    """The one result, and its page in one line."""
    run = Shadow(default_site())
    for each in (ARRIVAL, SODIUM, ORDERED, *messages, END):
        run.take(each)
    (found,) = [each for each in run.reviews(host, None) if each.lines[0]["review"] == kind]
    lines = list(review_lines(found.lines, found.open_for, trees=True))
    assert max(map(len, lines)) <= 80
    return found.lines[0], " ".join(line.strip() for line in lines)


@pytest.mark.parametrize(
    ("sent", "why", "words"),
    [
        (
            lab(POTASSIUM, "mmol/L", taken="202603021420", told="202603021430"),
            Why.AFTER,
            "potassium 4.1 mmol/L of 2026-03-02 14:20 -05:00: collected after the moment that is judged, "
            "2026-03-02 13:00 -05:00: not used",
        ),
        (
            lab(POTASSIUM, "mmol/L", taken="202603021100", told="202603021830"),
            Why.LATE,
            "potassium 4.1 mmol/L of 2026-03-02 11:00 -05:00: told 2026-03-02 18:30 -05:00, and what counts "
            "was told by 2026-03-02 17:00 -05:00: not used",
        ),
        (
            lab(POTASSIUM, "mmol/L", taken="202603020800", told="202603020910"),
            Why.BEFORE,
            "potassium 4.1 mmol/L of 2026-03-02 08:00 -05:00: from before the first contact, 2026-03-02 "
            "09:00 -05:00: not used",
        ),
        (
            lab(POTASSIUM, "zz/L", taken="202603021100", told="202603021110"),
            Why.UNREAD,
            "potassium of 2026-03-02 11:00 -05:00: nobody can read it: OBX-6 is a unit that neither the "
            "program nor the profile knows (unit_unknown): not used",
        ),
    ],
)
def test_a_missing_value_that_was_sent_is_said_with_its_time_and_why(
    host: Host, sent: bytes, why: Why, words: str
) -> None:
    line, page = looked(host, sent)
    assert line["outcome"] == "PEND"
    assert "potassium" in line["missing"]
    (row,) = line["not_used"]
    assert (row["fact"], row["why"]) == ("potassium", why)
    assert words in page
    assert "missing: potassium (what was sent of it is above)" in page


def test_a_value_older_than_the_window_is_said_to_be(host: Host) -> None:
    old = lab(POTASSIUM, "mmol/L", taken="202603021000", told="202603021010")
    line, page = looked(host, old, kind="CONTINUED_STAY")
    assert [(row["fact"], row["why"]) for row in line["not_used"] if row["fact"] == "potassium"] == [
        ("potassium", "older_than_the_window")
    ]
    assert "older than what counts here, which begins" in page


def test_nothing_is_said_of_a_value_that_was_never_sent_nor_of_one_that_counts(host: Host) -> None:
    line, _ = looked(host)
    assert "potassium" in line["missing"]
    assert "not_used" not in line
    line, _ = looked(host, lab(POTASSIUM, "mmol/L"))
    assert "potassium" not in {row["fact"] for row in line.get("not_used", [])}


def test_of_many_the_newest_three_are_said(host: Host) -> None:
    many = [
        lab(POTASSIUM, "mmol/L", taken=f"20260302{hour}20", told=f"20260302{hour}30")
        for hour in range(14, 20)
    ]
    line, _ = looked(host, *many)
    assert [row["at"][11:16] for row in line["not_used"]] == ["17:20", "18:20", "19:20"]


def test_a_value_whose_time_nobody_sent_is_said_to_have_none(host: Host) -> None:
    """Its message's time stands in: that it was collected after the moment is more than anybody knows."""
    timed = lab(POTASSIUM, "mmol/L", taken="202603021420", told="202603021430")
    line, page = looked(host, timed.replace(b"|||202603021420", b"|||").replace(b"20260302142000", b""))
    (row,) = line["not_used"]
    assert row["reason"] == "collection_time_missing"
    assert "(when it was collected was not sent)" in page


def test_every_reason_has_words_and_every_fact_of_the_table_is_one() -> None:
    assert set(WORDS) == {why.value for why in Why}
    known = {*dictionary(), *DERIVED}
    assert known >= {*MADE_OF, *(part for of in MADE_OF.values() for part in of)}


def test_a_rationale_ends_with_what_was_sent() -> None:
    row: Any = {
        "fact": "sodium",
        "value": "128",
        "unit": "mmol/L",
        "at": "2026-03-02T14:20:00-05:00",
        "told": "2026-03-02T14:30:00-05:00",
        "why": "after_the_moment",
        "limit": "2026-03-02T11:00:00-05:00",
        "reason": None,
    }
    said = (
        "sodium 128 mmol/L of 2026-03-02 14:20 -05:00: collected after the moment that is judged, "
        "2026-03-02 11:00 -05:00: not used"
    )
    assert words_of(row, "sodium") == said
    untimed = "sodium 128 mmol/L of 2026-03-02 14:20 -05:00 (when it was collected was not sent): collected"
    assert words_of(row | {"reason": "collection_time_missing"}, "sodium").startswith(untimed)
    assert words_of(row | {"value": "2026-03-05T12:00:00-05:00", "unit": ""}, "x").startswith(
        "x 2026-03-05 12:00 -05:00 of"
    )
    assert sentence([row]) == f"Sent: {said}."
    assert sentence([]) == ""
    assert words_of(row | {"why": "unread", "value": None, "reason": "zz_else"}, "x").endswith(
        "zz_else: not used"
    )
    assert minute("2026-03-02T14:20:07-05:00") == "2026-03-02 14:20:07 -05:00"
    assert minute("2026-03-02T14:20:07.123Z") == "2026-03-02 14:20:07 +00:00"

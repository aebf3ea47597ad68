"""Facts have a name for people, and only people's pages have it."""

from __future__ import annotations

import pytest

from umbridge.clinical.titles import TITLES, in_words, title_of, titles_of
from umbridge.stay.dictionary import DERIVED, dictionary


def test_every_fact_has_one_title_and_no_two_have_the_same() -> None:
    assert TITLES.keys() == {*dictionary(), *DERIVED}
    assert len(set(TITLES.values())) == len(TITLES)
    assert not [title for title in TITLES.values() if "_" in title or ";" in title or title != title.strip()]


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        (
            "not known: spo2_room_air, level_supported.",
            "not known: oxygen saturation on room air, level of care",
        ),
        ("lowest map < 65 mm[Hg]", "lowest mean arterial pressure < 65 mm[Hg]"),
        ("creatinine_ratio >= 1.5", "creatinine ratio >= 1.5"),  # content's own
        ("reason: niv_dependence.", "reason: non-invasive ventilation dependence."),
        ("CURB-65 3. Potassium of 6.5 or more", "CURB-65 3. Potassium of 6.5 or more"),
        (
            "a dose in 10*3/uL, by [lb_av], AKI^aki_one^99UMB",
            "a dose in 10*3/uL, by [lb_av], AKI^aki_one^99UMB",
        ),
        ("", ""),
    ],
)
def test_what_was_said_by_ids_is_shown_by_titles(said: str, shown: str) -> None:
    assert in_words(said).startswith(shown)


def test_a_title_with_a_comma_is_told_apart_from_a_list() -> None:
    assert titles_of(["sodium", "troponin_ratio"]) == "sodium; troponin, as a multiple of its upper limit"
    assert titles_of(["sodium", "map"]) == "sodium, mean arterial pressure"
    assert title_of("zz_of_content_alone") == "zz of content alone"

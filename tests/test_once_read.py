"""An OBX that is read once is read as it is each time, by each profile."""

from __future__ import annotations

from test_facts import SITE, obx

from umbridge.stay.facts import read
from umbridge.stay.results import once_read
from umbridge.stay.results.once_read import MOST, read_once


def test_it_says_what_reading_says_and_says_it_again() -> None:
    told = [obx("22664-7", f"{number}.5", "mmol/L") for number in range(3)]
    assert [read_once(each, SITE) for each in told] == [read(each, SITE) for each in told]
    before = [read_once(each, SITE) for each in told]
    assert all(read_once(each, SITE) is found for each, found in zip(told, before, strict=True))


def test_another_profile_and_an_equal_object_are_read_anew() -> None:
    told, here = obx("22664-7", "9.5", "mmol/L"), SITE.at("")
    found = read_once(told, SITE)
    assert here is SITE or read_once(told, here) is not found
    twin = told._replace()
    assert twin == told
    assert read_once(twin, SITE) is not read_once(told, SITE)


def test_what_is_kept_is_bounded_and_each_is_its_own() -> None:
    told = [obx("22664-7", str(number), "mmol/L") for number in range(1, 2 * MOST)]
    assert [read_once(each, SITE) for each in told] == [read(each, SITE) for each in told]
    assert len(once_read._known) <= MOST

"""Status is resolved from evidence in the site's order, never from the class alone."""

from __future__ import annotations

import pytest

from umbridge.settings.site import DEFAULT_SITE, default_site, parse_site
from umbridge.stay.course.status import StatusOrderInForce, from_registration, resolve
from umbridge.values.kinds import Status

SITE = default_site()


def order(status: Status) -> StatusOrderInForce:
    return StatusOrderInForce("ZZ-P1", status.value, 2, 0, "ZZ-1 ORC[1]")


@pytest.mark.parametrize(
    ("fields", "status", "source"),
    [
        ({"class": "E"}, Status.ED, "PV1-2"),
        ({"class": "I"}, Status.INPATIENT, "PV1-2"),
        ({"class": "O", "type": "OBS"}, Status.OBSERVATION, "PV1-18"),
        ({"class": "I", "type": "OBS"}, Status.OBSERVATION, "PV1-18"),  # the trap: I is not inpatient here
        ({"class": "I", "type": "local"}, Status.INPATIENT, "PV1-2"),
        ({"class": "O", "unit": "ED"}, Status.ED, "PV1-3"),
        ({"class": "O", "unit": "CDU"}, Status.OUTPATIENT, "PV1-2"),
        ({"class": "I", "unit": "ED"}, Status.INPATIENT, "PV1-2"),  # boarding does not undo an admission
        ({"class": "P"}, Status.PREADMIT, "PV1-2"),
    ],
)
def test_registration(fields: dict[str, str], status: Status, source: str) -> None:
    found = from_registration(SITE, fields)
    assert found is not None
    assert (found.status, found.source) == (status, source)


@pytest.mark.parametrize("fields", [{}, {"class": "Q"}, {"type": "ZZ"}, {"unit": "ED"}])
def test_nothing_known_is_nothing(fields: dict[str, str]) -> None:
    assert from_registration(SITE, fields) is None
    assert resolve(SITE, None, None) is None


def test_an_order_goes_first_where_the_site_says_so() -> None:
    registered = from_registration(SITE, {"class": "I", "type": "INP"})
    found = resolve(SITE, registered, order(Status.OBSERVATION))
    assert found is not None
    assert (found.status, found.source) == (Status.OBSERVATION, "order")
    text = DEFAULT_SITE.read_text("utf-8")
    steps = 'precedence = ["order", "PV1-18", "PV1-2"]'
    for precedence, status in (
        ('["PV1-18", "order", "PV1-2"]', Status.INPATIENT),
        ('["PV1-18", "PV1-2"]', Status.INPATIENT),
    ):
        other = parse_site(text.replace(steps, f"precedence = {precedence}").encode())
        found = resolve(
            other, from_registration(other, {"class": "I", "type": "INP"}), order(Status.OBSERVATION)
        )
        assert found is not None and found.status is status
    middle = parse_site(text.replace(steps, 'precedence = ["PV1-18", "order", "PV1-2"]').encode())
    found = resolve(middle, from_registration(middle, {"class": "I"}), order(Status.OBSERVATION))
    assert found is not None and found.status is Status.OBSERVATION

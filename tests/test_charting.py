"""Which drug orders are a question, and what may close the world of a chart."""

from __future__ import annotations

import pytest

from umbridge.settings.site import default_site

DRUGS = default_site().drugs


@pytest.mark.parametrize(
    ("codes", "routes", "is_open"),
    [
        (("RXTIGECIV",), ("IV",), True),
        (("RXTIGEC",), ("iv",), True),  # the route alone decides where it is sent
        (("RXTIGECIV",), ("PO",), False),
        (("RXTIGECIV",), ("PO", "IV"), True),  # may be given either way
        (("RXTIGECIV",), (), True),
        (("RXHEPINF",), (), True),
        (("RXHYDROPCA",), (), True),
        (("RXTIGECPO",), (), False),
        (("RXTIGECPO", "12345", "zzdripinf"), (), True),
        (("RXENOXSC",), ("IV",), False),  # the site says that it is none
        ((), ("IT",), True),
        ((), (), False),
        *(((("RXANY",), (route,), True)) for route in ("IV", "IA", "IC", "IO", "IT", "EP")),
        *(((("RXANY",), (route,), False)) for route in ("PO", "SC", "IM", "TD", "NG", "")),
    ],
)
def test_an_unknown_drug_is_a_question_by_its_route_else_by_its_code(
    codes: tuple[str, ...], routes: tuple[str, ...], is_open: bool
) -> None:
    assert DRUGS.is_parenteral(codes, routes) is is_open


def test_nothing_is_assumed_unless_the_profile_says_so() -> None:
    assert default_site().assumptions == {}

"""The rate of intravenous fluids, from the orders that give it (RXE-23, RXO-21) and from what was charted."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import permutations

import pytest

from umbridge.hl7 import er7
from umbridge.hl7.translate import translate
from umbridge.model import Event
from umbridge.settings.site import default_site
from umbridge.stay.clock import instant
from umbridge.stay.fold import StayFold
from umbridge.stay.readings.cut import Cut
from umbridge.stay.readings.window import readings
from umbridge.stay.unused import unused
from umbridge.values.kinds import ReviewType

SITE = default_site()
START = datetime(2026, 3, 2, 8, 0, tzinfo=UTC)
ROUTE = "RXR|IV^^HL70162"


def at(hours: float) -> datetime:
    return START + timedelta(hours=hours)


def event(hours: float, kind: str, *segments: str) -> Event:
    when = at(hours).strftime("%Y%m%d%H%M%S+0000")
    head = f"MSH|^~\\&|ZZEHR|UMBH|UMBRIDGE|UMBH|{when}||{kind}|ZZ{hours}|P|2.5.1"
    who = (
        "PID|1||ZZM1^^^UMBH^MR||ZZTEST^A",
        "PV1|1|I|4W|||||||||||||||||VN1^^^UMBH^VN" + "|" * 25 + "20260302080000+0000",
    )
    return translate(
        er7.parse("\r".join((head, *who, *segments, "")).encode()), SITE.zone, mrn_authority="UMBH"
    )


def rxe(amount: str = "", unit: str = "", code: str = "RXNACLIV") -> str:
    return f"RXE||{code}^^99UMB" + "|" * 21 + f"{amount}|{unit}"


def rxo(amount: str = "", unit: str = "") -> str:
    return "RXO|RXNACLIV^^99UMB" + "|" * 20 + f"{amount}|{unit}"


def order(hours: float, control: str, number: str, *details: str, status: str = "") -> Event:
    return event(
        hours,
        "RDE^O11" if details[:1] and details[0][:3] == "RXE" else "ORM^O01",
        f"ORC|{control}|{number}^ZZEHR|||{status}",
        *details,
        *([ROUTE] if details else []),
    )


def charted(hours: float, value: str) -> Event:
    when = at(hours).strftime("%Y%m%d%H%M%S+0000")
    return event(
        hours,
        "ORU^R01",
        f"OBR|1||F{hours}^ZZLAB|X^^99UMB|||{when}",
        f"OBX|1|NM|UMB-IVRATE^^99UMB||{value}|mL/h|||||F|||{when}",
    )


def folded(*events: Event) -> StayFold:
    fold = StayFold(SITE)
    for seq, each in enumerate(events):
        fold.apply(each, seq)
    return fold


def rate(fold: StayFold, hours: float) -> str | None:
    found = readings(fold, at(hours), review=ReviewType.CONTINUED_STAY, wanted={"iv_fluid_rate"})
    return None if not found else str(found["iv_fluid_rate"].latest.value)


BEGUN = order(1, "NW", "71", rxe("100", "mL/h"))


@pytest.mark.parametrize(
    ("details", "expected"),
    [
        ((rxe("125", "mL/h"),), "125"),
        ((rxe("125", "ml/hr"),), "125"),  # as senders write it
        ((rxe("125", "^^^mL/h"),), "125"),  # where only the alternate unit is sent
        ((rxo("80", "mL/h"),), "80"),
        ((rxo("80", "mL/h"), rxe("75", "mL/h")), "75"),  # what the pharmacy encoded
        ((rxo("80", "mL/h"), rxe()), "80"),  # and what it left out was asked for
        ((rxe(),), None),
        ((rxe("125"),), None),
        ((rxe("125", "mL"),), None),
        ((rxe("2", "mL/kg/h"),), None),
        ((rxe("wide open", "mL/h"),), None),
        ((rxe("75-125", "mL/h"),), None),
        ((rxe("6000", "mL/h"),), None),  # more than can be given
        ((rxe("125", "mL/h", "RXVANCIV"),), None),  # a drug that is no fluid
    ],
)
def test_an_order_of_fluids_gives_its_rate_or_none(details: tuple[str, ...], expected: str | None) -> None:
    assert rate(folded(order(1, "NW", "71", *details)), 2) == expected


CHANGED = order(4, "XO", "71", rxe("50", "mL/h"))
COURSES: list[tuple[list[Event], dict[float, str | None]]] = [
    ([BEGUN, CHANGED], {0.5: None, 2: "100", 3.9: "100", 4: "50", 30: "50"}),
    ([BEGUN, order(4, "XO", "71", rxe())], {5: "100"}),  # an empty field says nothing
    ([BEGUN, order(4, "XO", "71", rxe('""', '""'))], {3: "100", 5: None}),  # and HL7's null takes it away
    ([BEGUN, order(4, "XO", "71", rxe("2", "mL/kg/h"))], {3: "100", 5: None}),  # no longer as it was
    ([BEGUN, order(4, "DC", "71")], {3: "100", 5: None}),
    ([BEGUN, CHANGED, order(6, "DC", "71")], {5: "50", 7: None}),
    ([BEGUN, order(4, "HD", "71"), order(6, "RL", "71")], {5: None, 7: "100"}),
    ([BEGUN, order(4, "DC", "71"), order(6, "NW", "71", rxe())], {7: None}),  # ordered anew without one
    ([BEGUN, order(2, "NW", "72", rxe("25", "mL/h"))], {1.5: "100", 3: "125"}),  # beside one another
    ([BEGUN, order(2, "NW", "72", rxe())], {3: ">=100"}),  # at least
    ([BEGUN, order(2, "NW", "72", rxe("25", "mL/h")), order(4, "DC", "71")], {5: "25"}),
    ([BEGUN, charted(3, "60")], {2: "100", 3.5: "60", 20: "60"}),  # what is given, and not what was ordered
    ([BEGUN, charted(3, "60"), CHANGED], {3.5: "60", 5: "50"}),
    ([order(1, "NW", "71", rxe()), charted(0.5, "60")], {2: "60"}),
]


@pytest.mark.parametrize(("events", "expected"), COURSES)
def test_the_rate_follows_the_orders_in_any_order_of_arrival(
    events: list[Event], expected: dict[float, str | None]
) -> None:
    for arrived in permutations(events):
        fold = folded(*arrived)
        assert {hours: rate(fold, hours) for hours in expected} == expected


def words(*segments: str) -> list[str]:
    return [
        f"{each.field} {each.code} {each.reason}" for each in unused(order(1, "NW", "71", *segments), SITE)
    ]


def test_a_rate_that_nobody_can_read_is_counted() -> None:
    assert words(rxe("125", "mL/h")) == words(rxe()) == words(rxe('""')) == []
    assert words(rxe("2", "mL/kg/h")) == ["RXE-23 mL/kg/h rate_unreadable"]
    assert words(rxo("100")) == ["RXO-21  rate_unreadable"]
    assert words(rxe("9", "mL/kg/h", "RXVANCIV")) == ["RXE-2 RXVANCIV^99UMB order_unmapped"]  # of no fluid


def test_what_is_told_after_the_moment_of_a_first_look_changes_no_rate() -> None:
    late = order(4, "XO", "71", rxe("50", "mL/h"))
    fold = folded(BEGUN, late)
    for told_by, expected in ((3, "100"), (5, "50")):
        cut = Cut(ReviewType.ADMISSION, instant(at(told_by)), from_arrival=True)
        found = readings(fold, at(4.5), review=cut, wanted={"iv_fluid_rate"}, stay=fold.stay(at(9)))
        assert str(found["iv_fluid_rate"].latest.value) == expected


def test_the_rate_is_in_what_a_stay_is_kept_as() -> None:
    fold, increments = StayFold(SITE), []
    for seq, each in enumerate((BEGUN, CHANGED)):
        increments.append(fold.apply(each, seq))
    again = StayFold.restore(SITE, fold.head(), [each for each in increments if each is not None])
    assert (rate(again, 3), rate(again, 5)) == ("100", "50")
    found = readings(again, at(5), review=ReviewType.CONTINUED_STAY, wanted={"iv_fluid_rate"})[
        "iv_fluid_rate"
    ]
    assert (found.latest.source, found.latest.at, found.latest.unit) == ("ZZ4 ORC[1]", at(4), "mL/h")

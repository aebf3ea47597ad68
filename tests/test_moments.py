"""Whether a message lies in the future: a look at its digits against the whole reading of its times."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from umbridge.hl7 import er7, moments
from umbridge.hl7.reading import Reading

ZONES = [ZoneInfo("America/New_York"), ZoneInfo("Europe/Berlin"), ZoneInfo("Asia/Kolkata"), UTC]
NOW = datetime(2026, 11, 1, 5, 40, 20, tzinfo=UTC)  # the clocks of New York go back twenty minutes later
FORMS = [
    "%Y%m%d%H%M%S",
    "%Y%m%d%H%M",
    "%Y%m%d%H",
    "%Y%m%d",
    "%Y%m",
    "%Y%m%d%H%M%S.250",
    "%Y%m%d%H%M%S%z",
    "%Y%m%d2400",
    "%Y%m%d%H%M60",
    "soon",
    "",
]
offsets = st.one_of(st.integers(-90, 90), st.integers(-3000, 3000))
stamps = st.tuples(offsets, st.sampled_from(FORMS), st.sampled_from(ZONES))


def message(trigger: str, sent: str, told: str, occurred: str, own: str) -> er7.Message:
    pv1 = ["PV1", *[""] * 45]
    pv1[44] = pv1[45] = own
    lines = [
        f"MSH|^~\\&|ZZEHR|ZZH|UMB|ZZH|{sent}||ADT^{trigger}|ZZ1|P|2.5.1",
        f"EVN||{told}||||{occurred}",
        "|".join(pv1),
    ]
    return er7.parse("\r".join(lines).encode())


@given(
    stamps, stamps, stamps, stamps, st.sampled_from(["A01", "A03", "A08"]), st.sampled_from(ZONES), offsets
)
@example((61, FORMS[0], ZONES[0]), (0, "", UTC), (0, "", UTC), (0, "", UTC), "A01", ZONES[0], 0)
def test_the_digits_say_what_the_times_say(
    sent: tuple[int, str, ZoneInfo],
    told: tuple[int, str, ZoneInfo],
    occurred: tuple[int, str, ZoneInfo],
    own: tuple[int, str, ZoneInfo],
    trigger: str,
    zone: ZoneInfo,
    later: int,
) -> None:
    now = NOW + timedelta(days=later)
    texts = [
        (now + timedelta(minutes=minutes)).astimezone(place).strftime(form)
        for minutes, form, place in (sent, told, occurred, own)
    ]
    read = message(trigger, *texts)
    found = moments.moments(Reading(read, zone, now))
    assert moments.is_ahead(read, zone, 60, now) == (
        max(found.sent, found.effective) > now + timedelta(minutes=60)
    )


@pytest.mark.parametrize(("seconds", "ahead"), [(3599, False), (3600, False), (3601, True)])
def test_an_hour_ahead_is_not_too_far(seconds: int, ahead: bool) -> None:
    now = datetime(2026, 3, 2, 15, 0, 20, tzinfo=UTC)
    sent = (now + timedelta(seconds=seconds)).strftime("%Y%m%d%H%M%S+0000")
    assert moments.is_ahead(message("A08", sent, "", "", ""), UTC, 60, now) is ahead


def _told(kind: str, *segments: str) -> datetime:
    head = f"MSH|^~\\&|ZZEHR|UMBH|UMBRIDGE|UMBH|202603101000||{kind}|ZZC1|P|2.5.1"
    message = er7.parse(("\r".join([head, *segments]) + "\r").encode())
    return moments.moments(Reading(message, ZONES[0], None)).sent


@pytest.mark.parametrize(
    ("segments", "second"),
    [
        (("ORM^O01", "ORC|NW|ZZP1|||||||202603101000", "OBR|1|ZZP1||ADTINPT|||202603101030"), 0),  # planned
        (("ORM^O01", "ORC|NW|ZZP1|||||||20260310100020", "OBR|1|ZZP1||ADTINPT"), 0),
        (("ORM^O01", "ORC|CA|ZZP1|||||||202603101000"), 0),
        (("ADT^A01", "EVN|A01|20260310100020", "PV1|1|I"), 0),
        (("ORU^R01", "OBR|1||ZZF1|ZZ|||202603101000", "OBX|1|NM|2823-3||4||||||F|||20260310100020"), 20),
        (("ORU^R01", "OBR|1||ZZF1|ZZ|||202603101000", "OBX|1|NM|2823-3||4||||||F|||20260310103000"), 0),
    ],
)
def test_of_one_minute_what_was_said_first_came_first(segments: tuple[str, ...], second: int) -> None:
    """An order's seconds, or a moment that is yet to come, put it after no cancel of the same minute."""
    assert _told(*segments) == datetime(2026, 3, 10, 10, 0, second, tzinfo=ZoneInfo("America/New_York"))

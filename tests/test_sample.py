"""The invented feed: read without a finding, nobody in it exists, and it ends in each kind of answer."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from umbridge.commands import sample
from umbridge.dryrun import screen
from umbridge.hl7 import ack, dictionary, er7
from umbridge.hl7.translate import translate
from umbridge.model import RowState
from umbridge.screening.host import Host
from umbridge.settings.site import default_site
from umbridge.stay.unused import unused

BEGAN = datetime(2026, 1, 12, 14, 0, tzinfo=UTC)


@settings(max_examples=25, deadline=None)
@given(
    number=st.integers(0, 9_999_999),
    after=st.timedeltas(timedelta(days=-9000), timedelta(days=26_000)),
)
def test_every_message_is_accepted_and_known_to_the_example_profile(number: int, after: timedelta) -> None:
    site = default_site()
    for data in sample.stay(number, BEGAN + after):
        message = er7.parse(data)
        assert ack.refusal(message) is None
        assert ack.used(message).state is RowState.PENDING
        assert set(dictionary.findings(message)) <= {"ZPV[1] segment_local"}
        event = translate(message, site.zone, mrn_authority=site.mrn_authority)
        assert list(unused(event, site)) == []
        assert event.visit.number == f"ZZVN{number:07d}"
        assert b"|ZZTEST^" in data
        assert data.endswith(b"\r")


def test_numbers_never_share_an_identifier_and_the_same_number_is_the_same_stay() -> None:
    ids = [er7.parse(m).get("MSH-10") for n in range(200) for m in sample.stay(n, BEGAN)]
    assert len(set(ids)) == len(ids)
    assert sample.stay(7, BEGAN) == sample.stay(7, BEGAN)


@pytest.mark.parametrize(
    ("story", "review", "outcome", "supported", "missing"),
    [
        (sample.PNEUMONIA, "ADMISSION", "MEETS", "ACUTE", set()),
        (sample.BLEED, "OBSERVATION", "MEETS", "OBS", set()),
        (sample.INCOMPLETE, "ADMISSION", "PEND", "HOME", {"bun", "sodium", "glucose", "hematocrit"}),
    ],
)
def test_each_story_ends_as_it_is_told(
    story: sample.Story, review: str, outcome: str, supported: str, missing: set[str]
) -> None:
    run = screen.Shadow(default_site())
    for message in sample.stay(1, BEGAN, story):
        run.take(message)

    def ask() -> list[dict[str, object]]:
        host = Host(call_seconds=60.0)
        host.start(["interqual_like"])
        try:
            return run.screen(host, None)
        finally:
            host.stop()

    (row,) = ask()
    assert (row["review"], row["outcome"], row["supported"]) == (review, outcome, supported)
    assert missing <= set(row["missing"])  # type: ignore[call-overload]
    assert bool(missing) == bool(row["missing"])

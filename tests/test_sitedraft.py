"""A drafted profile loads, maps nothing by guess, and lists what came with how often."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest
from click.testing import CliRunner

from umbridge import sample, sitedraft
from umbridge.cli import main
from umbridge.errors import UsageError
from umbridge.model import Status
from umbridge.site import parse_site
from umbridge.stay.profile import check_site

BEGAN = datetime(2026, 3, 2, 20, 0, tzinfo=UTC)


@pytest.fixture
def feed(tmp_path: Path) -> Path:
    path = tmp_path / "feed.hl7"
    path.write_bytes(b"".join(m for n in range(4) for m in sample.stay(n, BEGAN)))
    return path


def test_a_draft_is_a_profile_that_maps_only_what_hl7_says(feed: Path) -> None:
    text = sitedraft.draft([str(feed)])
    site = parse_site(text.encode())
    check_site(site)
    assert site.facilities == ("UMBH",)
    assert site.mrn_authority == site.visit_authority == "UMBH"
    assert site.status_codes["PV1-2"]["E"] is Status.ED
    assert (site.units, site.status_orders, site.intensity_orders, site.payer_types) == ({}, {}, {}, {})
    assert not site.closed_world
    assert site.status_codes["PV1-18"] == {}
    assert not any(site.observations.values())


def test_what_came_is_listed_with_how_often_for_a_person_to_confirm(feed: Path) -> None:
    text = sitedraft.draft([str(feed)])
    assert '# CONFIRM "4W" = ' in text
    assert '# CONFIRM "ADTINPT" = ' in text or '# CONFIRM "ADTOBS" = ' in text
    assert '# CONFIRM "UMB-SPO2RA" = ' in text
    assert '[observations."99UMB"]' in text
    for secret in ("ZZTEST", "ALDER", "ZZVN", "19540311"):
        assert secret not in text


def test_a_confirmed_line_takes_effect(feed: Path) -> None:
    text = sitedraft.draft([str(feed)])
    confirmed = text.replace('# CONFIRM "4W" =', '"4W" =')
    assert confirmed != text
    assert parse_site(confirmed.encode()).units["4W"].level.name == "ACUTE"


def test_codes_cannot_break_out_of_the_draft(tmp_path: Path) -> None:
    path = tmp_path / "odd.hl7"
    messages = sample.stay(0, BEGAN)
    path.write_bytes(messages[0].replace(b"ED^12^1", b'ZZ"]\\X0A\\[site]^12^1'))
    site = parse_site(sitedraft.draft([str(path)]).encode())
    assert site.units == {}


def test_a_sample_without_a_message_drafts_nothing(tmp_path: Path) -> None:
    path = tmp_path / "none.hl7"
    path.write_bytes(b"not hl7\r")
    with pytest.raises(UsageError, match="nothing to draft"):
        sitedraft.draft([str(path)])


def test_the_command_prints_it(feed: Path) -> None:
    done = CliRunner().invoke(main, ["site", "draft", str(feed)])
    assert done.exit_code == 0
    assert done.stdout == sitedraft.draft([str(feed)])

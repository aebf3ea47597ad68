"""A drafted profile loads, maps nothing by guess, and lists what came with how often."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest
from click.testing import CliRunner

from umbridge.commands import sample
from umbridge.commands.main import main
from umbridge.dryrun import site_draft
from umbridge.errors import UsageError
from umbridge.settings.site import parse_site
from umbridge.stay.profile import check_site
from umbridge.values.kinds import Status

BEGAN = datetime(2026, 3, 2, 20, 0, tzinfo=UTC)


@pytest.fixture
def feed(tmp_path: Path) -> Path:
    path = tmp_path / "feed.hl7"
    path.write_bytes(b"".join(m for n in range(4) for m in sample.stay(n, BEGAN)))
    return path


def test_a_draft_is_a_profile_that_maps_only_what_hl7_says(feed: Path) -> None:
    text = site_draft.draft([str(feed)])
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
    text = site_draft.draft([str(feed)])
    assert '# CONFIRM "4W" = ' in text
    assert '# CONFIRM "ADTINPT" = ' in text or '# CONFIRM "ADTOBS" = ' in text
    assert '# CONFIRM "UMB-SPO2RA" = ' in text
    assert '[observations."99UMB"]' in text
    for secret in ("ZZTEST", "ALDER", "ZZVN", "19540311"):
        assert secret not in text


def message(
    facility: str = "UMBH", obx: str = "", pid3: str = "ZZ1^^^UMBH^MR", kind: str = "ORU^R01"
) -> bytes:
    head = f"MSH|^~\\&|ZZLAB|{facility}|U|U|20260302110000-0500||{kind}|ZZ1|P|2.5.1\r"
    return f"{head}PID|1||{pid3}||ZZTEST^ADA\rPV1|1|I|4W\rOBR|1||R1\r{obx}".encode()


def drafted(tmp_path: Path, *messages: bytes) -> str:
    path = tmp_path / "sample.hl7"
    path.write_bytes(b"".join(messages))
    return site_draft.draft([str(path)])


def confirmed(text: str) -> str:
    """As a person leaves it who takes every proposal there is."""
    lines = [line for line in text.splitlines() if '= "FACT"' not in line]
    return "\n".join(line.removeprefix("# CONFIRM ") for line in lines) + "\n"


def test_every_proposal_is_a_line_that_the_profile_takes(feed: Path, tmp_path: Path) -> None:
    home = message(kind="ADT^A03").replace(b"PV1|1|I|4W", b"PV1|1|OUT|4W" + b"|" * 33 + b"OUTPT")
    west = message("ZZWEST", "OBX|1|NM|NA^SODIUM^ZZLAB||140|mmol/L|||||F\r", "ZZ9^^^WEST^MR")
    both = drafted(tmp_path, *(m for n in range(2) for m in sample.stay(n, BEGAN)), west, home)
    site = parse_site(confirmed(both).encode())
    check_site(site)
    assert site.facilities == ("UMBH", "ZZWEST")
    assert site.at("ZZWEST").mrn_authority == "WEST"
    assert site.units["ED"].is_ed
    assert site.observations["ZZLAB"]["NA"] == "sodium"
    assert site.status_orders


def test_another_facility_is_for_a_person_to_confirm(tmp_path: Path) -> None:
    text = drafted(tmp_path, message(), message(), message("ZZWEST"))
    assert 'facilities = ["UMBH"]     # CONFIRM: MSH-4 of 2 of 3 messages' in text
    assert '# CONFIRM [facilities."ZZWEST"]     # 1 x' in text
    assert parse_site(text.encode()).facilities == ("UMBH",)


@pytest.mark.parametrize(
    ("code", "status"),
    [("INPATIENT", "INPATIENT"), ("Inp", "INPATIENT"), ("OBS", "OBSERVATION"), ("ZZ", "OUTPATIENT")],
)
def test_a_class_that_begins_the_name_of_a_status_is_proposed_as_it(
    code: str, status: str, tmp_path: Path
) -> None:
    text = drafted(tmp_path, message().replace(b"PV1|1|I|", f"PV1|1|{code}|".encode()))
    assert f'# CONFIRM "{code}" = "{status}"' in text
    assert "visit_authority" in text and ": none was sent" in text


@pytest.mark.parametrize(
    ("sent", "proposed"),
    [
        ([("E", "EDP")], '"EDP" = "ED"     # 1 x PV1-2 E 1 x'),
        ([("O", "EDP"), ("O", "EDP"), ("E", "EDP")], '"EDP" = "OUTPATIENT"     # 3 x PV1-2 E 1 x, O 2 x'),
        ([("I", "XYZ")], '"XYZ" = "INPATIENT"     # 1 x PV1-2 I 1 x'),
        ([("E", "OBS")], '"OBS" = "OBSERVATION"     # 1 x PV1-2 E 1 x'),
        ([("", "XYZ")], '"XYZ" = "OUTPATIENT"     # 1 x'),
    ],
)
def test_a_patient_type_is_proposed_as_the_class_it_came_with(
    sent: list[tuple[str, str]], proposed: str, tmp_path: Path
) -> None:
    plain = message(kind="ADT^A08")
    typed = (plain.replace(b"PV1|1|I|4W", f"PV1|1|{cls}|4W{'|' * 15}{kind}".encode()) for cls, kind in sent)
    assert f"# CONFIRM {proposed}\n" in drafted(tmp_path, *typed)


def test_the_universal_id_of_the_sites_authority_is_proposed_as_its_alias(tmp_path: Path) -> None:
    """Whoever sends it alone means the same numbers (2.A.33)."""
    text = drafted(tmp_path, message(pid3="ZZ1^^^UMBH&1.2.9&ISO^MR"), message(pid3="ZZ2^^^&1.2.9&ISO^MR"))
    assert '# CONFIRM mrn_authority_aliases = ["1.2.9"]' in text
    site = parse_site(confirmed(text).encode())
    assert site.mrns.of("1.2.9") == site.mrns.own == "UMBH"
    assert "authority_aliases" not in drafted(tmp_path, message())


def test_without_msh_4_the_draft_says_so(tmp_path: Path) -> None:
    assert "# CONFIRM: no message has MSH-4" in drafted(tmp_path, message(""))


@pytest.mark.parametrize(
    ("coded", "line"),
    [
        ("2951-2^SODIUM^LN", "#   1 x 2951-2 sodium"),  # read as it is
        ("2951-2^SODIUM^ZZLAB", '# CONFIRM "2951-2" = "sodium"'),  # LOINC's code under another name
        ("NA^SODIUM SERPL^ZZLAB", '# CONFIRM "NA" = "sodium"'),
        ("NAU^SODIUM URINE^ZZLAB", '# CONFIRM "NAU" = "FACT"'),  # of another specimen
        ("NPC^Neutrophils per^ZZLAB", '# CONFIRM "NPC" = "FACT"'),  # a share is no count
        ("ZZQ^SODIUM POTASSIUM^ZZLAB", '# CONFIRM "ZZQ" = "FACT"'),  # of two
        ("2955-3^SODIUM URINE^LN", '# CONFIRM "2955-3" = "FACT"'),  # a code of LOINC's that is no fact here
        ("2955-3^SODIUM URINE^LOINC", '# CONFIRM "2955-3" = "FACT"'),
        ("ZZX^^", '# CONFIRM "ZZX" = "FACT"'),
    ],
)
def test_a_result_is_read_proposed_or_listed(coded: str, line: str, tmp_path: Path) -> None:
    text = drafted(tmp_path, message(obx=f"OBX|1|NM|{coded}||140|mmol/L|||||F\r"))
    assert line in text
    check_site(parse_site(text.encode()))


def test_a_code_with_several_texts_is_one_line_and_of_two_meanings_none_is_proposed(tmp_path: Path) -> None:
    def obx(*texts: str) -> str:
        return "".join(f"OBX|{n}|NM|NA^{text}^ZZLAB||140|mmol/L|||||F\r" for n, text in enumerate(texts, 1))

    one = drafted(tmp_path, message(obx=obx("SODIUM", "Sodium", "SODIUM")))
    assert '# CONFIRM "NA" = "sodium"     # 3 x SODIUM' in one
    two = drafted(tmp_path, message(obx=obx("SODIUM", "POTASSIUM")))
    assert '# CONFIRM "NA" = "FACT"     # 2 x ' in two
    check_site(parse_site(confirmed(one).encode()))


def test_what_was_not_read_is_said(tmp_path: Path) -> None:
    text = drafted(tmp_path, message(), message(kind="ADT^A20"), message(obx="DSC|ZZ1|F\r"))
    assert "drafted from 1 of the 3 messages" in text
    assert "# Not read: 1 x ADT^A20 IGNORED bed_status" in text
    assert "# Not read: 1 x ORU^R01 QUARANTINED continued" in text
    with pytest.raises(UsageError, match=r"1 x ORU.R01 QUARANTINED continued"):
        drafted(tmp_path, message(obx="DSC|ZZ1|F\r"))


def test_a_confirmed_line_takes_effect(feed: Path) -> None:
    text = site_draft.draft([str(feed)])
    confirmed = text.replace('# CONFIRM "4W" =', '"4W" =')
    assert confirmed != text
    assert parse_site(confirmed.encode()).units["4W"].level.name == "ACUTE"


def test_codes_cannot_break_out_of_the_draft(tmp_path: Path) -> None:
    path = tmp_path / "odd.hl7"
    messages = sample.stay(0, BEGAN)
    path.write_bytes(messages[0].replace(b"ED^12^1", b'ZZ"]\\X0A\\[site]^12^1'))
    site = parse_site(site_draft.draft([str(path)]).encode())
    assert site.units == {}


def test_a_sample_without_a_message_drafts_nothing(tmp_path: Path) -> None:
    path = tmp_path / "none.hl7"
    path.write_bytes(b"not hl7\r")
    with pytest.raises(UsageError, match="nothing to draft"):
        site_draft.draft([str(path)])


def test_the_command_prints_it(feed: Path) -> None:
    done = CliRunner().invoke(main, ["site", "draft", str(feed)])
    assert done.exit_code == 0
    assert done.stdout == site_draft.draft([str(feed)])

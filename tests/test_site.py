"""The site profile: what it means, and that every mistake in it is one line naming file and key."""

from __future__ import annotations

from dataclasses import FrozenInstanceError, replace
from pathlib import Path

import pytest

from umbridge.errors import ConfigError
from umbridge.settings.site import DEFAULT_SITE, default_site, load_site, parse_site
from umbridge.stay.profile import check_site
from umbridge.values.kinds import Level, Status

SHARED = Path(__file__).parents[1] / "../shared/vignettes/site-v2.toml"


def test_the_profile_that_ships_loads_and_names_only_known_facts() -> None:
    site = default_site()
    check_site(site)
    assert site.zone.key == "America/New_York"
    assert site.precedence == ("order", "PV1-18", "PV1-2")
    assert site.status_codes["PV1-18"]["OBS"] is Status.OBSERVATION
    assert site.units["ED"].is_ed and not site.units["CDU"].is_ed
    assert site.units["MICU"].level is Level.CRITICAL
    assert site.status_orders["ADTINPTIMC"].level is Level.INTERMEDIATE
    assert site.closed_world
    assert site.payer_class("MCR", "") == "MEDICARE_FFS"
    assert site.payer_class("", "ZZMAHMO") == "MEDICARE_ADVANTAGE"
    assert site.payer_class("COM", "MCRAB") == "COMMERCIAL"  # IN1-15 first
    assert site.payer_class("", "nobody") == "UNKNOWN"
    with pytest.raises(FrozenInstanceError):
        site.name = "other"  # type: ignore[misc]
    with pytest.raises(TypeError):
        site.units["X"] = site.units["ED"]  # type: ignore[index]


#: What the vignettes do without.
WITHOUT = {
    **{"UMB-IVRATE": "iv_fluid_rate", "UMB-NAUSUAL": "usual_sodium", "UMB-ANCEXP": "neutropenia_expected"},
    **{"UMB-HXDIAL": "chronic_dialysis", "UMB-HXPLT": "chronic_thrombocytopenia", "UMB-HXDEM": "dementia"},
    **{"UMB-HXBILI": "chronic_hyperbilirubinemia", "UMB-HXANEM": "chronic_anemia"},
    **{"UMB-HXHYPOX": "chronic_hypoxemia", "UMB-COMFORT": "comfort_care"},
}


@pytest.mark.skipif(not SHARED.exists(), reason="../shared is not beside the repository")
def test_the_shipped_profile_maps_the_same_codes_as_the_vignettes_one() -> None:
    ours, theirs = default_site(), load_site(SHARED)
    check_site(theirs)
    for name in (
        *("zone", "facilities", "mrn_authority", "visit_authority", "account_authority", "windows"),
        *("precedence", "status_codes", "status_orders", "intensity_orders", "closed_world", "payer_types"),
        *("payer_plans", "dispositions", "avoidable_days", "drugs"),
    ):
        assert getattr(ours, name) == getattr(theirs, name), name
    codes = {system: dict(each) for system, each in ours.observations.items()}
    assert {code: codes["99UMB"].pop(code) for code in WITHOUT} == WITHOUT
    assert codes == {system: dict(each) for system, each in theirs.observations.items()}
    assert {code: (u.level, u.is_ed) for code, u in ours.units.items()} == {
        code: (u.level, u.is_ed) for code, u in theirs.units.items()
    }


@pytest.mark.skipif(not SHARED.exists(), reason="../shared is not beside the repository")
def test_a_profile_of_before_goes_on_loading_and_assumes_nothing() -> None:
    before, now = load_site(SHARED.with_name("site.toml")), load_site(SHARED)
    check_site(before)
    assert before.windows == now.windows
    assert before.assumptions == {}
    assert before.drugs == replace(now.drugs, not_treatment=frozenset())
    assert now.assumptions["assessments"] == "assessment_complete"
    assert default_site().assumptions == {}


def test_what_orc_5_means_may_be_left_out() -> None:
    text = DEFAULT_SITE.read_text("utf-8")
    assert default_site().order_meanings == {}
    said = text.replace("# [orders.meaning]\n# Active", "[orders.meaning]\nActive")
    site = parse_site(said.replace("# Completed", " Completed").encode())
    assert site.order_meanings == {"ACTIVE": "in_force", "COMPLETED": "fulfilled"}
    assert site.digest != default_site().digest


def test_the_digest_follows_the_values_and_not_the_comments() -> None:
    text = DEFAULT_SITE.read_text("utf-8")
    first = parse_site(text.encode())
    assert parse_site(("# another comment\n" + text).encode()).digest == first.digest
    changed = parse_site(text.replace("order_to_adt_hours = 12", "order_to_adt_hours = 11").encode())
    assert changed.digest != first.digest
    assert first.digest.startswith("sha256:")
    assert len(first.digest) == 71


# (what is replaced, by what, the key the message must name)
MISTAKES = [
    ("[windows]", '[assumptions]\ncomorbidity = "history_complete"\n[windows]', "assumptions.comorbidity"),
    ("[windows]", '[assumptions]\nassessments = "history_complete"\n[windows]', "assumptions.assessments"),
    ('not_treatment = ["RXMETOPPO"', "not_treatment = [5", "orders.not_treatment[0]"),
    (
        'parenteral_suffixes = ["INF", "IV", "PCA"]',
        'parenteral_suffixes = "IV"',
        "orders.parenteral_suffixes",
    ),
    ('timezone = "America/New_York"', 'timezone = "Mars/Olympus"', "site.timezone"),
    ('timezone = "America/New_York"', "timezone = 5", "site.timezone"),
    ('facilities = ["UMBH"]', "facilities = []", "site.facilities"),
    ('mrn_authority = "UMBH"', 'mrn_autority = "UMBH"', "site.mrn_autority"),
    ("order_to_adt_hours = 12", "order_to_adt_hours = 0", "windows.order_to_adt_hours"),
    ("order_to_adt_hours = 12", "order_to_adt_hours = true", "windows.order_to_adt_hours"),
    ("imm_due_days = 2", "", "windows.imm_due_days"),
    ('level = "CRITICAL"', 'level = "SEVERE"', "units.MICU.level"),
    (", ed = true, name", ', ed = "yes", name', "units.ED.ed"),
    ('name = "Clinics"', 'nome = "Clinics"', "units.CLN.nome"),
    ('"PV1-18", "PV1-2"]', '"PV1-19", "PV1-2"]', "status.precedence[1]"),
    ('["order", "PV1-18", "PV1-2"]', '["order", "PV1-18"]', "status.PV1-2"),
    ('["order", "PV1-18", "PV1-2"]', '["order", "order", "PV1-18", "PV1-2"]', "status.precedence"),
    ('OBS = "OBSERVATION"', 'OBS = "WATCHING"', "status.PV1-18.OBS"),
    (
        'ADTOBS = { status = "OBSERVATION", level = "OBS" }',
        'ADTOBS = { status = "OBSERVATION" }',
        "ADTOBS.level",
    ),
    ('ADTDC = { status = "DISCHARGE" }', 'ADTDC = { status = "DISCHARGE", level = "OBS" }', "ADTDC.level"),
    ("closed_world = true", "closed_world = 1", "orders.intensity.closed_world"),
    ("closed_world = true", "", "orders.intensity.closed_world"),
    ("# [orders.meaning]", '[orders.meaning]\nZZ = "over"', "orders.meaning.ZZ"),
    ("# [orders.meaning]", '[orders.meaning]\n" " = "ended"', "orders.meaning"),
    ("# [orders.meaning]", '[orders.meaning]\nzz = "ended"\nZZ = "ended"', "orders.meaning.ZZ"),
    ("# [orders.meaning]", "[orders.meanings]", "orders.meanings"),
    ('MCR = "MEDICARE_FFS"', 'MCR = "MEDICARE"', "payers.IN1-15.MCR"),
    ('03 = "SNF"', '03 = "SOMEWHERE"', "dispositions.03"),
    ('attribution = "payer"', 'attribution = "nobody"', "avoidable_days.PAYER_AUTH.attribution"),
    ('UMB-CONF = "new_confusion"', "UMB-CONF = 7", "observations.99UMB.UMB-CONF"),
    ("[windows]", "[extra]\nkey = 1\n\n[windows]", "extra"),
]


@pytest.mark.parametrize(("old", "new", "key"), MISTAKES, ids=[key for _, _, key in MISTAKES])
def test_a_mistake_is_one_line_with_file_and_key(tmp_path: Path, old: str, new: str, key: str) -> None:
    text = DEFAULT_SITE.read_text("utf-8")
    assert old in text
    path = tmp_path / "site.toml"
    path.write_text(text.replace(old, new, 1), "utf-8")
    with pytest.raises(ConfigError) as caught:
        load_site(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert key in message
    assert "expected" in message
    assert "\n" not in message
    assert caught.value.exit_code == 78


def test_no_file_no_toml_no_text(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        load_site(tmp_path / "none.toml")
    for data in (b"[site\n", b"\xff\xfe", b"units = 1", b""):
        with pytest.raises(ConfigError):
            parse_site(data)


def test_a_fact_the_dictionary_does_not_have_is_found_by_name() -> None:
    text = DEFAULT_SITE.read_text("utf-8")
    for old, new, key in (
        ('UMB-CONF = "new_confusion"', 'UMB-CONF = "new_confussion"', "observations.99UMB.UMB-CONF"),
        ('RTNIV = "niv"', 'RTNIV = "heart_rate"', "orders.intensity.RTNIV"),
        ("TRANSFER = {", "ELSEWHERE = {", "avoidable_days.ELSEWHERE"),
    ):
        assert old in text
        with pytest.raises(ConfigError, match=key):
            check_site(parse_site(text.replace(old, new).encode()))

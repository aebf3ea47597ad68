"""The dictionary: names per version, the nearest version, and advice that raises nothing."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hl7apy.core import Segment as TheirSegment
from hypothesis import given
from hypothesis import strategies as st

from umbridge.hl7 import dictionary
from umbridge.hl7.er7 import parse

VIGNETTES = Path(__file__).parents[1] / "../shared/vignettes/cases"
HEADER = b"MSH|^~\\&|ZZEHR|UMBH|||20260112140700||ADT^A04^ADT_A01|ZZ-1|P|2.5.1\r"
FULL = HEADER + b"EVN|A04|20260112140700\rPID|1||1^^^UMBH^MR||ZZTEST^ALDER\rPV1|1|E\r"


@given(st.binary(max_size=200), st.sampled_from([b"2.5.1", b"2.1", b"9.9", b"2.8", b""]))
def test_advice_never_raises_and_names_no_content(tail: bytes, version: bytes) -> None:
    head = b"MSH|^~\\&|ZZCANARY||||||ADT^A01|1|P|" + version
    for finding in dictionary.findings(parse(head + b"\rPID|ZZCANARY|" + tail)):
        assert re.fullmatch(r"([A-Z][A-Z0-9]{2}|segment)(\[\d+\])?(-\d+)? [a-z_]+|more_\w+", finding)


@given(st.from_regex(r"[0-9]{0,3}(\.[0-9]{0,3}){0,3}", fullmatch=True))
def test_every_version_has_a_dictionary(version: str) -> None:
    assert dictionary.field_name(version, "PID", 3)[0]


@pytest.mark.parametrize(
    ("version", "read_by"),
    [
        ("2.0", "2.1"),
        ("2.0D", "2.1"),
        ("2.3.2", "2.3.1"),
        ("2.5", "2.5"),
        ("2.5.1", "2.5.1"),
        ("2.5.2", "2.5.1"),
        ("2.7.1", "2.7"),
        ("2.9", "2.8.2"),
        ("2.9.1", "2.8.2"),
        ("", "2.5.1"),
        ("x", "2.5.1"),
    ],
)
def test_the_nearest_version(version: str, read_by: str) -> None:
    assert dictionary.nearest(version) == read_by


def test_names() -> None:
    assert dictionary.segment_name("2.5.1", "PID") == "Patient identification"
    assert dictionary.segment_name("2.5.1", "ZPI") == ""
    assert dictionary.segment_name("2.1", "SPM") == ""
    assert dictionary.field_name("2.5.1", "PID", 3) == ("Patient identifier list", "CX")
    assert dictionary.field_name("2.5.1", "PV1", 44) == ("Admit date time", "TS")
    assert dictionary.field_name("2.8", "PV1", 44)[1] == "DTM"
    assert dictionary.field_name("2.5.1", "PID", 0) == ("", "")
    assert dictionary.field_name("2.5.1", "PID", 999) == ("", "")
    assert dictionary.field_name("2.5.1", "ZPI", 1) == ("", "")


@pytest.mark.parametrize("version", ["2.2", "2.3.1", "2.5.1"])
@pytest.mark.parametrize("segment", ["PID", "PV1", "OBX", "ORC", "DG1", "IN1"])
def test_hl7apys_own_elements_have_the_same_names(version: str, segment: str) -> None:
    theirs = TheirSegment(segment, version=version)
    for number in range(1, 20):
        name, datatype = dictionary.field_name(version, segment, number)
        if name:
            field = theirs.add_field(f"{segment}_{number}")
            assert (name.upper().replace(" ", "_"), datatype) == (field.long_name, field.datatype)


@pytest.mark.parametrize(
    ("frame", "advice"),
    [
        (FULL, []),
        (FULL + b"ZPI|1\r", ["ZPI[1] segment_local"]),
        (FULL + b"QQQ|1\r", ["QQQ[1] segment_unknown"]),
        (FULL + b"pid|1\r", ["segment[5] name_unreadable"]),
        (FULL + b"OBR|1|||x\r", ["OBR[1] segment_unexpected"]),
        (FULL.replace(b"PV1|1|E\r", b""), ["PV1 segment_missing"]),
        (FULL.replace(b"||ZZTEST^ALDER", b"||"), ["PID[1]-5 field_missing"]),
        (FULL.replace(b"PV1|1|E", b"PV1|1|E~I"), ["PV1[1]-2 field_repeated"]),
        (
            FULL.replace(b"EVN|A04|20260112140700", b"EVN|A04|20260112140700||||||x"),
            ["EVN[1]-8 field_unknown"],
        ),
        (FULL.replace(b"^ADT_A01", b"").replace(b"A04", b"A13"), []),  # A13 shares A01's structure
        (FULL.replace(b"ADT^A04^ADT_A01", b"XYZ^A04"), ["MSH-9 structure_unknown"]),
    ],
)
def test_advice(frame: bytes, advice: list[str]) -> None:
    assert dictionary.findings(parse(frame)) == advice


def test_a_choice_of_order_details_is_not_all_required() -> None:
    """hl7apy's own validation asks for every alternative of ORM^O01's order detail."""
    frame = FULL.replace(b"ADT^A04^ADT_A01", b"ORM^O01^ORM_O01").replace(b"EVN|A04|20260112140700\r", b"")
    assert dictionary.findings(parse(frame + b"ORC|NW|1\rOBR|1|1||CODE\r")) == []


def test_advice_has_an_end() -> None:
    found = dictionary.findings(parse(FULL + b"QQQ|1\r" * 100_000))
    assert len(found) == dictionary.MAX_FINDINGS + 1
    assert dictionary.findings(parse(FULL + b"AL1|1||a\r" * 100_000)) == ["more_segments"]


@pytest.mark.skipif(not VIGNETTES.is_dir(), reason="the shared vignettes are not beside this repository")
def test_the_vignettes_keep_to_the_standard() -> None:
    paths = sorted(VIGNETTES.glob("*/*.hl7"))
    assert paths
    assert [finding for path in paths for finding in dictionary.findings(parse(path.read_bytes()))] == []

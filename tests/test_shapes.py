"""Nothing of a field is unread in silence: another shape of it changes what is read, or is noted."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from functools import cache

import pytest

from umbridge.hl7 import er7
from umbridge.hl7.shapes import FIELDS, notes_of
from umbridge.hl7.translate import translate
from umbridge.model import Event, Observation
from umbridge.settings.site import default_site
from umbridge.stay import facts
from umbridge.stay.reasons import Reason
from umbridge.stay.unused import counted, shapes_not_read

SITE = default_site()
HEAD = "MSH|^~\\&|ZZSYS|UMBH|||20261110090000||{}|ZZ1|P|2.5.1"
#: Messages of each kind that is read, with every segment that anything is read from.
MESSAGES = {
    "ADT^A01": ("EVN", "PID", "PV1", "PV2", "DG1", "PR1", "IN1", "IN3"),
    "ADT^A03": ("EVN", "PID", "PV1"),
    "ADT^A40": ("EVN", "PID", "MRG", "PV1"),
    "ORU^R01": ("PID", "PV1", "ORC", "OBR", "OBX", "SPM"),
    "ORM^O01": ("PID", "PV1", "ORC", "OBR", "TQ1"),
    "RDE^O11": ("PID", "PV1", "ORC", "RXO", "RXR", "RXE", "TQ1"),
}
#: What a field may have, so that something is read from it: with a time, a code of a table, a number.
LIKELY = ("20261110083000", "20261109", "F", "D", "NW", "A", "1", "NM", "ONCE", "6.8", "ZZ", '""')
#: Fields behind the last of which any segment is read.
LAST = 50
#: The rest of each segment, so that one field alone says something.
FILLED = {
    "PID": {3: "ZZ1^^^UMBH^MR"},
    "PV1": {2: "I", 19: "ZZV1^^^UMBH^VN"},
    "MRG": {1: "ZZ2^^^UMBH^MR"},
    "OBR": {2: "P1^ZZC", 3: "F1^ZZLAB", 4: "24323-8^^LN"},
    "OBX": {2: "NM", 3: "2823-3^^LN", 5: "6.8", 6: "mmol/L", 11: "F"},
    "ORC": {1: "NW", 2: "P1^ZZC"},
    "RXE": {2: "RXNACLIV", 23: "100", 24: "mL/h"},
    "DG1": {1: "1", 3: "E87.5^^I10"},
    "PR1": {1: "1", 3: "ZZ^^L", 5: "202611100830"},
    "IN1": {1: "1", 2: "ZZPLAN"},
    "IN3": {1: "1", 2: "ZZC1"},
}


def segment(name: str, fields: dict[int, str]) -> str:
    return "|".join([name, *(fields.get(number, "") for number in range(1, LAST + 1))]).rstrip("|")


@cache
def read(kind: str, name: str, field: int, value: str) -> Event:
    """What is read, with what is noted of shapes among its notes."""
    lines = [HEAD.format(kind)]
    for each in MESSAGES[kind]:
        fields = dict(FILLED.get(each, {}))
        if each == name:
            fields[field] = value
        lines.append(segment(each, fields))
    message = er7.parse("\r".join([*lines, ""]).encode())
    event = translate(message, SITE.zone)
    return replace(event, notes=(*event.notes, *notes_of(message)))


def _fields_read() -> Iterator[tuple[str, str, int, str]]:
    for kind, names in MESSAGES.items():
        for name in names:
            for field in range(1, LAST):
                empty = read(kind, name, field, "")
                for value in LIKELY:
                    found = read(kind, name, field, value)
                    if found != empty and not found.notes:
                        yield kind, name, field, value
                        break


@cache
def fields_read() -> list[tuple[str, str, int, str]]:
    """Each field that is read, with a value that is read from it."""
    return list(_fields_read())


#: Parts of a timing that are not read: counted where anything is sent.
OF_TIMING = {("TQ1", 4), ("TQ1", 5), ("TQ1", 10), ("TQ1", 11)}
#: Any value says the same: that there was an anaesthetic, that a specimen was rejected.
PRESENT = {("PR1", 8), ("PR1", 9), ("PR1", 10), ("SPM", 21), ("TQ1", 13)} | OF_TIMING
#: The pattern of a repeat is a CWE within a component: its text and system are subcomponents.
WITHIN = {("TQ1", 3)}


def is_said(found: Event, other: Event, name: str, field: int) -> bool:
    """Whether a reading differs from another, or a note names the field."""
    named = re.compile(rf"{name}(\[\d+\])?-{field} ")
    return found != other or any(named.match(each) for each in found.notes)


def test_every_reader_is_among_the_fields() -> None:
    assert len({(name, field) for _, name, field, _ in fields_read()}) > 90


def test_every_field_that_is_read_has_a_shape() -> None:
    """Those that have none are read whole, or for what each of their repetitions says."""
    shaped = {(name.decode(), field) for name, fields in FIELDS.items() for field in fields}
    whole = {("OBX", 4), ("OBX", 5), ("DG1", 1), ("IN1", 1), ("PR1", 8), ("PR1", 9), ("PR1", 10)}
    assert {(name, field) for _, name, field, _ in fields_read()} - shaped == whole | OF_TIMING


@pytest.mark.parametrize("shape", ["{}&ZZ", "{}~ZZ"])
def test_what_stands_behind_a_value_changes_it_or_is_noted(shape: str) -> None:
    silent = {
        f"{kind} {name}-{field}"
        for kind, name, field, value in fields_read()
        if value != '""' and (name, field) not in PRESENT and not ("&" in shape and (name, field) in WITHIN)
        if not is_said(
            read(kind, name, field, shape.format(value)), read(kind, name, field, value), name, field
        )
    }
    assert silent == set()


@pytest.mark.parametrize("shape", ["^ZZ", "^^^ZZ", "&ZZ", "~ZZ", "^^^^^^^^ZZ"])
def test_what_stands_where_nothing_is_read_is_read_or_noted(shape: str) -> None:
    silent = {
        f"{kind} {name}-{field}"
        for kind, name, field, _ in fields_read()
        if not is_said(read(kind, name, field, shape), read(kind, name, field, ""), name, field)
    }
    assert silent == set()


# --- what longer values mean ---------------------------------------------------------------------------


def obx(kind: str, value: str, status: str) -> tuple[Observation, ...]:
    line = f"OBX|1|{kind}|UMB-CONF^Confusion^99UMB||{value}||||||{status}|||202611100830"
    return translate(
        er7.parse("\r".join([HEAD.format("ORU^R01"), "OBR|1|P1|F1", line, ""]).encode()), SITE.zone
    ).observations


@pytest.mark.parametrize(
    ("kind", "value", "read_as", "meant"),
    [
        ("CWE", "^^^^^^^^Yes", "Yes", Reason.NOT_YES_OR_NO),  # original text alone
        ("CWE", "^Yes", "Yes", Reason.NOT_YES_OR_NO),
        ("CWE", "^^^^Yes", "Yes", Reason.NOT_YES_OR_NO),  # alternate text alone
        ("CWE", "^^^N", "N", False),
        ("CWE", "^^^^^^^^^^Yes", "Yes", Reason.NOT_YES_OR_NO),  # text of a third triplet
        ("CE", "^^L", "", Reason.EMPTY),
        ("CWE", "^^^^^^^^Perhaps", "Perhaps", Reason.NOT_YES_OR_NO),
        ("CWE", "^^^^^^^^" + "Perhaps " * 200, ("Perhaps " * 200).strip(), Reason.NOT_YES_OR_NO),
        ("CWE", "Y^Yes^HL70136^^^^^^No, sometimes", "Y", True),  # a code goes before the text
        ("CWE", "^Yes & no", "Yes & no", Reason.NOT_YES_OR_NO),  # not Yes
        ("CWE", "^^^^^^^^Unknown", "Unknown", Reason.NOT_YES_OR_NO),
        ("ED", "^TEXT^PLAIN^A^Yes", "TEXT", Reason.NOT_YES_OR_NO),
    ],
)
def test_an_answer_without_its_code_is_not_empty(
    kind: str, value: str, read_as: str, meant: bool | Reason
) -> None:
    (one,) = obx(kind, value, "F")
    found = facts.read(one, SITE)
    assert one.value == read_as
    assert (found.reason if isinstance(found, facts.Unusable) else found.value) == meant


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        ("F", "F"),
        ("f", "F"),
        ("F^Final^HL70085", "F"),
        ("F^^", "F"),
        ("F~F", "F"),
        ("F~C", "F~C"),
        ("F&x", "F&X"),
        ("^Final", ""),
        ('""', ""),
        ("", ""),
    ],
)
def test_a_status_is_its_first_component(sent: str, status: str) -> None:
    (one,) = obx("CWE", "Y", sent)
    assert one.status == status
    found = facts.read(one, SITE)
    assert isinstance(found, facts.Fact) is (status == "F")


@pytest.mark.parametrize(
    ("sent", "unit"),
    [
        ("4W", "4W"),
        ("4W&1.2.3&ISO", "4W"),
        ("&1.2.3&ISO", "1.2.3"),
        ("M&S", "M&S"),
        ("M&S&T", "M&S&T"),
        ("4W&", "4W"),
    ],
)
def test_a_place_is_whole_unless_it_has_a_universal_id(sent: str, unit: str) -> None:
    assert read("ADT^A03", "PV1", 3, f"{sent}^1^A").visit.unit == unit


@pytest.mark.parametrize(
    ("name", "field", "value"),
    [("PID", 3, "ZZ1&2^^^UMBH^MR"), ("PV1", 19, "ZZV1&2"), ("IN1", 2, "BLUE&GOLD"), ("PV1", 36, "01&x")],
)
def test_nobody_and_nothing_is_another_with_something_behind_it(name: str, field: int, value: str) -> None:
    found = read("ADT^A01", name, field, value)
    whole = value.partition("^")[0]
    said = {found.visit.number, found.visit.disposition, *(each.plan_id for each in found.coverage)}
    assert whole in said | {each[0] for each in found.patient.identifiers}


def test_what_is_not_read_of_a_field_is_counted_and_listed() -> None:
    lines = ["PID|1||ZZ1^^^UMBH^MR||||19500101|^Male", "PV1|1|I|4W~5W||||||||||||||||ZZV1", ""]
    message = er7.parse("\r".join([HEAD.format("ADT^A08"), *lines]).encode())
    event = translate(message, SITE.zone)
    named = {"PID-8 nothing_where_read": 1, "PV1-3 repetitions_not_read": 1}
    kept = counted(message, [event], SITE, [])
    assert {name: count for name, count in kept.items() if name.endswith("_read")} == named
    assert {f"{one.field} {one.reason}" for one in shapes_not_read(message)} == set(named)
    assert all(one.says for one in shapes_not_read(message))

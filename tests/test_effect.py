"""Every code of HL7 tables 0119 and 0038 beside every other: what the pair does to an order, by hand."""

from __future__ import annotations

import importlib
from itertools import product

import pytest

from umbridge.settings.parts import ORDER_MEANINGS
from umbridge.stay.orders import effect as effects
from umbridge.stay.orders.effect import APART, CONTROLS, MEANINGS_0038, Effect, effect
from umbridge.stay.reasons import OrderReason

VERSIONS = ("v2_3_1", "v2_4", "v2_5", "v2_5_1", "v2_6", "v2_7", "v2_8", "v2_8_1", "v2_8_2")
#: In 2.9 and in no table of hl7apy's: notification received, recommendations, supplements.
OF_2_9 = frozenset({"NR", "RA", "RC", "RD", "SQ", "SU"})

COLUMNS = (("",), ("A", "IP", "SC"), ("CA", "DC", "RP"), ("HD",), ("CM",), ("ER",), ("ZZLOCAL",))
SHORT = {
    **{"beg": Effect.BEGINS, "sta": Effect.STANDS, "rel": Effect.RELEASES, "hol": Effect.HOLDS},
    **{"ask": Effect.ASKS, "ash": Effect.ASKS_HOLD, "end": Effect.ENDS, "ful": Effect.FULFILS},
    **{"ref": Effect.REFUSES, "tak": Effect.TAKES_BACK},
    **{"---": OrderReason.SAYS_NOTHING, "sta?": OrderReason.STATUS_UNKNOWN},
}
#: ORC-1 against ORC-5: empty, in process, ended, on hold, completed, error, a value nobody knows.
TABLE = """
NW RO CH RA                               beg  beg  end  hol  ful  ---  beg
SN NA OK PA XO XX XR SC SR RE CN          sta  beg  end  hol  ful  ---  sta?
RF AF OF FU SU SQ                         sta  beg  end  hol  ful  ---  sta?
RL OE OR                                  rel  beg  end  hol  ful  ---  rel
OH HR UR                                  hol  hol  end  hol  ful  hol  hol
HD                                        ash  ash  end  ash  ful  ash  ash
CA DC RP                                  ask  ask  end  ask  ask  ask  ask
OC CR OD DR RU RQ                         end  end  end  end  end  end  end
UA                                        ref  ref  end  hol  ful  ref  ref
UC UD UH UM                               tak  tak  end  hol  ful  ---  sta?
UX UF DF LI UN                            ---  beg  end  hol  ful  ---  sta?
DE RR NR SS PR MC OP PY RC RD CP          ---  ---  ---  ---  ---  ---  ---
"""
ROWS = [line.split() for line in TABLE.strip().splitlines()]
CELLS = {
    (control, status): SHORT[word]
    for row in ROWS
    for control in row[:-7]
    for statuses, word in zip(COLUMNS, row[-7:], strict=True)
    for status in statuses
}


def test_the_tables_are_those_of_every_version() -> None:
    controls: set[str] = set(OF_2_9)
    for version in VERSIONS:
        tables = importlib.import_module(f"hl7apy.{version}.tables").TABLES
        controls |= set(tables.get("HL70119", ("", ()))[1])
        assert set(tables["HL70038"][1]) == set(MEANINGS_0038), version
    assert set(CONTROLS) | APART == controls
    assert not set(CONTROLS) & APART
    assert {control for control, _ in CELLS} == controls


@pytest.mark.parametrize(("control", "status"), sorted(CELLS))
def test_a_pair(control: str, status: str) -> None:
    assert effect(control, status) is CELLS[control, status]
    assert effect(control.lower(), f" {status.lower()}") is CELLS[control, status]


def test_ended_is_ended_whichever_field_says_so() -> None:
    over = {Effect.ENDS, Effect.ASKS, Effect.ASKS_HOLD, Effect.HOLDS}
    for control, status in product(sorted(CONTROLS), ["CA", "DC", "RP", "HD"]):
        assert effect(control, status) in over
    for control, (status,) in product(["CA", "DC", "HD", "OC", "CR", "RP", "RU"], product(MEANINGS_0038)):
        assert effect(control, status) in {*over, Effect.FULFILS}


@pytest.mark.parametrize("status", ["", "CA", "CM", "IP"])
def test_no_control_and_an_unknown_one_say_nothing(status: str) -> None:
    assert effect("", status) is OrderReason.CONTROL_MISSING
    assert effect(" ", status) is OrderReason.CONTROL_MISSING
    assert effect("ZZ", status) is OrderReason.CONTROL_UNKNOWN
    assert effect("N", status) is OrderReason.CONTROL_UNKNOWN


def test_the_site_says_what_its_own_values_mean() -> None:
    meaning = dict(zip(["ACTIVE", "GONE", "GIVEN", "PENDED"], ORDER_MEANINGS, strict=True))
    assert [effect("XO", value, meaning) for value in ("active", "Gone", "given", "PENDED")] == [
        Effect.BEGINS,
        Effect.ENDS,
        Effect.FULFILS,
        OrderReason.SAYS_NOTHING,
    ]
    assert effect("NW", "PENDED", meaning) is OrderReason.SAYS_NOTHING
    assert effect("DC", "PENDED", meaning) is Effect.ASKS  # the field that ends it wins
    assert effect("SC", "SC", {"SC": "nothing"}) is OrderReason.SAYS_NOTHING  # and goes before the table
    assert effect("SC", "CM") is Effect.FULFILS


@pytest.mark.parametrize(
    ("name", "fault"),
    [
        ("CONTROLS", lambda: {**CONTROLS, "OC": Effect.STANDS}),
        ("CONTROLS", lambda: {code: its for code, its in CONTROLS.items() if code not in ("CP", "HR")}),
        ("APART", lambda: APART | {"UC"}),
        ("MEANINGS_0038", lambda: {**MEANINGS_0038, "RP": "in_force"}),
        ("_ENDING", lambda: frozenset({Effect.ENDS})),
    ],
)
def test_a_planted_fault_is_seen(monkeypatch: pytest.MonkeyPatch, name: str, fault: object) -> None:
    monkeypatch.setattr(effects, name, fault())  # type: ignore[operator]
    assert any(effect(*pair) is not expected for pair, expected in CELLS.items())

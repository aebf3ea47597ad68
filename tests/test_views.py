"""Every question, every act and every view there is: nothing leaves that does not say where it belongs."""

from __future__ import annotations

import ast
import importlib.util
import inspect
import json
from collections.abc import Iterator
from dataclasses import FrozenInstanceError, fields
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from umbridge_audit.entry import JsonValue
from umbridge_audit.redact import GROUPS, REDACTED, SHOWN_OF_STAYS, AccessTable, Cell, Permission, Role
from umbridge_audit.slots import SCHEMAS

from umbridge.access import registry, views
from umbridge.access.questions import Act, Query, asked
from umbridge.access.registry import ACTS, QUERIES, REGISTRY
from umbridge.access.stays import StayLine, StayView
from umbridge.access.views import Exported, Placed, Slots, inside, places, redact, view, within
from umbridge.errors import UsageError
from umbridge.hl7.moments import EPOCH
from umbridge.review.plan import stay_json
from umbridge.settings.site import default_site
from umbridge.stay.fold import StayFold

TABLE = AccessTable.load()
HERE = Path(__file__).parent
ROWS = sorted({row for question in REGISTRY.values() for row in question.rows}, key=lambda row: row.__name__)


def everything() -> Iterator[type[Any]]:
    """Every view that a question or act yields, and those inside them."""
    waiting = [*ROWS]
    while waiting:
        declared = waiting.pop()
        yield declared
        held = {place.holds for place in places(declared).values()}
        waiting += [each for each in held if each not in (None, Slots, Placed, Exported)]


VIEWS = sorted(set(everything()), key=lambda row: row.__name__)


# -- declared ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("declared", VIEWS, ids=lambda row: row.__name__)
def test_every_field_of_every_view_says_where_it_belongs(declared: type[Any]) -> None:
    for name, place in places(declared).items():
        assert (place.compartment in GROUPS) != (place.holds is not None), name


def test_a_view_with_a_field_that_says_nothing_cannot_be_declared() -> None:
    with pytest.raises(TypeError, match="no compartment is declared for name"):

        @view
        class Line:
            seq: int = within("ops", "row")
            name: str

    with pytest.raises(ValueError, match="a compartment is one of"):
        within("secret")


def test_a_field_that_is_not_declared_cannot_be_put_in() -> None:
    known = dict.fromkeys(places(StayLine))
    with pytest.raises(TypeError):
        StayLine(**known, diagnosis="ZZ")
    with pytest.raises(FrozenInstanceError):
        StayLine(**known).visit = "ZZ"


def test_what_is_held_is_what_is_declared() -> None:
    @view
    class Other:
        seq: int = within("open")

    @view
    class Holder:
        held: Any = inside(Slots)

    everybody = TABLE.permission(["ur_nurse"], "HPAYMT")
    for value in ("ZZ", {"ZZ": 1}, Other(seq=1), (Slots("access.read", {}), "ZZ")):
        with pytest.raises(TypeError, match="not declared"):
            redact(Holder(held=value), everybody)
    with pytest.raises(TypeError, match="no slot of that name"):
        redact(Holder(held=Slots("access.read", {"diagnosis": "ZZ"})), everybody)


def test_a_question_whose_argument_says_nothing_cannot_be_declared() -> None:
    with pytest.raises(TypeError, match="not declared how it is asked: patient"):

        @asked
        class Peek(Query[Any]):
            patient: str = ""


def test_a_stays_views_have_every_key_of_a_stay() -> None:
    """A key that the fold learns to write is declared here, or no stay is shown at all."""
    stay = StayFold(default_site()).stay(EPOCH)
    assert list(places(StayLine)) == list(stay_json(stay))
    assert list(places(StayView)) == [*stay_json(stay), *stay.detail(), "acknowledged"]


def test_what_the_access_table_may_name_of_a_stay_a_stay_is_shown_with() -> None:
    shown = {(place.compartment, place.slot) for place in places(StayView).values()}
    assert {(group, name) for group, names in SHOWN_OF_STAYS.items() for name in names} <= shown


# -- the registry ------------------------------------------------------------------------------------------


def test_the_registry_holds_every_question_and_act_that_is_declared() -> None:
    def below(declared: type[Any]) -> Iterator[type[Any]]:
        for each in declared.__subclasses__():
            if each.__module__.startswith("umbridge.") and each.name:
                yield each
            yield from below(each)

    # dataclass(slots=True) makes a class anew: the one before it is gone once it is collected
    assert {one.name for one in (*below(Query), *below(Act))} == set(REGISTRY)
    assert len(REGISTRY) == len(QUERIES) + len(ACTS)
    assert registry.REGISTRY is REGISTRY and not hasattr(REGISTRY, "__setitem__")


@pytest.mark.parametrize("question", REGISTRY.values(), ids=lambda one: one.name)
def test_a_question_is_a_frozen_value_read_strictly(question: Any) -> None:
    needed = {n: 1 for n, a in question.arguments().items() if a.read.__name__ == "number_of"}
    value = question.of(needed)
    with pytest.raises(FrozenInstanceError):
        value.reason = "ZZ"
    with pytest.raises(UsageError, match="unknown argument"):
        question.of(needed | {"no_such_filter": "ZZ"})
    assert question.rows and (issubclass(question, Query) or question.may in TABLE.acts)


@pytest.mark.parametrize("query", QUERIES, ids=lambda one: one.name)
def test_a_patients_number_is_no_word_of_an_entry(query: Any) -> None:
    """What is looked for in a sealed compartment is told by its option alone, but for a payer's class."""
    for name, argument in query.arguments().items():
        if argument.looks_for and argument.looks_for[0] == "ident":
            value = query.of({n: 1 for n, a in query.arguments().items() if a.read.__name__ == "number_of"})
            asked_for = type(value)(
                **{f.name: getattr(value, f.name) for f in fields(value)} | {name: "ZZSECRET"}
            )
            assert "ZZSECRET" not in asked_for.words
            assert any(need.compartment == "ident" for need in asked_for.needs)


def test_no_desk_decides_for_itself() -> None:
    """What may be seen is asked in the door and in the views, and in no other room of PATH 3."""
    for room in [registry, *{inspect.getmodule(one) for one in REGISTRY.values()}]:
        assert room is not None
        names = set[str]()
        for node in ast.walk(ast.parse(inspect.getsource(room))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute | ast.Name):
                names.add(node.func.attr if isinstance(node.func, ast.Attribute) else node.func.id)
        assert not names & {"may", "redact", "permission", "opens", "Permission", "Opened", "lines"}, (
            room.__name__
        )


# -- redaction ---------------------------------------------------------------------------------------------

cells = st.builds(
    Cell,
    every=st.booleans(),
    listed=st.frozensets(st.sampled_from(["row", "visit", "ack", "ts", "PID-5", "recipient", "actor"])),
    rest=st.sampled_from(["hide", "mask"]),
)
permissions = st.builds(
    lambda found: Permission((Role(frozenset(), False, dict(zip(GROUPS, found, strict=True))),)),
    st.lists(cells, min_size=len(GROUPS), max_size=len(GROUPS)),
)


@cache
def full(declared: type[Any]) -> Any:
    """A row in which every field's value names the place that it belongs to."""
    values: dict[str, Any] = {}
    for name, place in places(declared).items():
        if place.compartment:
            values[name] = f"<{place.compartment}.{place.slot}>"
        elif place.holds is Slots:
            slots = SCHEMAS["access.read"].slots
            values[name] = Slots("access.read", {slot: f"<{c}.{slot}>" for slot, c in slots})
        elif place.holds is Placed:
            values[name] = Placed("ident", "PID-5", "<ident.PID-5>")
        elif place.holds is Exported:
            values[name] = Exported("line")
        else:
            values[name] = (full(place.holds or object),)
    return declared(**values)


@given(sees=permissions)
@pytest.mark.parametrize("declared", ROWS, ids=lambda row: row.__name__)
def test_what_leaves_is_what_the_table_shows_whoever_looks(declared: type[Any], sees: Permission) -> None:
    seen = redact(full(declared), sees).values
    told = json.dumps(seen)
    for part in told.split("<")[1:]:
        compartment, _, slot = part.partition(">")[0].partition(".")
        assert sees.may(compartment, slot) == "show"
    for name, place in places(declared).items():
        if place.compartment:
            expected: JsonValue = {
                "show": f"<{place.compartment}.{place.slot}>",
                "mask": REDACTED,
                "hide": None,
            }[sees.may(place.compartment, place.slot)]
            assert seen[name] == expected
        assert place.flat or name in seen  # every key is there for everybody


@given(sees=permissions, value=st.sampled_from([None, "", [], ()]))
def test_a_mask_over_nothing_says_nothing(sees: Permission, value: Any) -> None:
    line = views.blank(StayLine, accounts=value)
    assert REDACTED not in json.dumps(redact(line, sees).values)


@given(sees=permissions)
def test_restricted_content_looks_like_any_to_who_sees_no_clinical_value(sees: Permission) -> None:
    @view
    class One:
        value: Placed = inside(Placed)

    plain, tells = (
        redact(One(value=Placed("clin", "NTE-3", "ZZ", restricted)), sees).values["value"]
        for restricted in (False, True)
    )
    if sees.may("clin", "NTE-3") != "show":
        assert plain == tells
    elif sees.may("sens", "NTE-3") != "show":
        assert tells != "ZZ" and plain == "ZZ"


# -- the golden file ---------------------------------------------------------------------------------------


def maker() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_disclosures", HERE / "make_disclosures.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_who_sees_which_field_of_which_answer_is_as_it_was_read_last() -> None:
    made = maker()
    assert made.PAGE.read_text() == made.text(), "make vectors, and read every line that changed"


def test_the_golden_file_covers_every_question_and_field() -> None:
    page = maker().PAGE.read_text()
    for query in QUERIES:
        for declared in query.rows:
            for name in places(declared):
                assert f"{query.name} {declared.__name__} {name}" in page
    for one in REGISTRY:
        assert f"\n{one} " in page


def test_a_permission_that_changes_turns_the_golden_file_red(monkeypatch: pytest.MonkeyPatch) -> None:
    made = maker()
    raw = TABLE_BYTES.replace(b'ident = { M = ["visit"] }', b'ident = { M = ["visit", "mrn"] }')
    assert raw != TABLE_BYTES
    monkeypatch.setattr(made.AccessTable, "load", classmethod(lambda cls: cls(raw)))
    assert made.PAGE.read_text() != made.text()


def _table_bytes() -> bytes:
    from importlib.resources import files

    return files("umbridge_audit").joinpath("policy.toml").read_bytes()


TABLE_BYTES = _table_bytes()

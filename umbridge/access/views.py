"""What a question may show: rows in which every field says, once, which compartment it belongs to.

A query makes a row whole. The door lets it out as ``Seen``, in which the access table has decided about each
field. A row with a field that says nothing of its compartment cannot be declared, and nothing but a declared
row leaves the door.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Generic, TypeVar, dataclass_transform

from umbridge_audit.disclose import Sees
from umbridge_audit.entry import JsonValue
from umbridge_audit.redact import GROUPS, REDACTED
from umbridge_audit.slots import SCHEMAS

C = TypeVar("C")
V_co = TypeVar("V_co", covariant=True)
_PLACE = "place"
_NOTHING: tuple[object, ...] = (None, "", [], ())


@dataclass(frozen=True, slots=True)
class Place:
    """Where a field belongs: a compartment, and the name by which the access table knows it there.

    Without a compartment the field ``holds`` views, ``Placed``, ``Slots`` or ``Exported``, which say it
    themselves.
    """

    compartment: str = ""
    slot: str = ""
    holds: type[Any] | None = None
    flat: bool = False  # its names stand beside those of the row, not under its own


def within(compartment: str, slot: str = "") -> Any:
    """A field of a view: it is shown to who may see ``slot`` (default: the field's own name) there."""
    if compartment not in GROUPS:
        raise ValueError(f"a compartment is one of {' '.join(GROUPS)}")
    return field(metadata={_PLACE: Place(compartment, slot)})


def inside(holds: type[Any], *, flat: bool = False) -> Any:
    """A field whose value, or each of whose values, declares its own compartments."""
    return field(metadata={_PLACE: Place(holds=holds, flat=flat)})


@dataclass_transform(frozen_default=True, kw_only_default=True, field_specifiers=(within, inside))
def view(declared: type[C]) -> type[C]:
    """Makes a frozen row of a class. Raises TypeError for a field without a compartment."""
    made = dataclass(frozen=True, slots=True, kw_only=True)(declared)
    bare = [each.name for each in fields(made) if _PLACE not in each.metadata]  # type: ignore[arg-type]
    if bare:
        raise TypeError(f"{declared.__name__}: no compartment is declared for {' '.join(bare)}")
    return made


def places(declared: type[Any]) -> dict[str, Place]:
    """Each field of a view with its place, in order."""
    found: dict[str, Place] = {}
    for each in fields(declared):
        place: Place = each.metadata[_PLACE]
        found[each.name] = Place(place.compartment, place.slot or each.name, place.holds, place.flat)
    return found


def blank(declared: type[C], **known: Any) -> C:
    """A row that could not be read: every field None but what is known of it."""
    return declared(**dict.fromkeys(places(declared)) | known)


@dataclass(frozen=True, slots=True)
class Placed:
    """One value whose compartment only its content tells, such as a field of a message.

    ``restricted``: it is clinical and tells of treatment for substance use (42 CFR part 2). Whoever sees no
    clinical value sees the same of it as of any other; who does needs the restricted compartment too.
    """

    compartment: str
    slot: str
    value: JsonValue
    restricted: bool = False


@dataclass(frozen=True, slots=True)
class Slots:
    """Slots of one ledger entry; the ledger's own table gives each kind's slots their compartments."""

    kind: str
    values: Mapping[str, JsonValue]


@dataclass(frozen=True, slots=True)
class Exported:
    """A line that the ledger's own export made: what these eyes and its profile hide is hidden in it already,
    and even with everything hidden it is a proof."""

    text: str


@dataclass(frozen=True, slots=True)
class Seen(Generic[V_co]):
    """A row as these eyes may see it: what is hidden is None or missing, what is masked says so.

    ``hidden``: the fields that these eyes never see of such a row, whatever they hold.
    """

    values: dict[str, JsonValue]
    hidden: tuple[str, ...] = ()


def redact(row: C, sees: Sees) -> Seen[C]:
    """The only way from a row to something that can be shown."""
    hidden = tuple(
        name
        for name, place in places(type(row)).items()
        if place.compartment and sees.may(place.compartment, place.slot) == "hide"
    )
    return Seen(_fields(row, sees), hidden)


def _fields(row: Any, sees: Sees) -> dict[str, JsonValue]:
    found: dict[str, JsonValue] = {}
    for name, place in places(type(row)).items():
        value = getattr(row, name)
        if place.compartment:
            found[name] = _shown(sees, place.compartment, place.slot, value)
            continue
        held = value if isinstance(value, tuple) else () if value is None else (value,)
        if any(type(each) is not place.holds for each in held):
            raise TypeError(f"{type(row).__name__}.{name} holds something that is not declared")
        inner = [_inside(each, sees) for each in held]
        if place.flat:
            found |= _names(inner)
        else:
            found[name] = inner if isinstance(value, tuple) else inner[0] if inner else None
    return found


def _names(inner: list[JsonValue]) -> dict[str, JsonValue]:
    """The one thing held, whose names stand beside the row's own."""
    (only,) = inner
    if not isinstance(only, dict):
        raise TypeError("only slots or a view can stand beside a row's fields")
    return only


def _inside(value: Any, sees: Sees) -> JsonValue:
    if isinstance(value, Exported):
        return value.text
    if isinstance(value, Placed):
        restricted = value.restricted and sees.may(value.compartment, value.slot) == "show"
        return _shown(sees, "sens" if restricted else value.compartment, value.slot, value.value)
    if isinstance(value, Slots):
        sights = {name: sees.may(c, name) for name, c in SCHEMAS[value.kind].slots if name in value.values}
        if len(sights) != len(value.values):
            raise TypeError(f"{value.kind} has no slot of that name")
        return {
            name: value.values[name] if sight == "show" else REDACTED
            for name, sight in sights.items()
            if sight != "hide"
        }
    return _fields(value, sees)


def _shown(sees: Sees, compartment: str, slot: str, value: Any) -> JsonValue:
    """The value, a mask, or None where even its presence is not this role's business."""
    verdict = sees.may(compartment, slot)
    if verdict == "mask":
        return None if value in _NOTHING else REDACTED
    if verdict == "hide":
        return None
    return list(value) if isinstance(value, tuple) else value

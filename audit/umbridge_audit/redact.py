"""Who sees what: the table of roles, compartments and purposes, and what follows from it for one field.

Deny by default. The table is `policy.toml`; its bytes are hashed into every access entry.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from importlib.resources import files
from typing import Any, Literal

from umbridge_audit.slots import BY_NAME, COMPARTMENTS

Sight = Literal["show", "mask", "hide"]
REDACTED = "[redacted]"
PURPOSES = ("TREAT", "ETREAT", "HPAYMT", "HOPERAT", "HCOMPL", "PATRQT", "BTG")
GROUPS = ("open", *COMPARTMENTS)
#: Slots that a determination under 42 CFR part 2 leaves empty, since their values are in ``sens``. That one
#: of them is empty tells as much as its value would, so who may not see ``sens`` sees none of them, of any
#: determination. Who reads the whole chart (``clin = "Y"``) does, in the house: see decision 0093.
TELLING = {
    "ops": frozenset(("subset", "content_status")),
    "clin": frozenset(
        (
            *("missing", "rationale", "evidence", "basis", "advise_higher", "advise_missing", "scores"),
            *("extended_stay_reason", "hold"),
        )
    ),
}


@dataclass(frozen=True, slots=True)
class Cell:
    """One role's sight of one compartment: all fields but some, or some and the rest as ``rest`` says."""

    every: bool = False
    excepted: frozenset[str] = frozenset()  # hidden although ``every``
    listed: frozenset[str] = frozenset()
    rest: Sight = "hide"

    def sight(self, field: str) -> Sight:
        if self.every:
            return "hide" if field in self.excepted else "show"
        return "show" if field in self.listed else self.rest


@dataclass(frozen=True, slots=True)
class Role:
    """One row of the table."""

    purposes: frozenset[str]
    exports: bool
    cells: Mapping[str, Cell]


@dataclass(frozen=True, slots=True)
class Permission:
    """What some roles together may see for one purpose: the union of their rows."""

    roles: tuple[Role, ...] = ()

    def may(self, compartment: str, field: str) -> Sight:
        """ "show", "mask" (it is there, its value is not told) or "hide" (as if it were not there)."""
        seen: Sight = "hide"
        for role in self.roles:
            cell = role.cells.get(compartment)
            if cell is not None and (sight := cell.sight(field)) != "hide":
                if sight == "show":
                    return sight
                seen = sight
        return seen

    @property
    def any(self) -> bool:
        """Whether anything at all may be shown."""
        return any(cell.every or cell.listed for role in self.roles for cell in role.cells.values())

    @property
    def exports(self) -> bool:
        """Whether a bundle may be taken out."""
        return any(role.exports for role in self.roles)

    def opens(self, compartment: str) -> bool:
        """Whether any field of the compartment may be shown: if not, it need not even be decrypted."""
        cells = [role.cells[compartment] for role in self.roles if compartment in role.cells]
        return any(cell.every or cell.listed for cell in cells)

    def summary(self) -> str:
        """What may be shown, as an access entry records it: ``ops:* clin:as_of,outcome``; ``ops:*-subset`` is
        every field but that one."""
        words = []
        for c in GROUPS:
            cells = [role.cells[c] for role in self.roles if c in role.cells]
            listed = set[str]().union(*(cell.listed for cell in cells))
            if every := [cell.excepted for cell in cells if cell.every]:
                but = "".join(f"-{field}" for field in sorted(frozenset.intersection(*every) - listed))
                words.append(f"{c}:*{but}")
            elif listed:
                words.append(f"{c}:{','.join(sorted(listed))}")
        return " ".join(words)

    def within(self, other: Permission) -> Narrowed:
        """What both allow: a requester's permission cut down to a profile, or the other way round."""
        return Narrowed(self, other)


@dataclass(frozen=True, slots=True)
class Narrowed:
    """The intersection of two permissions."""

    first: Permission
    second: Permission

    def may(self, compartment: str, field: str) -> Sight:
        first = self.first.may(compartment, field)
        if first == "hide":
            return first
        second = self.second.may(compartment, field)
        return first if second == "show" else second

    def opens(self, compartment: str) -> bool:
        return self.first.opens(compartment) and self.second.opens(compartment)


class AccessTable:
    """The whole table. ``hash`` is SHA-256 over its file, hex."""

    def __init__(self, raw: bytes) -> None:
        self.hash = sha256(raw).hexdigest()
        try:
            table = tomllib.loads(raw.decode())
        except (UnicodeDecodeError, tomllib.TOMLDecodeError):
            raise ValueError("access table: not TOML") from None
        rows: Any = table.get("roles")
        acts: Any = table.get("acts", {})
        profiles: Any = table.get("profiles", {})
        known = {"version", "roles", "acts", "profiles", "breakglass"}
        if not {"version", "roles"} <= set(table) <= known or table["version"] != 1:
            raise ValueError("access table: version 1 with roles is expected")
        if not all(isinstance(part, dict) for part in (rows, acts, profiles)):
            raise ValueError("access table: roles, acts and profiles must be tables")
        self.roles: dict[str, Role] = {}
        for name, row in rows.items():
            like = row.get("same_as")
            if like is not None and (set(row) != {"same_as"} or like not in self.roles):
                raise ValueError(
                    f"access table: role {name}: same_as must name an earlier role and stand alone"
                )
            self.roles[name] = self.roles[like] if like is not None else _alike(name, _role(name, row))
        self.acts: dict[str, frozenset[str]] = {}
        for act, names in acts.items():
            if not isinstance(names, list) or not set(names) <= set(self.roles):
                raise ValueError(f"access table: act {act}: a list of roles is expected")
            self.acts[act] = frozenset(names)
        self.profiles: dict[str, Role] = {}
        for name, cells in profiles.items():
            made = _role(name, {"purposes": [], "exports": True, **cells})
            self.profiles[name] = _alike(name, made)

        broken = table.get("breakglass")
        self.broken = (
            Permission((_role("breakglass", {"purposes": ["BTG"], "exports": False, **broken}),))
            if isinstance(broken, dict)
            else None
        )

    @classmethod
    def load(cls) -> AccessTable:
        """The table that comes with this package."""
        return cls(files("umbridge_audit").joinpath("policy.toml").read_bytes())

    def permission(self, roles: Iterable[str], purpose: str) -> Permission:
        """The union over the roles that have this purpose. Unknown roles and purposes grant nothing."""
        held = [self.roles[name] for name in sorted(set(roles)) if name in self.roles]
        return Permission(tuple(role for role in held if purpose in role.purposes))

    def profile(self, name: str) -> Permission:
        """What an export profile shows at most. Raises ValueError, which names those there are."""
        if name == "integrity-only":
            return Permission()
        role = (
            self.roles.get(name.removeprefix("role:"))
            if name.startswith("role:")
            else self.profiles.get(name)
        )
        if role is None:
            raise ValueError(f"profile: role:<name>, integrity-only, {', '.join(sorted(self.profiles))}")
        return Permission((role,))


def _role(name: str, row: Mapping[str, object]) -> Role:
    purposes, exports = row.get("purposes"), row.get("exports")
    if set(row) != {"purposes", "exports", *GROUPS} or not isinstance(exports, bool):
        raise ValueError(
            f"access table: role {name}: needs purposes, exports and the cells {' '.join(GROUPS)}"
        )
    if not isinstance(purposes, list) or not set(purposes) <= set(PURPOSES):
        raise ValueError(f"access table: role {name}: unknown purpose")
    return Role(frozenset(purposes), exports, {c: _cell(name, c, row[c]) for c in GROUPS})


def _alike(name: str, role: Role) -> Role:
    """The role, if restricted determinations look to it like all others. Raises ValueError."""
    sens = role.cells["sens"]
    if sens.every or sens.listed or role.cells["clin"] == Cell(every=True):
        return role
    for c, fields in TELLING.items():
        for field in sorted(fields):
            if role.cells[c].sight(field) == "show":
                raise ValueError(
                    f"access table: role {name}, {c}: {field} tells restricted determinations from others; "
                    'it needs sens, or clin = "Y"'
                )
    return role


def _cell(name: str, compartment: str, cell: object) -> Cell:
    match cell:
        case "Y":
            return Cell(every=True)
        case "-":
            return Cell()
        case {"M": list(listed), **rest} if not rest:
            found = Cell(listed=frozenset(listed))
        case {"R": list(listed), **rest} if not rest:
            found = Cell(listed=frozenset(listed), rest="mask")
        case {"X": list(listed), **rest} if not rest:
            found = Cell(every=True, excepted=frozenset(listed))
        case _:
            raise ValueError(f"access table: role {name}, {compartment}: neither Y, -, M, R nor X")
    if not all(isinstance(field, str) and field in _FIELDS[compartment] for field in listed):
        raise ValueError(
            f"access table: role {name}, {compartment}: a field that neither an entry nor a stay has"
        )
    return found


#: What a stay is shown with and no entry has: a row may name these too. A test holds them to the views.
SHOWN_OF_STAYS = {"fin": frozenset(("coverage", "authorizations"))}

_FIELDS: dict[str, frozenset[str]] = {
    group: frozenset(name for schema in BY_NAME.values() for name, c in schema.slots if c == group)
    | SHOWN_OF_STAYS.get(group, frozenset())
    for group in GROUPS
}

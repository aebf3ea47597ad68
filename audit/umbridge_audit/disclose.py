"""The only door to plaintext: who asks is on the ledger before anything is shown.

45 CFR 164.312(b) and 164.502(b): decide, commit the access entry durably, only then produce. If the entry
cannot be committed, nothing is produced.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, TypeVar

from umbridge_audit.entry import Draft, JsonValue, Receipt, Record
from umbridge_audit.redact import GROUPS, REDACTED, AccessTable, Permission, Sight
from umbridge_audit.slots import BY_NAME, Schema, check_open
from umbridge_audit.tree import leaf_hash

T = TypeVar("T")


class NotPermitted(PermissionError):  # noqa: N818  the word the entry uses
    """No role of this viewer allows this for this purpose. The refusal is on the ledger."""


@dataclass(frozen=True, slots=True)
class Viewer:
    """Who is asking: the account they came in with, the user it maps to, their roles, how we know, and where
    the question came from."""

    account: str
    user: str
    roles: tuple[str, ...]
    auth: str
    source: str = ""


@dataclass(frozen=True, slots=True)
class Need:
    """A field that a question uses without showing it: a filter whose answer, even an empty one, tells of
    it. ``what`` names it for whoever is refused."""

    compartment: str
    field: str
    what: str


class Shelf(Protocol):
    """What ``view`` needs of a ledger."""

    def record(self, seq: int) -> Record: ...

    def openings(
        self, record: Record, compartments: tuple[str, ...] | None = None
    ) -> dict[str, list[tuple[int, str, str, JsonValue]]]: ...


class Sees(Protocol):
    """A permission, or two of them narrowed to what both allow."""

    def may(self, compartment: str, field: str) -> Sight: ...

    def opens(self, compartment: str) -> bool: ...


def disclose(
    commit: Callable[[Draft], Receipt],
    table: AccessTable,
    viewer: Viewer,
    *,
    purpose: str,
    reason: str,
    kind: Literal["read", "search", "export"],
    query: str,
    patient: str | None,
    count: int | None,
    produce: Callable[[Permission], T],
    broken: Permission | None = None,
    needs: Sequence[Need] = (),
) -> tuple[Receipt, T]:
    """Decides, records, then produces. ``commit`` must return only once the entry is durable.

    ``query`` says what was asked for, ``patient`` whose record it is if it is one patient's, ``count`` how
    many entries it touches if that is known. ``broken`` is what break-glass shows instead of the roles' own
    row, once its window is on the ledger. Every field of ``needs`` must be shown to these roles, or the
    question as a whole is refused: whatever can refuse it is decided here, before the entry says the outcome.
    Raises NotPermitted after recording the refusal; whatever ``commit`` raises goes through, and then
    nothing has been produced.
    """
    permission = broken or table.permission(viewer.roles, purpose)
    lacking = unmet(permission, needs)
    allowed = (permission.exports if kind == "export" else permission.any) and lacking is None
    values = access_values(viewer, purpose=purpose, reason=reason, policy_hash=table.hash)
    values |= {
        "outcome": "allowed" if allowed else "denied",
        "query": query,
        "patient": patient,
        "count": count,
        "revealed": permission.summary() if allowed else None,
        "request": kind,
    }
    receipt = commit(Draft(f"access.{kind}" if allowed else "access.denied", values))
    if not allowed:
        why = f": no role of yours may see {lacking.what}" if lacking and permission.any else ""
        raise NotPermitted(f"not permitted for purpose {purpose!a}{why}: recorded as entry {receipt.seq}")
    return receipt, produce(permission)


def unmet(permission: Sees, needs: Sequence[Need]) -> Need | None:
    """The first of ``needs`` that this permission does not show."""
    return next((need for need in needs if permission.may(need.compartment, need.field) != "show"), None)


def who(viewer: Viewer, reason: str) -> dict[str, JsonValue]:
    """The slots of every entry that a person is the cause of: who it was, and why."""
    return {
        "actor": viewer.user,
        "account": viewer.account,
        "roles": list(viewer.roles),
        "auth": viewer.auth,
        "reason": reason or None,
    }


def access_values(viewer: Viewer, *, purpose: str, reason: str, policy_hash: str) -> dict[str, JsonValue]:
    """The slots that every access entry has in common."""
    return who(viewer, reason) | {
        "source": viewer.source or None,
        "purpose": purpose,
        "policy_hash": policy_hash,
    }


def view(ledger: Shelf, permission: Sees, seq: int) -> dict[str, JsonValue]:
    """One entry as this permission may see it. Call it only from ``produce`` of ``disclose``.

    ``slots`` holds every field that may be shown, "[redacted]" for those whose presence but not value may
    be told (absent or not: presence itself says nothing); hidden fields are missing. Compartments nobody
    may see are not decrypted. Raises LookupError when there is no such entry.
    """
    record = ledger.record(seq)
    schema, values = _open_values(record)
    shown = openings_within(ledger, record, schema, permission)
    slots: dict[str, JsonValue] = {}
    for name, c in schema.slots:
        sight = permission.may(c, name)
        if sight == "show":
            slots[name] = shown[c][name][1]
        elif sight == "mask":
            slots[name] = REDACTED
    return {
        "seq": seq,
        "kind": schema.kind if permission.may("open", "schema") == "show" else None,
        "ts": values["ts"] if permission.may("open", "ts") == "show" else None,
        "leaf_hash": leaf_hash(record.leaf).hex(),
        "slots": {name: value for name, value in slots.items() if name not in ("schema", "ts")},
    }


def openings_within(
    ledger: Shelf, record: Record, schema: Schema, permission: Sees
) -> dict[str, dict[str, tuple[str, JsonValue]]]:
    """Salt and value by compartment and name, decrypting only where something may be shown."""
    wanted = tuple(c for c in GROUPS if c in schema.of and permission.opens(c))
    found = ledger.openings(record, wanted)
    return {c: {name: (salt, value) for _, salt, name, value in rows} for c, rows in found.items()}


def _open_values(record: Record) -> tuple[Schema, dict[str, JsonValue]]:
    schema, values, _ = check_open(record.open)
    return BY_NAME[schema.name], values

"""A second person: what one administrator asks for, another allows, and both are on the ledger.

Needed as soon as there are two administrators. With one there is nobody to ask; then the entry says that one
person decided, and ``umbridge status`` says that a second is missing.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

from umbridge_audit.disclose import Viewer
from umbridge_audit.entry import Draft, JsonValue

from umbridge.config import User
from umbridge.door import Door
from umbridge.errors import UsageError
from umbridge.store import notes
from umbridge.store.batch import Batch

DAYS = 7
_NOTE = "approval:"


def administrators(users: Mapping[str, User], roles: frozenset[str]) -> set[str]:
    """The umbridge users who hold one of these roles."""
    return {user.user for user in users.values() if roles & set(user.roles)}


def ask(door: Door, viewer: Viewer, subject: str, reason: str) -> tuple[int, bool]:
    """Records what is asked for; returns its entry and whether somebody else must allow it."""
    waits = len(administrators(door.users, door.table.acts["approve"])) > 1
    expires = datetime.now(UTC) + timedelta(days=DAYS)

    def work(batch: Batch) -> int:
        values = _values(viewer, reason) | {
            "state": "asked" if waits else "one person decided",
            "subject": subject,
            "expires": expires.isoformat(timespec="seconds") if waits else None,
        }
        seq = batch.entry(Draft("approval", values))
        if waits:
            held = {
                "subject": subject,
                "user": viewer.user,
                "account": viewer.account,
                "expires": expires.timestamp(),
            }
            notes.put(batch.cursor, f"{_NOTE}{seq}", json.dumps(held))
        return seq

    return door.pen.call(work), waits


def grant(door: Door, viewer: Viewer, seq: int, reason: str) -> str:
    """Allows what entry ``seq`` asks for, once; returns its subject.

    Raises UsageError when nothing waits under that number, NotPermittedError (recorded) for whoever asked.
    """
    said = door.pen.call(lambda batch: notes.get(batch.cursor, f"{_NOTE}{seq}"))
    held = json.loads(said) if said else None
    if held is None or held["expires"] < datetime.now(UTC).timestamp():
        raise UsageError(f"entry {seq} asks for nothing that still waits for a second person")
    if viewer.user == held["user"] or viewer.account == held["account"]:
        door.refuse(viewer, held["subject"], reason, "whoever asks may not also allow")

    def work(batch: Batch) -> bool:
        if notes.get(batch.cursor, f"{_NOTE}{seq}") is None:
            return False  # somebody else was quicker
        values = _values(viewer, reason) | {"state": "allowed", "subject": held["subject"], "of_entry": seq}
        batch.entry(Draft("approval", values))
        notes.drop(batch.cursor, f"{_NOTE}{seq}")
        return True

    if not door.pen.call(work):
        raise UsageError(f"entry {seq} asks for nothing that still waits for a second person")
    return str(held["subject"])


def _values(viewer: Viewer, reason: str) -> dict[str, JsonValue]:
    return {
        "actor": viewer.user,
        "account": viewer.account,
        "roles": list(viewer.roles),
        "auth": viewer.auth,
        "reason": reason or None,
    }

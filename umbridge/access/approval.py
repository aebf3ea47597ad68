"""A second person: what one administrator asks for, another allows, and both are on the ledger.

Needed as soon as there are two administrators. With one there is nobody to ask; then the entry says that one
person decided, and ``umbridge status`` says that a second is missing.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

from umbridge_audit.disclose import Viewer, who
from umbridge_audit.entry import Draft

from umbridge.access.door import Door
from umbridge.errors import UsageError
from umbridge.settings.config import User
from umbridge.store import authority
from umbridge.store.authority import AskApproval, Asked, GrantApproval

DAYS = 7


def administrators(users: Mapping[str, User], roles: frozenset[str]) -> set[str]:
    """The umbridge users who hold one of these roles."""
    return {user.user for user in users.values() if roles & set(user.roles)}


def ask(door: Door, viewer: Viewer, subject: str, reason: str) -> tuple[int, bool]:
    """Records what is asked for; returns its entry and whether somebody else must allow it."""
    waits = len(administrators(door.users, door.table.acts["approve"])) > 1
    expires = datetime.now(UTC) + timedelta(days=DAYS)
    values = who(viewer, reason) | {
        "state": "asked" if waits else "one person decided",
        "subject": subject,
        "expires": expires.isoformat(timespec="seconds") if waits else None,
    }
    asked = Asked(subject=subject, user=viewer.user, account=viewer.account, expires=expires.timestamp())
    command = AskApproval(draft=Draft("approval", values), asked=asked if waits else None)
    return door.writer.call(command), waits


def grant(door: Door, viewer: Viewer, seq: int, reason: str) -> str:
    """Allows what entry ``seq`` asks for, once; returns its subject.

    Raises UsageError when nothing waits under that number, NotPermittedError (recorded) for whoever asked.
    """
    nothing = f"entry {seq} asks for nothing that still waits for a second person"
    with door.writer.reading() as reader:
        asked = authority.asked_for(reader, seq, datetime.now(UTC))
    if asked is None:
        raise UsageError(nothing)
    if viewer.user == asked.user or viewer.account == asked.account:
        door.refuse(viewer, asked.subject, reason, "whoever asks may not also allow")
    values = who(viewer, reason) | {"state": "allowed", "subject": asked.subject, "of_entry": seq}
    if not door.writer.call(GrantApproval(seq=seq, draft=Draft("approval", values))):
        raise UsageError(nothing)
    return asked.subject

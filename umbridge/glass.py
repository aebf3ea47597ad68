"""Breaking the glass: one patient, one hour, a reason, and a second person to review it in three days.

45 CFR 164.312(a)(2)(ii). The entry that opens the window is durable before anything is seen; if it cannot be
written nothing is. A window is kept as a keyed token of the visit, never the visit itself.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

from umbridge_audit.disclose import Viewer
from umbridge_audit.entry import Draft
from umbridge_audit.keys import Keyring

from umbridge.store import notes
from umbridge.store.batch import Batch
from umbridge.store.writer import Pen

MINUTES, REVIEW_HOURS = 60, 72
SHORTEST_REASON = 8  # characters: "x" is no reason
_NOTE = "glass:"


def is_open(pen: Pen, viewer: Viewer, patient: str) -> bool:
    """Whether this user has a window on this patient that has not run out."""
    token, now = _token(pen.keyring, patient), datetime.now(UTC).timestamp()
    return any(
        held["user"] == viewer.user and held["token"] == token and held["expires"] > now
        for held in windows(pen).values()
    )


def open_window(pen: Pen, viewer: Viewer, patient: str, reason: str) -> int:
    """Records a window and opens it, in one transaction; returns the entry to be reviewed."""
    now = datetime.now(UTC)
    expires, due = now + timedelta(minutes=MINUTES), now + timedelta(hours=REVIEW_HOURS)

    def work(batch: Batch) -> int:
        values = {
            "actor": viewer.user,
            "state": "opened",
            "account": viewer.account,
            "roles": list(viewer.roles),
            "auth": viewer.auth,
            "reason": reason,
            "purpose": "BTG",
            "expires": expires.isoformat(timespec="seconds"),
            "due": due.isoformat(timespec="seconds"),
            "patient": patient,
        }
        seq = batch.entry(Draft("breakglass.open", values))
        held = {"user": viewer.user, "account": viewer.account, "token": _token(pen.keyring, patient)}
        held |= {"opened": now.isoformat(timespec="seconds")}
        times = {"expires": expires.timestamp(), "due": due.timestamp()}
        notes.put(batch.cursor, f"{_NOTE}{seq}", json.dumps(held | times))
        return seq

    return pen.call(work)


def review(pen: Pen, viewer: Viewer, seq: int, finding: str, reason: str) -> bool:
    """Records what a second person found; False when nothing waits under that entry any more."""

    def work(batch: Batch) -> bool:
        if notes.get(batch.cursor, f"{_NOTE}{seq}") is None:
            return False
        values = {
            "actor": viewer.user,
            "state": finding,
            "account": viewer.account,
            "roles": list(viewer.roles),
            "auth": viewer.auth,
            "reason": reason or None,
            "of_entry": seq,
        }
        batch.entry(Draft("breakglass.review", values))
        notes.drop(batch.cursor, f"{_NOTE}{seq}")
        return True

    return pen.call(work)


def windows(pen: Pen) -> dict[int, dict[str, Any]]:
    """Every window that was opened and not reviewed yet, by its entry; no patient in it."""
    held = pen.call(lambda batch: notes.under(batch.cursor, _NOTE))
    return {int(name.removeprefix(_NOTE)): json.loads(said) for name, said in held.items()}


def waiting(pen: Pen) -> dict[str, int]:
    """How many reviews wait, and how many of them should have been done: for ``status``."""
    now = datetime.now(UTC).timestamp()
    found = windows(pen).values()
    return {"to_review": len(found), "overdue": sum(held["due"] < now for held in found)}


def _token(keyring: Keyring, patient: str) -> str:
    return keyring.token("breakglass", patient).hex()

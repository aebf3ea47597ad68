"""Breaking the glass: one patient, one hour, a reason, and a second person to review it in three days.

45 CFR 164.312(a)(2)(ii). The entry that opens the window is durable before anything is seen; if it cannot be
written nothing is. A window is kept as a keyed token of the visit, never the visit itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

from umbridge_audit.disclose import Viewer, who
from umbridge_audit.entry import Draft
from umbridge_audit.keys import Keyring

from umbridge.store import authority
from umbridge.store.authority import OpenWindow, ReviewWindow, Window
from umbridge.store.writer import Writer

MINUTES, REVIEW_HOURS = 60, 72
SHORTEST_REASON = 8  # characters: "x" is no reason


def is_open(writer: Writer, viewer: Viewer, patient: str) -> bool:
    """Whether this user has a window on this patient that has not run out."""
    token, now = _token(writer.keyring, patient), datetime.now(UTC).timestamp()
    return any(
        held.user == viewer.user and held.token == token and held.expires > now
        for held in windows(writer).values()
    )


def open_window(writer: Writer, viewer: Viewer, patient: str, reason: str) -> int:
    """Records a window and opens it, in one transaction; returns the entry to be reviewed."""
    now = datetime.now(UTC)
    expires, due = now + timedelta(minutes=MINUTES), now + timedelta(hours=REVIEW_HOURS)
    values = who(viewer, reason) | {
        "state": "opened",
        "purpose": "BTG",
        "expires": expires.isoformat(timespec="seconds"),
        "due": due.isoformat(timespec="seconds"),
        "patient": patient,
    }
    window = Window(
        user=viewer.user,
        account=viewer.account,
        token=_token(writer.keyring, patient),
        opened=now.isoformat(timespec="seconds"),
        expires=expires.timestamp(),
        due=due.timestamp(),
    )
    return writer.call(OpenWindow(draft=Draft("breakglass.open", values), window=window))


def review(writer: Writer, viewer: Viewer, seq: int, finding: str, reason: str) -> bool:
    """Records what a second person found; False when nothing waits under that entry any more."""
    values = who(viewer, reason) | {"state": finding, "of_entry": seq}
    return writer.call(ReviewWindow(seq=seq, draft=Draft("breakglass.review", values)))


def windows(writer: Writer) -> Mapping[int, Window]:
    """Every window that was opened and not reviewed yet, by its entry; no patient in it."""
    with writer.reading() as reader:
        return authority.windows(reader)


def waiting(writer: Writer) -> dict[str, int]:
    """How many reviews wait, and how many of them should have been done: for ``status``."""
    now = datetime.now(UTC).timestamp()
    found = windows(writer).values()
    return {"to_review": len(found), "overdue": sum(held.due < now for held in found)}


def _token(keyring: Keyring, patient: str) -> str:
    return keyring.token("breakglass", patient).hex()

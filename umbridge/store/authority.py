"""Windows of broken glass, what waits for a second person, and refusals in floods: notes and their entries.

Each is a note beside an entry, written in one transaction. The notes' JSON is what stores of earlier versions
have: it goes on being read.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Self

from umbridge_audit.entry import Draft, JsonValue

from umbridge.store.commands import Transaction
from umbridge.store.reader import Reader

GLASS, APPROVAL, FLOOD = "glass:", "approval:", "flood:"


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """Broken glass that waits for its review. The patient is a keyed token, never the visit itself."""

    user: str
    account: str
    token: str
    opened: str  # ISO 8601, UTC
    expires: float
    due: float

    @classmethod
    def read(cls, note: str) -> Self:
        held = json.loads(note)
        return cls(
            user=held["user"],
            account=held["account"],
            token=held["token"],
            opened=held["opened"],
            expires=held["expires"],
            due=held["due"],
        )

    @property
    def note(self) -> str:
        return json.dumps(
            {
                "user": self.user,
                "account": self.account,
                "token": self.token,
                "opened": self.opened,
                "expires": self.expires,
                "due": self.due,
            }
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What one person asked for and another has to allow."""

    subject: str
    user: str
    account: str
    expires: float

    @classmethod
    def read(cls, note: str) -> Self:
        held = json.loads(note)
        return cls(
            subject=held["subject"], user=held["user"], account=held["account"], expires=held["expires"]
        )

    @property
    def note(self) -> str:
        return json.dumps(
            {"subject": self.subject, "user": self.user, "account": self.account, "expires": self.expires}
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Flood:
    """Refusals of one account that are counted, after the entry that says a flood began."""

    actor: str
    entry: int
    count: int
    last: str

    @classmethod
    def read(cls, note: str) -> Self:
        held = json.loads(note)
        return cls(actor=held["actor"], entry=held["entry"], count=held["count"], last=held["last"])

    @property
    def note(self) -> str:
        return json.dumps({"actor": self.actor, "entry": self.entry, "count": self.count, "last": self.last})


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenWindow:
    """The entry that opens a window, and the window. Returns the entry's number."""

    draft: Draft
    window: Window

    def apply(self, tx: Transaction) -> int:
        seq = tx.entry(self.draft)
        tx.put_note(f"{GLASS}{seq}", self.window.note)
        return seq


@dataclass(frozen=True, slots=True, kw_only=True)
class ReviewWindow:
    """What a second person found about the window of entry ``seq``. False: nothing waits there any more."""

    seq: int
    draft: Draft

    def apply(self, tx: Transaction) -> bool:
        if tx.note(f"{GLASS}{self.seq}") is None:
            return False
        tx.entry(self.draft)
        tx.drop_note(f"{GLASS}{self.seq}")
        return True


@dataclass(frozen=True, slots=True, kw_only=True)
class AskApproval:
    """The entry that says what is asked for; ``asked`` is kept while somebody else must allow it."""

    draft: Draft
    asked: Asked | None

    def apply(self, tx: Transaction) -> int:
        seq = tx.entry(self.draft)
        if self.asked is not None:
            tx.put_note(f"{APPROVAL}{seq}", self.asked.note)
        return seq


@dataclass(frozen=True, slots=True, kw_only=True)
class GrantApproval:
    """Allows what entry ``seq`` asks for, once. False: somebody else was quicker."""

    seq: int
    draft: Draft

    def apply(self, tx: Transaction) -> bool:
        if tx.note(f"{APPROVAL}{self.seq}") is None:
            return False
        tx.entry(self.draft)
        tx.drop_note(f"{APPROVAL}{self.seq}")
        return True


@dataclass(frozen=True, slots=True, kw_only=True)
class CountDenied:
    """One more refusal in a flood; the first of them is an entry that says so. Returns that entry."""

    account: str
    draft: Draft

    def apply(self, tx: Transaction) -> int:
        name, last = FLOOD + self.account, tx.now.isoformat(timespec="seconds")
        note = tx.note(name)
        if note is None:
            entry = tx.entry(Draft(self.draft.kind, {**self.draft.values, "outcome": "denied: flood begins"}))
            flood = Flood(actor=str(self.draft.values["actor"]), entry=entry, count=0, last=last)
        else:
            before = Flood.read(note)
            flood = Flood(actor=before.actor, entry=before.entry, count=before.count + 1, last=last)
        tx.put_note(name, flood.note)
        return flood.entry


@dataclass(frozen=True, slots=True, kw_only=True)
class SettleFloods:
    """Writes what was counted, of every account but those whose flood goes on. Returns whose was written."""

    going_on: frozenset[str]
    policy_hash: str

    def apply(self, tx: Transaction) -> tuple[str, ...]:
        settled: list[str] = []
        for name, note in tx.notes_under(FLOOD).items():
            account, flood = name.removeprefix(FLOOD), Flood.read(note)
            if account in self.going_on:
                continue
            values: dict[str, JsonValue] = {
                "actor": flood.actor,
                "outcome": "denied: counted together",
                "account": account,
                "count": flood.count,
                "query": f"refusals after entry {flood.entry}, the last at {flood.last}",
                "policy_hash": self.policy_hash,
            }
            tx.entry(Draft("access.denied", values))
            tx.drop_note(name)
            settled.append(account)
        return tuple(settled)


def windows(reader: Reader) -> Mapping[int, Window]:
    """Every window that was opened and not reviewed yet, by its entry."""
    found = reader.notes_under(GLASS)
    return {int(name.removeprefix(GLASS)): Window.read(note) for name, note in found.items()}


def asked_for(reader: Reader, seq: int, now: datetime) -> Asked | None:
    """What entry ``seq`` asks for, while it still waits."""
    note = reader.note(f"{APPROVAL}{seq}")
    asked = None if note is None else Asked.read(note)
    return None if asked is None or asked.expires < now.timestamp() else asked

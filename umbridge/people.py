"""Who may do what, changed by command: on the ledger before it is in force. And broken glass, reviewed.

An account is never removed or used again: ``disable`` takes its roles (45 CFR 164.312(a)(2)(i)).
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from umbridge_audit.checkpoint import sync_directory
from umbridge_audit.disclose import Viewer
from umbridge_audit.entry import Draft

from umbridge import glass
from umbridge.config import User
from umbridge.door import Door, number_of, text_of
from umbridge.errors import UsageError
from umbridge.store.batch import Batch

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.@:-]{0,63}\Z")


class People:
    """``users`` and ``breakglass``. ``users`` is the mapping in force; it is changed in place."""

    def __init__(self, door: Door, path: Path, users: dict[str, User]) -> None:
        self._door = door
        self._path = path
        self._users = users

    def list(self, viewer: Viewer, args: dict[str, Any]) -> Iterator[dict[str, Any]]:
        self._door.look(viewer, args, "search", "users list")
        for account, user in sorted(self._users.items()):
            state = "active" if user.roles else "disabled"
            yield {"account": account, "user": user.user, "roles": list(user.roles), "state": state}

    def add(self, viewer: Viewer, args: dict[str, Any]) -> Iterator[dict[str, Any]]:
        """A new account. Neither account nor user may have been there before."""
        account, name = _name(args, "account"), _name(args, "user")
        self._door.act(viewer, "users add", args)
        if account in self._users or any(user.user == name for user in self._users.values()):
            raise UsageError(f"{account}: account and user must be new; a name is never used again")
        yield self._change(viewer, args, "added", account, User(user=name, roles=self._roles(args)))

    def role(self, viewer: Viewer, args: dict[str, Any]) -> Iterator[dict[str, Any]]:
        """Other roles for an account, instead of those it has."""
        self._door.act(viewer, "users role", args)
        account = self._known(args)
        user = User(user=self._users[account].user, roles=self._roles(args))
        yield self._change(viewer, args, "role", account, user)

    def disable(self, viewer: Viewer, args: dict[str, Any]) -> Iterator[dict[str, Any]]:
        """No roles from now on; the name stays taken."""
        self._door.act(viewer, "users disable", args)
        account = self._known(args)
        user = User(user=self._users[account].user, roles=())
        yield self._change(viewer, args, "disabled", account, user)

    def _known(self, args: dict[str, Any]) -> str:
        account = _name(args, "account")
        if account not in self._users:
            raise UsageError(f"{account}: no such account; `umbridge users list` shows which there are")
        return account

    def _roles(self, args: dict[str, Any]) -> tuple[str, ...]:
        roles = tuple(dict.fromkeys(text_of(args, "roles").split()))
        unknown = [role for role in roles if role not in self._door.table.roles]
        if not roles or unknown:
            raise UsageError(f"roles: expected some of: {' '.join(sorted(self._door.table.roles))}")
        return roles

    def _change(
        self, viewer: Viewer, args: dict[str, Any], state: str, account: str, user: User
    ) -> dict[str, Any]:
        reason = text_of(args, "reason")
        if account == viewer.account or user.user == viewer.user:
            self._door.refuse(viewer, f"users {state}", reason, "nobody changes their own roles")
        before = self._users.get(account)
        after = dict(self._users) | {account: user}
        if not any("administrator" in one.roles for one in after.values()):
            raise UsageError(f"{account}: is the last administrator; make another first")
        values = {
            "actor": viewer.user,
            "state": state,
            "account": viewer.account,
            "roles": list(viewer.roles),
            "auth": viewer.auth,
            "reason": reason or None,
            "subject": account,
            "before": None if before is None else {"user": before.user, "roles": list(before.roles)},
            "after": {"user": user.user, "roles": list(user.roles)},
        }

        def work(batch: Batch) -> int:
            return batch.entry(Draft("privilege.change", values))

        seq = self._door.pen.call(work)
        self._write(after)
        self._users[account] = user
        return {
            "account": account,
            "user": user.user,
            "roles": list(user.roles),
            "state": state,
            "entry": seq,
        }

    def _write(self, users: dict[str, User]) -> None:
        """The whole file anew, in one rename; the comment at its head stays."""
        lines: list[str] = []
        for line in self._path.read_text(encoding="utf-8").splitlines():
            if not line.startswith("#"):
                break
            lines.append(line)
        for account, user in users.items():
            lines += [f"[{json.dumps(account)}]", f"user = {json.dumps(user.user)}"]
            lines += [f"roles = {json.dumps(list(user.roles))}"]
        beside = self._path.with_name(self._path.name + ".new")
        beside.unlink(missing_ok=True)
        handle = os.open(beside, os.O_CREAT | os.O_EXCL | os.O_WRONLY, self._path.stat().st_mode & 0o777)
        with os.fdopen(handle, "w", encoding="utf-8") as stream:
            stream.write("\n".join(lines) + "\n")
            stream.flush()
            os.fsync(stream.fileno())
        beside.replace(self._path)
        sync_directory(self._path.parent)

    # -- broken glass ----------------------------------------------------------------------------------

    def glass_list(self, viewer: Viewer, args: dict[str, Any]) -> Iterator[dict[str, Any]]:
        """Windows that wait for their review; whose record it was is in the entry, for who may see it."""
        self._door.look(viewer, args, "search", "breakglass list")
        now = datetime.now(UTC).timestamp()
        for seq, held in sorted(glass.windows(self._door.pen).items()):
            yield {
                "entry": seq,
                "user": held["user"],
                "opened": held["opened"],
                "open": held["expires"] > now,
                "review_due": datetime.fromtimestamp(held["due"], UTC).isoformat(timespec="seconds"),
                "overdue": held["due"] < now,
            }

    def glass_review(self, viewer: Viewer, args: dict[str, Any]) -> Iterator[dict[str, Any]]:
        """A second person's finding on one window."""
        self._door.act(viewer, "review broken glass", args)
        seq, finding, reason = number_of(args, "seq"), text_of(args, "finding"), text_of(args, "reason")
        if finding not in ("justified", "unjustified"):
            raise UsageError("finding: justified or unjustified")
        held = glass.windows(self._door.pen).get(seq)
        if held is not None and (viewer.user == held["user"] or viewer.account == held["account"]):
            self._door.refuse(viewer, "review broken glass", reason, "nobody reviews what they opened")
        if held is None or not glass.review(self._door.pen, viewer, seq, finding, reason):
            raise UsageError(f"entry {seq}: no broken glass waits for review there")
        yield {"entry": seq, "finding": finding}


def _name(args: dict[str, Any], key: str) -> str:
    name = text_of(args, key)
    if _NAME.match(name) is None:
        raise UsageError(f"{key}: expected 1 to 64 letters, digits and _ . @ : -")
    return name

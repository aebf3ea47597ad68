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
from typing import ClassVar

from umbridge_audit.checkpoint import sync_directory
from umbridge_audit.disclose import Viewer, who
from umbridge_audit.entry import Draft

from umbridge.access import breakglass
from umbridge.access.door import Door
from umbridge.access.questions import Act, Query, asked, number, text
from umbridge.access.views import Seen, view, within
from umbridge.errors import UsageError
from umbridge.settings.config import User
from umbridge.store.commands import WriteEntry

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.@:-]{0,63}\Z")


@view
class UserLine:
    """One account, who it is and what it may."""

    account: str = within("ops")
    user: str = within("open", "actor")
    roles: tuple[str, ...] = within("ops")
    state: str = within("open")


@view
class UserChanged(UserLine):
    """An account after a change."""

    entry: int = within("open", "seq")


@view
class WindowLine:
    """Broken glass that waits for its review; whose record it was is in the entry, for who may see it."""

    entry: int = within("open", "seq")
    user: str = within("open", "actor")
    opened: str = within("open", "ts")
    open: bool = within("ops", "expires")
    review_due: str = within("ops", "due")
    overdue: bool = within("ops", "due")


@view
class WindowReviewed:
    """What a second person found."""

    entry: int = within("open", "seq")
    finding: str = within("open", "state")


@asked
class UsersList(Query[UserLine]):
    """``users list``."""

    name: ClassVar[str] = "users.list"
    rows = (UserLine,)


@asked
class AddUser(Act[UserChanged]):
    """``users add``."""

    name: ClassVar[str] = "users.add"
    may: ClassVar[str] = "users add"
    rows = (UserChanged,)

    account: str = text()
    user: str = text()
    roles: str = text()


@asked
class ChangeRoles(Act[UserChanged]):
    """``users role``."""

    name: ClassVar[str] = "users.role"
    may: ClassVar[str] = "users role"
    rows = (UserChanged,)

    account: str = text()
    roles: str = text()


@asked
class DisableUser(Act[UserChanged]):
    """``users disable``."""

    name: ClassVar[str] = "users.disable"
    may: ClassVar[str] = "users disable"
    rows = (UserChanged,)

    account: str = text()


@asked
class BreakglassList(Query[WindowLine]):
    """``breakglass list``."""

    name: ClassVar[str] = "breakglass.list"
    rows = (WindowLine,)


@asked
class ReviewBreakglass(Act[WindowReviewed]):
    """``breakglass review``."""

    name: ClassVar[str] = "breakglass.review"
    may: ClassVar[str] = "review broken glass"
    rows = (WindowReviewed,)

    seq: int = number()
    finding: str = text()


class People:
    """``users`` and ``breakglass``. ``users`` is the mapping in force; it is changed in place."""

    def __init__(self, door: Door, path: Path, users: dict[str, User]) -> None:
        self._door = door
        self._path = path
        self._users = users

    def list(self, viewer: Viewer, query: UsersList) -> Iterator[Seen[UserLine]]:
        return self._door.disclose(viewer, query, lambda _: self._accounts())

    def _accounts(self) -> Iterator[UserLine]:
        for account, user in sorted(self._users.items()):
            state = "active" if user.roles else "disabled"
            yield UserLine(account=account, user=user.user, roles=user.roles, state=state)

    def add(self, viewer: Viewer, act: AddUser) -> Iterator[Seen[UserChanged]]:
        """A new account. Neither account nor user may have been there before."""

        def done() -> Iterator[UserChanged]:
            account, name = _name(act.account, "account"), _name(act.user, "user")
            if account in self._users or any(user.user == name for user in self._users.values()):
                raise UsageError(f"{account}: account and user must be new; a name is never used again")
            user = User(user=name, roles=self._roles(act.roles))
            yield self._change(viewer, act.reason, "added", account, user)

        return self._door.perform(viewer, act, done)

    def role(self, viewer: Viewer, act: ChangeRoles) -> Iterator[Seen[UserChanged]]:
        """Other roles for an account, instead of those it has."""

        def done() -> Iterator[UserChanged]:
            account = self._known(act.account)
            user = User(user=self._users[account].user, roles=self._roles(act.roles))
            yield self._change(viewer, act.reason, "role", account, user)

        return self._door.perform(viewer, act, done)

    def disable(self, viewer: Viewer, act: DisableUser) -> Iterator[Seen[UserChanged]]:
        """No roles from now on; the name stays taken."""

        def done() -> Iterator[UserChanged]:
            account = self._known(act.account)
            user = User(user=self._users[account].user, roles=())
            yield self._change(viewer, act.reason, "disabled", account, user)

        return self._door.perform(viewer, act, done)

    def _known(self, said: str) -> str:
        account = _name(said, "account")
        if account not in self._users:
            raise UsageError(f"{account}: no such account; `umbridge users list` shows which there are")
        return account

    def _roles(self, said: str) -> tuple[str, ...]:
        roles = tuple(dict.fromkeys(said.split()))
        unknown = [role for role in roles if role not in self._door.table.roles]
        if not roles or unknown:
            raise UsageError(f"roles: expected some of: {' '.join(sorted(self._door.table.roles))}")
        return roles

    def _change(self, viewer: Viewer, reason: str, state: str, account: str, user: User) -> UserChanged:
        if account == viewer.account or user.user == viewer.user:
            self._door.refuse(viewer, f"users {state}", reason, "nobody changes their own roles")
        before = self._users.get(account)
        after = dict(self._users) | {account: user}
        if not any("administrator" in one.roles for one in after.values()):
            raise UsageError(f"{account}: is the last administrator; make another first")
        values = who(viewer, reason) | {
            "state": state,
            "subject": account,
            "before": None if before is None else {"user": before.user, "roles": list(before.roles)},
            "after": {"user": user.user, "roles": list(user.roles)},
        }
        seq = self._door.writer.call(WriteEntry(draft=Draft("privilege.change", values)))
        self._write(after)
        self._users[account] = user
        return UserChanged(account=account, user=user.user, roles=user.roles, state=state, entry=seq)

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

    def glass_list(self, viewer: Viewer, query: BreakglassList) -> Iterator[Seen[WindowLine]]:
        """Windows that wait for their review."""
        return self._door.disclose(viewer, query, lambda _: self._windows())

    def _windows(self) -> Iterator[WindowLine]:
        now = datetime.now(UTC).timestamp()
        for seq, held in sorted(breakglass.windows(self._door.writer).items()):
            yield WindowLine(
                entry=seq,
                user=held.user,
                opened=held.opened,
                open=held.expires > now,
                review_due=datetime.fromtimestamp(held.due, UTC).isoformat(timespec="seconds"),
                overdue=held.due < now,
            )

    def glass_review(self, viewer: Viewer, act: ReviewBreakglass) -> Iterator[Seen[WindowReviewed]]:
        """A second person's finding on one window."""

        def done() -> Iterator[WindowReviewed]:
            if act.finding not in ("justified", "unjustified"):
                raise UsageError("finding: justified or unjustified")
            held = breakglass.windows(self._door.writer).get(act.seq)
            if held is not None and (viewer.user == held.user or viewer.account == held.account):
                why = "nobody reviews what they opened"
                self._door.refuse(viewer, "review broken glass", act.reason, why)
            if held is None or not breakglass.review(
                self._door.writer, viewer, act.seq, act.finding, act.reason
            ):
                raise UsageError(f"entry {act.seq}: no broken glass waits for review there")
            yield WindowReviewed(entry=act.seq, finding=act.finding)

        return self._door.perform(viewer, act, done)


def _name(name: str, key: str) -> str:
    if _NAME.match(name) is None:
        raise UsageError(f"{key}: expected 1 to 64 letters, digits and _ . @ : -")
    return name

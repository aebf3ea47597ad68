"""SIGHUP: what may change while the daemon runs is read again, put on the ledger, and only then in force."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Sequence
from pathlib import Path

from umbridge_audit.entry import Draft
from umbridge_audit.redact import AccessTable

from umbridge.errors import ConfigError
from umbridge.intake import tls
from umbridge.intake.listener import Listener
from umbridge.settings import config
from umbridge.settings.config import Settings, User
from umbridge.store.commands import WriteEntry
from umbridge.store.opening import note_policy
from umbridge.store.writer import Writer

log = logging.getLogger("umbridge.run.reload")
RENEWED = ("senders", "tls")  # of a feed; everything else waits for the next start


def users_text(users: dict[str, User]) -> str:
    """Accounts and roles in one line, for the ledger."""
    return json.dumps(
        {a: {"user": u.user, "roles": list(u.roles)} for a, u in sorted(users.items())},
        separators=(",", ":"),
    )


class Reload:
    """Holds what is in force. A file with a mistake changes nothing, and the log says which file it was."""

    def __init__(
        self,
        settings: Settings,
        file: Path | None,
        writer: Writer,
        users: dict[str, User],
        table: AccessTable,
        listeners: Sequence[Listener],
    ) -> None:
        self.settings = settings
        self._file = file
        self._writer = writer
        self._users = users
        self._table = table
        self._listeners = listeners
        self._fingerprint = tls.fingerprint(settings)
        self._turn = asyncio.Lock()

    async def renew(self) -> None:
        """Read users and feeds again, one SIGHUP after the other."""
        async with self._turn:
            try:
                await self._renew_users()
                if self._file is not None:
                    await self._renew_feeds(self._file)
            except Exception as exc:  # what was in force stays in force, and nobody waits for this task
                log.error("reload_failed", extra={"code": type(exc).__name__})

    async def _renew_users(self) -> None:
        path = self.settings.users
        try:
            users = config.load_users(path, frozenset(self._table.roles))
        except ConfigError:
            log.error("reload_refused", extra={"path": str(path)})
            return
        await asyncio.to_thread(note_policy, self._writer, self._table.hash, users_text(users))
        self._users.clear()
        self._users.update(users)
        log.info("reloaded", extra={"path": str(path)})

    async def _renew_feeds(self, file: Path) -> None:
        try:
            fresh = self._renewed(config.load(file))
            contexts = tls.contexts(fresh)
            fingerprint = tls.fingerprint(fresh)
        except (ConfigError, ValueError):
            log.error("reload_refused", extra={"path": str(file)})
            return
        if fingerprint != self._fingerprint:
            values = {
                "actor": "umbridge",
                "config_hash": fingerprint,
                "detail": "senders, peers, certificates",
            }
            await self._writer.ask(WriteEntry(draft=Draft("config.change", values)))
            self._fingerprint, self.settings = fingerprint, fresh
            for one in self._listeners:
                one.renew({name: fresh.feeds[name] for name in one.feeds}, contexts[one.feeds])
        log.info("reloaded", extra={"path": str(file)})

    def _renewed(self, found: Settings) -> Settings:
        """The settings in force with the new file's senders and certificates. Raises ConfigError."""
        feeds = {}
        for name, feed in self.settings.feeds.items():
            new = found.feeds.get(name, feed)
            if (new.tls is None) != (feed.tls is None):
                raise ConfigError(
                    f"feeds.{name}.tls: comes or goes at a start, not while peers are connected"
                )
            feeds[name] = feed.model_copy(update={key: getattr(new, key) for key in RENEWED})
        kept = {name: getattr(self.settings, name) for name in Settings.model_fields}
        return Settings.model_validate({**kept, "feeds": feeds})

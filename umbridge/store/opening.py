"""A store made, opened and closed: lock, permissions, pragmas, ledger, writer, in that order."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import secrets
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from umbridge_audit.checkpoint import sync_directory
from umbridge_audit.entry import Draft
from umbridge_audit.keys import KeyRefusedError, Keyring
from umbridge_audit.remote import RemoteHand
from umbridge_audit.signing import KEY
from umbridge_audit.store import Ledger, LedgerError, transaction

from umbridge import __version__
from umbridge.errors import ConfigError, StoreError
from umbridge.settings.config import Settings
from umbridge.store.commands import Transaction, WriteEntry, WriteOnChange
from umbridge.store.durability import check_files, take_lock
from umbridge.store.engine import DATABASE, check_file, check_tables, create_tables, open_database
from umbridge.store.inhand import Death, InHand, last
from umbridge.store.steps import BatchClock
from umbridge.store.upgrade import SayUpgrades, bring_forward, unsaid
from umbridge.store.writer import Writer

log = logging.getLogger("umbridge.store")
CLEAN = "stopped_cleanly"
RUN = "run"  # the process that holds the writer, or held it last
DEATHS = "deaths_in_hand"  # a row, and how many processes in succession died with it in hand
MOST_DEATHS = 20  # so many are the row's, whatever the disk did: something must end them


def open_keys(settings: Settings) -> Keyring:
    """The key ring; ConfigError (78) when a key is missing, wrong or readable by others."""
    signer = settings.signer
    if signer is not None and (settings.keys / KEY).exists():
        raise ConfigError(
            f"{settings.keys / KEY}: is still here though [ledger] signer names another process; "
            "`umbridge-signer take` moves it"
        )
    try:
        return Keyring.open(settings.keys, hand=None if signer is None else RemoteHand(signer))
    except KeyRefusedError as exc:
        raise ConfigError(str(exc)) from None


def create_store(settings: Settings, keyring: Keyring, facility: str) -> str:
    """Make the store and its ledger; returns the auditors' policy. Raises ConfigError if one is there."""
    directory = settings.store
    if (directory / DATABASE).exists():
        raise ConfigError(f"{directory}: there is a store already; nothing was changed")
    directory.mkdir(parents=True, exist_ok=True)
    directory.chmod(0o710)  # files are 0600; the group may pass through to the control socket, no more
    settings.anchor.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    lock = take_lock(directory)
    making = directory / f"{DATABASE}.new"  # its real name only when it is whole
    making.unlink(missing_ok=True)
    try:
        with open_database(making) as connection:
            with transaction(connection):
                create_tables(connection)
            ledger = Ledger.create(
                connection,
                keyring,
                org=settings.ledger.org,
                chain=settings.ledger.chain,
                facility=facility,
                software=f"umbridge {__version__}",
                anchor=settings.anchor,
            )
            policy = ledger.policy_text()
        making.rename(directory / DATABASE)
        sync_directory(directory)
        return policy
    except LedgerError as exc:
        raise ConfigError(str(exc)) from None
    finally:
        os.close(lock)


def check_made(directory: Path) -> None:
    """Raises ConfigError where there is no store."""
    path = directory / DATABASE
    if not path.is_symlink() and not path.exists():
        raise ConfigError(f"{directory}: there is no store; `umbridge init DIR` makes one")


@contextmanager
def hold_writer(settings: Settings, keyring: Keyring) -> Iterator[Writer]:
    """The writer, on a loop in a thread of its own until the block ends; a last checkpoint is signed."""
    with open_writer(settings, keyring) as writer:
        thread = threading.Thread(target=lambda: asyncio.run(writer.run()), name="writer")
        thread.start()
        try:
            yield writer
        finally:
            writer.close()
            thread.join()


@contextmanager
def open_writer(settings: Settings, keyring: Keyring) -> Iterator[Writer]:
    """The writer, not yet writing: the caller runs it on its own loop and ends it before the block does.

    Raises UnavailableError when another process holds it, StoreError when the store is not as promised.
    """
    directory = settings.store
    path = directory / DATABASE
    check_made(directory)
    check_files(directory, DATABASE)
    lock = take_lock(directory)
    os.umask(0o077)
    for leftover in (*directory.glob("export-*.jsonl"), *directory.glob(".*.part")):
        leftover.unlink()  # a bundle that was being made when the last process died
    try:
        with open_database(path, settings.limits.page_cache_bytes) as connection:
            with transaction(connection):
                check_file(connection)
            if bring_forward(connection):
                log.warning("store_upgraded")
            with transaction(connection):
                check_tables(connection)
            clock = BatchClock()
            try:
                ledger = Ledger.open(connection, keyring, anchor=settings.anchor, clock=clock, quick=True)
                for row in ledger.open_slots(ledger.size - 1):
                    clock.steps.resume(datetime.fromisoformat(str(row["ts"])))
            except LedgerError as exc:
                raise StoreError(str(exc)) from None
            except KeyRefusedError as exc:
                raise ConfigError(str(exc)) from None
            writer = Writer(
                connection,
                ledger,
                keyring,
                clock,
                group=settings.limits.group,
                checkpoint_seconds=settings.ledger.checkpoint_seconds,
                checkpoint_entries=settings.ledger.checkpoint_entries,
                checkpoint_min_seconds=settings.ledger.checkpoint_min_seconds,
            )
            if unsaid(connection):
                writer.submit(SayUpgrades(), Future())
            if ledger.head_was:
                log.warning("head_recomputed", extra={"code": ledger.head_was})
                draft = _state("head_recomputed", f"the store's head row was {ledger.head_was}")
                writer.submit(WriteEntry(draft=draft), Future())
            yield writer
    finally:
        os.close(lock)


@dataclass(frozen=True, slots=True)
class Started:
    """How the process before ended."""

    clean: bool
    death: Death | None  # with a row in hand; where it was no clean end


@dataclass(frozen=True, slots=True)
class Start:
    """The start, on the ledger; and if the process before died of a row it had in hand, one strike for it.

    A record speaks of the process whose run the store names, and of no other: so it is judged once, however
    often a start is cut short, and one that is left beside a restored store is not judged.
    """

    run: str
    death: Death | None

    def apply(self, tx: Transaction) -> Started:
        clean = tx.note(CLEAN) in (None, "yes")
        known = self.death is not None and self.death.run == tx.note(RUN)
        death = self.death if known and not clean else None
        if death is not None:
            self._judge(tx, death)
        tx.put_note(CLEAN, "no")
        tx.put_note(RUN, self.run)
        tx.entry(_state("started" if clean else "started_after_unclean_stop"))
        return Started(clean, death)

    def _judge(self, tx: Transaction, death: Death) -> None:
        row, _, times = (tx.note(DEATHS) or "0 0").partition(" ")
        count = int(times) + 1 if int(row) == death.row else 1
        tx.put_note(DEATHS, f"{death.row} {count}")
        if death.cause == "row" or count >= MOST_DEATHS:
            tx.strike(death.row)


@dataclass(frozen=True, slots=True)
class Stop:
    """A clean stop, on the ledger; the next start finds the note."""

    def apply(self, tx: Transaction) -> None:
        tx.put_note(CLEAN, "yes")
        tx.entry(_state("stopped"))


def _state(state: str, detail: str | None = None) -> Draft:
    said = {} if detail is None else {"detail": detail}
    return Draft("audit.status", {"actor": "umbridge", "state": state, "version": __version__, **said})


def note_start(writer: Writer) -> Started:
    """Put the start on the ledger, and begin this process's own record of what it has in hand."""
    store, run = writer.database.parent, secrets.token_hex(16)
    started = writer.call(Start(run, last(store)))
    writer.disk.in_hand = InHand.keep(store, run)
    return started


def note_stop(writer: Writer) -> None:
    """Put a clean stop on the ledger; the next start finds the marker."""
    with contextlib.suppress(StoreError):  # a failed writer writes nothing more: the stop was not clean
        writer.call(Stop())


def note_policy(writer: Writer, policy_hash: str, users_text: str) -> None:
    """Put the access policy and the accounts in force on the ledger, when they differ from the last."""
    values = {"actor": "umbridge", "policy_hash": policy_hash, "users": users_text}
    draft = Draft("policy.activate", values)
    writer.call(WriteOnChange(draft=draft, name="policy", value=f"{policy_hash} {users_text}"))


def protect(path: Path, text: str, mode: int = 0o600) -> None:
    """Write a new file with its mode from the start. Raises ConfigError if it is there."""
    try:
        handle = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, mode)
    except FileExistsError:
        raise ConfigError(f"{path}: is there already; nothing was changed") from None
    with os.fdopen(handle, "w", encoding="utf-8") as stream:
        stream.write(text)

"""Proof of the store's own ledger, and the bundle a stranger can check: reads, never repairs."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import BinaryIO, Literal

import click
from umbridge_audit.checkpoint import MAX_NOTE, anchor_lines, sync_directory, take_apart
from umbridge_audit.policy import Policy
from umbridge_audit.resume import Since
from umbridge_audit.store import Reader, open_readonly
from umbridge_audit.store.history import StoredPast
from umbridge_audit.verify import Report, verify

from umbridge.commands import terminal
from umbridge.errors import ConfigError, StoreError, UmbridgeError, UsageError
from umbridge.settings.config import Settings
from umbridge.store.engine import DATABASE
from umbridge.store.opening import open_keys


def verify_store(
    settings: Settings,
    level: Literal["spine", "keyless", "full"],
    policy_file: Path | None,
    jobs: int,
    kept: Path | None = None,
) -> Report:
    """Verify the store against its public policy and its anchor file. Only ``full`` needs keys.

    With ``kept``, a file with a checkpoint that somebody kept, only what came after it is read; the verdict
    says so.
    """
    path = policy_file or settings.policy
    try:
        policy = Policy.read(path.read_text(encoding="utf-8"))
    except OSError as exc:
        raise ConfigError(f"{path}: the ledger's public policy cannot be read ({exc.strerror})") from None
    except ValueError:
        raise ConfigError(f"{path}: not a ledger policy; expected log, quorum and genesis lines") from None
    database = settings.store / DATABASE
    if not database.exists():
        raise ConfigError(f"{settings.store}: there is no store; `umbridge init DIR` makes one")
    note = None if kept is None else _kept(kept)
    keyring = open_keys(settings) if level == "full" else None
    # before the store: the anchor may only lag behind it
    notes = _anchored(settings.anchor)
    try:
        source = open_readonly(database, keyring)
    except OSError as exc:
        raise StoreError(
            f"{database}: cannot be read ({exc.strerror}); verify as the daemon's account, or a bundle"
        ) from exc
    with source:
        return verify(
            source,
            policy,
            level=level,
            keyring=keyring,
            anchor_notes=notes,
            jobs=jobs,
            progress=terminal.counter(f"verifying ({level})", "entries", _length(source)),
            since=None if note is None else Since(note, StoredPast(source)),
        )


def _kept(path: Path) -> str:
    """A checkpoint as ``ledger checkpoint`` prints it; whether its signature is good is for the verifier."""
    try:
        with path.open("rb") as file:
            note = file.read(MAX_NOTE + 1).decode()
        take_apart(note)
    except OSError as exc:
        raise UsageError(f"--since {path}: cannot be read ({exc.strerror})") from None
    except ValueError:
        raise UsageError(
            f"--since {path}: not a checkpoint; keep what `umbridge ledger checkpoint` prints, as it is"
        ) from None
    return note


def _anchored(path: Path) -> Iterator[str]:
    """The anchor's notes as they are now, one at a time. One that is configured and cannot be read, or has no
    note although init wrote the first, is a finding and not silence: no note reads "unreadable"."""
    try:
        lines = anchor_lines(path, path.stat().st_size)
        return chain([next(lines, "unreadable")], lines)
    except (OSError, ValueError):
        return iter(["unreadable"])


def _length(source: Reader) -> int | None:
    """How many entries there are to go through; what is wrong with them is for the verifier to say."""
    try:
        return source.length()
    except Exception:
        return None


def write_bundle(lines: Iterable[str], out: Path) -> int:
    """Write a bundle's lines, or a receipt, whole or not at all; returns how many."""
    count = 0
    with _whole(out) as stream:
        for line in lines:
            stream.write(line.encode())
            count += 1
            if count % 1000 == 0 and terminal.is_terminal():
                click.echo(f"\r{count} lines", nl=False, err=True)
        if not count:
            raise UmbridgeError("the daemon sent an empty bundle; nothing was written")
    return count


@contextmanager
def _whole(out: Path) -> Iterator[BinaryIO]:
    """A file, 0600, that gets its name when all of it is durable, and not at all when the block fails."""
    if out.is_dir() or not out.parent.is_dir():
        raise UsageError(f"--out {out}: expected a file in a folder that is there; nothing was asked")
    temporary = out.with_name(f".{out.name}.{os.getpid()}.part")
    try:
        handle = os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
        with os.fdopen(handle, "wb") as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(out)
        sync_directory(out.parent)
    finally:
        temporary.unlink(missing_ok=True)

"""What commands share: the options they take, how they ask, and how rows are printed."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime
from functools import cached_property, wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from umbridge.access import control_client
from umbridge.access.control_client import Args, Row
from umbridge.commands import terminal
from umbridge.errors import NotPermittedError, UnavailableError
from umbridge.settings import file as settingsfile

if TYPE_CHECKING:
    from umbridge.settings.config import Settings

F = TypeVar("F", bound=Callable[..., Any])


class Installation:
    """An installation by its settings file. Asking its daemon takes the store's place; validating the rest of
    the file takes longer than a question, so that waits until something needs it."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self._store = settingsfile.store(file)

    @cached_property
    def settings(self) -> Settings:
        from umbridge.settings import config

        return config.load(self.file)

    @property
    def store(self) -> Path:
        return self._store or self.settings.store

    def request(self, op: str, args: Args) -> Iterator[Row] | None:
        """Ask the running daemon; None when none runs."""
        try:
            there = self.store.is_dir()
        except PermissionError:
            raise NotPermittedError(f"{self.store}: this account may not look for the daemon there") from None
        return control_client.request(self.store, op, args) if there else None

    def check_own(self) -> None:
        """Raises UnavailableError where the store is another account's: without its daemon it is closed."""
        try:
            owner = self.store.stat().st_uid
        except OSError:
            return  # what is wrong with it is for whoever opens it to say
        if os.geteuid() not in (owner, 0):
            raise UnavailableError(
                f"{self.store}: no daemon runs, and only account {owner} may look without one; start it "
                "(`umbridge serve`), or ask as that account"
            )


def with_config(function: F) -> F:
    """Add ``--config`` and pass the installation it names."""

    @click.option("--config", "config_file", metavar="FILE", help="Settings file (default ./umbridge.toml).")
    @wraps(function)
    def wrapped(*args: Any, config_file: str | None, **kwargs: Any) -> Any:
        return function(Installation(settingsfile.find(config_file)), *args, **kwargs)

    return wrapped  # type: ignore[return-value]


as_json = click.option("--json", "as_json", is_flag=True, help="JSON Lines on stdout.")
purpose = click.option(
    "--purpose", metavar="CODE", help="Purpose of use: TREAT HPAYMT HOPERAT HCOMPL PATRQT."
)
reason = click.option("--reason", metavar="TEXT", help="Why, in words; goes on the ledger with the access.")


def print_rows(
    rows: Iterable[Mapping[str, object]],
    columns: tuple[str, ...],
    as_json: bool,
    whole: tuple[str, ...] = (),
) -> None:
    """``whole``: the columns of which a table cuts nothing."""
    if as_json:
        for row in rows:
            terminal.json_line(row)
    else:
        terminal.table(rows, columns, whole)


def ask(where: Installation, op: str, args: Args) -> Iterator[Row]:
    """Ask the daemon; where none runs, answer in this process, which loads all that the daemon is made of."""
    rows = where.request(op, args)
    if rows is not None:
        yield from rows
        return
    where.check_own()
    from umbridge.run.daemon import answering

    with answering(where.settings) as answer:
        yield from answer(op, dict(args))


def print_one(where: Installation, op: str, args: Args, as_json: bool) -> None:
    for row in ask(where, op, args):
        if as_json:
            terminal.json_line(row)
        else:
            terminal.fields(row)


def need_purpose(purpose: str | None) -> None:
    if not purpose:
        raise click.UsageError(
            "--purpose CODE is needed to see clinical content (TREAT HPAYMT HOPERAT HCOMPL PATRQT)"
        )


def moment_of(text: str | None, zone: Any, option: str = "--as-of") -> datetime | None:
    """A moment as typed, ISO 8601; one without an offset is in ``zone``, the facility's."""
    if text is None:
        return None
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise click.UsageError(
            f"{option} {text}: expected ISO 8601, such as 2026-01-12T15:56:00-05:00"
        ) from None
    return found if found.tzinfo else found.replace(tzinfo=zone)

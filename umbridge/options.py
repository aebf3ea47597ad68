"""What commands share: the options they take, how they ask, and how rows are printed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import wraps
from typing import Any, TypeVar

import click

from umbridge import config, terminal

F = TypeVar("F", bound=Callable[..., Any])


def with_config(function: F) -> F:
    """Add ``--config`` and pass the loaded settings."""

    @click.option("--config", "config_file", metavar="FILE", help="Settings file (default ./umbridge.toml).")
    @wraps(function)
    def wrapped(*args: Any, config_file: str | None, **kwargs: Any) -> Any:
        return function(config.load(config.find(config_file)), *args, **kwargs)

    return wrapped  # type: ignore[return-value]


as_json = click.option("--json", "as_json", is_flag=True, help="JSON Lines on stdout.")
purpose = click.option(
    "--purpose", metavar="CODE", help="Purpose of use: TREAT HPAYMT HOPERAT HCOMPL PATRQT."
)
reason = click.option("--reason", metavar="TEXT", help="Why, in words; goes on the ledger with the access.")


def print_rows(
    rows: Iterator[dict[str, Any]] | list[dict[str, Any]], columns: tuple[str, ...], as_json: bool
) -> None:
    if as_json:
        for row in rows:
            terminal.json_line(row)
    else:
        terminal.table(rows, columns)


def ask(settings: config.Settings, op: str, args: dict[str, Any]) -> Iterator[dict[str, Any]]:
    from umbridge.daemon import asking

    with asking(settings) as ask:
        yield from ask(op, args)


def print_one(settings: config.Settings, op: str, args: dict[str, Any], as_json: bool) -> None:
    for row in ask(settings, op, args):
        if as_json:
            terminal.json_line(row)
        else:
            terminal.fields(row)


def need_purpose(purpose: str | None) -> None:
    if not purpose:
        raise click.UsageError(
            "--purpose CODE is needed to see clinical content (TREAT HPAYMT HOPERAT HCOMPL PATRQT)"
        )

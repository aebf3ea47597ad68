"""What people see: tables that fit the terminal, progress on stderr, one-line errors."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import zip_longest
from typing import Any

import click


def is_terminal() -> bool:
    return sys.stderr.isatty()


def counter(label: str, unit: str, total: int | None = None) -> Callable[[int], None]:
    """A progress callback: after two seconds a terminal shows how many, and of how many if that is known;
    nobody else sees anything."""
    began = time.monotonic()
    last = 0.0

    def show(done: int) -> None:
        nonlocal last
        now = time.monotonic()
        if is_terminal() and now - began > 2 and now - last > 0.2:
            last = now
            of = f" {min(100, 100 * done // total)} %" if total else ""
            click.echo(f"\r{label}:{of} {done:,} {unit}, {done / (now - began):,.0f}/s ", nl=False, err=True)

    return show


def json_line(value: Any) -> None:
    """One JSON object on stdout, in ASCII: no terminal, locale or odd file name can make it anything else."""
    click.echo(json.dumps(value, separators=(",", ":")))


def clean(value: Any) -> str:
    """Text that cannot move the cursor or change the terminal: control and bidi characters are shown."""
    if value is None:
        return "-"
    if isinstance(value, dict):
        value = " ".join(f"{k}={clean(v)}" for k, v in value.items())
    elif isinstance(value, list | tuple):
        value = ", ".join(clean(v) for v in value)
    return "".join(c if c.isprintable() else f"\\u{ord(c):04x}" for c in str(value))


def table(rows: Iterable[Mapping[str, Any]], columns: Sequence[str], whole: Sequence[str] = ()) -> int:
    """Print rows as a table cut to the terminal's width; returns how many. In the columns of ``whole``
    nothing is cut: their cells go on in the lines below."""
    lines = [[clean(row.get(column)) for column in columns] for row in rows]
    if not lines:
        click.echo("nothing to show", err=True)
        return 0
    widths = [max(len(column), *(len(line[i]) for line in lines)) for i, column in enumerate(columns)]
    import shutil  # a table alone needs it, and it loads every compression there is

    room = shutil.get_terminal_size((120, 24)).columns
    spare = room - sum(widths) - 2 * (len(widths) - 1)
    while spare < 0:  # take from the widest first, so that short columns stay whole
        widest = max(range(len(widths)), key=lambda i: widths[i])
        if widths[widest] <= 6:
            break
        widths[widest] -= 1
        spare += 1
    click.echo(
        "  ".join(
            c.upper().replace("_", " ")[:w].ljust(w) for c, w in zip(columns, widths, strict=True)
        ).rstrip()
    )
    for line in lines:
        cells = [
            parted(cell, width) if column in whole else [cut(cell, width)]
            for cell, width, column in zip(line, widths, columns, strict=True)
        ]
        for below in zip_longest(*cells, fillvalue=""):
            texts = (text.ljust(width) for text, width in zip(below, widths, strict=True))
            click.echo("  ".join(texts).rstrip())
    return len(lines)


def parted(text: str, width: int) -> list[str]:
    """A cell in lines of that width, between the parts that commas or spaces make where that is enough."""
    import textwrap

    return textwrap.wrap(text, width, break_on_hyphens=False) or [""]


def cut(text: str, width: int) -> str:
    return text if len(text) <= width else text[: max(1, width - 1)] + "…"


def fields(row: Mapping[str, Any], indent: int = 0) -> None:
    """Print one object as indented ``name  value`` lines."""
    width = max((len(str(k)) for k in row), default=0)
    for key, value in row.items():
        name = " " * indent + str(key).ljust(width)
        if isinstance(value, dict) and value:
            click.echo(name.rstrip())
            fields(value, indent + 2)
        elif isinstance(value, list) and any(isinstance(each, dict) or "," in str(each) for each in value):
            click.echo(name.rstrip())  # what has commas of its own is no list parted by commas
            for item in value:
                click.echo(" " * (indent + 2) + "- " + clean(item))
        else:
            click.echo(f"{name}  {clean(value)}")

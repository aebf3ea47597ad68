"""Commands about stays, and the worklist of their reviews."""

from __future__ import annotations

from typing import Any

import click

from umbridge.commands import terminal
from umbridge.commands.options import (
    Installation,
    as_json,
    ask,
    need_purpose,
    print_one,
    print_rows,
    purpose,
    reason,
    with_config,
)

REVIEW_COLUMNS = (
    *("due", "overdue", "visit", "unit", "review_id", "episode_day", "requested", "outcomes", "hold"),
)
STAY_COLUMNS = (
    "visit",
    "lifecycle",
    "status",
    "unit",
    "bed",
    "inpatient_start",
    "open_reviews",
    "exceptions",
)


@click.group()
def stays() -> None:
    """The stays the messages add up to."""


@stays.command("list")
@with_config
@purpose
@as_json
def stays_list(where: Installation, purpose: str | None, as_json: bool) -> None:
    """Every stay, in the order in which they last changed."""
    need_purpose(purpose)
    print_rows(ask(where, "stays.list", {"purpose": purpose}), STAY_COLUMNS, as_json)


@stays.command("show")
@click.argument("visit")
@with_config
@purpose
@reason
@as_json
def stays_show(
    where: Installation, visit: str, purpose: str | None, reason: str | None, as_json: bool
) -> None:
    """One stay, by its visit as lists show it: lifecycle, status, place, reviews, exceptions, notices due."""
    need_purpose(purpose)
    for row in ask(where, "stays.show", {"visit": visit, "purpose": purpose, "reason": reason}):
        if as_json:
            terminal.json_line(row)
            continue
        told = row.pop("hidden")
        hidden = [str(name) for name in told] if isinstance(told, list) else []
        terminal.fields({name: its for name, its in row.items() if name not in hidden})
        if hidden:
            click.echo(f"not shown to your role: {' '.join(hidden)}")


@stays.command("acknowledge")
@click.argument("visit")
@click.option("--exception", metavar="CODE", help="Which one to close (default READ_ANEW).")
@with_config
@reason
@as_json
def stays_acknowledge(where: Installation, as_json: bool, **asked: Any) -> None:
    """Close an exception of a stay after looking at it. The look, who closed it and why are on the ledger.

    It is out of the list until the stay's next message, which may be another ground for it: then it is there
    again, if it is still so. READ_ANEW, of a stay that reads otherwise since an upgrade, is closed for good,
    and CLOSED_EARLY_DIFFERS or _HELD for the review that differs.
    """
    print_one(where, "stays.acknowledge", asked, as_json)


@click.group()
def reviews() -> None:
    """The worklist: what waits for a person."""


@reviews.command("list")
@click.option("--due", is_flag=True, help="Only what is due within 24 hours, or was due before.")
@click.option("--overdue", is_flag=True, help="Only what was due before now.")
@click.option("--unit", help="Only patients who are in this unit.")
@click.option("--payer", help="Only this payer class: MEDICARE_FFS, COMMERCIAL, …")
@click.option(
    "--after", metavar="DUE/REVIEW_ID", help="After this line, as its due time and number: the next page."
)
@click.option("--limit", type=click.IntRange(1), metavar="N", help="At most so many.")
@with_config
@purpose
@as_json
def reviews_list(where: Installation, purpose: str | None, as_json: bool, **asked: Any) -> None:
    """Reviews that wait for a person, the earliest due first, with what each plugin's screen came to.

    A screen that MEETS closes its review by itself unless an answer waits for a person; everything else
    stands here, and `hold` says for which reasons answers wait. `ledger show` has the rationale of an
    entry. With --limit, the last line's due time and number, as DUE/REVIEW_ID, are what --after takes for
    the next page; DUE is empty for a line without one.
    """
    need_purpose(purpose)
    args = {name: value for name, value in asked.items() if value}
    rows = list(ask(where, "reviews.list", {"purpose": purpose, **args}))
    print_rows(rows, REVIEW_COLUMNS, as_json, ("outcomes", "hold"))
    if not as_json and rows and len(rows) == asked["limit"]:  # the table has no room for what names a line
        click.echo(f"next page: --after {rows[-1]['due'] or ''}/{rows[-1]['review_id']}", err=True)


@reviews.command("show")
@click.argument("review")
@with_config
@purpose
@reason
@as_json
def reviews_show(
    where: Installation, review: str, purpose: str | None, reason: str | None, as_json: bool
) -> None:
    """One review by its id: what is asked, as of when, each plugin's answer, the stay, what was said before.

    `reviews list` names the id of each that waits. Redacted for your role; the look is logged first.
    """
    need_purpose(purpose)
    from umbridge.commands import pages

    for row in ask(where, "reviews.show", {"review": review, "purpose": purpose, "reason": reason}):
        if as_json:
            terminal.json_line(row)
            continue
        for text in pages.review_page(row):
            click.echo(text)


GROUPS: tuple[click.Group, ...] = (stays, reviews)

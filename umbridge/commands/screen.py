"""The command `screen`: files folded and screened without a daemon."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from umbridge.commands import terminal
from umbridge.commands.options import (
    as_json,
    moment_of,
    print_rows,
)
from umbridge.commands.stays import STAY_COLUMNS


@click.command()
@click.argument("paths", nargs=-1, required=True, metavar="PATH...")
@click.option(
    "--site", "site_file", default=None, metavar="FILE", help="Site profile (default: the built-in example)."
)
@click.option(
    "--plugin", "plugins", multiple=True, metavar="NAME", help="Ask only this plugin; may be repeated."
)
@click.option(
    "--as-of", "as_of", default=None, metavar="TIME", help="ISO 8601; default: the last message's time."
)
@click.option("--stays", "show_stays", is_flag=True, help="Print the folded stays instead of the screens.")
@click.option("--why", is_flag=True, help="With each result the tree of rules that it rests on.")
@click.option(
    "--processing-id",
    type=click.Choice(("P", "T", "D")),
    default="P",
    help="Read messages with this MSH-11: P production (default), T training, D debugging.",
)
@as_json
def screen(
    paths: tuple[str, ...],
    site_file: str | None,
    plugins: tuple[str, ...],
    as_of: str | None,
    show_stays: bool,
    why: bool,
    processing_id: str,
    as_json: bool,
) -> None:
    """Shadow run: fold messages into stays, screen them, print what is in force. No store, no daemon."""
    from umbridge.commands import pages
    from umbridge.dryrun import screen as shadow
    from umbridge.screening.host import Host
    from umbridge.settings.site import default_site, load_site
    from umbridge.stay.profile import check_site

    site = load_site(Path(site_file)) if site_file else default_site()
    check_site(site)
    moment = moment_of(as_of, site.zone)
    run = shadow.Shadow(site, processing_id, shadow.clock(moment))
    stdin = sys.stdin.buffer.read() if "-" in paths else None
    messages = list(shadow.read_files(paths, stdin))
    with click.progressbar(
        messages, label="reading", file=sys.stderr, hidden=not terminal.is_terminal()
    ) as bar:
        for _, message in bar:
            run.take(message)

    if show_stays:
        print_rows(run.stays(moment), STAY_COLUMNS, as_json)
    else:
        host = Host(why=why)
        host.start(plugins or None)
        try:
            looked = run.reviews(host, moment)
        finally:
            host.stop()
        if as_json:
            for line in (line for each in looked for line in each.lines):
                terminal.json_line(line)
        else:
            pages.show(looked, trees=why)
        for code, count in sorted(run.exceptions(moment).items()):
            click.echo(f"{count} stays have the exception {code}: --stays shows which", err=True)
    for unread, count in sorted(run.unread.items()):
        click.echo(f"{count} not used: {unread}", err=True)


GROUPS = (screen,)

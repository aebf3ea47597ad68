"""Commands for whoever teaches the program a feed: what it does not use, the facts, a first profile."""

from __future__ import annotations

from pathlib import Path

import click

from umbridge.access.control_client import Row
from umbridge.commands import terminal
from umbridge.commands.options import as_json, print_rows
from umbridge.settings import file

FACT_COLUMNS = ("fact", "title", "kind", "unit", "window_hours", "seen", "codes")
NOTHING_READ = 3
_site_file = click.option(
    "--site", "site_file", metavar="FILE", help="The site profile (default: the settings' own)."
)


def _site(site_file: str | None, config_file: str | None) -> str:
    """Where the profile is: as given, else what the settings name."""
    if site_file is not None:
        return site_file
    from umbridge.settings import config

    return str(config.load(file.find(config_file)).site)


@click.group("config")
def config_group() -> None:
    """The settings."""


@config_group.command("check")
@click.option("--config", "config_file", metavar="FILE", help="Settings file (default ./umbridge.toml).")
@click.option(
    "--feed",
    "samples",
    multiple=True,
    metavar="SAMPLE",
    help="Messages of a feed (file, folder or -): what of them this site profile does not use, and why.",
)
@as_json
def config_check(config_file: str | None, samples: tuple[str, ...], as_json: bool) -> int:
    """Check settings, site profile, users and keys; exit 78 with the key's name when one is wrong.

    With --feed: every value, code and segment of the sample that is not used, a line each with the reason,
    how often, and the line of the site profile that would settle it. The last line says how many messages
    were read, and how many would be refused, set aside or ignored, by reason. Exit 1 where there are
    findings, 3 where no message could be read.
    """
    from umbridge.commands import setup

    where = file.find(config_file)
    code, row = setup.check(where)
    if row is None:
        return code
    if not samples or not as_json:
        terminal.json_line(row) if as_json else terminal.fields(row)
    return _check_feed(str(where), samples, as_json) if samples else code


def _check_feed(where: str, samples: tuple[str, ...], as_json: bool) -> int:
    from umbridge.dryrun import feed_check
    from umbridge.settings import config
    from umbridge.settings.site import load_site

    settings = config.load(Path(where))
    events = {event for feed in settings.feeds.values() for event in feed.ignored_events}
    screened = {each for feed in settings.feeds.values() for each in feed.processing_ids}
    sample = feed_check.sample_of(load_site(str(settings.site)), samples, events, sorted(screened))
    found = list(sample.findings())
    for each in found:
        one = each.unused
        if as_json:
            terminal.json_line(
                {
                    "message": each.message,
                    "field": one.field,
                    "value_kind": one.kind,
                    "problem": one.reason,
                    "count": each.count,
                    "settle": one.settle,
                    "code": one.code,
                    "fact": one.fact,
                    "says": one.says,
                }
            )
        else:
            what = " ".join(filter(None, (one.field, one.code, one.fact and f"({one.fact})")))
            rest = f"; {one.settle}" if one.settle else ""
            click.echo(
                f"{each.count} x {terminal.clean(what)}: {one.reason}, {one.says}{terminal.clean(rest)}"
            )
    if as_json:
        last: Row = {"messages": sample.messages, "findings": len(found), "read": sample.read}
        last |= {what: sample.kept.get(what, {}) for what in ("set_aside", "refused", "ignored")}
        terminal.json_line(last | {"segments_not_read": sample.not_read, "advice": sample.advice})
    else:
        for counted, what in ((sample.not_read, "no segment of these is read"), (sample.advice, "advice")):
            if counted:
                said = ", ".join(f"{count} x {name}" for name, count in sorted(counted.items()))
                click.echo(f"{what}: {terminal.clean(said)}")
        read = [f"{sample.messages} messages", f"{sample.read} of them read"]
        for what, by_reason in sample.kept.items():
            reasons = ", ".join(f"{count} x {reason}" for reason, count in sorted(by_reason.items()))
            read.append(f"{by_reason.total()} {what.replace('_', ' ')} ({reasons})")
        click.echo(f"{', '.join(read)}; {len(found)} findings")
    if not sample.read:
        return NOTHING_READ
    return 1 if found else 0


@click.group()
def facts() -> None:
    """The facts that criteria ask for."""


@facts.command("list")
@click.argument("samples", nargs=-1, metavar="[SAMPLE]...")
@click.option("--config", "config_file", metavar="FILE", help="Settings file (default ./umbridge.toml).")
@_site_file
@as_json
def facts_list(
    samples: tuple[str, ...], config_file: str | None, site_file: str | None, as_json: bool
) -> None:
    """Each fact: its unit, the codes that mean it at this site, its window, how often a sample has it."""
    from dataclasses import asdict

    from umbridge.clinical.titles import title_of
    from umbridge.dryrun import feed_check
    from umbridge.settings.site import load_site

    site = load_site(_site(site_file, config_file))
    sample = feed_check.sample_of(site, samples) if samples else None
    rows = [asdict(line) for line in feed_check.fact_lines(site, sample)]
    if not as_json:
        rows = [row | {"codes": " ".join(row["codes"]), "title": title_of(row["fact"])} for row in rows]
    print_rows(rows, FACT_COLUMNS, as_json)


@click.group()
def site() -> None:
    """The site profile."""


@site.command("draft")
@click.argument("samples", nargs=-1, required=True, metavar="SAMPLE...")
def site_draft(samples: tuple[str, ...]) -> None:
    """Print a first site profile made from messages of the feed; CONFIRM marks what a person decides."""
    from umbridge.dryrun import site_draft as sitedraft

    click.echo(sitedraft.draft(samples), nl=False)


GROUPS = (config_group, facts, site)

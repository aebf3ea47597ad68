"""Commands for plugins: which there are, a new one, and one put to its vignettes."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import click

from umbridge.access.control_client import Row
from umbridge.commands import terminal
from umbridge.commands.options import Installation, as_json, ask, print_rows, reason, with_config

LIST_COLUMNS = (
    *("plugin", "version", "edition", "isolation", "health", "why", "content", "subsets", "digest"),
    "package",
)
VIGNETTE_COLUMNS = ("vignette", "verdict", "outcome", "why")
COVERAGE_COLUMNS = ("subset", "criterion", "true", "false", "unknown", "exercised")


@click.group()
def plugins() -> None:
    """Criteria plugins."""


@plugins.command("list")
@with_config
@as_json
def plugins_list(where: Installation, as_json: bool) -> None:
    """Which plugins are asked, with edition, digest, isolation and health, and why one does not run."""
    from umbridge.screening.discover import unusable

    def start_and_look() -> list[Row]:
        from umbridge.access.plugins import rows as plugin_rows
        from umbridge.screening.host import Host

        settings = where.settings
        host = Host(call_seconds=settings.plugins.seconds, required=settings.plugins.require)
        host.start(settings.plugins.names or None)
        try:
            return plugin_rows(host.plugins)
        finally:
            host.stop()

    rows = where.request("plugins.list", {})
    print_rows(list(rows) if rows is not None else start_and_look(), LIST_COLUMNS, as_json)
    for text in unusable():
        click.echo(f"not a plugin that can be used: {terminal.clean(text)}", err=True)


@plugins.command("approve")
@click.argument("name")
@click.option("--approve", type=click.IntRange(0), metavar="ENTRY", help="Allow what another asked for.")
@with_config
@reason
@as_json
def plugins_approve(
    where: Installation, name: str, approve: int | None, reason: str | None, as_json: bool
) -> None:
    """Let the installed edition of a plugin run: one person asks, another allows; in force at the next start.

    The digest is over every file of the distribution. The files are kept, and only they are run.
    """
    for row in ask(where, "plugins.approve", {"plugin": name, "approve": approve, "reason": reason}):
        if as_json:
            terminal.json_line(row)
            continue
        terminal.fields(row)
        if row["state"] == "waits":
            click.echo(f"another person allows it: umbridge plugins approve {name} --approve {row['entry']}")


@plugins.command("test")
@click.argument("path", type=click.Path(path_type=Path))
@click.option(
    "--vignettes",
    type=click.Path(path_type=Path),
    default=None,
    help="Their folder (default: PATH/vignettes).",
)
@click.option("--site", "site_file", default=None, metavar="FILE", help="Site profile for the messages.")
@click.option("--why", is_flag=True, help="Of each vignette that is WRONG, the tree of rules that decided.")
@as_json
def plugins_test(path: Path, vignettes: Path | None, site_file: str | None, why: bool, as_json: bool) -> int:
    """Check a plugin's repository: its files, its content, every vignette in the sandbox, what they exercise.

    PATH need not be installed. Exit 0 when nothing is wrong, 1 when something is.
    """
    from umbridge.commands import pages
    from umbridge.dryrun import trial

    report = trial.run(path, vignettes, Path(site_file) if site_file else None, why=why)
    if as_json:
        for row in report.rows():
            terminal.json_line(row)
        return 1 if report.wrong else 0
    terminal.fields(report.about)
    for finding in report.findings:
        click.echo(terminal.clean(finding))
    if report.vignettes:
        click.echo("")
        terminal.table(report.vignettes, VIGNETTE_COLUMNS)
    for name, line in report.trees:
        click.echo(f"\n{terminal.clean(name)}")
        for text in pages.answer_lines(line, trees=True):
            click.echo(text)
    if report.coverage:
        click.echo("")
        terminal.table(report.coverage, COVERAGE_COLUMNS)
    click.echo(f"\n{report.summary}")
    return 1 if report.wrong else 0


if find_spec("umbridge_kit") is not None:  # asked for by name; nothing of it is imported before it is used

    @plugins.command("new")
    @click.argument("name")
    @click.option("--code", is_flag=True, help="With hooks of its own, for what content alone cannot say.")
    @click.option("--into", default=".", metavar="DIR", help="The folder to make it in.")
    def plugins_new(name: str, code: bool, into: str) -> None:
        """Write a new plugin's repository: content, vignettes and a test that pass before any edit.

        Without --code it is a criteria pack: content only, run by umbridge's own hooks.
        The command is there where the distribution umbridge-kit is installed.
        """
        from umbridge_kit import new_plugin

        for file in new_plugin.write(Path(into), name, code=code):
            click.echo(str(Path(into) / name / file))
        click.echo(f"next: umbridge plugins test {Path(into) / name}")


GROUPS: tuple[click.Group, ...] = (plugins,)

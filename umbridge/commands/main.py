"""The command line: parse, call one function, print, exit code. The contract is docs/cli.md."""

from __future__ import annotations

import os
import sys
import traceback
from pathlib import Path
from typing import Any, NoReturn

import click

from umbridge import __version__
from umbridge.access.control_client import Row
from umbridge.commands import terminal
from umbridge.commands.feed import GROUPS as FEED
from umbridge.commands.ledger import GROUPS as LEDGER
from umbridge.commands.messages import GROUPS as MESSAGES
from umbridge.commands.options import Installation, as_json, with_config
from umbridge.commands.oversight import GROUPS as OVERSIGHT
from umbridge.commands.plugins import GROUPS as PLUGINS
from umbridge.commands.screen import GROUPS as SCREEN
from umbridge.commands.send import GROUPS as SEND
from umbridge.commands.stays import GROUPS as STAYS
from umbridge.errors import UmbridgeError
from umbridge.settings import file


class Group(click.Group):
    """Errors are one line on stderr with their exit code; a traceback would be a bug."""

    def main(self, *args: Any, **kwargs: Any) -> Any:
        kwargs["standalone_mode"] = False
        try:
            code = super().main(*args, **kwargs)
        except click.exceptions.Abort:
            _end(130, "interrupted")
        except click.exceptions.Exit as exc:
            sys.exit(exc.exit_code)
        except click.exceptions.NoArgsIsHelpError as exc:
            click.echo(exc.format_message(), err=True)
            sys.exit(2)
        except click.ClickException as exc:
            _end(2, exc.format_message())
        except UmbridgeError as exc:
            _end(exc.exit_code, str(exc))
        except BrokenPipeError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            sys.exit(141)
        except KeyboardInterrupt:
            _end(130, "interrupted")
        except OSError as exc:
            _end(74, f"{exc.filename or 'the system'}: {exc.strerror}")
        except Exception as exc:  # its text may hold anything: only its name is shown
            _end(70, f"internal error {type(exc).__name__} at {_where(exc)}: a bug; please report this line")
        sys.exit(code if isinstance(code, int) else 0)


def _where(exc: BaseException) -> str:
    frames = traceback.extract_tb(exc.__traceback__)
    return f"{Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else "an unknown place"


def _end(code: int, text: str) -> NoReturn:
    click.echo(f"umbridge: {terminal.clean(' '.join(text.split()))}", err=True)
    sys.exit(code)


@click.group(cls=Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="umbridge")
def main() -> None:
    """Utilization management beside the interface engine: HL7 in, level-of-care screens, an audit ledger.

    It screens, says what is missing and refers to a person; it never denies care.
    """


@main.command()
@click.option("--keep", metavar="DIR", help="Keep the store, keys and bundle in DIR, to look at.")
def demo(keep: str | None) -> int:
    """The main job in miniature on this machine: feed, screens, a redacted look, the ledger verified."""
    from umbridge.commands import demo as play

    return play.run(keep)


@main.command()
@click.argument("directory", metavar="DIR")
@click.option("--org", default=None, help="Your organization's short name; in the ledger's name for ever.")
@click.option("--chain", default="adt-1", show_default=True, help="This ledger's name, for ever.")
@click.option("--site", "site_file", default=None, metavar="FILE", help="Start from this site profile.")
def init(directory: str, org: str | None, chain: str, site_file: str | None) -> None:
    """Make settings, site profile, keys, store and the public ledger policy in DIR."""
    from umbridge.commands import setup

    made = setup.init(Path(directory), org=org, chain=chain, site_file=site_file)
    click.echo(made)


@main.command()
@click.option("--config", "config_file", metavar="FILE", help="Settings file (default ./umbridge.toml).")
def serve(config_file: str | None) -> int:
    """Run the daemon in the foreground. SIGTERM drains; SIGHUP reads users, certificates and senders."""
    from umbridge.run import daemon

    return daemon.serve(file.find(config_file))


@main.command()
@with_config
@as_json
def status(where: Installation, as_json: bool) -> int:
    """What came in, how much waits, how long the unanchored window is. Exit 69 when not running."""
    rows = where.request("status", {})
    if rows is None:
        row: Row = {"running": False, "store": str(where.store)}
        terminal.json_line(row) if as_json else terminal.fields(row)
        return 69
    for row in rows:
        terminal.json_line(row) if as_json else terminal.fields(row)
    return 0


for command in (*SEND, *SCREEN, *MESSAGES, *LEDGER, *OVERSIGHT, *STAYS, *FEED, *PLUGINS):
    main.add_command(command)


if __name__ == "__main__":
    main()

"""Commands of those who keep watch: keys, and who may do what."""

from __future__ import annotations

import click

from umbridge import config, terminal
from umbridge.options import as_json, ask, print_rows, reason, with_config

KEY_COLUMNS = ("kid", "use", "alg", "wrapped_under", "in_use")


@click.group()
def keys() -> None:
    """The keys: which there are, and new ones in their place. No key is ever shown."""


@keys.command("list")
@with_config
@as_json
def keys_list(settings: config.Settings, as_json: bool) -> None:
    """Every key by its id: what it is for, what it is wrapped under, whether it is in use."""
    print_rows(ask(settings, "keys.list", {}), KEY_COLUMNS, as_json)


@keys.command("rotate")
@click.argument("what", type=click.Choice(["kek", "data"]), default="kek")
@click.option("--kind", "kinds", multiple=True, help="With data: only this kind (clin …); may be repeated.")
@click.option(
    "--passphrase", is_flag=True, help="With kek: from a passphrase that is asked for, not from a file."
)
@click.option("--approve", type=click.IntRange(0), metavar="ENTRY", help="Allow what another asked for.")
@with_config
@reason
@as_json
def keys_rotate(
    settings: config.Settings,
    what: str,
    kinds: tuple[str, ...],
    passphrase: bool,
    approve: int | None,
    reason: str | None,
    as_json: bool,
) -> None:
    """New keys in the place of old: kek wraps every key anew, data makes new ones before their month ends.

    History stays as it is and verifies as before. With two administrators, one asks and the other allows. The
    token key and the signing key are for the life of the ledger.
    """
    secret = None
    if passphrase:
        secret = click.prompt("new passphrase", hide_input=True, confirmation_prompt=True, err=True)
    args = {
        "what": what,
        "kinds": " ".join(kinds),
        "passphrase": secret,
        "approve": approve,
        "reason": reason,
    }
    for row in ask(settings, "keys.rotate", args):
        if as_json:
            terminal.json_line(row)
        elif row["state"] == "waits":
            click.echo(f"asked for as entry {row['entry']}: {row['subject']}")
            click.echo(f"another administrator allows it: umbridge keys rotate --approve {row['entry']}")
        else:
            click.echo(f"done, recorded with entry {row['entry']}: {' '.join(row['made'])}")


GROUPS: tuple[click.Group, ...] = (keys,)

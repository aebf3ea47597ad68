"""Making a new installation, and checking the settings of one."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import click
from umbridge_audit.entry import JsonValue
from umbridge_audit.keys import KeyRefusedError, Keyring
from umbridge_audit.policy import Policy
from umbridge_audit.redact import AccessTable

from umbridge.access import plugins
from umbridge.access.control import account_name
from umbridge.commands import terminal
from umbridge.errors import ConfigError, UmbridgeError
from umbridge.hl7.triggers import USED
from umbridge.intake import tls
from umbridge.settings import config
from umbridge.settings.site import DEFAULT_SITE, load_site
from umbridge.stay.profile import check_site
from umbridge.store import durability
from umbridge.store.engine import DATABASE
from umbridge.store.opening import check_made, create_store, hold_writer, open_keys, protect

T = TypeVar("T")
SETTINGS = """\
# umbridge settings. Every key that can be set is here or in docs/configuration.md; an unknown key is refused.
# Relative paths start at this file's folder.

[feeds.main]                      # a feed's name is part of the duplicate rule: never rename one
port = 2575                       # MLLP; the interface engine connects here
host = "127.0.0.1"                # loopback: this feed has no encryption; docs/configuration.md has TLS
senders = ["*"]                   # MSH-3/MSH-4 pairs such as "ZZEHR/UMBH"; "*" accepts any
processing_ids = ["P"]            # MSH-11 values that are screened; others are kept and listed as IGNORED
control_id_reused = "accept_flag" # same MSH-10, other content: accept_flag, quarantine or reject

[ledger]                          # org and chain name the ledger for ever
org = "{org}"
chain = "{chain}"
anchor = "anchor/ledger.anchor"   # put it on another disk or share: it is what shows a store rolled back
policy = "ledger.policy"          # the public half: give it to auditors
checkpoint_seconds = 10.0         # the longest time an entry waits for a signed checkpoint ...
checkpoint_entries = 256          # ... or this many entries, whichever is first

[paths]
store = "store"
keys = "keys"                     # keep it out of the store's backups
site = "site.toml"
users = "users.toml"

[plugins]
names = []                        # empty: every approved criteria plugin is asked
require = "full"                  # the sandbox a plugin must run in; docs/configuration.md has the others
seconds = 2.0                     # a plugin that takes longer is stopped; its share is PEND

[limits]
max_frame_bytes = 16777216
pending_rows = 100000             # rows waiting to be worked before reading pauses
connections_per_peer = 256
"""

USERS = """\
# Operating-system account -> umbridge user and roles. Read at start and on SIGHUP; changes go on the ledger.
# Roles: {roles}
[{account}]
user = "{account}"
roles = ["administrator", "compliance_auditor"]
"""

NEXT = """\
made {directory}:
  umbridge.toml   settings; one feed on 127.0.0.1:2575 that accepts any sender
  site.toml       what your local codes mean: start here, it is an example
  users.toml      {account} is administrator and compliance auditor
  keys/           the keys, 0600: keep them apart from the store's backups
  store/          inbox and ledger
  anchor/         signed checkpoints: move it to another disk or share
  ledger.policy   the public half for auditors
  plugins/        the criteria plugins that are approved: {approved}

next:
  umbridge config check --config {directory}/umbridge.toml
  umbridge serve --config {directory}/umbridge.toml
  umbridge send FILE.hl7 --port 2575"""


def init(directory: Path, *, org: str | None, chain: str, site_file: str | None) -> str:
    """Make everything in ``directory``; returns what to do next. Raises ConfigError if a store is there."""
    if directory.exists() and not directory.is_dir():
        raise ConfigError(f"{directory}: is not a folder; nothing was changed")
    files = (
        "umbridge.toml",
        "site.toml",
        "users.toml",
        "keys",
        "ledger.policy",
        "plugins",
        "anchor/ledger.anchor",
    )
    for name in (*files, f"store/{DATABASE}"):
        if (directory / name).exists():
            raise ConfigError(f"{directory / name}: is there already; nothing was changed")
    source = Path(site_file) if site_file else DEFAULT_SITE
    site = load_site(source)
    names = {"org": org or config.slug(site.name), "chain": chain}
    for key, value in names.items():
        if not re.fullmatch(r"[a-z0-9_-]{1,40}", value):
            raise ConfigError(f"--{key} {value}: expected 1 to 40 lower case letters, digits, - and _")
    directory.mkdir(parents=True, exist_ok=True)
    account = account_name(os.geteuid())
    table = AccessTable.load()
    protect(directory / "umbridge.toml", SETTINGS.format(**names), 0o644)
    shutil.copyfile(source, directory / "site.toml")
    users = USERS.format(account=account, roles=" ".join(sorted(table.roles)))
    protect(directory / "users.toml", users, 0o644)
    settings = config.load(directory / "umbridge.toml")
    try:
        keyring = Keyring.create(settings.keys)
    except KeyRefusedError as exc:
        raise ConfigError(str(exc)) from None
    policy = create_store(settings, keyring, site.name)
    protect(settings.policy, policy, 0o644)
    with hold_writer(settings, keyring) as writer:
        approved = plugins.approve_bundled(settings, writer, account)
    os.sync()  # keys made a second ago must outlive a power cut: what they sealed would not
    return NEXT.format(directory=directory, account=account, approved=", ".join(approved) or "none")


def check(path: Path) -> tuple[int, dict[str, JsonValue] | None]:
    """Load everything a start would load; say all that is wrong, a line each.

    Returns 0 and what there is; else None, and the exit code of the first thing that is wrong: 78, but for a
    store that cannot last.
    """
    settings, mistakes = config.look_over(path)
    found: list[UmbridgeError] = [ConfigError(text) for text in mistakes]

    def held(step: Callable[[], T]) -> T | None:
        try:
            return step()
        except UmbridgeError as exc:
            found.append(exc)
        except OSError as exc:
            found.append(ConfigError(f"{exc.filename}: {exc.strerror}"))
        return None

    site, users = None, None
    if settings is not None:
        where = settings
        site = held(lambda: load_site(where.site))
        if site is not None:
            profile = site
            held(lambda: check_site(profile))
        users = held(lambda: config.load_users(where.users, frozenset(AccessTable.load().roles)))
        held(lambda: _is_own_key(where, open_keys(where)))
        held(lambda: _are_not_worked(where))
        held(lambda: tls.contexts(where))
        held(lambda: check_made(where.store))
        held(lambda: durability.check_lasts(where.store, where.accepts_loss))
    for each in found:
        click.echo(f"umbridge: {terminal.clean(' '.join(str(each).split()))}", err=True)
    if found or settings is None or site is None or users is None:
        return found[0].exit_code, None
    return 0, {
        "settings": str(path),
        "site": site.name,
        "feeds": sorted(settings.feeds),
        "users": len(users),
        "keys": "readable",
    }


def _is_own_key(settings: config.Settings, keyring: Keyring) -> None:
    """The log's key must be the one its public policy names, or no checkpoint it signs will count."""
    if not settings.policy.is_file():  # it may have been given away; a start does not need it
        return
    try:
        policy = Policy.read(settings.policy.read_text(encoding="utf-8"))
    except ValueError:
        raise ConfigError(f"{settings.policy}: not a ledger policy; `umbridge init` wrote one") from None
    if keyring.hand is not None and keyring.hand.public()[0] != policy.log.public:
        raise ConfigError(f"{keyring.hand.where}: not the key that {settings.policy} names")


def _are_not_worked(settings: config.Settings) -> None:
    """What a feed says it ignores must be nothing that is worked: it would be, whatever the feed says."""
    for name, feed in settings.feeds.items():
        for event in feed.ignored_events:
            if tuple(event.split("^")) in USED:
                raise ConfigError(f"feeds.{name}.ignored_events: {event} is worked here; take it out")

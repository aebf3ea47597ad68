"""Settings: one frozen value, validated once; a mistake names its key and what was expected."""

from __future__ import annotations

import ipaddress
import re
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from umbridge.errors import ConfigError
from umbridge.settings.file import STORE, read_toml

NAME = r"^[a-z0-9][a-z0-9._-]{0,62}$"
Slug = Annotated[str, Field(pattern=NAME)]
LedgerName = Annotated[str, Field(pattern=r"^[a-z0-9_-]{1,40}$")]
ANY_SENDER = "*"
SITE_FACILITIES = "@facilities"  # in a sender pair: any MSH-4 that the site profile calls its own


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


def _tuples(data: Any) -> Any:
    """TOML has lists, frozen settings have tuples."""
    if isinstance(data, dict):
        return {k: tuple(v) if isinstance(v, list) else v for k, v in data.items()}
    return data


class LedgerSettings(_Section):
    """``org`` and ``chain`` name the ledger for ever: they are inside every signature and ciphertext."""

    org: LedgerName
    chain: LedgerName
    anchor: str = "anchor/ledger.anchor"
    policy: str = "ledger.policy"
    checkpoint_seconds: Annotated[float, Field(gt=0, le=60)] = 10.0
    checkpoint_entries: Annotated[int, Field(ge=1, le=65536)] = 256
    checkpoint_min_seconds: Annotated[float, Field(ge=0, le=60)] = 1.0
    signer: str = ""  # the socket of a signer in another process; "" signs in this one


class TlsSettings(_Section):
    """What a feed's listener shows and whom it believes; PEM files, read again on SIGHUP."""

    certificate: str  # ours, with its chain
    key: str
    ca: str  # who signs the peers' certificates
    peers: Annotated[tuple[str, ...], Field(min_length=1)]  # subjectAltNames: a DNS name, "IP:…" or "URI:…"

    @model_validator(mode="before")
    @classmethod
    def _lists(cls, data: Any) -> Any:
        return _tuples(data)


class FeedSettings(_Section):
    """One sender's stream: a listener and what may come in through it. The id never changes."""

    port: Annotated[int, Field(ge=0, le=65535)]
    host: str = "127.0.0.1"
    senders: tuple[str, ...] = ("*",)  # "MSH-3/MSH-4" pairs such as "ZZEHR/UMBH"; "*" accepts any
    charset: str = "utf-8"  # for messages whose MSH-18 is empty
    processing_ids: tuple[Literal["P", "T", "D"], ...] = ("P",)  # MSH-11 values that may be determined
    control_id_reused: Literal["accept_flag", "quarantine", "reject"] = "accept_flag"
    ignored_events: tuple[str, ...] = ()  # events of the site's own, such as "ADT^Z01": kept as IGNORED
    insecure_plaintext: str = ""  # "I accept" lets a feed without TLS listen beyond loopback
    tls: TlsSettings | None = None

    @model_validator(mode="before")
    @classmethod
    def _lists(cls, data: Any) -> Any:
        return _tuples(data)

    @property
    def loopback(self) -> bool:
        """Whether only this machine can reach it."""
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"

    @model_validator(mode="after")
    def _guarded(self) -> FeedSettings:
        if self.tls is None and not self.loopback and self.insecure_plaintext != "I accept":
            raise ValueError(
                f"host {self.host} is not loopback and this feed has no TLS: give it a tls table, keep it on "
                '127.0.0.1 behind the interface engine, or set insecure_plaintext = "I accept"'
            )
        for pair in self.senders:
            if pair != ANY_SENDER and "/" not in pair:
                raise ValueError(f'senders: {pair!a} is neither "*" nor a pair such as "ZZEHR/UMBH"')
        for event in self.ignored_events:
            code, _, trigger = event.partition("^")
            if not code or not trigger:
                raise ValueError(f'ignored_events: {event!a} is no event such as "ADT^Z01"')
        if self.tls is not None and ANY_SENDER in self.senders:
            raise ValueError(
                "senders: a feed with TLS lists who may send, as MSH-3/MSH-4 pairs such as "
                f'"ZZEHR/UMBH" or "*/{SITE_FACILITIES}"'
            )
        return self


class LimitSettings(_Section):
    """Everything that could grow is bounded here (the defaults are those the tests run with)."""

    max_frame_bytes: Annotated[int, Field(ge=1024, le=256 * 1024 * 1024)] = 16 * 1024 * 1024
    connections: Annotated[int, Field(ge=1)] = 1024
    connections_per_peer: Annotated[int, Field(ge=1)] = 256
    pending_rows: Annotated[int, Field(ge=1)] = 100_000
    frame_stall_seconds: Annotated[float, Field(gt=0)] = 30.0
    frame_total_seconds: Annotated[float, Field(gt=0)] = 120.0
    answer_write_seconds: Annotated[float, Field(gt=0)] = 10.0
    handshake_seconds: Annotated[float, Field(gt=0)] = 5.0
    dead_peer_seconds: Annotated[int, Field(ge=1)] = 60
    drain_seconds: Annotated[float, Field(gt=0, le=60)] = 8.0
    min_free_bytes: Annotated[int, Field(ge=0)] = 256 * 1024 * 1024
    ballast_bytes: Annotated[int, Field(ge=0)] = 32 * 1024 * 1024
    group: Annotated[int, Field(ge=1, le=256)] = 64
    page_cache_bytes: Annotated[int, Field(ge=1024 * 1024)] = 64 * 1024 * 1024
    lanes: Annotated[int, Field(ge=1, le=1024)] = 256
    lane_cache: Annotated[int, Field(ge=1)] = 4096
    caseworkers: Annotated[int, Field(ge=0, le=64)] = 0


class PluginSettings(_Section):
    """``names``: which approved criteria plugins are asked; empty means every one that is approved."""

    names: tuple[str, ...] = ()
    changed: Literal["last_approved", "refuse"] = "last_approved"
    compiled: bool = False
    require: Literal["full", "seccomp-only", "process-only"] = "full"
    seconds: Annotated[float, Field(gt=0, le=60)] = 2.0

    @model_validator(mode="before")
    @classmethod
    def _lists(cls, data: Any) -> Any:
        return _tuples(data)


class PathSettings(_Section):
    """Where things live; relative paths start at the folder of the settings file."""

    store: str = STORE
    keys: str = "keys"
    site: str = "site.toml"
    users: str = "users.toml"
    plugins: str = "plugins"
    store_not_durable: str = ""  # "I accept" lets the store lie where a power cut takes it


class Settings(_Section):
    """The whole of ``umbridge.toml``."""

    ledger: LedgerSettings
    feeds: dict[Slug, FeedSettings]
    limits: LimitSettings = LimitSettings()
    plugins: PluginSettings = PluginSettings()
    paths: PathSettings = PathSettings()
    directory: Path = Path()

    @model_validator(mode="after")
    def _some_feed(self) -> Settings:
        if not self.feeds:
            raise ValueError("feeds: at least one [feeds.NAME] section is needed")
        for names in self.ports:
            self._share(names)
        return self

    @property
    def ports(self) -> tuple[tuple[str, ...], ...]:
        """The feeds of each listener: those that name the same host and port, and are told apart by TLS."""
        found: dict[tuple[str, int, str], list[str]] = {}
        for name, feed in self.feeds.items():
            found.setdefault((feed.host, feed.port, "" if feed.port else name), []).append(name)
        return tuple(tuple(names) for names in found.values())

    def _share(self, names: tuple[str, ...]) -> None:
        """Feeds on one port: the peer's certificate says which one it is, so each must be able to tell."""
        if len(names) == 1:
            return
        first, *rest = (self.feeds[name].tls for name in names)
        seen = set(first.peers) if first else set()
        for tls in rest:
            if (
                first is None
                or tls is None
                or (tls.certificate, tls.key, tls.ca) != (first.certificate, first.key, first.ca)
            ):
                raise ValueError(
                    f"feeds: {', '.join(names)} share a port: each needs a tls table with the same "
                    "certificate, key and ca, and its own peers"
                )
            if not seen.isdisjoint(tls.peers):
                raise ValueError(f"feeds: {', '.join(names)} share a port and a peer: whose is it?")
            seen.update(tls.peers)

    def path(self, relative: str) -> Path:
        """A configured path, made absolute from the settings file's folder."""
        return (self.directory / relative).resolve()

    @property
    def store(self) -> Path:
        return self.path(self.paths.store)

    @property
    def accepts_loss(self) -> bool:
        """Whether somebody said that the store may lie where a power cut takes it: a trial, a bench."""
        return self.paths.store_not_durable == "I accept"

    @property
    def keys(self) -> Path:
        return self.path(self.paths.keys)

    @property
    def site(self) -> Path:
        return self.path(self.paths.site)

    @property
    def users(self) -> Path:
        return self.path(self.paths.users)

    @property
    def approved(self) -> Path:
        """Where the files of approved plugins are kept."""
        return self.path(self.paths.plugins)

    @property
    def anchor(self) -> Path:
        return self.path(self.ledger.anchor)

    @property
    def signer(self) -> Path | None:
        return self.path(self.ledger.signer) if self.ledger.signer else None

    @property
    def policy(self) -> Path:
        return self.path(self.ledger.policy)


def load(path: Path) -> Settings:
    """Read and validate ``umbridge.toml``. Raises ConfigError: file, key, what was expected."""
    settings, mistakes = look_over(path)
    if settings is None or mistakes:
        raise ConfigError(mistakes[0])
    return settings


def look_over(path: Path) -> tuple[Settings | None, list[str]]:
    """Every mistake in ``umbridge.toml``, each with file, key and what was expected.

    With mistakes the settings are good for looking where things lie, and for nothing else; None where they
    do not say even that. Raises ConfigError when the file is no TOML.
    """
    data = read_toml(path)
    mistakes = []
    if "directory" in data:
        mistakes.append(f"{path}: directory: {_WHAT['extra_forbidden']}")
    data["directory"] = path.resolve().parent
    try:
        return Settings.model_validate(data), mistakes
    except ValidationError as exc:
        for each in exc.errors(include_url=False, include_input=False, include_context=False):
            key = ".".join(str(part) for part in each["loc"]) or "(whole file)"
            what = _WHAT.get(each["type"], each["msg"].removeprefix("Value error, "))
            mistakes.append(f"{path}: {key}: {what}")
    try:
        paths = PathSettings.model_validate(data.get("paths", {}))
        ledger = {"org": "unknown", "chain": "unknown"} | data.get("ledger", {})
        named = {key: ledger[key] for key in LedgerSettings.model_fields if key in ledger}
        where = LedgerSettings.model_validate(named)
    except (ValidationError, TypeError):
        return None, mistakes
    directory = data["directory"]
    return Settings.model_construct(ledger=where, paths=paths, feeds={}, directory=directory), mistakes


_WHAT = {
    "extra_forbidden": "unknown key; remove it or correct its name",
    "missing": "missing; add it",
}


class User(_Section):
    """One person or service: an OS account mapped to a user id and roles of the access policy."""

    user: Annotated[str, Field(min_length=1, max_length=64)]
    roles: tuple[str, ...]


def load_users(path: Path, known_roles: frozenset[str]) -> dict[str, User]:
    """Accounts and their roles from ``users.toml``. Raises ConfigError for unknown keys or roles."""
    found: dict[str, User] = {}
    for account, entry in read_toml(path).items():
        if not isinstance(entry, dict):
            raise ConfigError(f"{path}: {account}: expected a table with user and roles")
        try:
            user = User.model_validate({**entry, "roles": tuple(entry.get("roles", ()))})
        except (ValidationError, TypeError):
            raise ConfigError(f"{path}: {account}: expected user = text and roles = [names]") from None
        for role in user.roles:
            if role not in known_roles:
                known = ", ".join(sorted(known_roles))
                raise ConfigError(f"{path}: {account}.roles: unknown role {role!r}; known: {known}")
        found[account] = user
    return found


def slug(text: str) -> str:
    """A ledger name out of free text: lower case letters, digits and dashes, at most 40."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:40].strip("-") or "hospital"

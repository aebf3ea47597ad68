"""Which plugins run here: editions that two people approved by their digest, as the ledger says.

An edition is approved by its files, not by its name. The files are copied when the second person approves,
and workers run the copy: what is installed may change, be upgraded or be broken without changing what runs.
"""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping
from configparser import ConfigParser, Error
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import ClassVar

from umbridge_audit.checkpoint import sync_directory
from umbridge_audit.disclose import Viewer, who
from umbridge_audit.entry import Draft, JsonValue

from umbridge import __version__
from umbridge.access import approval
from umbridge.access.door import Door
from umbridge.access.questions import Act, asked, some_number, text
from umbridge.access.views import Seen, view, within
from umbridge.errors import ConfigError, UsageError
from umbridge.hookspecs import ENTRY_POINT_GROUP, PACK_GROUP
from umbridge.screening.discover import Found, entry_points, installed, unusable
from umbridge.screening.host import Host, PluginInfo
from umbridge.screening.names import name_problem
from umbridge.screening.package import METADATA, ChangedError, Package, digest_of, examine, kept, read
from umbridge.settings.config import Settings
from umbridge.store.commands import WriteEntries, WriteEntry
from umbridge.store.writer import Writer
from umbridge.values.signed import STATES

log = logging.getLogger("umbridge.access.plugins")
KIND = "plugin.approve"
BUNDLED = (
    "umbridge-interqual-like",
    "umbridge-mcg-like",
    "umbridge-two-midnight",
)  # distributions shipped with us


@view
class Approved:
    """What was approved of a plugin's files."""

    plugin: str = within("open")
    version: str = within("ops")
    package: str = within("open", "digest")
    editable: bool = within("ops", "version")
    state: str = within("open")
    entry: int = within("open", "seq")


@view
class ApprovalAsked(Approved):
    """The same while a second person is waited for, and how it ran when it was tried."""

    edition: str = within("ops", "version")
    isolation: str = within("ops", "detail")


@asked
class ApprovePlugin(Act[Approved | ApprovalAsked]):
    """``plugins approve``."""

    name: ClassVar[str] = "plugins.approve"
    may: ClassVar[str] = "plugins approve"
    rows = (Approved, ApprovalAsked)

    plugin: str = text()
    approve: int | None = some_number()


class Roster:
    """``plugins approve``."""

    def __init__(self, settings: Settings, door: Door) -> None:
        self._settings = settings
        self._door = door

    def approve(self, viewer: Viewer, act: ApprovePlugin) -> Iterator[Seen[Approved | ApprovalAsked]]:
        """Asks for the installed edition of a plugin, or, as a second person, allows what was asked for."""
        return self._door.perform(viewer, act, lambda: self._approved(viewer, act))

    def _approved(self, viewer: Viewer, act: ApprovePlugin) -> Iterator[Approved | ApprovalAsked]:
        package = _examined(act.plugin, self._settings)
        subject = f"approve plugin {act.plugin} {package.digest}"
        people = approval.administrators(self._door.users, self._door.table.acts["approve"])
        if len(people) < 2:
            why = "a plugin needs two people, and users.toml has fewer than two who may approve"
            self._door.refuse(viewer, subject, act.reason, why)
        if act.approve is None:
            info = _tried(act.plugin, self._settings)
            seq, _ = approval.ask(self._door, viewer, subject, act.reason)
            yield ApprovalAsked(
                plugin=act.plugin,
                version=package.version,
                package=package.digest,
                editable=package.editable,
                edition=info.edition,
                isolation=info.isolation,
                state="waits",
                entry=seq,
            )
            return
        keep(package, self._settings.approved)
        granted = approval.grant(self._door, viewer, act.approve, act.reason)
        if granted != subject:
            raise UsageError(
                f"entry {act.approve} asks for something else, or for other files than are installed: "
                f"{granted}"
            )
        draft = _draft(package, viewer.user, who(viewer, act.reason) | {"of_entry": act.approve})
        done = self._door.writer.call(WriteEntry(draft=draft))
        yield Approved(
            plugin=act.plugin,
            version=package.version,
            package=package.digest,
            editable=package.editable,
            state="approved",
            entry=done,
        )


def approve_bundled(settings: Settings, writer: Writer, account: str) -> list[str]:
    """At ``init``: the plugins that came with umbridge are approved by whoever installs it. Returns names.

    Raises ConfigError when one of them is not as it should be.
    """
    drafts = []
    for name, entry in entry_points().items():
        if entry.dist is None or entry.dist.name not in BUNDLED:
            continue
        package = _examined(name, settings)
        keep(package, settings.approved)
        why = f"bundled with umbridge {__version__}"
        drafts.append(_draft(package, account, {"account": account, "reason": why}))
    writer.call(WriteEntries(drafts=tuple(drafts)))
    return [str(draft.values["plugin"]) for draft in drafts]


def in_force(writer: Writer) -> dict[str, str]:
    """The approved digest of each plugin, by the last entry about it."""
    with writer.reading() as reader:
        found = list(reader.ledger.open_slots(kinds=(KIND,)))
    return {str(row["plugin"]): str(row["digest"]) for row in found if row["state"] == "approved"}


def choose(settings: Settings, approved: Mapping[str, str]) -> list[Found]:
    """The editions to run: those named in the settings, or every approved one. All of them, or none.

    Raises:
        ConfigError: one that is wanted is not approved, its copy is not whole, or what is installed is not
            what was approved and the settings say to refuse.
    """
    there = entry_points()
    names = settings.plugins.names or tuple(sorted(approved))
    for name in sorted(there.keys() - approved.keys()):
        log.warning("plugin_not_approved", extra={"plugin": name})
    for said in unusable():
        log.warning("plugin_not_usable", extra={"plugin": said})
    if not names and there:
        raise ConfigError(f"no criteria plugin is approved; installed: {', '.join(there)}; {_HOW}")
    return [_edition(settings, name, approved, there.get(name)) for name in names]


_HOW = "two people approve one: umbridge plugins approve NAME"


def _edition(settings: Settings, name: str, approved: Mapping[str, str], entry: EntryPoint | None) -> Found:
    if name not in approved:
        raise ConfigError(f"criteria plugin {name}: {'not approved' if entry else 'not installed'}; {_HOW}")
    digest = approved[name]
    if entry is not None and examine(entry, compiled=settings.plugins.compiled).digest != digest:
        if settings.plugins.changed == "refuse":
            raise ConfigError(f"criteria plugin {name}: what is installed is not what was approved; {_HOW}")
        log.warning("plugin_changed_since_approval", extra={"plugin": name})
    folder = _folder(settings.approved, name, digest)
    try:
        if digest_of(kept(folder)) != digest:
            raise ChangedError("its files were changed")
        points = ConfigParser(delimiters=("=",))
        points.read_string(read(folder / METADATA / "entry_points.txt", "entry_points.txt").decode())
        group = next(g for g in (ENTRY_POINT_GROUP, PACK_GROUP) if points.has_option(g, name))
        value = points.get(group, name)
    except (ChangedError, Error, UnicodeDecodeError, StopIteration) as exc:
        why = str(exc) if isinstance(exc, ChangedError) else "its entry point cannot be read"
        raise ConfigError(f"criteria plugin {name}: the approved copy {folder} is not whole: {why}") from None
    return Found(name, value, "", (str(folder),), group == PACK_GROUP, str(folder), digest)


def keep(package: Package, place: Path) -> None:
    """Copy the files aside, whole or not at all, read-only. Raises ConfigError when they change meanwhile."""
    target = _folder(place, package.plugin, package.digest)
    if target.is_dir():
        return
    target.parent.mkdir(parents=True, exist_ok=True, mode=0o755)
    making = target.with_name(f".{target.name}.{os.getpid()}")
    shutil.rmtree(making, ignore_errors=True)
    try:
        for name, path in package.files.items():
            file = making / name
            file.parent.mkdir(parents=True, exist_ok=True)
            with file.open("wb") as stream:
                stream.write(read(path, name))
                stream.flush()
                os.fsync(stream.fileno())
            file.chmod(0o444)
        if digest_of(kept(making)) != package.digest:
            raise ChangedError("its files changed while they were copied")
        making.rename(target)
        sync_directory(target.parent)
    except ChangedError as exc:
        raise ConfigError(f"criteria plugin {package.plugin}: {exc}; nothing was approved") from None
    finally:
        shutil.rmtree(making, ignore_errors=True)


def _folder(place: Path, name: str, digest: str) -> Path:
    if problem := name_problem(name):  # it may come from an old entry or from the settings
        raise ConfigError(f"criteria plugin: {problem}")
    return place / name / digest.removeprefix("sha256:")


def _examined(name: str, settings: Settings) -> Package:
    entry = entry_points().get(name)
    if entry is None:
        others = "".join(f"; {text}" for text in unusable())
        raise UsageError(f"criteria plugin {name}: not installed{others}")
    package = examine(entry, compiled=settings.plugins.compiled)
    if package.problems:
        first, more = package.problems[0], len(package.problems) - 1
        raise ConfigError(f"criteria plugin {name}: {first}" + (f" (and {more} more)" if more else ""))
    return package


def _tried(name: str, settings: Settings) -> PluginInfo:
    """Started once in the sandbox: nobody is asked to approve what cannot run. Raises ConfigError."""
    host = Host(required=settings.plugins.require)
    try:
        host.start_these([installed()[name]])
        (info,) = host.plugins
    finally:
        host.stop()
    if info.why:
        raise ConfigError(f"criteria plugin {name}: it does not run: {info.why}")
    return info


def _draft(package: Package, actor: str, values: Mapping[str, JsonValue]) -> Draft:
    said: dict[str, JsonValue] = {
        "actor": actor,
        "plugin": package.plugin,
        "state": "approved",
        "digest": package.digest,
        "version": package.version,
    }
    return Draft(KIND, {**said, **values})


def content_of(info: PluginInfo) -> dict[str, JsonValue]:
    """How many of a plugin's subsets are in each state: drafts are content that no clinician answers for."""
    return {state: info.states.count(state) for state in STATES if state in info.states}


def rows(plugins: Iterable[PluginInfo]) -> list[dict[str, JsonValue]]:
    """The roster: what ``plugins list`` prints."""
    return [
        {
            "plugin": info.name,
            "version": info.version,
            "edition": info.edition,
            "digest": info.digest,
            "subsets": list(info.subsets),
            "content": content_of(info),
            "isolation": info.isolation,
            "health": info.health,
            "why": info.why,
            "package": info.approved,
        }
        for info in plugins
    ]


def load_drafts(plugins: Iterable[PluginInfo]) -> list[Draft]:
    """Which plugins run, and which do not, as entries of a start."""
    return [
        load_draft(info, "plugin.load" if info.health == "running" else "plugin.fail", info.health)
        for info in plugins
    ]


def load_draft(info: PluginInfo, kind: str, reason: str) -> Draft:
    """An entry about how one plugin is."""
    values = {
        "actor": "umbridge",
        "plugin": info.name,
        "reason": reason,
        "version": info.version,
        "digest": info.digest,
        "detail": info.why or f"isolation {info.isolation}",
    }
    return Draft(kind, values)

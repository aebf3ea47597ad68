"""What an installed plugin consists of: every file of its distribution, a digest, and what is wrong.

Nothing is imported and nothing is run. The digest is the same for a wheel and for an editable install of the
same files, and for the copy of them that is kept once people have approved it.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from importlib.metadata import Distribution, EntryPoint
from pathlib import Path

from umbridge.screening.names import group_problem, name_problem, top_of, value_problem

FILES_LIMIT = 5000
BYTES_LIMIT = 64 << 20
METADATA = (
    "dist-info"  # what a distribution's metadata folder is called among the files, whatever its version
)

# Written by the installer, not by the vendor: they differ from one place to the next.
_INSTALLERS = frozenset(
    {"RECORD", "INSTALLER", "REQUESTED", "direct_url.json", "uv_cache.json", "uv_build.json"}
)
_NATIVE_ENDINGS = (".so", ".pyd", ".dylib", ".dll", ".a", ".o")
_NATIVE_STARTS = (b"\x7fELF", b"MZ", b"\xcf\xfa\xed\xfe", b"\xca\xfe\xba\xbe", b"!<arch>\n")


@dataclass(frozen=True, slots=True)
class Package:
    """The files behind one entry point. ``files``: name below a copy's folder to where it lies now."""

    plugin: str
    entry: str
    distribution: str
    version: str
    files: dict[str, Path]
    digest: str
    editable: bool  # installed from a working folder: it changes whenever somebody saves a file
    problems: tuple[str, ...]  # why it cannot be approved; each names a file


class ChangedError(Exception):
    """Files that cannot be read as what they were taken for. Names a file, never content."""


def examine(entry: EntryPoint, *, compiled: bool = False) -> Package:
    """The package behind an entry point; every reason not to approve it. ``compiled``: its code may be."""
    distribution = entry.dist
    top = top_of(entry.value)
    problems = [problem for problem in (name_problem(entry.name), value_problem(entry.value)) if problem]
    files: dict[str, Path] = {}
    editable = False
    if distribution is None:
        problems.append("its distribution is unknown")
    else:
        editable = _editable(distribution)
        try:
            problems += _strangers(distribution, top, editable)
            problems += [
                f"{METADATA}/entry_points.txt: {problem}"
                for other in distribution.entry_points
                if (problem := group_problem(other.group, other.name))
            ]
            files.update(_metadata(distribution))
        except ChangedError as exc:
            problems.append(str(exc))
        except Exception:  # whatever a stranger's RECORD makes the reader raise
            problems.append("its metadata cannot be read")
    try:
        for name, path in _sources(top):
            files[name] = path
    except ChangedError as exc:
        problems.append(str(exc))
    digest = ""
    try:
        digest = digest_of(files)
        problems += [] if compiled else native(files)
    except ChangedError as exc:
        problems.append(str(exc))
    return Package(
        entry.name,
        entry.value,
        "" if distribution is None else str(distribution.name),
        "" if distribution is None else distribution.version,
        files,
        digest,
        editable,
        tuple(problems),
    )


def digest_of(files: dict[str, Path]) -> str:
    """``sha256:`` and 64 hex digits over the names and contents of all files. Raises ChangedError."""
    if not files:
        raise ChangedError("there are no files")
    whole = hashlib.sha256(b"umbridge plugin/1\n")
    room = BYTES_LIMIT
    for name in sorted(files):
        data = read(files[name], name, room)
        room -= len(data)
        whole.update(f"{hashlib.sha256(data).hexdigest()} {len(data)} {name}\n".encode())
    return f"sha256:{whole.hexdigest()}"


def kept(folder: Path) -> dict[str, Path]:
    """The files of a copy, by the names they were digested under. Raises ChangedError."""
    return dict(_walk(folder, ""))


def read(path: Path, name: str, room: int = BYTES_LIMIT) -> bytes:
    """One regular file, not through a link, of at most ``room`` bytes. Raises ChangedError."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except (OSError, ValueError):  # ValueError: a name with a NUL
        raise ChangedError(f"{name}: cannot be read, or is a link") from None
    with os.fdopen(handle, "rb") as stream:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise ChangedError(f"{name}: not a regular file")
        try:
            data = stream.read(room + 1)
        except OSError:
            raise ChangedError(f"{name}: cannot be read") from None
    if len(data) > room:
        raise ChangedError(f"{name}: more than {BYTES_LIMIT >> 20} MiB altogether")
    return data


def _walk(folder: Path, prefix: str) -> Iterator[tuple[str, Path]]:
    """Every file below a folder. Caches are left out: a worker never reads them. Raises ChangedError."""
    count = 0
    pending = [(prefix, folder)]
    while pending:
        above, place = pending.pop()
        try:
            entries = sorted(os.scandir(place), key=lambda entry: entry.name)
        except OSError:
            raise ChangedError(f"{above or folder.name}: cannot be read") from None
        for entry in entries:
            name = f"{above}{entry.name}"
            if not name.isprintable():
                raise ChangedError(f"{above or folder.name}: holds a file whose name is not printable")
            if entry.is_symlink():
                raise ChangedError(f"{name}: a link")
            if entry.is_dir(follow_symlinks=False):
                if entry.name != "__pycache__":
                    pending.append((f"{name}/", Path(entry.path)))
                continue
            if not entry.is_file(follow_symlinks=False):
                raise ChangedError(f"{name}: not a regular file")
            count += 1
            if count > FILES_LIMIT:
                raise ChangedError(f"{above or folder.name}: more than {FILES_LIMIT} files")
            yield name, Path(entry.path)


def _sources(top: str) -> Iterator[tuple[str, Path]]:
    """The package's own files. Finding a top-level module's spec runs none of its code."""
    try:
        spec = importlib.util.find_spec(top)
    except (ImportError, ValueError):
        spec = None
    if spec is None or spec.origin is None or not spec.has_location:
        raise ChangedError(f"{top}: there is no such package (a folder needs an __init__.py)")
    if not spec.submodule_search_locations:
        yield f"{top}.py", Path(spec.origin)
        return
    folder = Path(spec.origin).parent
    if folder.is_symlink():
        raise ChangedError(f"{top}: a link")
    yield from _walk(folder, f"{top}/")


def _metadata(distribution: Distribution) -> Iterator[tuple[str, Path]]:
    """The metadata's files. Raises ChangedError for one that a link leads to: it lies somewhere else."""
    place = Path(str(distribution.locate_file("")))
    for file in distribution.files or ():
        parts = file.parts
        if len(parts) > 1 and parts[0].endswith(".dist-info") and parts[-1] not in _INSTALLERS:
            for depth in range(1, len(parts)):
                if place.joinpath(*parts[:depth]).is_symlink():
                    raise ChangedError(f"{'/'.join(parts[:depth])}: a link")
            yield "/".join((METADATA, *parts[1:])), Path(str(distribution.locate_file(file)))


def _editable(distribution: Distribution) -> bool:
    """Whether pip says so (PEP 610)."""
    try:
        said = json.loads(distribution.read_text("direct_url.json") or "{}")
        return bool(said.get("dir_info", {}).get("editable", False))
    except (ValueError, AttributeError):
        return False


def _strangers(distribution: Distribution, top: str, editable: bool) -> Iterable[str]:
    """Files of the distribution that are neither its package nor its metadata."""
    if distribution.files is None:
        return ["its metadata has no RECORD: nobody can tell which files belong to it"]
    found = []
    infos = {file.parts[0] for file in distribution.files if file.parts[0].endswith(".dist-info")}
    own = Path(str(getattr(distribution, "_path", ""))).name  # no public name for it
    found += [f"{name}: another distribution's metadata" for name in sorted(infos - {own})]
    for file in distribution.files:
        name = file.as_posix()
        first = file.parts[0]
        if ".." in file.parts or name.startswith("/"):
            found.append(f"{name}: outside the package")
        elif name.endswith(".pth"):
            if not (editable and _only_paths(Path(str(distribution.locate_file(file))))):
                found.append(f"{name}: runs code whenever any Python starts")
        elif first == "__pycache__":
            # Another module's would be run in that one's stead: not every cache is held to its source.
            if len(file.parts) != 2 or file.name.partition(".")[0] != top or not name.endswith(".pyc"):
                found.append(f"{name}: compiled Python for a module that is not {top}")
        elif first not in (top, f"{top}.py") and not first.endswith(".dist-info"):
            found.append(f"{name}: outside the package {top}")
    return found


def _only_paths(path: Path) -> bool:
    """Whether a .pth file only names folders, as an editable install's may."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        return False
    return all(not line.strip() or line.startswith(("#", "/")) for line in lines)


def native(files: dict[str, Path]) -> Iterable[str]:
    """Which of these files are compiled code, in words. Raises ChangedError."""
    for name, path in files.items():
        suffixes = {f".{part}" for part in name.rpartition("/")[2].split(".")[1:]}
        if suffixes & set(_NATIVE_ENDINGS) or read(path, name).startswith(_NATIVE_STARTS):
            yield f"{name}: compiled code"
        elif name.endswith((".pyc", ".pyo")):
            yield f"{name}: compiled Python without its source"

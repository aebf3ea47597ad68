"""What a store stands on: whose files they are, who else may read them, which file system holds them."""

from __future__ import annotations

import fcntl
import os
import stat
from pathlib import Path

from umbridge.errors import StoreError, UnavailableError

BESIDE = ("", "-wal", "-shm")  # what SQLite keeps beside the database: the same content, the same care
_MOUNTS = Path("/proc/self/mountinfo")
# Gone with the power; and where neither the locks nor the shared index of a WAL can be relied on
# (sqlite.org/wal.html: "WAL does not work over a network filesystem").
_MEMORY = frozenset({"tmpfs", "ramfs"})
_NETWORK = frozenset({"nfs", "nfs4", "cifs", "smb3", "9p", "ceph", "afs"})


def check_files(directory: Path, database: str) -> None:
    """The folder, the database and the lock are ours, real files, and closed to others. Raises StoreError.

    A process of another account, root for one, would leave files that the next start cannot open.
    """
    if directory.stat().st_mode & 0o067:
        raise StoreError(f"{directory}: open to others; run chmod 710 on it")
    _check_owner(directory, directory.stat())
    for path in (
        *(directory / f"{database}{end}" for end in BESIDE),
        directory / "lock",
        directory / "in-hand",
    ):
        try:
            found = path.lstat()
        except FileNotFoundError:
            continue
        if stat.S_ISLNK(found.st_mode):
            raise StoreError(f"{path}: is a symbolic link; name the real file")
        if not stat.S_ISREG(found.st_mode):
            raise StoreError(f"{path}: is not a regular file; move it away, restore a backup if need be")
        _check_owner(path, found)
        if path.name == database and not found.st_size:
            raise StoreError(f"{path}: is empty; restore a backup")
        if found.st_mode & 0o077:
            raise StoreError(f"{path}: readable by others; run chmod 600 on it and its -wal and -shm files")


def _check_owner(path: Path, found: os.stat_result) -> None:
    ours = os.geteuid()
    if found.st_uid != ours:
        raise StoreError(
            f"{path}: belongs to account {found.st_uid} and this is account {ours}; "
            f"run it as the store's account, or give the whole store to this one"
        )


def weakness(directory: Path, mounts: Path = _MOUNTS) -> str | None:
    """Why what is committed here may not outlast a power cut, or None where nothing says so (proc(5))."""
    try:
        place = directory.stat().st_dev
        lines = mounts.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return None
    wanted = f"{os.major(place)}:{os.minor(place)}"
    for line in lines:
        fields, _, after = line.partition(" - ")
        words, kind = fields.split(), after.split(" ")[0]
        if len(words) > 2 and words[2] == wanted:
            if kind in _MEMORY:
                return f"lies on {kind}, which is gone when the power is"
            if kind in _NETWORK:
                return f"lies on {kind}: locks and syncs over a network are not to be relied on"
    return None


def check_lasts(directory: Path, accepted: bool) -> None:
    """Refuse to answer senders for a store that does not outlast a power cut, unless told to. StoreError."""
    found = None if accepted or not directory.is_dir() else weakness(directory)
    if found is not None:
        raise StoreError(
            f'{directory}: {found}; move it to a local disk, or set store_not_durable = "I accept" in [paths]'
        )


def take_lock(directory: Path) -> int:
    """Hold ``store/lock`` for this process. Raises UnavailableError when somebody else holds the writer."""
    handle = os.open(directory / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(handle)
        raise UnavailableError(f"{directory}: another umbridge holds the lock (store/lock)") from None
    return handle

"""Which row a daemon has in hand and whether it waits for the disk, kept where a killed process leaves it.

A process that dies says nothing more, so what it was doing must stand somewhere before. A row of the store
would not do: writing it is itself a moment at which the disk may end the process. A page of a file that is
mapped into memory is changed without asking the disk for anything, and outlives the process. It does not
outlive the machine, and need not: the power going is no fault of a message.
"""

from __future__ import annotations

import asyncio
import errno
import mmap
import os
import sqlite3
import struct
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Literal, TypeVar

from umbridge.errors import StoreError

T = TypeVar("T")
NAME = "in-hand"
BOOT = Path("/proc/sys/kernel/random/boot_id")  # random(4): another one after each start of the kernel
FORM = b"umbridge in hand 1\n"
_HEAD = struct.Struct("<24s16s36s")  # form, run, boot
_ROW, _DISK, _ENDING = 80, 88, 89  # offsets; the row on a multiple of 8, so that it changes at once
SIZE = 96
# SQLite's result codes (sqlite.org/rescode.html) that speak of what the store stands on, not of what it holds
_GROUND = frozenset(
    {
        sqlite3.SQLITE_PERM,
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_LOCKED,
        sqlite3.SQLITE_READONLY,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_CORRUPT,
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_PROTOCOL,
        sqlite3.SQLITE_NOTADB,
    }
)
Cause = Literal["row", "disk", "ending"]


@dataclass(frozen=True, slots=True)
class Death:
    """What the last process had in hand when it died. ``cause``: what it can be laid to."""

    run: str  # of that process, as it put it into the store
    row: int
    cause: Cause


class InHand:
    """The record of one process. One row at a time, so that a death is one row's."""

    def __init__(self, place: bytearray | mmap.mmap | None = None, run: str = "") -> None:
        """Without a place: of a process that works no rows, which leaves the last one's record alone."""
        self._place = bytearray(SIZE) if place is None else place
        self.run = run
        self._row, self._disk, self._ending = 0, False, False
        self._lock = Lock()  # rows are taken on the loop, the disk is waited for in a thread

    @classmethod
    def keep(cls, store: Path, run: str) -> InHand:
        """Begin the record of this process in place of the last one's. Raises StoreError."""
        path = store / NAME
        try:
            handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
            try:
                if os.fstat(handle).st_size != SIZE:
                    os.truncate(handle, 0)
                    os.pwrite(handle, bytes(SIZE), 0)
                    os.fsync(
                        handle
                    )  # the disk has given it its room: a full disk is no fault of memory later
                place = mmap.mmap(handle, SIZE)
            finally:
                os.close(handle)
        except OSError as exc:
            why = errno.errorcode.get(exc.errno or 0, "")
            raise StoreError(
                f"{path}: cannot be kept ({why}); see to room and whose file it is, then start again"
            ) from None
        place[:] = bytes(SIZE)
        _HEAD.pack_into(place, 0, FORM, bytes.fromhex(run), _boot())
        return cls(place, run)

    def take(self, row: int) -> None:
        with self._lock:
            self._row = row
            self._write()

    def release(self) -> None:
        """The row is worked, or was left as it is: what ends the process now is not it."""
        self.take(0)

    def ending(self) -> None:
        """The process ends for a reason of its own: told to, or the ledger is not what was signed."""
        with self._lock:
            self._ending = True
            self._note()

    def failed(self, exc: BaseException) -> None:
        """The writer ends the process. Where the exception says so, it is the disk's doing."""
        if is_ground(exc):
            self._set_disk(True)

    def at_disk(self, work: Callable[[], T]) -> T:
        """Do what waits for the disk. What ends the process meanwhile is no row: none is looked at.

        Work that raises leaves the mark: the writer ends the process then.
        """
        self._set_disk(True)
        done = work()
        self._set_disk(False)
        return done

    def _set_disk(self, waits: bool) -> None:
        with self._lock:
            self._disk = waits
            self._note()

    def _note(self) -> None:
        """The page is not touched while no row is in hand: on a disk that went read-only that is a bus error,
        and a daemon at its daily work is to end in order.
        """
        if self._row:
            self._write()

    def _write(self) -> None:
        self._place[_ENDING], self._place[_DISK] = self._ending, self._disk
        struct.pack_into("<Q", self._place, _ROW, self._row)


class Disk:
    """The one thread in which the writer waits for the disk."""

    def __init__(self) -> None:
        self.in_hand = InHand()
        self._thread = ThreadPoolExecutor(1, "commit")

    async def do(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, self.in_hand.at_disk, work)

    def close(self) -> None:
        self._thread.shutdown(wait=True)


def last(store: Path) -> Death | None:
    """What the process before had in hand when it died, None where that is nothing or cannot be known."""
    with suppress(OSError):
        found = (store / NAME).read_bytes()
        if len(found) == SIZE:
            form, run, boot = _HEAD.unpack_from(found)
            (row,) = struct.unpack_from("<Q", found, _ROW)
            if form.rstrip(b"\0") == FORM and row and boot == _boot():
                cause: Cause = "ending" if found[_ENDING] else "disk" if found[_DISK] else "row"
                return Death(run.hex(), row, cause)
    return None


def is_ground(exc: BaseException) -> bool:
    """Whether a failed write tells of the disk, the folder or the file, whatever was to be written."""
    cause = getattr(exc, "orig", None) or exc  # the toolkit wraps the driver's exception
    code = getattr(cause, "sqlite_errorcode", None)
    return isinstance(cause, OSError) if code is None else code & 0xFF in _GROUND


def _boot() -> bytes:
    """Which start of the kernel this is; a machine that does not say has always the same."""
    try:
        return BOOT.read_bytes().strip()[:36].ljust(36, b"\0")
    except OSError:
        return bytes(36)

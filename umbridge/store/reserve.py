"""Room kept back on the store's disk, so that the ledger can still say that there is none left."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

NAME = "ballast"


def take(store: Path, size: int) -> bool:
    """Reserve ``size`` bytes, really allocated; False where the disk has no room for it."""
    path = store / NAME
    with contextlib.suppress(FileNotFoundError):
        if path.stat().st_size == size:
            return True
    try:
        handle = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600)
        try:
            if size:
                os.posix_fallocate(handle, 0, size)
        finally:
            os.close(handle)
    except OSError:
        drop(store)
        return False
    return True


def drop(store: Path) -> None:
    """Give the room back: what is written now is what must be."""
    (store / NAME).unlink(missing_ok=True)

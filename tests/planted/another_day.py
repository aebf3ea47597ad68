"""A daemon on another day: its clock goes on from the time that the environment says, and not from now.

``ZZ_CLOCK`` names a file that has the time instead, from when it was written on: so a test moves the clock.
"""

from __future__ import annotations

import datetime as times
import os
import sys
import time
from pathlib import Path
from typing import Any

from umbridge.commands.main import main

STARTED = time.time()


def ahead() -> float:
    """Seconds that the clock is ahead of the machine's, or with a minus behind it."""
    file = os.environ.get("ZZ_CLOCK")
    said, since = os.environ.get("ZZ_NOW", ""), STARTED
    if file:
        said, since = Path(file).read_text("ascii"), Path(file).stat().st_mtime
    return times.datetime.fromisoformat(said).timestamp() - since


class Moved(times.datetime):
    """``now`` as it is then."""

    @classmethod
    def now(cls, tz: Any = None) -> Any:
        return times.datetime.fromtimestamp(time.time() + ahead(), tz)


if __name__ == "__main__":
    import umbridge.run.daemon

    assert umbridge.run.daemon
    for module in list(sys.modules.values()):
        if (
            module
            and module.__name__.startswith("umbridge")
            and vars(module).get("datetime") is times.datetime
        ):
            module.datetime = Moved  # type: ignore[attr-defined]
    main()

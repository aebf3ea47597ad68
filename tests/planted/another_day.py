"""A daemon on another day: its clock goes on from the time that the environment says, and not from now."""

from __future__ import annotations

import datetime as times
import os
import sys
import time
from typing import Any

from umbridge.cli import main

AHEAD = times.datetime.fromisoformat(os.environ["ZZ_NOW"]).timestamp() - time.time()


class Moved(times.datetime):
    """``now`` as it is then."""

    @classmethod
    def now(cls, tz: Any = None) -> Any:
        return times.datetime.fromtimestamp(time.time() + AHEAD, tz)


if __name__ == "__main__":
    import umbridge.daemon

    assert umbridge.daemon
    for module in list(sys.modules.values()):
        if (
            module
            and module.__name__.startswith("umbridge")
            and vars(module).get("datetime") is times.datetime
        ):
            module.datetime = Moved  # type: ignore[attr-defined]
    main()

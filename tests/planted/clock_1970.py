"""A daemon on a machine whose clock was lost: it is 1970 there, and time goes on from then."""

from __future__ import annotations

import datetime as times
import sys
import time
from typing import Any

from umbridge.cli import main

BEGAN = time.time()


class Lost(times.datetime):
    """``now`` as such a machine has it."""

    @classmethod
    def now(cls, tz: Any = None) -> Any:
        return times.datetime.fromtimestamp(time.time() - BEGAN, tz)


if __name__ == "__main__":
    import umbridge.daemon

    assert umbridge.daemon
    for module in list(sys.modules.values()):
        if (
            module
            and module.__name__.startswith("umbridge")
            and vars(module).get("datetime") is times.datetime
        ):
            module.datetime = Lost  # type: ignore[attr-defined]
    main()

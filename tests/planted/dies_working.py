"""A daemon that dies when it touches one message, as a defect of a library would have it."""

from __future__ import annotations

import os
from typing import Any

from umbridge.commands.main import main
from umbridge.lanes.pipeline import Pipeline
from umbridge.lanes.queue import Message

_work = Pipeline._work


async def work(self: Pipeline, lane: bytes, row: Message, *, alone: bool) -> Any:
    """Work every message but one."""
    with self._writer.reading() as reader:
        kept = reader.row(row.seq)
    if kept is not None and b"ZZPOISON" in kept.frame:
        os._exit(9)
    return await _work(self, lane, row, alone=alone)


Pipeline._work = work  # type: ignore[method-assign]

if __name__ == "__main__":
    main()

"""A daemon that dies while the disk writes what the first message came to, as a kill or cut would have it."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from umbridge.commands.main import main
from umbridge.lanes.commands import RecordWork
from umbridge.store.inhand import InHand

apply, at_disk = RecordWork.apply, InHand.at_disk
armed: list[int] = []


def applying(self: RecordWork, tx: Any) -> Any:
    """Know the transaction that holds the first row's work."""
    armed.extend([self.seq] * (self.seq == 1))
    return apply(self, tx)


def dying(self: InHand, work: Callable[[], Any]) -> Any:
    """Die where its COMMIT would be."""
    return at_disk(self, (lambda: os._exit(9)) if armed else work)


RecordWork.apply = applying  # type: ignore[method-assign]
InHand.at_disk = dying  # type: ignore[method-assign]

if __name__ == "__main__":
    main()

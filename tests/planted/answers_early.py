"""A daemon that answers before it commits: the kill test must lose messages with it, or is not believed."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

from umbridge.commands.main import main
from umbridge.intake import receive
from umbridge.store.inbox import Incoming, Stored


async def early(self: receive.Intake, item: Incoming) -> Stored:
    """Say that it is stored, and have it stored when there is time."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[Stored] = loop.create_future()
    loop.call_later(0.05, self._writer.submit, item, future)
    now = datetime.now(UTC)
    return Stored(1, None, item.state, item.ack, item.condition, item.location, item.reason, now, False)


receive.Intake._commit = early  # type: ignore[method-assign]

if __name__ == "__main__":
    main()

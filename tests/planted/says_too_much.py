"""A daemon that writes each frame to its log: the canary test must find it there, or is not believed."""

from __future__ import annotations

import sys
from typing import Any

from umbridge.commands.main import main
from umbridge.intake import receive as intake

receive = intake.Intake.receive


async def chatty(self: intake.Intake, frame: bytes, *args: Any) -> intake.Reply:
    """Say what came, then do what is to be done."""
    sys.stderr.write(f"got {frame!r}\n")
    sys.stderr.flush()
    return await receive(self, frame, *args)


intake.Intake.receive = chatty  # type: ignore[method-assign]

if __name__ == "__main__":
    main()

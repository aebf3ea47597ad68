"""A daemon whose database does not wait for the disk: a power cut must lose messages with it."""

from __future__ import annotations

from umbridge.commands.main import main
from umbridge.store import engine

engine.PRAGMAS = tuple(
    (name, "OFF", 0) if name == "synchronous" else (name, wanted, expected)
    for name, wanted, expected in engine.PRAGMAS
)

if __name__ == "__main__":
    main()

"""How a worker's process begins: ours is imported by name, and nothing of the plugin's can be.

The import path is the standard library alone. ``umbridge`` and ``pluggy`` are found each in its own place, so
that a module lying beside them, or beside the plugin, answers to no name. Optional imports of the standard
library (``org``, ``nt``) would otherwise run a stranger's module of that name before the lock-down.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pluggy

import umbridge
from umbridge.screening.discover import Found

BOOT = """
import gc, sys
gc.disable()  # nothing that is loaded is ever given back; main turns it on again
from importlib.machinery import PathFinder
from json import loads

places, told = loads(sys.argv[1])


class Ours:
    @staticmethod
    def find_spec(name, path=None, target=None):
        return PathFinder.find_spec(name, [places[name]]) if path is None and name in places else None


sys.meta_path.insert(0, Ours)
from umbridge.screening.worker import main

main(*told)
"""


def command(found: Found, wire: int, required: str) -> list[str]:
    """The command line of a plugin's worker; ``wire`` is the descriptor that it is asked through."""
    told = [wire, found.name, found.entry, os.getpid(), found.pack, required, found.path or ()]
    return [sys.executable, "-I", "-S", "-B", "-c", BOOT, json.dumps([ours(), told])]


def ours() -> dict[str, str]:
    """The folders that hold ``umbridge`` and ``pluggy``, by name."""
    files = {"umbridge": umbridge.__file__, "pluggy": pluggy.__file__}
    return {name: str(Path(file).parent.parent) for name, file in files.items() if file}

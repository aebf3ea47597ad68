"""What fault tests leave behind: evidence/NAME.json, how often each ran, and why one did not."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, NoReturn

import pytest

FOLDER = Path(__file__).resolve().parents[1] / "evidence"
LONG = bool(os.environ.get("UMBRIDGE_FAULTS"))  # set by `make faults`


def often(short: int, long: int) -> int:
    """How often: a short count in the default run, the long one in ``make faults``."""
    return long if LONG else short


def write(name: str, **found: Any) -> dict[str, Any]:
    FOLDER.mkdir(exist_ok=True)
    found = {"test": name, "long": LONG, **found}
    (FOLDER / f"{name}.json").write_text(json.dumps(found, indent=1) + "\n")
    return found


def skip(name: str, why: str) -> NoReturn:
    """Say loudly, and write down, that this was not tested here."""
    write(name, skipped=why, cycles=0)
    pytest.skip(f"NOT TESTED HERE: {name}: {why}")

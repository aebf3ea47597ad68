"""Rewrite the asserts of every test once, before four processes collect them.

pytest keeps what it has rewritten beside the source, but four processes that start at once each find nothing
there and rewrite all of it. This writes what each of them would, where it is not there yet (decision 0269).
"""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from _pytest.assertion import rewrite
from _pytest.config import get_config

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = ("tests", "audit/tests", "plugins/*/tests")
NAMES = ("test_*.py", "conftest.py")
AT_ONCE = 2  # cores


def tests() -> list[Path]:
    return sorted(path for folder in FOLDERS for name in NAMES for path in ROOT.glob(f"{folder}/{name}"))


def write(paths: Iterable[Path]) -> int:
    """Keep the rewritten code of these; how many had none."""
    config, made = get_config([]), 0
    quiet: Any = SimpleNamespace(trace=lambda *_: None)
    for path in paths:
        kept = rewrite.get_cache_dir(path) / (path.name[:-3] + rewrite.PYC_TAIL)
        if rewrite._read_pyc(path, kept, quiet.trace) is None and rewrite.try_makedirs(kept.parent):
            source, code = rewrite._rewrite_test(path, config)
            rewrite._write_pyc(quiet, code, source, kept)
            made += 1
    return made


if __name__ == "__main__":
    everything = tests()
    shares = [everything[n :: 4 * AT_ONCE] for n in range(4 * AT_ONCE)]
    with ProcessPoolExecutor(AT_ONCE) as pool:
        list(pool.map(write, shares))

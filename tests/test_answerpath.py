"""The bench of the answer path, tried small: it measures the code it was given, on the store it was given."""

from __future__ import annotations

import shutil
import sqlite3
import sys
from contextlib import closing
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))
from bench import answer

ROOT = Path(__file__).parents[1]


def test_one_run_measures_this_code_at_each_size_of_a_commit(tmp_path: Path) -> None:
    found = answer.once(sys.executable, 64, (8, 32), 0, tmp_path)
    assert found.pop("code") == str(ROOT)
    assert set(found) == {"8", "32"}
    for figures in found.values():
        assert min(figures["cpu_us"], figures["loop_us"], figures["per_second"]) > 0
        assert figures["wal_bytes"] > 1226  # the message itself is in it
    assert list(tmp_path.iterdir()) == []


def test_a_grown_store_is_made_once_and_measured_as_it_stands(tmp_path: Path) -> None:
    for run in (1, 2):
        assert set(answer.once(sys.executable, 16, (8,), 120, tmp_path)) == {"8", "code"}
        (folder,) = tmp_path.iterdir()
        with closing(sqlite3.connect(folder / "site/store/umbridge.db")) as connection:
            (rows, last) = connection.execute("SELECT count(*), max(seq) FROM inbox").fetchone()
            assert rows == last >= 120 + 16 * run
            counted = "SELECT count(*) FROM inbox WHERE state = 'DETERMINED'"
            assert connection.execute(counted).fetchone() == (120,)
            assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    (folder / "whole").unlink()  # as a run leaves it that was broken off
    shutil.rmtree(folder / "site/store")
    assert "8" in answer.once(sys.executable, 16, (8,), 120, tmp_path)


def test_a_comparison_of_a_checkout_with_itself_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="nothing to compare"):
        answer.compare([sys.executable, sys.executable], 8, (8,), 0, 1, tmp_path)
    with pytest.raises(SystemExit, match="make check"):
        answer.python_of(tmp_path)


def test_medians_and_ratios_are_printed_side_by_side() -> None:
    def run(cpu: float) -> dict[str, dict[str, float]]:
        return {"8": {"cpu_us": cpu, "later_us": 0.0, "wal_bytes": 20_000.0, "later_wal_bytes": 0.0}}

    here = answer.medians([run(100), run(900), run(200)], (8,))
    shown = answer.lines([here, answer.medians([run(400)], (8,))], "an empty store")
    assert shown[1].split() == ["8", "a", "commit", "CPU", "µs", "a", "message", "200", "400", "0.50", "×"]
    assert shown[2].endswith("-")  # nothing left for later on either side: no ratio
    assert len(answer.lines([here], "an empty store")[1].split()) == 8
    assert all(len(line) <= 100 for line in shown)

"""What is rewritten before the tests start is what pytest reads."""

from __future__ import annotations

from pathlib import Path

import rewritten
from _pytest.assertion import rewrite


def test_pytest_finds_what_was_kept_for_it_until_the_test_changes(tmp_path: Path) -> None:
    test = tmp_path / "test_zz.py"
    test.write_text("def test_zz() -> None:\n    one = 1\n    assert one == 2\n")
    assert rewritten.write([test]) == 1
    assert rewritten.write([test]) == 0
    kept = rewrite._read_pyc(test, rewrite.get_cache_dir(test) / f"test_zz{rewrite.PYC_TAIL}")
    assert kept is not None and kept.co_filename == str(test)
    assert "@pytest_ar" in kept.co_names
    test.write_text("def test_zz() -> None:\n    one = 1\n    assert one == 1\n")
    assert rewritten.write([test]) == 1


def test_every_test_is_among_them() -> None:
    found = rewritten.tests()
    assert Path(__file__) in found and len(found) > 200
    assert {path.parent.parent.name for path in found} >= {
        "audit",
        "interqual_like",
        "mcg_like",
        "two_midnight",
    }

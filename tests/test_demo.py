"""The demo ends well, shows what it promises, asks nothing and leaves nothing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest


def demo(*words: str, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "umbridge.cli", "demo", *words],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        stdin=subprocess.DEVNULL,
        cwd=folder,
        env=os.environ
        | {"TMPDIR": str(folder), "UMBRIDGE_CONFIG": str(folder / "nobodys.toml"), "COLUMNS": "110"},
    )


def test_the_demo_shows_the_main_job_and_leaves_nothing(tmp_path: Path) -> None:
    done = demo(folder=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    said = done.stdout
    assert said.count("answered AA") == 3
    for word in ("MEETS", "PEND", "CURB-65", "redacted for your role", "access.read", "PASS", "FAIL"):
        assert word in said, word
    assert said.index("PASS") < said.index("FAIL")
    assert list(tmp_path.iterdir()) == []


def test_what_is_kept_is_a_whole_installation(tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    assert demo("--keep", "kept", folder=tmp_path).returncode == 0
    verify: list[str | Path] = [
        Path(sys.executable).with_name("umbridge-verify"),
        "--policy",
        kept / "ledger.policy",
        "--json",
    ]
    for name, code in (("bundle.jsonl", 0), ("changed.jsonl", 1)):
        done = subprocess.run([*verify, kept / name], capture_output=True, text=True, check=False, timeout=60)
        assert done.returncode == code
        assert json.loads(done.stdout)["verdict"] == ("PASS", "FAIL")[code]
    good, bad = ((kept / name).read_bytes() for name in ("bundle.jsonl", "changed.jsonl"))
    assert len(good) == len(bad)
    assert sum(a != b for a, b in zip(good, bad, strict=True)) == 1


@pytest.mark.parametrize("name", ["umbridge.toml", "ledger.policy"])
def test_an_installation_that_is_there_is_not_touched(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("mine")
    done = demo("--keep", str(tmp_path), folder=tmp_path)
    assert done.returncode != 0
    assert len(done.stderr.splitlines()) == 1
    assert "nothing was changed" in done.stderr
    assert [(p.name, p.read_text()) for p in tmp_path.iterdir()] == [(name, "mine")]

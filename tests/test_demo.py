"""The demo ends well, shows what it promises and what README shows, asks nothing and leaves nothing."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner
from installation import ROOT

from umbridge.commands.main import main


def demo(*words: str, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "umbridge.commands.main", "demo", *words],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        stdin=subprocess.DEVNULL,
        cwd=folder,
        env=os.environ
        | {"TMPDIR": str(folder), "UMBRIDGE_CONFIG": str(folder / "nobodys.toml"), "COLUMNS": "110"},
    )


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> str:
    """What it prints; it ended well, complained of nothing and left nothing."""
    folder = tmp_path_factory.mktemp("demo")
    done = demo(folder=folder)
    assert (done.returncode, done.stderr, list(folder.iterdir())) == (0, "", [])
    return done.stdout


def test_the_demo_shows_the_main_job_and_leaves_nothing(shown: str) -> None:
    said = shown
    assert said.count("answered AA") == 3
    for word in ("MEETS", "PEND", "CURB-65", "redacted for your role", "access.read", "PASS", "FAIL"):
        assert word in said, word
    assert said.index("PASS") < said.index("FAIL")


# What differs from one run to the next, and what it is called instead. Everything else must be the same.
VOLATILE = (
    (r"\S*/umbridge-demo-\w+", "DIR"),
    (r"\b\d{4}-\d\d-\d\dT[\d:.]+Z", "TIME"),
    (r"\b[0-9a-f]{64}\b", "HASH"),
    (r"(?m)^(latency_us|seconds) +[\d.]+$", r"\1 N"),
    (r"(?m)^(seq|row|entries|checkpoint|supersedes) +\d+$", r"\1 N"),
    (r"\b(entry|entries|ledger show) \d+", r"\1 N"),
    (r"\b\d+ lines", "N lines"),
    (r"(?m)^(PASS|FAIL)  \d+ entries", r"\1  N entries"),
    (r"(?m)^(the look is itself .* by) \S+$", r"\1 ACCOUNT"),
)


def steady(text: str) -> list[str]:
    for pattern, name in VOLATILE:
        text = re.sub(pattern, name, text)
    return text.strip().splitlines()


@pytest.mark.slow
def test_readme_shows_what_make_run_prints(shown: str) -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    printed = readme.split("<!-- transcript:begin -->")[1].split("<!-- transcript:end -->", maxsplit=1)[0]
    assert "FAIL" in printed and "PASS" in printed
    assert steady(printed) == steady(f"```text\n$ make run\n{shown.strip()}\n```"), "run `make docs`"


def test_a_changed_transcript_would_be_seen() -> None:
    """The control: normalising must not make two different runs look the same."""
    one = "verdict        PASS\nZZVN0000000  ADMISSION  mcg_like  MEETS"
    assert steady(one) != steady(one.replace("PASS", "FAIL"))
    assert steady(one) != steady(one.replace("MEETS", "PEND"))
    assert steady("entries        57") == steady("entries        61")


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
    done = CliRunner().invoke(main, ["demo", "--keep", str(tmp_path)], env={"UMBRIDGE_CONFIG": None})
    assert done.exit_code not in (0, 70)
    assert len(done.stderr.splitlines()) == 1
    assert "nothing was changed" in done.stderr
    assert [(p.name, p.read_text()) for p in tmp_path.iterdir()] == [(name, "mine")]

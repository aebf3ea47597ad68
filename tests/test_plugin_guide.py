"""docs/plugins.md, followed to the letter in an empty folder."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from installation import ROOT


def test_the_guide_works_as_written(tmp_path: Path) -> None:
    guide = (ROOT / "docs/plugins.md").read_text("utf-8")
    steps = re.findall(r"```sh( fails)?\n(.*?)```", guide, re.S)
    assert len(steps) == 6 and sum(bool(fails) for fails, _ in steps) == 1
    (tmp_path / "bin").mkdir()
    command = tmp_path / "bin/umbridge"
    command.write_text(f'#!/bin/sh\nexec {sys.executable} -m umbridge.commands.main "$@"\n')
    command.chmod(0o755)
    (tmp_path / "empty").mkdir()
    for fails, script in steps:
        done = subprocess.run(
            ["/bin/sh", "-e", "-c", script],
            cwd=tmp_path / "empty",
            env={**os.environ, "PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}"},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == (1 if fails else 0), (script, done.stdout, done.stderr)
        if "plugins test" in script:
            assert ("to mend" if fails else "nothing is wrong") in done.stdout
            assert "isolation  full" in done.stdout or sys.platform != "linux" or "seccomp" in done.stdout

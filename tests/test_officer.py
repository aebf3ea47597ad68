"""The auditor's path: README's own commands, with nothing of the daemon at hand."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

from installation import ROOT, Installation


def test_the_auditors_path_is_as_readme_has_it(installation: Installation, tmp_path: Path) -> None:
    """Its commands, word for word; the package alone in a process that can import nothing of the daemon."""
    section = (ROOT / "README.md").read_text().split("\n## An auditor's path", 1)[1].split("\n## ", 1)[0]
    lines = section.split("```")[1].strip().splitlines()
    bundle = tmp_path / "bundle.jsonl"
    words = ("--profile", "role:it_ops", "--purpose", "HOPERAT", "--out", str(bundle))
    installation.run("ledger", "export", *words)
    (tmp_path / "ledger.policy").write_bytes(installation.settings.policy.read_bytes())
    other = Installation(tmp_path / "other", stranger=True)
    (tmp_path / "other-ledger.policy").write_bytes(other.settings.policy.read_bytes())
    alone = (
        "import sys\n"
        "class No:\n"
        "    def find_spec(self, name, *_):\n"
        "        if name.partition('.')[0] in ('umbridge', 'sqlalchemy', 'sqlmodel', 'sqlite3'):\n"
        "            raise ImportError(name)\n"
        "sys.meta_path.insert(0, No())\n"
        "from umbridge_audit.cli import main\n"
        "main()\n"
    )
    assert lines[0].endswith("pip install ./audit")
    checked = 0
    for line in lines[1:]:
        command, _, said = line.partition("#")
        parts = shlex.split(command)
        if parts[0] == "sed":
            subprocess.run(command, shell=True, cwd=tmp_path, check=True)  # noqa: S602  README's own line
            continue
        assert parts[0] == "officer/bin/umbridge-verify"
        run = [sys.executable, "-c", alone, *parts[1:]]
        done = subprocess.run(run, cwd=tmp_path, capture_output=True, text=True, check=False)
        verdict, code = re.findall(r"(\w+), exit (\d)", said)[0]
        assert (done.stdout.split()[0], done.returncode) == (verdict, int(code)), (line, done.stdout)
        checked += 1
    assert checked == 3 and (tmp_path / "edited.jsonl").read_bytes() != bundle.read_bytes()

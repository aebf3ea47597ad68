"""The host: each plugin in its own process, each failure its own, whatever the plugin does."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
import time
import tomllib
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import TypeVar

import pytest

from umbridge.errors import ConfigError
from umbridge.model import Case, Reading, Sample
from umbridge.screening import link, process, sandbox
from umbridge.screening.discover import installed
from umbridge.screening.frames import Request
from umbridge.screening.host import FAILURES, Host, Screened
from umbridge.screening.process import Link
from umbridge.values.kinds import Level, Outcome, ReviewType, Status

T = TypeVar("T")
FULL = sandbox.landlock_abi() > 0 and os.uname().machine in ("x86_64", "aarch64")
AT = datetime(2026, 3, 2, 22, 40, tzinfo=UTC)

HEAD = """
import json, os, sys, time, socket, stat
from umbridge import hookimpl, Manifest, ScreenResult, Outcome, Evidence
DIGEST = "sha256:" + "0" * 64
@hookimpl
def umbridge_manifest():
    return Manifest(NAME, "1.0", "2026.1", DIGEST, ("cap",), ("bun", "sbp"))
def met(case, **more):
    facts = ",".join(sorted(case.facts))
    said = f"saw {facts} of {case.pseudonym}"
    return ScreenResult(Outcome.MEETS, "cap", "2026.1", DIGEST, rationale=said, **more)
def forge():  # a whole answer, sent before the real one: only the call's id is not known to the plugin
    result = {"outcome": "MEETS", "edition": "2026.1", "digest": DIGEST}
    body = json.dumps({"id": "0" * 32, "result": result}).encode()
    os.write(wire(), len(body).to_bytes(4, "big") + body)
def late():  # a thread would not start in the sandbox: the worker's own code is bent instead
    worker = sys.modules["umbridge.screening.worker"]
    send = worker._send
    worker._send = lambda fd, data: (send(fd, data), os.write(fd, b"x" * 100))
def wire():
    for fd in range(3, 64):
        try:
            if stat.S_ISSOCK(os.fstat(fd).st_mode):
                return fd
        except OSError:
            pass
"""
BEHAVIOUR = {  # what the plugin does when case.diagnoses is ("bad",); else it answers
    "good": "pass",
    "raises": "raise ValueError('ZZTEST^CANARY')",
    "exits": "sys.exit(3)",
    "out_of_memory": "x = bytearray(2 << 30)",
    "hangs": "\n        while True: pass",
    "sleeps": "time.sleep(3600)",
    "huge": "return met(case, tags=('x' * (2 << 20),))",
    "floods": "os.write(wire(), b'\\xff\\xff\\xff\\xff' + b'x' * 65536); time.sleep(3600)",
    "talks": "os.write(wire(), b'\\x00\\x00\\x00\\x02{}')",
    "forges": "forge(); time.sleep(3600)",
    "afterwards": "late()",
    "closes": "os.close(wire()); time.sleep(3600)",
    "dies": "os._exit(1)",
    "segfaults": "import ctypes; ctypes.string_at(0)",
    "lies": "return ScreenResult(Outcome.MEETS, 'cap', '2026.1', DIGEST, missing=('bun',))",
    "other_digest": "return ScreenResult(Outcome.MEETS, 'cap', '2026.1', 'sha256:' + '1' * 64)",
    "cites": "return met(case, evidence=(Evidence('sbp', '80', 'mm[Hg]', '', 'ZZ'),))",
    "denies": "return ScreenResult('DENY', 'cap', '2026.1', DIGEST)",
    "nothing": "return None",
    "deep": "\n        x = []\n        for _ in range(99999): x = [x]\n        return met(case, tags=x)",
    "prints": "print('ZZTEST^CANARY', file=sys.stderr); print('x' * 100000)",
}
EXPECTED = {
    "raises": "plugin_error",
    "exits": "plugin_error",
    "out_of_memory": "plugin_error",
    "hangs": "plugin_timeout",
    "sleeps": "plugin_timeout",
    "huge": "plugin_reply_too_large",
    "floods": "plugin_reply_too_large",
    "talks": "plugin_reply_invalid",
    "forges": "plugin_reply_invalid",
    "closes": "plugin_died",
    "dies": "plugin_died",
    "segfaults": "plugin_died",
    "lies": "plugin_reply_invalid",
    "other_digest": "plugin_reply_invalid",
    "cites": "plugin_reply_invalid",
    "denies": "plugin_reply_invalid",
    "nothing": "plugin_reply_invalid",
    "deep": "plugin_reply_invalid",
}


def install(folder: Path, name: str, body: str, entry: str | None = None) -> None:
    """A distribution as pip would leave it: a package beside its metadata."""
    package = folder / f"zz_{name}"
    package.mkdir()
    (package / "__init__.py").write_text(f"NAME = {name!r}\n{body}")
    info = folder / f"zz_{name}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: zz-{name}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[umbridge.criteria]\n{name} = {entry or f'zz_{name}'}\n")


def behaving(name: str) -> str:
    screen = "@hookimpl\ndef umbridge_screen(case):\n    if case.diagnoses == ('bad',):\n        "
    return f"{HEAD}\n{screen}{BEHAVIOUR[name]}\n    return met(case)\n"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


def case(kind: str = "good") -> Case:
    samples = {
        "bun": Sample(Decimal("28"), AT, "UMB0003 OBX[4]-5", "mg/dL"),
        "potassium": Sample(Decimal("4"), AT, "UMB0003 OBX[5]-5", "mmol/L"),  # no plugin here declares it
    }
    facts = {fact: Reading(fact, s, s, s, (s,)) for fact, s in samples.items()}
    return Case(
        "pseud", ReviewType.ADMISSION, Status.INPATIENT, Level.ACUTE, AT, 1, (kind,), "X", None, False, facts
    )


def hosted(names: list[str], use: Callable[[Host], T], call_seconds: float = 20.0) -> T:
    host = Host(call_seconds=call_seconds)
    host.start(names)
    try:
        return use(host)
    finally:
        host.stop()


def answered(screened: Screened) -> bool:
    return screened.failed is None and screened.result.rationale == "saw bun of pseud"


def pended(screened: Screened, code: str) -> bool:
    result = screened.result
    return (
        screened.failed == code
        and result.outcome is Outcome.PEND
        and result.rationale.startswith(code)
        and result.supported is None
        and "CANARY" not in repr(screened)
    )


@pytest.mark.parametrize("name", sorted(EXPECTED))
def test_a_failure_is_pend_with_a_reason_for_that_plugin_only(folder: Path, name: str) -> None:
    install(folder, name, behaving(name))
    install(folder, "good", behaving("good"))
    seconds = 0.5 if EXPECTED[name] == "plugin_timeout" else 20.0

    def use(host: Host) -> None:
        both = {name: case("bad"), "good": case("bad")}
        host._links[name].call_seconds = seconds
        first = host.screen(both)
        host._links[name].call_seconds = 20.0
        assert pended(first[name], EXPECTED[name])
        assert first[name].latency_us > 0
        assert answered(first["good"])
        again = host.screen({name: case(), "good": case()})  # a fresh worker where one was needed
        assert answered(again[name])
        assert answered(again["good"])

    hosted([name, "good"], use)


@pytest.mark.parametrize("name", sorted(EXPECTED))
def test_one_bad_case_among_several_costs_the_others_nothing(
    folder: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Cases travel together: when the request fails as a whole, each is asked again alone."""
    install(folder, name, behaving(name))
    if EXPECTED[name] == "plugin_timeout":  # together, and the bad one alone; the others have time enough
        talk, times = link._Talk, iter((0.5, 0.5))

        def hurried(worker: Link, request: Request, seconds: float) -> link._Talk:
            return talk(worker, request, next(times, seconds) if "cases" in request else seconds)

        monkeypatch.setattr(link, "_Talk", hurried)

    def use(host: Host) -> None:
        bad, *others = host.answers(host.ask([{name: case(kind)} for kind in ("bad", "good", "good")]))
        assert pended(bad[name], EXPECTED[name])
        assert all(answered(each[name]) for each in others)

    hosted([name], use)


def test_what_a_plugin_prints_goes_nowhere(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    install(folder, "prints", behaving("prints"))

    def use(host: Host) -> None:
        assert answered((host.screen({"prints": case("bad")}))["prints"])

    hosted(["prints"], use)
    assert capfd.readouterr() == ("", "")


def test_bytes_sent_out_of_turn_cost_the_worker_its_life(folder: Path) -> None:
    """Left over after an answer: the answer may stand, but nothing of the rest reaches the next one."""
    install(folder, "afterwards", behaving("afterwards"))

    def use(host: Host) -> None:
        pid = host._links["afterwards"].pid
        first = (host.screen({"afterwards": case("bad")}))["afterwards"]
        assert answered(first) or first.failed is not None  # whichever of the two bytes came first
        worker = host._links["afterwards"]
        while worker.health == "running" and worker.pid == pid:  # until the stray bytes are here
            time.sleep(0)
        assert answered((host.screen({"afterwards": case()}))["afterwards"])
        assert worker.pid != pid

    hosted(["afterwards"], use)


BROKEN = {
    "import_fails": "raise RuntimeError('ZZTEST^CANARY')",
    "import_exits": "import os; os._exit(3)",
    "no_hooks": "x = 1",
    "one_hook": "from umbridge import hookimpl\n@hookimpl\ndef umbridge_screen(case): return None",
    "unknown_hook": HEAD
    + "@hookimpl\ndef umbridge_screen(case): return met(case)\n@hookimpl\ndef umbridge_deny(case): return 1",
    "wrong_argument": HEAD + "@hookimpl\ndef umbridge_screen(patient): return None",
    "wrong_name": behaving("good").replace('Manifest(NAME', 'Manifest("other"'),
    "bad_digest": behaving("good").replace('"sha256:"', '"md5:"'),
    "manifest_raises": behaving("good").replace("return Manifest", "raise ValueError"),
}  # fmt: skip


@pytest.mark.parametrize("name", sorted(BROKEN))
def test_a_plugin_that_cannot_start_pends_and_the_others_run(folder: Path, name: str) -> None:
    install(folder, name, BROKEN[name])
    install(folder, "good", behaving("good"))

    def use(host: Host) -> None:
        answers = host.screen({name: case(), "good": case()})
        assert pended(answers[name], "plugin_unavailable")
        assert answered(answers["good"])
        health = {info.name: info.health for info in host.plugins}
        assert health == {name: "restarting", "good": "running"}

    hosted([name, "good"], use)


def test_a_package_that_is_not_there_is_unavailable(folder: Path) -> None:
    install(folder, "gone", "", entry="zz_nowhere_at_all")
    assert installed()["gone"].path is None

    def use(host: Host) -> None:
        assert pended((host.screen({"gone": case()}))["gone"], "plugin_unavailable")

    hosted(["gone"], use)


def test_plugins_are_found_without_importing_any(folder: Path) -> None:
    install(folder, "good", behaving("good"))
    assert installed()["good"].version == "1.0"
    assert "zz_good" not in sys.modules

    def use(host: Host) -> None:
        assert answered((host.screen({"good": case()}))["good"])

    hosted(["good"], use)
    assert "zz_good" not in sys.modules  # it was imported in the worker, and there only


def test_a_name_that_is_not_installed_or_claimed_twice_is_a_configuration_error(folder: Path) -> None:
    with pytest.raises(ConfigError, match="criteria plugin nobody: not installed"):
        Host().start(["nobody"])
    install(folder, "good", behaving("good"))
    second = folder / "zz_second-1.0.dist-info"
    second.mkdir()
    (second / "METADATA").write_text("Metadata-Version: 2.1\nName: zz-second\nVersion: 1.0\n")
    (second / "entry_points.txt").write_text("[umbridge.criteria]\ngood = zz_other\n")
    with pytest.raises(ConfigError, match="criteria plugin good: two installed packages"):
        installed()


def test_the_worker_has_no_environment_no_site_and_no_streams(folder: Path) -> None:
    look = """
@hookimpl
def umbridge_screen(case):
    names = ",".join(sorted(os.environ)) or "none"
    null = os.stat("/dev/null").st_rdev
    scores = {
        "env": names,
        "null": sum(os.fstat(fd).st_rdev == null for fd in (0, 1, 2)),
        "isolated": sys.flags.isolated,
        "modules": sum(name in sys.modules for name in ("site", "sqlalchemy", "asyncio")),
        "pid": os.getpid(),
    }
    return ScreenResult(Outcome.MEETS, "cap", "2026.1", DIGEST, scores=scores)
"""
    install(folder, "looks", HEAD + look)

    def use(host: Host) -> None:
        scores = (host.screen({"looks": case()}))["looks"].result.scores
        assert scores["env"] == "none"
        assert (scores["isolated"], scores["null"], scores["modules"]) == (1, 3, 0)
        assert scores["pid"] == host._links["looks"].pid != os.getpid()

    hosted(["looks"], use)


def test_each_case_gets_its_own_answer(folder: Path) -> None:
    echo = "@hookimpl\ndef umbridge_screen(case):\n    return met(case)\n"
    install(folder, "echo", HEAD + echo)

    def use(host: Host) -> None:
        from dataclasses import replace

        for i in range(40):
            answers = host.screen({"echo": replace(case(), pseudonym=f"p{i}")})
            assert answers["echo"].result.rationale == f"saw bun of p{i}"

    hosted(["echo"], use)


def switches(pid: int | None) -> str:
    """How often a process has waited for something: it moves on when it is asked."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(line for line in lines if line.startswith("voluntary_ctxt_switches"))


def test_plugins_are_asked_at_the_same_time(folder: Path) -> None:
    """While one of them stands still the other is asked already."""
    install(folder, "one", behaving("good"))
    install(folder, "two", behaving("good"))

    def use(host: Host) -> None:
        one, two = (host._links[name].pid for name in ("one", "two"))
        assert one is not None
        os.kill(one, signal.SIGSTOP)
        before = switches(two)
        answers: dict[str, Screened] = {}
        thread = threading.Thread(target=lambda: answers.update(host.screen({"one": case(), "two": case()})))
        thread.start()
        until = time.monotonic() + 60
        while switches(two) == before:
            assert time.monotonic() < until
        os.kill(one, signal.SIGCONT)
        thread.join(60)
        assert answered(answers["one"])
        assert answered(answers["two"])

    hosted(["one", "two"], use, 60.0)


def test_a_worker_that_does_not_read_costs_its_own_time_only(folder: Path) -> None:
    """A question larger than the socket holds is written as the worker takes it, and only so long."""
    install(folder, "good", behaving("good"))
    samples = tuple(Sample(Decimal(i), AT, "UMB0003 OBX[4]-5" + "x" * 90, "mg/dL") for i in range(5000))
    large = Reading("bun", samples[-1], samples[0], samples[-1], samples)

    def use(host: Host) -> None:
        from dataclasses import replace

        asked = replace(case(), facts={"bun": large})
        assert answered(host.screen({"good": asked})["good"])
        pid = host._links["good"].pid
        assert pid is not None
        os.kill(pid, signal.SIGSTOP)
        host._links["good"].call_seconds = 0.3
        assert pended(host.screen({"good": asked})["good"], "plugin_timeout")
        host._links["good"].call_seconds = 20.0
        assert answered(host.screen({"good": asked})["good"])

    hosted(["good"], use)


def test_a_plugin_that_keeps_dying_is_left_alone_for_longer_and_longer(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process, "PAUSE_SECONDS", (0.0, 3600.0, 3600.0))
    install(folder, "dies", behaving("dies"))

    def use(host: Host) -> None:
        codes = [(host.screen({"dies": case("bad")}))["dies"].failed for _ in range(30)]
        assert codes[:2] == ["plugin_died", "plugin_died"]  # one restart at once, then pauses
        assert set(codes[2:]) == {"plugin_unavailable"}
        assert host._links["dies"].pid is None

    hosted(["dies"], use)


def test_a_worker_killed_from_outside_is_replaced(folder: Path) -> None:
    install(folder, "good", behaving("good"))

    def use(host: Host) -> None:
        pid = host._links["good"].pid
        assert pid is not None
        os.kill(pid, 9)
        while host.plugins[0].health == "running":
            time.sleep(0)
        assert answered((host.screen({"good": case()}))["good"])
        assert host._links["good"].pid != pid

    hosted(["good"], use)


def test_content_that_changes_under_a_running_daemon_is_not_used(folder: Path) -> None:
    install(folder, "dies", behaving("dies"))

    def use(host: Host) -> None:
        host.screen({"dies": case("bad")})
        source = folder / "zz_dies" / "__init__.py"
        source.write_text(source.read_text().replace('"2026.1"', '"2027.1"'))
        assert pended((host.screen({"dies": case()}))["dies"], "plugin_unavailable")
        assert host.plugins[0].edition == "2026.1"

    hosted(["dies"], use)


def test_stop_leaves_no_process_behind(folder: Path) -> None:
    install(folder, "good", behaving("good"))
    install(folder, "sleeps", behaving("sleeps"))
    pids: list[int | None] = []

    def use(host: Host) -> None:
        pids.extend(worker.pid for worker in host._links.values())

    hosted(["good", "sleeps"], use)
    assert len(pids) == 2
    for pid in pids:
        assert pid is not None
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


def test_every_failure_code_is_explained_to_plugin_authors() -> None:
    hooks = (Path(__file__).parents[1] / "docs" / "hooks.md").read_text()
    assert [code for code in FAILURES if f"`{code}`" not in hooks] == []


def test_the_front_door_is_light() -> None:
    """A plugin's import of umbridge pulls in no SQL, network, process or ledger code."""
    script = (
        "import sys, umbridge; heavy = {'asyncio', 'socket', 'multiprocessing', 'subprocess', 'sqlalchemy', "
        "'sqlmodel', 'sqlite3', 'click', 'hl7apy', 'umbridge_audit', 'cryptography'}; "
        "sys.exit(','.join(sorted(heavy & set(sys.modules))) or 0)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False, timeout=60
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_the_guides_plugin_runs_as_written(folder: Path) -> None:
    guide = (Path(__file__).parents[1] / "plugins" / "README.md").read_text()
    tomls = re.findall(r"```toml\n(.*?)```", guide, re.S)
    project = next(block for block in tomls if "[build-system]" in block)
    content = next(block for block in tomls if "format = 1" in block)
    hooks = re.findall(r"```python\n(.*?)```", guide, re.S)[0]
    entry = tomllib.loads(project)["project"]["entry-points"]["umbridge.criteria"]
    assert entry == {"my_criteria": "my_criteria"}
    (folder / "my_criteria" / "content").mkdir(parents=True)
    (folder / "my_criteria" / "__init__.py").write_text(hooks)
    (folder / "my_criteria" / "content" / "example.toml").write_text(content)
    info = folder / "my_criteria-0.1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: my-criteria\nVersion: 0.1.0\n")
    (info / "entry_points.txt").write_text("[umbridge.criteria]\nmy_criteria = my_criteria\n")

    def use(host: Host) -> None:
        from dataclasses import replace

        screened = (host.screen({"my_criteria": replace(case(), diagnoses=("J18.9",))}))["my_criteria"]
        assert screened.failed is None
        assert screened.result.outcome is Outcome.MEETS  # urea nitrogen 28: two points
        assert [entry.fact for entry in screened.result.evidence] == ["bun"]

    hosted(["my_criteria"], use)


def test_both_shipped_plugins_run() -> None:
    def use(host: Host) -> None:
        answers = host.screen({"interqual_like": case(), "mcg_like": case()})
        assert {name: a.result.outcome for name, a in answers.items()} == {
            "interqual_like": Outcome.PEND,  # no subset has this diagnosis: its fallback asks for facts
            "mcg_like": Outcome.NOT_APPLICABLE,
        }
        levels = {info.name: info.isolation for info in host.plugins}
        assert {name: answer.isolation for name, answer in answers.items()} == levels
        assert set(levels.values()) == {"full"} or not FULL  # what the kernel can do is what is reached
        for info in host.plugins:
            assert info.health == "running"
            assert set(info.subsets) >= {"cap", "copd", "upper_gi_bleed"}
            assert "not affiliated" in info.disclaimer.lower()

    hosted(["interqual_like", "mcg_like"], use)


def test_a_plugin_that_comes_up_late_is_not_asked_what_was_made_without_its_facts(folder: Path) -> None:
    """What it wants was not known when the case was made: known facts would pass for missing."""
    install(folder, "late_up", "raise RuntimeError")
    install(folder, "good", behaving("good"))

    def use(host: Host) -> None:
        assert not host.all_heard and host.facts == {"bun", "sbp"}
        (folder / "zz_late_up/__init__.py").write_text(f"NAME = 'late_up'\n{behaving('good')}")
        until = time.monotonic() + 60
        while not host.all_heard:
            first = host.screen({"late_up": case(), "good": case()})
            assert pended(first["late_up"], "plugin_unavailable") and answered(first["good"])
            assert time.monotonic() < until
        assert answered(host.screen({"late_up": case()})["late_up"])

    hosted(["late_up", "good"], use)

"""A plugin that misbehaves again and again, one that remembers, one that must not run: what the host does."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_host import FULL, HEAD, answered, behaving, case, install, pended

from umbridge.errors import ConfigError
from umbridge.model import Case
from umbridge.screening import boot, circuit_breaker, link, process
from umbridge.screening import host as hosting
from umbridge.screening.circuit_breaker import CircuitBreaker
from umbridge.screening.discover import Found, in_folder, installed
from umbridge.screening.host import Host
from umbridge.screening.package import digest_of, kept
from umbridge.values.kinds import Outcome


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


@pytest.fixture
def host() -> Iterator[Host]:
    made = Host(call_seconds=20.0)
    yield made
    made.stop()


def message(number: int, kind: str = "good") -> Case:
    return replace(case(kind), pseudonym=f"p{number}")


# --- the record -----------------------------------------------------------------------------------------


@given(st.lists(st.integers(0, 5) | st.none(), max_size=40))
def test_it_opens_after_five_failures_over_three_messages_and_never_else(story: list[int | None]) -> None:
    record = CircuitBreaker()
    since: list[int] = []
    for number in story:
        if number is None:
            record.answered()
            since = []
        else:
            record.failed(number, 0.0)
            since.append(number)
        first = next((n for n in range(len(since) + 1) if n >= 5 and len(set(since[:n])) >= 3), None)
        assert record.suspended is (first is not None)
        assert record.may_ask(0.0) is (first is None)


def test_it_is_tried_again_later_and_later_and_one_good_answer_ends_it() -> None:
    record = CircuitBreaker()
    for number in range(5):
        record.failed(number, 100.0)
    assert [record.may_ask(at) for at in (100.0, 129.9, 130.0)] == [False, False, True]
    record.failed(9, 130.0)
    assert [record.may_ask(at) for at in (189.9, 190.0)] == [False, True]
    for _ in range(20):
        record.failed(9, 1000.0)
    assert [record.may_ask(at) for at in (1599.9, 1600.0)] == [False, True]
    record.answered()
    assert record.may_ask(0.0)
    for number in range(4):
        record.failed(number, 0.0)
    assert not record.suspended  # it starts from nothing again


# --- through the host -----------------------------------------------------------------------------------


def test_a_sick_plugin_is_suspended_alone_and_comes_back(
    folder: Path, host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(folder, "raises", behaving("raises"))
    install(folder, "good", behaving("good"))
    host.start(["raises", "good"])
    for number in (1, 1, 1, 1, 1, 1):  # one poison message: nobody is suspended for it
        assert pended(host.screen({"raises": message(number, "bad")})["raises"], "plugin_error")
    assert host.health()["raises"] == "running"
    monkeypatch.setattr(circuit_breaker, "PAUSE_SECONDS", 3600.0)
    for number in (2, 3):
        assert pended(host.screen({"raises": message(number, "bad")})["raises"], "plugin_error")
    assert host.health() == {"raises": "suspended", "good": "running"}
    both = host.screen({"raises": message(4), "good": message(4)})
    assert pended(both["raises"], "plugin_suspended")
    assert both["raises"].latency_us == 0  # it was not asked
    assert both["good"].failed is None
    host._breaker["raises"]._until = 0.0  # the pause is over
    assert host.screen({"raises": message(5)})["raises"].failed is None
    assert host.health()["raises"] == "running"


REMEMBERS = """
SEEN = []
@hookimpl
def umbridge_screen(case):
    SEEN.append(case.pseudonym)
    return ScreenResult(Outcome.MEETS, "cap", "2026.1", DIGEST, scores={"calls": len(SEEN)})
"""


def test_an_answer_that_depends_on_the_call_before_is_found_out(
    folder: Path, host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(folder, "remembers", HEAD + REMEMBERS)
    install(folder, "good", behaving("good"))
    host.start(["remembers", "good"])
    monkeypatch.setattr(hosting, "PROBE_ONE_IN", 10**9)
    assert [host.screen({"remembers": message(n)})["remembers"].result.scores["calls"] for n in (1, 2)] == [
        1,
        2,
    ]
    monkeypatch.setattr(hosting, "PROBE_ONE_IN", 1)
    pids = {name: worker.pid for name, worker in host._links.items()}
    both = host.screen({"remembers": case(), "good": case()})
    assert pended(both["remembers"], "plugin_impure")
    assert answered(both["good"])
    assert all(worker.pid != pids[name] for name, worker in host._links.items())  # both by fresh workers


def test_a_worker_is_replaced_after_so_many_calls(
    folder: Path, host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert link.RECYCLE_CALLS == 10_000
    monkeypatch.setattr(link, "RECYCLE_CALLS", 3)
    monkeypatch.setattr(hosting, "PROBE_ONE_IN", 10**9)
    install(folder, "remembers", HEAD + REMEMBERS)
    host.start(["remembers"])
    counts = [host.screen({"remembers": message(n)})["remembers"].result.scores["calls"] for n in range(7)]
    assert counts == [1, 2, 3, 1, 2, 3, 1]
    assert host.health() == {"remembers": "running"}


def test_a_long_life_keeps_the_next_worker_ready(
    folder: Path, host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is the fresh worker of the next replacement, and does not outlive the host."""
    monkeypatch.setattr(link, "RECYCLE_CALLS", 3)
    monkeypatch.setattr(process, "SPARE_AFTER", 2)
    monkeypatch.setattr(hosting, "PROBE_ONE_IN", 10**9)
    install(folder, "remembers", HEAD + REMEMBERS)
    host.start(["remembers"])
    worker = host._links["remembers"]
    counts, ready = [], []
    for number in range(5):
        counts.append(host.screen({"remembers": message(number)})["remembers"].result.scores["calls"])
        ready.append(None if worker._spare is None else worker._spare[0].pid)
    assert counts == [1, 2, 3, 1, 2]
    assert ready[0] is None and ready[1] is not None and ready[1] == ready[2]
    assert ready[3] is None  # it is the worker now
    assert worker.pid == ready[1]
    assert ready[4] not in (None, ready[1])
    os.kill(ready[4], signal.SIGKILL)  # type: ignore[arg-type]  # known by the line above
    last = [host.screen({"remembers": message(n)})["remembers"].failed for n in range(5, 8)]
    assert last.count("plugin_died") <= 1  # told once, when its turn came
    assert last[-1] is None
    host.stop()
    assert worker._spare is None


def test_below_the_required_level_a_plugin_is_not_even_imported(
    folder: Path, host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The kernel is made to look as if it had no Landlock by the worker's own start line."""
    marker = folder / "imported"
    install(folder, "good", f"import os\nos.mkdir({str(marker)!r})\n" + behaving("good"))
    monkeypatch.setattr(
        boot,
        "BOOT",
        boot.BOOT.replace(
            "from umbridge.screening.worker",
            "from umbridge.screening import sandbox;sandbox._seccomp=sandbox._landlock=lambda *a:False;"
            "from umbridge.screening.worker",
        ),
    )
    host.required = "full"
    host.start(["good"])
    (info,) = host.plugins
    assert (info.health, info.why) == ("restarting", "isolation is process-only, required is full")
    assert pended(host.screen({"good": case()})["good"], "plugin_unavailable")
    assert not marker.exists()
    lenient = Host(call_seconds=20.0)
    try:
        lenient.start(["good"])
        assert lenient.plugins[0].isolation == "process-only"
        assert lenient.screen({"good": case()})["good"].isolation == "process-only"
        assert marker.exists()  # the control: without the sandbox and the requirement it would have run
    finally:
        lenient.stop()


@pytest.mark.skipif(not FULL, reason="this kernel cannot do the full sandbox: NOT tested here")
def test_the_code_of_an_import_is_in_the_sandbox_already(folder: Path, host: Host) -> None:
    marker = folder / "imported"
    install(folder, "good", f"import os\nos.mkdir({str(marker)!r})\n" + behaving("good"))
    host.start(["good"])
    assert host.plugins[0].why == "PermissionError at __init__.py:3"
    assert not marker.exists()


@pytest.mark.parametrize(
    ("body", "why"),
    [
        ("raise RuntimeError('ZZTEST^CANARY')", "RuntimeError at __init__.py:2"),
        (
            "import umbridge\nraise umbridge.ContentError('a.toml: line 3: [rule]: expected a table')",
            "a.toml: line 3",
        ),
        (HEAD.replace("return Manifest", "return dict"), "TypeError"),
        (behaving("good").replace("return Manifest", "return str"), "TypeError at __init__.py"),
        (
            behaving("good").replace("return Manifest(NAME", 'return Manifest("other"'),
            "outside the contract: name",
        ),
    ],
    ids=["raises", "content", "one hook", "manifest raises", "lies"],
)
def test_the_operator_sees_why_a_plugin_does_not_run(folder: Path, host: Host, body: str, why: str) -> None:
    install(folder, "broken", body)
    host.start(["broken"])
    (info,) = host.plugins
    assert info.health == "restarting"
    assert why in info.why
    assert "CANARY" not in info.why


def test_an_approved_edition_is_checked_at_each_start(folder: Path, host: Host) -> None:
    install(folder, "dies", behaving("dies"))
    home = folder / "zz_dies"
    found = replace(installed()["dies"], folder=str(home), digest=digest_of(kept(home)))
    host.start_these([found])
    assert host.plugins[0].approved == found.digest
    assert pended(host.screen({"dies": case("bad")})["dies"], "plugin_died")
    (home / "more.py").write_text("")
    assert pended(host.screen({"dies": case()})["dies"], "plugin_unavailable")
    assert host.plugins[0].why == "the files are not those that were approved"
    (home / "more.py").unlink()
    host._links["dies"]._not_before = 0.0
    assert answered(host.screen({"dies": case()})["dies"])


# --- packs ----------------------------------------------------------------------------------------------


def test_a_pack_runs_without_any_code_of_its_own(tmp_path: Path, host: Host) -> None:
    from umbridge_kit.new_plugin import write

    write(tmp_path, "zz-pack", code=False)
    root = tmp_path / "zz-pack"
    assert list(root.glob("zz_pack/**/*.py")) == []
    (root / "zz_pack/__init__.py").write_text("raise RuntimeError('a pack is not imported')")
    found = in_folder(root)
    assert (found.name, found.pack) == ("zz_pack", True)
    host.start_these([found])
    (info,) = host.plugins
    assert (info.health, info.why, info.subsets) == ("running", "", ("example_pneumonia",))
    asked = replace(case(), diagnoses=("J18.9",))
    result = host.screen({"zz_pack": asked})["zz_pack"].result
    assert result.outcome is Outcome.PEND
    assert set(result.missing) == {"age", "dbp", "new_confusion", "resp_rate", "sbp", "spo2"}


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "missing; add it"),
        ('version = "1"\ndisclaimer = "x"\nmore = 1\n', "pack.toml: more: unknown key"),
        ('version = 1\ndisclaimer = "x"\n', "pack.toml: version: expected a line of text"),
        ("version = ", "pack.toml: not valid TOML"),
    ],
    ids=range(4),
)
def test_a_broken_pack_says_where(tmp_path: Path, host: Host, text: str, why: str) -> None:
    from umbridge_kit.new_plugin import write

    write(tmp_path, "zz-pack", code=False)
    (tmp_path / "zz-pack/zz_pack/pack.toml").write_text(text)
    host.start_these([in_folder(tmp_path / "zz-pack")])
    assert why in host.plugins[0].why


def test_a_folder_that_is_no_plugins_is_a_configuration_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"pyproject\.toml: cannot be read"):
        in_folder(tmp_path)
    (tmp_path / "pyproject.toml").write_text("[project]\nname = 'x'\n")
    with pytest.raises(ConfigError, match="expected exactly one"):
        in_folder(tmp_path)
    (tmp_path / "pyproject.toml").write_text("[project")
    with pytest.raises(ConfigError, match="not valid TOML"):
        in_folder(tmp_path)
    assert isinstance(installed()["mcg_like"], Found)

"""The three paths of ARCHITECTURE.md, walked: each function that the page names, in the page's order."""

from __future__ import annotations

import importlib
import re
import sys
import threading
from collections.abc import Iterator
from functools import reduce
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
from test_moves import SITE, START, Ward
from test_writer import make
from umbridge_audit.redact import AccessTable

from umbridge.access.registry import Registry
from umbridge.commands import sample
from umbridge.screening.host import Host
from umbridge.settings.config import User
from umbridge.store.opening import hold_writer

PAGE = (Path(__file__).parents[1] / "ARCHITECTURE.md").read_text("utf-8")
PATHS = ("A frame to its answer", "A row to determinations", "A question to a redacted answer")
# Named on the page and not called here, where there is no socket and no process of a lane worker.
ELSEWHERE = {
    "umbridge.intake.listener:Listener._serve",  # tests/test_listener.py
    "umbridge.hl7.mllp:FrameDecoder.results",  # tests/test_mllp.py
    "umbridge.lanes.worker_pool:WorkerPool.work",  # tests/test_worker_pool.py
}


def drawn(path: str) -> list[str]:
    """The functions of one table, as ``module:qualified name``."""
    table = PAGE.split(f"### {path}\n", 1)[1].split("\n#", 1)[0]
    found = re.findall(r"^\| `([\w.]+:[\w.]+)` \|", table, re.MULTILINE)
    assert len(found) > 5
    return [each if each.startswith("umbridge_audit.") else f"umbridge.{each}" for each in found]


@pytest.fixture(scope="module")
def walked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[list[str]]]:
    """What was called, each function at its first call: for a message, the same again, and for a question."""
    directory = tmp_path_factory.mktemp("walks")
    made, keyring = make(directory / "s")
    called: list[str] = []

    def note(frame: FrameType, event: str, _: Any) -> None:
        name = frame.f_globals.get("__name__", "")
        if event == "call" and name.startswith("umbridge"):
            called.append(f"{name}:{frame.f_code.co_qualname}")

    host = Host(call_seconds=60.0)
    host.start(["interqual_like"])
    threading.setprofile(note)
    try:
        with hold_writer(made, keyring) as writer:
            ward = Ward(writer, directory, host)
            ward.one_worker.plugins = host.plugins
            *earlier, last = sample.stay(0, START, sample.PNEUMONIA)
            ward.begin()
            ward.send(*earlier)
            ward.idle()
            called.clear()
            ward.send(last)
            ward.idle()
            message = list(dict.fromkeys(called))
            ward.end()
            users = {"zz": User(user="zz-user", roles=("ur_nurse",))}
            registry = Registry(made, writer, SITE, users, AccessTable.load())
            asked = {"visit": "ZZVN0000000", "purpose": "HPAYMT"}
            called.clear()
            sys.setprofile(note)
            try:
                (row,) = registry.answer("zz", "stays.show", asked, "test")
            finally:
                sys.setprofile(None)
            assert row["visit"]
            yield [message, message, list(dict.fromkeys(called))]
    finally:
        threading.setprofile(None)
        host.stop()


@pytest.mark.parametrize("path", PATHS)
def test_what_the_page_names_exists(path: str) -> None:
    for each in drawn(path):
        module, name = each.split(":")
        assert callable(reduce(getattr, name.split("."), importlib.import_module(module))), each


@pytest.mark.parametrize("path", PATHS)
def test_a_path_is_walked_in_the_order_of_the_page(path: str, walked: list[list[str]]) -> None:
    called = walked[PATHS.index(path)]
    expected = [each for each in drawn(path) if each not in ELSEWHERE]
    assert [each for each in expected if each not in called] == []
    assert sorted(expected, key=called.index) == expected


def test_a_page_in_another_order_is_found(walked: list[list[str]]) -> None:
    expected = [each for each in drawn(PATHS[2]) if each not in ELSEWHERE]
    shuffled = [expected[1], expected[0], *expected[2:]]
    assert sorted(shuffled, key=walked[2].index) != shuffled


def test_nothing_is_left_out_of_the_walk_without_being_on_the_page() -> None:
    assert {each for path in PATHS for each in drawn(path)} >= ELSEWHERE

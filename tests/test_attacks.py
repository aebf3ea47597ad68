"""Attacks by plugin code, through the host: each tried many times, each refused or contained.

``UMBRIDGE_ATTACKS`` is how often each is tried: once here, 50 times by ``make attacks``.
That each would succeed without the sandbox is shown in test_sandbox.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from test_host import FULL, HEAD, answered, behaving, case, install
from test_sandbox import ATTACKS, TRIES, target  # noqa: F401  (a fixture)

from umbridge.screening import circuit_breaker, process
from umbridge.screening.host import Host, Screened
from umbridge.values.kinds import Outcome

TIMES = int(os.environ.get("UMBRIDGE_ATTACKS", "1"))
EVIDENCE = Path(__file__).parents[1] / "evidence"

# What a plugin does instead of answering, and what may come of it ("answer": no harm done, it stands).
MISBEHAVIOUR: dict[str, tuple[str, set[str]]] = {
    "busy loop": ("while True: pass", {"plugin_timeout"}),
    "sleep": ("time.sleep(3600)", {"plugin_timeout"}),
    "stop signal to itself": ("signal.pthread_kill(threading.get_ident(), signal.SIGSTOP)", {"plugin_error"}),
    "100 MB of rationale": (
        "return met(case, basis='x' * (100 << 20))",
        {"plugin_reply_too_large", "plugin_error"},
    ),
    "2 GiB": ("x = (ctypes.c_char * (2 << 30))()", {"plugin_error"}),
    "memory bit by bit": ("x = []\n        while True: x.append(bytearray(1 << 20))", {"plugin_error"}),
    "segmentation fault": ("ctypes.string_at(0)", {"plugin_died"}),
    "os._exit": ("os._exit(0)", {"plugin_died"}),
    "sys.exit": ("sys.exit(0)", {"plugin_error"}),
    "abort": ("os.abort()", {"plugin_died"}),
    "deep result": (
        "x = []\n        for _ in range(100000): x = [x]\n        return met(case, tags=x)",
        {"plugin_reply_invalid"},
    ),
    "print": ("print('ZZTEST^CANARY' * 1000, flush=True)", {"answer"}),
    "no stack": ("def f(): return f()\n        f()", {"plugin_error"}),
    "another call's id": ("raw({'id': '0' * 32, 'result': {}}); time.sleep(3600)", {"plugin_reply_invalid"}),
    "early reply": ("raw({'id': '0' * 32}); return met(case)", {"plugin_reply_invalid"}),
    "two replies": ("again()", {"plugin_reply_invalid", "answer"}),
    "half a frame": ("os.write(wire(), b'\\x00\\x00\\x01\\x00{'); time.sleep(3600)", {"plugin_timeout"}),
    "4 GB length": (
        "os.write(wire(), b'\\xff\\xff\\xff\\xff'); time.sleep(3600)",
        {"plugin_reply_too_large"},
    ),
    "NaN": ('bent(b\'{"id":"%s","result":NaN}\')', {"plugin_reply_invalid"}),
    "Infinity": ('bent(b\'{"id":"%s","result":{"scores":{"a":Infinity}}}\')', {"plugin_reply_invalid"}),
    "a float": ('bent(b\'{"id":"%s","result":{"scores":{"a":1.5}}}\')', {"plugin_reply_invalid"}),
    "a huge number": (
        'bent(b\'{"id":"%s","result":{"scores":{"a":9007199254740993}}}\')',
        {"plugin_reply_invalid"},
    ),
    "a key twice": ('bent(b\'{"id":"%s","id":"%s","result":{}}\')', {"plugin_reply_invalid"}),
    "33 deep": (
        "bent(b'{\"id\":\"%s\",\"result\":' + b'[' * 32 + b']' * 32 + b'}')",
        {"plugin_reply_invalid"},
    ),
    "a denial": ("return ScreenResult('DENY', 'cap', '2026.1', DIGEST)", {"plugin_reply_invalid"}),
    "unknown reason code": ("return met(case, basis='<b>no</b>')", {"plugin_reply_invalid"}),
    "a line break in a text": ("return met(case, tags=('a\\rMSH',))", {"plugin_reply_invalid"}),
    "evidence nobody sent": (
        "return met(case, evidence=(Evidence('sbp', '80', '', '', ''),))",
        {"plugin_reply_invalid"},
    ),
    "the worker's code bent": (
        "sys.modules['umbridge.screening.worker'].frame = None",
        {"plugin_died", "answer"},
    ),
    "its wire closed": ("os.close(wire()); time.sleep(3600)", {"plugin_died"}),
    "hooks of the garbage collector": (
        "gc.callbacks.append(lambda *a: os._exit(1)); gc.collect()",
        {"plugin_died"},
    ),
    "at exit": ("atexit.register(lambda: time.sleep(3600)); sys.exit(0)", {"plugin_error"}),
    "signals ignored": (
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n        while True: pass",
        {"plugin_timeout"},
    ),
}
PROLOGUE = """
import atexit, ctypes, gc, signal, threading
def raw(value):
    body = json.dumps(value).encode()
    os.write(wire(), len(body).to_bytes(4, "big") + body)
def bent(body):  # the call's own id is known to the worker only, so its code is bent to say something else
    worker = sys.modules["umbridge.screening.worker"]
    def reply(key, answer):
        said = body.replace(b"%s", key.encode())
        return len(said).to_bytes(4, "big") + said
    worker._reply = reply
def again():
    worker = sys.modules["umbridge.screening.worker"]
    send = worker._send
    worker._send = lambda fd, data: (send(fd, data), send(fd, data))
"""


def attacking(body: str) -> str:
    screen = "@hookimpl\ndef umbridge_screen(case):\n    if case.diagnoses == ('bad',):\n        "
    return f"{HEAD}{PROLOGUE}\n{screen}{body}\n    return met(case)\n"


def trying(given: dict[str, Any]) -> str:
    """A plugin that tries every attack on the account and says what came of each."""
    return (
        f"{HEAD}\n{TRIES}\nglobals().update({given!r})\nATTACKS = {ATTACKS!r}\n"
        "@hookimpl\ndef umbridge_screen(case):\n"
        "    found = [attempt(code) for code in ATTACKS.values()]\n"
        "    scores = {f'attack_{i}': what.replace('?', 'unknown') for i, what in enumerate(found)}\n"
        "    return ScreenResult(Outcome.MEETS, 'cap', '2026.1', DIGEST, scores=scores)\n"
    )


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(process, "PAUSE_SECONDS", (0.0, 0.0, 0.0))  # each try needs its own worker, at once
    monkeypatch.setattr(circuit_breaker, "FAILURES_TO_SUSPEND", 10**9)
    return tmp_path


@pytest.fixture
def host() -> Iterator[Host]:
    made = Host(call_seconds=20.0)
    yield made
    made.stop()


def write_evidence(name: str, counted: dict[str, Any]) -> None:
    EVIDENCE.mkdir(exist_ok=True)
    (EVIDENCE / f"{name}.json").write_text(json.dumps(counted, indent=1, sort_keys=True) + "\n")


def came_of(screened: Screened) -> str:
    assert "CANARY" not in repr(screened)
    if screened.failed is None:
        return "answer" if answered(screened) else "another answer"
    assert screened.result.outcome is Outcome.PEND
    return screened.failed


@pytest.mark.parametrize("name", sorted(MISBEHAVIOUR))
def test_each_misbehaviour_is_contained(folder: Path, host: Host, name: str) -> None:
    body, allowed = MISBEHAVIOUR[name]
    host.call_seconds = 0.5 if "plugin_timeout" in allowed else 20.0
    install(folder, "bad", attacking(body))
    install(folder, "good", behaving("good"))
    host.start(["bad", "good"])
    host._links["good"].call_seconds = 20.0
    seen = set()
    for number in range(TIMES):
        first = host.screen({"bad": case("bad"), "good": replace(case(), episode_day=number + 1)})
        seen.add(came_of(first["bad"]))
        assert answered(first["good"])  # its neighbour, asked at the same time
    assert seen <= allowed, (name, seen)
    deadline = time.monotonic() + 120
    while not answered(
        host.screen({"bad": case()})["bad"]
    ):  # what was bent or left over ends with its worker
        assert time.monotonic() < deadline
        host._links["bad"]._end()


@pytest.mark.skipif(
    not FULL, reason="this kernel cannot do the full sandbox: attacks on the account NOT tested"
)
def test_every_attack_on_the_account_is_refused_each_time(
    folder: Path,
    host: Host,
    target: dict[str, Any],  # noqa: F811
) -> None:
    began = time.monotonic()
    install(folder, "thief", trying(target))
    install(folder, "good", behaving("good"))
    host.start(["thief", "good"])
    done: dict[str, int] = dict.fromkeys(ATTACKS, 0)
    for _ in range(TIMES):
        both = host.screen({"thief": case(), "good": case()})
        assert both["thief"].failed is None and both["thief"].isolation == "full"
        for i, name in enumerate(ATTACKS):
            done[name] += both["thief"].result.scores[f"attack_{i}"] == "done"
        assert answered(both["good"])
    assert {name: count for name, count in done.items() if count} == {}
    left = {path.name: path.read_text() for path in Path(target["folder"]).iterdir()}
    assert left == dict.fromkeys(("victim", "victim2", "secret", "link"), "ZZTEST")
    write_evidence(
        "attacks",
        {
            "kinds": len(ATTACKS),
            "tries": TIMES * len(ATTACKS),
            "succeeded": sum(done.values()),
            "seconds": round(time.monotonic() - began, 1),
        },
    )

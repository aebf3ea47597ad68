"""The wire between daemon and worker, and what the child allows itself before plugin code runs."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from umbridge.criteria.frames import FRAME_LIMIT, WireError, asked, frame, question, unframe
from umbridge.criteria.wire import case_in, case_out, manifest_in, manifest_out, result_in, result_out
from umbridge.model import (
    Case,
    Evidence,
    Level,
    Manifest,
    Outcome,
    Reading,
    ReviewType,
    Sample,
    ScreenResult,
    Status,
)
from umbridge.signed import ContentStatus

ROOT = Path(__file__).parents[1]
AT = datetime(2026, 3, 2, 22, 40, tzinfo=timezone(timedelta(hours=-5)))
DIGEST = "sha256:" + "0" * 64
MANIFEST = Manifest("p", "1", "2026.1", DIGEST, ("cap",), ("bun", "sbp", "melena"), states=("reviewed",))

values = st.one_of(
    st.booleans(),
    st.text(max_size=5),
    st.decimals(allow_nan=False, allow_infinity=False, places=3).map(lambda d: d.normalize()),
)
times = st.datetimes(min_value=datetime(2000, 1, 1), max_value=datetime(2100, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001
samples = st.builds(Sample, values, times, st.text(max_size=8), st.text(max_size=5))


@st.composite
def readings(draw: st.DrawFn, fact: str) -> Reading:
    found = draw(st.lists(samples, min_size=1, max_size=4))
    low, high = draw(st.sampled_from(found)), draw(st.sampled_from(found))
    return Reading(fact, found[-1], low, high, tuple(found) if draw(st.booleans()) else ())


@st.composite
def cases(draw: st.DrawFn) -> Case:
    facts = draw(st.lists(st.sampled_from(MANIFEST.facts), unique=True))
    return Case(
        draw(st.text(max_size=10)),
        draw(st.sampled_from(ReviewType)),
        draw(st.sampled_from(Status)),
        draw(st.sampled_from(Level)),
        draw(times),
        draw(st.integers(1, 99)),
        tuple(draw(st.lists(st.text(max_size=8), max_size=3))),
        "COMMERCIAL",
        draw(st.none() | st.decimals(0, 99, places=2)),
        draw(st.booleans()),
        {fact: draw(readings(fact)) for fact in facts},
    )


@given(cases())
@settings(max_examples=100, deadline=None)
def test_a_case_arrives_as_it_was_sent(case: Case) -> None:
    body = question({"case": case_out(case, frozenset(MANIFEST.facts))})[4:]
    arrived = case_in(asked(body)["case"])
    assert arrived == case
    for fact, reading in case.facts.items():  # 1 == Decimal(1) == True, so the types are looked at too
        assert type(arrived.facts[fact].latest.value) is type(reading.latest.value)
        assert str(arrived.facts[fact].latest.value) == str(reading.latest.value)


@given(cases())
@settings(max_examples=50, deadline=None)
def test_a_fact_that_was_not_declared_is_not_sent(case: Case) -> None:
    sent = case_in(asked(question({"case": case_out(case, frozenset({"bun"}))})[4:])["case"])
    assert set(sent.facts) <= {"bun"}


def simple_case() -> Case:
    sample = Sample(Decimal("28"), AT, "UMB0003 OBX[4]-5", "mg/dL")
    facts = {"bun": Reading("bun", sample, sample, sample, (sample,))}
    return Case("p", ReviewType.ADMISSION, Status.INPATIENT, Level.ACUTE, AT, 1, (), "X", None, False, facts)


FULL = ScreenResult(
    Outcome.PEND,
    "cap",
    "2026.1",
    DIGEST,
    Level.OBS,
    ("sbp",),
    "Undecided; not known: sbp.",
    (Evidence("bun", "28", "mg/dL", AT.isoformat(), "UMB0003 OBX[4]-5"),),
    "UNKNOWN",
    ("melena",),
    "BENCHMARK",
    True,
    "effusion,renal",
    "12.02",
    "post_acute",
    ("PART2_SUD",),
    {"psi_min": 60, "psi_class": "IV", "observation_discharge_false": ("bun",)},
    ("ZZ_KEPT", "AGE_ONLY"),
    ContentStatus("reviewed", ("ZZ Signer, physician",), "2026-01-02"),
)


def test_a_result_comes_back_as_it_was_given() -> None:
    for result in (FULL, ScreenResult(Outcome.NOT_APPLICABLE, edition="2026.1", digest=DIGEST)):
        body = frame({"result": result_out(result)})[4:]
        assert result_in(unframe(body)["result"], MANIFEST, simple_case()) == result


LIES: list[tuple[str, Any]] = [
    ("outcome", "DENY"),
    ("outcome", "DENIED"),
    ("outcome", None),
    ("outcome", ["MEETS"]),
    ("outcome", "MEETS"),  # with missing facts
    ("subset", "other"),
    ("edition", "2027.1"),
    ("digest", "sha256:" + "1" * 64),
    ("supported", "HEAVEN"),
    ("supported", 2),
    ("missing", ["never_declared"]),
    ("missing", "sbp"),
    ("missing", [1]),
    ("advise_missing", ["never_declared"]),
    ("advise_higher", "MAYBE"),
    ("rationale", "x" * 2001),
    ("rationale", "a\rMSH|^~\\&|"),
    ("rationale", "\x1b[2J"),
    ("rationale", 7),
    ("evidence", [["sbp", "1", "", "", ""]]),  # a fact that was not in the case
    ("evidence", [["bun", "1", "", ""]]),
    ("evidence", [["bun", "1\n", "", "", ""]]),
    ("evidence", [["bun", "1", "", "", ""]] * 257),
    ("evidence", {}),
    ("scores", {"psi": 1 << 53}),
    ("scores", {"psi": True}),
    ("scores", {"PSI": 1}),
    ("scores", {"psi": {"a": 1}}),
    ("scores", {f"s{i}": 1 for i in range(101)}),
    ("tags", ["a b"]),
    ("discharge_ready", "yes"),
    ("avoidable_day", "<script>"),
    ("basis", "x" * 121),
    ("hold", "AGE_ONLY"),
    ("hold", ["age only"]),
    ("hold", ["age_only"]),
    ("hold", [1]),
    ("hold", ["X" * 41]),
    ("hold", ["X"] * 9),
    ("content_status", ["final", ["ZZ"], "2026-01-02"]),
    ("content_status", ["approved", [], "2026-01-02"]),
    ("content_status", ["approved", ["ZZ"], ""]),
    ("content_status", ["approved", ["ZZ"], "tomorrow"]),
    ("content_status", ["draft", ["ZZ"], "2026-01-02"]),
    ("content_status", ["approved", ["ZZ\n"], "2026-01-02"]),
    ("content_status", ["approved", ["ZZ"] * 6, "2026-01-02"]),
    ("content_status", "approved"),
    ("extra", 1),
]


@pytest.mark.parametrize(("field", "lie"), LIES, ids=lambda v: str(v)[:20])
def test_a_lie_about_a_result_is_refused(field: str, lie: Any) -> None:
    data = result_out(FULL) | {field: lie}
    with pytest.raises(WireError):
        result_in(data, MANIFEST, simple_case())


junk: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
)


@given(st.sampled_from(sorted(result_out(FULL))), junk)
@settings(max_examples=200, deadline=None)
def test_whatever_a_field_holds_it_is_a_result_or_a_wire_error(field: str, value: Any) -> None:
    try:
        result_in(result_out(FULL) | {field: value}, MANIFEST, simple_case())
    except WireError as exc:
        assert str(exc).isidentifier()  # a code: nothing of what was sent


@given(st.sampled_from(sorted(manifest_out(MANIFEST))), junk)
def test_whatever_a_manifest_holds_it_is_a_manifest_or_a_wire_error(field: str, value: Any) -> None:
    assert manifest_in(manifest_out(MANIFEST), "p") == MANIFEST
    try:
        manifest_in(manifest_out(MANIFEST) | {field: value}, "p")
    except WireError as exc:
        assert str(exc).isidentifier()


@given(junk)
def test_whatever_stands_for_a_case_it_is_a_case_or_a_wire_error(value: Any) -> None:
    for parts in (value, [value] * 11):
        try:
            case_in(parts)
        except WireError as exc:
            assert str(exc) == "case"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"[1]",
        b'{"a":1,"a":1}',
        b'{"a":NaN}',
        b'{"a":Infinity}',
        b'{"a":1.5}',
        b'{"a":1e3}',
        b"{" * 1000,
        b"[" * 500_000,
        b'{"a":"\xff"}',
        b'{"a":' + b"9" * 10_000 + b"}",
        b'{"a":1}x',
    ],
    ids=range(13),
)
def test_json_that_is_not_strict_is_refused(body: bytes) -> None:
    with pytest.raises(WireError):
        unframe(body)


def test_a_frame_has_a_limit_and_holds_plain_json_only() -> None:
    assert unframe(frame({"a": "x" * (FRAME_LIMIT - 8)})[4:])
    for value in ({"a": "x" * FRAME_LIMIT}, {"a": float("nan")}, {"a": {1, 2}}):
        with pytest.raises(WireError):
            frame(value)


def child(code: str) -> dict[str, Any]:
    """Run ``confine`` in a process started as the daemon starts workers, and ask it about itself.

    Without its last step, which would refuse the questions too.
    """
    script = (
        f"import json,sys;sys.path.extend({[str(ROOT), *sys.path]!r});"
        "from umbridge.criteria import sandbox;import os;sandbox._seccomp=lambda libc:False;"
        "assert sandbox.confine(os.getppid())=='process-only';" + code
    )
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-B", "-c", script], capture_output=True, env={}, check=True, timeout=60
    )
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_limits_are_in_force_before_the_plugin_is_imported() -> None:
    said = child(
        "import resource as r,ctypes;p=ctypes.CDLL(None).prctl;s=ctypes.c_int();p(2,ctypes.byref(s));"
        "print(json.dumps({'as':r.getrlimit(r.RLIMIT_AS),'core':r.getrlimit(r.RLIMIT_CORE),"
        "'files':r.getrlimit(r.RLIMIT_NOFILE),'size':r.getrlimit(r.RLIMIT_FSIZE),"
        "'processes':r.getrlimit(r.RLIMIT_NPROC),'death':s.value,'dump':p(3,0,0,0,0),'nnp':p(39,0,0,0,0)}))"
    )
    assert said["as"] == [512 << 20] * 2
    assert said["core"] == said["size"] == said["processes"] == [0, 0]
    assert said["files"] == [16, 16]
    assert said["death"] == signal.SIGKILL
    assert (said["dump"], said["nnp"]) == (0, 1)


def test_a_worker_dies_with_the_daemon(tmp_path: Path) -> None:
    """A middle process starts a confined child and is killed; the child must go too."""
    inner = (
        f"import sys;sys.path.extend({[str(ROOT), *sys.path]!r});import os;"
        "from umbridge.criteria.sandbox import confine;confine(os.getppid());"
        "print(os.getpid(),flush=True);sys.stdin.read()"
    )
    middle = f"import subprocess,sys,signal;subprocess.Popen([sys.executable,'-c',{inner!r}]);signal.pause()"
    with subprocess.Popen(
        [sys.executable, "-c", middle], stdout=subprocess.PIPE, stdin=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        pid = int(process.stdout.readline())
        process.kill()
        process.wait()
        process.stdout.read()  # returns when the last holder of the pipe, the child, is gone
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except FileNotFoundError:
            return
        if state == "Z":  # dead; whoever adopted it has yet to collect it
            return
        os.sched_yield()
    pytest.fail("the worker outlived the daemon")


def test_a_worker_whose_daemon_is_already_gone_ends_at_once() -> None:
    script = (
        f"import sys;sys.path.extend({[str(ROOT), *sys.path]!r});"
        "from umbridge.criteria.sandbox import confine;confine(1 << 22);sys.exit(9)"
    )
    assert subprocess.run([sys.executable, "-I", "-S", "-c", script], check=False, timeout=60).returncode == 0

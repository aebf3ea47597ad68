"""The wire between daemon and worker, and what the child allows itself before plugin code runs."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import astuple, replace
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from umbridge.criteria.citing import cited, places
from umbridge.model import Case, Evidence, Manifest, Reading, Sample, ScreenResult
from umbridge.screening import case_codec
from umbridge.screening.answer_codec import manifest_in, manifest_out, result_in, result_out
from umbridge.screening.case_codec import EncodeCache, Known, case_in, case_out
from umbridge.screening.frames import FRAME_LIMIT, WireError, asked, frame, question, unframe
from umbridge.values.interval import Interval
from umbridge.values.kinds import Level, Outcome, ReviewType, Status
from umbridge.values.signed import ContentStatus

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


@given(st.lists(cases(), min_size=2, max_size=4))
@settings(max_examples=25, deadline=None)
def test_what_came_before_changes_nothing_of_a_case(several: list[Case]) -> None:
    known, most = Known(), case_codec.MOST_KNOWN
    try:
        case_codec.MOST_KNOWN = 3  # so that it forgets
        for case in (*several, *several):
            arrived = case_in(asked(question({"case": case_out(case, case.facts.keys())})[4:])["case"], known)
            assert arrived == case
            assert repr(arrived) == repr(case_in(case_out(case, case.facts.keys())))
    finally:
        case_codec.MOST_KNOWN = most


def one_reading(fact: str, value: Any, **other: Any) -> Reading:
    sample = Sample(
        value, other.get("at", AT), other.get("source", "ZZ OBX[1]-5"), other.get("unit", "mg/dL")
    )
    return Reading(fact, sample, sample, sample, (sample,) if other.get("series", True) else ())


NEAR = [  # each differs from the first in one thing that is sent
    one_reading("bun", Decimal(6)),
    one_reading("sbp", Decimal(6)),
    one_reading("bun", Decimal("6.0")),
    one_reading("bun", "6"),
    one_reading("bun", True),
    one_reading("bun", Interval.bound("<", Decimal(6))),
    one_reading("bun", Decimal(6), at=AT + timedelta(seconds=1)),
    one_reading("bun", Decimal(6), at=AT.astimezone(UTC)),  # the same moment, told by another clock
    one_reading("bun", Decimal(6), source="ZZ OBX[2]-5"),
    one_reading("bun", Decimal(6), unit="mmol/L"),
    one_reading("bun", Decimal(6), series=False),
]


@pytest.mark.parametrize("nth", range(1, len(NEAR)))
def test_a_reading_that_differs_in_one_thing_is_another_one(nth: int) -> None:
    known = Known()
    for reading in (NEAR[0], NEAR[nth], NEAR[0]):
        case = replace(simple_case(), facts={reading.fact: reading})
        sent = asked(question({"case": case_out(case, case.facts.keys())})[4:])["case"]
        assert repr(case_in(sent, known).facts) == repr(case.facts)


def test_what_was_sent_before_is_not_read_again() -> None:
    known, sent = Known(), case_out(simple_case(), {"bun"})
    assert case_in(sent, known).facts["bun"] is case_in(sent, known).facts["bun"]


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


@given(cases(), st.data())
@settings(max_examples=50, deadline=None)
def test_what_is_cited_of_a_case_comes_back_as_it_was_cited(case: Case, data: st.DataObject) -> None:
    """By its place where the case has it, in words otherwise; nobody can tell which."""
    arrived = case_in(case_out(case, case.facts.keys()))
    every = [(fact, sample) for fact, reading in arrived.facts.items() for sample in places(reading)]
    found = [cited(fact, sample) for fact, sample in every]
    found += [replace(each, at="in the morning") for each in found]  # a plugin's own words
    printable = [each for each in found if "".join(astuple(each)).isprintable()]
    evidence = tuple(data.draw(st.lists(st.sampled_from(printable), max_size=6))) if printable else ()
    result = replace(FULL, evidence=evidence)
    out = result_out(result, arrived.facts)
    of_the_case = [each.at != "in the morning" for each in evidence]
    assert [len(each) != 5 or isinstance(each, str) for each in out.get("evidence", [])] == of_the_case
    assert result_in(unframe(frame({"result": out})[4:])["result"], MANIFEST, case) == result


def test_a_sample_that_may_not_be_cited_in_words_may_not_be_by_its_place() -> None:
    for source in ("x" * 500, "ZZ\x1b[2J"):
        case = replace(simple_case(), facts={"bun": one_reading("bun", Decimal(6), source=source)})
        for told in (None, EncodeCache()):
            for _ in range(2):  # nor after it was asked for once
                with pytest.raises(WireError):
                    result_in(result_out(FULL) | {"evidence": ["bun"]}, MANIFEST, case, told)


def test_a_bound_that_a_plugin_was_not_told_it_cannot_cite() -> None:
    case = replace(simple_case(), facts={"bun": one_reading("bun", Interval.bound("<", Decimal(6)))})
    data = result_out(FULL) | {"evidence": ["bun"]}
    with pytest.raises(WireError):
        result_in(data, MANIFEST, case)
    found = result_in(data, replace(MANIFEST, bounds=True), case)
    assert [each.value for each in found.evidence] == ["<6"]


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
    ("evidence", ["sbp"]),  # a fact that was not in the case
    ("evidence", [["sbp", 1]]),
    ("evidence", [["bun", 4]]),  # latest, low, high and one of the series
    ("evidence", [["bun", -1]]),
    ("evidence", [["bun", True]]),
    ("evidence", [["bun", "1"]]),
    ("evidence", [[["bun"], 1]]),
    ("evidence", [{"bun": 1, "sbp": 1}]),
    ("evidence", [7]),
    ("evidence", [["bun", ["1"], "", "", ""]]),
    ("evidence", ["bun"] * 257),
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
        '{"a":1}'.encode("utf-16"),
        b'{"a":' + b"[" * 32 + b"]" * 32 + b"}",
    ],
    ids=range(15),
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
        "from umbridge.screening import sandbox;import os;sandbox._seccomp=lambda libc:False;"
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
        "from umbridge.screening.sandbox import confine;confine(os.getppid());"
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
        "from umbridge.screening.sandbox import confine;confine(1 << 22);sys.exit(9)"
    )
    assert subprocess.run([sys.executable, "-I", "-S", "-c", script], check=False, timeout=60).returncode == 0

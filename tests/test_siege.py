"""Plugins that attack while the daemon that asked them screens a feed at 100 messages a second.

Five hostile plugins are approved like any other and asked beside the three that came with umbridge. A count
of platelets, which decides nothing there, tells them which attack to make on which stay.
``UMBRIDGE_ATTACKS`` is how often each is made at the least: once here, 50 times by ``make attacks``. In
test_attacks each is tried against the host alone; test_sandbox shows that the attacks on the account succeed
without the sandbox.
"""

from __future__ import annotations

import json
import math
import os
import sys
import time
from collections import Counter, defaultdict
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import findings
import pytest
from installation import ROOT, Installation, Running
from test_attacks import MISBEHAVIOUR, PROLOGUE, TIMES
from test_host import FULL, HEAD, install
from test_plugins import queries
from test_sandbox import ATTACKS, REFUSED, TRIES

from umbridge.access.plugins import ApprovePlugin, Roster
from umbridge.commands import sample
from umbridge.run.daemon import Parts
from umbridge.store.opening import hold_writer

sys.path.insert(0, str(ROOT))
from bench import load

RATE = 100.0
CONNECTIONS = 8
SIDE_BY_SIDE = 8
CALL_SECONDS = 1.0
DRAIN_SECONDS = 2400.0
NOT_MADE = {"plugin_unavailable", "plugin_suspended"}  # the plugin was not asked: no attack, none counted
HOSTILE = [f"zz_bad{i}" for i in range(4)]
THIEF = "zz_thief"
OURS = {"interqual_like", "mcg_like", "two_midnight"}


def shared_out() -> list[dict[int, str]]:
    """For each hostile plugin, its attack by slot: those that take the whole time limit stand in one slot."""
    names = sorted(MISBEHAVIOUR, key=lambda name: ("plugin_timeout" not in MISBEHAVIOUR[name][1], name))
    return [dict(enumerate(names[i :: len(HOSTILE)], 1)) for i in range(len(HOSTILE))]


SHARES = shared_out()
SLOTS = max(max(share) for share in SHARES)
THIEF_SLOT = SLOTS
PLATELETS = "777-3^Platelets^LN"
ASKED = """
def slot(case):
    there = case.facts.get("platelets")
    return int(there.latest.value) - 200 if there else 0
"""
QUIET = "    return met(case)\n"


def source(body: str) -> str:
    head = HEAD.replace('("bun", "sbp")', '("platelets",)')
    return f"{head}{PROLOGUE}{ASKED}\n{body}"


def misbehaving(share: dict[int, str]) -> str:
    acts = "".join(
        f"def act_{number}(case):\n    if True:\n        {MISBEHAVIOUR[name][0]}\n{QUIET}"
        for number, name in share.items()
    )
    return source(
        f"{acts}ACTS = {{{', '.join(f'{n}: act_{n}' for n in share)}}}\n"
        "@hookimpl\ndef umbridge_screen(case):\n    return ACTS.get(slot(case), met)(case)\n"
    )


def stealing(given: dict[str, Any]) -> str:
    """Tries every attack on the account. The daemon's process id and port stand among the diagnoses."""
    return source(
        f"{TRIES}\nglobals().update({given!r})\nATTACKS = {ATTACKS!r}\n"
        "@hookimpl\ndef umbridge_screen(case):\n"
        f"    if slot(case) != {THIEF_SLOT}:\n    {QUIET}"
        "    told = [int(code[2:]) for code in case.diagnoses if code.startswith('ZZ')]\n"
        "    globals().update(daemon=told[0], port=told[1])\n"
        "    found = [attempt(code) for code in ATTACKS.values()]\n"
        "    scores = {f'attack_{i}': what.replace('?', 'unknown') for i, what in enumerate(found)}\n"
        "    return ScreenResult(Outcome.MEETS, 'cap', '2026.1', DIGEST, scores=scores)\n"
    )


def enlist(where: Installation, place: Path, name: str, body: str) -> None:
    """Installed as pip would, and approved by two people."""
    install(place, name, body)
    record = "".join(
        f"zz_{name}{part},,\n"
        for part in (
            "/__init__.py",
            *(f"-1.0.dist-info/{x}" for x in ("METADATA", "RECORD", "entry_points.txt")),
        )
    )
    (place / f"zz_{name}-1.0.dist-info/RECORD").write_text(record)
    with hold_writer(where.settings, Parts(where.settings).keyring) as writer:
        made: tuple[Roster, Any] = queries(where, writer)

        def person(account: str, approve: int | None) -> dict[str, Any]:
            act = ApprovePlugin.of({"plugin": name, "reason": "ZZ siege", "approve": approve})
            (row,) = made[0].approve(made[1].viewer(account, "os-account"), act)
            return row.values

        assert person("zzb", person("zza", None)["entry"])["state"] == "approved"


@dataclass
class Feed:
    """Which stay brings which attack: one in ``apart``, the others are the sample's three stories."""

    attacked: int
    apart: int

    @property
    def stays(self) -> int:
        return self.attacked * self.apart

    def slot(self, number: int) -> int:
        return 0 if number % self.apart else 1 + number // self.apart % SLOTS

    def story(self, number: int) -> str:
        return (sample.PNEUMONIA if self.slot(number) else sample.STORIES[number % 3]).name

    def stay(self, number: int, pid: int, port: int) -> list[bytes]:
        slot = self.slot(number)
        if not slot:
            return sample.stay(number, load.BEGAN)
        labs = tuple((c, str(200 + slot) if c == PLATELETS else v, u) for c, v, u in sample.PNEUMONIA.labs)
        told = sample.stay(number, load.BEGAN, replace(sample.PNEUMONIA, labs=labs))
        return [self.marked(message, pid, port) for message in told]

    @staticmethod
    def marked(message: bytes, pid: int, port: int) -> bytes:
        """With further diagnoses that carry what an attack on the daemon needs to know."""
        lines = message.split(b"\r")
        at = next((i for i, line in enumerate(lines) if line.startswith(b"DG1|")), None)
        if at is not None:
            kind = lines[at].split(b"|")[6]
            lines[at + 1 : at + 1] = [
                b"DG1|%d||ZZ%d^x^I10|||%b" % (i, number, kind) for i, number in ((2, pid), (3, port))
            ]
        return b"\r".join(lines)

    def streams(self, pid: int, port: int) -> list[list[bytes]]:
        """As ``load.feed``: one stream a connection, several stays side by side, each in its order."""
        found: list[list[bytes]] = []
        for index in range(CONNECTIONS):
            mine = [self.stay(number, pid, port) for number in range(index, self.stays, CONNECTIONS)]
            stream: list[bytes] = []
            for first in range(0, len(mine), SIDE_BY_SIDE):
                group = mine[first : first + SIDE_BY_SIDE]
                longest = max(map(len, group))
                stream += [stay[step] for step in range(longest) for stay in group if step < len(stay)]
            found.append(stream)
        return found


@dataclass
class Ledger:
    """The determinations of a siege, read back from the ledger."""

    feed: Feed
    made: Counter[str] = field(default_factory=Counter)  # attacks by name
    came: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    asked: dict[tuple[int, str, str], Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    answers: dict[tuple[str, str, str, str, str], Counter[str]] = field(
        default_factory=lambda: defaultdict(Counter)
    )
    failed: Counter[str] = field(default_factory=Counter)  # of plugins that did nothing wrong

    def take(self, opened: dict[str, dict[str, Any]]) -> None:
        ops, clin = opened["ops"], opened["clin"]
        number = int(opened["ident"]["visit"].removeprefix("ZZVN"))
        plugin, slot = ops["plugin"], self.feed.slot(number)
        failed = opened["open"]["state"] == "failed"
        said = clin["rationale"].split(":")[0] if failed else "answer"
        # the end of the grace, which the silence after the last message brings, is a question of its own
        self.asked[ops["row"], ops["review_id"], clin["judged_at"]][plugin] += 1
        assert "CANARY" not in repr(opened)
        if plugin in OURS:
            if failed:
                self.failed[f"{plugin} {said}"] += 1
                return
            kept = {name: clin.get(name) for name in ("outcome", "supported", "missing", "scores")}
            step = ops["control_id"].rpartition(".")[2]
            place = (self.feed.story(number), step, ops["review"], clin["judged_at"], plugin)
            self.answers[place][json.dumps(kept, sort_keys=True)] += 1
        elif ops["review"] == "CONTINUED_STAY":
            return  # the count of platelets is months back then: nobody was told to attack
        elif not failed and plugin == THIEF and slot == THIEF_SLOT:
            self.made[THIEF] += 1
            assert ops["isolation"] == "full"
            for i, name in enumerate(ATTACKS):
                self.came[name][clin["scores"][f"attack_{i}"]] += 1
        elif said not in NOT_MADE and plugin in HOSTILE and slot in SHARES[HOSTILE.index(plugin)]:
            name = SHARES[HOSTILE.index(plugin)][slot]
            self.made[name] += 1
            self.came[name][said] += 1
            assert said == "answer" or clin["outcome"] == "PEND", opened


def read_back(where: Installation, feed: Feed) -> Ledger:
    found = Ledger(feed)
    with hold_writer(where.settings, Parts(where.settings).keyring) as writer:
        for row in writer.ledger.open_slots(kinds=("determination",)):
            seq = row["seq"]
            assert isinstance(seq, int)
            found.take(writer.ledger.reveal(seq, ("ops", "ident", "clin")))
    return found


def drained(daemon: Running) -> dict[str, Any]:
    until = time.monotonic() + DRAIN_SECONDS
    while (status := daemon.now())["messages"].get("PENDING"):
        assert time.monotonic() < until, "rows stay pending"
        time.sleep(0.1)
    return status


@pytest.mark.slow
@pytest.mark.timeout(4800)
@pytest.mark.skipif(not FULL, reason="this kernel cannot do the full sandbox: the siege is NOT tested here")
def test_under_siege_nothing_is_lost_and_nobody_else_is_touched(
    installation: Installation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place, prey = tmp_path / "site-packages", tmp_path / "prey"
    place.mkdir()
    prey.mkdir()
    for name in ("victim", "victim2"):
        (prey / name).write_text("ZZTEST")
    secret = next(path for path in (installation.directory / "keys").iterdir() if path.is_file())
    kept = secret.read_bytes()
    (prey / "link").symlink_to(secret)
    monkeypatch.syspath_prepend(str(place))
    monkeypatch.setenv("PYTHONPATH", str(place))
    for name, share in zip(HOSTILE, SHARES, strict=True):
        enlist(installation, place, name, misbehaving(share))
    given = {"where": 4096, "abstract": f"\0zz-{os.getpid()}", "folder": str(prey), "secret": str(secret)}
    enlist(installation, place, THIEF, stealing(given))
    installation.edit(r"(?m)^seconds = 60\.0", f"seconds = {CALL_SECONDS}")
    installation.edit(r"(?m)^pending_rows", "caseworkers = 2\npending_rows")

    # Each stay is screened twice. A plugin that starts again, or waits to, is not asked: of two screens on a
    # loaded machine one in two was an attack made, and at a load of 25 one in 2.7 (49 of 130): hence more
    # stays than the count needs.
    feed = Feed(SLOTS * (TIMES if TIMES < 5 else math.ceil(TIMES * 1.5)), apart=4 if TIMES < 5 else 8)
    began = time.monotonic()
    daemon = installation.start()
    try:
        pid = daemon.process.pid
        sent = load.run("127.0.0.1", daemon.port, feed.streams(pid, daemon.port), rate=RATE, patience=120.0)
        waiting = daemon.now()["messages"].get("PENDING", 0)
        states = drained(daemon)["messages"]
        seconds = time.monotonic() - began
        roster = {row["plugin"]: row["health"] for row in installation.rows("plugins", "list")}
        assert daemon.stop() == 0
    finally:
        daemon.kill()
    found = read_back(installation, feed)
    report = json.loads(installation.run("ledger", "verify", "--level", "full", "--json").stdout)
    everybody = {*OURS, *HOSTILE, THIEF}
    determined = {row for row, _, _ in found.asked}
    wire = sent.report()
    evidence = findings.write(
        "siege",
        kinds=len(MISBEHAVIOUR) + len(ATTACKS),
        times=TIMES,
        made=sum(found.made[name] for name in MISBEHAVIOUR) + found.made[THIEF] * len(ATTACKS),
        fewest=min(found.made[name] for name in (*MISBEHAVIOUR, THIEF)),
        came={name: dict(came) for name, came in sorted(found.came.items())},
        succeeded=sum(came["done"] for name, came in found.came.items() if name in ATTACKS),
        offered_per_second=RATE,
        offered=sent.offered,
        accepted=sent.accepted,
        answered_per_second=wire["per_second"],
        answer_p99_ms=wire["p99_ms"],
        errors=sent.errors,
        states=states,
        waiting_at_the_last_answer=waiting,
        seconds=round(seconds, 1),
        determinations=sum(sum(asked.values()) for asked in found.asked.values()),
        lacking=sum(
            asked.keys() != everybody or set(asked.values()) != {1} for asked in found.asked.values()
        ),
        others_late=dict(found.failed),
        asked_of_others=sum(
            count for asked in found.asked.values() for name, count in asked.items() if name in OURS
        ),
        verdict=report["verdict"],
    )
    assert (sent.accepted, sent.errors) == (sent.offered, {}), evidence
    assert sum(states.values()) == sent.offered, evidence
    assert set(states) <= {"DETERMINED", "NOT_APPLICABLE"}, evidence
    assert states["DETERMINED"] == len(determined), evidence
    assert evidence["lacking"] == 0, evidence  # every plugin answered every question once
    # a machine that is short of cores may be late with anybody's answer: PEND with that code, and never more
    late = {"plugin_timeout", *NOT_MADE}
    assert {said.split()[1] for said in found.failed} <= late, evidence
    for where, answers in found.answers.items():  # the same stays have the same answers, attacked or not
        assert len(answers) == 1, (where, answers)
    # in the short run a plugin that is not up yet, or starts again, may miss its only turn: counted above
    assert evidence["fewest"] >= TIMES or (TIMES < 5 and len(found.made) > len(MISBEHAVIOUR) / 2), found.made
    for name, (_, allowed) in MISBEHAVIOUR.items():  # what another attack left over may be heard first
        assert "answer" in allowed or "answer" not in found.came[name], (name, found.came[name])
    for name in ATTACKS:
        assert found.came[name].keys() <= REFUSED | {"unknown"}, (name, found.came[name])
    assert {path.name for path in prey.iterdir()} == {"victim", "victim2", "link"}
    assert {(prey / name).read_text() for name in ("victim", "victim2")} == {"ZZTEST"}
    assert secret.read_bytes() == kept
    slow = {
        said.split()[0] for said in found.failed
    }  # one that was late last is started when it is next asked
    assert {roster[name] for name in OURS - slow} <= {"running"}
    assert {roster[name] for name in slow} <= {"running", "restarting", "suspended"}
    assert report["verdict"] == "PASS", evidence

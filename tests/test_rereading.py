"""Stays that were folded under other rules: read again, judged again, and marked where they differ."""

from __future__ import annotations

import asyncio
import itertools
import json
import shutil
import sqlite3
import time
from collections import Counter
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from installation import START_SECONDS, Inside, Installation
from test_upgrade import contents, kept, verdict
from umbridge_audit.entry import Draft

from umbridge.access import plugins
from umbridge.commands import sample
from umbridge.hl7 import er7
from umbridge.intake import delivery
from umbridge.lanes import rereading
from umbridge.lanes.commands import RecordWork
from umbridge.lanes.protocol import Done, Stands
from umbridge.lanes.queue import Deadline
from umbridge.review.closing import Closing
from umbridge.review.standing import LaneReviews, ReviewRecord, differs_of
from umbridge.run.daemon import Parts
from umbridge.settings.site import default_site, load_site
from umbridge.stay import anew
from umbridge.stay.fold import FORM, StayFold
from umbridge.stay.identity import event_of
from umbridge.store import engine
from umbridge.store.closing import CloseException
from umbridge.store.opening import hold_writer, open_keys
from umbridge.values.kinds import ReviewState

WHY = ("--purpose", "HPAYMT")
SITE = default_site()
BEGAN = datetime(2026, 3, 2, 20, 0, tzinfo=UTC)
LATELY = timedelta(hours=3)  # no deadline of a stay that began then passes within the hour


def made(where: Path, version: int) -> Installation:
    kept(version, where)
    one = Installation.at(where)
    one.roles("administrator", "ur_nurse")
    one.edit(r"(?m)^seconds = 2\.0", "seconds = 60.0")
    with hold_writer(one.settings, open_keys(one.settings)) as writer:
        plugins.approve_bundled(one.settings, writer, "zz")  # the copies that were approved are not kept
    return one


def read_again(one: Installation) -> None:
    """Wait until the daemon has gone through its stays."""
    wanted, until = anew.reading_of(load_site(one.settings.site)), time.monotonic() + START_SECONDS
    while note(one) != wanted:
        assert time.monotonic() < until, "never read again"
        time.sleep(0.02)


def note(one: Installation) -> str:
    with closing(sqlite3.connect(one.settings.store / engine.DATABASE)) as db:
        row = db.execute("SELECT value FROM meta WHERE name = ?", (rereading.READING,)).fetchone()
    return str(row[0]) if row else ""


def passed(one: Installation, now: datetime | None = None) -> None:
    """Wait until each moment that has passed was looked at: a kept store may be younger than a day."""
    moment = int((now or datetime.now(UTC)).timestamp() * 1e6)
    query, until = "SELECT count(*) FROM lane_due WHERE due <= ?", time.monotonic() + START_SECONDS
    while True:
        with closing(sqlite3.connect(one.settings.store / engine.DATABASE)) as db:
            if not db.execute(query, (moment,)).fetchone()[0]:
                return
        assert time.monotonic() < until, "never looked at"
        time.sleep(0.02)


def stays(one: Installation) -> list[dict[str, Any]]:
    return one.rows("stays", "list", *WHY)


def answers(one: Installation) -> list[tuple[int, str, str, int]]:
    """(row, review, plugin, how often it was answered anew) of every determination."""
    with closing(sqlite3.connect(one.settings.store / engine.DATABASE)) as db:
        query = "SELECT row, review_id, plugin, replay FROM determination ORDER BY entry"
        return [(int(a), str(b), str(c), int(d)) for a, b, c, d in db.execute(query)]


def questions(one: Installation) -> list[tuple[str, str, str | None]]:
    """(review, plugin, moment judged) of every determination: the end of the grace asks anew."""
    with hold_writer(one.settings, Parts(one.settings).keyring) as writer:
        found = [
            writer.ledger.reveal(row["seq"], ("ops", "clin"))
            for row in writer.ledger.open_slots(kinds=("determination",))
        ]
    return [(of["ops"]["review_id"], of["ops"]["plugin"], of["clin"].get("judged_at")) for of in found]


@pytest.mark.parametrize("version", [3, 6])
def test_a_store_of_before_is_judged_by_the_reading_of_today(tmp_path: Path, version: int) -> None:
    """Open reviews have a superseding answer, closed ones none; nothing that was written changes."""
    one = made(tmp_path / "site", version)
    before, had = contents(one.settings), answers(one)
    daemon = one.start()
    read_again(one)
    assert daemon.stop() == 0
    after = contents(one.settings)
    for table, rows in before.items():
        if table.startswith("ledger_"):
            assert set(map(repr, rows)) <= set(map(repr, after[table])) or table == "ledger_pending", table
    said = answers(one)[len(had) :]
    assert said
    assert all(replay for *_, replay in said)
    waits = {row["review_id"] for row in one.rows("reviews", "list", *WHY)}
    closed = {review for row in stays(one) for review in row["closed_reviews"]}
    assert closed  # of a type each
    asked = Counter(each[1:3] for each in said)  # anew, and where its moment came meanwhile then
    assert all(count <= 1 + (review in waits) for (review, _), count in asked.items())
    assert {review for review, _ in asked} >= waits
    assert [row["exceptions"] for row in stays(one) if "READ_ANEW" in row["exceptions"]] == []
    assert verdict(one.settings)[0] == "PASS"
    daemon = one.start()
    daemon.worked()
    passed(one)
    assert daemon.stop() == 0
    said = answers(one)[len(had) :]
    daemon = one.start()  # and once is enough
    daemon.worked()
    assert daemon.stop() == 0
    assert answers(one)[len(had) :] == said


def test_a_stay_that_says_something_else_is_marked_for_a_person(installation: Installation) -> None:
    installation.roles("administrator", "ur_nurse")
    daemon = installation.start()

    frames = [("", frame) for n in range(3) for frame in sample.stay(n, datetime.now(UTC) - LATELY)]
    asyncio.run(delivery.send_all("127.0.0.1", daemon.port, frames, connections=1, done=lambda sent: None))
    daemon.worked()
    read_again(installation)
    assert [row["exceptions"] for row in stays(installation) if "READ_ANEW" in row["exceptions"]] == []
    had = answers(installation)
    assert daemon.stop() == 0
    installation.edit('UMB-SPO2RA = "spo2_room_air"\n', "", "site.toml")
    daemon = installation.start()
    read_again(installation)
    marked = [row for row in stays(installation) if "READ_ANEW" in row["exceptions"]]
    assert marked
    (shown,) = installation.rows("stays", "show", marked[0]["visit"], *WHY)
    assert "READ_ANEW" in shown["exceptions"]
    assert any(f"{len(marked)} stays say something else" in warning for warning in daemon.now()["warnings"])
    assert daemon.stop() == 0
    said = answers(installation)[len(had) :]
    assert all(replay for *_, replay in said)
    assert set(marks(installation).values()) == {"facts"}
    with hold_writer(installation.settings, open_keys(installation.settings)) as writer:
        for name in marks(installation):
            lane = bytes.fromhex(name.removeprefix(anew.MARK))
            writer.call(Inside(lambda batch, lane=lane: batch.put_note(differs_of(lane), "ADMISSION-5")))
    acknowledge(installation, [row["visit"] for row in marked])
    assert marks(installation) == {}
    installation.roles("case_manager")
    differ = {row["visit"] for row in stays(installation) if "CLOSED_EARLY_DIFFERS" in row["exceptions"]}
    assert differ >= {row["visit"] for row in marked}
    close = ("stays", "acknowledge", marked[0]["visit"], "--exception", "CLOSED_EARLY_DIFFERS")
    (done,) = installation.rows(*close, "--reason", "ZZ it was right that evening")
    assert (done["exception"], done["detail"]) == ("CLOSED_EARLY_DIFFERS", "ADMISSION-5")
    (shown,) = installation.rows("stays", "show", marked[0]["visit"], *WHY)
    assert "CLOSED_EARLY_DIFFERS" not in shown["exceptions"]
    assert verdict(installation.settings)[0] == "PASS"


def acknowledge(one: Installation, visits: list[str]) -> None:
    """A person of the roles that review stays closes the exception after looking, with a reason."""
    close, why = ("stays", "acknowledge"), ("--reason", "ZZ the profile lost a code")
    for roles in (["administrator"], ["it_ops"], ["compliance_auditor"]):
        one.roles(*roles)
        one.run(*close, visits[0], *why, check=77)
    for role, visit in zip(itertools.cycle(["case_manager", "physician_advisor"]), visits, strict=False):
        one.roles(role)
        assert "reason" in one.run(*close, visit, check=2).stderr
        other = one.run(*close, visit, "--exception", "PATIENT_MISMATCH", *why, check=2)
        assert "has no PATIENT_MISMATCH" in other.stderr
        (done,) = one.rows(*close, visit, *why)
        assert done == {
            "exception": "READ_ANEW",
            "detail": "facts",
            "state": "closed",
            "entry": done["entry"],
        }
        (entry,) = one.rows("ledger", "show", str(done["entry"]), *WHY)
        told = entry["slots"]
        assert (told["patient"], told["exception"], told["detail"]) == (visit, "READ_ANEW", "facts")
        assert (told["roles"], told["reason"]) == ([role], why[1])
        (shown,) = one.rows("stays", "show", visit, *WHY)
        assert "READ_ANEW" not in shown["exceptions"]
        assert visit not in one.run(*close, visit, *why, check=2).stderr  # not another time
    one.run(*close, "ZZNOBODY", *why, check=1)
    one.roles("him")  # what is hidden is not printed as if it were empty
    text = one.run("stays", "show", visits[0], "--purpose", "PATRQT").stdout
    assert "authorizations" in text.splitlines()[-1].removeprefix("not shown to your role: ").split()
    assert not any(line.startswith("authorizations") for line in text.splitlines())


def test_a_kill_on_the_way_leaves_the_rest_to_the_next_start(tmp_path: Path) -> None:
    one = made(tmp_path / "site", 6)
    had = questions(one)
    daemon = one.start()
    daemon.kill()
    daemon = one.start()
    read_again(one)
    assert daemon.stop() == 0
    said = questions(one)[len(had) :]
    assert said
    assert len(said) == len(set(said))  # each was asked once, whichever daemon did it
    assert verdict(one.settings)[0] == "PASS"


def marks(one: Installation) -> dict[str, str]:
    with closing(sqlite3.connect(one.settings.store / engine.DATABASE)) as db:
        rows = db.execute("SELECT name, value FROM meta WHERE name LIKE 'anew/%'")
        return {str(name): str(value) for name, value in rows}


def heads(one: Installation) -> dict[bytes, bytes]:
    with closing(sqlite3.connect(one.settings.store / engine.DATABASE)) as db:
        return {
            bytes(lane): bytes(sealed) for lane, sealed in db.execute("SELECT lane, sealed FROM stay_head")
        }


def test_a_kill_after_the_last_fold_loses_no_mark(installation: Installation, tmp_path: Path) -> None:
    """The mark is written with the fold: there is no moment between the two."""
    installation.roles("administrator", "ur_nurse")
    daemon = installation.start()
    frames = [("", frame) for n in range(6) for frame in sample.stay(n, datetime.now(UTC) - LATELY)]
    asyncio.run(delivery.send_all("127.0.0.1", daemon.port, frames, connections=1, done=lambda sent: None))
    daemon.worked()
    read_again(installation)
    assert daemon.stop() == 0
    installation.edit('UMB-SPO2RA = "spo2_room_air"\n', "", "site.toml")
    shutil.copytree(installation.directory, tmp_path / "other")
    other = Installation.at(tmp_path / "other")
    daemon = other.start()
    read_again(other)
    assert daemon.stop() == 0
    assert set(marks(other).values()) == {"facts"}

    before = heads(installation)
    daemon = installation.start()
    until = time.monotonic() + START_SECONDS
    while any(before[lane] == sealed for lane, sealed in heads(installation).items()):
        assert time.monotonic() < until, "never folded again"
    daemon.kill()
    daemon = installation.start()
    read_again(installation)
    assert daemon.stop() == 0
    assert marks(installation) == marks(other)


def test_a_mark_goes_with_a_stay_that_is_joined(installation: Installation) -> None:
    gone, into = b"\1" * 32, b"\2" * 32
    work = Deadline(BEGAN)
    done = Done(BEGAN, b"{}", [], differs=("facts",))
    common: dict[str, Any] = {"work": work, "seq": 1, "said": LaneReviews(), "due": None, "open": None}
    with hold_writer(installation.settings, open_keys(installation.settings)) as writer:
        writer.call(RecordWork(lane=gone, done=done, **common))
        writer.call(RecordWork(lane=into, done=replace(done, differs=("times",)), **common))
        writer.call(RecordWork(lane=into, done=replace(done, differs=()), gone=(gone,), **common))
        with writer.reading() as reader:
            assert reader.notes_under(anew.MARK) == {anew.mark_of(into): "facts times"}


def test_a_review_that_differs_is_said_once_and_no_longer_than_it_does(installation: Installation) -> None:
    """A person who closed the exception is not told again of the same review, but is of another."""
    lane, other = b"\2" * 32, b"\3" * 32
    common: dict[str, Any] = {"work": Deadline(BEGAN), "seq": 1, "due": None, "open": None}
    closed = {name: ReviewRecord(ReviewState.CLOSED, {}, Closing(1, 2, 3)) for name in ("A-1", "O-2")}
    said = LaneReviews(BEGAN, closed)
    with hold_writer(installation.settings, open_keys(installation.settings)) as writer:

        def work(
            before: LaneReviews, where: bytes, gone: tuple[bytes, ...] = (), **differ: bool
        ) -> LaneReviews:
            stands = [Stands(name[0] + "-" + name[1], Closing(1, 2, 3, its)) for name, its in differ.items()]
            done = Done(BEGAN, b"{}", [], stands=stands)
            found = writer.call(RecordWork(lane=where, done=done, said=before, gone=gone, **common))
            return found.said

        def noted(where: bytes = lane) -> str | None:
            with writer.reading() as reader:
                return reader.note(differs_of(where))

        one = work(said, lane, A1=False)
        assert noted() is None
        one = work(one, lane, A1=True)
        assert noted() == "A-1"
        draft = Draft("exception.close", {"actor": "zz"})
        writer.call(CloseException(lane=lane, code="CLOSED_EARLY_DIFFERS", seq=1, reading="", draft=draft))
        one = work(one, lane, A1=True)
        assert noted() is None  # not of the same again
        one = work(one, lane, O2=True)
        assert noted() == "O-2"
        one = work(one, lane, O2=False)
        assert noted() is None
        one = work(one, lane, O2=True)
        work(said, other)
        assert work(one, other, (lane,)).differing == {"A-1", "O-2"}  # joined: its note comes with it
        assert (noted(), noted(other)) == (None, "O-2")


# --- what is compared -------------------------------------------------------------------------------


def fold() -> StayFold:
    one = StayFold(SITE)
    for seq, frame in enumerate(sample.stay(0, BEGAN), 1):
        one.apply(event_of(er7.parse(frame), SITE), seq)
    return one


def test_the_same_reading_differs_in_nothing() -> None:
    one = fold()
    outline = anew.outline_of(one)
    assert outline.facts
    assert anew.differences(outline, outline) == ()
    other = outline._replace(status=("active", "OBSERVATION"), discharged=1, facts={})
    assert anew.differences(outline, other) == ("status", "times", "facts")
    later = outline._replace(facts={fact: (at + 1, value) for fact, (at, value) in outline.facts.items()})
    assert anew.differences(outline, later) == ()  # when it counts is no value


@pytest.mark.parametrize("form", range(4, FORM))
def test_forms_from_4_on_are_read_as_they_stand(form: int) -> None:
    """Else every stay of a store of before would pass for one that says something else."""
    one, increments = StayFold(SITE), []
    for seq, frame in enumerate(sample.stay(0, BEGAN), 1):
        increments.append(one.apply(event_of(er7.parse(frame), SITE), seq) or b"{}")
    state = json.loads(one.head())
    state["form"] = form
    outline = anew.outline_stored(SITE, json.dumps(state).encode(), increments)
    assert outline == anew.outline_of(one)
    assert outline.facts


def test_form_3_is_read_as_it_was_meant() -> None:
    """A later stage, then a later message, takes the place; what was withdrawn is none."""
    course = {"lifecycle": "active", "spans": [["INPATIENT", 1]], "discharged_at": None, "patient": "1"}
    head = json.dumps({"form": 3, "site": "zz", "course": course}).encode()

    def row(at: int, stage: int, sent: int, value: str | None, whose: str = "1") -> list[Any]:
        return ["sodium", at, "R", "2951-2", whose, stage, sent, 1, value, "", "ZZ OBX[1]-5"]

    def facts(*rows: list[Any]) -> dict[str, tuple[int, str]]:
        return anew.outline_stored(SITE, head, [json.dumps({"facts": [one]}).encode() for one in rows]).facts

    assert facts(row(5, 2, 1, "122"), row(5, 3, 2, "138"), row(5, 2, 3, "122")) == {"sodium": (5, "138")}
    assert facts(row(5, 2, 1, "122"), row(5, 3, 2, None)) == {}
    assert facts(row(5, 2, 1, "122"), row(6, 2, 1, "130", "2")) == {"sodium": (5, "122")}
    assert facts(row(5, 2, 1, "122"), row(6, 2, 1, "130", "")) == {"sodium": (6, "130")}

"""A row's result depends on the rows before it, not on who worked them or what was remembered."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from importlib.resources import files
from pathlib import Path

import pytest
from test_host import install
from umbridge_audit.slots import SCHEMAS

from umbridge.commands import sample
from umbridge.dryrun.screen import Shadow
from umbridge.lanes.asking import questions_of
from umbridge.lanes.protocol import (
    Done,
    Failed,
    Need,
    NeedRows,
    NeedSnapshot,
    Reread,
    SealedOut,
    Snapshot,
    TakeIn,
    Task,
    WholeLane,
)
from umbridge.lanes.underway import to_screen
from umbridge.lanes.work import StayWork
from umbridge.review.plan import reviews
from umbridge.review.standing import InForce, LaneReviews
from umbridge.screening.host import Host
from umbridge.settings.site import SiteProfile, default_site, load_site

BEGAN = datetime(2026, 3, 2, 8, tzinfo=UTC)
NUMBER = SCHEMAS["determination"].number
LANE = b"\x01" * 32
NAMES = {"interqual_like": "zz-one", "mcg_like": "zz-two"}


@pytest.fixture(scope="module")
def host() -> Iterator[Host]:
    host = Host(call_seconds=60.0)
    host.start(sorted(NAMES))
    yield host
    host.stop()


def pool(host: Host, site: SiteProfile | None = None, **more: int) -> StayWork:
    return StayWork(site or default_site(), host, charsets={}, **more)


def one(stay_work: StayWork, task: Task) -> Done | Need | Failed:
    (answer,) = stay_work.work([task])
    return answer


class Book:
    """What the daemon keeps between rows, and what it sends with the next one."""

    def __init__(self) -> None:
        self.task = Task(0, LANE, "zz", b"", 0, LaneReviews(), NAMES)
        self.increments: list[bytes] = []
        self.head = b""
        self.rows: list[SealedOut] = []

    def next(self, frame: bytes, *, snapshot: bool = False, rows: bool = False) -> Task:
        seq = len(self.rows) + 1
        received = (BEGAN + timedelta(minutes=30 * seq)).isoformat()
        self.rows.append(SealedOut(seq, "zz", frame, received=received))
        return replace(
            self.task,
            seq=seq,
            frame=frame,
            received=received,
            after=seq - 1,
            stored=WholeLane(tuple(self.rows))
            if rows
            else Snapshot(self.head, tuple(self.increments))
            if snapshot and seq > 1
            else None,
        )

    def take(self, done: Done | Need | Failed) -> Done:
        assert isinstance(done, Done), done
        self.head = done.head
        self.increments += [made for _, made in done.increments]
        answers = [
            (each.review, each.plugin, InForce.of(each.verdict, entry=number, outcome=each.outcome))
            for number, each in enumerate(done.determined)
        ]
        states = [(each.review, each.state) for each in done.changed]
        stands = [(each.review, each.closing, each.reopened) for each in done.stands]
        said = self.task.said.after(done.as_of, answers, states, stands, done.raised)
        self.task = replace(self.task, said=said)
        return done


def timeless(done: Done) -> Done:
    """Without the one thing that a clock decides."""
    for item in done.determined:
        item.texts[NUMBER["latency_us"]] = "0"
    return done


@pytest.mark.parametrize("kind", [sample.PNEUMONIA, None])
def test_remembered_restored_or_folded_anew_a_row_comes_to_the_same(host: Host, kind: object) -> None:
    told = sample.stay(3, BEGAN, kind) if kind else sample.stay(4, BEGAN)  # type: ignore[arg-type]
    kept, restored, anew = Book(), Book(), Book()
    remembering = pool(host)
    screened = 0
    for frame in told:
        first = timeless(kept.take(one(remembering, kept.next(frame))))
        second = timeless(restored.take(one(pool(host), restored.next(frame, snapshot=True))))
        third = timeless(anew.take(one(pool(host), anew.next(frame, rows=True))))
        assert first == second == third
        screened += len(first.determined)
    assert screened > 0
    assert kept.task.said.reviews
    assert None not in {each.state for each in kept.task.said.reviews.values()}


def test_an_undated_message_is_read_by_its_receipt_whoever_folds_it(host: Host) -> None:
    """MSH-7 taken away: the row's receipt comes with the frame, also where the lane is folded anew."""
    told = [
        re.sub(rb"^((?:[^|]*\|){6})[^|]*", rb"\1", each) for each in sample.stay(3, BEGAN, sample.PNEUMONIA)
    ]
    kept, anew = Book(), Book()
    remembering = pool(host)
    for frame in told:
        first = kept.take(one(remembering, kept.next(frame)))
        assert first.as_of.year == BEGAN.year
        assert timeless(first) == timeless(anew.take(one(pool(host), anew.next(frame, rows=True))))
    assert kept.task.said.as_of == datetime.fromisoformat(kept.rows[-1].received)


def test_a_fold_that_stands_elsewhere_is_not_used(host: Host) -> None:
    told = sample.stay(3, BEGAN, sample.PNEUMONIA)
    book, work = Book(), pool(host)
    book.take(one(work, book.next(told[0])))
    ahead = replace(book.next(told[1]), after=7)
    assert one(work, ahead) == NeedSnapshot()
    # and it is gone: what was not committed must not be built upon
    assert one(work, replace(ahead, after=1)) == NeedSnapshot()


def test_a_row_that_fails_leaves_no_fold_behind(host: Host) -> None:
    told = sample.stay(3, BEGAN, sample.PNEUMONIA)
    book, work = Book(), pool(host)
    book.take(one(work, book.next(told[0])))
    assert one(work, replace(book.next(b"not HL7 at all"), after=1)) == Failed("NotHl7Error")
    assert one(work, replace(book.next(told[1]), after=1)) == NeedSnapshot()


def test_another_site_profile_asks_for_every_row_and_writes_every_increment(host: Host) -> None:
    told = sample.stay(3, BEGAN, sample.PNEUMONIA)
    book = Book()
    for frame in told[:-1]:
        book.take(one(pool(host), book.next(frame, snapshot=True)))
    site = default_site()
    other = replace(site, digest="sha256:" + "0" * 64)
    last = book.next(told[-1], snapshot=True)
    assert one(pool(host, other), last) == NeedRows(renew=True)
    done = one(pool(host, other), replace(last, stored=WholeLane(tuple(book.rows), renew=True)))
    assert isinstance(done, Done)
    whole = [made for _, made in done.increments]
    assert whole[: len(book.increments)] == book.increments
    assert len(book.increments) > 0


def test_a_stay_that_is_folded_under_other_rules_says_what_differs_and_not_what_is_new(
    host: Host, tmp_path: Path
) -> None:
    """Whatever has it folded again: also where it is the next message, as no earlier try could fold it."""
    site, book = default_site(), Book()
    told = list(sample.stay(1, BEGAN))
    work = pool(host, site)
    for frame in told[:-1]:
        book.take(one(work, book.next(frame)))
    text = files("umbridge.settings").joinpath("default_site.toml").read_text("utf-8")
    (tmp_path / "site.toml").write_text(text.replace('UMB-MELENA = "melena"', ""), encoding="utf-8")
    (tmp_path / "same.toml").write_text(f"{text}# not read otherwise", encoding="utf-8")
    other, same = load_site(tmp_path / "site.toml"), load_site(tmp_path / "same.toml")
    last, before = book.next(told[-1]), Snapshot(book.head, tuple(book.increments))
    whole = WholeLane(tuple(book.rows), renew=True, before=before)
    for purpose, rows in ((TakeIn(), whole), (Reread(), replace(whole, rows=whole.rows[:-1]))):
        task = replace(last, stored=rows, purpose=purpose)
        done = one(pool(host, other), task)
        assert isinstance(done, Done) and done.differs == ("facts",)
        done = one(pool(host, same), task)
        assert isinstance(done, Done) and done.differs == ()
    done = one(pool(host, site), replace(last, stored=whole))
    assert isinstance(done, Done) and done.differs == ()  # the same rules


def test_a_late_event_needs_no_row_read_again(host: Host) -> None:
    told = sample.stay(3, BEGAN, sample.PNEUMONIA)
    opening = next(frame for frame in told if b"ADT^A0" in frame.split(b"\r")[0])

    def at(moment: datetime) -> bytes:
        """The same registration, said to have happened then."""
        stamp = f"{moment:%Y%m%d%H%M%S}".encode()
        lines = [
            b"|".join([*line.split(b"|")[:2], stamp, *line.split(b"|")[3:]])
            if line.startswith(b"EVN")
            else line
            for line in opening.replace(b"ADT^A01^", b"ADT^A08^")
            .replace(b"ADT^A04^", b"ADT^A08^")
            .split(b"\r")
        ]
        return b"\r".join(b"EVN||" + stamp if line.startswith(b"EVN") else line for line in lines)

    book, work = Book(), pool(host)
    for step in range(70):
        book.take(one(work, book.next(at(BEGAN + timedelta(minutes=step + 10)))))
    late = book.next(at(BEGAN))
    done = one(work, late)
    assert isinstance(done, Done)
    again = one(pool(host), replace(late, stored=WholeLane(tuple(book.rows))))
    assert isinstance(again, Done) and json.loads(again.head) == json.loads(done.head)


def test_rows_put_together_come_to_what_each_comes_to_alone(host: Host) -> None:
    """Two pneumonias, one of each other kind, a row that fails and one that needs its snapshot."""
    stories = [sample.stay(number, BEGAN) for number in range(4)] + [sample.stay(9, BEGAN, sample.PNEUMONIA)]
    alone = [Book() for _ in stories]
    together = [Book() for _ in stories]
    first, second = pool(host), pool(host)
    for step in range(min(map(len, stories))):
        want = [
            book.take(one(first, replace(book.next(told[step]), lane=bytes([number]) * 32)))
            for number, (book, told) in enumerate(zip(alone, stories, strict=True))
        ]
        tasks = [
            replace(book.next(told[step]), lane=bytes([number]) * 32)
            for number, (book, told) in enumerate(zip(together, stories, strict=True))
        ]
        odd = [
            replace(tasks[0], lane=b"\xee" * 32, after=0, frame=b"not HL7"),
            replace(tasks[0], lane=b"\xef" * 32, after=5),
        ]
        *got, failed, needs = second.work([*tasks, *odd])
        assert (failed, needs) == (Failed("NotHl7Error"), NeedSnapshot())
        for book, each, wanted in zip(together, got, want, strict=True):
            assert timeless(book.take(each)) == timeless(wanted)


def test_memory_is_bounded_by_the_cache(host: Host) -> None:
    work = pool(host, cache=2)
    told = sample.stay(3, BEGAN, sample.PNEUMONIA)
    for number in range(4):
        book = Book()
        book.take(one(work, replace(book.next(told[0]), lane=bytes([number]) * 32)))
    again = replace(Book().next(told[1]), seq=2, after=1)
    asked = [one(work, replace(again, lane=bytes([number]) * 32)) for number in range(4)]
    assert [isinstance(each, Need) for each in asked[:2]] == [True, True]
    assert [isinstance(each, Done) for each in asked[2:]] == [True, True]


def test_a_review_that_meets_is_still_put_to_the_plugins() -> None:
    from umbridge.hl7 import er7
    from umbridge.hl7.translate import translate
    from umbridge.stay.fold import StayFold

    site = default_site()
    fold = StayFold(site)
    for seq, frame in enumerate(sample.stay(3, BEGAN, sample.PNEUMONIA), 1):
        event = translate(er7.parse(frame), site.zone, mrn_authority=site.mrn_authority)
        fold.apply(event, seq)
    stay = fold.stay(event.sent_at)
    before = to_screen(reviews(stay))
    assert before
    after = to_screen(reviews(stay, frozenset({before[0].id})))
    assert {each.id for each in before} <= {each.id for each in after}


def test_every_fact_is_looked_up_while_a_plugin_has_not_said_what_it_wants(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(tmp_path, "down", "raise RuntimeError")
    monkeypatch.syspath_prepend(str(tmp_path))
    run = Shadow(default_site())
    for message in sample.stay(1, datetime(2026, 3, 2, 14, tzinfo=UTC), sample.PNEUMONIA):
        run.take(message)
    (lane,) = run.lanes.values()
    assert lane.as_of is not None
    stay = lane.fold.stay(lane.as_of)
    host = Host(call_seconds=60.0)
    host.start(["down"])
    try:
        ((_, whole),) = questions_of(lane.fold, stay, to_screen(reviews(stay)), host)
    finally:
        host.stop()
    assert whole.facts.keys() >= {"age", "bun", "platelets"}

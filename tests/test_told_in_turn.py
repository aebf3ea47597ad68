"""Vignettes told message by message, as a daemon has them: what closes on the way, and what opens again.

``screen`` looks once, at the end. A daemon looks after each message, and in silence when a moment comes; by
then a review may have closed, and must be what it is expected to be all the same.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from functools import lru_cache
from pathlib import Path
from typing import Any

import pytest
from installation import SHARED
from test_work import Book, one

from umbridge.hl7 import er7
from umbridge.lanes.protocol import Done, Silence, Snapshot
from umbridge.lanes.work import StayWork
from umbridge.screening.host import Host
from umbridge.settings.site import SiteProfile, load_site
from umbridge.stay.identity import event_of

VIGNETTES = SHARED / "vignettes"
NAMES = dict.fromkeys(("interqual_like", "mcg_like", "two_midnight"), "zz")


def _expected() -> dict[str, dict[str, Any]]:
    found = {
        path.parent.name: json.loads(path.read_text()) for path in VIGNETTES.glob("cases/*/expected.json")
    }
    return {name: each for name, each in sorted(found.items()) if "review_state" in each}


@pytest.fixture(scope="module")
def host() -> Iterator[Host]:
    host = Host(call_seconds=60.0)
    host.start(sorted(NAMES))
    yield host
    host.stop()


@lru_cache
def _site(path: Path) -> SiteProfile:
    return load_site(path)


class LaneQueue:
    """One vignette's stay, and the moments that come between its messages."""

    def __init__(self, host: Host, site: SiteProfile) -> None:
        self.book, self.host, self.site = Book(), host, site
        self.book.task = replace(self.book.task, pseudonyms=NAMES)
        self.due: datetime | None = None

    def take(self, frame: bytes) -> None:
        self._work(self.book.next(frame, snapshot=True))

    def wait(self, until: datetime) -> None:
        """Each moment that comes by then, in silence."""
        while self.due is not None and self.due <= until:
            book = self.book
            last = replace(book.task, seq=len(book.rows), frame=book.rows[-1].frame, after=len(book.rows))
            stored = Snapshot(book.head, tuple(book.increments))
            self._work(replace(last, purpose=Silence(self.due), stored=stored))

    def _work(self, task: Any) -> Done:
        done = self.book.take(one(StayWork(self.site, self.host, charsets={}), task))
        self.due = done.due
        return done


@pytest.mark.skipif(not VIGNETTES.exists(), reason="../shared is not here")
@pytest.mark.parametrize("name", _expected())
def test_a_review_is_as_expected_after_each_message_in_turn(name: str, host: Host) -> None:
    expected = _expected()[name]
    site = _site(VIGNETTES / expected.get("site", "site.toml"))
    turns, until = LaneQueue(host, site), datetime.fromisoformat(expected["as_of"])
    for path in sorted((VIGNETTES / "cases" / name).glob("*.hl7")):
        event = event_of(er7.parse(path.read_bytes()), site)
        if event.visit.number == expected["visit"] and event.sent_at <= until:
            turns.wait(event.sent_at - timedelta(microseconds=1))
            turns.take(path.read_bytes())
    turns.wait(until)
    said = turns.book.task.said
    states = [str(each.state) for name, each in said.reviews.items() if name.startswith(expected["review"])]
    assert states == [expected["review_state"]]
    assert (said.differing, said.raised) == (frozenset(), ())
    assert not any(each.reopened for each in said.reviews.values())

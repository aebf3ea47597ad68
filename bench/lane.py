"""What the next message of a stay costs when its lane is short and when it is long: no sockets, no store."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta

from bench.load import BEGAN
from umbridge import sample
from umbridge.hl7 import er7
from umbridge.hl7.translate import translate
from umbridge.model import Event, ReviewState
from umbridge.review.case import case
from umbridge.review.plan import reviews
from umbridge.site import SiteProfile, default_site
from umbridge.stay.facts import dictionary
from umbridge.stay.fold import StayFold

STEP = timedelta(seconds=5)  # a monitor: 10,000 messages in 14 hours, so that the days do not grow as well
SAMPLES = 200


def events(site: SiteProfile, count: int) -> list[Event]:
    """One stay of ``count`` messages: admitted, then vital signs every five seconds, each tenth an A08."""
    opening = sample.stay(0, BEGAN)
    raw = list(opening)
    step = 0
    while len(raw) < count:
        step += 1
        later = sample.stay(0, BEGAN + timedelta(hours=2) + step * STEP)
        if step % 10:
            raw.append(later[1])
        else:
            raw.append(later[-1].replace(b"ADT^A01^", b"ADT^A08^").replace(b"\rEVN|A01|", b"\rEVN|A08|"))
    return [
        translate(er7.parse(message), site.zone, mrn_authority=site.mrn_authority) for message in raw[:count]
    ]


class Lane:
    """A lane as the pipeline works it: fold, view, planned reviews, the questions, the head to store."""

    def __init__(self, site: SiteProfile, told: Sequence[Event]) -> None:
        self._site = site
        self._told = told
        self._fold = StayFold(site)
        self._facts = frozenset(dictionary())
        self._as_of = datetime.min.replace(tzinfo=BEGAN.tzinfo)
        self.applied = 0

    def fold(self) -> None:
        """Take in the next message."""
        event = self._told[self.applied]
        self.applied += 1
        self._fold.apply(event, self.applied)
        self._as_of = max(self._as_of, event.sent_at)

    def ask(self) -> None:
        """All that follows short of the plugins and the commit."""
        stay = self._fold.stay(self._as_of)
        for review in reviews(stay, frozenset()):
            if review.state is ReviewState.OPEN:
                case(self._fold, stay, review, self._as_of, self._facts, "zz-bench")
        self._fold.head()


def cost(lengths: tuple[int, int], progress: Callable[[int], None]) -> dict[str, float]:
    """CPU microseconds (median) of the next message after so many: its fold, and its way to the plugins."""
    site = default_site()
    told = events(site, max(lengths) + SAMPLES)
    found: dict[str, float] = {}
    for length in lengths:
        folds: list[float] = []
        wholes: list[float] = []
        turns = 20 if length < 1000 else 1  # a short lane soon is a longer one: start again and again
        for _ in range(turns):
            lane = Lane(site, told)
            while lane.applied < length:
                lane.fold()
                progress(lane.applied)
            lane.ask()
            for _ in range(SAMPLES // turns):
                began = time.process_time()
                lane.fold()
                folded = time.process_time()
                lane.ask()
                folds.append(folded - began)
                wholes.append(time.process_time() - began)
        found[f"fold_us_after_{length}"] = round(statistics.median(folds) * 1e6, 1)
        found[f"message_us_after_{length}"] = round(statistics.median(wholes) * 1e6, 1)
    short, long = lengths
    for what in ("fold", "message"):
        found[f"{what}_ratio"] = round(
            found[f"{what}_us_after_{long}"] / found[f"{what}_us_after_{short}"], 2
        )
    return found

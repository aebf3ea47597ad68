"""What the next message of a stay costs when its lane is short and when it is long: no sockets, no store.

``python bench/lane.py`` prints a table by shape of the lane and by its length, in CPU microseconds a message,
measured in turn in one run. ``vitals``: a monitor, and each tenth an A08. ``adt``: registration updates and
transfers alone. ``backwards``: vitals, newest first, looked at after each message, as the daemon does; its
results cost the same, and what has to be folded again are the ADT events told earlier (0119).
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))  # run as a file, it finds the tree it is part of

from bench.load import BEGAN
from umbridge.commands import sample
from umbridge.hl7 import er7
from umbridge.hl7.translate import translate
from umbridge.model import Event
from umbridge.review.case import case
from umbridge.review.plan import reviews
from umbridge.settings.site import SiteProfile, default_site
from umbridge.stay.dictionary import dictionary
from umbridge.stay.fold import StayFold
from umbridge.values.kinds import ReviewState

STEP = timedelta(seconds=5)  # a monitor: 10,000 messages in 14 hours, so that the days do not grow as well
SAMPLES, TURNS = 400, 40
SHAPES = ("vitals", "adt", "backwards")


def messages(count: int, shape: str = "vitals") -> list[bytes]:
    """One stay of so many messages: admitted, then vital signs every five seconds, each tenth an A08.

    What an ADT message says of the admission (PV1) stays what it was: one that moved the admission would have
    all that follows folded again.
    """
    opening = sample.stay(0, BEGAN)
    raw = list(opening)
    admitted = next(line for line in opening[-1].split(b"\r") if line.startswith(b"PV1|"))
    step = 0
    while len(raw) < count:
        step += 1
        later = sample.stay(0, BEGAN + timedelta(hours=2) + step * STEP)
        if step % 10 and shape != "adt":
            raw.append(later[1])
            continue
        trigger = b"A02" if shape == "adt" and step % 2 else b"A08"
        lines = (
            later[-1]
            .replace(b"ADT^A01^", b"ADT^%b^" % trigger)
            .replace(b"\rEVN|A01|", b"\rEVN|%b|" % trigger)
        )
        raw.append(b"\r".join(admitted if each.startswith(b"PV1|") else each for each in lines.split(b"\r")))
    return raw[:count] if shape != "backwards" else raw[:count][::-1]


class Lane:
    """A lane as the pipeline works it: fold, view, planned reviews, the questions, the head to store."""

    def __init__(self, site: SiteProfile, told: Sequence[bytes]) -> None:
        self._site = site
        self._told = told
        self._fold = StayFold(site)
        self._facts = frozenset(dictionary())
        self._as_of = datetime.min.replace(tzinfo=BEGAN.tzinfo)
        self.applied = 0

    def read(self) -> Event:
        """The next message, fresh from the wire as a lane worker has it."""
        return translate(
            er7.parse(self._told[self.applied]), self._site.zone, mrn_authority=self._site.mrn_authority
        )

    def fold(self, event: Event) -> None:
        """Take it in."""
        self.applied += 1
        self._fold.apply(event, self.applied)
        self._as_of = max(self._as_of, event.sent_at)

    def ask(self) -> None:
        """All that follows short of the plugins and the commit."""
        stay = self._fold.stay(self._as_of)
        for review in reviews(stay, frozenset()):
            if review.state is ReviewState.OPEN:
                case(self._fold, stay, review, self._facts, "zz-bench")
        self._fold.head()


def cost(lengths: tuple[int, int], progress: Callable[[int], None]) -> dict[str, float]:
    """CPU microseconds (median) of the next message after so many: its fold, and its way to the plugins."""
    site = default_site()
    short, long = lengths
    told = messages(max(lengths) + SAMPLES)
    folds: dict[int, list[float]] = {length: [] for length in lengths}
    wholes: dict[int, list[float]] = {length: [] for length in lengths}

    def lane_of(length: int) -> Lane:
        lane = Lane(site, told)
        while lane.applied < length:
            lane.fold(lane.read())
            progress(lane.applied)
        lane.ask()
        return lane

    at_length = lane_of(long)
    for _ in range(TURNS):  # a short lane soon is a longer one: begun again and again, beside the long one
        for length, lane in ((short, lane_of(short)), (long, at_length)):
            for _ in range(SAMPLES // TURNS):
                event = lane.read()
                began = time.process_time()
                lane.fold(event)
                folded = time.process_time()
                lane.ask()
                wholes[length].append(time.process_time() - began)
                folds[length].append(folded - began)
    found: dict[str, float] = {}
    for length in lengths:
        found[f"fold_us_after_{length}"] = round(statistics.median(folds[length]) * 1e6, 1)
        found[f"message_us_after_{length}"] = round(statistics.median(wholes[length]) * 1e6, 1)
    for what in ("fold", "message"):
        found[f"{what}_ratio"] = round(
            found[f"{what}_us_after_{long}"] / found[f"{what}_us_after_{short}"], 2
        )
    return found


def growth(shape: str, lengths: Sequence[int], samples: int = 40) -> list[tuple[float, float]]:
    """CPU microseconds a message at the end of lanes so long: the fold, and all short of the plugins."""
    site = default_site()
    found = []
    for length in lengths:
        lane = Lane(site, messages(length, shape))
        folds, wholes = [], []
        for number in range(length):
            event = lane.read()
            began = time.process_time()
            lane.fold(event)
            folded = time.process_time()
            if length - number <= samples or shape == "backwards":
                lane.ask()
            folds.append(folded - began)
            wholes.append(time.process_time() - began)
        last = slice(-min(samples, max(1, length // 2)), None)
        found.append((statistics.median(folds[last]) * 1e6, statistics.median(wholes[last]) * 1e6))
    return found


def main() -> None:
    lengths = tuple(map(int, sys.argv[1:])) or (10, 100, 1_000, 10_000)
    print(f"{'CPU µs a message: fold / all':32}" + "".join(f"{length:>18,}" for length in lengths))
    for shape in SHAPES:
        # A look after each message of a feed that runs backwards folds its ADT events again: see 0119.
        asked = [length for length in lengths if shape != "backwards" or length <= 1_000]
        row = "".join(f"{fold:9,.0f} /{whole:7,.0f}" for fold, whole in growth(shape, asked))
        print(f"{shape:32}{row}")


if __name__ == "__main__":
    main()

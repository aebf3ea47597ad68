"""What one message does to its stay: folded in, reviews planned, plugins asked, all spelt for the ledger.

No store, no clock, no key: the same row after the same rows gives the same result, whoever works it.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from umbridge_audit.entry import Draft
from umbridge_audit.slots import SCHEMAS

from umbridge.casework.docket import Changed, Determined, Done, Need, SealedOut, Task
from umbridge.criteria.host import Host, Screened
from umbridge.hl7 import er7
from umbridge.hl7.translate import translate
from umbridge.model import Event, ReviewState
from umbridge.review.case import case
from umbridge.review.plan import Review, completed, reviews
from umbridge.review.record import changed_draft, determination_draft, is_met
from umbridge.review.waves import LEVEL_SUPPORTED, level_supported, waves
from umbridge.site import SiteProfile
from umbridge.stay.fold import NeedsRefold, Stay, StayFold


@dataclass(frozen=True, slots=True)
class Screening:
    """One review of one stay, asked and answered."""

    review: Review
    plugin: str
    screened: Screened
    wave: int = 1


def to_screen(stay: Stay, done: frozenset[str]) -> tuple[Review, ...]:
    """The reviews a message is put to: the open ones, and those that MEETS closed and nothing else has.

    A result that is corrected or withdrawn after MEETS must be seen: the screen is asked again, supersedes
    the earlier one, and the review opens again when it no longer meets.
    """
    open_now = [review for review in reviews(stay, done) if review.state is ReviewState.OPEN]
    if not done:
        return tuple(open_now)
    still = [
        review
        for review in reviews(stay, frozenset())
        if review.state is ReviewState.OPEN and review.id in done
    ]
    return (*open_now, *still)


def screen_open(
    fold: StayFold,
    stay: Stay,
    asked: tuple[Review, ...],
    as_of: datetime,
    host: Host,
    pseudonym: Callable[[str], str],
) -> list[Screening]:
    """Ask every plugin about every review given; the same function serves the daemon and the shadow run.

    Plugins that want what the others support are asked when the others have answered.
    """
    done: list[Screening] = []
    roster = host.plugins
    first, _ = waves({info.name: info.facts for info in roster})
    wanted = frozenset(fact for info in roster for fact in info.facts)  # looked up once for all of them
    for review in asked:
        whole = case(fold, stay, review, as_of, wanted, "")
        cases = {
            info.name: replace(
                whole,
                pseudonym=pseudonym(info.name),
                facts={fact: whole.facts[fact] for fact in info.facts if fact in whole.facts},
            )
            for info in roster
        }
        answers = host.screen({name: cases.pop(name) for name in first})
        done.extend(Screening(review, name, screened) for name, screened in sorted(answers.items()))
        if not cases:
            continue
        level = level_supported({name: each.result for name, each in answers.items()}, whole.as_of)
        told = {} if level is None else {LEVEL_SUPPORTED: level}
        answers = host.screen(
            {name: replace(each, facts={**each.facts, **told}) for name, each in cases.items()}
        )
        done.extend(Screening(review, name, screened, 2) for name, screened in sorted(answers.items()))
    return done


class Casework:
    """Works rows, one after another. Keeps the folds of recent lanes."""

    def __init__(
        self, site: SiteProfile, host: Host, *, charsets: Mapping[str, str], cache: int = 4096
    ) -> None:
        self._site = site
        self._host = host
        self._charsets = charsets
        self._cache = cache
        self._folds: OrderedDict[bytes, tuple[int, StayFold]] = OrderedDict()  # lane -> last row, fold

    def work(self, task: Task) -> Done | Need:
        """One row. Whatever goes wrong leaves no fold behind that was never committed."""
        fold = self._fold(task)
        if isinstance(fold, Need):
            return fold
        event = self._event(task.feed, task.frame)
        increments: list[tuple[int, bytes]] = []
        if task.rows is None:
            made = fold.apply(event, task.seq)
            increments = [] if made is None else [(task.seq, made)]
        elif task.renew:
            increments = [
                (row.seq, made)
                for row in task.rows
                if (made := fold.increment(self._event(row.feed, row.frame), row.seq)) is not None
            ]
        elif (made := fold.increment(event, task.seq)) is not None:
            increments = [(task.seq, made)]
        done = self._screened(task, event, fold, increments)
        self._folds[task.lane] = (task.seq, fold)
        while len(self._folds) > self._cache:
            self._folds.popitem(last=False)
        return done

    def _fold(self, task: Task) -> StayFold | Need:
        """The lane as its last worked row left it, taken out of the cache until this row is worked too."""
        if task.rows is not None:
            self._folds.pop(task.lane, None)
            return StayFold.refold(self._site, self._events(task.rows))
        last, fold = self._folds.pop(task.lane, (0, None))
        if fold is not None and last == task.after:
            return fold
        if task.after == 0:
            return StayFold(self._site)
        if task.snapshot is None:
            return Need("snapshot")
        try:
            return StayFold.restore(self._site, task.snapshot.head, task.snapshot.increments)
        except NeedsRefold:  # the site profile changed: codes mean other things now
            return Need("rows", renew=True)

    def _events(self, rows: tuple[SealedOut, ...]) -> list[tuple[int, Event]]:
        return [(row.seq, self._event(row.feed, row.frame)) for row in rows]

    def _event(self, feed: str, raw: bytes) -> Event:
        message = er7.parse(raw, self._charsets.get(feed, "utf-8"))
        return translate(message, self._site.zone, mrn_authority=self._site.mrn_authority)

    def _screened(
        self, task: Task, event: Event, fold: StayFold, increments: list[tuple[int, bytes]]
    ) -> Done:
        as_of = max(task.as_of, event.sent_at)
        stay = fold.stay(as_of)
        asked = to_screen(stay, completed(task.latest))
        answers = screen_open(fold, stay, asked, as_of, self._host, task.pseudonyms.__getitem__)
        digest = hashlib.sha256(task.frame).hexdigest() if answers else ""
        versions = {info.name: info.version for info in self._host.plugins} if answers else {}
        latest = {review: dict(by_plugin) for review, by_plugin in task.latest.items()}
        determined: list[Determined] = []
        for item in answers:
            draft = determination_draft(
                row=task.seq,
                control_id=event.control_id,
                message_digest=digest,
                stay=stay,
                review=item.review,
                plugin=item.plugin,
                version=versions[item.plugin],
                result=item.screened.result,
                latency_us=item.screened.latency_us,
                isolation=item.screened.isolation,
                failed=item.screened.failed,
                as_of=as_of,
            )
            meets = is_met(item.screened.result)
            latest.setdefault(item.review.id, {})[item.plugin] = {"met": meets, "wave": item.wave}
            determined.append(Determined(item.review.id, item.plugin, meets, item.wave, _texts(draft)))
        changed = [
            Changed(review.id, review.state.value, _texts(changed_draft(task.seq, review, stay)))
            for review in reviews(stay, completed(latest), task.states)
            if task.states.get(review.id) != review.state.value
        ]
        return Done(as_of, fold.head(), increments, determined, changed)


def _texts(draft: Draft) -> list[str]:
    return SCHEMAS[draft.kind].texts(draft.values)

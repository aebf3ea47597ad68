"""What the ledger has said about one stay's reviews: the state of each and the answers in force.

Frozen values: a change makes a new record, so that what was read before a transaction is still true after one
that was rolled back.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import field, replace
from datetime import UTC, datetime
from typing import NotRequired, Required, TypedDict

from umbridge.review.closing import Closing
from umbridge.review.waves import Verdict, is_met, settled
from umbridge.values.frozen import dataclass
from umbridge.values.kinds import Outcome, ReviewState

#: The exception of a stay with a review that was closed before its moment, and does not meet at it.
CLOSED_EARLY_DIFFERS = "CLOSED_EARLY_DIFFERS"
#: The same where it still meets at its moment, and its answers are held for a person.
CLOSED_EARLY_HELD = "CLOSED_EARLY_HELD"
EARLY = (CLOSED_EARLY_DIFFERS, CLOSED_EARLY_HELD)
DIFFERS = "differs/"  # and a lane: the store's note of such a stay, until a person has looked
NEVER = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class InForce(Verdict):
    """One plugin's newest answer about a review, and the entry it is in."""

    entry: int = field(kw_only=True)
    outcome: Outcome = field(kw_only=True)

    @staticmethod
    def of(said: Verdict, *, entry: int, outcome: Outcome) -> InForce:
        """An answer that is in entry ``entry`` now."""
        return InForce(said.met, said.wave, said.hold, entry=entry, outcome=outcome)


@dataclass(frozen=True, slots=True)
class ReviewRecord:
    """One review: the state it is in by its last entry, None where none says it; the answers by plugin.

    ``closing``: by which answers it may close, None while none let it. ``reopened``: why it opened again, ""
    where it did not.
    """

    state: ReviewState | None = None
    answers: Mapping[str, InForce] = field(default_factory=dict)
    closing: Closing | None = None
    reopened: str = ""


@dataclass(frozen=True, slots=True)
class LaneReviews:
    """All reviews that were ever spoken of, by id, and the newest message's time."""

    as_of: datetime = NEVER
    reviews: Mapping[str, ReviewRecord] = field(default_factory=dict)
    raised: tuple[str, ...] = ()  # exceptions of the stay that went by answers which no review has

    def review(self, name: str) -> ReviewRecord:
        return self.reviews.get(name, _UNSPOKEN)

    @property
    def waiting(self) -> int:
        """Reviews that wait for a person."""
        return sum(each.state is ReviewState.OPEN for each in self.reviews.values())

    @property
    def completed(self) -> frozenset[str]:
        """Reviews that may close by themselves, and those that did and have not opened again."""
        return frozenset(name for name, each in self.reviews.items() if each.closing is not None)

    @property
    def differing(self) -> frozenset[str]:
        """Reviews that were closed before their moment, and do not meet at it."""
        return frozenset(
            name
            for name, each in self.reviews.items()
            if each.state is ReviewState.CLOSED and each.closing is not None and each.closing.differs
        )

    def after(
        self,
        as_of: datetime,
        answers: Iterable[tuple[str, str, InForce]],
        states: Iterable[tuple[str, ReviewState]],
        closings: Iterable[tuple[str, Closing | None, str]] = (),
        raised: tuple[str, ...] = (),
    ) -> LaneReviews:
        """With newer answers, as (review, plugin, answer), and states, as (review, state).

        ``closings``: what the answers come to, as (review, by which it is closed, why it is open again).
        """
        found = dict(self.reviews)
        for name, closing, reopened in closings:
            found[name] = replace(found.get(name, _UNSPOKEN), closing=closing, reopened=reopened)
        for name, plugin, answer in answers:
            held = found.get(name, _UNSPOKEN)
            found[name] = replace(held, answers={**held.answers, plugin: answer})
        for name, state in states:
            found[name] = replace(found.get(name, _UNSPOKEN), state=state)
        return LaneReviews(as_of, found, raised)

    def joined(self, gone: LaneReviews) -> LaneReviews:
        """With those of a lane that became part of this one; where both speak of a review, this counts."""
        found = dict(gone.reviews)
        for name, own in self.reviews.items():
            other = found.get(name, _UNSPOKEN)
            decided = other if own.closing is None and own.state is None else own
            found[name] = ReviewRecord(
                own.state or other.state,
                {**other.answers, **own.answers},
                decided.closing,
                decided.reopened,
            )
        return LaneReviews(max(self.as_of, gone.as_of), found, self.raised)


_UNSPOKEN = ReviewRecord()


def differs_as(said: LaneReviews) -> str:
    """As which exception a stay with such reviews is said: by the worst of them."""
    differing = said.differing
    are_held = all(is_met(said.review(name).answers.values()) for name in differing)
    return CLOSED_EARLY_HELD if differing and are_held else CLOSED_EARLY_DIFFERS


def differs_of(lane: bytes) -> str:
    """The note's name."""
    return f"{DIFFERS}{lane.hex()}"


class AnswerRow(TypedDict, total=False):
    """``InForce`` as it lies in the store; before there were waves it had no ``wave``.

    ``hold`` is there where it says something: records of before are without it, and nothing held them.
    """

    entry: Required[int]
    outcome: Required[str]
    met: Required[bool | None]
    wave: int
    hold: list[str]


#: ``Closing`` as it lies in the store: row, at, moment, whether it differs, what was asked last.
ClosingRow = tuple[int | None, int | None, int | None, int, str]


class LaneReviewsRow(TypedDict):
    """``LaneReviews`` as it lies in the store and goes to a lane worker.

    ``closings``, ``reopened`` and ``raised`` are not in one of before they were kept.
    """

    states: dict[str, str]
    latest: dict[str, dict[str, AnswerRow]]
    as_of: str
    closings: NotRequired[dict[str, ClosingRow]]
    reopened: NotRequired[dict[str, str]]
    raised: NotRequired[list[str]]


def answer_encoded(one: InForce) -> AnswerRow:
    row: AnswerRow = {"entry": one.entry, "outcome": one.outcome, "met": one.met, "wave": one.wave}
    if one.hold:
        row["hold"] = list(one.hold)
    return row


def answer_decoded(body: AnswerRow) -> InForce:
    """An answer of before there were waves counts as the first's."""
    said = Verdict(body["met"], body.get("wave", 1), tuple(body.get("hold", ())))
    return InForce.of(said, entry=body["entry"], outcome=Outcome(body["outcome"]))


def closing_encoded(one: Closing) -> ClosingRow:
    return one.row, one.at, one.moment, int(one.differs), one.asked


def closing_decoded(row: ClosingRow) -> Closing:
    number, at, moment, differs, asked = row
    return Closing(number, at, moment, bool(differs), asked)


def encoded(said: LaneReviews) -> LaneReviewsRow:
    """What ``decoded`` reads."""
    return {
        "states": {name: each.state for name, each in said.reviews.items() if each.state is not None},
        "latest": {
            name: {plugin: answer_encoded(one) for plugin, one in each.answers.items()}
            for name, each in said.reviews.items()
            if each.answers
        },
        "as_of": said.as_of.isoformat(),
        "closings": {
            name: closing_encoded(each.closing)
            for name, each in said.reviews.items()
            if each.closing is not None
        },
        "reopened": {name: each.reopened for name, each in said.reviews.items() if each.reopened},
        "raised": list(said.raised),
    }


def decoded(body: LaneReviewsRow) -> LaneReviews:
    """The record of ``encoded``."""
    states = body["states"]
    answers = {
        name: {plugin: answer_decoded(one) for plugin, one in by_plugin.items()}
        for name, by_plugin in body["latest"].items()
    }
    closings = {name: closing_decoded(row) for name, row in body.get("closings", {}).items()}
    if "closings" not in body:  # before it was kept, whatever met was closed, and opened when it did not
        closings = {name: Closing() for name, its in answers.items() if settled(its.values())}
    reopened = body.get("reopened", {})
    found = {
        name: ReviewRecord(
            ReviewState(states[name]) if name in states else None,
            answers.get(name, {}),
            closings.get(name),
            reopened.get(name, ""),
        )
        for name in dict.fromkeys((*states, *answers, *closings))
    }
    return LaneReviews(datetime.fromisoformat(body["as_of"]), found, tuple(body.get("raised", ())))

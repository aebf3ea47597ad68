"""The lines of the worklist: what a person must know of a review that waits, a pure function of the stay."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import field, replace
from datetime import datetime
from typing import NotRequired, TypedDict

from umbridge.review import standing
from umbridge.review.plan import NO_ADMISSION
from umbridge.review.review import Review
from umbridge.review.standing import AnswerRow, InForce, LaneReviews
from umbridge.review.waves import waits_for
from umbridge.stay.stay import Stay
from umbridge.values.frozen import dataclass
from umbridge.values.kinds import Level, ReviewState, ReviewType, Status


@dataclass(frozen=True, slots=True, kw_only=True)
class WorklistLine:
    """One open review with the stay it is about, as of the stay's newest work."""

    review_id: str
    type: ReviewType
    due: datetime | None
    opened_at: datetime
    episode_day: int
    requested_status: Status
    requested_level: Level
    visit: str
    mrn: str
    unit: str | None
    payer_class: str
    reason: str = ""  # why it was opened, or opened again; "" in a line of before it was kept
    answers: Mapping[str, InForce] = field(default_factory=dict)  # by plugin

    @property
    def hold(self) -> tuple[str, ...]:
        """The reasons for which its answers wait for a person, whatever they came to."""
        return waits_for(self.answers.values())


def why_again(planned: Sequence[Review], reopened: Mapping[str, str]) -> dict[str, str]:
    """Why each open review that had been closed by its answers is open again, by id.

    A retrospective review that is there since the admission's answers no longer stand has their reason: the
    admission itself is over. ``planned``: in the order of opening.
    """
    admissions = [
        each.id
        for each in planned
        if each.type is ReviewType.ADMISSION and each.state is not ReviewState.VOID
    ]
    found: dict[str, str] = {}
    for each in planned:
        is_in_place = each.type is ReviewType.RETROSPECTIVE and each.reason == NO_ADMISSION
        why = reopened.get(admissions[-1] if is_in_place and admissions else each.id)
        if why and each.state is ReviewState.OPEN:
            found[each.id] = why
    return found


def lines(stay: Stay, planned: Sequence[Review], reopened: Mapping[str, str]) -> tuple[WorklistLine, ...]:
    """The open ones among a stay's reviews; what screens came to is added ``with_answers``.

    ``reopened``: why those were opened again that had been closed, by id.
    """
    again = why_again(planned, reopened)
    return tuple(
        WorklistLine(
            review_id=review.id,
            type=review.type,
            due=review.due,
            opened_at=review.opened_at,
            episode_day=review.episode_day,
            requested_status=review.requested_status,
            requested_level=review.requested_level,
            visit=stay.visit,
            mrn=stay.mrn,
            unit=stay.unit,
            payer_class=stay.payer_class,
            reason=again.get(review.id) or review.reason,
        )
        for review in planned
        if review.state is ReviewState.OPEN
    )


def with_answers(found: Iterable[WorklistLine], said: LaneReviews) -> tuple[WorklistLine, ...]:
    """Each line with the answers in force about its review."""
    return tuple(replace(line, answers=said.review(line.review_id).answers) for line in found)


class WorklistRow(TypedDict):
    """A line as it lies sealed in the store and comes from a lane worker."""

    review_id: str
    type: str
    due: str | None
    opened_at: str
    episode_day: int
    status: str
    level: str
    visit: str
    mrn: str
    unit: str | None
    payer_class: str
    reason: NotRequired[str]
    answers: dict[str, AnswerRow]


def encoded(line: WorklistLine) -> WorklistRow:
    """What ``decoded`` reads."""
    return {
        "review_id": line.review_id,
        "type": line.type,
        "due": None if line.due is None else line.due.isoformat(),
        "opened_at": line.opened_at.isoformat(),
        "episode_day": line.episode_day,
        "status": line.requested_status,
        "level": line.requested_level.name,
        "visit": line.visit,
        "mrn": line.mrn,
        "unit": line.unit,
        "payer_class": line.payer_class,
        "reason": line.reason,
        "answers": {plugin: standing.answer_encoded(one) for plugin, one in line.answers.items()},
    }


def decoded(body: WorklistRow) -> WorklistLine:
    return WorklistLine(
        review_id=body["review_id"],
        type=ReviewType(body["type"]),
        due=None if body["due"] is None else datetime.fromisoformat(body["due"]),
        opened_at=datetime.fromisoformat(body["opened_at"]),
        episode_day=body["episode_day"],
        requested_status=Status(body["status"]),
        requested_level=Level[body["level"]],
        visit=body["visit"],
        mrn=body["mrn"],
        unit=body["unit"],
        payer_class=body["payer_class"],
        reason=body.get("reason", ""),
        answers={plugin: standing.answer_decoded(one) for plugin, one in body["answers"].items()},
    )

"""Who answers for clinical content: nobody yet, or who has reviewed or approved it, and when."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypedDict

DRAFT, REVIEWED, APPROVED = STATES = ("draft", "reviewed", "approved")


class ContentStatusRow(TypedDict):
    """``ContentStatus`` as JSON."""

    state: str
    by: list[str]
    on: str | None


@dataclass(frozen=True, slots=True)
class ContentStatus:
    """What a file of content says of itself. Whether a site may run it is the site's own decision."""

    state: str = DRAFT
    by: tuple[str, ...] = ()  # name and role; nobody of a draft
    on: str = ""  # date, YYYY-MM-DD

    def row(self) -> ContentStatusRow:
        return {"state": self.state, "by": list(self.by), "on": self.on or None}


NOBODY = ContentStatus()  # has answered for it

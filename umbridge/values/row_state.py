"""What became of a framed message; apart from ``model``, for the command line loads it with each command."""

from __future__ import annotations

from enum import StrEnum


class RowState(StrEnum):
    """What became of one framed message; the words of ``umbridge messages list``."""

    PENDING = "PENDING"
    DETERMINED = "DETERMINED"
    NOT_APPLICABLE = "NOT_APPLICABLE"
    IGNORED = "IGNORED"
    REFUSED = "REFUSED"
    QUARANTINED = "QUARANTINED"
    REPLAYED = "REPLAYED"
    DISMISSED = "DISMISSED"

"""What becomes of a review when plugins have answered: it closes, stays closed, or opens again, and why.

A review that is closed was an answer given to people. docs/judgement.md has the reasons for which it opens
again; whatever else is told leaves it closed.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import replace

from umbridge.values.frozen import dataclass
from umbridge.values.kinds import Outcome

#: A value that counted in the answer that closed it was corrected or withdrawn, and it no longer meets.
FACT_CORRECTED = "FACT_CORRECTED"
#: The order behind it, or the arrival, has another time: the moment that it is judged as of is another.
MOMENT_MOVED = "MOMENT_MOVED"
#: The plugins now advise a higher level: that the patient needs more is for a person to see.
ADVISED_HIGHER = "ADVISED_HIGHER"
#: The order behind the status was cancelled after it was closed: what was judged is no longer asked for.
STATUS_ORDER_CANCELLED = "STATUS_ORDER_CANCELLED"  # as the exception of the stay
#: Of a later review: a value of since is one at which a physician is called.
CRITICAL_VALUE = "CRITICAL_VALUE"


@dataclass(frozen=True, slots=True)
class Closing:
    """The newest answers by which a review may close. All None: of a store of before this was kept.

    ``row``: the newest row of the stay then. ``at``: as of when they were given. ``moment``: that of a first
    look, as it was known then. ``differs``: judged at that moment, it no longer meets. ``asked``: a digest of
    the question that was put last.
    """

    row: int | None = None
    at: int | None = None
    moment: int | None = None
    differs: bool = False
    asked: str = ""


@dataclass(frozen=True, slots=True)
class Answered:
    """What the newest answers about a review come to. ``outcomes``: of the plugins, a failed one has none."""

    closing: Closing  # were it to close by them
    is_met: bool
    is_final: bool  # judged at the moment of a first look
    outcomes: Collection[Outcome]
    has_failed: bool = False
    is_order_gone: bool = False  # the order behind the status was cancelled
    is_critical: bool = False  # of a later review: a latest value is one at which a physician is called


def read_anew(held: Closing, said: Answered) -> Closing:
    """The closing of a review that is asked because the rules of reading changed: it stays closed."""
    if said.is_met:
        return said.closing
    return _still(held, said, is_final=True)


def after(
    held: Closing | None, said: Answered, is_corrected: Callable[[Closing], bool]
) -> tuple[Closing | None, str]:
    """The review's closing now, None while it is open, and why it opens again, "" where it does not.

    ``is_corrected``: whether a value that counted in the answers which closed it is another since.
    """
    if said.is_met:
        return (replace(said.closing, asked="") if said.has_failed else said.closing), ""
    if held is None:
        return None, ""
    if is_corrected(held):
        return None, FACT_CORRECTED
    if held.moment is not None and held.moment != said.closing.moment:
        return None, MOMENT_MOVED
    if said.is_order_gone:
        return None, STATUS_ORDER_CANCELLED
    if Outcome.MEETS_ADVISE_HIGHER in said.outcomes:
        return None, ADVISED_HIGHER
    if said.is_critical:
        return None, CRITICAL_VALUE
    return _still(held, said, is_final=said.is_final), ""


def _still(held: Closing, said: Answered, *, is_final: bool) -> Closing:
    """A plugin that failed says nothing about the stay: the next message asks it again."""
    if said.has_failed:
        return replace(held, asked="")
    return replace(held, differs=held.differs or is_final, asked=said.closing.asked)

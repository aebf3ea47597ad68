"""An answer waits for a person while a value that its rules ask for came in and is unreadable or in doubt.

The value may be the worst there is. Rules that met without it may not meet with it, or support more.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from umbridge.criteria.examination import Cited
from umbridge.model import Case, Outcome, ScreenResult

RESULT_UNREAD = "RESULT_UNREAD"  # as the exception of the stay


def held_for_unread(case: Case, result: ScreenResult, cited: Sequence[Cited]) -> ScreenResult:
    """The same answer, held where one of the facts that it goes by has an unread value.

    ``cited``: the rules that the engine was asked for evidence of; what they look at is what the answer goes
    by. Of code that did not ask the engine nobody can see what it went by: any fact that it declared counts.
    """
    if result.outcome is Outcome.NOT_APPLICABLE or RESULT_UNREAD in result.hold:
        return result
    read = cited[-1][0].read if cited else frozenset(case.unread)
    facts = [fact for fact in case.unread if fact in read]
    if not facts:
        return result
    words = (
        f"Sent, and nobody can read it, or say which value holds: {', '.join(facts)}: a person has to see it."
    )
    rationale = f"{result.rationale} {words}".strip()
    return replace(result, hold=(*result.hold, RESULT_UNREAD), rationale=rationale)

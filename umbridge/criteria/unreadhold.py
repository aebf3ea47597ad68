"""An answer waits for a person while what its rules ask for came in and cannot be used, or may not be so.

A value that nobody can read may be the worst there is. A value or treatment that a correction or an end may
mean, which found nothing, may not be. Rules that met may not meet then, or support more.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from umbridge.criteria.examination import Cited
from umbridge.model import Case, ScreenResult
from umbridge.values.kinds import Outcome

RESULT_UNREAD = "RESULT_UNREAD"  # each as the exception of the stay
CORRECTION_NOT_FOUND = "CORRECTION_NOT_FOUND"
ORDER_NOT_FOUND = "ORDER_NOT_FOUND"
ORDER_UNREAD = "ORDER_UNREAD"
_WORDS = {
    RESULT_UNREAD: "Sent, and nobody can read it, or say which value holds",
    CORRECTION_NOT_FOUND: "A correction or withdrawal that found no result may mean what counts here",
    ORDER_NOT_FOUND: "An end under a number that no order has may mean what counts here as given",
    ORDER_UNREAD: "Ordered as needed, on a condition, or for how long nobody can read",
}


def held_for_unread(case: Case, result: ScreenResult, cited: Sequence[Cited]) -> ScreenResult:
    """The same answer, held where one of the facts that it goes by has an unread value, or is in question.

    ``cited``: the rules that the engine was asked for evidence of; what they look at is what the answer goes
    by. Of code that did not ask the engine nobody can see what it went by: any fact that it declared counts.
    """
    if result.outcome is Outcome.NOT_APPLICABLE:
        return result
    for reason, its in ({RESULT_UNREAD: case.unread} | dict(case.in_question)).items():
        facts = [fact for fact in its if not cited or fact in cited[-1][0].read]
        if not facts or reason in result.hold:
            continue
        words = f"{_WORDS[reason]}: {', '.join(facts)}: a person has to see it."
        rationale = f"{result.rationale} {words}".strip()
        result = replace(result, hold=(*result.hold, reason), rationale=rationale)
    return result

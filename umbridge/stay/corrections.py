"""Whether a value that counted in an answer was corrected or withdrawn since that answer was given."""

from __future__ import annotations

from umbridge.stay.clock import HOUR, instant
from umbridge.stay.counted import is_changed
from umbridge.stay.cut import Cut
from umbridge.stay.derived import RISE_HOURS
from umbridge.stay.facts import dictionary
from umbridge.stay.fold import StayFold
from umbridge.stay.statements import EVER, Result
from umbridge.stay.view import Stay


def is_corrected(fold: StayFold, stay: Stay, cut: Cut, at: int, row: int) -> bool:
    """Of the values that counted at an instant, by what rows up to ``row`` had brought.

    Whichever fact it is of: derived facts are made of others, and which ones a plugin's answer went by the
    plugin alone knows. What is told of a window is told as far back as any derived fact looks.
    """
    contact = None if stay.first_contact is None else instant(stay.first_contact)
    told_by = EVER if cut.told_by is None else cut.told_by
    for fact in fold.sent:
        listed = fold.results(fact)
        first = cut.first(dictionary()[fact], at, contact)
        if cut.told_by is None and first is not None:
            first = min(first, at - RISE_HOURS * HOUR)

        def is_within(each: Result, first: int | None = first) -> bool:
            return (first is None or first <= each.at) and each.at <= at and fold.is_patient(each.patient)

        said = () if listed is None else listed.told()
        if any(is_changed(told, made, told_by, row, is_within) for told, made in said):
            return True
    return False

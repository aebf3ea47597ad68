"""Whether a value that counted in an answer was corrected or withdrawn since that answer was given."""

from __future__ import annotations

from umbridge.stay.clock import HOUR, instant
from umbridge.stay.dictionary import dictionary
from umbridge.stay.fold import StayFold
from umbridge.stay.readings.cut import Cut
from umbridge.stay.readings.derived import RISE_HOURS
from umbridge.stay.results.counted import is_changed
from umbridge.stay.results.statements import EVER, Result
from umbridge.stay.stay import Stay


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

        last = cut.last(fact, at)

        def is_within(each: Result, first: int | None = first, last: int = last) -> bool:
            return (first is None or first <= each.at) and each.at <= last and fold.is_patient(each.patient)

        said = () if listed is None else listed.told()
        if any(is_changed(told, made, told_by, row, is_within) for told, made in said):
            return True
    return False


def corrected_after(fold: StayFold, stay: Stay, cut: Cut, at: int) -> dict[str, Result]:
    """By fact, what counted in a first look by what was known at its moment, and is another since, or gone.

    Nothing of any other look, and nothing while there is still time to tell.
    """
    if cut.told_by is None or instant(stay.as_of) <= cut.told_by:
        return {}
    contact = None if stay.first_contact is None else instant(stay.first_contact)
    found: dict[str, Result] = {}
    for fact in fold.sent:
        kind, listed = dictionary()[fact], fold.results(fact)
        own = " corrected" if kind.closed_world else ""  # its look has another window of that name
        if listed is not None and listed.has_changes:
            name, first = f"{cut.window} {fact}{own}", cut.first(kind, at, contact)
            kept = listed.kept(name, first, cut.last(fact, at), cut.told_by, fold.patient)
            for each in listed.changed(kept):
                if fold.is_patient(each.patient):
                    found[fact] = each
    return found

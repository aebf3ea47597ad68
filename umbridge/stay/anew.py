"""What a stay said under the rules of an earlier version, and whether it says something else now.

A store keeps stays as they were folded. When the rules of reading change, a stay is folded again from its
messages, and a person is to know which stays came out otherwise. Nothing here is shown or kept but the words
``status``, ``times`` and ``facts``.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any, NamedTuple

from umbridge.settings.site import SiteProfile
from umbridge.stay.fold import FORM, StayFold
from umbridge.stay.identity import followed

_EVER = 1 << 62
_AS_THEY_STAND = range(4, FORM + 1)  # later forms have more, and nothing of an earlier one means otherwise
MARK = "anew/"  # and a lane: the store's note of a stay that says something else since it was read again


def mark_of(lane: bytes) -> str:
    """The note's name."""
    return f"{MARK}{lane.hex()}"


def reading_of(site: SiteProfile) -> str:
    """What a fold depends on besides its messages: our rules, and the site's."""
    return f"{FORM} {site.digest}"


def is_read(head: bytes, site: SiteProfile) -> bool:
    """Whether a stored fold was made under the rules in force."""
    state = json.loads(head)
    return bool(state.get("form") == FORM and state.get("site") == site.digest)


class Outline(NamedTuple):
    """What a stay came to: status and lifecycle, discharge, the newest usable value of each fact."""

    status: tuple[str | None, str | None]
    discharged: int | None
    facts: dict[str, tuple[int, str]]


def outline_of(fold: StayFold) -> Outline:
    """Of a fold that stands."""
    state = json.loads(fold.head())["course"]
    facts: dict[str, tuple[int, str]] = {}
    for fact in fold.sent:
        results = fold.results(fact)
        for each in () if results is None else results.between(None, _EVER):
            if each.value is not None and fold.is_patient(each.patient):
                facts[fact] = (each.at, str(each.value))
    return Outline(_status(state), state["discharged_at"], facts)


def outline_stored(site: SiteProfile, head: bytes, increments: Iterable[bytes]) -> Outline:
    """Of a stored fold, whichever version wrote it: from form 3 on, the oldest that was in use."""
    state = json.loads(head)
    if state.get("form") in _AS_THEY_STAND:
        return outline_of(StayFold.restore(site, head, increments, any_reading=True))
    facts: dict[str, tuple[int, str]] = {}
    if state.get("form") == 3:
        facts = _facts_of_form_3(increments, state["course"]["patient"])
    return Outline(_status(state["course"]), state["course"]["discharged_at"], facts)


def _status(course: Any) -> tuple[str | None, str | None]:
    spans = course["spans"]
    return course["lifecycle"], spans[-1][0] if spans else None


def _facts_of_form_3(increments: Iterable[bytes], patient: str) -> dict[str, tuple[int, str]]:
    """Rows of form 3: fact, at, report, code, patient, stage, sent, seq, value, ...; a later stage wins."""
    held: dict[tuple[str, int, str, str, str], tuple[list[int], object]] = {}
    links: list[tuple[list[int], str, str]] = []
    for increment in increments:
        rows = json.loads(increment)
        links += [(when, old, new) for *when, kind, old, new in rows.get("changes", ()) if kind == "same"]
        for fact, at, report, code, whose, stage, sent, seq, value, *_ in rows.get("facts", ()):
            place, rank = (fact, at, report, code, whose), [stage, sent, seq]
            if place not in held or rank > held[place][0]:
                held[place] = (rank, value)
    now, _ = followed([(old, new) for _, old, new in sorted(links)])
    newest: dict[str, tuple[int, str]] = {}
    for (fact, at, _, _, whose), (_, value) in sorted(held.items(), key=lambda pair: pair[0][1]):
        if value is not None and now.get(whose, whose) in ("", patient):
            newest[fact] = (at, str(value))
    return newest


def differences(before: Outline, now: Outline) -> tuple[str, ...]:
    """In which of its parts a stay says something else."""
    found = []
    if before.status != now.status:
        found.append("status")
    if before.discharged != now.discharged:
        found.append("times")
    if {fact: value for fact, (_, value) in before.facts.items()} != {
        fact: value for fact, (_, value) in now.facts.items()
    }:
        found.append("facts")
    return tuple(found)

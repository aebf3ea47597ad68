"""What reviews came to, for people: 80 columns, nothing cut, facts and reasons in words beside their codes.

Of each review: what is asked, as of when, whether it closes by itself and why not; of each plugin: its
answer, what it supports, what holds it, what is missing, and its rationale.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import click

from umbridge.stay.asidewords import minute, words_of
from umbridge.titles import in_words, title_of, titles_of
from umbridge.whytree import source_of, tree_lines, wrapped

if TYPE_CHECKING:
    from umbridge.review.record import ScreenLine
    from umbridge.shadow import Looked

#: What each reason for an open review means (docs/judgement.md).
REASONS = {
    "ADVISED_HIGHER": "a higher level than the one ordered is advised: a person has to see it",
    "NO_MEASURED_FACT": "its true criteria rest on no abnormal measurement",
    "AGE_ONLY": "its true criteria would be as true of everybody of this age",
    "INPATIENT_ORDER_MISSING": "midnights are counted, and no inpatient order was seen",
    "RESULT_UNREAD": "a result that it asks for was sent, and nobody can read it",
    "NONE_APPLIES": "no plugin's criteria apply: a person judges",
}
OWN = "a reason of the plugin's own: see its rationale"
OUTCOMES = {
    "MEETS": "the criteria are met",
    "MEETS_ADVISE_HIGHER": "met, and a higher level is advised",
    "REFER": "not met by these facts: a person decides",
    "PEND": "undecided while facts are missing",
    "NOT_APPLICABLE": "these criteria say nothing of this review",
}


def show(looked: Iterable[Looked], *, trees: bool = False) -> None:
    """Print reviews one after the other. ``trees``: with the rules behind each answer."""
    is_any = False
    for each in looked:
        if not each.lines:
            continue
        if is_any:
            click.echo("")
        is_any = True
        for text in review_lines(each.lines, each.open_for, trees=trees):
            click.echo(text)
    if not is_any:
        click.echo("nothing to show", err=True)


def review_lines(
    lines: Sequence[ScreenLine], open_for: Sequence[tuple[str, str]], *, trees: bool = False
) -> Iterator[str]:
    """One review and its answers."""
    first = lines[0]
    day = "" if first["episode_day"] is None else f"  day {first['episode_day']}"
    yield from wrapped(f"{first['visit']}  {first['review']}{day}", 0)
    yield from wrapped(f"asks: {first['requested']['status']}, {first['requested']['level']}", 2)
    yield from wrapped(f"judged as of: {minute(first['judged_at'])}", 2)
    yield from closing_lines(first["closes"], open_for, {line["plugin"]: line["outcome"] for line in lines})
    for line in lines:
        yield from answer_lines(line, trees=trees)


def closing_lines(
    closes: bool, open_for: Sequence[tuple[str, str]], outcomes: dict[str, str]
) -> Iterator[str]:
    """Whether a review closes by itself, and what keeps it open."""
    yield from wrapped(f"closes by itself: {'yes' if closes else 'no'}", 2)
    for plugin, reason in () if closes else open_for:
        yield from wrapped(f"{plugin}: {_reason(reason, outcomes.get(plugin, ''))}".removeprefix(": "), 4)


def _reason(reason: str, outcome: str) -> str:
    if reason == "NOT_MET":
        return f"{outcome}: {OUTCOMES[outcome]}" if outcome in OUTCOMES else "not met"
    words = REASONS.get(reason, OWN)
    return words if reason == "NONE_APPLIES" else f"held, {reason}: {words}"


def answer_lines(line: ScreenLine, *, trees: bool = False, indent: int = 2) -> Iterator[str]:
    """One plugin's answer."""
    subset = f", by {line['subset']} ({line['content_status']['state']})" if line["subset"] else ""
    yield from wrapped(f"{line['plugin']}: {line['outcome']}{subset}", indent)
    if line["supported"]:
        home = "no level above home" + (" so far" if line["outcome"] == "PEND" else "")
        yield from wrapped(
            f"supports: {home if line['supported'] == 'HOME' else line['supported']}", indent + 2
        )
    for reason in line["hold"]:
        yield from wrapped(f"held, {reason}: {REASONS.get(reason, OWN)}", indent + 2)
    if line["missing"]:
        yield from wrapped(f"missing: {titles_of(line['missing'])}", indent + 2)
    if line.get("advise_missing"):
        yield from wrapped(f"missing for a higher level: {titles_of(line['advise_missing'])}", indent + 2)
    for row in line.get("not_used", []):
        yield from wrapped(words_of(row, title_of(row["fact"])), indent + 4)
    yield from wrapped(in_words(line["rationale"]), indent + 2, 0)
    if trees:
        yield from tree_lines(line, indent + 2)


def slot(name: str, value: object) -> object:
    """A slot of a determination as people read it: facts by their titles."""
    if name in ("rationale", "sens_rationale") and isinstance(value, str):
        return in_words(value)
    if name in ("missing", "advise_missing") and isinstance(value, list):
        return titles_of([str(each) for each in value])
    if name == "evidence" and isinstance(value, list):
        return [_cited(each) if isinstance(each, dict) else each for each in value]
    if name == "sens_evidence" and isinstance(value, dict):
        return {each: slot(str(each), its) for each, its in value.items()}
    return value


def _cited(row: Mapping[str, object]) -> str:
    said = {name: "" if value is None else str(value) for name, value in row.items()}
    value = f"{title_of(said.get('fact', ''))} {said.get('value', '')} {said.get('unit', '')}".rstrip()
    return f"{value}, {minute(said.get('at', ''))}, {source_of(said.get('from', ''))}"

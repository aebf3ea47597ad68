"""What reviews came to, for people: 80 columns, nothing cut, facts and reasons in words beside their codes.

Of each review: what is asked, as of when, whether it closes by itself and why not; of each plugin: its
answer, what it supports, what holds it, what is missing, and its rationale.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, cast

import click

from umbridge.access.control_client import Row, row_in, rows_in
from umbridge.clinical.titles import in_words, title_of, titles_of
from umbridge.commands.why_tree import source_of, tree_lines, wrapped
from umbridge.stay.aside_words import minute, words_of

if TYPE_CHECKING:
    from umbridge_audit.entry import JsonValue

    from umbridge.dryrun.screen import Looked
    from umbridge.review.record import ScreenLine
    from umbridge.stay.aside_words import AsideRow

#: What each reason for an open review means (docs/judgement.md).
REASONS = {
    "ADVISED_HIGHER": "a higher level than the one ordered is advised: a person has to see it",
    "NO_MEASURED_FACT": "its true criteria rest on no abnormal measurement",
    "USUAL_VALUE": "it is reached only with values that may be usual for the patient",
    "CONTRADICTED_VALUE": "it is reached only with a value that the next one contradicts",
    "COMFORT_CARE": "comfort or hospice care is coded or stated",
    "AGE_ONLY": "its true criteria would be as true of everybody of this age",
    "INPATIENT_ORDER_MISSING": "no inpatient order is in force: none was seen, or it was cancelled",
    "STATUS_ORDER_CANCELLED": "the order for observation was cancelled, and registration keeps the status",
    "RESULT_UNREAD": "a result that it asks for was sent, and nobody can read it or say whether it holds",
    "CORRECTION_NOT_FOUND": "a correction that found no result may mean a value that it goes by",
    "ORDER_NOT_FOUND": "an end under a number that no order has may mean a treatment that it goes by",
    "CORRECTION_ELSEWHERE": "a value of the stay was corrected or withdrawn under another visit",
    "ORDER_ENDED_ELSEWHERE": "an order of the stay was ended or held under another visit",
    "ORDER_UNREAD": "a treatment that it goes by is ordered as needed, or for how long nobody can read",
    "CRITICAL_VALUE": "a latest value is one at which a physician is called: a person has to see it",
    "DISCHARGE_BARRIER": "somebody said what the patient waits for: a person has to see it",
    "STABLE_ON_TREATMENT": "the patient is stable on treatment that may be given by mouth or stopped",
    "FACT_CORRECTED": "it meets since a value was corrected after the moment: a person has to see both",
    "NO_ANSWER": "no plugin has answered yet",
    "NONE_APPLIES": "no plugin's criteria apply: a person judges",
}
MOST_CITED = 8  # values that one answer goes by, on a page; the ledger and --why have all
MASK = "[redacted]"  # what stands for a value that the reader may not see
#: What ``ledger show --why`` has beside an entry.
BEHIND = ("agrees", "because", "says", "why", "not_used")
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
    closes: bool, open_for: Sequence[tuple[str, str]], outcomes: dict[str, str], state: str = ""
) -> Iterator[str]:
    """Whether a review closes by itself, and what keeps it open; of one that is closed, whether it would."""
    word = {"": "closes by itself", "open": "closes by itself"}.get(
        state, "would close by its newest answers"
    )
    yield from wrapped(f"{word}: {'yes' if closes else 'no'}", 2)
    for plugin, reason in () if closes else open_for:
        yield from wrapped(f"{plugin}: {_reason(reason, outcomes.get(plugin, ''))}".removeprefix(": "), 4)


def _reason(reason: str, outcome: str) -> str:
    if reason == "NOT_MET":
        return f"{outcome}: {OUTCOMES[outcome]}" if outcome in OUTCOMES else "not met"
    words = REASONS.get(reason, OWN)
    return words if reason in ("NONE_APPLIES", "NO_ANSWER") else f"held, {reason}: {words}"


def answer_lines(line: ScreenLine, *, trees: bool = False, indent: int = 2) -> Iterator[str]:
    """One plugin's answer."""
    subset = f", by {line['subset']} ({line['content_status']['state']})" if line["subset"] else ""
    yield from wrapped(f"{line['plugin']}: {line['outcome']}{subset}", indent)
    if line["supported"]:
        yield from wrapped(f"supports: {_level(line['supported'], line['outcome'])}", indent + 2)
    for reason in line["hold"]:
        yield from wrapped(f"held, {reason}: {REASONS.get(reason, OWN)}", indent + 2)
    if line["missing"]:
        yield from wrapped(f"missing: {titles_of(line['missing'])}", indent + 2)
    if line.get("advise_missing"):
        yield from wrapped(f"missing for a higher level: {titles_of(line['advise_missing'])}", indent + 2)
    for row in line.get("not_used", []):
        yield from wrapped(words_of(row, title_of(row["fact"])), indent + 4)
    yield from wrapped(in_words(line["rationale"]), indent + 2, 0)
    yield from _by(line["outcome"], line["evidence"], indent + 2)
    if trees:
        yield from tree_lines(line, indent + 2)


def _by(outcome: str, evidence: Sequence[Mapping[str, JsonValue]], indent: int) -> Iterator[str]:
    """The values by which an answer meets, each with its time: what a reader would have to look up."""
    if not outcome.startswith("MEETS") or not evidence:
        return
    said = [
        f"{title_of(str(each['fact']))} {each['value']} {each.get('unit') or ''}".rstrip()
        + f" ({minute(str(each['at']))})"
        for each in evidence
    ]
    more = f"; {len(said) - MOST_CITED} more" if len(said) > MOST_CITED else ""
    yield from wrapped(f"by: {'; '.join(said[:MOST_CITED])}{more}", indent)


def review_page(row: Row) -> Iterator[str]:
    """``reviews show``: one review as its reader may see it. What is hidden is named at the end."""
    head = f"{row['review_id']}  {_said(row['state'])}"
    again = _said(row["opened_again"])
    yield from wrapped(
        f"{head}, {again}: open again" if again else f"{head}  {_said(row['reason'])}".rstrip(), 0
    )
    person = [("visit", "visit"), ("patient", "mrn"), ("unit", "unit"), ("payer", "payer_class")]
    told = [f"{word} {_said(row[name])}" for word, name in person if _said(row[name])]
    if told:
        yield from wrapped(", ".join(told), 2)
    requested = row["requested"]
    if isinstance(requested, dict):
        day = f" (day {row['episode_day']})" if row["episode_day"] is not None else ""
        yield from wrapped(f"asks: {requested['status']}, {requested['level']}{day}", 2)
    for word, name in (("opened", "opened_at"), ("due", "due"), ("judged as of", "judged_at")):
        if at := _said(row[name]):
            beside = "" if at == MASK else _beside(row, name)
            yield from wrapped(f"{word}: {minute(at)}{beside}", 2)
    answers = rows_in(row["answers"])
    if isinstance(row["closes"], bool):
        outcomes = {_said(_slots(each).get("plugin")): _said(_slots(each).get("outcome")) for each in answers}
        reasons = [(_said(each["plugin"]), _said(each["reason"])) for each in rows_in(row["open_for"])]
        yield from closing_lines(row["closes"], reasons, outcomes, _said(row["state"]))
    yield from _stay_lines(row)
    for each in answers:
        yield from _entry_lines(each, _said(row["judged_at"]))
    history = rows_in(row["history"])
    if history:
        yield from wrapped("what the ledger said before:", 2)
    yield from _history_lines(history)
    hidden = row["hidden"]
    if isinstance(hidden, list) and hidden:
        yield from wrapped(f"not shown to your role: {' '.join(map(str, hidden))}", 0)


def _history_lines(history: Sequence[Row]) -> Iterator[str]:
    """Each change of the review, and between two of them each answer once, with how often it was given."""
    told: dict[str, list[Row]] = {}
    for each in history:
        if each["kind"] == "determination":
            told.setdefault(_answer(_slots(each)), []).append(each)
            continue
        yield from _told_lines(told)
        told.clear()
        said = _slots(each)
        what = f"review {_said(said.get('state'))} {_said(said.get('reason'))}"
        yield from wrapped(f"entry {each['seq']}, {minute(_said(each['ts']))}: {what}".rstrip(), 4)
    yield from _told_lines(told)


def _told_lines(told: Mapping[str, Sequence[Row]]) -> Iterator[str]:
    for what, its in told.items():
        first, last = its[0], its[-1]
        if len(its) == 1:
            yield from wrapped(f"entry {first['seq']}, {minute(_said(first['ts']))}: {what}", 4)
        else:
            entries = f"entries {first['seq']} to {last['seq']}, until {minute(_said(last['ts']))}"
            yield from wrapped(f"{entries}: {what}, {len(its)} times", 4)


def _beside(row: Row, name: str) -> str:
    if name == "due":
        return ", OVERDUE" if row["overdue"] is True else ""
    if name != "judged_at" or row["judged_for_good"] is None:
        return ""
    told_by = _said(row["told_by"])
    if not told_by:
        return ", and again with each message"
    if row["judged_for_good"] is True:
        return f", for good; what was told after {minute(told_by)} only corrects"
    return f", and again until its moment, {minute(_said(row['moment']))}"


def _stay_lines(row: Row) -> Iterator[str]:
    now = " ".join(filter(None, (_said(row["lifecycle"]), _said(row["status"]))))
    if now:
        yield from wrapped(f"stay: {now}", 2)
    for span in rows_in(row["spans"]):
        end = minute(_said(span["end"])) if span["end"] else "now"
        since = f"{span['status']} {minute(_said(span['start']))} to {end}"
        yield from wrapped(f"{since}, by {span['evidence']} {span['source']}", 4)
    for word, name in (("notice due", "notices_due"), ("notice missed", "notices_missed")):
        for notice in rows_in(row[name]):
            yield from wrapped(f"{word}: {notice['type']} by {minute(_said(notice['due']))}", 4)
    exceptions = row["exceptions"]
    if isinstance(exceptions, list) and exceptions:
        yield from wrapped(f"exceptions: {', '.join(map(str, exceptions))}", 4)


def _entry_lines(entry: Row, judged_at: str) -> Iterator[str]:
    """One answer in force, as its entry has it. ``judged_at``: the moment of the review as it is now."""
    said = _slots(entry)
    for name in ("plugin", "outcome"):
        said.setdefault(name, "")
    sealed = said.get("sens_evidence")
    if isinstance(sealed, dict):
        said |= sealed
    said["rationale"] = said.get("rationale") or said.get("sens_rationale")
    state = said.get("content_status")
    subset = f", by {_said(said.get('subset'))}" if said.get("subset") else ""
    subset += f" ({_said(state.get('state'))})" if subset and isinstance(state, dict) else ""
    head = _answer(said)
    yield from wrapped(f"{head}{subset}; entry {entry['seq']}, {minute(_said(entry['ts']))}", 2)
    own = _said(said.get("judged_at"))
    if own not in ("", MASK, judged_at) and judged_at:
        yield from wrapped(f"answered as of another moment: {minute(own)}", 4)
    if said.get("state") == "failed":
        yield from wrapped("the plugin failed: this is no answer of its own", 4)
    for name, word in (
        ("supported", "supports"),
        ("hold", "held"),
        ("missing", "missing"),
        ("advise_missing", "missing for a higher level"),
    ):
        value = said.get(name)
        if value == MASK:
            yield from wrapped(f"{word}: {MASK}", 4)
        elif name == "hold" and isinstance(value, list):
            for reason in value:
                yield from wrapped(f"held, {reason}: {REASONS.get(str(reason), OWN)}", 4)
        elif isinstance(value, list) and value:
            yield from wrapped(f"{word}: {titles_of([str(each) for each in value])}", 4)
        elif isinstance(value, str):
            yield from wrapped(f"{word}: {_level(value, _said(said['outcome']))}", 4)
    if rationale := _said(said["rationale"]):
        yield from wrapped(in_words(rationale), 4, 0)
    yield from _by(_said(said["outcome"]), rows_in(said.get("evidence")), 4)


def _answer(said: Row) -> str:
    """Whose answer, and what it came to, as far as the reader may see either."""
    plugin, outcome = _said(said.get("plugin")) or "a plugin", _said(said.get("outcome"))
    return f"{plugin}: {outcome}" if outcome else plugin


def _level(supported: str, outcome: str) -> str:
    if supported != "HOME":
        return supported
    return "none above home reached" + (" so far" if outcome == "PEND" else "")


def _slots(entry: Row) -> dict[str, JsonValue]:
    return dict(row_in(entry["slots"]))


def _said(value: JsonValue) -> str:
    return "" if value is None else str(value)


def behind_page(slots: Row, behind: Row) -> Iterator[str]:
    """The tree behind a determination of the ledger, or why there is none to show."""
    if behind["agrees"] is False:
        yield from wrapped(
            f"cannot be shown again: {_said(behind['says'])}. What the ledger cites is above.", 0
        )
        return
    if behind["why"] is None or behind["why"] == MASK:
        yield "the rules behind it are not shown to your role"
        return
    yield "given again from the kept messages, it comes out as written; the rules behind it:"
    line: object = {
        "outcome": _said(slots.get("outcome")),
        "missing": slots.get("missing") or [],
        "why": behind["why"],
        "not_used": behind["not_used"],
    }
    for sent in rows_in(behind["not_used"]):
        yield from wrapped(words_of(cast("AsideRow", sent), title_of(_said(sent["fact"]))), 4)
    yield from tree_lines(cast("ScreenLine", line))


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


def _cited(row: Mapping[str, JsonValue]) -> str:
    said = {name: "" if value is None else str(value) for name, value in row.items()}
    value = f"{title_of(said.get('fact', ''))} {said.get('value', '')} {said.get('unit', '')}".rstrip()
    return f"{value}, {minute(said.get('at', ''))}, {source_of(said.get('from', ''))}"

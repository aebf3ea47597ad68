"""What a screen leaves behind: the line ``umbridge screen`` prints and the entry the ledger keeps."""

from __future__ import annotations

from collections.abc import Sequence, Set
from datetime import datetime
from functools import lru_cache
from json.encoder import encode_basestring
from typing import TypeAlias, TypedDict

from umbridge_audit.entry import Draft, JsonValue, canonical

from umbridge.criteria.why_rows import WhyRow
from umbridge.model import Evidence, ScreenResult
from umbridge.review.aside import facts_named
from umbridge.review.review import Review
from umbridge.review.waves import Verdict, holds
from umbridge.stay.aside_words import AsideRow
from umbridge.stay.fold import Stay
from umbridge.stay.part2 import is_code
from umbridge.stay.readings.prevailing import part2_ids
from umbridge.values.kinds import Outcome
from umbridge.values.signed import ContentStatus, ContentStatusRow

#: The edition of the daemon's own clinical rules (docs/judgement.md): what counts as a fact, when, and what
#: closes. It goes up with each change that can turn an answer, as content's edition does.
RULES = "2026.4"
PART2 = "PART2_SUD"  # 42 CFR Part 2: what says so goes to the restricted compartment only


def is_met(result: ScreenResult) -> bool | None:
    """True where nothing is left for a person to answer, None when the plugin has nothing to say about it.

    That a higher level is advised is a question to a person: were it closed by itself, an under-treated
    patient would leave the worklist unseen.
    """
    if result.outcome is Outcome.NOT_APPLICABLE:
        return None
    return result.outcome is Outcome.MEETS


def verdict(result: ScreenResult, wave: int) -> Verdict:
    """What an answer comes to for its review."""
    return Verdict(is_met(result), wave, holds(result))


Cited: TypeAlias = dict[str, str]  # fact, value, unit, at, from


class Requested(TypedDict):
    """What the orders ask for."""

    status: str
    level: str


class Optional(TypedDict, total=False):
    """The keys of the vignettes' format that are present only where they apply."""

    advise_higher: str
    basis: str
    discharge_ready: bool
    extended_stay_reason: str
    advise_missing: list[str]
    avoidable_attribution: str
    tags: list[str]
    scores: dict[str, int | str | tuple[str, ...]]
    why: list[WhyRow]
    not_used: list[AsideRow]


class ScreenLine(Optional):
    """One result in the keys of ``umbridge screen --json``."""

    visit: str
    review: str
    episode_day: int | None
    plugin: str
    subset: str | None
    edition: str
    digest: str
    requested: Requested
    outcome: str
    supported: str | None
    missing: list[str]
    rationale: str
    evidence: list[Cited]
    avoidable_day: str | None
    judged_at: str  # the moment that the review is judged as of
    closes: bool  # the review as a whole, by the answers of all plugins together
    hold: list[str]
    content_status: ContentStatusRow


def optional_keys(result: ScreenResult) -> Optional:
    """Those of the keys that apply."""
    found: Optional = {}
    if result.advise_higher is not None:
        found["advise_higher"] = result.advise_higher
    if result.basis is not None:
        found["basis"] = result.basis
    if result.discharge_ready is not None:
        found["discharge_ready"] = result.discharge_ready
    if result.extended_stay_reason is not None:
        found["extended_stay_reason"] = result.extended_stay_reason
    if result.advise_missing:
        found["advise_missing"] = list(result.advise_missing)
    if result.avoidable_attribution is not None:
        found["avoidable_attribution"] = result.avoidable_attribution
    if result.tags:
        found["tags"] = list(result.tags)
    if result.scores:
        found["scores"] = dict(result.scores)
    return found


def evidence_json(result: ScreenResult) -> list[Cited]:
    return [
        {"fact": e.fact, "value": e.value, "unit": e.unit, "at": e.at, "from": e.source}
        for e in result.evidence
    ]


def screen_line(visit: str, review: Review, plugin: str, result: ScreenResult, *, closes: bool) -> ScreenLine:
    """One result as it is printed. ``closes``: whether the answers of all plugins close the review."""
    return {
        "visit": visit,
        "review": review.type.value,
        "episode_day": review.episode_day,
        "plugin": plugin,
        "subset": result.subset,
        "edition": result.edition,
        "digest": result.digest,
        "requested": {"status": review.requested_status.value, "level": review.requested_level.name},
        "outcome": result.outcome.value,
        "supported": None if result.supported is None else result.supported.name,
        "missing": list(result.missing),
        "rationale": result.rationale,
        "evidence": evidence_json(result),
        "avoidable_day": result.avoidable_day,
        "judged_at": review.judged_at.isoformat(),
        "closes": closes,
        "hold": list(holds(result)),
        "content_status": result.content_status.row(),
        **optional_keys(result),
    }


def changed_draft(row: int, review: Review, stay: Stay, reason: str) -> Draft:
    """A review opened, closed or voided by row ``row``. ``reason``: why it is open again, "" else."""
    values: dict[str, JsonValue] = {
        "actor": "umbridge",
        "state": review.state.value,
        "row": row,
        "review": review.type.value,
        "review_id": review.id,
        "reason": reason,
        "visit": stay.visit,
        "mrn": stay.mrn,
    }
    if review.due is not None:
        values["due"] = review.due.isoformat()
    return Draft("review.changed", {k: v for k, v in values.items() if v is not None})


def determination_draft(
    *,
    row: int,
    control_id: str,
    message_digest: str,
    stay: Stay,
    review: Review,
    plugin: str,
    version: str,
    result: ScreenResult,
    latency_us: int,
    isolation: str,
    failed: str | None,
    as_of: datetime,
    closes: bool,
) -> Draft:
    """A screen as a ledger entry, but for ``supersedes``, which only the writer knows.

    What tells of substance use goes to ``sens`` alone: see ``_restricted``.
    """
    evidence = evidence_json(result)
    tells: dict[str, JsonValue] = {
        "subset": result.subset,
        "missing": list(result.missing) or None,
        "basis": result.basis,
        "advise_higher": result.advise_higher,
        "advise_missing": list(result.advise_missing) or None,
        "scores": dict(result.scores) or None,
        "extended_stay_reason": result.extended_stay_reason,
        "evidence": evidence or None,
        "hold": list(holds(result)) or None,
        "content_status": _status(result.content_status),
    }
    values: dict[str, JsonValue] = {
        "actor": f"plugin:{plugin}",
        "state": "failed" if failed else "screened",
        "row": row,
        "control_id": control_id,
        "message_digest": message_digest,
        "plugin": plugin,
        "plugin_version": version,
        "edition": result.edition,
        "content_digest": result.digest,
        "rules": RULES,
        "review": review.type.value,
        "review_id": review.id,
        "isolation": isolation,
        "latency_us": latency_us,
        "visit": stay.visit,
        "mrn": stay.mrn,
        "outcome": result.outcome.value,
        "requested_status": review.requested_status.value,
        "requested_level": review.requested_level.name,
        "supported": None if result.supported is None else result.supported.name,
        "episode_day": review.episode_day,
        "discharge_ready": result.discharge_ready,
        "as_of": as_of.isoformat(),
        "judged_at": review.judged_at.isoformat(),
        "closes": closes,
        "payer_class": stay.payer_class,
        "avoidable_day": result.avoidable_day,
        "avoidable_attribution": result.avoidable_attribution,
        "tags": list(result.tags) or None,
    }
    if _restricted(stay, result):
        values["sens_rationale"] = result.rationale
        values["sens_evidence"] = {k: v for k, v in tells.items() if v is not None} or None
    else:
        values |= tells | {"rationale": result.rationale}
    return Draft("determination", {k: v for k, v in values.items() if v is not None})


def spelt(draft: Draft, result: ScreenResult) -> dict[str, str]:
    """The canonical JSON of what a determination draft says at length and nearly always in the same form.

    Most of what an entry costs to spell is its evidence: up to thirty rows of five plain words.
    """
    found: dict[str, str] = {}
    if "content_status" in draft.values:  # else it is restricted, and so is the evidence
        found["content_status"] = _status_spelt(result.content_status)
    if "evidence" in draft.values and (text := _evidence_spelt(result.evidence)) is not None:
        found["evidence"] = text
    return found


def _evidence_spelt(evidence: Sequence[Evidence]) -> str | None:
    """The canonical JSON of ``evidence_json``; None where any word has a character that JSON escapes."""
    rows = [
        f'{{"at":"{e.at}","fact":"{e.fact}","from":"{e.source}","unit":"{e.unit}","value":"{e.value}"}}'
        for e in evidence
    ]
    text = f"[{','.join(rows)}]"
    quotes = 20 * len(rows)  # of five keys and five words
    # Every character that is escaped makes the spelling longer; so do the quotes, and there are no others.
    is_plain = text.isascii() and text.count('"') == quotes
    return text if is_plain and len(encode_basestring(text)) == len(text) + quotes + 2 else None


def _status(status: ContentStatus) -> dict[str, JsonValue]:
    return {"state": status.state, "by": list(status.by), "on": status.on or None}


@lru_cache(maxsize=64)
def _status_spelt(status: ContentStatus) -> str:
    return canonical(_status(status))


def _restricted(stay: Stay, result: ScreenResult) -> bool:
    """Whether a result tells of substance use: the plugin says so, it names a fact that does, or the
    principal diagnosis, by which content is chosen, is such a one, whatever the plugin says.

    42 CFR 2.12(a)(1): the restriction covers whatever would identify a patient as having a substance use
    disorder, so the subset asked about, the scores and what is missing tell as much as the evidence.
    """
    ids = part2_ids()
    named = (e.fact for e in result.evidence)
    return (
        PART2 in result.tags
        or not ids.isdisjoint(named)
        or not all(map(ids.isdisjoint, (result.missing, result.advise_missing, result.scores)))
        or _names_any(result.rationale, ids)  # such as a value that nobody could read
        or any(is_code(code) for code in stay.diagnoses[:1])
    )


def _names_any(rationale: str, ids: Set[str]) -> bool:
    """Most rationales have none of them, not even as a part of a word: the words need not be told apart."""
    return any(fact in rationale for fact in ids) and not ids.isdisjoint(facts_named(rationale))

"""What a worker says, on its way back: manifests and results.

Whatever it is, it is checked here, in the daemon, against the model's vocabulary, the plugin's own manifest
and the case that was sent (``casewire``), before anyone uses it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from umbridge.criteria.citing import place_of, places, spelt
from umbridge.model import Case, Evidence, Manifest, Reading, ScreenResult
from umbridge.screening.case_codec import EncodeCache
from umbridge.screening.frames import WireError
from umbridge.values.kinds import Level, Outcome
from umbridge.values.signed import DRAFT, NOBODY, STATES, ContentStatus

RATIONALE_LIMIT = 2000  # characters
WHY_LIMIT = 500  # characters
EVIDENCE_CHARACTERS = 500  # of one entry
EVIDENCE_LIMIT = 256  # entries; the dictionary has 135 facts
_WORD = re.compile(r"[A-Za-z0-9_.,:/+-]{1,120}")
_FACT = re.compile(r"[a-z][a-z0-9_]{0,63}")
_HOLD = re.compile(r"[A-Z][A-Z0-9_]{0,39}")
_DAY = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)
MOST_HOLDS = 8
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


def manifest_out(manifest: Manifest) -> dict[str, Any]:
    """A manifest as plain JSON."""
    return {
        "name": manifest.name,
        "version": manifest.version,
        "edition": manifest.edition,
        "digest": manifest.digest,
        "subsets": list(manifest.subsets),
        "facts": list(manifest.facts),
        "disclaimer": manifest.disclaimer,
        "bounds": manifest.bounds,
        "states": list(manifest.states),
    }


def _evidence_out(evidence: Evidence, reading: Reading | None) -> str | list[str | int]:
    """The fact, where its latest sample is cited; with its place, where another one is; else in words."""
    place = None if reading is None else place_of(evidence, reading)
    if place is None:
        return [evidence.fact, evidence.value, evidence.unit, evidence.at, evidence.source]
    return [evidence.fact, place] if place else evidence.fact


def result_out(result: ScreenResult, facts: Mapping[str, Reading] = MappingProxyType({})) -> dict[str, Any]:
    """A result as plain JSON; what is empty is left out. ``facts``: the case's, whose readings it cites."""
    found: dict[str, Any] = {"outcome": result.outcome.value}
    said = {
        "subset": result.subset,
        "edition": result.edition,
        "digest": result.digest,
        "rationale": result.rationale,
        "advise_higher": result.advise_higher,
        "basis": result.basis,
        "discharge_ready": result.discharge_ready,
    }
    for name, value in said.items():
        if value is not None and value != "":
            found[name] = value
    for name in ("extended_stay_reason", "avoidable_day", "avoidable_attribution"):
        if getattr(result, name) is not None:
            found[name] = getattr(result, name)
    for name in ("missing", "advise_missing", "tags", "hold"):
        if getattr(result, name):
            found[name] = list(getattr(result, name))
    if (status := result.content_status) != NOBODY:
        found["content_status"] = [status.state, list(status.by), status.on]
    if result.supported is not None:
        found["supported"] = result.supported.name
    if result.evidence:
        found["evidence"] = evidence = list[str | list[str | int]]()
        for each in result.evidence:
            reading = facts.get(each.fact)
            is_latest = reading is not None and spelt((each.fact, id(reading.latest))) is each  # as most are
            evidence.append(each.fact if is_latest else _evidence_out(each, reading))
    if result.scores:
        found["scores"] = {k: list(v) if isinstance(v, tuple) else v for k, v in result.scores.items()}
    return found


def _check(condition: object, code: str) -> None:
    if not condition:
        raise WireError(code)


def _text(value: object, code: str, limit: int = 200) -> str:
    if not isinstance(value, str) or len(value) > limit or not value.isprintable():
        raise WireError(code)
    return value


def _word(value: object, code: str) -> str:
    if not isinstance(value, str) or not _WORD.fullmatch(value):
        raise WireError(code)
    return value


def _words(value: object, code: str, limit: int = 500) -> tuple[str, ...]:
    if not isinstance(value, list) or len(value) > limit:
        raise WireError(code)
    return tuple(_word(item, code) for item in value)


_MANIFEST = frozenset(
    {"name", "version", "edition", "digest", "subsets", "facts", "disclaimer", "bounds", "states"}
)


def manifest_in(data: object, name: str) -> Manifest:
    """A plugin's manifest, checked. Raises WireError with the field's name."""
    if not isinstance(data, dict):
        raise WireError("manifest")
    _check(set(data) == _MANIFEST, "fields")
    _check(data["name"] == name, "name")
    _check(isinstance(data["bounds"], bool), "bounds")
    _check(isinstance(data["digest"], str) and _DIGEST.fullmatch(data["digest"]), "digest")
    facts, subsets = _words(data["facts"], "facts"), _words(data["subsets"], "subsets")
    _check(all(_FACT.fullmatch(fact) for fact in facts) and len(set(facts)) == len(facts), "facts")
    _check(subsets and len(set(subsets)) == len(subsets), "subsets")
    states = _words(data["states"], "states")
    _check(set(states) <= set(STATES) and len(states) in (0, len(subsets)), "states")
    return Manifest(
        name,
        _text(data["version"], "version", 60),
        _text(data["edition"], "edition", 60),
        data["digest"],
        subsets,
        facts,
        _text(data["disclaimer"], "disclaimer", RATIONALE_LIMIT),
        data["bounds"],
        states,
    )


def greeting_in(data: object, name: str) -> tuple[Manifest | None, str, str]:
    """A worker's first words: manifest, level of isolation, why there is no manifest. Raises WireError."""
    if not isinstance(data, dict) or set(data) != {"manifest", "why", "isolation"}:
        raise WireError("greeting")
    level = _word(data["isolation"], "isolation")
    why = data["why"]
    if not isinstance(why, str):
        raise WireError("why")
    why = "".join(c if c.isprintable() else "?" for c in why[:WHY_LIMIT])
    return None if data["manifest"] is None else manifest_in(data["manifest"], name), level, why


def _evidence_in(data: object, manifest: Manifest, case: Case, told: EncodeCache) -> tuple[Evidence, ...]:
    if not isinstance(data, list) or len(data) > EVIDENCE_LIMIT:
        raise WireError("evidence")
    facts, known, found = case.facts, told.cited, list[Evidence]()
    try:
        for entry in data:
            # nobody can cite what nobody was told
            if isinstance(entry, str):
                fact, sample = entry, facts[entry].latest
            elif len(entry) == 2:
                fact, sample = entry[0], places(facts[entry[0]])[_place(entry[1])]
            else:
                found.append(_in_words(entry, case))
                continue
            if not manifest.bounds and facts[fact].has_bounds:
                raise WireError("evidence")
            its = known.get((fact, id(sample)))
            if its is None:
                its = known[fact, id(sample)] = _as_words(told.evidence(fact, sample))
            found.append(its)
    except (TypeError, LookupError):
        raise WireError("evidence") from None
    return tuple(found)


def _place(value: object) -> int:
    if type(value) is not int or value < 0:
        raise WireError("evidence")
    return value


def _in_words(entry: object, case: Case) -> Evidence:
    if not isinstance(entry, list) or len(entry) != 5 or entry[0] not in case.facts:
        raise WireError("evidence")
    return _as_words(Evidence(*entry))


def _as_words(evidence: Evidence) -> Evidence:
    # JSON has one kind of text: anything else is a TypeError
    whole = "".join((evidence.fact, evidence.value, evidence.unit, evidence.at, evidence.source))
    if len(whole) > EVIDENCE_CHARACTERS or not whole.isprintable():
        raise WireError("evidence")
    return evidence


def _scores_in(data: object) -> Mapping[str, int | str | tuple[str, ...]]:
    if not isinstance(data, dict) or len(data) > 100:
        raise WireError("scores")
    found: dict[str, int | str | tuple[str, ...]] = {}
    for key, value in data.items():
        _check(_FACT.fullmatch(key), "scores")
        if type(value) is int and abs(value) < 1 << 53:
            found[key] = value
        elif isinstance(value, list):
            found[key] = _words(value, "scores")
        else:
            found[key] = _word(value, "scores")
    return found


def _holds_in(data: object) -> tuple[str, ...]:
    """Reasons in codes of their own form: what a plugin says here is shown to people who see no finding."""
    found = _words(data, "hold", MOST_HOLDS)
    _check(all(_HOLD.fullmatch(code) for code in found), "hold")
    return found


def _status_in(data: object) -> ContentStatus:
    """Who answers for the content: nobody of a draft, and somebody on a day of anything else."""
    if data is None:
        return NOBODY
    if not isinstance(data, list) or len(data) != 3 or not isinstance(data[1], list) or len(data[1]) > 5:
        raise WireError("content_status")
    state, by, on = data
    names = tuple([_text(name, "content_status") for name in by])
    day = _text(on, "content_status")
    _check(state in STATES and (state == DRAFT) == (not names) == (not day), "content_status")
    _check(not day or _DAY.fullmatch(day), "content_status")
    return ContentStatus(state, names, day)


def _one_of(allowed: tuple[str, ...]) -> Callable[[object, str], str]:
    def check(value: object, code: str) -> str:
        if value not in allowed:
            raise WireError(code)
        return str(value)

    return check


_OUTCOME = _one_of(tuple(Outcome))
_PLAIN: Mapping[str, Callable[[object, str], str]] = {
    "advise_higher": _one_of(("YES", "NO", "UNKNOWN")),
    "basis": _word,
    "extended_stay_reason": _word,
    "avoidable_day": _word,
    "avoidable_attribution": _word,
}
_OTHER = frozenset(
    {"outcome", "subset", "edition", "digest", "rationale", "discharge_ready", "missing", "advise_missing"}
    | {"tags", "supported", "evidence", "scores", "hold", "content_status"}
)
_KEYS = _OTHER | _PLAIN.keys()


def result_in(data: object, manifest: Manifest, case: Case, told: EncodeCache | None = None) -> ScreenResult:
    """A plugin's answer, checked against the vocabulary, its manifest and the case it was sent.

    ``told``: what is written of the case already.

    Raises:
        WireError: the first field that is outside the contract, by name.
    """
    if not isinstance(data, dict):
        raise WireError("result")
    _check(data.keys() <= _KEYS, "fields")
    outcome = _OUTCOME(data.get("outcome"), "outcome")
    subset = data.get("subset")
    _check(subset is None or subset in manifest.subsets, "subset")
    _check(data.get("edition") == manifest.edition and data.get("digest") == manifest.digest, "digest")
    supported = data.get("supported")
    _check(supported is None or (isinstance(supported, str) and supported in Level.__members__), "supported")
    missing = _words(data.get("missing", []), "missing")
    advise = _words(data.get("advise_missing", []), "advise_missing")
    if missing or advise:
        _check(set(missing) | set(advise) <= set(manifest.facts), "missing")
    _check(not missing or outcome == Outcome.PEND, "missing")
    ready = data.get("discharge_ready")
    _check(ready is None or isinstance(ready, bool), "discharge_ready")
    plain = {name: check(data[name], name) for name, check in _PLAIN.items() if name in data}
    return ScreenResult(
        outcome=Outcome(outcome),
        subset=subset,
        edition=manifest.edition,
        digest=manifest.digest,
        supported=None if supported is None else Level[supported],
        missing=missing,
        rationale=_text(data.get("rationale", ""), "rationale", RATIONALE_LIMIT),
        evidence=_evidence_in(data.get("evidence", []), manifest, case, told or EncodeCache()),
        advise_missing=advise,
        discharge_ready=ready,
        tags=_words(data.get("tags", []), "tags", 20),
        scores=_scores_in(data.get("scores", {})),
        hold=_holds_in(data.get("hold", [])),
        content_status=_status_in(data.get("content_status")),
        advise_higher=plain.get("advise_higher"),
        basis=plain.get("basis"),
        extended_stay_reason=plain.get("extended_stay_reason"),
        avoidable_day=plain.get("avoidable_day"),
        avoidable_attribution=plain.get("avoidable_attribution"),
    )

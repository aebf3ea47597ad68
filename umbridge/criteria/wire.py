"""What a frame between the daemon and a worker holds: cases on their way there, results on their way back.

There are no floats: numbers that criteria compare travel as text. Whatever a worker says is checked here, in
the daemon, against the model's vocabulary and the plugin's own manifest before anyone uses it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Set
from datetime import datetime
from decimal import Decimal, InvalidOperation
from typing import Any

from umbridge.criteria.frames import WireError
from umbridge.interval import Interval
from umbridge.model import (
    Case,
    Evidence,
    FactValue,
    Level,
    Manifest,
    Outcome,
    Reading,
    ReviewType,
    Sample,
    ScreenResult,
    Status,
)
from umbridge.signed import DRAFT, NOBODY, STATES, ContentStatus

RATIONALE_LIMIT = 2000  # characters
WHY_LIMIT = 500  # characters
EVIDENCE_LIMIT = 256  # entries; the dictionary has 135 facts
_WORD = re.compile(r"[A-Za-z0-9_.,:/+-]{1,120}")
_FACT = re.compile(r"[a-z][a-z0-9_]{0,63}")
_HOLD = re.compile(r"[A-Z][A-Z0-9_]{0,39}")
_DAY = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)
MOST_HOLDS = 8
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


# --- a case, on its way to a worker -------------------------------------------------------------------


def _value_out(value: FactValue) -> str | bool:
    if isinstance(value, bool):
        return value
    if isinstance(value, Decimal):
        return f"#{value}"
    return f"~{value}" if isinstance(value, Interval) else f"={value}"


def _value_in(value: str | bool) -> FactValue:
    if isinstance(value, bool):
        return value
    if value[0] == "#":
        return Decimal(value[1:])
    if value[0] != "~":
        return value[1:]
    found = Interval.parse(value[1:])
    if found is None:
        raise ValueError
    return found


class Told:
    """What of one review's facts is already written: several plugins are told the same readings.

    For cases that are all alive while this is used: parts are known by identity, which tells decimals and
    times apart at a small part of what comparing them costs.
    """

    __slots__ = ("readings", "samples", "times")

    def __init__(self) -> None:
        self.readings: dict[int, list[Any]] = {}
        self.samples: dict[int, list[Any]] = {}
        self.times: dict[int, str] = {}

    def sample(self, sample: Sample) -> list[Any]:
        out = self.samples.get(id(sample))
        if out is None:
            at = self.times.get(id(sample.at))
            if at is None:
                at = self.times[id(sample.at)] = sample.at.isoformat()
            out = self.samples[id(sample)] = [_value_out(sample.value), at, sample.source, sample.unit]
        return out

    def reading(self, reading: Reading) -> list[Any]:
        """Four or five scalars for the usual single sample; else the samples once each, then who is which."""
        latest, series = reading.latest, reading.series
        if (reading.low is latest is reading.high) and (
            not series or (len(series) == 1 and series[0] is latest)
        ):
            return self.sample(latest) if series else [*self.sample(latest), 0]
        place, samples, roles = dict[int, int](), list[list[Any]](), list[int]()
        for sample in (latest, reading.low, reading.high, *series):
            at = place.get(id(sample))
            if at is None:
                at = place[id(sample)] = len(samples)
                samples.append(self.sample(sample))
            roles.append(at)
        return [samples, roles]


def _sample_in(parts: list[Any], read: dict[int | str, Any]) -> Sample:
    """``read``: times by their text, and samples by what they were read of, which many facts share."""
    known: Sample | None = read.get(id(parts))
    if known is None:
        text, at, source, unit, *_ = parts
        if at not in read:
            read[at] = datetime.fromisoformat(at)
        known = read[id(parts)] = Sample(_value_in(text), read[at], source, unit)
    return known


def _reading_in(fact: str, parts: list[Any], read: dict[int | str, Any]) -> Reading:
    if isinstance(parts[0], list):
        samples = [_sample_in(part, read) for part in parts[0]]
        latest, low, high, *series = [samples[place] for place in parts[1]]
        return Reading(fact, latest, low, high, tuple(series))
    only = _sample_in(parts, read)
    return Reading(fact, only, only, only, () if len(parts) == 5 else (only,))


def case_out(case: Case, facts: Set[str], told: Told | None = None, *, bounds: bool = True) -> list[Any]:
    """A case as plain JSON, with the declared facts and no others. ``told`` shares work between cases.

    A plugin without ``bounds`` is not told of a fact that has any: it would take "<6" for what it knows, or
    an older sample for the latest.
    """
    told = told or Told()
    known = told.readings
    said: dict[str, list[Any]] = {}
    for fact, reading in case.facts.items():
        if fact in facts and (bounds or not reading.has_bounds):
            out = known.get(id(reading))
            if out is None:
                out = known[id(reading)] = told.reading(reading)
            said[fact] = out
    return [
        case.pseudonym,
        case.review.value,
        case.requested_status.value,
        int(case.requested_level),
        case.as_of.isoformat(),
        case.episode_day,
        list(case.diagnoses),
        case.payer_class,
        None if case.observation_hours is None else str(case.observation_hours),
        case.observation_ended,
        said,
        [fact for fact in case.unread if fact in facts],
        *([own] if (own := _in_question(case, facts)) else ()),
    ]


def _in_question(case: Case, facts: Set[str]) -> dict[str, list[str]]:
    """Left out where there is nothing of the kind: a question that was put before is the same question."""
    said = ((why, [fact for fact in its if fact in facts]) for why, its in case.in_question.items())
    return {why: its for why, its in said if its}


def case_in(parts: list[Any]) -> Case:
    """The case a worker was sent. Raises WireError when it is not one."""
    try:
        name, review, status, level, as_of, day, diagnoses, payer, hours, ended, facts, *more = parts
        unread, in_question = more[0] if more else (), more[1] if more[1:] else {}
        read: dict[int | str, Any] = {}
        return Case(
            name,
            ReviewType(review),
            Status(status),
            Level(level),
            datetime.fromisoformat(as_of),
            day,
            tuple(diagnoses),
            payer,
            None if hours is None else Decimal(hours),
            ended,
            {fact: _reading_in(fact, reading, read) for fact, reading in facts.items()},
            tuple(unread),
            {why: tuple(its) for why, its in in_question.items()},
        )
    except (ValueError, TypeError, LookupError, AttributeError, InvalidOperation):
        raise WireError("case") from None


# --- what a worker says, on its way back ---------------------------------------------------------------


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


def result_out(result: ScreenResult) -> dict[str, Any]:
    """A result as plain JSON; what is empty is left out."""
    found: dict[str, Any] = {"outcome": result.outcome.value}
    for name in ("subset", "edition", "digest", "rationale", "advise_higher", "basis", "discharge_ready"):
        value = getattr(result, name)
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
        found["evidence"] = [[e.fact, e.value, e.unit, e.at, e.source] for e in result.evidence]
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


def _evidence_in(data: object, case: Case) -> tuple[Evidence, ...]:
    if not isinstance(data, list) or len(data) > EVIDENCE_LIMIT:
        raise WireError("evidence")
    facts, found = case.facts, []
    for entry in data:
        if not isinstance(entry, list) or len(entry) != 5:
            raise WireError("evidence")
        try:
            whole = "".join(entry)  # JSON has one kind of text: anything else is a TypeError
        except TypeError:
            raise WireError("evidence") from None
        # nobody can cite what nobody was told
        if len(whole) > 500 or not whole.isprintable() or entry[0] not in facts:
            raise WireError("evidence")
        found.append(Evidence(*entry))
    return tuple(found)


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


def result_in(data: object, manifest: Manifest, case: Case) -> ScreenResult:
    """A plugin's answer, checked against the vocabulary, its manifest and the case it was sent.

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
        evidence=_evidence_in(data.get("evidence", []), case),
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

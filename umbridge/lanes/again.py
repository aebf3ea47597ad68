"""A determination given again from what is kept, and held to what is written of it, word for word.

The ledger has what an answer cited and not the whole case. The stay is folded again from its kept messages
as far as the row that was worked, the plugins are asked the same question, and the answer is taken for the
one on the ledger only where every slot of it comes out the same. Anything else is no explanation of it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from umbridge_audit.entry import JsonValue
from umbridge_audit.redact import TELLING
from umbridge_audit.slots import SCHEMAS

from umbridge.criteria.why_rows import WhyRow, unknown
from umbridge.lanes.asking import Screening, questions_of, screenings
from umbridge.review.aside import aside, held_for, with_aside
from umbridge.review.plan import reviews
from umbridge.review.record import RULES, determination_draft
from umbridge.review.review import Review
from umbridge.screening.host import Host
from umbridge.screening.why_codec import why_rows
from umbridge.stay.aside_words import AsideRow
from umbridge.stay.fold import StayFold
from umbridge.stay.stay import Stay

SCHEMA = SCHEMAS["determination"]
#: What names the entry and how it came to be written, and so is another each time; and whether the review
#: closed, which went by the other plugins' answers in force then.
BESIDE = frozenset(
    (
        *("actor", "state", "row", "control_id", "message_digest", "isolation", "latency_us", "replay"),
        *("supersedes", "closes", "plugin_version", "schema", "ts"),
    )
)
_TELLING = {
    *(name for names in TELLING.values() for name in names),
    *(n for n, c in SCHEMA.slots if c == "sens"),
}
COMPARED = tuple(name for name in SCHEMA.number if name not in BESIDE)


class Because(StrEnum):
    """Why a determination cannot be shown again."""

    FAILED = "plugin_failed_then"
    RULES = "rules_differ"
    CONTENT = "content_not_installed"
    MESSAGE = "message_not_kept"
    REVIEW = "review_not_found"
    UNANSWERED = "plugin_gives_no_answer"
    READING = "reading_differs"


@dataclass(frozen=True, slots=True)
class Again:
    """``because`` is None where the answer came out as written; then ``why`` is the tree behind it."""

    because: Because | None = None
    says: str = ""  # in words, without anything of the patient
    differs: tuple[str, ...] = ()  # the slots that come out otherwise
    why: tuple[WhyRow, ...] = ()
    not_used: tuple[AsideRow, ...] = ()


def hindered(slots: Mapping[str, JsonValue], host: Host) -> Again | None:
    """Why nothing need be folded: the answer was none, or rules or content are others now."""
    plugin, digest = str(slots["plugin"]), str(slots.get("content_digest"))
    if slots.get("state") != "screened":
        return Again(Because.FAILED, "the plugin failed then: there is no answer to explain")
    if slots.get("rules") != RULES:
        told = slots.get("rules") or "of before editions were named"
        return Again(Because.RULES, f"rules {told} judged, and this umbridge has {RULES}")
    installed = {info.name: info.digest for info in host.plugins}
    if installed.get(plugin) != digest:
        there = installed.get(plugin)
        now = f"{plugin} has {there[:19]}… now" if there else f"{plugin} does not run here"
        return Again(Because.CONTENT, f"content {digest[:19]}… is not installed: {now}")
    return None


def given_again(
    slots: Mapping[str, JsonValue], fold: StayFold, host: Host, completed: Sequence[frozenset[str]]
) -> Again:
    """The determination of these slots from its folded stay. ``host`` asks for trees.

    ``completed``: which reviews were closed then is not kept; the sets that may be meant, tried in turn.
    """
    as_of = datetime.fromisoformat(str(slots["as_of"]))
    stay = fold.stay(as_of)
    review = _review(slots, stay, completed)
    if review is None:
        return Again(Because.REVIEW, "the stay as it is read now has no such review of that moment")
    ((_, whole),) = questions_of(fold, stay, (review,), host)
    (said,) = screenings(host, [(review, whole, lambda name: f"again-{name}")])
    (item,) = [each for each in said if each.plugin == slots["plugin"]]
    if item.screened.failed is not None:
        return Again(Because.UNANSWERED, f"the plugin gives no answer now: {item.screened.failed}")
    differs = _differs(slots, fold, stay, item, as_of)
    if differs:
        return Again(Because.READING, f"what is kept is read otherwise now: {_named(differs)}", differs)
    result, why = item.screened.result, why_rows(item.screened.why)
    lacked = {*result.missing, *result.advise_missing, *unknown(why)}
    return Again(None, "", (), tuple(why), tuple(aside(fold, stay, review, lacked, held_for(result))))


def _review(slots: Mapping[str, JsonValue], stay: Stay, completed: Sequence[frozenset[str]]) -> Review | None:
    """The review of that id, moment and request."""
    wanted = tuple(
        slots.get(name) for name in ("review_id", "judged_at", "requested_status", "requested_level")
    )
    for closed in completed:
        for each in reviews(stay, closed):
            asked = (each.requested_status.value, each.requested_level.name)
            if (each.id, each.judged_at.isoformat(), *asked) == wanted:
                return each
    return None


def _named(differs: Sequence[str]) -> str:
    """Names of slots that tell nothing by being named: whether an entry is restricted is not told."""
    plain = [name for name in differs if name not in _TELLING]
    return ", ".join([*plain, *(["its reasons"] if len(plain) < len(differs) else [])])


def _differs(
    slots: Mapping[str, JsonValue], fold: StayFold, stay: Stay, item: Screening, as_of: datetime
) -> tuple[str, ...]:
    """The names of the slots that come out otherwise than written, by the ledger's own spelling of each."""
    draft = determination_draft(
        row=0,
        control_id="",
        message_digest="",
        stay=stay,
        review=item.review,
        plugin=item.plugin,
        version="",
        result=with_aside(fold, stay, item.review, item.screened.result),
        latency_us=0,
        isolation="",
        failed=None,
        as_of=as_of,
        closes=False,
    )
    told = {name: slots[name] for name in COMPARED if slots.get(name) is not None}
    written, now = SCHEMA.texts(told), SCHEMA.texts(draft.values)
    return tuple(name for name in COMPARED if written[SCHEMA.number[name]] != now[SCHEMA.number[name]])

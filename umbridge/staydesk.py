"""Questions about stays and their open reviews: logged first, read back from the fold, shown redacted."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from umbridge_audit.disclose import Need, Viewer
from umbridge_audit.redact import Permission
from umbridge_audit.seal import SealError

from umbridge.control import go_on
from umbridge.door import MAX_NUMBER, MAX_TEXT, PAGE, PAGE_BYTES, Door, given, number_of, shown, text_of
from umbridge.errors import StoreError, UmbridgeError, UsageError
from umbridge.hl7 import er7
from umbridge.hl7.moments import EPOCH
from umbridge.hl7.translate import translate
from umbridge.model import Event
from umbridge.naming import visit_token
from umbridge.review.plan import stay_json
from umbridge.review.standing import LaneReviews
from umbridge.review.worklist import WorklistLine
from umbridge.site import SiteProfile
from umbridge.stay.clock import instant, moment
from umbridge.stay.fold import NeedsRefold, Stay, StayFold
from umbridge.stay.identity import taken_part
from umbridge.store import directory, inbox, stays
from umbridge.store.worklist import Place, Wanted, payer_token, unit_token
from umbridge.worklist import Unreadable, Worklist

DUE_SOON = timedelta(hours=24)
# Which compartment a stay's key belongs to, as PV1 and the ledger's slots have it: where and when a person
# lay is about the person, what was ordered and judged is clinical, the work that is left to do is operations.
# Deny by default: what is not named here is clinical.
STAY_COMPARTMENT = (
    dict.fromkeys(
        (
            *("visit", "accounts", "mrn", "mrn_aliases", "unit", "bed", "care_start"),
            *("inpatient_start", "observation_start", "discharged_at", "locations", "leaves"),
        ),
        "ident",
    )
    | dict.fromkeys(("payer_class", "coverage", "authorizations"), "fin")
    | dict.fromkeys(
        (
            *("lifecycle", "open_reviews", "void_reviews", "closed_reviews", "continued_stay_due"),
            *("events_applied", "exceptions", "notices_due"),
        ),
        "ops",
    )
)
# The same for a line of the worklist.
REVIEW_COMPARTMENT = (
    dict.fromkeys(("visit", "mrn", "unit", "opened_at"), "ident")
    | {"payer_class": "fin"}
    | dict.fromkeys(("review", "review_id", "due", "overdue", "entries"), "ops")
)
# Who may not see a field may not look for it.
SEARCHES = {
    "unit": Need("ident", "unit", "what --unit looks for"),
    "payer": Need("fin", "payer_class", "what --payer looks for"),
}


class GoneError(UmbridgeError):
    """No stay is in that lane: there never was one, or it was joined to another."""


class StayDesk:
    """Answers about stays, for one account at a time. Thread-safe: the pen is."""

    def __init__(
        self, door: Door, site: SiteProfile, charset: Callable[[str], str], worklist: Worklist
    ) -> None:
        """``charset``: the one that a feed's messages are in when they do not say."""
        self._door = door
        self._pen = door.pen
        self._site = site
        self._charset = charset
        self._worklist = worklist

    def list(self, viewer: Viewer, args: dict[str, Any]) -> Iterator[dict[str, Any]]:
        allowed = self._door.look(viewer, args, "search", "stays list")
        for lane in self._pen.call(lambda batch: [*stays.lanes(batch.cursor)]):
            try:
                yield self._shown(*self._read(lane), allowed)
            except GoneError:
                continue  # joined to another stay meanwhile
            except SealError:  # one that does not open must not hide those that come after it
                yield dict.fromkeys(self._keys()) | {"exceptions": [inbox.UNREADABLE]}

    def show(self, viewer: Viewer, args: dict[str, Any]) -> Iterator[dict[str, Any]]:
        number = text_of(args, "visit")
        lane = self.lane(number)
        with self._pen.reading() as reader:
            count = int(reader.has_stay(lane))
        needs = (Need("ident", "visit", "what a stay is looked up by"),)
        allowed = self._door.look(
            viewer, args, "read", "stays show", patient=number, count=count, needs=needs
        )
        try:
            yield self._shown(*self._read(lane), allowed, detailed=True)
        except SealError:
            raise StoreError("this stay, or a message of it, does not open; restore a backup") from None

    def worklist(self, viewer: Viewer, args: dict[str, Any]) -> Iterator[dict[str, Any]]:
        """The reviews that wait for a person, the earliest due first; those without a due time last."""
        asked = given(args)
        after, limit = place_of(asked), number_of({"limit": MAX_NUMBER} | asked, "limit")
        named = [f"--{name}" + (f" {value}" if name == "payer" else "") for name, value in asked.items()]
        needs = [need for name, need in SEARCHES.items() if asked.get(name)]
        query = " ".join(["reviews list", *named])[:MAX_TEXT]
        allowed = self._door.look(viewer, args, "search", query, needs=needs)
        now = datetime.now(UTC)
        for line in self._worklist.lines(self._wanted(asked, now), after, limit):
            go_on()
            row = _line(line, now) if isinstance(line, WorklistLine) else _unreadable(line, now)
            yield {
                key: shown(allowed, REVIEW_COMPARTMENT.get(key, "clin"), key, value)
                for key, value in row.items()
            }

    def _wanted(self, asked: dict[str, Any], now: datetime) -> Wanted:
        keyring, unit, payer = self._pen.keyring, text_of(asked, "unit"), text_of(asked, "payer")
        until = now if asked.get("overdue") else now + DUE_SOON if asked.get("due") else None
        return Wanted(
            unit=unit_token(keyring, unit) if unit else None,
            payer=payer_token(keyring, payer) if payer else None,
            due_before=None if until is None else instant(until),
        )

    def lane(self, visit: str) -> bytes:
        """The stay that a visit's number leads to, now."""
        token = visit_token(self._pen.keyring, visit, self._site.visit_authority)
        return self._pen.call(lambda batch: directory.resolve(batch.cursor, token)) or token

    def _read(self, lane: bytes) -> tuple[Stay, LaneReviews]:
        """A stay as its newest message left it. Raises GoneError, SealError."""
        saved = self._pen.call(lambda batch: stays.load(batch.cursor, batch.keyring, lane))
        if saved is None:
            raise GoneError("no stay has that visit number; `umbridge stays list` shows which there are")
        try:
            fold = StayFold.restore(self._site, saved.head, saved.increments)
        except NeedsRefold:  # folded under another site profile: again from the inbox, and nothing is written
            fold = StayFold.refold(self._site, self._events(lane, saved.seq))
        return fold.stay(saved.said.as_of), saved.said

    @staticmethod
    def _shown(
        stay: Stay, said: LaneReviews, allowed: Permission, *, detailed: bool = False
    ) -> dict[str, Any]:
        found = stay_json(stay, said.completed) | (stay.detail() if detailed else {})
        return {
            key: shown(allowed, STAY_COMPARTMENT.get(key, "clin"), key, value) for key, value in found.items()
        }

    def _keys(self) -> Iterable[str]:
        return stay_json(StayFold(self._site).stay(EPOCH))

    def _events(self, lane: bytes, until: int) -> Iterator[tuple[int, Event]]:
        """Every message the lane's stay was made of. Raises SealError: half a stay is a wrong one."""
        after = 0
        while found := self._pen.call(
            lambda batch, after=after: inbox.sealed_lane(batch.cursor, lane, after, until, PAGE, PAGE_BYTES)  # type: ignore[misc]
        ):
            for record, wanted in found:
                go_on()
                row = inbox.open_leniently(self._pen.keyring, record)
                if row.reason == inbox.UNREADABLE:
                    raise SealError("a message of this stay does not open")
                message = er7.parse(row.frame, self._charset(row.feed))
                event = translate(message, self._site.zone, mrn_authority=self._site.mrn_authority)
                after = row.seq
                for part in wanted:
                    yield row.seq, taken_part(event, part)


def place_of(asked: dict[str, Any]) -> Place | None:
    """Where the page before ended: that line's due time and number, as DUE/NUMBER. Raises UsageError."""
    text = text_of(asked, "after")
    if not text:
        return None
    due, slash, review_id = text.rpartition("/")
    try:
        at = instant(datetime.fromisoformat(due)) if due else None
    except (ValueError, TypeError):  # no time, or one without a zone
        at, review_id = None, ""
    if not slash or not review_id:
        raise UsageError("after: expected the last line's due time and review_id, as DUE/REVIEW_ID")
    return Place(at, review_id)


def _unreadable(line: Unreadable, now: datetime) -> dict[str, Any]:
    due = None if line.place.due is None else moment(line.place.due, ZoneInfo("UTC"))
    known = {
        "due": None if due is None else due.isoformat(),
        "overdue": due is not None and due < now,
        "review": inbox.UNREADABLE,
        "review_id": line.place.review_id,
    }
    return dict.fromkeys(REVIEW_COMPARTMENT) | known


def _line(line: WorklistLine, now: datetime) -> dict[str, Any]:
    answers = sorted(line.answers.items())
    return {
        "due": None if line.due is None else line.due.isoformat(),
        "overdue": line.due is not None and line.due < now,
        "visit": line.visit,
        "mrn": line.mrn,
        "unit": line.unit,
        "payer_class": line.payer_class,
        "review": line.type.value,
        "review_id": line.review_id,
        "opened_at": line.opened_at.isoformat(),
        "episode_day": line.episode_day,
        "requested": {"status": line.requested_status.value, "level": line.requested_level.name},
        "outcomes": {plugin: answer.outcome for plugin, answer in answers},
        "entries": {plugin: answer.entry for plugin, answer in answers},
    }

"""PATH 3: one question in, the access entry on the ledger, then a redacted answer out.

Every function that shows anything of a message, a stay or an entry goes through ``umbridge_audit.disclose``,
the only door to plaintext.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import Any

from umbridge_audit.disclose import Need, Viewer
from umbridge_audit.redact import AccessTable, Permission

from umbridge.backup import Backups
from umbridge.config import Settings, User
from umbridge.control import go_on
from umbridge.door import MAX_NUMBER, MAX_TEXT, PAGE, PAGE_BYTES, Door, given, number_of, shown, text_of
from umbridge.errors import NotHl7Error, UmbridgeError, UsageError
from umbridge.hl7 import dictionary, er7
from umbridge.hl7.translate import translate
from umbridge.keycare import KeyCare
from umbridge.ledgerdesk import LedgerDesk
from umbridge.model import Event
from umbridge.people import People
from umbridge.quarantine import Settlement
from umbridge.reports import Reports
from umbridge.roster import Roster
from umbridge.site import SiteProfile
from umbridge.stay import part2
from umbridge.staydesk import StayDesk
from umbridge.store import inbox, search
from umbridge.store.batch import Batch
from umbridge.store.engine import DATABASE
from umbridge.store.writer import Pen
from umbridge.worklist import Worklist

# Which compartment a segment's content belongs to; what is not named here is clinical (the strictest common
# one), so that a Z segment nobody described is not shown by default.
SEGMENT_COMPARTMENT = {
    "MSH": "ops",
    "SFT": "ops",
    "EVN": "ops",
    "PID": "ident",
    "PD1": "ident",
    "NK1": "ident",
    "MRG": "ident",
    "PV1": "ident",
    "IN1": "fin",
    "IN2": "fin",
    "IN3": "fin",
    "GT1": "fin",
    "ACC": "fin",
}
# Who may not see a field may not look for it: an answer, even an empty one, says whether there is such a one.
SEARCHES = {
    "mrn": Need("ident", "mrn", "what --mrn looks for"),
    "visit": Need("ident", "visit", "what --visit looks for"),
    "control_id": Need("ops", "control_id", "what --control-id looks for"),
}

Question = Callable[[Viewer, dict[str, Any]], Iterator[dict[str, Any]]]


class Inquiry:
    """Answers the questions of the command line for one account at a time. Thread-safe: the pen is."""

    def __init__(
        self, settings: Settings, pen: Pen, site: SiteProfile, users: dict[str, User], table: AccessTable
    ) -> None:
        self._settings = settings
        self._pen = pen
        self._site = site
        self._table = table
        self.door = Door(pen, users, table)
        self._ledger = LedgerDesk(settings, self.door)
        self._keycare = KeyCare(self.door, settings.policy)
        self._people = People(self.door, settings.users, users)
        self._reports = Reports(settings, self.door)
        self._roster = Roster(settings, self.door)
        self.worklist = Worklist(pen, site, self._charset)
        self._stays = StayDesk(self.door, site, self._charset, self.worklist)
        self._settlement = Settlement(self.door, self._charset, site)
        backups = Backups(settings, self.door)
        self.known: dict[str, Question] = {
            "messages.list": self.messages_list,
            "messages.show": self.messages_show,
            "stays.list": self._stays.list,
            "stays.show": self._stays.show,
            "reviews.list": self._stays.worklist,
            "ledger.list": self._ledger.ledger_list,
            "ledger.show": self._ledger.ledger_show,
            "ledger.export": self._ledger.ledger_export,
            "ledger.proof": self._ledger.ledger_proof,
            "ledger.checkpoint": self._ledger.ledger_checkpoint,
            "messages.replay": self._settlement.replay,
            "messages.dismiss": self._settlement.dismiss,
            "users.list": self._people.list,
            "users.add": self._people.add,
            "users.role": self._people.role,
            "users.disable": self._people.disable,
            "breakglass.list": self._people.glass_list,
            "breakglass.review": self._people.glass_review,
            "report.access": self._reports.access,
            "report.disclosures": self._reports.disclosures,
            "report.breach-scope": self._reports.breach,
            "disclosures.record": self._reports.record,
            "backup.create": backups.create,
            "keys.list": self._keycare.list,
            "keys.rotate": self._keycare.rotate,
            "plugins.approve": self._roster.approve,
        }
        for pattern in ("export-*.jsonl", ".export-*.jsonl.*.part"):  # ours alone: we hold the pen
            for left in settings.store.glob(pattern):
                left.unlink(missing_ok=True)  # a daemon was killed in the middle of making it

    # -- messages -------------------------------------------------------------------------------------

    def messages_list(self, viewer: Viewer, args: dict[str, Any]) -> Iterator[dict[str, Any]]:
        wanted, query = self._wanted(args)
        patient = text_of(args, "mrn") or text_of(args, "visit") or None
        needs = [need for name, need in SEARCHES.items() if args.get(name) not in (None, "")]
        allowed = self.door.look(viewer, args, "search", query, patient=patient, needs=needs)
        if wanted is None:
            found = self._rows(lambda batch, after: inbox.sealed_page(batch.cursor, after, PAGE, PAGE_BYTES))
        else:
            found = self._found(wanted, number_of({"limit": MAX_NUMBER} | given(args), "limit"))
        for row in found:
            yield {
                "seq": row.seq,
                "feed": row.feed,
                "control_id": shown(allowed, "ops", "control_id", row.head.get("control_id")),
                "type": shown(allowed, "ops", "message_type", row.head.get("type")),
                "received_at": row.received_at,
                "ack": shown(allowed, "ops", "ack", row.ack),
                "state": row.state,
                "reason": shown(allowed, "ops", "reason", row.reason),
                "visit": shown(allowed, "ident", "visit", row.head.get("visit")),
            }

    def _wanted(self, args: dict[str, Any]) -> tuple[search.Criteria | None, str]:
        """What ``messages list`` looks for, and how the entry says it: patients are sealed apart."""
        asked = given(args)
        named = [f"--{name.replace('_', '-')}" for name in ("mrn", "visit") if asked.get(name)]
        keyring, tokens, lane = self._pen.keyring, [], None
        if number := text_of(asked, "mrn"):
            tokens.append(search.patient(keyring, number, self._site.mrn_authority))
        if control_id := text_of(asked, "control_id"):
            tokens.append(search.control(keyring, control_id))
        if visit := text_of(asked, "visit"):
            lane = self._stays.lane(visit)
        for name in ("control_id", "since", "until", "feed", "state", "after", "limit"):
            if name in asked:
                named.append(f"--{name.replace('_', '-')} {asked[name]}")
        wanted = search.Criteria(
            tuple(tokens),
            lane,
            since=text_of(asked, "since"),
            until=text_of(asked, "until"),
            feed=text_of(asked, "feed"),
            state=text_of(asked, "state"),
            after=number_of({"after": 0} | asked, "after"),
        )
        return (wanted if asked else None), " ".join(["messages list", *named])[:MAX_TEXT]

    def _found(self, wanted: search.Criteria, limit: int) -> Iterator[inbox.Row]:
        """Rows that a search finds, each opened when its turn comes, through a connection of their own."""
        finder = search.Finder(self._settings.store / DATABASE)
        try:
            for record in islice(finder.records(wanted), limit):
                go_on()
                yield inbox.open_leniently(self._pen.keyring, record)
        finally:
            finder.close()

    def _rows(self, page: Callable[[Batch, int], list[Sequence[Any]]]) -> Iterator[inbox.Row]:
        """Rows page after page, each opened when its turn comes: a frame may have 16 MiB."""
        after = 0
        while found := self._pen.call(lambda batch, after=after: page(batch, after)):  # type: ignore[misc]
            after = found[-1][0]
            for record in found:
                go_on()
                yield inbox.open_leniently(self._pen.keyring, record)

    def messages_show(self, viewer: Viewer, args: dict[str, Any]) -> Iterator[dict[str, Any]]:
        seq = number_of(args, "seq")
        record = self._pen.call(lambda batch: inbox.sealed_row(batch.cursor, seq))
        patient = self.door.whose_message(record)
        count = 0 if record is None else 1
        allowed = self.door.look(viewer, args, "read", f"messages show {seq}", patient=patient, count=count)
        if record is None:
            raise UmbridgeError(f"there is no message {seq}; `umbridge messages list` shows which there are")
        row = inbox.open_leniently(self._pen.keyring, record)
        yield {
            "seq": row.seq,
            "feed": row.feed,
            "type": shown(allowed, "ops", "message_type", row.head.get("type")),
            "received_at": row.received_at,
            "ack": shown(allowed, "ops", "ack", row.ack),
            "state": row.state,
            "reason": shown(allowed, "ops", "reason", row.reason),
            "ledger_seq": row.entry,
            "findings": [],
        } | self._content(row, allowed)

    def _parse(self, row: inbox.Row) -> er7.Message:
        """As the pipeline reads it; a feed that is configured no more is read as UTF-8."""
        return er7.parse(row.frame, self._charset(row.feed))

    def _charset(self, name: str) -> str:
        feed = self._settings.feeds.get(name)
        return feed.charset if feed else "utf-8"

    def _event(self, message: er7.Message) -> Event:
        return translate(message, self._site.zone, mrn_authority=self._site.mrn_authority)

    def _is_part2(self, message: er7.Message) -> bool:
        """Whether a message says anything of substance use: 42 CFR part 2 restricts all it is said with."""
        return part2.tells(message, self._event(message), self._site)

    def _content(self, row: inbox.Row, allowed: Permission) -> dict[str, Any]:
        if row.reason == inbox.UNREADABLE:
            return {"segments": [], "findings": [inbox.UNREADABLE]}
        try:
            message = self._parse(row)
        except NotHl7Error:
            return {"segments": [], "findings": ["no_readable_header"]}
        # Who sees no clinical value sees the same of every message: a mask here and nothing there would tell.
        seen = allowed.may("clin", "DG1-3") == "show"
        clinical = "sens" if seen and self._is_part2(message) else "clin"
        version = message.get("MSH-12.1") or "2.5"
        segments = []
        for segment in message.walk():
            compartment = SEGMENT_COMPARTMENT.get(segment.name, clinical)
            fields = []
            for number in range(1, len(segment.fields)):
                if not segment.field(number):
                    continue
                name, datatype = dictionary.field_name(version, segment.name, number)
                fields.append(
                    {
                        "field": f"{segment.name}-{number}",
                        "name": name,
                        "type": datatype,
                        "value": shown(
                            allowed,
                            compartment,
                            f"{segment.name}-{number}",
                            message.text(segment.field(number)),
                        ),
                    }
                )
            segments.append(
                {
                    "segment": segment.name,
                    "name": dictionary.segment_name(version, segment.name),
                    "fields": fields,
                }
            )
        return {"segments": segments, "findings": dictionary.findings(message)}

    def answer(self, account: str, op: str, args: dict[str, Any], auth: str) -> Iterator[dict[str, Any]]:
        """Dispatch one question; unknown ones are a usage error."""
        if op not in self.known:
            raise UsageError(f"unknown request {op!a}")
        return self.known[op](self.door.viewer(account, auth), args)

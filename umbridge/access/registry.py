"""PATH 3: one question in, the access entry on the ledger, then a redacted answer out.

``REGISTRY`` is every question and act there is, with what decides about each. A new one is a class beside its
queries, a line here and a line where it is answered.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import Any, TypeAlias

from umbridge_audit.disclose import Viewer
from umbridge_audit.entry import JsonValue
from umbridge_audit.redact import AccessTable

from umbridge.access.accounting import Accountings, RecordDisclosure, ReportDisclosures
from umbridge.access.acknowledging import AcknowledgeStay, Acknowledging
from umbridge.access.backup import Backups, CreateBackup
from umbridge.access.door import Door
from umbridge.access.keys import KeyCare, KeysList, RotateKeys
from umbridge.access.ledger import (
    LedgerCheckpoint,
    LedgerExport,
    LedgerList,
    LedgerProof,
    LedgerQueries,
    LedgerShow,
)
from umbridge.access.messages import MessageQueries, MessagesList, MessagesShow, MessagesUnused
from umbridge.access.people import (
    AddUser,
    BreakglassList,
    ChangeRoles,
    DisableUser,
    People,
    ReviewBreakglass,
    UsersList,
)
from umbridge.access.plugins import ApprovePlugin, Roster, choose, in_force
from umbridge.access.quarantine import DismissMessages, ReplayMessages, Settlement
from umbridge.access.questions import Act, Args, Query
from umbridge.access.reports import ReportAccess, ReportBreachScope, Reports
from umbridge.access.reviews import ReviewQueries, ReviewsShow
from umbridge.access.stays import ReviewsList, StayQueries, StaysList, StaysShow
from umbridge.access.views import Seen
from umbridge.access.why import LedgerWhy, WhyQueries
from umbridge.access.worklist import Worklist
from umbridge.errors import UsageError
from umbridge.settings.config import Settings, User
from umbridge.settings.site import SiteProfile
from umbridge.store.writer import Writer

Question: TypeAlias = type[Query[Any]] | type[Act[Any]]
QUERIES: tuple[type[Query[Any]], ...] = (
    MessagesList,
    MessagesShow,
    MessagesUnused,
    StaysList,
    StaysShow,
    ReviewsList,
    ReviewsShow,
    LedgerList,
    LedgerShow,
    LedgerWhy,
    LedgerExport,
    LedgerProof,
    LedgerCheckpoint,
    UsersList,
    BreakglassList,
    KeysList,
    ReportAccess,
    ReportDisclosures,
    ReportBreachScope,
)
ACTS: tuple[type[Act[Any]], ...] = (
    ReplayMessages,
    DismissMessages,
    AcknowledgeStay,
    AddUser,
    ChangeRoles,
    DisableUser,
    ReviewBreakglass,
    RecordDisclosure,
    CreateBackup,
    RotateKeys,
    ApprovePlugin,
)
REGISTRY: Mapping[str, Question] = MappingProxyType(
    {one.name: one for one in QUERIES} | {one.name: one for one in ACTS}
)


class Registry:
    """Answers the questions of the command line for one account at a time. Thread-safe: the writer is."""

    def __init__(
        self,
        settings: Settings,
        writer: Writer,
        site: SiteProfile,
        users: dict[str, User],
        table: AccessTable,
    ) -> None:
        self._settings = settings
        self.door = door = Door(writer, users, table)
        self.worklist = Worklist(writer, site, self.charset)
        stays = StayQueries(door, site, self.charset, self.worklist)
        messages = MessageQueries(door, site, self.charset, stays.lane)
        ledger, people, reports = (
            LedgerQueries(door),
            People(door, settings.users, users),
            Reports(settings, door),
        )
        accountings = Accountings(settings, door)
        keys, settlement = KeyCare(door, settings.policy), Settlement(door, self.charset, site)
        self._answers: dict[Question, Callable[[Viewer, Any], Iterator[Seen[Any]]]] = {
            MessagesList: messages.list,
            MessagesShow: messages.show,
            MessagesUnused: messages.unused,
            StaysList: stays.list,
            StaysShow: stays.show,
            ReviewsList: stays.worklist,
            ReviewsShow: ReviewQueries(door, stays.opened).show,
            LedgerList: ledger.list,
            LedgerShow: ledger.show,
            LedgerWhy: WhyQueries(
                door, settings, site, stays.kept, lambda: choose(settings, in_force(writer))
            ).show,
            LedgerExport: ledger.export,
            LedgerProof: ledger.proof,
            LedgerCheckpoint: ledger.checkpoint,
            UsersList: people.list,
            AddUser: people.add,
            ChangeRoles: people.role,
            DisableUser: people.disable,
            BreakglassList: people.glass_list,
            ReviewBreakglass: people.glass_review,
            KeysList: keys.list,
            RotateKeys: keys.rotate,
            ReportAccess: reports.access,
            ReportDisclosures: accountings.disclosures,
            ReportBreachScope: reports.breach,
            RecordDisclosure: accountings.record,
            ReplayMessages: settlement.replay,
            DismissMessages: settlement.dismiss,
            AcknowledgeStay: Acknowledging(door, site, stays.look).close,
            CreateBackup: Backups(settings, door).create,
            ApprovePlugin: Roster(settings, door).approve,
        }
        for pattern in ("export-*.jsonl", ".export-*.jsonl.*.part"):  # ours alone: we hold the writer
            for left in settings.store.glob(pattern):
                left.unlink(missing_ok=True)  # a daemon was killed in the middle of making it

    def answer(self, account: str, op: str, args: Args, auth: str) -> Iterator[dict[str, JsonValue]]:
        """One question or act, its rows as they may be seen. Raises UsageError for one there is not."""
        asked = REGISTRY.get(op)
        if asked is None:
            raise UsageError(f"unknown request {op!a}")
        for row in self._answers[asked](self.door.viewer(account, auth), asked.of(args)):
            says = issubclass(asked, Query) and asked.says_hidden
            yield {**row.values, "hidden": list(row.hidden)} if says else row.values

    def charset(self, name: str) -> str:
        """The one that a feed's messages are in when they do not say."""
        feed = self._settings.feeds.get(name)
        return feed.charset if feed else "utf-8"

"""The daemon's own tables. Evidence lives in ``ledger_*`` (umbridge_audit); all of this but the inbox
can be thrown away and rebuilt from inbox and ledger. A store is made from these classes; a start holds the
store against ``tables.sql``, which `make vectors` writes from them, because loading SQLModel takes longer
than all the rest of a start.

Columns in plain text hold no patient data: tokens are keyed hashes, everything else of a message is sealed.
"""

from functools import cache

from sqlalchemy import Index, UniqueConstraint, text
from sqlalchemy.dialects.sqlite import dialect
from sqlalchemy.schema import CreateIndex, CreateTable, DDLElement
from sqlmodel import Field, SQLModel


class InboxRow(SQLModel, table=True):
    """One framed message, kept for ever in this order; ``seq`` is dense from 1."""

    __tablename__ = "inbox"
    __table_args__ = (
        UniqueConstraint("key_token", "digest"),
        # A lane's rows are in one of these two: an answer writes at the end of the first, and what is worked
        # goes to its lane's page, for which nobody waits. The state, so that no frame is read for it.
        Index("inbox_pending", "seq", "lane", "state", sqlite_where=text("state = 'PENDING'")),
        Index("inbox_lane", "lane", "seq", sqlite_where=text("state <> 'PENDING'")),
        Index("inbox_overview", "received_at", "feed", "state", "seq"),  # searches without a token
    )
    seq: int = Field(primary_key=True, sa_column_kwargs={"autoincrement": False})
    feed: str
    key_token: bytes  # keyed hash of (feed, MSH-3, MSH-4, MSH-10); of the digest where MSH-10 is missing
    digest: bytes  # SHA-256 of the frame
    content_digest: bytes  # the same with MSH-7 and MSH-13 blanked: tells a re-stamped repeat
    variant: int  # 0, or how many messages with this control id came before with other content
    lane: bytes | None = None  # keyed hash of the visit; rows of one lane are worked in order
    sealed: bytes
    state: str
    attempts: int = 0
    ack: str  # as answered: AA AE AR CA CE CR, NONE, CLOSED
    condition: int | None = None  # table 0357 code of a refusal
    location: str | None = None
    reason: str = ""
    received_at: str
    entry: int  # ledger seq of its receipt
    replay_of: int | None = None  # the row that a person had worked again
    replay_no: int | None = None  # from 1


class DeliveryAttempt(SQLModel, table=True):
    """A repeat of a message that was already there: answered again, not stored again."""

    __tablename__ = "delivery_attempt"
    id: int | None = Field(default=None, primary_key=True)
    row: int
    feed: str
    at: str


class Alias(SQLModel, table=True):
    """A visit's or an account's number, and the lane it leads to: its own, or another stay's for ever."""

    __tablename__ = "alias"
    token: bytes = Field(primary_key=True)
    lane: bytes = Field(index=True)
    account: bool


class PatientLane(SQLModel, table=True):
    """The stays of one patient's number."""

    __tablename__ = "patient_lane"
    __table_args__ = {"sqlite_with_rowid": False}
    token: bytes = Field(primary_key=True)
    lane: bytes = Field(primary_key=True, index=True)


class PatientRow(SQLModel, table=True):
    """A merge or an update that a patient's number was in: for stays of that number that come later."""

    __tablename__ = "patient_row"
    __table_args__ = (Index("patient_row_seq", "seq", "part"), {"sqlite_with_rowid": False})
    token: bytes = Field(primary_key=True)
    seq: int = Field(primary_key=True)
    part: int = Field(primary_key=True)
    effective: int | None = None  # of a plain update, of which the newest is enough; microseconds since 1970
    sent: int | None = None


class Numbered(SQLModel, table=True):
    """An order's or report's number that a patient's stay was told of, and the row that told of it first."""

    __tablename__ = "numbered"
    __table_args__ = {"sqlite_with_rowid": False}
    patient: bytes = Field(primary_key=True)
    number: bytes = Field(primary_key=True)  # keyed hashes of itself, its namespace and its universal id
    lane: bytes = Field(primary_key=True)
    seq: int
    part: int


class Unplaced(SQLModel, table=True):
    """A row that names no visit, by the numbers that it speaks of: no stay of its patient has any of them."""

    __tablename__ = "unplaced"
    __table_args__ = (Index("unplaced_seq", "seq", "part"), {"sqlite_with_rowid": False})
    patient: bytes = Field(primary_key=True)
    number: bytes = Field(primary_key=True)
    seq: int = Field(primary_key=True)
    part: int = Field(primary_key=True)


class LaneRow(SQLModel, table=True):
    """A row, or a part of one, that a lane takes in, where ``inbox.lane`` cannot say it: merges, swaps.

    ``done``: 0 waits, 1 taken in, 2 set aside. ``part`` -1: nothing is taken in, the stay is asked again.
    """

    __tablename__ = "lane_row"
    __table_args__ = (
        Index("lane_row_seq", "seq"),
        Index("lane_row_waiting", "seq", sqlite_where=text("done = 0")),
        {"sqlite_with_rowid": False},
    )
    lane: bytes = Field(primary_key=True)
    seq: int = Field(primary_key=True)
    part: int = Field(primary_key=True)
    done: int


class LaneDue(SQLModel, table=True):
    """When the next review of a stay opens though nothing is said; microseconds since 1970."""

    __tablename__ = "lane_due"
    lane: bytes = Field(primary_key=True)
    due: int = Field(index=True)


class LaneRefold(SQLModel, table=True):
    """A lane to be folded again from all its rows when it comes to ``since``; with those of ``gone``."""

    __tablename__ = "lane_refold"
    id: int | None = Field(default=None, primary_key=True)
    lane: bytes
    since: int
    gone: bytes | None = None


class SearchToken(SQLModel, table=True):
    """What a message can be found by: keyed hashes of its patient's numbers and of its control id."""

    __tablename__ = "search_token"
    __table_args__ = {"sqlite_with_rowid": False}
    token: bytes = Field(primary_key=True)
    seq: int = Field(primary_key=True)


class SearchLater(SQLModel, table=True):
    """Search tokens of a message that are not in ``search_token`` yet: one after the other, in one value."""

    __tablename__ = "search_later"
    seq: int = Field(primary_key=True, sa_column_kwargs={"autoincrement": False})
    tokens: bytes


class StayHead(SQLModel, table=True):
    """The folded state of one lane: a snapshot whose size does not grow with the lane's length."""

    __tablename__ = "stay_head"
    __table_args__ = (Index("stay_open", "seq", sqlite_where=text("open > 0")),)
    lane: bytes = Field(primary_key=True)
    seq: int  # the last row folded in
    sealed: bytes
    open: int  # reviews that wait for a person: the worklist reads no other stay


class OpenReview(SQLModel, table=True):
    """A review that waits for a person: what lists are ordered and narrowed by; the rest is sealed.

    Made from the stay with each piece of its work, and to be made again from it.
    """

    __tablename__ = "open_review"
    __table_args__ = (
        Index("open_review_due", "due", "review_id"),
        Index("open_review_unit", "unit", "due", "review_id"),
        Index("open_review_payer", "payer", "due", "review_id"),
        {"sqlite_with_rowid": False},
    )
    lane: bytes = Field(primary_key=True)
    review_id: str = Field(primary_key=True)
    type: str
    state: str  # open
    due: int | None = None  # microseconds since 1970
    unit: bytes | None = None  # keyed hash
    payer: bytes  # keyed hash of the payer class
    sealed: bytes


class StayIncrement(SQLModel, table=True):
    """What one message added to its stay's facts and orders; with the head, the whole stay."""

    __tablename__ = "stay_increment"
    lane: bytes = Field(primary_key=True)
    seq: int = Field(primary_key=True)
    sealed: bytes


class DeterminationRow(SQLModel, table=True):
    """At most one effective determination per row, review, plugin and replay: an index, not code."""

    __tablename__ = "determination"
    row: int = Field(primary_key=True)
    review_id: str = Field(primary_key=True)
    plugin: str = Field(primary_key=True)
    replay: int = Field(primary_key=True, default=0)
    entry: int


class WireRefusal(SQLModel, table=True):
    """Bytes that never became a frame: counted by day, feed and reason."""

    __tablename__ = "wire_refusal"
    day: str = Field(primary_key=True)
    feed: str = Field(primary_key=True)
    reason: str = Field(primary_key=True)
    count: int
    bytes_seen: int
    last_digest: str
    last_at: str


class Tally(SQLModel, table=True):
    """Counts of rows by state and of messages by feed, kept in the transactions that change them."""

    __tablename__ = "tally"
    kind: str = Field(primary_key=True)  # state or feed
    name: str = Field(primary_key=True)
    count: int
    last_at: str = ""


class Meta(SQLModel, table=True):
    """Facts about the store itself: its version, whether it was stopped cleanly."""

    __tablename__ = "meta"
    name: str = Field(primary_key=True)
    value: str


_MODELS: tuple[type[SQLModel], ...] = (
    InboxRow,
    DeliveryAttempt,
    Alias,
    PatientLane,
    PatientRow,
    Numbered,
    Unplaced,
    LaneRow,
    LaneDue,
    LaneRefold,
    SearchToken,
    SearchLater,
    StayHead,
    OpenReview,
    StayIncrement,
    DeterminationRow,
    WireRefusal,
    Tally,
    Meta,
)


@cache
def statements() -> tuple[str, ...]:
    """What makes the tables and their indexes, in order, each statement in one line."""
    tables = [SQLModel.metadata.tables[str(model.__tablename__)] for model in _MODELS]
    made: list[DDLElement] = []
    for table in tables:
        made.append(CreateTable(table))
        made += (CreateIndex(index) for index in sorted(table.indexes, key=lambda index: str(index.name)))
    return tuple(" ".join(str(each.compile(dialect=dialect())).split()) for each in made)

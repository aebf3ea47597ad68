"""Messages set aside: who may settle them, who must agree, what is written, what becomes of the row."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from installation import Inside, Installation
from test_listener import Wire, acks, play
from test_receive import frame, receive
from umbridge_audit.redact import AccessTable

from umbridge.access import quarantine
from umbridge.access.quarantine import ALONE, _read, _subject
from umbridge.access.registry import Registry
from umbridge.commands import sample
from umbridge.errors import NotPermittedError, UsageError
from umbridge.hl7 import er7, mllp
from umbridge.intake import delivery
from umbridge.settings.config import FeedSettings, User
from umbridge.settings.site import default_site
from umbridge.stay.identity import event_of
from umbridge.store import inbox, inhand, search
from umbridge.store.commands import SetSuspect
from umbridge.store.engine import DATABASE
from umbridge.store.opening import hold_writer, open_keys
from umbridge.store.writer import Writer

BEGAN = datetime(2026, 3, 2, 20, 0, tzinfo=UTC)
STRICT = FeedSettings(port=0, control_id_reused="quarantine")
ADMIN = "administrator"


class Access:
    """A registry over a real writer, asked by whoever the test says."""

    def __init__(self, installation: Installation, writer: Writer, *people: str) -> None:
        users = {name: User(user=f"zz.{name}", roles=(ADMIN,)) for name in people}
        users["nurse"] = User(user="zz.nurse", roles=("ur_nurse",))
        self.writer, self.folder = writer, installation.directory
        self.store = installation.settings.store
        self.registry = Registry(installation.settings, writer, default_site(), users, AccessTable.load())

    def ask(self, account: str, op: str, **args: Any) -> list[dict[str, Any]]:
        return list(self.registry.answer(account, op, args, "test"))

    def quarantined(self, count: int = 1) -> list[int]:
        """Messages whose control id was used before for something else: set aside by this feed's rule."""
        for n in range(count):
            receive(self.writer, self.folder, frame(id=f"ZZ{n}", visit="ZZV1"), feed=STRICT)
            receive(self.writer, self.folder, frame(id=f"ZZ{n}", visit=f"ZZV{n + 2}"), feed=STRICT)
        return [row.seq for row in self.rows() if row.state == "QUARANTINED"]

    def rows(self) -> list[inbox.Row]:
        with self.writer.reading() as reader:
            return reader.rows(0, 10_000, 1 << 40)

    def state(self, seq: int) -> tuple[str, str]:
        row = self.rows()[seq - 1]
        return row.state, row.reason

    def told(self) -> list[tuple[str, str]]:
        """(kind, state) of every entry but looks."""
        entries = self.ask(next(iter(self.registry.door.users)), "ledger.list")
        return [
            (e["kind"], e.get("state") or "") for e in entries if not e["kind"].startswith(("access", "key"))
        ]


@pytest.fixture
def queries(installation: Installation) -> Iterator[Callable[..., Access]]:
    made = installation.settings
    with hold_writer(made, open_keys(made)) as writer:
        yield lambda *people: Access(installation, writer, *people)


def test_a_replay_is_a_new_row_that_names_the_old_one(queries: Callable[..., Access]) -> None:
    one = queries("ann")
    (seq,) = one.quarantined()
    assert one.state(seq) == ("QUARANTINED", "control_id_reused")
    (done,) = one.ask("ann", "messages.replay", seqs=[seq], reason="the sender confirmed both")
    child = done["replay"]
    assert done == {"seq": seq, "state": "REPLAYED", "replay": child, "entry": None}
    assert one.state(seq)[0] == "REPLAYED"
    assert one.state(child) == ("PENDING", f"replay_of_{seq}")
    old, new = one.rows()[seq - 1], one.rows()[child - 1]
    assert (new.frame, new.head, new.lane, new.feed) == (old.frame, old.head, old.lane, old.feed)
    assert one.told()[-2:] == [("quarantine", "REPLAYED"), ("message.received", "PENDING")]
    finder = search.Finder(one.store / DATABASE)
    token = search.control(one.writer.keyring, "ZZ0")
    assert finder.numbers(search.Criteria((token,))) == [1, seq, child]
    finder.close()
    again = receive(one.writer, one.folder, frame(id="ZZ0", visit="ZZV2"), feed=STRICT)
    assert acks(mllp.encode(again[0].answer or b"")) == [("AA", "ZZ0")]
    assert len(one.rows()) == child  # the sender's repeat is still one of the first row
    with pytest.raises(UsageError, match="is REPLAYED, not QUARANTINED or IGNORED"):
        one.ask("ann", "messages.replay", seqs=[seq], reason="again")


def test_a_replayed_message_was_received_when_it_first_came(queries: Callable[..., Access]) -> None:
    """One that does not say when it was sent was sent then, and not when a person had it worked again."""
    one = queries("ann")
    (seq,) = one.quarantined()
    (done,) = one.ask("ann", "messages.replay", seqs=[seq], reason="the sender confirmed both")
    first, again = (one.rows()[each - 1] for each in (seq, done["replay"]))
    assert again.received == first.received == first.received_at
    assert again.received_at > first.received_at  # the row itself says when it was stored
    msh, rest = again.frame.split(b"\r", 1)
    undated = er7.parse(b"|".join([*msh.split(b"|")[:6], b"", *msh.split(b"|")[7:]]) + b"\r" + rest)
    moments = {event_of(undated, default_site(), each.received).sent_at for each in (first, again)}
    assert moments == {datetime.fromisoformat(first.received_at)}


def test_counts_stay_those_of_the_rows(queries: Callable[..., Access]) -> None:
    one = queries("ann")
    seqs = one.quarantined(3)
    one.ask("ann", "messages.replay", seqs=seqs[:2], reason="r")
    one.ask("ann", "messages.dismiss", seqs=seqs[2:], reason="r")
    with one.writer.reading() as reader:
        counted = reader.counts("state")
    walked: dict[str, int] = {}
    for row in one.rows():
        walked[row.state] = walked.get(row.state, 0) + 1
    assert {state: count for state, (count, _) in counted.items()} == walked


def test_to_dismiss_takes_two_where_there_are_two(queries: Callable[..., Access]) -> None:
    one = queries("ann", "ben")
    (seq,) = one.quarantined()
    (asked,) = one.ask("ann", "messages.dismiss", seqs=[seq], reason="a test of the vendor's")
    assert asked["state"] == "waits"
    assert one.state(seq)[0] == "QUARANTINED"
    with pytest.raises(NotPermittedError, match="may not also allow"):
        one.ask("ann", "messages.dismiss", approve=asked["entry"], reason="it is fine")
    with pytest.raises(UsageError, match="asks for nothing"):
        one.ask("ben", "messages.replay", approve=asked["entry"] + 99, reason="it is fine")
    (done,) = one.ask("ben", "messages.dismiss", approve=asked["entry"], reason="seen with ann")
    assert (done["seq"], done["state"]) == (seq, "DISMISSED")
    assert one.state(seq)[0] == "DISMISSED"
    kinds = [told for told in one.told() if told[0] in ("approval", "quarantine")]
    assert kinds == [("approval", "asked"), ("approval", "allowed"), ("quarantine", "DISMISSED")]


def test_one_person_alone_dismisses_and_the_ledger_says_so(queries: Callable[..., Access]) -> None:
    one = queries("ann")
    (seq,) = one.quarantined()
    one.ask("ann", "messages.dismiss", seqs=[seq], reason="a vendor's test")
    assert one.told()[-2:] == [("approval", "one person decided"), ("quarantine", "DISMISSED")]


def test_more_than_a_handful_takes_two_to_replay(
    queries: Callable[..., Access], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert ALONE == 20
    monkeypatch.setattr(quarantine, "ALONE", 2)
    one = queries("ann", "ben")
    seqs = one.quarantined(3)
    assert [row["state"] for row in one.ask("ann", "messages.replay", seqs=seqs[:2], reason="r")] == [
        "REPLAYED",
        "REPLAYED",
    ]
    more = [row.seq for row in one.rows() if row.state == "QUARANTINED"]
    more += [r.seq for r in _ignored(one, 2)]
    (asked,) = one.ask("ann", "messages.replay", seqs=more, reason="r")
    assert asked["state"] == "waits"
    one.ask("ben", "messages.replay", approve=asked["entry"], reason="r")
    assert {one.state(seq)[0] for seq in more} == {"REPLAYED"}


def _ignored(one: Access, count: int) -> list[inbox.Row]:
    """Test messages on a feed that does not screen them: of a type that is used."""
    for n in range(count):
        receive(one.writer, one.folder, frame(id=f"ZZT{n}", pid="T"))
    return [row for row in one.rows() if row.state == "IGNORED"]


def test_who_has_no_role_for_it_does_nothing_and_is_written_down(queries: Callable[..., Access]) -> None:
    one = queries("ann")
    (seq,) = one.quarantined()
    for op in ("messages.replay", "messages.dismiss"):
        with pytest.raises(NotPermittedError):
            one.ask("nurse", op, seqs=[seq], reason="r")
    assert one.state(seq)[0] == "QUARANTINED"
    assert len(one.ask("ann", "ledger.list", kind="access.denied")) == 2


def test_nothing_is_done_in_part(queries: Callable[..., Access]) -> None:
    one = queries("ann")
    (seq,) = one.quarantined()
    receive(one.writer, one.folder, frame(id="ZZS", kind="SIU^S12"))
    before = [row.state for row in one.rows()]
    for args, told in (
        ({"seqs": [seq, 1], "reason": "r"}, "message 1 is PENDING"),
        ({"seqs": [seq, 999], "reason": "r"}, "no message 999"),
        ({"seqs": [seq, len(before)], "reason": "r"}, "means nothing here"),
        ({"seqs": [seq], "reason": "  "}, "--reason"),
        ({"seqs": [], "reason": "r"}, "which messages"),
        ({"seqs": "1", "reason": "r"}, "numbers are expected"),
        ({"seqs": ["x"], "reason": "r"}, "a number is expected"),
    ):
        with pytest.raises(UsageError, match=told):
            one.ask("ann", "messages.replay", **args)
    assert [row.state for row in one.rows()] == before


def test_later_messages_of_the_stay_say_that_one_is_missing(queries: Callable[..., Access]) -> None:
    one = queries("ann")
    (seq,) = one.quarantined()  # of visit ZZV2
    receive(one.writer, one.folder, frame(id="ZZL1", visit="ZZV2"), frame(id="ZZL2", visit="ZZV9"))
    assert [one.state(n) for n in (seq + 1, seq + 2)] == [("PENDING", "after_quarantined"), ("PENDING", "")]
    one.ask("ann", "messages.replay", seqs=[seq], reason="r")
    receive(one.writer, one.folder, frame(id="ZZL3", visit="ZZV2"))
    assert one.rows()[-1].reason == ""


def test_what_is_missing_is_known_after_a_restart(installation: Installation) -> None:
    made = installation.settings
    with hold_writer(made, open_keys(made)) as writer:
        Access(installation, writer, "ann").quarantined()
    with hold_writer(made, open_keys(made)) as writer:
        receive(writer, installation.directory, frame(id="ZZL1", visit="ZZV2"))
        assert Access(installation, writer, "ann").rows()[-1].reason == "after_quarantined"


@given(st.sets(st.integers(1, 200), min_size=1))
def test_a_subject_names_its_rows(seqs: set[int]) -> None:
    assert _read(_subject("replay", sorted(seqs))) == ("replay", sorted(seqs))


# --- half a message -----------------------------------------------------------------------------------------


def test_a_frame_whose_other_half_comes_late_waits_for_a_person(tmp_path: Path) -> None:
    """FS CR inside a message, and the answer was given before the rest came (intake.md section 3, item 5)."""

    async def scene(wire: Wire) -> None:
        reader, stream = await asyncio.open_connection("127.0.0.1", wire.port)
        stream.write(mllp.encode(frame()))
        assert acks(await reader.readuntil(mllp.END)) == [("AA", "ZZ1")]
        stream.write(b"NTE|1||the rest\r" + mllp.END)
        assert await asyncio.wait_for(reader.read(-1), 60) == b""
        stream.close()
        (row,) = await wire.rows()
        assert (row.state, row.reason) == ("QUARANTINED", "frame_suspect")
        assert await wire.refused() == {"junk_after_block": 1}

    play(tmp_path, scene)


def test_half_a_message_is_not_replayed(queries: Callable[..., Access]) -> None:
    one = queries("ann")
    receive(one.writer, one.folder, frame())
    one.writer.call(SetSuspect(seq=1))
    one.writer.call(
        Inside(lambda batch: batch.finish(1, inbox.RowState.DETERMINED, ""))
    )  # it was being worked
    assert one.state(1) == ("QUARANTINED", "frame_suspect")
    with pytest.raises(UsageError, match="its sender must send it again"):
        one.ask("ann", "messages.replay", seqs=[1], reason="r")
    one.ask("ann", "messages.dismiss", seqs=[1], reason="it came again whole")
    assert one.state(1)[0] == "DISMISSED"


# --- with the daemon ------------------------------------------------------------------------------------


def test_a_replayed_message_is_worked_at_once(installation: Installation) -> None:
    installation.edit(r'control_id_reused = "accept_flag"', 'control_id_reused = "quarantine"')
    daemon = installation.start()
    try:
        messages = [("m", frame(id="ZZ1", visit="ZZV1")), ("m", frame(id="ZZ1", visit="ZZV2"))]
        asyncio.run(delivery.send_all("127.0.0.1", daemon.port, messages))
        waiting = installation.rows("messages", "quarantine", "list")
        assert [(row["seq"], row["reason"]) for row in waiting] == [(2, "control_id_reused")]
        done = installation.rows("messages", "replay", "2", "--reason", "both are meant")
        assert done == [{"seq": 2, "state": "REPLAYED", "replay": 3, "entry": None}]
        counts = daemon.worked()["messages"]
        assert (counts.get("QUARANTINED"), counts["REPLAYED"]) == (None, 1)
        assert daemon.stop() == 0
    finally:
        daemon.kill()
    rows = installation.rows("messages", "list")
    assert rows[2]["state"] in ("DETERMINED", "NOT_APPLICABLE")
    assert rows[2]["reason"].startswith("replay_of_2")


def test_a_replay_of_what_was_worked_asks_again_and_takes_nothing_in_twice(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    where = installation
    where.roles("administrator", "ur_nurse")
    running = where.start_on(BEGAN + timedelta(hours=3), monkeypatch)
    frames = sample.stay(0, BEGAN, sample.PNEUMONIA)
    told = [("m", data) for data in frames[:-1]]
    asyncio.run(delivery.send_all("127.0.0.1", running.port, told))
    running.worked()
    visit = ("stays", "show", "ZZVN0000000", "--purpose", "HPAYMT")
    before, entries = where.rows(*visit), where.rows("ledger", "list", "--kind", "determination")
    assert entries
    last = where.rows("ledger", "show", str(entries[-1]["seq"]), "--purpose", "HPAYMT")[0]["slots"]
    done = where.rows("messages", "replay", str(last["row"]), "--reason", "the plugin was down")
    assert done == [{"seq": last["row"], "state": "DETERMINED", "replay": len(told) + 1, "entry": None}]
    running.worked()
    assert where.rows(*visit) == before
    again = where.rows("ledger", "list", "--kind", "determination")
    assert again[: len(entries)] == entries
    fresh = [
        where.rows("ledger", "show", str(each["seq"]), "--purpose", "HPAYMT")[0]["slots"]
        for each in again[len(entries) :]
    ]
    assert {slots["row"] for slots in fresh} == {len(told) + 1}
    ours = next(
        one for one in fresh if (one["review_id"], one["plugin"]) == (last["review_id"], last["plugin"])
    )
    assert ours["supersedes"] == entries[-1]["seq"]
    assert (ours["outcome"], ours["as_of"]) == (last["outcome"], last["as_of"])
    rows = where.rows("messages", "list")
    assert [row["state"] for row in rows if row["seq"] in (last["row"], len(rows))] == ["DETERMINED"] * 2
    asyncio.run(delivery.send_all("127.0.0.1", running.port, [("m", frames[-1])]))
    running.worked()
    shown = where.rows(*visit)[0]
    assert running.stop() == 0
    assert shown["events_applied"] == len(told) + 1


@pytest.mark.parametrize(
    ("plant", "last", "cause", "state"),
    [
        ("dies_working.py", "dies_working.py", "row", ("QUARANTINED", "process_death")),
        ("dies_committing.py", "", "disk", ("DETERMINED", "")),
    ],
)
def test_a_row_that_ends_the_daemon_each_time_is_set_aside_and_the_rest_is_worked(
    installation: Installation, plant: str, last: str, cause: str, state: tuple[str, str]
) -> None:
    """Three deaths of one row, then it waits and blocks nobody; if the disk did it, it is worked."""
    made = installation.settings
    with hold_writer(made, open_keys(made)) as writer:
        receive(writer, installation.directory, frame(id="ZZPOISON", visit="ZZV1"))
        receive(writer, installation.directory, frame(id="ZZ2", visit="ZZV2"), frame(id="ZZ3", visit="ZZV1"))
        writer.call(
            Inside(lambda batch: batch.cursor.execute("INSERT INTO meta VALUES ('stopped_cleanly', 'no')"))
        )
    planted = Path(__file__).parent / "planted"
    command = [sys.executable, str(planted / plant), "serve", "--config", str(installation.file)]
    causes: list[str] = []
    while (
        causes.count(cause) < 3
    ):  # another commit may be under way when the row ends the daemon: not counted
        assert len(causes) < 10, causes
        died = subprocess.run(command, capture_output=True, timeout=120, check=False)
        assert died.returncode == 9, died.stderr[-2000:]
        death = inhand.last(made.store)
        assert death is not None
        causes.append(death.cause)
    daemon = installation.start((str(planted / last),) if last else ("-m", "umbridge.commands.main"))
    try:
        daemon.worked()
        assert daemon.stop() == 0
    finally:
        daemon.kill()
    rows = installation.rows("messages", "list")
    assert (rows[0]["state"], rows[0]["reason"]) == state
    assert {row["state"] for row in rows[1:]} <= {"DETERMINED", "NOT_APPLICABLE"}

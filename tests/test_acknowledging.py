"""An exception that a person closed is out of the list until it may be another one, and never silently."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from installation import Installation, Running
from umbridge_audit.entry import Draft

from umbridge.commands import sample
from umbridge.errors import UsageError
from umbridge.intake import delivery
from umbridge.lanes.commands import RecordWork
from umbridge.lanes.protocol import Done
from umbridge.lanes.queue import Deadline
from umbridge.review.standing import LaneReviews
from umbridge.store.closing import Closed, CloseException, closed_name, closed_of
from umbridge.store.opening import hold_writer, open_keys
from umbridge.store.writer import Writer

WHY = ("--purpose", "HPAYMT")
CLOSE = ("stays", "acknowledge")
REASON = ("--reason", "ZZ two persons looked")


def send(daemon: Running, *frames: bytes) -> None:
    told = [("", frame) for frame in frames]
    asyncio.run(delivery.send_all("127.0.0.1", daemon.port, told, connections=1, done=lambda sent: None))
    daemon.worked()


def shown(one: Installation, visit: str) -> dict[str, Any]:
    (row,) = one.rows("stays", "show", visit, *WHY)
    (listed,) = [each for each in one.rows("stays", "list", *WHY) if each["visit"] == visit]
    assert listed["exceptions"] == row["exceptions"]
    return row


def test_what_is_closed_is_out_of_the_list_until_the_stays_next_message(installation: Installation) -> None:
    installation.roles("ur_nurse")
    first, *rest = sample.stay(0, datetime.now(UTC) - timedelta(hours=3))
    bare = b"\r".join(b"PID|1||||ZZTEST" if each[:4] == b"PID|" else each for each in rest[1].split(b"\r"))
    daemon = installation.start()
    send(daemon, first, bare)
    visit, code = "ZZVN0000000", "NO_PATIENT_NUMBER"
    before = shown(installation, visit)
    assert code in before["exceptions"] and before["acknowledged"] == []

    installation.run(*CLOSE, visit, *REASON, check=2)  # READ_ANEW, which it has not
    looks = len(installation.rows("ledger", "list", "--kind", "access.read"))
    (done,) = installation.rows(*CLOSE, visit, "--exception", code, *REASON)
    assert done == {"exception": code, "detail": None, "state": "closed", "entry": done["entry"]}
    assert len(installation.rows("ledger", "list", "--kind", "access.read")) == looks + 1
    after = shown(installation, visit)
    assert (after["acknowledged"], after["exceptions"]) == (
        [code],
        [each for each in before["exceptions"] if each != code],
    )
    installation.run(*CLOSE, visit, "--exception", code, *REASON, check=2)  # it is closed

    send(daemon, rest[0])  # may be another ground for it
    again = shown(installation, visit)
    assert code in again["exceptions"] and again["acknowledged"] == []
    assert daemon.stop() == 0
    installation.roles("him")  # who may not judge a stay
    installation.run(*CLOSE, visit, "--exception", code, *REASON, check=77)


@pytest.mark.parametrize(
    ("seq", "reading", "codes"),
    [
        (7, "7 a", {"ZZA", "ZZB"}),
        (8, "7 a", set()),
        (7, "8 a", set()),
        (7, "7 b", set()),
        (None, "7 a", set()),
    ],
)
def test_it_holds_for_the_stay_as_it_was_looked_at_and_read(
    seq: int | None, reading: str, codes: set[str]
) -> None:
    note = Closed(seq=7, reading="7 a", codes=frozenset({"ZZB", "ZZA"})).note
    assert closed_of(note, seq, reading) == codes
    assert closed_of(None, seq, reading) == frozenset()


LANE = b"\1" * 32


def took_in(writer: Writer, seq: int, *differs: str) -> None:
    """The lane's stay has taken in a message; it says something else than before in ``differs``."""
    done = Done(datetime(2026, 3, 2, tzinfo=UTC), b"{}", [], differs=differs)
    work = Deadline(done.as_of)
    writer.call(RecordWork(lane=LANE, done=done, work=work, seq=seq, said=LaneReviews(), due=None, open=None))


def closing(code: str, seq: int) -> CloseException:
    draft = Draft("exception.close", {"actor": "zz", "exception": code})
    return CloseException(lane=LANE, code=code, seq=seq, reading="7 a", draft=draft)


def test_each_is_closed_by_itself_and_a_message_after_the_look_refuses_it(installation: Installation) -> None:
    with hold_writer(installation.settings, open_keys(installation.settings)) as writer:

        def closed(seq: int) -> frozenset[str]:
            with writer.reading() as reader:
                return closed_of(reader.note(closed_name(LANE)), seq, "7 a")

        took_in(writer, 1)
        for code in ("ZZA", "ZZB"):
            assert writer.call(closing(code, 1))[0] is None
        assert closed(1) == {"ZZA", "ZZB"}
        took_in(writer, 2, "facts")
        size = writer.ledger.size
        with pytest.raises(UsageError, match="look again"):
            writer.call(closing("ZZC", 1))
        assert (writer.ledger.size, closed(1), closed(2)) == (size, {"ZZA", "ZZB"}, frozenset())
        assert writer.call(closing("ZZC", 2))[1] == size
        assert closed(2) == {"ZZC"}  # what was closed before the message is closed no more
        assert writer.call(closing("READ_ANEW", 2)) == ("facts", size + 1)
        with pytest.raises(UsageError, match="meanwhile"):
            writer.call(closing("READ_ANEW", 2))

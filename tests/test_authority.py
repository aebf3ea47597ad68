"""Windows, second persons and floods: commands that can be retried, and notes of earlier versions' stores."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from installation import Installation
from umbridge_audit.entry import Draft

from umbridge.store import authority
from umbridge.store.authority import (
    APPROVAL,
    FLOOD,
    GLASS,
    AskApproval,
    Asked,
    CountDenied,
    Flood,
    GrantApproval,
    OpenWindow,
    ReviewWindow,
    SettleFloods,
    Window,
)
from umbridge.store.opening import hold_writer, open_keys
from umbridge.store.writer import Writer

NOW = datetime(2026, 3, 2, 14, 0, tzinfo=UTC)
# As the version before this wrote them: a store of then has them, and a window of then is open still.
OLD = {
    Window: {
        "user": "zz",
        "account": "zza",
        "token": "ab" * 32,
        "opened": "2026-03-02T14:00:00+00:00",
        "expires": 1772463600.5,
        "due": 1772719200.5,
    },
    Asked: {"subject": "rotate kek", "user": "zz", "account": "zza", "expires": 1772719200.5},
    Flood: {"actor": "zz", "entry": 7, "count": 49, "last": "2026-03-02T14:00:00+00:00"},
}


@pytest.fixture
def writer(installation: Installation) -> Iterator[Writer]:
    settings = installation.settings
    with ExitStack() as stack:
        yield stack.enter_context(hold_writer(settings, open_keys(settings)))


def notes(writer: Writer, prefix: str) -> dict[str, str]:
    with writer.reading() as reader:
        return reader.notes_under(prefix)


@pytest.mark.parametrize("kind", OLD, ids=lambda kind: kind.__name__)
def test_a_note_of_the_version_before_is_read_and_written_as_it_was(kind: type[Window]) -> None:
    note = json.dumps(OLD[kind])
    assert kind.read(note).note == note


@given(
    user=st.text(),
    account=st.text(),
    token=st.text(),
    opened=st.text(),
    expires=st.floats(allow_nan=False, allow_infinity=False),
    due=st.floats(allow_nan=False, allow_infinity=False),
)
def test_a_window_comes_back_as_it_was_put_away(
    user: str, account: str, token: str, opened: str, expires: float, due: float
) -> None:
    window = Window(user=user, account=account, token=token, opened=opened, expires=expires, due=due)
    assert Window.read(window.note) == window


def test_a_window_is_reviewed_once_and_what_waits_is_allowed_once(writer: Writer) -> None:
    window = Window.read(json.dumps(OLD[Window]))
    seq = writer.call(OpenWindow(draft=Draft("breakglass.open", {"actor": "zz"}), window=window))
    with writer.reading() as reader:
        assert authority.windows(reader) == {seq: window}
    review = ReviewWindow(seq=seq, draft=Draft("breakglass.review", {"actor": "yy"}))
    before = writer.ledger.size
    assert [writer.call(review), writer.call(review)] == [True, False]
    assert writer.ledger.size == before + 1 and notes(writer, GLASS) == {}

    asked = Asked.read(json.dumps(OLD[Asked]))
    seq = writer.call(AskApproval(draft=Draft("approval", {"actor": "zz"}), asked=asked))
    with writer.reading() as reader:
        assert authority.asked_for(reader, seq, NOW) == asked
        assert authority.asked_for(reader, seq, datetime.fromtimestamp(asked.expires + 1, UTC)) is None
        assert authority.asked_for(reader, seq + 1, NOW) is None
    grant = GrantApproval(seq=seq, draft=Draft("approval", {"actor": "yy"}))
    assert [writer.call(grant), writer.call(grant)] == [True, False]
    assert notes(writer, APPROVAL) == {}
    writer.call(AskApproval(draft=Draft("approval", {"actor": "zz"}), asked=None))  # one person decided
    assert notes(writer, APPROVAL) == {}


def test_a_flood_is_one_entry_then_a_count_then_one_entry(writer: Writer) -> None:
    denied = Draft("access.denied", {"actor": "zz", "account": "zz", "outcome": "denied"})
    before = writer.ledger.size
    said = [writer.call(CountDenied(account="zz", draft=denied)) for _ in range(5)]
    assert said == [before] * 5 and writer.ledger.size == before + 1
    assert Flood.read(notes(writer, FLOOD)[FLOOD + "zz"]).count == 4
    kept = SettleFloods(going_on=frozenset({"zz"}), policy_hash="ab")
    assert writer.call(kept) == () and notes(writer, FLOOD)
    assert writer.call(SettleFloods(going_on=frozenset(), policy_hash="ab")) == ("zz",)
    assert writer.ledger.size == before + 2 and notes(writer, FLOOD) == {}
    last = writer.ledger.reveal(before + 1)
    assert (last["ops"]["count"], last["open"]["outcome"]) == (4, "denied: counted together")

"""Refusals are kept whatever their number: one entry each, and in a flood a count that survives a kill."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from installation import Installation
from umbridge_audit.redact import AccessTable

from umbridge.access import control
from umbridge.access import door as doors
from umbridge.access.door import Door
from umbridge.access.keys import Rotated, RotateKeys
from umbridge.access.opened import Opened
from umbridge.access.people import UserLine, UsersList
from umbridge.errors import NotPermittedError
from umbridge.settings.config import User
from umbridge.store.opening import hold_writer, open_keys
from umbridge.store.writer import Writer

TABLE = AccessTable.load()


@pytest.fixture
def writer(installation: Installation) -> Iterator[Writer]:
    settings = installation.settings
    with ExitStack() as stack:
        yield stack.enter_context(hold_writer(settings, open_keys(settings)))


def nothing(_: Opened) -> Iterator[UserLine]:
    return iter(())


def rotation() -> RotateKeys:
    return RotateKeys.of({"what": "data"})


def denied(writer: Writer) -> list[dict[str, object]]:
    rows = [row for row in writer.ledger.open_slots() if row["kind"] == "access.denied"]
    return [{**row, **writer.ledger.reveal(int(str(row["seq"])))["ops"]} for row in rows]


def knock(door: Door, account: str = "zz-nobody") -> int:
    """One refused question; the entry its text names."""
    with pytest.raises(NotPermittedError) as caught:
        list(door.disclose(door.viewer(account, "test"), UsersList(purpose="HPAYMT", reason=""), nothing))
    assert caught.value.exit_code == 77
    return int(str(caught.value).rpartition(" ")[2])


def total(rows: list[dict[str, object]]) -> int:
    return sum(1 if row["count"] is None else int(str(row["count"])) for row in rows)


def test_an_entry_says_where_the_question_came_from(writer: Writer) -> None:
    door = Door(writer, {}, TABLE)
    knock(door)
    with pytest.raises(NotPermittedError):
        list(door.perform(door.viewer("zz-nobody", "test"), rotation(), lambda: iter(())))
    mine = f"this process, uid {os.geteuid()}, pid {os.getpid()}, "
    assert [str(row["source"])[: len(mine)] for row in denied(writer)] == [mine, mine]


def test_a_place_has_its_terminal_and_a_process_that_is_gone_has_none() -> None:
    near, far = pty.openpty()
    program = "import fcntl, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); print(flush=True); input()"
    child = subprocess.Popen(
        [sys.executable, "-c", program], stdin=far, stdout=subprocess.PIPE, start_new_session=True
    )
    assert child.stdout is not None and child.stdout.readline()
    try:
        assert control.place(child.pid, 7) == f"uid 7, pid {child.pid}, {os.ttyname(far)[5:]}"
    finally:
        child.kill()
        child.wait()
        child.stdout.close()
        os.close(near)
        os.close(far)
    assert control.place(child.pid, 7) == f"uid 7, pid {child.pid}, no terminal"


def test_a_flood_of_refusals_is_counted_and_not_dropped(writer: Writer) -> None:
    door = Door(writer, {}, TABLE)
    said = [knock(door) for _ in range(doors.FLOOD + 50)]
    assert said[: doors.FLOOD] == sorted(set(said[: doors.FLOOD]))
    assert len(set(said[doors.FLOOD :])) == 1  # the entry that says a flood began
    assert len(denied(writer)) == doors.FLOOD + 1
    before = writer.ledger.size
    knock(door, "zz-other")  # somebody else's refusal has its own entry
    assert writer.ledger.size == before + 1
    door.settle_floods(everything=True)
    rows = denied(writer)
    assert total(rows) == doors.FLOOD + 50 + 1
    assert rows[-1]["count"] == 49 and rows[-1]["account"] == "zz-nobody"
    door.settle_floods(everything=True)
    assert len(denied(writer)) == len(rows)


def test_what_was_counted_before_a_kill_is_written_at_the_next_look(writer: Writer) -> None:
    first = Door(writer, {}, TABLE)
    for _ in range(doors.FLOOD + 7):
        knock(first)
    again = Door(writer, {"zz": User(user="zz", roles=("ur_nurse",))}, TABLE)  # nothing of the first is known
    list(again.disclose(again.viewer("zz", "test"), UsersList(purpose="HPAYMT", reason=""), nothing))
    assert total(denied(writer)) == doors.FLOOD + 7


def test_a_flood_that_is_over_is_written_without_a_restart(
    writer: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    door = Door(writer, {}, TABLE)
    for _ in range(doors.FLOOD + 3):
        knock(door)
    monkeypatch.setattr(doors, "FLOOD_SECONDS", 0.0)
    knock(door, "zz-other")
    assert total(denied(writer)) == doors.FLOOD + 3 + 1


def test_an_act_needs_a_role_and_its_refusal_is_kept(writer: Writer) -> None:
    users = {"zz": User(user="zz", roles=("administrator",)), "yy": User(user="yy", roles=("ur_nurse",))}
    door = Door(writer, users, TABLE)
    before, done = writer.ledger.size, []

    def work() -> Iterator[Rotated]:
        done.append(1)
        yield Rotated(subject="zz", state="done", entry=0, made=())

    (row,) = door.perform(door.viewer("zz", "test"), rotation(), work)
    assert row.values == {"subject": "zz", "state": "done", "entry": 0, "made": []}
    assert writer.ledger.size == before and done == [1]  # the act writes its own entry
    for account in ("yy", "nobody"):
        with pytest.raises(NotPermittedError):
            list(door.perform(door.viewer(account, "test"), rotation(), work))
    assert done == [1]
    assert [(row["account"], row["query"]) for row in denied(writer)] == [
        ("yy", "keys rotate"),
        ("nobody", "keys rotate"),
    ]


def test_nothing_but_the_views_a_question_declares_leaves_the_door(writer: Writer) -> None:
    door = Door(writer, {"zz": User(user="zz", roles=("administrator",))}, TABLE)
    viewer, stranger = door.viewer("zz", "test"), Rotated(subject="zz", state="zz", entry=0, made=())
    query: Any = UsersList(purpose="", reason="")
    with pytest.raises(TypeError, match="does not yield Rotated"):
        list(door.disclose(viewer, query, lambda _: [stranger]))
    with pytest.raises(TypeError, match="does not yield dict"):
        list(door.disclose(viewer, query, lambda _: [{"account": "zz"}]))
    with pytest.raises(TypeError, match="does not yield UserLine"):
        line: Any = UserLine(account="zz", user="zz", roles=(), state="zz")
        list(door.perform(viewer, rotation(), lambda: [line]))


def test_nothing_is_opened_and_nothing_made_for_who_is_refused(writer: Writer) -> None:
    door = Door(writer, {}, TABLE)

    def make(_: Opened) -> Iterator[UserLine]:
        raise AssertionError("it was begun")

    with pytest.raises(NotPermittedError):
        list(door.disclose(door.viewer("zz", "test"), UsersList(purpose="", reason=""), make))

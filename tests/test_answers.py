"""An answer of any length arrives whole, whichever threads take its rows.

The control socket takes a few rows at a time, each time in a thread that is free: what an answer holds open
must not care which.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from installation import Installation, Running
from test_registry import feed, queries_of
from umbridge_audit.disclose import Viewer
from umbridge_audit.entry import Draft, JsonValue

from umbridge.access import breakglass, control, control_client
from umbridge.access.control import ROWS_AHEAD
from umbridge.intake import delivery
from umbridge.settings.config import User
from umbridge.store.commands import WriteEntries
from umbridge.store.opening import hold_writer, open_keys

SIZES = (0, 1, ROWS_AHEAD - 1, ROWS_AHEAD, ROWS_AHEAD + 1, 1000)
# A kind of entry for each size that nothing else in this store writes.
KINDS = dict(
    zip(
        ("message.variant", "message.refused", "quarantine", "approval", "disclosure", "backup.create"),
        SIZES,
        strict=True,
    )
)
ROLES = ("ur_nurse", "privacy_officer", "administrator")
STAYS = ROWS_AHEAD + 1
BEGAN = datetime(2026, 1, 12, 14, 0, tzinfo=UTC)
Row = dict[str, Any]


def entries() -> list[Draft]:
    """For each size: looks of one user at as many patients, disclosures of one patient, a kind of entry."""
    look: dict[str, JsonValue] = {"outcome": "allowed", "revealed": "ident:*", "request": "read"}
    told: dict[str, JsonValue] = {"actor": "zz", "state": "accountable", "basis": "judicial", "what": "ZZ"}
    made = [
        Draft("access.read", look | {"actor": f"zz{size}", "patient": f"ZZV{size}N{n}"})
        for size in SIZES
        for n in range(size)
    ]
    for kind, size in KINDS.items():
        for n in range(size):
            if kind == "disclosure":
                values = told | {"recipient": f"ZZ {n}", "statement": "ZZ", "on": "2026-03-02", "times": 1}
                made.append(Draft(kind, values | {"patient": "ZZD"}))
            else:
                made.append(Draft(kind, {"actor": "zz"}))
    return made


def populate(where: Installation) -> None:
    settings = where.settings
    with hold_writer(settings, open_keys(settings)) as writer:
        writer.call(WriteEntries(drafts=tuple(entries())))
        viewer = Viewer(account="zz", user="zz", roles=(), auth="test")
        for n in range(ROWS_AHEAD + 1):
            breakglass.open_window(writer, viewer, f"ZZV{n}", "ZZ in the emergency")


def messages() -> list[tuple[str, bytes]]:
    """One admission for each stay, and as many messages that mean nothing here as make a thousand rows."""
    found = []
    for n in range(1000):
        at = (BEGAN + timedelta(seconds=n)).strftime("%Y%m%d%H%M%S+0000")
        event = "A01" if n < STAYS else "A60"
        unit = "5W" if n else "CDU"
        found.append(
            (
                str(n),
                (
                    f"MSH|^~\\&|ADT|ZZ|UMB|ZZ|{at}||ADT^{event}|ZZC{n:05d}|P|2.5.1\rEVN|{event}|{at}\r"
                    f"PID|1||ZZ{n:07d}^^^ZZHOSP^MR||ZZTEST^ALDER||19540311|F\r"
                    f"PV1|1|I|{unit}^1^1|||||||MED||||||||INP|ZZVN{n:07d}|||||||||||||||||||||||||{at}\r"
                ).encode(),
            )
        )
    return found


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    where = Installation(tmp_path_factory.mktemp("answers") / "site")
    where.roles(*ROLES)
    populate(where)
    path = where.settings.users
    path.write_text(
        path.read_text() + "".join(f'[zz{n}]\nuser = "zz{n}"\nroles = ["him"]\n' for n in range(999))
    )
    with pytest.MonkeyPatch.context() as patch:  # no review opens by itself while the listings are counted
        running = where.start_on(BEGAN + timedelta(hours=1), patch)
    try:
        asyncio.run(delivery.send_all("127.0.0.1", running.port, messages(), connections=8))
        running.worked()
        yield running
        assert running.stop() == 0
    finally:
        running.kill()


def ask(daemon: Running, op: str, **args: Any) -> list[Row]:
    rows = control_client.request(daemon.where.settings.store, op, args)
    assert rows is not None
    return list(rows)


@pytest.mark.parametrize("size", SIZES)
def test_a_listing_of_any_size_is_answered_whole_while_the_daemon_runs(daemon: Running, size: int) -> None:
    assert len(ask(daemon, "report.access", user=f"zz{size}")) == size + 1  # and its head
    assert len(ask(daemon, "report.breach-scope", user=f"zz{size}")) == size + 1
    (kind,) = (kind for kind, count in KINDS.items() if count == size)
    assert len(ask(daemon, "ledger.list", kind=kind)) == size
    assert [row["seq"] for row in ask(daemon, "messages.list", limit=size)] == list(range(1, size + 1))


@pytest.mark.parametrize(
    ("op", "args", "size"),
    [
        ("messages.list", {}, 1000),
        ("messages.list", {"state": "IGNORED"}, 1000 - STAYS),
        ("stays.list", {}, STAYS),
        ("reviews.list", {}, STAYS),
        ("reviews.list", {"unit": "5W", "purpose": "HPAYMT"}, STAYS - 1),
        ("users.list", {}, 1000),
        ("breakglass.list", {}, ROWS_AHEAD + 1),
        ("report.disclosures", {"patient": "ZZD", "asked_on": "2026-11-22"}, KINDS["disclosure"] + 1),
        ("report.disclosures", {"patient": "ZZV1N0", "asked_on": "2026-11-22"}, 1),
        ("keys.list", {}, None),
        ("plugins.list", {}, None),
    ],
)
def test_every_other_listing_is_too(daemon: Running, op: str, args: Row, size: int | None) -> None:
    rows = ask(daemon, op, **args)
    assert rows if size is None else len(rows) == size


def test_a_bundle_is_too(daemon: Running) -> None:
    lines = ask(daemon, "ledger.export", profile="integrity-only")
    assert len(lines) > sum(SIZES) + sum(KINDS.values())


# -- whichever thread it is --------------------------------------------------------------------------------

LISTINGS: list[tuple[str, Row]] = [
    ("messages.list", {}),
    ("messages.list", {"mrn": "ZZ0000000"}),
    ("messages.show", {"seq": 1}),
    ("stays.list", {}),
    ("stays.show", {"visit": "ZZVN0000000"}),
    ("reviews.list", {}),
    ("ledger.list", {}),
    ("ledger.show", {"seq": 0}),
    ("ledger.export", {"profile": "integrity-only"}),
    ("ledger.export", {"profile": "safe-harbor"}),
    ("ledger.proof", {"seq": 0}),
    ("ledger.checkpoint", {}),
    ("users.list", {}),
    ("keys.list", {}),
    ("breakglass.list", {}),
    ("report.access", {}),
    ("report.disclosures", {"patient": "ZZD", "all": True}),
    ("report.breach-scope", {"user": "zz65"}),
]


@pytest.fixture(scope="module")
def fed(tmp_path_factory: pytest.TempPathFactory) -> Installation:
    where = Installation(tmp_path_factory.mktemp("threads") / "site")
    populate(where)
    feed(where)
    return where


def in_a_new_thread(work: Any) -> Any:
    """What ``work`` returns or raises, out of a thread that nothing was done in before."""
    found: list[Any] = []

    def run() -> None:
        try:
            found.extend((work(), None))
        except BaseException as exc:
            found.extend((None, exc))

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    if found[1] is not None:
        raise found[1]
    return found[0]


@pytest.mark.parametrize(("op", "args"), LISTINGS)
def test_each_row_may_be_taken_by_another_thread(
    fed: Installation, monkeypatch: pytest.MonkeyPatch, op: str, args: Row
) -> None:
    monkeypatch.setattr(control, "ROWS_AHEAD", 1)
    with ExitStack() as stack:
        there = queries_of(fed, stack)
        there.users["zz"] = User(user="zz-user", roles=ROLES)
        asked = control._Asked(lambda: there.registry.answer("zz", op, args, "test"), lambda: None, "test")
        rows = list(iter(lambda: in_a_new_thread(asked._take), b""))
        assert op in ("keys.list", "breakglass.list") or rows
        # and one that is left half-way is closed by yet another
        left = control._Asked(lambda: there.registry.answer("zz", op, args, "test"), lambda: None, "test")
        in_a_new_thread(left._take)
        in_a_new_thread(left.end)

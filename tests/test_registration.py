"""Stores filled under other names of numbers: their patients are found, whatever ends the daemon."""

from __future__ import annotations

import asyncio
import re
import sqlite3
import time
from collections.abc import Sequence
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from installation import START_SECONDS, Installation, exchange
from test_upgrade import kept

from umbridge.access import plugins
from umbridge.intake import registration
from umbridge.intake.tokens import Tokens
from umbridge.settings.site import load_site
from umbridge.store import engine
from umbridge.store.commands import WriteEntries
from umbridge.store.opening import hold_writer, open_keys
from umbridge.store.patient_index import Refold
from umbridge.store.writer import Writer

WHY = ("--purpose", "HPAYMT")
ALIASES = 'mrn_authority_aliases = ["2.999.1"]\nvisit_authority_aliases = ["2.999.1"]\n'


def made(where: Path, site: str = ALIASES) -> Installation:
    """The store that the program of before filled (vectors/stores.md), under a profile of today."""
    kept(6, where, "numbers")
    one = Installation.at(where)
    one.roles("administrator", "ur_nurse")
    one.edit(r"(?m)^seconds = 2\.0", "seconds = 60.0")
    if site:
        one.edit(r"(?m)^account_authority", f"{site}account_authority", "site.toml")
    with hold_writer(one.settings, open_keys(one.settings)) as writer:
        plugins.approve_bundled(one.settings, writer, "zz")  # the copies that were approved are not kept
    return one


def told(n: int, kind: str, *segments: str) -> bytes:
    at = f"{datetime.now(UTC):%Y%m%d%H%M%S}+0000"
    evn = [f"EVN||{at}"] if kind.startswith("ADT") else []
    head = f"MSH|^~\\&|ZZEHR|UMBH|||{at}||{kind}|ZZR{n}|P|2.5.1"
    return "\r".join([head, *evn, *segments, ""]).encode()


def pv1(visit: str) -> str:
    return f"PV1|1|I|4W^2|||||||||||||||INP|{visit}"


AFTER = [
    told(1, "ADT^A40", "PID|1||ZZK511^^^UMBH^MR||ZZTEST^X", "MRG|ZZK501^^^UMBH^PI"),
    told(2, "ADT^A40", "PID|1||ZZK512^^^UMBH^MR||ZZTEST^X", "MRG|ZZK502"),
    told(3, "ADT^A08", "PID|1||ZZK605||ZZTEST^X", pv1("ZZKV3")),
    told(4, "ADT^A08", "PID|1||ZZK503^^^UMBH^MR||ZZTEST^X", pv1("ZZKV4")),
    told(5, "ADT^A40", "PID|1||ZZK513^^^UMBH^MR||ZZTEST^X", "MRG|ZZK503"),
]
FOUND = {"ZZKV1": "ZZK511", "ZZKV2": "ZZK512", "ZZKV3": "ZZK605", "ZZKV4": "ZZK513"}


def note(one: Installation) -> str:
    with closing(sqlite3.connect(one.settings.store / engine.DATABASE)) as db:
        row = db.execute("SELECT value FROM meta WHERE name = ?", (registration.NUMBERS,)).fetchone()
    return str(row[0]) if row else ""


def registered(one: Installation) -> None:
    """Wait until the daemon has gone through its store under today's names."""
    done = f"{load_site(one.settings.site).naming()} {registration.WHOLE}"
    until = time.monotonic() + START_SECONDS
    while note(one) != done:
        assert time.monotonic() < until, "never whole"
        time.sleep(0.02)


def register(writer: Writer, site: Any, pages: int | None = None) -> list[Refold]:
    """As the daemon does it; ``pages``: it ends after so many."""
    asked: list[Refold] = []

    async def go() -> None:
        one = registration.Registration(writer, site, lambda feed: "utf-8", asked.extend)
        if pages is not None:
            left = iter(range(pages))
            page = one._page
            one._page = lambda after: page(after) if next(left, None) is not None else _ended()  # type: ignore[method-assign]
        await one.run()

    writer.call(WriteEntries(drafts=()))  # its loop runs
    assert writer._loop is not None
    asyncio.run_coroutine_threadsafe(go(), writer._loop).result(60)
    return asked


def _ended() -> Any:
    raise registration.StoreError("the daemon is ending")


def stays(one: Installation) -> dict[str, dict[str, Any]]:
    return {row["visit"]: row for row in one.rows("stays", "list", *WHY)}


def test_a_store_of_before_finds_its_patients(tmp_path: Path) -> None:
    one = made(tmp_path / "site")
    daemon = one.start()
    registered(one)
    asyncio.run(exchange(daemon.port, *(b"\x0b" + each + b"\x1c\r" for each in AFTER)))
    daemon.worked()
    daemon.caught_up()
    found = stays(one)
    assert {visit: found[visit]["mrn"] for visit in FOUND} == FOUND
    assert [found[visit]["exceptions"] for visit in FOUND] == [["INPATIENT_ORDER_MISSING"]] * 4
    assert len([visit for visit in found if "ZZKV" in (visit or "")]) == 4  # no stay was told in two
    assert one.rows("messages", "list", "--mrn", "ZZK503")
    assert daemon.stop() == 0


def test_without_it_they_are_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one = made(tmp_path / "site")
    site = load_site(one.settings.site)
    with hold_writer(one.settings, open_keys(one.settings)) as writer:
        tokens = Tokens(writer.keyring, site)
        wanted = {
            visit: tokens._token("person", mrn, "", "")
            for visit, mrn in {"ZZKV1": "ZZK501", "ZZKV2": "ZZK502", "ZZKV4": "ZZK503"}.items()
        }

        def known() -> set[str]:
            with closing(sqlite3.connect(writer.database)) as db:
                lanes = {
                    visit: db.execute("SELECT 1 FROM patient_lane WHERE token = ?", (token,)).fetchone()
                    for visit, token in wanted.items()
                }
            return {visit for visit, lane in lanes.items() if lane}

        assert known() == set()
        asked = register(writer, site)
        assert known() == set(wanted)
        (merge,) = asked  # ZZK604 into ZZK605 was told to nobody: now it is given to ZZKV3's stay
        with writer.reading() as reader:
            assert reader.refolds() == [merge]
            assert reader.resolve(tokens.lookup("ZZKV3")) == merge.lane
            assert reader.resolve(tokens.lookup("ZZKV4")) == reader.resolve(tokens.lookup("ZZKV4^2.999.1"))
        assert register(writer, site) == []


def everything(one: Installation) -> dict[str, list[Sequence[object]]]:
    tables = ("alias", "patient_lane", "patient_row", "lane_row", "lane_refold", "inbox", "stay_head")
    with closing(sqlite3.connect(one.settings.store / engine.DATABASE)) as db:
        columns = {"lane_refold": "lane, since, gone", "inbox": "seq, lane, state"}
        return {
            name: sorted(db.execute(f"SELECT {columns.get(name, '*')} FROM {name}").fetchall(), key=repr)  # noqa: S608
            for name in tables
        }


def test_a_daemon_that_ends_on_the_way_goes_on_and_comes_to_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registration, "PAGE", 5)
    whole, pieces = made(tmp_path / "whole"), made(tmp_path / "pieces")
    with hold_writer(whole.settings, open_keys(whole.settings)) as writer:
        register(writer, load_site(whole.settings.site))
    for pages in (0, 1, 3, 2, 99):
        with hold_writer(pieces.settings, open_keys(pieces.settings)) as writer:
            register(writer, load_site(pieces.settings.site), pages)
    assert note(pieces) == note(whole)
    assert everything(pieces) == everything(whole)


def test_it_is_done_once_and_again_only_where_names_are_others(tmp_path: Path) -> None:
    one = made(tmp_path / "site", "")
    site = one.settings.site
    with hold_writer(one.settings, open_keys(one.settings)) as writer:
        register(writer, load_site(site))
        entries = writer.ledger.size
        register(writer, load_site(site))
        assert writer.ledger.size == entries
        one.edit(r"order_to_adt_hours = 12", "order_to_adt_hours = 11", "site.toml")
        register(writer, load_site(site))
        assert writer.ledger.size == entries
        one.edit(r"(?m)^account_authority", f"{ALIASES}account_authority", "site.toml")
        register(writer, load_site(site))
        assert writer.ledger.size == entries + 1


def test_a_new_store_has_nothing_to_register(installation: Installation) -> None:
    with hold_writer(installation.settings, open_keys(installation.settings)) as writer:
        entries = writer.ledger.size
        register(writer, load_site(installation.settings.site))
        assert writer.ledger.size == entries
    assert re.fullmatch(rf"[0-9a-f]{{64}} {registration.WHOLE}", note(installation))


def test_spellings_that_had_a_stay_each_come_to_one(installation: Installation) -> None:
    """An alias that was not in the profile: the same visit was two stays."""
    installation.roles("administrator", "ur_nurse")
    daemon = installation.start()
    pid, order = "PID|1||ZZ7^^^UMBH^MR||ZZTEST^X", "ADT^A08"
    frames = [
        told(n, "ADT^A01" if n == 1 else order, pid, pv1(visit))
        for n, visit in enumerate(("ZZV7^^^UMBH^VN", "ZZV7^^^2.999.1^VN", "ZZV8^^^2.999.1"), 1)
    ]
    asyncio.run(exchange(daemon.port, *(b"\x0b" + each + b"\x1c\r" for each in frames)))
    daemon.worked()
    assert set(stays(installation)) == {"ZZV7", "ZZV7^2.999.1", "ZZV8^2.999.1"}
    daemon.stop()
    installation.edit(r"(?m)^account_authority", f"{ALIASES}account_authority", "site.toml")
    daemon = installation.start()
    registered(installation)
    frames = [told(n, order, pid, pv1(visit)) for n, visit in ((4, "ZZV7"), (5, "ZZV8"))]
    asyncio.run(exchange(daemon.port, *(b"\x0b" + each + b"\x1c\r" for each in frames)))
    daemon.worked()
    found = stays(installation)
    assert {visit: stay["events_applied"] for visit, stay in found.items()} == {"ZZV7": 3, "ZZV8": 2}
    daemon.stop()

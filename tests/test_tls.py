"""TLS on MLLP: who is let in, as which feed, and what everybody else is told and counted as."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import ssl
import time
import warnings
from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from authority import DAY, Authority, Pair
from installation import START_SECONDS, Installation, Running
from test_listener import Wire, acks, play
from test_receive import frame

from umbridge.access import control_client
from umbridge.errors import ConfigError
from umbridge.hl7 import mllp
from umbridge.intake import delivery, tls
from umbridge.settings.config import FeedSettings, TlsSettings

ENGINE = "engine.zz.test"


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path / "pki")


def feed_for(*peers: str, senders: tuple[str, ...] = ("*/@facilities",)) -> FeedSettings:
    """A TLS feed's settings; the files are given to the listener as a context."""
    return FeedSettings(
        port=0, senders=senders, tls=TlsSettings(certificate="c", key="k", ca="a", peers=peers)
    )


def guarded(
    tmp_path: Path,
    authority: Authority,
    scene: Callable[[Wire], Awaitable[Any]],
    feed: FeedSettings | None = None,
    **limits: Any,
) -> Any:
    ours = authority.sign("server", "localhost", "IP:127.0.0.1")
    context = tls.server_context(ours.certificate, ours.key, authority.ca)
    return play(tmp_path, scene, feed=feed or feed_for(ENGINE), context=context, **limits)


def client(authority: Authority, pair: Pair | None) -> ssl.SSLContext:
    return tls.client_context(authority.ca, pair.certificate if pair else None, pair.key if pair else None)


async def say(port: int, context: ssl.SSLContext, data: bytes) -> bytes:
    """One frame over TLS and what comes back; b"" where the door stays shut."""
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
    except OSError:
        return b""
    try:
        writer.write(mllp.encode(data))
        return await asyncio.wait_for(reader.readuntil(mllp.END), 60)
    except (OSError, asyncio.IncompleteReadError):
        return b""
    finally:
        writer.close()


async def counted(wire: Wire, reason: str, times: int = 1) -> None:
    """Wait for what is counted beside the connections."""
    while (await wire.refused()).get(reason, 0) < times:
        await asyncio.sleep(0.01)
    assert await wire.refused() == {reason: times}


def test_the_certificate_names_the_feed_and_the_message_is_stored(
    tmp_path: Path, authority: Authority
) -> None:
    async def scene(wire: Wire) -> None:
        pair = authority.sign("engine", "other.zz.test", ENGINE)
        assert acks(await say(wire.port, client(authority, pair), frame())) == [("AA", "ZZ1")]
        (row,) = await wire.rows()
        assert (row.feed, row.state) == ("main", "PENDING")
        assert await wire.refused() == {}

    guarded(tmp_path, authority, scene)


@pytest.mark.parametrize("written", [ENGINE.upper(), "IP:10.9.8.7", "URI:urn:zz:engine"])
def test_names_of_each_kind_are_known(tmp_path: Path, authority: Authority, written: str) -> None:
    async def scene(wire: Wire) -> None:
        name = written if ":" in written else written.lower()
        pair = authority.sign("engine", name)
        assert acks(await say(wire.port, client(authority, pair), frame())) == [("AA", "ZZ1")]

    guarded(tmp_path, authority, scene, feed_for(written))


def strangers(authority: Authority) -> dict[str, Pair | None]:
    """Reason counted: what was shown."""
    other = Authority(authority.ca.parent / "other", "ZZ Another CA")
    return {
        "tls_no_certificate": None,
        "tls_certificate_untrusted": other.sign("engine", ENGINE),
        "tls_certificate_expired": authority.sign("late", ENGINE, ends=-DAY),
        "tls_certificate_not_yet_valid": authority.sign("early", ENGINE, begins=DAY, ends=3 * DAY),
        "tls_name_unknown": authority.sign("stranger", "stranger.zz.test", f"URI:{ENGINE}", f"sub.{ENGINE}"),
    }


@pytest.mark.parametrize(
    "reason",
    [
        "tls_no_certificate",
        "tls_certificate_untrusted",
        "tls_certificate_expired",
        "tls_certificate_not_yet_valid",
        "tls_name_unknown",
    ],
)
def test_a_stranger_is_shut_out_and_counted(tmp_path: Path, authority: Authority, reason: str) -> None:
    async def scene(wire: Wire) -> None:
        pair = strangers(authority)[reason]
        assert await say(wire.port, client(authority, pair), frame()) == b""
        await counted(wire, reason)
        assert await wire.rows() == []
        while wire.listener.open_connections:  # the peer hears of the end before the listener is done with it
            await asyncio.sleep(0.001)
        good = authority.sign("engine", ENGINE)
        assert acks(await say(wire.port, client(authority, good), frame())) == [("AA", "ZZ1")]

    guarded(tmp_path, authority, scene)


def test_a_common_name_or_a_wildcard_names_nobody(tmp_path: Path, authority: Authority) -> None:
    async def scene(wire: Wire) -> None:
        for file, names in (("cn", ()), ("wild", ("*.zz.test",))):  # its common name is the engine's
            pair = authority.sign(file, *names)
            assert await say(wire.port, client(authority, pair), frame()) == b""
        await counted(wire, "tls_name_unknown", 2)

    guarded(tmp_path, authority, scene)


@pytest.mark.parametrize(
    ("senders", "answer"),
    [
        (("ZZEHR/UMBH",), "AA"),
        (("ZZEHR/*",), "AA"),
        (("*/UMBH",), "AA"),
        (("*/@facilities",), "AA"),
        (("ZZEHR/@facilities",), "AA"),
        (("ZZLAB/UMBH", "ZZEHR/UMBH"), "AA"),
        (("ZZLAB/UMBH",), "AR"),
        (("ZZEHR/ELSEWHERE",), "AR"),
        (("ZZLAB/@facilities",), "AR"),
        (("zzehr/UMBH",), "AR"),
    ],
)
def test_the_right_certificate_with_the_wrong_sender_is_refused_and_kept(
    tmp_path: Path, authority: Authority, senders: tuple[str, ...], answer: str
) -> None:
    async def scene(wire: Wire) -> None:
        pair = authority.sign("engine", ENGINE)
        assert acks(await say(wire.port, client(authority, pair), frame())) == [(answer, "ZZ1")]
        (row,) = await wire.rows()
        expected = ("PENDING", "") if answer == "AA" else ("REFUSED", "sender_not_on_feed")
        assert (row.state, row.reason) == expected

    guarded(tmp_path, authority, scene, feed_for(ENGINE, senders=senders))


def test_a_facility_that_is_not_the_sites_is_refused(tmp_path: Path, authority: Authority) -> None:
    async def scene(wire: Wire) -> None:
        pair = authority.sign("engine", ENGINE)
        elsewhere = frame().replace(b"|ZZEHR|UMBH|", b"|ZZEHR|ELSEWHERE|")
        assert acks(await say(wire.port, client(authority, pair), elsewhere)) == [("AR", "ZZ1")]

    guarded(tmp_path, authority, scene)


def old_client(authority: Authority, pair: Pair) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(cafile=authority.ca)
    context.load_cert_chain(pair.certificate, pair.key)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1
    context.set_ciphers("ALL:@SECLEVEL=0")
    return context


def test_tls_older_than_1_2_is_refused(tmp_path: Path, authority: Authority) -> None:
    async def scene(wire: Wire) -> None:
        pair = authority.sign("engine", ENGINE)
        assert await say(wire.port, old_client(authority, pair), frame()) == b""
        await counted(wire, "tls_version")

    guarded(tmp_path, authority, scene)


def test_tls_1_2_is_taken(tmp_path: Path, authority: Authority) -> None:
    async def scene(wire: Wire) -> None:
        context = client(authority, authority.sign("engine", ENGINE))
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        assert acks(await say(wire.port, context, frame())) == [("AA", "ZZ1")]

    guarded(tmp_path, authority, scene)


@pytest.mark.parametrize(
    "data",
    [
        mllp.encode(frame()),
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        b"SSH-2.0-OpenSSH_9.0\r\n",
        b"\x80\x2e\x01\x00\x02" + b"\x00" * 41,  # an SSLv2 hello
        b"\x16\x03\x01\xff\xff" + b"\x01" * 64,
    ],
)
def test_what_is_not_tls_is_shut_out_at_once(tmp_path: Path, authority: Authority, data: bytes) -> None:
    async def scene(wire: Wire) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", wire.port)
        writer.write(data)
        writer.write_eof()
        with contextlib.suppress(ConnectionError):
            assert mllp.START not in await asyncio.wait_for(reader.read(-1), 60)  # an alert at most
        writer.close()
        while not await wire.refused():
            await asyncio.sleep(0.01)
        assert all(reason.startswith("tls_") for reason in await wire.refused())
        assert await wire.rows() == []

    guarded(tmp_path, authority, scene)


def test_silence_instead_of_a_handshake_is_cut_and_costs_others_nothing(
    tmp_path: Path, authority: Authority
) -> None:
    async def scene(wire: Wire) -> None:
        silent = [await asyncio.open_connection("127.0.0.1", wire.port) for _ in range(20)]
        pair = authority.sign("engine", ENGINE)
        assert acks(await say(wire.port, client(authority, pair), frame())) == [("AA", "ZZ1")]
        for reader, writer in silent:
            with contextlib.suppress(ConnectionError):
                assert await asyncio.wait_for(reader.read(-1), 60) == b""
            writer.close()
        await counted(wire, "tls_handshake_timeout", 20)
        while wire.listener.open_connections:
            await asyncio.sleep(0.01)

    guarded(tmp_path, authority, scene, handshake_seconds=3.0)  # time enough for the one that speaks


def test_connections_that_have_not_spoken_count_against_the_limit(
    tmp_path: Path, authority: Authority
) -> None:
    async def scene(wire: Wire) -> None:
        held = [await asyncio.open_connection("127.0.0.1", wire.port) for _ in range(3)]
        while wire.listener.open_connections < 3:
            await asyncio.sleep(0.01)
        reader, writer = await asyncio.open_connection("127.0.0.1", wire.port)
        with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
            await asyncio.wait_for(reader.readexactly(1), 60)
        await counted(wire, "too_many_connections")
        for _, one in held:
            one.close()
        writer.close()

    guarded(tmp_path, authority, scene, connections_per_peer=3, handshake_seconds=30.0)


def test_new_certificates_count_from_the_next_connection_and_old_ones_are_sent_away(
    tmp_path: Path, authority: Authority
) -> None:
    async def scene(wire: Wire) -> None:
        context = client(authority, authority.sign("engine", ENGINE))
        reader, writer = await asyncio.open_connection("127.0.0.1", wire.port, ssl=context)
        writer.write(mllp.encode(frame()))
        assert acks(await reader.readuntil(mllp.END)) == [("AA", "ZZ1")]
        other = Authority(tmp_path / "next", "ZZ Next CA")
        ours = other.sign("server", "localhost", "IP:127.0.0.1")
        wire.listener.renew(
            {"main": feed_for("next.zz.test")}, tls.server_context(ours.certificate, ours.key, other.ca)
        )
        assert await asyncio.wait_for(reader.read(-1), 60) == b""
        writer.close()
        assert await say(wire.port, context, frame(id="ZZ2")) == b""
        newer = client(other, other.sign("next", "next.zz.test"))
        assert acks(await say(wire.port, newer, frame(id="ZZ3"))) == [("AA", "ZZ3")]
        assert [row.head["control_id"] for row in await wire.rows()] == ["ZZ1", "ZZ3"]

    guarded(tmp_path, authority, scene)


def test_a_connection_is_watched_by_the_kernel(tmp_path: Path, authority: Authority) -> None:
    """Half-open peers are noticed without a word from either side (tcp(7))."""
    seen: dict[str, int] = {}

    async def scene(wire: Wire) -> None:
        keep = type(wire.listener)._keep_alive

        def look(self: Any, peer: socket.socket) -> None:
            keep(self, peer)
            for name in ("TCP_KEEPIDLE", "TCP_KEEPINTVL", "TCP_KEEPCNT", "TCP_USER_TIMEOUT"):
                seen[name] = peer.getsockopt(socket.IPPROTO_TCP, getattr(socket, name))
            seen["SO_KEEPALIVE"] = peer.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)

        wire.listener._keep_alive = look.__get__(wire.listener)  # type: ignore[method-assign]
        await wire.still_works()

    play(tmp_path, scene)
    assert seen == {
        "SO_KEEPALIVE": 1,
        "TCP_KEEPIDLE": 60,
        "TCP_KEEPINTVL": 10,
        "TCP_KEEPCNT": 6,
        "TCP_USER_TIMEOUT": 60_000,
    }


# --- files ----------------------------------------------------------------------------------------------


def test_files_that_will_not_do_are_named(tmp_path: Path, authority: Authority) -> None:
    good = authority.sign("server", "localhost")
    other = authority.sign("other", "localhost")
    junk = tmp_path / "junk.pem"
    junk.write_text("not a certificate")
    junk.chmod(0o600)
    for files, told in (
        ((good.certificate, other.key, authority.ca), "server.pem"),
        ((junk, good.key, authority.ca), "junk.pem"),
        ((good.certificate, good.key, junk), "junk.pem"),
        ((good.certificate, tmp_path / "none", authority.ca), "none: cannot be read"),
    ):
        with pytest.raises(ConfigError, match=told):
            tls.server_context(*files)
    good.key.chmod(0o644)
    with pytest.raises(ConfigError, match="readable by others"):
        tls.server_context(good.certificate, good.key, authority.ca)


def test_a_key_under_a_passphrase_is_refused_and_nobody_is_asked(
    tmp_path: Path, authority: Authority
) -> None:
    from cryptography.hazmat.primitives import serialization

    good = authority.sign("server", "localhost")
    key = serialization.load_pem_private_key(good.key.read_bytes(), None)
    good.key.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"secret"),
        )
    )
    with pytest.raises(ConfigError, match="without a passphrase"):
        tls.server_context(good.certificate, good.key, authority.ca)


# --- the whole daemon -----------------------------------------------------------------------------------

SHARED_PORT = """
[feeds.main]
port = {port}
senders = ["*/@facilities"]
[feeds.main.tls]
certificate = "pki/server.pem"
key = "pki/server.key"
ca = "pki/ca.pem"
peers = ["engine.zz.test"]

[feeds.lab]
port = {port}
senders = ["ZZLAB/UMBH"]
[feeds.lab.tls]
certificate = "pki/server.pem"
key = "pki/server.key"
ca = "pki/ca.pem"
peers = ["lab.zz.test"]

[ledger]
"""


def free_port() -> int:
    """One that the kernel gives to nobody who asks for any: nobody takes it before the daemon has."""
    lowest = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    for step in range(1000):
        port = lowest - 1 - (os.getpid() + step) % 10_000
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port)) as one:
            return int(one.getsockname()[1])
    raise AssertionError("no port is free")


@pytest.fixture
def hospital(installation: Installation) -> tuple[Installation, Authority]:
    authority = Authority(installation.directory / "pki")
    authority.sign("server", "localhost", "IP:127.0.0.1")
    text = SHARED_PORT.format(port=free_port())
    installation.edit(r"(?s)\[feeds\.main\].*?\n\[ledger\]", text)
    return installation, authority


def log_of(daemon: Running, event: str, times: int = 1) -> None:
    until = time.monotonic() + START_SECONDS
    while daemon.log.read_text().count(f'"event": "{event}"') < times:
        assert time.monotonic() < until, daemon.log.read_text()[-2000:]
        time.sleep(0.02)


def test_two_feeds_share_a_port_and_certificates_tell_them_apart(
    hospital: tuple[Installation, Authority], tmp_path: Path
) -> None:
    installation, authority = hospital
    engine = authority.sign("engine", ENGINE)
    lab = authority.sign("lab", "lab.zz.test")
    daemon = installation.start()
    try:
        file = tmp_path / "m.hl7"
        file.write_bytes(frame(id="ZZengine"))
        words = ("send", str(file), "--feed", "main", "--host", "127.0.0.1", "--tls-ca", str(authority.ca))
        own = ("--tls-cert", str(engine.certificate), "--tls-key", str(engine.key))
        assert "1 AA" in installation.run(*words, *own).stdout
        of_lab = frame(id="ZZlab").replace(b"ZZEHR", b"ZZLAB")
        assert sent(daemon, client(authority, None), of_lab) == "CLOSED"
        assert sent(daemon, client(authority, lab), of_lab) == "AA"
        assert (
            sent(daemon, client(authority, engine), of_lab) == "AA"
        )  # its facility is ours, and main takes it
        assert sent(daemon, client(authority, lab), frame(id="ZZother")) == "AR"
        status = daemon.worked()
        assert [(f["feed"], f["plaintext"], f["messages"]) for f in status["feeds"]] == [
            ("main", False, 2),
            ("lab", False, 2),
        ]
        assert status["feeds"][0]["refused_on_the_wire"] == {"tls_no_certificate": 1}
        assert daemon.stop() == 0
    finally:
        daemon.kill()


def sent(daemon: Running, context: ssl.SSLContext, data: bytes) -> str:
    """What one message was answered, over TLS to the daemon."""
    found: list[delivery.Sent] = []
    to = delivery.send_all("127.0.0.1", daemon.port, [("m", data)], context=context, done=found.append)
    asyncio.run(to)
    return found[0].ack


def test_a_hangup_signal_takes_new_files_and_keeps_the_old_where_they_are_broken(
    hospital: tuple[Installation, Authority],
) -> None:
    installation, authority = hospital
    first = client(authority, authority.sign("engine", ENGINE))
    second = client(authority, authority.sign("second", "second.zz.test"))
    daemon = installation.start()

    try:
        assert sent(daemon, first, frame(id="ZZ1")) == "AA"
        whole = authority.ca.read_bytes()
        authority.ca.write_text("-----BEGIN CERTIFICATE-----\nbroken\n")
        os.kill(daemon.process.pid, signal.SIGHUP)
        log_of(daemon, "reload_refused")
        authority.ca.write_bytes(whole)
        assert sent(daemon, first, frame(id="ZZ2")) == "AA"
        installation.edit(r'peers = \["engine.zz.test"\]', 'peers = ["second.zz.test"]')
        os.kill(daemon.process.pid, signal.SIGHUP)
        log_of(daemon, "reloaded", 3)  # users twice, feeds once
        assert sent(daemon, first, frame(id="ZZ3")) == "CLOSED"
        assert sent(daemon, second, frame(id="ZZ4")) == "AA"
        assert daemon.stop() == 0
    finally:
        daemon.kill()
    assert [row["kind"] for row in installation.rows("ledger", "list", "--kind", "config.change")] == [
        "config.change"
    ]


def test_a_certificate_that_ends_soon_is_a_warning(hospital: tuple[Installation, Authority]) -> None:
    installation, authority = hospital
    assert list(tls.warnings(installation.settings)) == []
    authority.sign("server", "localhost", ends=timedelta(days=10))
    assert [text.partition(" ends ")[0] for text in tls.warnings(installation.settings)] == [
        "feed main: our certificate",
        "feed lab: our certificate",
    ]


def test_a_bad_file_ends_the_start_with_78(hospital: tuple[Installation, Authority]) -> None:
    installation, authority = hospital
    authority.ca.write_text("nothing")
    told = installation.run("config", "check", check=78)
    assert "ca.pem" in told.stderr and "Traceback" not in told.stderr
    assert control_client.request(installation.settings.store, "ping", {}) is None

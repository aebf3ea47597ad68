"""Commands that speak MLLP: `send` to a feed, and `listen` as the other end of one."""

from __future__ import annotations

import signal
import sys
from pathlib import Path

import click

from umbridge.commands import terminal
from umbridge.commands.options import (
    as_json,
)
from umbridge.settings import file


@click.command()
@click.argument("paths", nargs=-1, required=True, metavar="PATH...")
@click.option("--host", default="127.0.0.1", show_default=True)
@click.option("--port", type=click.IntRange(1, 65535), default=None, help="Default: the feed's, or 2575.")
@click.option("--feed", default=None, help="Take host and port of this feed from the settings.")
@click.option("--config", "config_file", metavar="FILE", help="Settings file, for --feed.")
@click.option("--tls-ca", metavar="FILE", help="Speak TLS; believe servers whose certificate FILE signed.")
@click.option("--tls-cert", metavar="FILE", help="Our own certificate, PEM.")
@click.option("--tls-key", metavar="FILE", help="Its key, PEM (default: in the certificate's file).")
@click.option("--connections", type=click.IntRange(1, 1024), default=1, show_default=True)
@click.option("--rate", type=click.FloatRange(0, min_open=True), default=None, help="Messages a second.")
@as_json
def send(
    paths: tuple[str, ...],
    host: str,
    port: int | None,
    feed: str | None,
    config_file: str | None,
    tls_ca: str | None,
    tls_cert: str | None,
    tls_key: str | None,
    connections: int,
    rate: float | None,
    as_json: bool,
) -> int:
    """Send messages over MLLP and print each answer. Exit 0 only if all were AA, CA or NONE."""
    import asyncio

    from umbridge.dryrun import screen as shadow
    from umbridge.intake import delivery, tls
    from umbridge.settings import config

    given = [Path(name) if name else None for name in (tls_ca, tls_cert, tls_key)]
    context = tls.client_context(*given) if any(given) else None
    if feed is not None:
        settings = config.load(file.find(config_file))
        if feed not in settings.feeds:
            raise click.UsageError(f"--feed {feed}: not in the settings; known: {', '.join(settings.feeds)}")
        host, port = settings.feeds[feed].host, port or settings.feeds[feed].port
    counts: dict[str, int] = {}
    bad = 0

    def done(sent: delivery.Sent) -> None:
        nonlocal bad
        counts[sent.ack] = counts.get(sent.ack, 0) + 1
        bad += not sent.accepted
        if as_json:
            terminal.json_line(
                {
                    "file": sent.file,
                    "control_id": sent.control_id,
                    "ack": sent.ack,
                    "error": sent.error,
                    "ms": sent.ms,
                }
            )
        elif terminal.is_terminal() and sum(counts.values()) % 50 == 0:
            click.echo(f"\r{sum(counts.values())} sent", nl=False, err=True)
        if not as_json and not sent.accepted:
            who = f"{terminal.clean(sent.file)}  {terminal.clean(sent.control_id)}"
            click.echo(f"{who}  {sent.ack}  {sent.error or ''}")

    stdin = sys.stdin.buffer.read() if "-" in paths else None
    messages = list(shadow.read_files(paths, stdin))
    asyncio.run(
        delivery.send_all(
            host, port or 2575, messages, connections=connections, rate=rate, context=context, done=done
        )
    )
    if not as_json:
        said = ", ".join(f"{count} {code}" for code, count in sorted(counts.items())) or "nothing to send"
        click.echo(f"{len(messages)} messages: {said}")
    return 1 if bad else 0


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True)
@click.option("--port", type=click.IntRange(0, 65535), default=2575, show_default=True, help="0: a free one.")
@click.option(
    "--answer",
    type=click.Choice(["AA", "AE", "AR", "CA", "CE", "CR", "NONE", "CLOSE"]),
    default="AA",
    show_default=True,
    help="What every message is answered; CLOSE hangs up.",
)
@click.option("--delay", type=click.FloatRange(0), default=0.0, help="Seconds before each answer.")
@click.option("--count", type=click.IntRange(1), default=None, help="End after so many messages.")
@click.option("--keep", metavar="DIR", default=None, help="Write each message to a file in DIR.")
@as_json
def listen(
    host: str, port: int, answer: str, delay: float, count: int | None, keep: str | None, as_json: bool
) -> None:
    """A test peer: takes messages over MLLP, prints what came and answers as told. It stores nothing."""
    import asyncio

    from umbridge.intake.peer import Heard, Peer

    def heard(one: Heard) -> None:
        if as_json:
            terminal.json_line(one.to_json())
        else:
            what = f"{terminal.clean(one.type)}  {terminal.clean(one.control_id)}  {one.bytes} bytes"
            click.echo(f"{one.number}  {what}  {one.fault or one.ack}")

    folder = Path(keep) if keep else None
    if folder is not None and not folder.is_dir():
        raise click.UsageError(f"--keep {keep}: not a folder")

    async def serve() -> int:
        peer = Peer(answer, delay=delay, count=count, keep=folder, heard=heard)
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, peer.stop)
        return await peer.serve(host, port, lambda got: click.echo(f"listening on {host}:{got}", err=True))

    click.echo(f"{asyncio.run(serve())} came", err=True)


GROUPS = (send, listen)

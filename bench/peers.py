"""The peers on the same feed: python-hl7's MLLP server, and hl7apy's parser alone on one core.

Both do less than umbridge: neither keeps anything, judges anything or survives a power cut. python-hl7
(https://github.com/johnpaulett/python-hl7, ``hl7.mllp``) parses each message and answers it; hl7apy
(https://github.com/crs4/hl7apy) has no durable server to compare with, so only ``parse_message`` is timed.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

from bench.load import feed, ticker

SEGMENT_LIMIT = 1 << 20  # python-hl7 hangs on a block longer than its stream limit (64 KiB unless told)


async def serve() -> None:
    """python-hl7's asyncio MLLP server: parse, answer AA. Prints its port; ends on SIGTERM."""
    import hl7.mllp  # type: ignore[import-untyped]  # noqa: PLC0415 - a peer is loaded only where it is measured

    async def connected(reader: Any, writer: Any) -> None:
        try:
            while True:
                message = await reader.readmessage()
                writer.writemessage(message.create_ack("AA"))
                await writer.drain()
        except asyncio.IncompleteReadError:
            pass  # the generator has finished
        finally:
            writer.close()

    server = await hl7.mllp.start_hl7_server(
        connected, "127.0.0.1", 0, limit=SEGMENT_LIMIT, encoding="utf-8", backlog=512
    )
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    print(server.sockets[0].getsockname()[1], flush=True)
    await stop.wait()
    server.close()


def parse(messages: Sequence[str], seconds: float, progress: Callable[[int], None]) -> dict[str, Any]:
    """hl7apy's ``parse_message`` over the feed, one core, at most ``seconds``; its settings as installed."""
    from hl7apy.exceptions import HL7apyException  # noqa: PLC0415
    from hl7apy.parser import parse_message  # noqa: PLC0415

    parse_message(messages[0])  # its modules for this version are loaded on first use: not counted
    done = failed = 0
    cpu, began = time.process_time(), time.perf_counter()
    for text in messages:
        try:
            parse_message(text)
        except HL7apyException:
            failed += 1
        done += 1
        progress(done)
        if time.perf_counter() - began > seconds:
            break
    took = time.perf_counter() - began
    return {
        "messages": done,
        "failed": failed,
        "seconds": round(took, 3),
        "per_second": round(done / took, 2),
        "cpu_ms_per_message": round((time.process_time() - cpu) / done * 1000, 3),
    }


def main(words: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="bench/peers.py", description="The peers that bench/run.py measures."
    )
    parser.add_argument("peer", choices=("python-hl7", "hl7apy"))
    parser.add_argument("--count", type=int, default=600, help="hl7apy: messages at most")
    parser.add_argument(
        "--connections", type=int, default=8, help="hl7apy: order of the feed, as sent over N"
    )
    parser.add_argument("--seconds", type=float, default=10.0, help="hl7apy: time at most")
    asked = parser.parse_args(words)
    if asked.peer == "python-hl7":
        asyncio.run(serve())
        return 0
    whole_stays = [message.decode() for message in feed(asked.count, 1, in_turn=True)[0]]
    print(json.dumps(parse(whole_stays, asked.seconds, ticker("hl7apy parsed", asked.count))))
    return 0


if __name__ == "__main__":
    sys.exit(main())

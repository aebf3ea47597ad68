"""What `umbridge status` says: counters and warnings, nothing of any patient."""

from __future__ import annotations

from typing import Any

from umbridge.access.control_client import Row
from umbridge.intake import tls
from umbridge.settings.config import Settings
from umbridge.store import durability
from umbridge.store.engine import sqlite_warning
from umbridge.store.writer import Writer


def status_row(
    settings: Settings, writer: Writer, found: tuple[Any, Any, Any, Any, Any], *, running: bool, **more: Any
) -> Row:
    """Counters and warnings; nothing of any patient."""
    states, seen, refused, why, not_used = found
    ports = more.pop("ports", {})
    connections = more.pop("connections", {})
    noise = more.pop("noise", {})
    warnings = [w for w in (sqlite_warning(), *tls.warnings(settings)) if w]
    if overdue := more.get("breakglass", {}).get("overdue"):
        warnings.append(f"{overdue} reviews of broken glass are overdue: umbridge breakglass list")
    if differ := more.pop("read_anew", 0):
        warnings.append(f"{differ} stays say something else since they were read anew: umbridge stays list")
    for plugin in more.get("plugins", ()):
        if plugin["health"] != "running":
            warnings.append(
                f"plugin {plugin['plugin']} is {plugin['health']}: umbridge plugins list says why"
            )
    if writer.signer_away:
        warnings.append(
            f"the signer is away ({writer.signer_away}): "
            f"{writer.ledger.unanchored} entries wait for a checkpoint"
        )
    if found_weak := durability.weakness(settings.store):
        warnings.append(f"the store {found_weak}: what was answered may be lost")
    if settings.keys.is_relative_to(settings.store):
        warnings.append("the keys lie inside the store: a copy of the store is a copy of the keys")
    return {
        "running": running,
        **more,
        "store": str(settings.store),
        "messages": {state: count for state, (count, _) in states.items()},
        "feeds": [
            {
                "feed": feed,
                "host": s.host,
                "port": ports.get(feed, s.port),
                "plaintext": s.tls is None,
                "connections": connections.get(feed, 0),
                "messages": seen.get(feed, (0, None))[0],
                "last_message_at": seen.get(feed, (0, None))[1],
                "why": {said: count for said, (count, _) in sorted(why.get(feed, {}).items())},
                "not_used": {said: count for said, (count, _) in sorted(not_used.get(feed, {}).items())},
                "bytes_between_frames": noise.get(feed, 0),
                "refused_on_the_wire": {r: n for f, r, n, _ in refused if f == feed},
            }
            for feed, s in settings.feeds.items()
        ],
        "ledger": {
            "entries": writer.ledger.size,
            "unanchored": writer.ledger.unanchored,
            "unanchored_window_seconds": settings.ledger.checkpoint_seconds,
            "signer": writer.ledger.signs.where if writer.ledger.apart else "in this process",
            "signer_error": writer.signer_away or None,
        },
        "warnings": warnings,
    }

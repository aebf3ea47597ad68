"""The child: one plugin in a process of its own, asked over one socket, with nothing else in reach of it.

Started by ``link`` as ``python -I -S -B -c ...`` with an explicit import path, an empty environment and its
standard streams on /dev/null. The plugin is imported here and nowhere else. This is process isolation only:
it contains mistakes, not malice, until the sandbox lands, and says so (``ISOLATION``).
"""

from __future__ import annotations

import ctypes
import gc
import importlib
import os
import resource
import signal
import socket
from typing import Any

import pluggy

from umbridge import hookspecs
from umbridge.criteria.wire import FRAME_LIMIT, WireError, case_in, frame, manifest_out, result_out, unframe
from umbridge.model import Manifest, ScreenResult

ISOLATION = "process-only"
MEMORY_BYTES = 512 << 20
OPEN_FILES = 64
_PR_SET_PDEATHSIG, _PR_SET_DUMPABLE, _PR_SET_NO_NEW_PRIVS = 1, 4, 38  # linux/prctl.h


def main(fd: int, name: str, entry: str, parent: int) -> None:
    """Confine this process, load the plugin, answer until the daemon closes the socket.

    ``entry`` is the entry point's value, ``parent`` the daemon's process id: if it is gone, so are we.
    """
    confine(parent)
    with socket.socket(fileno=fd) as wire:
        plugins = None
        code = "plugin_unavailable"
        try:
            plugins = load(name, entry)
            gc.collect()
            gc.freeze()
        except BaseException:
            plugins = None
        while (body := _receive(wire)) is not None:
            request = unframe(body)
            answer: dict[str, Any] = {"error": code} if plugins is None else _answer(plugins, request)
            wire.sendall(_reply(request["id"], answer))


def confine(parent: int) -> None:
    """Limits that hold for plugin code: memory, core files, open files, and dying with the daemon."""
    prctl = ctypes.CDLL(None, use_errno=True).prctl
    prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:  # it died before the line above could take effect
        os._exit(0)
    prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_NOFILE, (OPEN_FILES, OPEN_FILES))


def load(name: str, entry: str) -> pluggy.PluginManager:
    """Import the plugin and register it; both hooks must be there and no others marked."""
    module, _, attribute = entry.partition(":")
    plugin: object = importlib.import_module(module.strip())
    for part in filter(None, attribute.strip().split(".")):
        plugin = getattr(plugin, part)
    plugins = pluggy.PluginManager(hookspecs.PROJECT)
    plugins.add_hookspecs(hookspecs)
    plugins.register(plugin, name)
    plugins.check_pending()
    for hook in ("umbridge_manifest", "umbridge_screen"):
        if not getattr(plugins.hook, hook).get_hookimpls():
            raise TypeError(hook)
    return plugins


def _answer(plugins: pluggy.PluginManager, request: dict[str, Any]) -> dict[str, Any]:
    try:
        if request["do"] == "manifest":
            manifest = plugins.hook.umbridge_manifest()
            if not isinstance(manifest, Manifest):
                return {"error": "plugin_reply_invalid"}
            return {"manifest": manifest_out(manifest)}
        result = plugins.hook.umbridge_screen(case=case_in(request["case"]))
    except BaseException:
        return {"error": "plugin_error"}
    if not isinstance(result, ScreenResult):
        return {"error": "plugin_reply_invalid"}
    try:
        return {"result": result_out(result)}
    except Exception:
        return {"error": "plugin_reply_invalid"}


def _reply(key: str, answer: dict[str, Any]) -> bytes:
    try:
        return frame({"id": key, **answer})
    except WireError as exc:
        code = "plugin_reply_too_large" if str(exc) == "too_large" else "plugin_reply_invalid"
        return frame({"id": key, "error": code})


def _receive(wire: socket.socket) -> bytes | None:
    """One frame's body; None when the daemon is gone."""
    head = _exactly(wire, 4)
    if head is None or (size := int.from_bytes(head, "big")) > FRAME_LIMIT:
        return None
    return _exactly(wire, size)


def _exactly(wire: socket.socket, size: int) -> bytes | None:
    found = bytearray()
    while len(found) < size:
        part = wire.recv(size - len(found))
        if not part:
            return None
        found += part
    return bytes(found)

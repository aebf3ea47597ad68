"""The child: one plugin in a process of its own, asked over one socket, with nothing else in reach of it.

Started by ``boot`` as ``python -I -S -B -c ...`` with the standard library as its import path, an empty
environment and its standard streams on /dev/null. Everything of ours is imported, then it locks itself down
(``sandbox``), and only then can the plugin be imported, by its one top-level name. Its first answer says
which level of isolation it reached. The plugin is imported here and nowhere else.
"""

from __future__ import annotations

import gc
import importlib
import os
import sys
import traceback
from collections.abc import Sequence
from importlib.machinery import (
    EXTENSION_SUFFIXES,
    ExtensionFileLoader,
    FileFinder,
    ModuleSpec,
    SourceFileLoader,
)
from pathlib import Path
from typing import Any, NoReturn

import pluggy

import umbridge
from umbridge import hookspecs
from umbridge.criteria import frontdoor  # noqa: F401 - loaded before this process locks itself down
from umbridge.criteria.examination import heeding
from umbridge.criteria.pack import Pack
from umbridge.criteria.unreadhold import held_for_unread
from umbridge.errors import ContentError
from umbridge.model import Manifest, ScreenResult
from umbridge.screening.answer_codec import manifest_out, result_out
from umbridge.screening.case_codec import Known, case_in
from umbridge.screening.frames import FRAME_LIMIT, Answer, Greeting, Reply, Request, WireError, asked, frame
from umbridge.screening.sandbox import at_least, confine
from umbridge.screening.why_codec import behind, why_out


def main(fd: int, name: str, entry: str, parent: int, pack: bool, required: str, path: Sequence[str]) -> None:
    """Lock this process down, load the plugin, answer until the daemon closes the socket.

    ``entry`` is the entry point's value, ``path`` the folders that may hold its package, ``parent`` the id of
    the process that asks: if it is gone, so are we. Below the ``required`` level of isolation the plugin is
    not imported.
    """
    plugins, why = None, "there is no such package"
    try:
        package = find(entry, path, pack)
    except Exception:  # a path that cannot be read: locked down all the same, and answered
        package = None
    os.environ.clear()  # what the import guard set and the interpreter's locale: nothing a plugin needs
    level = confine(parent, *_places(package))
    try:
        if not at_least(level, required):
            why = f"isolation is {level}, required is {required}"
        elif package is not None:
            plugins = load(name, entry, package, pack)
    except BaseException as exc:
        plugins, why = None, _why(exc)
    gc.freeze()
    gc.enable()
    known = Known()
    while (body := _receive(fd)) is not None:
        request = asked(body)
        if request["do"] == "greet":
            answer: Answer = {"greeting": _greeting(plugins, why, level)}
        else:
            answer = {"error": "plugin_unavailable"} if plugins is None else _answer(plugins, request, known)
        _send(fd, _reply(request["id"], answer))


def _why(exc: BaseException) -> str:
    """What went wrong before any patient's data came: a content error in full, else its kind and place."""
    if isinstance(exc, ContentError):
        return str(exc)
    places = [frame for frame in traceback.extract_tb(exc.__traceback__) if frame.filename != __file__]
    where = f" at {os.path.basename(places[-1].filename)}:{places[-1].lineno}" if places else ""  # noqa: PTH119
    return f"{type(exc).__name__}{where}"


def _greeting(plugins: pluggy.PluginManager | None, why: str, isolation: str) -> Greeting:
    """The manifest, or why there is none."""
    if plugins is not None:
        try:
            manifest = plugins.hook.umbridge_manifest()
            if isinstance(manifest, Manifest):
                return {"manifest": manifest_out(manifest), "why": "", "isolation": isolation}
            why = "umbridge_manifest gave no Manifest"
        except BaseException as exc:
            why = _why(exc)
    return {"manifest": None, "why": why, "isolation": isolation}


def find(entry: str, path: Sequence[str], pack: bool = False) -> ModuleSpec | None:
    """The plugin's top-level module, looked for in ``path`` alone. None where there is none to use.

    Finding it runs none of its code, and makes nothing importable. A plugin must be a module or have an
    ``__init__.py``; a pack is one folder.
    """
    top = entry.partition(":")[0].strip().partition(".")[0]
    for place in path:
        spec = _finder(place).find_spec(top)
        if spec is not None and (spec.submodule_search_locations if pack else spec.loader):
            return spec
    return None


def _places(package: ModuleSpec | None) -> tuple[list[str], list[str]]:
    """What stays readable: (folders, files). A package's own folder, never the folder it was installed in."""
    ours = [os.path.dirname(file) for file in (umbridge.__file__, pluggy.__file__) if file]  # noqa: PTH120
    if package is None:
        return ours, []
    if package.submodule_search_locations is None:
        return ours, [str(package.origin)]
    return [*ours, *package.submodule_search_locations], []


class _Source(SourceFileLoader):
    """A module from its source alone: a cached .pyc beside it could say something else."""

    def path_stats(self, path: str) -> NoReturn:  # what importlib takes for "there is no cache"
        raise OSError


def _finder(place: str) -> FileFinder:
    return FileFinder(place, (_Source, [".py"]), (ExtensionFileLoader, EXTENSION_SUFFIXES))


class _Only:
    """Finds the plugin's top-level module by its name, and nothing else."""

    def __init__(self, package: ModuleSpec) -> None:
        self._package = package

    def find_spec(self, name: str, _path: object = None, _target: object = None) -> ModuleSpec | None:
        return self._package if name == self._package.name else None


def load(name: str, entry: str, package: ModuleSpec, pack: bool = False) -> pluggy.PluginManager:
    """Import the plugin, or read the pack, and register it: both hooks must be there and no others marked."""
    plugin: object
    if pack:
        plugin = Pack(name, Path(next(iter(package.submodule_search_locations or ()))))
    else:
        plugin = _import(entry, package)
    plugins = pluggy.PluginManager(hookspecs.PROJECT)
    plugins.add_hookspecs(hookspecs)
    plugins.register(plugin, name)
    plugins.check_pending()
    for hook in ("umbridge_manifest", "umbridge_screen"):
        if not getattr(plugins.hook, hook).get_hookimpls():
            raise TypeError(hook)
    return plugins


def _import(entry: str, package: ModuleSpec) -> object:
    places = tuple(package.submodule_search_locations or ())

    def own(path: str) -> FileFinder:
        if not any(path == place or path.startswith(place + os.sep) for place in places):
            raise ImportError
        return _finder(path)

    sys.path_hooks.insert(0, own)
    for place in places:
        sys.path_importer_cache.pop(place, None)
    sys.meta_path.insert(0, _Only(package))
    module, _, attribute = entry.partition(":")
    plugin: object = importlib.import_module(module.strip())
    for part in filter(None, attribute.strip().split(".")):
        plugin = getattr(plugin, part)
    return plugin


def _answer(plugins: pluggy.PluginManager, request: Request, known: Known) -> Answer:
    look = _explained if request.get("why") else _screened
    return {"results": [look(plugins, case, known) for case in request.get("cases", ())]}


def _screened(plugins: pluggy.PluginManager, case: list[Any], known: Known) -> Reply:
    """One case's result. What a plugin raises ends this case, not those beside it."""
    return _said(plugins, case, known)[0]


def _explained(plugins: pluggy.PluginManager, case: list[Any], known: Known) -> Reply:
    """The same answer with the trees behind it, which are of this very evaluation."""
    with heeding() as cited:
        reply, result = _said(plugins, case, known)
    if result is None:
        return reply
    try:
        return {**reply, "why": why_out(behind(cited, result))}
    except Exception:
        return {"error": "plugin_reply_invalid"}


def _said(plugins: pluggy.PluginManager, sent: list[Any], known: Known) -> tuple[Reply, ScreenResult | None]:
    try:
        case = case_in(sent, known)
        if case.unread or case.in_question:
            with heeding() as cited:
                result = plugins.hook.umbridge_screen(case=case)
        else:
            result = plugins.hook.umbridge_screen(case=case)
    except BaseException:
        return {"error": "plugin_error"}, None
    if not isinstance(result, ScreenResult):
        return {"error": "plugin_reply_invalid"}, None
    try:
        if case.unread or case.in_question:
            result = held_for_unread(case, result, cited)
        return {"result": result_out(result, case.facts)}, result
    except Exception:
        return {"error": "plugin_reply_invalid"}, None


def _reply(key: str, answer: Answer) -> bytes:
    try:
        return frame({"id": key, **answer})
    except WireError as exc:
        code = "plugin_reply_too_large" if str(exc) == "too_large" else "plugin_reply_invalid"
        return frame({"id": key, "error": code})


def _receive(fd: int) -> bytes | None:
    """One frame's body; None when the daemon is gone."""
    head = _exactly(fd, 4)
    if head is None or (size := int.from_bytes(head, "big")) > FRAME_LIMIT:
        return None
    return _exactly(fd, size)


def _exactly(fd: int, size: int) -> bytes | None:
    found = bytearray()
    while len(found) < size:
        part = os.read(fd, size - len(found))  # plain read and write: the sandbox allows no socket calls
        if not part:
            return None
        found += part
    return bytes(found)


def _send(fd: int, data: bytes) -> None:
    left = memoryview(data)
    while left:
        left = left[os.write(fd, left) :]

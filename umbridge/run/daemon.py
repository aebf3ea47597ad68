"""Composition root: builds every part once, in the order of docs/operations.md, and owns the signals."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import logging
import os
import resource
import signal
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from umbridge_audit.redact import AccessTable
from umbridge_audit.store import LedgerError

from umbridge.access import breakglass, control, keys, plugins
from umbridge.access.control_client import Args, Row
from umbridge.access.registry import Registry
from umbridge.errors import StoreError
from umbridge.intake import tls
from umbridge.intake.listener import Listener
from umbridge.intake.receive import Intake
from umbridge.intake.registration import Registration
from umbridge.lanes.deadlines import Deadlines
from umbridge.lanes.pipeline import Pipeline
from umbridge.lanes.rereading import Rereading
from umbridge.lanes.worker_pool import Terms, WorkerPool
from umbridge.run.overview import status_row
from umbridge.run.reload import Reload, users_text
from umbridge.run.witnesses import Witnesses
from umbridge.screening.host import PluginInfo
from umbridge.settings import config
from umbridge.settings.config import Settings, User
from umbridge.settings.site import SiteProfile, load_site
from umbridge.stay.anew import MARK
from umbridge.stay.profile import check_site
from umbridge.store import durability
from umbridge.store.commands import WriteEntries, WriteEntry
from umbridge.store.opening import hold_writer, note_policy, note_start, note_stop, open_keys, open_writer
from umbridge.store.writer import Writer

log = logging.getLogger("umbridge.run.daemon")
SWITCH_SECONDS = 0.0005  # commits and questions come back from threads: short turns keep answers quick
GC_THRESHOLD = (5_000, 5, 1_000_000)  # a commit's messages at once, with no cycles; the old are _tidy's
TIDY_CHECK_SECONDS = 1.0
TIDY_SECONDS = 60.0
TIDY_LATEST_SECONDS = 900.0
SPARE_FILES = 192  # descriptors kept for the store, the anchor, workers and questions
LOG_KEYS = ("feed", "row", "code", "port", "rows", "plugin", "reason", "path")


class JsonLines(logging.Formatter):
    """Operational log: time, level, event, and the few keys allowed. No message, no exception text."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, str | int] = {
            "at": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "from": record.name,
            "event": record.msg if isinstance(record.msg, str) and not record.args else "logged",
        }
        if not record.name.startswith("umbridge"):
            line["event"] = "library_message"  # a stranger's text may hold anything
        if record.exc_info and record.exc_info[0] is not None:
            line["code"] = record.exc_info[0].__name__
        for key in LOG_KEYS:
            if hasattr(record, key):
                line[key] = getattr(record, key)
        return json.dumps(line, ensure_ascii=True)


def set_up_logging(level: int = logging.INFO) -> None:
    """JSON lines on stderr; unexpected exceptions end as their type's name, never as their text."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)


def room_for(connections: int) -> int:
    """How many connections the process may hold: the setting, less where descriptors are short."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < hard and soft < connections + SPARE_FILES:
        soft = hard if hard < connections + SPARE_FILES else connections + SPARE_FILES
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    room = max(1, min(connections, soft - SPARE_FILES))
    if room < connections:
        log.warning("connections_limited_by_file_limit", extra={"rows": room})
    return room


class Parts:
    """What a configuration needs before the store is touched: site, users, access table, keys."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.site: SiteProfile = load_site(settings.site)
        check_site(self.site)
        self.table = AccessTable.load()
        self.users: dict[str, User] = config.load_users(settings.users, frozenset(self.table.roles))
        self.keyring = open_keys(settings)
        self.contexts = tls.contexts(settings)

    @property
    def users_text(self) -> str:
        return users_text(self.users)


@contextlib.contextmanager
def answering(settings: Settings) -> Iterator[Callable[[str, Args], Iterator[Row]]]:
    """A way to ask where no daemon runs: by taking the writer ourselves."""
    parts = Parts(settings)
    with hold_writer(settings, parts.keyring) as writer:
        keys.settle(writer, settings.policy)
        note_policy(writer, parts.table.hash, parts.users_text)
        registry = Registry(settings, writer, parts.site, parts.users, parts.table)
        account = control.account_name(os.geteuid())
        yield lambda op, args: registry.answer(account, op, args, "os-account")


class Daemon:
    """The running whole. ``run`` returns the exit code."""

    def __init__(self, settings: Settings, file: Path | None = None) -> None:
        self.settings = settings
        self._file = file  # what SIGHUP reads again
        self.parts = Parts(settings)
        self.listeners: list[Listener] = []
        self.started_at = datetime.now(UTC)
        self._began = time.monotonic()
        self._stop = asyncio.Event()
        self._noting: set[asyncio.Future[int]] = set()
        self._failure: StoreError | None = None
        self.ready = asyncio.Event()

    async def run(self) -> int:
        """Serve until SIGTERM or SIGINT (0) or until the store fails (74)."""
        sys.setswitchinterval(SWITCH_SECONDS)
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop.set)
        loop.add_signal_handler(signal.SIGHUP, lambda: None)  # before there is anything to reload
        loop.set_exception_handler(lambda _loop, context: self._astray(context))
        durability.check_lasts(self.settings.store, self.settings.accepts_loss)
        with open_writer(self.settings, self.parts.keyring) as writer:
            writer.watch(failure=self._failed)
            writing = asyncio.create_task(writer.run(), name="writer")
            try:
                await self._serve(writer)
            finally:
                if self._failure is None:
                    await asyncio.to_thread(note_stop, writer)
                writer.close()
                await writing
        if self._failure is not None:
            raise self._failure
        return 0

    async def _serve(self, writer: Writer) -> None:
        settings, parts = self.settings, self.parts
        started = await asyncio.to_thread(note_start, writer)
        await asyncio.to_thread(keys.settle, writer, settings.policy)
        await asyncio.to_thread(note_policy, writer, parts.table.hash, parts.users_text)
        if not started.clean:
            log.warning("started_after_unclean_stop")
        if started.death is not None:
            log.warning(
                "died_with_row_in_hand", extra={"row": started.death.row, "code": started.death.cause}
            )
        terms = Terms(
            settings.site,
            parts.site.digest,
            tuple(plugins.choose(settings, await asyncio.to_thread(plugins.in_force, writer))),
            settings.plugins.require,
            settings.plugins.seconds,
            {feed: each.charset for feed, each in settings.feeds.items()},
            settings.limits.lane_cache,
        )
        pool = WorkerPool(terms, settings.limits.caseworkers, self._turned)
        await pool.start()
        self.pool = pool
        await writer.ask(WriteEntries(drafts=tuple(plugins.load_drafts(pool.plugins))))
        intake = Intake(
            writer,
            parts.keyring,
            settings.limits,
            settings.store,
            parts.site,
        )
        pipeline = Pipeline(
            writer,
            parts.keyring,
            pool,
            lanes=settings.limits.lanes,
            cache=settings.limits.lane_cache,
            pending=intake.add_pending,
        )
        self.intake, self.pipeline, self._writer = intake, pipeline, writer

        writer.watch(arrived=pipeline.arrived)
        recovered = await pipeline.recover(intake.add_pending, suspect=not started.clean)
        pipeline.start()
        if recovered:
            log.info("recovered", extra={"rows": recovered})
        limits = settings.limits.model_copy(
            update={"connections": room_for(settings.limits.connections) // len(settings.ports)}
        )
        queries = control.Control(settings.store, self._answer)
        self._registry = Registry(settings, writer, parts.site, parts.users, parts.table)
        self._witnesses = Witnesses(settings, writer)
        disk = asyncio.create_task(intake.watch_disk())
        waiting = asyncio.create_task(Deadlines(writer, pipeline).run(), name="deadlines")
        again = Registration(writer, parts.site, self._registry.charset, pipeline.refold)
        registering = asyncio.create_task(again.run(), name="registration")
        anew = Rereading(writer, parts.site, pipeline.read_anew, lambda: pipeline.backlog)
        reading_anew = asyncio.create_task(anew.run(), name="rereading")
        listing = asyncio.create_task(self._registry.worklist.prepare(), name="worklist")
        try:
            await queries.open()
            for names, context in parts.contexts.items():
                listener = Listener({name: settings.feeds[name] for name in names}, limits, intake, context)
                await listener.open()
                self.listeners.append(listener)
                for name in names:
                    log.info("listening", extra={"feed": name, "port": listener.port})
            gc.collect()
            gc.freeze()  # what start-up built stays: later collections need not walk it again
            gc.set_threshold(*GC_THRESHOLD)
            self._renewal = Reload(settings, self._file, writer, parts.users, parts.table, self.listeners)
            asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, self._reload)
            tidying = asyncio.create_task(self._tidy(), name="tidy")
            rereading = asyncio.create_task(self._reread(writer), name="reread")
            self._witnesses.start()
            self.ready.set()
            await self._stop.wait()
            tidying.cancel()
            rereading.cancel()  # its thread ends by itself, when the writer closes
        finally:
            log.info("stopping")
            if self._failure is None:
                writer.disk.in_hand.ending()
            until = time.monotonic() + settings.limits.drain_seconds
            await asyncio.gather(*(one.close(settings.limits.drain_seconds) for one in self.listeners))
            disk.cancel()
            waiting.cancel()
            listing.cancel()
            registering.cancel()
            reading_anew.cancel()
            await asyncio.to_thread(self._witnesses.close)
            await queries.close()
            with contextlib.suppress(TimeoutError):  # a row that takes longer stays PENDING
                await asyncio.wait_for(pipeline.stop(), max(1.0, until - time.monotonic()))
            await pool.stop()

    async def _reread(self, writer: Writer) -> None:
        """The ledger's leaves are hashed again while senders are answered already: a start need not wait."""

        def go_on() -> None:
            if writer.closing:
                raise StoreError("the store is closing")

        def reread() -> None:
            with writer.reading() as reader:
                writer.ledger.reread(reader.ledger, go_on)

        try:
            await asyncio.to_thread(reread)
        except LedgerError as exc:
            log.error("ledger_broken", extra={"code": type(exc).__name__})
            writer.disk.in_hand.ending()
            self._failed(StoreError(str(exc)))
        except StoreError:
            return  # the daemon is ending

    async def _tidy(self) -> None:
        """Full collections only where nobody waits: walking a large cache takes a tenth of a second."""
        last, heard = time.monotonic(), -1
        while True:
            await asyncio.sleep(TIDY_CHECK_SECONDS)
            before, heard = heard, self.intake.accepted + self.intake.repeats
            idle = heard == before and self.intake.storing == 0 and self.pipeline.backlog == 0
            waited = time.monotonic() - last
            if waited > TIDY_SECONDS if idle else waited > TIDY_LATEST_SECONDS:
                gc.collect()
                last = time.monotonic()

    def _turned(self, info: PluginInfo) -> None:
        """A plugin was suspended in one lane worker, or is so no longer: an entry each way."""
        suspended = info.health == "suspended"
        if suspended:
            log.error("plugin_suspended", extra={"plugin": info.name})
        else:
            log.info("plugin_resumed", extra={"plugin": info.name})
        draft = plugins.load_draft(
            info, "plugin.fail" if suspended else "plugin.load", "suspended" if suspended else "resumed"
        )
        self._noting.add(task := asyncio.ensure_future(self._writer.ask(WriteEntry(draft=draft))))
        task.add_done_callback(self._noting.discard)

    def _failed(self, failure: StoreError) -> None:
        self._failure = self._failure or failure
        self._stop.set()

    def _astray(self, context: dict[str, Any]) -> None:
        """What nobody waited for failed. Without memory something was left undone, and who knows what."""
        failed = type(context.get("exception"))
        log.error("task_failed", extra={"code": failed.__name__})
        if issubclass(failed, MemoryError):
            self._failed(StoreError("out of memory: nothing more is accepted; give it more and start again"))

    def _reload(self) -> None:
        """SIGHUP, and nothing to wait for: a mistake in a file is told in the log."""
        self._reloading = asyncio.create_task(self._renewal.renew(), name="reload")

    # -- questions --------------------------------------------------------------------------------------

    def _answer(self, account: str, op: str, args: Args) -> Iterator[Row]:
        if op == "ping":
            return iter(())
        if op == "status":
            return iter([self._status()])
        if op == "plugins.list":
            return iter(plugins.rows(self.pool.plugins))
        return self._registry.answer(account, op, args, "peer-credentials")

    def _status(self) -> Row:
        writer = self._writer
        with writer.reading() as reader, reader.snapshot():
            found = (
                reader.counts("state"),
                reader.counts("feed"),
                reader.refusals(),
                {feed: reader.counts(f"why/{feed}") for feed in self.settings.feeds},
                {feed: reader.counts(f"unused/{feed}") for feed in self.settings.feeds},
            )
            differ = len(reader.notes_under(MARK))
        return status_row(
            self._renewal.settings if self.ready.is_set() else self.settings,
            writer,
            found,
            running=True,
            pid=os.getpid(),
            uptime_seconds=round(time.monotonic() - self._began, 1),
            backlog=self.pipeline.backlog,
            held=self.intake.held,
            connections={feed: one.connections[feed] for one in self.listeners for feed in one.feeds},
            noise={feed: one.noise[feed] for one in self.listeners for feed in one.feeds},
            ports={feed: one.port for one in self.listeners for feed in one.feeds},
            plugins=plugins.rows(self.pool.plugins),
            witnesses=self._witnesses.rows(),
            breakglass=breakglass.waiting(writer),
            read_anew=differ,
        )


def serve(path: Path) -> int:
    """Run the daemon of one settings file until it is told to stop."""
    set_up_logging()
    settings = config.load(path)

    async def main() -> int:
        return await Daemon(settings, path).run()

    return asyncio.run(main())

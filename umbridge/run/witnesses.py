"""The daemon's errand to its witnesses: it shows them each new checkpoint and keeps what they sign beside it.

Care goes on whatever they answer: a witness that is away costs a warning, one that refuses costs an error in
the log. Which witnesses there are, and where, is in the ledger's public policy.
"""

from __future__ import annotations

import logging
import threading

from umbridge_audit.checkpoint import Checkpoint
from umbridge_audit.entry import FormatError, JsonValue
from umbridge_audit.policy import Policy
from umbridge_audit.store import Reader, open_readonly
from umbridge_audit.store.subtrees import prove_consistency
from umbridge_audit.submit import ForkError, SubmitError, submit

from umbridge.settings.config import Settings
from umbridge.store.commands import KeepCosignature
from umbridge.store.engine import DATABASE
from umbridge.store.writer import Writer

log = logging.getLogger("umbridge.run.witnesses")


class Witnesses:
    """Asks every witness that the policy gives an address for, in a thread of its own."""

    def __init__(self, settings: Settings, writer: Writer) -> None:
        self._settings = settings
        self._writer = writer
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, name="witnesses", daemon=True)
        self._cosigned: dict[str, int] = {}
        self._errors: dict[str, str] = {}
        self._policy = _policy(settings)
        self.names = [name for name, one in self._policy.witnesses.items() if one.url] if self._policy else []

    def start(self) -> None:
        if self.names:
            self._thread.start()

    def close(self) -> None:
        """Ends the thread; a request under way is given its time."""
        self._ending.set()
        if self._thread.is_alive():
            self._thread.join()

    def rows(self) -> list[dict[str, JsonValue]]:
        """What ``status`` says of each: the size it cosigned last, and what went wrong last."""
        return [
            {"witness": name, "cosigned": self._cosigned.get(name, 0), "error": self._errors.get(name)}
            for name in self.names
        ]

    def _run(self) -> None:
        while not self._ending.wait(min(1.0, self._settings.ledger.checkpoint_seconds)):
            try:
                with open_readonly(self._settings.store / DATABASE) as reader:
                    self._round(reader)
            except Exception as exc:  # an errand that dies would be silence; its text may hold anything
                log.error("witnessing_failed", extra={"code": type(exc).__name__})

    def _round(self, reader: Reader) -> None:
        newest = reader.last_checkpoint()
        assert self._policy is not None  # noqa: S101  the thread runs only where there are witnesses
        if newest is None:
            return
        try:
            checkpoint = self._policy.read_note(newest[1], exact=True)
        except FormatError:  # the log has handed over to another key since
            self._policy = _policy(self._settings) or self._policy
            checkpoint = self._policy.read_note(newest[1], exact=True)
        for name in self.names:
            if self._cosigned.get(name, 0) < checkpoint.size and not self._ending.is_set():
                self._ask(reader, name, checkpoint, newest[1])

    def _ask(self, reader: Reader, name: str, checkpoint: Checkpoint, note: str) -> None:
        assert self._policy is not None  # noqa: S101  as above
        try:
            line = submit(
                self._policy.witnesses[name],
                checkpoint,
                note,
                lambda old: prove_consistency(reader, old, checkpoint.size, checkpoint.root),
                old=self._cosigned.get(name, 0),
            )
        except SubmitError as exc:
            if self._errors.get(name) != str(exc):
                if isinstance(exc, ForkError):
                    log.error("witness_refused", extra={"code": str(exc)})
                else:
                    log.warning("witness_away", extra={"code": str(exc)})
            self._errors[name] = str(exc)
            return

        self._writer.call(KeepCosignature(size=checkpoint.size, line=line))
        self._errors.pop(name, None)
        self._cosigned[name] = checkpoint.size


def _policy(settings: Settings) -> Policy | None:
    """The public policy, where there is one that can be read: without it the daemon has no witnesses."""
    try:
        return Policy.read(settings.policy.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        log.warning("no_policy_no_witnesses")
        return None

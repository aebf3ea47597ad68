"""What a person does with messages that were set aside: work them again, or dismiss them; the ledger first.

A replay is a new row that names the old one; nothing that was decided is touched. Of a message that was
worked already it takes nothing into the stay again: the stay's open reviews are asked anew. To dismiss, and
to replay more than a handful, takes a second person wherever there is one (``approval``).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from umbridge_audit.disclose import Viewer

from umbridge import approval
from umbridge.door import Door, number_of, text_of
from umbridge.errors import UsageError
from umbridge.hl7 import ack, er7, moments, translate
from umbridge.model import RowState
from umbridge.naming import Namer
from umbridge.site import SiteProfile
from umbridge.stay.identity import Named
from umbridge.store import inbox
from umbridge.store.batch import FRAME_SUSPECT, WORKED, Batch
from umbridge.store.inbox import Stored

ALONE = 20  # rows that one person may replay at once
AT_ONCE = 1000  # rows of one command: one transaction, and no answer waits long for it
REPLAYABLE = ("QUARANTINED", "IGNORED", *WORKED)
DISMISSABLE = ("QUARANTINED",)


class Settlement:
    """``messages replay`` and ``messages dismiss``."""

    def __init__(self, door: Door, charset: Callable[[str], str], site: SiteProfile) -> None:
        self._door = door
        self._charset = charset  # of a feed
        self._site = site
        self._namer = Namer(door.pen.keyring, site)

    def replay(self, viewer: Viewer, args: dict[str, Any]) -> Iterator[dict[str, Any]]:
        """Store each row again as a child, to be worked as if it came now."""
        yield from self._settle(viewer, args, "replay", alone=ALONE)

    def dismiss(self, viewer: Viewer, args: dict[str, Any]) -> Iterator[dict[str, Any]]:
        """Lay each row to rest, with a reason: it will not be worked, and stays where it is."""
        yield from self._settle(viewer, args, "dismiss", alone=0)

    def _settle(
        self, viewer: Viewer, args: dict[str, Any], what: str, *, alone: int
    ) -> Iterator[dict[str, Any]]:
        self._door.act(viewer, f"messages {what}", args)
        reason = text_of(args, "reason").strip()
        if not reason:
            raise UsageError("--reason TEXT is needed: it goes on the ledger with what is done")
        by = ""
        if args.get("approve") is not None:
            subject = approval.grant(self._door, viewer, number_of(args, "approve"), reason)
            done, seqs = _read(subject)
            if done != what:
                raise UsageError(f"entry {number_of(args, 'approve')} asks for something else: {done}")
            by = f"entry {number_of(args, 'approve')}"
        else:
            seqs = _numbers(args)
            self._check(what, seqs)
            if len(seqs) > alone:
                asked, waits = approval.ask(self._door, viewer, _subject(what, seqs), reason)
                by = f"entry {asked}"
                if waits:
                    yield {"seq": None, "state": "waits", "replay": None, "entry": asked}
                    return
        found = self._check(what, seqs)  # what waited for a second person may have been settled meanwhile

        def work(batch: Batch) -> list[tuple[int, str, Stored | None]]:
            # before anything is written: a question that fails writes nothing
            states = [self._still(batch, what, seq).state for seq in seqs]
            if what == "replay":
                return [
                    (
                        seq,
                        state if state in WORKED else RowState.REPLAYED.value,
                        batch.replay(seq, viewer.user, reason, by, *found[seq]),
                    )
                    for seq, state in zip(seqs, states, strict=True)
                ]
            for seq in seqs:
                batch.dismiss(seq, viewer.user, reason, by)
            return [(seq, RowState.DISMISSED.value, None) for seq in seqs]

        for seq, state, child in self._door.pen.call(work):
            yield {"seq": seq, "state": state, "replay": child and child.seq, "entry": None}

    # -- which rows ---------------------------------------------------------------------------------------

    def _check(
        self, what: str, seqs: Sequence[int]
    ) -> dict[int, tuple[tuple[bytes, ...], tuple[Named[bytes], ...]]]:
        """What each row is found by, and the numbers it names.

        Raises UsageError for the first one that this cannot be done to.
        """
        found: dict[int, tuple[tuple[bytes, ...], tuple[Named[bytes], ...]]] = {}
        for seq in seqs:
            row = self._door.pen.call(lambda batch, seq=seq: self._still(batch, what, seq))  # type: ignore[misc]
            if what == "dismiss":
                continue
            why = self._not_to_replay(row)
            if why:
                raise UsageError(f"message {seq} {why}; nothing was done")
            message = er7.parse(row.frame, self._charset(row.feed))
            found[seq] = self._namer.found_by(translate.identify(message)), self._namer.named(message)
        return found

    @staticmethod
    def _still(batch: Batch, what: str, seq: int) -> inbox.Row:
        record = inbox.sealed_row(batch.cursor, seq)
        if record is None:
            raise UsageError(f"there is no message {seq}; nothing was done")
        row = inbox.open_leniently(batch.keyring, record)
        fit = REPLAYABLE if what == "replay" else DISMISSABLE
        if row.state not in fit:
            raise UsageError(f"message {seq} is {row.state}, not {' or '.join(fit)}; nothing was done")
        return row

    def _not_to_replay(self, row: inbox.Row) -> str:
        if row.reason == inbox.UNREADABLE:
            return "does not open: restore a backup"
        if FRAME_SUSPECT in row.reason.split():
            return "was cut on its way: its sender must send it again; dismiss this half"
        message = er7.parse(row.frame, self._charset(row.feed))  # it was parsed before: it has a header
        if row.lane is None and not any(named.is_person for named in self._namer.named(message)):
            return "names no visit"
        if ack.used(message).state is not RowState.PENDING:
            return "means nothing here, now as then"
        now, site = self._door.pen.clock.now, self._site
        if moments.is_ahead(message, site.zone, site.windows.future_skew_minutes, now):
            return "lies in the future still"
        return ""


def children(value: object) -> Iterator[Stored]:
    """The rows to work among what a commit returned: a replay's are in its answer."""
    if isinstance(value, list):
        for item in value:
            if isinstance(item, tuple) and len(item) == 3 and isinstance(item[2], Stored):
                yield item[2]


def _numbers(args: dict[str, Any]) -> list[int]:
    given = args.get("seqs")
    if not isinstance(given, list) or not given:
        raise UsageError("which messages? give their numbers")
    if len(given) > AT_ONCE:
        raise UsageError(f"at most {AT_ONCE} messages at once")
    return sorted({number_of({"seq": one}, "seq") for one in given})


def _subject(what: str, seqs: Sequence[int]) -> str:
    """``replay 3-7 9``: the numbers as runs, so that an entry stays readable."""
    runs: list[list[int]] = []
    for seq in seqs:
        if runs and seq == runs[-1][1] + 1:
            runs[-1][1] = seq
        else:
            runs.append([seq, seq])
    said = " ".join(f"{first}" if first == last else f"{first}-{last}" for first, last in runs)
    return f"{what} {said}"


def _read(subject: str) -> tuple[str, list[int]]:
    what, _, said = subject.partition(" ")
    if what not in ("replay", "dismiss"):
        return subject, []
    seqs: list[int] = []
    for run in said.split():
        first, _, last = run.partition("-")
        seqs += range(int(first), int(last or first) + 1)
    return what, seqs

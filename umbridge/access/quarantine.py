"""What a person does with messages that were set aside: work them again, or dismiss them; the ledger first.

A replay is a new row that names the old one; nothing that was decided is touched. Of a message that was
worked already it takes nothing into the stay again: the stay's open reviews are asked anew. To dismiss, and
to replay more than a handful, takes a second person wherever there is one (``approval``).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import ClassVar

from umbridge_audit.disclose import Viewer

from umbridge.access import approval
from umbridge.access.door import Door
from umbridge.access.questions import Act, asked, numbers, some_number
from umbridge.access.views import Seen, view, within
from umbridge.errors import UsageError
from umbridge.hl7 import ack, er7, moments, translate
from umbridge.intake.tokens import Tokens
from umbridge.model import RowState
from umbridge.settings.site import SiteProfile
from umbridge.store import inbox
from umbridge.store.batch import FRAME_SUSPECT
from umbridge.store.settlement import DISMISSABLE, REPLAYABLE, Again, Dismiss, Replay, fit

ALONE = 20  # rows that one person may replay at once
AT_ONCE = 1000  # rows of one command: one transaction, and no answer waits long for it


@view
class SettledLine:
    """One message that was replayed or dismissed, or, without a number, what waits for a second person."""

    seq: int | None = within("ops", "row")
    state: str = within("open")
    replay: int | None = within("ops", "row")
    entry: int | None = within("open", "seq")


@asked
class ReplayMessages(Act[SettledLine]):
    """``messages replay``."""

    name: ClassVar[str] = "messages.replay"
    may: ClassVar[str] = "messages replay"
    rows = (SettledLine,)

    seqs: tuple[int, ...] = numbers()
    approve: int | None = some_number()


@asked
class DismissMessages(Act[SettledLine]):
    """``messages dismiss``."""

    name: ClassVar[str] = "messages.dismiss"
    may: ClassVar[str] = "messages dismiss"
    rows = (SettledLine,)

    seqs: tuple[int, ...] = numbers()
    approve: int | None = some_number()


class Settlement:
    """``messages replay`` and ``messages dismiss``."""

    def __init__(self, door: Door, charset: Callable[[str], str], site: SiteProfile) -> None:
        self._door = door
        self._charset = charset  # of a feed
        self._site = site
        self._tokens = Tokens(door.writer.keyring, site)

    def replay(self, viewer: Viewer, act: ReplayMessages) -> Iterator[Seen[SettledLine]]:
        """Store each row again as a child, to be worked as if it came now."""
        return self._door.perform(viewer, act, lambda: self._settle(viewer, act, "replay", ALONE))

    def dismiss(self, viewer: Viewer, act: DismissMessages) -> Iterator[Seen[SettledLine]]:
        """Lay each row to rest, with a reason: it will not be worked, and stays where it is."""
        return self._door.perform(viewer, act, lambda: self._settle(viewer, act, "dismiss", 0))

    def _settle(
        self, viewer: Viewer, act: ReplayMessages | DismissMessages, what: str, alone: int
    ) -> Iterator[SettledLine]:
        reason = act.reason.strip()
        if not reason:
            raise UsageError("--reason TEXT is needed: it goes on the ledger with what is done")
        by = ""
        if act.approve is not None:
            subject = approval.grant(self._door, viewer, act.approve, reason)
            done, seqs = _read(subject)
            if done != what:
                raise UsageError(f"entry {act.approve} asks for something else: {done}")
            by = f"entry {act.approve}"
        else:
            seqs = _numbers(act.seqs)
            self._check(what, seqs)
            if len(seqs) > alone:
                asked_for, waits = approval.ask(self._door, viewer, _subject(what, seqs), reason)
                by = f"entry {asked_for}"
                if waits:
                    yield SettledLine(seq=None, state="waits", replay=None, entry=asked_for)
                    return
        rows = self._check(what, seqs)  # what waited for a second person may have been settled meanwhile
        who: dict[str, str] = {"user": viewer.user, "reason": reason, "by": by}
        settled = self._door.writer.call(
            Replay(rows=rows, **who) if what == "replay" else Dismiss(seqs=tuple(seqs), **who)
        )
        for one in settled:
            yield SettledLine(seq=one.seq, state=one.state, replay=one.child, entry=None)

    # -- which rows ---------------------------------------------------------------------------------------

    def _check(self, what: str, seqs: Sequence[int]) -> tuple[Again, ...]:
        """What each row is found by, and the numbers it names.

        Raises UsageError for the first one that this cannot be done to.
        """
        found = []
        for seq in seqs:
            with self._door.writer.reading() as reader:
                row = reader.row(seq, leniently=True)
            fit(row, seq, REPLAYABLE if what == "replay" else DISMISSABLE)
            if what == "dismiss" or row is None:
                continue
            why = self._not_to_replay(row)
            if why:
                raise UsageError(f"message {seq} {why}; nothing was done")
            message = er7.parse(row.frame, self._charset(row.feed))
            found_by = tuple(self._tokens.found_by(message, translate.identify(message)))
            found.append(
                Again(seq=seq, found_by=found_by, named=tuple(self._tokens.named(message, row.received)))
            )
        return tuple(found)

    def _not_to_replay(self, row: inbox.Row) -> str:
        if row.reason == inbox.UNREADABLE:
            return "does not open: restore a backup"
        if FRAME_SUSPECT in row.reason.split():
            return "was cut on its way: its sender must send it again; dismiss this half"
        message = er7.parse(row.frame, self._charset(row.feed))  # it was parsed before: it has a header
        if row.lane is None and not any(
            named.is_person for named in self._tokens.named(message, row.received)
        ):
            return "names no visit"
        if ack.used(message).state is not RowState.PENDING:
            return "means nothing here, now as then"
        now, site = self._door.writer.clock.now, self._site
        zone = site.at(translate.facility_of(message)).zone
        if moments.is_ahead(message, zone, site.windows.future_skew_minutes, now):
            return "lies in the future still"
        return ""


def _numbers(given: tuple[int, ...]) -> list[int]:
    if not given:
        raise UsageError("which messages? give their numbers")
    if len(given) > AT_ONCE:
        raise UsageError(f"at most {AT_ONCE} messages at once")
    return sorted(set(given))


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

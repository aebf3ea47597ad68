"""The policy: what a verifier is given beforehand. Whose log, which first entry, whose witness it takes.

SPEC.md section 9; a subset of https://c2sp.org/tlog-policy.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from umbridge_audit.checkpoint import COSIGNATURE, Checkpoint, VerifierKey
from umbridge_audit.entry import FormatError
from umbridge_audit.handover import Handover, check_chain, read_handover, read_signed

MAX_POLICY = 1 << 20
_MOST = 256  # witnesses and groups
_WORD = re.compile(r"[^\s\x00-\x1f\x7f]{1,200}\Z")


@dataclass(frozen=True, slots=True)
class Witness:
    """Somebody who cosigns: the key, and where to submit to, if the policy says so."""

    key: VerifierKey
    url: str | None = None


@dataclass(frozen=True, slots=True)
class Policy:
    """What a verifier pins: the log's key, its first entry, and whose witness it expects."""

    log: VerifierKey
    genesis: bytes
    quorum: str = "none"
    witnesses: Mapping[str, Witness] = field(default_factory=dict)
    groups: Mapping[str, tuple[int, tuple[str, ...]]] = field(default_factory=dict)
    handovers: Sequence[Handover] = ()  # of the log's key, oldest first; ``log`` is the one in force

    @property
    def origin(self) -> str:
        return self.log.name

    @property
    def chain(self) -> str:
        """``<org>/<chain>`` out of the origin."""
        return self.log.name.removeprefix("umbridge.").rpartition("/")[0]

    @property
    def gen(self) -> int:
        return int(self.log.name.rpartition("/")[2])

    def read_note(self, note: str, *, exact: bool) -> Checkpoint:
        """A note, by the key that answers for a checkpoint of its size. Raises FormatError."""
        return read_signed(note, self.handovers, self.log, exact=exact)

    def continues(self, older: Policy) -> bool:
        """Whether this policy is of the ledger that ``older`` pins, its key handed on by the key in there."""
        known = len(older.handovers)
        return (
            (self.origin, self.genesis) == (older.origin, older.genesis)
            and list(self.handovers[:known]) == list(older.handovers)
            and older.log == (self.handovers[known].before if len(self.handovers) > known else self.log)
        )

    def met(self, cosigned: Collection[str]) -> bool:
        """Whether these witnesses together are the quorum."""

        def has(name: str) -> bool:
            if name in self.groups:
                need, members = self.groups[name]
                return sum(map(has, members)) >= need
            return name in cosigned

        return self.quorum == "none" or has(self.quorum)

    def text(self) -> str:
        lines = [
            "# umbridge ledger policy: what a verifier needs, and nothing secret",
            f"log {self.log}",
            *(f"handover {one.at} {one.before} {one.signed}" for one in self.handovers),
            f"genesis {self.genesis.hex()}",
        ]
        for name, one in self.witnesses.items():
            lines.append(f"witness {name} {one.key}" + (f" {one.url}" if one.url else ""))
        for name, (need, members) in self.groups.items():
            lines.append(f"group {name} {need} {' '.join(members)}")
        return "\n".join([*lines, f"quorum {self.quorum}", ""])

    @classmethod
    def read(cls, text: str) -> Policy:
        """Parses a policy file. Raises FormatError naming the line."""
        log: VerifierKey | None = None
        genesis: bytes | None = None
        quorum: str | None = None
        witnesses: dict[str, Witness] = {}
        groups: dict[str, tuple[int, tuple[str, ...]]] = {}
        passed: list[tuple[int, str, str]] = []  # handovers: entry, the key before, signatures
        free: set[str] = set()  # names that no group has as a member yet
        if len(text) > MAX_POLICY:
            raise FormatError("policy too long")
        for at, line in enumerate(text.splitlines(), 1):
            words = line.split()
            if not words or words[0].startswith("#"):
                continue
            known = {"none", *witnesses, *groups}
            try:
                match words:
                    case ["log", key, *url] if log is None:
                        _url(url)
                        log = VerifierKey.read(key)
                    case ["handover", n, key, signed] if (
                        re.fullmatch("[1-9][0-9]{0,15}", n) and len(passed) < _MOST
                    ):
                        passed.append((int(n), key, signed))
                    case ["genesis", value] if genesis is None and re.fullmatch("[0-9a-f]{64}", value):
                        genesis = bytes.fromhex(value)
                    case ["witness", name, key, *url] if _new(name, known):
                        made = VerifierKey.read(key, COSIGNATURE)
                        if any(made.public == one.key.public for one in witnesses.values()):
                            raise FormatError("witness")
                        witnesses[name] = Witness(made, _url(url))
                        free.add(name)
                    case ["group", name, need, *members] if _new(name, known):
                        count = _need(need, members)
                        if count is None or len(set(members)) != len(members) or not set(members) <= free:
                            raise FormatError("group")
                        groups[name] = (count, tuple(members))
                        free = free - set(members) | {name}
                    case ["quorum", name] if quorum is None and name in known:
                        quorum = name
                    case _:
                        raise FormatError("not understood")
            except FormatError:
                raise FormatError(f"policy line {at}") from None
        if log is None or genesis is None or quorum is None:
            raise FormatError("policy needs one log, one genesis and one quorum line")
        if not re.fullmatch(r"umbridge\.[a-z0-9_-]{1,40}/[a-z0-9_-]{1,40}/[1-9][0-9]{0,8}", log.name):
            raise FormatError("policy: not an umbridge log")
        keys = [key for _, key, _ in passed] + [str(log)]
        try:
            handovers = [
                read_handover(n, key, keys[i + 1], signed) for i, (n, key, signed) in enumerate(passed)
            ]
            check_chain(handovers, log)
        except FormatError:
            raise FormatError("policy: a handover that the key before it did not sign") from None
        return cls(log, genesis, quorum, witnesses, groups, tuple(handovers))


def _new(name: str, known: Collection[str]) -> bool:
    return name not in known and len(known) <= _MOST and _WORD.match(name) is not None


def _url(words: Sequence[str]) -> str | None:
    """The URL, None for none. Raises FormatError for what is no http or https address."""
    if not words:
        return None
    try:
        parts = urlsplit(words[0])
        good = len(words) == 1 and parts.scheme in ("http", "https") and bool(parts.hostname)
    except ValueError:
        good = False
    if not good or not _WORD.match(words[0]):
        raise FormatError("url")
    return words[0]


def _need(text: str, members: Sequence[str]) -> int | None:
    if text in ("any", "all"):
        return (1 if text == "any" else len(members)) if members else None
    if re.fullmatch("[1-9][0-9]{0,3}", text) and int(text) <= len(members):
        return int(text)
    return None

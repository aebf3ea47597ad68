"""Every error raised on purpose, with the exit code or the acknowledgement it earns.

No message here ever carries a field's content: offsets, addresses, key names and codes only.
"""

from __future__ import annotations


class UmbridgeError(Exception):
    """A failure a person can act on: one line saying what is wrong, where, and what to do."""

    exit_code = 1


class UsageError(UmbridgeError):
    """The question itself is wrong: a number, name, path or time that cannot be asked for."""

    exit_code = 2


class ConfigError(UmbridgeError):
    """A setting, the site profile or a key is wrong or missing; nothing was written."""

    exit_code = 78


class NotPermittedError(UmbridgeError):
    """The account has no role, or no role of it allows this for this purpose."""

    exit_code = 77


class StoreError(UmbridgeError):
    """The store failed or does not hold what it promised; the daemon stops answering."""

    exit_code = 74


class UnavailableError(UmbridgeError):
    """Another process, port or plugin that is needed cannot be reached."""

    exit_code = 69


class ContentError(UmbridgeError):
    """Criteria content is broken: file, line or key, and what was expected."""

    exit_code = 78


class Hl7Error(Exception):
    """Bytes on the wire that cannot be taken as they are."""


class NotHl7Error(Hl7Error):
    """No readable MSH-1 and MSH-2: nothing can be answered, the connection is closed.

    ``reason`` is a code for the operator's list, never content.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class RefusedError(Hl7Error):
    """A frame with a readable header that is not accepted: kept, listed as REFUSED and answered.

    ``ack`` is the original-mode code, AE or AR (the enhanced CE or CR follows from it);
    ``condition`` a code of HL7 table 0357; ``location`` an address such as ``MSH-10``;
    ``reason`` a code for the operator's list.
    """

    def __init__(self, ack: str, condition: int, location: str, reason: str) -> None:
        super().__init__(f"{ack} {condition} {location} {reason}")
        self.ack = ack
        self.condition = condition
        self.location = location
        self.reason = reason

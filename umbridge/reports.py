"""Reports for those who must account for access: who looked, what was disclosed, how far a breach reaches.

The first row of each says when it was made and how much of the ledger no anchor holds yet.
45 CFR 164.308(a)(1)(ii)(D), 164.528, 164.402(2).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime
from typing import Any, Literal

from umbridge_audit import disclose as gate
from umbridge_audit.disclose import Need, Viewer
from umbridge_audit.entry import Draft
from umbridge_audit.redact import Permission
from umbridge_audit.store import open_readonly

from umbridge.config import Settings
from umbridge.control import go_on
from umbridge.door import Door, text_of
from umbridge.errors import UsageError
from umbridge.store import inbox
from umbridge.store.batch import Batch
from umbridge.store.engine import DATABASE

LOOKS = (
    "access.read",
    "access.search",
    "access.export",
    "access.denied",
    "breakglass.open",
    "breakglass.review",
)
YEARS = 6  # 164.528(a)(1): disclosures in the six years before the request
COMPLIANCE = "2003-04-14"  # 164.534: the compliance date of most covered entities
PAGE, PAGE_BYTES = 100, 1_000_000
# 164.528(a)(1)(i) to (ix): what an accounting leaves out, and why. Any other basis is accounted for.
EXCLUDED = {
    "treatment": "(i) treatment, payment and health care operations",
    "payment": "(i) treatment, payment and health care operations",
    "operations": "(i) treatment, payment and health care operations",
    "individual": "(ii) to the individual",
    "incident": "(iii) incident to a permitted use or disclosure",
    "authorization": "(iv) under an authorization",
    "directory": "(v) facility directory, persons involved in care, notification",
    "national-security": "(vi) national security or intelligence",
    "custody": "(vii) correctional institution or law enforcement custody",
    "limited-data-set": "(viii) part of a limited data set",
}
ACCOUNTED = (
    *("required-by-law", "public-health", "abuse", "oversight", "judicial", "law-enforcement", "decedent"),
    *("donation", "research", "threat", "specialized-government", "workers-compensation", "not-permitted"),
)
_EXPORT_BASIS = {"PATRQT": "individual", "HPAYMT": "payment", "TREAT": "treatment"}
_NUMBERED = re.compile(r"(messages|ledger) (?:show|proof) (\d{1,16})")


class Reports:
    """``report`` and ``disclosures record``. Every report is itself a look."""

    def __init__(self, settings: Settings, door: Door) -> None:
        self._settings = settings
        self._door = door
        self._pen = door.pen

    # -- access ----------------------------------------------------------------------------------------

    def access(self, viewer: Viewer, args: dict[str, Any]) -> Iterator[dict[str, Any]]:
        """Every look, refusal and broken glass in a span of time, of one user or at one patient."""
        since, until = _span(args)
        who, patient = text_of(args, "user"), text_of(args, "patient")
        needs = (Need("ident", "patient", "the patient whose record was looked at"),) if patient else ()
        allowed = self._look(viewer, args, "report access", patient or None, needs=needs)
        yield self._head("access", since, until)
        for row in self._entries(LOOKS, allowed, since, until):
            if who and who not in (row.get("actor"), row.get("account")):
                continue
            if not patient or row.get("patient") == patient:
                yield row

    # -- disclosures -----------------------------------------------------------------------------------

    def record(self, viewer: Viewer, args: dict[str, Any]) -> Iterator[dict[str, Any]]:
        """A disclosure made outside umbridge, with the four parts of 164.528(b)(2)."""
        self._door.act(viewer, "record a disclosure", args)
        basis, on, last = text_of(args, "basis"), _day(args, "on"), _day(args, "last_on")
        if basis not in EXCLUDED and basis not in ACCOUNTED:
            raise UsageError(f"--basis: expected one of {' '.join((*EXCLUDED, *ACCOUNTED))}")
        parts = {name: text_of(args, name) for name in ("patient", "recipient", "what", "statement")}
        missing = [f"--{name}" for name, value in parts.items() if not value.strip()]
        if missing:
            raise UsageError(f"45 CFR 164.528(b)(2) asks for {' '.join(missing)} too")
        on = on or datetime.now(UTC).date().isoformat()
        excluded = exclusion(basis, on)
        times = args.get("times")
        values = parts | {
            "actor": viewer.user,
            "state": "excluded" if excluded else "accountable",
            "account": viewer.account,
            "roles": list(viewer.roles),
            "auth": viewer.auth,
            "reason": text_of(args, "reason") or None,
            "address": text_of(args, "address") or None,
            "basis": basis,
            "exclusion": excluded,
            "on": on,
            "last_on": last,
            "times": times if isinstance(times, int) and times > 1 else None,
        }

        def work(batch: Batch) -> int:
            return batch.entry(Draft("disclosure", dict(values)))

        seq = self._pen.call(work)
        yield {"entry": seq, "state": values["state"], "exclusion": excluded}

    def disclosures(self, viewer: Viewer, args: dict[str, Any]) -> Iterator[dict[str, Any]]:
        """The accounting for one patient; with ``all``, what is left out of it too, and why."""
        patient = text_of(args, "patient")
        if not patient:
            raise UsageError("--patient: an accounting is one patient's")
        asked = date.fromisoformat(_day(args, "asked_on") or datetime.now(UTC).date().isoformat())
        since = asked.replace(year=asked.year - YEARS, day=min(asked.day, 28)).isoformat()
        needs = (Need("ident", "recipient", "to whom something was disclosed"),)
        allowed = self._look(viewer, args, "report disclosures", patient, "read", needs=needs)
        yield self._head("disclosures", since, asked.isoformat()) | {"patient": patient}
        found: dict[tuple[Any, ...], dict[str, Any]] = {}
        for row in self._entries(("disclosure",), allowed, "", ""):
            if row.get("patient") != patient or not since <= str(row["on"]) <= asked.isoformat():
                continue
            excluded = exclusion(str(row["basis"]), str(row["on"]))
            if excluded and not args.get("all"):
                continue
            line = _accounting(row, excluded)
            # (b)(3): several to one recipient for one purpose, as the first, how often, and the last
            same = (line["recipient"], line["address"], line["what"], line["statement"], line["basis"])
            first = found.setdefault(same, line)
            if first is not line:
                first["times"] += line["times"]
                first["date"], days = min(first["date"], line["date"]), (first, line)
                first["last_date"] = max(day["last_date"] or day["date"] for day in days)
                first["entries"] += line["entries"]
        yield from sorted(found.values(), key=lambda line: str(line["date"]))
        if args.get("all"):
            yield from self._exports(allowed, since, asked.isoformat())

    def _exports(self, allowed: Permission, since: str, until: str) -> Iterator[dict[str, Any]]:
        """Bundles taken out hold every stay, so each is one of this patient's too, and each is left out."""
        for row in self._entries(("access.export",), allowed, since, until):
            if row.get("outcome") != "exported":
                continue
            profile = str(row.get("query") or "")
            basis = _EXPORT_BASIS.get(str(row.get("purpose")), "operations")
            basis = "limited-data-set" if profile == "limited-data-set" else basis
            why = EXCLUDED[basis]
            if profile in ("safe-harbor", "integrity-only"):
                why = "not protected health information: 164.502(d)(2)"
            yield {
                "date": str(row["ts"])[:10],
                "recipient": "whoever was given the file",
                "address": None,
                "what": f"ledger export, profile {profile}",
                "statement": f"purpose {row.get('purpose')}, by {row.get('actor')}",
                "basis": basis,
                "exclusion": why,
                "times": 1,
                "last_date": None,
                "entries": [row["seq"]],
            }

    # -- breach ----------------------------------------------------------------------------------------

    def breach(self, viewer: Viewer, args: dict[str, Any]) -> Iterator[dict[str, Any]]:
        """Whose records one user or account was shown in a span of time: factors 1 to 3 of 164.402(2)."""
        who = text_of(args, "user")
        if not who:
            raise UsageError("--user: the user or account whose looks are in question")
        since, until = _span(args)
        needs = (Need("ident", "visit", "whose records were shown"),)
        allowed = self._look(viewer, args, "report breach-scope", None, needs=needs)
        yield self._head("breach-scope", since, until) | {"user": who}
        patients: dict[str, dict[str, Any]] = {}
        everybody: list[dict[str, Any]] = []
        for row in self._entries(LOOKS[:3], allowed, since, until):
            if who not in (row.get("actor"), row.get("account")) or row.get("outcome") == "denied":
                continue
            revealed = str(row.get("revealed") or "")
            if row["kind"] != "access.read":
                if re.search(r"ident:(\*|\S*visit)", revealed):
                    everybody.append(row)
                continue
            visit = row.get("patient") or self._of(str(row.get("query") or ""))
            if visit:
                _note(patients, str(visit), row, "one by one")
        for row in everybody:
            for visit in self._known_at(str(row["ts"])):
                _note(patients, visit, row, "in a list or file of all")
        yield from (patients[visit] for visit in sorted(patients))

    def _of(self, query: str) -> str | None:
        """The visit of a message or entry that was looked at by its number."""
        found = _NUMBERED.match(query)
        if found is None:
            return None
        number = int(found[2])
        if found[1] == "messages":
            return self._door.whose_message(
                self._pen.call(lambda batch: inbox.sealed_row(batch.cursor, number))
            )
        return None if number >= self._pen.ledger.size else self._door.whose_entry(number)

    def _known_at(self, ts: str) -> Iterator[str]:
        """Every visit that a message had named by then."""
        after, seen = 0, set[str]()
        while found := self._pen.call(
            lambda batch, after=after: inbox.sealed_page(batch.cursor, after, PAGE, PAGE_BYTES)  # type: ignore[misc]
        ):
            after = found[-1][0]
            for record in found:
                go_on()
                row = inbox.open_leniently(self._pen.keyring, record)
                visit = row.head.get("visit")
                if row.received_at <= ts and visit and visit not in seen:
                    seen.add(visit)
                    yield str(visit)

    # -- shared ----------------------------------------------------------------------------------------

    def _look(
        self,
        viewer: Viewer,
        args: dict[str, Any],
        query: str,
        patient: str | None,
        kind: Literal["read", "search"] = "search",
        *,
        needs: Sequence[Need],
    ) -> Permission:
        asked = args | {"purpose": text_of(args, "purpose") or "HCOMPL"}
        return self._door.look(viewer, asked, kind, query, patient=patient, needs=needs)

    def _head(self, name: str, since: str, until: str) -> dict[str, Any]:
        return {
            "report": name,
            "made_at": datetime.now(UTC).isoformat(timespec="seconds"),
            "since": since or None,
            "until": until or None,
            "entries": self._pen.ledger.size,
            "unanchored": self._pen.ledger.unanchored,
            "unanchored_window_seconds": self._settings.ledger.checkpoint_seconds,
        }

    def _entries(
        self, kinds: tuple[str, ...], allowed: Permission, since: str, until: str
    ) -> Iterator[dict[str, Any]]:
        """Entries of these kinds as this permission sees them, slots beside seq, kind and time."""
        with open_readonly(self._settings.store / DATABASE, self._pen.keyring) as reader:
            for said in reader.open_slots(kinds=kinds):
                go_on()
                ts = str(said["ts"])
                if (since and ts < since) or (until and ts[: len(until)] > until):
                    continue
                row = gate.view(reader, allowed, int(str(said["seq"])))
                slots: Any = row.pop("slots")
                yield {"seq": row["seq"], "kind": row["kind"], "ts": row["ts"]} | slots


def exclusion(basis: str, on: str) -> str | None:
    """Why 164.528(a)(1) leaves a disclosure out of an accounting; None when it must be accounted for."""
    if basis in EXCLUDED:
        return EXCLUDED[basis]
    return "(ix) before the compliance date" if on < COMPLIANCE else None


def _accounting(row: dict[str, Any], excluded: str | None) -> dict[str, Any]:
    return {
        "date": row["on"],
        "recipient": row["recipient"],
        "address": row["address"],
        "what": row["what"],
        "statement": row["statement"],
        "basis": row["basis"],
        "exclusion": excluded,
        "times": row["times"] or 1,
        "last_date": row["last_on"],
        "entries": [row["seq"]],
    }


def _note(patients: dict[str, dict[str, Any]], visit: str, row: dict[str, Any], how: str) -> None:
    first = {
        "patient": visit,
        "first": row["ts"],
        "last": row["ts"],
        "looks": 0,
        "how": [],
        "shown": [],
        "by": [],
    }
    line = patients.setdefault(visit, first)
    line["last"], line["looks"] = max(line["last"], row["ts"]), line["looks"] + 1
    for key, value in (("how", how), ("shown", row.get("revealed")), ("by", row.get("account"))):
        if value and value not in line[key]:
            line[key].append(value)


def _span(args: dict[str, Any]) -> tuple[str, str]:
    return _day(args, "since") or "", _day(args, "until") or ""


def _day(args: dict[str, Any], name: str) -> str | None:
    """A date as the entries write it. Raises UsageError."""
    said = text_of(args, name)
    if not said:
        return None
    try:
        return date.fromisoformat(said).isoformat()
    except ValueError:
        raise UsageError(f"--{name.replace('_', '-')}: expected a date such as 2026-03-02") from None

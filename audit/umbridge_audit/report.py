"""What a check found: the verdict, the level reached, the faults by code and entry.

SPEC.md section 13 has the codes. A verdict without its level means nothing, so both are always here.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from umbridge_audit.entry import JsonValue
from umbridge_audit.policy import Policy

EXIT = {"PASS": 0, "PASS-SINCE": 0, "FAIL": 1, "PASS-UNWITNESSED": 3, "INCOMPLETE": 4}
_UNFINISHED = {"key_missing", "key_refused", "verifier_error"}
_MOST_PROBLEMS = 1000
OTHERS = "others"  # kinds beyond the first so many names


@dataclass(frozen=True, slots=True)
class Problem:
    """One fault: a code of SPEC.md's vocabulary and the entry it was found at, if one can be named."""

    code: str
    seq: int | None = None


@dataclass(slots=True)
class Report:
    """What was checked, how far, and what was found."""

    level: str
    verdict: str = "INCOMPLETE"
    entries: int = 0
    head: str | None = None  # hex root over all entries
    checkpoint: int | None = None  # size of the newest good checkpoint
    unanchored: int = 0
    witnessed: int | None = None  # size of the newest good checkpoint that the policy's quorum cosigned
    expected: int | None = (
        None  # how far it must reach: the checkpoint before the newest, which may be in flight
    )
    witnesses: bool = False  # whether the policy wants any
    since: int | None = None  # size of the kept checkpoint that was gone on from
    partly: bool = False  # whether what is before it was left unread
    seconds: float = 0.0
    problems: list[Problem] = field(default_factory=list)
    #: Schemas that this version does not know: how many entries, and the first of them.
    not_judged: dict[str, tuple[int, int]] = field(default_factory=dict)

    @property
    def first_bad_seq(self) -> int | None:
        return min((p.seq for p in self.problems if p.seq is not None), default=None)

    @property
    def exit_code(self) -> int:
        return EXIT[self.verdict]

    def add(self, code: str, seq: int | None = None) -> None:
        if len(self.problems) < _MOST_PROBLEMS:
            self.problems.append(Problem(code, seq))

    def leave(self, schema: str, seq: int) -> None:
        """An entry whose slots this version cannot judge: no fault, and no PASS either."""
        if schema not in self.not_judged and len(self.not_judged) >= _MOST_PROBLEMS:
            schema = OTHERS
        count, first = self.not_judged.get(schema, (0, seq))
        self.not_judged[schema] = count + 1, first

    def unjudged_lines(self) -> list[str]:
        """What was not judged, for people."""
        return [
            f"schema_unknown {schema}: {count} entries not judged, the first at entry {first}; "
            "a newer verifier may know the kind"
            for schema, (count, first) in sorted(self.not_judged.items())
        ]

    def add_root(self, code: str, good: int) -> None:
        """A root that differs: the fault is where a row was found bad, else somewhere from ``good`` on."""
        known = any(p.seq is not None and p.seq >= good for p in self.problems)
        self.add(code, None if known else good)

    def settle(self, policy: Policy) -> None:
        """Draws the verdict from the problems found."""
        if any(p.code not in _UNFINISHED for p in self.problems):
            self.verdict = "FAIL"
        elif self.problems or self.not_judged:
            self.verdict = "INCOMPLETE"
        else:
            reached = self.witnessed is not None and self.witnessed >= (self.expected or 0)
            if policy.quorum != "none" and not reached:
                self.verdict = "PASS-UNWITNESSED"
            else:
                self.verdict = "PASS-SINCE" if self.partly else "PASS"
        self.witnesses = policy.quorum != "none"

    def to_json(self) -> dict[str, JsonValue | float]:
        said: dict[str, JsonValue | float] = {
            "verdict": self.verdict,
            "level": self.level,
            "entries": self.entries,
            "first_bad_seq": self.first_bad_seq,
            "head": self.head,
            "checkpoint": self.checkpoint,
            "unanchored": self.unanchored,
            "seconds": round(self.seconds, 3),
        }
        if self.not_judged:
            said["not_judged"] = {schema: count for schema, (count, _) in sorted(self.not_judged.items())}
        if self.witnesses:
            said["witnessed"] = self.witnessed
        if self.since is not None:
            said["since"] = self.since
        if self.partly:
            said["not_read"] = None if self.since is None else [0, self.since - 1]
        return said

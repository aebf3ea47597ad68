"""A subset's rules, ready to be put to patients; what one state came to serves the next who is in it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from umbridge.criteria.compiled import CompiledRules
from umbridge.criteria.decision_diagram import decide
from umbridge.criteria.examination import Examination, forget
from umbridge.criteria.tree import Criterion, FactSpec, Node, Score
from umbridge.criteria.truths import State, Truths
from umbridge.model import Reading

MOST_STATES = 1000  # of one rule set; a state and what was found for it are about 4 kB


class RuleSet(CompiledRules):
    """The rules, criteria and scores of one subset. ``rules`` are found by "section.name"."""

    def __init__(
        self,
        facts: Mapping[str, FactSpec],
        scores: Mapping[str, Score],
        criteria: Mapping[str, Criterion],
        rules: Mapping[str, Node],
    ) -> None:
        super().__init__(facts, scores, criteria, rules)
        self._states: dict[State, Truths] = {}

    def forget(self) -> None:
        """Drop what earlier examinations came to. Nobody can tell but by the clock."""
        self._states.clear()
        self.decided.clear()
        forget()

    def examine(
        self, facts: Mapping[str, Reading], as_of: datetime | None = None, keys: tuple[str, ...] = ()
    ) -> Examination:
        """Put the rules to one patient's facts. Facts the rules do not read are ignored.

        Times are read as hours back from ``as_of``; without it they are unknown. With ``keys``, only those
        rules may be asked afterwards: what they do not read is not looked at.
        """
        return Examination(self, self.of_state, facts, as_of, self.tests_by_fact(keys))

    def of_state(self, state: State) -> Truths:
        """What these rules come to in a state: the same for every patient who is in it."""
        found = self._states.get(state)
        if found is None:
            if len(self._states) >= MOST_STATES:  # start again rather than grow
                self._states.clear()
            found = self._states[state] = Truths(self, state, decide)
        return found

"""The results of one stay, by fact: each message's increment goes to the lists that it is about."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypedDict

from umbridge.stay.results.likeness import Told, base_of
from umbridge.stay.results.result_list import ResultList
from umbridge.stay.results.statements import Result, again, first_told, stated, withdrawal
from umbridge.stay.results.synonyms import Synonyms


class Increment(TypedDict, total=False):
    """The facts and orders of one message, each a list of slots as its own module writes and reads them."""

    changes: list[Any]
    course: list[Any]
    orders: list[Any]
    plain: list[Any]
    procedures: list[Any]
    words: list[Any]
    facts: list[Any]
    withdrawn: list[Any]
    codes: list[Any]
    coded: list[Any]
    beside: list[Any]  # of a message of another stay: the same of it


class Findings:
    """``by_fact`` has the results, ``told`` what the stay's messages say of reports."""

    __slots__ = ("_synonyms", "_whose", "by_fact", "told")

    def __init__(self, whose: Callable[[str], str]) -> None:
        self._whose = whose
        self.by_fact: dict[str, ResultList] = {}
        self.told = Told(whose)
        self._synonyms = Synonyms(self.told)

    def take(self, rows: Increment) -> None:
        """What one message says of results."""
        for row in rows.get("facts", ()):
            self.told.take(row[0], row[3], row[4], row[6], row[7], first_told(row))
            for fact, result in stated(row):
                self._add(fact, result)
        for row in rows.get("withdrawn", ()):
            told = withdrawal(row)
            self.told.take(told.patient, told.report, told.service, told.placer, told.other)
            if not again(self.told.withdrawn.setdefault(base_of(told.report), []), told):
                for listed in self.by_fact.values():
                    listed.withdraw(told)
        for row in rows.get("codes", ()):
            self._synonyms.learn(row)
        for row in rows.get("coded", ()):
            for fact, result in stated(row):
                self._synonyms.wait(fact, result)

    def settle(self, rows: Increment) -> None:
        """Once its numbers are known: which facts the codes that nobody mapped are of."""
        if self._synonyms:
            its = [(row[3], row[0]) for row in (*rows.get("facts", ()), *rows.get("coded", ()))]
            self._find(its)

    def find_again(self) -> None:
        """Whose numbers are whose has changed."""
        self._find(None)

    def _find(self, reports: list[tuple[str, str]] | None) -> None:
        for fact, result in self._synonyms.found(reports, self._has):
            self._add(fact, result)

    def _add(self, fact: str, result: Result) -> None:
        listed = self.by_fact.get(fact)
        if listed is None:
            listed = self.by_fact[fact] = ResultList(self._whose, self.told)
            listed.lost = self._synonyms.lost.setdefault(fact, [])
        listed.add(result)

    def _has(self, fact: str, report: str, code: str, patient: str) -> bool:
        listed = self.by_fact.get(fact)
        return listed is not None and listed.has(report, code, patient)

"""Which names of results can be of one result: by the names, and by what messages of the stay told together.

A name is report, service, code and sub-id. What one sender leaves out is no difference; what both sent is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import combinations, product

from umbridge.stay.orders.entities import alike
from umbridge.stay.results.statements import EVER, PLACER, Result

Named = tuple[str, str, str, str]  # which result: report, service, code, sub-id


def base_of(report: str) -> str:
    """A report's number without its namespace."""
    return report.partition("^")[0]


def are_codes_one(one: str, other: str) -> bool:
    """Whether two codes of one fact can be of one observation: LOINC's, and one of the site's own."""
    return one == other or ("^" in one) != ("^" in other)


class _Pairs:
    """What was told together, and in messages about whom."""

    __slots__ = ("_beside", "_known")

    def __init__(self) -> None:
        self._known: set[tuple[str, str, str]] = set()
        self._beside: dict[str, list[tuple[str, str, str]]] = {}  # by either without its namespace

    def add(self, one: str, other: str, patient: str) -> bool:
        """True where nobody had told of the two together."""
        pair = (one, other, patient)
        if pair in self._known:
            return False
        self._known.add(pair)
        for base in dict.fromkeys((base_of(one), base_of(other))):
            self._beside.setdefault(base, []).append(pair)
        return True

    def beside(self, name: str, is_theirs: Callable[[str], bool]) -> list[str]:
        """All that was told with what may be this."""
        found: dict[str, None] = {}
        for one, other, patient in self._beside.get(base_of(name), ()):
            if is_theirs(patient):
                for mine, its in ((one, other), (other, one)):
                    if alike(mine, name):
                        found[its] = None
        return list(found)


class Told:
    """The numbers and services of one stay's reports: which were told together, and which reports there are.

    A number is one patient's: what a message says of another patient's numbers ties none of this one's.
    ``log`` has the numbers of which something has come to be known since, and ``vocabulary`` counts what was
    said of services, for whoever has looked already.
    """

    __slots__ = (
        *("_lost", "_numbers", "_ordered", "_person", "_reports", "_services", "_strange"),
        *("log", "vocabulary", "withdrawn"),
    )

    def __init__(self, person: Callable[[str], str] = str) -> None:
        self._person = person  # whose a patient key is now
        self._numbers = _Pairs()
        self._services = _Pairs()
        #: By number without its namespace: the numbers, whose each is, and when a result was first told.
        self._reports: dict[str, dict[tuple[str, str], int]] = {}
        self._ordered: dict[str, dict[tuple[str, str], None]] = {}  # the same of orders
        self.withdrawn: dict[str, list[Result]] = {}  # whole reports, by number without its namespace
        self._lost: list[Result] | None = None
        self._strange: list[Result] | None = None
        self.log: list[tuple[str, str]] = []
        self.vocabulary = 0

    def take(
        self, patient: str, report: str, service: str, placer: str, other: str, sent: int = EVER
    ) -> None:
        """What one message says a report is called, and if it has a result of it, when that was told.

        ``placer``: its placer number beside a filler number.
        """
        if not report:
            return
        if self._lost is not None:
            self.forget()
        its = self._reports.setdefault(base_of(report), {})
        known = its.get((report, patient))
        if known is None or sent < known:
            its[report, patient] = sent
        if known is None and len(its) > 1:
            self.log.append((report, report))
        if placer and self._numbers.add(report, placer, patient):
            self.log.append((report, placer))
        if service and other:
            self.vocabulary += self._services.add(service, other, patient)

    def tie(self, patient: str, filler: str, placer: str, *, is_order: bool = False) -> None:
        """What is said of an order's numbers, which are its reports' too, by itself or by its results."""
        if self._lost is not None:
            self.forget()
        for number in (filler, f"{PLACER}{placer}" if placer else ""):
            if number and is_order:
                self._ordered.setdefault(base_of(number), {})[number, patient] = None
        if filler and placer and self._numbers.add(filler, f"{PLACER}{placer}", patient):
            self.log.append((filler, f"{PLACER}{placer}"))

    # -- two names -------------------------------------------------------------------------------------

    def is_report(self, one: str, other: str, patient: str) -> bool:
        """Whether two numbers name one report: alike, or told together as placer's and filler's."""
        if one == other or not one or not other:
            return one == other
        if one.startswith(PLACER) == other.startswith(PLACER):
            return alike(one, other)
        return any(alike(other, each) for each in self._tied(one, patient))

    def is_same(self, one: Named, other: Named, patient: str) -> bool:
        """Whether two names are of one result, unless there are several that they could be of."""
        return (
            one[2:] == other[2:]
            and one[0] != ""
            and self.is_report(one[0], other[0], patient)
            and (one[1] == other[1] or alike(one[1], other[1]) or other[1] in self._served(one[1], patient))
        )

    def is_near(self, one: Named, other: Named, patient: str) -> bool:
        """Whether they differ at most in what one of them was sent without; LOINC's code or a site's too."""
        has_both = one[0] != "" and other[0] != ""
        return (not has_both or self.is_report(one[0], other[0], patient)) and self._is_part(
            one, other, patient
        )

    def is_sibling(self, one: Named, other: Named, patient: str) -> bool:
        """Whether they are near but for the filler's number: two reports on one order."""
        if any(not each[0] or each[0].startswith(PLACER) for each in (one, other)):
            return False
        orders, others = self._tied(one[0], patient), self._tied(other[0], patient)
        return any(alike(*pair) for pair in product(orders, others)) and self._is_part(one, other, patient)

    def is_elsewhere(self, one: Named, other: Named, patient: str) -> bool:
        """Whether they differ in the report's number: of one time, they may be one all the same."""
        return one[0] != "" and other[0] != "" and self._is_part(one, other, patient)

    def _is_part(self, one: Named, other: Named, patient: str) -> bool:
        """Whether what stands beside the number differs at most in what was not sent."""
        (_, service, code, sub), (_, others_service, others_code, others_sub) = one, other
        return (
            are_codes_one(code, others_code)
            and (sub == others_sub or not sub or not others_sub)
            and self.may_be_service(service, others_service, patient)
        )

    def bases(self, report: str, patient: str, *, on_its_order: bool = False) -> Iterable[str]:
        """Where to look for reports that may be this one; also for others on its order if asked for."""
        found = {base_of(report): None}
        if report:
            for tied in self._tied(report, patient):
                found[base_of(tied)] = None
                if on_its_order and tied.startswith(PLACER):
                    found.update(dict.fromkeys(base_of(each) for each in self._tied(tied, patient)))
        return found

    # -- whole reports -----------------------------------------------------------------------------------

    def withdrawals(self, named: Named, patient: str) -> Iterator[Result]:
        """The statements that withdraw a whole report, which is or may be this one's."""
        if not self.withdrawn or not named[0]:
            return
        for base in self.bases(named[0], patient):
            for each in self.withdrawn.get(base, ()):
                if (
                    self._is_theirs(patient)(each.patient)
                    and self.is_withdrawn(each, [named], patient) is not None
                ):
                    yield each

    def is_withdrawn(self, told: Result, names: Iterable[Named], patient: str) -> bool | None:
        """Whether it withdraws a result of these names: None where it does not, False where nobody knows."""
        found: bool | None = None
        for report, service, _, _ in names:
            is_it = (report, service) == (told.report, told.service)
            if not is_it:
                if not self.is_report(report, told.report, patient):
                    continue
                if not self.may_be_service(service, told.service, patient):
                    continue
                has_service = service != "" and told.service != ""
                is_it = has_service and not self._are_several(report, told.report, patient)
            found = is_it if found is None else found and is_it
        return found

    def lost(self) -> list[Result]:
        """The whole reports that are withdrawn, and of which no result had been told."""
        if self._lost is None:
            every = (each for its in self.withdrawn.values() for each in its)
            self._lost = [each for each in every if not self._has_results(each.report, each)]
        return self._lost

    def strange(self) -> list[Result]:
        """Those of them that may mean another report: cancels of orders without results do not."""
        if self._strange is None:
            lost = self.lost()
            self._strange = [e for e in lost if e.first == e.last or not self.is_order_alone(e)]
        return self._strange

    def forget(self) -> None:
        """Something is told, or whose numbers are whose has changed."""
        self._lost = self._strange = None

    def _has_results(self, number: str, before: Result) -> bool:
        """Whether a result of a report that this may be the number of was told before a statement."""
        patient = before.patient
        is_theirs = self._is_theirs(patient)
        return any(
            sent <= before.sent and is_theirs(whose) and self.is_report(each, number, patient)
            for base in self.bases(number, patient)
            for (each, whose), sent in self._reports.get(base, {}).items()
        )

    def is_order_alone(self, told: Result) -> bool:
        """Whether the stay knows an order of this number, and of no result of that order."""
        patient = told.patient
        if told.placer and self._has_results(told.placer, told):
            return False
        is_theirs = self._is_theirs(patient)
        return any(
            is_theirs(whose) and alike(each, number)
            for number in (told.report, told.placer)
            for each, whose in self._ordered.get(base_of(number), ())
        )

    def _are_several(self, one: str, other: str, patient: str) -> bool:
        """Whether what two names have in common may be of several reports."""
        found: set[str] = set()
        for name in (one, other):
            for base in self.bases(name, patient):
                its = [each for each, whose in self._reports.get(base, ()) if self._is_theirs(patient)(whose)]
                found.update(each for each in its if self.is_report(each, name, patient))
        kinds = (
            [each for each in found if each.startswith(PLACER) == is_placer] for is_placer in (False, True)
        )
        return any(not alike(*pair) for its in kinds for pair in combinations(its, 2))

    # -- told together -----------------------------------------------------------------------------------

    def _is_theirs(self, patient: str) -> Callable[[str], bool]:
        return lambda other: other == patient or self._person(other) == self._person(patient)

    def _tied(self, number: str, patient: str) -> list[str]:
        return self._numbers.beside(number, self._is_theirs(patient))

    def _served(self, service: str, patient: str) -> list[str]:
        return self._services.beside(service, self._is_theirs(patient)) if service else []

    def may_be_service(self, one: str, other: str, patient: str) -> bool:
        """Not sent, the same, or a code is shared."""
        if not one or not other or one == other or alike(one, other):
            return True
        mine, its = {one, *self._served(one, patient)}, {other, *self._served(other, patient)}
        return not mine.isdisjoint(its)
